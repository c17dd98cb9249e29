package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/intake"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// TestEveryRefusalOfTheEdge sends what the edge refuses itself, before the ledger.
func TestEveryRefusalOfTheEdge(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	house := w.open("house", "house")
	from, to := w.open("a", "user"), w.open("b", "user")
	reader := w.key(access.PaymentsRead)
	book := from[:len(from)-1] + string("0123456789ABCDEFGHJKMNPQRSTVWXYZ"[strings.IndexByte("0123456789ABCDEFGHJKMNPQRSTVWXYZ", from[len(from)-1])+1])
	send := func(member, value string) string {
		m := map[string]string{"kind": `"send"`, "from": `"` + from + `"`, "to": `"` + to + `"`, "amount": `"1"`, "asset": `"CZK"`}
		m[member] = value
		var parts []string
		for k, v := range m {
			if v != "" {
				parts = append(parts, `"`+k+`":`+v)
			}
		}
		return "{" + strings.Join(parts, ",") + "}"
	}
	payout := func(more string) string {
		return `{"kind":"payout","from":"` + from + `","amount":"1","asset":"CZK"` + more + `}`
	}
	many := make([]string, 51)
	for i := range many {
		many[i] = fmt.Sprintf(`"k%d":"v"`, i)
	}
	for _, c := range []struct {
		name, body string
		code       fault.Code
		param      string
	}{
		{"no document", "", fault.MalformedRequest, ""},
		{"not JSON", "{", fault.MalformedRequest, ""},
		{"an array", "[]", fault.MalformedRequest, ""},
		{"something after it", send("", "") + "x", fault.MalformedRequest, ""},
		{"unknown member", send("amuont", `"1"`), fault.UnknownField, "/amuont"},
		{"other case", send("Amount", `"1"`), fault.UnknownField, "/Amount"},
		{"unknown member below", payout(`,"channel":"bank-ab","payee":{"account":"1","iban":"2"}`), fault.UnknownField, "/payee/iban"},
		{"repeated member", `{"amount":"1",` + send("", "")[1:], fault.MalformedRequest, "/amount"},
		{"a number as amount", send("amount", "1"), fault.MalformedRequest, "/amount"},
		{"null", send("remittance", "null"), fault.MalformedRequest, "/remittance"},
		{"not UTF-8", send("remittance", "\"\xff\""), fault.MalformedRequest, "/remittance"},
		{"half a surrogate", send("remittance", `"\ud800"`), fault.MalformedRequest, "/remittance"},
		{"kind", send("kind", `"gift"`), fault.MalformedRequest, "/kind"},
		{"no kind", send("kind", ""), fault.MalformedRequest, "/kind"},
		{"no from", send("from", ""), fault.MalformedRequest, "/from"},
		{"nonsense from", send("from", `"acct_1"`), fault.AccountNotFound, "/from"},
		{"a book as account", send("from", `"`+book+`"`), fault.AccountNotFound, "/from"},
		{"to itself", send("to", `"`+from+`"`), fault.SameAccount, "/to"},
		{"zero", send("amount", `"0"`), fault.AmountInvalid, "/amount"},
		{"below zero", send("amount", `"-1"`), fault.AmountInvalid, "/amount"},
		{"a point", send("amount", `"1.5"`), fault.AmountInvalid, "/amount"},
		{"leading zero", send("amount", `"01"`), fault.AmountInvalid, "/amount"},
		{"too large", send("amount", `"`+strings.Repeat("9", 40)+`"`), fault.AmountInvalid, "/amount"},
		{"asset", send("asset", `"XXQ"`), fault.AssetUnknown, "/asset"},
		{"asset of the accounts", send("asset", `"EUR"`), fault.AssetMismatch, "/from"},
		{"channel on a send", send("channel", `"bank-ab"`), fault.MalformedRequest, "/channel"},
		{"payee on a send", send("payee", `{"account":"1"}`), fault.MalformedRequest, "/payee"},
		{"long remittance", send("remittance", `"`+strings.Repeat("č", 141)+`"`), fault.MalformedRequest, "/remittance"},
		{"line break", send("remittance", `"a\nb"`), fault.MalformedRequest, "/remittance"},
		{"metadata keys", send("metadata", "{"+strings.Join(many, ",")+"}"), fault.MalformedRequest, "/metadata"},
		{"metadata bytes", send("metadata", `{"k":"`+strings.Repeat("x", 4096)+`"}`), fault.MalformedRequest, "/metadata"},
		{"metadata value", send("metadata", `{"k":{}}`), fault.MalformedRequest, "/metadata/k"},
		{"no time", send("effective_at", `"yesterday"`), fault.MalformedRequest, "/effective_at"},
		{"far time", send("effective_at", `"2199-01-01T00:00:00Z"`), fault.MalformedRequest, "/effective_at"},
		{"no channel", payout(`,"payee":{"account":"1"}`), fault.ChannelUnknown, "/channel"},
		{"unknown channel", payout(`,"channel":"bank-zz","payee":{"account":"1"}`), fault.ChannelUnknown, "/channel"},
		{"no payee", payout(`,"channel":"bank-ab"`), fault.MalformedRequest, "/payee/account"},
		{"to on a payout", payout(`,"channel":"bank-ab","payee":{"account":"1"},"to":"` + to + `"`), fault.MalformedRequest, "/to"},
		{"from a house account", send("from", `"`+house+`"`), fault.HouseAccountForbidden, "/from"},
		{"long body", send("remittance", `"`+strings.Repeat("x", 64<<10)+`"`), fault.BodyTooLarge, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := w.post("/v1/payments", w.user, c.body, "k "+c.name)
			requireProblem(t, a, c.code)
			require.Equal(t, c.param, a.str("param"), string(a.body))
			require.Equal(t, "not_moved", a.str("money_state"))
		})
	}

	several := w.post("/v1/payments", w.user, `{"kind":"send","amount":"0","asset":"XXQ"}`, "several")
	requireProblem(t, several, fault.AssetUnknown)
	var params []string
	for _, e := range several.json["errors"].([]any) {
		params = append(params, e.(map[string]any)["param"].(string))
	}
	require.Equal(t, []string{"/asset", "/amount", "/from", "/to"}, params)

	good := send("", "")
	requireProblem(t, w.do(http.MethodPost, "/v1/payments", w.user, good), fault.IdempotencyKeyMissing)
	requireProblem(t, w.post("/v1/payments", w.user, good, strings.Repeat("k", 256)), fault.IdempotencyKeyInvalid)
	requireProblem(t, w.post("/v1/payments", w.user, good, `"half`), fault.IdempotencyKeyInvalid)
	requireProblem(t, w.post("/v1/payments", "", good, "k"), fault.Unauthenticated)
	requireProblem(t, w.post("/v1/payments", "mk_live_aaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", good, "k"), fault.Unauthenticated)
	require.Contains(t, w.post("/v1/payments", "nonsense", good, "k").Header.Get("WWW-Authenticate"), "Bearer")
	forbidden := w.post("/v1/payments", reader, good, "k")
	requireProblem(t, forbidden, fault.Forbidden)
	require.Contains(t, forbidden.str("detail"), "payments:write")
	requireProblem(t, w.post("/v1/payments", w.user, good, "k", "Content-Type", "text/xml"), fault.UnsupportedMediaType)
	requireProblem(t, w.post("/v1/accounts", w.user, `{"asset":"CZK","kind":"house"}`, "k"), fault.HouseAccountForbidden)
	requireProblem(t, w.post("/v1/accounts", w.user, `{"asset":"CZK","floor":"5"}`, "k"), fault.FloorInvalid)
	requireProblem(t, w.post("/v1/accounts", w.user, `{"asset":"CZK","limit":"5"}`, "k"), fault.UnknownField)
	requireProblem(t, w.do(http.MethodPost, "/v1/accounts", w.user, `{"asset":"CZK"}`), fault.IdempotencyKeyMissing)

	for path, param := range map[string]string{
		"/v1/payments?limit=x": "limit", "/v1/payments?after=x": "after", "/v1/payments?kind=x": "kind", "/v1/payments?account=x": "account",
		"/v1/payments?limit=1&limit=2": "limit", "/v1/accounts/" + from + "/balances?as_of=x": "as_of", "/v1/accounts/" + from + "/balances?by=x": "by",
		"/v1/accounts/" + from + "/statement?after=x": "after", "/v1/accounts/" + from + "/statement?book=x": "book", "/v1/accounts?after=x": "after",
	} {
		a := w.get(path)
		requireProblem(t, a, fault.MalformedRequest)
		require.Equal(t, param, a.str("param"), path)
	}
	requireProblem(t, w.get("/v1/payments?idempotencykey=1"), fault.UnknownField)
	requireProblem(t, w.get("/v1/payments?idempotency_key="), fault.IdempotencyKeyInvalid)
	for _, path := range []string{"/", "/v1", "/v1/payments/pay_1", "/v1/payments/x/timeline", "/v1/accounts/x", "/v1/accounts/" + book, "/errors/none"} {
		requireProblem(t, w.get(path), fault.NotFound)
	}
	wrong := w.do(http.MethodDelete, "/v1/payments", w.user, "")
	requireProblem(t, wrong, fault.MethodNotAllowed)
	require.Equal(t, "GET, POST", wrong.Header.Get("Allow"))
}

