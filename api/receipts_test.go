package api_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/receipt"
)

func testSigner(t *testing.T) *receipt.Signer {
	t.Helper()
	path := filepath.Join(t.TempDir(), "receipts.key")
	require.NoError(t, receipt.MakeKey(path))
	s, err := receipt.LoadSigner(path)
	require.NoError(t, err)
	return s
}

// keys are what the installation publishes, as anybody may read them.
func (w *world) keys() receipt.Keys {
	w.t.Helper()
	a := w.do(http.MethodGet, "/v1/receipt-keys", "", "")
	require.Equal(w.t, http.StatusOK, a.StatusCode, string(a.body))
	require.Equal(w.t, []string{"public, max-age=300", "*"}, []string{a.Header.Get("Cache-Control"), a.Header.Get("Access-Control-Allow-Origin")})
	keys, err := receipt.ParseKeys(a.body)
	require.NoError(w.t, err)
	return keys
}

// receipts returns what the payment's receipts say, newest first, each verified.
func (w *world) receipts(id pay.ID) (all []receipt.Document) {
	w.t.Helper()
	keys := w.keys()
	list := w.get("/v1/payments/" + id.String() + "/receipts?limit=100")
	for i, one := range list.json["data"].([]any) {
		one := one.(map[string]any)
		d, kid, err := receipt.Verify([]byte(one["jws"].(string)), keys)
		require.NoError(w.t, err)
		require.Equal(w.t, []any{d.RestsOn.Event, d.Payment, d.State, d.Status, d.Final, kid, i == 0},
			[]any{one["id"], one["payment"], one["state"], one["status"], one["final"], one["kid"], one["newest"]})
		all = append(all, d)
	}
	return all
}

// TestAReturnedPaymentHasTwoFinalReceipts: the first stays true of its time, and the
// newest says that the money came back.
func TestAReturnedPaymentHasTwoFinalReceipts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	from := w.funded("a name nobody may read", "5000")
	id := w.payout(from, "k1")
	require.Equal(t, []string{"reserved", "processing", "held"}, standsAs(w.receipts(id)[0]))
	w.dispatched(id)
	w.fact(pay.Fact{Kind: pay.Doubt, Payment: id, Attempt: 1, Reason: "HTTP 502 from the bank"})
	open := w.receipts(id)
	require.Equal(t, []string{"unknown", "processing", "in_transit"}, standsAs(open[0]))
	require.False(t, open[0].Final)
	w.confirmed(id)
	once := w.get("/v1/payments/" + id.String() + "/receipt")
	again := w.get("/v1/payments/" + id.String() + "/receipt")
	require.JSONEq(t, string(once.body), string(again.body), "the same transition, the same bytes")
	succeeded := w.receipts(id)
	require.Equal(t, []string{"succeeded", "succeeded", "with_recipient"}, standsAs(succeeded[0]))
	require.True(t, succeeded[0].Final)
	require.Equal(t, open, succeeded[1:], "what was said stays said")

	w.fact(pay.Fact{Kind: pay.Returned, Payment: id, Attempt: 1, Source: "callback", Amount: money.Int(1000), Asset: "CZK", ChannelID: "r-1", Reason: "account closed"})
	returned := w.receipts(id)
	require.Equal(t, succeeded, returned[1:])
	require.Equal(t, []string{"succeeded", "succeeded", "available"}, standsAs(returned[0]))
	require.Equal(t, "returned", returned[0].Disposition)
	require.Equal(t, &receipt.Back{Returned: "1000"}, returned[0].Back)
	require.Equal(t, "return", returned[0].RestsOn.Linked)
	newest := w.get("/v1/payments/" + id.String() + "/receipt")
	require.Equal(t, returned[0].RestsOn.Event, newest.str("id"))
	old := w.get("/v1/payments/" + id.String() + "/receipt?event=" + succeeded[0].RestsOn.Event)
	require.Equal(t, once.str("jws"), old.str("jws"))
	require.Equal(t, false, old.json["newest"])

	// What is in it, and what is not.
	text := documentText(t, newest.str("jws"))
	for _, hidden := range []string{"bank-ab", "502", "a name", from, "123456", "rent", pay.Reference(id, 1), "account closed"} {
		require.NotContains(t, text, hidden)
	}
	require.True(t, returned[0].Names("123456"))
	require.False(t, returned[0].Names("123457"))
	require.Equal(t, "456", returned[0].Payee.EndsWith)

	// The file alone, by parameter and by Accept.
	file := w.get("/v1/payments/" + id.String() + "/receipt?format=jws")
	require.Equal(t, []string{newest.str("jws"), receipt.MediaType}, []string{string(file.body), file.Header.Get("Content-Type")})
	require.Contains(t, file.Header.Get("Content-Disposition"), id.String())
	accepted := w.do(http.MethodGet, "/v1/payments/"+id.String()+"/receipt", w.user, "", "Accept", receipt.MediaType)
	require.Equal(t, file.body, accepted.body)

	// The holder of a link has the same one.
	token := w.link(id, "").str("token")
	require.Equal(t, newest.str("jws"), w.do(http.MethodGet, "/v1/links/"+token+"/receipt", "", "").str("jws"))
	view := w.page("/v1/links/"+token, "")
	require.Equal(t, "/v1/links/"+token+"/receipt", view.Status.ReceiptURL)
	require.Equal(t, "/v1/payments/"+id.String()+"/receipt", w.stand(id).ReceiptURL)
	requireProblem(t, w.do(http.MethodGet, "/v1/links/"+token[1:]+"/receipt", "", ""), fault.NotFound)
}

