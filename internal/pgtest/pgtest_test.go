package pgtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgserver"
	"github.com/moneta-pay/moneta/schema"
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

const envUser = "PGTEST_TEST_USER"

// TestMain lets the test binary play another package's test binary.
func TestMain(m *testing.M) {
	if os.Getenv(envUser) != "" {
		c, err := join(context.Background())
		if err != nil {
			fmt.Println("failed", err)
			os.Exit(1)
		}
		var pid int
		if err := c.admin.QueryRow(context.Background(), "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'").Scan(&pid); err != nil {
			fmt.Println("failed", err)
			os.Exit(1)
		}
		if _, err := c.admin.Exec(context.Background(), fmt.Sprintf("CREATE DATABASE test_left_%d", os.Getpid())); err != nil {
			fmt.Println("failed", err)
			os.Exit(1)
		}
		fmt.Println("checkpointer", pid)
		_, _ = io.Copy(io.Discard, os.Stdin) // until told to go, or killed
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// user starts another test binary on a common cluster of this test's own, and
// returns it with something that identifies the server that it found.
func user(t *testing.T, tmp string) (process *exec.Cmd, leave func(), server int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envUser+"=1", envIdle+"=300ms", "TMPDIR="+tmp)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	_, err = fmt.Sscanf(line, "checkpointer %d", &server)
	require.NoError(t, err, line)
	return cmd, func() { _ = in.Close(); _ = cmd.Wait() }, server
}

// TestClusterIsSharedAndEndsAfterTheLastUser also kills a user and the keeper,
// as a test timeout or an impatient person would.
func TestClusterIsSharedAndEndsAfterTheLastUser(t *testing.T) {
	tmp, err := os.MkdirTemp("/tmp", "pgtest-") //nolint:usetesting // TempDir is closed to the server's user, and its path is long
	require.NoError(t, err)
	require.NoError(t, os.Chmod(tmp, 0o755))
	t.Cleanup(func() { _ = os.RemoveAll(tmp) })
	first, _, server := user(t, tmp)
	_, leave, same := user(t, tmp)
	require.Equal(t, server, same)
	bases, err := filepath.Glob(filepath.Join(tmp, "moneta-pgtest-*"))
	require.NoError(t, err)
	require.Len(t, bases, 1)
	cluster := filepath.Join(bases[0], "pg")

	require.NoError(t, first.Process.Kill())
	_ = first.Wait()
	dsn, err := pgserver.Locate(cluster, "postgres")
	require.NoError(t, err, "one user is left")

	keeper, err := os.ReadFile(filepath.Join(cluster, "supervisor.lock"))
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(keeper)))
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	_, leave2, same := user(t, tmp)
	require.Equal(t, server, same, "the next keeper adopts the running server")
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	var left int
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_database WHERE starts_with(datname, 'test_left_')").Scan(&left))
	require.Equal(t, 3, left)
	require.NoError(t, conn.Close(t.Context()))

	leave()
	leave2()
	require.Eventually(t, func() bool {
		_, err := pgserver.Locate(cluster, "postgres")
		return errors.Is(err, pgserver.ErrNotRunning)
	}, 30*time.Second, 20*time.Millisecond, "it ends by itself")

	_, leave, again := user(t, tmp)
	require.NotEqual(t, server, again)
	conn, err = pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_database WHERE starts_with(datname, 'test_left_')").Scan(&left))
	require.Equal(t, 1, left, "what the killed and the careless left was swept")
	require.NoError(t, conn.Close(t.Context()))
	leave()
	require.Eventually(t, func() bool {
		free, ok := tryLock(filepath.Join(bases[0], "keeper.lock"))
		if ok {
			_ = free.Close()
		}
		return ok
	}, 30*time.Second, 20*time.Millisecond)
}
