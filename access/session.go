package access

import (
	"context"
	"crypto/subtle"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pquerna/otp/totp"

	"github.com/moneta-pay/moneta/fault"
)

const (
	// SessionIdle is how long a session lasts while nothing is done in it (PCI DSS 8.2.8
	// asks for a new sign-in after 15 idle minutes).
	SessionIdle = 15 * time.Minute
	// SessionMax is how long it lasts whatever is done in it.
	SessionMax = 12 * time.Hour
	// seenEvery is how often it is written down that a session is in use: one may end so
	// much before its time.
	seenEvery   = 20 * time.Second
	stepSeconds = 30
	// After codesFree wrong codes in a row each further try waits codesPause; after
	// codesMax the credential is dead and must be rotated (NIST SP 800-63B allows 100).
	codesFree  = 5
	codesPause = "1 minute"
	codesMax   = 50
)

// Session is a person who has signed in.
type Session struct {
	// Token is shown this once and kept nowhere.
	Token    string
	Operator string
	Role     Role
	Method   Method
	// ExpiresAt is when it ends whatever is done in it.
	ExpiresAt time.Time
}

// SignIn opens a session for the holder of the pass who has a fresh code. The
// error is fault.Unauthenticated, or fault.RateLimited after too many wrong codes.
func (s *Store) SignIn(ctx context.Context, pass, code, client string) (Session, error) {
	const op = "access.SignIn"
	prefix, ok := splitAs(passHead, pass)
	if !ok {
		return Session{}, fault.New(fault.Unauthenticated, "a pass begins with "+passHead)
	}
	who, err := s.passes.authenticate(ctx, prefix, digest(pass))
	if err != nil {
		return Session{}, err
	}
	var sealed []byte
	err = s.pool.QueryRow(ctx, `select totp_sealed from operators where name = $1 and pass_prefix = $2`, who.Operator, prefix).Scan(&sealed)
	if err != nil {
		return Session{}, faultOf(op, err)
	}
	secret, err := unseal(pass, prefix, sealed)
	if err != nil {
		return Session{}, err
	}
	if err := s.redeem(ctx, who.Operator, secret, code); err != nil {
		return Session{}, err
	}
	return s.open(ctx, newVisit(who.Operator, TOTP, client, secret))
}

// visit is a session that is not in the database yet.
type visit struct {
	token, operator, client string
	method                  Method
	sealed                  []byte
	madeAt                  time.Time // the zero time is now
}

// newVisit makes its token; secret is that of the codes, if the person has them.
func newVisit(operator string, m Method, client, secret string) *visit {
	v := &visit{token: newSecret(sessionHead), operator: operator, method: m, client: clip(strings.ToValidUTF8(client, ""))}
	if secret != "" {
		v.sealed = seal(v.token, v.prefix(), secret)
	}
	return v
}

func (v *visit) prefix() string { p, _ := splitAs(sessionHead, v.token); return p }

// open writes the session down. Somebody who was disabled meanwhile gets none.
func (s *Store) open(ctx context.Context, v *visit) (Session, error) {
	out := Session{Token: v.token, Operator: v.operator, Method: v.method}
	hash := digest(v.token)
	made := s.now().UTC()
	if !v.madeAt.IsZero() {
		made = v.madeAt
	}
	age := s.now().Sub(made)
	err := s.pool.QueryRow(ctx, `with o as (select name, role from operators where name = $3 and disabled_at is null),
		made as (insert into operator_sessions (prefix, hash, operator, sealed, method, client, made_at, expires_at)
		  select $1, $2, name, $4, $5, $6, now() - $7::interval, now() - $7::interval + $8::interval from o on conflict (prefix) do nothing returning expires_at)
		select o.role, coalesce((select expires_at from made), now() - $7::interval + $8::interval) from o`,
		v.prefix(), hash[:], v.operator, v.sealed, v.method, v.client, age, SessionMax).Scan(&out.Role, &out.ExpiresAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return Session{}, fault.New(fault.Unauthenticated, "")
	}
	s.sessions.forget(v.prefix())
	out.ExpiresAt = out.ExpiresAt.UTC()
	return out, faultOf("access.open", err)
}

