package pay

import (
	"errors"
	"fmt"
	"time"

	"github.com/moneta-pay/moneta/money"
)

// ErrIllegal reports a move that the table does not know. The payment stands as
// it was; the caller forms a new fact on the state of now, or gives up.
var ErrIllegal = errors.New("illegal move")

// ErrContradiction reports that the channel's word contradicts a final state or
// a newer attempt. Nothing flips: record a late outcome and page.
var ErrContradiction = errors.New("the channel contradicts what is final")

// ErrMismatch reports a word whose amount or asset is not ours.
var ErrMismatch = errors.New("the channel's amount or asset is not the payment's")

// ErrExceeds reports that more is to be taken than remains.
var ErrExceeds = errors.New("more than remains")

// ErrOver reports that nothing can be taken any more: it is final, or its time is
// over.
var ErrOver = errors.New("it is over")

// ReasonLate stands on a payment that succeeded after its attempt had been proven
// absent: its channel's contract is wrong, and somebody must look.
const ReasonLate = "executed after it was proven absent"

// term is an amount as the table writes it.
type term uint8

const (
	principal       term = iota + 1 // P
	fee                             // F
	principalAndFee                 // P+F
	cost                            // c, the channel's
	net                             // D−c
	rest                            // P less what was taken
)

var termNames = map[term]string{principal: "P", fee: "F", principalAndFee: "P+F", cost: "c", net: "P−c", rest: "rest"}

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
)

// condition says when a rule leads to another state than usually.
type condition uint8

const (
	never         condition = iota
	nothingLeft             // after this fact, all is taken
	somethingTook           // something was taken before
)

var conditionNames = map[condition]string{nothingLeft: "if nothing is left", somethingTook: "if a part was taken"}

