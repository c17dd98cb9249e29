package telemetry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	someTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	someSpan  = "00f067aa0ba902b7"
)

func setup(t *testing.T, cfg Config) *Telemetry {
	t.Helper()
	if cfg.LogOutput == nil {
		cfg.LogOutput = io.Discard
	}
	tel, err := Setup(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tel.Shutdown(context.Background())) })
	return tel
}

func serve(h http.Handler, traceparent string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/v1/payments", nil)
	if traceparent != "" {
		r.Header.Set("traceparent", traceparent)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestEveryRequestHasATraceID(t *testing.T) {
	t.Parallel()
	for name, oneIn := range map[string]int{"never sampled": SampleOff, "always sampled": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tel := setup(t, Config{SampleOneIn: oneIn})
			var inside string
			h := tel.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { inside = TraceID(r.Context()) }))

			w := serve(h, "")
			require.Regexp(t, "^[0-9a-f]{32}$", inside)
			require.Equal(t, inside, w.Header().Get(TraceIDHeader))
			first := inside
			serve(h, "")
			require.NotEqual(t, first, inside, "a second request is another trace")

			serve(h, "00-"+someTrace+"-"+someSpan+"-00")
			require.Equal(t, someTrace, inside, "the caller's trace goes on")
			serve(h, "00-garbage")
			require.Regexp(t, "^[0-9a-f]{32}$", inside)
		})
	}
}

func TestSampledRequestLandsInTheRing(t *testing.T) {
	t.Parallel()
	tel := setup(t, Config{SampleOneIn: 1})
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/payments", func(w http.ResponseWriter, r *http.Request) {
		_, span := tel.Tracer("dispatch").Start(r.Context(), "attempt")
		span.SetAttributes(attribute.String("api_key", canaries["password"]), attribute.String("note", canaries["card"]),
			attribute.Int64("n", 4111111111111111), attribute.String("channel", "bank-ab"))
		span.RecordError(errors.New(canaries["jwt"]))
		span.SetStatus(codes.Error, "Bearer "+canaries["bearer"])
		span.End()
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	id := serve(tel.Middleware(mux), "").Header().Get(TraceIDHeader)

	spans := tel.RecentSpans(id, 10)
	require.Len(t, spans, 2)
	require.Equal(t, "POST /v1/payments", spans[0].Attrs["http.route"])
	require.Equal(t, "503", spans[0].Attrs["http.response.status_code"])
	require.Equal(t, spans[0].SpanID, spans[1].ParentID)
	require.Equal(t, map[string]string{"api_key": redacted, "note": redacted, "n": redacted, "channel": "bank-ab"}, spans[1].Attrs)
	require.NotContains(t, spans[1].Error, canaries["bearer"])
	require.Empty(t, tel.RecentSpans(someTrace, 10))
}

func TestRingKeepsTheLastSpans(t *testing.T) {
	t.Parallel()
	tel := setup(t, Config{SampleOneIn: 1, RingSpansMax: 3})
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		_, span := tel.Tracer("x").Start(t.Context(), name)
		span.End()
	}
	var names []string
	for _, s := range tel.RecentSpans("", 10) {
		names = append(names, s.Name)
	}
	require.Equal(t, []string{"e", "d", "c"}, names)
	require.Len(t, tel.RecentSpans("", 2), 2)
}

func TestOneTraceInNIsRecorded(t *testing.T) {
	t.Parallel()
	tel := setup(t, Config{SampleOneIn: 16, RingSpansMax: 1 << 14})
	const traces = 16_000
	for range traces {
		_, span := tel.Tracer("x").Start(t.Context(), "s")
		span.End()
	}
	got := len(tel.RecentSpans("", traces))
	require.InDelta(t, traces/16, got, 200, "6 sigma of a fair draw")
}

func TestCallersCannotForceUnboundedRecording(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	s := newForced(5)
	s.now = func() time.Time { return now }
	sampled := func() (n int) {
		for range 100 {
			if s.ShouldSample(sdktrace.SamplingParameters{ParentContext: t.Context()}).Decision == sdktrace.RecordAndSample {
				n++
			}
		}
		return n
	}
	require.Equal(t, 5, sampled())
	require.Equal(t, 0, sampled())
	now = now.Add(time.Second)
	require.Equal(t, 5, sampled())
}

func TestTraceGoesOutAndIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	var seen string
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		seen = TraceID(Extract(r.Context(), r.Header))
	}))
	defer srv.Close()
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	req, err := http.NewRequestWithContext(WithTraceID(t.Context(), someTrace), http.MethodGet, srv.URL, nil)
	require.NoError(t, err)
	resp, err := (&http.Client{Transport: Transport(base)}).Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, someTrace, seen)
	require.Empty(t, req.Header, "the caller's request is left alone")
}

func TestWithTraceID(t *testing.T) {
	t.Parallel()
	require.Empty(t, TraceID(t.Context()))
	require.Empty(t, TraceID(WithTraceID(t.Context(), "not hex")))
	ctx := WithTraceID(t.Context(), someTrace)
	require.Equal(t, someTrace, TraceID(ctx))
	require.Equal(t, someTrace, TraceID(WithTraceID(t.Context(), "4bf92f35-77b3-4da6-a3ce-929d0e0e4736")))
	tel := setup(t, Config{SampleOneIn: SampleOff})
	child, span := tel.Tracer("x").Start(ctx, "s")
	defer span.End()
	require.Equal(t, someTrace, TraceID(child))
	require.NotEqual(t, trace.SpanContextFromContext(ctx).SpanID(), span.SpanContext().SpanID())
	require.Equal(t, child, WithTraceID(child, someTrace), "the same trace keeps its nearer span")
}

// collector is an OTLP/HTTP endpoint over a real socket.
type collector struct {
	*httptest.Server
	status int
	got    chan struct{}
	mu     sync.Mutex
	bodies bytes.Buffer
}

func newCollector(t *testing.T, status int) *collector {
	t.Helper()
	c := &collector{status: status, got: make(chan struct{}, 16)}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		_, _ = io.Copy(&c.bodies, r.Body)
		c.mu.Unlock()
		w.WriteHeader(c.status)
		c.got <- struct{}{}
	}))
	t.Cleanup(c.Close)
	return c
}

func TestSpansLeaveOnlyWhenAskedAndWithoutSecrets(t *testing.T) {
	t.Parallel()
	c := newCollector(t, http.StatusOK)
	tel, err := Setup(t.Context(), Config{SampleOneIn: 1, OTLPEndpoint: c.URL, LogOutput: io.Discard})
	require.NoError(t, err)
	_, span := tel.Tracer("dispatch").Start(t.Context(), "attempt on bank-ab")
	span.SetAttributes(attribute.String("authorization", canaries["password"]))
	span.AddEvent("sent", trace.WithAttributes(attribute.String("body", canaries["api key"])))
	span.End()
	require.NoError(t, tel.Shutdown(t.Context()))
	<-c.got
	c.mu.Lock()
	defer c.mu.Unlock()
	require.Contains(t, c.bodies.String(), "attempt on bank-ab")
	for what, secret := range canaries {
		require.NotContains(t, c.bodies.String(), secret, what)
	}
	require.Contains(t, scrape(tel), "moneta_trace_spans_exported_total 1")
}

func TestAFailingCollectorIsCountedAndLogged(t *testing.T) {
	t.Parallel()
	c := newCollector(t, http.StatusBadRequest)
	var log bytes.Buffer
	tel, err := Setup(t.Context(), Config{SampleOneIn: 1, OTLPEndpoint: c.URL, LogOutput: &log})
	require.NoError(t, err)
	_, span := tel.Tracer("x").Start(t.Context(), "s")
	span.End()
	require.NoError(t, tel.Shutdown(t.Context()))
	require.Contains(t, scrape(tel), "moneta_trace_spans_failed_total 1")
	require.Contains(t, log.String(), "spans not exported")
}

func TestTheEnvironmentNamesTheCollector(t *testing.T) {
	c := newCollector(t, http.StatusOK)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL)
	tel, err := Setup(t.Context(), Config{SampleOneIn: 1, LogOutput: io.Discard})
	require.NoError(t, err)
	_, span := tel.Tracer("x").Start(t.Context(), "s")
	span.End()
	require.NoError(t, tel.Shutdown(t.Context()))
	<-c.got
}

