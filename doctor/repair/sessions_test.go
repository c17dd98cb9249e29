package repair_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/repair"
	"github.com/moneta-pay/moneta/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.VerifyTestMain(m) }

// session is a connection of a test with its name as the database knows it.
type session struct {
	t    *testing.T
	conn *pgx.Conn
	with map[string]string
	done chan error // of the statement that runs in the background
}

func open(t *testing.T, dsn string, params ...string) *session {
	t.Helper()
	cfg, err := pgx.ParseConfig(dsn)
	require.NoError(t, err)
	for i := 0; i+1 < len(params); i += 2 {
		cfg.RuntimeParams[params[i]] = params[i+1]
	}
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	require.NoError(t, err)
	s := &session{t: t, conn: conn, done: make(chan error, 1)}
	var pid int
	var since time.Time
	require.NoError(t, conn.QueryRow(t.Context(), `select pid, backend_start from pg_stat_activity where pid = pg_backend_pid()`).Scan(&pid, &since))
	s.with = map[string]string{"pid": strconv.Itoa(pid), "since": since.UTC().Format(time.RFC3339Nano)}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	})
	return s
}

func (s *session) exec(sql string) {
	s.t.Helper()
	_, err := s.conn.Exec(s.t.Context(), sql)
	require.NoError(s.t, err)
}

// later runs a statement that waits; the test must await it.
func (s *session) later(sql string) {
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		_, err := s.conn.Exec(ctx, sql)
		s.done <- err
	}()
}

func (s *session) await() error {
	s.t.Helper()
	select {
	case err := <-s.done:
		return err
	case <-time.After(20 * time.Second):
		s.t.Fatal("the statement does not end")
		return nil
	}
}

// db is a database with a small table, and a session that looks on.
type db struct {
	t    *testing.T
	dsn  string
	eyes *session
}

func withTable(t *testing.T, dsn string) *db {
	t.Helper()
	d := &db{t, dsn, open(t, dsn)}
	d.eyes.exec(`create table hot (id int primary key, n int); insert into hot select i, 0 from generate_series(1, 9) i`)
	return d
}

// until waits for something that the looking session can see.
func (d *db) until(sql string, args ...any) {
	d.t.Helper()
	require.Eventually(d.t, func() bool {
		var met bool
		require.NoError(d.t, d.eyes.conn.QueryRow(d.t.Context(), sql, args...).Scan(&met))
		return met
	}, 15*time.Second, 10*time.Millisecond, sql)
}

func (d *db) waits(s *session) {
	d.t.Helper()
	d.until(`select coalesce((select wait_event_type = 'Lock' from pg_stat_activity where pid = $1::text::int), false)`, s.with["pid"])
}

func hand(t *testing.T, dsn, does string) doctor.Hand {
	t.Helper()
	for _, h := range repair.Sessions(repair.Database{DSN: dsn}) {
		if h.Does() == does {
			return h // not behind Guarded: the hand must refuse by itself
		}
	}
	t.Fatal(does)
	return nil
}

func act(does string, s *session) doctor.Act {
	return doctor.Act{ID: "inc/" + does, Do: does, With: s.with, Approved: []string{"ann", "ben"}, By: "admin"}
}

func never(t *testing.T, err error, rule string) {
	t.Helper()
	var f *doctor.Forbidden
	require.ErrorAs(t, err, &f)
	require.Equal(t, rule, f.Rule)
}

// tree makes root <- first <- second: first waits for root and holds what second
// waits for.
func (d *db) tree(root *session) (first, second *session) {
	d.t.Helper()
	root.exec(`begin; update hot set n = 1 where id = 1`)
	first, second = open(d.t, d.dsn), open(d.t, d.dsn)
	first.exec(`begin; update hot set n = 2 where id = 2`)
	first.later(`update hot set n = n + 2 where id = 1`)
	d.waits(first)
	second.later(`update hot set n = n + 3 where id = 2`)
	d.waits(second)
	return first, second
}

