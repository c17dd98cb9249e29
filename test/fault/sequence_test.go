package fault

import (
	"fmt"
	"slices"
	"sync"
)

// damage is what happens at one side effect.
type damage string

const (
	// crashBefore ends the process; the other side sees nothing of the effect.
	crashBefore damage = "crash before"
	// crashAfter lets the other side finish, and ends the process before it hears.
	crashAfter damage = "crash after"
	// replyLost lets the other side finish and drops the connection; the process
	// goes on.
	replyLost damage = "reply lost"
	// refused answers an error in the other side's stead; the process goes on.
	refused damage = "error"

	// gone is for what a process does that has crashed: nothing.
	gone damage = "gone"
)

var damages = []damage{crashBefore, crashAfter, replyLost, refused}

// crashes reports whether the process ends.
func (d damage) crashes() bool { return d == crashBefore || d == crashAfter }

// reaches reports whether the other side sees the effect.
func (d damage) reaches() bool { return d == crashAfter || d == replyLost || d == "" }

// shot is damage to the nth side effect from now on.
type shot struct {
	n   int
	how damage
}

// sequence counts a plane's side effects of all kinds in one order: what is written
// to the database, what is asked of a bank, what a bank calls back with.
type sequence struct {
	mu      sync.Mutex
	shots   []shot
	counted int      // effects since it was armed
	fired   []string // what was damaged
}

// arm damages the effects named, each counted from the one before.
func (s *sequence) arm(shots ...shot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shots, s.counted, s.fired = slices.Clone(shots), 0, nil
}

// disarm tells what was damaged, and how many effects there were.
func (s *sequence) disarm() (fired []string, counted int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shots = nil
	return s.fired, s.counted
}

// fires tells how much was damaged since it was armed.
func (s *sequence) fires() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.fired)
}

// next counts an effect of l and says what happens to it. From the moment at which
// it says that l crashes, nothing else of l reaches anybody.
//
// What happens within l itself, such as a callback that it takes, must still have its
// effects when the crash comes after it: then within is true, and kill ends l.
func (s *sequence) next(l *life, what string, within bool) damage {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.dead.Load() {
		return gone
	}
	s.counted++
	if len(s.shots) == 0 {
		return ""
	}
	if s.shots[0].n--; s.shots[0].n > 0 {
		return ""
	}
	how := s.shots[0].how
	s.shots = s.shots[1:]
	s.fired = append(s.fired, fmt.Sprintf("%s effect %d: %.70s", how, s.counted, what))
	if how == crashBefore || how == crashAfter && !within {
		l.dead.Store(true)
	}
	return how
}
