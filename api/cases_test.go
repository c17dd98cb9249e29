package api_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/desk"
)

// laterDesk is put in place when the world has its database.
type laterDesk struct{ *desk.Desk }

// deskWorld is a world with a desk.
func deskWorld(t *testing.T) (*world, *desk.Desk) {
	t.Helper()
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{LogOutput: io.Discard})
	require.NoError(t, err)
	lazy := new(laterDesk)
	w := newWorld(t, func(c *api.Config) { c.Desk = lazy })
	lazy.Desk = desk.New(desk.Config{Pool: w.pool, Telemetry: tel})
	return w, lazy.Desk
}

// TestOneClickAppeal: a number, an owner, a deadline and the truth of now, at once.
func TestOneClickAppeal(t *testing.T) {
	t.Parallel()
	w, _ := deskWorld(t)
	id := w.payout(w.funded("a", "5000"), "k1")
	w.dispatched(id)
	w.fact(pay.Fact{Kind: pay.Doubt, Payment: id, Attempt: 1, Reason: "no answer"})
	path := w.stand(id).AppealURL
	require.Equal(t, "/v1/payments/"+id.String()+"/appeal", path)
	require.Nil(t, w.stand(id).Case)

	body := `{"text":"钱在哪里?","client":{"screen":"processing","app_version":"8.1","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"}}`
	a := w.post(path, w.user, body, "a1")
	require.Equal(t, http.StatusCreated, a.StatusCode, string(a.body))
	number := a.str("number")
	require.Equal(t, []string{"appeal", "open", "support", id.String()}, []string{a.str("kind"), a.str("state"), a.str("owner"), a.str("payment")})
	require.Equal(t, "/v1/cases/"+number, a.Header.Get("Location"))
	deadline, err := time.Parse(time.RFC3339Nano, a.str("deadline"))
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(4*time.Hour), deadline, time.Minute)
	doc := w.do(http.MethodGet, "/openapi.json", "", "").json
	schemas := doc["components"].(map[string]any)["schemas"].(map[string]any)
	fits(t, doc, schemas["Appealed"].(map[string]any), a.json, "appealed")
	told := a.json["status"].([]any)
	require.Len(t, told, 2)
	for i, words := range []string{"Confirming with the bank", "正在向银行核实"} {
		s := told[i].(map[string]any)
		require.Equal(t, words, s["texts"].(map[string]any)["headline"])
		require.Equal(t, number, s["case"].(map[string]any)["number"])
		require.Equal(t, "in_transit", s["money_at"])
	}

	again := w.post(path, w.user, body, "a1")
	require.Equal(t, http.StatusOK, again.StatusCode)
	require.Equal(t, "true", again.Header.Get("Idempotency-Replayed"))
	require.Equal(t, number, again.str("number"))
	requireProblem(t, w.post(path, w.user, `{"text":"else"}`, "a1"), fault.IdempotencyKeyReused)
	empty := w.post(path, w.user, "", "a2")
	require.Equal(t, []any{http.StatusOK, number}, []any{empty.StatusCode, empty.str("number")}, "one open appeal a payment")
	require.Equal(t, number, w.stand(id).Case.Number)
	require.Contains(t, w.stand(id).Texts.Next, number)

	requireProblem(t, w.do(http.MethodPost, path, w.user, ""), fault.IdempotencyKeyMissing)
	requireProblem(t, w.post(path, w.user, `{"text":"`+strings.Repeat("钱", 2001)+`"}`, "a3"), fault.MalformedRequest)
	requireProblem(t, w.post(path, w.user, `{"client":{"x":"`+strings.Repeat("x", 201)+`"}}`, "a3"), fault.MalformedRequest)
	requireProblem(t, w.post(path, w.user, `{"text":"a\u0000b"}`, "a3"), fault.MalformedRequest)
	requireProblem(t, w.post(path, w.user, `{"owner":"me"}`, "a3"), fault.UnknownField)
	requireProblem(t, w.post("/v1/payments/pay_0000000009999/appeal", w.user, "", "a3"), fault.NotFound)
	requireProblem(t, w.post(path, w.key(access.PaymentsRead), "", "a3"), fault.Forbidden)
}

