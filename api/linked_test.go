package api_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
)

// deposited announces a deposit and lets the channel credit it.
func (w *world) deposited(to, amount, key string) *answer {
	w.t.Helper()
	a := w.post("/v1/payments", w.user, `{"kind":"deposit","to":"`+to+`","channel":"bank-ab","amount":"`+amount+`","asset":"CZK"}`, key)
	require.Equal(w.t, http.StatusCreated, a.StatusCode, string(a.body))
	id, err := pay.ParseID(a.str("id"))
	require.NoError(w.t, err)
	sum, err := money.ParseMinor(amount)
	require.NoError(w.t, err)
	w.fact(pay.Fact{Kind: pay.Confirm, Payment: id, Source: "callback", Amount: sum, Asset: "CZK", ChannelID: "b-9"})
	return a
}

func (w *world) refund(original, amount, key string) *answer {
	w.t.Helper()
	return w.post("/v1/payments", w.user, `{"kind":"refund","original":"`+original+`","amount":"`+amount+`"}`, key)
}

func (w *world) id(a *answer) pay.ID {
	w.t.Helper()
	id, err := pay.ParseID(a.str("id"))
	require.NoError(w.t, err)
	return id
}

func TestARefundOverTheAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	to := w.open("alice", "user")
	d := w.deposited(to, "1000", "d")
	id := d.str("id")

	r := w.refund(id, "400", "r1")
	require.Equal(t, http.StatusCreated, r.StatusCode, string(r.body))
	require.Equal(t, []string{"refund", "reserved", "processing", id, to, "bank-ab", "CZK"},
		[]string{r.str("kind"), r.str("state"), r.str("status"), r.str("original"), r.str("from"), r.str("channel"), r.str("asset")})
	require.Equal(t, map[string]any{"account": pay.Reference(w.id(d), 0)}, r.json["payee"], "the channel knows the payer by the deposit's reference")
	again := w.refund(id, "400", "r1")
	require.Equal(t, http.StatusOK, again.StatusCode)
	require.JSONEq(t, string(r.body), string(again.body))
	requireProblem(t, w.refund(id, "401", "r1"), fault.IdempotencyKeyReused)
	much := w.refund(id, "601", "r2")
	requireProblem(t, much, fault.AmountExceedsRemaining)
	require.Equal(t, id, much.str("resource"))

	got := w.get("/v1/payments/" + id)
	require.Equal(t, []string{"succeeded", "refunding", "400", "600"},
		[]string{got.str("state"), got.str("disposition"), got.str("refunded"), got.str("remaining")})
	status := w.get("/v1/payments/" + id + "/status?lang=zh")
	require.Equal(t, "退款处理中", status.json["texts"].(map[string]any)["headline"])

	refund := w.id(r)
	w.dispatched(refund)
	w.fact(pay.Fact{Kind: pay.Confirm, Payment: refund, Attempt: 1, Source: "callback", Amount: money.Int(400), Asset: "CZK"})
	require.Equal(t, "partly_refunded", w.get("/v1/payments/"+id).str("disposition"))
	require.Equal(t, "Refunded", w.get("/v1/payments/" + r.str("id") + "/status").json["texts"].(map[string]any)["headline"])
	require.Equal(t, true, w.get("/v1/payments/" + r.str("id") + "/status").json["safe"])

	rest := w.refund(id, "600", "r3")
	require.Equal(t, http.StatusCreated, rest.StatusCode, string(rest.body))
	cancelled := w.do(http.MethodPost, "/v1/payments/"+rest.str("id")+"/cancel", w.user, "")
	require.Equal(t, "cancelled", cancelled.str("state"), string(cancelled.body))
	require.Equal(t, "600", w.get("/v1/payments/"+id).str("remaining"), "what was cancelled can be refunded again")
	replayed := w.post("/v1/payments", w.user, `{"kind":"deposit","to":"`+to+`","channel":"bank-ab","amount":"1000","asset":"CZK"}`, "d")
	require.JSONEq(t, string(w.get("/v1/payments/"+id).body), string(replayed.body), "a replay tells the truth of now")

	tl := w.get("/v1/payments/" + id + "/timeline")
	require.Len(t, tl.json["linked"], 2)
	require.Len(t, w.get("/v1/payments?kind=refund").json["data"], 2)
	require.Equal(t, []string{"600", "0"}, []string{w.get("/v1/accounts/" + to + "/balances").str("available"), w.get("/v1/accounts/" + to + "/balances").str("held")})
}

