package settle_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/recon"
)

// paid announces a deposit and lets the bank send it.
func (r *road) paid(n int, amount int64) pay.Payment {
	r.t.Helper()
	d := r.submit(r.deposit(n, amount))[0]
	r.instruct(pay.Reference(d.ID, 0), amount)
	r.eventually("the deposit is credited", func() bool { state, _ := r.state(d.ID); return state == pay.Succeeded })
	return d
}

func (r *road) refund(d pay.Payment, k string, amount int64) commit.Fact {
	payee := pay.Reference(d.ID, 0)
	if d.Kind == pay.LateDeposit {
		payee = d.Link
	}
	return accept(&pay.Payment{
		Tenant: 1, Kind: pay.Refund, Asset: "CZK", Amount: money.Int(amount), From: d.To, Original: d.ID, Channel: d.Channel,
		PayeeAccount: payee, Key: key("refund %s", k),
	})
}

func (r *road) read(id pay.ID) *pay.Payment {
	r.t.Helper()
	p, err := commit.NewReader(r.pool).Payment(r.t.Context(), 1, id)
	require.NoError(r.t, err)
	return &p
}

func (r *road) reconciled() {
	r.t.Helper()
	require.NoError(r.t, r.recon.Run(r.t.Context()))
	report, err := r.recon.Report(r.t.Context())
	require.NoError(r.t, err)
	a := report.Channels[0].Assets[0]
	require.True(r.t, a.ClearingIn.IsZero() && a.ClearingOut.IsZero() && a.Difference.IsZero(), "%+v", a)
}

// A deposit is refunded in two parts through the bank that brought it: one part
// with its reply lost, so that nobody knows for a while. The deposit never flips.
func TestADepositIsRefundedThroughItsBank(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	r.door()
	r.lead()
	d := r.paid(1, 3_000_000_000)
	parts := r.submit(r.refund(d, "a", 1_000_000_004), r.refund(d, "b", 700))
	r.untilFinal()
	for _, p := range parts {
		require.Equal(t, pay.Succeeded, r.read(p.ID).State)
		require.Equal(t, d.ID, r.read(p.ID).Original)
	}
	got := r.read(d.ID)
	require.Equal(t, pay.Succeeded, got.State)
	require.Equal(t, pay.PartlyRefunded, got.Disposition())
	require.Equal(t, money.Int(1_000_000_704), got.Back.Refunded)
	require.Equal(t, money.Int(3_000_000_000-1_000_000_704), got.Remaining())
	_, err := r.node.Submit(t.Context(), r.refund(d, "c", 3_000_000_000-1_000_000_703))
	require.ErrorIs(t, err, fault.AmountExceedsRemaining)
	r.submit(r.refund(d, "d", 3_000_000_000-1_000_000_704))
	r.untilFinal()
	require.Equal(t, pay.Refunded, r.read(d.ID).Disposition())
	r.proof()
	r.reconciled()
}

// A refund that the bank declines gives the money back to where it can be refunded
// from again.
func TestARefundThatFailsCanBeMadeAgain(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	r.door()
	r.lead()
	d := r.paid(1, 1_000_000_001) // the bank declines this amount
	failed := r.submit(r.refund(d, "a", 1_000_000_001))[0]
	_, err := r.node.Submit(t.Context(), r.refund(d, "at once", 1))
	require.Error(t, err, "it is all under way or nothing")
	r.untilFinal()
	require.Equal(t, pay.Failed, r.read(failed.ID).State)
	got := r.read(d.ID)
	require.Equal(t, pay.NoDisposition, got.Disposition())
	require.True(t, got.Taken.IsZero())
	r.submit(r.refund(d, "b", 1_000_000_000))
	r.untilFinal()
	require.Equal(t, pay.PartlyRefunded, r.read(d.ID).Disposition())
	require.Equal(t, money.Int(1), r.read(d.ID).Remaining())
	r.proof()
	r.reconciled()
}

// A refund whose every request is lost is proven never to have left, like a payout:
// it does not stay unknown for ever.
func TestARefundThatNeverLeftIsGivenBack(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	r.door()
	r.lead()
	d := r.paid(1, 2_000_000_000)
	lost := r.submit(r.refund(d, "a", 1_000_000_003))[0] // the bank never sees this amount
	r.untilFinal()
	require.Equal(t, pay.Failed, r.read(lost.ID).State)
	require.True(t, r.read(d.ID).Taken.IsZero())
	r.proof()
	r.reconciled()
}

// credited are deposits that the bank has confirmed.
func (r *road) credited(n int, amount int64) []pay.Payment {
	r.t.Helper()
	facts := make([]commit.Fact, n)
	for i := range facts {
		facts[i] = r.deposit(i, amount)
	}
	deposits := r.submit(facts...)
	for i, d := range deposits {
		facts[i] = commit.Fact{Payment: &pay.Fact{Kind: pay.Confirm, Payment: d.ID, Amount: d.Amount, Asset: d.Asset, Source: "callback"}}
	}
	r.submit(facts...)
	return deposits
}

