package doctor

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// EvidenceVersion is the version of the form that this build writes and reads.
const EvidenceVersion = 1

// Bounds of an evidence. They are far above what a real system needs, and keep a
// broken or hostile file from taking the machine.
const (
	HopsMax     = 2_000
	CallsMax    = 20_000
	ReadingsMax = 100_000
	CohortsMax  = 10_000
	nameMax     = 512
	// EvidenceBytesMax bounds the file.
	EvidenceBytesMax = 64 << 20
)

// Evidence is all that a diagnosis may look at: the road, and what was read on it. It
// is a summary, not a store of series: a Reading holds both windows of one signal.
// Everything in it is data, so that the same evidence gives the same answer anywhere.
type Evidence struct {
	Version int `json:"version"`
	// TakenAt is when the last reading was taken, by the collector's clock; the age of
	// a reading counts from here.
	TakenAt time.Time `json:"taken_at"`
	// Since is when the trouble began, as far as the collector knows.
	Since    time.Time `json:"since"`
	Symptom  Symptom   `json:"symptom"`
	Hops     []Hop     `json:"hops"`
	Calls    []Call    `json:"calls"`
	Readings []Reading `json:"readings"`
	Cohorts  []Cohort  `json:"cohorts,omitempty"`
	// Alarms are the invariants that were broken when it was taken.
	Alarms []Alarm `json:"alarms,omitempty"`
	// Notes are what the collector wants people to know, such as what it left out.
	Notes []string `json:"notes,omitempty"`
}

// Reading is one signal at one hop, or of one call, before and during the trouble.
type Reading struct {
	Hop string `json:"hop"`
	// Peer is set for a reading of the call Hop to Peer, as Hop saw it.
	Peer   string `json:"peer,omitempty"`
	Signal Signal `json:"signal"`
	// Statistic is mean, p50, p90, p95 or p99 of a latency; empty for all else.
	Statistic string `json:"statistic,omitempty"`
	// Source is the query that gave it, for people to repeat.
	Source string `json:"source"`
	Before Sample `json:"before"`
	During Sample `json:"during"`
	// Lately is the last few seconds of a long During, so that an alarm can end while its
	// incident goes on; none when During is no longer itself.
	Lately Sample `json:"lately,omitzero"`
	// StepS is the time between two points, in seconds; 0 when unknown.
	StepS float64 `json:"step_s"`
	// Newest is the newest point of the signal; nil when there never was one.
	Newest *time.Time `json:"newest,omitempty"`
	// Last is the value of the newest point, Detail what it was about: see Point.
	Last   float64           `json:"last,omitempty"`
	Detail map[string]string `json:"detail,omitempty"`
}

// Sample sums up a window.
type Sample struct {
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
	// N is the number of points in it; with none, Value and Spread say nothing.
	N int `json:"n"`
	// Value is the median before, the mean during, in the signal's unit.
	Value float64 `json:"value"`
	// Spread is how far points usually lie from Value, as the standard deviation of a
	// normal distribution would say it: a robust measure, 0 when there was one point.
	Spread float64 `json:"spread"`
	// Most is the largest value; 0 where the collector sums up without it.
	Most float64 `json:"most,omitempty"`
}

// Cohort counts who is affected, by one dimension such as region or app version.
type Cohort struct {
	Dimension string `json:"dimension"`
	Value     string `json:"value"`
	Affected  int    `json:"affected"`
	Total     int    `json:"total"`
}

// Presence says whether a reading can speak.
type Presence string

// Present: points in both windows. Missing: there were points, and now there are
// none. Stale: the newest point is more than three steps old. New: there were none
// before. Absent: never any.
const (
	Present Presence = "present"
	Missing Presence = "missing"
	Stopped Presence = "stale"
	New     Presence = "new"
	Absent  Presence = "absent"
)

// staleSteps is how many steps a reading may be behind: one is under way, one may be
// late, the third is not coming.
const staleSteps = 3

