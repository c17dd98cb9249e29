package tell

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// Room is an incident as the people who are in it need it: what a screen shows, with
// every text in the source's language.
type Room struct {
	ID       string     `json:"id"`
	Lang     string     `json:"lang"`
	Since    time.Time  `json:"since"`
	OpenedAt time.Time  `json:"opened_at"`
	ClosedAt *time.Time `json:"closed_at,omitempty"`
	Paged    bool       `json:"paged"`
	// Stage is the furthest that was reached.
	Stage doctor.Stage `json:"stage"`
	// Sentence says in plain words where it stands.
	Sentence string    `json:"sentence"`
	Stages   []Reached `json:"stages"`
	Alarms   []Alarmed `json:"alarms"`
	// Money is what waits by the newest entry, MoneyMost the worst, MoneyOver both over time.
	Money     *doctor.MoneyAtRisk `json:"money,omitempty"`
	MoneyMost *doctor.MoneyAtRisk `json:"money_most,omitempty"`
	MoneyOver []MoneyPoint        `json:"money_over"`
	Answer    *Judged             `json:"answer,omitempty"`
	Cause     *KnownCause         `json:"cause,omitempty"`
	Timeline  []Said              `json:"timeline"`
	// Cut is how many older entries the timeline leaves out.
	Cut int `json:"cut,omitempty"`
	// Guide is the eight steps of an investigation, answered as far as entries do.
	Guide []Guided `json:"guide"`
	// Order is what comes first, second and third.
	Order []Priority `json:"order"`
	// Todo are the follow-ups: of the first day, of the first week, later.
	Todo   Todo              `json:"todo"`
	Waits  []Waiting         `json:"waits"`
	Held   []Held            `json:"held"`
	Proof  *doctor.ProofKept `json:"proof,omitempty"`
	Breaks []Break           `json:"breaks"`
}

// Reached is a stage of the closed loop and when it was reached.
type Reached struct {
	Stage doctor.Stage `json:"stage"`
	Word  string       `json:"word"`
	// Loop is its part in the closed loop: observe, locate, contain, repair, improve.
	Loop   string     `json:"loop"`
	At     *time.Time `json:"at,omitempty"`
	AfterS *float64   `json:"after_s,omitempty"`
}

// Alarmed is an alarm that holds.
type Alarmed struct {
	doctor.Alarm
	Text string `json:"text"`
	// ExplainedBy is the hop whose fault it follows from, as far as the answer says.
	ExplainedBy string `json:"explained_by,omitempty"`
}

// MoneyPoint is what waited at a time.
type MoneyPoint struct {
	At time.Time `json:"at"`
	doctor.MoneyAtRisk
}

// Judged is an answer with its sentences.
type Judged struct {
	At         time.Time         `json:"at"`
	Verdict    doctor.Verdict    `json:"verdict"`
	Ranked     []Suspect         `json:"ranked"`
	Also       []Suspect         `json:"also"`
	For        []Evident         `json:"for"`
	Against    []Evident         `json:"against"`
	Scope      doctor.Scope      `json:"scope"`
	ScopeText  string            `json:"scope_text"`
	Confidence doctor.Confidence `json:"confidence"`
	Next       []NextCheck       `json:"next"`
	// TriageS is how long after the opening it was first said who is affected.
	TriageS *float64 `json:"triage_s,omitempty"`
}

// Suspect is a hypothesis in words.
type Suspect struct {
	doctor.Hypothesis
	What string `json:"what"`
}

// Evident is a line of evidence in words.
type Evident struct {
	doctor.Line
	Text string `json:"text"`
}

// NextCheck is a check in words.
type NextCheck struct {
	doctor.Check
	Text string `json:"text"`
}

// KnownCause is what the catalogue says of the cause that leads.
type KnownCause struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	Explains string   `json:"explains"`
	Users    string   `json:"users"`
	Support  string   `json:"support"`
	Never    []string `json:"never"`
	HotFix   []string `json:"hot_fix"`
	Drills   []string `json:"drills"`
}

// Said is an entry in words.
type Said struct {
	Seq  uint64    `json:"seq"`
	At   time.Time `json:"at"`
	What string    `json:"what"`
	Who  string    `json:"who"`
	Text string    `json:"text"`
}

// Guided is one of the eight steps with what is known.
type Guided struct {
	Step   string `json:"step"`
	Answer string `json:"answer"`
	Known  bool   `json:"known"`
}

// Priority is one of the three tiers, and whether it is seen to.
type Priority struct {
	Tier int    `json:"tier"`
	Text string `json:"text"`
	Done bool   `json:"done"`
}

