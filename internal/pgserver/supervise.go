package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// maxRestarts in a row, without restartForgiven of service between them,
	// end the supervision: a server that cannot stay up needs a person.
	maxRestarts     = 10
	restartForgiven = time.Minute
	firstBackoff    = 100 * time.Millisecond
	maxBackoff      = 5 * time.Second
	orphanGrace     = 500 * time.Millisecond
	keptEvents      = 64
)

// EventKind names what happened to the server.
type EventKind string

// Event kinds.
const (
	EventStarted       EventKind = "started"
	EventAdopted       EventKind = "adopted"
	EventDied          EventKind = "died"
	EventRestarted     EventKind = "restarted"
	EventRestartFailed EventKind = "restart_failed"
	EventGaveUp        EventKind = "gave_up"
	EventStopped       EventKind = "stopped"
	// The disk: writing stopped, the reserve given to recovery, writing again.
	EventReadOnly     EventKind = "read_only"
	EventReserveGiven EventKind = "reserve_given"
	EventWritable     EventKind = "writable"
)

// Event is one thing that happened to the server.
type Event struct {
	At   time.Time
	Kind EventKind
	// Pid of the postmaster that it is about, 0 when there is none.
	Pid int
	// Detail says why, for people.
	Detail string
}

// Events returns the last 64 events, oldest first.
func (s *Server) Events() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Event(nil), s.events...)
}

func (s *Server) report(kind EventKind, pid int, detail string) {
	e := Event{At: time.Now(), Kind: kind, Pid: pid, Detail: detail}
	s.mu.Lock()
	s.events = append(s.events, e)
	if len(s.events) > keptEvents {
		s.events = s.events[len(s.events)-keptEvents:]
	}
	s.mu.Unlock()
	switch kind {
	case EventDied, EventRestartFailed, EventGaveUp, EventReadOnly, EventReserveGiven:
		s.log.Error("postgres "+string(kind), slog.Int("pid", pid), slog.String("detail", detail))
	case EventStarted, EventAdopted, EventRestarted, EventStopped, EventWritable:
		s.log.Info("postgres "+string(kind), slog.Int("pid", pid), slog.String("detail", detail))
	}
	if s.cfg.OnEvent != nil {
		s.cfg.OnEvent(e)
	}
}

// adoptOrLaunch makes s.proc a server that answers.
func (s *Server) adoptOrLaunch(ctx context.Context) error {
	if pf, ok := s.dir.readPidFile(); ok && isPostmaster(pf.pid, s.dir.data) {
		return s.adopt(ctx, pf)
	}
	if err := s.launch(ctx); err != nil {
		return err
	}
	s.report(EventStarted, s.Pid(), "")
	return nil
}

// adopt takes over a living server, unless it listens where it should not.
func (s *Server) adopt(ctx context.Context, pf pidFile) error {
	p, err := adoptProcess(pf, s.dir)
	if err != nil {
		return err
	}
	s.setProc(p)
	s.adopted = true
	if err := s.waitReady(ctx, p); err != nil {
		return fmt.Errorf("pgserver: server pid %d runs in %s but does not answer: %w", pf.pid, s.dir.root, err)
	}
	pf, _ = s.dir.readPidFile()
	host, port, _ := s.cfg.listen() // validated by withDefaults
	if pf.listen == host && pf.port == port && pf.socket == s.dir.socket {
		s.report(EventAdopted, p.pid, "")
		return nil
	}
	s.log.WarnContext(ctx, "running postgres listens elsewhere than asked: restarting it",
		slog.String("runs", fmt.Sprintf("%q:%d in %s", pf.listen, pf.port, pf.socket)),
		slog.String("asked", fmt.Sprintf("%q:%d", host, port)))
	if err := p.stop(ctx, s.cfg.StopTimeout); err != nil {
		return err
	}
	s.adopted = false
	if err := s.launch(ctx); err != nil {
		return err
	}
	s.report(EventStarted, s.Pid(), "restarted to change where it listens")
	return nil
}

