package notify

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/pay"
)

const (
	// planWindow is how much of the log one transaction looks through.
	planWindow = 5_000
	// planRounds bounds how long queueing holds up sending.
	planRounds = 20
	// keepDays is how long a delivery can be looked at and sent again. What is still
	// pending then belongs to an endpoint that has been disabled for a month.
	keepDays   = 30
	pruneBatch = 1_000
)

// queueSQL queues an event for an endpoint. The event's own row decides: a payment
// that entered its final state, and whose it is.
const queueSQL = `insert into webhook_deliveries (endpoint, event)
	select e.id, t.id from transitions t join payments p on p.id = t.payment join webhook_endpoints e on e.tenant = p.tenant
	 where t.id > $1 and t.id <= $2 and t.from_state <> t.to_state and t.to_state = any($3) and `

// plan queues what became final since the cursor. Each round is one transaction: a
// crash leaves the cursor where the last queued event is.
func (s *Sender) plan(ctx context.Context) error {
	for range planRounds {
		more, err := s.planRound(ctx)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

func (s *Sender) planRound(ctx context.Context) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, dbTimeout)
	defer cancel()
	var anybody bool
	if err := s.pool.QueryRow(ctx, `select exists (select from webhook_endpoints where state = $1)`, Active).Scan(&anybody); err != nil || !anybody {
		return false, err
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var position, newest int64
		if err := tx.QueryRow(ctx, `select position from webhook_cursor for update`).Scan(&position); err != nil {
			return err
		}
		// The log's end is read after the lock: an endpoint that was added before it is seen.
		if err := tx.QueryRow(ctx, `select coalesce(max(id), 0) from transitions`).Scan(&newest); err != nil {
			return err
		}
		end := min(newest, position+planWindow)
		if end > position {
			if _, err := tx.Exec(ctx, queueSQL+`e.state = $4 and e.behind is null order by t.id on conflict do nothing`, position, end, finals, Active); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, `update webhook_cursor set position = $1`, end); err != nil {
				return err
			}
		}
		behind, err := catchUp(ctx, tx, end)
		more = behind || end < newest
		return err
	})
	return more, err
}

// catchUp queues one window for an endpoint that was disabled or is to be told again,
// until it has everything up to the cursor and follows it again. What was given up is
// tried again; what it took, or waits, stays as it is.
func catchUp(ctx context.Context, tx pgx.Tx, cursor int64) (more bool, err error) {
	rows, err := tx.Query(ctx, `select id, behind from webhook_endpoints where state = $1 and behind is not null order by id limit 1`, Active)
	if err != nil {
		return false, err
	}
	type late struct {
		ID     EndpointID
		Behind int64
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[late])
	if err != nil || len(found) == 0 {
		return false, err
	}
	e := found[0]
	end := min(cursor, e.Behind+planWindow)
	if end > e.Behind {
		if _, err := tx.Exec(ctx, queueSQL+`e.id = $4 order by t.id on conflict (endpoint, event) do update
			set state = $5, tries = 0, next_at = now() where webhook_deliveries.state = $6`, e.Behind, end, finals, e.ID, Pending, GivenUp); err != nil {
			return false, err
		}
	}
	_, err = tx.Exec(ctx, `update webhook_endpoints set behind = nullif($2::bigint, $3::bigint) where id = $1`, e.ID, end, cursor)
	return true, err
}

// finals are the final states as the log stores them.
var finals = func() (out []int16) {
	for _, s := range pay.States() {
		if s.Final() {
			out = append(out, int16(s))
		}
	}
	return out
}()

// prune deletes what is old, oldest first, and what deleted endpoints
// left behind; a bounded part at a time.
func (s *Sender) prune(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, dbTimeout)
	defer cancel()
	_, err := s.pool.Exec(ctx, `delete from webhook_deliveries where id in (
		select id from (select id, created_at from webhook_deliveries order by id limit $1) o where created_at < now() - make_interval(days => $2)
		union all
		(select d.id from webhook_endpoints e join webhook_deliveries d on d.endpoint = e.id where e.state = $3 limit $1))`,
		pruneBatch, keepDays, deleted)
	return err
}
