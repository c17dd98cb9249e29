package postgres_test

import (
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/internal/pgtest"
)

func prepareTable(w *world, rows int) {
	w.t.Helper()
	c := w.session("prepare")
	w.exec(c, "create table purses (id int primary key, owner text, amount bigint not null)")
	w.exec(c, "insert into purses select i, 'owner ' || i, 0 from generate_series(1, $1::int) i", rows)
	w.exec(c, "analyze purses")
}

// A session that sits on a lock is the root; who waits behind it, and who waits behind
// those, are not.
func TestRootOfABlockingTreeIsNamed(t *testing.T) {
	t.Parallel()
	w := watch(t, pgtest.DSN(t))
	prepareTable(w, 10)
	holder, first, second := w.session("night batch"), w.session("shop one"), w.session("shop two")
	w.exec(holder, "begin")
	w.exec(holder, "update purses set owner = 'Jane Doe 4711' where id = 1")
	w.behind(first, "update purses set amount = amount + 1 where id = 1")
	w.behind(second, "update purses set amount = amount + 2 where id = 1")

	p := w.until(w.activity, doctor.PGRootIdle, func(p doctor.Point) bool { return p.Value > 0.2 && p.Detail["waiters"] == "2" })
	require.Equal(t, strconv.Itoa(int(holder.PgConn().PID())), p.Detail["pid"])
	require.Equal(t, "night batch", p.Detail["application"])
	require.Equal(t, "idle in transaction", p.Detail["state"])
	require.Equal(t, "update purses set owner = ? where id = ?", p.Detail["query"])
	start, err := time.Parse(time.RFC3339Nano, p.Detail["since"])
	require.NoError(t, err)
	var same bool
	require.NoError(t, w.session("check").QueryRow(t.Context(),
		"select backend_start = $1 from pg_stat_activity where pid = $2", start, holder.PgConn().PID()).Scan(&same))
	require.True(t, same, "since names the session for good")

	l := w.look(w.activity)
	active, ok := find(l, doctor.PGRootActive, "")
	require.True(t, ok)
	require.Zero(t, active.Value, "no root of it runs a statement")
	waiters, _ := find(l, doctor.LockWaiters, "")
	require.InDelta(t, 2, waiters.Value, 0.01)
	idle, _ := find(l, doctor.PGIdleTx, "")
	require.Equal(t, p.Detail["pid"], idle.Detail["pid"])
	horizon, _ := find(l, doctor.PGLongTx, "")
	require.Equal(t, p.Detail["pid"], horizon.Detail["pid"])

	w.exec(holder, "rollback")
	w.until(w.activity, doctor.PGRootIdle, zero)
	w.until(w.activity, doctor.LockWaiters, zero)
}

// Who runs a statement while others wait for it is another cause than who sleeps.
func TestActiveRootIsToldApart(t *testing.T) {
	t.Parallel()
	w := watch(t, pgtest.DSN(t))
	prepareTable(w, 10)
	outsider, victim := w.session("report tool"), w.session("shop")
	w.behind(outsider, "begin; update purses set amount = 7 where id = 1; select pg_sleep(60)")
	w.until(w.activity, doctor.PGActive, above(0.5))
	w.behind(victim, "update purses set amount = amount + 1 where id = 1")
	p := w.until(w.activity, doctor.PGRootActive, above(0))
	require.Equal(t, "report tool", p.Detail["application"])
	require.Equal(t, "active", p.Detail["state"])
	require.Equal(t, "shop", p.Detail["waiting"])
	idle, _ := find(w.look(w.activity), doctor.PGRootIdle, "")
	require.Zero(t, idle.Value)
}

// A DDL that waits behind a reader stops everybody who comes after it, readers too.
func TestDDLWithAQueueBehindIt(t *testing.T) {
	t.Parallel()
	w := watch(t, pgtest.DSN(t))
	prepareTable(w, 10)
	reader, ddl, victim := w.session("reader"), w.session("migration"), w.session("shop")
	w.exec(reader, "begin")
	w.exec(reader, "select * from purses")
	w.behind(ddl, "alter table purses add column note text default 'x'")
	w.until(w.activity, doctor.LockWaiters, above(0.9))
	alone, _ := find(w.look(w.activity), doctor.PGDDLWaiting, "")
	require.Zero(t, alone.Value, "it hurts nobody while nobody queues behind it")

	w.behind(victim, "select count(*) from purses")
	p := w.until(w.activity, doctor.PGDDLWaiting, above(0))
	require.Equal(t, "migration", p.Detail["application"])
	require.Equal(t, "purses", p.Detail["relation"])
	require.Equal(t, "1", p.Detail["waiters"])
	require.Equal(t, strconv.Itoa(int(reader.PgConn().PID())), p.Detail["blocker"])
	root := w.until(w.activity, doctor.PGRootIdle, above(0))
	require.Equal(t, "reader", root.Detail["application"], "the root is who holds the lock, not the DDL")
	require.Equal(t, "2", root.Detail["waiters"])
}

