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
	case pay.Dispatching, pay.Processing:
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

// Due reports whether p needs a person now.
func (d *Desk) Due(p *pay.Payment, now time.Time) bool {
	if !d.timed() {
		return false
	}
	at := DueAt(p, d.cfg.Bounds[p.Channel])
	return !at.IsZero() && !now.Before(at)
}