// launch starts a new server process and waits until it answers.
func (s *Server) launch(ctx context.Context) error {
	if err := s.clearRemains(ctx); err != nil {
		return err
	}
	if err := s.lookAtDisk(false); err != nil {
		return err
	}
	if err := s.writeConfig(); err != nil {
		return err
	}
	p, err := s.launchProcess()
	if err != nil {
		return err
	}
	s.setProc(p)
	if err := s.waitReady(ctx, p); err != nil {
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.StopTimeout)
		defer cancel()
		return errors.Join(err, p.stop(stopCtx, immediateWait))
	}
	return nil
}

func (s *Server) setProc(p *postmaster) {
	s.mu.Lock()
	s.proc = p
	s.mu.Unlock()
}

// clearRemains ends backends that outlived their postmaster and removes a pid
// file whose process is not a postmaster of this folder. PostgreSQL's shared
// memory check still stands behind this.
func (s *Server) clearRemains(ctx context.Context) error {
	pf, ok := s.dir.readPidFile()
	if ok && isPostmaster(pf.pid, s.dir.data) {
		return fmt.Errorf("pgserver: a server with pid %d appeared in %s", pf.pid, s.dir.root)
	}
	if err := s.endOrphans(ctx); err != nil {
		return err
	}
	_, port, _ := s.cfg.listen() // validated by withDefaults
	socket := filepath.Join(s.dir.socket, fmt.Sprintf(".s.PGSQL.%d", port))
	// The server trusts kill(pid, 0) for its pid file and its socket's lock
	// alike, and would refuse beside a zombie or a stranger with that number.
	for _, path := range []string{filepath.Join(s.dir.data, "postmaster.pid"), socket + ".lock", socket} {
		switch err := os.Remove(path); {
		case err == nil:
			s.log.WarnContext(ctx, "removed a remain of a dead server", slog.String("file", path), slog.Int("pid", pf.pid))
		case !errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("pgserver: remove stale file: %w", err)
		}
	}
	return nil
}

// endOrphans waits a moment for backends to notice, then ends them.
func (s *Server) endOrphans(ctx context.Context) error {
	for _, sig := range []syscall.Signal{0, syscall.SIGQUIT, syscall.SIGKILL} {
		for _, pid := range orphans(s.dir.data, 0) {
			if sig != 0 {
				s.log.WarnContext(ctx, "ending a backend without a postmaster", slog.Int("pid", pid), slog.String("signal", sig.String()))
				_ = syscall.Kill(pid, sig) // gone is fine; still there is seen below
			}
		}
		deadline := time.Now().Add(orphanGrace)
		for len(orphans(s.dir.data, 0)) > 0 && time.Now().Before(deadline) {
			if err := pause(ctx, nil, pollEvery/5); err != nil {
				return err
			}
		}
		if len(orphans(s.dir.data, 0)) == 0 {
			return nil
		}
	}
	return fmt.Errorf("pgserver: server processes %v still work in %s", orphans(s.dir.data, 0), s.dir.data)
}

// waitReady returns when the server takes a connection, or cannot any more.
func (s *Server) waitReady(ctx context.Context, p *postmaster) error {
	said := time.Now()
	var last error
	for {
		if pf, ok := s.dir.readPidFile(); ok && pf.pid == p.pid && pf.status == "ready" {
			s.mu.Lock()
			p.port = pf.port // known late for an adopted server that was starting
			s.mu.Unlock()
			if last = s.answers(ctx, pf); last == nil {
				return nil
			}
		}
		if time.Since(said) > 2*time.Second {
			said = time.Now()
			s.log.InfoContext(ctx, "waiting for postgres (crash recovery takes time)", slog.Int("pid", p.pid))
		}
		select {
		case <-p.exited:
			return fmt.Errorf("pgserver: postgres ended while starting: %s: %s (more in %s)", p.state, s.startupTail(), s.dir.logs)
		case <-ctx.Done():
			return fmt.Errorf("pgserver: postgres did not get ready: %w", errors.Join(ctx.Err(), last))
		case <-time.After(pollEvery / 10):
		}
	}
}

