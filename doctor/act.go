package doctor

import (
	"context"
	"time"
)

// Reach is how far an act reaches: the ladder of reversibility.
type Reach int

// Observe changes nothing. Instant is undone at once: a limit, a breaker, a pause, a
// banner. Undoable takes some effort: one session ended, one worker started again.
// Compensable moves work or money again: a replay, a rebuilding, a proposal for
// compensation; one approval. Final cannot be undone; two people, with evidence.
const (
	Observe Reach = iota
	Instant
	Undoable
	Compensable
	Final
)

// Approvals is how many distinct people must agree.
func (r Reach) Approvals() int { return max(0, int(r)-int(Undoable)) }

// Step is one act of a containment or a runbook, as data.
type Step struct {
	// ID is unique within its list.
	ID string `json:"id" yaml:"id"`
	// Do names the act, one of a Hand's; Aim is what it is done to. Both and the values of
	// With may use {hop}, {channel} and the details of the signs that were met.
	Do   string            `json:"do" yaml:"do"`
	Aim  string            `json:"aim,omitempty" yaml:"aim"`
	With map[string]string `json:"with,omitempty" yaml:"with"`
	Why  Text              `json:"why" yaml:"why"`
	// If is a CEL expression over the readings of now; a step whose If is false is skipped.
	If string `json:"if,omitempty" yaml:"if"`
	// Until is a CEL expression that must hold within Within after the act; else the step
	// has failed and its undo runs.
	Until  string `json:"until,omitempty" yaml:"until"`
	Within string `json:"within,omitempty" yaml:"within"`
}

// Act is a step about to be done or done, with what it is about filled in.
type Act struct {
	// ID makes it happen once, however often it is tried.
	ID       string            `json:"id"`
	Incident string            `json:"incident"`
	Cause    string            `json:"cause"`
	Step     string            `json:"step"`
	Do       string            `json:"do"`
	Aim      string            `json:"aim,omitempty"`
	With     map[string]string `json:"with,omitempty"`
	Why      string            `json:"why"`
	By       string            `json:"by"`
	// Approved are the people who agreed to exactly this.
	Approved []string  `json:"approved,omitempty"`
	At       time.Time `json:"at"`
}

// Change is what an act would do or did: what it found before, what is after, and how
// many it concerns.
type Change struct {
	Reach Reach `json:"reach"`
	// Items and Value are what it concerns, Value in words with its asset.
	Items int    `json:"items"`
	Value string `json:"value,omitempty"`
	// Before and After are for people and the journal.
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
	// Rows are what a dry run shows, at most RowsShown.
	Rows []string `json:"rows,omitempty"`
	// Undo is the act that takes it back; nil when there is none.
	Undo *Act `json:"undo,omitempty"`
	// Nothing is set when there was nothing to do any more.
	Nothing bool `json:"nothing,omitempty"`
}

// RowsShown bounds what a dry run lists.
const RowsShown = 50

// Hand is what the doctor acts with: one kind of act, on one kind of thing. Whoever
// wires the doctor gives it its hands; it has no others.
type Hand interface {
	// Does names the act, such as "terminate-session".
	Does() string
	// Reach of it, at most.
	Reach() Reach
	// Try says what it would change, and changes nothing.
	Try(ctx context.Context, a Act) (Change, error)
	// Act does it, once for an ID: repeating a finished act changes nothing.
	Act(ctx context.Context, a Act) (Change, error)
}

// Forbidden is the refusal by the never-list: no role and no flag gets around it.
type Forbidden struct {
	// Rule is N1 to N12.
	Rule   string
	Reason string
}

// Error says which rule and why.
func (f *Forbidden) Error() string { return "never (" + f.Rule + "): " + f.Reason }
