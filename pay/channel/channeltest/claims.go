package channeltest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/pay/channel/probe"
)

// Claims puts everything that a channel claims to the test, on clocks that run, and
// fails under the name of each claim that does not hold.
func Claims(t *testing.T, target probe.Target) {
	t.Helper()
	report, err := probe.Run(t.Context(), target)
	require.NoError(t, err)
	for _, f := range report.Findings {
		t.Run(string(f.Capability), func(t *testing.T) {
			require.NotEqual(t, probe.Failed, f.Status, f.Detail)
			t.Logf("%s: %s", f.Status, f.Detail)
		})
	}
}
