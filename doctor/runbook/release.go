package runbook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// Release lets go of what the containment of an incident holds back, after the proof:
// one at a time, the last first, and each is watched for a while. When fine reports an
// error meanwhile, the last one is done again, and that ends the release: it is too
// early. What was let go is on the disk, so that a release that was broken off goes on.
func (r *Runner) Release(ctx context.Context, incident string, watch time.Duration, fine func() error) error {
	runs, err := r.Runs()
	if err != nil {
		return err
	}
	slices.SortFunc(runs, func(a, b Result) int { return last(&b).Compare(last(&a)) })
	for i := range runs {
		if runs[i].Request.Incident != incident || runs[i].Request.Phase != Contain {
			continue
		}
		if runs[i].Became == Pending {
			return fmt.Errorf("%s has not ended yet", runs[i].Run)
		}
		if err := r.release(ctx, runs[i].Run, watch, fine); err != nil {
			return err
		}
	}
	return nil
}

func last(r *Result) (at time.Time) {
	for i := range r.Steps {
		if r.Steps[i].At.After(at) {
			at = r.Steps[i].At
		}
	}
	return at
}

func (r *Runner) release(ctx context.Context, name string, watch time.Duration, fine func() error) error {
	f, out, err := open(r.cfg.Dir, name, r.cfg.Clock.Now, r.kept)
	if err != nil {
		return err
	}
	x := &run{Runner: r, f: f, out: out}
	defer func() { _ = f.close() }() // every line is on the disk already
	stop := x.watch()
	defer stop()
	for i := len(out.Steps) - 1; i >= 0; i-- {
		s := &out.Steps[i]
		if err := x.finish(ctx, s); err != nil {
			return err
		}
		if s.Became != Good || s.Change.Undo == nil || s.Change.Reach > doctor.Undoable {
			continue
		}
		if err := fine(); err != nil {
			return fmt.Errorf("it is too early to let go of anything: %w", err)
		}
		s.Error = "let go after the proof"
		if err := x.undo(ctx, s); err != nil {
			return err
		}
		if s.Became != Undone {
			return errors.New(s.Error)
		}
		if tells(&s.Act) {
			continue
		}
		if err := x.watched(ctx, s, watch, fine); err != nil {
			return err
		}
	}
	return nil
}

// tells reports whether the act only told people something: without it nothing flows
// otherwise than with it.
func tells(a *doctor.Act) bool {
	return a.Do == doctor.DoLever && a.With["lever"] == "banner"
}

// finish ends what a crash left in the middle of being done again.
func (x *run) finish(ctx context.Context, s *StepResult) error {
	if s.Became == Acting {
		if err := x.act(ctx, s); err != nil {
			return err
		}
	}
	if s.Became == Done {
		return x.set(s, Good, "")
	}
	return nil
}

// watched looks whether all stays well; else it does the act again, under a name of
// its own, because the first one is over.
func (x *run) watched(ctx context.Context, s *StepResult, watch time.Duration, fine func() error) error {
	end := x.cfg.Clock.Now().Add(watch)
	for x.cfg.Clock.Now().Before(end) {
		if err := fine(); err != nil {
			again := s.Act
			first, _, _ := strings.Cut(again.ID, "/again-") // or the name would grow each time
			again.ID = first + "/again-" + x.cfg.Clock.Now().UTC().Format("20060102-150405.000")
			again.At = x.cfg.Clock.Now().UTC()
			s.Act = again
			if err2 := x.set(s, Acting, ""); err2 != nil {
				return err2
			}
			if err2 := x.finish(ctx, s); err2 != nil {
				return err2
			}
			return fmt.Errorf("it was too early to let go of %s: %w", s.Act.Step, err)
		}
		if err := pause(ctx, lookEvery); err != nil {
			return err
		}
	}
	return nil
}
