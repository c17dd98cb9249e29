package diagnosis

import (
	"hash/fnv"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/signal/petshop"
	"github.com/moneta-pay/moneta/doctor/signal/telemetry"
)

// Planted faults judge what the sixteen labels cannot: they all name one hop. Real
// traffic without a fault is taken, and a fault is planted at any hop that the symptom
// waits for: its latency or failures rise and show in its callers by the calls that
// each of them makes, with real noise on every reading.

// traffic is the recorded normal time of one load.
type traffic struct {
	name  string
	hops  []doctor.Hop
	calls []doctor.Call
	rows  [][]telemetry.Point // by time
	// reverse is whom each node is called by.
	callers map[string][]string
}

const (
	symptomNode = "PetSite"
	window      = 6 // points of an incident, the last two with the fault
	faulty      = 2
)

func loadTraffic(t *testing.T, name string) *traffic {
	t.Helper()
	d, err := petshop.Import(petshop.Files{
		Metrics: filepath.Join(petshopDir, name, "normal.csv.gz"), Graph: filepath.Join(petshopDir, name, "graph.csv.gz"),
		Baseline: filepath.Join(petshopDir, name, "normal.csv.gz"), SymptomNode: symptomNode, SymptomMetric: "latency", FaultTime: time.Unix(0, 0),
	})
	require.NoError(t, err)
	tr := &traffic{name: name, hops: d.Hops, calls: d.Calls, callers: map[string][]string{}}
	for _, c := range d.Calls {
		tr.callers[c.To] = append(tr.callers[c.To], c.From)
	}
	var at time.Time
	for _, p := range d.Metrics {
		if !p.Time.Equal(at) {
			at = p.Time
			tr.rows = append(tr.rows, nil)
		}
		tr.rows[len(tr.rows)-1] = append(tr.rows[len(tr.rows)-1], p)
	}
	require.Greater(t, len(tr.rows), 100)
	return tr
}

// value finds a figure of a row.
func value(row []telemetry.Point, node, metric, statistic string) float64 {
	for _, p := range row {
		if p.Node == node && p.Metric == metric && p.Statistic == statistic {
			return p.Value
		}
	}
	return 0
}

// effects is by how much each node's mean latency or share of failures rises when
// root's rises by one: the calls for each request, along the road. A caller's calls
// are its part of what the callee serves.
func (tr *traffic) effects(row []telemetry.Point, root string) map[string]float64 {
	out := map[string]float64{root: 1}
	served := map[string]float64{}
	for _, h := range tr.hops {
		served[h.Name] = value(row, h.Name, "requests", "sum")
	}
	for range tr.hops { // callers of callers, until nothing changes
		for _, c := range tr.calls {
			if out[c.To] == 0 || served[c.From] == 0 || c.From == c.To || c.From == root {
				continue
			}
			asked := 0.0
			for _, from := range tr.callers[c.To] {
				asked += served[from]
			}
			share := served[c.To] * served[c.From] / asked / served[c.From]
			out[c.From] = max(out[c.From], min(share*out[c.To], 50))
		}
	}
	return out
}

// plant is one fault.
type plant struct {
	traffic *traffic
	root    string
	failing bool
	// strength is the rise of the symptom: of its mean latency, as a share; of its
	// failures, absolute.
	strength float64
	seed     uint64
	// holes lets nodes stop telling while the fault lasts, each with this probability;
	// the root may be among them.
	holes float64
}

// roots are the hops at which a fault can be planted and be felt: what the symptom
// waits for, measured from inside, with enough requests to be a cause.
func (tr *traffic) roots() []string {
	row := tr.rows[len(tr.rows)/2]
	var out []string
	for _, h := range tr.hops {
		felt := tr.effects(row, h.Name)[symptomNode]
		if h.Kind != doctor.Remote && value(row, h.Name, "requests", "sum") >= 30 && felt > .02 {
			out = append(out, h.Name)
		}
	}
	return out
}

