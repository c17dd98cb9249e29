package otlp_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/moneta-pay/moneta/doctor/signal/otlp"
)

// hand is a clock that is set by hand.
type hand struct{ at time.Time }

func (h *hand) Now() time.Time { return h.at }

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func post(t *testing.T, url, kind string, body []byte, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+otlp.Path, bytes.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", kind)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	said, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(said)
}

// spanJSON is one span as the specification's examples write it.
func spanJSON(traceID, id, parent, name string, start time.Time, took time.Duration, more string) string {
	return fmt.Sprintf(`{"traceId":%q,"spanId":%q,"parentSpanId":%q,"name":%q,"kind":2,"startTimeUnixNano":"%d","endTimeUnixNano":"%d"%s}`,
		traceID, id, parent, name, start.UnixNano(), start.Add(took).UnixNano(), more)
}

func batch(service string, spans ...string) []byte {
	return []byte(`{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"` + service + `"}}]},"scopeSpans":[{"spans":[` + strings.Join(spans, ",") + `]}]}]}`)
}

const someTrace = "5b8efff798038103d269b633813fc60c"

func start(t *testing.T, cfg otlp.Config) (*otlp.Store, string) {
	t.Helper()
	s := otlp.New(cfg)
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	return s, server.URL
}

func traceOf(t *testing.T, s *otlp.Store, text string) otlp.Trace {
	t.Helper()
	id, ok := otlp.ParseTraceID(text)
	require.True(t, ok)
	found, ok := s.Trace(id)
	require.True(t, ok)
	return found
}

func TestTheOfficialExporterIsUnderstood(t *testing.T) {
	t.Parallel()
	s, url := start(t, otlp.Config{})
	exporter, err := otlptracehttp.New(t.Context(), otlptracehttp.WithEndpointURL(url+otlp.Path), otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
	require.NoError(t, err)
	p := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter), sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "shop"))))
	ctx, parent := p.Tracer("x").Start(t.Context(), "checkout", trace.WithAttributes(
		attribute.String("payment", "pay_0000000000001"), attribute.String("card", "4111111111111111")))
	_, child := p.Tracer("x").Start(ctx, "charge")
	child.End()
	parent.End()
	require.NoError(t, p.Shutdown(context.Background()))

	id, ok := s.OfPayment("pay_0000000000001")
	require.True(t, ok)
	require.Equal(t, parent.SpanContext().TraceID().String(), id.String())
	got := traceOf(t, s, id.String())
	require.Len(t, got.Spans, 2)
	require.Equal(t, "checkout", got.Spans[0].Name)
	require.Equal(t, "shop", got.Spans[0].Service)
	require.Equal(t, got.Spans[0].ID, got.Spans[1].Parent)
	require.Equal(t, map[string]string{"payment": "pay_0000000000001"}, got.Spans[0].Attrs, "what nobody asked for is not kept")
}

func TestJSONHasItsIdsInHexadecimal(t *testing.T) {
	t.Parallel()
	s, url := start(t, otlp.Config{})
	code, said := post(t, url, "application/json", batch("shop",
		spanJSON(someTrace, "eee19b7ec3c1b174", "", "checkout", noon, time.Second/2, `,"status":{"code":2,"message":"no stock"},"somethingNew":1`)))
	require.Equal(t, http.StatusOK, code, said)
	got := traceOf(t, s, strings.ToUpper(someTrace[:8])+"-"+someTrace[8:])
	require.Equal(t, "eee19b7ec3c1b174", fmt.Sprintf("%x", got.Spans[0].ID))
	require.Equal(t, noon, got.Spans[0].Start)
	require.Equal(t, time.Second/2, got.Spans[0].Took())
	require.True(t, got.Failed)
	require.Equal(t, "no stock", got.Spans[0].Error)
}

