// Package torture starts the real binary, kills, freezes, drains and locks what
// it is made of while clients pay, and then counts everything: what the clients
// were told, what the ledger holds, what the banks' own books say. It speaks
// HTTP and reads raw rows; it refuses to share code with the pay plane, to trust
// the plane's own word alone, and to run without controls that prove that it
// would have seen a loss or a double.
//
// `go test` runs a small version of each story. MONETA_TORTURE=1 runs the whole.
// MONETA_BINARY names a binary to torture instead of building one, and
// MONETA_TORTURE_KEEP=1 leaves the folders, with their logs, to look at.
package torture

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// full says whether the whole torture was asked for.
var full = os.Getenv("MONETA_TORTURE") == "1"

// binary is the moneta under torture.
var binary string

// choose returns what fits the run.
func choose[T any](quick, torture T) T {
	if full {
		return torture
	}
	return quick
}

// together lets the small versions, which mostly wait, run side by side. The whole
// torture measures, and runs one story after the other.
func together(t *testing.T) {
	t.Helper()
	if !full {
		t.Parallel()
	}
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if binary = os.Getenv("MONETA_BINARY"); binary != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "moneta-torture-binary-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "moneta")
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/moneta-pay/moneta/cmd/moneta")
	build.Stdout, build.Stderr = os.Stdout, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build the binary:", err)
		return 1
	}
	return m.Run()
}

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
