package board

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/lever"
)

const columns = `p.lever_id, p.lever, p.aim, p.value, p.value_zh, p.owner, p.reason, p.by, p.via, p.at, p.expires_at,
  u.at, coalesce(u.by, ''), coalesce(u.reason, '')`

const from = ` from lever_changes p left join lever_changes u on u.lever_id = p.lever_id and u.change = 'undo' where p.change = 'pull'`

// readMax bounds one reading. Undone ones count too until their end: the files must
// learn of the undo.
const readMax = 1000

func (b *Board) selectHolding(ctx context.Context) ([]lever.Pull, error) {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	// An hour earlier than this node's clock: what it takes for ended may hold by the
	// clock of the one who reads the result.
	return b.query(ctx, `select `+columns+from+` and p.expires_at > $1 order by p.id desc limit $2`, b.cfg.Clock.Now().Add(-time.Hour), readMax)
}

func (b *Board) query(ctx context.Context, sql string, args ...any) ([]lever.Pull, error) {
	rows, err := b.cfg.Pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scan)
}

func scan(row pgx.CollectableRow) (lever.Pull, error) {
	var p lever.Pull
	var id pgtype.UUID
	var aim string
	var undone *time.Time
	err := row.Scan(&id, &p.Lever, &aim, &p.Value, &p.ValueZH, &p.Owner, &p.Reason, &p.By, &p.Via, &p.At, &p.Expires,
		&undone, &p.UndoneBy, &p.UndoReason)
	if err != nil {
		return p, err
	}
	p.ID, p.At, p.Expires = lever.ID(id.Bytes), p.At.UTC(), p.Expires.UTC()
	if undone != nil {
		p.UndoneAt = undone.UTC()
	}
	// An aim that this binary does not know is that of a newer one: the pull fails Check
	// and holds nothing here, and the others are still read.
	p.Aim, _ = lever.ParseAim(aim)
	return p, nil
}

func uuidOf(id lever.ID) pgtype.UUID { return pgtype.UUID{Bytes: id, Valid: true} }

// Pull checks and keeps a pull, and makes it effective here at once; the other nodes
// see it at their next look. A refusal is fault.MalformedRequest; nothing holds then.
func (b *Board) Pull(ctx context.Context, p lever.Pull) (lever.Pull, error) {
	const op = "board.Pull"
	p.ID, p.Via, p.At = lever.NewID(), lever.ViaAPI, b.cfg.Clock.Now().UTC().Truncate(time.Microsecond)
	p.Expires = p.Expires.UTC().Truncate(time.Microsecond)
	if err := Refused(p.Check()); err != nil {
		return p, err
	}
	if err := b.target(ctx, &p); err != nil {
		return p, err
	}
	if len(b.Standing().At(p.At)) >= lever.HoldingMax {
		return p, fault.New(fault.MalformedRequest, strconv.Itoa(lever.HoldingMax)+" levers hold already; undo some").WithOp(op)
	}
	if err := pgx.BeginFunc(ctx, b.cfg.Pool, func(tx pgx.Tx) error { return insertPull(ctx, tx, &p) }); err != nil {
		return p, faultOf(op, err)
	}
	return p, b.again(ctx, op)
}

// target refuses a tenant or a key that is not there: the lever would hold nobody.
func (b *Board) target(ctx context.Context, p *lever.Pull) error {
	var sql string
	switch p.Aim.By { //nolint:exhaustive // the others are not of the database
	case lever.Tenant:
		sql = `select exists (select from tenants where id::text = $1)`
	case lever.Key:
		sql = `select exists (select from api_keys where prefix = $1 and revoked_at is null)`
	default:
		return nil
	}
	var there bool
	if err := b.cfg.Pool.QueryRow(ctx, sql, p.Aim.Of).Scan(&there); err != nil {
		return faultOf("board.target", err)
	}
	if !there {
		return fault.New(fault.MalformedRequest, "there is no such "+string(p.Aim.By)).WithParam("/aim")
	}
	return nil
}

const insertedPull = `insert into lever_changes (lever_id, change, lever, aim, value, value_zh, owner, reason, by, via, at, expires_at)
  values ($1, 'pull', $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) on conflict (lever_id, change) do nothing`

func insertPull(ctx context.Context, tx pgx.Tx, p *lever.Pull) error {
	tag, err := tx.Exec(ctx, insertedPull, uuidOf(p.ID), p.Lever, p.Aim.String(), p.Value, p.ValueZH, p.Owner, p.Reason, p.By, p.Via, p.At, p.Expires)
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	return deed(ctx, tx, p.By, "pull-lever", p.ID.String()+" "+string(p.Lever)+" "+p.Aim.String())
}

// Undo ends a pull, for good. One that was undone before stays as it is; one that
// nobody pulled is fault.NotFound.
func (b *Board) Undo(ctx context.Context, id lever.ID, by, reason string) (lever.Pull, error) {
	const op = "board.Undo"
	p, err := b.One(ctx, id)
	if err != nil {
		return p, err
	}
	u := lever.Undo{ID: id, By: by, Via: lever.ViaAPI, Reason: reason, At: b.cfg.Clock.Now().UTC().Truncate(time.Microsecond)}
	if err := pgx.BeginFunc(ctx, b.cfg.Pool, func(tx pgx.Tx) error { return insertUndo(ctx, tx, &u) }); err != nil {
		return p, faultOf(op, err)
	}
	if err := b.again(ctx, op); err != nil {
		return p, err
	}
	return b.One(ctx, id)
}

