package app

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/catalog"
	"github.com/moneta-pay/moneta/doctor/runbook"
)

// Every step of the catalogue can be read by the runner, and all of it with its phase,
// has conditions that compile, and acts that somebody can do.
func TestTheCatalogueCanBeCarriedOut(t *testing.T) {
	t.Parallel()
	all, err := hands(HandsConfig{
		DSN: "host=nowhere", URL: "http://127.0.0.1:1", Key: func() (string, error) { return "", nil }, Levers: t.TempDir(),
		Tell: func(context.Context, doctor.Act) error { return nil },
	})
	require.NoError(t, err)
	r, err := runbook.New(runbook.Config{Dir: t.TempDir(), Hands: all, Look: func() *doctor.Evidence { return nil }})
	require.NoError(t, err)
	for _, c := range catalog.All() {
		require.NoError(t, r.Check(c.Contain), c.ID)
		require.NoError(t, r.Check(c.Repair), c.ID)
		for _, s := range append(c.Contain, c.Repair...) {
			require.NoError(t, doctor.Never(doctor.Act{Do: s.Do, Aim: s.Aim, With: withPlan(s.With)}), "%s %s", c.ID, s.ID)
			require.True(t, r.Does(s.Do), "%s: nobody does %s", c.ID, s.Do)
		}
	}
}

// withPlan stands for what a person says when he approves a slot's end.
func withPlan(with map[string]string) map[string]string {
	out := map[string]string{"plan": "its reader is filled from the ledger"}
	for k, v := range with {
		out[k] = v
	}
	return out
}

func TestHandsNeedSomebodyToTell(t *testing.T) {
	t.Parallel()
	_, err := hands(HandsConfig{})
	require.Error(t, err)
}