func TestOnlyTheRootOfATreeIsEnded(t *testing.T) {
	t.Parallel()
	d := withTable(t, pgtest.DSN(t))
	root := open(t, d.dsn, "application_name", "batch job")
	first, second := d.tree(root)
	h := hand(t, d.dsn, doctor.DoTerminateSession)

	change, err := h.Try(t.Context(), act(h.Does(), root))
	require.NoError(t, err)
	require.Equal(t, 2, change.Items)
	require.Empty(t, change.Marks)
	require.Contains(t, change.Before, `"batch job"`)
	require.Contains(t, change.Before, "idle in transaction")
	require.NotContains(t, change.Before, "n = 1", "literals are masked")
	require.Len(t, change.Rows, 2)

	for _, waiter := range []*session{first, second} {
		_, err := h.Act(t.Context(), act(h.Does(), waiter))
		never(t, err, "N7")
		change, err := h.Try(t.Context(), act(h.Does(), waiter))
		require.NoError(t, err)
		require.Contains(t, change.Marks, doctor.MarkWaiter)
	}
	for name, wrong := range map[string]string{"another start": root.eyesSince(-time.Second), "the future": root.eyesSince(time.Hour)} {
		a := act(h.Does(), root)
		a.With = map[string]string{"pid": root.with["pid"], "since": wrong}
		change, err := h.Act(t.Context(), a)
		require.NoError(t, err, name)
		require.True(t, change.Nothing, "%s: a number that is used again names nobody", name)
	}
	require.NoError(t, root.conn.Ping(t.Context()), "nothing has ended it so far")

	change, err = h.Act(t.Context(), act(h.Does(), root))
	require.NoError(t, err)
	require.Equal(t, "ended; 2 sessions go on", change.After)
	require.NoError(t, first.await())
	first.exec(`commit`)
	require.NoError(t, second.await())
	require.Error(t, root.conn.Ping(t.Context()))
	var n int
	require.NoError(t, d.eyes.conn.QueryRow(t.Context(), `select sum(n) from hot`).Scan(&n))
	require.Equal(t, 2+2+3, n, "what the root wrote is gone, what the others wrote is there")

	change, err = h.Act(t.Context(), act(h.Does(), root))
	require.NoError(t, err)
	require.True(t, change.Nothing, "repeating it changes nothing")
}

func (s *session) eyesSince(by time.Duration) string {
	since, err := time.Parse(time.RFC3339Nano, s.with["since"])
	require.NoError(s.t, err)
	return since.Add(by).Format(time.RFC3339Nano)
}

// An active root is cancelled first: its session lives on.
func TestAnActiveRootIsCancelledFirst(t *testing.T) {
	t.Parallel()
	d := withTable(t, pgtest.DSN(t))
	root, waiter := open(t, d.dsn), open(t, d.dsn)
	root.exec(`begin; update hot set n = 1 where id = 1`)
	root.later(`select pg_sleep(25)`)
	waiter.later(`update hot set n = 2 where id = 1`)
	d.waits(waiter)
	h := hand(t, d.dsn, doctor.DoTerminateSession)
	change, err := h.Act(t.Context(), act(h.Does(), root))
	require.NoError(t, err)
	require.Contains(t, change.After, "cancelled")
	require.ErrorContains(t, root.await(), "canceling statement due to user request")
	require.NoError(t, waiter.await())
	root.exec(`rollback`)
}

func TestWhoBlocksNobodyIsLeftAlone(t *testing.T) {
	t.Parallel()
	d := withTable(t, pgtest.DSN(t))
	var idle *session
	var a doctor.Act
	for young := false; !young; {
		began := time.Now()
		idle = open(t, d.dsn)
		idle.exec(`begin isolation level repeatable read; select * from hot`)
		a = act(doctor.DoTerminateSession, idle)
		a.With = map[string]string{"pid": idle.with["pid"], "since": idle.with["since"], "holds": "snapshot"}
		change, err := hand(t, d.dsn, a.Do).Act(t.Context(), a)
		require.NoError(t, err)
		if young = change.Nothing; !young { // once more only if the machine stood still until it was old
			require.Greater(t, time.Since(began), 9*time.Second, "its snapshot is young")
		}
	}
	require.NoError(t, idle.conn.Ping(t.Context()))
	for _, does := range []string{doctor.DoTerminateSession, doctor.DoCancelStatement} {
		change, err := hand(t, d.dsn, does).Act(t.Context(), act(does, idle))
		require.NoError(t, err)
		require.True(t, change.Nothing)
	}
	d.until(`select clock_timestamp() - xact_start > interval '10.1 seconds' from pg_stat_activity where pid = $1::text::int`, idle.with["pid"])
	change, err := hand(t, d.dsn, a.Do).Act(t.Context(), a)
	require.NoError(t, err)
	require.False(t, change.Nothing)
	require.Error(t, idle.conn.Ping(t.Context()))
}

