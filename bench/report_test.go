package bench

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// reportOf is a finished report with these rounds in each phase.
func reportOf(plain, led []float64, others float64) *Report {
	r := &Report{Machine: Machine{Cores: 2}}
	add := func(phase string, rates ...float64) {
		for _, v := range rates {
			r.add(phase, Round{PerS: v, Others: others, Latency: &Latency{P99: 10}})
		}
	}
	add(PhaseBaseline, plain...)
	add(PhaseLedger, led...)
	add(PhaseHot, 90_000, 100_000, 80_000)
	add(PhaseSingle, 6_000, 7_000, 5_500)
	add(PhaseBatch, 16_000, 19_000, 18_000)
	add(PhaseLatency, 3_000, 3_000, 3_000)
	add(PhaseLifecycle, 2_600, 3_100, 3_200)
	r.finish(time.Minute)
	return r
}

func TestFiguresAreMediansAndTheRatioIsOfTheSameRound(t *testing.T) {
	t.Parallel()
	r := reportOf([]float64{1_000, 5_000, 2_000}, []float64{30_000, 40_000, 20_000}, 0.01)
	require.InDelta(t, 30_000, *r.LedgerPerS, 0)
	require.InDelta(t, 2_000, *r.BaselineSQLPerS, 0)
	require.InDelta(t, 10, *r.LedgerRatio, 0, "of 30, 8 and 10, not 30,000 over 2,000")
	require.InDelta(t, 10, *r.AcceptP99, 0)
	require.False(t, r.Noisy)
	require.Empty(t, r.Problems())
}

func TestOnAQuietMachineTheFloorsCount(t *testing.T) {
	t.Parallel()
	r := reportOf([]float64{10_000}, []float64{23_999}, quietShare)
	require.Equal(t, []string{"ledger_per_s is 23,999; it must be at least 24,000"}, r.Problems(), "a ratio of 2 does not count here")
}

func TestOnANoisyMachineTheRatioCountsInstead(t *testing.T) {
	t.Parallel()
	require.Empty(t, reportOf([]float64{1_000}, []float64{5_000}, 0.5).Problems(), "a slow ledger at 5 times plain SQL")
	r := reportOf([]float64{10_000}, []float64{49_000}, 0.5)
	require.Equal(t, []string{"ledger_ratio is 4.9; it must be at least 5"}, r.Problems(), "a fast ledger at less")
}

func TestProcessorTimeIsComparedRoundByRound(t *testing.T) {
	t.Parallel()
	r := &Report{}
	for _, v := range []struct{ plain, led float64 }{{200, 40}, {300, 50}, {280, 0}} {
		r.add(PhaseBaseline, Round{CPU: v.plain})
		r.add(PhaseLedger, Round{CPU: v.led})
	}
	r.finish(time.Minute)
	require.InDelta(t, 5, *r.LedgerCPURatio, 0, "of 5, 6 and one that was not measured")
}

func TestOneCoreIsNoQuietMachine(t *testing.T) {
	t.Parallel()
	r := reportOf([]float64{1_000}, []float64{5_000}, 0)
	r.Machine.Cores = 1
	r.finish(time.Minute)
	require.True(t, r.Noisy)
}

func TestWhatWasNotMeasuredDoesNotPass(t *testing.T) {
	t.Parallel()
	r := &Report{Machine: Machine{Cores: 2}}
	r.finish(time.Second)
	require.Len(t, r.Problems(), 6, "every floor, and not the ratio")
}

func TestFaultsCountOnEveryMachine(t *testing.T) {
	t.Parallel()
	for _, others := range []float64{0, 0.9} {
		r := reportOf([]float64{1_000}, []float64{50_000}, others)
		r.Faults = append(r.Faults, "ledger: 3 acknowledged payments are lost")
		require.Equal(t, []string{"ledger: 3 acknowledged payments are lost"}, r.Problems())
	}
}

func TestJSONHasTheNamesThatAreAgreed(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, reportOf([]float64{1_000}, []float64{50_000}, 0).WriteJSON(&out))
	var doc map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &doc))
	for _, name := range []string{
		"ledger_per_s", "ledger_hot_per_s", "api_single_per_s", "api_batch_per_s", "lifecycle_per_s",
		"accept_p99_ms", "baseline_sql_per_s", "ledger_ratio", "fsync_per_s", "pg_cpu_us_per_payment", "wal_bytes_per_payment",
		"ledger_cpu_ratio", "baseline_same_rows_per_s", "ledger_ratio_same_rows",
		"table_index_bytes_per_payment", "others_cpu_share", "machine", "commit", "settings",
	} {
		require.Contains(t, doc, name)
	}
}

func TestScreenSpeaksBothLanguages(t *testing.T) {
	t.Parallel()
	for lang, want := range map[string]string{"en": "everything durable", "zh-CN": "全部持久化"} {
		var out bytes.Buffer
		require.NoError(t, reportOf([]float64{10_000}, []float64{49_000}, 0.5).WriteScreen(&out, lang))
		require.Contains(t, out.String(), want)
		require.Contains(t, out.String(), "ledger_ratio is 4.9")
		require.NotContains(t, out.String(), "%!")
	}
	for name := range english.names {
		require.Contains(t, chinese.names, name)
	}
}

func TestMemoryIsRefusedAsADisk(t *testing.T) {
	t.Parallel()
	require.NoError(t, refuseMemory("/"))
	shm := "/dev/shm"
	if _, forgets, err := fileSystem(shm); err != nil || !forgets {
		t.Skip("no file system in memory here")
	}
	err := refuseMemory(shm)
	require.ErrorContains(t, err, "lives in memory")
	require.ErrorContains(t, err, "--data")
	within := filepath.Join(shm, "moneta-bench-test")
	_, err = Run(t.Context(), Config{Profile: "quick", WorkDir: filepath.Join(within, "deep")})
	require.ErrorContains(t, err, "lives in memory")
	require.NoDirExists(t, within, "nothing is left where nothing was measured")
}

func TestFsyncRateLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rate, err := fsyncRate(t.Context(), dir, 50*time.Millisecond)
	require.NoError(t, err)
	require.Positive(t, rate)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestProcessTimeIsCountedOnceATree(t *testing.T) {
	t.Parallel()
	p, ok := parseStat([]byte("42 (a (b) c) S 7 1 1 0 -1 0 0 0 0 0 150 50 30 20 20 0 1 0 100 0 0"))
	require.True(t, ok)
	require.Equal(t, process{parent: 7, own: 2 * time.Second, reaped: 500 * time.Millisecond}, p)
	_, ok = parseStat([]byte("42 (cut off) S 7"))
	require.False(t, ok)

	s := time.Second
	table := map[int]process{
		1: {own: 100 * s}, 7: {parent: 1, own: s, reaped: s}, 42: {parent: 7, own: s}, 43: {parent: 42, own: s}, 50: {parent: 1, own: 9 * s},
	}
	require.Equal(t, 4*s, treesTime(table, 7))
	require.Equal(t, 4*s, treesTime(table, 7, 42), "a root below a root is not counted twice")
	require.Equal(t, 11*s, treesTime(table, 50, 42))
}

func TestLatencyTakesRanks(t *testing.T) {
	t.Parallel()
	var times []time.Duration
	for i := 100; i >= 1; i-- {
		times = append(times, time.Duration(i)*time.Millisecond)
	}
	require.Equal(t, Latency{P50: 50, P90: 90, P99: 99, Max: 100}, latencyOf(times))
	require.Equal(t, Latency{}, latencyOf(nil))
}
