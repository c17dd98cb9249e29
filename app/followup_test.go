package app

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/tell"
)

func ref[T any](v T) *T { return &v }

// On the command line, with nobody watching: a follow-up of the draft is taken, one is
// added, and what is still to be done stands first by its day.
func TestFollowUpsOnTheCommandLine(t *testing.T) {
	t.Parallel()
	dir, j := incidentFolder(t)
	require.NoError(t, j.Close())
	c, out := incidentsOf(dir)
	require.NoError(t, IncidentFollowUps(c, ""))
	require.Contains(t, out.String(), "Nothing that anybody wrote down")
	out.Reset()
	require.NoError(t, IncidentFollowUps(c, "last"))
	require.Contains(t, out.String(), "f-post")
	require.ErrorIs(t, IncidentFollow(t.Context(), c, "last", &FollowUpChange{Who: "anna", ID: "f-none", Owner: ref("ben")}), errNoFollowUp)
	require.ErrorContains(t, IncidentFollow(t.Context(), c, "last", &FollowUpChange{Who: "anna", ID: "f-post", Due: ref("soon")}), "2006-01-02")
	require.NoError(t, IncidentFollow(t.Context(), c, "last", &FollowUpChange{Who: "anna", ID: "f-post", Owner: ref("ben"), Due: ref("2999-12-01")}))
	require.NoError(t, IncidentFollow(t.Context(), c, "last", &FollowUpChange{Who: "anna", Text: ref("a second disk"), Due: ref("2020-01-01")}))
	out.Reset()
	require.NoError(t, IncidentFollowUps(c, ""))
	require.Regexp(t, `(?s)2020-01-01 overdue +a second disk\n.*inc_7 f-post +ben +2999-12-01 +Complete this draft`, out.String())
	require.NoError(t, IncidentFollow(t.Context(), c, "inc_7", &FollowUpChange{Who: "ben", ID: "f-post", Done: ref(true)}))
	out.Reset()
	require.NoError(t, IncidentExport(c, "inc_7", "post-mortem", "md", ""))
	require.Contains(t, out.String(), "[x] Complete this draft")
	require.Contains(t, out.String(), "[a second disk]")
	draft := filepath.Join(dir, "draft.md")
	require.NoError(t, os.WriteFile(draft, out.Bytes(), 0o600))
	require.NoError(t, IncidentCheck(c, "inc_7", draft))
}

