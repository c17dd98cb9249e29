package runbook_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/runbook"
	"github.com/moneta-pay/moneta/internal/clock"
)

// world is what the hands of a test act on: a file with one line for each effect, which
// outlives a process that is killed.
type world struct{ dir string }

func (w world) path() string { return filepath.Join(w.dir, "effects") }

func (w world) effects() []string {
	raw, _ := os.ReadFile(w.path())
	return strings.Fields(string(raw))
}

func (w world) has(id string) bool { return slices.Contains(w.effects(), id) }

func (w world) add(id string) error {
	if w.has(id) {
		return nil // once for an id
	}
	f, err := os.OpenFile(w.path(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(id + "\n")
	return errors.Join(err, f.Close())
}

// hand does something that can be counted and taken back.
type hand struct {
	w     world
	does  string
	reach doctor.Reach
	items int
	marks []doctor.Mark
	fails func() error
	// crash is called before and after the effect.
	crash func()
}

func (h *hand) Does() string        { return h.does }
func (h *hand) Reach() doctor.Reach { return h.reach }

func (h *hand) Try(_ context.Context, a doctor.Act) (doctor.Change, error) {
	return doctor.Change{Reach: h.reach, Items: h.items, Marks: h.marks, Undo: h.undo(a), Before: "off", After: "on"}, nil
}

func (h *hand) undo(a doctor.Act) *doctor.Act {
	if h.does == "undo" {
		return nil
	}
	return &doctor.Act{Do: "undo", With: map[string]string{"of": a.ID}}
}

func (h *hand) Act(_ context.Context, a doctor.Act) (doctor.Change, error) {
	if h.crash != nil {
		h.crash()
		defer h.crash()
	}
	if h.fails != nil {
		if err := h.fails(); err != nil {
			return doctor.Change{}, err
		}
	}
	return doctor.Change{Reach: h.reach, Items: 1, Undo: h.undo(a), After: "on"}, h.w.add(a.ID)
}

func hands(w world, crash func()) []doctor.Hand {
	return []doctor.Hand{
		&hand{w: w, does: "note", reach: doctor.Instant, crash: crash}, &hand{w: w, does: "undo", reach: doctor.Instant, crash: crash},
		&hand{w: w, does: "broken", reach: doctor.Instant, crash: crash, fails: func() error { return errors.New("it does not work") }},
	}
}

func step(id, do string) doctor.Step {
	return doctor.Step{ID: id, Do: do, Why: doctor.Text{EN: "because"}, With: map[string]string{"x": "1"}}
}

func request(steps ...doctor.Step) runbook.Request {
	return runbook.Request{Incident: "inc_1", Cause: "database-long-hold", Phase: runbook.Repair, Hop: "postgres", Kind: doctor.Database, Steps: steps, Detail: map[string]string{"pid": "42"}}
}

// setting is a runner over a world, with readings that a test sets.
type setting struct {
	world
	*runbook.Runner
	cfg runbook.Config

	mu    sync.Mutex
	seen  *doctor.Evidence
	told  []string
	acted []doctor.Done
}

func (s *setting) look() *doctor.Evidence {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.seen.Clone()
	return &e
}

func (s *setting) read(at time.Time, hop string, signal doctor.Signal, value float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen.TakenAt = at
	s.seen.Readings = slices.DeleteFunc(s.seen.Readings, func(r doctor.Reading) bool { return r.Hop == hop && r.Signal == signal })
	s.seen.Readings = append(s.seen.Readings, doctor.Reading{Hop: hop, Signal: signal, Last: value, Newest: &at, StepS: 1})
}

func (s *setting) words() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.told)
}

