package clock

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// DivergenceMax is how far two clocks may be apart, or run apart, before no
	// decision may rest on what time it is.
	DivergenceMax = 5 * time.Second
	// DefaultSettle is how long clocks must agree before they are believed again: a
	// clock that was stepped is often stepped once more, within seconds, by whoever
	// put it right.
	DefaultSettle = 30 * time.Second
	// freshFor is how old the last comparison may be. Readers compare several times
	// a second; a process that was frozen has not.
	freshFor = 5 * time.Second
	// An anchor is set every anchorEvery and kept for anchorsMax of them: ten
	// minutes. Every step is seen by the next comparison; what drifts by more than
	// DivergenceMax in ten minutes (0.8 %, sixteen times what time daemons slew)
	// is seen too, and what they slew never adds up to it.
	anchorEvery = time.Minute
	anchorsMax  = 10
)

// ErrUnsound says that it is not known what time it is.
var ErrUnsound = errors.New("clocks disagree")

// Guard compares three clocks: this process's monotonic clock, its machine's wall
// clock, and the database's. It tells whether a decision may rest on the time,
// and tells the time, also while it may not. It refuses to say which clock is
// right. Its methods are safe for concurrent use; a nil Guard finds every clock
// sound.
type Guard struct {
	cfg GuardConfig

	mu      sync.Mutex
	anchors []sample // oldest first
	last    sample
	base    Reading // the last instant that was believed
	begun   bool
	// floor is the newest instant that the ledger has written down.
	floor time.Time
	// trouble is why the time is not believed; agreeing since when no sample has
	// given a reason any more.
	trouble  string
	agreeing time.Time
}

// GuardConfig is what a Guard needs; every zero field has a default.
type GuardConfig struct {
	// Clock is the machine's wall clock; nil means the system's.
	Clock Clock
	// Monotonic returns instants whose difference no step of a clock changes; nil
	// means time.Now.
	Monotonic func() time.Time
	// Max is how far clocks may diverge; zero means DivergenceMax.
	Max time.Duration
	// Settle is how long the clocks must agree after a disagreement.
	Settle time.Duration
}

// Reading is one instant on both clocks of this process.
type Reading struct{ wall, mono time.Time }

// sample is one look at the database's clock, which read db somewhere between
// asked and answered.
type sample struct {
	asked, answered Reading
	db              time.Time
}

// Finding is what one comparison found.
type Finding struct {
	// Drift is by how much more time passed at the database than here since the
	// worst anchor, beyond what the round trips leave open; Skew how far the
	// database is ahead of this machine; Ahead how far the ledger is.
	Drift, Skew, Ahead time.Duration
	// Trouble says why the time is not believed, or is empty.
	Trouble string
	// Changed is true when that begins, and when it ends.
	Changed bool
}

// NewGuard returns a guard that has compared nothing yet.
func NewGuard(cfg GuardConfig) *Guard {
	if cfg.Clock == nil {
		cfg.Clock = System
	}
	if cfg.Monotonic == nil {
		cfg.Monotonic = time.Now
	}
	if cfg.Max <= 0 {
		cfg.Max = DivergenceMax
	}
	if cfg.Settle <= 0 {
		cfg.Settle = DefaultSettle
	}
	return &Guard{cfg: cfg}
}

// Read takes both clocks, right before the database is asked for its own.
func (g *Guard) Read() Reading {
	if g == nil {
		return Reading{}
	}
	return Reading{g.cfg.Clock.Now(), g.cfg.Monotonic()}
}

// Compare takes what the database's clock said to a question that was asked then.
func (g *Guard) Compare(asked Reading, db time.Time) Finding {
	if g == nil {
		return Finding{}
	}
	s := sample{asked, g.Read(), db}
	g.mu.Lock()
	defer g.mu.Unlock()
	f := Finding{Drift: g.drift(&s), Skew: s.skew()}
	f.Ahead = max(g.floor.Sub(s.answered.wall.Round(0)), 0)
	why := f.reason(g.cfg.Max)
	if f.Drift.Abs() > g.cfg.Max { // judge what comes by what the clocks are now
		g.anchors = g.anchors[:0]
	}
	g.anchor(&s)
	g.last, g.begun = s, true
	was := g.trouble
	switch {
	case why != "":
		g.trouble, g.agreeing = why, s.answered.mono
	case g.trouble != "" && s.answered.mono.Sub(g.agreeing) >= g.cfg.Settle:
		g.trouble = ""
	}
	if g.trouble == "" {
		g.base = s.answered
	}
	f.Trouble, f.Changed = g.trouble, (was == "") != (g.trouble == "")
	return f
}

