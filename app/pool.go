package app

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

// restless is for how long a connection may be out of its pool and run nothing before it
// counts as held: between two statements of a transaction there is work of microseconds.
const restless = 500 * time.Millisecond

// poolWatch follows the connections of one pool: who waits for one, and which are out and
// run nothing. That is what a leak looks like. It costs two locks a statement.
type poolWatch struct {
	mu       sync.Mutex
	out      map[*pgx.Conn]*errand
	waiting  int
	since    time.Time // since when somebody waits, or was last served
	acquired int64
	failed   int64
	waited   time.Duration
}

// errand is a connection that is out of the pool.
type errand struct {
	running int
	rested  time.Time // when its last statement ended
}

type acquireKey struct{}

func newPoolWatch() *poolWatch { return &poolWatch{out: make(map[*pgx.Conn]*errand)} }

// TraceAcquireStart implements pgxpool.AcquireTracer.
func (w *poolWatch) TraceAcquireStart(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireStartData) context.Context {
	now := time.Now()
	w.mu.Lock()
	if w.waiting++; w.waiting == 1 {
		w.since = now
	}
	w.mu.Unlock()
	return context.WithValue(ctx, acquireKey{}, now)
}

// TraceAcquireEnd implements pgxpool.AcquireTracer.
func (w *poolWatch) TraceAcquireEnd(ctx context.Context, _ *pgxpool.Pool, data pgxpool.TraceAcquireEndData) {
	now := time.Now()
	began, _ := ctx.Value(acquireKey{}).(time.Time)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting--
	w.waited += now.Sub(began)
	w.acquired++
	if data.Err != nil || data.Conn == nil {
		w.failed++
		return
	}
	w.since = now // somebody was served
	w.out[data.Conn] = &errand{rested: now}
}

// TraceRelease implements pgxpool.ReleaseTracer.
func (w *poolWatch) TraceRelease(_ *pgxpool.Pool, data pgxpool.TraceReleaseData) {
	w.mu.Lock()
	delete(w.out, data.Conn)
	w.mu.Unlock()
}

func (w *poolWatch) runs(conn *pgx.Conn, by int) {
	w.mu.Lock()
	if e := w.out[conn]; e != nil {
		if e.running = max(e.running+by, 0); e.running == 0 {
			e.rested = time.Now()
		}
	}
	w.mu.Unlock()
}

// TraceQueryStart implements pgx.QueryTracer.
func (w *poolWatch) TraceQueryStart(ctx context.Context, conn *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	w.runs(conn, 1)
	return ctx
}

// TraceQueryEnd implements pgx.QueryTracer.
func (w *poolWatch) TraceQueryEnd(_ context.Context, conn *pgx.Conn, _ pgx.TraceQueryEndData) {
	w.runs(conn, -1)
}

// TraceBatchStart implements pgx.BatchTracer.
func (w *poolWatch) TraceBatchStart(ctx context.Context, conn *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	w.runs(conn, 1)
	return ctx
}

// TraceBatchQuery implements pgx.BatchTracer.
func (*poolWatch) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd implements pgx.BatchTracer.
func (w *poolWatch) TraceBatchEnd(_ context.Context, conn *pgx.Conn, _ pgx.TraceBatchEndData) {
	w.runs(conn, -1)
}

// TraceCopyFromStart implements pgx.CopyFromTracer.
func (w *poolWatch) TraceCopyFromStart(ctx context.Context, conn *pgx.Conn, _ pgx.TraceCopyFromStartData) context.Context {
	w.runs(conn, 1)
	return ctx
}

// TraceCopyFromEnd implements pgx.CopyFromTracer.
func (w *poolWatch) TraceCopyFromEnd(_ context.Context, conn *pgx.Conn, _ pgx.TraceCopyFromEndData) {
	w.runs(conn, -1)
}

// glance is a pool at one moment.
type glance struct {
	held, waiting    int
	oldest, waited   time.Duration
	acquired, failed int64
}

// look returns how many connections are out and rest, and for how long nobody who waits
// was served: the longest wait is at least that.
func (w *poolWatch) look(now time.Time) glance {
	w.mu.Lock()
	defer w.mu.Unlock()
	g := glance{waiting: w.waiting, waited: w.waited, acquired: w.acquired, failed: w.failed}
	if w.waiting > 0 {
		g.oldest = max(now.Sub(w.since), 0)
	}
	for _, e := range w.out {
		if e.running == 0 && now.Sub(e.rested) > restless {
			g.held++
		}
	}
	return g
}

// poolMetrics tells of all pools when it is scraped.
type poolMetrics struct {
	pools                                                       []namedPool
	conns, max, held, waiting, oldest, waited, acquires, failed *prometheus.Desc
}

type namedPool struct {
	name  string
	pool  *pgxpool.Pool
	watch *poolWatch
}

func newPoolMetrics(pools []namedPool) *poolMetrics {
	desc := func(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, []string{"pool"}, nil) }
	return &poolMetrics{
		pools:    pools,
		conns:    desc("moneta_pool_acquired_connections", "Connections to the database that are out of their pool."),
		max:      desc("moneta_pool_max_connections", "The most connections that a pool may have."),
		held:     desc("moneta_pool_held_connections", "Connections that are out of their pool and have run nothing for half a second."),
		waiting:  desc("moneta_pool_waiting", "Callers that wait for a connection."),
		oldest:   desc("moneta_pool_oldest_wait_seconds", "For how long none of those who wait was served."),
		waited:   desc("moneta_pool_wait_seconds_total", "Time that callers waited for a connection."),
		acquires: desc("moneta_pool_acquires_total", "Connections asked of a pool, given or not."),
		failed:   desc("moneta_pool_acquires_failed_total", "Those that were not given."),
	}
}

// Describe implements prometheus.Collector.
func (m *poolMetrics) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.conns, m.max, m.held, m.waiting, m.oldest, m.waited, m.acquires, m.failed} {
		c <- d
	}
}

// Collect implements prometheus.Collector.
func (m *poolMetrics) Collect(c chan<- prometheus.Metric) {
	now := time.Now()
	for _, p := range m.pools {
		tell := func(d *prometheus.Desc, kind prometheus.ValueType, v float64) {
			c <- prometheus.MustNewConstMetric(d, kind, v, p.name)
		}
		stat, g := p.pool.Stat(), p.watch.look(now)
		tell(m.conns, prometheus.GaugeValue, float64(stat.AcquiredConns()))
		tell(m.max, prometheus.GaugeValue, float64(stat.MaxConns()))
		tell(m.held, prometheus.GaugeValue, float64(g.held))
		tell(m.waiting, prometheus.GaugeValue, float64(g.waiting))
		tell(m.oldest, prometheus.GaugeValue, g.oldest.Seconds())
		tell(m.waited, prometheus.CounterValue, g.waited.Seconds())
		tell(m.acquires, prometheus.CounterValue, float64(g.acquired))
		tell(m.failed, prometheus.CounterValue, float64(g.failed))
	}
}
