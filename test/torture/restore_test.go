package torture

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgserver"
)

// dispatchState is GET /v1/dispatch.
type dispatchState struct {
	Paused     bool   `json:"paused"`
	Waiting    int    `json:"waiting"`
	OpenGaps   int    `json:"open_gaps"`
	ClosedGaps int    `json:"closed_gaps"`
	ResumedBy  string `json:"resumed_by"`
}

// burst is more than the sandbox's channels have slots, so that some payouts of it
// wait while others are on the wire.
const burst = 300

// TestRestore loses everything after a second, while the banks go on knowing it.
func TestRestore(t *testing.T) {
	together(t)
	archive := filepath.Join(folder(t), "log")
	w := newWorld(t, "--archive", archive)
	w.extra = nil // the restored clusters archive nothing
	house := w.openHouse("cash")
	w.payOut(house, "before", 20)
	w.awaitFinal()
	backup := filepath.Join(w.dir, "backup")
	w.moneta("backup", "--data", w.dir, "--to", backup)

	// At the second: some payouts wait for their first attempt, others are on the wire.
	w.behave("ab", `{"magic_amounts": false, "latency": {"probability": 1, "min_ms": 1500, "max_ms": 1500}}`)
	w.payOut(house, "across", burst)
	var at time.Time
	eventually(t, 20*time.Second, "attempts on the wire while others wait", func() (bool, string) {
		var waiting, onWire int
		w.query(&waiting, `select count(*) from open_payments where attempt = 0`)
		w.query(&onWire, `select count(*) from open_payments where attempt = 1`)
		w.query(&at, `select clock_timestamp()`)
		return waiting > 0 && onWire > 0, fmt.Sprint(waiting, onWire)
	})
	during(t.Context(), 50*time.Millisecond) // for a commit behind the second
	w.heal()
	w.payOut(house, "lost", 5)
	w.awaitFinal()

	// The machine dies; what is left is the backup, the archive and the banks.
	before, old := w.books(), w.dir
	postmaster := w.killUp()
	killPid(t, postmaster)
	eventually(t, 30*time.Second, "the postmaster is gone", func() (bool, string) { return !alive(postmaster), "it runs" })

	// To the end of the log: nothing is missing, and dispatch goes on by itself.
	w.restore(backup, old)
	end := w.dir
	var n int
	w.query(&n, `select count(*) from payments where kind = 2`)
	require.Equal(t, 20+burst+5, n, "a payment that was acknowledged is not in the archive")
	s := w.awaitDispatch(30*time.Second, func(s dispatchState) bool { return !s.Paused })
	require.Equal(t, "gap finder", s.ResumedBy)
	postmaster = w.killUp()
	killPid(t, postmaster)
	eventually(t, 30*time.Second, "the postmaster is gone", func() (bool, string) { return !alive(postmaster), "it runs" })

	// To the second: the banks know more than we do.
	w.restore(backup, end, "--to-time", at.UTC().Format(time.RFC3339Nano))
	w.query(&n, `select count(*) from payments where remittance like 'lost-%'`)
	require.Zero(t, n, "restored past the second")
	s = w.awaitDispatch(60*time.Second, func(s dispatchState) bool { return s.OpenGaps == 5 && s.Waiting == 0 })
	require.True(t, s.Paused, "gaps are open, and nobody has said that it may go on")
	require.Positive(t, s.ClosedGaps, "no restored payout was taken over from the bank's word")
	figure(t, "restore: attempts taken over from the bank", "%d", s.ClosedGaps)
	w.query(&n, `select count(*) from breaks where class <> 'restore_gap'`)
	require.Zero(t, n, "breaks of another class")

	// While it is paused, what is new waits; then a person says go.
	w.payOut(house, "after", 3)
	during(t.Context(), time.Second)
	w.query(&n, `select count(*) from open_payments where attempt = 0`)
	require.Equal(t, 3, n, "something was sent while dispatch was paused")
	status, answer := w.admin(http.MethodPost, "/v1/dispatch/resume", `{"reason": "the five are known"}`)
	require.Equal(t, http.StatusOK, status, answer)
	w.awaitFinal()
	w.onceOutside(before, 3)
	w.query(&n, `select count(*) from payments p join transitions t on t.payment = p.id and t.to_state = 6 where p.kind = 2 and t.transition = 7`)
	require.Equal(t, 20+burst+3, n, "payouts that succeeded")

	// The control: what a plane that is not paused sends again, under a new reference.
	known := len(w.books())
	again, answer := w.bankCall(http.MethodPost, "/banks/ab/payments", fmt.Sprintf(
		`{"reference":"M-again","amount":"104","asset":%q,"account":"1","remittance":"lost-4"}`, asset))
	require.Equal(t, http.StatusAccepted, again, answer)
	eventually(t, 30*time.Second, "the bank executes it", func() (bool, string) { return len(w.books()) > known, "not yet" })
	require.Equal(t, "lost-4 moved twice", twice(w.books()), "a payout went out again and the judge is blind")
}

