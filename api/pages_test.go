package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/desk"
	"github.com/moneta-pay/moneta/pay/status"
	"github.com/moneta-pay/moneta/pay/trail"
)

// link makes a link and returns its token.
func (w *world) link(id pay.ID, body string) *answer {
	w.t.Helper()
	a := w.do(http.MethodPost, "/v1/payments/"+id.String()+"/link", w.user, body)
	require.Equal(w.t, http.StatusCreated, a.StatusCode, string(a.body))
	return a
}

func (w *world) page(path, key string, headers ...string) (v status.View) {
	w.t.Helper()
	a := w.do(http.MethodGet, path, key, "", headers...)
	require.Equal(w.t, http.StatusOK, a.StatusCode, string(a.body))
	require.NoError(w.t, json.Unmarshal(a.body, &v))
	return v
}

// TestALinkShowsOnePaymentToItsHolder and nothing that the holder may not know.
func TestALinkShowsOnePaymentToItsHolder(t *testing.T) {
	t.Parallel()
	w, d := deskWorld(t)
	from := w.funded("a name nobody may read", "5000")
	id, other := w.payout(from, "k1"), w.payout(from, "k2")
	w.dispatched(id)
	w.fact(pay.Fact{Kind: pay.Doubt, Payment: id, Attempt: 1, Reason: "HTTP 502 from the bank"})

	made := w.link(id, "")
	token := made.str("token")
	require.Equal(t, api.PagePath+token, made.str("path"))
	require.InDelta(t, access.LinkDaysDefault, made.json["days"], 0)
	require.InDelta(t, access.LinkDaysDefault, w.link(id, `{}`).json["days"], 0)
	require.Nil(t, made.json["ends_at"], "it is open")

	a := w.do(http.MethodGet, "/v1/links/"+token+"?lang=en", "", "")
	require.Equal(t, http.StatusOK, a.StatusCode, string(a.body))
	require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
	require.Contains(t, a.Header.Get("X-Robots-Tag"), "noindex")
	for _, hidden := range []string{"bank-ab", "HTTP 502", "a name", from, other.String(), pay.Reference(id, 1), "123456"} {
		require.NotContains(t, string(a.body), hidden)
	}
	v := w.page("/v1/links/"+token, "")
	require.Equal(t, []any{id.String(), "processing", "unknown", true}, []any{v.Status.Payment, v.Status.Status, v.Status.Phase, v.Status.DoNotRetry})
	require.Equal(t, "/v1/links/"+token+"/appeal", v.Status.AppealURL)
	require.Equal(t, []string{status.StepDone, status.StepNow, status.StepAhead, status.StepAhead}, statesOf(v.Steps))

	// Who helps the holder sees the same.
	same := w.page("/v1/payments/"+id.String()+"/view", w.user)
	same.Status.AppealURL, same.Status.ReceiptURL, same.Status.AsOf, same.Guide = v.Status.AppealURL, v.Status.ReceiptURL, v.Status.AsOf, v.Guide
	same.Questions = v.Questions
	require.Equal(t, v, same)

	// One click, and a person has it.
	appeal := w.post("/v1/links/"+token+"/appeal", "", `{"text":"where is it?"}`, "a1")
	require.Equal(t, http.StatusCreated, appeal.StatusCode, string(appeal.body))
	number := appeal.str("number")
	require.Equal(t, []string{"open", "support"}, []string{appeal.str("state"), appeal.str("owner")})
	require.NotContains(t, string(appeal.body), "finding")
	require.NotContains(t, string(appeal.body), "bank-ab")
	again := w.post("/v1/links/"+token+"/appeal", "", `{"text":"where is it?"}`, "a1")
	require.Equal(t, []any{http.StatusOK, number}, []any{again.StatusCode, again.str("number")})
	parsed, _ := desk.ParseNumber(number)
	_, err := d.Note(t.Context(), desk.Reach{Tenant: pay.TenantID(w.tenant)}, parsed, "eva", desk.Note{Text: "We asked the bank.", ToHolder: true})
	require.NoError(t, err)
	_, err = d.Note(t.Context(), desk.Reach{Tenant: pay.TenantID(w.tenant)}, parsed, "eva", desk.Note{Text: "The bank is hopeless."})
	require.NoError(t, err)
	v = w.page("/v1/links/"+token, "")
	story := ""
	for _, l := range v.Story {
		story += l.Text + "\n"
	}
	require.Contains(t, story, number)
	require.Contains(t, story, "Support wrote: We asked the bank.")
	require.NotContains(t, story, "hopeless")
	require.NotContains(t, story, "eva")

	// It stands in the bank's words at the end, in the other language too.
	w.confirmed(id)
	v = w.page("/v1/links/"+token, "", "Accept-Language", "zh-CN")
	require.Equal(t, []any{"zh", "succeeded"}, []any{v.Status.Texts.Lang, v.Status.Status})
	require.NotNil(t, v.ExpiresAt)
	require.WithinDuration(t, time.Now().AddDate(0, 0, access.LinkDaysDefault), *v.ExpiresAt, time.Hour)
	require.Equal(t, status.StepDone, v.Steps[3].State)
}

