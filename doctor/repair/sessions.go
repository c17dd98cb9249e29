package repair

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/moneta-pay/moneta/doctor"
)

// Sessions returns the hands terminate-session and cancel-statement.
func Sessions(d Database) []doctor.Hand {
	if d.Protected == nil {
		d.Protected = []string{Leader}
	}
	return []doctor.Hand{&terminator{d}, &canceller{d}}
}

// target names a session: its number is used again, its start is not.
type target struct {
	pid   int32
	since time.Time
}

func targetOf(a doctor.Act) (t target, err error) {
	pid, err := strconv.ParseInt(a.With["pid"], 10, 32)
	if err != nil || pid <= 0 {
		return t, fmt.Errorf("pid %q is no session", a.With["pid"])
	}
	t.pid = int32(pid)
	if t.since, err = time.Parse(time.RFC3339Nano, a.With["since"]); err != nil {
		return t, fmt.Errorf("since %q is not the start of a session (RFC 3339)", a.With["since"])
	}
	// The database keeps microseconds.
	t.since = t.since.Truncate(time.Microsecond)
	return t, nil
}

// session is what is known of one.
type session struct {
	Pid         int32
	Application string
	User        string
	Kind        string // backend_type
	State       string
	WaitEvent   string
	Query       string
	XactS       float64 // seconds since its transaction began; 0 without one
	Waits       int     // sessions that it waits for
	Blocks      int     // sessions that wait for it, directly or behind others
	Replicates  bool
	StrongWait  bool // it waits for a lock on a table that queues everybody behind it
	OldestXmin  bool // nobody holds an older snapshot
	SyncOn      bool // commits wait for a standby here
	Hidden      bool // this login may not see it
}

// sessionSQL looks at one session and at who waits behind it. The tree is walked from
// the root down, because those who wait may wait for each other too.
const sessionSQL = `with recursive waits as materialized (
    select pid, pg_blocking_pids(pid) as by from pg_stat_activity where wait_event_type = 'Lock' and pid <> pg_backend_pid()),
  behind as (
    select pid from waits where $1 = any(by)
    union select w.pid from waits w join behind b on b.pid = any(w.by))
select a.pid, coalesce(a.application_name, ''), coalesce(a.usename, ''), coalesce(a.backend_type, ''), coalesce(a.state, ''),
       coalesce(a.wait_event, ''), coalesce(a.query, ''), coalesce(extract(epoch from clock_timestamp() - a.xact_start), 0)::float8,
       cardinality(pg_blocking_pids(a.pid)), (select count(*) from behind where pid <> a.pid),
       coalesce(a.backend_type = 'walsender', false) or exists (select from pg_stat_replication r where r.pid = a.pid),
       exists (select from pg_locks l where l.pid = a.pid and not l.granted and l.locktype = 'relation'
                and l.mode in ('AccessExclusiveLock', 'ExclusiveLock', 'ShareRowExclusiveLock', 'ShareLock')),
       coalesce(a.backend_xmin is not null and age(a.backend_xmin) >= (select max(age(o.backend_xmin)) from pg_stat_activity o
                where o.backend_xmin is not null and o.pid <> pg_backend_pid() and o.datname = a.datname), false),
       current_setting('synchronous_standby_names') <> '', a.backend_start is null
  from pg_stat_activity a where a.pid = $1 and coalesce(a.backend_start = $2, true)`

// comesBack is for how long a session that blocks nobody is watched before it is left
// alone: those whose patience with a lock ends leave its queue and stand in it again a
// moment later, or start anew first.
const comesBack = 8 * time.Second

// lookWhile looks again while the session is there and not yet ready for the act.
func lookWhile(ctx context.Context, conn *pgx.Conn, t target, unready func(*session) bool) (s *session, err error) {
	_, err = until(ctx, comesBack, func() (bool, error) {
		s, err = look(ctx, conn, t)
		return s == nil || !unready(s), err
	})
	return s, err
}

