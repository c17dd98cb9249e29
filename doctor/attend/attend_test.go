package attend_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/attend"
	"github.com/moneta-pay/moneta/doctor/journal"
	"github.com/moneta-pay/moneta/internal/clock"
)

var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// ward is a world in which one thing can be wrong, and a doctor that sees it.
type ward struct {
	t     *testing.T
	clock *clock.Manual
	mu    sync.Mutex
	lines []doctor.Entry
	full  bool // the journal's disk
	idle  bool // the hands do nothing that holds

	sick, held bool
	answer     doctor.Answer
	hop        string // of the alarm
	acts       []attend.Plan
	lifts      int
	proofs     []doctor.ProofKept // to give, in order; the last one for ever
	owned      bool
	seen       []doctor.Reading // of the evidence
	a          *attend.Attendant
}

func newWard(t *testing.T) *ward {
	t.Helper()
	w := &ward{t: t, clock: clock.NewManual(noon), hop: "decider", answer: named("postgres", "long-hold", .9), proofs: []doctor.ProofKept{{Clean: true}}}
	w.a = attend.New(w.config(), nil)
	return w
}

func named(node, mechanism string, p float64) doctor.Answer {
	return doctor.Answer{Verdict: doctor.CauseFound, Ranked: []doctor.Hypothesis{{Node: node, Mechanism: mechanism, Posterior: p}}}
}

func (w *ward) config() attend.Config {
	return attend.Config{
		Clock: w.clock, Log: slog.New(slog.DiscardHandler),
		Append: func(_ context.Context, e doctor.Entry) (doctor.Entry, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.full {
				return e, errors.New("no space left on device")
			}
			e.Seq = uint64(len(w.lines)) + 1
			w.lines = append(w.lines, e)
			return e, nil
		},
		Evidence: func(since time.Time, s doctor.Symptom) *doctor.Evidence {
			return &doctor.Evidence{
				TakenAt: w.clock.Now(), Since: since, Symptom: s, Readings: slices.Clone(w.seen),
				Hops: []doctor.Hop{{Name: "bank-ab", Kind: doctor.Channel}, {Name: "bank-cd", Kind: doctor.Channel}, {Name: "dispatch", Kind: doctor.Queue}, {Name: "postgres", Kind: doctor.Database}},
			}
		},
		Detect: func(*doctor.Evidence) []doctor.Alarm {
			if w.sick && !w.held {
				return []doctor.Alarm{{Rule: doctor.Progress, Hop: w.hop, Signal: doctor.Standstill, Page: true, Since: noon}}
			}
			return nil
		},
		Diagnose: func(*doctor.Evidence) (*doctor.Answer, error) {
			a := w.answer
			if !w.sick {
				a = doctor.Answer{Verdict: doctor.NoFault, Ranked: []doctor.Hypothesis{{Mechanism: "no_fault", Posterior: 1}}}
			}
			return &a, nil
		},
		Cause: func(h *doctor.Hypothesis) (doctor.Cause, bool) {
			c := doctor.Cause{ID: "database-" + h.Mechanism, Contain: []doctor.Step{{ID: "limit", Do: "lever"}}, Repair: []doctor.Step{{ID: "end", Do: "terminate-session"}}}
			return c, h.Node == "postgres"
		},
		Fallback: []doctor.Step{{ID: "say-so", Do: doctor.DoLever}, {ID: "tell", Do: doctor.DoTell}},
		Act: func(_ context.Context, p attend.Plan) (bool, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.acts = append(w.acts, p)
			return !w.idle, nil
		},
		Lift: func(context.Context, string) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.lifts++
			w.held = false
			return nil
		},
		Money: func() doctor.MoneyAtRisk { return doctor.MoneyAtRisk{Items: 3} },
		Prove: func(context.Context, string, time.Time) (doctor.ProofKept, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			p := w.proofs[0]
			w.proofs = w.proofs[min(1, len(w.proofs)-1):]
			return p, nil
		},
		Owned: func(_ context.Context, found []string) (map[string]string, error) {
			if w.owned {
				return map[string]string{found[0]: "ann"}, nil
			}
			return nil, nil
		},
	}
}

