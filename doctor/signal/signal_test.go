package signal_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/signal"
	"github.com/moneta-pay/moneta/internal/clock"
)

var (
	began   = time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)
	symptom = doctor.Symptom{Hop: doctor.HopAPI, Signal: doctor.Latency}
)

func tell(m *signal.Memory, at time.Time, value float64) {
	m.Take("c", time.Second, &doctor.Look{Points: []doctor.Point{{Hop: doctor.HopAPI, Signal: doctor.Latency, Value: value, At: at, Source: "q", Detail: map[string]string{"v": fmt.Sprint(value)}}}})
}

func reading(t *testing.T, e *doctor.Evidence) doctor.Reading {
	t.Helper()
	require.NoError(t, e.Validate())
	require.Len(t, e.Readings, 1)
	return e.Readings[0]
}

func TestMemoryTellsBeforeAndDuring(t *testing.T) {
	t.Parallel()
	m := signal.NewMemory(doctor.Road())
	now := began
	for i := range 1200 { // 20 minutes: the oldest five are forgotten
		now = began.Add(time.Duration(i) * time.Second)
		v := 1.0
		if i < 300 {
			v = 500
		}
		if i >= 1190 {
			v = 7
		}
		tell(m, now, v)
	}
	r := reading(t, m.Evidence(now, now.Add(-10*time.Second), symptom))
	require.InDelta(t, 1, r.Before.Value, 0)
	require.Equal(t, 900, r.Before.N)
	require.InDelta(t, 6.45, r.During.Value, .1)
	require.InDelta(t, 7, r.Last, 0)
	require.Equal(t, map[string]string{"v": "7"}, r.Detail)
	require.Equal(t, now, *r.Newest)
	_, points := m.Size()
	require.LessOrEqual(t, points, 1024)
}

// However long trouble lasts, it does not become the usual; and neither does it after.
func TestTroubleNeverBecomesTheUsual(t *testing.T) {
	t.Parallel()
	m := signal.NewMemory(doctor.Road())
	now := began
	for i := range 60 {
		now = began.Add(time.Duration(i) * time.Second)
		tell(m, now, 1)
	}
	since := now
	m.Freeze(since)
	for i := range 3000 {
		now = since.Add(time.Duration(i+1) * time.Second)
		tell(m, now, 90)
	}
	r := reading(t, m.Evidence(now, since, symptom))
	require.InDelta(t, 1, r.Before.Value, 0)
	require.InDelta(t, 90, r.During.Value, 0)
	for range 20 {
		now = now.Add(time.Second)
		tell(m, now, 2)
	}
	r = reading(t, m.Evidence(now, since, symptom))
	require.Greater(t, r.During.Value, 80.0)
	require.InDelta(t, 2, r.Lately.Value, 0, "and how it is now shows too")
	m.Thaw(now)
	for range 20 {
		now = now.Add(time.Second)
		tell(m, now, 2)
	}
	r = reading(t, m.Evidence(now, now.Add(-5*time.Second), symptom))
	require.InDelta(t, 2, r.Before.Value, 0, "only what came after the trouble")
}

func TestSilenceIsNotHealth(t *testing.T) {
	t.Parallel()
	m := signal.NewMemory(doctor.Road())
	tell(m, began, 1)
	at := began.Add(2 * time.Second)
	r := reading(t, m.Evidence(at, at.Add(-time.Second), symptom))
	require.Equal(t, 1, r.During.N, "its next point is not due yet")
	at = began.Add(time.Minute)
	r = reading(t, m.Evidence(at, at.Add(-10*time.Second), symptom))
	require.Equal(t, doctor.Missing, r.Presence(at))
	require.InDelta(t, 1, r.Last, 0, "what was last known stays known, with its time")
}

func TestMemoryRefusesNonsense(t *testing.T) {
	t.Parallel()
	m := signal.NewMemory(doctor.Road())
	m.Take("c", time.Second, &doctor.Look{Points: []doctor.Point{
		{Hop: "nowhere", Signal: doctor.Latency, At: began},
		{Hop: doctor.HopAPI, Signal: "mood", At: began},
		{Hop: doctor.HopAPI, Signal: doctor.Latency, Value: -1, At: began},
		{Hop: doctor.HopAPI, Signal: doctor.Latency, Value: 1},
	}})
	e := m.Evidence(began, began, symptom)
	require.NoError(t, e.Validate())
	require.Empty(t, e.Readings)
	require.Len(t, e.Notes, 1)
	require.Contains(t, e.Notes[0], "4 readings of c")
}