// redeem uses up a code. The try is counted before the code is looked at, so that
// many tries at once are counted too; a code that was right takes the count back.
func (s *Store) redeem(ctx context.Context, operator, secret, code string) error {
	const op = "access.redeem"
	var used int64
	err := s.pool.QueryRow(ctx, `update operators set failures = failures + 1, tried_at = now() where name = $1 and disabled_at is null
		and failures < $2 and (failures < $3 or tried_at < now() - $4::interval) returning totp_step`,
		operator, codesMax, codesFree, codesPause).Scan(&used)
	if errors.Is(err, pgx.ErrNoRows) {
		return fault.New(fault.RateLimited, "too many wrong codes; wait a minute, and after 50 have the credential rotated").WithRetryAfter(time.Minute)
	}
	if err != nil {
		return faultOf(op, err)
	}
	step, err := matchCode(secret, code, s.now(), used)
	if err != nil {
		return err
	}
	tag, err := s.pool.Exec(ctx, `update operators set failures = 0, totp_step = $2 where name = $1 and totp_step < $2`, operator, step)
	if err != nil {
		return faultOf(op, err)
	}
	if tag.RowsAffected() != 1 {
		return fault.New(fault.Unauthenticated, "this code was used; wait for the next one")
	}
	return nil
}

// matchCode finds the step, of this one and its neighbours, whose code it is and
// which is newer than the last one used.
func matchCode(secret, code string, now time.Time, used int64) (int64, error) {
	current := now.Unix() / stepSeconds
	for step := current - 1; step <= current+1; step++ {
		want, err := totp.GenerateCodeCustom(secret, time.Unix(step*stepSeconds, 0), totpOpts)
		if err != nil {
			return 0, fault.New(fault.Internal, "").WithOp("access.matchCode").WithCause(err)
		}
		if subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 {
			if step <= used {
				return 0, fault.New(fault.Unauthenticated, "this code was used; wait for the next one")
			}
			return step, nil
		}
	}
	return 0, fault.New(fault.Unauthenticated, "the code is wrong; check the clock of the authenticator")
}

// AuthenticateSession finds the person whose session it is. With present the person
// does something: the session goes on from here.
func (s *Store) AuthenticateSession(ctx context.Context, token string, present bool) (Principal, error) {
	prefix, ok := splitAs(sessionHead, token)
	if !ok {
		return Principal{}, fault.New(fault.Unauthenticated, "")
	}
	who, err := s.sessions.authenticate(ctx, prefix, digest(token))
	if errors.Is(err, fault.Unauthenticated) {
		return Principal{}, fault.New(fault.Unauthenticated, "the session is over; sign in again")
	}
	if err != nil || !present || who.unseen < seenEvery {
		return who, err
	}
	return who, s.saw(ctx, prefix, 0)
}

// saw writes down that a session was in use so long ago. It never takes an end back.
func (s *Store) saw(ctx context.Context, prefix string, ago time.Duration) error {
	_, err := s.pool.Exec(ctx, `update operator_sessions set seen_at = greatest(seen_at, now() - $2::interval) where prefix = $1 and ended_at is null`, prefix, ago)
	s.sessions.forget(prefix)
	return faultOf("access.saw", err)
}

// SignOut ends the person's session: at once on this node, within a second on the
// others.
func (s *Store) SignOut(ctx context.Context, who *Principal) error {
	return s.end(ctx, who.session, who.Operator)
}

func (s *Store) end(ctx context.Context, prefix, by string) error {
	_, err := s.pool.Exec(ctx, `update operator_sessions set ended_at = now(), ended_by = $2 where prefix = $1 and ended_at is null`, prefix, by)
	s.sessions.forget(prefix)
	return faultOf("access.SignOut", err)
}

// OpenSession is a session as lists show it; its token is known to nobody else.
type OpenSession struct {
	// ID is the token's public part.
	ID       string
	Operator string
	Method   Method
	Client   string
	MadeAt   time.Time
	SeenAt   time.Time
	// EndsAt is when it ends if nothing is done in it, and never after SessionMax.
	EndsAt time.Time
}

const sessionOpen = `s.ended_at is null and s.expires_at > now() and s.seen_at > now() - interval '15 minutes' and o.disabled_at is null`

