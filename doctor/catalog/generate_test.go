package catalog

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite docs/causes and docs/alerts from the causes")

var docs = filepath.Join("..", "..", "docs")

// wanted is what must lie in docs, by path.
func wanted(t *testing.T) map[string]string {
	t.Helper()
	all := All()
	rules, err := Rules(all)
	require.NoError(t, err)
	tests, err := RuleTests(all)
	require.NoError(t, err)
	out := map[string]string{
		filepath.Join("alerts", RulesFile):         string(rules),
		filepath.Join("alerts", "moneta_test.yml"): string(tests),
	}
	for name, page := range Pages(all) {
		out[filepath.Join("causes", name)] = page
	}
	return out
}

func TestGeneratedFilesAreFresh(t *testing.T) {
	want := wanted(t)
	if *update {
		for name := range lying(t) {
			if _, ok := want[name]; !ok {
				require.NoError(t, os.Remove(filepath.Join(docs, name)))
			}
		}
		for name, text := range want {
			path := filepath.Join(docs, name)
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		}
	}
	have := lying(t)
	for name, text := range want {
		require.Contains(t, have, name, "missing: run `go test ./doctor/catalog -update`")
		require.Equal(t, text, have[name], "stale %s: run `go test ./doctor/catalog -update`", name)
	}
	for name := range have {
		require.Contains(t, want, name, "made of no cause: run `go test ./doctor/catalog -update`")
	}
}

// lying is what lies there.
func lying(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, folder := range []string{"causes", "alerts"} {
		entries, err := os.ReadDir(filepath.Join(docs, folder))
		if os.IsNotExist(err) {
			continue
		}
		require.NoError(t, err)
		for _, e := range entries {
			name := filepath.Join(folder, e.Name())
			text, err := os.ReadFile(filepath.Join(docs, name))
			require.NoError(t, err)
			out[name] = string(text)
		}
	}
	return out
}

// promtool is the outside judge of rules; without it the test is skipped, and says so.
func promtool(t *testing.T, folder string, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("NO OUTSIDE JUDGE: promtool is not installed, so nobody but us has read the alert rules (apt-get install prometheus)")
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Dir = folder
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestPromtoolAcceptsTheRules(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	rules, err := Rules(All())
	require.NoError(t, err)
	tests, err := RuleTests(All())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(folder, RulesFile), rules, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "moneta_test.yml"), tests, 0o600))
	out, err := promtool(t, folder, "check", "rules", RulesFile)
	require.NoError(t, err, out)
	out, err = promtool(t, folder, "test", "rules", "moneta_test.yml")
	require.NoError(t, err, out)
}

// A rule that never fires, and one that always does, must be found.
func TestPromtoolFindsWhatIsPlanted(t *testing.T) {
	t.Parallel()
	for name, expr := range map[string]string{"deaf": "vector(0) > 1", "always": "vector(1)"} {
		folder := t.TempDir()
		c, _ := ByID("database-long-hold")
		c.Alert.Expr, c.Alert.For = expr, "0s"
		one := All()[:0]
		one = append(one, c)
		rules, err := Rules(one)
		require.NoError(t, err)
		tests, err := RuleTests(one)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(folder, RulesFile), rules, 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(folder, "moneta_test.yml"), tests, 0o600))
		out, err := promtool(t, folder, "test", "rules", "moneta_test.yml")
		require.Error(t, err, "%s: %s", name, out)
	}
}