// look returns nil when the session is gone.
func look(ctx context.Context, conn *pgx.Conn, t target) (*session, error) {
	var s session
	err := conn.QueryRow(ctx, sessionSQL, t.pid, t.since).Scan(&s.Pid, &s.Application, &s.User, &s.Kind, &s.State, &s.WaitEvent, &s.Query, &s.XactS,
		&s.Waits, &s.Blocks, &s.Replicates, &s.StrongWait, &s.OldestXmin, &s.SyncOn, &s.Hidden)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil //nolint:nilnil // gone is an answer
	}
	if err == nil && s.Hidden { // gone is something else
		err = fmt.Errorf("pid %d is somebody's, and this login may not see whose: grant pg_monitor and pg_signal_backend", t.pid)
	}
	return &s, denied(err, "pg_monitor")
}

// marks are what the never-list asks of any session.
func (d *Database) marks(s *session) (out []doctor.Mark) {
	if s.WaitEvent == "SyncRep" || s.SyncOn && s.State == "active" && ending(s.Query) {
		out = append(out, doctor.MarkSyncWait)
	}
	if s.Replicates {
		out = append(out, doctor.MarkReplication)
	}
	switch {
	case strings.Contains(s.Query, "to prevent wraparound"):
		out = append(out, doctor.MarkWraparound)
	case s.Kind != "client backend" && !s.Replicates:
		out = append(out, doctor.MarkSystem)
	}
	for _, p := range d.Protected {
		if strings.HasPrefix(s.Application, p) {
			out = append(out, doctor.MarkDecider)
		}
	}
	return out
}

// ending reports whether a statement ends a transaction: where commits wait for a
// standby, it may begin to between a look and a signal.
func ending(query string) bool {
	word, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(strings.TrimRight(query, "; \n\t"))), " ")
	return word == "commit" || word == "end" || word == "prepare"
}

func (s *session) describe() string {
	return fmt.Sprintf("pid %d, %q of %s, %s for %.1f s, %d wait behind it: %s", s.Pid, s.Application, s.User, s.State, s.XactS, s.Blocks, masked(s.Query))
}

// behind lists those who wait, for people.
func behind(ctx context.Context, conn *pgx.Conn, pid int32) ([]string, error) {
	got, err := conn.Query(ctx, `with recursive waits as materialized (
    select pid, pg_blocking_pids(pid) as by from pg_stat_activity where wait_event_type = 'Lock'),
  behind as (select pid from waits where $1 = any(by) union select w.pid from waits w join behind b on b.pid = any(w.by))
select a.pid, coalesce(application_name, ''), coalesce(extract(epoch from clock_timestamp() - query_start), 0)::float8, coalesce(query, '')
  from pg_stat_activity a join behind using (pid) order by 3 desc limit $2`, pid, doctor.RowsShown)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(got, func(row pgx.CollectableRow) (string, error) {
		var pid int32
		var app, query string
		var age float64
		err := row.Scan(&pid, &app, &age, &query)
		return fmt.Sprintf("waits: pid %d, %q, %.1f s: %s", pid, app, age, masked(query)), err
	})
}

// protected is the condition that keeps the decider's sessions out of a statement.
func (d *Database) protected() []string {
	out := make([]string, len(d.Protected))
	for i, p := range d.Protected {
		out[i] = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(p) + "%"
	}
	return out
}

// terminator ends the root of a blocking tree.
type terminator struct{ Database }

func (*terminator) Does() string        { return doctor.DoTerminateSession }
func (*terminator) Reach() doctor.Reach { return doctor.Undoable }

// snapshot says that the session is to be ended for the snapshot that it holds, not
// for locks: with holds=snapshot.
func snapshot(a doctor.Act) bool { return a.With["holds"] == "snapshot" }

// returns says that the session comes back to what it does: with returns=yes. A cancel
// would end one turn of it.
func returns(a doctor.Act) bool { return a.With["returns"] == "yes" }

// heldLong is how long a snapshot must be held at least before its session may be
// ended for it.
const heldLong = 10.0

