// Package bench measures the wallet honestly: on a private cluster on a real
// disk, everything durable and balance-checked, the load generator a process of
// its own within the same machine, plain SQL measured beside it in the same run,
// and the books recounted after every phase. It refuses file systems that live
// in memory, figures without the load of others beside them, and a good number
// over books that do not add up. It shares no code with the pay plane: the
// committer is reached in a process of its own, which is a Ledger behind a socket,
// everything else goes over HTTP.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/internal/pgserver"
)

// Config says what to measure with which binary, and where.
type Config struct {
	// Profile is "quick" (some minutes), "full", "compare" (with plain SQL alone), "size" (with millions of payments
	// stored, and a surge), "soak", or "smoke", which runs all and measures nothing.
	Profile string
	// Moneta is the path of the binary whose serve, sandbox, key, bench-ledger and
	// bench-load commands are run as child processes.
	Moneta string
	// Migrate brings the database behind dsn to the binary's schema.
	Migrate func(ctx context.Context, dsn string) error
	// PGBench is the path of Postgres' own client, to run plain SQL with as well in
	// the ledger phases; empty leaves it out.
	PGBench string
	// Stored and Soak, above 0, are used in place of the profile's: payments in the
	// full ledger, and time under steady load.
	Stored int64
	Soak   time.Duration
	// WorkDir gets a fresh folder for the cluster, which is removed at the end;
	// empty means the current folder. It must be on a real disk.
	WorkDir string
	// Progress receives a line for each step; nil means none.
	Progress io.Writer
	// Version of the binary, for the report.
	Version string
	// Logger gets warnings of the private cluster; nil discards them.
	Logger *slog.Logger
}

// profile is how long everything takes.
type profile struct {
	rounds   int
	probe    time.Duration // one setting of the baseline
	baseline time.Duration // one round of each kind below
	ledger   time.Duration
	single   time.Duration
	batch    time.Duration
	latency  time.Duration
	life     time.Duration
	patience time.Duration // for a quiet moment before a round
	accounts int           // of the ledger phases
	wallets  int           // of the API phases
	stored   int64         // payments in the full ledger
	growth   time.Duration // one round of it, and of the empty one
	storm    time.Duration // before it: the whole pages that a checkpoint makes the log pay for
	reads    time.Duration // one kind of reading
	calm     time.Duration // peak, and half of it, before a surge
	surge    time.Duration // ten times the peak
	after    time.Duration // half of it again
	soak     time.Duration // steady load
}

// smoke runs everything once over, to see that it runs: its counts are true, its
// figures mean nothing and are not judged.
const smoke = "smoke"

var profiles = map[string]profile{
	smoke: {
		rounds: 1, probe: 100 * time.Millisecond, baseline: 200 * time.Millisecond, ledger: 300 * time.Millisecond,
		single: 300 * time.Millisecond, batch: 300 * time.Millisecond, latency: 300 * time.Millisecond, life: 500 * time.Millisecond,
		accounts: 1_000, wallets: 200,
		stored: 5_000, growth: 500 * time.Millisecond, storm: 300 * time.Millisecond, reads: 100 * time.Millisecond,
		calm: 300 * time.Millisecond, surge: 500 * time.Millisecond, after: 2 * time.Second, soak: 3 * time.Second,
	},
	// compare is the ledger beside plain SQL and nothing else.
	"compare": {rounds: 3, probe: 2 * time.Second, baseline: 8 * time.Second, ledger: 8 * time.Second, accounts: 100_000},
	"size": {
		rounds: 3, accounts: 100_000, wallets: 10_000, patience: 10 * time.Second,
		stored: 5_000_000, growth: 40 * time.Second, storm: 8 * time.Second, reads: 3 * time.Second,
		calm: 5 * time.Second, surge: 15 * time.Second, after: 30 * time.Second,
	},
	"soak": {rounds: 1, wallets: 10_000, soak: 30 * time.Minute},
	"quick": {
		rounds: 3, probe: 2 * time.Second, baseline: 4 * time.Second, ledger: 5 * time.Second,
		single: 4 * time.Second, batch: 4 * time.Second, latency: 4 * time.Second, life: 2 * settleCycle,
		accounts: 100_000, wallets: 10_000,
	},
	"full": {
		rounds: 3, probe: 5 * time.Second, baseline: 15 * time.Second, ledger: 30 * time.Second,
		single: 20 * time.Second, batch: 20 * time.Second, latency: 20 * time.Second, life: 3 * settleCycle,
		patience: 30 * time.Second, accounts: 100_000, wallets: 10_000,
	},
}

// Bounds of a run.
const (
	runMax  = 60 * time.Minute // and the soak
	stopMax = time.Minute
)

