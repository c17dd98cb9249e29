package app

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/runbook"
)

// TestTheFallbackCanBeDone: what is done when nobody knows the cause must not fail then
// for the first time, and reaches those who wait and not the journal alone.
func TestTheFallbackCanBeDone(t *testing.T) {
	t.Parallel()
	var said []doctor.Act
	all, err := hands(HandsConfig{
		URL: "http://127.0.0.1:1", Key: func() (string, error) { return "k", nil }, Levers: t.TempDir(),
		Tell: func(_ context.Context, a doctor.Act) error { said = append(said, a); return nil },
	})
	require.NoError(t, err)
	r, err := runbook.New(runbook.Config{Dir: t.TempDir(), Hands: all, Look: func() *doctor.Evidence { return nil }})
	require.NoError(t, err)
	require.NoError(t, r.Check(fallback))
	banner := false
	for _, s := range fallback {
		a := doctor.Act{ID: "a", Incident: "inc-1", Step: s.ID, Do: s.Do, Aim: s.Aim, With: s.With, Why: s.Why.EN, By: "doctor"}
		require.NoError(t, doctor.Never(a))
		banner = banner || s.Do == doctor.DoLever && s.With["lever"] == "banner" && s.With["value"] != "" && s.With["value_zh"] != ""
		for _, text := range s.With {
			require.NotContains(t, text, "safe", "nobody knows that then")
			require.NotContains(t, text, "资金安全")
		}
		if s.Do == doctor.DoTell {
			for _, h := range all {
				if h.Does() == s.Do {
					_, err := h.Act(t.Context(), a)
					require.NoError(t, err)
				}
			}
		}
	}
	require.True(t, banner, "holders see banners; nobody of them reads the journal")
	require.Len(t, said, 1)
}
