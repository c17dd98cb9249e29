package pay_test

import (
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
)

// A debt is what was taken of it, what was written off, and what is still owed:
// after every fact, in every order.
func TestADebtIsWhatWasPaidWrittenOffOrOwed(t *testing.T) {
	t.Parallel()
	ends := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]pay.Kind{pay.LatePayout, pay.Chargeback}).Draw(t, "kind")
		amount := rapid.Int64Range(1, 9).Draw(t, "amount")
		l := &life{t: t, now: noon, books: map[pay.Role]*big.Int{}}
		born := pay.Payment{ID: 9, Kind: kind, Asset: "CZK", Amount: money.Int(amount), Original: 8, Link: "theirs", From: 2}
		l.p = pay.Payment{Kind: kind}
		covered := rapid.Int64Range(0, amount).Draw(t, "covered")
		hand := func(f pay.Fact) {
			f.Payment, f.At, f.Asset, f.Amount = 9, l.now, "CZK", born.Amount
			before := l.p
			c, err := pay.Next(l.p, f)
			if err != nil {
				require.Empty(t, c.Postings)
				return
			}
			l.post(c.Postings)
			l.p = c.After
			if before.State.Final() {
				require.Equal(t, before.State, l.p.State)
			}
		}
		hand(pay.Fact{Kind: pay.Accept, New: &born, Covered: money.Int(covered)})
		for range rapid.IntRange(0, 12).Draw(t, "steps") {
			l.now = l.now.Add(time.Minute)
			kinds := []pay.FactKind{pay.Recover, pay.Recover, pay.Settle, pay.Checked, pay.WriteOff, pay.Cancel, pay.Expire, pay.Take}
			hand(pay.Fact{
				Kind:    rapid.SampledFrom(kinds).Draw(t, "fact"),
				Covered: money.Int(rapid.Int64Range(-1, amount).Draw(t, "covers")), Cost: money.Int(1),
			})
			paid, _ := l.p.Taken.Int64()
			owed := l.book(pay.Receivable).Int64()
			lost := -l.book(pay.Loss).Int64()
			require.Equal(t, -amount, owed-paid-lost, "paid %d, written off %d", paid, lost)
			require.Equal(t, -paid, l.book(pay.FromAvailable).Int64(), "the holder has paid what was taken, and no more")
			require.Equal(t, owed == 0, l.p.State.Final(), "it is open exactly while something is owed")
			if l.p.Open() {
				require.True(t, l.p.NextAt.After(l.p.EnteredAt), "P8")
				require.Equal(t, pay.Recover, l.p.WhenDue())
				require.Equal(t, money.Int(-owed), l.p.Remaining())
			}
			sum := new(big.Int)
			for _, b := range l.books {
				sum.Add(sum, b)
			}
			require.Zero(t, sum.Sign(), "P1")
			road := pay.ClearingOut
			if kind == pay.Chargeback {
				road = pay.ClearingIn
			}
			if l.p.Settlement == pay.SettlementMatched {
				require.Zero(t, l.book(road).Sign(), "P4")
				require.Equal(t, amount+1, l.book(pay.Nostro).Int64())
			} else {
				require.Equal(t, amount, l.book(road).Int64())
			}
		}
		ends[l.p.State.String()]++
	})
	require.Positive(t, ends["processing"])
	require.Positive(t, ends["succeeded"])
}

func TestALateSuccessMakesAPaymentAndFlipsNothing(t *testing.T) {
	t.Parallel()
	for _, word := range []pay.FactKind{pay.Confirm, pay.Settle} {
		p := asIs(pay.Payout, pay.Failed)
		p.From, p.Channel = 2, "bank"
		c, err := pay.Next(p, about(p, word))
		require.NoError(t, err)
		require.Equal(t, pay.Failed, c.To)
		require.Empty(t, c.Postings, "its own postings stand with it")
		require.Equal(t, pay.LatePayout, c.Makes.Kind)
		require.True(t, c.After.Noted, "it stands in the log, as who reads the rows finds it")
		require.Equal(t, pay.Reference(p.ID, 1), c.Makes.Link)
		require.Equal(t, p.From, c.Makes.From)
		require.Equal(t, p.ID, c.Makes.Original)
		require.NotZero(t, c.Makes.Key)

		noted := c.After
		noted.Late = 78
		again, err := pay.Next(noted, about(noted, word))
		require.NoError(t, err)
		require.True(t, again.NoOp(), "one late outcome a payment")

		other := about(p, word)
		other.Amount = money.Int(999)
		_, err = pay.Next(p, other)
		require.ErrorIs(t, err, pay.ErrMismatch, "another amount is no proof of ours")
	}
	old := asIs(pay.Payout, pay.Failed)
	old.Attempt.N = 3
	f := about(old, pay.Confirm)
	f.Attempt = 1
	c, err := pay.Next(old, f)
	require.NoError(t, err, "any attempt may be the one that executed")
	require.Equal(t, pay.Reference(old.ID, 1), c.Makes.Link)
}

