package access_test

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/keyring"
)

func linkRing(t *testing.T, fill ...byte) *keyring.Ring {
	t.Helper()
	var lines []string
	for _, b := range fill {
		lines = append(lines, base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, keyring.KeyBytes)))
	}
	r, err := keyring.Parse([]byte(strings.Join(lines, "\n")))
	require.NoError(t, err)
	return r
}

func TestALinkIsReadByItsKeyOnly(t *testing.T) {
	t.Parallel()
	made := access.Link{Tenant: 7, Payment: 42, Days: 30, MadeAt: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	links := access.NewLinks(linkRing(t, 1))
	token, err := links.Make(made)
	require.NoError(t, err)
	require.LessOrEqual(t, len(token), access.TokenMax)
	require.NotContains(t, token, "/", "it stands in a path")
	got, err := links.Open(token)
	require.NoError(t, err)
	require.Equal(t, made, got)
	other, err := links.Make(made)
	require.NoError(t, err)
	require.NotEqual(t, token, other, "two links of one payment do not look alike")

	for i := range token {
		wrong := []byte(token)
		wrong[i] ^= 3
		_, err := links.Open(string(wrong))
		require.ErrorIs(t, err, fault.NotFound, "character %d", i)
	}
	for _, wrong := range []string{"", "x", token + "A", token[1:], strings.Repeat("A", access.TokenMax+1)} {
		_, err := links.Open(wrong)
		require.ErrorIs(t, err, fault.NotFound)
	}

	// Under a new key first, the old link works; without its key it does not.
	_, err = access.NewLinks(linkRing(t, 2, 1)).Open(token)
	require.NoError(t, err)
	_, err = access.NewLinks(linkRing(t, 2)).Open(token)
	require.ErrorIs(t, err, fault.NotFound)

	// What is sealed for another use is no link.
	elsewhere := base64.RawURLEncoding.EncodeToString(linkRing(t, 1).Seal(make([]byte, 23), "webhook_endpoints/1"))
	_, err = links.Open(elsewhere)
	require.ErrorIs(t, err, fault.NotFound)

	none := access.NewLinks(nil)
	_, err = none.Make(made)
	require.ErrorIs(t, err, fault.NotFound)
	_, err = none.Open(token)
	require.ErrorIs(t, err, fault.NotFound)
}

func TestALinkEndsAfterItsPayment(t *testing.T) {
	t.Parallel()
	made := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	l := access.Link{Days: 30, MadeAt: made}
	require.True(t, l.Ends(time.Time{}).IsZero(), "while it is open")
	require.Equal(t, made.AddDate(0, 0, 31), l.Ends(made.AddDate(0, 0, 1)))
	require.Equal(t, made.AddDate(0, 0, 30), l.Ends(made.AddDate(-1, 0, 0)), "made long after the end")
}

func FuzzLink(f *testing.F) {
	f.Add("")
	f.Add("AQIDBAUGBwg")
	ring, err := keyring.Parse([]byte(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, keyring.KeyBytes))))
	if err != nil {
		f.Fatal(err)
	}
	links := access.NewLinks(ring)
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := links.Open(token); err == nil {
			t.Fatal("nobody made this one")
		}
	})
}
