package api_test

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/finance"
	"github.com/moneta-pay/moneta/pay/invariant"
	"github.com/moneta-pay/moneta/pay/recon"
)

func list(a *answer) (out []map[string]any) {
	for _, x := range a.json["data"].([]any) {
		out = append(out, x.(map[string]any))
	}
	return out
}

// What a person who looks after the books sees: every posting with both its ends, each
// account as it was at an instant, and totals of zero.
func TestTheBooksAreRead(t *testing.T) {
	t.Parallel()
	books := &laterBooks{}
	standing := &laterStanding{}
	w := newWorld(t, func(c *api.Config) { c.Books, c.Invariants = books, standing })
	books.Reader, standing.Reader = finance.NewReader(w.pool), invariant.NewReader(w.pool)
	a, b := w.funded("Anna", "1000"), w.open("Ben", "user")
	w.send(a, b, "300", "rent", "s1")
	between := time.Now().UTC().Format(time.RFC3339Nano)
	w.send(a, b, "50", "more", "s2")

	newest := list(w.get("/v1/transfers?limit=2"))
	require.Len(t, newest, 2)
	require.Equal(t, "50", newest[0]["amount"])
	debit, credit := newest[0]["debit"].(map[string]any), newest[0]["credit"].(map[string]any)
	require.Equal(t, []any{a, "Anna", "650", b, "Ben", "350"}, []any{debit["account"], debit["name"], debit["balance"], credit["account"], credit["name"], credit["balance"]})
	then := w.get("/v1/transfers?limit=1&as_of=" + url.QueryEscape(between))
	require.Equal(t, "300", list(then)[0]["amount"], "what was booked later is not there yet")
	require.Equal(t, "1000", list(w.get("/v1/transfers?limit=1&after=" + then.str("next")))[0]["amount"])
	require.Empty(t, list(w.get("/v1/transfers?asset=EUR")))
	one := w.get(fmt.Sprintf("/v1/transfers/%d", int64(newest[0]["id"].(float64))))
	require.Equal(t, newest[0], one.json)
	requireProblem(t, w.get("/v1/transfers/999999"), fault.NotFound)
	requireProblem(t, w.get("/v1/transfers/x"), fault.NotFound)
	requireProblem(t, w.get("/v1/transfers?after=x"), fault.MalformedRequest)

	require.Len(t, list(w.get("/v1/accounts?name=NN")), 2, "Anna, and the house of Anna")
	require.Len(t, list(w.get("/v1/accounts?name=NN&kind=user")), 1)
	require.Empty(t, list(w.get("/v1/accounts?name=%25")), "no pattern")
	require.Equal(t, map[string]any{"available": "650", "held": "0"}, list(w.get("/v1/accounts?kind=user&balances=now"))[0]["balances"])
	require.Equal(t, "700", list(w.get("/v1/accounts?kind=user&balances=" + url.QueryEscape(between)))[0]["balances"].(map[string]any)["available"])
	for _, bad := range []string{"kind=x", "balances=x", "name=%00"} {
		requireProblem(t, w.get("/v1/accounts?"+bad), fault.MalformedRequest)
	}

	from, to := time.Now().Add(-time.Hour).UTC(), time.Now().Add(time.Minute).UTC()
	curve := func(points string) *answer {
		return w.get("/v1/accounts/" + a + "/curve?from=" + from.Format(time.RFC3339) + "&to=" + to.Format(time.RFC3339) + "&points=" + points)
	}
	points := list(curve("3"))
	require.Equal(t, []any{"0", "0", "650"}, []any{points[0]["available"], points[1]["available"], points[2]["available"]})
	requireProblem(t, curve("1"), fault.MalformedRequest)
	requireProblem(t, w.get("/v1/accounts/"+a+"/curve"), fault.MalformedRequest)

	trial := w.do(http.MethodGet, "/v1/trial-balance", w.admin, "")
	require.Equal(t, http.StatusOK, trial.StatusCode, string(trial.body))
	require.Equal(t, true, trial.json["sound"])
	require.Equal(t, []any{map[string]any{"asset": "CZK", "balanced": true, "books_astray": 0.0, "credit": "1000", "debit": "1000"}}, trial.json["totals"])
	require.Empty(t, w.do(http.MethodGet, "/v1/trial-balance?asset=EUR", w.admin, "").json["totals"])
	requireProblem(t, w.do(http.MethodGet, "/v1/trial-balance?asset=XXQ", w.admin, ""), fault.AssetUnknown)
	requireProblem(t, w.do(http.MethodGet, "/v1/trial-balance", w.user, ""), fault.Forbidden)

	_, err := invariant.New(invariant.Config{Pool: w.pool, Telemetry: w.telemetry}).Turn(t.Context())
	require.NoError(t, err)
	found := w.do(http.MethodGet, "/v1/invariants", w.admin, "")
	require.Equal(t, http.StatusOK, found.StatusCode, string(found.body))
	require.Equal(t, []any{map[string]any{"asset": "CZK", "sum": "0", "accounts": 3.0}}, found.json["sums"])
	require.Len(t, found.json["checks"], 12)
	require.NotEmpty(t, found.str("turned_at"))
	_, err = w.pool.Exec(t.Context(), `insert into breaks (class, channel, reference) values ('invariant', '', 'P5 book 2 at transfer 1')`)
	require.NoError(t, err)
	for _, c := range w.do(http.MethodGet, "/v1/invariants", w.admin, "").json["checks"].([]any) {
		require.NotEmpty(t, c.(map[string]any)["about"].(map[string]any)["zh"])
		if k := c.(map[string]any); k["name"] == "P5" {
			require.Equal(t, []any{1.0, 1.0}, []any{k["open"], k["ever"]})
		} else {
			require.Zero(t, k["open"], "%v", k["name"])
		}
	}
}

