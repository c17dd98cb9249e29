package access

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/moneta-pay/moneta/fault"
)

// Role is what an operator, a person, may do. Each role may what those before it
// may.
type Role string

// The roles. A viewer reads. An operator proposes, and contains: freezes,
// cancels, reconciles. An approver also judges what others have proposed. An admin
// also takes power away alone: disables operators, revokes keys.
const (
	Viewer   Role = "viewer"
	Operate  Role = "operator"
	Approver Role = "approver"
	Chief    Role = "admin"
	// Service is a machine's: it only proposes, and nobody signs in with it. It is none
	// of Roles: nobody gives it to somebody.
	Service Role = "service"
)

// Roles lists the roles, the least first.
func Roles() []Role { return []Role{Viewer, Operate, Approver, Chief} }

// Covers reports whether the role may do what least may.
func (r Role) Covers(least Role) bool {
	have, need := slices.Index(Roles(), r), slices.Index(Roles(), least)
	return need >= 0 && have >= need
}

// Operator is what is known of a person; their secrets are not.
type Operator struct {
	Name      string    `json:"name"`
	Tenant    int32     `json:"tenant"`
	Role      Role      `json:"role"`
	Method    Method    `json:"method"`
	CreatedBy string    `json:"created_by"`
	CreatedAt time.Time `json:"created_at"`
	// DisabledAt is the zero time while the operator may act.
	DisabledAt time.Time `json:"disabled_at,omitzero"`
	DisabledBy string    `json:"disabled_by,omitempty"`
}

// Local is who acts at the database itself, without a credential of a person.
const Local = "local"

var operatorName = regexp.MustCompile(`^[a-z][a-z0-9.-]{1,39}$`)

func checkOperator(name string, role Role) error {
	if !operatorName.MatchString(name) {
		return fault.New(fault.MalformedRequest, "a name has 2 to 40 of a-z, 0-9, point and hyphen, and begins with a letter").WithParam("/name")
	}
	if strings.HasPrefix(name, serviceHead) {
		return fault.New(fault.MalformedRequest, "names that begin with "+serviceHead+" are the machine's").WithParam("/name")
	}
	if !slices.Contains(Roles(), role) {
		return fault.New(fault.MalformedRequest, "a role is viewer, operator, approver or admin").WithParam("/role")
	}
	return nil
}

// AddLocally adds an operator from the machine of the database. It serves to begin
// with: as soon as the tenant has two active people who may approve, a further
// one needs their approval, and the error is fault.ApprovalRequired.
func (s *Store) AddLocally(ctx context.Context, tenant int32, name string, role Role, credential string) (Operator, error) {
	var out Operator
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var err error
		if out, err = addOperator(ctx, tx, tenant, name, role, credential, Local, nil); err != nil {
			return err
		}
		return record(ctx, tx, Local, tenant, "add-operator", name)
	})
	return out, faultOf("access.AddLocally", err)
}

const insertOperator = `insert into operators (name, tenant, role, public_key, pass_prefix, pass_hash, totp_sealed, created_by, approval, invite_prefix, invite_hash, invite_until)
  values ($1, $2, $3, $4, nullif($5, ''), $6, $7, $8, $9, nullif($10, ''), $11, $12) returning ` + operatorColumns

func addOperator(ctx context.Context, tx pgx.Tx, tenant int32, name string, role Role, credential, by string, approval *ApprovalID) (Operator, error) {
	if err := checkOperator(name, role); err != nil {
		return Operator{}, err
	}
	c, err := parseCredential(credential)
	if err != nil {
		return Operator{}, err
	}
	rows, err := tx.Query(ctx, insertOperator, name, tenant, role, c.publicKey, c.passPrefix, c.passHash, c.sealed, by, approval,
		c.invitePrefix, c.inviteHash, c.inviteUntil)
	if err != nil {
		return Operator{}, err
	}
	return pgx.CollectExactlyOneRow(rows, scanOperator)
}

// operatorColumns name the credential by which somebody came; passkeys may come on top.
const operatorColumns = `name, tenant, role, case when role = 'service' then 'none' when public_key is not null then 'ed25519' when pass_prefix is not null then 'totp'
  when exists (select from operator_passkeys k where k.operator = operators.name and k.removed_at is null) then 'passkey' else 'invited' end, created_by, created_at, disabled_at, coalesce(disabled_by, '')`

func scanOperator(row pgx.CollectableRow) (Operator, error) {
	var o Operator
	var disabled *time.Time
	err := row.Scan(&o.Name, &o.Tenant, &o.Role, &o.Method, &o.CreatedBy, &o.CreatedAt, &disabled, &o.DisabledBy)
	o.CreatedAt = o.CreatedAt.UTC()
	if disabled != nil {
		o.DisabledAt = disabled.UTC()
	}
	return o, err
}

