package app

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

func TestLoopsTellTheirSilence(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000, 0)
	var beat time.Time
	work, turns := false, int64(0)
	l := newLoops(func() time.Time { return now },
		[]pulsing{{"timer", func() time.Time { return beat }}},
		[]turning{{"settle", func() (bool, int64) { return work, turns }}})
	r := prometheus.NewRegistry()
	r.MustRegister(l)
	silence := func() map[string]float64 {
		t.Helper()
		all, err := r.Gather()
		require.NoError(t, err)
		out := map[string]float64{}
		for _, f := range all {
			for _, m := range f.GetMetric() {
				out[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
			}
		}
		return out
	}
	require.Equal(t, map[string]float64{"settle": 0}, silence(), "a loop that does not run here is not told")
	beat = now.Add(-time.Second)
	now = now.Add(2 * time.Second)
	require.Equal(t, map[string]float64{"timer": 3, "settle": 0}, silence(), "no work is no silence")

	// Work that goes on is no silence either, however long there is some.
	work = true
	for range 5 {
		now, turns = now.Add(time.Minute), turns+1
		require.Zero(t, silence()["settle"])
	}
	now = now.Add(7 * time.Second)
	require.InDelta(t, 7.0, silence()["settle"], 0)
	now = now.Add(7 * time.Second)
	require.InDelta(t, 14.0, silence()["settle"], 0)
	turns++
	require.Zero(t, silence()["settle"])
}
