package doctor

import (
	"context"
	"time"
)

// Reach is how far an act reaches: the ladder of reversibility.
type Reach int

// Observe changes nothing. Instant is undone at once: a limit, a breaker, a pause, a
// banner, a proposal that people decide on. Undoable takes some effort: one session ended, one worker started again.
// Compensable moves work or money again: a replay, a rebuilding; one
// approval. Final cannot be undone; two people, with evidence.
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
	// If is a CEL expression over the readings of now; a step whose If is false is skipped,
	// and so is one whose If asks for what is not known. Until has the same words.
	//
	//	hop, channel, cause        of the answer, as strings
	//	detail["pid"]              the details of the signs that were met
	//	last("pg_root_idle")       the newest value at hop, in the signal's unit; an error
	//	                           when it is missing or stale: that is never health
	//	last("postgres", "busy")   at another hop; a third argument is the statistic
	//	last("postgres", "busy", "", 0.0)  the same, or the fourth when it is not known
	//	known("postgres", "busy")  whether it is
	//	alarm(), alarm("postgres") whether an invariant is broken now, anywhere or there
	If string `json:"if,omitempty" yaml:"if"`
	// Until is a CEL expression that must hold within Within after the act; else the step
	// has failed and its undo runs. What it asks for and is not known does not hold.
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
	// Items and Value are what it concerns, Value in words with its asset. Worth is the
	// same in each asset's smallest unit, for the limits.
	Items int               `json:"items"`
	Value string            `json:"value,omitempty"`
	Worth map[string]string `json:"worth,omitempty"`
	// Marks are what the target turned out to be, as far as Never asks.
	Marks []Mark `json:"marks,omitempty"`
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
