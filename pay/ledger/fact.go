package ledger

import (
	"time"

	"github.com/moneta-pay/moneta/money"
)

// FactKind says what is wanted of an account.
type FactKind uint8

// The facts about accounts.
const (
	// Open opens AccountFact.New.
	Open FactKind = iota + 1
	// SetFloor grants or takes back an overdraft limit.
	SetFloor
	// SetFrozen freezes or thaws.
	SetFrozen
)

// AccountFact is the only thing that changes an account.
type AccountFact struct {
	Kind FactKind
	At   time.Time
	// New is the account to open; the decider gives it its id.
	New Account
	// Key and Fingerprint make Open idempotent, and the other kinds where they are
	// given: a key that was answered changes nothing again.
	Key         [16]byte
	Fingerprint [16]byte
	// ID, Tenant and the value wanted, for the other kinds.
	ID     AccountID
	Tenant int32
	Floor  money.Amount
	Frozen bool
	// FrozenAll refuses new credits as well; with Frozen only.
	FrozenAll bool
	// Reason and By are kept with the change.
	Reason, By string
}
