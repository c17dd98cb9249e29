package api_test

import (
	"bytes"
	"encoding/csv"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/pay/finance"
	"github.com/moneta-pay/moneta/pay/recon"
)

func TestOpenBreaksArePaged(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t)
	_, err := pool.Exec(t.Context(), `insert into breaks (class, channel, reference, opened_at, closed_at)
		select 'amount_mismatch', 'bank-ab', 'r' || i, now() - i * interval '1 minute', case when i % 5 = 0 then now() end from generate_series(25, 1, -1) i`)
	require.NoError(t, err)
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{LogOutput: io.Discard, SampleOneIn: telemetry.SampleOff})
	require.NoError(t, err)
	t.Cleanup(func() { _ = tel.Shutdown(t.Context()) })
	w := newWorld(t, func(c *api.Config) { c.Recon = recon.New(recon.Config{Pool: pool, Telemetry: tel}) })

	var references []string
	after := ""
	for pages := 1; ; pages++ {
		a := w.do(http.MethodGet, "/v1/recon/breaks?limit=8"+after, w.admin, "")
		require.Equal(t, http.StatusOK, a.StatusCode, string(a.body))
		for _, b := range a.json["data"].([]any) {
			references = append(references, b.(map[string]any)["reference"].(string))
		}
		if after = "&after=" + a.str("next"); !a.json["has_more"].(bool) {
			require.Equal(t, 3, pages)
			break
		}
	}
	require.Equal(t, strings.Fields("r1 r2 r3 r4 r6 r7 r8 r9 r11 r12 r13 r14 r16 r17 r18 r19 r21 r22 r23 r24"), references,
		"open ones only, the newest first, each once")
	require.Equal(t, http.StatusOK, w.do(http.MethodPost, "/v1/recon/run", w.admin, "").StatusCode)
	report := w.do(http.MethodGet, "/v1/recon/report", w.admin, "")
	require.Equal(t, http.StatusOK, report.StatusCode, string(report.body))
	require.Contains(t, string(report.body), `"amount_mismatch":20`)
	requireProblem(t, w.do(http.MethodGet, "/v1/recon/breaks?after=x", w.admin, ""), fault.MalformedRequest)
}

// A break has an owner, a suggestion and a history; closing it needs a reason, and is
// done once.
func TestABreakIsAssignedExplainedAndExported(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t)
	_, err := pool.Exec(t.Context(), `insert into breaks (class, channel, reference, line, asset, amount, detail)
		select 'unmatched_inbound', 'bank-' || case when i % 2 = 0 then 'ab' else 'cd' end, '=cmd()', 'L' || i, 'CZK', i, 'a, "quoted"' from generate_series(1, 1203) i`)
	require.NoError(t, err)
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{LogOutput: io.Discard, SampleOneIn: telemetry.SampleOff})
	require.NoError(t, err)
	r := recon.New(recon.Config{Pool: pool, Telemetry: tel})
	require.NoError(t, r.Run(t.Context()))
	w := newWorld(t, func(c *api.Config) { c.Recon = r })

	path := "/v1/recon/breaks/7"
	b := w.do(http.MethodGet, path, w.admin, "")
	require.Equal(t, "operations", b.str("owner"))
	require.Equal(t, "credit_owner", b.json["suggestion"].(map[string]any)["action"])
	a := w.do(http.MethodPost, path+"/assign", w.admin, `{"owner":"Jana","reason":"she knows the payer"}`)
	require.Equal(t, "Jana", a.str("owner"), string(a.body))
	for _, bad := range []string{`{"state":"explained","reason":" "}`, `{"state":"gone","reason":"x"}`, `{"reason":"x"}`} {
		requireProblem(t, w.do(http.MethodPost, path+"/close", w.admin, bad), fault.MalformedRequest)
	}
	a = w.do(http.MethodPost, path+"/close", w.admin, `{"state":"explained","reason":"a test of theirs"}`)
	require.Equal(t, "explained", a.str("state"), string(a.body))
	require.Contains(t, a.str("closed_by"), "key ")
	requireProblem(t, w.do(http.MethodPost, path+"/close", w.admin, `{"state":"resolved","reason":"again"}`), fault.AlreadyFinal)
	require.NoError(t, r.Run(t.Context()))
	var what []string
	for _, e := range w.do(http.MethodGet, path, w.admin, "").json["history"].([]any) {
		what = append(what, e.(map[string]any)["what"].(string))
	}
	require.Equal(t, []string{"opened", "assigned", "explained"}, what)
	requireProblem(t, w.do(http.MethodGet, "/v1/recon/breaks/99999", w.admin, ""), fault.NotFound)
	requireProblem(t, w.do(http.MethodGet, "/v1/recon/breaks/x", w.admin, ""), fault.NotFound)
	requireProblem(t, w.do(http.MethodGet, "/v1/recon/breaks?state=ajar", w.admin, ""), fault.MalformedRequest)

	export := w.do(http.MethodGet, "/v1/recon/breaks.csv", w.admin, "")
	rows, err := csv.NewReader(bytes.NewReader(export.body)).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 1+1202, "all of them, not the newest thousand")
	require.Equal(t, recon.BreakColumns(), rows[0])
	require.Contains(t, rows[1], "'=cmd()", "no formula of a stranger's")
	export = w.do(http.MethodGet, "/v1/recon/breaks.csv?channel=bank-cd&state=all", w.admin, "")
	require.Equal(t, 1+602, bytes.Count(export.body, []byte("\n")))
}