func statesOf(steps []status.RoadStep) (all []string) {
	for _, s := range steps {
		all = append(all, s.State)
	}
	return all
}

// TestWrongLinksAreAlike: what is no link, not any more, or one of another
// installation has one answer.
func TestWrongLinksAreAlike(t *testing.T) {
	t.Parallel()
	w, _ := deskWorld(t)
	id := w.payout(w.funded("a", "5000"), "k1")
	token := w.link(id, `{"days":1}`).str("token")
	elsewhere, err := access.NewLinks(testRing(t)).Make(access.Link{Tenant: w.tenant, Payment: int64(id), Days: 1, MadeAt: time.Now()})
	require.NoError(t, err)
	want := w.do(http.MethodGet, "/v1/links/x", "", "")
	requireProblem(t, want, fault.NotFound)
	for _, wrong := range []string{elsewhere, token[:len(token)-1], token + "A", strings.Repeat("A", 200), "pay_0000000000001"} {
		a := w.do(http.MethodGet, "/v1/links/"+wrong, "", "")
		requireProblem(t, a, fault.NotFound)
		require.Equal(t, want.str("detail"), a.str("detail"))
		requireProblem(t, w.post("/v1/links/"+wrong+"/appeal", "", "{}", "k"), fault.NotFound)
	}
	for _, body := range []string{`{"days":0}`, `{"days":401}`, `{"days":"7"}`, `{"day":7}`} {
		a := w.do(http.MethodPost, "/v1/payments/"+id.String()+"/link", w.user, body)
		require.Equal(t, http.StatusBadRequest, a.StatusCode, body)
	}
	requireProblem(t, w.do(http.MethodPost, "/v1/payments/pay_0000000000zzz/link", w.user, ""), fault.NotFound)

	// One that has ended looks like one that never was.
	w.dispatched(id)
	w.confirmed(id)
	ended, err := w.links.Make(access.Link{Tenant: w.tenant, Payment: int64(id), Days: 0, MadeAt: time.Now().Add(-time.Hour)})
	require.NoError(t, err)
	a := w.do(http.MethodGet, "/v1/links/"+ended, "", "")
	requireProblem(t, a, fault.NotFound)
	require.Equal(t, want.str("detail"), a.str("detail"))
	requireProblem(t, w.post("/v1/links/"+ended+"/appeal", "", "{}", "k"), fault.NotFound)
	require.Equal(t, http.StatusOK, w.do(http.MethodGet, "/v1/links/"+token, "", "").StatusCode, "the control")
}

// TestALinkIsLimited: one that is shared with a crowd, or asked by a script.
func TestALinkIsLimited(t *testing.T) {
	t.Parallel()
	w, _ := deskWorld(t)
	token := w.link(w.payout(w.funded("a", "5000"), "k1"), "").str("token")
	limited := false
	for i := range 8 { // six in a minute; the clock goes on meanwhile
		a := w.post("/v1/links/"+token+"/appeal", "", "", "k"+string(rune('a'+i)))
		limited = limited || a.StatusCode == http.StatusTooManyRequests
	}
	require.True(t, limited)
	require.Equal(t, http.StatusOK, w.do(http.MethodGet, "/v1/links/"+token, "", "").StatusCode, "looking goes on")
}

// TestATrailIsWithoutGaps: states follow each other, and what is open is open.
func TestATrailIsWithoutGaps(t *testing.T) {
	t.Parallel()
	w, _ := deskWorld(t)
	id := w.payout(w.funded("a", "5000"), "k1")
	read := func() (tr trail.Trail) {
		a := w.do(http.MethodGet, "/v1/payments/"+id.String()+"/trail", w.user, "")
		require.Equal(t, http.StatusOK, a.StatusCode, string(a.body))
		require.NoError(t, json.Unmarshal(a.body, &tr))
		doc := w.do(http.MethodGet, "/openapi.json", "", "").json
		fits(t, doc, doc["components"].(map[string]any)["schemas"].(map[string]any)["Trail"].(map[string]any), a.json, "trail")
		return tr
	}
	before := read()
	require.Equal(t, "send", before.Next.What)
	require.Nil(t, before.Spans[len(before.Spans)-1].To)

	w.dispatched(id)
	w.fact(pay.Fact{Kind: pay.Doubt, Payment: id, Attempt: 1, Reason: "no answer"})
	_, err := w.pool.Exec(t.Context(), `insert into inbox (channel, headers, body, received_at, applied_at, verdict) values
		('bank-ab', '', $1, now(), now(), 'forged'), ('bank-ab', '', $1, now(), null, null), ('bank-xy', '', $1, now(), now(), 'applied')`,
		[]byte(`{"ref":"`+pay.Reference(id, 1)+`"}`))
	require.NoError(t, err)
	open := read()
	require.Equal(t, []any{"ask", "settle"}, []any{open.Next.What, open.Next.Hop})
	require.Len(t, open.Callbacks, 2, "of its channel only")
	require.False(t, *open.Callbacks[0].Verified)
	require.Nil(t, open.Callbacks[1].Verified, "nobody has looked yet")
	require.Nil(t, open.FinalAt)
	require.Equal(t, http.StatusCreated, w.post("/v1/payments/"+id.String()+"/appeal", w.user, "", "a1").StatusCode)

	w.confirmed(id)
	done := read()
	require.NotNil(t, done.FinalAt)
	require.Nil(t, done.Next)
	require.Len(t, done.Cases, 1)
	at, longest, attempts := done.StartedAt, 0, 0
	for _, s := range done.Spans {
		switch s.Row {
		case "state":
			require.Equal(t, at, s.From, "no gap before %s", s.Name)
			require.NotNil(t, s.To)
			at = *s.To
			if s.Longest {
				longest++
			}
		case "attempt":
			attempts++
			require.Equal(t, "confirmed", s.Ended)
		}
	}
	require.Equal(t, *done.FinalAt, at)
	require.Equal(t, []int{1, 1}, []int{longest, attempts})
}

