package api_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/intake"
)

// guarded is a world whose payouts above 500 are confirmed and above 5000 reviewed.
func guarded(t *testing.T) *world {
	t.Helper()
	return newWorld(t, func(c *api.Config) {
		in, err := intake.New(intake.Config{
			Submitter: c.Waiter.(*commit.Node), Accounts: c.Ledger, Originals: c.Payments, Channels: []string{"bank-ab"},
			Guard: intake.Limits(map[money.Asset]intake.Limit{"CZK": {Confirm: money.Int(500), Review: money.Int(5000)}}),
		})
		require.NoError(t, err)
		c.Intake = in
	})
}

func (w *world) payOut(from, amount, key string) *answer {
	w.t.Helper()
	a := w.post("/v1/payments", w.user, `{"kind":"payout","from":"`+from+`","channel":"bank-ab","payee":{"account":"1"},"amount":"`+amount+`","asset":"CZK"}`, key)
	require.Equal(w.t, http.StatusCreated, a.StatusCode, string(a.body))
	return a
}

func (w *world) act(path, key, body string) *answer {
	w.t.Helper()
	return w.do(http.MethodPost, path, key, body)
}

func TestALargePayoutIsConfirmedByItsHolder(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	from := w.funded("a", "10000")
	require.Equal(t, "reserved", w.payOut(from, "500", "small").str("state"))
	p := w.payOut(from, "501", "large")
	path := "/v1/payments/" + p.str("id")
	require.Equal(t, []string{"requires_action", "processing", "holder"}, []string{p.str("state"), p.str("status"), p.str("hop")})
	require.Equal(t, "9500", w.get("/v1/accounts/"+from+"/balances").str("available"), "nothing is held yet")
	status := w.get(path + "/status")
	require.Equal(t, true, status.json["safe"], string(status.body))
	require.Equal(t, "available", status.str("money_at"))
	require.Equal(t, "Needs your confirmation", status.json["texts"].(map[string]any)["headline"])
	again := w.post("/v1/payments", w.user, `{"kind":"payout","from":"`+from+`","channel":"bank-ab","payee":{"account":"1"},"amount":"501","asset":"CZK"}`, "large")
	require.Equal(t, http.StatusOK, again.StatusCode)
	require.Equal(t, "requires_action", again.str("state"))
	for _, noop := range []string{"", "true"} {
		c := w.act(path+"/confirm", w.user, "")
		require.Equal(t, http.StatusOK, c.StatusCode, string(c.body))
		require.Equal(t, "reserved", c.str("state"))
		require.Equal(t, noop, c.Header.Get("Idempotency-Replayed"))
	}
	require.Equal(t, "8999", w.get("/v1/accounts/"+from+"/balances").str("available"))
	requireProblem(t, w.act("/v1/payments/"+w.payOut(from, "10", "x").str("id")+"/review", w.user, `{"verdict":"pass","reason":"r"}`), fault.Forbidden)

	poor := w.payOut(from, "4000", "poor")
	w.payOut(from, "400", "y")
	spent := w.post("/v1/payments", w.user, `{"kind":"send","from":"`+from+`","to":"`+w.open("b", "user")+`","amount":"8000","asset":"CZK"}`, "spend")
	require.Equal(t, http.StatusCreated, spent.StatusCode, string(spent.body))
	requireProblem(t, w.act("/v1/payments/"+poor.str("id")+"/confirm", w.user, ""), fault.InsufficientFunds)
	require.Equal(t, "requires_action", w.get("/v1/payments/"+poor.str("id")).str("state"), "it goes on waiting")
	cancelled := w.act("/v1/payments/"+poor.str("id")+"/cancel", w.user, "")
	require.Equal(t, "cancelled", cancelled.str("state"))
	requireProblem(t, w.act("/v1/payments/"+poor.str("id")+"/confirm", w.user, ""), fault.IllegalTransition)
}

func TestAHugePayoutIsReviewed(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	from := w.funded("a", "20000")
	pass, refuse := w.payOut(from, "6000", "pass"), w.payOut(from, "7000", "refuse")
	for _, p := range []*answer{pass, refuse} {
		require.Equal(t, []string{"in_review", "operator"}, []string{p.str("state"), p.str("hop")})
	}
	deadline, err := time.Parse(time.RFC3339Nano, pass.str("deadline"))
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(30*time.Minute), deadline, time.Minute)
	require.Equal(t, "13000", w.get("/v1/accounts/"+from+"/balances").str("held"))
	status := w.get("/v1/payments/" + pass.str("id") + "/status?lang=zh")
	require.Equal(t, []any{true, "held", "安全核实中"}, []any{status.json["safe"], status.str("money_at"), status.json["texts"].(map[string]any)["headline"]})
	verdict := func(p *answer, v string) *answer {
		return w.act("/v1/payments/"+p.str("id")+"/review", w.admin, `{"verdict":"`+v+`","reason":"called the holder"}`)
	}
	require.Equal(t, "malformed-request", verdict(pass, "maybe").str("code"))
	require.Equal(t, "reserved", verdict(pass, "pass").str("state"))
	require.Equal(t, "cancelled", verdict(refuse, "refuse").str("state"))
	require.Equal(t, "called the holder", w.get("/v1/payments/"+refuse.str("id")).str("reason"))
	require.Equal(t, "true", verdict(refuse, "refuse").Header.Get("Idempotency-Replayed"))
	requireProblem(t, verdict(refuse, "pass"), fault.IllegalTransition)
	b := w.get("/v1/accounts/" + from + "/balances")
	require.Equal(t, []string{"14000", "6000"}, []string{b.str("available"), b.str("held")})
}

