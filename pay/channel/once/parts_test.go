package once_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/pay/channel/once"
)

// Where an exchange spent its time tells a slow way from a slow channel.
func TestPartsOfAnExchange(t *testing.T) {
	t.Parallel()
	const thinks = 30 * time.Millisecond
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		<-time.After(thinks)
		_, _ = w.Write([]byte("ok"))
	}))
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	c := newClient(t, once.Config{MaxConns: 1, Timeout: 10 * time.Second, MaxBody: 100, TLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}})
	request := post(server.URL)
	request.SendBy = time.Time{}
	first := c.Do(context.Background(), request)
	require.NoError(t, first.Err)
	require.Positive(t, first.Parts.Connect)
	require.Positive(t, first.Parts.TLS)
	require.GreaterOrEqual(t, first.Parts.FirstByte, thinks)
	require.LessOrEqual(t, first.Parts.Connect+first.Parts.TLS+first.Parts.FirstByte, first.Latency)
	second := c.Do(context.Background(), request)
	require.NoError(t, second.Err)
	require.Zero(t, second.Parts.Connect, "the connection was kept")
	require.Zero(t, second.Parts.TLS)
	require.GreaterOrEqual(t, second.Parts.FirstByte, thinks)

	nobody := c.Do(context.Background(), post("http://127.0.0.1:1/"))
	require.Error(t, nobody.Err)
	require.Zero(t, nobody.Parts.FirstByte)
}
