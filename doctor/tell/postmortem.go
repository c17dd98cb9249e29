package tell

import (
	"errors"
	"strconv"
	"strings"

	"github.com/moneta-pay/moneta/doctor"
)

// What a table of a draft shows at most; the journal has all of it.
const (
	timelineMax = 200
	evidenceMax = 12
	rankedMax   = 6
	samplesMax  = 12
)

// errEmpty says that there is nothing to tell.
var errEmpty = errors.New("the incident has no entries")

// PostMortem drafts what is told when it is over, and can be read before.
func PostMortem(s *Source) (*Doc, error) {
	if len(s.Entries) == 0 {
		return nil, errEmpty
	}
	d := newDoc(s, word(s.Lang, "pm-title"))
	newest := s.Entries[len(s.Entries)-1].Seq
	d.text(d.w("pm-head", code(s.Incident.ID), d.f(newest, "seq|int"), d.f(newest, "at|instant")))
	d.short()
	d.overTime()
	d.timeline()
	d.affected()
	d.evidence()
	d.done()
	d.told()
	d.proof()
	d.eight()
	d.followUps()
	d.head(2, "pm-people")
	d.text(d.w("pm-people-why"))
	return d, d.err
}

func (d *Doc) short() {
	s := d.s
	d.head(2, "pm-short")
	if e, h, ok := s.leading(); ok {
		hop, what := d.hypothesis(e, &h, "data.ranked.0")
		d.text(strong(d.w("pm-cause-prob", hop, what, d.f(e.Seq, "data.ranked.0.posterior|percent"), d.f(e.Seq, "data.confidence.probability|percent"))))
		if c, ok := s.cause(); ok {
			d.text(d.fromCause(c.ID, "explains"))
		}
	} else if s.last(doctor.EntryAnswer) != nil {
		d.text(d.w("pm-no-cause"))
	} else {
		d.text(d.w("pm-no-answer"))
	}
	if opened := s.stage(doctor.Detected); opened != nil {
		seq, path := s.began()
		d.text(d.w("pm-began", d.f(seq, path+"|instant"), d.after(opened), d.f(opened.Seq, "data.alarm|says")))
	}
	d.worst()
	d.closing()
	d.head(3, "pm-stages")
	var rows []row
	for _, stage := range doctor.Stages() {
		r := row{plain(word(d.Lang, "stage-"+string(stage))), plain("–"), plain("–")}
		if e := s.stage(stage); e != nil {
			r[1], r[2] = d.f(e.Seq, "at|clock"), d.after(e)
		}
		rows = append(rows, r)
	}
	d.table([]string{"h-stage", "h-when", "h-after"}, rows)
}

// worst is the entry of MoneyMost.
func (d *Doc) worst() {
	most := d.s.Incident.MoneyMost
	for _, e := range d.s.of(doctor.EntryMoney) {
		m := data[doctor.MoneyAtRisk](e)
		if most == nil || m.Items != most.Items || m.OldestS != most.OldestS {
			continue
		}
		items, oldest := d.f(e.Seq, "data.items|int"), d.f(e.Seq, "data.oldest_s|took")
		if len(m.Value) == 0 {
			d.text(d.w("pm-worst-bare", items, oldest))
		} else {
			d.text(d.w("pm-worst", items, oldest, d.f(e.Seq, "data.value|worth")))
		}
		return
	}
	d.text(d.w("pm-no-money"))
}

func (d *Doc) closing() {
	c := d.s.Incident.Closing
	e := d.s.last(doctor.EntryClosed)
	switch {
	case c == nil || e == nil:
		d.text(d.w("pm-open"))
	case c.Clean:
		d.text(d.w("pm-closed", d.f(e.Seq, "at|instant"), d.after(e)))
	default:
		d.text(d.w("pm-closed-open", d.f(e.Seq, "at|instant"), d.after(e)))
	}
}

// overTime is the chart, and a sample of its points for whoever reads text.
func (d *Doc) overTime() {
	d.head(2, "pm-over-time")
	if c := newChart(d); c != nil {
		d.blocks = append(d.blocks, block{kind: blockChart, chart: c})
	}
	all := d.s.of(doctor.EntryMoney)
	var rows []row
	for i, e := range all {
		if step := max(1, len(all)/samplesMax); i%step != 0 && i != len(all)-1 {
			continue
		}
		value := plain("–")
		if len(data[doctor.MoneyAtRisk](e).Value) > 0 {
			value = d.f(e.Seq, "data.value|worth")
		}
		rows = append(rows, row{d.f(e.Seq, "at|clock"), d.f(e.Seq, "data.items|int"), d.f(e.Seq, "data.oldest_s|took"), value})
	}
	if len(rows) == 0 {
		d.text(d.w("pm-no-money"))
		return
	}
	d.table([]string{"h-when", "h-items", "h-oldest", "h-worth"}, rows)
}

