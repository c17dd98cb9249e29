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
	sweepMax    = 200  // rows of one sort that something is done about
	overPage    = 5000 // cases that are looked at for their end; the next sweep goes on behind them
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
	for _, step := range []func(context.Context, time.Time) error{d.breaks, d.poison, d.aside, d.over, d.escalate, d.show} {
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
	case "late_outcome", "wrong_state", "contradiction":
		return Contradiction
	case "amount_mismatch", "wrong_asset":
		return Mismatch
	}
	return Break
}

// The role that recon gave a break has its case; one that recon has not looked at
// for a minute goes to who has the kind. What it calls most severe has less time.
const (
	mostSevere = 1
	severeMax  = 4 * time.Hour
)

const newBreaks = `select b.id, b.class, b.channel, coalesce(b.payment, 0), coalesce(p.tenant, 0), b.reference, b.asset, b.amount::text, b.detail, b.opened_at,
       b.owner, b.severity
  from breaks b left join payments p on p.id = b.payment
 where b.closed_at is null and (b.owner <> '' or b.opened_at < now() - interval '1 minute')
   and not exists (select from case_origins o where o.origin = 'break' and o.id = b.id)
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
		var severity int16
		f := &o.finding
		err = row.Scan(&o.id, &f.Class, &f.Channel, &o.payment, &o.tenant, &f.Reference, &asset, &amount, &detail, &since, &o.place.Owner, &severity)
		if severity == mostSevere {
			o.place.Within = severeMax
		}
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

const newAside = `select a.id, a.inbox, a.channel, a.received_at, a."by", a.reason from callbacks_aside a
 where a.ended_at is null and not exists (select from case_origins o where o.origin = 'callback' and o.id = a.id)
 order by a.id limit $1`

// aside opens a case for each callback that was set aside and has none. Nobody knows
// whose money it speaks of until somebody has read it.
func (d *Desk) aside(ctx context.Context, now time.Time) error {
	rows, err := d.cfg.Pool.Query(ctx, newAside, sweepMax)
	if err != nil {
		return fmt.Errorf("read callbacks that are aside without a case: %w", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (o origin, err error) {
		var callback int64
		var by, reason string
		var since time.Time
		err = row.Scan(&o.id, &callback, &o.finding.Channel, &since, &by, &reason)
		o.table, o.kind, o.by = "callback", Poison, Machine
		o.finding.Since, o.finding.Origin = moment(since), fmt.Sprintf("callback %d", callback)
		o.finding.Cause = clip("set aside by "+by+": "+reason, detailMax)
		o.text = o.finding.Origin + ": " + o.finding.Cause
		return o, err
	})
	if err != nil {
		return fmt.Errorf("read callbacks that are aside without a case: %w", err)
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
	return d.task(ctx, payments, taskOf)
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
	if !d.timed() {
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
