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
	// Capture moves a part of a hold, or all of it, to the hold's receiver: within
	// the ledger, or through the hold's channel. It is a linked object: Original is
	// the hold.
	Capture
	// Refund sends a deposit back through its channel, in part or whole (T19), or
	// money that nobody could place (Original is an Inbound).
	Refund
	// LatePayout is the truth about a payout that was called failed and has
	// executed all the same (T17): its holder owes us what he got back.
	LatePayout
	// LateDeposit is money for a deposit that was called failed or expired (T18).
	LateDeposit
	// Return is money of an executed payout that its bank sends back (T13).
	Return
	// Inbound is money that came without an intent (T16). It waits for a person.
	Inbound
	// Assignment gives an Inbound, or a part of it, to an account (T16).
	Assignment
	// Chargeback is a deposit that its scheme takes back (T20).
	Chargeback
	// Compensation is what we pay a holder for a fault of ours (T21).
	Compensation
	kindEnd
)

// Linked reports whether payments of the kind name an Original: what they do to
// it is written in the same transaction, and the original never flips.
func (k Kind) Linked() bool { return k >= Capture && k < kindEnd && k != Inbound }

// Leaves reports whether payments of the kind are sent through a channel, attempt
// by attempt. A capture is only when its hold has a channel.
func (k Kind) Leaves() bool { return k == Payout || k == Refund || k == Capture }

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
	// RequiresAction waits for the holder to confirm; nothing is held yet.
	RequiresAction
	// InReview waits for a person of ours; the money is held.
	InReview
	stateEnd
)

// Final reports whether s never changes again.
func (s State) Final() bool { return s >= Succeeded && s <= Expired }

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
	// Resends is how often it was sent once more under its reference (T9): from the
	// first on, a word of failure must be about the newest order.
	Resends int16
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
	// From pays and To receives; a kind that meets the outside has only one of them.
	From, To AccountID
	// Channel is the rail of what comes from outside or goes there.
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
	// Original is the payment that this one is linked to: a capture's hold, a
	// refund's deposit. Zero for what stands alone.
	Original ID
	// Link is what outside of the ledger this rests on: the channel's id of a return,
	// a chargeback or a statement line, the reference of a late attempt, the break or
	// incident that is compensated. Empty for kinds that rest on nothing.
	Link string
	// ExpiresAt is when the rest of a hold goes back, or a deposit that nobody paid
	// is over; zero for other kinds.
	ExpiresAt time.Time

	// Taken is the sum of what linked objects took: a hold's captures, a deposit's
	// refunds and chargebacks, a payout's returns. Of a LatePayout and a Chargeback
	// it is what the holder has paid of it.
	Taken money.Amount
	// Back is what linked objects brought back; only readers fill it in.
	Back Back
	// Late is the linked object of a success that came after the failure; zero
	// without one.
	Late ID
	// Noted says that a contradiction stands in the payment's log.
	Noted      bool
	State      State
	Settlement Settlement
	// Seq counts the payment's transitions.
	Seq     int32
	Attempt Attempt
	// Tried is how many attempts were made: the number of the last one. Attempt is that
	// one, or one before it that two people have named as executed.
	Tried int16
	// AbsentBefore has a bit for each attempt but Attempt, the first one lowest, that was
	// taken never to have executed without its channel's own word.
	AbsentBefore uint64
	EnteredAt    time.Time
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
	switch p.Kind {
	case Deposit, LateDeposit, Return, Assignment, Compensation:
		return p.To
	case Send, Payout, Hold, Capture, Refund, LatePayout, Inbound, Chargeback, kindEnd:
	}
	return p.From
}

// absentMax is the last attempt that AbsentBefore remembers: a column of the database
// has as many bits without its sign.
const absentMax = 63

// Belied reports whether the payment's last move was its channel's word that it has,
// or has executed, an attempt that it had said it never had.
func (p *Payment) Belied() bool { return p.Reason == ReasonLate || p.Reason == ReasonTaken }

// absent reports whether attempt n is taken never to have executed although its
// channel never said that it refused it.
func (p *Payment) absent(n int16) bool {
	if n == p.Attempt.N {
		return p.Attempt.State == Absent || p.Attempt.State == NeverSent
	}
	return n > 0 && n <= absentMax && p.AbsentBefore>>(n-1)&1 == 1
}

// Open reports whether the payment still has a next step.
func (p *Payment) Open() bool { return p.State != None && !p.State.Final() }

// Remaining is what linked objects may still take: of a hold and of money that
// waits for its owner while they are open, of a deposit, a payout and a refund
// once they have succeeded, of what leaves also if it did so late.
func (p *Payment) Remaining() money.Amount {
	var source bool
	switch p.Kind {
	case Hold, Inbound:
		source = p.Open()
	case Deposit, Payout, Refund, Capture, LateDeposit:
		source = p.State == Succeeded || p.Kind.Leaves() && p.Late != 0
	case LatePayout, Chargeback: // what is still owed
		source = p.Open()
	case Send, Return, Assignment, Compensation, kindEnd:
	}
	rest, err := p.Amount.Sub(p.Taken)
	if err != nil || !source || rest.Sign() < 0 { // a scheme may take back what was refunded already
		return money.Amount{}
	}
	return rest
}

// Hop names the station, the channel or the person that has the payment now. A
// hold waits for its holder, and so does a debt.
func (p *Payment) Hop() string {
	switch p.State {
	case Created:
		if p.Kind == Deposit {
			return "channel"
		}
		return "intake"
	case RequiresAction:
		return "holder"
	case InReview:
		return "operator"
	case Reserved:
		if p.Kind == Hold {
			return "holder"
		}
		return "dispatch"
	case Dispatching, Processing:
		if p.Kind == LatePayout || p.Kind == Chargeback {
			return "holder" // he owes the rest
		}
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

var kindNames = [kindEnd]string{
	Send: "send", Payout: "payout", Deposit: "deposit", Hold: "hold", Capture: "capture", Refund: "refund",
	LatePayout: "late_payout", LateDeposit: "late_deposit", Return: "return", Inbound: "inbound", Assignment: "assignment",
	Chargeback: "chargeback", Compensation: "compensation",
}

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
	Cancelled: "cancelled", Expired: "expired", RequiresAction: "requires_action", InReview: "in_review",
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
