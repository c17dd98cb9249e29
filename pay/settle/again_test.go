package settle_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	rail "github.com/moneta-pay/moneta/pay/channel/sandbox"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/dispatch"
	"github.com/moneta-pay/moneta/pay/settle"
)

// withResend puts a dispatcher and an asker into the road that may send an attempt
// once more while proven says so.
func (r *road) withResend(caps channel.Capabilities, proven func(channel.Name) bool) {
	r.t.Helper()
	ch, err := rail.New(rail.Config{BaseURL: r.bank.URL, Bank: "ab", Secrets: []string{secret}, Capabilities: caps})
	require.NoError(r.t, err)
	r.t.Cleanup(ch.Close)
	channels := []channel.Channel{ch}
	r.dispatch = dispatch.New(dispatch.Config{
		Submitter: r.node, Channels: channels, Telemetry: r.telemetry, BreakerDelay: 50 * time.Millisecond, DedupProven: proven,
	})
	r.asker = settle.NewAsker(settle.AskerConfig{
		Submitter: r.node, Channels: channels, Pool: r.pool, Live: r.dispatch.Live, Telemetry: r.telemetry,
		Resend: r.dispatch.Resend, ResendAfter: 250 * time.Millisecond,
	})
}

// notYet is a rail whose not-found never proves anything, and which moves a
// reference at most once.
func notYet() channel.Capabilities {
	c := quick()
	c.NotFoundMeansNever = false
	return c
}

func (r *road) resends() int64 {
	return r.number(`select count(*) from transitions where transition = 9`)
}

// The request was lost; the channel says "not found" and means nothing by it. With
// the proof the same attempt goes out again under its reference, once.
func TestALostRequestIsSentAgainUnderItsReference(t *testing.T) {
	t.Parallel()
	r := build(t, notYet())
	r.withResend(notYet(), func(channel.Name) bool { return true })
	r.door()
	r.lead()
	r.behave(`{"lose_before":1}`)
	payments := r.submit(r.payout(1, 700), r.payout(2, 800), r.payout(3, 900))
	r.eventually("all are unknown", func() bool {
		return r.number(`select count(*) from open_payments where state = $1`, int16(pay.Unknown)) == 3
	})
	r.behave(`{"lose_before":0}`)
	r.untilFinal()
	for _, p := range payments {
		state, attempt := r.state(p.ID)
		require.Equal(t, pay.Succeeded, state)
		require.Equal(t, int16(1), attempt, "the attempt number stays")
	}
	require.GreaterOrEqual(t, r.resends(), int64(3))
	r.proof()
}

// What was executed while its reply was lost and the bank cannot see it: the second
// order changes nothing, because the bank does what it was shown to do.
func TestAResendOfWhatWasExecutedMovesNothing(t *testing.T) {
	t.Parallel()
	r := build(t, notYet())
	r.withResend(notYet(), func(channel.Name) bool { return true })
	r.door()
	r.lead()
	r.behave(`{"lose_reply":1,"callback_lose":1,"query_lag_ms":3000}`)
	r.submit(r.payout(1, 700))
	r.eventually("it was sent again", func() bool { return r.resends() > 0 })
	r.untilFinal()
	r.proof()
}

// Without the proof nothing is sent again, however often the channel does not know
// it; and a proof that is gone stops what it had allowed.
func TestNoProofNoResend(t *testing.T) {
	t.Parallel()
	var proven atomic.Bool
	r := build(t, notYet())
	r.withResend(notYet(), func(channel.Name) bool { return proven.Load() })
	r.lead()
	r.behave(`{"lose_before":1}`)
	p := r.submit(r.payout(1, 700))[0]
	r.eventually("asked many times", func() bool {
		return r.number(`select coalesce(max(checks), 0) from open_payments`) >= 8
	})
	require.Zero(t, r.resends())
	state, _ := r.state(p.ID)
	require.Equal(t, pay.Unknown, state)
	proven.Store(true)
	r.behave(`{"lose_before":0}`)
	r.untilFinal()
	r.proof()
}

// The negative control of the gate: a bank that executes a reference twice, and a
// gate that believes it. Only the bank's books show the double; ours balance.
func TestWithTheGateOffTheOutsideBooksShowTheDouble(t *testing.T) {
	t.Parallel()
	r := build(t, notYet())
	r.withResend(notYet(), func(channel.Name) bool { return true })
	r.door()
	r.lead()
	r.behave(`{"dedup":false,"lose_reply":1,"callback_lose":1,"query_lag_ms":2000}`)
	p := r.submit(r.payout(1, 700))[0]
	r.eventually("it was sent again", func() bool { return r.resends() > 0 })
	r.behave(`{"lose_reply":0}`)
	r.untilFinal()
	require.GreaterOrEqual(t, r.effects()[pay.Reference(p.ID, 1)], 2, "this is what the proof keeps from happening")
	require.Zero(t, r.number(`select coalesce(sum(amount), 0)::bigint from facts.postings`), "and our own books show nothing")
}

// The process dies at each side effect of a resend: after its intent was committed
// and before a byte left; after the order left and before its word was committed.
// Whoever leads next asks first, and the money moves once.
func TestACrashAtEachStepOfAResend(t *testing.T) {
	t.Parallel()
	for name, sent := range map[string]bool{"intended, not sent": false, "sent, word lost": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := build(t, notYet())
			r.withResend(notYet(), func(channel.Name) bool { return true })
			r.lead()
			p := r.submitQuietly(1)[0]
			reference := pay.Reference(p.ID, 1)
			now := time.Now()
			// The first attempt was lost on its way; the dead process sent it again.
			for _, f := range []pay.Fact{
				{Kind: pay.Intend, SendBy: now.Add(100 * time.Millisecond)},
				{Kind: pay.Doubt, NextAt: now.Add(time.Hour)},
				{Kind: pay.Resend, SendBy: now.Add(200 * time.Millisecond)},
			} {
				f.Payment, f.Attempt = p.ID, 1
				_, err := r.node.Submit(t.Context(), commit.Fact{Payment: &f})
				require.NoError(t, err)
			}
			if sent {
				r.call("POST", "/banks/ab/payments", `{"reference":"`+reference+`","amount":"700","asset":"CZK","account":"123456"}`, nil)
			}
			r.deaf.Store(false)
			r.untilFinal()
			state, attempt := r.state(p.ID)
			require.Equal(t, pay.Succeeded, state)
			require.Equal(t, int16(1), attempt)
			require.Equal(t, 1, r.effects()[reference])
			if sent {
				require.Equal(t, int64(1), r.resends(), "it was there, so nothing was sent again")
			}
			r.proof()
		})
	}
}
