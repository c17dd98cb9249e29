package app

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
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

func TestTwoPeopleAssignMoneyWithoutAnOwner(t *testing.T) {
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
}
