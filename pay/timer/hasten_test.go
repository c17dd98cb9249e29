package timer_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/timer"
)

func TestWhatWaitsIsOfferedAheadOfItsTime(t *testing.T) {
	t.Parallel()
	s := spin(t, t.Cleanup, nil)
	s.Note([]pay.Payment{open(1, pay.Unknown, time.Minute), open(2, pay.Unknown, time.Minute), open(3, pay.Processing, time.Minute)})
	s.turned(t)
	unknown := func(p *pay.Payment) bool { return p.State == pay.Unknown }
	found, err := s.Hasten(unknown, true)
	require.NoError(t, err)
	require.Equal(t, 2, found.Items)
	require.Equal(t, map[money.Asset]money.Amount{"CZK": money.Int(200)}, found.Worth)
	s.turned(t)
	require.Zero(t, s.times(1), "counting offers nothing")
	found, err = s.Hasten(unknown, false)
	require.NoError(t, err)
	require.Equal(t, 2, found.Items)
	eventually(t, "both are offered", func() bool { return s.times(1) == 1 && s.times(2) == 1 })
	require.Zero(t, s.times(3))
}

// Those that wait longest come first, and not all at once.
func TestWhatIsBroughtForwardIsBounded(t *testing.T) {
	t.Parallel()
	s := spin(t, t.Cleanup, nil)
	all := make([]pay.Payment, timer.HastenMax+5)
	for i := range all {
		all[i] = open(pay.ID(i+1), pay.Unknown, time.Hour)
		all[i].EnteredAt = epoch.Add(-time.Duration(i) * time.Second)
	}
	s.Note(all)
	found, err := s.Hasten(func(*pay.Payment) bool { return true }, false)
	require.NoError(t, err)
	require.Equal(t, timer.HastenMax, found.Items)
	eventually(t, "the oldest is offered", func() bool { return s.times(pay.ID(len(all))) == 1 })
	s.turned(t)
	require.Zero(t, s.times(5))
	require.Equal(t, 1, s.times(6))
}