// Presence of the reading, for an evidence taken then. Missing and stale are evidence
// of their own kind, and never health.
func (r *Reading) Presence(takenAt time.Time) Presence {
	switch {
	case r.Before.N == 0 && r.During.N == 0:
		return Absent
	case r.During.N == 0:
		return Missing
	case r.StepS > 0 && r.Newest != nil && takenAt.Sub(*r.Newest).Seconds() > staleSteps*r.StepS:
		return Stopped
	case r.Before.N == 0:
		return New
	}
	return Present
}

// Invalid says what is wrong with an evidence, and where.
type Invalid struct{ Reason string }

// Error returns the reason.
func (e *Invalid) Error() string { return "the evidence cannot be used: " + e.Reason }

func invalid(format string, args ...any) error {
	return &Invalid{Reason: fmt.Sprintf(format, args...)}
}

// Validate returns an *Invalid that says what is wrong, or nil.
func (e *Evidence) Validate() error {
	switch {
	case e.Version != EvidenceVersion:
		return invalid("its version is %d and this build reads %d", e.Version, EvidenceVersion)
	case e.TakenAt.IsZero():
		return invalid("taken_at is missing")
	case len(e.Hops) == 0:
		return invalid("it has no hops")
	case len(e.Hops) > HopsMax || len(e.Calls) > CallsMax || len(e.Readings) > ReadingsMax || len(e.Cohorts) > CohortsMax:
		return invalid("it has %d hops, %d calls, %d readings and %d cohorts; at most %d, %d, %d and %d are read",
			len(e.Hops), len(e.Calls), len(e.Readings), len(e.Cohorts), HopsMax, CallsMax, ReadingsMax, CohortsMax)
	}
	known := make(map[string]bool, len(e.Hops))
	for _, h := range e.Hops {
		if err := checkHop(h, known); err != nil {
			return err
		}
	}
	if !known[e.Symptom.Hop] {
		return invalid("the symptom is at %q, which is not one of its hops", e.Symptom.Hop)
	}
	if _, ok := e.Symptom.Signal.Info(); !ok {
		return invalid("the symptom's signal %q is not known", e.Symptom.Signal)
	}
	seen := make(map[Call]bool, len(e.Calls))
	for _, c := range e.Calls {
		switch {
		case !known[c.From] || !known[c.To]:
			return invalid("the call %q to %q names a hop that is not listed", c.From, c.To)
		case seen[c]:
			return invalid("the call %q to %q is listed twice", c.From, c.To)
		}
		seen[c] = true
	}
	if err := e.checkReadings(known); err != nil {
		return err
	}
	return e.checkCohorts()
}

func checkHop(h Hop, known map[string]bool) error {
	switch {
	case h.Name == "" || len(h.Name) > nameMax || !utf8.ValidString(h.Name):
		return invalid("a hop's name is empty, longer than %d bytes or not UTF-8: %.80q", nameMax, h.Name)
	case known[h.Name]:
		return invalid("hop %q is listed twice", h.Name)
	case !slices.Contains(Kinds(), h.Kind):
		return invalid("hop %q is of kind %q; the kinds are %v", h.Name, h.Kind, Kinds())
	}
	known[h.Name] = true
	return nil
}

type readingKey struct {
	hop, peer string
	signal    Signal
	statistic string
}

func (r *Reading) key() readingKey { return readingKey{r.Hop, r.Peer, r.Signal, r.Statistic} }

