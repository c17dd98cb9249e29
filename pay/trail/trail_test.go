package trail_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/trail"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// TestTheLongestStretchIsMarked, an open one by how long it lasts now; what was sent
// again has its states twice; settlement is no state.
func TestTheLongestStretchIsMarked(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t)
	const id, tenant = pay.ID(42), pay.TenantID(3)
	at := func(s int) time.Time { return noon.Add(time.Duration(s) * time.Second) }
	exec := func(sql string, args ...any) {
		t.Helper()
		_, err := pool.Exec(t.Context(), sql, args...)
		require.NoError(t, err)
	}
	exec(`insert into payments (id, tenant, kind, asset, amount, fee, from_account, channel, key, trace_id, effective_at, created_at)
		values ($1, $2, $3, 'CZK', 100, 0, 2, 'bank-ab', gen_random_uuid(), '0af76519-16cd-43dd-8448-eb211c80319c', $4, $4)`, int64(id), int32(tenant), int16(pay.Payout), at(0))
	seq := 0
	move := func(from, to pay.State, second int) {
		t.Helper()
		seq++
		exec(`insert into transitions (id, payment, seq, transition, from_state, to_state, settlement, attempt, transfers, at) values ($1::bigint, $2, $1::int, 1, $3, $4, 0, 0, 0, $5)`,
			seq, int64(id), int16(from), int16(to), at(second))
	}
	move(pay.None, pay.Reserved, 0)
	move(pay.Reserved, pay.Dispatching, 1)
	move(pay.Dispatching, pay.Unknown, 4)
	move(pay.Unknown, pay.Reserved, 34)
	move(pay.Reserved, pay.Dispatching, 35)
	exec(`insert into open_payments (payment, tenant, kind, asset, amount, account, channel, state, hop, entered_at, next_at, deadline, attempt, checks)
		values ($1, $2, 2, 'CZK', 100, 2, 'bank-ab', $3, 'channel', $4, $4, $5, 2, 0)`, int64(id), int32(tenant), int16(pay.Dispatching), at(35), at(50))

	now := clock.NewManual(at(40))
	r := trail.NewReader(pool, now)
	names := func() (all []string, longest string) {
		tr, err := r.Of(t.Context(), tenant, id)
		require.NoError(t, err)
		for _, s := range tr.Spans {
			all = append(all, s.Name)
			if s.Longest {
				longest = s.Name + " until " + s.Ended
			}
		}
		return all, longest
	}
	all, longest := names()
	require.Equal(t, []string{"reserved", "dispatching", "unknown", "reserved", "dispatching"}, all)
	require.Equal(t, "unknown until reserved", longest)
	tr, err := r.Of(t.Context(), tenant, id)
	require.NoError(t, err)
	require.Equal(t, []any{"ask", false, "0af7651916cd43dd8448eb211c80319c"}, []any{tr.Next.What, tr.Next.Late, tr.TraceID})

	now.Advance(time.Minute)
	_, longest = names()
	require.Equal(t, "dispatching until ", longest, "it lasts the longest by now")
	tr, err = r.Of(t.Context(), tenant, id)
	require.NoError(t, err)
	require.True(t, tr.Next.Late)

	move(pay.Dispatching, pay.Succeeded, 90)
	move(pay.Succeeded, pay.Succeeded, 95) // settled
	exec(`delete from open_payments`)
	tr, err = r.Of(t.Context(), tenant, id)
	require.NoError(t, err)
	require.Equal(t, at(90), *tr.FinalAt)
	require.Nil(t, tr.Next)
	require.Len(t, tr.Spans, 5)

	_, err = r.Of(t.Context(), tenant+1, id)
	require.ErrorIs(t, err, fault.NotFound, "another tenant's")
}
