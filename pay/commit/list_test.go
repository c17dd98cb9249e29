package commit_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
)

// TestListsOfManyPayments: every filter finds exactly what it names, however rare,
// in a bounded time a page, by plans that read no table from end to end. With
// MONETA_TORTURE=1 there are five million payments.
func TestListsOfManyPayments(t *testing.T) {
	t.Parallel()
	n, most := 120_000, 3*time.Second
	if os.Getenv("MONETA_TORTURE") != "" {
		n, most = 5_000_000, 50*time.Millisecond
	}
	db := pgtest.Database(t)
	dawn := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, sql := range []string{
		// One in 40,000 failed, one in 30,000 is processing; every 1,000th is a payout on bank-ab.
		`insert into payments (id, tenant, kind, asset, amount, fee, from_account, to_account, channel, key, trace_id, effective_at, created_at)
		 select i, 1, case when i % 1000 = 0 then 2 else 1 end, 'CZK', 1, 0, 2, 4, case when i % 1000 = 0 then 'bank-ab' end, gen_random_uuid(), gen_random_uuid(),
		   $2::timestamptz + i * interval '1 second', $2::timestamptz + i * interval '1 second' from generate_series(1, $1::bigint) i`,
		`insert into transitions (id, payment, seq, transition, from_state, to_state, settlement, attempt, transfers, at)
		 select i, i, 1, 22, 0, case when i % 40000 = 0 then 7 when i % 30000 = 0 then 4 else 6 end, 0, 0, 0, $2::timestamptz + i * interval '1 second'
		 from generate_series(1, $1::bigint) i`,
		`insert into open_payments (payment, tenant, kind, asset, amount, account, channel, state, hop, entered_at, next_at, deadline, attempt, checks)
		 select i, 1, 2, 'CZK', 1, 2, 'bank-ab', 4, 'channel', $2::timestamptz, $2::timestamptz, $2::timestamptz, 1, 0
		 from generate_series(30000, $1::bigint, 30000) i where i % 40000 <> 0`,
	} {
		_, err := db.Exec(t.Context(), sql, n, dawn)
		require.NoError(t, err)
	}
	_, err := db.Exec(t.Context(), `analyze payments; analyze transitions; analyze open_payments`)
	require.NoError(t, err)
	r := commit.NewReader(db)
	walk := func(f commit.Filter) (ids []pay.ID, pages int) {
		t.Helper()
		for {
			var l commit.List
			require.Less(t, fastest(t, func() (err error) {
				l, err = r.List(t.Context(), 1, f)
				return err
			}, most), most, "%+v", f)
			for i := range l.Payments {
				ids = append(ids, l.Payments[i].ID)
			}
			if pages++; l.Next == 0 {
				return ids, pages
			}
			f.Before = l.Next
		}
	}
	every := func(step, not int) (ids []pay.ID) {
		for i := n / step * step; i > 0; i -= step {
			if not == 0 || i%not != 0 {
				ids = append(ids, pay.ID(i))
			}
		}
		return ids
	}
	ids, pages := walk(commit.Filter{States: []pay.State{pay.Failed}})
	require.Equal(t, every(40_000, 0), ids)
	require.LessOrEqual(t, pages, len(ids)/commit.ListMax+1, "the rare ones are not searched for among the others")
	ids, pages = walk(commit.Filter{States: []pay.State{pay.Failed, pay.Cancelled, pay.Expired}, Limit: 2})
	require.Equal(t, every(40_000, 0), ids)
	require.LessOrEqual(t, pages, len(ids)/2+1)
	ids, pages = walk(commit.Filter{States: []pay.State{pay.Created, pay.Processing, pay.Unknown}})
	require.Equal(t, every(30_000, 40_000), ids)
	require.LessOrEqual(t, pages, len(ids)/commit.ListMax+1)
	ids, _ = walk(commit.Filter{Kind: pay.Payout, Channel: "bank-ab", CreatedFrom: dawn.Add(50_000 * time.Second), CreatedTo: dawn.Add(53_000 * time.Second)})
	require.Equal(t, []pay.ID{52_000, 51_000, 50_000}, ids, "from is included, to is not")
	ids, pages = walk(commit.Filter{States: []pay.State{pay.Failed}, CreatedFrom: dawn.Add(40_000 * time.Second), CreatedTo: dawn.Add(40_001 * time.Second)})
	require.Equal(t, []pay.ID{40_000}, ids)
	require.Equal(t, 1, pages)
	ids, _ = walk(commit.Filter{CreatedTo: dawn.Add(-time.Second)})
	require.Empty(t, ids)
	ids, _ = walk(commit.Filter{CreatedFrom: dawn.Add(time.Duration(n+1) * time.Second)})
	require.Empty(t, ids)
	l, err := r.List(t.Context(), 1, commit.Filter{States: []pay.State{pay.Succeeded}, Before: 40_002, Limit: 2})
	require.NoError(t, err)
	require.Equal(t, []pay.ID{40_001, 39_999}, []pay.ID{l.Payments[0].ID, l.Payments[1].ID})
	ids, _ = walk(commit.Filter{Kind: pay.Hold, CreatedFrom: dawn.Add(60_000 * time.Second)})
	require.Empty(t, ids)

	for name, plan := range commit.ListPlans(dawn) {
		rows, err := db.Query(t.Context(), "explain (costs off) "+plan.SQL, plan.Args...)
		require.NoError(t, err, name)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err, name)
		text := strings.Join(lines, "\n")
		for _, table := range []string{"payments", "transitions", "transfers"} {
			require.NotContains(t, text, "Seq Scan on "+table, name+"\n"+text)
		}
		if name == "unhappy" {
			require.Contains(t, text, "transitions_unhappy")
		}
	}
}

// fastest is what f costs: the first run pays for the plan and for the disk, and one
// that took too long may have waited for others on the machine, so it is asked again.
func fastest(t *testing.T, f func() error, most time.Duration) time.Duration {
	t.Helper()
	best := time.Hour
	for run := 0; run < 2 || best >= most && run < 8; run++ {
		started := time.Now()
		require.NoError(t, f())
		best = min(best, time.Since(started))
	}
	return best
}

const readsCompared = 1000

// readsAgree holds what is read of each of the newest payments alone against what the
// whole statement says of it, and returns how many there were.
func readsAgree(t *testing.T, db *pgxpool.Pool) int {
	t.Helper()
	rows, err := db.Query(t.Context(), `select id from (select id from payments order by id desc limit $1) n order by id`, readsCompared)
	require.NoError(t, err)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	require.NoError(t, err)
	r := commit.NewReader(db)
	whole, err := r.Whole(t.Context(), ids)
	require.NoError(t, err)
	require.Len(t, whole, len(ids))
	for i := range whole {
		alone, err := r.ByID(t.Context(), []pay.ID{whole[i].ID})
		require.NoError(t, err)
		require.Equal(t, whole[i:i+1], alone)
	}
	return len(ids)
}
