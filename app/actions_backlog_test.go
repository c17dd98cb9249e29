package app

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
)

// Two people give up a callback that was set aside: once, and none that is not aside.
func TestTwoPeopleGiveUpACallback(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	ctx := t.Context()
	var id string
	require.NoError(t, b.pool.QueryRow(ctx, `with i as (insert into inbox (channel, headers, body, received_at, applied_at, verdict) values ('bank-ab', '{}', 'x', now(), now(), 'aside') returning id)
		insert into callbacks_aside (inbox, channel, received_at, aside_at, "by", reason) select id, 'bank-ab', now(), now(), 'doctor', 'it hangs' from i returning inbox::text`).Scan(&id))
	for bad, code := range map[string]fault.Code{"x": fault.MalformedRequest, "0": fault.MalformedRequest, id + ",999": fault.IllegalTransition} {
		_, err := b.desk.Propose(ctx, b.who("abe"), access.Proposal{Kind: "give_up_callback", Parameters: access.Parameters{"callbacks": bad}, Reason: "r"})
		require.Equal(t, code, fault.CodeOf(err), bad)
	}
	v := b.approved("give_up_callback", access.Parameters{"callbacks": id})
	require.Contains(t, v.Words.En, "no money moves")
	v, err := b.desk.Execute(ctx, b.who("abe"), v.ID, v.Hash)
	require.NoError(t, err)
	require.Equal(t, access.Done, v.Outcome, v.Result)
	var verdict, by string
	require.NoError(t, b.pool.QueryRow(ctx, `select i.verdict, a.ended_by from inbox i join callbacks_aside a on a.inbox = i.id`).Scan(&verdict, &by))
	require.Equal(t, "given_up", verdict)
	require.Contains(t, by, "abe")
	_, err = b.desk.Propose(ctx, b.who("abe"), access.Proposal{Kind: "give_up_callback", Parameters: access.Parameters{"callbacks": id}, Reason: "r"})
	require.Equal(t, fault.IllegalTransition, fault.CodeOf(err))
}