// twice names what moved more than once; empty if nothing did.
func twice(books []effect) string {
	seen := make(map[string]bool)
	for _, e := range books {
		if seen[e.Remittance] {
			return e.Remittance + " moved twice"
		}
		seen[e.Remittance] = true
	}
	return ""
}

// onceOutside holds the banks' books against what they were before the restores:
// nothing twice, and only what is new beside it.
func (w *world) onceOutside(before []effect, more int) {
	w.t.Helper()
	after := w.books()
	require.Len(w.t, after, len(before)+more, "the banks executed something again")
	require.Empty(w.t, twice(after))
}

// restore makes a new installation from the backup, which meets the same banks,
// and starts it.
func (w *world) restore(backup, banksOf string, more ...string) {
	w.t.Helper()
	w.dir = filepath.Join(folder(w.t), "restored")
	began := time.Now()
	said := w.moneta(append([]string{"restore", "--from", backup, "--data", w.dir}, more...)...)
	figure(w.t, "restore: "+strings.Join(append([]string{"to"}, more...), " "), "%.2f s", time.Since(began).Seconds())
	require.Contains(w.t, said, "Recounted")
	require.NoError(w.t, os.CopyFS(filepath.Join(w.dir, "sandbox"), os.DirFS(filepath.Join(banksOf, "sandbox"))))
	place, _, err := pgserver.Place(w.t.Context(), filepath.Join(w.dir, "pg"))
	require.NoError(w.t, err)
	w.place = place
	w.start()
	w.readKeys()
	w.connect()
	w.heal()
}

// moneta runs one command to its end.
func (w *world) moneta(args ...string) string {
	w.t.Helper()
	p := start(w.t, filepath.Dir(w.dir), filepath.Base(w.dir)+"-"+args[0], nil, args...)
	w.t.Cleanup(func() { _ = os.Remove(p.log) })
	p.waitGone(w.t, 2*time.Minute)
	require.NoError(w.t, p.err, tail(p.log))
	return tail(p.log)
}

func (w *world) admin(method, path, body string) (int, string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	status, raw, err := call(ctx, http.DefaultClient, method, w.api+path, w.keys.Admin, "", body)
	require.NoError(w.t, err)
	return status, string(raw)
}

func (w *world) awaitDispatch(within time.Duration, met func(dispatchState) bool) (s dispatchState) {
	w.t.Helper()
	eventually(w.t, within, "dispatch gets there", func() (bool, string) {
		status, answer := w.admin(http.MethodGet, "/v1/dispatch", "")
		require.Equal(w.t, http.StatusOK, status, answer)
		s = dispatchState{}
		require.NoError(w.t, json.Unmarshal([]byte(answer), &s))
		return met(s), answer
	})
	return s
}

func (w *world) openHouse(name string) string {
	w.t.Helper()
	c := &client{http: http.DefaultClient, nodes: []string{w.api}, key: w.keys.Admin, attempt: 5 * time.Second}
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	id, err := c.open(ctx, name, "house")
	require.NoError(w.t, err)
	return id
}

// payOut orders n payouts in one request, each with a remittance of its own.
func (w *world) payOut(from, name string, n int) {
	w.t.Helper()
	var orders []string
	for i := range n {
		orders = append(orders, fmt.Sprintf(`{"idempotency_key": "%s-%d", "kind": "payout", "from": %q, "channel": "bank-ab",
		  "payee": {"account": "1"}, "amount": "%d", "asset": "CZK", "remittance": "%s-%d"}`, name, i, from, 100+i, name, i))
	}
	status, answer := w.admin(http.MethodPost, "/v1/payments/batch", `{"payments": [`+strings.Join(orders, ",")+`]}`)
	require.Equal(w.t, http.StatusOK, status, answer)
	require.Equal(w.t, n, strings.Count(answer, `"status":201`), answer)
}

func (w *world) awaitFinal() {
	w.t.Helper()
	eventually(w.t, 90*time.Second, "everything is final", func() (bool, string) {
		var open int
		w.query(&open, `select count(*) from open_payments`)
		return open == 0, fmt.Sprint(open, " open")
	})
}
