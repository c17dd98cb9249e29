package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"
)

// Bounds of a scenario.
const (
	maxSteps    = 1000
	maxScenario = 256 << 10 // bytes of a file
)

// Scenario is what the outside world will do, as data: steps that switch banks.
type Scenario struct {
	Name  string `json:"name"`
	About string `json:"about,omitempty"`
	Steps []Step `json:"steps"`
}

// Step switches one bank, or with "*" all of them, once: At so long after the
// start (a duration as 90s or 2m), or when that bank has received AfterPayments
// more requests. It is exactly one of the two.
type Step struct {
	At            string `json:"at,omitempty"`
	AfterPayments int64  `json:"after_payments,omitempty"`
	Bank          string `json:"bank"`
	// Behaviour changes only what it names; Honest begins from an honest bank.
	Behaviour json.RawMessage `json:"behaviour,omitempty"`
	Honest    bool            `json:"honest,omitempty"`
	Note      string          `json:"note,omitempty"`

	at time.Duration
}

// StepError names the step, counted from 1, and what is wrong with it.
type StepError struct {
	Step int
	Err  error
}

func (e *StepError) Error() string { return fmt.Sprintf("step %d: %v", e.Step, e.Err) }

// Unwrap returns what is wrong.
func (e *StepError) Unwrap() error { return e.Err }

// ReadScenario reads YAML or JSON, which is YAML too, and checks all of it but the
// banks' names, which only a server knows. Unknown fields are refused.
func ReadScenario(raw []byte) (Scenario, error) {
	var s Scenario
	if len(raw) > maxScenario {
		return s, fmt.Errorf("a scenario has at most %d bytes", maxScenario)
	}
	var tree any
	if err := yaml.Unmarshal(raw, &tree); err != nil {
		return s, fmt.Errorf("the scenario is neither YAML nor JSON: %w", err)
	}
	plain, err := json.Marshal(tree)
	if err != nil {
		return s, fmt.Errorf("the scenario cannot be read: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(plain))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return s, fmt.Errorf("the scenario does not fit: %s; a step has at or after_payments, bank, and behaviour or honest",
			strings.TrimPrefix(err.Error(), "json: "))
	}
	return s, s.validate()
}

func (s *Scenario) validate() error {
	if s.Name == "" {
		return errors.New("the scenario needs a name")
	}
	if len(s.Steps) == 0 || len(s.Steps) > maxSteps {
		return fmt.Errorf("the scenario needs 1 to %d steps", maxSteps)
	}
	for i := range s.Steps {
		if err := s.Steps[i].validate(); err != nil {
			return &StepError{i + 1, err}
		}
	}
	return nil
}

func (t *Step) validate() error {
	switch {
	case (t.At == "") == (t.AfterPayments == 0):
		return errors.New("write at (a time since the start, as 90s) or after_payments (a number above 0), not both")
	case t.AfterPayments < 0:
		return errors.New("after_payments must be above 0")
	case t.Bank == "":
		return errors.New(`bank is missing; write a code as ab, or "*" for all`)
	case len(t.Behaviour) == 0 && !t.Honest:
		return errors.New("it changes nothing; write behaviour, or honest: true")
	}
	if t.At != "" {
		var err error
		if t.at, err = time.ParseDuration(t.At); err != nil || t.at < 0 || t.at > 7*24*time.Hour {
			return fmt.Errorf("at: %q is not a duration from 0s to 168h, as 90s or 2m", t.At)
		}
	}
	_, err := t.apply(DefaultBehaviour())
	return err
}

