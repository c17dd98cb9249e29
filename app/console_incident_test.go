package app

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/drill"
	"github.com/moneta-pay/moneta/doctor/runbook"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/pgtest"
)

// roomOf is a watch beside a wallet that has only a database, with one incident in its
// journal; it judges nothing.
func roomOf(t *testing.T) *watch {
	t.Helper()
	dir, j := incidentFolder(t)
	require.NoError(t, j.Close())
	w := &watch{cfg: WatchConfig{DataDir: dir, DSN: pgtest.DSN(t), State: stateDir(dir)}, log: slog.New(slog.DiscardHandler), clock: clock.System}
	var err error
	w.attendance, err = newAttendance(t.Context(), &w.cfg, func(time.Time, doctor.Symptom) *doctor.Evidence { return nil }, w.clock, w.log)
	require.NoError(t, err)
	w.stops = append(w.stops, w.attendance.close)
	require.NoError(t, w.rooms(t.Context()))
	t.Cleanup(func() { w.stop(context.Background()) })
	return w
}

var (
	ann    = visitor{Name: "ann", Role: access.Approver}
	viewer = visitor{Name: "vic", Role: access.Viewer}
)

// asks asks the rooms as somebody, and returns the status and the body.
func (w *watch) asks(t *testing.T, v visitor, method, path, body string) (int, map[string]any, http.Header) {
	t.Helper()
	mux := http.NewServeMux()
	w.incidentRoutes(mux)
	w.drillRoutes(mux)
	w.repairRoutes(mux)
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	rec := httptest.NewRecorder()
	mux.ServeHTTP(rec, r.WithContext(context.WithValue(r.Context(), visitorKey{}, v)))
	var out map[string]any
	_ = json.Unmarshal(rec.Body.Bytes(), &out) // papers are no JSON
	if out == nil {
		out = map[string]any{"text": rec.Body.String()}
	}
	return rec.Code, out, rec.Header()
}

func TestIncidentRoom(t *testing.T) {
	t.Parallel()
	w := roomOf(t)
	status, list, _ := w.asks(t, viewer, "GET", "/api/look/incidents", "")
	require.Equal(t, 200, status)
	require.Len(t, list["incidents"], 1)
	status, in, _ := w.asks(t, viewer, "GET", "/api/look/incidents/inc_7", "")
	require.Equal(t, 200, status)
	require.Contains(t, in["sentence"], "At fault is postgres")
	require.Len(t, in["stages"], 5)
	require.NotEmpty(t, in["steps"].(map[string]any)["repair"], "what the catalogue would do is there before anything runs")
	_, zh, _ := w.asks(t, viewer, "GET", "/api/look/incidents/inc_7?lang=zh", "")
	require.Contains(t, zh["sentence"], "故障所在")
	status, _, _ = w.asks(t, viewer, "GET", "/api/look/incidents/inc_8", "")
	require.Equal(t, 404, status)
	for kind := range papers {
		status, paper, head := w.asks(t, viewer, "GET", "/api/look/incidents/inc_7/export/"+kind, "")
		require.Equal(t, 200, status, kind)
		require.NotEmpty(t, paper["text"])
		require.Contains(t, head.Get("Content-Disposition"), "inc_7-"+kind+"-en.md")
		status, _, head = w.asks(t, viewer, "GET", "/api/look/incidents/inc_7/export/"+kind+"?format=html&lang=zh", "")
		require.Equal(t, 200, status, kind)
		require.Contains(t, head.Get("Content-Security-Policy"), "default-src 'none'")
	}
	status, _, _ = w.asks(t, viewer, "GET", "/api/look/incidents/inc_7/export/../../x", "")
	require.NotEqual(t, 200, status)
	status, _, _ = w.asks(t, viewer, "GET", "/api/look/incidents/inc_7/proof", "")
	require.Equal(t, 404, status)
	status, _, _ = w.asks(t, viewer, "POST", "/api/look/incidents/inc_7/notes", `{"text":"seen"}`)
	require.Equal(t, 403, status, "a viewer reads")
	status, _, _ = w.asks(t, ann, "POST", "/api/look/incidents/inc_7/notes", `{"text":" "}`)
	require.Equal(t, 400, status)
	status, e, _ := w.asks(t, ann, "POST", "/api/look/incidents/inc_7/notes", `{"text":"seen"}`)
	require.Equal(t, 200, status)
	require.Equal(t, "ann", e["who"], "it is who signed in, whatever the page says")
	_, in, _ = w.asks(t, viewer, "GET", "/api/look/incidents/inc_7", "")
	said := in["timeline"].([]any)
	require.Contains(t, said[len(said)-1].(map[string]any)["text"], "ann notes: seen")
	status, impact, _ := w.asks(t, viewer, "GET", "/api/look/impact", "")
	require.Equal(t, 200, status)
	require.Contains(t, impact, "holders")
	require.Contains(t, impact, "journal")
}