func standsAs(d receipt.Document) []string { return []string{d.State, d.Status, d.MoneyAt} }

func documentText(t *testing.T, jws string) string {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(jws, ".")[1])
	require.NoError(t, err)
	return string(raw)
}

// TestAReceiptOfALateOutcome: failed, and executed all the same.
func TestAReceiptOfALateOutcome(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.payout(w.funded("a", "5000"), "k1")
	w.dispatched(id)
	w.fact(pay.Fact{Kind: pay.Decline, Payment: id, Attempt: 1, Source: "callback", Reason: "closed"})
	require.Equal(t, []string{"failed", "failed", "returned"}, standsAs(w.receipts(id)[0]))
	w.confirmed(id)
	all := w.receipts(id)
	require.Equal(t, []string{"failed", "succeeded", "with_recipient"}, standsAs(all[0]), "as the status object says")
	require.Equal(t, []string{"late_success", "late_payout"}, []string{all[0].Disposition, all[0].RestsOn.Linked})
	require.Equal(t, []string{"failed", "failed", "returned"}, standsAs(all[1]))
}

// TestAReceiptOfARefundedDeposit follows the refunds of one, one of which fails.
func TestAReceiptOfARefundedDeposit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	d := w.deposited(w.open("alice", "user"), "1000", "d")
	r := w.id(w.refund(d.str("id"), "400", "r1"))
	w.dispatched(r)
	w.fact(pay.Fact{Kind: pay.Confirm, Payment: r, Attempt: 1, Source: "callback", Amount: money.Int(400), Asset: "CZK"})
	rest := w.refund(d.str("id"), "600", "r2")
	require.Equal(t, http.StatusOK, w.do(http.MethodPost, "/v1/payments/"+rest.str("id")+"/cancel", w.user, "").StatusCode)
	var said []string
	for _, one := range w.receipts(w.id(d)) {
		said = append(said, one.State+" "+one.Disposition)
	}
	require.Equal(t, []string{"succeeded partly_refunded", "succeeded refunding", "succeeded partly_refunded", "succeeded refunding", "succeeded ", "created "}, said)
	require.Equal(t, d.str("id"), w.receipts(r)[0].Original)

	// In pages.
	first := w.get("/v1/payments/" + d.str("id") + "/receipts?limit=4")
	require.Equal(t, true, first.json["has_more"])
	second := w.get("/v1/payments/" + d.str("id") + "/receipts?limit=4&after=" + first.str("next"))
	require.Len(t, second.json["data"], 2)
	require.Equal(t, false, second.json["has_more"])
	requireProblem(t, w.get("/v1/payments/"+d.str("id")+"/receipts?after=evt_0000000000zzz"), fault.MalformedRequest)
	requireProblem(t, w.get("/v1/payments/"+d.str("id")+"/receipt?event=x"), fault.MalformedRequest)
	requireProblem(t, w.get("/v1/payments/"+d.str("id")+"/receipt?event=evt_0FFFFFFFFFFFF"), fault.NotFound)
	requireProblem(t, w.get("/v1/payments/"+d.str("id")+"/receipt?format=pdf"), fault.MalformedRequest)
}

