package diagnose_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/diagnose"
)

// A small catalogue of the test's own.

func above(f float64) *float64 { return &f }

func text(s string) doctor.Text { return doctor.Text{EN: s, ZH: "中文 " + s} }

func oddSign(s doctor.Signal, bound, yes, no float64) doctor.Sign {
	return doctor.Sign{Signal: s, Above: above(bound), Yes: yes, No: no, Met: text("{value} at {hop}"), Unmet: text("only {value}, usual {before}")}
}

func cause(kind doctor.Kind, mechanism string, signs ...doctor.Sign) doctor.Cause {
	return doctor.Cause{
		ID: string(kind) + "-" + mechanism, Kind: kind, Mechanism: mechanism, Name: text(mechanism), Signs: signs,
		Share: map[doctor.Class]float64{doctor.Slow: .2, doctor.Stale: .2},
		Checks: []doctor.Ask{{
			ID: "see-" + mechanism, Ask: text("is it " + mechanism + "?"), Run: "select 1", CostS: 1, ReadOnly: true,
		}},
	}
}

func smallCatalogue() []doctor.Cause {
	root := oddSign(doctor.PGRootIdle, 3, 40, .1)
	root.Met = doctor.Text{EN: "session {pid} has been idle in a transaction for {value} and holds up others", ZH: "会话 {pid} 在事务中空闲 {value} 并阻塞其他会话"}
	foreign := oddSign(doctor.PGRootActive, 3, 30, .1)
	foreign.Where = map[string]string{"application": "!moneta"}
	telling := oddSign(doctor.Up, .5, 1, 1)
	telling.Gone, telling.Above, telling.Yes, telling.No = true, nil, 20, .3
	return []doctor.Cause{
		cause(doctor.Database, "long-hold", root, oddSign(doctor.LockWaiters, 2, 4, .3)),
		cause(doctor.Database, "foreign-locks", foreign, oddSign(doctor.LockWaiters, 2, 4, .3)),
		cause(doctor.Database, "slow-disk", oddSign(doctor.PGFlush, .05, 20, .1)),
		cause(doctor.Service, "pool-leak", oddSign(doctor.PoolIdleHeld, 5, 25, .1), oddSign(doctor.PoolBusy, .9, 6, .2)),
		cause(doctor.Service, "gc-thrash", oddSign(doctor.GC, .3, 30, .1), oddSign(doctor.Latency, .5, 3, .5)),
		cause(doctor.Service, "down", telling),
		cause(doctor.Queue, "loop-hung", oddSign(doctor.LoopSilence, 5, 10, .2), oddSign(doctor.Standstill, 5, 8, .2)),
		cause(doctor.Channel, "timeouts", oddSign(doctor.Timeouts, .05, 30, .1), oddSign(doctor.Unknowns, .05, 6, .3)),
		cause(doctor.Webhook, "endpoint-down", oddSign(doctor.Standstill, 5, 10, .3)),
	}
}

// plane is our own road with everything measured and calm.
func plane(symptom doctor.Symptom) *road {
	hops, calls := doctor.Road("bank-a", "bank-b")
	r := newRoad(symptom, hops...)
	r.Calls = calls
	for _, s := range []doctor.Signal{doctor.PGRootIdle, doctor.PGRootActive, doctor.LockWaiters, doctor.PGFlush} {
		r.last(doctor.HopPostgres, s, 0, nil)
	}
	for _, s := range []doctor.Signal{doctor.PoolIdleHeld, doctor.PoolBusy, doctor.GC, doctor.Latency} {
		r.last(doctor.HopServe, s, .01, nil)
	}
	r.last(doctor.HopServe, doctor.Up, 1, nil)
	for _, hop := range []string{doctor.HopDispatch, doctor.HopTimer, doctor.HopSettle} {
		r.last(hop, doctor.LoopSilence, .1, nil).last(hop, doctor.Standstill, .1, nil)
	}
	r.last(doctor.HopDecider, doctor.Standstill, .1, nil).last(doctor.HopWebhooks, doctor.Standstill, .1, nil)
	for _, hop := range []string{"bank-a", "bank-b"} {
		r.last(hop, doctor.Timeouts, .001, nil).last(hop, doctor.Unknowns, .001, nil)
	}
	return r
}

