package drill

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
)

var faultAt = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// story is a journal, written second by second after the fault.
type story struct {
	t       *testing.T
	entries []doctor.Entry
}

func (s *story) tell(after float64, what string, data any) *story {
	s.t.Helper()
	raw, err := json.Marshal(data)
	require.NoError(s.t, err)
	s.entries = append(s.entries, doctor.Entry{
		Seq: uint64(len(s.entries) + 1), At: faultAt.Add(time.Duration(after * float64(time.Second))), Incident: "inc_1", What: what, Who: "doctor", Data: raw,
	})
	return s
}

func (s *story) did(after float64, a doctor.Act) *story {
	return s.tell(after, doctor.EntryDone, doctor.Done{Act: a, Change: doctor.Change{Reach: doctor.Undoable, Items: 1}})
}

func answered(node, mechanism, scope string) doctor.Answer {
	return doctor.Answer{
		Verdict: doctor.CauseFound, Scope: doctor.Scope{Class: scope}, Confidence: doctor.Confidence{Probability: 0.9},
		Ranked: []doctor.Hypothesis{{Node: node, Mechanism: mechanism, Posterior: 0.9}, {Node: "serve", Mechanism: "frozen"}, {Node: "api", Mechanism: "overload"}},
		Evidence: doctor.Lines{For: []doctor.Line{{
			Node: node, Query: "select 1", Value: doctor.Figure{Value: 5, N: 3}, Baseline: doctor.Figure{Value: 0, N: 9}, Window: doctor.Window{Until: faultAt.Add(9 * time.Second)},
		}}},
	}
}

// good is the journal of a doctor that does everything right in a long-hold.
func good(t *testing.T) *story {
	t.Helper()
	s := &story{t: t}
	return s.tell(2, doctor.EntryOpened, doctor.Opening{Alarm: doctor.Alarm{Page: true, Says: "nothing leaves"}}).
		tell(3, doctor.EntryAnswer, answered("postgres", "long-hold", "everyone")).
		did(4, doctor.Act{Do: "terminate-session", Aim: "postgres", With: map[string]string{"pid": "77"}}).
		tell(6, doctor.EntryStage, doctor.StageReached{Stage: doctor.Repaired}).
		tell(20, doctor.EntryProof, doctor.ProofKept{Clean: true}).
		tell(20, doctor.EntryStage, doctor.StageReached{Stage: doctor.Proved})
}

func judged(t *testing.T, name string, s *story, row Row) Row {
	t.Helper()
	d := Find(name)
	require.NotNil(t, d)
	judge(&record{drill: d, values: map[string]string{"pid": "77", "channel": "bank-ab"}, fault: faultAt, heal: faultAt.Add(12 * time.Second), entries: s.entries}, &row)
	return row
}

func TestEverythingRightIsAHundredPoints(t *testing.T) {
	t.Parallel()
	row := judged(t, "long-hold", good(t), Row{})
	require.Equal(t, 100, row.Points, "%+v", row.Parts)
	require.True(t, row.Top1 && row.Top3 && row.Scope && row.Node)
	require.InDelta(t, 2, *row.DetectS, 0)
	require.InDelta(t, 4, *row.ContainS, 0)
	require.InDelta(t, 8, *row.ProofS, 0)
	require.Empty(t, row.Harmful)
}

func TestAHarmfulActIsWorthNothing(t *testing.T) {
	t.Parallel()
	s := good(t).did(8, doctor.Act{Do: "terminate-session", Aim: "postgres", With: map[string]string{"pid": "78"}})
	row := judged(t, "long-hold", s, Row{})
	require.Zero(t, row.Points)
	require.Equal(t, []string{"terminate-session postgres"}, row.Harmful)

	row = judged(t, "long-hold", good(t).did(8, doctor.Act{Do: "restart-process", Aim: "serve"}), Row{})
	require.Zero(t, row.Points, "the process was well")
	row = judged(t, "frozen-serve", (&story{t: t}).did(4, doctor.Act{Do: "restart-process", Aim: "serve"}), Row{})
	require.Empty(t, row.Harmful, "there it is the repair")
	require.Equal(t, pointsRepair, row.Parts["repair"])
}

func TestMoneyThatIsOffIsWorthNothing(t *testing.T) {
	t.Parallel()
	require.Zero(t, judged(t, "long-hold", good(t), Row{Invariants: []string{"sum"}}).Points)
}

func TestNothingToldIsWorthNothing(t *testing.T) {
	t.Parallel()
	row := judged(t, "long-hold", &story{t: t}, Row{})
	require.Zero(t, row.Points)
	require.Nil(t, row.DetectS)
}

func TestWhatWasToldBeforeTheFaultDoesNotCount(t *testing.T) {
	t.Parallel()
	s := (&story{t: t}).tell(-3, doctor.EntryOpened, doctor.Opening{}).tell(-2, doctor.EntryAnswer, answered("postgres", "long-hold", "everyone")).
		did(-1, doctor.Act{Do: "terminate-session", With: map[string]string{"pid": "77"}})
	require.Zero(t, judged(t, "long-hold", s, Row{}).Points)
}

