package diagnose

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
)

// A share that was as large long before the trouble is no evidence of what began since;
// one that nobody has known before, or that grew, is.
func TestWhatWasAlwaysSoTellsNothing(t *testing.T) {
	t.Parallel()
	above := 0.6
	s := &doctor.Sign{Signal: doctor.Starved, Of: "during", Above: &above, Yes: 6, No: .3}
	reading := func(before float64, points int, now float64) *doctor.Reading {
		return &doctor.Reading{Signal: doctor.Starved, StepS: 1, Before: doctor.Sample{Value: before, N: points}, During: doctor.Sample{Value: now, N: 20}}
	}
	require.True(t, asUsual(s, reading(.81, 237, .81), .81))
	require.True(t, asUsual(s, reading(.81, 237, .83), .83))
	require.False(t, asUsual(s, reading(.91, 237, .99), .99), "hardly anything is left")
	require.False(t, asUsual(s, reading(.81, 237, .95), .95), "it grew")
	require.False(t, asUsual(s, reading(.2, 237, .81), .81), "it was not so before")
	require.False(t, asUsual(s, reading(.81, 20, .81), .81), "twenty seconds are no usual")
	rise := *s
	rise.Of = "rise"
	require.False(t, asUsual(&rise, reading(.81, 237, .81), .81), "a rise is a change")
	full := .95
	for _, fills := range []doctor.Signal{doctor.PGSequence, doctor.PGConnections, doctor.PoolBusy} {
		level := &doctor.Sign{Signal: fills, Above: &full, Yes: 35}
		r := reading(.97, 237, .99)
		r.Signal = fills
		require.False(t, asUsual(level, r, .99), "%s was nearly full long before it was full", fills)
	}
}