func (c condition) holds(p *Payment) bool {
	switch c {
	case nothingLeft:
		return p.Taken == p.Amount
	case somethingTook:
		return !p.Taken.IsZero()
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
	to      State
	legs    []leg
	move    attemptMove
	attempt AttemptState
	// settles moves the settlement axis; the state stays.
	settles Settlement
	// word means that amount and asset must equal ours.
	word bool
	// late means that an attempt must have been made, and thought absent.
	late bool
	// takes means that the fact's amount is taken from what remains.
	takes bool
	// instead is where it leads under a condition.
	instead State
	when    condition
	who     string
}

// table is the specification's §6.3 for the kinds that exist. Everything else,
// the replays, the errors, the picture in the docs, follows from it.
var table = []rule{
	{
		t: 22, kind: Send, from: []State{None}, fact: Accept, to: Succeeded, who: "API",
		legs: []leg{{FromAvailable, ToAvailable, principal}, {FromAvailable, FeeRevenue, fee}},
	},

	{t: 1, kind: Payout, from: []State{None}, fact: Accept, to: Created, who: "API"},
	{
		t: 3, kind: Payout, from: []State{Created}, fact: Clear, to: Reserved, who: "guard",
		legs: []leg{{FromAvailable, FromHeld, principalAndFee}},
	},
	{
		t: 4, kind: Payout, from: []State{Reserved}, fact: Intend, to: Dispatching, who: "dispatch", move: newAttempt,
		legs: []leg{{FromHeld, ClearingOut, principal}},
	},
	{
		t: 5, kind: Payout, from: []State{Dispatching, Unknown}, fact: Ack, to: Processing, who: "channel",
		move: markAttempt, attempt: Acked,
	},
	{
		t: 6, kind: Payout, from: []State{Dispatching, Processing}, fact: Doubt, to: Unknown, who: "timer, transport",
		move: markAttempt, attempt: AttemptUnknown,
	},
	{
		t: 7, kind: Payout, from: []State{Dispatching, Processing, Unknown}, fact: Confirm, to: Succeeded, who: "channel",
		move: markAttempt, attempt: Confirmed, settles: SettlementExpected, word: true,
		legs: []leg{{FromHeld, FeeRevenue, fee}},
	},
	// Proven absent, and executed all the same: the channel broke its contract. The
	// money has left and is still held, so the payment has succeeded; to send it
	// again would pay twice.
	{
		t: 7, kind: Payout, from: []State{Reserved}, fact: Confirm, to: Succeeded, who: "channel, after proof of absence",
		move: markAttempt, attempt: Confirmed, settles: SettlementExpected, word: true, late: true,
		legs: []leg{{FromHeld, ClearingOut, principal}, {FromHeld, FeeRevenue, fee}},
	},
	{
		t: 8, kind: Payout, from: []State{Dispatching, Processing, Unknown}, fact: Decline, to: Failed, who: "channel",
		move: markAttempt, attempt: Declined,
		legs: []leg{{ClearingOut, FromHeld, principal}, {FromHeld, FromAvailable, principalAndFee}},
	},
	{
		t: 8, kind: Payout, from: []State{Dispatching, Unknown}, fact: GiveUp, to: Failed, who: "settle, proof of absence",
		move: markAttempt, attempt: Absent,
		legs: []leg{{ClearingOut, FromHeld, principal}, {FromHeld, FromAvailable, principalAndFee}},
	},
	{
		t: 10, kind: Payout, from: []State{Dispatching, Unknown}, fact: ProveAbsent, to: Reserved, who: "settle, proof of absence",
		move: markAttempt, attempt: Absent,
		legs: []leg{{ClearingOut, FromHeld, principal}},
	},
	// The channel is shown to move a reference at most once, and says that it does
	// not know this one. The money is in clearing already.
	{
		t: 9, kind: Payout, from: []State{Unknown}, fact: Resend, to: Dispatching, who: "dispatch, proven de-duplication",
		move: sameAttempt,
	},
	{
		t: 10, kind: Payout, from: []State{Dispatching, Processing, Unknown}, fact: Redirect, to: Reserved, who: "channel, by route",
		move: markAttempt, attempt: Declined,
		legs: []leg{{ClearingOut, FromHeld, principal}},
	},
	{t: 11, kind: Payout, from: []State{Created}, fact: Cancel, to: Cancelled, who: "holder, operator"},
	{
		t: 11, kind: Payout, from: []State{Reserved}, fact: Cancel, to: Cancelled, who: "holder, operator",
		legs: []leg{{FromHeld, FromAvailable, principalAndFee}},
	},
	{
		t: 12, kind: Payout, from: []State{Succeeded}, fact: Settle, to: Succeeded, who: "recon",
		settles: SettlementMatched, word: true,
		legs: []leg{{ClearingOut, Nostro, principal}, {FeeCost, Nostro, cost}},
	},

	{t: 1, kind: Deposit, from: []State{None}, fact: Accept, to: Created, who: "API"},
	{t: 5, kind: Deposit, from: []State{Created}, fact: Ack, to: Processing, who: "channel"},
	{
		t: 14, kind: Deposit, from: []State{Created, Processing}, fact: Confirm, to: Succeeded, who: "channel",
		settles: SettlementExpected, word: true,
		legs: []leg{{ClearingIn, ToAvailable, principal}},
	},
	{t: 8, kind: Deposit, from: []State{Created, Processing}, fact: Decline, to: Failed, who: "channel"},
	{
		t: 15, kind: Deposit, from: []State{Succeeded}, fact: Settle, to: Succeeded, who: "recon",
		settles: SettlementMatched, word: true,
		legs: []leg{{Nostro, ClearingIn, net}, {FeeCost, ClearingIn, cost}},
	},

	{
		t: 24, kind: Hold, from: []State{None}, fact: Accept, to: Reserved, who: "API",
		legs: []leg{{FromAvailable, FromHeld, principal}},
	},
	// The money of a capture moves in the capture's own postings.
	{
		t: 25, kind: Hold, from: []State{Reserved}, fact: Take, to: Reserved, who: "a capture",
		takes: true, instead: Succeeded, when: nothingLeft,
	},
	{
		t: 26, kind: Hold, from: []State{Reserved}, fact: Cancel, to: Cancelled, who: "holder, operator",
		instead: Succeeded, when: somethingTook, legs: []leg{{FromHeld, FromAvailable, rest}},
	},
	{
		t: 26, kind: Hold, from: []State{Reserved}, fact: Expire, to: Expired, who: "timer",
		instead: Succeeded, when: somethingTook, legs: []leg{{FromHeld, FromAvailable, rest}},
	},

	{
		t: 25, kind: Capture, from: []State{None}, fact: Accept, to: Succeeded, who: "API",
		legs: []leg{{FromHeld, ToAvailable, principal}},
	},
}

// index finds the rule of (kind, state, fact): 0 is none, else the row plus 1.
var index = buildIndex()

func buildIndex() (ix [kindEnd][stateEnd][factEnd]uint8) {
	for i, r := range table {
		for _, s := range r.from {
			if ix[r.kind][s][r.fact] != 0 {
				panic(fmt.Sprintf("pay: two rules for %s in %s on %s", r.kind, s, r.fact))
			}
			ix[r.kind][s][r.fact] = uint8(i + 1)
		}
	}
	return ix
}

// Next says what fact changes about payment p; for Accept, p is the zero Payment
// with its Kind. It is pure and total: a known move, a replay (a Change with
// NoOp), or an error: ErrIllegal, ErrContradiction, ErrMismatch, ErrExceeds, ErrOver.
func Next(p Payment, f Fact) (Change, error) {
	if p.Kind == 0 || p.Kind >= kindEnd || p.State >= stateEnd || f.Kind == 0 || f.Kind >= factEnd {
		return Change{}, fmt.Errorf("%w: kind %d state %d fact %d", ErrIllegal, p.Kind, p.State, f.Kind)
	}
	if f.Kind == Accept {
		return accept(p, f)
	}
	if p.State == None {
		return Change{}, fmt.Errorf("%w: %s before accept", ErrIllegal, f.Kind)
	}
	if f.Kind == Checked {
		return checked(p, f), nil
	}
	if stale, err := judgeAttempt(p, f); stale || err != nil {
		return Change{From: p.State, To: p.State, After: p}, err
	}
	row := index[p.Kind][p.State][f.Kind]
	if row == 0 || (f.Kind == Settle && p.Settlement == SettlementMatched) || (table[row-1].late && p.Attempt.N == 0) {
		return replayOrError(p, f)
	}
	return apply(p, f, &table[row-1])
}

func accept(p Payment, f Fact) (Change, error) {
	if p.State != None || f.New == nil || f.New.Kind != p.Kind {
		return Change{}, fmt.Errorf("%w: accept of a payment that exists or is missing", ErrIllegal)
	}
	if f.New.Amount.Sign() <= 0 || f.New.Fee.Sign() < 0 {
		return Change{}, fmt.Errorf("%w: amount must be above zero and fee not below", ErrIllegal)
	}
	if err := acceptLinked(f.New, f.At); err != nil {
		return Change{}, err
	}
	return apply(*f.New, f, &table[index[p.Kind][None][Accept]-1])
}

// acceptLinked checks what a hold and its captures have beyond other kinds.
func acceptLinked(p *Payment, at time.Time) error {
	holds := p.Kind == Hold || p.Kind == Capture
	switch {
	case holds && !p.Fee.IsZero():
		return fmt.Errorf("%w: a %s carries no fee", ErrIllegal, p.Kind)
	case (p.Kind == Hold) != !p.ExpiresAt.IsZero():
		return fmt.Errorf("%w: a hold, and only a hold, has an expiry", ErrIllegal)
	case p.Kind == Hold && !p.ExpiresAt.After(at):
		return fmt.Errorf("%w: the expiry lies in the past", ErrIllegal)
	case (p.Kind == Capture) != (p.Original != 0):
		return fmt.Errorf("%w: a capture, and only a capture, names what it takes from", ErrIllegal)
	case !p.Taken.IsZero():
		return fmt.Errorf("%w: something was taken before it began", ErrIllegal)
	}
	return nil
}

// checked notes that the channel was asked and brought no news: only the timer
// moves. On a final payment it is a no-op.
func checked(p Payment, f Fact) Change {
	c := Change{From: p.State, To: p.State, After: p}
	if p.State.Final() || p.Kind == Hold { // a hold's timer is its expiry; there is no channel to ask
		return c
	}
	c.TimerChanged = true
	c.After.Checks++
	c.After.LastCheckedAt = f.At
	c.After.NextAt = nextAt(p.State, f)
	return c
}

// judgeAttempt sorts out facts about another attempt than the current one.
// A word of execution from an old attempt is a contradiction: money may have
// left twice. Everything else about an old attempt is stale.
func judgeAttempt(p Payment, f Fact) (stale bool, err error) {
	if f.Attempt == 0 && p.Attempt.N > 0 && f.Kind.aboutAttempt() {
		return false, fmt.Errorf("%w: %s of a payout must name its attempt", ErrIllegal, f.Kind)
	}
	if f.Attempt == 0 || f.Kind == Intend || f.Attempt == p.Attempt.N {
		return false, nil
	}
	if f.Attempt > p.Attempt.N {
		return false, fmt.Errorf("%w: %s of attempt %d, the last is %d", ErrIllegal, f.Kind, f.Attempt, p.Attempt.N)
	}
	if f.Kind == Confirm || f.Kind == Settle {
		return false, fmt.Errorf("%w: %s of attempt %d after attempt %d", ErrContradiction, f.Kind, f.Attempt, p.Attempt.N)
	}
	return true, nil
}

// replayOrError answers a fact without a rule in this state.
func replayOrError(p Payment, f Fact) (Change, error) {
	same := Change{From: p.State, To: p.State, After: p}
	switch f.Kind {
	case Confirm:
		if p.State == Succeeded {
			return same, nil
		}
		if p.State.Final() || p.State == Reserved {
			return same, fmt.Errorf("%w: confirmed, but it is %s", ErrContradiction, p.State)
		}
	case Redirect:
		if p.Kind == Payout && (p.State == Failed || p.State == Reserved && p.Attempt.N == f.Attempt) {
			return same, nil
		}
		if p.Kind == Payout && p.State == Succeeded {
			return same, fmt.Errorf("%w: declined, but it has succeeded", ErrContradiction)
		}
	case Resend:
		if p.Kind == Payout && p.Attempt.N > 0 && p.State != Unknown { // a word came meanwhile, or the answer to this fact was lost
			return same, nil
		}
	case Decline:
		if p.State == Failed {
			return same, nil
		}
		if p.State == Succeeded {
			return same, fmt.Errorf("%w: declined, but it has succeeded", ErrContradiction)
		}
	case ProveAbsent, GiveUp:
		if p.State == Succeeded {
			return same, fmt.Errorf("%w: absent, but it has succeeded", ErrContradiction)
		}
		if p.State == Failed || (p.State == Reserved && p.Attempt.N == f.Attempt) {
			return same, nil
		}
	case Ack:
		if p.State == Processing || p.State.Final() {
			return same, nil
		}
	case Doubt:
		if p.State == Unknown || p.State.Final() {
			return same, nil
		}
	case Clear:
		if p.State != Created {
			return same, nil
		}
	case Cancel, Expire:
		// Who lets go of a hold that holds nothing any more has what he wanted.
		if p.State == Cancelled && f.Kind == Cancel || p.Kind == Hold && p.State.Final() {
			return same, nil
		}
	case Take:
		if p.Kind == Hold {
			return same, fmt.Errorf("%w: the hold is %s", ErrOver, p.State)
		}
	case Settle:
		if p.Settlement == SettlementMatched {
			return same, nil
		}
	case Intend:
		if p.State == Dispatching && p.Attempt.N == f.Attempt {
			return same, nil
		}
	case Accept, Checked, factEnd:
	}
	return same, fmt.Errorf("%w: %s %s on %s", ErrIllegal, p.Kind, f.Kind, p.State)
}

func apply(p Payment, f Fact, r *rule) (Change, error) {
	if r.word && (f.Amount != p.Amount || f.Asset != p.Asset) {
		return Change{From: p.State, To: p.State, After: p},
			fmt.Errorf("%w: %s %s stated, %s %s ours", ErrMismatch, f.Amount, f.Asset, p.Amount, p.Asset)
	}
	c := Change{T: r.t, From: p.State, To: r.to, After: p, FromChannel: p.Channel, TimerChanged: true}
	var err error
	if err = take(&c.After, f, r); err != nil {
		return Change{From: p.State, To: p.State, After: p}, err
	}
	if r.when.holds(&c.After) {
		c.To = r.instead
	}
	if c.Postings, err = postings(p, f, r.legs); err != nil {
		return Change{From: p.State, To: p.State, After: p}, err
	}
	if err := moveAttempt(&c, f, r); err != nil {
		return Change{From: p.State, To: p.State, After: p}, err
	}
	a := &c.After
	a.Seq++
	a.Reason = f.Reason
	if r.late {
		a.Reason = ReasonLate
	}
	if r.settles != SettlementNone {
		a.Settlement = r.settles
	}
	if c.To == p.State { // settled, or taken from: it stays where it is, and its timer too
		return c, nil
	}
	a.State, a.EnteredAt, a.Checks = c.To, f.At, 0
	a.NextAt, a.Deadline = time.Time{}, time.Time{}
	switch {
	case c.To.Final():
	case p.Kind == Hold:
		a.NextAt, a.Deadline = p.ExpiresAt, p.ExpiresAt.Add(timers[c.To].bound)
	default:
		a.NextAt, a.Deadline = nextAt(c.To, f), f.At.Add(timers[c.To].bound)
	}
	return c, nil
}

// take counts what a linked object takes, and keeps a hold's expiry: from that
// instant on nothing is taken, and before it nothing expires, so that it makes no
// difference how late the timer is.
func take(after *Payment, f Fact, r *rule) error {
	over := r.kind == Hold && r.fact != Accept && !f.At.Before(after.ExpiresAt)
	switch {
	case f.Kind == Expire && !over:
		return fmt.Errorf("%w: it expires at %s", ErrIllegal, after.ExpiresAt)
	case !r.takes:
		return nil
	case over:
		return fmt.Errorf("%w: the hold has expired", ErrOver)
	case f.Asset != after.Asset || f.Amount.Sign() <= 0:
		return fmt.Errorf("%w: %s %s of %s", ErrIllegal, f.Amount, f.Asset, after.Asset)
	case f.Amount.Cmp(after.Remaining()) > 0:
		return fmt.Errorf("%w: %s of %s", ErrExceeds, f.Amount, after.Remaining())
	}
	var err error
	after.Taken, err = after.Taken.Add(f.Amount)
	return err
}

func moveAttempt(c *Change, f Fact, r *rule) error {
	a := &c.After.Attempt
	switch r.move {
	case keepAttempt:
		return nil
	case newAttempt:
		if a.State.Live() || f.Attempt != a.N+1 || f.SendBy.IsZero() {
			return fmt.Errorf("%w: attempt %d (%s) before attempt %d with a send_by", ErrIllegal, a.N, a.State, f.Attempt)
		}
		*a = Attempt{N: f.Attempt, State: Intended, Reference: Reference(c.After.ID, f.Attempt), SendBy: f.SendBy}
		if f.Channel != "" {
			c.After.Channel = f.Channel
		}
	case sameAttempt:
		if a.State != AttemptUnknown || a.ChannelID != "" || !f.SendBy.After(a.SendBy) {
			return fmt.Errorf("%w: attempt %d (%s, %q) is not one to send again", ErrIllegal, a.N, a.State, a.ChannelID)
		}
		a.State, a.SendBy = Intended, f.SendBy
	case markAttempt:
		a.State = r.attempt
		if f.AttemptState == NeverSent && r.attempt == Absent {
			a.State = NeverSent
		}
		if f.ChannelID != "" {
			a.ChannelID = f.ChannelID
		}
		a.Reason = f.Reason
	}
	c.AttemptChanged = true
	return nil
}

func postings(p Payment, f Fact, legs []leg) ([]Posting, error) {
	if len(legs) == 0 {
		return nil, nil
	}
	out := make([]Posting, 0, len(legs))
	for _, l := range legs {
		amount, err := termAmount(p, f, l.amount)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrIllegal, err)
		}
		if amount.Sign() < 0 {
			return nil, fmt.Errorf("%w: %s of %s is below zero", ErrIllegal, termNames[l.amount], amount)
		}
		if amount.IsZero() {
			continue
		}
		out = append(out, Posting{Debit: l.debit, Credit: l.credit, Amount: amount})
	}
	return out, nil
}

