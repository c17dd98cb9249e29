package sandbox_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/channel"
	adapter "github.com/moneta-pay/moneta/pay/channel/sandbox"
	banks "github.com/moneta-pay/moneta/sandbox"
)

// An answer that repeats another order than ours says nothing about ours.
func TestEchoMustBeOurs(t *testing.T) {
	t.Parallel()
	start := time.Date(1993, 1, 5, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		answer string
		want   channel.Verdict
		reason string
	}{
		"ours":            {`{"status":"executed","reference":"r-1","amount":"100","asset":"CZK"}`, channel.Confirmed, ""},
		"declined":        {`{"status":"declined","reference":"r-1","amount":"100","asset":"CZK","reason":"closed"}`, channel.Declined, "closed"},
		"other amount":    {`{"status":"executed","reference":"r-1","amount":"101","asset":"CZK"}`, channel.Unknown, channel.ReasonEcho},
		"number amount":   {`{"status":"executed","reference":"r-1","amount":100.0,"asset":"CZK"}`, channel.Unknown, channel.ReasonBody},
		"no amount":       {`{"status":"executed","reference":"r-1","asset":"CZK"}`, channel.Unknown, channel.ReasonEcho},
		"other asset":     {`{"status":"executed","reference":"r-1","amount":"100","asset":"EUR"}`, channel.Unknown, channel.ReasonEcho},
		"other reference": {`{"status":"executed","reference":"r-2","amount":"100","asset":"CZK"}`, channel.Unknown, channel.ReasonEcho},
		"other's decline": {`{"status":"declined","reference":"r-2","amount":"100","asset":"CZK"}`, channel.Unknown, channel.ReasonEcho},
		"unknown status":  {`{"status":"settled","reference":"r-1","amount":"100","asset":"CZK"}`, channel.Unknown, channel.ReasonBody},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, c.answer)
			}))
			t.Cleanup(server.Close)
			word := adapterAt(t, server.URL, clock.NewManual(start)).Send(t.Context(), channel.Order{
				Reference: "r-1", Amount: money.Int(100), Asset: "CZK", Payee: channel.Party{Account: "1"},
			})
			require.Equal(t, c.want, word.Verdict)
			require.Equal(t, c.reason, word.Reason)
		})
	}
}

// Only the bank's own "not_found", for our reference, is a not-found.
func TestNotFoundMustBeTheBanks(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]channel.Verdict{
		`{"status":"not_found","reference":"r-1"}`: channel.NotFound,
		`{"status":"not_found","reference":"r-2"}`: channel.Unknown,
		`{"status":"not_found"}`:                   channel.Unknown,
		`{"status":"no_route","reference":"r-1"}`:  channel.Unknown,
		`{"status":"executed","reference":"r-1"}`:  channel.Unknown,
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, answer)
		}))
		word := adapterAt(t, server.URL, clock.System).Query(t.Context(), "r-1")
		server.Close()
		require.Equal(t, want, word.Verdict, answer)
	}
}

// A wrapper, such as one that adds traceparent, sees every request.
func TestWrapReachesTheWire(t *testing.T) {
	t.Parallel()
	var traced atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Traceparent") != "" {
			traced.Add(1)
		}
	}))
	t.Cleanup(server.Close)
	c := newAdapter(t, adapter.Config{BaseURL: server.URL, Wrap: func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			r = r.Clone(r.Context())
			r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
			return next.RoundTrip(r)
		})
	}})
	c.Send(t.Context(), channel.Order{Reference: "r", Amount: money.Int(1), Asset: "CZK", Payee: channel.Party{Account: "1"}})
	c.Query(t.Context(), "r")
	require.EqualValues(t, 2, traced.Load())
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestNewNamesTheFault(t *testing.T) {
	t.Parallel()
	good := adapter.Config{BaseURL: "http://127.0.0.1:1", Bank: "AB", Secrets: []string{"s"}}
	c, err := adapter.New(good)
	require.NoError(t, err)
	require.Equal(t, channel.Name("bank-ab"), c.Name())
	for field, spoil := range map[string]func(*adapter.Config){
		"BaseURL":      func(c *adapter.Config) { c.BaseURL = "ftp://x" },
		"Bank":         func(c *adapter.Config) { c.Bank = "../ab" },
		"Secrets":      func(c *adapter.Config) { c.Secrets = []string{"a", "b", "c"} },
		"Capabilities": func(c *adapter.Config) { c.Capabilities = channel.Capabilities{ClientTimeout: 1} },
	} {
		bad := good
		spoil(&bad)
		_, err := adapter.New(bad)
		require.ErrorContains(t, err, field)
	}
}

// Two banks may share a secret; neither can speak for the other.
func TestCallbackOfAnotherBank(t *testing.T) {
	t.Parallel()
	clk := clock.NewManual(time.Date(1993, 1, 5, 0, 0, 0, 0, time.UTC))
	rig := newRig(t)
	rig.Channel.Send(t.Context(), channel.Order{
		Reference: "r", Amount: money.Int(1), Asset: "CZK", Payee: channel.Party{Account: "1"},
	})
	genuine := <-rig.Callbacks
	other, err := adapter.New(adapter.Config{BaseURL: "http://127.0.0.1:1", Bank: "cd", Secrets: []string{secret}, Clock: clk})
	require.NoError(t, err)
	_, err = other.Callback(genuine.Header, genuine.Body)
	require.ErrorIs(t, err, channel.ErrMalformed)
	require.Contains(t, string(genuine.Body), `"bank":"ab"`)
}

// BenchmarkSend is adapter and bank in one process over loopback, callbacks
// held back: what the road to a rail costs at least.
func BenchmarkSend(b *testing.B) {
	server, err := banks.New(banks.Config{Banks: []string{"ab"}, Secret: secret, Dir: b.TempDir()})
	require.NoError(b, err)
	web := httptest.NewServer(server.Handler())
	c, err := adapter.New(adapter.Config{BaseURL: web.URL, Bank: "ab", Secrets: []string{secret}})
	require.NoError(b, err)
	var n atomic.Int64
	b.SetParallelism(32)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			word := c.Send(b.Context(), channel.Order{
				Reference: fmt.Sprintf("bench-%d", n.Add(1)), Amount: money.Int(100), Asset: "CZK",
				Payee: channel.Party{Account: "123456"}, SendBy: time.Now().Add(5 * time.Second),
			})
			if word.Verdict != channel.Acked {
				b.Errorf("verdict %s: %s", word.Verdict, word.Reason)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sends/s")
	c.Close()
	web.Close()
	require.NoError(b, server.Close())
}
