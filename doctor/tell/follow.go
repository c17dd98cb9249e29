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

// followUps are the short, middle and long ones (SOP-08), as far as the entries ask for
// them; people name the owners.
func (d *Doc) followUps() {
	d.head(2, "pm-follow")
	owner := d.w("f-owner")
	d.head(3, "f-short")
	d.list(d.followShort(owner))
	d.head(3, "f-mid")
	d.list(d.followMid(owner))
	d.head(3, "f-long")
	d.list(d.followLong(owner))
}

func (d *Doc) followShort(owner cell) []cell {
	s := d.s
	var out []cell
	for _, e := range s.held() {
		x := data[doctor.Done](e)
		out = append(out, todo(d.w("f-undo", does(&x.Act), d.f(e.Seq, "seq|int"), owner)))
	}
	for _, w := range s.Incident.Waiting {
		for _, e := range s.of(doctor.EntryWaits) {
			if x := data[doctor.Done](e); x.Act.ID == w.Act.ID {
				out = append(out, todo(d.w("f-waits", does(&x.Act), d.f(e.Seq, "seq|int"), owner)))
				break
			}
		}
	}
	if c, e := s.Incident.Closing, s.last(doctor.EntryClosed); c != nil && e != nil {
		for i, b := range c.Breaks {
			out = append(out, todo(d.w("f-break", d.f(e.Seq, "data.breaks."+strconv.Itoa(i)+"|text"), code(c.Owners[b]))))
		}
	}
	if p := s.Incident.Proof; p == nil || !p.Clean {
		out = append(out, todo(d.w("f-prove", owner)))
	}
	if !s.toldTheEnd() {
		out = append(out, todo(d.w("f-tell", owner)))
	}
	return append(out, todo(d.w("f-post", owner)))
}

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

func (d *Doc) followMid(owner cell) []cell {
	s := d.s
	var out []cell
	if opened := s.stage(doctor.Detected); opened != nil && opened.At.Sub(s.Incident.Since) > late {
		out = append(out, todo(d.w("f-late", d.after(opened), owner)))
	}
	for _, e := range s.of(doctor.EntryFailed) {
		x := data[doctor.Done](e)
		out = append(out, todo(d.w("f-failed", does(&x.Act), d.f(e.Seq, "seq|int"), d.reason(e, &x), owner)))
	}
	e, _, found := s.leading()
	if first := d.firstCause(); found && first != nil && answerKey(first) != answerKey(e) {
		out = append(out, todo(d.w("f-wrong", owner)))
	}
	if !found {
		out = append(out, todo(d.w("f-unknown", owner)))
	}
	if c, ok := s.cause(); ok {
		if c.Alert.Name != "" {
			out = append(out, todo(d.w("f-alert", code(c.Alert.Name), owner)))
		}
		for _, drill := range c.Drills[:min(1, len(c.Drills))] {
			out = append(out, todo(d.w("f-drill", code("moneta drill run "+drill), owner)))
		}
	}
	return out
}

func (d *Doc) followLong(owner cell) []cell {
	var out []cell
	if c, ok := d.s.cause(); ok && len(c.HotFix) > 0 {
		out = append(out, todo(d.w("f-keep", d.fromCause(c.ID, "hot_fix."+strconv.Itoa(len(c.HotFix)-1)), owner)))
	}
	return append(out, todo(d.w("f-review", owner)))
}

// todo is a point that somebody ticks off.
func todo(c cell) cell { return append(box(false), c...) }

func box(done bool) cell {
	if done {
		return cell{{text: "[x] ", box: true}}
	}
	return cell{{text: "[ ] ", box: true}}
}