// TestReceiptsAreOff where no key is set: the answer says what to do, and no status
// names an address that does not work.
func TestReceiptsAreOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *api.Config) { c.Receipts = nil })
	id := w.payout(w.funded("a", "5000"), "k1")
	for _, path := range []string{"/v1/payments/" + id.String() + "/receipt", "/v1/payments/" + id.String() + "/receipts", "/v1/receipt-keys"} {
		a := w.get(path)
		requireProblem(t, a, fault.NotFound)
		require.Contains(t, a.str("detail"), "receipts_key_file")
	}
	require.Empty(t, w.stand(id).ReceiptURL)
}

// TestANodeWithAStrayKeySignsNothing: what it signed would verify with its own keys
// only.
func TestANodeWithAStrayKeySignsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.payout(w.funded("a", "5000"), "k1")
	before := w.get("/v1/payments/" + id.String() + "/receipt").str("jws")
	stray := receipt.NewIssuer(w.pool, testSigner(t))
	_, err := stray.Of(t.Context(), pay.TenantID(w.tenant), id)
	require.ErrorIs(t, err, fault.ReceiptsUnavailable)
	require.ErrorContains(t, err, "receipts_key_file")
	require.Equal(t, before, w.get("/v1/payments/"+id.String()+"/receipt").str("jws"))
	require.Equal(t, 1, w.keysWrittenDown(), "a key that may not sign is not written down")
}

// TestANodeWithAStrayKeyPublishesNothing: who saved its keys would be told that every
// genuine receipt is forged, and believe what its file signs.
func TestANodeWithAStrayKeyPublishesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.keys()
	stray, unread, late := receipt.NewIssuer(w.pool, testSigner(t)), receipt.NewIssuer(w.pool, nil), receipt.NewIssuer(w.pool, testSigner(t))
	for name, i := range map[string]*receipt.Issuer{"stray": stray, "unread": unread} {
		_, err := i.Published(t.Context())
		require.ErrorIs(t, err, fault.ReceiptsUnavailable, name)
		require.ErrorContains(t, err, "receipts_key_file", name)
		require.Contains(t, i.Trouble(), "receipts_key_file", name)
		_, err = i.Of(t.Context(), pay.TenantID(w.tenant), 1)
		require.ErrorIs(t, err, fault.ReceiptsUnavailable, name)
	}
	require.NotEmpty(t, late.Trouble(), "nobody asked yet")

	// A node that was left behind while another changed the key; nobody caches its answer.
	path := "/v1/receipt-keys"
	_, err := w.pool.Exec(t.Context(), `insert into receipt_keys (kid, public_key) values (repeat('x', 43), decode(repeat('00', 32), 'hex'))`)
	require.NoError(t, err)
	a := w.do(http.MethodGet, path, "", "")
	requireProblem(t, a, fault.ReceiptsUnavailable)
	require.Equal(t, "no-store", a.Header.Get("Cache-Control"))

	// Without the database the last answer holds, and who had none publishes nothing.
	w.pool.Close()
	requireProblem(t, w.do(http.MethodGet, path, "", ""), fault.ReceiptsUnavailable)
	_, err = late.Published(t.Context())
	require.ErrorIs(t, err, fault.ReceiptsUnavailable)
}

