package api_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/pay/recon"
)

func TestOpenBreaksArePaged(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t)
	_, err := pool.Exec(t.Context(), `insert into breaks (class, channel, reference, opened_at, closed_at)
		select 'missing', 'bank-ab', 'r' || i, now() - i * interval '1 minute', case when i % 5 = 0 then now() end from generate_series(1, 25) i`)
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
	require.Contains(t, string(report.body), `"missing":20`)
	requireProblem(t, w.do(http.MethodGet, "/v1/recon/breaks?after=x", w.admin, ""), fault.MalformedRequest)
}