// TestTheQueueThatComesAndGoes: those who wait give up and come again, and the act falls
// between two of their tries.
func TestTheQueueThatComesAndGoes(t *testing.T) {
	t.Parallel()
	for _, does := range []string{doctor.DoTerminateSession, doctor.DoCancelStatement} {
		t.Run(does, func(t *testing.T) {
			t.Parallel()
			d := withTable(t, pgtest.Empty(t))
			root, waiter := open(t, d.dsn, "application_name", "report"), open(t, d.dsn)
			root.exec(`begin; update hot set n = n + 1 where id = 1`)
			root.later(`select pg_sleep(25)`)
			d.until(`select coalesce((select state = 'active' from pg_stat_activity where pid = $1::text::int), false)`, root.with["pid"])
			h := hand(t, d.dsn, does)
			did := make(chan error, 1)
			var change doctor.Change
			go func() {
				var err error
				change, err = h.Act(t.Context(), act(does, root))
				did <- err
			}()
			d.until(`select count(*) > 0 from pg_stat_activity where state = 'idle' and query like 'with recursive waits%'`)
			waiter.later(`update hot set n = 7 where id = 1`)
			require.NoError(t, <-did)
			require.False(t, change.Nothing, change.After)
			require.Error(t, root.await())
			if does == doctor.DoCancelStatement { // its session lives, and its owner ends what failed
				root.exec(`rollback`)
			}
			require.NoError(t, waiter.await())
		})
	}
}

// A job that knots with others again and again holds them up for moments: it is ended at
// one of them, and a cancel, which would end one turn, is not what happens to it.
func TestWhoHoldsUpOthersAgainAndAgainIsEnded(t *testing.T) {
	t.Parallel()
	d := withTable(t, pgtest.Empty(t))
	turn := func(s *session, hold string) error {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		_, err := s.conn.Exec(ctx, `begin; select from hot where id = 1 for update; select pg_sleep(`+hold+`); commit; select pg_sleep(0.03)`)
		if err != nil {
			_, _ = s.conn.Exec(ctx, `rollback`)
		}
		return err
	}
	job, other := open(t, d.dsn, "application_name", "balance-job"), open(t, d.dsn)
	var stop atomic.Bool
	var running sync.WaitGroup
	for s, hold := range map[*session]string{job: "0.4", other: "0"} {
		running.Go(func() {
			var pg *pgconn.PgError
			for err := error(nil); !stop.Load() && (err == nil || errors.As(err, &pg) && pg.Code == "57014"); { // it goes on after a cancel
				err = turn(s, hold)
			}
		})
	}
	t.Cleanup(running.Wait)
	t.Cleanup(func() { stop.Store(true) })
	a := act(doctor.DoTerminateSession, job)
	a.With = map[string]string{"pid": job.with["pid"], "since": job.with["since"], "returns": "yes"}
	h := hand(t, d.dsn, doctor.DoTerminateSession)
	for range 5 {
		c, err := h.Try(t.Context(), a)
		require.NoError(t, err)
		require.False(t, c.Nothing, "there is something to do, whenever one looks")
	}
	require.Eventually(t, func() bool { // who waits at the moment is asked for again by whoever carries the step out
		c, err := h.Act(t.Context(), a)
		never := new(doctor.Forbidden)
		require.True(t, err == nil || errors.As(err, &never), "%v", err)
		require.False(t, err == nil && c.Nothing && c.Before != "", "left alone: %+v", c)
		return err == nil
	}, 30*time.Second, time.Millisecond)
	d.until(`select not exists (select from pg_stat_activity where pid = $1::text::int)`, job.with["pid"])
	d.until(`select exists (select from pg_stat_activity where pid = $1::text::int)`, other.with["pid"])
}

