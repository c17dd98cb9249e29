package runbook

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

const (
	// signsWithin bounds for how long a step waits for the signs that tell whom it is about;
	// a step that says how long it may take waits no longer than that.
	signsWithin = 30 * time.Second
	// calledFor is for how long a step without its signs stays called for after it last was:
	// what comes again and again is not there at every look.
	calledFor = 5 * time.Second
)

// signed fills the step in, and waits a while for what no sign has told yet: an answer
// stands before all of its signs have come, and of two sessions that knot again and again
// neither may be there at the moment of the answer. It waits no longer when the step is
// not called for any more. What was told late is kept with the run, so that whoever goes
// on after a crash acts on the same.
func (x *run) signed(ctx context.Context, s *StepResult, d *doctor.Step) (a doctor.Act, missing, err error) {
	a, missing = x.req().act(d)
	if missing == nil || x.cfg.Told == nil {
		return a, missing, nil
	}
	limit, err := within(d)
	if err != nil {
		return a, missing, nil // Check has refused it; without a limit it is not waited for
	}
	s.Act = a
	if err := x.set(s, Pending, "it waits until a sign tells more: "+missing.Error()); err != nil {
		return a, missing, err
	}
	called := x.cfg.Clock.Now()
	end := called.Add(min(limit, signsWithin))
	for {
		if told := x.cfg.Told(x.req().Cause, x.req().Hop); len(told) > 0 {
			q := *x.req()
			q.Detail = maps.Clone(q.Detail)
			if q.Detail == nil {
				q.Detail = make(map[string]string, len(told))
			}
			maps.Copy(q.Detail, told) // all of it: a session's number and its start belong together
			if full, still := q.act(d); still == nil {
				return full, nil, x.learn(q.Detail)
			}
		}
		if d.If != "" {
			held, err := x.words.holds(d.If, x.scene(time.Time{}), x.req())
			switch now := x.cfg.Clock.Now(); {
			case err != nil || held:
				called = now
			case now.Sub(called) >= calledFor:
				return a, errors.New("not called for: " + d.If), nil // whoever it would be about
			}
		}
		if !x.cfg.Clock.Now().Before(end) {
			return a, missing, nil
		}
		if err := pause(ctx, lookEvery); err != nil {
			return a, missing, err
		}
		if err := x.f.mine(); err != nil {
			return a, missing, err
		}
	}
}

// learn keeps what signs told late.
func (x *run) learn(detail map[string]string) error {
	if err := x.f.append(record{What: whatTold, Detail: detail}); err != nil {
		return err
	}
	x.req().Detail = detail
	return nil
}

// Awaits reports whether the step waits for a sign to tell whom it is about: nothing of it
// was begun.
func (s *StepResult) Awaits() bool { return s.Became == Pending && s.Error != "" }
