// Package notice is what the public may know of incidents: what does not work as usual,
// for whom, since when, what to do, when the next word comes, and how the last ninety days
// were. It is a pure function of the journal's incidents and is made of its own words only:
// no name, number, code, amount or text of an incident can get into it, whatever stands
// there. It refuses to promise a time, to say that money is safe, and to blame.
package notice

import (
	"slices"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

const (
	// Silence is the longest time without a word while something is wrong.
	Silence = 15 * time.Minute
	// days of history, and the most incidents of it that are told one by one.
	days    = 90
	pastMax = 50
	// updatesMax of an open incident are shown, the newest.
	updatesMax = 12
	// shareEvents is on how many payments a share must rest to be told.
	shareEvents = 30
)

// State of a part of the service, worst last.
type State string

// Well: as usual. Checking: over, and everything is counted anew. Delayed: it works,
// slower than usual for some. Interrupted: it may not work for now. Unseen: nobody knows.
const (
	Well        State = "ok"
	Checking    State = "checking"
	Unseen      State = "unknown"
	Delayed     State = "delayed"
	Interrupted State = "interrupted"
)

var worse = []State{Well, Checking, Unseen, Delayed, Interrupted}

// Part is what people use.
type Part string

// The parts.
const (
	App      Part = "app"
	Sends    Part = "transfers"
	Payouts  Part = "payouts"
	Deposits Part = "deposits"
	Partners Part = "partners"
)

// Parts are all of them, in the order of the page.
func Parts() []Part { return []Part{Sends, Payouts, Deposits, App, Partners} }

// Page is the status page.
type Page struct {
	At     time.Time   `json:"at"`
	State  State       `json:"state"`
	Says   doctor.Text `json:"says"`
	Advice doctor.Text `json:"advice"`
	Parts  []PartState `json:"parts"`
	Now    *Open       `json:"now,omitempty"`
	Days   []Day       `json:"days"`
	Past   []Past      `json:"past"`
}

// PartState is how a part does.
type PartState struct {
	Part  Part        `json:"part"`
	Name  doctor.Text `json:"name"`
	State State       `json:"state"`
	Says  doctor.Text `json:"says"`
}

// Open is what is wrong now.
type Open struct {
	Since time.Time `json:"since"`
	// Who says how many are concerned, in coarse words; empty while nobody knows.
	Who     doctor.Text `json:"who"`
	Updates []Update    `json:"updates"`
	// NextAt is when the next word comes at the latest.
	NextAt time.Time `json:"next_update_at"`
}

// Update is one word, the newest first.
type Update struct {
	At   time.Time   `json:"at"`
	Says doctor.Text `json:"says"`
}

// Day is one of the last ninety, the oldest first.
type Day struct {
	Date  string `json:"date"` // UTC
	State State  `json:"state"`
	// Minutes is for how long something was wrong on it.
	Minutes int `json:"minutes"`
}

// Past is an incident that is over.
type Past struct {
	Since time.Time     `json:"since"`
	Until time.Time     `json:"until"`
	State State         `json:"state"`
	Names []doctor.Text `json:"parts"`
	Says  doctor.Text   `json:"says"`
}

// Build makes the page of a moment from the journal's incidents, oldest first. Blind says
// that nothing is heard of the service now.
func Build(now time.Time, all []doctor.Incident, blind bool) *Page {
	now = now.UTC()
	p := &Page{At: now, State: Well, Advice: words["advice-none"], Past: []Past{}}
	parts := map[Part]State{}
	for _, x := range Parts() {
		parts[x] = Well
		if blind {
			parts[x] = Unseen
		}
	}
	for i := range slices.Backward(all) {
		in := &all[i]
		if in.ClosedAt != nil {
			if in.ClosedAt.After(now.AddDate(0, 0, -days)) && len(p.Past) < pastMax {
				p.Past = append(p.Past, past(in))
			}
			continue
		}
		for part, s := range touched(in) {
			parts[part] = worst(parts[part], s)
		}
		if p.Now == nil {
			p.Now = open(in, now)
		}
	}
	for _, x := range Parts() {
		s := parts[x]
		p.State = worst(p.State, s)
		p.Parts = append(p.Parts, PartState{Part: x, Name: words["part-"+string(x)], State: s, Says: words["state-"+string(s)]})
	}
	if p.Now != nil {
		p.State, p.Advice = worst(p.State, Checking), words["advice-again"]
	}
	p.Says = words["page-"+string(p.State)]
	p.Days = history(now, all)
	return p
}

func worst(a, b State) State {
	if slices.Index(worse, b) > slices.Index(worse, a) {
		return b
	}
	return a
}

// touched are the parts that an incident concerns, and how much. They follow from where the
// alarms that hold are, and from where the answer sees the cause; what nobody can place
// concerns payments.
func touched(in *doctor.Incident) map[Part]State {
	out := map[Part]State{}
	add := func(s State, parts ...Part) {
		for _, p := range parts {
			out[p] = worst(out[p], s)
		}
	}
	at := func(hop string, kind doctor.Kind) {
		switch hop {
		case doctor.HopDispatch, doctor.HopTimer:
			add(Delayed, Payouts)
		case doctor.HopCallbacks, doctor.HopSettle:
			add(Delayed, Payouts, Deposits)
		case doctor.HopWebhooks:
			add(Delayed, Partners)
		case doctor.HopRecon, doctor.HopHolder, doctor.HopOperator: // nobody outside waits for it
		case doctor.HopAPI, doctor.HopClient:
			add(Interrupted, App)
			add(Delayed, Sends, Payouts)
		case doctor.HopServe, doctor.HopDecider, doctor.HopPostgres:
			add(Interrupted, App, Sends, Payouts)
			add(Delayed, Deposits)
		default:
			if kind == doctor.Channel || kind == "" {
				add(Delayed, Payouts, Deposits)
			}
		}
	}
	for i := range in.Alarms {
		if in.Alarms[i].Page {
			at(in.Alarms[i].Hop, "")
		}
	}
	if h := leading(in); h != nil && h.Node != doctor.HopClient { // a caller's own fault is nobody else's
		at(h.Node, h.Kind)
	}
	if len(out) == 0 {
		add(Delayed, Sends, Payouts, Deposits)
	}
	if _, over := in.Stages[doctor.Repaired]; over && in.ClosedAt == nil {
		for p := range out {
			out[p] = Checking
		}
	}
	return out
}

// leading is what the answer that stands, or stood, says is at fault; nil until one stood
// long enough to be acted on: a first guess is not for the public.
func leading(in *doctor.Incident) *doctor.Hypothesis {
	if _, stood := in.Stages[doctor.Diagnosed]; !stood {
		return nil
	}
	for _, a := range []*doctor.Answer{in.Answer, in.FirstAnswer} {
		if a != nil && a.Verdict == doctor.CauseFound && len(a.Ranked) > 0 {
			return &a.Ranked[0]
		}
	}
	return nil
}

// who is concerned, in coarse words, and only on enough evidence.
func who(in *doctor.Incident) doctor.Text {
	if in.Answer == nil || in.Answer.Scope.Events < shareEvents {
		return doctor.Text{}
	}
	s := in.Answer.Scope
	switch {
	case s.Class == "everyone" || s.Share >= .9:
		return words["who-all"]
	case s.Class != "cohort":
		return doctor.Text{}
	case s.Share >= .4:
		return words["who-half"]
	case s.Share >= .15:
		return words["who-quarter"]
	}
	return words["who-few"]
}

// open tells of what is wrong now. A word comes with each stage, and at least each Silence:
// that nothing is new is a word, too.
func open(in *doctor.Incident, now time.Time) *Open {
	o := &Open{Since: in.Since.UTC(), Who: who(in)}
	said := []Update{{in.OpenedAt.UTC(), words["stage-detected"]}}
	for _, s := range doctor.Stages() {
		if at, ok := in.Stages[s]; ok && s != doctor.Detected && !at.After(now) {
			said = append(said, Update{at.UTC(), words["stage-"+string(s)]})
		}
	}
	slices.SortStableFunc(said, func(a, b Update) int { return a.At.Compare(b.At) })
	for i := 0; i < len(said); i++ {
		next := now
		if i+1 < len(said) {
			next = said[i+1].At
		}
		if at := said[i].At.Add(Silence); at.Before(next) || at.Equal(now) && i+1 == len(said) {
			still := words["still"]
			if _, over := in.Stages[doctor.Repaired]; over && !at.Before(in.Stages[doctor.Repaired]) {
				still = words["still-checking"]
			}
			said = slices.Insert(said, i+1, Update{at, still})
		}
		if i > updatesMax { // the oldest words are not shown, and need not be made
			said = slices.Delete(said, 1, 2)
			i--
		}
	}
	o.NextAt = said[len(said)-1].At.Add(Silence)
	slices.Reverse(said)
	o.Updates = said[:min(len(said), updatesMax)]
	return o
}

func past(in *doctor.Incident) Past {
	t := touched(in)
	p := Past{Since: in.Since.UTC(), Until: in.ClosedAt.UTC(), State: Well, Says: words["over-listed"]}
	if in.Closing != nil && in.Closing.Clean {
		p.Says = words["over-clean"]
	}
	for _, x := range Parts() {
		if s, ok := t[x]; ok {
			p.State, p.Names = worst(p.State, s), append(p.Names, words["part-"+string(x)])
		}
	}
	return p
}

// history counts for how long something was wrong on each day.
func history(now time.Time, all []doctor.Incident) []Day {
	today := now.Truncate(24 * time.Hour)
	out := make([]Day, 0, days)
	for d := days - 1; d >= 0; d-- {
		from := today.AddDate(0, 0, -d)
		until := from.AddDate(0, 0, 1)
		if until.After(now) {
			until = now
		}
		day := Day{Date: from.Format(time.DateOnly), State: Well}
		var wrong time.Duration
		covered := from
		for i := range all {
			since, end := all[i].Since.UTC(), now
			if all[i].ClosedAt != nil {
				end = all[i].ClosedAt.UTC()
			}
			since, end = later(since, covered), earlier(end, until)
			if !end.After(since) {
				continue
			}
			wrong += end.Sub(since)
			covered = end
			for _, s := range touched(&all[i]) {
				day.State = worst(day.State, s)
			}
		}
		day.Minutes = int((wrong + time.Minute - 1) / time.Minute)
		out = append(out, day)
	}
	return out
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
