package api

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/lever"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/desk"
	"github.com/moneta-pay/moneta/pay/ledger"
	"github.com/moneta-pay/moneta/pay/status"
)

// paymentStatus tells the holder how a payment stands, from one snapshot.
func (c *call) paymentStatus() error {
	lang, err := c.lang()
	if err != nil {
		return err
	}
	now, err := c.standing()
	if err != nil {
		return err
	}
	out := now.in(lang)
	c.w.Header().Set("Content-Language", lang)
	c.w.Header().Set("Vary", "Accept-Language")
	return c.reply(http.StatusOK, &out)
}

// lang is the language that is asked for, by the parameter or the header.
func (c *call) lang() (string, error) {
	asked := c.r.URL.Query().Get("lang")
	switch {
	case asked == "":
		return language(c.r.Header), nil
	case !slices.Contains(status.Languages, asked):
		return "", malformed("lang is en or zh").WithParam("lang")
	}
	return asked, nil
}

// standing is how a payment stands.
type standing struct {
	payment pay.Payment
	facts   status.Facts
	events  []status.Event
}

func (s *standing) in(lang string) status.Status { return status.Of(&s.payment, s.facts, lang) }

// inAll tells it in every language.
func (s *standing) inAll() (all []status.Status) {
	for _, lang := range status.Languages {
		all = append(all, s.in(lang))
	}
	return all
}

// heldBy says that the case is the one about the payment.
func (s *standing) heldBy(k *desk.Case) {
	s.facts.Case = &status.OpenCase{Number: k.Number.String(), Deadline: k.Deadline}
}

// standing reads the path's payment and tells of it, from one snapshot; the case
// that is open about it is read first.
func (c *call) standing() (standing, error) {
	id, err := c.paymentID()
	if err != nil {
		return standing{}, err
	}
	return c.standingOf(pay.TenantID(c.who.Tenant), id)
}

func (c *call) standingOf(tenant pay.TenantID, id pay.ID) (out standing, err error) {
	f := &out.facts
	f.Now = c.s.Clock.Now()
	if c.s.Desk != nil {
		k, open, err := c.s.Desk.OfPayment(c.ctx, id)
		if err != nil {
			return out, err
		}
		if open {
			out.heldBy(&k)
		}
		f.AppealURL = "/v1/payments/" + id.String() + "/appeal"
	}
	if c.s.Receipts != nil {
		f.ReceiptURL = "/v1/payments/" + id.String() + "/receipt"
	}
	t, err := c.s.Payments.Timeline(c.ctx, tenant, id)
	if err != nil {
		return out, err
	}
	out.events = eventsOf(&t)
	if f.Books, err = booksOf(&t); err != nil {
		return out, fault.New(fault.Internal, "").WithOp("api.standing").WithMoneyState(fault.NotMoved).WithCause(err)
	}
	f.Breaks, f.Forecast = t.Breaks, c.s.Outlook.Forecast(&t.Payment, f.Now)
	out.payment = t.Payment
	f.Banner = c.standingLevers().Banner(f.Now, &lever.Subject{
		Tenant: int32(t.Payment.Tenant), Kind: t.Payment.Kind.String(), Channel: t.Payment.Channel,
	})
	return out, nil
}

// eventsOf are the payment's moves and what came of it, in order of time.
func eventsOf(t *commit.Timeline) (all []status.Event) {
	for i := range t.Moves {
		m := &t.Moves[i]
		all = append(all, status.Event{At: m.At, From: m.From, To: m.To, Settlement: m.Settlement})
	}
	for i := range t.Linked {
		all = append(all, status.Event{At: t.Linked[i].CreatedAt, Linked: t.Linked[i].Kind})
	}
	slices.SortStableFunc(all, func(a, b status.Event) int { return a.At.Compare(b.At) })
	return all
}

// booksOf adds up what the payment's postings did to the books of its accounts.
func booksOf(t *commit.Timeline) (b status.Books, err error) {
	holder := ledger.AccountID(t.Payment.Holder())
	var recipient ledger.AccountID
	if t.Payment.Kind == pay.Send || t.Payment.Kind == pay.Capture {
		recipient = ledger.AccountID(t.Payment.To)
	}
	move := func(book ledger.BookID, by money.Amount) {
		sum := &b.Recipient
		switch {
		case book == holder.Available():
			sum = &b.Available
		case book == holder.Held():
			sum = &b.Held
		case recipient == 0 || book != recipient.Available():
			return
		}
		var overflow error
		*sum, overflow = sum.Add(by)
		err = errors.Join(err, overflow)
	}
	for i := range t.Moves {
		for _, p := range t.Moves[i].Postings {
			less, overflow := p.Amount.Neg()
			err = errors.Join(err, overflow)
			move(p.Debit, less)
			move(p.Credit, p.Amount)
		}
	}
	return b, err
}

// language chooses by Accept-Language; what it cannot read it passes over.
func language(h http.Header) string {
	best, weight := status.Languages[0], 0
	for part := range strings.SplitSeq(strings.Join(h["Accept-Language"], ","), ",") {
		tag, params, _ := strings.Cut(part, ";")
		base, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
		if q := quality(params); q > weight && slices.Contains(status.Languages, base) {
			best, weight = base, q
		}
	}
	return best
}

// quality reads q=0.875 as 875; without one it is 1000.
func quality(params string) int {
	value, ok := strings.CutPrefix(strings.TrimSpace(params), "q=")
	if !ok {
		return 1000
	}
	whole, fraction, _ := strings.Cut(value, ".")
	if len(whole) != 1 || len(fraction) > 3 {
		return 0
	}
	n, err := strconv.ParseUint(whole+fraction+"000"[len(fraction):], 10, 16)
	if err != nil {
		return 0
	}
	return min(int(n), 1000)
}

// findByReference answers with the one payment that the reference names, or an
// empty list. A slip in a short reference is told as such.
func (c *call) findByReference(q url.Values) error {
	if len(q) > 1 {
		return malformed("a reference stands alone").WithParam("reference")
	}
	text := q.Get("reference")
	id, _, err := pay.ParseReference(text)
	if err != nil {
		id, err = status.ParseReference(text)
	}
	if err != nil {
		return malformed("this is not a reference; check it for a slip").WithParam("reference")
	}
	out := ListOf[Payment]{Object: "list", Data: []Payment{}}
	p, err := c.s.Payments.Payment(c.ctx, pay.TenantID(c.who.Tenant), id)
	switch {
	case err == nil:
		out.Data = append(out.Data, showPayment(&p))
	case !errors.Is(err, fault.NotFound):
		return err
	}
	return c.reply(http.StatusOK, &out)
}
