package app

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
)

// Two people close a break: once, with a code, and not one that has healed meanwhile.
func TestTwoPeopleCloseABreak(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	ctx := t.Context()
	var id, healed string
	const open = `insert into breaks (class, channel, reference, asset, amount) values ('amount_mismatch', 'bank-ab', $1, 'CZK', 7) returning id::text`
	require.NoError(t, b.pool.QueryRow(ctx, open, "r1").Scan(&id))
	require.NoError(t, b.pool.QueryRow(ctx, open, "r2").Scan(&healed))
	for _, bad := range []access.Parameters{
		{"break": "x", "state": "explained"}, {"break": "0", "state": "explained"}, {"break": id, "state": "open"}, {"break": id, "state": "resolved", "code": "because"},
	} {
		_, err := b.desk.Propose(ctx, b.who("abe"), access.Proposal{Kind: "close_break", Parameters: bad, Reason: "r"})
		require.ErrorIs(t, err, fault.MalformedRequest, "%v", bad)
	}
	_, err := b.desk.Propose(ctx, b.who("abe"), access.Proposal{Kind: "close_break", Parameters: access.Parameters{"break": "999", "state": "explained"}, Reason: "r"})
	require.ErrorIs(t, err, fault.NotFound)

	v := b.approved("close_break", access.Parameters{"break": id, "state": "resolved", "code": "channel_corrected"})
	require.Contains(t, v.Words.En, "no money moves")
	linked := b.approved("compensate", access.Parameters{"account": b.open(), "asset": "CZK", "amount": "250", "link": "break " + id})
	b.approved("compensate", access.Parameters{"account": b.open(), "asset": "CZK", "amount": "250", "link": "break " + healed})
	n, err := strconv.ParseInt(id, 10, 64)
	require.NoError(t, err)
	about, _, err := b.desk.List(ctx, b.tenant, "", access.About{Break: n}, access.ApprovalID{}, 100)
	require.NoError(t, err)
	require.Len(t, about, 2, "what closes it, and what is linked to it, however many others are newer")
	require.ElementsMatch(t, []access.ApprovalID{v.ID, linked.ID}, []access.ApprovalID{about[0].ID, about[1].ID})
	v, err = b.desk.Execute(ctx, b.who("abe"), v.ID, v.Hash)
	require.NoError(t, err)
	require.Equal(t, access.Done, v.Outcome, v.Result)
	var state, code, by string
	require.NoError(t, b.pool.QueryRow(ctx, `select state, close_code, closed_by from breaks where id = $1::text::bigint`, id).Scan(&state, &code, &by))
	require.Equal(t, []string{"resolved", "channel_corrected"}, []string{state, code})
	require.Contains(t, by, "abe")
	_, err = b.desk.Propose(ctx, b.who("abe"), access.Proposal{Kind: "close_break", Parameters: access.Parameters{"break": id, "state": "explained"}, Reason: "r"})
	require.ErrorIs(t, err, fault.AlreadyFinal)

	v = b.approved("close_break", access.Parameters{"break": healed, "state": "explained", "code": "timing"})
	_, err = b.pool.Exec(ctx, `update breaks set state = 'resolved', closed_at = now(), closed_by = 'recon', close_reason = 'the statement shows it' where id = $1::text::bigint`, healed)
	require.NoError(t, err)
	_, err = b.desk.Execute(ctx, b.who("abe"), v.ID, v.Hash)
	require.ErrorIs(t, err, fault.AlreadyFinal)
	require.NoError(t, b.pool.QueryRow(ctx, `select state from breaks where id = $1::text::bigint`, healed).Scan(&state))
	require.Equal(t, "resolved", state, "what recon found stands")
}
