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
	// Expire takes a hold whose time is over.
	Expire func(pay.Payment) bool
	// Settle takes what the channel must be asked about: attempts on the wire,
	// acknowledged or unknown, and deposits under way.
	Settle func(pay.Payment) bool
}

// Due hands p over and reports whether somebody has it in hand now.
func (r Route) Due(p pay.Payment) bool {
	station := r.Settle
	switch p.State {
	case pay.Created:
		if p.Kind != pay.Deposit {
			station = r.Clear
		}
	case pay.Reserved:
		station = r.Dispatch
		if p.Kind == pay.Hold {
			station = r.Expire
		}
	case pay.Dispatching, pay.Processing, pay.Unknown:
	case pay.None, pay.Succeeded, pay.Failed, pay.Cancelled, pay.Expired:
		return true // final payments are not on the wheel
	}
	return station != nil && station(p)
}
