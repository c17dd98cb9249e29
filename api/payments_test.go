package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
)

func TestOneKeyIsOnePayment(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	from, to := w.funded("a", "5000"), w.open("b", "user")
	body := `{"kind":"send","from":"` + from + `","to":"` + to + `","amount":"700","asset":"CZK","remittance":"695247","metadata":{"order":"1"}}`
	const trace = "0af7651916cd43dd8448eb211c80319c"

	first := w.post("/v1/payments", w.user, body, "k1", "traceparent", "00-"+trace+"-b7ad6b7169203331-01")
	require.Equal(t, http.StatusCreated, first.StatusCode, string(first.body))
	require.Equal(t, "/v1/payments/"+first.str("id"), first.Header.Get("Location"))
	require.Empty(t, first.Header.Get("Idempotency-Replayed"))
	require.Equal(t, trace, first.str("trace_id"))
	require.Equal(t, "succeeded", first.str("state"))
	require.NotEmpty(t, first.str("final_at"))
	require.Equal(t, map[string]any{"order": "1"}, first.json["metadata"])

	for _, key := range []string{"k1", `"k1"`, " k1 "} {
		again := w.post("/v1/payments", w.user, body, key)
		require.Equal(t, http.StatusOK, again.StatusCode, string(again.body))
		require.Equal(t, "true", again.Header.Get("Idempotency-Replayed"))
		require.JSONEq(t, string(first.body), string(again.body), "the same payment, with the trace that made it")
	}
	read := w.get("/v1/payments/" + first.str("id"))
	require.JSONEq(t, string(first.body), string(read.body), "the readers tell what the decider told")

	other := w.post("/v1/payments", w.user, strings.Replace(body, "700", "701", 1), "k1")
	requireProblem(t, other, fault.IdempotencyKeyReused)
	require.Equal(t, first.str("id"), other.str("resource"))
	require.Equal(t, "not_moved", other.str("money_state"))

	balance := w.get("/v1/accounts/" + to + "/balances")
	require.Equal(t, "700", balance.str("available"))
	list := w.get("/v1/payments?idempotency_key=k1")
	require.Len(t, list.json["data"], 1)
	require.Empty(t, w.get("/v1/payments?idempotency_key=k2").json["data"])
}

func TestARefusalIsKeptWithItsKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	house, from, to := w.open("house", "house"), w.open("a", "user"), w.open("b", "user")
	body := `{"kind":"send","from":"` + from + `","to":"` + to + `","amount":"700","asset":"CZK"}`
	a := w.post("/v1/payments", w.user, body, "k1")
	requireProblem(t, a, fault.InsufficientFunds)
	require.Equal(t, "/amount", a.str("param"))
	w.post("/v1/payments", w.admin, `{"kind":"send","from":"`+house+`","to":"`+from+`","amount":"900","asset":"CZK"}`, "fund")
	requireProblem(t, w.post("/v1/payments", w.user, body, "k1"), fault.InsufficientFunds)
	require.Equal(t, http.StatusCreated, w.post("/v1/payments", w.user, body, "k2").StatusCode)
}

func TestAPayoutOnItsWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	from := w.funded("a", "5000")
	id := w.payout(from, "k1")
	balances := func() []string {
		b := w.get("/v1/accounts/" + from + "/balances")
		return []string{b.str("available"), b.str("held"), b.str("on_the_way")}
	}
	require.Equal(t, []string{"4000", "1000", "0"}, balances())
	p := w.get("/v1/payments/" + id.String())
	require.Equal(t, "reserved", p.str("state"))
	require.Equal(t, "processing", p.str("status"))
	require.Equal(t, "dispatch", p.str("hop"))
	require.NotEmpty(t, p.str("next_at"))
	require.NotEmpty(t, p.str("deadline"))
	require.NotContains(t, p.json, "final_at")
	require.NotContains(t, p.json, "reference")
	require.Equal(t, map[string]any{"account": "123456", "name": "Jan"}, p.json["payee"])

	before := time.Now()
	w.dispatched(id)
	require.Equal(t, []string{"4000", "0", "1000"}, balances())
	require.Equal(t, pay.Reference(id, 1), w.get("/v1/payments/"+id.String()).str("reference"))
	requireProblem(t, w.do(http.MethodPost, "/v1/payments/"+id.String()+"/cancel", w.user, ""), fault.NotCancellable)

	w.confirmed(id)
	require.Equal(t, []string{"4000", "0", "0"}, balances())
	final := w.get("/v1/payments/" + id.String())
	require.Equal(t, "succeeded", final.str("state"))
	requireProblem(t, w.do(http.MethodPost, "/v1/payments/"+id.String()+"/cancel", w.user, ""), fault.AlreadyFinal)

	w.fact(pay.Fact{Kind: pay.Settle, Payment: id, Attempt: 1, Source: "statement", Amount: money.Int(1000), Asset: "CZK"})
	settled := w.get("/v1/payments/" + id.String())
	require.Equal(t, "matched", settled.str("settlement"))
	require.Equal(t, final.str("final_at"), settled.str("final_at"), "settlement comes after the final state and does not move it")

	then := "?as_of=" + before.UTC().Format(time.RFC3339Nano)
	old := w.get("/v1/accounts/" + from + "/balances" + then)
	require.Equal(t, []string{"4000", "1000", "0"}, []string{old.str("available"), old.str("held"), old.str("on_the_way")})

	requireTimeline(t, w.get("/v1/payments/"+id.String()+"/timeline"), from)
}

