package commit_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// TestASuccessorKnowsWhatWasSentAgain: that an attempt went out twice, and which were
// proven absent, is in the rows; a leader that reads them judges like the one before.
func TestASuccessorKnowsWhatWasSentAgain(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	db := pool(t, dsn)
	n := lead(t, dsn)
	house := open(t, n, "cash", ledger.House)
	submit := func(n commit.Submitter, f commit.Fact) pay.Payment {
		r, err := n.Submit(t.Context(), f)
		require.NoError(t, err)
		return r.Payment
	}
	twice := submit(n, accept(pay.Payout, house, 0, 100, "twice"))
	twice = submit(n, about(twice, pay.Intend))
	first := twice.Attempt.SendBy
	submit(n, about(twice, pay.Doubt))
	again := about(twice, pay.Resend)
	again.Payment.SendBy = first.Add(time.Minute)
	submit(n, again)
	twice = submit(n, about(twice, pay.Doubt))
	require.Equal(t, int16(1), twice.Attempt.Resends)

	elsewhere := submit(n, accept(pay.Payout, house, 0, 100, "elsewhere"))
	elsewhere = submit(n, about(elsewhere, pay.Intend))
	elsewhere = submit(n, about(elsewhere, pay.ProveAbsent))
	elsewhere = submit(n, about(elsewhere, pay.Intend))
	require.Equal(t, uint64(1), elsewhere.AbsentBefore)

	judge := func(n *running) {
		t.Helper()
		for kind, sendBy := range map[pay.FactKind]time.Time{pay.Decline: {}, pay.Redirect: first, pay.GiveUp: {}, pay.ProveAbsent: first} {
			old := about(twice, kind)
			old.Payment.SendBy = sendBy
			r, err := n.Submit(t.Context(), old)
			require.NoError(t, err)
			require.True(t, r.NoOp, "%s", kind)
			require.Equal(t, pay.Unknown, r.Payment.State)
		}
		old := about(elsewhere, pay.Ack)
		old.Payment.Attempt = 1
		_, err := n.Submit(t.Context(), old)
		require.ErrorIs(t, err, fault.AlreadyFinal, "a contradiction")
	}
	judge(n)
	kept, err := commit.NewReader(db).Payment(t.Context(), 1, twice.ID)
	require.NoError(t, err)
	require.Equal(t, int16(1), kept.Attempt.Resends)
	n.stop()
	next := lead(t, dsn)
	judge(next)
	var notes int
	require.NoError(t, db.QueryRow(t.Context(), `select count(*) from transitions where payment = $1 and transition = 17`, int64(elsewhere.ID)).Scan(&notes))
	require.Equal(t, 1, notes, "it stands in the log, once, although the payment is under way")
	gone := submit(next, about(elsewhere, pay.GiveUp))
	require.Equal(t, pay.InReview, gone.State, "the first may have executed: it has not failed")
	named := about(elsewhere, pay.Attest)
	named.Payment.Attempt, named.Payment.SendBy = 1, elsewhere.Attempt.SendBy
	byPeople := submit(next, named)
	require.Equal(t, []any{pay.Succeeded, int16(1), int16(2), uint64(2)}, []any{byPeople.State, byPeople.Attempt.N, byPeople.Tried, byPeople.AbsentBefore})
	next.stop()
	next = lead(t, dsn)
	second := about(elsewhere, pay.Confirm)
	_, err = next.Submit(t.Context(), second)
	require.ErrorIs(t, err, fault.AlreadyFinal, "who reads the rows knows that it was not the last one")
	settled := submit(next, about(byPeople, pay.Settle))
	require.Equal(t, []any{pay.SettlementMatched, int16(1), byPeople.Tried, byPeople.AbsentBefore}, []any{settled.Settlement, settled.Attempt.N, settled.Tried, settled.AbsentBefore})
	newest := about(twice, pay.Decline)
	newest.Payment.SendBy = twice.Attempt.SendBy
	require.Equal(t, pay.Failed, submit(next, newest).State)
	sums(t, db)
}
