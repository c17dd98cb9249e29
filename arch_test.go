// Package moneta_test holds the rules of the whole tree: who may import whom, what
// every package must say about itself, and the house rules. It reads the files
// themselves and refuses to ask the go command, whose answers may come from a cache
// and leave out files behind build tags.
package moneta_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/moneta-pay/moneta"

// rule says what one package may import besides the standard library. A pattern
// is a package's folder, or "folder/..." for it and all below it.
type rule struct {
	imports []string // packages of this module
	outside outside  // packages of others
}

type outside int

const (
	stdlibOnly    outside = iota // pure rules: nothing of others
	withoutDriver                // others' libraries, but no database driver
	withDriver                   // pgx too: Postgres is the database, see docs/adr/0001
)

var (
	leaves  = []string{"money", "fault", "event", "lever"}
	station = with("pay", "pay/ledger", "pay/commit", "pay/channel")
)

// with returns the leaves, the plumbing and the packages named.
func with(more ...string) []string {
	return slices.Concat(leaves, []string{"internal/..."}, more)
}

// rules is the map of the tree. A package that is not in it fails the test: a new
// package is a decision, made here.
var rules = map[string]rule{
	"money": {}, "fault": {}, "lever": {},
	"lever/board": {imports: with(), outside: withDriver},
	"event":       {imports: []string{"money"}},

	"pay":                     {imports: with(), outside: stdlibOnly},
	"pay/guard":               {imports: with("pay"), outside: withDriver},
	"pay/status":              {imports: slices.Concat(leaves, []string{"pay"}), outside: stdlibOnly},
	"pay/ledger":              {imports: with(), outside: withDriver},
	"pay/commit":              {imports: with("pay", "pay/ledger", "pay/status"), outside: withDriver},
	"pay/intake":              {imports: with("pay", "pay/ledger", "pay/commit", "pay/guard"), outside: withDriver},
	"pay/dispatch":            {imports: slices.Concat(station, []string{"pay/channel/probe"}), outside: withDriver},
	"pay/settle":              {imports: station, outside: withDriver},
	"pay/recon":               {imports: slices.Concat(station, []string{"pay/recon/statement"}), outside: withDriver},
	"pay/recon/statement":     {imports: with("pay/channel"), outside: stdlibOnly},
	"pay/outbox":              {imports: with("pay"), outside: withDriver},
	"pay/notify":              {imports: with("pay"), outside: withDriver},
	"pay/finance":             {imports: with("pay", "pay/ledger"), outside: withDriver},
	"pay/receipt":             {imports: with("pay", "pay/status"), outside: withDriver},
	"pay/desk":                {imports: with("pay", "pay/status"), outside: withDriver},
	"pay/trail":               {imports: with("pay"), outside: withDriver},
	"pay/timer":               {imports: station, outside: withDriver},
	"pay/invariant":           {imports: []string{"pay", "internal/..."}, outside: withDriver}, // shares nothing with what it checks but the table of legal moves
	"pay/channel":             {imports: with(), outside: withoutDriver},
	"pay/channel/once":        {imports: with("pay/channel"), outside: withoutDriver},
	"pay/channel/sandbox":     {imports: with("pay/channel", "pay/channel/once"), outside: withoutDriver},
	"pay/channel/probe":       {imports: with("pay/channel"), outside: withoutDriver},
	"pay/channel/channeltest": {imports: with("pay/channel", "pay/channel/probe"), outside: withoutDriver},

	// A recount shares nothing with what it checks, nor with who looks for causes.
	"doctor/prove": {imports: []string{"money", "internal/..."}, outside: withDriver},

	"access": {imports: with(), outside: withDriver},
	"schema": {imports: []string{"internal/..."}, outside: withDriver},
	"config": {imports: with(), outside: withoutDriver},
	"api": {
		imports: with("pay", "pay/intake", "pay/invariant", "pay/finance", "pay/ledger", "pay/commit", "pay/recon", "pay/recon/statement", "pay/settle", "pay/status", "pay/desk", "pay/trail", "pay/channel", "pay/notify", "pay/outbox", "pay/receipt", "access"),
		outside: withoutDriver,
	},
	// The doctor's stations import its root and leaves, never one another, and never pay.
	// doctor and doctor/diagnose are pure: an answer must be reproducible anywhere.
	"doctor":                   {imports: leaves, outside: stdlibOnly},
	"doctor/diagnose":          {imports: slices.Concat(leaves, []string{"doctor"}), outside: stdlibOnly},
	"doctor/signal":            {imports: with("doctor"), outside: withoutDriver},
	"doctor/signal/telemetry":  {imports: with("doctor"), outside: withoutDriver},
	"doctor/signal/petshop":    {imports: with("doctor", "doctor/signal/telemetry"), outside: withoutDriver},
	"doctor/signal/money":      {imports: with("doctor", "doctor/signal"), outside: withDriver},
	"doctor/stuck":             {imports: with("doctor"), outside: withDriver},
	"doctor/drain":             {imports: with("doctor"), outside: stdlibOnly},
	"doctor/signal/postgres":   {imports: with("doctor", "doctor/signal"), outside: withDriver},
	"doctor/signal/process":    {imports: with("doctor", "doctor/signal"), outside: withoutDriver},
	"doctor/signal/metrics":    {imports: with("doctor", "doctor/signal"), outside: withoutDriver},
	"doctor/signal/probe":      {imports: with("doctor", "doctor/signal"), outside: withoutDriver},
	"doctor/signal/canary":     {imports: with("doctor", "doctor/signal"), outside: withoutDriver},
	"doctor/signal/otlp":       {imports: with("doctor", "doctor/signal", "doctor/signal/telemetry"), outside: withoutDriver},
	"doctor/signal/logs":       {imports: with("doctor", "doctor/signal"), outside: withoutDriver},
	"doctor/signal/prometheus": {imports: with("doctor", "doctor/signal"), outside: withoutDriver},
	"doctor/slo":               {imports: with("doctor"), outside: stdlibOnly},
	"doctor/catalog":           {imports: with("doctor"), outside: withoutDriver},
	"doctor/journal":           {imports: with("doctor"), outside: withoutDriver},
	"doctor/river":             {imports: with("doctor"), outside: stdlibOnly},
	"doctor/notice":            {imports: with("doctor"), outside: stdlibOnly},
	"doctor/tell":              {imports: with("doctor"), outside: stdlibOnly},
	"doctor/runbook":           {imports: with("doctor"), outside: withoutDriver},
	"doctor/contain":           {imports: with("doctor", "lever/board"), outside: withoutDriver},
	"doctor/repair":            {imports: with("doctor"), outside: withDriver},
	"doctor/attend":            {imports: with("doctor"), outside: withoutDriver},
	"doctor/drill":             {imports: with("doctor"), outside: withDriver},

	"app":        {imports: []string{"..."}, outside: withDriver},
	"console":    {outside: stdlibOnly}, // what browsers get; it knows neither plane
	"cmd/moneta": {imports: []string{"app", "config", "internal/..."}, outside: withoutDriver},

	"sandbox": {imports: []string{"money", "internal/..."}, outside: withoutDriver},
	"replay":  {imports: with(), outside: withoutDriver},
	"bench":   {imports: with(), outside: withDriver},

	"internal/...":     {imports: []string{"internal/..."}, outside: withDriver},
	"internal/pgbatch": {imports: []string{"internal/...", "money"}, outside: withDriver},
	"internal/pgtest":  {imports: []string{"internal/...", "schema"}, outside: withDriver},
	"test/...":         {imports: []string{"..."}, outside: withDriver},
	"examples/...":     {imports: with("pay/channel"), outside: withoutDriver},
	".":                {},
}

