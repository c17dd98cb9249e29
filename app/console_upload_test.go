package app

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
)

// A statement file goes through whole although it is longer than a form; anything else
// of that length does not.
func TestAStatementFileGoesThroughTheConsole(t *testing.T) {
	t.Parallel()
	serve := &heldServe{}
	node := httptest.NewServer(serve)
	defer node.Close()
	b := openConsole(t, WatchConfig{ServeURL: node.URL})
	b.signIn(visitor{Name: "olga", Role: access.Operate, Tenant: 1, Bearer: "her session"})
	file := strings.Repeat("x", 3*payBodyMax)
	resp, raw := b.do("POST", "/api/pay/v1/recon/statements?channel=bank-ab", file)
	require.Equal(t, 200, resp.StatusCode, raw)
	require.Contains(t, raw, "channel=bank-ab")
	asked := serve.asked.Load()
	resp, raw = b.do("POST", "/api/pay/v1/payments", file)
	require.Equal(t, 413, resp.StatusCode, raw)
	require.Equal(t, asked, serve.asked.Load(), "it did not leave")
}
