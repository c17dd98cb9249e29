package postgres

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/internal/disk"
)

const (
	// largeRows is from how many rows on reading a table whole is worth a word.
	largeRows = 10_000
	// hotRows is from how many rows on dead ones count: below, one batch is a share.
	hotRows = 2_000
	// fewFree is how little of a disk is as good as nothing: one segment of the log.
	fewFree = 16 << 20
)

// storage looks at what there is: tables, indexes, the log and the disk under them.
type storage struct {
	source  *Source
	at      time.Time
	tables  map[uint32]table
	indexes indexBook
	plans   planBook
	slow    statementBook
	folder  string // the data folder, when it is on this machine
	asked   bool
	trend   disk.Trend
}

// table is one table as pg_stat_user_tables counts it.
type table struct {
	ID          uint32
	Name        string
	Scans, Read int64 // whole, and rows read by it
	Live, Dead  int64
	Rows        int64 // as the planner believes
	Changes     int64
	IndexScans  int64
}

// Name of the collector.
func (*storage) Name() string { return "postgres storage" }

// Every is StorageEvery.
func (*storage) Every() time.Duration { return StorageEvery }

// Look returns what there is. What could be read before an error is told.
func (s *storage) Look(ctx context.Context) (doctor.Look, error) {
	l := s.source.sight()
	part := func(name string, look func(context.Context, *pgx.Conn, *sight) error) func(context.Context, *pgx.Conn) error {
		return func(ctx context.Context, conn *pgx.Conn) error { return l.note(name, look(ctx, conn, l)) }
	}
	err := s.source.with(ctx,
		part("tables", s.readTables), part("indexes", s.indexes.look), part("statements", s.slow.look),
		part("sequences", sequences), part("log", logSize), part("disk", s.disk))
	return l.Look, err
}

const tableQuery = `select s.relid::int8, s.schemaname || '.' || s.relname, s.seq_scan, s.seq_tup_read, s.n_live_tup, s.n_dead_tup,
       greatest(c.reltuples, 0)::int8, s.n_tup_ins + s.n_tup_upd + s.n_tup_del, coalesce(s.idx_scan, 0)
  from pg_stat_user_tables s join pg_class c on c.oid = s.relid
 order by s.n_live_tup desc limit 500`

// readTables tells what was read by scanning large tables whole, which tables are full of
// dead rows, and which indexes fell silent while their table is scanned.
func (s *storage) readTables(ctx context.Context, conn *pgx.Conn, l *sight) error {
	rows, err := conn.Query(ctx, tableQuery)
	if err != nil {
		return err
	}
	now := map[uint32]table{}
	var t table
	var id int64
	_, err = pgx.ForEachRow(rows, []any{&id, &t.Name, &t.Scans, &t.Read, &t.Live, &t.Dead, &t.Rows, &t.Changes, &t.IndexScans}, func() error {
		t.ID = uint32(id)
		now[t.ID] = t
		return nil
	})
	if err != nil {
		return err
	}
	before, at := s.tables, s.at
	s.tables, s.at = now, l.at
	tellDead(l, now)
	if before == nil || !l.at.After(at) {
		return s.plans.look(ctx, conn, l, nil)
	}
	took := l.at.Sub(at).Seconds()
	var sum, most float64
	var detail map[string]string
	scans := map[uint32]float64{}
	for id, t := range now {
		old, known := before[id]
		if !known || t.Read < old.Read || t.Scans < old.Scans {
			continue
		}
		scans[id] = float64(t.Scans-old.Scans) / took
		if max(t.Live, t.Rows) < largeRows {
			continue
		}
		read := float64(t.Read-old.Read) / took
		if sum += read; read > most {
			most = read
			detail = map[string]string{"relation": t.Name, "rows": strconv.FormatInt(max(t.Live, t.Rows), 10)}
		}
	}
	l.tell(doctor.PGSeqRows, sum, tableQuery, detail)
	return s.plans.look(ctx, conn, l, scans)
}

func tellDead(l *sight, tables map[uint32]table) {
	var share float64
	var detail map[string]string
	for _, t := range tables {
		if t.Live+t.Dead < hotRows || t.Changes == 0 {
			continue
		}
		if v := float64(t.Dead) / float64(t.Live+t.Dead); v > share {
			share = v
			detail = map[string]string{"relation": t.Name, "dead": strconv.FormatInt(t.Dead, 10)}
		}
	}
	l.tell(doctor.PGDeadTuples, share, tableQuery, detail)
}

const sequenceQuery = `select schemaname || '.' || sequencename, (last_value::numeric / max_value)::float8 from pg_sequences
 where increment_by > 0 and not cycle and last_value is not null order by 2 desc limit 1`

func sequences(ctx context.Context, conn *pgx.Conn, l *sight) error {
	var name string
	var share float64
	err := conn.QueryRow(ctx, sequenceQuery).Scan(&name, &share)
	switch {
	case err == pgx.ErrNoRows: //nolint:errorlint // pgx returns it as it is
		l.tell(doctor.PGSequence, 0, sequenceQuery, nil)
		return nil
	case err != nil:
		return err
	}
	l.tell(doctor.PGSequence, share, sequenceQuery, map[string]string{"relation": name})
	return nil
}

const walQuery = `select coalesce(sum(size), 0)::int8, count(*) from pg_ls_waldir()`

func logSize(ctx context.Context, conn *pgx.Conn, l *sight) error {
	var size, files int64
	if err := conn.QueryRow(ctx, walQuery).Scan(&size, &files); err != nil {
		return err
	}
	l.tell(doctor.PGWalSize, float64(size), walQuery, map[string]string{"files": strconv.FormatInt(files, 10)})
	return nil
}

const folderQuery = `select current_setting('data_directory'), pg_backend_pid()`

// disk tells how much of the disks under the data and under the log is free, when they
// are on this machine: the fuller one.
func (s *storage) disk(ctx context.Context, conn *pgx.Conn, l *sight) error {
	if !s.asked {
		var folder string
		var pid int
		if err := conn.QueryRow(ctx, folderQuery).Scan(&folder, &pid); err != nil {
			return err
		}
		s.asked = true
		if here(conn, pid) {
			s.folder = folder
		}
	}
	if s.folder == "" {
		return nil
	}
	var worst disk.Usage
	var where string
	for _, folder := range []string{s.folder, filepath.Join(s.folder, "pg_wal")} {
		u, err := disk.Of(folder)
		if err != nil {
			continue // a folder that only the server may enter
		}
		if where == "" || u.FreeShare() < worst.FreeShare() {
			worst, where = u, filepath.Base(folder)
		}
	}
	if where == "" {
		return nil
	}
	source := "statfs " + where
	detail := map[string]string{"folder": where, "free_bytes": strconv.FormatInt(worst.Free, 10)}
	l.tell(doctor.DiskFree, worst.FreeShare(), source, detail)
	l.tell(doctor.DiskFullIn, s.trend.Note(l.at, worst.Free).Seconds(), source, detail)
	scarce := ""
	if worst.Free < fewFree {
		scarce = "the disk under " + where + " has no segment of the log left"
	}
	s.source.setScarce(scarce)
	return nil
}

// here reports whether the server runs on this machine: its own process is one of ours.
func here(conn *pgx.Conn, pid int) bool {
	address := conn.PgConn().Conn().RemoteAddr()
	if address.Network() == "unix" {
		return true
	}
	comm, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
	return err == nil && string(comm) == "postgres\n"
}
