package settle

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// How long callbacks are kept once they are judged.
const (
	// DefaultKeepFor outlasts the 120 days in which schemes let a payment be disputed.
	DefaultKeepFor        = 180 * 24 * time.Hour
	DefaultKeepUnverified = 7 * 24 * time.Hour
	// keepHours of the quota in an hour are the most that is kept of what does not
	// verify, whatever nodes and restarts let in: the newest stay.
	keepHours    = 10
	retainPage   = 1_000
	retainWithin = 30 * time.Second
)

// What does not verify goes by age, and beyond the bounds of its channel. The
// newest rows within both bounds end at the first one that a bound leaves out.
const (
	deleteOldUnverified = `delete from inbox where id in (
  select id from inbox where verdict in ('forged', 'stale') and received_at < $1 limit $2)`
	deleteMuchUnverified = `with newest as (
  select id, octet_length(headers) + octet_length(body) as bytes from inbox
   where channel = $1 and verdict in ('forged', 'stale') order by id desc limit $2 + 1
), counted as (
  select id, row_number() over w as n, sum(bytes) over w as bytes from newest window w as (order by id desc)
)
delete from inbox where id in (
  select id from inbox where channel = $1 and verdict in ('forged', 'stale')
     and id <= (select max(id) from counted where n > $2 or bytes > $3) order by id limit $4)`
	// Ids rise with the time, so that only the old end is looked at, a stretch at a time.
	selectOldEnd = `select coalesce(min(id), 0), facts.callbacks_since($1) from inbox where id >= $2`
	deleteJudged = `delete from inbox where id >= $1 and id < $2 and received_at < $3 and applied_at is not null and verdict is distinct from 'aside'`
	// The ids of channels' events, once their callbacks are gone: a repetition after
	// that is a fact that the payment has had, which moves nothing. The rows are found
	// by age and deleted where they lie.
	deleteOldEvents = `delete from inbox_events where ctid = any(array(select ctid from inbox_events where at < $1 order by at limit $2))`
)

// Retain deletes judged callbacks that are past their time, every RetainEvery until
// ctx ends. What waits to be applied stays, however old, and so does what is aside. It runs on the leader; a
// crash in the middle leaves the rest for the next turn.
func (b *Inbox) Retain(ctx context.Context) error {
	ticker := time.NewTicker(b.cfg.RetainEvery)
	defer ticker.Stop()
	b.retained = 0
	for {
		if err := b.retainOnce(ctx); err != nil && ctx.Err() == nil {
			b.log.LogAttrs(ctx, slog.LevelError, "old callbacks were not deleted; the next turn tries again", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (b *Inbox) retainOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, retainWithin)
	defer cancel()
	now := b.cfg.Clock.Now()
	if err := b.deletePages(ctx, deleteOldUnverified, now.Add(-b.cfg.KeepUnverified), retainPage); err != nil {
		return err
	}
	rows, bytes := keepHours*int64(b.cfg.UnverifiedRows), keepHours*int64(b.cfg.UnverifiedBytes)
	for name := range b.channels {
		if err := b.deletePages(ctx, deleteMuchUnverified, string(name), rows, bytes, retainPage); err != nil {
			return err
		}
	}
	if err := b.deleteJudged(ctx, now.Add(-b.cfg.KeepFor)); err != nil {
		return err
	}
	return b.deleteEvents(ctx, now.Add(-b.cfg.KeepFor))
}

// deleteJudged goes on where the turn before ended. What waited there to be applied
// and was left is looked at again by the next leader.
func (b *Inbox) deleteJudged(ctx context.Context, before time.Time) error {
	var low, end int64
	if err := b.cfg.Pool.QueryRow(ctx, selectOldEnd, before, b.retained).Scan(&low, &end); err != nil {
		return fmt.Errorf("find the old end of the inbox: %w", err)
	}
	for b.retained = max(b.retained, low); b.retained < end; {
		next := min(b.retained+retainPage, end)
		tag, err := b.cfg.Pool.Exec(ctx, deleteJudged, b.retained, next, before)
		if err != nil {
			return fmt.Errorf("delete old callbacks: %w", err)
		}
		b.countDeleted(tag.RowsAffected())
		b.retained = next
	}
	return nil
}

// deleteEvents deletes a page after the other: an event was marked no sooner than its
// callback came, so that its id outlives it.
func (b *Inbox) deleteEvents(ctx context.Context, before time.Time) error {
	for {
		tag, err := b.cfg.Pool.Exec(ctx, deleteOldEvents, before, retainPage)
		if err != nil {
			return fmt.Errorf("delete old event ids: %w", err)
		}
		if tag.RowsAffected() < retainPage {
			return nil
		}
	}
}

func (b *Inbox) countDeleted(n int64) {
	for range n { // counters take floats, and there are none in this package
		b.metrics.deleted.Inc()
	}
}

// deletePages runs a statement, each time in a transaction of its own, until it
// finds less than a page.
func (b *Inbox) deletePages(ctx context.Context, sql string, args ...any) error {
	for {
		tag, err := b.cfg.Pool.Exec(ctx, sql, args...)
		if err != nil {
			return fmt.Errorf("delete old callbacks: %w", err)
		}
		b.countDeleted(tag.RowsAffected())
		if tag.RowsAffected() < retainPage {
			return nil
		}
	}
}
