package api

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"mime"
	"net/http"
	"net/url"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/pay"
)

// call is one request on its way through a route.
type call struct {
	s     *server
	route *route
	w     http.ResponseWriter
	r     *http.Request
	// ctx ends with the request's deadline.
	ctx   context.Context
	who   access.Principal
	trace pay.TraceID
	// traceHex is trace as 32 digits.
	traceHex string
	started  time.Time
	status   int
	holds    bool // one of the slots in flight
	again    bool // it ordered what was ordered before under another key
	// began is the record of what a person is doing; 0 when none is kept.
	began   int64
	spooled *upload
	code    string // of the problem answered with
	// policies are the limits that the request was counted under.
	policies []policy
	buf      *bytes.Buffer
}

// Header values that are set on every answer; shared, so never appended to.
var (
	typeJSON    = []string{"application/json"}
	typeProblem = []string{"application/problem+json"}
	noStore     = []string{"no-store"}
	noSniff     = []string{"nosniff"}
	yes         = []string{"true"}
)

// traceHeader carries the trace id back to the caller.
const traceHeader = "Trace-Id"

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// bufferKeep is the largest buffer that goes back to the pool.
const bufferKeep = 256 << 10

// handler puts a route behind what all routes have in common: the bound on
// requests in flight, the trace, the deadline, the key and its scope, the check of
// parameters, and the one place where an error becomes a problem.
func (s *server) handler(rt *route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{s: s, route: rt, w: w, r: r, started: time.Now(), buf: buffers.Get().(*bytes.Buffer)} //nolint:forbidigo // a duration for the metrics
		c.buf.Reset()
		c.traced()
		defer c.end()
		if s.inFlight.Add(1) > int64(s.InFlightMax) {
			s.inFlight.Add(-1)
			c.refuse(fault.New(fault.Overloaded, "too many requests are being worked on"))
			return
		}
		c.holds = true
		s.metrics.edge.owed.begins(c.started)
		within := s.Timeout
		if rt.upload { // the file has to arrive first
			within += arriveWithin
		}
		ctx, cancel := context.WithTimeout(r.Context(), within)
		defer cancel()
		c.ctx = ctx
		if err := c.admit(); err != nil {
			c.refuse(err)
			return
		}
		if err := rt.do(c); err != nil {
			c.refuse(err)
		}
	})
}

// end counts the request and, if the route panicked, answers for it.
func (c *call) end() {
	if p := recover(); p != nil {
		if p == http.ErrAbortHandler { //nolint:errorlint // the sentinel of net/http, compared as it does
			c.release()
			c.dropUpload()
			panic(p)
		}
		c.s.Logger.ErrorContext(c.r.Context(), "a route panicked", slog.String("route", c.route.pattern()),
			slog.Any("panic", p), slog.String("stack", string(debug.Stack())), slog.String("trace_id", c.traceHex))
		if c.status == 0 {
			c.refuse(fault.New(fault.Internal, ""))
		}
	}
	waited := !c.holds
	c.release()
	c.dropUpload()
	c.recordEnd()
	took := time.Since(c.started) //nolint:forbidigo // as above
	c.route.counts.observe(c.status, took)
	c.countCaller(took, waited)
	c.countRequest(took)
	if c.buf.Cap() <= bufferKeep {
		buffers.Put(c.buf)
	}
}

// countCaller counts the request by who sent it. Nobody ends a stream but its reader,
// and who has no key cannot use up the names that are told apart.
func (c *call) countCaller(took time.Duration, waited bool) {
	if c.route.stream || c.who.KeyPrefix == "" && c.who.Operator == "" {
		return
	}
	if c.r.Context().Err() != nil {
		c.s.metrics.edge.aborted.Inc()
	}
	c.s.metrics.edge.callers.note(c.r, c.status, took, waited, c.again)
}

// release gives up the slot in flight; a request that only waits holds none.
func (c *call) release() {
	if c.holds {
		c.holds = false
		others := c.s.inFlight.Add(-1) > 0
		// Who is refused for want of a key, goes away or gets an error of ours was not served.
		if known := c.who.KeyPrefix != "" || c.who.Operator != ""; known && c.status < http.StatusInternalServerError && c.r.Context().Err() == nil {
			c.s.metrics.edge.owed.answers(time.Now(), others) //nolint:forbidigo // a duration for the metric
		}
	}
}

