package fault

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite docs/errors from the table")

var pagesDir = filepath.Join("..", "docs", "errors")

// wantPages returns every page that docs/errors must hold, by file name.
func wantPages(t *testing.T) map[string]string {
	t.Helper()
	pages := map[string]string{"README.md": MarkdownIndex()}
	for _, code := range Codes() {
		page, ok := Markdown(code)
		require.True(t, ok)
		pages[string(code)+".md"] = page
	}
	return pages
}

func TestPagesAreFresh(t *testing.T) {
	want := wantPages(t)
	if *update {
		writePages(t, want)
	}
	have := readPages(t)
	for name, page := range want {
		require.Contains(t, have, name, "missing page: run `go test ./fault -update`")
		require.Equal(t, page, have[name], "stale page %s: run `go test ./fault -update`", name)
	}
	for name := range have {
		require.Contains(t, want, name, "page of no code: run `go test ./fault -update`")
	}
}

func readPages(t *testing.T) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(pagesDir)
	require.NoError(t, err)
	pages := make(map[string]string, len(entries))
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(pagesDir, entry.Name()))
		require.NoError(t, err)
		pages[entry.Name()] = string(text)
	}
	return pages
}

func writePages(t *testing.T, pages map[string]string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(pagesDir, 0o755))
	for name := range readPages(t) {
		if _, ok := pages[name]; !ok {
			require.NoError(t, os.Remove(filepath.Join(pagesDir, name)))
		}
	}
	for name, page := range pages {
		require.NoError(t, os.WriteFile(filepath.Join(pagesDir, name), []byte(page), 0o644))
	}
}

func TestMarkdownOfUnknownCode(t *testing.T) {
	t.Parallel()
	page, ok := Markdown("no-such-code")
	require.False(t, ok)
	require.Empty(t, page)
}

func TestMarkdownTellsWhatTheCallerNeeds(t *testing.T) {
	t.Parallel()
	page, ok := Markdown(CommitUnknown)
	require.True(t, ok)
	entry, _ := Lookup(CommitUnknown)
	for _, part := range []string{
		"`commit-unknown`", "503 Service Unavailable", "`unknown_will_resolve`", "`safe_same_key`", "2s unless",
		entry.Title.En, entry.Title.Zh, entry.Cause.En, entry.Cause.Zh, entry.Fix.En, entry.Fix.Zh,
	} {
		require.Contains(t, page, part)
	}
}
