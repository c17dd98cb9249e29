// Package attend follows an incident from the first alarm to the proof: it opens one
// when an invariant breaks, keeps the evidence, asks for an answer until one stands,
// has the cause contained and repaired, sees that it is quiet again, lifts what it
// held, has everything counted anew, and closes only on a clean proof or on listed
// breaks that have an owner. Whatever it does is a line of the journal first.
//
// It refuses to look, to judge, to act and to count by itself: it is given functions
// for each. It follows one incident at a time, because alarms that hold at the same
// time are signs of one trouble until an answer says otherwise; further faults are
// part of the answer. It never closes an incident because nobody complains any more.
//
// Crash points: between any two lines of the journal the process may die. The next
// one folds the journal and goes on with the incident that is open; acts have ids that
// make them happen once, and a proof that was begun is begun again.
package attend

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/internal/clock"
)

// Times of an incident. Each is a bound on waiting, not on work.
const (
	// Tick is the time between two looks at the alarms.
	Tick = time.Second
	// stands is for how many answers in a row a cause must lead before it is acted on, and
	// certain the posterior that it must have: acting on the wrong cause is worse than two
	// seconds.
	stands  = 2
	certain = .6
	// changed is for how many answers in a row another cause must lead before it
	// replaces one that was acted on.
	changed = 5
	// perplexed is after how long without an answer the fallback is done.
	perplexed = 20 * time.Second
	// quiet is for how long no paging alarm may hold before the trouble counts as over.
	quiet = 5 * time.Second
	// probing is after how long what is held is lifted although the answer still names
	// the cause: what is held may hide that it is gone.
	probing = time.Minute
	// proofEvery is the time between two proofs that are not clean; what is under way
	// may still settle.
	proofEvery = 10 * time.Second
	// proofPatience is after how long breaks that have owners close an incident.
	proofPatience = 10 * time.Minute
	// seenAgain is for how long it must be quiet after somebody let go of what hid the
	// trouble: an ill bank takes some payments, and their time, to show.
	seenAgain = 30 * time.Second
	// heldPatience is after how long what somebody's lever hides is left to its owner: a
	// trouble that shows then opens an incident of its own.
	heldPatience = 10 * time.Minute
	// waited is for how long it must be quiet until acts that wait for people are left: the
	// trouble is over without them.
	waited = 30 * time.Second
	// moneyEvery is the time between two records of the money that waits.
	moneyEvery = 5 * time.Second
	// evidenceEvery is the time between two evidence files of one incident, evidenceMax
	// their number.
	evidenceEvery = 30 * time.Second
	evidenceMax   = 20
	// plansMax bounds the causes that are acted on in one incident.
	plansMax = 4
	// appendWithin bounds a write to the journal.
	appendWithin = 5 * time.Second
)

// Phase says what the steps of a plan are for.
type Phase string

// Contain keeps the trouble from hurting more, Repair ends it.
const (
	Contain Phase = "contain"
	Repair  Phase = "repair"
)

// Plan is what is to be done about a hypothesis.
type Plan struct {
	Incident   string
	Cause      string
	Phase      Phase
	Hypothesis doctor.Hypothesis
	Steps      []doctor.Step
	// Round tells apart plans for a cause that came back in the same incident.
	Round int
}

// Config is what an Attendant works with. All functions are called from one goroutine,
// but Act, Lift and Prove, which are called from one each.
type Config struct {
	Clock clock.Clock
	Log   *slog.Logger
	// Append writes a line to the journal, durably.
	Append func(ctx context.Context, e doctor.Entry) (doctor.Entry, error)
	// Evidence is what is known now; since is zero while nothing is wrong.
	Evidence func(since time.Time, s doctor.Symptom) *doctor.Evidence
	// Detect says which invariants are broken.
	Detect func(e *doctor.Evidence) []doctor.Alarm
	// Diagnose judges.
	Diagnose func(e *doctor.Evidence) (*doctor.Answer, error)
	// Keep stores an evidence under the incident and returns its file and its hash.
	Keep func(incident string, n int, e *doctor.Evidence) (file, sha256 string, err error)
	// Cause returns what the catalogue has for a hypothesis.
	Cause func(h *doctor.Hypothesis) (doctor.Cause, bool)
	// Fallback is done when no cause stands: tell people, ask them not to pay again.
	Fallback []doctor.Step
	// Act does the steps of a plan, records them itself, and returns when all are done or
	// have failed, or ctx ends: what then still waits for people is left. It reports
	// whether something is held now: words and checks hold nothing.
	Act func(ctx context.Context, p Plan) (held bool, err error)
	// Resume goes on with what was begun for an incident before this process.
	Resume func(ctx context.Context, incident string) error
	// Holds reports whether something that contains an incident holds now; nil is no.
	Holds func(incident string) bool
	// Looks reports whether all that is under way for an incident only looks, or waits for
	// people: what it waits for may have come true in another way. Nil is no.
	Looks func(incident string) bool
	// Lift takes back what is held for an incident.
	Lift func(ctx context.Context, incident string) error
	// Money is what waits now.
	Money func() doctor.MoneyAtRisk
	// Prove counts everything anew, from since on.
	Prove func(ctx context.Context, incident string, since time.Time) (doctor.ProofKept, error)
	// Owned returns the owners of those of a proof's findings that are listed breaks.
	Owned func(ctx context.Context, found []string) (map[string]string, error)
}

