package commit

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/moneta-pay/moneta/internal/clock"
)

// metrics counts what the decider does; nil is allowed and counts nothing.
type metrics struct {
	facts      prometheus.Counter
	batches    *prometheus.CounterVec
	duration   prometheus.Histogram
	recoveries prometheus.Counter
	poisoned   prometheus.Counter
	leading    prometheus.Gauge
	late       *prometheus.CounterVec
	failovers  prometheus.Counter
	drift      prometheus.Gauge
	skew       prometheus.Gauge
	unsound    prometheus.Gauge
	stops      prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	if r == nil {
		return nil
	}
	m := &metrics{
		facts: prometheus.NewCounter(prometheus.CounterOpts{Name: "moneta_commit_facts_total", Help: "Facts in committed batches."}),
		batches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "moneta_commit_batches_total", Help: "Batches by outcome.",
		}, []string{"outcome"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "moneta_commit_duration_seconds", Help: "From the first byte of a batch to its COMMIT.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15),
		}),
		recoveries: prometheus.NewCounter(prometheus.CounterOpts{Name: "moneta_commit_recoveries_total", Help: "Times memory was dropped and reloaded."}),
		poisoned:   prometheus.NewCounter(prometheus.CounterOpts{Name: "moneta_commit_quarantined_total", Help: "Facts put aside for a person."}),
		leading:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "moneta_shard_leading", Help: "1 while this node leads its shard."}),
		failovers: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "moneta_database_failovers_total", Help: "Times that this node took the shard and found the database in another history.",
		}),
		drift: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "moneta_clock_drift_seconds", Help: "By how much more time passed at the database than in this process, beyond the round trips; ten minutes at most.",
		}),
		skew: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "moneta_clock_skew_seconds", Help: "How far the database's clock is ahead of this machine's, beyond the round trip.",
		}),
		unsound: prometheus.NewGauge(prometheus.GaugeOpts{Name: "moneta_clock_unsound", Help: "1 while clocks disagree and nothing is decided that depends on the time."}),
		stops:   prometheus.NewCounter(prometheus.CounterOpts{Name: "moneta_clock_stops_total", Help: "Times that clocks began to disagree."}),
	}
	m.late = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "moneta_linked_late_outcomes_total", Help: "Successes that came after the failure, by the kind of linked payment that stands for them.",
	}, []string{"kind"})
	r.MustRegister(m.facts, m.batches, m.duration, m.recoveries, m.poisoned, m.leading, m.failovers, m.late, m.drift, m.skew, m.unsound, m.stops)
	return m
}

func (m *metrics) batch(facts int, took time.Duration, err error) {
	if m == nil {
		return
	}
	if err != nil {
		m.batches.WithLabelValues("failed").Inc()
		return
	}
	m.batches.WithLabelValues("committed").Inc()
	m.facts.Add(float64(facts)) //nolint:forbidigo // a metric
	m.duration.Observe(took.Seconds())
}

func (m *metrics) recovered() {
	if m != nil {
		m.recoveries.Inc()
	}
}

func (m *metrics) quarantined() {
	if m != nil {
		m.poisoned.Inc()
	}
}

func (m *metrics) lateOutcome(kind string) {
	if m != nil {
		m.late.WithLabelValues(kind).Inc()
	}
}

func (m *metrics) lead(yes bool) {
	if m == nil {
		return
	}
	m.leading.Set(0)
	if yes {
		m.leading.Set(1)
	}
}

func (m *metrics) clocks(f *clock.Finding) {
	if m == nil {
		return
	}
	m.drift.Set(f.Drift.Seconds())
	m.skew.Set(f.Skew.Seconds())
	m.unsound.Set(0)
	if f.Trouble != "" {
		m.unsound.Set(1)
		if f.Changed {
			m.stops.Inc()
		}
	}
}

func (m *metrics) failedOver() {
	if m != nil {
		m.failovers.Inc()
	}
}