func (d *Doc) timeline() {
	d.head(2, "pm-timeline")
	d.text(d.w("pm-timeline-tz"))
	var rows []row
	before := ""
	for i := range d.s.Entries {
		e := &d.s.Entries[i]
		if e.What == doctor.EntryMoney || len(rows) >= timelineMax {
			continue
		}
		if e.What == doctor.EntryAnswer {
			key := answerKey(e)
			if key == before {
				continue
			}
			before = key
		}
		rows = append(rows, row{d.f(e.Seq, "at|clock"), d.tells(e)})
	}
	d.table([]string{"h-when", "h-what"}, rows)
	if last := d.s.last(doctor.EntryMoney, doctor.EntryAnswer); last != nil {
		d.text(d.w("pm-more", d.f(last.Seq, "count:money|int"), d.f(last.Seq, "count:answer|int")))
	}
}

// answerKey is what must change for an answer to be news.
func answerKey(e *doctor.Entry) string {
	a := data[doctor.Answer](e)
	key := string(a.Verdict)
	if a.Verdict == doctor.CauseFound && len(a.Ranked) > 0 {
		key += a.Ranked[0].Node + "\x00" + a.Ranked[0].Mechanism
	}
	return key
}

// tells says what one entry tells.
func (d *Doc) tells(e *doctor.Entry) cell {
	switch e.What {
	case doctor.EntryOpened:
		return d.w("t-opened", d.f(e.Seq, "data.alarm|says"))
	case doctor.EntryAlarm, doctor.EntryQuiet:
		return d.w("t-"+e.What, d.f(e.Seq, "data|says"))
	case doctor.EntryEvidence:
		return d.w("t-evidence", code(data[doctor.EvidenceKept](e).File))
	case doctor.EntryAnswer:
		return d.answered(e)
	case doctor.EntryStage:
		return d.w("t-stage", plain(word(d.Lang, "stage-"+string(data[doctor.StageReached](e).Stage))))
	case doctor.EntryTried, doctor.EntryDone, doctor.EntryFailed, doctor.EntrySkipped, doctor.EntryWaits:
		return d.acted(e)
	case doctor.EntryApproved:
		key := "t-approved"
		if !data[doctor.Approval](e).Agreed {
			key = "t-rejected"
		}
		return d.w(key, code(e.Who), d.f(e.Seq, "data.reason|text"))
	case doctor.EntryTold:
		return d.w("t-told", code(data[doctor.Told](e).To), d.f(e.Seq, "data.text."+d.lang()+"|text"))
	case doctor.EntryMoney:
		return d.w("t-money", d.f(e.Seq, "data.items|int"), d.f(e.Seq, "data.oldest_s|took"))
	case doctor.EntryProof:
		if data[doctor.ProofKept](e).Clean {
			return d.w("t-proof")
		}
		return d.w("t-proof-off")
	case doctor.EntryClosed:
		if data[doctor.Closing](e).Clean {
			return d.w("t-closed")
		}
		return d.w("t-closed-breaks")
	case doctor.EntryNote:
		return d.w("t-note", code(e.Who), d.f(e.Seq, "data.text|text"))
	case doctor.EntryFollowUp:
		key := "t-follow_up"
		if data[doctor.FollowUp](e).Done {
			key = "t-followed"
		}
		return d.w(key, code(e.Who), d.f(e.Seq, "data.text|text"), d.owned(&doctor.Followed{FollowUp: data[doctor.FollowUp](e), Seq: e.Seq}, ""))
	case doctor.EntryCollector, doctor.EntryStarted:
		return d.w("t-"+e.What, d.f(e.Seq, "data.text|text"))
	}
	return d.w("t-other", code(e.What))
}

func (d *Doc) lang() string {
	if d.Lang == "zh" {
		return "zh"
	}
	return "en"
}

