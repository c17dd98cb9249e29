package app

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/journal"
)

// incidentFolder is a data folder with one incident of a long hold in its journal.
func incidentFolder(t *testing.T) (string, *journal.Journal) {
	t.Helper()
	dir := t.TempDir()
	j, err := journal.Open(journalDir(dir))
	require.NoError(t, err)
	t.Cleanup(func() { _ = j.Close() })
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for i, x := range []struct {
		what string
		data any
	}{
		{doctor.EntryOpened, doctor.Opening{Alarm: doctor.Alarm{Rule: doctor.Progress, Hop: "dispatch", Since: at.Add(-20 * time.Second), Page: true, Says: "the oldest work is 31 s old"}}},
		{doctor.EntryMoney, doctor.MoneyAtRisk{Items: 40, Value: map[string]string{"CZK": "1234500"}, OldestS: 12.5}},
		{doctor.EntryAnswer, doctor.Answer{
			Verdict: doctor.CauseFound, Ranked: []doctor.Hypothesis{{Node: "postgres", Kind: doctor.Database, Mechanism: "long-hold", Cause: "database-long-hold", Posterior: .93, Details: map[string]string{"pid": "4711"}}},
			Scope: doctor.Scope{Class: "everyone", Why: "all of them wait"},
		}},
		{doctor.EntryWaits, doctor.Done{Act: doctor.Act{ID: "a1", Do: doctor.DoReplayCallbacks}, Change: doctor.Change{Reach: doctor.Compensable}}},
	} {
		raw, err := json.Marshal(x.data)
		require.NoError(t, err)
		_, err = j.Append(t.Context(), doctor.Entry{Incident: "inc_7", What: x.what, Who: "doctor", At: at.Add(time.Duration(i) * time.Second), Data: raw})
		require.NoError(t, err)
	}
	return dir, j
}

func incidentsOf(dir string) (IncidentConfig, *bytes.Buffer) {
	out := &bytes.Buffer{}
	return IncidentConfig{DataDir: dir, Lang: "en", Out: out, Err: out}, out
}

func TestIncidentCommands(t *testing.T) {
	t.Parallel()
	dir, j := incidentFolder(t)
	c, out := incidentsOf(dir) // a watch holds the journal all the while
	require.NoError(t, IncidentList(c, true))
	require.Contains(t, out.String(), "40 waited, oldest 12s")
	require.Contains(t, out.String(), "open, detected")
	out.Reset()
	require.NoError(t, IncidentShow(c, "last"))
	for _, want := range []string{"Incident inc_7", "At fault: postgres", "Waits for approval: a1, replay-callbacks  (0 of 1 agreed)", "incident opened: the oldest work is 31 s old", "40 payments wait, the oldest for 12 s"} {
		require.Contains(t, out.String(), want)
	}
	for _, as := range []string{"post-mortem", "brief", "checklist", "hotfix", "runbook"} {
		for _, lang := range []string{"en", "zh"} {
			for _, format := range []string{"md", "html"} {
				c.Lang = lang
				file := filepath.Join(dir, as+lang+"."+format)
				require.NoError(t, IncidentExport(c, "inc_7", as, format, file))
				if as == "post-mortem" {
					out.Reset()
					c.Lang = "en" // the draft's own language counts
					require.NoError(t, IncidentCheck(c, "inc_7", file), out.String())
				}
			}
		}
	}
	// The catalogue's own text and commands, with the incident's pid filled in.
	fix, err := os.ReadFile(filepath.Join(dir, "hotfixen.md"))
	require.NoError(t, err)
	require.Contains(t, string(fix), "pid = 4711")
	draft := filepath.Join(dir, "post-mortemen.md")
	text, err := os.ReadFile(draft)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(draft, []byte(strings.Replace(string(text), "[40]", "[41]", 1)), 0o600))
	out.Reset()
	var exit *ExitError
	require.ErrorAs(t, IncidentCheck(c, "inc_7", draft), &exit)
	require.Equal(t, ExitMoney, exit.Code)
	require.Contains(t, out.String(), `"41": the journal has "40"`)

	c.JSON = true
	for _, f := range []func() error{
		func() error { return IncidentList(c, false) }, func() error { return IncidentShow(c, "inc_7") },
		func() error { return IncidentExport(c, "inc_7", "brief", "md", "") },
	} {
		out.Reset()
		require.NoError(t, f())
		require.True(t, json.Valid(out.Bytes()), out.String())
	}
	require.Contains(t, out.String(), `"texts"`)
	c.Lang = "en"
	require.ErrorContains(t, IncidentShow(c, "inc_8"), "no incident inc_8")
	require.NoError(t, j.Close())
	other, _ := incidentsOf(t.TempDir())
	require.ErrorContains(t, IncidentList(other, false), "start moneta watch")
}