func TestOperator(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	from, to := w.funded("a", "1000"), w.open("b", "user")
	pay := func(amount, key string) *answer {
		return w.post("/v1/payments", w.user, `{"kind":"send","from":"`+from+`","to":"`+to+`","amount":"`+amount+`","asset":"CZK"}`, key)
	}
	for path, body := range map[string]string{"/freeze": `{"reason":"x"}`, "/thaw": `{"reason":"x"}`, "/floor": `{"floor":"-1"}`} {
		requireProblem(t, w.do(http.MethodPost, "/v1/accounts/"+from+path, w.user, ""), fault.Forbidden)
		requireProblem(t, w.do(http.MethodPost, "/v1/accounts/acct_00000000000ZY"+path, w.admin, body), fault.NotFound)
	}
	a := w.do(http.MethodPost, "/v1/accounts/"+from+"/freeze", w.admin, `{"reason":"stolen phone"}`)
	require.Equal(t, "frozen", a.str("status"), string(a.body))
	frozen := pay("1", "k1")
	requireProblem(t, frozen, fault.AccountFrozen)
	require.Equal(t, from, frozen.str("resource"))
	require.Equal(t, "active", w.do(http.MethodPost, "/v1/accounts/"+from+"/thaw", w.admin, `{"reason":"found again"}`).str("status"))

	requireProblem(t, pay("1500", "k2"), fault.InsufficientFunds)
	require.Equal(t, "-500", w.do(http.MethodPost, "/v1/accounts/"+from+"/floor", w.admin, `{"floor":"-500"}`).str("floor"))
	require.Equal(t, http.StatusCreated, pay("1500", "k3").StatusCode)
	requireProblem(t, w.do(http.MethodPost, "/v1/accounts/"+from+"/floor", w.admin, `{"floor":"1"}`), fault.FloorInvalid)
	requireProblem(t, w.do(http.MethodPost, "/v1/accounts/"+from+"/floor", w.admin, `{}`), fault.MalformedRequest)

	id := w.payout(to, "out")
	totals := w.do(http.MethodGet, "/v1/totals", w.admin, "")
	require.Equal(t, http.StatusOK, totals.StatusCode, string(totals.body))
	require.Equal(t, []any{map[string]any{"asset": "CZK", "sum": "0", "accounts": 3.0}}, totals.json["ledger"])
	require.InDelta(t, 1, totals.json["open"], 0)
	w.dispatched(id)
	w.fact(payFact(id))
	w.confirmed(id)
	totals = w.do(http.MethodGet, "/v1/totals", w.admin, "")
	require.InDelta(t, 0, totals.json["open"], 0)
	require.InDelta(t, 1, totals.json["unknown_resolved"], 0)
	require.InDelta(t, 3, totals.json["final"].(map[string]any)["succeeded"], 0)
	require.Equal(t, "0", totals.json["ledger"].([]any)[0].(map[string]any)["sum"])
	require.Contains(t, string(totals.body), `"unexplained_max_s":0.000`)
	requireProblem(t, w.do(http.MethodGet, "/v1/totals", w.user, ""), fault.Forbidden)
	requireProblem(t, w.do(http.MethodGet, "/v1/recon/breaks", w.admin, ""), fault.NotFound)
	requireProblem(t, w.do(http.MethodGet, "/v1/recon/report", w.admin, ""), fault.NotFound)
	requireProblem(t, w.do(http.MethodPost, "/v1/recon/run", w.admin, ""), fault.NotFound)
}