// pass lets seconds pass, a tick each; what was begun in one is done before the next.
func (w *ward) pass(seconds int) {
	for range seconds {
		w.clock.Advance(time.Second)
		require.NoError(w.t, w.a.Tick(w.t.Context()))
		w.a.Wait()
	}
}

func (w *ward) told() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, e := range w.lines {
		what := e.What
		if e.What == doctor.EntryStage {
			var s doctor.StageReached
			require.NoError(w.t, json.Unmarshal(e.Data, &s))
			what = string(s.Stage)
		}
		if e.What != doctor.EntryMoney {
			out = append(out, what)
		}
	}
	return out
}

func (w *ward) did() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, p := range w.acts {
		out = append(out, string(p.Phase)+" "+p.Cause)
	}
	return out
}

func TestAnIncidentGoesFromAlarmToProof(t *testing.T) {
	t.Parallel()
	w := newWard(t)
	w.pass(3)
	require.Empty(t, w.told(), "nothing is wrong")
	w.sick = true
	w.pass(3)
	require.Equal(t, []string{"contain database-long-hold", "repair database-long-hold"}, w.did())
	require.Equal(t, doctor.Contained, w.a.Now().Stage)
	w.sick = false
	w.pass(20)
	require.Equal(t, []string{"opened", "detected", "answer", "diagnosed", "contained", "quiet", "repaired", "proof", "proved", "closed"}, w.told())
	require.Equal(t, 1, w.lifts)
	require.Empty(t, w.a.Now().Incident)
}

func TestOnlyWhatHoldsContains(t *testing.T) {
	t.Parallel()
	w := newWard(t)
	w.sick, w.idle = true, true
	w.pass(10)
	require.Len(t, w.did(), 2)
	require.NotContains(t, w.told(), "contained", "words and skipped steps hold nothing")

	w = newWard(t)
	w.sick, w.answer = true, doctor.Answer{Verdict: doctor.Unknown, Ranked: []doctor.Hypothesis{{Mechanism: "unknown", Posterior: 1}}}
	w.pass(25)
	require.Equal(t, []string{"contain unknown"}, w.did())
	require.NotContains(t, w.told(), "contained", "a banner ends nothing whose cause nobody knows")
}

func TestOneAnswerIsNotActedOn(t *testing.T) {
	t.Parallel()
	w := newWard(t)
	w.sick = true
	w.pass(1)
	require.Empty(t, w.did(), "a cause must lead twice")
	w.answer = named("serve", "slow", .9)
	w.pass(1)
	w.answer = named("postgres", "long-hold", .59)
	w.pass(10)
	require.Empty(t, w.did(), "it does not lead by enough")
	w.pass(10)
	require.Equal(t, []string{"contain unknown"}, w.did(), "people are told whatever it is")
	w.pass(100)
	require.Len(t, w.did(), 1)
}

func TestAnotherCauseMustStandLonger(t *testing.T) {
	t.Parallel()
	w := newWard(t)
	w.sick = true
	w.pass(3)
	w.answer = named("postgres", "slow-disk", .9)
	w.pass(4)
	require.Len(t, w.did(), 2)
	w.pass(2)
	require.Equal(t, "contain database-slow-disk", w.did()[2])
	for i := range 20 { // a doctor that changes its mind for ever does not act for ever
		w.answer = named("postgres", "long-hold", .9)
		if i%2 == 0 {
			w.answer = named("postgres", "down", .9)
		}
		w.pass(7)
	}
	require.Len(t, w.did(), 6)
}

func TestWhatIsHeldDoesNotPassForHealth(t *testing.T) {
	t.Parallel()
	w := newWard(t)
	w.sick = true
	w.pass(3)
	w.held = true // the alarm is quiet because nothing is sent
	w.pass(30)
	require.Zero(t, w.lifts, "the answer still names the cause")
	w.pass(40)
	require.Equal(t, 1, w.lifts, "and now it is tried")
	require.NotContains(t, w.told(), "closed")
	require.Len(t, w.did(), 4, "it came back and was contained again: %v", w.told())
}

