package api_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
)

func (w *world) hold(from, to, amount, key string) *answer {
	w.t.Helper()
	a := w.post("/v1/payments", w.user, `{"kind":"hold","from":"`+from+`","to":"`+to+`","amount":"`+amount+`","asset":"CZK"}`, key)
	require.Equal(w.t, http.StatusCreated, a.StatusCode, string(a.body))
	return a
}

func (w *world) capture(hold, amount, key string) *answer {
	w.t.Helper()
	return w.post("/v1/payments/"+hold+"/capture", w.user, `{"amount":"`+amount+`"}`, key)
}

func TestAHoldFromEndToEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	from, to := w.funded("a", "1000"), w.open("shop", "user")
	money := func(account string) []string {
		b := w.get("/v1/accounts/" + account + "/balances")
		return []string{b.str("available"), b.str("held"), b.str("on_the_way")}
	}
	h := w.hold(from, to, "800", "h")
	id := h.str("id")
	require.Equal(t, []string{"reserved", "processing", "holder", "0", "800"},
		[]string{h.str("state"), h.str("status"), h.str("hop"), h.str("captured"), h.str("remaining")})
	expires, err := time.Parse(time.RFC3339Nano, h.str("expires_at"))
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(7*24*time.Hour), expires, time.Minute)
	require.Equal(t, h.str("expires_at"), h.str("next_at"))
	require.Equal(t, []string{"200", "800", "0"}, money(from))
	again := w.post("/v1/payments", w.user, `{"kind":"hold","from":"`+from+`","to":"`+to+`","amount":"800","asset":"CZK"}`, "h")
	require.Equal(t, http.StatusOK, again.StatusCode)
	require.JSONEq(t, string(h.body), string(again.body))
	require.JSONEq(t, string(h.body), string(w.get("/v1/payments/"+id).body))

	c := w.capture(id, "300", "c1")
	require.Equal(t, http.StatusCreated, c.StatusCode, string(c.body))
	require.Equal(t, []string{"capture", "succeeded", id, from, to, "300"},
		[]string{c.str("kind"), c.str("state"), c.str("original"), c.str("from"), c.str("to"), c.str("amount")})
	require.Equal(t, []string{"200", "500", "0"}, money(from))
	require.Equal(t, []string{"300", "0", "0"}, money(to))
	replay := w.capture(id, "300", "c1")
	require.Equal(t, http.StatusOK, replay.StatusCode)
	require.Equal(t, "true", replay.Header.Get("Idempotency-Replayed"))
	require.JSONEq(t, string(c.body), string(replay.body))
	require.JSONEq(t, string(c.body), string(w.get("/v1/payments/"+c.str("id")).body))

	requireProblem(t, w.capture(id, "301", "c1"), fault.IdempotencyKeyReused)
	much := w.capture(id, "501", "c2")
	requireProblem(t, much, fault.AmountExceedsRemaining)
	require.Equal(t, id, much.str("resource"))

	for range 2 {
		r := w.do(http.MethodPost, "/v1/payments/"+id+"/release", w.user, "")
		require.Equal(t, http.StatusOK, r.StatusCode, string(r.body))
		require.Equal(t, []string{"succeeded", "300", "0", "released by the holder"},
			[]string{r.str("state"), r.str("captured"), r.str("remaining"), r.str("reason")})
	}
	require.Equal(t, []string{"700", "0", "0"}, money(from))
	requireProblem(t, w.capture(id, "1", "c3"), fault.AlreadyFinal)
	require.Len(t, w.get("/v1/payments?kind=capture").json["data"], 1)

	tl := w.get("/v1/payments/" + id + "/timeline")
	var moves []string
	for _, m := range tl.json["moves"].([]any) {
		moves = append(moves, fmt.Sprint(m.(map[string]any)["transition"], " ", m.(map[string]any)["to"]))
	}
	require.Equal(t, []string{"T24 reserved", "T25 reserved", "T26 succeeded"}, moves)
}

// A client whose first try was taken and not answered comes back when the hold has
// expired: its key is still that hold's, not a request that makes no sense.
func TestAHoldIsReplayedAfterItsTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	from, to := w.funded("a", "100"), w.open("shop", "user")
	expires := time.Now().Add(300 * time.Millisecond).UTC()
	body := `{"kind":"hold","from":"` + from + `","to":"` + to + `","amount":"10","asset":"CZK","expires_at":"` + expires.Format(time.RFC3339Nano) + `"}`
	h := w.post("/v1/payments", w.user, body, "h")
	require.Equal(t, http.StatusCreated, h.StatusCode, string(h.body))
	require.Eventually(t, func() bool { return time.Now().After(expires) }, patience, 5*time.Millisecond)
	again := w.post("/v1/payments", w.user, body, "h")
	require.Equal(t, http.StatusOK, again.StatusCode, string(again.body))
	require.Equal(t, h.str("id"), again.str("id"))
	late := w.post("/v1/payments", w.user, body, "new key")
	requireProblem(t, late, fault.MalformedRequest)
	require.Equal(t, "/expires_at", late.str("param"))
}