// overpaid counts the deposits of which the bank's own books say that more went back to
// the payer than came from him.
func (r *road) overpaid(deposits []pay.Payment) (n int) {
	r.t.Helper()
	var books struct {
		Effects []struct {
			Direction, Reference string
			Amount               money.Amount
		}
	}
	r.call(http.MethodGet, "/banks/ab/books?limit=5000", "", &books)
	back := map[string]money.Amount{}
	for _, e := range books.Effects {
		if e.Direction == "out" {
			id, _, err := pay.ParseReference(e.Reference)
			require.NoError(r.t, err)
			var payee string
			require.NoError(r.t, r.pool.QueryRow(r.t.Context(), `select payee_account from payments where id = $1`, int64(id)).Scan(&payee))
			sum, err := back[payee].Add(e.Amount)
			require.NoError(r.t, err)
			back[payee] = sum
		}
	}
	for i := range deposits {
		if back[pay.Reference(deposits[i].ID, 0)].Cmp(deposits[i].Amount) > 0 {
			n++
		}
	}
	return n
}

// Five hundred pairs of refunds of one deposit each race for the last of it over
// the whole road: the bank never pays back more than it brought.
func TestFiveHundredPairsOfRefundsRace(t *testing.T) {
	t.Parallel()
	const pairs = 500
	r := build(t, quick())
	r.lead()
	deposits := r.credited(pairs, 100)
	var wg sync.WaitGroup
	won := make([]int, pairs)
	var mu sync.Mutex
	for i, d := range deposits {
		for _, half := range []string{"left", "right"} {
			wg.Go(func() {
				_, err := r.node.Submit(t.Context(), r.refund(d, half+d.ID.String(), 60))
				mu.Lock()
				defer mu.Unlock()
				switch fault.CodeOf(err) {
				case "":
					won[i]++
				case fault.AmountExceedsRemaining:
				default:
					t.Errorf("refund: %v", err)
				}
			})
		}
	}
	wg.Wait()
	for i, n := range won {
		require.Equal(t, 1, n, "of pair %d", i)
	}
	r.untilFinal()
	require.Equal(t, int64(pairs), r.number(`select count(*) from payments where kind = $1`, int16(pay.Refund)))
	refunds := 0
	for reference, n := range r.effects() {
		require.Equal(t, 1, n, reference)
		refunds++
	}
	require.Equal(t, pairs, refunds, "the bank has paid each deposit back once")
	require.Zero(t, r.overpaid(deposits))
}

// The control of the race: both of a pair look at what remains, both find enough, and
// both pay, as a plain payout that no guard caps. That is what a wallet does that reads
// and then writes, and the judge must see each of it in the bank's books, although our
// own sum is zero.
func TestRefundsThatLookFirstPayTwice(t *testing.T) {
	t.Parallel()
	const pairs = 20
	r := build(t, quick())
	r.lead()
	deposits := r.credited(pairs, 100)
	var wg sync.WaitGroup
	for _, d := range deposits {
		var looked sync.WaitGroup
		looked.Add(2)
		for _, half := range []string{"left", "right"} {
			wg.Go(func() {
				remains := r.read(d.ID).Remaining()
				looked.Done()
				looked.Wait()
				if remains.Cmp(money.Int(60)) < 0 {
					return
				}
				_, err := r.node.Submit(t.Context(), accept(&pay.Payment{
					Tenant: 1, Kind: pay.Payout, Asset: "CZK", Amount: money.Int(60), From: r.house, Channel: d.Channel,
					PayeeAccount: pay.Reference(d.ID, 0), Key: key("naive %s %d", half, d.ID),
				}))
				if err != nil {
					t.Errorf("payout: %v", err)
				}
			})
		}
	}
	wg.Wait()
	r.eventually("the judge sees that the bank has paid more back than it got", func() bool { return r.overpaid(deposits) == pairs })
	require.Zero(t, r.number(`select coalesce(sum(amount), 0)::bigint from facts.postings`))
}

