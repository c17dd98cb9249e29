package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/internal/lifecycle"
	"github.com/moneta-pay/moneta/internal/pgserver"
	"github.com/moneta-pay/moneta/internal/pgserver/basebackup"
)

// Replica is a streaming standby of a test's own cluster, made from a base backup.
// It is run by hand: pgserver refuses servers that only follow.
type Replica struct {
	tb     testing.TB
	socket string
}

// Standby makes one that streams.
func Standby(tb testing.TB, primary *pgserver.Server) *Replica {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
	defer cancel()
	dir, err := os.MkdirTemp(root(), "moneta-pgtest-standby-") //nolint:usetesting // TempDir is closed to the server's user
	if err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	cmd, err := standbyCommand(ctx, primary, dir)
	if err != nil {
		tb.Fatalf("pgtest: lay the standby: %v", err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatalf("pgtest: start the standby: %v", err)
	}
	tb.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGQUIT) // what it has is thrown away
		_ = cmd.Wait()
	})
	r := &Replica{tb, dir}
	r.until("the standby streams", `select exists (select from pg_stat_wal_receiver where status = 'streaming')`)
	return r
}

// standbyCommand lays a copy of the primary out in dir and runs it as the primary's
// own user.
func standbyCommand(ctx context.Context, primary *pgserver.Server, dir string) (*exec.Cmd, error) {
	bin, err := pgserver.FindBinaries(ctx, "", 0)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "backup", "base")
	if _, err := basebackup.Take(ctx, bin, primary.DSN("postgres"), filepath.Dir(data)); err != nil {
		return nil, err
	}
	conninfo := strings.NewReplacer("'", "", "dbname=postgres", "").Replace(primary.DSN("postgres"))
	for name, text := range map[string]string{
		"standby.signal": "", "postgresql.auto.conf": "primary_conninfo = '" + conninfo + "'\n",
	} {
		if err := os.WriteFile(filepath.Join(data, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	st, err := os.Stat(primary.SocketDir())
	if err != nil {
		return nil, err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, errors.New("whose the server is cannot be told")
	}
	cmd := exec.Command(filepath.Join(bin.Dir, "postgres"), "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "port=5432", //nolint:noctx,gosec // ended by the test's cleanup
		"-c", "hot_standby=on", "-c", "logging_collector=off")
	cmd.Env, cmd.Dir = basebackup.Env(bin), data
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: sys.Uid, Gid: sys.Gid}}
		err = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			return errors.Join(err, os.Lchown(path, int(sys.Uid), int(sys.Gid))) //nolint:gosec // a folder of ours that nobody else writes
		})
	}
	return cmd, err
}

// DSN leads to one of its databases.
func (r *Replica) DSN(database string) string {
	return fmt.Sprintf("host='%s' port=5432 user=%s dbname=%s sslmode=disable", r.socket, pgserver.SuperUser, database)
}

// Detach ends the streaming: what the primary commits from here on is lost with it.
func (r *Replica) Detach() {
	r.tb.Helper()
	r.exec(`alter system set primary_conninfo = ''`)
	r.exec(`select pg_reload_conf()`)
	r.until("the standby is detached", `select not exists (select from pg_stat_wal_receiver)`)
}

// Promote makes it a primary on a timeline of its own.
func (r *Replica) Promote() {
	r.tb.Helper()
	r.exec(`select pg_promote()`)
	r.until("it is promoted", `select not pg_is_in_recovery()`)
}

func (r *Replica) exec(sql string) {
	r.tb.Helper()
	if err := r.ask(func(ctx context.Context, conn *pgx.Conn) error { _, err := conn.Exec(ctx, sql); return err }); err != nil {
		r.tb.Fatalf("pgtest: %s: %v", sql, err)
	}
}

func (r *Replica) ask(f func(context.Context, *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, r.DSN("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	return f(ctx, conn)
}

func (r *Replica) until(what, sql string) {
	r.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), setupTimeout/4)
	defer cancel()
	for {
		var met bool
		err := r.ask(func(ctx context.Context, conn *pgx.Conn) error { return conn.QueryRow(ctx, sql).Scan(&met) })
		if met {
			return
		}
		if late := lifecycle.Pause(ctx, poll); late != nil {
			r.tb.Fatalf("pgtest: %s: %v", what, errors.Join(late, err))
		}
	}
}
