package app

import (
	"context"

	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
)

// backlog brings forward what waits, on the node that leads.
type backlog struct{ p *plane }

// Hasten asks the wheel, or the inbox.
func (b backlog) Hasten(ctx context.Context, act, channel string, dry bool) (api.BacklogWork, error) {
	out := api.BacklogWork{Value: map[string]string{}}
	if !b.p.node.Leading() {
		return out, fault.New(fault.NotLeader, "this node does not lead; ask the one that does")
	}
	if act == doctor.DoReplayCallbacks {
		err := b.p.stations.QueryRow(ctx, `select count(*) from inbox where applied_at is null and ($1 = '' or channel = $1)`, channel).Scan(&out.Items)
		if err == nil && !dry && out.Items > 0 {
			b.p.inbox.SweepNow()
		}
		return out, err
	}
	found, err := b.p.wheel.Hasten(func(p *pay.Payment) bool {
		return (channel == "" || p.Channel == channel) && fitsBacklog(act, p) && (act == doctor.DoRedispatch || b.affordable(p))
	}, dry)
	out.Items = found.Items
	for asset, worth := range found.Worth {
		out.Value[string(asset)] = worth.String()
	}
	return out, err
}

// affordable reports whether the channel may be asked once more ahead of time: half of
// its budget for one reference is for the plan of queries, which slows down from there.
func (b backlog) affordable(p *pay.Payment) bool {
	for _, ch := range b.p.channels {
		if string(ch.Name()) == p.Channel {
			budget := ch.Capabilities().QueryBudget
			return budget <= 0 || int(p.Checks) < budget/2
		}
	}
	return false
}

// fitsBacklog says which payments an act is about. What was attempted is never
// redispatched, what was never attempted is not asked for, and what a timer alone
// moves on (an expiry, a debt) keeps its time.
func fitsBacklog(act string, p *pay.Payment) bool {
	if p.WhenDue() != 0 {
		return false
	}
	switch act {
	case doctor.DoQueryUnknowns:
		return p.Attempt.N > 0 && (p.State == pay.Unknown || p.State == pay.Processing || p.State == pay.Dispatching)
	case doctor.DoRedispatch:
		return p.Attempt.N == 0 && p.State == pay.Reserved && p.Kind != pay.Hold
	}
	return false
}