// A note is written by whoever holds the journal: this command, or the watch.
func TestIncidentNote(t *testing.T) {
	t.Parallel()
	dir, j := incidentFolder(t)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /incidents/{id}/notes", func(w http.ResponseWriter, r *http.Request) { takeNote(w, r, j) })
	server := httptest.NewServer(mux)
	defer server.Close()
	c, out := incidentsOf(dir)
	require.ErrorIs(t, IncidentNote(t.Context(), c, "inc_7", "anna", "seen"), errNoWatch)
	raw, err := json.Marshal(watching{URL: server.URL, Token: "t"})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, watchFile), raw, 0o600))
	require.NoError(t, IncidentNote(t.Context(), c, "last", "anna", "seen"))
	require.Contains(t, out.String(), "entry 5")
	require.Error(t, IncidentNote(t.Context(), c, "inc_7", "anna", " "))

	for path, body := range map[string]string{"/incidents/inc_9/notes": `{"who":"a","text":"b"}`, "/incidents/inc_7/notes": `{"who":"a"}`} {
		res, err := http.Post(server.URL+path, "application/json", strings.NewReader(body))
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.GreaterOrEqual(t, res.StatusCode, 400)
	}
	require.NoError(t, j.Close())
	out.Reset()
	require.NoError(t, IncidentNote(t.Context(), c, "inc_7", "ben", "after the watch ended"))
	require.Contains(t, out.String(), "entry 6")
	out.Reset()
	require.NoError(t, IncidentShow(c, "inc_7"))
	require.Contains(t, out.String(), "anna notes: seen")
	require.Contains(t, out.String(), "ben notes: after the watch ended")
}

// The live view tells of the journal's entries as they come, and of what the watch says.
func TestIncidentWatchPlain(t *testing.T) {
	t.Parallel()
	dir, j := incidentFolder(t)
	now := watchNow{At: time.Now(), Alarms: []doctor.Alarm{{Hop: "dispatch", Says: "nothing leaves", Page: true}}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/now" {
			http.NotFound(w, r)
			return
		}
		answer(w, now)
	}))
	defer server.Close()
	raw, err := json.Marshal(watching{URL: server.URL, Token: "t"})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, watchFile), raw, 0o600))
	c, out := incidentsOf(dir)
	l := newLive(&c)
	defer l.close()
	said := ""
	step := func() string {
		out.Reset()
		m, err := l.look(t.Context())
		require.NoError(t, err)
		said, err = l.print(m, said)
		require.NoError(t, err)
		require.Len(t, m.Screen(80, 24), 24)
		return out.String()
	}
	first := step()
	require.Contains(t, first, "inc_7 incident opened: the oldest work is 31 s old")
	require.Contains(t, first, "Not well at dispatch: nothing leaves. At fault is postgres: ")
	require.Empty(t, step(), "nothing new is nothing to say")
	raw, err = json.Marshal(doctor.Note{Text: "look at the console"})
	require.NoError(t, err)
	_, err = j.Append(t.Context(), doctor.Entry{Incident: "inc_7", What: doctor.EntryNote, Who: "anna", Data: raw})
	require.NoError(t, err)
	require.Contains(t, step(), "anna notes: look at the console")
	now.Alarms = nil
	require.Contains(t, step(), "Everything moves again")
	server.Close()
	require.Contains(t, step(), "Nothing is known of now")

	none, out := incidentsOf(t.TempDir())
	l2 := newLive(&none)
	defer l2.close()
	m, err := l2.look(t.Context())
	require.NoError(t, err)
	_, err = l2.print(m, "")
	require.NoError(t, err)
	require.Contains(t, out.String(), "Nothing is known of now")
	require.ErrorContains(t, IncidentWatch(t.Context(), none, false), "--plain")
}
