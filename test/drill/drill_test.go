// Package drill_test runs the binary's drills without the doctor: each must hurt users,
// heal again, and leave the money right. What the doctor makes of them is scored by
// `moneta drill run`.
package drill_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor/drill"
	"github.com/moneta-pay/moneta/test/binary"
)

func TestMain(m *testing.M) { os.Exit(binary.Run(m)) }

// every runs all of them instead of a few; that takes a quarter of an hour.
const every = "MONETA_DRILLS"

func TestDrillsHurtAndHeal(t *testing.T) {
	names := []string{"long-hold", "callbacks-lost", "control-spike"}
	if os.Getenv(every) != "" {
		names = nil
		for _, d := range drill.All() {
			names = append(names, d.Name)
		}
	}
	report := filepath.Join(t.TempDir(), "board.json")
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(len(names)+2)*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary.Moneta(), append([]string{"drill", "run", "--blind", "--report", report}, names...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it has a world to take down
	cmd.WaitDelay = time.Minute
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Logf("%s", out)
	board, err := drill.ReadBoard(report)
	require.NoError(t, err)
	require.Len(t, board.Rows, len(names))
	worst := 0.0
	for i := range board.Rows {
		worst = max(worst, board.Rows[i].Impact.Share)
	}
	for i := range board.Rows {
		judge(t, &board.Rows[i], worst)
	}
}

// healsWithin is by when orders are to be well again, in seconds: packets that were
// lost are sent again only after a while.
const healsWithin = 40.0

// judge holds a run against the worst of the same test: a busy machine hurts some
// orders by itself, and how many says nothing about the drill.
func judge(t *testing.T, r *drill.Row, worst float64) {
	t.Helper()
	if r.Status == drill.Skipped {
		t.Logf("%s: %s", r.Drill, r.Why)
		return
	}
	require.Equal(t, drill.Blind, r.Status, "%s: %s", r.Drill, r.Why)
	require.Empty(t, r.Invariants, r.Drill)
	require.Equal(t, "clean", r.Recount.Verdict, "%s: %v", r.Drill, r.Recount.Unproved)
	require.Less(t, r.Impact.UnwellS, healsWithin, "%s: it does not heal", r.Drill)
	require.Less(t, r.Impact.BeforeShare, worst/2, "%s: users were hurt before", r.Drill)
	if r.Control {
		require.Less(t, r.Impact.Share, worst/2, "%s: a control hurts", r.Drill)
	}
}