// TestFindTakesWhateverIsPasted: each name leads to the payment, and a stranger's to
// nothing.
func TestFindTakesWhateverIsPasted(t *testing.T) {
	t.Parallel()
	w, _ := deskWorld(t)
	from := w.funded("a", "5000")
	id := w.payout(from, "order 4711")
	w.dispatched(id)
	_, err := w.pool.Exec(t.Context(), `update attempts set channel_id = 'BANK/77' where payment = $1`, int64(id))
	require.NoError(t, err)
	p := w.do(http.MethodGet, "/v1/payments/"+id.String(), w.user, "")
	number := w.post("/v1/payments/"+id.String()+"/appeal", w.user, "", "a1").str("number")
	events := w.do(http.MethodGet, "/v1/events", w.user, "").json["data"].([]any)
	event := events[len(events)-1].(map[string]any)["id"].(string)

	find := func(key, q string) (all [][2]string) {
		t.Helper()
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, w.server.URL+"/v1/find", http.NoBody)
		require.NoError(t, err)
		query := req.URL.Query()
		query.Set("q", q)
		a := w.do(http.MethodGet, "/v1/find?"+query.Encode(), key, "")
		require.Equal(t, http.StatusOK, a.StatusCode, string(a.body))
		for _, one := range a.json["data"].([]any) {
			f := one.(map[string]any)
			all = append(all, [2]string{f["id"].(string), f["by"].(string)})
		}
		return all
	}
	stranger, err := w.access.CreateTenant(t.Context(), "stranger")
	require.NoError(t, err)
	theirs, _, err := w.access.CreateKey(t.Context(), stranger, "", []access.Scope{access.PaymentsRead})
	require.NoError(t, err)
	for q, by := range map[string]string{
		id.String(): "id", " " + status.Reference(id) + " ": "reference", strings.ToLower(status.Reference(id)): "reference",
		pay.Reference(id, 1): "channel_reference", "BANK/77": "channel_id", "order 4711": "idempotency_key", event: "event",
		p.str("trace_id"): "trace_id", "00-" + p.str("trace_id") + "-00f067aa0ba902b7-01": "trace_id",
	} {
		require.Contains(t, find(w.user, q), [2]string{id.String(), by}, q)
		require.Empty(t, find(theirs, q), q)
	}
	require.Equal(t, [][2]string{{from, "id"}}, find(w.user, from))
	require.Equal(t, [][2]string{{number, "case"}, {id.String(), "case"}}, find(w.user, strings.ToLower(number)))
	require.Empty(t, find(theirs, from))
	require.Empty(t, find(theirs, number))
	require.Empty(t, find(w.user, "nothing has this name"))
	require.Empty(t, find(w.user, "钱"), "not even a key")
	requireProblem(t, w.do(http.MethodGet, "/v1/find?q=", w.user, ""), fault.MalformedRequest)
	requireProblem(t, w.do(http.MethodGet, "/v1/find?q=x&after=y", w.user, ""), fault.MalformedRequest)
	for after, want := range map[pay.ID]int{id + 1: 1, id: 0} {
		a := w.do(http.MethodGet, "/v1/find?q="+p.str("trace_id")+"&after="+after.String(), w.user, "")
		require.Len(t, a.json["data"], want, "only what is older than %s", after)
	}
	whole := w.do(http.MethodGet, "/v1/find?q=0af7651916cd43dd8448eb211c80319d", w.user, "")
	require.Equal(t, 200, whole.StatusCode)
	require.Equal(t, false, whole.json["has_more"], "all there is was looked through")
	require.NotContains(t, whole.json, "looked_back_to")
	requireProblem(t, w.do(http.MethodGet, "/v1/find?q="+strings.Repeat("x", 256), w.user, ""), fault.MalformedRequest)
}
