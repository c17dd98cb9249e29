package recon

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
)

// The transition log is followed by id, each row once: times rise with ids, so
// what is old enough is the beginning of the chunk. The cursor is a mark.
const (
	markExpected = "recon_expected:"

	selectRipe = `with chunk as (select id, at from transitions where id > $1 order by id limit $3)
  select coalesce(max(id), $1) from chunk where at <= $2`

	selectMissing = `select t.payment, t.attempt, p.asset, p.amount::text, t.at
  from transitions t join payments p on p.id = t.payment
  left join attempts a on a.payment = t.payment and a.n = t.attempt
 where t.id > $1 and t.id <= $2 and t.transition in (7, 14) and coalesce(a.channel, p.channel) = $3
   and not exists (select from transitions s where s.payment = t.payment and s.transition in (12, 15))`

	moveCursor = `insert into marks (name, value) values ($1, $2)
  on conflict (name) do update set value = greatest(marks.value, excluded.value)`
)

// missing opens a break for each payment that has long succeeded and that the
// statement, read to its end at read, does not show. A later line closes it.
func (r *Recon) missing(ctx context.Context, name channel.Name, read time.Time) error {
	mark := markExpected + string(name)
	var cursor int64
	err := r.cfg.Pool.QueryRow(ctx, `select coalesce((select value from marks where name = $1), 0)`, mark).Scan(&cursor)
	if err != nil {
		return fmt.Errorf("read %s: %w", mark, err)
	}
	for {
		last, err := r.missingChunk(ctx, name, cursor, read.Add(-r.cfg.MissingAfter))
		if err != nil {
			return err
		}
		if last == cursor {
			return nil
		}
		cursor = last
	}
}

func (r *Recon) missingChunk(ctx context.Context, name channel.Name, cursor int64, before time.Time) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, pageWithin)
	defer cancel()
	var last int64
	if err := r.cfg.Pool.QueryRow(ctx, selectRipe, cursor, before, expectedChunk).Scan(&last); err != nil {
		return 0, fmt.Errorf("read the transition log: %w", err)
	}
	if last == cursor {
		return cursor, nil
	}
	rows, err := r.cfg.Pool.Query(ctx, selectMissing, cursor, last, string(name))
	if err != nil {
		return 0, fmt.Errorf("look for missing lines: %w", err)
	}
	breaks, err := pgx.CollectRows(rows, readMissing)
	if err != nil {
		return 0, fmt.Errorf("look for missing lines: %w", err)
	}
	if breaks, err = r.unstated(ctx, name, breaks); err != nil {
		return 0, err
	}
	var batch pgx.Batch
	r.open(ctx, &batch, name, breaks)
	batch.Queue(moveCursor, markExpected+string(name), last)
	return last, r.send(ctx, &batch)
}

// unstated leaves out payments that the statement does show, if wrongly: they
// have their break already.
func (r *Recon) unstated(ctx context.Context, name channel.Name, breaks []brk) ([]brk, error) {
	if len(breaks) == 0 {
		return nil, nil
	}
	refs := make([]string, len(breaks))
	for i := range breaks {
		refs[i] = breaks[i].reference
	}
	shown, err := r.before(ctx, name, refs)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(breaks, func(b brk) bool { return len(shown[b.reference]) > 0 }), nil
}

func readMissing(row pgx.CollectableRow) (brk, error) {
	b := brk{class: missingInStatement}
	var attempt int16
	var amount string
	var at time.Time
	if err := row.Scan(&b.payment, &attempt, &b.asset, &amount, &at); err != nil {
		return b, err
	}
	var err error
	b.amount, err = money.ParseMinor(amount)
	b.reference = pay.Reference(b.payment, attempt)
	b.detail = "succeeded at " + at.UTC().Format(time.RFC3339) + ", and the statement does not show it"
	return b, err
}
