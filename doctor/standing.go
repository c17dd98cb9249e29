package doctor

import "time"

// Standing is what was at every place of the road at one moment: what a map shows.
// Evidence sums signals up for a judge; this keeps the figures as they were counted.
type Standing struct {
	// At is when it was read, by the collector's clock.
	At    time.Time
	Lanes []Lane
}

// Lane is the work at one hop, or in one lane of it.
type Lane struct {
	Hop string
	// Channel that the work is to go by, where a hop has work of several.
	Channel string
	// Waiting is work that the hop itself should move; Held waits for a holder or a person.
	Waiting, Held int64
	// Value is what Waiting is worth, by asset, in the smallest unit, as decimal digits.
	Value map[string]string
	// Overdue is how much of it is past its deadline.
	Overdue int64
	// Oldest is since when the oldest of Waiting is there, Due the earliest deadline of it;
	// zero: there is none.
	Oldest, Due time.Time
	// In and Out are arrivals and departures a second, over the last ten seconds.
	In, Out float64
	// Usual is the longest that work stayed of late before it left, and Stuck for how long
	// the oldest could have left and did not.
	Usual, Stuck time.Duration
	// Paused says that the work is held back on purpose.
	Paused bool
}
