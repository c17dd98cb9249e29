package timer_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/timer"
)

// people stands where the desk does: what needs a person is past its deadline.
type people struct {
	mu               sync.Mutex
	overdue, orphans map[pay.ID]int
	largest          int
	err              error
}

func (p *people) Due(pm *pay.Payment, now time.Time) bool { return !now.Before(pm.Deadline) }

func (p *people) Overdue(_ context.Context, payments []pay.Payment) error {
	return p.take(p.overdue, payments)
}

func (p *people) Orphans(_ context.Context, payments []pay.Payment) error {
	return p.take(p.orphans, payments)
}

func (p *people) take(into map[pay.ID]int, payments []pay.Payment) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	p.largest = max(p.largest, len(payments))
	for i := range payments {
		into[payments[i].ID]++
	}
	return nil
}

func (p *people) times(m map[pay.ID]int, id pay.ID) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return m[id]
}

func newPeople() *people { return &people{overdue: map[pay.ID]int{}, orphans: map[pay.ID]int{}} }

// TestACaseExplains: what is past its bound goes to the desk, again and again, and
// from then on it is not unexplained; until it moves.
func TestACaseExplains(t *testing.T) {
	t.Parallel()
	desk, pool := newPeople(), pgtest.Database(t)
	s := spin(t, t.Cleanup, func(c *timer.Config) { c.Pool, c.Desk = pool, desk })
	s.hand(false)
	s.Note([]pay.Payment{open(1, pay.Unknown, time.Hour), open(2, pay.Unknown, 3*time.Hour)})
	s.advance(2*time.Hour - time.Second)
	eventually(t, "an hour late, and nobody is at it", func() bool { return s.Snapshot().Unexplained == time.Hour-time.Second })
	require.Zero(t, desk.times(desk.overdue, 1), "it is not past its bound")
	s.advance(time.Second)
	eventually(t, "asked for twice: a case may have been closed", func() bool { return desk.times(desk.overdue, 1) > 1 })
	eventually(t, "a person is at both", func() bool { return s.Snapshot().Cased == 2 })
	require.Zero(t, s.Snapshot().Unexplained)
	worst := s.Snapshot().UnexplainedMax
	s.advance(time.Hour)
	eventually(t, "handed over all the same", func() bool { return s.times(2) > 0 })
	require.Equal(t, worst, s.Snapshot().UnexplainedMax)

	moved := open(1, pay.Processing, 4*time.Hour)
	moved.Deadline = epoch.Add(24 * time.Hour)
	s.Note([]pay.Payment{moved, open(2, pay.Succeeded, 0)})
	require.Zero(t, s.Snapshot().Cased, "it moved: the case is another matter")
	s.advance(2 * time.Hour)
	eventually(t, "unexplained again", func() bool { return s.Snapshot().Unexplained == time.Hour })
}

// TestADeskThatIsBusyIsAskedAgain, and what has no case stays unexplained.
func TestADeskThatIsBusyIsAskedAgain(t *testing.T) {
	t.Parallel()
	desk, pool := newPeople(), pgtest.Database(t)
	desk.err = context.DeadlineExceeded
	s := spin(t, t.Cleanup, func(c *timer.Config) { c.Pool, c.Desk = pool, desk })
	s.hand(false)
	s.Note([]pay.Payment{open(1, pay.Unknown, time.Hour)})
	s.advance(3 * time.Hour)
	eventually(t, "nobody took it", func() bool { return s.Snapshot().Unexplained == 2*time.Hour })
	require.Zero(t, s.Snapshot().Cased)
	desk.mu.Lock()
	desk.err = nil
	desk.mu.Unlock()
	eventually(t, "taken", func() bool { return s.Snapshot().Cased == 1 && s.Snapshot().Unexplained == 0 })
}