// The bank says that a payout failed, the holder has his money back and spends a
// part of it; then the statement shows that it was executed. Nothing flips: the
// holder owes, what he has is taken at once, the rest when something comes, and
// clearing runs to zero.
func TestAPayoutThatWasCalledFailedHasExecuted(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	r.lead()
	r.submit(accept(&pay.Payment{Tenant: 1, Kind: pay.Send, Asset: "CZK", Amount: money.Int(1000), From: r.house, To: r.user, Key: key("fund")}))
	r.deaf.Store(true)
	p := r.submit(accept(&pay.Payment{
		Tenant: 1, Kind: pay.Payout, Asset: "CZK", Amount: money.Int(900), From: r.user, Channel: "bank-ab", PayeeAccount: "1", Key: key("out"),
	}))[0]
	for _, f := range []pay.Fact{
		{Kind: pay.Intend, Payment: p.ID, Attempt: 1, SendBy: time.Now().Add(time.Second)},
		{Kind: pay.Decline, Payment: p.ID, Attempt: 1, Source: "callback", Reason: "declined, they said"},
	} {
		_, err := r.node.Submit(t.Context(), commit.Fact{Payment: &f})
		require.NoError(t, err)
	}
	require.Equal(t, pay.Failed, r.read(p.ID).State)
	r.submit(accept(&pay.Payment{Tenant: 1, Kind: pay.Send, Asset: "CZK", Amount: money.Int(600), From: r.user, To: r.house, Key: key("spend")}))
	r.call(http.MethodPost, "/banks/ab/payments", `{"reference":"`+pay.Reference(p.ID, 1)+`","amount":"900","asset":"CZK","account":"1"}`, nil)
	r.eventually("the statement shows it", func() bool { return r.effects()[pay.Reference(p.ID, 1)] == 1 })
	require.NoError(t, r.recon.Run(t.Context()))

	got := r.read(p.ID)
	require.Equal(t, pay.Failed, got.State)
	require.Equal(t, pay.LateSuccess, got.Disposition())
	late := r.read(got.Late)
	require.Equal(t, pay.LatePayout, late.Kind)
	require.Equal(t, pay.Processing, late.State)
	require.Equal(t, pay.SettlementMatched, late.Settlement)
	require.Equal(t, money.Int(400), late.Taken, "what he had")
	require.Equal(t, money.Int(500), late.Remaining())
	require.True(t, late.NextAt.After(time.Now()), "P8")
	require.Contains(t, r.log.String(), "a payment that was called failed has executed")
	r.reconciled()

	again, err := r.node.Submit(t.Context(), commit.Fact{Payment: &pay.Fact{
		Kind: pay.Confirm, Payment: p.ID, Attempt: 1, Amount: p.Amount, Asset: p.Asset, Source: "callback",
	}})
	require.NoError(t, err)
	require.True(t, again.NoOp, "one late outcome a payment, whichever way the word came")
	recover := commit.Fact{Payment: &pay.Fact{Kind: pay.Recover, Payment: late.ID, Source: "timer"}}
	r.submit(recover)
	require.Equal(t, money.Int(400), r.read(late.ID).Taken, "there is nothing to take")
	r.submit(accept(&pay.Payment{Tenant: 1, Kind: pay.Send, Asset: "CZK", Amount: money.Int(450), From: r.house, To: r.user, Key: key("more")}))
	r.submit(recover)
	require.Equal(t, money.Int(850), r.read(late.ID).Taken)
	r.submit(commit.Fact{Payment: &pay.Fact{Kind: pay.WriteOff, Payment: late.ID, Source: "operator", Reason: "approved"}})
	require.Equal(t, pay.Succeeded, r.read(late.ID).State)
	require.Equal(t, int64(-50), r.number(`select sum(x.amount)::bigint from facts.postings x join accounts a on a.id = x.account where a.name = 'loss:ops'`))
	require.Zero(t, r.number(`select sum(x.amount)::bigint from facts.postings x join accounts a on a.id = x.account where a.name = 'recv:user'`))
	require.Zero(t, r.number(`select sum(amount)::bigint from facts.postings where account = $1`, int64(r.user)))
}

// late is a payout of the user's that was called failed, and that the bank has executed:
// what the user has of it is taken, and the rest is a debt.
func (r *road) late(left int64) (p, debt pay.Payment) {
	r.t.Helper()
	r.deaf.Store(true)
	r.submit(accept(&pay.Payment{Tenant: 1, Kind: pay.Send, Asset: "CZK", Amount: money.Int(803), From: r.house, To: r.user, Key: key("wages")}))
	f := r.payout(1, 800)
	f.Payment.New.From = r.user
	p = r.submit(f)[0]
	sendBy := time.Now().Truncate(time.Microsecond)
	r.submit(
		commit.Fact{Payment: &pay.Fact{Kind: pay.Intend, Payment: p.ID, Attempt: 1, SendBy: sendBy, Source: "dispatch"}},
		commit.Fact{Payment: &pay.Fact{Kind: pay.Decline, Payment: p.ID, Attempt: 1, SendBy: sendBy, Source: "query"}},
	)
	r.submit(accept(&pay.Payment{Tenant: 1, Kind: pay.Send, Asset: "CZK", Amount: money.Int(803 - left), From: r.user, To: r.house, Key: key("spent")}))
	r.send(channel.Order{
		Reference: pay.Reference(p.ID, 1), Amount: p.Amount, Asset: p.Asset, Payee: channel.Party{Account: p.PayeeAccount}, SendBy: time.Now().Add(time.Minute),
	})
	r.eventually("it has executed late", func() bool { return r.read(p.ID).Late != 0 })
	p = *r.read(p.ID)
	return p, *r.read(p.Late)
}

// sendBack has the bank return the payout, and reads its statement.
func (r *road) sendBack(p *pay.Payment, part string) []recon.Break {
	r.t.Helper()
	r.call(http.MethodPost, "/banks/ab/reversals", `{"reference":"`+pay.Reference(p.ID, 1)+`",`+part+`"reason":"AC04"}`, nil)
	r.eventually("callbacks are applied", func() bool {
		return r.number(`select count(*) from inbox where applied_at is null`) == 0 && r.number(`select count(*) from inbox`) == 2
	})
	require.NoError(r.t, r.recon.Run(r.t.Context()))
	open, _, err := r.recon.Breaks(r.t.Context(), recon.BreakFilter{State: "open"})
	require.NoError(r.t, err)
	return open
}

const of = `select coalesce(sum(x.amount), 0)::bigint from facts.postings x join accounts a on a.id = x.account where a.name = $1`

