package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of /proc's times: the kernel fixes it at a hundredth of a second for
// all that it shows to users.
const tick = 10 * time.Millisecond

// procfs reads what the kernel tells of processes.
type procfs struct{ proc, cgroup string }

// life is one process, told apart from a later one with the same pid by its start.
type life struct {
	pid   int
	start int64 // ticks since the machine's start
}

// usage is what a process took until now.
type usage struct {
	state              string // one letter; T and t are stopped
	cpu                time.Duration
	rss                int64 // bytes
	start              int64
	periods, throttled int64
	hasQuota           bool
	// ran and waited are what its threads had of the processors, and waited for.
	threads map[string]slice
}

// slice is the time of one thread, as the scheduler counts it.
type slice struct{ ran, waited int64 } // nanoseconds

// threadsMost bounds the files of a look; a process of Go has some tens of threads.
const threadsMost = 256

// threads reads the scheduler's words; nil where the kernel does not keep them.
func (p procfs) threads(pid int) map[string]slice {
	folder := filepath.Join(p.proc, strconv.Itoa(pid), "task")
	all, err := os.ReadDir(folder)
	if err != nil {
		return nil
	}
	out := make(map[string]slice, len(all))
	for _, t := range all[:min(len(all), threadsMost)] {
		raw, err := os.ReadFile(filepath.Join(folder, t.Name(), "schedstat"))
		if f := strings.Fields(string(raw)); err == nil && len(f) >= 2 {
			out[t.Name()] = slice{number(f[0]), number(f[1])}
		}
	}
	return out
}

// starved is the share of the time since old that threads which are there now and then
// waited although they could run; not known when none could.
func starved(now, old map[string]slice) (share float64, ok bool) {
	var ran, waited int64
	for id, t := range now {
		if before, there := old[id]; there && t.ran >= before.ran && t.waited >= before.waited {
			ran, waited = ran+t.ran-before.ran, waited+t.waited-before.waited
		}
	}
	if ran+waited < starvedLeast {
		return 0, len(now) > 0 && len(old) > 0
	}
	return float64(waited) / float64(ran+waited), true
}

// starvedLeast nanoseconds that it could run: of less a share says nothing.
const starvedLeast = 20_000_000

// stat is /proc/PID/stat after the name, which may hold anything: field 3 is the first.
func (p procfs) stat(pid int) ([]string, error) {
	b, err := os.ReadFile(filepath.Join(p.proc, strconv.Itoa(pid), "stat"))
	if err != nil {
		return nil, err
	}
	return statFields(b)
}

func statFields(b []byte) ([]string, error) {
	end := bytes.LastIndexByte(b, ')')
	if end < 0 {
		return nil, errors.New("stat without a name")
	}
	f := strings.Fields(string(b[end+1:]))
	if len(f) < 22 {
		return nil, fmt.Errorf("stat has %d fields", len(f))
	}
	return f, nil
}

// Fields of stat, counted from the state, which proc(5) calls the third.
const (
	fieldState = 0
	fieldUser  = 11
	fieldSys   = 12
	fieldStart = 19
	fieldRSS   = 21
)

func (p procfs) usage(pid int) (usage, error) {
	f, err := p.stat(pid)
	if err != nil {
		return usage{}, err
	}
	u := usage{state: f[fieldState], start: number(f[fieldStart]), rss: number(f[fieldRSS]) * int64(os.Getpagesize())}
	u.cpu = time.Duration(number(f[fieldUser])+number(f[fieldSys])) * tick
	for line := range strings.Lines(p.cgroupFile(pid, "cpu.stat")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch name {
		case "nr_periods":
			u.periods, u.hasQuota = number(value), true
		case "nr_throttled":
			u.throttled = number(value)
		}
	}
	u.threads = p.threads(pid)
	return u, nil
}

