package runbook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// Run carries a request out, from its first step or from where it ended. It returns
// when the run has ended, or when ctx does: then it can be asked for again. It returns
// ErrBusy when another runner is at it.
func (r *Runner) Run(ctx context.Context, q Request) (Result, error) {
	if q.Who == "" {
		q.Who = Doctor
	}
	if q.Incident == "" || q.Phase != Contain && q.Phase != Repair {
		return Result{}, errors.New("a run is for an incident, and to contain or to repair")
	}
	if err := r.Check(q.Steps); err != nil {
		return Result{}, err
	}
	if q.Dry {
		return r.dry(ctx, q), nil
	}
	f, old, err := open(r.cfg.Dir, q.name(), r.cfg.Clock.Now, r.kept)
	if err != nil {
		return Result{}, err
	}
	x := &run{Runner: r, f: f, out: old}
	defer func() { _ = f.close() }() // every line is on the disk already
	if old == nil || old.Run == "" {
		x.out = fold(nil, &record{What: whatBegin, Request: &q, Epoch: f.epoch})
		if err := f.append(record{What: whatBegin, Request: &q}); err != nil {
			return *x.out, err
		}
	}
	if x.out.Became != Pending {
		return *x.out, nil
	}
	x.out.Epoch = f.epoch
	x.wait = q.Wait
	stop := x.watch()
	defer stop()
	x.retell()
	err = x.steps(ctx)
	out := *x.out
	if errors.Is(err, errWaits) {
		out.Became, err = Waits, nil
	}
	return out, err
}

// Doctor is who asks when nobody does.
const Doctor = "doctor"

// run is a run that is carried out.
type run struct {
	*Runner
	f    *file
	out  *Result
	wait bool
}

// errWaits ends a run for now: what is left waits for people.
var errWaits = errors.New("it waits for people")

func (x *run) req() *Request { return &x.out.Request }

// watch gives the runner's signs of life, in a goroutine that the returned function
// ends. A runner that hangs, at a disk that does not take its line, gives them all the
// same; its journal shows the step that does not go on, and each act has its deadline.
func (x *run) watch() (stop func()) {
	quit, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		t := time.NewTicker(beatEvery)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				if x.f.mine() == nil {
					x.f.beat()
				}
			case <-quit:
				return
			}
		}
	}()
	return func() { close(quit); <-gone }
}

// retell tells the journal again what was recorded last: a crash may have come between
// the record and the telling.
func (x *run) retell() {
	var last *StepResult
	for i := range x.out.Steps {
		s := &x.out.Steps[i]
		if !s.At.IsZero() && (last == nil || s.At.After(last.At)) {
			last = s
		}
	}
	if last != nil {
		x.told(last)
	}
}

// steps goes through them. In a containment what waits for people does not keep the
// next step waiting.
func (x *run) steps(ctx context.Context) error {
	wait := x.req().Phase == Repair
	for {
		waiting := false
		for i := range x.out.Steps {
			s := &x.out.Steps[i]
			if err := x.step(ctx, s, &x.req().Steps[i], wait); err != nil {
				return err
			}
			switch {
			case s.Became == Waits:
				waiting = true
			case bad(s) && x.req().Phase == Repair:
				return x.rollback(ctx, i)
			}
		}
		if !waiting {
			return x.end(x.outcome())
		}
		if !x.wait {
			return errWaits
		}
		if err := pause(ctx, lookEvery); err != nil {
			return err
		}
	}
}

func bad(s *StepResult) bool { return s.Became == Failed || s.Became == Undone }

// outcome of a run that was not broken off: a containment is good when any of its
// steps is.
func (x *run) outcome() Became {
	good, failed := false, false
	for i := range x.out.Steps {
		good = good || x.out.Steps[i].Became == Good
		failed = failed || bad(&x.out.Steps[i])
	}
	if failed && !good {
		return Failed
	}
	return Good
}

