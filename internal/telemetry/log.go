package telemetry

import (
	"context"
	"log/slog"
	"slices"
)

// Keys of the ids that a log line takes from its context.
const (
	KeyTraceID = "trace_id"
	KeyPayment = "payment"
	KeyAttempt = "attempt"
)

type ctxIDs struct{ payment, attempt string }

type ctxKey struct{}

// WithPayment returns ctx whose log lines carry the payment's id.
func WithPayment(ctx context.Context, id string) context.Context {
	ids, _ := ctx.Value(ctxKey{}).(ctxIDs)
	ids.payment = id
	return context.WithValue(ctx, ctxKey{}, ids)
}

// WithAttempt returns ctx whose log lines carry the attempt's id.
func WithAttempt(ctx context.Context, id string) context.Context {
	ids, _ := ctx.Value(ctxKey{}).(ctxIDs)
	ids.attempt = id
	return context.WithValue(ctx, ctxKey{}, ids)
}

// Handler takes secrets out of every line and adds the ids of the context, at the
// top level whatever groups are open. Make one with NewHandler.
type Handler struct {
	inner  slog.Handler // has the redacted attributes given before the first group
	groups []group      // open groups, outermost first
}

type group struct {
	name  string
	attrs []slog.Attr // given by WithAttrs inside this group, redacted
}

var _ slog.Handler = (*Handler)(nil)

// NewHandler wraps inner, which writes the lines.
func NewHandler(inner slog.Handler) *Handler { return &Handler{inner: inner} }

// Enabled implements slog.Handler.
func (h *Handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.inner.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, r.Level, redactString(r.Message), r.PC)
	attrs := make([]slog.Attr, 0, r.NumAttrs())
	r.Attrs(func(a slog.Attr) bool {
		attrs = append(attrs, redactAttr(a))
		return true
	})
	// Fold from the innermost group outwards.
	for _, g := range slices.Backward(h.groups) {
		all := slices.Concat(g.attrs, attrs)
		attrs = []slog.Attr{{Key: g.name, Value: slog.GroupValue(all...)}}
	}
	ids, _ := ctx.Value(ctxKey{}).(ctxIDs)
	for _, id := range [...]slog.Attr{
		slog.String(KeyTraceID, TraceID(ctx)), slog.String(KeyPayment, ids.payment), slog.String(KeyAttempt, ids.attempt),
	} {
		if id.Value.String() != "" && !hasKey(attrs, id.Key) {
			out.AddAttrs(id)
		}
	}
	out.AddAttrs(attrs...)
	return h.inner.Handle(ctx, out)
}

// hasKey is true when the caller gave the id himself; his word is nearer.
func hasKey(attrs []slog.Attr, key string) bool {
	return slices.ContainsFunc(attrs, func(a slog.Attr) bool { return a.Key == key })
}

// WithAttrs implements slog.Handler; the attributes are redacted once, here.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = redactAttr(a)
	}
	if len(h.groups) == 0 {
		return &Handler{inner: h.inner.WithAttrs(clean)}
	}
	groups := slices.Clone(h.groups)
	last := &groups[len(groups)-1]
	last.attrs = slices.Concat(last.attrs, clean)
	return &Handler{inner: h.inner, groups: groups}
}

// WithGroup implements slog.Handler.
func (h *Handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	if sensitiveKey(name) {
		name += "_group" // a group is a heading: its members are judged one by one
	}
	return &Handler{inner: h.inner, groups: append(slices.Clone(h.groups), group{name: name})}
}
