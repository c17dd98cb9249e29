package notify

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/keyring"
)

func ringOf(t *testing.T, keys ...byte) *keyring.Ring {
	t.Helper()
	var text strings.Builder
	for _, k := range keys {
		text.WriteString(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{k}, keyring.KeyBytes)) + "\n")
	}
	r, err := keyring.Parse([]byte(text.String()))
	require.NoError(t, err)
	return r
}

// sealedUnder counts the secrets, present and replaced, that begin as the ring's newest
// key makes them, and all.
func (p *place) sealedUnder(r *keyring.Ring) (sealed, all int) {
	p.t.Helper()
	require.NoError(p.t, p.pool.QueryRow(p.t.Context(), `select count(*) filter (where substr(s, 1, 9) = $1), count(*)
		from (select secret s from webhook_endpoints union all select old_secret from webhook_endpoints where old_secret is not null) x`, r.Head()).Scan(&sealed, &all))
	return sealed, all
}

func rawSecret(t *testing.T, shown string) []byte {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(shown, secretPrefix))
	require.NoError(t, err)
	return raw
}

// In the database there is nothing that signs; what is sent is signed all the same,
// after a rotation with both.
func TestSecretsAreSealed(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	ring := ringOf(t, 1)
	p.endpoints.vault = vault{ring}
	s := newShop(t)
	e, first := p.endpoint(s)
	_, second, err := p.endpoints.Rotate(t.Context(), 1, e.ID)
	require.NoError(t, err)
	for _, shown := range []string{first, second} {
		var found bool
		require.NoError(t, p.pool.QueryRow(t.Context(), `select exists (select from webhook_endpoints
			where position($1::bytea in secret) > 0 or position($1::bytea in old_secret) > 0)`, rawSecret(t, shown)).Scan(&found))
		require.False(t, found, "a secret is in clear")
	}
	p.run(p.sender(func(c *Config) { c.Ring = ring }))
	p.finals(1, 1, 1)
	p.eventually("it is told", func() bool { return len(s.all()) == 1 })
	r := s.all()[0]
	require.True(t, verify(t, &r, first))
	require.True(t, verify(t, &r, second))
}

// What was in clear is sealed, what is under an older key is sealed again, and signs
// as before; a replaced secret that signs no more goes.
func TestSecretsAreSealedAgain(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	s := newShop(t)
	e, secret := p.endpoint(s) // no ring: in clear, as before
	_, _, err := p.endpoints.Rotate(t.Context(), 1, e.ID)
	require.NoError(t, err)
	_, secret2, err := p.endpoints.Rotate(t.Context(), 1, e.ID)
	require.NoError(t, err)
	for range sealPage + 3 { // more than a page
		_, err := p.pool.Exec(t.Context(), `insert into webhook_endpoints (tenant, url, secret, state) values (2, 'https://shop.example/', $1, 3)`, newSecret())
		require.NoError(t, err)
	}
	one, two := ringOf(t, 1), ringOf(t, 2, 1)
	none, all := p.sealedUnder(one)
	require.Zero(t, none)
	for i, ring := range []*keyring.Ring{one, two} {
		stop := p.run(p.sender(func(c *Config) { c.Ring = ring }))
		p.eventually("all are sealed under the newest key", func() bool { n, _ := p.sealedUnder(ring); return n == all })
		p.finals(1, int64(i+1), int64(i+1))
		p.eventually("it is told", func() bool { return len(s.all()) == i+1 })
		r := s.all()[i]
		require.True(t, verify(t, &r, secret2), "the secret is the same")
		require.False(t, verify(t, &r, secret), "the one before the last is gone")
		stop()
	}
	_, err = p.pool.Exec(t.Context(), `update webhook_endpoints set old_until = now() - interval '1 second' where id = $1`, e.ID)
	require.NoError(t, err)
	p.run(p.sender(func(c *Config) { c.Ring = two }))
	p.eventually("what signs no more is gone", func() bool { _, n := p.sealedUnder(two); return n == all-1 })
}

// A secret that no key opens, and one that was copied from another endpoint, send
// nothing; with the key again it goes on.
func TestASecretThatCannotBeReadSendsNothing(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	s := newShop(t)
	p.endpoints.vault = vault{ringOf(t, 1)}
	lost, secret := p.endpoint(s)
	p.endpoints.vault = vault{ringOf(t, 2)}
	copied, _ := p.endpoint(s)
	_, err := p.pool.Exec(t.Context(), `update webhook_endpoints set secret = (select secret from webhook_endpoints where id = $2) where id = $1`, copied.ID, lost.ID)
	require.NoError(t, err)
	stop := p.run(p.sender(func(c *Config) { c.Ring = ringOf(t, 2) }))
	p.finals(1, 1, 1)
	for _, id := range []EndpointID{lost.ID, copied.ID} {
		p.eventually("the list says why", func() bool {
			d := p.deliveries(id)
			return len(d) == 1 && strings.Contains(d[0].LastError, "secret cannot be read") && d[0].State == Pending
		})
	}
	require.Empty(t, s.all())
	stop()

	p.run(p.sender(func(c *Config) { c.Ring = ringOf(t, 2, 1) }))
	_, err = p.pool.Exec(t.Context(), `update webhook_deliveries set next_at = now() - interval '1 second'`)
	require.NoError(t, err)
	p.eventually("the key is here again", func() bool { return len(s.all()) == 1 })
	r := s.all()[0]
	require.True(t, verify(t, &r, secret))
	p.eventually("and the copied one stays silent", func() bool {
		d := p.deliveries(copied.ID)
		return d[0].Tries >= 2 && d[0].State == Pending
	})
	require.Len(t, s.all(), 1)
}
