package app

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/sandbox"
)

func TestWhatDevelopersLookUp(t *testing.T) {
	t.Parallel()
	gone := false
	serve := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if gone || r.URL.Path != "/openapi.json" {
			http.Error(rw, "gone", http.StatusBadGateway)
			return
		}
		answer(rw, json.RawMessage(`{"paths":{"/v1/payments":{"post":{"operationId":"create-payment","summary":"Pay","tags":["payments"],"security":[{"key":[]}],
			"parameters":[{"name":"Idempotency-Key","in":"header"}],"requestBody":{"content":{"application/json":{"example":{"kind":"send"}}}},"responses":{"201":{},"400":{}}}},
			"/healthz":{"get":{"operationId":"health","summary":"Health","responses":{"200":{}},"security":[]}}}}`))
	}))
	defer serve.Close()
	b := openConsole(t, WatchConfig{ServeURL: serve.URL})
	resp, _ := b.do("GET", "/api/look/developers/errors", "")
	require.Equal(t, 401, resp.StatusCode)
	b.signIn(visitor{Name: "vera", Role: access.Viewer, Tenant: 1})
	var ops []apiOperation
	b.get("/api/look/developers/operations", &ops)
	require.Len(t, ops, 2)
	require.Equal(t, []any{"create-payment", "POST", true, false}, []any{ops[1].ID, ops[1].Method, ops[1].Keyed, ops[1].Open})
	require.JSONEq(t, `{"kind":"send"}`, string(ops[1].Example))
	require.True(t, ops[0].Open)
	gone = true
	resp, raw := b.do("GET", "/api/look/developers/operations", "")
	require.Equal(t, 200, resp.StatusCode, raw)
	require.NotEmpty(t, resp.Header.Get(ageHeader), "what serve said last, with its age")
	var known []knownError
	b.get("/api/look/developers/errors", &known)
	require.Len(t, known, len(fault.Codes()))
	for _, e := range known {
		require.NotEmpty(t, e.Cause.Zh, e.Code)
		require.NotEmpty(t, e.Fix.En, e.Code)
	}
	var events eventList
	b.get("/api/look/developers/events", &events)
	require.True(t, json.Valid(events.Example))
	require.Contains(t, string(events.Example), `"specversion"`)
	require.Greater(t, len(events.Types), 6)

	// Without a sandbox there is nothing to make fail.
	resp, _ = b.do("GET", "/api/look/developers/sandbox", "")
	require.Equal(t, 404, resp.StatusCode)
}

// sandboxAt is the outside world with one bank.
func sandboxAt(t *testing.T) string {
	t.Helper()
	outside, err := sandbox.New(sandbox.Config{Banks: []string{"AB"}, Secret: "s3cret-for-a-test"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, outside.Close()) })
	server := httptest.NewServer(outside.Handler())
	t.Cleanup(server.Close)
	return server.URL
}

func TestABankOfTheSandboxFailsOnPurpose(t *testing.T) {
	t.Parallel()
	bank := sandboxAt(t)
	b := openConsole(t, WatchConfig{SandboxURL: bank})
	b.signIn(visitor{Name: "vera", Role: access.Viewer, Tenant: 1})
	resp, _ := b.do("POST", "/api/look/developers/sandbox", `{"bank":"ab","trigger":"slow"}`)
	require.Equal(t, 403, resp.StatusCode)
	b.signIn(visitor{Name: "olga", Role: access.Operate, Tenant: 1})
	of := func() string {
		var all struct{ Banks []sandboxBank }
		b.get("/api/look/developers/sandbox", &all)
		for _, x := range all.Banks {
			if x.Code == "ab" {
				return x.Trigger
			}
		}
		return ""
	}
	require.Equal(t, honest, of())
	for _, tr := range append([]trigger{{ID: honest}}, triggers...) {
		resp, raw := b.do("POST", "/api/look/developers/sandbox", `{"bank":"ab","trigger":"`+tr.ID+`"}`)
		require.Equal(t, 200, resp.StatusCode, raw)
		require.Equal(t, tr.ID, of(), "the bank itself says so")
	}
	for _, bad := range []string{`{"bank":"ab","trigger":"nothing"}`, `{"bank":"../x","trigger":"slow"}`, `{"bank":"","trigger":"slow"}`} {
		resp, _ := b.do("POST", "/api/look/developers/sandbox", bad)
		require.Equal(t, 400, resp.StatusCode, bad)
	}
}
