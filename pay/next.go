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

// ErrTooEarly reports a word that presumes another which has not come yet: it is to
// be said again later.
var ErrTooEarly = errors.New("the word before it is still missing")

// ReasonLate stands on a payment that succeeded after its attempt had been proven
// absent, ReasonTaken on one that goes on with such an attempt: its channel's contract
// is wrong, and somebody must look.
const (
	ReasonLate  = "executed after it was proven absent"
	ReasonTaken = "taken by the channel after it was proven absent"
)

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
	f.Kind = contested(&p, f.Kind)
	row := index[p.Kind][p.State][f.Kind]
	if row == 0 || !fitting(&p, f.Kind, &table[row-1]) {
		return replayOrError(p, f)
	}
	r := &table[row-1]
	if p.Late != 0 && (r.makes == LatePayout || r.makes == LateDeposit) {
		return Change{From: p.State, To: p.State, After: p}, nil
	}
	if f.Kind == Recover && f.Covered.IsZero() {
		return unpaid(p, f), nil
	}
	return apply(p, f, r)
}

// fitting reports whether the rule is for p beyond its state.
func fitting(p *Payment, k FactKind, r *rule) bool {
	switch {
	case p.Kind == Capture && p.Channel == "": // within the ledger it is over when it begins
		return false
	case k == Settle:
		return p.Settlement != SettlementMatched && (!r.late || p.Attempt.N > 0)
	case k == Ack && r.late: // what was declined had been taken before: that word was only slow
		return p.absent(p.Attempt.N)
	case r.late:
		return p.Attempt.N > 0
	case k == Returned: // what never left cannot come back
		return p.State == Succeeded || p.Late != 0
	case p.State == InReview && p.Attempt.N > 0: // a contradiction waits for a person, not for its holder or a timer
		return k == ReviewOk || k == ReviewNo || k == Attest
	case k == Attest: // guard's review: nothing was ever sent
		return false
	}
	return true
}

// contested is what a word of failure comes to when the channel has said of another
// attempt that it has it: the payment cannot fail by this one alone.
func contested(p *Payment, k FactKind) FactKind {
	switch {
	case !p.Noted || !p.Open() || !p.Kind.Leaves():
	case k == Decline:
		return Redirect
	case k == GiveUp:
		return ProveAbsent
	}
	return k
}

func accept(p Payment, f Fact) (Change, error) {
	if p.State != None || f.New == nil || f.New.Kind != p.Kind {
		return Change{}, fmt.Errorf("%w: accept of a payment that exists or is missing", ErrIllegal)
	}
	if err := acceptable(f.New, f.At); err != nil {
		return Change{}, err
	}
	return apply(*f.New, f, &table[index[p.Kind][None][Accept]-1])
}

// checked notes that the channel was asked and brought no news: only the timer
// moves. On a final payment it is a no-op.
func checked(p Payment, f Fact) Change {
	c := Change{From: p.State, To: p.State, After: p}
	due := p.WhenDue()
	if p.State.Final() || due == Recover || due == Expire && p.Kind != Deposit { // its timer is its end; there is no channel to ask
		return c
	}
	c.TimerChanged = true
	c.After.Checks++
	c.After.LastCheckedAt = f.At
	c.After.NextAt = nextAt(&p, p.State, f)
	return c
}

// unpaid notes that the balance of who owes covers nothing yet.
func unpaid(p Payment, f Fact) Change {
	c := Change{From: p.State, To: p.State, After: p, TimerChanged: true}
	c.After.Checks++
	c.After.NextAt = nextAt(&p, p.State, f)
	return c
}

// judgeAttempt sorts out facts about another attempt than the current one, or about
// another order of it. A word of execution from an old attempt is a contradiction:
// money may have left twice. So is word that the channel has one that was proven
// absent: it may leave yet. Everything else about an old attempt is stale.
func judgeAttempt(p Payment, f Fact) (stale bool, err error) {
	if f.Attempt == 0 && p.Attempt.N > 0 && f.Kind.aboutAttempt() {
		return false, fmt.Errorf("%w: %s of a payout must name its attempt", ErrIllegal, f.Kind)
	}
	if f.Attempt == 0 || f.Kind == Intend {
		return false, nil
	}
	if f.Attempt > max(p.Attempt.N, p.Tried) {
		return false, fmt.Errorf("%w: %s of attempt %d, the last is %d", ErrIllegal, f.Kind, f.Attempt, max(p.Attempt.N, p.Tried))
	}
	if f.Kind == Attest { // any of them may be the one
		return false, nil
	}
	if f.Attempt == p.Attempt.N { // what proves that one order was not executed says nothing of an order sent since
		return f.Kind.fails() && p.Open() && !covers(&f, &p.Attempt), nil
	}
	if p.State == Failed || p.State == Cancelled { // no attempt is known to have executed, so any may be the first
		return false, nil
	}
	if f.Kind == Confirm || f.Kind == Settle || f.Kind == Returned || f.Kind == Ack && p.absent(f.Attempt) {
		return false, fmt.Errorf("%w: %s of attempt %d beside attempt %d", ErrContradiction, f.Kind, f.Attempt, p.Attempt.N)
	}
	return true, nil
}

