package access

import (
	"context"
	"crypto/subtle"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pquerna/otp/totp"

	"github.com/moneta-pay/moneta/fault"
)

const (
	// sessionFor is how long a session lasts, whatever is done in it (PCI DSS 8.2.8
	// asks for a new sign-in after 15 idle minutes).
	sessionFor  = 15 * time.Minute
	stepSeconds = 30
	// After codesFree wrong codes in a row each further try waits codesPause; after
	// codesMax the credential is dead and must be rotated (NIST SP 800-63B allows 100).
	codesFree  = 5
	codesPause = "1 minute"
	codesMax   = 50
)

// Session is a person who has signed in with pass and code.
type Session struct {
	// Token is shown this once and kept nowhere.
	Token     string
	Operator  string
	Role      Role
	ExpiresAt time.Time
}

// SignIn opens a session for the holder of the pass who has a fresh code. The
// error is fault.Unauthenticated, or fault.RateLimited after too many wrong codes.
func (s *Store) SignIn(ctx context.Context, pass, code string) (Session, error) {
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
	out := Session{Token: newSecret(sessionHead), Operator: who.Operator, Role: who.Role}
	prefix, _ = splitAs(sessionHead, out.Token)
	hash := digest(out.Token)
	err = s.pool.QueryRow(ctx, `insert into operator_sessions (prefix, hash, operator, sealed, expires_at)
		values ($1, $2, $3, $4, now() + make_interval(secs => $5)) returning expires_at`,
		prefix, hash[:], who.Operator, seal(out.Token, prefix, secret), sessionFor.Seconds()).Scan(&out.ExpiresAt)
	out.ExpiresAt = out.ExpiresAt.UTC()
	return out, faultOf(op, err)
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

// AuthenticateSession finds the person whose session it is.
func (s *Store) AuthenticateSession(ctx context.Context, token string) (Principal, error) {
	prefix, ok := splitAs(sessionHead, token)
	if !ok {
		return Principal{}, fault.New(fault.Unauthenticated, "")
	}
	who, err := s.sessions.authenticate(ctx, prefix, digest(token))
	if errors.Is(err, fault.Unauthenticated) {
		return Principal{}, fault.New(fault.Unauthenticated, "the session is over; sign in again")
	}
	return who, err
}

// SignOut ends the person's session: at once on this node, within a second on the
// others.
func (s *Store) SignOut(ctx context.Context, who *Principal) error {
	_, err := s.pool.Exec(ctx, `update operator_sessions set ended_at = now() where prefix = $1 and ended_at is null`, who.session)
	s.sessions.forget(who.session)
	return faultOf("access.SignOut", err)
}

// Confirm uses up a fresh code of the person whose session this is: proof that
// they are there now, not only their session.
func (s *Store) Confirm(ctx context.Context, who *Principal, token, code string) error {
	var sealed []byte
	err := s.pool.QueryRow(ctx, `select sealed from operator_sessions where prefix = $1 and operator = $2 and ended_at is null and expires_at > now()`,
		who.session, who.Operator).Scan(&sealed)
	if errors.Is(err, pgx.ErrNoRows) {
		return fault.New(fault.Unauthenticated, "the session is over; sign in again")
	}
	if err != nil {
		return faultOf("access.Confirm", err)
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
	p = Principal{Method: TOTP, session: prefix}
	var installation bool
	err = s.pool.QueryRow(ctx, `select o.name, o.tenant, o.role, s.hash, t.installation
		from operator_sessions s join operators o on o.name = s.operator join tenants t on t.id = o.tenant
		where s.prefix = $1 and s.ended_at is null and s.expires_at > now() and o.disabled_at is null`, prefix).
		Scan(&p.Operator, &p.Tenant, &p.Role, &hash, &installation)
	p.Scopes = scopesOf(installation)
	if errors.Is(err, pgx.ErrNoRows) {
		return p, nil, false, nil
	}
	return p, hash, err == nil, err
}
