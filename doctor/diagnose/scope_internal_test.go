package diagnose

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A share above one, as foreign telemetry has it when failures are counted twice, is
// everything; its interval is numbers.
func TestTheIntervalOfMoreThanAll(t *testing.T) {
	t.Parallel()
	share, low, high := interval(120, 60)
	require.InDelta(t, 1, share, 0)
	require.InDelta(t, 0.94, low, 0.01)
	require.InDelta(t, 1, high, 0)
	share, low, _ = interval(-3, 60)
	require.Zero(t, share)
	require.Zero(t, low)
}
