// Package process watches one process of this machine from outside, and the disks that
// it and the database stand on: whether it runs, is stopped or was started anew, what
// share of the processors and of the memory it takes, and how long a flush to a disk
// lasts. It reads /proc and writes one small file to each disk that it is told to measure;
// it refuses to signal, to trace and to open anything of the process itself, so that one
// that is frozen is seen like any other.
//
// What it costs: a look reads six files of /proc and one a thread, 0.5 ms, and every second look flushes
// 8 kB to each disk. The process is looked for among all of the machine only when it is
// not where it was.
package process

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/disk"
)

// Every is the time between two looks.
const Every = time.Second

const (
	// flushEvery is how many looks lie between two flushes.
	flushEvery = 2
	// flushWait is how long a look waits for a flush; one that takes longer is told as far
	// as it has come, and waited for in the next.
	flushWait = 400 * time.Millisecond
	// flushFile is what is flushed, in each folder.
	flushFile = "flush.probe"
)

// Disk is a disk under some hop.
type Disk struct {
	// Hop that stands on it, and the Folder by which it is reached.
	Hop, Folder string
	// Kind of the hop.
	Kind doctor.Kind
	// Flush says that its flushes are measured, by a file in Folder.
	Flush bool
}

// Config says what to watch.
type Config struct {
	// Hop is the process's name on the road; empty is doctor.HopServe.
	Hop string
	// Match reports whether a process with these arguments is the one; nil watches none.
	Match func(args []string) bool
	Disks []Disk
	// Clock tells the time; nil means the system's.
	Clock clock.Clock
	// Proc and Cgroup are where the kernel tells; empty is /proc and /sys/fs/cgroup.
	Proc, Cgroup string
}

// Serve matches `moneta serve` with this --state folder, or any when it is empty.
func Serve(state string) func(args []string) bool {
	return func(args []string) bool {
		return len(args) > 1 && args[1] == "serve" && (state == "" || slices.Contains(args, state) || slices.Contains(args, "--state="+state))
	}
}

// Collector watches the process. Its Look must not be called twice at once.
type Collector struct {
	cfg    Config
	proc   procfs
	found  *life
	last   usage
	lastAt time.Time
	starts int
	io     stall
	busy   machine
	disks  []*watched
	looks  int
}

type watched struct {
	Disk
	trend disk.Trend
	began time.Time // of the flush that is under way; zero when none is
	done  chan flushed
}

type flushed struct {
	took time.Duration
	err  error
}

