package torture

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// up is killed, finds remains, and is asked to end.
func TestUp(t *testing.T) {
	together(t)
	w := newWorld(t)
	figure(t, "up: first start to serving", "%.2f s", w.ready.Seconds())
	w.pay("first")

	// kill -9 of up: its children end by themselves, Postgres stays for the next.
	postmaster := w.killUp()
	require.True(t, alive(postmaster), "Postgres died with up")
	w.start()
	require.Equal(t, postmaster, w.postmaster(), "the next up did not adopt the running Postgres")
	eventually(t, 10*time.Second, "up says that it adopted", func() (bool, string) {
		said := tail(w.up.log)
		return strings.Contains(said, "adopted the running Postgres"), said
	})
	figure(t, "up: start that adopts Postgres", "%.2f s", w.ready.Seconds())
	w.pay("adopted")

	// A second up on the same folder must not disturb the first.
	second := start(t, t.TempDir(), "second-up", nil, "up", "--sandbox", "--data", w.dir, "--listen", freePorts(t, 1)[0], "--sandbox-listen", freePorts(t, 1)[0])
	second.waitGone(t, 30*time.Second)
	require.Error(t, second.err)
	require.Contains(t, tail(second.log), "another process supervises this data folder")
	w.pay("undisturbed")

	// Everything is killed and the pid file left; then a stranger has the number.
	postmaster = w.killUp()
	killPid(t, postmaster)
	eventually(t, 30*time.Second, "the postmaster is gone", func() (bool, string) { return !alive(postmaster), "it runs" })
	stranger := exec.Command("sleep", "600")
	require.NoError(t, stranger.Start())
	defer func() { _ = stranger.Process.Kill(); _ = stranger.Wait() }()
	w.reassignPidFile(stranger.Process.Pid)
	w.start()
	figure(t, "up: start after crash with a stale pid file", "%.2f s", w.ready.Seconds())
	require.NotEqual(t, stranger.Process.Pid, w.postmaster())
	require.True(t, alive(stranger.Process.Pid), "up killed a stranger")
	w.pay("stale")

	// Ctrl-C ends all, and nothing stays.
	began := time.Now()
	w.up.signal(t, syscall.SIGINT)
	w.up.waitGone(t, 45*time.Second)
	require.NoError(t, w.up.err, "Ctrl-C is a clean end")
	// Postgres's log collector reads to the end of its pipe before it goes.
	eventually(t, 5*time.Second, "nothing is left running", func() (bool, string) {
		left := w.left()
		return len(left) == 0, fmt.Sprint(left)
	})
	figure(t, "up: Ctrl-C to all gone", "%.2f s", time.Since(began).Seconds())

	w.start()
	figure(t, "up: start after a clean end", "%.2f s", w.ready.Seconds())
	w.pay("clean")
	var n int
	w.query(&n, `select count(*) from payments where remittance like 'up-%'`)
	require.Equal(t, 5, n, "a payment was lost between two lives")
}

// pay makes one payment, which also says that the installation works.
func (w *world) pay(name string) {
	w.t.Helper()
	l := newLoad(w.t, w, "up-"+name, 1, 0, time.Second)
	require.Len(w.t, l.snapshot(), 1)
}

// killUp kills up with -9, waits until its children are gone, and returns the
// pid of Postgres.
func (w *world) killUp() int {
	w.t.Helper()
	postmaster := w.postmaster()
	children := []int{w.servePid(), childOf(w.up.pid, "sandbox")}
	killPid(w.t, w.up.pid)
	w.up.waitGone(w.t, 5*time.Second)
	took := eventually(w.t, 20*time.Second, "the children of a killed up end", func() (bool, string) {
		for _, pid := range children {
			if pid == 0 || alive(pid) {
				return false, fmt.Sprint(children)
			}
		}
		return true, ""
	})
	figure(w.t, "up: killed -9, children gone after", "%s", took.Round(time.Millisecond))
	return postmaster
}

// reassignPidFile makes the stale pid file name a living stranger.
func (w *world) reassignPidFile(pid int) {
	w.t.Helper()
	raw, err := os.ReadFile(w.pidFile())
	require.NoError(w.t, err, "a killed Postgres leaves its pid file")
	_, rest, _ := strings.Cut(string(raw), "\n")
	f, err := os.OpenFile(w.pidFile(), os.O_WRONLY|os.O_TRUNC, 0) // its owner stays
	require.NoError(w.t, err)
	_, err = fmt.Fprintf(f, "%d\n%s", pid, rest)
	require.NoError(w.t, err)
	require.NoError(w.t, f.Close())
}

// left lists the processes that work in the world's folder or were told of it.
func (w *world) left() (found []string) {
	for _, s := range processes() {
		cwd, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", s.pid)) // gone meanwhile is nowhere
		line := strings.Join(s.args, " ")
		if strings.HasPrefix(cwd, w.dir+string(filepath.Separator)) || strings.Contains(line, w.dir) || strings.Contains(line, w.listen[0]) || strings.Contains(line, w.listen[1]) {
			found = append(found, fmt.Sprintf("%d %s", s.pid, line))
		}
	}
	return found
}
