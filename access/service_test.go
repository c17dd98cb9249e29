package access

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
)

// owed makes an office whose break 1 owes 500 CZK, and the machine's kind.
func newOwing(t *testing.T) (*office, *Approvals, Proposal) {
	t.Helper()
	o := newOffice(t)
	ctx := t.Context()
	_, err := o.pool.Exec(ctx, `insert into payments (id, tenant, kind, asset, amount, fee, key, trace_id, created_at, effective_at)
		select 7, $1, 3, 'CZK', 500, 0, gen_random_uuid(), gen_random_uuid(), now(), now()`, o.tenant)
	require.NoError(t, err)
	_, err = o.pool.Exec(ctx, `insert into breaks (class, channel, payment, reference, asset, amount) values ('missing_in_statement', 'bank-ab', 7, 'r', 'CZK', 500)`)
	require.NoError(t, err)
	a, _ := o.approvals()
	a.Register(Kind{
		Name: KindCompensateBreak, Service: true,
		Members:  []Member{{Name: "break"}, {Name: "asset"}, {Name: "amount"}, {Name: "link"}},
		Describe: func(*Action) fault.Text { return fault.Text{En: "pay it", Zh: "支付"} },
		Perform:  func(context.Context, *Action, [16]byte) (string, error) { return "paid", nil },
	})
	return o, a, Proposal{Kind: KindCompensateBreak, Reason: "r", Parameters: Parameters{"break": "1", "asset": "CZK", "amount": "500", "link": "break 1"}}
}

// requireRule makes sure that it was a rule of ours that refused, and not a slip in the test.
func requireRule(t *testing.T, err error, name string) {
	t.Helper()
	var pg *pgconn.PgError
	require.ErrorAs(t, err, &pg, name)
	ours := pg.Code == guardState || slices.Contains([]string{"operators_service", "approvals_endorsed", "approvals_two_people", oneABreak}, pg.ConstraintName)
	require.True(t, ours, "%s: %s %s %s", name, pg.Code, pg.ConstraintName, pg.Message)
}

func (o *office) yes(a *Approvals, name string, v *Approval) (Approval, error) {
	return a.Approve(o.t.Context(), o.who(name), v.ID, v.Hash, o.signature(name, v), "")
}

// A service proposes one kind of thing, and does nothing else: not by what this package
// does, and not by what the database lets anybody do in its name.
func TestAServiceOnlyProposes(t *testing.T) {
	t.Parallel()
	o, a, p := newOwing(t)
	ctx := t.Context()
	v, replayed, err := a.ProposeAsService(ctx, o.tenant, p)
	require.NoError(t, err)
	require.False(t, replayed)
	require.Equal(t, []any{Proposed, true, ServiceName(o.tenant)}, []any{v.State, v.Service, v.Maker})
	again, replayed, err := a.ProposeAsService(ctx, o.tenant, p)
	require.NoError(t, err)
	require.Equal(t, []any{v.ID, true}, []any{again.ID, replayed})

	machine := &Principal{Tenant: o.tenant, Operator: v.Maker, Role: Service, Method: None}
	other, err := a.Propose(ctx, o.who("mara"), Proposal{Kind: "deed", Parameters: Parameters{"what": "it"}, Reason: "r"})
	require.NoError(t, err)
	for name, try := range map[string]func() error{
		"approve":  func() error { _, err := a.Approve(ctx, machine, other.ID, other.Hash, nil, ""); return err },
		"itself":   func() error { _, err := a.Approve(ctx, machine, v.ID, v.Hash, nil, ""); return err },
		"reject":   func() error { _, err := a.Reject(ctx, machine, other.ID, other.Hash, ""); return err },
		"withdraw": func() error { _, err := a.Withdraw(ctx, machine, v.ID); return err },
		"execute":  func() error { _, err := a.Execute(ctx, machine, other.ID, other.Hash); return err },
		"a deed": func() error {
			_, err := a.Propose(ctx, machine, Proposal{Kind: "deed", Parameters: Parameters{"what": "it"}, Reason: "r"})
			return err
		},
		"people": func() error { _, err := a.Propose(ctx, o.who("abe"), p); return err },
	} {
		require.ErrorIs(t, try(), fault.Forbidden, name)
	}
	for _, name := range []string{"doctor.7", "doctor."} {
		_, err = o.store.AddLocally(ctx, o.tenant, name, Operate, "")
		require.ErrorIs(t, err, fault.MalformedRequest)
	}
	_, credential, _, err := Enrol("robot", Ed25519)
	require.NoError(t, err)
	_, err = o.store.Rotate(ctx, o.tenant, v.Maker, credential)
	require.Error(t, err, "it gets no credential")
	_, err = o.store.AddLocally(ctx, o.tenant, "robot", Service, credential)
	require.ErrorIs(t, err, fault.MalformedRequest, "and nobody makes another one")

	list, err := o.store.Operators(ctx, o.tenant)
	require.NoError(t, err)
	for _, one := range list {
		require.Equal(t, one.Name == v.Maker, one.Role == Service && one.Method == None, one.Name)
	}

	// As the pay plane's own role, past this package.
	hash := sha256.Sum256([]byte("x"))
	for name, sql := range map[string]string{
		"it approves":              `update approvals set state = 'approved', checker = $2, checked_at = now(), check_method = 'totp' where id = $1`,
		"it endorses":              `update approvals set endorser = $2, endorsed_at = now(), endorse_method = 'totp' where id = $1`,
		"it rejects":               `update approvals set state = 'rejected', checker = $2, checked_at = now() where id = $1`,
		"it becomes a person":      `update operators set role = 'approver' where $1::uuid is not null and name = $2`,
		"it gets a key":            `update operators set public_key = sha256('x') where $1::uuid is not null and name = $2`,
		"it gets an invitation":    `update operators set invite_prefix = 'p', invite_hash = sha256('x'), invite_until = now() + interval '1 day' where $1::uuid is not null and name = $2`,
		"it signs in":              `insert into operator_sessions (prefix, hash, operator, expires_at) select 'p', sha256('x'), $2, now() + interval '1 hour' where $1::uuid is not null`,
		"it gets a passkey":        `insert into operator_passkeys (id, operator, public_key, sign_count, backup_eligible, origin, label) select 'x', $2, 'x', 0, false, 'o', 'l' where $1::uuid is not null`,
		"one person is enough":     `update approvals set state = 'approved', checker = 'abe', checked_at = now(), check_method = 'totp' where id = $1 and $2 <> ''`,
		"one person is two":        `update approvals set state = 'approved', checker = 'abe', checked_at = now(), check_method = 'totp', endorser = 'abe', endorsed_at = now(), endorse_method = 'totp' where id = $1 and $2 <> ''`,
		"one who may not, agrees":  `update approvals set endorser = 'mara', endorsed_at = now(), endorse_method = 'totp' where id = $1 and $2 <> ''`,
		"agreed without a proof":   `update approvals set endorser = 'abe', endorsed_at = now() where id = $1 and $2 <> ''`,
		"the maker is another one": `update approvals set maker = 'mara' where id = $1 and $2 <> ''`,
	} {
		_, err := o.store.pool.Exec(ctx, sql, v.ID, v.Maker)
		requireRule(t, err, name)
	}
	const insert = `insert into approvals (id, tenant, kind, parameters, reason, hash, maker, made_at, expires_at) values (gen_random_uuid(), $1, $2, $3, 'r', $4, $5, now(), now() + interval '1 hour')`
	for name, args := range map[string][]any{
		"another kind":        {o.tenant, "set_floor", `{"break":"1"}`, hash[:], v.Maker},
		"a person in its way": {o.tenant, KindCompensateBreak, p.Parameters.Canonical(), hash[:], "mara"},
		"a second one":        {o.tenant, KindCompensateBreak, p.Parameters.Canonical(), hash[:], v.Maker},
		"more than is owed":   {o.tenant, KindCompensateBreak, `{"amount":"501","asset":"CZK","break":"1","link":"break 1"}`, hash[:], v.Maker},
		"no such break":       {o.tenant, KindCompensateBreak, `{"amount":"500","asset":"CZK","break":"2","link":"break 2"}`, hash[:], v.Maker},
	} {
		_, err := o.store.pool.Exec(ctx, insert, args...)
		requireRule(t, err, name)
	}
}

