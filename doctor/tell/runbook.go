package tell

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/moneta-pay/moneta/doctor"
)

// Checklist is what people tick off (vote A): scope, tell apart, contain, repair, never,
// and what must hold before it is closed. What the journal knows to be done is ticked.
func Checklist(s *Source) (*Doc, error) {
	if len(s.Entries) == 0 {
		return nil, errEmpty
	}
	d := newDoc(s, word(s.Lang, "c-title"))
	d.about("x-head")
	d.head(2, "c-first")
	d.list([]cell{
		append(box(s.last(doctor.EntryAnswer) != nil), d.w("c-scope", d.clients())...),
		todo(d.w("c-four")), todo(d.w("c-change")), append(box(s.pulled("banner")), d.w("c-banner")...), todo(d.w("c-wrong")),
	})
	c, ok := s.cause()
	if ok {
		d.head(2, "c-apart")
		for _, ask := range c.Checks {
			d.list([]cell{todo(plain(s.fill(oneLine(ask.Ask.In(d.Lang)))))})
			if ask.Run != "" {
				d.code(s.fill(ask.Run))
			}
			d.list([]cell{d.w("c-yes", plain(s.fill(oneLine(ask.Yes.In(d.Lang))))), d.w("c-no", plain(s.fill(oneLine(ask.No.In(d.Lang)))))})
		}
		d.ticks("c-contain", c.Contain)
		d.ticks("c-repair", c.Repair)
	}
	d.never(&c)
	d.head(2, "c-exit")
	clean := s.Incident.Proof != nil && s.Incident.Proof.Clean
	_, repaired := s.Incident.Stages[doctor.Repaired]
	d.list([]cell{
		todo(d.w("c-v1")), todo(d.w("c-v2")), todo(d.w("c-v3")), append(box(clean), d.w("c-v4")...),
		append(box(repaired && len(s.toHolders()) > 0 && s.toldTheEnd()), d.w("c-v5")...),
		append(box(s.last(doctor.EntryDone) != nil && len(s.held()) == 0), d.w("c-v6")...), todo(d.w("c-v7")),
	})
	return d, d.err
}

// about says which incident, and what it is.
func (d *Doc) about(key string) {
	e, h, ok := d.s.leading()
	if !ok {
		d.text(d.w("no-cause"))
		return
	}
	hop, what := d.hypothesis(e, &h, "data.ranked.0")
	d.text(d.w(key, code(d.s.Incident.ID), hop, what))
}

func (s *Source) pulled(lever string) bool {
	for _, e := range s.of(doctor.EntryDone) {
		if x := data[doctor.Done](e); x.Act.Do == doctor.DoLever && x.Act.With["lever"] == lever {
			return true
		}
	}
	return false
}

// stepDone is the entry that says that a step was done, nil when none does.
func (s *Source) stepDone(cause, step string) *doctor.Entry {
	for _, e := range s.of(doctor.EntryDone) {
		if x := data[doctor.Done](e); x.Act.Step == step && x.Act.Cause == cause {
			return e
		}
	}
	return nil
}

func (d *Doc) ticks(title string, steps []doctor.Step) {
	if len(steps) == 0 {
		return
	}
	d.head(2, title)
	c, _ := d.s.cause()
	for i := range steps {
		st := &steps[i]
		d.list([]cell{append(box(d.s.stepDone(c.ID, st.ID) != nil), plain(d.s.fill(oneLine(st.Why.In(d.Lang))))...)})
		if cmd := d.s.command(st); cmd != "" {
			d.code(cmd)
		}
	}
}

func (d *Doc) never(c *doctor.Cause) {
	d.head(2, "c-never")
	var points []cell
	for _, n := range c.Never {
		points = append(points, plain(d.s.fill(oneLine(n.In(d.Lang)))))
	}
	d.list(append(points, d.w("n-repay"), d.w("n-unknown"), d.w("n-channel"), d.w("n-balance"), d.w("n-waiters")))
}

