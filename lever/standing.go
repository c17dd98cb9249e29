package lever

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Standing is the levers that were last known to hold. It never changes, so that it
// can be read by everybody at once; nil is an empty one. Its questions answer for
// the instant that they are asked with, so that what expires ends by itself.
type Standing struct {
	pulls   []Pull
	rates   []Rate // of limits, by the place of the pull
	numbers []int  // of bulkheads, likewise
}

// Stand returns what holds of some pulls. Pulls that Check refuses are left out: the
// place where they were kept may be damaged. The oldest comes first.
func Stand(pulls []Pull) *Standing {
	s := &Standing{}
	for i := range pulls {
		if pulls[i].UndoneAt.IsZero() && pulls[i].Check() == nil {
			s.pulls = append(s.pulls, pulls[i])
		}
	}
	slices.SortFunc(s.pulls, func(a, b Pull) int {
		if c := a.At.Compare(b.At); c != 0 {
			return c
		}
		return strings.Compare(a.ID.String(), b.ID.String())
	})
	s.rates, s.numbers = make([]Rate, len(s.pulls)), make([]int, len(s.pulls))
	for i := range s.pulls {
		switch s.pulls[i].Lever { //nolint:exhaustive // the others have no number
		case Limit:
			s.rates[i], _ = ParseRate(s.pulls[i].Value) // checked above
		case Bulkhead:
			s.numbers[i], _ = strconv.Atoi(s.pulls[i].Value)
		}
	}
	return s
}

// Empty reports whether nothing holds: the one look that a request costs as long as
// nobody has pulled anything.
func (s *Standing) Empty() bool { return s == nil || len(s.pulls) == 0 }

// At returns what holds at now, the oldest first.
func (s *Standing) At(now time.Time) (out []Pull) {
	if s.Empty() {
		return nil
	}
	for i := range s.pulls {
		if s.pulls[i].Holds(now) {
			out = append(out, s.pulls[i])
		}
	}
	return out
}

// longest returns the pull that fits and holds longest: who is refused is told when
// it is really over.
func (s *Standing) longest(now time.Time, fits func(*Pull) bool) (found *Pull) {
	if s.Empty() {
		return nil
	}
	for i := range s.pulls {
		p := &s.pulls[i]
		if fits(p) && p.Holds(now) && (found == nil || p.Expires.After(found.Expires)) {
			found = p
		}
	}
	return found
}

// Writes returns what refuses callers' writes, or nil.
func (s *Standing) Writes(now time.Time) *Pull {
	return s.longest(now, func(p *Pull) bool { return p.Lever == ReadOnly })
}

// Intake returns what refuses the new payment, or nil. Repairs by people
// (compensations, assignments) have no kind of Kinds and are not refused here.
func (s *Standing) Intake(now time.Time, of *Subject) *Pull {
	if s.Empty() || !slices.Contains(Kinds, of.Kind) {
		return nil
	}
	return s.longest(now, func(p *Pull) bool {
		switch p.Lever { //nolint:exhaustive // the others refuse no payment
		case PauseIntake:
			return p.Aim.covers(of)
		case SafeMode:
			return p.Value != intakeOpen
		}
		return false
	})
}

// Dispatch returns what keeps anything new from going out to the channel, or nil.
// What is out is not concerned.
func (s *Standing) Dispatch(now time.Time, channel string) *Pull {
	return s.longest(now, func(p *Pull) bool {
		switch p.Lever { //nolint:exhaustive // the others let it go
		case PauseDispatch:
			return p.Aim.covers(&Subject{Channel: channel})
		case ReadOnly, SafeMode:
			return true
		}
		return false
	})
}

// Broken returns what holds the channel's breaker open, or nil.
func (s *Standing) Broken(now time.Time, channel string) *Pull {
	return s.longest(now, func(p *Pull) bool { return p.Lever == Breaker && p.Aim.Of == channel })
}

// AtOnce is how many calls to the channel may be under way; 0 when no lever says.
func (s *Standing) AtOnce(now time.Time, channel string) (least int) {
	if s.Empty() {
		return 0
	}
	for i := range s.pulls {
		p := &s.pulls[i]
		if p.Lever == Bulkhead && p.Aim.Of == channel && p.Holds(now) && (least == 0 || s.numbers[i] < least) {
			least = s.numbers[i]
		}
	}
	return least
}

// Limits calls yield with each limit that the subject is under. All of them hold:
// the strictest wins.
func (s *Standing) Limits(now time.Time, of *Subject, yield func(*Pull, Rate) bool) {
	if s.Empty() {
		return
	}
	for i := range s.pulls {
		p := &s.pulls[i]
		if p.Lever == Limit && p.Aim.covers(of) && p.Holds(now) && !yield(p, s.rates[i]) {
			return
		}
	}
}

// Banner returns the newest banner for the payment, or nil.
func (s *Standing) Banner(now time.Time, of *Subject) (newest *Pull) {
	if s.Empty() {
		return nil
	}
	for i := range s.pulls {
		if p := &s.pulls[i]; p.Lever == Banner && p.Aim.covers(of) && p.Holds(now) {
			newest = p
		}
	}
	return newest
}
