package repair_test

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/repair"
)

// child is a process of the test's own, whose first argument names it as up's children
// are named.
func child(t *testing.T, name, script string) *exec.Cmd {
	t.Helper()
	// sh -c puts what follows the script into $0 and $1: the kernel shows sh's own
	// arguments, so that the name comes first by a link to the shell.
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(dir+"/"+name, []byte(script), 0o600))
	cmd := exec.Command("/bin/sh", name)
	cmd.Dir = dir
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

func restart(supervisor int) doctor.Hand {
	return repair.Restart(repair.Processes{Supervisor: supervisor, Names: map[string]string{"serve": "serve"}, Grace: 2 * time.Second})
}

func toServe(pid int) doctor.Act {
	a := doctor.Act{ID: "r", Do: doctor.DoRestartProcess, Aim: "serve", At: time.Now().Add(2 * time.Second)}
	if pid > 0 {
		a.With = map[string]string{"pid": strconv.Itoa(pid)}
	}
	return a
}

func alive(pid int) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(raw), ") Z ")
}

func TestAFrozenChildIsKilled(t *testing.T) {
	t.Parallel()
	c := child(t, "serve", `while :; do sleep 0.1; done`)
	pid := c.Process.Pid
	require.NoError(t, c.Process.Signal(syscall.SIGSTOP))
	require.Eventually(t, func() bool {
		raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return strings.Contains(string(raw), ") T ")
	}, 10*time.Second, 10*time.Millisecond)
	h := restart(os.Getpid())
	dry, err := h.Try(t.Context(), toServe(pid))
	require.NoError(t, err)
	require.Contains(t, dry.Before, "stands still")
	require.True(t, alive(pid))
	did, err := h.Act(t.Context(), toServe(pid))
	require.NoError(t, err)
	require.Equal(t, "ended by SIGKILL", did.After)
	require.False(t, alive(pid))
	_ = c.Wait()
	again, err := h.Act(t.Context(), toServe(pid))
	require.NoError(t, err)
	require.True(t, again.Nothing)
}

func TestOneThatRunsMayEndCleanly(t *testing.T) {
	t.Parallel()
	for how, script := range map[string]string{
		"SIGTERM": `trap 'exit 0' TERM; echo > ready; while :; do sleep 0.05; done`, "SIGKILL": `trap '' TERM; echo > ready; while :; do sleep 0.05; done`,
	} {
		c := child(t, "serve", script)
		require.Eventually(t, func() bool { _, err := os.Stat(c.Dir + "/ready"); return err == nil }, 10*time.Second, 10*time.Millisecond)
		did, err := restart(os.Getpid()).Act(t.Context(), toServe(c.Process.Pid))
		require.NoError(t, err)
		require.Equal(t, "ended by "+how, did.After)
		require.False(t, alive(c.Process.Pid))
	}
}

// Only a child that somebody starts again, and that was there when it was asked for.
func TestWhichProcessesAreLeftAlone(t *testing.T) {
	t.Parallel()
	c := child(t, "serve", `while :; do sleep 0.1; done`)
	other := child(t, "postgres", `while :; do sleep 0.1; done`)
	h := restart(os.Getpid())
	for what, f := range map[string]func() (doctor.Change, error){
		"another child":          func() (doctor.Change, error) { return h.Act(t.Context(), toServe(other.Process.Pid)) },
		"ourselves":              func() (doctor.Change, error) { return h.Act(t.Context(), toServe(os.Getpid())) },
		"without a supervisor":   func() (doctor.Change, error) { return restart(0).Act(t.Context(), toServe(c.Process.Pid)) },
		"of another supervisor":  func() (doctor.Change, error) { return restart(os.Getppid()).Act(t.Context(), toServe(c.Process.Pid)) },
		"the first of them all":  func() (doctor.Change, error) { return h.Act(t.Context(), toServe(1)) },
		"one that is not listed": func() (doctor.Change, error) { return h.Act(t.Context(), doctor.Act{Aim: "postgres"}) },
	} {
		_, err := f()
		require.Error(t, err, what)
		require.True(t, alive(c.Process.Pid), what)
		require.True(t, alive(other.Process.Pid), what)
	}
	late := toServe(c.Process.Pid)
	late.At = time.Now().Add(-time.Minute)
	change, err := h.Act(t.Context(), late)
	require.NoError(t, err)
	require.True(t, change.Nothing, "it was started again since: an act that is repeated after a crash ends nothing twice")
	require.True(t, alive(c.Process.Pid))
}
