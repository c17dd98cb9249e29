package metrics_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/signal/metrics"
	"github.com/moneta-pay/moneta/internal/clock"
)

var anyCPU = regexp.MustCompile("^/cpu/classes/.*")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patient is a process that tells metrics, by a registry like the real one's.
type patient struct {
	t      *testing.T
	r      *prometheus.Registry
	clock  *clock.Manual
	server *httptest.Server
	c      *metrics.Collector

	counters map[string]*prometheus.CounterVec
	gauges   map[string]*prometheus.GaugeVec
	times    map[string]*prometheus.HistogramVec
}

func newPatient(t testing.TB) *patient {
	t.Helper()
	p := &patient{clock: clock.NewManual(time.Unix(1_000_000, 0))}
	p.t, _ = t.(*testing.T)
	p.begin()
	p.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		promhttp.HandlerFor(p.r, promhttp.HandlerOpts{}).ServeHTTP(w, r)
	}))
	p.c = metrics.New(metrics.Config{URL: p.server.URL, Clock: p.clock, Channels: []string{"bank-ab"}})
	t.Cleanup(func() { p.c.Close(); p.server.Close() })
	return p
}

// begin is its start, or its next one: all counters are at zero.
func (p *patient) begin() {
	p.r = prometheus.NewRegistry()
	p.counters, p.gauges, p.times = map[string]*prometheus.CounterVec{}, map[string]*prometheus.GaugeVec{}, map[string]*prometheus.HistogramVec{}
}

func names(labels []string) (out []string) {
	for i := 0; i < len(labels); i += 2 {
		out = append(out, labels[i])
	}
	return out
}

func values(labels []string) (out []string) {
	for i := 1; i < len(labels); i += 2 {
		out = append(out, labels[i])
	}
	return out
}

func (p *patient) count(n int, name string, labels ...string) {
	if p.counters[name] == nil {
		p.counters[name] = prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: "x"}, names(labels))
		p.r.MustRegister(p.counters[name])
	}
	p.counters[name].WithLabelValues(values(labels)...).Add(float64(n))
}

func (p *patient) set(v float64, name string, labels ...string) {
	if p.gauges[name] == nil {
		p.gauges[name] = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: "x"}, names(labels))
		p.r.MustRegister(p.gauges[name])
	}
	p.gauges[name].WithLabelValues(values(labels)...).Set(v)
}

func (p *patient) took(n int, seconds float64, name string, labels ...string) {
	if p.times[name] == nil {
		p.times[name] = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: "x", Buckets: []float64{.01, .1, 1, 10}}, names(labels))
		p.r.MustRegister(p.times[name])
	}
	for range n {
		p.times[name].WithLabelValues(values(labels)...).Observe(seconds)
	}
}

// look scrapes a second later.
func (p *patient) look() doctor.Look {
	p.t.Helper()
	p.clock.Advance(time.Second)
	l, err := p.c.Look(p.t.Context())
	require.NoError(p.t, err)
	for _, point := range l.Points {
		_, ok := point.Signal.Info()
		require.True(p.t, ok, "%s is in no table", point.Signal)
		require.GreaterOrEqual(p.t, point.Value, 0.0)
	}
	return l
}

func find(l doctor.Look, hop string, signal doctor.Signal, statistic string) (float64, bool) {
	for _, p := range l.Points {
		if p.Hop == hop && p.Signal == signal && p.Statistic == statistic {
			return p.Value, true
		}
	}
	return 0, false
}

func (p *patient) is(l doctor.Look, want float64, hop string, signal doctor.Signal, statistic string) {
	p.t.Helper()
	got, ok := find(l, hop, signal, statistic)
	require.True(p.t, ok, "%s %s of %s is not told", signal, statistic, hop)
	require.InDelta(p.t, want, got, 1e-6, "%s %s of %s", signal, statistic, hop)
}

func (p *patient) silent(l doctor.Look, hop string, signal doctor.Signal, statistic string) {
	p.t.Helper()
	got, ok := find(l, hop, signal, statistic)
	require.False(p.t, ok, "%s of %s is told as %v, and nobody can know it", signal, hop, got)
}

const bank = "bank-ab"

