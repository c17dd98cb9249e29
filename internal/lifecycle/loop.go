package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moneta-pay/moneta/internal/clock"
)

// OnFailure says what happens when a loop's body returns or panics unasked.
type OnFailure int

// Policies.
const (
	// Restart runs the body again after a backoff. It is the zero value.
	Restart OnFailure = iota
	// End ends the loop and tells its owner through OnEnd and Done: for a
	// body whose half-changed memory must not be used again.
	End
)

// LoopConfig describes a loop.
type LoopConfig struct {
	// Name in logs and errors.
	Name string
	// Body runs until ctx ends, and calls beat whenever it made progress or
	// saw that there is nothing to do. Returning before ctx ended, a nil
	// error included, and a panic are failures.
	Body func(ctx context.Context, beat func()) error
	// OnFailure is what a failure leads to.
	OnFailure OnFailure
	// Backoff between restarts; the zero value is DefaultBackoff.
	Backoff Backoff
	// OnEnd, when set, is called once if the loop ends by itself, with why.
	OnEnd func(error)
	// Clock stamps the heartbeat; nil means the system's.
	Clock clock.Clock
	// Logger gets every failure; nil means slog.Default.
	Logger *slog.Logger
}

// Loop is a named background goroutine that is known to be alive. It is safe
// for concurrent use; Stop before Start and a second Stop are fine, a loop
// runs once.
type Loop struct {
	cfg      LoopConfig
	log      *slog.Logger
	progress atomic.Pointer[time.Time]
	failures atomic.Int64

	mu     sync.Mutex
	cancel context.CancelFunc
	state  loopState
	done   chan struct{}
	err    error
}

type loopState int

const (
	loopNew loopState = iota
	loopRunning
	loopStopped
)

// NewLoop returns a loop that is not started.
func NewLoop(cfg LoopConfig) *Loop {
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	cfg.Backoff = cfg.Backoff.withDefaults()
	return &Loop{cfg: cfg, log: cfg.Logger.With(slog.String("loop", cfg.Name)), done: make(chan struct{})}
}

// Every returns a loop body that runs step at once and then each interval
// after the last run ended; a run is a beat. A step's error ends the body,
// and so falls under the loop's policy.
func Every(interval time.Duration, step func(context.Context) error) func(context.Context, func()) error {
	return func(ctx context.Context, beat func()) error {
		for {
			if err := step(ctx); err != nil {
				return err
			}
			beat()
			if Pause(ctx, interval) != nil {
				return ctx.Err()
			}
		}
	}
}

// Start starts the goroutine. ctx carries values alone: the loop ends by
// Stop, not with the context of whoever started it.
func (l *Loop) Start(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != loopNew {
		return fmt.Errorf("loop %s: %w", l.cfg.Name, ErrStarted)
	}
	l.state = loopRunning
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l.cancel = cancel
	l.beat()
	go l.run(run)
	return nil
}

// Stop tells the loop to end and waits for it, at most until ctx ends.
func (l *Loop) Stop(ctx context.Context) error {
	l.mu.Lock()
	switch l.state {
	case loopNew:
		close(l.done)
	case loopRunning:
		l.cancel()
	case loopStopped:
	}
	l.state = loopStopped
	l.mu.Unlock()
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("loop %s: %w: %w", l.cfg.Name, ErrStopTimeout, ctx.Err())
	}
}

// Done is closed when the goroutine is gone, for whatever reason.
func (l *Loop) Done() <-chan struct{} { return l.done }

// Err returns why the loop ended by itself, nil while it runs or after Stop.
func (l *Loop) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Name returns the configured name.
func (l *Loop) Name() string { return l.cfg.Name }

// Progress returns when the body last called beat (or was started); the zero
// time before Start.
func (l *Loop) Progress() time.Time {
	if t := l.progress.Load(); t != nil {
		return *t
	}
	return time.Time{}
}

// Failures returns how often the body failed since Start.
func (l *Loop) Failures() int { return int(l.failures.Load()) }

func (l *Loop) beat() {
	now := l.cfg.Clock.Now()
	l.progress.Store(&now)
}

func (l *Loop) run(ctx context.Context) {
	err := l.attempts(ctx)
	l.mu.Lock()
	l.cancel()
	l.err = err
	l.mu.Unlock()
	if err != nil {
		l.log.ErrorContext(ctx, "loop ended by itself", slog.Any("error", err))
		if l.cfg.OnEnd != nil {
			if err := guard(func() error { l.cfg.OnEnd(err); return nil }); err != nil {
				l.log.ErrorContext(ctx, "loop's OnEnd failed", slog.Any("error", err))
			}
		}
	}
	close(l.done)
}

// attempts returns nil when it was told to stop.
func (l *Loop) attempts(ctx context.Context) error {
	inRow := 0
	for {
		began := time.Now()
		err := guard(func() error { return l.cfg.Body(ctx, l.beat) })
		if ctx.Err() != nil && !isPanic(err) {
			return nil
		}
		if err == nil {
			err = ErrEnded
		}
		l.failures.Add(1)
		if time.Since(began) >= l.cfg.Backoff.Healthy {
			inRow = 0
		}
		inRow++
		l.logFailure(err, inRow)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // panicked while stopping: logged, and stopped all the same
		}
		if l.cfg.OnFailure == End {
			return err
		}
		if l.cfg.Backoff.Limit > 0 && inRow > l.cfg.Backoff.Limit {
			return fmt.Errorf("%w: %w", ErrGaveUp, err)
		}
		if Pause(ctx, l.cfg.Backoff.wait(inRow)) != nil {
			return nil //nolint:nilerr // asked to stop while it waited: that is no failure
		}
	}
}

func (l *Loop) logFailure(err error, inRow int) {
	attrs := []any{"error", err, "in_row", inRow}
	var p *PanicError
	if errors.As(err, &p) {
		attrs = append(attrs, "stack", string(p.Stack))
	}
	l.log.Error("loop failed", attrs...)
}

func isPanic(err error) bool {
	var p *PanicError
	return errors.As(err, &p)
}
