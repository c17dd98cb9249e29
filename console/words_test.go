package console

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var placeholders = regexp.MustCompile(`\{\w+\}`)

// TestWords: everything is said in both languages, with the same figures in it. That a
// used word exists, the compiler of the console says.
func TestWords(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("web/src/*/*/words.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range append(files, "web/src/words/common.json") {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		var words map[string]map[string]string
		require.NoError(t, json.Unmarshal(raw, &words), file)
		for key, text := range words {
			require.Len(t, text, 2, "%s: %s has en and zh, nothing else", file, key)
			require.NotEmpty(t, strings.TrimSpace(text["en"]), "%s: %s", file, key)
			require.NotEmpty(t, strings.TrimSpace(text["zh"]), "%s: %s", file, key)
			in := func(lang string) []string {
				all := placeholders.FindAllString(text[lang], -1)
				slices.Sort(all)
				return slices.Compact(all)
			}
			require.Equal(t, in("en"), in("zh"), "%s: %s says other figures in Chinese", file, key)
		}
	}
}

// TestNoChineseOutsideTheWords: no sentence stands in a component.
func TestNoChineseOutsideTheWords(t *testing.T) {
	t.Parallel()
	chinese := regexp.MustCompile(`\p{Han}`)
	title := regexp.MustCompile(`title: \{ en: '[^']+', zh: '[^']+' \}`)
	require.NoError(t, filepath.WalkDir("web/src", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".tsx") && !strings.HasSuffix(path, ".ts") {
			return err
		}
		raw, err := os.ReadFile(path)
		require.NoError(t, err)
		for i, line := range strings.Split(title.ReplaceAllString(string(raw), ""), "\n") {
			require.False(t, chinese.MatchString(line) && !strings.Contains(line, "'中文'"), "%s:%d: words belong into words.json, in both languages", path, i+1)
		}
		return nil
	}))
}
