package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
)

// smallDisk is a disk of its own that a test may fill. Never fill a real one.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "pgserver-disk-") //nolint:usetesting // a mount point that the server's user can enter
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.Remove(dir)) })
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=755,size="+size); err != nil {
		t.Skipf("a disk to fill needs the right to mount one: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 0)) })
	return dir
}

// fill takes what is free but leave bytes, and returns the file to remove.
func fill(t *testing.T, dir string, leave int64) string {
	t.Helper()
	var st syscall.Statfs_t
	require.NoError(t, syscall.Statfs(dir, &st))
	f, err := os.Create(filepath.Join(dir, "filler"))
	require.NoError(t, err)
	require.NoError(t, allocate(f, int64(st.Bavail)*int64(st.Bsize)-leave)) //nolint:unconvert // the types differ by platform
	require.NoError(t, f.Close())
	return f.Name()
}

func onSmallDisk(t *testing.T) (s *Server, dir string, events chan Event) {
	t.Helper()
	dir = smallDisk(t, "400m")
	events = make(chan Event, 100)
	s = start(t, Config{
		DataDir: filepath.Join(dir, "pg"), GuardDisk: true, OnEvent: func(e Event) { events <- e },
		Extra: map[string]string{"min_wal_size": "32MB", "max_wal_size": "64MB", "logging_collector": "off"},
	})
	until(t, "the reserve is made", func() bool { _, err := os.Stat(s.reserveFile()); return err == nil })
	require.NoError(t, try(t, s.DSN("postgres"), "create table kept as select 1 n"))
	return s, dir, events
}

func until(t *testing.T, what string, met func() bool) {
	t.Helper()
	require.Eventually(t, met, time.Minute, 20*time.Millisecond, what)
}

// try runs one statement as any client would, on a session of its own.
func try(t *testing.T, dsn, sql string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, sql)
	return err
}

func readOnlyError(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == "25006"
}

func TestWritingStopsBeforeTheDiskIsFull(t *testing.T) {
	t.Parallel()
	s, dir, events := onSmallDisk(t)
	session := open(t, s.DSN("postgres")) // one that was there before
	filler := fill(t, dir, 40*mib)
	event(t, events, EventReadOnly)
	until(t, "a session that was there before learns of it", func() bool {
		_, err := session.Exec(t.Context(), "insert into kept values (2)")
		return readOnlyError(err)
	})
	require.True(t, readOnlyError(try(t, s.DSN("postgres"), "insert into kept values (2)")))
	require.True(t, s.ReadOnly())
	require.ErrorIs(t, VerifyDurability(t.Context(), open(t, s.DSN("postgres"))), ErrReadOnly)

	// A supervisor that comes meanwhile finds it so, and can still work.
	require.NoError(t, s.Stop(within(t, time.Minute)))
	again := start(t, s.cfg)
	require.True(t, again.ReadOnly())
	rows := show(t, open(t, again.DSN("postgres")), "select count(*)::text from kept")
	require.NotEqual(t, "0", rows)

	require.NoError(t, os.Remove(filler))
	event(t, events, EventWritable)
	until(t, "writing works again", func() bool { return try(t, again.DSN("postgres"), "insert into kept values (3)") == nil })
}

func TestRecoveryFromAFullDiskHasRoom(t *testing.T) {
	t.Parallel()
	s, dir, events := onSmallDisk(t)
	filler := fill(t, dir, 0)
	// Somebody writes on, faster than anybody looks: the log cannot grow, and
	// the server panics.
	// More at a time than a checkpoint can give back meanwhile.
	noise := fmt.Sprintf("select count(pg_logical_emit_message(false, 'noise', repeat('x', %d))) from generate_series(1, 64)", 4*mib)
	full := func(err error) bool { return err != nil && strings.Contains(err.Error(), "SQLSTATE 53100") }
	until(t, "the server dies of its full disk", func() bool {
		err := try(t, s.DSN("postgres")+" default_transaction_read_only=off", noise)
		if full(err) { // what has no room is refused; a commit that has none is the end
			err = try(t, s.DSN("postgres")+" default_transaction_read_only=off", "select pg_current_xact_id()")
		}
		return err != nil && !full(err)
	})
	event(t, events, EventReserveGiven)
	until(t, "recovery ends", func() bool { return try(t, s.DSN("postgres"), "select") == nil })
	require.True(t, s.ReadOnly())
	require.Equal(t, "1", show(t, open(t, s.DSN("postgres")), "select count(*)::text from kept"), "what was acknowledged is there")
	require.True(t, readOnlyError(try(t, s.DSN("postgres"), "insert into kept values (2)")))

	require.NoError(t, os.Remove(filler))
	event(t, events, EventWritable)
	until(t, "writing works again", func() bool { return try(t, s.DSN("postgres"), "insert into kept values (2)") == nil })
	_, err := os.Stat(s.reserveFile())
	require.NoError(t, err, "the reserve is there for the next time")
}