// step brings one step to its end, whatever part of it is done; with wait unset it
// returns when the step waits for people.
func (x *run) step(ctx context.Context, s *StepResult, d *doctor.Step, wait bool) error {
	for {
		var err error
		switch s.Became {
		case Pending, Tried:
			err = x.consider(ctx, s, d)
		case Waits:
			var goes bool
			if goes, err = x.approved(ctx, s, d); err == nil && !goes && s.Became == Waits {
				if !wait {
					return nil
				}
				if !x.wait {
					return errWaits
				}
				err = pause(ctx, lookEvery)
			}
		case Acting:
			err = x.act(ctx, s)
		case Done:
			err = x.verify(ctx, s, d)
		case Failed:
			if s.Change.Undo == nil {
				return nil
			}
			err = x.undo(ctx, s)
		case Skipped, Good, Undone:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// set records what became of a step, and then tells it.
func (x *run) set(s *StepResult, became Became, why string) error {
	s.Became, s.Error, s.At = became, why, x.cfg.Clock.Now().UTC()
	if err := x.f.append(record{What: whatStep, Step: s}); err != nil {
		return err
	}
	x.told(s)
	return nil
}

func (x *run) told(s *StepResult) {
	what := map[Became]string{
		Skipped: doctor.EntrySkipped, Tried: doctor.EntryTried, Waits: doctor.EntryWaits, Done: doctor.EntryDone, Failed: doctor.EntryFailed,
	}[s.Became]
	done := doctor.Done{Act: s.Act, Change: s.Change, Error: s.Error}
	switch s.Became { //nolint:exhaustive // the others are told as they are
	case Undone:
		what = doctor.EntryDone
		if s.Change.Undo != nil {
			done.Act = *s.Change.Undo
		}
		done.Change = doctor.Change{Reach: s.Change.Reach, Items: s.Change.Items, Before: s.Change.After, After: s.Change.Before}
	case Good: // the act was told; that its condition came true is a note
		if s.Error != "" {
			x.cfg.Tell(x.req().Incident, doctor.EntryNote, s.Act.By, doctor.Note{Text: s.Act.Step + ": " + s.Error})
		}
	}
	if what != "" {
		x.cfg.Tell(x.req().Incident, what, s.Act.By, done)
	}
}

// consider looks whether the step is to be done, tries it, and asks the policy.
func (x *run) consider(ctx context.Context, s *StepResult, d *doctor.Step) error {
	a, missing, err := x.signed(ctx, s, d)
	if err != nil {
		return err
	}
	a.At = x.cfg.Clock.Now().UTC()
	s.Act, s.Change = a, doctor.Change{}
	if missing != nil {
		return x.set(s, Skipped, missing.Error())
	}
	if d.If != "" {
		held, err := x.words.holds(d.If, x.scene(time.Time{}), x.req())
		switch {
		case err != nil:
			return x.set(s, Skipped, "whether it is called for cannot be told: "+err.Error())
		case !held:
			return x.set(s, Skipped, "not called for: "+d.If)
		}
	}
	if !x.Does(a.Do) {
		return x.set(s, Skipped, fmt.Sprintf("nobody here does %q", a.Do))
	}
	change, err := atTheRoot(ctx, x, func() (doctor.Change, error) { return x.try(ctx, a) })
	s.Change = change
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		s.Change.Undo = nil // nothing was done
		return x.set(s, Failed, err.Error())
	case change.Nothing && change.Undo == nil:
		return x.set(s, Skipped, "there is nothing to do any more")
	case change.Nothing: // it was done before, by this very act
		return x.set(s, Done, "")
	}
	people, why := x.cfg.Policy.needs(&a, change, x.lastHour())
	if people == 0 {
		return x.set(s, Acting, "")
	}
	s.Hash, s.Needs, s.Until = hash(a, change), people, x.cfg.Clock.Now().Add(ApprovalsWithin).UTC()
	return x.set(s, Waits, why)
}

// rootWithin is for how long a session that waits is looked at again, every rootEvery.
const (
	rootWithin = 10 * time.Second
	rootEvery  = 50 * time.Millisecond
)

// atTheRoot does something to a session until it is not refused only because that one
// waits for others: of those that take turns each is the root at some moment, and the
// one that holds up the others is to be ended, never one that waits.
func atTheRoot(ctx context.Context, x *run, f func() (doctor.Change, error)) (doctor.Change, error) {
	for end := x.cfg.Clock.Now().Add(x.cfg.Turns); ; {
		change, err := f()
		never := new(doctor.Forbidden)
		if !errors.As(err, &never) || !slices.Equal(change.Marks, []doctor.Mark{doctor.MarkWaiter}) || !x.cfg.Clock.Now().Before(end) {
			return change, err
		}
		if pause(ctx, rootEvery) != nil {
			return change, err
		}
	}
}

func (x *run) scene(after time.Time) scene {
	e := x.cfg.Look()
	if e == nil { // nothing was seen yet: nothing is known
		e = &doctor.Evidence{}
	}
	return scene{evidence: e, hop: x.req().Hop, after: after}
}

// approved goes on when enough people have agreed to exactly this: looks again whether
// it is called for, and whether it would do more than they have seen.
func (x *run) approved(ctx context.Context, s *StepResult, d *doctor.Step) (bool, error) {
	people, refused := x.agreed(ctx, s)
	switch {
	case refused != nil:
		s.Change.Undo = nil
		return false, x.set(s, Failed, refused.Error())
	case len(people) < s.Needs:
		if x.cfg.Clock.Now().After(s.Until) {
			s.Change.Undo = nil
			return false, x.set(s, Failed, fmt.Sprintf("%d of %d people agreed in time", len(people), s.Needs))
		}
		return false, nil
	}
	if d.If != "" {
		if held, err := x.words.holds(d.If, x.scene(time.Time{}), x.req()); err != nil || !held {
			return true, x.set(s, Skipped, "when it was approved it was not called for any more")
		}
	}
	change, err := x.try(ctx, s.Act)
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case err != nil:
		s.Change.Undo = nil
		return true, x.set(s, Failed, err.Error())
	case change.Nothing && change.Undo == nil:
		return true, x.set(s, Skipped, "there is nothing to do any more")
	case hash(s.Act, change) != s.Hash:
		s.Change, s.Hash, s.Until = change, hash(s.Act, change), x.cfg.Clock.Now().Add(ApprovalsWithin).UTC()
		return true, x.set(s, Waits, "it would do something else than when it was approved; approve it again")
	}
	s.Change, s.Act.Approved = change, people
	return true, x.set(s, Acting, "")
}

// act does what the last line announced. After a crash it may be done already: the
// hand knows it by its id.
func (x *run) act(ctx context.Context, s *StepResult) error {
	change, err := atTheRoot(ctx, x, func() (doctor.Change, error) { return x.do(ctx, s.Act) })
	if ctx.Err() != nil && err != nil {
		return ctx.Err() // whoever goes on finds it begun
	}
	if err != nil {
		if never := new(doctor.Forbidden); errors.As(err, &never) {
			s.Change.Undo = nil // what is forbidden was not done
		}
		return x.set(s, Failed, err.Error())
	}
	if change.Nothing && change.Undo == nil {
		change.Undo = s.Change.Undo
	}
	if change.Nothing && change.After == "" {
		change.Before, change.After, change.Items = s.Change.Before, s.Change.After, s.Change.Items
	}
	s.Change = change
	return x.set(s, Done, "")
}

// verify waits until what should come of the act came.
func (x *run) verify(ctx context.Context, s *StepResult, d *doctor.Step) error {
	if d.Until == "" {
		return x.set(s, Good, "")
	}
	limit, err := within(d)
	if err != nil {
		return err
	}
	end := s.At.Add(limit)
	for looked := false; ; looked = true {
		held, err := x.words.holds(d.Until, x.scene(s.At), x.req())
		if err == nil && held {
			return x.set(s, Good, fmt.Sprintf("after %s: %s", x.cfg.Clock.Now().Sub(s.At).Round(10*time.Millisecond), d.Until))
		}
		if looked && x.cfg.Clock.Now().After(end) {
			why := "it is not so"
			if err != nil {
				why = err.Error()
			}
			return x.set(s, Failed, fmt.Sprintf("within %s: %s: %s", limit, d.Until, why))
		}
		if err := pause(ctx, lookEvery); err != nil {
			return err
		}
		if err := x.f.mine(); err != nil {
			return err
		}
	}
}

// rollback takes back what was done before a step that failed, the last first.
func (x *run) rollback(ctx context.Context, failed int) error {
	for i := failed; i >= 0; i-- {
		s := &x.out.Steps[i]
		if s.Change.Undo == nil || s.Became != Good && s.Became != Done && s.Became != Failed {
			continue
		}
		if err := x.undo(ctx, s); err != nil {
			return err
		}
	}
	return x.end(Failed)
}

// undo takes one step back. What cannot be taken back now is told, and left to people:
// a lever ends by itself.
func (x *run) undo(ctx context.Context, s *StepResult) error {
	why := s.Error
	back := *s.Change.Undo
	back.ID, back.Incident, back.Cause, back.Step, back.By = s.Act.ID+"/undo", s.Act.Incident, s.Act.Cause, s.Act.Step, s.Act.By
	back.At, back.Approved = x.cfg.Clock.Now().UTC(), s.Act.Approved
	if back.Why == "" {
		back.Why = "undo: " + s.Act.Why
	}
	_, err := x.do(ctx, back)
	if ctx.Err() != nil && err != nil {
		return ctx.Err()
	}
	if err != nil {
		s.Change.Undo = nil
		return x.set(s, Failed, fmt.Sprintf("%s; and it could not be taken back: %s", why, err))
	}
	s.Change.Undo = &back
	return x.set(s, Undone, why)
}

func (x *run) end(became Became) error {
	if err := x.f.append(record{What: whatEnd, Became: became}); err != nil {
		return err
	}
	x.out.Became = became
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
