package postgres

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/doctor"
)

const (
	indexQuery = `select i.indexrelid::int8, i.indrelid::int8, t.nspname || '.' || r.relname, x.relname, pg_get_indexdef(i.indexrelid),
       i.indisvalid and i.indisready and i.indislive,
       exists (select from pg_stat_progress_create_index p where p.index_relid = i.indexrelid)
  from pg_index i join pg_class r on r.oid = i.indrelid join pg_class x on x.oid = i.indexrelid
  join pg_namespace t on t.oid = r.relnamespace
 where t.nspname not in ('pg_catalog', 'pg_toast', 'information_schema') and r.relpersistence <> 't' limit 2000`
	relationQuery = `select oid::int8 from pg_class where oid = any($1)`
)

// index is one index as it stood.
type index struct {
	ID, Table      uint32
	Relation, Name string
	Definition     string
	Valid, Growing bool
}

// form is the definition without the name: an index under another name, or built anew,
// serves as well.
var indexName = regexp.MustCompile(`^(CREATE (?:UNIQUE )?INDEX )(?:"(?:[^"]|"")+"|\S+)( ON )`)

func (x *index) form() string {
	return strconv.Itoa(int(x.Table)) + " " + indexName.ReplaceAllString(x.Definition, "$1$2")
}

// indexBook remembers the indexes that served at the first look, and those that came.
type indexBook struct {
	known map[string]index // by form, that were valid once
}

// look tells which of them are gone or no longer serve, with the definition to build one
// again. An index of a table that is gone with it is not missed; one that is being built
// is waited for.
func (b *indexBook) look(ctx context.Context, conn *pgx.Conn, l *sight) error {
	rows, err := conn.Query(ctx, indexQuery)
	if err != nil {
		return err
	}
	now := map[string]index{}
	var broken []index
	var x index
	var id, on int64
	_, err = pgx.ForEachRow(rows, []any{&id, &on, &x.Relation, &x.Name, &x.Definition, &x.Valid, &x.Growing}, func() error {
		x.ID, x.Table = uint32(id), uint32(on)
		switch {
		case x.Valid:
			now[x.form()] = x
		case !x.Growing:
			broken = append(broken, x)
		}
		return nil
	})
	if err != nil {
		return err
	}
	gone, err := b.gone(ctx, conn, now)
	if err != nil {
		return err
	}
	broken = slices.DeleteFunc(broken, func(x index) bool { _, served := now[x.form()]; return served })
	// One that is invalid and was known is one trouble, not two.
	gone = slices.DeleteFunc(gone, func(x index) bool {
		return slices.ContainsFunc(broken, func(y index) bool { return x.form() == y.form() })
	})
	if b.known == nil {
		b.known = map[string]index{}
	}
	maps.Copy(b.known, now)
	var detail map[string]string
	switch {
	case len(gone) > 0:
		detail = gone[0].detail("gone")
	case len(broken) > 0:
		detail = broken[0].detail("invalid")
	}
	l.tell(doctor.PGIndexGone, float64(len(gone)+len(broken)), indexQuery, detail)
	return nil
}

func (x *index) detail(state string) map[string]string {
	return map[string]string{
		"index": x.Name, "relation": x.Relation, "state": state, "definition": x.Definition,
	}
}

// gone are those that served and do not, on tables that are still there.
func (b *indexBook) gone(ctx context.Context, conn *pgx.Conn, now map[string]index) ([]index, error) {
	var gone []index
	var tables []int64
	for form, x := range b.known {
		if _, ok := now[form]; !ok {
			gone = append(gone, x)
			tables = append(tables, int64(x.Table))
		}
	}
	if len(gone) == 0 {
		return nil, nil
	}
	rows, err := conn.Query(ctx, relationQuery, tables)
	if err != nil {
		return nil, err
	}
	there, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, err
	}
	gone = slices.DeleteFunc(gone, func(x index) bool {
		lost := !slices.Contains(there, int64(x.Table))
		if lost {
			delete(b.known, x.form())
		}
		return lost
	})
	slices.SortFunc(gone, func(a, b index) int { return strings.Compare(a.Name, b.Name) })
	return gone, nil
}

