package pay_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
)

// proven is a payout whose attempt was proven absent: it is about to be sent again.
func proven(t *testing.T, as pay.AttemptState) pay.Payment {
	t.Helper()
	c, err := pay.Next(unknownPayout(), pay.Fact{Kind: pay.ProveAbsent, Payment: 7, Attempt: 1, At: t0, AttemptState: as})
	require.NoError(t, err)
	require.Equal(t, pay.Reserved, c.To)
	return c.After
}

func ack(attempt int16) pay.Fact {
	return pay.Fact{Kind: pay.Ack, Payment: 7, Attempt: attempt, At: t0, ChannelID: "theirs", Source: "callback"}
}

func confirm(attempt int16) pay.Fact {
	return pay.Fact{Kind: pay.Confirm, Payment: 7, Attempt: attempt, At: t0, Amount: money.Int(100), Asset: "CZK", Source: "callback"}
}

func intend(t *testing.T, p pay.Payment) pay.Payment {
	t.Helper()
	c, err := pay.Next(p, pay.Fact{Kind: pay.Intend, Payment: 7, Attempt: p.Attempt.N + 1, At: t0, SendBy: t0.Add(time.Second)})
	require.NoError(t, err)
	return c.After
}

// The channel has what was proven absent: it may execute yet, so nothing is sent
// beside it, and the money is in clearing again.
func TestAnAcknowledgementAfterTheProofHoldsThePayment(t *testing.T) {
	t.Parallel()
	for _, as := range []pay.AttemptState{pay.Absent, pay.NeverSent} {
		c, err := pay.Next(proven(t, as), ack(1))
		require.NoError(t, err)
		require.Equal(t, pay.Transition(5), c.T)
		require.Equal(t, pay.Processing, c.To)
		require.Equal(t, []pay.Posting{{Debit: pay.FromHeld, Credit: pay.ClearingOut, Amount: money.Int(100)}}, c.Postings)
		require.Equal(t, pay.Acked, c.After.Attempt.State)
		require.Equal(t, "theirs", c.After.Attempt.ChannelID)
		require.True(t, c.After.Belied())
		_, err = pay.Next(c.After, pay.Fact{Kind: pay.Intend, Payment: 7, Attempt: 2, At: t0, SendBy: t0.Add(time.Second)})
		require.ErrorIs(t, err, pay.ErrIllegal, "nothing is sent beside it")
		again, err := pay.Next(c.After, ack(1))
		require.NoError(t, err)
		require.True(t, again.NoOp())
		done, err := pay.Next(c.After, confirm(1))
		require.NoError(t, err)
		require.Equal(t, pay.Succeeded, done.To)
		require.Equal(t, []pay.Posting{{Debit: pay.FromHeld, Credit: pay.FeeRevenue, Amount: money.Int(3)}}, done.Postings)
	}
}

// Declined and sent elsewhere: that the first channel had taken it before is no news.
func TestAnAcknowledgementBeforeTheDeclineIsNoNews(t *testing.T) {
	t.Parallel()
	c, err := pay.Next(unknownPayout(), pay.Fact{Kind: pay.Redirect, Payment: 7, Attempt: 1, At: t0, Reason: "bank_closed"})
	require.NoError(t, err)
	slow, err := pay.Next(c.After, ack(1))
	require.NoError(t, err)
	require.True(t, slow.NoOp())
	slow, err = pay.Next(intend(t, c.After), ack(1))
	require.NoError(t, err)
	require.True(t, slow.NoOp())
}

// The second attempt is out when the first one's channel says that it has the first.
func TestAnAcknowledgementBesideANewAttemptIsAContradiction(t *testing.T) {
	t.Parallel()
	out := intend(t, proven(t, pay.Absent))
	_, err := pay.Next(out, ack(1))
	require.ErrorIs(t, err, pay.ErrContradiction)
	third := pay.Fact{Kind: pay.ProveAbsent, Payment: 7, Attempt: 2, At: t0, AttemptState: pay.Absent}
	c, err := pay.Next(out, third)
	require.NoError(t, err)
	_, err = pay.Next(intend(t, c.After), ack(1))
	require.ErrorIs(t, err, pay.ErrContradiction, "however many attempts later")
}

