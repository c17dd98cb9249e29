package telemetry

import (
	"context"
	"encoding/binary"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// TraceIDHeader carries the trace id back to the caller, on every answer of Middleware.
const TraceIDHeader = "Trace-Id"

// TraceID returns the trace id that ctx carries, as 32 hexadecimal digits, or ""
// when it carries none.
func TraceID(ctx context.Context) string {
	sc := trace.SpanContextFromContext(ctx)
	if !sc.HasTraceID() {
		return ""
	}
	return sc.TraceID().String()
}

// WithTraceID returns ctx carrying the trace that traceID names, so that work on a
// stored payment continues the trace of the request that made it. The id may be
// written as a UUID, which is how Postgres shows it. A malformed id, and one that
// ctx already carries, leave ctx as it is.
func WithTraceID(ctx context.Context, traceID string) context.Context {
	id, err := trace.TraceIDFromHex(strings.ReplaceAll(traceID, "-", ""))
	if err != nil || trace.SpanContextFromContext(ctx).TraceID() == id {
		return ctx
	}
	// The parent span is long gone; its trace id, the first half, stands in for it,
	// because a span context without a span id counts as none.
	var parent trace.SpanID
	copy(parent[:], id[:8])
	if !parent.IsValid() {
		parent[7] = 1
	}
	return trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: parent}))
}

// Step begins one step on a payment's way, in the trace that the payment carries:
// the road goes through queues, timers and callbacks, where the request's context
// is long gone. It is recorded when the trace is, and when it fails or takes SlowAfter;
// else it costs next to nothing. It began at from, or now if that is zero. End it with
// the function returned; its error marks the step as failed.
func (t *Telemetry) Step(ctx context.Context, id [16]byte, name string, from time.Time, attrs ...attribute.KeyValue) (context.Context, func(error)) {
	ctx = WithTraceID(ctx, trace.TraceID(id).String())
	sc := trace.SpanContextFromContext(ctx)
	if !sc.HasTraceID() {
		return ctx, func(error) {}
	}
	if !sc.IsSampled() && !t.recorded(sc.TraceID()) {
		if from.IsZero() {
			from = time.Now()
		}
		return ctx, func(err error) {
			if took := time.Since(from); err != nil || took >= SlowAfter {
				t.late(ctx, t.steps, name, from, err, attrs...)
			}
		}
	}
	ctx = trace.ContextWithSpanContext(ctx, sc.WithTraceFlags(sc.TraceFlags().WithSampled(true)))
	opts := []trace.SpanStartOption{trace.WithAttributes(attrs...)}
	if !from.IsZero() {
		opts = append(opts, trace.WithTimestamp(from))
	}
	ctx, span := t.steps.Start(ctx, name, opts...)
	return ctx, func(err error) {
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}

// recorded tells by the trace id alone whether its spans are kept, as the sampler
// did when the trace began; traces that were recorded for another reason are remembered
// for a while.
func (t *Telemetry) recorded(id trace.TraceID) bool {
	return everyNth{uint64(max(t.cfg.SampleOneIn, 0))}.picks(id) || t.forced.remembers(id) || t.followed.remembers(id) || t.ill.remembers(id)
}

// KeyLate marks a span that was recorded after the fact, because it failed or was slow.
const KeyLate = "moneta.late"

// late records what was not to be recorded and ended badly, up to a limit a second: what
// fails is looked for, and what goes well is like the rest. The trace is recorded from
// here on.
func (t *Telemetry) late(ctx context.Context, by trace.Tracer, name string, from time.Time, err error, attrs ...attribute.KeyValue) {
	sc := trace.SpanContextFromContext(ctx)
	if t.cfg.SampleOneIn == SampleOff || !t.ill.allow(sc.TraceID()) {
		return
	}
	ctx = trace.ContextWithSpanContext(ctx, sc.WithTraceFlags(sc.TraceFlags().WithSampled(true)))
	_, span := by.Start(ctx, name, trace.WithTimestamp(from), trace.WithAttributes(attrs...), trace.WithAttributes(attribute.Bool(KeyLate, true)))
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}

// Mark puts an attribute on the span that ctx is recording, if any.
func Mark(ctx context.Context, key, value string) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(attribute.String(key, value))
	}
}

