package pgserver

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// isPostmaster reports whether pid is a living process at work in the data
// folder. A zombie is not: where pid 1 does not reap, the dead postmaster of
// a killed supervisor stays in the table and would pass kill(pid, 0). Nor is
// a stranger that got the number of a stale pid file.
func isPostmaster(pid int, data string) bool {
	if !running(pid) {
		return false
	}
	cwd, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/cwd")
	if err != nil { // another user's process, or just gone
		return syscall.Kill(pid, 0) == syscall.EPERM && running(pid)
	}
	return cwd == data
}

// running reads the state letter, which follows the parenthesised name.
func running(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	i := bytes.LastIndexByte(stat, ')')
	return i > 0 && i+2 < len(stat) && stat[i+2] != 'Z' && stat[i+2] != 'X'
}

// orphans lists the server processes, other than except, that still work in
// the data folder: backends that have not noticed yet that their postmaster
// died, and that keep the shared memory busy.
func orphans(data string, except int) []int {
	dirs, _ := filepath.Glob("/proc/[0-9]*") // constant pattern
	var pids []int
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == except {
			continue
		}
		comm, err := os.ReadFile(dir + "/comm")
		if err != nil || !bytes.HasPrefix(comm, []byte("postgres")) {
			continue
		}
		if cwd, err := os.Readlink(dir + "/cwd"); err == nil && cwd == data && running(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}
