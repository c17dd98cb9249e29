package doctor

import "time"

// Rule is an invariant of detection. An alarm is the breach of one: never an unusual
// figure, never a score. Figures that are merely unusual are evidence, not alarms.
type Rule string

// The invariants.
const (
	// Conservation: what came less what left is what is there.
	Conservation Rule = "X1"
	// Progress: the oldest work is not too old, and work that waits leaves.
	Progress Rule = "X2"
	// Utilisation: not all places are taken while more comes than leaves.
	Utilisation Rule = "X3"
	// Little: work in flight is the rate times the time in it.
	Little Rule = "X4"
	// Money: ledger, rails' books and projections agree.
	Money Rule = "X5"
	// Beat: an expected sign of life is there: a heartbeat, a canary, a collector.
	Beat Rule = "X6"
)

// Alarm says that an invariant does not hold at a hop.
type Alarm struct {
	Rule Rule   `json:"rule"`
	Hop  string `json:"hop"`
	// Signal and Statistic name the reading that breaks it.
	Signal    Signal `json:"signal"`
	Statistic string `json:"statistic,omitempty"`
	// Value was read, Bound is what it may be.
	Value Figure `json:"value"`
	Bound Figure `json:"bound"`
	// Since is when it began to be broken, as far as the readings tell.
	Since time.Time `json:"since"`
	// Page is set for an alarm that wakes somebody; others wait for working hours.
	Page bool `json:"page"`
	// Code and Args are the sentence for machines, Says is it in English.
	Code string   `json:"code"`
	Args []string `json:"args,omitempty"`
	Says string   `json:"says"`
}

// Places are its hop and its lane, which may be a channel's.
func (a *Alarm) Places() []string {
	if a.Statistic == "" {
		return []string{a.Hop}
	}
	return []string{a.Hop, a.Statistic}
}

// Symptom is what a diagnosis starts from.
func (a *Alarm) Symptom() Symptom {
	return Symptom{Hop: a.Hop, Signal: a.Signal, Statistic: a.Statistic}
}