func insertUndo(ctx context.Context, tx pgx.Tx, u *lever.Undo) error {
	tag, err := tx.Exec(ctx, `insert into lever_changes (lever_id, change, reason, by, via, at) values ($1, 'undo', $2, $3, $4, $5)
		on conflict (lever_id, change) do nothing`, uuidOf(u.ID), u.Reason, u.By, u.Via, u.At)
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	return deed(ctx, tx, u.By, "undo-lever", u.ID.String())
}

// deed keeps what was done in the record of what people do, whoever did it; it is
// about the whole installation and stands with the tenant that runs it.
func deed(ctx context.Context, tx pgx.Tx, by, action, subject string) error {
	_, err := tx.Exec(ctx, `with b as (insert into operator_actions (operator, tenant, action, subject)
		select $1, coalesce(min(id), 0), $2, $3 from tenants where installation returning id, tenant)
		insert into operator_actions (began, operator, tenant, action, subject, status) select id, $1, tenant, $2, $3, 200 from b`, by, action, subject)
	return err
}

// again looks at once, so that whoever pulled finds it effective where he asked.
func (b *Board) again(ctx context.Context, op string) error {
	if err := b.lookAtTable(ctx); err != nil {
		return faultOf(op, err)
	}
	return nil
}

// One returns a pull, whether it holds or not; fault.NotFound when there is none.
func (b *Board) One(ctx context.Context, id lever.ID) (lever.Pull, error) {
	found, err := b.query(ctx, `select `+columns+from+` and p.lever_id = $1`, uuidOf(id))
	if err != nil {
		return lever.Pull{}, faultOf("board.One", err)
	}
	if len(found) == 0 {
		return lever.Pull{}, fault.New(fault.NotFound, "no lever was pulled under this id").WithOp("board.One")
	}
	return found[0], nil
}

// History returns what was pulled, the newest first, at most limit; before is the id
// of the last one seen, or zero.
func (b *Board) History(ctx context.Context, before lever.ID, limit int) ([]lever.Pull, error) {
	found, err := b.query(ctx, `select `+columns+from+` and ($1::uuid = '00000000-0000-0000-0000-000000000000'
		or p.id < (select id from lever_changes where lever_id = $1 and change = 'pull')) order by p.id desc limit $2`, uuidOf(before), limit)
	if err != nil {
		return nil, faultOf("board.History", err)
	}
	return found, nil
}

// selectOpen counts the open payments that no byte was sent of, or that would be
// refused as new ones and are not there yet: those that wait with us.
const selectOpen = `select count(*) from open_payments
  where ($1 = '' or channel = $1) and ($2 = 0 or tenant = $2) and ($3 = '' or facts.kind_name(kind) = $3) and (not $4 or hop = 'dispatch')`

// selectRate counts the payments that were accepted in the last minute.
const selectRate = `select count(*) from transitions t join payments p on p.id = t.payment
  where t.id >= facts.transitions_since(now() - interval '1 minute') and t.from_state = 0 and t.to_state <> 0
    and ($1 = '' or p.channel = $1) and ($2 = 0 or p.tenant = $2) and ($3 = '' or facts.kind_name(p.kind) = $3)`

// Radius counts what the lever would hold back now: open payments for what concerns
// sending, payments a minute for what concerns accepting.
func (b *Board) Radius(ctx context.Context, p *lever.Pull) (r lever.Radius, err error) {
	const op = "board.Radius"
	if err := b.target(ctx, p); err != nil {
		return r, err
	}
	var channel, kind string
	var tenant int
	switch p.Aim.By {
	case lever.Channel:
		channel = p.Aim.Of
	case lever.Kind:
		kind = p.Aim.Of
	case lever.Tenant:
		if tenant, err = strconv.Atoi(p.Aim.Of); err != nil {
			return r, fault.New(fault.MalformedRequest, "a tenant is named by its number").WithOp(op)
		}
	case lever.Key, lever.Route, lever.Account:
		return r, nil // nobody counts requests by these
	case lever.Everything:
	}
	count := func(sql string, args ...any) *int64 {
		var n int64
		if err == nil {
			err = b.cfg.Pool.QueryRow(ctx, sql, args...).Scan(&n)
		}
		return &n
	}
	switch p.Lever {
	case lever.PauseDispatch, lever.Breaker, lever.Bulkhead, lever.ReadOnly, lever.SafeMode:
		r.Open = count(selectOpen, channel, tenant, kind, true)
	case lever.Banner:
		r.Open = count(selectOpen, channel, tenant, kind, false)
	case lever.Limit, lever.PauseIntake:
	}
	if p.Lever != lever.Banner {
		r.PerMinute = count(selectRate, channel, tenant, kind)
	}
	if err != nil {
		return lever.Radius{}, faultOf(op, err)
	}
	return r, nil
}

// Refused turns a *lever.Refusal into the fault that callers see; nil stays nil.
func Refused(err error) error {
	var r *lever.Refusal
	if errors.As(err, &r) {
		return fault.New(fault.MalformedRequest, r.Detail).WithParam("/" + r.Param)
	}
	return err
}

func faultOf(op string, err error) error {
	var f *fault.Error
	switch {
	case errors.As(err, &f):
		return err
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return fault.New(fault.Timeout, "it is not known whether it was kept; list the levers").WithOp(op).WithMoneyState(fault.NotMoved).WithCause(err)
	}
	return fault.New(fault.DatabaseUnavailable, "the lever was not kept; `moneta lever pull --local` on a node's machine needs no database").WithOp(op).WithCause(err)
}
