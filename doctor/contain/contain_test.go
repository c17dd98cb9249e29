package contain_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/contain"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/lever"
	"github.com/moneta-pay/moneta/lever/board"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node answers for levers as a node of Moneta does, and can fall ill. app's tests ask a
// real one.
type node struct {
	mu    sync.Mutex
	pulls []lever.Pull
	// ill answers 503, mute takes the request, does it, and does not answer in time.
	ill, mute bool
	asked     int
}

func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	if n.ill {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	switch {
	case r.Header.Get("Authorization") != "Bearer the-key":
		w.WriteHeader(http.StatusUnauthorized)
	case r.Method == http.MethodGet && r.URL.RawQuery != "":
		w.WriteHeader(http.StatusBadRequest) // what holds is told whole: a node takes no page of it
	case r.Method == http.MethodGet:
		n.list(w)
	case r.Method == http.MethodPost:
		n.pull(w, r)
	case r.Method == http.MethodDelete:
		for i := range n.pulls {
			if strings.HasSuffix(r.URL.Path, n.pulls[i].ID.String()) {
				n.pulls[i].UndoneAt = time.Now()
			}
		}
		fmt.Fprint(w, `{}`)
	}
}

func (n *node) list(w http.ResponseWriter) {
	var out []map[string]any
	for i := range n.pulls {
		if p := &n.pulls[i]; p.UndoneAt.IsZero() {
			out = append(out, map[string]any{"id": p.ID, "lever": p.Lever, "aim": p.Aim, "value": p.Value, "owner": p.Owner, "reason": p.Reason, "expires_at": p.Expires})
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"data": out})
}

