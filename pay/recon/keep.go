package recon

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
)

// $13 is the statement that came as a file, 0 for lines that were read; a line's seq
// is its number there.
const insertLines = `insert into statement_lines (channel, seq, line_id, direction, reference, amount, fee, asset, remittance, booked_at, payment, outcome, statement, n)
  select $1, case when $13 = 0 then seq end, line_id, direction, reference, amount::numeric, fee::numeric, asset, remittance, booked_at, nullif(payment, 0), outcome,
         nullif($13, 0), case when $13 <> 0 then seq end
    from unnest($2::bigint[], $3::text[], $4::smallint[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::timestamptz[], $11::bigint[], $12::text[])
         as l(seq, line_id, direction, reference, amount, fee, asset, remittance, booked_at, payment, outcome)
  on conflict do nothing`

// A break that another station opened about the same words, before the line came,
// becomes the line's: one movement is one break. One that was closed is over, and a line
// that calls for somebody opens its own.
const adoptBreaks = `update breaks b set line = n.line
  from unnest($2::text[], $3::text[], $4::text[], $5::text[]) as n(class, reference, line, closed)
 where b.class = n.class and b.channel = $1 and b.reference = n.reference and b.line = '' and n.line <> '' and (b.closed_at is null or n.closed <> '')
   and not exists (select from breaks o where o.class = n.class and o.channel = $1 and o.reference = n.reference and o.line = n.line)`

const openBreaks = `insert into breaks (class, channel, payment, reference, line, asset, amount, detail, state, closed_at, closed_by, close_reason)
  select class, $1, nullif(payment, 0), reference, line, asset, amount::numeric, detail,
         case when closed <> '' then 'resolved' else 'open' end, case when closed <> '' then now() end, case when closed <> '' then 'recon' end, nullif(closed, '')
    from unnest($2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[])
         as b(class, payment, reference, line, asset, amount, detail, closed)
   order by class, reference, line
  on conflict do nothing`

// What a callback opened at the moment at which its line came, and neither saw the other.
const closeStrays = `with closed as (
  update breaks b set state = 'resolved', closed_at = now(), closed_by = 'recon', close_reason = $2
   where closed_at is null and channel = $1 and class = any($3) and line = ''
     and exists (select from breaks o where o.class = any($4) and o.channel = b.channel and o.reference = b.reference and o.line <> '') returning id
)
insert into break_events (break, what, who, note) select id, 'resolved', 'recon', $2 from closed order by id`

// What a line explains of earlier breaks: $4 says which classes.
const closeBreaks = `with closed as (
  update breaks set state = 'resolved', closed_at = now(), closed_by = 'recon', close_reason = $3
   where closed_at is null and channel = $1 and reference = any($2) and class = any($4) returning id
)
insert into break_events (break, what, who, note) select id, 'resolved', 'recon', $3 from closed order by id`

// A line that shows what was made up for because it was missing: the holder has his money
// back, and the payee has it too. That is a break of the line's, and closes none. However it was made up for:
// what a compensation of ours says, paidTwice finds, whoever closed the break.
const postedTwice = `insert into breaks (class, channel, payment, reference, line, asset, amount, detail)
  select '` + compensated + `', b.channel, b.payment, b.reference, n.line, b.asset, b.amount,
         left('the statement shows it by now, and it was ' || b.close_reason || ' (' || b.closed_by || '): the money has gone twice', 500)
    from unnest($2::text[], $3::text[]) as n(reference, line)
    join breaks b on b.class = '` + missingInStatement + `' and b.channel = $1 and b.reference = n.reference and b.line = '' and b.close_code = 'posted'
   order by n.line
  on conflict do nothing`

// byMatch are the classes that a matching line explains: that it was missing, or
// that an earlier line had another amount or asset. byStray is what a callback
// opened before the line came and got its own.
var (
	byMatch = []string{missingInStatement, amountMismatch, wrongAsset}
	byStray = []string{unknownReference}
	// ofStray are the classes of such a line's own break.
	ofStray = []string{unmatchedInbound, misdirected}
)

// lineRows are the columns of insertLines.
type lineRows struct {
	seqs, payments                                                                 []int64
	directions                                                                     []int16
	lineIDs, refs, amounts, fees, assets, remittances, outcomes, explained, strays []string
	explaining                                                                     []string // the lines of explained
	met                                                                            []int64  // payments that await nothing more
	booked                                                                         []time.Time
}

