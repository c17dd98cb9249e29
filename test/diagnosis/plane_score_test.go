package diagnosis

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/catalog"
	"github.com/moneta-pay/moneta/doctor/diagnose"
)

// trial is one run of the model.
type trial struct {
	ill      *ill
	strength float64
	load     float64
	rails    int
	before   int // s of health that the watch has seen
	beside   distraction
	seed     uint64
}

func (tr trial) name() string {
	what := tr.beside.name
	if tr.ill != nil {
		what = fmt.Sprintf("%s %s ×%.1f, %s", tr.ill.node, tr.ill.mechanism, tr.strength, what)
	}
	return fmt.Sprintf("%s, %g/s, %d rails, %d s before, seed %d", what, tr.load, tr.rails, tr.before, tr.seed)
}

const (
	alarmWithin = 75 // s in which a fault must hurt, or the trial is void
	settleTime  = 3  // s after the alarm until the answer counts
)

// run plays a trial until an alarm pages and a little longer, and returns the evidence;
// nil when nobody was hurt.
func (tr trial) run(t testing.TB) *doctor.Evidence {
	t.Helper()
	p := newPlane(tr.seed, tr.load, tr.rails)
	m := newRecorder(p.rails)
	for range tr.before {
		p.step()
		m.take(p)
	}
	since := p.now
	p.hooks = append(p.hooks, func(p *plane) { tr.beside.turn(p, p.now-since) })
	if tr.ill != nil {
		p.hooks = append(p.hooks, func(p *plane) { tr.ill.turn(p, tr.strength, p.now-since) })
	}
	paged := -1
	var first doctor.Alarm
	for i := range alarmWithin {
		p.step()
		m.take(p)
		if paged < 0 {
			all := detect(m.evidence(p.now-1, since, doctor.Symptom{Hop: doctor.HopClient, Signal: doctor.CanaryAge}))
			if at := slices.IndexFunc(all, func(a doctor.Alarm) bool { return a.Page }); at >= 0 {
				paged, first = i, all[at]
			}
		}
		if paged >= 0 && i >= paged+settleTime {
			break
		}
	}
	if paged < 0 && tr.ill != nil {
		return nil
	}
	symptom := doctor.Symptom{Hop: doctor.HopClient, Signal: doctor.CanaryAge}
	if paged >= 0 {
		symptom = first.Symptom()
		since = max(since, int(first.Since.Sub(midnight).Seconds()))
	}
	e := m.evidence(p.now-1, since, symptom)
	e.Alarms = detect(e)
	if paged >= 0 && !slices.ContainsFunc(e.Alarms, func(a doctor.Alarm) bool { return a.Page }) {
		e.Alarms = append(e.Alarms, first) // an incident stays open for some seconds
	}
	require.NoError(t, e.Validate())
	return e
}

// trials are every ill at several strengths, loads and numbers of rails, warm and just
// started, with something odd beside it.
func trials() []trial {
	var out []trial
	seed := uint64(0)
	for i := range ills {
		for _, load := range []float64{.5, 20, 300} {
			for _, strength := range []float64{.3, 1} {
				seed++
				out = append(out, trial{
					ill: &ills[i], strength: strength, load: load, rails: []int{2, 13}[seed%2], before: []int{90, 90, 8}[seed%3],
					beside: distractions[seed%uint64(len(distractions))], seed: seed,
				})
			}
		}
	}
	return out
}

func quietTrials() []trial {
	var out []trial
	for i := range controls {
		for n := range 6 {
			seed := uint64(10_000 + 10*i + n)
			out = append(out, trial{load: []float64{.5, 20, 300}[n%3], rails: []int{2, 13}[n%2], before: []int{90, 8}[n/3], beside: controls[i], seed: seed})
		}
	}
	return out
}

func strangeTrials() []trial {
	var out []trial
	for i := range strange {
		for n := range 6 {
			seed := uint64(20_000 + 10*i + n)
			out = append(out, trial{ill: &strange[i], strength: 1, load: []float64{.5, 20, 300}[n%3], rails: 2, before: 90, beside: distractions[n], seed: seed})
		}
	}
	return out
}

