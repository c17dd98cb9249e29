package app

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
)

func (b *bureau) available(id string) string {
	b.t.Helper()
	var sum string
	a := b.account(id)
	require.NoError(b.t, b.pool.QueryRow(b.t.Context(), `select coalesce(sum(amount), 0)::text from facts.postings where account = $1`, int64(a.ID)).Scan(&sum))
	return sum
}

// TestACompensationIsPaidOnceThroughACrash loses the Fact before and after its
// COMMIT: the approval's id is its key, so it is paid once.
func TestACompensationIsPaidOnceThroughACrash(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	ctx := t.Context()
	for _, after := range []bool{false, true} {
		to := b.open()
		v := b.approved("compensate", access.Parameters{"to": to, "amount": "1250", "asset": "CZK", "link": "inc-7"})
		require.Equal(t, "Pay 12.50 CZK to the account "+to+" at our expense, for inc-7", v.Words.En)
		b.losing.before, b.losing.after = !after, after
		_, err := b.desk.Execute(ctx, b.who("abe"), v.ID, v.Hash)
		require.ErrorIs(t, err, fault.CommitUnknown)
		b.losing.before, b.losing.after = false, false
		_, err = b.pool.Exec(ctx, `update approvals set held_until = now() - interval '1 second' where finished_at is null and used_at is not null`)
		require.NoError(t, err)
		require.NoError(t, b.desk.Tidy(ctx))
		now, err := b.desk.One(ctx, b.tenant, v.ID)
		require.NoError(t, err)
		require.Equal(t, access.Done, now.Outcome)
		require.Equal(t, "1250", b.available(to))
		id, err := pay.ParseID(now.Result)
		require.NoError(t, err)
		p, err := commit.NewReader(b.pool).Payment(ctx, pay.TenantID(b.tenant), id)
		require.NoError(t, err)
		require.Equal(t, []string{"compensation", "succeeded", "inc-7"}, []string{p.Kind.String(), p.State.String(), p.Link})
	}
}

func TestTwoPeopleAssignAndResolve(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	ctx := t.Context()
	to := b.open()
	in := pay.Payment{Tenant: pay.TenantID(b.tenant), Kind: pay.Inbound, Asset: "CZK", Amount: money.Int(900), Channel: "bank-ab", Link: "L1", Key: pay.Key{7}}
	res, err := b.losing.Submit(ctx, commit.Fact{Payment: &pay.Fact{Kind: pay.Accept, New: &in, Source: "statement"}})
	require.NoError(t, err)
	v := b.approved("assign_inbound", access.Parameters{"payment": res.Payment.ID.String(), "to": to, "amount": "900"})
	done, err := b.desk.Execute(ctx, b.who("abe"), v.ID, v.Hash)
	require.NoError(t, err)
	require.Equal(t, access.Done, done.Outcome)
	require.Equal(t, "900", b.available(to))
	for kind, p := range map[string]access.Parameters{
		"resolve_payment": {"payment": done.Result, "outcome": "perhaps", "evidence": "e"},
		"write_off":       {"payment": "pay_nonsense"},
	} {
		_, err := b.desk.Propose(ctx, b.who("abe"), access.Proposal{Kind: kind, Parameters: p, Reason: "r"})
		require.Error(t, err, kind)
	}
	v = b.approved("write_off", access.Parameters{"payment": done.Result})
	done, err = b.desk.Execute(ctx, b.who("abe"), v.ID, v.Hash)
	require.NoError(t, err)
	require.Equal(t, access.Refused, done.Outcome, "an assignment is no debt")
}
