// Package drill_test runs the binary's drills. The quick choice goes with the doctor: it
// must name what is broken, do no harm, prove the money and leave a control alone. The
// others go without it, when somebody asks for them: each must hurt users, heal again,
// and leave the money right. What the doctor makes of them all, and how soon, is scored by
// `moneta drill run --all`.
package drill_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor/drill"
	"github.com/moneta-pay/moneta/test/binary"
)

func TestMain(m *testing.M) { os.Exit(binary.Run(m)) }

// every runs all of them, blind; that takes a quarter of an hour.
const every = "MONETA_DRILLS"

// quickWithin is for a busy machine, the making of the world included; a quiet one takes a
// minute and a half. Two looks fit into the time that make test gives a package.
const quickWithin = 6 * time.Minute

// play runs drills and reads their board, as far as it came when they did not end within.
// A red board is an exit code of its own, so that one counts only when there is no board.
func play(t *testing.T, within time.Duration, args ...string) (board drill.Board, ended bool) {
	t.Helper()
	report := filepath.Join(t.TempDir(), "board.json")
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary.Moneta(), append([]string{"drill", "run", "--report", report}, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it has a world to take down
	cmd.WaitDelay = time.Minute
	out, failed := cmd.CombinedOutput()
	t.Logf("%s", out)
	ended = ctx.Err() == nil
	board, err := drill.ReadBoard(report)
	if !ended && errors.Is(err, os.ErrNotExist) {
		return board, false
	}
	require.NoError(t, err, "%v", failed)
	return board, ended
}

// A machine that stands still for longer than a drill lasts can make the doctor late, or
// wake it for a reason: what is wrong is looked at once more, and twice is a failure.
// Money has no second chance, nor has harm: no machine is so slow that it makes a right act
// a wrong one.
func TestTheDoctorHealsTheQuickDrillsAndWakesNobodyInAControl(t *testing.T) {
	look := func(seed string) []string {
		board, ended := play(t, quickWithin, "--quick", "--rate", "30", "--seed", seed)
		requireMoney(t, &board)
		require.Empty(t, harmed(&board), "no second look at harm")
		if !ended {
			return append(wrong(&board), fmt.Sprintf("it did not end within %s", quickWithin))
		}
		return wrong(&board)
	}
	bad := look("1")
	if len(bad) == 0 {
		return
	}
	t.Logf("wrong at first:\n%s", strings.Join(bad, "\n"))
	require.Empty(t, look("2"), "wrong twice; at first: %s", strings.Join(bad, "; "))
}

// harmed are the harmful acts where something was broken. In a control every act is one,
// and a machine that stands still may call for it.
func harmed(b *drill.Board) (out []string) {
	for i := range b.Rows {
		if r := &b.Rows[i]; !r.Control {
			out = append(out, r.Harmful...)
		}
	}
	return out
}

func requireMoney(t *testing.T, b *drill.Board) {
	t.Helper()
	for i := range b.Rows {
		r := &b.Rows[i]
		require.Empty(t, r.Invariants, r.Drill)
		if r.Status != drill.Broken { // no world, no recount
			require.Equal(t, "clean", r.Recount.Verdict, "%s: %v", r.Drill, r.Recount.Unproved)
		}
	}
}

// wrong is what nobody may see on a board of the quick drills. It asks of no time how
// long it was.
func wrong(b *drill.Board) (out []string) {
	faults, controls := 0, 0
	for i := range b.Rows {
		r := &b.Rows[i]
		no := func(ok bool, format string, args ...any) {
			if !ok {
				out = append(out, r.Drill+": "+fmt.Sprintf(format, args...))
			}
		}
		no(r.Status == drill.Scored, "%s: %s", r.Status, r.Why)
		no(len(r.Harmful) == 0, "harmful: %v", r.Harmful)
		no(len(r.Left) == 0, "levers still hold: %v", r.Left)
		if r.Control {
			controls++
			no(r.FalsePages == 0, "%d pages: %v", r.FalsePages, r.Notes)
			continue
		}
		faults++
		no(r.DetectS != nil, "nobody was told")
		no(r.Top3, "it was %s, and the doctor says %v", r.Wanted, r.Ranked)
		no(len(r.Acts) > 0, "the doctor did nothing")
		no(r.ProofS != nil, "there is no clean proof")
	}
	if faults == 0 || controls == 0 {
		out = append(out, fmt.Sprintf("%d faults and %d controls were run", faults, controls))
	}
	return out
}

func TestABoardThatIsWrongIsSeen(t *testing.T) {
	t.Parallel()
	soon := 1.0
	good := func() drill.Board {
		return drill.Board{Rows: []drill.Row{
			{Drill: "long-hold", Status: drill.Scored, Top3: true, DetectS: &soon, ProofS: &soon, Acts: []string{"tell "}},
			{Drill: "control-spike", Status: drill.Scored, Control: true},
		}}
	}
	b := good()
	require.Empty(t, wrong(&b))
	require.Empty(t, harmed(&b))
	b.Rows[1].Harmful = []string{"lever "}
	require.Empty(t, harmed(&b), "it has a second look")
	b.Rows[0].Harmful = []string{"terminate-session postgres"}
	require.Equal(t, []string{"terminate-session postgres"}, harmed(&b))
	for name, spoil := range map[string]func(fault, control *drill.Row){
		"blind":          func(f, _ *drill.Row) { f.Status = drill.Blind },
		"not named":      func(f, _ *drill.Row) { f.Top3 = false },
		"not seen":       func(f, _ *drill.Row) { f.DetectS = nil },
		"not proved":     func(f, _ *drill.Row) { f.ProofS = nil },
		"nothing done":   func(f, _ *drill.Row) { f.Acts = nil },
		"harm":           func(f, _ *drill.Row) { f.Harmful = []string{"terminate-session postgres"} },
		"a lever left":   func(f, _ *drill.Row) { f.Left = []string{"pause *"} },
		"a false page":   func(_, c *drill.Row) { c.FalsePages = 1 },
		"act in control": func(_, c *drill.Row) { c.Harmful = []string{"lever "} },
		"no control":     func(_, c *drill.Row) { c.Control = false },
	} {
		b := good()
		spoil(&b.Rows[0], &b.Rows[1])
		require.NotEmpty(t, wrong(&b), name)
	}
}

func TestDrillsHurtAndHeal(t *testing.T) {
	if os.Getenv(every) == "" {
		t.Skip(every + " is not set")
	}
	var names []string
	for _, d := range drill.All() {
		names = append(names, d.Name)
	}
	board, ended := play(t, time.Duration(len(names)+2)*time.Minute, append([]string{"--blind"}, names...)...)
	require.True(t, ended, "it did not end")
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