// traced takes the request's trace: the one a middleware has put into the
// context, the caller's, or a new one. Its id goes onto the payment and back.
func (c *call) traced() {
	sc := trace.SpanContextFromContext(c.r.Context())
	if !sc.HasTraceID() && len(c.r.Header["Traceparent"]) > 0 {
		sc = trace.SpanContextFromContext(propagation.TraceContext{}.Extract(c.r.Context(), propagation.HeaderCarrier(c.r.Header)))
	}
	if sc.HasTraceID() {
		c.trace = pay.TraceID(sc.TraceID())
	} else {
		binary.BigEndian.PutUint64(c.trace[:8], rand.Uint64()|1) //nolint:gosec // a name, not a secret; never zero
		binary.BigEndian.PutUint64(c.trace[8:], rand.Uint64())   //nolint:gosec // as above
	}
	c.traceHex = hex.EncodeToString(c.trace[:])
	h := c.w.Header()
	h[traceHeader] = []string{c.traceHex}
	h["X-Content-Type-Options"] = noSniff
	h["Cache-Control"] = noStore
}

// tracedContext is the call's context with its trace, for stations that keep it.
func (c *call) tracedContext() context.Context {
	if trace.SpanContextFromContext(c.ctx).HasTraceID() {
		return c.ctx
	}
	cfg := trace.SpanContextConfig{TraceID: trace.TraceID(c.trace)}
	copy(cfg.SpanID[:], c.trace[:8]) // the request's own span is not recorded
	return trace.ContextWithSpanContext(c.ctx, trace.NewSpanContext(cfg))
}

func (c *call) admit() error {
	if !isText(c.r.URL.Path) {
		return fault.New(fault.MalformedRequest, "the path is UTF-8 without NUL")
	}
	if c.route.scope != "" || c.route.role != "" {
		if err := c.identify(); err != nil {
			return err
		}
		if err := c.use(1); err != nil {
			return err
		}
		if err := c.mayWrite(); err != nil {
			return err
		}
	}
	if c.r.URL.RawQuery == "" {
		return nil
	}
	query, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil { // leaving out what cannot be read would answer another question
		return fault.New(fault.MalformedRequest, "the query cannot be read: a percent sign is %25, a semicolon %3B").WithCause(err)
	}
	for name, values := range query {
		if !c.route.hasQuery(name) {
			return fault.New(fault.UnknownField, "this operation has no such query parameter").WithParam(clip(name))
		}
		if len(values) > 1 {
			return fault.New(fault.MalformedRequest, "the parameter is given more than once").WithParam(name)
		}
		if !isText(values[0]) {
			return fault.New(fault.MalformedRequest, "a parameter is UTF-8 without NUL").WithParam(name)
		}
	}
	return nil
}

