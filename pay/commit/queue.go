package commit

import (
	"context"
	"sync/atomic"

	"github.com/moneta-pay/moneta/fault"
)

// BatchMax is the most Facts one transaction carries. 500 to 2,000 is the knee:
// larger batches gain a tenth in throughput and multiply the latency.
const BatchMax = 2_000

// queueMax bounds the Facts that wait: some three batches, well under a second
// of work. Beyond it callers are pushed back at once.
const queueMax = 3 * BatchMax

// ticket is one Fact on its way to its answer. out is written by the decider
// before the group is told; a caller that gave up never reads it.
type ticket struct {
	ctx   context.Context
	fact  Fact
	out   Outcome
	group *group
	// tried and answered are the decider's alone. A Fact that was tried may have
	// been committed, whatever its caller still wants.
	tried, answered bool
	// poison is why the Fact panicked; it is put aside and not tried again.
	poison error
}

// group lets one caller wait for many tickets.
type group struct {
	missing atomic.Int64
	done    chan struct{}
}

func (t *ticket) answer(out Outcome) {
	t.out, t.answered = out, true
	if t.group.missing.Add(-1) == 0 {
		close(t.group.done)
	}
}

// queue holds the Facts that wait for the decider of this node.
type queue struct {
	tickets chan *ticket
}

func newQueue() *queue { return &queue{tickets: make(chan *ticket, queueMax)} }

var errQueueFull = fault.New(fault.Overloaded, "too many payments wait for the ledger; send the same request again shortly")

// put queues facts and returns what waits for their answers or the end of ctx.
func (q *queue) put(ctx context.Context, facts []Fact) (wait func() []Outcome) {
	g := &group{done: make(chan struct{})}
	g.missing.Store(int64(len(facts)))
	tickets := make([]ticket, len(facts))
	for i := range facts {
		t := &tickets[i]
		t.ctx, t.fact, t.group = ctx, facts[i], g
		select {
		case q.tickets <- t:
		default:
			t.answer(Outcome{Err: errQueueFull})
		}
	}
	return func() []Outcome {
		out := make([]Outcome, len(facts))
		select {
		case <-g.done:
			for i := range tickets {
				out[i] = tickets[i].out
			}
		case <-ctx.Done():
			err := fault.New(fault.Timeout, "the ledger did not answer in time; the same key tells what became of it").WithCause(ctx.Err())
			for i := range out {
				out[i].Err = err
			}
		}
		return out
	}
}
