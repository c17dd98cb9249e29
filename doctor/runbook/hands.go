package runbook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// Patient is a hand whose act may take longer than ActWithin.
type Patient interface{ Within() time.Duration }

func (r *Runner) try(ctx context.Context, a doctor.Act) (doctor.Change, error) {
	return r.bounded(ctx, a, ActWithin, func(ctx context.Context, h doctor.Hand) (doctor.Change, error) { return h.Try(ctx, a) })
}

// do acts, and tries again a little when it did not work: an act that is done already
// changes nothing.
func (r *Runner) do(ctx context.Context, a doctor.Act) (c doctor.Change, err error) {
	limit := ActWithin
	for _, h := range r.cfg.Hands {
		if p, is := h.(Patient); is && h.Does() == a.Do {
			limit = max(limit, p.Within())
		}
	}
	for n := 1; ; n++ {
		c, err = r.bounded(ctx, a, limit, func(ctx context.Context, h doctor.Hand) (doctor.Change, error) { return h.Act(ctx, a) })
		never := new(doctor.Forbidden)
		if err == nil || n == triesMax || errors.As(err, &never) || errors.Is(err, errHung) || ctx.Err() != nil {
			return c, err
		}
		if err := pause(ctx, tryPause); err != nil {
			return c, err
		}
	}
}

var errHung = errors.New("it did not come back when its time was up; what became of it is not known")

// bounded runs a hand with a deadline. One that does not come back even then is left
// behind, and not used again until it does.
func (r *Runner) bounded(ctx context.Context, a doctor.Act, limit time.Duration, f func(context.Context, doctor.Hand) (doctor.Change, error)) (doctor.Change, error) {
	h := r.hands[a.Do]
	if h == nil {
		return doctor.Change{}, fmt.Errorf("nobody here does %q", a.Do)
	}
	if r.setHung(a.Do, nil) {
		return doctor.Change{Reach: h.Reach()}, fmt.Errorf("%s has not come back from the last time", a.Do)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	type outcome struct {
		change doctor.Change
		err    error
	}
	back := make(chan outcome, 1)
	go func() {
		var o outcome
		defer func() {
			if p := recover(); p != nil {
				o.err = fmt.Errorf("%s broke: %v", a.Do, p)
			}
			back <- o
			r.setHung(a.Do, new(false))
		}()
		o.change, o.err = f(ctx, h)
	}()
	select {
	case o := <-back:
		return o.change, o.err
	case <-ctx.Done():
	}
	grace := time.NewTimer(goneAfter)
	defer grace.Stop()
	select {
	case o := <-back:
		return o.change, o.err
	case <-grace.C:
		r.setHung(a.Do, new(true))
		select {
		case o := <-back: // at the last moment
			r.setHung(a.Do, new(false))
			return o.change, o.err
		default:
			return doctor.Change{Reach: h.Reach()}, errHung
		}
	}
}

// setHung notes whether a hand is out, and returns whether it was.
func (r *Runner) setHung(act string, out *bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.hung[act]
	if out != nil {
		r.hung[act] = *out
	}
	return was
}

// lastHour counts the acts of the last hour in all runs; what takes an act back is
// none, nor is a call for people. A folder that cannot be read counts as too many.
func (r *Runner) lastHour() (n int) {
	since := r.cfg.Clock.Now().Add(-time.Hour)
	runs, err := r.Runs()
	if err != nil {
		return r.cfg.Policy.ActsPerHour
	}
	for i := range runs {
		for k := range runs[i].Steps {
			s := &runs[i].Steps[k]
			if s.At.After(since) && s.Change.Reach > doctor.Observe && s.Act.Do != doctor.DoTell && (s.Became == Acting || s.Became == Done || s.Became == Good || s.Became == Undone) {
				n++
			}
		}
	}
	return n
}

// Runs returns what is known of all runs, unfinished or not, in no order. One that
// cannot be read is left out, and logged.
func (r *Runner) Runs() ([]Result, error) {
	return readRuns(r.cfg.Dir, func(path string, err error) {
		r.cfg.Logger.Warn("a run cannot be read", slog.String("file", path), slog.Any("error", err))
	})
}

// Runs reads the runs in a folder, for whoever only looks.
func Runs(dir string) ([]Result, error) { return readRuns(dir, func(string, error) {}) }

func readRuns(dir string, broken func(path string, err error)) ([]Result, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []Result
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), runEnd) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		one, _, err := read(path)
		switch {
		case err != nil:
			broken(path, err)
		case one != nil && one.Run != "":
			out = append(out, *one)
		}
	}
	return out, nil
}

// Unfinished returns the requests whose runs have not ended, to ask for again after a
// start.
func (r *Runner) Unfinished() ([]Request, error) {
	runs, err := r.Runs()
	if err != nil {
		return nil, err
	}
	var out []Request
	for i := range runs {
		if runs[i].Became == Pending {
			out = append(out, runs[i].Request)
		}
	}
	return out, nil
}

// Resume goes on with every run that has not ended, after a start or when people have
// said something, and returns when each has ended or waits for people. Runs that
// another runner is at are its.
func (r *Runner) Resume(ctx context.Context) error {
	all, err := r.Unfinished()
	if err != nil {
		return err
	}
	var errs []error
	for _, q := range all {
		if _, err := r.Run(ctx, q); err != nil && !errors.Is(err, ErrBusy) {
			errs = append(errs, fmt.Errorf("%s: %w", q.name(), err))
		}
	}
	return errors.Join(errs...)
}

// dry tries every step and says what would become of it.
func (r *Runner) dry(ctx context.Context, q Request) Result {
	out := *fold(nil, &record{What: whatBegin, Request: &q})
	x := &run{Runner: r, out: &out}
	for i := range out.Steps {
		s, d := &out.Steps[i], &q.Steps[i]
		a, missing := q.act(d)
		s.Act, s.Became, s.At = a, Tried, r.cfg.Clock.Now().UTC()
		if missing != nil {
			s.Became, s.Error = Skipped, missing.Error()
			continue
		}
		if d.If != "" {
			if held, err := r.words.holds(d.If, x.scene(time.Time{}), &q); err != nil {
				s.Became, s.Error = Skipped, "whether it is called for cannot be told: "+err.Error()
				continue
			} else if !held {
				s.Became, s.Error = Skipped, "not called for: "+d.If
				continue
			}
		}
		if !r.Does(a.Do) {
			s.Became, s.Error = Skipped, fmt.Sprintf("nobody here does %q", a.Do)
			continue
		}
		change, err := r.try(ctx, a)
		s.Change = change
		switch {
		case err != nil:
			s.Became, s.Error = Failed, err.Error()
		case change.Nothing:
			s.Became, s.Error = Skipped, "there is nothing to do any more"
		default:
			var why string
			s.Needs, why = r.cfg.Policy.needs(&a, change, r.lastHour())
			s.Error = why
		}
		if s.Became != Skipped {
			x.told(s)
		}
	}
	out.Became = Tried
	return out
}
