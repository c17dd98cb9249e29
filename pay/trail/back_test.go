package trail_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/trail"
)

// A name without an index is looked for window by window, over all there is: of few
// payments among many of others too, and never of another tenant.
func TestNamesAreFoundHoweverOldTheyAre(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t)
	_, err := pool.Exec(t.Context(), `insert into payments (id, tenant, kind, asset, amount, fee, from_account, channel, key, trace_id, effective_at, created_at)
		select i, case when i = 3 then 3 else 4 end, 2, 'CZK', 100, 0, 2, 'bank-ab', gen_random_uuid(), '0af76519-16cd-43dd-8448-eb211c80319c', $1, $1::timestamptz + i * interval '1 second'
		from generate_series(1, 25) i`, noon)
	require.NoError(t, err)
	r := trail.NewReader(pool, nil)
	trail.LookBack(r, 10)
	trace := [16]byte{0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd, 0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80, 0x31, 0x9c}
	var below pay.ID
	var ids []pay.ID
	var looked []pay.ID
	for range 5 {
		w, err := r.Back(t.Context(), below)
		require.NoError(t, err)
		looked = append(looked, w.Low)
		require.True(t, w.From.Equal(noon.Add(time.Duration(w.Low)*time.Second)))
		found, err := r.ByTrace(t.Context(), 3, &w, trace)
		require.NoError(t, err)
		ids = append(ids, found...)
		none, err := r.ByChannelID(t.Context(), 3, &w, "B1")
		require.NoError(t, err)
		require.Empty(t, none)
		if w.Whole {
			break
		}
		below = w.Low
	}
	require.Equal(t, []pay.ID{16, 6, 1}, looked)
	require.Equal(t, []pay.ID{3}, ids)
	w, err := r.Back(t.Context(), 1)
	require.NoError(t, err)
	require.True(t, w.Whole)
	require.Zero(t, w.Low)
}