// Child begins a span below the one that ctx is recording; without one it does
// nothing. For parts of a process that have no Telemetry of their own.
func Child(ctx context.Context, name string) (context.Context, func(error)) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, func(error) {}
	}
	ctx, span := parent.TracerProvider().Tracer("moneta").Start(ctx, name)
	return ctx, func(err error) {
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}

// Inject writes ctx's trace into an outgoing request's headers (traceparent).
func Inject(ctx context.Context, h http.Header) {
	w3c.Inject(ctx, propagation.HeaderCarrier(h))
}

// Extract returns ctx with the trace that the headers carry, or ctx itself.
func Extract(ctx context.Context, h http.Header) context.Context {
	return w3c.Extract(ctx, propagation.HeaderCarrier(h))
}

// Transport returns a RoundTripper that passes the request context's trace on to
// the other side. A nil base is http.DefaultTransport.
func Transport(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return tracing{base}
}

type tracing struct{ base http.RoundTripper }

// RoundTrip implements http.RoundTripper; the caller's request is not changed.
func (t tracing) RoundTrip(r *http.Request) (*http.Response, error) {
	if TraceID(r.Context()) == "" {
		return t.base.RoundTrip(r)
	}
	ctx, end := Child(r.Context(), "http.client")
	r = r.Clone(ctx)
	Inject(ctx, r.Header)
	resp, err := t.base.RoundTrip(r)
	end(err)
	return resp, err
}

// Middleware gives every request a trace: the caller's (traceparent) or a new one.
// The id is in the request's context and in the answer's Trace-Id header. Only a
// sampled request, or one that fails or is slow, pays for a span with its method, route
// and status.
func (t *Telemetry) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		ctx := Extract(r.Context(), r.Header)
		if t.cfg.Follow != nil && t.cfg.Follow(r) {
			ctx = context.WithValue(ctx, followKey{}, true)
		}
		ctx, span := t.http.Start(ctx, "http.request", trace.WithSpanKind(trace.SpanKindServer))
		w.Header()[TraceIDHeader] = []string{span.SpanContext().TraceID().String()}
		r = r.WithContext(ctx)
		seen := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			var err error
			if seen.status >= http.StatusInternalServerError {
				err = errors.New(http.StatusText(seen.status))
			}
			if !span.IsRecording() {
				if err != nil || time.Since(began) >= SlowAfter && !asked(r, w) {
					t.late(ctx, t.http, "http.request", began, err, aboutRequest(r, seen.status)...)
				}
				return
			}
			span.SetAttributes(aboutRequest(r, seen.status)...)
			if err != nil {
				span.SetStatus(codes.Error, err.Error())
			}
			span.End()
		}()
		next.ServeHTTP(seen, r)
	})
}

// aboutRequest tells of a request what the mux made of it; the path itself may hold ids
// of people.
func aboutRequest(r *http.Request, status int) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("http.request.method", r.Method), attribute.String("http.route", r.Pattern), attribute.Int("http.response.status_code", status),
	}
}

// asked reports whether the caller wanted the request to last: he waits for an end, or
// follows a stream.
func asked(r *http.Request, w http.ResponseWriter) bool {
	return r.Header.Get("Prefer") != "" || r.URL.Query().Has("wait") || strings.HasPrefix(w.Header().Get("Content-Type"), "text/event-stream")
}

type statusWriter struct {
	http.ResponseWriter
	status int
	wrote  bool
}

