package sandbox_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/sandbox"
)

func TestHonestBank(t *testing.T) {
	t.Parallel()
	box := listen(t)
	w := start(t, sandbox.Config{CallbackURL: box.url})
	status, answer := w.pay("p-1", "700")
	require.Equal(t, http.StatusAccepted, status)
	require.JSONEq(t, `{"status":"accepted","direction":"out","reference":"p-1","amount":"700","asset":"CZK","bank_id":"AB-00000001","remittance":"r"}`, answer)
	told := box.next(t)
	require.Equal(t, callback{
		EventID: "evt_ab_1_1", Type: "payment.executed", Bank: "ab", Reference: "p-1", Direction: "out", Amount: "700", genuine: true,
	}, told)
	var found map[string]any
	w.get("/banks/AB/payments/p-1", &found)
	require.Equal(t, "executed", found["status"])
	require.Equal(t, []effect{{1, "out", "p-1", "700"}}, w.effects())

	_, again := w.pay("p-1", "700")
	require.Contains(t, again, `"status":"executed"`)
	require.Len(t, w.effects(), 1)
	status, answer = w.pay("p-1", "701")
	require.Equal(t, http.StatusConflict, status, answer)

	status, _ = w.call(http.MethodPost, "/banks/ab/instructions", `{"reference":"d-1","amount":"50","asset":"CZK","remittance":"hi","from_account":"9"}`)
	require.Equal(t, http.StatusAccepted, status)
	credit := box.next(t)
	require.Equal(t, "credit.executed", credit.Type)
	require.Equal(t, "in", credit.Direction)
	var list struct {
		Banks []struct{ Balances map[string]string }
	}
	w.get("/banks", &list)
	require.Equal(t, map[string]string{"CZK": "-650"}, list.Banks[0].Balances)
}

// Every fault, by behaviour: what the caller sees, and what really happened.
func TestFaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		behaviour string
		status    int
		contains  string
		executed  int
	}{
		"sync":             {`{"mode":"sync"}`, 202, `"status":"executed"`, 1},
		"lose before":      {`{"lose_before":1}`, 0, "", 0},
		"lose reply":       {`{"lose_reply":1}`, 0, "", 1},
		"500 before":       {`{"error_500":{"probability":1,"executed":false,"status":503}}`, 503, "error", 0},
		"500 after":        {`{"error_500":{"probability":1,"executed":true,"status":500}}`, 500, "error", 1},
		"html before":      {`{"error_html":{"probability":1,"executed":false,"status":502}}`, 502, "<html>", 0},
		"html after":       {`{"error_html":{"probability":1,"executed":true,"status":200}}`, 200, "<html>", 1},
		"decline":          {`{"decline":{"probability":1,"reason":"account_closed","late":false}}`, 202, `"reason":"account_closed"`, 0},
		"decline, late":    {`{"decline":{"probability":1,"reason":"account_closed","late":true}}`, 202, `"status":"accepted"`, 0},
		"executes later":   {`{"execute_delay":{"probability":1,"min_ms":60000,"max_ms":60000}}`, 202, `"status":"accepted"`, 0},
		"latency":          {`{"latency":{"probability":1,"min_ms":5,"max_ms":9}}`, 202, `"status":"accepted"`, 1},
		"held, then lost":  {`{"lose_reply":1,"hold":{"probability":1,"min_ms":5,"max_ms":9}}`, 0, "", 1},
		"probability is 0": {`{"lose_reply":0,"error_500":{"probability":0,"executed":true,"status":500}}`, 202, "accepted", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, sandbox.Config{})
			w.behave(c.behaviour)
			status, answer := w.pay("p-1", "700")
			require.Equal(t, c.status, status)
			require.Contains(t, answer, c.contains)
			require.Equal(t, c.executed, w.moved("p-1"))
		})
	}
}

func TestNoDedupDoubles(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.Config{})
	w.behave(`{"dedup":false}`)
	for range 3 {
		status, _ := w.pay("p-1", "700")
		require.Equal(t, http.StatusAccepted, status)
	}
	w.pay("p-1", "900")
	require.Equal(t, 4, w.moved("p-1"))
	require.Contains(t, w.raw("/banks/ab/payments/p-1"), `"amount":"700"`, "the first is the one it admits to")
	// Instructions stay idempotent: the customer orders once.
	for range 2 {
		w.call(http.MethodPost, "/banks/ab/instructions", `{"reference":"d-1","amount":"50","asset":"CZK","remittance":"","from_account":"9"}`)
	}
	require.Equal(t, 1, w.moved("d-1"))
}

