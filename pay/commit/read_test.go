package commit_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
)

// TestAListLooksThroughAWindow: a filter that matches little is answered in
// bounded steps, and going on to the end finds everything once.
func TestAListLooksThroughAWindow(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t)
	ctx := t.Context()
	_, err := pool.Exec(ctx, `insert into payments (id, tenant, kind, asset, amount, fee, from_account, to_account, key, trace_id, effective_at, created_at)
		select i, 1, case when i % 8000 = 7 then 2 else 1 end, 'CZK', 1, 0, 2, 4, gen_random_uuid(), gen_random_uuid(), now(), now()
		from generate_series(1, 24000) i`)
	require.NoError(t, err)
	_, err = pool.Exec(ctx, `insert into transitions select i, i, 1, 22, 0, 6, 0, 0, null, 0, 'api', null, now() from generate_series(1, 24000) i`)
	require.NoError(t, err)
	_, err = pool.Exec(ctx, `analyze payments`)
	require.NoError(t, err)

	r := commit.NewReader(pool)
	var found []pay.ID
	f := commit.Filter{Kind: pay.Payout}
	pages := 0
	for {
		l, err := r.List(ctx, 1, f)
		require.NoError(t, err)
		for i := range l.Payments {
			found = append(found, l.Payments[i].ID)
		}
		pages++
		if f.Before = l.Next; l.Next == 0 {
			break
		}
	}
	require.Equal(t, []pay.ID{16007, 8007, 7}, found)
	require.Equal(t, 3, pages)
	l, err := r.List(ctx, 1, commit.Filter{Limit: 3, Before: 4})
	require.NoError(t, err)
	require.Len(t, l.Payments, 3)
	require.Zero(t, l.Next)
	l, err = r.List(ctx, 2, commit.Filter{Before: 50})
	require.NoError(t, err)
	require.Empty(t, l.Payments)
	_, err = r.Payment(ctx, 2, 7)
	require.ErrorIs(t, err, fault.NotFound)
}
