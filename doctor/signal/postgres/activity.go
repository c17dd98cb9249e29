package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/doctor"
)

const (
	// samples of the sessions in one look, so far apart. A wait for the disk lasts
	// milliseconds: one sample would say all or nothing.
	samples     = 4
	sampleEvery = 40 * time.Millisecond
	// waitersMax bounds for whom the server is asked who blocks them: it stops the lock
	// table for each.
	waitersMax = 64
	// youngest transaction that is looked at one by one; those that are done by the time
	// anybody reads of them are not.
	youngest = "200 ms"
	// archiveWindow is over how long failures of the archiver count: it tries three times,
	// a second apart, and then waits a minute.
	archiveWindow = 75 * time.Second
)

// activity looks at what happens now.
type activity struct {
	source *Source
	last   *base
	fails  []archived
	home   *home
	moves  int // changes of history
	slots  map[string]held
	broken int64 // deadlocks that were broken since the look before
	knots  knots
	seen   map[string]bool // replicas
}

// base are the server's counters at one moment, by its own clock.
type base struct {
	At                                    time.Time
	Commits, Rollbacks, Deadlocks, Temp   int64
	WalBytes, Syncs, Forced, ArchiveFails int64
	SyncMS                                float64
	Timing, Standby                       bool
	ArchiveFailing                        bool
	ArchiveWal                            string
	Usable                                int64 // connections that a client may have
	System                                int64
	Timeline                              string
}

type archived struct {
	at    time.Time
	fails int64
}

// home is the history that the server is in.
type home struct {
	system   int64
	timeline string
}

// held is what a slot held back, and since when.
type held struct {
	snapshot string
	since    time.Time
}

// Name of the collector.
func (*activity) Name() string { return "postgres" }

// Every is ActivityEvery.
func (*activity) Every() time.Duration { return ActivityEvery }

// Look returns what happens now. What could be read before an error is told.
func (a *activity) Look(ctx context.Context) (doctor.Look, error) {
	l := a.source.sight()
	var waiting int
	err := a.source.with(
		ctx,
		func(ctx context.Context, conn *pgx.Conn) error { return l.note("counters", a.counters(ctx, conn, l)) },
		func(ctx context.Context, conn *pgx.Conn) error {
			n, err := a.sample(ctx, conn, l)
			waiting = n
			return l.note("activity", err)
		},
		func(ctx context.Context, conn *pgx.Conn) error {
			return l.note("sessions", a.sessions(ctx, conn, l, waiting))
		},
		func(ctx context.Context, conn *pgx.Conn) error { return l.note("replicas", a.replicas(ctx, conn, l)) },
	)
	return l.Look, err
}

// The counters that moved between versions: of the log's flushes (pg_stat_io since 18)
// and of checkpoints (pg_stat_checkpointer since 17).
const (
	flushesBefore18 = `select wal_sync, wal_sync_time from pg_stat_wal`
	flushesSince18  = `select coalesce(sum(fsyncs), 0)::int8, coalesce(sum(fsync_time), 0)::float8 from pg_stat_io where object = 'wal'`
	forcedBefore17  = `select checkpoints_req from pg_stat_bgwriter`
	forcedSince17   = `select num_requested from pg_stat_checkpointer`

	counterQuery = `select clock_timestamp(), d.xact_commit, d.xact_rollback, d.deadlocks, d.temp_bytes,
       pg_wal_lsn_diff(case when r.standby then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end, '0/0')::int8,
       f.syncs, f.sync_ms::float8, current_setting('track_wal_io_timing')::bool, r.standby, c.forced,
       a.failed_count, coalesce(a.last_failed_time > coalesce(a.last_archived_time, '-infinity'), false), coalesce(a.last_failed_wal, ''),
       current_setting('max_connections')::int8 - current_setting('superuser_reserved_connections')::int8,
       s.system_identifier,
       case when r.standby then '' else substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) end
  from pg_stat_database d, (select pg_is_in_recovery() as standby) r, (%s) f (syncs, sync_ms), (%s) c (forced),
       pg_stat_archiver a, pg_control_system() s
 where d.datname = current_database()`
)

// counterSource is where people find the same counters.
const counterSource = "pg_stat_database, pg_stat_wal, pg_stat_bgwriter, pg_control_system()"

func counterQueryOf(conn *pgx.Conn) string {
	flushes, forced := flushesBefore18, forcedBefore17
	version, _, _ := strings.Cut(conn.PgConn().ParameterStatus("server_version"), ".")
	if n, err := strconv.Atoi(version); err == nil {
		if n >= 17 {
			forced = forcedSince17
		}
		if n >= 18 {
			flushes = flushesSince18
		}
	}
	return fmt.Sprintf(counterQuery, flushes, forced)
}

