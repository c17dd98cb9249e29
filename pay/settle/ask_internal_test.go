package settle

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
)

// moved refuses all words: the payment has gone to bank-cd meanwhile.
type moved struct{ commit.Submitter }

func (moved) SubmitAll(_ context.Context, facts []commit.Fact) []commit.Outcome {
	out := make([]commit.Outcome, len(facts))
	for i := range out {
		out[i].Err = fault.New(fault.AlreadyFinal, "it has another attempt")
		out[i].Payment = pay.Payment{ID: facts[i].Payment.Payment, State: pay.Processing, Channel: "bank-cd"}
	}
	return out
}

// What a channel answers to a query is its own word, also when the payment has gone to
// another one while it was asked: its break names the channel that says it executed.
func TestTheBreakOfAnAnswerNamesWhoAnswered(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t)
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{Service: "test"})
	require.NoError(t, err)
	a := NewAsker(AskerConfig{Submitter: moved{}, Pool: pool, Telemetry: tel})
	word := pay.Fact{Kind: pay.Confirm, Payment: 7, Attempt: 1, Channel: "bank-ab", Source: "query", Amount: money.Int(5), Asset: "CZK"}
	a.submitBatch(t.Context(), slices.Repeat([]pay.Fact{word}, 2)) // asked twice, one break
	var n int
	require.NoError(t, pool.QueryRow(t.Context(), `select count(*) from breaks`).Scan(&n))
	require.Equal(t, 1, n)
	var channel, reference string
	var executed bool
	require.NoError(t, pool.QueryRow(t.Context(), `select channel, reference, executed from breaks where class = 'contradiction'`).Scan(&channel, &reference, &executed))
	require.Equal(t, []any{"bank-ab", pay.Reference(7, 1), true}, []any{channel, reference, executed})
}