// A payout that was called failed, executed all the same, and is returned by its bank:
// the holder has the money once, his debt is gone, and nobody has to do anything.
func TestALateOutcomeThatComesBackEndsTheDebt(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	r.door()
	r.lead()
	p, debt := r.late(300)
	require.Equal(t, []any{pay.Failed, pay.Processing, money.Int(300)}, []any{p.State, debt.State, debt.Taken})
	require.Empty(t, r.sendBack(&p, ""))
	got := r.read(p.ID)
	require.Equal(t, []any{pay.Failed, pay.ReturnedBack, money.Int(800), true}, []any{got.State, got.Disposition(), got.Back.Returned, got.Remaining().IsZero()})
	debt = *r.read(debt.ID)
	require.Equal(t, []any{pay.Succeeded, money.Int(800)}, []any{debt.State, debt.Taken})
	require.Equal(t, int64(300), r.number(`select sum(amount)::bigint from facts.postings where account = $1`, int64(r.user)), "as before it executed")
	require.Zero(t, r.number(of, "recv:user"))
	require.Zero(t, r.number(of, "fee:rev"))
	require.Zero(t, r.number(`select count(*) from expectations`))
	require.Zero(t, r.number(`select count(*) from open_payments`))
	r.reconciled()
	r.reconciled()
	require.Equal(t, int64(1), r.number(`select count(*) from payments where kind = $1`, int16(pay.Return)), "by the callback and the line: once")
}

// Somebody has written the debt off when the money comes back: it is ours, waits in
// suspense with a break that says so, and is given to an account of ours. The books are
// clean then.
func TestWhatComesBackOfAWrittenOffDebtIsOurs(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	r.door()
	r.lead()
	p, debt := r.late(300)
	r.submit(commit.Fact{Payment: &pay.Fact{Kind: pay.WriteOff, Payment: debt.ID, Source: "operators", Reason: "loss of apr_1"}})
	open := r.sendBack(&p, `"amount":"500",`)
	classes := map[string]recon.Break{}
	for _, b := range open {
		classes[b.Class] = b
	}
	require.Len(t, classes, 2, "%+v", open)
	for class, b := range classes {
		require.Contains(t, b.Detail, "the debt of "+debt.ID.String()+" was written off: what came back is ours", class)
		require.NotContains(t, b.Suggestion.En, "recover the amount from the holder", class)
	}
	line := classes["unmatched_inbound"]
	require.Equal(t, []any{"credit_owner", "T16", "operations"}, []any{line.Suggestion.Action, line.Suggestion.Transition, line.Owner})
	require.Zero(t, r.number(`select sum(amount)::bigint from facts.postings where account = $1`, int64(r.user)), "nothing was credited to him")
	require.Equal(t, int64(500), r.number(of, "susp:in"))
	r.reconciled()
	id := pay.ID(r.number(`select payment from open_payments where kind = $1`, int16(pay.Inbound)))
	r.submit(accept(&pay.Payment{Tenant: 1, Kind: pay.Assignment, Asset: "CZK", Amount: money.Int(500), To: r.house, Original: id, Key: key("ours")}))
	require.NoError(t, r.recon.Run(t.Context()))
	_, err := r.recon.Close(t.Context(), classes["contradiction"].ID, recon.Closing{State: recon.Resolved, Code: "recovered", Who: "ann", Why: "assigned to the house"})
	require.NoError(t, err)
	left, _, err := r.recon.Breaks(t.Context(), recon.BreakFilter{State: "open"})
	require.NoError(t, err)
	require.Empty(t, left)
	require.Zero(t, r.number(of, "susp:in"))
	require.Zero(t, r.number(`select coalesce(sum(amount), 0)::bigint from facts.postings`))
	r.reconciled()
}

// allApplied waits until n callbacks have come and are applied, reads the statement, and
// returns what is open then.
func (r *road) allApplied(n int64) map[string][]recon.Break {
	r.t.Helper()
	r.eventually("callbacks are applied", func() bool {
		return r.number(`select count(*) from inbox where applied_at is null`) == 0 && r.number(`select count(*) from inbox`) == n
	})
	require.NoError(r.t, r.recon.Run(r.t.Context()))
	open, _, err := r.recon.Breaks(r.t.Context(), recon.BreakFilter{State: "open"})
	require.NoError(r.t, err)
	classes := map[string][]recon.Break{}
	for _, b := range open {
		classes[b.Class] = append(classes[b.Class], b)
	}
	return classes
}

