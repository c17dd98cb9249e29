package pgserver

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
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
)

const envChild = "PGSERVER_TEST_SUPERVISOR"

// TestMain lets the test binary play the supervisor that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(envChild); dir != "" {
		s, err := Start(context.Background(), Config{DataDir: dir, Footprint: Small})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println("serving", s.Pid())
		_ = s.Wait(context.Background())
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// folder is a place that the unprivileged user of the server can enter, which
// t.TempDir is not when its parents are private.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "pgserver-test-") //nolint:usetesting // TempDir is closed to the server's user, and its path is long
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return filepath.Join(dir, "pg")
}

func quiet(t *testing.T) *slog.Logger {
	t.Helper()
	if testing.Verbose() {
		return slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	return slog.New(slog.DiscardHandler)
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func start(t *testing.T, cfg Config) *Server {
	t.Helper()
	cfg.Logger = quiet(t)
	if cfg.Footprint == Machine {
		cfg.Footprint = Small
	}
	s, err := Start(within(t, time.Minute), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop(within(t, time.Minute))) })
	return s
}

func open(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	ctx := within(t, time.Minute)
	conn, err := pgx.Connect(ctx, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func exec1(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	_, err := conn.Exec(within(t, time.Minute), sql)
	require.NoError(t, err)
}

func show(t *testing.T, conn *pgx.Conn, sql string) string {
	t.Helper()
	var v string
	require.NoError(t, conn.QueryRow(within(t, time.Minute), sql).Scan(&v))
	return v
}

// event waits for the kind, in events that the channel carries.
func event(t *testing.T, events <-chan Event, kind EventKind) Event {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		select {
		case e := <-events:
			if e.Kind == kind {
				return e
			}
		case <-limit:
			require.FailNow(t, "no event", "%s", kind)
		}
	}
}

func TestZeroToServingAndAgain(t *testing.T) {
	dir := folder(t)
	began := time.Now()
	s, err := Start(within(t, time.Minute), Config{DataDir: dir, Logger: quiet(t), Databases: []string{"moneta"}})
	require.NoError(t, err)
	first := time.Since(began)

	conn := open(t, s.DSN("moneta"))
	exec1(t, conn, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
	require.Equal(t, "UTF8", show(t, conn, "SHOW server_encoding"))
	require.Equal(t, "C", show(t, conn, "SELECT datcollate FROM pg_database WHERE datname = 'moneta'"))
	require.Equal(t, "on", show(t, conn, "SHOW data_checksums"))
	require.Empty(t, show(t, conn, "SHOW listen_addresses"), "no TCP unless asked")
	require.NoError(t, VerifyDurability(within(t, time.Minute), conn))
	settings := map[string]Setting{}
	for _, v := range s.Settings() {
		settings[v.Name] = v
	}
	require.Equal(t, "on", settings["fsync"].Value)
	require.Equal(t, show(t, conn, "SHOW shared_buffers"), settings["shared_buffers"].Value)
	require.Equal(t, show(t, conn, "SHOW max_wal_size"), settings["max_wal_size"].Value)
	var table bytes.Buffer
	require.NoError(t, WriteSettings(&table, s.Settings()))
	require.Contains(t, table.String(), "checkpoint_timeout")
	t.Log("\n" + table.String())
	require.NoError(t, conn.Close(within(t, time.Minute)))
	require.NoError(t, s.Stop(within(t, time.Minute)))
	require.NoError(t, s.Stop(within(t, time.Minute)), "twice is safe")
	require.NoError(t, s.Wait(within(t, time.Minute)))

	began = time.Now()
	s = start(t, Config{DataDir: dir, Footprint: Machine})
	second := time.Since(began)
	t.Logf("PostgreSQL %s: zero to serving %v, second time %v", s.Version(), first.Round(time.Millisecond), second.Round(time.Millisecond))
	require.Less(t, first, 20*time.Second)
	require.Less(t, second, 10*time.Second)
	require.Equal(t, "7", show(t, open(t, s.DSN("moneta")), "SELECT n::text FROM kept"))
}

func TestSocketIsPrivateAndServerUnprivileged(t *testing.T) {
	s := start(t, Config{DataDir: folder(t)})
	st, err := os.Stat(s.SocketDir())
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), st.Mode().Perm())
	proc, err := os.Stat("/proc/" + strconv.Itoa(s.Pid()))
	if err == nil {
		uid := proc.Sys().(*syscall.Stat_t).Uid
		require.NotZero(t, uid, "postgres must not run as root")
		t.Logf("we are uid %d, postgres runs as uid %d", os.Geteuid(), uid)
	}
}

