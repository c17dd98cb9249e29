package lifecycle

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/clock"
)

func TestStackStopsInOppositeOrderAndReportsAll(t *testing.T) {
	s := Stack{Logger: silent()}
	var order []string
	push := func(name string, err error) {
		require.NoError(t, s.Push(name, time.Second, func(context.Context) error {
			order = append(order, name)
			return err
		}))
	}
	bad := errors.New("bad")
	push("first", nil)
	push("second", bad)
	require.NoError(t, s.Push("panicking", time.Second, func(context.Context) error { panic("boom") }))
	push("last", nil)
	err := s.Stop(t.Context())
	require.Equal(t, []string{"last", "second", "first"}, order)
	require.ErrorIs(t, err, bad)
	require.ErrorContains(t, err, "stop second")
	require.ErrorContains(t, err, "panic: boom")
	require.NoError(t, s.Stop(t.Context()), "twice does nothing")
	require.ErrorIs(t, s.Push("late", time.Second, func(context.Context) error { return nil }), ErrStopped)
}

func TestStackLeavesBehindWhatDoesNotStop(t *testing.T) {
	s := Stack{Logger: silent()}
	release := make(chan struct{})
	defer close(release)
	var stopped atomic.Bool
	require.NoError(t, s.Push("first", time.Second, func(context.Context) error { stopped.Store(true); return nil }))
	require.NoError(t, s.Push("deaf", 10*time.Millisecond, func(context.Context) error { <-release; return nil }))
	err := s.Stop(t.Context())
	require.ErrorIs(t, err, ErrStopTimeout)
	require.ErrorContains(t, err, "deaf")
	require.True(t, stopped.Load())
}

type service struct{ start, stop func() error }

func (s service) Start(context.Context) error { return s.start() }
func (s service) Stop(context.Context) error  { return s.stop() }

func TestStackStart(t *testing.T) {
	s := Stack{Logger: silent()}
	var stops int
	fine := service{func() error { return nil }, func() error { stops++; return nil }}
	bad := errors.New("bad")
	require.NoError(t, s.Start(t.Context(), "fine", time.Second, fine))
	require.ErrorIs(t, s.Start(t.Context(), "bad", time.Second, service{func() error { return bad }, fine.stop}), bad)
	require.NoError(t, s.Stop(t.Context()))
	require.Equal(t, 1, stops, "what did not start is not stopped")
	require.ErrorIs(t, s.Start(t.Context(), "late", time.Second, fine), ErrStopped)
	require.Equal(t, 2, stops, "what started too late is stopped at once")
}

func fast() Backoff { return Backoff{First: time.Millisecond, Max: 2 * time.Millisecond} }

func TestLoopBeatsAndStops(t *testing.T) {
	now := clock.NewManual(time.Unix(100, 0))
	steps := make(chan struct{})
	l := NewLoop(LoopConfig{Name: "l", Clock: now, Logger: silent(), Body: Every(time.Millisecond, func(ctx context.Context) error {
		select {
		case steps <- struct{}{}:
		case <-ctx.Done():
		}
		return nil
	})})
	require.Zero(t, l.Progress())
	require.NoError(t, l.Start(t.Context()))
	require.Equal(t, time.Unix(100, 0), l.Progress())
	require.ErrorIs(t, l.Start(t.Context()), ErrStarted)
	<-steps
	now.Advance(time.Minute)
	<-steps // the beat of the first step may be before the clock moved, the second's is not
	<-steps
	require.Equal(t, time.Unix(160, 0), l.Progress())
	require.NoError(t, l.Stop(t.Context()))
	require.NoError(t, l.Stop(t.Context()))
	require.NoError(t, l.Err())
}

func TestLoopOutlivesTheContextOfItsStarter(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	l := NewLoop(LoopConfig{Name: "l", Logger: silent(), Body: func(ctx context.Context, _ func()) error {
		<-ctx.Done()
		ran <- nil
		return ctx.Err()
	}})
	require.NoError(t, l.Start(ctx))
	cancel()
	select {
	case <-l.Done():
		require.FailNow(t, "ended with its starter")
	default:
	}
	require.NoError(t, l.Stop(t.Context()))
	require.NoError(t, <-ran)
}

func TestLoopIsRestartedAfterErrorPanicAndEarlyReturn(t *testing.T) {
	var runs atomic.Int64
	healthy := make(chan struct{})
	l := NewLoop(LoopConfig{Name: "l", Logger: silent(), Backoff: fast(), Body: func(ctx context.Context, _ func()) error {
		switch runs.Add(1) {
		case 1:
			return errors.New("bad")
		case 2:
			panic("boom")
		case 3:
			return nil
		}
		close(healthy)
		<-ctx.Done()
		return ctx.Err()
	}})
	require.NoError(t, l.Start(t.Context()))
	<-healthy
	require.Equal(t, 3, l.Failures())
	require.NoError(t, l.Stop(t.Context()))
}

func TestLoopThatKeepsFailingEndsLoudly(t *testing.T) {
	why := make(chan error, 1)
	b := fast()
	b.Limit = 2
	l := NewLoop(LoopConfig{
		Name: "l", Logger: silent(), Backoff: b, OnEnd: func(err error) { why <- err },
		Body: func(context.Context, func()) error { return nil },
	})
	require.NoError(t, l.Start(t.Context()))
	<-l.Done()
	err := <-why
	require.ErrorIs(t, err, ErrGaveUp)
	require.ErrorIs(t, err, ErrEnded)
	require.Equal(t, err, l.Err())
	require.Equal(t, 3, l.Failures())
	require.NoError(t, l.Stop(t.Context()))
}

func TestLoopWithPolicyEndDoesNotRunTwice(t *testing.T) {
	why := make(chan error, 1)
	var runs atomic.Int64
	l := NewLoop(LoopConfig{
		Name: "l", Logger: silent(), OnFailure: End, OnEnd: func(err error) { why <- err; panic("in OnEnd") },
		Body: func(context.Context, func()) error { runs.Add(1); panic("boom") },
	})
	require.NoError(t, l.Start(t.Context()))
	<-l.Done()
	var p *PanicError
	require.ErrorAs(t, <-why, &p)
	require.Equal(t, "boom", p.Value)
	require.Contains(t, string(p.Stack), "lifecycle_test.go")
	require.EqualValues(t, 1, runs.Load())
}

func TestLoopStopIsBounded(t *testing.T) {
	release := make(chan struct{})
	l := NewLoop(LoopConfig{Name: "deaf", Logger: silent(), Body: func(context.Context, func()) error { <-release; return nil }})
	require.NoError(t, l.Start(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, l.Stop(ctx), ErrStopTimeout)
	close(release)
	require.NoError(t, l.Stop(t.Context()))
}

func TestLoopStopBeforeStart(t *testing.T) {
	l := NewLoop(LoopConfig{Name: "l", Logger: silent(), Body: func(context.Context, func()) error { return nil }})
	require.NoError(t, l.Stop(t.Context()))
	<-l.Done()
	require.ErrorIs(t, l.Start(t.Context()), ErrStarted)
}

func TestBackoffDoublesToItsBound(t *testing.T) {
	b := Backoff{First: time.Second, Max: 5 * time.Second}
	require.Equal(t, []time.Duration{1e9, 2e9, 4e9, 5e9, 5e9}, []time.Duration{b.wait(1), b.wait(2), b.wait(3), b.wait(4), b.wait(1000)})
	require.Equal(t, DefaultBackoff.First, Backoff{}.withDefaults().First)
}
