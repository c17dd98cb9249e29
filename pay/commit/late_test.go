package commit_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
)

// A refund that was called failed executes after all, and its deposit has given the
// amount out once more meanwhile: it counts beyond what there was, and the deposit's log
// says why.
func TestALateRefundCountsBeyondTheDeposit(t *testing.T) {
	t.Parallel()
	k := &keeper{t: t, dsn: pgtest.DSN(t)}
	db := pool(t, k.dsn)
	k.start()
	s := newShop(t, k.node, 1000)
	deposit := s.submit(accept(pay.Deposit, 0, s.payer, 100, "paid in"), "").Payment
	deposit = s.submit(about(deposit, pay.Confirm), "").Payment
	refund := func(name string, word pay.FactKind) pay.Payment {
		f := accept(pay.Refund, s.payer, 0, 100, name)
		f.Payment.New.Original = deposit.ID
		p := s.submit(f, "").Payment
		p = s.submit(about(p, pay.Intend), "").Payment
		return s.submit(about(p, word), "").Payment
	}
	first := refund("first", pay.Decline)
	require.Equal(t, pay.Failed, first.State)
	require.Equal(t, pay.Succeeded, refund("second", pay.Confirm).State)
	began := time.Now()
	s.submit(about(first, pay.Confirm), "")
	var reason, source string
	var at time.Time
	require.NoError(t, db.QueryRow(t.Context(), `select coalesce(reason, ''), coalesce(source, ''), at from transitions where payment = $1 order by seq desc limit 1`,
		int64(deposit.ID)).Scan(&reason, &source, &at))
	require.Equal(t, "taken late by "+first.ID.String(), reason)
	require.WithinDuration(t, began, at, 30*time.Second)
	now, err := commit.NewReader(db).Payment(t.Context(), 1, deposit.ID)
	require.NoError(t, err)
	require.Equal(t, money.Int(200), now.Back.Refunded)
	holds(t, db)
}

// What came back of a late payout is told once more: it is the same event about the same
// payment, and changes nothing.
func TestWhatCameBackOfALatePayoutIsToldAgain(t *testing.T) {
	t.Parallel()
	n := lead(t, pgtest.DSN(t))
	s := newShop(t, n, 1000)
	p := s.submit(accept(pay.Payout, s.payer, 0, 50, "out"), "").Payment
	for _, kind := range []pay.FactKind{pay.Intend, pay.Decline, pay.Confirm} {
		s.submit(about(p, kind), "")
		if kind == pay.Intend {
			p.Attempt.N = 1
		}
	}
	word := about(p, pay.Returned)
	word.Payment.Channel, word.Payment.ChannelID, word.Payment.Key = "bank-ab", "R-1", pay.EventKey(0, "bank-ab", pay.Return, "R-1")
	first := s.submit(word, "")
	require.False(t, first.NoOp)
	again := *word.Payment
	require.True(t, s.submit(commit.Fact{Payment: &again}, "").NoOp)
	again.Amount = money.Int(49)
	s.submit(commit.Fact{Payment: &again}, fault.AmountInvalid)
}

// Money without an owner that was sent back and returned is without an owner again: it
// waits for a person as an item of its own, and can be given to whoever it is for.
func TestWhatWasSentBackAndReturnedWaitsAgain(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	db := pool(t, dsn)
	n := lead(t, dsn)
	s := newShop(t, n, 1000)
	in := accept(pay.Inbound, 0, 0, 100, "stray")
	in.Payment.New.Channel, in.Payment.New.Link = "bank-ab", "line 1"
	item := s.submit(in, "").Payment
	back := accept(pay.Refund, 0, 0, 100, "back")
	back.Payment.New.Original, back.Payment.New.PayeeAccount = item.ID, "777"
	p := s.submit(back, "").Payment
	for _, kind := range []pay.FactKind{pay.Intend, pay.Confirm} {
		p = s.submit(about(p, kind), "").Payment
	}
	waiting := func() (items int) {
		require.NoError(t, db.QueryRow(t.Context(), `select count(*) from open_payments where kind = $1`, int16(pay.Inbound)).Scan(&items))
		return items
	}
	require.Zero(t, waiting())
	word := about(p, pay.Returned)
	word.Payment.Channel, word.Payment.ChannelID, word.Payment.Key = "bank-ab", "R-2", pay.EventKey(0, "bank-ab", pay.Return, "R-2")
	s.submit(word, "")
	require.Equal(t, 1, waiting())
	var again int64
	require.NoError(t, db.QueryRow(t.Context(), `select payment from open_payments where kind = $1`, int16(pay.Inbound)).Scan(&again))
	given := accept(pay.Assignment, 0, s.payee, 100, "given")
	given.Payment.New.Original = pay.ID(again)
	require.Equal(t, pay.Succeeded, s.submit(given, "").Payment.State)
	require.Zero(t, waiting())
	holds(t, db)
}

// What is refused at its second transfer has not moved by its first.
func TestARefusalTakesBackWhatWasPosted(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	n := lead(t, dsn)
	s := newShop(t, n, 1000)
	f := accept(pay.Send, s.payer, s.payee, 1000, "with a fee")
	f.Payment.New.Fee = money.Int(1)
	s.submit(f, fault.InsufficientFunds)
	s.submit(accept(pay.Send, s.payer, s.payee, 1000, "without"), "")
	s.submit(accept(pay.Send, s.payee, s.payer, 1001, "there is no more"), fault.InsufficientFunds)
	s.submit(accept(pay.Send, s.payee, s.payer, 1000, "and no less"), "")
	holds(t, pool(t, dsn))
}