func TestLongPathGetsShortSocket(t *testing.T) {
	dir := filepath.Join(folder(t), strings.Repeat("long", 20), "with space, and comma")
	require.NoError(t, os.MkdirAll(filepath.Dir(dir), 0o755))
	s := start(t, Config{DataDir: dir})
	require.Less(t, len(s.SocketDir()+"/.s.PGSQL.5432"), 100)
	t.Cleanup(func() { _ = os.RemoveAll(s.SocketDir()) })
	require.Equal(t, "1", show(t, open(t, s.DSN("postgres")), "SELECT '1'"))
}

func TestKilledPostmasterIsRestarted(t *testing.T) {
	events := make(chan Event, 100)
	s := start(t, Config{DataDir: folder(t), OnEvent: func(e Event) { events <- e }})
	conn := open(t, s.DSN("postgres"))
	exec1(t, conn, "CREATE TABLE kept (n int)")
	for round := range 3 {
		conn = open(t, s.DSN("postgres"))
		exec1(t, conn, "INSERT INTO kept VALUES (1)")
		// A backend that is busy for long does not notice the death by itself.
		go func() { _, _ = conn.Exec(context.Background(), "SELECT count(*) FROM generate_series(1, 1e12)") }()
		old := s.Pid()
		began := time.Now()
		require.NoError(t, syscall.Kill(old, syscall.SIGKILL))
		require.Equal(t, old, event(t, events, EventDied).Pid)
		fresh := event(t, events, EventRestarted).Pid
		t.Logf("round %d: serving again after %v", round, time.Since(began).Round(time.Millisecond))
		require.NotEqual(t, old, fresh)
		require.Equal(t, strconv.Itoa(round+1), show(t, open(t, s.DSN("postgres")), "SELECT count(*)::text FROM kept"))
	}
	require.NotEmpty(t, s.Events())
}

func TestServerThatCannotStayUpIsGivenUp(t *testing.T) {
	events := make(chan Event, 100)
	dir := folder(t)
	s, err := Start(within(t, time.Minute), Config{
		DataDir: dir, Footprint: Small, Logger: quiet(t), maxRestarts: 3, OnEvent: func(e Event) { events <- e },
	})
	require.NoError(t, err)
	require.NoError(t, writeOwned(filepath.Join(s.dir.data, "custom.conf"), "no_such_setting = 1\n", s.who))
	require.NoError(t, syscall.Kill(s.Pid(), syscall.SIGKILL))
	event(t, events, EventGaveUp)
	require.ErrorContains(t, s.Wait(within(t, time.Minute)), "no_such_setting")
	require.Zero(t, s.Pid())
	require.NoError(t, s.Stop(within(t, time.Minute)))
}

func TestRestartIsTriedAgain(t *testing.T) {
	events := make(chan Event, 100)
	s := start(t, Config{DataDir: folder(t), OnEvent: func(e Event) { events <- e }})
	custom := filepath.Join(s.dir.data, "custom.conf")
	require.NoError(t, writeOwned(custom, "no_such_setting = 1\n", s.who))
	require.NoError(t, syscall.Kill(s.Pid(), syscall.SIGKILL))
	require.Contains(t, event(t, events, EventRestartFailed).Detail, "no_such_setting")
	require.NoError(t, os.Remove(custom))
	event(t, events, EventRestarted)
	require.Equal(t, "1", show(t, open(t, s.DSN("postgres")), "SELECT '1'"))
}

func TestKilledSupervisorLeavesServerToAdopt(t *testing.T) {
	dir := folder(t)
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), envChild+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	var pid int
	_, err = fmt.Fscanf(out, "serving %d\n", &pid)
	require.NoError(t, err)

	_, err = Start(within(t, time.Minute), Config{DataDir: dir, Logger: quiet(t)})
	require.ErrorIs(t, err, ErrInUse)
	require.ErrorContains(t, err, strconv.Itoa(child.Process.Pid), "the error names the holder")

	conn := open(t, newLayoutDSN(dir))
	require.NoError(t, child.Process.Kill())
	_ = child.Wait()

	events := make(chan Event, 100)
	s := start(t, Config{DataDir: dir, OnEvent: func(e Event) { events <- e }})
	require.True(t, s.Adopted())
	require.Equal(t, pid, s.Pid())
	require.Equal(t, "1", show(t, conn, "SELECT '1'"), "a session from before still works")

	// The adopted server is supervised like our own.
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	event(t, events, EventDied)
	require.NotEqual(t, pid, event(t, events, EventRestarted).Pid)
}

