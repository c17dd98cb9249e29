package commit_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
)

// pauses are the pauses of dispatch that hold.
func pauses(t *testing.T, db *pgxpool.Pool) (open int, last, next pay.ID, reason string) {
	t.Helper()
	require.NoError(t, db.QueryRow(t.Context(), `select count(*), coalesce(max(last_payment), 0), coalesce(max(next_payment), 0), coalesce(max(reason), '')
	  from dispatch_pauses where resumed_at is null`).Scan(&open, &last, &next, &reason))
	return open, last, next, reason
}

// TestFailover: an asynchronous standby that lacks the last acknowledged payments
// becomes the primary, and the address leads there. The leader drops everything;
// the next one pauses dispatch and never gives an id again that may have been seen.
func TestFailover(t *testing.T) {
	t.Parallel()
	primary := pgtest.Cluster(t)
	old := pool(t, primary.DSN("moneta"))
	p, through := throughProxy(t, primary.DSN("moneta"))
	first := lead(t, through)
	s := newShop(t, first, 100_000)
	kept := s.submit(accept(pay.Payout, s.payer, 0, 5, "kept"), "").Payment
	open, _, _, _ := pauses(t, old)
	require.Zero(t, open, "a first history is no failover")

	standby := pgtest.Standby(t, primary)
	there := pool(t, standby.DSN("moneta"))
	count := func(db *pgxpool.Pool) (n int) {
		require.NoError(t, db.QueryRow(t.Context(), `select count(*) from transitions`).Scan(&n))
		return n
	}
	require.Eventually(t, func() bool { return count(there) == count(old) }, patience, 5*time.Millisecond)
	var survived int64
	require.NoError(t, there.QueryRow(t.Context(), `select max(id) from transitions`).Scan(&survived))
	standby.Detach()
	var lost pay.Payment
	for i := range 10 {
		lost = s.submit(accept(pay.Payout, s.payer, 0, 5, fmt.Sprint("lost ", i)), "").Payment
	}
	var read int64 // by somebody who follows the log
	require.NoError(t, old.QueryRow(t.Context(), `select max(id) from transitions`).Scan(&read))
	require.NoError(t, commit.Ahead(t.Context(), old, read))
	standby.Promote()
	p.lead(t, standby.DSN("moneta"))

	select {
	case err := <-first.done:
		require.ErrorIs(t, err, commit.ErrLost)
		require.ErrorContains(t, err, "failed over")
		first.done <- err
	case <-time.After(takeoverMax):
		t.Fatal("the leader goes on with the memory of another history")
	}
	require.False(t, first.Leading())
	require.ErrorIs(t, commit.Ahead(t.Context(), there, read), commit.ErrAhead, "before anybody leads")

	logs := &lines{}
	second := start(t, through, func(c *commit.Config) { c.Logger = slog.New(slog.NewTextHandler(logs, nil)) })
	require.Eventually(t, second.Leading, patience, time.Millisecond)
	require.Equal(t, 1, logs.count("level=ERROR msg=\"the database failed over"))
	open, last, next, reason := pauses(t, there)
	require.Equal(t, 1, open)
	require.Equal(t, kept.ID, last)
	require.GreaterOrEqual(t, next, lost.ID)
	require.Contains(t, reason, "timeline 1 to system")

	s.node = second
	after := s.submit(accept(pay.Payout, s.payer, 0, 5, "after"), "").Payment
	require.Greater(t, after.ID, next, "an id that a channel may have seen was given again")
	again := s.submit(accept(pay.Payout, s.payer, 0, 5, "kept"), "")
	require.True(t, again.Replayed)
	require.Equal(t, kept.ID, again.Payment.ID)

	require.NoError(t, commit.Ahead(t.Context(), there, survived))
	require.NoError(t, commit.Ahead(t.Context(), there, 0))
	for id := survived + 1; id <= read; id++ {
		require.ErrorIs(t, commit.Ahead(t.Context(), there, id), commit.ErrAhead, "an event that is no more")
	}
	var newest int64
	require.NoError(t, there.QueryRow(t.Context(), `select max(id) from transitions`).Scan(&newest))
	require.Greater(t, newest, read)
	require.NoError(t, commit.Ahead(t.Context(), there, newest))
	require.ErrorIs(t, commit.Ahead(t.Context(), there, newest+1), commit.ErrAhead)
	require.ErrorIs(t, commit.Ahead(t.Context(), there, 7<<48|1), commit.ErrAhead, "a shard that there is not")

	second.stop()
	require.NoError(t, <-second.done)
	second.done <- nil
	lead(t, through)
	again2, last2, _, _ := pauses(t, there)
	require.Equal(t, 1, again2)
	require.Equal(t, last, last2, "the same history again is no failover")
}

// TestCrashAtEveryStepOfAFailover damages each interaction of a takeover that finds
// another history: it is recognised once, or by the next leader, and never twice.
func TestCrashAtEveryStepOfAFailover(t *testing.T) {
	t.Parallel()
	for w, how := range []damage{cutBefore, cutAfter, refuse} {
		t.Run(string(how), func(t *testing.T) {
			t.Parallel()
			c := newCrash(t)
			first, step := 1+w, 5
			if torture() {
				first, step = 1, 1
			}
			last := pay.ID(0)
			for n := first; ; n += step {
				_, err := c.db.Exec(t.Context(), `update timelines set timeline = timeline + 100 where n = (select max(n) from timelines)`)
				require.NoError(t, err)
				c.p.arm(n, how)
				c.k.restart()
				c.k.must(accept(pay.Send, c.w.house, c.w.user, 1, fmt.Sprint(how, n)))
				fired := c.p.disarm()
				var known, ended int
				require.NoError(t, c.db.QueryRow(t.Context(), `select (select count(*) from timelines where timeline < 100),
				  (select count(*) from dispatch_pauses)`).Scan(&known, &ended))
				require.Equal(t, 1, known, "interaction %d: %s", n, fired)
				open, at, next, _ := pauses(t, c.db)
				require.Equal(t, 1, open)
				require.Equal(t, 1+(n-first)/step, ended, "one failover, one pause; interaction %d: %s", n, fired)
				if last != 0 {
					require.Equal(t, last, at, "a pause that still holds covers what the earlier one did")
				}
				last = at
				require.Equal(t, int64(1+(n-first)/step), int64(next)>>32, "the ids were left out once")
				if fired == "" {
					t.Logf("fewer than %d interactions", n)
					return
				}
			}
		})
	}
}