func TestAReturnTakesWhatRemains(t *testing.T) {
	t.Parallel()
	p := asIs(pay.Payout, pay.Succeeded)
	p.From = 2
	f := about(p, pay.Returned)
	f.Amount, f.Key = money.Int(400), pay.EventKey(1, "bank", pay.Return, "R1")
	c, err := pay.Next(p, f)
	require.NoError(t, err)
	require.Equal(t, "400", c.Makes.Amount.String())
	require.True(t, c.Makes.Fee.IsZero(), "the fee goes back with the whole only")
	require.Equal(t, pay.AccountID(2), c.Makes.To)
	require.Equal(t, f.Key, c.Makes.Key)
	require.Equal(t, "600", c.After.Remaining().String())
	f.Amount = money.Int(601)
	_, err = pay.Next(c.After, f)
	require.ErrorIs(t, err, pay.ErrExceeds)
	whole, err := pay.Next(p, about(p, pay.Returned))
	require.NoError(t, err)
	require.Equal(t, p.Fee, whole.Makes.Fee)
	old := about(p, pay.Returned)
	old.Attempt = 0
	_, err = pay.Next(p, old)
	require.ErrorIs(t, err, pay.ErrIllegal, "a return names the attempt that it returns")
}

// What was called failed and executed late comes back in parts, without our fee, which
// went back with the failure; without a late outcome nothing can come back.
func TestALateOutcomeComesBack(t *testing.T) {
	t.Parallel()
	for _, kind := range []pay.Kind{pay.Payout, pay.Refund, pay.Capture} {
		for _, state := range []pay.State{pay.Failed, pay.Cancelled} {
			p := asIs(pay.Payout, pay.Failed)
			p.Kind, p.State, p.From, p.Channel = kind, state, 2, "bank"
			_, err := pay.Next(p, about(p, pay.Returned))
			require.ErrorIs(t, err, pay.ErrContradiction, "it never left")
			require.True(t, p.Remaining().IsZero())
			p.Late = 78
			require.Equal(t, p.Amount, p.Remaining())
			require.Equal(t, pay.LateSuccess, p.Disposition())
			c, err := pay.Next(p, about(p, pay.Returned))
			require.NoError(t, err)
			require.Equal(t, []any{pay.Transition(13), state, pay.Return, pay.AccountID(2), true}, []any{c.T, c.To, c.Makes.Kind, c.Makes.To, c.Makes.Fee.IsZero()})
			require.Empty(t, c.Postings, "its own postings stand with it")
			_, err = pay.Next(c.After, about(p, pay.Returned))
			require.ErrorIs(t, err, pay.ErrExceeds)
			p.Back.Returned = money.Int(1)
			require.Equal(t, pay.PartlyReturned, p.Disposition())
			p.Back.Returned = p.Amount
			require.Equal(t, pay.ReturnedBack, p.Disposition())
		}
	}
	d := asIs(pay.Deposit, pay.Failed)
	_, err := pay.Next(d, about(d, pay.ChargedBack))
	require.ErrorIs(t, err, pay.ErrContradiction, "it is about the late deposit")
	late := asIs(pay.LateDeposit, pay.Succeeded)
	late.To = 3
	c, err := pay.Next(late, about(late, pay.ChargedBack))
	require.NoError(t, err)
	require.Equal(t, []any{pay.Chargeback, pay.AccountID(3), true}, []any{c.Makes.Kind, c.Makes.From, c.After.Remaining().IsZero()})
}

func TestADepositGivesBackNoMoreThanItBrought(t *testing.T) {
	t.Parallel()
	p := asIs(pay.Deposit, pay.Succeeded)
	c, err := pay.Next(p, taking(p, 700))
	require.NoError(t, err)
	_, err = pay.Next(c.After, taking(p, 301))
	require.ErrorIs(t, err, pay.ErrExceeds)
	back := about(c.After, pay.GiveBack)
	c2, err := pay.Next(c.After, back)
	require.NoError(t, err)
	require.True(t, c2.After.Taken.IsZero())
	back.Amount = money.Int(1)
	_, err = pay.Next(c2.After, back)
	require.ErrorIs(t, err, pay.ErrIllegal, "nothing is given back that was not taken")
	beyond, err := pay.Next(c.After, about(c.After, pay.ChargedBack))
	require.NoError(t, err, "a scheme asks nobody")
	require.Equal(t, pay.Chargeback, beyond.Makes.Kind)
	require.True(t, beyond.After.Remaining().IsZero())
}

