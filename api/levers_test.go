package api_test

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
)

func (w *world) pull(body string) *answer {
	w.t.Helper()
	return w.do(http.MethodPost, "/v1/levers", w.admin, body)
}

func (w *world) undo(id string) *answer {
	w.t.Helper()
	return w.do(http.MethodDelete, "/v1/levers/"+id+"?reason="+url.QueryEscape("it is over"), w.admin, "")
}

func TestAReadOnlyLeverRefusesWritesAndAnswersReads(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	from := w.funded("a", "10000")
	dry := w.pull(`{"lever":"read-only","aim":"everything","owner":"ann","reason":"wrong results","for_s":600,"dry_run":true}`)
	require.Equal(t, http.StatusOK, dry.StatusCode, string(dry.body))
	require.Equal(t, true, dry.json["dry_run"])
	require.NotNil(t, dry.json["radius"].(map[string]any)["open_payments"])
	require.Empty(t, dry.str("id"))
	require.Equal(t, http.StatusCreated, w.post("/v1/webhooks", w.user, `{"url":"http://127.0.0.1:1/x"}`, "").StatusCode, "a dry run holds nothing")

	pulled := w.pull(`{"lever":"read-only","aim":"everything","owner":"ann","reason":"wrong results","for_s":600}`)
	require.Equal(t, http.StatusCreated, pulled.StatusCode, string(pulled.body))
	require.Equal(t, "R2", pulled.str("class"))
	refused := w.post("/v1/webhooks", w.user, `{"url":"http://127.0.0.1:1/y"}`, "")
	requireProblem(t, refused, fault.ReadOnly)
	require.Contains(t, refused.str("detail"), "wrong results")
	wait, err := strconv.Atoi(refused.Header.Get("Retry-After"))
	require.NoError(t, err)
	require.InDelta(t, 600, wait, 30)
	require.Equal(t, "not_moved", refused.str("money_state"))
	requireProblem(t, w.do(http.MethodPost, "/v1/accounts/"+from+"/floor", w.admin, `{"floor":"-5"}`), fault.ReadOnly)
	require.Equal(t, http.StatusOK, w.get("/v1/accounts/"+from+"/balances").StatusCode, "reads are answered")

	for path, item := range w.do(http.MethodGet, "/openapi.json", "", "").json["paths"].(map[string]any) {
		for method, o := range item.(map[string]any) {
			told := o.(map[string]any)["responses"].(map[string]any)["423"] != nil
			if a := w.do(strings.ToUpper(method), anyID.ReplaceAllString(path, "x"), w.admin, "{}"); a.StatusCode == http.StatusLocked {
				require.True(t, told, "%s %s says in the document that it may be refused", method, path)
			}
		}
	}

	callback := w.do(http.MethodPost, "/v1/channels/bank-ab/callbacks", "", `{"id":"cb1"}`)
	require.Equal(t, http.StatusOK, callback.StatusCode, "a callback is never refused")
	frozen := w.do(http.MethodPost, "/v1/accounts/"+from+"/freeze", w.admin, `{"reason":"containing goes on"}`)
	require.Equal(t, http.StatusOK, frozen.StatusCode, string(frozen.body))

	listed := w.do(http.MethodGet, "/v1/levers", w.admin, "")
	require.Len(t, listed.json["data"], 1)
	undone := w.undo(pulled.str("id"))
	require.Equal(t, http.StatusOK, undone.StatusCode, string(undone.body))
	require.Equal(t, false, undone.json["holds"])
	require.Equal(t, http.StatusCreated, w.post("/v1/webhooks", w.user, `{"url":"http://127.0.0.1:1/z"}`, "").StatusCode)
	require.Empty(t, w.do(http.MethodGet, "/v1/levers", w.admin, "").json["data"])
	all := w.do(http.MethodGet, "/v1/levers?state=all&limit=1", w.admin, "")
	require.Len(t, all.json["data"], 1)
	require.Equal(t, false, all.json["has_more"])
}

func TestALimitLeverIsToldInTheHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	from, to := w.funded("a", "10000"), w.open("b", "user")
	n := 0
	send := func() *answer {
		n++
		return w.post("/v1/payments", w.user, `{"kind":"send","from":"`+from+`","to":"`+to+`","amount":"1","asset":"CZK"}`, "limited "+strconv.Itoa(n))
	}
	require.Empty(t, send().Header.Get("RateLimit"))
	for _, aim := range []string{"tenant:" + strconv.Itoa(int(w.tenant)), "key:" + prefixOf(w.user), "route:create-payment", "everything"} {
		pulled := w.pull(`{"lever":"limit","aim":"` + aim + `","value":"2/10m","owner":"ann","reason":"a storm","for_s":600}`)
		require.Equal(t, http.StatusCreated, pulled.StatusCode, string(pulled.body))
		first := send()
		require.Equal(t, http.StatusCreated, first.StatusCode, string(first.body))
		require.Equal(t, `"`+aim+`";q=2;w=600`, first.Header.Get("RateLimit-Policy"))
		require.Regexp(t, `^"`+aim+`";r=1;t=\d+$`, first.Header.Get("RateLimit"))
		require.Equal(t, http.StatusCreated, send().StatusCode)
		refused := send()
		requireProblem(t, refused, fault.RateLimited)
		require.Contains(t, refused.str("detail"), "a storm")
		require.NotEmpty(t, refused.Header.Get("Retry-After"))
		require.Equal(t, http.StatusOK, w.get("/v1/accounts/"+from).StatusCode, "reads tell people where their money is")
		require.Equal(t, http.StatusOK, w.undo(pulled.str("id")).StatusCode)
	}
	require.Equal(t, http.StatusCreated, send().StatusCode)
}

