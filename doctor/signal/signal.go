// Package signal remembers what the collectors saw and makes evidence of it. Memory
// keeps bounded rings of points, one a series; Runner lets each collector look in a
// goroutine of its own, with a deadline, and records for how long each has not been
// heard, so that what is missing is evidence and never health. It refuses to judge, to
// fill a gap with a guess, and to grow without a bound.
package signal

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// Bounds of a memory.
const (
	// Kept is how long points are remembered: what is usual is what was so lately.
	Kept = 15 * time.Minute
	// Lately is the window that tells how it is now.
	Lately = 10 * time.Second
	// pointsMax holds Kept at a point a second, and a little more.
	pointsMax = 1024
	// apart is the least time between two points: closer ones replace each other.
	apart = 400 * time.Millisecond
	// seriesMax bounds the series; what comes beyond is told of in a note.
	seriesMax = 20_000
	// forgotten is when a series that nobody tells of any more is dropped.
	forgotten = 2 * Kept
	// usualFor is how long the summary of the healthy window is good for: a median of a
	// quarter of an hour does not move in so short a time.
	usualFor = 10 * time.Second
	// notesMax bounds the notes of one collector.
	notesMax = 20
	// illMax bounds the remembered times of trouble.
	illMax = 64
)

type key struct {
	hop, peer string
	signal    doctor.Signal
	statistic string
}

// point is one value; at is in nanoseconds since 1970.
type point struct {
	at    int64
	value float64
}

type series struct {
	points []point // a ring once it is full
	first  int
	source string
	detail map[string]string
	told   int64 // when the detail was told
	counts bool  // it only ever rises
	step   time.Duration

	usual     doctor.Sample // of the healthy window
	usualFrom int64         // that ended here; 0: none yet
	frozen    bool
}

// at returns the i-th oldest point.
func (s *series) at(i int) point { return s.points[(s.first+i)%len(s.points)] }

func (s *series) newest() point { return s.at(len(s.points) - 1) }

func (s *series) add(p point) {
	n := len(s.points)
	if n > 0 {
		last := s.newest().at
		if p.at < last { // a clock that was put back: the newer word counts
			s.points, s.first, n = s.points[:0], 0, 0
		} else if p.at-last < int64(apart) {
			s.points[(s.first+n-1)%n] = p
			return
		}
	}
	if n < pointsMax {
		s.points = append(s.points, p)
		return
	}
	s.points[s.first] = p
	s.first = (s.first + 1) % n
}

