package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/money"
)

// errConflict: the reference is known with another payload.
var errConflict = errors.New("the reference was used with other details")

// errInProgress: the bank knows the reference and does not want it again.
var errInProgress = errors.New("a request with this reference is in progress")

// tally counts what a bank did to us since the process started.
type tally struct {
	received, deduplicated           atomic.Int64
	requestsLost, repliesLost        atomic.Int64
	errorsBefore, errorsAfter        atomic.Int64
	queries, notFound, queryErrors   atomic.Int64
	callbacksSent, callbacksRepeated atomic.Int64
	callbacksForged, callbacksFailed atomic.Int64
	limited, lies, ghosts            atomic.Int64
}

// bank plays one bank. Its lock guards books, behaviour and outbox; nothing is
// shown to anybody before the journal has it.
type bank struct {
	code    string // lower case
	dice    dice
	clock   clock.Clock
	log     *slog.Logger
	journal *journal
	tally   tally

	requests  atomic.Uint64 // numbers the draws for requests
	asked     atomic.Uint64 // numbers the draws for queries
	files     atomic.Uint64 // numbers the draws for downloads of statements
	behaviour atomic.Pointer[Behaviour]
	limits    limiter
	script    atomic.Pointer[milestone] // what a scenario does after so many payments
	// twin is the bank's test endpoint: the same behaviour, other books, in memory
	// only, and no callbacks. A twin has none.
	twin *bank

	mu      sync.Mutex
	books   books
	recent  map[payee]time.Time // when each payee last got this amount, for DuplicateCheck
	outbox  outbox
	waiting agenda // accepted orders to settle later
	wake    chan struct{}
}

// openBank reads the bank's journal back, or starts an empty one.
func openBank(code, path string, cfg Config) (*bank, error) {
	b := &bank{
		code: code, dice: newDice(cfg.Seed, code), clock: cfg.Clock, log: cfg.Logger.With(slog.String("bank", code)),
		books: newBooks(code, strings.ToUpper(code)), recent: map[payee]time.Time{},
		outbox: newOutbox(cfg.CallbackQueue), wake: make(chan struct{}, 1),
	}
	b.behave(*cfg.Behaviour)
	var err error
	if b.journal, err = openJournal(path, b.books.replay); err != nil {
		return nil, fmt.Errorf("open bank %s: %w", code, err)
	}
	b.requests.Store(uint64(len(b.books.orders)))
	b.resume()
	return b, nil
}

// resume schedules what the journal left open: orders to settle, callbacks
// that nobody took. A callback delivered just before a crash may come again.
func (b *bank) resume() {
	for _, o := range b.books.orders {
		states := o.events
		o.events = [2]eventState{}
		for kind, state := range states {
			b.outbox.set(o, eventKind(kind), state)
		}
		if o.status == accepted {
			b.waiting.push(task{due: b.settleDue(o), order: o})
			b.tell(o, o.acceptedAt)
			continue
		}
		b.awaitReturn(o)
		b.tell(o, o.settledAt)
	}
}

func (b *bank) settleDue(o *order) time.Time {
	return o.acceptedAt.Add(time.Duration(o.ExecuteDelay) * time.Millisecond)
}

// now is the bank's time, as precise as its messages.
func (b *bank) now() time.Time { return b.clock.Now().UTC().Truncate(time.Microsecond) }

func (b *bank) behaviourNow() *Behaviour { return b.behaviour.Load() }

// behave switches the behaviour and wakes whoever a window held.
func (b *bank) behave(how Behaviour) {
	b.behaviour.Store(&how)
	b.nudge()
	b.outbox.nudge()
	if b.twin != nil {
		b.twin.behave(how)
	}
}

// payee is who gets how much, for banks that take two equal payments for one.
type payee struct {
	account string
	amount  money.Amount
	asset   money.Asset
}

