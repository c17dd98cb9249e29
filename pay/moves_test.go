package pay_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/pay"
)

// ways are the states that a payment of the kind can reach from each of its own.
func ways(kind pay.Kind) map[pay.State]map[pay.State]bool {
	next := map[pay.State]map[pay.State]bool{}
	for _, m := range pay.Moves() {
		if m.Kind == kind {
			if next[m.From] == nil {
				next[m.From] = map[pay.State]bool{}
			}
			next[m.From][m.To] = true
		}
	}
	for range len(next) { // as far as it goes
		for _, to := range next {
			for s := range to {
				for further := range next[s] {
					to[further] = true
				}
			}
		}
	}
	return next
}

// Every step that waits for somebody outside can be completed and can be taken back: from
// each open state of what holds money a success can be reached, and an end at which the
// money is where it was. Debts and money without an owner end in one way only, see
// docs/linked.md.
func TestEveryStepHasItsCompensation(t *testing.T) {
	t.Parallel()
	back := []pay.State{pay.Failed, pay.Cancelled, pay.Expired}
	for _, kind := range []pay.Kind{pay.Payout, pay.Deposit, pay.Hold, pay.Capture, pay.Refund} {
		from := ways(kind)
		open := 0
		for s := range from[pay.None] {
			if s.Final() {
				continue
			}
			open++
			require.True(t, from[s][pay.Succeeded], "a %s that is %s never succeeds", kind, s)
			var taken bool
			for _, end := range back {
				taken = taken || from[s][end]
			}
			require.True(t, taken, "what a %s that is %s has taken is never given back", kind, s)
		}
		require.Positive(t, open, kind)
	}
	require.False(t, ways(pay.Payout)[pay.Failed][pay.Succeeded], "the control: an end is an end")
}