func TestQueries(t *testing.T) {
	t.Parallel()
	clk := clock.NewManual(time.Date(1993, 1, 5, 0, 0, 0, 0, time.UTC))
	w := start(t, sandbox.Config{Clock: clk})
	w.behave(`{"query_lag_ms":5000}`)
	w.pay("p-1", "700")
	status, answer := w.call(http.MethodGet, "/banks/ab/payments/p-1", "")
	require.Equal(t, http.StatusNotFound, status)
	require.JSONEq(t, `{"status":"not_found","reference":"p-1"}`, answer)
	clk.Advance(4999 * time.Millisecond)
	status, _ = w.call(http.MethodGet, "/banks/ab/payments/p-1", "")
	require.Equal(t, http.StatusNotFound, status)
	clk.Advance(time.Millisecond)
	status, _ = w.call(http.MethodGet, "/banks/ab/payments/p-1", "")
	require.Equal(t, http.StatusOK, status)
	w.behave(`{"query_error":1}`)
	status, _ = w.call(http.MethodGet, "/banks/ab/payments/p-1", "")
	require.Equal(t, http.StatusInternalServerError, status)
	stats := w.stats()
	require.EqualValues(t, 4, stats["queries"])
	require.EqualValues(t, 2, stats["queries_not_found"])
	require.EqualValues(t, 1, stats["query_errors"])
}

func TestStatementLies(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.Config{})
	w.behave(`{"fee":"25"}`)
	w.pay("good", "10")
	w.behave(`{"statement_omit":1}`)
	w.pay("omitted", "20")
	w.behave(`{"statement_duplicate":1}`)
	w.pay("twice", "30")
	w.behave(`{"statement_wrong_amount":1}`)
	w.pay("wrong", "40")
	var page struct {
		Lines []struct {
			Seq       int64
			LineID    string `json:"line_id"`
			Reference string
			Amount    string
			Fee       string
		}
		Next int64
	}
	w.get("/banks/ab/statement", &page)
	require.Len(t, page.Lines, 4)
	require.Equal(t, "25", page.Lines[0].Fee)
	require.Equal(t, "twice", page.Lines[1].Reference)
	require.Equal(t, page.Lines[1].LineID, page.Lines[2].LineID)
	require.NotEqual(t, page.Lines[1].Seq, page.Lines[2].Seq)
	require.Equal(t, "41", page.Lines[3].Amount)
	require.EqualValues(t, 4, page.Next)
	require.Len(t, w.effects(), 4, "the books know all and lie about nothing")
}