func set(t *testing.T, change ...func(*runbook.Config)) *setting {
	t.Helper()
	s := &setting{world: world{t.TempDir()}, seen: &doctor.Evidence{TakenAt: time.Now()}}
	s.cfg = runbook.Config{
		Dir: filepath.Join(s.dir, "runs"), Look: s.look, Hands: hands(s.world, nil), Policy: runbook.Policy{Alone: doctor.Instant},
		Turns: time.Millisecond, Logger: slog.New(slog.DiscardHandler), Person: func(_ context.Context, a runbook.Approval) (string, error) {
			if a.Key == "stolen" {
				return "", errors.New("the signature does not fit")
			}
			return a.Person, nil
		},
		Tell: func(_, what, _ string, data any) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.told = append(s.told, what)
			if d, is := data.(doctor.Done); is {
				s.acted = append(s.acted, d)
			}
		},
	}
	for _, c := range change {
		c(&s.cfg)
	}
	var err error
	s.Runner, err = runbook.New(s.cfg)
	require.NoError(t, err)
	return s
}

func (s *setting) run(t *testing.T, q runbook.Request) runbook.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, err := s.Run(ctx, q)
	require.NoError(t, err)
	return out
}

// later runs in the background; a run that breaks off is no good one.
func (s *setting) later(q runbook.Request) <-chan runbook.Result {
	done := make(chan runbook.Result, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		q.Wait = true
		out, err := s.Run(ctx, q)
		if err != nil {
			out.Became = runbook.Became(err.Error())
		}
		done <- out
	}()
	return done
}

func became(r runbook.Result) (out []string) {
	for i := range r.Steps {
		out = append(out, string(r.Steps[i].Became))
	}
	return out
}

func TestStepsAreDoneInTheirOrder(t *testing.T) {
	t.Parallel()
	s := set(t)
	s.read(time.Now(), "postgres", doctor.PGRootIdle, 12)
	steps := []doctor.Step{step("a", "note"), step("b", "note"), step("c", "note"), step("d", "note"), step("e", "note")}
	steps[0].With = map[string]string{"pid": "{pid} at {hop}"}
	steps[1].If = `last("pg_root_idle") > 100.0`
	steps[2].With = map[string]string{"slot": "{slot}"}
	steps[3].If = `last("pg_root_active") > 1.0`
	steps[4].If, steps[4].Until, steps[4].Within = `last("pg_root_idle") > 10.0 && detail["pid"] == "42" && !alarm()`, `last("pg_root_idle") == 0.0`, "10s"
	done := s.later(request(steps...))
	require.Eventually(t, func() bool { return s.has("inc_1/database-long-hold/repair/e") }, 10*time.Second, 10*time.Millisecond)
	s.read(time.Now(), "postgres", doctor.PGRootIdle, 0)
	out := <-done
	require.Equal(t, runbook.Good, out.Became)
	require.Equal(t, []string{"good", "skipped", "skipped", "skipped", "good"}, became(out))
	require.Equal(t, "42 at postgres", out.Steps[0].Act.With["pid"])
	require.Contains(t, out.Steps[2].Error, "{slot}")
	require.Contains(t, out.Steps[3].Error, "not known")
	require.Equal(t, []string{doctor.EntryDone, doctor.EntrySkipped, doctor.EntrySkipped, doctor.EntrySkipped, doctor.EntryDone, doctor.EntryNote}, s.words())
	require.Equal(t, []string{"inc_1/database-long-hold/repair/a", "inc_1/database-long-hold/repair/e"}, s.effects())

	again := s.run(t, request(steps...))
	require.Equal(t, became(out), became(again), "what has ended is told again")
	require.Len(t, s.effects(), 2)
}

