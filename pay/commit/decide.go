package commit

import (
	"errors"
	"fmt"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// judge evaluates Facts on memory and writes their rows into a batch. It does no
// input or output; what it needs was loaded before. A Fact either changes
// memory and batch completely or, with an error, not at all.
type judge struct {
	shard int16
	mem   *memory
	b     *batch
	// unsound is why no outcome may depend on the time of b; nil when it may.
	unsound error
}

// decide answers one Fact. Errors are *fault.Error.
func (j *judge) decide(f Fact) (Result, error) {
	switch {
	case f.Account != nil:
		return j.decideAccount(f.Account)
	case f.Period != nil:
		return j.decidePeriod(f.Period)
	case f.Payment == nil:
		return Result{}, fault.New(fault.MalformedRequest, "a fact is about a payment, an account or a period").WithOp("commit.decide")
	case f.Payment.Kind == pay.Accept:
		return j.accept(f.Payment)
	default:
		return j.advance(f.Payment)
	}
}

func (j *judge) accept(f *pay.Fact) (Result, error) {
	if e, ok := j.mem.keys.get(f.New.Key); ok {
		return j.replay(e, f.Fingerprint)
	}
	if err := j.timed(f); err != nil {
		return Result{}, err
	}
	if p := f.New; (p.Kind == pay.Hold || p.Kind == pay.Deposit) && !p.ExpiresAt.IsZero() && !p.ExpiresAt.After(j.b.at) {
		// Not stored with the key: it makes no sense at any time.
		return Result{}, fault.New(fault.MalformedRequest, "a "+p.Kind.String()+" expires in the future").WithParam("/expires_at")
	}
	if err := j.parties(f.New); err != nil {
		return Result{}, j.refuse(f.New.Key, f.Fingerprint, err)
	}
	p := *f.New
	p.ID = pay.ID(j.id(j.mem.last.payment + 1))
	p.CreatedAt = j.b.at
	if p.EffectiveAt.IsZero() {
		p.EffectiveAt = j.b.at
	}
	if err := j.open(&p); err != nil {
		return Result{}, j.refuse(f.New.Key, f.Fingerprint, err)
	}
	j.fromSuspense(&p)
	born := *f
	born.New, born.At = &p, j.b.at
	changes, err := acceptChanges(p, born)
	if err != nil {
		return Result{}, j.refuse(f.New.Key, f.Fingerprint, fault.New(fault.MalformedRequest, "the payment cannot be accepted").WithCause(err))
	}
	taken, err := j.taken(&p)
	if err != nil {
		return Result{}, j.refuse(f.New.Key, f.Fingerprint, err)
	}
	after, err := j.carryOut(changes, f.Source)
	if err != nil {
		return Result{}, j.refuse(f.New.Key, f.Fingerprint, err)
	}
	j.mem.last.payment++
	j.b.writePayment(after)
	if taken != nil { // it posts nothing, so it cannot fail any more
		if _, err := j.carryOut([]pay.Change{*taken}, f.Source); err != nil {
			panic(fmt.Sprintf("commit: %s was taken from without a posting, and fails: %v", p.Original, err))
		}
	}
	j.answerKey(f.New.Key, keyEntry{fingerprint: f.Fingerprint, kind: keyPayment, subject: int64(after.ID)})
	return Result{Payment: *after}, nil
}

// acceptChanges takes what guard looks at straight through its verdict: what
// reaches the decider has been judged.
func acceptChanges(p pay.Payment, f pay.Fact) ([]pay.Change, error) {
	c, err := pay.Next(pay.Payment{Kind: p.Kind}, f)
	if err != nil {
		return nil, err
	}
	changes := []pay.Change{c}
	if c.To == pay.Created && p.Kind != pay.Deposit {
		verdict := f.Verdict
		if verdict == 0 {
			verdict = pay.Clear
		}
		judged, err := pay.Next(c.After, pay.Fact{Kind: verdict, Payment: p.ID, At: f.At, Reason: f.Reason})
		if err != nil {
			return nil, err
		}
		changes = append(changes, judged)
	}
	return changes, nil
}

func (j *judge) advance(f *pay.Fact) (Result, error) {
	if e, ok := j.mem.keys.get(f.Key); ok && f.Key != (pay.Key{}) {
		return j.eventAgain(e, f)
	}
	p, ok := j.mem.payment(f.Payment)
	if !ok {
		return Result{}, fault.New(fault.NotFound, "no such payment").WithResource(f.Payment.String())
	}
	if f.Source == pay.SourceOperators && p.State.Final() {
		if c, err := pay.Next(*p, *f); err == nil && c.NoOp() {
			return Result{Payment: *p, NoOp: true}, nil
		}
		return Result{Payment: *p}, fault.New(fault.AlreadyFinal, "it is "+p.State.String()+" by now").WithResource(p.ID.String())
	}
	if p.Late != 0 && (f.Kind == pay.Confirm || f.Kind == pay.Settle) {
		return j.lateAgain(p, f)
	}
	if p.Late != 0 && (f.Kind == pay.ChargedBack || f.Kind == pay.Returned) {
		if res, err, done := j.lateBack(p, f); done {
			return res, err
		}
	}
	now := *f
	now.At = j.b.at
	if f.Kind == pay.Recover {
		now.Covered = j.covered(p.From, p.Remaining())
	}
	c, err := pay.Next(*p, now)
	if err == nil && c.NoOp() {
		return Result{Payment: *p, NoOp: true}, nil
	}
	if err := j.timed(f); err != nil {
		return Result{Payment: *p}, err
	}
	if err != nil {
		return j.contradicted(p, &now, err)
	}
	if c.Makes != nil {
		return j.make(&c, &now)
	}
	back := j.givenBack(&c)
	after, err := j.carryOut([]pay.Change{c}, f.Source)
	if err != nil {
		return Result{Payment: *p}, err
	}
	if back != nil {
		if err := j.giveBack(back, f.Source); err != nil {
			return Result{}, err
		}
	}
	return Result{Payment: *after}, nil
}

// illegal turns the table's errors into the caller's words.
func illegal(err error, p *pay.Payment) error {
	code := fault.IllegalTransition
	switch {
	case errors.Is(err, pay.ErrExceeds):
		return fault.New(fault.AmountExceedsRemaining, p.Remaining().String()+" remains of "+p.Amount.String()).
			WithParam("/amount").WithResource(p.ID.String()).WithCause(err)
	case errors.Is(err, pay.ErrOver) && p.Kind == pay.Hold && !p.State.Final():
		return fault.New(fault.AlreadyFinal, "the hold has expired").WithResource(p.ID.String()).WithCause(err)
	case errors.Is(err, pay.ErrOver):
		code = fault.AlreadyFinal
	case errors.Is(err, pay.ErrContradiction):
		code = fault.AlreadyFinal
	case errors.Is(err, pay.ErrMismatch):
		code = fault.AmountInvalid
	}
	return fault.New(code, "the payment is "+p.State.String()).WithResource(p.ID.String()).WithCause(err)
}

// carryOut posts and writes a chain of changes of one payment. All or nothing.
func (j *judge) carryOut(changes []pay.Change, source string) (*pay.Payment, error) {
	first := changes[0]
	posted, err := j.post(changes)
	if err != nil {
		return nil, err
	}
	p := changes[len(changes)-1].After
	next := 0
	for i := range changes {
		c := &changes[i]
		n, firstID := len(c.Postings), int64(0)
		for _, t := range posted[next : next+n] {
			j.mem.last.transfer++
			t.transfer.ID = j.id(j.mem.last.transfer)
			if firstID == 0 {
				firstID = t.transfer.ID
			}
			j.b.writeTransfer(&t.transfer)
		}
		next += n
		if c.T != 0 {
			j.mem.last.transition++
			j.b.writeTransition(j.id(j.mem.last.transition), c, source, firstID, n)
			j.b.hop(&p, c.FromChannel, hopOf(c.From, p), hopOf(c.To, p))
		}
	}
	last := &changes[len(changes)-1]
	if last.AttemptChanged {
		j.b.attempt(&p, last.T == intendTransition)
	}
	wasOpen := first.From != pay.None && !first.From.Final()
	j.b.writes = true
	j.b.touch(&p, wasOpen)
	j.mem.keep(&p)
	return &p, nil
}

const intendTransition = 4

func hopOf(s pay.State, p pay.Payment) string {
	p.State = s
	return p.Hop()
}

type postedTransfer struct {
	debit, credit *ledger.Books
	transfer      ledger.Transfer
}

// post moves the money of all changes in memory, or none of it.
func (j *judge) post(changes []pay.Change) ([]postedTransfer, error) {
	var posted []postedTransfer
	undo := func() {
		for i := len(posted) - 1; i >= 0; i-- {
			ledger.Unpost(posted[i].debit, posted[i].credit, &posted[i].transfer)
		}
	}
	for i := range changes {
		p := &changes[i].After
		for _, x := range changes[i].Postings {
			debit, debitBook, err := j.resolve(p, x.Debit)
			if err != nil {
				undo()
				return nil, err
			}
			credit, creditBook, err := j.resolve(p, x.Credit)
			if err != nil {
				undo()
				return nil, err
			}
			t := ledger.Transfer{
				Payment: int64(p.ID), Debit: debitBook, Credit: creditBook, Amount: x.Amount,
				Transition: uint8(changes[i].T), EffectiveAt: j.effective(p), BookedAt: j.b.at,
			}
			if err := ledger.Post(debit, credit, &t); err != nil {
				undo()
				return nil, err
			}
			posted = append(posted, postedTransfer{debit, credit, t})
		}
	}
	return posted, nil
}

// resolve finds the account and book behind a role of the table.
func (j *judge) resolve(p *pay.Payment, r pay.Role) (*ledger.Books, ledger.BookID, error) {
	switch r {
	case pay.FromAvailable:
		return j.book(p.From, false)
	case pay.FromHeld:
		return j.book(p.From, true)
	case pay.ToAvailable:
		return j.book(p.To, false)
	case pay.ClearingOut, pay.ClearingIn, pay.Nostro, pay.FeeRevenue, pay.FeeCost, pay.Suspense, pay.Receivable, pay.Loss, pay.CompensationExpense:
	}
	if _, named := systemNames[r]; named {
		b := j.systemAccount(p, r)
		return b, b.ID.Available(), nil
	}
	return nil, 0, fault.New(fault.Internal, "").WithOp("commit.resolve").WithCause(fmt.Errorf("role %d", r))
}

func (j *judge) book(id pay.AccountID, held bool) (*ledger.Books, ledger.BookID, error) {
	b, ok := j.mem.accounts.get(ledger.AccountID(id))
	if !ok {
		b, ok = j.mem.systemByID[ledger.AccountID(id)]
	}
	if !ok {
		return nil, 0, fault.New(fault.AccountNotFound, "no such account").WithResource(id.String())
	}
	if held {
		return b, b.ID.Held(), nil
	}
	return b, b.ID.Available(), nil
}

// systemAccount finds or opens one of the accounts that nobody holds.
func (j *judge) systemAccount(p *pay.Payment, r pay.Role) *ledger.Books {
	k := systemKey{int32(p.Tenant), p.Asset, r, p.Channel}
	if systemNames[r] != "" { // one for all channels
		k.channel = ""
	}
	if b, ok := j.mem.system[k]; ok {
		return b
	}
	b := &ledger.Books{Account: ledger.Account{
		ID: j.nextAccount(), Tenant: k.tenant, Kind: ledger.System, Asset: k.asset, Name: systemName(k),
		Unlimited: true, CreatedAt: j.b.at,
	}}
	j.b.writes = true // memory has it from here on, whatever becomes of the Fact
	j.b.writeAccount(&b.Account)
	j.mem.keepSystem(k, b)
	return b
}

// parties checks that both accounts exist for this tenant in this asset.
func (j *judge) parties(p *pay.Payment) error {
	if p.From != 0 {
		b, err := j.party(p.From, "/from", p)
		if err != nil {
			return err
		}
		if b.Frozen {
			return fault.New(fault.AccountFrozen, "the paying account is frozen").WithParam("/from").WithResource(p.From.String())
		}
	}
	if p.To != 0 {
		b, err := j.party(p.To, "/to", p)
		if err != nil {
			return err
		}
		if b.FrozenAll {
			return fault.New(fault.AccountFrozen, "the receiving account is frozen").WithParam("/to").WithResource(p.To.String())
		}
	}
	if p.From == p.To && p.From != 0 {
		return fault.New(fault.SameAccount, "from and to are the same account").WithParam("/to")
	}
	return nil
}

func (j *judge) party(id pay.AccountID, param string, p *pay.Payment) (*ledger.Books, error) {
	b, ok := j.mem.accounts.get(ledger.AccountID(id))
	if !ok || b.Tenant != int32(p.Tenant) || b.Kind == ledger.System {
		return nil, fault.New(fault.AccountNotFound, "no such account").WithParam(param).WithResource(id.String())
	}
	if b.Asset != p.Asset {
		return nil, fault.New(fault.AssetMismatch, fmt.Sprintf("the account holds %s, the payment is in %s", b.Asset, p.Asset)).WithParam(param)
	}
	return b, nil
}

func (j *judge) decideAccount(f *ledger.AccountFact) (Result, error) {
	if f.Kind == ledger.Open {
		return j.openAccount(f)
	}
	keyed := f.Key != [16]byte{}
	if keyed {
		if e, ok := j.mem.keys.get(f.Key); ok {
			return j.replay(e, f.Fingerprint)
		}
	}
	b, ok := j.mem.accounts.get(f.ID)
	if !ok || b.Tenant != f.Tenant || b.Kind == ledger.System {
		return Result{}, fault.New(fault.AccountNotFound, "no such account").WithResource(pay.AccountID(f.ID).String())
	}
	switch f.Kind {
	case ledger.Open:
		return j.openAccount(f)
	case ledger.SetFloor:
		if b.Unlimited || f.Floor.Sign() > 0 {
			return Result{Account: b.Account}, fault.New(fault.FloorInvalid, "a floor is zero or below, and house accounts have none").WithParam("/floor")
		}
		b.Floor = f.Floor
	case ledger.SetFrozen:
		b.Frozen, b.FrozenAll, b.FreezeReason = f.Frozen, f.Frozen && f.FrozenAll, ""
		if f.Frozen {
			b.FreezeReason = f.Reason
		}
	default:
		return Result{}, fault.New(fault.MalformedRequest, "unknown account fact")
	}
	j.b.writes = true
	j.b.accounts[b.ID] = b.Account
	j.b.writeAccountChange(&b.Account, f)
	if keyed {
		j.answerKey(f.Key, keyEntry{fingerprint: f.Fingerprint, kind: keyAccount, subject: int64(b.ID)})
	}
	return Result{Account: b.Account}, nil
}

func (j *judge) openAccount(f *ledger.AccountFact) (Result, error) {
	if e, ok := j.mem.keys.get(f.Key); ok {
		return j.replay(e, f.Fingerprint)
	}
	a := f.New
	if a.Kind != ledger.User && a.Kind != ledger.House {
		return Result{}, fault.New(fault.MalformedRequest, "only user and house accounts can be opened").WithParam("/kind")
	}
	if a.Kind == ledger.User && a.Unlimited {
		return Result{}, fault.New(fault.FloorInvalid, "only house accounts are unlimited").WithParam("/floor")
	}
	if !a.Unlimited && a.Floor.Sign() > 0 {
		return Result{}, fault.New(fault.FloorInvalid, "a floor is zero or below").WithParam("/floor")
	}
	a.ID, a.CreatedAt = j.nextAccount(), j.b.at
	j.b.writeAccount(&a)
	j.mem.accounts.put(a.ID, &ledger.Books{Account: a})
	j.answerKey(f.Key, keyEntry{fingerprint: f.Fingerprint, kind: keyAccount, subject: int64(a.ID)})
	return Result{Account: a}, nil
}

// replay answers a key that was used before with the truth of now.
func (j *judge) replay(e keyEntry, fingerprint [16]byte) (Result, error) {
	if e.fingerprint != fingerprint {
		f := fault.New(fault.IdempotencyKeyReused, "this key was used with another payload")
		switch e.kind {
		case keyPayment:
			f = f.WithResource(pay.ID(e.subject).String())
		case keyAccount:
			f = f.WithResource(pay.AccountID(e.subject).String())
		case keyRefusal:
		}
		return Result{Replayed: true}, f
	}
	switch e.kind {
	case keyRefusal:
		return Result{Replayed: true}, e.refusal.fault()
	case keyAccount:
		if b, ok := j.mem.accounts.get(ledger.AccountID(e.subject)); ok {
			return Result{Account: b.Account, Replayed: true}, nil
		}
	case keyPayment:
		if p, ok := j.mem.payment(pay.ID(e.subject)); ok {
			return Result{Payment: *p, Replayed: true}, nil
		}
	}
	return Result{Replayed: true}, fault.New(fault.Internal, "").WithOp("commit.replay").
		WithCause(fmt.Errorf("subject %d of kind %d was not loaded", e.subject, e.kind))
}

// refuse stores a refusal of the ledger with its key, so that the same request
// gets the same answer, and returns it.
func (j *judge) refuse(key, fingerprint [16]byte, err error) error {
	f := fault.From(err)
	j.answerKey(key, keyEntry{fingerprint: fingerprint, kind: keyRefusal, refusal: &refusal{f.Code, f.Detail, f.Param, f.Resource}})
	return f
}

func (j *judge) answerKey(key [16]byte, e keyEntry) {
	j.b.writes = true
	j.b.writeKey(key, e)
	j.mem.keys.put(key, e)
}

// id puts the shard above a sequence number.
func (j *judge) id(seq int64) int64 { return int64(j.shard)<<48 | seq }

func (j *judge) nextAccount() ledger.AccountID {
	j.mem.last.account++
	return ledger.AccountID(j.id(j.mem.last.account * 2))
}