func TestWhatIsNoSpansIsRefusedAndSaysWhy(t *testing.T) {
	t.Parallel()
	s, url := start(t, otlp.Config{})
	good := batch("shop", spanJSON(someTrace, "eee19b7ec3c1b174", "", "a", noon, 1, ""))
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, err := z.Write(make([]byte, 64<<20))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	for name, c := range map[string]struct {
		kind   string
		body   []byte
		header []string
		code   int
		says   string
	}{
		"another type":      {"text/plain", good, nil, 415, "application/json"},
		"no type":           {"", good, nil, 415, "application/json"},
		"not JSON":          {"application/json", []byte("{"), nil, 400, "not OTLP in JSON"},
		"not protobuf":      {"application/x-protobuf", []byte("\xff\xff"), nil, 400, "not OTLP in protobuf"},
		"not gzip":          {"application/json", good, []string{"Content-Encoding", "gzip"}, 400, "not gzip"},
		"an odd encoding":   {"application/json", good, []string{"Content-Encoding", "br"}, 415, "gzip"},
		"too long":          {"application/json", bytes.Repeat([]byte(" "), 5<<20), nil, 413, "smaller"},
		"too long unpacked": {"application/json", bomb.Bytes(), []string{"Content-Encoding", "gzip"}, 413, "smaller"},
	} {
		code, said := post(t, url, c.kind, c.body, c.header...)
		require.Equal(t, c.code, code, name)
		require.Contains(t, said, c.says, name)
	}
	require.Zero(t, s.Held().Received)
	resp, err := http.Get(url + "/v1/metrics")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
}

func TestBadSpansAreCountedAndTheOthersKept(t *testing.T) {
	t.Parallel()
	s, url := start(t, otlp.Config{})
	code, said := post(t, url, "application/json", batch("shop",
		spanJSON(someTrace, "eee19b7ec3c1b174", "", "good", noon, 1, ""),
		spanJSON("00000000000000000000000000000000", "eee19b7ec3c1b174", "", "no trace", noon, 1, ""),
		spanJSON("5b8e", "eee19b7ec3c1b174", "", "short", noon, 1, ""),
		spanJSON(someTrace, "", "", "no id", noon, 1, ""),
		spanJSON(someTrace, "eee19b7ec3c1b175", "", "ends before it begins", noon, -time.Second, "")))
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, said, `"rejectedSpans":"4"`)
	require.EqualValues(t, 4, s.Held().Dropped[otlp.DroppedInvalid])
	require.Len(t, traceOf(t, s, someTrace).Spans, 1)
}

func traceNo(n int) string { return fmt.Sprintf("%032x", n+1) }

func TestTheNewestAreKeptAndWhatFailedLonger(t *testing.T) {
	t.Parallel()
	clock := &hand{noon}
	s, url := start(t, otlp.Config{Clock: clock, Bytes: 64 << 10, Age: time.Hour, KeptAge: 3 * time.Hour})
	send := func(n int, took time.Duration, more string) {
		code, said := post(t, url, "application/json", batch("shop", spanJSON(traceNo(n), "eee19b7ec3c1b174", "", "a", clock.at, took, more)))
		require.Equal(t, http.StatusOK, code, said)
	}
	has := func(n int) bool {
		id, _ := otlp.ParseTraceID(traceNo(n))
		_, ok := s.Trace(id)
		return ok
	}
	send(0, time.Millisecond, `,"status":{"code":2}`)
	send(1, 2*time.Second, "")
	for n := 2; n < 1000; n++ {
		clock.at = clock.at.Add(time.Second)
		send(n, time.Millisecond, "")
	}
	h := s.Held()
	require.LessOrEqual(t, h.Bytes, h.BytesMax)
	require.Less(t, h.Traces, 998)
	require.Equal(t, 2, h.Kept)
	require.EqualValues(t, 1000-h.Traces, h.Dropped[otlp.DroppedForgotten], "what went is counted")
	require.True(t, has(0), "it failed")
	require.True(t, has(1), "it was slow")
	require.True(t, has(999), "the newest")
	require.False(t, has(2), "the oldest that went well")
	newest := s.Newest(time.Time{}, 5)
	require.Len(t, newest, 5)
	require.Equal(t, traceNo(999), newest[0].ID.String())

	clock.at = clock.at.Add(time.Hour + time.Second)
	require.False(t, has(999), "too old")
	require.True(t, has(0))
	clock.at = clock.at.Add(2 * time.Hour)
	require.False(t, has(0), "too old even so")
	require.Zero(t, s.Held().Bytes, "nothing is left behind")
}

