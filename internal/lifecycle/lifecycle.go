// Package lifecycle is the one contract for what runs in the background:
// loops, child processes, and the order in which they end. Everything started
// here has an owner, a bounded stop, and says so when it ends by itself,
// because nothing may stop silently. It refuses unbounded waits and restarts
// without backoff; it knows nothing of what the loops and processes do.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// Errors of this package.
var (
	// ErrStarted means a second Start.
	ErrStarted = errors.New("already started")
	// ErrStopTimeout means that something did not stop within its time and
	// was left behind.
	ErrStopTimeout = errors.New("did not stop in time")
	// ErrStopped means that the stack takes nothing more.
	ErrStopped = errors.New("already stopped")
	// ErrEnded means that something returned without an error though nobody
	// had asked it to stop.
	ErrEnded = errors.New("ended though nobody asked it to")
	// ErrGaveUp means that something failed too often in a row.
	ErrGaveUp = errors.New("failed too often in a row")
)

// PanicError is a recovered panic with the stack of where it happened.
type PanicError struct {
	Value any
	Stack []byte
}

// Error returns the panic's value; the stack is for the log.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// guard turns a panic in f into a *PanicError.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return f()
}

// Service is what can be started and stopped. Start returns once the service
// runs; ctx bounds the start alone. Stop returns once it has ended, or with
// an error by the time ctx ends.
type Service interface {
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
}

// Stack stops started things in the opposite order of their start, each
// within its own time. The zero value is ready; it is safe for concurrent use.
type Stack struct {
	// Logger names what is being stopped; nil means slog.Default.
	Logger *slog.Logger

	mu      sync.Mutex
	entries []entry
	stopped bool
}

type entry struct {
	name  string
	limit time.Duration
	stop  func(context.Context) error
}

// Start starts the service and remembers to stop it, within limit. On an
// error nothing is remembered: a service whose Start fails cleans up itself.
func (s *Stack) Start(ctx context.Context, name string, limit time.Duration, service Service) error {
	if err := guard(func() error { return service.Start(ctx) }); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	if err := s.Push(name, limit, service.Stop); err != nil {
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer cancel()
		return errors.Join(err, stopWithin(stopCtx, entry{name, limit, service.Stop}))
	}
	return nil
}

// Push remembers to stop something that already runs. After Stop it returns
// ErrStopped, and the caller must stop the thing.
func (s *Stack) Push(name string, limit time.Duration, stop func(context.Context) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return fmt.Errorf("%s: %w", name, ErrStopped)
	}
	s.entries = append(s.entries, entry{name, limit, stop})
	return nil
}

// Stop stops everything, last started first, and returns what went wrong,
// joined. One that fails, panics or takes too long does not keep the others
// from being stopped. When ctx ends the remaining ones are still told to
// stop, but not waited for. A second Stop does nothing.
func (s *Stack) Stop(ctx context.Context) error {
	s.mu.Lock()
	entries := s.entries
	s.entries, s.stopped = nil, true
	s.mu.Unlock()
	log := s.Logger
	if log == nil {
		log = slog.Default()
	}
	var errs []error
	for i := len(entries) - 1; i >= 0; i-- {
		e := entries[i]
		began := time.Now()
		err := stopWithin(ctx, e)
		log.DebugContext(ctx, "stopped",
			slog.String("name", e.name), slog.Duration("took", time.Since(began)), slog.Any("error", err))
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// stopWithin does not trust stop to honour its context.
func stopWithin(ctx context.Context, e entry) error {
	ctx, cancel := context.WithTimeout(ctx, e.limit)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- guard(func() error { return e.stop(ctx) }) }()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("stop %s: %w", e.name, err)
		}
		return nil
	case <-ctx.Done():
	}
	// It may have ended just now, or just because of ctx: a moment more.
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("stop %s: %w", e.name, err)
		}
		return nil
	case <-time.After(stopSlack):
		return fmt.Errorf("stop %s: %w (%v)", e.name, ErrStopTimeout, e.limit)
	}
}

// stopSlack lets a stop that honours its context return after it ended.
const stopSlack = 100 * time.Millisecond

// Pause waits for d; an error means that ctx ended first, and is ctx's.
func Pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Backoff is a doubling wait with a bound on failures in a row.
type Backoff struct {
	// First wait after a failure, doubled for each further one up to Max.
	First, Max time.Duration
	// Healthy is how long it must run for its failures to be forgiven.
	Healthy time.Duration
	// Limit is the most failures in a row; one more gives up. 0 means never
	// give up, which is still not silent: each failure is logged and counted.
	Limit int
}

// DefaultBackoff waits 100 ms to 10 s and never gives up.
var DefaultBackoff = Backoff{First: 100 * time.Millisecond, Max: 10 * time.Second, Healthy: time.Minute}

func (b Backoff) withDefaults() Backoff {
	if b.First <= 0 {
		b.First = DefaultBackoff.First
	}
	if b.Max < b.First {
		b.Max = max(b.First, DefaultBackoff.Max)
	}
	if b.Healthy <= 0 {
		b.Healthy = DefaultBackoff.Healthy
	}
	return b
}

// wait returns the pause after the n-th failure in a row, n from 1.
func (b Backoff) wait(n int) time.Duration {
	return min(b.First<<min(n-1, 20), b.Max)
}