// testImports is what _test.go files may import beyond their package's rule: a
// test of one station may put its neighbours and the outside world around it.
func testImports(dir string) []string {
	more := slices.Concat(leaves, []string{"internal/...", "schema", "test/..."})
	switch {
	case within(dir, "pay/..."), dir == "api", dir == "app":
		more = append(more, "pay/...", "access", "sandbox", "lever/board")
	case within(dir, "doctor/..."):
		more = append(more, "doctor/...")
	case dir == "cmd/moneta":
		more = append(more, "app", "config")
	}
	return more
}

// never lists what no rule above can permit, tests included.
var never = []struct{ from, to, why string }{
	{"pay/...", "doctor/...", "the pay plane must run with the doctor gone"},
	{"doctor/prove/...", "pay/...", "a recount that shares code with what it checks proves nothing"},
	{"doctor/...", "pay/...", "the doctor also serves stacks that are not ours"},
	{"sandbox/...", "pay/...", "the outside world keeps its own books: shared code would share its mistakes"},
	{"replay/...", "pay/...", "it measures from outside, through the API"},
	{"bench/...", "pay/...", "it measures from outside, through the API"},
	{"pay/...", "app", "stations are wired, they do not wire"},
	{"pay/...", "api", "stations do not know their edge"},
	{"pay/...", "config", "stations take their own small Config"},
	{"api", "config", "the edge takes its own small Config"},
}