func newLayoutDSN(dir string) string {
	return keywordDSN("host", newLayout(dir).socket, "port", "5432", "user", SuperUser, "dbname", "postgres", "sslmode", "disable")
}

func TestAdoptedServerIsStopped(t *testing.T) {
	dir := folder(t)
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), envChild+"="+dir)
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	var pid int
	_, err = fmt.Fscanf(out, "serving %d\n", &pid)
	require.NoError(t, err)
	require.NoError(t, child.Process.Kill())
	_ = child.Wait()
	s, err := Start(within(t, time.Minute), Config{DataDir: dir, Logger: quiet(t)})
	require.NoError(t, err)
	require.True(t, s.Adopted())
	require.NoError(t, s.Stop(within(t, time.Minute)))
	require.False(t, isPostmaster(pid, s.dir.data))
	_, err = os.Stat(filepath.Join(dir, "data", "postmaster.pid"))
	require.ErrorIs(t, err, os.ErrNotExist, "a clean stop removes the pid file")
}

func TestStalePidFile(t *testing.T) {
	dir := folder(t)
	s, err := Start(within(t, time.Minute), Config{DataDir: dir, Footprint: Small, Logger: quiet(t)})
	require.NoError(t, err)
	require.NoError(t, s.Stop(within(t, time.Minute)))
	pidFile := filepath.Join(dir, "data", "postmaster.pid")
	for name, pid := range map[string]int{"a living stranger": os.Getpid(), "nobody": 1 << 22, "garbage": 0} {
		text := fmt.Sprintf("%d\n%s\n1700000000\n5432\n%s\n\n  12345 1\nready   \n", pid, filepath.Join(dir, "data"), filepath.Join(dir, "run"))
		require.NoError(t, os.WriteFile(pidFile, []byte(text), 0o600), name)
		if os.Geteuid() == 0 {
			require.NoError(t, s.who.own(pidFile))
		}
		again, err := Start(within(t, time.Minute), Config{DataDir: dir, Footprint: Small, Logger: quiet(t)})
		require.NoError(t, err, name)
		require.False(t, again.Adopted(), name)
		require.NoError(t, again.Stop(within(t, time.Minute)), name)
	}
}

func TestOtherMajorVersionIsRefused(t *testing.T) {
	dir := folder(t)
	s, err := Start(within(t, time.Minute), Config{DataDir: dir, Footprint: Small, Logger: quiet(t)})
	require.NoError(t, err)
	require.NoError(t, s.Stop(within(t, time.Minute)))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "data", "PG_VERSION"), []byte("9\n"), 0o600))
	_, err = Start(within(t, time.Minute), Config{DataDir: dir, Logger: quiet(t)})
	require.ErrorIs(t, err, ErrMajor)
	require.ErrorContains(t, err, "pg_upgrade")
	require.ErrorContains(t, err, "PostgreSQL 9")
	t.Log(err)
}

func TestForeignFolderIsRefused(t *testing.T) {
	dir := folder(t)
	require.NoError(t, os.Mkdir(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "thesis.txt"), nil, 0o600))
	_, err := Start(within(t, time.Minute), Config{DataDir: dir, Logger: quiet(t)})
	require.ErrorContains(t, err, "not empty")
	st, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o755), st.Mode().Perm(), "left as it was")
}

func TestUnreachableFolderIsRefusedWithAdvice(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root drops privileges")
	}
	closed := folder(t)
	require.NoError(t, os.Mkdir(closed, 0o700))
	_, err := Start(within(t, time.Minute), Config{DataDir: filepath.Join(closed, "pg"), Logger: quiet(t)})
	require.ErrorIs(t, err, ErrUnreachable)
	require.ErrorContains(t, err, "mode 0700")
	require.ErrorContains(t, err, systemHome)
	t.Log(err)
	place, moved, err := Place(within(t, time.Minute), filepath.Join(closed, "pg"))
	require.NoError(t, err)
	require.True(t, moved)
	require.True(t, strings.HasPrefix(place, systemHome))
	open := folder(t)
	place, moved, err = Place(within(t, time.Minute), open)
	require.NoError(t, err)
	require.False(t, moved)
	require.Equal(t, open, place)
}

func TestListenNeedsThePassword(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	dir := folder(t)
	s, err := Start(within(t, time.Minute), Config{DataDir: dir, Listen: address, Footprint: Small, Logger: quiet(t)})
	require.NoError(t, err)
	dsn, err := s.TCPDSN("postgres")
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1", show(t, open(t, dsn), "SELECT host(inet_server_addr())"))
	_, err = pgx.Connect(within(t, time.Minute), strings.Replace(dsn, s.password, "wrong", 1))
	require.ErrorContains(t, err, "password authentication failed")
	require.NoError(t, s.Stop(within(t, time.Minute)))
	for _, bad := range []string{"5432", "localhost:http", "localhost:0"} {
		_, err := Start(within(t, time.Minute), Config{DataDir: dir, Listen: bad, Logger: quiet(t)})
		require.ErrorContains(t, err, "listen address")
	}
}