// Sessions lists the open sessions of the tenant, or of one operator, newest first.
func (s *Store) Sessions(ctx context.Context, tenant int32, operator string) ([]OpenSession, error) {
	rows, err := s.pool.Query(ctx, `select s.prefix, s.operator, s.method, s.client, s.made_at, s.seen_at, least(s.expires_at, s.seen_at + interval '15 minutes')
		from operator_sessions s join operators o on o.name = s.operator
		where o.tenant = $1 and ($2 = '' or s.operator = $2) and `+sessionOpen+` order by s.made_at desc, s.prefix limit $3`, tenant, operator, listMax)
	if err != nil {
		return nil, dbFault("access.Sessions", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (OpenSession, error) {
		var v OpenSession
		err := row.Scan(&v.ID, &v.Operator, &v.Method, &v.Client, &v.MadeAt, &v.SeenAt, &v.EndsAt)
		v.MadeAt, v.SeenAt, v.EndsAt = v.MadeAt.UTC(), v.SeenAt.UTC(), v.EndsAt.UTC()
		return v, err
	})
	return list, faultOf("access.Sessions", err)
}

// EndSession ends a session: one's own, or as an admin that of anybody in the tenant.
// At once on this node, within a second on the others. fault.NotFound says that there
// is no such session for this person, or none that is open.
func (s *Store) EndSession(ctx context.Context, who *Principal, id string) error {
	tag, err := s.pool.Exec(ctx, `update operator_sessions s set ended_at = now(), ended_by = $2 from operators o
		where s.prefix = $1 and o.name = s.operator and o.tenant = $3 and ($4 or s.operator = $2) and `+sessionOpen,
		id, who.Operator, who.Tenant, who.Role.Covers(Chief))
	s.sessions.forget(id)
	if err == nil && tag.RowsAffected() == 0 {
		err = fault.New(fault.NotFound, "no open session of yours has this id")
	}
	return faultOf("access.EndSession", err)
}

// Session is the public part of the session's token; empty for who signs each request.
func (p *Principal) Session() string { return p.session }

// Confirm uses up a fresh code of the person whose session this is: proof that
// they are there now, not only their session.
func (s *Store) Confirm(ctx context.Context, who *Principal, token, code string) error {
	var sealed []byte
	err := s.pool.QueryRow(ctx, `select s.sealed from operator_sessions s join operators o on o.name = s.operator where s.prefix = $1 and s.operator = $2 and `+sessionOpen,
		who.session, who.Operator).Scan(&sealed)
	if errors.Is(err, pgx.ErrNoRows) {
		return fault.New(fault.Unauthenticated, "the session is over; sign in again")
	}
	if err != nil {
		return faultOf("access.Confirm", err)
	}
	if sealed == nil {
		return fault.New(fault.Unauthenticated, "this session was not opened with a code; confirm with the passkey")
	}
	secret, err := unseal(token, who.session, sealed)
	if err != nil {
		return err
	}
	return s.redeem(ctx, who.Operator, secret, code)
}

func (s *Store) lookUpPass(ctx context.Context, prefix string) (p Principal, hash []byte, found bool, err error) {
	p = Principal{Method: TOTP}
	err = s.pool.QueryRow(ctx, `select name, tenant, role, pass_hash from operators where pass_prefix = $1 and disabled_at is null`, prefix).
		Scan(&p.Operator, &p.Tenant, &p.Role, &hash)
	if errors.Is(err, pgx.ErrNoRows) {
		return p, nil, false, nil
	}
	return p, hash, err == nil, err
}

func (s *Store) lookUpSession(ctx context.Context, prefix string) (p Principal, hash []byte, found bool, err error) {
	p = Principal{session: prefix}
	var installation bool
	err = s.pool.QueryRow(ctx, `select o.name, o.tenant, o.role, s.method, s.hash, t.installation, now() - s.seen_at, now() - s.made_at
		from operator_sessions s join operators o on o.name = s.operator join tenants t on t.id = o.tenant
		where s.prefix = $1 and `+sessionOpen, prefix).
		Scan(&p.Operator, &p.Tenant, &p.Role, &p.Method, &hash, &installation, &p.unseen, &p.sessionAge)
	p.Scopes = scopesOf(installation)
	if errors.Is(err, pgx.ErrNoRows) {
		return p, nil, false, nil
	}
	return p, hash, err == nil, err
}