func TestFailuresAloneDoNotOutgrowTheStore(t *testing.T) {
	t.Parallel()
	clock := &hand{noon}
	s, url := start(t, otlp.Config{Clock: clock, Bytes: 32 << 10})
	for n := range 500 {
		clock.at = clock.at.Add(time.Second)
		code, _ := post(t, url, "application/json", batch("shop", spanJSON(traceNo(n), "eee19b7ec3c1b174", "", "a", noon, 1, `,"status":{"code":2}`)))
		require.Equal(t, http.StatusOK, code)
	}
	h := s.Held()
	require.LessOrEqual(t, h.Bytes, h.BytesMax*3/4)
	require.Equal(t, h.Traces, h.Kept)
}

func TestSpansASecondAndSpansOfATraceAreBounded(t *testing.T) {
	t.Parallel()
	clock := &hand{noon}
	s, url := start(t, otlp.Config{Clock: clock, SpansPerSecond: 100})
	var spans []string
	for n := range 600 {
		spans = append(spans, spanJSON(someTrace, fmt.Sprintf("%016x", n+1), "", "a", noon, 1, ""))
	}
	_, said := post(t, url, "application/json", batch("shop", spans...))
	require.Contains(t, said, `"rejectedSpans":"88"`)
	got := traceOf(t, s, someTrace)
	require.Len(t, got.Spans, 512)
	require.True(t, got.Cut)
	require.EqualValues(t, 88, s.Held().Dropped[otlp.DroppedTraceFull])

	flood := func(trace string) {
		var all []string
		for n := range 500 {
			all = append(all, spanJSON(trace, fmt.Sprintf("%016x", n+1), "", "a", noon, 1, ""))
		}
		code, _ := post(t, url, "application/json", batch("shop", all...))
		require.Equal(t, http.StatusOK, code)
	}
	flood(traceNo(1))
	require.EqualValues(t, 100, s.Held().Dropped[otlp.DroppedRate], "a burst of ten seconds' worth, and no more")
	clock.at = clock.at.Add(5 * time.Second)
	flood(traceNo(2))
	require.EqualValues(t, 100, s.Held().Dropped[otlp.DroppedRate], "what was earned meanwhile")
}

// payout is the trace of a payout whose bank took long; ms are where a span begins and
// ends after noon.
func payout(t *testing.T, url string, more ...string) {
	t.Helper()
	at := func(id, parent, name string, from, to int, attrs string) string {
		return spanJSON(someTrace, id, parent, name, noon.Add(time.Duration(from)*time.Millisecond), time.Duration(to-from)*time.Millisecond, attrs)
	}
	channel := `,"attributes":[{"key":"channel","value":{"stringValue":"bank-ab"}}]`
	spans := append([]string{
		at("0000000000000001", "", "http.request", 0, 500, ""),
		at("0000000000000002", "0000000000000001", "commit.submit", 2, 8, ""),
		at("0000000000000003", "0000000000000001", "api.wait", 9, 499, ""),
		at("0000000000000004", "00000000000000ff", "dispatch.send", 20, 120, channel),
		at("0000000000000005", "0000000000000004", "http.client", 21, 119, ""),
		at("0000000000000006", "00000000000000ff", "settle.callback", 490, 498, channel),
	}, more...)
	code, said := post(t, url, "application/json", batch(otlp.OwnService, spans...))
	require.Equal(t, http.StatusOK, code, said)
}

