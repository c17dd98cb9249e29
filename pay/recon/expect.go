package recon

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
)

// The transition log is followed by id, each row once; the cursor is a mark and
// moves in the transaction that keeps what the rows let us expect. Ids are gap-free
// in the order of their commits, so nothing can appear behind the cursor.
const (
	markExpected = "recon_expected"

	selectMark = `select coalesce((select value from marks where name = $1), 0)`

	// Settlement 1 is expected, 2 is matched: a payment that its line has settled
	// already awaits nothing.
	selectSucceeded = `with chunk as (select id, payment, attempt, settlement, from_state, to_state, at from transitions where id > $1 and id <= $3 order by id limit $2),
  awaiting as materialized (select * from chunk c where c.settlement = 1 and c.from_state <> c.to_state
     and not exists (select from transitions s where s.payment = c.payment and s.settlement = 2))
  select c.id, c.payment, c.attempt, p.tenant, p.kind, coalesce(a.channel, p.channel), p.asset, p.amount::text, c.at,
         coalesce(p.original, 0), coalesce((select n from attempts o where o.payment = p.original order by (state = 4) desc, n desc limit 1), 0), coalesce(p.link, ''),
         coalesce(case p.kind when 9 then (select o.link from payments o where o.original = p.original and o.kind = 7)
                              when 12 then (select o.link from payments o where o.id = p.original and o.kind = 8) end, '')
    from awaiting c join payments p on p.id = c.payment and p.channel is not null
    left join attempts a on a.payment = c.payment and a.n = c.attempt
   union all
  select coalesce(max(id), $1), 0, 0::smallint, 0, 0::smallint, '', '', '0', now(), 0, 0::smallint, '', '' from chunk`

	insertExpectations = `insert into expectations (payment, tenant, channel, reference, direction, asset, amount, since, due_at)
  select payment, tenant, channel, reference, direction, asset, amount::numeric, since, due_at
    from unnest($1::bigint[], $2::integer[], $3::text[], $4::text[], $5::smallint[], $6::text[], $7::text[], $8::timestamptz[], $9::timestamptz[])
         as e(payment, tenant, channel, reference, direction, asset, amount, since, due_at)
  on conflict (payment) do nothing`

	moveCursor = `insert into marks (name, value) values ($1, $2)
  on conflict (name) do update set value = greatest(marks.value, excluded.value)`

	// What a matching line brings: nothing more is expected of its payment, nor of the
	// linked ones that the same line settled. An array and scalar subqueries probe
	// indexes, where joins (exists is one) would leave the planner a choice.
	meetExpectations = `delete from expectations where channel = $1 and payment = any(array(
    select payment from unnest($2::bigint[]) as line(payment)
     union all
    select c.id from unnest($2::bigint[]) as line(payment)
     cross join lateral (select id from payments where original = line.payment offset 0) c
     where (select max(settlement) from transitions where payment = c.id) = 2
     union all
    select d.id from unnest($2::bigint[]) as line(payment)
     cross join lateral (select id from payments where original = line.payment and kind = 8 offset 0) c
     cross join lateral (select id from payments where original = c.id offset 0) d
     where (select max(settlement) from transitions where payment = d.id) = 2))`
)

// quotes is the reference that the line will quote: its own, or, for what linked
// payments tell of another one's attempt, that one's.
func (e *expectation) quotes() string {
	switch e.kind {
	case pay.LatePayout, pay.LateDeposit:
		return e.link
	case pay.Return, pay.Chargeback:
		if e.late != "" {
			return e.late
		}
		return pay.Reference(e.original, e.originalAttempt)
	case pay.Send, pay.Payout, pay.Deposit, pay.Hold, pay.Capture, pay.Refund, pay.Inbound, pay.Assignment, pay.Compensation:
	}
	return pay.Reference(e.payment, e.attempt)
}

// expectation is what a succeeded payment lets us expect: one line.
type expectation struct {
	payment pay.ID
	attempt int16
	tenant  int32
	kind    pay.Kind
	channel channel.Name
	asset   string
	amount  string
	since   time.Time
	// original is what a linked payment is about, and link what that quotes.
	original        pay.ID
	originalAttempt int16
	link            string
	// late is what the late outcome quoted that this takes back; empty for any other.
	late string
}

// head is the newest transition.
func (r *Recon) head(ctx context.Context) (id int64, err error) {
	if err = r.cfg.Pool.QueryRow(ctx, `select coalesce(max(id), 0) from transitions`).Scan(&id); err != nil {
		return 0, fmt.Errorf("read the newest transition: %w", err)
	}
	return id, nil
}

// expect follows the transition log to head and keeps, for each payment that has
// succeeded through a channel and was not on its statement yet, what that should show
// and by when.
func (r *Recon) expect(ctx context.Context, head int64) error {
	var cursor int64
	if err := r.cfg.Pool.QueryRow(ctx, selectMark, markExpected).Scan(&cursor); err != nil {
		return fmt.Errorf("read %s: %w", markExpected, err)
	}
	for {
		last, err := r.expectChunk(ctx, cursor, head)
		if err != nil {
			return fmt.Errorf("follow the transition log: %w", err)
		}
		if last < cursor+expectedChunk { // ids have no gaps: a full chunk ends there
			return nil
		}
		cursor = last
	}
}

