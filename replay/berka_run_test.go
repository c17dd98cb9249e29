package replay

import (
	"context"
	"hash/fnv"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// dice is true for about one in n rows, always the same ones.
func dice(row string, salt byte, n uint32) bool {
	h := fnv.New32a()
	_, _ = h.Write([]byte{salt})
	_, _ = h.Write([]byte(row))
	return h.Sum32()%n == 0
}

// The whole year through the driver, against a server that fails one call in
// fifteen: before the work, or after it without an answer. Two promises of the
// driver are at stake, that it sends every row once and that it finds exactly
// the accounts whose records were falsified.
func TestBerkaYearThroughAFailingServer(t *testing.T) {
	if testing.Short() {
		t.Skip("replays 28,205 rows")
	}
	t.Parallel()
	data, falsified := shiftBalances(t, 7, 50)
	w := newWorld(t)
	w.payouts, w.bookPage = "slow", 1_000
	w.dropAnswer = func(row string, nth int) bool { return nth == 0 && dice(row, 1, 20) }
	w.refuse = func(row string, nth int) *answer {
		if nth == 0 && dice(row, 2, 60) {
			return &answer{status: 503, body: `{"code":"starting","retry":"safe_same_key"}`}
		}
		return nil
	}
	o := options(t, w, data)
	o.Workers = 32
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	r, err := Run(ctx, o)
	require.NoError(t, err)
	require.EqualValues(t, 28_205, r.Payments)
	require.EqualValues(t, 28_205, r.Succeeded)
	require.Zero(t, r.Failed+r.Open+r.Unsent+r.BadRows)
	require.Zero(t, r.Doubled+r.Lost)
	require.True(t, r.OutsideBooksOK)
	require.EqualValues(t, 2_462+3_231, r.Outside.Effects)
	require.Greater(t, r.Retries, int64(1_000))
	require.EqualValues(t, 1_139-50, r.AccountsWithin)
	var found []string
	for _, b := range r.AccountBreaks {
		found = append(found, b.Account)
	}
	slices.Sort(found)
	require.Equal(t, falsified, found)
	require.Len(t, r.Problems(), 1)
	t.Logf("%s rows/s, %s s, stages %v", r.PerSecond, r.Wall, r.Stages)
}
