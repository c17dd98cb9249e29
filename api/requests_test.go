package api_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/api"
)

// What the API answered to a tenant's keys, grouped by error; nothing of what was sent.
func TestRequestsAreListed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for range 3 {
		w.do(http.MethodPost, "/v1/payments", w.user, `{"kind":"send","from":"acct_0000000000002","to":"acct_0000000000004","amount":"1","asset":"XXSECRET"}`)
	}
	w.do(http.MethodGet, "/v1/keys", w.user, "")
	w.do(http.MethodGet, "/v1/accounts", w.user, "")
	w.do(http.MethodGet, "/v1/keys", "mk_live_aaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "")
	list := func(query string) (out struct{ Data []api.RequestGroup }) {
		require.NoError(t, w.requests.Flush(t.Context()))
		a := w.do(http.MethodGet, "/v1/requests"+query, w.user, "")
		require.Equal(t, 200, a.StatusCode, string(a.body))
		require.NotContains(t, string(a.body), "XXSECRET")
		require.NoError(t, json.Unmarshal(a.body, &out))
		return out
	}
	// A request is counted when its answer has left: who has it may be quicker.
	var got []api.RequestGroup
	require.Eventually(t, func() bool {
		got = list("?show=all").Data
		var n int64
		for i := range got {
			if got[i].Path != "/v1/requests" {
				n += got[i].Count
			}
		}
		return n == 5
	}, patience, 2*time.Millisecond)
	got = list("").Data
	require.Len(t, got, 2)
	require.Equal(t, []any{"GET", "/v1/keys", 403, "forbidden", int64(1)}, []any{got[0].Method, got[0].Path, got[0].Status, got[0].Code, got[0].Count})
	require.Equal(t, []any{"POST", "/v1/payments", int64(3)}, []any{got[1].Method, got[1].Path, got[1].Count})
	require.Len(t, got[1].TraceID, 32)
	require.Contains(t, got[1].Type, "/errors/"+got[1].Code)
	require.NotEmpty(t, got[1].TitleZH)
	require.Equal(t, w.user[8:16], got[0].Key)
	all := list("?show=all&days=1&key=" + got[0].Key).Data
	require.Len(t, all, 4, "the list itself and the accounts were answered well")
	require.Empty(t, all[0].Code)
	require.Empty(t, list("?key=zzzzzzzz").Data)
	for _, bad := range []string{"?days=0", "?days=15", "?days=x", "?show=some", "?more=1"} {
		require.Equal(t, 400, w.do(http.MethodGet, "/v1/requests"+bad, w.user, "").StatusCode, bad)
	}
}
