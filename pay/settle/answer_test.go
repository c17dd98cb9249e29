package settle

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
)

var noon = time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)

func caps() channel.Capabilities {
	return channel.Capabilities{
		ClientTimeout: 3 * time.Second, VisibilityDelay: 5 * time.Second, NotFoundMeansNever: true,
		QuerySchedule: []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}, QueryBudget: 20, QueryWindow: time.Hour,
	}
}

// P8: whatever the channel answers, the fact is legal where the payment stands,
// and while it stays open its next step lies in the future.
func TestEveryAnswerLeavesAFutureTimer(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		p := pay.Payment{
			ID: 7, Kind: pay.Payout, Asset: "CZK", Amount: money.Int(100), Channel: "bank-ab", EnteredAt: noon, NextAt: noon,
			State:   rapid.SampledFrom([]pay.State{pay.Processing, pay.Unknown}).Draw(rt, "state"),
			Attempt: pay.Attempt{N: int16(rapid.IntRange(1, 5).Draw(rt, "n")), State: pay.AttemptUnknown, SendBy: noon.Add(-time.Duration(rapid.IntRange(0, 20).Draw(rt, "ago")) * time.Second)},
			Checks:  int32(rapid.IntRange(0, 200).Draw(rt, "checks")),
		}
		p.Attempt.Resends = int16(rapid.IntRange(0, 2).Draw(rt, "resends"))
		if rapid.Bool().Draw(rt, "deposit") {
			p.Kind, p.Attempt = pay.Deposit, pay.Attempt{}
			p.State = rapid.SampledFrom([]pay.State{pay.Created, pay.Processing}).Draw(rt, "deposit state")
		}
		w := channel.Word{
			Verdict:   channel.Verdict(rapid.IntRange(0, 7).Draw(rt, "verdict")),
			Direction: channel.Direction(rapid.IntRange(0, 2).Draw(rt, "direction")), Amount: p.Amount, Asset: p.Asset,
		}
		c := caps()
		c.NotFoundMeansNever = rapid.Bool().Draw(rt, "never")
		known := noon.Add(-time.Duration(rapid.IntRange(0, 20).Draw(rt, "known")) * time.Second)
		f := answerOf(c, &p, w, known, noon, noon)
		change, err := pay.Next(p, f)
		require.NoError(rt, err)
		if change.After.Open() {
			require.True(rt, change.After.NextAt.After(noon), "%s %s on %s", f.Kind, w.Verdict, p.State)
		}
		absent := f.Kind == pay.ProveAbsent || f.Kind == pay.GiveUp
		proof := w.Verdict == channel.NotFound && c.NotFoundMeansNever && p.State == pay.Unknown && p.Kind == pay.Payout &&
			!noon.Before(p.Attempt.SendBy.Add(8*time.Second)) && w.Direction != channel.In &&
			noon.Sub(known) >= 13*time.Second
		require.Equal(rt, proof, absent)
		if absent {
			require.Equal(rt, p.Attempt.N >= attemptsMax, f.Kind == pay.GiveUp)
		}
	})
}

// A channel that once acknowledged the order has it: not-found is its mistake.
func TestNotFoundAfterAnAcknowledgementProvesNothing(t *testing.T) {
	t.Parallel()
	p := pay.Payment{ID: 7, Kind: pay.Payout, State: pay.Unknown, Attempt: pay.Attempt{N: 1, State: pay.AttemptUnknown, SendBy: noon.Add(-time.Hour)}}
	require.Equal(t, pay.ProveAbsent, answerOf(caps(), &p, channel.Word{Verdict: channel.NotFound}, time.Time{}, noon, noon).Kind)
	p.Attempt.ChannelID = "B-1"
	require.Equal(t, pay.Checked, answerOf(caps(), &p, channel.Word{Verdict: channel.NotFound}, time.Time{}, noon, noon).Kind)
	p.Attempt.ChannelID, p.State = "", pay.Processing
	require.Equal(t, pay.Checked, answerOf(caps(), &p, channel.Word{Verdict: channel.NotFound}, time.Time{}, noon, noon).Kind)
}

