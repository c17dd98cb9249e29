package app

import (
	"context"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/notify"
	"github.com/moneta-pay/moneta/pay/settle"
)

// backlog brings forward what waits, on the node that leads.
type backlog struct{ p *plane }

// Hasten asks the wheel, or the inbox.
func (b backlog) Hasten(ctx context.Context, o api.Hasten) (api.BacklogWork, error) {
	out := api.BacklogWork{Value: map[string]string{}}
	if !b.p.node.Leading() {
		return out, fault.New(fault.NotLeader, "this node does not lead; ask the one that does")
	}
	switch o.Act {
	case doctor.DoParkCallback, api.ActUnpark, api.ActGiveUp:
		return b.aside(ctx, &o)
	case doctor.DoRebuildProjection:
		return b.rebuild(ctx, &o)
	case doctor.DoProposeCompensation:
		return b.propose(ctx, &o)
	case api.ActTell:
		return b.recover(ctx, notify.Recovery{Endpoint: o.Endpoint, Since: o.Since, Again: true, Dry: o.Dry})
	case doctor.DoReplayCallbacks:
		err := b.p.stations.QueryRow(ctx, `select count(*) from inbox where applied_at is null and ($1 = '' or channel = $1)`, o.Channel).Scan(&out.Items)
		if err == nil && !o.Dry && out.Items > 0 {
			b.p.inbox.SweepNow()
		}
		return out, err
	}
	only := newChosen(o.Payments)
	found, err := b.p.wheel.Hasten(func(p *pay.Payment) bool {
		return only.takes(p, func(p *pay.Payment) string { return b.left(&o, p) })
	}, o.Dry)
	out.Items, out.Left = found.Items, only.rest()
	for asset, worth := range found.Worth {
		out.Value[string(asset)] = worth.String()
	}
	return out, err
}

// aside sets callbacks aside, or ends that they are.
func (b backlog) aside(ctx context.Context, o *api.Hasten) (out api.BacklogWork, err error) {
	out.Value = map[string]string{}
	order := settle.AsideOrder{Channel: channel.Name(o.Channel), Callbacks: o.Callbacks, By: o.By, Reason: o.Reason}
	var letters []settle.Letter
	switch {
	case o.Act == doctor.DoParkCallback && o.Dry:
		letters, err = b.p.inbox.MayGoAside(ctx, &order)
	case o.Act == doctor.DoParkCallback:
		letters, err = b.p.inbox.SetAside(ctx, &order)
	default:
		if letters, err = b.p.inbox.Aside(ctx, &order); err != nil || o.Dry || len(letters) == 0 {
			break
		}
		order.Callbacks = nil
		for i := range letters {
			order.Callbacks = append(order.Callbacks, letters[i].ID)
		}
		if o.Act == api.ActUnpark {
			_, err = b.p.inbox.Replay(ctx, &order)
			break
		}
		err = pgx.BeginFunc(ctx, b.p.stations, func(tx pgx.Tx) error {
			_, err := b.p.inbox.GiveUp(ctx, tx, &order)
			return err
		})
	}
	out.Items, out.Callbacks = len(letters), showLetters(letters)
	return out, err
}

// Parked is what is aside.
func (b backlog) Parked(ctx context.Context, name string) ([]api.BacklogCallback, error) {
	letters, err := b.p.inbox.Aside(ctx, &settle.AsideOrder{Channel: channel.Name(name)})
	return showLetters(letters), err
}

func showLetters(letters []settle.Letter) []api.BacklogCallback {
	out := make([]api.BacklogCallback, len(letters))
	for i := range letters {
		l := &letters[i]
		out[i] = api.BacklogCallback{ID: strconv.FormatInt(l.ID, 10), Channel: l.Channel, ReceivedAt: l.ReceivedAt.UTC(), By: l.By, Reason: l.Reason, Body: l.Body}
		if !l.AsideAt.IsZero() {
			at := l.AsideAt.UTC()
			out[i].ParkedAt = &at
		}
	}
	return out
}

// rebuild derives a projection anew from the log.
func (b backlog) rebuild(ctx context.Context, o *api.Hasten) (out api.BacklogWork, err error) {
	if o.Projection == api.ProjectionWebhooks {
		return b.recover(ctx, notify.Recovery{Since: o.Since, Dry: o.Dry})
	}
	done, err := b.p.recon.Rebuild(ctx, o.Since, o.After, o.Dry)
	out.Value, out.Items, out.Dropped = map[string]string{}, done.Added+done.Dropped, done.Dropped
	if done.More {
		out.Next = strconv.FormatInt(done.Next, 10)
	}
	return out, err
}

// recover has endpoints told what they were not.
func (b backlog) recover(ctx context.Context, r notify.Recovery) (out api.BacklogWork, err error) {
	done, err := b.p.webhooks.TellAgain(ctx, r)
	out.Value, out.Cut, out.Enabled = map[string]string{}, done.Cut, len(done.Enabled) > 0
	if out.Items = done.GivenUp + done.Waiting + done.Missing; !r.Dry && !r.Again {
		out.Items = done.Endpoints // what has no row is queued by and by
	}
	return out, err
}

// left says why an act is not about a payment that is open, or nothing when it is.
func (b backlog) left(o *api.Hasten, p *pay.Payment) string {
	switch {
	case o.Channel != "" && p.Channel != o.Channel:
		return api.LeftOther
	case !fitsBacklog(o.Act, p):
		return whyNot(o.Act, p)
	case o.Act != doctor.DoRedispatch && !b.affordable(p):
		return api.LeftAsked
	}
	return ""
}

// chosen are the payments that somebody named, each with why it is left out; all are
// chosen when nobody named any.
type chosen struct {
	ids []pay.ID
	why map[pay.ID]string
}

// newChosen takes them for final until the wheel, which has all that are open, tells.
func newChosen(ids []pay.ID) *chosen {
	c := &chosen{why: make(map[pay.ID]string, len(ids))}
	for _, id := range ids {
		if _, twice := c.why[id]; !twice {
			c.ids, c.why[id] = append(c.ids, id), api.LeftFinal
		}
	}
	return c
}

func (c *chosen) takes(p *pay.Payment, left func(*pay.Payment) string) bool {
	if len(c.ids) == 0 {
		return left(p) == ""
	}
	if _, named := c.why[p.ID]; !named {
		return false
	}
	c.why[p.ID] = left(p)
	return c.why[p.ID] == ""
}

func (c *chosen) rest() (out []api.BacklogLeft) {
	for _, id := range c.ids {
		if why := c.why[id]; why != "" {
			out = append(out, api.BacklogLeft{Payment: id.String(), Why: why})
		}
	}
	return out
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

// whyNot says why an act is not about an open payment that fitsBacklog refused.
func whyNot(act string, p *pay.Payment) string {
	switch {
	case p.WhenDue() != 0 || p.Kind == pay.Hold:
		return api.LeftTimer
	case act == doctor.DoRedispatch && p.Attempt.N > 0:
		return api.LeftSent
	case act == doctor.DoQueryUnknowns && p.Attempt.N == 0:
		return api.LeftNotSent
	}
	return api.LeftTimer
}
