package pay

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/moneta-pay/moneta/money"
)

// FactKind says what happened, or what somebody entitled to it wants.
type FactKind uint8

// The facts about payments.
const (
	// Accept: the API takes a new payment. Fact.New carries it.
	Accept FactKind = iota + 1
	// Clear: guard let it pass; the funds may be reserved.
	Clear
	// Intend: dispatch is about to send attempt N before SendBy.
	Intend
	// Ack: the channel has it; not final.
	Ack
	// Doubt: nobody knows whether the attempt executed.
	Doubt
	// Confirm: the channel's word that it executed, checked against ours.
	Confirm
	// Decline: the channel's proof that it will never execute.
	Decline
	// ProveAbsent: proof that the attempt never executed; try again.
	ProveAbsent
	// GiveUp: proof that the attempt never executed; no further attempt.
	GiveUp
	// Cancel: the holder or an operator withdraws it before dispatch.
	Cancel
	// Settle: a statement line of the channel matched.
	Settle
	// Checked: we asked the channel, and it brought no news.
	Checked
	// Take: a linked object takes Amount of what remains, in the same transaction.
	Take
	// Expire: the time to act is over.
	Expire
	// Resend: dispatch is about to send attempt N once more, under its reference,
	// before SendBy. Only where the channel's de-duplication is proven.
	Resend
	// Redirect: the channel declined for a reason that another one may not have.
	Redirect
	// GiveBack: a linked object that had taken Amount failed, in the same transaction.
	GiveBack
	// Returned: the channel sends Amount of an executed payout back.
	Returned
	// ChargedBack: the scheme takes Amount of a deposit back.
	ChargedBack
	// Recover: what the holder's balance covers of his debt is taken now.
	Recover
	// WriteOff: the rest of a debt becomes our loss; somebody approved it.
	WriteOff
	// Challenge: guard wants the holder to confirm before anything is held.
	Challenge
	// ActionDone: the holder has confirmed.
	ActionDone
	// Review: guard wants a person to look; the funds are held meanwhile.
	Review
	// ReviewOk: that person lets it pass.
	ReviewOk
	// ReviewNo: that person refuses it.
	ReviewNo
	// Attest: two people name the attempt that has executed, by evidence, of a payment
	// that waits in review because its channels contradict themselves.
	Attest
	factEnd
)

// SourceOperators is the source of facts that two people agreed on. They stand for
// what is open only: where a payment is final, its word came from better evidence.
const SourceOperators = "operators"

// EventKey is the key of a linked object that something outside caused: one a
// channel, kind and name of the event. Its half for the tenant's own keys is not one
// that a caller's key can have, since those are hashed with another prefix.
func EventKey(tenant TenantID, channel string, kind Kind, name string) (k Key) {
	b := append([]byte("key/event\x00"), kind.String()...)
	b = append(append(append(b, 0), channel...), 0)
	b = binary.BigEndian.AppendUint32(b, uint32(tenant))
	sum := sha256.Sum256(append(b, name...))
	copy(k[:], sum[:])
	return k
}

// fails reports whether the fact ends an attempt as not executed.
func (k FactKind) fails() bool {
	return k == Decline || k == Redirect || k == ProveAbsent || k == GiveUp
}

// aboutAttempt reports whether the fact is somebody's word about one attempt.
func (k FactKind) aboutAttempt() bool {
	return k >= Ack && k <= GiveUp || k == Settle || k == Returned || k == Resend || k == Redirect || k == Attest
}

var factNames = [factEnd]string{
	Accept: "accept", Clear: "clear", Intend: "intend", Ack: "ack", Doubt: "doubt",
	Confirm: "confirm", Decline: "decline", ProveAbsent: "prove_absent", GiveUp: "give_up",
	Cancel: "cancel", Settle: "settle", Checked: "checked",
	Take: "take", Expire: "expire", GiveBack: "give_back", Returned: "returned", ChargedBack: "charged_back",
	Recover: "recover", WriteOff: "write_off", Challenge: "challenge", ActionDone: "action_done",
	Review: "review", ReviewOk: "review_ok", ReviewNo: "review_no",
	Resend: "resend", Redirect: "redirect", Attest: "attest",
}

// String returns the fact's name.
func (k FactKind) String() string { return factNames[k] }