func TestTheSlowHopIsNamed(t *testing.T) {
	t.Parallel()
	s, url := start(t, otlp.Config{})
	payout(t, url)
	got := traceOf(t, s, someTrace)
	require.False(t, got.Slow, "half a second is none")
	w := got.Waterfall()
	require.InDelta(t, .5, w.TookS, 1e-9)
	part := map[string]float64{}
	for _, p := range w.Hops {
		part[p.Hop] = p.S * 1000
	}
	require.InDelta(t, 98+370, part["bank-ab"], .01, "the call, and the wait for its word: %v", part)
	require.InDelta(t, 2+11, part["dispatch"], .01, "in the lane, and around the call: %v", part)
	require.InDelta(t, 6, part["decider"], .01)
	require.InDelta(t, 8, part["settle"], .01)
	require.NotNil(t, w.Slow)
	require.Equal(t, "bank-ab", w.Slow.Hop)
	var slow otlp.Row
	for _, r := range w.Rows {
		if r.Slow {
			slow = r
		}
		if r.Name == "http.client" {
			require.Equal(t, "bank-ab", r.Hop, "a call is the time of whom it calls")
			require.Equal(t, 1, r.Depth)
		}
	}
	require.True(t, slow.Gap, "most of it was the wait for the bank's word: %+v", slow)
	require.InDelta(t, .12, slow.FromS, 1e-9)
}

func TestWhatWaitsForOthersIsNotSlow(t *testing.T) {
	t.Parallel()
	s, url := start(t, otlp.Config{})
	code, _ := post(t, url, "application/json", batch(otlp.OwnService,
		spanJSON(someTrace, "0000000000000002", "0000000000000001", "api.wait", noon, 20*time.Second, ""),
		spanJSON(someTrace, "0000000000000001", "", "http.request", noon, 20*time.Second, "")))
	require.Equal(t, http.StatusOK, code)
	require.False(t, traceOf(t, s, someTrace).Slow)
	require.Nil(t, func() *otlp.Part { f := traceOf(t, s, someTrace); w := f.Waterfall(); return w.Slow }())
}

func TestAForeignTraceIsByItsServices(t *testing.T) {
	t.Parallel()
	s, url := start(t, otlp.Config{})
	code, _ := post(t, url, "application/json", batch("shop", spanJSON(someTrace, "0000000000000001", "", "GET /cart", noon, 100*time.Millisecond, "")))
	require.Equal(t, http.StatusOK, code)
	code, _ = post(t, url, "application/json", batch("stock", spanJSON(someTrace, "0000000000000002", "0000000000000001", "reserve", noon.Add(10*time.Millisecond), 80*time.Millisecond, "")))
	require.Equal(t, http.StatusOK, code)
	f := traceOf(t, s, someTrace)
	w := f.Waterfall()
	require.Equal(t, "stock", w.Slow.Hop)
	require.InDelta(t, .8, w.Slow.Share, 1e-9)
}

func TestOfWhatWasRecordedLateTheGapsMeanNothing(t *testing.T) {
	t.Parallel()
	s, url := start(t, otlp.Config{})
	late := `,"attributes":[{"key":"moneta.late","value":{"boolValue":true}},{"key":"channel","value":{"stringValue":"bank-ab"}}]`
	code, _ := post(t, url, "application/json", batch(otlp.OwnService,
		spanJSON(someTrace, "0000000000000001", "", "dispatch.send", noon, 2*time.Second, late),
		spanJSON(someTrace, "0000000000000002", "", "settle.query", noon.Add(5*time.Second), time.Second, "")))
	require.Equal(t, http.StatusOK, code)
	f := traceOf(t, s, someTrace)
	w := f.Waterfall()
	require.True(t, w.Partial)
	for _, p := range w.Hops {
		require.NotEqual(t, "bank-ab", p.Hop, "nobody knows what happened in between")
	}
}

func TestARingOfParentsHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	s, url := start(t, otlp.Config{})
	code, _ := post(t, url, "application/json", batch("shop",
		spanJSON(someTrace, "0000000000000001", "0000000000000002", "a", noon, 1, ""),
		spanJSON(someTrace, "0000000000000002", "0000000000000001", "b", noon, 1, "")))
	require.Equal(t, http.StatusOK, code)
	f := traceOf(t, s, someTrace)
	require.Len(t, f.Spans, 2)
	w := f.Waterfall()
	require.NotEmpty(t, w.Rows)
}

// FuzzReceive: whatever is sent, it is answered, and what is kept can be laid out.
func FuzzReceive(f *testing.F) {
	f.Add("application/json", batch("shop", spanJSON(someTrace, "eee19b7ec3c1b174", "eee19b7ec3c1b174", "a", noon, 1, "")))
	f.Add("application/json", []byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"AAAA","startTimeUnixNano":"18446744073709551615"}]}]}]}`))
	f.Add("application/x-protobuf", []byte("\n\x00"))
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		s := otlp.New(otlp.Config{})
		r := httptest.NewRequest(http.MethodPost, otlp.Path, bytes.NewReader(body))
		r.Header.Set("Content-Type", kind)
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		require.Contains(t, []int{200, 400, 413, 415}, w.Code)
		for _, found := range s.Newest(time.Time{}, 10) {
			found.Waterfall()
		}
	})
}

func TestACellOfADistributionHasAPayment(t *testing.T) {
	t.Parallel()
	clock := &hand{noon}
	s, url := start(t, otlp.Config{Clock: clock})
	for n := range 20 {
		took := time.Duration(n+1) * 10 * time.Millisecond
		id := traceNo(n)
		payment := fmt.Sprintf(`,"attributes":[{"key":"payment","value":{"stringValue":"pay_%d"}},{"key":"channel","value":{"stringValue":"bank-ab"}}]`, n)
		code, said := post(t, url, "application/json", batch(otlp.OwnService,
			spanJSON(id, "0000000000000003", "0000000000000001", "api.wait", noon.Add(5*time.Millisecond), took, ""),
			spanJSON(id, "0000000000000001", "", "http.request", noon, took+5*time.Millisecond, ""),
			spanJSON(id, "0000000000000004", "00000000000000ff", "dispatch.send", noon.Add(5*time.Millisecond), took, payment)))
		require.Equal(t, http.StatusOK, code, said)
	}
	got := s.Exemplars("dispatch", noon, noon.Add(time.Minute), .095, .105, 3)
	require.Len(t, got, 3)
	require.True(t, got[0].Exact)
	require.Equal(t, "pay_9", got[0].Payment)
	require.False(t, got[1].Exact, "the nearest of those that are there, and it says so")
	got = s.Exemplars("dispatch", noon, noon.Add(time.Minute), 10, 0, 1)
	require.Equal(t, "pay_19", got[0].Payment, "the slowest comes nearest to what is slower")
	require.InDelta(t, .005, s.Exemplars("api", noon, noon.Add(time.Minute), 0, 1, 1)[0].TookS, 1e-9, "without what the caller preferred to wait")
	require.Empty(t, s.Exemplars("dispatch", noon.Add(time.Minute), noon.Add(2*time.Minute), 0, 1, 1), "another time")

	tail := s.TailOf(noon.Add(-time.Second))
	require.Equal(t, 20, tail.Traces)
	require.Equal(t, 1, tail.Tail, "a hundredth, and one at least")
	require.Equal(t, "pay_19", tail.Slowest.Payment)
	require.InDelta(t, .205, tail.P99S, 1e-9)
	require.Equal(t, "dispatch", tail.Hops[0].Hop)
	sum := 0.0
	for _, p := range tail.Hops {
		sum += p.Share
	}
	require.InDelta(t, 1, sum, 1e-9)
	require.InDelta(t, .2/.205, tail.Hops[0].Share, 1e-9)
	require.Zero(t, s.TailOf(noon.Add(time.Hour)).Traces)
}