func payFact(id pay.ID) pay.Fact {
	return pay.Fact{Kind: pay.Doubt, Payment: id, Attempt: 1, Reason: "timeout"}
}

func TestKeysComeAndGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	made := w.do(http.MethodPost, "/v1/keys", w.admin, `{"name":"shop","scopes":["payments:read"]}`)
	require.Equal(t, http.StatusCreated, made.StatusCode, string(made.body))
	key, prefix := made.str("key"), made.str("prefix")
	require.Regexp(t, `^mk_live_[a-z2-7]{8}_[a-z2-7]{32}$`, key)
	require.Equal(t, http.StatusOK, w.do(http.MethodGet, "/v1/payments", key, "").StatusCode)
	list := w.do(http.MethodGet, "/v1/keys", w.admin, "")
	require.Contains(t, string(list.body), prefix)
	require.NotContains(t, string(list.body), key)
	require.NotEmpty(t, w.do(http.MethodDelete, "/v1/keys/"+prefix, w.admin, "").str("revoked_at"))
	requireProblem(t, w.do(http.MethodGet, "/v1/payments", key, ""), fault.Unauthenticated)
	requireProblem(t, w.do(http.MethodDelete, "/v1/keys/none", w.admin, ""), fault.NotFound)
	requireProblem(t, w.do(http.MethodPost, "/v1/keys", w.user, `{"scopes":["admin"]}`), fault.Forbidden)
	requireProblem(t, w.do(http.MethodPost, "/v1/keys", w.admin, `{"scopes":["all"]}`), fault.MalformedRequest)
	requireProblem(t, w.do(http.MethodPost, "/v1/keys", w.admin, `{"scopes":[]}`), fault.MalformedRequest)
}

