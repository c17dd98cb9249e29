package river_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/river"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// road is a wallet with one bank of which everything is heard.
func road(more ...doctor.Reading) *doctor.Evidence {
	e := &doctor.Evidence{TakenAt: noon}
	e.Hops, e.Calls = doctor.Road("bank-st")
	for _, h := range e.Hops {
		e.Readings = append(e.Readings, reading(h.Name, doctor.Busy, "", 0))
	}
	e.Readings = append(e.Readings, reading(doctor.HopDecider, doctor.Checked, "", 2), reading(doctor.HopDecider, doctor.MoneyOff, "invariant", 0))
	e.Readings = append(e.Readings, more...)
	return e
}

func reading(hop string, s doctor.Signal, statistic string, v float64) doctor.Reading {
	at := noon
	return doctor.Reading{Hop: hop, Signal: s, Statistic: statistic, Last: v, Newest: &at, StepS: 1}
}

func standing(lanes ...doctor.Lane) *doctor.Standing { return &doctor.Standing{At: noon, Lanes: lanes} }

func at(t *testing.T, m *river.Map, hop string) *river.Hop {
	t.Helper()
	for i := range m.Hops {
		if m.Hops[i].Name == hop {
			return &m.Hops[i]
		}
	}
	require.Fail(t, "the map lacks "+hop)
	return nil
}

func stuck() doctor.Lane {
	return doctor.Lane{
		Hop: "bank-st", Waiting: 312, Value: map[string]string{"CNY": "4821000"}, Oldest: noon.Add(-4 * time.Minute), In: 3, Stuck: 4 * time.Minute, Usual: time.Second,
	}
}

func paging(hop string) doctor.Alarm {
	return doctor.Alarm{Rule: doctor.Progress, Hop: hop, Signal: doctor.Stuck, Page: true, Since: noon.Add(-3 * time.Minute), Says: "it stands"}
}

func TestTheSentenceOfAStall(t *testing.T) {
	t.Parallel()
	m := river.Build(river.In{Now: noon, Evidence: road(), Standing: standing(stuck()), Alarms: []doctor.Alarm{paging("bank-st")}})
	require.Equal(t, "312 payments (48,210.00 CNY) wait behind bank-st, the oldest for 4 min; no money is lost.", m.Sentence.EN)
	require.Equal(t, "312 笔支付(48,210.00 CNY)滞留在 bank-st,最早一笔已等 4 分钟;资金无丢失。", m.Sentence.ZH)
	require.Equal(t, river.Stalled, m.State)
	require.Equal(t, river.Stalled, at(t, m, "bank-st").State)
	require.Equal(t, river.Fine, at(t, m, doctor.HopDecider).State)
	require.Equal(t, "sound", m.Money.State)
}

// TestNothingIsSaidOfMoneyWithoutAProof: that no money is lost needs checks that ran, that
// found nothing, and a database that was counted.
func TestNothingIsSaidOfMoneyWithoutAProof(t *testing.T) {
	t.Parallel()
	without := func(drop doctor.Signal) *doctor.Evidence {
		e := road()
		kept := e.Readings[:0]
		for _, r := range e.Readings {
			if r.Signal != drop {
				kept = append(kept, r)
			}
		}
		e.Readings = kept
		return e
	}
	late := noon.Add(-time.Minute)
	for name, in := range map[string]river.In{
		"checks not heard":       {Evidence: without(doctor.Checked), Standing: standing(stuck())},
		"findings not heard":     {Evidence: without(doctor.MoneyOff), Standing: standing(stuck())},
		"checks too long ago":    {Evidence: road(reading(doctor.HopDecider, doctor.Checked, "", 600)), Standing: standing(stuck())},
		"an invariant is broken": {Evidence: road(reading(doctor.HopDecider, doctor.MoneyOff, "invariant", 1)), Standing: standing(stuck())},
		"a severe break":         {Evidence: road(reading(doctor.HopRecon, doctor.MoneyOff, "breaks", 2)), Standing: standing(stuck())},
		"payments got lost":      {Evidence: road(reading(doctor.HopDispatch, doctor.Imbalance, "", 1)), Standing: standing(stuck())},
		"nobody counts":          {Evidence: road()},
		"the count is old":       {Evidence: road(), Standing: &doctor.Standing{At: late, Lanes: []doctor.Lane{stuck()}}},
		"nothing at all":         {},
	} {
		in.Now, in.Alarms = noon, []doctor.Alarm{paging("bank-st")}
		m := river.Build(in)
		require.NotEqual(t, "sound", m.Money.State, name)
		require.NotContains(t, strings.ToLower(m.Sentence.EN), "no money is lost", name)
		require.NotContains(t, m.Sentence.ZH, "资金无丢失", name)
		require.NotEmpty(t, m.Sentence.ZH, name)
		require.NotContains(t, m.Sentence.EN+m.Sentence.ZH, "%!", name)
	}
}