// TestAHolderSeesNoInternals of a case, and colleagues see all.
func TestAHolderSeesNoInternals(t *testing.T) {
	t.Parallel()
	w, _ := deskWorld(t)
	id := w.payout(w.funded("a", "5000"), "k1")
	number := w.post("/v1/payments/"+id.String()+"/appeal", w.user, "", "a1").str("number")
	path := "/v1/cases/" + number
	for _, step := range []struct{ path, body string }{
		{"/notes", `{"text":"the customer is a fraud suspect","url":"https://internal/1","sha256":"` + strings.Repeat("ab", 32) + `"}`},
		{"/assign", `{"owner":"Ana Secret","reason":"she knows"}`},
		{"/notes", `{"text":"We are on it.","to_holder":true}`},
		{"/close", `{"resolution":"it was our bug 4711","answer":"It is solved."}`},
	} {
		requireProblem(t, w.do(http.MethodPost, path+step.path, w.user, step.body), fault.Forbidden)
		a := w.do(http.MethodPost, path+step.path, w.admin, step.body)
		require.Equal(t, http.StatusOK, a.StatusCode, string(a.body))
	}
	requireProblem(t, w.do(http.MethodPost, path+"/notes", w.admin, `{"text":"late"}`), fault.CaseClosed)

	holder := w.get(path)
	require.Equal(t, http.StatusOK, holder.StatusCode, string(holder.body))
	for _, secret := range []string{"fraud", "internal/1", "Ana", "bug 4711", "key ", "finding", "resolution", "escalated", "tenant"} {
		require.NotContains(t, string(holder.body), secret)
	}
	require.Equal(t, []string{"closed", "support"}, []string{holder.str("state"), holder.str("owner")})
	notes := holder.json["notes"].([]any)
	require.Len(t, notes, 2)
	require.Equal(t, "It is solved.", notes[1].(map[string]any)["text"])

	whole := w.do(http.MethodGet, path, w.admin, "")
	doc := w.do(http.MethodGet, "/openapi.json", "", "").json
	fits(t, doc, doc["components"].(map[string]any)["schemas"].(map[string]any)["Case"].(map[string]any), whole.json, "case")
	for _, part := range []string{"fraud", "internal/1", "Ana Secret", "bug 4711", `"state":"reserved"`, `"told":[{`} {
		require.Contains(t, string(whole.body), part)
	}
	other, err := w.access.CreateTenant(t.Context(), "other")
	require.NoError(t, err)
	foreign, _, err := w.access.CreateKey(t.Context(), other, "test", []access.Scope{access.PaymentsRead})
	require.NoError(t, err)
	requireProblem(t, w.do(http.MethodGet, path, foreign, ""), fault.NotFound)
	requireProblem(t, w.get("/v1/cases/nonsense"), fault.NotFound)
}

func TestCasesAreListedByWhatIsDue(t *testing.T) {
	t.Parallel()
	w, d := deskWorld(t)
	from := w.funded("a", "5000")
	var ids []string
	for _, key := range []string{"k1", "k2", "k3"} {
		id := w.payout(from, key)
		ids = append(ids, id.String())
		require.Equal(t, http.StatusCreated, w.post("/v1/payments/"+id.String()+"/appeal", w.user, "", key).StatusCode)
	}
	var seen []string
	for after := ""; ; {
		a := w.do(http.MethodGet, "/v1/cases?limit=2&kind=appeal"+after, w.admin, "")
		require.Equal(t, http.StatusOK, a.StatusCode, string(a.body))
		for _, c := range a.json["data"].([]any) {
			seen = append(seen, c.(map[string]any)["payment"].(string))
		}
		if a.json["has_more"] == false {
			break
		}
		after = "&after=" + a.str("next")
	}
	require.Equal(t, ids, seen)
	requireProblem(t, w.do(http.MethodGet, "/v1/cases", w.user, ""), fault.Forbidden)
	for _, bad := range []string{"kind=x", "state=x", "overdue=x", "payment=x", "after=x", "limit=0"} {
		requireProblem(t, w.do(http.MethodGet, "/v1/cases?"+bad, w.admin, ""), fault.MalformedRequest)
	}
	require.Empty(t, w.do(http.MethodGet, "/v1/cases?overdue=true", w.admin, "").json["data"])

	// Closing a task about a payment that is still open warns of the next one.
	p, err := w.payments.Payment(t.Context(), pay.TenantID(w.tenant), mustID(t, ids[0]))
	require.NoError(t, err)
	require.NoError(t, d.Overdue(t.Context(), []pay.Payment{p}))
	task := w.do(http.MethodGet, "/v1/cases?kind=overdue&payment="+ids[0], w.admin, "").json["data"].([]any)[0].(map[string]any)
	a := w.do(http.MethodPost, "/v1/cases/"+task["number"].(string)+"/close", w.admin, `{"resolution":"x"}`)
	require.Contains(t, a.json["warning"].(map[string]any)["en"], "next sweep")
	require.Equal(t, "closed", a.str("state"))
	requireProblem(t, w.do(http.MethodPost, "/v1/cases/"+task["number"].(string)+"/assign", w.admin, `{"owner":""}`), fault.MalformedRequest)
}

