package timer

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/pay"
)

// Kinds of orphans.
const (
	unwatched = "unwatched"
	stale     = "stale"
)

// looking is what the watch remembers from one look to the next.
type looking struct {
	persisted int64
	marked    bool
	cursor    pay.ID
	cases     pay.ID               // the last payment that was taken to the desk
	suspects  map[pay.ID]time.Time // when first seen astray
}

func newLook() *looking { return &looking{suspects: make(map[pay.ID]time.Time)} }

const (
	openAfter = `select payment, state, hop, next_at from open_payments where payment > $1 order by payment limit $2`
	openAmong = `select payment, state, hop, next_at from open_payments where payment = any($1)`
)

// astrayFor is how long a row must be astray to be an orphan: between a COMMIT
// and the hook that tells of it, the table is ahead of the wheel.
const astrayFor = 2 * time.Second

// findOrphans compares a page of the table with the wheel.
func (w *Wheel) findOrphans(ctx context.Context, l *looking) error {
	if err := w.confirmSuspects(ctx, l); err != nil {
		return err
	}
	rows, err := w.openRows(ctx, openAfter, int64(l.cursor), orphanPage)
	if err != nil {
		return err
	}
	l.cursor = 0
	if len(rows) == orphanPage {
		l.cursor = rows[len(rows)-1].Payment
	}
	now := w.cfg.Clock.Now()
	for _, o := range w.astray(rows) {
		if _, known := l.suspects[o.Payment]; !known && len(l.suspects) < orphansMax {
			l.suspects[o.Payment] = now
		}
	}
	return nil
}

// confirmSuspects looks again and reports what has been astray for long enough.
func (w *Wheel) confirmSuspects(ctx context.Context, l *looking) error {
	since := w.cfg.Clock.Now().Add(-astrayFor)
	var ids []int64
	for id, seen := range l.suspects {
		if seen.After(since) {
			continue
		}
		ids = append(ids, int64(id))
		delete(l.suspects, id)
	}
	rows, err := w.openRows(ctx, openAmong, ids)
	if err != nil {
		return err
	}
	found := w.astray(rows)
	lost := w.report(ctx, found)
	if w.cfg.Reload == nil || len(found) == 0 {
		return nil
	}
	if len(lost) > 0 {
		payments, err := w.cfg.Reload(ctx, lost)
		if err != nil {
			return fmt.Errorf("reload orphans: %w", err)
		}
		w.adopt(payments)
	}
	return w.caseOrphans(ctx, found)
}

func (w *Wheel) openRows(ctx context.Context, sql string, args ...any) ([]Orphan, error) {
	if ids, ok := args[0].([]int64); ok && len(ids) == 0 {
		return nil, nil
	}
	rows, err := w.cfg.Pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("read open payments: %w", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (o Orphan, err error) {
		err = row.Scan(&o.Payment, &o.State, &o.Hop, &o.NextAt)
		return o, err
	})
	if err != nil {
		return nil, fmt.Errorf("read open payments: %w", err)
	}
	return found, nil
}

// astray returns the rows that the wheel does not drive. A row whose timer the
// wheel knows to be newer has just moved, and none is stale by a clock that is not
// believed.
func (w *Wheel) astray(rows []Orphan) []Orphan {
	believed := w.cfg.Unsound() == nil
	late := w.cfg.Clock.Now().Add(-w.cfg.StaleAfter)
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []Orphan
	for _, o := range rows {
		e := w.byID[o.Payment]
		switch {
		case e == nil:
			o.Kind = unwatched
		case believed && o.NextAt.Before(late) && e.p.NextAt.Sub(o.NextAt) < time.Millisecond:
			o.Kind = stale
		default:
			continue
		}
		found = append(found, o)
	}
	return found
}

// report lists and logs orphans, each once, and returns those that are not on
// the wheel at all.
func (w *Wheel) report(ctx context.Context, found []Orphan) []pay.ID {
	now := w.cfg.Clock.Now()
	var fresh []Orphan
	var lost []pay.ID
	w.mu.Lock()
	for id, o := range w.orphans {
		if e := w.byID[id]; e != nil && e.p.NextAt.After(o.NextAt) {
			delete(w.orphans, id)
		}
	}
	for _, o := range found {
		if o.Kind == unwatched {
			lost = append(lost, o.Payment)
			w.lateness(now.Sub(o.NextAt))
		}
		if _, known := w.orphans[o.Payment]; !known && len(w.orphans) < orphansMax {
			w.orphans[o.Payment] = o
			fresh = append(fresh, o)
		}
	}
	w.mu.Unlock()
	for _, o := range fresh {
		w.log.LogAttrs(ctx, slog.LevelError, "open payment is not driven by a timer", slog.String("kind", o.Kind),
			slog.String("payment", o.Payment.String()), slog.String("state", o.State.String()), slog.String("hop", o.Hop),
			slog.Time("next_at", o.NextAt))
	}
	return lost
}

// adopt puts reloaded payments on the wheel unless it knows them by now.
func (w *Wheel) adopt(payments []pay.Payment) {
	w.mu.Lock()
	for i := range payments {
		p := &payments[i]
		if w.byID[p.ID] == nil && p.Open() {
			w.put(p)
		}
		delete(w.orphans, p.ID)
	}
	w.mu.Unlock()
	w.turn()
}
