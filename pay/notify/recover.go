package notify

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
)

// Bounds of telling once more.
const (
	// recoverMost is how many messages that were given up one call takes up again.
	recoverMost = 10_000
	// recoverBack is how far back it goes: older deliveries are being deleted, and what
	// was told would be told again.
	recoverBack = (keepDays - 1) * 24 * time.Hour
	// countMost is how many events of the log a look goes through.
	countMost = 200_000
	// apart is by how much the decider's clock and the database's may differ: what became
	// final within it of an endpoint's making may have been before it.
	apart = time.Minute
)

// Recovery says what is to be told once more.
type Recovery struct {
	// Endpoint is the only one, Tenant whose it must be; zero is any.
	Endpoint EndpointID
	Tenant   pay.TenantID
	// Since is from when on; at most 29 days back.
	Since time.Time
	// Again takes up what was given up and what waits, and enables an endpoint that was
	// disabled and is named; without it only what the log has and no row has is queued.
	Again bool
	// Dry only counts.
	Dry bool
}

// Recovered is what came, or would come, of it.
type Recovered struct {
	Endpoints int
	// GivenUp were taken up again; More says that there are more than one call takes.
	GivenUp int
	More    bool
	// Waiting were due later, and are due now.
	Waiting int
	// Missing are in the log and have no row: they are queued from there, by and by. Cut
	// says that only the newest events were looked at for the count.
	Missing int
	Cut     bool
	Enabled []EndpointID
}

// TellAgain queues again what endpoints were not told, under the same webhook-ids. What a
// row says was delivered stays. It is one transaction an endpoint: a crash leaves the
// rest as it was, and twice is once.
func (s *Endpoints) TellAgain(ctx context.Context, r Recovery) (out Recovered, err error) {
	const op = "notify.Endpoints.TellAgain"
	var ids []EndpointID
	rows, err := s.pool.Query(ctx, `select id from webhook_endpoints where state <> $1 and ($2 = 0 or id = $2) and ($3 = 0 or tenant = $3) and (state = $4 or $2 <> 0) order by id`,
		deleted, r.Endpoint, r.Tenant, Active)
	if err == nil {
		ids, err = pgx.CollectRows(rows, pgx.RowTo[EndpointID])
	}
	if err != nil {
		return out, dbFault(op, err)
	}
	if len(ids) == 0 && r.Endpoint != 0 {
		return out, fault.New(fault.NotFound, "").WithOp(op)
	}
	for _, id := range ids {
		if err := s.locked(ctx, op, func(tx pgx.Tx) error { return recoverOne(ctx, tx, id, &r, &out) }); err != nil {
			return out, err
		}
	}
	return out, nil
}

func recoverOne(ctx context.Context, tx pgx.Tx, id EndpointID, r *Recovery, out *Recovered) error {
	var state EndpointState
	var from, cursor int64
	var since time.Time
	err := tx.QueryRow(ctx, `with e as (select state, greatest($2::timestamptz, created_at + $3::interval, now() - $4::interval) as since from webhook_endpoints where id = $1)
  select e.state, e.since, facts.transitions_since(e.since) - 1, (select position from webhook_cursor) from e`, id, r.Since.UTC(), apart, recoverBack).Scan(&state, &since, &from, &cursor)
	if err != nil {
		return err
	}
	if state == deleted || state == Disabled && !r.Again {
		return nil
	}
	out.Endpoints++
	if r.Dry {
		return countMissing(ctx, tx, id, from, cursor, r, out)
	}
	if r.Again {
		if err := again(ctx, tx, id, state, since, out); err != nil {
			return err
		}
	}
	// The planner goes through the log from there, and adds what has no row.
	_, err = tx.Exec(ctx, `update webhook_endpoints set behind = least(coalesce(behind, $2::bigint), $3::bigint) where id = $1 and $3::bigint < $2::bigint`, id, cursor, from)
	return err
}

// again takes up what was given up and what waits.
func again(ctx context.Context, tx pgx.Tx, id EndpointID, state EndpointState, since time.Time, out *Recovered) error {
	if state == Disabled {
		if err := follow(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `update webhook_endpoints set state = $2, state_reason = '', failing_since = null, changed_at = now() where id = $1`, id, Active); err != nil {
			return err
		}
		out.Enabled = append(out.Enabled, id)
	}
	tag, err := tx.Exec(ctx, `update webhook_deliveries set state = $3, tries = 0, next_at = now() where id = any(array(
    select id from webhook_deliveries where endpoint = $1 and state = $4 and created_at >= $2 order by created_at limit $5))`, id, since, Pending, GivenUp, recoverMost)
	if err != nil {
		return err
	}
	out.GivenUp += int(tag.RowsAffected())
	out.More = out.More || tag.RowsAffected() == recoverMost
	if tag, err = tx.Exec(ctx, `update webhook_deliveries set next_at = now() where endpoint = $1 and state = $2 and next_at > now()`, id, Pending); err != nil {
		return err
	}
	out.Waiting += int(tag.RowsAffected())
	return nil
}

// countMissing counts without changing anything.
func countMissing(ctx context.Context, tx pgx.Tx, id EndpointID, from, cursor int64, r *Recovery, out *Recovered) error {
	if from < cursor-countMost {
		from, out.Cut = cursor-countMost, true
	}
	var missing, given, waiting int
	err := tx.QueryRow(ctx, `select
    (select count(*) from transitions t join payments p on p.id = t.payment join webhook_endpoints e on e.tenant = p.tenant and e.id = $1
      where t.id > $2 and t.id <= $3 and t.from_state <> t.to_state and t.to_state = any($4) and not exists (select from webhook_deliveries d where d.endpoint = $1 and d.event = t.id)),
    (select count(*) from (select from webhook_deliveries where endpoint = $1 and state = $5 and created_at >= $6 limit $7) g),
    (select count(*) from (select from webhook_deliveries where endpoint = $1 and state = $8 and next_at > now() limit $7) w)`,
		id, from, cursor, finals, GivenUp, r.Since, recoverMost, Pending).Scan(&missing, &given, &waiting)
	if err != nil {
		return err
	}
	out.Missing += missing
	if r.Again {
		out.GivenUp, out.Waiting, out.More = out.GivenUp+given, out.Waiting+waiting, out.More || given == recoverMost
	}
	return nil
}
