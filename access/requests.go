package access

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/moneta-pay/moneta/internal/clock"
)

const (
	// requestsEvery is the time between two writes of what was counted, requestsWithin bounds
	// one, requestsMost how many groups are counted between two writes: what is more is
	// counted in one group.
	requestsEvery  = 5 * time.Second
	requestsWithin = 3 * time.Second
	requestsMost   = 4096
	// RequestsKept is how many days are kept.
	RequestsKept = 14
	// RequestsShown bounds a list.
	RequestsShown = 500
)

// Asked is one kind of answer that the API gave to a key: the same operation, status and
// code. Nothing that a caller wrote is in it.
type Asked struct {
	Tenant int32
	// Key is its prefix; empty for people who have signed in.
	Key string
	// Route is a method and the template of a path.
	Route  string
	Status int
	// Code is the problem's; empty for what was not refused.
	Code string
}

// AskedGroup is how often it was given.
type AskedGroup struct {
	Asked
	Count           int64
	FirstAt, LastAt time.Time
	// Trace is that of the newest refusal; zero for what was not refused.
	Trace [16]byte
}

// askedCount is one group since it was written last. What is refused has its trace under
// the lock: refusals are few.
type askedCount struct {
	n           atomic.Int64
	first, last atomic.Int64 // in microseconds
	mu          sync.Mutex
	trace       [16]byte
}

// RequestLog counts what the API answered, in memory, and adds it up in the database every
// few seconds: a request costs a look into a map and no allocation. What a node counted
// since is lost when it dies.
type RequestLog struct {
	pool *pgxpool.Pool
	log  *slog.Logger
	now  func() time.Time

	mu     sync.RWMutex
	counts map[Asked]*askedCount
}

// NewRequestLog writes through pool, which the caller keeps owning.
func NewRequestLog(pool *pgxpool.Pool, log *slog.Logger, c clock.Clock) *RequestLog {
	if c == nil {
		c = clock.System
	}
	return &RequestLog{pool: pool, log: log, now: c.Now, counts: make(map[Asked]*askedCount)}
}

// Note counts one answer.
func (l *RequestLog) Note(a Asked, trace [16]byte, at time.Time) {
	l.mu.RLock()
	c := l.counts[a]
	if c == nil {
		l.mu.RUnlock()
		c = l.fresh(a, at)
	}
	c.n.Add(1)
	c.last.Store(at.UnixMicro())
	if a.Code != "" {
		c.mu.Lock()
		c.trace = trace
		c.mu.Unlock()
	}
	l.mu.RUnlock()
}

// fresh makes a group, and returns with the reader's lock held: what is counted under it is
// written.
func (l *RequestLog) fresh(a Asked, at time.Time) *askedCount {
	for {
		l.mu.Lock()
		if l.counts[a] == nil {
			if len(l.counts) >= requestsMost {
				a = Asked{Tenant: a.Tenant, Route: "*", Status: a.Status}
			}
			if l.counts[a] == nil {
				c := &askedCount{}
				c.first.Store(at.UnixMicro())
				l.counts[a] = c
			}
		}
		l.mu.Unlock()
		l.mu.RLock()
		if c := l.counts[a]; c != nil {
			return c
		}
		l.mu.RUnlock() // it was written meanwhile
	}
}

// Run writes every few seconds until ctx ends, and then once more.
func (l *RequestLog) Run(ctx context.Context) error {
	ticker := time.NewTicker(requestsEvery)
	defer ticker.Stop()
	var tidied time.Time
	for {
		select {
		case <-ctx.Done():
			if err := l.Flush(context.WithoutCancel(ctx)); err != nil {
				l.log.LogAttrs(ctx, slog.LevelWarn, "the newest counts of requests are lost", slog.Any("error", err))
			}
			return nil
		case <-ticker.C:
			if err := l.Flush(ctx); err != nil && ctx.Err() == nil {
				l.log.LogAttrs(ctx, slog.LevelWarn, "counts of requests could not be written; they are kept in memory", slog.Any("error", err))
			}
			if now := l.now(); now.Sub(tidied) > time.Hour {
				tidied = now
				l.tidy(ctx)
			}
		}
	}
}

func (l *RequestLog) tidy(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, requestsWithin)
	defer cancel()
	if _, err := l.pool.Exec(ctx, `delete from api_requests where day < $1`, l.day().AddDate(0, 0, -RequestsKept)); err != nil {
		l.log.LogAttrs(ctx, slog.LevelWarn, "old counts of requests were not removed", slog.Any("error", err))
	}
}

func (l *RequestLog) day() time.Time { return l.now().UTC().Truncate(24 * time.Hour) }

const addRequests = `insert into api_requests as r (tenant, day, key, route, status, code, n, first_at, last_at, trace)
 select * from unnest($1::integer[], $2::date[], $3::text[], $4::text[], $5::smallint[], $6::text[], $7::bigint[], $8::timestamptz[], $9::timestamptz[], $10::bytea[])
 on conflict (tenant, day, key, route, status, code) do update set
  n = r.n + excluded.n, first_at = least(r.first_at, excluded.first_at),
  trace = case when excluded.last_at >= r.last_at then excluded.trace else r.trace end, last_at = greatest(r.last_at, excluded.last_at)`

