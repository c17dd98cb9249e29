package bench

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// transferSQL is plain SQL's transfer as a script for pgbench.
//
//go:embed transfer.sql
var transferSQL string

// pgbenchJobs is how many threads pgbench works with.
const pgbenchJobs = 2

// pgbench has Postgres' own client transfer in the baseline's tables.
func (b *baseline) pgbench(ctx context.Context, r *run, connections int, during time.Duration) (acked int64, took time.Duration, err error) {
	path := filepath.Join(r.dir, "transfer.sql")
	if err := os.WriteFile(path, []byte(transferSQL), 0o600); err != nil {
		return 0, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, during+2*answerMax)
	defer cancel()
	seconds := max(1, int(during.Round(time.Second)/time.Second))
	cmd := exec.CommandContext(ctx, r.cfg.PGBench, "--no-vacuum", "--protocol=prepared", //nolint:gosec // the user named it
		"--client="+strconv.Itoa(connections), "--jobs="+strconv.Itoa(pgbenchJobs), "--time="+strconv.Itoa(seconds),
		"--define=accounts="+strconv.Itoa(b.plan.Accounts), "--file="+path, b.plan.DSN)
	out, err := cmd.Output()
	if err != nil {
		return 0, 0, fmt.Errorf("pgbench: %w: %s", err, stderrOf(err))
	}
	acked, took, err = parsePGBench(out)
	b.acked += acked
	return acked, took, err
}

var (
	pgbenchDone = regexp.MustCompile(`(?m)^number of transactions actually processed: (\d+)`)
	pgbenchRate = regexp.MustCompile(`(?m)^tps = ([0-9.]+) \(without initial connection time\)`)
)

// parsePGBench reads how many transactions pgbench committed, and in what time, its
// connecting left out.
func parsePGBench(out []byte) (done int64, took time.Duration, err error) {
	n, rate := pgbenchDone.FindSubmatch(out), pgbenchRate.FindSubmatch(out)
	if n == nil || rate == nil {
		return 0, 0, fmt.Errorf("pgbench: its report is not understood: %.600s", out)
	}
	done, e1 := strconv.ParseInt(string(n[1]), 10, 64)
	perS, e2 := strconv.ParseFloat(string(rate[1]), 64)
	if err := errors.Join(e1, e2); err != nil || perS == 0 {
		return 0, 0, fmt.Errorf("pgbench: its report is not understood: %.600s: %w", out, err)
	}
	return done, time.Duration(float64(done) / perS * float64(time.Second)), nil
}