// Todo are follow-ups by when they are due: those that the entries ask for, and those that
// people added.
type Todo struct {
	Short []FollowUp `json:"short"`
	Mid   []FollowUp `json:"mid"`
	Long  []FollowUp `json:"long"`
	Added []FollowUp `json:"added"`
}

// FollowUp is one of them in words.
type FollowUp struct {
	doctor.FollowUp
	Overdue bool `json:"overdue,omitempty"`
	// By wrote the newest word on it down, At then; nobody did while it is empty.
	By string     `json:"by,omitempty"`
	At *time.Time `json:"at,omitempty"`
}

// Waiting is an act that waits for people.
type Waiting struct {
	doctor.Done
	Text string `json:"text"`
}

// Held is something that was held back and not let go, by the entry that says so.
type Held struct {
	Seq  uint64     `json:"seq"`
	At   time.Time  `json:"at"`
	Text string     `json:"text"`
	Act  doctor.Act `json:"act"`
}

// Break is an open break of a closed incident, and whose it is.
type Break struct {
	Text  string `json:"text"`
	Owner string `json:"owner"`
}

// saidMost bounds the timeline of a room: the journal has all of it.
const saidMost = 400

// loop are the parts of the stages in the closed loop (SOP-09).
var loop = map[doctor.Stage]string{
	doctor.Detected: "observe", doctor.Diagnosed: "locate", doctor.Contained: "contain", doctor.Repaired: "repair", doctor.Proved: "improve",
}

// RoomOf makes it. An incident without entries has no room.
func RoomOf(s *Source) (*Room, error) {
	if len(s.Entries) == 0 {
		return nil, errEmpty
	}
	d := newDoc(s, "")
	in := &s.Incident
	r := &Room{
		ID: in.ID, Lang: s.Lang, Since: in.Since, OpenedAt: in.OpenedAt, ClosedAt: in.ClosedAt, Paged: in.Paged, Stage: doctor.Detected,
		Money: valued(in.Money), MoneyMost: valued(in.MoneyMost), Proof: in.Proof, Breaks: []Break{}, Waits: []Waiting{}, Held: []Held{}, MoneyOver: []MoneyPoint{},
	}
	for _, st := range doctor.Stages() {
		x := Reached{Stage: st, Word: StageWord(s.Lang, st), Loop: loop[st]}
		if at, ok := in.Stages[st]; ok {
			after := at.Sub(in.Since).Seconds()
			x.At, x.AfterS, r.Stage = &at, &after, st
		}
		r.Stages = append(r.Stages, x)
	}
	for _, e := range s.of(doctor.EntryMoney) {
		m := data[doctor.MoneyAtRisk](e)
		r.MoneyOver = append(r.MoneyOver, MoneyPoint{e.At, *valued(&m)})
	}
	r.MoneyOver = thin(r.MoneyOver, saidMost)
	r.Answer = s.judged()
	r.Alarms = s.alarmed(r.Answer)
	r.Cause = s.known()
	r.Timeline, r.Cut = s.said()
	r.Guide, r.Order, r.Todo = d.guided(), s.order(), d.todos()
	for i := range in.Waiting {
		r.Waits = append(r.Waits, Waiting{in.Waiting[i], plainText(does(&in.Waiting[i].Act))})
	}
	for _, e := range s.held() {
		a := data[doctor.Done](e).Act
		r.Held = append(r.Held, Held{e.Seq, e.At, plainText(does(&a)), a})
	}
	if in.Closing != nil {
		for _, b := range in.Closing.Breaks {
			r.Breaks = append(r.Breaks, Break{b, in.Closing.Owners[b]})
		}
	}
	r.Sentence = s.stands(r)
	return r, d.err
}

// valued has a value, if an empty one.
func valued(m *doctor.MoneyAtRisk) *doctor.MoneyAtRisk {
	if m == nil || m.Value != nil {
		return m
	}
	return &doctor.MoneyAtRisk{Items: m.Items, OldestS: m.OldestS, Value: map[string]string{}}
}

// thin leaves at most n points, evenly, the last one among them.
func thin[T any](all []T, n int) []T {
	if len(all) <= n {
		return all
	}
	out := make([]T, 0, n)
	for i := range n {
		out = append(out, all[i*(len(all)-1)/(n-1)])
	}
	return out
}

// newestAnswer is the one that the room shows: that which names what was acted on, else
// the newest.
func (s *Source) newestAnswer() *doctor.Entry {
	if e, _, ok := s.leading(); ok {
		return e
	}
	return s.last(doctor.EntryAnswer)
}