// receive takes a movement: finds it again, or accepts and, unless its plan
// says later, settles it. The view is durable when receive returns.
func (b *bank) receive(move movement, how *Behaviour, ghost time.Duration) (view, error) {
	b.mu.Lock()
	known := b.books.byRef[move.key()]
	if known != nil && (how.Dedup || move.Direction == in) && !b.forgotten(known, how) {
		seen, same := b.view(known), known.movement == move
		b.mu.Unlock()
		b.tally.deduplicated.Add(1)
		if !same {
			return view{}, errConflict
		}
		if b.dice.falls(how.Conflict, b.requests.Load(), forConflict) {
			return view{}, errInProgress
		}
		return seen, b.journal.flush()
	}
	o, err := b.accept(move, how, ghost)
	if err != nil {
		b.mu.Unlock()
		return view{}, err
	}
	seen := b.view(o)
	b.mu.Unlock()
	if how.Mode == Async && seen.Status == executed {
		// The first reply says no more than a slow bank's would.
		seen.Status, seen.ExecutedAt = accepted, time.Time{}
	}
	if err := b.journal.flush(); err != nil {
		return view{}, err
	}
	b.announce(o)
	return seen, nil
}

// forgotten reports whether the bank no longer recognises a reference.
func (b *bank) forgotten(known *order, how *Behaviour) bool {
	return known.Direction == out && how.DedupWindow > 0 &&
		b.now().Sub(known.acceptedAt) > time.Duration(how.DedupWindow)*time.Millisecond
}

// accept enters the order, with the lock held. A ghost waits that long, unseen.
func (b *bank) accept(move movement, how *Behaviour, ghost time.Duration) (*order, error) {
	at := b.now()
	fate := b.fate(&move, how, uint64(len(b.books.orders))+1)
	if ghost > 0 {
		if fate.Odd == nil {
			fate.Odd = &quirks{}
		}
		fate.Odd.Ghost, fate.TellAccepted, fate.OutOfOrder = true, false, false
		fate.ExecuteDelay = ghost.Milliseconds()
	}
	b.refuseAgain(&move, &fate, how, at)
	o := b.books.enter(move, fate, at)
	if fate.ExecuteDelay > 0 || fate.Refuse && fate.Late {
		b.waiting.push(task{due: b.settleDue(o), order: o})
	} else if err := b.books.settle(o, at); err != nil {
		return nil, err
	}
	b.awaitReturn(o)
	b.journal.append(record{Kind: "o", Number: o.number, At: at, Move: &o.movement, Plan: &o.plan, Status: o.status})
	return o, nil
}

// refuseAgain declines what was cancelled before it came, and what looks like a
// payment made a moment ago.
func (b *bank) refuseAgain(move *movement, fate *plan, how *Behaviour, at time.Time) {
	if move.Direction != out || move.ReturnOf != 0 {
		return
	}
	reason := ""
	if b.books.stones[move.Reference] {
		reason = reasonCancelled
	}
	if how.DuplicateCheck > 0 {
		who := payee{move.Account, move.Amount, move.Asset}
		last, seen := b.recent[who]
		if seen && at.Sub(last) < time.Duration(how.DuplicateCheck)*time.Millisecond {
			reason = "duplicate"
		}
		if len(b.recent) >= maxCounted {
			clear(b.recent)
		}
		b.recent[who] = at
	}
	if b.dice.falls(how.RefundRefused, uint64(len(b.books.orders))+1, forRefundRefused) && b.hasPaid(move.Account) {
		reason = "refund_not_supported"
	}
	if reason != "" {
		fate.Refuse, fate.Late, fate.Reason = true, false, reason
		fate.ExecuteDelay, fate.TellAccepted, fate.OutOfOrder, fate.Fee = 0, false, false, money.Amount{}
	}
}

// hasPaid reports whether money came from the account. It looks through the books,
// and only while a behaviour asks.
func (b *bank) hasPaid(account string) bool {
	for _, o := range b.books.effects {
		if o.Direction == in && o.Account == account {
			return true
		}
	}
	return false
}

// awaitReturn plans the way back of money that will not stay, with the lock held.
func (b *bank) awaitReturn(o *order) {
	if q := o.odd(); q.ReturnAfter > 0 && o.status == executed && !o.returned {
		b.waiting.push(task{due: o.settledAt.Add(time.Duration(q.ReturnAfter) * time.Millisecond), order: o})
	}
}

