package notify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"syscall"
	"time"

	"github.com/moneta-pay/moneta/fault"
)

const (
	dialTimeout = 5 * time.Second
	// urlMax bounds an endpoint's URL, in bytes.
	urlMax = 2048
	// answerBytes is how much of an answer is read, so that the connection can be
	// used again; nothing of it is kept.
	answerBytes = 16 << 10
)

// errInside is the answer for an address that must not be called.
var errInside = errors.New("the address is not a public one, and calling it is not allowed")

// never are special-purpose networks (IANA's registries, RFC 6890) that the
// standard library's predicates do not name. Those that wrap an IPv4 address could
// lead inside.
var never = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"), netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("3fff::/20"), netip.MustParsePrefix("5f00::/16"), netip.MustParsePrefix("fec0::/10"),
}

// guard decides which addresses are called. It judges the address that is dialled,
// after the name was resolved, so that a name cannot lead inside later.
type guard struct {
	// inside are networks that may be called although they are not public.
	inside []netip.Prefix
}

func (g *guard) isInside(ip netip.Addr) bool {
	return slices.ContainsFunc(g.inside, func(p netip.Prefix) bool { return p.Contains(ip) })
}

func isPublic(ip netip.Addr) bool {
	return ip.IsValid() && ip.IsGlobalUnicast() && !ip.IsPrivate() && !ip.IsLoopback() && ip.Zone() == "" &&
		!slices.ContainsFunc(never, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// control is a dialler's last look at the address. Without TLS only the networks
// inside may be called.
func (g *guard) control(tls bool) func(context.Context, string, string, syscall.RawConn) error {
	return func(_ context.Context, _, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("%w: %w", errInside, err)
		}
		ip := at.Addr().Unmap()
		if g.isInside(ip) || tls && isPublic(ip) {
			return nil
		}
		return errInside
	}
}

// check reads an endpoint's URL. The address is judged when it is called.
func (g *guard) check(text string) error {
	bad := func(why string) error { return fault.New(fault.MalformedRequest, why).WithParam("/url") }
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || len(text) > urlMax:
		return bad("give an https:// URL of at most 2048 bytes")
	case u.User != nil || u.Fragment != "":
		return bad("a URL with a password or a fragment is not called")
	case u.Scheme == "http" && len(g.inside) == 0, u.Scheme != "http" && u.Scheme != "https":
		return bad("the scheme is https")
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
		if ip = ip.Unmap(); !g.isInside(ip) && !isPublic(ip) {
			return bad("this address is not a public one")
		}
	}
	return nil
}

// client calls endpoints: no proxy, no redirect, a bound on everything.
func (g *guard) client(timeout time.Duration) *http.Client {
	dial := func(tls bool) *http.Transport {
		d := &net.Dialer{Timeout: dialTimeout, ControlContext: g.control(tls)}
		return &http.Transport{
			DialContext: d.DialContext, TLSHandshakeTimeout: dialTimeout, ResponseHeaderTimeout: timeout, ForceAttemptHTTP2: true,
			MaxIdleConns: inFlightMax, MaxIdleConnsPerHost: perEndpoint, MaxConnsPerHost: 2 * perEndpoint, IdleConnTimeout: time.Minute,
			MaxResponseHeaderBytes: answerBytes,
		}
	}
	return &http.Client{
		Transport: &bySchema{plain: dial(false), secure: dial(true)}, Timeout: timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// bySchema keeps what is not encrypted on a road of its own.
type bySchema struct{ plain, secure *http.Transport }

// RoundTrip implements http.RoundTripper.
func (b *bySchema) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme == "https" {
		return b.secure.RoundTrip(r)
	}
	return b.plain.RoundTrip(r)
}

// CloseIdleConnections lets the client end what it keeps.
func (b *bySchema) CloseIdleConnections() {
	b.plain.CloseIdleConnections()
	b.secure.CloseIdleConnections()
}
