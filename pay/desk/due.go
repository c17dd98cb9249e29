package desk

import (
	"time"

	"github.com/moneta-pay/moneta/pay"
)

// When a payment becomes a case. Source: life cycle §6.2, "rail bound → case" and
// "2 h case"; waitMax is our own choice, well after the alarm (60 s) and the
// holder's "delayed" (15 min).
const (
	unknownMax = 2 * time.Hour
	waitMax    = time.Hour // accepted or reserved and not sent
)

// DueAt is when an open payment becomes a case: the zero time for never. bound is
// how long after sending its rail promises a final answer; 0 if it promises
// nothing. It depends on durable fields alone.
func DueAt(p *pay.Payment, bound time.Duration) time.Time {
	sent := p.Kind.Leaves() && !p.Attempt.SendBy.IsZero()
	switch p.State {
	case pay.None, pay.Succeeded, pay.Failed, pay.Cancelled, pay.Expired:
		return time.Time{}
	case pay.Created:
		if p.Kind == pay.Deposit {
			return time.Time{} // it waits for its payer, who may never come
		}
		return p.EnteredAt.Add(waitMax)
	case pay.Reserved:
		if p.Kind == pay.Hold { // its holder has time; its timer has not
			return p.Deadline
		}
		return p.EnteredAt.Add(waitMax)
	case pay.RequiresAction: // its holder has time; its timer has not
		return p.Deadline
	case pay.InReview: // it waits for a person and nothing else
		return p.EnteredAt
	case pay.Dispatching, pay.Processing:
		if owed(p) {
			return p.EnteredAt
		}
		if sent && bound > 0 {
			return p.Attempt.SendBy.Add(bound)
		}
		return p.Deadline
	case pay.Unknown:
		at := p.EnteredAt.Add(unknownMax)
		if all := p.Attempt.SendBy.Add(max(unknownMax, bound)); sent && all.Before(at) {
			return all // it went to and fro: that is no news
		}
		return at
	}
	return p.Deadline // whatever state comes later has one
}

// owed reports whether p waits for a holder to pay back what is ours.
func owed(p *pay.Payment) bool { return p.Kind == pay.LatePayout || p.Kind == pay.Chargeback }

// taskOf is the kind of case that p needs once it is due.
func taskOf(p *pay.Payment) Kind {
	switch {
	case p.State == pay.Unknown:
		return UnknownTooLong
	case p.Kind == pay.Inbound:
		return Unplaced
	case p.State == pay.InReview:
		return Review
	case owed(p):
		return Debt
	}
	return Overdue
}

// Due reports whether p needs a person now.
func (d *Desk) Due(p *pay.Payment, now time.Time) bool {
	if !d.timed() {
		return false
	}
	at := DueAt(p, d.cfg.Bounds[p.Channel])
	return !at.IsZero() && !now.Before(at)
}
