package app

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgtest"
)

func watchedPool(t *testing.T, conns int32) (*pgxpool.Pool, *poolWatch) {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(pgtest.DSN(t))
	require.NoError(t, err)
	w := newPoolWatch()
	cfg.MaxConns, cfg.ConnConfig.Tracer = conns, w
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool, w
}

// A connection that is out and runs nothing is a leak in the making; one that runs a
// statement, in whatever way, is at work.
func TestHeldConnectionsAreToldFromBusyOnes(t *testing.T) {
	t.Parallel()
	pool, w := watchedPool(t, 2)
	later := func() glance { return w.look(time.Now().Add(10 * time.Second)) }
	require.Zero(t, later().held)

	leak, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	require.Zero(t, w.look(time.Now()).held, "it was only just taken")
	require.Equal(t, 1, later().held)

	rows, err := leak.Query(t.Context(), "select generate_series(1, 3)")
	require.NoError(t, err)
	require.Zero(t, later().held, "it runs a statement")
	rows.Close()
	require.Equal(t, 1, later().held)
	var batch pgx.Batch
	batch.Queue("select 1")
	results := leak.SendBatch(t.Context(), &batch)
	require.Zero(t, later().held, "it runs a batch")
	require.NoError(t, results.Close())
	tx, err := leak.Begin(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, later().held, "a transaction that does nothing holds it too")
	require.NoError(t, tx.Rollback(t.Context()))
	leak.Release()
	require.Zero(t, later().held)
	_, err = pool.Exec(t.Context(), "select 1")
	require.NoError(t, err)
	require.Zero(t, later().held)
}

// While nobody is served, the wait grows although no acquisition ends to tell of it.
func TestWaitForAConnectionIsSeenWhileItLasts(t *testing.T) {
	t.Parallel()
	pool, w := watchedPool(t, 1)
	only, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := pool.Exec(ctx, "select 1")
		done <- err
	}()
	require.Eventually(t, func() bool { return w.look(time.Now()).waiting == 1 }, 10*time.Second, time.Millisecond)
	g := w.look(time.Now().Add(3 * time.Second))
	require.GreaterOrEqual(t, g.oldest, 3*time.Second)
	cancel()
	require.Error(t, <-done)
	g = w.look(time.Now().Add(3 * time.Second))
	require.Zero(t, g.waiting)
	require.Zero(t, g.oldest)
	require.EqualValues(t, 1, g.failed)
	only.Release()

	r := prometheus.NewRegistry()
	r.MustRegister(newPoolMetrics([]namedPool{{"reads", pool, w}}))
	all, err := r.Gather()
	require.NoError(t, err)
	require.Len(t, all, 8)
}