// What failed by proof of absence, and the channel takes it afterwards.
func TestAnAcknowledgementAfterTheEndIsAContradiction(t *testing.T) {
	t.Parallel()
	gone, err := pay.Next(unknownPayout(), pay.Fact{Kind: pay.GiveUp, Payment: 7, Attempt: 1, At: t0, AttemptState: pay.Absent})
	require.NoError(t, err)
	_, err = pay.Next(gone.After, ack(1))
	require.ErrorIs(t, err, pay.ErrContradiction)
	noted := pay.Note(gone.After, ack(1), "it has it")
	require.Equal(t, pay.Failed, noted.To)
	_, err = pay.Next(noted.After, ack(1))
	require.ErrorIs(t, err, pay.ErrContradiction, "whoever says it again hears the same")
	again := pay.Note(noted.After, ack(1), "it has it")
	require.True(t, again.NoOp(), "it stands in the log once")
	cancelled, err := pay.Next(proven(t, pay.Absent), pay.Fact{Kind: pay.Cancel, Payment: 7, At: t0})
	require.NoError(t, err)
	_, err = pay.Next(cancelled.After, ack(1))
	require.ErrorIs(t, err, pay.ErrContradiction)
	declined, err := pay.Next(unknownPayout(), pay.Fact{Kind: pay.Decline, Payment: 7, Attempt: 1, At: t0})
	require.NoError(t, err)
	slow, err := pay.Next(declined.After, ack(1))
	require.NoError(t, err)
	require.True(t, slow.NoOp(), "an acknowledgement that a decline overtook")
}

// A word of execution about an attempt before the last stops what is about to be sent
// once more: a person asks the channel first.
func TestWhatIsContradictedIsNotSentAgain(t *testing.T) {
	t.Parallel()
	out := intend(t, proven(t, pay.Absent))
	_, err := pay.Next(out, confirm(1))
	require.ErrorIs(t, err, pay.ErrContradiction)
	noted := pay.Note(out, confirm(1), "two of them")
	require.Equal(t, []any{pay.Dispatching, pay.Dispatching, pay.Transition(17)}, []any{noted.From, noted.To, noted.T})
	require.Empty(t, noted.Postings)
	require.Equal(t, out.Channel, noted.FromChannel, "it stays on its channel")
	doubt, err := pay.Next(noted.After, pay.Fact{Kind: pay.Doubt, Payment: 7, Attempt: 2, At: t0})
	require.NoError(t, err)
	for kind, state := range map[pay.FactKind]pay.AttemptState{
		pay.ProveAbsent: pay.Absent, pay.GiveUp: pay.Absent, pay.Decline: pay.Declined, pay.Redirect: pay.Declined,
	} {
		f := pay.Fact{Kind: kind, Payment: 7, Attempt: 2, At: t0, AttemptState: pay.Absent}
		c, err := pay.Next(doubt.After, f)
		require.NoError(t, err, kind)
		require.Equal(t, pay.InReview, c.To, "neither sent again nor failed: the first may have executed")
		require.Equal(t, state, c.After.Attempt.State)
		require.Equal(t, []pay.Posting{{Debit: pay.ClearingOut, Credit: pay.FromHeld, Amount: money.Int(100)}}, c.Postings, "and the holder has nothing back yet")
		again, err := pay.Next(c.After, f)
		require.NoError(t, err, kind)
		require.True(t, again.NoOp())
		waits(t, c.After)
	}
	done, err := pay.Next(doubt.After, confirm(2))
	require.NoError(t, err)
	require.Equal(t, pay.Succeeded, done.To)
}