// Two people agree with the machine, one after the other or at once, each with a proof that
// is looked at again right before the act.
func TestTwoPeopleAgreeWithAService(t *testing.T) {
	t.Parallel()
	o, a, p := newOwing(t)
	ctx := t.Context()
	v, _, err := a.ProposeAsService(ctx, o.tenant, p)
	require.NoError(t, err)
	seen := v // as both saw it: nobody had agreed
	first, err := o.yes(a, "cleo", &seen)
	require.NoError(t, err)
	require.Equal(t, []any{Proposed, "cleo", ""}, []any{first.State, first.Endorser, first.Checker})
	require.False(t, first.EndorsedAt.IsZero())
	_, err = o.yes(a, "cleo", &seen)
	require.ErrorIs(t, err, fault.ApprovalOwn)
	abe := o.files["abe"]
	private, err := abe.private()
	require.NoError(t, err)
	v, err = a.agree(ctx, "test", o.who("abe"), &seen, Ed25519, private.Public().(ed25519.PublicKey), o.signature("abe", &seen), "", seen.Hash[:])
	require.NoError(t, err)
	require.Equal(t, []any{Approved, "cleo", "abe"}, []any{v.State, v.Endorser, v.Checker}, "who saw it before the other one agreed is the second")

	_, err = o.pool.Exec(ctx, `alter table approvals disable trigger approvals_guard; update approvals set endorse_signature = check_signature; alter table approvals enable trigger approvals_guard`)
	require.NoError(t, err)
	_, err = a.Execute(ctx, o.who("mara"), v.ID, v.Hash)
	require.ErrorIs(t, err, fault.ApprovalChanged, "the first one's signature is not theirs")
	_, err = o.pool.Exec(ctx, `alter table approvals disable trigger approvals_guard`)
	require.NoError(t, err)
	_, err = o.pool.Exec(ctx, `update approvals set endorse_signature = $1`, o.signature("cleo", &v))
	require.NoError(t, err)
	_, err = o.pool.Exec(ctx, `alter table approvals enable trigger approvals_guard`)
	require.NoError(t, err)

	_, err = o.pool.Exec(ctx, `update breaks set closed_at = now(), state = 'resolved', closed_by = 'x', close_reason = 'x'`)
	require.NoError(t, err)
	_, err = a.Execute(ctx, o.who("mara"), v.ID, v.Hash)
	require.ErrorIs(t, err, fault.ApprovalClosed, "the database looks at the break once more")
	_, err = o.pool.Exec(ctx, `update breaks set closed_at = null, state = 'open', closed_by = null, close_reason = null`)
	require.NoError(t, err)
	v, err = a.Execute(ctx, o.who("mara"), v.ID, v.Hash)
	require.NoError(t, err)
	require.Equal(t, []any{Used, Done, "paid"}, []any{v.State, v.Outcome, v.Result})
	again, replayed, err := a.ProposeAsService(ctx, o.tenant, p)
	require.NoError(t, err)
	require.Equal(t, []any{v.ID, true}, []any{again.ID, replayed}, "it was made up for, for good")
}
