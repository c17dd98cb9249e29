package drill

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Bounds of a client: those of a good SDK.
const (
	attemptWithin = 8 * time.Second
	orderTries    = 5
	backoffFirst  = 200 * time.Millisecond
	backoffMost   = 3 * time.Second
	answerMax     = 1 << 20 // bytes
	waitSeconds   = 5
	followFor     = 45 * time.Second
)

// client calls the API as the app of a holder does.
type client struct {
	http  *http.Client
	api   string
	banks string
	key   string
}

func newHTTP(conns int) *http.Client {
	return &http.Client{Transport: &http.Transport{
		MaxIdleConns: conns, MaxIdleConnsPerHost: conns, MaxConnsPerHost: conns, IdleConnTimeout: 30 * time.Second,
	}}
}

// refusal is an answer that is no success.
type refusal struct {
	status int
	after  time.Duration
	again  bool
	text   string
}

func (r *refusal) Error() string { return fmt.Sprintf("%d %s", r.status, r.text) }

// problem is what is read of an error of the API.
type problem struct {
	Code  string `json:"code"`
	Retry string `json:"retry"`
}

// call makes one request; an answer that is no success is a *refusal.
func (c *client) call(ctx context.Context, method, url string, head map[string]string, body, into any) error {
	ctx, cancel := context.WithTimeout(ctx, attemptWithin+waitSeconds*time.Second)
	defer cancel()
	var raw []byte
	if body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	for k, v := range head {
		req.Header.Set(k, v)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, answerMax))
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return refused(resp, answer)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer, into)
}

func refused(resp *http.Response, answer []byte) error {
	r := &refusal{status: resp.StatusCode, text: strings.TrimSpace(string(answer[:min(len(answer), 300)]))}
	var p problem
	_ = json.Unmarshal(answer, &p) // what is no problem has only its status
	r.again = p.Retry == "safe_same_key" || p.Retry == "after" || p.Retry == "" && resp.StatusCode >= 500
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
		r.after = time.Duration(min(s, 10)) * time.Second
	}
	return r
}

// submit posts an order until it is answered, at most orderTries times, with the same
// key each time. manners may make it a bad client.
func (c *client) submit(ctx context.Context, o *Order, m *Manners) (payment, error) {
	head := map[string]string{"Idempotency-Key": o.Name, "User-Agent": "wallet-app/" + o.Version}
	for o.Tries = 1; ; o.Tries++ {
		short, cancel := context.WithTimeout(ctx, attemptWithin)
		var p payment
		err := c.call(short, http.MethodPost, c.api+"/v1/payments", head, o.body(), &p)
		cancel()
		if err == nil {
			return p, nil
		}
		var no *refusal
		if errors.As(err, &no) && !no.again || ctx.Err() != nil || o.Tries >= orderTries*max(m.Layers, 1) {
			return p, err
		}
		wait := time.Duration(0)
		if !m.NoBudget {
			wait = min(backoffFirst<<(o.Tries-1), backoffMost)
			if no != nil {
				wait = max(wait, no.after)
			}
		}
		if pause(ctx, wait) != nil {
			return p, err
		}
	}
}

// payment is what is read of a payment.
type payment struct {
	ID        string `json:"id"`
	Status    string `json:"status"`
	State     string `json:"state"`
	Reference string `json:"reference"`
}

func (p *payment) final() bool { return p.Status == "succeeded" || p.Status == "failed" }

// follow waits for the end of a payment.
func (c *client) follow(ctx context.Context, p payment) (payment, error) {
	ctx, cancel := context.WithTimeout(ctx, followFor)
	defer cancel()
	for !p.final() {
		var next payment
		err := c.call(ctx, http.MethodGet, c.api+"/v1/payments/"+p.ID, map[string]string{"Prefer": "wait=" + strconv.Itoa(waitSeconds)}, nil, &next)
		if err == nil {
			p = next
			continue
		}
		if pause(ctx, backoffFirst) != nil {
			return p, err
		}
	}
	return p, nil
}

// instruct has a customer of the bank send the money of a deposit.
func (c *client) instruct(ctx context.Context, o *Order, reference string) error {
	outside := &client{http: c.http}
	return outside.call(ctx, http.MethodPost, c.banks+"/banks/"+strings.TrimPrefix(o.Channel, "bank-")+"/instructions", nil, map[string]string{
		"reference": reference, "amount": strconv.FormatInt(o.Amount, 10), "asset": asset, "remittance": o.Name, "from_account": "90210",
	}, nil)
}

// pause waits; its error is that of ctx.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return ctx.Err()
	}
}
