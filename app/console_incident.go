package app

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/catalog"
	"github.com/moneta-pay/moneta/doctor/journal"
	"github.com/moneta-pay/moneta/doctor/prove"
	"github.com/moneta-pay/moneta/doctor/runbook"
	"github.com/moneta-pay/moneta/doctor/stuck"
	"github.com/moneta-pay/moneta/doctor/tell"
)

const (
	// incidentsShown and entriesRead bound what one answer is made from.
	incidentsShown = 200
	entriesRead    = 20_000
	proofShown     = 8 << 20 // bytes of a proof
)

// incidentRoutes are what the incident room asks. Who is signed in reads; a note takes an
// operator, an approval somebody who may approve.
func (w *watch) incidentRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/look/incidents", w.lookIncidents)
	mux.HandleFunc("GET /api/look/incidents/{id}", w.lookRoom)
	mux.HandleFunc("GET /api/look/incidents/{id}/export/{kind}", w.lookPaper)
	mux.HandleFunc("GET /api/look/incidents/{id}/proof", w.lookProof)
	mux.HandleFunc("POST /api/look/incidents/{id}/notes", w.visitorNotes)
	mux.HandleFunc("POST /api/look/incidents/{id}/follow-ups", w.takeFollowUp)
	mux.HandleFunc("GET /api/look/impact", w.lookImpact)
	mux.HandleFunc("POST /api/look/approvals", w.visitorApproves)
	w.focusRoutes(mux)
	w.leverRoutes(mux)
}

// incidentRow is one line of the list.
type incidentRow struct {
	ID       string              `json:"id"`
	Since    time.Time           `json:"since"`
	OpenedAt time.Time           `json:"opened_at"`
	ClosedAt *time.Time          `json:"closed_at,omitempty"`
	Stage    doctor.Stage        `json:"stage"`
	State    string              `json:"state"`
	Paged    bool                `json:"paged"`
	Cause    string              `json:"cause"`
	Named    bool                `json:"named"`
	Most     *doctor.MoneyAtRisk `json:"money_most,omitempty"`
	Clean    bool                `json:"clean"`
	Breaks   int                 `json:"breaks"`
	Waits    int                 `json:"waits"`
}

// lookIncidents lists them, the newest first.
func (w *watch) lookIncidents(rw http.ResponseWriter, r *http.Request) {
	c := IncidentConfig{Lang: langOf(r)}
	all := w.attendance.journal.Incidents()
	rows := []incidentRow{}
	for i := len(all) - 1; i >= 0 && len(rows) < incidentsShown; i-- {
		in := &all[i]
		row := incidentRow{
			ID: in.ID, Since: in.Since, OpenedAt: in.OpenedAt, ClosedAt: in.ClosedAt, Paged: in.Paged, Stage: doctor.Detected,
			State: c.stateOf(in), Cause: c.causeOf(in), Named: in.FirstAnswer != nil, Most: in.MoneyMost, Waits: len(in.Waiting),
		}
		for _, s := range doctor.Stages() {
			if _, ok := in.Stages[s]; ok {
				row.Stage = s
			}
		}
		if in.Closing != nil {
			row.Clean, row.Breaks = in.Closing.Clean, len(in.Closing.Breaks)
		}
		rows = append(rows, row)
	}
	answer(rw, map[string]any{"incidents": rows, "more": len(all) > incidentsShown, "follow_ups": openFollowUps(all, w.clock.Now()), "journal": w.attendance.journal.Health()})
}

// sourceOf reads what an incident is told from out of the journal, or answers that there
// is none.
func (w *watch) sourceOf(rw http.ResponseWriter, r *http.Request) *tell.Source {
	in, ok := w.attendance.journal.Incident(r.PathValue("id"))
	if !ok {
		refuse(rw, http.StatusNotFound, "not-found", "no incident has this id")
		return nil
	}
	var entries []doctor.Entry
	for after := max(in.Entries[0], 1) - 1; after < in.Entries[1] && len(entries) < entriesRead; {
		lines, err := w.attendance.journal.Since(after, linesMost)
		if err != nil {
			refuse(rw, http.StatusInternalServerError, "internal", "the journal cannot be read: "+err.Error())
			return nil
		}
		if len(lines) == 0 {
			break
		}
		for i := range lines {
			if lines[i].Seq <= in.Entries[1] {
				entries = append(entries, lines[i])
			}
		}
		after = lines[len(lines)-1].Seq
	}
	later, err := w.later(after(&in, entries))
	if err != nil {
		refuse(rw, http.StatusInternalServerError, "internal", "the journal cannot be read: "+err.Error())
		return nil
	}
	entries = append(entries, later...)
	c := IncidentConfig{DataDir: w.cfg.DataDir, Lang: langOf(r)}
	return c.sourceOf(in, entries)
}