// Operators returns the tenant's operators by name, disabled ones too.
func (s *Store) Operators(ctx context.Context, tenant int32) ([]Operator, error) {
	rows, err := s.pool.Query(ctx, `select `+operatorColumns+` from operators where tenant = $1 order by name limit $2`, tenant, listMax)
	if err != nil {
		return nil, dbFault("access.Operators", err)
	}
	list, err := pgx.CollectRows(rows, scanOperator)
	return list, faultOf("access.Operators", err)
}

// Disable ends an operator: at once on this node, within a second on the others.
// Their sessions end with them, and so does every approval that they proposed or
// approved and nobody has used. One disabled before stays so.
func (s *Store) Disable(ctx context.Context, tenant int32, name, by string) (Operator, error) {
	var out Operator
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var err error
		if out, err = disableOperator(ctx, tx, tenant, name, by); err != nil || by != Local {
			return err
		}
		return record(ctx, tx, Local, tenant, "disable-operator", name)
	})
	s.forgetPeople()
	return out, faultOf("access.Disable", err)
}

func disableOperator(ctx context.Context, tx pgx.Tx, tenant int32, name, by string) (Operator, error) {
	rows, err := tx.Query(ctx, `update operators set disabled_at = coalesce(disabled_at, now()), disabled_by = coalesce(disabled_by, $3)
		where tenant = $1 and name = $2 returning `+operatorColumns, tenant, name, by)
	if err != nil {
		return Operator{}, err
	}
	o, err := pgx.CollectExactlyOneRow(rows, scanOperator)
	if err != nil {
		return o, err
	}
	_, err = tx.Exec(ctx, endSessions, name)
	return o, err
}

// Rotate gives an operator a new credential and ends their sessions. Whoever calls
// it has made sure that the operator asks for it, or that two others did.
func (s *Store) Rotate(ctx context.Context, tenant int32, name, credential string) (Operator, error) {
	var out Operator
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var err error
		out, err = rotateOperator(ctx, tx, tenant, name, credential, true)
		return err
	})
	s.forgetPeople()
	return out, faultOf("access.Rotate", err)
}

// rotateOperator replaces the credential. Passkeys stay with somebody who does so
// themselves, and go when others do it for them.
func rotateOperator(ctx context.Context, tx pgx.Tx, tenant int32, name, credential string, passkeys bool) (Operator, error) {
	c, err := parseCredential(credential)
	if err != nil {
		return Operator{}, err
	}
	if !passkeys {
		if _, err := tx.Exec(ctx, `update operator_passkeys k set removed_at = now() from operators o
			where o.name = k.operator and o.tenant = $1 and o.name = $2 and k.removed_at is null`, tenant, name); err != nil {
			return Operator{}, err
		}
	}
	rows, err := tx.Query(ctx, `update operators set public_key = $3, pass_prefix = nullif($4, ''), pass_hash = $5, totp_sealed = $6,
		invite_prefix = nullif($7, ''), invite_hash = $8, invite_until = $9,
		totp_step = 0, failures = 0, tried_at = null where tenant = $1 and name = $2 and role <> 'service' and disabled_at is null returning `+operatorColumns,
		tenant, name, c.publicKey, c.passPrefix, c.passHash, c.sealed, c.invitePrefix, c.inviteHash, c.inviteUntil)
	if err != nil {
		return Operator{}, err
	}
	o, err := pgx.CollectExactlyOneRow(rows, scanOperator)
	if err != nil {
		return o, err
	}
	_, err = tx.Exec(ctx, endSessions, name)
	return o, err
}

const endSessions = `update operator_sessions set ended_at = now() where operator = $1 and ended_at is null`

// Active reports whether the person may still act: not disabled, and signed in if
// they had to.
func (s *Store) Active(ctx context.Context, who *Principal) (bool, error) {
	var yes bool
	err := s.pool.QueryRow(ctx, `select exists (select from operators where name = $1 and disabled_at is null) and ($2 = '' or exists (
		select from operator_sessions s join operators o on o.name = s.operator where s.prefix = $2 and `+sessionOpen+`))`, who.Operator, who.session).Scan(&yes)
	return yes, faultOf("access.Active", err)
}