func (s *Server) answers(ctx context.Context, pf pidFile) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, keywordDSN("host", pf.socket, "port", fmt.Sprint(pf.port),
		"user", SuperUser, "dbname", "postgres", "sslmode", "disable"))
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// supervise restarts a server that dies until Stop, or until it will not stay up.
func (s *Server) supervise() {
	defer close(s.done)
	failures := 0
	for {
		up := time.Now()
		p := s.current()
		select {
		case <-s.stopping:
			return
		case <-p.exited:
		}
		select {
		case <-s.stopping: // both at once: it was us
			return
		default:
		}
		s.report(EventDied, p.pid, p.state)
		if time.Since(up) >= restartForgiven {
			failures = 0
		}
		if !s.restart(&failures) {
			return
		}
	}
}

// restart tries until the server is up (true), or Stop or too many failures
// end it (false).
func (s *Server) restart(failures *int) bool {
	var last error
	for ; *failures < s.cfg.maxRestarts; *failures++ {
		if pause(context.Background(), s.stopping, backoff(*failures)) != nil {
			return false
		}
		if last = s.relaunch(); last == nil {
			*failures++
			s.report(EventRestarted, s.Pid(), "")
			return true
		}
		select {
		case <-s.stopping:
			return false
		default:
		}
		s.report(EventRestartFailed, 0, last.Error())
	}
	s.mu.Lock()
	s.err = fmt.Errorf("pgserver: gave up after %d restarts: %w", *failures, errors.Join(last, errors.New("see "+s.dir.logs)))
	s.mu.Unlock()
	s.report(EventGaveUp, 0, s.err.Error())
	return false
}

// backoff is nothing for the first restart, then doubles up to maxBackoff.
func backoff(failures int) time.Duration {
	if failures == 0 {
		return 0
	}
	return min(firstBackoff<<min(failures-1, 16), maxBackoff)
}

// relaunch starts the server again and checks durability again: a changed
// file could have weakened it meanwhile.
func (s *Server) relaunch() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.StartTimeout)
	defer cancel()
	go func() { // Stop must not wait for crash recovery
		select {
		case <-s.stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := s.launch(ctx); err != nil {
		return err
	}
	err := s.verify(ctx)
	if err != nil {
		stopCtx, cancel := context.WithTimeout(context.Background(), s.cfg.StopTimeout)
		defer cancel()
		err = errors.Join(err, s.current().stop(stopCtx, immediateWait))
	}
	return err
}

func (s *Server) verify(ctx context.Context) error {
	conn, err := s.connect(ctx, "postgres")
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return VerifyDurability(ctx, conn)
}

// Done is closed when the supervision ended: after Stop, or because it gave up.
func (s *Server) Done() <-chan struct{} { return s.done }

// Wait returns when the supervision ended: nil after Stop, the reason when it
// gave up restarting, or ctx's error when that comes first.
func (s *Server) Wait(ctx context.Context) error {
	select {
	case <-s.done:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.err
	case <-ctx.Done():
		return fmt.Errorf("pgserver: wait: %w", ctx.Err())
	}
}

// Stop ends the server cleanly (fast shutdown with a checkpoint), an adopted
// one too; when that takes longer than Config.StopTimeout, or ctx ends first,
// at once, which costs crash recovery at the next start and no data. It is
// safe to call twice.
func (s *Server) Stop(ctx context.Context) error {
	s.stopOnce.Do(func() {
		close(s.stopping)
		<-s.done
		p := s.current()
		select {
		case <-p.exited:
		default:
			s.stopErr = p.stop(ctx, s.cfg.StopTimeout)
		}
		s.stopErr = errors.Join(s.stopErr, s.lock.Close())
		if s.stopErr == nil {
			s.report(EventStopped, p.pid, p.state)
		}
	})
	return s.stopErr
}

// pause waits for d, ended early with an error by ctx or stop.
func pause(ctx context.Context, stop <-chan struct{}, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-stop:
		return context.Canceled
	case <-ctx.Done():
		return ctx.Err()
	}
}
