package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	pollEvery = 100 * time.Millisecond
	// immediateWait bounds the immediate shutdown, and then the kill.
	immediateWait = 5 * time.Second
)

// pidFile is what postmaster.pid says.
type pidFile struct {
	pid, port              int
	socket, listen, status string
}

// readPidFile returns false when there is none that can be understood; the
// file may be seen half written.
func (l layout) readPidFile() (pidFile, bool) {
	raw, err := os.ReadFile(filepath.Join(l.data, "postmaster.pid"))
	if err != nil {
		return pidFile{}, false
	}
	lines := strings.Split(string(raw), "\n")
	get := func(i int) string {
		if i < len(lines) {
			return strings.TrimSpace(lines[i])
		}
		return ""
	}
	var p pidFile
	if p.pid, err = strconv.Atoi(get(0)); err != nil || p.pid <= 1 {
		return pidFile{}, false
	}
	p.port, _ = strconv.Atoi(get(3)) // 0 while starting
	p.socket, p.listen, p.status = get(4), get(5), get(7)
	return p, true
}

// postmaster is one running server process, ours or adopted.
type postmaster struct {
	pid, port int
	adopted   bool
	data      string
	process   *os.Process
	exited    chan struct{} // closed when the process is gone
	release   chan struct{} // closed to stop watching an adopted process
	state     string        // how it ended; valid after exited
}

func (p *postmaster) alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return isPostmaster(p.pid, p.data)
	}
}

// adoptProcess watches a server that is not our child. The handle that
// FindProcess holds keeps later signals from reaching a reused pid.
func adoptProcess(pf pidFile, l layout) (*postmaster, error) {
	proc, err := os.FindProcess(pf.pid)
	if err != nil {
		return nil, fmt.Errorf("pgserver: adopt pid %d: %w", pf.pid, err)
	}
	p := &postmaster{
		pid: pf.pid, port: pf.port, adopted: true, data: l.data, process: proc,
		exited: make(chan struct{}), release: make(chan struct{}), state: "gone (not our child: exit status unknown)",
	}
	go p.watch()
	return p, nil
}

func (p *postmaster) watch() {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.release:
			return
		case <-tick.C:
			if !isPostmaster(p.pid, p.data) {
				close(p.exited)
				return
			}
		}
	}
}

// launchProcess starts the server as our child. It has a session of its own
// and no parent-death signal: it is meant to outlive a killed supervisor.
func (s *Server) launchProcess() (*postmaster, error) {
	out, err := os.OpenFile(s.startupLog(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("pgserver: %w", err)
	}
	defer func() { _ = out.Close() }()
	args := []string{"-D", s.dir.data}
	for _, d := range durability {
		args = append(args, "-c", d.name+"=on")
	}
	cmd := s.command(context.Background(), "postgres", args...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("pgserver: start postgres: %w", err)
	}
	_, port, _ := s.cfg.listen() // validated by withDefaults
	p := &postmaster{
		pid: cmd.Process.Pid, port: port, data: s.dir.data, process: cmd.Process,
		exited: make(chan struct{}), release: make(chan struct{}),
	}
	go func() {
		_ = cmd.Wait() // the state below says the same
		p.state = cmd.ProcessState.String()
		close(p.exited)
	}()
	return p, nil
}

func (s *Server) startupLog() string { return filepath.Join(s.dir.logs, "startup.log") }

// startupTail returns the end of what the server said before its log files
// opened, for the error message.
func (s *Server) startupTail() string {
	f, err := os.Open(s.startupLog())
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	const most = 2 << 10
	if st, err := f.Stat(); err == nil && st.Size() > most {
		_, _ = f.Seek(-most, io.SeekEnd) // best effort, for a message
	}
	raw, _ := io.ReadAll(io.LimitReader(f, most))
	var keep []string
	for line := range strings.Lines(string(raw)) {
		if !strings.Contains(line, "skipping missing configuration file") { // custom.conf may be absent
			keep = append(keep, strings.TrimSpace(line))
		}
	}
	return strings.Join(keep, " | ")
}

// stop ends the server: fast for at most fast, then immediate, then killed.
// An error means that it still runs.
func (p *postmaster) stop(ctx context.Context, fast time.Duration) error {
	steps := []struct {
		sig  syscall.Signal
		wait time.Duration
	}{{syscall.SIGINT, fast}, {syscall.SIGQUIT, immediateWait}, {syscall.SIGKILL, immediateWait}}
	for i, step := range steps {
		if i == 0 && ctx.Err() != nil {
			continue
		}
		if err := p.process.Signal(step.sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("pgserver: signal pid %d: %w", p.pid, err)
		}
		limit := time.NewTimer(step.wait)
		var cancelled <-chan struct{}
		if i == 0 {
			cancelled = ctx.Done() // only the fast step is cut short
		}
		select {
		case <-p.exited:
			limit.Stop()
			return nil
		case <-limit.C:
		case <-cancelled:
			limit.Stop()
		}
	}
	return fmt.Errorf("pgserver: pid %d survived SIGKILL", p.pid)
}
