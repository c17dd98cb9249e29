package app

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/signal"
	"github.com/moneta-pay/moneta/doctor/signal/metrics"
	"github.com/moneta-pay/moneta/doctor/slo"
	"github.com/moneta-pay/moneta/internal/clock"
)

func TestAMinuteCountsWhatCameInIt(t *testing.T) {
	t.Parallel()
	c := clock.NewManual(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	hops, calls := doctor.Road()
	w := &watch{clock: c, memory: signal.NewMemory(hops, calls)}
	m := sloMinute{at: c.Now(), asked: metrics.Asked{All: 100, Faults: 5, Answered: 90, Quick: 90}}
	require.Empty(t, m.counts(m.asked), "nothing came, and nobody read the facts")
	tell := func(v float64) {
		w.memory.Take("money", time.Second, &doctor.Look{Points: []doctor.Point{{Hop: doctor.HopDispatch, Signal: doctor.Overdue, Value: v, At: c.Now(), Source: "x"}}})
		m.look(w)
	}
	tell(0)
	got := m.counts(metrics.Asked{All: 200, Faults: 6, Answered: 190, Quick: 180})
	require.Equal(t, map[string]slo.Count{slo.Accept: {Good: 99, All: 100}, slo.Quick: {Good: 90, All: 100}, slo.OnTime: {Good: 1, All: 1}}, got)
	c.Advance(time.Second)
	tell(2)
	require.Equal(t, slo.Count{All: 1}, m.counts(m.asked)[slo.OnTime], "one look that saw one is enough")

	var err error
	w.budgets, err = slo.Open(filepath.Join(t.TempDir(), sloFile))
	require.NoError(t, err)
	require.Equal(t, say("en", "slo-none"), w.slo("en").Says)
	require.NoError(t, w.budgets.Add(c.Now(), got))
	var out bytes.Buffer
	l := w.slo("en")
	require.NoError(t, l.print(&out, "en"))
	require.Contains(t, out.String(), "accept: 99.9 %")
	require.Equal(t, "page", l.Objectives[0].Alert, "one in a hundred is ten times what may fail, in six hours and in half of one")
	require.NoError(t, l.print(&out, "zh"))
}