// recorder keeps points as a watch does, and sums them up.
type recorder struct {
	hops   []doctor.Hop
	calls  []doctor.Call
	series map[seriesKey]*recorded1
}

type seriesKey struct {
	hop, statistic string
	signal         doctor.Signal
}

type recorded1 struct {
	at     []int
	values []float64
	detail map[string]string
}

func newRecorder(rails []*rail) *recorder {
	var names []string
	for _, r := range rails {
		names = append(names, r.name)
	}
	m := &recorder{series: map[seriesKey]*recorded1{}}
	m.hops, m.calls = doctor.Road(names...)
	return m
}

func (m *recorder) take(p *plane) {
	for _, x := range p.points {
		if _, known := x.Signal.Info(); !known {
			continue
		}
		k := seriesKey{x.Hop, x.Statistic, x.Signal}
		if m.series[k] == nil {
			m.series[k] = &recorded1{}
		}
		s := m.series[k]
		s.at, s.values, s.detail = append(s.at, p.now-1), append(s.values, x.Value), x.Detail
	}
}

func (m *recorder) evidence(now, since int, symptom doctor.Symptom) *doctor.Evidence {
	e := &doctor.Evidence{
		Version: doctor.EvidenceVersion, TakenAt: moment(now), Since: moment(since), Symptom: symptom, Hops: m.hops, Calls: m.calls,
	}
	for k, s := range m.series {
		cut, _ := slices.BinarySearch(s.at, since)
		newest := moment(s.at[len(s.at)-1])
		r := doctor.Reading{
			Hop: k.hop, Signal: k.signal, Statistic: k.statistic, Source: "model", StepS: 1, Newest: &newest, Last: s.values[len(s.values)-1], Detail: s.detail,
			Before: doctor.Sample{From: moment(since - 900), Until: moment(since), N: cut},
			During: doctor.Sample{From: moment(since), Until: moment(now), N: len(s.at) - cut},
		}
		if cut > 0 {
			r.Before.Value, r.Before.Spread = middle(s.values[:cut])
		}
		if cut < len(s.at) {
			_, r.During.Spread = middle(s.values[cut:])
			for _, v := range s.values[cut:] {
				r.During.Value += v / float64(len(s.at)-cut)
			}
		}
		e.Readings = append(e.Readings, r)
	}
	e.Sort()
	return e
}

// middle is the median and how far values usually lie from it.
func middle(values []float64) (mid, spread float64) {
	v := slices.Clone(values)
	slices.Sort(v)
	mid = v[len(v)/2]
	for i := range v {
		v[i] = math.Abs(v[i] - mid)
	}
	slices.Sort(v)
	return mid, 1.4826 * v[len(v)/2]
}

// detect: the invariants that a person would page on.
func detect(e *doctor.Evidence) []doctor.Alarm {
	var out []doctor.Alarm
	page := func(r *doctor.Reading, rule doctor.Rule, since float64) {
		out = append(out, doctor.Alarm{
			Rule: rule, Hop: r.Hop, Signal: r.Signal, Statistic: r.Statistic, Page: true, Since: e.TakenAt.Add(-time.Duration(since * float64(time.Second))),
		})
	}
	for i := range e.Readings {
		r := &e.Readings[i]
		if r.Presence(e.TakenAt) == doctor.Stopped || r.During.N == 0 {
			continue
		}
		switch {
		case r.Signal == doctor.CanaryAge && r.Last > 30, r.Signal == doctor.Silence && r.Last > 6:
			page(r, doctor.Beat, r.Last)
		case r.Signal == doctor.Standstill && r.Last > 6, r.Signal == doctor.CallbackAge && r.Last > 8, r.Signal == doctor.LoopSilence && r.Last > 45, r.Signal == doctor.OldestAge && r.Hop == doctor.HopWebhooks && r.Last > 45:
			page(r, doctor.Progress, r.Last)
		case r.Signal == doctor.Orphans && r.Last > 1, r.Signal == doctor.PGNoSpace && r.Last > 0, r.Signal == doctor.PGReadOnly && r.Last > 0:
			page(r, doctor.Progress, 1)
		case r.Signal == doctor.Quarantined && r.Last > 0:
			page(r, doctor.Money, 1)
		case r.Signal == doctor.Up && r.Last == 0 && r.During.Value == 0 && r.During.N > 6:
			page(r, doctor.Beat, float64(r.During.N))
		case r.Signal == doctor.Restarts && r.Before.N > 0 && r.Last-r.Before.Value >= 3:
			page(r, doctor.Beat, 10)
		case r.Signal == doctor.Latency && r.Hop == doctor.HopAPI && r.Statistic == "mean" && r.Before.N > 0 && r.During.Value > max(1, 5*r.Before.Value):
			page(r, doctor.Little, float64(r.During.N))
		case r.Signal == doctor.UnknownItems && r.Last > 20:
			page(r, doctor.Progress, 3)
		case r.Signal == "stuck" && r.Last > 20 && strings.HasPrefix(r.Hop, "dispatch"):
			page(r, doctor.Progress, r.Last)
		}
	}
	return out
}

