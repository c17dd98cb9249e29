// Package clock lets tests and drills own time, and tells when no clock can be
// trusted. Production code takes a Clock where it persists or compares wall-clock
// instants; it refuses to hide timers, which stay plain context deadlines, and to
// set any clock.
package clock

import (
	"sync"
	"sync/atomic"
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

// Mark is when a loop last gave a sign of life. It keeps the monotonic reading, so that
// no step of the wall clock makes a loop look alive that hangs, or dead that turns. The
// zero Mark is the zero time. It is safe for concurrent use.
type Mark struct{ at atomic.Pointer[time.Time] }

// Set takes the instant, as a Clock told it.
func (m *Mark) Set(t time.Time) { m.at.Store(&t) }

// Time returns the instant that was set last.
func (m *Mark) Time() time.Time {
	if t := m.at.Load(); t != nil {
		return *t
	}
	return time.Time{}
}
