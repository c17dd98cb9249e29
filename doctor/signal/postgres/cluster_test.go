package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/signal/postgres"
	"github.com/moneta-pay/moneta/internal/pgtest"
)

// All that needs a server of its own, in one: starting one takes seconds.
func TestServerOfItsOwn(t *testing.T) {
	t.Parallel()
	s := pgtest.Cluster(t)
	w := watch(t, s.DSN("moneta"))
	w.look(w.activity)
	admin := w.session("admin")

	t.Run("a slot that nobody reads holds the log back", func(t *testing.T) {
		w := w.in(t)
		w.exec(admin, "select pg_create_physical_replication_slot('standby_one', true)")
		w.exec(admin, "create table filler as select repeat('x', 1000) from generate_series(1, 3000)")
		p := w.until(w.activity, doctor.PGSlotRetained, above(1<<20))
		require.Equal(t, "standby_one", p.Detail["slot"])
		require.Equal(t, "no", p.Detail["active"])
		w.exec(admin, "select pg_drop_replication_slot('standby_one')")
		w.until(w.activity, doctor.PGSlotRetained, zero)
	})

	t.Run("a synchronous standby that is not there stops commits", func(t *testing.T) {
		w := w.in(t)
		w.exec(admin, "alter system set synchronous_standby_names = 'FIRST 1 (near, far)'")
		w.exec(admin, "select pg_reload_conf()")
		victim := w.session("shop")
		w.until(w.activity, doctor.PGSyncMissing, above(1.5))
		w.behind(victim, "create table never_acknowledged (id int)")
		p := w.until(w.activity, doctor.PGSyncWaiters, above(0.5))
		require.InDelta(t, 1, p.Value, 0.1)
		missing, _ := find(w.look(w.activity), doctor.PGSyncMissing, "")
		require.Equal(t, "near,far", missing.Detail["standby"])
		require.Equal(t, "1", missing.Detail["short"])
		w.exec(admin, "alter system reset synchronous_standby_names")
		w.exec(admin, "select pg_reload_conf()")
		w.until(w.activity, doctor.PGSyncWaiters, zero)
		w.until(w.activity, doctor.PGSyncMissing, zero)
	})

	t.Run("it refuses writes", func(t *testing.T) {
		w := w.in(t)
		w.exec(admin, "alter system set default_transaction_read_only = on")
		w.exec(admin, "select pg_reload_conf()")
		p := w.until(w.door, doctor.PGReadOnly, above(0.5))
		require.Equal(t, "default_transaction_read_only", p.Detail["why"])
		w.exec(admin, "set default_transaction_read_only = off")
		w.exec(admin, "alter system reset default_transaction_read_only")
		w.exec(admin, "select pg_reload_conf()")
		w.until(w.door, doctor.PGReadOnly, zero)
	})

	t.Run("the time of a flush, where it is measured", func(t *testing.T) {
		w := w.in(t)
		w.exec(admin, "alter system set track_wal_io_timing = on")
		w.exec(admin, "select pg_reload_conf()")
		require.Eventually(t, func() bool {
			w.exec(admin, "insert into filler values ('y')")
			p, ok := find(w.look(w.activity), doctor.PGFlush, "")
			return ok && p.Value > 0 && p.Value < 5
		}, 20*time.Second, 50*time.Millisecond)
	})

	t.Run("deadlocks are counted", func(t *testing.T) {
		w := w.in(t)
		w.exec(admin, "create table pair (id int primary key, n int)")
		w.exec(admin, "insert into pair values (1, 0), (2, 0)")
		w.look(w.activity)
		one, two := w.session("one"), w.session("two")
		w.exec(one, "set deadlock_timeout = '60s'") // so that the other is the victim
		w.exec(one, "begin; update pair set n = 1 where id = 1")
		w.exec(two, "begin; update pair set n = 1 where id = 2")
		w.behind(one, "update pair set n = 1 where id = 2")
		_, err := two.Exec(t.Context(), "update pair set n = 1 where id = 1")
		require.ErrorContains(t, err, "deadlock")
		w.exec(two, "rollback") // a session tells of it when its transaction is over
		w.until(w.activity, doctor.PGDeadlocks, above(0))
		w.until(w.activity, doctor.PGDeadlocks, zero)
		w.until(w.activity, doctor.PGKnots, func(p doctor.Point) bool { return p.Value == 1 && p.Detail == nil }) // between two as well
	})

	t.Run("no room for anybody else", func(t *testing.T) {
		w := w.in(t)
		var usable int
		require.NoError(t, admin.QueryRow(t.Context(),
			"select current_setting('max_connections')::int - (select count(*) from pg_stat_activity where backend_type = 'client backend')").Scan(&usable))
		var all []*pgx.Conn
		t.Cleanup(func() {
			for _, c := range all {
				_ = c.Close(context.Background())
			}
		})
		for range usable + 10 {
			c, err := pgx.Connect(t.Context(), s.DSN("moneta"))
			if err != nil {
				break
			}
			all = append(all, c)
		}
		l, err := w.door.Look(t.Context())
		require.ErrorContains(t, err, postgres.WhyTooMany)
		up, _ := find(l, doctor.Up, "")
		require.InDelta(t, 1, up.Value, 0, "it lives; it has no room")
		require.Equal(t, postgres.WhyTooMany, up.Detail["why"])
		_, told := find(l, doctor.PGConnect, "")
		require.False(t, told, "a refusal takes no time, and is not fast")
		busy, ok := find(w.look(w.activity), doctor.PGConnections, "")
		require.True(t, ok, "the kept connection still sees")
		require.Greater(t, busy.Value, 0.95)
	})

	t.Run("it is down, and up again", func(t *testing.T) {
		w := w.in(t)
		require.NoError(t, s.Stop(t.Context()))
		l, err := w.door.Look(t.Context())
		require.Error(t, err)
		up, ok := find(l, doctor.Up, "")
		require.True(t, ok)
		require.Zero(t, up.Value)
		require.Equal(t, postgres.WhyRefused, up.Detail["why"])
		_, err = w.activity.Look(t.Context())
		require.Error(t, err, "silence is said, not passed over")
	})
}

// in is the same world for a part of the test.
func (w *world) in(t *testing.T) *world {
	t.Helper()
	part := *w
	part.t = t
	return &part
}

// A server that takes the connection and never answers holds nobody up.
func TestServerThatNeverAnswers(t *testing.T) {
	t.Parallel()
	address := silent(t)
	w := watch(t, "postgres://nobody@"+address+"/none?sslmode=disable")
	began := time.Now()
	l, err := w.door.Look(t.Context())
	require.Error(t, err)
	require.Less(t, time.Since(began), 8*time.Second)
	up, _ := find(l, doctor.Up, "")
	require.Zero(t, up.Value)
	require.Equal(t, postgres.WhyTimeout, up.Detail["why"])
	connect, ok := find(l, doctor.PGConnect, "")
	require.True(t, ok)
	require.Greater(t, connect.Value, 2.0, "it took at least so long")
	require.NotContains(t, err.Error(), "password")
}