// TestSilenceIsNotHealth: what is not heard is unknown, with since when, and never fine.
func TestSilenceIsNotHealth(t *testing.T) {
	t.Parallel()
	e := road()
	old := noon.Add(-20 * time.Second)
	for i := range e.Readings {
		if e.Readings[i].Hop == doctor.HopWebhooks {
			e.Readings[i].Newest = &old
		}
	}
	e.Readings = append(e.Readings, reading(doctor.HopWebhooks, doctor.Silence, "collector money", 20)) // of us, not of it
	m := river.Build(river.In{Now: noon, Evidence: e, Standing: standing()})
	h := at(t, m, doctor.HopWebhooks)
	require.Equal(t, river.Unknown, h.State)
	require.Equal(t, old, h.Since)
	require.Equal(t, "What is heard is well, but nothing is heard of the webhooks; no money is lost.", m.Sentence.EN)

	m = river.Build(river.In{Now: noon, Evidence: road()})
	require.Equal(t, river.Unknown, at(t, m, "bank-st").State, "nobody counts what waits there")
	require.Equal(t, river.Fine, at(t, m, doctor.HopAPI).State)

	m = river.Build(river.In{Now: noon.Add(time.Minute), Evidence: road(), Standing: standing()})
	require.Equal(t, river.Unknown, m.State)
	require.Equal(t, "Nothing has been heard from the wallet since 12:00:00 UTC; nobody knows how it is now.", m.Sentence.EN)
	m = river.Build(river.In{Now: noon})
	require.Equal(t, river.Unknown, m.State)
	require.Equal(t, "Nothing has been heard from the wallet yet.", m.Sentence.EN)

	m = river.Build(river.In{Now: noon, Evidence: road(reading(doctor.HopServe, doctor.Up, "", 0)), Standing: standing()})
	require.Equal(t, river.Stalled, at(t, m, doctor.HopServe).State)
	require.Contains(t, m.Sentence.EN, "serve does not answer")
}

// With the database gone the sentence says what stands, and no probe's name: nothing is
// counted, so that what was counted last is told with its time.
func TestADatabaseThatDoesNotAnswerIsSaidInPlainWords(t *testing.T) {
	t.Parallel()
	e := road(reading(doctor.HopPostgres, doctor.Up, "", 0))
	edge := paging(doctor.HopAPI)
	edge.Says = "api readyz does not answer"
	old := standing(stuck())
	old.At = noon.Add(-20 * time.Second)
	m := river.Build(river.In{Now: noon, Evidence: e, Standing: old, Alarms: []doctor.Alarm{edge}})
	require.Equal(t, river.Stalled, m.State)
	require.Equal(t, "The database does not answer: nothing new is taken in, and no payment moves on; 312 payments (48,210.00 CNY) were under way when they were last counted, at 11:59:40 UTC, "+
		"and in the books their money is where it was then; what a bank was sent before may still happen; whether the books agree is not known while the database is not heard.", m.Sentence.EN)
	require.Equal(t, "数据库没有应答:不受理新支付,也没有支付继续处理;最近一次统计(11:59:40 UTC)时有 312 笔在途(48,210.00 CNY),账簿中这些资金仍在当时的位置;此前已发给银行的仍可能发生;数据库没有应答期间,账目是否一致尚不清楚。", m.Sentence.ZH)
	require.Equal(t, river.Stalled, at(t, m, doctor.HopPostgres).State)
	require.Equal(t, "the database does not answer", at(t, m, doctor.HopPostgres).Why.EN)

	m = river.Build(river.In{Now: noon, Evidence: e, Alarms: []doctor.Alarm{edge}})
	require.NotContains(t, m.Sentence.EN, "readyz")
	require.Contains(t, m.Sentence.EN, "The database does not answer: nothing new is taken in")
	require.NotContains(t, m.Sentence.EN, "0 payments", "nobody ever counted")

	m = river.Build(river.In{Now: noon, Evidence: e, Standing: old}) // only we do not reach it
	require.Contains(t, m.Sentence.EN, "The database does not answer the doctor: what waits cannot be counted")
	require.NotContains(t, m.Sentence.EN, "nothing new is taken in")
	m = river.Build(river.In{Now: noon, Evidence: e, Standing: standing(stuck()), Alarms: []doctor.Alarm{edge}})
	require.NotContains(t, m.Sentence.EN, "The database does not answer", "somebody has just counted in it")
}

