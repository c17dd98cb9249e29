package api

import (
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/moneta-pay/moneta/pay"
)

// buckets suit everything from an answer out of memory to a caller who waits.
var buckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

type metrics struct {
	accept   prometheus.Histogram
	duration *prometheus.HistogramVec
	requests *prometheus.CounterVec
	problems *prometheus.CounterVec
	edge     *edgeCounts
}

func newMetrics(r *prometheus.Registry, inFlight, waiting *atomic.Int64) *metrics {
	m := &metrics{
		edge: newEdgeCounts(r),
		accept: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "moneta_accept_duration_seconds", Buckets: buckets,
			Help: "From the request for a payment to its durable answer, without what the caller preferred to wait.",
		}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "moneta_http_request_duration_seconds", Buckets: buckets, Help: "Duration of requests, by route.",
		}, []string{"route"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "moneta_http_requests_total", Help: "Requests answered, by route and status.",
		}, []string{"route", "code"}),
		problems: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "moneta_http_problems_total", Help: "Problem documents sent, by code.",
		}, []string{"code"}),
	}
	gauge := func(name, help string, v *atomic.Int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(v.Load()) })
	}
	r.MustRegister(m.accept, m.duration, m.requests, m.problems,
		gauge("moneta_http_in_flight", "Requests being worked on.", inFlight),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "moneta_http_unanswered_seconds", Help: "For how long requests have been under way and none was answered well.",
		}, func() float64 { return m.edge.owed.lasts(time.Now(), inFlight.Load()).Seconds() }), //nolint:forbidigo // a duration for the metric
		gauge("moneta_http_waiting", "Requests that wait for a payment to become final.", waiting))
	return m
}

// ordered counts a payment that was accepted, now or before under the same key, and
// reports whether it repeats another under a new one.
func (e *edgeCounts) ordered(at time.Time, p *pay.Payment, replayed bool) (again bool) {
	e.orders.Inc()
	if replayed {
		e.replayed.Inc()
		return false
	}
	what := []string{
		strconv.Itoa(int(p.Tenant)), p.Kind.String(), p.From.String(), p.To.String(), p.Channel, p.PayeeAccount,
		string(p.Asset), p.Amount.String(),
	}
	soon := e.soon.note(at, what...)
	return e.again.note(at, append(what, p.Remittance)...) || soon
}

// routeCounts are a route's metrics, looked up once.
type routeCounts struct {
	route    string
	duration prometheus.Observer
	requests *prometheus.CounterVec
	byStatus [600]atomic.Pointer[prometheus.Counter]
}

func (m *metrics) route(pattern string) *routeCounts {
	return &routeCounts{route: pattern, duration: m.duration.WithLabelValues(pattern), requests: m.requests}
}

func (rc *routeCounts) observe(status int, d time.Duration) {
	if rc == nil || status <= 0 || status >= len(rc.byStatus) {
		return
	}
	rc.duration.Observe(d.Seconds())
	c := rc.byStatus[status].Load()
	if c == nil {
		fresh := rc.requests.WithLabelValues(rc.route, strconv.Itoa(status))
		c = &fresh
		rc.byStatus[status].Store(c)
	}
	(*c).Inc()
}

// logGate lets so many lines a second through and counts the others.
type logGate struct{ second, used, dropped atomic.Int64 }

const linesPerSecond = 20

func (g *logGate) pass(now time.Time) (dropped int64, ok bool) {
	second := now.Unix()
	if g.second.Swap(second) != second {
		g.used.Store(0)
	}
	if g.used.Add(1) > linesPerSecond {
		g.dropped.Add(1)
		return 0, false
	}
	return g.dropped.Swap(0), true
}

func slogError(err error) slog.Attr { return slog.Any("error", err) }