func TestUnsafeServersAreRefused(t *testing.T) {
	dir := folder(t)
	s, err := Start(within(t, time.Minute), Config{DataDir: dir, Footprint: Small, Logger: quiet(t)})
	require.NoError(t, err)
	conn := open(t, s.DSN("postgres"))

	// Off in a file changes nothing: the command line is stronger.
	exec1(t, conn, "ALTER SYSTEM SET fsync = off")
	exec1(t, conn, "SELECT pg_reload_conf()")
	require.Equal(t, "on", show(t, open(t, s.DSN("postgres")), "SHOW fsync"))
	exec1(t, conn, "ALTER SYSTEM RESET fsync")

	for _, v := range []string{"off", "local", "remote_write"} {
		exec1(t, conn, "SET synchronous_commit = "+v)
		err = VerifyDurability(within(t, time.Minute), conn)
		require.ErrorIs(t, err, ErrUnsafe)
		require.ErrorContains(t, err, "synchronous_commit is "+v)
	}
	exec1(t, conn, "SET synchronous_commit = remote_apply")
	require.NoError(t, VerifyDurability(within(t, time.Minute), conn))
	exec1(t, conn, "SET default_transaction_read_only = on")
	require.ErrorContains(t, VerifyDurability(within(t, time.Minute), conn), "read-only")

	exec1(t, conn, "SET default_transaction_read_only = off")
	exec1(t, conn, "ALTER ROLE moneta SET synchronous_commit = off")
	require.NoError(t, s.Stop(within(t, time.Minute)))
	_, err = Start(within(t, time.Minute), Config{DataDir: dir, Footprint: Small, Logger: quiet(t)})
	require.ErrorIs(t, err, ErrUnsafe, "Start sees what the role would get")
	_, ok := s.dir.readPidFile()
	require.False(t, ok, "a server that may not be used is not left running")

	_, err = Start(within(t, time.Minute), Config{DataDir: dir, Extra: map[string]string{"Fsync": "off"}, Logger: quiet(t)})
	require.ErrorContains(t, err, "may not be changed")
}

// TestServerWithFsyncOffIsRefused runs a server that somebody else started in
// the folder without fsync: adopting it would be a lie.
func TestServerWithFsyncOffIsRefused(t *testing.T) {
	dir := folder(t)
	s, err := Start(within(t, time.Minute), Config{DataDir: dir, Footprint: Small, Logger: quiet(t)})
	require.NoError(t, err)
	require.NoError(t, s.Stop(within(t, time.Minute)))
	cmd := s.command(context.Background(), "postgres", "-D", s.dir.data, "-c", "fsync=off", "-c", "full_page_writes=off")
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Process.Signal(syscall.SIGQUIT); _ = cmd.Wait() }()
	require.Eventually(t, func() bool { pf, ok := s.dir.readPidFile(); return ok && pf.status == "ready" }, 20*time.Second, 20*time.Millisecond)
	_, err = Start(within(t, time.Minute), Config{DataDir: dir, Footprint: Small, Logger: quiet(t)})
	require.ErrorIs(t, err, ErrUnsafe)
	require.ErrorContains(t, err, "fsync is off")
	require.ErrorContains(t, err, "full_page_writes is off")
	require.True(t, isPostmaster(cmd.Process.Pid, s.dir.data), "somebody else's server is left alone")
}

func TestSizesFitTheMachine(t *testing.T) {
	for _, m := range []machine{
		{memory: 512 * mib, free: gib, cores: 1},
		{memory: 24 * gib, free: 80 * gib, cores: 2},
		{memory: 512 * gib, free: 10 << 40, cores: 96},
	} {
		values := map[string]string{}
		for _, s := range size(m) {
			values[s.Name] = s.Value
		}
		buffers, err := strconv.ParseInt(strings.TrimSuffix(values["shared_buffers"], "MB"), 10, 64)
		require.NoError(t, err)
		require.GreaterOrEqual(t, buffers, int64(128))
		require.LessOrEqual(t, buffers*mib, m.memory/2)
		wal, err := strconv.ParseInt(strings.TrimSuffix(values["max_wal_size"], "MB"), 10, 64)
		require.NoError(t, err)
		require.LessOrEqual(t, wal*mib, m.free)
	}
}
