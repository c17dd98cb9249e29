package timer

import "github.com/moneta-pay/moneta/pay"

// Route sends a due payment to the station that owns its next step: the one
// place where that is written down. Each function reports, without blocking,
// whether its station has the payment in hand; a nil one has nothing in hand.
type Route struct {
	// Clear takes a payout that was accepted and not yet let pass.
	Clear func(pay.Payment) bool
	// Dispatch takes a payout whose funds are reserved.
	Dispatch func(pay.Payment) bool
	// Time takes what a timer alone moves on: a hold, a deposit or a review whose time
	// is over, a debt to be looked at again.
	Time func(pay.Payment) bool
	// Settle takes what the channel must be asked about: attempts on the wire,
	// acknowledged or unknown, and deposits under way.
	Settle func(pay.Payment) bool
}

// Due hands p over and reports whether somebody has it in hand now.
func (r Route) Due(p pay.Payment) bool {
	station := r.Settle
	if p.WhenDue() != 0 {
		return r.Time != nil && r.Time(p)
	}
	switch p.State {
	case pay.Created:
		if p.Kind != pay.Deposit {
			station = r.Clear
		}
	case pay.Reserved:
		station = r.Dispatch
	case pay.Dispatching, pay.Processing, pay.Unknown, pay.RequiresAction, pay.InReview:
	case pay.None, pay.Succeeded, pay.Failed, pay.Cancelled, pay.Expired:
		return true // final payments are not on the wheel
	}
	return station != nil && station(p)
}
