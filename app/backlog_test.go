package app

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/api"
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

// Who names payments gets exactly those, and of each other one why it is left out.
func TestChosenPaymentsOfABacklog(t *testing.T) {
	t.Parallel()
	open := func(id pay.ID, state pay.State, attempt int16, channel string) *pay.Payment {
		p := &pay.Payment{ID: id, Kind: pay.Payout, State: state, Channel: channel}
		p.Attempt.N = attempt
		return p
	}
	wheel := []*pay.Payment{
		open(1, pay.Reserved, 0, "a"), open(2, pay.Unknown, 1, "a"), open(3, pay.Reserved, 0, "b"), open(4, pay.Reserved, 0, "a"),
		{ID: 5, Kind: pay.Hold, State: pay.Reserved, Channel: "a"},
	}
	for _, c := range []struct {
		named []pay.ID
		takes []pay.ID
		left  []api.BacklogLeft
	}{
		{nil, []pay.ID{1, 4}, nil},
		{[]pay.ID{1, 2, 3, 5, 9, 1}, []pay.ID{1}, []api.BacklogLeft{
			{Payment: pay.ID(2).String(), Why: api.LeftSent},
			{Payment: pay.ID(3).String(), Why: api.LeftOther},
			{Payment: pay.ID(5).String(), Why: api.LeftTimer},
			{Payment: pay.ID(9).String(), Why: api.LeftFinal},
		}},
	} {
		only, o := newChosen(c.named), &api.Hasten{Act: doctor.DoRedispatch, Channel: "a"}
		var takes []pay.ID
		for _, p := range wheel {
			if only.takes(p, func(p *pay.Payment) string { return backlog{}.left(o, p) }) {
				takes = append(takes, p.ID)
			}
		}
		require.Equal(t, c.takes, takes)
		require.Equal(t, c.left, only.rest())
	}
	require.Equal(t, api.LeftNotSent, backlog{}.left(&api.Hasten{Act: doctor.DoQueryUnknowns}, wheel[0]))
}