// New returns a collector that has not looked yet.
func New(cfg Config) *Collector {
	if cfg.Hop == "" {
		cfg.Hop = doctor.HopServe
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	if cfg.Proc == "" {
		cfg.Proc = "/proc"
	}
	if cfg.Cgroup == "" {
		cfg.Cgroup = "/sys/fs/cgroup"
	}
	c := &Collector{cfg: cfg, proc: procfs{cfg.Proc, cfg.Cgroup}}
	for _, d := range cfg.Disks {
		c.disks = append(c.disks, &watched{Disk: d, done: make(chan flushed, 1)})
	}
	return c
}

// Name of the collector.
func (*Collector) Name() string { return "process" }

// Every is the package's.
func (*Collector) Every() time.Duration { return Every }

// Look returns how the process and the disks are. A process that is not there is told:
// nobody looks for it elsewhere.
func (c *Collector) Look(ctx context.Context) (doctor.Look, error) {
	l := &look{at: c.cfg.Clock.Now()}
	l.Hops = append(l.Hops, doctor.Hop{Name: c.cfg.Hop, Kind: doctor.Service})
	var err error
	if c.cfg.Match != nil {
		err = c.process(ctx, l)
	}
	c.machine(l)
	for _, d := range c.disks {
		l.Hops = append(l.Hops, doctor.Hop{Name: d.Hop, Kind: d.Kind})
		err = errors.Join(err, c.disk(ctx, l, d))
	}
	c.looks++
	return l.Look, err
}

type look struct {
	doctor.Look
	at time.Time
}

func (l *look) tell(hop string, signal doctor.Signal, statistic string, value float64, source string, detail map[string]string) {
	l.Points = append(l.Points, doctor.Point{
		Hop: hop, Signal: signal, Statistic: statistic, Value: max(value, 0), At: l.at, Source: source, Detail: detail,
	})
}

// process finds it, or finds it again, and tells how it is.
func (c *Collector) process(ctx context.Context, l *look) error {
	if c.found != nil && !c.proc.same(c.found) {
		c.found = nil
	}
	if c.found == nil {
		found, err := c.proc.find(ctx, c.cfg.Match)
		if err != nil {
			return err
		}
		if found == nil {
			c.last = usage{}
			// That it is not there is an answer: who looks seldom for it misses the short lives of
			// one that dies again and again. What it would tell of itself is missing, and says so.
			l.tell(c.cfg.Hop, doctor.Restarts, "", float64(max(c.starts-1, 0)), "/proc", map[string]string{"pid": "none"})
			return nil
		}
		c.found, c.last = found, usage{}
		c.starts++
	}
	u, err := c.proc.usage(c.found.pid)
	if err != nil {
		return err
	}
	pid := strconv.Itoa(c.found.pid)
	detail := map[string]string{"pid": pid, "state": u.state}
	source := filepath.Join("/proc", pid, "stat")
	l.tell(c.cfg.Hop, doctor.Suspended, "", yes(u.state == "T" || u.state == "t"), source, detail)
	// The first start is the one that was found; those after it are told.
	l.tell(c.cfg.Hop, doctor.Restarts, "", float64(c.starts-1), source, detail)
	l.tell(c.cfg.Hop, doctor.Uptime, "", c.proc.uptime(c.found).Seconds(), source, detail)
	c.shares(l, &u, source, detail)
	c.last, c.lastAt = u, l.at
	return nil
}

// shares tells what it takes of the processors and the memory that it may have.
func (c *Collector) shares(l *look, u *usage, source string, detail map[string]string) {
	limit := c.proc.limits(c.found.pid)
	if limit.memory > 0 {
		l.tell(c.cfg.Hop, doctor.Memory, "rss", float64(u.rss)/float64(limit.memory), source, detail)
	}
	took := l.at.Sub(c.lastAt).Seconds()
	if c.last.state == "" || took <= 0 {
		return
	}
	cores := float64(runtime.NumCPU())
	if limit.cores > 0 {
		cores = min(cores, limit.cores)
	}
	l.tell(c.cfg.Hop, doctor.CPU, "", (u.cpu-c.last.cpu).Seconds()/took/cores, source, detail)
	if share, ok := starved(u.threads, c.last.threads); ok {
		l.tell(c.cfg.Hop, doctor.Starved, "", share, filepath.Join(filepath.Dir(source), "task/*/schedstat"), detail)
	}
	if periods := u.periods - c.last.periods; u.hasQuota {
		share := 0.0
		if periods > 0 {
			share = float64(u.throttled-c.last.throttled) / float64(periods)
		}
		l.tell(c.cfg.Hop, doctor.Throttled, "", share, "cpu.stat", detail)
	} else {
		l.tell(c.cfg.Hop, doctor.Throttled, "", 0, "cpu.stat: no quota", detail)
	}
}

// machine tells what all processes together take: one that is starved is not the one
// that is busy.
func (c *Collector) machine(l *look) {
	now, err := c.proc.machine()
	if err != nil {
		return // another system than Linux; the points are missing and say so
	}
	if c.busy.total > 0 && now.total > c.busy.total {
		all := float64(now.total - c.busy.total)
		l.tell(c.cfg.Hop, doctor.CPU, "machine", 1-float64(now.idle-c.busy.idle)/all, "/proc/stat", nil)
	}
	c.busy = now
}

func (c *Collector) disk(ctx context.Context, l *look, d *watched) error {
	u, err := disk.Of(d.Folder)
	if err != nil {
		return err
	}
	source := "statfs " + d.Folder
	detail := map[string]string{"free_bytes": strconv.FormatInt(u.Free, 10)}
	if !c.toldByItself(d) {
		l.tell(d.Hop, doctor.DiskFree, "", u.FreeShare(), source, detail)
		l.tell(d.Hop, doctor.DiskFullIn, "", d.trend.Note(l.at, u.Free).Seconds(), source, detail)
	}
	if share, ok := c.proc.ioStall(&c.io, l.at); ok {
		for _, one := range c.disks { // the kernel tells of all disks together
			l.tell(one.Hop, doctor.IOWait, "", share, "/proc/pressure/io", nil)
		}
	}
	if !d.Flush {
		return nil
	}
	return c.flush(ctx, l, d)
}

// toldByItself: a database tells of its own disk, from inside.
func (c *Collector) toldByItself(d *watched) bool { return d.Kind == doctor.Database }

// flush measures one flush. One that lasts is told as long as it has lasted so far, and
// no second one is begun meanwhile.
func (c *Collector) flush(ctx context.Context, l *look, d *watched) error {
	source := "8 kB and fsync in " + d.Folder
	now := c.cfg.Clock.Now
	if d.began.IsZero() {
		if c.looks%flushEvery != 0 {
			return nil
		}
		d.began = now()
		go func() { // it ends with the flush, which nobody can end sooner
			took, err := disk.Flush(d.Folder, flushFile, now)
			d.done <- flushed{took, err}
		}()
	}
	wait := time.NewTimer(flushWait)
	defer wait.Stop()
	select {
	case f := <-d.done:
		d.began = time.Time{}
		if f.err != nil {
			return f.err
		}
		l.tell(d.Hop, doctor.FlushTime, "", f.took.Seconds(), source, nil)
	case <-wait.C:
		l.tell(d.Hop, doctor.FlushTime, "", now().Sub(d.began).Seconds(), source, map[string]string{"state": "under way"})
	case <-ctx.Done():
	}
	return nil
}

func yes(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
