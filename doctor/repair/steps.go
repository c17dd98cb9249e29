package repair

import (
	"context"
	"fmt"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// WaitMost bounds a wait.
const WaitMost = 10 * time.Minute

// Steps returns the hands that touch nothing: check, whose condition is the step's;
// wait; and tell, which hands a text to say.
func Steps(say func(ctx context.Context, a doctor.Act) error) []doctor.Hand {
	return []doctor.Hand{checker{}, waiter{}, teller{say}}
}

type checker struct{}

func (checker) Does() string        { return doctor.DoCheck }
func (checker) Reach() doctor.Reach { return doctor.Observe }
func (checker) Try(context.Context, doctor.Act) (doctor.Change, error) {
	return doctor.Change{}, nil
}

func (checker) Act(context.Context, doctor.Act) (doctor.Change, error) {
	return doctor.Change{}, nil
}

type waiter struct{}

func (waiter) Does() string          { return doctor.DoWait }
func (waiter) Reach() doctor.Reach   { return doctor.Observe }
func (waiter) Within() time.Duration { return WaitMost + time.Second }

func (waiter) Try(_ context.Context, a doctor.Act) (doctor.Change, error) {
	d, err := time.ParseDuration(a.With["for"])
	if err != nil || d <= 0 || d > WaitMost {
		return doctor.Change{}, fmt.Errorf("for %q is no time such as 30s, at most %s", a.With["for"], WaitMost)
	}
	return doctor.Change{After: "waited " + d.String()}, nil
}

// Act waits until the act is so old, so that a crash does not make it wait twice.
func (h waiter) Act(ctx context.Context, a doctor.Act) (doctor.Change, error) {
	c, err := h.Try(ctx, a)
	if err != nil {
		return c, err
	}
	d, _ := time.ParseDuration(a.With["for"])
	t := time.NewTimer(min(d, time.Until(a.At.Add(d))))
	defer t.Stop()
	select {
	case <-t.C:
		return c, nil
	case <-ctx.Done():
		return c, ctx.Err()
	}
}

type teller struct {
	say func(ctx context.Context, a doctor.Act) error
}

func (teller) Does() string        { return doctor.DoTell }
func (teller) Reach() doctor.Reach { return doctor.Instant }

func (h teller) Try(_ context.Context, a doctor.Act) (doctor.Change, error) {
	switch a.With["to"] {
	case "holders", "support", "partners", "operators":
		return doctor.Change{Reach: doctor.Instant, After: "tells " + a.With["to"]}, nil
	}
	return doctor.Change{}, fmt.Errorf("to %q: it tells holders, support, partners or operators", a.With["to"])
}

func (h teller) Act(ctx context.Context, a doctor.Act) (doctor.Change, error) {
	c, err := h.Try(ctx, a)
	if err == nil {
		err = h.say(ctx, a)
	}
	return c, err
}