func (r *road) last(hop string, s doctor.Signal, value float64, detail map[string]string) *road {
	r.read(hop, "", s, "", .01, value)
	for i := range r.Readings {
		if o := &r.Readings[i]; o.Hop == hop && o.Signal == s {
			o.Last, o.Detail = value, detail
		}
	}
	return r
}

func (r *road) pages(hop string, s doctor.Signal) *road {
	r.Alarms = append(r.Alarms, doctor.Alarm{Rule: doctor.Progress, Hop: hop, Signal: s, Page: true, Since: noon})
	return r
}

func (r *road) judged(t testing.TB) *doctor.Answer {
	t.Helper()
	a, err := diagnose.Diagnose(&r.Evidence, smallCatalogue()...)
	require.NoError(t, err)
	return a
}

func (r *road) stuck(hops ...string) *road {
	for _, h := range hops {
		r.last(h, doctor.Standstill, 30, nil).pages(h, doctor.Standstill)
		if h == doctor.HopDispatch || h == doctor.HopTimer || h == doctor.HopSettle {
			r.last(h, doctor.LoopSilence, 30, nil)
		}
	}
	return r
}

var (
	stuckDecider  = doctor.Symptom{Hop: doctor.HopDecider, Signal: doctor.Standstill}
	stuckDispatch = doctor.Symptom{Hop: doctor.HopDispatch, Signal: doctor.Standstill}
)

// locked is a decider, dispatch and settle that wait for a lock, with a full pool.
func locked() *road {
	return plane(stuckDecider).stuck(doctor.HopDecider, doctor.HopDispatch, doctor.HopSettle).
		last(doctor.HopPostgres, doctor.PGRootIdle, 34, map[string]string{"pid": "4711", "since": "2026-01-31T11:00:00Z"}).
		last(doctor.HopPostgres, doctor.LockWaiters, 12, nil).last(doctor.HopServe, doctor.PoolBusy, 1, nil).last(doctor.HopServe, doctor.Latency, 9, nil)
}

// What explains the symptom from far away comes before the hop that shows it.
func TestACauseFarAwayExplainsTheSymptomsOwnHop(t *testing.T) {
	t.Parallel()
	a := locked().judged(t)
	requireFirst(t, a, doctor.HopPostgres, "long-hold")
	require.Equal(t, "database-long-hold", a.Ranked[0].Cause)
	require.Equal(t, "4711", a.Ranked[0].Details["pid"])
	require.InDelta(t, 1, a.Ranked[0].Explains, 1e-9)
	require.Empty(t, a.Also, "an effect was taken for a second fault")
	require.Greater(t, a.Ranked[0].Posterior, .8)
	// The negative control: the same without the lock is the loop's.
	a = plane(stuckDispatch).stuck(doctor.HopDispatch).judged(t)
	requireFirst(t, a, doctor.HopDispatch, "loop-hung")
}

func TestSignsOfOneHopTellItsCausesApart(t *testing.T) {
	t.Parallel()
	foreign := func(application string) *doctor.Answer {
		return plane(stuckDecider).stuck(doctor.HopDecider).last(doctor.HopPostgres, doctor.LockWaiters, 12, nil).
			last(doctor.HopPostgres, doctor.PGRootActive, 60, map[string]string{"application": application}).judged(t)
	}
	requireFirst(t, foreign("report"), doctor.HopPostgres, "foreign-locks")
	require.NotEqual(t, "foreign-locks", foreign("moneta").Ranked[0].Mechanism, "a session of ours was taken for an outsider")
	requireFirst(t, plane(stuckDispatch).stuck(doctor.HopDispatch).last("bank-b", doctor.Timeouts, .3, nil).last("bank-b", doctor.Unknowns, .3, nil).judged(t), "bank-b", "timeouts")
}

