package repair

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/doctor"
)

// Tables returns the hands create-index and analyze.
func Tables(d Database) []doctor.Hand { return []doctor.Hand{&indexer{d}, &analyzer{d}} }

// indexer builds an index again that was there, from its recorded definition, while
// everybody goes on writing.
type indexer struct{ Database }

func (*indexer) Does() string          { return doctor.DoCreateIndex }
func (*indexer) Reach() doctor.Reach   { return doctor.Undoable }
func (*indexer) Within() time.Duration { return 30 * time.Minute }

// definitionForm is what pg_get_indexdef writes: the name, and the table.
var definitionForm = regexp.MustCompile(`^CREATE (UNIQUE )?INDEX ("(?:[^"]|"")+"|[a-z_][a-z0-9_$]*) ON (?:ONLY )?((?:"(?:[^"]|"")+"|[a-z_][a-z0-9_$]*)\.)?("(?:[^"]|"")+"|[a-z_][a-z0-9_$]*) USING [^;]+$`)

const definitionMax = 2000

// index is what a definition says, and what of it is there.
type index struct {
	name, table string // as written, both with the schema and its point
	statement   string
	exists      bool
	valid       bool
	building    bool
	size        string
}

func (h *indexer) look(ctx context.Context, conn *pgx.Conn, a doctor.Act) (*index, error) {
	def := strings.TrimSpace(a.With["definition"])
	m := definitionForm.FindStringSubmatch(def)
	if m == nil || len(def) > definitionMax {
		return nil, fmt.Errorf("definition %.80q is none that pg_get_indexdef writes", def)
	}
	x := &index{name: m[3] + m[2], table: m[3] + m[4], statement: strings.Replace(def, "INDEX ", "INDEX CONCURRENTLY ", 1)}
	err := conn.QueryRow(ctx, `select pg_size_pretty(pg_table_size(c.oid)), coalesce(i.indexrelid is not null, false), coalesce(i.indisvalid and i.indisready, false),
       exists (select from pg_stat_progress_create_index p where p.relid = c.oid and p.index_relid = i.indexrelid)
  from pg_class c left join (pg_index i join pg_class n on n.oid = i.indexrelid and n.oid = to_regclass($2)) on i.indrelid = c.oid
 where c.oid = to_regclass($1)`, x.table, x.name).Scan(&x.size, &x.exists, &x.valid, &x.building)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("there is no table %s", x.table)
	}
	return x, err
}

func (h *indexer) judge(x *index) doctor.Change {
	out := doctor.Change{Reach: doctor.Undoable, Items: 1, Value: x.table + ", " + x.size, After: x.statement}
	switch {
	case x.valid:
		out.Nothing, out.After = true, x.name+" is there"
	case x.building:
		out.Before = x.name + " is being built"
	case x.exists:
		out.Before = x.name + " is there and cannot be used; it is dropped first"
	default:
		out.Before = x.name + " is gone"
	}
	return out
}

// Try says what there is.
func (h *indexer) Try(ctx context.Context, a doctor.Act) (out doctor.Change, err error) {
	out.Reach = doctor.Undoable
	err = h.with(ctx, func(conn *pgx.Conn) error {
		x, err := h.look(ctx, conn, a)
		if err == nil {
			out = h.judge(x)
		}
		return err
	})
	return out, err
}

// Act builds it. What a crash, or a build that failed, left behind is dropped first:
// it costs every write and serves no read.
func (h *indexer) Act(ctx context.Context, a doctor.Act) (out doctor.Change, err error) {
	out.Reach = doctor.Undoable
	err = h.with(ctx, func(conn *pgx.Conn) error {
		// It waits for transactions that are older than itself; its deadline is the act's.
		if _, err := conn.Exec(ctx, `set statement_timeout = 0; set lock_timeout = 0`); err != nil {
			return err
		}
		x, err := h.look(ctx, conn, a)
		if err != nil {
			return err
		}
		if x.building {
			_, err = until(ctx, h.Within(), func() (bool, error) {
				if x, err = h.look(ctx, conn, a); err != nil {
					return false, err
				}
				return !x.building, nil
			})
			if err != nil {
				return err
			}
		}
		if out = h.judge(x); out.Nothing {
			return nil
		}
		if x.exists {
			if _, err := conn.Exec(ctx, "drop index concurrently if exists "+x.name); err != nil {
				return denied(err, "the ownership of the table")
			}
		}
		if _, err := conn.Exec(ctx, x.statement); err != nil {
			return errors.Join(denied(err, "the ownership of the table"), h.clear(ctx, a))
		}
		out.After = x.name + " is built"
		return nil
	})
	return out, err
}

// clear drops what a build that failed left behind, unless it is valid after all.
func (h *indexer) clear(ctx context.Context, a doctor.Act) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return h.with(ctx, func(conn *pgx.Conn) error {
		x, err := h.look(ctx, conn, a)
		if err != nil || !x.exists || x.valid || x.building {
			return err
		}
		_, err = conn.Exec(ctx, "drop index concurrently if exists "+x.name)
		return err
	})
}

