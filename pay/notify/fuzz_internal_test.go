package notify

import (
	"net/netip"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
)

// FuzzEndpoint: a URL that a tenant registers is refused as his mistake, or it is one of
// https whose host is a public address or a name that leads to public ones only.
func FuzzEndpoint(f *testing.F) {
	for _, s := range []string{
		"https://shop.example/hook", "http://shop.example/", "https://127.0.0.1/", "https://0x7f.1/", "https://[::ffff:10.0.0.1]/", "https://two.example/", "https://a@shop.example/",
		"https://shop.example/#x", "https:///x", "https://shop.example:99999/", "https://\x00/", "https://ｅxample.com/", "https://[fe80::1%25eth0]/", "//shop.example", "https://2130706433/", "",
	} {
		f.Add(s)
	}
	g := guard{lookup: known}
	f.Fuzz(func(t *testing.T, text string) {
		if err := g.check(t.Context(), text); err != nil {
			require.Equal(t, fault.MalformedRequest, fault.CodeOf(err), "%q", text)
			return
		}
		u, err := url.Parse(text)
		require.NoError(t, err)
		require.Equal(t, "https", u.Scheme)
		if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
			require.True(t, isPublic(ip.Unmap()), "%q", text)
		}
	})
}
