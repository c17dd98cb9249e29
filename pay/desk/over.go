package desk

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/pay"
)

// end is a case that has come to its end by itself, and why.
type end struct {
	id   int64
	kind Kind
	text string
}

// over closes and answers what has come to its end by itself, a page of the cases
// that are not closed at a time, what is due first first.
func (d *Desk) over(ctx context.Context, now time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	rows, err := d.cfg.Pool.Query(ctx, `select deadline, id from cases where state <> 'closed' and (deadline, id) > ($1, $2) order by deadline, id limit $3`,
		d.looked.Deadline, d.looked.ID, overPage)
	if err != nil {
		return fmt.Errorf("read cases that are not closed: %w", err)
	}
	ids := make([]int64, 0, overPage)
	var at Cursor
	if _, err = pgx.ForEachRow(rows, []any{&at.Deadline, &at.ID}, func() error { ids = append(ids, at.ID); return nil }); err != nil {
		return fmt.Errorf("read cases that are not closed: %w", err)
	}
	if len(ids) < overPage {
		at = Cursor{} // from the start again
	}
	var ends []end
	for _, find := range []func(context.Context, []int64) ([]end, error){d.ended, d.moved, d.explained} {
		some, err := find(ctx, ids)
		if err != nil {
			return err
		}
		ends = append(ends, some...)
	}
	if err := d.finish(ctx, ends, now); err != nil {
		return err
	}
	if len(ends) < sweepMax { // else there may be more on this page
		d.looked = at
	}
	return nil
}

// What has come to its end by itself: tasks whose payment is final, and appeals
// whose payment has become final since. The outcome answers an appeal once: a
// holder who appeals against it wants a person. Poison stays: a person decides
// what becomes of the Fact.
const endedSQL = `select c.id, c.kind, t.to_state, t.at
  from cases c
  join lateral (select to_state, at from transitions where payment = c.payment and from_state <> to_state order by seq desc limit 1) t on true
 where c.id = any($1) and c.state = 'open' and c.kind = any($2) and c.payment is not null
   and not exists (select from open_payments o where o.payment = c.payment)
   and (c.kind <> 'appeal' or (c.finding::jsonb ->> 'state' <> all($3) and not exists (
     select from case_notes n where n.case_id = c.id and (n.action = 'answered' and n."by" = $4 or n.action = 'again' and n.at > t.at))))
 order by c.id limit $5`

// finals are the names of the states that never change again.
var finals = []string{pay.Succeeded.String(), pay.Failed.String(), pay.Cancelled.String(), pay.Expired.String()}

// ended finds tasks whose payment is final, and appeals that this answers.
func (d *Desk) ended(ctx context.Context, ids []int64) ([]end, error) {
	rows, err := d.cfg.Pool.Query(ctx, endedSQL, ids, append([]string{string(Appeal)}, stuck...), finals, Machine, sweepMax)
	if err != nil {
		return nil, fmt.Errorf("read cases that have ended: %w", err)
	}
	ends, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e end, err error) {
		var state pay.State
		var at time.Time
		err = row.Scan(&e.id, &e.kind, &state, &at)
		e.text = "the payment is " + state.String() + " since " + at.UTC().Format(time.RFC3339)
		if e.kind == Appeal { // its holder reads it
			e.text = outcome(state, at)
		}
		return e, err
	})
	if err != nil {
		return nil, fmt.Errorf("read cases that have ended: %w", err)
	}
	return ends, nil
}

// A payment that no timer drove and that has moved, or was looked at, since; and one
// that a person let pass.
const movedSQL = `select c.id, c.kind from cases c join open_payments o on o.payment = c.payment
 where c.id = any($1) and c.state = 'open'
   and (c.kind = 'orphan' and greatest(o.entered_at, coalesce(o.last_checked_at, o.entered_at)) > c.opened_at or c.kind = 'review' and o.state <> $3)
 order by c.id limit $2`

func (d *Desk) moved(ctx context.Context, ids []int64) ([]end, error) {
	return d.find(ctx, "the payment moves again", movedSQL, ids, sweepMax, int16(pay.InReview))
}

// Cases about breaks that have all closed: the statement explains them now.
const explainedSQL = `select c.id, c.kind from cases c
 where c.id = any($1) and c.state = 'open' and c.kind = any($2)
   and exists (select from case_origins o where o.case_id = c.id and o.origin = 'break')
   and not exists (select from case_origins o join breaks b on b.id = o.id where o.case_id = c.id and o.origin = 'break' and b.closed_at is null)
 order by c.id limit $3`

func (d *Desk) explained(ctx context.Context, ids []int64) ([]end, error) {
	return d.find(ctx, "every break that it was about has closed", explainedSQL, ids, []string{string(Contradiction), string(Mismatch), string(Break)}, sweepMax)
}

func (d *Desk) find(ctx context.Context, text, sql string, args ...any) ([]end, error) {
	rows, err := d.cfg.Pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("read cases of which %s: %w", text, err)
	}
	ends, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e end, err error) {
		e.text = text
		err = row.Scan(&e.id, &e.kind)
		return e, err
	})
	if err != nil {
		return nil, fmt.Errorf("read cases of which %s: %w", text, err)
	}
	return ends, nil
}

// finish answers appeals and closes the others, unless somebody does so just now.
func (d *Desk) finish(ctx context.Context, ends []end, now time.Time) error {
	if len(ends) == 0 {
		return nil
	}
	return pgx.BeginFunc(ctx, d.cfg.Pool, func(tx pgx.Tx) error {
		for _, e := range ends {
			var free bool
			err := tx.QueryRow(ctx, `select true from cases where id = $1 and state = 'open' for update`, e.id).Scan(&free)
			switch {
			case errors.Is(err, pgx.ErrNoRows):
				continue
			case err != nil:
			case e.kind == Appeal:
				err = answer(ctx, tx, e.id, e.text, now)
			default:
				err = closeIn(ctx, tx, e.id, Machine, e.text, now)
			}
			if err != nil {
				return fmt.Errorf("end case %d: %w", e.id, err)
			}
		}
		return nil
	})
}

// answer tells the holder, whose status says the same, and leaves the case to its
// owner: whoever appealed may want a word with a person still.
func answer(ctx context.Context, tx pgx.Tx, id int64, text string, now time.Time) error {
	tag, err := tx.Exec(ctx, `update cases set state = 'answered', answered_at = $2 where id = $1 and state = 'open'`, id, now)
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	return note(ctx, tx, id, now, Note{By: Machine, Action: answered, Text: text, ToHolder: true})
}