// A proof that was signed is shown as such; one that was changed is not.
func TestIncidentRoomVerifiesTheProof(t *testing.T) {
	t.Parallel()
	w := roomOf(t)
	kept, err := w.attendance.prove(t.Context(), "inc_7", time.Now().Add(-time.Hour))
	require.NoError(t, err)
	raw, err := json.Marshal(kept)
	require.NoError(t, err)
	_, err = w.attendance.journal.Append(t.Context(), doctor.Entry{Incident: "inc_7", What: doctor.EntryProof, Who: "doctor", Data: raw})
	require.NoError(t, err)
	_, in, _ := w.asks(t, viewer, "GET", "/api/look/incidents/inc_7", "")
	proved := in["proved"].(map[string]any)
	require.Equal(t, true, proved["valid"], proved["why"])
	require.Len(t, proved["key"], 16)
	require.NotEmpty(t, proved["checks"])
	status, _, head := w.asks(t, viewer, "GET", "/api/look/incidents/inc_7/proof", "")
	require.Equal(t, 200, status)
	require.Contains(t, head.Get("Content-Disposition"), "attachment")
	path := w.attendance.proofPath(kept.File)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(text), `"took_ms":`, `"took_ms":1`, 1)), 0o600))
	_, in, _ = w.asks(t, viewer, "GET", "/api/look/incidents/inc_7", "")
	proved = in["proved"].(map[string]any)
	require.Equal(t, false, proved["valid"])
	require.Contains(t, proved["why"], "signature")
}

// What a person said at the console counts as that person's, for these words alone, and
// only of somebody who may approve.
func TestConsoleVouchesForWhoSignedIn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	raw, err := json.Marshal(keptPeople{time.Now(), []access.Signer{{Name: "ann"}, {Name: "ben", Key: "k"}}})
	require.NoError(t, err)
	p := &people{dsn: "host=/nowhere", file: filepath.Join(dir, "people.json"), session: filepath.Join(dir, "session.key")}
	require.NoError(t, os.WriteFile(p.file, raw, 0o600))
	a := runbook.Approval{ActID: "a1", Hash: "h", Agreed: true, Reason: "seen", Person: "ann"}
	a.Proof, err = p.vouch(&a)
	require.NoError(t, err)
	who, err := p.person(t.Context(), a)
	require.NoError(t, err)
	require.Equal(t, "ann", who)
	for name, b := range map[string]runbook.Approval{
		"another act":    {ActID: "a2", Hash: "h", Agreed: true, Person: "ann", Proof: a.Proof},
		"another hash":   {ActID: "a1", Hash: "i", Agreed: true, Person: "ann", Proof: a.Proof},
		"the opposite":   {ActID: "a1", Hash: "h", Person: "ann", Proof: a.Proof},
		"another person": {ActID: "a1", Hash: "h", Agreed: true, Person: "ben", Proof: a.Proof},
		"nobody's proof": {ActID: "a1", Hash: "h", Agreed: true, Person: "ann", Proof: "00"},
		"without any":    {ActID: "a1", Hash: "h", Agreed: true, Person: "ann"},
	} {
		_, err := p.person(t.Context(), b)
		require.Error(t, err, name)
	}
	carl := a
	carl.Person = "carl"
	carl.Proof, err = p.vouch(&carl)
	require.NoError(t, err)
	_, err = p.person(t.Context(), carl)
	require.ErrorContains(t, err, "nobody who may approve", "an operator that is no approver")
	other := &people{dsn: p.dsn, file: p.file}
	_, err = other.person(t.Context(), a)
	require.Error(t, err, "who has no key of a console vouches for nobody")
	st, err := os.Stat(p.session)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), st.Mode().Perm())
}

