// Package runbook carries out the steps of a cause for one incident, durably: what is
// about to be done is on the disk before it is done, so that whoever comes after a
// crash goes on where it ended and does nothing twice. It asks the never-list, the
// policy, the limits and the people before each act, verifies after it, and takes back
// what it did when a step fails.
//
// It refuses a second runner of the same run, an act whose condition asks for what is
// not known, an act that nobody approved who must, and every act on the never-list,
// whatever was approved. It knows no act itself: it has the hands that it was given.
package runbook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/big"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/internal/clock"
)

// Phase says what a list of steps is for.
type Phase string

// In a containment each step stands for itself: one that fails is taken back, and the
// next is tried. In a repair the steps build on one another: one that fails ends the
// run, and all before it are taken back, the last first.
const (
	Contain Phase = "contain"
	Repair  Phase = "repair"
)

// Bounds.
const (
	StepsMax = 50
	// ActWithin is how long an act may take whose hand does not say otherwise.
	ActWithin = 30 * time.Second
	// UntilWithin is how long a condition may take to come true when a step does not say.
	UntilWithin = 30 * time.Second
	// UntilMax bounds what a step says.
	UntilMax = 30 * time.Minute
	// ApprovalsWithin is how long an act waits for people, and how long what they said
	// stands.
	ApprovalsWithin = 30 * time.Minute

	triesMax   = 3
	tryPause   = 500 * time.Millisecond
	lookEvery  = 250 * time.Millisecond
	goneAfter  = 2 * time.Second  // that an act may take to come back when its time is up
	beatEvery  = time.Second      // the runner's own sign of life
	frozenFrom = 15 * time.Second // without one, another runner may take over
)

// Policy says what runs without asking, and how much at once.
type Policy struct {
	// Alone is the highest reach that needs nobody; above Undoable somebody is always
	// asked, whatever it says.
	Alone doctor.Reach
	// Items bounds what an act that is not instantly undone may concern, ActsPerHour how
	// much is done in an hour, Worth what an act may be worth by asset, in the smallest
	// unit. What is above waits for one person more than it would. 0 and nil mean the
	// defaults.
	Items       int
	ActsPerHour int
	Worth       map[string]string
}

// Defaults of a policy: enough for any incident of one installation, and too little to
// hurt every customer at once.
const (
	DefaultItems       = 1000
	DefaultActsPerHour = 30
)

func (p Policy) withDefaults() Policy {
	if p.Items <= 0 {
		p.Items = DefaultItems
	}
	if p.ActsPerHour <= 0 {
		p.ActsPerHour = DefaultActsPerHour
	}
	return p
}

// needs is how many people must agree to the change, and why it is more than usual.
// Telling people is bounded by nothing but its own reach: who needs somebody's leave to
// call for somebody calls nobody.
func (p Policy) needs(a *doctor.Act, c doctor.Change, lastHour int) (people int, why string) {
	if c.Reach > min(p.Alone, doctor.Undoable) {
		people = max(1, c.Reach.Approvals())
	}
	switch {
	case c.Reach <= doctor.Observe || a.Do == doctor.DoTell:
		return people, ""
	case lastHour >= p.ActsPerHour:
		return people + 1, fmt.Sprintf("%d acts in the last hour; more than %d take a person", lastHour, p.ActsPerHour)
	case c.Reach > doctor.Instant && c.Items > p.Items:
		return people + 1, fmt.Sprintf("it concerns %d items; more than %d take a person more", c.Items, p.Items)
	case c.Reach > doctor.Instant:
		for _, asset := range slices.Sorted(maps.Keys(c.Worth)) {
			bound, limited := p.Worth[asset]
			if limited && above(c.Worth[asset], bound) {
				return people + 1, fmt.Sprintf("it is worth %s %s; more than %s take a person more", c.Worth[asset], asset, bound)
			}
		}
	}
	return people, ""
}

// above compares two whole numbers; what is none is above everything.
func above(value, bound string) bool {
	v, ok := new(big.Int).SetString(value, 10)
	b, ok2 := new(big.Int).SetString(bound, 10)
	return !ok || !ok2 || v.CmpAbs(b) > 0
}

// Config of a runner.
type Config struct {
	// Dir keeps the runs: one file each, made when missing.
	Dir string
	// Hands are all that can be done. Each is put behind the never-list.
	Hands []doctor.Hand
	// Look returns the readings and the alarms of now.
	Look func() *doctor.Evidence
	// Told returns the details that the signs of a cause tell of a hop now, for steps whose
	// signs had not come when they were asked for; nil when nothing is told later.
	Told func(cause, hop string) map[string]string
	// Tell takes what happened, for the journal: one of the words of doctor.Entry with its
	// data. It is told after it is durable here, and at most once more after a crash.
	Tell func(incident, what, who string, data any)
	// Person returns who has given an approval, or why it does not count: a signature
	// that does not fit, a person who may not. Nil believes nobody.
	Person func(ctx context.Context, a Approval) (string, error)
	Policy Policy
	// Turns is for how long a session that waits for others is looked at again, since it
	// may be the one that holds them up next; 0 is rootWithin.
	Turns  time.Duration
	Clock  clock.Clock
	Logger *slog.Logger
}

// Runner carries runs out. It is safe for concurrent use.
type Runner struct {
	cfg   Config
	hands map[string]doctor.Hand
	words *words
	kept  func() // for tests: after each line of a run

	mu   sync.Mutex
	hung map[string]bool // hands that did not come back
}

