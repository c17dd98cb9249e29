package settle_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/recon"
)

// TestARepliedContradictionIsABreak: what only the reply to an order says is heard as
// what a callback or a query says, once for each reference; what is no news is not.
func TestARepliedContradictionIsABreak(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	r.lead()
	r.deaf.Store(true)
	p := r.submit(r.payout(1, 700))[0]
	sendBy := time.Now().Truncate(time.Microsecond)
	word := func(kind pay.FactKind) *pay.Fact {
		return &pay.Fact{Kind: kind, Payment: p.ID, Attempt: 1, Amount: p.Amount, Asset: p.Asset, SendBy: sendBy, Source: "reply"}
	}
	reply := func(f *pay.Fact) (commit.Outcome, bool) {
		answer := r.node.SubmitAll(t.Context(), []commit.Fact{{Payment: f}})[0]
		return answer, r.asker.Replied(t.Context(), "bank-ab", f, &answer)
	}
	_, called := reply(word(pay.Intend))
	require.False(t, called)
	other := word(pay.Confirm)
	other.Amount = money.Int(701)
	answer, called := reply(other)
	require.True(t, called, "%v", answer.Err)
	_, called = reply(word(pay.Confirm))
	require.False(t, called)
	for range 2 {
		answer, called = reply(word(pay.Decline))
		require.True(t, called, "%v", answer.Err)
	}
	_, called = reply(word(pay.Doubt))
	require.False(t, called, "no word contradicts nothing")
	require.Equal(t, pay.Succeeded, r.read(p.ID).State)
	breaks, _, err := r.recon.Breaks(t.Context(), recon.BreakFilter{State: "open"})
	require.NoError(t, err)
	classes := map[string]string{}
	for _, b := range breaks {
		classes[b.Class] = b.Reference
	}
	reference := pay.Reference(p.ID, 1)
	require.Equal(t, map[string]string{"amount_mismatch": reference, "contradiction": reference}, classes)
}
