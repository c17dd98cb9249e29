package pay

import (
	"fmt"
	"slices"
	"time"

	"github.com/moneta-pay/moneta/money"
)

// The linked objects beside a capture. Each is a payment of its own with its own
// postings, accepted in one transaction with what it does to its original.

var refundRules = slices.Concat([]rule{
	{t: 19, kind: Refund, from: []State{None}, fact: Accept, to: Created, who: "API, operator"},
	{
		t: 3, kind: Refund, from: []State{Created}, fact: Clear, to: Reserved, who: "guard",
		legs: []leg{{FromAvailable, FromHeld, principalAndFee}},
	},
}, sent(Refund, leg{FromHeld, FromAvailable, principalAndFee}))

// A late payout has left us while its holder had the money back: he owes it. What
// his balance covers is taken at once, the rest whenever there is something, until
// somebody writes it off.
var lateRules = []rule{
	{
		t: 17, kind: LatePayout, from: []State{None}, fact: Accept, to: Processing, who: "the late word",
		settles: SettlementExpected, takes: takesCovered, instead: Succeeded, when: nothingLeft,
		legs: []leg{{Receivable, ClearingOut, principal}, {FromAvailable, Receivable, covered}},
	},
	recovers(17, LatePayout),
	writesOff(17, LatePayout),
	{
		t: 12, kind: LatePayout, from: []State{Processing, Succeeded}, fact: Settle, who: "recon",
		settles: SettlementMatched, word: true,
		legs: []leg{{ClearingOut, Nostro, principal}, {FeeCost, Nostro, cost}},
	},
	{
		t: 18, kind: LateDeposit, from: []State{None}, fact: Accept, to: Succeeded, who: "the late word",
		settles: SettlementExpected, legs: []leg{{ClearingIn, ToAvailable, principal}},
	},
	{
		t: 15, kind: LateDeposit, from: []State{Succeeded}, fact: Settle, to: Succeeded, who: "recon",
		settles: SettlementMatched, word: true,
		legs: []leg{{Nostro, ClearingIn, net}, {FeeCost, ClearingIn, cost}},
	},
	{
		t: 20, kind: LateDeposit, from: []State{Succeeded}, fact: ChargedBack, to: Succeeded, who: "scheme",
		takes: takesBeyond, makes: Chargeback,
	},
	{t: 19, kind: LateDeposit, from: []State{Succeeded}, fact: Take, to: Succeeded, who: "a refund", takes: takesStated},
	{t: 19, kind: LateDeposit, from: []State{Succeeded}, fact: GiveBack, to: Succeeded, who: "a refund that failed", takes: givesBack},
}

func recovers(t Transition, k Kind) rule {
	return rule{
		t: t, kind: k, from: []State{Processing}, fact: Recover, to: Processing, who: "timer",
		takes: takesCovered, instead: Succeeded, when: nothingLeft, legs: []leg{{FromAvailable, Receivable, covered}},
	}
}

func writesOff(t Transition, k Kind) rule {
	return rule{
		t: t, kind: k, from: []State{Processing}, fact: WriteOff, to: Succeeded, who: "operator, approved",
		legs: []leg{{Loss, Receivable, rest}},
	}
}

// A return is credited on the channel's word and settled by its statement line,
// like a deposit. Our fee goes back with the whole amount; with the failure it went back
// already where the success came late.
var returnRules = []rule{
	{
		t: 13, kind: Return, from: []State{None}, fact: Accept, to: Succeeded, who: "channel, recon",
		settles: SettlementExpected, legs: []leg{{ClearingIn, ToAvailable, principal}, {FeeRevenue, ToAvailable, fee}},
	},
	{
		t: 13, kind: Return, from: []State{Succeeded}, fact: Settle, to: Succeeded, who: "recon",
		settles: SettlementMatched, word: true,
		legs: []leg{{Nostro, ClearingIn, net}, {FeeCost, ClearingIn, cost}},
	},
}

// Money without an intent is booked by its statement line alone, and waits for a
// person: assigned to an account, or refunded to whoever sent it.
var inboundRules = []rule{
	{
		t: 16, kind: Inbound, from: []State{None}, fact: Accept, to: InReview, who: "recon",
		settles: SettlementMatched, legs: []leg{{Nostro, Suspense, arrived}},
	},
	{
		t: 16, kind: Inbound, from: []State{InReview}, fact: Take, to: InReview, who: "an assignment, a refund",
		takes: takesStated, instead: Succeeded, when: nothingLeft,
	},
	{t: 16, kind: Inbound, from: []State{InReview}, fact: GiveBack, to: InReview, who: "a refund that failed", takes: givesBack},
	// It is over and stays so: what could not be sent back waits as an item of its own.
	{t: 16, kind: Inbound, from: []State{Succeeded}, fact: GiveBack, who: "a refund that failed", takes: givesBack, makes: Inbound},
	{t: 16, kind: Assignment, from: []State{None}, fact: Accept, to: Succeeded, who: "operator", legs: []leg{{FromAvailable, ToAvailable, principal}}},
}

var chargebackRules = []rule{
	{
		t: 20, kind: Chargeback, from: []State{None}, fact: Accept, to: Processing, who: "scheme",
		settles: SettlementExpected, takes: takesCovered, instead: Succeeded, when: nothingLeft,
		legs: []leg{{FromAvailable, ClearingIn, covered}, {Receivable, ClearingIn, uncovered}},
	},
	recovers(20, Chargeback),
	writesOff(20, Chargeback),
	{
		t: 20, kind: Chargeback, from: []State{Processing, Succeeded}, fact: Settle, who: "recon",
		settles: SettlementMatched, word: true,
		legs: []leg{{ClearingIn, Nostro, principal}, {FeeCost, Nostro, cost}},
	},
}

