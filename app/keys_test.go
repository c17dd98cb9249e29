package app

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
)

func TestLimitsAreWrittenAsTheyAreShown(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]access.Limit{"off": {}, "600/1m0s": {Quota: 600, Window: time.Minute}, "1/1s": {Quota: 1, Window: time.Second}} {
		got, err := parseLimit(text)
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.Equal(t, text, showLimit(got))
	}
	for _, bad := range []string{"", "600", "600/", "/1m", "0/1m", "-1/1m", "600/x", "99999999999/1m"} {
		_, err := parseLimit(bad)
		require.ErrorContains(t, err, "600/1m", bad)
	}
}
