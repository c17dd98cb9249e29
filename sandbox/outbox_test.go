package sandbox

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Whatever the order of new events, successes and failures, the queue keeps
// its bound and every event is delivered in the end.
func TestOutboxLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(1993, 1, 5, 0, 0, 0, 0, time.UTC)
		limit := rapid.IntRange(1, 5).Draw(t, "limit")
		box := newOutbox(limit)
		var orders []*order
		var held []task // by workers
		arrive := func() {
			o := &order{number: uint64(len(orders)) + 1}
			orders = append(orders, o)
			box.offer(task{due: now, order: o, event: ofOutcome})
		}
		take := func() {
			if next, _, ok := box.next(now, orders); ok {
				held = append(held, next)
			}
		}
		finish := func(taken bool) {
			if len(held) == 0 {
				return
			}
			i := rapid.IntRange(0, len(held)-1).Draw(t, "which")
			done := held[i]
			held = append(held[:i], held[i+1:]...)
			if taken {
				box.set(done.order, done.event, delivered)
				return
			}
			done.due = now.Add(time.Second)
			box.offer(done)
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0, 1:
				arrive()
			case 2:
				take()
			case 3:
				finish(false)
			case 4:
				finish(true)
			}
			require.LessOrEqual(t, len(box.queue), limit)
			require.LessOrEqual(t, box.undelivered(), int64(len(orders)))
		}
		now = now.Add(time.Minute)
		for range 3 * (len(orders) + len(held)) {
			take()
			finish(true)
		}
		for _, o := range orders {
			require.Equal(t, delivered, o.events[ofOutcome], "order %d", o.number)
		}
		require.Zero(t, box.undelivered())
	})
}

// The agenda hands out tasks by time.
func TestAgendaIsInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a agenda
		start := time.Unix(0, 0)
		for _, offset := range rapid.SliceOf(rapid.Int64Range(0, 50)).Draw(t, "due") {
			a.push(task{due: start.Add(time.Duration(offset))})
		}
		last := start
		for len(a) > 0 {
			next := a.pop()
			require.False(t, next.due.Before(last))
			last = next.due
		}
	})
}