// The switch says who, why and until when, ends by itself, and outlives the watch.
func TestFocusIsToldAndEnds(t *testing.T) {
	t.Parallel()
	w := roomOf(t)
	now := clock.NewManual(time.Now())
	w.clock, w.focus.clock = now, now
	status, _, _ := w.asks(t, viewer, "POST", "/api/look/focus", `{"reason":"too much noise"}`)
	require.Equal(t, 403, status)
	status, _, _ = w.asks(t, ann, "POST", "/api/look/focus", `{"reason":""}`)
	require.Equal(t, 400, status)
	status, _, _ = w.asks(t, ann, "POST", "/api/look/focus", `{"reason":"noise","for_s":99999}`)
	require.Equal(t, 400, status)
	before := w.attendance.journal.Health().Last
	status, got, _ := w.asks(t, ann, "POST", "/api/look/focus", `{"reason":"too much noise","for_s":600}`)
	require.Equal(t, 200, status)
	require.Equal(t, "ann", got["on"].(map[string]any)["by"])
	require.Len(t, got["signals"], 3)
	lines, err := w.attendance.journal.Since(before, 10)
	require.NoError(t, err)
	require.Len(t, lines, 1)
	require.Equal(t, "ann", lines[0].Who)
	require.Contains(t, string(lines[0].Data), "too much noise")
	require.NotNil(t, newFocus(doctorFolder(w.cfg.DataDir), now).now(), "a watch that starts again goes on with it")
	now.Advance(11 * time.Minute)
	_, got, _ = w.asks(t, viewer, "GET", "/api/look/focus", "")
	require.Nil(t, got["on"])
	status, _, _ = w.asks(t, ann, "DELETE", "/api/look/focus", "")
	require.Equal(t, 200, status)
}

// While the API is gone, the levers that files may pull are pulled by a file.
func TestLeversOfTheConsole(t *testing.T) {
	t.Parallel()
	w := roomOf(t)
	_, got, _ := w.asks(t, viewer, "GET", "/api/look/levers", "")
	require.NotEmpty(t, got["silent"])
	require.Len(t, got["kinds"], 8)
	require.Empty(t, got["held"])
	order := `{"lever":"pause-dispatch","aim":"everything","reason":"the bank is ill","for_s":600`
	status, _, _ := w.asks(t, viewer, "POST", "/api/look/levers", order+`}`)
	require.Equal(t, 403, status)
	status, dry, _ := w.asks(t, ann, "POST", "/api/look/levers", order+`,"dry_run":true}`)
	require.Equal(t, 200, status, dry)
	require.Nil(t, dry["radius"], "nobody can count it")
	_, got, _ = w.asks(t, ann, "GET", "/api/look/levers", "")
	require.Empty(t, got["held"], "a dry run pulls nothing")
	status, pulled, _ := w.asks(t, ann, "POST", "/api/look/levers", order+`}`)
	require.Equal(t, 200, status, pulled)
	require.Equal(t, "console ann", pulled["by"])
	_, got, _ = w.asks(t, ann, "GET", "/api/look/levers", "")
	require.Len(t, got["held"], 1)
	status, _, _ = w.asks(t, ann, "POST", "/api/look/levers", `{"lever":"limit","aim":"everything","value":"600/1m","reason":"r","for_s":600}`)
	require.Equal(t, 503, status, "no file limits callers")
	operator := visitor{Name: "olga", Role: access.Operate}
	status, _, _ = w.asks(t, operator, "POST", "/api/look/levers", `{"lever":"read-only","aim":"everything","reason":"r","for_s":600}`)
	require.Equal(t, 403, status, "R2 takes somebody who may approve")
	status, _, _ = w.asks(t, ann, "DELETE", "/api/look/levers/"+pulled["id"].(string)+"?reason=over", "")
	require.Equal(t, 200, status)
	_, got, _ = w.asks(t, ann, "GET", "/api/look/levers", "")
	require.Empty(t, got["held"])
	for _, lang := range []string{"en", "zh"} {
		_, paper, _ := w.asks(t, viewer, "GET", "/api/look/incidents/inc_7/export/post-mortem?lang="+lang, "")
		require.Contains(t, paper["text"], "pulled pause-dispatch everything until ", "what a person did is told")
		require.Contains(t, paper["text"], ": the bank is ill")
		require.Contains(t, paper["text"], "let go of pause-dispatch everything: over")
	}
}

