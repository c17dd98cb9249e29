package api_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/status"
)

// stand reads a payment's status.
func (w *world) stand(id pay.ID, headers ...string) (s status.Status) {
	w.t.Helper()
	a := w.do(http.MethodGet, "/v1/payments/"+id.String()+"/status", w.user, "", headers...)
	require.Equal(w.t, http.StatusOK, a.StatusCode, string(a.body))
	require.NoError(w.t, json.Unmarshal(a.body, &s))
	return s
}

// TestStatusFollowsAPayout: from the hold to the bank's word, each time with
// postings that explain the money.
func TestStatusFollowsAPayout(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *api.Config) {
		c.Outlook = status.NewOutlook(map[string]time.Duration{"bank-ab": 10 * time.Minute}, nil)
	})
	id := w.payout(w.funded("a", "5000"), "k1")
	s := w.stand(id)
	require.True(t, s.Safe)
	require.Equal(t, []any{"processing", "reserved", status.Held, true, true}, []any{s.Status, s.Phase, s.MoneyAt, s.CanCancel, s.DoNotRetry})
	require.Equal(t, status.ByNothing, s.ETA.Basis)

	w.dispatched(id)
	s = w.stand(id, "Accept-Language", "fr, zh-CN;q=0.9, en;q=0.8")
	require.True(t, s.Safe)
	require.Equal(t, []any{"dispatching", status.InTransit, false, "zh"}, []any{s.Phase, s.MoneyAt, s.CanCancel, s.Texts.Lang})
	require.Equal(t, status.ByBound, s.ETA.Basis)
	require.True(t, s.ETA.FinalRecordAt.After(s.AsOf))
	require.Contains(t, s.Texts.Advice, "请勿重复支付")

	w.fact(pay.Fact{Kind: pay.Doubt, Payment: id, Attempt: 1})
	s = w.stand(id)
	require.Equal(t, []any{true, "unknown", status.InTransit, true}, []any{s.Safe, s.Phase, s.MoneyAt, s.DoNotRetry})

	w.confirmed(id)
	s = w.stand(id)
	require.Equal(t, []any{true, "succeeded", "succeeded", status.WithRecipient}, []any{s.Safe, s.Status, s.Phase, s.MoneyAt})
	require.Nil(t, s.ETA)
	require.Nil(t, s.NextUpdateAt)

	// A capture within the ledger has no channel, and says nothing about one.
	shop := w.open("shop", "user")
	require.Equal(t, http.StatusCreated, w.capture(w.hold(w.funded("b", "800"), shop, "800", "h1").str("id"), "300", "c1").StatusCode)
	past, err := w.payments.Durations(t.Context())
	require.NoError(t, err)
	require.Len(t, past, 1, "neither the sends that funded it nor its settlement")
	require.Equal(t, []any{pay.Payout, "bank-ab"}, []any{past[0].Kind, past[0].Channel})
	require.Positive(t, past[0].Took)
}

// TestABreakIsNotSafe: an open break about a reference of the payment takes the
// word back; a closed one, or one of another payment, does not.
func TestABreakIsNotSafe(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	from := w.funded("a", "5000")
	id, other := w.payout(from, "k1"), w.payout(from, "k2")
	w.dispatched(id)
	w.dispatched(other)
	insert := `insert into breaks (class, channel, payment, reference) values ($1, 'bank-ab', $2, $3)`
	for class, ref := range map[string]string{"late_outcome": pay.Reference(id, 1), "amount_mismatch": pay.Reference(id, 0)} {
		_, err := w.pool.Exec(t.Context(), insert, class, int64(id), ref)
		require.NoError(t, err)
		s := w.stand(id, "Accept-Language", "zh")
		require.False(t, s.Safe, class)
		require.Equal(t, status.UnderReview, s.MoneyAt)
		require.True(t, s.DoNotRetry)
		require.Equal(t, "正在核查这笔付款", s.Texts.Headline)
		require.True(t, w.stand(other).Safe)
		_, err = w.pool.Exec(t.Context(), `update breaks set closed_at = now()`)
		require.NoError(t, err)
		require.True(t, w.stand(id).Safe)
	}
}

