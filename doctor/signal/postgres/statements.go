package postgres

import (
	"context"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/doctor"
)

// Bounds of the statements that are compared.
const (
	statementsMax = 300
	// settled is how old a usual time must be, and calledBefore how well founded.
	settled      = 30 * time.Second
	calledBefore = 20
	// calledNow is how often one must be called to be judged, unless it took mattersS.
	calledNow = 3
	mattersS  = 0.1 // seconds of work in one interval: less hurts nobody
	// blocksTimes is how many times as many blocks make another plan of it.
	blocksTimes = 8
	blocksLeast = 200
)

const installedQuery = `select n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'pg_stat_statements'`

// tally is one statement's counters, and how they stood when its usual time was taken.
type tally struct {
	calls, blocks int64
	ms            float64
	// usual sums what is old enough to be called usual.
	usualCalls, usualBlocks int64
	usualMS                 float64
}

// statementBook compares each statement with itself.
type statementBook struct {
	asked  bool
	schema string // of the extension; "" when it is not there
	since  time.Time
	known  map[int64]*tally
}

// look tells of the statement that takes longest in terms of its usual time, and of those
// that read many times as many blocks. Without pg_stat_statements nobody knows; the use of
// indexes is the other witness.
func (b *statementBook) look(ctx context.Context, conn *pgx.Conn, l *sight) error {
	if err := b.find(ctx, conn); err != nil || b.schema == "" {
		return err
	}
	query := "select coalesce(queryid, 0), calls, total_exec_time, shared_blks_hit + shared_blks_read from " + b.schema +
		".pg_stat_statements(false) where dbid = (select oid from pg_database where datname = current_database()) and toplevel" +
		" order by total_exec_time desc limit " + strconv.Itoa(statementsMax)
	rows, err := conn.Query(ctx, query)
	if err != nil {
		b.asked = false // it may have been dropped
		return err
	}
	if b.known == nil {
		b.known, b.since = map[int64]*tally{}, l.at
	}
	ripe := l.at.Sub(b.since) >= settled
	var worst, changed float64
	var worstID int64
	var usual, took float64
	now := map[int64]*tally{}
	var id int64
	var t tally
	_, err = pgx.ForEachRow(rows, []any{&id, &t.calls, &t.ms, &t.blocks}, func() error {
		old := b.known[id]
		if old == nil || t.calls < old.calls {
			first := t
			if old == nil && b.since.Equal(l.at) { // what stands there from before we came is usual
				first.usualCalls, first.usualMS, first.usualBlocks = t.calls, t.ms, t.blocks
			}
			now[id] = &first
			return nil
		}
		times, wider := old.against(&t)
		if ripe && times > worst {
			worst, worstID = times, id
			usual, took = old.usualMS/float64(old.usualCalls), (t.ms-old.ms)/float64(t.calls-old.calls)
		}
		if ripe && wider {
			changed++
		}
		next := *old
		// What is much slower than usual does not become usual.
		if times < 3 && !wider {
			next.usualCalls += t.calls - old.calls
			next.usualMS += t.ms - old.ms
			next.usualBlocks += t.blocks - old.blocks
		}
		next.calls, next.ms, next.blocks = t.calls, t.ms, t.blocks
		now[id] = &next
		return nil
	})
	if err != nil {
		return err
	}
	b.known = now
	return b.tell(ctx, conn, l, worst, worstID, usual, took, changed)
}

// against returns how many times as long as usual the statement took since, and whether
// it reads so much more that its plan is another; 0 when too little is known.
func (t *tally) against(now *tally) (times float64, wider bool) {
	calls, ms := now.calls-t.calls, now.ms-t.ms
	if t.usualCalls < calledBefore || calls == 0 || calls < calledNow && ms < mattersS*1000 || ms < mattersS*1000 {
		return 0, false
	}
	before := t.usualMS / float64(t.usualCalls)
	if before <= 0 {
		return 0, false
	}
	blocks := float64(now.blocks-t.blocks) / float64(calls)
	usualBlocks := float64(t.usualBlocks) / float64(t.usualCalls)
	return ms / float64(calls) / before, blocks >= blocksLeast && blocks >= blocksTimes*max(usualBlocks, 1)
}

func (b *statementBook) find(ctx context.Context, conn *pgx.Conn) error {
	if b.asked {
		return nil
	}
	var schema string
	err := conn.QueryRow(ctx, installedQuery).Scan(&schema)
	if err != nil && err != pgx.ErrNoRows { //nolint:errorlint // pgx returns it as it is
		return err
	}
	b.asked = true
	if schema != "" {
		b.schema = pgx.Identifier{schema}.Sanitize()
	}
	return nil
}

func (b *statementBook) tell(ctx context.Context, conn *pgx.Conn, l *sight, worst float64, id int64, usual, took, changed float64) error {
	const source = "pg_stat_statements"
	var detail map[string]string
	if worst > 1 {
		var text string
		if err := conn.QueryRow(ctx, "select left(query, 400) from "+b.schema+".pg_stat_statements where queryid = $1 limit 1", id).Scan(&text); err == nil {
			detail = map[string]string{
				"query": Mask(text), "statement": strconv.FormatInt(id, 10),
				"usual_ms": strconv.FormatFloat(usual, 'f', 2, 64), "now_ms": strconv.FormatFloat(took, 'f', 2, 64),
			}
		}
	}
	l.tell(doctor.PGStatement, max(worst, 1), source, detail)
	l.tellOf(doctor.PGPlanChanged, "statements", changed, source, detail)
	return nil
}
