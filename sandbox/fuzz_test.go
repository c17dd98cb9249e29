package sandbox_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/sandbox"
)

// FuzzRequests: a bank takes an order, an instruction, a behaviour, or refuses it as its
// sender's mistake; no body fells it, and its books stay readable.
func FuzzRequests(f *testing.F) {
	for _, s := range []string{
		`{"reference":"r","amount":"5","asset":"CZK","account":"1"}`, `{"reference":"r","amount":"-5","asset":"CZK","account":"1"}`, `{"fee":"1","latency":{"probability":2}}`,
		`{"mode":"sync","dedup":false,"decline":{"probability":1,"reason":"x"}}`, `{"reference":"../x"}`, `{"from":"22:00","until":"x"}`, `{"maintenance":{"from":"99:99","until":"00:00"}}`,
		`{"statement_delay_ms":-1}`, `{}`, `[]`, ``, `{"rate_limit":{"requests":0}}`, `{"amount":"170141183460469231731687303715884105728"}`,
	} {
		f.Add(s, "/banks/ab/payments", "POST")
		f.Add(s, "/banks/ab/behaviour", "PUT")
		f.Add(s, "/banks/ab/behaviour", "PATCH")
	}
	f.Add("", "/banks/ab/statements/2026-02-30?asset=CZK&format=csv&page=-1", "GET")
	f.Add("", "/banks/ab/statement?after=-1&limit=x", "GET")
	f.Add("", "/banks/%zz/books?after=9223372036854775808", "GET")
	f.Fuzz(func(t *testing.T, body, target, method string) {
		switch method {
		case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		default:
			return
		}
		if !strings.HasPrefix(target, "/banks/") || strings.ContainsAny(target, " \t\r\n\x00\x7f") {
			return
		}
		server, err := sandbox.New(sandbox.Config{Banks: []string{"ab"}, Secret: "s"})
		require.NoError(t, err)
		defer func() { require.NoError(t, server.Close()) }()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://banks"+target, strings.NewReader(body))
		if err != nil {
			return
		}
		w := httptest.NewRecorder()
		if asked := strings.Contains(body, "latency") || strings.Contains(body, "delay") || strings.Contains(body, "hold"); asked {
			return // it would be slow, as asked
		}
		server.Handler().ServeHTTP(w, r)
		require.NotEqual(t, http.StatusInternalServerError, w.Code, "%s", w.Body)
		w = httptest.NewRecorder()
		server.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/banks/ab/books", nil))
		require.Equal(t, http.StatusOK, w.Code)
	})
}
