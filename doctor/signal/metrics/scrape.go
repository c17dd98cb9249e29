package metrics

import (
	"errors"
	"math"
	"slices"
	"strings"
	"syscall"
	"time"

	dto "github.com/prometheus/client_model/go"
)

func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// scrape is what the process told at one moment.
type scrape struct {
	at       time.Time
	families map[string][]sample
	index    map[string]map[string]int // of a series in its family, by key
}

func newScrape(at time.Time) *scrape {
	return &scrape{at: at, families: make(map[string][]sample), index: make(map[string]map[string]int)}
}

// sample is one series. A histogram is cumulative, by upper bound.
type sample struct {
	key     string // its labels, in one order
	labels  []label
	value   float64 // of a counter or a gauge; the sum of a histogram or a summary
	count   float64
	counter bool
	buckets []bucket
}

type label struct{ name, value string }

type bucket struct{ le, count float64 }

// familiesMax and seriesMax bound what a broken endpoint can make us keep.
const (
	familiesMax = 2_000
	seriesMax   = 5_000
)

func (s *scrape) add(f *dto.MetricFamily) {
	if len(s.families) >= familiesMax {
		return
	}
	name := f.GetName()
	for _, m := range f.GetMetric() {
		if len(s.families[name]) >= seriesMax {
			return
		}
		one := sample{}
		for _, l := range m.GetLabel() {
			one.labels = append(one.labels, label{l.GetName(), l.GetValue()})
		}
		slices.SortFunc(one.labels, func(a, b label) int { return strings.Compare(a.name, b.name) })
		one.key = keyOf(one.labels)
		switch {
		case m.Counter != nil:
			one.value, one.counter = m.Counter.GetValue(), true
		case m.Gauge != nil:
			one.value = m.Gauge.GetValue()
		case m.Untyped != nil:
			one.value = m.Untyped.GetValue()
		case m.Summary != nil:
			one.value, one.count, one.counter = m.Summary.GetSampleSum(), float64(m.Summary.GetSampleCount()), true
		case m.Histogram != nil:
			one.value, one.count, one.counter = m.Histogram.GetSampleSum(), float64(m.Histogram.GetSampleCount()), true
			for _, b := range m.Histogram.GetBucket() {
				one.buckets = append(one.buckets, bucket{b.GetUpperBound(), float64(b.GetCumulativeCount())})
			}
		default:
			continue
		}
		if math.IsNaN(one.value) {
			continue
		}
		if s.index[name] == nil {
			s.index[name] = make(map[string]int)
		}
		s.index[name][one.key] = len(s.families[name])
		s.families[name] = append(s.families[name], one)
	}
}

func keyOf(labels []label) string {
	var b strings.Builder
	for _, l := range labels {
		b.WriteString(l.name)
		b.WriteByte(0)
		b.WriteString(l.value)
		b.WriteByte(0)
	}
	return b.String()
}

func (s *sample) label(name string) string {
	for _, l := range s.labels {
		if l.name == name {
			return l.value
		}
	}
	return ""
}

// is reports whether the series has these labels.
func (s *sample) is(where match) bool {
	for name, want := range where {
		if s.label(name) != want {
			return false
		}
	}
	return true
}

type match map[string]string

// restarted reports whether the counters of s began anew since the scrape before.
func (s *scrape) restarted(before *scrape) bool {
	for name, now := range s.families {
		for i := range now {
			if !now[i].counter {
				continue
			}
			old := before.find(name, now[i].key)
			if old != nil && (now[i].count < old.count || now[i].count == 0 && now[i].value < old.value) {
				return true
			}
		}
	}
	return false
}

// find returns the series of a family with these labels, by key.
func (s *scrape) find(name, key string) *sample {
	if i, ok := s.index[name][key]; ok {
		return &s.families[name][i]
	}
	return nil
}

// view is the newest scrape with those before it.
type view struct {
	*look
	all []*scrape
	now *scrape
}