func TestAnAnswerAfterTheHealDoesNotReplaceTheOneThatStood(t *testing.T) {
	t.Parallel()
	s := good(t).tell(15, doctor.EntryAnswer, answered("serve", "frozen", "one"))
	require.True(t, judged(t, "long-hold", s, Row{}).Top1)
	wrong := (&story{t: t}).tell(3, doctor.EntryAnswer, answered("serve", "frozen", "one")).tell(15, doctor.EntryAnswer, answered("postgres", "long-hold", "everyone"))
	row := judged(t, "long-hold", wrong, Row{})
	require.False(t, row.Top1)
	require.False(t, row.Scope)
}

func TestThirdPlaceHasHalfThePoints(t *testing.T) {
	t.Parallel()
	s := (&story{t: t}).tell(3, doctor.EntryAnswer, answered("dispatch", "loop-hung", "everyone"))
	row := judged(t, "frozen-serve", s, Row{})
	require.False(t, row.Top1)
	require.True(t, row.Top3)
	require.Equal(t, pointsTop3, row.Parts["cause"])
}

func TestEvidenceThatDidNotMoveIsNone(t *testing.T) {
	t.Parallel()
	a := answered("postgres", "long-hold", "everyone")
	a.Evidence.For = append(a.Evidence.For, doctor.Line{Node: "postgres", Query: "select 2", Value: doctor.Figure{Value: 5, N: 3}, Baseline: doctor.Figure{Value: 5, N: 9}, Window: a.Evidence.For[0].Window})
	require.InDelta(t, 0.5, moved(&a, faultAt), 1e-9)
	a.Evidence.For[0].Window.Until = faultAt.Add(-time.Second)
	require.Zero(t, moved(&a, faultAt), "a window that ended before the fault says nothing of it")
}

func TestAControlIsWorthEverythingUntilSomebodyActs(t *testing.T) {
	t.Parallel()
	require.Equal(t, 100, judged(t, "control-spike", &story{t: t}, Row{}).Points)
	quiet := (&story{t: t}).tell(2, doctor.EntryOpened, doctor.Opening{}).did(3, doctor.Act{Do: "check"})
	require.Equal(t, 100, judged(t, "control-spike", quiet, Row{}).Points, "to look is no act, and no page wakes nobody")
	acted := (&story{t: t}).did(3, doctor.Act{Do: "lever", With: map[string]string{"lever": "banner"}})
	row := judged(t, "control-spike", acted, Row{})
	require.Zero(t, row.Points)
	require.Len(t, row.Harmful, 1)
	paged := (&story{t: t}).tell(2, doctor.EntryOpened, doctor.Opening{Alarm: doctor.Alarm{Page: true}})
	row = judged(t, "control-spike", paged, Row{})
	require.Zero(t, row.Points)
	require.Equal(t, 1, row.FalsePages)
}

func TestAFaultOutsideIsRepairedByItsEnd(t *testing.T) {
	t.Parallel()
	s := (&story{t: t}).tell(2, doctor.EntryOpened, doctor.Opening{}).tell(30, doctor.EntryStage, doctor.StageReached{Stage: doctor.Repaired})
	require.Equal(t, pointsRepair, judged(t, "callbacks-lost", s, Row{}).Parts["repair"])
	late := (&story{t: t}).tell(60, doctor.EntryStage, doctor.StageReached{Stage: doctor.Repaired})
	require.Zero(t, judged(t, "callbacks-lost", late, Row{}).Parts["repair"])
	require.Zero(t, judged(t, "frozen-serve", s, Row{}).Parts["repair"], "that one has to be repaired by an act")
}

func TestToCallItOverWhileItStandsIsNoRepair(t *testing.T) {
	t.Parallel()
	early := (&story{t: t}).tell(2, doctor.EntryOpened, doctor.Opening{}).tell(5, doctor.EntryStage, doctor.StageReached{Stage: doctor.Repaired}).
		tell(6, doctor.EntryProof, doctor.ProofKept{Clean: true})
	row := judged(t, "callbacks-lost", early, Row{})
	require.Zero(t, row.Parts["repair"])
	require.Zero(t, row.Parts["proof"])
	require.Nil(t, row.ProofS)
	again := early.tell(14, doctor.EntryStage, doctor.StageReached{Stage: doctor.Repaired}).tell(15, doctor.EntryProof, doctor.ProofKept{Clean: true})
	row = judged(t, "callbacks-lost", again, Row{})
	require.Equal(t, pointsRepair+pointsProof, row.Parts["repair"]+row.Parts["proof"])
	require.InDelta(t, 3, *row.ProofS, 0)
}

func TestDrillsAreWhole(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, d := range All() {
		require.False(t, names[d.Name], d.Name)
		names[d.Name] = true
		require.NotEmpty(t, d.About.EN, d.Name)
		require.NotEmpty(t, d.About.ZH, d.Name)
		require.NotNil(t, d.Inject, d.Name)
		require.Contains(t, worlds, d.World, d.Name)
		if d.Control() {
			continue
		}
		require.NotEmpty(t, d.Truth.Pairs, d.Name)
		require.NotEmpty(t, d.Truth.Scope, d.Name)
		require.NotEmpty(t, d.Truth.Harmful, d.Name)
		require.Positive(t, d.Least, d.Name)
		for _, m := range d.Truth.Repair {
			require.False(t, m.equalsNothing(), "%s: an act of any kind would count as the repair", d.Name)
		}
	}
}

func (m Match) equalsNothing() bool { return m.Do == "" && m.Aim == "" && len(m.With) == 0 }
