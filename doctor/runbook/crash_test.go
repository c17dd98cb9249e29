package runbook_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/runbook"
)

// A child of these tests is a runner in a process of its own, which kills itself at its
// nth boundary: after a line is on the disk, before it is told, and before and after
// what a hand does.
const (
	envDir   = "RUNBOOK_TEST_DIR"
	envStory = "RUNBOOK_TEST_STORY"
	envKill  = "RUNBOOK_TEST_KILL"
	envStop  = "RUNBOOK_TEST_STOP"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(envDir); dir != "" {
		os.Exit(child(dir))
	}
	goleak.VerifyTestMain(m)
}

// stories are runs that a crash may come into.
var stories = map[string]func() runbook.Request{
	"good": func() runbook.Request {
		q := request(step("a", "note"), step("b", "note"), step("c", "note"))
		q.Steps[1].Until = `last("busy") < 1.0`
		return q
	},
	"taken back": func() runbook.Request { return request(step("a", "note"), step("b", "note"), step("c", "broken")) },
	"contained": func() runbook.Request {
		q := request(step("a", "note"), step("b", "broken"), step("c", "note"))
		q.Phase = runbook.Contain
		return q
	},
	"approved": func() runbook.Request { return request(step("a", "heavy"), step("b", "note")) },
}

// ends are what each story leaves, however often it was broken off.
var ends = map[string][]string{
	"good": {"a", "b", "c"}, "taken back": {"a", "b", "c/undo", "b/undo", "a/undo"}, "contained": {"a", "b/undo", "c"}, "approved": {"a", "b"},
}

func child(dir string) int {
	kill, _ := strconv.Atoi(os.Getenv(envKill))
	stop, _ := strconv.Atoi(os.Getenv(envStop))
	n := 0
	boundary := func() {
		n++
		if n == kill {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		if n == stop {
			goesOn := make(chan os.Signal, 1)
			signal.Notify(goesOn, syscall.SIGCONT)
			_ = os.WriteFile(filepath.Join(dir, "stopped"), nil, 0o600)
			_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
			<-goesOn // the kernel may let this thread run on for a moment
		}
	}
	w := world{dir}
	r, err := runbook.New(runbook.Config{
		Dir: filepath.Join(dir, "runs"), Hands: append(hands(w, boundary), &hand{w: w, does: "heavy", reach: doctor.Compensable, crash: boundary}),
		Look: func() *doctor.Evidence {
			now := time.Now().Add(time.Second)
			return &doctor.Evidence{TakenAt: now, Readings: []doctor.Reading{{Hop: "postgres", Signal: doctor.Busy, Newest: &now, StepS: 1}}}
		},
		Policy: runbook.Policy{Alone: doctor.Instant},
		Person: func(_ context.Context, a runbook.Approval) (string, error) { return a.Person, nil },
		Tell: func(_, what, _ string, _ any) {
			if what == doctor.EntryWaits {
				_ = os.WriteFile(filepath.Join(dir, "waits"), nil, 0o600)
			}
		},
	})
	if err != nil {
		fmt.Println(err)
		return 2
	}
	r.OnLine(boundary)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if os.Getenv(envStory) == "approved" {
		go agree(ctx, r)
	}
	q := stories[os.Getenv(envStory)]()
	q.Wait = true
	_, err = r.Run(ctx, q)
	switch {
	case errors.Is(err, runbook.ErrBusy):
		return 3
	case errors.Is(err, runbook.ErrFenced):
		return 4
	case err != nil:
		fmt.Println(err)
		return 2
	}
	return 0
}

// agree approves what waits, once somebody has told that it does.
func agree(ctx context.Context, r *runbook.Runner) {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for ctx.Err() == nil {
		all, _ := r.Waiting()
		for _, s := range all {
			_ = r.Approve(ctx, yes(s, "ann"))
		}
		<-again.C
	}
}

func start(t *testing.T, dir, story string, env ...string) *exec.Cmd {
	t.Helper()
	cmd, err := launch(t, dir, story, env...)
	require.NoError(t, err)
	return cmd
}

func launch(t *testing.T, dir, story string, env ...string) (*exec.Cmd, error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), append(env, envDir+"="+dir, envStory+"="+story)...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd, cmd.Start()
}

