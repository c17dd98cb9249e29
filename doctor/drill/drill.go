// Package drill breaks a world of its own for real, lets the doctor work on it, and
// scores what it did. A drill is an injection, what counts as right, and what would
// have made it worse; the doctor is told none of it. A run is void when no user was
// hurt, and worth nothing when money is off or an act made things worse.
//
// It refuses to touch an installation that it did not make, to look at anything of
// the doctor but what everybody may read, and to score what it could not break.
package drill

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// Variant is the kind of world that a drill needs.
type Variant string

// Plain is what up makes. Old has a history that is long enough to be felt. Wired puts
// a network between serve and its database. Small keeps the cluster on a small disk.
const (
	Plain Variant = "plain"
	Old   Variant = "old"
	Wired Variant = "wired"
	Small Variant = "small"
)

// What a drill may need of the machine.
const (
	NeedRoot   = "root"
	NeedStrace = "strace"
	NeedMount  = "mount"
	NeedNet    = "net"
)

// Drill is one way to break a world.
type Drill struct {
	// Name is unique, and never shown to the doctor.
	Name string
	// Class is the family of causes: DB, TP, SV, AS, MQ, NW, CL, or control.
	Class string
	About doctor.Text
	World Variant
	Needs []string
	// Stall is set when everything stops: it has to be seen within 15 s, and what grows
	// slowly within 60 s.
	Stall bool
	// Least is the share of the affected orders from which users count as hurt.
	Least float64
	// Only narrows whom the injection can hurt; nil is everybody.
	Only func(o *Order) bool
	// After is how long all is well before; 0 is faultAfter. Lasts is how long the fault
	// lasts at most; 0 is faultMax. Whole has it last so long whatever the doctor does.
	After, Lasts time.Duration
	Whole        bool
	// Lingers is how long after the heal what was injected still hurts: only then can
	// anybody prove that it is over.
	Lingers time.Duration
	// Alone is set for one that --all leaves out, since it takes too long.
	Alone bool
	// Before begins what belongs to the drill and is no fault, such as readers; nil is
	// nothing.
	Before func(ctx context.Context, s *Scene) (stop func(context.Context) error, err error)
	// Inject breaks it and returns what heals it again.
	Inject func(ctx context.Context, s *Scene) (heal func(context.Context) error, err error)
	Truth  Truth
}

// Control reports whether there is nothing to find.
func (d *Drill) Control() bool { return d.Class == "control" }

// DetectWithin is how soon it has to be seen for full points.
func (d *Drill) DetectWithin() time.Duration {
	if d.Stall {
		return 15 * time.Second
	}
	return time.Minute
}

// Pair names a fault: the hop and the mechanism.
type Pair struct{ Node, Mechanism string }

// Truth is what counts as right. Hops and values may use {channel}, {pid} and whatever
// else the injection notes.
type Truth struct {
	// Pairs are right answers; the first is the one that was meant.
	Pairs []Pair
	// Scope are the right classes of scope.
	Scope []string
	// Contain and Repair are acts that help. Without any, the point is that the doctor
	// does no harm and the trouble ends within the time.
	Contain []Match
	Repair  []Match
	// Harmful acts make it worse.
	Harmful []Match
	// Outside is set when nobody inside can repair it.
	Outside bool
}

// Match is a pattern for an act: empty fields match everything, With has to be
// contained in the act's.
type Match struct {
	Do   string
	Aim  string
	With map[string]string
	// Not turns With round: it matches an act whose values are others.
	Not bool
}

// matches reports whether the act is one, with the values of the scene.
func (m *Match) matches(a *doctor.Act, values map[string]string) bool {
	if m.Do != "" && m.Do != a.Do {
		return false
	}
	if aim := fill(m.Aim, values); aim != "" && !strings.Contains(a.Aim, aim) {
		return false
	}
	same := true
	for k, v := range m.With {
		same = same && strings.Contains(a.With[k], fill(v, values))
	}
	return same != m.Not
}

func anyMatch(all []Match, a *doctor.Act, values map[string]string) bool {
	return slices.ContainsFunc(all, func(m Match) bool { return m.matches(a, values) })
}

// fill puts the scene's values into a text.
func fill(text string, values map[string]string) string {
	for k, v := range values {
		text = strings.ReplaceAll(text, "{"+k+"}", v)
	}
	return text
}

// right reports whether a hypothesis is one of the pairs.
func (t *Truth) right(h *doctor.Hypothesis, values map[string]string) bool {
	return slices.ContainsFunc(t.Pairs, func(p Pair) bool {
		return fill(p.Node, values) == h.Node && (p.Mechanism == "" || p.Mechanism == h.Mechanism)
	})
}

// hop reports whether a hypothesis names the hop of one of the pairs.
func (t *Truth) hop(h *doctor.Hypothesis, values map[string]string) bool {
	return slices.ContainsFunc(t.Pairs, func(p Pair) bool { return fill(p.Node, values) == h.Node })
}

// All are the drills, in the order in which they are run.
func All() []*Drill {
	var out []*Drill
	for _, part := range [][]*Drill{channelDrills(), databaseDrills(), processDrills(), clientDrills(), controls(), worldDrills()} {
		out = append(out, part...)
	}
	return out
}

// Find returns the drill of a name, or nil.
func Find(name string) *Drill {
	all := All()
	i := slices.IndexFunc(all, func(d *Drill) bool { return d.Name == name })
	if i < 0 {
		return nil
	}
	return all[i]
}