// TestTheJourneyAnswersSupport, at each step of a payout, with evidence.
func TestTheJourneyAnswersSupport(t *testing.T) {
	t.Parallel()
	w, _ := deskWorld(t)
	from := w.funded("a", "9000")
	id := w.payout(from, "k1")
	answers := func(id pay.ID) map[string]map[string]any {
		a := w.get("/v1/payments/" + id.String() + "/journey")
		require.Equal(t, http.StatusOK, a.StatusCode, string(a.body))
		doc := w.do(http.MethodGet, "/openapi.json", "", "").json
		fits(t, doc, doc["components"].(map[string]any)["schemas"].(map[string]any)["Journey"].(map[string]any), a.json, "journey")
		out, order := map[string]map[string]any{}, []string{}
		for _, x := range a.json["answers"].([]any) {
			m := x.(map[string]any)
			text := m["text"].(map[string]any)
			require.NotEmpty(t, text["en"])
			require.NotEmpty(t, text["zh"])
			order = append(order, m["question"].(string))
			out[m["question"].(string)] = m
		}
		require.Equal(t, []string{"submitted", "received", "dispatched", "answered", "duplicated"}, order)
		return out
	}
	said := func(id pay.ID) (all []string) {
		a := answers(id)
		for _, q := range []string{"submitted", "received", "dispatched", "answered", "duplicated"} {
			all = append(all, a[q]["answer"].(string))
		}
		return all
	}
	evidence := func(id pay.ID, question string) string {
		b, err := json.Marshal(answers(id)[question]["evidence"])
		require.NoError(t, err)
		return string(b)
	}
	require.Equal(t, []string{"yes", "yes", "no", "no", "no"}, said(id))
	require.Contains(t, evidence(id, "submitted"), "trace "+w.get("/v1/payments/"+id.String()).str("trace_id"))
	require.Contains(t, evidence(id, "received"), "T1")

	w.dispatched(id)
	require.Equal(t, []string{"yes", "yes", "unknown", "no", "no"}, said(id))
	require.Contains(t, evidence(id, "dispatched"), pay.Reference(id, 1))
	_, err := w.pool.Exec(t.Context(), `insert into inbox (channel, headers, body, received_at, verdict) values ('bank-ab', '{}', $1, now(), 'forged'),
		('bank-ab', '{}', 'about somebody else', now(), 'applied')`, []byte(`{"ref":"`+pay.Reference(id, 1)+`"}`))
	require.NoError(t, err)
	require.Equal(t, []string{"yes", "yes", "unknown", "unknown", "no"}, said(id), "it wrote, and nothing came of it")
	require.Contains(t, evidence(id, "answered"), "forged")
	require.NotContains(t, evidence(id, "answered"), "applied")
	w.confirmed(id)
	require.Equal(t, []string{"yes", "yes", "yes", "yes", "no"}, said(id))

	twin, other := w.payout(from, "k2"), w.payoutOf(from, "k3", "999")
	require.Equal(t, "unknown", said(id)[4])
	require.Contains(t, evidence(id, "duplicated"), twin.String()+", reserved: same content, another key")
	require.NotContains(t, evidence(id, "duplicated"), other.String())
	require.Equal(t, "no", said(other)[4], "another amount is another payment")
	foreign := w.payout(w.funded("b", "2000"), "k4")
	require.Equal(t, "no", said(foreign)[4], "another holder's is another payment")

	line := `insert into statement_lines (channel, seq, line_id, direction, reference, amount, fee, asset, remittance, booked_at, outcome)
		values ('bank-ab', $1, $2, 1, $3, 1000, 0, 'CZK', '', now(), $4)`
	for i, outcome := range []string{"matched", "duplicate_line"} {
		_, err := w.pool.Exec(t.Context(), line, i+1, "L1", pay.Reference(id, 1), outcome)
		require.NoError(t, err)
	}
	require.Equal(t, "unknown", said(id)[4], "a line that is stated twice was booked once")
	_, err = w.pool.Exec(t.Context(), line, 3, "L2", pay.Reference(id, 1), "wrong_state")
	require.NoError(t, err)
	require.Equal(t, "yes", said(id)[4])
	require.Contains(t, evidence(id, "duplicated"), "L2")

	send := w.post("/v1/payments", w.user, `{"kind":"send","from":"`+from+`","to":"`+w.open("c", "user")+`","amount":"1","asset":"CZK"}`, "s1")
	require.Equal(t, []string{"yes", "yes", "not_needed", "not_needed", "no"}, said(mustID(t, send.str("id"))))
	requireProblem(t, w.get("/v1/payments/pay_0000000009999/journey"), fault.NotFound)
}

func mustID(t *testing.T, s string) pay.ID {
	t.Helper()
	id, err := pay.ParseID(s)
	require.NoError(t, err)
	return id
}

// TestWithoutADesk nothing offers an appeal.
func TestWithoutADesk(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.payout(w.funded("a", "5000"), "k1")
	require.Empty(t, w.stand(id).AppealURL)
	requireProblem(t, w.post("/v1/payments/"+id.String()+"/appeal", w.user, "", "a1"), fault.NotFound)
}
