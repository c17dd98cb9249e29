package recon

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
)

// A statement may list what came back before what had gone out. The line of what came
// back is no second execution.
func TestAReturnBeforeItsOriginalDoublesNothing(t *testing.T) {
	t.Parallel()
	payments := map[pay.ID]known{7: {kind: pay.Payout, via: "b", asset: "CZK", amount: money.Int(5), state: pay.Succeeded, attempts: []string{"b"}}}
	line := func(id string, d channel.Direction, back bool) *item {
		return &item{Line: channel.Line{ID: id, Reference: pay.Reference(7, 1), Direction: d, Return: back, Amount: money.Int(5), Asset: "CZK"}, id: 7, attempt: 1}
	}
	before := past{byID: map[string][]stated{}, byReference: map[string][]stated{}}
	for _, it := range []*item{line("2", channel.In, true), line("1", channel.Out, false)} {
		it.judge("b", payments, before)
		require.Empty(t, it.outcome, it.detail)
		before.add(stated{it.Line, matched})
	}
	again := line("3", channel.Out, false)
	again.judge("b", payments, before)
	require.Equal(t, doubled, again.outcome)
}
