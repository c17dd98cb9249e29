package commit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/moneta-pay/moneta/internal/pgfence"
)

// errTaken reports that another standby was faster.
var errTaken = errors.New("another node took the shard")

// watch follows the shard's heartbeat on this node's monotonic clock.
type watch struct {
	shard  int16
	clocks *clocks
	leader pgtype.UUID
	epoch  int64
	beat   int64
	reads  int
	since  time.Time
	beats  bool // it was seen to beat, and is not silent since
}

const selectLeader = `select s.leader, s.epoch, s.leader_url, h.beat, clock_timestamp()
  from shards s join heartbeats h on h.shard = s.id where s.id = $1`

// read looks once. gone is true when nobody leads, or when the same heartbeat
// has been read often and long enough.
func (w *watch) read(ctx context.Context, conn *pgx.Conn) (seen leaderSeen, gone bool, err error) {
	var leader pgtype.UUID
	var beat int64
	var db time.Time
	asked := w.clocks.read()
	if err := conn.QueryRow(ctx, selectLeader, w.shard).Scan(&leader, &seen.epoch, &seen.url, &beat, &db); err != nil {
		return seen, false, fmt.Errorf("read the heartbeat: %w", err)
	}
	w.clocks.compare(ctx, asked, db)
	now := time.Now() //nolint:forbidigo // the monotonic clock, on purpose
	seen.id, seen.known, seen.at = leader.Bytes, leader.Valid, now
	if leader != w.leader || seen.epoch != w.epoch || beat != w.beat || w.reads == 0 {
		w.beats = w.reads > 0 && leader == w.leader && seen.epoch == w.epoch
		w.leader, w.epoch, w.beat, w.reads, w.since = leader, seen.epoch, beat, 1, now
		seen.beats, seen.beatAt = w.beats, now
		return seen, !leader.Valid, nil
	}
	w.reads++
	seen.beatAt = w.since
	silent := w.reads >= takeoverReads && now.Sub(w.since) >= takeoverAfter
	w.beats = w.beats && !silent
	seen.beats = w.beats
	return seen, !leader.Valid || silent, nil
}