// Now is what the doctor says at this moment.
type Now struct {
	At     time.Time      `json:"at"`
	Alarms []doctor.Alarm `json:"alarms"`
	Answer *doctor.Answer `json:"answer,omitempty"`
	// Incident that is open, or the empty string.
	Incident string       `json:"incident,omitempty"`
	Stage    doctor.Stage `json:"stage,omitempty"`
}

// Attendant follows incidents. Its methods are called from one goroutine, but Now from any.
type Attendant struct {
	cfg      Config
	said     atomic.Pointer[Now]
	open     *incident
	works    chan result // of Act, Lift and Prove, applied by the next Tick
	running  int
	now      Now
	lastOpen time.Time
}

// result is what work beside the ticks came to; the last of a work ends it.
type result struct {
	apply func()
	last  bool
}

// incident is the one that is open.
type incident struct {
	id        string
	since     time.Time
	openedAt  time.Time
	symptom   doctor.Symptom
	stages    map[doctor.Stage]bool
	alarms    []doctor.Alarm // that hold
	answer    *doctor.Answer
	leads     string // node and mechanism of the newest answer
	inRow     int
	actedOn   []string // since it was last lifted
	plans     int      // how often something was done
	fellBack  bool
	acting    bool
	leave     context.CancelFunc // of what is being done
	resume    bool               // something may have been begun before this process
	lifting   bool
	lifted    bool
	proving   bool
	quietFrom time.Time // zero while an alarm that pages holds
	provedAt  time.Time // last proof
	moneyAt   time.Time
	money     *doctor.MoneyAtRisk // as it was written last
	keptAt    time.Time
	kept      int
	hops      map[string]bool // that it is about: true where an alarm paged, false where blamed
	hidden    string          // what was told last of the lever that hides it
	hiddenAt  time.Time       // since when one does
	seenFrom  time.Time       // since when no lever of a person hides it; zero when none did
}

// New returns an Attendant that goes on with the incident that is open, if any.
func New(cfg Config, open *doctor.Incident) *Attendant {
	a := &Attendant{cfg: cfg, works: make(chan result, 8)}
	if open != nil && open.ClosedAt == nil {
		a.open = resumed(open)
		a.lastOpen = open.OpenedAt
	}
	return a
}

// resumed is the incident as the journal tells it; acts are not remembered as under
// way: who was at them is dead.
func resumed(in *doctor.Incident) *incident {
	i := &incident{
		id: in.ID, resume: true, since: in.Since, openedAt: in.OpenedAt, stages: map[doctor.Stage]bool{}, alarms: in.Alarms, answer: in.Answer,
	}
	for s := range in.Stages {
		i.stages[s] = true
	}
	i.about(false, in.Blamed...)
	i.about(true, in.Hops...)
	switch {
	case in.Sight == nil:
	case in.Sight.About == doctor.HeldBack:
		i.hidden, i.hiddenAt = in.Sight.Text.EN, in.Sight.Since
	default:
		i.seenFrom = in.Sight.Since
	}
	if in.Answer != nil {
		i.symptom = in.Answer.Symptom
	} else if len(in.Alarms) > 0 {
		i.symptom = in.Alarms[0].Symptom()
	}
	return i
}

// Now returns what the newest Tick came to.
func (a *Attendant) Now() Now {
	if n := a.said.Load(); n != nil {
		return *n
	}
	return Now{}
}

// Tick looks once. An error is one of the journal: nothing was begun that it does not hold.
func (a *Attendant) Tick(ctx context.Context) error {
	err := a.tick(ctx)
	said := a.now
	a.said.Store(&said)
	return err
}

