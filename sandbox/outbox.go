package sandbox

import (
	"time"
)

// eventKind indexes an order's possible callbacks.
type eventKind uint8

const (
	ofAcceptance eventKind = iota
	ofOutcome
)

// eventState is where one callback stands.
type eventState uint8

const (
	notDue    eventState = iota // nothing to tell, or not yet
	queued                      // waiting in the queue
	parked                      // due, but the queue is full; the books remember it
	inFlight                    // a worker has it
	delivered                   // answered with 2xx
	lost                        // never sent, by behaviour
	givenUp                     // out of attempts
	eventStates
)

// task is one thing to do at a time: tell an event, or settle an order.
type task struct {
	due      time.Time
	order    *order
	event    eventKind
	attempts int  // made so far
	first    bool // the order's other event follows after this one's first attempt
}

// agenda is a heap of tasks, earliest first.
type agenda []task

func (a *agenda) push(t task) {
	h := append(*a, t)
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h[i].due.Before(h[parent].due) {
			break
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
	*a = h
}

func (a *agenda) pop() task {
	h := *a
	top, last := h[0], len(h)-1
	h[0], h[last] = h[last], task{}
	h = h[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= len(h) {
			break
		}
		if child+1 < len(h) && h[child+1].due.Before(h[child].due) {
			child++
		}
		if !h[child].due.Before(h[i].due) {
			break
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
	*a = h
	return top
}

// outbox holds the callbacks to send. The queue is bounded: what does not fit
// is parked, which costs a byte in the order that the books hold anyway, and
// is fetched back in order of acceptance when the queue has room. A slow
// receiver so delays callbacks, and grows nothing. Its lock is the bank's.
type outbox struct {
	queue      agenda
	limit      int
	parkedFrom uint64 // no order below this number has a parked event
	counts     [eventStates]int64
	wake       chan struct{}
}

func newOutbox(limit int) outbox {
	return outbox{limit: limit, wake: make(chan struct{}, 1)}
}

func (b *outbox) set(o *order, kind eventKind, state eventState) {
	b.counts[o.events[kind]]--
	o.events[kind] = state
	b.counts[state]++
}

// offer queues or parks a task.
func (b *outbox) offer(t task) {
	if len(b.queue) >= b.limit {
		b.set(t.order, t.event, parked)
		if b.parkedFrom == 0 || t.order.number < b.parkedFrom {
			b.parkedFrom = t.order.number
		}
		return
	}
	b.set(t.order, t.event, queued)
	b.queue.push(t)
	b.nudge()
}

// nudge wakes the dispatcher; one pending nudge is as good as many.
func (b *outbox) nudge() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// next returns a task that is due, or how long to wait for one.
func (b *outbox) next(now time.Time, orders []*order) (t task, wait time.Duration, ok bool) {
	if len(b.queue) <= b.limit/2 && b.counts[parked] > 0 {
		b.unpark(now, orders)
	}
	if len(b.queue) == 0 {
		return task{}, time.Hour, false
	}
	if wait := b.queue[0].due.Sub(now); wait > 0 {
		return task{}, wait, false
	}
	t = b.queue.pop()
	b.set(t.order, t.event, inFlight)
	return t, 0, true
}

// unpark fills the queue from the books, oldest orders first.
func (b *outbox) unpark(now time.Time, orders []*order) {
	number := max(b.parkedFrom, 1)
	for ; number <= uint64(len(orders)) && len(b.queue) < b.limit; number++ {
		o := orders[number-1]
		for kind := range eventKind(len(o.events)) {
			if o.events[kind] == parked && len(b.queue) < b.limit {
				b.set(o, kind, queued)
				b.queue.push(task{due: now, order: o, event: kind})
			}
		}
	}
	b.parkedFrom = max(number-1, 1) // the last one may have another parked
}

// undelivered counts the events that wait to be told, including the one that a
// worker holds.
func (b *outbox) undelivered() int64 {
	return b.counts[queued] + b.counts[parked] + b.counts[inFlight]
}