// run is one measurement under way.
type run struct {
	cfg     Config
	profile profile
	dir     string
	server  *pgserver.Server
	report  *Report
	began   time.Time
	loads   int // plans written
	planes  int // started
	yard    yard

	mu   sync.Mutex
	died []string // children that ended unasked
}

// Run measures everything and returns the report; its Problems tell whether the
// floors held. The error is for a run that could not be finished; the report
// then holds what was measured before.
func Run(ctx context.Context, cfg Config) (report *Report, err error) {
	p, ok := profiles[cfg.Profile]
	if !ok {
		return nil, fmt.Errorf("bench: profile %q is unknown: use quick, full, compare, size, soak or smoke", cfg.Profile)
	}
	if cfg.Stored > 0 && p.stored > 0 {
		p.stored = cfg.Stored
	}
	if cfg.Soak > 0 {
		p.soak = cfg.Soak
	}
	if cfg.Progress == nil {
		cfg.Progress = io.Discard
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.WorkDir == "" {
		cfg.WorkDir = "."
	}
	ctx, cancel := context.WithTimeout(ctx, runMax+p.soak)
	defer cancel()
	r := &run{cfg: cfg, profile: p, began: time.Now()}
	if err := r.folder(); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.dir)) }()
	if r.report, err = r.describe(ctx); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	if err = r.withCluster(ctx); err != nil {
		err = fmt.Errorf("bench: %w", err)
		r.report.Faults = append(r.report.Faults, err.Error())
	}
	r.mu.Lock()
	r.report.Faults = append(r.report.Faults, r.died...)
	r.mu.Unlock()
	r.report.finish(time.Since(r.began))
	return r.report, err
}

// folder makes the fresh folder, after a look at what it would stand on.
func (r *run) folder() error {
	work, err := filepath.Abs(r.cfg.WorkDir)
	if err != nil {
		return err
	}
	if err := refuseMemory(work); err != nil {
		return err
	}
	if err := os.MkdirAll(work, 0o755); err != nil {
		return err
	}
	// The private cluster may run under another user, who must reach the folder.
	if r.dir, err = os.MkdirTemp(work, "bench-"); err != nil {
		return err
	}
	return os.Chmod(r.dir, 0o755)
}

// describe starts the report with what does not change during the run.
func (r *run) describe(ctx context.Context) (*Report, error) {
	rep := &Report{
		Profile: r.cfg.Profile, Version: r.cfg.Version, Commit: buildCommit(), StartedAt: r.began.UTC().Truncate(time.Second),
		Machine: describeMachine(r.dir), Generator: "Go, a process of its own (moneta bench-load)",
		Baseline: "Go and pgx over the unix socket, one transaction a transfer",
	}
	r.say("disk: %s on %s", rep.Machine.Filesystem, r.dir)
	rate, err := fsyncRate(ctx, r.dir, time.Second)
	if err != nil {
		return nil, fmt.Errorf("measure the disk: %w", err)
	}
	rep.FsyncPerS = rounded(rate)
	r.say("disk: %.0f durable 8 kB writes a second", rate)
	return rep, nil
}

// withCluster runs the phases on a private cluster and stops it.
func (r *run) withCluster(ctx context.Context) (err error) {
	r.say("starting a private Postgres")
	r.server, err = pgserver.Start(ctx, pgserver.Config{
		DataDir: filepath.Join(r.dir, "pg"), Logger: r.cfg.Logger,
		Databases: []string{baselineDB, sameRowsDB, ledgerDB, grownDB},
	})
	if err != nil {
		return err
	}
	defer func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopMax)
		defer cancel()
		err = errors.Join(err, r.server.Stop(stop))
	}()
	r.report.Machine.Postgres = r.server.Version()
	for _, s := range r.server.Settings() {
		r.report.Settings = append(r.report.Settings, Setting{s.Name, s.Value})
	}
	return r.phases(ctx)
}

// phases runs what the profile has time for.
func (r *run) phases(ctx context.Context) error {
	for _, part := range []struct {
		wanted bool
		work   func(context.Context) error
	}{
		{r.profile.baseline > 0, r.ledgerPhases},
		{r.profile.single > 0, r.planePhases},
		{r.profile.growth > 0, r.growthPhases},
		{r.profile.reads > 0, r.readPhases},
		{r.profile.surge > 0, r.surgePhases},
		{r.profile.soak > 0, r.soakPhases},
	} {
		if !part.wanted {
			continue
		}
		if err := part.work(ctx); err != nil {
			return err
		}
	}
	return nil
}

// say writes one line of progress; a lost line is no reason to stop.
func (r *run) say(format string, args ...any) {
	_, _ = fmt.Fprintf(r.cfg.Progress, "%4.0fs  %s\n", time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
}

func cores() int { return runtime.NumCPU() }