// appImporters are the only ones who may import app.
var appImporters = []string{"cmd/...", "test/...", "app"}

// Where a float or a bare clock reading is a bug. A line may say why it is none,
// as it must for the linter: a trailing "nolint:forbidigo" with its reason.
var (
	noFloat = []string{"money", "pay", "pay/ledger", "pay/commit", "pay/intake", "pay/settle", "pay/recon"}
	noClock = []string{"money", "fault", "event", "lever/...", "pay/...", "doctor", "doctor/diagnose", "doctor/signal", "doctor/attend", "doctor/runbook", "doctor/journal"}
	// A rail's latency is measured on the wire, with the monotonic clock; the suite
	// for adapters runs in tests, on real sockets and real time.
	clockExempt = []string{"pay/channel/once", "pay/channel/channeltest"}
	// Prometheus counts in floats; nothing that is counted there is an amount.
	floatExempt = "metrics.go"

	excused = regexp.MustCompile(`^//nolint:[a-z,]*forbidigo[a-z,]* // \S`)
)

// badNames say what kind of code is inside, not what it is for.
var badNames = []string{"util", "utils", "common", "helper", "helpers", "types", "manager", "managers", "misc", "shared"}

func TestTree(t *testing.T) {
	t.Parallel()
	found, err := checkTree(".")
	require.NoError(t, err)
	require.Empty(t, found, "rules of the tree: see arch_test.go, ARCHITECTURE.md and CONTRIBUTING.md\n%s", strings.Join(found, "\n"))
}

// source is one parsed file.
type source struct {
	dir, name string // dir is "." at the root, with forward slashes
	file      *ast.File
	fset      *token.FileSet
}

func (s source) isTest() bool { return strings.HasSuffix(s.name, "_test.go") }

func (s source) line(p token.Pos) int { return s.fset.Position(p).Line }

func (s source) at(p token.Pos) string {
	return fmt.Sprintf("%s:%d", path.Join(s.dir, s.name), s.line(p))
}

// checkTree returns what breaks the rules below root, sorted by file.
func checkTree(root string) ([]string, error) {
	sources, err := parseTree(root)
	if err != nil {
		return nil, err
	}
	var found []string
	byDir := map[string][]source{}
	for _, s := range sources {
		byDir[s.dir] = append(byDir[s.dir], s)
		found = append(found, checkImports(s)...)
		found = append(found, checkWords(s)...)
		found = append(found, checkTransactions(s)...)
	}
	for dir, files := range byDir {
		found = append(found, checkPackage(dir, files)...)
	}
	words, err := checkText(root)
	found = append(found, words...)
	slices.Sort(found)
	return slices.Compact(found), err
}

func parseTree(root string) ([]source, error) {
	var out []source
	fset := token.NewFileSet()
	err := walk(root, func(rel string) error {
		if !strings.HasSuffix(rel, ".go") {
			return nil
		}
		f, err := parser.ParseFile(fset, filepath.Join(root, filepath.FromSlash(rel)), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		out = append(out, source{dir: path.Dir(rel), name: path.Base(rel), file: f, fset: fset})
		return nil
	})
	return out, err
}

// walk visits the module's own files: no hidden folders, no test data, no nested
// modules, nothing built.
func walk(root string, visit func(rel string) error) error {
	return filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == root {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		if !d.IsDir() {
			return visit(filepath.ToSlash(rel))
		}
		name := d.Name()
		if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") ||
			slices.Contains([]string{"testdata", "node_modules", "vendor", "bin", "dist", "tmp"}, name) {
			return fs.SkipDir
		}
		if _, err := os.Stat(filepath.Join(p, "go.mod")); err == nil {
			return fs.SkipDir
		}
		return nil
	})
}

// within reports whether a package's folder matches a pattern.
func within(dir, pattern string) bool {
	tree, all := strings.CutSuffix(pattern, "...")
	if !all {
		return dir == pattern
	}
	tree = strings.TrimSuffix(tree, "/")
	return tree == "" || dir == tree || strings.HasPrefix(dir, tree+"/")
}

