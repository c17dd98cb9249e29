package drill

import (
	"encoding/json"
	"math"
	"slices"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// The points of a drill, and the times for full ones.
const (
	pointsDetect   = 15
	pointsScope    = 10
	pointsTop1     = 25
	pointsTop3     = 12
	pointsEvidence = 10
	pointsContain  = 15
	pointsRepair   = 15
	pointsProof    = 10

	containWithin = 30 * time.Second
	repairWithin  = 30 * time.Second
	proofWithin   = 30 * time.Second
	// answersUntil is how long after the heal an answer still counts as about the fault:
	// one that was being computed.
	answersUntil = time.Second
)

// Status of a run.
type Status string

// Scored runs count. Void ones hurt nobody, skipped ones could not be made here, blind
// ones had no doctor, and broken ones are the harness's own failure.
const (
	Blind   Status = "blind"
	Scored  Status = "scored"
	Void    Status = "void"
	Skipped Status = "skipped"
	Broken  Status = "broken"
)

// Row is one run on the board.
type Row struct {
	Drill   string    `json:"drill"`
	Class   string    `json:"class"`
	Seed    uint64    `json:"seed"`
	Status  Status    `json:"status"`
	Why     string    `json:"why,omitempty"`
	At      time.Time `json:"at"`
	Control bool      `json:"control"`

	Points int            `json:"points"`
	Parts  map[string]int `json:"parts,omitempty"`
	Top1   bool           `json:"top1"`
	Top3   bool           `json:"top3"`
	// Node is set when the first answer names the right hop, whatever the mechanism.
	Node  bool `json:"node"`
	Scope bool `json:"scope"`
	// Seconds from the fault, or from the heal for the proof; nil is never.
	DetectS  *float64 `json:"detect_s"`
	ContainS *float64 `json:"contain_s"`
	RepairS  *float64 `json:"repair_s"`
	ProofS   *float64 `json:"proof_s"`
	// Confidence is what the doctor gave its first answer.
	Confidence float64  `json:"confidence"`
	Harmful    []string `json:"harmful,omitempty"`
	Acts       []string `json:"acts,omitempty"`
	FalsePages int      `json:"false_pages"`
	// Left are the levers that still held at the end of the run.
	Left []string `json:"left,omitempty"`
	// Invariants are those of money that do not hold; any makes the run worth nothing.
	Invariants []string  `json:"invariants_broken,omitempty"`
	Impact     Impact    `json:"impact"`
	Ranked     []string  `json:"ranked,omitempty"`
	ScopeSaid  string    `json:"scope_said,omitempty"`
	Wanted     string    `json:"wanted,omitempty"`
	Evidence   string    `json:"evidence_file,omitempty"`
	Journal    string    `json:"journal_file,omitempty"`
	Recount    Recount   `json:"recount"`
	Baselines  []Guess   `json:"baselines,omitempty"`
	TookS      float64   `json:"took_s"`
	Entries    [2]uint64 `json:"journal"`
	Notes      []string  `json:"notes,omitempty"`
}

// Guess is what a baseline says of the evidence of a run.
type Guess struct {
	Name string `json:"name"`
	Top1 bool   `json:"top1"`
	Top3 bool   `json:"top3"`
	Node bool   `json:"node"`
}

// record is what is judged: what was done to the world, and what the doctor told.
type record struct {
	drill   *Drill
	values  map[string]string
	fault   time.Time
	heal    time.Time
	entries []doctor.Entry
}

// judge scores a run from the doctor's own journal.
func judge(r *record, row *Row) {
	row.Parts = map[string]int{}
	row.Wanted = wanted(r)
	r.acts(row)
	if r.drill.Control() {
		r.control(row)
		return
	}
	r.detection(row)
	r.answer(row)
	r.containment(row)
	r.repair(row)
	r.proof(row)
	row.Points = 0
	for _, p := range row.Parts {
		row.Points += p
	}
	if len(row.Harmful) > 0 || len(row.Invariants) > 0 {
		row.Points = 0
	}
}

func wanted(r *record) string {
	if len(r.drill.Truth.Pairs) == 0 {
		return "nothing"
	}
	p := r.drill.Truth.Pairs[0]
	return fill(p.Node, r.values) + " " + p.Mechanism
}

// acted returns what the doctor did by itself since the fault, reading aside.
func (r *record) acted() (out []act) {
	for i := range r.entries {
		e := &r.entries[i]
		if e.What != doctor.EntryDone || e.At.Before(r.fault) {
			continue
		}
		var d doctor.Done
		if json.Unmarshal(e.Data, &d) != nil || d.Error != "" || d.Change.Nothing || reads(d.Act.Do) {
			continue
		}
		out = append(out, act{d.Act, e.At})
	}
	return out
}

type act struct {
	doctor.Act
	at time.Time
}

// reads reports whether an act changes nothing for anybody.
func reads(do string) bool { return do == "check" || do == "wait" }

func (r *record) acts(row *Row) {
	for _, a := range r.acted() {
		text := a.Do + " " + a.Aim
		row.Acts = append(row.Acts, text)
		if r.drill.Control() || anyMatch(r.drill.Truth.Harmful, &a.Act, r.values) && !anyMatch(r.drill.Truth.Repair, &a.Act, r.values) {
			row.Harmful = append(row.Harmful, text)
		}
	}
}

// control is worth everything as long as nobody was woken and nothing was done.
func (r *record) control(row *Row) {
	for i := range r.entries {
		e := &r.entries[i]
		var o doctor.Opening
		if e.What == doctor.EntryOpened && !e.At.Before(r.fault) && json.Unmarshal(e.Data, &o) == nil && o.Alarm.Page {
			row.FalsePages++
			row.Notes = append(row.Notes, "paged: "+o.Alarm.Says)
		}
	}
	row.Points = 100
	if row.FalsePages > 0 || len(row.Harmful) > 0 || len(row.Invariants) > 0 {
		row.Points = 0
	}
}

func since(from, at time.Time) *float64 {
	s := math.Round(at.Sub(from).Seconds()*1000) / 1000
	return &s
}

func (r *record) detection(row *Row) {
	for i := range r.entries {
		e := &r.entries[i]
		if e.What != doctor.EntryOpened || e.At.Before(r.fault) {
			continue
		}
		row.DetectS = since(r.fault, e.At)
		switch limit := r.drill.DetectWithin(); {
		case e.At.Sub(r.fault) <= limit:
			row.Parts["detect"] = pointsDetect
		case e.At.Sub(r.fault) <= 2*limit:
			row.Parts["detect"] = pointsDetect / 2
		}
		return
	}
}

// standing is the answer that stood while the fault did, as long as there was one.
func (r *record) standing() (answer *doctor.Answer) {
	for i := range r.entries {
		e := &r.entries[i]
		if e.What != doctor.EntryAnswer || e.At.Before(r.fault) || answer != nil && e.At.After(r.heal.Add(answersUntil)) {
			continue
		}
		var a doctor.Answer
		if json.Unmarshal(e.Data, &a) == nil {
			answer = &a
		}
	}
	return answer
}

func (r *record) answer(row *Row) {
	a := r.standing()
	if a == nil {
		return
	}
	t := &r.drill.Truth
	for i := range a.Ranked {
		h := &a.Ranked[i]
		row.Ranked = append(row.Ranked, h.Node+" "+h.Mechanism)
		row.Top1 = row.Top1 || i == 0 && t.right(h, r.values)
		row.Node = row.Node || i == 0 && t.hop(h, r.values)
		row.Top3 = row.Top3 || i < 3 && t.right(h, r.values)
	}
	row.Ranked = row.Ranked[:min(len(row.Ranked), 5)]
	row.ScopeSaid, row.Confidence = a.Scope.Class, a.Confidence.Probability
	row.Scope = slices.Contains(t.Scope, a.Scope.Class)
	if row.Scope {
		row.Parts["scope"] = pointsScope
	}
	switch {
	case row.Top1:
		row.Parts["cause"] = pointsTop1
	case row.Top3:
		row.Parts["cause"] = pointsTop3
	}
	row.Parts["evidence"] = int(math.Round(pointsEvidence * moved(a, r.fault)))
}

// moved is the share of the lines for the first hypothesis whose signal really moved,
// in a window that the fault reaches into.
func moved(a *doctor.Answer, fault time.Time) float64 {
	if len(a.Ranked) == 0 {
		return 0
	}
	all, good := 0, 0
	for i := range a.Evidence.For {
		l := &a.Evidence.For[i]
		if l.Node != a.Ranked[0].Node {
			continue
		}
		all++
		still := l.Baseline.N > 0 && math.Abs(l.Value.Value-l.Baseline.Value) <= 1e-9*max(1, math.Abs(l.Baseline.Value))
		if l.Query != "" && !still && l.Window.Until.After(fault) {
			good++
		}
	}
	if all == 0 {
		return 0
	}
	return float64(good) / float64(all)
}

// first is the first act that matches, and how long after the fault it was.
func (r *record) first(all []Match) *float64 {
	for _, a := range r.acted() {
		if anyMatch(all, &a.Act, r.values) {
			return since(r.fault, a.at)
		}
	}
	return nil
}

func (r *record) containment(row *Row) {
	if row.ContainS = r.first(r.drill.Truth.Contain); row.ContainS == nil {
		if len(r.drill.Truth.Contain) == 0 && row.DetectS != nil { // nothing was to be done, and nothing was
			row.Parts["contain"] = pointsContain
		}
		return
	}
	if *row.ContainS <= containWithin.Seconds() {
		row.Parts["contain"] = pointsContain
	}
}

// repair is an act of the right kind while the fault stands, or, when the fault is
// outside, the end of the trouble soon after it healed.
func (r *record) repair(row *Row) {
	if row.RepairS = r.first(r.drill.Truth.Repair); row.RepairS != nil {
		row.Parts["repair"] = pointsRepair
		return
	}
	if !r.drill.Truth.Outside {
		return
	}
	// Who calls it over while it stands is wrong.
	if at := r.stage(r.heal, doctor.Repaired, doctor.Proved); !at.IsZero() && at.Sub(r.heal) <= repairWithin {
		row.RepairS, row.Parts["repair"] = since(r.fault, at), pointsRepair
	}
}

// stage is when one of these was first reached from then on.
func (r *record) stage(from time.Time, any ...doctor.Stage) time.Time {
	for i := range r.entries {
		e := &r.entries[i]
		var s doctor.StageReached
		if e.What == doctor.EntryStage && !e.At.Before(from) && json.Unmarshal(e.Data, &s) == nil && slices.Contains(any, s.Stage) {
			return e.At
		}
	}
	return time.Time{}
}

// proof counts once it is over: from the heal on, or from the act that repaired it.
func (r *record) proof(row *Row) {
	over := r.heal
	if act := r.first(r.drill.Truth.Repair); act != nil && !r.drill.Truth.Outside {
		over = r.fault.Add(time.Duration(*act * float64(time.Second)))
	}
	for i := range r.entries {
		e := &r.entries[i]
		var p doctor.ProofKept
		if e.What != doctor.EntryProof || e.At.Before(over) || json.Unmarshal(e.Data, &p) != nil || !p.Clean {
			continue
		}
		row.ProofS = since(r.heal, e.At)
		*row.ProofS = max(*row.ProofS, 0) // it was repaired before we healed it
		if e.At.Sub(r.heal) <= proofWithin {
			row.Parts["proof"] = pointsProof
		}
		return
	}
}