func (a *Attendant) tick(ctx context.Context) error {
	a.applyWorks()
	since, symptom := time.Time{}, doctor.Symptom{}
	if a.open != nil {
		since, symptom = a.open.since, a.open.symptom
	}
	e := a.cfg.Evidence(since, symptom)
	if e == nil {
		return nil // nothing was seen yet
	}
	alarms := a.cfg.Detect(e)
	e.Alarms = alarms
	a.now = Now{At: a.cfg.Clock.Now().UTC(), Alarms: alarms}
	if a.open == nil && slices.ContainsFunc(alarms, pages) {
		if err := a.begin(ctx, alarms); err != nil {
			return err
		}
		e = a.cfg.Evidence(a.open.since, a.open.symptom)
		e.Alarms = alarms
	}
	answer, err := a.cfg.Diagnose(e)
	if err != nil {
		a.cfg.Log.LogAttrs(ctx, slog.LevelError, "no answer", slog.Any("error", err))
	} else {
		a.now.Answer = answer
	}
	if a.open == nil {
		return nil
	}
	err = a.follow(ctx, e, alarms, answer)
	if a.open != nil {
		a.now.Incident, a.now.Stage = a.open.id, a.open.stage()
	}
	return err
}

func pages(x doctor.Alarm) bool { return x.Page }

// begin opens an incident on the first alarm that pages.
func (a *Attendant) begin(ctx context.Context, alarms []doctor.Alarm) error {
	first := alarms[slices.IndexFunc(alarms, pages)]
	for _, x := range alarms {
		if x.Page && x.Since.Before(first.Since) {
			first = x
		}
	}
	now := a.cfg.Clock.Now().UTC()
	if !now.After(a.lastOpen.Add(time.Second)) {
		now = a.lastOpen.Add(time.Second) // ids are seconds
	}
	i := &incident{
		id: "inc-" + now.Format("20060102-150405"), since: first.Since, openedAt: now, symptom: first.Symptom(),
		stages: map[doctor.Stage]bool{}, alarms: []doctor.Alarm{first},
	}
	if i.since.IsZero() || i.since.After(now) {
		i.since = now
	}
	if err := a.write(ctx, i.id, doctor.EntryOpened, doctor.Opening{Alarm: first}); err != nil {
		return err
	}
	a.open, a.lastOpen = i, now
	return a.reach(ctx, doctor.Detected)
}

// follow goes one step on with the open incident.
func (a *Attendant) follow(ctx context.Context, e *doctor.Evidence, alarms []doctor.Alarm, answer *doctor.Answer) error {
	i, now := a.open, a.cfg.Clock.Now()
	if err := a.noteAlarms(ctx, alarms); err != nil {
		return err
	}
	if slices.ContainsFunc(alarms, pages) {
		i.quietFrom = time.Time{}
		if i.lifted { // it came back without what was held: contain it again
			i.lifted, i.leads, i.inRow, i.actedOn = false, "", 0, nil
		}
	} else if i.quietFrom.IsZero() {
		i.quietFrom = now
	}
	if err := a.noteMoney(ctx, now); err != nil {
		return err
	}
	over := i.over(now, a.stillSick)
	if !over && answer != nil && i.quietFrom.IsZero() {
		if err := a.consider(ctx, e, answer, now); err != nil {
			return err
		}
	}
	switch {
	case over && !i.acting && (!i.resume || a.cfg.Resume == nil):
		return a.finish(ctx, e, now)
	case i.acting && !i.quietFrom.IsZero() && (now.Sub(i.quietFrom) >= waited || over && a.looks(i)):
		i.leave()
	case i.resume && !i.acting && a.cfg.Resume != nil:
		i.resume = false
		a.doing(ctx, func(ctx context.Context) error {
			err := a.cfg.Resume(ctx, i.id)
			if a.cfg.Holds != nil && a.cfg.Holds(i.id) { // the process before may not have said so
				a.works <- result{apply: func() { a.contained(ctx, i) }}
			}
			return err
		})
	}
	return nil
}

func (a *Attendant) looks(i *incident) bool { return a.cfg.Looks != nil && a.cfg.Looks(i.id) }

// over reports whether the trouble is: it is quiet, and not only because of what is held.
func (i *incident) over(now time.Time, sick func() bool) bool {
	if i.quietFrom.IsZero() || now.Sub(i.quietFrom) < quiet {
		return false
	}
	return i.lifted || now.Sub(i.quietFrom) >= probing || !sick()
}