// TestStatusOfSendsAndDeposits: money that arrived, and money that has not.
func TestStatusOfSendsAndDeposits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	from, to := w.funded("a", "5000"), w.open("b", "user")
	a := w.post("/v1/payments", w.user, `{"kind":"send","from":"`+from+`","to":"`+to+`","amount":"700","asset":"CZK"}`, "k1")
	id, err := pay.ParseID(a.str("id"))
	require.NoError(t, err)
	s := w.stand(id)
	require.Equal(t, []any{true, "succeeded", status.WithRecipient}, []any{s.Safe, s.Status, s.MoneyAt})

	a = w.post("/v1/payments", w.user, `{"kind":"deposit","to":"`+to+`","channel":"bank-ab","amount":"1000","asset":"CZK"}`, "k2")
	id, err = pay.ParseID(a.str("id"))
	require.NoError(t, err)
	s = w.stand(id)
	require.Equal(t, []any{true, "processing", ""}, []any{s.Safe, s.Status, s.MoneyAt})
	require.Contains(t, s.Texts.Advice, a.str("reference"))
	w.fact(pay.Fact{Kind: pay.Confirm, Payment: id, Source: "callback", Amount: money.Int(1000), Asset: "CZK"})
	s = w.stand(id)
	require.Equal(t, []any{true, "succeeded", status.Available}, []any{s.Safe, s.Status, s.MoneyAt})
}

// TestAReferenceFindsItsPayment, as a person types it, or the channel's.
func TestAReferenceFindsItsPayment(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.payout(w.funded("a", "5000"), "k1")
	w.dispatched(id)
	ref := w.stand(id).Reference
	for _, typed := range []string{ref, ref[:4] + ref[5:], pay.Reference(id, 1)} {
		a := w.get("/v1/payments?reference=" + typed)
		require.Equal(t, http.StatusOK, a.StatusCode, string(a.body))
		data := a.json["data"].([]any)
		require.Len(t, data, 1)
		require.Equal(t, id.String(), data[0].(map[string]any)["id"])
	}
	require.Empty(t, w.get("/v1/payments?reference=" + status.Reference(id+1000)).json["data"])
	slip := []byte(ref)
	slip[0]++
	requireProblem(t, w.get("/v1/payments?reference="+string(slip)), fault.MalformedRequest)
	requireProblem(t, w.get("/v1/payments?reference="+ref+"&kind=send"), fault.MalformedRequest)
}

func TestStatusIsForItsTenant(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.payout(w.funded("a", "5000"), "k1")
	path := "/v1/payments/" + id.String() + "/status"
	requireProblem(t, w.do(http.MethodGet, path, "", ""), fault.Unauthenticated)
	requireProblem(t, w.do(http.MethodGet, path, w.key(access.AccountsRead), ""), fault.Forbidden)
	requireProblem(t, w.get(path+"?lang=de"), fault.MalformedRequest)
	requireProblem(t, w.get("/v1/payments/pay_nonsense/status"), fault.NotFound)
	require.Equal(t, "zh", w.get(path+"?lang=zh").Header.Get("Content-Language"))

	stranger := newTenant(w)
	requireProblem(t, w.do(http.MethodGet, path, stranger, ""), fault.NotFound)
	found := w.do(http.MethodGet, "/v1/payments?reference="+status.Reference(id), stranger, "")
	require.Empty(t, found.json["data"])
}

func newTenant(w *world) string {
	w.t.Helper()
	tenant, err := w.access.CreateTenant(w.t.Context(), "stranger")
	require.NoError(w.t, err)
	text, _, err := w.access.CreateKey(w.t.Context(), tenant, "test", []access.Scope{access.PaymentsRead})
	require.NoError(w.t, err)
	return text
}

func TestLanguageByHeader(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.payout(w.funded("a", "5000"), "k1")
	for header, want := range map[string]string{
		"": "en", "zh": "zh", "zh-Hans-CN": "zh", "de, fr": "en", "en;q=0.5, zh;q=0.7": "zh", "zh;q=0, en": "en", "zh;q=0.x": "en", "ZH;Q=1, en;q=0.1": "zh",
	} {
		require.Equal(t, want, w.stand(id, "Accept-Language", header).Texts.Lang, header)
	}
}