// A refusal that a query brings while another order may be on its way decides nothing;
// once that must be over and visible it does.
func TestARefusalOfWhatWasSentAgainWaitsForTheNewestOrder(t *testing.T) {
	t.Parallel()
	sendBy := noon.Add(-7 * time.Second)
	p := pay.Payment{
		ID: 7, Kind: pay.Payout, State: pay.Unknown, Channel: "bank-ab", Amount: money.Int(100), Asset: "CZK",
		Attempt: pay.Attempt{N: 1, State: pay.AttemptUnknown, SendBy: sendBy},
	}
	declined := channel.Word{Verdict: channel.Declined, Reason: "closed"}
	require.Equal(t, pay.Decline, answerOf(caps(), &p, declined, time.Time{}, noon, noon).Kind, "sent once: whatever it says is about that")
	p.Attempt.Resends = 1
	early := answerOf(caps(), &p, declined, time.Time{}, noon, noon)
	require.Equal(t, pay.Checked, early.Kind)
	require.True(t, early.NextAt.After(noon))
	require.Equal(t, pay.Checked, answerOf(caps(), &p, declined, noon.Add(-11*time.Second), noon.Add(time.Second), noon.Add(time.Second)).Kind, "not yet by our own clock")
	f := answerOf(caps(), &p, declined, time.Time{}, noon.Add(time.Second), noon.Add(time.Second))
	require.Equal(t, []any{pay.Decline, sendBy}, []any{f.Kind, f.SendBy})
	c, err := pay.Next(p, f)
	require.NoError(t, err)
	require.Equal(t, pay.Failed, c.To)
}

// No window of the rail's holds more queries of one reference than its budget.
func TestTheQueryBudgetHolds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		c := caps()
		c.QueryBudget = rapid.IntRange(2, 60).Draw(rt, "budget")
		c.QueryWindow = time.Duration(rapid.IntRange(1, 120).Draw(rt, "minutes")) * time.Minute
		var asked []time.Time
		at := noon
		for n := range 4 * c.QueryBudget {
			at = at.Add(queryWait(c, n))
			asked = append(asked, at)
			if n >= c.QueryBudget {
				require.GreaterOrEqual(rt, at.Sub(asked[n-c.QueryBudget]), c.QueryWindow)
			}
		}
	})
}

// The query whose not-found proves absence comes when it does, and not at the next turn of
// the plan; what proves nothing, or has spent half of its budget, keeps its turn.
func TestTheQueryThatProvesAbsenceIsNotLate(t *testing.T) {
	t.Parallel()
	p := pay.Payment{
		ID: 7, Kind: pay.Payout, State: pay.Unknown, Checks: 3,
		Attempt: pay.Attempt{N: 1, State: pay.AttemptUnknown, SendBy: noon.Add(-6 * time.Second)},
	}
	c := caps()
	c.QuerySchedule = []time.Duration{30 * time.Second}
	next := func(w channel.Word, known time.Duration) time.Duration {
		f := answerOf(c, &p, w, noon.Add(-known), noon, noon)
		require.Equal(t, pay.Checked, f.Kind)
		return f.NextAt.Sub(noon)
	}
	notFound := channel.Word{Verdict: channel.NotFound}
	require.Equal(t, 2*time.Second, next(notFound, time.Hour), "by its send_by")
	require.Equal(t, 9*time.Second, next(notFound, 4*time.Second), "a new leader counts from its takeover")
	p.Attempt.SendBy = noon.Add(-time.Minute)
	require.Equal(t, time.Second, next(notFound, 13*time.Second-time.Millisecond), "and never at once")

	require.Equal(t, 30*time.Second, next(channel.Word{Verdict: channel.Unknown}, 4*time.Second))
	busy := notFound
	busy.RetryAfter = 20 * time.Second
	require.Equal(t, 30*time.Second, next(busy, 4*time.Second), "the bank said when")
	p.Checks = 9
	require.Equal(t, 6*time.Minute, next(notFound, 4*time.Second), "the second half of the budget is spread evenly")
	p.Checks, c.NotFoundMeansNever = 3, false
	require.Equal(t, 30*time.Second, next(notFound, 4*time.Second))
	c.NotFoundMeansNever, p.Attempt.ChannelID = true, "B-1"
	require.Equal(t, 30*time.Second, next(notFound, 4*time.Second))
}

// TestAbsenceCountsOnOneClock: a leader that takes over with a clock an hour
// ahead, or that reads a send_by which another's clock wrote, counts anew.
func TestAbsenceCountsOnOneClock(t *testing.T) {
	t.Parallel()
	hands := clock.NewManual(noon)
	a, _ := newSighted(t, hands)
	p := pay.Payment{
		ID: 7, Kind: pay.Payout, State: pay.Unknown, Channel: "bank-ab",
		Attempt: pay.Attempt{N: 1, State: pay.AttemptUnknown, SendBy: noon.Add(-time.Hour)},
	}
	notFound := func() pay.FactKind {
		now := hands.Now()
		return answerOf(caps(), &p, channel.Word{Verdict: channel.NotFound}, a.knownSince(&p, now), now, now).Kind
	}
	a.Load([]pay.Payment{p})
	require.Equal(t, pay.Checked, notFound(), "its send_by is an hour ago by a clock that nobody knows")
	hands.Advance(13*time.Second - 1)
	require.Equal(t, pay.Checked, notFound())
	hands.Advance(1)
	require.Equal(t, pay.ProveAbsent, notFound())

	p.Attempt.N = 2
	a.Note([]pay.Payment{p})
	require.Equal(t, pay.Checked, notFound(), "another attempt, another count")
	hands.Advance(13 * time.Second)
	require.Equal(t, pay.ProveAbsent, notFound())
	p.Attempt.SendBy = p.Attempt.SendBy.Add(time.Minute)
	a.Note([]pay.Payment{p})
	require.Equal(t, pay.Checked, notFound(), "the same attempt sent again, another count")
	hands.Advance(13 * time.Second)
	require.Equal(t, pay.ProveAbsent, notFound())
	a.Load([]pay.Payment{p})
	require.Equal(t, pay.Checked, notFound(), "another leadership, another count")
	hands.Advance(13 * time.Second)
	for _, kind := range []pay.Kind{pay.Refund, pay.Capture} { // whatever leaves is counted alike
		p.Kind, p.Attempt.SendBy = kind, p.Attempt.SendBy.Add(time.Minute)
		a.Note([]pay.Payment{p})
		require.Equal(t, pay.Checked, notFound(), kind)
		hands.Advance(13 * time.Second)
		require.Equal(t, pay.ProveAbsent, notFound(), kind)
	}
	p.State, p.Attempt.State = pay.Failed, pay.Absent
	a.Note([]pay.Payment{p})
	require.Empty(t, a.known, "nothing is kept of what is over")
}

