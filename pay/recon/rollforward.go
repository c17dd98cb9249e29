package recon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
)

// RollDaysMax bounds the days of one roll-forward.
const RollDaysMax = 400

// RollDay is one business day of a channel's account: what it began with, what moved,
// and what it ended with, by the channel's lines; and what the ledger made of them.
type RollDay struct {
	Day string `json:"day"`
	// From and Until are what the day covers by the channel's calendar.
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
	Lines int64     `json:"lines"`
	// Closing is Opening and In less Out less Fees.
	Opening money.Amount `json:"opening"`
	In      money.Amount `json:"in"`
	Out     money.Amount `json:"out"`
	Fees    money.Amount `json:"fees"`
	Closing money.Amount `json:"closing"`
	// Stated is the closing balance of the day's statement file, less what the
	// account held before its first line; nil without one. Off is Stated less Closing.
	Stated *money.Amount `json:"stated_closing,omitempty"`
	Off    *money.Amount `json:"off,omitempty"`
	// Posted is what the ledger's transfers for these lines moved at the channel.
	Posted money.Amount `json:"posted"`
	// Difference is the day's movement less Posted; Explained is the part of it that
	// belongs to lines with a break, by class; Unexplained is the rest.
	Difference  money.Amount            `json:"difference"`
	Explained   map[string]money.Amount `json:"explained"`
	Unexplained money.Amount            `json:"unexplained"`
	// Awaited is what succeeded on the day and no line has shown, in less out.
	Awaited money.Amount `json:"awaited"`
}

// What a line moved counts once, whoever posted it.
const effect = `case when l.direction = 2 then l.amount - l.fee else -l.amount - l.fee end`

const selectOpeningLines = `select coalesce(sum(` + effect + `), 0)::text from statement_lines l
 where l.channel = $1 and l.asset = $2 and l.booked_at < $3 and l.outcome not in ('duplicate_line', 'line_changed')`

const selectDayLines = `select count(*), coalesce(sum(l.amount) filter (where l.direction = 2), 0)::text, coalesce(sum(l.amount) filter (where l.direction = 1), 0)::text,
       coalesce(sum(l.fee), 0)::text
  from statement_lines l
 where l.channel = $1 and l.asset = $2 and l.booked_at >= $3 and l.booked_at < $4 and l.outcome not in ('duplicate_line', 'line_changed')`

// The transfers of a line are those with which its payment, or the linked payment that
// stands for it, was settled; the ledger's nostro is lowered by what arrives.
const selectPosted = `select coalesce(sum(case when t.debit = n.id then t.amount else -t.amount end), 0)::text
  from statement_lines l
  join payments p on p.id = l.payment or (p.original = l.payment and p.kind = any($5))
  join transitions s on s.payment = p.id and s.settlement = 2 and s.transfers > 0
  join transfers t on t.id >= s.first_transfer and t.id < s.first_transfer + s.transfers
  join accounts n on n.kind = 3 and n.name = 'nostro:' || $1 and n.asset = $2 and n.id in (t.debit, t.credit)
 where l.channel = $1 and l.asset = $2 and l.booked_at >= $3 and l.booked_at < $4 and l.outcome = 'matched'`

const selectExplained = `select coalesce((select b.class from breaks b where b.channel = l.channel and b.reference = l.reference and b.line = l.line_id
                   order by b.id desc limit 1), l.outcome), sum(` + effect + `)::text
  from statement_lines l
 where l.channel = $1 and l.asset = $2 and l.booked_at >= $3 and l.booked_at < $4 and l.outcome not in ('matched', 'duplicate_line', 'line_changed')
 group by 1`

const selectAwaited = `select coalesce(sum(case when direction = 2 then amount else -amount end), 0)::text from expectations
 where channel = $1 and asset = $2 and since >= $3 and since < $4`

const selectStated = `select closing::text, (select opening::text from statements f where f.channel = $1 and f.asset = $2 and f.opening is not null order by day, id limit 1)
  from statements where channel = $1 and asset = $2 and day = $3 and closing is not null and page = 1 and last order by id desc limit 1`

