package postgres

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/doctor"
)

const (
	waitsQuery = `select a.pid, b.pid from (select pid from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database() order by query_start limit %d) a,
       lateral unnest(pg_blocking_pids(a.pid)) b(pid)`

	sessionQuery = `select pid, backend_start, coalesce(application_name, ''), coalesce(usename, ''), coalesce(state, ''), backend_type,
       coalesce(wait_event_type, ''), coalesce(wait_event, ''), state_change, xact_start, query_start,
       coalesce(age(backend_xmin), 0), left(query, 400), clock_timestamp()
  from pg_stat_activity
 where pid <> pg_backend_pid() and (datname = current_database() or datname is null)
   and (pid = any($1) or backend_type = 'client backend' and xact_start < clock_timestamp() - interval '` + youngest + `' or age(backend_xmin) > 10000)
 order by xact_start nulls last limit 300`

	// A lock of these modes on a table stops its writers, the strongest its readers too:
	// what a DDL wants.
	ddlQuery = `select l.pid, l.relation::regclass::text, l.mode, extract(epoch from clock_timestamp() - l.waitstart)::float8
  from pg_locks l where not l.granted and l.locktype = 'relation' and l.waitstart is not null
   and l.mode in ('AccessExclusiveLock', 'ExclusiveLock', 'ShareRowExclusiveLock', 'ShareLock')
   and l.database = (select oid from pg_database where datname = current_database())
 order by l.waitstart limit 20`

	preparedQuery = `select gid, owner, extract(epoch from clock_timestamp() - prepared)::float8, age(transaction)
  from pg_prepared_xacts where database = current_database() order by prepared limit 1`

	slotQuery = `select slot_name, active, coalesce(wal_status, ''),
       case when coalesce(database, current_database()) = current_database() then greatest(coalesce(age(xmin), 0), coalesce(age(catalog_xmin), 0))::int8 else 0 end,
       coalesce(xmin::text, '') || '/' || coalesce(catalog_xmin::text, ''),
       coalesce(pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end, restart_lsn), 0)::int8
  from pg_replication_slots limit 100`
)

// picture is one moment: who is there, and who waits for whom.
type picture struct {
	now      time.Time
	sessions []*session
	byPID    map[int32]*session
	waits    []wait
	prepared *preparedTx
	slots    []slot
}

type preparedTx struct {
	gid, owner string
	age        float64 // seconds
	behind     int64
}

type slot struct {
	name, status, snapshot string
	active                 bool
	behind, retained       int64
	age                    float64 // seconds
}

// sessions tells of single sessions: who holds others up, and who holds history back.
func (a *activity) sessions(ctx context.Context, conn *pgx.Conn, l *sight, waiting int) error {
	p := picture{now: l.at, byPID: map[int32]*session{}}
	if waiting > 0 {
		if err := p.readWaits(ctx, conn); err != nil {
			return err
		}
	}
	if err := p.readSessions(ctx, conn); err != nil {
		return err
	}
	if err := p.readPrepared(ctx, conn); err != nil {
		return err
	}
	if err := a.readSlots(ctx, conn, &p); err != nil {
		return err
	}
	a.tellKnots(l, &p)
	p.tellRoots(l)
	p.tellHolders(l)
	p.tellSlots(l)
	if len(p.waits) == 0 {
		l.tell(doctor.PGDDLWaiting, 0, ddlQuery, nil)
		return nil
	}
	return p.tellDDL(ctx, conn, l)
}

func (p *picture) readWaits(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, fmt.Sprintf(waitsQuery, waitersMax))
	if err != nil {
		return err
	}
	p.waits, err = pgx.CollectRows(rows, pgx.RowToStructByPos[wait])
	return err
}