func (e *Evidence) checkReadings(known map[string]bool) error {
	seen := make(map[readingKey]bool, len(e.Readings))
	for i := range e.Readings {
		r := &e.Readings[i]
		_, signal := r.Signal.Info()
		switch {
		case !known[r.Hop] || (r.Peer != "" && !known[r.Peer]):
			return invalid("a reading is of %q, peer %q, and one of them is not a hop", r.Hop, r.Peer)
		case !signal:
			return invalid("a reading of %q is of the signal %q, which is not known", r.Hop, r.Signal)
		case seen[r.key()]:
			return invalid("%s %s of %q is there twice", r.Signal, r.Statistic, r.Hop)
		case !finite(r.Before.Value, r.Before.Spread, r.During.Value, r.During.Spread, r.Lately.Value, r.Lately.Spread, r.Before.Most, r.During.Most, r.Lately.Most, r.StepS, r.Last):
			return invalid("%s of %q holds a number that is none", r.Signal, r.Hop)
		case r.Before.N < 0 || r.During.N < 0 || r.Lately.N < 0 || r.Before.Spread < 0 || r.During.Spread < 0 || r.Lately.Spread < 0 || r.StepS < 0:
			return invalid("%s of %q has a negative count, spread or step", r.Signal, r.Hop)
		case r.Before.Value < 0 || r.During.Value < 0:
			if r.Signal != Wire {
				return invalid("%s of %q is negative", r.Signal, r.Hop)
			}
		}
		seen[r.key()] = true
	}
	return nil
}

func (e *Evidence) checkCohorts() error {
	for _, c := range e.Cohorts {
		if c.Dimension == "" || c.Affected < 0 || c.Total < c.Affected {
			return invalid("cohort %q=%q: %d affected of %d", c.Dimension, c.Value, c.Affected, c.Total)
		}
	}
	return nil
}

// most is far above any real figure, and small enough that products stay finite.
const most = 1e15

func finite(all ...float64) bool {
	for _, f := range all {
		if math.IsNaN(f) || math.Abs(f) > most {
			return false
		}
	}
	return true
}

// Sort brings the evidence into its one order: the order in which collectors
// delivered must not show in an answer.
func (e *Evidence) Sort() {
	slices.SortFunc(e.Hops, func(a, b Hop) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(e.Calls, func(a, b Call) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To)) })
	slices.SortFunc(e.Readings, func(a, b Reading) int {
		return cmp.Or(cmp.Compare(a.Hop, b.Hop), cmp.Compare(a.Peer, b.Peer),
			cmp.Compare(a.Signal, b.Signal), cmp.Compare(a.Statistic, b.Statistic))
	})
	slices.SortStableFunc(e.Cohorts, func(a, b Cohort) int {
		return cmp.Or(cmp.Compare(a.Dimension, b.Dimension), cmp.Compare(a.Value, b.Value))
	})
	slices.SortFunc(e.Alarms, func(a, b Alarm) int {
		return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Hop, b.Hop), cmp.Compare(a.Signal, b.Signal), cmp.Compare(a.Statistic, b.Statistic))
	})
	slices.Sort(e.Notes)
}

// Clone returns a copy that can be sorted without a trace in the original.
func (e *Evidence) Clone() Evidence {
	c := *e
	c.Hops, c.Calls = slices.Clone(e.Hops), slices.Clone(e.Calls)
	c.Readings, c.Cohorts, c.Notes = slices.Clone(e.Readings), slices.Clone(e.Cohorts), slices.Clone(e.Notes)
	c.Alarms = slices.Clone(e.Alarms)
	return c
}

// Write stores the evidence in its one order, so that equal evidence is equal bytes.
func (e *Evidence) Write(w io.Writer) error {
	c := e.Clone()
	if err := c.Validate(); err != nil {
		return err
	}
	c.Sort()
	enc := json.NewEncoder(w)
	enc.SetIndent("", " ")
	enc.SetEscapeHTML(false)
	return enc.Encode(&c)
}

// ReadEvidence reads what Write stored. An unknown field is refused: an answer that
// rests on half of the evidence would not be the same answer.
func ReadEvidence(r io.Reader) (*Evidence, error) {
	raw, err := io.ReadAll(io.LimitReader(r, EvidenceBytesMax+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > EvidenceBytesMax {
		return nil, invalid("it is larger than %d MB", EvidenceBytesMax>>20)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	var e Evidence
	if err := d.Decode(&e); err != nil {
		return nil, invalid("it is not the JSON that --save writes: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if d.More() {
		return nil, invalid("something follows its end")
	}
	if err := e.Validate(); err != nil {
		return nil, err
	}
	e.Sort()
	return &e, nil
}
