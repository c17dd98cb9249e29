package settle

import (
	"time"

	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
)

// answerOf turns the channel's word on a query into a fact. There always is one,
// and while the payment stays open it names the time of the next query.
func answerOf(caps channel.Capabilities, p *pay.Payment, w channel.Word, known, asked, now time.Time) pay.Fact {
	next := now.Add(max(queryWait(caps, int(p.Checks)+1), min(w.RetryAfter, retryAfterMax)))
	if p.Kind.Leaves() && w.Direction == channel.In || p.Kind == pay.Deposit && w.Direction == channel.Out {
		w = channel.Word{Verdict: channel.Unknown, Reason: channel.ReasonEcho}
	}
	switch w.Verdict {
	case channel.Confirmed, channel.Declined:
		f := factOf(channel.Name(p.Channel), w, p.ID, p.Attempt.N, "query", next)
		f.At = now
		switch covered := over(caps, p, known, asked); {
		case f.Kind != pay.Decline || !p.Kind.Leaves():
			return *f
		case covered:
			f.SendBy = p.Attempt.SendBy
			return *f
		case p.Attempt.Resends == 0:
			return *f
		}
		w.Reason = reasonNewer // it may be the first order that was declined, and the next is on its way
	case channel.Acked:
		if p.State != pay.Processing {
			f := factOf(channel.Name(p.Channel), w, p.ID, p.Attempt.N, "query", now.Add(queryWait(caps, 0)))
			f.At = now
			return *f
		}
	case channel.NotFound:
		if absent(caps, p, known, asked) {
			return absence(p, now)
		}
		if once := now.Add(proofIn(caps, p, known, asked)); mayAskSooner(caps, p, &w) && once.Before(next) {
			next = once
		}
	case channel.Unknown, channel.NeverSent, channel.Returned, channel.ChargedBack:
	}
	return pay.Fact{Kind: pay.Checked, Payment: p.ID, At: now, Source: "query", Reason: w.Reason, NextAt: next}
}

// retryAfterMax bounds how long a channel can keep us from asking.
const retryAfterMax = 15 * time.Minute

// reasonNewer is why a refusal decides nothing yet.
const reasonNewer = "a newer order may be on its way"

// absent reports whether a not-found proves that the attempt never executed and
// never will: the rail's contract says so, everything that could still be under
// way when we asked was over, and the channel never said that it had the order.
func absent(caps channel.Capabilities, p *pay.Payment, known, asked time.Time) bool {
	return p.Kind.Leaves() && p.State == pay.Unknown && p.Attempt.ChannelID == "" && caps.NotFoundMeansNever && over(caps, p, known, asked)
}

// over reports whether everything that could be under way of the attempt was over, and
// visible, when we asked. It must be so twice: by send_by, which another node's clock
// may have written, and by this process's monotonic clock since it knew of the
// attempt's newest order, which no clock that is wrong, here or there, can make too
// early.
func over(caps channel.Capabilities, p *pay.Payment, known, asked time.Time) bool {
	return !p.Attempt.SendBy.IsZero() && !asked.Before(caps.NotFoundCounts(p.Attempt.SendBy)) && asked.Sub(known) >= caps.NotFoundAfter()
}

// mayAskSooner reports whether the next query may come before its turn: the rail did not
// say when, a not-found will prove something, and half of the budget is left, of which
// any part may be spent at once.
func mayAskSooner(caps channel.Capabilities, p *pay.Payment, w *channel.Word) bool {
	return w.RetryAfter == 0 && p.Kind.Leaves() && p.State == pay.Unknown && p.Attempt.ChannelID == "" && caps.NotFoundMeansNever &&
		!p.Attempt.SendBy.IsZero() && (caps.QueryBudget <= 0 || int(p.Checks)+1 < caps.QueryBudget/2)
}

// proofIn is in how long a not-found will prove absence, a second at least: a holder
// need not wait for the turn after that.
func proofIn(caps channel.Capabilities, p *pay.Payment, known, asked time.Time) time.Duration {
	return max(caps.NotFoundCounts(p.Attempt.SendBy).Sub(asked), caps.NotFoundAfter()-asked.Sub(known), time.Second)
}

// absence sends the payment back for a new attempt, or, after several, the money
// back to its holder.
func absence(p *pay.Payment, now time.Time) pay.Fact {
	f := pay.Fact{
		Kind: pay.ProveAbsent, Payment: p.ID, At: now, Attempt: p.Attempt.N, AttemptState: pay.Absent,
		SendBy: p.Attempt.SendBy, Source: "query", Reason: "not_found", NextAt: now.Add(againAfter),
	}
	if p.Attempt.N >= attemptsMax {
		f.Kind = pay.GiveUp
	}
	return f
}

// queryWait is the wait before query n of a payment in one state, counted from
// 0. Half of the rail's budget is spent by its schedule, the other half evenly,
// so that no window holds more queries than the budget.
func queryWait(caps channel.Capabilities, n int) time.Duration {
	wait := caps.QueryAfter(n)
	if caps.QueryBudget > 0 && caps.QueryWindow > 0 && n >= caps.QueryBudget/2 {
		wait = max(wait, 2*caps.QueryWindow/time.Duration(caps.QueryBudget))
	}
	return wait
}