// drift compares the time that passed since each anchor on both clocks.
func (g *Guard) drift(s *sample) (worst time.Duration) {
	for i := range g.anchors {
		a := &g.anchors[i]
		passed := s.db.Sub(a.db)
		d := outside(passed, s.asked.mono.Sub(a.answered.mono), s.answered.mono.Sub(a.asked.mono))
		if d.Abs() > worst.Abs() {
			worst = d
		}
	}
	return worst
}

func (s *sample) skew() time.Duration {
	early, late := s.asked.wall, s.answered.wall
	if late.Before(early) { // it was set back meanwhile
		early, late = late, early
	}
	return outside(0, early.Round(0).Sub(s.db), late.Round(0).Sub(s.db)) // as if the database were at zero
}

// outside is how far d lies above high, or, negative, below low.
func outside(d, low, high time.Duration) time.Duration {
	switch {
	case d > high:
		return d - high
	case d < low:
		return d - low
	}
	return 0
}

func (f *Finding) reason(most time.Duration) string {
	const ms = time.Millisecond
	switch {
	case f.Drift.Abs() > most:
		return fmt.Sprintf("the database's clock went %s against this process's", f.Drift.Round(ms))
	case f.Skew > most:
		return fmt.Sprintf("the database's clock is %s ahead of this machine's", f.Skew.Round(ms))
	case f.Skew < -most:
		return fmt.Sprintf("the database's clock is %s behind this machine's", -f.Skew.Round(ms))
	case f.Ahead > most:
		return fmt.Sprintf("the ledger's last entry is %s ahead of this machine's clock", f.Ahead.Round(ms))
	}
	return ""
}

func (g *Guard) anchor(s *sample) {
	if n := len(g.anchors); n > 0 && s.answered.mono.Sub(g.anchors[n-1].answered.mono) < anchorEvery {
		return
	}
	if len(g.anchors) == anchorsMax {
		g.anchors = append(g.anchors[:0], g.anchors[1:]...)
	}
	g.anchors = append(g.anchors, *s)
}

// NotBefore tells the newest instant that the ledger has written down: time does
// not run backwards there, and a clock that is behind it is not believed.
func (g *Guard) NotBefore(t time.Time) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.After(g.floor) {
		g.floor = t
	}
}

// Unsound returns why no decision may rest on the time, wrapping ErrUnsound, or
// nil. What was not compared lately is not sound.
func (g *Guard) Unsound() error {
	if g == nil {
		return nil
	}
	r := g.Read()
	g.mu.Lock()
	defer g.mu.Unlock()
	age, step := r.mono.Sub(g.last.answered.mono), g.stepped(r)
	switch {
	case g.trouble != "":
		return fmt.Errorf("%w: %s", ErrUnsound, g.trouble)
	case !g.begun:
		return fmt.Errorf("%w, perhaps: the database's was not read yet", ErrUnsound)
	case age > freshFor:
		return fmt.Errorf("%w, perhaps: the database's was not read for %s", ErrUnsound, age.Round(time.Millisecond))
	case step.Abs() > g.cfg.Max:
		return fmt.Errorf("%w: this machine's was set by %s a moment ago", ErrUnsound, step.Round(time.Millisecond))
	}
	return nil
}

// stepped is how far the wall clock went against the monotonic one since the last
// instant that was believed: a step is known here before the next comparison.
func (g *Guard) stepped(r Reading) time.Duration {
	if g.base.wall.IsZero() {
		return 0
	}
	return r.wall.Round(0).Sub(g.base.wall.Round(0)) - r.mono.Sub(g.base.mono)
}

// Now returns the machine's wall clock while it is believed. While it is not,
// time goes on from the last instant that was, or, if there was none, from the
// database's, by the monotonic clock: a clock that jumps for a minute leaves no
// mark on what is written down meanwhile.
func (g *Guard) Now() time.Time {
	r := g.Read()
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.trouble == "" && g.stepped(r).Abs() <= g.cfg.Max, !g.begun:
		return r.wall
	case !g.base.wall.IsZero():
		return g.base.wall.Round(0).Add(r.mono.Sub(g.base.mono))
	default:
		return g.last.db.Add(r.mono.Sub(g.last.answered.mono))
	}
}

// Passed reports whether limit lies before now, on the wall clock or, where both
// carry its reading, on the monotonic one. Whichever says so first is right: a
// wall clock may be set back, and a monotonic one stands still with its machine.
func Passed(now, limit time.Time) bool {
	return now.After(limit) || now.Round(0).After(limit.Round(0))
}
