package settle_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	rail "github.com/moneta-pay/moneta/pay/channel/sandbox"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/recon"
)

// absent is a payout whose first attempt was proven never to have executed, and which
// waits to be sent again; the bank has its order all the same from the call to Send on.
func (r *road) absent(n int, amount int64) (p pay.Payment, order channel.Order) {
	r.t.Helper()
	r.deaf.Store(true)
	p = r.submit(r.payout(n, amount))[0]
	sendBy := time.Now().Truncate(time.Microsecond)
	r.submit(
		commit.Fact{Payment: &pay.Fact{Kind: pay.Intend, Payment: p.ID, Attempt: 1, SendBy: sendBy, Source: "dispatch"}},
		commit.Fact{Payment: &pay.Fact{Kind: pay.ProveAbsent, Payment: p.ID, Attempt: 1, AttemptState: pay.Absent, SendBy: sendBy, Source: "query"}},
	)
	return p, channel.Order{
		Reference: pay.Reference(p.ID, 1), Amount: p.Amount, Asset: p.Asset, Payee: channel.Party{Account: p.PayeeAccount},
		SendBy: time.Now().Add(time.Minute),
	}
}

func (r *road) send(o channel.Order) {
	r.t.Helper()
	ch, err := rail.New(rail.Config{BaseURL: r.bank.URL, Bank: "ab", Secrets: []string{secret}, Capabilities: rail.DefaultCapabilities()})
	require.NoError(r.t, err)
	defer ch.Close()
	require.Equal(r.t, channel.Acked, ch.Send(r.t.Context(), o).Verdict)
}

// The bank said that it did not know the order, and takes it afterwards: the payment
// goes on with that attempt, nothing is sent beside it, and somebody hears of it.
func TestWhatTheBankTakesAfterTheProofIsNotSentAgain(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	r.door()
	r.lead()
	r.behave(`{"callback_accepted":1,"execute_delay":{"probability":1,"min_ms":500,"max_ms":500}}`)
	p, order := r.absent(1, 700)
	r.send(order)
	r.eventually("its acknowledgement is applied", func() bool { return r.number(`select count(*) from inbox where applied_at is not null`) > 0 })
	r.deaf.Store(false)
	r.untilFinal()
	require.Equal(t, pay.Succeeded, r.read(p.ID).State)
	require.Equal(t, int64(1), r.number(`select count(*) from attempts`))
	require.Equal(t, int64(1), r.number(`select count(*) from transitions where transition = 5 and from_state = $1 and reason = $2`, int16(pay.Reserved), pay.ReasonTaken))
	r.proof()
	r.reconciled()
	breaks, _, err := r.recon.Breaks(t.Context(), recon.BreakFilter{State: "open"})
	require.NoError(t, err)
	require.Len(t, breaks, 1)
	require.Equal(t, []string{"contradiction", order.Reference}, []string{breaks[0].Class, breaks[0].Reference})
	require.Contains(t, r.log.String(), "the channel has what it said it never had")
	said, err := r.recon.Contradicted(t.Context(), "bank-ab", order.Reference)
	require.NoError(t, err)
	require.False(t, said, "that it has taken it is no word of execution")
}

// The same, and the first that anybody hears of it is that it was executed: by a
// callback, or by the statement alone.
func TestWhatTheBankExecutesAfterTheProofIsABreak(t *testing.T) {
	t.Parallel()
	for name, callback := range map[string]bool{"by a callback": true, "by the statement": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := build(t, quick())
			if callback {
				r.door()
			}
			r.lead()
			p, order := r.absent(1, 700)
			r.send(order)
			r.eventually("the bank executes it", func() bool { return r.effects()[order.Reference] == 1 })
			if callback {
				r.untilFinal()
			}
			r.reconciled()
			require.Equal(t, pay.Succeeded, r.read(p.ID).State)
			r.proof()
			r.eventually("its break is kept", func() bool { return r.number(`select count(*) from breaks`) > 0 }) // after the fact that made it
			breaks, _, err := r.recon.Breaks(t.Context(), recon.BreakFilter{State: "open"})
			require.NoError(t, err)
			require.Len(t, breaks, 1)
			require.Equal(t, []string{"contradiction", order.Reference}, []string{breaks[0].Class, breaks[0].Reference})
		})
	}
}

// disputed is a payout whose two attempts were proven absent, and of which the bank has
// taken and executed the first all the same: a person has it, and it is not sent again.
func (r *road) disputed() (p pay.Payment, order channel.Order) {
	r.t.Helper()
	p, order = r.absent(1, 700)
	sendBy := time.Now().Truncate(time.Microsecond)
	r.submit(
		commit.Fact{Payment: &pay.Fact{Kind: pay.Intend, Payment: p.ID, Attempt: 2, SendBy: sendBy, Source: "dispatch"}},
		commit.Fact{Payment: &pay.Fact{Kind: pay.ProveAbsent, Payment: p.ID, Attempt: 2, AttemptState: pay.Absent, SendBy: sendBy, Source: "query"}},
	)
	r.send(order)
	r.eventually("somebody has to look", func() bool { return r.read(p.ID).State == pay.InReview })
	r.deaf.Store(false)
	r.eventually("its break is kept", func() bool { return r.number(`select count(*) from breaks where reference = $1`, order.Reference) == 1 })
	r.eventually("the bank executes it", func() bool { return r.effects()[order.Reference] == 1 })
	r.eventually("and its break has that word too, whichever came first", func() bool {
		said, err := r.recon.Contradicted(r.t.Context(), "bank-ab", order.Reference)
		require.NoError(r.t, err)
		return said
	})
	require.Equal(r.t, int64(2), r.number(`select count(*) from attempts`))
	require.Equal(r.t, int64(1), r.number(`select count(*) from transitions where transition = 17 and to_state = $1`, int16(pay.InReview)))
	return p, order
}