func (p *picture) readSessions(ctx context.Context, conn *pgx.Conn) error {
	var pids []int32
	for _, w := range p.waits {
		pids = append(pids, w.Waiter, w.Blocker)
	}
	rows, err := conn.Query(ctx, sessionQuery, pids)
	if err != nil {
		return err
	}
	var s session
	_, err = pgx.ForEachRow(rows, []any{
		&s.PID, &s.Start, &s.Application, &s.User, &s.State, &s.Kind, &s.WaitType, &s.WaitEvent,
		&s.StateChange, &s.XactStart, &s.QueryStart, &s.Snapshot, &s.Query, &p.now,
	}, func() error {
		one := s
		p.sessions = append(p.sessions, &one)
		p.byPID[one.PID] = &one
		return nil
	})
	return err
}

func (p *picture) readPrepared(ctx context.Context, conn *pgx.Conn) error {
	var x preparedTx
	err := conn.QueryRow(ctx, preparedQuery).Scan(&x.gid, &x.owner, &x.age, &x.behind)
	switch {
	case err == pgx.ErrNoRows: //nolint:errorlint // pgx returns it as it is
		return nil
	case err != nil:
		return err
	}
	p.prepared = &x
	return nil
}

func (a *activity) readSlots(ctx context.Context, conn *pgx.Conn, p *picture) error {
	rows, err := conn.Query(ctx, slotQuery)
	if err != nil {
		return err
	}
	now := map[string]held{}
	var s slot
	_, err = pgx.ForEachRow(rows, []any{&s.name, &s.active, &s.status, &s.behind, &s.snapshot, &s.retained}, func() error {
		h, known := a.slots[s.name]
		if !known || h.snapshot != s.snapshot {
			h = held{s.snapshot, p.now}
		}
		now[s.name] = h
		s.age = max(p.now.Sub(h.since).Seconds(), 0)
		p.slots = append(p.slots, s)
		return nil
	})
	a.slots = now
	return err
}

// rooted is a root with how long it has held the others up, in the way that it does.
type rooted struct {
	who   *session
	held  float64 // seconds
	count int
	first *session // one of those who wait
}

// tellRoots tells of the roots that are idle and of those that work, of each kind the
// one that costs most: the time that it holds them up, times those who wait.
func (p *picture) tellRoots(l *sight) {
	var idle, active *rooted
	for _, b := range roots(p.waits) {
		if b.Root == 0 {
			p.tellPreparedRoot(l, len(b.Waiters))
			continue
		}
		who := p.byPID[b.Root]
		if who == nil {
			continue // it went meanwhile
		}
		r := &rooted{who: who, count: len(b.Waiters), first: p.byPID[b.Waiters[0]]}
		kind := &active
		r.held = since(p.now, who.QueryStart)
		if who.State != "active" {
			kind, r.held = &idle, since(p.now, who.StateChange)
		}
		if *kind == nil || r.cost() > (*kind).cost() {
			*kind = r
		}
	}
	p.tellRoot(l, doctor.PGRootIdle, idle)
	p.tellRoot(l, doctor.PGRootActive, active)
}

func (r *rooted) cost() float64 { return r.held * float64(r.count) }

func (p *picture) tellRoot(l *sight, signal doctor.Signal, r *rooted) {
	const source = "pg_blocking_pids(), pg_stat_activity"
	if r == nil {
		l.tell(signal, 0, source, nil)
		return
	}
	d := r.who.detail()
	d["waiters"] = strconv.Itoa(r.count)
	d["transaction"] = seconds(since(p.now, r.who.XactStart))
	if r.who.Kind != "client backend" {
		d["kind"] = r.who.Kind
	}
	if r.first != nil {
		d["waiting"], d["waiting_query"] = short(r.first.Application), Mask(r.first.Query)
	}
	l.tell(signal, r.held, source, d)
}

// tellPreparedRoot tells of a prepared transaction that holds others up: it has no
// session to end.
func (p *picture) tellPreparedRoot(l *sight, waiters int) {
	if p.prepared != nil {
		d := p.prepared.detail()
		d["waiters"] = strconv.Itoa(waiters)
		l.tellOf(doctor.PGRootIdle, "prepared", p.prepared.age, preparedQuery, d)
	}
}

