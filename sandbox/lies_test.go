package sandbox_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/sandbox"
)

// What the bank says, and what its books say, when it contradicts itself.
func TestContradictions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		how          string
		reply, query string // substrings
		callbacks    []string
		moved        int
	}{
		"reply":      {`{"reply_lies":1}`, "declined", "executed", []string{"payment.executed"}, 1},
		"query":      {`{"query_lies":1}`, "accepted", "declined", []string{"payment.executed"}, 1},
		"callback":   {`{"callback_lies":1}`, "accepted", "executed", []string{"payment.declined"}, 1},
		"afterwards": {`{"callback_contradict":1}`, "accepted", "executed", []string{"payment.executed", "payment.declined"}, 1},
		"declined":   {`{"reply_lies":1,"decline":{"probability":1,"reason":"closed"}}`, "executed", "declined", []string{"payment.declined"}, 0},
		"scale":      {`{"wrong_scale":1}`, `"70000"`, `"70000"`, []string{"payment.executed"}, 1},
		"no id":      {`{"no_bank_id":1}`, `"status":"accepted"`, `"status":"executed"`, []string{"payment.executed"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			to := listen(t)
			w := start(t, sandbox.Config{CallbackURL: to.url})
			w.behave(c.how)
			status, reply := w.pay("a", "700")
			require.Equal(t, http.StatusAccepted, status)
			require.Contains(t, reply, c.reply)
			require.Equal(t, name != "no id", strings.Contains(reply, "bank_id"))
			for _, kind := range c.callbacks {
				require.Equal(t, kind, to.next(t).Type)
			}
			_, answer := w.call(http.MethodGet, "/banks/ab/payments/a", "")
			require.Contains(t, answer, c.query)
			require.Equal(t, c.moved, w.moved("a"))
		})
	}
}

func TestQueryAboutAnother(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.Config{})
	w.pay("a", "700")
	w.pay("b", "900")
	w.behave(`{"query_other":1}`)
	_, answer := w.call(http.MethodGet, "/banks/ab/payments/a", "")
	require.Contains(t, answer, `"reference":"a"`)
	require.Contains(t, answer, `"900"`)
}

func TestGhostExecutesUnseen(t *testing.T) {
	t.Parallel()
	clk := clock.NewManual(noon)
	w := start(t, sandbox.Config{Clock: clk})
	w.behave(`{"ghost":{"probability":1,"min_ms":20000,"max_ms":20000}}`)
	status, _ := w.pay("a", "700")
	require.Zero(t, status, "the connection was dropped")
	status, _ = w.call(http.MethodGet, "/banks/ab/payments/a", "")
	require.Equal(t, http.StatusNotFound, status)
	require.Zero(t, w.moved("a"))
	clk.Advance(21 * time.Second)
	require.NoError(t, w.server.Tick(t.Context()))
	status, _ = w.call(http.MethodGet, "/banks/ab/payments/a", "")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, 1, w.moved("a"))
}

func TestCancel(t *testing.T) {
	t.Parallel()
	clk := clock.NewManual(noon)
	dir := t.TempDir()
	w := start(t, sandbox.Config{Clock: clk, Dir: dir})
	w.behave(`{"execute_delay":{"probability":1,"min_ms":5000,"max_ms":5000}}`)
	cancel := func(reference string) int {
		status, _ := w.call(http.MethodPost, "/banks/ab/payments/"+reference+"/cancel", "")
		return status
	}
	w.pay("early", "5")
	w.pay("late", "5")
	require.Equal(t, http.StatusOK, cancel("early"))
	require.Equal(t, http.StatusOK, cancel("early"), "twice is the same")
	require.Equal(t, http.StatusOK, cancel("never-seen"))
	w.behave(`{"cancel_ignored":1,"execute_delay":{"probability":1,"min_ms":5000,"max_ms":5000}}`)
	w.pay("deaf", "5")
	require.Equal(t, http.StatusOK, cancel("deaf"))
	clk.Advance(6 * time.Second)
	require.NoError(t, w.server.Tick(t.Context()))
	require.Equal(t, http.StatusConflict, cancel("late"), "too late")
	require.Equal(t, []int{0, 1, 1}, []int{w.moved("early"), w.moved("late"), w.moved("deaf")})
	_, answer := w.call(http.MethodGet, "/banks/ab/payments/early", "")
	require.Contains(t, answer, `"reason":"cancelled"`)
	w.stop()

	w = start(t, sandbox.Config{Clock: clk, Dir: dir})
	w.behave(`{"mode":"sync"}`)
	_, answer = w.pay("never-seen", "5")
	require.Contains(t, answer, `"declined"`, "forbidden, and the journal knows it")
	_, answer = w.call(http.MethodGet, "/banks/ab/payments/early", "")
	require.Contains(t, answer, `"reason":"cancelled"`)
}

