// Package otlp takes in spans over OTLP (HTTP, protobuf or JSON) and keeps the newest
// traces in memory, so that the slow hop of one payment can be shown while the server
// that made it is dead. What failed or was slow is kept longer than what went well.
//
// It refuses to grow: bytes, age, spans of a trace and spans a second are bounded, what
// is dropped is counted by its reason and told, and of a span's attributes it keeps
// those in a short list. It never decides anything: an absent trace is "not here",
// with the bound that made it so, and never evidence that something did not happen.
package otlp

import (
	"container/list"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/internal/clock"
)

// Defaults of Config; each applies when its field is zero.
const (
	// DefaultBytes bounds what is kept: some 60,000 traces of a payout.
	DefaultBytes = 64 << 20
	// DefaultAge is for how long a trace is kept that went well, DefaultKeptAge one that
	// failed or was slow.
	DefaultAge     = time.Hour
	DefaultKeptAge = 24 * time.Hour
	// DefaultSpansPerSecond is what is taken in; a burst of ten seconds' worth is too.
	DefaultSpansPerSecond = 5_000
	// SlowAfter is when a span counts as slow: a person notices a second.
	SlowAfter = time.Second

	spansOfTrace = 512
	keptShare    = 4   // what failed or was slow takes at most 3 of so many parts of the bytes
	spanBytes    = 192 // of a span without its texts, about
	textMax      = 256
	paymentsMax  = 8 // of one trace, by which it can be found: a batch has many
)

// Reasons for which spans are dropped.
const (
	DroppedRate      = "rate"       // more a second than is taken in
	DroppedTraceFull = "trace_full" // the trace has spansOfTrace already
	DroppedInvalid   = "invalid"    // no trace id, no span id, or an end before its beginning
	DroppedForgotten = "forgotten"  // kept once, and gone since by age or bytes
)

// TraceID names a trace.
type TraceID [16]byte

// SpanID names a span within its trace.
type SpanID [8]byte

// Span is a finished span as it is kept.
type Span struct {
	ID, Parent SpanID
	Service    string
	Name       string
	Start, End time.Time
	Failed     bool
	Error      string
	Attrs      map[string]string
}

// Took is how long it lasted.
func (s *Span) Took() time.Duration { return s.End.Sub(s.Start) }

// Trace is what is known of one.
type Trace struct {
	ID    TraceID
	Spans []Span // by their beginning
	// Cut says that spans of it were dropped.
	Cut bool
	// Failed and Slow say why it is kept longer.
	Failed, Slow bool
}

// Held is what the store holds, and what it dropped.
type Held struct {
	Since    time.Time         `json:"since"`
	Traces   int               `json:"traces"`
	Kept     int               `json:"kept"` // of these, those that failed or were slow
	Bytes    int64             `json:"bytes"`
	BytesMax int64             `json:"bytes_max"`
	AgeS     float64           `json:"age_s"`      // for how long what went well is kept
	KeptAgeS float64           `json:"kept_age_s"` // and what did not
	Oldest   *time.Time        `json:"oldest,omitempty"`
	Newest   *time.Time        `json:"newest,omitempty"`
	Received uint64            `json:"received"`
	Dropped  map[string]uint64 `json:"dropped"`
}

// Config bounds a Store.
type Config struct {
	Bytes          int64
	Age, KeptAge   time.Duration
	SpansPerSecond int
	// Clock tells the time; nil means the system's.
	Clock clock.Clock
}

// Store keeps the newest traces. It is safe for concurrent use.
type Store struct {
	cfg   Config
	began time.Time

	mu       sync.Mutex // guards all below
	traces   map[TraceID]*held
	payments map[string]TraceID
	well     *list.List // of *held, oldest first
	kept     *list.List
	bytes    int64
	keptSize int64
	received uint64
	dropped  map[string]uint64
	newest   time.Time
	budget   float64 // spans that may come now
	earned   time.Time
}

type held struct {
	Trace
	payments []string
	bytes    int64
	last     time.Time // when its newest span came
	in       *list.List
	at       *list.Element
}

