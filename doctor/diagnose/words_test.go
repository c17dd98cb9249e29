package diagnose

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
)

// Both languages take the same arguments in the same order, and every check has its
// question.
func TestWordsAgree(t *testing.T) {
	t.Parallel()
	verbs := regexp.MustCompile(`%[a-z]`)
	for code, w := range words {
		require.Equal(t, verbs.FindAllString(w[0], -1), verbs.FindAllString(w[1], -1), code)
		require.NotEqual(t, w[0], w[1], code)
		require.False(t, strings.HasSuffix(w[0], "."), code)
	}
	for _, kind := range doctor.Kinds() {
		require.NotEmpty(t, probes[kind], "nothing can be looked at next at a %s", kind)
		sum := 0.0
		for _, m := range mechanisms[kind] {
			sum += m.share
		}
		require.InDelta(t, 1, sum, 1e-9, "shares of the mechanisms of a %s", kind)
		for _, pr := range probes[kind] {
			require.Contains(t, words, "ask-"+pr.id)
		}
	}
}