// back returns the scrape of about d ago, nil when there is none before the newest.
func (v *view) back(d time.Duration) *scrape {
	var found *scrape
	for _, s := range v.all[:len(v.all)-1] {
		if found == nil || v.now.at.Sub(s.at) >= d {
			found = s
		}
	}
	return found
}

// change is what a family's counters rose by between two scrapes.
type change struct {
	took         float64 // seconds; 0 when there is nothing to compare with
	value, count float64
	buckets      []bucket
}

// since adds up how the series with these labels changed. A series that was not there
// before began at zero.
func (v *view) since(old *scrape, name string, where match) change {
	if old == nil {
		return change{}
	}
	c := change{took: v.now.at.Sub(old.at).Seconds()}
	for i := range v.now.families[name] {
		s := &v.now.families[name][i]
		if s.is(where) {
			c.add(s, old.find(name, s.key))
		}
	}
	return c
}

func (c *change) add(s, before *sample) {
	if before == nil {
		before = &sample{}
	}
	c.value += s.value - before.value
	c.count += s.count - before.count
	if c.buckets == nil && len(s.buckets) > 0 {
		c.buckets = make([]bucket, len(s.buckets))
		for i := range s.buckets {
			c.buckets[i].le = s.buckets[i].le
		}
	}
	if len(c.buckets) != len(s.buckets) {
		return // another form of buckets; the sum and the count still tell
	}
	for i := range s.buckets {
		c.buckets[i].count += s.buckets[i].count
		if i < len(before.buckets) {
			c.buckets[i].count -= before.buckets[i].count
		}
	}
}

// merge adds another family's change over the same time.
func (c *change) merge(o change) {
	c.took = max(c.took, o.took)
	c.value += o.value
	c.count += o.count
	if c.buckets == nil {
		c.buckets = slices.Clone(o.buckets)
		return
	}
	if len(c.buckets) == len(o.buckets) {
		for i := range o.buckets {
			c.buckets[i].count += o.buckets[i].count
		}
	}
}

func (c *change) mean() float64 {
	if c.count <= 0 {
		return math.NaN()
	}
	return c.value / c.count
}

// quantile estimates by linear interpolation within a bucket, as Prometheus'
// histogram_quantile does; above the last finite bound it is that bound.
func (c *change) quantile(q float64) float64 {
	if len(c.buckets) == 0 || c.count <= 0 {
		return math.NaN()
	}
	rank := q * c.count
	below, floor := 0.0, 0.0
	for _, b := range c.buckets {
		if b.count >= rank && !math.IsInf(b.le, 1) {
			if b.count == below {
				return b.le
			}
			return floor + (b.le-floor)*(rank-below)/(b.count-below)
		}
		if !math.IsInf(b.le, 1) {
			below, floor = b.count, max(b.le, 0)
		}
	}
	return floor
}

// lately is the change over the shortest window in which enough happened, by value for
// counters and by count for histograms. NaN-like emptiness is told by its took: 0.
func (v *view) lately(name string, where match) change {
	return v.latelyOf(func(old *scrape) change { return v.since(old, name, where) })
}

func (v *view) latelyOf(of func(old *scrape) change) change {
	var c change
	var last *scrape
	for _, d := range windows {
		old := v.back(d)
		if old == last && old != nil {
			break // nothing older is remembered
		}
		last = old
		if c = of(old); c.count >= enough || c.count == 0 && c.value >= enough {
			break
		}
	}
	return c
}

// gauge adds up what stands now; NaN when nothing does.
func (v *view) gauge(name string, where match) float64 {
	sum, found := 0.0, false
	for i := range v.now.families[name] {
		if s := &v.now.families[name][i]; s.is(where) {
			sum, found = sum+s.value, true
		}
	}
	if !found {
		return math.NaN()
	}
	return sum
}

// values lists what a label of a family says, sorted.
func (v *view) values(name, label string) []string {
	var out []string
	for i := range v.now.families[name] {
		if s := v.now.families[name][i].label(label); s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return out
}