func TestWhatAHoldIsNot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	from, to := w.funded("a", "5000"), w.open("shop", "user")
	body := func(more string) string {
		return `{"from":"` + from + `","to":"` + to + `","amount":"10","asset":"CZK",` + more + `}`
	}
	for i, c := range []struct{ more, param string }{
		{`"kind":"hold","channel":"bank-ab"`, "/channel"},
		{`"kind":"hold","expires_at":"2001-01-01T00:00:00Z"`, "/expires_at"},
		{`"kind":"hold","expires_at":"` + time.Now().Add(32*24*time.Hour).UTC().Format(time.RFC3339) + `"`, "/expires_at"},
		{`"kind":"send","expires_at":"` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `"`, "/expires_at"},
		{`"kind":"capture"`, "/kind"},
	} {
		a := w.post("/v1/payments", w.user, body(c.more), fmt.Sprint(i))
		requireProblem(t, a, fault.MalformedRequest)
		require.Equal(t, c.param, a.str("param"))
	}
	payout := w.payout(from, "p").String()
	requireProblem(t, w.capture(payout, "1", "c1"), fault.IllegalTransition)
	requireProblem(t, w.do(http.MethodPost, "/v1/payments/"+payout+"/release", w.user, ""), fault.IllegalTransition)
	requireProblem(t, w.capture("pay_0000000000099", "1", "c2"), fault.NotFound)
	id := w.hold(from, to, "10", "h").str("id")
	requireProblem(t, w.capture(id, "0", "c3"), fault.AmountInvalid)
	requireProblem(t, w.do(http.MethodPost, "/v1/payments/"+id+"/capture", w.user, `{"amount":"1"}`), fault.IdempotencyKeyMissing)
	requireProblem(t, w.post("/v1/payments/"+id+"/capture", w.user, `{"amount":"1","to":"x"}`, "c4"), fault.UnknownField)
	cancelled := w.do(http.MethodPost, "/v1/payments/"+id+"/cancel", w.user, "")
	require.Equal(t, "cancelled", cancelled.str("state"), "to cancel a hold is to release it")
}

// TestManyCapturesAtOnce: 40 callers over HTTP take 30 each of 1000, some under
// a shared key; what was granted is what has moved.
func TestManyCapturesAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	from, to := w.funded("a", "1000"), w.open("shop", "user")
	id := w.hold(from, to, "1000", "h").str("id")
	var mu sync.Mutex
	statuses := map[int]int{}
	made := map[string]bool{}
	var wg sync.WaitGroup
	for i := range 80 {
		wg.Go(func() {
			a := w.capture(id, "30", fmt.Sprint("c", i/2)) // two callers a key
			mu.Lock()
			defer mu.Unlock()
			statuses[a.StatusCode]++
			if a.str("id") != "" {
				made[a.str("id")] = true
			}
		})
	}
	wg.Wait()
	require.Equal(t, map[int]int{http.StatusCreated: 33, http.StatusOK: 33, http.StatusUnprocessableEntity: 14}, statuses)
	require.Len(t, made, 33)
	h := w.get("/v1/payments/" + id)
	require.Equal(t, []string{"990", "10"}, []string{h.str("captured"), h.str("remaining")})
	require.Equal(t, "990", w.get("/v1/accounts/"+to+"/balances").str("available"))
	require.Equal(t, "10", w.get("/v1/accounts/"+from+"/balances").str("held"))
}

// A hold for somebody outside: each capture leaves through its channel, and what
// cannot be sent is held again.
func TestACaptureLeavesThroughAChannel(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	from := w.funded("a", "1000")
	body := `{"kind":"hold","from":"` + from + `","channel":"bank-ab","payee":{"account":"123"},"amount":"800","asset":"CZK"}`
	h := w.post("/v1/payments", w.user, body, "h")
	require.Equal(t, http.StatusCreated, h.StatusCode, string(h.body))
	id := h.str("id")
	requireProblem(t, w.post("/v1/payments", w.user, `{"kind":"hold","from":"`+from+`","channel":"bank-ab","amount":"1","asset":"CZK"}`, "x"), fault.MalformedRequest)
	c := w.capture(id, "300", "c1")
	require.Equal(t, http.StatusCreated, c.StatusCode, string(c.body))
	require.Equal(t, []string{"capture", "reserved", "bank-ab", id}, []string{c.str("kind"), c.str("state"), c.str("channel"), c.str("original")})
	require.Equal(t, map[string]any{"account": "123"}, c.json["payee"])
	first := w.id(c)
	w.dispatched(first)
	w.fact(pay.Fact{Kind: pay.Confirm, Payment: first, Attempt: 1, Source: "callback", Amount: money.Int(300), Asset: "CZK"})
	require.Equal(t, "succeeded", w.get("/v1/payments/"+c.str("id")).str("state"))
	require.Equal(t, true, w.get("/v1/payments/" + c.str("id") + "/status").json["safe"])

	second := w.id(w.capture(id, "500", "c2"))
	require.Equal(t, []string{"succeeded", "0"}, []string{w.get("/v1/payments/" + id).str("state"), w.get("/v1/payments/" + id).str("remaining")})
	w.dispatched(second)
	w.fact(pay.Fact{Kind: pay.Decline, Payment: second, Attempt: 1, Source: "callback", Reason: "account closed"})
	got := w.get("/v1/payments/" + id)
	require.Equal(t, []string{"succeeded", "300"}, []string{got.str("state"), got.str("captured")}, "it is over: what was not sent goes back to the payer")
	b := w.get("/v1/accounts/" + from + "/balances")
	require.Equal(t, []string{"700", "0"}, []string{b.str("available"), b.str("held")})
	require.Equal(t, true, w.get("/v1/payments/" + id + "/status").json["safe"])

	open := w.post("/v1/payments", w.user, `{"kind":"hold","from":"`+from+`","channel":"bank-ab","payee":{"account":"123"},"amount":"600","asset":"CZK"}`, "h2").str("id")
	third := w.id(w.capture(open, "200", "c3"))
	w.dispatched(third)
	w.fact(pay.Fact{Kind: pay.Decline, Payment: third, Attempt: 1, Source: "callback"})
	got = w.get("/v1/payments/" + open)
	require.Equal(t, []string{"reserved", "0", "600"}, []string{got.str("state"), got.str("captured"), got.str("remaining")}, "what was not sent is held again")
	require.Equal(t, "600", w.get("/v1/accounts/"+from+"/balances").str("held"))
}