// A reading from before the act says nothing about what came of it.
// A sign may come after the answer: the step waits for it, with what it tells as a whole,
// and whoever goes on after a crash acts on the same. It does not wait for ever, nor when
// it is not called for any more.
func TestAStepWaitsForTheSignsThatTellWhomItIsAbout(t *testing.T) {
	t.Parallel()
	about := step("end-the-other", "note")
	about.With, about.Aim, about.Within = map[string]string{"pid": "{pid}", "since": "{since}"}, "{hop}", "20s"
	asked := request(about)
	asked.Detail = map[string]string{"pid": "1"} // of an older session: its start is not known

	var told atomic.Pointer[map[string]string]
	looks := make(chan struct{}, 1000)
	late := func(c *runbook.Config) {
		c.Told = func(cause, hop string) map[string]string {
			require.Equal(t, []string{"database-long-hold", "postgres"}, []string{cause, hop})
			looks <- struct{}{}
			if d := told.Load(); d != nil {
				return *d
			}
			return nil
		}
	}
	s := set(t, late)
	done := s.later(asked)
	<-looks
	<-looks
	runs, err := s.Runs()
	require.NoError(t, err)
	require.True(t, runs[0].Steps[0].Awaits())
	require.Empty(t, s.effects())
	told.Store(&map[string]string{"pid": "42", "since": "2026-03-01T03:00:00Z"})
	r := <-done
	require.Equal(t, []string{"good"}, became(r))
	require.Equal(t, map[string]string{"pid": "42", "since": "2026-03-01T03:00:00Z"}, r.Steps[0].Act.With)
	again := s.run(t, asked)
	require.Equal(t, r.Request.Detail, again.Request.Detail, "it is kept")
	require.Equal(t, []string{"done"}, s.words())

	told.Store(nil)
	short := about
	short.Within = "500ms"
	asked.Round, asked.Steps = 1, []doctor.Step{short}
	r = s.run(t, asked)
	require.Equal(t, []string{"skipped"}, became(r))
	require.Equal(t, "no sign told {since}", r.Steps[0].Error)

	over := about
	over.If = `last("postgres", "pg_deadlocks") > 0.0`
	s.read(time.Now(), "postgres", doctor.PGDeadlocks, 0)
	asked.Round, asked.Steps = 2, []doctor.Step{over}
	r = s.run(t, asked)
	require.Equal(t, []string{"skipped"}, became(r))
	require.Contains(t, r.Steps[0].Error, "not called for")
}

func TestAnActIsNotVerifiedByHowThingsWereBefore(t *testing.T) {
	t.Parallel()
	s := set(t)
	s.read(time.Now().Add(-500*time.Millisecond), "postgres", doctor.PGRootIdle, 0)
	one := step("a", "note")
	one.Until, one.Within = `last("pg_root_idle") < 1.0`, "1s"
	out := s.run(t, request(one))
	require.Equal(t, runbook.Failed, out.Became)
	require.Equal(t, []string{"undone"}, became(out))
	require.Contains(t, out.Steps[0].Error, "old")
}

func TestARepairThatFailsIsTakenBackTheLastFirst(t *testing.T) {
	t.Parallel()
	s := set(t)
	out := s.run(t, request(step("a", "note"), step("b", "note"), step("c", "broken"), step("d", "note")))
	require.Equal(t, runbook.Failed, out.Became)
	require.Equal(t, []string{"undone", "undone", "undone", "pending"}, became(out))
	const run = "inc_1/database-long-hold/repair/"
	require.Equal(t, []string{run + "a", run + "b", run + "c/undo", run + "b/undo", run + "a/undo"}, s.effects())
}

// In a containment each lever stands for itself.
func TestAContainmentGoesOnAfterALeverThatFails(t *testing.T) {
	t.Parallel()
	s := set(t)
	q := request(step("a", "note"), step("b", "broken"), step("c", "note"))
	q.Phase = runbook.Contain
	out := s.run(t, q)
	require.Equal(t, runbook.Good, out.Became)
	require.Equal(t, []string{"good", "undone", "good"}, became(out))
}

func TestADryRunChangesNothing(t *testing.T) {
	t.Parallel()
	s := set(t, func(c *runbook.Config) {
		c.Hands = append(c.Hands, &hand{does: "heavy", reach: doctor.Final}, &hand{does: "never", marks: []doctor.Mark{doctor.MarkWaiter}})
	})
	q := request(step("a", "note"), step("b", "heavy"), step("c", "never"))
	q.Dry = true
	out := s.run(t, q)
	require.Equal(t, []string{"tried", "tried", "failed"}, became(out))
	require.Equal(t, 2, out.Steps[1].Needs)
	require.Equal(t, "off", out.Steps[0].Change.Before)
	require.Empty(t, s.effects())
	runs, err := s.Runs()
	require.NoError(t, err)
	require.Empty(t, runs)
}

