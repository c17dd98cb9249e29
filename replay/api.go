package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/moneta-pay/moneta/internal/lifecycle"
	"github.com/moneta-pay/moneta/money"
)

// pollWait is how long one request asks the server to hold its answer back
// while a payment is not final.
const pollWait = 20 * time.Second

// referenceWithin bounds the wait for a deposit's reference.
const referenceWithin = 30 * time.Second

// payment is what the replay reads of a payment.
type payment struct {
	ID        string     `json:"id"`
	State     string     `json:"state"`
	Status    string     `json:"status"` // processing, succeeded, failed
	Reference string     `json:"reference"`
	CreatedAt time.Time  `json:"created_at"`
	FinalAt   *time.Time `json:"final_at"`
}

const (
	statusSucceeded = "succeeded"
	statusFailed    = "failed"
)

func (p *payment) final() bool { return p.Status == statusSucceeded || p.Status == statusFailed }

type payee struct {
	Account string `json:"account"`
	Name    string `json:"name,omitempty"`
}

// order is the body of POST /v1/payments.
type order struct {
	Kind        string       `json:"kind"`
	From        string       `json:"from,omitempty"`
	To          string       `json:"to,omitempty"`
	Channel     string       `json:"channel,omitempty"`
	Payee       *payee       `json:"payee,omitempty"`
	Amount      money.Amount `json:"amount"`
	Asset       string       `json:"asset"`
	EffectiveAt time.Time    `json:"effective_at"`
	Remittance  string       `json:"remittance"`
}

// api is the part of our HTTP API that the replay uses.
type api struct {
	user, admin *client
	asset       string
}

type newAccount struct {
	Asset string        `json:"asset"`
	Name  string        `json:"name"`
	Kind  string        `json:"kind"`
	Floor *money.Amount `json:"floor,omitempty"` // a house account has none
}

func (a *api) createAccount(ctx context.Context, c *client, body newAccount, key string) (string, error) {
	var made struct {
		ID string `json:"id"`
	}
	err := c.do(ctx, request{
		method: http.MethodPost, path: "/v1/accounts", body: body, answer: &made,
		idempotency: func(int) string { return key },
	})
	if err == nil && made.ID == "" {
		err = errors.New("the answer has no id")
	}
	if err != nil {
		return "", fmt.Errorf("create account %q: %w", body.Name, err)
	}
	return made.ID, nil
}

func (a *api) pay(ctx context.Context, c *client, o order, key func(try int) string) (payment, error) {
	var p payment
	err := c.do(ctx, request{method: http.MethodPost, path: "/v1/payments", body: o, answer: &p, idempotency: key})
	if err == nil && p.ID == "" {
		err = errors.New("POST /v1/payments: the answer has no id")
	}
	return p, err
}

// payment reads a payment; with wait above zero the server answers when it is
// final or the wait is over.
func (a *api) payment(ctx context.Context, id string, wait time.Duration) (payment, error) {
	var p payment
	err := a.user.do(ctx, request{method: http.MethodGet, path: "/v1/payments/" + url.PathEscape(id), answer: &p, wait: wait})
	return p, err
}

// untilFinal waits until the payment is final. errStillOpen means that the
// time given ran out first; the payment then holds the last state seen.
func (a *api) untilFinal(ctx context.Context, p payment, within time.Duration) (payment, error) {
	return a.until(ctx, p, within, (*payment).final)
}

// withReference waits until the payment has a reference for the channel.
func (a *api) withReference(ctx context.Context, p payment) (payment, error) {
	return a.until(ctx, p, referenceWithin, func(p *payment) bool { return p.Reference != "" || p.final() })
}

func (a *api) until(ctx context.Context, p payment, within time.Duration, done func(*payment) bool) (payment, error) {
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for try := 0; !done(&p); try++ {
		next, err := a.payment(limited, p.ID, pollWait)
		switch {
		case err == nil:
			p = next
		case limited.Err() != nil && ctx.Err() == nil:
			return p, errStillOpen
		default:
			return p, err
		}
		// A server that does not honour Prefer must not be asked in a tight loop.
		if !done(&p) && lifecycle.Pause(limited, backoff(try)) != nil {
			return p, errors.Join(ctx.Err(), errStillOpen)
		}
	}
	return p, nil
}

var errStillOpen = errors.New("still open when the time given for a final answer was over")

func (a *api) available(ctx context.Context, account string, asOf time.Time) (money.Amount, error) {
	var b struct {
		Available *money.Amount `json:"available"`
	}
	q := url.Values{"as_of": {asOf.UTC().Format(time.RFC3339)}, "by": {"effective"}}
	err := a.user.do(ctx, request{
		method: http.MethodGet,
		path:   "/v1/accounts/" + url.PathEscape(account) + "/balances?" + q.Encode(), answer: &b,
	})
	if err == nil && b.Available == nil {
		err = errors.New("the answer has no available balance")
	}
	if err != nil {
		return money.Amount{}, fmt.Errorf("balance of %s: %w", account, err)
	}
	return *b.Available, nil
}