// A person's lever holds the ill bank back, so that nothing is sent and nothing is wrong:
// whether the bank is well cannot be seen, and the incident says so and stays open until
// the lever is gone and it is quiet without it.
func TestWhatAPersonHoldsBackIsNotRepaired(t *testing.T) {
	t.Parallel()
	w := newWard(t)
	w.answer = named("bank-ab", "down", .9)
	w.sick = true
	w.pass(3)
	w.sick, w.seen = false, []doctor.Reading{held("bank-ab", "pause-dispatch", "2026-01-31T13:00:00Z"), held("bank-cd", "pause-dispatch", "")}
	ours := held("bank-ab", "breaker", "")
	ours.Detail["owner"] = "doctor"
	w.seen = append(w.seen, ours)
	w.pass(60)
	require.NotContains(t, w.told(), "repaired")
	require.NotEmpty(t, w.a.Now().Incident)
	require.Equal(t, 1, count(w.told(), doctor.EntryTold), "it is said once")
	said := w.words()[0]
	require.Equal(t, doctor.HeldBack, said.About)
	require.Equal(t, "operators", said.To)
	for _, part := range []string{"ann", "bank-ab", "pause-dispatch", "2026-01-31T13:00:00Z", "it answers 504", "cannot be seen", "moneta channel test bank-ab", "moneta lever undo"} {
		require.Contains(t, said.Text.EN, part)
	}
	for _, part := range []string{"ann", "bank-ab", "2026-01-31T13:00:00Z", "无法判断", "moneta lever undo"} {
		require.Contains(t, said.Text.ZH, part)
	}
	w.seen = w.seen[1:] // the other bank's is nothing to this one
	w.pass(25)
	require.Equal(t, doctor.LetGo, w.words()[1].About)
	require.NotContains(t, w.told(), "repaired", "it must be quiet without it, too, and long enough for the bank to show")
	w.pass(15)
	require.Contains(t, w.told(), "closed")
	require.Len(t, w.words(), 2)

	for name, c := range map[string]struct {
		node, aim, by string
		hides         bool
	}{
		"everything":               {"bank-ab", "", "read-only", true},
		"everything, and dispatch": {"dispatch", "", "safe-mode", true},
		"a database is seen":       {"postgres", "", "pause-dispatch", false},
		"callers are not":          {"api", "", "read-only", true},
		"callers go on":            {"api", "", "pause-dispatch", false},
		"a lane of dispatch":       {"dispatch", "bank-cd", "breaker", false},
	} {
		w := newWard(t)
		w.answer = named(c.node, "down", .9)
		w.sick = true
		w.pass(3)
		w.sick, w.seen = false, []doctor.Reading{held(c.aim, c.by, "")}
		w.pass(30)
		require.Equal(t, c.hides, !slices.Contains(w.told(), "repaired"), name)
	}
}

// held is a lever of ann's that was pulled since the trouble began.
func held(aim, by, until string) doctor.Reading {
	return doctor.Reading{
		Hop: "dispatch", Signal: doctor.Paused, Statistic: aim, Last: 1, During: doctor.Sample{N: 3},
		Detail: map[string]string{"by": by, "aim": "channel:" + aim, "lever": "7", "owner": "ann", "reason": "it answers 504", "until": until},
	}
}

// A watch that dies while a lever hides the trouble is followed by one that knows so from
// the journal: what was ill went quiet, and that is no health.
func TestWhatIsHiddenStaysSoAfterADeath(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		hop    string
		answer doctor.Answer
	}{
		"an answer was acted on": {"decider", named("bank-ab", "down", .9)},
		"its alarm paged":        {"bank-ab", doctor.Answer{Verdict: doctor.Unknown, Ranked: []doctor.Hypothesis{{Mechanism: "unknown", Posterior: 1}}}},
	} {
		w := newWard(t)
		w.hop, w.answer, w.sick = c.hop, c.answer, true
		w.pass(3)
		w.sick, w.seen = false, []doctor.Reading{held("bank-ab", "pause-dispatch", "2026-01-31T13:00:00Z")}
		dies := func() {
			all, odd := journal.Fold(w.lines)
			require.Empty(t, odd)
			require.Len(t, all, 1)
			w.a = attend.New(w.config(), &all[0])
		}
		dies() // before anybody was told
		w.pass(30)
		require.NotContains(t, w.told(), "repaired", name)
		require.Len(t, w.words(), 1, name)
		dies()
		w.pass(60)
		require.NotContains(t, w.told(), "repaired", name)
		require.Len(t, w.words(), 1, "%s: it is said once", name)
		w.seen = nil
		w.pass(20)
		require.Equal(t, doctor.LetGo, w.words()[1].About, name)
		dies()
		w.pass(5)
		require.NotContains(t, w.told(), "repaired", "%s: it must be quiet without it for half a minute", name)
		w.pass(40)
		require.Contains(t, w.told(), "closed", name)
	}
}

