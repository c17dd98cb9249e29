package moneta_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// files is a small tree: path to content.
type files map[string]string

// pkg returns the source of a commented package that imports what is given; a
// path without a dot in its first part, other than the standard library's, is ours.
func pkg(name string, imports ...string) string {
	var b strings.Builder
	b.WriteString("// Package " + name + " is here for the test.\npackage " + name + "\n")
	for _, i := range imports {
		b.WriteString("import _ \"" + i + "\"\n")
	}
	return b.String()
}

func ours(dir string) string { return module + "/" + dir }

// cleanTree keeps every rule.
func cleanTree() files {
	return files{
		"money/money.go":                 pkg("money", "math/bits"),
		"event/event.go":                 pkg("event", ours("money")),
		"pay/pay.go":                     pkg("pay", ours("money"), ours("fault")),
		"pay/ledger/ledger.go":           pkg("ledger", ours("money"), "github.com/jackc/pgx/v5"),
		"pay/commit/commit.go":           pkg("commit", ours("pay"), ours("pay/ledger")),
		"pay/commit/commit_test.go":      "package commit_test\nimport _ \"" + ours("schema") + "\"\nimport _ \"" + ours("pay/intake") + "\"\n",
		"pay/dispatch/dispatch.go":       pkg("dispatch", ours("pay/channel"), ours("pay/commit"), ours("internal/clock")),
		"pay/channel/channel.go":         pkg("channel", ours("money")),
		"pay/channel/sandbox/sandbox.go": pkg("sandbox", ours("pay/channel")),
		"pay/channel/sandbox/a_test.go":  "package sandbox\nimport _ \"" + ours("sandbox") + "\"\n",
		"api/api.go":                     pkg("api", ours("pay/intake"), ours("access"), "github.com/danielgtaylor/huma/v2"),
		"app/app.go":                     pkg("app", ours("api"), ours("sandbox"), ours("pay/dispatch")),
		"cmd/moneta/main.go":             pkg("main", ours("app")),
		"sandbox/sandbox.go":             pkg("sandbox", ours("money")),
		"internal/clock/clock.go":        pkg("clock", "time"),
		"test/scenario/a_test.go":        pkg("scenario", ours("app")),
		"tools/lint/go.mod":              "module tools\n",
		"tools/lint/main.go":             "package main\n",
		"pay/testdata/x.go":              "package x\nimport _ \"" + ours("doctor") + "\"\n",
		"README.md":                      "# A tree\n",
		"pay/recon/metrics.go":           pkg("recon") + "var seconds float64\n",
		"pay/settle/settle.go":           "// Package settle is here for the test.\npackage settle\nimport \"time\"\nfunc f() { time.Now() } //nolint:forbidigo // a duration\n",
	}
}

