package app

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/status"
)

// payServe knows one payment, and who of the two may see it.
type payServe struct{ gone atomic.Bool }

func (s *payServe) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	own := r.Header.Get("Authorization") == "Bearer own"
	switch {
	case s.gone.Load():
		rw.WriteHeader(http.StatusServiceUnavailable)
	case r.URL.Path == "/v1/payments/"+pay.ID(42).String() && own:
		answer(rw, map[string]string{"id": pay.ID(42).String()})
	case r.URL.Path == "/v1/find" && own && r.URL.Query().Get("q") == "far" && r.URL.Query().Get("after") == "":
		answer(rw, json.RawMessage(`{"object":"list","data":[],"has_more":true,"next":"pay_0000000000007","looked_back_to":"2026-11-22T12:00:00Z"}`))
	case r.URL.Path == "/v1/find" && own:
		answer(rw, map[string]any{"data": []lookFound{{Object: "payment", ID: pay.ID(42).String(), By: "trace_id", State: "unknown"}}})
	default:
		refuse(rw, http.StatusNotFound, "not-found", "")
	}
}

func newPaymentConsole(t *testing.T) (*browser, *payServe) {
	t.Helper()
	serve := new(payServe)
	server := httptest.NewServer(serve)
	t.Cleanup(server.Close)
	return openConsole(t, WatchConfig{ServeURL: server.URL, DSN: pgtest.Database(t).Config().ConnString()}), serve
}

// TestTriageIsForWhoMaySeeThePayment: not for another tenant's people, and while serve is
// gone for who has seen it before.
func TestTriageIsForWhoMaySeeThePayment(t *testing.T) {
	t.Parallel()
	b, serve := newPaymentConsole(t)
	path := "/api/look/payments/" + pay.ID(42).String() + "/triage?lang=zh"
	resp, _ := b.do(http.MethodGet, path, "")
	require.Equal(t, http.StatusUnauthorized, resp.StatusCode)

	b.signIn(visitor{Name: "eva", Role: access.Viewer, Tenant: 7, Bearer: "own"})
	var got Triage
	b.get(path, &got)
	require.Len(t, got.Questions, 12)
	require.Equal(t, "not_found", got.Verdict, "the facts know nothing of it")
	require.NotNil(t, got.AsOf, "they were read")
	require.Contains(t, got.Questions[2].Question, "受理")

	serve.gone.Store(true)
	b.get(path, &got)
	resp, _ = b.do(http.MethodGet, "/api/look/payments/"+pay.ID(43).String()+"/triage", "")
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode, "never seen before: whose it is cannot be told")
	serve.gone.Store(false)

	b.signIn(visitor{Name: "vic", Role: access.Chief, Tenant: 8, Bearer: "theirs"})
	resp, raw := b.do(http.MethodGet, path, "")
	require.Equal(t, http.StatusNotFound, resp.StatusCode, raw)
	serve.gone.Store(true)
	resp, _ = b.do(http.MethodGet, path, "")
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)

	b.signIn(visitor{Name: access.Local, Role: access.Operate, Bearer: "own"})
	b.get("/api/look/payments/"+pay.ID(43).String()+"/triage", &got)
	resp, _ = b.do(http.MethodGet, "/api/look/payments/nonsense/triage", "")
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
}

// TestFindSaysWhatAPastedNameIs, and while serve is gone what its form alone says.
func TestFindSaysWhatAPastedNameIs(t *testing.T) {
	t.Parallel()
	b, serve := newPaymentConsole(t)
	b.signIn(visitor{Name: "eva", Role: access.Viewer, Tenant: 7, Bearer: "own"})
	find := func(q string) (found []lookFound, sure bool) {
		t.Helper()
		var out struct {
			Found []lookFound `json:"found"`
			Sure  bool        `json:"sure"`
		}
		b.get("/api/look/find?q="+q, &out)
		return out.Found, out.Sure
	}
	found, sure := find("4bf92f3577b34da6a3ce929d0e0e4736")
	require.True(t, sure)
	require.Equal(t, []lookFound{{"payment", pay.ID(42).String(), "trace_id", "unknown"}}, found)

	// What has no index is looked for further and further back.
	var far struct {
		Found        []lookFound
		Next         string `json:"next"`
		LookedBackTo string `json:"looked_back_to"`
	}
	b.get("/api/look/find?q=far", &far)
	require.Equal(t, []string{"pay_0000000000007", "2026-11-22T12:00:00Z"}, []string{far.Next, far.LookedBackTo})
	require.Empty(t, far.Found)
	found, _ = find("far&after=" + far.Next)
	require.Len(t, found, 1)

	serve.gone.Store(true)
	found, sure = find("4bf92f3577b34da6a3ce929d0e0e4736")
	require.False(t, sure, "what he found before")
	require.Len(t, found, 1)
	for q, want := range map[string]lookFound{
		pay.ID(7).String():        {"payment", pay.ID(7).String(), "id", ""},
		pay.AccountID(8).String(): {"account", pay.AccountID(8).String(), "id", ""},
		"c-2026-000012":           {"case", "C-2026-000012", "case", ""},
		pay.Reference(7, 1):       {"payment", pay.ID(7).String(), "channel_reference", ""},
		status.Reference(7):       {"payment", pay.ID(7).String(), "reference", ""},
	} {
		found, sure = find(q)
		require.False(t, sure)
		require.Equal(t, []lookFound{want}, found, q)
	}
	found, _ = find("nothing")
	require.Empty(t, found)
	for _, wrong := range []string{"", "%20"} {
		resp, raw := b.do(http.MethodGet, "/api/look/find?q="+wrong, "")
		require.Equal(t, http.StatusBadRequest, resp.StatusCode)
		require.True(t, json.Valid([]byte(raw)))
	}
}