// Flush writes what was counted. What cannot be written is counted on.
func (l *RequestLog) Flush(ctx context.Context) error {
	l.mu.Lock()
	counted := l.counts
	if len(counted) > 0 {
		l.counts = make(map[Asked]*askedCount, len(counted))
	}
	l.mu.Unlock()
	if len(counted) == 0 {
		return nil
	}
	groups := make([]AskedGroup, 0, len(counted))
	for a, c := range counted {
		groups = append(groups, AskedGroup{a, c.n.Load(), time.UnixMicro(c.first.Load()), time.UnixMicro(c.last.Load()), c.trace})
	}
	// In one order, so that nodes wait for each other and never for themselves.
	slices.SortFunc(groups, func(a, b AskedGroup) int { return strings.Compare(a.place(), b.place()) })
	if err := l.write(ctx, groups); err != nil {
		l.takeBack(groups)
		return fmt.Errorf("write the counts of requests: %w", err)
	}
	return nil
}

func (g *AskedGroup) place() string {
	return fmt.Sprintf("%d\x00%s\x00%s\x00%d\x00%s", g.Tenant, g.Key, g.Route, g.Status, g.Code)
}

func (l *RequestLog) write(ctx context.Context, groups []AskedGroup) error {
	ctx, cancel := context.WithTimeout(ctx, requestsWithin)
	defer cancel()
	n := len(groups)
	tenants, statuses, counts := make([]int32, n), make([]int16, n), make([]int64, n)
	keys, routes, codes := make([]string, n), make([]string, n), make([]string, n)
	days, firsts, lasts := make([]time.Time, n), make([]time.Time, n), make([]time.Time, n)
	traces := make([][]byte, n)
	for i := range groups {
		g := &groups[i]
		tenants[i], keys[i], routes[i], codes[i], counts[i] = g.Tenant, g.Key, g.Route, g.Code, g.Count
		statuses[i] = int16(g.Status)
		days[i], firsts[i], lasts[i] = g.LastAt.UTC().Truncate(24*time.Hour), g.FirstAt, g.LastAt
		if g.Code != "" {
			traces[i] = g.Trace[:]
		}
	}
	_, err := l.pool.Exec(ctx, addRequests, tenants, days, keys, routes, statuses, codes, counts, firsts, lasts, traces)
	return err
}

// takeBack counts on what could not be written.
func (l *RequestLog) takeBack(groups []AskedGroup) {
	for i := range groups {
		g := &groups[i]
		l.mu.RLock()
		c := l.counts[g.Asked]
		if c == nil {
			l.mu.RUnlock()
			c = l.fresh(g.Asked, g.FirstAt)
		}
		c.n.Add(g.Count)
		c.mu.Lock()
		c.first.Store(min(c.first.Load(), g.FirstAt.UnixMicro()))
		if c.last.Load() < g.LastAt.UnixMicro() {
			c.last.Store(g.LastAt.UnixMicro())
			c.trace = g.Trace
		}
		c.mu.Unlock()
		l.mu.RUnlock()
	}
}

// AskedFilter says which groups are listed.
type AskedFilter struct {
	Tenant int32
	// Days of UTC back from today, today included; 1 to RequestsKept.
	Days int
	// Key is a prefix; empty is all.
	Key string
	// Refused leaves out what was not refused.
	Refused bool
}

// List adds the days up, the newest group first, at most RequestsShown; more says that
// there are others. What was answered in the last seconds may not be in it.
func (l *RequestLog) List(ctx context.Context, f *AskedFilter) (groups []AskedGroup, more bool, err error) {
	rows, err := l.pool.Query(ctx, `select key, route, status, code, sum(n)::bigint, min(first_at), max(last_at), coalesce((array_agg(trace order by last_at desc))[1], ''::bytea)
  from api_requests where tenant = $1 and day > $2 and ($3 = '' or key = $3) and (code <> '' or not $4)
 group by key, route, status, code order by max(last_at) desc limit $5`,
		f.Tenant, l.day().AddDate(0, 0, -f.Days), f.Key, f.Refused, RequestsShown+1)
	if err != nil {
		return nil, false, fmt.Errorf("list the requests: %w", err)
	}
	groups, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (g AskedGroup, err error) {
		g.Tenant = f.Tenant
		var trace []byte
		err = row.Scan(&g.Key, &g.Route, &g.Status, &g.Code, &g.Count, &g.FirstAt, &g.LastAt, &trace)
		copy(g.Trace[:], trace)
		return g, err
	})
	if err != nil {
		return nil, false, fmt.Errorf("list the requests: %w", err)
	}
	more = len(groups) > RequestsShown
	return groups[:min(len(groups), RequestsShown)], more, nil
}