func TestBudgetsAndWindows(t *testing.T) {
	t.Parallel()
	clk := clock.NewManual(noon)
	w := start(t, sandbox.Config{Clock: clk})
	after := func(method, path string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, w.url+path, strings.NewReader(`{"reference":"x","amount":"5","asset":"CZK","account":"1"}`))
		require.NoError(t, err)
		resp, err := w.client.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode, resp.Header.Get("Retry-After")
	}
	w.behave(`{"rate_limit":{"requests":2,"window_ms":10000}}`)
	for range 2 {
		status, _ := after(http.MethodPost, "/banks/ab/payments")
		require.Equal(t, http.StatusAccepted, status)
	}
	status, wait := after(http.MethodPost, "/banks/ab/payments")
	require.Equal(t, []any{http.StatusTooManyRequests, "10"}, []any{status, wait})
	clk.Advance(10 * time.Second)
	status, _ = after(http.MethodPost, "/banks/ab/payments")
	require.Equal(t, http.StatusAccepted, status)

	w.behave(`{"query_budget":{"requests":1,"window_ms":60000}}`)
	for reference, want := range map[string]int{"x": http.StatusOK, "y": http.StatusNotFound} {
		status, _ := after(http.MethodGet, "/banks/ab/payments/"+reference)
		require.Equal(t, want, status)
		status, wait := after(http.MethodGet, "/banks/ab/payments/"+reference)
		require.Equal(t, []any{http.StatusTooManyRequests, "60"}, []any{status, wait})
	}
	w.behave(`{"maintenance":{"from":"23:30","until":"12:01"}}`)
	status, wait = after(http.MethodPost, "/banks/ab/payments")
	require.Equal(t, []any{http.StatusServiceUnavailable, "50"}, []any{status, wait})
	clk.Advance(50 * time.Second)
	status, _ = after(http.MethodPost, "/banks/ab/payments")
	require.Equal(t, http.StatusAccepted, status)
}

func TestSecondTapAndForgottenReference(t *testing.T) {
	t.Parallel()
	clk := clock.NewManual(noon)
	w := start(t, sandbox.Config{Clock: clk})
	w.behave(`{"mode":"sync","duplicate_check_ms":60000}`)
	w.pay("a", "700")
	_, answer := w.pay("b", "700")
	require.Contains(t, answer, `"reason":"duplicate"`)
	_, answer = w.pay("c", "701")
	require.Contains(t, answer, "executed")

	w.behave(`{"mode":"sync","dedup_window_ms":1000}`)
	w.pay("c", "701")
	require.Equal(t, 1, w.moved("c"))
	clk.Advance(2 * time.Second)
	w.pay("c", "701")
	require.Equal(t, 2, w.moved("c"), "the bank has forgotten")
	w.behave(`{"conflict":1}`)
	status, answer := w.pay("c", "701")
	require.Equal(t, http.StatusConflict, status)
	require.Contains(t, answer, "in_progress")
}

func TestWrongClockAndSignatures(t *testing.T) {
	t.Parallel()
	to := listen(t)
	w := start(t, sandbox.Config{CallbackURL: to.url})
	w.behave(`{"clock_skew_ms":7200000}`)
	before := time.Now()
	w.pay("a", "700")
	require.True(t, to.next(t).genuine)
	var seen struct {
		ExecutedAt time.Time `json:"executed_at"`
	}
	w.get("/banks/ab/payments/a", &seen)
	require.True(t, seen.ExecutedAt.After(before.Add(time.Hour)), "its clock is two hours ahead")
	var books struct {
		Effects []struct {
			ExecutedAt time.Time `json:"executed_at"`
		}
	}
	w.get("/banks/ab/books", &books)
	require.WithinDuration(t, before, books.Effects[0].ExecutedAt, time.Minute, "the books keep true time")

	w.behave(`{"callback_reencode":1}`)
	w.pay("b", "700")
	require.False(t, to.next(t).genuine, "signed before it was written anew")
	w.behave(`{"callback_secret":"another"}`)
	w.pay("c", "700")
	require.False(t, to.next(t).genuine, "another secret")
	w.behave(`{"callback_replay":1}`)
	w.pay("d", "700")
	first := to.next(t)
	for first.Reference != "d" || !first.genuine {
		first = to.next(t)
	}
	again := to.next(t)
	for again.Reference != "d" {
		again = to.next(t)
	}
	require.Equal(t, first.EventID, again.EventID, "the same event, with a signature of last hour")
}

// The test endpoint has the bank's behaviour and books of its own.
func TestTwin(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.Config{})
	w.behave(`{"mode":"sync","dedup":false}`)
	for range 2 {
		_, answer := w.call(http.MethodPost, "/test/banks/ab/payments", `{"reference":"t","amount":"5","asset":"CZK","account":"1"}`)
		require.Contains(t, answer, "executed")
	}
	require.Zero(t, w.moved("t"))
	var books struct{ Effects []effect }
	w.get("/test/banks/ab/books", &books)
	require.Len(t, books.Effects, 2)
	status, _ := w.call(http.MethodPut, "/test/banks/ab/behaviour", `{}`)
	require.Equal(t, http.StatusNotFound, status, "the behaviour is switched at the bank")
}
