package app

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/config"
	"github.com/moneta-pay/moneta/doctor/signal/otlp"
	"github.com/moneta-pay/moneta/internal/pgfence"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/sandbox"
)

// TestOnePaymentIsOneTrace follows a payout from the request through commit,
// dispatch, the channel's call and its callback by one trace id, the one that
// stands on the payment.
func TestOnePaymentIsOneTrace(t *testing.T) {
	t.Parallel()
	outside, err := sandbox.New(sandbox.Config{Banks: []string{"AB"}, Secret: "s3cret-for-a-test"})
	require.NoError(t, err)
	bank := httptest.NewServer(outside.Handler())
	t.Cleanup(bank.Close)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { _ = outside.Run(ctx) }()

	ports, err := freePorts(ctx, 1)
	require.NoError(t, err)
	require.NoError(t, outside.SetCallbackURL("http://"+ports[0]))
	cfg := config.Default()
	cfg.DSN, cfg.Listen, cfg.TraceOneIn = pgtest.DSN(t), ports[0], 1
	cfg.Channels = config.SandboxChannels(bank.URL, "s3cret-for-a-test", []string{"AB"})
	require.NoError(t, cfg.Validate())
	spans := otlp.New(otlp.Config{})
	receiver := httptest.NewServer(spans.Handler())
	t.Cleanup(receiver.Close)
	// One in a million: it is recorded because it makes a payment, as in production.
	tel, err := telemetry.Setup(ctx, telemetry.Config{
		Service: otlp.OwnService, SampleOneIn: 1_000_000, Follow: makesPayments, LogOutput: t.Output(), OTLPEndpoint: receiver.URL,
	})
	require.NoError(t, err)
	p := &plane{cfg: cfg, tel: tel, log: tel.Logger()}
	require.NoError(t, p.prepare(ctx, pgfence.History{}))
	done := make(chan error, 1)
	f, err := listen(ctx, cfg.Listen, p)
	require.NoError(t, err)
	go func() { done <- errors.Join(p.run(f.serving), f.close(p), p.end()) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	base := "http://" + ports[0]
	require.NoError(t, untilOK(ctx, base+"/readyz"))

	tenant, err := access.NewStore(p.reads).CreateTenant(ctx, "t")
	require.NoError(t, err)
	key, _, err := access.NewStore(p.reads).CreateKey(ctx, tenant, "all", access.Scopes())
	require.NoError(t, err)
	post := func(path, idempotencyKey, body string) map[string]any {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+path, strings.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+key)
		req.Header.Set("Idempotency-Key", idempotencyKey)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Prefer", "wait=20")
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		var out map[string]any
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&out))
		require.Equal(t, http.StatusCreated, resp.StatusCode, out)
		return out
	}
	house := post("/v1/accounts", "h", `{"asset":"CZK","name":"cash","kind":"house"}`)["id"].(string)
	paid := post("/v1/payments", "p", `{"kind":"payout","from":"`+house+`","channel":"bank-ab","payee":{"account":"1"},"amount":"700","asset":"CZK"}`)
	require.Equal(t, "succeeded", paid["state"])

	want := []string{"http.request", "commit.submit", "dispatch.send", "http.client", "settle.callback"}
	require.Eventually(t, func() bool {
		seen := make(map[string]bool)
		for _, s := range tel.RecentSpans(paid["trace_id"].(string), 100) {
			seen[s.Name] = true
		}
		for _, name := range want {
			if !seen[name] {
				return false
			}
		}
		return true
	}, 30*time.Second, 10*time.Millisecond, "spans of %v", paid["trace_id"])

	// The same outside, by the payment's name, with whose the time was.
	var w otlp.Waterfall
	require.Eventually(t, func() bool {
		id, ok := spans.OfPayment(paid["id"].(string))
		if !ok {
			return false
		}
		found, ok := spans.Trace(id)
		w = found.Waterfall()
		return ok && len(w.Rows) >= len(want)+1
	}, 30*time.Second, 50*time.Millisecond)
	require.Equal(t, paid["trace_id"], w.TraceID)
	shares, hops := 0.0, map[string]bool{}
	for _, p := range w.Hops {
		shares += p.Share
		hops[p.Hop] = true
	}
	require.InDelta(t, 1, shares, 1e-6, "every moment is somebody's: %+v", w.Hops)
	for _, hop := range []string{"api", "decider", "bank-ab", "settle"} {
		require.True(t, hops[hop], "%s in %+v", hop, w.Hops)
	}
	require.False(t, hops["unknown"], "%+v", w)
	for _, r := range w.Rows {
		if r.Name == "api.wait" {
			require.True(t, r.Waits)
			require.Zero(t, r.OwnS, "who waits has none of the time")
		}
	}
}

// TestAPortThatIsTakenIsSaidPlainly keeps a second serve from half starting.
func TestAPortThatIsTakenIsSaidPlainly(t *testing.T) {
	t.Parallel()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	cfg := config.Default()
	cfg.DSN, cfg.Listen = pgtest.DSN(t), l.Addr().String()
	require.ErrorContains(t, Serve(t.Context(), cfg), "address already in use")
}