// FourEyes reports whether the tenant has had two people who may approve. From
// then on what gives power or credit away needs an approval, whoever asks, and for
// good: otherwise one admin could disable the others and go on alone. Tenant 0
// asks for the installation's tenant.
func (s *Store) FourEyes(ctx context.Context, tenant int32) (bool, error) {
	var yes bool
	err := s.pool.QueryRow(ctx, `select exists (select from operators where tenant = case when $1 = 0 then (select id from tenants where installation) else $1 end and role in ('approver', 'admin')
		group by tenant having count(*) >= 2)`, tenant).Scan(&yes)
	return yes, faultOf("access.FourEyes", err)
}

// errcodes of the guards in the schema.
const (
	guardState  = "MO001"
	guardPeople = "MO002"
)

// faultOf turns what the database says into a fault; faults stay as they are.
func faultOf(op string, err error) error {
	var f *fault.Error
	var pg *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &f):
		return err
	case errors.As(err, &pg) && pg.Code == guardPeople:
		return fault.New(fault.ApprovalRequired, pg.Message).WithOp(op).WithCause(err)
	case errors.As(err, &pg) && pg.Code == guardState:
		return fault.New(fault.ApprovalClosed, pg.Message).WithOp(op).WithCause(err)
	case errors.As(err, &pg) && pg.Code == "23505":
		return fault.New(fault.MalformedRequest, "the name or the credential is in use already; take another").WithOp(op).WithCause(err)
	case errors.As(err, &pg) && pg.Code == "23503":
		return fault.New(fault.NotFound, "").WithOp(op).WithCause(err)
	}
	return dbFault(op, err)
}

// Recording what people do.

// execer is a pool or a transaction.
type execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

const recordMax = 200 // bytes of a recorded subject

// record keeps what was done within one transaction: begun and ended at once.
func record(ctx context.Context, db execer, operator string, tenant int32, action, subject string) error {
	_, err := db.Exec(ctx, `with b as (insert into operator_actions (operator, tenant, action, subject) values ($1, $2, $3, $4) returning id)
		insert into operator_actions (began, operator, tenant, action, subject, status) select id, $1, $2, $3, $4, 200 from b`,
		operator, tenant, action, clip(subject))
	return err
}

func clip(s string) string {
	if len(s) > recordMax {
		return strings.ToValidUTF8(s[:recordMax], "") // a character cut in two is none
	}
	return s
}

// Began records that a person is about to do something and returns the record's
// number. It comes before the act: what cannot be recorded is not done.
func (s *Store) Began(ctx context.Context, who *Principal, action, subject string, trace [16]byte) (int64, error) {
	var id int64
	err := s.pool.QueryRow(ctx, `insert into operator_actions (operator, tenant, action, subject, trace_id) values ($1, $2, $3, $4, $5) returning id`,
		who.Operator, who.Tenant, action, clip(subject), trace).Scan(&id)
	return id, faultOf("access.Began", err)
}

// Ended records how it ended: the HTTP status, and the fault's code or "".
func (s *Store) Ended(ctx context.Context, began int64, status int, code string) error {
	_, err := s.pool.Exec(ctx, `insert into operator_actions (began, operator, tenant, action, subject, status, code, trace_id)
		select id, operator, tenant, action, subject, $2, nullif($3, ''), trace_id from operator_actions where id = $1`, began, status, code)
	return faultOf("access.Ended", err)
}

// Deed is what a person did. Status is 0 when the end was not recorded: the node
// died in between, and what was asked for may or may not have happened.
type Deed struct {
	ID       int64     `json:"id"`
	Operator string    `json:"operator"`
	Action   string    `json:"action"`
	Subject  string    `json:"subject"`
	Status   int       `json:"status"`
	Code     string    `json:"code,omitempty"`
	At       time.Time `json:"at"`
}

// Deeds returns what the tenant's people did, newest first, before the id given
// (0 begins with the newest).
func (s *Store) Deeds(ctx context.Context, tenant int32, before int64, limit int) ([]Deed, error) {
	rows, err := s.pool.Query(ctx, `select b.id, b.operator, b.action, b.subject, coalesce(e.status, 0), coalesce(e.code, ''), b.at
		from operator_actions b left join operator_actions e on e.began = b.id
		where b.tenant = $1 and b.began is null and ($2::bigint = 0 or b.id < $2) order by b.id desc limit $3`, tenant, before, limit)
	if err != nil {
		return nil, dbFault("access.Deeds", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Deed, error) {
		var d Deed
		err := row.Scan(&d.ID, &d.Operator, &d.Action, &d.Subject, &d.Status, &d.Code, &d.At)
		d.At = d.At.UTC()
		return d, err
	})
	return list, faultOf("access.Deeds", err)
}

// Name says who acts, for records.
func (p *Principal) Name() string {
	if p.Operator != "" {
		return "operator " + p.Operator
	}
	return "key " + p.KeyPrefix
}
