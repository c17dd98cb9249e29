// Package telemetry sets up what a process tells about itself: logs without
// secrets, traces whose ids always exist, and one metrics registry.
//
// A trace id is made (or taken over from the caller) for every request, sampled
// or not, because it is the name by which people ask about a payment. Recording
// the spans behind the id is the expensive part, so only one trace in
// [DefaultSampleOneIn] is recorded, besides a bounded number of those that were asked for
// (Config.Follow) or that fail or are slow, into a bounded ring in memory; they leave the
// process only when an OTLP endpoint is configured.
//
// The package refuses three things: to let a secret out (keys, tokens, card
// numbers and DSN passwords are taken out of log lines and of span attributes on
// the way), to wait for a collector (its queue is bounded and drops, and counts
// what it drops), and to touch OpenTelemetry's global state.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Defaults of Config; each applies when its field is zero.
const (
	// DefaultSampleOneIn records one trace in 128: enough to see the shape of the
	// last minutes in the ring, too few to show in a benchmark.
	DefaultSampleOneIn = 128
	// DefaultRingSpansMax bounds the ring; about 1 kB a span, so 2 MB.
	DefaultRingSpansMax = 2048
	// DefaultShutdownTimeout bounds the last export: a collector that is down
	// must not hold up a hand-over.
	DefaultShutdownTimeout = 3 * time.Second

	exportTimeout      = 10 * time.Second
	exportQueueMax     = 4096 // spans waiting for the collector; more are dropped and counted
	exportBatchMax     = 512
	exportDelay        = 2 * time.Second
	spanAttributesMax  = 64
	spanEventsMax      = 32
	spanAttributeBytes = 2048
	forcedTracesPerSec = 50 // sampled flags honoured from callers, per second
	followedPerSec     = 20 // traces recorded because Config.Follow chose them, per second
	latePerSec         = 50 // spans recorded because they failed or were slow, per second
)

// SlowAfter is how long a step or a request takes that is recorded for it alone: a
// person notices a second.
const SlowAfter = time.Second

// SampleOff as Config.SampleOneIn records no trace of its own accord.
const SampleOff = -1

// Format is the shape of the log lines.
type Format string

// The log formats.
const (
	FormatJSON Format = "json" // one object a line, for machines; the default
	FormatText Format = "text" // key=value, for a terminal
)

// Config says how a process reports about itself. The zero value works: JSON
// lines at level info on stderr, one trace in 128 into the ring, no export unless
// the standard OTEL_EXPORTER_OTLP_* variables name an endpoint.
type Config struct {
	// Service names the process in traces and log lines, such as "moneta-serve".
	Service string
	// Version is the build's version; empty is left out.
	Version string

	// LogLevel is the least level that is written; change it later by passing a *slog.LevelVar.
	LogLevel slog.Leveler
	// LogFormat is json (default) or text.
	LogFormat Format
	// LogOutput takes the lines; nil means stderr.
	LogOutput io.Writer

	// OTLPEndpoint is a base URL like http://127.0.0.1:4318 that spans are sent
	// to, or several, separated by commas. Empty means the environment decides (OTEL_EXPORTER_OTLP_ENDPOINT or
	// OTEL_EXPORTER_OTLP_TRACES_ENDPOINT), and without either nothing is sent.
	OTLPEndpoint string
	// SampleOneIn records one of so many traces that start here; 0 is the default,
	// 1 is every trace, SampleOff none.
	SampleOneIn int
	// Follow chooses requests whose whole trace is recorded, at most followedPerSec a
	// second, besides one in SampleOneIn. Nil follows none.
	Follow func(*http.Request) bool
	// RingSpansMax is the number of finished spans kept in memory; 0 is the default.
	RingSpansMax int
	// ShutdownTimeout bounds Shutdown; 0 is the default.
	ShutdownTimeout time.Duration
}

func (c *Config) fill() error {
	if c.Service == "" {
		c.Service = "moneta"
	}
	if c.LogLevel == nil {
		c.LogLevel = slog.LevelInfo
	}
	if c.LogFormat == "" {
		c.LogFormat = FormatJSON
	}
	if c.LogFormat != FormatJSON && c.LogFormat != FormatText {
		return fmt.Errorf("telemetry: log format %q: use json or text", c.LogFormat)
	}
	if c.LogOutput == nil {
		c.LogOutput = os.Stderr
	}
	if c.SampleOneIn == 0 {
		c.SampleOneIn = DefaultSampleOneIn
	}
	if c.SampleOneIn < SampleOff {
		return fmt.Errorf("telemetry: sample one in %d: use a positive number, or %d for none", c.SampleOneIn, SampleOff)
	}
	if c.RingSpansMax == 0 {
		c.RingSpansMax = DefaultRingSpansMax
	}
	if c.RingSpansMax < 0 || c.RingSpansMax > 1<<20 {
		return fmt.Errorf("telemetry: ring of %d spans: use 1 to %d", c.RingSpansMax, 1<<20)
	}
	if c.ShutdownTimeout <= 0 {
		c.ShutdownTimeout = DefaultShutdownTimeout
	}
	return nil
}

