package commit

import (
	"context"
	"slices"
)

// round is what the decider's loop works with: the batch under construction, and
// the one on the wire. The next is decided on the memory that the other left
// behind, before it is known to stand: if one fails, both are decided anew.
type round struct {
	*decider
	life context.Context
	next *batch
	// spare is the other batch; nil while it is on the wire.
	spare *batch
	work  chan *batch
	done  chan written
	ended chan struct{}
}

// written is the outcome of one batch.
type written struct {
	batch *batch
	err   error
}

func newRound(life context.Context, d *decider) *round {
	r := &round{
		decider: d, life: life, next: newBatch(), spare: newBatch(),
		work: make(chan *batch), done: make(chan written, 1), ended: make(chan struct{}),
	}
	r.next.reset(d.now())
	go func() {
		defer close(r.ended)
		for b := range r.work {
			r.done <- written{b, d.write(life, b)}
		}
	}()
	return r
}

// close ends the writer; a batch that is on the wire is waited for.
func (r *round) close() {
	close(r.work)
	<-r.ended
}

// incoming is the queue, or nothing while the batch is full.
func (r *round) incoming() <-chan *ticket {
	if len(r.next.tickets) >= BatchMax {
		return nil
	}
	return r.queue.tickets
}

// take decides t and whatever else is queued, up to the batch's bound.
func (r *round) take(t *ticket) error {
	err := r.extend(r.life, r.next, r.drain(t, r.next))
	if err == nil {
		return nil
	}
	if r.spare == nil { // nothing may be dropped while a batch rests on it
		w := <-r.done
		r.spare = w.batch
		if w.err != nil {
			return r.anew(w.err, w.batch.tickets)
		}
		r.answer(w.batch)
	}
	return r.anew(err, nil)
}

// landed takes the outcome of the batch on the wire.
func (r *round) landed(w written) error {
	r.spare = w.batch
	if w.err != nil {
		return r.anew(w.err, w.batch.tickets)
	}
	r.answer(w.batch)
	return nil
}

// anew drops the memory and decides first, then the batch under construction, on
// what is committed.
func (r *round) anew(failed error, first []*ticket) error {
	r.next.tickets = slices.Concat(first, r.next.tickets)
	if err := r.recover(r.life, failed, r.next); err != nil {
		return err
	}
	r.next.reset(r.now())
	return nil
}

// send puts the batch on the wire when that is free. What only reads is answered
// at once: everything it rests on has been committed by then.
func (r *round) send() {
	if r.spare == nil || len(r.next.tickets) == 0 {
		return
	}
	if !r.next.writes {
		r.answer(r.next)
		r.next.reset(r.now())
		return
	}
	r.next.seal()
	r.next.writeFence(r.shard, r.epoch, r.leader, r.mem.last)
	r.work <- r.next
	r.next, r.spare = r.spare, nil
	r.next.reset(r.now())
}

// idle reports whether nothing is queued, under construction or on the wire.
func (r *round) idle() bool {
	return r.spare != nil && len(r.next.tickets) == 0 && len(r.queue.tickets) == 0
}