// Of two attempts that were called failed both have executed, and the one that is not
// booked comes back: at the bank it cancels, so nothing of it is booked here either.
func TestAnotherAttemptThatComesBackIsNobodysMoney(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	r.door()
	r.lead()
	r.deaf.Store(true)
	p := r.submit(r.payout(1, 800))[0]
	sendBy := time.Now().Truncate(time.Microsecond)
	for _, f := range []pay.Fact{
		{Kind: pay.Intend, Attempt: 1, SendBy: sendBy, Source: "dispatch"},
		{Kind: pay.ProveAbsent, Attempt: 1, SendBy: sendBy, Source: "query"},
		{Kind: pay.Intend, Attempt: 2, SendBy: sendBy, Source: "dispatch"},
		{Kind: pay.Decline, Attempt: 2, SendBy: sendBy, Source: "query"},
	} {
		f.Payment = p.ID
		r.submit(commit.Fact{Payment: &f})
	}
	require.Equal(t, pay.Failed, r.read(p.ID).State)
	execute := func(attempt int16) {
		r.send(channel.Order{
			Reference: pay.Reference(p.ID, attempt), Amount: p.Amount, Asset: p.Asset, Payee: channel.Party{Account: p.PayeeAccount}, SendBy: time.Now().Add(time.Minute),
		})
	}
	execute(2)
	r.allApplied(1)
	late := r.read(r.read(p.ID).Late)
	require.Equal(t, pay.Reference(p.ID, 2), late.Link)
	execute(1)
	r.allApplied(2)
	r.call(http.MethodPost, "/banks/ab/reversals", `{"reference":"`+pay.Reference(p.ID, 1)+`","reason":"AC04"}`, nil)
	open := r.allApplied(3)
	require.Zero(t, r.number(of, "susp:in"), "nobody brought it")
	require.Zero(t, r.number(`select count(*) from payments where kind in ($1, $2)`, int16(pay.Inbound), int16(pay.Return)))
	require.Empty(t, open["unmatched_inbound"])
	said := false
	for _, b := range open["contradiction"] {
		said = said || strings.Contains(b.Detail, pay.Reference(p.ID, 1)+" came back, and "+pay.Reference(p.ID, 2)+" executed: of "+
			pay.Reference(p.ID, 1)+" nothing is booked, neither that it left nor that it came back")
	}
	require.True(t, said, "%+v", open)
	r.reconciled()
	require.Zero(t, r.number(of, "susp:in"), "a second look books nothing")
	require.Equal(t, int64(800), r.number(of, "nostro:bank-ab"), "at the bank it left once, too")
}

// A callback about a stranger's money that comes after its line says nothing that the line
// has not: the break is the line's, and there is no other.
func TestACallbackBehindItsLineOpensNoBreakOfItsOwn(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	r.door()
	r.lead()
	r.behave(`{"callback_delay":{"probability":1,"min_ms":1500,"max_ms":1500}}`)
	r.instruct("FOR-UNCLE-BOB", 900)
	r.eventually("the bank has it", func() bool { return r.effects()["FOR-UNCLE-BOB"] == 1 })
	r.eventually("the line has come", func() bool {
		require.NoError(t, r.recon.Run(t.Context()))
		return r.number(`select count(*) from breaks where class = 'unmatched_inbound' and line <> ''`) == 1
	})
	r.allApplied(1)
	require.Zero(t, r.number(`select count(*) from breaks where class = 'unknown_reference'`))
}

// A refund of unplaced money that was called failed has executed, and comes back: the
// money waits once, since the failure, and what came back pays what the refund took.
func TestALateRefundOfUnplacedMoneyThatComesBackWaitsOnce(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	r.door()
	r.lead()
	r.instruct("FOR-UNCLE-BOB", 900)
	r.eventually("the bank has it", func() bool { return r.effects()["FOR-UNCLE-BOB"] == 1 })
	r.reconciled()
	waiting := func() pay.ID {
		return pay.ID(r.number(`select coalesce(max(payment), 0) from open_payments where kind = $1`, int16(pay.Inbound)))
	}
	r.deaf.Store(true)
	heard := r.number(`select count(*) from inbox`)
	p := r.submit(accept(&pay.Payment{
		Tenant: 1, Kind: pay.Refund, Asset: "CZK", Amount: money.Int(900), Original: waiting(), Channel: "bank-ab", PayeeAccount: "777", Key: key("back"),
	}))[0]
	sendBy := time.Now().Truncate(time.Microsecond)
	r.submit(
		commit.Fact{Payment: &pay.Fact{Kind: pay.Intend, Payment: p.ID, Attempt: 1, SendBy: sendBy, Source: "dispatch"}},
		commit.Fact{Payment: &pay.Fact{Kind: pay.Decline, Payment: p.ID, Attempt: 1, SendBy: sendBy, Source: "query"}},
	)
	again := waiting()
	r.send(channel.Order{
		Reference: pay.Reference(p.ID, 1), Amount: p.Amount, Asset: p.Asset, Payee: channel.Party{Account: "777"}, SendBy: time.Now().Add(time.Minute),
	})
	r.allApplied(heard + 1)
	debt := r.read(r.read(p.ID).Late)
	require.Equal(t, money.Int(900), debt.Remaining())
	r.call(http.MethodPost, "/banks/ab/reversals", `{"reference":"`+pay.Reference(p.ID, 1)+`","reason":"AC04"}`, nil)
	require.Empty(t, r.allApplied(heard + 2)["contradiction"])
	require.Equal(t, pay.Succeeded, r.read(debt.ID).State)
	require.Equal(t, again, pay.ID(r.number(`select max(id) from payments where kind = $1`, int16(pay.Inbound))), "it waits already")
	require.Equal(t, int64(1), r.number(`select count(*) from open_payments`))
	require.Equal(t, []int64{900, 0}, []int64{r.number(of, "susp:in"), r.number(of, "recv:user")})
	r.reconciled()
	r.submit(accept(&pay.Payment{Tenant: 1, Kind: pay.Assignment, Asset: "CZK", Amount: money.Int(900), To: r.user, Original: again, Key: key("owner")}))
	require.Zero(t, r.number(of, "susp:in"))
	require.Empty(t, r.allApplied(heard+2))
	require.Zero(t, r.number(`select count(*) from open_payments`))
	require.Zero(t, r.number(`select coalesce(sum(amount), 0)::bigint from facts.postings`))
	r.reconciled()
}

