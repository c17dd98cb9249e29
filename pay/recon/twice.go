package recon

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
)

// A line settles its payment whatever we have paid for it meanwhile: the money has left.
// Who compensated the holder because it had not must be told. All compensations are looked
// at each time, so that it does not matter what came first, or what a crash cut off; they
// are few, and each probes its own payment.
//
// A compensation says that the payment did not execute when it names its break of a missing
// line, or the payment with all of its amount. One of a part makes up for something else.
const selectPaidTwice = `with paid as (
  select c.id, c.amount, b.class is not distinct from 'missing_in_statement' as missed, coalesce(b.payment, c.original) as payment
    from (select id, amount, original, case when link ~ '^break [1-9][0-9]{0,17}$' then substr(link, 7)::bigint end as break from payments where kind = $3) c
    left join breaks b on b.id = c.break
)
select c.id, c.amount::text, p.id, p.asset, l.reference, l.line_id
  from paid c
  join payments p on p.id = c.payment and p.kind = $4 and (c.missed or c.amount >= p.amount)
 cross join lateral (select reference from attempts where payment = p.id and channel = $1) a
 cross join lateral (select * from statement_lines s where s.reference = a.reference offset 0) l
 where l.channel = $1 and l.outcome = 'matched' and l.direction = $5
   and not exists (select from breaks o where o.class = 'compensated_executed' and o.channel = $1 and o.reference = l.reference and o.line = l.line_id)
 order by c.id limit $2`

// paidTwiceMax bounds one run; the next goes on.
const paidTwiceMax = 1000

// paidTwice opens a break for each payment that the statement shows and that we have
// compensated because it did not.
func (r *Recon) paidTwice(ctx context.Context, name channel.Name) error {
	ctx, cancel := context.WithTimeout(ctx, pageWithin)
	defer cancel()
	rows, err := r.cfg.Pool.Query(ctx, selectPaidTwice, string(name), paidTwiceMax, int16(pay.Compensation), int16(pay.Payout), int16(channel.Out))
	if err != nil {
		return fmt.Errorf("look for what was compensated and executed: %w", err)
	}
	breaks, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (b brk, err error) {
		var by pay.ID
		var amount string
		if err = row.Scan(&by, &amount, &b.payment, &b.asset, &b.reference, &b.line); err != nil {
			return b, err
		}
		b.class, b.detail = compensated, "line "+b.line+" shows that it executed, and "+by.String()+" has made up for it"
		b.amount, err = money.ParseMinor(amount)
		return b, err
	})
	if err != nil || len(breaks) == 0 {
		return wrapped("look for what was compensated and executed", err)
	}
	var batch pgx.Batch
	r.open(ctx, &batch, name, breaks)
	return r.send(ctx, &batch)
}

// PaidAnyway opens a break that says that b was closed by somebody else while by made up
// for it. Where the line has said so before, there is one.
func (r *Recon) PaidAnyway(ctx context.Context, b *Break, by pay.ID) error {
	const op = "recon.PaidAnyway"
	var told bool
	err := r.cfg.Pool.QueryRow(ctx, `select exists (select from breaks where class = $1 and channel = $2 and reference = $3)`,
		compensated, string(b.Channel), b.Reference).Scan(&told)
	if err != nil {
		return readFault(op, err)
	}
	if told {
		return nil
	}
	one := brk{
		class: compensated, reference: b.Reference, asset: b.Asset, amount: b.Amount,
		detail: fmt.Sprintf("%s made up for break %d while it was closed by %s: %s", by, b.ID, b.ClosedBy, b.Reason),
	}
	if one.payment, err = pay.ParseID(b.Payment); err != nil {
		return readFault(op, err)
	}
	var batch pgx.Batch
	r.open(ctx, &batch, b.Channel, []brk{one})
	if err := r.send(ctx, &batch); err != nil {
		return readFault(op, err)
	}
	return r.triage(ctx)
}