// stillSick reports whether what is seen lately, without the time before, still names a
// cause that was acted on.
func (a *Attendant) stillSick() bool {
	e := a.cfg.Evidence(time.Time{}, a.open.symptom)
	if e == nil {
		return true
	}
	answer, err := a.cfg.Diagnose(e)
	return err != nil || answer.Verdict == doctor.CauseFound && answer.Ranked[0].Posterior >= certain && slices.Contains(a.open.actedOn, leadOf(answer))
}

// noteAlarms records those that began and those that ended.
func (a *Attendant) noteAlarms(ctx context.Context, alarms []doctor.Alarm) error {
	i := a.open
	for _, x := range alarms {
		if x.Page {
			i.about(true, x.Places()...)
		}
		if !slices.ContainsFunc(i.alarms, same(x)) {
			if err := a.write(ctx, i.id, doctor.EntryAlarm, x); err != nil {
				return err
			}
		}
	}
	for _, x := range i.alarms {
		if !slices.ContainsFunc(alarms, same(x)) {
			if err := a.write(ctx, i.id, doctor.EntryQuiet, x); err != nil {
				return err
			}
		}
	}
	i.alarms = alarms
	return nil
}

func same(x doctor.Alarm) func(doctor.Alarm) bool {
	return func(y doctor.Alarm) bool {
		return x.Rule == y.Rule && x.Hop == y.Hop && x.Signal == y.Signal && x.Statistic == y.Statistic
	}
}

func (a *Attendant) noteMoney(ctx context.Context, now time.Time) error {
	i := a.open
	if a.cfg.Money == nil || now.Sub(i.moneyAt) < moneyEvery {
		return nil
	}
	i.moneyAt = now
	m := a.cfg.Money()
	if i.money != nil && m.Items == 0 && i.money.Items == 0 {
		return nil
	}
	i.money = &m
	return a.write(ctx, i.id, doctor.EntryMoney, m)
}

// consider records a new answer and acts on one that stands.
func (a *Attendant) consider(ctx context.Context, e *doctor.Evidence, answer *doctor.Answer, now time.Time) error {
	i := a.open
	if len(answer.Ranked) == 0 {
		return nil
	}
	first := answer.Ranked[0]
	leads := first.Node + "/" + first.Mechanism
	if leads == i.leads {
		i.inRow++
	} else {
		i.leads, i.inRow = leads, 1
	}
	if i.replaces(leads) {
		if err := a.keep(ctx, e, now); err != nil {
			return err
		}
		if err := a.write(ctx, i.id, doctor.EntryAnswer, answer); err != nil {
			return err
		}
		i.answer = answer
	}
	switch {
	case i.acting || i.plans >= plansMax:
	case answer.Verdict != doctor.CauseFound || first.Posterior < certain:
		return a.fallBack(ctx, answer, now)
	case slices.Contains(i.actedOn, leads):
	case i.inRow >= stands && len(i.actedOn) == 0, i.inRow >= changed:
		return a.actOn(ctx, answer, leads)
	}
	return nil
}

// replaces reports whether an answer is to stand instead of the one before: at once
// while there is none, then when it led as often as one that is acted on. What was acted
// on moves because of that: a process that was replaced is gone for a moment.
func (i *incident) replaces(leads string) bool {
	switch {
	case i.answer == nil:
		return true
	case leadOf(i.answer) == leads:
		return false
	case len(i.actedOn) == 0:
		return i.inRow >= stands
	}
	return i.inRow >= changed
}

func leadOf(a *doctor.Answer) string { return a.Ranked[0].Node + "/" + a.Ranked[0].Mechanism }

// keep stores the evidence behind an answer, so that it can be given again.
func (a *Attendant) keep(ctx context.Context, e *doctor.Evidence, now time.Time) error {
	i := a.open
	if a.cfg.Keep == nil || i.kept >= evidenceMax || (i.kept > 2 && now.Sub(i.keptAt) < evidenceEvery) {
		return nil
	}
	file, sum, err := a.cfg.Keep(i.id, i.kept+1, e)
	if err != nil {
		a.cfg.Log.LogAttrs(ctx, slog.LevelError, "the evidence is not kept", slog.Any("error", err))
		return nil
	}
	i.kept, i.keptAt = i.kept+1, now
	return a.write(ctx, i.id, doctor.EntryEvidence, doctor.EvidenceKept{File: file, SHA256: sum})
}

