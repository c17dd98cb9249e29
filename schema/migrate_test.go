package schema_test

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/schema"
)

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func open(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(within(t, time.Minute), dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func sources(sql ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for i, s := range sql {
		fsys[fmt.Sprintf("%05d_step.sql", i+1)] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + s + ";\n")}
	}
	return fsys
}

func TestMigrateBringsToVersionAndAgainDoesNothing(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Empty(t)
	ctx := within(t, time.Minute)
	require.ErrorIs(t, schema.Check(ctx, dsn), schema.ErrOlder)
	require.NoError(t, schema.Migrate(ctx, dsn))
	require.NoError(t, schema.Check(ctx, dsn))
	require.NoError(t, schema.Migrate(ctx, dsn))
	require.Positive(t, schema.Version())
	var rows int
	require.NoError(t, open(t, dsn).QueryRow(ctx, "SELECT count(*) FROM schema_migrations WHERE version_id > 0").Scan(&rows))
	require.EqualValues(t, schema.Version(), rows, "numbers have no gaps and each was applied once")
}

func TestConcurrentMigratorsApplyEachOnce(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Empty(t)
	ctx := within(t, time.Minute)
	steps := sources("CREATE TABLE a (n int)", "INSERT INTO a VALUES (1); SELECT pg_sleep(0.2)", "INSERT INTO a VALUES (2)")
	var g errgroup.Group
	for range 4 {
		g.Go(func() error { return schema.MigrateFS(ctx, dsn, steps) })
	}
	require.NoError(t, g.Wait())
	var got string
	require.NoError(t, open(t, dsn).QueryRow(ctx, "SELECT string_agg(n::text, ',' ORDER BY n) FROM a").Scan(&got))
	require.Equal(t, "1,2", got)
}

func TestNewerDatabaseIsRefused(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Empty(t)
	ctx := within(t, time.Minute)
	require.NoError(t, schema.MigrateFS(ctx, dsn, sources("CREATE TABLE a ()", "CREATE TABLE b ()")))
	err := schema.MigrateFS(ctx, dsn, sources("CREATE TABLE a ()"))
	require.ErrorIs(t, err, schema.ErrNewer)
	require.ErrorContains(t, err, "it is at 2, this binary knows 1")

	_, err = open(t, dsn).Exec(ctx, "INSERT INTO schema_migrations (version_id, is_applied) VALUES (99999, true)")
	require.NoError(t, err)
	require.ErrorIs(t, schema.Check(ctx, dsn), schema.ErrNewer)
	require.ErrorIs(t, schema.Migrate(ctx, dsn), schema.ErrNewer)
}

// TestBlockedTableIsRetriedNotWaitedFor holds a table as a long reader would,
// until the migration has been seen to give up its place in the queue.
func TestBlockedTableIsRetriedNotWaitedFor(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Empty(t)
	ctx := within(t, time.Minute)
	require.NoError(t, schema.MigrateFS(ctx, dsn, sources("CREATE TABLE a (n int)")))
	reader, watch := open(t, dsn), open(t, dsn)
	tx, err := reader.Begin(ctx)
	require.NoError(t, err)
	_, err = tx.Exec(ctx, "SELECT FROM a")
	require.NoError(t, err)

	done := make(chan error, 1)
	go func() {
		done <- schema.MigrateFS(ctx, dsn, sources("CREATE TABLE a (n int)", "ALTER TABLE a ADD COLUMN m int"))
	}()
	waits := func() bool {
		var n int
		require.NoError(t, watch.QueryRow(ctx, "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'a'::regclass").Scan(&n))
		return n > 0
	}
	require.Eventually(t, waits, 20*time.Second, 10*time.Millisecond, "the ALTER queues")
	queued := time.Now()
	require.Eventually(t, func() bool { return !waits() }, 20*time.Second, 10*time.Millisecond, "it leaves the queue by itself")
	require.Less(t, time.Since(queued), schema.LockTimeout+3*time.Second)
	require.Eventually(t, waits, 20*time.Second, 10*time.Millisecond, "and tries again")
	select {
	case err := <-done:
		require.FailNow(t, "ended while blocked", "%v", err)
	default:
	}
	require.NoError(t, tx.Rollback(ctx))
	require.NoError(t, <-done)
	_, err = watch.Exec(ctx, "SELECT m FROM a")
	require.NoError(t, err)
}

func TestBrokenMigrationIsRolledBackWhole(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Empty(t)
	ctx := within(t, time.Minute)
	err := schema.MigrateFS(ctx, dsn, sources("CREATE TABLE a (n int)", "CREATE TABLE b (n int); INSERT INTO nowhere VALUES (1)"))
	require.ErrorContains(t, err, "nowhere")
	var a, b bool
	require.NoError(t, open(t, dsn).QueryRow(ctx, "SELECT to_regclass('a') IS NOT NULL, to_regclass('b') IS NOT NULL").Scan(&a, &b))
	require.True(t, a)
	require.False(t, b)
	require.NoError(t, schema.MigrateFS(ctx, dsn, sources("CREATE TABLE a (n int)", "CREATE TABLE b (n int)")))
}

func TestFilesAreNumberedWithoutGaps(t *testing.T) {
	t.Parallel()
	entries, err := fs.ReadDir(schema.Migrations(), ".")
	require.NoError(t, err)
	for i, e := range entries {
		require.True(t, strings.HasPrefix(e.Name(), fmt.Sprintf("%05d_", i+1)), e.Name())
	}
	require.Len(t, entries, int(schema.Version()))
}