// In the room, also after the end: an operator says so in their own name; the home of the
// incidents shows what is left of all, and the command goes through the watch.
func TestFollowUpsInTheRoom(t *testing.T) {
	t.Parallel()
	b := openConsole(t, WatchConfig{})
	j := b.watch.attendance.journal
	put := func(what string, v any) {
		raw, err := json.Marshal(v)
		require.NoError(t, err)
		_, err = j.Append(t.Context(), doctor.Entry{Incident: "inc_9", What: what, Who: "doctor", Data: raw})
		require.NoError(t, err)
	}
	put(doctor.EntryOpened, doctor.Opening{Alarm: doctor.Alarm{Rule: doctor.Progress, Hop: "dispatch", Says: "old"}})
	put(doctor.EntryClosed, doctor.Closing{Breaks: []string{"b"}, Owners: map[string]string{"b": "finance"}})
	for range 3 {
		_, err := b.watch.attendance.note(t.Context(), "", "doctor", "of nobody's incident")
		require.NoError(t, err)
	}
	const path = "/api/look/incidents/inc_9/follow-ups"
	b.signIn(visitor{Name: "vera", Role: access.Viewer, Tenant: 1})
	resp, _ := b.do(http.MethodPost, path, `{"text":"x"}`)
	require.Equal(t, 403, resp.StatusCode)
	b.signIn(visitor{Name: "olga", Role: access.Operate, Tenant: 1})
	for body, want := range map[string]int{`{"text":" "}`: 400, `{"id":"f-none","owner":"x"}`: 404, `{"text":"x","due":"1 May"}`: 400, `{"text":"x","more":1}`: 400} {
		resp, raw := b.do(http.MethodPost, path, body)
		require.Equal(t, want, resp.StatusCode, "%s: %s", body, raw)
	}
	resp, _ = b.do(http.MethodPost, "/api/look/incidents/inc_8/follow-ups", `{"text":"x"}`)
	require.Equal(t, 404, resp.StatusCode)
	for _, body := range []string{`{"text":"a second disk","owner":"ben","due":"2020-01-01","who":"the chief"}`, `{"id":"f-break-0","owner":"cleo"}`, `{"id":"f-post","done":true}`} {
		resp, raw := b.do(http.MethodPost, path, body)
		require.Equal(t, 200, resp.StatusCode, raw)
	}
	c := IncidentConfig{DataDir: b.watch.cfg.DataDir, Lang: "zh", Out: t.Output(), Err: t.Output()}
	raw, err := json.Marshal(watching{URL: b.file.URL, Token: b.file.Token})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(c.DataDir, watchFile), raw, 0o600))
	require.NoError(t, IncidentFollow(t.Context(), c, "last", &FollowUpChange{Who: "root", ID: "f-prove", Owner: ref("vera")}), "through the watch")

	var room struct{ Todo tell.Todo }
	b.get("/api/look/incidents/inc_9", &room)
	require.Equal(t, []any{"cleo", "olga"}, []any{room.Todo.Short[0].Owner, room.Todo.Short[0].By})
	require.Equal(t, []any{"a second disk", "ben", true}, []any{room.Todo.Added[0].Text, room.Todo.Added[0].Owner, room.Todo.Added[0].Overdue})
	var home struct {
		FollowUps []openFollowUp `json:"follow_ups"`
	}
	b.get("/api/look/incidents", &home)
	require.Len(t, home.FollowUps, 3, "what is done is not there")
	require.Equal(t, "a second disk", home.FollowUps[0].Text)
	require.True(t, home.FollowUps[0].Overdue)
	in, _ := j.Incident("inc_9")
	require.Len(t, in.Later, 4)
	require.WithinDuration(t, time.Now(), *room.Todo.Added[0].At, time.Hour)

	// More is said later than is kept of it: what is to be done stays, and whose it is.
	var said sync.WaitGroup
	for range 300 {
		said.Go(func() {
			_, err := b.watch.attendance.note(context.WithoutCancel(t.Context()), "inc_9", "vera", "a word")
			assert.NoError(t, err)
		})
	}
	said.Wait()
	was := room.Todo
	room.Todo = tell.Todo{}
	b.get("/api/look/incidents/inc_9", &room)
	require.Equal(t, was, room.Todo)
	resp, paper := b.do(http.MethodGet, "/api/look/incidents/inc_9/export/post-mortem?format=md", "")
	require.Equal(t, 200, resp.StatusCode, paper)
	require.Contains(t, string(paper), "a second disk")
	require.Contains(t, string(paper), "cleo")
}

// Two people who change one follow-up at once both have their word kept.
func TestTwoChangesOfOneFollowUp(t *testing.T) {
	t.Parallel()
	dir, j := incidentFolder(t)
	c, _ := incidentsOf(dir)
	s, err := c.source("last")
	require.NoError(t, err)
	for _, change := range []FollowUpChange{
		{Who: "anna", ID: "f-post", Owner: ref("ben")},
		{Who: "cleo", ID: "f-post", Due: ref("2999-12-01")},
		{Who: "dan", ID: "f-post", Done: ref(true)},
	} {
		line, err := change.entry(s, time.Now())
		require.NoError(t, err)
		_, err = j.AppendOf(t.Context(), s.Incident.ID, line)
		require.NoError(t, err)
	}
	in, ok := j.Incident(s.Incident.ID)
	require.True(t, ok)
	u := in.FollowUps[0]
	require.Equal(t, []any{"ben", "2999-12-01", true}, []any{u.Owner, u.Due, u.Done})
	require.NoError(t, j.Close())
}