// healthy is one second of a healthy load.
func (p *patient) healthy() {
	p.count(98, "moneta_http_requests_total", "route", "POST /v1/payments", "code", "201")
	p.count(2, "moneta_http_requests_total", "route", "POST /v1/payments", "code", "422")
	p.took(100, 0.005, "moneta_accept_duration_seconds")
	p.count(100, "moneta_payments_requested_total")
	p.count(1, "moneta_payments_replayed_total")
	p.count(0, "moneta_payments_again_total")
	p.count(0, "moneta_http_aborted_total")
	p.count(50, "moneta_channel_requests_total", "channel", bank, "op", "pay", "outcome", "ok")
	p.count(10, "moneta_channel_requests_total", "channel", bank, "op", "query", "outcome", "ok")
	p.count(50, "moneta_channel_http_status_total", "channel", bank, "code", "202")
	p.count(10, "moneta_channel_http_status_total", "channel", bank, "code", "404")
	p.took(50, 0.05, "moneta_channel_duration_seconds", "channel", bank, "op", "pay")
	p.count(50, "moneta_channel_attempts_total", "channel", bank)
	p.count(50, "moneta_channel_first_attempts_total", "channel", bank)
	p.count(50, "moneta_callbacks_total", "channel", bank, "verdict", "applied")
	p.took(50, 0.05, "moneta_callback_delay_seconds", "channel", bank)
	p.count(50, "moneta_channel_settled_total", "channel", bank, "by", "callback")
	p.set(2, "moneta_channel_inflight", "channel", bank)
	p.set(16, "moneta_channel_bulkhead_limit", "channel", bank)
	p.set(0, "moneta_channel_breaker_state", "channel", bank)
	p.took(20, 0.005, "moneta_commit_duration_seconds")
	p.count(200, "moneta_commit_facts_total")
	p.count(20, "moneta_commit_batches_total", "outcome", "committed")
	p.set(0.01, "moneta_loop_silence_seconds", "loop", "dispatch")
	for _, pool := range []string{"reads", "stations"} {
		p.set(1, "moneta_pool_acquired_connections", "pool", pool)
		p.set(10, "moneta_pool_max_connections", "pool", pool)
		p.set(0, "moneta_pool_held_connections", "pool", pool)
		p.set(0, "moneta_pool_oldest_wait_seconds", "pool", pool)
		p.count(100, "moneta_pool_acquires_total", "pool", pool)
		p.count(0, "moneta_pool_wait_seconds_total", "pool", pool)
	}
}

// The negative control: a healthy load reads healthy.
func TestHealthyLoadReadsHealthy(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.healthy()
	p.silent(p.look(), doctor.HopAPI, doctor.Rate, "")
	var l doctor.Look
	for range 8 {
		p.healthy()
		l = p.look()
	}
	p.is(l, 1, doctor.HopServe, doctor.Up, "")
	p.is(l, 100, doctor.HopAPI, doctor.Rate, "")
	p.is(l, 0.02, doctor.HopAPI, doctor.ClientErrors, "")
	p.is(l, 0.01, doctor.HopAPI, doctor.Repeats, "")
	p.is(l, 0.005, doctor.HopAPI, doctor.Latency, "mean")
	p.is(l, 60, bank, doctor.Rate, "")
	p.is(l, 0.05, bank, doctor.Latency, "mean")
	p.is(l, 1, bank, doctor.Amplified, "")
	p.is(l, 0.125, bank, doctor.Busy, "")
	p.is(l, 50, bank, doctor.Callbacks, "")
	p.is(l, 0.1, doctor.HopServe, doctor.PoolBusy, "")
	p.is(l, 0.01, doctor.HopDispatch, doctor.LoopSilence, "dispatch")
	p.is(l, 0.01, doctor.HopServe, doctor.LoopSilence, "dispatch")
	for _, none := range []struct {
		hop    string
		signal doctor.Signal
	}{
		{doctor.HopAPI, doctor.Errors},
		{doctor.HopAPI, doctor.Refused},
		{doctor.HopAPI, doctor.ServerErrors},
		{doctor.HopAPI, doctor.Aborted},
		{doctor.HopAPI, doctor.Duplicates},
		{bank, doctor.Timeouts},
		{bank, doctor.GatewayFails},
		{bank, doctor.Status5xx},
		{bank, doctor.Status429},
		{bank, doctor.Status4xx},
		{bank, doctor.Unreachable},
		{bank, doctor.BadBodies},
		{bank, doctor.Declines},
		{bank, doctor.Unknowns},
		{bank, doctor.NoCallbacks},
		{bank, doctor.BadCallbacks},
		{bank, doctor.BreakerOpen},
		{bank, doctor.Errors},
		{doctor.HopDecider, doctor.Errors},
		{doctor.HopServe, doctor.PoolIdleHeld},
		{doctor.HopServe, doctor.PoolWait},
	} {
		p.is(l, 0, none.hop, none.signal, "")
	}
	p.silent(l, doctor.HopServe, doctor.Restarts, "")
	p.silent(l, bank, doctor.LateTruth, "") // nothing was unknown
	p.silent(l, bank, doctor.QueryBudget, "")
}