func TestAPageThatNothingExplainsIsUnknown(t *testing.T) {
	t.Parallel()
	a := plane(stuckDecider).last(doctor.HopDecider, doctor.Standstill, 30, nil).pages(doctor.HopDecider, doctor.Standstill).judged(t)
	require.Equal(t, doctor.Unknown, a.Verdict, "%+v", a.Ranked[:3])
	// Money that disagrees is not explained by a slow disk.
	off := plane(doctor.Symptom{Hop: doctor.HopServe, Signal: doctor.MoneyOff}).last(doctor.HopServe, doctor.MoneyOff, 1, nil).last(doctor.HopPostgres, doctor.PGFlush, .08, nil)
	off.Alarms = []doctor.Alarm{{Rule: doctor.Money, Hop: doctor.HopServe, Signal: doctor.MoneyOff, Page: true, Since: noon}}
	a = off.judged(t)
	require.Equal(t, doctor.Unknown, a.Verdict, "%+v", a.Ranked[:3])
}

func TestNothingOddIsNoFault(t *testing.T) {
	t.Parallel()
	a := plane(stuckDecider).judged(t)
	require.Equal(t, doctor.NoFault, a.Verdict, "%+v", a.Ranked[:3])
	require.Empty(t, a.Also)
	// Something odd, and nobody is hurt: a spike that pages nobody is no fault.
	a = plane(stuckDecider).last(doctor.HopServe, doctor.PoolBusy, .95, nil).last(doctor.HopServe, doctor.Latency, .8, nil).judged(t)
	require.Equal(t, doctor.NoFault, a.Verdict, "%+v", a.Ranked[:3])
}

// What was not measured says nothing; what has stopped telling is evidence.
func TestUnmeasuredSaysNothingAndSilenceSpeaks(t *testing.T) {
	t.Parallel()
	posterior := func(a *doctor.Answer, hop, mechanism string) float64 {
		for _, h := range a.Ranked {
			for _, m := range h.Mechanisms {
				if h.Node == hop && m.Mechanism == mechanism {
					return m.Posterior
				}
			}
		}
		return 0
	}
	whole := plane(stuckDecider).stuck(doctor.HopDecider, doctor.HopDispatch, doctor.HopSettle)
	blind := plane(stuckDecider).stuck(doctor.HopDecider, doctor.HopDispatch, doctor.HopSettle)
	for i := range blind.Readings {
		if r := &blind.Readings[i]; r.Hop == doctor.HopPostgres {
			r.During.N = 0
		}
	}
	require.Greater(t, posterior(blind.judged(t), doctor.HopPostgres, "long-hold"), 5*posterior(whole.judged(t), doctor.HopPostgres, "long-hold"), "silence was taken for health")

	gone := plane(stuckDecider).stuck(doctor.HopDecider, doctor.HopDispatch, doctor.HopSettle)
	old := noon.Add(-time.Minute)
	for i := range gone.Readings {
		if r := &gone.Readings[i]; r.Hop == doctor.HopServe && r.Signal == doctor.Up {
			r.Newest = &old
		}
	}
	requireFirst(t, gone.judged(t), doctor.HopServe, "down")
}

func TestTwoCausesAreBothNamed(t *testing.T) {
	t.Parallel()
	a := locked().last("bank-b", doctor.Timeouts, .4, nil).last("bank-b", doctor.Unknowns, .4, nil).pages("bank-b", doctor.Unknowns).judged(t)
	named := []string{a.Ranked[0].Cause}
	for _, h := range a.Also {
		named = append(named, h.Cause)
	}
	require.ElementsMatch(t, []string{"database-long-hold", "channel-timeouts"}, named, "%+v", a.Ranked[:3])
}

