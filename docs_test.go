package moneta_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// pages returns every Markdown page of the tree with its text.
func pages(t *testing.T) files {
	t.Helper()
	out := files{}
	require.NoError(t, walk(".", func(rel string) error {
		if path.Ext(rel) != ".md" {
			return nil
		}
		b, err := os.ReadFile(filepath.FromSlash(rel))
		out[rel] = string(b)
		return err
	}))
	require.NotEmpty(t, out)
	return out
}

var (
	mdLink   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	makeCall = regexp.MustCompile("`make ([a-z-]+)`")
	target   = regexp.MustCompile(`(?m)^([a-z][a-z-]*):`)
	adrRow   = regexp.MustCompile(`\| \[(\d{4})\]\((\S+\.md)\)`)
	stations = regexp.MustCompile("(?m)^\\|.*`([a-z/]+)/`.*\\| (built|in work|planned) \\|$")
)

func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	for page, text := range pages(t) {
		for _, m := range mdLink.FindAllStringSubmatch(text, -1) {
			to, _, _ := strings.Cut(m[1], "#")
			if to == "" || strings.Contains(to, "://") || strings.HasPrefix(to, "mailto:") {
				continue
			}
			require.FileExists(t, orFolder(path.Join(path.Dir(page), to)), "%s links %s", page, m[1])
		}
	}
}

// orFolder names a file in the folder when to is one, since FileExists wants files.
func orFolder(to string) string {
	if entries, err := os.ReadDir(to); err == nil {
		for _, e := range entries {
			if !e.IsDir() {
				return path.Join(to, e.Name())
			}
		}
	}
	return to
}

func TestDocumentedMakeTargetsExist(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile("Makefile")
	require.NoError(t, err)
	var known []string
	for _, m := range target.FindAllStringSubmatch(string(makefile), -1) {
		known = append(known, m[1])
	}
	for page, text := range pages(t) {
		for _, m := range makeCall.FindAllStringSubmatch(text, -1) {
			require.Contains(t, known, m[1], page)
		}
	}
}

// TestReadmeClaimsWhatExists: what README calls built has code and tests, and what
// it calls planned has none.
func TestReadmeClaimsWhatExists(t *testing.T) {
	t.Parallel()
	readme := pages(t)["README.md"]
	rows := stations.FindAllStringSubmatch(readme, -1)
	require.Greater(t, len(rows), 20, "the tables of stations were not understood")
	for _, m := range rows {
		code, tests := 0, 0
		dir := m[1]
		if _, err := os.Stat(dir); err == nil {
			require.NoError(t, walk(dir, func(rel string) error {
				switch {
				case strings.HasSuffix(rel, "_test.go"):
					tests++
				case strings.HasSuffix(rel, ".go"):
					code++
				}
				return nil
			}))
		}
		switch m[2] {
		case "built":
			require.Positive(t, code, "README calls %s built", dir)
			require.Positive(t, tests, "README calls %s built", dir)
		case "planned":
			require.Zero(t, code, "README calls %s planned, but there is code", dir)
		}
	}
}

func TestDecisionsAreListedAndWhole(t *testing.T) {
	t.Parallel()
	all := pages(t)
	var listed []string
	for _, m := range adrRow.FindAllStringSubmatch(all["docs/adr/README.md"], -1) {
		require.True(t, strings.HasPrefix(m[2], m[1]+"-"), "number and file of %s", m[2])
		listed = append(listed, m[2])
	}
	require.True(t, slices.IsSorted(listed), "in the order of their numbers")
	for page, text := range all {
		if path.Dir(page) != "docs/adr" || path.Base(page) == "README.md" {
			continue
		}
		require.Contains(t, listed, path.Base(page), "not in docs/adr/README.md")
		require.Regexp(t, `(?m)^# `+path.Base(page)[:4]+`\. `, text)
		require.Regexp(t, `(?m)^Date: \d{4}-\d{2}-\d{2}\. Status: (proposed|accepted|superseded by \[?\d{4}.*)\.$`, text)
		for _, part := range []string{"## Context", "## Options", "## Decision", "## Cost"} {
			require.Contains(t, text, "\n"+part+"\n", page)
		}
		require.Less(t, len(strings.Fields(text)), 700, "%s: one page", page)
	}
}

var fuzzTarget = regexp.MustCompile(`(?m)^func (Fuzz[A-Za-z0-9_]+)\(`)

// withoutCorpus names the fuzz targets of a tree that have no committed corpus: what
// was hard once is tried by every `go test`, without fuzzing.
func withoutCorpus(root string) (targets int, bare []string, err error) {
	err = walk(root, func(rel string) error {
		if !strings.HasSuffix(rel, "_test.go") {
			return nil
		}
		b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(rel)))
		if err != nil {
			return err
		}
		for _, m := range fuzzTarget.FindAllStringSubmatch(string(b), -1) {
			targets++
			inputs, _ := os.ReadDir(filepath.Join(root, filepath.FromSlash(path.Dir(rel)), "testdata", "fuzz", m[1])) // none is empty
			if len(inputs) == 0 {
				bare = append(bare, path.Dir(rel)+": "+m[1])
			}
		}
		return nil
	})
	return targets, bare, err
}

func TestEveryFuzzTargetHasACorpus(t *testing.T) {
	t.Parallel()
	targets, bare, err := withoutCorpus(".")
	require.NoError(t, err)
	require.GreaterOrEqual(t, targets, 40)
	require.Empty(t, bare, "commit what is worth trying again below testdata/fuzz")

	// The control: a target whose corpus was forgotten.
	_, bare, err = withoutCorpus(files{"a/a_test.go": "package a\n\nfunc FuzzA(f *testing.F) {}\n"}.write(t))
	require.NoError(t, err)
	require.Equal(t, []string{"a: FuzzA"}, bare)
}
