// Package timer keeps every open payment on one wheel, so that each has a next
// step that will run, and tells how late the latest one is. It hands a payment
// whose time has come to the station that owns its next step, and again after a
// guard interval while nothing changed. It refuses to decide what that step is,
// to write payments, and to forget a payment that is not final.
package timer

import (
	"container/heap"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/pay"
)

// Defaults of Config; each applies when its field is zero.
const (
	// DefaultGuard is how soon a payment is handed over again when nothing
	// changed since.
	DefaultGuard = 5 * time.Second
	// DefaultStaleAfter is how far next_at may lie in the past before the row
	// is reported.
	DefaultStaleAfter = 60 * time.Second
	// DefaultWatchEvery is how often the wheel is measured and compared with
	// the table of open payments.
	DefaultWatchEvery = 2 * time.Second

	nap     = 200 * time.Millisecond // the longest the wheel sleeps: its pulse
	handMax = 256                    // payments handed over before the lock is given up
)

// Config is what a Wheel needs.
type Config struct {
	// Due takes a payment whose next step is due, and must not block. It
	// reports whether a station has the payment in hand now: its step runs, or
	// waits behind work that moves. Route.Due is made for it.
	Due func(pay.Payment) bool
	// Pool reads open_payments and writes marks; nil leaves both out.
	Pool *pgxpool.Pool
	// Reload reads payments as committed, to put orphans back on the wheel;
	// nil only lists them. Payments that are final meanwhile are skipped.
	Reload func(ctx context.Context, ids []pay.ID) ([]pay.Payment, error)
	// Desk opens cases for people; nil opens none.
	Desk Desk
	// Unsound says why the time is not believed; then no row is called stale by it. Nil
	// believes it always. The desk asks for itself.
	Unsound func() error
	// Clock tells the time; nil means the system's.
	Clock clock.Clock
	// Telemetry takes logs and metrics; required.
	Telemetry *telemetry.Telemetry

	Guard, StaleAfter, WatchEvery time.Duration
}

func (c *Config) fill() {
	if c.Clock == nil {
		c.Clock = clock.System
	}
	if c.Unsound == nil {
		c.Unsound = func() error { return nil }
	}
	fill := func(d *time.Duration, value time.Duration) {
		if *d <= 0 {
			*d = value
		}
	}
	fill(&c.Guard, DefaultGuard)
	fill(&c.StaleAfter, DefaultStaleAfter)
	fill(&c.WatchEvery, DefaultWatchEvery)
}

// Wheel holds one entry for each open payment of the shard. Its methods are safe
// for concurrent use; Load and Note never block on anything but its short lock.
type Wheel struct {
	cfg   Config
	log   *slog.Logger
	wake  chan struct{}
	pulse clock.Mark // the last turn
	gauge gauges
	ready atomic.Pointer[map[string]int] // payouts that could be attempted, by channel; of the last look
	due   []pay.Payment                  // the loop's own, kept for its memory

	mu      sync.Mutex
	heap    entries
	byID    map[pay.ID]*entry
	loose   map[pay.ID]*entry // past due, and no station has it in hand
	worst   time.Duration     // longest that one was loose, since the wheel began
	orphans map[pay.ID]Orphan
	cased   map[pay.ID]struct{} // a person is at it: that explains it
}

type entry struct {
	p     pay.Payment
	at    time.Time // when to hand it over
	index int
}

// New returns a wheel that holds nothing yet.
func New(cfg Config) *Wheel {
	cfg.fill()
	w := &Wheel{
		cfg: cfg, log: cfg.Telemetry.Logger().With(slog.String("station", "timer")),
		wake: make(chan struct{}, 1), gauge: newGauges(cfg.Telemetry),
		byID: make(map[pay.ID]*entry), loose: make(map[pay.ID]*entry), orphans: make(map[pay.ID]Orphan),
		cased: make(map[pay.ID]struct{}),
	}
	w.pulse.Set(cfg.Clock.Now())
	return w
}

// Load replaces the wheel's contents by the open payments found at takeover.
// What was due while nobody led counts as unexplained until now.
func (w *Wheel) Load(open []pay.Payment) {
	now := w.cfg.Clock.Now()
	w.pulse.Set(now) // standing by was no standstill
	w.mu.Lock()
	w.heap = make(entries, 0, len(open))
	clear(w.byID)
	clear(w.loose)
	clear(w.orphans)
	clear(w.cased)
	for i := range open {
		w.lateness(now.Sub(open[i].NextAt))
		w.put(&open[i])
	}
	w.mu.Unlock()
	w.turn()
}

