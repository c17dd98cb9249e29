package pay

import "github.com/moneta-pay/moneta/money"

// Back is what linked objects have brought of a payment's money to where it came
// from. Readers fill it in; the decider does without.
type Back struct {
	// Refunded has arrived at the channel; Refunding is on its way.
	Refunded, Refunding   money.Amount
	Returned, ChargedBack money.Amount
}

// Disposition is what became of a payment after it had its final state. It is an
// axis of its own: the state never flips.
type Disposition string

// The dispositions.
const (
	NoDisposition   Disposition = ""
	Refunding       Disposition = "refunding"
	PartlyRefunded  Disposition = "partly_refunded"
	Refunded        Disposition = "refunded"
	PartlyReturned  Disposition = "partly_returned"
	ReturnedBack    Disposition = "returned"
	ChargedBackDone Disposition = "charged_back"
	LateSuccess     Disposition = "late_success"
)

// Disposition tells what linked objects made of the payment, the gravest first.
func (p *Payment) Disposition() Disposition {
	b := &p.Back
	whole := func(a money.Amount) bool { return a.Cmp(p.Amount) >= 0 }
	switch {
	case p.Late != 0 && b.Returned.IsZero(): // executed late, and back again, is returned
		return LateSuccess
	case !b.ChargedBack.IsZero():
		return ChargedBackDone
	case whole(b.Returned):
		return ReturnedBack
	case !b.Returned.IsZero():
		return PartlyReturned
	case !b.Refunding.IsZero():
		return Refunding
	case whole(b.Refunded):
		return Refunded
	case !b.Refunded.IsZero():
		return PartlyRefunded
	}
	return NoDisposition
}
