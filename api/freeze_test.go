package api_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
)

// TestAFreezeStopsWhatIsNewAndNothingElse: debits, then everything; what is on its
// way settles, and a deposit that was announced is credited.
func TestAFreezeStopsWhatIsNewAndNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	from, to := w.funded("a", "10000"), w.funded("b", "10000")
	send := func(from, to, key string) *answer {
		return w.post("/v1/payments", w.user, `{"kind":"send","from":"`+from+`","to":"`+to+`","amount":"1","asset":"CZK"}`, key)
	}
	deposit := func(key string) *answer {
		return w.post("/v1/payments", w.user, `{"kind":"deposit","to":"`+from+`","channel":"bank-ab","amount":"700","asset":"CZK"}`, key)
	}
	out := w.payout(from, "on its way")
	w.dispatched(out)
	announced := deposit("announced")
	require.Equal(t, http.StatusCreated, announced.StatusCode, string(announced.body))
	hold := w.post("/v1/payments", w.user, `{"kind":"hold","from":"`+from+`","to":"`+to+`","amount":"10","asset":"CZK"}`, "hold")
	require.Equal(t, http.StatusCreated, hold.StatusCode, string(hold.body))

	freeze := func(body string) *answer { return w.do(http.MethodPost, "/v1/accounts/"+from+"/freeze", w.admin, body) }
	a := freeze(`{"reason":"court order"}`)
	require.Equal(t, map[string]any{"refuses": "debits", "reason": "court order"}, a.json["frozen"], string(a.body))
	requireProblem(t, send(from, to, "s1"), fault.AccountFrozen)
	requireProblem(t, w.post("/v1/payments/"+hold.str("id")+"/capture", w.user, `{"amount":"1"}`, "c1"), fault.AccountFrozen)
	require.Equal(t, http.StatusCreated, send(to, from, "s2").StatusCode, "it goes on receiving")
	require.Equal(t, http.StatusCreated, deposit("another").StatusCode)

	a = freeze(`{"refuses":"all","reason":"sanctions"}`)
	require.Equal(t, map[string]any{"refuses": "all", "reason": "sanctions"}, a.json["frozen"])
	refused := send(to, from, "s3")
	requireProblem(t, refused, fault.AccountFrozen)
	require.Equal(t, "/to", refused.str("param"))
	require.Equal(t, "not_moved", refused.str("money_state"))
	requireProblem(t, deposit("a third"), fault.AccountFrozen)
	requireProblem(t, send(from, to, "s1"), fault.AccountFrozen)

	w.confirmed(out)
	require.Equal(t, "succeeded", w.get("/v1/payments/"+out.String()).str("state"), "what has left settles")
	id, err := pay.ParseID(announced.str("id"))
	require.NoError(t, err)
	w.fact(pay.Fact{Kind: pay.Confirm, Payment: id, Source: "callback", Amount: money.Int(700), Asset: "CZK", ChannelID: "b-9"})
	require.Equal(t, "succeeded", w.get("/v1/payments/"+announced.str("id")).str("state"), "money from outside is credited")
	require.Equal(t, "cancelled", w.do(http.MethodPost, "/v1/payments/"+hold.str("id")+"/release", w.user, "").str("state"), "giving back is no debit")
	require.Equal(t, "frozen", w.get("/v1/accounts/"+from).str("status"))

	for _, bad := range []string{`{}`, `{"reason":""}`, `{"reason":"  "}`, `{"reason":"a\u0000b"}`, `{"refuses":"some","reason":"x"}`} {
		requireProblem(t, freeze(bad), fault.MalformedRequest)
	}
	thaw := func(body string) *answer { return w.do(http.MethodPost, "/v1/accounts/"+from+"/thaw", w.admin, body) }
	requireProblem(t, thaw(`{"refuses":"all","reason":"x"}`), fault.UnknownField)
	requireProblem(t, thaw(`{}`), fault.MalformedRequest)
	a = thaw(`{"reason":"lifted"}`)
	require.Equal(t, "active", a.str("status"))
	require.NotContains(t, a.json, "frozen")
	require.Equal(t, http.StatusCreated, send(from, to, "s4").StatusCode)
	requireProblem(t, send(from, to, "s1"), fault.AccountFrozen)

	type change struct {
		frozen, all bool
		reason, by  string
	}
	rows, err := w.pool.Query(t.Context(), `select frozen, frozen_all, reason, by, at from account_changes order by id`)
	require.NoError(t, err)
	defer rows.Close()
	var kept []change
	for rows.Next() {
		var c change
		var at time.Time
		require.NoError(t, rows.Scan(&c.frozen, &c.all, &c.reason, &c.by, &at))
		require.WithinDuration(t, time.Now(), at, time.Minute)
		kept = append(kept, c)
	}
	by := "key " + prefixOf(w.admin)
	require.Equal(t, []change{{true, false, "court order", by}, {true, true, "sanctions", by}, {false, false, "lifted", by}}, kept)
}
