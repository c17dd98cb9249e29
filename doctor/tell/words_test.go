package tell

import (
	"regexp"
	"slices"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

// Both languages have every text and take the same cells; no text brings a figure.
func TestWordsAgree(t *testing.T) {
	t.Parallel()
	cells := regexp.MustCompile(`\{[a-z0-9]+\}`)
	han := func(s string) bool {
		return slices.ContainsFunc([]rune(s), func(r rune) bool { return unicode.Is(unicode.Han, r) })
	}
	for key, w := range words {
		a, b := cells.FindAllString(w[0], -1), cells.FindAllString(w[1], -1)
		slices.Sort(a)
		slices.Sort(b)
		require.Equal(t, a, b, key)
		require.NotEqual(t, w[0], w[1], key)
		require.False(t, han(w[0]), key)
		for _, lang := range []int{0, 1} {
			require.Empty(t, numbers(cells.ReplaceAllString(w[lang], "")), key)
		}
	}
}
