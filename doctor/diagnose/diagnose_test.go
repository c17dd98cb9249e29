package diagnose_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/diagnose"
)

var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// road is an evidence under construction; what is not said is as usual.
type road struct{ doctor.Evidence }

func newRoad(symptom doctor.Symptom, hops ...doctor.Hop) *road {
	return &road{doctor.Evidence{
		Version: doctor.EvidenceVersion, TakenAt: noon.Add(10 * time.Minute), Since: noon, Symptom: symptom, Hops: hops,
	}}
}

func (r *road) calls(pairs ...string) *road {
	for i := 0; i < len(pairs); i += 2 {
		r.Calls = append(r.Calls, doctor.Call{From: pairs[i], To: pairs[i+1]})
	}
	return r
}

func (r *road) read(hop, peer string, s doctor.Signal, statistic string, before, during float64) *road {
	newest := noon.Add(9 * time.Minute)
	reading := doctor.Reading{
		Hop: hop, Peer: peer, Signal: s, Statistic: statistic, Source: fmt.Sprintf("%s of %s", s, hop), StepS: 60, Newest: &newest,
		Before: doctor.Sample{From: noon.Add(-time.Hour), Until: noon, N: 60, Value: before, Spread: before / 20},
		During: doctor.Sample{From: noon, Until: noon.Add(10 * time.Minute), N: 10, Value: during},
	}
	for i := range r.Readings {
		if o := &r.Readings[i]; o.Hop == hop && o.Peer == peer && o.Signal == s && o.Statistic == statistic {
			*o = reading
			return r
		}
	}
	r.Readings = append(r.Readings, reading)
	return r
}

// serves gives a hop usual latency, rate and failures.
func (r *road) serves(hop string, latency, rate float64) *road {
	return r.read(hop, "", doctor.Latency, "mean", latency, latency).read(hop, "", doctor.Rate, "", rate, rate).
		read(hop, "", doctor.Errors, "", .001, .001)
}

func (r *road) slower(hop string, by float64) *road {
	for _, o := range r.Readings {
		if o.Hop == hop && o.Signal == doctor.Latency {
			return r.read(hop, "", doctor.Latency, "mean", o.Before.Value, o.Before.Value+by)
		}
	}
	panic("no latency of " + hop)
}

func (r *road) fails(hop string, share float64) *road {
	return r.read(hop, "", doctor.Errors, "", .001, share)
}

func (r *road) answer(t testing.TB) *doctor.Answer {
	t.Helper()
	a, err := diagnose.Diagnose(&r.Evidence)
	require.NoError(t, err)
	return a
}

var slowShop = doctor.Symptom{Hop: "api", Signal: doctor.Latency, Statistic: "mean"}

// shop is a road with a database, a rail, and the rail's other name.
func shop(symptom doctor.Symptom) *road {
	return newRoad(symptom,
		doctor.Hop{Name: "app", Kind: doctor.Client}, doctor.Hop{Name: "api", Kind: doctor.Service}, doctor.Hop{Name: "ledger", Kind: doctor.Service},
		doctor.Hop{Name: "db", Kind: doctor.Database}, doctor.Hop{Name: "psp", Kind: doctor.Channel}, doctor.Hop{Name: "lb", Kind: doctor.Remote},
	).calls("app", "api", "api", "ledger", "api", "psp", "api", "lb", "ledger", "db").
		serves("app", .5, 100).serves("api", .3, 100).serves("ledger", .08, 100).serves("db", .01, 300).serves("psp", .15, 40).serves("lb", .09, 50)
}

func requireFirst(t *testing.T, a *doctor.Answer, node string, mechanisms ...string) {
	t.Helper()
	require.Equal(t, doctor.CauseFound, a.Verdict, "%+v", a.Ranked[:3])
	require.Equal(t, node, a.Ranked[0].Node, "%+v", a.Ranked[:3])
	if len(mechanisms) > 0 {
		require.Contains(t, mechanisms, a.Ranked[0].Mechanism, "%+v", a.Ranked[0])
	}
}