// A drill runs in a process of its own, one at a time, and is cancelled with its world.
func TestDrillOfTheConsole(t *testing.T) {
	t.Parallel()
	w := roomOf(t)
	w.drills.command = func(_ *drillRun, report string) (string, []string, error) {
		board := drill.NewBoard([]drill.Row{{Drill: "long-hold", Status: drill.Scored, Points: 90, At: time.Now()}}, "test", time.Now())
		if err := board.Write(report); err != nil {
			return "", nil, err
		}
		return "/bin/sh", []string{"-c", "echo making a world; trap 'echo taken away; exit 1' TERM; while :; do sleep 0.05; done"}, nil
	}
	status, got, _ := w.asks(t, ann, "GET", "/api/look/drills", "")
	require.Equal(t, 200, status)
	require.Len(t, got["drills"], len(drill.All()))
	require.Equal(t, false, got["allowed"])
	status, _, _ = w.asks(t, ann, "POST", "/api/look/drills/run", `{"names":["long-hold"]}`)
	require.Equal(t, 403, status, "nobody said that this wallet is a sandbox's")
	w.cfg.AllowDrills = true
	status, _, _ = w.asks(t, ann, "POST", "/api/look/drills/run", `{"names":["none"]}`)
	require.Equal(t, 400, status)
	status, _, _ = w.asks(t, viewer, "POST", "/api/look/drills/run", `{"names":["long-hold"]}`)
	require.Equal(t, 403, status)
	status, got, _ = w.asks(t, ann, "POST", "/api/look/drills/run", `{"names":["long-hold"],"seed":7}`)
	require.Equal(t, 202, status, got)
	status, _, _ = w.asks(t, ann, "POST", "/api/look/drills/run", `{"names":["long-hold"]}`)
	require.Equal(t, 409, status, "one at a time")
	require.Eventually(t, func() bool { return len(w.drills.current().Lines) > 0 }, time.Minute, 10*time.Millisecond)
	require.Equal(t, "making a world", w.drills.current().Lines[0].Text)
	status, _, _ = w.asks(t, ann, "DELETE", "/api/look/drills/run", "")
	require.Equal(t, 200, status)
	require.Eventually(t, func() bool { return w.drills.current().EndedAt != nil }, time.Minute, 10*time.Millisecond)
	run := w.drills.current()
	require.Equal(t, "cancelled", run.State)
	require.Len(t, run.Rows, 1, "what was scored before stands")
	status, _, _ = w.asks(t, ann, "DELETE", "/api/look/drills/run", "")
	require.Equal(t, 404, status)
	_, got, _ = w.asks(t, ann, "GET", "/api/look/drills", "")
	require.Len(t, got["rows"], 1)

	w.drills.command = func(*drillRun, string) (string, []string, error) {
		return "/bin/sh", []string{"-c", "echo no; exit 3"}, nil
	}
	_, _, _ = w.asks(t, ann, "POST", "/api/look/drills/run", `{"names":["long-hold"]}`)
	require.Eventually(t, func() bool { return w.drills.current().EndedAt != nil }, time.Minute, 10*time.Millisecond)
	require.Equal(t, "red", w.drills.current().State)
}

// Without a node nothing is brought forward, and the screen says so; what waits is shown.
func TestRepairBenchWithoutANode(t *testing.T) {
	t.Parallel()
	w := roomOf(t)
	status, got, _ := w.asks(t, viewer, "GET", "/api/look/repair", "")
	require.Equal(t, 200, status)
	require.NotNil(t, got["groups"])
	require.Nil(t, got["silent"])
	for body, want := range map[string]int{
		`{"act":"purge"}`:            400,
		`{"act":"redispatch"}`:       409, // nothing waits
		`{"act":"replay-callbacks"}`: 503, // no hand
		`{"x":1}`:                    400,
	} {
		status, _, _ := w.asks(t, ann, "POST", "/api/look/repair/orders", body)
		require.Equal(t, want, status, body)
	}
	status, _, _ = w.asks(t, ann, "POST", "/api/look/repair/run", `{"id":"drain_1","hash":"x"}`)
	require.Equal(t, 409, status)
	status, _, _ = w.asks(t, ann, "DELETE", "/api/look/repair/run", "")
	require.Equal(t, 404, status)
}

// What nobody knows the outcome of waits, also where no hop is ill any more because
// nothing new is sent there: an incident with unknown money never says that 0 wait.
func TestWhatNobodyKnowsWaits(t *testing.T) {
	t.Parallel()
	w := roomOf(t)
	now := time.Now()
	seen := func(s doctor.Signal, statistic string, last float64) doctor.Reading {
		return doctor.Reading{Hop: doctor.HopSettle, Signal: s, Statistic: statistic, Before: doctor.Sample{N: 5}, During: doctor.Sample{N: 5}, StepS: 1, Newest: &now, Last: last}
	}
	w.attendance.mu.Lock()
	w.attendance.newest = &doctor.Evidence{TakenAt: now, Readings: []doctor.Reading{
		seen(doctor.Waiting, "bank-ij", 35), seen(doctor.UnknownItems, "", 35), seen(doctor.UnknownValue, "CZK", 3500),
	}}
	w.attendance.mu.Unlock()
	require.Equal(t, doctor.MoneyAtRisk{Items: 35, Value: map[string]string{"CZK": "3500"}}, w.attendance.money())
}