// after are the lines that are read one by one, in their order: what came after the end,
// and the newest word on each follow-up, wherever that stands.
func after(in *doctor.Incident, read []doctor.Entry) []uint64 {
	last := uint64(0)
	if len(read) > 0 {
		last = read[len(read)-1].Seq
	}
	all := slices.Clone(in.Later)
	for i := range in.FollowUps {
		all = append(all, in.FollowUps[i].Seq)
	}
	slices.Sort(all)
	return slices.Compact(slices.DeleteFunc(all, func(seq uint64) bool { return seq <= last }))
}

// later are single lines of the journal, which may lie far apart.
func (w *watch) later(seqs []uint64) (out []doctor.Entry, err error) {
	var lines []doctor.Entry
	for _, seq := range seqs {
		if len(lines) == 0 || lines[len(lines)-1].Seq < seq {
			if lines, err = w.attendance.journal.Since(seq-1, linesMost); err != nil {
				return out, err
			}
		}
		for i := range lines {
			if lines[i].Seq == seq {
				out = append(out, lines[i])
			}
		}
	}
	return out, nil
}

// room is an incident with what is under way for it.
type room struct {
	*tell.Room
	// Live says that the watch attends to it now.
	Live bool `json:"live"`
	// Runs are its runbooks, each step with what it was to be and what became of it.
	Runs []runbook.Result `json:"runs"`
	// Checks are the readings that its steps wait for, as they are now.
	SeenAt  *time.Time     `json:"seen_at,omitempty"`
	Proved  *proofSum      `json:"proved,omitempty"`
	Journal journal.Health `json:"journal"`
	// Next are the steps of the cause that leads, for when nothing runs.
	Steps steps `json:"steps"`
}

// steps are those of the catalogue.
type steps struct {
	Contain []doctor.Step `json:"contain"`
	Repair  []doctor.Step `json:"repair"`
}

// proofSum is what of a proof fits on a screen.
type proofSum struct {
	File      string                 `json:"file"`
	Valid     bool                   `json:"valid"`
	Why       string                 `json:"why,omitempty"`
	Key       string                 `json:"key,omitempty"`
	At        string                 `json:"at,omitempty"`
	TookMS    int64                  `json:"took_ms"`
	Verdict   prove.Verdict          `json:"verdict,omitempty"`
	SHA256    string                 `json:"sha256,omitempty"`
	Faults    int64                  `json:"faults"`
	Rows      int64                  `json:"rows"`
	Assets    []prove.Asset          `json:"assets"`
	Checks    []prove.Check          `json:"checks"`
	Rails     []prove.Rail           `json:"rails"`
	NotProved []string               `json:"not_proved"`
	Texts     map[string]doctor.Text `json:"texts"`
	Counted   []prove.Counted        `json:"counted"`
	Findings  []prove.Finding        `json:"findings"`
}

func (w *watch) lookRoom(rw http.ResponseWriter, r *http.Request) {
	s := w.sourceOf(rw, r)
	if s == nil {
		return
	}
	told, err := tell.RoomOf(s)
	if err != nil {
		refuse(rw, http.StatusNotFound, "not-found", "the journal has nothing of it any more: "+err.Error())
		return
	}
	now := w.attendance.it.Now()
	out := room{Room: told, Live: now.Incident == told.ID, Runs: []runbook.Result{}, Journal: w.attendance.journal.Health(), Steps: steps{[]doctor.Step{}, []doctor.Step{}}}
	if e := w.attendance.evidence(); e != nil {
		out.SeenAt = &e.TakenAt
	}
	if runs, err := w.attendance.runner.Runs(); err == nil {
		for i := range runs {
			if runs[i].Request.Incident == told.ID {
				out.Runs = append(out.Runs, runs[i])
			}
		}
	}
	if told.Cause != nil {
		if c, ok := catalog.ByID(told.Cause.ID); ok {
			out.Steps = steps{append(out.Steps.Contain, c.Contain...), append(out.Steps.Repair, c.Repair...)}
		}
	}
	if told.Proof != nil {
		out.Proved = w.proofOf(told.Proof.File)
	}
	answer(rw, out)
}

// proofPath is a file of the doctor's proofs, and nothing else.
func (a *attendance) proofPath(file string) string {
	return filepath.Join(a.folder, proofsFolder, filepath.Base(file))
}

