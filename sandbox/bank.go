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

// tally counts what a bank did to us since the process started.
type tally struct {
	received, deduplicated           atomic.Int64
	requestsLost, repliesLost        atomic.Int64
	errorsBefore, errorsAfter        atomic.Int64
	queries, notFound, queryErrors   atomic.Int64
	callbacksSent, callbacksRepeated atomic.Int64
	callbacksForged, callbacksFailed atomic.Int64
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

	requests atomic.Uint64 // numbers the draws for requests
	asked    atomic.Uint64 // numbers the draws for queries

	mu        sync.Mutex
	behaviour Behaviour
	books     books
	outbox    outbox
	waiting   agenda // accepted orders to settle later
	wake      chan struct{}
}

// openBank reads the bank's journal back, or starts an empty one.
func openBank(code, path string, cfg Config) (*bank, error) {
	b := &bank{
		code: code, dice: newDice(cfg.Seed, code), clock: cfg.Clock, log: cfg.Logger.With(slog.String("bank", code)),
		behaviour: *cfg.Behaviour, books: newBooks(code, strings.ToUpper(code)),
		outbox: newOutbox(cfg.CallbackQueue), wake: make(chan struct{}, 1),
	}
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
		b.tell(o, o.settledAt)
	}
}

func (b *bank) settleDue(o *order) time.Time {
	return o.acceptedAt.Add(time.Duration(o.ExecuteDelay) * time.Millisecond)
}

// now is the bank's time, as precise as its messages.
func (b *bank) now() time.Time { return b.clock.Now().UTC().Truncate(time.Microsecond) }

func (b *bank) behaviourNow() Behaviour {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.behaviour
}

// receive takes a movement: finds it again, or accepts and, unless its plan
// says later, settles it. The view is durable when receive returns.
func (b *bank) receive(move movement, how Behaviour) (view, error) {
	b.mu.Lock()
	known := b.books.byRef[refKey{move.Direction, move.Reference}]
	if known != nil && (how.Dedup || move.Direction == in) {
		seen, same := b.view(known), known.movement == move
		b.mu.Unlock()
		b.tally.deduplicated.Add(1)
		if !same {
			return view{}, errConflict
		}
		return seen, b.journal.flush()
	}
	o, err := b.accept(move, how)
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

// accept enters the order, with the lock held.
func (b *bank) accept(move movement, how Behaviour) (*order, error) {
	at := b.now()
	fate := b.fate(move, how, uint64(len(b.books.orders))+1)
	o := b.books.enter(move, fate, at)
	if fate.ExecuteDelay > 0 || fate.Refuse && how.declinesLate() {
		b.waiting.push(task{due: b.settleDue(o), order: o})
	} else if err := b.books.settle(o, at); err != nil {
		return nil, err
	}
	b.journal.append(record{Kind: "o", Number: o.number, At: at, Move: &o.movement, Plan: &o.plan, Status: o.status})
	return o, nil
}

// fate draws everything that will happen to order n.
func (b *bank) fate(move movement, how Behaviour, n uint64) plan {
	d := b.dice
	p := plan{
		CallbackDelay: d.delay(how.CallbackDelay, n, forCallbackDelay).Milliseconds(),
		Duplicate:     d.falls(how.CallbackDuplicate, n, forCallbackDuplicate),
		Lose:          d.falls(how.CallbackLose, n, forCallbackLose),
		Forge:         d.falls(how.CallbackForge, n, forCallbackForge),
		Omit:          d.falls(how.StatementOmit, n, forStatementOmit),
		Repeat:        d.falls(how.StatementDuplicate, n, forStatementDuplicate),
		Wrong:         d.falls(how.StatementWrongAmount, n, forStatementWrong),
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
		p.Refuse, p.Reason = true, how.Decline.Reason
		if !how.declinesLate() { // the reply is the first and last word
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
func (b *bank) settleDueOrders() (time.Duration, error) {
	now := b.now()
	var done []*order
	b.mu.Lock()
	for len(b.waiting) > 0 && !b.waiting[0].due.After(now) {
		o := b.waiting.pop().order
		if err := b.books.settle(o, now); err != nil {
			b.mu.Unlock()
			return 0, err
		}
		b.journal.append(record{Kind: "x", Number: o.number, At: now})
		done = append(done, o)
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

// view is an order as the outside may see it.
type view struct {
	Status     string       `json:"status"`
	Direction  string       `json:"direction"`
	Reference  string       `json:"reference"`
	Amount     money.Amount `json:"amount"`
	Asset      money.Asset  `json:"asset"`
	BankID     string       `json:"bank_id"`
	Reason     string       `json:"reason,omitempty"`
	Remittance string       `json:"remittance,omitempty"`
	ExecutedAt time.Time    `json:"executed_at,omitzero"`
}

func (b *bank) view(o *order) view {
	v := view{
		Status: o.status, Direction: o.Direction, Reference: o.Reference, Amount: o.Amount,
		Asset: o.Asset, BankID: b.books.bankID(o), Remittance: o.Remittance,
	}
	switch o.status {
	case executed:
		v.ExecutedAt = o.settledAt
	case declined:
		v.Reason = o.Reason
	}
	return v
}

// find answers a query, payments out before money in of the same reference.
func (b *bank) find(reference string) (view, bool, error) {
	b.mu.Lock()
	lag := time.Duration(b.behaviour.QueryLag) * time.Millisecond
	o := b.books.byRef[refKey{out, reference}]
	if o == nil {
		o = b.books.byRef[refKey{in, reference}]
	}
	if o == nil || b.now().Before(o.acceptedAt.Add(lag)) {
		b.mu.Unlock()
		return view{}, false, nil
	}
	v := b.view(o)
	b.mu.Unlock()
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
