package recon_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/recon"
)

// A bank that said it executed two payouts and states neither is asked for both: what it
// executed is no case for paying again, what it never had is, in its own words; and of a
// deposit nobody is owed anything.
func TestOnlyWhatTheBankDisownsIsOwed(t *testing.T) {
	t.Parallel()
	w := build(t, 100)
	ctx := t.Context()
	w.call(http.MethodPatch, "/behaviour", `{"statement_omit":1}`)
	said := func(p pay.Payment, attempt int16) {
		w.fact(pay.Fact{Kind: pay.Confirm, Payment: p.ID, Attempt: attempt, Amount: p.Amount, Asset: p.Asset, Source: "reply"})
	}
	executed := w.payout("executed", 100)
	said(executed, 1)
	lied := w.accepted("lied", 300)
	lied = w.fact(pay.Fact{Kind: pay.Intend, Payment: lied.ID, Attempt: 1, SendBy: time.Now().Add(-time.Minute)})
	said(lied, 1)
	d := w.deposit("in", 200)
	said(d, 0)
	breaks := map[string]recon.Break{}
	require.Eventually(t, func() bool {
		w.run()
		page, _, err := w.recon.Breaks(ctx, recon.BreakFilter{Class: "missing_in_statement"})
		require.NoError(t, err)
		for _, b := range page {
			breaks[b.Payment] = b
		}
		return len(breaks) == 3
	}, patience, 5*time.Millisecond)

	deposit := breaks[d.ID.String()]
	require.False(t, deposit.Owes())
	require.Empty(t, deposit.Suggestion.Transition)
	_, err := w.recon.Owed(ctx, deposit.ID)
	require.ErrorIs(t, err, fault.IllegalTransition)

	owed, err := w.recon.Owed(ctx, breaks[executed.ID.String()].ID)
	require.NoError(t, err)
	_, err = w.recon.Bears(ctx, &owed)
	require.ErrorIs(t, err, fault.IllegalTransition)
	require.ErrorContains(t, err, "the channel says that it executed it")

	owed, err = w.recon.Owed(ctx, breaks[lied.ID.String()].ID)
	require.NoError(t, err)
	require.Equal(t, []string{w.house.String(), lied.ID.String(), "300", "CZK", pay.Reference(lied.ID, 1)},
		[]string{owed.Account, owed.Payment, owed.Amount.String(), string(owed.Asset), owed.Reference})
	evidence, err := w.recon.Bears(ctx, &owed)
	require.NoError(t, err)
	require.Contains(t, evidence.En, "it does not know it")
	require.Contains(t, evidence.Zh, "从未执行")
	again, err := w.recon.Owed(ctx, owed.Break)
	require.NoError(t, err)
	require.Equal(t, owed.Seen, again.Seen, "looking changes nothing")
	_, err = w.recon.Assign(ctx, owed.Break, "ann", "ann", "she calls the bank")
	require.NoError(t, err)
	again, err = w.recon.Owed(ctx, owed.Break)
	require.NoError(t, err)
	require.Equal(t, owed.Seen, again.Seen, "who looks after it changes nothing of what it owes")

	// It was made up for, and the bank executes it after all: the line settles the payment,
	// and that the money went twice is a break of its own, once.
	_, err = w.recon.Close(ctx, owed.Break, recon.Closing{State: recon.Resolved, Code: "posted", Who: "approval apr_1", Why: "made up for by pay_9"})
	require.NoError(t, err)
	w.call(http.MethodPatch, "/behaviour", `{"statement_omit":0}`)
	w.call(http.MethodPost, "/payments", fmt.Sprintf(`{"reference":%q,"amount":"300","asset":"CZK","account":"1"}`, owed.Reference))
	w.booked(owed.Reference)
	w.run()
	w.run()
	require.True(t, w.settled(lied.ID))
	page, _, err := w.recon.Breaks(ctx, recon.BreakFilter{Class: "compensated_executed"})
	require.NoError(t, err)
	require.Len(t, page, 1)
	require.Equal(t, []string{lied.ID.String(), "300", "recall", ""}, []string{page[0].Payment, page[0].Amount.String(), page[0].Suggestion.Action, page[0].Suggestion.Transition})
	require.Contains(t, page[0].Detail, "made up for by pay_9")
	require.NotEmpty(t, page[0].Line)
}
