package pay_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
)

func unknownPayout() pay.Payment {
	return pay.Payment{
		ID: 7, Kind: pay.Payout, Asset: "CZK", Amount: money.Int(100), Fee: money.Int(3), State: pay.Unknown, Channel: "bank-ab", Seq: 4,
		Attempt: pay.Attempt{N: 1, State: pay.AttemptUnknown, Reference: pay.Reference(7, 1), SendBy: t0},
	}
}

var t0 = time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)

func TestResendKeepsAttemptAndReference(t *testing.T) {
	t.Parallel()
	p := unknownPayout()
	f := pay.Fact{Kind: pay.Resend, Payment: 7, Attempt: 1, At: t0.Add(3 * time.Minute), SendBy: t0.Add(3*time.Minute + time.Second)}
	c, err := pay.Next(p, f)
	require.NoError(t, err)
	require.Equal(t, pay.Transition(9), c.T)
	require.Equal(t, pay.Dispatching, c.To)
	require.Empty(t, c.Postings, "the money is in clearing already")
	require.True(t, c.AttemptChanged)
	require.Equal(t, pay.Attempt{N: 1, State: pay.Intended, Reference: p.Attempt.Reference, SendBy: f.SendBy, Resends: 1}, c.After.Attempt)

	again, err := pay.Next(c.After, f)
	require.NoError(t, err)
	require.True(t, again.NoOp(), "the same fact twice sends once")

	for name, spoil := range map[string]func(*pay.Payment, *pay.Fact){
		"the channel had it once": func(p *pay.Payment, _ *pay.Fact) { p.Attempt.ChannelID = "AB-1" },
		"no new send_by":          func(_ *pay.Payment, f *pay.Fact) { f.SendBy = t0 },
		"no attempt named":        func(_ *pay.Payment, f *pay.Fact) { f.Attempt = 0 },
		"an attempt to come":      func(_ *pay.Payment, f *pay.Fact) { f.Attempt = 2 },
		"a deposit":               func(p *pay.Payment, _ *pay.Fact) { p.Kind, p.State = pay.Deposit, pay.Processing },
	} {
		p, f := unknownPayout(), f
		spoil(&p, &f)
		_, err := pay.Next(p, f)
		require.ErrorIs(t, err, pay.ErrIllegal, name)
	}
	p.Attempt.N = 2
	old, err := pay.Next(p, f)
	require.NoError(t, err)
	require.True(t, old.NoOp(), "a wish about an older attempt is stale")
}

// A new attempt elsewhere moves the money back from the first channel's clearing
// and into the second one's.
func TestAttemptElsewhere(t *testing.T) {
	t.Parallel()
	for name, proof := range map[string]pay.Fact{
		"declined": {Kind: pay.Redirect, Payment: 7, Attempt: 1, At: t0, Reason: "bank_closed"},
		"absent":   {Kind: pay.ProveAbsent, Payment: 7, Attempt: 1, At: t0, AttemptState: pay.Absent},
	} {
		back, err := pay.Next(unknownPayout(), proof)
		require.NoError(t, err, name)
		require.Equal(t, pay.Reserved, back.To)
		require.Equal(t, "bank-ab", back.After.Channel, "what goes back comes from the channel that had it")
		require.Equal(t, []pay.Posting{{Debit: pay.ClearingOut, Credit: pay.FromHeld, Amount: money.Int(100)}}, back.Postings)
		require.False(t, back.After.Attempt.State.Live())

		out, err := pay.Next(back.After, pay.Fact{Kind: pay.Intend, Payment: 7, Attempt: 2, At: t0, SendBy: t0.Add(time.Second), Channel: "bank-cd"})
		require.NoError(t, err, name)
		require.Equal(t, []string{"bank-ab", "bank-cd"}, []string{out.FromChannel, out.After.Channel})
		require.Equal(t, pay.Reference(7, 2), out.After.Attempt.Reference)
		_, err = pay.Next(out.After, pay.Fact{Kind: pay.Confirm, Payment: 7, Attempt: 1, At: t0, Amount: money.Int(100), Asset: "CZK"})
		require.ErrorIs(t, err, pay.ErrContradiction, "the first channel executes after all: nobody may overlook it")
	}
	_, err := pay.Next(unknownPayout(), pay.Fact{Kind: pay.Intend, Payment: 7, Attempt: 2, At: t0, SendBy: t0.Add(time.Second), Channel: "bank-cd"})
	require.ErrorIs(t, err, pay.ErrIllegal, "an unknown attempt never moves elsewhere")
}

