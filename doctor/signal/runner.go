package signal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/lifecycle"
)

// Source is a collector with the hop that falls silent when it does.
type Source struct {
	doctor.Collector
	Hop string
}

// Bounds of a look.
const (
	withinLeast = time.Second
	withinMost  = 5 * time.Second
	// backoffMost separates two looks at a source that does not answer.
	backoffMost = 5 * time.Second
	// frozenFor: when the runner itself was not run for so long, the machine or the
	// process stood still, and what is old is not silent.
	frozenFor = 3 * time.Second
)

// Status is how one collector does.
type Status struct {
	Name   string  `json:"name"`
	Hop    string  `json:"hop"`
	EveryS float64 `json:"every_s"`
	// Newest is the newest look that was whole; nil: none yet. AgeS is its age, or how long
	// the collector has been waited for.
	Newest *time.Time `json:"newest,omitempty"`
	AgeS   float64    `json:"age_s"`
	// Error is why the last look failed; empty when it did not.
	Error  string  `json:"error,omitempty"`
	Looks  int     `json:"looks"`
	Failed int     `json:"failed"`
	TookS  float64 `json:"took_s"`
}

type running struct {
	Source
	mu     sync.Mutex
	status Status
	// since is when it was last heard, or when it was first waited for.
	since time.Time
}

// Runner lets the collectors look. Each has a goroutine of its own: one that hangs
// keeps no other from looking.
type Runner struct {
	memory *Memory
	clock  clock.Clock
	all    []*running
	wait   sync.WaitGroup
	stop   context.CancelFunc
	last   time.Time // of Note
}

// NewRunner returns a runner of these sources that is not started.
func NewRunner(m *Memory, c clock.Clock, sources ...Source) *Runner {
	r := &Runner{memory: m, clock: c}
	for _, s := range sources {
		r.all = append(r.all, &running{Source: s, status: Status{Name: s.Name(), Hop: s.Hop, EveryS: s.Every().Seconds()}})
	}
	return r
}

// Start begins to look. Stop ends it.
func (r *Runner) Start(ctx context.Context) {
	ctx, r.stop = context.WithCancel(context.WithoutCancel(ctx))
	now := r.clock.Now()
	for _, c := range r.all {
		c.since = now
		r.wait.Go(func() { r.loop(ctx, c) })
	}
}

// Stop ends all looks and waits for them, at most until ctx ends.
func (r *Runner) Stop(ctx context.Context) error {
	if r.stop == nil {
		return nil
	}
	r.stop()
	done := make(chan struct{})
	go func() { r.wait.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errors.New("a collector does not end")
	}
}

func (r *Runner) loop(ctx context.Context, c *running) {
	failed := 0
	for ctx.Err() == nil {
		began := time.Now() //nolint:forbidigo // how long a look took is no fact
		err := r.look(ctx, c)
		took := time.Since(began) //nolint:forbidigo // as above
		if ctx.Err() != nil {
			return
		}
		c.note(r.clock.Now(), err, took)
		next := c.Every() - took
		if failed++; err == nil {
			failed = 0
		} else {
			next = min(max(c.Every(), time.Second)<<min(failed-1, 4), max(c.Every(), backoffMost)) - took
		}
		_ = lifecycle.Pause(ctx, max(next, c.Every()/10, time.Millisecond)) // the loop sees that ctx ended
	}
}

// look takes one look, bounded in time, and remembers what was seen before an error.
func (r *Runner) look(ctx context.Context, c *running) (err error) {
	ctx, cancel := context.WithTimeout(ctx, min(max(c.Every(), withinLeast), withinMost))
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	seen, err := c.Look(ctx)
	r.memory.Take(c.Name(), c.Every(), &seen)
	return err
}

func (c *running) note(now time.Time, err error, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.Looks++
	c.status.TookS = took.Seconds()
	if err != nil {
		c.status.Failed++
		c.status.Error = err.Error()
		return
	}
	c.status.Error, c.status.Newest, c.since = "", &now, now
}

// ByCollector begins the statistic of a collector's silence.
const ByCollector = "collector "

// Note records for how long each collector has not been heard, and reports whether
// this process ran all the time since the last call. If it stood still, then what is
// old says nothing yet, and every silence begins anew. Call it once a second.
func (r *Runner) Note() (ran bool) {
	now := r.clock.Now()
	gap := now.Sub(r.last)
	ran = r.last.IsZero() || (gap >= 0 && gap < frozenFor)
	r.last = now
	for _, c := range r.all {
		c.mu.Lock()
		if !ran {
			c.since = now
		}
		age := max(now.Sub(c.since), 0)
		detail := map[string]string{"collector": c.Name()}
		if c.status.Error != "" {
			detail["error"] = c.status.Error[:min(len(c.status.Error), 200)]
		}
		c.mu.Unlock()
		if c.Hop == "" {
			continue
		}
		r.memory.Take("silence of "+c.Name(), time.Second, &doctor.Look{Points: []doctor.Point{{
			Hop: c.Hop, Signal: doctor.Silence, Statistic: ByCollector + c.Name(), Value: age.Seconds(), At: now,
			Source: "age of the newest look of the collector " + c.Name(), Detail: detail,
		}}})
	}
	return ran
}

// Status tells how the collectors do, by name.
func (r *Runner) Status() []Status {
	now := r.clock.Now()
	out := make([]Status, 0, len(r.all))
	for _, c := range r.all {
		c.mu.Lock()
		s := c.status
		s.AgeS = max(now.Sub(c.since), 0).Seconds()
		c.mu.Unlock()
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Status) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return out
}