// fate draws everything that will happen to order n.
func (b *bank) fate(move *movement, how *Behaviour, n uint64) plan {
	d := b.dice
	p := plan{
		CallbackDelay: d.delay(how.CallbackDelay, n, forCallbackDelay).Milliseconds(),
		Duplicate:     d.falls(how.CallbackDuplicate, n, forCallbackDuplicate),
		Lose:          d.falls(how.CallbackLose, n, forCallbackLose),
		Forge:         d.falls(how.CallbackForge, n, forCallbackForge),
		Omit:          d.falls(how.StatementOmit, n, forStatementOmit),
		Repeat:        d.falls(how.StatementDuplicate, n, forStatementDuplicate),
		Wrong:         d.falls(how.StatementWrongAmount, n, forStatementWrong),
		Odd:           b.quirks(move, how, n),
	}
	if how.Mode == Async {
		p.ExecuteDelay = d.delay(how.ExecuteDelay, n, forExecuteDelay).Milliseconds()
	}
	if move.Direction == in {
		return p // money in is neither refused nor announced, and costs nothing
	}
	p.Silent = how.Mode == Sync
	p.OutOfOrder = d.falls(how.CallbackOutOfOrder, n, forCallbackOrder)
	p.TellAccepted = p.OutOfOrder || d.falls(how.CallbackAccepted, n, forCallbackAccepted)
	if d.falls(how.Decline.Probability, n, forDecline) {
		p.Refuse, p.Reason, p.Late = true, how.Decline.Reason, how.declinesLate()
		if !p.Late { // the reply is the first and last word
			p.ExecuteDelay, p.TellAccepted, p.OutOfOrder = 0, false, false
		}
		return p
	}
	p.Fee = how.Fee
	return p
}

// announce schedules what a new order left to do, once it is durable.
func (b *bank) announce(o *order) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if o.status == accepted {
		b.nudge()
	}
	b.tell(o, b.now())
}

// tell offers the order's due callbacks to the outbox, with the lock held.
// When both are due the second follows the first one's first attempt.
func (b *bank) tell(o *order, at time.Time) {
	if o.Silent {
		return
	}
	settled := o.status != accepted
	outcomeDue := at.Add(time.Duration(o.CallbackDelay) * time.Millisecond)
	told := o.events[ofOutcome] == delivered || o.events[ofOutcome] == givenUp
	early := o.TellAccepted && o.events[ofAcceptance] == notDue && (!o.OutOfOrder || told)
	late := settled && o.events[ofOutcome] == notDue
	switch {
	case early && o.Lose:
		b.outbox.set(o, ofAcceptance, lost)
	case early:
		b.outbox.offer(task{due: at, order: o, event: ofAcceptance, first: late && o.CallbackDelay == 0})
		late = late && o.CallbackDelay > 0
	}
	switch {
	case late && o.Lose:
		b.outbox.set(o, ofOutcome, lost)
		if o.OutOfOrder {
			b.outbox.set(o, ofAcceptance, lost)
		}
	case late:
		b.outbox.offer(task{due: outcomeDue, order: o, event: ofOutcome, first: o.OutOfOrder})
	}
}

// follow offers the event that waited for the first attempt of another, with
// the lock held.
func (b *bank) follow(done task) {
	other := ofOutcome
	if done.event == ofOutcome {
		other = ofAcceptance
	}
	if done.first && done.order.events[other] == notDue {
		b.outbox.offer(task{due: b.now(), order: done.order, event: other})
	}
}

// nudge wakes the settler.
func (b *bank) nudge() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// settleLoop gives delayed orders their outcome until ctx ends.
func (b *bank) settleLoop(ctx context.Context) {
	for ctx.Err() == nil {
		wait, err := b.settleDueOrders()
		if err != nil {
			b.log.ErrorContext(ctx, "the bank stopped settling", slog.Any("error", err))
			return
		}
		pause(ctx, wait, b.wake)
	}
}

// settleDueOrders settles what is due and returns the wait until the next.
// Nothing is settled while the bank is being maintained.
func (b *bank) settleDueOrders() (time.Duration, error) {
	now := b.now()
	if closed := b.behaviourNow().Maintenance.left(now); closed > 0 {
		return closed, nil
	}
	var done []*order
	b.mu.Lock()
	for len(b.waiting) > 0 && !b.waiting[0].due.After(now) {
		o, err := b.settleOne(b.waiting.pop().order, now)
		if err != nil {
			b.mu.Unlock()
			return 0, err
		}
		if o != nil {
			done = append(done, o)
		}
	}
	wait := time.Hour
	if len(b.waiting) > 0 {
		wait = b.waiting[0].due.Sub(now)
	}
	b.mu.Unlock()
	if err := b.journal.flush(); err != nil {
		return 0, err
	}
	for _, o := range done {
		b.announce(o)
	}
	return wait, nil
}