func TestAChannelLimitCountsEachPaymentOfABatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	from := w.funded("a", "10000")
	pulled := w.pull(`{"lever":"limit","aim":"channel:bank-ab","value":"3/10m","owner":"ann","reason":"a slow bank","for_s":600}`)
	require.Equal(t, http.StatusCreated, pulled.StatusCode, string(pulled.body))
	item := func(k string) string {
		return `{"idempotency_key":"` + k + `","kind":"payout","from":"` + from + `","channel":"bank-ab","payee":{"account":"1"},"amount":"1","asset":"CZK"}`
	}
	batch := w.do(http.MethodPost, "/v1/payments/batch", w.user, `{"payments":[`+item("a")+`,`+item("b")+`]}`)
	require.Equal(t, http.StatusOK, batch.StatusCode, string(batch.body))
	require.Regexp(t, `"channel:bank-ab";r=1;`, batch.Header.Get("RateLimit"))
	requireProblem(t, w.do(http.MethodPost, "/v1/payments/batch", w.user, `{"payments":[`+item("c")+`,`+item("d")+`]}`), fault.RateLimited)
	to := w.open("b", "user")
	send := w.post("/v1/payments", w.user, `{"kind":"send","from":"`+from+`","to":"`+to+`","amount":"1","asset":"CZK"}`, "send")
	require.Equal(t, http.StatusCreated, send.StatusCode, "no channel, no limit")
}

// One holder is limited, in single payments and in batches, whichever way he writes his
// account; the others of his tenant are not, and the one at the other end is not.
func TestAHolderIsLimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	from, other := w.funded("a", "10000"), w.funded("b", "10000")
	pulled := w.pull(`{"lever":"limit","aim":"account:` + from + `","value":"3/10m","owner":"ann","reason":"pays again and again","for_s":600}`)
	require.Equal(t, http.StatusCreated, pulled.StatusCode, string(pulled.body))
	item := func(k, from, to string) string {
		return `{"idempotency_key":"` + k + `","kind":"send","from":"` + from + `","to":"` + to + `","amount":"1","asset":"CZK"}`
	}
	batch := w.do(http.MethodPost, "/v1/payments/batch", w.user, `{"payments":[`+item("a", from, other)+`,`+item("b", strings.ToLower(from), other)+`,`+item("c", other, from)+`]}`)
	require.Equal(t, http.StatusOK, batch.StatusCode, string(batch.body))
	require.Contains(t, batch.Header.Get("RateLimit"), `"account:`+from+`";r=1;`)
	one := func(k, from, to string) *answer {
		return w.post("/v1/payments", w.user, `{"kind":"send","from":"`+from+`","to":"`+to+`","amount":"1","asset":"CZK"}`, k)
	}
	require.Equal(t, http.StatusCreated, one("d", from, other).StatusCode)
	requireProblem(t, one("e", from, other), fault.RateLimited)
	deposit := w.post("/v1/payments", w.user, `{"kind":"deposit","to":"`+from+`","channel":"bank-ab","amount":"1","asset":"CZK"}`, "f")
	requireProblem(t, deposit, fault.RateLimited)
	require.Equal(t, http.StatusCreated, one("g", other, from).StatusCode, "of the other holder there is no limit")
	require.Equal(t, http.StatusOK, w.undo(pulled.str("id")).StatusCode)
	require.Equal(t, http.StatusCreated, one("e", from, other).StatusCode, "a refused key is not used up")
}

func TestABannerIsShownToHoldersOfOpenPayments(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	from, to := w.funded("a", "10000"), w.open("b", "user")
	open := w.post("/v1/payments", w.user, `{"kind":"payout","from":"`+from+`","channel":"bank-ab","payee":{"account":"1"},"amount":"1","asset":"CZK"}`, "p")
	require.Equal(t, http.StatusCreated, open.StatusCode, string(open.body))
	final := w.post("/v1/payments", w.user, `{"kind":"send","from":"`+from+`","to":"`+to+`","amount":"1","asset":"CZK"}`, "s")
	pulled := w.pull(`{"lever":"banner","aim":"everything","value":"Bank AB is slow today. Please do not pay again.","value_zh":"AB 银行今日处理缓慢。请勿重复支付。","owner":"ann","reason":"a slow bank","for_s":600}`)
	require.Equal(t, http.StatusCreated, pulled.StatusCode, string(pulled.body))
	notice := func(id, lang string) map[string]any {
		a := w.get("/v1/payments/" + id + "/status?lang=" + lang)
		require.Equal(t, http.StatusOK, a.StatusCode, string(a.body))
		n, _ := a.json["notice"].(map[string]any)
		require.NotEqual(t, "failed", a.str("status"))
		return n
	}
	require.Equal(t, "Bank AB is slow today. Please do not pay again.", notice(open.str("id"), "en")["text"])
	require.Equal(t, "AB 银行今日处理缓慢。请勿重复支付。", notice(open.str("id"), "zh")["text"])
	require.Nil(t, notice(final.str("id"), "en"), "a final payment needs none")
	require.Equal(t, http.StatusOK, w.undo(pulled.str("id")).StatusCode)
	require.Nil(t, notice(open.str("id"), "en"))
}