func TestChannelInTrouble(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.healthy()
	p.look()
	for range 6 {
		p.count(60, "moneta_channel_requests_total", "channel", bank, "op", "pay", "outcome", "ok")
		p.count(20, "moneta_channel_requests_total", "channel", bank, "op", "pay", "outcome", "timeout")
		p.count(10, "moneta_channel_requests_total", "channel", bank, "op", "pay", "outcome", "http_5xx")
		p.count(10, "moneta_channel_requests_total", "channel", bank, "op", "pay", "outcome", "declined")
		p.count(40, "moneta_channel_requests_total", "channel", bank, "op", "pay", "outcome", "send_by_passed")
		p.count(70, "moneta_channel_http_status_total", "channel", bank, "code", "202")
		p.count(10, "moneta_channel_http_status_total", "channel", bank, "code", "504")
		p.count(30, "moneta_channel_attempts_total", "channel", bank)
		p.count(10, "moneta_channel_first_attempts_total", "channel", bank)
		p.count(4, "moneta_callbacks_total", "channel", bank, "verdict", "forged")
		p.count(30, "moneta_channel_settled_total", "channel", bank, "by", "query")
		p.count(10, "moneta_channel_settled_total", "channel", bank, "by", "callback")
		p.count(3, "moneta_channel_truths_total", "channel", bank, "outcome", "succeeded")
		p.count(9, "moneta_channel_truths_total", "channel", bank, "outcome", "absent")
		p.count(8, "moneta_channel_queries_spent_total", "channel", bank, "tenths", "1")
		p.count(1, "moneta_channel_queries_spent_total", "channel", bank, "tenths", "6")
		p.count(0, "moneta_channel_queries_spent_total", "channel", bank, "tenths", "10")
		p.set(2, "moneta_channel_breaker_state", "channel", bank)
		p.look()
	}
	l := p.look()
	p.is(l, 0.2, bank, doctor.Timeouts, "pay")
	p.is(l, 0.2, bank, doctor.Timeouts, "")
	p.is(l, 0.3, bank, doctor.Unknowns, "")
	p.is(l, 0.1, bank, doctor.Declines, "")
	p.is(l, 3, bank, doctor.Amplified, "")
	p.is(l, 0.75, bank, doctor.NoCallbacks, "")
	p.is(l, 1, bank, doctor.BreakerOpen, "")
	p.is(l, 0.25, bank, doctor.LateTruth, "")
	p.is(l, 0.6, bank, doctor.QueryBudget, "")
	gateway, _ := find(l, bank, doctor.GatewayFails, "")
	require.InDelta(t, 10.0/140, gateway, 1e-6)
	bad, _ := find(l, bank, doctor.BadCallbacks, "")
	require.InDelta(t, 3.2, bad, 0.9)
}