func TestAPersonResolvesWhatTheChannelLeavesOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	from := w.funded("a", "5000")
	executed, not := w.payout(from, "p1"), w.payout(from, "p2")
	for _, id := range []pay.ID{executed, not} {
		w.dispatched(id)
		w.fact(pay.Fact{Kind: pay.Doubt, Payment: id, Attempt: 1})
	}
	resolve := func(id pay.ID, outcome, evidence string) *answer {
		return w.act("/v1/payments/"+id.String()+"/resolve", w.admin, `{"outcome":"`+outcome+`","evidence":"`+evidence+`"}`)
	}
	requireProblem(t, resolve(executed, "executed", ""), fault.MalformedRequest)
	seen := func(at string) *answer {
		return w.act("/v1/payments/"+not.String()+"/resolve", w.admin, `{"outcome":"absent","evidence":"a letter","as_of":"`+at+`"}`)
	}
	requireProblem(t, seen("last week"), fault.MalformedRequest)
	early := seen(time.Now().Add(-time.Hour).Format(time.RFC3339))
	requireProblem(t, early, fault.IllegalTransition)
	require.Equal(t, "/as_of", early.str("param"))
	require.Contains(t, early.str("detail"), "bring evidence from after that")
	require.Equal(t, "succeeded", resolve(executed, "executed", "letter of the bank").str("state"))
	got := resolve(not, "absent", "call with J. Novak")
	require.Equal(t, "failed", got.str("state"), string(got.body))
	require.Regexp(t, "^evidence of key .*: call with J. Novak$", got.str("reason"))
	require.Equal(t, "true", resolve(not, "absent", "again").Header.Get("Idempotency-Replayed"))
	requireProblem(t, resolve(executed, "absent", "they say so now"), fault.AlreadyFinal)
	requireProblem(t, w.act("/v1/payments/"+w.payout(from, "p3").String()+"/resolve", w.admin, `{"outcome":"executed","evidence":"e"}`), fault.IllegalTransition)

	// The bank proves the contrary: nothing flips, the truth is a debt, written off here.
	w.fact(pay.Fact{Kind: pay.Confirm, Payment: not, Attempt: 1, Amount: money.Int(1000), Asset: "CZK", Source: "callback"})
	failed := w.get("/v1/payments/" + not.String())
	require.Equal(t, []string{"failed", "late_success"}, []string{failed.str("state"), failed.str("disposition")})
	status := w.get("/v1/payments/" + not.String() + "/status")
	require.Equal(t, "succeeded", status.str("status"), "nobody is told that it failed")
	linked := w.get("/v1/payments/" + not.String() + "/timeline").json["linked"].([]any)
	require.Len(t, linked, 1)
	require.Equal(t, "late_payout", linked[0].(map[string]any)["kind"])
}