// Try tells of the session and of who waits behind it. One that returns to what it does
// is looked at while it may: between two knots nobody waits for it.
func (h *terminator) Try(ctx context.Context, a doctor.Act) (out doctor.Change, err error) {
	out.Reach = doctor.Undoable
	t, err := targetOf(a)
	if err != nil {
		return out, err
	}
	err = h.with(ctx, func(conn *pgx.Conn) error {
		s, err := lookWhile(ctx, conn, t, func(s *session) bool { return (s.Blocks == 0 || s.Waits > 0) && returns(a) })
		if err != nil || s == nil {
			out.Nothing = err == nil
			return err
		}
		h.judge(&out, a, s)
		if out.Rows, err = behind(ctx, conn, t.pid); err != nil {
			return err
		}
		out.Rows = rows(out.Rows)
		return nil
	})
	return out, err
}

// judge fills in what ending the session would change.
func (h *terminator) judge(out *doctor.Change, a doctor.Act, s *session) {
	out.Items, out.Before, out.Marks, out.Nothing = s.Blocks, s.describe(), h.marks(s), false
	if s.Waits > 0 {
		out.Marks = append(out.Marks, doctor.MarkWaiter)
	}
	switch {
	case snapshot(a) && s.OldestXmin && s.XactS >= heldLong:
		out.After = "its transaction is rolled back, and what its snapshot held back is let go"
	case s.Blocks == 0:
		out.Nothing = true
		out.After = "nobody waits for it"
	default:
		out.After = fmt.Sprintf("its transaction is rolled back, and %d sessions go on", s.Blocks)
	}
}

// Act cancels an active root first, and ends it when it holds on, when it comes back to
// the same again and again, or when it is idle in its transaction: then a cancel has no
// effect.
func (h *terminator) Act(ctx context.Context, a doctor.Act) (out doctor.Change, err error) {
	out.Reach = doctor.Undoable
	t, err := targetOf(a)
	if err != nil {
		return out, err
	}
	err = h.with(ctx, func(conn *pgx.Conn) error {
		if returns(a) {
			return h.atAKnot(ctx, conn, a, t, &out)
		}
		s, err := lookWhile(ctx, conn, t, func(s *session) bool { return s.Blocks == 0 && !snapshot(a) })
		if err != nil || s == nil {
			out.Nothing = err == nil
			return err
		}
		h.judge(&out, a, s)
		if err := doctor.Never(a, out.Marks...); err != nil || out.Nothing {
			return err
		}
		out.Rows, _ = behind(ctx, conn, t.pid) // for the record; the deed does not wait for it
		if s.State == "active" {
			gone, err := h.cancelFirst(ctx, conn, a, t)
			if err != nil || gone {
				out.After = "its statement was cancelled, and nobody waits for it any more"
				return err
			}
		}
		return h.end(ctx, conn, a, t, &out)
	})
	return out, err
}

// atAKnot ends a session that returns to what it does: it holds up others for moments, and
// waits or works alone in between. What sends the signal looks in the same statement, so
// that it is asked again and again until it meets one of those moments.
func (h *terminator) atAKnot(ctx context.Context, conn *pgx.Conn, a doctor.Act, t target, out *doctor.Change) error {
	s, err := look(ctx, conn, t)
	if err != nil || s == nil {
		out.Nothing = err == nil
		return err
	}
	h.judge(out, a, s)
	if err := doctor.Never(a, slices.DeleteFunc(slices.Clone(out.Marks), func(m doctor.Mark) bool { return m == doctor.MarkWaiter })...); err != nil {
		return err
	}
	sent, err := until(ctx, comesBack, func() (bool, error) { return h.signal(ctx, conn, "pg_terminate_backend(a.pid, 3000)", a, t) })
	if err != nil {
		return err
	}
	if sent { // what outlives the server's own wait may still be on its way out
		_, err = until(ctx, cancelWithin, func() (bool, error) { s, err := look(ctx, conn, t); return s == nil, err })
		if err != nil {
			return err
		}
	}
	if s, err = look(ctx, conn, t); err != nil {
		return err
	}
	switch {
	case s == nil && sent:
		out.Nothing, out.Marks = false, nil
		out.After = "ended while others waited for it; they go on"
		return nil
	case s == nil:
		out.Nothing, out.After = true, "it is gone by itself"
		return nil
	case sent:
		return fmt.Errorf("it was told to end and has not: %s", s.describe())
	}
	return h.notEnded(out, a, s)
}

