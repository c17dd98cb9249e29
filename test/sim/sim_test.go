// Package sim runs the real stations, dispatch, settle's asker, the timer wheel and
// its expirer, on virtual time, over a decider, channels and clocks that fail as a
// seed says: messages lost before and after they had effect, repeated, late; commits
// of which nobody knows; processes that crash between any two steps, or freeze with
// an order in hand; clocks apart. The banks' own books judge. One seed is one run,
// step by step, whatever the machine does meanwhile: what fails replays from its seed.
//
// It refuses to let the Go scheduler choose, and to simulate what the real thing does
// elsewhere: the inbox's rows, recon and cases need Postgres and are not here; the
// table, pay.Next, is the real one, and what the simulated decider does with it is
// compared with the real decider on Postgres.
//
// `go test` runs 500 seeds, MONETA_TORTURE=1 runs 100,000, and MONETA_SEED=n runs seed
// n alone and tells every step of it.
package sim

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/pay"
)

func TestMain(m *testing.M) { pgtest.VerifyTestMain(m) }

// result is what is left of a run.
type result struct {
	found string
	trace uint64
	steps int
	store *store
}

// simulate runs one plan in a bubble of its own.
func simulate(t *testing.T, p plan, tell func(at time.Time, key string)) result {
	t.Helper()
	var r result
	synctest.Test(t, func(t *testing.T) {
		tel, err := telemetry.Setup(t.Context(), telemetry.Config{
			LogOutput: io.Discard, LogLevel: slog.LevelError + 1, SampleOneIn: telemetry.SampleOff,
		})
		require.NoError(t, err)
		w := newWorld(p, tel)
		w.gate.tell = tell
		w.run()
		r = result{found: w.found, trace: w.gate.trace.Sum64(), steps: w.gate.steps, store: w.store}
		require.NoError(t, tel.Shutdown(context.WithoutCancel(t.Context())))
	})
	return r
}

func seeds(t *testing.T) (first, n uint64) {
	t.Helper()
	if one := os.Getenv("MONETA_SEED"); one != "" {
		seed, err := strconv.ParseUint(one, 10, 64)
		require.NoError(t, err, "MONETA_SEED is a number")
		return seed, 1
	}
	if os.Getenv("MONETA_TORTURE") == "1" {
		return 1, 100_000
	}
	return 1, 500
}

// kinds are the facts that runs must bring about, all together.
var kinds = []pay.FactKind{
	pay.Accept, pay.Intend, pay.Ack, pay.Doubt, pay.Confirm, pay.Decline, pay.ProveAbsent, pay.GiveUp, pay.Cancel,
	pay.Checked, pay.Expire, pay.Resend, pay.Redirect, pay.ActionDone,
}

// TestSeeds is the simulation.
func TestSeeds(t *testing.T) {
	t.Parallel()
	first, n := seeds(t)
	var next, steps, failed atomic.Uint64
	var seen [64]atomic.Uint64 // facts decided, by kind
	next.Store(first)
	for worker := range runtime.GOMAXPROCS(0) {
		t.Run(fmt.Sprint("worker ", worker), func(t *testing.T) {
			t.Parallel()
			for failed.Load() < 5 {
				seed := next.Add(1) - 1
				if seed >= first+n {
					return
				}
				var tell func(time.Time, string)
				if os.Getenv("MONETA_SEED") != "" {
					tell = func(at time.Time, key string) { t.Logf("%s %s", at.Format("15:04:05.000000"), key) }
				}
				r := simulate(t, plan{seed: seed}, tell)
				steps.Add(uint64(r.steps))
				for i := range r.store.log {
					if l := &r.store.log[i]; l.Code == "" && !l.NoOp {
						seen[l.fact.Kind].Add(1)
					}
				}
				if r.found != "" {
					failed.Add(1)
					t.Errorf("seed %d: %s\nsee every step of it: MONETA_SEED=%d go test -count=1 -v -run TestSeeds ./test/sim", seed, r.found, seed)
				}
			}
		})
	}
	t.Cleanup(func() {
		for _, k := range kinds {
			t.Logf("%6d %s", seen[k].Load(), k)
			if n > 1 && seen[k].Load() == 0 {
				t.Errorf("no run had a %s: the simulation has become tame", k)
			}
		}
		t.Logf("%d seeds, %d steps", n, steps.Load())
	})
}

// TestSameSeedSameRun: a seed decides everything, down to the order of steps.
func TestSameSeedSameRun(t *testing.T) {
	t.Parallel()
	seen, most := map[uint64]bool{}, uint64(30)
	if os.Getenv("MONETA_TORTURE") == "1" {
		most = 1_000
	}
	for seed := uint64(1); seed <= most; seed++ {
		a, b := simulate(t, plan{seed: seed}, nil), simulate(t, plan{seed: seed}, nil)
		require.Equal(t, a.trace, b.trace, "seed %d, %d and %d steps", seed, a.steps, b.steps)
		require.Equal(t, a.steps, b.steps)
		seen[a.trace] = true
	}
	require.Len(t, seen, int(most), "other seeds are other runs")
}

// TestPlantedDefectsAreFound: each of them within a few seeds that are clean without it.
func TestPlantedDefectsAreFound(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]defect{
		"a channel executes after it said never": executesLate,
		"each try has a reference of its own":    renamesOrders,
		"the decider applies a fact twice":       appliesTwice,
		"the wheel is not told":                  losesTimers,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for p := (plan{seed: 1, defect: d}); p.seed <= 60; p.seed++ {
				if r := simulate(t, p, nil); r.found != "" {
					t.Logf("found with seed %d: %s", p.seed, r.found)
					p.defect = noDefect
					require.Empty(t, simulate(t, p, nil).found, "it is found without the defect as well")
					return
				}
			}
			t.Error("60 seeds did not find it")
		})
	}
}
