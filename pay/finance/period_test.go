package finance_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/pay/finance"
)

// A closed period's trial balance is sealed once and recounts to the same; what is
// effective later does not touch it, and a row of it that was changed behind our back
// shows.
func TestAClosedPeriodIsSealedAndStaysAsItWas(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 120)
	until := dawn.AddDate(0, 6, 0)
	_, err := w.db.Exec(t.Context(), `insert into periods (tenant, asset, until, closed_at, closed_by, last_transfer)
		select 1, 'CZK', $1, now(), 'Jana', max(id) from transfers`, until)
	require.NoError(t, err)
	r := finance.NewReader(w.db)
	require.NoError(t, r.Seal(t.Context()))
	sealed, err := r.Periods(t.Context(), 1)
	require.NoError(t, err)
	require.Len(t, sealed, 1)
	require.Len(t, sealed[0].Hash, 64)
	require.Equal(t, "2025-06-30", sealed[0].Through)
	require.Equal(t, "Jana", sealed[0].ClosedBy)
	none, err := r.Periods(t.Context(), 2)
	require.NoError(t, err)
	require.Empty(t, none)

	tamper := `update transfers set amount = amount + 1 where id = (select min(t.id) from transfers t join accounts a on a.id = t.debit & ~1::bigint
		where a.tenant = 1 and a.asset = 'CZK' and t.effective_at `
	for _, x := range []struct {
		where string
		shows int
	}{{`>= $1)`, 0}, {`< $1)`, 1}} {
		_, err = w.db.Exec(t.Context(), tamper+x.where, until)
		require.NoError(t, err)
		require.NoError(t, r.Seal(t.Context()))
		changed, err := r.Verify(t.Context(), 1)
		require.NoError(t, err)
		require.Len(t, changed, x.shows, x.where)
	}
}