// notEnded says what a session is that got no signal: one that holds nobody up any more is
// nothing to do; that any other is still there is an error.
func (h *terminator) notEnded(out *doctor.Change, a doctor.Act, s *session) error {
	h.judge(out, a, s)
	if err := doctor.Never(a, out.Marks...); err != nil || out.Nothing {
		return err
	}
	return fmt.Errorf("it was not ended: %s", s.describe())
}

// stillRoot is the same condition for both signals, judged in the statement that sends
// them.
const stillRoot = `from pg_stat_activity a
 where a.pid = $1 and a.backend_start = $2 and a.backend_type = 'client backend' and a.pid <> pg_backend_pid()
   and a.wait_event is distinct from 'SyncRep' and cardinality(pg_blocking_pids(a.pid)) = 0
   and not exists (select from pg_stat_replication r where r.pid = a.pid)
   and not (current_setting('synchronous_standby_names') <> '' and a.state = 'active' and a.query ~* '^\s*(commit|end|prepare)\M')
   and not coalesce(a.application_name like any($3), false)
   and ($4 and a.backend_xmin is not null and a.xact_start < clock_timestamp() - interval '10 seconds'
        or exists (select from pg_stat_activity w where w.wait_event_type = 'Lock' and a.pid = any(pg_blocking_pids(w.pid))))`

// signal sends one, if the session is still what it was; sent tells whether. That is not
// what the statement returns: a session that outlives the wait for its end was told to.
func (d *Database) signal(ctx context.Context, conn *pgx.Conn, do string, a doctor.Act, t target) (sent bool, err error) {
	var worked bool
	err = conn.QueryRow(ctx, "select "+do+" "+stillRoot, t.pid, t.since, d.protected(), snapshot(a)).Scan(&worked)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	return err == nil, denied(err, "pg_signal_backend (and a superuser's session takes a superuser)")
}

// holding reports whether the session still has the snapshot that it is ended for.
func holding(a doctor.Act, s *session) bool { return snapshot(a) && s.OldestXmin && s.State != "idle" }

const (
	cancelWithin = 2 * time.Second
	lookAgain    = 50 * time.Millisecond
)

// cancelFirst reports whether nobody waits any more after a cancel.
func (h *terminator) cancelFirst(ctx context.Context, conn *pgx.Conn, a doctor.Act, t target) (bool, error) {
	if sent, err := h.signal(ctx, conn, "pg_cancel_backend(a.pid)", a, t); err != nil || !sent {
		return false, err
	}
	return until(ctx, cancelWithin, func() (bool, error) {
		s, err := look(ctx, conn, t)
		return s == nil || s.Blocks == 0 && !holding(a, s), err
	})
}

func (h *terminator) end(ctx context.Context, conn *pgx.Conn, a doctor.Act, t target, out *doctor.Change) error {
	sent, err := h.signal(ctx, conn, "pg_terminate_backend(a.pid, 3000)", a, t)
	if err != nil {
		return err
	}
	s, err := look(ctx, conn, t)
	switch {
	case err != nil:
		return err
	case s == nil:
		out.After = fmt.Sprintf("ended; %d sessions go on", out.Items)
		return nil
	case sent:
		return fmt.Errorf("it was told to end and has not: %s", s.describe())
	}
	return h.notEnded(out, a, s)
}

// until waits, boundedly, for a condition.
func until(ctx context.Context, limit time.Duration, met func() (bool, error)) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	t := time.NewTicker(lookAgain)
	defer t.Stop()
	for {
		ok, err := met()
		if ok || err != nil && ctx.Err() == nil {
			return ok, err
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return false, nil
		}
	}
}

