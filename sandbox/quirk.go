package sandbox

import (
	"time"

	"github.com/moneta-pay/moneta/money"
)

// quirks are the rarer misdeeds decided for one order; kept with its plan.
type quirks struct {
	Skew        int64  `json:"skw,omitempty"` // ms that the bank's clock is wrong by
	Zone        int64  `json:"zon,omitempty"` // minutes east of UTC of its booking day
	CutOff      int64  `json:"cut,omitempty"` // minute of the day from which it books on the next
	NextDay     bool   `json:"nxd,omitempty"`
	Phantom     bool   `json:"pha,omitempty"` // stated although declined
	Netted      bool   `json:"net,omitempty"` // stated with the fee inside the amount
	CallbackLie bool   `json:"cbl,omitempty"` // the callback says the opposite
	Contradict  bool   `json:"ctr,omitempty"` // another callback says the opposite afterwards
	Replay      bool   `json:"rpl,omitempty"` // the callback comes again with a signature of last hour
	Reencode    bool   `json:"ren,omitempty"` // the body is written anew after it was signed
	WrongScale  bool   `json:"scl,omitempty"` // amounts a hundred times too high, everywhere but in the books
	NoBankID    bool   `json:"nid,omitempty"`
	Ghost       bool   `json:"gho,omitempty"` // nobody can see it before it is executed
	CancelFails bool   `json:"cnl,omitempty"` // says cancelled, and executes
	ReturnAfter int64  `json:"rta,omitempty"` // ms from execution until the money comes back
	ReturnWhy   string `json:"rtr,omitempty"` // ISO 20022 reason code of the return
}

// none is what an order without quirks has.
var none quirks

func (p *plan) odd() *quirks {
	if p.Odd == nil {
		return &none
	}
	return p.Odd
}

// quirks draws the rarer misdeeds of order n, or nil.
func (b *bank) quirks(move *movement, how *Behaviour, n uint64) *quirks {
	d := b.dice
	q := quirks{
		Skew: how.ClockSkew, Zone: how.TimeZone, CutOff: how.CutOff, Netted: how.StatementFeeNetted,
		NextDay:     d.falls(how.StatementNextDay, n, forStatementNextDay),
		CallbackLie: d.falls(how.CallbackLies, n, forCallbackLies),
		Contradict:  d.falls(how.CallbackContradict, n, forCallbackContradict),
		Replay:      d.falls(how.CallbackReplay, n, forCallbackReplay),
		Reencode:    d.falls(how.CallbackReencode, n, forCallbackReencode),
		WrongScale:  d.falls(how.WrongScale, n, forWrongScale),
		NoBankID:    d.falls(how.NoBankID, n, forNoBankID),
	}
	if move.Direction == out {
		q.Phantom = d.falls(how.StatementPhantom, n, forStatementPhantom)
		q.CancelFails = d.falls(how.CancelIgnored, n, forCancelIgnored)
		if after := d.delay(how.Return.delay(), n, forReturn); after > 0 {
			q.ReturnAfter, q.ReturnWhy = after.Milliseconds(), how.Return.Reason
		}
	}
	if q == none {
		return nil
	}
	return &q
}

// stamp is an instant as the bank's clock showed it.
func (o *order) stamp(at time.Time) time.Time {
	return at.Add(time.Duration(o.odd().Skew) * time.Millisecond)
}

// stated is the order's amount as the bank states it on the wire.
func (o *order) stated() money.Amount {
	if o.odd().WrongScale {
		if wrong, err := o.Amount.MulInt(100); err == nil {
			return wrong
		}
	}
	return o.Amount
}

// opposite turns a status into what a bank says that contradicts itself.
func opposite(status string) string {
	if status == declined {
		return executed
	}
	return declined
}

// reasonContradicted is what a bank gives for a decline that is none.
const reasonContradicted = "processing_error"

// contradict makes a view say the opposite.
func (v view) contradict() view {
	v.Status = opposite(v.Status)
	if v.Status == declined {
		v.Reason, v.ExecutedAt = reasonContradicted, time.Time{}
	} else {
		v.Reason = ""
	}
	return v
}
