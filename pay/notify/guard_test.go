package notify

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
)

// resolver knows a few names, and of the others nothing.
func resolver(names map[string][]string) func(context.Context, string) ([]netip.Addr, error) {
	return func(_ context.Context, name string) ([]netip.Addr, error) {
		var found []netip.Addr
		for _, ip := range names[name] {
			found = append(found, netip.MustParseAddr(ip))
		}
		if found == nil {
			return nil, errors.New("no such host")
		}
		return found, nil
	}
}

var known = resolver(map[string][]string{
	"shop.example":     {"8.8.8.8", "2606:4700:4700::1111"},
	"private.example":  {"10.0.0.7"},
	"loop.example":     {"127.0.0.1"},
	"six.example":      {"::1"},
	"mapped.example":   {"::ffff:192.168.1.1"},
	"two.example":      {"8.8.8.8", "169.254.169.254"},
	"nat64.example":    {"64:ff9b::a00:1"},
	"shared.example":   {"100.64.1.1"},
	"partner.internal": {"10.1.0.9"},
	"partner":          {"10.1.0.9"},
})

// What leads inside is refused when it is registered, however it is written.
func TestWhatLeadsInsideIsNotRegistered(t *testing.T) {
	t.Parallel()
	g := guard{lookup: known}
	for _, bad := range []string{
		// Other ways to write 0.0.0.0 and 127.0.0.1 that resolvers and libraries take.
		"https://0/", "https://0.0.0.0/", "https://0x0/", "https://00/", "https://127.1/", "https://127.0.1/", "https://2130706433/", "https://017700000001/",
		"https://0177.0.0.1/", "https://0x7f.0.0.1/", "https://0x7f000001/", "https://0X7F.1/", "https://127.0.0.1./", "https://127.000.000.001/", "https://127.0.0.0x1/",
		"https://1.2.3.4.5/", "https://999.1.1.1/", "https://shop.example.0x/", "https://3232235777/",
		"https://127.0.0.1:443/", "https://127.255.255.254/",
		// Mapped, translated, compatible and tunnelled.
		"https://[::]/", "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/", "https://[::ffff:10.0.0.1]/", "https://[::ffff:a9fe:a9fe]/",
		"https://[::127.0.0.1]/", "https://[64:ff9b::7f00:1]/", "https://[64:ff9b:1::a00:1]/", "https://[2002:a00:1::]/", "https://[2001:0:a00:1::]/",
		"https://[0:0:0:0:0:ffff:c0a8:0101]/", "https://[fe80::1]/", "https://[fe80::1%25eth0]/", "https://[fd12::1]/", "https://[fec0::1]/", "https://[ff02::1]/", "https://[2001:db8::1]/",
		// Networks that are not public.
		"https://10.0.0.1/", "https://172.16.0.1/", "https://172.31.255.255/", "https://192.168.0.1/", "https://169.254.169.254/", "https://100.64.0.1/", "https://198.18.0.1/",
		"https://192.0.0.1/", "https://192.0.2.1/", "https://203.0.113.1/", "https://224.0.0.1/", "https://240.0.0.1/", "https://255.255.255.255/",
		// Names of this machine and its network, and names that lead there.
		"https://localhost/", "https://LOCALHOST./", "https://a.localhost/", "https://printer.local/", "https://metadata.google.internal/", "https://db/", "https://router.home.arpa/",
		"https://private.example/", "https://PRIVATE.example./", "https://loop.example/", "https://six.example/", "https://mapped.example/", "https://two.example/",
		"https://nat64.example/", "https://shared.example/",
		// Digits and dots that normalisation makes ASCII, and hosts that are none.
		"https://１２７.0.0.1/", "https://127。0。0。1/", "https://①②⑦.0.0.1/", "https://loop.example%00.shop.example/", "https://-/", "https://a..b/", "https://shop.example\\@127.0.0.1/",
		"https://127.0.0.1@shop.example/", "http://shop.example/", "gopher://shop.example/",
	} {
		require.ErrorIs(t, g.check(t.Context(), bad), fault.MalformedRequest, bad)
	}
	for _, good := range []string{
		"https://shop.example/hook?x=1", "https://shop.example.:8443/", "https://8.8.8.8/", "https://[2606:4700:4700::1111]/", "https://xn--mnchen-3ya.example/",
		"https://not-yet-known.example/", "https://1.example/", "https://0x7f.example/", "https://a_b.example/", "https://[::ffff:8.8.8.8]/",
	} {
		require.NoError(t, g.check(t.Context(), good), good)
	}
}

// Networks that were named are called, and only there without TLS.
func TestNetworksInsideAreNamed(t *testing.T) {
	t.Parallel()
	g := guard{lookup: known, inside: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}
	for _, good := range []string{"http://10.1.2.3/", "https://10.1.2.3/", "http://partner/", "http://partner.internal:8080/", "https://shop.example/", "https://[::ffff:10.1.2.3]/"} {
		require.NoError(t, g.check(t.Context(), good), good)
	}
	for _, bad := range []string{"http://shop.example/", "http://8.8.8.8/", "https://private.example/", "https://127.0.0.1/", "https://167838211/", "https://10.1.515/"} {
		require.ErrorIs(t, g.check(t.Context(), bad), fault.MalformedRequest, bad)
	}
}

// The address that is dialled is judged whatever was registered.
func TestTheDialledAddressIsJudged(t *testing.T) {
	t.Parallel()
	g := guard{inside: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}
	for address, want := range map[string][2]bool{ // with TLS, without
		"8.8.8.8:443":                 {true, false},
		"[2606:4700:4700::1111]:443":  {true, false},
		"10.1.2.3:443":                {true, true},
		"[::ffff:10.1.2.3]:443":       {true, true},
		"10.2.0.1:443":                {false, false},
		"127.0.0.1:443":               {false, false},
		"0.0.0.0:443":                 {false, false},
		"[::]:443":                    {false, false},
		"[::1]:443":                   {false, false},
		"[::ffff:127.0.0.1]:443":      {false, false},
		"[::ffff:169.254.169.254]:80": {false, false},
		"[64:ff9b::a00:1]:443":        {false, false},
		"[fe80::1%eth0]:443":          {false, false},
		"169.254.169.254:80":          {false, false},
		"100.64.0.1:443":              {false, false},
		"shop.example:443":            {false, false}, // not resolved: not known
	} {
		for i, tls := range []bool{true, false} {
			err := g.control(tls)(t.Context(), "tcp", address, nil)
			require.Equal(t, want[i], err == nil, "%s tls=%t: %v", address, tls, err)
		}
	}
}