// directory plants the fault in a window of the normal time; the rest is the baseline.
func (p plant) directory(t *testing.T) *telemetry.Directory {
	t.Helper()
	rng := rand.New(rand.NewPCG(p.seed, 7))
	first := p.first(rng)
	d := &telemetry.Directory{Metric: "latency", Hops: p.traffic.hops, Calls: p.traffic.calls}
	if p.failing {
		d.Metric = "availability"
	}
	s, err := telemetry.ParseSymptom(symptomNode, d.Metric, "")
	require.NoError(t, err)
	start := time.Unix(1_700_000_000, 0)
	d.Incident = telemetry.Incident{FaultTime: telemetry.Time{Time: start.Add((window - faulty) * 5 * time.Minute)}, Symptom: s, StepS: 300}
	alias := p.alias(rng)
	for i, row := range p.traffic.rows {
		at := i - first
		if at < 0 || at >= window {
			d.Baseline = append(d.Baseline, row...)
			continue
		}
		row = slices.Clone(row)
		if at >= window-faulty && p.root != "" {
			p.change(row, alias)
		}
		if at >= window-faulty {
			row = slices.DeleteFunc(row, func(q telemetry.Point) bool { return p.dark(q.Node) })
		}
		for j := range row {
			row[j].Time = start.Add(time.Duration(at) * 5 * time.Minute)
		}
		d.Metrics = append(d.Metrics, row...)
	}
	return d
}

// dark reports whether the node has stopped telling. Where the symptom was seen has
// not: somebody saw it.
func (p plant) dark(node string) bool {
	h := fnv.New64a()
	_, _ = h.Write([]byte(node))
	return node != symptomNode && rand.New(rand.NewPCG(p.seed, h.Sum64())).Float64() < p.holes
}

// alias picks a remote of the root's callers that shows the same from outside, as load
// balancers do; often there is none.
func (p plant) alias(rng *rand.Rand) string {
	var all []string
	for _, c := range p.traffic.calls {
		if slices.Contains(p.traffic.callers[p.root], c.From) && petshop.KindOf(c.To) == doctor.Remote {
			all = append(all, c.To)
		}
	}
	if len(all) == 0 || rng.IntN(2) == 0 {
		return ""
	}
	return all[rng.IntN(len(all))]
}

func (p plant) change(row []telemetry.Point, alias string) {
	effects := p.traffic.effects(row, p.root)
	symptom := value(row, symptomNode, "latency", "mean")
	rise := p.strength / max(effects[symptomNode], 1e-6)
	if !p.failing {
		rise *= symptom
	}
	if alias != "" {
		effects[alias] = 1.5
	}
	for i := range row {
		add := effects[row[i].Node] * rise
		switch {
		case add == 0:
		case !p.failing && row[i].Metric == "latency":
			row[i].Value += add * map[string]float64{"mean": 1, "p50": .2, "p90": 2, "p95": 3, "p99": 5}[row[i].Statistic]
		case p.failing && row[i].Metric == "availability":
			row[i].Value = max(0, row[i].Value-100*min(1, add))
		}
	}
}

// possible reports whether the symptom waits for the root in that window, and whether
// the root can fail as often as the symptom would need.
func (p plant) possible() bool {
	first := p.first(rand.New(rand.NewPCG(p.seed, 7)))
	for _, row := range p.traffic.rows[first+window-faulty : first+window] {
		felt := p.traffic.effects(row, p.root)[symptomNode]
		if felt < .02 || value(row, p.root, "requests", "sum") < 30 || p.failing && p.strength/felt > .6*value(row, p.root, "availability", "mean")/100 {
			return false
		}
	}
	return true
}

func (p plant) first(rng *rand.Rand) int { return rng.IntN(len(p.traffic.rows) - window) }

// plants are all of them: every root, slow and failing, faint to strong, with whole
// telemetry and with holes in it.
func plants(tr *traffic) []plant {
	var out []plant
	for _, root := range tr.roots() {
		for _, holes := range []float64{0, .15} {
			for _, strength := range []float64{.15, .5} {
				out = append(out, plant{tr, root, false, strength, uint64(len(out)), holes})
			}
			for _, strength := range []float64{.03, .2} {
				out = append(out, plant{tr, root, true, strength, uint64(len(out)), holes})
			}
		}
	}
	return slices.DeleteFunc(out, func(p plant) bool { return !p.possible() })
}