// from returns the index of the first point at or after t.
func (s *series) from(t int64) int {
	low, high := 0, len(s.points)
	for low < high {
		mid := (low + high) / 2
		if s.at(mid).at < t {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}

// told is what one collector said beside points.
type told struct {
	cohorts []doctor.Cohort
	notes   []string
}

// span is a time of trouble, of which nothing counts as usual.
type span struct{ from, until int64 }

// Memory holds what was seen lately. It is safe for concurrent use.
type Memory struct {
	mu     sync.Mutex
	series map[key]*series
	hops   map[string]doctor.Kind
	calls  map[doctor.Call]bool
	told   map[string]told
	ill    []span
	frozen int64 // since when there is trouble; 0: there is none
	full   bool
}

// NewMemory returns an empty memory that knows these hops and calls.
func NewMemory(hops []doctor.Hop, calls []doctor.Call) *Memory {
	m := &Memory{
		series: make(map[key]*series), hops: make(map[string]doctor.Kind), calls: make(map[doctor.Call]bool), told: make(map[string]told),
	}
	m.road(hops, calls)
	return m
}

func (m *Memory) road(hops []doctor.Hop, calls []doctor.Call) {
	for _, h := range hops {
		if _, known := m.hops[h.Name]; known || len(m.hops) < doctor.HopsMax {
			m.hops[h.Name] = h.Kind
		}
	}
	for _, c := range calls {
		if m.hops[c.From] != "" && m.hops[c.To] != "" && len(m.calls) < doctor.CallsMax {
			m.calls[c] = true
		}
	}
}

// Take remembers what the collector of that name saw; every is the time between two
// of its looks. A point of a hop that nobody named, or of a signal that is not known,
// is told of in a note instead.
func (m *Memory) Take(name string, every time.Duration, l *doctor.Look) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.road(l.Hops, l.Calls)
	t := told{cohorts: l.Cohorts, notes: l.Notes[:min(len(l.Notes), notesMax)]}
	strange := 0
	for i := range l.Points {
		if !m.take(&l.Points[i], every) {
			strange++
		}
	}
	if strange > 0 {
		t.notes = append(slices.Clone(t.notes), noteStrange(name, strange))
	}
	m.told[name] = t
}

func (m *Memory) take(p *doctor.Point, every time.Duration) bool {
	if m.hops[p.Hop] == "" || (p.Peer != "" && m.hops[p.Peer] == "") || !sane(p) {
		return false
	}
	if _, ok := p.Signal.Info(); !ok {
		return false
	}
	k := key{p.Hop, p.Peer, p.Signal, p.Statistic}
	s := m.series[k]
	if s == nil {
		if len(m.series) >= seriesMax {
			m.full = true
			return true
		}
		s = &series{points: make([]point, 0, 64), counts: p.Signal.Counts()}
		m.series[k] = s
	}
	s.add(point{p.At.UnixNano(), p.Value})
	s.source, s.step = p.Source, every
	// What a value was about is remembered for as long as it counts as of late.
	if at := p.At.UnixNano(); p.Detail != nil || at-s.told > int64(Lately) {
		s.detail, s.told = p.Detail, at
	}
	return true
}

// Freeze keeps what was usual before the trouble began: however long it lasts, it
// never becomes the usual. The first call counts until Thaw.
func (m *Memory) Freeze(since time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.frozen != 0 {
		return
	}
	m.frozen = since.UnixNano()
	for _, s := range m.series {
		s.usual, s.usualFrom, s.frozen = m.before(s, m.frozen), m.frozen, true
	}
}

// Thaw ends the trouble; what was seen in it does not count as usual afterwards.
func (m *Memory) Thaw(at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.frozen == 0 {
		return
	}
	m.ill = append(m.ill, span{m.frozen, at.UnixNano()})
	if len(m.ill) > illMax {
		m.ill = m.ill[1:]
	}
	m.frozen = 0
	for _, s := range m.series {
		s.frozen, s.usualFrom = false, 0
	}
}

// Evidence is what can be said now: before since what was usual, from since on what is
// so. While the memory is frozen, the usual is that of the freeze.
func (m *Memory) Evidence(takenAt, since time.Time, symptom doctor.Symptom) *doctor.Evidence {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, from := takenAt.UnixNano(), since.UnixNano()
	e := &doctor.Evidence{Version: doctor.EvidenceVersion, TakenAt: takenAt.UTC(), Since: since.UTC(), Symptom: symptom}
	for name, kind := range m.hops {
		e.Hops = append(e.Hops, doctor.Hop{Name: name, Kind: kind})
	}
	e.Calls = slices.Collect(maps.Keys(m.calls))
	for k, s := range m.series {
		if now-s.newest().at > int64(forgotten) {
			delete(m.series, k)
			continue
		}
		e.Readings = append(e.Readings, m.reading(k, s, now, from))
	}
	for _, t := range m.told {
		e.Cohorts, e.Notes = append(e.Cohorts, t.cohorts...), append(e.Notes, t.notes...)
	}
	if m.full {
		e.Notes = append(e.Notes, noteFull)
	}
	e.Sort()
	return e
}

func (m *Memory) reading(k key, s *series, now, from int64) doctor.Reading {
	r := doctor.Reading{
		Hop: k.hop, Peer: k.peer, Signal: k.signal, Statistic: k.statistic, Source: s.source,
		StepS: s.step.Seconds(), Detail: s.detail,
	}
	newest := s.newest()
	at := instant(newest.at)
	r.Newest, r.Last = &at, newest.value
	if !s.frozen && (s.usualFrom == 0 || from-s.usualFrom >= int64(usualFor) || from < s.usualFrom) {
		s.usual, s.usualFrom = m.before(s, from), from
	}
	r.Before = s.usual
	r.During = s.window(from, now)
	if lately := now - int64(Lately); from < lately {
		r.Lately = s.window(lately, now)
	}
	return r
}

// window sums up from one time to another; a series whose next point is not yet due
// speaks by its newest one.
func (s *series) window(from, until int64) doctor.Sample {
	out := doctor.Sample{From: instant(from), Until: instant(until)}
	first := s.from(from)
	if first == len(s.points) && until-s.newest().at <= 3*int64(s.step) {
		first--
	}
	var values []float64
	for i := first; i < len(s.points) && s.at(i).at <= until; i++ {
		values = append(values, s.at(i).value)
	}
	if out.N = len(values); out.N > 0 {
		_, out.Spread = doctor.MedianSpread(values)
		out.Value, out.Most = mean(values), slices.Max(values)
	}
	return out
}

// before sums up the healthy window that ends at until.
func (m *Memory) before(s *series, until int64) doctor.Sample {
	from := until - int64(Kept)
	out := doctor.Sample{From: instant(from), Until: instant(until)}
	values := make([]float64, 0, len(s.points))
	for i := s.from(from); i < len(s.points); i++ {
		p := s.at(i)
		if p.at >= until {
			break
		}
		if !slices.ContainsFunc(m.ill, func(t span) bool { return p.at >= t.from && p.at < t.until }) {
			values = append(values, p.value)
		}
	}
	if out.N = len(values); out.N > 0 {
		out.Value, out.Spread = doctor.MedianSpread(values)
	}
	if out.N > 0 && s.counts { // by how much it rose since, whatever it was about before
		out.Value, out.Spread = s.at(max(s.from(until)-1, 0)).value, 0
	}
	return out
}

// Newest returns the newest value of one series, for whoever shows a screen.
func (m *Memory) Newest(hop string, signal doctor.Signal, statistic string) (value float64, at time.Time, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.series[key{hop, "", signal, statistic}]
	if s == nil || len(s.points) == 0 {
		return 0, time.Time{}, false
	}
	p := s.newest()
	return p.value, instant(p.at), true
}

// Size is how many series and points are held.
func (m *Memory) Size() (all, points int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.series {
		points += len(s.points)
	}
	return len(m.series), points
}

// Line is one series with its points, oldest first, for charts.
type Line struct {
	Hop       string        `json:"hop"`
	Peer      string        `json:"peer,omitempty"`
	Signal    doctor.Signal `json:"signal"`
	Statistic string        `json:"statistic,omitempty"`
	At        []time.Time   `json:"at"`
	Values    []float64     `json:"values"`
}

// Lines returns the series of a signal, at one hop or, with none given, at all, from a
// time on.
func (m *Memory) Lines(hop string, signal doctor.Signal, from time.Time) []Line {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []Line
	for k, s := range m.series {
		if k.signal != signal || (hop != "" && k.hop != hop) {
			continue
		}
		l := Line{Hop: k.hop, Peer: k.peer, Signal: k.signal, Statistic: k.statistic}
		for i := s.from(from.UnixNano()); i < len(s.points); i++ {
			l.At, l.Values = append(l.At, instant(s.at(i).at)), append(l.Values, s.at(i).value)
		}
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b Line) int {
		return cmp.Or(cmp.Compare(a.Hop, b.Hop), cmp.Compare(a.Peer, b.Peer), cmp.Compare(a.Statistic, b.Statistic))
	})
	return out
}
