package diagnosis

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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
		if paged < 0 && i%4 == 3 {
			all := diagnose.Detect(m.evidence(p.now-1, since, doctor.Symptom{Hop: doctor.HopClient, Signal: doctor.CanaryAge}))
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
	e.Alarms = diagnose.Detect(e)
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
		for _, load := range []float64{.5, 200} {
			for _, strength := range []float64{.4, 1} {
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
		for n := range 4 {
			seed := uint64(10_000 + 10*i + n)
			out = append(out, trial{load: []float64{.5, 200}[n%2], rails: []int{2, 13}[n%2], before: []int{90, 8}[n/2], beside: controls[i], seed: seed})
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
	at      []int
	values  []float64
	detail  map[string]string
	healthy doctor.Sample // summed up once, until cut
	cut     int
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
			if s.cut != cut {
				s.cut = cut
				s.healthy.Value, s.healthy.Spread = middle(s.values[:cut])
			}
			r.Before.Value, r.Before.Spread = s.healthy.Value, s.healthy.Spread
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

// byCausePrior ranks by what is known before any evidence.
func byCausePrior(e *doctor.Evidence, a *doctor.Answer) []string {
	return rankCauses(e, a, func(string, *doctor.Cause) float64 { return 1 })
}

// byOneThreshold gives each cause its single best sign, as a rule of thumb would.
func byOneThreshold(e *doctor.Evidence, a *doctor.Answer) []string {
	return rankCauses(e, a, func(hop string, c *doctor.Cause) float64 {
		var best doctor.Sign
		for _, s := range c.Signs {
			if s.At == "" && s.Yes > best.Yes && s.Above != nil {
				best = s
			}
		}
		for i := range e.Readings {
			r := &e.Readings[i]
			if best.Above != nil && r.Hop == hop && r.Signal == best.Signal && r.During.N > 0 {
				if r.Last > *best.Above {
					return best.Yes
				}
				return best.No
			}
		}
		return 1
	})
}

func rankCauses(e *doctor.Evidence, a *doctor.Answer, times func(hop string, c *doctor.Cause) float64) []string {
	score := map[string]float64{}
	prior := map[string]float64{}
	for _, h := range a.Ranked {
		prior[h.Node] = h.Prior
	}
	for _, h := range e.Hops {
		sum, all := 0.0, catalog.All()
		for i := range all {
			if all[i].Kind == h.Kind {
				sum += all[i].Share[a.Class]
			}
		}
		for i := range all {
			if c := &all[i]; c.Kind == h.Kind {
				score[h.Name+" "+c.Mechanism] = prior[h.Name] * c.Share[a.Class] / sum * times(h.Name, c)
			}
		}
	}
	return ranking(score)
}

// hopsOf are the hops of ranked hypotheses, each once.
func hopsOf(ranked []string) []string {
	var out []string
	for _, name := range ranked {
		hop, _, _ := strings.Cut(name, " ")
		if !slices.Contains(out, hop) {
			out = append(out, hop)
		}
	}
	return out
}

const (
	planeBegin = "<!-- plane: begin; make generate -->\n"
	planeEnd   = "<!-- plane: end -->"
)

// planeReport gathers what the page shows of our own plane.
type planeReport struct {
	methods         [4]tally
	hops            tally
	by              map[string]*tally
	void, uncaused  int
	quiet, blamed   int
	strange, honest int
	single, extra   int
	answers         []judged
	// confused counts, by what was wrong and by what was said of it instead.
	confused map[[2]string]int
}

var planeMethods = [4]string{"priors only", "largest z-score of any metric, the hop alone", "priors and one threshold a cause", "**Moneta**"}

func (r *planeReport) answer(t *testing.T, e *doctor.Evidence) *doctor.Answer {
	t.Helper()
	a, err := diagnose.Diagnose(e, catalog.All()...)
	require.NoError(t, err)
	return a
}

func (r *planeReport) runTrials(t *testing.T) {
	t.Helper()
	for _, tr := range trials() {
		e := tr.run(t)
		if e == nil {
			r.void++ // nobody was hurt
			continue
		}
		if !tr.ill.known(e) {
			r.uncaused++
			continue
		}
		a := r.answer(t, e)
		ranked, label := pairs(a), tr.ill.node+" "+tr.ill.mechanism
		r.methods[0].add(byCausePrior(e, a), label)
		r.methods[1].add(byLargestZ(t, e), tr.ill.node)
		r.methods[2].add(byOneThreshold(e, a), label)
		r.methods[3].add(ranked, label)
		r.hops.add(hopsOf(ranked), tr.ill.node)
		into(r.by, label).add(ranked, label)
		right := ranked[0] == label
		r.answers = append(r.answers, judged{label, diagnose.FeaturesOf(a), right, true})
		r.single++
		if len(a.Also) > 0 {
			r.extra++
			t.Logf("EXTRA %s: %s %s", tr.name(), a.Also[0].Node, a.Also[0].Mechanism)
		}
		if !right {
			t.Logf("MISS %s: %q (%.2f)", tr.name(), ranked[:3], a.Ranked[0].Posterior)
			r.confused[[2]string{label, ranked[0]}]++
			keepEvidence(t, fmt.Sprintf("%s-%d", strings.ReplaceAll(label, " ", "-"), tr.seed), e)
		}
	}
}

func (r *planeReport) runControls(t *testing.T) {
	t.Helper()
	for _, tr := range quietTrials() {
		e := tr.run(t)
		a := r.answer(t, e)
		r.quiet++
		right := a.Verdict == doctor.NoFault
		if a.Verdict == doctor.CauseFound {
			r.blamed++
		}
		if !right {
			t.Logf("CONTROL %s: %q, alarms %v", tr.name(), pairs(a)[:2], e.Alarms)
		}
		r.answers = append(r.answers, judged{"control " + tr.beside.name, diagnose.FeaturesOf(a), right, false})
	}
	for _, tr := range strangeTrials() {
		e := tr.run(t)
		if e == nil {
			continue
		}
		a := r.answer(t, e)
		r.strange++
		right := a.Verdict == doctor.Unknown
		if right {
			r.honest++
		} else {
			t.Logf("STRANGE %s: %q", tr.name(), pairs(a)[:3])
		}
		r.answers = append(r.answers, judged{"strange " + tr.ill.mechanism, diagnose.FeaturesOf(a), right, false})
	}
}

// confusion is which faults were taken for which: what to look at when signs are added.
func (r *planeReport) confusion() string {
	var b strings.Builder
	b.WriteString("what was wrong                 what was said                  times\n")
	keys := slices.SortedFunc(maps.Keys(r.confused), func(x, y [2]string) int {
		return cmp.Or(cmp.Compare(r.confused[y], r.confused[x]), cmp.Compare(x[0], y[0]), cmp.Compare(x[1], y[1]))
	})
	for _, k := range keys {
		fmt.Fprintf(&b, "%-30s %-30s %d\n", k[0], k[1], r.confused[k])
	}
	return b.String()
}

// keepEvidence writes what a miss rests on into the folder MONETA_KEEP, for moneta
// diagnose --replay; without it nothing is kept.
func keepEvidence(t *testing.T, name string, e *doctor.Evidence) {
	t.Helper()
	dir := os.Getenv("MONETA_KEEP")
	if dir == "" {
		return
	}
	f, err := os.Create(filepath.Join(dir, name+".json"))
	require.NoError(t, err)
	require.NoError(t, errors.Join(e.Write(f), f.Close()))
}

func (r *planeReport) tables() string {
	var b strings.Builder
	b.WriteString("| method, hop and cause | cases | top-1 | top-3 | Avg@5 |\n|---|---|---|---|---|\n")
	for i, name := range planeMethods {
		row(&b, name, &r.methods[i])
	}
	row(&b, "Moneta, the hop alone", &r.hops)
	parts(&b, "Moneta, by fault", r.by)
	brier, ece, coverage, precision := calibration(r.answers)
	fmt.Fprintf(&b, "\n%d more runs hurt nobody and are void, %d have no file in the catalogue yet. In %d of %d quiet runs (spikes, batches, a deploy, a report) a hop was blamed. Of %d faults that no catalogue has, %d were called *unknown*. In %d of %d runs with one fault a second one was named.\n",
		r.void, r.uncaused, r.blamed, r.quiet, r.strange, r.honest, r.extra, r.single)
	fmt.Fprintf(&b, "\nOver %d answers, each judged by a calibration that had not seen its fault: Brier %.3f, expected calibration error %.3f; %.0f %% given with .8 or more, %.1f %% of those right.\n",
		len(r.answers), brier, ece, 100*coverage, 100*precision)
	return b.String()
}

func TestOwnPlane(t *testing.T) {
	t.Parallel()
	r := &planeReport{by: map[string]*tally{}, confused: map[[2]string]int{}}
	r.runTrials(t)
	r.runControls(t)
	t.Log("\n" + r.confusion())
	w := fit(r.answers)
	t.Logf("the calibration fits %d answers with %.2f", len(r.answers), w)
	tables := r.tables()
	raw, err := os.ReadFile(page)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(raw), planeBegin)
	require.True(t, ok, "%s lost its mark", page)
	_, after, ok := strings.Cut(rest, planeEnd)
	require.True(t, ok, "%s lost its mark", page)
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(before+planeBegin+tables+planeEnd+after), 0o600))
	}
	t.Log("\n" + tables)
	top1, top3, _ := r.methods[3].figures()
	for i := range 3 {
		other, _, _ := r.methods[i].figures()
		require.Greater(t, top1, other, planeMethods[i])
	}
	require.GreaterOrEqual(t, top1, .93)
	require.GreaterOrEqual(t, top3, .97)
	require.LessOrEqual(t, float64(r.blamed)/float64(r.quiet), .05)
	require.GreaterOrEqual(t, float64(r.honest)/float64(r.strange), .8)
	require.LessOrEqual(t, float64(r.extra)/float64(r.single), .1)
	_, ece, _, _ := calibration(r.answers)
	require.LessOrEqual(t, ece, .10)
}