func (w *world) keysWrittenDown() (n int) {
	w.t.Helper()
	require.NoError(w.t, w.pool.QueryRow(w.t.Context(), `select count(*) from receipt_keys`).Scan(&n))
	return n
}

// TestKeysChangeNodeByNode: first every node publishes the new key, then they sign with
// it one after another; at no moment is there a receipt that somebody's keys do not know.
func TestKeysChangeNodeByNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.payout(w.funded("a", "5000"), "k1")
	tenant := pay.TenantID(w.tenant)
	old, fresh := keyText(t), keyText(t)
	signs := func(text string, want error) (jws string, keys receipt.Keys) {
		t.Helper()
		s, err := receipt.ParseSigner([]byte(text))
		require.NoError(t, err)
		all, err := receipt.NewIssuer(w.pool, s).Of(t.Context(), tenant, id)
		require.ErrorIs(t, err, want)
		set, err := json.Marshal(s.KeySet())
		require.NoError(t, err)
		keys, err = receipt.ParseKeys(set)
		require.NoError(t, err)
		if want == nil {
			jws = all[0].JWS
		}
		return jws, keys
	}
	before, _ := signs(old, nil)
	_, prepared := signs(old+fresh, nil)
	after, now := signs(fresh+old, nil)
	for _, jws := range []string{before, after} {
		for _, keys := range []receipt.Keys{prepared, now} {
			_, _, err := receipt.Verify([]byte(jws), keys)
			require.NoError(t, err)
		}
	}
	require.Equal(t, 2, w.keysWrittenDown())
	signs(old, fault.ReceiptsUnavailable)   // a node that was left behind
	signs(fresh, fault.ReceiptsUnavailable) // one that lost what verifies the receipts of before
	again, _ := signs(old+fresh, nil)
	require.Equal(t, before, again)
}

func keyText(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "receipts.key")
	require.NoError(t, receipt.MakeKey(path))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

// TestKeysAreReadWithoutTheDatabase, because they are needed when everything else is gone.
func TestKeysAreReadWithoutTheDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	want := w.keys()
	w.pool.Close()
	require.Equal(t, want, w.keys())
}

// TestAReceiptOfAHoldSaysWhatWasCaptured: its amount alone would be taken for money that
// moved.
func TestAReceiptOfAHoldSaysWhatWasCaptured(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	from, to := w.funded("a", "5000"), w.open("b", "user")
	h := w.hold(from, to, "5000", "h")
	require.Equal(t, "0", w.receipts(w.id(h))[0].Captured)
	require.Equal(t, http.StatusCreated, w.capture(h.str("id"), "100", "c").StatusCode)
	require.Equal(t, []string{"100", "reserved", "capture"}, captured(w.receipts(w.id(h))[0]))
	require.Equal(t, http.StatusOK, w.do(http.MethodPost, "/v1/payments/"+h.str("id")+"/release", w.user, "").StatusCode)
	over := w.receipts(w.id(h))
	require.Equal(t, []string{"100", "succeeded", ""}, captured(over[0]))
	require.Equal(t, "The hold is over. Captured of it: 1.00 CZK; the rest was released.", over[0].Outcome("en"))
	require.Len(t, over, 3)

	// All of it at once.
	whole := w.hold(w.funded("c", "700"), to, "700", "h2")
	require.Equal(t, http.StatusCreated, w.capture(whole.str("id"), "700", "c2").StatusCode)
	for _, d := range w.receipts(w.id(whole)) {
		require.False(t, d.Final && d.Captured != "700", "never over without what was captured: %+v", d)
	}
}

func captured(d receipt.Document) []string { return []string{d.Captured, d.State, d.RestsOn.Linked} }
