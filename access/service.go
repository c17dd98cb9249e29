package access

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/moneta-pay/moneta/fault"
)

// KindCompensateBreak is what a service proposes, and all that it does: money of ours for
// what an open break owes to a holder. The guards in the schema know the kind by this name.
const KindCompensateBreak = "compensate_break"

const (
	serviceHead  = "doctor."
	oneABreak    = "approvals_one_a_break"
	memberBreak  = "break"
	uniqueBroken = "23505"

	serviceStands = 4 * time.Hour
)

// ServiceName names the operator as which the doctor proposes in a tenant. Nobody can sign
// in as it. A tenant that wants none of its proposals disables it, like a person.
func ServiceName(tenant int32) string { return serviceHead + strconv.Itoa(int(tenant)) }

// Standing is the proposal about a break that forbids another one: it waits, is approved
// or was carried out, or people have said no to it. What the ledger has was carried out,
// whatever the approval says. found is false when there is none.
func (a *Approvals) Standing(ctx context.Context, tenant int32, breakID int64) (v Approval, found bool, err error) {
	rows, err := a.pool.Query(ctx, `select `+approvalColumns+` from approvals a
		where a.kind = $1 and a.tenant = $2 and a.parameters::jsonb ->> 'break' = $3
		and (a.state in ('rejected', 'withdrawn') or a.state = 'used' and a.outcome is distinct from 'refused' or carried_out(a.id)
		  or a.state in ('proposed', 'approved') and a.expires_at > clock_timestamp()) order by a.seq desc limit 1`,
		KindCompensateBreak, tenant, strconv.FormatInt(breakID, 10))
	if err != nil {
		return v, false, dbFault("access.Standing", err)
	}
	v, err = pgx.CollectExactlyOneRow(rows, a.scan)
	if errors.Is(err, pgx.ErrNoRows) {
		return v, false, nil
	}
	return v, err == nil, faultOf("access.Standing", err)
}

// Promised refuses what another approval pays for already, or has paid: where this is a
// service's, one of people, and the other way round. The database asks once more, when an
// approval is made and when it is used.
func (a *Approvals) Promised(ctx context.Context, tenant int32, kind string, p Parameters) error {
	var other *ApprovalID
	if err := a.pool.QueryRow(ctx, `select rival($1, $2, $3)`, tenant, kind, p.Canonical()).Scan(&other); err != nil {
		return dbFault("access.Promised", err)
	}
	if other != nil {
		return fault.New(fault.IllegalTransition, "the approval "+other.String()+" makes up for the same, or has: nobody is to be paid twice").WithResource(other.String())
	}
	return nil
}

// ProposeAsService keeps a proposal of the machine, for four hours: what bears it out was
// true when it was made. Another
// one about the same break is answered with the one that stands: however often the doctor
// asks, and on however many nodes, there is one. Two people agree on it, or nothing
// happens.
func (a *Approvals) ProposeAsService(ctx context.Context, tenant int32, p Proposal) (v Approval, replayed bool, err error) {
	const op = "access.ProposeAsService"
	who := &Principal{Tenant: tenant, Operator: ServiceName(tenant), Role: Service, Method: None}
	breakID, err := strconv.ParseInt(p.Parameters[memberBreak], 10, 64)
	if err != nil {
		return v, false, fault.New(fault.MalformedRequest, "a break's id is a number").WithParam("/parameters/break").WithCause(err)
	}
	if v, replayed, err = a.Standing(ctx, tenant, breakID); err != nil || replayed {
		return v, replayed, err
	}
	err = pgx.BeginFunc(ctx, a.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `insert into operators (name, tenant, role, created_by) values ($1, $2, $3, $4) on conflict do nothing`,
			who.Operator, tenant, Service, Local)
		if err == nil && tag.RowsAffected() > 0 {
			err = record(ctx, tx, Local, tenant, "add-operator", who.Operator)
		}
		if err != nil {
			return err
		}
		var disabled, person bool
		if err := tx.QueryRow(ctx, `select disabled_at is not null, role <> $2 or tenant <> $3 from operators where name = $1`,
			who.Operator, Service, tenant).Scan(&disabled, &person); err != nil {
			return err
		}
		if person {
			return fault.New(fault.Forbidden, "a person has the name "+who.Operator+", which is the doctor's: it proposes nothing here").WithOp(op)
		}
		if disabled {
			return fault.New(fault.Forbidden, "the operator "+who.Operator+" is disabled: the doctor proposes nothing here").WithOp(op)
		}
		// What is over makes room at once, and not with the next round of Tidy.
		_, err = tx.Exec(ctx, `update approvals set state = 'expired' where kind = $1 and tenant = $2 and parameters::jsonb ->> 'break' = $3
			and state in ('proposed', 'approved') and expires_at <= clock_timestamp()`, KindCompensateBreak, tenant, p.Parameters[memberBreak])
		return err
	})
	if err != nil {
		return v, false, faultOf(op, err)
	}
	if p.ExpiresAt.IsZero() {
		now, err := a.databaseTime(ctx)
		if err != nil {
			return v, false, faultOf(op, err)
		}
		p.ExpiresAt = now.Add(serviceStands)
	}
	v, err = a.propose(ctx, who, p)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == uniqueBroken && pg.ConstraintName == oneABreak {
		return a.Standing(ctx, tenant, breakID)
	}
	return v, false, err
}
