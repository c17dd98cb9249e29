package access

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/fault"
)

// errInvitation says no more than that: which of the reasons it is concerns nobody who
// does not hold a good one.
var errInvitation = fault.New(fault.Unauthenticated, "this invitation is not to be had: it was taken up, it is over, or it is mistyped. Ask whoever sent it for another one")

const invitedBy = `invite_prefix = $1 and invite_hash = $2 and invite_until > now() and disabled_at is null`

// invited finds who an invitation is for.
func (s *Store) invited(ctx context.Context, token string) (*holder, error) {
	prefix, ok := splitAs(tokenHead, token)
	if !ok {
		return nil, errInvitation
	}
	hash := digest(token)
	h := &holder{}
	err := s.pool.QueryRow(ctx, `select name, role, uuid_send(handle) from operators where `+invitedBy, prefix, hash[:]).Scan(&h.name, &h.role, &h.handle)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, errInvitation
	}
	return h, faultOf("access.invited", err)
}

// takeUp uses the invitation up: with a passkey, or with pass and codes of which one
// was shown already (step). Two who take it up at once: one has it.
func (s *Store) takeUp(ctx context.Context, token string, k *PasskeyRecord, c *credential, step int64) error {
	prefix, ok := splitAs(tokenHead, token)
	if !ok {
		return errInvitation
	}
	hash := digest(token)
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var name string
		err := tx.QueryRow(ctx, `update operators set invite_prefix = null, invite_hash = null, invite_until = null,
			pass_prefix = coalesce(nullif($3, ''), pass_prefix), pass_hash = coalesce($4, pass_hash), totp_sealed = coalesce($5, totp_sealed), totp_step = $6
			where `+invitedBy+` returning name`, prefix, hash[:], c.passPrefix, c.passHash, c.sealed, step).Scan(&name)
		if errors.Is(err, pgx.ErrNoRows) {
			return errInvitation
		}
		if err != nil || k == nil {
			return err
		}
		return addPasskey(ctx, tx, name, k)
	})
	s.forgetPeople()
	return faultOf("access.takeUp", err)
}
