package clock_test

import (
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moneta-pay/moneta/internal/clock"
)

// machines are a node and a database whose clocks the test sets.
type machines struct {
	g        *clock.Guard
	wall     *clock.Manual
	mono     time.Time
	db       time.Time
	lastSeen clock.Finding
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func newMachines() *machines {
	m := &machines{wall: clock.NewManual(noon), mono: noon, db: noon}
	m.g = clock.NewGuard(clock.GuardConfig{Clock: m.wall, Monotonic: func() time.Time { return m.mono }})
	return m
}

// pass lets time pass everywhere alike.
func (m *machines) pass(d time.Duration) {
	m.wall.Advance(d)
	m.mono, m.db = m.mono.Add(d), m.db.Add(d)
}

// look asks the database, whose answer takes twice trip.
func (m *machines) look(trip time.Duration) clock.Finding {
	asked := m.g.Read()
	m.pass(trip)
	db := m.db
	m.pass(trip)
	m.lastSeen = m.g.Compare(asked, db)
	return m.lastSeen
}

// watch looks every 400 ms for a while, and returns how often the belief changed.
func (m *machines) watch(d time.Duration) (changes int) {
	for end := m.mono.Add(d); m.mono.Before(end); m.pass(390 * time.Millisecond) {
		if m.look(5 * time.Millisecond).Changed {
			changes++
		}
	}
	return changes
}

func TestNothingIsBelievedBeforeAComparison(t *testing.T) {
	t.Parallel()
	m := newMachines()
	require.ErrorIs(t, m.g.Unsound(), clock.ErrUnsound)
	require.Zero(t, m.watch(time.Second))
	require.NoError(t, m.g.Unsound())
	m.pass(6 * time.Second) // frozen
	require.ErrorContains(t, m.g.Unsound(), "was not read for")
	require.False(t, m.look(0).Changed, "a process that was frozen raises no alarm")
	require.NoError(t, m.g.Unsound())
	require.NoError(t, (*clock.Guard)(nil).Unsound())
}

// TestJumps: every clock that jumps by more than the limit stops time, by less
// does not, and it is believed again when it has kept still for long enough.
func TestJumps(t *testing.T) {
	t.Parallel()
	for name, jump := range map[string]func(m *machines, by time.Duration){
		"database":             func(m *machines, by time.Duration) { m.db = m.db.Add(by) },
		"this machine":         func(m *machines, by time.Duration) { m.wall.Advance(by) },
		"both, on one machine": func(m *machines, by time.Duration) { m.db = m.db.Add(by); m.wall.Advance(by) },
	} {
		for _, by := range []time.Duration{6 * time.Second, -6 * time.Second, time.Hour, -3 * 24 * time.Hour} {
			m := newMachines()
			require.Zero(t, m.watch(2*time.Minute), name)
			jump(m, by)
			f := m.look(5 * time.Millisecond)
			require.True(t, f.Changed, "%s by %s", name, by)
			require.NotEmpty(t, f.Trouble)
			require.ErrorIs(t, m.g.Unsound(), clock.ErrUnsound)
			if name != "both, on one machine" { // they still disagree
				require.Zero(t, m.watch(2*clock.DefaultSettle))
				jump(m, -by)
			}
			require.Zero(t, m.watch(clock.DefaultSettle-time.Second), "%s by %s is believed too soon", name, by)
			require.Error(t, m.g.Unsound())
			require.Equal(t, 1, m.watch(2*time.Second), "%s by %s", name, by)
			require.NoError(t, m.g.Unsound())
		}
		m := newMachines()
		m.watch(time.Minute)
		for range 5 {
			jump(m, 4*time.Second)
			jump(m, -4*time.Second)
			require.Zero(t, m.watch(10*time.Second), "%s by less", name)
		}
	}
}

// TestNoDecisionRightAfterAStep: the machine's own step is known before the next
// comparison, and what is written down meanwhile does not follow it.
func TestNoDecisionRightAfterAStep(t *testing.T) {
	t.Parallel()
	m := newMachines()
	m.watch(time.Minute)
	was := m.g.Now()
	m.wall.Advance(time.Hour)
	require.ErrorContains(t, m.g.Unsound(), "was set by 1h0m0s")
	require.WithinDuration(t, was, m.g.Now(), time.Second)
	m.watch(20 * time.Second)
	require.WithinDuration(t, was.Add(20*time.Second), m.g.Now(), time.Second)
	m.wall.Advance(-time.Hour)
	m.watch(time.Minute)
	require.Equal(t, m.wall.Now(), m.g.Now())
}

// TestAWrongClockFromTheStart: the ledger is written by the database's.
func TestAWrongClockFromTheStart(t *testing.T) {
	t.Parallel()
	m := newMachines()
	m.wall.Advance(-time.Hour)
	f := m.look(time.Millisecond)
	require.True(t, f.Changed)
	require.Contains(t, f.Trouble, "59m59.999s ahead of this machine's", "the answer was a millisecond on its way")
	require.WithinDuration(t, m.db, m.g.Now(), time.Second)
}

func TestTheLedgerIsAhead(t *testing.T) {
	t.Parallel()
	m := newMachines()
	m.g.NotBefore(noon.Add(3 * time.Second))
	require.Zero(t, m.watch(time.Second))
	m.g.NotBefore(noon.Add(20 * time.Second))
	m.g.NotBefore(noon)
	require.Contains(t, m.look(0).Trouble, "the ledger's last entry is 18.8s ahead")
	m.watch(15 * time.Second)
	require.Error(t, m.g.Unsound())
	m.watch(clock.DefaultSettle + time.Second)
	require.NoError(t, m.g.Unsound())
}

// TestSlowAnswersAreNoJumps: whatever the round trips, clocks that run alike are
// believed; and with any round trips below the limit, a jump of more than the
// limit and the trip is seen at once.
func TestSlowAnswersAreNoJumps(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		m := newMachines()
		trip := rapid.Custom(func(r *rapid.T) time.Duration {
			return time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(r, "trip"))
		})
		apart := time.Duration(rapid.Int64Range(-int64(4*time.Second), int64(4*time.Second)).Draw(r, "apart"))
		m.db = m.db.Add(apart)
		for range rapid.IntRange(1, 200).Draw(r, "looks") {
			f := m.look(trip.Draw(r, "trip"))
			require.Empty(t, f.Trouble)
			m.pass(time.Duration(rapid.Int64Range(0, int64(5*time.Minute)).Draw(r, "pause")))
		}
		m.look(0)
		by := clock.DivergenceMax + time.Duration(rapid.Int64Range(int64(4*time.Second), int64(time.Hour)).Draw(r, "jump"))
		last := trip.Draw(r, "last")
		sign := rapid.SampledFrom([]time.Duration{-1, 1}).Draw(r, "sign")
		m.db = m.db.Add(sign * (by + 2*last))
		require.NotEmpty(t, m.look(last).Trouble)
	})
}