// A proof of absence is one of what had been sent when somebody asked: an order that
// went out since makes it void.
func TestAProofFromBeforeAResendIsStale(t *testing.T) {
	t.Parallel()
	p := unknownPayout()
	sendBy := p.Attempt.SendBy
	again, err := pay.Next(p, pay.Fact{Kind: pay.Resend, Payment: 7, Attempt: 1, At: t0.Add(3 * time.Minute), SendBy: t0.Add(3*time.Minute + time.Second)})
	require.NoError(t, err)
	doubt, err := pay.Next(again.After, pay.Fact{Kind: pay.Doubt, Payment: 7, Attempt: 1, At: t0.Add(4 * time.Minute)})
	require.NoError(t, err)
	for _, kind := range []pay.FactKind{pay.ProveAbsent, pay.GiveUp} {
		proof := pay.Fact{Kind: kind, Payment: 7, Attempt: 1, At: t0.Add(5 * time.Minute), AttemptState: pay.Absent, SendBy: sendBy}
		c, err := pay.Next(p, proof)
		require.NoError(t, err)
		require.False(t, c.NoOp(), "it holds for what it is about")
		for _, since := range []pay.Payment{again.After, doubt.After} {
			c, err := pay.Next(since, proof)
			require.NoError(t, err)
			require.True(t, c.NoOp(), "%s in %s", kind, since.State)
		}
	}
}

// A refusal that was said of the order before says nothing of one that was sent since:
// the channel may execute that. A word of which nobody knows the order is none either.
func TestARefusalFromBeforeAResendIsStale(t *testing.T) {
	t.Parallel()
	p := unknownPayout()
	again, err := pay.Next(p, pay.Fact{Kind: pay.Resend, Payment: 7, Attempt: 1, At: t0.Add(3 * time.Minute), SendBy: t0.Add(3*time.Minute + time.Second)})
	require.NoError(t, err)
	require.Equal(t, int16(1), again.After.Attempt.Resends)
	doubt, err := pay.Next(again.After, pay.Fact{Kind: pay.Doubt, Payment: 7, Attempt: 1, At: t0.Add(4 * time.Minute)})
	require.NoError(t, err)
	taken, err := pay.Next(doubt.After, pay.Fact{Kind: pay.Ack, Payment: 7, Attempt: 1, At: t0.Add(4 * time.Minute)})
	require.NoError(t, err)
	for _, kind := range []pay.FactKind{pay.Decline, pay.Redirect, pay.ProveAbsent, pay.GiveUp} {
		for _, about := range []time.Time{p.Attempt.SendBy, {}} {
			word := pay.Fact{Kind: kind, Payment: 7, Attempt: 1, At: t0.Add(5 * time.Minute), AttemptState: pay.Absent, SendBy: about}
			c, err := pay.Next(p, word)
			require.NoError(t, err)
			require.False(t, c.NoOp(), "%s holds for what was sent once", kind)
			for _, since := range []pay.Payment{again.After, doubt.After, taken.After} {
				c, err := pay.Next(since, word)
				require.NoError(t, err)
				require.True(t, c.NoOp(), "%s of %s in %s", kind, about, since.State)
			}
		}
		word := pay.Fact{Kind: kind, Payment: 7, Attempt: 1, At: t0.Add(5 * time.Minute), AttemptState: pay.Absent, SendBy: doubt.After.Attempt.SendBy}
		c, err := pay.Next(doubt.After, word)
		require.NoError(t, err)
		require.False(t, c.NoOp(), "%s of the newest order counts", kind)
	}
}

// The database keeps microseconds: what is a whole one apart is another order.
func TestAProofIsAboutAnOrderToTheMicrosecond(t *testing.T) {
	t.Parallel()
	p := unknownPayout()
	p.Attempt.SendBy, p.Attempt.Resends = t0.Add(time.Minute), 1
	for apart, same := range map[time.Duration]bool{
		0: true, time.Microsecond - 1: true, -(time.Microsecond - 1): true, time.Microsecond: false, -time.Microsecond: false,
	} {
		c, err := pay.Next(p, pay.Fact{Kind: pay.GiveUp, Payment: 7, Attempt: 1, At: t0, AttemptState: pay.Absent, SendBy: p.Attempt.SendBy.Add(apart)})
		require.NoError(t, err)
		require.Equal(t, same, c.To == pay.Failed, apart)
		require.Equal(t, !same, c.NoOp(), apart)
	}
}