// A lever from before the trouble hides nothing of it, whatever an answer named once.
func TestAnOldLeverHidesNothingNew(t *testing.T) {
	t.Parallel()
	old := held("bank-cd", "pause-dispatch", "")
	old.Before.N = 900
	for name, c := range map[string]struct {
		hop, blamed string
		hides       bool
	}{
		"named once, and wrongly":  {"decider", "postgres", false},
		"acted on, and held by it": {"decider", "bank-cd", false},
		"its own alarm paged":      {"bank-cd", "bank-cd", true},
	} {
		w := newWard(t)
		w.hop, w.sick, w.seen, w.answer = c.hop, true, []doctor.Reading{old}, named("bank-cd", "down", .7)
		w.pass(1)
		w.answer = named(c.blamed, "down", .9)
		w.pass(5)
		w.sick = false
		w.pass(30)
		require.Equal(t, c.hides, !slices.Contains(w.told(), "closed"), name)
	}
}

// Who never lets go does not keep an incident open for ever: it is left to them, as what it
// is, and what is ill then is an incident of its own.
func TestWhatStaysHiddenIsLeftToItsOwner(t *testing.T) {
	t.Parallel()
	w := newWard(t)
	w.sick, w.answer = true, named("bank-ab", "down", .9)
	w.pass(3)
	w.sick, w.seen = false, []doctor.Reading{held("bank-ab", "pause-dispatch", "")}
	w.pass(600)
	require.NotContains(t, w.told(), "closed", "it waits for ten minutes")
	w.pass(60)
	said := w.told()
	require.Contains(t, said, "closed")
	require.NotContains(t, said, "repaired")
	require.NotContains(t, said, "proved")
	all, odd := journal.Fold(w.lines)
	require.Empty(t, odd)
	closing := all[0].Closing
	require.False(t, closing.Clean)
	require.Len(t, closing.Breaks, 1)
	require.Contains(t, closing.Breaks[0], "bank-ab is held back (pause-dispatch channel:bank-ab)")
	require.Equal(t, "ann", closing.Owners[closing.Breaks[0]])
	last := w.words()[1]
	require.Contains(t, last.Text.EN, "closes as held back, not as well")
	require.Contains(t, last.Text.ZH, "ann")
	w.sick = true
	w.pass(3)
	require.Equal(t, 2, count(w.told(), doctor.EntryOpened))

	w = newWard(t) // what the count finds is listed beside it, and must be somebody's too
	w.sick, w.answer, w.proofs = true, named("bank-ab", "down", .9), []doctor.ProofKept{{Found: []string{"payment 7 paid twice"}}}
	w.pass(3)
	w.sick, w.seen = false, []doctor.Reading{held("bank-ab", "pause-dispatch", "")}
	w.pass(900)
	require.NotContains(t, w.told(), "closed")
	w.owned = true
	w.pass(30)
	all, _ = journal.Fold(w.lines)
	require.Len(t, all[0].Closing.Breaks, 2)
}

func count(all []string, what string) (n int) {
	for _, s := range all {
		if s == what {
			n++
		}
	}
	return n
}

// words are what people were told.
func (w *ward) words() (out []doctor.Told) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.lines {
		if e.What == doctor.EntryTold {
			var x doctor.Told
			require.NoError(w.t, json.Unmarshal(e.Data, &x))
			out = append(out, x)
		}
	}
	return out
}

func TestItClosesOnNothingButAProof(t *testing.T) {
	t.Parallel()
	w := newWard(t)
	w.proofs = []doctor.ProofKept{{Found: []string{"payment 7 paid twice"}}}
	w.sick = true
	w.pass(3)
	w.sick = false
	w.pass(1200)
	require.NotContains(t, w.told(), "closed", "a break that nobody owns")
	w.owned = true
	w.pass(30)
	require.Contains(t, w.told(), "closed")
	require.NotContains(t, w.told(), "proved")
}

