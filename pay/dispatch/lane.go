package dispatch

import (
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
)

// The breaker opens when half of the last 20 new attempts brought no word, and
// closes when two of three probes did.
const (
	breakerFailures = 10
	breakerWindow   = 20
	probesGood      = 2
	probes          = 3
)

// lane is one channel's queue, bulkhead and breaker. One slow channel fills its
// own slots and nobody else's.
type lane struct {
	ch      channel.Channel
	name    channel.Name
	caps    channel.Capabilities
	slots   int
	breaker circuitbreaker.CircuitBreaker[any]
	budget  *budget
	wake    chan struct{}
	beat    clock.Mark // the loop's last turn
	moved   clock.Mark // the last attempt begun or ended

	queueMax         int
	inflight, queued prometheus.Gauge

	mu        sync.Mutex
	queue     []pay.Payment
	first     int // queue[:first] is taken
	busy      int // slots in use
	intending int // submits of intents under way
	atOnce    int // slots that may be in use, by Containment; 0 is all
	contained bool
}

func (d *Dispatcher) newLane(ch channel.Channel) *lane {
	name, caps := ch.Name(), ch.Capabilities()
	state := d.metrics.breaker.WithLabelValues(string(name))
	state.Set(0)
	l := &lane{
		ch: ch, name: name, caps: caps, slots: max(caps.MaxInFlight, 1), wake: make(chan struct{}, 1), queueMax: d.cfg.QueueMax,
		inflight: d.metrics.inflight.WithLabelValues(string(name)), queued: d.metrics.queued.WithLabelValues(string(name)),
	}
	d.metrics.limit.WithLabelValues(string(name)).Set(float64(l.slots)) //nolint:forbidigo // a metric
	l.breaker = circuitbreaker.NewBuilder[any]().
		WithFailureThresholdRatio(breakerFailures, breakerWindow).
		WithSuccessThresholdRatio(probesGood, probes).
		WithDelay(d.cfg.BreakerDelay).
		OnOpen(func(circuitbreaker.StateChangedEvent) { state.Set(2) }).
		OnHalfOpen(func(circuitbreaker.StateChangedEvent) { state.Set(1) }).
		OnClose(func(circuitbreaker.StateChangedEvent) { state.Set(0) }).
		Build()
	l.budget = newBudget(d.cfg.Clock.Now())
	now := d.cfg.Clock.Now()
	l.beat.Set(now)
	l.moved.Set(now)
	return l
}

// push appends p unless the queue is full.
func (l *lane) push(p pay.Payment) bool {
	l.mu.Lock()
	if len(l.queue)-l.first >= l.queueMax {
		l.mu.Unlock()
		return false
	}
	if l.first > 0 && len(l.queue) == cap(l.queue) {
		n := copy(l.queue, l.queue[l.first:])
		clear(l.queue[n:])
		l.queue, l.first = l.queue[:n], 0
	}
	l.queue = append(l.queue, p)
	l.mu.Unlock()
	l.queued.Inc()
	l.turn()
	return true
}

// take removes what may be attempted now and reserves its slots.
func (l *lane) take() []pay.Payment {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(len(l.queue)-l.first, l.most()-l.busy, intendMax)
	if n <= 0 || l.intending >= intendsAtOnce {
		return nil
	}
	var batch []pay.Payment
	for len(batch) < n && l.breaker.TryAcquirePermit() {
		batch = append(batch, l.queue[l.first])
		l.queue[l.first] = pay.Payment{}
		l.first++
		l.queued.Dec()
	}
	if l.first == len(l.queue) {
		l.queue, l.first = l.queue[:0], 0
	}
	if len(batch) > 0 {
		l.busy += len(batch)
		l.intending++
	}
	return batch
}

func (l *lane) intended() {
	l.mu.Lock()
	l.intending--
	l.mu.Unlock()
	l.turn()
}

func (l *lane) free() {
	l.mu.Lock()
	l.busy--
	l.mu.Unlock()
	l.turn()
}

func (l *lane) turn() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// moves reports whether what is queued waits for a reason: attempts begin or
// end, or the breaker holds them.
func (l *lane) moves(now time.Time) bool {
	return !l.breaker.IsClosed() || now.Sub(l.moved.Time()) < movedWithin
}

// shut reports whether the breaker lets nothing through now. It stays open by its
// word until somebody asks for a permit; whoever would not queue anything behind an
// open one must therefore ask this, or nothing ever probes the channel again.
func (l *lane) shut() bool { return l.breaker.IsOpen() && l.breaker.RemainingDelay() > 0 }

// judge tells the breaker how a new attempt went. What says nothing about the
// channel counts only where a probe's permit must be given back: against it.
func (l *lane) judge(w channel.Word) {
	switch {
	case w.Verdict == channel.Acked || w.Verdict.Final():
		l.breaker.RecordSuccess()
	case w.Verdict == channel.NeverSent && (w.Reason == channel.ReasonSendBy || w.Reason == channel.ReasonBadOrder || w.Reason == reasonHeld):
		l.unused()
	default:
		l.breaker.RecordFailure()
	}
}

// unused gives back a permit without a word about the channel.
func (l *lane) unused() {
	if l.breaker.IsHalfOpen() {
		l.breaker.RecordFailure()
	}
}

// drive is the lane's loop: it begins attempts and never waits for one.
func (d *Dispatcher) drive(l *lane) {
	ticker := time.NewTicker(pulse)
	defer ticker.Stop()
	for {
		select {
		case <-d.stopping:
			return
		case <-d.ctx.Done():
			return
		default:
		}
		now := d.cfg.Clock.Now()
		l.beat.Set(now)
		if d.contained(l) {
			d.wait(l, ticker)
			continue
		}
		if batch := l.take(); len(batch) > 0 {
			l.moved.Set(now)
			d.turns.Add(1)
			d.goLive(batch)
			d.work.Go(func() { d.intend(l, batch) })
			continue
		}
		d.wait(l, ticker)
	}
}

// wait ends with the lane's next reason to look.
func (d *Dispatcher) wait(l *lane, ticker *time.Ticker) {
	select {
	case <-d.stopping:
	case <-d.ctx.Done():
	case <-l.wake:
	case <-ticker.C:
	}
}