// HotFix are the steps that a person takes by hand (vote B), with commands to copy, how
// to see that it worked, and how to take each back.
func HotFix(s *Source) (*Doc, error) {
	if len(s.Entries) == 0 {
		return nil, errEmpty
	}
	d := newDoc(s, word(s.Lang, "x-title"))
	d.about("x-head")
	c, ok := s.cause()
	if !ok {
		d.code("moneta diagnose\nmoneta lever list\nmoneta incident show " + s.Incident.ID)
		d.never(&c)
		return d, d.err
	}
	for i, h := range c.HotFix {
		prose, cmd := splitCommand(s.fill(oneLine(h.In(d.Lang))))
		d.text(append(cell{{text: strconv.Itoa(i+1) + ".", strong: true}}, plain(" "+prose)...))
		if cmd != "" {
			d.code(cmd)
		}
	}
	d.head(2, "x-verify")
	var verify []cell
	for i := range c.Repair {
		if st := &c.Repair[i]; st.Until != "" {
			verify = append(verify, append(plain(s.fill(oneLine(st.Why.In(d.Lang)))+" "), code(s.fill(st.Until))...))
		}
	}
	d.list(append(verify, code("moneta prove")))
	d.head(2, "x-back")
	back := map[string]bool{}
	var undo []string
	for i := range c.Contain {
		if u := s.undo(&c.Contain[i]); u != "" && !back[u] {
			back[u] = true
			undo = append(undo, u)
		}
	}
	if len(undo) == 0 {
		d.text(d.w("x-back-none"))
	} else {
		d.code(strings.Join(undo, "\n"))
	}
	d.never(&c)
	return d, d.err
}

var (
	commandIn = regexp.MustCompile(`(?:^|[:\x{ff1a}]\s*)((?:moneta|psql|curl|kill|pg_ctl|systemctl|journalctl|openssl|df|du|ps|cat|ls|alter|select|create|drop|vacuum|analyze|reindex) .*)$`)
	// asideIn is what some texts say behind their command, in the brackets of Chinese.
	asideIn = regexp.MustCompile(`\s*\x{ff08}[^\x{ff09}]*\x{ff09}\s*$`)
)

// splitCommand takes the command out of a step of a hot fix, which ends with it: behind a
// colon, or alone.
func splitCommand(t string) (prose, command string) {
	aside := asideIn.FindString(t)
	m := commandIn.FindStringSubmatchIndex(strings.TrimSuffix(t, aside))
	if m == nil {
		return t, ""
	}
	return strings.TrimSpace(t[:m[2]] + strings.TrimSpace(aside)), strings.TrimSuffix(t, aside)[m[2]:]
}

// Runbook is the cause's containment and repair as a list to carry out (vote D): guard,
// command, what to wait for, how to take it back.
func Runbook(s *Source) (*Doc, error) {
	if len(s.Entries) == 0 {
		return nil, errEmpty
	}
	d := newDoc(s, word(s.Lang, "r-title"))
	d.about("r-head")
	c, ok := s.cause()
	if ok {
		d.steps("c-contain", &c, c.Contain)
		d.steps("c-repair", &c, c.Repair)
	}
	d.never(&c)
	d.head(2, "c-exit")
	d.code("moneta prove --from " + s.Incident.Since.UTC().Format("2006-01-02T15:04:05Z") + "\nmoneta incident show " + s.Incident.ID + "\nmoneta incident export " + s.Incident.ID + " --as post-mortem")
	return d, d.err
}

func (d *Doc) steps(title string, c *doctor.Cause, steps []doctor.Step) {
	if len(steps) == 0 {
		return
	}
	d.head(2, title)
	s := d.s
	for i := range steps {
		st := &steps[i]
		d.text(append(cell{{text: strconv.Itoa(i+1) + ".", strong: true}, {text: " "}, {text: st.ID, code: true}}, plain(" "+s.fill(oneLine(st.Why.In(d.Lang))))...))
		var notes []cell
		if e := s.stepDone(c.ID, st.ID); e != nil {
			notes = append(notes, d.w("r-state-done", d.f(e.Seq, "seq|int"), d.f(e.Seq, "at|clock")))
		}
		if st.If != "" {
			notes = append(notes, d.w("r-guard", code(s.fill(st.If))))
		}
		switch reachOf(st.Do).Approvals() {
		case 1:
			notes = append(notes, d.w("r-approvals", plain(word(d.Lang, "r-one"))))
		case 2:
			notes = append(notes, d.w("r-approvals", plain(word(d.Lang, "r-two"))))
		}
		d.list(notes)
		if cmd := s.command(st); cmd != "" {
			d.code(cmd)
		} else if st.Do != doctor.DoCheck && st.Do != doctor.DoWait {
			d.text(d.w("r-watch"))
		}
		var after []cell
		if st.Until != "" {
			within := st.Within
			if within == "" {
				within = "–"
			}
			after = append(after, d.w("r-until", code(s.fill(st.Until)), code(within)))
		}
		if u := s.undo(st); u != "" {
			after = append(after, d.w("r-undo", code(u)))
		}
		d.list(after)
	}
}

