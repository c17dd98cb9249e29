package api

import (
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/moneta-pay/moneta/event"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/desk"
	"github.com/moneta-pay/moneta/pay/intake"
	"github.com/moneta-pay/moneta/pay/ledger"
	"github.com/moneta-pay/moneta/pay/status"
	"github.com/moneta-pay/moneta/pay/trail"
)

const (
	// findMax bounds what is pasted, in characters.
	findMax = 255
	// findWithin is how long one request looks further back.
	findWithin = 2 * time.Second
)

// FoundList is what a name belongs to, and how far it was looked for.
type FoundList struct {
	Object       string     `json:"object" enum:"list"`
	Data         []Found    `json:"data"`
	HasMore      bool       `json:"has_more" doc:"True when nothing was found yet and older payments were not looked through"`
	Next         string     `json:"next,omitempty" doc:"The after that looks further back"`
	LookedBackTo *time.Time `json:"looked_back_to,omitempty" doc:"Left out when all there is was looked through, or when the name needed no look through"`
}

// Found is one thing that a name belongs to.
type Found struct {
	Object string `json:"object" enum:"payment,account,case"`
	ID     string `json:"id" doc:"Of a payment or an account, or the case's number"`
	// By says what the name was.
	By string `json:"by" doc:"What the name is: id, reference, channel_reference, channel_id, idempotency_key, trace_id, event, case; more may come"`
	// State is the payment's or the case's.
	State string `json:"state,omitempty"`
}

// finder collects what is found.
type finder struct {
	c      *call
	tenant pay.TenantID
	q      string
	found  []Found
	err    error
	window trail.Window // that was looked through last
}

// find looks a pasted name up: by its form first, and only what has none by a look
// through keys, traces and the channels' ids. Every look is an index's or bounded.
func (c *call) find() error {
	q := strings.TrimSpace(c.r.URL.Query().Get("q"))
	if q == "" || utf8.RuneCountInString(q) > findMax {
		return malformed("paste one id, of at most 255 characters").WithParam("q")
	}
	f := finder{c: c, tenant: pay.TenantID(c.who.Tenant), q: q, found: []Found{}}
	if after := c.r.URL.Query().Get("after"); after != "" {
		below, err := pay.ParseID(after)
		if err != nil {
			return malformed("the cursor is not one that this look gave out").WithParam("after")
		}
		return c.further(&f, below)
	}
	for _, look := range []func() bool{f.byID, f.byAccount, f.byCase, f.byEvent, f.byReference} {
		if look() {
			break
		}
	}
	if len(f.found) == 0 && f.err == nil {
		f.byKey()
		f.below(0)
	}
	return f.reply()
}

// further looks back from a payment, window by window, for as long as one request may.
func (c *call) further(f *finder, below pay.ID) error {
	until := c.s.Clock.Now().Add(findWithin)
	f.below(below)
	for f.err == nil && len(f.found) == 0 && !f.window.Whole && c.s.Clock.Now().Before(until) {
		f.below(f.window.Low)
	}
	return f.reply()
}

// below looks through the payments before one for what has no index.
func (f *finder) below(below pay.ID) {
	if len(f.found) > 0 || f.err != nil || f.c.s.Trails == nil {
		f.window.Whole = true
		return
	}
	if f.window, f.err = f.c.s.Trails.Back(f.c.ctx, below); f.err != nil {
		return
	}
	f.byTrace()
	f.byChannelID()
}

func (f *finder) reply() error {
	if f.err != nil {
		return f.err
	}
	out := FoundList{Object: "list", Data: f.found}
	if len(f.found) == 0 && f.window.Low != 0 && !f.window.Whole {
		out.HasMore, out.Next, out.LookedBackTo = true, f.window.Low.String(), &f.window.From
	}
	return f.c.reply(http.StatusOK, &out)
}

