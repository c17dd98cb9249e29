package desk

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
)

// ListMax bounds one page of cases.
const ListMax = 200

const selectCase = `select id, tenant, coalesce(payment, 0), kind, state, owner, finding, opened_at, deadline,
       escalated_at, answered_at, closed_at, coalesce(closed_by, ''), coalesce(resolution, '') from cases`

func readCase(row pgx.CollectableRow) (c Case, err error) {
	var finding []byte
	var escalatedAt, answeredAt, closedAt *time.Time
	err = row.Scan(&c.Number.ID, &c.Tenant, &c.Payment, &c.Kind, &c.State, &c.Owner, &finding, &c.OpenedAt, &c.Deadline,
		&escalatedAt, &answeredAt, &closedAt, &c.ClosedBy, &c.Resolution)
	if err != nil {
		return c, err
	}
	c.OpenedAt, c.Deadline = c.OpenedAt.UTC(), c.Deadline.UTC()
	c.EscalatedAt, c.AnsweredAt, c.ClosedAt = utc(escalatedAt), utc(answeredAt), utc(closedAt)
	c.Number.Year = c.OpenedAt.Year()
	return c, json.Unmarshal(finding, &c.Finding)
}

func utc(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

// read returns a case with its notes.
func (d *Desk) read(ctx context.Context, id int64) (Case, error) {
	return readOne(ctx, d.cfg.Pool, id)
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func readOne(ctx context.Context, q querier, id int64) (Case, error) {
	rows, err := q.Query(ctx, selectCase+` where id = $1`, id)
	if err != nil {
		return Case{}, err
	}
	c, err := pgx.CollectExactlyOneRow(rows, readCase)
	if err != nil {
		return Case{}, err
	}
	rows, err = q.Query(ctx, `select at, "by", action, text, to_holder, url, sha256 from case_notes where case_id = $1 order by id`, id)
	if err != nil {
		return Case{}, err
	}
	c.Notes, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (n Note, err error) {
		var sum []byte
		err = row.Scan(&n.At, &n.By, &n.Action, &n.Text, &n.ToHolder, &n.URL, &sum)
		n.At, n.SHA256 = n.At.UTC(), hex.EncodeToString(sum)
		return n, err
	})
	return c, err
}

// Reach is whose cases somebody may see and act on.
type Reach struct {
	Tenant pay.TenantID
	// Unclaimed adds those that nobody knows the tenant of.
	Unclaimed bool
}

func (r Reach) has(c *Case) bool { return c.Tenant == r.Tenant || (r.Unclaimed && c.Tenant == 0) }

// Get returns a case with its notes, or fault.NotFound, also for one out of reach.
func (d *Desk) Get(ctx context.Context, r Reach, n Number) (Case, error) {
	const op = "desk.Get"
	c, err := d.read(ctx, n.ID)
	if errors.Is(err, pgx.ErrNoRows) || (err == nil && (c.Number.Year != n.Year || !r.has(&c))) {
		return Case{}, noCase(n).WithOp(op)
	}
	return c, storeFault(op, err)
}

func noCase(n Number) *fault.Error {
	return fault.New(fault.NotFound, "no case has this number; check it for a slip").WithResource(n.String())
}

// OfPayment returns the case that its holder should be told of: an open appeal
// first, else the open case that is due first. False if nobody is at it.
func (d *Desk) OfPayment(ctx context.Context, id pay.ID) (Case, bool, error) {
	rows, err := d.cfg.Pool.Query(ctx, selectCase+` where payment = $1 and state = 'open' order by kind <> 'appeal', deadline, id limit 1`, int64(id))
	if err != nil {
		return Case{}, false, storeFault("desk.OfPayment", err)
	}
	c, err := pgx.CollectExactlyOneRow(rows, readCase)
	if errors.Is(err, pgx.ErrNoRows) {
		return Case{}, false, nil
	}
	return c, err == nil, storeFault("desk.OfPayment", err)
}

// Filter narrows a list; zero fields, but for Reach, match everything.
type Filter struct {
	Reach
	State   string
	Kind    Kind
	Owner   string
	Payment pay.ID
	// Overdue: only open ones past their deadline.
	Overdue bool
	After   Cursor
	// Limit is at most ListMax, which zero means too.
	Limit int
}

// Cursor is where a page begins: after this deadline and id.
type Cursor struct {
	Deadline time.Time
	ID       int64
}

// Page is one page of cases, what is due first comes first; without notes.
type Page struct {
	Cases []Case
	// Next is where the next page begins; its ID is zero at the end.
	Next Cursor
}

// List pages through the cases within reach, by deadline.
func (d *Desk) List(ctx context.Context, f Filter) (Page, error) {
	limit := f.Limit
	if limit <= 0 || limit > ListMax {
		limit = ListMax
	}
	if f.Overdue {
		f.State = Open
	}
	sql := selectCase + ` where ($1 = '' or state = $1) and ($2 = '' or kind = $2) and ($3 = '' or owner = $3) and ($4::bigint = 0 or payment = $4)
		and (not $5 or deadline < $6) and (deadline, id) > ($7, $8) and (tenant = $10 or ($11 and tenant = 0))`
	if f.State == Open || f.State == Answered {
		sql += ` and state <> 'closed'` // for the index of what is due
	}
	if f.Payment != 0 {
		sql += ` and payment = $4`
	}
	rows, err := d.cfg.Pool.Query(ctx, sql+` order by deadline, id limit $9`,
		f.State, string(f.Kind), f.Owner, int64(f.Payment), f.Overdue, d.now(), f.After.Deadline, f.After.ID, limit+1, int32(f.Tenant), f.Unclaimed)
	if err != nil {
		return Page{}, storeFault("desk.List", err)
	}
	found, err := pgx.CollectRows(rows, readCase)
	if err != nil {
		return Page{}, storeFault("desk.List", err)
	}
	if len(found) <= limit {
		return Page{Cases: found}, nil
	}
	last := &found[limit-1]
	return Page{Cases: found[:limit], Next: Cursor{last.Deadline, last.Number.ID}}, nil
}

// locked reads a case in tx and holds its row, so that what people do to it is in
// one order.
func locked(ctx context.Context, tx pgx.Tx, r Reach, n Number) (Case, error) {
	rows, err := tx.Query(ctx, selectCase+` where id = $1 for update`, n.ID)
	if err != nil {
		return Case{}, err
	}
	c, err := pgx.CollectExactlyOneRow(rows, readCase)
	if errors.Is(err, pgx.ErrNoRows) || (err == nil && (c.Number.Year != n.Year || !r.has(&c))) {
		return Case{}, noCase(n)
	}
	if err == nil && c.State == Closed {
		err = fault.New(fault.CaseClosed, fmt.Sprintf("%s closed it at %s", c.ClosedBy, c.ClosedAt.Format(time.RFC3339))).WithResource(n.String())
	}
	return c, err
}
