package commit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/internal/pgfence"
)

// IDsApart is how many ids a new history of the database leaves to the payments,
// accounts and transitions that may be lost: a reference that a bank has seen, an
// account that a payer was told, an event that somebody has read must never name
// another one. Each id has room for 65,536 such steps.
const IDsApart = int64(1) << 32

// same returns ErrLost when conn leads to another history than the leader's:
// nothing that it remembers need be true there.
func same(ctx context.Context, led pgfence.History, conn *pgx.Conn) error {
	if led == (pgfence.History{}) {
		return nil // not known yet: the takeover itself looks
	}
	now, err := pgfence.Read(ctx, conn)
	if err != nil {
		return err
	}
	return is(led, now)
}

func is(led, now pgfence.History) error {
	if now != led {
		return fmt.Errorf("%w: the database failed over, from %s to %s", ErrLost, led, now)
	}
	return nil
}

// recognise compares the database's history with the one under which the shard was
// led last, in the transaction that takes the shard. Another one is written down,
// with everything that follows from it: dispatch is paused until the gap finder
// has asked the channels, and the ids that the lost time may have used are left
// out. A crash before the commit leaves nothing of it, and the next leader does it.
func recognise(ctx context.Context, tx pgx.Tx, shard int16) (h pgfence.History, failedOver bool, err error) {
	h, err = pgfence.Read(ctx, tx.Conn())
	if err != nil {
		return h, false, err
	}
	var n int32
	var was pgfence.History
	err = tx.QueryRow(ctx, `select n, system, timeline from timelines where shard = $1 order by n desc limit 1`, shard).
		Scan(&n, &was.System, &was.Timeline)
	switch {
	case err == nil && was == h:
		return h, false, nil
	case errors.Is(err, pgx.ErrNoRows):
		return h, false, first(ctx, tx, shard, h)
	case err != nil:
		return h, false, fmt.Errorf("read the last history: %w", err)
	}
	reason := fmt.Sprintf("the database failed over (%s to %s): the channels are asked first", was, h)
	return h, true, BeginHistory(ctx, tx, shard, reason, time.Time{})
}

func first(ctx context.Context, tx pgx.Tx, shard int16, h pgfence.History) error {
	_, err := tx.Exec(ctx, `insert into timelines (shard, n, system, timeline, lost_after, begins)
	  select id, 1, $2, $3, (id::bigint << 48) | last_transition, ((id::bigint << 48) | last_transition) + 1 from shards where id = $1`,
		shard, h.System, h.Timeline)
	if err != nil {
		return fmt.Errorf("write the first history: %w", err)
	}
	return nil
}

// BeginHistory writes down that the database's history is another one than the
// shard was led under last. upTo is the last commit that it has; zero means the
// last transition. The caller commits.
func BeginHistory(ctx context.Context, tx pgx.Tx, shard int16, reason string, upTo time.Time) error {
	var lastPayment, nextPayment, lastTransition, nextTransition int64
	err := tx.QueryRow(ctx, `update shards set last_payment = last_payment + $2, last_account = last_account + $2, last_transition = last_transition + $2
	   where id = $1 returning (id::bigint << 48) | (last_payment - $2), (id::bigint << 48) | last_payment,
	         (id::bigint << 48) | (last_transition - $2), (id::bigint << 48) | last_transition`, shard, IDsApart).
		Scan(&lastPayment, &nextPayment, &lastTransition, &nextTransition)
	if err != nil {
		return fmt.Errorf("leave out the ids that may be lost: %w", err)
	}
	_, err = tx.Exec(ctx, `insert into timelines (shard, n, system, timeline, lost_after, begins)
	  select $1, 1 + coalesce((select max(n) from timelines where shard = $1), 0), (select system_identifier from pg_control_system()), `+
		pgfence.TimelineSQL+`, $2, $3`, shard, lastTransition, nextTransition+1)
	if err != nil {
		return fmt.Errorf("write the new history: %w", err)
	}
	// The new pause covers what one that still holds covered: nothing was sent since.
	var covered *int64
	err = tx.QueryRow(ctx, `with ended as (update dispatch_pauses set resumed_at = now(), resumed_by = 'another pause', resume_reason = $1
	   where resumed_at is null returning last_payment) select min(last_payment) from ended`, reason).Scan(&covered)
	if err != nil {
		return fmt.Errorf("end the earlier pause: %w", err)
	}
	if covered != nil {
		lastPayment = min(lastPayment, *covered)
	}
	var until *time.Time
	if !upTo.IsZero() {
		until = &upTo
	}
	_, err = tx.Exec(ctx, `insert into dispatch_pauses (reason, restored_to, last_payment, next_payment)
	  values ($1, coalesce($2::timestamptz, (select at from transitions order by id desc limit 1), now()), $3, $4)`,
		reason, until, lastPayment, nextPayment)
	if err != nil {
		return fmt.Errorf("pause dispatch: %w", err)
	}
	return nil
}

// failedOver tells everybody.
func (n *Node) failedOver(ctx context.Context, h pgfence.History) {
	n.metrics.failedOver()
	n.cfg.Logger.ErrorContext(ctx, "the database failed over: dispatch is paused until the gap finder has asked the channels",
		slog.Int64("system", h.System), slog.Int("timeline", int(h.Timeline)), slog.Int64("ids_left_out", IDsApart))
}

// ErrAhead says that a reader's cursor names what this log does not have.
var ErrAhead = errors.New("the cursor is beyond the log")

// Ahead returns ErrAhead when cursor, the last transition that a reader has seen,
// is not in the log and never will be: it lies beyond the shard's last id, or among
// those that a failover or a restore has lost. Such a reader has told somebody what
// is no more. It must stop until a person has compared; what follows is not the
// continuation of what it read.
func Ahead(ctx context.Context, q interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}, cursor int64,
) error {
	var last int64
	var lost bool
	err := q.QueryRow(ctx, `select coalesce((select (id::bigint << 48) | last_transition from shards where id = $1::bigint >> 48), 0),
	  exists (select from timelines where shard = $1::bigint >> 48 and $1 > lost_after and $1 < begins)`, cursor).Scan(&last, &lost)
	switch {
	case err != nil:
		return fmt.Errorf("compare the cursor with the log: %w", err)
	case cursor > last:
		return fmt.Errorf("%w: it is %d, the log ends at %d", ErrAhead, cursor, last)
	case lost:
		return fmt.Errorf("%w: %d was lost when the database failed over or was restored; compare what was read with the channels and begin anew", ErrAhead, cursor)
	}
	return nil
}
