package telemetry

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	scrapeTimeout = 10 * time.Second
	scrapesMax    = 4 // scrapes at once; more get 503
)

// DurationBuckets suits everything from a commit (a millisecond) to a slow bank
// (a minute); in seconds.
var DurationBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// runtimeMetrics are those of the Go runtime beyond the usual ones that tell a process
// that collects garbage, or waits for a processor, from one that works: how long
// goroutines that could run waited, and what the processors did.
var runtimeMetrics = regexp.MustCompile(`^/sched/latencies:seconds$|^/cpu/classes/(gc/total|idle|total):cpu-seconds$|^/sync/mutex/wait/total:seconds$`)

func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.GoRuntimeMetricsRule{Matcher: runtimeMetrics})),
		collectors.NewBuildInfoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// MetricsHandler serves the registry in Prometheus' text formats.
func (t *Telemetry) MetricsHandler() http.Handler {
	return promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{
		Registry: t.registry, Timeout: scrapeTimeout, MaxRequestsInFlight: scrapesMax,
	})
}

// The constructors below return the metric that is already registered under the
// name, if any, so that two users of one name share it. They panic on a name that
// Prometheus refuses or that stands for another kind of metric: both are mistakes
// in the program, found at start-up.

// Counter returns a counter; by convention its name ends in _total.
func (t *Telemetry) Counter(name, help string) prometheus.Counter {
	return register(t.registry, name, prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help}))
}

// CounterVec returns a counter by labels, whose values must come from short lists.
func (t *Telemetry) CounterVec(name, help string, labels ...string) *prometheus.CounterVec {
	return register(t.registry, name, prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels))
}

// Gauge returns a gauge.
func (t *Telemetry) Gauge(name, help string) prometheus.Gauge {
	return register(t.registry, name, prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help}))
}

// GaugeVec returns a gauge by labels, whose values must come from short lists.
func (t *Telemetry) GaugeVec(name, help string, labels ...string) *prometheus.GaugeVec {
	return register(t.registry, name, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels))
}

// GaugeFunc registers a gauge read at scrape time; read must be quick and safe
// for concurrent use. A second registration of the name is ignored.
func (t *Telemetry) GaugeFunc(name, help string, read func() float64) {
	register(t.registry, name, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
}

// Histogram returns a histogram of durations in seconds over DurationBuckets.
func (t *Telemetry) Histogram(name, help string) prometheus.Histogram {
	return register(t.registry, name, prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: DurationBuckets}))
}

// HistogramVec returns a histogram of durations in seconds by labels.
func (t *Telemetry) HistogramVec(name, help string, labels ...string) *prometheus.HistogramVec {
	return register(t.registry, name, prometheus.NewHistogramVec(
		prometheus.HistogramOpts{Name: name, Help: help, Buckets: DurationBuckets}, labels))
}

func register[C prometheus.Collector](r *prometheus.Registry, name string, c C) C {
	err := r.Register(c)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if same, ok := already.ExistingCollector.(C); ok {
			return same
		}
	}
	if err != nil {
		panic(fmt.Sprintf("telemetry: metric %s: %v", name, err))
	}
	return c
}
