package sim

import (
	"context"
	"encoding/binary"
	"hash"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"
)

// gate is where every side effect waits. One goroutine, the simulation's own,
// carries them out, one after the other, when nothing else can run; which of those
// that could be next comes next is the seed's choice. So the seed decides the
// interleaving, and the Go scheduler does not.
type gate struct {
	rnd     *rand.Rand
	events  []event
	trace   hash.Hash64
	steps   int
	arrived chan struct{}
	tell    func(at time.Time, key string) // nil unless somebody reads along

	mu    sync.Mutex
	fresh []*call
}

// event is something that happens at an instant, carried out by the simulation.
type event struct {
	at  time.Time
	key string
	run func()
}

// call is a station that waits for a side effect.
type call struct {
	key   string
	admit func(finish func())
	done  chan struct{}
	once  sync.Once
}

func newGate(seed uint64) *gate {
	return &gate{rnd: rand.New(rand.NewPCG(seed, 0x6d6f6e657461)), trace: fnv.New64a(), arrived: make(chan struct{}, 1)}
}

// pass waits until the simulation has finished the call, or ctx ends: then it
// reports false, and what the call set in motion goes on without its caller. The
// key must tell calls of one instant apart by what they are, not by who came first. So
// it is with those that give up at one instant: each goes on when its turn comes, unless
// its process's life is over.
func (g *gate) pass(ctx, life context.Context, key string, admit func(finish func())) bool {
	if ctx.Err() != nil {
		return false
	}
	if g.wait(ctx, key, admit) {
		return true
	}
	if life.Err() == nil {
		g.wait(life, key+" gives up", func(finish func()) { g.after(0, key+" gives up", finish) })
	}
	return false
}

// wait hands a call in, and reports whether the simulation finished it before ctx ended.
func (g *gate) wait(ctx context.Context, key string, admit func(finish func())) bool {
	c := &call{key: key, admit: admit, done: make(chan struct{})}
	g.mu.Lock()
	g.fresh = append(g.fresh, c)
	g.mu.Unlock()
	select {
	case g.arrived <- struct{}{}:
	default:
	}
	select {
	case <-c.done:
		return true
	case <-ctx.Done():
		return false
	}
}

// after plans an event.
func (g *gate) after(wait time.Duration, key string, run func()) {
	g.events = append(g.events, event{time.Now().Add(wait), key, run})
}

// settle waits until nobody can run, and takes the calls that came meanwhile in the
// order of their keys.
func (g *gate) settle() {
	for {
		synctest.Wait()
		g.mu.Lock()
		fresh := g.fresh
		g.fresh = nil
		g.mu.Unlock()
		if len(fresh) == 0 {
			return
		}
		slices.SortFunc(fresh, func(a, b *call) int { return strings.Compare(a.key, b.key) })
		for _, c := range fresh {
			c.admit(func() { c.once.Do(func() { close(c.done) }) })
		}
	}
}

// next carries out one event that is due, or reports that none is.
func (g *gate) next() bool {
	now := time.Now()
	var due []int
	for i := range g.events {
		if !g.events[i].at.After(now) {
			due = append(due, i)
		}
	}
	if len(due) == 0 {
		return false
	}
	i := due[g.rnd.IntN(len(due))]
	e := g.events[i]
	g.events = slices.Delete(g.events, i, i+1)
	g.steps++
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(now.UnixNano()))
	_, _ = g.trace.Write(b[:])
	_, _ = g.trace.Write([]byte(e.key))
	if g.tell != nil {
		g.tell(now, e.key)
	}
	e.run()
	return true
}

// idle lets time pass until an event is due or a station calls.
func (g *gate) idle() {
	wait := time.Second
	now := time.Now()
	for i := range g.events {
		wait = min(wait, g.events[i].at.Sub(now))
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-g.arrived:
	case <-timer.C:
	}
}

// note adds something that was decided to the trace.
func (g *gate) note(text string) {
	_, _ = g.trace.Write([]byte(text))
	if g.tell != nil {
		g.tell(time.Now(), "  = "+text)
	}
}

// roll is true so many times in a hundred.
func (g *gate) roll(percent int) bool { return g.rnd.IntN(100) < percent }

// between draws a wait.
func (g *gate) between(least, most time.Duration) time.Duration {
	return least + time.Duration(g.rnd.Int64N(int64(most-least)+1))
}
