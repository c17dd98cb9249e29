package slo_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor/slo"
)

var update = flag.Bool("update", false, "write the rules of docs/slo anew")

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func accept(t *testing.T, b *slo.Book, now time.Time) (slo.State, map[string]slo.Window) {
	t.Helper()
	for _, s := range b.Look(now) {
		if s.ID == slo.Accept {
			by := map[string]slo.Window{}
			for _, w := range s.Windows {
				by[w.Name] = w
			}
			return s, by
		}
	}
	t.Fatal("no such objective")
	return slo.State{}, nil
}

func TestABudgetBurnsByItsWindows(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "slo.jsonl")
	b, err := slo.Open(file)
	require.NoError(t, err)
	s, by := accept(t, b, noon)
	require.Nil(t, s.Left, "without a request nobody knows")
	require.Nil(t, by["5m"].Burn)
	require.Nil(t, s.Since)

	at := noon.Add(-2 * time.Hour)
	for ; at.Before(noon.Add(-time.Hour)); at = at.Add(time.Minute) {
		require.NoError(t, b.Add(at, map[string]slo.Count{slo.Accept: {Good: 1000, All: 1000}}))
	}
	for ; at.Before(noon); at = at.Add(time.Minute) { // two in a hundred fail: twenty times what is allowed
		require.NoError(t, b.Add(at, map[string]slo.Count{slo.Accept: {Good: 980, All: 1000}}))
	}
	s, by = accept(t, b, noon)
	require.InDelta(t, 20, *by["5m"].Burn, 1e-9)
	require.InDelta(t, 20, *by["1h"].Burn, 1e-9)
	require.InDelta(t, 10, *by["6h"].Burn, 1e-9, "of what was seen of it")
	require.InDelta(t, 7200, by["6h"].SeenS, 1e-9, "and it says how little that was")
	require.Equal(t, "page", s.Alert)
	require.InDelta(t, -9, *s.Left, 1e-9)
	require.Equal(t, noon.Add(-2*time.Hour), *s.Since)

	for ; at.Before(noon.Add(10 * time.Minute)); at = at.Add(time.Minute) { // it is over
		require.NoError(t, b.Add(at, map[string]slo.Count{slo.Accept: {Good: 1000, All: 1000}}))
	}
	s, by = accept(t, b, at)
	require.Greater(t, *by["1h"].Burn, 14.4)
	require.Zero(t, *by["5m"].Burn)
	require.NotEqual(t, 14.4, s.Alert)
	again, err := slo.Open(file)
	require.NoError(t, err)
	require.Equal(t, b.Look(at), again.Look(at), "it outlives the process")
}

func TestWhatIsOldAndWhatCannotBeReadIsLeftOut(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "slo.jsonl")
	require.NoError(t, os.WriteFile(file, []byte("half a li\n{\"at\":1,\"counts\":{\"accept\":{\"good\":0,\"all\":9}}}\n{}\n"), 0o600))
	b, err := slo.Open(file)
	require.NoError(t, err)
	require.NoError(t, b.Add(noon, map[string]slo.Count{slo.Accept: {Good: 10, All: 10}}))
	s, _ := accept(t, b, noon.Add(time.Minute))
	require.InDelta(t, 1, *s.Left, 1e-9)
	require.Empty(t, s.Alert)
}

// promtool judges the rules: one that never fires, or always does, is none.
func TestTheRulesFireWhenABudgetBurns(t *testing.T) {
	folder := filepath.Join("..", "..", "docs", "slo")
	path := filepath.Join(folder, "slo.rules.yml")
	if *update {
		require.NoError(t, os.MkdirAll(folder, 0o755))
		require.NoError(t, os.WriteFile(path, slo.Rules(), 0o644))
	}
	have, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(slo.Rules()), string(have), "stale: run `go test ./doctor/slo -update`")
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("NO OUTSIDE JUDGE: promtool is not installed, so nobody but us has read the burn-rate rules (apt-get install prometheus)")
	}
	for _, args := range [][]string{{"check", "rules", "slo.rules.yml"}, {"test", "rules", "slo_test.yml"}} {
		cmd := exec.CommandContext(t.Context(), promtool, args...)
		cmd.Dir = folder
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
}
