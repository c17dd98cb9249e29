package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// envParent tells a child which file descriptor ends when its parent does.
	envParent = "MONETA_PARENT_FD"
	// parentFD is the first of exec.Cmd's ExtraFiles.
	parentFD = 3
	// DefaultGrace is how long a child may take to end after SIGTERM.
	DefaultGrace = 15 * time.Second
	// killWait bounds the wait for the kernel after SIGKILL.
	killWait = 5 * time.Second
	// outputWait bounds the wait for output that grandchildren hold open.
	outputWait = time.Second
)

// ChildConfig describes a child process that is kept running.
type ChildConfig struct {
	// Name in logs and errors.
	Name string
	// Path, Args (without the name itself), Env and Dir as in exec.Cmd; a nil
	// Env means ours.
	Path string
	Args []string
	Env  []string
	Dir  string
	// Stdout and Stderr receive the child's output; nil discards it.
	Stdout, Stderr io.Writer
	// Grace is how long the child may take to end after SIGTERM before
	// SIGKILL; 0 means DefaultGrace.
	Grace time.Duration
	// Backoff between restarts; the zero value is DefaultBackoff.
	Backoff Backoff
	// OnEvent, when set, is called for each event in order; must not block.
	OnEvent func(ChildEvent)
	// Logger gets every event; nil means slog.Default.
	Logger *slog.Logger
}

// ChildEventKind names what happened to a child.
type ChildEventKind string

// Child event kinds.
const (
	ChildStarted     ChildEventKind = "started"
	ChildExited      ChildEventKind = "exited"       // nobody asked
	ChildStartFailed ChildEventKind = "start_failed" // the restart could not even begin
	ChildGaveUp      ChildEventKind = "gave_up"
	ChildStopped     ChildEventKind = "stopped" // we asked
)

// ChildEvent is one thing that happened to a child.
type ChildEvent struct {
	Kind ChildEventKind
	Name string
	Pid  int
	// Err says how it ended; nil for an exit with code 0.
	Err error
}

// Child keeps one command running: restarted with backoff when it ends
// unasked, ended with SIGTERM and then SIGKILL by Stop, and told by the kernel
// to end when this process dies. It has a process group of its own, so that a
// terminal's Ctrl-C reaches this process alone, which then stops its children
// in order. Safe for concurrent use; a child is started once.
type Child struct {
	cfg  ChildConfig
	log  *slog.Logger
	done chan struct{}
	stop chan struct{}

	mu       sync.Mutex
	started  bool
	stopped  bool
	pid      int
	restarts int
	err      error
}

// NewChild returns a child that is not started.
func NewChild(cfg ChildConfig) *Child {
	if cfg.Grace <= 0 {
		cfg.Grace = DefaultGrace
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	cfg.Backoff = cfg.Backoff.withDefaults()
	return &Child{
		cfg: cfg, log: cfg.Logger.With(slog.String("child", cfg.Name)),
		done: make(chan struct{}), stop: make(chan struct{}),
	}
}

// Start starts the command the first time and returns its error if it cannot
// be executed; what happens later is supervised. ctx bounds Start alone.
func (c *Child) Start(ctx context.Context) error {
	c.mu.Lock()
	if c.started || c.stopped {
		c.mu.Unlock()
		return fmt.Errorf("child %s: %w", c.cfg.Name, ErrStarted)
	}
	c.started = true
	c.mu.Unlock()
	first := make(chan error, 1)
	go c.supervise(first)
	select {
	case err := <-first:
		return err
	case <-ctx.Done():
		return fmt.Errorf("start child %s: %w", c.cfg.Name, ctx.Err())
	}
}

// Stop ends the child: SIGTERM, then SIGKILL to its whole group after Grace
// or when ctx ends, whichever is first. Stop before Start and twice are fine.
func (c *Child) Stop(ctx context.Context) error {
	c.mu.Lock()
	if !c.stopped {
		c.stopped = true
		close(c.stop)
		if !c.started {
			close(c.done)
		}
	}
	c.mu.Unlock()
	limit := time.NewTimer(c.cfg.Grace + killWait)
	defer limit.Stop()
	select {
	case <-c.done:
		return nil
	case <-limit.C:
	case <-ctx.Done():
		c.killGroup()
		select {
		case <-c.done:
			return nil
		case <-time.After(killWait):
		}
	}
	return fmt.Errorf("child %s: %w", c.cfg.Name, ErrStopTimeout)
}

// Done is closed when the child is gone for good.
func (c *Child) Done() <-chan struct{} { return c.done }

// Err returns why the supervision ended by itself, nil while it goes on or
// after Stop.
func (c *Child) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Pid returns the process id, 0 while there is none.
func (c *Child) Pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pid
}

// Restarts returns how often the child was started again.
func (c *Child) Restarts() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.restarts
}

func (c *Child) report(kind ChildEventKind, pid int, err error) {
	switch kind {
	case ChildExited, ChildStartFailed, ChildGaveUp:
		c.log.Error("child "+string(kind), slog.Int("pid", pid), slog.Any("error", err))
	case ChildStarted, ChildStopped:
		c.log.Info("child "+string(kind), slog.Int("pid", pid))
	}
	if c.cfg.OnEvent != nil {
		c.cfg.OnEvent(ChildEvent{Kind: kind, Name: c.cfg.Name, Pid: pid, Err: err})
	}
}

