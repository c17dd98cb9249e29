// Package dispatch sends reserved payouts to their channels: it commits the
// intent of an attempt first and talks to the channel only then, never inside a
// transaction, each channel behind its own queue, bulkhead and breaker. It
// refuses to send an attempt twice, to send past send_by, to conclude that an
// attempt failed when nobody said so, and to move an unknown attempt elsewhere.
package dispatch

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/commit"
)

// DefaultQueueMax bounds each channel's queue; what does not fit is offered
// again by the timer.
const DefaultQueueMax = 20_000

const (
	sendWindowMax = channel.SendWindowMax // life cycle §6.2: send_by at most this far ahead
	intendMax     = 128                   // intents in one submit
	intendsAtOnce = 2                     // submits of intents under way, so that they gather meanwhile
	reporters     = 2                     // submits of outcomes under way
	reportMax     = 512                   // outcomes in one submit
	pulse         = 250 * time.Millisecond
	movedWithin   = 10 * time.Second // a queue that moved this recently is not stuck
)

// Config is what a Dispatcher needs.
type Config struct {
	Submitter commit.Submitter
	Channels  []channel.Channel
	// Hold reports whether a payout may not be attempted now, for a reason that
	// somebody else watches; nil holds nothing.
	Hold func(*pay.Payment) bool
	// Contain tells how a whole channel is held back now, queued payouts included; nil
	// holds none back. It is asked before each batch of intents and once more before
	// each first byte, and must not block.
	Contain func(channel.Name) Containment
	// Routes say where a payout may go when its channel is proven not to have moved
	// the money; none means nowhere else.
	Routes Routes
	// DedupProven reports whether it is proven, and not merely claimed, that the
	// channel moves a reference at most once; nil means never. It must not block.
	DedupProven func(channel.Name) bool
	// Contradicted is given what became of each reply that the decider refused, or that
	// gave a proof of absence the lie. It reports whether somebody was called for it; nil
	// calls nobody. It runs between batches of replies and must not wait for long.
	Contradicted func(context.Context, channel.Name, *pay.Fact, *commit.Outcome) bool
	// Clock tells the time; nil means the system's.
	Clock clock.Clock
	// Telemetry takes logs and metrics; required.
	Telemetry *telemetry.Telemetry
	// QueueMax bounds each channel's queue; 0 is the default.
	QueueMax int
	// BreakerDelay is how long an open breaker waits before it probes; 0 means 5 s.
	BreakerDelay time.Duration
}

// Dispatcher runs on the shard's leader. Start it once, Stop it once.
type Dispatcher struct {
	cfg     Config
	log     *slog.Logger
	metrics metrics
	lanes   map[channel.Name]*lane

	ctx      context.Context // of calls and submits; ends when Stop gives up
	cancel   context.CancelFunc
	stopping chan struct{}
	stopOnce sync.Once
	stopped  chan struct{} // everything has ended
	outcomes chan outcome
	work     sync.WaitGroup // lanes, intents, sends: they feed outcomes
	reports  sync.WaitGroup

	turns atomic.Int64 // batches begun and attempts ended

	mu    sync.Mutex
	known map[pay.ID]bool // true while an attempt is live, false while queued
}

// New returns a dispatcher that does nothing before Start.
func New(cfg Config) *Dispatcher {
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	if cfg.QueueMax <= 0 {
		cfg.QueueMax = DefaultQueueMax
	}
	if cfg.BreakerDelay <= 0 {
		cfg.BreakerDelay = 5 * time.Second
	}
	d := &Dispatcher{
		cfg: cfg, log: cfg.Telemetry.Logger().With(slog.String("station", "dispatch")), metrics: newMetrics(cfg.Telemetry),
		lanes: make(map[channel.Name]*lane), stopping: make(chan struct{}), stopped: make(chan struct{}), known: make(map[pay.ID]bool),
	}
	slots := 0
	for _, ch := range cfg.Channels {
		l := d.newLane(ch)
		d.lanes[l.name] = l
		slots += l.slots
	}
	d.outcomes = make(chan outcome, slots) // every slot has room, so nobody waits with a word in hand
	return d
}