func TestItGoesOnAfterADeath(t *testing.T) {
	t.Parallel()
	w := newWard(t)
	w.sick = true
	w.pass(2)
	open := &doctor.Incident{ID: w.lines[0].Incident, Since: noon, OpenedAt: w.lines[0].At, Stages: map[doctor.Stage]time.Time{doctor.Detected: noon}}
	w.a = attend.New(w.config(), open)
	w.pass(3)
	w.sick = false
	w.pass(20)
	said := w.told()
	require.Len(t, slices.DeleteFunc(slices.Clone(said), func(s string) bool { return s != "opened" }), 1)
	require.Equal(t, "closed", said[len(said)-1])
}

func TestAFullDiskStopsNeitherEyesNorLaterLines(t *testing.T) {
	t.Parallel()
	w := newWard(t)
	w.sick, w.full = true, true
	w.clock.Advance(time.Second)
	require.ErrorContains(t, w.a.Tick(t.Context()), "no space left")
	require.Len(t, w.a.Now().Alarms, 1, "the alarm is told all the same")
	require.Empty(t, w.did(), "nothing is done that is not written down")
	w.full = false
	w.pass(3)
	require.Len(t, w.did(), 2)
}

// What concerns one person is not contained with what everybody feels.
func TestOnePersonsTroubleIsNotEverybodys(t *testing.T) {
	t.Parallel()
	w := newWard(t)
	w.sick, w.answer.Scope.Class = true, doctor.ScopeOne
	w.pass(10)
	require.Equal(t, []string{"repair database-long-hold"}, w.did())
	lost := newWard(t)
	lost.sick, lost.answer = true, doctor.Answer{Verdict: doctor.Unknown, Ranked: []doctor.Hypothesis{{Mechanism: "unknown", Posterior: .9}}}
	lost.answer.Scope.Class = doctor.ScopeOne
	lost.pass(30)
	require.Len(t, lost.acts, 1)
	require.Len(t, lost.acts[0].Steps, 1)
	require.Equal(t, doctor.DoTell, lost.acts[0].Steps[0].Do)
}

// What was contained by the process before this one is, although that one could not say
// so any more.
func TestWhatHoldsAfterADeathContains(t *testing.T) {
	t.Parallel()
	for _, holds := range []bool{true, false} {
		w := newWard(t)
		w.sick = true
		w.pass(2)
		open := &doctor.Incident{ID: w.lines[0].Incident, Since: noon, OpenedAt: w.lines[0].At, Stages: map[doctor.Stage]time.Time{doctor.Detected: noon}}
		w.sick, w.lines = false, nil
		cfg := w.config()
		cfg.Resume = func(context.Context, string) error { return nil }
		cfg.Holds = func(string) bool { return holds }
		w.a = attend.New(cfg, open)
		w.pass(20)
		require.Equal(t, holds, slices.Contains(w.told(), "contained"), "%v", w.told())
		require.Contains(t, w.told(), "closed")
	}
}

// Who only looks whether it is over does not keep it from being so.
func TestALookDoesNotKeepItOpen(t *testing.T) {
	t.Parallel()
	for _, looks := range []bool{true, false} {
		w := newWard(t)
		cfg := w.config()
		at := make(chan context.Context, 1)
		cfg.Act = func(ctx context.Context, p attend.Plan) (bool, error) {
			if p.Phase == attend.Contain {
				return true, nil
			}
			at <- ctx
			<-ctx.Done() // a check that nothing makes true
			return false, nil
		}
		cfg.Looks = func(string) bool { return looks }
		w.a = attend.New(cfg, nil)
		tick := func() {
			w.clock.Advance(time.Second)
			require.NoError(t, w.a.Tick(t.Context()))
		}
		w.sick = true
		tick()
		tick()
		look := <-at
		w.sick = false
		seconds := 0
		for ; look.Err() == nil; seconds++ {
			require.Less(t, seconds, 60)
			tick()
		}
		require.Equal(t, looks, seconds < 10, "%d s", seconds)
		require.Eventually(t, func() bool { tick(); return slices.Contains(w.told(), "closed") }, 30*time.Second, time.Millisecond)
		w.a.Wait()
	}
}
