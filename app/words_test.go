package app

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// Both languages take the same arguments in the same order.
func TestWordsAgree(t *testing.T) {
	t.Parallel()
	verbs := regexp.MustCompile(`%[.0-9]*[a-z]`)
	for key, w := range words {
		require.Equal(t, verbs.FindAllString(w[0], -1), verbs.FindAllString(w[1], -1), key)
		require.NotEqual(t, w[0], w[1], key)
	}
}
