package access

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/pgtest"
)

// TestALimitIsNeverExceeded: in any stretch of time no more than the quota at once
// and what came back meanwhile; and who waits as long as told is let through.
func TestALimitIsNeverExceeded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limit := Limit{rapid.Int32Range(1, 50).Draw(t, "quota"), time.Duration(rapid.IntRange(1, 60).Draw(t, "window")) * time.Second}
		now := clock.NewManual(time.Unix(1000, 0))
		l := NewLimiter(now.Now)
		p := &Principal{KeyPrefix: "k", Limits: Limits{Writes: limit}}
		type taken struct {
			at time.Time
			n  int64
		}
		var all []taken
		for range rapid.IntRange(1, 60).Draw(t, "requests") {
			now.Advance(time.Duration(rapid.Int64Range(0, int64(limit.Window)).Draw(t, "pause")) / 7)
			n := rapid.Int64Range(1, int64(limit.Quota)).Draw(t, "n")
			u, limited, err := l.Take(p, Writes, n)
			require.True(t, limited)
			require.GreaterOrEqual(t, u.Remaining, int64(0))
			require.LessOrEqual(t, u.Reset, limit.Window+time.Millisecond)
			if err != nil {
				require.ErrorIs(t, err, fault.RateLimited)
				now.Advance(fault.RetryAfterOf(err) + time.Microsecond)
				_, _, err = l.Take(p, Writes, n)
				require.NoError(t, err, "waited as long as told")
			}
			all = append(all, taken{now.Now(), n})
		}
		for i := range all {
			sum := int64(0)
			for j := i; j < len(all); j++ {
				sum += all[j].n
				most := float64(limit.Quota) * (1 + float64(all[j].at.Sub(all[i].at))/float64(limit.Window))
				require.LessOrEqual(t, float64(sum), most+1e-3, "from %d to %d", i, j)
			}
		}
	})
}

func TestTheQuotaIsThere(t *testing.T) {
	t.Parallel()
	for _, quota := range []int32{1, 3, 7, 100, 999, QuotaMax} {
		now := clock.NewManual(time.Unix(1000, 0))
		l := NewLimiter(now.Now)
		p := &Principal{KeyPrefix: "k", Limits: Limits{Reads: Limit{quota, time.Minute}}}
		for i := range min(quota, 1000) {
			u, _, err := l.Take(p, Reads, 1)
			require.NoError(t, err, "%d of %d", i+1, quota)
			require.InDelta(t, quota-i-1, u.Remaining, 1)
		}
		if quota < QuotaMax {
			_, _, err := l.Take(p, Reads, 1)
			require.ErrorIs(t, err, fault.RateLimited)
		}
		now.Advance(time.Minute)
		_, _, err := l.Take(p, Reads, int64(quota))
		require.NoError(t, err, "all of it at once")
		_, _, err = l.Take(p, Reads, int64(quota)+1)
		require.Equal(t, fault.Never, fault.RetryOf(err), "it will never be enough")
		_, limited, err := l.Take(p, Writes, 1)
		require.NoError(t, err)
		require.False(t, limited, "a class of its own")
		p.Limits.Reads.Quota = 5
		_, _, err = l.Take(p, Reads, 5)
		require.NoError(t, err, "another limit begins anew")
	}
}

func TestTheLimiterIsBounded(t *testing.T) {
	t.Parallel()
	l := NewLimiter(nil)
	for i := range 2 * bucketsMax {
		_, _, err := l.Take(&Principal{KeyPrefix: fmt.Sprintf("key%d", i), Limits: Limits{Writes: Limit{5, time.Hour}}}, Writes, 1)
		require.NoError(t, err)
	}
	n := 0
	for i := range l.shards {
		n += len(l.shards[i].buckets)
	}
	require.LessOrEqual(t, n, bucketsMax)
}

// TestLimitsChangeEverywhereWithinASecond measures on another node.
func TestLimitsChangeEverywhereWithinASecond(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t)
	here, there := NewStore(pool), NewStore(pool)
	tenant, err := here.CreateTenant(t.Context(), "shop")
	require.NoError(t, err)
	key, k, err := here.CreateKey(t.Context(), tenant, "", []Scope{PaymentsRead})
	require.NoError(t, err)
	limits := func(s *Store) Limits {
		p, err := s.Authenticate(t.Context(), key)
		require.NoError(t, err)
		return p.Limits
	}
	require.Zero(t, limits(there))
	want := Limits{Writes: Limit{10, time.Minute}, Reads: Limit{600, time.Hour}}
	k, err = here.SetLimits(t.Context(), tenant, k.Prefix, want)
	require.NoError(t, err)
	since := time.Now()
	require.Equal(t, want, k.Limits)
	require.Equal(t, want, limits(here))
	var last time.Time
	for {
		asked := time.Now()
		if limits(there) == want {
			break
		}
		last = asked
		require.Less(t, time.Since(since), 5*time.Second)
	}
	require.Less(t, last.Sub(since), time.Second)
	list, err := here.List(t.Context(), tenant)
	require.NoError(t, err)
	require.Equal(t, []Key{k}, list)

	for _, bad := range []Limit{{0, time.Second}, {1, 0}, {-1, time.Second}, {QuotaMax + 1, time.Second}, {1, 2 * time.Hour}, {1, 1500 * time.Millisecond}} {
		_, err = here.SetLimits(t.Context(), tenant, k.Prefix, Limits{Reads: bad})
		require.ErrorIs(t, err, fault.MalformedRequest, "%v", bad)
	}
	_, err = here.SetLimits(t.Context(), tenant+1, k.Prefix, want)
	require.ErrorIs(t, err, fault.NotFound)
	_, err = here.SetLimits(t.Context(), tenant, k.Prefix, Limits{})
	require.NoError(t, err)
	require.Zero(t, limits(here))
}

// BenchmarkTake: a key without limits must cost nothing.
func BenchmarkTake(b *testing.B) {
	for name, limit := range map[string]Limit{"unlimited": {}, "limited": {QuotaMax, time.Second}} {
		b.Run(name, func(b *testing.B) {
			l := NewLimiter(nil)
			p := &Principal{KeyPrefix: "abcdefgh", Limits: Limits{Writes: limit}}
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := l.Take(p, Writes, 1); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestAKeyWithoutLimitsCostsNoMemory(t *testing.T) {
	l := NewLimiter(nil)
	p := &Principal{KeyPrefix: "abcdefgh"}
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _, _ = l.Take(p, Writes, 1) }))
}