// proofOf verifies a proof with the public key that lies beside the data folder.
func (w *watch) proofOf(file string) *proofSum {
	out := &proofSum{File: filepath.Base(file), Assets: []prove.Asset{}, Checks: []prove.Check{}, Rails: []prove.Rail{}, NotProved: []string{}, Texts: map[string]doctor.Text{}}
	public, err := prove.ReadPublic(w.attendance.prover.keyPath() + ".pub")
	if err != nil {
		out.Why = err.Error()
		return out
	}
	p, err := prove.VerifyFile(w.attendance.proofPath(file), public)
	if err != nil {
		out.Why = err.Error()
		return out
	}
	out.Valid, out.Key, out.At, out.TookMS, out.Verdict, out.SHA256, out.Faults = true, fingerprintOf(public), p.At, p.TookMS, p.Verdict, p.SHA256, p.FaultCount
	out.Assets, out.Checks, out.Rails = append(out.Assets, p.Assets...), append(out.Checks, p.Checks...), append(out.Rails, p.Rails...)
	out.NotProved, out.Counted, out.Findings = append(out.NotProved, p.NotProved...), p.Counted, p.Findings[:min(len(p.Findings), 20)]
	for i := range p.Counted {
		out.Rows += p.Counted[i].Rows
	}
	for i := range p.Checks {
		t := prove.Texts[p.Checks[i].Name]
		out.Texts[p.Checks[i].Name] = doctor.Text{EN: t.En, ZH: t.Zh}
	}
	return out
}

// lookProof hands the signed file out, byte for byte.
func (w *watch) lookProof(rw http.ResponseWriter, r *http.Request) {
	in, ok := w.attendance.journal.Incident(r.PathValue("id"))
	if !ok || in.Proof == nil {
		refuse(rw, http.StatusNotFound, "not-found", "there is no proof of this incident yet")
		return
	}
	w.sendProof(rw, in.Proof.File)
}

func (w *watch) sendProof(rw http.ResponseWriter, file string) {
	path := w.attendance.proofPath(file)
	if st, err := os.Stat(path); err != nil || st.Size() > proofShown {
		refuse(rw, http.StatusNotFound, "not-found", "the file of the proof is not there any more, or is larger than a proof; moneta prove makes another")
		return
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		refuse(rw, http.StatusInternalServerError, "internal", err.Error())
		return
	}
	download(rw, "application/json", filepath.Base(path), raw)
}

func download(rw http.ResponseWriter, kind, name string, raw []byte) {
	rw.Header().Set("Content-Type", kind)
	rw.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
	rw.Header().Set("Cache-Control", "no-store")
	_, _ = rw.Write(raw) // whoever asked has gone
}

// papers are what an incident is told as.
var papers = map[string]func(*tell.Source) (*tell.Doc, error){
	"post-mortem": tell.PostMortem, "brief": tell.Brief, "checklist": tell.Checklist, "hotfix": tell.HotFix, "runbook": tell.Runbook,
}

// lookPaper renders one: Markdown to keep, or with format=html a page of its own, for
// printing. It loads nothing and runs nothing.
func (w *watch) lookPaper(rw http.ResponseWriter, r *http.Request) {
	write, ok := papers[r.PathValue("kind")]
	if !ok {
		refuse(rw, http.StatusNotFound, "not-found", "there are post-mortem, brief, checklist, hotfix and runbook")
		return
	}
	s := w.sourceOf(rw, r)
	if s == nil {
		return
	}
	d, err := write(s)
	if err != nil {
		refuse(rw, http.StatusConflict, "conflict", "it cannot be written yet: "+err.Error())
		return
	}
	name := s.Incident.ID + "-" + r.PathValue("kind") + "-" + s.Lang
	switch r.URL.Query().Get("format") {
	case "html":
		rw.Header().Set("Content-Type", "text/html; charset=utf-8")
		rw.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox allow-modals")
		rw.Header().Set("Cache-Control", "no-store")
		_, _ = rw.Write(d.HTML()) // whoever asked has gone
	default:
		download(rw, "text/markdown; charset=utf-8", name+".md", d.Markdown())
	}
}

// read decodes a body of a visitor.
func read(rw http.ResponseWriter, r *http.Request, into any, wanted string) bool {
	d := json.NewDecoder(http.MaxBytesReader(rw, r.Body, askMax))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		refuse(rw, http.StatusBadRequest, "malformed-request", wanted+": "+err.Error())
		return false
	}
	return true
}

