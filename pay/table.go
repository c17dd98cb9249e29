package pay

import "slices"

// term is an amount as the table writes it.
type term uint8

const (
	principal       term = iota + 1 // P
	fee                             // F
	principalAndFee                 // P+F
	cost                            // c, the channel's
	net                             // D−c
	rest                            // P less what was taken
	stated                          // as the fact says
	covered                         // what the holder's balance covers now
	uncovered                       // P less that
	inside                          // P, if it goes to an account of this ledger
	arrived                         // P, unless it was here before
)

var termNames = map[term]string{
	principal: "P", fee: "F", principalAndFee: "P+F", cost: "c", net: "P−c", rest: "rest",
	stated: "stated", covered: "covered", uncovered: "P−covered",
	inside:  "P if it stays here",
	arrived: "P if it just came",
}

type leg struct {
	debit, credit Role
	amount        term
}

// attemptMove is what a transition does to the attempt.
type attemptMove uint8

const (
	keepAttempt attemptMove = iota
	newAttempt
	markAttempt // to rule.attempt, or to the fact's AttemptState
	sameAttempt // once more, under the same number and reference
	nameAttempt // the fact's is the payment's, and executed
)

// condition says when a rule leads to another state than usually.
type condition uint8

const (
	never         condition = iota
	nothingLeft             // after this fact, all is taken
	somethingTook           // something was taken before
	goesOut                 // it has a channel
	contradicted            // another attempt may have executed
)

var conditionNames = map[condition]string{
	nothingLeft: "if nothing is left", somethingTook: "if a part was taken", goesOut: "if it goes through a channel",
	contradicted: "if a contradiction stands",
}

func (c condition) holds(p *Payment) bool {
	switch c {
	case nothingLeft:
		return p.Taken == p.Amount
	case somethingTook:
		return !p.Taken.IsZero()
	case goesOut:
		return p.Channel != ""
	case contradicted:
		return p.Noted
	case never:
	}
	return false
}

// rule is one row of the table.
type rule struct {
	t       Transition
	kind    Kind
	from    []State
	fact    FactKind
	to      State // None: it stays where it is
	legs    []leg
	move    attemptMove
	attempt AttemptState
	// settles moves the settlement axis; the state stays.
	settles Settlement
	// word means that amount and asset must equal ours.
	word bool
	// late means that an attempt must have been made, and thought absent.
	late bool
	// takes means that an amount is taken from what remains.
	takes taking
	// instead is where it leads under a condition.
	instead State
	when    condition
	// makes is the kind of linked payment that is accepted with it.
	makes Kind
	who   string
}

// taking is what a rule does to Taken.
type taking uint8

const (
	takesNothing taking = iota
	takesStated         // the fact's amount, at most what remains
	takesBeyond         // the fact's amount: a scheme asks nobody
	takesCovered        // what the holder's balance covers of his debt
	givesBack           // the fact's amount is given back
)

// table is the specification's §6.3. Everything else, the replays, the errors, the
// picture in the docs, follows from it.
var table = slices.Concat(sendRules, payoutRules, depositRules, holdRules, captureRules,
	refundRules, lateRules, returnRules, inboundRules, chargebackRules, compensationRules)

var sendRules = []rule{{
	t: 22, kind: Send, from: []State{None}, fact: Accept, to: Succeeded, who: "API",
	legs: []leg{{FromAvailable, ToAvailable, principal}, {FromAvailable, FeeRevenue, fee}},
}}

var payoutRules = slices.Concat([]rule{
	{t: 1, kind: Payout, from: []State{None}, fact: Accept, to: Created, who: "API"},
	{t: 2, kind: Payout, from: []State{Created}, fact: Challenge, to: RequiresAction, who: "guard"},
	{
		t: 2, kind: Payout, from: []State{Created}, fact: Review, to: InReview, who: "guard",
		legs: []leg{{FromAvailable, FromHeld, principalAndFee}},
	},
	{
		t: 3, kind: Payout, from: []State{Created}, fact: Clear, to: Reserved, who: "guard",
		legs: []leg{{FromAvailable, FromHeld, principalAndFee}},
	},
	{
		t: 3, kind: Payout, from: []State{RequiresAction}, fact: ActionDone, to: Reserved, who: "holder",
		legs: []leg{{FromAvailable, FromHeld, principalAndFee}},
	},
	{t: 11, kind: Payout, from: []State{Created, RequiresAction}, fact: Cancel, to: Cancelled, who: "holder, operator"},
	{
		t: 11, kind: Payout, from: []State{InReview}, fact: Cancel, to: Cancelled, who: "holder, operator",
		legs: []leg{{FromHeld, FromAvailable, principalAndFee}},
	},
	{
		t: 11, kind: Payout, from: []State{InReview}, fact: Expire, to: Cancelled, who: "timer",
		legs: []leg{{FromHeld, FromAvailable, principalAndFee}},
	},
	{t: 26, kind: Payout, from: []State{RequiresAction}, fact: Expire, to: Expired, who: "timer"},
}, sent(Payout, leg{FromHeld, FromAvailable, principalAndFee}))