// A session may outlive the time that the server waits for its end: it was told to end all
// the same, and nothing says that it ended by itself, or that it is done while it is there.
func TestWhoOutlivesTheWaitForItsEnd(t *testing.T) {
	t.Parallel()
	t.Run("it stays", func(t *testing.T) {
		t.Parallel()
		_, err := outlives(t, false)
		require.ErrorContains(t, err, "it was told to end and has not")
	})
	t.Run("it dies later", func(t *testing.T) {
		t.Parallel()
		for range 8 { // on a busy machine it may die too late to be seen
			c, err := outlives(t, true)
			if err != nil {
				require.ErrorContains(t, err, "it was told to end and has not")
				continue
			}
			require.False(t, c.Nothing, "%+v", c)
			require.Contains(t, c.After, "ended while others waited")
			return
		}
		t.Fatal("nobody was seen to die")
	})
}

// outlives ends a session that is halted until the server has given the wait for its end
// up, or, if it does not die, until all is said.
func outlives(t *testing.T, dies bool) (c doctor.Change, err error) {
	t.Helper()
	d := withTable(t, pgtest.Empty(t))
	root, waiter := open(t, d.dsn, "application_name", "balance-job"), open(t, d.dsn)
	root.exec(`begin; update hot set n = 1 where id = 1`)
	waiter.later(`update hot set n = 2 where id = 1`)
	d.waits(waiter)
	goOn := d.stop(root)
	a := act(doctor.DoTerminateSession, root)
	a.With = map[string]string{"pid": root.with["pid"], "since": root.with["since"], "returns": "yes"}
	h, acted := hand(t, d.dsn, doctor.DoTerminateSession), make(chan struct{})
	go func() {
		defer close(acted)
		c, err = h.Act(context.WithoutCancel(t.Context()), a)
	}()
	for seen, ended := false, false; dies && !ended; { // the server has given the wait up
		var waits bool
		require.NoError(t, d.eyes.conn.QueryRow(t.Context(), `select exists (select from pg_stat_activity
 where wait_event = 'BackendTermination' and datname = current_database())`).Scan(&waits))
		ended, seen = seen && !waits, seen || waits
		select {
		case <-acted:
			ended = true
		case <-time.After(10 * time.Millisecond):
		}
	}
	if dies {
		goOn()
	}
	<-acted
	goOn()
	require.NoError(t, waiter.await())
	return c, err
}

// stop halts the process of a session, so that no signal reaches it until it goes on.
func (d *db) stop(s *session) (goOn func()) {
	d.t.Helper()
	pid, err := strconv.Atoi(s.with["pid"])
	require.NoError(d.t, err)
	cmd, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	require.NoError(d.t, err, "a test's server runs on its machine")
	require.Contains(d.t, string(cmd), "postgres")
	require.NoError(d.t, syscall.Kill(pid, syscall.SIGSTOP))
	var once sync.Once
	goOn = func() { once.Do(func() { _ = syscall.Kill(pid, syscall.SIGCONT) }) }
	d.t.Cleanup(goOn)
	return goOn
}

func TestTheDecidersSessionIsNotEnded(t *testing.T) {
	t.Parallel()
	d := withTable(t, pgtest.DSN(t))
	root := open(t, d.dsn, "application_name", repair.Leader+"00112233")
	first, second := d.tree(root)
	for _, does := range []string{doctor.DoTerminateSession, doctor.DoCancelStatement} {
		_, err := hand(t, d.dsn, does).Act(t.Context(), act(does, root))
		never(t, err, "N7")
	}
	root.exec(`commit`)
	require.NoError(t, first.await())
	first.exec(`commit`)
	require.NoError(t, second.await())
}

// The statement that queues is the DDL; those before and behind it are left alone.
func TestTheDDLThatQueuesIsCancelled(t *testing.T) {
	t.Parallel()
	d := withTable(t, pgtest.DSN(t))
	reader, ddl, queued := open(t, d.dsn), open(t, d.dsn), open(t, d.dsn)
	reader.exec(`begin; select * from hot`)
	ddl.later(`alter table hot add column extra int`)
	d.waits(ddl)
	queued.later(`select * from hot`)
	d.waits(queued)
	h := hand(t, d.dsn, doctor.DoCancelStatement)
	_, err := h.Act(t.Context(), act(h.Does(), queued))
	never(t, err, "N7")
	_, err = hand(t, d.dsn, doctor.DoTerminateSession).Act(t.Context(), act(doctor.DoTerminateSession, ddl))
	never(t, err, "N7")
	change, err := h.Act(t.Context(), act(h.Does(), ddl))
	require.NoError(t, err)
	require.Equal(t, "cancelled; 1 sessions go on", change.After)
	require.ErrorContains(t, ddl.await(), "canceling statement due to user request")
	require.NoError(t, queued.await())
	change, err = h.Act(t.Context(), act(h.Does(), ddl))
	require.NoError(t, err)
	require.True(t, change.Nothing)
	reader.exec(`rollback`)
}

