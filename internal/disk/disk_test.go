package disk_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/disk"
)

func TestUsageOfThisDisk(t *testing.T) {
	t.Parallel()
	u, err := disk.Of(t.TempDir())
	require.NoError(t, err)
	require.Positive(t, u.Total)
	require.LessOrEqual(t, u.Free, u.Total)
	require.GreaterOrEqual(t, u.FreeShare(), 0.0)
	require.LessOrEqual(t, u.FreeShare(), 1.0)
	_, err = disk.Of("/nobody/has/this")
	require.Error(t, err)
}

func TestTrendTellsWhenItIsFull(t *testing.T) {
	t.Parallel()
	var tr disk.Trend
	at := time.Unix(1_000, 0)
	require.Equal(t, disk.NeverFull, tr.Note(at, 1_000))
	require.Equal(t, disk.NeverFull, tr.Note(at.Add(time.Second), 900), "a second is no pace")
	// 100 a second used from 1,000 on: 400 left after 6 s are gone in 4.
	require.InDelta(t, 4.0, tr.Note(at.Add(6*time.Second), 400).Seconds(), 0.01)
	// Somebody cleaned up: it does not fill.
	require.Equal(t, disk.NeverFull, tr.Note(at.Add(7*time.Second), 5_000))
	// A minute later the old pace is forgotten.
	require.Equal(t, disk.NeverFull, tr.Note(at.Add(90*time.Second), 5_000))
	require.Equal(t, disk.NeverFull, tr.Note(at.Add(100*time.Second), 5_000))
}

func TestFlush(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for range 2 {
		took, err := disk.Flush(dir, "flush", time.Now)
		require.NoError(t, err)
		require.Positive(t, took)
		require.Less(t, took, 30*time.Second)
	}
	_, err := disk.Flush(dir+"/not", "flush", time.Now)
	require.Error(t, err)
}