// What would break a rule, aim at nothing, or say nothing is refused, dry run or not.
func TestLeversThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for _, dry := range []string{"", `,"dry_run":true`} {
		for body, want := range map[string]fault.Code{
			`"lever":"limit","aim":"route:receive-callback","value":"1/1h","for_s":60`:                     fault.MalformedRequest,
			`"lever":"limit","aim":"route:undo-lever","value":"1/1h","for_s":60`:                           fault.MalformedRequest,
			`"lever":"limit","aim":"route:nonsense","value":"1/1h","for_s":60`:                             fault.MalformedRequest,
			`"lever":"pause-dispatch","aim":"channel:bank-zz","for_s":60`:                                  fault.ChannelUnknown,
			`"lever":"pause-intake","aim":"tenant:4711","for_s":60`:                                        fault.MalformedRequest,
			`"lever":"limit","aim":"account:acct_zzzz","value":"1/1h","for_s":60`:                          fault.MalformedRequest,
			`"lever":"limit","aim":"account:acct_000000000ZZZY","value":"1/1h","for_s":60`:                 fault.AccountNotFound,
			`"lever":"limit","aim":"key:zzzzzzzz","value":"1/1h","for_s":60`:                               fault.MalformedRequest,
			`"lever":"read-only","aim":"everything"`:                                                       fault.MalformedRequest,
			`"lever":"read-only","aim":"everything","for_s":90000`:                                         fault.MalformedRequest,
			`"lever":"read-only","aim":"everything","for_s":60,"expires_at":"2030-01-01T00:00:00Z"`:        fault.MalformedRequest,
			`"lever":"banner","aim":"everything","value":"Please pay again.","value_zh":"请稍候。","for_s":60`: fault.MalformedRequest,
			`"lever":"read-only","aim":"everything","for_s":60,"colour":"red"`:                             fault.UnknownField,
		} {
			requireProblem(t, w.pull(`{"owner":"ann","reason":"a test",`+body+dry+`}`), want)
		}
	}
	requireProblem(t, w.pull(`{"lever":"read-only","aim":"everything","for_s":60,"reason":"x"}`), fault.MalformedRequest)
	requireProblem(t, w.undo("lev_x"), fault.NotFound)
	requireProblem(t, w.undo("lev_aaaaaaaaaaaaaaaaaaaaaaaaaa"), fault.NotFound)
	require.Empty(t, w.do(http.MethodGet, "/v1/levers", w.admin, "").json["data"])
	requireProblem(t, w.do(http.MethodPost, "/v1/levers", w.user, `{}`), fault.Forbidden)
}

// An operator contains; R2 takes somebody who may approve; a viewer looks.
func TestWhoPullsWhat(t *testing.T) {
	t.Parallel()
	c := newCrew(t, map[string]access.Role{"viewer": access.Viewer, "operator": access.Operate, "approver": access.Approver})
	r1 := `{"lever":"pause-dispatch","aim":"everything","owner":"ann","reason":"x","for_s":60}`
	r2 := `{"lever":"read-only","aim":"everything","owner":"ann","reason":"x","for_s":60}`
	for role, may := range map[access.Role][2]bool{access.Viewer: {}, access.Operate: {true, false}, access.Approver: {true, true}} {
		for i, body := range []string{r1, r2} {
			a := c.as(string(role), http.MethodPost, "/v1/levers", body)
			if !may[i] {
				requireProblem(t, a, fault.Forbidden)
				continue
			}
			require.Equal(t, http.StatusCreated, a.StatusCode, string(a.body))
			require.Equal(t, "operator "+string(role), a.str("by"))
			require.Equal(t, http.StatusOK, c.as(string(role), http.MethodDelete, "/v1/levers/"+a.str("id")+"?reason=over", "").StatusCode)
		}
		require.Equal(t, http.StatusOK, c.as(string(role), http.MethodGet, "/v1/levers", "").StatusCode)
	}
	deeds := c.do(http.MethodGet, "/v1/operators/deeds?limit=100", c.admin, "")
	require.Contains(t, string(deeds.body), "pull-lever")
	require.Contains(t, string(deeds.body), "undo-lever")
}
