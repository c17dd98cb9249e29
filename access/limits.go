package access

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/clock"
)

// Class is a kind of requests that are limited together.
type Class uint8

// The classes. What moves money or changes something is a write, each payment of a
// batch one; the rest is a read.
const (
	Unlimited Class = iota
	Writes
	Reads
)

// String returns the name of the class's policy in headers.
func (c Class) String() string {
	switch c {
	case Writes:
		return "writes"
	case Reads:
		return "reads"
	case Unlimited:
	}
	return ""
}

// Bounds of a limit that can be set.
const (
	QuotaMax  = 10_000_000
	WindowMax = time.Hour
)

// Limit is a quota in a window. A key may use the quota at once; it comes back
// evenly over the window. The zero Limit does not limit.
type Limit struct {
	Quota  int32
	Window time.Duration
}

// Limits are a key's. Each node counts for itself: n nodes let n times as much
// through.
type Limits struct{ Writes, Reads Limit }

func (l *Limits) of(c Class) Limit {
	switch c {
	case Writes:
		return l.Writes
	case Reads:
		return l.Reads
	case Unlimited:
	}
	return Limit{}
}

func (l Limit) valid() bool {
	if l == (Limit{}) {
		return true
	}
	return l.Quota > 0 && l.Quota <= QuotaMax && l.Window >= time.Second && l.Window <= WindowMax && l.Window%time.Second == 0
}

// Usage is where a key stands after a request.
type Usage struct {
	Limit
	Class Class
	// Remaining requests, and the time until the whole quota is there again.
	Remaining int64
	Reset     time.Duration
}

const (
	// bucketsMax bounds the keys that are counted; beyond it those that have their
	// whole quota are forgotten, which changes nothing for them.
	bucketsMax    = 20_000
	limiterShards = 16
)

// Limiter counts the requests of limited keys on this node. It knows nothing of
// keys without limits, and costs them nothing.
type Limiter struct {
	now    func() time.Time
	shards [limiterShards]limiterShard
}

type limiterShard struct {
	mu      sync.Mutex
	buckets map[bucketKey]bucket
}

type bucketKey struct {
	prefix string
	class  Class
}

// bucket is the state of the generic cell rate algorithm (ITU-T I.371): full is
// when the whole quota will be there again.
type bucket struct {
	limit Limit
	full  time.Time
}

// NewLimiter returns a Limiter; a nil now is the system's clock.
func NewLimiter(now func() time.Time) *Limiter {
	if now == nil {
		now = clock.System.Now
	}
	l := &Limiter{now: now}
	for i := range l.shards {
		l.shards[i].buckets = make(map[bucketKey]bucket)
	}
	return l
}

// Take uses n units of what p may do in the class. limited is false when nothing
// limits p there. An error is fault.RateLimited with the time until n units are
// there; they are not used then.
func (l *Limiter) Take(p *Principal, class Class, n int64) (u Usage, limited bool, err error) {
	limit := p.Limits.of(class)
	if limit.Quota <= 0 {
		return Usage{}, false, nil
	}
	u, err = l.take(bucketKey{p.KeyPrefix, class}, limit, n)
	return u, true, err
}

// TakeFrom uses n units of a limit that somebody set under a name of his own. An
// error is fault.RateLimited, as for Take.
func (l *Limiter) TakeFrom(name string, limit Limit, n int64) (Usage, error) {
	return l.take(bucketKey{name, Unlimited}, limit, n)
}

func (l *Limiter) take(key bucketKey, limit Limit, n int64) (u Usage, err error) {
	class := key.class
	s := &l.shards[shardOf(key.prefix)]
	now := l.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buckets[key]
	if b.limit != limit || b.full.Before(now) {
		b = bucket{limit, now} // another limit begins anew
	}
	// In units of time: the quota is the window, and one request a quotient of it.
	each := float64(limit.Window) / float64(limit.Quota)
	after := b.full.Add(time.Duration(math.Ceil(each * float64(n))))
	if n <= int64(limit.Quota) && after.Sub(now) <= limit.Window+time.Duration(limit.Quota) { // each one was rounded up by less than 1 ns
		b.full = after
		s.keep(key, b, now)
		return usage(limit, class, each, b.full.Sub(now)), nil
	}
	u = usage(limit, class, each, b.full.Sub(now))
	if n > int64(limit.Quota) {
		return u, fault.New(fault.RateLimited, "this request alone is more than the whole quota; split it").WithRetryAfter(0).WithRetry(fault.Never)
	}
	return u, fault.New(fault.RateLimited, "").WithRetryAfter(max(after.Sub(now)-limit.Window, time.Millisecond))
}

func usage(limit Limit, class Class, each float64, used time.Duration) Usage {
	left := int64((float64(limit.Window-used) + 1) / each)
	return Usage{Limit: limit, Class: class, Remaining: min(max(left, 0), int64(limit.Quota)), Reset: used}
}

// keep stores a bucket and keeps the shard small.
func (s *limiterShard) keep(key bucketKey, b bucket, now time.Time) {
	if _, have := s.buckets[key]; !have && len(s.buckets) >= bucketsMax/limiterShards {
		for k, old := range s.buckets {
			if old.full.Before(now) {
				delete(s.buckets, k)
			}
		}
		if len(s.buckets) >= bucketsMax/limiterShards {
			clear(s.buckets) // so many limited keys at once: each begins anew
		}
	}
	s.buckets[key] = b
}

func shardOf(prefix string) int {
	h := uint32(2166136261) // FNV-1a
	for i := range len(prefix) {
		h = (h ^ uint32(prefix[i])) * 16777619
	}
	return int(h % limiterShards)
}

// SetLimits gives a key its limits: at once on this node, within a second on the
// others. Zero limits take them away. A key that the tenant does not have, or that
// was revoked, is fault.NotFound.
func (s *Store) SetLimits(ctx context.Context, tenant int32, prefix string, l Limits) (Key, error) {
	const op = "access.SetLimits"
	for _, c := range []Class{Writes, Reads} {
		if !l.of(c).valid() {
			return Key{}, fault.New(fault.MalformedRequest, "a limit is a quota of 1 to 10000000 in a window of 1 to 3600 whole seconds").
				WithOp(op).WithParam("/" + c.String())
		}
	}
	rows, err := s.pool.Query(ctx, `update api_keys set writes_quota = $3, writes_window_s = $4, reads_quota = $5, reads_window_s = $6
		where tenant = $1 and prefix = $2 and revoked_at is null returning `+keyColumns, tenant, prefix,
		l.Writes.Quota, int32(l.Writes.Window/time.Second), l.Reads.Quota, int32(l.Reads.Window/time.Second))
	if err != nil {
		return Key{}, dbFault(op, err)
	}
	k, err := pgx.CollectExactlyOneRow(rows, scanKey)
	if err != nil {
		return Key{}, dbFault(op, err)
	}
	s.cache.forget(prefix)
	return k, nil
}

func limitOf(quota, seconds int32) Limit {
	if quota <= 0 {
		return Limit{}
	}
	return Limit{quota, time.Duration(seconds) * time.Second}
}
