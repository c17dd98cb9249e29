package postgres_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/internal/pgtest"
)

func TestIndexThatIsGoneCanBeBuiltAgain(t *testing.T) {
	t.Parallel()
	w := watch(t, pgtest.DSN(t))
	prepareTable(w, 100)
	c := w.session("admin")
	w.exec(c, `create index "purses by owner" on purses (owner) where amount >= 0`)
	first, _ := find(w.look(w.storage), doctor.PGIndexGone, "")
	require.Zero(t, first.Value)

	// Another of the same form takes over: nothing is missing.
	w.exec(c, `create index twin on purses (owner) where amount >= 0`)
	w.exec(c, `drop index "purses by owner"`)
	renamed, _ := find(w.look(w.storage), doctor.PGIndexGone, "")
	require.Zero(t, renamed.Value, "%+v", renamed)

	w.exec(c, "drop index twin")
	gone, _ := find(w.look(w.storage), doctor.PGIndexGone, "")
	require.InDelta(t, 1, gone.Value, 0)
	require.Equal(t, "gone", gone.Detail["state"])
	require.Equal(t, "public.purses", gone.Detail["relation"])
	require.True(t, strings.HasPrefix(gone.Detail["definition"], "CREATE INDEX "), gone.Detail["definition"])
	w.exec(c, strings.Replace(gone.Detail["definition"], "INDEX", "INDEX CONCURRENTLY", 1))
	back, _ := find(w.look(w.storage), doctor.PGIndexGone, "")
	require.Zero(t, back.Value, "%+v", back)

	// A table that went took its indexes with it.
	w.exec(c, "create table passing (id int primary key)")
	w.look(w.storage)
	w.exec(c, "drop table passing")
	after, _ := find(w.look(w.storage), doctor.PGIndexGone, "")
	require.Zero(t, after.Value, "%+v", after)
}

func TestInvalidIndexIsTold(t *testing.T) {
	t.Parallel()
	w := watch(t, pgtest.DSN(t))
	prepareTable(w, 100)
	c := w.session("admin")
	w.exec(c, "update purses set owner = 'same'")
	_, err := c.Exec(t.Context(), "create unique index concurrently one_owner on purses (owner)")
	require.Error(t, err, "it cannot be unique, and leaves an invalid index behind")
	p, _ := find(w.look(w.storage), doctor.PGIndexGone, "")
	require.InDelta(t, 1, p.Value, 0)
	require.Equal(t, "invalid", p.Detail["state"])
	require.Equal(t, "one_owner", p.Detail["index"])
}

// An index that was used all the time is dropped: its table is read whole from then on.
func TestPlanThatLostItsIndex(t *testing.T) {
	t.Parallel()
	w := watch(t, pgtest.DSN(t))
	prepareTable(w, 20_000)
	c := w.session("shop")
	w.exec(c, "create index purses_owner on purses (owner)")
	w.exec(c, "analyze purses")
	read := func() {
		for range 40 {
			w.exec(c, "select * from purses where owner = 'owner 77'")
		}
		w.exec(c, "select pg_stat_force_next_flush()")
	}
	for range 3 {
		read()
		w.look(w.storage)
	}
	read()
	l := w.look(w.storage)
	healthy, _ := find(l, doctor.PGPlanChanged, "indexes")
	require.Zero(t, healthy.Value)
	rows, _ := find(l, doctor.PGSeqRows, "")
	require.Zero(t, rows.Value, "%+v", rows)

	w.exec(c, "drop index purses_owner")
	read()
	l = w.look(w.storage)
	changed, _ := find(l, doctor.PGPlanChanged, "indexes")
	require.InDelta(t, 1, changed.Value, 0, "%+v", changed)
	require.Equal(t, "purses_owner", changed.Detail["index"])
	rows, _ = find(l, doctor.PGSeqRows, "")
	require.Greater(t, rows.Value, 1000.0)
	require.Equal(t, "public.purses", rows.Detail["relation"])
}

func TestSequencesAndTheLog(t *testing.T) {
	t.Parallel()
	w := watch(t, pgtest.DSN(t))
	c := w.session("admin")
	w.exec(c, "create sequence tickets maxvalue 1000")
	w.exec(c, "select setval('tickets', 900)")
	l := w.look(w.storage)
	p, _ := find(l, doctor.PGSequence, "")
	require.InDelta(t, 0.9, p.Value, 0.001)
	require.Equal(t, "public.tickets", p.Detail["relation"])
	wal, ok := find(l, doctor.PGWalSize, "")
	require.True(t, ok)
	require.GreaterOrEqual(t, wal.Value, float64(16<<20))
	free, ok := find(l, doctor.DiskFree, "")
	if ok { // the server's folder is closed to others where it runs as another user
		require.Greater(t, free.Value, 0.0)
	}
}
