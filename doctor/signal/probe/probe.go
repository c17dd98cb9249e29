// Package probe asks the edge and the channels something harmless, as a stranger would:
// on a connection of its own each time, so that the look-up of the name, the opening, the
// handshake and the first byte are each seen. It refuses to order anything, to follow a
// redirect, to verify less than a caller would, and to wait for one target while another
// is due.
//
// What it costs: one small request to each target in two seconds, about 1 ms each.
package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/internal/clock"
)

// Every is the time between two looks.
const Every = 2 * time.Second

const (
	// within bounds one probe; a look lasts no longer.
	within  = 1500 * time.Millisecond
	bodyMax = 16 << 10
	atOnce  = 8
)

// Target is what is asked.
type Target struct {
	Hop  string
	Kind doctor.Kind
	// Name tells targets of one hop apart, as the statistic; empty is its only one.
	Name string
	// URL that is asked with GET.
	URL string
	// Expect are the statuses of a healthy answer; none is any below 500 but 429.
	Expect []int
	// Key goes with it as a bearer token; empty goes without.
	Key string
}

// Config says what to ask.
type Config struct {
	Targets []Target
	// Clock tells the time; nil means the system's.
	Clock clock.Clock
	// TLS of the probes; nil is what Go verifies.
	TLS *tls.Config
}

// Collector asks. Its Look must not be called twice at once.
type Collector struct {
	cfg    Config
	client *http.Client
}

// New returns a collector that has asked nothing yet.
func New(cfg Config) *Collector {
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	return &Collector{cfg: cfg, client: &http.Client{
		Timeout: within,
		Transport: &http.Transport{
			DisableKeepAlives: true, TLSClientConfig: cfg.TLS, MaxResponseHeaderBytes: bodyMax,
			DialContext: (&net.Dialer{}).DialContext,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Name of the collector.
func (*Collector) Name() string { return "probe" }

// Every is the package's.
func (*Collector) Every() time.Duration { return Every }

// Look asks all targets at once. One that does not answer is told, and is no error: that
// is what it looks for.
func (c *Collector) Look(ctx context.Context) (doctor.Look, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	seen := make([]answer, len(c.cfg.Targets))
	var wait sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := range c.cfg.Targets {
		wait.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			seen[i] = c.ask(ctx, &c.cfg.Targets[i])
		})
	}
	wait.Wait()
	var l doctor.Look
	for i := range seen {
		c.tell(&l, &c.cfg.Targets[i], &seen[i])
	}
	return l, nil
}

// answer is what one probe met.
type answer struct {
	at     time.Time
	status int
	err    error
	took   time.Duration
	parts  parts
	expiry time.Time // of the certificate; zero without one
}

// parts are the steps that were taken; zero is one that was not.
type parts struct{ dns, connect, tls, first time.Duration }

// stopwatch takes them. The transport may go on dialling when the probe is over already,
// so it is locked.
type stopwatch struct {
	mu sync.Mutex
	parts
	looked, dialled, shook, on time.Time
}

func (p *stopwatch) start(at *time.Time) {
	p.mu.Lock()
	*at = time.Now() //nolint:forbidigo // a duration on the wire, by the monotonic clock
	p.mu.Unlock()
}

func (p *stopwatch) stop(at *time.Time, d *time.Duration) {
	p.mu.Lock()
	*d = time.Since(*at) //nolint:forbidigo // as above
	p.mu.Unlock()
}

func (p *stopwatch) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		DNSStart:             func(httptrace.DNSStartInfo) { p.start(&p.looked) },
		DNSDone:              func(httptrace.DNSDoneInfo) { p.stop(&p.looked, &p.dns) },
		ConnectStart:         func(string, string) { p.start(&p.dialled) },
		ConnectDone:          func(string, string, error) { p.stop(&p.dialled, &p.connect) },
		TLSHandshakeStart:    func() { p.start(&p.shook) },
		TLSHandshakeDone:     func(tls.ConnectionState, error) { p.stop(&p.shook, &p.tls) },
		WroteRequest:         func(httptrace.WroteRequestInfo) { p.start(&p.on) },
		GotFirstResponseByte: func() { p.stop(&p.on, &p.first) },
	}
}