// attest names the first attempt for two people.
func (r *road) attest(p *pay.Payment) pay.Payment {
	r.t.Helper()
	return r.submit(commit.Fact{Payment: &pay.Fact{
		Kind: pay.Attest, Payment: p.ID, Attempt: 1, SendBy: time.Now().Truncate(time.Microsecond), Channel: "bank-ab",
		Amount: p.Amount, Asset: p.Asset, Source: pay.SourceOperators, Reason: "evidence of apr_1",
	}})[0]
}

// A person ends the review with a refusal, and the bank says once more that it executed.
func TestAWordAboutAnOldAttemptStopsThePayment(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	r.door()
	r.lead()
	p, _ := r.disputed()
	r.submit(commit.Fact{Payment: &pay.Fact{Kind: pay.ReviewNo, Payment: p.ID, Source: "operator", Reason: "the bank has executed the first"}})
	r.submit(commit.Fact{Payment: &pay.Fact{
		Kind: pay.Confirm, Payment: p.ID, Attempt: 1, Amount: p.Amount, Asset: p.Asset, Channel: "bank-ab", Source: "callback",
	}})
	got := r.read(p.ID)
	require.Equal(t, pay.Cancelled, got.State)
	require.Equal(t, pay.LatePayout, r.read(got.Late).Kind)
	require.Zero(t, r.number(`select coalesce(sum(amount), 0)::bigint from facts.postings`))
}

// Two people name the attempt that the bank has executed, before its line comes or after
// it was judged: the line settles the payment, clearing runs to zero, and what the bank
// says of the other attempt afterwards is a break.
func TestPeopleSettleByTheAttemptThatExecuted(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]bool{"before its line": true, "after its line": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := build(t, quick())
			r.door()
			r.lead()
			if !before {
				r.behave(`{"callback_accepted":1,"execute_delay":{"probability":1,"min_ms":300,"max_ms":300}}`) // the break is of another word first
			}
			p, order := r.disputed()
			open := func() (found []recon.Break) {
				t.Helper()
				require.NoError(t, r.recon.Run(t.Context()))
				found, _, err := r.recon.Breaks(t.Context(), recon.BreakFilter{State: "open"})
				require.NoError(t, err)
				return found
			}
			if !before {
				require.Len(t, open(), 1)
				require.Equal(t, int64(1), r.number(`select count(*) from statement_lines where outcome = 'wrong_state'`))
				require.Equal(t, pay.InReview, r.read(p.ID).State, "a line alone does not end the review")
			}
			got := r.attest(&p)
			require.Equal(t, []any{pay.Succeeded, int16(1), pay.Confirmed, int16(2)}, []any{got.State, got.Attempt.N, got.Attempt.State, got.Tried})
			kept := r.read(p.ID)
			require.Equal(t, []any{got.Attempt.N, got.Tried, got.AbsentBefore, got.Channel}, []any{kept.Attempt.N, kept.Tried, kept.AbsentBefore, kept.Channel}, "as the rows have it")
			require.Equal(t, int64(703), r.number(`select -sum(amount)::bigint from facts.postings where account = $1`, int64(r.house)), "with our fee, once")
			left := open()
			if before { // the word of the callback is still to be looked at: the channel's proof was wrong
				require.Len(t, left, 1)
				require.Equal(t, []string{"contradiction", order.Reference, ""}, []string{left[0].Class, left[0].Reference, left[0].Line})
			} else {
				require.Empty(t, left, "it was that line's")
			}
			require.Equal(t, pay.SettlementMatched, r.read(p.ID).Settlement)
			require.Equal(t, int64(1), r.number(`select count(*) from statement_lines where outcome = 'matched'`))
			require.Zero(t, r.number(`select count(*) from expectations`))
			r.reconciled()
			r.proof()
			again := r.attest(&p)
			require.Equal(t, r.read(p.ID).Seq, again.Seq, "once")
			other := pay.Reference(p.ID, 2)
			_, err := r.node.Submit(t.Context(), commit.Fact{Payment: &pay.Fact{
				Kind: pay.Confirm, Payment: p.ID, Attempt: 2, Amount: p.Amount, Asset: p.Asset, Channel: "bank-ab", Source: "callback",
			}})
			require.ErrorIs(t, err, fault.AlreadyFinal)
			order.Reference, order.SendBy = other, time.Now().Add(time.Minute)
			r.send(order)
			r.eventually("it is paid twice, and a break", func() bool {
				return r.number(`select count(*) from breaks where class = 'contradiction' and reference = $1 and closed_at is null`, other) == 1
			})
			require.Equal(t, int64(703), r.number(`select -sum(amount)::bigint from facts.postings where account = $1`, int64(r.house)))
		})
	}
}