const usedQuery = `select indexrelid::int8, relid::int8, schemaname || '.' || relname, indexrelname, idx_scan from pg_stat_user_indexes limit 2000`

// Bounds of a plan that changed, as the use of indexes shows it.
const (
	usedOften   = 0.5 // scans a second, before: less says nothing when it stops
	usedWindow  = 30 * time.Second
	scannedMore = 0.5 // whole scans a second more than before
)

// planBook notices an index that was used and is not, while its table is read whole: what
// a plan that changed looks like where no statement is counted.
type planBook struct {
	at   time.Time
	uses map[string]*use
	scan map[uint32]*rate
}

type use struct {
	table          uint32
	relation, name string
	scans          int64
	rate           rate
	seen           bool
}

// rate is how often something is, of late, and before that.
type rate struct {
	before, now float64
	fresh       bool
}

// note takes what it was in the last interval: before follows slowly, and not at all
// while it is off.
func (r *rate) note(v float64, took time.Duration) {
	r.now = v
	if !r.fresh {
		r.before, r.fresh = v, true
		return
	}
	share := min(took.Seconds()/usedWindow.Seconds(), 1)
	r.before += share * (v - r.before)
}

// look takes how often each table was read whole, a second; nil at the first look.
func (b *planBook) look(ctx context.Context, conn *pgx.Conn, l *sight, scans map[uint32]float64) error {
	rows, err := conn.Query(ctx, usedQuery)
	if err != nil {
		return err
	}
	if b.uses == nil {
		b.uses, b.scan = map[string]*use{}, map[uint32]*rate{}
	}
	for _, u := range b.uses {
		u.seen = false
	}
	took := l.at.Sub(b.at)
	b.at = l.at
	now := map[string]float64{}
	var id, on, count int64
	var relation, name string
	_, err = pgx.ForEachRow(rows, []any{&id, &on, &relation, &name, &count}, func() error {
		key := strconv.Itoa(int(id))
		u := b.uses[key]
		if u == nil {
			u = &use{table: uint32(on), relation: relation, name: name, scans: count}
			b.uses[key] = u
		} else if count >= u.scans && scans != nil && took > 0 {
			now[key] = float64(count-u.scans) / took.Seconds()
		}
		u.scans, u.seen = count, true
		return nil
	})
	if err != nil {
		return err
	}
	b.judge(l, now, scans, took)
	return nil
}

// judge counts the indexes whose use ended while their table is read whole more often
// than before. Their usual use is not forgotten while that is so.
func (b *planBook) judge(l *sight, now map[string]float64, scans map[uint32]float64, took time.Duration) {
	changed := 0
	var detail map[string]string
	hot := map[uint32]bool{}
	for _, key := range slices.Sorted(maps.Keys(b.uses)) {
		u := b.uses[key]
		used := now[key]
		usual := b.scan[u.table]
		silent := u.rate.fresh && u.rate.before >= usedOften && used == 0
		if silent && usual != nil && scans[u.table] >= usual.before+scannedMore {
			changed++
			hot[u.table] = true
			if detail == nil {
				detail = map[string]string{"relation": u.relation, "index": u.name}
			}
			continue
		}
		if !u.seen && !hot[u.table] { // it is gone, and nobody misses it
			delete(b.uses, key)
			continue
		}
		if scans != nil {
			u.rate.note(used, took)
		}
	}
	for id, v := range scans {
		if b.scan[id] == nil {
			b.scan[id] = &rate{}
		}
		if !hot[id] {
			b.scan[id].note(v, took)
		}
	}
	l.tellOf(doctor.PGPlanChanged, "indexes", float64(changed), usedQuery, detail)
}