func (a *activity) counters(ctx context.Context, conn *pgx.Conn, l *sight) error {
	var b base
	err := conn.QueryRow(ctx, counterQueryOf(conn)).Scan(&b.At, &b.Commits, &b.Rollbacks, &b.Deadlocks, &b.Temp, &b.WalBytes,
		&b.Syncs, &b.SyncMS, &b.Timing, &b.Standby, &b.Forced, &b.ArchiveFails, &b.ArchiveFailing, &b.ArchiveWal,
		&b.Usable, &b.System, &b.Timeline)
	if err != nil {
		return err
	}
	last := a.last
	a.last, a.broken = &b, 0
	a.history(l, &b)
	a.archive(l, &b)
	said := a.source.fullDisk()
	var full map[string]string
	if said != "" {
		full = map[string]string{"said": Mask(said)}
	}
	l.tell(doctor.PGNoSpace, yes(said != ""), "errors of statements, statfs", full)
	if last == nil || b.System != last.System || b.Standby != last.Standby {
		return nil
	}
	took := b.At.Sub(last.At).Seconds()
	if took <= 0 {
		return nil
	}
	rate := func(signal doctor.Signal, now, before int64) {
		if now >= before { // else somebody reset the statistics, or the server crashed
			l.tell(signal, float64(now-before)/took, counterSource, nil)
		}
	}
	rate(doctor.PGCommits, b.Commits, last.Commits)
	a.broken = max(b.Deadlocks-last.Deadlocks, 0)
	rate(doctor.PGDeadlocks, b.Deadlocks, last.Deadlocks)
	rate(doctor.PGTempBytes, b.Temp, last.Temp)
	rate(doctor.PGWalRate, b.WalBytes, last.WalBytes)
	rate(doctor.PGCheckpoints, b.Forced, last.Forced)
	if done, back := b.Commits-last.Commits, b.Rollbacks-last.Rollbacks; done >= 0 && back >= 0 && done+back > 0 {
		l.tell(doctor.PGRollbacks, float64(back)/float64(done+back), counterSource, nil)
	}
	// Without timing the time of a flush is not zero but not known.
	if n := b.Syncs - last.Syncs; b.Timing && n > 0 && b.SyncMS >= last.SyncMS {
		l.tell(doctor.PGFlush, (b.SyncMS-last.SyncMS)/float64(n)/1000, counterSource, nil)
	}
	return nil
}

// history tells when the server is in another history than at the first look: another
// cluster behind the address, or a standby that was promoted.
func (a *activity) history(l *sight, b *base) {
	now := home{b.System, b.Timeline}
	if a.home == nil {
		a.home = &now
	}
	if now.timeline == "" {
		now.timeline = a.home.timeline // a standby follows; it does not say where
	}
	if now != *a.home {
		a.moves++
		a.home = &now
	}
	l.tell(doctor.PGTimeline, float64(a.moves), counterSource, map[string]string{
		"timeline": now.timeline, "system": strconv.FormatInt(now.system, 10),
	})
}

func (a *activity) archive(l *sight, b *base) {
	if n := len(a.fails); n > 0 && b.ArchiveFails < a.fails[n-1].fails {
		a.fails = nil
	}
	a.fails = append(a.fails, archived{b.At, b.ArchiveFails})
	for len(a.fails) > 2 && b.At.Sub(a.fails[1].at) > archiveWindow {
		a.fails = a.fails[1:]
	}
	first := a.fails[0]
	took := max(b.At.Sub(first.at).Seconds(), 1)
	detail := map[string]string{"failing": "no"}
	if b.ArchiveFailing {
		detail = map[string]string{"failing": "yes", "segment": b.ArchiveWal}
	}
	l.tell(doctor.PGArchiveFails, float64(b.ArchiveFails-first.fails)/took, "pg_stat_archiver", detail)
}

// Waits of the log and of data. Who waits for another's write of the log waits at an
// LWLock, who waits for another's read of a page at an IPC.
const sampleQuery = `select count(*), count(*) filter (where active),
       count(*) filter (where wait_event_type = 'Lock' and ours),
       count(*) filter (where active and (wait_event_type = 'IO' and upper(left(wait_event, 3)) = 'WAL'
                        or wait_event_type = 'LWLock' and wait_event in ('WALWrite', 'WALInsert', 'WALBufMapping'))),
       count(*) filter (where active and (wait_event_type = 'IO' and upper(left(wait_event, 3)) <> 'WAL' or wait_event = 'BufferIO')),
       count(*) filter (where wait_event = 'SyncRep')
  from (select state = 'active' as active, datname = current_database() as ours, wait_event_type, wait_event from pg_stat_activity
         where backend_type = 'client backend' and pid <> pg_backend_pid()) s`

// sample looks several times and returns how many sessions waited for a lock at most.
func (a *activity) sample(ctx context.Context, conn *pgx.Conn, l *sight) (int, error) {
	var count, active, locks, wal, io, sync, mostLocks, mostSync int
	var sumActive, sumWal, sumIO, sumLocks int
	for i := range samples {
		if i > 0 && !pause(ctx, sampleEvery) {
			return mostLocks, ctx.Err()
		}
		if err := conn.QueryRow(ctx, sampleQuery).Scan(&count, &active, &locks, &wal, &io, &sync); err != nil {
			return mostLocks, err
		}
		sumActive, sumWal, sumIO, sumLocks = sumActive+active, sumWal+wal, sumIO+io, sumLocks+locks
		mostLocks, mostSync = max(mostLocks, locks), max(mostSync, sync)
	}
	share := func(part int) float64 {
		if sumActive == 0 {
			return 0
		}
		return float64(part) / float64(sumActive)
	}
	l.tell(doctor.PGActive, float64(sumActive)/samples, sampleQuery, nil)
	l.tell(doctor.LockWaiters, float64(sumLocks)/samples, sampleQuery, nil)
	l.tell(doctor.PGWalWaiters, share(sumWal), sampleQuery, nil)
	l.tell(doctor.PGIOWaiters, share(sumIO), sampleQuery, nil)
	l.tell(doctor.PGSyncWaiters, float64(mostSync), sampleQuery, nil)
	if a.last != nil && a.last.Usable > 0 {
		l.tell(doctor.PGConnections, min(float64(count)/float64(a.last.Usable), 1), sampleQuery, map[string]string{
			"used": strconv.Itoa(count), "usable": strconv.FormatInt(a.last.Usable, 10),
		})
	}
	return mostLocks, nil
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
