package diagnosis

import (
	"cmp"
	"encoding/json"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/diagnose"
	"github.com/moneta-pay/moneta/doctor/signal/petshop"
	"github.com/moneta-pay/moneta/doctor/signal/telemetry"
)

const petshopDir = "testdata/petshop"

// recorded is one case of inputs.json; the label is kept apart.
type recorded struct {
	ID            string `json:"id"`
	Fault         int64  `json:"t_fault"`
	SymptomNode   string `json:"symptom_node"`
	SymptomMetric string `json:"symptom_metric"`
	Metrics       string `json:"metrics"`
	Graph         string `json:"graph"`
	Baseline      string `json:"baseline"`
}

func readJSON(t *testing.T, name string, into any) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(petshopDir, name))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, into))
}

func recordedCases(t *testing.T) ([]recorded, map[string]string) {
	t.Helper()
	var in struct{ Cases []recorded }
	readJSON(t, "inputs.json", &in)
	labels := map[string]string{}
	readJSON(t, "labels.json", &labels)
	require.Len(t, in.Cases, 16)
	require.Len(t, labels, 16)
	return in.Cases, labels
}

// directory reads the data set's files.
func (r recorded) directory(t *testing.T, shift time.Duration) *telemetry.Directory {
	t.Helper()
	d, err := petshop.Import(petshop.Files{
		Metrics: filepath.Join(petshopDir, r.Metrics), Graph: filepath.Join(petshopDir, r.Graph), Baseline: filepath.Join(petshopDir, r.Baseline),
		FaultTime: time.Unix(r.Fault, 0).Add(shift), SymptomNode: r.SymptomNode, SymptomMetric: r.SymptomMetric,
	})
	require.NoError(t, err)
	return d
}

// evidence goes the whole way of a user, over the files of a telemetry directory.
func evidence(t *testing.T, d *telemetry.Directory) *doctor.Evidence {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "incident")
	require.NoError(t, telemetry.Write(dir, d))
	e, err := telemetry.Read(dir)
	require.NoError(t, err)
	return e
}

// method ranks hops, most suspicious first.
type method struct {
	name string
	rank func(t *testing.T, e *doctor.Evidence) []string
}

// methods are ours and those to beat.
var methods = []method{
	{"priors only", byPrior},
	{"largest z-score of any metric", byLargestZ},
	{"n-sigma of the symptom's metric", byNSigma},
	{"own excess work alone", byOwnExcess},
	{"**Moneta**", byEngine},
}

func byEngine(t *testing.T, e *doctor.Evidence) []string {
	t.Helper()
	a, err := diagnose.Diagnose(e)
	require.NoError(t, err)
	var out []string
	for _, h := range a.Ranked {
		out = append(out, h.Node) // unknown and no fault take a place, as they do for a reader
	}
	return out
}

func byPrior(t *testing.T, e *doctor.Evidence) []string {
	t.Helper()
	a, err := diagnose.Diagnose(e)
	require.NoError(t, err)
	prior := map[string]float64{}
	for _, h := range a.Ranked {
		if h.Node != "" {
			prior[h.Node] = h.Prior
		}
	}
	return ranking(prior)
}

func ranking(score map[string]float64) []string {
	var out []string
	for name := range score {
		out = append(out, name)
	}
	slices.SortFunc(out, func(a, b string) int { return cmp.Or(cmp.Compare(score[b], score[a]), cmp.Compare(a, b)) })
	return out
}

func zScore(r *doctor.Reading) float64 {
	if r.Before.N == 0 || r.During.N == 0 {
		return 0
	}
	return math.Abs(r.During.Value-r.Before.Value) / max(r.Before.Spread, 1e-9)
}

func byLargestZ(t *testing.T, e *doctor.Evidence) []string {
	t.Helper()
	score := map[string]float64{}
	for i := range e.Readings {
		r := &e.Readings[i]
		score[r.Hop] = max(score[r.Hop], zScore(r))
	}
	return ranking(score)
}

func byNSigma(t *testing.T, e *doctor.Evidence) []string {
	t.Helper()
	score := map[string]float64{}
	for i := range e.Readings {
		r := &e.Readings[i]
		if r.Signal == e.Symptom.Signal && r.Statistic == e.Symptom.Statistic {
			score[r.Hop] = zScore(r)
		}
	}
	return ranking(score)
}

// byOwnExcess is rate × (own rise − the largest that a callee explains), and nothing
// else: no noise, no reach, no aliases, no odds.
func byOwnExcess(t *testing.T, e *doctor.Evidence) []string {
	t.Helper()
	rise, rate := map[string]float64{}, map[string]float64{}
	for i := range e.Readings {
		r := &e.Readings[i]
		if r.During.N == 0 || r.Peer != "" {
			continue
		}
		switch {
		case r.Signal == doctor.Rate:
			rate[r.Hop] = r.During.Value
		case r.Signal == e.Symptom.Signal && r.Statistic == e.Symptom.Statistic && r.Before.N > 0:
			rise[r.Hop] = max(0, r.During.Value-r.Before.Value)
		}
	}
	score := map[string]float64{}
	for _, h := range e.Hops {
		below := 0.0
		for _, c := range e.Calls {
			if c.From == h.Name && c.To != h.Name && rate[h.Name] > 0 {
				below = max(below, rate[c.To]/rate[h.Name]*rise[c.To])
			}
		}
		score[h.Name] = rate[h.Name] * max(0, rise[h.Name]-below)
	}
	return ranking(score)
}

// tally counts where the label stood.
type tally struct{ n, top1, top3, top5 int }

func (s *tally) add(ranked []string, label string) {
	s.n++
	place := slices.Index(ranked, label)
	if place == 0 {
		s.top1++
	}
	if place >= 0 && place < 3 {
		s.top3++
	}
	for k := 1; k <= 5; k++ {
		if place >= 0 && place < k {
			s.top5++
		}
	}
}

func (s *tally) of(k int) float64 { return float64(k) / float64(max(1, s.n)) }

func (s *tally) figures() (top1, top3, avg5 float64) {
	return s.of(s.top1), s.of(s.top3), s.of(s.top5) / 5
}

// No rule may know the data set: none of its nodes is named in what diagnoses.
func TestNoNodeIsKnownByName(t *testing.T) {
	t.Parallel()
	tr := loadTraffic(t, "high_traffic")
	read := 0
	require.NoError(t, filepath.WalkDir("../../doctor", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		read++
		for _, h := range tr.hops {
			require.NotContains(t, string(raw), h.Name, path)
		}
		return nil
	}))
	require.Greater(t, read, 10)
}