// fallBack does what is right whatever the cause: once, and after a while.
func (a *Attendant) fallBack(ctx context.Context, answer *doctor.Answer, now time.Time) error {
	i := a.open
	if i.fellBack || len(i.actedOn) > 0 || now.Sub(i.openedAt) < perplexed || len(a.cfg.Fallback) == 0 {
		return nil
	}
	i.fellBack = true
	a.act(ctx, Plan{Incident: i.id, Cause: string(doctor.Unknown), Phase: Contain, Steps: asWideAs(answer, a.cfg.Fallback)})
	return nil
}

// asWideAs leaves out the levers while the trouble is one person's: each of them holds
// something for everybody, or for all of a channel, and hurts more than it helps one.
func asWideAs(answer *doctor.Answer, steps []doctor.Step) []doctor.Step {
	if answer.Scope.Class != doctor.ScopeOne {
		return steps
	}
	return slices.DeleteFunc(slices.Clone(steps), func(s doctor.Step) bool { return s.Do == doctor.DoLever })
}

// actOn contains and repairs a cause that stands.
func (a *Attendant) actOn(ctx context.Context, answer *doctor.Answer, leads string) error {
	i, h := a.open, answer.Ranked[0]
	if err := a.reach(ctx, doctor.Diagnosed); err != nil {
		return err
	}
	i.actedOn, i.plans = append(i.actedOn, leads), i.plans+1
	i.about(false, h.Node)
	cause, ok := a.cfg.Cause(&h)
	if !ok {
		return a.write(ctx, i.id, doctor.EntryNote, doctor.Note{Text: "the catalogue has nothing to do about " + leads})
	}
	var plans []Plan
	if steps := asWideAs(answer, cause.Contain); len(steps) > 0 {
		plans = append(plans, Plan{Incident: i.id, Cause: cause.ID, Phase: Contain, Hypothesis: h, Steps: steps})
	}
	if steps := asWideAs(answer, cause.Repair); len(steps) > 0 {
		plans = append(plans, Plan{Incident: i.id, Cause: cause.ID, Phase: Repair, Hypothesis: h, Steps: steps})
	}
	a.act(ctx, plans...)
	return nil
}

// act does the plans one after the other, beside the ticks.
func (a *Attendant) act(ctx context.Context, plans ...Plan) {
	for k := range plans {
		plans[k].Round = a.open.plans
	}
	i := a.open
	a.doing(ctx, func(ctx context.Context) error {
		var failed []error
		for _, p := range plans {
			held, err := a.cfg.Act(ctx, p)
			if err != nil {
				failed = append(failed, fmt.Errorf("%s %s: %w", p.Phase, p.Cause, err))
			}
			if held && p.Phase == Contain && p.Cause != string(doctor.Unknown) {
				a.works <- result{apply: func() { a.contained(ctx, i) }}
			}
		}
		return errors.Join(failed...)
	})
}

// doing runs work for the open incident beside the ticks, one at a time.
func (a *Attendant) doing(ctx context.Context, work func(context.Context) error) {
	i := a.open
	ctx, i.leave = context.WithCancel(ctx)
	i.acting = true
	a.beside(func() func() {
		err := work(ctx)
		return func() {
			i.acting = false
			i.leave()
			if err != nil {
				a.cfg.Log.LogAttrs(ctx, slog.LevelError, "an act failed", slog.String("incident", i.id), slog.Any("error", err))
			}
		}
	})
}

func (a *Attendant) contained(ctx context.Context, i *incident) {
	if a.open == i {
		a.reachLater(ctx, doctor.Contained)
	}
}

// finish lifts what is held, has everything counted, and closes.
func (a *Attendant) finish(ctx context.Context, e *doctor.Evidence, now time.Time) error {
	i := a.open
	switch {
	case i.lifting || i.proving:
		return nil
	case !i.lifted:
		i.lifting = true
		a.beside(func() func() {
			err := a.cfg.Lift(ctx, i.id)
			return func() {
				i.lifting, i.lifted = false, err == nil
				if err != nil {
					a.cfg.Log.LogAttrs(ctx, slog.LevelError, "what was held is not lifted", slog.String("incident", i.id), slog.Any("error", err))
				}
				i.quietFrom = time.Time{} // it must be quiet without what was held, too
			}
		})
		return nil
	}
	left, wait, err := a.hidden(ctx, e, now)
	if wait || err != nil {
		return err
	}
	switch {
	case left == nil && !i.stages[doctor.Repaired]:
		return a.reach(ctx, doctor.Repaired)
	case now.Sub(i.provedAt) < proofEvery && !i.provedAt.IsZero():
		return nil
	}
	i.proving, i.provedAt = true, now
	a.beside(func() func() {
		proof, err := a.cfg.Prove(ctx, i.id, i.since)
		var owned map[string]string
		if err == nil && !proof.Clean && a.cfg.Owned != nil {
			owned, err = a.cfg.Owned(ctx, proof.Found)
		}
		return func() { a.judgeProof(ctx, i, proof, owned, left, err) }
	})
	return nil
}

