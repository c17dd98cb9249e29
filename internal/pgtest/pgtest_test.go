package pgtest

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/moneta-pay/moneta/internal/pgserver"
	"github.com/moneta-pay/moneta/schema"
	"github.com/stretchr/testify/require"
)

func TestDatabasesAreFreshSeparateAndDropped(t *testing.T) {
	var name string
	t.Run("one", func(t *testing.T) {
		a, b := Database(t), Database(t)
		ctx := t.Context()
		_, err := a.Exec(ctx, "CREATE TABLE mine (n int)")
		require.NoError(t, err)
		var seen bool
		require.NoError(t, b.QueryRow(ctx, "SELECT to_regclass('mine') IS NOT NULL").Scan(&seen))
		require.False(t, seen)
		require.NoError(t, schema.Check(ctx, a.Config().ConnString()))
		require.NoError(t, a.QueryRow(ctx, "SELECT current_database()").Scan(&name))
		require.NoError(t, pgserver.VerifyDurability(ctx, a), "the code under test must accept this server")
	})
	ctx := t.Context()
	c, err := join(ctx)
	require.NoError(t, err)
	var left bool
	require.NoError(t, c.admin.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&left))
	require.False(t, left)
}

func TestEmptyHasNoSchema(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), Empty(t))
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	var tables int
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").Scan(&tables))
	require.Zero(t, tables)
}

func TestClusterIsItsOwn(t *testing.T) {
	s := Cluster(t)
	require.NoError(t, schema.Check(t.Context(), s.DSN("moneta")))
	c, err := join(t.Context())
	require.NoError(t, err)
	require.NotContains(t, c.dsn("postgres"), s.SocketDir())
}

func BenchmarkDatabase(b *testing.B) {
	for _, strategy := range []string{"wal_log", "file_copy"} {
		b.Run(strategy, func(b *testing.B) {
			ctx := context.Background()
			c, err := join(ctx)
			require.NoError(b, err)
			template, err := c.template(ctx)
			require.NoError(b, err)
			var drop time.Duration
			for b.Loop() {
				_, err := c.admin.Exec(ctx, "CREATE DATABASE test_bench TEMPLATE "+template+" STRATEGY "+strategy)
				require.NoError(b, err)
				began := time.Now()
				_, err = c.admin.Exec(ctx, "DROP DATABASE test_bench WITH (FORCE)")
				require.NoError(b, err)
				drop += time.Since(began)
			}
			b.ReportMetric(float64(drop.Microseconds())/float64(b.N), "µs-drop/op")
		})
	}
}
