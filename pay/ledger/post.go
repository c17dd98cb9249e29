package ledger

import (
	"fmt"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
)

// Post moves t.Amount between two books in memory and completes t with the
// sequences and balances that follow. Either both books move or, with an error,
// neither: fault.InsufficientFunds, fault.AmountInvalid, fault.Internal.
func Post(debit, credit *Books, t *Transfer) error {
	if t.Amount.Sign() <= 0 || t.Debit == t.Credit || debit.Asset != credit.Asset {
		return fault.New(fault.Internal, "").WithOp("ledger.Post").
			WithCause(fmt.Errorf("posting %s from %d to %d (%s, %s)", t.Amount, t.Debit, t.Credit, debit.Asset, credit.Asset))
	}
	from, to := debit.book(t.Debit), credit.book(t.Credit)
	after, err := from.Balance.Sub(t.Amount)
	if err != nil {
		return overflow(err)
	}
	raised, err := to.Balance.Add(t.Amount)
	if err != nil {
		return overflow(err)
	}
	if debit.below(t.Debit, after) {
		return fault.New(fault.InsufficientFunds, "the available balance does not cover the amount and the fee").
			WithParam("/amount")
	}
	from.Balance, to.Balance = after, raised
	from.DebitSeq++
	to.CreditSeq++
	t.DebitSeq, t.CreditSeq = from.DebitSeq, to.CreditSeq
	t.DebitBalance, t.CreditBalance = from.Balance, to.Balance
	return nil
}

// Unpost takes back the newest posting of both books; only for postings that
// were never written.
func Unpost(debit, credit *Books, t *Transfer) {
	from, to := debit.book(t.Debit), credit.book(t.Credit)
	if from.DebitSeq != t.DebitSeq || to.CreditSeq != t.CreditSeq {
		panic("ledger: unpost of a posting that is not the newest")
	}
	restored, err := from.Balance.Add(t.Amount)
	lowered, err2 := to.Balance.Sub(t.Amount)
	if err != nil || err2 != nil {
		panic("ledger: unpost overflows, although the posting did not")
	}
	from.Balance, to.Balance = restored, lowered
	from.DebitSeq--
	to.CreditSeq--
}

// below reports whether balance is under what the book allows. A held book
// never falls below zero; system and house accounts have no floor.
func (b *Books) below(id BookID, balance money.Amount) bool {
	if b.Unlimited {
		return false
	}
	if id.IsHeld() {
		return balance.Sign() < 0
	}
	return balance.Cmp(b.Floor) < 0
}

func overflow(err error) error {
	return fault.New(fault.AmountInvalid, "the balance would not fit in 128 bits").WithParam("/amount").WithCause(err)
}
