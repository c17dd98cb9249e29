package commit_test

import (
	"bytes"
	"context"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
)

// wrong is a wall clock that somebody sets.
type wrong struct{ by atomic.Int64 }

func (w *wrong) Now() time.Time { return time.Now().Add(time.Duration(w.by.Load())).Round(0) }

// setBy lets the test own time, and the node believe it, whatever the database says.
func setBy(hands clock.Clock) func(*commit.Config) {
	return func(c *commit.Config) {
		c.Clock, c.Guard = hands, clock.NewGuard(clock.GuardConfig{Clock: hands, Max: math.MaxInt64})
	}
}

// lines collects what a logger says.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), what)
}

// settleSoon is for how long clocks must agree in these tests.
const settleSoon = 300 * time.Millisecond

// timed is a leader whose clocks the test sets, with a shop and a payout on the wire.
type timed struct {
	*shop
	db      *pgxpool.Pool
	n       *running
	wall    *wrong
	logs    *lines
	metrics *prometheus.Registry
	hold    pay.Payment
	onWire  pay.Payment
}

func newTimed(t *testing.T) *timed {
	t.Helper()
	dsn := pgtest.DSN(t)
	w := &timed{wall: &wrong{}, logs: &lines{}, metrics: prometheus.NewRegistry(), db: pool(t, dsn)}
	w.n = start(t, dsn, func(c *commit.Config) {
		c.Clock, c.Registerer, c.Logger = w.wall, w.metrics, slog.New(slog.NewTextHandler(w.logs, nil))
		c.Guard = clock.NewGuard(clock.GuardConfig{Clock: w.wall, Settle: settleSoon})
	})
	require.Eventually(t, w.n.Leading, patience, time.Millisecond)
	require.NoError(t, w.n.TimeUnsound())
	w.shop = newShop(t, w.n, 10_000)
	w.hold = w.submit(accept(pay.Hold, w.payer, w.payee, 100, "hold"), "").Payment
	r := w.submit(accept(pay.Payout, w.payer, 0, 50, "payout"), "")
	w.onWire = w.submit(about(r.Payment, pay.Intend), "").Payment
	return w
}

func (w *timed) until(unsound bool) {
	w.t.Helper()
	require.Eventually(w.t, func() bool { return (w.n.TimeUnsound() != nil) == unsound }, patience, time.Millisecond)
}

// nothingTimed: what depends on the time is refused, and the refusal is not kept;
// all other money moves, and is booked at the time that it is.
func (w *timed) nothingTimed() {
	w.t.Helper()
	began := time.Now()
	w.submit(accept(pay.Hold, w.payer, w.payee, 100, "new hold"), fault.DatabaseUnsafe)
	w.submit(capture(w.hold, 10, "capture"), fault.DatabaseUnsafe)
	w.submit(about(w.hold, pay.Expire), fault.DatabaseUnsafe)
	queued := w.submit(accept(pay.Payout, w.payer, 0, 50, "waits"), "").Payment
	w.submit(about(queued, pay.Intend), fault.DatabaseUnsafe)
	unknown := w.submit(about(w.onWire, pay.Doubt), "").Payment
	require.Equal(w.t, pay.Unknown, unknown.State, "not to know is right at any time")
	w.submit(about(unknown, pay.ProveAbsent), fault.DatabaseUnsafe)
	w.submit(about(unknown, pay.GiveUp), fault.DatabaseUnsafe)
	w.submit(about(unknown, pay.Resend), fault.DatabaseUnsafe)
	w.submit(accept(pay.Send, w.payer, w.payee, 1, "send"), "")
	replayed := w.submit(accept(pay.Hold, w.payer, w.payee, 100, "hold"), "")
	require.True(w.t, replayed.Replayed, "an answer that stands is given at any time")
	confirmed := w.submit(about(unknown, pay.Confirm), "").Payment
	require.Equal(w.t, pay.Succeeded, confirmed.State)
	require.WithinDuration(w.t, began, confirmed.EnteredAt, 2*time.Second, "booked at a time that a wrong clock showed")
	released := w.submit(about(w.submit(accept(pay.Payout, w.payer, 0, 7, "back"), "").Payment, pay.Cancel), "").Payment
	require.Equal(w.t, pay.Cancelled, released.State)
	require.Equal(w.t, 1, w.logs.count("level=ERROR msg=\"clocks disagree"), "one alarm, not silence and not a stream")
	w.gauge("moneta_clock_unsound", 1)
}

