package sandbox_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/sandbox"
)

// The page for people names every field of the behaviour and every magic
// amount with its effect.
func TestReadmeIsWhole(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	raw, err := json.Marshal(sandbox.DefaultBehaviour())
	require.NoError(t, err)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(raw, &fields))
	for field := range fields {
		require.Contains(t, string(readme), "`"+field+"`")
	}
	for _, magic := range sandbox.MagicAmounts() {
		require.Contains(t, string(readme), fmt.Sprintf("| %d | %s |", magic.Amount, magic.Effect))
	}
}

// Serve answers until its context ends, lets go of a held request, and returns.
func TestServeStops(t *testing.T) {
	t.Parallel()
	server, err := sandbox.New(sandbox.Config{Banks: []string{"ab"}, Secret: secret})
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, listener) }()
	w := &world{t: t, server: server, url: "http://" + listener.Addr().String(), client: &http.Client{Transport: &http.Transport{}}}
	w.behave(`{"lose_reply":1,"hold":{"probability":1,"min_ms":3600000,"max_ms":3600000}}`)
	dropped := make(chan int, 1)
	go func() {
		status, _ := w.pay("held", "5")
		dropped <- status
	}()
	w.until("replies_lost", 1)
	cancel()
	require.NoError(t, <-served)
	require.Zero(t, <-dropped)
	w.client.CloseIdleConnections()
	require.NoError(t, server.Close())
}