func TestAnUnpaidDepositExpiresAtItsInstant(t *testing.T) {
	t.Parallel()
	f := about(asIs(pay.Deposit, pay.None), pay.Accept)
	f.New.ExpiresAt, f.NextAt = noon.Add(time.Hour), noon.Add(2*time.Hour)
	c, err := pay.Next(pay.Payment{Kind: pay.Deposit}, f)
	require.NoError(t, err)
	p := c.After
	require.Equal(t, p.ExpiresAt, p.NextAt, "no query is planned beyond its end")
	require.Equal(t, pay.Expire, p.WhenDue())
	early := pay.Fact{Kind: pay.Expire, At: p.ExpiresAt.Add(-time.Microsecond)}
	_, err = pay.Next(p, early)
	require.ErrorIs(t, err, pay.ErrIllegal)
	early.At = p.ExpiresAt
	over, err := pay.Next(p, early)
	require.NoError(t, err)
	require.Equal(t, pay.Expired, over.To)
	p.ExpiresAt = time.Time{}
	_, err = pay.Next(p, early)
	require.ErrorIs(t, err, pay.ErrIllegal, "what has no end does not expire")
}

// What waits for a person or for its holder is hurried and delayed by nothing else.
func TestWhatWaitsForSomebodyKeepsItsTime(t *testing.T) {
	t.Parallel()
	created := asIs(pay.Payout, pay.Created)
	for fact, wait := range map[pay.FactKind]time.Duration{pay.Challenge: 15 * time.Minute, pay.Review: 24 * time.Hour} {
		f := about(created, fact)
		f.NextAt = noon.Add(time.Second)
		c, err := pay.Next(created, f)
		require.NoError(t, err)
		p := c.After
		require.Equal(t, noon.Add(wait), p.NextAt)
		require.Equal(t, pay.Expire, p.WhenDue())
		checked, err := pay.Next(p, about(p, pay.Checked))
		require.NoError(t, err)
		require.True(t, checked.NoOp())
		_, err = pay.Next(p, pay.Fact{Kind: pay.Expire, At: p.NextAt.Add(-time.Microsecond)})
		require.ErrorIs(t, err, pay.ErrIllegal)
		over, err := pay.Next(p, pay.Fact{Kind: pay.Expire, At: p.NextAt})
		require.NoError(t, err)
		require.True(t, over.To == pay.Expired || over.To == pay.Cancelled)
	}
}

func TestANoteStandsOnce(t *testing.T) {
	t.Parallel()
	p := asIs(pay.Payout, pay.Succeeded)
	c := pay.Note(p, about(p, pay.Decline), "declined, but it has succeeded")
	require.Equal(t, pay.Transition(17), c.T)
	require.Equal(t, p.State, c.To)
	require.Empty(t, c.Postings)
	require.Equal(t, p.Seq+1, c.After.Seq)
	again := pay.Note(c.After, about(p, pay.Decline), "again")
	require.True(t, again.NoOp())
	for _, q := range []pay.Payment{asIs(pay.Deposit, pay.Processing), asIs(pay.Payout, pay.Created), asIs(pay.Hold, pay.Reserved)} {
		open := pay.Note(q, about(q, pay.Confirm), "open")
		require.True(t, open.NoOp(), "no attempt was made of a %s: it may still become either", q.Kind)
	}
	open := pay.Note(asIs(pay.Payout, pay.Unknown), about(p, pay.Confirm), "an attempt before executed")
	require.Equal(t, []any{pay.Transition(17), pay.Unknown, true}, []any{open.T, open.To, open.After.Noted})
}

func TestAnEventHasOneKey(t *testing.T) {
	t.Parallel()
	a := pay.EventKey(1, "bank", pay.Return, "R1")
	require.Equal(t, a, pay.EventKey(1, "bank", pay.Return, "R1"))
	for _, other := range []pay.Key{
		pay.EventKey(2, "bank", pay.Return, "R1"), pay.EventKey(1, "bank2", pay.Return, "R1"), pay.EventKey(1, "bank", pay.Chargeback, "R1"),
		pay.EventKey(1, "bank", pay.Return, "R2"), pay.EventKey(1, "ban", pay.Return, "kR1"),
	} {
		require.NotEqual(t, a, other)
	}
}

// Each look at a debt is counted, whether it brought a part or nothing.
func TestEachLookAtADebtIsCounted(t *testing.T) {
	t.Parallel()
	for covered, transition := range map[int64]pay.Transition{0: 0, 1: 17} {
		p := asIs(pay.LatePayout, pay.Processing)
		f := about(p, pay.Recover)
		f.Covered = money.Int(covered)
		c, err := pay.Next(p, f)
		require.NoError(t, err)
		require.Equal(t, []any{transition, p.Checks + 1, pay.Processing}, []any{c.T, c.After.Checks, c.After.State})
		require.True(t, c.After.NextAt.After(noon))
	}
}