// A session that waits for a synchronous standby holds its locks, so that it looks like
// a root. Ended or cancelled, it would acknowledge what is on one disk only.
func TestWhoWaitsForAStandbyIsNotTouched(t *testing.T) {
	t.Parallel()
	server := pgtest.Cluster(t)
	replica := pgtest.Standby(t, server)
	dsn := server.DSN("moneta")
	d := withTable(t, dsn)
	sender := &session{t: t}
	var pid int
	var since time.Time
	require.NoError(t, d.eyes.conn.QueryRow(t.Context(), `select a.pid, a.backend_start from pg_stat_replication r join pg_stat_activity a using (pid)`).Scan(&pid, &since))
	sender.with = map[string]string{"pid": strconv.Itoa(pid), "since": since.UTC().Format(time.RFC3339Nano)}
	_, err := hand(t, dsn, doctor.DoTerminateSession).Act(t.Context(), act(doctor.DoTerminateSession, sender))
	never(t, err, "N7")

	replica.Detach()
	d.eyes.exec(`alter system set synchronous_standby_names = '*'`)
	d.eyes.exec(`select pg_reload_conf()`)
	d.until(`select current_setting('synchronous_standby_names') = '*'`)
	root, waiter := open(t, dsn), open(t, dsn)
	root.exec(`begin; update hot set n = 1 where id = 1`)
	root.later(`commit`)
	d.until(`select coalesce((select wait_event = 'SyncRep' from pg_stat_activity where pid = $1::text::int), false)`, root.with["pid"])
	waiter.later(`update hot set n = 2 where id = 1`)
	d.waits(waiter)
	for _, does := range []string{doctor.DoTerminateSession, doctor.DoCancelStatement} {
		h := hand(t, dsn, does)
		change, err := h.Try(t.Context(), act(does, root))
		require.NoError(t, err)
		require.Contains(t, change.Marks, doctor.MarkSyncWait)
		require.Equal(t, 1, change.Items, "the control: it does block somebody")
		_, err = h.Act(t.Context(), act(does, root))
		never(t, err, "N7")
	}
	require.Empty(t, root.done, "it still waits")
	d.eyes.exec(`set synchronous_commit = local`)
	d.eyes.exec(`alter system reset synchronous_standby_names`)
	d.eyes.exec(`select pg_reload_conf()`)
	require.NoError(t, root.await())
	require.NoError(t, waiter.await())
}

// Without the right to signal, the act says which grant is missing.
func TestWhatTheLoginMayNotIsSaid(t *testing.T) {
	t.Parallel()
	d := withTable(t, pgtest.DSN(t))
	role := fmt.Sprintf("weak_%d", time.Now().UnixNano())
	d.eyes.exec(`create role ` + role + ` login`)
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), d.dsn)
		require.NoError(t, err)
		_, err = conn.Exec(context.Background(), `drop role `+role)
		require.NoError(t, err)
		_ = conn.Close(context.Background())
	})
	root, waiter := open(t, d.dsn), open(t, d.dsn)
	root.exec(`begin; update hot set n = 1 where id = 1`)
	waiter.later(`update hot set n = 2 where id = 1`)
	d.waits(waiter)
	cfg, err := pgx.ParseConfig(d.dsn)
	require.NoError(t, err)
	weak := fmt.Sprintf("host='%s' port=%d user=%s dbname=%s sslmode=disable", cfg.Host, cfg.Port, role, cfg.Database)
	_, err = hand(t, weak, doctor.DoTerminateSession).Act(t.Context(), act(doctor.DoTerminateSession, root))
	require.ErrorContains(t, err, "grant pg_monitor and pg_signal_backend")
	require.NoError(t, root.conn.Ping(t.Context()))
	root.exec(`rollback`)
	require.NoError(t, waiter.await())
}
