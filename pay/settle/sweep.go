package settle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/moneta-pay/moneta/pay/channel"
)

// Sweep applies what crashed or crowded nodes left unapplied: all of it at once,
// then what is older than a few seconds, until ctx ends. It runs on the leader.
func (b *Inbox) Sweep(ctx context.Context) error {
	ticker := time.NewTicker(b.cfg.SweepEvery)
	defer ticker.Stop()
	after, parkedAt := time.Duration(0), time.Time{}
	for {
		now := b.cfg.Clock.Now()
		withParked := now.Sub(parkedAt) >= b.cfg.ParkEvery
		err := b.sweepOnce(ctx, now.Add(-after), withParked)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			b.log.LogAttrs(ctx, slog.LevelError, "sweep of the inbox failed", slog.Any("error", err))
		default:
			after = b.cfg.SweepAfter
			if withParked {
				parkedAt = now
			}
		}
		b.beat.Store(now.UnixNano())
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		case <-b.again:
			after, parkedAt = 0, time.Time{}
		}
	}
}

// SweepNow has everything that is stored and not applied looked at now, what is parked
// too, where the sweep runs. It does not wait for it.
func (b *Inbox) SweepNow() {
	select {
	case b.again <- struct{}{}:
	default: // one is due already
	}
}

const selectWaiting = `select id, channel, headers, body, coalesce(trace_id::text, ''), received_at from inbox
  where applied_at is null and id > $1 and received_at <= $2 and (verdict is null or $3) order by id limit $4`

// sweepOnce goes through what waits, oldest first, once.
func (b *Inbox) sweepOnce(ctx context.Context, before time.Time, withParked bool) error {
	for cursor := int64(0); ; {
		rows, err := b.cfg.Pool.Query(ctx, selectWaiting, cursor, before, withParked, applyMax)
		if err != nil {
			return fmt.Errorf("read the inbox: %w", err)
		}
		letters, err := pgx.CollectRows(rows, readLetter)
		if err != nil {
			return fmt.Errorf("read the inbox: %w", err)
		}
		if len(letters) == 0 {
			return nil
		}
		cursor = letters[len(letters)-1].id
		if err := b.applyApart(ctx, letters); err != nil {
			return err
		}
		b.metrics.swept.Inc()
	}
}

// applyApart applies letters together, and one by one when Postgres refuses what
// one of them says: that one is set aside for a person, and nobody waits behind it.
func (b *Inbox) applyApart(ctx context.Context, letters []letter) error {
	err := b.apply(ctx, letters)
	if err == nil || !refusedData(err) {
		return err
	}
	for _, l := range letters {
		switch err := b.apply(ctx, []letter{l}); {
		case err == nil:
		case refusedData(err):
			b.metrics.callbacks.WithLabelValues(string(l.channel), unstorable).Inc()
			why := map[int64]string{l.id: clipReason("the database refuses it: " + err.Error())}
			if _, err := b.putAside(ctx, []letter{l}, why, machine); err != nil {
				return err
			}
		default:
			return err
		}
	}
	return nil
}

// refusedData reports that the database will always refuse these values: class 22
// data exception, 23 integrity, 54 program limit.
func refusedData(err error) bool {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || len(pgErr.Code) != 5 {
		return false
	}
	class := pgErr.Code[:2]
	return class == "22" || class == "23" || class == "54"
}

func readLetter(row pgx.CollectableRow) (letter, error) {
	var l letter
	var name, headers string
	if err := row.Scan(&l.id, &name, &headers, &l.body, &l.trace, &l.receivedAt); err != nil {
		return l, err
	}
	l.channel = channel.Name(name)
	if err := json.Unmarshal([]byte(headers), &l.header); err != nil {
		return l, fmt.Errorf("headers of inbox %d: %w", l.id, err)
	}
	return l, nil
}