// take ends the old leader's sessions, sees them gone, and raises the epoch.
// It tells whether the database is in another history than the shard was led under
// last; all of it is one transaction.
func (w *watch) take(ctx context.Context, conn *pgx.Conn, id [16]byte, url string) (t taken, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if w.leader.Valid {
		if err := endSessions(ctx, conn, w.leader.Bytes); err != nil {
			return t, err
		}
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		return t, fmt.Errorf("take the shard: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	// Both rows or none: the old leader's heartbeat must not go on beating for a shard
	// that nobody leads.
	err = tx.QueryRow(ctx, `with taken as (
    update shards set epoch = epoch + 1, leader = $2, leader_url = $3
     where id = $1 and epoch = $4 and leader is not distinct from $5 returning epoch)
  update heartbeats h set leader = $2, epoch = taken.epoch, beat = h.beat + 1
    from taken where h.shard = $1 returning taken.epoch`,
		w.shard, uuidOf(id), url, w.epoch, w.leader).Scan(&t.epoch)
	if errors.Is(err, pgx.ErrNoRows) {
		return t, errTaken
	}
	if err != nil {
		return t, fmt.Errorf("take the shard: %w", err)
	}
	if t.history, t.failedOver, err = recognise(ctx, tx, w.shard); err != nil {
		return t, err
	}
	if err := tx.Commit(ctx); err != nil {
		return t, fmt.Errorf("take the shard: %w", err)
	}
	return t, nil
}

// taken is what a takeover found.
type taken struct {
	epoch      int64
	history    pgfence.History
	failedOver bool
}

// endSessions ends the sessions of one past leadership and waits until they are
// gone. A session that waits on synchronous replication is waited for: ending it
// would acknowledge a commit that the standby lacks.
func endSessions(ctx context.Context, conn *pgx.Conn, leader [16]byte) error {
	for {
		var left int
		// The case keeps the planner from folding the call away.
		err := conn.QueryRow(ctx, `select count(case when waiting then true else pg_terminate_backend(pid) end)
  from (select pid, coalesce(wait_event = 'SyncRep', false) waiting from pg_stat_activity
         where application_name = $1 and datname = current_database() offset 0) s`, leaderName(leader)).Scan(&left)
		if err != nil {
			return fmt.Errorf("end the old leader's sessions: %w", err)
		}
		if left == 0 {
			return nil
		}
		pause(ctx, 20*time.Millisecond)
		if ctx.Err() != nil {
			return fmt.Errorf("%d sessions of the old leader do not end: %w", left, ctx.Err())
		}
	}
}

// beat raises the heartbeat while every leader loop makes progress. It returns
// ErrLost when it could not for beatMax, or when the shard is another's.
func (n *Node) beat(ctx context.Context, d *decider) error {
	var conn *pgx.Conn
	defer func() {
		if conn != nil {
			_ = conn.Close(context.WithoutCancel(ctx))
		}
	}()
	last := time.Now() //nolint:forbidigo // the monotonic clock, on purpose
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		var err error
		if conn == nil || conn.IsClosed() {
			dialCtx, cancel := context.WithTimeout(ctx, time.Second)
			// Not in the role of the pay plane, which may not see what sessions do.
			conn, err = n.dialInHistory(dialCtx, d, false)
			cancel()
		}
		if err == nil {
			err = n.beatOnce(ctx, conn, d)
		}
		if ctx.Err() != nil {
			return nil
		}
		switch {
		case errors.Is(err, errNoProgress):
		case errors.Is(err, ErrLost): // the database answered
			n.trouble.note(nil)
		default:
			n.trouble.note(err)
		}
		now := time.Now() //nolint:forbidigo // the monotonic clock, on purpose
		switch {
		case errors.Is(err, ErrLost):
			return err
		case err == nil:
			last = now
		case now.Sub(last) > beatMax:
			return fmt.Errorf("%w: no heartbeat for %s: %w", ErrLost, now.Sub(last).Round(time.Millisecond), err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

var errNoProgress = errors.New("a leader loop makes no progress")

func (n *Node) beatOnce(ctx context.Context, conn *pgx.Conn, d *decider) error {
	now := time.Now() //nolint:forbidigo // liveness
	if now.Sub(d.progress.Time()) > ProgressMax {
		return fmt.Errorf("%w: the decider", errNoProgress)
	}
	for i, p := range n.cfg.Progress {
		if at := p(); !at.IsZero() && now.Sub(at) > ProgressMax {
			return fmt.Errorf("%w: loop %d", errNoProgress, i)
		}
	}
	d.watchWire(ctx, conn, now)
	return n.raiseBeat(ctx, conn, d)
}

// watchWire tells a slow database from a dead connection. A batch whose session
// works, or waits for the disk or a standby, is waited for; one whose session
// waits for us, or is gone, will never be answered: its connection is given up,
// and what became of it is asked on a new one.
func (d *decider) watchWire(ctx context.Context, conn *pgx.Conn, now time.Time) {
	f := d.onWire.Load()
	if f == nil || now.Sub(f.since) < ProgressMax {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var works bool
	err := conn.QueryRow(ctx, `select state = 'active' and wait_event is distinct from 'ClientRead' from pg_stat_activity where pid = $1`,
		int64(f.pid)).Scan(&works)
	if (err == nil && !works) || errors.Is(err, pgx.ErrNoRows) {
		f.cancel()
	}
}

// A beat does not wait for the disk: lost in a crash of the server, it is missed by
// nobody, and behind a slow disk's flushes it would come too late for a leader that
// still commits. Whether those commits get anywhere is asked of their own progress.
const updateBeat = `update heartbeats set beat = beat + 1
  where shard = $1 and leader = $2 and set_config('synchronous_commit', 'off', true) = 'off' returning clock_timestamp(), ` + pgfence.TimelineSQL

func (n *Node) raiseBeat(ctx context.Context, conn *pgx.Conn, d *decider) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var db time.Time
	now := d.history
	asked := n.clocks.read()
	err := conn.QueryRow(ctx, updateBeat, d.shard, uuidOf(d.leader)).Scan(&db, &now.Timeline)
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("%w: another node beats", ErrLost)
	}
	if err != nil {
		return err
	}
	n.clocks.compare(ctx, asked, db)
	if err := is(d.history, now); err != nil {
		return err
	}
	if seen := n.cfg.Fence.Known(); seen.Timeline > now.Timeline { // this server's place was taken, and it lives
		return is(d.history, seen)
	}
	return nil
}

func uuidOf(id [16]byte) pgtype.UUID { return pgtype.UUID{Bytes: id, Valid: true} }