func TestTheHopThatAddsTheWorkIsNamed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, node string
		make       func(r *road)
	}{
		{"database", "db", func(r *road) { r.slower("app", .6).slower("api", .6).slower("ledger", .6).slower("db", .2) }},
		{"service", "ledger", func(r *road) { r.slower("app", .6).slower("api", .6).slower("ledger", .6) }},
		{"rail", "psp", func(r *road) { r.slower("app", .4).slower("api", .4).slower("psp", 1) }},
		{"the symptom's own hop", "api", func(r *road) { r.slower("app", .4).slower("api", .4) }},
		{"not the other name of it", "ledger", func(r *road) { r.slower("api", .6).slower("ledger", .6).slower("lb", 1.2) }},
		{"the other name, when it is alone", "lb", func(r *road) { r.slower("api", .6).slower("lb", 1.2) }},
		{"not what nobody waits for", "ledger", func(r *road) { r.slower("api", .2).slower("ledger", .2).slower("psp", 30) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := shop(slowShop)
			c.make(r)
			requireFirst(t, r.answer(t), c.node)
		})
	}
}

func TestFailuresAreChargedWhereTheyBegin(t *testing.T) {
	t.Parallel()
	r := shop(doctor.Symptom{Hop: "api", Signal: doctor.Errors}).fails("app", .3).fails("api", .3).fails("ledger", .3).fails("db", .1)
	requireFirst(t, r.answer(t), "db", "failing")
}

func TestNothingIsBlamedWhenNothingIsWrong(t *testing.T) {
	t.Parallel()
	a := shop(slowShop).answer(t)
	require.Equal(t, doctor.NoFault, a.Verdict, "%+v", a.Ranked[:3])
	require.Empty(t, a.Also)
	a = shop(slowShop).slower("api", .01).slower("psp", .02).answer(t)
	require.Equal(t, doctor.NoFault, a.Verdict, "noise is no fault: %+v", a.Ranked[:3])
}

func TestWhatNobodyExplainsIsUnknown(t *testing.T) {
	t.Parallel()
	r := newRoad(slowShop, doctor.Hop{Name: "api", Kind: doctor.Service}).serves("api", .3, 100).slower("api", .6)
	for i := range 6 { // each of six explains a sixth
		name := fmt.Sprintf("part%d", i)
		r.Hops = append(r.Hops, doctor.Hop{Name: name, Kind: doctor.Service})
		r.calls("api", name).serves(name, .05, 100).slower(name, .1)
	}
	a := r.answer(t)
	require.Equal(t, doctor.Unknown, a.Verdict, "%+v", a.Ranked[:3])
}

// Missing and stale readings lower the confidence, and never exonerate.
func TestMissingIsNotHealthy(t *testing.T) {
	t.Parallel()
	hidden := func(node string) float64 {
		r := shop(slowShop).slower("api", .6).slower("ledger", .6)
		for i := range r.Readings {
			if o := &r.Readings[i]; node != "" && o.Hop == node {
				o.During.N = 0
			}
		}
		a := r.answer(t)
		for _, h := range a.Ranked {
			if h.Node == "db" {
				return h.Posterior
			}
		}
		return -1
	}
	require.Greater(t, hidden("db"), 2*hidden(""), "silence was taken for health")
	whole, holes := shop(slowShop).slower("api", .6), shop(slowShop).slower("api", .6)
	for i := range holes.Readings {
		if o := &holes.Readings[i]; o.Hop == "db" || o.Hop == "psp" {
			o.During.N = 0
		}
	}
	require.Less(t, holes.answer(t).Confidence.Probability, whole.answer(t).Confidence.Probability)
}

func TestACalleeThatStoppedAnsweringIsNotTakenForIdle(t *testing.T) {
	t.Parallel()
	symptom := doctor.Symptom{Hop: "api", Signal: doctor.Errors}
	dead := shop(symptom).fails("app", .4).fails("api", .4).read("psp", "", doctor.Rate, "", 40, 0)
	for i := range dead.Readings {
		if o := &dead.Readings[i]; o.Hop == "psp" && o.Signal != doctor.Rate {
			o.During.N = 0
		}
	}
	requireFirst(t, dead.answer(t), "psp", "silent", "crash")
	// The negative control: nobody calls it any more, and the fault is elsewhere.
	idle := shop(symptom).fails("app", .4).fails("api", .4).fails("ledger", .4).read("psp", "", doctor.Rate, "", 40, 0)
	requireFirst(t, idle.answer(t), "ledger", "failing")
}