func (x *preparedTx) detail() map[string]string {
	return map[string]string{"prepared": short(x.gid), "user": x.owner, "state": "prepared"}
}

func seconds(s float64) string { return strconv.FormatFloat(s, 'f', 1, 64) }

// tellHolders tells of the longest idle and open transactions, and of the oldest snapshot.
func (p *picture) tellHolders(l *sight) {
	clients := slices.DeleteFunc(slices.Clone(p.sessions), func(s *session) bool { return s.Kind != "client backend" })
	tell := func(signal doctor.Signal, value func(*session) float64) {
		if s := worst(clients, value); s != nil {
			l.tell(signal, value(s), sessionQuery, s.detail())
			return
		}
		l.tell(signal, 0, sessionQuery, nil)
	}
	tell(doctor.PGIdleTx, func(s *session) float64 {
		if !s.idle() {
			return 0
		}
		return since(p.now, s.StateChange)
	})
	tell(doctor.PGLongTx, func(s *session) float64 { return since(p.now, s.XactStart) })

	prepared := 0.0
	var about map[string]string
	if p.prepared != nil {
		prepared, about = p.prepared.age, p.prepared.detail()
	}
	l.tell(doctor.PGPrepared, prepared, preparedQuery, about)
	p.tellHorizon(l)
}

// tellHorizon tells what keeps dead rows from being cleaned: a session's snapshot, a
// slot or a prepared transaction.
func (p *picture) tellHorizon(l *sight) {
	var behind int64
	var age float64
	var detail map[string]string
	if s := worst(p.sessions, func(s *session) float64 { return float64(s.Snapshot) }); s != nil {
		behind, age, detail = s.Snapshot, since(p.now, s.XactStart), s.detail()
		if s.Kind == "walsender" { // a standby's snapshot, by its feedback
			detail["standby"] = short(s.Application)
		}
	}
	if x := p.prepared; x != nil && x.behind > behind {
		behind, age, detail = x.behind, x.age, x.detail()
	}
	for i := range p.slots {
		if s := &p.slots[i]; s.behind > behind {
			behind, age, detail = s.behind, s.age, s.detail()
		}
	}
	l.tell(doctor.PGHorizon, float64(behind), sessionQuery, detail)
	l.tell(doctor.PGHorizonS, age, sessionQuery, detail)
}

func (s *slot) detail() map[string]string {
	active := "no"
	if s.active {
		active = "yes"
	}
	return map[string]string{"slot": s.name, "active": active, "state": s.status}
}

func (p *picture) tellSlots(l *sight) {
	var most *slot
	for i := range p.slots {
		if most == nil || p.slots[i].retained > most.retained {
			most = &p.slots[i]
		}
	}
	if most == nil {
		l.tell(doctor.PGSlotRetained, 0, slotQuery, nil)
		return
	}
	l.tell(doctor.PGSlotRetained, float64(most.retained), slotQuery, most.detail())
}

// tellDDL tells of a DDL that waits for its lock while others queue behind it.
func (p *picture) tellDDL(ctx context.Context, conn *pgx.Conn, l *sight) error {
	rows, err := conn.Query(ctx, ddlQuery)
	if err != nil {
		return err
	}
	var pid int32
	var relation, mode string
	var waited, longest float64
	var detail map[string]string
	_, err = pgx.ForEachRow(rows, []any{&pid, &relation, &mode, &waited}, func() error {
		s, behind := p.byPID[pid], queueBehind(pid, p.waits)
		if s == nil || s.Kind != "client backend" || behind == 0 || waited <= longest {
			return nil
		}
		longest = waited
		detail = s.detail()
		detail["relation"], detail["mode"], detail["waiters"] = strings.TrimPrefix(relation, "public."), mode, strconv.Itoa(behind)
		for _, w := range p.waits {
			if w.Waiter == pid {
				detail["blocker"] = strconv.Itoa(int(w.Blocker))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	l.tell(doctor.PGDDLWaiting, longest, ddlQuery, detail)
	return nil
}