// Start begins to dispatch. When ctx ends, calls are cut off and nothing more is
// reported; Stop ends in good order, and must be called in either case.
func (d *Dispatcher) Start(ctx context.Context) {
	d.ctx, d.cancel = context.WithCancel(ctx)
	now := d.cfg.Clock.Now()
	for _, l := range d.lanes {
		l.beat.Set(now) // standing by was no standstill
		l.moved.Set(now)
		d.work.Go(func() { d.drive(l) })
	}
	for range reporters {
		d.reports.Go(d.report)
	}
}

// Stop takes no new work, lets calls in flight finish or time out and their
// facts be submitted. If ctx ends first, the rest is cut off with an error: the
// next leader finds those attempts and asks the channel.
func (d *Dispatcher) Stop(ctx context.Context) error {
	d.stopOnce.Do(func() {
		close(d.stopping)
		go func() {
			defer close(d.stopped)
			d.work.Wait()
			close(d.outcomes)
			d.reports.Wait()
		}()
	})
	defer d.cancel()
	select {
	case <-d.stopped:
		return nil
	case <-ctx.Done():
		d.cancel()
		<-d.stopped // bounded: every call and submit ends with its context
		return fmt.Errorf("dispatch stopped with attempts in flight: %w", ctx.Err())
	}
}

// Offer hands over a reserved payout. It does not block, and reports whether the
// payment is in hand: its attempt is live, or it waits in a queue that moves,
// behind a breaker that is open, or because it is held. False means: offer it again later.
func (d *Dispatcher) Offer(p pay.Payment) bool {
	l := d.laneFor(&p)
	if l == nil {
		d.metrics.refused.WithLabelValues(p.Channel, "no_channel").Inc()
		return false
	}
	if d.held(l, &p) {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	live, known := d.known[p.ID]
	switch {
	case live:
		return true
	case known:
		return l.moves(d.cfg.Clock.Now())
	case !l.push(p):
		d.metrics.refused.WithLabelValues(p.Channel, "queue_full").Inc()
		return false
	}
	d.known[p.ID] = false
	return true
}

// Live reports whether this process has an attempt of the payment on the wire or
// its outcome not yet committed.
func (d *Dispatcher) Live(id pay.ID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.known[id]
}

// Progress is when the slowest lane last made progress or had no work. While
// Stop drains, there is no work to begin, and what is in flight has its deadline:
// the leader must keep its shard until the last word is committed.
func (d *Dispatcher) Progress() time.Time {
	slowest := d.cfg.Clock.Now()
	select {
	case <-d.stopping:
		return slowest
	default:
	}
	for _, l := range d.lanes {
		if t := l.beat.Time(); t.Before(slowest) {
			slowest = t
		}
	}
	return slowest
}

// Turns says whether a lane stands idle although ready counts payouts for it, and counts
// the attempts that begin and end: idle with a count that stands still is a loop that
// hangs, or is not handed its work. A lane that is held back, whose breaker is open, or
// that waits for the decider or the channel is not idle.
func (d *Dispatcher) Turns(ready func(channel.Name) int) (idle bool, turns int64) {
	for _, l := range d.lanes {
		idle = idle || ready(l.name) > 0 && d.idle(l)
	}
	return idle, d.turns.Load()
}

func (d *Dispatcher) idle(l *lane) bool {
	if !l.breaker.IsClosed() || d.held(l, &pay.Payment{Kind: pay.Payout, State: pay.Reserved, Channel: string(l.name)}) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.intending == 0 && l.busy < l.most()
}

func (d *Dispatcher) goLive(batch []pay.Payment) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range batch {
		d.known[batch[i].ID] = true
	}
}

// release ends what this process holds of a payment.
func (d *Dispatcher) release(l *lane, id pay.ID) {
	d.mu.Lock()
	delete(d.known, id)
	d.mu.Unlock()
	l.free()
}