// Telemetry is a process's reporting. Its methods are safe for concurrent use.
type Telemetry struct {
	cfg      Config
	logger   *slog.Logger
	registry *prometheus.Registry
	provider *sdktrace.TracerProvider
	http     trace.Tracer
	steps    trace.Tracer
	forced   *forced // by a caller
	followed *forced // because Config.Follow chose them
	ill      *forced // because a step failed or was slow
	ring     *ring
}

// Setup builds the reporting of one process. It opens no connection: a collector
// that is down delays nothing. The caller ends it with Shutdown. An error names
// the setting that is wrong.
func Setup(ctx context.Context, cfg Config) (*Telemetry, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	t := &Telemetry{
		cfg: cfg, registry: newRegistry(), ring: newRing(cfg.RingSpansMax),
		forced: newForced(forcedTracesPerSec), followed: newForced(followedPerSec), ill: newForced(latePerSec),
	}
	t.logger = newLogger(cfg)

	opts := []sdktrace.TracerProviderOption{
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", cfg.Service), attribute.String("service.version", cfg.Version))),
		sdktrace.WithSampler(newSampler(cfg.SampleOneIn, t.forced, t.followed)),
		sdktrace.WithRawSpanLimits(spanLimits()),
		sdktrace.WithSpanProcessor(t.ring),
	}
	exporters, err := t.exporters(ctx)
	if err != nil {
		return nil, err
	}
	for _, exporter := range exporters {
		opts = append(opts, sdktrace.WithBatcher(exporter,
			sdktrace.WithMaxQueueSize(exportQueueMax), sdktrace.WithMaxExportBatchSize(exportBatchMax),
			sdktrace.WithBatchTimeout(exportDelay), sdktrace.WithExportTimeout(exportTimeout)))
	}
	t.provider = sdktrace.NewTracerProvider(opts...)
	t.http, t.steps = t.provider.Tracer("http"), t.provider.Tracer("pay")
	return t, nil
}

func newLogger(cfg Config) *slog.Logger {
	var inner slog.Handler
	opts := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == FormatText {
		inner = slog.NewTextHandler(cfg.LogOutput, opts)
	} else {
		inner = slog.NewJSONHandler(cfg.LogOutput, opts)
	}
	return slog.New(NewHandler(inner)).With(slog.String("service", cfg.Service))
}

func spanLimits() sdktrace.SpanLimits {
	return sdktrace.SpanLimits{
		AttributeValueLengthLimit: spanAttributeBytes, AttributeCountLimit: spanAttributesMax,
		EventCountLimit: spanEventsMax, LinkCountLimit: spanEventsMax,
		AttributePerEventCountLimit: spanAttributesMax, AttributePerLinkCountLimit: spanAttributesMax,
	}
}

// exporters are none when nobody asked for spans to leave the process.
func (t *Telemetry) exporters(ctx context.Context) ([]sdktrace.SpanExporter, error) {
	var each [][]otlptracehttp.Option
	switch {
	case t.cfg.OTLPEndpoint != "":
		for text := range strings.SplitSeq(t.cfg.OTLPEndpoint, ",") {
			u, err := url.Parse(strings.TrimSpace(text))
			if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
				return nil, errors.New("telemetry: OTLP endpoint: want a URL such as http://127.0.0.1:4318")
			}
			if u.Path == "" || u.Path == "/" {
				u.Path = "/v1/traces"
			}
			each = append(each, []otlptracehttp.Option{otlptracehttp.WithEndpointURL(u.String())})
		}
	case os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "", os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != "":
		each = append(each, nil)
	}
	var out []sdktrace.SpanExporter
	for _, opts := range each {
		inner, err := otlptracehttp.New(ctx, opts...)
		if err != nil {
			return nil, fmt.Errorf("telemetry: OTLP exporter: %w", err)
		}
		out = append(out, newExporter(inner, t))
	}
	return out, nil
}

// Shutdown sends what is still queued for the collector and stops the exporter,
// within Config.ShutdownTimeout. It may be called more than once.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, t.cfg.ShutdownTimeout)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("telemetry: shut down: %w", err)
	}
	return nil
}

// Logger writes structured lines without secrets and with the ids that the
// context carries (trace_id, payment, attempt).
func (t *Telemetry) Logger() *slog.Logger { return t.logger }

// Registry is where the process registers its metrics; see also Counter and its
// neighbours.
func (t *Telemetry) Registry() *prometheus.Registry { return t.registry }

// Tracer returns the tracer for one part of the process, such as "dispatch".
func (t *Telemetry) Tracer(name string) trace.Tracer { return t.provider.Tracer(name) }

// RecentSpans returns finished, recorded spans, newest first, at most limit of
// them. With a trace id it returns only that trace's spans; "" means any.
func (t *Telemetry) RecentSpans(traceID string, limit int) []Span {
	return t.ring.recent(traceID, limit)
}

// w3c is the only propagation format: baggage is left out because strangers
// could grow it and nobody here reads it.
var w3c propagation.TraceContext