// newSighted is an asker that only learns of payments.
func newSighted(t *testing.T, hands clock.Clock) (*Asker, *telemetry.Telemetry) {
	t.Helper()
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{LogOutput: io.Discard})
	require.NoError(t, err)
	return &Asker{cfg: AskerConfig{Clock: hands}, known: make(map[pay.ID]sighting), metrics: newMetrics(tel)}, tel
}

// What became of an attempt whose outcome was unknown is counted once, whatever brought
// it, and what was never in doubt is not.
func TestTheTruthAboutUnknownsIsCounted(t *testing.T) {
	t.Parallel()
	a, tel := newSighted(t, clock.NewManual(noon))
	id := pay.ID(0)
	through := func(states ...pay.Payment) {
		id++
		for _, p := range states {
			p.ID, p.Kind, p.Channel = id, pay.Payout, "bank-ab"
			a.Note([]pay.Payment{p})
		}
	}
	at := func(s pay.State, n int16, attempt pay.AttemptState) pay.Payment {
		return pay.Payment{State: s, Attempt: pay.Attempt{N: n, State: attempt, SendBy: noon.Add(time.Duration(n) * time.Second)}}
	}
	sent, unknown := at(pay.Dispatching, 1, pay.Intended), at(pay.Unknown, 1, pay.AttemptUnknown)
	through(sent, unknown, unknown, at(pay.Succeeded, 1, pay.Confirmed), at(pay.Succeeded, 1, pay.Confirmed))
	through(unknown, at(pay.Processing, 1, pay.Acked), at(pay.Succeeded, 1, pay.Confirmed))
	through(unknown, at(pay.Failed, 1, pay.Declined))
	through(unknown, at(pay.Reserved, 1, pay.Absent), at(pay.Dispatching, 2, pay.Intended), at(pay.Succeeded, 2, pay.Confirmed))
	through(unknown, at(pay.Dispatching, 2, pay.Intended)) // what was between was not seen
	through(sent, at(pay.Succeeded, 1, pay.Confirmed))
	through(sent, at(pay.Failed, 1, pay.Declined))
	families, err := tel.Registry().Gather()
	require.NoError(t, err)
	got := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "moneta_channel_truths_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				got[l.GetValue()] += m.GetCounter().GetValue()
			}
		}
	}
	require.Equal(t, map[string]float64{"bank-ab": 5, "succeeded": 2, "failed": 1, "absent": 2}, got)
}

// How much of its budget a reference has spent is never told as less than it is.
func TestWhatAReferenceHasSpentOfItsBudget(t *testing.T) {
	t.Parallel()
	c := caps() // 20 an hour
	for n, want := range map[int]int{1: 1, 2: 1, 3: 2, 10: 5, 11: 6, 20: 10, 300: 10} {
		require.Equal(t, want, tenths(c, n, time.Minute), "%d queries", n)
	}
	require.Equal(t, 5, tenths(c, 300, 2*time.Hour), "after the first window it is asked evenly")
	rapid.Check(t, func(rt *rapid.T) {
		c.QueryBudget = rapid.IntRange(2, 60).Draw(rt, "budget")
		var asked []time.Duration
		at := time.Duration(0)
		for n := range 3 * c.QueryBudget {
			at += queryWait(c, n)
			asked = append(asked, at)
			within := 0
			for _, q := range asked {
				if at-q < c.QueryWindow {
					within++
				}
			}
			if at <= c.QueryWindow || at > 2*c.QueryWindow {
				require.GreaterOrEqual(rt, 10*tenths(c, n+1, at)*c.QueryBudget, 100*within-10*c.QueryBudget, "%d of %d", within, c.QueryBudget)
			}
		}
	})
}