// TestThousandsGoToTheDeskInPages: one look takes a bounded page, and the next goes
// on behind it.
func TestThousandsGoToTheDeskInPages(t *testing.T) {
	t.Parallel()
	desk, pool := newPeople(), pgtest.Database(t)
	s := spin(t, t.Cleanup, func(c *timer.Config) { c.Pool, c.Desk = pool, desk })
	all := make([]pay.Payment, 1700)
	for i := range all {
		all[i] = open(pay.ID(i+1), pay.Unknown, 0)
	}
	slices.Reverse(all)
	s.Load(all)
	s.advance(2 * time.Hour)
	eventually(t, "all of them", func() bool { return s.Snapshot().Cased == len(all) })
	desk.mu.Lock()
	defer desk.mu.Unlock()
	require.LessOrEqual(t, desk.largest, 500)
}

// TestNothingIsLateByAClockThatNobodyBelieves: a machine's clock that is set ahead makes
// no orphan of each open payment; what no timer drives is found all the same, and what is
// late by a clock that is believed, too.
func TestNothingIsLateByAClockThatNobodyBelieves(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t)
	var believed atomic.Bool
	p := open(8, pay.Unknown, time.Minute)
	s := spin(t, t.Cleanup, func(c *timer.Config) {
		c.Pool = pool
		c.Unsound = func() error {
			if believed.Load() {
				return nil
			}
			return clock.ErrUnsound
		}
	})
	s.Note([]pay.Payment{p})
	for _, id := range []pay.ID{8, 9} { // nobody has noted the second
		_, err := pool.Exec(t.Context(), insertOpen, int64(id), epoch, p.NextAt)
		require.NoError(t, err)
	}
	s.advance(72 * time.Hour)
	kinds := func() map[pay.ID]string {
		out := map[pay.ID]string{}
		for _, o := range s.Snapshot().Orphans {
			out[o.Payment] = o.Kind
		}
		return out
	}
	eventually(t, "that no timer drives it is no question of time", func() bool {
		s.clock.Advance(time.Second)
		return kinds()[9] == "unwatched"
	})
	require.NotContains(t, kinds(), pay.ID(8), "both rows were looked at together")
	believed.Store(true)
	eventually(t, "it is late by a clock that is believed", func() bool {
		s.clock.Advance(time.Second)
		return kinds()[8] == "stale"
	})
}

// TestAnOrphanGoesToTheDesk when no station has it, at once; when one says that it
// does, after ten minutes without effect.
func TestAnOrphanGoesToTheDesk(t *testing.T) {
	t.Parallel()
	for name, held := range map[string]bool{"nobody has it": false, "a station says it does": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			desk, p := newPeople(), open(8, pay.Unknown, 0)
			pool := pgtest.Database(t)
			s := spin(t, t.Cleanup, func(c *timer.Config) {
				c.Pool, c.Desk = pool, desk
				c.Reload = func(context.Context, []pay.ID) ([]pay.Payment, error) { return []pay.Payment{p}, nil }
			})
			s.hand(held)
			_, err := pool.Exec(t.Context(), insertOpen, 8, epoch, p.NextAt)
			require.NoError(t, err)
			s.Note([]pay.Payment{p})
			s.advance(2 * time.Minute)
			if held {
				eventually(t, "listed", func() bool {
					if s.clock.Now().Before(epoch.Add(4 * time.Minute)) {
						s.advance(time.Second)
					}
					return len(s.Snapshot().Orphans) == 1
				})
				for range 20 { // looks follow each other
					before := s.times(8)
					s.advance(6 * time.Second)
					eventually(t, "handed over again", func() bool { return s.times(8) > before })
				}
				require.Zero(t, desk.times(desk.orphans, 8))
				s.advance(10 * time.Minute)
			}
			eventually(t, "a person is at it", func() bool {
				s.clock.Advance(2 * time.Second)
				return desk.times(desk.orphans, 8) > 0 && s.Snapshot().Cased == 1
			})
		})
	}
}
