// Package pgtest gives each test a real PostgreSQL database of its own. All
// test binaries of one machine user share one private cluster, which the
// first one starts and which ends by itself a minute after the last one is
// gone. It is for tests only, and refuses to weaken durability for speed: the
// code under test refuses unsafe servers.
package pgtest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/moneta-pay/moneta/internal/pgserver"
	"github.com/moneta-pay/moneta/schema"
)

const (
	// setupTimeout bounds everything that a test waits for here.
	setupTimeout = 2 * time.Minute
	// poolConns is enough for a decider, its readers and the test itself.
	poolConns = 8
	// closeTimeout bounds the wait for connections that a test leaked.
	closeTimeout = 5 * time.Second

	testPrefix     = "test_"
	templatePrefix = "template_"
	buildingPrefix = "building_"
	// templateKey is the advisory lock under which templates are made. Roles
	// belong to the whole cluster, so two migrations at once could collide.
	templateKey = 77_001_533
)

// Database returns a pool on a fresh database at the newest schema. The pool
// is closed and the database dropped when the test ends.
func Database(tb testing.TB) *pgxpool.Pool {
	tb.Helper()
	cfg, err := pgxpool.ParseConfig(DSN(tb))
	if err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
	cfg.MaxConns = poolConns
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg)
	if err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
	tb.Cleanup(func() { closePool(tb, pool) })
	return pool
}

// closePool does not hang on a connection that the test never gave back: the
// drop of the database that follows ends its session.
func closePool(tb testing.TB, pool *pgxpool.Pool) {
	tb.Helper()
	done := make(chan struct{})
	go func() { defer close(done); pool.Close() }()
	select {
	case <-done:
	case <-time.After(closeTimeout):
		tb.Errorf("pgtest: %d connections were not given back to the pool", pool.Stat().AcquiredConns())
	}
}

// VerifyTestMain runs a package's tests and fails them if they left a goroutine
// behind. What makes databases here, a pool and a watcher of the keeper, lives as
// long as the binary and is no leak of theirs.
func VerifyTestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/jackc/pgx/v5/pgxpool.(*Pool).backgroundHealthCheck"),
		goleak.IgnoreAnyFunction("github.com/moneta-pay/moneta/internal/pgtest.spawnKeeper.func2"))
}

// DSN returns the connection string of a fresh database at the newest schema,
// dropped when the test ends.
func DSN(tb testing.TB) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
	defer cancel()
	c, err := join(ctx)
	if err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
	template, err := c.template(ctx)
	if err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
	return c.create(ctx, tb, template)
}

// Empty returns the connection string of a fresh database without any schema,
// dropped when the test ends.
func Empty(tb testing.TB) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
	defer cancel()
	c, err := join(ctx)
	if err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
	return c.create(ctx, tb, "template0")
}

// Cluster starts a cluster for this test alone, for tests that kill it or
// change its settings. It has a database "moneta" at the newest schema.
func Cluster(tb testing.TB) *pgserver.Server {
	tb.Helper()
	dir, err := os.MkdirTemp(root(), "moneta-pgtest-own-") //nolint:usetesting // TempDir is closed to the server's user
	if err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // the server's user must get through; its own folder inside is closed
		tb.Fatalf("pgtest: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
	defer cancel()
	s, err := pgserver.Start(ctx, pgserver.Config{
		DataDir: filepath.Join(dir, "pg"), Footprint: pgserver.Small, Databases: []string{"moneta"},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			tb.Errorf("pgtest: %v", err)
		}
	})
	if err := schema.Migrate(ctx, s.DSN("moneta")); err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
	return s
}

// shared is this process's share of the common cluster.
type shared struct {
	use    *os.File // the lock that says that we are here
	dsn    func(database string) string
	admin  *pgxpool.Pool
	number atomic.Int64

	templateOnce sync.Once
	templateName string
	templateErr  error
}

// template returns the name of a database at the newest schema, made by
// whichever process comes first.
func (c *shared) template(ctx context.Context) (string, error) {
	c.templateOnce.Do(func() { c.templateName, c.templateErr = c.makeTemplate(ctx) })
	return c.templateName, c.templateErr
}

func (c *shared) makeTemplate(ctx context.Context) (name string, err error) {
	name = templatePrefix + schema.Hash()
	conn, err := pgx.Connect(ctx, c.dsn("postgres"))
	if err != nil {
		return "", err
	}
	// The lock ends with the session, so a killed test blocks nobody.
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", templateKey); err != nil {
		return "", err
	}
	var exists bool
	err = conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&exists)
	if err != nil || exists {
		return name, err
	}
	building := buildingPrefix + schema.Hash()
	if _, err := conn.Exec(ctx, "DROP DATABASE IF EXISTS "+building+" WITH (FORCE)"); err != nil {
		return "", err
	}
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+building+" TEMPLATE template0"); err != nil {
		return "", err
	}
	if err := schema.Migrate(ctx, c.dsn(building)); err != nil {
		return "", err
	}
	// The rename says that it is complete.
	_, err = conn.Exec(ctx, "ALTER DATABASE "+building+" RENAME TO "+name)
	return name, err
}

// create makes a database for t. WAL_LOG copies the template's pages through
// the log instead of forcing two checkpoints on everybody.
func (c *shared) create(ctx context.Context, tb testing.TB, template string) string {
	tb.Helper()
	name := fmt.Sprintf("%s%d_%d", testPrefix, os.Getpid(), c.number.Add(1))
	if _, err := c.admin.Exec(ctx, "CREATE DATABASE "+name+" TEMPLATE "+template+" STRATEGY wal_log"); err != nil {
		tb.Fatalf("pgtest: create database: %v", err)
	}
	tb.Cleanup(func() { c.drop(tb, name) })
	return c.dsn(name) + " application_name='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(tb.Name()) + "'"
}

func (c *shared) drop(tb testing.TB, name string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
	defer cancel()
	if _, err := c.admin.Exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
		tb.Errorf("pgtest: drop database: %v", err)
	}
}

// sweep drops what killed tests left, and all but the newest templates.
func sweep(ctx context.Context, conn *pgx.Conn) error {
	const keepTemplates = 3
	rows, err := conn.Query(ctx, `SELECT datname FROM pg_database WHERE starts_with(datname, $1) OR starts_with(datname, $2)
		UNION ALL (SELECT datname FROM pg_database WHERE starts_with(datname, $3) ORDER BY oid DESC OFFSET $4)`,
		testPrefix, buildingPrefix, templatePrefix, keepTemplates)
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, err := conn.Exec(ctx, "DROP DATABASE IF EXISTS "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)"); err != nil {
			return err
		}
	}
	return nil
}
