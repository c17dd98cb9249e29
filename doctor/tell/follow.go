package tell

import (
	"slices"
	"strconv"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// eight answers the eight steps of an investigation (SOP-04) from what was recorded.
func (d *Doc) eight() {
	d.head(2, "pm-eight")
	s := d.s
	last := s.Entries[len(s.Entries)-1].Seq
	e, h, found := s.leading()
	rows := []row{{d.w("step-evidence"), d.w("step-evidence-a", d.f(last, "count:evidence|int"), d.f(last, "count:alarm|int"), code("moneta diagnose --replay FILE"))}}
	rows = append(rows, row{d.w("step-monitoring"), d.seen(doctor.Service, doctor.Gateway)})
	trace := d.w("step-not")
	if found && h.Explains > 0 {
		hop, _ := d.hypothesis(e, &h, "data.ranked.0")
		trace = d.w("step-trace-a", hop, d.f(e.Seq, "data.ranked.0.explains|percent"))
	}
	rows = append(rows,
		row{d.w("step-trace"), trace},
		row{d.w("step-queues"), d.seen(doctor.Queue, doctor.Relay, doctor.Cache, doctor.Webhook, doctor.Projection)},
		row{d.w("step-database"), d.seen(doctor.Database)},
		row{d.w("step-third"), d.seen(doctor.Channel, doctor.Remote)},
		row{d.w("step-client"), d.clients()},
		row{d.w("step-fix"), d.w("step-fix-a", d.f(last, "count:done|int"), d.f(last, "count:failed|int"), d.f(last, "count:skipped|int"))},
	)
	d.table([]string{"h-step", "h-answer"}, rows)
}

// seen are the lines of evidence about hops of these kinds, the weightiest three.
func (d *Doc) seen(kinds ...doctor.Kind) cell {
	e, _, ok := d.s.leading()
	if !ok {
		if e = d.s.last(doctor.EntryAnswer); e == nil {
			return d.w("step-not")
		}
	}
	a := data[doctor.Answer](e)
	of := d.s.kinds()
	var out cell
	n := 0
	for _, side := range []struct {
		path  string
		lines []doctor.Line
	}{{"data.evidence.for.", a.Evidence.For}, {"data.evidence.against.", a.Evidence.Against}} {
		for i := range side.lines {
			l := &side.lines[i]
			if n == 3 || !slices.Contains(kinds, of[l.Node]) {
				continue
			}
			if n++; n > 1 {
				out = append(out, span{text: " · "})
			}
			out = append(append(append(out, code(l.Node)...), span{text: ": "}), d.f(e.Seq, side.path+strconv.Itoa(i)+"|says")...)
		}
	}
	if n == 0 {
		return d.w("step-not")
	}
	return out
}

func (d *Doc) clients() cell {
	e, _, ok := d.s.leading()
	if !ok {
		e = d.s.last(doctor.EntryAnswer)
	}
	if e == nil {
		return d.w("step-not")
	}
	return d.scope(e)
}

// late is how long a trouble may go unnoticed without a follow-up: the goal for a full
// stall, see the goals of detection in docs/diagnosis.md.
const late = 10 * time.Second

// followUp is one that the entries ask for, by a name that stays.
type followUp struct {
	id   string
	text cell
	// owner is whose it is while nobody has taken it; empty is nobody's.
	owner string
}

// followUps are the short, middle and long ones (SOP-08), as far as the entries ask for
// them, and those that people wrote down; people name the owners and the days.
func (d *Doc) followUps() {
	d.head(2, "pm-follow")
	for _, part := range d.toFollow() {
		if len(part.all) == 0 {
			continue
		}
		d.head(3, part.key)
		var points []cell
		for _, f := range part.all {
			u := d.s.followed(f.id)
			points = append(points, append(append(box(u.Done), f.text...), d.owned(&u, f.owner)...))
		}
		d.list(points)
	}
}

// toFollow are all of them by when they are due.
func (d *Doc) toFollow() []struct {
	key string
	all []followUp
} {
	short, mid, long := d.followShort(), d.followMid(), d.followLong()
	asked := map[string]bool{}
	for _, f := range slices.Concat(short, mid, long) {
		asked[f.id] = true
	}
	var added []followUp
	for i := range d.s.Incident.FollowUps {
		u := &d.s.Incident.FollowUps[i]
		switch {
		case asked[u.ID]:
		case d.s.entry(u.Seq) == nil:
			added = append(added, followUp{id: u.ID, text: code(u.Text)})
		default:
			added = append(added, followUp{id: u.ID, text: d.f(u.Seq, "data.text|text")})
		}
	}
	return []struct {
		key string
		all []followUp
	}{{"f-short", short}, {"f-mid", mid}, {"f-long", long}, {"f-added", added}}
}

// followed is what was said last of a follow-up; nothing: nobody took it.
func (s *Source) followed(id string) doctor.Followed {
	for i := range s.Incident.FollowUps {
		if u := &s.Incident.FollowUps[i]; u.ID == id {
			return *u
		}
	}
	return doctor.Followed{}
}

// owned says whose a follow-up is, and by which day.
func (d *Doc) owned(u *doctor.Followed, before string) cell {
	// said is what its newest line says, or the same in words when that line is gone.
	said := func(path, now string) cell {
		if d.s.entry(u.Seq) == nil {
			return code(now)
		}
		return d.f(u.Seq, path+"|text")
	}
	var out cell
	switch {
	case u.Owner != "":
		out = d.w("f-owned", said("data.owner", u.Owner))
	case before != "":
		out = d.w("f-owned", code(before))
	default:
		out = d.w("f-owner")
	}
	switch {
	case u.Due == "":
	case u.Overdue(d.s.Now):
		out = append(out, d.w("f-overdue", said("data.due", u.Due))...)
	default:
		out = append(out, d.w("f-due", said("data.due", u.Due))...)
	}
	return out
}

func (d *Doc) followShort() []followUp {
	s := d.s
	var out []followUp
	for _, e := range s.held() {
		x := data[doctor.Done](e)
		out = append(out, followUp{id: numbered("f-undo", e.Seq), text: d.w("f-undo", does(&x.Act), d.f(e.Seq, "seq|int"))})
	}
	for _, w := range s.Incident.Waiting {
		for _, e := range s.of(doctor.EntryWaits) {
			if x := data[doctor.Done](e); x.Act.ID == w.Act.ID {
				out = append(out, followUp{id: numbered("f-waits", e.Seq), text: d.w("f-waits", does(&x.Act), d.f(e.Seq, "seq|int"))})
				break
			}
		}
	}
	if c, e := s.Incident.Closing, s.last(doctor.EntryClosed); c != nil && e != nil {
		for i, b := range c.Breaks {
			out = append(out, followUp{numbered("f-break", uint64(i)), d.w("f-break", d.f(e.Seq, "data.breaks."+strconv.Itoa(i)+"|text")), c.Owners[b]})
		}
	}
	if p := s.Incident.Proof; p == nil || !p.Clean {
		out = append(out, followUp{id: "f-prove", text: d.w("f-prove")})
	}
	if !s.toldTheEnd() {
		out = append(out, followUp{id: "f-tell", text: d.w("f-tell")})
	}
	return append(out, followUp{id: "f-post", text: d.w("f-post")})
}

func numbered(key string, n uint64) string { return key + "-" + strconv.FormatUint(n, 10) }

// held are the levers that were pulled and not let go, as far as the entries tell.
func (s *Source) held() []*doctor.Entry {
	var out []*doctor.Entry
	same := func(a, b doctor.Act) bool {
		return a.Aim == b.Aim && a.With["lever"] == b.With["lever"] && a.With["aim"] == b.With["aim"]
	}
	for _, e := range s.of(doctor.EntryDone) {
		x := data[doctor.Done](e)
		if x.Change.Nothing {
			continue
		}
		switch x.Act.Do {
		case doctor.DoLever:
			out = append(out, e)
		case doctor.DoUndoLever:
			out = slices.DeleteFunc(out, func(p *doctor.Entry) bool {
				pulled := data[doctor.Done](p)
				return same(pulled.Act, x.Act) || x.Act.With["act"] != "" && x.Act.With["act"] == pulled.Act.ID || (pulled.Change.Undo != nil && pulled.Change.Undo.ID == x.Act.ID)
			})
		}
	}
	return out
}

// toldTheEnd says whether holders heard something after it was repaired, if they heard
// anything at all.
func (s *Source) toldTheEnd() bool {
	at, repaired := s.Incident.Stages[doctor.Repaired]
	all := s.toHolders()
	for _, e := range all {
		if repaired && !e.At.Before(at) {
			return true
		}
	}
	return len(all) == 0
}

func (d *Doc) followMid() []followUp {
	s := d.s
	var out []followUp
	if opened := s.stage(doctor.Detected); opened != nil && opened.At.Sub(s.Incident.Since) > late {
		out = append(out, followUp{id: "f-late", text: d.w("f-late", d.after(opened))})
	}
	for _, e := range s.of(doctor.EntryFailed) {
		x := data[doctor.Done](e)
		out = append(out, followUp{id: numbered("f-failed", e.Seq), text: d.w("f-failed", does(&x.Act), d.f(e.Seq, "seq|int"), d.reason(e, &x))})
	}
	e, _, found := s.leading()
	if first := d.firstCause(); found && first != nil && answerKey(first) != answerKey(e) {
		out = append(out, followUp{id: "f-wrong", text: d.w("f-wrong")})
	}
	if !found {
		out = append(out, followUp{id: "f-unknown", text: d.w("f-unknown")})
	}
	if c, ok := s.cause(); ok {
		if c.Alert.Name != "" {
			out = append(out, followUp{id: "f-alert", text: d.w("f-alert", code(c.Alert.Name))})
		}
		for _, drill := range c.Drills[:min(1, len(c.Drills))] {
			out = append(out, followUp{id: "f-drill", text: d.w("f-drill", code("moneta drill run "+drill))})
		}
	}
	return out
}

func (d *Doc) followLong() []followUp {
	var out []followUp
	if c, ok := d.s.cause(); ok && len(c.HotFix) > 0 {
		out = append(out, followUp{id: "f-keep", text: d.w("f-keep", d.fromCause(c.ID, "hot_fix."+strconv.Itoa(len(c.HotFix)-1)))})
	}
	return append(out, followUp{id: "f-review", text: d.w("f-review")})
}

// todo is a point that somebody ticks off.
func todo(c cell) cell { return append(box(false), c...) }

func box(done bool) cell {
	if done {
		return cell{{text: "[x] ", box: true}}
	}
	return cell{{text: "[ ] ", box: true}}
}
