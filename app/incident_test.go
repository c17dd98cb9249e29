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
	incidentRoutes(mux, j)
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

	get := func(path string) (int, string) {
		res, err := http.Get(server.URL + path)
		require.NoError(t, err)
		defer func() { _ = res.Body.Close() }()
		var b bytes.Buffer
		_, err = b.ReadFrom(res.Body)
		require.NoError(t, err)
		return res.StatusCode, b.String()
	}
	code, body := get("/journal?after=3")
	require.Equal(t, 200, code)
	require.Contains(t, body, `"seq":5`)
	require.NotContains(t, body, `"seq":3,`)
	code, _ = get("/journal?after=x")
	require.Equal(t, 400, code)
	code, body = get("/incidents")
	require.Equal(t, 200, code)
	require.Contains(t, body, `"kept":5`)
	code, _ = get("/incidents/inc_7")
	require.Equal(t, 200, code)
	code, _ = get("/incidents/inc_9")
	require.Equal(t, 404, code)

	require.NoError(t, j.Close())
	out.Reset()
	require.NoError(t, IncidentNote(t.Context(), c, "inc_7", "ben", "after the watch ended"))
	require.Contains(t, out.String(), "entry 6")
	out.Reset()
	require.NoError(t, IncidentShow(c, "inc_7"))
	require.Contains(t, out.String(), "anna notes: seen")
	require.Contains(t, out.String(), "ben notes: after the watch ended")
}
