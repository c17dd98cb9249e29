package diagnosis

import (
	"cmp"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/diagnose"
)

var update = flag.Bool("update", false, "write the tables of docs/diagnosis.md")

const page = "../../docs/diagnosis.md"

// judged is one answer with whether it was right, for the calibration.
type judged struct {
	family   string
	features diagnose.Features
	right    bool
	cause    bool // the answer named a hop
}

// report gathers what the page shows.
type report struct {
	recorded, planted []tally
	bySymptom         map[string]*tally
	byLoad            map[string]*tally
	byStrength        map[string]*tally
	byRoot            map[string]*tally
	byHoles           map[string]*tally
	shifts            []tally
	controls, blamed  int
	single, invented  int // incidents with one fault; those where a second one was named
	answers           []judged
}

// shifts of the fault time, in seconds.
var shifts = []int{-300, -60, -30, 30, 60, 300}

func into(m map[string]*tally, key string) *tally {
	if m[key] == nil {
		m[key] = &tally{}
	}
	return m[key]
}

func (r *report) judge(t *testing.T, family, label string, e *doctor.Evidence) []string {
	t.Helper()
	a, err := diagnose.Diagnose(e)
	require.NoError(t, err)
	var ranked []string
	for _, h := range a.Ranked {
		ranked = append(ranked, h.Node)
	}
	right := ranked[0] == label
	if label != "" {
		r.single++
		if len(a.Also) > 0 {
			r.invented++
		}
	}
	if label == "" {
		right = a.Verdict == doctor.NoFault
	}
	r.answers = append(r.answers, judged{family, diagnose.FeaturesOf(a), right, a.Verdict == doctor.CauseFound})
	return ranked
}

func (r *report) runRecorded(t *testing.T) {
	t.Helper()
	cases, labels := recordedCases(t)
	r.recorded, r.shifts = make([]tally, len(methods)), make([]tally, len(shifts))
	for _, c := range cases {
		d := c.directory(t, 0)
		e := evidence(t, d)
		for i, m := range methods {
			r.recorded[i].add(m.rank(t, e), labels[c.ID])
		}
		ranked := r.judge(t, "recorded", labels[c.ID], e)
		into(r.bySymptom, c.SymptomMetric).add(ranked, labels[c.ID])
		load, _, _ := strings.Cut(c.Metrics, "/")
		into(r.byLoad, load).add(ranked, labels[c.ID])
		for i, s := range shifts {
			shifted := *d
			shifted.Incident.FaultTime.Time = d.Incident.FaultTime.Add(time.Duration(s) * time.Second)
			e, err := shifted.Evidence()
			require.NoError(t, err)
			r.shifts[i].add(byEngine(t, e), labels[c.ID])
		}
	}
}

func (r *report) runPlanted(t *testing.T, tr *traffic) {
	t.Helper()
	if r.planted == nil {
		r.planted = make([]tally, len(methods))
	}
	for _, p := range plants(tr) {
		e, err := p.directory(t).Evidence()
		require.NoError(t, err)
		for i, m := range methods {
			r.planted[i].add(m.rank(t, e), p.root)
		}
		ranked := r.judge(t, p.root, p.root, e)
		kind := fmt.Sprintf("mean latency +%.0f %%", 100*p.strength)
		if p.failing {
			kind = fmt.Sprintf("failures +%.0f points", 100*p.strength)
		}
		into(r.byStrength, kind).add(ranked, p.root)
		switch {
		case p.holes == 0:
			into(r.byHoles, "whole").add(ranked, p.root)
		case p.dark(p.root):
			into(r.byHoles, "nodes went dark, the one at fault among them").add(ranked, p.root)
		default:
			into(r.byHoles, "nodes went dark, not the one at fault").add(ranked, p.root)
		}
		into(r.byRoot, p.root).add(ranked, p.root)
		if ranked[0] != p.root {
			t.Logf("%s, %s, %s: %q", tr.name, p.root, kind, ranked[:3])
		}
	}
	for seed := range uint64(40) {
		e, err := plant{traffic: tr, failing: seed%2 == 1, seed: seed}.directory(t).Evidence()
		require.NoError(t, err)
		r.controls++
		if first := r.judge(t, "none, "+tr.name, "", e)[0]; first != "" {
			r.blamed++
			t.Logf("%s, seed %d: nothing was wrong, and %s was blamed", tr.name, seed, first)
		}
	}
}

