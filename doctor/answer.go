package doctor

import "time"

// Verdict is what an answer comes to.
type Verdict string

// CauseFound: the first of Ranked is it. Unknown: what was seen is real, and none of the
// hypotheses explains it well enough. NoFault: nothing is out of the ordinary.
const (
	CauseFound Verdict = "cause"
	Unknown    Verdict = "unknown"
	NoFault    Verdict = "no_fault"
)

// Answer is the outcome of a diagnosis. Equal evidence gives an equal answer, byte by
// byte, once it is written as JSON.
type Answer struct {
	Version int       `json:"version"`
	TakenAt time.Time `json:"taken_at"`
	Symptom Symptom   `json:"symptom"`
	Class   Class     `json:"class"`
	Verdict Verdict   `json:"verdict"`
	// Ranked are the hypotheses, most probable first, a hop once; unknown and no_fault
	// stand among them, without a node.
	Ranked []Hypothesis `json:"ranked"`
	// Also are further faults, found in what the first does not explain.
	Also     []Hypothesis `json:"also,omitempty"`
	Scope    Scope        `json:"scope"`
	Evidence Lines        `json:"evidence"`
	// NextChecks would tell the most, a second of their cost; best first.
	NextChecks []Check    `json:"next_checks"`
	Confidence Confidence `json:"confidence"`
	Notes      []string   `json:"notes,omitempty"`
}

// Blames is the hop that is at fault; empty when none is named.
func (a *Answer) Blames() string {
	if a == nil || a.Verdict != CauseFound || len(a.Ranked) == 0 {
		return ""
	}
	return a.Ranked[0].Node
}

// Hypothesis says that a hop is at fault, and how.
type Hypothesis struct {
	Node      string  `json:"node"`
	Kind      Kind    `json:"kind,omitempty"`
	Mechanism string  `json:"mechanism"`
	Posterior float64 `json:"posterior"`
	Prior     float64 `json:"prior"`
	// Explains is the share of the excess that it accounts for, 0 to 1.
	Explains float64 `json:"explains"`
	// Cause is the id in the catalogue of causes, and Name its name; empty where the hop
	// is judged by the generic mechanisms.
	Cause string `json:"cause,omitempty"`
	Name  *Text  `json:"name,omitempty"`
	// Details are what its signs were about, for the acts: a pid, an index, a channel.
	Details map[string]string `json:"details,omitempty"`
	// Mechanisms split the posterior of the hop, most probable first.
	Mechanisms []Mechanism `json:"mechanisms,omitempty"`
}

// Mechanism is one way in which a hop fails, with its share of the hop's posterior.
type Mechanism struct {
	Mechanism string  `json:"mechanism"`
	Posterior float64 `json:"posterior"`
}

// Lines are the evidence of an answer.
type Lines struct {
	For     []Line `json:"for"`
	Against []Line `json:"against"`
}

// Line is one piece of evidence: what was asked, what came, and how far it moves one
// hypothesis.
type Line struct {
	Node      string `json:"node"`
	Mechanism string `json:"mechanism"`
	Family    string `json:"family"`
	// Code and Args are the sentence for machines, Says is it in English.
	Code string   `json:"code"`
	Args []string `json:"args,omitempty"`
	Says string   `json:"says"`
	// SaysZH is it in Chinese where the sentence is a catalogue's, which Code cannot give.
	SaysZH   string `json:"says_zh,omitempty"`
	Query    string `json:"query"`
	Window   Window `json:"window"`
	Value    Figure `json:"value"`
	Baseline Figure `json:"baseline"`
	// LikelihoodRatio is how many times more probable the finding is if the hypothesis
	// holds than if it does not; above 1 speaks for it, below 1 against it.
	LikelihoodRatio float64 `json:"likelihood_ratio"`
}

// Window is when.
type Window struct {
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
}

// Figure is a number with its unit, and the number of points behind it.
type Figure struct {
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	N     int     `json:"n"`
}

// ScopeOne is the class of a trouble that is one person's.
const ScopeOne = "one"

// Scope says who is affected.
type Scope struct {
	// Class is everyone, cohort, one (ScopeOne), none, too_few or unknown.
	Class string `json:"class"`
	// Share of the requests or people that are affected, with its interval of 95 %.
	Share float64 `json:"share"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	// Events is how many the share rests on.
	Events int `json:"events"`
	// Code and Args are the reason for machines, Why is it in English.
	Code string   `json:"code"`
	Args []string `json:"args,omitempty"`
	Why  string   `json:"why"`
	// Cohorts define who, the clearest first, when dimensions were given.
	Cohorts []CohortFinding `json:"cohorts,omitempty"`
}

// CohortFinding is a value of a dimension that is affected more than the rest.
type CohortFinding struct {
	Cohort
	Share     float64 `json:"share"`
	Low       float64 `json:"low"`
	High      float64 `json:"high"`
	RestShare float64 `json:"rest_share"`
	PValue    float64 `json:"p_value"`
}

// Check is something to look at next.
type Check struct {
	ID   string `json:"id"`
	Node string `json:"node"`
	Ask  string `json:"ask"`
	// AskZH is it in Chinese, and Run the command or statement, where a catalogue has them.
	AskZH string `json:"ask_zh,omitempty"`
	Run   string `json:"run,omitempty"`
	CostS int    `json:"cost_s"`
	// ReadOnly checks may be run by a machine alone.
	ReadOnly bool `json:"read_only"`
	// GainBits is the expected loss of uncertainty; BitsPerSecond that by the cost.
	GainBits      float64 `json:"gain_bits"`
	BitsPerSecond float64 `json:"bits_per_s"`
	// Yes and No say what would lead the ranking after either outcome.
	Yes string `json:"yes"`
	No  string `json:"no"`
}

// Confidence says how often an answer like this one is right.
type Confidence struct {
	// Probability that the first of Ranked is right; calibrated, not the posterior.
	Probability float64 `json:"probability"`
	// Cases is how many incidents the calibration rests on.
	Cases int    `json:"cases"`
	Basis string `json:"basis"`
	// What it rests on here.
	Top      float64 `json:"top"`
	Margin   float64 `json:"margin"`
	Families int     `json:"families"`
	// Missing is the share of the readings that are missing or stale.
	Missing float64 `json:"missing"`
}
