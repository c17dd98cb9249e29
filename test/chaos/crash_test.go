package chaos

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
)

// The process dies at each step of the way to another channel: after the decline was
// committed, after the intent of the attempt elsewhere, and after that order left.
// Whoever leads next goes on from there: the money moves once, at the second channel,
// and the first one, asked again, is not paid.
func TestACrashAtEachStepToAnotherChannel(t *testing.T) {
	t.Parallel()
	for name, step := range map[string]int{"declined": 1, "intended elsewhere, not sent": 2, "sent elsewhere, word lost": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cells := []*cell{{failure: failure{name: "T10"}, path: elsewhere, code: "first"}}
			w := build(t, cells, 1, mistake{})
			w.behave("first")
			w.hold("bank-first", true)
			answers := w.node.SubmitAll(t.Context(), []commit.Fact{w.payout(cells[0], 0, 700)})
			require.NoError(t, answers[0].Err)
			id, now := answers[0].Payment.ID, time.Now()
			facts := []pay.Fact{
				{Kind: pay.Intend, Attempt: 1, SendBy: now.Add(100 * time.Millisecond)},
				{Kind: pay.Redirect, Attempt: 1, Reason: "insufficient_funds", NextAt: now.Add(300 * time.Millisecond)},
				{Kind: pay.Intend, Attempt: 2, SendBy: now.Add(200 * time.Millisecond), Channel: "bank-" + backup},
			}
			for _, f := range facts[:min(step+1, 3)] {
				f.Payment = id
				_, err := w.node.Submit(t.Context(), commit.Fact{Payment: &f})
				require.NoError(t, err)
			}
			if step == 3 {
				w.call("POST", "/banks/"+backup+"/payments", `{"reference":"`+pay.Reference(id, 2)+`","amount":"700","asset":"CZK","account":"123456"}`, nil)
			}
			w.hold("bank-first", false)
			require.Eventually(t, func() bool { return w.stands()[id].state.Final() }, time.Minute, 50*time.Millisecond)
			require.Equal(t, pay.Succeeded, w.stands()[id].state)
			moved := w.effects(cells)
			require.Zero(t, moved[pay.Reference(id, 1)], "the first channel had declined")
			total := 0
			for n := int16(2); n <= w.stands()[id].attempt; n++ {
				total += moved[pay.Reference(id, n)]
			}
			require.Equal(t, 1, total)
			var elsewhereOnly int
			require.NoError(t, w.pool.QueryRow(t.Context(),
				`select count(*) from attempts where payment = $1 and n > 1 and channel <> $2`, int64(id), "bank-"+backup).Scan(&elsewhereOnly))
			require.Zero(t, elsewhereOnly, "what went on to another channel stays there")
		})
	}
}