// A statement page fits a client's bound on bodies whatever the texts are.
func TestStatementPageFits(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.Config{})
	const payments = 120
	for i := range payments {
		w.call(http.MethodPost, "/banks/ab/payments", fmt.Sprintf(
			`{"reference":"r-%d","amount":"1","asset":"CZK","account":"1","remittance":%q}`, i, strings.Repeat("<", 140)))
	}
	var next, lines int64
	for more := true; more; {
		status, answer := w.call(http.MethodGet, fmt.Sprintf("/banks/ab/statement?after=%d&limit=5000", next), "")
		require.Equal(t, http.StatusOK, status)
		require.Less(t, len(answer), 64<<10)
		var page struct {
			Lines   []struct{ Seq int64 }
			Next    int64
			HasMore bool `json:"has_more"`
		}
		require.NoError(t, json.Unmarshal([]byte(answer), &page))
		lines += int64(len(page.Lines))
		next, more = page.Next, page.HasMore
	}
	require.EqualValues(t, payments, lines)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.Config{})
	for _, c := range []struct{ method, path, body, code, param string }{
		{"PUT", "/banks/ab/behaviour", `{"lose_replay":0.5}`, "unknown_field", "lose_replay"},
		{"PUT", "/banks/ab/behaviour", `{"lose_reply":1.01}`, "out_of_range", "lose_reply"},
		{"PUT", "/banks/ab/behaviour", `{"lose_reply":-0.1}`, "out_of_range", "lose_reply"},
		{"PUT", "/banks/ab/behaviour", `{"lose_reply":"often"}`, "wrong_type", "lose_reply"},
		{"PUT", "/banks/ab/behaviour", `{"latency":{"probability":1,"min_ms":9,"max_ms":5}}`, "out_of_range", "latency"},
		{"PUT", "/banks/ab/behaviour", `{"mode":"maybe"}`, "out_of_range", "mode"},
		{"PUT", "/banks/ab/behaviour", `{"error_html":{"probability":1,"executed":true,"status":404}}`, "out_of_range", "error_html.status"},
		{"PUT", "/banks/ab/behaviour", `{"callback_retry":{"attempts":0,"base_ms":1,"max_ms":1}}`, "out_of_range", "callback_retry.attempts"},
		{"PATCH", "/banks/ab/behaviour", `{"fee":"-1"}`, "out_of_range", "fee"},
		{"PUT", "/banks/ab/behaviour", `{} {}`, "unreadable_body", ""},
		{"PUT", "/banks/ab/behaviour", `{"mode":`, "unreadable_body", ""},
		{"POST", "/banks/ab/payments", `{"reference":"r","amount":"0","asset":"CZK","account":"1"}`, "out_of_range", "amount"},
		{"POST", "/banks/ab/payments", `{"reference":"r","amount":"-5","asset":"CZK","account":"1"}`, "out_of_range", "amount"},
		{"POST", "/banks/ab/payments", `{"reference":"r","amount":"1000000000000000000000000000","asset":"CZK","account":"1"}`, "out_of_range", "amount"},
		{"POST", "/banks/ab/payments", `{"reference":"r","amount":"5","asset":"NOPE","account":"1"}`, "out_of_range", "asset"},
		{"POST", "/banks/ab/payments", `{"reference":"","amount":"5","asset":"CZK","account":"1"}`, "out_of_range", "reference"},
		{"POST", "/banks/ab/payments", `{"reference":"..","amount":"5","asset":"CZK","account":"1"}`, "out_of_range", "reference"},
		{"POST", "/banks/ab/payments", `{"reference":"r","amount":"5","asset":"CZK"}`, "out_of_range", "account"},
		{"POST", "/banks/ab/payments", `{"reference":"r","amount":5.5,"asset":"CZK","account":"1"}`, "unreadable_body", ""},
		{"POST", "/banks/ab/instructions", `{"reference":"r","amount":"5","asset":"CZK","account":"1"}`, "unknown_field", "account"},
		{"POST", "/banks/zz/payments", `{}`, "no_such_bank", "code"},
		{"GET", "/banks/ab/statement?limit=0", "", "out_of_range", "limit"},
		{"GET", "/banks/ab/books?after=-1", "", "out_of_range", "after"},
	} {
		status, answer := w.call(c.method, c.path, c.body)
		require.GreaterOrEqual(t, status, 400, "%s %s", c.path, c.body)
		require.Less(t, status, 500, "%s %s: %s", c.path, c.body, answer)
		var said struct {
			Error struct{ Code, Param, Detail string }
		}
		require.NoError(t, json.Unmarshal([]byte(answer), &said), answer)
		require.Equal(t, c.code, said.Error.Code, "%s: %s", c.body, answer)
		require.Equal(t, c.param, said.Error.Param, "%s: %s", c.body, answer)
		require.NotEmpty(t, said.Error.Detail)
	}
	require.Empty(t, w.effects())
	status, answer := w.call("POST", "/banks/ab/payments", `{"reference":"`+strings.Repeat("x", 20<<10)+`"}`)
	require.Equal(t, http.StatusBadRequest, status, answer)
}

func TestPutReplacesPatchAdds(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.Config{})
	w.behave(`{"lose_reply":0.25,"dedup":false}`)
	status, _ := w.call(http.MethodPatch, "/banks/ab/behaviour", `{"query_lag_ms":7}`)
	require.Equal(t, http.StatusOK, status)
	var how sandbox.Behaviour
	w.get("/banks/ab/behaviour", &how)
	require.InDelta(t, 0.25, float64(how.LoseReply), 0)
	require.False(t, how.Dedup)
	require.EqualValues(t, 7, how.QueryLag)
	w.behave(`{}`)
	w.get("/banks/ab/behaviour", &how)
	require.Equal(t, sandbox.DefaultBehaviour(), how)
}

