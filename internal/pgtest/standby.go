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

// Replica is a streaming standby, made from a base backup, and what becomes of it: a
// primary, a dead one, one that comes back. It is run by hand: pgserver refuses servers
// that only follow.
type Replica struct {
	tb     testing.TB
	socket string
	lay    func() *exec.Cmd
	cmd    *exec.Cmd
	ended  chan struct{}
}

// Source is a primary that a standby can be made of.
type Source interface {
	DSN(database string) string
	SocketDir() string
}

// Standby makes one that streams, known to the primary as "standby".
func Standby(tb testing.TB, primary Source) *Replica {
	tb.Helper()
	dir, err := os.MkdirTemp(root(), "moneta-pgtest-standby-") //nolint:usetesting // TempDir is closed to the server's user
	if err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return StandbyIn(tb, primary, dir)
}

// StandbyIn makes one in an empty folder of the caller's, which is where its socket is.
func StandbyIn(tb testing.TB, primary Source, dir string) *Replica {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
	defer cancel()
	lay, err := layStandby(ctx, primary, dir)
	if err != nil {
		tb.Fatalf("pgtest: lay the standby: %v", err)
	}
	r := &Replica{tb: tb, socket: dir, lay: lay}
	r.Start()
	tb.Cleanup(r.Quit)
	r.until("the standby streams", `select exists (select from pg_stat_wal_receiver where status = 'streaming')`)
	return r
}

// Start runs it on what it has, also after Kill.
func (r *Replica) Start() {
	r.tb.Helper()
	r.cmd, r.ended = r.lay(), make(chan struct{})
	if err := r.cmd.Start(); err != nil {
		r.tb.Fatalf("pgtest: start the standby: %v", err)
	}
	go func(cmd *exec.Cmd, ended chan struct{}) { _ = cmd.Wait(); close(ended) }(r.cmd, r.ended)
	r.until("it answers", `select true`)
}

// Quit ends it at once and cleans up behind it; what it has is left as it is.
func (r *Replica) Quit() {
	_ = r.cmd.Process.Signal(syscall.SIGQUIT)
	<-r.ended
}

// Kill ends all its processes at once, as a machine that loses its power.
func (r *Replica) Kill() {
	for _, pid := range append(children(r.cmd.Process.Pid), r.cmd.Process.Pid) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	<-r.ended
}

// children of a process, by /proc.
func children(parent int) (pids []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		var pid, ppid int
		var state string
		fields := string(raw[strings.LastIndexByte(string(raw), ')')+1:])
		if _, err := fmt.Sscan(fields, &state, &ppid); err != nil || ppid != parent {
			continue
		}
		if _, err := fmt.Sscan(string(raw), &pid); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Stall freezes what receives the primary's log, and Resume lets it go on.
func (r *Replica) Stall() (resume func()) {
	r.tb.Helper()
	var pid int
	if err := r.ask(func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `select pid from pg_stat_wal_receiver`).Scan(&pid)
	}); err != nil {
		r.tb.Fatalf("pgtest: nothing receives: %v", err)
	}
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	return func() { _ = syscall.Kill(pid, syscall.SIGCONT) }
}

// WaitedFor has commits of this primary wait for the standby that streams from it;
// without is nobody.
func (r *Replica) WaitedFor(by bool) {
	r.tb.Helper()
	if !by {
		r.exec(`alter system set synchronous_standby_names = ''`)
		r.exec(`select pg_reload_conf()`)
		r.until("nobody is waited for", `select not exists (select from pg_stat_replication where sync_state = 'sync')`)
		return
	}
	r.exec(`alter system set synchronous_standby_names = '` + standbyName + `'`)
	r.exec(`select pg_reload_conf()`)
	r.until("commits wait for the standby", `select exists (select from pg_stat_replication where sync_state = 'sync' and state = 'streaming')`)
}

const standbyName = "standby"

// layStandby lays a copy of the primary out in dir and says how to run it, as the
// primary's own user.
func layStandby(ctx context.Context, primary Source, dir string) (func() *exec.Cmd, error) {
	bin, err := pgserver.FindBinaries(ctx, "", 0)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "backup", "base")
	if _, err := basebackup.Take(ctx, bin, primary.DSN("postgres"), filepath.Dir(data)); err != nil {
		return nil, err
	}
	conninfo := strings.NewReplacer("'", "", "dbname=postgres", "application_name="+standbyName).Replace(primary.DSN("postgres"))
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
	if os.Geteuid() == 0 {
		err = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			return errors.Join(err, os.Lchown(path, int(sys.Uid), int(sys.Gid))) //nolint:gosec // a folder of ours that nobody else writes
		})
	}
	return func() *exec.Cmd {
		cmd := exec.Command(filepath.Join(bin.Dir, "postgres"), "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "port=5432", //nolint:noctx,gosec // ended by the test's cleanup
			"-c", "hot_standby=on", "-c", "logging_collector=off")
		cmd.Env, cmd.Dir = basebackup.Env(bin), data
		if os.Geteuid() == 0 {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: sys.Uid, Gid: sys.Gid}}
		}
		return cmd
	}, err
}

// SocketDir is where its socket is, which its user owns.
func (r *Replica) SocketDir() string { return r.socket }

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
	ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
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
