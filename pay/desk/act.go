package desk

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/fault"
)

// Note adds a line to an open case's log. A note to the holder is the answer: the
// case is answered, and its deadline no longer runs. Errors are *fault.Error:
// fault.NotFound, fault.CaseClosed, fault.CaseFull, fault.DatabaseUnavailable.
func (d *Desk) Note(ctx context.Context, r Reach, n Number, by string, line Note) (Case, error) {
	return d.act(ctx, "desk.Note", r, n, func(tx pgx.Tx, _ *Case, now time.Time) error {
		line.By, line.Action = by, noted
		if line.ToHolder {
			line.Action = answered
			_, err := tx.Exec(ctx, `update cases set state = 'answered', answered_at = $2 where id = $1`, n.ID, now)
			if err != nil {
				return err
			}
		}
		return d.bounded(ctx, tx, n, now, line)
	})
}

// bounded adds a note unless the log is full.
func (d *Desk) bounded(ctx context.Context, tx pgx.Tx, n Number, now time.Time, line Note) error {
	var have int
	if err := tx.QueryRow(ctx, `select count(*) from case_notes where case_id = $1`, n.ID).Scan(&have); err != nil {
		return err
	}
	if have >= NotesMax {
		return fault.New(fault.CaseFull, fmt.Sprintf("it has %d notes", have)).WithResource(n.String())
	}
	return note(ctx, tx, n.ID, now, line)
}

// Assign gives an open case to somebody else. A zero deadline leaves it as it is;
// a new one lets it escalate again. Errors are as of Note.
func (d *Desk) Assign(ctx context.Context, r Reach, n Number, by, owner string, deadline time.Time, why string) (Case, error) {
	return d.act(ctx, "desk.Assign", r, n, func(tx pgx.Tx, c *Case, now time.Time) error {
		text := "to " + owner
		if !deadline.IsZero() {
			text += ", until " + deadline.UTC().Format(time.RFC3339)
			c.EscalatedAt = time.Time{}
		} else {
			deadline = c.Deadline
		}
		if why != "" {
			text += ": " + why
		}
		if err := d.bounded(ctx, tx, n, now, Note{By: by, Action: assigned, Text: text}); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `update cases set owner = $2, deadline = $3, escalated_at = $4 where id = $1`, n.ID, owner, deadline, moment(c.EscalatedAt))
		return err
	})
}

// Close ends a case for ever. answer, if not empty, is what the holder reads; the
// resolution is internal. Whoever closes a case about a payment that is still open
// past its bound will find a new one: StillOpen tells. Errors are as of Note.
func (d *Desk) Close(ctx context.Context, r Reach, n Number, by, resolution, answer string) (Case, error) {
	return d.act(ctx, "desk.Close", r, n, func(tx pgx.Tx, _ *Case, now time.Time) error {
		if answer != "" {
			if err := note(ctx, tx, n.ID, now, Note{By: by, Action: answered, Text: answer, ToHolder: true}); err != nil {
				return err
			}
		}
		return closeIn(ctx, tx, n.ID, by, resolution, now)
	})
}

func closeIn(ctx context.Context, tx pgx.Tx, id int64, by, resolution string, now time.Time) error {
	_, err := tx.Exec(ctx, `update cases set state = 'closed', closed_at = $2, closed_by = $3, resolution = $4 where id = $1 and state <> 'closed'`,
		id, now, by, resolution)
	if err != nil {
		return err
	}
	return note(ctx, tx, id, now, Note{By: by, Action: closed, Text: resolution})
}

// StillOpen reports whether c's payment still waits for something, so that a
// closed task about it opens again at the next sweep.
func (d *Desk) StillOpen(ctx context.Context, c *Case) (still bool, err error) {
	if !slices.Contains(stuck, string(c.Kind)) {
		return false, nil
	}
	err = d.cfg.Pool.QueryRow(ctx, `select exists (select from open_payments where payment = $1)`, int64(c.Payment)).Scan(&still)
	return still, storeFault("desk.StillOpen", err)
}

// act does something to a case that is not closed, with its row held.
func (d *Desk) act(ctx context.Context, op string, r Reach, n Number, do func(tx pgx.Tx, c *Case, now time.Time) error) (out Case, err error) {
	now := d.now()
	err = pgx.BeginFunc(ctx, d.cfg.Pool, func(tx pgx.Tx) error {
		c, err := locked(ctx, tx, r, n)
		if err != nil {
			return err
		}
		if err := do(tx, &c, now); err != nil {
			return err
		}
		out, err = readOne(ctx, tx, n.ID)
		return err
	})
	if err != nil {
		return Case{}, storeFault(op, err)
	}
	last := out.Notes[len(out.Notes)-1]
	d.log.LogAttrs(ctx, slog.LevelInfo, "a case was acted on", slog.String("case", n.String()), slog.String("action", last.Action), slog.String("by", last.By))
	return out, nil
}