func (f files) write(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range f {
		p := filepath.Join(root, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
		require.NoError(t, os.WriteFile(p, []byte(content), 0o600))
	}
	return root
}

func TestCleanTreePasses(t *testing.T) {
	t.Parallel()
	found, err := checkTree(cleanTree().write(t))
	require.NoError(t, err)
	require.Empty(t, found)
}

// TestPlantedViolationsAreFound plants one violation at a time and wants exactly
// the report about it.
func TestPlantedViolationsAreFound(t *testing.T) {
	t.Parallel()
	timed := func(name, call string) string {
		return "// Package " + name + " is here for the test.\npackage " + name + "\nimport \"time\"\nfunc f() { time." + call + " }\n"
	}
	for name, c := range map[string]struct {
		path, content string
		want          string
	}{
		"leaf imports a library":        {"money/b.go", "package money\nimport _ \"github.com/google/uuid\"\n", "standard library only"},
		"leaf imports a leaf":           {"fault/b.go", pkg("fault", ours("money")), "not among what its rule allows"},
		"leaf imports plumbing":         {"event/b.go", "package event\nimport _ \"" + ours("internal/clock") + "\"\n", "not among"},
		"root imports its station":      {"pay/b.go", "package pay\nimport _ \"" + ours("pay/ledger") + "\"\n", "not among"},
		"root imports a library":        {"pay/b.go", "package pay\nimport _ \"github.com/jackc/pgx/v5\"\n", "standard library only"},
		"pay imports doctor":            {"pay/dispatch/b.go", "package dispatch\nimport _ \"" + ours("doctor/signal") + "\"\n", "with the doctor gone"},
		"pay imports doctor in a test":  {"pay/dispatch/b_test.go", "package dispatch\nimport _ \"" + ours("doctor") + "\"\n", "with the doctor gone"},
		"ledger imports payments":       {"pay/ledger/b.go", "package ledger\nimport _ \"" + ours("pay") + "\"\n", "not among"},
		"commit imports intake":         {"pay/commit/b.go", "package commit\nimport _ \"" + ours("pay/intake") + "\"\n", "not among"},
		"station imports station":       {"pay/dispatch/b.go", "package dispatch\nimport _ \"" + ours("pay/settle") + "\"\n", "not among"},
		"station imports app":           {"pay/dispatch/b.go", "package dispatch\nimport _ \"" + ours("app") + "\"\n", "do not wire"},
		"station imports api":           {"pay/settle/b.go", "package settle\nimport _ \"" + ours("api") + "\"\n", "do not know their edge"},
		"station imports config":        {"pay/recon/b.go", "package recon\nimport _ \"" + ours("config") + "\"\n", "own small Config"},
		"channel imports the payment":   {"pay/channel/b.go", "package channel\nimport _ \"" + ours("pay") + "\"\n", "not among"},
		"channel imports the driver":    {"pay/channel/b.go", "package channel\nimport _ \"github.com/jackc/pgx/v5/pgconn\"\n", "the database belongs"},
		"adapter imports its neighbour": {"pay/channel/sandbox/b.go", "package sandbox\nimport _ \"" + ours("pay/dispatch") + "\"\n", "not among"},
		"adapter imports the world":     {"pay/channel/sandbox/b.go", "package sandbox\nimport _ \"" + ours("sandbox") + "\"\n", "not among"},
		"sandbox imports pay":           {"sandbox/b.go", "package sandbox\nimport _ \"" + ours("pay/channel") + "\"\n", "keeps its own books"},
		"sandbox test imports pay":      {"sandbox/b_test.go", "package sandbox\nimport _ \"" + ours("pay/channel") + "\"\n", "keeps its own books"},
		"replay imports pay":            {"replay/b.go", pkg("replay", ours("pay")), "from outside"},
		"bench imports pay":             {"bench/b.go", pkg("bench", ours("pay/commit")), "from outside"},
		"api imports app":               {"api/b.go", "package api\nimport _ \"" + ours("app") + "\"\n", "only cmd starts"},
		"api imports the driver":        {"api/b.go", "package api\nimport _ \"github.com/jackc/pgx/v5/pgxpool\"\n", "the database belongs"},
		"api imports dispatch":          {"api/b.go", "package api\nimport _ \"" + ours("pay/dispatch") + "\"\n", "not among"},
		"cmd imports a station":         {"cmd/moneta/b.go", "package main\nimport _ \"" + ours("pay/dispatch") + "\"\n", "not among"},
		"plumbing imports a domain":     {"internal/clock/b.go", "package clock\nimport _ \"" + ours("money") + "\"\n", "not among"},
		"behind a build tag":            {"pay/b_plan9.go", "//go:build plan9\n\npackage pay\nimport _ \"" + ours("doctor") + "\"\n", "with the doctor gone"},
		"the old log":                   {"api/b.go", "package api\nimport _ \"log\"\n", "use log/slog"},
		"unknown package":               {"pay/refund/refund.go", pkg("refund"), "is not in the map"},
		"unknown plane":                 {"planet/planet.go", pkg("planet"), "is not in the map"},
		"the doctor imports pay":        {"doctor/b.go", pkg("doctor", ours("pay")), "stacks that are not ours"},
		"a collector imports pay":       {"doctor/signal/telemetry/b.go", pkg("telemetry", ours("pay/ledger")), "stacks that are not ours"},
		"the engine imports collectors": {"doctor/diagnose/b.go", pkg("diagnose", ours("doctor/signal/telemetry")), "not among"},
		"the engine imports a library":  {"doctor/diagnose/b.go", pkg("diagnose", "gonum.org/v1/gonum/stat"), "standard library only"},
		"the engine reads the clock":    {"doctor/diagnose/b.go", timed("diagnose", "Now()"), "take a clock"},
		"no comment":                    {"pay/timer/timer.go", "package timer\n", "no package comment"},
		"no comment in a tests' folder": {"test/fault/a_test.go", "package fault\n", "no package comment"},
		"two comments":                  {"money/b.go", pkg("money"), "2 package comments"},
		"name util":                     {"internal/util/util.go", pkg("util"), "named for its role"},
		"name testutil":                 {"internal/testutil/a.go", pkg("testutil"), "named for its role"},
		"name types":                    {"internal/types/a.go", pkg("types"), "named for its role"},
		"sleeping test":                 {"money/b_test.go", "package money\nimport \"time\"\nfunc f() { time.Sleep(1) }\n", "time.Sleep in a test"},
		"sleeping test, renamed import": {"money/b_test.go", "package money\nimport tm \"time\"\nfunc f() { tm.Sleep(1) }\n", "time.Sleep in a test"},
		"bare clock":                    {"pay/timer/timer.go", timed("timer", "Now()"), "take a clock"},
		"bare clock, no reason given":   {"pay/timer/timer.go", strings.Replace(timed("timer", "Now()"), " }\n", " } //nolint:forbidigo\n", 1), "take a clock"},
		"float near money":              {"money/b.go", "package money\nvar rate float64\n", "never a float"},
		"float in the ledger":           {"pay/ledger/b.go", "package ledger\nfunc f(x float32) {}\n", "never a float"},
		"an order within a transaction": {
			"pay/dispatch/b.go", "package dispatch\nfunc f() { pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { ch.Send(ctx, o); return nil }) }\n", "while a transaction is open",
		},
		"an order behind a begin": {
			"pay/dispatch/b.go", "package dispatch\nfunc f() { tx, _ := pool.Begin(ctx); defer tx.Rollback(ctx); http.DefaultClient.Do(r) }\n", "while a transaction is open",
		},
		"work not done":      {"docs/a.md", "a TO" + "DO for later\n", "finish it"},
		"command not there":  {"docs/a.md", "this is not imple" + "mented\n", "is not offered"},
		"merge mark":         {"docs/a.md", strings.Repeat("<", 7) + " HEAD\n", "a merge left this"},
		"somebody's machine": {"docs/a.md", "see /ho" + "me/ann/x\n", "one machine"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree := cleanTree()
			tree[c.path] = c.content
			found, err := checkTree(tree.write(t))
			require.NoError(t, err)
			require.Len(t, found, 1, strings.Join(found, "\n"))
			require.Contains(t, found[0], c.want)
			require.Contains(t, found[0], filepath.ToSlash(filepath.Dir(c.path)))
		})
	}
}