// payment adds the payment if the tenant has it.
func (f *finder) payment(id pay.ID, by string) {
	p, err := f.c.s.Payments.Payment(f.c.ctx, f.tenant, id)
	switch {
	case err == nil:
		f.found = append(f.found, Found{Object: "payment", ID: id.String(), By: by, State: p.State.String()})
	case !errors.Is(err, fault.NotFound):
		f.err = err
	}
}

func (f *finder) payments(ids []pay.ID, err error, by string) {
	if err != nil {
		f.err = err
		return
	}
	for _, id := range ids {
		f.payment(id, by)
	}
}

func (f *finder) byID() bool {
	id, err := pay.ParseID(f.q)
	if err == nil {
		f.payment(id, "id")
	}
	return err == nil
}

func (f *finder) byAccount() bool {
	id, err := pay.ParseAccountID(f.q)
	if err != nil {
		return false
	}
	a, err := f.c.s.Ledger.Account(f.c.ctx, int32(f.tenant), ledger.AccountID(id))
	switch {
	case err == nil:
		f.found = append(f.found, Found{Object: "account", ID: pay.AccountID(a.ID).String(), By: "id"})
	case !errors.Is(err, fault.NotFound) && !errors.Is(err, fault.AccountNotFound):
		f.err = err
	}
	return true
}

func (f *finder) byCase() bool {
	n, ok := desk.ParseNumber(strings.ToUpper(f.q))
	if !ok || f.c.s.Desk == nil {
		return ok
	}
	k, err := f.c.s.Desk.Get(f.c.ctx, f.c.reach(), n)
	switch {
	case err == nil:
		f.found = append(f.found, Found{Object: "case", ID: k.Number.String(), By: "case", State: k.State})
		if k.Payment != 0 {
			f.payment(k.Payment, "case")
		}
	case !errors.Is(err, fault.NotFound):
		f.err = err
	}
	return true
}

func (f *finder) byEvent() bool {
	id, err := event.ParseID(f.q)
	if err != nil || f.c.s.Trails == nil {
		return err == nil
	}
	ids, err := f.c.s.Trails.ByEvent(f.c.ctx, f.tenant, int64(id))
	f.payments(ids, err, "event")
	return true
}

// byReference reads the short reference and the one at the channel. A key may look
// like one: what is not found goes on.
func (f *finder) byReference() bool {
	by := "channel_reference"
	id, _, err := pay.ParseReference(strings.ToUpper(f.q))
	if err != nil {
		by = "reference"
		if id, err = status.ParseReference(f.q); err != nil {
			return false
		}
	}
	f.payment(id, by)
	return len(f.found) > 0
}

func (f *finder) byKey() {
	raw, err := intake.NormaliseKey(f.q)
	if err != nil {
		return // this is no key
	}
	l, err := f.c.s.Payments.ByKey(f.c.ctx, f.tenant, intake.NewKey(f.tenant, 0, raw), 0, 20)
	if err != nil {
		f.err = err
		return
	}
	for i := range l.Payments {
		f.found = append(f.found, Found{Object: "payment", ID: l.Payments[i].ID.String(), By: "idempotency_key", State: l.Payments[i].State.String()})
	}
}

// byTrace takes a trace id, or a whole traceparent.
func (f *finder) byTrace() {
	text := f.q
	if parts := strings.Split(text, "-"); len(parts) == 4 && len(parts[1]) == 32 {
		text = parts[1]
	}
	raw, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	if err != nil || len(raw) != 16 || f.c.s.Trails == nil {
		return
	}
	ids, err := f.c.s.Trails.ByTrace(f.c.ctx, f.tenant, &f.window, [16]byte(raw))
	f.payments(ids, err, "trace_id")
}

func (f *finder) byChannelID() {
	if len(f.found) > 0 || f.c.s.Trails == nil {
		return
	}
	ids, err := f.c.s.Trails.ByChannelID(f.c.ctx, f.tenant, &f.window, f.q)
	f.payments(ids, err, "channel_id")
}
