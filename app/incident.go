package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/catalog"
	"github.com/moneta-pay/moneta/doctor/diagnose"
	"github.com/moneta-pay/moneta/doctor/journal"
	"github.com/moneta-pay/moneta/doctor/tell"
)

// IncidentConfig says whose incidents, and how they are shown.
type IncidentConfig struct {
	// DataDir is the folder of up, with the doctor's journal in it.
	DataDir string
	JSON    bool
	Lang    string
	Out     io.Writer
	// Err takes what is wrong with the journal itself.
	Err io.Writer
}

// incidentLast names the newest incident where an id is asked for.
const incidentLast = "last"

// journalDir is where the doctor of a data folder keeps its journal.
func journalDir(dataDir string) string { return filepath.Join(dataDir, "doctor", "journal") }

// readIncidents folds the journal. It reads the files, whether or not a watch writes
// them: a watch that is frozen or dead keeps nobody from what it has written. With an id
// it also returns the entries of that incident, and what the watch said of itself in
// that time.
func (c *IncidentConfig) readIncidents(id string) ([]doctor.Incident, []doctor.Entry, error) {
	folder := journal.NewFolder(0)
	var kept []doctor.Entry
	b, err := journal.Read(journalDir(c.DataDir), 0, func(e doctor.Entry) bool {
		folder.Add(e)
		if id != "" && (e.Incident == "" || e.Incident == id || id == incidentLast) {
			kept = append(kept, e)
		}
		return true
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, errors.New(say(c.Lang, "inc-no-journal", journalDir(c.DataDir)))
	}
	if err != nil {
		return nil, nil, err
	}
	for _, d := range b.Damage {
		fmt.Fprint(c.Err, say(c.Lang, "inc-damage", d.String()))
	}
	if b.Gone > 0 {
		fmt.Fprint(c.Err, say(c.Lang, "inc-gone", b.Gone))
	}
	for _, o := range folder.Odd() {
		fmt.Fprint(c.Err, say(c.Lang, "inc-odd", o.Seq, o.Why))
	}
	return folder.Incidents(), kept, nil
}

// source is what one incident is told from.
func (c *IncidentConfig) source(id string) (*tell.Source, error) {
	all, entries, err := c.readIncidents(id)
	if err != nil {
		return nil, err
	}
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].ID == id || id == incidentLast {
			return c.sourceOf(all[i], entries), nil
		}
	}
	if id == incidentLast {
		return nil, errors.New(say(c.Lang, "inc-none-yet"))
	}
	return nil, errors.New(say(c.Lang, "inc-unknown", id))
}

// sourceOf keeps of the entries those of the incident, and what the watch said of itself
// meanwhile.
func (c *IncidentConfig) sourceOf(in doctor.Incident, entries []doctor.Entry) *tell.Source {
	s := &tell.Source{
		Incident: in, Cause: catalog.ByID, Say: diagnose.Say, Mechanism: mechanismWord, Lang: c.Lang, Now: time.Now(),
	}
	for i := range entries {
		e := &entries[i]
		if e.Incident == in.ID || (e.Incident == "" && e.Seq > in.Entries[0] && e.Seq < in.Entries[1]) {
			s.Entries = append(s.Entries, *e)
		}
	}
	return s
}

