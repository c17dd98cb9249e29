// Package ledger keeps accounts in double entry: what a book holds is the sum of
// its postings, and every row proves the one before it. It knows accounts, not
// payments. It refuses to change or delete a posting, to let a book fall below
// its floor, and to read a balance from anywhere but the primary.
package ledger

import (
	"time"

	"github.com/moneta-pay/moneta/money"
)

// AccountID names an account: shard in the high 16 bits, an even sequence below.
type AccountID int64

// BookID names one book of an account.
type BookID int64

// Available is the book of what the holder may spend.
func (id AccountID) Available() BookID { return BookID(id) }

// Held is the book of what is reserved for payments under way.
func (id AccountID) Held() BookID { return BookID(id) | 1 }

// Account returns the account that owns the book.
func (b BookID) Account() AccountID { return AccountID(b &^ 1) }

// IsHeld reports whether b is the held book of its account.
func (b BookID) IsHeld() bool { return b&1 == 1 }

// Kind is who an account belongs to.
type Kind int16

// The kinds of accounts.
const (
	// User accounts have a floor: 0, or an overdraft limit that was granted.
	User Kind = iota + 1
	// House accounts are the operator's own and the only unlimited ones that the
	// API can open.
	House
	// System accounts are opened by the decider: clearing, nostro, fees.
	System
)

// String returns the kind's name in the API.
func (k Kind) String() string {
	switch k {
	case User:
		return "user"
	case House:
		return "house"
	case System:
		return "system"
	}
	return ""
}

// Account is what does not move: who holds which asset down to which floor.
type Account struct {
	ID     AccountID
	Tenant int32
	Kind   Kind
	Asset  money.Asset
	Name   string
	// Floor is the lowest available balance, zero or below; no floor if Unlimited.
	Floor     money.Amount
	Unlimited bool
	// Frozen accounts do not pay. What has left already goes on to its end.
	Frozen bool
	// FrozenAll accounts take part in nothing new. Money that arrives from outside
	// for what was announced before is credited all the same.
	FrozenAll bool
	// FreezeReason says why the account is frozen; empty when it is not.
	FreezeReason string
	CreatedAt    time.Time
}

// Book is the moving part: a balance and how many postings made it.
type Book struct {
	Balance   money.Amount
	DebitSeq  int64
	CreditSeq int64
}

// Books is an account with both of its books, as the decider holds it.
type Books struct {
	Account
	Available Book
	Held      Book
}

func (b *Books) book(id BookID) *Book {
	if id.IsHeld() {
		return &b.Held
	}
	return &b.Available
}

// Transfer is one balanced movement: Amount leaves Debit and reaches Credit.
type Transfer struct {
	ID            int64
	Payment       int64
	Debit, Credit BookID
	Amount        money.Amount
	DebitSeq      int64
	CreditSeq     int64
	DebitBalance  money.Amount
	CreditBalance money.Amount
	// Transition is the row of the payment's table that caused it.
	Transition  uint8
	EffectiveAt time.Time
	BookedAt    time.Time
}