// Whatever is told, the evidence is valid and the memory bounded.
func TestMemoryHoldsWhateverIsTold(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := signal.NewMemory(doctor.Road())
		at := began
		for range rapid.IntRange(0, 60).Draw(t, "points") {
			at = at.Add(time.Duration(rapid.IntRange(-5000, 20000).Draw(t, "later")) * time.Millisecond)
			m.Take("c", time.Second, &doctor.Look{Points: []doctor.Point{{
				Hop: rapid.SampledFrom([]string{"api", "serve", "x"}).Draw(t, "hop"), Signal: doctor.Latency,
				Value: rapid.Float64().Draw(t, "value"), At: at,
			}}})
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				m.Freeze(at)
			case 1:
				m.Thaw(at)
			}
			e := m.Evidence(at, at.Add(-5*time.Second), symptom)
			if err := e.Validate(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

type fake struct {
	name  string
	looks atomic.Int64
	look  func(context.Context) (doctor.Look, error)
}

func (f *fake) Name() string         { return f.name }
func (f *fake) Every() time.Duration { return 5 * time.Millisecond }
func (f *fake) Look(ctx context.Context) (doctor.Look, error) {
	f.looks.Add(1)
	return f.look(ctx)
}

// A collector that hangs, one that fails and one that panics keep none from looking,
// and each is told of.
func TestRunnerKeepsCollectorsApart(t *testing.T) {
	t.Parallel()
	m := signal.NewMemory(doctor.Road())
	well := &fake{name: "well", look: func(context.Context) (doctor.Look, error) { return doctor.Look{}, nil }}
	fails := &fake{name: "fails", look: func(context.Context) (doctor.Look, error) { return doctor.Look{}, errors.New("no answer") }}
	panics := &fake{name: "panics", look: func(context.Context) (doctor.Look, error) { panic("!") }}
	hangs := &fake{name: "hangs", look: func(ctx context.Context) (doctor.Look, error) { <-ctx.Done(); return doctor.Look{}, ctx.Err() }}
	now := clock.NewManual(began)
	r := signal.NewRunner(m, now, signal.Source{Collector: well, Hop: doctor.HopServe}, signal.Source{Collector: fails, Hop: doctor.HopServe},
		signal.Source{Collector: panics, Hop: doctor.HopServe}, signal.Source{Collector: hangs, Hop: doctor.HopServe})
	require.True(t, r.Note())
	r.Start(t.Context())
	require.Eventually(t, func() bool { return well.looks.Load() > 20 && r.Status()[0].Failed > 0 && panics.looks.Load() > 0 }, 20*time.Second, 5*time.Millisecond)
	for range 4 {
		now.Advance(2 * time.Second)
		require.True(t, r.Note())
	}
	looked := well.looks.Load()
	require.Eventually(t, func() bool { return well.looks.Load() > looked+1 }, 20*time.Second, 5*time.Millisecond)
	now.Advance(time.Second)
	require.True(t, r.Note())
	status := r.Status()
	require.Equal(t, []string{"fails", "hangs", "panics", "well"}, []string{status[0].Name, status[1].Name, status[2].Name, status[3].Name})
	require.Equal(t, "no answer", status[0].Error)
	require.Equal(t, "panic: !", status[2].Error)
	require.Nil(t, status[1].Newest)
	require.LessOrEqual(t, status[3].AgeS, 1.0)
	silent := map[string]float64{}
	for _, rd := range m.Evidence(now.Now(), now.Now().Add(-5*time.Second), symptom).Readings {
		require.Equal(t, doctor.Silence, rd.Signal)
		silent[rd.Statistic] = rd.Last
	}
	require.InDelta(t, 9, silent["collector fails"], 0)
	require.InDelta(t, 9, silent["collector hangs"], 0)
	require.LessOrEqual(t, silent["collector well"], 1.0)

	now.Advance(time.Minute)
	require.False(t, r.Note(), "the process stood still: nothing is silent yet")
	require.Zero(t, r.Status()[0].AgeS)
	require.NoError(t, r.Stop(t.Context()))
}
