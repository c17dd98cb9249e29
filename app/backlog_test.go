package app

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/pay"
)

func TestWhatABacklogActIsAbout(t *testing.T) {
	t.Parallel()
	payout := func(state pay.State, attempt int16) *pay.Payment {
		p := &pay.Payment{Kind: pay.Payout, State: state}
		p.Attempt.N = attempt
		return p
	}
	for _, c := range []struct {
		act  string
		p    *pay.Payment
		fits bool
	}{
		{doctor.DoRedispatch, payout(pay.Reserved, 0), true},
		{doctor.DoRedispatch, payout(pay.Reserved, 1), false},
		{doctor.DoRedispatch, payout(pay.Unknown, 1), false},
		{doctor.DoRedispatch, payout(pay.Dispatching, 1), false},
		{doctor.DoRedispatch, &pay.Payment{Kind: pay.Hold, State: pay.Reserved}, false},
		{doctor.DoQueryUnknowns, payout(pay.Unknown, 1), true},
		{doctor.DoQueryUnknowns, payout(pay.Processing, 1), true},
		{doctor.DoQueryUnknowns, payout(pay.Reserved, 0), false},
		{doctor.DoReplayCallbacks, payout(pay.Unknown, 1), false},
	} {
		require.Equal(t, c.fits, fitsBacklog(c.act, c.p), "%s %s %d", c.act, c.p.State, c.p.Attempt.N)
	}
}