// TestDrift: what time daemons slew is believed for ever; a clock that runs away
// is not, although it never jumps.
func TestDrift(t *testing.T) {
	t.Parallel()
	run := func(perSecond time.Duration, seconds int) string {
		m := newMachines()
		for range seconds {
			m.db, m.mono = m.db.Add(time.Second), m.mono.Add(time.Second)
			m.wall.Advance(time.Second)
			m.db = m.db.Add(perSecond)
			m.wall.Advance(perSecond) // one machine: only the monotonic clock tells
			if f := m.look(0); f.Trouble != "" {
				return f.Trouble
			}
		}
		return ""
	}
	require.Empty(t, run(500*time.Microsecond, 24*3600), "a day at 500 ppm")
	require.Contains(t, run(20*time.Millisecond, 24*3600), "against this process's")
}

// TestMark: a machine's clock that is set moves no loop's last sign of life.
func TestMark(t *testing.T) {
	t.Parallel()
	var m clock.Mark
	require.Zero(t, m.Time())
	for _, seconds := range []int64{7200, -7200} {
		m.Set(time.Now())
		now := time.Now()
		*(*uint64)(unsafe.Pointer(&now)) += uint64(seconds) << 30 // the wall clock's part of a Time, as in time.go
		require.WithinDuration(t, time.Now().Add(time.Duration(seconds)*time.Second).Round(0), now.Round(0), time.Minute, "the clock was set")
		require.Less(t, now.Sub(m.Time()).Abs(), time.Minute)
	}
}

func TestPassed(t *testing.T) {
	t.Parallel()
	now := time.Now()
	require.False(t, clock.Passed(now, now))
	require.True(t, clock.Passed(now, now.Add(-1)))
	require.False(t, clock.Passed(now, now.Add(time.Second).Round(0)))
	require.True(t, clock.Passed(noon, noon.Add(-time.Second)))
}
