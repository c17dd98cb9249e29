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
// awaits, and no other will come: it is judged once more.

const (
	// Few payments wait for anything, and each is one probe by its reference.
	selectAttested = `select e.payment, l.id, l.line_id, l.reference, l.amount::text, l.fee::text, l.asset
  from breaks b
  join expectations e on e.payment = b.payment and e.reference = b.reference and e.channel = b.channel
  join statement_lines l on l.channel = b.channel and l.reference = b.reference and l.line_id = b.line
 where b.closed_at is null and b.class = $1 and b.channel = $2 and b.line <> '' and l.outcome = $3
   and l.direction = e.direction and l.amount = e.amount and l.asset = e.asset
 order by l.id limit $4`

	matchLine = `update statement_lines set outcome = $2 where id = $1`

	closeAttested = `with closed as (
  update breaks set state = 'resolved', closed_at = now(), closed_by = 'recon', close_reason = $4
   where closed_at is null and channel = $1 and reference = $2 and line = $3 and class = $5 returning id
)
insert into break_events (break, what, who, note) select id, 'resolved', 'recon', $4 from closed order by id`

	// attestedMax bounds one run; the next goes on.
	attestedMax = 1000
)

// attestedLine is a kept line that a payment awaits.
type attestedLine struct {
	payment     pay.ID
	id          int64
	line        string
	reference   string
	amount, fee money.Amount
	asset       money.Asset
}

// attested settles what two people have named by the line that came before they did.
//
// Crash points: the Fact first, then the rows. In between, the payment is settled and
// still expected here; the next run says the Fact again, which changes nothing.
func (r *Recon) attested(ctx context.Context, name channel.Name) error {
	ctx, cancel := context.WithTimeout(ctx, pageWithin)
	defer cancel()
	lines, err := r.attestedLines(ctx, name)
	if err != nil || len(lines) == 0 {
		return wrapped("look for lines of what people have named", err)
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
				r.log.LogAttrs(ctx, slog.LevelError, "a line does not settle what people have named", slog.String("channel", string(name)),
					slog.String("reference", l.reference), slog.String("line", l.line), slog.Any("error", answer.Err))
				continue
			}
			return fmt.Errorf("settle %s: %w", l.reference, answer.Err)
		}
		var batch pgx.Batch
		batch.Queue(matchLine, l.id, matched)
		batch.Queue(meetExpectations, string(name), []int64{int64(l.payment)})
		batch.Queue(closeAttested, string(name), l.reference, l.line, "two people have named this attempt: the line has settled the payment", contradiction)
		if err := r.send(ctx, &batch); err != nil {
			return err
		}
	}
	return nil
}

func (r *Recon) attestedLines(ctx context.Context, name channel.Name) ([]attestedLine, error) {
	rows, err := r.cfg.Pool.Query(ctx, selectAttested, contradiction, string(name), wrongState, attestedMax)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (l attestedLine, err error) {
		var amount, fee string
		if err = row.Scan(&l.payment, &l.id, &l.line, &l.reference, &amount, &fee, &l.asset); err != nil {
			return l, err
		}
		if l.amount, err = money.ParseMinor(amount); err == nil {
			l.fee, err = money.ParseMinor(fee)
		}
		return l, err
	})
}

// Contradicted reports whether the channel has said of an attempt that it executed it,
// or has it, against what it had said or we had taken for proven; by now it may be closed.
func (r *Recon) Contradicted(ctx context.Context, name, reference string) (bool, error) {
	var yes bool
	err := r.cfg.Pool.QueryRow(ctx, `select exists(select from breaks where channel = $1 and reference = $2 and class = any($3))`,
		name, reference, []string{contradiction, lateOutcome, restoreGap}).Scan(&yes)
	if err != nil {
		return false, readFault("recon.Contradicted", err)
	}
	return yes, nil
}
