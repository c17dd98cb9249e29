package torture

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Levers on two nodes under load: a pull is effective on both, survives the death of
// the leader in the same moment and a leader that stood still, is pulled by a file
// while the database is frozen, and lets callbacks through all the time.
func TestLevers(t *testing.T) {
	together(t)
	p := newPair(t)
	l := newLoad(t, p.world, "levers", 24, 6, 60*time.Millisecond)
	l.nodes, l.attempt = []string{p.api, p.url}, 4*time.Second
	l.run()
	l.awaitAcks(t, 50, time.Minute)

	// Pulled on one node, effective on both.
	began := time.Now()
	id := p.pullLever(p.url, `"lever":"pause-dispatch","aim":"everything"`)
	for _, node := range []string{p.api, p.url} {
		eventually(t, 10*time.Second, "it holds on "+node, func() (bool, string) {
			n := p.holding(node, "pause-dispatch")
			return n == "1", n
		})
	}
	took := time.Since(began)
	figure(t, "a lever holds on both nodes after", "%s", took.Round(time.Millisecond))
	p.nothingNewLeaves("while it is pulled", time.Now())
	settled := p.settled()
	p.undoLever(p.url, id)
	l.awaitAcks(t, 30, time.Minute)
	p.attemptsGoOn("after the undo", time.Now())
	require.GreaterOrEqual(t, p.settled(), settled)

	// The leader dies in the moment of the pull; its successor sends nothing.
	p.secondLeads()
	id = p.pullLever(p.api, `"lever":"pause-dispatch","aim":"everything"`)
	killPid(t, p.second.pid)
	p.second.waitGone(t, 5*time.Second)
	p.awaitReady(p.api)
	p.nothingNewLeaves("under the successor", time.Now())
	p.undoLever(p.api, id)
	p.attemptsGoOn("after the undo on the successor", time.Now())

	// The node stands still while the lever is pulled by a file beside it.
	pid := p.servePid()
	require.NotZero(t, pid)
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	id = p.pullLocally("pause-dispatch")
	during(context.Background(), 3*time.Second)
	require.NoError(t, syscall.Kill(pid, syscall.SIGCONT))
	thawed := time.Now()
	eventually(t, time.Minute, "the thawed node, or its next process, holds it", func() (bool, string) {
		n := p.holding(p.api, "pause-dispatch")
		return n == "1", n
	})
	p.nothingNewLeaves("after the thaw", thawed)
	p.undoLever(p.api, id)
	p.attemptsGoOn("after the third undo", time.Now())

	// The database is frozen: the file is the only road.
	frozen := p.freezePostgres()
	id = p.pullLocally("safe-mode")
	eventually(t, 20*time.Second, "it holds without the database", func() (bool, string) {
		n := p.holding(p.api, "safe-mode")
		return n == "1", n
	})
	thaw(frozen)
	var by string
	eventually(t, time.Minute, "it is in the table with who pulled it", func() (bool, string) {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		err := p.db.QueryRow(ctx, `select by from facts.levers where lever = 'safe-mode'`).Scan(&by)
		return err == nil, fmt.Sprint(err)
	})
	require.True(t, strings.HasPrefix(by, "local "), by)
	p.awaitReady(p.api)
	eventually(t, time.Minute, "new payments are refused, and say so", func() (bool, string) {
		status, answer, err := call(t.Context(), newHTTP(1), http.MethodPost, p.api+"/v1/payments", p.keys.Tenant, fmt.Sprint("refused", time.Now().UnixNano()),
			`{"kind":"send","from":"`+l.accounts[0]+`","to":"`+l.accounts[1]+`","amount":"1","asset":"`+asset+`"}`)
		return err == nil && status == http.StatusServiceUnavailable && strings.Contains(string(answer), "intake-paused"), fmt.Sprint(status, string(answer), err)
	})
	status, answer, err := call(t.Context(), newHTTP(1), http.MethodPost, p.api+"/v1/channels/bank-ab/callbacks", "", "", `{"nobody":"signed this"}`)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status, "callbacks are stored and acknowledged in safe mode: %s", answer)
	p.undoLever(p.api, id)
	l.awaitAcks(t, 30, time.Minute)
	prove(t, p.world, l, l.stop())
}

func (w *world) pullLever(node, what string) (id string) {
	w.t.Helper()
	eventually(w.t, time.Minute, "pull "+what, func() (bool, string) {
		status, answer, err := call(context.Background(), newHTTP(1), http.MethodPost, node+"/v1/levers", w.keys.Admin, "",
			`{`+what+`,"owner":"torture","reason":"a test","for_s":600}`)
		var got struct{ ID string }
		if err == nil && status == http.StatusCreated {
			err = json.Unmarshal(answer, &got)
			id = got.ID
		}
		return err == nil && id != "", fmt.Sprint(status, string(answer), err)
	})
	return id
}

func (w *world) undoLever(node, id string) {
	w.t.Helper()
	eventually(w.t, time.Minute, "undo "+id, func() (bool, string) {
		status, answer, err := call(context.Background(), newHTTP(1), http.MethodDelete, node+"/v1/levers/"+id+"?reason=over", w.keys.Admin, "", "")
		return err == nil && status == http.StatusOK, fmt.Sprint(status, string(answer), err)
	})
}

// pullLocally pulls by a file on the machine, as a person would.
func (w *world) pullLocally(lever string) string {
	w.t.Helper()
	var got struct{ ID string }
	require.NoError(w.t, json.Unmarshal(w.run("lever", "pull", lever, "--local", "--data", w.dir, "--for", "10m", "--owner", "torture", "--reason", "a test", "--json"), &got))
	require.NotEmpty(w.t, got.ID)
	return got.ID
}

var holdingLine = regexp.MustCompile(`moneta_levers_holding\{lever="([a-z-]+)"\} (\d+)`)

// holding is how many levers of the name hold on the node, by its metrics: they need
// no database.
func (w *world) holding(node, lever string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, node+"/metrics", nil)
	if err != nil {
		return err.Error()
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	for _, m := range holdingLine.FindAllStringSubmatch(string(raw), -1) {
		if m[1] == lever {
			return m[2]
		}
	}
	return "0"
}

// nothingNewLeaves watches that no attempt is sent that was intended after since. One
// that was intended before the lever was seen and not sent any more is never_sent.
func (w *world) nothingNewLeaves(when string, since time.Time) {
	w.t.Helper()
	during(context.Background(), 3*time.Second)
	var sent, waiting int64
	w.query(&sent, `select count(*) from attempts where intended_at > $1 and state <> 7`, since)
	require.Zero(w.t, sent, "attempts that left %s", when)
	w.query(&waiting, `select count(*) from open_payments where hop = 'dispatch'`)
	require.Positive(w.t, waiting, "the load brings payouts that wait %s: else the test shows nothing", when)
}

func (w *world) attemptsGoOn(when string, since time.Time) {
	w.t.Helper()
	eventually(w.t, time.Minute, "attempts go on "+when, func() (bool, string) {
		var sent int64
		w.query(&sent, `select count(*) from attempts where intended_at > $1 and state <> 7`, since)
		return sent > 0, fmt.Sprint(sent)
	})
}

func (w *world) settled() (n int64) {
	w.t.Helper()
	w.query(&n, `select count(*) from inbox where applied_at is not null`)
	return n
}
