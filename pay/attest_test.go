package pay_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
)

// disputed is a payout that waits in review after three attempts: the first was proven
// absent, the second declined, the third never sent; somebody said of one of them that
// it executed.
func disputed(t *testing.T) pay.Payment {
	t.Helper()
	p := proven(t, pay.Absent)
	p.Channel = "first"
	step := func(f pay.Fact) {
		f.Payment, f.At, f.Attempt = 7, t0, p.Attempt.N
		if f.Kind == pay.Intend {
			f.Attempt, f.SendBy = p.Attempt.N+1, t0.Add(time.Duration(p.Attempt.N)*time.Second)
		}
		c, err := pay.Next(p, f)
		require.NoError(t, err)
		p = c.After
	}
	step(pay.Fact{Kind: pay.Intend, Channel: "second"})
	step(pay.Fact{Kind: pay.Redirect, Reason: "closed"})
	step(pay.Fact{Kind: pay.Intend, Channel: "third"})
	step(pay.Fact{Kind: pay.ProveAbsent, AttemptState: pay.NeverSent})
	c := pay.Note(p, confirm(1), "two of them")
	require.Equal(t, pay.InReview, c.To)
	require.Equal(t, []any{int16(3), uint64(1)}, []any{c.After.Tried, c.After.AbsentBefore})
	return c.After
}

func attest(attempt int16, channel string) pay.Fact {
	return pay.Fact{
		Kind: pay.Attest, Payment: 7, Attempt: attempt, At: t0, SendBy: t0, Channel: channel, ChannelID: "theirs", Amount: money.Int(100), Asset: "CZK",
		Source: pay.SourceOperators, Reason: "evidence of apr_1",
	}
}

// Two people name the attempt that has executed: the payment has succeeded by that one,
// on the channel that it went to, and by no other.
func TestWhatIsDisputedSucceedsByTheAttemptThatIsNamed(t *testing.T) {
	t.Parallel()
	for n, channel := range map[int16]string{1: "first", 2: "second", 3: "third"} {
		c, err := pay.Next(disputed(t), attest(n, channel))
		require.NoError(t, err)
		require.Equal(t, []any{pay.Transition(7), pay.InReview, pay.Succeeded, true}, []any{c.T, c.From, c.To, c.AttemptChanged})
		require.Equal(t, []pay.Posting{
			{Debit: pay.FromHeld, Credit: pay.ClearingOut, Amount: money.Int(100)}, {Debit: pay.FromHeld, Credit: pay.FeeRevenue, Amount: money.Int(3)},
		}, c.Postings)
		p := c.After
		require.Equal(t, []any{channel, pay.SettlementExpected, int16(3), "evidence of apr_1", "third"}, []any{p.Channel, p.Settlement, p.Tried, p.Reason, c.FromChannel})
		require.Equal(t, []any{n, pay.Confirmed, pay.Reference(7, n), "theirs"}, []any{p.Attempt.N, p.Attempt.State, p.Attempt.Reference, p.Attempt.ChannelID})
		require.Equal(t, map[int16]uint64{1: 4, 2: 5, 3: 1}[n], p.AbsentBefore, "which of the others were taken for absent")
		for _, replay := range []pay.Fact{attest(n, channel), confirm(n)} {
			again, err := pay.Next(p, replay)
			require.NoError(t, err)
			require.True(t, again.NoOp(), replay.Kind)
		}
		line := pay.Fact{Kind: pay.Settle, Payment: 7, Attempt: n, At: t0, Amount: money.Int(100), Asset: "CZK", Cost: money.Int(1)}
		settled, err := pay.Next(p, line)
		require.NoError(t, err)
		require.Equal(t, []any{pay.Transition(12), channel}, []any{settled.T, settled.After.Channel})
		for other := int16(1); other <= 3; other++ {
			if other == n {
				continue
			}
			_, err := pay.Next(p, attest(other, "elsewhere"))
			require.ErrorIs(t, err, pay.ErrIllegal, "it has succeeded by another one")
			line.Attempt = other
			for _, word := range []pay.Fact{confirm(other), line} {
				_, err = pay.Next(p, word)
				require.ErrorIs(t, err, pay.ErrContradiction, "%s of attempt %d", word.Kind, other)
			}
			_, err = pay.Next(p, ack(other))
			if other == 2 {
				require.NoError(t, err, "declined: that it had been taken before is no news")
				continue
			}
			require.ErrorIs(t, err, pay.ErrContradiction, "it may execute yet")
		}
		_, err = pay.Next(p, confirm(4))
		require.ErrorIs(t, err, pay.ErrIllegal, "there is no such attempt")
	}
}

func TestPeopleNameNothingElse(t *testing.T) {
	t.Parallel()
	p := disputed(t)
	for name, spoil := range map[string]func(p *pay.Payment, f *pay.Fact){
		"no attempt":             func(_ *pay.Payment, f *pay.Fact) { f.Attempt = 0 },
		"one without send_by":    func(_ *pay.Payment, f *pay.Fact) { f.SendBy = time.Time{} },
		"one that was not made":  func(_ *pay.Payment, f *pay.Fact) { f.Attempt = 4 },
		"a review of guard's":    func(p *pay.Payment, f *pay.Fact) { p.Attempt, p.Tried, f.Attempt = pay.Attempt{}, 0, 0 },
		"the other way, unsent":  func(p *pay.Payment, f *pay.Fact) { p.Attempt, p.Tried = pay.Attempt{}, 0 },
		"it goes on":             func(p *pay.Payment, _ *pay.Fact) { p.State = pay.Reserved },
		"its attempt is unknown": func(p *pay.Payment, _ *pay.Fact) { p.State = pay.Unknown },
		"it was cancelled":       func(p *pay.Payment, _ *pay.Fact) { p.State = pay.Cancelled },
		"a deposit":              func(p *pay.Payment, _ *pay.Fact) { p.Kind = pay.Deposit },
		"money without an owner": func(p *pay.Payment, _ *pay.Fact) { p.Kind = pay.Inbound },
	} {
		q, f := p, attest(1, "first")
		spoil(&q, &f)
		c, err := pay.Next(q, f)
		require.ErrorIs(t, err, pay.ErrIllegal, name)
		require.Empty(t, c.Postings, name)
	}
	for name, spoil := range map[string]func(f *pay.Fact){
		"another amount": func(f *pay.Fact) { f.Amount = money.Int(99) }, "another asset": func(f *pay.Fact) { f.Asset = "EUR" },
	} {
		f := attest(1, "first")
		spoil(&f)
		_, err := pay.Next(p, f)
		require.ErrorIs(t, err, pay.ErrMismatch, name)
	}
	for _, kind := range []pay.Kind{pay.Refund, pay.Capture} {
		q := p
		q.Kind = kind
		c, err := pay.Next(q, attest(1, "first"))
		require.NoError(t, err)
		require.Equal(t, pay.Succeeded, c.To, kind)
	}
}