func TestCallbacks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	const path = "/v1/channels/bank-ab/callbacks"
	body := "not even JSON\x00\xff"
	a := w.do(http.MethodPost, path, "", body, "Content-Type", "application/x-anything")
	require.Equal(t, http.StatusOK, a.StatusCode, string(a.body))
	require.Equal(t, []string{body}, w.receiver.bodies)
	requireProblem(t, w.do(http.MethodPost, "/v1/channels/bank-zz/callbacks", "", "{}"), fault.NotFound)
	requireProblem(t, w.do(http.MethodPost, path, "", strings.Repeat("x", 64<<10+1)), fault.BodyTooLarge)
	w.receiver.err = fault.New(fault.DatabaseUnavailable, "not stored")
	down := w.do(http.MethodPost, path, "", "{}")
	requireProblem(t, down, fault.DatabaseUnavailable)
	require.NotEmpty(t, down.Header.Get("Retry-After"))
	w.receiver.err = fault.New(fault.SignatureInvalid, "")
	requireProblem(t, w.do(http.MethodPost, path, "", "{}"), fault.SignatureInvalid)
}

func TestTooManyRequestsAtOnceAreRefusedAtTheDoor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *api.Config) { c.InFlightMax = 1 })
	w.receiver.block, w.receiver.inside = make(chan struct{}), make(chan struct{}, 1)
	done := make(chan *answer, 1)
	go func() { done <- w.do(http.MethodPost, "/v1/channels/bank-ab/callbacks", "", "{}") }()
	<-w.receiver.inside
	a := w.get("/v1/payments")
	requireProblem(t, a, fault.Overloaded)
	require.Equal(t, "1", a.Header.Get("Retry-After"))
	require.Equal(t, "after", a.str("retry"))
	require.Equal(t, http.StatusOK, w.do(http.MethodGet, "/healthz", "", "").StatusCode, "probes are answered under load")
	close(w.receiver.block)
	require.Equal(t, http.StatusOK, (<-done).StatusCode)
	require.Equal(t, http.StatusOK, w.get("/v1/payments").StatusCode)
}

func TestWaitingHoldsNoSlot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *api.Config) { c.InFlightMax, c.WaitingMax = 1, 1 })
	id := w.payout(w.funded("a", "5000"), "k1")
	w.dispatched(id)
	path := "/v1/payments/" + id.String()
	done := make(chan *answer, 1)
	go func() { done <- w.do(http.MethodGet, path, w.user, "", "Prefer", "wait=30") }()
	require.Eventually(t, func() bool {
		return strings.Contains(string(w.do(http.MethodGet, "/metrics", "", "").body), "moneta_http_waiting 1")
	}, patience, 5*time.Millisecond)
	a := w.do(http.MethodGet, path, w.user, "", "Prefer", "wait=30")
	require.Equal(t, "dispatching", a.str("state"), "no room to wait: the state of now")
	w.confirmed(id)
	require.Equal(t, "succeeded", (<-done).str("state"))
}

// oracle answers every Fact with one error: what the ledger's errors look like
// outside is the edge's work alone.
type oracle struct {
	err   error
	panic string
}

func (o *oracle) Submit(context.Context, commit.Fact) (commit.Result, error) {
	if o.panic != "" {
		panic(o.panic)
	}
	return commit.Result{}, o.err
}

func (o *oracle) SubmitAll(_ context.Context, facts []commit.Fact) []commit.Outcome {
	out := make([]commit.Outcome, len(facts))
	for i := range out {
		out[i].Err = o.err
	}
	return out
}