// Note takes copies of payments whose state or timer changed, after COMMIT.
func (w *Wheel) Note(changed []pay.Payment) {
	now := w.cfg.Clock.Now()
	w.mu.Lock()
	for i := range changed {
		p := &changed[i]
		if e := w.loose[p.ID]; e != nil {
			w.late(e, now)
			delete(w.loose, p.ID)
		}
		w.put(p)
	}
	w.mu.Unlock()
	w.turn()
}

// put inserts, replaces or removes p's entry. The caller holds the lock.
func (w *Wheel) put(p *pay.Payment) {
	e := w.byID[p.ID]
	switch {
	case !p.Open():
		if e != nil {
			heap.Remove(&w.heap, e.index)
			delete(w.byID, p.ID)
		}
		delete(w.orphans, p.ID)
		delete(w.cased, p.ID)
	case e != nil:
		delete(w.cased, p.ID) // it moved: whether a person is still needed is asked again
		e.p, e.at = *p, firstDue(p)
		heap.Fix(&w.heap, e.index)
	default:
		e = &entry{p: *p, at: firstDue(p)}
		w.byID[p.ID] = e
		heap.Push(&w.heap, e)
	}
}

// firstDue is when to hand p over: at its timer, but a payout that was never
// attempted waits for nothing.
func firstDue(p *pay.Payment) time.Time {
	if p.State == pay.Reserved && p.Attempt.N == 0 && p.Kind != pay.Hold {
		return p.EnteredAt
	}
	return p.NextAt
}

func (w *Wheel) turn() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Run turns the wheel and watches it until ctx ends.
func (w *Wheel) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { w.loop(ctx); return nil })
	g.Go(func() error { w.watch(ctx); return nil })
	return g.Wait()
}

func (w *Wheel) loop(ctx context.Context) {
	timer := time.NewTimer(nap)
	defer timer.Stop()
	for ctx.Err() == nil {
		wait := w.fire(ctx)
		w.pulse.Set(w.cfg.Clock.Now())
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-w.wake:
		case <-timer.C:
		}
	}
}

// Progress is when the wheel last turned with nothing due left over.
func (w *Wheel) Progress() time.Time { return w.pulse.Time() }

// fire hands over everything that is due and returns how long to wait.
func (w *Wheel) fire(ctx context.Context) time.Duration {
	for ctx.Err() == nil {
		wait := w.collect(w.cfg.Clock.Now())
		if len(w.due) == 0 {
			return wait
		}
		inHand := make([]bool, len(w.due))
		for i := range w.due {
			inHand[i] = w.cfg.Due(w.due[i])
		}
		w.settle(w.due, inHand)
	}
	return nap
}

// collect copies what is due, re-arms each for the guard interval, and returns
// how long to wait if that is nothing.
func (w *Wheel) collect(now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.due = w.due[:0]
	for len(w.heap) > 0 && len(w.due) < handMax && !w.heap[0].at.After(now) {
		e := w.heap[0]
		w.due = append(w.due, e.p)
		if e.at.Equal(firstDue(&e.p)) {
			w.late(e, now)
		}
		e.at = now.Add(w.cfg.Guard)
		heap.Fix(&w.heap, 0)
	}
	wait := nap
	if len(w.heap) > 0 {
		wait = min(nap, max(w.heap[0].at.Sub(now), 0))
	}
	return wait
}

// settle notes who has nobody's hand on it. A payment that changed meanwhile has
// a new timer and is judged by that.
func (w *Wheel) settle(due []pay.Payment, inHand []bool) {
	now := w.cfg.Clock.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range due {
		e := w.byID[due[i].ID]
		if e == nil || e.p.Seq != due[i].Seq || e.p.Checks != due[i].Checks {
			continue
		}
		if _, was := w.loose[e.p.ID]; was || !inHand[i] {
			w.late(e, now)
		}
		if inHand[i] {
			delete(w.loose, e.p.ID)
			continue
		}
		w.loose[e.p.ID] = e
	}
}

// late notes how long e is past its due step, unless a person is at it. The caller
// holds the lock.
func (w *Wheel) late(e *entry, now time.Time) {
	if _, cased := w.cased[e.p.ID]; !cased {
		w.lateness(now.Sub(e.p.NextAt))
	}
}

// lateness keeps the longest time that a payment was past its due step while
// nobody had it in hand. The caller holds the lock.
func (w *Wheel) lateness(d time.Duration) { w.worst = max(w.worst, d) }

// entries is a heap by the time of the next hand-over.
type entries []*entry

func (h entries) Len() int           { return len(h) }
func (h entries) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h entries) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push appends x; for container/heap.
func (h *entries) Push(x any) {
	e := x.(*entry)
	e.index = len(*h)
	*h = append(*h, e)
}

// Pop removes the last entry; for container/heap.
func (h *entries) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return e
}