// fit is a logistic by Newton's method with a little ridge, which keeps weights finite
// where the features part right from wrong without a rest.
func fit(all []judged) [5]float64 {
	var w [5]float64
	for range 30 {
		var g [5]float64
		var h [5][5]float64
		for _, j := range all {
			x := [5]float64{1, j.features.Top, j.features.Margin, j.features.Families, j.features.Missing}
			p := probability(w, j.features)
			miss := p
			if j.right {
				miss--
			}
			for i := range g {
				g[i] += miss * x[i]
				for k := range g {
					h[i][k] += p * (1 - p) * x[i] * x[k]
				}
			}
		}
		for i := range g {
			g[i] += ridge * w[i]
			h[i][i] += ridge
		}
		step := solve(h, g)
		for i := range w {
			w[i] -= step[i]
		}
	}
	return w
}

const ridge = .5

// solve is Gaussian elimination; the ridge keeps the matrix positive definite.
func solve(a [5][5]float64, b [5]float64) [5]float64 {
	for i := range b {
		for k := i + 1; k < len(b); k++ {
			f := a[k][i] / a[i][i]
			for m := i; m < len(b); m++ {
				a[k][m] -= f * a[i][m]
			}
			b[k] -= f * b[i]
		}
	}
	for i := len(b) - 1; i >= 0; i-- {
		for k := i + 1; k < len(b); k++ {
			b[i] -= a[i][k] * b[k]
		}
		b[i] /= a[i][i]
	}
	return b
}

func probability(w [5]float64, f diagnose.Features) float64 {
	return f.Logistic(w[0], w[1], w[2], w[3], w[4])
}

// calibration leaves one family out at a time: Brier score and expected calibration
// error over ten bins of what was said of families that the fit had not seen.
func calibration(all []judged) (brier, ece, coverage, precision float64) {
	var families []string
	for _, j := range all {
		if !slices.Contains(families, j.family) {
			families = append(families, j.family)
		}
	}
	var bins [10]struct{ n, said, right float64 }
	sure, sureRight, n := 0.0, 0.0, 0.0
	for _, family := range families {
		w := fit(slices.DeleteFunc(slices.Clone(all), func(j judged) bool { return j.family == family }))
		for _, j := range all {
			if j.family != family {
				continue
			}
			p, right := probability(w, j.features), 0.0
			if j.right {
				right = 1
			}
			n++
			brier += (p - right) * (p - right)
			b := &bins[min(9, int(10*p))]
			b.n, b.said, b.right = b.n+1, b.said+p, b.right+right
			if p >= .8 {
				sure, sureRight = sure+1, sureRight+right
			}
		}
	}
	for _, b := range bins {
		if b.n > 0 {
			ece += b.n / n * math.Abs(b.said-b.right) / b.n
		}
	}
	return brier / n, ece, sure / n, sureRight / max(1, sure)
}

func row(b *strings.Builder, name string, s *tally) {
	top1, top3, avg5 := s.figures()
	fmt.Fprintf(b, "| %s | %d | %.2f | %.2f | %.2f |\n", name, s.n, top1, top3, avg5)
}

func methodTable(b *strings.Builder, all []tally) {
	b.WriteString("| method | cases | top-1 | top-3 | Avg@5 |\n|---|---|---|---|---|\n")
	for i, m := range methods {
		row(b, m.name, &all[i])
	}
}

func parts(b *strings.Builder, head string, all map[string]*tally) {
	fmt.Fprintf(b, "\n| %s | cases | top-1 | top-3 | Avg@5 |\n|---|---|---|---|---|\n", head)
	var names []string
	for name := range all {
		names = append(names, name)
	}
	slices.SortFunc(names, func(x, y string) int { return cmp.Compare(x, y) })
	for _, name := range names {
		row(b, name, all[name])
	}
}