func (s *Source) judged() *Judged {
	e := s.newestAnswer()
	if e == nil {
		return nil
	}
	a := data[doctor.Answer](e)
	d := newDoc(s, "")
	out := &Judged{
		At: e.At, Verdict: a.Verdict, Scope: a.Scope, ScopeText: plainText(d.scope(e)), Confidence: a.Confidence,
		Ranked: s.suspects(a.Ranked), Also: s.suspects(a.Also), For: s.evident(a.Evidence.For), Against: s.evident(a.Evidence.Against), Next: []NextCheck{},
	}
	for i := range a.NextChecks {
		c := NextCheck{a.NextChecks[i], a.NextChecks[i].Ask}
		if s.Lang == "zh" && c.AskZH != "" {
			c.Text = c.AskZH
		}
		out.Next = append(out.Next, c)
	}
	for _, e := range s.of(doctor.EntryAnswer) {
		if sc := data[doctor.Answer](e).Scope; sc.Class != "" && sc.Class != "unknown" {
			after := e.At.Sub(s.Incident.OpenedAt).Seconds()
			out.TriageS = &after
			break
		}
	}
	return out
}

func (s *Source) suspects(all []doctor.Hypothesis) []Suspect {
	m := Moment{Lang: s.Lang, Source: s}
	out := []Suspect{}
	for i := range all {
		h := &all[i]
		what := m.how(h)
		if h.Name == nil {
			if c, ok := s.catalogued(h); ok {
				what = c.Name.In(s.Lang)
			}
		}
		out = append(out, Suspect{*h, what})
	}
	return out
}

func (s *Source) evident(all []doctor.Line) []Evident {
	out := []Evident{}
	for i := range all {
		out = append(out, Evident{all[i], s.sentence(all[i].Code, all[i].Args, all[i].Says, all[i].SaysZH)})
	}
	return out
}

// sentence is that of a code in the source's language, else what the machine said.
func (s *Source) sentence(code string, args []string, en, zh string) string {
	if s.Lang == "zh" {
		if zh != "" {
			return zh
		}
		if s.Say != nil && code != "" {
			if t := s.Say(s.Lang, code, args); t != "" && t != code {
				return t
			}
		}
	}
	return en
}

// alarmed are the alarms that hold, those that page first. What the leading hypothesis
// explains, and no further fault does, follows from it.
func (s *Source) alarmed(a *Judged) []Alarmed {
	out := []Alarmed{}
	for i := range s.Incident.Alarms {
		x := &s.Incident.Alarms[i]
		one := Alarmed{Alarm: *x, Text: s.sentence(x.Code, x.Args, x.Says, "")}
		if a != nil && a.Verdict == doctor.CauseFound && len(a.Ranked) > 0 && a.Ranked[0].Node != x.Hop &&
			!slices.ContainsFunc(a.Also, func(h Suspect) bool { return h.Node == x.Hop }) {
			one.ExplainedBy = a.Ranked[0].Node
		}
		out = append(out, one)
	}
	slices.SortStableFunc(out, func(a, b Alarmed) int {
		switch {
		case a.Page == b.Page:
			return a.Since.Compare(b.Since)
		case a.Page:
			return -1
		}
		return 1
	})
	return out
}

func (s *Source) known() *KnownCause {
	c, ok := s.cause()
	if !ok {
		return nil
	}
	in := func(all []doctor.Text) []string {
		out := []string{}
		for _, t := range all {
			out = append(out, s.fill(t.In(s.Lang)))
		}
		return out
	}
	drills := c.Drills
	if drills == nil {
		drills = []string{}
	}
	return &KnownCause{
		ID: c.ID, Name: c.Name.In(s.Lang), Explains: c.Explains.In(s.Lang), Users: c.Users.In(s.Lang), Support: c.Support.In(s.Lang),
		Never: in(c.Never), HotFix: in(c.HotFix), Drills: drills,
	}
}

// said is the timeline: every entry but how much waits, and of the answers those that
// say something else than the one before.
func (s *Source) said() (out []Said, cut int) {
	out = []Said{}
	before := ""
	for i := range s.Entries {
		e := &s.Entries[i]
		if e.What == doctor.EntryMoney {
			continue
		}
		if e.What == doctor.EntryAnswer {
			key := answerKey(e)
			if key == before {
				continue
			}
			before = key
		}
		out = append(out, Said{e.Seq, e.At, e.What, e.Who, Line(s, e)})
	}
	if cut = len(out) - saidMost; cut > 0 {
		return out[cut:], cut
	}
	return out, 0
}

