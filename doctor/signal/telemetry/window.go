package telemetry

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// evidence sums the series up: the usual before, the window of the trouble during.
func (d *directory) evidence() (*doctor.Evidence, error) {
	fault := float64(d.incident.FaultTime.UnixMicro()) / 1e6
	step := d.step()
	if err := d.fromSpans(step); err != nil {
		return nil, err
	}
	if err := d.fromLogs(step, fault); err != nil {
		return nil, err
	}
	d.perSecond(step)
	for _, all := range []map[seriesKey][]sample{d.baseline, d.metrics} {
		for k := range all {
			slices.SortStableFunc(all[k], func(a, b sample) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.value, b.value)) })
		}
	}
	if len(d.metrics) == 0 {
		return nil, &Malformed{File: MetricsFile, Reason: "there are no metrics, spans or logs of the incident that could be used" + d.others()}
	}
	w, err := d.window(fault, step)
	if err != nil {
		return nil, err
	}
	e := &doctor.Evidence{
		Version: doctor.EvidenceVersion, TakenAt: instant(w.until), Since: instant(w.from),
		Symptom: d.incident.Symptom, Hops: d.hops, Calls: d.calls, Cohorts: d.cohorts,
	}
	keys := maps.Clone(d.metrics)
	maps.Copy(keys, d.baseline)
	for k := range keys {
		e.Readings = append(e.Readings, d.reading(k, w, fault, step))
	}
	if len(d.leftOut) > 0 {
		e.Notes = append(e.Notes, strings.TrimSpace("metrics that say nothing here were left out:"+d.others()))
	}
	if err := e.Validate(); err != nil {
		return nil, err
	}
	e.Sort()
	return e, nil
}

// others names the metrics that were left out.
func (d *directory) others() string {
	var b strings.Builder
	names := slices.Sorted(maps.Keys(d.leftOut))
	for i, name := range names {
		if i == 8 {
			fmt.Fprintf(&b, " and %d more", len(names)-i)
			break
		}
		fmt.Fprintf(&b, " %.60q (%d points)", name, d.leftOut[name])
	}
	return b.String()
}

func instant(s float64) time.Time { return time.UnixMicro(int64(s * 1e6)).UTC() }

// stepDefault is taken when there is one point only. With a smaller step than stepLeast
// the bins of a long time would be too many, and a clock's digits would not suffice.
const (
	stepDefault = 60
	stepLeast   = .01
	stepMost    = 86_400
)

// step is how long a point covers: as the incident says, else the smallest distance of
// two points of the symptom, else of any metric.
func (d *directory) step() float64 {
	if d.incident.StepS > 0 {
		return d.incident.StepS
	}
	least := math.Inf(1)
	for _, series := range d.metrics {
		for i := 1; i < len(series) && i < 100; i++ {
			if gap := math.Abs(series[i].at - series[i-1].at); gap >= stepLeast {
				least = min(least, gap)
			}
		}
	}
	if math.IsInf(least, 1) {
		return stepDefault
	}
	return least
}

// perSecond turns counts a step into rates.
func (d *directory) perSecond(step float64) {
	for _, all := range []map[seriesKey][]sample{d.baseline, d.metrics} {
		for k, series := range all {
			if d.names[k] == countedMetric {
				for i := range series {
					series[i].value /= step
				}
			}
		}
	}
}

type window struct{ from, until float64 }

// The window of the trouble is the run around the worst point of the symptom that is at
// least half as far from usual: points before the onset and after the recovery would
// dilute it. It may begin before the fault was noticed, and then those points do not
// count as usual either.
const windowShare = .5

