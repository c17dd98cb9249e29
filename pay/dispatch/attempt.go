package dispatch

import (
	"context"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/commit"
)

// Attempts of which no byte left us may be repeated safely, with growing waits;
// after the last one the holder gets the money back.
const (
	neverSentMax = 12
	againFirst   = 500 * time.Millisecond
	againMax     = 30 * time.Second
)

// intend commits the intents of a batch and sends those that became ours.
func (d *Dispatcher) intend(l *lane, batch []pay.Payment) {
	if batch = d.stillProven(l, batch); len(batch) == 0 {
		l.intended()
		return
	}
	now := d.cfg.Clock.Now()
	// Microseconds are what the database keeps: ours is recognised by equality.
	limit := now.Add(min(sendWindowMax, l.window()))
	limit = limit.Add(-time.Duration(limit.Nanosecond() % 1000))
	sendBy := limit.Round(0)
	facts := make([]commit.Fact, len(batch))
	for i := range batch {
		f := &pay.Fact{
			Kind: pay.Intend, Payment: batch[i].ID, At: now, Attempt: batch[i].Attempt.N + 1, SendBy: sendBy,
			Source: "dispatch", NextAt: sendBy.Add(l.caps.ClientTimeout + time.Second),
		}
		switch {
		case batch[i].State == pay.Unknown:
			f.Kind, f.Attempt, f.Reason = pay.Resend, batch[i].Attempt.N, "not_found"
			d.logResend(&batch[i])
		case batch[i].Channel != string(l.name):
			f.Channel = string(l.name)
		}
		facts[i] = commit.Fact{Payment: f}
	}
	answers := d.submit(facts)
	l.intended()
	for i := range answers {
		p := answers[i].Payment
		if answers[i].Err == nil && ours(&p, facts[i].Payment) {
			resend := facts[i].Payment.Kind == pay.Resend
			d.work.Go(func() { d.send(l, p, limit, resend) })
			continue
		}
		d.notIntended(l, batch[i].ID, answers[i].Err)
	}
}

func (l *lane) window() time.Duration {
	if l.caps.SendWindow <= 0 {
		return sendWindowMax
	}
	return l.caps.SendWindow
}

// ours reports whether the committed attempt is the one that we just intended.
// A repeated submit is answered as a no-op, so the answer alone does not tell.
func ours(p *pay.Payment, f *pay.Fact) bool {
	return p.State == pay.Dispatching && p.Attempt.N == f.Attempt && p.Attempt.SendBy.Equal(f.SendBy)
}

// notIntended lets go of a payment that may not be attempted: it moved while it
// was queued, or the intent could not be committed and the timer offers it again.
func (d *Dispatcher) notIntended(l *lane, id pay.ID, err error) {
	l.unused()
	d.release(l, id)
	if err != nil {
		d.metrics.refused.WithLabelValues(string(l.name), string(fault.CodeOf(err))).Inc()
		d.log.LogAttrs(d.ctx, slog.LevelWarn, "attempt was not intended",
			slog.String("payment", id.String()), slog.Any("error", err))
	}
}

// outcome is a fact about an attempt on its way to the decider.
type outcome struct {
	lane *lane
	fact pay.Fact
}

// send talks to the channel, outside any transaction. Its limit is the attempt's
// send_by, with the monotonic reading of the moment when the intent was formed: a
// wall clock that is set back in between gives no byte more time.
func (d *Dispatcher) send(l *lane, p pay.Payment, limit time.Time, resend bool) {
	l.inflight.Inc()
	defer l.inflight.Dec()
	d.metrics.attempt(string(l.name), p.Attempt.N, resend)
	if !resend && p.Attempt.N == 1 {
		l.budget.earn(1)
	}
	// A second more than the channel's own bound: if it must be cut off, it is
	// the adapter that does it, and knows what was written.
	ctx, end := d.cfg.Telemetry.Step(d.ctx, p.TraceID, "dispatch.send", time.Time{},
		attribute.String("payment", p.ID.String()), attribute.String("channel", string(l.name)), attribute.String("reference", p.Attempt.Reference))
	ctx, cancel := context.WithTimeout(ctx, l.caps.ClientTimeout+time.Second)
	word := channel.Word{Verdict: channel.NeverSent, Reason: reasonHeld}
	if d.sendable(l) {
		word = l.ch.Send(ctx, channel.Order{
			Reference: p.Attempt.Reference, Amount: p.Amount, Asset: p.Asset,
			Payee: channel.Party{Account: p.PayeeAccount, Name: p.PayeeName}, Remittance: p.Remittance, SendBy: limit,
		})
	}
	cancel()
	end(word.Err())
	now := d.cfg.Clock.Now()
	l.moved.Set(now)
	d.turns.Add(1)
	l.judge(word)
	d.metrics.word(string(l.name), word)
	if resend && word.Verdict == channel.NeverSent {
		word.Verdict = channel.Unknown // no byte of this order left; of the one before it nobody knows more than he did
	}
	f := factOf(l.caps, &p, word, now)
	if f.Kind == pay.Decline && d.cfg.Routes.Redirects(&p, f.Reason) {
		f.Kind = pay.Redirect
	}
	d.outcomes <- outcome{lane: l, fact: f}
}

// factOf turns the channel's word on a send into a fact. What is not clearly
// said is doubt, whatever it was.
func factOf(caps channel.Capabilities, p *pay.Payment, w channel.Word, now time.Time) pay.Fact {
	f := pay.Fact{
		Payment: p.ID, At: now, Attempt: p.Attempt.N, ChannelID: w.ChannelID, Reason: w.Reason, Source: "reply",
		NextAt: now.Add(max(caps.QueryAfter(0), min(w.RetryAfter, againMax))),
	}
	switch w.Verdict {
	case channel.Acked:
		f.Kind = pay.Ack
	case channel.Confirmed:
		f.Kind, f.Amount, f.Asset = pay.Confirm, w.Amount, w.Asset
	case channel.Declined:
		f.Kind, f.SendBy = pay.Decline, p.Attempt.SendBy
	case channel.NeverSent:
		f.Kind, f.AttemptState, f.SendBy = pay.ProveAbsent, pay.NeverSent, p.Attempt.SendBy
		f.NextAt = now.Add(again(p.Attempt.N))
		if w.Reason == channel.ReasonBadOrder || p.Attempt.N >= neverSentMax && w.Reason != reasonHeld { // nobody fails for being held back
			f.Kind = pay.GiveUp
		}
	case channel.Unknown, channel.NotFound, channel.Returned, channel.ChargedBack:
		f.Kind = pay.Doubt
	default:
		f.Kind = pay.Doubt
	}
	return f
}

// again is the wait after attempt n of which nothing was sent.
func again(n int16) time.Duration {
	return min(againFirst<<min(max(n-1, 0), 10), againMax)
}
