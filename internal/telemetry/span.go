package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Span is a finished span as the ring keeps it, without secrets.
type Span struct {
	TraceID  string            `json:"trace_id"`            // 32 hexadecimal digits
	SpanID   string            `json:"span_id"`             // 16 hexadecimal digits
	ParentID string            `json:"parent_id,omitempty"` // "" for the first span of a trace
	Scope    string            `json:"scope"`               // the name given to Tracer
	Name     string            `json:"name"`
	Start    time.Time         `json:"start"`
	Duration time.Duration     `json:"duration_ns"`
	Error    string            `json:"error,omitempty"` // set when the span ended in an error
	Attrs    map[string]string `json:"attrs,omitempty"`
}

// ring keeps the last spans. mu guards buf and next.
type ring struct {
	mu   sync.Mutex
	buf  []Span
	next uint64 // spans ever kept; the newest is at (next-1) % len(buf)
}

var _ sdktrace.SpanProcessor = (*ring)(nil)

func newRing(n int) *ring { return &ring{buf: make([]Span, n)} }

// OnStart implements sdktrace.SpanProcessor.
func (r *ring) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// OnEnd implements sdktrace.SpanProcessor; it keeps a copy, for the span itself is reused.
func (r *ring) OnEnd(s sdktrace.ReadOnlySpan) {
	clean := cleanSpan{s}
	span := Span{
		TraceID: s.SpanContext().TraceID().String(), SpanID: s.SpanContext().SpanID().String(),
		Scope: s.InstrumentationScope().Name, Name: clean.Name(),
		Start: s.StartTime().UTC(), Duration: s.EndTime().Sub(s.StartTime()),
		Error: clean.Status().Description,
	}
	if p := s.Parent(); p.HasSpanID() {
		span.ParentID = p.SpanID().String()
	}
	if attrs := clean.Attributes(); len(attrs) > 0 {
		span.Attrs = make(map[string]string, len(attrs))
		for _, a := range attrs {
			span.Attrs[string(a.Key)] = a.Value.String()
		}
	}
	r.mu.Lock()
	r.buf[r.next%uint64(len(r.buf))] = span
	r.next++
	r.mu.Unlock()
}

// Shutdown implements sdktrace.SpanProcessor; what is in the ring stays readable.
func (r *ring) Shutdown(context.Context) error { return nil }

// ForceFlush implements sdktrace.SpanProcessor.
func (r *ring) ForceFlush(context.Context) error { return nil }

func (r *ring) recent(traceID string, limit int) []Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Span
	size := uint64(len(r.buf))
	for i := uint64(1); i <= min(size, r.next) && len(out) < limit; i++ {
		if s := r.buf[(r.next-i)%size]; traceID == "" || s.TraceID == traceID {
			out = append(out, s)
		}
	}
	return out
}

// cleanSpan shows a span without the secrets in its name, status, attributes and events.
type cleanSpan struct{ sdktrace.ReadOnlySpan }

// Name returns the redacted name.
func (s cleanSpan) Name() string { return redactString(s.ReadOnlySpan.Name()) }

// Status returns the status with its description redacted.
func (s cleanSpan) Status() sdktrace.Status {
	st := s.ReadOnlySpan.Status()
	st.Description = redactString(st.Description)
	return st
}

// Attributes returns the redacted attributes.
func (s cleanSpan) Attributes() []attribute.KeyValue {
	return cleanAttributes(s.ReadOnlySpan.Attributes())
}

// Events returns the events with their names and attributes redacted.
func (s cleanSpan) Events() []sdktrace.Event {
	events := s.ReadOnlySpan.Events()
	out := make([]sdktrace.Event, len(events))
	for i, e := range events {
		e.Name, e.Attributes = redactString(e.Name), cleanAttributes(e.Attributes)
		out[i] = e
	}
	return out
}

func cleanAttributes(in []attribute.KeyValue) []attribute.KeyValue {
	out := make([]attribute.KeyValue, len(in))
	for i, a := range in {
		out[i] = a
		switch {
		case sensitiveKey(string(a.Key)):
			out[i].Value = attribute.StringValue(redacted)
		case a.Value.Type() == attribute.BOOL:
		default:
			// Numbers too: a card number does not stop being one as an integer.
			if text := a.Value.String(); redactString(text) != text {
				out[i].Value = attribute.StringValue(redactString(text))
			}
		}
	}
	return out
}

// exporter cleans spans, counts what leaves and what fails, and logs a failing
// collector once a minute. It reports success to the SDK, whose own error
// handler is global and does not redact.
type exporter struct {
	inner    sdktrace.SpanExporter
	log      *slog.Logger
	exported prometheus.Counter
	failed   prometheus.Counter
	lastLog  atomic.Int64 // Unix seconds
}

func newExporter(inner sdktrace.SpanExporter, t *Telemetry) *exporter {
	return &exporter{
		inner: inner, log: t.logger,
		exported: t.Counter("moneta_trace_spans_exported_total", "Spans that the collector took."),
		failed:   t.Counter("moneta_trace_spans_failed_total", "Spans lost because the collector failed or was away."),
	}
}

const exportComplaintEvery = 60 // seconds

// ExportSpans implements sdktrace.SpanExporter.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	clean := make([]sdktrace.ReadOnlySpan, len(spans))
	for i, s := range spans {
		clean[i] = cleanSpan{s}
	}
	err := e.inner.ExportSpans(ctx, clean)
	if err == nil {
		e.exported.Add(float64(len(spans)))
		return nil
	}
	e.failed.Add(float64(len(spans)))
	now := time.Now().Unix()
	if last := e.lastLog.Load(); now-last >= exportComplaintEvery && e.lastLog.CompareAndSwap(last, now) {
		e.log.WarnContext(ctx, "spans not exported: check the OTLP endpoint",
			slog.Int("spans", len(spans)), slog.Any("error", err))
	}
	return nil
}

// Shutdown implements sdktrace.SpanExporter.
func (e *exporter) Shutdown(ctx context.Context) error { return e.inner.Shutdown(ctx) }
