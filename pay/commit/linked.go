package commit

import (
	"errors"
	"fmt"
	"strings"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// taken is what a new linked payment does to its original: nil for what takes
// nothing. It completes p with what only its original knows.
func (j *judge) taken(p *pay.Payment) (*pay.Change, error) {
	if p.Original == 0 {
		return nil, nil
	}
	o, ok := j.mem.payment(p.Original)
	if !ok || o.Tenant != p.Tenant {
		return nil, fault.New(fault.NotFound, "no such original").WithResource(p.Original.String())
	}
	if p.Kind == pay.Compensation {
		return nil, nil
	}
	if err := fits(p, o); err != nil {
		return nil, err
	}
	c, err := pay.Next(*o, pay.Fact{
		Kind: pay.Take, Payment: o.ID, At: j.b.at, Amount: p.Amount, Asset: p.Asset, Reason: "taken by " + p.ID.String(),
	})
	if err != nil {
		return nil, illegal(err, o)
	}
	return &c, nil
}

// fits checks that a linked payment has the parties and the road of its original.
func fits(p, o *pay.Payment) error {
	no := fault.New(fault.NotFound, fmt.Sprintf("a %s gives nothing to a %s", o.Kind, p.Kind)).WithResource(o.ID.String())
	var ok bool
	switch p.Kind {
	case pay.Capture:
		if o.Kind != pay.Hold {
			return no
		}
		ok = o.From == p.From && o.To == p.To && o.Channel == p.Channel && o.PayeeAccount == p.PayeeAccount
	case pay.Refund:
		if o.Kind != pay.Deposit && o.Kind != pay.LateDeposit && o.Kind != pay.Inbound {
			return no
		}
		ok = p.Channel == o.Channel && (o.Kind == pay.Inbound || p.From == o.To)
	case pay.Assignment:
		if o.Kind != pay.Inbound {
			return no
		}
		ok = true
	case pay.Send, pay.Payout, pay.Deposit, pay.Hold, pay.LatePayout, pay.LateDeposit, pay.Return, pay.Inbound, pay.Chargeback, pay.Compensation:
		return no
	default:
		return no
	}
	if !ok {
		return fault.New(fault.MalformedRequest, fmt.Sprintf("the parties of a %s are those of its %s", p.Kind, o.Kind)).WithResource(o.ID.String())
	}
	return nil
}

// fromSuspense makes the account of money without an owner the payer of what is
// done with it. No request can name that account.
func (j *judge) fromSuspense(p *pay.Payment) {
	if p.Kind != pay.Assignment && p.Kind != pay.Refund {
		return
	}
	if o, ok := j.mem.payment(p.Original); ok && o.Kind == pay.Inbound && o.Tenant == p.Tenant && o.Asset == p.Asset {
		p.From = pay.AccountID(j.systemAccount(p, pay.Suspense).ID)
	}
}

// make carries out a change that makes a linked payment, and accepts that. Both
// stand or neither. The answer is the original, as of now.
func (j *judge) make(c *pay.Change, f *pay.Fact) (Result, error) {
	n := *c.Makes
	n.ID = pay.ID(j.id(j.mem.last.payment + 1))
	n.CreatedAt, n.EffectiveAt = j.b.at, j.b.at
	born := pay.Fact{Kind: pay.Accept, Payment: n.ID, At: j.b.at, New: &n, Source: f.Source, Reason: f.Reason, Covered: j.covered(n.From, n.Amount)}
	accepted, err := pay.Next(pay.Payment{Kind: n.Kind}, born)
	if err != nil {
		return Result{}, illegal(err, &c.After)
	}
	changes := []pay.Change{accepted}
	if f.Settled || f.Kind == pay.Settle {
		settled, err := pay.Next(accepted.After, pay.Fact{
			Kind: pay.Settle, Payment: n.ID, At: j.b.at, Amount: n.Amount, Asset: n.Asset, Cost: f.Cost, Source: f.Source,
		})
		if err != nil {
			return Result{}, illegal(err, &c.After)
		}
		changes = append(changes, settled)
	}
	made, err := j.carryOut(changes, f.Source)
	if err != nil {
		return Result{}, err
	}
	j.mem.last.payment++
	j.b.writePayment(made)
	j.answerKey(made.Key, keyEntry{kind: keyPayment, subject: int64(made.ID)})
	if made.Kind == pay.LatePayout || made.Kind == pay.LateDeposit {
		c.After.Late = made.ID
		j.b.late = append(j.b.late, *made)
		j.takenLate(&c.After, f.Source)
	}
	if made.Kind == pay.Return && c.After.Late == 0 { // what came back of a late payout pays its debt, and waits as an item already
		j.unplacedAgain(made, f.Source)
	}
	after, err := j.carryOut([]pay.Change{*c}, f.Source)
	if err != nil { // it posts nothing, so it cannot fail any more
		panic(fmt.Sprintf("commit: %s made %s without a posting, and fails: %v", c.After.ID, made.ID, err))
	}
	if made.Kind == pay.Return && after.Late != 0 {
		j.recoverBy(made, after.Late, f.Source)
	}
	return Result{Payment: *after}, nil
}

// takenLate counts a refund that was called failed and has executed against its deposit
// again, which has its amount back and may have given it out once more since.
func (j *judge) takenLate(p *pay.Payment, source string) {
	if p.Kind != pay.Refund {
		return
	}
	o, ok := j.mem.payment(p.Original)
	if !ok {
		panic(fmt.Sprintf("commit: %s, the original of %s, was not loaded", p.Original, p.ID))
	}
	if o.Kind != pay.Deposit && o.Kind != pay.LateDeposit { // what waits in suspense is not what the late payout took
		return
	}
	c, err := pay.Next(*o, pay.Fact{
		Kind: pay.Take, Payment: o.ID, At: j.b.at, Amount: p.Amount, Asset: p.Asset, Beyond: true, Reason: "taken late by " + p.ID.String(),
	})
	if err == nil {
		_, err = j.carryOut([]pay.Change{c}, source)
	}
	if err != nil { // it posts nothing, and asks nobody
		panic(fmt.Sprintf("commit: %s is not counted against %s: %v", p.ID, o.ID, err))
	}
}

// unplacedAgain accepts an item for money that went from suspense to whoever had sent
// it and was returned: it is in suspense again by the return's own posting, and only an
// Inbound can be assigned or sent back.
func (j *judge) unplacedAgain(r *pay.Payment, source string) {
	if b, system := j.mem.systemByID[ledger.AccountID(r.To)]; !system || b.Name != systemNames[pay.Suspense] {
		return
	}
	n := pay.Payment{
		ID: pay.ID(j.id(j.mem.last.payment + 1)), Tenant: r.Tenant, Kind: pay.Inbound, Asset: r.Asset, Amount: r.Amount, Channel: r.Channel,
		Original: r.ID, Remittance: r.Remittance, Link: r.Link, TraceID: r.TraceID,
		Key:       pay.EventKey(r.Tenant, r.Channel, pay.Inbound, "returned "+r.Link),
		CreatedAt: j.b.at, EffectiveAt: j.b.at,
	}
	c, err := pay.Next(pay.Payment{Kind: n.Kind}, pay.Fact{
		Kind: pay.Accept, Payment: n.ID, At: j.b.at, New: &n, Source: source, Reason: "returned by " + r.ID.String(),
	})
	if err != nil {
		panic(fmt.Sprintf("commit: what %s returned to suspense cannot wait there: %v", r.ID, err))
	}
	item, err := j.carryOut([]pay.Change{c}, source)
	if err != nil { // it posts nothing: the money is there
		panic(fmt.Sprintf("commit: what %s returned to suspense cannot wait there: %v", r.ID, err))
	}
	j.mem.last.payment++
	j.b.writePayment(item)
	j.answerKey(item.Key, keyEntry{kind: keyPayment, subject: int64(item.ID)})
}

// covered is how much of owed the account can pay now without falling below zero.
func (j *judge) covered(from pay.AccountID, owed money.Amount) money.Amount {
	b, _, err := j.book(from, false)
	switch {
	case err != nil, b.Kind == ledger.System: // what waits in suspense is other people's
		return money.Amount{}
	case b.Unlimited, b.Available.Balance.Cmp(owed) >= 0:
		return owed
	case b.Available.Balance.Sign() < 0:
		return money.Amount{}
	}
	return b.Available.Balance
}

// eventAgain answers an event that made its linked payment before. What was a
// callback then may be a statement line now.
func (j *judge) eventAgain(e keyEntry, f *pay.Fact) (Result, error) {
	if e.kind == keyRefusal { // it was put aside: a person decides
		return Result{Replayed: true}, e.refusal.fault()
	}
	p, ok := j.mem.payment(pay.ID(e.subject))
	if e.kind != keyPayment || !ok {
		return Result{}, fault.New(fault.Internal, "").WithOp("commit.eventAgain").WithCause(fmt.Errorf("payment %d was not loaded", e.subject))
	}
	of := f.Payment
	if about, ok := j.mem.payment(of); ok && p.Kind == pay.Chargeback && about.Late != 0 {
		of = about.Late
	}
	if p.Amount != f.Amount || p.Asset != f.Asset || p.Original != of {
		return Result{Payment: *p}, fault.New(fault.AmountInvalid, "the same event was told otherwise before").WithResource(p.ID.String())
	}
	if !f.Settled {
		return Result{Payment: *p, NoOp: true}, nil
	}
	return j.advance(&pay.Fact{Kind: pay.Settle, Payment: p.ID, At: f.At, Amount: f.Amount, Asset: f.Asset, Cost: f.Cost, Source: f.Source})
}

// lateAgain hands a word of success after the failure to the late outcome that
// stands. Another attempt's is a contradiction: money may have left twice.
func (j *judge) lateAgain(p *pay.Payment, f *pay.Fact) (Result, error) {
	late, ok := j.mem.payment(p.Late)
	if !ok {
		return Result{}, fault.New(fault.Internal, "").WithOp("commit.lateAgain").WithCause(fmt.Errorf("payment %d was not loaded", p.Late))
	}
	if ref := pay.Reference(p.ID, f.Attempt); late.Link != ref {
		return j.contradicted(p, f, fmt.Errorf("%w: %s executed, and %s before", pay.ErrContradiction, ref, late.Link))
	}
	if f.Kind == pay.Confirm {
		return Result{Payment: *p, NoOp: true}, nil
	}
	g := *f
	g.Payment, g.Attempt = late.ID, 0
	return j.advance(&g)
}

// ErrWrittenOff reports that money has come back of a late payout whose debt nobody owes
// any more. Nothing was booked: the statement's line brings it to suspense.
var ErrWrittenOff = errors.New("was written off")

// lateBack looks at a word that takes a late outcome back, and says whether it is done
// with it. A chargeback is about the late deposit. What came back of a late payout is
// credited like any return, and the debt is taken from that at once: its holder's, or
// that of the suspense account, where what had failed to leave waits again already. It is
// a contradiction where the debt was written off, and the money is ours (ErrWrittenOff);
// and where another attempt comes back: of that one neither leg is booked.
func (j *judge) lateBack(p *pay.Payment, f *pay.Fact) (res Result, err error, done bool) {
	late, ok := j.mem.payment(p.Late)
	if !ok {
		return Result{}, fault.New(fault.Internal, "").WithOp("commit.lateBack").WithCause(fmt.Errorf("payment %d was not loaded", p.Late)), true
	}
	if f.Kind == pay.ChargedBack {
		if late.Kind != pay.LateDeposit { // nobody charges a payout back: what failed contradicts that itself
			return Result{}, nil, false
		}
		g := *f
		g.Payment, g.Attempt = late.ID, 0
		res, err = j.advance(&g)
		return res, err, true
	}
	var why error
	switch ref := pay.Reference(p.ID, f.Attempt); {
	case late.Link != ref:
		why = fmt.Errorf("%w: %s came back, and %s executed: of %[2]s nothing is booked, neither that it left nor that it came back; see on the statement whether the two cancel",
			pay.ErrContradiction, ref, late.Link)
	case late.State == pay.Succeeded && late.Taken != late.Amount:
		why = fmt.Errorf("%w: the debt of %s %w: what came back is ours", pay.ErrContradiction, late.ID, ErrWrittenOff)
	default:
		return Result{}, nil, false
	}
	res, err = j.contradicted(p, f, why)
	return res, err, true
}

// recoverBy takes what its holder owes for a late payout from what came back of it, in
// the same transaction, so that nobody spends it in between. Whatever refuses that, such
// as a freeze, leaves it to the timer. Of what left from suspense it takes what came back
// and no more: the rest there is other people's.
func (j *judge) recoverBy(back *pay.Payment, debt pay.ID, source string) {
	late, ok := j.mem.payment(debt)
	if !ok || !late.Open() {
		return
	}
	covered := j.covered(late.From, late.Remaining())
	if _, system := j.mem.systemByID[ledger.AccountID(late.From)]; system {
		if covered = back.Amount; covered.Cmp(late.Remaining()) > 0 {
			covered = late.Remaining()
		}
	}
	if covered.IsZero() {
		return
	}
	c, err := pay.Next(*late, pay.Fact{Kind: pay.Recover, Payment: debt, At: j.b.at, Covered: covered, Reason: "returned as " + back.ID.String()})
	if err == nil {
		_, err = j.carryOut([]pay.Change{c}, source)
	}
	_ = err // all of it or nothing: the debt stands as it was
}

// contradicted answers a fact that the table refused. A contradiction of what is
// final stands in the payment's log from then on, once, although nothing moves.
func (j *judge) contradicted(p *pay.Payment, f *pay.Fact, err error) (Result, error) {
	said := illegal(err, p)
	if !errors.Is(err, pay.ErrContradiction) {
		return Result{Payment: *p}, said
	}
	if c := pay.Note(*p, *f, strings.ToValidUTF8(err.Error(), "?")); !c.NoOp() {
		if _, err := j.carryOut([]pay.Change{c}, f.Source); err != nil {
			panic(fmt.Sprintf("commit: a note on %s posts nothing, and fails: %v", p.ID, err))
		}
	}
	return Result{Payment: *p}, said
}

// givenBack is what the original gets back when a linked payment ends without
// having moved: nil when there is nothing.
func (j *judge) givenBack(c *pay.Change) *pay.Change {
	p := &c.After
	takes := p.Kind == pay.Capture || p.Kind == pay.Refund
	if !takes || !c.To.Final() || c.To == pay.Succeeded || c.From.Final() {
		return nil
	}
	o, ok := j.mem.payment(p.Original)
	if !ok {
		panic(fmt.Sprintf("commit: %s, the original of %s, was not loaded", p.Original, p.ID))
	}
	link := pay.Reference(p.ID, p.Attempt.N)
	back, err := pay.Next(*o, pay.Fact{
		Kind: pay.GiveBack, Payment: o.ID, At: j.b.at, Amount: p.Amount, Asset: p.Asset, Reason: "given back by " + p.ID.String(),
		ChannelID: link, Key: pay.EventKey(p.Tenant, p.Channel, pay.Inbound, link),
	})
	if err != nil {
		panic(fmt.Sprintf("commit: %s does not take back what %s took: %v", o.ID, p.ID, err))
	}
	return &back
}

func (j *judge) giveBack(back *pay.Change, source string) error {
	if back.Makes != nil {
		_, err := j.make(back, &pay.Fact{Kind: pay.GiveBack, Source: source, Reason: back.After.Reason})
		return err
	}
	_, err := j.carryOut([]pay.Change{*back}, source)
	return err
}