// settleOne gives an order its outcome, or brings back what it had moved: the
// order to tell of, or nil. The lock is held.
func (b *bank) settleOne(o *order, now time.Time) (*order, error) {
	if o.status == accepted {
		if err := b.books.settle(o, now); err != nil {
			return nil, err
		}
		b.journal.append(record{Kind: "x", Number: o.number, At: now})
		b.awaitReturn(o)
		return o, nil
	}
	if o.status != executed || o.returned || o.odd().ReturnAfter == 0 {
		return nil, nil // it was cancelled meanwhile
	}
	back := movement{
		Direction: in, Reference: o.Reference, Amount: o.Amount, Asset: o.Asset, Account: o.Account, Name: o.Name,
		Remittance: "RETURN " + o.odd().ReturnWhy, ReturnOf: o.number,
	}
	// What goes wrong on the wire may also befall a return; its delay is over.
	how := *b.behaviourNow().atTheCounter()
	how.ExecuteDelay, how.Return.Probability = Delay{}, 0
	return b.accept(back, &how, 0)
}

// errTooLate refuses to cancel what has been executed.
var errTooLate = errors.New("it has been executed")

// cancel ends an accepted order, or forbids a reference that nobody has used yet.
// It returns the order's status afterwards.
func (b *bank) cancel(reference string) (string, error) {
	b.mu.Lock()
	o := b.books.byRef[refKey{out, reference}]
	var err error
	switch {
	case o == nil:
		b.books.stones[reference] = true
		b.journal.append(record{Kind: "t", Move: &movement{Reference: reference}})
	case o.status == executed:
		err = errTooLate
	case o.status == accepted && !o.odd().CancelFails:
		at := b.now()
		if err = b.books.cancel(o, at); err == nil {
			b.journal.append(record{Kind: "k", Number: o.number, At: at})
		}
	}
	b.mu.Unlock()
	if err != nil {
		return executed, err
	}
	if err := b.journal.flush(); err != nil {
		return "", err
	}
	if o != nil {
		b.announce(o)
	}
	return reasonCancelled, nil
}

// view is an order as the outside may see it.
type view struct {
	Status     string       `json:"status"`
	Direction  string       `json:"direction"`
	Reference  string       `json:"reference"`
	Amount     money.Amount `json:"amount"`
	Asset      money.Asset  `json:"asset"`
	BankID     string       `json:"bank_id,omitempty"`
	Reason     string       `json:"reason,omitempty"`
	Remittance string       `json:"remittance,omitempty"`
	ExecutedAt time.Time    `json:"executed_at,omitzero"`
}

func (b *bank) view(o *order) view {
	v := view{
		Status: o.status, Direction: o.Direction, Reference: o.Reference, Amount: o.stated(),
		Asset: o.Asset, BankID: b.books.bankID(o), Remittance: o.Remittance,
	}
	if o.odd().NoBankID {
		v.BankID = ""
	}
	switch o.status {
	case executed:
		v.ExecutedAt = o.stamp(o.settledAt)
	case declined:
		v.Reason = o.Reason
	}
	return v
}

// find answers query n, payments out before money in of the same reference.
func (b *bank) find(reference string, how *Behaviour, n uint64) (view, bool, error) {
	b.mu.Lock()
	lag := time.Duration(how.QueryLag) * time.Millisecond
	o := b.books.byRef[refKey{out, reference}]
	if o == nil {
		o = b.books.byRef[refKey{in, reference}]
	}
	if o == nil || b.now().Before(o.acceptedAt.Add(lag)) || o.odd().Ghost && o.status == accepted {
		b.mu.Unlock()
		return view{}, false, nil
	}
	if len(b.books.orders) > 1 && b.dice.falls(how.QueryOther, n, forQueryOther) {
		b.tally.lies.Add(1)
		other := b.books.orders[(int(o.number)+int(mix(n)%uint64(len(b.books.orders)-1)))%len(b.books.orders)]
		v := b.view(other)
		b.mu.Unlock()
		v.Reference, v.Direction = o.Reference, o.Direction
		return v, true, b.journal.flush()
	}
	v := b.view(o)
	b.mu.Unlock()
	if b.dice.falls(how.QueryLies, n, forQueryLies) {
		b.tally.lies.Add(1)
		v = v.contradict()
	}
	return v, true, b.journal.flush()
}

// pause waits for d, the context's end or a nudge.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-wake:
	}
}