func (r *report) tables() string {
	var b strings.Builder
	b.WriteString("### The recorded incidents\n\n")
	methodTable(&b, r.recorded)
	parts(&b, "Moneta, by half of the cases", r.byLoad)
	parts(&b, "Moneta, by symptom", r.bySymptom)
	b.WriteString("\n| the fault time is off by | cases | top-1 | top-3 | Avg@5 |\n|---|---|---|---|---|\n")
	for i, s := range shifts {
		row(&b, fmt.Sprintf("%+d s", s), &r.shifts[i])
	}
	b.WriteString("\n### Planted at every other hop\n\n")
	methodTable(&b, r.planted)
	parts(&b, "Moneta, by what the symptom rose", r.byStrength)
	parts(&b, "Moneta, by telemetry", r.byHoles)
	parts(&b, "Moneta, by hop", r.byRoot)
	brier, ece, coverage, precision := calibration(r.answers)
	fmt.Fprintf(&b, "\n### Nothing wrong\n\nIn %d windows without a fault, a hop was blamed in %d (%.1f %%). ", r.controls, r.blamed, 100*float64(r.blamed)/float64(r.controls))
	fmt.Fprintf(&b, "In %d incidents with one fault, a second one was named in %d (%.1f %%).\n", r.single, r.invented, 100*float64(r.invented)/float64(r.single))
	fmt.Fprintf(&b, "\n### Confidence\n\nOver %d answers, each judged by a calibration that had not seen its family: Brier %.3f, expected calibration error %.3f. Of the answers, %.0f %% were given with .8 or more, and %.1f %% of those were right.\n",
		len(r.answers), brier, ece, 100*coverage, 100*precision)
	return b.String()
}

const (
	beginMark = "<!-- measured: begin; make generate -->\n"
	endMark   = "<!-- measured: end -->"
)

func TestScores(t *testing.T) {
	t.Parallel()
	r := &report{bySymptom: map[string]*tally{}, byLoad: map[string]*tally{}, byStrength: map[string]*tally{}, byRoot: map[string]*tally{}, byHoles: map[string]*tally{}}
	r.runRecorded(t)
	for _, name := range []string{"high_traffic", "low_traffic"} {
		r.runPlanted(t, loadTraffic(t, name))
	}
	w := fit(r.answers)
	t.Logf("the calibration fits %d answers with %.2f", len(r.answers), w)
	tables := r.tables()

	raw, err := os.ReadFile(page)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(raw), beginMark)
	require.True(t, ok, "%s lost its mark", page)
	_, after, ok := strings.Cut(rest, endMark)
	require.True(t, ok, "%s lost its mark", page)
	if *update {
		raw = []byte(before + beginMark + tables + endMark + after)
		require.NoError(t, os.WriteFile(page, raw, 0o600))
	}

	ours := len(methods) - 1
	top1, top3, _ := r.recorded[ours].figures()
	require.GreaterOrEqual(t, top1, .90)
	require.GreaterOrEqual(t, top3, 1.0)
	for i := range shifts {
		shifted, _, _ := r.shifts[i].figures()
		if s := shifts[i]; s >= -60 && s <= 60 {
			require.GreaterOrEqual(t, shifted, top1-.05, "the fault time is off by %d s", s)
		}
	}
	top1, top3, _ = r.byHoles["whole"].figures()
	require.GreaterOrEqual(t, top1, .88)
	require.GreaterOrEqual(t, top3, .95)
	top1, _, _ = r.planted[ours].figures()
	require.GreaterOrEqual(t, top1, .75)
	require.LessOrEqual(t, float64(r.blamed)/float64(r.controls), .05)
	require.LessOrEqual(t, float64(r.invented)/float64(r.single), .10)
	_, ece, _, _ := calibration(r.answers)
	require.LessOrEqual(t, ece, .10)
	require.Len(t, r.answers, diagnose.CalibratedOn, "the calibration in doctor/diagnose/confidence.go is of another run: make it %.2f", w)
	for i, used := range diagnose.Calibration() {
		require.InDelta(t, w[i], used, .15, "the calibration in doctor/diagnose/confidence.go has drifted: make it %.2f", w)
	}
	require.Equal(t, before+beginMark+tables+endMark+after, string(raw), "docs/diagnosis.md has other figures: make generate")
}