// canceller cancels one statement: of an active root, or of a DDL that waits and
// queues everybody behind it.
type canceller struct{ Database }

func (*canceller) Does() string        { return doctor.DoCancelStatement }
func (*canceller) Reach() doctor.Reach { return doctor.Undoable }

func (h *canceller) judge(out *doctor.Change, s *session) {
	out.Items, out.Before, out.Marks = s.Blocks, s.describe(), h.marks(s)
	if queues := s.StrongWait && s.Blocks > 0; s.Waits > 0 && !queues {
		out.Marks = append(out.Marks, doctor.MarkWaiter)
	}
	if s.State != "active" || s.Blocks == 0 {
		out.Nothing, out.After = true, "it runs nothing that others wait for"
		return
	}
	out.After = fmt.Sprintf("its statement is cancelled, and %d sessions go on", s.Blocks)
}

// Try tells of the statement and of who waits behind it.
func (h *canceller) Try(ctx context.Context, a doctor.Act) (out doctor.Change, err error) {
	out.Reach = doctor.Undoable
	t, err := targetOf(a)
	if err != nil {
		return out, err
	}
	err = h.with(ctx, func(conn *pgx.Conn) error {
		s, err := look(ctx, conn, t)
		if err != nil || s == nil {
			out.Nothing = err == nil
			return err
		}
		h.judge(&out, s)
		out.Rows, err = behind(ctx, conn, t.pid)
		return err
	})
	return out, err
}

// Act cancels it, if it still runs the same statement: the next one may be harmless.
func (h *canceller) Act(ctx context.Context, a doctor.Act) (out doctor.Change, err error) {
	out.Reach = doctor.Undoable
	t, err := targetOf(a)
	if err != nil {
		return out, err
	}
	err = h.with(ctx, func(conn *pgx.Conn) error {
		s, err := lookWhile(ctx, conn, t, func(s *session) bool { return s.Blocks == 0 && s.State == "active" })
		if err != nil || s == nil {
			out.Nothing = err == nil
			return err
		}
		h.judge(&out, s)
		if err := doctor.Never(a, out.Marks...); err != nil || out.Nothing {
			return err
		}
		var sent bool
		err = conn.QueryRow(ctx, `select pg_cancel_backend(a.pid) from pg_stat_activity a
 where a.pid = $1 and a.backend_start = $2 and a.backend_type = 'client backend' and a.state = 'active' and a.query = $4
   and a.wait_event is distinct from 'SyncRep' and not coalesce(a.application_name like any($3), false)
   and not (current_setting('synchronous_standby_names') <> '' and a.query ~* '^\s*(commit|end|prepare)\M')
   and exists (select from pg_stat_activity w where w.wait_event_type = 'Lock' and a.pid = any(pg_blocking_pids(w.pid)))
   and (cardinality(pg_blocking_pids(a.pid)) = 0 or exists (select from pg_locks l where l.pid = a.pid and not l.granted
        and l.locktype = 'relation' and l.mode in ('AccessExclusiveLock', 'ExclusiveLock', 'ShareRowExclusiveLock', 'ShareLock')))`,
			t.pid, t.since, h.protected(), s.Query).Scan(&sent)
		if errors.Is(err, pgx.ErrNoRows) {
			out.Nothing, out.After = true, "it went on to something else by itself"
			return nil
		}
		if err != nil {
			return denied(err, "pg_signal_backend")
		}
		gone, err := until(ctx, cancelWithin, func() (bool, error) {
			now, err := look(ctx, conn, t)
			return now == nil || now.Query != s.Query || now.State != "active" || now.Blocks == 0, err
		})
		if err == nil && !gone {
			err = errors.New("it was told to cancel and has not")
		}
		out.After = fmt.Sprintf("cancelled; %d sessions go on", out.Items)
		return err
	})
	return out, err
}

func asPg(err error, into **pgconn.PgError) bool { return errors.As(err, into) }