// Nothing that a person, a policy or a request may say gets around the never-list.
func TestTheNeverListHoldsInARun(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	var number atomic.Int64
	rapid.Check(t, func(t *rapid.T) {
		dir := filepath.Join(root, strconv.Itoa(int(number.Add(1))))
		require.NoError(t, os.MkdirAll(dir, 0o700))
		w := world{dir}
		mark := rapid.SampledFrom([]doctor.Mark{
			doctor.MarkWaiter, doctor.MarkSyncWait, doctor.MarkReplication, doctor.MarkWraparound, doctor.MarkSystem, doctor.MarkDecider,
			doctor.MarkUnresolved, doctor.MarkUnkept, doctor.MarkReaders, doctor.MarkPlanless, doctor.MarkForeign,
		}).Draw(t, "mark")
		h := &hand{w: w, does: "deed", reach: doctor.Reach(rapid.IntRange(0, 4).Draw(t, "reach")), marks: []doctor.Mark{mark}}
		r, err := runbook.New(runbook.Config{
			Dir: dir, Hands: []doctor.Hand{h}, Look: func() *doctor.Evidence { return &doctor.Evidence{} },
			Policy: runbook.Policy{Alone: doctor.Reach(rapid.IntRange(0, 4).Draw(t, "alone")), Items: 1 << 30, ActsPerHour: 1 << 30},
			Person: func(_ context.Context, a runbook.Approval) (string, error) { return a.Person, nil },
			Turns:  time.Millisecond, // nobody's turn comes here
		})
		require.NoError(t, err)
		q := request(step("a", "deed"))
		q.Who = rapid.SampledFrom([]string{"doctor", "admin", "root"}).Draw(t, "who")
		q.Phase = rapid.SampledFrom([]runbook.Phase{runbook.Contain, runbook.Repair}).Draw(t, "phase")
		out, err := r.Run(context.Background(), q)
		require.NoError(t, err)
		require.Equal(t, runbook.Failed, out.Became)
		require.Contains(t, out.Steps[0].Error, "never (N")
		require.Empty(t, w.effects())
	})
}

func (s *setting) waits(t *testing.T) (out runbook.StepResult) {
	t.Helper()
	require.Eventually(t, func() bool {
		all, err := s.Waiting()
		if err == nil && len(all) == 1 {
			out = all[0]
		}
		return len(all) == 1
	}, 10*time.Second, 10*time.Millisecond)
	return out
}

func yes(s runbook.StepResult, who string) runbook.Approval {
	return runbook.Approval{ActID: s.Act.ID, Hash: s.Hash, Agreed: true, Reason: "seen it", Person: who}
}

// What comes again and again may be over when somebody agrees: it is looked at again.
func TestWhatIsOverWhenItIsApprovedIsNotDone(t *testing.T) {
	t.Parallel()
	heavy := &hand{does: "heavy", reach: doctor.Final, items: 3}
	s := set(t, func(c *runbook.Config) { c.Hands = append(c.Hands, heavy) })
	heavy.w = s.world
	one := step("a", "heavy")
	one.If = `last("postgres", "pg_knots") > 0.0`
	s.read(time.Now(), "postgres", doctor.PGKnots, 3)
	done := s.later(request(one))
	w := s.waits(t)
	s.read(time.Now(), "postgres", doctor.PGKnots, 0)
	require.NoError(t, s.Approve(t.Context(), yes(w, "ann")))
	require.NoError(t, s.Approve(t.Context(), yes(w, "ben")))
	out := <-done
	require.Equal(t, []string{"skipped"}, became(out))
	require.Contains(t, out.Steps[0].Error, "not called for any more")
	require.Empty(t, s.effects())
}

