package commit

import (
	"context"
	"log/slog"
	"time"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/pay"
)

// clocks compares this machine's clock with the database's, at every look at who
// leads and at every heartbeat, and raises the alarm.
type clocks struct {
	guard   *clock.Guard
	logger  *slog.Logger
	metrics *metrics
}

func (c *clocks) read() clock.Reading {
	if c == nil {
		return clock.Reading{}
	}
	return c.guard.Read()
}

func (c *clocks) compare(ctx context.Context, asked clock.Reading, db time.Time) {
	if c == nil {
		return
	}
	f := c.guard.Compare(asked, db)
	c.metrics.clocks(&f)
	switch {
	case !f.Changed:
	case f.Trouble != "":
		c.logger.ErrorContext(ctx, "clocks disagree: no hold expires, no absence is proven and no payout is sent until they agree again",
			slog.String("trouble", f.Trouble), slog.Duration("drift", f.Drift), slog.Duration("skew", f.Skew))
	default:
		c.logger.WarnContext(ctx, "clocks agree again: what depends on the time goes on")
	}
}

// newWatch follows who leads, and the database's clock with it.
func (n *Node) newWatch() *watch { return &watch{shard: n.cfg.Shard, clocks: n.clocks} }

// TimeUnsound returns why nothing may be decided that depends on what time it is,
// or nil. The decider refuses such Facts itself; stations ask in order not to ask
// for them.
func (n *Node) TimeUnsound() error { return n.cfg.Guard.Unsound() }

// timed refuses a Fact whose outcome depends on what time it is while nobody
// knows. The refusal is not stored with the key: the same request is judged anew.
func (j *judge) timed(f *pay.Fact) error {
	if j.unsound == nil || !j.dependsOnTime(f) {
		return nil
	}
	return fault.New(fault.DatabaseUnsafe, "this step depends on the time, and the clocks disagree; it goes on when they agree").
		WithOp("commit.timed").WithCause(j.unsound)
}

// dependsOnTime lists them: what expires, what may be taken only before something
// expires, what counts how long nobody knew of an attempt, and what says until
// when an attempt may be sent. Doubt does not, although a timer raises it: an
// unknown outcome is asked for, and wrong at no time. That no byte was sent is
// known by who held it, not by a clock.
func (j *judge) dependsOnTime(f *pay.Fact) bool {
	switch f.Kind {
	case pay.Expire, pay.Intend, pay.Resend, pay.Take:
		return true
	case pay.ProveAbsent, pay.GiveUp:
		return f.AttemptState != pay.NeverSent
	case pay.Accept:
		return f.New.Kind == pay.Hold || f.New.Kind == pay.Capture
	case pay.Clear, pay.Ack, pay.Doubt, pay.Confirm, pay.Decline, pay.Cancel, pay.Settle, pay.Checked, pay.Redirect,
		pay.GiveBack, pay.Returned, pay.ChargedBack, pay.Recover, pay.WriteOff, pay.Challenge, pay.ActionDone, pay.Review, pay.ReviewOk, pay.ReviewNo, pay.Attest:
	}
	return false
}
