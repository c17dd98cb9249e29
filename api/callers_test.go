package api_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/api"
)

func (w *world) metrics() string {
	w.t.Helper()
	return string(w.do(http.MethodGet, "/metrics", "", "").body)
}

// Who calls, and what became of it, tells a fault of some callers from one of ours.
func TestCallersAreToldApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	from, to := w.funded("a", "5000"), w.open("b", "user")
	body := `{"kind":"send","from":"` + from + `","to":"` + to + `","amount":"7","asset":"CZK","remittance":"1"}`
	require.Equal(t, http.StatusCreated, w.post("/v1/payments", w.user, body, "k1", api.AppHeader, "shop-ios/3.2.1").StatusCode)
	require.Equal(t, http.StatusBadRequest, w.post("/v1/payments", w.user, "{", "k2", api.AppHeader, "shop-ios/3.2.1").StatusCode)
	w.do(http.MethodGet, "/v1/payments", "nobody", "", api.AppHeader, "made-up/1")
	w.do(http.MethodGet, "/v1/payments", w.user, "", api.AppHeader, `bad"name`)
	m := w.metrics()
	require.Contains(t, m, `moneta_callers_requests_total{dimension="app",outcome="ok",value="shop-ios/3.2.1"} 1`)
	require.Contains(t, m, `moneta_callers_requests_total{dimension="app",outcome="refused",value="shop-ios/3.2.1"} 1`)
	require.Contains(t, m, `value="127.0.0.0/24"`)
	require.NotContains(t, m, "made-up", "who has no key cannot use up the names")
	require.NotContains(t, m, "bad", "what could be anything is other")

	// There are 48 names, and no more.
	for i := range 60 {
		w.do(http.MethodGet, "/v1/payments", w.user, "", api.AppHeader, fmt.Sprintf("many/%d", i))
	}
	m = w.metrics()
	require.LessOrEqual(t, strings.Count(m, `dimension="app",outcome="ok"`), 49)
	require.Contains(t, m, `dimension="app",outcome="ok",value="other"`)
}

// The same order under another key is somebody who does not believe our answer; the
// same key is a repeat, and another text is another order.
func TestOrdersThatComeAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	from, to := w.funded("a", "5000"), w.open("b", "user")
	order := func(key, text string) {
		t.Helper()
		a := w.post("/v1/payments", w.user, `{"kind":"send","from":"`+from+`","to":"`+to+`","amount":"7","asset":"CZK","remittance":"`+text+`"}`, key)
		require.Less(t, a.StatusCode, 300, string(a.body))
	}
	before := w.metrics()
	require.Contains(t, before, "moneta_payments_again_total 0")
	order("k1", "rent")
	order("k1", "rent")
	order("k2", "food")
	m := w.metrics()
	require.Contains(t, m, "moneta_payments_again_total 0", "healthy orders are none")
	require.Contains(t, m, "moneta_payments_replayed_total 1")
	order("k3", "rent")
	m = w.metrics()
	require.Contains(t, m, "moneta_payments_again_total 1")
	require.Contains(t, m, "moneta_payments_soon_again_total 2", "within seconds another text is no other order")
	require.Contains(t, m, `outcome="again"`)
}

// A caller who hangs up is counted; one who waits for his answer is not.
func TestCallersWhoGoAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.payout(w.funded("a", "5000"), "k1")
	w.dispatched(id)
	require.Contains(t, w.metrics(), "moneta_http_aborted_total 0")
	ctx, hangUp := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.server.URL+"/v1/payments/"+id.String(), nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+w.user)
	req.Header.Set("Prefer", "wait=30")
	done := make(chan struct{})
	go func() {
		defer close(done)
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
	}()
	require.Eventually(t, func() bool { return strings.Contains(w.metrics(), "moneta_http_waiting 1") }, patience, 5*time.Millisecond)
	hangUp()
	<-done
	require.Eventually(t, func() bool {
		m := w.metrics()
		return strings.Contains(m, "moneta_http_aborted_total 1") && strings.Contains(m, `outcome="aborted",value="Go-http-client/1.1"} 1`)
	}, patience, 5*time.Millisecond)
}
