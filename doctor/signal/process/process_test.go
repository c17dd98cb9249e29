package process_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/signal/process"
	"github.com/moneta-pay/moneta/internal/clock"
)

// beThePatient makes this binary burn a processor until it is ended.
const beThePatient = "--be-the-patient"

func TestMain(m *testing.M) {
	if slices.Contains(os.Args, beThePatient) {
		for began := time.Now(); time.Since(began) < time.Minute; {
			_ = began
		}
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

type patient struct{ *exec.Cmd }

// start begins a process of ours that is known by its name.
func start(t *testing.T, name string) *patient {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, "serve", "--state", name, beThePatient)
	require.NoError(t, cmd.Start())
	p := &patient{cmd}
	t.Cleanup(p.end)
	return p
}

func (p *patient) end() {
	_ = p.Process.Signal(syscall.SIGCONT)
	_ = p.Process.Kill()
	_ = p.Wait()
}

func find(l doctor.Look, hop string, signal doctor.Signal, statistic string) (doctor.Point, bool) {
	for _, p := range l.Points {
		if p.Hop == hop && p.Signal == signal && p.Statistic == statistic {
			return p, true
		}
	}
	return doctor.Point{}, false
}

// until looks until the signal of serve is as wanted.
func until(t *testing.T, c *process.Collector, signal doctor.Signal, want func(float64) bool) doctor.Point {
	t.Helper()
	var got doctor.Point
	require.Eventually(t, func() bool {
		l, _ := c.Look(t.Context()) // between two lives there is none
		p, ok := find(l, doctor.HopServe, signal, "")
		got = p
		return ok && want(p.Value)
	}, 20*time.Second, 20*time.Millisecond, "%s, last %+v", signal, &got)
	return got
}

func one(v float64) bool  { return v == 1 }
func zero(v float64) bool { return v == 0 }

// none says that there is no such process, and that it tells nothing of itself.
func none(l doctor.Look) bool {
	_, told := find(l, doctor.HopServe, doctor.Uptime, "")
	p, ok := find(l, doctor.HopServe, doctor.Restarts, "")
	return ok && !told && p.Detail["pid"] == "none"
}

// requireNone: that it is not there is an answer and no failure, or who looks waits
// longer each time, and misses the short lives of one that dies again and again.
func requireNone(t *testing.T, c *process.Collector) {
	t.Helper()
	l, err := c.Look(t.Context())
	require.NoError(t, err)
	require.True(t, none(l))
}

func TestProcessIsSeenThroughItsLives(t *testing.T) {
	t.Parallel()
	name := t.TempDir()
	c := process.New(process.Config{Match: process.Serve(name)})
	requireNone(t, c)

	first := start(t, name)
	until(t, c, doctor.Restarts, zero)
	until(t, c, doctor.Suspended, zero)
	require.Less(t, until(t, c, doctor.Uptime, func(float64) bool { return true }).Value, 60.0)
	until(t, c, doctor.CPU, func(v float64) bool { return v > 0.05 })
	l, err := c.Look(t.Context())
	require.NoError(t, err)
	rss, ok := find(l, doctor.HopServe, doctor.Memory, "rss")
	require.True(t, ok)
	require.Greater(t, rss.Value, 0.0)
	require.Less(t, rss.Value, 1.0)

	require.NoError(t, first.Process.Signal(syscall.SIGSTOP))
	frozen := until(t, c, doctor.Suspended, one)
	require.Equal(t, "T", frozen.Detail["state"])
	require.NoError(t, first.Process.Signal(syscall.SIGCONT))
	until(t, c, doctor.Suspended, zero)

	// It dies and is started again: one restart, not two.
	first.end()
	require.Eventually(t, func() bool { l, err := c.Look(t.Context()); return err == nil && none(l) }, 10*time.Second, 10*time.Millisecond)
	start(t, name)
	until(t, c, doctor.Restarts, one)
	again, err := c.Look(t.Context())
	require.NoError(t, err)
	p, _ := find(again, doctor.HopServe, doctor.Restarts, "")
	require.InDelta(t, 1, p.Value, 0)
}

func TestAnotherServeIsNotOurs(t *testing.T) {
	t.Parallel()
	start(t, t.TempDir())
	requireNone(t, process.New(process.Config{Match: process.Serve(t.TempDir())}))
	require.False(t, process.Serve("x")([]string{"moneta", "watch", "--state", "x"}))
	require.True(t, process.Serve("x")([]string{"moneta", "serve", "--state=x"}))
}

func TestDisks(t *testing.T) {
	t.Parallel()
	now := clock.NewManual(time.Unix(1_000, 0))
	c := process.New(process.Config{Clock: now, Disks: []process.Disk{
		{Hop: doctor.HopServe, Kind: doctor.Service, Folder: t.TempDir()},
		{Hop: doctor.HopPostgres, Kind: doctor.Database, Folder: t.TempDir(), Flush: true},
	}})
	l, err := c.Look(t.Context())
	require.NoError(t, err)
	free, ok := find(l, doctor.HopServe, doctor.DiskFree, "")
	require.True(t, ok)
	require.Greater(t, free.Value, 0.0)
	_, ok = find(l, doctor.HopPostgres, doctor.DiskFree, "")
	require.False(t, ok, "a database tells of its own disk")
	_, ok = find(l, doctor.HopPostgres, doctor.FlushTime, "")
	require.True(t, ok)
	// Every second look flushes: it must cost little.
	now.Advance(time.Second)
	l, err = c.Look(t.Context())
	require.NoError(t, err)
	_, ok = find(l, doctor.HopPostgres, doctor.FlushTime, "")
	require.False(t, ok)
}

func TestDiskThatIsNotThere(t *testing.T) {
	t.Parallel()
	c := process.New(process.Config{Disks: []process.Disk{{Hop: "x", Kind: doctor.Service, Folder: filepath.Join(t.TempDir(), "no")}}})
	_, err := c.Look(context.Background())
	require.Error(t, err)
}

// What the kernel says is read as it says it; the figures are made up.
func TestKernelsWords(t *testing.T) {
	t.Parallel()
	proc, groups := t.TempDir(), t.TempDir()
	write := func(folder, name, text string) {
		path := filepath.Join(folder, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	// A process may call itself ") R 1": only the last bracket ends its name.
	stat := func(state, ticks string) string {
		return "42 (a ) R 1) " + state + " 1 1 1 0 -1 0 0 0 0 0 " + ticks + " 0 0 0 20 0 9 0 5000 1000 25 0\n"
	}
	write(proc, "42/cmdline", "moneta\x00serve\x00")
	write(proc, "42/cgroup", "0::/pay\n")
	write(proc, "uptime", "80.50 10.0\n")
	write(proc, "meminfo", "MemTotal:  1024 kB\n")
	write(groups, "pay/memory.max", "204800\n")
	write(groups, "pay/cpu.max", "50000 100000\n")
	now := clock.NewManual(time.Unix(1_000, 0))
	c := process.New(process.Config{Match: process.Serve(""), Proc: proc, Cgroup: groups, Clock: now})
	look := func(state, ticks, throttled string, some string) doctor.Look {
		write(proc, "42/stat", stat(state, ticks))
		write(groups, "pay/cpu.stat", throttled)
		write(proc, "stat", some)
		l, err := c.Look(t.Context())
		require.NoError(t, err)
		now.Advance(time.Second)
		return l
	}
	write(proc, "42/task/42/schedstat", "1000000000 2000000000 7\n")
	write(proc, "42/task/43/schedstat", "1000000000 0 7\n")
	look("S", "100", "nr_periods 10\nnr_throttled 0\n", "cpu 100 0 100 800 0 0 0 0 0 0\n")
	write(proc, "42/task/42/schedstat", "1100000000 2300000000 9\n")
	write(proc, "42/task/44/schedstat", "9000000000 9000000000 9\n") // a thread that is new
	require.NoError(t, os.RemoveAll(filepath.Join(proc, "42/task/43")))
	l := look("t", "120", "nr_periods 20\nnr_throttled 5\n", "cpu 160 0 100 840 0 0 0 0 0 0\n")
	for signal, want := range map[doctor.Signal]float64{
		doctor.Suspended: 1,
		doctor.Uptime:    30.5,
		doctor.Throttled: 0.5, doctor.Starved: 0.75,
		doctor.CPU: 0.4, // 20 ticks are 0.2 s of the half a processor that it may have
	} {
		p, ok := find(l, doctor.HopServe, signal, "")
		require.True(t, ok, signal)
		require.InDelta(t, want, p.Value, 0.001, signal)
	}
	rss, _ := find(l, doctor.HopServe, doctor.Memory, "rss")
	require.InDelta(t, 25*float64(os.Getpagesize())/204800, rss.Value, 0.001)
	all, _ := find(l, doctor.HopServe, doctor.CPU, "machine")
	require.InDelta(t, 0.6, all.Value, 0.001)
}