// isText reports whether Postgres can hold s as text; what it cannot hold must not
// reach it, or the caller's mistake would look like the database's.
func isText(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

func bearer(h http.Header) (string, bool) {
	values := h["Authorization"]
	if len(values) != 1 {
		return "", false
	}
	const scheme = "bearer "
	if len(values[0]) < len(scheme) || !strings.EqualFold(values[0][:len(scheme)], scheme) {
		return "", false
	}
	return values[0][len(scheme):], true
}

// idempotencyKey returns the raw key; judging it is intake's work.
func (c *call) idempotencyKey() (string, error) {
	values := c.r.Header["Idempotency-Key"]
	if len(values) > 1 {
		return "", fault.New(fault.IdempotencyKeyInvalid, "the header is given more than once")
	}
	if len(values) == 0 {
		return "", fault.New(fault.IdempotencyKeyMissing, "")
	}
	return values[0], nil
}

// body reads the request's body into the call's buffer, at most bytesMax. What is
// decoded from it must be copied: the buffer is used again.
func (c *call) body(bytesMax int64) ([]byte, error) {
	if ct := c.r.Header.Get("Content-Type"); ct != "" && ct != "application/json" {
		media, _, err := mime.ParseMediaType(ct)
		if err != nil || media != "application/json" {
			return nil, fault.New(fault.UnsupportedMediaType, "")
		}
	}
	return c.rawBody(bytesMax)
}

func (c *call) rawBody(bytesMax int64) ([]byte, error) {
	tooLarge := func() error {
		return fault.New(fault.BodyTooLarge, fmt.Sprintf("the body may have %d bytes", bytesMax))
	}
	if c.r.ContentLength > bytesMax {
		return nil, tooLarge()
	}
	c.buf.Reset()
	if n := c.r.ContentLength; n > 0 {
		c.buf.Grow(int(n) + bytes.MinRead)
	}
	n, err := c.buf.ReadFrom(io.LimitReader(c.r.Body, bytesMax+1))
	switch {
	case n > bytesMax:
		return nil, tooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fault.New(fault.Timeout, "the body did not arrive in time").WithMoneyState(fault.NotMoved).WithCause(err)
	case err != nil:
		return nil, fault.New(fault.MalformedRequest, "the body ended early").WithCause(err)
	}
	return c.buf.Bytes(), nil
}

// reply writes v as JSON. The body read before is gone afterwards.
func (c *call) reply(status int, v any) error {
	c.buf.Reset()
	enc := json.NewEncoder(c.buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fault.New(fault.Internal, "").WithOp("api.reply").WithCause(err)
	}
	c.write(status, typeJSON)
	return nil
}

func (c *call) write(status int, contentType []string) {
	h := c.w.Header()
	h["Content-Type"] = contentType
	h["Content-Length"] = []string{strconv.Itoa(c.buf.Len())}
	c.status = status
	c.w.WriteHeader(status)
	_, _ = c.w.Write(c.buf.Bytes()) // a caller that has left is no news
}

// refuse answers with the problem that err is.
func (c *call) refuse(err error) {
	p := c.problem(err)
	c.code = p.Code
	c.s.metrics.problems.WithLabelValues(p.Code).Inc()
	c.log(p, err)
	if p.retryAfter > 0 {
		c.w.Header().Set("Retry-After", strconv.Itoa(p.retryAfter))
	}
	if p.Status == http.StatusUnauthorized {
		c.w.Header().Set("WWW-Authenticate", `Bearer realm="moneta"`)
	}
	c.buf.Reset()
	enc := json.NewEncoder(c.buf)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(p) // strings and numbers only
	c.write(p.Status, typeProblem)
}

// log tells of errors that are ours. Refusals are counted, not logged: callers
// could fill the disk with them.
func (c *call) log(p *Problem, err error) {
	if p.Status < http.StatusInternalServerError || p.Code == string(fault.Overloaded) {
		return
	}
	dropped, ok := c.s.logGate.pass(c.started)
	if !ok {
		return
	}
	c.s.Logger.ErrorContext(c.r.Context(), "request failed", slog.String("route", c.route.pattern()),
		slog.String("code", p.Code), slog.Any("error", err), slog.String("trace_id", c.traceHex), slog.Int64("not_logged", dropped))
}

// Waiting: a payment that is not final yet.

// patience reads Prefer: wait=N; 0 means not to wait. A preference that cannot be
// read is ignored, as RFC 7240 wants.
func patience(h http.Header) time.Duration {
	for _, line := range h["Prefer"] {
		for pref := range strings.SplitSeq(line, ",") {
			pref, _, _ = strings.Cut(pref, ";")
			name, value, ok := strings.Cut(pref, "=")
			if !ok || !strings.EqualFold(strings.TrimSpace(name), "wait") {
				continue
			}
			n, err := strconv.ParseUint(strings.Trim(value, " \t\""), 10, 31)
			if err != nil {
				return 0
			}
			return min(time.Duration(n)*time.Second, WaitMax)
		}
	}
	return 0
}

// settle waits as long as the caller prefers for p to become final, and returns
// it as it is then. It gives up the slot in flight: waiting is not work.
func (c *call) settle(p *pay.Payment) {
	telemetry.Mark(c.r.Context(), telemetry.KeyPayment, p.ID.String())
	d := patience(c.r.Header)
	if d == 0 || !p.Open() {
		return
	}
	if c.s.waiting.Add(1) > int64(c.s.WaitingMax) {
		c.s.waiting.Add(-1)
		return // a preference, not a right: the answer is the state of now
	}
	defer c.s.waiting.Add(-1)
	c.release()
	c.mayTake(d)
	c.w.Header().Set("Preference-Applied", "wait="+strconv.Itoa(int(d/time.Second)))
	ctx, end := telemetry.Child(c.r.Context(), "api.wait")
	defer end(nil)
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	read := func(ctx context.Context) (pay.Payment, error) { return c.s.Payments.Payment(ctx, p.Tenant, p.ID) }
	if c.s.Waiter == nil {
		poll(ctx, read, p)
		return
	}
	if final, ok := c.s.Waiter.Wait(ctx, p.ID, read); ok {
		*p = final
		return
	}
	c.refresh(p)
}

// refresh reads p again, within a second; what cannot be read stays as it was.
func (c *call) refresh(p *pay.Payment) {
	ctx, cancel := context.WithTimeout(c.r.Context(), time.Second)
	defer cancel()
	if now, err := c.s.Payments.Payment(ctx, p.Tenant, p.ID); err == nil {
		*p = now
	}
}

const (
	pollFirst = 20 * time.Millisecond
	pollMax   = 500 * time.Millisecond
)

// poll reads p until it is final or ctx ends; a read that fails is tried again.
func poll(ctx context.Context, read func(context.Context) (pay.Payment, error), p *pay.Payment) {
	for pause := pollFirst; p.Open(); pause = min(2*pause, pollMax) {
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		if now, err := read(ctx); err == nil {
			*p = now
		}
	}
}

// clip shortens what a caller sent before it is shown back.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return strings.ToValidUTF8(s, "?")
	}
	return strings.ToValidUTF8(s[:most], "?") + "…"
}