func code(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

// Killed at every boundary, once and twice in a row: whoever comes after goes on where
// it ended, and does nothing twice.
func TestARunSurvivesAnyCrash(t *testing.T) {
	t.Parallel()
	for story := range stories {
		t.Run(story, func(t *testing.T) {
			t.Parallel()
			// What takes its time is to wait for a hand that fails: so many boundaries are
			// tried at once.
			const atOnce = 8
			for first, ended := 1, false; !ended; first += atOnce {
				require.Less(t, first, 100, "it never came to its end")
				var all [atOnce]crash
				var done sync.WaitGroup
				for i := range all {
					done.Go(func() { all[i] = crashed(t, t.TempDir(), story, first+i) })
				}
				done.Wait()
				for i, c := range all {
					n := first + i
					require.NoError(t, c.err, "killed at %d", n)
					require.Zero(t, c.last, "killed at %d", n)
					require.Equal(t, ends[story], c.got, "killed at %d", n)
					require.Len(t, c.runs, 1)
					require.NotEqual(t, runbook.Pending, c.runs[0].Became)
					if !c.killed {
						require.Greater(t, n, 8, "the control: it was killed at each boundary before")
					}
					ended = ended || !c.killed
				}
			}
		})
	}
}

// crash is what came of a run that was killed at a boundary.
type crash struct {
	killed bool
	last   int // the exit code of whoever came after
	got    []string
	runs   []runbook.Result
	err    error
}

// crashed has a run killed at its nth boundary, and lets others come after it.
func crashed(t *testing.T, dir, story string, n int) (c crash) {
	t.Helper()
	run := func(env ...string) int {
		cmd, err := launch(t, dir, story, env...)
		if err != nil {
			c.err = errors.Join(c.err, err)
			return -2
		}
		return code(cmd.Wait())
	}
	c.killed = run(envKill+"="+strconv.Itoa(n)) == -1
	if n%4 == 0 { // and the one who comes after it too
		_ = run(envKill + "=2")
	}
	c.last = run()
	for _, id := range (world{dir}).effects() {
		c.got = append(c.got, strings.SplitN(id, "/", 4)[3])
	}
	runs, err := runbook.Runs(filepath.Join(dir, "runs"))
	c.runs, c.err = runs, errors.Join(c.err, err)
	return c
}

func TestOneRunnerAtATime(t *testing.T) {
	t.Parallel()
	for range 3 {
		dir := t.TempDir()
		var all []*exec.Cmd
		for range 4 {
			all = append(all, start(t, dir, "good"))
		}
		for _, cmd := range all {
			require.Contains(t, []int{0, 3}, code(cmd.Wait()))
		}
		require.Len(t, world{dir}.effects(), 3)
	}
}

// A runner that stands still with the lock in its hand is taken over, and does nothing
// more when it moves again.
func TestAFrozenRunnerIsTakenOver(t *testing.T) {
	t.Parallel()
	for n := 3; n < 9; n += 2 {
		dir := t.TempDir()
		frozen := start(t, dir, "good", envStop+"="+strconv.Itoa(n))
		require.Eventually(t, func() bool { _, err := os.Stat(filepath.Join(dir, "stopped")); return err == nil }, 20*time.Second, 10*time.Millisecond)
		// The process itself says that it stands still, a moment after the file.
		require.Eventually(t, func() bool {
			raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", frozen.Process.Pid))
			return strings.Contains(string(raw), ") T ")
		}, 20*time.Second, 10*time.Millisecond)
		require.Equal(t, 3, code(start(t, dir, "good").Wait()), "it showed signs of life a moment ago")
		runs, err := filepath.Glob(filepath.Join(dir, "runs", "*.run.jsonl"))
		require.NoError(t, err)
		long := time.Now().Add(-time.Minute)
		require.NoError(t, os.Chtimes(runs[0], long, long))
		require.Zero(t, code(start(t, dir, "good").Wait()))
		require.NoError(t, frozen.Process.Signal(syscall.SIGCONT))
		require.Equal(t, 4, code(frozen.Wait()), "stopped at %d", n)
		require.Len(t, world{dir}.effects(), 3)
	}
}

// A last line that was cut off is no line; one that is damaged further up is not
// guessed over.
func TestTornAndDamagedLines(t *testing.T) {
	t.Parallel()
	s := set(t)
	s.run(t, request(step("a", "note")))
	runs, err := filepath.Glob(filepath.Join(s.cfg.Dir, "*.run.jsonl"))
	require.NoError(t, err)
	raw, err := os.ReadFile(runs[0])
	require.NoError(t, err)
	lines := strings.SplitAfter(string(raw), "\n")
	require.Len(t, lines, 7, "epoch, begin, acting, done, good, end and nothing")
	torn := strings.Join(lines[:3], "") + lines[3][:20]
	require.NoError(t, os.WriteFile(runs[0], []byte(torn), 0o600))
	require.Equal(t, runbook.Good, s.run(t, request(step("a", "note"))).Became)
	require.Len(t, s.effects(), 1)
	damaged := lines[0] + lines[1][:20] + "\n" + strings.Join(lines[2:], "")
	require.NoError(t, os.WriteFile(runs[0], []byte(damaged), 0o600))
	_, err = s.Run(t.Context(), request(step("a", "note")))
	require.ErrorContains(t, err, "damaged")
}