func TestASignSpeaksItsOwnSentence(t *testing.T) {
	t.Parallel()
	a := locked().judged(t)
	l := a.Evidence.For[0]
	require.Equal(t, "session 4711 has been idle in a transaction for 34 s and holds up others", l.Says)
	require.Equal(t, "会话 4711 在事务中空闲 34 s 并阻塞其他会话", l.SaysZH)
	require.Equal(t, l.SaysZH, diagnose.LineSays("zh", &l))
	require.Equal(t, "s", l.Value.Unit)
	require.InDelta(t, 34, l.Value.Value, 1e-9)
	require.Greater(t, l.LikelihoodRatio, 10.0)
	for _, l := range append(a.Evidence.For, a.Evidence.Against...) {
		require.NotContains(t, l.Says, "{")
		require.NotEmpty(t, l.Query)
	}
	require.NotEmpty(t, a.Evidence.Against)
}

func TestNextChecksAreTheCatalogues(t *testing.T) {
	t.Parallel()
	a := plane(stuckDecider).last(doctor.HopDecider, doctor.Standstill, 30, nil).pages(doctor.HopDecider, doctor.Standstill).judged(t)
	ours := 0
	for _, c := range a.NextChecks {
		if strings.HasPrefix(c.ID, "see-") {
			ours++
			require.Equal(t, "中文 "+c.Ask, c.AskZH)
			require.Equal(t, c.AskZH, diagnose.CheckAsks("zh", &c))
			require.Equal(t, "select 1", c.Run)
		}
	}
	require.Positive(t, ours, "%+v", a.NextChecks)
}

// A catalogue leaves a foreign evidence, where no sign of it can be judged, alone.
func TestForeignEvidenceKeepsTheGenericMechanisms(t *testing.T) {
	t.Parallel()
	r := shop(slowShop).slower("app", .6).slower("api", .6).slower("ledger", .6).slower("db", .2)
	plain, err := json.Marshal(r.answer(t))
	require.NoError(t, err)
	with, err := json.Marshal(r.judged(t))
	require.NoError(t, err)
	require.JSONEq(t, string(plain), string(with))
}

// Where all flows and only single facts are wrong, not everybody is affected because all
// go by the hop that refuses those.
func TestSingleFactsAreNotEverybody(t *testing.T) {
	t.Parallel()
	for rule, want := range map[doctor.Rule]string{doctor.Money: "too_few", doctor.Progress: "everyone"} {
		r := plane(stuckDecider).last(doctor.HopServe, doctor.GC, .9, nil).pages(doctor.HopServe, doctor.GC)
		r.Alarms[0].Rule = rule
		a := r.judged(t)
		requireFirst(t, a, doctor.HopServe, "gc-thrash")
		require.Equal(t, want, a.Scope.Class, rule)
	}
}

// A watch that begins in the middle of the trouble says so, and is not surer than it
// can be; one that has heard what is usual is as sure as ever.
func TestWhoBeganInTheMiddleSaysSo(t *testing.T) {
	t.Parallel()
	sure := locked().judged(t)
	require.Greater(t, sure.Confidence.Probability, .5)
	require.Empty(t, sure.Notes)
	r := locked()
	for i := range r.Readings {
		r.Readings[i].Before = doctor.Sample{}
	}
	a := r.judged(t)
	require.LessOrEqual(t, a.Confidence.Probability, .5)
	require.Len(t, a.Notes, 1)
	require.Contains(t, a.Notes[0], "began in the middle")
}

// A counter says how often since, not how often on average: what began anew twice has
// begun anew twice, although the mean of the window is below one.
func TestACounterIsReadAtItsEnd(t *testing.T) {
	t.Parallel()
	anew := oddSign(doctor.Restarts, 1.5, 40, .1)
	anew.Of = "rise"
	down := oddSign(doctor.PoolIdleHeld, 5, 30, .1)
	r := plane(stuckDecider).stuck(doctor.HopDecider)
	r.read(doctor.HopServe, "", doctor.Restarts, "", 0, .6)
	r.Readings[len(r.Readings)-1].Last = 2
	a, err := diagnose.Diagnose(&r.Evidence, cause(doctor.Service, "crash-loop", anew), cause(doctor.Service, "pool-leak", down))
	require.NoError(t, err)
	requireFirst(t, a, doctor.HopServe, "crash-loop")
}