// Fact is the only thing that changes a payment. The decider evaluates it on
// the payment's state of that moment: a stale fact is a no-op or an error, never
// applied as it was formed.
type Fact struct {
	Kind    FactKind
	Payment ID
	// At is the database's or the node's clock when the fact was formed.
	At time.Time
	// New is the payment to accept; only with Accept.
	New *Payment
	// Fingerprint of the accepted payload; only with Accept.
	Fingerprint Fingerprint
	// Verdict is what guard says of a new payment: Clear, Challenge or Review; zero
	// is Clear. Only with Accept, of kinds that guard looks at.
	Verdict FactKind
	// Key names the event that makes a linked object, so that the same event again
	// is a replay; only with Returned and ChargedBack. EventKey makes it.
	Key Key
	// Attempt that the fact is about; 0 where it is about the payment.
	Attempt int16
	// AttemptState refines ProveAbsent: Absent or NeverSent.
	AttemptState AttemptState
	// SendBy is until when the attempt may be sent, with Intend and Resend; until when it
	// might have been, with Attest. With
	// Decline, Redirect, ProveAbsent and GiveUp it is that of the newest order that the
	// word covers: an attempt that was sent again since has another, and the word is
	// stale. Zero is a word of which nobody knows the order, such as a callback's: it
	// holds for an attempt that was sent once only.
	SendBy time.Time
	// Channel is where the attempt goes, with Intend, or went, with Attest; with the
	// channel's word about an attempt, whose word it is. Empty is the channel that the
	// payment has.
	Channel   string
	ChannelID string
	Reason    string
	// Source tells where the word came from: reply, callback, query, statement.
	Source string
	// Amount and Asset as the channel stated them, compared with ours; with Take,
	// GiveBack, Returned and ChargedBack, how much.
	Amount money.Amount
	Asset  money.Asset
	// Beyond says that the Amount has been taken already: nobody is asked whether so
	// much remains. Only with Take, of a refund that was called failed.
	Beyond bool
	// Settled says that the word is a statement line: the money has moved between
	// the banks as well. Only with Returned and ChargedBack; Settle says it itself.
	Settled bool
	// Cost is what the channel kept; with Settle, or with Settled.
	Cost money.Amount
	// Covered is how much of a debt the holder's available balance covers at this
	// moment; the decider fills it in.
	Covered money.Amount
	// NextAt is when the next step is due; zero takes the state's default. One that has
	// passed when the fact is decided is due at once.
	NextAt time.Time
}

// Transition is a row number of the transition table in the specification.
type Transition uint8

// Role is an account as the table sees it; the ledger resolves it.
type Role uint8

// The roles in postings. "x → y" lowers x and raises y.
const (
	FromAvailable Role = iota + 1
	FromHeld
	ToAvailable
	ClearingOut
	ClearingIn
	Nostro
	FeeRevenue
	FeeCost
	// Suspense is money whose owner nobody knows (susp:in).
	Suspense
	// Receivable is what holders owe us.
	Receivable
	// Loss is what we have written off.
	Loss
	// CompensationExpense is what we have paid for faults of ours.
	CompensationExpense
	roleEnd
)

var roleNames = [roleEnd]string{
	FromAvailable: "from:av", FromHeld: "from:held", ToAvailable: "to:av", ClearingOut: "clr:out",
	ClearingIn: "clr:in", Nostro: "nostro", FeeRevenue: "fee:rev", FeeCost: "fee:cost",
	Suspense: "susp:in", Receivable: "recv:user", Loss: "loss:ops", CompensationExpense: "comp:exp",
}

// String returns the role as the specification writes it.
func (r Role) String() string { return roleNames[r] }

// Posting moves Amount from Debit to Credit. Never zero, never negative.
type Posting struct {
	Debit, Credit Role
	Amount        money.Amount
}

// Change is what one fact does to one payment. A Change without a Transition
// moves no money and writes no log row: a replay, or a timer.
type Change struct {
	T        Transition
	From, To State
	Postings []Posting
	// After is the payment as it stands when the change is applied.
	After Payment
	// FromChannel is the payment's channel before; another than After's only when
	// the change began an attempt elsewhere.
	FromChannel string
	// Makes is the linked payment to accept in the same transaction; its ID is the
	// decider's to give.
	Makes *Payment
	// AttemptChanged asks for the attempt's row to be written.
	AttemptChanged bool
	// TimerChanged asks for the open item's timer to be written.
	TimerChanged bool
}

// NoOp reports whether the fact told nothing new.
func (c *Change) NoOp() bool { return c.T == 0 && !c.TimerChanged }
