package timer_test

import (
	"context"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/timer"
)

const patience = 20 * time.Second

func TestMain(m *testing.M) { pgtest.VerifyTestMain(m) }

var epoch = time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)

// spun is a wheel on a clock of its own, and who was handed over.
type spun struct {
	*timer.Wheel
	clock  *clock.Manual
	mu     sync.Mutex
	handed map[pay.ID]int
	inHand bool
}

func spin(t require.TestingT, cleanup func(func()), change func(*timer.Config)) *spun {
	tel, err := telemetry.Setup(context.Background(), telemetry.Config{LogOutput: io.Discard})
	require.NoError(t, err)
	s := &spun{clock: clock.NewManual(epoch), handed: map[pay.ID]int{}, inHand: true}
	cfg := timer.Config{Due: s.due, Clock: s.clock, Telemetry: tel, Guard: 5 * time.Second, WatchEvery: 5 * time.Millisecond}
	if change != nil {
		change(&cfg)
	}
	s.Wheel = timer.New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Run(ctx) }()
	cleanup(func() { cancel(); <-done })
	return s
}

func (s *spun) due(p pay.Payment) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handed[p.ID]++
	return s.inHand
}

func (s *spun) hand(in bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inHand = in
}

func (s *spun) times(id pay.ID) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.handed[id]
}

// advance moves the clock and turns the wheel.
func (s *spun) advance(d time.Duration) {
	s.clock.Advance(d)
	s.Note(nil)
}

// turned waits until the wheel has turned once after all that was noted so far: what it
// had taken off before that is handed over by then, and final payments are on it no more.
func (s *spun) turned(t require.TestingT) {
	s.advance(time.Millisecond)
	now := s.clock.Now()
	eventually(t, "the wheel has turned", func() bool { return s.Progress().Equal(now) })
}

func open(id pay.ID, state pay.State, dueIn time.Duration) pay.Payment {
	return pay.Payment{
		ID: id, Kind: pay.Payout, State: state, Channel: "bank-ab", Asset: "CZK", Amount: money.Int(100), Seq: 1,
		EnteredAt: epoch, NextAt: epoch.Add(dueIn), Deadline: epoch.Add(2 * time.Hour),
	}
}

func eventually(t require.TestingT, what string, holds func() bool) {
	require.Eventually(t, holds, patience, time.Millisecond, what)
}

func TestEachIsHandedOverWhenItsTimeComes(t *testing.T) {
	t.Parallel()
	s := spin(t, t.Cleanup, nil)
	again := open(3, pay.Reserved, 30*time.Second)
	again.Attempt.N = 1
	s.Note([]pay.Payment{open(1, pay.Reserved, 30*time.Second), open(2, pay.Unknown, 10*time.Second), again})
	eventually(t, "what was never attempted waits for nothing", func() bool { return s.times(1) == 1 })
	require.Zero(t, s.times(2))
	require.Zero(t, s.times(3))
	s.advance(10 * time.Second)
	eventually(t, "unknown is due", func() bool { return s.times(2) == 1 })
	require.Zero(t, s.times(3), "a new attempt keeps its distance")
	eventually(t, "nothing changed, so the guard hands it over again", func() bool { return s.times(1) >= 2 })

	done := open(2, pay.Succeeded, 0)
	s.Note([]pay.Payment{done})
	s.turned(t)
	before := s.times(2)
	s.advance(time.Minute)
	eventually(t, "the others go on", func() bool { return s.times(3) >= 1 })
	require.Equal(t, before, s.times(2), "final payments leave the wheel")
	require.Equal(t, 2, s.Snapshot().Open)
}

func TestUnexplainedIsTheTimeThatNobodyHadItInHand(t *testing.T) {
	t.Parallel()
	s := spin(t, t.Cleanup, nil)
	s.hand(false)
	p := open(1, pay.Unknown, time.Second)
	s.Note([]pay.Payment{p})
	require.Zero(t, s.Snapshot().UnexplainedMax, "a live future timer explains it")
	s.advance(time.Second)
	eventually(t, "handed over and refused", func() bool { return s.times(1) == 1 })
	s.advance(3 * time.Second)
	require.Equal(t, 3*time.Second, s.Snapshot().Unexplained)
	s.hand(true)
	s.advance(4 * time.Second)
	eventually(t, "somebody has it", func() bool { return s.Snapshot().Unexplained == 0 })
	s.advance(100 * time.Second)
	eventually(t, "handed over again", func() bool { return s.times(1) >= 3 })
	require.Equal(t, 7*time.Second, s.Snapshot().UnexplainedMax, "the worst is kept, and work under way is not counted")
}