// analyzer has the planner's statistics of one table counted again.
type analyzer struct{ Database }

func (*analyzer) Does() string          { return doctor.DoAnalyze }
func (*analyzer) Reach() doctor.Reach   { return doctor.Undoable }
func (*analyzer) Within() time.Duration { return 10 * time.Minute }

func (h *analyzer) table(ctx context.Context, conn *pgx.Conn, a doctor.Act) (name, before string, err error) {
	err = conn.QueryRow(ctx, `select c.oid::regclass::text, 'last analyzed '||coalesce(greatest(s.last_analyze, s.last_autoanalyze)::text, 'never')||', '||s.n_mod_since_analyze||' rows changed since'
  from pg_class c join pg_stat_all_tables s on s.relid = c.oid where c.oid = to_regclass($1)`, a.With["relation"]).Scan(&name, &before)
	if errors.Is(err, pgx.ErrNoRows) {
		err = fmt.Errorf("there is no table %q", a.With["relation"])
	}
	return name, before, err
}

func (h *analyzer) Try(ctx context.Context, a doctor.Act) (out doctor.Change, err error) {
	out = doctor.Change{Reach: doctor.Undoable, Items: 1}
	err = h.with(ctx, func(conn *pgx.Conn) error {
		out.After, out.Before, err = h.table(ctx, conn, a)
		out.After = "analyze " + out.After
		return err
	})
	return out, err
}

func (h *analyzer) Act(ctx context.Context, a doctor.Act) (out doctor.Change, err error) {
	out = doctor.Change{Reach: doctor.Undoable, Items: 1}
	err = h.with(ctx, func(conn *pgx.Conn) error {
		name, before, err := h.table(ctx, conn, a)
		if err != nil {
			return err
		}
		out.Before, out.After = before, name+" is analyzed"
		// The name comes from the catalogue of the database, quoted by it.
		_, err = conn.Exec(ctx, `set statement_timeout = '9min'; set lock_timeout = '5s'; analyze `+name)
		return denied(err, "the ownership of the table, or maintain on it (17 and later)")
	})
	return out, err
}

// Logs returns the hands drop-slot and retry-archive.
func Logs(d Database) []doctor.Hand { return []doctor.Hand{&slotter{d}, &archivist{d}} }

// slotter drops a replication slot that nobody reads.
type slotter struct{ Database }

func (*slotter) Does() string        { return doctor.DoDropSlot }
func (*slotter) Reach() doctor.Reach { return doctor.Final }

func (h *slotter) look(ctx context.Context, conn *pgx.Conn, a doctor.Act) (out doctor.Change, err error) {
	out = doctor.Change{Reach: doctor.Final, Items: 1, After: "dropped; " + a.With["plan"]}
	var active bool
	err = conn.QueryRow(ctx, `select active, format('%s, wal_status %s, holds back %s, restart_lsn %s, confirmed_flush_lsn %s', slot_type, wal_status,
    pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)), restart_lsn, coalesce(confirmed_flush_lsn::text, 'none'))
  from pg_replication_slots where slot_name = $1`, a.With["slot"]).Scan(&active, &out.Before)
	if errors.Is(err, pgx.ErrNoRows) {
		out.Nothing = true
		return out, nil
	}
	if active {
		out.Marks = append(out.Marks, doctor.MarkReaders)
	}
	if strings.TrimSpace(a.With["plan"]) == "" {
		out.Marks = append(out.Marks, doctor.MarkPlanless)
	}
	return out, denied(err, "pg_monitor")
}

func (h *slotter) Try(ctx context.Context, a doctor.Act) (out doctor.Change, err error) {
	err = h.with(ctx, func(conn *pgx.Conn) error { out, err = h.look(ctx, conn, a); return err })
	return out, err
}

func (h *slotter) Act(ctx context.Context, a doctor.Act) (out doctor.Change, err error) {
	err = h.with(ctx, func(conn *pgx.Conn) error {
		if out, err = h.look(ctx, conn, a); err != nil || out.Nothing {
			return err
		}
		if err := doctor.Never(a, out.Marks...); err != nil {
			return err
		}
		_, err := conn.Exec(ctx, `select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1 and not active`, a.With["slot"])
		return denied(err, "replication on this login")
	})
	return out, err
}

// archivist has the archiver try again at once, instead of within a minute.
type archivist struct{ Database }

func (*archivist) Does() string        { return doctor.DoRetryArchive }
func (*archivist) Reach() doctor.Reach { return doctor.Instant }

