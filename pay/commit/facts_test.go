package commit_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/pay"
)

// TestFactsNameWhatThePayPlaneKnows holds the names in the facts views to the state
// table: a new kind or state needs a migration that replaces their functions.
func TestFactsNameWhatThePayPlaneKnows(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	name := func(sql string, args ...any) string {
		var s string
		require.NoError(t, db.QueryRow(t.Context(), sql, args...).Scan(&s))
		return s
	}
	states := append(pay.States(), pay.None)
	require.Contains(t, kinds(), pay.Capture)
	for _, kind := range kinds() {
		require.Equal(t, kind.String(), name(`select facts.kind_name($1)`, int16(kind)))
		for _, state := range states {
			p := pay.Payment{Kind: kind, State: state}
			require.Equal(t, p.Hop(), name(`select coalesce(facts.hop_name($1, $2), '')`, int16(kind), int16(state)), "%s %s", kind, state)
		}
	}
	for _, state := range states {
		require.Equal(t, state.String(), name(`select facts.state_name($1)`, int16(state)))
	}
	for state := pay.NoAttempt; state <= pay.NeverSent; state++ {
		require.Equal(t, state.String(), name(`select facts.attempt_name($1)`, int16(state)))
	}
	require.Equal(t, "state_99", name(`select facts.state_name(99::smallint)`))
}

// kinds lists the kinds there are: the table of names ends after the last.
func kinds() (all []pay.Kind) {
	defer func() { _ = recover() }()
	for k := pay.Send; k.String() != ""; k++ {
		all = append(all, k)
	}
	return all
}
