package api_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/flight"
)

// Whoever runs the installation gets a recording of the node, and nobody else.
func TestANodeIsRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *api.Config) { c.Flights = new(flight.Recorder) })
	key := w.key(access.Installation)
	a := w.do(http.MethodPost, "/v1/node/flight?seconds=1", key, "")
	require.Equal(t, http.StatusOK, a.StatusCode, string(a.body[:min(len(a.body), 200)]))
	require.Equal(t, "application/octet-stream", a.Header.Get("Content-Type"))
	require.Equal(t, "go 1.", string(a.body[:5]))
	for _, bad := range []string{"0", "31", "x", "-1", "1.5"} {
		requireProblem(t, w.do(http.MethodPost, "/v1/node/flight?seconds="+bad, key, ""), fault.MalformedRequest)
	}
	requireProblem(t, w.do(http.MethodPost, "/v1/node/flight?seconds=1", w.key(access.Admin), ""), fault.Forbidden)
	at := w.do(http.MethodGet, "/v1/node/stacks", key, "")
	require.Equal(t, http.StatusOK, at.StatusCode)
	require.Contains(t, string(at.body), "api_test.TestANodeIsRecorded")
	requireProblem(t, w.do(http.MethodGet, "/v1/node/stacks", w.key(access.Admin), ""), fault.Forbidden)
	requireProblem(t, w.do(http.MethodPost, "/v1/node/flight", "", ""), fault.Unauthenticated)
}
