package doctor

import (
	"context"
	"time"
)

// Point is one value of one signal, at one moment, at one hop or of one call.
type Point struct {
	Hop string
	// Peer is set for a point of the call Hop to Peer, as Hop saw it.
	Peer   string
	Signal Signal
	// Statistic tells apart what a signal has several of: a quantile, a loop, a path, an
	// asset; often empty.
	Statistic string
	Value     float64
	// At is when it was so, by the collector's clock.
	At time.Time
	// Source is the query that gave it, for people to repeat.
	Source string
	// Detail says what the value is about: which session, table, statement, loop. Keys
	// are fixed by the signal; values are short and hold no secret.
	Detail map[string]string
}

// Look is what one collector saw, in one look. Hops and calls are those it speaks of;
// the same hop may be told by several collectors.
type Look struct {
	Hops   []Hop
	Calls  []Call
	Points []Point
	// Cohorts replace those that this collector told before.
	Cohorts []Cohort
	Notes   []string
}

// Collector looks at one source, again and again. It only reads.
type Collector interface {
	// Name is unique among the collectors, such as "postgres".
	Name() string
	// Every is the time between two looks.
	Every() time.Duration
	// Look returns what it saw. What was seen before an error is kept; the error itself is
	// evidence that the source does not answer. It ends when ctx does.
	Look(ctx context.Context) (Look, error)
}