func (h *archivist) Try(ctx context.Context, _ doctor.Act) (out doctor.Change, err error) {
	out = doctor.Change{Reach: doctor.Instant, Items: 1, After: "the log is switched, which wakes the archiver"}
	err = h.with(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `select format('%s archived, %s failures, the last one %s at %s', archived_count, failed_count, coalesce(last_failed_wal, 'none'), last_failed_time) from pg_stat_archiver`).Scan(&out.Before)
	})
	return out, err
}

func (h *archivist) Act(ctx context.Context, a doctor.Act) (doctor.Change, error) {
	out, err := h.Try(ctx, a)
	if err != nil {
		return out, err
	}
	return out, h.with(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `select pg_switch_wal()`)
		return denied(err, "execute on pg_switch_wal()")
	})
}

// Takeover returns the hand takeover, which ends the leadership of a shard whose leader
// makes no progress; who stands by takes over by its own rules.
func Takeover(d Database) doctor.Hand { return &succession{d} }

type succession struct{ Database }

func (*succession) Does() string          { return doctor.DoTakeover }
func (*succession) Reach() doctor.Reach   { return doctor.Undoable }
func (*succession) Within() time.Duration { return time.Minute }

// still is for how long, by our own clock, and in how many looks at least, a heartbeat
// must stand still before its leader counts as stuck: the rule of the standbys.
const (
	still      = 2500 * time.Millisecond
	stillLooks = 4
)

type leadership struct {
	leader string // hexadecimal; empty when nobody leads
	beat   int64
	others int // sessions of nodes that look on
	held   int // sessions of the leader
}

func (h *succession) look(ctx context.Context, conn *pgx.Conn, shard string) (l leadership, err error) {
	err = conn.QueryRow(ctx, `select coalesce(replace(leader::text, '-', ''), ''), beat,
    (select count(*) from pg_stat_activity where application_name = 'moneta watch' and datname = current_database()),
    (select count(*) from pg_stat_activity where application_name = $2 || replace(leader::text, '-', '') and datname = current_database())
  from facts.heartbeats where shard = $1::text::int`, shard, Leader).Scan(&l.leader, &l.beat, &l.others, &l.held)
	if errors.Is(err, pgx.ErrNoRows) {
		return l, fmt.Errorf("there is no shard %s", shard)
	}
	return l, denied(err, "moneta_doctor")
}

func shardOf(a doctor.Act) string {
	if s := a.With["shard"]; s != "" {
		return s
	}
	return "1"
}

// stuck looks at the heartbeat for a while.
func (h *succession) stuck(ctx context.Context, conn *pgx.Conn, a doctor.Act) (l leadership, out doctor.Change, err error) {
	out = doctor.Change{Reach: doctor.Undoable, Items: 1}
	first, err := h.look(ctx, conn, shardOf(a))
	if err != nil {
		return l, out, err
	}
	if raw, err := hex.DecodeString(first.leader); err != nil || len(raw) != 16 {
		out.Nothing, out.After = true, "nobody leads"
		return first, out, nil
	}
	t := time.NewTicker(still / stillLooks)
	defer t.Stop()
	for range stillLooks {
		select {
		case <-t.C:
		case <-ctx.Done():
			return l, out, ctx.Err()
		}
		if l, err = h.look(ctx, conn, shardOf(a)); err != nil {
			return l, out, err
		}
		if l.leader != first.leader || l.beat != first.beat {
			out.Nothing, out.After = true, "its leader makes progress"
			return l, out, nil
		}
	}
	out.Before = fmt.Sprintf("leader %.8s…, beat %d stood still for %s, %d sessions; %d nodes look on", l.leader, l.beat, still, l.held, l.others)
	out.After = "its sessions are ended, and who stands by takes over with the next epoch"
	return l, out, nil
}

func (h *succession) Try(ctx context.Context, a doctor.Act) (out doctor.Change, err error) {
	err = h.with(ctx, func(conn *pgx.Conn) error { _, out, err = h.stuck(ctx, conn, a); return err })
	return out, err
}

// Act ends the sessions of that one leadership. One that waits for a standby is waited
// for: it would acknowledge what exists once only.
func (h *succession) Act(ctx context.Context, a doctor.Act) (out doctor.Change, err error) {
	err = h.with(ctx, func(conn *pgx.Conn) error {
		var l leadership
		if l, out, err = h.stuck(ctx, conn, a); err != nil || out.Nothing {
			return err
		}
		gone, err := until(ctx, 10*time.Second, func() (bool, error) {
			var left int
			err := conn.QueryRow(ctx, `select count(case when waiting then true else pg_terminate_backend(pid) end)
  from (select pid, coalesce(wait_event = 'SyncRep', false) waiting from pg_stat_activity
         where application_name = $1 and datname = current_database() offset 0) s`, Leader+l.leader).Scan(&left)
			return left == 0, denied(err, "pg_signal_backend")
		})
		if err == nil && !gone {
			err = errors.New("the leader's sessions do not end: one waits for a synchronous standby, or the database does not let it go")
		}
		out.After = "the leader's sessions are ended"
		return err
	})
	return out, err
}
