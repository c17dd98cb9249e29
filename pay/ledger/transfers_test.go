package ledger_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// TestCurveAndMovements holds halving against a plain count over all transfers.
func TestCurveAndMovements(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t)
	all := booked(t, pool, 300)
	r := ledger.NewReader(pool)
	from, to := dawn.Add(-10*time.Minute), dawn.Add(310*time.Minute)
	for _, account := range []ledger.AccountID{2, 4, 6} {
		curve, err := r.Curve(t.Context(), 1, account, from, to, 65)
		require.NoError(t, err)
		require.Len(t, curve, 65)
		require.True(t, curve[0].At.Equal(from) && curve[64].At.Equal(to))
		for _, p := range curve {
			until := func(tr *ledger.Transfer) bool { return !tr.BookedAt.After(p.At) }
			require.Equal(t, sum(t, all, account.Available(), until), p.Available, "%s", p.At)
			require.Equal(t, sum(t, all, account.Held(), until), p.Held, "%s", p.At)
		}
	}
	_, err := r.Curve(t.Context(), 2, 2, from, to, 5)
	require.Error(t, err, "another tenant's")

	middle := dawn.Add(150 * time.Minute)
	stand, err := r.Stand(t.Context(), []ledger.AccountID{2, 4, 6, 8}, middle)
	require.NoError(t, err)
	require.Equal(t, sum(t, all, 4, func(tr *ledger.Transfer) bool { return !tr.BookedAt.After(middle) }), stand[4].Available)
	require.True(t, stand[8].Available.IsZero(), "an account without postings has nothing")

	var seen []int64
	q := ledger.MovementsQuery{Limit: 40, Until: middle}
	for range 30 {
		page, next, err := r.Movements(t.Context(), 1, q)
		require.NoError(t, err)
		for _, m := range page {
			seen = append(seen, m.ID)
			tr := all[m.ID-1]
			require.Equal(t, []any{tr.Debit, tr.Credit, tr.Amount, tr.DebitBalance, tr.CreditBalance}, []any{m.Debit.Book, m.Credit.Book, m.Amount, m.Debit.Balance, m.Credit.Balance})
			require.Equal(t, strconv.FormatInt(int64(tr.Debit.Account()), 10), m.Debit.Name)
		}
		if next == "" {
			break
		}
		q.Cursor = next
	}
	var want []int64
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].BookedAt.Before(middle) {
			want = append(want, all[i].ID)
		}
	}
	require.Equal(t, want, seen)
	none, next, err := r.Movements(t.Context(), 2, ledger.MovementsQuery{})
	require.NoError(t, err)
	require.Empty(t, none, "another tenant's")
	require.Empty(t, next)
}

// A list of accounts with filters ends, and finds each once, however few a page looks
// through match.
func TestFindAccounts(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t)
	_, err := pool.Exec(t.Context(), `insert into accounts (id, tenant, kind, asset, name, created_at)
		select i * 2, case when i % 7 = 0 then 2 else 1 end, case when i % 10 = 0 then 3 else 1 + i % 2 end, case when i % 3 = 0 then 'EUR' else 'CZK' end, 'Name ' || i, now()
		  from generate_series(1, 41000) i`)
	require.NoError(t, err)
	r := ledger.NewReader(pool)
	all := func(q ledger.AccountsQuery) (n int) {
		t.Helper()
		for range 1000 {
			page, next, err := r.FindAccounts(t.Context(), 1, q)
			require.NoError(t, err)
			n += len(page)
			if next == 0 {
				return n
			}
			require.Greater(t, next, q.After)
			q.After = next
		}
		require.Fail(t, "a list without an end")
		return n
	}
	count := func(where string) (n int) {
		require.NoError(t, pool.QueryRow(t.Context(), `select count(*) from accounts where tenant = 1 and `+where).Scan(&n))
		return n
	}
	require.Equal(t, 1, all(ledger.AccountsQuery{Name: "name 40998"}), "behind pages on which nothing matches")
	require.Zero(t, all(ledger.AccountsQuery{Name: "nobody"}))
	require.Equal(t, count(`kind <> 3 and name like '%999%'`), all(ledger.AccountsQuery{Name: "999", Limit: 3}))
	require.Equal(t, count(`kind = 3 and asset = 'EUR'`), all(ledger.AccountsQuery{Kind: ledger.System, Asset: "EUR"}))
}
