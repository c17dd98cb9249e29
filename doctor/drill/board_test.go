package drill

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func s(f float64) *float64 { return &f }

func TestBoardAddsUp(t *testing.T) {
	t.Parallel()
	rows := []Row{
		{Drill: "long-hold", Status: Scored, Points: 100, Top1: true, Top3: true, Scope: true, DetectS: s(2), ProofS: s(4), ContainS: s(3), Confidence: 0.95, Ranked: []string{"postgres long-hold"}},
		{Drill: "frozen-serve", Status: Scored, Points: 50, Top3: true, DetectS: s(8), Confidence: 0.95, Ranked: []string{"api overload"}, Harmful: []string{"terminate-session"}},
		{Drill: "control-spike", Status: Scored, Points: 0, Control: true, FalsePages: 1},
		{Drill: "psp-slow", Status: Void, Top1: true},
		{Drill: "slow-disk", Status: Skipped},
		{Drill: "index-gone", Status: Broken, Invariants: []string{"sum"}},
	}
	b := NewBoard(rows, "test", time.Unix(0, 0))
	require.Equal(t, []int{3, 1, 1, 1}, []int{b.Runs, b.Voided, b.Skipped, b.Broken})
	require.InDelta(t, 50, b.Points, 1e-9)
	require.InDelta(t, 0.5, b.Top1, 1e-9, "void runs and controls are in no share")
	require.InDelta(t, 1, b.Top3, 1e-9)
	require.InDelta(t, 0.5, b.Scope, 1e-9)
	require.InDelta(t, 2, b.DetectP50, 1e-9)
	require.Equal(t, []int{1, 1, 1}, []int{b.Harmful, b.FalsePages, b.Invariants})
	require.InDelta(t, 0.45, b.ECE, 1e-9)
	require.InDelta(t, (0.05*0.05+0.95*0.95)/2, b.Brier, 1e-3)
}

func TestWhatNeverCameMakesNoQuantileBetter(t *testing.T) {
	t.Parallel()
	rows := []Row{{Drill: "long-hold", Status: Scored}, {Drill: "long-hold", Status: Scored, DetectS: s(1)}, {Drill: "long-hold", Status: Scored}}
	b := NewBoard(rows, "test", time.Unix(0, 0))
	require.InDelta(t, never, b.StallP95, 0)
	require.InDelta(t, never, b.ContainP95, 0)
}

func TestBoardIsKeptInThreeForms(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "board.json")
	b := NewBoard([]Row{
		{Drill: "long-hold", Seed: 3, Status: Scored, Points: 100, Wanted: "postgres long-hold", Ranked: []string{"<script>"}},
		{Drill: "psp-slow", Status: Scored, Harmful: []string{"restart-process serve"}},
	}, "test", time.Unix(0, 0))
	require.NoError(t, b.Write(path))
	again, err := ReadBoard(path)
	require.NoError(t, err)
	require.Equal(t, b.Rows, again.Rows)
	md, err := os.ReadFile(strings.TrimSuffix(path, ".json") + ".md")
	require.NoError(t, err)
	require.Contains(t, string(md), "RED: 1 harmful acts")
	page, err := os.ReadFile(strings.TrimSuffix(path, ".json") + ".html")
	require.NoError(t, err)
	require.NotContains(t, string(page), "<script>")
	require.NoError(t, os.WriteFile(path, []byte(`{"rows": []}`), 0o600))
	_, err = ReadBoard(path)
	require.Error(t, err)
}

func TestHurt(t *testing.T) {
	t.Parallel()
	began := time.Unix(1000, 0)
	at := func(after float64) time.Time { return began.Add(time.Duration(after * float64(time.Second))) }
	now := at(20)
	for name, c := range map[string]struct {
		o    Order
		hurt bool
	}{
		"well":                       {Order{Kind: "payout", Acked: at(0.1), Ended: at(1)}, false},
		"a late answer":              {Order{Kind: "send", Acked: at(1.5), Ended: at(1.6)}, true},
		"a late end":                 {Order{Kind: "payout", Acked: at(0.1), Ended: at(4)}, true},
		"no end":                     {Order{Kind: "payout", Acked: at(0.1)}, true},
		"an error":                   {Order{Kind: "read", Acked: at(0.1), Ended: at(0.1), Err: "503"}, true},
		"a deposit may take longer":  {Order{Kind: "deposit", Acked: at(0.1), Ended: at(5)}, false},
		"a deposit that never comes": {Order{Kind: "deposit", Acked: at(0.1)}, true},
	} {
		c.o.Began = began
		require.Equal(t, c.hurt, c.o.hurt(now), name)
	}
	young := Order{Kind: "payout", Began: began}
	require.False(t, young.hurt(at(0.5)), "it is not late yet")
}

func TestAnImpactThatWasThereBeforeIsNone(t *testing.T) {
	t.Parallel()
	harm := Impact{Hurt: 30, Share: 0.3, BeforeShare: 0.01}
	require.True(t, harm.real(0.1))
	noise := Impact{Hurt: 30, Share: 0.3, BeforeShare: 0.2}
	require.False(t, noise.real(0.1))
	few := Impact{Hurt: 2, Share: 1}
	require.False(t, few.real(0.1))
}
