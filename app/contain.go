package app

import (
	"context"
	"time"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/lever"
	"github.com/moneta-pay/moneta/lever/board"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/dispatch"
	"github.com/moneta-pay/moneta/pay/recon"
)

// contained stands between intake and the decider and refuses what a lever refuses.
// Only what callers want comes this way: what channels said, what timers and the
// reconciliation found goes to the decider by itself, so that no lever can keep a
// callback from being settled. While nothing is pulled it costs one atomic load.
type contained struct {
	*commit.Node
	board *board.Board
}

// Submit is the node's, or the refusal; a key that is known gets its answer all the same.
func (c contained) Submit(ctx context.Context, f commit.Fact) (commit.Result, error) {
	s := c.board.Standing()
	if s.Empty() {
		return c.Node.Submit(ctx, f)
	}
	err := refusedBy(s, c.board.Now(), &f)
	if err == nil {
		return c.Node.Submit(ctx, f)
	}
	out := c.Refuse(ctx, []commit.Fact{f}, []error{err})
	return out[0].Result, out[0].Err
}

// SubmitAll does so for several.
func (c contained) SubmitAll(ctx context.Context, facts []commit.Fact) []commit.Outcome {
	s := c.board.Standing()
	if s.Empty() {
		return c.Node.SubmitAll(ctx, facts)
	}
	now := c.board.Now()
	var pass, refused []commit.Fact
	var why []error
	places := make([]int, 0, len(facts)) // of those that pass, then of the refused ones
	var refusedAt []int
	for i := range facts {
		if err := refusedBy(s, now, &facts[i]); err != nil {
			refused, why, refusedAt = append(refused, facts[i]), append(why, err), append(refusedAt, i)
			continue
		}
		pass, places = append(pass, facts[i]), append(places, i)
	}
	out := make([]commit.Outcome, len(facts))
	if len(pass) > 0 {
		for k, o := range c.Node.SubmitAll(ctx, pass) {
			out[places[k]] = o
		}
	}
	if len(refused) > 0 {
		for k, o := range c.Refuse(ctx, refused, why) {
			out[refusedAt[k]] = o
		}
	}
	return out
}

// refusedBy returns why a caller's wish is refused now, or nil. A freeze is never
// refused: it contains.
func refusedBy(s *lever.Standing, now time.Time, f *commit.Fact) error {
	if p := s.Writes(now); p != nil && (f.Account == nil || !f.Account.Frozen) {
		return held(fault.ReadOnly, p, now)
	}
	if f.Payment == nil || f.Payment.Kind != pay.Accept {
		return nil
	}
	n := f.Payment.New
	if p := s.Intake(now, &lever.Subject{Tenant: int32(n.Tenant), Kind: n.Kind.String(), Channel: n.Channel}); p != nil {
		return held(fault.IntakePaused, p, now)
	}
	return nil
}

// held is the refusal by a lever: what, why, and until when.
func held(code fault.Code, p *lever.Pull, now time.Time) error {
	return fault.New(code, p.Refusal()).WithRetryAfter(max(p.Left(now), time.Second)).WithMoneyState(fault.NotMoved)
}

// contain tells dispatch how a channel is held back: one place for every reason that
// concerns a whole channel. Who has not looked at the levers lately (the process stood
// still) sends nothing until it has.
func (p *plane) contain(name channel.Name) dispatch.Containment {
	if !p.levers.Current() {
		return dispatch.Containment{Stopped: true}
	}
	s := p.levers.Standing()
	if s.Empty() {
		return dispatch.Containment{}
	}
	now := p.levers.Now()
	return dispatch.Containment{
		Stopped: s.Dispatch(now, string(name)) != nil, Broken: s.Broken(now, string(name)) != nil, AtOnce: s.AtOnce(now, string(name)),
	}
}

// dispatchState tells of pauses by a restore and by levers in one answer.
type dispatchState struct {
	*recon.Gate
	board *board.Board
}

// State is the gate's, and paused too while a lever stops every channel.
func (d dispatchState) State(ctx context.Context) (recon.DispatchState, error) {
	s, err := d.Gate.State(ctx)
	return d.levers(s), err
}

// Resume ends the pause after a restore; a lever is undone, not resumed.
func (d dispatchState) Resume(ctx context.Context, by, reason string) (recon.DispatchState, error) {
	s, err := d.Gate.Resume(ctx, by, reason)
	return d.levers(s), err
}

func (d dispatchState) levers(s recon.DispatchState) recon.DispatchState {
	p := d.board.Standing().Dispatch(d.board.Now(), "")
	if p == nil || s.Paused {
		return s
	}
	at := p.At
	s.Paused, s.PausedAt, s.Reason = true, &at, "by the lever "+p.ID.String()+", "+p.Refusal()
	return s
}
