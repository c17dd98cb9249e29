package notify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/moneta-pay/moneta/fault"
)

const (
	dialTimeout = 5 * time.Second
	// lookupTimeout bounds the look at a name when its endpoint is registered.
	lookupTimeout = 2 * time.Second
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

// guard decides which addresses are called. What can be told from a URL is refused
// when it is registered; the address that is dialled, after the name was resolved,
// is judged each time, so that a name cannot lead inside later.
type guard struct {
	// inside are networks that may be called although they are not public.
	inside []netip.Prefix
	// lookup resolves a name; nil asks the system's resolver.
	lookup func(ctx context.Context, name string) ([]netip.Addr, error)
}

func (g *guard) isInside(ip netip.Addr) bool {
	return slices.ContainsFunc(g.inside, func(p netip.Prefix) bool { return p.Contains(ip) })
}

func isPublic(ip netip.Addr) bool {
	return ip.IsValid() && ip.IsGlobalUnicast() && !ip.IsPrivate() && !ip.IsLoopback() && ip.Zone() == "" &&
		!slices.ContainsFunc(never, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// may reports whether the address is called, with TLS or without. Without it only the
// networks inside are.
func (g *guard) may(ip netip.Addr, tls bool) bool {
	ip = ip.Unmap()
	return g.isInside(ip) || tls && isPublic(ip)
}

// control is a dialler's last look at the address.
func (g *guard) control(tls bool) func(context.Context, string, string, syscall.RawConn) error {
	return func(_ context.Context, _, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("%w: %w", errInside, err)
		}
		if g.may(at.Addr(), tls) {
			return nil
		}
		return errInside
	}
}

// check reads an endpoint's URL and refuses what is known to lead inside. A name
// that nobody knows now may be known later; it is judged when it is called.
func (g *guard) check(ctx context.Context, text string) error {
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
	tls := u.Scheme == "https"
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
		if !g.may(ip, tls) {
			return bad("this address is not a public one")
		}
		return nil
	}
	name := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	switch {
	case !hostName.MatchString(name):
		return bad("write the host in ASCII, an international name as xn--…")
	case endsInNumber(name):
		return bad("write an IPv4 address as four decimal numbers, without leading zeros")
	case len(g.inside) == 0 && local(name):
		return bad("this name is not a public one")
	}
	for _, ip := range g.resolve(ctx, name) {
		if !g.may(ip, tls) {
			return bad("this name leads to " + ip.Unmap().String() + ", which is not a public address")
		}
	}
	return nil
}

// hostName is what a name is made of, RFC 1123 with the underscore that some have.
var hostName = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$`)

// endsInNumber reports whether resolvers may read the name as an IPv4 address: 0,
// 127.1, 2130706433, 0x7f.1 (the same rule as in the URL Standard, "ends in a
// number").
func endsInNumber(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	if digits, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(digits, "0123456789abcdef") == ""
	}
	return strings.Trim(last, "0123456789") == ""
}

// localNames are never public: RFC 6761, 6762, 8375, and what ICANN keeps for private use.
var localNames = []string{".localhost", ".local", ".internal", ".home.arpa"}

// local reports whether the name belongs to this machine or its network.
func local(name string) bool {
	return !strings.Contains(name, ".") || slices.ContainsFunc(localNames, func(end string) bool { return strings.HasSuffix(name, end) })
}

// resolve asks for a name's addresses; none when nobody answers in time.
func (g *guard) resolve(ctx context.Context, name string) []netip.Addr {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	lookup := g.lookup
	if lookup == nil {
		lookup = func(ctx context.Context, name string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
		}
	}
	found, err := lookup(ctx, name)
	if err != nil {
		return nil
	}
	return found
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