func TestTheCutIsTheLastHopThatKeepsWork(t *testing.T) {
	t.Parallel()
	stale := doctor.Symptom{Hop: "statement", Signal: doctor.OldestAge}
	r := newRoad(stale, doctor.Hop{Name: "outbox", Kind: doctor.Relay}, doctor.Hop{Name: "topic", Kind: doctor.Queue},
		doctor.Hop{Name: "consumer", Kind: doctor.Service}, doctor.Hop{Name: "statement", Kind: doctor.Projection}).
		calls("outbox", "topic", "topic", "consumer", "consumer", "statement")
	flow := func(hop string, in, out float64) {
		r.read(hop, "", doctor.Arrivals, "", 50, in).read(hop, "", doctor.Departures, "", 50, out)
	}
	flow("outbox", 50, 50)
	flow("topic", 50, 0)
	flow("consumer", 0, 0)
	flow("statement", 0, 0)
	r.read("statement", "", doctor.OldestAge, "", 1, 300)
	r.read("topic", "", doctor.OldestAge, "", 1, 300)
	a := r.answer(t)
	require.Equal(t, doctor.Stale, a.Class)
	requireFirst(t, a, "topic", "silent", "backlog")
}

func TestTheWireIsChargedToTheCommonEnd(t *testing.T) {
	t.Parallel()
	r := shop(slowShop).slower("api", .5).slower("app", .5)
	r.read("api", "psp", doctor.Wire, "", .002, 1.2).read("api", "ledger", doctor.Wire, "", .002, .002).
		read("ledger", "db", doctor.Wire, "", .001, .001).read("app", "api", doctor.Wire, "", .01, .01)
	requireFirst(t, r.answer(t), "psp", "wire")
}

func TestWhatIsMeasuredInsideTellsMechanisms(t *testing.T) {
	t.Parallel()
	slowDB := func() *road {
		return shop(slowShop).slower("app", .6).slower("api", .6).slower("ledger", .6).slower("db", .2)
	}
	requireFirst(t, slowDB().read("db", "", doctor.LockWaiters, "", .1, 12).answer(t), "db", "lock")
	requireFirst(t, slowDB().read("db", "", doctor.IOWait, "", .02, .6).read("db", "", doctor.LockWaiters, "", .1, .1).answer(t), "db", "disk")
	requireFirst(t, slowDB().read("db", "", doctor.LockWaiters, "", .1, .1).answer(t), "db", "slow")
}

func TestTwoFaultsAreBothNamed(t *testing.T) {
	t.Parallel()
	a := shop(slowShop).slower("app", 1).slower("api", 1).slower("ledger", .6).slower("db", .2).slower("psp", 1).answer(t)
	named := []string{a.Ranked[0].Node}
	for _, h := range a.Also {
		named = append(named, h.Node)
	}
	require.ElementsMatch(t, []string{"db", "psp"}, named, "%+v", a.Ranked[:3])
	require.Empty(t, shop(slowShop).slower("app", .6).slower("api", .6).slower("ledger", .6).slower("db", .2).answer(t).Also, "a second fault was invented")
}

func TestEveryLineSaysWhatWhenAndHowMuch(t *testing.T) {
	t.Parallel()
	a := shop(slowShop).slower("app", .6).slower("api", .6).slower("ledger", .6).slower("db", .2).answer(t)
	require.NotEmpty(t, a.Evidence.For)
	require.NotEmpty(t, a.Evidence.Against)
	for _, l := range append(a.Evidence.For, a.Evidence.Against...) {
		require.NotEmpty(t, l.Query)
		require.NotEmpty(t, l.Says)
		require.False(t, l.Window.From.IsZero())
		require.NotEqual(t, 1.0, l.LikelihoodRatio)
		require.Equal(t, l.Says, diagnose.Say("en", l.Code, l.Args))
		require.NotEqual(t, l.Says, diagnose.Say("zh", l.Code, l.Args))
	}
	for _, l := range a.Evidence.For {
		require.Greater(t, l.LikelihoodRatio, 1.0)
	}
	require.NotEmpty(t, a.NextChecks)
	for i, c := range a.NextChecks {
		require.Positive(t, c.GainBits)
		require.NotEqual(t, c.Yes, c.No, "a check whose outcome changes nothing")
		require.True(t, i == 0 || a.NextChecks[i-1].BitsPerSecond >= c.BitsPerSecond)
	}
}

