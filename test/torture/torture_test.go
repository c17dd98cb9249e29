// Package torture starts the real binary, kills, freezes, drains and locks what
// it is made of while clients pay, and then counts everything: what the clients
// were told, what the ledger holds, what the banks' own books say. It speaks
// HTTP and reads raw rows; it refuses to share code with the pay plane, to trust
// the plane's own word alone, and to run without controls that prove that it
// would have seen a loss or a double.
//
// `go test` runs a small version of each story. MONETA_TORTURE=1 runs the whole, and
// with MONETA_TORTURE_PERCENT=n so much of its longest counts.
// MONETA_BINARY names a binary to torture instead of building one, and
// MONETA_TORTURE_KEEP=1 leaves the folders, with their logs, to look at.
package torture

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/moneta-pay/moneta/test/binary"
)

// full says whether the whole torture was asked for.
var full = os.Getenv("MONETA_TORTURE") == "1"

// choose returns what fits the run.
func choose[T any](quick, torture T) T {
	if full {
		return torture
	}
	return quick
}

// percent is how much of the whole torture's long counts is done, for whoever has
// less time: MONETA_TORTURE_PERCENT, 1 to 100.
func percent(n int) int {
	share, err := strconv.Atoi(os.Getenv("MONETA_TORTURE_PERCENT"))
	if err != nil || share < 1 || share > 100 {
		share = 100
	}
	return max(n*share/100, 1)
}

// together lets the small versions, which mostly wait, run side by side. The whole
// torture measures, and runs one story after the other.
func together(t *testing.T) {
	t.Helper()
	if !full {
		t.Parallel()
	}
}

func TestMain(m *testing.M) { os.Exit(binary.Run(m)) }

// figure reports one measured number.
func figure(t *testing.T, name, format string, args ...any) {
	t.Helper()
	t.Logf("figure: %-44s %s", name, fmt.Sprintf(format, args...))
}

// eventually waits for a condition, and fails the test with the last reason when
// it does not come.
func eventually(t *testing.T, within time.Duration, what string, met func() (bool, string)) time.Duration {
	t.Helper()
	started := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, last := met()
		took := time.Since(started)
		if ok {
			return took
		}
		if took > within {
			t.Fatalf("%s: not within %s; last: %s", what, within, last)
		}
		<-tick.C
	}
}

// during lets d pass while the load goes on.
func during(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