func TestMagicAmounts(t *testing.T) {
	t.Parallel()
	seen := map[int64]bool{}
	for _, magic := range sandbox.MagicAmounts() {
		require.Greater(t, magic.Amount, int64(1_000_000_000))
		require.False(t, seen[magic.Amount])
		seen[magic.Amount] = true
	}
	w := start(t, sandbox.Config{})
	w.behave(`{"lose_before":1}`) // a drill is on; partners' tests do not notice
	for amount, c := range map[string]struct {
		status   int
		executed int
	}{
		"1000000001": {202, 0}, "1000000002": {202, 0}, "1000000003": {0, 0}, "1000000004": {0, 1},
		"1000000005": {500, 0}, "1000000006": {500, 1}, "1000000007": {502, 0}, "1000000008": {200, 1},
		"1000000009": {202, 1}, "1000000013": {202, 1}, "1000000014": {202, 0},
		"1000000000": {0, 0}, "999999999": {0, 0}, // not magic: the drill has them
	} {
		status, _ := w.pay("magic-"+amount, amount)
		require.Equal(t, c.status, status, amount)
		require.Equal(t, c.executed, w.moved("magic-"+amount), amount)
	}
	w.behave(`{"magic_amounts":false}`)
	status, _ := w.pay("plain", "1000000005")
	require.Equal(t, http.StatusAccepted, status, "switched off, the amount is an amount")
}

// The same seed and the same calls fall the same way; another seed does not.
func TestSeedDecides(t *testing.T) {
	t.Parallel()
	play := func(seed uint64) string {
		w := start(t, sandbox.Config{Seed: seed})
		w.behave(`{"lose_before":0.2,"lose_reply":0.2,"decline":{"probability":0.2,"reason":"no","late":false}}`)
		var fates strings.Builder
		for i := range 200 {
			status, answer := w.pay(fmt.Sprintf("p-%d", i), "5")
			fmt.Fprint(&fates, status, strings.Contains(answer, "declined"), ";")
		}
		for _, e := range w.effects() {
			fmt.Fprint(&fates, e.Reference, ",")
		}
		return fates.String()
	}
	first := play(7)
	require.Equal(t, first, play(7))
	require.NotEqual(t, first, play(8))
}

// The dice are fair enough to test with, and one behaviour does not move another.
func TestProbability(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.Config{Seed: 3})
	w.behave(`{"decline":{"probability":0.1,"reason":"no","late":false},"statement_omit":0.5}`)
	const payments = 3000
	for i := range payments {
		w.pay(fmt.Sprintf("p-%d", i), "5")
	}
	stats := w.stats()
	declined := payments - stats["executed"]
	require.InDelta(t, payments/10, declined, 75, "ten in a hundred, within 4.5 sigma")
}

// A copy of the journal at any moment, its last line torn, is what a crash
// leaves: every effect that was shown is in it, and the bank goes on.
func TestRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := start(t, sandbox.Config{Dir: dir})
	w.behave(`{"fee":"3","statement_duplicate":0.3,"statement_omit":0.3,"decline":{"probability":0.2,"reason":"no","late":false}}`)
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := range 50 {
				w.pay(fmt.Sprintf("p-%d-%d", worker, i), "5")
			}
		})
	}
	group.Wait()
	w.behave(`{"execute_delay":{"probability":1,"min_ms":1,"max_ms":1}}`)
	w.pay("later", "8")
	w.until("waiting_execution", 0)
	before, statement := w.effects(), w.raw("/banks/ab/statement?limit=5000")
	balances := w.balances()
	journal, err := os.ReadFile(filepath.Join(dir, "ab.journal"))
	require.NoError(t, err)
	w.stop()

	for name, torn := range map[string]string{"whole": "", "torn": "0badc0de {\"k\":\"o\",\"n\":", "unfinished": "00000000 {}\n"} {
		t.Run(name, func(t *testing.T) {
			crashed := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(crashed, "ab.journal"), append(journal, torn...), 0o600))
			w := start(t, sandbox.Config{Dir: crashed})
			require.Equal(t, before, w.effects())
			require.Equal(t, statement, w.raw("/banks/ab/statement?limit=5000"))
			require.Equal(t, balances, w.balances())
			w.pay("p-0-0", "5")
			require.Equal(t, before, w.effects(), "still de-duplicates")
			w.pay("new", "5")
			after := w.effects()
			require.Len(t, after, len(before)+1)
			w.stop()
			again := start(t, sandbox.Config{Dir: crashed})
			require.Equal(t, after, again.effects(), "what follows a torn line is readable too")
		})
	}
	t.Run("damaged", func(t *testing.T) {
		crashed := t.TempDir()
		journal[100] ^= 1
		require.NoError(t, os.WriteFile(filepath.Join(crashed, "ab.journal"), journal, 0o600))
		_, err := sandbox.New(sandbox.Config{Banks: []string{"AB"}, Secret: secret, Dir: crashed})
		require.ErrorContains(t, err, "line 1")
	})
}

