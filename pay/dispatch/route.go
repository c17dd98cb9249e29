package dispatch

import (
	"path"
	"slices"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
)

// Route is where payouts of one kind may go, in order. A payment begins at the
// channel that it names and goes on to the next one only when it is proven that the
// attempt before did not move money and never will.
type Route struct {
	// Asset that it is for; empty for every asset.
	Asset money.Asset
	// Payee is a pattern of path.Match for the payee's account, such as "DE*"; empty
	// for every payee.
	Payee string
	// Channels in order, two or more.
	Channels []channel.Name
	// RetryOn are the reasons of a decline after which the next channel is tried,
	// such as "bank_closed"; after any other the payment fails.
	RetryOn []string
}

// Routes are looked through in order; the first that fits a payment holds.
type Routes []Route

func (rs Routes) of(p *pay.Payment) *Route {
	// A refund goes back the way its deposit came: its payee means nothing elsewhere. A
	// capture has the channel of its hold.
	if p.Kind != pay.Payout {
		return nil
	}
	for i := range rs {
		r := &rs[i]
		if r.Asset != "" && r.Asset != p.Asset || !slices.Contains(r.Channels, channel.Name(p.Channel)) {
			continue
		}
		if fits, err := path.Match(r.Payee, p.PayeeAccount); r.Payee == "" || err == nil && fits {
			return r
		}
	}
	return nil
}

// Next is the channel after the payment's own; empty when there is none.
func (rs Routes) Next(p *pay.Payment) channel.Name {
	r := rs.of(p)
	if r == nil {
		return ""
	}
	if i := slices.Index(r.Channels, channel.Name(p.Channel)) + 1; i < len(r.Channels) {
		return r.Channels[i]
	}
	return ""
}

// Redirects reports whether a payout that its channel declined for this reason is to
// be tried at the next one.
func (rs Routes) Redirects(p *pay.Payment, reason string) bool {
	return rs.Next(p) != "" && slices.Contains(rs.of(p).RetryOn, reason)
}

// laneFor is the lane of the next attempt: the payment's own channel; the next of its
// route after an attempt that is proven not to have moved money, or when nothing has
// been attempted and the breaker is open. An attempt that may have moved money never
// comes here.
func (d *Dispatcher) laneFor(p *pay.Payment) *lane {
	own := d.lanes[channel.Name(p.Channel)]
	next := d.lanes[d.cfg.Routes.Next(p)]
	if next == nil {
		return own
	}
	switch p.Attempt.State {
	case pay.Absent, pay.Declined:
		return next
	case pay.NoAttempt, pay.NeverSent:
		if own == nil || !d.usable(own) && d.usable(next) {
			return next
		}
	case pay.Intended, pay.Acked, pay.AttemptUnknown, pay.Confirmed:
	}
	return own
}