// TestEveryNeverRuleBites plants each forbidden pair, so that none is shadowed or misspelt.
func TestEveryNeverRuleBites(t *testing.T) {
	t.Parallel()
	for _, n := range never {
		from, to := strings.TrimSuffix(n.from, "/..."), strings.TrimSuffix(n.to, "/...")
		s := source{dir: from, name: "x.go"}
		require.Equal(t, n.why, refuse(s, rule{imports: []string{"..."}, outside: withDriver}, ours(to)), "%s → %s", from, to)
	}
}

// TestRulesHoldTogether keeps the map itself honest: no rule allows what never
// forbids, and none allows a package that has no rule.
func TestRulesHoldTogether(t *testing.T) {
	t.Parallel()
	for _, dir := range slices.Sorted(maps.Keys(rules)) {
		for _, allowed := range rules[dir].imports {
			if strings.HasSuffix(allowed, "...") {
				continue
			}
			_, known := rules[allowed]
			require.True(t, known, "%s allows %s, which is not in the map", dir, allowed)
			for _, n := range never {
				require.False(t, within(dir, n.from) && within(allowed, n.to), "%s allows %s: %s", dir, allowed, n.why)
			}
		}
	}
}

func TestBrokenFilesAreNotPassedOver(t *testing.T) {
	t.Parallel()
	tree := cleanTree()
	tree["money/b.go"] = "package money\nfunc {"
	_, err := checkTree(tree.write(t))
	require.Error(t, err)
}