func TestTakeoverCountsTheTimeThatNobodyLed(t *testing.T) {
	t.Parallel()
	s := spin(t, t.Cleanup, nil)
	s.Load([]pay.Payment{open(1, pay.Unknown, -42*time.Second), open(2, pay.Processing, time.Hour)})
	require.Equal(t, 42*time.Second, s.Snapshot().UnexplainedMax)
	eventually(t, "handed over at once", func() bool { return s.times(1) == 1 })
	require.Zero(t, s.times(2))
}

func TestAStalledHandOverIsOverdue(t *testing.T) {
	t.Parallel()
	block, stalled := make(chan struct{}), make(chan struct{}, 100)
	s := spin(t, t.Cleanup, func(c *timer.Config) {
		due := c.Due
		c.Due = func(p pay.Payment) bool {
			if p.ID == 1 {
				stalled <- struct{}{}
				<-block
			}
			return due(p)
		}
	})
	release := sync.OnceFunc(func() { close(block) })
	t.Cleanup(release) // else a failure would wait for the stalled wheel
	s.Note([]pay.Payment{open(1, pay.Unknown, 0)})
	select {
	case <-stalled:
	case <-time.After(patience):
		t.Fatal("the payment that is due is not handed over")
	}
	s.Note([]pay.Payment{open(2, pay.Unknown, time.Second)})
	began := s.Progress()
	s.advance(90 * time.Second)
	eventually(t, "overdue", func() bool { return s.Snapshot().Overdue >= 85*time.Second })
	require.Less(t, s.Progress().Sub(began), 10*time.Second, "and the heartbeat can see it")
	release()
	eventually(t, "caught up", func() bool { return s.Snapshot().Overdue == 0 && s.times(2) >= 1 })
	require.GreaterOrEqual(t, s.Snapshot().UnexplainedMax, 85*time.Second)
}

// Whatever is noted in whatever order: what is open is handed over once its time
// and the guard have passed, and nothing else ever is.
func TestNothingOpenIsForgotten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var cleanups []func()
		defer func() {
			for _, f := range cleanups {
				f()
			}
		}()
		s := spin(rt, func(f func()) { cleanups = append(cleanups, f) }, nil)
		now := map[pay.ID]pay.Payment{}
		for range rapid.IntRange(1, 60).Draw(rt, "notes") {
			id := pay.ID(rapid.IntRange(1, 12).Draw(rt, "id"))
			state := rapid.SampledFrom([]pay.State{pay.Reserved, pay.Dispatching, pay.Unknown, pay.Succeeded}).Draw(rt, "state")
			p := open(id, state, time.Duration(rapid.IntRange(-5, 50).Draw(rt, "due"))*time.Second)
			p.Seq = int32(len(now)) + 1
			now[id] = p
			s.Note([]pay.Payment{p})
		}
		want := 0
		for _, p := range now {
			if p.Open() {
				want++
			}
		}
		require.Equal(rt, want, s.Snapshot().Open)
		s.turned(rt)
		before := map[pay.ID]int{}
		for id := range now {
			before[id] = s.times(id)
		}
		s.advance(time.Minute)
		eventually(rt, "all open ones are handed over", func() bool {
			for id, p := range now {
				if p.Open() && s.times(id) == before[id] {
					return false
				}
			}
			return true
		})
		for id, p := range now {
			if !p.Open() {
				require.Equal(rt, before[id], s.times(id))
			}
		}
	})
}

const insertOpen = `insert into open_payments (payment, tenant, kind, asset, amount, account, channel, state, hop, entered_at, next_at, deadline, attempt, checks)
  values ($1, 1, 2, 'CZK', 100, 2, 'bank-ab', 5, 'settle', $2, $3, $3, 1, 0)`