func (d *Doc) answered(e *doctor.Entry) cell {
	a := data[doctor.Answer](e)
	switch {
	case a.Verdict == doctor.CauseFound && len(a.Ranked) > 0:
		hop, what := d.hypothesis(e, &a.Ranked[0], "data.ranked.0")
		return d.w("t-answer", hop, what, d.f(e.Seq, "data.ranked.0.posterior|percent"))
	case a.Verdict == doctor.NoFault:
		return d.w("t-answer-well")
	}
	return d.w("t-answer-none")
}

func (d *Doc) acted(e *doctor.Entry) cell {
	x := data[doctor.Done](e)
	switch e.What {
	case doctor.EntryTried:
		found := plain("–")
		if x.Change.After != "" {
			found = d.f(e.Seq, "data.change.after|text")
		}
		return d.w("t-tried", does(&x.Act), found)
	case doctor.EntryDone:
		return d.w("t-done", does(&x.Act), code(who(&x, e)))
	case doctor.EntryWaits:
		return d.w("t-waits", does(&x.Act))
	}
	return d.w("t-"+e.What, does(&x.Act), d.reason(e, &x))
}

// does names an act and what it is done to.
func does(a *doctor.Act) cell {
	t := a.Do
	for _, more := range []string{a.With["lever"], a.Aim, a.With["aim"]} {
		if more != "" && !strings.HasSuffix(t, " "+more) {
			t += " " + more
		}
	}
	return code(t)
}

func who(x *doctor.Done, e *doctor.Entry) string {
	if x.Act.By != "" {
		return x.Act.By
	}
	return e.Who
}

func (d *Doc) reason(e *doctor.Entry, x *doctor.Done) cell {
	if x.Error == "" {
		return plain(word(d.Lang, "not-recorded"))
	}
	return d.f(e.Seq, "data.error|text")
}

// affected says who, from the answer that named the cause, else the newest.
func (d *Doc) affected() {
	d.head(2, "pm-affected")
	e, _, ok := d.s.leading()
	if !ok {
		e = d.s.last(doctor.EntryAnswer)
	}
	if e == nil {
		d.text(d.w("nobody"))
		return
	}
	d.text(d.scope(e))
	var points []cell
	for i, c := range data[doctor.Answer](e).Scope.Cohorts {
		path := "data.scope.cohorts." + strconv.Itoa(i)
		points = append(points, d.w("scope-cohort", code(c.Dimension), code(c.Value), d.f(e.Seq, path+".share|percent"), d.f(e.Seq, path+".rest_share|percent")))
	}
	d.list(points)
}

func (d *Doc) scope(e *doctor.Entry) cell {
	sc := data[doctor.Answer](e).Scope
	class := sc.Class
	switch class {
	case "cohort":
		class = "cohort-of"
	case "everyone", "one", "none", "too_few":
	default:
		class = "unknown"
	}
	why := plain("")
	if sc.Why != "" {
		why = d.f(e.Seq, "data.scope|says")
	}
	return d.w("scope-line", plain(word(d.Lang, "scope-"+class)), d.f(e.Seq, "data.scope.low|percent"), d.f(e.Seq, "data.scope.high|percent"), d.f(e.Seq, "data.scope.events|int"), why)
}

func (d *Doc) evidence() {
	d.head(2, "pm-evidence")
	e, _, ok := d.s.leading()
	if !ok {
		if e = d.s.last(doctor.EntryAnswer); e == nil {
			d.text(d.w("pm-no-answer"))
			return
		}
	}
	a := data[doctor.Answer](e)
	d.lines("pm-for", e, "data.evidence.for", a.Evidence.For)
	d.lines("pm-against", e, "data.evidence.against", a.Evidence.Against)
	d.head(3, "pm-ranked")
	var rows []row
	for i := range a.Ranked[:min(len(a.Ranked), rankedMax)] {
		path := "data.ranked." + strconv.Itoa(i)
		hop, what := d.hypothesis(e, &a.Ranked[i], path)
		rows = append(rows, row{hop, what, d.f(e.Seq, path+".posterior|percent"), d.f(e.Seq, path+".explains|percent")})
	}
	d.table([]string{"h-hop", "h-what", "h-prob", "h-explains"}, rows)
	if first := d.firstCause(); first != nil && answerKey(first) != answerKey(e) {
		b := data[doctor.Answer](first)
		hop, what := d.hypothesis(first, &b.Ranked[0], "data.ranked.0")
		d.text(d.w("pm-changed", hop, what, d.f(first.Seq, "seq|int")))
	}
}