// New returns an empty store.
func New(cfg Config) *Store {
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	if cfg.Bytes <= 0 {
		cfg.Bytes = DefaultBytes
	}
	if cfg.Age <= 0 {
		cfg.Age = DefaultAge
	}
	if cfg.KeptAge <= 0 {
		cfg.KeptAge = max(DefaultKeptAge, cfg.Age)
	}
	if cfg.SpansPerSecond <= 0 {
		cfg.SpansPerSecond = DefaultSpansPerSecond
	}
	now := cfg.Clock.Now()
	return &Store{
		cfg: cfg, began: now, traces: make(map[TraceID]*held), payments: make(map[string]TraceID), well: list.New(), kept: list.New(),
		dropped: make(map[string]uint64), budget: burst(cfg.SpansPerSecond), earned: now,
	}
}

func burst(perSecond int) float64 { return 10 * float64(perSecond) }

// one is a span on its way in.
type one struct {
	trace TraceID
	span  Span
}

// take keeps spans, and says how many it dropped.
func (s *Store) take(spans []one) (refused int) {
	now := s.cfg.Clock.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.received += uint64(len(spans))
	s.budget = min(s.budget+max(now.Sub(s.earned).Seconds(), 0)*float64(s.cfg.SpansPerSecond), burst(s.cfg.SpansPerSecond))
	s.earned = now
	for i := range spans {
		switch why := s.add(&spans[i], now); why {
		case "":
			s.newest = now
		default:
			refused++
			s.dropped[why]++
		}
	}
	s.forget(now)
	return refused
}

func (s *Store) add(o *one, now time.Time) (dropped string) {
	if o.trace == (TraceID{}) || o.span.ID == (SpanID{}) || o.span.End.Before(o.span.Start) {
		return DroppedInvalid
	}
	if s.budget < 1 {
		return DroppedRate
	}
	s.budget--
	t := s.traces[o.trace]
	if t == nil {
		t = &held{Trace: Trace{ID: o.trace}, in: s.well}
		t.at = s.well.PushBack(t)
		s.traces[o.trace] = t
	}
	t.last = now
	t.in.MoveToBack(t.at)
	if len(t.Spans) >= spansOfTrace {
		t.Cut = true
		return DroppedTraceFull
	}
	t.Spans = append(t.Spans, o.span)
	size := o.span.size()
	t.bytes += size
	s.bytes += size
	if t.in == s.kept {
		s.keptSize += size
	}
	s.name(t, o.span.Attrs[attrPayment])
	t.Failed = t.Failed || o.span.Failed
	t.Slow = t.Slow || o.span.Took() >= SlowAfter && !t.waited(&o.span)
	if (t.Failed || t.Slow) && t.in == s.well {
		s.well.Remove(t.at)
		t.in, t.at = s.kept, s.kept.PushBack(t)
		s.keptSize += t.bytes
	}
	return ""
}

// name lets the trace be found by a payment.
func (s *Store) name(t *held, payment string) {
	if payment == "" || len(t.payments) >= paymentsMax || slices.Contains(t.payments, payment) {
		return
	}
	t.payments = append(t.payments, payment)
	s.payments[payment] = t.ID
}

// waited reports whether the span only waited for what others did, because its caller
// asked it to: its time is theirs. Children end, and so come, first.
func (t *held) waited(of *Span) bool {
	if of.waits() {
		return true
	}
	return slices.ContainsFunc(t.Spans, func(s Span) bool { return s.Parent == of.ID && s.waits() })
}

func (s *Span) size() int64 {
	n := spanBytes + len(s.Service) + len(s.Name) + len(s.Error)
	for k, v := range s.Attrs {
		n += len(k) + len(v) + 32
	}
	return int64(n)
}