// A deposit that came late is charged back: what its holder has is taken, the rest is
// his debt, and it cannot be refunded as well.
func TestALateDepositIsChargedBack(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	r.door()
	r.lead()
	d := r.submit(r.deposit(1, 800))[0]
	r.submit(commit.Fact{Payment: &pay.Fact{Kind: pay.Decline, Payment: d.ID, Source: "query"}})
	r.instruct(pay.Reference(d.ID, 0), 800)
	r.eventually("credited late", func() bool { return r.read(d.ID).Late != 0 })
	late := r.read(r.read(d.ID).Late)
	r.submit(accept(&pay.Payment{Tenant: 1, Kind: pay.Send, Asset: "CZK", Amount: money.Int(500), From: r.user, To: r.house, Key: key("spend")}))
	r.call(http.MethodPost, "/banks/ab/reversals", `{"reference":"`+pay.Reference(d.ID, 0)+`","reason":"disputed"}`, nil)
	r.eventually("the callback is applied", func() bool { return r.read(late.ID).Disposition() == pay.ChargedBackDone })
	require.Equal(t, int64(-500), r.number(of, "recv:user"))
	_, err := r.node.Submit(t.Context(), r.refund(*late, "too", 1))
	require.ErrorIs(t, err, fault.AmountExceedsRemaining)
	r.reconciled()
	require.Zero(t, r.number(`select count(*) from expectations`))
	r.reconciled()
	require.Equal(t, int64(1), r.number(`select count(*) from payments where kind = $1`, int16(pay.Chargeback)), "by the callback and the line: once")
	open, _, err := r.recon.Breaks(t.Context(), recon.BreakFilter{State: "open"})
	require.NoError(t, err)
	require.Empty(t, open)
}

// A deposit that nobody paid in time is over; the money that comes later is its
// holder's all the same.
func TestMoneyForAnExpiredDepositIsCreditedLate(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	r.door()
	r.lead()
	f := r.deposit(1, 800)
	f.Payment.New.ExpiresAt = time.Now().Add(300 * time.Millisecond).UTC().Truncate(time.Microsecond)
	d := r.submit(f)[0]
	r.eventually("it expires", func() bool { state, _ := r.state(d.ID); return state == pay.Expired })
	require.Zero(t, r.number(`select count(*) from open_payments`))
	r.instruct(pay.Reference(d.ID, 0), 800)
	r.eventually("credited late", func() bool { return r.read(d.ID).Late != 0 })
	require.Equal(t, pay.Expired, r.read(d.ID).State)
	late := r.read(r.read(d.ID).Late)
	require.Equal(t, pay.LateDeposit, late.Kind)
	require.Equal(t, pay.Reference(d.ID, 0), late.Link, "what the payer quoted: a refund goes there")
	require.Equal(t, int64(800), r.number(`select sum(amount)::bigint from facts.postings where account = $1`, int64(r.user)))
	r.reconciled()
	require.Equal(t, pay.SettlementMatched, r.read(late.ID).Settlement)
	refund := r.submit(r.refund(*late, "late", 800))[0]
	require.Equal(t, pay.Reference(d.ID, 0), refund.PayeeAccount)
	r.untilFinal()
	require.Equal(t, pay.Refunded, r.read(late.ID).Disposition(), "what came late can be refunded")
	r.reconciled()
}

// A payout that was executed comes back: told by a callback, settled by its line;
// in parts, and never more than was paid. The payout never flips.
func TestAnExecutedPayoutIsReturned(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	r.door()
	r.lead()
	whole, parts := r.submit(r.payout(1, 900))[0], r.submit(r.payout(2, 500))[0]
	r.untilFinal()
	reverse := func(p pay.Payment, body string) {
		_, attempt := r.state(p.ID) // the first may have come too late to be sent
		r.call(http.MethodPost, "/banks/ab/reversals", `{"reference":"`+pay.Reference(p.ID, attempt)+`",`+body+`"reason":"AC04"}`, nil)
	}
	reverse(whole, "")
	r.eventually("the callback is applied", func() bool { return r.read(whole.ID).Disposition() == pay.ReturnedBack })
	require.Equal(t, pay.Succeeded, r.read(whole.ID).State)
	reverse(parts, `"amount":"200",`)
	r.reconciled() // by the callback, the line, or both: once
	require.Equal(t, pay.PartlyReturned, r.read(parts.ID).Disposition())
	require.Equal(t, money.Int(200), r.read(parts.ID).Back.Returned)
	require.Equal(t, int64(2), r.number(`select count(*) from payments where kind = $1`, int16(pay.Return)))
	breaks, _, err := r.recon.Breaks(t.Context(), recon.BreakFilter{State: "open"})
	require.NoError(t, err)
	require.Empty(t, breaks)
	// The house paid 900 + 500 and two fees of 3; the fee of the whole return came back.
	require.Equal(t, int64(-(500-200)-3), r.number(`select sum(amount)::bigint from facts.postings where account = $1`, int64(r.house)))
	r.eventually("callbacks are applied", func() bool { return r.number(`select count(*) from inbox where applied_at is null`) == 0 })
	require.NoError(t, r.recon.Run(t.Context()))
	require.Equal(t, int64(2), r.number(`select count(*) from payments where kind = $1`, int16(pay.Return)), "a second look books nothing")
}