func TestWaterBeforeItWakesAnybody(t *testing.T) {
	t.Parallel()
	l := stuck()
	l.Stuck = 12 * time.Second
	m := river.Build(river.In{Now: noon, Evidence: road(), Standing: standing(l)})
	require.Equal(t, river.Waiting, at(t, m, "bank-st").State)
	require.Contains(t, m.Sentence.EN, "At bank-st: the oldest waits for 12 s, longer than usual")

	l.Stuck = 3 * time.Second
	m = river.Build(river.In{Now: noon, Evidence: road(), Standing: standing(l)})
	require.Equal(t, river.Fine, at(t, m, "bank-st").State)

	l.Overdue = 1
	m = river.Build(river.In{Now: noon, Evidence: road(), Standing: standing(l)})
	require.Contains(t, at(t, m, "bank-st").Why.EN, "1 payment is past the deadline")

	paused := reading(doctor.HopDispatch, doctor.Paused, "bank-st", 1)
	paused.Detail = map[string]string{"by": "pause-dispatch", "aim": "channel:bank-st", "owner": "ann", "reason": "a test", "lever": "lev_1"}
	m = river.Build(river.In{Now: noon, Evidence: road(paused), Standing: standing(doctor.Lane{Hop: doctor.HopDispatch, Channel: "bank-st", Waiting: 2, Value: map[string]string{"CZK": "5", "JPY": "1200"}, Paused: true})})
	require.Equal(t, "At dispatch: held back on purpose by ann (channel:bank-st): a test – 2 payments wait (0.05 CZK + 1,200 JPY); no money is lost.", m.Sentence.EN)
}

// TestADatabaseHoldsEverythingBack: behind what all stands on, all of it waits; the answer
// says where, and what is at other banks does not stand behind one.
func TestWhatStandsBehindAHop(t *testing.T) {
	t.Parallel()
	lanes := standing(
		doctor.Lane{Hop: doctor.HopDispatch, Channel: "bank-st", Waiting: 5, Value: map[string]string{"CZK": "500"}, Oldest: noon.Add(-time.Minute)},
		doctor.Lane{Hop: doctor.HopDispatch, Channel: "bank-ab", Waiting: 7, Value: map[string]string{"CZK": "700"}, Oldest: noon.Add(-time.Second)},
		doctor.Lane{Hop: "bank-st", Waiting: 1, Value: map[string]string{"CZK": "100"}, Oldest: noon.Add(-time.Hour)},
	)
	m := river.Build(river.In{Now: noon, Evidence: road(), Standing: lanes, Alarms: []doctor.Alarm{paging("bank-st"), paging(doctor.HopDispatch)}, Incident: "inc-1", Answer: &doctor.Answer{
		Verdict: doctor.CauseFound, Ranked: []doctor.Hypothesis{{Node: "bank-st"}},
	}})
	require.Contains(t, m.Sentence.EN, "6 payments (6.00 CZK) wait behind bank-st, the oldest for 1 h;")
	two := road()
	two.Hops = append(two.Hops, doctor.Hop{Name: "bank-ab", Kind: doctor.Channel})
	two.Readings = append(two.Readings, reading("bank-ab", doctor.Busy, "", 0))
	m = river.Build(river.In{Now: noon, Evidence: two, Standing: lanes, Alarms: []doctor.Alarm{paging("bank-st"), paging("bank-ab")}})
	require.Contains(t, m.Sentence.EN, "7 payments (7.00 CZK) wait behind bank-ab, the oldest for 1 s; 1 more stall elsewhere; no money is lost.")
	m = river.Build(river.In{Now: noon, Evidence: road(), Standing: lanes, Alarms: []doctor.Alarm{paging(doctor.HopPostgres)}})
	require.Contains(t, m.Sentence.EN, "13 payments (13.00 CZK) wait behind the database")
	require.EqualValues(t, 13, m.Open.Items)
	require.Equal(t, "inc-1", river.Build(river.In{Now: noon, Evidence: road(), Standing: standing(), Incident: "inc-1", Stage: doctor.Repaired}).Incident.ID)
}