func TestEdgeInTrouble(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.healthy()
	p.look()
	for range 6 {
		p.count(50, "moneta_http_requests_total", "route", "POST /v1/payments", "code", "201")
		p.count(30, "moneta_http_requests_total", "route", "POST /v1/payments", "code", "503")
		p.count(10, "moneta_http_requests_total", "route", "POST /v1/payments", "code", "429")
		p.count(8, "moneta_http_problems_total", "code", "rate-limited")
		p.count(4, "moneta_http_problems_total", "code", "overloaded")
		p.count(28, "moneta_http_problems_total", "code", "database-unavailable")
		p.count(10, "moneta_http_requests_total", "route", "POST /v1/payments", "code", "500")
		p.count(5, "moneta_http_aborted_total")
		p.count(7, "moneta_payments_again_total")
		p.count(9, "moneta_payments_soon_again_total")
		p.count(90, "moneta_payments_requested_total")
		p.look()
	}
	p.set(7, "moneta_http_unanswered_seconds")
	p.set(10, "moneta_pool_acquired_connections", "pool", "stations")
	p.set(9, "moneta_pool_held_connections", "pool", "stations")
	p.set(4, "moneta_pool_oldest_wait_seconds", "pool", "stations")
	p.set(12, "moneta_loop_silence_seconds", "loop", "dispatch")
	p.count(50, "moneta_http_requests_total", "route", "POST /v1/payments", "code", "201")
	l := p.look()
	refused, _ := find(l, doctor.HopAPI, doctor.Refused, "")
	require.InDelta(t, 0.4, refused, 0.06)
	purpose, _ := find(l, doctor.HopAPI, doctor.RefusedToldTo, "")
	require.InDelta(t, 0.08, purpose, 0.02, "nobody told a database not to answer")
	room, _ := find(l, doctor.HopAPI, doctor.RefusedNoRoom, "")
	require.InDelta(t, 0.04, room, 0.01, "nor is that a want of room")
	gone, _ := find(l, doctor.HopAPI, doctor.RefusedNoDatabase, "")
	require.InDelta(t, 0.28, gone, 0.05)
	server, _ := find(l, doctor.HopAPI, doctor.ServerErrors, "")
	require.InDelta(t, 0.1, server, 0.02)
	aborted, _ := find(l, doctor.HopAPI, doctor.Aborted, "")
	require.InDelta(t, 0.05, aborted, 0.01)
	again, _ := find(l, doctor.HopAPI, doctor.Duplicates, "")
	require.Greater(t, again, 4.0)
	doubled, _ := find(l, doctor.HopAPI, doctor.Doubled, "")
	require.InDelta(t, 0.1, doubled, 0.03)
	still, _ := find(l, doctor.HopAPI, doctor.Standstill, "")
	require.InDelta(t, 7, still, 1e-6)
	gaps, _ := find(l, doctor.HopAPI, doctor.StandstillGaps, "")
	require.Greater(t, gaps, 200.0, "a hundred requests a second")
	p.is(l, 1, doctor.HopServe, doctor.PoolBusy, "")
	p.is(l, 9, doctor.HopServe, doctor.PoolIdleHeld, "")
	p.is(l, 4, doctor.HopServe, doctor.PoolWait, "")
	p.is(l, 12, doctor.HopDispatch, doctor.LoopSilence, "dispatch")
}

// Latency is of what ended lately, and nothing is said when nothing did.
func TestQuantiles(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.healthy()
	p.look()
	for range 5 {
		p.took(90, 0.05, "moneta_channel_duration_seconds", "channel", bank, "op", "pay")
		p.took(10, 5, "moneta_channel_duration_seconds", "channel", bank, "op", "pay")
		p.count(100, "moneta_channel_requests_total", "channel", bank, "op", "pay", "outcome", "ok")
		p.look()
	}
	l := p.look()
	p.is(l, 0.545, bank, doctor.Latency, "mean")
	// 90 % lie in (0.01, 0.1], 10 % in (1, 10]; within a bucket they lie evenly.
	p.is(l, 0.01+0.09*50/90, bank, doctor.Latency, "p50")
	p.is(l, 1+9*0.5, bank, doctor.Latency, "p95")
	p.is(l, 1+9*0.9, bank, doctor.Latency, "p99")
	for range 61 {
		l = p.look()
	}
	p.silent(l, bank, doctor.Latency, "mean")
	p.silent(l, bank, doctor.Timeouts, "")
	p.is(l, 0, bank, doctor.Rate, "")
}

// Counters that begin anew are no negative rate, and no great one.
func TestRestartOfTheProcess(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	for range 4 {
		p.healthy()
		p.look()
	}
	p.begin()
	p.healthy()
	p.silent(p.look(), doctor.HopAPI, doctor.Rate, "")
	p.healthy()
	p.is(p.look(), 100, doctor.HopAPI, doctor.Rate, "")
}

func TestCallersAreCounted(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	const name = "moneta_callers_requests_total"
	p.count(1000, name, "dimension", "app", "value", "old/1", "outcome", "failed")
	p.look()
	p.count(10, name, "dimension", "app", "value", "old/1", "outcome", "ok")
	p.count(30, name, "dimension", "app", "value", "old/1", "outcome", "slow")
	p.count(60, name, "dimension", "app", "value", "new/2", "outcome", "ok")
	l := p.look()
	require.Equal(t, []doctor.Cohort{
		{Dimension: "app", Value: "new/2", Affected: 0, Total: 60},
		{Dimension: "app", Value: "old/1", Affected: 30, Total: 40},
	}, l.Cohorts)
}