// sent are the rules of what is sent through a channel, from the reserved money
// on; back is where the money goes when it is proven not to have left.
func sent(k Kind, back ...leg) []rule {
	unsent := append([]leg{{ClearingOut, FromHeld, principal}}, back...)
	return []rule{
		{
			t: 4, kind: k, from: []State{Reserved}, fact: Intend, to: Dispatching, who: "dispatch", move: newAttempt,
			legs: []leg{{FromHeld, ClearingOut, principal}},
		},
		{
			t: 5, kind: k, from: []State{Dispatching, Unknown}, fact: Ack, to: Processing, who: "channel",
			move: markAttempt, attempt: Acked,
		},
		// Proven absent, and the channel has it all the same: it may execute yet. The
		// money goes back to where it was, and nothing is sent beside it.
		{
			t: 5, kind: k, from: []State{Reserved}, fact: Ack, to: Processing, who: "channel, after proof of absence",
			move: markAttempt, attempt: Acked, late: true,
			legs: []leg{{FromHeld, ClearingOut, principal}},
		},
		{
			t: 6, kind: k, from: []State{Dispatching, Processing}, fact: Doubt, to: Unknown, who: "timer, transport",
			move: markAttempt, attempt: AttemptUnknown,
		},
		{
			t: 7, kind: k, from: []State{Dispatching, Processing, Unknown}, fact: Confirm, to: Succeeded, who: "channel",
			move: markAttempt, attempt: Confirmed, settles: SettlementExpected, word: true,
			legs: []leg{{FromHeld, FeeRevenue, fee}},
		},
		// Proven absent, and executed all the same: the channel broke its contract. The
		// money has left and is still held, so the payment has succeeded; to send it
		// again would pay twice.
		{
			t: 7, kind: k, from: []State{Reserved}, fact: Confirm, to: Succeeded, who: "channel, after proof of absence",
			move: markAttempt, attempt: Confirmed, settles: SettlementExpected, word: true, late: true,
			legs: []leg{{FromHeld, ClearingOut, principal}, {FromHeld, FeeRevenue, fee}},
		},
		{
			t: 8, kind: k, from: []State{Dispatching, Processing, Unknown}, fact: Decline, to: Failed, who: "channel",
			move: markAttempt, attempt: Declined, legs: unsent,
		},
		{
			t: 8, kind: k, from: []State{Dispatching, Unknown}, fact: GiveUp, to: Failed, who: "settle, proof of absence",
			move: markAttempt, attempt: Absent, legs: unsent,
		},
		{
			t: 10, kind: k, from: []State{Dispatching, Unknown}, fact: ProveAbsent, to: Reserved, who: "settle, proof of absence",
			move: markAttempt, attempt: Absent, instead: InReview, when: contradicted,
			legs: []leg{{ClearingOut, FromHeld, principal}},
		},
		// The channel is shown to move a reference at most once, and says that it does
		// not know this one. The money is in clearing already.
		{
			t: 9, kind: k, from: []State{Unknown}, fact: Resend, to: Dispatching, who: "dispatch, proven de-duplication",
			move: sameAttempt,
		},
		{
			t: 10, kind: k, from: []State{Dispatching, Processing, Unknown}, fact: Redirect, to: Reserved, who: "channel, by route",
			move: markAttempt, attempt: Declined, instead: InReview, when: contradicted,
			legs: []leg{{ClearingOut, FromHeld, principal}},
		},
		// In review after an attempt: the channel has contradicted itself, and a person
		// asks it what it has done before anything is sent again or given back.
		{t: 3, kind: k, from: []State{InReview}, fact: ReviewOk, to: Reserved, who: "operator"},
		// Or two people name the one that has executed: the money has left by that one.
		{
			t: 7, kind: k, from: []State{InReview}, fact: Attest, to: Succeeded, who: "operators, with evidence",
			move: nameAttempt, attempt: Confirmed, settles: SettlementExpected, word: true,
			legs: []leg{{FromHeld, ClearingOut, principal}, {FromHeld, FeeRevenue, fee}},
		},
		{t: 11, kind: k, from: []State{InReview}, fact: ReviewNo, to: Cancelled, who: "operator", legs: back},
		{t: 11, kind: k, from: []State{Reserved}, fact: Cancel, to: Cancelled, who: "holder, operator", legs: back},
		{
			t: 12, kind: k, from: []State{Succeeded}, fact: Settle, to: Succeeded, who: "recon",
			settles: SettlementMatched, word: true,
			legs: []leg{{ClearingOut, Nostro, principal}, {FeeCost, Nostro, cost}},
		},
		// Its bank sends it back, maybe weeks later and less what that cost.
		{
			t: 13, kind: k, from: []State{Succeeded}, fact: Returned, to: Succeeded, who: "channel, recon",
			takes: takesStated, makes: Return,
		},
		// What was called failed and has executed late comes back like any other.
		{
			t: 13, kind: k, from: []State{Failed, Cancelled}, fact: Returned, who: "channel, recon, after a late outcome",
			takes: takesStated, makes: Return,
		},
		// It was called failed, its holder has the money back, and the channel proves
		// that it was executed: nothing flips, the truth is a payment of its own.
		{
			t: 17, kind: k, from: []State{Failed, Cancelled}, fact: Confirm, who: "channel",
			word: true, late: true, makes: LatePayout,
		},
		{
			t: 17, kind: k, from: []State{Failed, Cancelled}, fact: Settle, who: "recon",
			word: true, late: true, makes: LatePayout,
		},
	}
}

