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

// TestOnlyTheLeadingCauseTellsWhomAStepIsAbout: whom an act ends is told by what is
// likeliest, at its own hop.
func TestOnlyTheLeadingCauseTellsWhomAStepIsAbout(t *testing.T) {
	t.Parallel()
	knots := doctor.Hypothesis{Cause: "database-deadlocks", Node: "postgres", Details: map[string]string{"pid": "42"}}
	other := doctor.Hypothesis{Cause: "database-long-hold", Node: "postgres", Details: map[string]string{"pid": "7"}}
	leads := &doctor.Answer{Ranked: []doctor.Hypothesis{knots, other}}
	require.Equal(t, knots.Details, toldBy(leads, knots.Cause, "postgres"))
	require.Empty(t, toldBy(leads, other.Cause, "postgres"))
	require.Empty(t, toldBy(leads, knots.Cause, "replica"))
	require.Empty(t, toldBy(&doctor.Answer{Ranked: []doctor.Hypothesis{other, knots}}, knots.Cause, "postgres"))
	require.Empty(t, toldBy(&doctor.Answer{}, knots.Cause, "postgres"))
	require.Empty(t, toldBy(nil, knots.Cause, "postgres"))
}
