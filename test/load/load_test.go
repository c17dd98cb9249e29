// Package load_test runs the measurements of `moneta bench` with the real binary
// and looks at what they counted, never at how fast they were: a test shares the
// machine with other tests.
package load_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/bench"
	"github.com/moneta-pay/moneta/test/binary"
)

func TestMain(m *testing.M) { os.Exit(binary.Run(m)) }

// workFolder is a folder on a disk that a private cluster's user can reach.
func workFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "moneta-load-") //nolint:usetesting // a disk, and not the memory that /tmp may be
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

// measure runs bench and returns its report, and what it said on the way.
func measure(t *testing.T, args ...string) (bench.Report, string) {
	t.Helper()
	dir := workFolder(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary.Moneta(), append([]string{"bench", "--json", "--data", dir}, args...)...)
	var out, progress bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &progress
	require.NoError(t, cmd.Run(), "%s\n%s", progress.String(), out.String())
	var report bench.Report
	require.NoError(t, json.Unmarshal(out.Bytes(), &report))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left, "the working folder is removed")
	return report, progress.String()
}

func TestEveryPhaseRunsAndItsBooksAgree(t *testing.T) {
	t.Parallel()
	report, progress := measure(t, "--profile", "smoke")
	require.Empty(t, report.Faults, progress)
	require.Empty(t, report.Missed, "smoke judges no figure")
	for _, name := range []string{
		bench.PhaseBaseline, bench.PhaseSameRows, bench.PhaseLedger, bench.PhaseHot, bench.PhaseForwarded,
		bench.PhaseSingle, bench.PhaseBatch, bench.PhaseLatency, bench.PhaseLifecycle,
	} {
		round := roundOf(t, report, name)
		if len(report.Unserved) == 0 { // else the machine stood still for as long as the round
			require.Positive(t, round.Payments, name)
		}
		require.Positive(t, round.WAL, name)
	}
	require.Positive(t, report.FsyncPerS)
	require.NotZero(t, report.BaselineConnections)
	require.GreaterOrEqual(t, report.Recounted, roundOf(t, report, bench.PhaseLedger).Payments+roundOf(t, report, bench.PhaseHot).Payments)
	require.Contains(t, progress, "ledger_forwarded, round 1 of 1")

	require.NotNil(t, report.Growth)
	require.EqualValues(t, 5_000, report.Growth.Stored)
	require.NotEmpty(t, report.Growth.Relations)
	require.NotNil(t, report.GrowthRatio)
	require.Len(t, report.Reads, 8)
	var rows float64
	for _, f := range report.Reads {
		require.Positive(t, f.Requests, f.Name)
		rows += f.Rows // of one kind they may be none: the idle work is taken off
	}
	require.Positive(t, rows)
	require.NotNil(t, report.Surge)
	require.Greater(t, report.Surge.OfferedPerS, 5*report.Surge.PeakPerS, "offered whatever is answered")
	require.Positive(t, report.Surge.GoodputPerS)
	require.NotNil(t, report.Soak)
	require.Positive(t, report.Soak.RSSLate)
	require.Positive(t, report.Soak.GoroutinesLate)
}

func roundOf(t *testing.T, report bench.Report, phase string) bench.Round {
	t.Helper()
	for _, p := range report.Phases {
		if p.Name == phase {
			require.Len(t, p.Rounds, 1, phase)
			return p.Rounds[0]
		}
	}
	require.Fail(t, "no phase "+phase)
	return bench.Round{}
}