var depositRules = []rule{
	{t: 1, kind: Deposit, from: []State{None}, fact: Accept, to: Created, who: "API"},
	{t: 5, kind: Deposit, from: []State{Created}, fact: Ack, to: Processing, who: "channel"},
	{
		t: 14, kind: Deposit, from: []State{Created, Processing}, fact: Confirm, to: Succeeded, who: "channel",
		settles: SettlementExpected, word: true,
		legs: []leg{{ClearingIn, ToAvailable, principal}},
	},
	{t: 8, kind: Deposit, from: []State{Created, Processing}, fact: Decline, to: Failed, who: "channel"},
	{t: 26, kind: Deposit, from: []State{Created}, fact: Expire, to: Expired, who: "timer"},
	{
		t: 15, kind: Deposit, from: []State{Succeeded}, fact: Settle, to: Succeeded, who: "recon",
		settles: SettlementMatched, word: true,
		legs: []leg{{Nostro, ClearingIn, net}, {FeeCost, ClearingIn, cost}},
	},
	// The money of a refund and of a chargeback moves in their own postings.
	{t: 19, kind: Deposit, from: []State{Succeeded}, fact: Take, to: Succeeded, who: "a refund", takes: takesStated},
	{t: 19, kind: Deposit, from: []State{Succeeded}, fact: GiveBack, to: Succeeded, who: "a refund that failed", takes: givesBack},
	{
		t: 20, kind: Deposit, from: []State{Succeeded}, fact: ChargedBack, to: Succeeded, who: "scheme",
		takes: takesBeyond, makes: Chargeback,
	},
	{
		t: 18, kind: Deposit, from: []State{Failed, Expired}, fact: Confirm, who: "channel",
		word: true, makes: LateDeposit,
	},
	{
		t: 18, kind: Deposit, from: []State{Failed, Expired}, fact: Settle, who: "recon",
		word: true, makes: LateDeposit,
	},
}

var holdRules = []rule{
	{
		t: 24, kind: Hold, from: []State{None}, fact: Accept, to: Reserved, who: "API",
		legs: []leg{{FromAvailable, FromHeld, principal}},
	},
	// The money of a capture moves in the capture's own postings.
	{
		t: 25, kind: Hold, from: []State{Reserved}, fact: Take, to: Reserved, who: "a capture",
		takes: takesStated, instead: Succeeded, when: nothingLeft,
	},
	// What a capture could not send is held again; nobody holds it for a hold that is
	// over.
	{t: 25, kind: Hold, from: []State{Reserved}, fact: GiveBack, to: Reserved, who: "a capture that failed", takes: givesBack},
	{
		t: 26, kind: Hold, from: []State{Succeeded}, fact: GiveBack, to: Succeeded, who: "a capture that failed", takes: givesBack,
		legs: []leg{{FromHeld, FromAvailable, stated}},
	},
	{
		t: 26, kind: Hold, from: []State{Reserved}, fact: Cancel, to: Cancelled, who: "holder, operator",
		instead: Succeeded, when: somethingTook, legs: []leg{{FromHeld, FromAvailable, rest}},
	},
	{
		t: 26, kind: Hold, from: []State{Reserved}, fact: Expire, to: Expired, who: "timer",
		instead: Succeeded, when: somethingTook, legs: []leg{{FromHeld, FromAvailable, rest}},
	},
}

var captureRules = slices.Concat([]rule{{
	t: 25, kind: Capture, from: []State{None}, fact: Accept, to: Succeeded, who: "API",
	instead: Reserved, when: goesOut, legs: []leg{{FromHeld, ToAvailable, inside}},
}}, sent(Capture))
