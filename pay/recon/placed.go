package recon

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
)

// Money in that matched nothing waits in suspense as an item. Its break is over when
// nothing of it waits any more, wherever it went.
const (
	// placedMax is how many open breaks of that sort are looked at in one run; the
	// next goes on behind them.
	placedMax = 1000
	// namedMax bounds the payments that the reason of a closed break names.
	namedMax = 8

	selectSuspended = `select id, channel, line from breaks where closed_at is null and id > $1 and class = any($2) and line <> '' order by id limit $3`

	// From the item down: what was assigned and sent back, what of that was returned,
	// and the items that this made. Kinds and states are the numbers of package pay.
	selectPlaced = `with recursive item as (
    select k.key, k.subject as id from keys k where k.key = any($1) and k.kind = 1
    union all
    select i.key, c.id from item i join payments c on c.original = i.id and c.kind in (6, 9, 10, 11)
  )
  select i.key, coalesce(array_agg(i.id order by i.id) filter (where p.kind in (6, 11) and t.to_state = 6), '{}')
    from item i join payments p on p.id = i.id
   cross join lateral (select to_state from transitions where payment = i.id order by seq desc limit 1) t
   group by i.key having bool_and(t.to_state between 6 and 9)`

	closePlaced = `with closed as (
  update breaks b set state = 'resolved', closed_at = now(), closed_by = 'recon', close_reason = u.reason
    from unnest($1::bigint[], $2::text[]) as u(id, reason) where b.id = u.id and b.closed_at is null returning b.id, b.close_reason
)
insert into break_events (break, what, who, note) select id, 'resolved', 'recon', close_reason from closed order by id`
)

// stray are the classes of lines that were booked to suspense.
var stray = []string{unmatchedInbound, unknownReference, misdirected}

// placed closes the breaks of money that has found its owner, or went back.
func (r *Recon) placed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pageWithin)
	defer cancel()
	breaks, keys, err := r.suspended(ctx)
	if err != nil || len(breaks) == 0 {
		return err
	}
	rows, err := r.cfg.Pool.Query(ctx, selectPlaced, keys)
	if err != nil {
		return fmt.Errorf("look for what was placed: %w", err)
	}
	var ids []int64
	var reasons []string
	var key pgtype.UUID
	var took []int64
	_, err = pgx.ForEachRow(rows, []any{&key, &took}, func() error {
		ids, reasons = append(ids, breaks[key.Bytes]), append(reasons, "nothing of it waits any more: "+named(took))
		return nil
	})
	if err != nil || len(ids) == 0 {
		return wrapped("look for what was placed", err)
	}
	_, err = r.cfg.Pool.Exec(ctx, closePlaced, ids, reasons)
	return wrapped("close the breaks of what was placed", err)
}

// suspended are open breaks by the key of the item that their line was booked as.
func (r *Recon) suspended(ctx context.Context) (breaks map[pay.Key]int64, keys []pgtype.UUID, err error) {
	rows, err := r.cfg.Pool.Query(ctx, selectSuspended, r.looked, stray, placedMax)
	if err != nil {
		return nil, nil, fmt.Errorf("read the breaks of what waits: %w", err)
	}
	breaks = make(map[pay.Key]int64)
	var id int64
	var name channel.Name
	var line string
	n := 0
	_, err = pgx.ForEachRow(rows, []any{&id, &name, &line}, func() error {
		k := strayKey(name, line)
		breaks[k], r.looked = id, id
		keys = append(keys, pgtype.UUID{Bytes: k, Valid: true})
		n++
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read the breaks of what waits: %w", err)
	}
	if n < placedMax {
		r.looked = 0 // from the start again
	}
	return breaks, keys, nil
}

// strayKey is the key of the item that a line was booked as.
func strayKey(name channel.Name, line string) pay.Key {
	return pay.EventKey(suspenseTenant, string(name), pay.Inbound, line)
}

// named lists the payments that took it.
func named(took []int64) string {
	names := make([]string, 0, namedMax)
	for _, id := range took[:min(len(took), namedMax)] {
		names = append(names, pay.ID(id).String())
	}
	if more := len(took) - namedMax; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}

func wrapped(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