// New returns a runner; it starts nothing.
func New(cfg Config) (*Runner, error) {
	if cfg.Dir == "" || cfg.Look == nil {
		return nil, errors.New("a runner needs a folder, and readings")
	}
	if cfg.Turns == 0 {
		cfg.Turns = rootWithin
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Tell == nil {
		cfg.Tell = func(string, string, string, any) {}
	}
	cfg.Policy = cfg.Policy.withDefaults()
	r := &Runner{cfg: cfg, hands: make(map[string]doctor.Hand), hung: make(map[string]bool)}
	for _, h := range cfg.Hands {
		if _, twice := r.hands[h.Does()]; twice {
			return nil, fmt.Errorf("there are two hands for %s", h.Does())
		}
		r.hands[h.Does()] = doctor.Guarded(h)
	}
	var err error
	if r.words, err = newWords(); err != nil {
		return nil, err
	}
	return r, os.MkdirAll(cfg.Dir, 0o700)
}

// Does reports whether there is a hand for the act.
func (r *Runner) Does(act string) bool { return r.hands[act] != nil }

// Request asks for a run. Asked for again, with the same incident, cause, phase and
// round, an unfinished run goes on as it was first asked for, and a finished one is told again.
type Request struct {
	Incident string `json:"incident"`
	Cause    string `json:"cause"`
	Phase    Phase  `json:"phase"`
	// Round tells apart repeated runs of one incident, cause and phase.
	Round int `json:"round,omitempty"`
	// Hop and Kind are what the answer named.
	Hop   string        `json:"hop,omitempty"`
	Kind  doctor.Kind   `json:"kind,omitempty"`
	Steps []doctor.Step `json:"steps"`
	// Detail fills in {pid} and the like: the details of the signs that were met, and
	// channel where there is one.
	Detail map[string]string `json:"detail,omitempty"`
	// Who asks: doctor, or a person.
	Who string `json:"who"`
	// Wait has the run wait for people; else it returns when all that is left waits for
	// them, with the outcome Waits, and goes on when it is asked for again.
	Wait bool `json:"-"`
	// Dry tries every step and changes nothing; nothing is kept of it.
	Dry bool `json:"-"`
}

// Became says what became of a step, or of a run.
type Became string

// What becomes of them.
const (
	Pending Became = "pending" // not looked at yet
	Skipped Became = "skipped" // its condition does not hold, or there was nothing to do
	Tried   Became = "tried"   // dry run
	Waits   Became = "waits"   // for people
	Acting  Became = "acting"  // begun, and perhaps done
	Done    Became = "done"    // done; of a step, not verified yet
	Good    Became = "good"    // done, and what should come of it came
	Failed  Became = "failed"  // it failed, and nothing was to be taken back
	Undone  Became = "undone"  // it was taken back
)

// StepResult is a step with what became of it.
type StepResult struct {
	Act    doctor.Act    `json:"act"`
	Became Became        `json:"became"`
	Change doctor.Change `json:"change"`
	// Error is why it was skipped, waits or failed.
	Error string `json:"error,omitempty"`
	// Hash binds approvals to exactly this act, Needs is how many people it takes, Until
	// is when it stops waiting for them.
	Hash  string    `json:"hash,omitempty"`
	Needs int       `json:"needs,omitempty"`
	Until time.Time `json:"until,omitzero"`
	At    time.Time `json:"at,omitzero"`
}

// Result of a run.
type Result struct {
	Run     string       `json:"run"`
	Request Request      `json:"request"`
	Became  Became       `json:"became"`
	Steps   []StepResult `json:"steps"`
	Epoch   int          `json:"epoch"`
}

// ErrBusy says that somebody else carries out this run, and shows signs of life.
var ErrBusy = errors.New("another runner carries this run out")

// ErrFenced says that another runner has taken this run over meanwhile.
var ErrFenced = errors.New("another runner has taken this run over")

// Check returns what is wrong with some steps, before an incident needs them:
// conditions that do not compile or ask for signals that do not exist, times that
// cannot be read. For which acts there are hands, Does tells: a step that nobody here
// can do is skipped.
func (r *Runner) Check(steps []doctor.Step) error {
	if len(steps) > StepsMax {
		return fmt.Errorf("%d steps; at most %d are carried out", len(steps), StepsMax)
	}
	var errs []error
	seen := make(map[string]bool)
	for i := range steps {
		s := &steps[i]
		if err := r.checkStep(s); err != nil {
			errs = append(errs, fmt.Errorf("step %q: %w", s.ID, err))
		}
		if s.ID == "" || seen[s.ID] {
			errs = append(errs, fmt.Errorf("step %d: its id %q is empty or there twice", i+1, s.ID))
		}
		seen[s.ID] = true
	}
	return errors.Join(errs...)
}

func (r *Runner) checkStep(s *doctor.Step) error {
	if _, err := within(s); err != nil {
		return err
	}
	for _, e := range []string{s.If, s.Until} {
		if e == "" {
			continue
		}
		if err := r.words.check(e); err != nil {
			return err
		}
	}
	return nil
}

// within is how long the step's condition may take to come true.
func within(s *doctor.Step) (time.Duration, error) {
	if s.Within == "" {
		return UntilWithin, nil
	}
	d, err := time.ParseDuration(s.Within)
	if err != nil || d <= 0 || d > UntilMax {
		return 0, fmt.Errorf("within is %q; it is a time such as 30s, at most %s", s.Within, UntilMax)
	}
	return d, nil
}
