// Package clock lets tests and drills own time, and tells when no clock can be
// trusted. Production code takes a Clock where it persists or compares wall-clock
// instants; it refuses to hide timers, which stay plain context deadlines, and to
// set any clock.
package clock

import (
	"sync"
	"time"
)

// Clock tells the wall-clock time.
type Clock interface {
	// Now returns the current instant.
	Now() time.Time
}

// System is the machine's own clock.
var System Clock = system{}

type system struct{}

func (system) Now() time.Time { return time.Now() }

// Manual is a clock that moves only when told to. It is safe for concurrent use.
type Manual struct {
	mu  sync.Mutex
	now time.Time
}

// NewManual returns a Manual clock that shows start.
func NewManual(start time.Time) *Manual { return &Manual{now: start} }

// Now returns the instant the clock was last set to.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// Advance moves the clock by d, which may be negative: clocks do jump back.
func (m *Manual) Advance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.now.Add(d)
}