// firstCause is the entry of the first answer that named a cause.
func (d *Doc) firstCause() *doctor.Entry {
	for _, e := range d.s.of(doctor.EntryAnswer) {
		if a := data[doctor.Answer](e); a.Verdict == doctor.CauseFound && len(a.Ranked) > 0 {
			return e
		}
	}
	return nil
}

func (d *Doc) lines(title string, e *doctor.Entry, path string, lines []doctor.Line) {
	d.head(3, title)
	var rows []row
	for i := range lines[:min(len(lines), evidenceMax)] {
		rows = append(rows, d.line(e, path+"."+strconv.Itoa(i), &lines[i]))
	}
	if len(rows) == 0 {
		d.text(d.w("nobody"))
		return
	}
	d.table([]string{"h-hop", "h-says", "h-now", "h-usual", "h-weight"}, rows)
}

func (d *Doc) line(e *doctor.Entry, path string, l *doctor.Line) row {
	now, usual := plain("–"), plain("–")
	if l.Value.Unit != "" {
		now = d.f(e.Seq, path+".value|figure")
		if l.Baseline.N > 0 {
			usual = d.f(e.Seq, path+".baseline|figure")
		}
	}
	return row{code(l.Node), d.f(e.Seq, path+"|says"), now, usual, d.f(e.Seq, path+".likelihood_ratio|times")}
}

func (d *Doc) done() {
	d.head(2, "pm-done")
	var rows []row
	for _, e := range d.s.of(doctor.EntryDone, doctor.EntryFailed, doctor.EntrySkipped) {
		x := data[doctor.Done](e)
		opt := func(has bool, source string) cell {
			if !has {
				return plain("–")
			}
			return d.f(e.Seq, source)
		}
		approved := cell{}
		for _, p := range x.Act.Approved {
			approved = append(append(approved, code(p)...), span{text: " "})
		}
		concerns := plain("–")
		if x.Change.Items > 0 {
			concerns = d.f(e.Seq, "data.change.items|int")
			if x.Change.Value != "" {
				concerns = append(append(concerns, span{text: " · "}), d.f(e.Seq, "data.change.value|text")...)
			}
		}
		result := plain(word(d.Lang, "result-done"))
		switch {
		case e.What != doctor.EntryDone:
			result = d.w("result-"+e.What, d.reason(e, &x))
		case x.Change.Nothing:
			result = plain(word(d.Lang, "result-nothing"))
		}
		rows = append(rows, row{
			d.f(e.Seq, "at|clock"), does(&x.Act), code(who(&x, e)), approved,
			opt(x.Change.Before != "", "data.change.before|text"), opt(x.Change.After != "", "data.change.after|text"), concerns, result,
		})
	}
	if len(rows) == 0 {
		d.text(d.w("nobody"))
		return
	}
	d.table([]string{"h-when", "h-act", "h-by", "h-approved", "h-before", "h-later", "h-concerns", "h-result"}, rows)
}

func (d *Doc) told() {
	d.head(2, "pm-told")
	var rows []row
	for _, e := range d.s.of(doctor.EntryTold, doctor.EntryDone) {
		to, path, ok := d.heard(e)
		if !ok {
			continue
		}
		said := plain(word(d.Lang, "not-recorded"))
		if path != "" {
			said = d.f(e.Seq, path+"|text")
		}
		rows = append(rows, row{d.f(e.Seq, "at|clock"), code(to), said})
	}
	if len(rows) == 0 {
		d.text(d.w("nobody"))
		return
	}
	d.table([]string{"h-when", "h-to", "h-text"}, rows)
}

func (d *Doc) proof() {
	d.head(2, "pm-proof")
	e := d.s.last(doctor.EntryProof)
	if e == nil {
		d.text(d.w("pm-proof-none"))
		return
	}
	p := data[doctor.ProofKept](e)
	key := "pm-proof-clean"
	if !p.Clean {
		key = "pm-proof-off"
	}
	d.text(d.w(key, d.f(e.Seq, "at|instant"), code(p.File)))
	var points []cell
	for i := range p.Found {
		points = append(points, d.w("pm-found", d.f(e.Seq, "data.found."+strconv.Itoa(i)+"|text")))
	}
	if c, closed := d.s.Incident.Closing, d.s.last(doctor.EntryClosed); c != nil && closed != nil {
		for i, b := range c.Breaks {
			points = append(points, d.w("pm-break", d.f(closed.Seq, "data.breaks."+strconv.Itoa(i)+"|text"), code(c.Owners[b])))
		}
	}
	d.list(points)
}