// The runtime of a real process, this one, reads healthy.
func TestGoRuntime(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.r.MustRegister(collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsScheduler, collectors.GoRuntimeMetricsRule{Matcher: anyCPU})))
	p.look()
	l := p.look()
	n, ok := find(l, doctor.HopServe, doctor.Goroutines, "")
	require.True(t, ok)
	require.Greater(t, n, 1.0)
	gc, ok := find(l, doctor.HopServe, doctor.GC, "")
	require.True(t, ok)
	require.LessOrEqual(t, gc, 1.0)
	wait, ok := find(l, doctor.HopServe, doctor.SchedWait, "")
	require.True(t, ok)
	require.Less(t, wait, 5.0)
}

func TestEndpointThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]http.HandlerFunc{
		"fails":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"garbage": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>{{{") },
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			line := []byte("# HELP " + strings.Repeat("x", 1<<16) + "\n")
			for range 1 << 20 {
				if _, err := w.Write(line); err != nil {
					return
				}
			}
		},
		"elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(handler)
			defer s.Close()
			c := metrics.New(metrics.Config{URL: s.URL})
			defer c.Close()
			began := time.Now()
			l, err := c.Look(t.Context())
			require.Error(t, err)
			require.Less(t, time.Since(began), 10*time.Second)
			up, ok := find(l, doctor.HopServe, doctor.Up, "")
			require.True(t, ok)
			require.Zero(t, up)
		})
	}
	c := metrics.New(metrics.Config{URL: "http://127.0.0.1:1/metrics"})
	defer c.Close()
	l, err := c.Look(t.Context())
	require.Error(t, err)
	require.Equal(t, "refused", l.Points[0].Detail["why"])
}

func TestRemoteProcessTellsItsStarts(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.c = metrics.New(metrics.Config{URL: p.server.URL, Clock: p.clock, Remote: true})
	t.Cleanup(p.c.Close)
	p.set(999_000, "process_start_time_seconds")
	p.is(p.look(), 0, doctor.HopServe, doctor.Restarts, "")
	p.is(p.look(), 1002, doctor.HopServe, doctor.Uptime, "")
	p.set(1_000_001, "process_start_time_seconds")
	p.is(p.look(), 1, doctor.HopServe, doctor.Restarts, "")
}

func BenchmarkLook(b *testing.B) {
	p := newPatient(b)
	p.healthy()
	for i := range 50 { // routes of the API
		p.took(1, 0.01, "moneta_http_request_duration_seconds", "route", fmt.Sprint("GET /v1/", i))
	}
	p.r.MustRegister(collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsScheduler)))
	b.ReportAllocs()
	for b.Loop() {
		p.clock.Advance(time.Second)
		_, err := p.c.Look(b.Context())
		require.NoError(b, err)
	}
}

func TestEveryRequestIsInTheDistribution(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	const of = "moneta_channel_duration_seconds"
	p.took(1, 5, of, "channel", bank, "op", "pay") // before anybody looked: nobody knows when
	p.look()
	for range 40 {
		p.took(9, .05, of, "channel", bank, "op", "pay")
		p.took(1, 20, of, "channel", bank, "op", "pay")
		p.took(3, .05, of, "channel", bank, "op", "query")
		p.look()
	}
	all := p.c.Heats().All()
	require.Len(t, all, 1)
	h := all[0]
	require.Equal(t, bank, h.Hop)
	require.Equal(t, []float64{.01, .1, 1, 10}, h.Bounds)
	require.Equal(t, []float64{0, 360, 0, 0, 40}, h.Total(), "all that came, none sampled, and no queries")
	require.GreaterOrEqual(t, len(h.Columns), 2)
	require.Equal(t, metrics.ColumnEvery, h.Columns[1].At.Sub(h.Columns[0].At))
	q, ok := h.Quantile(.5)
	require.True(t, ok)
	require.InDelta(t, .01+.09*200/360, q, 1e-9, "straight through the row")
	q, _ = h.Quantile(.99)
	require.InDelta(t, 10, q, 1e-9, "nobody knows how much longer")

	p.begin() // it began anew: what it counts now is no difference to before
	p.took(100, .05, of, "channel", bank, "op", "pay")
	p.look()
	require.Equal(t, []float64{0, 360, 0, 0, 40}, func() []float64 { h := p.c.Heats().All()[0]; return h.Total() }())
	p.clock.Advance(time.Hour)
	p.look()
	p.took(1, .05, of, "channel", bank, "op", "pay")
	p.look()
	require.Len(t, p.c.Heats().All()[0].Columns, 1, "an hour later the rest is forgotten")
}