func TestFlows(t *testing.T) {
	t.Parallel()
	m := river.Build(river.In{Now: noon, Evidence: road(reading(doctor.HopAPI, doctor.Rate, "payments", 10)), Standing: standing(
		doctor.Lane{Hop: doctor.HopDispatch, Channel: "bank-st", In: 4, Out: 3},
		doctor.Lane{Hop: "bank-st", In: 5, Out: 2.5},
		doctor.Lane{Hop: doctor.HopSettle, Channel: "bank-st", In: 1, Out: .5},
	)})
	got := map[string]float64{}
	for _, f := range m.Flows {
		got[f.From+">"+f.To] = f.Per
	}
	require.Equal(t, map[string]float64{
		"api>decider": 10, "decider>dispatch": 4, "decider>final": 4, "dispatch>bank-st": 3, "bank-st>settle": 1, "bank-st>callbacks": 1.5, "callbacks>final": 1.5, "settle>final": .5,
	}, got)
	require.Equal(t, "All is well: 10 payments a second come in and nothing waits longer than usual; no money is lost.", m.Sentence.EN)
}

func TestTheKeeperRemembers(t *testing.T) {
	t.Parallel()
	k := river.NewKeeper()
	require.Nil(t, k.Newest())
	then, err := k.At(noon)
	require.NoError(t, err)
	require.Nil(t, then)
	put := func(after time.Duration, alarms ...doctor.Alarm) *river.Map {
		now := noon.Add(after)
		e := road()
		for i := range e.Readings {
			e.Readings[i].Newest = &now
		}
		s := standing(stuck())
		s.At = now
		s.Lanes[0].Stuck = 0
		m := river.Build(river.In{Now: now, Evidence: e, Standing: s, Alarms: alarms})
		require.NoError(t, k.Put(m))
		return m
	}
	for i := range 1200 {
		m := put(time.Duration(i) * time.Second)
		require.Equal(t, noon, at(t, m, "bank-st").Since, "it is fine since the beginning")
		require.Equal(t, noon, m.Since)
	}
	a := paging("bank-st")
	a.Since = noon.Add(1190 * time.Second)
	require.Equal(t, a.Since, at(t, put(1200*time.Second, a), "bank-st").Since)
	require.Equal(t, a.Since, at(t, put(1201*time.Second, a), "bank-st").Since)

	var m river.Map
	raw, err := k.At(noon.Add(700*time.Second + 300*time.Millisecond))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &m))
	require.Equal(t, noon.Add(700*time.Second), m.At)
	raw, err = k.At(noon.Add(100 * time.Second))
	require.NoError(t, err)
	require.Nil(t, raw, "older than what is kept")
	require.NoError(t, json.Unmarshal(k.Newest(), &m))
	require.Equal(t, river.Stalled, m.State)

	h := k.History()
	require.InDelta(t, 181, len(h.At), 2)
	c := h.Hops["bank-st"]
	require.Len(t, c.Waiting, len(h.At))
	require.EqualValues(t, 312, *c.Waiting[0])
	require.Nil(t, h.Hops[doctor.HopAPI].Waiting[0], "nothing is counted there")
	require.Equal(t, river.Fine, h.Worst[0])
}
