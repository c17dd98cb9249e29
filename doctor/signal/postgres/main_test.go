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

func TestMain(m *testing.M) { pgtest.VerifyTestMain(m) }

// world is a database that is watched, and the collectors at it.
type world struct {
	t                       *testing.T
	dsn                     string
	activity, door, storage doctor.Collector
}

func watch(t *testing.T, dsn string) *world {
	t.Helper()
	s, err := postgres.New(postgres.Config{DSN: dsn})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close(context.Background())) })
	all := s.Collectors()
	require.Len(t, all, 3)
	return &world{t, dsn, all[0], all[1], all[2]}
}

// session opens one more session under a name, whatever it does.
func (w *world) session(name string) *pgx.Conn {
	w.t.Helper()
	cfg, err := pgx.ParseConfig(w.dsn)
	require.NoError(w.t, err)
	cfg.RuntimeParams["application_name"] = name
	cfg.RuntimeParams["idle_in_transaction_session_timeout"] = "0"
	conn, err := pgx.ConnectConfig(w.t.Context(), cfg)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func (w *world) exec(conn *pgx.Conn, sql string, args ...any) {
	w.t.Helper()
	_, err := conn.Exec(w.t.Context(), sql, args...)
	require.NoError(w.t, err, sql)
}

// behind runs a statement that is going to wait, until the test ends.
func (w *world) behind(conn *pgx.Conn, sql string) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = conn.Exec(ctx, sql) // it ends when the test does
	}()
	w.t.Cleanup(func() { cancel(); <-done })
}

func (w *world) look(c doctor.Collector) doctor.Look {
	w.t.Helper()
	l, err := c.Look(w.t.Context())
	require.NoError(w.t, err)
	return l
}

// find returns the point of a signal.
func find(l doctor.Look, signal doctor.Signal, statistic string) (doctor.Point, bool) {
	for _, p := range l.Points {
		if p.Signal == signal && p.Statistic == statistic {
			return p, true
		}
	}
	return doctor.Point{}, false
}

// until looks again and again until a signal is as wanted.
func (w *world) until(c doctor.Collector, signal doctor.Signal, want func(doctor.Point) bool) doctor.Point {
	w.t.Helper()
	return w.untilOf(c, signal, "", want)
}

func (w *world) untilOf(c doctor.Collector, signal doctor.Signal, statistic string, want func(doctor.Point) bool) doctor.Point {
	w.t.Helper()
	var got doctor.Point
	require.Eventually(w.t, func() bool {
		l, err := c.Look(w.t.Context())
		if err != nil {
			return false
		}
		p, ok := find(l, signal, statistic)
		got = p
		return ok && want(p)
	}, 20*time.Second, 50*time.Millisecond, "%s: last %+v", signal, &got)
	return got
}

func above(v float64) func(doctor.Point) bool {
	return func(p doctor.Point) bool { return p.Value > v }
}

func zero(p doctor.Point) bool { return p.Value == 0 }