// totals is the server's own summary.
type totals struct {
	Ledger []struct {
		Asset string       `json:"asset"`
		Sum   money.Amount `json:"sum"`
	} `json:"ledger"`
	Open               *int64       `json:"open"`
	UnknownResolved    *int64       `json:"unknown_resolved"`
	DuplicateCallbacks *int64       `json:"duplicate_callbacks"`
	UnexplainedMaxS    *json.Number `json:"unexplained_max_s"`
}

func (a *api) totals(ctx context.Context) (totals, error) {
	var t totals
	err := a.admin.do(ctx, request{method: http.MethodGet, path: "/v1/totals", answer: &t})
	return t, err
}

// breaksMax bounds how many breaks of the server are counted.
const breaksMax = 100_000

// breaks counts the server's open reconciliation breaks by class.
func (a *api) breaks(ctx context.Context) (map[string]int64, error) {
	counts := map[string]int64{}
	after := ""
	for seen := 0; seen < breaksMax; {
		var page struct {
			Data []struct {
				Class string `json:"class"`
			} `json:"data"`
			HasMore bool   `json:"has_more"`
			Next    string `json:"next"`
		}
		q := url.Values{"limit": {"500"}}
		if after != "" {
			q.Set("after", after)
		}
		err := a.admin.do(ctx, request{method: http.MethodGet, path: "/v1/recon/breaks?" + q.Encode(), answer: &page})
		if err != nil {
			return nil, err
		}
		for _, b := range page.Data {
			counts[b.Class]++
		}
		seen += len(page.Data)
		if !page.HasMore || page.Next == "" || page.Next == after {
			break
		}
		after = page.Next
	}
	return counts, nil
}

// outside is the part of the outside world's API that the replay uses.
type outside struct{ c *client }

// instruct plays the customer of a bank who orders money sent to us, quoting
// our reference. The bank takes one reference once, so it may be repeated.
func (o *outside) instruct(ctx context.Context, s *Step, asset, reference string) error {
	body := map[string]string{
		"reference": reference, "amount": s.Amount.String(), "asset": asset,
		"remittance": s.ID, "from_account": s.Counterparty,
	}
	return o.c.do(ctx, request{method: http.MethodPost, path: "/banks/" + s.Bank + "/instructions", body: body})
}

// effect is money that moved according to a bank's own books.
type effect struct {
	Seq        int64        `json:"seq"`
	Direction  string       `json:"direction"` // in: to us; out: from us
	Reference  string       `json:"reference"`
	Remittance string       `json:"remittance"`
	Amount     money.Amount `json:"amount"`
	Asset      string       `json:"asset"`
}

const bookPage = 1_000

// books pages through a bank's effects after a sequence number.
func (o *outside) books(ctx context.Context, code string, after int64, each func(effect)) (last int64, err error) {
	for {
		var page struct {
			Effects []effect `json:"effects"`
		}
		q := url.Values{"after": {strconv.FormatInt(after, 10)}, "limit": {strconv.Itoa(bookPage)}}
		if err := o.c.do(ctx, request{method: http.MethodGet, path: "/banks/" + code + "/books?" + q.Encode(), answer: &page}); err != nil {
			return after, fmt.Errorf("books of bank %s: %w", code, err)
		}
		if len(page.Effects) == 0 {
			return after, nil
		}
		for _, e := range page.Effects {
			each(e)
		}
		next := page.Effects[len(page.Effects)-1].Seq
		if next <= after {
			return after, fmt.Errorf("books of bank %s: page after %d ends at %d; it must grow", code, after, next)
		}
		after = next
	}
}

// banks lists the codes of all banks that the outside world plays. The list
// only widens the comparison, so a world that has none is not an error.
func (o *outside) banks(ctx context.Context) []string {
	var answer json.RawMessage
	if err := o.c.do(ctx, request{method: http.MethodGet, path: "/banks", answer: &answer}); err != nil {
		return nil
	}
	var named struct {
		Banks []json.RawMessage `json:"banks"`
		Data  []json.RawMessage `json:"data"`
	}
	list := []json.RawMessage{}
	if json.Unmarshal(answer, &list) != nil && json.Unmarshal(answer, &named) == nil {
		list = append(named.Banks, named.Data...)
	}
	var codes []string
	for _, raw := range list {
		var code string
		var bank struct {
			Code string `json:"code"`
		}
		if json.Unmarshal(raw, &code) == nil || json.Unmarshal(raw, &bank) == nil {
			codes = append(codes, code+bank.Code)
		}
	}
	return codes
}