func requireTimeline(t *testing.T, tl *answer, from string) {
	t.Helper()
	require.Equal(t, http.StatusOK, tl.StatusCode, string(tl.body))
	type row struct{ t, from, to, debit, credit string }
	var got []row
	for _, m := range tl.json["moves"].([]any) {
		move := m.(map[string]any)
		r := row{t: move["transition"].(string), from: move["from"].(string), to: move["to"].(string)}
		if ps := move["postings"].([]any); len(ps) > 0 {
			r.debit, r.credit = ps[0].(map[string]any)["debit"].(string), ps[0].(map[string]any)["credit"].(string)
			require.Len(t, move["durable"], 1+len(ps))
		}
		got = append(got, r)
	}
	require.Equal(t, []row{
		{"T1", "none", "created", "", ""},
		{"T3", "created", "reserved", from + ":available", from + ":held"},
		{"T4", "reserved", "dispatching", from + ":held", "clr:bank-ab:out"},
		{"T7", "dispatching", "succeeded", "", ""},
		{"T12", "succeeded", "succeeded", "clr:bank-ab:out", "nostro:bank-ab"},
	}, got)
	attempt := tl.json["attempts"].([]any)[0].(map[string]any)
	require.Equal(t, "confirmed", attempt["state"])
	require.Equal(t, "b-1", attempt["channel_id"])
	require.InDelta(t, 1, tl.json["callbacks"], 0)
}

func TestCancel(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	from := w.funded("a", "5000")
	id := w.payout(from, "k1").String()
	a := w.do(http.MethodPost, "/v1/payments/"+id+"/cancel", w.user, "")
	require.Equal(t, http.StatusOK, a.StatusCode, string(a.body))
	require.Equal(t, "cancelled", a.str("state"))
	require.Equal(t, "failed", a.str("status"))
	again := w.do(http.MethodPost, "/v1/payments/"+id+"/cancel", w.user, "")
	require.Equal(t, "true", again.Header.Get("Idempotency-Replayed"))
	require.Equal(t, "5000", w.get("/v1/accounts/"+from+"/balances").str("available"))
}

func TestWaitForTheFinalState(t *testing.T) {
	t.Parallel()
	for name, waiter := range map[string]bool{"told by the node": true, "polling": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(c *api.Config) {
				if !waiter {
					c.Waiter = nil
				}
			})
			id := w.payout(w.funded("a", "5000"), "k1")
			w.dispatched(id)
			early := w.do(http.MethodGet, "/v1/payments/"+id.String(), w.user, "", "Prefer", "wait=0")
			require.Equal(t, "dispatching", early.str("state"))
			late := w.do(http.MethodGet, "/v1/payments/"+id.String(), w.user, "", "Prefer", "respond-async, wait=1")
			require.Equal(t, "dispatching", late.str("state"), "a second has passed")
			require.Equal(t, "wait=1", late.Header.Get("Preference-Applied"))
			done := make(chan *answer, 1)
			go func() { done <- w.do(http.MethodGet, "/v1/payments/"+id.String(), w.user, "", "Prefer", "wait=30") }()
			w.confirmed(id)
			select {
			case a := <-done:
				require.Equal(t, "succeeded", a.str("state"))
			case <-time.After(patience / 2):
				t.Fatal("nobody told the caller who waits")
			}
		})
	}
}

func TestBatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	from, to := w.funded("a", "1000"), w.open("b", "user")
	item := func(key, amount string) string {
		return `{"idempotency_key":"` + key + `","kind":"send","from":"` + from + `","to":"` + to + `","amount":"` + amount + `","asset":"CZK"}`
	}
	a := w.do(http.MethodPost, "/v1/payments/batch", w.user, `{"payments":[`+strings.Join([]string{
		item("1", "600"), item("2", "600"), item("", "1"), item("3", "-1"), item("1", "600"), item("1", "601"), item("4", "400"),
	}, ",")+`]}`)
	require.Equal(t, http.StatusOK, a.StatusCode, string(a.body))
	var got []string
	for _, d := range a.json["data"].([]any) {
		item := d.(map[string]any)
		if p, ok := item["problem"].(map[string]any); ok {
			require.InDelta(t, p["status"], item["status"], 0)
			got = append(got, p["code"].(string))
			continue
		}
		require.Equal(t, "succeeded", item["payment"].(map[string]any)["state"])
		got = append(got, http.StatusText(int(item["status"].(float64))))
	}
	require.Equal(t, []string{
		"Created", "insufficient-funds", "idempotency-key-missing", "amount-invalid", "OK", "idempotency-key-reused", "Created",
	}, got)
	require.Equal(t, "1000", w.get("/v1/accounts/"+to+"/balances").str("available"))

	bad := w.do(http.MethodPost, "/v1/payments/batch", w.user, `{"payments":[`+item("5", "1")+`,{"amuont":"1"}]}`)
	requireProblem(t, bad, fault.UnknownField)
	require.Equal(t, "/payments/1/amuont", bad.str("param"))
	require.Empty(t, w.get("/v1/payments?idempotency_key=5").json["data"], "nothing of a body that cannot be read is carried out")
	requireProblem(t, w.do(http.MethodPost, "/v1/payments/batch", w.user, `{"payments":[]}`), fault.MalformedRequest)
	requireProblem(t, w.do(http.MethodPost, "/v1/payments/batch", w.user, `{"payments":[`+strings.Repeat("{},", 1000)+`{}]}`), fault.BodyTooLarge)
}

func TestListsPageToTheirEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	from, to := w.funded("a", "5000"), w.open("b", "user")
	for _, key := range []string{"1", "2", "3", "4", "5"} {
		w.post("/v1/payments", w.user, `{"kind":"send","from":"`+from+`","to":"`+to+`","amount":"100","asset":"CZK"}`, key)
	}
	w.payout(from, "out")
	pages := func(path string) (ids []string, n int) {
		for path != "" {
			a := w.get(path)
			require.Equal(t, http.StatusOK, a.StatusCode, string(a.body))
			for _, d := range a.json["data"].([]any) {
				item := d.(map[string]any)
				id, _ := item["id"].(string)
				if b, ok := item["balance"].(string); ok {
					id = item["amount"].(string) + " " + b
				}
				ids = append(ids, id)
			}
			n++
			path = ""
			if a.json["has_more"].(bool) {
				link := a.Header.Get("Link")
				require.Contains(t, link, `rel="next"`)
				path = strings.TrimPrefix(strings.SplitN(link, ">", 2)[0], "<")
				require.Contains(t, path, "after="+a.str("next"))
			}
		}
		return ids, n
	}
	all, n := pages("/v1/payments?limit=3")
	require.Len(t, all, 7)
	require.Equal(t, 3, n)
	require.IsDecreasing(t, all)
	sends, _ := pages("/v1/payments?limit=2&kind=send&account=" + to)
	require.Len(t, sends, 5)
	outs, _ := pages("/v1/payments?channel=bank-ab")
	require.Len(t, outs, 1)

	entries, n := pages("/v1/accounts/" + from + "/statement?limit=2")
	require.Equal(t, []string{"-1000 3500", "-100 4500", "-100 4600", "-100 4700", "-100 4800", "-100 4900", "5000 5000"}, entries)
	require.Equal(t, 4, n)
	held, _ := pages("/v1/accounts/" + from + "/statement?book=held")
	require.Equal(t, []string{"1000 1000"}, held)

	accounts, n := pages("/v1/accounts?limit=2")
	require.Len(t, accounts, 3)
	require.Equal(t, 2, n)

	e := w.get("/v1/accounts/" + from + "/explanation")
	require.Equal(t, true, e.json["explained"])
	require.Equal(t, []any{
		map[string]any{"book": "available", "postings": 7.0, "sum": "3500", "balance": "3500"},
		map[string]any{"book": "held", "postings": 1.0, "sum": "1000", "balance": "1000"},
	}, e.json["books"])
}

func TestATenantSeesItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	from := w.funded("a", "5000")
	id := w.payout(from, "k1").String()
	other, err := w.access.CreateTenant(t.Context(), "other")
	require.NoError(t, err)
	stranger, _, err := w.access.CreateKey(t.Context(), other, "", []access.Scope{access.Admin})
	require.NoError(t, err)
	for _, path := range []string{
		"/v1/payments/" + id, "/v1/payments/" + id + "/timeline", "/v1/accounts/" + from, "/v1/accounts/" + from + "/balances",
		"/v1/accounts/" + from + "/statement", "/v1/accounts/" + from + "/explanation",
	} {
		requireProblem(t, w.do(http.MethodGet, path, stranger, ""), fault.NotFound)
	}
	requireProblem(t, w.do(http.MethodPost, "/v1/payments/"+id+"/cancel", stranger, ""), fault.NotFound)
	requireProblem(t, w.do(http.MethodPost, "/v1/accounts/"+from+"/freeze", stranger, `{"reason":"x"}`), fault.NotFound)
	require.Empty(t, w.do(http.MethodGet, "/v1/payments?idempotency_key=k1", stranger, "").json["data"])
	require.Empty(t, w.do(http.MethodGet, "/v1/payments", stranger, "").json["data"])
	require.Empty(t, w.do(http.MethodGet, "/v1/accounts", stranger, "").json["data"])
	a := w.post("/v1/payments", stranger, `{"kind":"send","from":"`+from+`","to":"`+from[:len(from)-1]+`8","amount":"1","asset":"CZK"}`, "k1")
	requireProblem(t, a, fault.AccountNotFound)
}
