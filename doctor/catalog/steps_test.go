package catalog

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/runbook"
)

// named is a hand that is there and does nothing: what is asked here is whether steps
// can be carried out at all.
type namedHand string

func (h namedHand) Does() string      { return string(h) }
func (namedHand) Reach() doctor.Reach { return doctor.Observe }
func (namedHand) Try(context.Context, doctor.Act) (doctor.Change, error) {
	return doctor.Change{}, errors.New("nothing is done in this test")
}

func (h namedHand) Act(ctx context.Context, a doctor.Act) (doctor.Change, error) {
	return h.Try(ctx, a)
}

// The runner's own compiler judges every step: a condition that it cannot read would be
// found in an incident otherwise.
func TestTheRunnerTakesEveryStep(t *testing.T) {
	t.Parallel()
	var hands []doctor.Hand
	for _, act := range acts {
		hands = append(hands, namedHand(act))
	}
	r, err := runbook.New(runbook.Config{Dir: t.TempDir(), Hands: hands, Look: func() *doctor.Evidence { return &doctor.Evidence{} }})
	require.NoError(t, err)
	for _, c := range All() {
		require.NoError(t, r.Check(c.Contain), "%s: contain", c.ID)
		require.NoError(t, r.Check(c.Repair), "%s: repair", c.ID)
	}
	require.Error(t, r.Check([]doctor.Step{{ID: "x", Do: doctor.DoCheck, Until: "last(hop, \"mood\") < 1.0"}}), "the compiler finds a signal that there is not")
}