// Where one comes in two seconds, the usual of a second is none, and one is no flood.
func TestFewEventsAreNoFlood(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		now   float64
		flood bool
	}{{.6, false}, {20, true}} {
		more := oddSign(doctor.Rate, 1.5, 40, .1)
		more.Of = "times"
		refused := oddSign(doctor.Refused, .05, 4, .3)
		r := plane(stuckDecider).stuck(doctor.HopDecider)
		r.read(doctor.HopAPI, "", doctor.Rate, "", 0, c.now)
		rate := &r.Readings[len(r.Readings)-1]
		rate.StepS, rate.Newest = 1, &r.TakenAt
		r.last(doctor.HopAPI, doctor.Refused, .2*c.now, nil)
		a, err := diagnose.Diagnose(&r.Evidence, cause(doctor.Gateway, "overload", more, refused), cause(doctor.Database, "long-hold", oddSign(doctor.PGRootIdle, 3, 40, .1)))
		require.NoError(t, err)
		if c.flood {
			requireFirst(t, a, doctor.HopAPI, "overload")
		} else {
			require.NotEqual(t, doctor.HopAPI, a.Ranked[0].Node, "%v", a.Ranked[0])
		}
	}
}

// What is wrong at a station and shows at one bank alone concerns those who go by that
// bank, and what is done about it is done there.
func TestAStationsTroubleAtOneChannelIsThatChannels(t *testing.T) {
	t.Parallel()
	hops, calls := doctor.Road("bank-a", "bank-b", "bank-c")
	r := newRoad(doctor.Symptom{Hop: "bank-a", Signal: doctor.Stuck}, hops...)
	r.Calls = calls
	for _, bank := range []string{"bank-a", "bank-b", "bank-c"} {
		r.read(bank, "", doctor.Departures, "", 10, 10)
		r.last(bank, doctor.Stuck, .1, nil).last(bank, doctor.BadCallbacks, 0, nil)
	}
	r.last(doctor.HopCallbacks, doctor.BadCallbacks, 6, nil).last("bank-a", doctor.BadCallbacks, 6, nil).last("bank-a", doctor.Stuck, 9, nil).pages("bank-a", doctor.Stuck)
	bad, there := oddSign(doctor.BadCallbacks, .01, 40, .05), oddSign(doctor.BadCallbacks, .01, 35, .3)
	there.At, there.Family = string(doctor.Channel), "there"
	a, err := diagnose.Diagnose(&r.Evidence, cause(doctor.Relay, "signature", bad, there), cause(doctor.Channel, "slow", oddSign(doctor.Latency, 1, 9, .3)))
	require.NoError(t, err)
	requireFirst(t, a, doctor.HopCallbacks, "signature")
	require.Equal(t, "bank-a", a.Ranked[0].Details["channel"])
	require.Equal(t, "cohort", a.Scope.Class)
	require.Equal(t, "bank-a", a.Scope.Cohorts[0].Value)
	r.pages(doctor.HopDecider, doctor.Standstill)
	a, err = diagnose.Diagnose(&r.Evidence, cause(doctor.Relay, "signature", bad, there), cause(doctor.Channel, "slow", oddSign(doctor.Latency, 1, 9, .3)))
	require.NoError(t, err)
	require.NotEqual(t, "cohort", a.Scope.Class, "the writer stands still too: it is not those of one bank")
}

// Where a heart does not beat, the one who was the first to be hurt is not the only one.
func TestNobodyIsAloneWhereAHeartDoesNotBeat(t *testing.T) {
	t.Parallel()
	r := plane(stuckDecider).last(doctor.HopServe, doctor.PoolIdleHeld, 9, nil).last(doctor.HopServe, doctor.PoolBusy, 1, nil).pages(doctor.HopServe, doctor.PoolBusy)
	r.Cohorts = []doctor.Cohort{{Dimension: "account", Value: "84", Affected: 9, Total: 9}, {Dimension: "account", Value: "others", Affected: 0, Total: 90}}
	require.Equal(t, doctor.ScopeOne, r.judged(t).Scope.Class)
	r.Alarms[0].Rule = doctor.Beat
	require.Equal(t, "everyone", r.judged(t).Scope.Class)
}