// RollForward tells how a channel's account came from one day to the next, from one
// snapshot: from and until are business days, both included.
func (r *Recon) RollForward(ctx context.Context, name channel.Name, asset money.Asset, from, until Date) ([]RollDay, error) {
	const op = "recon.RollForward"
	ctx, cancel := context.WithTimeout(ctx, reportWithin)
	defer cancel()
	days := int(until.in(time.UTC).Sub(from.in(time.UTC)).Hours()/24) + 1
	if days < 1 || days > RollDaysMax {
		return nil, fault.New(fault.MalformedRequest, fmt.Sprintf("from %s to %s is not 1 to %d days", from, until, RollDaysMax)).WithParam("from")
	}
	tx, err := r.cfg.Pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, readFault(op, err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	terms := r.terms(name)
	roll := roller{ctx: ctx, tx: tx, name: name, asset: asset, calendar: terms.Calendar}
	var out []RollDay
	for d := from; days > 0; d, days = d.add(1), days-1 {
		if !terms.Calendar.Open(d) {
			continue
		}
		day, err := roll.day(d)
		if err != nil {
			return nil, readFault(op, err)
		}
		out = append(out, day)
	}
	return out, nil
}

// roller goes from day to day within one snapshot.
type roller struct {
	ctx      context.Context
	tx       pgx.Tx
	name     channel.Name
	asset    money.Asset
	calendar Calendar
	closing  *money.Amount
}

// amount reads one amount that a query sums up.
func (r *roller) amount(sql string, args ...any) (a money.Amount, err error) {
	var text string
	if err = r.tx.QueryRow(r.ctx, sql, append([]any{string(r.name), string(r.asset)}, args...)...).Scan(&text); err != nil {
		return a, err
	}
	return money.ParseMinor(text)
}

func (r *roller) day(d Date) (RollDay, error) {
	day := RollDay{Day: d.String(), Explained: map[string]money.Amount{}}
	from, until := r.calendar.Span(d)
	day.From, day.Until = from.UTC(), until.UTC()
	var err error
	if r.closing == nil {
		opening, err := r.amount(selectOpeningLines, from)
		if err != nil {
			return day, err
		}
		r.closing = &opening
	}
	day.Opening = *r.closing
	var in, out, fees string
	if err = r.tx.QueryRow(r.ctx, selectDayLines, string(r.name), string(r.asset), from, until).Scan(&day.Lines, &in, &out, &fees); err != nil {
		return day, err
	}
	for _, x := range []struct {
		text string
		to   *money.Amount
	}{{in, &day.In}, {out, &day.Out}, {fees, &day.Fees}} {
		if *x.to, err = money.ParseMinor(x.text); err != nil {
			return day, err
		}
	}
	late := []int16{int16(pay.LateDeposit), int16(pay.LatePayout)}
	if day.Posted, err = r.amount(selectPosted, from, until, late); err != nil {
		return day, err
	}
	if day.Awaited, err = r.amount(selectAwaited, from, until); err != nil {
		return day, err
	}
	if err = r.explain(&day); err != nil {
		return day, err
	}
	if err = day.add(); err != nil {
		return day, err
	}
	r.closing = &day.Closing
	return day, r.stated(&day, d)
}

func (r *roller) explain(day *RollDay) error {
	rows, err := r.tx.Query(r.ctx, selectExplained, string(r.name), string(r.asset), day.From, day.Until)
	if err != nil {
		return err
	}
	var class, sum string
	_, err = pgx.ForEachRow(rows, []any{&class, &sum}, func() (err error) {
		day.Explained[class], err = money.ParseMinor(sum)
		return err
	})
	return err
}

// add computes what follows from the sums.
func (d *RollDay) add() (err error) {
	moved := d.In
	for _, less := range []money.Amount{d.Out, d.Fees} {
		if moved, err = moved.Sub(less); err != nil {
			return err
		}
	}
	if d.Closing, err = d.Opening.Add(moved); err != nil {
		return err
	}
	if d.Difference, err = moved.Sub(d.Posted); err != nil {
		return err
	}
	d.Unexplained = d.Difference
	for _, value := range d.Explained {
		if d.Unexplained, err = d.Unexplained.Sub(value); err != nil {
			return err
		}
	}
	return nil
}

// stated holds the closing balance against that of the day's file. An account that
// had money before its first statement keeps that apart.
func (r *roller) stated(day *RollDay, d Date) error {
	var closing, first string
	err := r.tx.QueryRow(r.ctx, selectStated, string(r.name), string(r.asset), d.in(time.UTC)).Scan(&closing, &first)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	said, err := money.ParseMinor(closing)
	if err != nil {
		return err
	}
	before, err := money.ParseMinor(first)
	if err != nil {
		return err
	}
	if said, err = said.Sub(before); err != nil {
		return err
	}
	off, err := said.Sub(day.Closing)
	day.Stated, day.Off = &said, &off
	return err
}