func (r *Recon) expectChunk(ctx context.Context, cursor, head int64) (last int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, pageWithin)
	defer cancel()
	found, last, err := r.succeeded(ctx, cursor, head)
	if err != nil || last == cursor {
		return cursor, err
	}
	var batch pgx.Batch
	r.queueExpectations(&batch, found)
	batch.Queue(moveCursor, markExpected, last)
	return last, r.cfg.Pool.SendBatch(ctx, &batch).Close()
}

// succeeded is what a piece of the log behind from, up to head, lets us expect, and where
// the piece ends: at from when there is nothing.
func (r *Recon) succeeded(ctx context.Context, from, head int64) (found []expectation, last int64, err error) {
	rows, err := r.cfg.Pool.Query(ctx, selectSucceeded, from, expectedChunk, head)
	if err != nil {
		return nil, 0, err
	}
	found, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (e expectation, err error) {
		var id int64
		err = row.Scan(&id, &e.payment, &e.attempt, &e.tenant, &e.kind, &e.channel, &e.asset, &e.amount, &e.since, &e.original, &e.originalAttempt, &e.link, &e.late)
		last = max(last, id)
		return e, err
	})
	return found, last, err
}

func (r *Recon) queueExpectations(batch *pgx.Batch, found []expectation) {
	var payments []int64
	var tenants []int32
	var channels, refs, assets, amounts []string
	var directions []int16
	var sinces, dues []time.Time
	for i := range found {
		e := &found[i]
		if e.payment == 0 { // the chunk's end
			continue
		}
		direction := channel.Out
		if e.kind == pay.Deposit || e.kind == pay.LateDeposit || e.kind == pay.Return {
			direction = channel.In
		}
		terms := r.terms(e.channel)
		payments, tenants, channels = append(payments, int64(e.payment)), append(tenants, e.tenant), append(channels, string(e.channel))
		refs, directions = append(refs, e.quotes()), append(directions, int16(direction))
		assets, amounts = append(assets, e.asset), append(amounts, e.amount)
		sinces, dues = append(sinces, e.since), append(dues, terms.Calendar.Due(e.since))
	}
	if len(payments) > 0 {
		batch.Queue(insertExpectations, payments, tenants, channels, refs, directions, assets, amounts, sinces, dues)
	}
}

const (
	missedChunk = 1000 // expectations looked at in one statement

	// What the statement shows, if wrongly, is not missing: it has its break.
	selectOverdue = `select e.payment, e.reference, e.asset, e.amount::text, e.since, e.due_at,
       exists (select from statement_lines s where s.channel = e.channel and s.reference = e.reference)
  from expectations e where e.channel = $1 and not e.missed and e.due_at <= $2 and e.since < $4 order by e.due_at, e.payment limit $3`

	markMissed = `update expectations set missed = true where payment = any($1)`
)

// missing opens a break for each payment whose line is overdue and that the
// statement, read to its end at read, does not show although it covers what happened
// before until. A later line closes it.
func (r *Recon) missing(ctx context.Context, name channel.Name, read, until time.Time) error {
	for {
		n, err := r.missingChunk(ctx, name, read, until)
		if err != nil {
			return fmt.Errorf("look for missing lines: %w", err)
		}
		if n < missedChunk {
			return nil
		}
	}
}

func (r *Recon) missingChunk(ctx context.Context, name channel.Name, read, until time.Time) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, pageWithin)
	defer cancel()
	rows, err := r.cfg.Pool.Query(ctx, selectOverdue, string(name), read, missedChunk, until)
	if err != nil {
		return 0, err
	}
	var ids []int64
	var breaks []brk
	var b brk
	var amount string
	var since, due time.Time
	var shown bool
	_, err = pgx.ForEachRow(rows, []any{&b.payment, &b.reference, &b.asset, &amount, &since, &due, &shown}, func() (err error) {
		ids = append(ids, int64(b.payment))
		if shown {
			return nil
		}
		b.class = missingInStatement
		b.detail = "succeeded at " + since.UTC().Format(time.RFC3339) + ", due on the statement by " + due.UTC().Format(time.RFC3339) + ", and not there"
		b.amount, err = money.ParseMinor(amount)
		breaks = append(breaks, b)
		return err
	})
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	var batch pgx.Batch
	r.open(ctx, &batch, name, breaks)
	batch.Queue(markMissed, ids)
	return len(ids), r.send(ctx, &batch)
}

// endOfTime is later than anything in a ledger.
var endOfTime = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// stated is until when a channel's statement files tell what happened: the cut-off of
// the last day that they close.
func (r *Recon) stated(ctx context.Context, name channel.Name) (time.Time, error) {
	var day *time.Time
	if err := r.cfg.Pool.QueryRow(ctx, `select max(day) from statements where channel = $1`, string(name)).Scan(&day); err != nil {
		return time.Time{}, fmt.Errorf("read until when statements tell: %w", err)
	}
	if day == nil {
		return time.Time{}, nil
	}
	terms := r.terms(name)
	_, until := terms.Calendar.Span(terms.Calendar.following(dateOf(*day)))
	return until, nil
}
