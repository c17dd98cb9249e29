package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/money"
)

// Instant reads a moment as people write it: an instant (RFC 3339), or a day, whose end
// is meant, UTC. Empty stays empty: now.
func Instant(flag, text string) (string, error) {
	if text == "" {
		return "", nil
	}
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return day.AddDate(0, 0, 1).Add(-time.Microsecond).Format(time.RFC3339Nano), nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return "", fmt.Errorf("%s is a day or an instant such as 2026-01-31T12:00:00Z, not %q", flag, text)
	}
	return at.UTC().Format(time.RFC3339Nano), nil
}

// Until reads the end of a range as people write it. The end itself is not in the range, so
// that of a day it is the next midnight.
func Until(flag, text string) (string, error) {
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return day.AddDate(0, 0, 1).Format(time.RFC3339Nano), nil
	}
	return Instant(flag, text)
}

// read asks for one thing.
func (d *CaseDesk) read(ctx context.Context, path string, into any) error {
	raw, err := d.call(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return nil
}

// minor writes an amount that the API gave in smallest units.
func minor(amount, asset string) string {
	a, err := money.ParseMinor(amount)
	if err != nil {
		return amount // a newer node may say it otherwise
	}
	return money.Format(a, money.Asset(asset)) + " " + asset
}

// AccountList prints accounts with what each has, or had.
func AccountList(ctx context.Context, d CaseDesk, q url.Values) error {
	return d.ask(ctx, &question{
		path: "/v1/accounts", query: q, head: "account-head", none: "account-none",
		cells: []string{"id", "kind", "balances.available/asset", "balances.held/asset", "status", "name"},
	})
}

// AccountShow prints an account and its balances, now or as of an instant. As JSON it is
// both answers in one object.
func AccountShow(ctx context.Context, d CaseDesk, id string, q url.Values) error {
	path := "/v1/accounts/" + url.PathEscape(id)
	var both struct {
		Account  api.Account  `json:"account"`
		Balances api.Balances `json:"balances"`
	}
	a, b := &both.Account, &both.Balances
	if err := d.read(ctx, path, a); err != nil {
		return err
	}
	if q.Get("as_of") == "" {
		q.Del("as_of")
	}
	if err := d.read(ctx, path+"/balances?"+q.Encode(), b); err != nil {
		return err
	}
	if d.JSON {
		return writeJSON(d.Out, both)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s  %s  %s  %s\n", a.ID, a.Kind, a.Status, orDash(plain(a.Name)))
	line := func(label, text string) { fmt.Fprintf(&out, "  %s  %s\n", say(d.Lang, label), text) }
	if a.Frozen != nil {
		line("account-frozen", plain(a.Frozen.Refuses+": "+a.Frozen.Reason))
	}
	line("account-available", minor(b.Available, b.Asset))
	line("account-held", minor(b.Held, b.Asset))
	line("account-way", minor(b.OnTheWay, b.Asset))
	if a.Floor != "" {
		line("account-floor", minor(a.Floor, a.Asset))
	}
	line("account-as-of", stamp(b.AsOf)+" ("+b.By+")")
	line("account-opened", stamp(a.CreatedAt))
	_, err := io.WriteString(d.Out, out.String())
	return err
}

// AccountPostings prints a page of an account's postings, newest first, each with the
// balance after it.
func AccountPostings(ctx context.Context, d CaseDesk, id string, q url.Values) error {
	return d.ofAccount(ctx, id, &question{
		path: "/statement", query: q, head: "posting-head", none: "posting-none",
		cells: []string{"booked_at@", "transfer", "amount/asset", "balance/asset", "counterparty", "payment", "kind", "transition", "remittance"},
	})
}

// AccountCurve prints what an account had at so many instants.
func AccountCurve(ctx context.Context, d CaseDesk, id string, q url.Values) error {
	return d.ofAccount(ctx, id, &question{path: "/curve", query: q, head: "curve-head", cells: []string{"at@", "available/asset", "held/asset"}})
}

// ofAccount asks something of an account; the rows of the answer do not say its asset.
func (d *CaseDesk) ofAccount(ctx context.Context, id string, a *question) error {
	path := "/v1/accounts/" + url.PathEscape(id)
	if !d.JSON {
		var of api.Account
		if err := d.read(ctx, path, &of); err != nil {
			return err
		}
		a.shared = row{"asset": of.Asset}
	}
	a.path = path + a.path
	return d.ask(ctx, a)
}

// TransferList prints a page of the journal, newest first.
func TransferList(ctx context.Context, d CaseDesk, q url.Values) error {
	return d.ask(ctx, &question{
		path: "/v1/transfers", query: q, head: "transfer-head", none: "posting-none",
		cells: []string{"booked_at@", "id", "amount/asset", "debit.account", "debit.name", "credit.account", "credit.name", "payment", "kind", "transition"},
	})
}

// TransferShow prints one transfer: what left one account and reached another, with
// both balances after it.
func TransferShow(ctx context.Context, d CaseDesk, id int64) error {
	path := "/v1/transfers/" + strconv.FormatInt(id, 10)
	if d.JSON {
		return d.ask(ctx, &question{path: path})
	}
	var x api.Transfer
	if err := d.read(ctx, path, &x); err != nil {
		return err
	}
	var out strings.Builder
	fmt.Fprintf(&out, "#%d  %s  %s  %s\n", x.ID, minor(x.Amount, x.Asset), x.Payment, strings.TrimSpace(x.Kind+" "+x.Transition))
	side := func(label string, s *api.TransferSide) {
		fmt.Fprint(&out, say(d.Lang, label, s.Account, plain(s.Name), s.Book, minor(s.Balance, x.Asset)))
	}
	side("transfer-from", &x.Debit)
	side("transfer-to", &x.Credit)
	fmt.Fprint(&out, say(d.Lang, "transfer-when", stamp(x.BookedAt), stamp(x.EffectiveAt)))
	_, err := io.WriteString(d.Out, out.String())
	return err
}

// InvariantList prints what must hold of money, whether it does, and how fresh that is.
// It exits with ExitMoney when one does not hold, and with ExitUnproved when none is known
// not to and nobody has asked lately.
func InvariantList(ctx context.Context, d CaseDesk) error {
	raw, err := d.call(ctx, http.MethodGet, "/v1/invariants", nil)
	if err != nil {
		return err
	}
	var s api.Invariants
	if err := json.Unmarshal(raw, &s); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if d.JSON {
		if _, err := d.Out.Write(raw); err != nil {
			return err
		}
	} else if err := d.standing(&s); err != nil {
		return err
	}
	for i := range s.Checks {
		if c := &s.Checks[i]; c.Open > 0 {
			return &ExitError{ExitMoney, say(d.Lang, "invariant-off", c.Name, c.Break)}
		}
	}
	for _, sum := range s.Sums {
		if sum.Sum != "0" {
			return &ExitError{ExitMoney, say(d.Lang, "invariant-sum-off", sum.Asset, minor(sum.Sum, sum.Asset))}
		}
	}
	switch {
	case s.TurnedAt == nil || s.TurnAgeSeconds == nil:
		return &ExitError{ExitUnproved, say(d.Lang, "invariant-unknown")}
	case *s.TurnAgeSeconds > checksSilent:
		return &ExitError{ExitUnproved, say(d.Lang, "invariant-stale", *s.TurnAgeSeconds)}
	}
	return nil
}

// checksSilent is how many seconds old the last turn of the checks may be: they turn every
// second, and the console's screen takes what is older for not known too.
const checksSilent = 60

func (d *CaseDesk) standing(s *api.Invariants) error {
	if s.TurnedAt == nil {
		fmt.Fprint(d.Out, say(d.Lang, "invariant-never"))
	} else {
		fmt.Fprint(d.Out, say(d.Lang, "invariant-asked", stamp(*s.TurnedAt), *s.TurnAgeSeconds))
	}
	t := tabwriter.NewWriter(d.Out, 0, 4, 2, ' ', 0)
	fmt.Fprint(t, say(d.Lang, "invariant-head"))
	for i := range s.Checks {
		c := &s.Checks[i]
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\n", c.Name, c.Open, c.Ever, d.spoken(c.About.En, c.About.Zh))
	}
	for _, l := range s.Logs {
		fmt.Fprint(t, say(d.Lang, "invariant-log", l.Log, l.Head, l.Newest, l.Swept))
	}
	for _, sum := range s.Sums {
		fmt.Fprint(t, say(d.Lang, "invariant-sum", sum.Asset, minor(sum.Sum, sum.Asset), sum.Accounts))
	}
	return t.Flush()
}
