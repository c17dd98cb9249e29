package bench

import (
	"bufio"
	"bytes"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of /proc's processor times: USER_HZ, 100 on every platform
// that Go runs on.
const tick = 10 * time.Millisecond

// process is one line of the process table.
type process struct {
	parent int
	own    time.Duration // user and system time
	reaped time.Duration // that of its children who have ended
}

// processTable reads /proc; empty where there is none.
func processTable() map[int]process {
	table := map[int]process{}
	folders, err := os.ReadDir("/proc")
	if err != nil {
		return table
	}
	for _, f := range folders {
		pid, err := strconv.Atoi(f.Name())
		if err != nil {
			continue
		}
		raw, err := os.ReadFile("/proc/" + f.Name() + "/stat")
		if err != nil {
			continue // it has ended meanwhile
		}
		if p, ok := parseStat(raw); ok {
			table[pid] = p
		}
	}
	return table
}

// parseStat reads /proc/<pid>/stat. The name, in parentheses, may hold anything.
func parseStat(raw []byte) (process, bool) {
	end := bytes.LastIndexByte(raw, ')')
	if end < 0 {
		return process{}, false
	}
	fields := strings.Fields(string(raw[end+1:])) // from field 3, the state
	if len(fields) < 15 {
		return process{}, false
	}
	var n [5]int64
	for i, at := range []int{1, 11, 12, 13, 14} { // ppid, utime, stime, cutime, cstime
		v, err := strconv.ParseInt(fields[at], 10, 64)
		if err != nil {
			return process{}, false
		}
		n[i] = v
	}
	return process{parent: int(n[0]), own: time.Duration(n[1]+n[2]) * tick, reaped: time.Duration(n[3]+n[4]) * tick}, true
}

// treesTime is the processor time of the trees under the roots, each process
// once, those included that have ended and were waited for.
func treesTime(table map[int]process, roots ...int) time.Duration {
	var sum time.Duration
	for pid, p := range table {
		for at, depth := pid, 0; at > 0 && depth < 64; depth++ {
			if isOneOf(at, roots) {
				sum += p.own + p.reaped
				break
			}
			at = table[at].parent
		}
	}
	return sum
}

func isOneOf(pid int, roots []int) bool {
	for _, r := range roots {
		if pid == r {
			return true
		}
	}
	return false
}

// machineTime is the busy time of all cores since boot: everything but idle and
// waiting for the disk; time stolen by the host's other guests counts as busy.
func machineTime() time.Duration {
	raw, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := bytes.Cut(raw, []byte("\n"))
	fields := strings.Fields(string(line))
	var busy int64
	for i, f := range fields {
		// cpu user nice system idle iowait irq softirq steal guest guest_nice; the
		// guests' time is in user and nice already.
		if i == 0 || i == 4 || i == 5 || i > 8 {
			continue
		}
		v, _ := strconv.ParseInt(f, 10, 64)
		busy += v
	}
	return time.Duration(busy) * tick
}

// Machine is where a report was measured.
type Machine struct {
	OS         string `json:"os"`
	Arch       string `json:"arch"`
	Kernel     string `json:"kernel"`
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	MemoryMB   int64  `json:"memory_mb"`
	Filesystem string `json:"filesystem"`
	// LoadBefore is the load average over a minute before the run began.
	LoadBefore string `json:"load_before"`
	Postgres   string `json:"postgres"`
	Go         string `json:"go"`
}

func describeMachine(folder string) Machine {
	m := Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, Cores: cores(), Go: runtime.Version()}
	m.Filesystem, _, _ = fileSystem(folder) // it has been asked before
	m.Kernel = firstWord("/proc/sys/kernel/osrelease")
	m.LoadBefore = firstWord("/proc/loadavg")
	m.CPU = valueIn("/proc/cpuinfo", "model name")
	kb, _, _ := strings.Cut(valueIn("/proc/meminfo", "MemTotal"), " ")
	if n, err := strconv.ParseInt(kb, 10, 64); err == nil {
		m.MemoryMB = n >> 10
	}
	return m
}

func firstWord(path string) string {
	raw, _ := os.ReadFile(path) // empty where there is none
	word, _, _ := strings.Cut(strings.TrimSpace(string(raw)), " ")
	return word
}

// valueIn finds the first "name : value" line of a file below /proc.
func valueIn(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		key, value, ok := strings.Cut(sc.Text(), ":")
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// buildCommit is the revision that the binary was built from, marked when the
// tree had changes; empty when the build did not record it.
func buildCommit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	var revision, changed string
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(len(s.Value), 12)]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "+changes"
		}
	}
	return revision + changed
}