var compensationRules = []rule{{
	t: 21, kind: Compensation, from: []State{None}, fact: Accept, to: Succeeded, who: "operator, approved",
	legs: []leg{{CompensationExpense, ToAvailable, principal}},
}}

// acceptable checks what a payment must have, and must not, to be what it says.
func acceptable(p *Payment, at time.Time) error {
	switch {
	case p.Amount.Sign() <= 0 || p.Fee.Sign() < 0:
		return fmt.Errorf("%w: amount must be above zero and fee not below", ErrIllegal)
	case !p.Fee.IsZero() && (p.Kind.Linked() && p.Kind != Return || p.Kind == Hold || p.Kind == Inbound):
		return fmt.Errorf("%w: a %s carries no fee", ErrIllegal, p.Kind)
	case p.Kind == Hold && p.ExpiresAt.IsZero(), p.Kind != Hold && p.Kind != Deposit && !p.ExpiresAt.IsZero():
		return fmt.Errorf("%w: a hold has an expiry, a deposit may, nothing else does", ErrIllegal)
	case !p.ExpiresAt.IsZero() && !p.ExpiresAt.After(at):
		return fmt.Errorf("%w: the expiry lies in the past", ErrIllegal)
	case p.Kind.Linked() && p.Original == 0 && p.Kind != Compensation:
		return fmt.Errorf("%w: a %s names its original", ErrIllegal, p.Kind)
	case !p.Kind.Linked() && p.Original != 0 && p.Kind != Inbound:
		return fmt.Errorf("%w: a %s stands alone", ErrIllegal, p.Kind)
	case p.Kind == Capture && (p.To == 0) == (p.Channel == ""):
		return fmt.Errorf("%w: a capture goes to an account or through a channel", ErrIllegal)
	case p.Kind.rests() && p.Link == "":
		return fmt.Errorf("%w: a %s names what it rests on", ErrIllegal, p.Kind)
	case !p.Taken.IsZero():
		return fmt.Errorf("%w: something was taken before it began", ErrIllegal)
	}
	return nil
}

// rests reports whether the kind needs a Link.
func (k Kind) rests() bool { return k >= LatePayout && k != Assignment }

// made is the linked payment that the rule makes of p and the word about it.
func made(p *Payment, f Fact, r *rule) *Payment {
	m := &Payment{
		Tenant: p.Tenant, Kind: r.makes, Asset: p.Asset, Amount: f.Amount, Channel: p.Channel, TraceID: p.TraceID,
		Original: p.ID, Remittance: p.Remittance, Link: f.ChannelID, Key: f.Key,
	}
	if f.Channel != "" { // an earlier attempt may have gone elsewhere
		m.Channel = f.Channel
	}
	switch r.makes {
	case LatePayout, LateDeposit: // one a payment, whichever way the word came
		m.From, m.To = p.From, p.To
		m.Link = Reference(p.ID, f.Attempt)
		m.Key = EventKey(p.Tenant, "", r.makes, p.ID.String())
	case Return:
		m.To = p.From
		if f.Amount == p.Amount && p.Late == 0 {
			m.Fee = p.Fee
		}
	case Chargeback:
		m.From = p.To
	case Send, Payout, Deposit, Hold, Capture, Refund, Inbound, Assignment, Compensation, kindEnd:
	}
	return m
}

// Note is the change by which a contradiction stands in the log: no money, once. Of
// what is final nothing else changes. What is under way goes on, but what is about to
// be sent once more waits for a person: an attempt before may have executed. It is a
// no-op where one stands already, and for what no attempt was made of.
func Note(p Payment, f Fact, what string) Change {
	c := Change{From: p.State, To: p.State, After: p, FromChannel: p.Channel}
	tried := p.Kind.Leaves() && p.Attempt.N > 0
	if p.Noted && p.State != Reserved || !p.State.Final() && !tried {
		return c
	}
	c.T = 17
	c.After.Seq++
	c.After.Noted = true
	c.After.Reason = what
	if p.State == Reserved {
		c.To, c.TimerChanged = InReview, true
		enter(&c.After, InReview, f)
	}
	return c
}

// WhenDue is the fact that a timer owes an open payment at its NextAt; zero where a
// station or a channel has the next step.
func (p *Payment) WhenDue() FactKind {
	switch p.State {
	case RequiresAction:
		return Expire
	case InReview:
		if p.Kind == Inbound || p.Attempt.N > 0 {
			return Checked // it stays until a person has found its owner, or what the channel did
		}
		return Expire
	case Reserved:
		if p.Kind == Hold {
			return Expire
		}
	case Created:
		if p.Kind == Deposit && !p.ExpiresAt.IsZero() && !p.NextAt.Before(p.ExpiresAt) {
			return Expire
		}
	case Processing:
		if p.Kind == LatePayout || p.Kind == Chargeback {
			return Recover
		}
	case None, Dispatching, Unknown, Succeeded, Failed, Cancelled, Expired, stateEnd:
	}
	return 0
}

// owed is what is left of a debt, money.Amount zero for kinds that are none.
func (p *Payment) owed() money.Amount {
	if p.Kind != LatePayout && p.Kind != Chargeback {
		return money.Amount{}
	}
	left, err := p.Amount.Sub(p.Taken)
	if err != nil {
		return money.Amount{}
	}
	return left
}
