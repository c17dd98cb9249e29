package access

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/pgtest"
)

func TestKeysOnARealDatabase(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t)
	s, other := NewStore(pool), NewStore(pool)
	ctx := t.Context()
	tenant, err := s.CreateTenant(ctx, "shop")
	require.NoError(t, err)
	again, err := other.CreateTenant(ctx, "shop")
	require.NoError(t, err)
	require.Equal(t, tenant, again)
	second, err := s.CreateTenant(ctx, "another")
	require.NoError(t, err)
	require.NotEqual(t, tenant, second)

	key, k, err := s.CreateKey(ctx, tenant, "till", []Scope{PaymentsWrite})
	require.NoError(t, err)
	require.Equal(t, k.Prefix, strings.Split(key, "_")[2])
	var stored []byte
	require.NoError(t, pool.QueryRow(ctx, `select hash from api_keys where prefix = $1`, k.Prefix).Scan(&stored))
	require.False(t, bytes.Contains(stored, []byte(key)))

	for _, store := range []*Store{s, other} {
		p, err := store.Authenticate(ctx, key)
		require.NoError(t, err)
		require.Equal(t, Principal{Tenant: tenant, Scopes: []Scope{PaymentsWrite}, KeyPrefix: k.Prefix}, p)
		require.True(t, p.May(PaymentsWrite))
		require.False(t, p.May(PaymentsRead))
	}
	wrong := key[:len(key)-1] + map[bool]string{true: "b", false: "a"}[key[len(key)-1] == 'a']
	for _, bad := range []string{
		"", "x", key[:len(key)-1], key + "a", strings.ToUpper(key), wrong, strings.Replace(key, "live", "test", 1),
		"mk_live_" + strings.Repeat("a", 8) + "_" + strings.Repeat("a", 32), key[:16] + "-" + key[17:],
	} {
		_, err := s.Authenticate(ctx, bad)
		require.ErrorIs(t, err, fault.Unauthenticated, bad)
	}

	_, err = s.Revoke(ctx, second, k.Prefix)
	require.ErrorIs(t, err, fault.NotFound, "a tenant revokes its own keys only")
	revoked, err := s.Revoke(ctx, tenant, k.Prefix)
	require.NoError(t, err)
	require.False(t, revoked.RevokedAt.IsZero())
	since := time.Now()
	_, err = s.Authenticate(ctx, key)
	require.ErrorIs(t, err, fault.Unauthenticated, "at once where it was revoked")
	require.Eventually(t, func() bool {
		_, err := other.Authenticate(ctx, key)
		return errors.Is(err, fault.Unauthenticated)
	}, 5*time.Second, 5*time.Millisecond)
	require.Less(t, time.Since(since), freshFor+500*time.Millisecond)
	list, err := s.List(ctx, tenant)
	require.NoError(t, err)
	require.Equal(t, []Key{revoked}, list)

	_, _, err = s.CreateKey(ctx, tenant, "", []Scope{"everything"})
	require.ErrorIs(t, err, fault.MalformedRequest)
	_, _, err = s.CreateKey(ctx, 999, "", []Scope{Admin})
	require.ErrorIs(t, err, fault.NotFound)
}

func TestTenantsMadeAtOnce(t *testing.T) {
	t.Parallel()
	s := NewStore(pgtest.Database(t))
	var wg sync.WaitGroup
	ids := make([]int32, 8)
	for i := range ids {
		wg.Go(func() {
			id, err := s.CreateTenant(t.Context(), string(rune('a'+i/2)))
			if err == nil {
				ids[i] = id
			}
		})
	}
	wg.Wait()
	seen := map[int32]bool{}
	for i := 0; i < len(ids); i += 2 {
		require.NotZero(t, ids[i])
		require.Equal(t, ids[i], ids[i+1], "one name is one tenant")
		seen[ids[i]] = true
	}
	require.Len(t, seen, 4)
}

// book answers look-ups from memory and counts them.
type book struct {
	calls atomic.Int64
	gate  chan struct{}
	err   error
	hash  []byte
}

func (b *book) look(ctx context.Context, prefix string) (Principal, []byte, bool, error) {
	b.calls.Add(1)
	if b.gate != nil {
		select {
		case <-b.gate:
		case <-ctx.Done():
			return Principal{}, nil, false, ctx.Err()
		}
	}
	return Principal{Tenant: 7, KeyPrefix: prefix}, b.hash, b.hash != nil, b.err
}

func TestTheCacheAsksOnceASecond(t *testing.T) {
	t.Parallel()
	hash := digest("a")
	b := &book{hash: hash[:]}
	now := clock.NewManual(time.Unix(1000, 0))
	c := newCache(b.look, now.Now)
	ask := func() error { _, err := c.authenticate(t.Context(), "p", hash); return err }
	for range 100 {
		require.NoError(t, ask())
	}
	require.EqualValues(t, 1, b.calls.Load())
	now.Advance(freshFor - time.Millisecond)
	require.NoError(t, ask())
	require.EqualValues(t, 1, b.calls.Load())
	now.Advance(time.Millisecond)
	b.hash = nil // revoked meanwhile
	require.ErrorIs(t, ask(), fault.Unauthenticated)
	require.EqualValues(t, 2, b.calls.Load())
	now.Advance(freshFor)
	b.err = errors.New("the database is gone")
	require.ErrorIs(t, ask(), fault.DatabaseUnavailable)
	b.err, b.hash = nil, hash[:]
	require.NoError(t, ask(), "a failed look-up is not kept")
}

func TestManyAskersShareOneLookUp(t *testing.T) {
	t.Parallel()
	hash := digest("a")
	b := &book{hash: hash[:], gate: make(chan struct{})}
	c := newCache(b.look, time.Now)
	gone, leave := context.WithCancel(t.Context())
	leave()
	_, err := c.authenticate(gone, "p", hash)
	require.ErrorIs(t, err, fault.Timeout)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { _, _ = c.authenticate(t.Context(), "p", hash) })
	}
	close(b.gate)
	wg.Wait()
	require.EqualValues(t, 1, b.calls.Load(), "one caller's leaving does not fail the others")
}

func TestTheCacheIsBounded(t *testing.T) {
	t.Parallel()
	b := &book{}
	c := newCache(b.look, time.Now)
	for i := range 2*cacheMax + 10 {
		c.entries["x"+string(rune(i))] = &entry{done: make(chan struct{})}
		if len(c.entries) >= cacheMax {
			break
		}
	}
	_, err := c.authenticate(t.Context(), "p", digest("a"))
	require.ErrorIs(t, err, fault.Unauthenticated)
	require.LessOrEqual(t, len(c.entries), cacheMax)
}

func BenchmarkAuthenticate(b *testing.B) {
	text := newKey()
	hash := digest(text)
	prefix, _ := split(text)
	s := &Store{}
	s.cache = newCache((&book{hash: hash[:]}).look, time.Now)
	b.ReportAllocs()
	for b.Loop() {
		if p, err := s.Authenticate(b.Context(), text); err != nil || p.KeyPrefix != prefix {
			b.Fatal(err)
		}
	}
}
