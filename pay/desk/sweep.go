package desk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/pay"
)

// Bounds of one sweep; what is left over is next.
const (
	sweepMax    = 200 // rows of one sort
	sweepWithin = 20 * time.Second
)

// Run sweeps until ctx ends: it opens cases for durable rows that have none,
// escalates what is past its deadline, and closes what has come to its end by
// itself. One node is enough, the leader; two do no harm.
func (d *Desk) Run(ctx context.Context) error {
	tick := time.NewTicker(d.cfg.SweepEvery)
	defer tick.Stop()
	for {
		if err := d.Sweep(ctx); err != nil && ctx.Err() == nil {
			d.log.LogAttrs(ctx, slog.LevelError, "the desk's sweep failed; the next one goes on", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Sweep is one round. What fails of it does not keep the rest from being done.
func (d *Desk) Sweep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, sweepWithin)
	defer cancel()
	var failed []error
	for _, step := range []func(context.Context, time.Time) error{d.breaks, d.poison, d.ended, d.explained, d.escalate, d.show} {
		failed = append(failed, step(ctx, d.now()))
	}
	return errors.Join(failed...)
}

// origin is a durable row that must become a case.
type origin struct {
	table string
	id    int64
	opening
}

// openAll opens the cases of rows, a transaction each: one that cannot be opened
// must not hold up the others.
func (d *Desk) openAll(ctx context.Context, origins []origin, now time.Time) error {
	var failed []error
	for i := range origins {
		o := &origins[i]
		var id int64
		var born bool
		err := pgx.BeginFunc(ctx, d.cfg.Pool, func(tx pgx.Tx) (err error) {
			if id, born, err = d.openIn(ctx, tx, &o.opening, now); err != nil {
				return err
			}
			if !born {
				if err := note(ctx, tx, id, now, Note{By: o.by, Action: again, Text: o.text}); err != nil {
					return err
				}
			}
			tag, err := tx.Exec(ctx, `insert into case_origins (origin, id, case_id) values ($1, $2, $3) on conflict do nothing`, o.table, o.id, id)
			if err == nil && tag.RowsAffected() == 0 {
				return errReplay // another node was here first: it has the case
			}
			return err
		})
		switch {
		case errors.Is(err, errReplay):
		case err != nil:
			failed = append(failed, fmt.Errorf("%s %d: %w", o.table, o.id, err))
		case born:
			d.told(ctx, id, &o.opening, now)
		}
	}
	return errors.Join(failed...)
}

// breakKind sorts a break by its class.
func breakKind(class string) Kind {
	switch class {
	case "late_outcome", "wrong_state":
		return Contradiction
	case "amount_mismatch", "asset_mismatch":
		return Mismatch
	}
	return Break
}

const newBreaks = `select b.id, b.class, b.channel, coalesce(b.payment, 0), coalesce(p.tenant, 0), b.reference, b.asset, b.amount::text, b.detail, b.opened_at
  from breaks b left join payments p on p.id = b.payment
 where b.closed_at is null and not exists (select from case_origins o where o.origin = 'break' and o.id = b.id)
 order by b.id limit $1`

// breaks opens a case for each open break that has none.
func (d *Desk) breaks(ctx context.Context, now time.Time) error {
	rows, err := d.cfg.Pool.Query(ctx, newBreaks, sweepMax)
	if err != nil {
		return fmt.Errorf("read breaks without a case: %w", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (o origin, err error) {
		var asset, amount, detail string
		var since time.Time
		f := &o.finding
		err = row.Scan(&o.id, &f.Class, &f.Channel, &o.payment, &o.tenant, &f.Reference, &asset, &amount, &detail, &since)
		o.table, o.kind, o.by = "break", breakKind(f.Class), Machine
		f.Since, f.Origin = moment(since), fmt.Sprintf("break %d", o.id)
		f.Cause = clip(f.Class+", "+amount+" "+asset+" (smallest units), reference "+f.Reference+": "+detail, detailMax)
		o.text = f.Origin + ": " + f.Cause
		return o, err
	})
	if err != nil {
		return fmt.Errorf("read breaks without a case: %w", err)
	}
	return d.openAll(ctx, found, now)
}

const newQuarantined = `select q.id, coalesce(q.payment, 0), coalesce(p.tenant, 0), q.fact, q.error, q.at
  from quarantine q left join payments p on p.id = q.payment
 where not exists (select from case_origins o where o.origin = 'quarantine' and o.id = q.id)
 order by q.id limit $1`

// poison opens a case for each quarantined Fact that has none.
func (d *Desk) poison(ctx context.Context, now time.Time) error {
	rows, err := d.cfg.Pool.Query(ctx, newQuarantined, sweepMax)
	if err != nil {
		return fmt.Errorf("read quarantined Facts without a case: %w", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (o origin, err error) {
		var fact, cause string
		var since time.Time
		err = row.Scan(&o.id, &o.payment, &o.tenant, &fact, &cause, &since)
		o.table, o.kind, o.by = "quarantine", Poison, Machine
		if o.tenant == 0 {
			o.tenant = asker(fact)
		}
		o.finding = Finding{Since: moment(since), Origin: fmt.Sprintf("quarantine %d", o.id), Cause: clip(cause, detailMax)}
		o.text = o.finding.Origin + ": " + o.finding.Cause
		return o, err
	})
	if err != nil {
		return fmt.Errorf("read quarantined Facts without a case: %w", err)
	}
	return d.openAll(ctx, found, now)
}

// asker is the tenant of a Fact that would have made something; 0 if it says none.
func asker(fact string) pay.TenantID {
	var f struct {
		Payment, Account struct{ New struct{ Tenant pay.TenantID } }
	}
	if json.Unmarshal([]byte(fact), &f) != nil {
		return 0
	}
	return max(f.Payment.New.Tenant, f.Account.New.Tenant)
}

// Overdue makes sure that each of the payments, which are Due, has a person at it.
func (d *Desk) Overdue(ctx context.Context, payments []pay.Payment) error {
	return d.task(ctx, payments, func(p *pay.Payment) Kind {
		if p.State == pay.Unknown {
			return UnknownTooLong
		}
		return Overdue
	})
}

// Orphans makes sure that each of the payments, which no timer drives, has a
// person at it.
func (d *Desk) Orphans(ctx context.Context, payments []pay.Payment) error {
	return d.task(ctx, payments, func(*pay.Payment) Kind { return Orphan })
}

// Of the payments given, those that are open and nobody is at, with the last case
// about each that somebody closed.
const withoutTask = `select o.payment, coalesce(last.id, 0), coalesce(last.opened_at, now()), coalesce(last.closed_by, '')
  from open_payments o
  left join lateral (select id, opened_at, closed_by from cases c where c.payment = o.payment and c.kind = any($2) and c.state = 'closed'
                      order by id desc limit 1) last on true
 where o.payment = any($1)
   and not exists (select from cases c where c.payment = o.payment and c.kind = any($2) and c.state <> 'closed')`

func (d *Desk) task(ctx context.Context, payments []pay.Payment, kind func(*pay.Payment) Kind) error {
	if len(payments) == 0 {
		return nil
	}
	byID := make(map[pay.ID]*pay.Payment, len(payments))
	ids := make([]int64, len(payments))
	for i := range payments {
		byID[payments[i].ID], ids[i] = &payments[i], int64(payments[i].ID)
	}
	rows, err := d.cfg.Pool.Query(ctx, withoutTask, ids, tasks)
	if err != nil {
		return fmt.Errorf("look for payments that nobody is at: %w", err)
	}
	var openings []opening
	var id pay.ID
	var last Number
	var lastAt time.Time
	var by string
	_, err = pgx.ForEachRow(rows, []any{&id, &last.ID, &lastAt, &by}, func() error {
		p := byID[id]
		o := opening{tenant: p.Tenant, payment: id, kind: kind(p), finding: findingOf(p), by: Machine}
		if last.ID != 0 {
			last.Year = lastAt.UTC().Year()
			o.finding.Previous = last.String()
			o.text = last.String() + " was closed by " + by + ", and the payment is still open"
		}
		openings = append(openings, o)
		return nil
	})
	if err != nil {
		return fmt.Errorf("look for payments that nobody is at: %w", err)
	}
	return d.openTasks(ctx, openings)
}

// openTasks opens many in one transaction: after an outage there are many.
func (d *Desk) openTasks(ctx context.Context, openings []opening) error {
	if len(openings) == 0 {
		return nil
	}
	now := d.now()
	ids := make([]int64, len(openings))
	born := make([]bool, len(openings))
	err := pgx.BeginFunc(ctx, d.cfg.Pool, func(tx pgx.Tx) (err error) {
		for i := range openings {
			if ids[i], born[i], err = d.openIn(ctx, tx, &openings[i], now); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("open cases for payments: %w", err)
	}
	for i := range openings {
		if born[i] {
			d.told(ctx, ids[i], &openings[i], now)
		}
	}
	return nil
}

// What has come to its end by itself: tasks and appeals whose payment has become
// final since. Poison stays: a person decides what becomes of the Fact.
const endedSQL = `select c.id, c.kind, t.to_state, t.at
  from cases c
  join lateral (select to_state, at from transitions where payment = c.payment and from_state <> to_state order by seq desc limit 1) t on true
 where c.state = 'open' and c.kind = any($1) and c.payment is not null
   and not exists (select from open_payments o where o.payment = c.payment) and t.at > c.opened_at
 order by c.id limit $2`

// A payment that no timer drove and that has moved, or was looked at, since.
const movedSQL = `select c.id from cases c join open_payments o on o.payment = c.payment
 where c.state = 'open' and c.kind = 'orphan' and greatest(o.entered_at, coalesce(o.last_checked_at, o.entered_at)) > c.opened_at
 order by c.id limit $1`

// ended closes tasks whose payment is final, and answers appeals.
func (d *Desk) ended(ctx context.Context, now time.Time) error {
	type end struct {
		id    int64
		kind  Kind
		state pay.State
		at    time.Time
	}
	rows, err := d.cfg.Pool.Query(ctx, endedSQL, []string{string(Overdue), string(UnknownTooLong), string(Orphan), string(Appeal)}, sweepMax)
	if err != nil {
		return fmt.Errorf("read cases that have ended: %w", err)
	}
	ends, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e end, err error) {
		err = row.Scan(&e.id, &e.kind, &e.state, &e.at)
		return e, err
	})
	if err != nil {
		return fmt.Errorf("read cases that have ended: %w", err)
	}
	rows, err = d.cfg.Pool.Query(ctx, movedSQL, sweepMax)
	if err != nil {
		return fmt.Errorf("read orphans that have moved: %w", err)
	}
	moved, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return fmt.Errorf("read orphans that have moved: %w", err)
	}
	return pgx.BeginFunc(ctx, d.cfg.Pool, func(tx pgx.Tx) error {
		for _, e := range ends {
			text := "the payment is " + e.state.String() + " since " + e.at.UTC().Format(time.RFC3339)
			if e.kind == Appeal {
				err = answer(ctx, tx, e.id, text, now)
			} else {
				err = d.finish(ctx, tx, e.id, text, now)
			}
			if err != nil {
				return err
			}
		}
		for _, id := range moved {
			if err := d.finish(ctx, tx, id, "the payment moves again", now); err != nil {
				return err
			}
		}
		return nil
	})
}

// finish closes a case unless somebody closes it just now.
func (d *Desk) finish(ctx context.Context, tx pgx.Tx, id int64, text string, now time.Time) error {
	var free bool
	err := tx.QueryRow(ctx, `select true from cases where id = $1 and state <> 'closed' for update`, id).Scan(&free)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return closeIn(ctx, tx, id, Machine, text, now)
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

// Cases about breaks that have all closed: the statement explains them now.
const explainedSQL = `select c.id from cases c
 where c.state = 'open' and c.kind = any($1)
   and exists (select from case_origins o where o.case_id = c.id and o.origin = 'break')
   and not exists (select from case_origins o join breaks b on b.id = o.id where o.case_id = c.id and o.origin = 'break' and b.closed_at is null)
 order by c.id limit $2`

func (d *Desk) explained(ctx context.Context, now time.Time) error {
	rows, err := d.cfg.Pool.Query(ctx, explainedSQL, []string{string(Contradiction), string(Mismatch), string(Break)}, sweepMax)
	if err != nil {
		return fmt.Errorf("read cases whose breaks have closed: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return fmt.Errorf("read cases whose breaks have closed: %w", err)
	}
	return pgx.BeginFunc(ctx, d.cfg.Pool, func(tx pgx.Tx) error {
		for _, id := range ids {
			if err := d.finish(ctx, tx, id, "every break that it was about has closed", now); err != nil {
				return err
			}
		}
		return nil
	})
}

// The note names the owner who let the deadline pass.
const escalateSQL = `with late as (
  select id, owner from cases where state = 'open' and deadline < $1 and escalated_at is null order by deadline, id limit $2 for update skip locked
), moved as (
  update cases c set owner = $3, escalated_at = $1 from late where c.id = late.id
  returning c.id, c.opened_at, c.kind, coalesce(c.payment, 0) as payment, c.deadline, late.owner as had
), said as (
  insert into case_notes (case_id, at, "by", action, text)
  select id, $1, $4, 'escalated', 'from ' || had || ' to ' || $3 || ': past its deadline' from moved
)
select id, opened_at, kind, payment, deadline, had from moved`

// escalate gives what is past its deadline to somebody above.
func (d *Desk) escalate(ctx context.Context, now time.Time) error {
	if d.cfg.Unsound() != nil {
		return nil
	}
	rows, err := d.cfg.Pool.Query(ctx, escalateSQL, now, sweepMax, d.cfg.EscalateTo, Machine)
	if err != nil {
		return fmt.Errorf("escalate: %w", err)
	}
	var n Number
	var openedAt, deadline time.Time
	var kind, had string
	var payment pay.ID
	_, err = pgx.ForEachRow(rows, []any{&n.ID, &openedAt, &kind, &payment, &deadline, &had}, func() error {
		n.Year = openedAt.UTC().Year()
		d.log.LogAttrs(ctx, slog.LevelError, "a case is past its deadline and goes to somebody above", slog.String("case", n.String()), slog.String("kind", kind),
			slog.String("owner", had), slog.String("to", d.cfg.EscalateTo), slog.Time("deadline", deadline), slog.String("payment", payment.String()))
		return nil
	})
	if err != nil {
		return fmt.Errorf("escalate: %w", err)
	}
	return nil
}

// show sets the gauges; what was shown before and is no more becomes zero.
func (d *Desk) show(ctx context.Context, now time.Time) error {
	rows, err := d.cfg.Pool.Query(ctx, `select kind, owner, count(*), count(*) filter (where state = 'open' and deadline < $1)
		from cases where state <> 'closed' group by kind, owner`, now)
	if err != nil {
		return fmt.Errorf("count the cases: %w", err)
	}
	d.open.Reset()
	d.overdue.Reset()
	for _, kind := range Kinds() {
		d.open.WithLabelValues(string(kind)).Set(0)
	}
	d.overdue.WithLabelValues(d.cfg.EscalateTo).Set(0)
	var kind, owner string
	var all, late int64
	_, err = pgx.ForEachRow(rows, []any{&kind, &owner, &all, &late}, func() error {
		d.open.WithLabelValues(kind).Add(float64(all))      //nolint:forbidigo // a metric
		d.overdue.WithLabelValues(owner).Add(float64(late)) //nolint:forbidigo // a metric
		return nil
	})
	if err != nil {
		return fmt.Errorf("count the cases: %w", err)
	}
	return nil
}