// waits is a contradicted payment in review: only a person moves it on.
func waits(t *testing.T, p pay.Payment) {
	t.Helper()
	require.True(t, p.NextAt.After(t0) && p.Deadline.After(t0), "P8")
	require.Equal(t, "operator", p.Hop())
	require.Equal(t, pay.Checked, p.WhenDue(), "no timer gives the money back")
	for _, f := range []pay.Fact{
		{Kind: pay.Expire, At: t0.Add(48 * time.Hour)},
		{Kind: pay.Cancel, At: t0},
		{Kind: pay.Intend, Attempt: 3, At: t0, SendBy: t0.Add(time.Second)},
	} {
		f.Payment = p.ID
		_, err := pay.Next(p, f)
		require.ErrorIs(t, err, pay.ErrIllegal, f.Kind)
	}
	_, err := pay.Next(p, confirm(1))
	require.ErrorIs(t, err, pay.ErrContradiction)
	pass, err := pay.Next(p, pay.Fact{Kind: pay.ReviewOk, Payment: p.ID, At: t0})
	require.NoError(t, err)
	require.Equal(t, pay.Reserved, pass.To)
	refuse, err := pay.Next(p, pay.Fact{Kind: pay.ReviewNo, Payment: p.ID, At: t0})
	require.NoError(t, err)
	require.Equal(t, pay.Cancelled, refuse.To)
	late, err := pay.Next(refuse.After, confirm(1))
	require.NoError(t, err)
	require.Equal(t, pay.LatePayout, late.Makes.Kind, "and the truth can still come")
}

// It waits to be sent a third time when the channel says that it executed the first.
func TestAWordAboutAnOldAttemptStopsTheNextOne(t *testing.T) {
	t.Parallel()
	for _, kind := range []pay.Kind{pay.Payout, pay.Refund, pay.Capture} {
		p := intend(t, proven(t, pay.Absent))
		back, err := pay.Next(p, pay.Fact{Kind: pay.ProveAbsent, Payment: 7, Attempt: 2, At: t0, AttemptState: pay.NeverSent})
		require.NoError(t, err)
		p = back.After
		p.Kind = kind
		for _, word := range []pay.Fact{confirm(1), ack(1), {Kind: pay.Settle, Attempt: 1, At: t0, Amount: money.Int(100), Asset: "CZK"}} {
			_, err := pay.Next(p, word)
			require.ErrorIs(t, err, pay.ErrContradiction, word.Kind)
			c := pay.Note(p, word, err.Error())
			require.Equal(t, []any{pay.InReview, pay.Transition(17), true}, []any{c.To, c.T, c.After.Noted})
			require.Equal(t, p.Seq+1, c.After.Seq)
			waits(t, c.After)
			again := pay.Note(c.After, word, "again")
			require.True(t, again.NoOp())
			pass, err := pay.Next(c.After, pay.Fact{Kind: pay.ReviewOk, Payment: 7, At: t0})
			require.NoError(t, err)
			third := pay.Note(pass.After, word, "after somebody let it pass")
			require.Equal(t, pay.InReview, third.To, "it is said once more: somebody looks once more")
		}
	}
}

// In review, whatever proves once more that the last attempt moved nothing is no news,
// be it the first or a later one.
func TestAProofOfWhatWaitsForAPersonIsNoNews(t *testing.T) {
	t.Parallel()
	for _, n := range []int16{1, 2} {
		p := proven(t, pay.Absent)
		p.State, p.Noted, p.Attempt.N, p.Tried = pay.InReview, true, n, n
		require.Equal(t, pay.Checked, p.WhenDue(), "no timer ends it")
		for _, kind := range []pay.FactKind{pay.ProveAbsent, pay.GiveUp, pay.Decline, pay.Redirect} {
			c, err := pay.Next(p, pay.Fact{Kind: kind, Payment: 7, Attempt: n, At: t0, AttemptState: pay.Absent})
			require.NoError(t, err, kind)
			require.True(t, c.NoOp(), kind)
		}
	}
}