func TestScopeByCohorts(t *testing.T) {
	t.Parallel()
	count := func(cohorts ...doctor.Cohort) doctor.Scope {
		r := shop(slowShop).slower("api", .6)
		r.Cohorts = cohorts
		return r.answer(t).Scope
	}
	region := func(value string, affected, total int) doctor.Cohort {
		return doctor.Cohort{Dimension: "region", Value: value, Affected: affected, Total: total}
	}
	s := count(region("cz", 90, 100), region("de", 2, 100), region("at", 1, 100))
	require.Equal(t, "cohort", s.Class)
	require.Equal(t, "cz", s.Cohorts[0].Value)
	require.Less(t, s.Low, s.Share)
	require.Less(t, s.Share, s.High)
	require.Equal(t, "everyone", count(region("cz", 60, 100), region("de", 55, 100), region("at", 62, 100)).Class)
	require.Equal(t, "too_few", count(region("cz", 3, 5), region("de", 0, 4)).Class)
	require.Equal(t, "none", count(region("cz", 0, 50), region("de", 0, 40)).Class)
	user := func(value string, affected, total int) doctor.Cohort {
		return doctor.Cohort{Dimension: "user", Value: value, Affected: affected, Total: total}
	}
	require.Equal(t, "one", count(user("u1", 12, 12), user("u2", 0, 30), user("u3", 0, 30)).Class)

	channel := func(value string, affected, total int) doctor.Cohort {
		return doctor.Cohort{Dimension: "channel", Value: value, Affected: affected, Total: total}
	}
	s = count(user("u1", 12, 12), user("u2", 0, 30), user("u3", 0, 30), channel("bank-a", 12, 30), channel("bank-b", 0, 42))
	require.Equal(t, "one", s.Class, "one user's channel is not the reason: %+v", s)
	s = count(user("u1", 9, 9), user("u2", 8, 9), user("u3", 0, 30), channel("bank-a", 17, 20), channel("bank-b", 0, 28))
	require.Equal(t, "cohort", s.Class)
	require.Equal(t, "bank-a", s.Cohorts[0].Value, "our own machinery comes before the people who use it")
	require.Equal(t, "everyone", count(region("cz", 90, 100), region("de", 60, 100)).Class, "a little more is no cohort")
	require.Equal(t, "too_few", count(region("cz", 2, 100), region("de", 0, 100)).Class)
	require.Equal(t, "everyone", count(region("cz", 30, 60), region("de", 25, 60), doctor.Cohort{Dimension: "hop", Value: "dispatch", Affected: 55, Total: 55}, doctor.Cohort{Dimension: "hop", Value: "holder", Total: 65}).Class,
		"where work is, is not whose it is")
}

// The canaries speak where too few people do.
func TestScopeByCanaries(t *testing.T) {
	t.Parallel()
	paths := func(failing ...string) doctor.Scope {
		r := shop(slowShop).slower("api", .6)
		for _, path := range []string{"bank-a", "bank-b", "internal"} {
			r.read("app", "", doctor.CanaryAge, path, 5, 5)
		}
		for _, path := range failing {
			r.Alarms = append(r.Alarms, doctor.Alarm{Rule: doctor.Beat, Hop: "app", Signal: doctor.CanaryAge, Statistic: path, Page: true})
		}
		return r.answer(t).Scope
	}
	s := paths("bank-b")
	require.Equal(t, "cohort", s.Class)
	require.Equal(t, "bank-b", s.Cohorts[0].Value)
	require.Equal(t, "everyone", paths("bank-a", "bank-b", "internal").Class)
	require.NotEqual(t, "everyone", paths().Class)
}

func TestScopeByQuantiles(t *testing.T) {
	t.Parallel()
	r := shop(slowShop).slower("api", .6).read("api", "", doctor.Latency, "p50", .2, .2).read("api", "", doctor.Latency, "p90", .4, 2)
	s := r.answer(t).Scope
	require.Equal(t, "cohort", s.Class)
	require.InDelta(t, .1, s.Low, 1e-9)
	require.InDelta(t, .5, s.High, 1e-9)
}

