package tell

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/moneta-pay/moneta/doctor"
)

// Moment is what the live screen shows: what the watch says now, what waits at each hop,
// and what the journal has of the incident that is open.
type Moment struct {
	Lang string
	At   time.Time
	// Blind says why nothing is known of now; what the journal has is shown all the same.
	Blind string
	// SeenAt is when what is shown was seen.
	SeenAt time.Time
	Alarms []doctor.Alarm
	Answer *doctor.Answer
	Hops   []Waits
	// Source is the incident that is open, or the last one that was; nil when none was.
	Source *Source
}

// Waits is what waits at one hop.
type Waits struct {
	Hop   string
	Kind  doctor.Kind
	Items float64
	// OldestS is the age of the oldest in seconds, Value its worth where somebody tells it.
	OldestS float64
	Value   string
	// Known is set when the hop tells that, and lately; Heard when it tells anything.
	Known, Heard bool
}

// WaitsOf reads what waits at each hop from an evidence, along the road.
func WaitsOf(e *doctor.Evidence) []Waits {
	var out []Waits
	for _, h := range e.Hops {
		w := Waits{Hop: h.Name, Kind: h.Kind}
		for i := range e.Readings {
			r := &e.Readings[i]
			if r.Hop != h.Name || r.Peer != "" {
				continue
			}
			p := r.Presence(e.TakenAt)
			live := p == doctor.Present || p == doctor.New
			w.Heard = w.Heard || live
			if r.Signal == doctor.Waiting || r.Signal == doctor.CallbackBacklog {
				w.Items, w.Known = max(w.Items, r.Last), w.Known || live
			}
			if r.Signal == doctor.OldestAge || r.Signal == doctor.CallbackAge {
				w.OldestS = max(w.OldestS, r.Last)
			}
		}
		out = append(out, w)
	}
	road, _ := doctor.Road()
	place := func(w Waits) int {
		if i := slices.IndexFunc(road, func(h doctor.Hop) bool { return h.Name == w.Hop }); i >= 0 {
			return i
		}
		return len(road)
	}
	slices.SortStableFunc(out, func(a, b Waits) int { return cmp.Compare(place(a), place(b)) })
	return out
}

// Style is how a line of the screen is to stand out.
type Style int

// The styles.
const (
	Plain Style = iota
	Title
	Bad
	Good
	Faint
)

// Row is one line of the screen.
type Row struct {
	Text  string
	Style Style
}

// Screen is what fits width and height, such as 80 and 24: no line is wider, there are
// never more of them, and what matters most comes first.
func (m *Moment) Screen(width, height int) []Row {
	width, height = max(width, 20), max(height, 6)
	s := screen{width: width}
	s.add(Title, m.headline())
	for _, l := range wrap(m.Sentence(), width) {
		style := Bad
		switch {
		case m.Blind == "" && len(m.Alarms) == 0:
			style = Good
		case m.Blind == "" && !m.paging():
			style = Plain
		}
		s.add(style, l)
	}
	footer := word(m.Lang, "s-keys")
	room := height - len(s.rows) - 1
	// Each part gets what the parts before it left, the road at most a half.
	s.part(m.road(width), room/2)
	room = height - len(s.rows) - 1
	causes, next := m.causes(width), m.next(width)
	acts := m.acts()
	s.part(causes, max(0, room-len(next)-min(3, len(acts))))
	room = height - len(s.rows) - 1
	s.partLast(acts, max(0, room-len(next)))
	s.part(next, height-len(s.rows)-1)
	for len(s.rows) < height-1 {
		s.add(Plain, "")
	}
	s.rows = s.rows[:height-1]
	s.add(Faint, footer)
	return s.rows
}

type screen struct {
	width int
	rows  []Row
}

func (s *screen) add(style Style, text string) {
	s.rows = append(s.rows, Row{fit(text, s.width), style})
}

// part adds as many rows as there is room for, and none of a part that has but its title.
func (s *screen) part(rows []Row, room int) {
	if len(rows) < 2 || room < 2 {
		return
	}
	for _, r := range rows[:min(len(rows), room)] {
		s.add(r.Style, r.Text)
	}
}

// partLast keeps the title and the newest.
func (s *screen) partLast(rows []Row, room int) {
	if len(rows) > room && room >= 2 {
		rows = append(rows[:1:1], rows[len(rows)-room+1:]...)
	}
	s.part(rows, room)
}

func (m *Moment) headline() string {
	t := "moneta  " + m.At.UTC().Format("15:04:05") + " UTC"
	if m.Source == nil {
		return t
	}
	in := &m.Source.Incident
	furthest := doctor.Detected
	for _, st := range doctor.Stages() {
		if _, ok := in.Stages[st]; ok {
			furthest = st
		}
	}
	until, state := m.At, StageWord(m.Lang, furthest)
	if in.ClosedAt != nil {
		until, state = *in.ClosedAt, word(m.Lang, "s-closed")
	}
	return t + "  " + in.ID + "  " + state + "  " + took(until.Sub(in.Since))
}

