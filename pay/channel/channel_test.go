package channel_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/pay/channel"
)

func TestZeroWordKnowsNothing(t *testing.T) {
	var word channel.Word
	require.Equal(t, channel.Unknown, word.Verdict)
	require.Equal(t, "unknown", word.Verdict.String())
	require.Empty(t, word.Direction.String())
	require.False(t, word.Verdict.Final())
}

func TestOnlyTheChannelsOwnWordIsFinal(t *testing.T) {
	final := map[channel.Verdict]bool{channel.Confirmed: true, channel.Declined: true}
	names := map[string]bool{}
	for v := channel.Unknown; v <= channel.ChargedBack; v++ {
		require.Equal(t, final[v], v.Final(), v.String())
		require.False(t, names[v.String()], "names are distinct")
		names[v.String()] = true
	}
	require.Equal(t, "unknown", channel.Verdict(200).String(), "a verdict from another version is not known")
}

func TestNotFoundCountsOnlyAfterEverythingIsOver(t *testing.T) {
	caps := channel.Capabilities{ClientTimeout: 3 * time.Second, VisibilityDelay: 5 * time.Second}
	sendBy := time.Date(1993, 1, 5, 0, 0, 0, 0, time.UTC)
	require.Equal(t, sendBy.Add(8*time.Second), caps.NotFoundCounts(sendBy))
}

func TestQueryAfter(t *testing.T) {
	caps := channel.Capabilities{QuerySchedule: []time.Duration{1, 2, 4}}
	for n, want := range map[int]time.Duration{-1: 1, 0: 1, 1: 2, 2: 4, 3: 4, 1000: 4} {
		require.Equal(t, want, caps.QueryAfter(n))
	}
	require.Equal(t, time.Second, channel.Capabilities{}.QueryAfter(0), "never a busy loop")
	require.Equal(t, 9*time.Second, channel.Capabilities{VisibilityDelay: 9 * time.Second}.QueryAfter(7))
}