// random draws a road of any shape with any readings.
func random(t *rapid.T) *doctor.Evidence {
	n := rapid.IntRange(1, 12).Draw(t, "hops")
	var hops []doctor.Hop
	name := func(i int) string { return fmt.Sprintf("h%d", i) }
	for i := range n {
		hops = append(hops, doctor.Hop{Name: name(i), Kind: rapid.SampledFrom(doctor.Kinds()).Draw(t, "kind")})
	}
	signal := rapid.SampledFrom(doctor.Signals()).Draw(t, "symptom").Signal
	r := newRoad(doctor.Symptom{Hop: name(0), Signal: signal}, hops...)
	seen := map[[2]int]bool{}
	for range rapid.IntRange(0, 2*n).Draw(t, "calls") {
		c := [2]int{rapid.IntRange(0, n-1).Draw(t, "from"), rapid.IntRange(0, n-1).Draw(t, "to")}
		if !seen[c] {
			seen[c] = true
			r.calls(name(c[0]), name(c[1]))
		}
	}
	value := rapid.OneOf(rapid.Just(0.0), rapid.Float64Range(0, 1), rapid.Float64Range(0, 1e15))
	for range rapid.IntRange(0, 6*n).Draw(t, "readings") {
		s := rapid.SampledFrom(doctor.Signals()).Draw(t, "signal").Signal
		r.read(name(rapid.IntRange(0, n-1).Draw(t, "at")), "", s, "", value.Draw(t, "before"), value.Draw(t, "during"))
		last := &r.Readings[len(r.Readings)-1]
		last.Before.N, last.During.N = rapid.IntRange(0, 3).Draw(t, "nb"), rapid.IntRange(0, 3).Draw(t, "nd")
	}
	return &r.Evidence
}

// Whatever the evidence: probabilities are probabilities, the order of collection does
// not show, and the stored evidence gives the same answer byte by byte.
func TestAnyEvidenceHasOneAnswer(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		e := random(rt)
		first, err := diagnose.Diagnose(e)
		require.NoError(rt, err)
		sum := 0.0
		for _, h := range first.Ranked {
			require.GreaterOrEqual(rt, h.Posterior, 0.0)
			sum += h.Posterior
		}
		require.InDelta(rt, 1, sum, 1e-3)
		require.Len(rt, first.Ranked, len(e.Hops)+2)

		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
		rng.Shuffle(len(e.Readings), func(i, j int) { e.Readings[i], e.Readings[j] = e.Readings[j], e.Readings[i] })
		rng.Shuffle(len(e.Hops), func(i, j int) { e.Hops[i], e.Hops[j] = e.Hops[j], e.Hops[i] })
		rng.Shuffle(len(e.Calls), func(i, j int) { e.Calls[i], e.Calls[j] = e.Calls[j], e.Calls[i] })
		var stored bytes.Buffer
		require.NoError(rt, e.Write(&stored))
		replayed, err := doctor.ReadEvidence(&stored)
		require.NoError(rt, err)
		second, err := diagnose.Diagnose(replayed)
		require.NoError(rt, err)
		a, err := json.Marshal(first)
		require.NoError(rt, err)
		b, err := json.Marshal(second)
		require.NoError(rt, err)
		require.Equal(rt, string(a), string(b))
	})
}

func BenchmarkDiagnose(b *testing.B) {
	r := newRoad(slowShop)
	for i := range 50 {
		r.Hops = append(r.Hops, doctor.Hop{Name: fmt.Sprintf("h%02d", i), Kind: doctor.Service})
		r.serves(fmt.Sprintf("h%02d", i), .1, 100)
		if i > 0 {
			r.calls(fmt.Sprintf("h%02d", i/2), fmt.Sprintf("h%02d", i))
		}
	}
	r.Symptom.Hop = "h00"
	r.slower("h00", .4).slower("h20", .4)
	for b.Loop() {
		_, err := diagnose.Diagnose(&r.Evidence)
		require.NoError(b, err)
	}
}