// known says that the catalogue has the cause.
func (i *ill) known(e *doctor.Evidence) bool {
	var kind doctor.Kind
	for _, h := range e.Hops {
		if h.Name == i.node {
			kind = h.Kind
		}
	}
	_, ok := catalog.ByID(string(kind) + "-" + i.mechanism)
	return ok
}

// pairs are the hypotheses of an answer, hop and mechanism, most probable first.
func pairs(a *doctor.Answer) []string {
	type pair struct {
		name string
		p    float64
	}
	var all []pair
	for _, h := range a.Ranked {
		if h.Node == "" {
			all = append(all, pair{h.Mechanism, h.Posterior})
		}
		for _, m := range h.Mechanisms {
			all = append(all, pair{h.Node + " " + m.Mechanism, m.Posterior})
		}
	}
	slices.SortStableFunc(all, func(x, y pair) int { return cmp.Compare(y.p, x.p) })
	var out []string
	for _, p := range all {
		out = append(out, p.name)
	}
	return out
}

func TestPlane(t *testing.T) {
	t.Parallel()
	var score tally
	by := map[string]*tally{}
	void := 0
	for _, tr := range trials() {
		e := tr.run(t)
		if e == nil {
			void++
			t.Logf("VOID %s", tr.name())
			continue
		}
		if !tr.ill.known(e) {
			continue
		}
		a, err := diagnose.Diagnose(e, catalog.All()...)
		require.NoError(t, err)
		ranked, label := pairs(a), tr.ill.node+" "+tr.ill.mechanism
		score.add(ranked, label)
		into(by, tr.ill.mechanism).add(ranked, label)
		if ranked[0] != label {
			var al []string
			for _, x := range e.Alarms {
				al = append(al, fmt.Sprintf("%s %s %s", x.Hop, x.Signal, x.Statistic))
			}
			t.Logf("MISS %s: %q (%.2f) alarms %q", tr.name(), ranked[:3], a.Ranked[0].Posterior, al[:min(3, len(al))])
		}
	}
	top1, top3, _ := score.figures()
	t.Logf("%d cases, top-1 %.2f, top-3 %.2f, %d void", score.n, top1, top3, void)
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for k := range by {
			if !yield(k) {
				return
			}
		}
	}) {
		a, b, _ := by[name].figures()
		t.Logf("%-20s %3d %.2f %.2f", name, by[name].n, a, b)
	}
	blamed, n := 0, 0
	for _, tr := range quietTrials() {
		e := tr.run(t)
		a, err := diagnose.Diagnose(e, catalog.All()...)
		require.NoError(t, err)
		n++
		if a.Verdict != doctor.NoFault {
			blamed++
			t.Logf("BLAMED %s: %q, %d alarms", tr.name(), pairs(a)[:2], len(e.Alarms))
		}
	}
	t.Logf("%d of %d quiet runs blamed", blamed, n)
	right, n := 0, 0
	for _, tr := range strangeTrials() {
		e := tr.run(t)
		if e == nil {
			t.Logf("VOID %s", tr.name())
			continue
		}
		n++
		a, err := diagnose.Diagnose(e, catalog.All()...)
		require.NoError(t, err)
		if a.Verdict == doctor.Unknown {
			right++
		} else {
			t.Logf("STRANGE %s: %q", tr.name(), pairs(a)[:3])
		}
	}
	t.Logf("%d of %d strange ones unknown", right, n)
}
