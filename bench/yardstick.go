package bench

import (
	"context"
	"runtime"
	"time"

	"github.com/moneta-pay/moneta/internal/lifecycle"
)

// A yardstick is a fixed piece of work that has nothing to do with payments, done
// again and again while a round runs, and timed by the processor time of its own
// thread. Whoever shares the host's caches, cores and clock slows it as they slow
// the round, though from inside nobody else is to be seen: 'others' counts only
// what this machine's own kernel schedules.
const (
	yardWords = 4 << 20 // of 8 bytes: 32 MB, far beyond a core's own cache
	yardSteps = 10_000  // one measure: about a millisecond
	yardEvery = 200 * time.Millisecond
)

// yard is one cycle through all its words in an order that no cache foresees.
type yard []uint64

// newYard links the words by Sattolo's shuffle: one cycle, no shorter one.
func newYard() yard {
	y := make(yard, yardWords)
	for i := range y {
		y[i] = uint64(i)
	}
	seed := uint64(88172645463325252) // xorshift64 (Marsaglia 2003): the same walk in every run
	for i := len(y) - 1; i > 0; i-- {
		seed ^= seed << 13
		seed ^= seed >> 7
		seed ^= seed << 17
		j := seed % uint64(i)
		y[i], y[j] = y[j], y[i]
	}
	return y
}

// walk takes steps from at, each a read that waits for the one before it.
func (y yard) walk(at uint64, steps int) uint64 {
	for range steps {
		at = y[at]
	}
	return at
}

// measured walks until ctx ends, and returns the median time of one step in
// nanoseconds; 0 where a thread's own time cannot be read.
func (y yard) measured(ctx context.Context) float64 {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var at uint64
	var each []float64
	for {
		before, known := threadTime()
		at = y.walk(at, yardSteps)
		after, _ := threadTime()
		if !known {
			return 0
		}
		each = append(each, float64((after-before).Nanoseconds())/yardSteps)
		if lifecycle.Pause(ctx, yardEvery) != nil {
			return *median(each)
		}
	}
}