func (c *Collector) ask(ctx context.Context, t *Target) (a answer) {
	began := c.cfg.Clock.Now()
	defer func() {
		a.at = c.cfg.Clock.Now()
		a.took = a.at.Sub(began)
	}()
	var p stopwatch
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		a.parts = p.parts
	}()
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, p.trace()), http.MethodGet, t.URL, nil)
	if err != nil {
		a.err = err
		return a
	}
	req.Header.Set("User-Agent", "moneta-probe/1")
	if t.Key != "" {
		req.Header.Set("Authorization", "Bearer "+t.Key)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		a.err = err
		return a
	}
	defer func() { _ = resp.Body.Close() }() // read, or given up
	a.status = resp.StatusCode
	if resp.TLS != nil && len(resp.TLS.PeerCertificates) > 0 {
		a.expiry = resp.TLS.PeerCertificates[0].NotAfter
	}
	_, a.err = io.Copy(io.Discard, io.LimitReader(resp.Body, bodyMax))
	return a
}

// healthy reports whether it was answered as expected.
func (t *Target) healthy(a *answer) bool {
	switch {
	case a.err != nil:
		return false
	case len(t.Expect) > 0:
		return slices.Contains(t.Expect, a.status)
	}
	return a.status < http.StatusInternalServerError && a.status != http.StatusTooManyRequests
}

func (c *Collector) tell(l *doctor.Look, t *Target, a *answer) {
	l.Hops = append(l.Hops, doctor.Hop{Name: t.Hop, Kind: t.Kind})
	detail := map[string]string{"url": t.URL}
	switch {
	case a.err != nil:
		detail["why"] = why(a.err)
	default:
		detail["code"] = strconv.Itoa(a.status)
	}
	point := func(signal doctor.Signal, value float64) {
		l.Points = append(l.Points, doctor.Point{
			Hop: t.Hop, Signal: signal, Statistic: t.Name, Value: max(value, 0), At: a.at, Source: "GET " + t.URL, Detail: detail,
		})
	}
	up := 0.0
	if t.healthy(a) {
		up = 1
	}
	point(doctor.ProbeUp, up)
	for _, part := range []struct {
		signal doctor.Signal
		took   time.Duration
	}{{doctor.ProbeDNS, a.parts.dns}, {doctor.ProbeConnect, a.parts.connect}, {doctor.ProbeTLS, a.parts.tls}, {doctor.ProbeFirst, a.parts.first}} {
		if part.took > 0 {
			point(part.signal, part.took.Seconds())
		}
	}
	// Where the wait was cut off, the part that was under way took at least so long.
	if late, ok := a.stalled(); ok {
		point(late, a.took.Seconds())
	}
	if !a.expiry.IsZero() {
		point(doctor.CertLeft, a.expiry.Sub(a.at).Seconds())
	}
}

// stalled is the part that a probe was in when its time was over.
func (a *answer) stalled() (doctor.Signal, bool) {
	var network net.Error
	if a.err == nil || !errors.As(a.err, &network) || !network.Timeout() {
		return "", false
	}
	switch p := &a.parts; {
	case p.first > 0:
		return "", false
	case p.connect == 0 || p.connect >= within:
		return doctor.ProbeConnect, p.connect == 0
	}
	return doctor.ProbeFirst, true
}

// why names the failure in one word.
func why(err error) string {
	var network net.Error
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &certificate):
		return "certificate"
	case errors.As(err, &name):
		return "dns"
	case errors.As(err, &network) && network.Timeout():
		return "timeout"
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return "refused"
	}
	return "other"
}

// Edge are the targets of a node of the wallet: whether it lives, whether it is ready,
// and a read that touches the database, when there is a key for it.
func Edge(url, key string) []Target {
	ready := []int{http.StatusOK}
	all := []Target{
		{Hop: doctor.HopAPI, Kind: doctor.Gateway, Name: "healthz", URL: url + "/healthz", Expect: ready},
		{Hop: doctor.HopAPI, Kind: doctor.Gateway, Name: "readyz", URL: url + "/readyz", Expect: ready},
	}
	if key != "" {
		all = append(all, Target{Hop: doctor.HopAPI, Kind: doctor.Gateway, Name: "read", URL: url + "/v1/accounts?limit=1", Expect: ready, Key: key})
	}
	return all
}

// SandboxBank is the target of a sandbox bank: the state of a reference that nobody
// ever used, which a bank that works does not know.
func SandboxBank(hop, base, code string) Target {
	return Target{
		Hop: hop, Kind: doctor.Channel, URL: fmt.Sprintf("%s/banks/%s/payments/probe", base, code), Expect: []int{http.StatusNotFound, http.StatusOK},
	}
}
