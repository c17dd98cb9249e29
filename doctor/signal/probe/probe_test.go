package probe_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/signal/probe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func look(t *testing.T, cfg *tls.Config, targets ...probe.Target) doctor.Look {
	t.Helper()
	l, err := probe.New(probe.Config{Targets: targets, TLS: cfg}).Look(t.Context())
	require.NoError(t, err)
	return l
}

func find(l doctor.Look, hop string, signal doctor.Signal, name string) (doctor.Point, bool) {
	for _, p := range l.Points {
		if p.Hop == hop && p.Signal == signal && p.Statistic == name {
			return p, true
		}
	}
	return doctor.Point{}, false
}

const bank = "bank-ab"

func at(url string) probe.Target { return probe.Target{Hop: bank, Kind: doctor.Channel, URL: url} }

func TestHealthyTarget(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNotFound)
	}))
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	l := look(t, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, at(s.URL))
	up, _ := find(l, bank, doctor.ProbeUp, "")
	require.InDelta(t, 1, up.Value, 0, "%+v", up)
	for _, signal := range []doctor.Signal{doctor.ProbeConnect, doctor.ProbeTLS, doctor.ProbeFirst} {
		p, ok := find(l, bank, signal, "")
		require.True(t, ok, signal)
		require.Less(t, p.Value, 1.0)
	}
	left, ok := find(l, bank, doctor.CertLeft, "")
	require.True(t, ok)
	require.InDelta(t, time.Until(s.Certificate().NotAfter).Seconds(), left.Value, 60)
}

func TestTargetsInTrouble(t *testing.T) {
	t.Parallel()
	fails := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	defer fails.Close()
	untrusted := httptest.NewTLSServer(http.NotFoundHandler())
	defer untrusted.Close()
	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer slow.Close()
	defer close(release)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := "http://" + closed.Addr().String()
	require.NoError(t, closed.Close())

	for name, c := range map[string]struct{ url, key, want string }{
		"fails":     {fails.URL, "code", "502"},
		"untrusted": {untrusted.URL, "why", "certificate"},
		"slow":      {slow.URL, "why", "timeout"},
		"nobody":    {nobody, "why", "refused"},
		"nameless":  {"http://nobody.invalid/", "why", "dns"},
	} {
		began := time.Now()
		l := look(t, nil, at(c.url))
		require.Less(t, time.Since(began), 10*time.Second, name)
		up, ok := find(l, bank, doctor.ProbeUp, "")
		require.True(t, ok)
		require.Zero(t, up.Value, name)
		require.Equal(t, c.want, up.Detail[c.key], name)
		if name == "slow" {
			first, ok := find(l, bank, doctor.ProbeFirst, "")
			require.True(t, ok, "it took at least so long")
			require.Greater(t, first.Value, 1.0)
			connect, _ := find(l, bank, doctor.ProbeConnect, "")
			require.Less(t, connect.Value, 1.0, "the way was not slow")
		}
	}
}

// One target that hangs keeps no other from being seen.
func TestTargetsAreApart(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer slow.Close()
	defer close(release)
	edge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" || r.Header.Get("Authorization") == "Bearer wrong" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer edge.Close()
	l := look(t, nil, append(probe.Edge(edge.URL, "k"), probe.SandboxBank(bank, slow.URL, "ab"))...)
	for name, want := range map[string]float64{"healthz": 1, "readyz": 0, "read": 1} {
		up, ok := find(l, doctor.HopAPI, doctor.ProbeUp, name)
		require.True(t, ok)
		require.InDelta(t, want, up.Value, 0, name)
	}
	up, _ := find(l, bank, doctor.ProbeUp, "")
	require.Zero(t, up.Value)
}