// IncidentList prints the incidents, the newest last; with open only those that are.
func IncidentList(c IncidentConfig, open bool) error {
	all, _, err := c.readIncidents("")
	if err != nil {
		return err
	}
	shown := []doctor.Incident{}
	for i := range all {
		if !open || all[i].ClosedAt == nil {
			shown = append(shown, all[i])
		}
	}
	if c.JSON {
		return writeJSON(c.Out, map[string]any{"incidents": shown})
	}
	if len(shown) == 0 {
		_, err := fmt.Fprint(c.Out, say(c.Lang, "inc-none"))
		return err
	}
	t := tabwriter.NewWriter(c.Out, 0, 4, 2, ' ', 0)
	fmt.Fprint(t, say(c.Lang, "inc-head"))
	for i := range shown {
		in := &shown[i]
		paged, most := say(c.Lang, "no"), "-"
		if in.Paged {
			paged = say(c.Lang, "yes")
		}
		if m := in.MoneyMost; m != nil {
			most = say(c.Lang, "inc-most", m.Items, age(int64(m.OldestS)))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", in.ID, in.Since.UTC().Format(time.DateTime), c.stateOf(in), paged, most, c.causeOf(in))
	}
	return t.Flush()
}

// stateOf is how far it has come, in a word.
func (c *IncidentConfig) stateOf(in *doctor.Incident) string {
	if in.ClosedAt != nil {
		if in.Closing.Clean {
			return say(c.Lang, "inc-closed")
		}
		return say(c.Lang, "inc-closed-breaks", len(in.Closing.Breaks))
	}
	furthest := doctor.Detected
	for _, s := range doctor.Stages() {
		if _, ok := in.Stages[s]; ok {
			furthest = s
		}
	}
	return say(c.Lang, "inc-open", tell.StageWord(c.Lang, furthest))
}

// causeOf is what it was, as far as somebody could say.
func (c *IncidentConfig) causeOf(in *doctor.Incident) string {
	acted := ""
	for i := range in.Acts {
		if in.Acts[i].Act.Cause != "" {
			acted = in.Acts[i].Act.Cause
		}
	}
	// The first answer with a cause, unless the newest names the one that was acted on, or
	// nothing was: late answers are about what is left of it.
	a := in.FirstAnswer
	if n := in.Answer; n != nil && n.Verdict == doctor.CauseFound && len(n.Ranked) > 0 && (acted == "" || n.Ranked[0].Cause == acted) {
		a = n
	}
	if a == nil || len(a.Ranked) == 0 {
		return say(c.Lang, "mech-unknown")
	}
	h := &a.Ranked[0]
	return h.Node + ": " + howWord(c.Lang, h)
}

// IncidentShow prints one incident: stages, cause with evidence, acts, what waits for
// people, and the timeline.
func IncidentShow(c IncidentConfig, id string) error {
	s, err := c.source(id)
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(c.Out, map[string]any{"incident": s.Incident, "entries": s.Entries})
	}
	in := &s.Incident
	t := tabwriter.NewWriter(c.Out, 0, 4, 2, ' ', 0)
	fmt.Fprint(t, say(c.Lang, "inc-title", in.ID, c.stateOf(in)))
	fmt.Fprint(t, say(c.Lang, "inc-since", in.Since.UTC().Format(time.DateTime)))
	for _, stage := range doctor.Stages() {
		if at, ok := in.Stages[stage]; ok {
			fmt.Fprintf(t, "  %s\t%s\t+%s\n", tell.StageWord(c.Lang, stage), at.UTC().Format(time.TimeOnly), age(int64(at.Sub(in.Since).Seconds())))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	named, ok := s.Named()
	if !ok && in.Answer != nil {
		named, ok = *in.Answer, true
	}
	if ok && len(named.Ranked) > 0 {
		fmt.Fprintln(c.Out)
		if err := printAnswer(c.Out, c.Lang, &named); err != nil {
			return err
		}
	}
	for i := range in.Waiting {
		w := &in.Waiting[i]
		fmt.Fprint(c.Out, say(c.Lang, "inc-waits", w.Act.ID, w.Act.Do, w.Act.Aim, len(w.Act.Approved), w.Change.Reach.Approvals()))
	}
	fmt.Fprint(c.Out, say(c.Lang, "inc-timeline"))
	for i := range s.Entries {
		e := &s.Entries[i]
		fmt.Fprintf(c.Out, "  %6d  %s  %s\n", e.Seq, e.At.UTC().Format(time.TimeOnly), tell.Line(s, e))
	}
	return nil
}

// IncidentNote adds a person's sentence. While a watch runs, it is the one that writes.
func IncidentNote(ctx context.Context, c IncidentConfig, id, who, text string) error {
	if strings.TrimSpace(text) == "" {
		return errors.New(say(c.Lang, "inc-note-empty"))
	}
	s, err := c.source(id)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(doctor.Note{Text: text})
	if err != nil {
		return err
	}
	e := doctor.Entry{Incident: s.Incident.ID, What: doctor.EntryNote, Who: who, Data: raw}
	j, err := journal.Open(journalDir(c.DataDir))
	if errors.Is(err, journal.ErrBusy) {
		e, err = c.throughWatch(ctx, "/incidents/"+e.Incident+"/notes", notePost{Who: who, Text: text})
	} else if err == nil {
		e, err = j.Append(ctx, e)
		err = errors.Join(err, j.Close())
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(c.Out, e)
	}
	_, err = fmt.Fprint(c.Out, say(c.Lang, "inc-noted", e.Seq))
	return err
}

// IncidentExport writes one paper of an incident to a file, or to Out.
func IncidentExport(c IncidentConfig, id, as, format, file string) error {
	s, err := c.source(id)
	if err != nil {
		return err
	}
	write, ok := papers[as]
	if !ok {
		return fmt.Errorf("--as %q: post-mortem, brief, checklist, hotfix or runbook", as)
	}
	d, err := write(s)
	if err != nil {
		return err
	}
	out := d.Markdown()
	if format == "html" {
		out = d.HTML()
	}
	switch {
	case c.JSON:
		v := map[string]any{"incident": s.Incident.ID, "as": as, "lang": c.Lang, "format": format, "text": string(out)}
		if as == "brief" {
			v["texts"] = tell.Texts(s)
		}
		return writeJSON(c.Out, v)
	case file == "":
		_, err = c.Out.Write(out)
		return err
	}
	if err := writeFile(file, out, 0o600); err != nil {
		return err
	}
	_, err = fmt.Fprint(c.Out, say(c.Lang, "inc-written", file))
	return err
}

// IncidentCheck holds a draft, also one that people went on with, against the journal.
// A figure that is not the journal's is an ExitError with ExitMoney.
func IncidentCheck(c IncidentConfig, id, file string) error {
	s, err := c.source(id)
	if err != nil {
		return err
	}
	draft, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	s.Lang = tell.LangOf(draft, c.Lang) // the sentences of a draft are in its own language
	wrong, figures := s.Check(draft)
	if c.JSON {
		if wrong == nil {
			wrong = []tell.Wrong{}
		}
		if err := writeJSON(c.Out, map[string]any{"figures": figures, "wrong": wrong}); err != nil {
			return err
		}
	} else {
		for _, w := range wrong {
			fmt.Fprintf(c.Out, "%s:%s\n", file, w.String())
		}
		fmt.Fprint(c.Out, say(c.Lang, "inc-checked", figures, len(wrong)))
	}
	if len(wrong) > 0 {
		return &ExitError{ExitMoney, say(c.Lang, "inc-exit-wrong", len(wrong))}
	}
	return nil
}