// A payment in review because the bank executed an attempt before the last succeeds by
// the attempt that is named.
func TestAPersonNamesTheAttemptThatExecuted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *api.Config) {
		in, err := intake.New(intake.Config{
			Submitter: c.Waiter.(*commit.Node), Accounts: c.Ledger, Originals: c.Payments, Channels: []string{"bank-ab"},
			Contradicted: func(_ context.Context, channel, reference string) (bool, error) {
				return channel == "bank-ab" && strings.HasSuffix(reference, "A1"), nil
			},
		})
		require.NoError(t, err)
		c.Intake = in
	})
	id := w.payout(w.funded("a", "5000"), "p1")
	w.dispatched(id)
	w.fact(pay.Fact{Kind: pay.ProveAbsent, Payment: id, Attempt: 1, AttemptState: pay.Absent})
	w.fact(pay.Fact{Kind: pay.Intend, Payment: id, Attempt: 2, SendBy: time.Now().Add(time.Second)})
	_, err := w.node.Submit(t.Context(), commit.Fact{Payment: &pay.Fact{Kind: pay.Confirm, Payment: id, Attempt: 1, Amount: money.Int(1000), Asset: "CZK", Source: "callback"}})
	require.ErrorIs(t, err, fault.AlreadyFinal)
	w.fact(pay.Fact{Kind: pay.ProveAbsent, Payment: id, Attempt: 2, AttemptState: pay.Absent})
	resolve := func(more string) *answer {
		return w.act("/v1/payments/"+id.String()+"/resolve", w.admin, `{"outcome":"executed","evidence":"line 14 of its statement"`+more+`}`)
	}
	bare := resolve("")
	requireProblem(t, bare, fault.IllegalTransition)
	require.Equal(t, "/reference", bare.str("param"))
	require.Contains(t, bare.str("detail"), "name the attempt that has executed")
	name := func(n int16, channel string) string {
		return `,"reference":"` + pay.Reference(id, n) + `","channel":"` + channel + `","amount":"1000","channel_id":"AB-7"`
	}
	elsewhere := resolve(name(1, "bank-cd"))
	requireProblem(t, elsewhere, fault.IllegalTransition)
	require.Equal(t, "/channel", elsewhere.str("param"))
	requireProblem(t, resolve(name(2, "bank-ab")), fault.IllegalTransition)
	done := resolve(name(1, "bank-ab"))
	require.Equal(t, "succeeded", done.str("state"), string(done.body))
	require.InDelta(t, 1, done.json["attempt"], 0)
	require.Equal(t, "true", resolve(name(1, "bank-ab")).Header.Get("Idempotency-Replayed"))
	line := w.get("/v1/payments/" + id.String() + "/timeline")
	require.Len(t, line.json["attempts"], 2)
}

func TestMoneyWithoutAnOwnerIsAssigned(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	to := w.open("alice", "user")
	in := pay.Payment{Tenant: pay.TenantID(w.tenant), Kind: pay.Inbound, Asset: "CZK", Amount: money.Int(900), Channel: "bank-ab", Link: "L1", Key: pay.Key{7}}
	res, err := w.node.Submit(t.Context(), commit.Fact{Payment: &pay.Fact{Kind: pay.Accept, New: &in, Source: "statement"}})
	require.NoError(t, err)
	path := "/v1/payments/" + res.Payment.ID.String()
	assign := func(amount, key string) *answer {
		return w.post(path+"/assign", w.admin, `{"to":"`+to+`","amount":"`+amount+`","reason":"the remittance names her"}`, key)
	}
	a := assign("600", "a")
	require.Equal(t, http.StatusCreated, a.StatusCode, string(a.body))
	require.Equal(t, []string{"assignment", "succeeded", res.Payment.ID.String()}, []string{a.str("kind"), a.str("state"), a.str("original")})
	require.Equal(t, http.StatusOK, assign("600", "a").StatusCode)
	requireProblem(t, assign("301", "b"), fault.AmountExceedsRemaining)
	requireProblem(t, w.refund(res.Payment.ID.String(), "1", "r"), fault.Forbidden)
	back := `{"kind":"refund","original":"` + res.Payment.ID.String() + `","amount":"300"`
	requireProblem(t, w.post("/v1/payments", w.admin, back+`}`, "r1"), fault.MalformedRequest)
	r := w.post("/v1/payments", w.admin, back+`,"payee":{"account":"777"}}`, "r2")
	require.Equal(t, http.StatusCreated, r.StatusCode, string(r.body))
	require.Equal(t, "succeeded", w.do(http.MethodGet, path, w.admin, "").str("state"))
	require.Equal(t, "600", w.get("/v1/accounts/"+to+"/balances").str("available"))
	require.Equal(t, true, w.get("/v1/payments/" + a.str("id") + "/status").json["safe"])
}

func TestACompensationNamesWhatItMakesGood(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	to := w.open("alice", "user")
	d := w.deposited(to, "100", "d").str("id")
	pays := func(link, key string) *answer {
		return w.post("/v1/compensations", w.admin, `{"to":"`+to+`","amount":"50","asset":"CZK","link":"`+link+`"}`, key)
	}
	c := pays(d, "c")
	require.Equal(t, http.StatusCreated, c.StatusCode, string(c.body))
	require.Equal(t, []string{"compensation", "succeeded", d, d}, []string{c.str("kind"), c.str("state"), c.str("original"), c.str("link")})
	require.Equal(t, http.StatusOK, pays(d, "c").StatusCode)
	require.Equal(t, "inc-7", pays("inc-7", "c2").str("link"))
	requireProblem(t, pays("", "c3"), fault.MalformedRequest)
	requireProblem(t, pays("pay_0000000000ZZ0", "c4"), fault.NotFound)
	requireProblem(t, pays("pay_nonsense", "c6"), fault.MalformedRequest)
	requireProblem(t, w.post("/v1/compensations", w.user, `{}`, "c5"), fault.Forbidden)
	require.Equal(t, "200", w.get("/v1/accounts/"+to+"/balances").str("available"))
	require.Equal(t, "100", w.get("/v1/payments/"+d).str("amount"))
	require.Empty(t, w.get("/v1/payments/"+d).str("refunded"), "a compensation takes nothing from what it names")
}