func TestHeldSnapshotIsTheHorizon(t *testing.T) {
	t.Parallel()
	w := watch(t, pgtest.DSN(t))
	prepareTable(w, 10)
	holder, busy := w.session("extract"), w.session("shop")
	w.exec(holder, "begin isolation level repeatable read")
	w.exec(holder, "select count(*) from purses")
	for range 300 {
		w.exec(busy, "update purses set amount = amount + 1 where id = 2")
	}
	p := w.until(w.activity, doctor.PGHorizon, func(p doctor.Point) bool { return p.Value >= 300 && p.Detail["application"] == "extract" })
	require.Equal(t, "idle in transaction", p.Detail["state"])
	w.until(w.activity, doctor.PGHorizonS, above(0.2))
}

// Healthy load is told as healthy: the negative control of all the above.
func TestHealthyLoadReadsHealthy(t *testing.T) {
	t.Parallel()
	w := watch(t, pgtest.DSN(t))
	prepareTable(w, 1_000)
	stop := make(chan struct{})
	done := make(chan error, 1)
	busy := w.session("shop")
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if _, err := busy.Exec(t.Context(), "update purses set amount = amount + 1 where id = $1", i%1000+1); err != nil {
				done <- err
				return
			}
		}
	}()
	w.look(w.activity)
	w.until(w.activity, doctor.PGCommits, above(10))
	l := w.look(w.activity)
	for _, signal := range []doctor.Signal{
		doctor.PGRootIdle, doctor.PGRootActive, doctor.PGDDLWaiting, doctor.PGIdleTx, doctor.PGDeadlocks, doctor.PGKnots, doctor.PGSyncWaiters,
		doctor.PGSyncMissing, doctor.PGPrepared, doctor.PGTimeline, doctor.PGNoSpace, doctor.PGArchiveFails,
	} {
		p, ok := find(l, signal, "")
		require.True(t, ok, "%s is not told", signal)
		require.Zero(t, p.Value, "%s: %+v", signal, p)
	}
	w.until(w.activity, doctor.PGRollbacks, func(p doctor.Point) bool { return p.Value < 0.1 })
	w.until(w.activity, doctor.PGWalRate, above(0))
	door := w.look(w.door)
	up, _ := find(door, doctor.Up, "")
	require.InDelta(t, 1, up.Value, 0)
	connect, _ := find(door, doctor.PGConnect, "")
	require.Positive(t, connect.Value)
	require.Less(t, connect.Value, 3.0)
	skew, _ := find(door, doctor.ClockSkew, "")
	require.Less(t, skew.Value, 1.0, "one machine has one clock")
	ro, _ := find(door, doctor.PGReadOnly, "")
	require.Zero(t, ro.Value)
	close(stop)
	require.NoError(t, <-done)
}

// What is told is what the contract knows: every signal in the table, each value a number.
func TestOnlyKnownSignals(t *testing.T) {
	t.Parallel()
	w := watch(t, pgtest.DSN(t))
	for _, c := range []doctor.Collector{w.activity, w.door, w.storage, w.activity, w.storage} {
		l := w.look(c)
		require.Equal(t, []doctor.Hop{{Name: doctor.HopPostgres, Kind: doctor.Database}}, l.Hops)
		seen := map[string]bool{}
		for _, p := range l.Points {
			_, ok := p.Signal.Info()
			require.True(t, ok, "%s is in no table", p.Signal)
			require.False(t, math.IsNaN(p.Value) || math.IsInf(p.Value, 0) || p.Value < 0, "%+v", p)
			require.NotEmpty(t, p.Source)
			require.False(t, seen[string(p.Signal)+p.Statistic], "%s is told twice", p.Signal)
			seen[string(p.Signal)+p.Statistic] = true
		}
	}
}