func TestSetupNamesTheWrongSetting(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]Config{
		"log format":    {LogFormat: "xml"},
		"sample one in": {SampleOneIn: -2},
		"ring of":       {RingSpansMax: -1},
		"OTLP endpoint": {OTLPEndpoint: "127.0.0.1:4318"},
	} {
		_, err := Setup(t.Context(), cfg)
		require.ErrorContains(t, err, want)
	}
}

func scrape(tel *Telemetry) string {
	w := httptest.NewRecorder()
	tel.MetricsHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	tel := setup(t, Config{})
	tel.Counter("moneta_things_total", "Things.").Inc()
	tel.Counter("moneta_things_total", "Things.").Inc()
	tel.CounterVec("moneta_kinds_total", "Kinds.", "kind").WithLabelValues("a").Inc()
	tel.Gauge("moneta_open", "Open.").Set(7)
	tel.GaugeVec("moneta_open_by", "Open.", "hop").WithLabelValues("x").Set(1)
	tel.GaugeFunc("moneta_age_seconds", "Age.", func() float64 { return 3 })
	tel.Histogram("moneta_commit_seconds", "Commit.").Observe(.002)
	tel.HistogramVec("moneta_call_seconds", "Call.", "channel").WithLabelValues("bank-ab").Observe(1)
	out := scrape(tel)
	for _, line := range []string{
		"moneta_things_total 2", `moneta_kinds_total{kind="a"} 1`, "moneta_open 7", `moneta_open_by{hop="x"} 1`, "moneta_age_seconds 3",
		`moneta_commit_seconds_bucket{le="0.0025"} 1`, `moneta_call_seconds_count{channel="bank-ab"} 1`, "go_goroutines ", "process_open_fds ",
	} {
		require.Contains(t, out, line)
	}
	require.Panics(t, func() { tel.Histogram("moneta_open", "Not a gauge.") })
}

func BenchmarkMiddleware(b *testing.B) {
	for name, oneIn := range map[string]int{"bare": 0, "off": SampleOff, "default": DefaultSampleOneIn, "all": 1} {
		b.Run(name, func(b *testing.B) {
			h := http.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			if oneIn != 0 {
				tel, err := Setup(b.Context(), Config{SampleOneIn: oneIn, LogOutput: io.Discard})
				require.NoError(b, err)
				h = tel.Middleware(h)
			}
			r := httptest.NewRequest(http.MethodPost, "/v1/payments", nil)
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(httptest.NewRecorder(), r)
			}
		})
	}
}

func TestWhatIsFollowedIsRecordedUpToALimit(t *testing.T) {
	t.Parallel()
	tel := setup(t, Config{SampleOneIn: 1 << 30, Follow: func(r *http.Request) bool { return r.Method == http.MethodPost }})
	tel.followed.now = func() time.Time { return time.Unix(1000, 0) } // one second
	h := tel.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	var ids []string
	for range 3 * followedPerSec {
		ids = append(ids, serve(h, "").Header().Get(TraceIDHeader))
	}
	require.Len(t, tel.RecentSpans("", 1000), followedPerSec)
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	require.Len(t, tel.RecentSpans("", 1000), followedPerSec, "nobody follows this one")

	// Its steps are recorded as well, long after the request.
	step := func(id string) int {
		of, err := trace.TraceIDFromHex(id)
		require.NoError(t, err)
		_, end := tel.Step(context.Background(), of, "dispatch.send", time.Time{})
		end(nil)
		return len(tel.RecentSpans(id, 10))
	}
	require.Equal(t, 2, step(ids[0]))
	require.Equal(t, 0, step(ids[len(ids)-1]), "nor are those of a request that was not")

	// A caller that does not record for himself has ours recorded all the same.
	tel.followed.now = func() time.Time { return time.Unix(1001, 0) }
	serve(h, "00-"+someTrace+"-"+someSpan+"-00")
	require.Len(t, tel.RecentSpans(someTrace, 10), 1)
}

