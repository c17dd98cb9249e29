package torture

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/test/binary"
)

// process is one command that a test started.
type process struct {
	name string
	pid  int
	log  string
	gone chan struct{} // closed when it ended
	err  error         // how; valid after gone
	life *os.File      // its end tells the process that the test died
}

// start runs the binary with args; its output goes to a file in dir.
func start(t *testing.T, dir, name string, env []string, args ...string) *process {
	t.Helper()
	return startThe(t, binary.Moneta(), dir, name, env, args...)
}

// startThe runs another binary than the one under test.
func startThe(t *testing.T, path, dir, name string, env []string, args ...string) *process {
	t.Helper()
	theirs, ours, err := os.Pipe()
	require.NoError(t, err)
	defer func() { _ = theirs.Close() }()
	p := &process{name: name, log: filepath.Join(dir, name+".out"), gone: make(chan struct{}), life: ours}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	require.NoError(t, err)
	defer func() { _ = out.Close() }()
	cmd := exec.Command(path, args...)
	cmd.Env = append(append(os.Environ(), "MONETA_PARENT_FD=3"), env...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, cmd.Start())
	p.pid = cmd.Process.Pid
	go func() {
		p.err = cmd.Wait()
		_ = ours.Close()
		close(p.gone)
	}()
	t.Cleanup(func() { p.end(t) })
	return p
}

func (p *process) running() bool {
	select {
	case <-p.gone:
		return false
	default:
		return true
	}
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	require.NoError(t, syscall.Kill(p.pid, s), "signal %s to %s", s, p.name)
}

// waitGone returns how long the process took to end.
func (p *process) waitGone(t *testing.T, within time.Duration) time.Duration {
	t.Helper()
	started := time.Now()
	select {
	case <-p.gone:
	case <-time.After(within):
		t.Fatalf("%s (pid %d) did not end within %s\n%s", p.name, p.pid, within, tail(p.log))
	}
	return time.Since(started)
}

// end stops the process, kindly first.
func (p *process) end(t *testing.T) {
	t.Helper()
	if t.Failed() {
		t.Logf("the end of %s:\n%s", p.log, tail(p.log))
	}
	if !p.running() {
		return
	}
	_ = syscall.Kill(p.pid, syscall.SIGCONT) // a frozen one cannot end
	_ = syscall.Kill(p.pid, syscall.SIGTERM)
	select {
	case <-p.gone:
		return
	case <-time.After(45 * time.Second):
	}
	t.Errorf("%s (pid %d) ignores SIGTERM", p.name, p.pid)
	_ = syscall.Kill(p.pid, syscall.SIGKILL)
	<-p.gone
}

// tail returns the last lines of a log.
func tail(path string) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	const most = 4 << 10
	if len(raw) > most {
		raw = raw[len(raw)-most:]
	}
	return string(raw)
}

// stat is what /proc tells of a process.
type stat struct {
	pid, parent int
	state       byte
	args        []string
}

func readStat(pid int) (stat, bool) {
	folder := "/proc/" + strconv.Itoa(pid)
	raw, err := os.ReadFile(folder + "/stat")
	if err != nil {
		return stat{}, false
	}
	i := bytes.LastIndexByte(raw, ')') // the name before may hold anything
	fields := strings.Fields(string(raw[i+1:]))
	if i < 0 || len(fields) < 2 {
		return stat{}, false
	}
	parent, err := strconv.Atoi(fields[1])
	line, _ := os.ReadFile(folder + "/cmdline") // gone meanwhile is an empty line
	return stat{pid, parent, fields[0][0], strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")}, err == nil
}

// alive reports whether the pid is a process that still runs.
func alive(pid int) bool {
	s, ok := readStat(pid)
	return ok && s.state != 'Z' && s.state != 'X'
}

// processes lists what runs now.
func processes() []stat {
	folders, _ := filepath.Glob("/proc/[0-9]*") // a constant pattern
	var out []stat
	for _, f := range folders {
		pid, err := strconv.Atoi(filepath.Base(f))
		if err != nil {
			continue
		}
		if s, ok := readStat(pid); ok && s.state != 'Z' && s.state != 'X' {
			out = append(out, s)
		}
	}
	return out
}

// childOf returns the child of parent that runs `moneta <command>`, 0 if none.
func childOf(parent int, command string) int {
	for _, s := range processes() {
		if s.parent == parent && len(s.args) > 1 && s.args[1] == command {
			return s.pid
		}
	}
	return 0
}

// killPid kills a process that one of ours started; gone already is fine.
func killPid(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		require.NoError(t, err, "kill -9 %d", pid)
	}
}
