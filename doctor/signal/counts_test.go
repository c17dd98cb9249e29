package signal_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/signal"
)

// TestWhatOnlyRisesIsComparedWithWhereItStood: a process that was started again some
// time before the trouble was not started again in it.
func TestWhatOnlyRisesIsComparedWithWhereItStood(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for name, frozen := range map[string]bool{"while nothing is wrong": false, "frozen at the alarm": true} {
		m := signal.NewMemory(doctor.Road())
		for s := range 120 {
			starts := 0.0
			if s >= 90 {
				starts = 1
			}
			at := start.Add(time.Duration(s) * time.Second)
			m.Take("process", time.Second, &doctor.Look{Points: []doctor.Point{{Hop: doctor.HopServe, Signal: doctor.Restarts, Value: starts, At: at, Source: "/proc"}}})
		}
		since := start.Add(110 * time.Second)
		if frozen {
			m.Freeze(since)
		}
		e := m.Evidence(start.Add(119*time.Second), since, doctor.Symptom{Hop: doctor.HopServe, Signal: doctor.Restarts})
		require.Len(t, e.Readings, 1)
		require.InDelta(t, 1, e.Readings[0].Before.Value, 0, name)
		require.InDelta(t, 1, e.Readings[0].During.Value, 0, name)
	}
}
