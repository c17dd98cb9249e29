package sandbox_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/channel/channeltest"
	"github.com/moneta-pay/moneta/pay/channel/probe"
	adapter "github.com/moneta-pay/moneta/pay/channel/sandbox"
	banks "github.com/moneta-pay/moneta/sandbox"
)

const secret = "the-secret-of-now"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	channeltest.Run(t, channeltest.Harness{
		New: newRig, At: adapterAt, WithSecrets: withSecrets, Secret: secret, Sign: signAnew,
	})
}

// What the adapter claims of the sandbox's banks, put to the test on clocks that run.
func TestClaims(t *testing.T) {
	t.Parallel()
	w := newWorld(t, clock.System)
	caps := adapter.DefaultCapabilities()
	caps.ClientTimeout, caps.VisibilityDelay, caps.SendWindow = 700*time.Millisecond, 300*time.Millisecond, 300*time.Millisecond
	channeltest.Claims(t, probe.Target{
		Channel: newAdapter(t, adapter.Config{BaseURL: w.url + "/test", Capabilities: caps}), Asset: "CZK", Run: "claims",
	})
}

// world is a live sandbox with one bank and a listener for its callbacks.
type world struct {
	url       string
	callbacks chan channeltest.Delivery
}

func newWorld(t *testing.T, clk clock.Clock) world {
	t.Helper()
	w := world{callbacks: make(chan channeltest.Delivery, 1024)}
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil && r.URL.Path == "/v1/channels/bank-ab/callbacks" {
			w.callbacks <- channeltest.Delivery{Header: r.Header, Body: body}
		}
	}))
	t.Cleanup(receiver.Close)
	server, err := banks.New(banks.Config{
		Banks: []string{"AB"}, CallbackURL: receiver.URL, Secret: secret, Dir: t.TempDir(), Clock: clk,
	})
	require.NoError(t, err)
	run := make(chan struct{})
	go func() {
		defer close(run)
		_ = server.Run(t.Context())
	}()
	web := httptest.NewServer(server.Handler())
	w.url = web.URL
	t.Cleanup(func() {
		<-run
		require.NoError(t, server.Close())
		web.Close()
	})
	return w
}

func newAdapter(t *testing.T, cfg adapter.Config) *adapter.Channel {
	t.Helper()
	cfg.Bank = "AB"
	if cfg.Secrets == nil {
		cfg.Secrets = []string{secret}
	}
	c, err := adapter.New(cfg)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func adapterAt(t *testing.T, baseURL string, clk clock.Clock) channel.Channel {
	t.Helper()
	caps := adapter.DefaultCapabilities()
	caps.ClientTimeout = 500 * time.Millisecond
	return newAdapter(t, adapter.Config{BaseURL: baseURL, Clock: clk, Capabilities: caps})
}

func withSecrets(t *testing.T, clk clock.Clock, secrets ...string) channel.Channel {
	t.Helper()
	return newAdapter(t, adapter.Config{BaseURL: "http://127.0.0.1:1", Clock: clk, Secrets: secrets})
}

func newRig(t *testing.T) channeltest.Rig {
	t.Helper()
	clk := clock.NewManual(time.Date(1993, 1, 5, 0, 0, 3, 0, time.UTC))
	w := newWorld(t, clk)
	caps := adapter.DefaultCapabilities()
	caps.ClientTimeout = 2 * time.Second
	return channeltest.Rig{
		Channel: newAdapter(t, adapter.Config{BaseURL: w.url, Clock: clk, Capabilities: caps}),
		Clock:   clk, Asset: "CZK", Callbacks: w.callbacks,
		Script:  w.script,
		Effects: w.effects,
		Credit: func(t *testing.T, reference string, amount money.Amount) {
			t.Helper()
			w.call(t, http.MethodPost, "/banks/ab/instructions", http.StatusAccepted, map[string]any{
				"reference": reference, "amount": amount, "asset": "CZK", "from_account": "998877", "remittance": "salary",
			})
		},
	}
}

// behaviours are the faults in the sandbox's own words.
var behaviours = map[channeltest.Fault]string{
	channeltest.Honest:      `{}`,
	channeltest.LoseRequest: `{"lose_before":1}`,
	channeltest.LoseReply:   `{"lose_reply":1}`,
	channeltest.HoldReply:   `{"lose_reply":1,"hold":{"probability":1,"min_ms":60000,"max_ms":60000}}`,
	channeltest.ErrorBefore: `{"error_500":{"probability":1,"executed":false,"status":503}}`,
	channeltest.ErrorAfter:  `{"error_500":{"probability":1,"executed":true,"status":504}}`,
	channeltest.HTMLBefore:  `{"error_html":{"probability":1,"executed":false,"status":502}}`,
	channeltest.HTMLAfter:   `{"error_html":{"probability":1,"executed":true,"status":200}}`,
	channeltest.Decline:     `{"decline":{"probability":1,"reason":"account_closed","late":false}}`,
	channeltest.QueryFails:  `{"query_error":1}`,
	channeltest.Invisible:   `{"query_lag_ms":60000}`,
}

func (w world) script(t *testing.T, fault channeltest.Fault) {
	t.Helper()
	w.call(t, http.MethodPut, "/banks/ab/behaviour", http.StatusOK, json.RawMessage(behaviours[fault]))
}

func (w world) effects(t *testing.T) []channeltest.Effect {
	t.Helper()
	var books struct {
		Effects []struct {
			Direction string       `json:"direction"`
			Reference string       `json:"reference"`
			Amount    money.Amount `json:"amount"`
		} `json:"effects"`
	}
	require.NoError(t, json.Unmarshal(w.call(t, http.MethodGet, "/banks/ab/books?limit=5000", http.StatusOK, nil), &books))
	var effects []channeltest.Effect
	for _, e := range books.Effects {
		direction := channel.Out
		if e.Direction == "in" {
			direction = channel.In
		}
		effects = append(effects, channeltest.Effect{Direction: direction, Reference: e.Reference, Amount: e.Amount})
	}
	return effects
}

func (w world) call(t *testing.T, method, path string, status int, body any) []byte {
	t.Helper()
	raw, err := json.Marshal(body)
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), method, w.url+path, bytes.NewReader(raw))
	require.NoError(t, err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, status, resp.StatusCode, "%s", answer)
	return answer
}

func signAnew(key string, at time.Time, delivery channeltest.Delivery) http.Header {
	mac := hmac.New(sha256.New, []byte(key))
	fmt.Fprintf(mac, "%d.%s", at.Unix(), delivery.Body)
	header := delivery.Header.Clone()
	header.Set("Sandbox-Signature", fmt.Sprintf("t=%d,v1=%s", at.Unix(), hex.EncodeToString(mac.Sum(nil))))
	return header
}
