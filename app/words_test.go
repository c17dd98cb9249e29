package app

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor/diagnose"
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

// Every mechanism that an answer can name has words.
func TestMechanismsHaveWords(t *testing.T) {
	t.Parallel()
	for _, m := range diagnose.Mechanisms() {
		require.NotEqual(t, mechanismWord("en", m), mechanismWord("zh", m))
	}
}