func (d *directory) window(fault, step float64) (window, error) {
	last := math.Inf(-1)
	for _, series := range d.metrics {
		last = max(last, series[len(series)-1].at)
	}
	whole := window{fault, last + step}
	if whole.until <= fault {
		return whole, &Malformed{File: MetricsFile, Reason: fmt.Sprintf("its newest point is of %s, before the fault at %s", instant(last).Format(time.RFC3339), instant(fault).Format(time.RFC3339))}
	}
	k := seriesKey{node: d.incident.Symptom.Hop, signal: d.incident.Symptom.Signal, statistic: d.incident.Symptom.Statistic}
	points := d.metrics[k]
	first := slices.IndexFunc(points, func(s sample) bool { return s.at+step > fault })
	usual := d.before(k, fault, step)
	if first < 0 || usual.N == 0 {
		return whole, nil
	}
	sign := 1.0
	if k.signal == doctor.Rate || k.signal == doctor.Departures {
		sign = -1 // the less, the worse
	}
	worst := first
	for i := first; i < len(points); i++ {
		if sign*points[i].value > sign*points[worst].value {
			worst = i
		}
	}
	best := math.Inf(1)
	for _, s := range points[:worst] {
		best = min(best, sign*s.value)
	}
	if worst == 0 {
		best = sign * usual.Value
	}
	if sign*points[worst].value-best <= 2*usual.Spread {
		return whole, nil // ordinary all along
	}
	bad := func(s sample) bool { return sign*s.value-best >= windowShare*(sign*points[worst].value-best) }
	from, until := worst, worst
	for from > 0 && bad(points[from-1]) {
		from--
	}
	for until+1 < len(points) && bad(points[until+1]) {
		until++
	}
	return window{points[from].at, points[until].at + step}, nil
}

// otherDay is how many spreads the points right before the trouble must lie from the
// normal time to count as another regime: then they are what is usual, because what
// was so before the trouble did not come of it.
const otherDay = 3

// before is the usual value of a series: that of the normal time and that of the
// points right before the trouble, each point of which counts as much as the whole
// normal time, since days differ more than minutes. Where they contradict each other,
// the recent ones are right.
func (d *directory) before(k seriesKey, until, step float64) doctor.Sample {
	recent, between := sum(d.metrics[k], step, until)
	normal, days := sum(d.baseline[k], step, math.Inf(1))
	switch {
	case len(normal) == 0 && len(recent) == 0:
		return doctor.Sample{From: instant(until), Until: instant(until)}
	case len(normal) == 0:
		return summary(recent, between)
	}
	usual := summary(normal, days)
	if len(recent) == 0 {
		return usual
	}
	now := summary(recent, between)
	if math.Abs(now.Value-usual.Value) <= otherDay*usual.Spread {
		usual.Value = (usual.Value + float64(now.N)*now.Value) / float64(now.N+1)
		return usual
	}
	// Few points say where it is and little of how far it strays: that is taken from the
	// normal time, in proportion, and widened for the few.
	scale := 1.0
	if usual.Value > 0 {
		scale = max(1, now.Value/usual.Value)
	}
	now.Spread = max(now.Spread, scale*usual.Spread*math.Sqrt(1+1/float64(now.N)))
	return now
}

// quietUntil is the end of what counts as right before the trouble: the fault time, or
// the beginning of the worst if there are no points before the fault time, which may
// be a little early.
func (d *directory) quietUntil(k seriesKey, w window, fault, step float64) float64 {
	quiet := min(w.from, fault)
	if values, _ := sum(d.metrics[k], step, quiet); len(values) == 0 {
		return w.from
	}
	return quiet
}

// sum collects the values of the points that end by then, and their window.
func sum(series []sample, step, by float64) ([]float64, window) {
	var values []float64
	w := window{math.Inf(1), math.Inf(-1)}
	for _, s := range series {
		if s.at+step <= by {
			values = append(values, s.value)
			w.from, w.until = min(w.from, s.at), max(w.until, s.at+step)
		}
	}
	return values, w
}

func summary(values []float64, w window) doctor.Sample {
	out := doctor.Sample{From: instant(w.from), Until: instant(w.until), N: len(values)}
	out.Value, out.Spread = doctor.MedianSpread(values)
	return out
}

func (d *directory) reading(k seriesKey, w window, fault, step float64) doctor.Reading {
	r := doctor.Reading{Hop: k.node, Peer: k.peer, Signal: k.signal, Statistic: k.statistic, Source: d.queries[k], StepS: step}
	r.Before = d.before(k, d.quietUntil(k, w, fault, step), step)
	r.During = doctor.Sample{From: instant(w.from), Until: instant(w.until)}
	var values []float64
	for _, s := range d.metrics[k] {
		if s.at >= w.until {
			break
		}
		newest := instant(s.at)
		r.Newest = &newest
		if s.at+step > w.from {
			values = append(values, s.value)
			r.During.Value += s.value
		}
	}
	if r.During.N = len(values); r.During.N > 0 {
		r.During.Value /= float64(r.During.N)
		_, r.During.Spread = doctor.MedianSpread(values)
	}
	return r
}
