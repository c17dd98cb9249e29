package repair

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// Processes is where restart-process acts: the children of one supervisor, which
// starts each again when it ends.
type Processes struct {
	// Supervisor is its process id: that of `up`. 0 is none, and then nothing is ended.
	Supervisor int
	// Names are the children by the hop that an act is aimed at: the first argument of
	// their command, such as serve.
	Names map[string]string
	// Grace is how long a process may take after SIGTERM; 0 means GraceUsually.
	Grace time.Duration
}

// GraceUsually is how long a process that runs may take to end cleanly: serve hands
// over and drains in less.
const GraceUsually = 5 * time.Second

// ticksPerS is the kernel's unit of times in /proc: USER_HZ, 100 on every Linux.
const ticksPerS = 100

// Restart returns the hand restart-process.
func Restart(p Processes) doctor.Hand {
	if p.Grace <= 0 {
		p.Grace = GraceUsually
	}
	return &restarter{p}
}

type restarter struct{ Processes }

func (*restarter) Does() string        { return doctor.DoRestartProcess }
func (*restarter) Reach() doctor.Reach { return doctor.Undoable }

// process is what /proc says of one. Start tells apart two with one number.
type process struct {
	pid    int
	parent int
	state  byte // R, S, D, T (stopped), t (traced), Z
	start  time.Time
	args   []string
}

func (p *process) frozen() bool { return p.state == 'T' || p.state == 't' }

func (p *process) describe() string {
	how := "runs"
	if p.frozen() {
		how = "stands still"
	}
	return fmt.Sprintf("pid %d, %s, since %s, %s", p.pid, strings.Join(p.args[:min(2, len(p.args))], " "), p.start.UTC().Format(time.RFC3339), how)
}

// readProcess returns nil when there is none.
func readProcess(pid int) (*process, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return nil, nil //nolint:nilnil // gone is an answer
	}
	if err != nil {
		return nil, err
	}
	p := &process{pid: pid}
	// The name in parentheses may hold anything; what follows the last one is numbers.
	i := bytes.LastIndexByte(stat, ')')
	fields := strings.Fields(string(stat[i+1:]))
	if i < 0 || len(fields) < 20 {
		return nil, fmt.Errorf("%s/stat cannot be read", dir)
	}
	p.state = fields[0][0]
	if p.parent, err = strconv.Atoi(fields[1]); err != nil {
		return nil, err
	}
	ticks, err := strconv.ParseInt(fields[19], 10, 64)
	if err != nil {
		return nil, err
	}
	boot, err := bootTime()
	if err != nil {
		return nil, err
	}
	p.start = boot.Add(time.Duration(ticks) * (time.Second / ticksPerS))
	line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	p.args = strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")
	if p.state == 'Z' || p.state == 'X' {
		return nil, nil //nolint:nilnil // it has ended; its parent has not looked yet
	}
	return p, nil
}

func bootTime() (time.Time, error) {
	raw, err := os.ReadFile("/proc/stat")
	if err != nil {
		return time.Time{}, err
	}
	_, after, ok := strings.Cut(string(raw), "\nbtime ")
	line, _, _ := strings.Cut(after, "\n")
	s, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	if !ok || err != nil {
		return time.Time{}, errors.New("/proc/stat does not tell when the machine started")
	}
	return time.Unix(s, 0), nil
}

// find returns the process that the act means: the child by its hop, or by its number,
// which must be one of the children too. marks say why it is not to be ended.
func (h *restarter) find(a doctor.Act) (p *process, marks []doctor.Mark, err error) {
	name := h.Names[a.Aim]
	if name == "" {
		return nil, nil, fmt.Errorf("no process here is %q", a.Aim)
	}
	if h.Supervisor <= 0 {
		return nil, []doctor.Mark{doctor.MarkForeign}, nil
	}
	if text := a.With["pid"]; text != "" {
		pid, err := strconv.Atoi(text)
		if err != nil || pid <= 1 {
			return nil, nil, fmt.Errorf("pid %q is no process", text)
		}
		if p, err = readProcess(pid); err != nil || p == nil {
			return nil, nil, err
		}
		if !h.ours(p, name) {
			return p, []doctor.Mark{doctor.MarkForeign}, nil
		}
		return p, nil, nil
	}
	p, err = h.child(name)
	return p, nil, err
}

func (h *restarter) ours(p *process, name string) bool {
	return p.parent == h.Supervisor && len(p.args) > 1 && p.args[1] == name
}

func (h *restarter) child(name string) (*process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p, err := readProcess(pid); err == nil && p != nil && h.ours(p, name) {
			return p, nil
		}
	}
	return nil, nil //nolint:nilnil // none is an answer
}

// clockSlack is how much later than the act a process may have begun by the kernel's
// clock, which counts in hundredths from a whole second.
const clockSlack = time.Second

// Try says which process it is.
func (h *restarter) Try(_ context.Context, a doctor.Act) (doctor.Change, error) {
	out := doctor.Change{Reach: doctor.Undoable}
	p, marks, err := h.find(a)
	out.Marks = marks
	switch {
	case err != nil || p == nil:
		out.Nothing = err == nil && len(marks) == 0
		if out.Nothing {
			out.After = "it is not there; its supervisor is starting it"
		}
		return out, err
	case !a.At.IsZero() && p.start.After(a.At.Add(clockSlack)):
		out.Nothing, out.After = true, "it was started after this was asked for: "+p.describe()
		return out, nil
	}
	out.Items, out.Before = 1, p.describe()
	out.After = "it ends, and its supervisor starts it again; what it was about to write is fenced off"
	return out, nil
}

// Act ends it: SIGTERM while it runs, SIGKILL when it stands still or does not end.
// SIGCONT is no cure: it would go on with what others have taken over.
func (h *restarter) Act(ctx context.Context, a doctor.Act) (doctor.Change, error) {
	out, err := h.Try(ctx, a)
	if err != nil || out.Nothing {
		return out, err
	}
	if err := doctor.Never(a, out.Marks...); err != nil {
		return out, err
	}
	p, _, err := h.find(a)
	if err != nil || p == nil {
		out.Nothing = err == nil
		return out, err
	}
	// A handle names the process itself: between a look and a signal its number may have
	// become another's.
	handle, err := os.FindProcess(p.pid)
	if err != nil {
		return out, err
	}
	defer func() { _ = handle.Release() }()
	again, err := readProcess(p.pid)
	if err != nil || again == nil || !again.start.Equal(p.start) || !slices.Equal(again.args, p.args) {
		out.Nothing = err == nil
		return out, err
	}
	how := "SIGTERM"
	if !p.frozen() {
		if err := handle.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return out, fmt.Errorf("end pid %d: %w", p.pid, err)
		}
	}
	ended := false
	if !p.frozen() {
		ended, err = until(ctx, h.Grace, func() (bool, error) { return gone(p) })
	}
	if err == nil && !ended {
		how = "SIGKILL"
		if err := handle.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return out, fmt.Errorf("kill pid %d: %w", p.pid, err)
		}
		ended, err = until(ctx, h.Grace, func() (bool, error) { return gone(p) })
	}
	switch {
	case err != nil:
		return out, err
	case !ended:
		return out, fmt.Errorf("pid %d does not end, not even by SIGKILL: it is inside the kernel, look at its disk", p.pid)
	}
	out.After = "ended by " + how
	return out, nil
}

func gone(p *process) (bool, error) {
	now, err := readProcess(p.pid)
	return now == nil || !now.start.Equal(p.start), err
}