func rowsOf(items []item) *lineRows {
	var l lineRows
	for i := range items {
		it := &items[i]
		l.seqs, l.payments = append(l.seqs, it.Seq), append(l.payments, int64(it.id))
		l.directions = append(l.directions, int16(it.Direction))
		l.lineIDs, l.refs = append(l.lineIDs, it.ID), append(l.refs, it.Reference)
		l.amounts, l.fees = append(l.amounts, it.Amount.String()), append(l.fees, it.Fee.String())
		l.assets, l.remittances = append(l.assets, string(it.Asset)), append(l.remittances, it.Remittance)
		l.outcomes, l.booked = append(l.outcomes, it.outcome), append(l.booked, it.BookedAt)
		switch {
		case it.outcome == matched:
			l.explained, l.met = append(l.explained, it.Reference), append(l.met, int64(it.id))
			l.explaining = append(l.explaining, it.ID)
		case it.outcome == unmatched && it.class != unknownReference:
			l.strays = append(l.strays, it.Reference)
		}
	}
	return &l
}

// strayed is why the break of a callback ends that has its line.
const strayed = "the statement shows it: see the break of its line"

// strays closes what callbacks opened while their lines were being kept.
func (r *Recon) strays(ctx context.Context, name channel.Name) error {
	ctx, cancel := context.WithTimeout(ctx, pageWithin)
	defer cancel()
	_, err := r.cfg.Pool.Exec(ctx, closeStrays, string(name), strayed, byStray, ofStray)
	return wrapped("close what lines have explained", err)
}

// keep writes a page's lines, opens its breaks and closes those that it
// explains, in one transaction. The lines are the cursor.
func (r *Recon) keep(ctx context.Context, name channel.Name, items []item, file int64) error {
	var batch pgx.Batch
	l := rowsOf(items)
	batch.Queue(insertLines, string(name), l.seqs, l.lineIDs, l.directions, l.refs, l.amounts, l.fees, l.assets, l.remittances,
		l.booked, l.payments, l.outcomes, file)
	if file != 0 {
		batch.Queue(markApplied, file, items[len(items)-1].Seq)
	}
	var breaks []brk
	for i := range items {
		it := &items[i]
		r.metrics.lines.WithLabelValues(string(name), it.outcome).Inc()
		if it.class != "" {
			breaks = append(breaks, brk{
				class: r.gapOr(it), payment: it.id, reference: it.Reference, line: it.ID, asset: it.Asset, amount: it.value, detail: it.detail, healed: it.healed,
			})
		}
	}
	r.open(ctx, &batch, name, breaks)
	if len(l.explained) > 0 {
		batch.Queue(meetExpectations, string(name), l.met)
		batch.Queue(closeBreaks, string(name), l.explained, "the statement shows it", byMatch)
		batch.Queue(postedTwice, string(name), l.explained, l.explaining)
	}
	if len(l.strays) > 0 {
		batch.Queue(closeBreaks, string(name), l.strays, strayed, byStray)
	}
	return r.send(ctx, &batch)
}

// brk is a row of breaks to be opened.
type brk struct {
	class     string
	payment   pay.ID
	reference string
	line      string
	asset     money.Asset
	amount    money.Amount
	detail    string
	healed    string // why it is closed as it opens
}

const detailMax = 500 // bytes of a break's detail

func (r *Recon) open(ctx context.Context, batch *pgx.Batch, name channel.Name, breaks []brk) {
	if len(breaks) == 0 {
		return
	}
	var payments []int64
	var classes, refs, lines, assets, amounts, details, closed []string
	for _, b := range breaks {
		classes, payments, refs, lines = append(classes, b.class), append(payments, int64(b.payment)), append(refs, b.reference), append(lines, b.line)
		assets, amounts, closed = append(assets, string(b.asset)), append(amounts, b.amount.String()), append(closed, b.healed)
		details = append(details, strings.ToValidUTF8(b.detail[:min(len(b.detail), detailMax)], ""))
		if b.class != duplicateLine {
			r.log.LogAttrs(ctx, slog.LevelError, "break between the statement and the ledger", slog.String("class", b.class),
				slog.String("channel", string(name)), slog.String("reference", b.reference), slog.String("line", b.line),
				slog.String("amount", b.amount.String()), slog.String("asset", string(b.asset)), slog.String("detail", b.detail))
		}
	}
	batch.Queue(adoptBreaks, string(name), classes, refs, lines, closed)
	batch.Queue(openBreaks, string(name), classes, payments, refs, lines, assets, amounts, details, closed)
}

// send runs a batch as one transaction: one Sync, no begin.
func (r *Recon) send(ctx context.Context, batch *pgx.Batch) error {
	if err := r.cfg.Pool.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("keep what the statement says: %w", err)
	}
	return nil
}
