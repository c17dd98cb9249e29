package recon

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/commit"
)

// A line about an attempt that we took for absent, or had replaced, settles nothing when
// it comes: it is a break, and the payment waits for a person. When two people have then
// named that attempt as the one that executed, the line that is kept is what the payment
// awaits, and no other will come: it is judged once more. That does not hang on its
// break: people close it when they have acted on it, and its class depends on when it
// came. One line settles a payment; the others of its reference moved money twice.

const (
	// A channel's lines that settled nothing are few, and each probes what is awaited and
	// its own reference, as selectBefore does.
	selectAttested = `select distinct on (e.payment) e.payment, l.id, l.line_id, l.reference, l.amount::text, l.fee::text, l.asset
  from statement_lines l
  join expectations e on e.payment = l.payment and e.reference = l.reference and e.channel = l.channel
 where l.outcome = 'wrong_state' and l.channel = $1
   and l.direction = e.direction and l.amount = e.amount and l.asset = e.asset
   and (select count(*) from (select channel, outcome, direction from statement_lines s where s.reference = l.reference offset 0) m
         where m.channel = l.channel and m.outcome = 'matched' and m.direction = l.direction) = 0
 order by e.payment, l.id limit $2`

	// What has come back moved the other way, and may come in parts.
	selectDoubled = `select p.id, l.id, l.line_id, l.reference, l.amount::text, l.fee::text, l.asset, m.line_id
  from statement_lines l
  join payments p on p.id = l.payment
 cross join lateral (select line_id from (select * from statement_lines s where s.reference = l.reference offset 0) m
    where m.channel = l.channel and m.outcome = 'matched' and m.direction = l.direction order by m.id limit 1) m
 where l.outcome = 'wrong_state' and l.channel = $1 and l.direction = case when p.kind = $3 then $4::smallint else $5::smallint end
 order by l.id limit $2`

	judgeAnew = `update statement_lines set outcome = $2 where id = $1`

	closeJudged = `with closed as (
  update breaks set state = 'resolved', closed_at = now(), closed_by = 'recon', close_reason = $4
   where closed_at is null and channel = $1 and reference = $2 and line = $3 and class = any($5) returning id
)
insert into break_events (break, what, who, note) select id, 'resolved', 'recon', $4 from closed order by id`

	// attestedMax bounds one run; the next goes on.
	attestedMax = 1000
)

// byRefusal are the classes of the break of a line that settled nothing.
var byRefusal = []string{contradiction, lateOutcome, restoreGap}

// attestedLine is a kept line that a payment awaits, or that moves what another one
// has moved.
type attestedLine struct {
	payment     pay.ID
	id          int64
	line        string
	reference   string
	amount, fee money.Amount
	asset       money.Asset
	before      string // the line that has moved it, of one that moved it twice
}

// attested settles what two people have named by the line that came before they did, and
// tells of the lines that no payment stands for.
//
// Crash points: the Fact first, then the rows. In between, the payment is settled and
// still expected here; the next run says the Fact of the same line again, the first of
// its reference, which changes nothing.
func (r *Recon) attested(ctx context.Context, name channel.Name) error {
	ctx, cancel := context.WithTimeout(ctx, pageWithin)
	defer cancel()
	lines, err := r.attestedLines(ctx, selectAttested, string(name), attestedMax)
	if err != nil {
		return fmt.Errorf("look for lines of what people have named: %w", err)
	}
	if err := r.settleAttested(ctx, name, lines); err != nil {
		return err
	}
	return r.doubled(ctx, name)
}