// judgeProof closes on a proof, and on what is left to the owner of a lever.
func (a *Attendant) judgeProof(ctx context.Context, i *incident, proof doctor.ProofKept, owned map[string]string, left *leftTo, err error) {
	i.proving = false
	if err != nil {
		a.cfg.Log.LogAttrs(ctx, slog.LevelError, "no proof", slog.String("incident", i.id), slog.Any("error", err))
		return
	}
	if a.open != i {
		return
	}
	if err := a.write(ctx, i.id, doctor.EntryProof, proof); err != nil {
		return
	}
	listed := len(proof.Found) > 0 && len(owned) == len(proof.Found)
	switch {
	case left != nil && (proof.Clean || listed):
		a.leaveTo(ctx, left, proof.Found, owned)
	case left != nil:
	case proof.Clean:
		a.reachLater(ctx, doctor.Proved)
		a.close(ctx, doctor.Closing{Clean: true})
	case listed && a.cfg.Clock.Now().Sub(i.openedAt) > proofPatience:
		a.close(ctx, doctor.Closing{Breaks: proof.Found, Owners: owned})
	}
}

func (a *Attendant) close(ctx context.Context, c doctor.Closing) {
	if a.write(ctx, a.open.id, doctor.EntryClosed, c) == nil {
		a.open = nil
	}
}

// stage is the furthest that was reached.
func (i *incident) stage() doctor.Stage {
	var s doctor.Stage
	for _, x := range doctor.Stages() {
		if i.stages[x] {
			s = x
		}
	}
	return s
}

func (a *Attendant) reach(ctx context.Context, s doctor.Stage) error {
	if a.open.stages[s] {
		return nil
	}
	if err := a.write(ctx, a.open.id, doctor.EntryStage, doctor.StageReached{Stage: s}); err != nil {
		return err
	}
	a.open.stages[s] = true
	return nil
}

// reachLater is reach where a failure has nobody to return to: write has logged it,
// and the next that is reached tells that this one was.
func (a *Attendant) reachLater(ctx context.Context, s doctor.Stage) { _ = a.reach(ctx, s) }

// beside runs work in a goroutine of its own; what it returns is applied by the next Tick.
func (a *Attendant) beside(work func() func()) {
	a.running++
	go func() { a.works <- result{apply: work(), last: true} }()
}

func (a *Attendant) applyWorks() {
	for {
		select {
		case r := <-a.works:
			a.take(r)
		default:
			return
		}
	}
}

func (a *Attendant) take(r result) {
	if r.last {
		a.running--
	}
	r.apply()
}

// Wait returns when no work is under way; what it came to is applied.
func (a *Attendant) Wait() {
	for a.running > 0 {
		a.take(<-a.works)
	}
}

// write appends one line; who cannot write it does not go on.
func (a *Attendant) write(ctx context.Context, incident, what string, data any) error {
	raw, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("attend: %s: %w", what, err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), appendWithin)
	defer cancel()
	e := doctor.Entry{At: a.cfg.Clock.Now().UTC(), Incident: incident, What: what, Who: "doctor", Data: raw}
	if _, err := a.cfg.Append(ctx, e); err != nil {
		a.cfg.Log.LogAttrs(ctx, slog.LevelError, "the journal does not take a line", slog.String("what", what), slog.Any("error", err))
		return fmt.Errorf("attend: write %s to the journal: %w", what, err)
	}
	return nil
}

// Run ticks until ctx ends, and waits for what is under way.
func (a *Attendant) Run(ctx context.Context, beat func()) error {
	t := time.NewTicker(Tick)
	defer t.Stop()
	defer a.Wait()
	for {
		// An error of the journal was logged; the next tick tries again. A doctor that stops
		// because its disk is full would be of no use to anybody.
		_ = a.Tick(ctx)
		beat()
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}