// timedAgain: the same requests are judged anew and go through.
func (w *timed) timedAgain() {
	w.t.Helper()
	w.submit(accept(pay.Hold, w.payer, w.payee, 100, "new hold"), "")
	w.submit(capture(w.hold, 10, "capture"), "")
	queued := w.submit(accept(pay.Payout, w.payer, 0, 50, "waits"), "").Payment
	w.submit(about(queued, pay.Intend), "")
	w.gauge("moneta_clock_unsound", 0)
	require.Equal(w.t, 1, w.logs.count("clocks agree again"))
	holds(w.t, w.db)
}

func (w *timed) gauge(name string, want float64) {
	w.t.Helper()
	found, err := w.metrics.Gather()
	require.NoError(w.t, err)
	for _, f := range found {
		if f.GetName() == name {
			require.InDelta(w.t, want, f.GetMetric()[0].GetGauge().GetValue(), 0)
			return
		}
	}
	w.t.Fatalf("no metric %s", name)
}

// TestTheMachinesClockIsSet: NTP, a person, or a hypervisor.
func TestTheMachinesClockIsSet(t *testing.T) {
	t.Parallel()
	for name, by := range map[string]time.Duration{"forward": time.Hour, "back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTimed(t)
			w.wall.by.Store(int64(by))
			require.Error(t, w.n.TimeUnsound(), "known before the next heartbeat")
			require.Eventually(t, func() bool { return w.logs.count("clocks disagree") == 1 }, patience, time.Millisecond)
			w.nothingTimed()
			w.wall.by.Store(0)
			w.until(false)
			w.timedAgain()
		})
	}
}

// TestTheDatabasesClockIsSet gives this one database another clock, by a function
// that comes before Postgres's own.
func TestTheDatabasesClockIsSet(t *testing.T) {
	t.Parallel()
	w := newTimed(t)
	set := func(by string) {
		_, err := w.db.Exec(t.Context(), `update fake.shift set by = $1::text::interval`, by)
		require.NoError(t, err)
	}
	_, err := w.db.Exec(t.Context(), `create schema fake;
	  create table fake.shift (by interval);
	  insert into fake.shift values ('0');
	  create function fake.clock_timestamp() returns timestamptz language sql volatile
	    as 'select pg_catalog.clock_timestamp() + by from fake.shift'`)
	require.NoError(t, err)
	var name string
	require.NoError(t, w.db.QueryRow(t.Context(), `select current_database()`).Scan(&name))
	_, err = w.db.Exec(t.Context(), `alter database `+name+` set search_path = fake, pg_catalog, public`)
	require.NoError(t, err)
	// Sessions take the path when they begin.
	_, err = w.db.Exec(context.WithoutCancel(t.Context()), `select pg_terminate_backend(pid) from pg_stat_activity
	  where datname = current_database() and application_name like 'moneta%'`)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return w.n.Leading() && w.n.Ready(t.Context()) == nil }, patience, time.Millisecond)
	w.submit(accept(pay.Send, w.payer, w.payee, 1, "goes on"), "")
	require.NoError(t, w.n.TimeUnsound())
	set("3 days")
	w.until(true)
	w.nothingTimed()
	set("0")
	w.until(false)
	w.timedAgain()
}

// TestTimeGoesOnWhereTheLastLeaderLeftIt: its clock was ahead of the next one's.
func TestTimeGoesOnWhereTheLastLeaderLeftIt(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	db := pool(t, dsn)
	ahead := &wrong{}
	ahead.by.Store(int64(3 * time.Second))
	first := start(t, dsn, func(c *commit.Config) { c.Clock = ahead })
	require.Eventually(t, first.Leading, patience, time.Millisecond)
	s := newShop(t, first, 100)
	first.stop()
	require.NoError(t, <-first.done)
	first.done <- nil
	second := lead(t, dsn)
	s.node = second
	s.submit(accept(pay.Send, s.payer, s.payee, 1, "later"), "")
	var backwards int
	require.NoError(t, db.QueryRow(t.Context(), `select count(*) from
	  (select at < lag(at) over (order by id) back from transitions) t where back`).Scan(&backwards))
	require.Zero(t, backwards)
	require.NoError(t, second.TimeUnsound(), "three seconds are within what is believed")
}