// Sentence says in plain words what there is now.
func (m *Moment) Sentence() string {
	d := newDoc(&Source{Lang: m.Lang}, "")
	if m.Blind != "" {
		return plainText(d.w("s-blind", plain(m.Blind)))
	}
	if len(m.Alarms) == 0 {
		if m.Source != nil && m.Source.Incident.ClosedAt == nil {
			return word(m.Lang, "s-quiet-open")
		}
		return word(m.Lang, "s-well")
	}
	// What wakes somebody comes first; the rest are tickets.
	alarms := slices.Clone(m.Alarms)
	slices.SortStableFunc(alarms, func(a, b doctor.Alarm) int {
		switch {
		case a.Page == b.Page:
			return 0
		case a.Page:
			return -1
		}
		return 1
	})
	if !m.paging() {
		return plainText(d.w("s-ticket", plain(alarms[0].Hop), plain(m.alarmSays(&alarms[0]))))
	}
	var where []string
	for i := range alarms {
		if hop := alarms[i].Hop; alarms[i].Page && !slices.Contains(where, hop) {
			where = append(where, hop)
		}
	}
	what := plainText(d.w("s-trouble", plain(strings.Join(where[:min(3, len(where))], ", ")), plain(m.alarmSays(&alarms[0]))))
	a := m.Answer
	switch {
	case a == nil || len(a.Ranked) == 0:
	case a.Verdict == doctor.CauseFound:
		h := &a.Ranked[0]
		what += " " + plainText(d.w("s-cause", plain(h.Node), plain(m.how(h)), plain(percent(h.Posterior))))
	default:
		what += " " + word(m.Lang, "s-no-cause")
	}
	return what
}

// paging says whether an alarm of now wakes somebody.
func (m *Moment) paging() bool {
	return slices.ContainsFunc(m.Alarms, func(a doctor.Alarm) bool { return a.Page })
}

func (m *Moment) alarmSays(a *doctor.Alarm) string {
	if m.Lang == "zh" && m.Source != nil && m.Source.Say != nil && a.Code != "" {
		if t := m.Source.Say(m.Lang, a.Code, a.Args); t != "" && t != a.Code {
			return t
		}
	}
	if a.Says != "" {
		return a.Says
	}
	return string(a.Rule) + " " + string(a.Signal)
}

func (m *Moment) how(h *doctor.Hypothesis) string {
	if h.Name != nil {
		return h.Name.In(m.Lang)
	}
	if m.Source != nil && m.Source.Mechanism != nil {
		if t := m.Source.Mechanism(m.Lang, h.Mechanism); t != "" {
			return t
		}
	}
	return h.Mechanism
}