func (n *node) pull(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Lever, Aim, Value, Owner, Reason string
		ForS                             int  `json:"for_s"`
		DryRun                           bool `json:"dry_run"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.ForS < 5 {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if body.Aim == "channel:none" {
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprint(w, `{"title":"There is no such channel"}`)
		return
	}
	aim, _ := lever.ParseAim(body.Aim)
	now := time.Now()
	p := lever.Pull{ID: lever.NewID(), Lever: lever.Name(body.Lever), Aim: aim, Value: body.Value, Owner: body.Owner, Reason: body.Reason, At: now, Expires: now.Add(time.Duration(body.ForS) * time.Second)}
	if !body.DryRun {
		n.pulls = append(n.pulls, p)
	}
	if n.mute {
		select { // a node that answers when nobody listens any more
		case <-r.Context().Done():
		case <-time.After(10 * time.Second):
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"id": p.ID, "expires_at": p.Expires, "radius": map[string]int{"open_payments": 7, "per_minute": 12}})
}

func (n *node) holds() (out []lever.Pull) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.pulls {
		if p.UndoneAt.IsZero() {
			out = append(out, p)
		}
	}
	return out
}

func (n *node) set(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
}

// clinic is the doctor's hands over a node and its folder.
type clinic struct {
	*node
	folder     string
	pull, undo doctor.Hand
	now        *clock.Manual
}

func open(t *testing.T) *clinic {
	t.Helper()
	c := &clinic{node: &node{}, folder: t.TempDir() + "/levers", now: clock.NewManual(time.Now())}
	server := httptest.NewServer(c.node)
	t.Cleanup(server.Close)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, h := range contain.Hands(contain.Config{URL: server.URL, Key: func() (string, error) { return "the-key", nil }, Folder: c.folder, Clock: c.now, Client: client}) {
		if h = doctor.Guarded(h); h.Does() == doctor.DoLever {
			c.pull = h
		} else {
			c.undo = h
		}
	}
	return c
}

func (c *clinic) files(t *testing.T) (out []lever.Pull) {
	t.Helper()
	all, broken, err := board.ReadLocally(c.folder)
	require.NoError(t, err)
	require.Empty(t, broken)
	for _, p := range all {
		if p.UndoneAt.IsZero() {
			out = append(out, p)
		}
	}
	return out
}

func pause(id string) doctor.Act {
	return doctor.Act{
		ID: id, Incident: "inc_1", Cause: "channel-timeouts", Do: doctor.DoLever, Aim: "channel:bank-ab", Why: "replies are lost",
		With: map[string]string{"lever": "pause-dispatch", "for": "10m"},
	}
}

func TestALeverIsPulledAndLetGo(t *testing.T) {
	t.Parallel()
	c := open(t)
	dry, err := c.pull.Try(t.Context(), pause("a"))
	require.NoError(t, err)
	require.Equal(t, 7, dry.Items)
	require.Equal(t, doctor.Instant, dry.Reach)
	require.Contains(t, dry.Before, "12 payments a minute")
	require.Empty(t, c.holds())

	began := time.Now()
	did, err := c.pull.Act(t.Context(), pause("a"))
	require.NoError(t, err)
	require.Less(t, time.Since(began), time.Second)
	require.Len(t, c.holds(), 1)
	require.Equal(t, contain.Owner, c.holds()[0].Owner)
	require.Contains(t, c.holds()[0].Reason, "replies are lost (inc_1, act ")
	require.Empty(t, c.files(t))

	again, err := c.pull.Act(t.Context(), pause("a"))
	require.NoError(t, err)
	require.True(t, again.Nothing, "once for an id")
	require.Len(t, c.holds(), 1)
	require.Equal(t, did.Undo, again.Undo)

	other := pause("b")
	other.With = map[string]string{"lever": "pause-dispatch", "for": "5m"}
	covered, err := c.pull.Act(t.Context(), other)
	require.NoError(t, err)
	require.True(t, covered.Nothing)
	require.Nil(t, covered.Undo, "what somebody else holds is his to let go")

	undone, err := c.undo.Act(t.Context(), *did.Undo)
	require.NoError(t, err)
	require.Equal(t, 1, undone.Items)
	require.Empty(t, c.holds())
	undone, err = c.undo.Act(t.Context(), *did.Undo)
	require.NoError(t, err)
	require.True(t, undone.Nothing)

	// A step names what it lets go of by lever and aim: the incident's own.
	_, err = c.pull.Act(t.Context(), pause("c"))
	require.NoError(t, err)
	byAim := doctor.Act{Incident: "inc_2", With: map[string]string{"lever": "pause-dispatch", "aim": "channel:bank-ab"}}
	undone, err = c.undo.Act(t.Context(), byAim)
	require.NoError(t, err)
	require.True(t, undone.Nothing, "another incident's")
	byAim.Incident = "inc_1"
	_, err = c.undo.Act(t.Context(), byAim)
	require.NoError(t, err)
	require.Empty(t, c.holds())
}

// While the API does not answer, the folder of the node is the way, within a second;
// what files may not pull is refused.
func TestWithoutTheAPI(t *testing.T) {
	t.Parallel()
	c := open(t)
	c.set(func() { c.ill = true })
	did, err := c.pull.Act(t.Context(), pause("a"))
	require.NoError(t, err)
	require.Contains(t, did.After, "by a file")
	require.Len(t, c.files(t), 1)
	again, err := c.pull.Act(t.Context(), pause("a"))
	require.NoError(t, err)
	require.True(t, again.Nothing)
	require.Len(t, c.files(t), 1)
	limit := pause("b")
	limit.With = map[string]string{"lever": "limit", "value": "600/1m"}
	_, err = c.pull.Act(t.Context(), limit)
	require.ErrorContains(t, err, "not pulled by a file")

	undone, err := c.undo.Act(t.Context(), *did.Undo)
	require.NoError(t, err)
	require.Equal(t, 1, undone.Items)
	require.Empty(t, c.files(t))

	// Holders are told although nobody can write to the table, and a channel is let be.
	for _, with := range []map[string]string{
		{"lever": "banner", "aim": "everything", "value": "Payments take longer than usual.", "value_zh": "付款比平时慢。"},
		{"lever": "breaker", "aim": "channel:bank-ab"},
	} {
		act := pause("c-" + with["lever"])
		act.With = with
		_, err = c.pull.Try(t.Context(), act)
		require.NoError(t, err)
		did, err = c.pull.Act(t.Context(), act)
		require.NoError(t, err)
		require.Len(t, c.files(t), 1)
		_, err = c.undo.Act(t.Context(), *did.Undo)
		require.NoError(t, err)
		require.Empty(t, c.files(t))
	}
}

// A node that pulls and answers too late: both levers hold, and one undo lets go of
// both.
func TestAnAnswerThatComesTooLate(t *testing.T) {
	t.Parallel()
	c := open(t)
	c.set(func() { c.mute = true })
	a := pause("a")
	did, err := c.pull.Act(t.Context(), a)
	require.NoError(t, err)
	require.Len(t, c.files(t), 1)
	c.set(func() { c.mute = false })
	c.now.Advance(5 * time.Second) // it is asked again
	again, err := c.pull.Act(t.Context(), a)
	require.NoError(t, err)
	require.True(t, again.Nothing)
	_, err = c.undo.Act(t.Context(), *did.Undo)
	require.NoError(t, err)
	require.Empty(t, c.holds())
	require.Empty(t, c.files(t))
}

func TestWhatTheDoctorDoesNotPull(t *testing.T) {
	t.Parallel()
	c := open(t)
	for want, change := range map[string]func(*doctor.Act){
		"at most 2h":      func(a *doctor.Act) { a.With["for"] = "3h" },
		"no time":         func(a *doctor.Act) { a.With["for"] = "soon" },
		"no such lever":   func(a *doctor.Act) { a.With["lever"] = "pray" },
		"no such channel": func(a *doctor.Act) { a.Aim = "channel:none" },
		"aim":             func(a *doctor.Act) { a.Aim = "channel:" },
		"never (N11)": func(a *doctor.Act) {
			a.With["lever"], a.With["value"], a.Aim = "limit", "1/1s", "route:receive-callback"
		},
		"never (N12)": func(a *doctor.Act) {
			a.With["lever"], a.With["value"], a.With["value_zh"] = "banner", "Please pay again.", "请稍候。"
		},
	} {
		a := pause(want)
		change(&a)
		for _, f := range []string{"try", "act"} {
			var err error
			if f == "try" {
				_, err = c.pull.Try(t.Context(), a)
			} else {
				_, err = c.pull.Act(t.Context(), a)
			}
			require.Error(t, err, want)
			require.Contains(t, strings.ToLower(err.Error()), strings.ToLower(want))
		}
	}
	require.Empty(t, c.holds())
	require.Empty(t, c.files(t))
	wide := pause("wide")
	wide.Aim, wide.With["lever"] = "", "safe-mode"
	dry, err := c.pull.Try(t.Context(), wide)
	require.NoError(t, err)
	require.Equal(t, doctor.Undoable, dry.Reach, "what stops everything takes more")
	c.set(func() {
		c.pulls = append(c.pulls, lever.Pull{ID: lever.NewID(), Lever: lever.ReadOnly, Aim: lever.Aim{By: lever.Everything}, Owner: "ann", Reason: "mine", Expires: time.Now().Add(time.Hour)})
	})
	_, err = c.undo.Act(t.Context(), doctor.Act{Do: doctor.DoUndoLever, With: map[string]string{"id": c.holds()[0].ID.String()}})
	require.ErrorContains(t, err, "ann's")
}
