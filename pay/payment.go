// Package pay is the pay plane's root: the payment, its states, and the one pure
// table of legal moves. Next(state, fact) says what a fact changes: the new
// state, the postings, the attempt, the timer. It refuses to know accounts'
// balances, databases, clocks or channels: what it needs comes in with the fact.
//
// The specification is the payment life cycle: states, transitions T1–T26 and
// invariants P1–P12. docs/states.md is drawn from this package's table.
package pay

import (
	"time"

	"github.com/moneta-pay/moneta/money"
)

// ID names a payment: shard in the high 16 bits, a gap-free sequence below.
type ID int64

// AccountID names a ledger account of the holder: shard high, sequence below.
type AccountID int64

// TenantID names the tenant that every row and key carries.
type TenantID int32

// Kind is what a payment moves, and between whom.
type Kind uint8

// The kinds of payments.
const (
	// Send moves money between two accounts of this ledger at once (T22).
	Send Kind = iota + 1
	// Payout moves money from an account to the outside, through a channel.
	Payout
	// Deposit announces money that the outside will send to an account. It is
	// an intent: only the channel's word credits it.
	Deposit
	// Hold sets money of an account aside for another account of this ledger,
	// until it is captured, released, or expires (T24–T26).
	Hold
	// Capture moves a part of a hold, or all of it, to the hold's receiver. It is
	// a linked object: Original is the hold.
	Capture
	kindEnd
)

// State is what we promise about a payment.
type State uint8

// The states of a payment. None is the state before the first fact.
const (
	None State = iota
	Created
	Reserved
	Dispatching
	Processing
	Unknown
	Succeeded
	Failed
	Cancelled
	Expired
	stateEnd
)

// Final reports whether s never changes again.
func (s State) Final() bool { return s >= Succeeded && s < stateEnd }

// Status is the public word: processing, succeeded or failed.
func (s State) Status() string {
	switch {
	case s == Succeeded:
		return "succeeded"
	case s.Final():
		return "failed"
	default:
		return "processing"
	}
}

// Settlement is where the money between the banks stands; an axis of its own.
type Settlement uint8

// The settlement states.
const (
	SettlementNone Settlement = iota
	SettlementExpected
	SettlementMatched
	settlementEnd
)

// AttemptState is where one dispatch to one channel stands.
type AttemptState uint8

// The states of an attempt. A sent attempt that nobody heard of again is
// AttemptUnknown, never failed.
const (
	NoAttempt AttemptState = iota
	Intended
	Acked
	AttemptUnknown
	Confirmed
	Declined
	Absent
	NeverSent
	attemptEnd
)

// Live reports whether the attempt may have executed or may still do so.
func (a AttemptState) Live() bool {
	return a == Intended || a == Acked || a == AttemptUnknown || a == Confirmed
}

// Attempt is one try on one channel.
type Attempt struct {
	// N counts from 1; 0 means that nothing was attempted.
	N     int16
	State AttemptState
	// Reference is ours at the channel: base32(payment id) and N.
	Reference string
	// SendBy is the last instant at which the first byte may be written.
	SendBy time.Time
	// ChannelID is the channel's own name for the attempt.
	ChannelID string
	Reason    string
}

// Payment is the customer's instruction and where it stands.
type Payment struct {
	ID     ID
	Tenant TenantID
	Kind   Kind
	Asset  money.Asset
	Amount money.Amount
	Fee    money.Amount
	// From pays (send, payout, hold, capture); To receives (send, deposit, hold,
	// capture).
	From, To AccountID
	// Channel is the rail of a payout or deposit.
	Channel      string
	PayeeAccount string
	PayeeName    string
	// Remittance travels to the receiver's statement.
	Remittance  string
	Metadata    string
	Key         Key
	TraceID     TraceID
	EffectiveAt time.Time
	CreatedAt   time.Time
	// Original is the payment that this one takes from: a capture's hold. Zero
	// for what stands alone.
	Original ID
	// ExpiresAt is when the rest of a hold goes back; zero for other kinds.
	ExpiresAt time.Time

	// Taken is the sum of what linked objects took: a hold's captures.
	Taken      money.Amount
	State      State
	Settlement Settlement
	// Seq counts the payment's transitions.
	Seq       int32
	Attempt   Attempt
	EnteredAt time.Time
	// NextAt is when the next automatic step is due: zero only when final.
	NextAt time.Time
	// Deadline is when this state should have been left.
	Deadline      time.Time
	Checks        int32
	LastCheckedAt time.Time
	Reason        string
}

// Holder is the account whose owner asked for the payment.
func (p *Payment) Holder() AccountID {
	if p.Kind == Deposit {
		return p.To
	}
	return p.From
}

// Open reports whether the payment still has a next step.
func (p *Payment) Open() bool { return p.State != None && !p.State.Final() }

// Remaining is what linked objects may still take.
func (p *Payment) Remaining() money.Amount {
	rest, err := p.Amount.Sub(p.Taken)
	if err != nil || p.State.Final() {
		return money.Amount{}
	}
	return rest
}

// Hop names the station or channel that has the payment now. A hold waits for
// its holder.
func (p *Payment) Hop() string {
	switch p.State {
	case Created:
		if p.Kind == Deposit {
			return "channel"
		}
		return "intake"
	case Reserved:
		if p.Kind == Hold {
			return "holder"
		}
		return "dispatch"
	case Dispatching, Processing:
		return "channel"
	case Unknown:
		return "settle"
	case None, Succeeded, Failed, Cancelled, Expired, stateEnd:
		return ""
	}
	return ""
}

// Key is the scoped idempotency key: 8 bytes of hash(tenant, key), then 8 bytes
// of hash(tenant, holder, key), so that one range finds every holder's use.
type Key [16]byte

// Fingerprint is the first half of SHA-256 over the canonical payload.
type Fingerprint [16]byte

// TraceID is the W3C trace id of the request that made the payment.
type TraceID [16]byte

var kindNames = [kindEnd]string{Send: "send", Payout: "payout", Deposit: "deposit", Hold: "hold", Capture: "capture"}

// String returns the kind's name in the API.
func (k Kind) String() string { return kindNames[k] }

// ParseKind finds a kind by its name in the API.
func ParseKind(name string) (Kind, bool) {
	for k, n := range kindNames {
		if n == name && n != "" {
			return Kind(k), true
		}
	}
	return 0, false
}

var stateNames = [stateEnd]string{
	None: "none", Created: "created", Reserved: "reserved", Dispatching: "dispatching",
	Processing: "processing", Unknown: "unknown", Succeeded: "succeeded", Failed: "failed",
	Cancelled: "cancelled", Expired: "expired",
}

// String returns the state's name in the API.
func (s State) String() string { return stateNames[s] }

var settlementNames = [settlementEnd]string{"none", "expected", "matched"}

// String returns the settlement state's name in the API.
func (s Settlement) String() string { return settlementNames[s] }

var attemptNames = [attemptEnd]string{
	"none", "intended", "acked", "unknown", "confirmed", "declined", "absent", "never_sent",
}

// String returns the attempt state's name in the API.
func (a AttemptState) String() string { return attemptNames[a] }