// reachOf is the ladder's rung of an act, as docs/levers.md and the runbooks have it.
func reachOf(do string) doctor.Reach {
	switch do {
	case doctor.DoCheck, doctor.DoWait, doctor.DoAnalyze:
		return doctor.Observe
	case doctor.DoLever, doctor.DoUndoLever, doctor.DoTell, doctor.DoQueryUnknowns, doctor.DoProposeCompensation:
		return doctor.Instant
	case doctor.DoReplayCallbacks, doctor.DoRebuildProjection, doctor.DoRedispatch, doctor.DoParkCallback:
		return doctor.Compensable
	case doctor.DoRetryArchive, doctor.DoDropSlot:
		return doctor.Final
	}
	return doctor.Undoable
}

// command is what a person types for a step; empty where there is nothing to type.
func (s *Source) command(st *doctor.Step) string {
	w := func(key string) string { return s.fill(st.With[key]) }
	aim := w("aim")
	if aim == "" {
		aim = s.fill(st.Aim)
	}
	session := "from pg_stat_activity where pid = " + orBlank(w("pid"), "PID") + " and backend_start = " + quoteSQL(orBlank(w("since"), "START"))
	switch st.Do {
	case doctor.DoLever:
		cmd := "moneta lever pull " + w("lever") + " " + orBlank(aim, "everything")
		if v := w("value"); v != "" {
			cmd += " --value " + quote(v)
		}
		return cmd + " --for " + orBlank(w("for"), "30m") + " --owner me --reason " + quote(orBlank(w("reason"), "incident "+s.Incident.ID))
	case doctor.DoUndoLever:
		return "moneta lever list\nmoneta lever undo LEVER --reason " + quote("incident "+s.Incident.ID)
	case doctor.DoTerminateSession:
		return "select pg_terminate_backend(pid) " + session + ";"
	case doctor.DoCancelStatement:
		return "select pg_cancel_backend(pid) " + session + ";"
	case doctor.DoCreateIndex:
		return strings.TrimSuffix(orBlank(w("definition"), "create index concurrently NAME on TABLE (COLUMNS)"), ";") + ";"
	case doctor.DoAnalyze:
		return "analyze " + orBlank(w("relation"), orBlank(aim, "TABLE")) + ";"
	case doctor.DoRestartProcess:
		return "kill -TERM " + orBlank(w("pid"), "PID")
	case doctor.DoDropSlot:
		return "select pg_drop_replication_slot(" + quoteSQL(orBlank(w("slot"), "SLOT")) + ");"
	case doctor.DoProposeCompensation:
		return "moneta recon breaks\nmoneta approve list --state proposed"
	case doctor.DoTell:
		return "moneta incident export " + s.Incident.ID + " --as brief"
	}
	return ""
}

func (s *Source) undo(st *doctor.Step) string {
	switch st.Do {
	case doctor.DoLever:
		return "moneta lever undo LEVER --reason " + quote("incident "+s.Incident.ID) + "   # LEVER of moneta lever list: " + s.fill(st.With["lever"])
	case doctor.DoCreateIndex:
		return "drop index concurrently NAME;"
	}
	return ""
}

func orBlank(v, blank string) string {
	if v == "" || strings.Contains(v, "{") {
		return blank
	}
	return v
}

func quote(v string) string { return "'" + strings.ReplaceAll(v, "'", `'\''`) + "'" }

func quoteSQL(v string) string { return "'" + strings.ReplaceAll(v, "'", "''") + "'" }