func orphanWorld(t *testing.T, reload func(context.Context, []pay.ID) ([]pay.Payment, error)) (*spun, *pgxpool.Pool) {
	t.Helper()
	pool := pgtest.Database(t)
	s := spin(t, t.Cleanup, func(c *timer.Config) { c.Pool, c.Reload = pool, reload })
	return s, pool
}

func TestARowThatNoTimerDrivesIsFoundAndAdopted(t *testing.T) {
	t.Parallel()
	var reloaded sync.Map
	s, pool := orphanWorld(t, func(_ context.Context, ids []pay.ID) ([]pay.Payment, error) {
		reloaded.Store("ids", ids)
		return []pay.Payment{open(7, pay.Unknown, 0)}, nil
	})
	_, err := pool.Exec(t.Context(), insertOpen, 7, epoch, epoch.Add(time.Second))
	require.NoError(t, err)
	eventually(t, "adopted", func() bool {
		s.clock.Advance(time.Second)
		return s.times(7) > 0
	})
	ids, _ := reloaded.Load("ids")
	require.Equal(t, []pay.ID{7}, ids)
	eventually(t, "and no orphan any more", func() bool {
		for _, o := range s.Snapshot().Orphans {
			if o.Kind == "unwatched" {
				return false
			}
		}
		return true
	})
	eventually(t, "the mark is durable", func() bool {
		var ms int64
		err := pool.QueryRow(context.Background(), `select value from marks where name = $1`, timer.MarkUnexplained).Scan(&ms)
		return err == nil && ms > 0
	})
}

func TestARowLongOverdueIsListedUntilItMoves(t *testing.T) {
	t.Parallel()
	s, pool := orphanWorld(t, nil)
	p := open(8, pay.Unknown, 0)
	_, err := pool.Exec(t.Context(), insertOpen, 8, epoch, p.NextAt)
	require.NoError(t, err)
	s.Note([]pay.Payment{p})
	s.advance(2 * time.Minute)
	eventually(t, "listed", func() bool {
		s.clock.Advance(time.Second)
		o := s.Snapshot().Orphans
		return len(o) == 1 && o[0].Kind == "stale" && o[0].Payment == 8 && o[0].Hop == "settle"
	})
	_, err = pool.Exec(t.Context(), `delete from open_payments`)
	require.NoError(t, err)
	s.Note([]pay.Payment{open(8, pay.Succeeded, 0)})
	eventually(t, "gone", func() bool { return len(s.Snapshot().Orphans) == 0 })
}

func TestRoute(t *testing.T) {
	t.Parallel()
	var got string
	to := func(name string) func(pay.Payment) bool {
		return func(pay.Payment) bool { got = name; return true }
	}
	r := timer.Route{Clear: to("clear"), Dispatch: to("dispatch"), Settle: to("settle"), Time: to("expire")}
	for _, c := range []struct {
		kind  pay.Kind
		state pay.State
		want  string
	}{
		{pay.Payout, pay.Created, "clear"},
		{pay.Deposit, pay.Created, "settle"},
		{pay.Payout, pay.Reserved, "dispatch"},
		{pay.Payout, pay.Dispatching, "settle"},
		{pay.Payout, pay.Processing, "settle"},
		{pay.Payout, pay.Unknown, "settle"},
		{pay.Payout, pay.Failed, ""},
		{pay.Hold, pay.Reserved, "expire"},
	} {
		got = ""
		require.True(t, r.Due(pay.Payment{Kind: c.kind, State: c.state}))
		require.Equal(t, c.want, got, "%s %s", c.kind, c.state)
	}
	require.False(t, timer.Route{}.Due(pay.Payment{Kind: pay.Payout, State: pay.Unknown}), "nobody has it in hand")
}

// BenchmarkNote is what the decider's hook pays for a batch of 1,000 changes
// while 100,000 payments are open.
func BenchmarkNote(b *testing.B) {
	s := spin(b, b.Cleanup, func(c *timer.Config) { c.WatchEvery = 2 * time.Second })
	all := make([]pay.Payment, 100_000)
	for i := range all {
		all[i] = open(pay.ID(i+1), pay.Unknown, time.Hour)
	}
	s.Load(all)
	for i := 0; b.Loop(); i++ {
		from := i * 1000 % len(all)
		s.Note(all[from : from+1000])
	}
}