func number(s string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// same reports whether the process still is the one that it was.
func (p procfs) same(l *life) bool {
	f, err := p.stat(l.pid)
	return err == nil && number(f[fieldStart]) == l.start && f[fieldState] != "Z" && f[fieldState] != "X"
}

// find returns the youngest process that matches; nil when there is none.
func (p procfs) find(ctx context.Context, match func([]string) bool) (*life, error) {
	entries, err := os.ReadDir(p.proc)
	if err != nil {
		return nil, fmt.Errorf("look for the process: %w", err)
	}
	var found *life
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		b, err := os.ReadFile(filepath.Join(p.proc, e.Name(), "cmdline"))
		if err != nil || len(b) == 0 { // it went, or it is the kernel's
			continue
		}
		if !match(strings.Split(strings.TrimRight(string(b), "\x00"), "\x00")) {
			continue
		}
		f, err := p.stat(pid)
		if err != nil || f[fieldState] == "Z" {
			continue
		}
		if start := number(f[fieldStart]); found == nil || start > found.start {
			found = &life{pid, start}
		}
	}
	return found, nil
}

// uptime is for how long it runs, by the machine's own clock.
func (p procfs) uptime(l *life) time.Duration {
	b, err := os.ReadFile(filepath.Join(p.proc, "uptime"))
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(b), " ")
	up, err := strconv.ParseFloat(first, 64)
	if err != nil || math.IsNaN(up) {
		return 0
	}
	return time.Duration(up*float64(time.Second)) - time.Duration(l.start)*tick
}

// limits are what the process may take; 0 is no limit that is known.
type limits struct {
	memory int64 // bytes
	cores  float64
}

func (p procfs) limits(pid int) limits {
	out := limits{memory: p.memTotal()}
	if b := strings.TrimSpace(p.cgroupFile(pid, "memory.max")); b != "" && b != "max" {
		if n := number(b); n > 0 && (out.memory == 0 || n < out.memory) {
			out.memory = n
		}
	}
	if quota, period, ok := strings.Cut(strings.TrimSpace(p.cgroupFile(pid, "cpu.max")), " "); ok && quota != "max" && number(period) > 0 {
		out.cores = float64(number(quota)) / float64(number(period))
	}
	return out
}

func (p procfs) memTotal() int64 {
	b, err := os.ReadFile(filepath.Join(p.proc, "meminfo"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			return number(strings.TrimSuffix(strings.TrimSpace(rest), " kB")) << 10
		}
	}
	return 0
}

// cgroupFile reads a file of the process's control group, version 2; "" without one.
func (p procfs) cgroupFile(pid int, name string) string {
	b, err := os.ReadFile(filepath.Join(p.proc, strconv.Itoa(pid), "cgroup"))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		group, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		content, err := fs.ReadFile(os.DirFS(p.cgroup), filepath.Join(".", strings.TrimPrefix(group, "/"), name))
		if err != nil {
			return ""
		}
		return string(content)
	}
	return ""
}

// machine is what all processors did, in ticks.
type machine struct{ total, idle int64 }

func (p procfs) machine() (machine, error) {
	b, err := os.ReadFile(filepath.Join(p.proc, "stat"))
	if err != nil {
		return machine{}, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	f := strings.Fields(line)
	if len(f) < 6 || f[0] != "cpu" {
		return machine{}, errors.New("/proc/stat does not begin with cpu")
	}
	var m machine
	for i, v := range f[1:min(len(f), 9)] { // guests are counted in user already
		m.total += number(v)
		if i == 3 || i == 4 { // idle, and idle while a disk works
			m.idle += number(v)
		}
	}
	return m, nil
}

// stall is how long somebody has waited for a disk, in all.
type stall struct {
	total int64 // microseconds
	at    time.Time
	known bool
}

// ioStall is the share of the time since the last look in which some process waited for a
// disk; false where the kernel does not count it.
func (p procfs) ioStall(s *stall, at time.Time) (share float64, ok bool) {
	if at.Equal(s.at) {
		return 0, false // told already in this look
	}
	b, err := os.ReadFile(filepath.Join(p.proc, "pressure", "io"))
	if err != nil {
		return 0, false
	}
	line, _, _ := strings.Cut(string(b), "\n")
	_, total, found := strings.Cut(line, "total=")
	if !found || !strings.HasPrefix(line, "some ") {
		return 0, false
	}
	now := number(total)
	took := at.Sub(s.at).Microseconds()
	share = min(float64(now-s.total)/float64(max(took, 1)), 1)
	ok = s.known && now >= s.total
	s.total, s.at, s.known = now, at, true
	return share, ok
}