// The journal is copied in the middle of the traffic, as a kill would leave it:
// every payment that was answered by then, first or repeated, is in the copy.
func TestWhatWasShownIsKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := start(t, sandbox.Config{Dir: dir})
	var mu sync.Mutex
	var shown []string
	answered := make(chan struct{}, 1000)
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := range 100 {
				reference := fmt.Sprintf("p-%d-%d", worker/2, i) // two workers race for each
				if status, _ := w.pay(reference, "5"); status == http.StatusAccepted {
					mu.Lock()
					shown = append(shown, reference)
					mu.Unlock()
				}
				answered <- struct{}{}
			}
		})
	}
	for copied := range 4 {
		for range 100 {
			<-answered
		}
		mu.Lock()
		seen := append([]string(nil), shown...)
		mu.Unlock()
		journal, err := os.ReadFile(filepath.Join(dir, "ab.journal"))
		require.NoError(t, err)
		crashed := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(crashed, "ab.journal"), journal, 0o600))
		kept := map[string]bool{}
		for _, e := range start(t, sandbox.Config{Dir: crashed}).effects() {
			require.False(t, kept[e.Reference], "moved twice")
			kept[e.Reference] = true
		}
		for _, reference := range seen {
			require.True(t, kept[reference], "copy %d lacks %s", copied, reference)
		}
	}
	group.Wait()
	require.Len(t, w.effects(), 400)
}

func (w *world) raw(path string) string {
	w.t.Helper()
	_, answer := w.call(http.MethodGet, path, "")
	return answer
}

func (w *world) balances() map[string]string {
	w.t.Helper()
	var list struct {
		Banks []struct{ Balances map[string]string }
	}
	w.get("/banks", &list)
	return list.Banks[0].Balances
}

func TestOneSandboxAtATime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := start(t, sandbox.Config{Dir: dir})
	_, err := sandbox.New(sandbox.Config{Banks: []string{"AB"}, Secret: secret, Dir: dir})
	require.ErrorContains(t, err, "in use by another sandbox")
	w.stop()
	again, err := sandbox.New(sandbox.Config{Banks: []string{"AB"}, Secret: secret, Dir: dir})
	require.NoError(t, err)
	require.NoError(t, again.Close())
	require.NoError(t, again.Close(), "twice is safe")
}

// A bank that can no longer remember says nothing rather than something that
// it would forget.
func TestClosedBooksAnswerNothing(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.Config{Dir: t.TempDir()})
	require.NoError(t, w.server.Close())
	status, answer := w.pay("p-1", "5")
	require.Equal(t, http.StatusServiceUnavailable, status, answer)
	status, _ = w.call(http.MethodGet, "/healthz", "")
	require.Equal(t, http.StatusServiceUnavailable, status)
}

func TestNewNamesTheFault(t *testing.T) {
	t.Parallel()
	wild := sandbox.DefaultBehaviour()
	wild.LoseReply = 2
	for want, cfg := range map[string]sandbox.Config{
		"Secret":      {},
		"bank code":   {Secret: secret, Banks: []string{"A/B"}},
		"comes twice": {Secret: secret, Banks: []string{"ab", "AB"}},
		"CallbackURL": {Secret: secret, CallbackURL: "localhost"},
		"lose_reply":  {Secret: secret, Behaviour: &wild},
	} {
		_, err := sandbox.New(cfg)
		require.ErrorContains(t, err, want)
	}
	all, err := sandbox.New(sandbox.Config{Secret: secret})
	require.NoError(t, err)
	require.NoError(t, all.Close())
	require.Len(t, sandbox.DefaultBanks(), 13)
}

func TestIndexPage(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.Config{})
	w.pay("p-1", "5")
	page := w.raw("/")
	require.Contains(t, page, "-5 CZK")
	require.Contains(t, page, "1000000001")
	require.Contains(t, page, "沙盒银行")
	require.Contains(t, w.raw("/healthz"), "ok")
}
