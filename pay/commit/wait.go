package commit

import (
	"context"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/pay"
)

// waitersMax bounds the callers that wait for a payment to become final.
const waitersMax = 10_000

// waiters wakes those who wait for a payment's final state on this node.
type waiters struct {
	mu sync.Mutex
	m  map[pay.ID][]chan pay.Payment
	n  int
}

func newWaiters() *waiters { return &waiters{m: make(map[pay.ID][]chan pay.Payment)} }

func (w *waiters) note(changed []pay.Payment) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n == 0 {
		return
	}
	for i := range changed {
		p := &changed[i]
		if !p.State.Final() {
			continue
		}
		for _, c := range w.m[p.ID] {
			c <- *p
			w.n--
		}
		delete(w.m, p.ID)
	}
}

func (w *waiters) add(id pay.ID) (c chan pay.Payment, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n >= waitersMax {
		return nil, false
	}
	c = make(chan pay.Payment, 1)
	w.m[id] = append(w.m[id], c)
	w.n++
	return c, true
}

func (w *waiters) remove(id pay.ID, c chan pay.Payment) {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.m[id]
	for i := range list {
		if list[i] == c {
			w.n--
			if len(list) == 1 {
				delete(w.m, id)
				return
			}
			w.m[id] = append(list[:i:i], list[i+1:]...)
			return
		}
	}
}

// pollEvery is how often a standby reads a payment that somebody waits for.
const pollEvery = 100 * time.Millisecond

// Wait returns the payment when it is final, or false when ctx or the node's
// part in the shard ends first. read
// reads it from the primary: at once, so that a final state that came before is
// not missed, and again and again on a node that does not lead.
func (n *Node) Wait(ctx context.Context, id pay.ID, read func(context.Context) (pay.Payment, error)) (pay.Payment, bool) {
	c, ok := n.waiters.add(id)
	if !ok {
		return pay.Payment{}, false
	}
	defer n.waiters.remove(id, c)
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for look := true; ; {
		if look || !n.Leading() {
			p, err := read(ctx)
			if err == nil && p.State.Final() {
				return p, true
			}
			look = err != nil // a final state that came before must not be missed
		}
		select {
		case p := <-c:
			return p, true
		case <-ctx.Done():
			return pay.Payment{}, false
		case <-n.waits.Done():
			return pay.Payment{}, false
		case <-tick.C:
		}
	}
}