func (r *Recon) settleAttested(ctx context.Context, name channel.Name, lines []attestedLine) error {
	if len(lines) == 0 {
		return nil
	}
	facts := make([]commit.Fact, len(lines))
	for i, l := range lines {
		_, attempt, err := pay.ParseReference(l.reference)
		if err != nil {
			return fmt.Errorf("read the reference of line %s: %w", l.line, err)
		}
		facts[i] = commit.Fact{Payment: &pay.Fact{
			Kind: pay.Settle, Payment: l.payment, Attempt: attempt, At: r.cfg.Clock.Now(), Source: "statement",
			Amount: l.amount, Asset: l.asset, Channel: string(name), Cost: l.fee,
		}}
	}
	for i, answer := range r.cfg.Submitter.SubmitAll(ctx, facts) {
		l := &lines[i]
		if answer.Err != nil {
			if definite(answer.Err) { // its break stands
				r.log.LogAttrs(ctx, slog.LevelError, "a line does not settle the payment that awaits it", slog.String("channel", string(name)),
					slog.String("reference", l.reference), slog.String("line", l.line), slog.Any("error", answer.Err))
				continue
			}
			return fmt.Errorf("settle %s: %w", l.reference, answer.Err)
		}
		it := item{Line: channel.Line{ID: l.line, Fee: l.fee, Asset: l.asset}, outcome: matched}
		if err := it.checkFee(r.terms(name).Fees); err != nil {
			return err
		}
		var batch pgx.Batch
		batch.Queue(judgeAnew, l.id, matched)
		batch.Queue(meetExpectations, string(name), []int64{int64(l.payment)})
		batch.Queue(closeJudged, string(name), l.reference, l.line, "two people have named this attempt: the line has settled the payment", byRefusal)
		batch.Queue(closeBreaks, string(name), []string{l.reference}, "the statement shows it", byMatch)
		batch.Queue(postedTwice, string(name), []string{l.reference}, []string{l.line})
		if it.class != "" {
			r.open(ctx, &batch, name, []brk{l.brk(it.class, it.value, it.detail)})
		}
		if err := r.send(ctx, &batch); err != nil {
			return err
		}
	}
	return nil
}

// doubled opens a break for each line that settled nothing and whose reference another
// line has settled since: that money moved twice, whoever closed its first break.
func (r *Recon) doubled(ctx context.Context, name channel.Name) error {
	lines, err := r.attestedLines(ctx, selectDoubled, string(name), attestedMax, int16(pay.Deposit), int16(channel.In), int16(channel.Out))
	if err != nil || len(lines) == 0 {
		return wrapped("look for lines that move what has been moved", err)
	}
	var batch pgx.Batch
	breaks := make([]brk, len(lines))
	for i := range lines {
		l := &lines[i]
		breaks[i] = l.brk(doubled, l.amount, "line "+l.line+" moves money that line "+l.before+" has moved already")
		batch.Queue(judgeAnew, l.id, doubled)
		batch.Queue(closeJudged, string(name), l.reference, l.line, "another line has settled the payment: see the break of class "+doubled, byRefusal)
	}
	r.open(ctx, &batch, name, breaks)
	return r.send(ctx, &batch)
}

func (l *attestedLine) brk(class string, value money.Amount, detail string) brk {
	return brk{class: class, payment: l.payment, reference: l.reference, line: l.line, asset: l.asset, amount: value, detail: detail}
}

func (r *Recon) attestedLines(ctx context.Context, sql string, args ...any) ([]attestedLine, error) {
	rows, err := r.cfg.Pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (l attestedLine, err error) {
		var amount, fee string
		into := []any{&l.payment, &l.id, &l.line, &l.reference, &amount, &fee, &l.asset, &l.before}
		if err = row.Scan(into[:len(row.FieldDescriptions())]...); err != nil {
			return l, err
		}
		if l.amount, err = money.ParseMinor(amount); err == nil {
			l.fee, err = money.ParseMinor(fee)
		}
		return l, err
	})
}

// Contradicted reports whether the channel has said of an attempt that it executed it,
// against what it had said or we had taken for proven: in a reply, a query, a callback or
// a line. That it has taken it, or that it has sent it back, is no such word, and neither
// is what the gap finder took over. By now the break of it may be closed.
func (r *Recon) Contradicted(ctx context.Context, name, reference string) (bool, error) {
	var yes bool
	err := r.cfg.Pool.QueryRow(ctx, `select exists(select from breaks where class = any($3) and channel = $1 and reference = $2 and executed)
    or exists(select from statement_lines where reference = $2 and channel = $1 and outcome = $4 and direction = $5)`,
		name, reference, []string{contradiction, lateOutcome}, wrongState, int16(channel.Out)).Scan(&yes)
	if err != nil {
		return false, readFault("recon.Contradicted", err)
	}
	return yes, nil
}
