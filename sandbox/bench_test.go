package sandbox_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/sandbox"
)

// BenchmarkPayments is client and bank in one process over loopback, with the
// journal on disk and callbacks held back.
func BenchmarkPayments(b *testing.B) {
	server, err := sandbox.New(sandbox.Config{Banks: []string{"ab"}, Secret: secret, Dir: b.TempDir()})
	require.NoError(b, err)
	web := httptest.NewServer(server.Handler())
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	var n atomic.Int64
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			body := fmt.Sprintf(`{"reference":"p-%d","amount":"5","asset":"CZK","account":"1"}`, n.Add(1))
			resp, err := client.Post(web.URL+"/banks/ab/payments", "application/json", strings.NewReader(body))
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusAccepted {
				b.Error(resp.Status)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "payments/s")
	client.CloseIdleConnections()
	web.Close()
	require.NoError(b, server.Close())
}

// BenchmarkCallbacks is the way back: b.N signed callbacks to a listener in
// the same process, by one bank.
func BenchmarkCallbacks(b *testing.B) {
	var taken atomic.Int64
	done := make(chan struct{})
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if taken.Add(1) == int64(b.N) {
			close(done)
		}
	}))
	w := start(b, sandbox.Config{Dir: b.TempDir()})
	for i := range b.N {
		w.pay(fmt.Sprintf("p-%d", i), "5")
	}
	b.ResetTimer()
	require.NoError(b, w.server.SetCallbackURL(receiver.URL))
	<-done
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "callbacks/s")
	b.StopTimer()
	w.stop()
	receiver.Close()
}