func termAmount(p Payment, f Fact, t term) (money.Amount, error) {
	switch t {
	case principal:
		return p.Amount, nil
	case fee:
		return p.Fee, nil
	case principalAndFee:
		return p.Amount.Add(p.Fee)
	case cost:
		return f.Cost, nil
	case net:
		return p.Amount.Sub(f.Cost)
	case rest:
		return p.Amount.Sub(p.Taken)
	}
	return money.Amount{}, fmt.Errorf("term %d", t)
}

// timer holds how long a state may last before its next step, and in all.
// Source: life cycle §6.2; the next step of a channel's state normally comes
// from the channel's query schedule instead.
var timers = [stateEnd]struct{ step, bound time.Duration }{
	Created:     {30 * time.Second, 24 * time.Hour},
	Reserved:    {30 * time.Second, 60 * time.Second},
	Dispatching: {10 * time.Second, 30 * time.Second},
	Processing:  {10 * time.Second, 2 * time.Hour},
	Unknown:     {5 * time.Second, 2 * time.Hour},
}

func nextAt(s State, f Fact) time.Time {
	if f.NextAt.After(f.At) {
		return f.NextAt
	}
	if s == Dispatching && f.SendBy.After(f.At) {
		return f.SendBy
	}
	return f.At.Add(timers[s].step)
}