// road is one line with all hops and their state, and a line for each where work waits.
func (m *Moment) road(width int) []Row {
	if len(m.Hops) == 0 {
		return nil
	}
	rows := []Row{{Text: word(m.Lang, "s-road"), Style: Title}}
	for _, l := range wrap(m.marks(), width-2) {
		rows = append(rows, Row{Text: "  " + l})
	}
	waiting := slices.DeleteFunc(slices.Clone(m.Hops), func(w Waits) bool { return w.Items == 0 && !m.alarmed(w.Hop) })
	slices.SortStableFunc(waiting, func(a, b Waits) int {
		if x, y := m.alarmed(a.Hop), m.alarmed(b.Hop); x != y {
			if x {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.OldestS, a.OldestS)
	})
	for i := range waiting {
		w := &waiting[i]
		style := Plain
		if m.alarmed(w.Hop) {
			style = Bad
		}
		rows = append(rows, Row{Text: m.hopLine(w), Style: style})
	}
	return rows
}

func (m *Moment) alarmed(hop string) bool {
	return slices.ContainsFunc(m.Alarms, func(a doctor.Alarm) bool { return a.Hop == hop })
}

// marks are the hops along the road: + moves, ! an invariant is broken there, ? nobody
// tells. Channels that are well stand together.
func (m *Moment) marks() string {
	var out []string
	channels := 0
	for _, h := range m.Hops {
		mark := "+"
		switch {
		case m.alarmed(h.Hop):
			mark = "!"
		case h.Kind == doctor.Channel:
			channels++
			continue
		case !h.Heard:
			mark = "·"
		}
		out = append(out, mark+h.Hop)
	}
	if channels > 0 {
		out = append(out, fmt.Sprintf("+%s(%d)", word(m.Lang, "s-channels"), channels))
	}
	return strings.Join(out, " ")
}

const barMost = 20

func (m *Moment) hopLine(w *Waits) string {
	most := 1.0
	for i := range m.Hops {
		most = max(most, m.Hops[i].Items)
	}
	said := word(m.Lang, "s-not-told")
	if w.Known {
		said = fmt.Sprintf("%6.0f  %s", w.Items, took(time.Duration(w.OldestS*float64(time.Second))))
		if w.Value != "" {
			said += "  " + w.Value
		}
	}
	return "  " + pad(w.Hop, 14) + pad(bar20(w.Items/most), barMost+1) + said
}

func bar20(share float64) string {
	n := int(min(1, max(0, share))*barMost + .5)
	if n == 0 && share > 0 {
		n = 1
	}
	return strings.Repeat("█", n)
}

// causes are the ranked ones as bars.
func (m *Moment) causes(int) []Row {
	a := m.Answer
	if a == nil || len(a.Ranked) == 0 || len(m.Alarms) == 0 {
		return nil
	}
	rows := []Row{{Text: word(m.Lang, "s-causes"), Style: Title}}
	for i := range a.Ranked[:min(4, len(a.Ranked))] {
		h := &a.Ranked[i]
		node := h.Node
		if node == "" {
			node = "-"
		}
		rows = append(rows, Row{Text: "  " + pad(node, 14) + pad(bar20(h.Posterior), barMost+1) + pad(percent(h.Posterior), 6) + " " + m.how(h)})
	}
	return rows
}

// acts are what was done and told in the incident, the newest last.
func (m *Moment) acts() []Row {
	if m.Source == nil {
		return nil
	}
	rows := []Row{{Text: word(m.Lang, "s-acts"), Style: Title}}
	for i := range m.Source.Entries {
		e := &m.Source.Entries[i]
		style := Plain
		switch e.What {
		case doctor.EntryDone, doctor.EntryTold, doctor.EntryWaits, doctor.EntryApproved, doctor.EntryNote, doctor.EntryFollowUp:
		case doctor.EntryFailed:
			style = Bad
		case doctor.EntryProof, doctor.EntryClosed:
			style = Good
		default:
			continue
		}
		rows = append(rows, Row{Text: "  " + e.At.UTC().Format("15:04:05") + " " + Line(m.Source, e), Style: style})
	}
	return rows
}

// next is what comes next: what waits for people first, then the best check.
func (m *Moment) next(int) []Row {
	rows := []Row{{Text: word(m.Lang, "s-next"), Style: Title}}
	if m.Source != nil && m.Source.Incident.ClosedAt == nil {
		for i := range m.Source.Incident.Waiting {
			w := &m.Source.Incident.Waiting[i]
			rows = append(rows, Row{Text: "  " + plainText(newDoc(&Source{Lang: m.Lang}, "").w("s-approve", plain(w.Act.ID), does(&w.Act))), Style: Bad})
		}
	}
	if m.Answer != nil && len(m.Alarms) > 0 && len(m.Answer.NextChecks) > 0 {
		c := &m.Answer.NextChecks[0]
		ask := c.Ask
		if m.Lang == "zh" && c.AskZH != "" {
			ask = c.AskZH
		}
		rows = append(rows, Row{Text: "  " + c.Node + ": " + ask})
	}
	return rows[:min(len(rows), 4)]
}

// Cells is how many columns a text takes on a terminal: the signs of Chinese and their
// punctuation take two.
func Cells(text string) int {
	n := 0
	for _, r := range text {
		n += cells(r)
	}
	return n
}

func cells(r rune) int {
	switch {
	case unicode.Is(unicode.Mn, r), unicode.IsControl(r):
		return 0
	case r >= 0x1100 && (r <= 0x115f || (r >= 0x2e80 && r <= 0xa4cf) || (r >= 0xac00 && r <= 0xd7a3) ||
		(r >= 0xf900 && r <= 0xfaff) || (r >= 0xfe30 && r <= 0xfe6f) || (r >= 0xff00 && r <= 0xff60) || (r >= 0xffe0 && r <= 0xffe6) || (r >= 0x1f300 && r <= 0x1faff) || (r >= 0x20000 && r <= 0x3fffd)):
		return 2
	}
	return 1
}

// fit cuts a text at the width, and says so with an ellipsis.
func fit(text string, width int) string {
	text = clean(text)
	if Cells(text) <= width {
		return text
	}
	n := 0
	for i, r := range text {
		if n += cells(r); n > width-1 {
			return text[:i] + "…"
		}
	}
	return text
}

// clean takes out what would move the cursor: texts come from logs and other people.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, text)
}

func pad(text string, width int) string {
	text = fit(text, width)
	return text + strings.Repeat(" ", max(0, width-Cells(text)))
}

// wrap breaks a text into lines of the width, at spaces where there are any.
func wrap(text string, width int) []string {
	var out []string
	line, n := "", 0
	flush := func() {
		if line != "" {
			out = append(out, strings.TrimRight(line, " "))
		}
		line, n = "", 0
	}
	for _, w := range strings.SplitAfter(clean(text), " ") {
		if n > 0 && n+Cells(strings.TrimRight(w, " ")) > width {
			flush()
		}
		for _, r := range w {
			if n+cells(r) > width {
				flush()
			}
			if n == 0 && r == ' ' {
				continue
			}
			line, n = line+string(r), n+cells(r)
		}
	}
	flush()
	return out
}