// A missing run is said by the probe, and does not stop payments.
func TestReadyNamesAMissingRun(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	w := newWorld(t, func(c *api.Config) { c.Runs = late{{Channel: "bank-ab", Since: since}} })
	a := w.do(http.MethodGet, "/readyz", "", "")
	require.Equal(t, http.StatusOK, a.StatusCode)
	require.Equal(t, "overdue: bank-ab since 2026-11-23T09:00:00Z", a.str("recon"))
}

type late []recon.Overdue

func (l late) Overdue() []recon.Overdue { return l }

// A period is closed over the API: what is dated in it is refused by name, and the
// answer carries the seal.
func TestAPeriodIsClosedAndSealed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.funded("payer", "1000")
	a := w.do(http.MethodPost, "/v1/periods", w.admin, `{"asset":"CZK","through":"2026-01-31"}`)
	require.Equal(t, http.StatusNotFound, a.StatusCode, "no books, no closing")
	books := &laterBooks{}
	w = newWorld(t, func(c *api.Config) { c.Books = books })
	payer, payee := w.funded("payer", "1000"), w.open("payee", "user")
	books.Reader = finance.NewReader(w.pool)
	a = w.do(http.MethodPost, "/v1/periods", w.admin, `{"asset":"CZK","through":"2026-01-31"}`)
	require.Equal(t, http.StatusOK, a.StatusCode, string(a.body))
	require.Equal(t, "2026-02-01T00:00:00Z", a.str("until"))
	require.Len(t, a.str("trial_balance_sha256"), 64)
	send := `{"kind":"send","from":"` + payer + `","to":"` + payee + `","amount":"1","asset":"CZK","effective_at":"`
	requireProblem(t, w.post("/v1/payments", w.user, send+`2026-01-31T23:59:59Z"}`, "late"), fault.PeriodClosed)
	require.Equal(t, http.StatusCreated, w.post("/v1/payments", w.user, send+`2026-02-01T00:00:00Z"}`, "in time").StatusCode)
	requireProblem(t, w.do(http.MethodPost, "/v1/periods", w.admin, `{"asset":"CZK","through":"2025-12-31"}`), fault.PeriodClosed)
	requireProblem(t, w.do(http.MethodPost, "/v1/periods", w.admin, `{"asset":"CZK","through":"9999-12-30"}`), fault.MalformedRequest)
	requireProblem(t, w.do(http.MethodPost, "/v1/periods", w.user, `{"asset":"CZK","through":"2026-01-31"}`), fault.Forbidden)
	require.Len(t, w.do(http.MethodGet, "/v1/periods", w.admin, "").json["data"], 1)
}

// laterBooks read the world's ledger, which is there only after the edge.
type laterBooks struct{ *finance.Reader }