func withinAny(dir string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return within(dir, p) })
}

// ruleOf finds a package's rule: its own, or that of the tree it stands in.
func ruleOf(dir string) (rule, bool) {
	if r, ok := rules[dir]; ok {
		return r, true
	}
	for pattern, r := range rules {
		if strings.HasSuffix(pattern, "/...") && within(dir, pattern) {
			return r, true
		}
	}
	return rule{}, false
}

func checkImports(s source) []string {
	var found []string
	r, known := ruleOf(s.dir)
	if !known {
		return []string{fmt.Sprintf("%s: package %s is not in the map: decide in arch_test.go what it may import", s.at(1), s.dir)}
	}
	for _, spec := range s.file.Imports {
		p, _ := strconv.Unquote(spec.Path.Value)
		if why := refuse(s, r, p); why != "" {
			found = append(found, fmt.Sprintf("%s: %s may not import %s: %s", s.at(spec.Pos()), s.dir, p, why))
		}
	}
	return found
}

// refuse says why the import is wrong, or "".
func refuse(s source, r rule, imported string) string {
	dir, ours := strings.CutPrefix(imported, module+"/")
	if imported == module {
		dir, ours = ".", true
	}
	if !ours {
		return refuseOutside(s, r, imported)
	}
	for _, n := range never {
		if within(s.dir, n.from) && within(dir, n.to) {
			return n.why
		}
	}
	if within(dir, "app/...") && !withinAny(s.dir, appImporters) {
		return "only cmd starts the application"
	}
	if dir == s.dir || withinAny(dir, r.imports) || (s.isTest() && withinAny(dir, testImports(s.dir))) {
		return ""
	}
	return "not among what its rule allows"
}

func refuseOutside(s source, r rule, imported string) string {
	first, _, _ := strings.Cut(imported, "/")
	switch {
	case !strings.Contains(first, "."): // the standard library
		if slices.Contains([]string{"log", "math/rand"}, imported) {
			return "use log/slog, math/rand/v2 or crypto/rand"
		}
		return ""
	case s.isTest():
		return ""
	case r.outside == stdlibOnly:
		return "standard library only"
	case r.outside == withoutDriver && strings.HasPrefix(imported, "github.com/jackc/pgx"):
		return "the database belongs to the stations, schema, access and app"
	}
	return ""
}

// checkPackage checks a package's name and its one comment.
func checkPackage(dir string, files []source) []string {
	var found []string
	if slices.Contains(badNames, path.Base(dir)) || strings.HasSuffix(path.Base(dir), "util") {
		found = append(found, fmt.Sprintf("%s: a package is named for its role on the road, not for the kind of code in it", dir))
	}
	if slices.ContainsFunc(files, func(s source) bool { return !s.isTest() }) {
		files = slices.DeleteFunc(slices.Clone(files), source.isTest)
	}
	var in []string
	for _, s := range files {
		if s.file.Doc != nil && strings.TrimSpace(s.file.Doc.Text()) != "" {
			in = append(in, s.name)
		}
	}
	switch {
	case len(in) == 0:
		found = append(found, fmt.Sprintf("%s: no package comment: say what it is for and what it refuses to do", dir))
	case len(in) > 1:
		found = append(found, fmt.Sprintf("%s: %d package comments (%s): keep one", dir, len(in), strings.Join(in, ", ")))
	}
	return found
}

// checkWords checks the house rules that need a look at the code.
func checkWords(s source) []string {
	var found []string
	timeName := importName(s.file, "time")
	reasons := excusedLines(s)
	clock := !s.isTest() && withinAny(s.dir, noClock) && !slices.Contains(clockExempt, s.dir)
	float := !s.isTest() && slices.Contains(noFloat, s.dir) && s.name != floatExempt
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			if !ok || timeName == "" || x.Name != timeName {
				return true
			}
			if s.isTest() && n.Sel.Name == "Sleep" {
				found = append(found, s.at(n.Pos())+": time.Sleep in a test: wait for a signal or a condition with a deadline")
			}
			if clock && slices.Contains([]string{"Now", "Since", "Until"}, n.Sel.Name) && !reasons[s.line(n.Pos())] {
				found = append(found, s.at(n.Pos())+": time."+n.Sel.Name+": take a clock, so that tests and drills can own time")
			}
		case *ast.Ident:
			if float && (n.Name == "float64" || n.Name == "float32") && !reasons[s.line(n.Pos())] {
				found = append(found, s.at(n.Pos())+": "+n.Name+": money is never a float")
			}
		}
		return true
	})
	return found
}