func TestWhatFailsOrIsSlowIsRecordedAfterTheFact(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		oneIn int
		from  time.Duration // ago
		err   error
		want  int
	}{
		"well":                {1 << 30, 0, nil, 0},
		"failed":              {1 << 30, 0, errors.New("no route"), 1},
		"slow":                {1 << 30, 2 * time.Second, nil, 1},
		"failed, and all off": {SampleOff, 0, errors.New("no route"), 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tel := setup(t, Config{SampleOneIn: c.oneIn})
			var from time.Time
			if c.from > 0 {
				from = time.Now().Add(-c.from)
			}
			id := [16]byte{1, 2, 3, 15: 1}
			ctx, end := tel.Step(t.Context(), id, "dispatch.send", from, attribute.String("channel", "bank-ab"))
			end(c.err)
			got := tel.RecentSpans(TraceID(ctx), 10)
			require.Len(t, got, c.want)
			if c.want == 0 {
				return
			}
			require.Equal(t, "true", got[0].Attrs[KeyLate])
			require.Equal(t, "bank-ab", got[0].Attrs["channel"])
			require.GreaterOrEqual(t, got[0].Duration, c.from)
			_, end = tel.Step(t.Context(), id, "settle.query", time.Time{})
			end(nil)
			got = tel.RecentSpans(TraceID(ctx), 10)
			require.Len(t, got, 2, "from here on all of it is")
			require.Empty(t, got[0].Attrs[KeyLate])
		})
	}
}

func TestARequestThatFailsIsRecordedAndOneThatWaitsIsNot(t *testing.T) {
	t.Parallel()
	tel := setup(t, Config{SampleOneIn: 1 << 30})
	status := http.StatusServiceUnavailable
	h := tel.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	id := serve(h, "").Header().Get(TraceIDHeader)
	got := tel.RecentSpans(id, 10)
	require.Len(t, got, 1)
	require.Equal(t, "503", got[0].Attrs["http.response.status_code"])
	status = http.StatusNotFound
	require.Empty(t, tel.RecentSpans(serve(h, "").Header().Get(TraceIDHeader), 10), "a refusal is the caller's")

	r := httptest.NewRequest(http.MethodPost, "/v1/payments", nil)
	require.False(t, asked(r, httptest.NewRecorder()))
	r.Header.Set("Prefer", "wait=20")
	require.True(t, asked(r, httptest.NewRecorder()))
	stream := httptest.NewRecorder()
	stream.Header().Set("Content-Type", "text/event-stream")
	require.True(t, asked(httptest.NewRequest(http.MethodGet, "/", nil), stream))
}

// BenchmarkPaymentSpans is what the spans of one payout cost: its request, its submit, its
// order with the call, and its callback. The ratio of "usual" to "all" is what sampling
// saves, that of "usual" to "off" what the rest costs.
func BenchmarkPaymentSpans(b *testing.B) {
	for name, cfg := range map[string]Config{
		"off":   {SampleOneIn: SampleOff},
		"usual": {Follow: func(*http.Request) bool { return true }},
		"all":   {SampleOneIn: 1},
	} {
		b.Run(name, func(b *testing.B) {
			cfg.LogOutput = io.Discard
			tel, err := Setup(b.Context(), cfg)
			require.NoError(b, err)
			var id [16]byte
			h := tel.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				id = trace.SpanContextFromContext(r.Context()).TraceID()
				_, end := Child(r.Context(), "commit.submit")
				end(nil)
			}))
			r := httptest.NewRequest(http.MethodPost, "/v1/payments", nil)
			attrs := []attribute.KeyValue{attribute.String("payment", "pay_0000000000001"), attribute.String("channel", "bank-ab")}
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(httptest.NewRecorder(), r)
				ctx, end := tel.Step(b.Context(), id, "dispatch.send", time.Time{}, attrs...)
				_, call := Child(ctx, "http.client")
				call(nil)
				end(nil)
				_, end = tel.Step(b.Context(), id, "settle.callback", time.Time{}, attrs...)
				end(nil)
			}
		})
	}
}