// covers reports whether a word of failure is about the newest order of the attempt.
func covers(f *Fact, a *Attempt) bool {
	if f.SendBy.IsZero() {
		return a.Resends == 0
	}
	// The database keeps microseconds, and the decider's memory what it was told.
	return f.SendBy.Sub(a.SendBy).Abs() < time.Microsecond
}

// replayOrError answers a fact without a rule in this state.
func replayOrError(p Payment, f Fact) (Change, error) {
	same := Change{From: p.State, To: p.State, After: p}
	waits := p.State == Reserved || p.State == InReview && p.Attempt.N > 0 // to be sent again
	switch f.Kind {
	case Confirm:
		if p.State == Succeeded {
			return same, nil
		}
		if p.State.Final() || p.State == Reserved || p.State == RequiresAction || p.State == InReview {
			return same, fmt.Errorf("%w: confirmed, but it is %s", ErrContradiction, p.State)
		}
	case Redirect:
		if p.Kind.Leaves() && (p.State == Failed || waits && p.Attempt.N == f.Attempt) {
			return same, nil
		}
		if p.Kind.Leaves() && p.State == Succeeded {
			return same, fmt.Errorf("%w: declined, but it has succeeded", ErrContradiction)
		}
	case Resend:
		if p.Kind.Leaves() && p.Attempt.N > 0 && p.State != Unknown { // a word came meanwhile, or the answer to this fact was lost
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
		if p.State == Failed || waits && p.Attempt.N == f.Attempt {
			return same, nil
		}
	case Ack:
		if p.absent(f.Attempt) && p.Late == 0 && (p.State.Final() || p.State == InReview) {
			return same, fmt.Errorf("%w: it has what was proven absent, and it is %s", ErrContradiction, p.State)
		}
		if p.State == Processing || p.State.Final() || f.Attempt > 0 && waits {
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
		if p.State == Cancelled && f.Kind == Cancel || p.Kind == Hold && p.State.Final() || p.State.Final() && f.Kind == Expire {
			return same, nil
		}
	case Take:
		if p.Kind == Hold || p.Kind == Inbound || p.Kind == Deposit && p.State.Final() {
			return same, fmt.Errorf("%w: the %s is %s", ErrOver, p.Kind, p.State)
		}
	case Returned:
		if p.Kind.Leaves() && p.Open() && p.Attempt.N > 0 {
			return same, fmt.Errorf("%w: returned, but it is %s", ErrTooEarly, p.State)
		}
		if p.State.Final() {
			return same, fmt.Errorf("%w: returned, but it is %s", ErrContradiction, p.State)
		}
	case ChargedBack:
		if p.Kind == Deposit && p.Open() {
			return same, fmt.Errorf("%w: charged back, but it is %s", ErrTooEarly, p.State)
		}
		if p.State.Final() {
			return same, fmt.Errorf("%w: charged back, but it is %s", ErrContradiction, p.State)
		}
	case ActionDone, ReviewOk:
		if (p.Kind == Payout || p.Noted) && p.State != Created && p.State != RequiresAction && p.State != InReview && p.State != Cancelled && p.State != Expired {
			return same, nil
		}
	case ReviewNo:
		if p.State == Cancelled && (p.Kind == Payout || p.Noted) {
			return same, nil
		}
	case Challenge, Review:
		if f.Kind == Challenge && p.State == RequiresAction || f.Kind == Review && p.State == InReview && p.Kind == Payout {
			return same, nil
		}
	case Attest:
		if p.State == Succeeded && p.Attempt.N > 0 && p.Attempt.N == f.Attempt {
			return same, nil
		}
	case Recover, WriteOff:
		if p.State == Succeeded && (p.Kind == LatePayout || p.Kind == Chargeback) {
			return same, nil
		}
	case Settle:
		if p.Settlement == SettlementMatched {
			return same, nil
		}
	case Intend:
		if p.State == Dispatching && p.Attempt.N == f.Attempt {
			return same, nil
		}
	case Accept, Checked, GiveBack, factEnd:
	}
	return same, fmt.Errorf("%w: %s %s on %s", ErrIllegal, p.Kind, f.Kind, p.State)
}

func apply(p Payment, f Fact, r *rule) (Change, error) {
	if r.word && (f.Amount != p.Amount || f.Asset != p.Asset) {
		return Change{From: p.State, To: p.State, After: p},
			fmt.Errorf("%w: %s %s stated, %s %s ours", ErrMismatch, f.Amount, f.Asset, p.Amount, p.Asset)
	}
	c := Change{T: r.t, From: p.State, To: r.to, After: p, FromChannel: p.Channel, TimerChanged: true}
	if r.to == None {
		c.To = p.State
	}
	var err error
	if err = take(&c.After, f, r); err != nil {
		return Change{From: p.State, To: p.State, After: p}, err
	}
	if r.when.holds(&c.After) {
		c.To = r.instead
	}
	if r.makes != 0 {
		c.Makes = made(&p, f, r)
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
		if f.Kind == Ack {
			a.Reason = ReasonTaken
		}
	}
	if r.makes == LatePayout || r.makes == LateDeposit {
		a.Reason, a.Noted = "executed after it was "+p.State.String(), true
	}
	if r.settles != SettlementNone {
		a.Settlement = r.settles
	}
	if c.To == p.State { // settled, or taken from: it stays where it is, and its timer too
		if f.Kind == Recover {
			a.Checks++
			a.NextAt = nextAt(a, c.To, f)
		}
		return c, nil
	}
	enter(a, c.To, f)
	return c, nil
}

// enter puts p into another state, with its timers.
func enter(p *Payment, s State, f Fact) {
	p.State, p.EnteredAt, p.Checks = s, f.At, 0
	p.NextAt, p.Deadline = time.Time{}, time.Time{}
	switch {
	case s.Final():
	case p.Kind == Hold:
		p.NextAt, p.Deadline = p.ExpiresAt, p.ExpiresAt.Add(timers[s].bound)
	default:
		p.NextAt, p.Deadline = nextAt(p, s, f), f.At.Add(boundOf(p, s, f.At))
	}
}

// take counts what is taken and given back, and keeps the time: from the instant of
// its expiry on nothing is taken of a hold, and before its time nothing expires, so
// that it makes no difference how late the timer is.
func take(after *Payment, f Fact, r *rule) error {
	if f.Kind == Expire {
		return mayExpire(after, f.At)
	}
	var by money.Amount
	switch r.takes {
	case takesNothing:
		return nil
	case takesCovered:
		by = f.Covered
		if by.Sign() < 0 || by.Cmp(after.owed()) > 0 {
			return fmt.Errorf("%w: %s covered of %s", ErrIllegal, by, after.owed())
		}
	case takesStated, takesBeyond:
		by = f.Amount
		if err := mayTake(after, f, r); err != nil {
			return err
		}
	case givesBack:
		var err error
		if by, err = f.Amount.Neg(); err != nil || f.Amount.Sign() <= 0 || f.Amount.Cmp(after.Taken) > 0 {
			return fmt.Errorf("%w: %s given back of %s", ErrIllegal, f.Amount, after.Taken)
		}
	}
	var err error
	after.Taken, err = after.Taken.Add(by)
	return err
}

func mayTake(p *Payment, f Fact, r *rule) error {
	switch {
	case p.Kind == Hold && !f.At.Before(p.ExpiresAt):
		return fmt.Errorf("%w: the hold has expired", ErrOver)
	case f.Asset != p.Asset || f.Amount.Sign() <= 0:
		return fmt.Errorf("%w: %s %s of %s", ErrIllegal, f.Amount, f.Asset, p.Asset)
	case r.takes == takesStated && !f.Beyond && f.Amount.Cmp(p.Remaining()) > 0:
		return fmt.Errorf("%w: %s of %s", ErrExceeds, f.Amount, p.Remaining())
	}
	return nil
}

func mayExpire(p *Payment, at time.Time) error {
	end := p.ExpiresAt
	if p.State == RequiresAction || p.State == InReview {
		end = p.NextAt
	}
	if end.IsZero() || at.Before(end) {
		return fmt.Errorf("%w: it expires at %s", ErrIllegal, end)
	}
	return nil
}

// replace makes another attempt the payment's, remembers whether the one before was
// taken for absent, and follows to the channel.
func (p *Payment) replace(by Attempt, f *Fact) {
	bit := func(n int16) uint64 {
		if n <= 0 || n > absentMax {
			return 0
		}
		return 1 << (n - 1)
	}
	if p.Attempt.State == Absent || p.Attempt.State == NeverSent {
		p.AbsentBefore |= bit(p.Attempt.N)
	}
	p.AbsentBefore &^= bit(by.N)
	by.Reference = Reference(p.ID, by.N)
	p.Attempt = by
	if f.Channel != "" {
		p.Channel = f.Channel
	}
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
		c.After.replace(Attempt{N: f.Attempt, State: Intended, SendBy: f.SendBy}, &f)
		c.After.Tried = f.Attempt
	case nameAttempt:
		named := Attempt{N: f.Attempt, State: r.attempt, SendBy: f.SendBy, ChannelID: f.ChannelID, Reason: f.Reason}
		if f.Attempt == a.N {
			named.SendBy, named.Resends = a.SendBy, a.Resends
		}
		if named.SendBy.IsZero() {
			return fmt.Errorf("%w: attempt %d is named without its send_by", ErrIllegal, f.Attempt)
		}
		c.After.replace(named, &f)
	case sameAttempt:
		if a.State != AttemptUnknown || a.ChannelID != "" || !f.SendBy.After(a.SendBy) {
			return fmt.Errorf("%w: attempt %d (%s, %q) is not one to send again", ErrIllegal, a.N, a.State, a.ChannelID)
		}
		a.State, a.SendBy = Intended, f.SendBy
		a.Resends++
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
	case stated:
		return f.Amount, nil
	case covered:
		return f.Covered, nil
	case uncovered:
		return p.Amount.Sub(f.Covered)
	case inside:
		if p.To == 0 {
			return money.Amount{}, nil
		}
		return p.Amount, nil
	case arrived:
		if p.Original != 0 {
			return money.Amount{}, nil
		}
		return p.Amount, nil
	}
	return money.Amount{}, fmt.Errorf("term %d", t)
}

// timers holds how long a state may last before its next step, and in all.
// Source: life cycle §6.2; the next step of a channel's state normally comes
// from the channel's query schedule instead. A review has half an hour, and is
// given up after a day.
var timers = [stateEnd]struct{ step, bound time.Duration }{
	Created:        {30 * time.Second, 24 * time.Hour},
	RequiresAction: {15 * time.Minute, 16 * time.Minute},
	InReview:       {24 * time.Hour, 30 * time.Minute},
	Reserved:       {30 * time.Second, 60 * time.Second},
	Dispatching:    {10 * time.Second, 30 * time.Second},
	Processing:     {10 * time.Second, 2 * time.Hour},
	Unknown:        {5 * time.Second, 2 * time.Hour},
}

// A debt is looked at every hour, and is a case for a person after a day; so is
// money whose owner nobody has found.
const (
	debtStep   = time.Hour
	personTime = 24 * time.Hour
)

// dueSoon is when a step is due whose time has passed while its fact waited to be
// decided: the wait was waited already, and a payment must not stand for the state's
// default because the ledger was slow. It is not zero, so that every step lies ahead
// (P8), and whoever forms nothing but stale times makes no spinning loop.
const dueSoon = 100 * time.Millisecond

func nextAt(p *Payment, s State, f Fact) time.Time {
	next := f.At.Add(timers[s].step)
	switch {
	case s == RequiresAction, s == InReview:
		return next // nothing hurries or delays it
	case s == Processing && (p.Kind == LatePayout || p.Kind == Chargeback):
		return f.At.Add(debtStep)
	case f.NextAt.After(f.At):
		next = f.NextAt
	case !f.NextAt.IsZero():
		next = f.At.Add(dueSoon)
	case s == Dispatching && f.SendBy.After(f.At):
		next = f.SendBy
	}
	if s == Created && p.Kind == Deposit && p.ExpiresAt.After(f.At) && next.After(p.ExpiresAt) {
		next = p.ExpiresAt
	}
	return next
}

// boundOf is how long the payment may be in state s before somebody must look.
func boundOf(p *Payment, s State, at time.Time) time.Duration {
	switch {
	case p.Kind == LatePayout, p.Kind == Chargeback, p.Kind == Inbound:
		return personTime
	case p.Kind == Deposit && s == Created && !p.ExpiresAt.IsZero():
		return p.ExpiresAt.Sub(at) + time.Minute
	}
	return timers[s].bound
}
