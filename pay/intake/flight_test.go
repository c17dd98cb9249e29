package intake

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/pay"
)

func TestFlightsAreForgotten(t *testing.T) {
	t.Parallel()
	now := clock.NewManual(time.Unix(1000, 0))
	f := NewFlights(now.Now)
	late := fault.New(fault.Timeout, "")
	key := pay.Key{1}
	require.False(t, f.Begin(key))
	require.True(t, f.Begin(key))
	require.NoError(t, f.End(key, true, nil))
	require.ErrorIs(t, f.End(key, false, late), fault.Timeout)
	require.True(t, f.Begin(key), "its caller gave up, and it may still be decided")
	require.ErrorIs(t, f.End(key, true, fault.New(fault.InsufficientFunds, "")), fault.InsufficientFunds)
	require.False(t, f.Begin(key), "it was answered")
	require.Error(t, f.End(key, false, late))
	now.Advance(flightKeep)
	require.False(t, f.Begin(key), "so long ago")
	require.NoError(t, f.End(key, false, nil))
	for i := range f.shards {
		require.Empty(t, f.shards[i].flying)
		require.Zero(t, f.shards[i].left)
	}
	for i := range uint64(3 * flightMax) {
		var k pay.Key
		binary.BigEndian.PutUint64(k[8:], i)
		require.False(t, f.Begin(k))
		require.Error(t, f.End(k, false, late))
	}
	held := 0
	for i := range f.shards {
		held += len(f.shards[i].flying)
	}
	require.LessOrEqual(t, held, flightMax)
}
