package recon_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/pay"
)

func (w *world) expected() []string {
	w.t.Helper()
	rows, err := w.pool.Query(w.t.(*testing.T).Context(), `select payment || ' ' || amount || ' ' || reference || ' ' || due_at from expectations order by payment`)
	require.NoError(w.t, err)
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(w.t, err)
	return out
}

// Rows that are gone come again, rows that the log does not bear out go, and what was
// right stays as it was; broken off anywhere, the next one ends it.
func TestWhatIsExpectedIsDerivedAgain(t *testing.T) {
	t.Parallel()
	w := build(t, 10)
	shown := w.payout("shown", 90)
	w.booked(pay.Reference(shown.ID, 1))
	var ids []pay.ID
	for i := range 6 {
		p := w.accepted(fmt.Sprint("late", i), int64(100+i))
		w.fact(pay.Fact{Kind: pay.Intend, Payment: p.ID, Attempt: 1, SendBy: time.Now().Add(time.Second)})
		w.fact(pay.Fact{Kind: pay.Confirm, Payment: p.ID, Attempt: 1, Amount: p.Amount, Asset: p.Asset})
		ids = append(ids, p.ID)
	}
	w.run()
	require.True(t, w.settled(shown.ID))
	right := w.expected()
	require.Len(t, right, 6)
	spoil := func() {
		for _, sql := range []string{
			fmt.Sprintf(`delete from expectations where payment in (%d, %d)`, ids[0], ids[4]),
			fmt.Sprintf(`update expectations set amount = 7 where payment = %d`, ids[2]),
			fmt.Sprintf(`insert into expectations (payment, tenant, channel, reference, direction, asset, amount, since, due_at)
			  select %d, tenant, channel, 'x', direction, asset, 90, since, due_at from expectations where payment = %d`, shown.ID, ids[1]),
		} {
			_, err := w.pool.Exec(t.Context(), sql)
			require.NoError(t, err)
		}
	}
	spoil()
	spoiled := w.expected()
	since := time.Now().Add(-time.Hour)
	would, err := w.recon.Rebuild(t.Context(), since, 0, true)
	require.NoError(t, err)
	require.Equal(t, []any{2, 2, false}, []any{would.Added, would.Dropped, would.More})
	require.Equal(t, w.expected(), spoiled, "a look changes nothing")

	done, err := w.recon.Rebuild(t.Context(), since, 0, false)
	require.NoError(t, err)
	require.Equal(t, []any{3, 2, false}, []any{done.Added, done.Dropped, done.More}, "the one with another amount went and came")
	require.Equal(t, w.expected(), right)
	done, err = w.recon.Rebuild(t.Context(), since, 0, false)
	require.NoError(t, err)
	require.Zero(t, done.Added+done.Dropped, "twice is once")
	later, err := w.recon.Rebuild(t.Context(), since, done.Next, false)
	require.NoError(t, err)
	require.False(t, later.More)

	spoil()
	_, err = w.pool.Exec(t.Context(), fmt.Sprintf(`create function die() returns trigger language plpgsql as $$ begin if new.payment = %d then raise 'the session ends'; end if; return new; end $$;
		create trigger dies before insert on expectations for each row execute function die()`, ids[4]))
	require.NoError(t, err)
	_, err = w.recon.Rebuild(t.Context(), since, 0, false)
	require.ErrorContains(t, err, "the session ends")
	require.Len(t, w.expected(), 3, "a piece is whole or not there: what was wrong is gone, nothing is added")
	_, err = w.pool.Exec(t.Context(), `drop trigger dies on expectations`)
	require.NoError(t, err)
	_, err = w.recon.Rebuild(t.Context(), since, 0, false)
	require.NoError(t, err)
	require.Equal(t, w.expected(), right)
	w.run()
	require.Equal(t, map[string]int{"missing_in_statement": 6}, w.classes(), "each is missed once, as before")
}