// guided are the eight steps with their answers (SOP-04).
func (d *Doc) guided() []Guided {
	of := newDoc(d.s, "")
	of.eight()
	if of.err != nil && d.err == nil {
		d.err = of.err
	}
	out := []Guided{}
	not := word(d.Lang, "step-not")
	for i := range of.blocks {
		if b := &of.blocks[i]; b.kind == blockTable {
			for _, r := range b.rows[1:] {
				answer := plainText(r[1])
				out = append(out, Guided{plainText(r[0]), answer, answer != not})
			}
		}
	}
	return out
}

// order is the three tiers (SOP-07): see everything and keep it consistent, contain it,
// then repair and compensate.
func (s *Source) order() []Priority {
	reached := func(st doctor.Stage) bool { _, ok := s.Incident.Stages[st]; return ok }
	return []Priority{
		{1, word(s.Lang, "order-see"), reached(doctor.Diagnosed)},
		{2, word(s.Lang, "order-contain"), reached(doctor.Contained) || reached(doctor.Repaired)},
		{3, word(s.Lang, "order-repair"), reached(doctor.Repaired) && s.Incident.Proof != nil && s.Incident.Proof.Clean},
	}
}

// todos are the follow-ups (SOP-08) as plain text.
func (d *Doc) todos() Todo {
	var lists [4][]FollowUp
	for i, part := range d.toFollow() {
		lists[i] = []FollowUp{}
		for _, f := range part.all {
			u := FollowUp{FollowUp: doctor.FollowUp{ID: f.id, Owner: f.owner}}
			if now := d.s.followed(f.id); now.ID != "" {
				u.FollowUp = now.FollowUp
				u.Owner = cmp.Or(u.Owner, f.owner)
				if e := d.s.entry(now.Seq); e != nil {
					u.By, u.At = e.Who, &e.At
				}
			}
			u.Text, u.Overdue = plainText(f.text), u.FollowUp.Overdue(d.s.Now)
			lists[i] = append(lists[i], u)
		}
	}
	return Todo{lists[0], lists[1], lists[2], lists[3]}
}

// hidden is what was told last of a lever that keeps the trouble from being seen; empty
// when none does.
func (s *Source) hidden() string {
	var said doctor.Told
	for _, e := range s.of(doctor.EntryTold) {
		if x := data[doctor.Told](e); x.About != "" {
			said = x
		}
	}
	switch {
	case said.About != doctor.HeldBack:
		return ""
	case s.Lang == "zh" && said.Text.ZH != "":
		return plainText(plain(said.Text.ZH))
	}
	return plainText(plain(said.Text.EN))
}

// stands is the sentence on top.
func (s *Source) stands(r *Room) string {
	d := newDoc(s, "")
	until := s.Now
	if r.ClosedAt != nil {
		until = *r.ClosedAt
	}
	took := plain(took(until.Sub(r.Since)))
	var parts []string
	switch {
	case r.ClosedAt != nil && s.Incident.Closing != nil && s.Incident.Closing.Clean:
		parts = append(parts, plainText(d.w("room-closed", took)))
	case r.ClosedAt != nil:
		parts = append(parts, plainText(d.w("room-closed-breaks", took)))
	case r.Stage == doctor.Repaired || r.Stage == doctor.Proved:
		parts = append(parts, plainText(d.w("room-repaired", took)))
	case len(r.Held) > 0:
		parts = append(parts, plainText(d.w("room-contained", took)))
	default:
		parts = append(parts, plainText(d.w("room-open", took)))
	}
	if a := r.Answer; a != nil && a.Verdict == doctor.CauseFound && len(a.Ranked) > 0 {
		parts = append(parts, plainText(d.w("room-cause", plain(a.Ranked[0].Node), plain(a.Ranked[0].What), plain(percent(a.Ranked[0].Posterior)))))
	} else if r.ClosedAt == nil {
		parts = append(parts, word(s.Lang, "room-no-cause"))
	}
	if hidden := s.hidden(); hidden != "" && r.ClosedAt == nil {
		parts = append(parts, hidden)
	}
	if len(r.Waits) > 0 && r.ClosedAt == nil {
		parts = append(parts, plainText(d.w("room-waits", plain(r.Waits[0].Text))))
	}
	if s.Lang == "zh" {
		return strings.Join(parts, "")
	}
	return strings.Join(parts, " ")
}