// supervise owns the child. It stays on one operating system thread, because
// the kernel sends the parent-death signal when the *thread* that started the
// child ends.
func (c *Child) supervise(first chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(c.done)
	inRow := 0
	for {
		began := time.Now()
		cmd, life, err := c.spawn()
		if first != nil {
			first <- err
			if err != nil {
				return
			}
			first = nil
		}
		if err == nil {
			err = c.waitFor(cmd, life)
			if c.stopping() {
				return
			}
		} else {
			c.report(ChildStartFailed, 0, err)
		}
		if time.Since(began) >= c.cfg.Backoff.Healthy {
			inRow = 0
		}
		inRow++
		if c.cfg.Backoff.Limit > 0 && inRow > c.cfg.Backoff.Limit {
			c.giveUp(err)
			return
		}
		if !c.pause(c.cfg.Backoff.wait(inRow)) {
			return
		}
		c.mu.Lock()
		c.restarts++
		c.mu.Unlock()
	}
}

func (c *Child) giveUp(err error) {
	if err == nil {
		err = ErrEnded
	}
	err = fmt.Errorf("child %s: %w: %w", c.cfg.Name, ErrGaveUp, err)
	c.mu.Lock()
	c.err = err
	c.mu.Unlock()
	c.report(ChildGaveUp, 0, err)
}

// spawn starts the command. life is our end of a pipe that closes when we
// die, however we die: the fallback where there is no parent-death signal.
func (c *Child) spawn() (cmd *exec.Cmd, life *os.File, err error) {
	theirs, ours, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("child %s: %w", c.cfg.Name, err)
	}
	defer func() { _ = theirs.Close() }()         // the child has its own copy
	cmd = exec.Command(c.cfg.Path, c.cfg.Args...) //nolint:gosec,noctx // running what the caller names is the purpose; Stop ends it
	cmd.Env = c.cfg.Env
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env[:len(cmd.Env):len(cmd.Env)], envParent+"="+strconv.Itoa(parentFD))
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.cfg.Dir, c.cfg.Stdout, c.cfg.Stderr
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = childAttr()
	cmd.WaitDelay = outputWait
	if err := cmd.Start(); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("child %s: %w", c.cfg.Name, err), ours.Close())
	}
	c.setPid(cmd.Process.Pid)
	c.report(ChildStarted, cmd.Process.Pid, nil)
	return cmd, ours, nil
}

// waitFor returns when the process is gone: by itself, or because of Stop.
func (c *Child) waitFor(cmd *exec.Cmd, life *os.File) error {
	defer func() { _ = life.Close() }()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var err error
	pid := cmd.Process.Pid
	select {
	case err = <-ended:
		c.setPid(0)
		if !c.stopping() {
			c.report(ChildExited, pid, err)
			return err
		}
	case <-c.stop:
		_ = cmd.Process.Signal(syscall.SIGTERM) // gone already is fine
		grace := time.NewTimer(c.cfg.Grace)
		defer grace.Stop()
		select {
		case err = <-ended:
		case <-grace.C:
			c.log.Warn("child ignores SIGTERM: killing it", slog.Int("pid", pid), slog.Duration("grace", c.cfg.Grace))
			c.killGroup()
			err = <-ended // the kernel does not refuse SIGKILL
		}
		c.setPid(0)
	}
	c.report(ChildStopped, pid, err)
	return err
}

// killGroup takes grandchildren along.
func (c *Child) killGroup() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pid != 0 {
		_ = syscall.Kill(-c.pid, syscall.SIGKILL) // gone already is fine
	}
}

func (c *Child) setPid(pid int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pid = pid
}

func (c *Child) stopping() bool {
	select {
	case <-c.stop:
		return true
	default:
		return false
	}
}

func (c *Child) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.stop:
		return false
	}
}

var supervised atomic.Bool

// Supervised reports whether a Child started this process, as ParentDone has found:
// then its parent starts it, and its other children, again when they end.
func Supervised() bool { return supervised.Load() }

// ParentDone is for the child's side: the channel closes when the Child that
// supervises this process is gone. It never closes when there is none. Call
// it once, early in main; the child should then stop as on SIGTERM, and exit
// for certain after a bounded time.
func ParentDone() <-chan struct{} {
	gone := make(chan struct{})
	fd, err := strconv.Atoi(os.Getenv(envParent))
	if err != nil || fd < parentFD {
		return gone
	}
	supervised.Store(true)
	_ = os.Unsetenv(envParent) // our own children have another parent
	syscall.CloseOnExec(fd)
	pipe := os.NewFile(uintptr(fd), "parent")
	if pipe == nil {
		return gone
	}
	go func() { // lives as long as the process or its parent
		_, _ = io.Copy(io.Discard, pipe) // nothing is ever written: it returns at the end
		_ = pipe.Close()
		close(gone)
	}()
	return gone
}