// apply returns the behaviour that the step makes of the one before it.
func (t *Step) apply(before Behaviour) (Behaviour, error) {
	next := before
	if t.Honest {
		next = DefaultBehaviour()
	}
	if len(t.Behaviour) == 0 {
		return next, nil
	}
	d := json.NewDecoder(bytes.NewReader(t.Behaviour))
	d.DisallowUnknownFields()
	if err := d.Decode(&next); err != nil {
		return before, fmt.Errorf("behaviour: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if err := next.Validate(); err != nil {
		return before, fmt.Errorf("behaviour: %w", err)
	}
	return next, nil
}

// milestone is the next number of requests at which a bank's scenario goes on.
type milestone struct{ at int64 }

// director carries out one scenario at a time.
type director struct {
	s    *Server
	wake chan struct{}

	mu      sync.Mutex
	playing *Scenario
	started time.Time
	from    map[string]int64 // what each bank had received at the start
	done    []bool
}

func (d *director) open(s *Server) {
	d.s, d.wake = s, make(chan struct{}, 1)
}

// StartScenario replaces whatever scenario runs. Its clock starts now.
func (s *Server) StartScenario(scenario Scenario) error {
	if err := scenario.validate(); err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	for i := range scenario.Steps {
		t := &scenario.Steps[i]
		t.Bank = strings.ToLower(t.Bank)
		if t.Bank != "*" && s.banks[t.Bank] == nil {
			return fmt.Errorf("sandbox: %w", &StepError{i + 1, fmt.Errorf("this sandbox does not play bank %q; it plays %s", t.Bank, strings.Join(s.codes, ", "))})
		}
	}
	d := &s.scenario
	d.mu.Lock()
	d.playing, d.started, d.done = &scenario, s.clock.Now(), make([]bool, len(scenario.Steps))
	d.from = map[string]int64{}
	for code, b := range s.banks {
		d.from[code] = b.tally.received.Load()
	}
	d.watch()
	d.mu.Unlock()
	s.log.Info("scenario started", slog.String("scenario", scenario.Name), slog.Int("steps", len(scenario.Steps)))
	d.nudge()
	return nil
}

func (d *director) nudge() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// watch sets each bank's next milestone, with the lock held.
func (d *director) watch() {
	for code, b := range d.s.banks {
		next := int64(0)
		for i := range d.steps() {
			t := &d.playing.Steps[i]
			if at := d.from[code] + t.AfterPayments; !d.done[i] && t.AfterPayments > 0 && (t.Bank == code || t.Bank == "*") && (next == 0 || at < next) {
				next = at
			}
		}
		if next == 0 {
			b.script.Store(nil)
			continue
		}
		b.script.Store(&milestone{next})
	}
}

func (d *director) steps() []Step {
	if d.playing == nil {
		return nil
	}
	return d.playing.Steps
}

// reached carries out what waited for a bank's requests, before that bank answers
// the request that reached it.
func (d *director) reached(b *bank) {
	d.mu.Lock()
	defer d.mu.Unlock()
	received := b.tally.received.Load()
	for i := range d.steps() {
		t := &d.playing.Steps[i]
		if !d.done[i] && t.AfterPayments > 0 && (t.Bank == b.code || t.Bank == "*") && received >= d.from[b.code]+t.AfterPayments {
			d.play(i)
		}
	}
	d.watch()
}

// play carries out step i, with the lock held.
func (d *director) play(i int) {
	t := &d.playing.Steps[i]
	d.done[i] = true
	for code, b := range d.s.banks {
		if t.Bank != "*" && t.Bank != code {
			continue
		}
		next, err := t.apply(*b.behaviourNow())
		if err != nil { // it was right for an honest bank, and is not for this one
			d.s.log.Error("a scenario's step was not carried out", slog.String("bank", code), slog.Int("step", i+1), slog.Any("error", err))
			continue
		}
		b.behave(next)
	}
	d.s.log.Info("scenario goes on", slog.String("scenario", d.playing.Name), slog.Int("step", i+1),
		slog.String("bank", t.Bank), slog.String("note", t.Note))
}

// run carries out the steps whose time has come, until ctx ends.
func (d *director) run(ctx context.Context) {
	for ctx.Err() == nil {
		pause(ctx, d.due(), d.wake)
	}
}

// due carries out what is due and returns the wait until the next.
func (d *director) due() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	wait, now := time.Hour, d.s.clock.Now()
	for i := range d.steps() {
		t := &d.playing.Steps[i]
		if d.done[i] || t.At == "" {
			continue
		}
		if left := d.started.Add(t.at).Sub(now); left > 0 {
			wait = min(wait, left)
			continue
		}
		d.play(i)
	}
	return wait
}

// scenarioState is GET /scenario.
type scenarioState struct {
	Name    string      `json:"name"`
	Started time.Time   `json:"started_at,omitzero"`
	Done    int         `json:"done"`
	Steps   []stepState `json:"steps"`
}

type stepState struct {
	Step
	Done bool `json:"done"`
}

func (d *director) state() scenarioState {
	d.mu.Lock()
	defer d.mu.Unlock()
	state := scenarioState{Started: d.started, Steps: []stepState{}}
	for i, t := range d.steps() {
		state.Name = d.playing.Name
		state.Steps = append(state.Steps, stepState{t, d.done[i]})
		if d.done[i] {
			state.Done++
		}
	}
	return state
}

func (s *Server) showScenario(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.scenario.state())
}

func (s *Server) startScenario(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxScenario))
	if err == nil {
		var scenario Scenario
		if scenario, err = ReadScenario(raw); err == nil {
			err = s.StartScenario(scenario)
		}
	}
	if err != nil {
		writeProblem(w, &problem{status: http.StatusBadRequest, Code: "bad_scenario", Detail: strings.TrimPrefix(err.Error(), "sandbox: ")})
		return
	}
	writeJSON(w, http.StatusOK, s.scenario.state())
}

// stopScenario forgets the steps that are left; what was switched stays switched.
func (s *Server) stopScenario(w http.ResponseWriter, _ *http.Request) {
	d := &s.scenario
	d.mu.Lock()
	d.playing, d.done = nil, nil
	d.watch()
	d.mu.Unlock()
	writeJSON(w, http.StatusOK, d.state())
}
