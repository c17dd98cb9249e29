package otlp

import (
	"cmp"
	"slices"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// Names of our own spans, by the hop whose time they are. A span of any other service
// is that service's.
const (
	spanRequest  = "http.request"
	spanWait     = "api.wait" // the caller asked to be told of the end: others' time
	spanCommit   = "commit.submit"
	spanSend     = "dispatch.send"
	spanCall     = "http.client"
	spanCallback = "settle.callback"
	spanQuery    = "settle.query"

	// OwnService is the service name of our own server.
	OwnService = "moneta-serve"
)

func (s *Span) waits() bool { return s.Name == spanWait && s.Service == OwnService }

// Waterfall is one trace in the order of time, with whose the time was.
type Waterfall struct {
	TraceID   string    `json:"trace_id"`
	StartedAt time.Time `json:"started_at"`
	TookS     float64   `json:"took_s"` // from the first beginning to the last end
	// Rows are the spans, and the gaps in which nobody recorded anything.
	Rows []Row `json:"rows"`
	// Hops are whose the time was, the most first. Together they are TookS: a moment
	// belongs to the span that began last of those under way, and a gap to what it
	// waited for.
	Hops []Part `json:"hops"`
	// Slow is the first of Hops when it has a third of the time and 10 ms: what would help
	// most if it were gone.
	Slow *Part `json:"slow,omitempty"`
	// Cut says that spans of it were dropped; Partial that only the spans that failed or
	// were slow were recorded, so that gaps mean nothing.
	Cut     bool `json:"cut,omitempty"`
	Partial bool `json:"partial,omitempty"`
	Failed  bool `json:"failed,omitempty"`
}

// Row is one stretch of time.
type Row struct {
	Hop   string  `json:"hop"`
	Name  string  `json:"name"`
	FromS float64 `json:"from_s"` // since StartedAt
	TookS float64 `json:"took_s"`
	OwnS  float64 `json:"own_s"` // of it, what was its own
	Depth int     `json:"depth"`
	// Gap is set for a time in which no span was under way; Waits for a span that only
	// waited because its caller wanted to be told of the end.
	Gap    bool              `json:"gap,omitempty"`
	Waits  bool              `json:"waits,omitempty"`
	Failed bool              `json:"failed,omitempty"`
	Error  string            `json:"error,omitempty"`
	Attrs  map[string]string `json:"attrs,omitempty"`
	Slow   bool              `json:"slow,omitempty"` // the most of the slow hop's time is here
}

// Part is a hop's part of the time.
type Part struct {
	Hop   string  `json:"hop"`
	S     float64 `json:"s"`
	Share float64 `json:"share"`
}

const (
	// slowShare and slowLeast say when a hop is called the slow one: with less, nothing
	// that anybody could take away would be felt.
	slowShare = 1.0 / 3
	slowLeast = 10 * time.Millisecond
	// gapLeast is the shortest gap that is shown as a row.
	gapLeast = time.Millisecond
	// Unknown has the time of which nobody can say whose it was.
	Unknown = "unknown"
)

// fall is a trace being laid out.
type fall struct {
	spans  []Span // by beginning
	parent []int  // index in spans, -1: none here
	depth  []int
	hop    []string
	own    []time.Duration
	gaps   []gap
}

type gap struct {
	from, to time.Time
	hop      string
}

// Waterfall lays the trace out.
func (t *Trace) Waterfall() Waterfall {
	w := Waterfall{TraceID: t.ID.String(), Cut: t.Cut, Failed: t.Failed, Rows: []Row{}, Hops: []Part{}}
	if len(t.Spans) == 0 {
		return w
	}
	f := newFall(t.Spans)
	for i := range f.spans {
		w.Partial = w.Partial || f.spans[i].Attrs[attrLate] != ""
	}
	start, end := f.bounds()
	w.StartedAt, w.TookS = start, end.Sub(start).Seconds()
	f.share(start, end, w.Partial)
	w.Hops = f.parts(end.Sub(start))
	f.rows(&w, start)
	w.mark()
	return w
}

func newFall(spans []Span) *fall {
	f := &fall{spans: spans, parent: make([]int, len(spans)), depth: make([]int, len(spans)), hop: make([]string, len(spans)), own: make([]time.Duration, len(spans))}
	at := make(map[SpanID]int, len(spans))
	for i := range spans {
		at[spans[i].ID] = i
	}
	for i := range spans {
		f.parent[i] = -1
		if p, ok := at[spans[i].Parent]; ok && p != i {
			f.parent[i] = p
		}
	}
	for i := range spans {
		// A ring of parents is somebody's mistake, and must not hold us up.
		for p := f.parent[i]; p >= 0 && f.depth[i] < len(spans); p = f.parent[p] {
			f.depth[i]++
		}
	}
	for i := range spans {
		f.hop[i] = f.hopOf(i)
	}
	return f
}

// hopOf says whose time a span is.
func (f *fall) hopOf(i int) string {
	s := &f.spans[i]
	if s.Service != OwnService {
		return cmp.Or(s.Service, Unknown)
	}
	switch s.Name {
	case spanRequest, spanWait:
		if s.Attrs["http.route"] == "POST /v1/channels/{name}/callbacks" {
			return doctor.HopCallbacks
		}
		return doctor.HopAPI
	case spanCommit:
		return doctor.HopDecider
	case spanSend:
		return doctor.HopDispatch
	case spanCallback, spanQuery:
		return doctor.HopSettle
	case spanCall:
		for p, n := f.parent[i], 0; p >= 0 && n < len(f.spans); p, n = f.parent[p], n+1 {
			if c := f.spans[p].Attrs[attrChannel]; c != "" {
				return c
			}
		}
	}
	return doctor.HopServe
}

func (f *fall) bounds() (start, end time.Time) {
	start = f.spans[0].Start
	for i := range f.spans {
		if f.spans[i].End.After(end) {
			end = f.spans[i].End
		}
	}
	return start, end
}

// share gives each moment to one span, or to a gap.
func (f *fall) share(start, end time.Time, partial bool) {
	marks := make([]time.Time, 0, 2*len(f.spans))
	for i := range f.spans {
		marks = append(marks, f.spans[i].Start, f.spans[i].End)
	}
	slices.SortFunc(marks, time.Time.Compare)
	marks = slices.CompactFunc(marks, time.Time.Equal)
	for k := 1; k < len(marks); k++ {
		from, to := marks[k-1], marks[k]
		if from.Before(start) || to.After(end) {
			continue
		}
		if i := f.under(from, to); i >= 0 {
			f.own[i] += to.Sub(from)
			continue
		}
		hop := Unknown
		if !partial {
			hop = f.awaited(from, to)
		}
		if n := len(f.gaps); n > 0 && f.gaps[n-1].to.Equal(from) && f.gaps[n-1].hop == hop {
			f.gaps[n-1].to = to
			continue
		}
		f.gaps = append(f.gaps, gap{from, to, hop})
	}
}

// under is the span whose the time between two marks is: of those under way the one that
// began last, the innermost where several did. Who waits for others, and whoever called
// that, has none of it.
func (f *fall) under(from, to time.Time) int {
	best := -1
	waiting := make(map[int]bool)
	for i := range f.spans {
		if s := &f.spans[i]; s.waits() && !s.Start.After(from) && !s.End.Before(to) {
			for p, n := i, 0; p >= 0 && n <= len(f.spans); p, n = f.parent[p], n+1 {
				waiting[p] = true
			}
		}
	}
	for i := range f.spans {
		s := &f.spans[i]
		if s.Start.After(from) || s.End.Before(to) || waiting[i] {
			continue
		}
		if best < 0 || s.Start.After(f.spans[best].Start) || s.Start.Equal(f.spans[best].Start) && f.depth[i] >= f.depth[best] {
			best = i
		}
	}
	return best
}

// awaited says what a gap on a payment's road waited for, by what came before and after.
func (f *fall) awaited(from, to time.Time) string {
	before, after := -1, -1
	for i := range f.spans {
		s := &f.spans[i]
		if s.Service != OwnService {
			continue
		}
		if !s.End.After(from) && s.Name != spanCall && !s.waits() && (before < 0 || s.End.After(f.spans[before].End)) {
			before = i
		}
		if !s.Start.Before(to) && after < 0 {
			after = i
		}
	}
	channel := func() string {
		for i := range f.spans {
			if c := f.spans[i].Attrs[attrChannel]; c != "" && f.spans[i].Name == spanSend {
				return c
			}
		}
		return Unknown
	}
	is := func(i int, names ...string) bool { return i >= 0 && slices.Contains(names, f.spans[i].Name) }
	switch {
	case is(after, spanSend):
		return doctor.HopDispatch // it was in the lane
	case is(after, spanCallback, spanQuery), after < 0 && is(before, spanSend, spanQuery):
		return channel() // its word is waited for, or the time to ask
	case is(before, spanSend, spanQuery):
		return doctor.HopDecider // the word is known, and is being written
	case after < 0 && before >= 0:
		return doctor.HopAPI // it is over, and the caller is being told
	}
	return Unknown
}

func (f *fall) parts(all time.Duration) []Part {
	sum := map[string]time.Duration{}
	for i := range f.spans {
		sum[f.hop[i]] += f.own[i]
	}
	for _, g := range f.gaps {
		sum[g.hop] += g.to.Sub(g.from)
	}
	out := []Part{}
	for hop, took := range sum {
		if took > 0 {
			out = append(out, Part{Hop: hop, S: took.Seconds(), Share: float64(took) / float64(max(all, 1))})
		}
	}
	slices.SortFunc(out, func(a, b Part) int { return cmp.Or(cmp.Compare(b.S, a.S), cmp.Compare(a.Hop, b.Hop)) })
	return out
}

func (f *fall) rows(w *Waterfall, start time.Time) {
	for i := range f.spans {
		s := &f.spans[i]
		w.Rows = append(w.Rows, Row{
			Hop: f.hop[i], Name: s.Name, FromS: s.Start.Sub(start).Seconds(), TookS: s.Took().Seconds(), OwnS: f.own[i].Seconds(),
			Depth: f.depth[i], Waits: s.waits(), Failed: s.Failed, Error: s.Error, Attrs: s.Attrs,
		})
	}
	for _, g := range f.gaps {
		if took := g.to.Sub(g.from); took >= gapLeast {
			w.Rows = append(w.Rows, Row{Hop: g.hop, Name: "waiting", FromS: g.from.Sub(start).Seconds(), TookS: took.Seconds(), OwnS: took.Seconds(), Gap: true})
		}
	}
	slices.SortStableFunc(w.Rows, func(a, b Row) int { return cmp.Or(cmp.Compare(a.FromS, b.FromS), cmp.Compare(a.Depth, b.Depth)) })
}

// mark names the slow hop, and the row where most of its time went.
func (w *Waterfall) mark() {
	if len(w.Hops) == 0 {
		return
	}
	p := w.Hops[0]
	if p.Hop == Unknown || p.Share < slowShare || p.S < slowLeast.Seconds() {
		return
	}
	w.Slow = &p
	most := -1
	for i := range w.Rows {
		if w.Rows[i].Hop == p.Hop && (most < 0 || w.Rows[i].OwnS > w.Rows[most].OwnS) {
			most = i
		}
	}
	if most >= 0 {
		w.Rows[most].Slow = true
	}
}
