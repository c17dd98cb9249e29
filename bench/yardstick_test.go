package bench

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The walk must visit every word before it comes back: a short cycle would lie in
// the cache and measure nothing.
func TestTheYardIsOneCycle(t *testing.T) {
	t.Parallel()
	y := newYard()
	at, n := y[0], 1
	for ; at != 0; n++ {
		at = y[at]
	}
	require.Equal(t, yardWords, n)
	require.Equal(t, y[0], y.walk(0, 1))
	require.Equal(t, uint64(0), y.walk(0, yardWords))
}

func TestTheYardIsMeasured(t *testing.T) {
	t.Parallel()
	if _, known := threadTime(); !known {
		t.Skip("this system does not tell a thread's own time")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*yardEvery+50*time.Millisecond)
	defer cancel()
	require.Positive(t, newYard().measured(ctx))
}