func TestWhatIsFinalTakesTwoPeople(t *testing.T) {
	t.Parallel()
	heavy := &hand{does: "heavy", reach: doctor.Final, items: 3}
	s := set(t, func(c *runbook.Config) { c.Hands = append(c.Hands, heavy); c.Policy.Alone = doctor.Final })
	heavy.w = s.world
	q := request(step("a", "heavy"))
	q.Who = "dora"
	done := s.later(q)
	w := s.waits(t)
	require.Equal(t, 2, w.Needs)
	require.NoError(t, s.Approve(t.Context(), yes(w, "ann")))
	require.NoError(t, s.Approve(t.Context(), yes(w, "ann")), "twice is once")
	for name, wrong := range map[string]func(*runbook.Approval){
		"another hash": func(a *runbook.Approval) { a.Hash = strings.Repeat("0", 64) }, "another act": func(a *runbook.Approval) { a.ActID += "x" },
		"who asked": func(a *runbook.Approval) { a.Person = "dora" }, "a false signature": func(a *runbook.Approval) { a.Key = "stolen" },
		"no reason": func(a *runbook.Approval) { a.Reason = " " },
	} {
		a := yes(w, "ben")
		wrong(&a)
		require.Error(t, s.Approve(t.Context(), a), name)
	}
	// Whoever can write the file cannot be somebody else by it: the signature is looked at
	// again when it counts.
	raw := fmt.Sprintf(`{"act_id":%q,"hash":%q,"agreed":true,"person":"zoe","key":"stolen","at":%q}`+"\n", w.Act.ID, w.Hash, time.Now().Format(time.RFC3339))
	f, err := os.OpenFile(filepath.Join(s.cfg.Dir, runbook.FileOf("inc_1/database-long-hold/repair")+".approvals.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString(raw)
	require.NoError(t, errors.Join(err, f.Close()))
	require.Never(t, func() bool { return len(done) > 0 }, time.Second, 50*time.Millisecond)
	require.Empty(t, s.effects())

	require.NoError(t, s.Approve(t.Context(), yes(w, "ben")))
	out := <-done
	require.Equal(t, runbook.Good, out.Became)
	require.Equal(t, []string{"ann", "ben"}, out.Steps[0].Act.Approved)
	require.ErrorIs(t, s.Approve(t.Context(), yes(w, "cleo")), runbook.ErrNotWaiting, "what is done waits for nobody")

	q.Incident = "inc_2" // an approval counts for its own act only
	done = s.later(q)
	second := s.waits(t)
	require.NotEqual(t, w.Hash, second.Hash)
	no := yes(second, "ann")
	no.Agreed, no.Reason = false, "not today"
	require.NoError(t, s.Approve(t.Context(), no))
	out = <-done
	require.Equal(t, runbook.Failed, out.Became)
	require.Contains(t, out.Steps[0].Error, "not today")
	require.Len(t, s.effects(), 1)
}

// What would do more than it was approved for is asked for again.
func TestAnApprovalIsForExactlyThis(t *testing.T) {
	t.Parallel()
	heavy := &hand{does: "heavy", reach: doctor.Compensable, items: 3}
	s := set(t, func(c *runbook.Config) { c.Hands = append(c.Hands, heavy) })
	heavy.w = s.world
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	q := request(step("a", "heavy"))
	q.Wait = true
	go func() { _, err := s.Run(ctx, q); first <- err }()
	w := s.waits(t)
	cancel()
	require.ErrorIs(t, <-first, context.Canceled)
	heavy.items = 4
	require.NoError(t, s.Approve(t.Context(), yes(w, "ann")))
	done := s.later(request(step("a", "heavy")))
	require.Eventually(t, func() bool { all, _ := s.Waiting(); return len(all) == 1 && all[0].Hash != w.Hash }, 10*time.Second, 10*time.Millisecond)
	require.Empty(t, s.effects())
	require.NoError(t, s.Approve(t.Context(), yes(s.waits(t), "ann")))
	require.Equal(t, runbook.Good, (<-done).Became)
}

func TestAnActWaitsForPeopleForAWhileOnly(t *testing.T) {
	t.Parallel()
	now := clock.NewManual(time.Now())
	s := set(t, func(c *runbook.Config) {
		c.Hands = append(c.Hands, &hand{does: "heavy", reach: doctor.Compensable})
		c.Clock = now
	})
	done := s.later(request(step("a", "heavy")))
	w := s.waits(t)
	now.Advance(runbook.ApprovalsWithin + time.Second)
	require.ErrorIs(t, s.Approve(t.Context(), yes(w, "ann")), runbook.ErrNotWaiting)
	require.Contains(t, (<-done).Steps[0].Error, "0 of 1")
}

// Who does not want to wait is told that it waits, and goes on when somebody has agreed.
func TestARunCanBeLeftToWait(t *testing.T) {
	t.Parallel()
	heavy := &hand{does: "heavy", reach: doctor.Compensable}
	s := set(t, func(c *runbook.Config) { c.Hands = append(c.Hands, heavy) })
	heavy.w = s.world
	out := s.run(t, request(step("a", "note"), step("b", "pray"), step("c", "heavy"), step("d", "note")))
	require.Equal(t, runbook.Waits, out.Became)
	require.Equal(t, []string{"good", "skipped", "waits", "pending"}, became(out))
	require.Contains(t, out.Steps[1].Error, "nobody here does")
	require.NoError(t, s.Resume(t.Context()))
	require.Len(t, s.effects(), 1)
	require.NoError(t, s.Approve(t.Context(), yes(s.waits(t), "ann")))
	require.NoError(t, s.Resume(t.Context()))
	require.Len(t, s.effects(), 3)
	left, err := s.Unfinished()
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestTheBlastRadiusIsBounded(t *testing.T) {
	t.Parallel()
	s := set(t, func(c *runbook.Config) {
		c.Hands = append(c.Hands, &hand{does: "wide", reach: doctor.Undoable, items: 11}, &hand{does: "narrow", reach: doctor.Undoable, items: 10}, &hand{does: doctor.DoTell, reach: doctor.Instant})
		c.Policy = runbook.Policy{Alone: doctor.Undoable, Items: 10, ActsPerHour: 3}
	})
	q := request(step("a", "narrow"), step("b", "wide"))
	q.Dry = true
	out := s.run(t, q)
	require.Zero(t, out.Steps[0].Needs)
	require.Equal(t, 1, out.Steps[1].Needs)
	q = request(step("a", "note"), step("b", "note"), step("c", "note"))
	s.run(t, q)
	q.Incident, q.Dry = "inc_2", true
	q.Steps = append(q.Steps[:1], step("d", doctor.DoTell))
	out = s.run(t, q)
	require.Equal(t, 1, out.Steps[0].Needs, "a fourth act within the hour takes a person")
	require.Zero(t, out.Steps[1].Needs, "to call for somebody takes nobody's leave")

	s = set(t, func(c *runbook.Config) {
		c.Hands = append(c.Hands, &hand{w: c.Hands[0].(*hand).w, does: doctor.DoTell, reach: doctor.Instant})
		c.Policy = runbook.Policy{Alone: doctor.Undoable, Items: 10, ActsPerHour: 3}
	})
	s.run(t, request(step("a", doctor.DoTell), step("b", doctor.DoTell), step("c", doctor.DoTell)))
	q = request(step("d", "note"))
	q.Incident, q.Dry = "inc_2", true
	require.Zero(t, s.run(t, q).Steps[0].Needs, "who called for people has not acted yet")
}

// A hand that does not come back is left behind, and not used again meanwhile.
func TestAHandThatHangsDoesNotHangTheRunner(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	h := &stuck{release: release}
	s := set(t, func(c *runbook.Config) { c.Hands = append(c.Hands, h) })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { _, err := s.Run(ctx, request(step("a", "stuck"))); ended <- err }()
	require.Eventually(t, func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.in }, 10*time.Second, 10*time.Millisecond)
	cancel() // as its deadline does
	require.Error(t, <-ended)
	q := request(step("a", "stuck"))
	q.Incident = "inc_2"
	out := s.run(t, q)
	require.Equal(t, runbook.Failed, out.Became)
	require.Contains(t, out.Steps[0].Error, "has not come back")
	close(release)
}

type stuck struct {
	release chan struct{}
	mu      sync.Mutex
	in      bool
}

func (*stuck) Does() string        { return "stuck" }
func (*stuck) Reach() doctor.Reach { return doctor.Instant }
func (*stuck) Try(context.Context, doctor.Act) (doctor.Change, error) {
	return doctor.Change{Reach: doctor.Instant}, nil
}

func (h *stuck) Act(context.Context, doctor.Act) (doctor.Change, error) {
	h.mu.Lock()
	h.in = true
	h.mu.Unlock()
	<-h.release
	return doctor.Change{}, nil
}

// turns is a session that waits for others at first, and then is who holds them up.
type turns struct {
	hand
	mu    sync.Mutex
	looks int
	never bool
}

func (h *turns) Try(ctx context.Context, a doctor.Act) (doctor.Change, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c, err := h.hand.Try(ctx, a)
	if h.looks++; h.looks < 4 {
		c.Marks = []doctor.Mark{doctor.MarkWaiter}
	}
	if h.never {
		c.Marks = append(c.Marks, doctor.MarkDecider)
	}
	return c, err
}

// Of sessions that take turns at waiting each is looked at until it is the root; what it
// must never be ended for is no matter of time.
func TestWhoWaitsNowMayHoldUpOthersNext(t *testing.T) {
	t.Parallel()
	for _, never := range []bool{false, true} {
		var h *turns
		s := set(t, func(c *runbook.Config) {
			h = &turns{never: never, hand: hand{does: "end", reach: doctor.Instant, w: world{filepath.Dir(c.Dir)}}}
			c.Hands, c.Turns = append(c.Hands, h), time.Minute
		})
		out := s.run(t, request(step("a", "end")))
		if never {
			require.Equal(t, runbook.Failed, out.Became)
			require.Equal(t, 1, h.looks)
			continue
		}
		require.Equal(t, runbook.Good, out.Became)
		require.Len(t, s.effects(), 1)
	}
}

// A banner holds nothing back: nothing flows otherwise without it, and nobody waits to
// see whether it does.
func TestWordsAreTakenBackWithoutAWatch(t *testing.T) {
	t.Parallel()
	s := set(t, func(c *runbook.Config) {
		c.Hands = append(c.Hands, &hand{does: doctor.DoLever, reach: doctor.Instant, w: world{filepath.Dir(c.Dir)}})
	})
	say := step("a", doctor.DoLever)
	say.With = map[string]string{"lever": "banner"}
	q := request(say)
	q.Phase = runbook.Contain
	s.run(t, q)
	looks := 0
	require.NoError(t, s.Release(t.Context(), "inc_1", time.Hour, func() error { looks++; return nil }))
	require.Equal(t, 1, looks)
}

func TestWhatIsHeldBackIsLetGoOneByOne(t *testing.T) {
	t.Parallel()
	s := set(t)
	q := request(step("a", "note"), step("b", "note"))
	q.Phase = runbook.Contain
	s.run(t, q)
	const run = "inc_1/database-long-hold/contain/"
	ill := errors.New("the alarm is back")
	looks := 0
	err := s.Release(t.Context(), "inc_1", time.Second, func() error {
		if looks++; looks > 2 {
			return ill
		}
		return nil
	})
	require.ErrorIs(t, err, ill)
	got := s.effects()
	require.Len(t, got, 4)
	require.Equal(t, []string{run + "a", run + "b", run + "b/undo"}, got[:3])
	require.Contains(t, got[3], run+"b/again-")

	looks = 1
	require.ErrorIs(t, s.Release(t.Context(), "inc_1", time.Second, func() error {
		if looks++; looks > 2 {
			return ill
		}
		return nil
	}), ill)
	got = s.effects()
	require.Len(t, got, 6)
	require.Equal(t, got[3]+"/undo", got[4])
	require.Equal(t, 1, strings.Count(got[5], "/again-"), "what is done again and again has a name of the same length: %s", got[5])

	require.NoError(t, s.Release(t.Context(), "inc_1", 300*time.Millisecond, func() error { return nil }))
	require.Equal(t, []string{got[5] + "/undo", run + "a/undo"}, s.effects()[6:])
	require.NoError(t, s.Release(t.Context(), "inc_1", time.Minute, func() error { return nil }), "nothing is left")
	require.Len(t, s.effects(), 8)
}

func TestStepsAreCheckedBeforeTheyAreNeeded(t *testing.T) {
	t.Parallel()
	s := set(t)
	for want, change := range map[string]func(*doctor.Step){
		"no signal":                func(d *doctor.Step) { d.Until = `last("pg_rot_idle") < 1.0` },
		"must be true or false":    func(d *doctor.Step) { d.If = `last("busy")` },
		"no matching overload":     func(d *doctor.Step) { d.If = `last("busy") < "x"` },
		"undeclared reference":     func(d *doctor.Step) { d.If = `drill == "long-hold"` },
		"name the signal itself":   func(d *doctor.Step) { d.If = `known(detail["signal"])` },
		"at most 1000":             func(d *doctor.Step) { d.If = strings.Repeat("true && ", 200) + "true" },
		"within is":                func(d *doctor.Step) { d.Within = "1d" },
		"its id \"\" is empty or ": func(d *doctor.Step) { d.ID = "" },
	} {
		d := step("a", "note")
		change(&d)
		require.ErrorContains(t, s.Check([]doctor.Step{d}), want)
		_, err := s.Run(t.Context(), request(d))
		require.ErrorContains(t, err, want)
	}
	require.Error(t, s.Check([]doctor.Step{step("a", "note"), step("a", "note")}))
	require.NoError(t, s.Check([]doctor.Step{step("a", "note")}))
}

func TestConditions(t *testing.T) {
	t.Parallel()
	s := set(t)
	now := time.Now()
	s.read(now.Add(-time.Minute), "serve", doctor.Busy, 0.2) // old
	s.read(now, "postgres", doctor.PGRootIdle, 12)
	s.seen.Alarms = []doctor.Alarm{{Hop: "dispatch"}}
	for expression, want := range map[string]runbook.Became{
		`last("pg_root_idle") == 12.0`:                                    runbook.Good,
		`last("postgres", "pg_root_idle") > 10.0`:                         runbook.Good,
		`last("postgres", "pg_root_active", "", 0.0) == 0.0`:              runbook.Good,
		`last("serve", "busy", "", 0.0) == 0.0`:                           runbook.Skipped, // nobody speaks of serve
		`last("serve", "busy") < 1.0`:                                     runbook.Skipped, // old is not known
		`known("serve", "busy")`:                                          runbook.Skipped,
		`!known("serve", "busy") && known("pg_root_idle")`:                runbook.Good,
		`alarm() && alarm("dispatch") && !alarm("postgres")`:              runbook.Good,
		`detail["none"] == ""`:                                            runbook.Skipped,
		`hop == "postgres" && cause == "database-long-hold"`:              runbook.Good,
		`now("{hop}", "pg_root_idle") > 10`:                               runbook.Good,
		`now("{pid}", "pg_root_idle") > 10`:                               runbook.Skipped,
		`now("{slot}", "pg_root_idle") < 99`:                              runbook.Skipped,
		`channel == ""`:                                                   runbook.Good,
		`[1,2,3].all(a, [1,2,3].all(b, [1,2,3].all(c, a+b+c > 0)))`:       runbook.Good,
		`"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".matches("(a*)*b") || 1 > 0`: runbook.Good,
	} {
		d := step("a", "note")
		d.If = expression
		q := request(d)
		q.Dry = true
		out := s.run(t, q)
		if want == runbook.Good {
			want = runbook.Tried
		}
		require.Equal(t, want, out.Steps[0].Became, "%s: %s", expression, out.Steps[0].Error)
	}
	d := step("a", "note") // bounded cost
	d.If = `[1,2,3,4,5,6,7,8,9,10].all(a, [1,2,3,4,5,6,7,8,9,10].all(b, [1,2,3,4,5,6,7,8,9,10].all(c, [1,2,3,4,5,6,7,8,9,10].all(d, a+b+c+d > 0))))`
	q := request(d)
	q.Dry = true
	require.Contains(t, s.run(t, q).Steps[0].Error, "cost limit")
}