// A break shows both sides. One person closes what is only a difference of figures; what
// may be lost money takes two, as soon as there are two.
func TestABreakIsClosedByWhoMay(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	from := h.funded("payer", "5000")
	id := h.payout(from, "a payout that the bank shows with another amount")
	h.dispatched(id)
	reference := pay.Reference(id, 1)
	_, err := h.pool.Exec(t.Context(), `insert into statement_lines (channel, seq, line_id, direction, reference, amount, fee, asset, remittance, booked_at, payment, outcome)
		values ('bank-ab', 1, 'L1', 1, $1, 1001, 2, 'CZK', '', now(), $2, 'amount_mismatch')`, reference, int64(id))
	require.NoError(t, err)
	brk := func(class, reference string, severity int) (path string) {
		var n int64
		require.NoError(t, h.pool.QueryRow(t.Context(), `insert into breaks (class, channel, payment, reference, line, owner, severity) values ($1, 'bank-ab', $2, $3, '', 'operations', $4) returning id`,
			class, int64(id), reference, severity).Scan(&n))
		return fmt.Sprintf("/v1/recon/breaks/%d", n)
	}
	wrong, fee := brk("amount_mismatch", reference, recon.MoneyAtRisk), brk("fee_unexpected", "other", recon.Figures)
	sides := h.do(http.MethodGet, wrong, h.admin, "").json["sides"].(map[string]any)
	ours, line := sides["ours"].(map[string]any), sides["lines"].([]any)[0].(map[string]any)
	require.Equal(t, []any{"1000", "dispatching", from, "1001", "2", "out"}, []any{ours["amount"], ours["state"], ours["account"], line["amount"], line["fee"], line["direction"]})
	require.Equal(t, reference, ours["attempts"].([]any)[0].(map[string]any)["reference"])

	h.add("ben", access.Chief) // the second who may approve, beside mara
	requireProblem(t, h.do(http.MethodPost, wrong+"/close", h.admin, `{"state":"resolved","code":"channel_corrected","reason":"a letter"}`), fault.ApprovalRequired)
	requireProblem(t, h.do(http.MethodPost, fee+"/close", h.admin, `{"state":"resolved","code":"because","reason":"a letter"}`), fault.MalformedRequest)
	a := h.do(http.MethodPost, fee+"/close", h.admin, `{"state":"explained","code":"fee_accepted","reason":"the new price list"}`)
	require.Equal(t, []string{"explained", "fee_accepted"}, []string{a.str("state"), a.str("code")}, string(a.body))

	ages := list(h.do(http.MethodGet, "/v1/recon/ages", h.admin, ""))
	require.NotEmpty(t, ages)
	for _, one := range ages {
		require.Equal(t, []any{"amount_mismatch", "1h"}, []any{one["class"], one["under"]})
	}
	today := time.Now().UTC().Format(time.DateOnly)
	picture := h.do(http.MethodGet, "/v1/recon/picture?from="+today+"&to="+today, h.admin, "")
	require.Equal(t, http.StatusOK, picture.StatusCode, string(picture.body))
	day := picture.json["channels"].([]any)[0].(map[string]any)["days"].([]any)[0].(map[string]any)
	require.Equal(t, map[string]any{"count": 1.0, "value": money.Int(1001).String()}, day["surplus"])
	requireProblem(t, h.do(http.MethodGet, "/v1/recon/picture?from="+today+"&to=2099-01-01", h.admin, ""), fault.MalformedRequest)
	requireProblem(t, h.do(http.MethodGet, "/v1/recon/picture?channel=x&from="+today+"&to="+today, h.admin, ""), fault.NotFound)
}
