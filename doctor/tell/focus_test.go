package tell

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
)

func TestFocusIsTheWorstOfEachKind(t *testing.T) {
	t.Parallel()
	at := began.Add(time.Minute)
	sample := doctor.Sample{N: 5}
	reading := func(hop string, s doctor.Signal, last float64) doctor.Reading {
		return doctor.Reading{Hop: hop, Signal: s, Last: last, Before: sample, During: sample, StepS: 1, Newest: &at}
	}
	stale := reading("bank-ab", doctor.OldestAge, 900)
	old := at.Add(-time.Minute)
	stale.Newest = &old
	e := &doctor.Evidence{TakenAt: at, Readings: []doctor.Reading{
		reading("api", doctor.ServerErrors, .02), reading("bank-cd", doctor.Timeouts, .4), reading("dispatch", doctor.OldestAge, 31), stale,
	}}
	got := Focus(e)
	require.Equal(t, Watched{"errors", "bank-cd", doctor.Timeouts, "share", .4, true}, got[0])
	require.Equal(t, Watched{"waiting", "dispatch", doctor.OldestAge, "s", 31, true}, got[1], "what is stale tells nothing")
	require.Equal(t, Watched{Key: "database"}, got[2])
	for _, w := range Focus(nil) {
		require.False(t, w.Known)
	}
	for _, f := range focused {
		units := map[string]bool{}
		for _, s := range f.signals {
			in, ok := s.Info()
			require.True(t, ok, s)
			units[in.Unit] = true
		}
		require.Len(t, units, 1, "only one unit can be compared: %s", f.key)
	}
}