func TestEveryFaultOfTheLedgerKeepsItsWords(t *testing.T) {
	t.Parallel()
	o := &oracle{}
	pool := pgtest.Database(t)
	in, err := intake.New(intake.Config{Submitter: o, Accounts: ledger.NewReader(pool), Originals: commit.NewReader(pool)})
	require.NoError(t, err)
	w := newWorld(t, func(c *api.Config) { c.Intake = in })
	w.unrecorded = true
	const secret = "only-for-me"
	body := `{"kind":"send","from":"acct_0000000000002","to":"acct_0000000000004","amount":"1","asset":"CZK","remittance":"` + secret + `"}`
	for _, code := range fault.Codes() {
		e, _ := fault.Lookup(code)
		o.err = fmt.Errorf("below: %w", fault.New(code, "what happened").WithResource("pay_0000000000001").WithCause(errors.New("inner words")))
		a := w.post("/v1/payments", w.user, body, "k")
		requireProblem(t, a, code)
		require.Equal(t, "what happened", a.str("detail"))
		require.Equal(t, "pay_0000000000001", a.str("resource"))
		require.Equal(t, string(e.MoneyState), a.str("money_state"))
		require.Equal(t, string(e.Retry), a.str("retry"))
		require.Equal(t, e.RetryAfter > 0, a.Header.Get("Retry-After") != "", code)
		require.NotContains(t, string(a.body), "inner words")
		require.Equal(t, http.StatusOK, w.do(http.MethodGet, strings.TrimPrefix(a.str("type"), w.server.URL), "", "").StatusCode, "the type leads to a page")
	}
	o.err = errors.New("nobody gave this a code: " + "inner words")
	a := w.post("/v1/payments", w.user, body, "k")
	requireProblem(t, a, fault.Internal)
	require.Equal(t, "unknown_will_resolve", a.str("money_state"))
	require.NotContains(t, string(a.body), "inner words")
	o.panic = "the ledger fell over"
	requireProblem(t, w.post("/v1/payments", w.user, body, "k"), fault.Internal)

	logs := w.logs.String()
	require.Contains(t, logs, "inner words")
	require.Contains(t, logs, "the ledger fell over")
	for _, s := range []string{secret, w.user, w.admin, strings.Split(w.user, "_")[3]} {
		require.NotContains(t, logs, s, "neither bodies nor keys are logged")
	}
	for _, line := range strings.Split(strings.TrimSpace(logs), "\n") {
		require.NotContains(t, line, `"code":"insufficient-funds"`, "refusals are not logged")
	}
}

// What Postgres cannot hold as text is the caller's mistake, wherever it stands:
// never the database's, which would be answered 503 and sent again.
func TestTextThatNoDatabaseHolds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for _, text := range []string{"%00", "a%00b", "%ff", "%ed%a0%80"} {
		for method, path := range map[string]string{
			http.MethodDelete: "/v1/keys/" + text, http.MethodGet: "/v1/payments?channel=" + text, http.MethodPost: "/v1/keys/" + text + "/limits",
		} {
			requireProblem(t, w.do(method, path, w.admin, ""), fault.MalformedRequest)
		}
	}
	for _, query := range []string{"limit=%zz", "limit=1;after=x", "%"} {
		requireProblem(t, w.do(http.MethodGet, "/v1/accounts?"+query, w.admin, ""), fault.MalformedRequest)
	}
	a := w.do(http.MethodPost, "/v1/keys", w.admin, `{"name":"a\u0000b","scopes":["admin"]}`)
	requireProblem(t, a, fault.MalformedRequest)
	require.Equal(t, "/name", a.str("param"))
	require.Equal(t, http.StatusNotFound, w.do(http.MethodDelete, "/v1/keys/%E4%B8%AD", w.admin, "").StatusCode, "the control: other text is looked for")
}

// A number that is compared with 0 first is a small one to Postgres, unless told.
func TestLargeNumbersAreLookedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	account := w.open("a", "user")
	for _, path := range []string{
		"/v1/operators/deeds?after=9223372036854775807", "/v1/payments?account=acct_7ZZZZZZZZZZZY", "/v1/payments?account=acct_7ZZZZZZZZZZZY&state=created",
		"/v1/accounts/" + account + "/statement?counterparty=acct_7ZZZZZZZZZZZY",
	} {
		a := w.do(http.MethodGet, path, w.admin, "")
		require.Less(t, a.StatusCode, 500, "%s %s", path, a.body)
	}
}
