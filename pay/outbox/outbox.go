// Package outbox takes committed events out of the ledger: it reads the log of
// transitions by id, and fans what is new out to those who wait on this node. It
// keeps no copy: the log is the outbox (docs/adr/0005). It refuses to skip: a
// reader by id misses nothing, because ids are given out by a single decider and
// committed in their order, and a subscriber who is too slow is cut off rather
// than told less.
package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/moneta-pay/moneta/event"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
)

const (
	// PageMax bounds one page of events.
	PageMax = 100
	// window bounds how many transitions one page looks through, so that a filter
	// that nothing matches costs what one costs that matches.
	window = 10_000
	// historyMax bounds the events of one payment; the timeline shows as many.
	historyMax = 500
)

// Log reads committed events. It reads the primary: a replica could be behind a
// cursor that it gave out itself.
type Log struct {
	pool  *pgxpool.Pool
	ahead func(ctx context.Context, cursor int64) error
}

// NewLog reads through pool, which the caller keeps owning. Ahead returns an error
// for a cursor that is not in the log; nil believes every cursor.
func NewLog(pool *pgxpool.Pool, ahead func(ctx context.Context, cursor int64) error) *Log {
	if ahead == nil {
		ahead = func(context.Context, int64) error { return nil }
	}
	return &Log{pool: pool, ahead: ahead}
}

// Query asks for a page of a tenant's events.
type Query struct {
	Tenant pay.TenantID
	// After is the last event already known; zero begins at the first there is.
	After event.ID
	// Types wanted; none wants all.
	Types []string
	// Limit is at most PageMax, which zero means too.
	Limit int
}

// Page is a part of the log, oldest first.
type Page struct {
	Events []event.Event
	// Next is the After of the next page. It moves even when no event matched.
	Next event.ID
	// More is true when the log goes on.
	More bool
}

const columns = `t.id, t.payment, t.seq, t.transition, t.from_state, t.to_state, t.settlement, t.attempt, coalesce(t.source, ''), coalesce(t.reason, ''), t.at,
       p.tenant, p.kind, p.asset, p.amount::text, coalesce(p.from_account, 0), coalesce(p.to_account, 0), coalesce(p.channel, ''), coalesce(p.original, 0), p.trace_id
  from transitions t join payments p on p.id = t.payment`

// List returns a page of the tenant's events. A type that no payment can have, and
// a cursor that is not in the log, are fault.MalformedRequest: an event that the
// reader has seen was lost when the database failed over, and to read on would
// hide it.
func (l *Log) List(ctx context.Context, q Query) (Page, error) {
	const op = "outbox.Log.List"
	w, err := conditions(q.Types)
	if err != nil {
		return Page{}, err
	}
	if q.Limit <= 0 || q.Limit > PageMax {
		q.Limit = PageMax
	}
	if q.After != 0 {
		if err := l.known(ctx, q.After); err != nil {
			return Page{}, err
		}
	}
	// A restore and a failover leave ids out: the window begins at the next event
	// there is, and ends at one, since its end is a cursor.
	var first, end, newest int64
	err = l.pool.QueryRow(ctx, `select f.id, coalesce((select id from transitions where id <= f.id + $2 - 1 order by id desc limit 1), 0),
		coalesce((select id from transitions order by id desc limit 1), 0)
		from (select coalesce((select id from transitions where id > $1 order by id limit 1), 0) as id) f`, int64(q.After), window).
		Scan(&first, &end, &newest)
	if err != nil {
		return Page{}, readFault(op, err)
	}
	page := Page{Next: q.After}
	if first == 0 {
		return page, nil
	}
	rows, err := l.pool.Query(ctx, `select `+columns+` where t.id between $1 and $2 and p.tenant = $3 and (not $4::boolean or
		(t.from_state <> t.to_state and t.to_state = any($5::smallint[])) or (t.from_state = t.to_state and
		case when t.transition = any($6::smallint[]) then $7::boolean else $8::boolean end)) order by t.id limit $9`,
		first, end, int32(q.Tenant), w.some, w.entered, settling, w.settled, w.updated, q.Limit+1)
	if err != nil {
		return Page{}, readFault(op, err)
	}
	if page.Events, err = pgx.CollectRows(rows, scan); err != nil {
		return Page{}, readFault(op, err)
	}
	page.Next, page.More = event.ID(end), end < newest
	if len(page.Events) > q.Limit {
		page.Events = page.Events[:q.Limit]
		page.Next, page.More = page.Events[q.Limit-1].ID, true
	}
	return page, nil
}

// known reports that a reader's cursor is not in the log.
func (l *Log) known(ctx context.Context, cursor event.ID) error {
	err := l.ahead(ctx, int64(cursor))
	if errors.Is(err, ErrBeyond) {
		return fault.New(fault.MalformedRequest, "the cursor is not in the log: what was read up to it may be lost; compare your payments with ours and read on from an earlier event").
			WithParam("after").WithCause(err)
	}
	if err != nil {
		return readFault("outbox.Log.List", err)
	}
	return nil
}

