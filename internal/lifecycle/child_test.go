package lifecycle

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

const envRole = "LIFECYCLE_TEST_ROLE"

// TestMain lets the test binary play every process of these stories.
func TestMain(m *testing.M) {
	switch role := os.Getenv(envRole); role {
	case "":
		goleak.VerifyTestMain(m)
	case "obedient":
		fmt.Println("up")
		idle()
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("up")
		idle()
	case "crashing":
		os.Exit(7)
	case "watching": // ignores the kernel's word and relies on the pipe
		signal.Ignore(syscall.SIGTERM)
		gone := ParentDone()
		fmt.Println("up")
		<-gone
		os.Exit(0)
	case "parent-of-obedient", "parent-of-watching":
		c := NewChild(ChildConfig{
			Name: "grandchild", Path: os.Args[0], Stdout: os.Stdout, Logger: silent(),
			Env: append(os.Environ(), envRole+"="+strings.TrimPrefix(role, "parent-of-")),
		})
		if err := c.Start(context.Background()); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("pid", c.Pid())
		idle()
	}
}

// idle outlasts every test. A bare select{} would not: without cgo, as on a
// machine that has no C compiler, the runtime sees a deadlock and exits with 2.
func idle() { <-time.NewTimer(time.Hour).C }

func silent() *slog.Logger { return slog.New(slog.DiscardHandler) }

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// child returns a child in the role, its events, and a reader of its output.
func child(t *testing.T, role string, change func(*ChildConfig)) (*Child, chan ChildEvent, *bufio.Scanner) {
	t.Helper()
	out, in, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { _ = out.Close(); _ = in.Close() })
	events := make(chan ChildEvent, 100)
	cfg := ChildConfig{
		Name: role, Path: os.Args[0], Env: append(os.Environ(), envRole+"="+role), Stdout: in,
		Logger: silent(), OnEvent: func(e ChildEvent) { events <- e }, Backoff: Backoff{First: time.Millisecond, Max: 5 * time.Millisecond},
	}
	if change != nil {
		change(&cfg)
	}
	c := NewChild(cfg)
	t.Cleanup(func() { require.NoError(t, c.Stop(within(t, 20*time.Second))) })
	return c, events, bufio.NewScanner(out)
}

func await(t *testing.T, events <-chan ChildEvent, kind ChildEventKind) ChildEvent {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		select {
		case e := <-events:
			if e.Kind == kind {
				return e
			}
		case <-limit:
			require.FailNow(t, "no event", "%s", kind)
		}
	}
}

func TestChildIsRestartedAfterKill(t *testing.T) {
	c, events, out := child(t, "obedient", nil)
	require.NoError(t, c.Start(within(t, 20*time.Second)))
	require.ErrorIs(t, c.Start(within(t, time.Second)), ErrStarted)
	first := await(t, events, ChildStarted).Pid
	require.True(t, out.Scan())
	require.NoError(t, syscall.Kill(first, syscall.SIGKILL))
	e := await(t, events, ChildExited)
	require.Equal(t, first, e.Pid)
	require.ErrorContains(t, e.Err, "killed")
	require.NotEqual(t, first, await(t, events, ChildStarted).Pid)
	require.Equal(t, 1, c.Restarts())
	require.NoError(t, c.Stop(within(t, 20*time.Second)))
	await(t, events, ChildStopped)
	require.NoError(t, c.Stop(within(t, time.Second)))
	require.Zero(t, c.Pid())
	require.NoError(t, c.Err())
}

func TestStubbornChildIsKilledAfterGrace(t *testing.T) {
	c, events, out := child(t, "stubborn", func(cfg *ChildConfig) { cfg.Grace = 50 * time.Millisecond })
	require.NoError(t, c.Start(within(t, 20*time.Second)))
	require.True(t, out.Scan())
	require.NoError(t, c.Stop(within(t, 20*time.Second)))
	require.ErrorContains(t, await(t, events, ChildStopped).Err, "killed")
}

func TestStopObeysItsContext(t *testing.T) {
	c, _, out := child(t, "stubborn", func(cfg *ChildConfig) { cfg.Grace = time.Hour })
	require.NoError(t, c.Start(within(t, 20*time.Second)))
	require.True(t, out.Scan())
	began := time.Now()
	require.NoError(t, c.Stop(within(t, 50*time.Millisecond)))
	require.Less(t, time.Since(began), 10*time.Second)
}

func TestCrashingChildIsGivenUp(t *testing.T) {
	c, events, _ := child(t, "crashing", func(cfg *ChildConfig) { cfg.Backoff.Limit = 3 })
	require.NoError(t, c.Start(within(t, 20*time.Second)))
	e := await(t, events, ChildGaveUp)
	require.ErrorIs(t, e.Err, ErrGaveUp)
	require.ErrorContains(t, e.Err, "exit status 7")
	<-c.Done()
	require.ErrorIs(t, c.Err(), ErrGaveUp)
	require.Equal(t, 3, c.Restarts())
}

func TestChildThatCannotStart(t *testing.T) {
	c, _, _ := child(t, "obedient", func(cfg *ChildConfig) { cfg.Path = "/nonexistent" })
	require.ErrorIs(t, c.Start(within(t, 20*time.Second)), os.ErrNotExist)
	<-c.Done()
}

func TestStopBeforeStart(t *testing.T) {
	c, _, _ := child(t, "obedient", nil)
	require.NoError(t, c.Stop(within(t, time.Second)))
	require.ErrorIs(t, c.Start(within(t, time.Second)), ErrStarted)
}

// TestChildEndsWithItsParent kills the parent without warning: the kernel's
// signal ends one child, the pipe the other, which ignores the signal.
func TestChildEndsWithItsParent(t *testing.T) {
	for _, role := range []string{"obedient", "watching"} {
		t.Run(role, func(t *testing.T) {
			parent := exec.Command(os.Args[0])
			parent.Env = append(os.Environ(), envRole+"=parent-of-"+role)
			out, err := parent.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, parent.Start())
			lines := bufio.NewScanner(out)
			pid, up := 0, false
			for (pid == 0 || !up) && lines.Scan() {
				if n, ok := strings.CutPrefix(lines.Text(), "pid "); ok {
					pid, err = strconv.Atoi(n)
					require.NoError(t, err)
				}
				up = up || lines.Text() == "up"
			}
			require.NotZero(t, pid)
			require.NoError(t, parent.Process.Kill())
			closed := make(chan struct{})
			go func() { _, _ = io.Copy(io.Discard, out); close(closed) }() // ends when the last holder of the output has
			select {
			case <-closed:
			case <-time.After(20 * time.Second):
				_ = syscall.Kill(pid, syscall.SIGKILL)
				require.FailNow(t, "the child outlived its parent")
			}
			_ = parent.Wait()
		})
	}
}
