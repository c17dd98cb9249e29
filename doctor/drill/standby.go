package drill

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// standby is a synchronous standby: Postgres' own receiver, which keeps the log and says
// so at each flush. It cannot be promoted.
type standby struct {
	world *World
	cmd   *exec.Cmd
	gone  chan struct{}
	dir   string
}

// standbyName is what the primary knows it by.
const standbyName = "standby_b"

func (b *standby) start(ctx context.Context) error {
	self, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", b.world.Postgres()))
	if err != nil {
		return err
	}
	cfg, err := pgx.ParseConfig(b.world.DSN)
	if err != nil {
		return err
	}
	b.cmd = exec.Command(filepath.Join(filepath.Dir(self), "pg_receivewal"), "--synchronous", "--no-loop", "-D", b.dir, //nolint:gosec,noctx // Postgres' own; it lives as long as the run
		"-d", fmt.Sprintf("host=%s port=%d user=%s application_name=%s", cfg.Host, cfg.Port, cfg.User, standbyName))
	if err := b.cmd.Start(); err != nil {
		return err
	}
	b.gone = make(chan struct{})
	go func(cmd *exec.Cmd, gone chan struct{}) { _ = cmd.Wait(); close(gone) }(b.cmd, b.gone)
	return b.sql(ctx, `select 1 from pg_stat_replication where application_name = '`+standbyName+`' and state = 'streaming'`)
}

// sql asks again until there is a row.
func (b *standby) sql(ctx context.Context, query string) error {
	ctx, cancel := context.WithTimeout(ctx, healWithin)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, b.world.DSN)
		if err == nil {
			var one int
			err = conn.QueryRow(ctx, query).Scan(&one)
			_ = conn.Close(ctx)
		}
		if err == nil {
			return nil
		}
		if pause(ctx, 100*time.Millisecond) != nil {
			return fmt.Errorf("the standby: %w", err)
		}
	}
}

func (b *standby) kill() {
	if b.cmd == nil {
		return
	}
	_ = b.cmd.Process.Kill()
	<-b.gone
	b.cmd = nil
}

// named sets whom commits wait for; nobody when it is empty.
func (b *standby) named(ctx context.Context, names string) error {
	ctx, cancel := context.WithTimeout(ctx, healWithin)
	defer cancel()
	conn, err := pgx.Connect(ctx, b.world.DSN)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err = conn.Exec(ctx, `alter system set synchronous_standby_names = '`+names+`'`); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, `select pg_reload_conf()`)
	return err
}

// startStandby has commits wait for a standby, which is there.
func startStandby(ctx context.Context, s *Scene) (func(context.Context) error, error) {
	dir, err := os.MkdirTemp(s.World.Folder, "standby-")
	if err != nil {
		return nil, err
	}
	s.standby = &standby{world: s.World, dir: dir}
	stop := func(ctx context.Context) error {
		err := s.standby.named(ctx, "")
		s.standby.kill()
		return errors.Join(err, os.RemoveAll(dir))
	}
	if err := errors.Join(s.standby.start(ctx), s.standby.named(ctx, standbyName)); err != nil {
		return nil, errors.Join(err, stop(ctx))
	}
	return stop, s.standby.sql(ctx, `select 1 from pg_stat_replication where application_name = '`+standbyName+`' and sync_state = 'sync'`)
}

func injectStandbyGone(_ context.Context, s *Scene) (func(context.Context) error, error) {
	s.standby.kill()
	return s.standby.start, nil
}

// injectPrimaryLoss stops every process of the database where it is.
func injectPrimaryLoss(_ context.Context, s *Scene) (func(context.Context) error, error) {
	pids := family(s.World.Postgres())
	if len(pids) == 0 {
		return nil, errors.New("there is no Postgres to lose")
	}
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGSTOP) // one that has just ended is gone
	}
	return func(context.Context) error {
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
		return nil
	}, nil
}