// forget drops what is too old, then what is too much: first what went well.
func (s *Store) forget(now time.Time) {
	drop := func(l *list.List) {
		t, _ := l.Front().Value.(*held)
		l.Remove(t.at)
		delete(s.traces, t.ID)
		for _, p := range t.payments {
			if s.payments[p] == t.ID {
				delete(s.payments, p)
			}
		}
		s.bytes -= t.bytes
		if l == s.kept {
			s.keptSize -= t.bytes
		}
		s.dropped[DroppedForgotten] += uint64(len(t.Spans))
	}
	old := func(l *list.List, age time.Duration) bool {
		if l.Len() == 0 {
			return false
		}
		t, _ := l.Front().Value.(*held)
		return now.Sub(t.last) > age
	}
	for old(s.well, s.cfg.Age) {
		drop(s.well)
	}
	for old(s.kept, s.cfg.KeptAge) || s.kept.Len() > 1 && s.keptSize > s.cfg.Bytes/keptShare*(keptShare-1) {
		drop(s.kept)
	}
	for s.bytes > s.cfg.Bytes && s.well.Len() > 0 {
		drop(s.well)
	}
	for s.bytes > s.cfg.Bytes && s.kept.Len() > 0 {
		drop(s.kept)
	}
}

// Trace returns one, its spans by their beginning.
func (s *Store) Trace(id TraceID) (Trace, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(s.cfg.Clock.Now())
	t := s.traces[id]
	if t == nil {
		return Trace{}, false
	}
	return t.copied(), true
}

// copied is safe to read without the lock: spans are never changed once they are kept.
func (t *held) copied() Trace {
	out := t.Trace
	out.Spans = slices.Clone(t.Spans)
	slices.SortStableFunc(out.Spans, func(a, b Span) int { return a.Start.Compare(b.Start) })
	return out
}

// OfPayment returns the newest trace whose spans name this payment.
func (s *Store) OfPayment(id string) (TraceID, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.payments[id]
	return t, ok
}

// PaymentsOf returns the payments that the trace names.
func (s *Store) PaymentsOf(id TraceID) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.traces[id]; t != nil {
		return slices.Clone(t.payments)
	}
	return nil
}

// Newest returns the traces that spans came for since then, the newest first, at most so
// many.
func (s *Store) Newest(since time.Time, most int) []Trace {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*held
	for _, l := range []*list.List{s.well, s.kept} {
		for e := l.Back(); e != nil && len(all) < 2*most; e = e.Prev() {
			t, _ := e.Value.(*held)
			if t.last.Before(since) {
				break
			}
			all = append(all, t)
		}
	}
	slices.SortFunc(all, func(a, b *held) int { return b.last.Compare(a.last) })
	out := make([]Trace, 0, min(len(all), most))
	for _, t := range all[:min(len(all), most)] {
		out = append(out, t.copied())
	}
	return out
}

// Held tells what is here and what was dropped.
func (s *Store) Held() Held {
	now := s.cfg.Clock.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(now)
	h := Held{
		Since: s.began.UTC(), Traces: len(s.traces), Kept: s.kept.Len(), Bytes: s.bytes, BytesMax: s.cfg.Bytes,
		AgeS: s.cfg.Age.Seconds(), KeptAgeS: s.cfg.KeptAge.Seconds(), Received: s.received, Dropped: maps.Clone(s.dropped),
	}
	if !s.newest.IsZero() {
		at := s.newest.UTC()
		h.Newest = &at
	}
	for _, l := range []*list.List{s.well, s.kept} {
		if l.Len() == 0 {
			continue
		}
		t, _ := l.Front().Value.(*held)
		if at := t.last.UTC(); h.Oldest == nil || at.Before(*h.Oldest) {
			h.Oldest = &at
		}
	}
	return h
}

// The attributes that are kept: what tells hops, routes and outcomes apart. Others may
// hold what nobody should read here.
var attrsKept = []string{
	attrChannel, attrPayment, attrLate, "reference", "http.request.method", "http.route", "http.response.status_code", "error.type",
	"db.system.name", "db.system", "db.operation.name", "rpc.method", "messaging.system", "peer.service", "server.address",
}

const (
	attrChannel = "channel"
	attrPayment = "payment"
	// attrLate marks a span that was recorded because it ended badly or slowly: of such a
	// trace only these were.
	attrLate = "moneta.late"
)

func clip(s string) string { return strings.Clone(s[:min(len(s), textMax)]) }
