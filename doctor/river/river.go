// Package river draws the road as a map: where payments flow, how wide, where they pile
// up, since when, and what one sentence of plain words says about it. A map is a pure
// function of what the collectors counted and of what the doctor said at that moment; the
// Keeper remembers the last quarter of an hour of them. It refuses to estimate: a hop that
// nobody has heard is unknown and not fine, and that no money is lost is said only while
// the checks that run all the time say so.
package river

import (
	"cmp"
	"math"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// State of a hop, worst last.
type State string

// Fine: it moves as usual. Waiting: work waits longer than usual, is past its deadline, or
// is held back on purpose. Stalled: an invariant that wakes people is broken there.
// Unknown: nothing was heard of it of late, which is never health.
const (
	Fine    State = "fine"
	Waiting State = "waiting"
	Unknown State = "unknown"
	Stalled State = "stalled"
)

var worse = []State{Fine, Waiting, Unknown, Stalled}

const (
	// heardWithin is how old the newest word on a hop may be: collectors look once a
	// second and give up after five.
	heardWithin = 10 * time.Second
	// countedWithin is how old a count of what waits may be and still say what is so.
	countedWithin = 5 * time.Second
	// checkedWithin is how long ago the checks of the books may have ended a whole turn for
	// them to speak of now: they turn once a second, and slower under load.
	checkedWithin = 60 * time.Second
	// slackLeast and slackTimes: work that stays so long is later than usual. They are
	// below what wakes somebody, so that water is seen to rise before it does.
	slackLeast = 5 * time.Second
	slackTimes = 2
)

// Map is the road at one moment.
type Map struct {
	At time.Time `json:"at"`
	// State is the worst of the hops', Since is when it became so.
	State State     `json:"state"`
	Since time.Time `json:"since"`
	// Sentence says it in plain words.
	Sentence doctor.Text `json:"sentence"`
	Money    Money       `json:"money"`
	Incident *Incident   `json:"incident,omitempty"`
	// Open counts what is not final and waits for us, with its worth by asset; nil while
	// nobody has counted.
	Open  *Pile  `json:"open,omitempty"`
	Hops  []Hop  `json:"hops"`
	Flows []Flow `json:"flows"`
}

// Money is what the checks of the books say.
type Money struct {
	// State is sound, off or unknown.
	State string `json:"state"`
	// CheckedS is how many seconds ago the checks ended a whole turn; nil: not heard.
	CheckedS *float64    `json:"checked_s,omitempty"`
	Says     doctor.Text `json:"says"`
}

// Incident is the open one.
type Incident struct {
	ID    string       `json:"id"`
	Stage doctor.Stage `json:"stage"`
	// Hop is where the answer sees the cause, and Cause its name; empty while there is none.
	Hop   string       `json:"hop,omitempty"`
	Cause *doctor.Text `json:"cause,omitempty"`
	// Confidence is how often an answer like this one is right, 0 to 1.
	Confidence float64 `json:"confidence,omitempty"`
}

// Pile is work that waits.
type Pile struct {
	Items int64 `json:"items"`
	// Value by asset in the smallest unit.
	Value map[string]string `json:"value"`
	// Oldest is since when the oldest waits.
	Oldest *time.Time `json:"oldest,omitempty"`
}

// Hop is one station or channel.
type Hop struct {
	Name  string      `json:"name"`
	Kind  doctor.Kind `json:"kind"`
	State State       `json:"state"`
	Since time.Time   `json:"since"`
	// Why is a sentence; nil while it is fine.
	Why *doctor.Text `json:"why,omitempty"`
	// HeardAt is the newest word on it; nil: none ever.
	HeardAt *time.Time `json:"heard_at,omitempty"`
	// In and Out are payments a second, over the last ten seconds; nil where none are
	// counted.
	In  *float64 `json:"in_s,omitempty"`
	Out *float64 `json:"out_s,omitempty"`
	// Pile waits for the hop; Held waits there for a payer, a holder or a person.
	Pile *Pile `json:"waits,omitempty"`
	Held int64 `json:"held,omitempty"`
	// Overdue is how much of the pile is past its deadline, Due the earliest deadline.
	Overdue int64      `json:"overdue,omitempty"`
	Due     *time.Time `json:"due,omitempty"`
	// UsualS is the longest that work stayed of late, in seconds.
	UsualS float64 `json:"usual_s,omitempty"`
	// Lanes are the same by channel, where a hop keeps work of several.
	Lanes []Lane `json:"lanes,omitempty"`
	// Paused are the levers that hold it.
	Paused []Pause `json:"paused,omitempty"`
	Alarms []Alarm `json:"alarms,omitempty"`
	// Figures are what its signals said last, by name.
	Figures map[string]float64 `json:"figures,omitempty"`

	usual, stuck time.Duration
}

// Lane is a hop's work for one channel.
type Lane struct {
	Channel string  `json:"channel"`
	Pile    Pile    `json:"waits"`
	In      float64 `json:"in_s"`
	Out     float64 `json:"out_s"`
	Overdue int64   `json:"overdue,omitempty"`
	Paused  bool    `json:"paused,omitempty"`
}

// Pause is a lever that holds.
type Pause struct {
	By     string `json:"by"`
	Aim    string `json:"aim"`
	Lever  string `json:"lever"`
	Owner  string `json:"owner"`
	Reason string `json:"reason"`
}

// Alarm is a broken invariant.
type Alarm struct {
	Rule  doctor.Rule `json:"rule"`
	Since time.Time   `json:"since"`
	Page  bool        `json:"page"`
	Says  doctor.Text `json:"says"`
}

// Flow is how many payments a second go from one hop to another.
type Flow struct {
	From string  `json:"from"`
	To   string  `json:"to"`
	Per  float64 `json:"per_s"`
}

// HopFinal is where the river ends: payments that are final.
const HopFinal = "final"

// In is what a map is made of.
type In struct {
	Now      time.Time
	Evidence *doctor.Evidence // nil: nothing was seen yet
	Standing *doctor.Standing // nil: nothing was counted yet
	Alarms   []doctor.Alarm
	Incident string
	Stage    doctor.Stage
	Answer   *doctor.Answer
	// Say gives the sentence of a code.
	Say func(lang, code string, args []string) string
}

// shown are the hops in the order of the road; channels stand between dispatch and
// callbacks, by name.
var shown = []string{
	doctor.HopAPI, doctor.HopServe, doctor.HopDecider, doctor.HopDispatch, doctor.HopTimer, doctor.HopCallbacks, doctor.HopSettle,
	doctor.HopHolder, doctor.HopOperator, doctor.HopRecon, doctor.HopWebhooks, doctor.HopPostgres,
}

// figures are the signals that a hop's panel shows, by name.
var figures = map[doctor.Signal]bool{
	doctor.Latency: true, doctor.Rate: true, doctor.Errors: true, doctor.Busy: true, doctor.BreakerOpen: true, doctor.Up: true,
	doctor.Callbacks: true, doctor.CallbackBacklog: true, doctor.CallbackAge: true, doctor.TimerLate: true, doctor.UnknownItems: true,
	doctor.PGConnect: true, doctor.PGConnections: true, doctor.PGCommits: true, doctor.MoneyOff: true, doctor.Refused: true,
	doctor.Timeouts: true, doctor.Declines: true, doctor.Unreachable: true, doctor.NoCallbacks: true, doctor.PoolBusy: true,
}

// builder makes one map.
type builder struct {
	in      In
	counted bool // the standing says what is so now
	hops    map[string]*Hop
	checked *float64
	off     float64 // findings of the checks and severe breaks
	offTold int     // how many of the signals on money were heard
}

// Build makes the map of a moment. Since of its states is Now: a Keeper knows better.
func Build(in In) *Map {
	b := &builder{in: in, hops: map[string]*Hop{}}
	b.counted = in.Standing != nil && in.Now.Sub(in.Standing.At) <= countedWithin
	m := &Map{At: in.Now.UTC(), Hops: []Hop{}, Flows: []Flow{}}
	b.read()
	if b.counted {
		b.count()
	}
	for i := range in.Alarms {
		b.alarm(&in.Alarms[i])
	}
	m.Incident = b.incident()
	m.Money = b.money()
	for _, name := range b.order() {
		h := b.hops[name]
		b.judge(h)
		m.Hops = append(m.Hops, *h)
	}
	m.State, m.Since = worst(m.Hops), m.At
	if b.counted {
		m.Open = b.open()
		m.Flows = b.flows()
	}
	m.Sentence = b.sentence(m)
	return m
}

func worst(hops []Hop) State {
	w := Fine
	if len(hops) == 0 {
		return Unknown
	}
	for i := range hops {
		if slices.Index(worse, hops[i].State) > slices.Index(worse, w) {
			w = hops[i].State
		}
	}
	return w
}

func (b *builder) order() []string {
	out := []string{}
	var channels []string
	for name, h := range b.hops {
		if h.Kind == doctor.Channel {
			channels = append(channels, name)
		}
	}
	slices.Sort(channels)
	for _, name := range shown {
		if b.hops[name] != nil {
			out = append(out, name)
		}
		if name == doctor.HopDispatch {
			out = append(out, channels...)
		}
	}
	return out
}

func (b *builder) at(name string, kind doctor.Kind) *Hop {
	h := b.hops[name]
	if h == nil {
		h = &Hop{Name: name, Kind: kind}
		b.hops[name] = h
	}
	return h
}

// read takes what the signals say.
func (b *builder) read() {
	e := b.in.Evidence
	if e == nil {
		return
	}
	for _, h := range e.Hops {
		if slices.Contains(shown, h.Name) || h.Kind == doctor.Channel {
			b.at(h.Name, h.Kind)
		}
	}
	for i := range e.Readings {
		if r := &e.Readings[i]; r.Peer == "" && r.Newest != nil && b.hops[r.Hop] != nil {
			b.reading(r)
		}
	}
}

func (b *builder) reading(r *doctor.Reading) {
	h, age := b.hops[r.Hop], b.in.Now.Sub(*r.Newest)
	if r.Signal == doctor.Silence && strings.HasPrefix(r.Statistic, "collector ") {
		return // that nobody is heard is no word of the hop
	}
	if h.HeardAt == nil || r.Newest.After(*h.HeardAt) {
		at := r.Newest.UTC()
		h.HeardAt = &at
	}
	if age > heardWithin {
		return
	}
	switch {
	case r.Signal == doctor.Paused && r.Last > 0:
		h.Paused = append(h.Paused, Pause{By: r.Detail["by"], Aim: r.Detail["aim"], Lever: r.Detail["lever"], Owner: r.Detail["owner"], Reason: r.Detail["reason"]})
	case r.Signal == doctor.Checked:
		s := r.Last + age.Seconds()
		b.checked = &s
	case r.Signal == doctor.MoneyOff, r.Signal == doctor.Imbalance:
		b.off += r.Last
		b.offTold++
	}
	if figures[r.Signal] {
		if h.Figures == nil {
			h.Figures = map[string]float64{}
		}
		name := string(r.Signal)
		if r.Statistic != "" {
			name += " " + r.Statistic
		}
		h.Figures[name] = round(r.Last)
	}
}

// count takes what was counted at each place.
func (b *builder) count() {
	for i := range b.in.Standing.Lanes {
		l := &b.in.Standing.Lanes[i]
		kind := doctor.Queue
		if h := b.hops[l.Hop]; h != nil {
			kind = h.Kind
		} else if !slices.Contains(shown, l.Hop) {
			kind = doctor.Channel
		}
		h := b.at(l.Hop, kind)
		if l.Hop == doctor.HopHolder || l.Hop == doctor.HopOperator {
			at := b.in.Standing.At
			h.HeardAt = &at
		}
		b.lane(h, l)
	}
}

func (b *builder) lane(h *Hop, l *doctor.Lane) {
	if h.Pile == nil {
		h.Pile, h.In, h.Out = &Pile{Value: map[string]string{}}, new(float64), new(float64)
	}
	*h.In, *h.Out = round(*h.In+l.In), round(*h.Out+l.Out)
	h.Pile.add(l)
	h.Held += l.Held
	h.Overdue += l.Overdue
	if !l.Due.IsZero() && (h.Due == nil || l.Due.Before(*h.Due)) {
		due := l.Due
		h.Due = &due
	}
	h.usual, h.stuck = max(h.usual, l.Usual), max(h.stuck, l.Stuck)
	h.UsualS = h.usual.Seconds()
	if l.Channel != "" && h.Name != doctor.HopDecider && (l.Waiting > 0 || l.In > 0 || l.Out > 0 || l.Paused) {
		lane := Lane{Channel: l.Channel, Pile: Pile{Value: map[string]string{}}, In: round(l.In), Out: round(l.Out), Overdue: l.Overdue, Paused: l.Paused}
		lane.Pile.add(l)
		h.Lanes = append(h.Lanes, lane)
	}
}

func (p *Pile) add(l *doctor.Lane) {
	p.Items += l.Waiting
	for asset, v := range l.Value {
		p.Value[asset] = plus(p.Value[asset], v)
	}
	if !l.Oldest.IsZero() && (p.Oldest == nil || l.Oldest.Before(*p.Oldest)) {
		at := l.Oldest
		p.Oldest = &at
	}
}

// plus adds decimal digits; what is none counts as nothing.
func plus(a, b string) string {
	x, ok := new(big.Int).SetString(cmp.Or(a, "0"), 10)
	if !ok {
		return b
	}
	y, ok := new(big.Int).SetString(cmp.Or(b, "0"), 10)
	if !ok {
		return a
	}
	return x.Add(x, y).String()
}

func (b *builder) alarm(a *doctor.Alarm) {
	name := a.Hop
	if name == doctor.HopClient { // what a canary misses is missed at the edge
		name = doctor.HopAPI
	}
	h := b.hops[name]
	if h == nil {
		return
	}
	out := Alarm{Rule: a.Rule, Since: a.Since.UTC(), Page: a.Page, Says: doctor.Text{EN: a.Says, ZH: a.Says}}
	if b.in.Say != nil {
		out.Says = doctor.Text{EN: b.in.Say("en", a.Code, a.Args), ZH: b.in.Say("zh", a.Code, a.Args)}
	}
	h.Alarms = append(h.Alarms, out)
}

func (b *builder) incident() *Incident {
	if b.in.Incident == "" {
		return nil
	}
	out := &Incident{ID: b.in.Incident, Stage: b.in.Stage}
	if a := b.in.Answer; a != nil && a.Verdict == doctor.CauseFound && len(a.Ranked) > 0 {
		out.Hop, out.Cause, out.Confidence = a.Ranked[0].Node, a.Ranked[0].Name, a.Confidence.Probability
	}
	return out
}

// judge says how a hop does.
func (b *builder) judge(h *Hop) {
	h.Since = b.in.Now.UTC()
	h.State = Fine
	say := func(s State, why doctor.Text) { h.State, h.Why = s, &why }
	paging := slices.IndexFunc(h.Alarms, func(a Alarm) bool { return a.Page })
	switch {
	case paging >= 0:
		say(Stalled, h.Alarms[paging].Says)
	case h.Name == doctor.HopServe && shut(h):
		say(Stalled, textf("serve does not answer", "serve 没有应答"))
	case h.Name == doctor.HopPostgres && !b.counted && shut(h):
		say(Stalled, textf("the database does not answer", "数据库没有应答"))
	case h.HeardAt == nil:
		say(Unknown, textf("nothing was heard of it yet", "尚未收到任何信息"))
	case b.in.Now.Sub(*h.HeardAt) > heardWithin:
		say(Unknown, textf("nothing was heard of it since %s", "自 %s 起没有收到任何信息", clockOf(*h.HeardAt)))
		h.Since = *h.HeardAt
	case keepsWork(h) && !b.counted:
		say(Unknown, textf("what waits here cannot be counted: the database does not tell", "无法统计此处的等待数:数据库没有应答"))
	case h.Overdue > 0:
		say(Waiting, textf("%s past the deadline", "%s已过期限", en(count(h.Overdue, "payment is", "payments are")), zh(h.Overdue)))
	case h.stuck > max(slackLeast, slackTimes*h.usual):
		say(Waiting, textf("the oldest waits for %s, longer than usual", "最早的一笔已等待 %s,比平时久", age(h.stuck, "en"), age(h.stuck, "zh")))
	case h.Pile != nil && len(h.Paused) > 0:
		p := h.Paused[0]
		say(Waiting, textf("held back on purpose by %s (%s): %s", "由 %s 主动暂停(%s):%s", cmp.Or(p.Owner, "-"), p.Aim, p.Reason))
	case h.Figures[string(doctor.BreakerOpen)] > 0:
		say(Waiting, textf("our breaker for it is open: nothing new is sent", "熔断已打开:不再发送新的支付"))
	case len(h.Alarms) > 0:
		say(Waiting, h.Alarms[0].Says)
	}
}

// round leaves four decimals: more say nothing and cost bytes.
func round(v float64) float64 { return math.Round(v*1e4) / 1e4 }

func has(m map[string]float64, k string) bool { _, ok := m[k]; return ok }

// keepsWork says that payments sit at the hop.
func keepsWork(h *Hop) bool {
	return h.Kind == doctor.Channel || slices.Contains([]string{doctor.HopDecider, doctor.HopDispatch, doctor.HopSettle}, h.Name)
}

func (b *builder) open() *Pile {
	p := &Pile{Value: map[string]string{}}
	for i := range b.in.Standing.Lanes {
		p.add(&b.in.Standing.Lanes[i])
	}
	return p
}

// flows joins the counters of neighbours: what left one for the other.
func (b *builder) flows() []Flow {
	var out []Flow
	add := func(from, to string, per float64) { out = append(out, Flow{from, to, round(max(per, 0))}) }
	var dispatched, direct, viaChannel float64
	sent, unknown := map[string]float64{}, map[string]float64{}
	for i := range b.in.Standing.Lanes {
		l := &b.in.Standing.Lanes[i]
		switch l.Hop {
		case doctor.HopDispatch:
			dispatched += l.In
			sent[l.Channel] += l.Out
		case doctor.HopSettle:
			unknown[l.Channel] += l.In
		}
	}
	asked := 0.0
	for _, h := range b.hops {
		if h.Kind == doctor.Channel && h.In != nil {
			viaChannel += max(*h.In-sent[h.Name], 0) // announced there, not sent by us
		}
	}
	if api := b.hops[doctor.HopAPI]; api != nil {
		asked = api.Figures[string(doctor.Rate)+" payments"]
	}
	add(doctor.HopAPI, doctor.HopDecider, asked)
	add(doctor.HopDecider, doctor.HopDispatch, dispatched)
	if direct = asked - dispatched - viaChannel; direct > 0 {
		add(doctor.HopDecider, HopFinal, direct)
	}
	answered := 0.0
	for _, name := range b.order() {
		h := b.hops[name]
		if h.Kind != doctor.Channel || h.In == nil {
			continue
		}
		add(doctor.HopDispatch, name, sent[name])
		add(name, doctor.HopSettle, unknown[name])
		add(name, doctor.HopCallbacks, *h.Out-unknown[name])
		answered += max(*h.Out-unknown[name], 0)
	}
	add(doctor.HopCallbacks, HopFinal, answered)
	if s := b.hops[doctor.HopSettle]; s != nil && s.Out != nil {
		add(doctor.HopSettle, HopFinal, *s.Out)
	}
	return out
}