// The payer's bank takes a deposit back when its holder has spent half of it: what
// is there is taken, the rest is his debt, and clearing runs to zero.
func TestADepositIsChargedBack(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	r.door()
	r.lead()
	d := r.paid(1, 800)
	r.submit(accept(&pay.Payment{Tenant: 1, Kind: pay.Send, Asset: "CZK", Amount: money.Int(500), From: r.user, To: r.house, Key: key("spend")}))
	r.call(http.MethodPost, "/banks/ab/reversals", `{"reference":"`+pay.Reference(d.ID, 0)+`","reason":"disputed"}`, nil)
	r.eventually("the callback is applied", func() bool { return r.read(d.ID).Disposition() == pay.ChargedBackDone })
	require.Equal(t, pay.Succeeded, r.read(d.ID).State)
	require.Equal(t, int64(500), r.number(`select -sum(x.amount)::bigint from facts.postings x join accounts a on a.id = x.account where a.name = 'recv:user'`))
	_, err := r.node.Submit(t.Context(), r.refund(d, "too", 1))
	require.ErrorIs(t, err, fault.AmountExceedsRemaining, "what was taken back is not refunded as well")
	r.reconciled()
	require.Equal(t, int64(1), r.number(`select count(*) from open_payments where kind = $1`, int16(pay.Chargeback)), "the debt is open")
	r.submit(accept(&pay.Payment{Tenant: 1, Kind: pay.Send, Asset: "CZK", Amount: money.Int(500), From: r.house, To: r.user, Key: key("more")}))
	id := pay.ID(r.number(`select payment from open_payments where kind = $1`, int16(pay.Chargeback)))
	r.submit(commit.Fact{Payment: &pay.Fact{Kind: pay.Recover, Payment: id, Source: "timer"}})
	require.Equal(t, pay.Succeeded, r.read(id).State)
	require.Zero(t, r.number(`select sum(amount)::bigint from facts.postings where account = $1`, int64(r.user)))
}

// Money that nobody announced waits in suspense; a part finds its owner, the rest is
// sent back, at the first try in vain.
func TestMoneyWithoutAnIntentFindsItsOwnerOrGoesBack(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	r.door()
	r.lead()
	r.instruct("FOR-UNCLE-BOB", 1_000_000_101)
	r.eventually("the bank has it", func() bool { return r.effects()["FOR-UNCLE-BOB"] == 1 })
	r.reconciled()
	id := pay.ID(r.number(`select payment from open_payments where kind = $1`, int16(pay.Inbound)))
	got := r.read(id)
	require.Equal(t, pay.InReview, got.State)
	require.JSONEq(t, `{"quoted":"FOR-UNCLE-BOB"}`, got.Metadata)
	require.NoError(t, r.recon.Run(t.Context()))
	require.Equal(t, int64(1), r.number(`select count(*) from payments where kind = $1`, int16(pay.Inbound)), "a line is booked once")

	brk := func() recon.Break {
		require.NoError(t, r.recon.Run(t.Context()))
		all, _, err := r.recon.Breaks(t.Context(), recon.BreakFilter{State: "all", Class: "unmatched_inbound"})
		require.NoError(t, err)
		require.Len(t, all, 1)
		return all[0]
	}
	assign := accept(&pay.Payment{Tenant: 1, Kind: pay.Assignment, Asset: "CZK", Amount: money.Int(100), To: r.user, Original: id, Key: key("assign")})
	r.submit(assign, assign)
	back := func(k string, amount int64) pay.Payment {
		return r.submit(accept(&pay.Payment{
			Tenant: 1, Kind: pay.Refund, Asset: "CZK", Amount: money.Int(amount), Original: id, Channel: "bank-ab", PayeeAccount: "777", Key: key("back %s", k),
		}))[0]
	}
	failed := back("a", 1_000_000_001) // the bank declines this amount
	require.Equal(t, pay.Succeeded, r.read(id).State, "nothing is left of it")
	r.eventually("it is declined", func() bool { return r.read(failed.ID).State == pay.Failed })
	again := pay.ID(r.number(`select payment from open_payments where kind = $1`, int16(pay.Inbound)))
	require.NotEqual(t, id, again, "it is over and stays so: what could not be sent waits as an item of its own")
	require.Equal(t, money.Int(1_000_000_001), r.read(again).Remaining())
	id = again
	require.Equal(t, "open", brk().State, "most of it waits still, although the item that the line made is over")
	sent := back("b", 1_000_000_000)
	last := r.submit(accept(&pay.Payment{Tenant: 1, Kind: pay.Assignment, Asset: "CZK", Amount: money.Int(1), To: r.user, Original: id, Key: key("assign 2")}))[0]
	r.untilFinal()
	closed := brk()
	require.Equal(t, []string{"resolved", "recon"}, []string{closed.State, closed.ClosedBy})
	for _, p := range []pay.Payment{sent, last} {
		require.Contains(t, closed.Reason, p.ID.String())
	}
	require.NotContains(t, closed.Reason, failed.ID.String(), "it took nothing")
	require.Equal(t, int64(101), r.number(`select sum(amount)::bigint from facts.postings where account = $1`, int64(r.user)))
	require.Zero(t, r.number(`select sum(x.amount)::bigint from facts.postings x join accounts a on a.id = x.account & ~1::bigint where a.name = 'susp:in'`))
	r.reconciled()
}