// ErrBeyond is what ahead of NewLog wraps for a cursor that is not in the log.
var ErrBeyond = errors.New("outbox: the cursor is beyond the log")

// Of returns the events of one payment after an id, oldest first.
func (l *Log) Of(ctx context.Context, tenant pay.TenantID, id pay.ID, after event.ID) ([]event.Event, error) {
	rows, err := l.pool.Query(ctx, `select `+columns+` where t.payment = $1 and t.id > $2 and p.tenant = $3 order by t.seq limit $4`,
		int64(id), int64(after), int32(tenant), historyMax)
	if err != nil {
		return nil, readFault("outbox.Log.Of", err)
	}
	list, err := pgx.CollectRows(rows, scan)
	if err != nil {
		return nil, readFault("outbox.Log.Of", err)
	}
	return list, nil
}

// ByID returns those of the events that exist, whoever's they are: for this
// process, never for a caller.
func (l *Log) ByID(ctx context.Context, ids []event.ID) ([]event.Event, error) {
	rows, err := l.pool.Query(ctx, `select `+columns+` where t.id = any($1) order by t.id`, ids)
	if err != nil {
		return nil, readFault("outbox.Log.ByID", err)
	}
	list, err := pgx.CollectRows(rows, scan)
	if err != nil {
		return nil, readFault("outbox.Log.ByID", err)
	}
	return list, nil
}

// tail returns the next events of all tenants after an id.
func (l *Log) tail(ctx context.Context, after event.ID, limit int) ([]event.Event, error) {
	rows, err := l.pool.Query(ctx, `select `+columns+` where t.id > $1 order by t.id limit $2`, int64(after), limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scan)
}

func (l *Log) newest(ctx context.Context) (id event.ID, err error) {
	err = l.pool.QueryRow(ctx, `select coalesce(max(id), 0) from transitions`).Scan(&id)
	return id, err
}

// settling are the rows of the state table that match a statement: T12, T15.
var settling = []int16{12, 15}

func scan(row pgx.CollectableRow) (event.Event, error) {
	var e event.Event
	var payment, original pay.ID
	var from, to pay.AccountID
	var kind pay.Kind
	var transition int16
	var before, after pay.State
	var settlement pay.Settlement
	var trace pgtype.UUID
	d := &e.Payment
	err := row.Scan(&e.ID, &payment, &d.Version, &transition, &before, &after, &settlement, &d.Attempt, &d.Source, &d.Reason, &e.Time,
		&e.Tenant, &kind, &d.Asset, &d.Amount, &from, &to, &d.Channel, &original, &trace)
	if err != nil {
		return e, err
	}
	e.Time, e.TraceID = e.Time.UTC(), trace.Bytes
	e.Type = typeOf(transition, before, after)
	d.Object, d.ID, d.Kind, d.Transition = "payment", payment.String(), kind.String(), fmt.Sprintf("T%d", transition)
	d.State, d.Status, d.Final, d.Settlement = after.String(), after.Status(), after.Final(), settlement.String()
	if before != pay.None {
		d.FromState = before.String()
	}
	if from != 0 {
		d.From = from.String()
	}
	if to != 0 {
		d.To = to.String()
	}
	if original != 0 {
		d.Original = original.String()
	}
	return e, nil
}

func typeOf(transition int16, before, after pay.State) string {
	switch {
	case before != after && after.Final():
		return event.PaymentFinal
	case before != after:
		return event.Entered(after.String())
	case transition == settling[0] || transition == settling[1]:
		return event.PaymentSettled
	}
	return event.PaymentUpdated
}

// wanted is a filter by types in the log's own terms.
type wanted struct {
	some             bool // any filter at all
	entered          []int16
	settled, updated bool
}

// conditions turns names of types into what the log stores.
func conditions(types []string) (wanted, error) {
	w := wanted{some: len(types) > 0}
	for _, name := range types {
		switch name {
		case event.PaymentSettled:
			w.settled = true
		case event.PaymentUpdated:
			w.updated = true
		default:
			before := len(w.entered)
			for _, s := range pay.States() {
				if typeOf(0, pay.None, s) == name {
					w.entered = append(w.entered, int16(s))
				}
			}
			if len(w.entered) == before {
				return w, fault.New(fault.MalformedRequest, "there is no event of this type").WithParam("type")
			}
		}
	}
	return w, nil
}

// readFault gives a failed read its code. Reads move nothing.
func readFault(op string, err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return fault.New(fault.Timeout, "").WithOp(op).WithMoneyState(fault.NotMoved).WithCause(err)
	}
	return fault.New(fault.DatabaseUnavailable, "").WithOp(op).WithCause(err)
}

// tick is how often the tail is read while somebody waits and nobody has said that
// there is something new: on nodes that do not lead, and for payments that are
// final when they are accepted.
const tick = 100 * time.Millisecond