// may answers whether who asks has the role, and refuses when not.
func may(rw http.ResponseWriter, r *http.Request, least access.Role) (visitor, bool) {
	v, ok := visitorOf(r.Context())
	if !ok || !v.Role.Covers(least) {
		refuse(rw, http.StatusForbidden, "forbidden", "it takes somebody with the role "+string(least))
		return v, false
	}
	return v, true
}

// visitorNotes writes a sentence of who is signed in into the journal.
func (w *watch) visitorNotes(rw http.ResponseWriter, r *http.Request) {
	v, ok := may(rw, r, access.Operate)
	if !ok {
		return
	}
	var in struct {
		Text string `json:"text"`
	}
	if !read(rw, r, &in, `a note is {"text":"…"}`) {
		return
	}
	if strings.TrimSpace(in.Text) == "" || len(in.Text) > noteMax {
		refuse(rw, http.StatusBadRequest, "malformed-request", "a note has 1 to 16,384 bytes")
		return
	}
	if _, ok := w.attendance.journal.Incident(r.PathValue("id")); !ok {
		refuse(rw, http.StatusNotFound, "not-found", "no incident has this id")
		return
	}
	e, err := w.attendance.note(r.Context(), r.PathValue("id"), v.Name, in.Text)
	switch {
	case errors.Is(err, journal.ErrRefused):
		refuse(rw, http.StatusConflict, "conflict", err.Error())
	case err != nil:
		refuse(rw, http.StatusServiceUnavailable, "unavailable", "the journal does not take it: "+err.Error())
	default:
		answer(rw, e)
	}
}

// note writes a sentence into the journal.
func (a *attendance) note(ctx context.Context, incident, who, text string) (doctor.Entry, error) {
	raw, err := json.Marshal(doctor.Note{Text: text})
	if err != nil {
		return doctor.Entry{}, err
	}
	return a.journal.Append(ctx, doctor.Entry{At: a.clock.Now().UTC(), Incident: incident, What: doctor.EntryNote, Who: who, Data: raw})
}

// lookImpact is whom what waits hurts now.
func (w *watch) lookImpact(rw http.ResponseWriter, r *http.Request) {
	i, err := w.stuck.Impact(r.Context())
	if err != nil {
		refuse(rw, http.StatusServiceUnavailable, "database-unavailable", "the facts cannot be read: "+err.Error())
		return
	}
	answer(rw, struct {
		stuck.Impact
		// Lost are lines that the journal could not keep: gaps of the audit.
		Journal journal.Health `json:"journal"`
	}{i, w.attendance.journal.Health()})
}

// visitorApproves takes what who is signed in says of an act that waits. Their session
// alone says nothing: it takes a fresh code, or a passkey's answer for exactly this act.
// It is bound to the person, who must be one that may approve also when it counts.
func (w *watch) visitorApproves(rw http.ResponseWriter, r *http.Request) {
	v, ok := may(rw, r, access.Operate)
	if !ok {
		return
	}
	var in struct {
		ActID  string `json:"act_id"`
		Hash   string `json:"hash"`
		Agreed bool   `json:"agreed"`
		Reason string `json:"reason"`
		// Code or Assertion, of a person with a name.
		Code      string `json:"code"`
		Assertion string `json:"assertion"`
	}
	if !read(rw, r, &in, `an approval is {"act_id":"…","hash":"…","agreed":true,"reason":"…"}, and "code" or "assertion"`) {
		return
	}
	a := runbook.Approval{ActID: in.ActID, Hash: in.Hash, Agreed: in.Agreed, Reason: in.Reason, Person: v.Name}
	if v.Name != access.Local {
		if err := w.sessions.door.Confirm(r.Context(), &v.visit, in.Code, in.Assertion, a.Sentence()); err != nil {
			refuseFault(rw, err)
			return
		}
	}
	var err error
	if v.Name != access.Local {
		a.Proof, err = w.attendance.people.vouch(&a)
	}
	if err == nil {
		err = w.attendance.runner.Approve(r.Context(), a)
	}
	switch {
	case errors.Is(err, runbook.ErrNotWaiting):
		refuse(rw, http.StatusNotFound, "not-found", err.Error())
	case err != nil:
		refuse(rw, http.StatusForbidden, "forbidden", err.Error())
	default:
		w.attendance.agreed()
		answer(rw, map[string]any{"act_id": a.ActID, "agreed": a.Agreed, "person": a.Person})
	}
}

// fingerprintOf is what people compare of a key.
func fingerprintOf(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:8])
}