// A refund of money that nobody could place comes back from the bank: it is in suspense
// again, as an item that a person can find and place.
func TestARefundOfUnplacedMoneyThatIsReturnedWaitsAgain(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	r.door()
	r.lead()
	r.instruct("FOR-UNCLE-BOB", 900)
	r.eventually("the bank has it", func() bool { return r.effects()["FOR-UNCLE-BOB"] == 1 })
	r.reconciled()
	waiting := func() pay.ID {
		return pay.ID(r.number(`select coalesce(max(payment), 0) from open_payments where kind = $1`, int16(pay.Inbound)))
	}
	first := waiting()
	back := r.submit(accept(&pay.Payment{
		Tenant: 1, Kind: pay.Refund, Asset: "CZK", Amount: money.Int(900), Original: first, Channel: "bank-ab", PayeeAccount: "777", Key: key("back"),
	}))[0]
	r.untilFinal()
	require.Equal(t, pay.Succeeded, r.read(back.ID).State)
	_, attempt := r.state(back.ID)
	r.call(http.MethodPost, "/banks/ab/reversals", `{"reference":"`+pay.Reference(back.ID, attempt)+`","reason":"AC04"}`, nil)
	r.eventually("it waits again", func() bool { return waiting() != 0 })
	r.reconciled()
	again := waiting()
	item := r.read(again)
	require.Equal(t, money.Int(900), item.Remaining())
	require.Equal(t, pay.Return, r.read(item.Original).Kind, "the item names where it comes from")
	require.Equal(t, back.ID, r.read(item.Original).Original)
	r.eventually("callbacks are applied", func() bool { return r.number(`select count(*) from inbox where applied_at is null`) == 0 })
	require.NoError(t, r.recon.Run(t.Context()))
	require.Equal(t, int64(1), r.number(`select count(*) from open_payments`), "once, whether the callback or the line told of it first")

	r.submit(accept(&pay.Payment{Tenant: 1, Kind: pay.Assignment, Asset: "CZK", Amount: money.Int(900), To: r.user, Original: again, Key: key("owner")}))
	r.untilFinal()
	require.Equal(t, int64(900), r.number(`select sum(amount)::bigint from facts.postings where account = $1`, int64(r.user)))
	require.Zero(t, r.number(`select sum(x.amount)::bigint from facts.postings x join accounts a on a.id = x.account & ~1::bigint where a.name = 'susp:in'`))
	r.reconciled()
}

// A refund that the bank called declined has executed: it counts against its deposit
// again, also for a leader that was not there, and no more can be sent back.
func TestALateRefundCountsAgainstItsDeposit(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	r.door()
	r.lead()
	once, twice := r.paid(1, 800), r.paid(2, 500)
	r.deaf.Store(true)
	failed := func(d pay.Payment, name string, amount int64) pay.Payment {
		p := r.submit(r.refund(d, name, amount))[0]
		r.submit(
			commit.Fact{Payment: &pay.Fact{Kind: pay.Intend, Payment: p.ID, Attempt: 1, SendBy: time.Now()}},
			commit.Fact{Payment: &pay.Fact{Kind: pay.Decline, Payment: p.ID, Attempt: 1, Source: "callback"}},
		)
		require.Equal(t, pay.Failed, r.read(p.ID).State)
		return p
	}
	late := func(p pay.Payment) {
		r.submit(commit.Fact{Payment: &pay.Fact{
			Kind: pay.Confirm, Payment: p.ID, Attempt: 1, Amount: p.Amount, Asset: p.Asset, Channel: "bank-ab", Source: "callback",
		}})
		require.Equal(t, pay.LateSuccess, r.read(p.ID).Disposition())
	}
	part := failed(once, "part", 300)
	require.Equal(t, money.Int(800), r.read(once.ID).Remaining(), "it can be sent back again")
	late(part)
	late(part)
	got := r.read(once.ID)
	require.Equal(t, []any{money.Int(500), pay.PartlyRefunded, money.Int(300)}, []any{got.Remaining(), got.Disposition(), got.Back.Refunded})
	_, err := r.node.Submit(t.Context(), r.refund(once, "too much", 501))
	require.ErrorIs(t, err, fault.AmountExceedsRemaining)

	first := failed(twice, "first", 500)
	second := r.submit(r.refund(twice, "second", 500))[0]
	late(first)
	over := r.read(twice.ID)
	require.Equal(t, money.Int(1000), over.Taken, "sent back twice: by the one that was called failed, too")
	require.True(t, over.Remaining().IsZero())
	r.submit(commit.Fact{Payment: &pay.Fact{Kind: pay.Cancel, Payment: second.ID}})
	require.True(t, r.read(twice.ID).Remaining().IsZero(), "the other one was stopped in time: once is enough")
	_, err = r.node.Submit(t.Context(), r.refund(twice, "third", 1))
	require.ErrorIs(t, err, fault.AmountExceedsRemaining)
}