// outward are calls that leave the process, or wait for the decider, by their names.
var outward = []string{"Send", "Do", "RoundTrip", "Statement", "Dial", "DialContext", "Submit", "SubmitAll"}

// checkTransactions finds what leaves the process while a database transaction is open:
// in the function literal that pgx.BeginFunc or BeginTxFunc runs, and in a function that
// begins one itself, behind that. It reads names, so it sees what stands there, and not
// what a called function does.
func checkTransactions(s source) []string {
	if s.isTest() || !withinAny(s.dir, []string{"pay/...", "access", "app", "api", "lever/..."}) {
		return nil
	}
	var found []string
	look := func(body ast.Node, from token.Pos) {
		ast.Inspect(body, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || call.Pos() < from {
				return true
			}
			if sel, ok := call.Fun.(*ast.SelectorExpr); ok && slices.Contains(outward, sel.Sel.Name) {
				found = append(found, s.at(call.Pos())+": "+sel.Sel.Name+" while a transaction is open: commit first, or ask first; a slow partner must hold no lock")
			}
			return true
		})
	}
	for _, d := range s.file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Body == nil {
			continue
		}
		ast.Inspect(f.Body, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			switch sel.Sel.Name {
			case "BeginFunc", "BeginTxFunc":
				for _, a := range call.Args {
					if lit, ok := a.(*ast.FuncLit); ok {
						look(lit.Body, lit.Pos())
					}
				}
			case "Begin", "BeginTx":
				if x, ok := sel.X.(*ast.SelectorExpr); !ok || !strings.EqualFold(x.Sel.Name, "flights") { // those are keys under way
					look(f.Body, call.End())
				}
			}
			return true
		})
	}
	return found
}

// excusedLines are those whose trailing comment says why the rule does not apply.
func excusedLines(s source) map[int]bool {
	lines := map[int]bool{}
	for _, group := range s.file.Comments {
		for _, c := range group.List {
			if excused.MatchString(c.Text) {
				lines[s.line(c.Pos())] = true
			}
		}
	}
	return lines
}

// importName returns the name under which the file uses the package, or "".
func importName(f *ast.File, importPath string) string {
	for _, spec := range f.Imports {
		if p, _ := strconv.Unquote(spec.Path.Value); p == importPath {
			if spec.Name != nil {
				return spec.Name.Name
			}
			return path.Base(importPath)
		}
	}
	return ""
}

// textFiles are read for words that must not stay in the tree.
var textFiles = []string{".go", ".md", ".sql", ".sh", ".yml", ".yaml", ".json", ".html", ".ts", ".tsx", ".css", ".svg", ".toml", ".txt"}

// leftOvers are marks of work not done and paths of one person's machine. The
// brackets keep this file from finding itself.
var leftOvers = []struct {
	re  *regexp.Regexp
	why string
}{
	{regexp.MustCompile(`\b(TOD[O]|FIXM[E])\b`), "finish it, or write it into CHANGELOG's open list"},
	{regexp.MustCompile(`(?i)\bnot implemente[d]\b`), "a command that is not there yet is not offered"},
	{regexp.MustCompile(`^(<{7} |>{7} |={7}$)`), "a merge left this behind"},
	{regexp.MustCompile(`(^|[^a-zA-Z0-9.*])/(hom[e]|User[s]|wor[k]|far[m]|mn[t])/[a-z]`), "a path of one machine"},
	{regexp.MustCompile(`(^|[^a-zA-Z0-9])\.librar[y]/`), "a path of one machine"},
}

func checkText(root string) ([]string, error) {
	var found []string
	err := walk(root, func(rel string) error {
		if !slices.Contains(textFiles, path.Ext(rel)) && path.Base(rel) != "Makefile" {
			return nil
		}
		b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(rel)))
		if err != nil {
			return err
		}
		for i, line := range strings.Split(string(b), "\n") {
			for _, w := range leftOvers {
				if m := w.re.FindString(line); m != "" {
					found = append(found, fmt.Sprintf("%s:%d: %q: %s", rel, i+1, strings.TrimSpace(m), w.why))
				}
			}
		}
		return nil
	})
	return found, err
}