// The channel knows a late deposit by what its payer quoted: the deposit that had failed.
func TestARefundOfALateDepositGoesToItsPayer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	to := w.open("alice", "user")
	d := w.post("/v1/payments", w.user, `{"kind":"deposit","to":"`+to+`","channel":"bank-ab","amount":"1000","asset":"CZK"}`, "d")
	id := w.id(d)
	w.fact(pay.Fact{Kind: pay.Decline, Payment: id, Source: "query"})
	w.fact(pay.Fact{Kind: pay.Confirm, Payment: id, Source: "callback", Amount: money.Int(1000), Asset: "CZK"})
	late := w.get("/v1/payments?kind=late_deposit").json["data"].([]any)[0].(map[string]any)["id"].(string)
	r := w.refund(late, "400", "r1")
	require.Equal(t, http.StatusCreated, r.StatusCode, string(r.body))
	require.Equal(t, map[string]any{"account": pay.Reference(id, 0)}, r.json["payee"])
}

func TestWhatCannotBeRefunded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	from, to := w.funded("a", "1000"), w.open("b", "user")
	send := w.post("/v1/payments", w.user, `{"kind":"send","from":"`+from+`","to":"`+to+`","amount":"10","asset":"CZK"}`, "s")
	requireProblem(t, w.refund(send.str("id"), "1", "r1"), fault.IllegalTransition)
	requireProblem(t, w.refund("pay_0000000000zzz", "1", "r2"), fault.NotFound)
	requireProblem(t, w.refund("", "1", "r3"), fault.MalformedRequest)
	announced := w.post("/v1/payments", w.user, `{"kind":"deposit","to":"`+to+`","channel":"bank-ab","amount":"50","asset":"CZK"}`, "d")
	requireProblem(t, w.refund(announced.str("id"), "1", "r4"), fault.IllegalTransition)
	d := w.deposited(to, "50", "d2")
	for body, code := range map[string]fault.Code{
		`"amount":"0"`:                         fault.AmountInvalid,
		`"amount":"1","channel":"bank-zz"`:     fault.MalformedRequest,
		`"amount":"1","asset":"EUR"`:           fault.MalformedRequest,
		`"amount":"1","from":"` + from + `"`:   fault.MalformedRequest,
		`"amount":"1","remittance":"a\u0000b"`: fault.MalformedRequest,
		`"amount":"1","origin":"` + from + `"`: fault.UnknownField,
	} {
		a := w.post("/v1/payments", w.user, `{"kind":"refund","original":"`+d.str("id")+`",`+body+`}`, "bad "+body[:9])
		require.Equal(t, string(code), a.str("code"), "%s: %s", body, a.body)
	}
	spent := w.post("/v1/payments", w.user, `{"kind":"send","from":"`+to+`","to":"`+from+`","amount":"60","asset":"CZK"}`, "spend")
	require.Equal(t, http.StatusCreated, spent.StatusCode)
	requireProblem(t, w.refund(d.str("id"), "1", "r5"), fault.InsufficientFunds)
	named := w.post("/v1/payments", w.user, `{"kind":"send","from":"`+from+`","to":"`+to+`","original":"`+d.str("id")+`","amount":"1","asset":"CZK"}`, "n")
	requireProblem(t, named, fault.MalformedRequest)
}