// WriteHeader remembers the first final status.
func (w *statusWriter) WriteHeader(status int) {
	if !w.wrote && status >= http.StatusOK {
		w.status, w.wrote = status, true
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write counts as a 200 when no status was written before.
func (w *statusWriter) Write(b []byte) (int, error) {
	w.wrote = true
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the real writer (Flush, deadlines).
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// newSampler follows the parent's decision. For a trace that starts here it
// records one in oneIn, and what is followed up to a limit; a caller's sampled flag is
// honoured up to a limit, since anybody can set it and recording costs us, not them. A
// caller who does not record speaks of his own spans, so what is followed is all the same.
func newSampler(oneIn int, byCaller, followed *forced) sdktrace.Sampler {
	if oneIn <= 0 {
		return sdktrace.ParentBased(sdktrace.NeverSample(), sdktrace.WithRemoteParentSampled(byCaller))
	}
	return sdktrace.ParentBased(following{everyNth{n: uint64(oneIn)}, followed},
		sdktrace.WithRemoteParentSampled(byCaller), sdktrace.WithRemoteParentNotSampled(following{everyNth{}, followed}))
}

// followKey marks the context of a request that Config.Follow chose.
type followKey struct{}

// following records what is followed, up to its limit, besides one in so many.
type following struct {
	everyNth
	limit *forced
}

// ShouldSample implements sdktrace.Sampler.
func (s following) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	if !s.picks(p.TraceID) && p.ParentContext.Value(followKey{}) != nil {
		return decide(p, s.limit.allow(p.TraceID))
	}
	return s.everyNth.ShouldSample(p)
}

// Description implements sdktrace.Sampler.
func (s following) Description() string { return "Following" }

// everyNth decides by the trace id, so that every process decides alike.
type everyNth struct{ n uint64 }

// ShouldSample implements sdktrace.Sampler.
func (s everyNth) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	return decide(p, s.picks(p.TraceID))
}

func (s everyNth) picks(id trace.TraceID) bool {
	return s.n > 0 && binary.BigEndian.Uint64(id[8:])%s.n == 0
}

// Description implements sdktrace.Sampler.
func (s everyNth) Description() string { return "EveryNth" }

// forced samples at most perSecond traces in each second.
type forced struct {
	perSecond int64
	now       func() time.Time
	second    atomic.Int64
	used      atomic.Int64

	mu    sync.Mutex
	ids   map[trace.TraceID]struct{}
	order []trace.TraceID // oldest first, as a ring
	next  int
}

// forcedRemembered is how many forced traces go on being recorded after their
// request has ended: those of seven minutes at the least.
const forcedRemembered = 8192

func newForced(perSecond int64) *forced {
	return &forced{
		perSecond: perSecond, now: time.Now,
		ids: make(map[trace.TraceID]struct{}), order: make([]trace.TraceID, forcedRemembered),
	}
}

func (s *forced) remember(id trace.TraceID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ids, s.order[s.next])
	s.order[s.next] = id
	s.next = (s.next + 1) % len(s.order)
	s.ids[id] = struct{}{}
}

func (s *forced) remembers(id trace.TraceID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.ids[id]
	return ok
}

// ShouldSample implements sdktrace.Sampler.
func (s *forced) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	return decide(p, s.allow(p.TraceID))
}

// allow reports whether one more trace may be recorded in this second, and remembers it.
func (s *forced) allow(id trace.TraceID) bool {
	second := s.now().Unix()
	if s.second.Swap(second) != second {
		s.used.Store(0)
	}
	if s.used.Add(1) > s.perSecond {
		return false
	}
	s.remember(id)
	return true
}

// Description implements sdktrace.Sampler.
func (s *forced) Description() string { return "ForcedByCaller" }

func decide(p sdktrace.SamplingParameters, sample bool) sdktrace.SamplingResult {
	r := sdktrace.SamplingResult{Decision: sdktrace.Drop, Tracestate: trace.SpanContextFromContext(p.ParentContext).TraceState()}
	if sample {
		r.Decision = sdktrace.RecordAndSample
	}
	return r
}
