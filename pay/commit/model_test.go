package commit_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// The reference: the wallet as plain numbers and strings, fed one operation at a
// time. It shares no rule with the code under test.

type refAccount struct {
	id              pay.AccountID
	av, held, floor int64
	frozen, house   bool
}

type refPayment struct {
	kind                 pay.Kind
	from, to             *refAccount
	amount, fee          int64
	state                string
	attempt              int16
	live, settled        bool
	absent               bool // its last attempt was proven never to have executed
	id                   pay.ID
	accept               commit.Fact
	refusal              fault.Code
	clearing, nostro     int64
	captured             int64       // of a hold; taken of a deposit or a payout
	hold                 *refPayment // of a capture; the deposit of a refund
	feeRevenue, feeCosts int64
	late                 *refPayment // the success after the failure
	debt                 int64       // what the holder owes
	in                   int64       // in clearing inwards, of a payout's returns and a deposit's chargebacks
}

// verdict is what the reference says about an operation.
type verdict struct {
	code           fault.Code
	state          string
	replayed, noop bool
}

func (p *refPayment) born() verdict {
	need := p.amount + p.fee
	switch {
	case p.from != nil && p.from.frozen:
		p.refusal = fault.AccountFrozen
	case p.from != nil && p.from == p.to:
		p.refusal = fault.SameAccount
	case p.kind == pay.Refund && (p.hold.state == "created" || p.hold.state == "processing"):
		p.refusal = fault.IllegalTransition
	case p.kind == pay.Refund && p.hold.state != "succeeded":
		p.refusal = fault.AlreadyFinal
	case p.kind == pay.Refund && p.amount > p.hold.amount-p.hold.captured:
		p.refusal = fault.AmountExceedsRemaining
	case p.kind == pay.Refund && p.from.av-p.amount < p.from.floor:
		p.refusal = fault.InsufficientFunds
	case p.kind == pay.Refund:
		p.hold.captured += p.amount
		p.from.av -= p.amount
		p.from.held += p.amount
		p.state = "reserved"
	case p.kind == pay.Send && !p.from.house && (p.from.av-p.amount < p.from.floor || p.fee > 0 && p.from.av-need < p.from.floor),
		p.kind == pay.Payout && !p.from.house && p.from.av-need < p.from.floor,
		p.kind == pay.Hold && !p.from.house && p.from.av-p.amount < p.from.floor:
		p.refusal = fault.InsufficientFunds
	case p.kind == pay.Send:
		p.from.av -= need
		p.to.av += p.amount
		p.feeRevenue += p.fee
		p.state = "succeeded"
	case p.kind == pay.Payout:
		p.from.av -= need
		p.from.held += need
		p.state = "reserved"
	case p.kind == pay.Hold:
		p.from.av -= p.amount
		p.from.held += p.amount
		p.state = "reserved"
	case p.kind == pay.Capture && p.hold.state != "reserved":
		p.refusal = fault.AlreadyFinal
	case p.kind == pay.Capture && p.amount > p.hold.amount-p.hold.captured:
		p.refusal = fault.AmountExceedsRemaining
	case p.kind == pay.Capture:
		p.from.held -= p.amount
		p.to.av += p.amount
		p.state = "succeeded"
		if p.hold.captured += p.amount; p.hold.captured == p.hold.amount {
			p.hold.state = "succeeded"
		}
	default:
		p.state = "created"
	}
	return verdict{code: p.refusal, state: p.state}
}

// stepHold is what a fact does to a hold; its time is never over here.
func (p *refPayment) stepHold(f pay.FactKind) verdict {
	same := verdict{state: p.state, noop: true}
	switch {
	case f == pay.Checked, f == pay.Cancel && p.state != "reserved":
		return same
	case p.state != "reserved":
		return p.afterwards(f)
	case f == pay.Cancel:
		open := p.amount - p.captured
		p.from.held -= open
		p.from.av += open
		p.state = "cancelled"
		if p.captured > 0 {
			p.state = "succeeded"
		}
		return verdict{state: p.state}
	case f == pay.ProveAbsent || f == pay.GiveUp:
		return same
	case f == pay.Confirm:
		return verdict{code: fault.AlreadyFinal, state: p.state}
	}
	return p.illegal()
}

func (p *refPayment) again(samePayload bool) verdict {
	if !samePayload {
		return verdict{code: fault.IdempotencyKeyReused, replayed: true}
	}
	return verdict{code: p.refusal, state: p.state, replayed: true}
}

// step is what a fact about the newest attempt does.
func (p *refPayment) step(f pay.FactKind) verdict {
	if f == pay.Returned || f == pay.ChargedBack {
		return p.sentBack(f)
	}
	if p.kind == pay.Payout || p.kind == pay.Refund {
		before := p.state
		v := p.stepPayout(f)
		if p.kind == pay.Refund && p.state != before && (p.state == "failed" || p.state == "cancelled") {
			p.hold.captured -= p.amount
		}
		return v
	}
	if p.kind == pay.Hold {
		return p.stepHold(f)
	}
	switch {
	case f == pay.Checked:
		return verdict{state: p.state, noop: final(p.state)}
	case p.kind == pay.Deposit && (p.state == "created" || p.state == "processing"):
		switch f {
		case pay.Confirm:
			p.state = "succeeded"
			p.to.av += p.amount
			p.clearing -= p.amount
			return verdict{state: p.state}
		case pay.Decline:
			p.state = "failed"
			return verdict{state: p.state}
		case pay.Ack:
			was := p.state
			p.state = "processing"
			return verdict{state: p.state, noop: was == p.state}
		}
		return p.illegal()
	case p.kind == pay.Deposit && p.state == "succeeded" && f == pay.Settle:
		if p.settled {
			return verdict{state: p.state, noop: true}
		}
		p.settled = true
		p.nostro -= p.amount - 1
		p.feeCosts--
		p.clearing += p.amount
		return verdict{state: p.state}
	}
	return p.afterwards(f)
}

func (p *refPayment) stepPayout(f pay.FactKind) verdict {
	onTheWay := p.state == "dispatching" || p.state == "processing" || p.state == "unknown"
	switch {
	case f == pay.Checked:
		return verdict{state: p.state, noop: final(p.state)}
	case p.state == "reserved" && f == pay.Intend:
		p.attempt++
		p.live, p.absent = true, false
		p.state = "dispatching"
		p.from.held -= p.amount
		p.clearing += p.amount
	case p.state == "reserved" && f == pay.Cancel:
		p.state = "cancelled"
		p.from.held -= p.amount + p.fee
		p.from.av += p.amount + p.fee
	case p.state == "reserved" && (f == pay.ProveAbsent || f == pay.GiveUp):
		return verdict{state: p.state, noop: true}
	case p.state == "reserved" && f == pay.Ack && p.absent: // taken after it was proven absent
		p.state, p.live, p.absent = "processing", true, false
		p.from.held -= p.amount
		p.clearing += p.amount
	case p.state == "reserved" && f == pay.Confirm && p.attempt > 0: // executed after it was proven absent
		p.state, p.live, p.absent = "succeeded", true, false
		p.from.held -= p.amount + p.fee
		p.clearing += p.amount
		p.feeRevenue += p.fee
	case p.state == "reserved" && f == pay.Confirm:
		return verdict{code: fault.AlreadyFinal, state: p.state}
	case onTheWay && f == pay.Ack:
		noop := p.state == "processing"
		p.state = "processing"
		return verdict{state: p.state, noop: noop}
	case onTheWay && f == pay.Doubt:
		noop := p.state == "unknown"
		p.state = "unknown"
		return verdict{state: p.state, noop: noop}
	case onTheWay && f == pay.Confirm:
		p.state = "succeeded"
		p.from.held -= p.fee
		p.feeRevenue += p.fee
	case onTheWay && (f == pay.Decline || f == pay.GiveUp && p.state != "processing"):
		p.state, p.live, p.absent = "failed", false, f == pay.GiveUp
		p.clearing -= p.amount
		p.from.held -= p.fee
		p.from.av += p.amount + p.fee
	case f == pay.ProveAbsent && (p.state == "dispatching" || p.state == "unknown"):
		p.state, p.live, p.absent = "reserved", false, true
		p.clearing -= p.amount
		p.from.held += p.amount
	case p.state == "succeeded" && f == pay.Settle:
		if p.settled {
			return verdict{state: p.state, noop: true}
		}
		p.settled = true
		p.clearing -= p.amount
		p.nostro += p.amount + 1
		p.feeCosts--
	default:
		return p.afterwards(f)
	}
	return verdict{state: p.state}
}

// pays is how much the account pays of a debt at once.
func (a *refAccount) pays(owed int64) int64 {
	n := min(max(a.av, 0), owed)
	if a.house {
		n = owed
	}
	a.av -= n
	return n
}

// sentBack is a return of one unit of a payout, or a chargeback of a deposit.
func (p *refPayment) sentBack(f pay.FactKind) verdict {
	leaves := p.kind == pay.Payout || p.kind == pay.Refund
	switch {
	case f == pay.Returned && leaves && (p.state == "succeeded" || p.late != nil) && p.captured == p.amount:
		return verdict{code: fault.AmountExceedsRemaining, state: p.state}
	case f == pay.Returned && leaves && p.late != nil: // executed late, and back: what is still owed is taken first
		p.captured++
		p.from.av++
		p.in--
		if p.debt > 0 {
			if p.debt -= p.from.pays(p.debt); p.debt == 0 {
				p.late.state = "succeeded"
			}
		}
	case f == pay.ChargedBack && p.kind == pay.Deposit && p.late != nil:
		p.in += p.amount
		p.debt += p.amount - p.to.pays(p.amount)
		return verdict{state: "succeeded"} // of the late deposit
	case f == pay.Returned && leaves && p.state == "succeeded":
		p.captured++
		p.from.av++
		p.in--
		if p.amount == 1 { // the whole
			p.from.av += p.fee
			p.feeRevenue -= p.fee
		}
	case f == pay.ChargedBack && p.kind == pay.Deposit && p.state == "succeeded":
		p.captured += p.amount
		p.in += p.amount
		p.debt += p.amount - p.to.pays(p.amount)
	case final(p.state):
		return verdict{code: fault.AlreadyFinal, state: p.state}
	default:
		return p.illegal()
	}
	return verdict{state: p.state}
}

// tooLate is a success after the failure: a payment of its own, once.
func (p *refPayment) tooLate(f pay.FactKind) verdict {
	fresh := p.late == nil
	if fresh {
		p.late = &refPayment{state: "succeeded"}
		if p.kind == pay.Deposit {
			p.to.av += p.amount
			p.clearing -= p.amount
		} else {
			p.clearing += p.amount
			p.debt = p.amount - p.from.pays(p.amount)
			if p.kind == pay.Refund {
				p.hold.captured += p.amount
			}
			if p.debt > 0 {
				p.late.state = "processing"
			}
		}
	}
	if f == pay.Confirm {
		return verdict{state: p.state, noop: !fresh}
	}
	v := verdict{state: p.state}
	if !fresh {
		v = verdict{state: p.late.state, noop: p.late.settled}
	}
	if p.late.settled {
		return v
	}
	p.late.settled = true
	p.feeCosts--
	if p.kind == pay.Deposit {
		p.nostro -= p.amount - 1
		p.clearing += p.amount
		return v
	}
	p.clearing -= p.amount
	p.nostro += p.amount + 1
	return v
}

// afterwards is what comes too late, or makes no sense.
func (p *refPayment) afterwards(f pay.FactKind) verdict {
	same := verdict{state: p.state, noop: true}
	contradicts := verdict{code: fault.AlreadyFinal, state: p.state}
	failed := p.state == "failed" || p.state == "cancelled"
	leaves := (p.kind == pay.Payout || p.kind == pay.Refund) && p.attempt > 0
	switch {
	case failed && (leaves || p.kind == pay.Deposit) && (f == pay.Confirm || f == pay.Settle):
		return p.tooLate(f)
	case f == pay.Cancel && p.state == "cancelled":
		return same
	case !final(p.state):
		return p.illegal()
	case f == pay.Ack && p.absent && p.late == nil:
		return contradicts
	case f == pay.Ack || f == pay.Doubt:
		return same
	case f == pay.Confirm:
		if p.state == "succeeded" {
			return same
		}
		return contradicts
	case f == pay.Decline || f == pay.ProveAbsent || f == pay.GiveUp:
		switch p.state {
		case "succeeded":
			return contradicts
		case "failed":
			return same
		}
	}
	return p.illegal()
}

func (p *refPayment) illegal() verdict {
	return verdict{code: fault.IllegalTransition, state: p.state}
}

func final(state string) bool {
	return state == "succeeded" || state == "failed" || state == "cancelled" || state == "expired"
}

// walker does random operations on accounts of its own, so that its reference
// sees them in the one order in which they count; the house is everybody's.
type walker struct {
	t        *testing.T
	name     string
	rnd      *rand.Rand
	node     func() commit.Submitter
	house    *refAccount
	accounts []*refAccount
	payments []*refPayment
	keys     int
	done     map[string]int
	// operations is how many were submitted.
	operations int
}

// openAccounts opens a sequence's own, once.
func (w *walker) openAccounts() {
	for a := len(w.accounts); a < 4; a++ {
		name := fmt.Sprint(w.name, "a", a)
		r, err := w.node().Submit(w.t.Context(), commit.Fact{Account: &ledger.AccountFact{
			Kind: ledger.Open, Key: key("account %s", name), New: ledger.Account{Tenant: 1, Kind: ledger.User, Asset: "CZK", Name: name},
		}})
		if err != nil {
			w.t.Errorf("open %s: %v", name, err)
			return
		}
		w.accounts = append(w.accounts, &refAccount{id: pay.AccountID(r.Account.ID)})
	}
}

// operation is a Fact and what must come back.
type operation struct {
	fact commit.Fact
	want verdict
	then func(commit.Result)
	what string
}

func (w *walker) pick() *refAccount { return w.accounts[w.rnd.IntN(len(w.accounts))] }

func (w *walker) key() string { w.keys++; return fmt.Sprint(w.name, " ", w.keys) }

func (w *walker) next() operation {
	switch n := w.rnd.IntN(100); {
	case n < 40 || len(w.payments) < 3:
		return w.accept()
	case n < 80:
		return w.step()
	case n < 90:
		return w.replay()
	default:
		return w.limit()
	}
}

func (w *walker) accept() operation {
	p := &refPayment{kind: pay.Kind(1 + w.rnd.IntN(6)), amount: 1 + w.rnd.Int64N(400), fee: w.rnd.Int64N(3)}
	if p.kind != pay.Deposit {
		p.from = w.pick()
	}
	if p.kind != pay.Payout && p.kind != pay.Refund {
		p.to = w.pick()
	}
	if p.kind == pay.Send && w.rnd.IntN(4) == 0 {
		p.from, p.fee = w.house, 0
	}
	if p.kind != pay.Send && p.kind != pay.Payout {
		p.fee = 0
	}
	if p.kind == pay.Refund {
		if p.hold = w.original(pay.Deposit, "succeeded"); p.hold == nil {
			return w.accept()
		}
		p.from, p.amount = p.hold.to, 1+w.rnd.Int64N(200)
	}
	if p.kind == pay.Capture && len(w.payments) == 0 {
		return w.accept()
	}
	if p.kind == pay.Capture {
		if p.hold = w.original(pay.Hold, "reserved"); p.hold == nil {
			return w.accept()
		}
		p.from, p.to, p.amount = p.hold.from, p.hold.to, 1+w.rnd.Int64N(200)
	}
	var from, to pay.AccountID
	if p.from != nil {
		from = p.from.id
	}
	if p.to != nil {
		to = p.to.id
	}
	p.accept = accept(p.kind, from, to, p.amount, w.key())
	p.accept.Payment.New.Fee = money.Int(p.fee)
	if p.hold != nil {
		p.accept.Payment.New.Original = p.hold.id
	}
	want := p.born()
	w.payments = append(w.payments, p)
	return operation{p.accept, want, func(r commit.Result) { p.id = r.Payment.ID }, "accept " + p.kind.String()}
}

// original picks a payment of the kind that has an id by now; mostly one in the state
// in which something can be taken of it.
func (w *walker) original(kind pay.Kind, state string) *refPayment {
	for range 30 {
		if len(w.payments) == 0 {
			return nil
		}
		p := w.payments[max(0, len(w.payments)-1-w.rnd.IntN(60))]
		if p.kind == kind && p.id != 0 && (p.state == state || w.rnd.IntN(10) == 0) {
			return p
		}
	}
	return nil
}

// known picks a payment that has an id by now; mostly a late one.
func (w *walker) known() *refPayment {
	for range 20 {
		back := min(w.rnd.IntN(12), len(w.payments)-1)
		if w.rnd.IntN(5) == 0 {
			back = w.rnd.IntN(len(w.payments))
		}
		if p := w.payments[len(w.payments)-1-back]; p.id != 0 {
			return p
		}
	}
	return nil
}

func (w *walker) step() operation {
	p := w.known()
	if p == nil {
		return w.accept()
	}
	k := pay.Intend + pay.FactKind(w.rnd.IntN(int(pay.Checked-pay.Intend)+1))
	if p.state == "reserved" && w.rnd.IntN(2) == 0 {
		k = pay.Intend
	}
	f := &pay.Fact{
		Kind: k, Payment: p.id, Attempt: p.attempt, Amount: money.Int(p.amount), Asset: "CZK", Cost: money.Int(1), Source: "model",
	}
	if w.rnd.IntN(8) == 0 {
		k = pay.Returned + pay.FactKind(w.rnd.IntN(2))
		f.Kind, f.Key, f.ChannelID = k, key("%s", w.key()), fmt.Sprint("event ", w.keys)
		if k == pay.Returned {
			f.Amount = money.Int(1)
		}
	}
	if k == pay.Intend {
		f.Attempt, f.SendBy = p.attempt+1, time.Now().Add(5*time.Second)
	}
	want := p.step(k)
	return operation{commit.Fact{Payment: f}, want, nil, fmt.Sprint(k, " ", p.id)}
}

func (w *walker) replay() operation {
	p := w.payments[w.rnd.IntN(len(w.payments))]
	f, same := p.accept, w.rnd.IntN(3) > 0
	if !same {
		other := *f.Payment
		other.Fingerprint[0] ^= 1
		f.Payment = &other
	}
	return operation{f, p.again(same), nil, fmt.Sprint("replay, same payload ", same)}
}

func (w *walker) limit() operation {
	a := w.pick()
	f := &ledger.AccountFact{ID: ledger.AccountID(a.id), Tenant: 1}
	switch w.rnd.IntN(8) {
	case 0:
		f.Kind, f.Frozen = ledger.SetFrozen, true
		a.frozen = true
	case 1, 2, 3:
		f.Kind = ledger.SetFrozen
		a.frozen = false
	case 4:
		f.Kind, f.Floor = ledger.SetFloor, money.Int(1)
		return operation{commit.Fact{Account: f}, verdict{code: fault.FloorInvalid}, nil, "a floor above zero"}
	default:
		a.floor = -w.rnd.Int64N(2000)
		f.Kind, f.Floor = ledger.SetFloor, money.Int(a.floor)
	}
	return operation{commit.Fact{Account: f}, verdict{}, nil, "limit"}
}

// round submits some operations as one call: they are decided in their order.
func (w *walker) round() {
	ops := make([]operation, 1+w.rnd.IntN(12))
	w.operations += len(ops)
	facts := make([]commit.Fact, len(ops))
	for i := range ops {
		ops[i] = w.next()
		facts[i] = ops[i].fact
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for i, o := range w.node().SubmitAll(ctx, facts) {
		op := ops[i]
		code := fault.Code("")
		if o.Err != nil {
			code = fault.CodeOf(o.Err)
		}
		got := verdict{code, "", o.Replayed, o.NoOp}
		if o.Payment.State != pay.None {
			got.state = o.Payment.State.String()
		}
		if got != op.want {
			w.t.Errorf("%s: %s: got %+v, the reference says %+v (%v)", w.name, op.what, got, op.want, o.Err)
			return
		}
		if op.then != nil {
			op.then(o.Result)
		}
		w.done[fmt.Sprint(op.want.code)]++
	}
}

func seed(t *testing.T) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(os.Getenv("MONETA_SEED"), 10, 64)
	if err != nil {
		n = rand.Uint64()
	}
	t.Logf("MONETA_SEED=%d repeats the operations", n)
	return n
}

// TestRandomOperationsAgainstTheReference: sequences of operations on accounts of their
// own, a hundred at once, the leader replaced between the hundreds; every answer, every
// balance and every row is as the reference says. 300 sequences of 50 operations, or,
// under torture, 10,000 of 100.
func TestRandomOperationsAgainstTheReference(t *testing.T) {
	t.Parallel()
	const atOnce = 100
	sequences, operations := 300, 50
	if torture() {
		sequences, operations = percent(10_000), 100
	}
	from := seed(t)
	k := &keeper{t: t, dsn: pgtest.DSN(t)}
	db := pool(t, k.dsn)
	k.start()
	house := &refAccount{id: open(t, k.node, "cash", ledger.House), house: true}
	ws := make([]*walker, sequences)
	for i := range ws {
		own := *house // each counts its own use of it
		ws[i] = &walker{
			t: t, name: fmt.Sprint("w", i), rnd: rand.New(rand.NewPCG(from, uint64(i))), house: &own, done: map[string]int{},
			node: func() commit.Submitter { return k.node },
		}
	}
	for begun := 0; begun < sequences; begun += atOnce {
		// Each hundred goes on with the second half of the one before: what it does rests on
		// what the new leader has read back.
		var wg sync.WaitGroup
		walk := func(all []*walker, until int) {
			for _, w := range all {
				wg.Go(func() {
					w.openAccounts()
					for w.operations < until && !t.Failed() {
						w.round()
					}
				})
			}
		}
		walk(ws[max(begun-atOnce, 0):begun], operations)
		walk(ws[begun:min(begun+atOnce, sequences)], operations/2)
		wg.Wait()
		if begun+atOnce >= sequences {
			k.restart()
			walk(ws[begun:], operations)
			wg.Wait()
		}
		compareBooks(t, k.dsn, house, ws)
		holds(t, db)
		require.Positive(t, readsAgree(t, db))
		if t.Failed() {
			return
		}
		k.restart()
	}
	require.Positive(t, receiptsSay(t, db), "no receipt rested on what became of a payment afterwards")
	total, ops := map[string]int{}, 0
	for _, w := range ws {
		for code, n := range w.done {
			total[code] += n
		}
		ops += w.operations
	}
	t.Logf("%d sequences, %d operations; answers by code: %v", sequences, ops, total)
	for _, code := range []fault.Code{
		"", fault.InsufficientFunds, fault.AccountFrozen, fault.SameAccount, fault.IllegalTransition, fault.AlreadyFinal, fault.IdempotencyKeyReused, fault.FloorInvalid,
		fault.AmountExceedsRemaining,
	} {
		require.Positive(t, total[string(code)], "the walk never met %q", code)
	}
}

// compareBooks holds every balance in the rows against the reference's.
func compareBooks(t *testing.T, dsn string, house *refAccount, ws []*walker) {
	t.Helper()
	db := pool(t, dsn)
	want := map[int64]int64{}
	system := map[string]int64{}
	limits := limitsOf(t, db)
	for _, w := range ws {
		want[int64(house.id)] += w.house.av
		for _, a := range w.accounts {
			want[int64(a.id)], want[int64(a.id)|1] = a.av, a.held
			require.Equal(t, limit{a.floor, a.frozen}, limits[int64(a.id)])
		}
		for _, p := range w.payments {
			side := ":out"
			if p.kind == pay.Deposit {
				side = ":in"
			}
			system["clr:bank-ab"+side] += p.clearing
			system["clr:bank-ab:in"] += p.in
			system["recv:user"] -= p.debt
			system["nostro:bank-ab"] += p.nostro
			system["fee:rev"] += p.feeRevenue
			system["fee:cost"] += p.feeCosts
		}
	}
	rows, err := db.Query(t.Context(), `select p.account, sum(p.amount)::bigint, case when a.kind = 3 then a.name else '' end
	  from facts.postings p join accounts a on a.id = p.account & ~1::bigint group by 1, 3`)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var book, sum int64
		var name string
		require.NoError(t, rows.Scan(&book, &sum, &name))
		if name != "" {
			require.Equal(t, system[name], sum, name)
			delete(system, name)
			continue
		}
		require.Equal(t, want[book], sum, "book %d", book)
		delete(want, book)
	}
	require.NoError(t, rows.Err())
	for book, balance := range want {
		require.Zero(t, balance, "book %d has no postings", book)
	}
	for name, balance := range system {
		require.Zero(t, balance, "%s has no postings", name)
	}
}

// limit is what an account may do.
type limit struct {
	floor  int64
	frozen bool
}

func limitsOf(t *testing.T, db *pgxpool.Pool) map[int64]limit {
	t.Helper()
	rows, err := db.Query(t.Context(), `select id, floor::bigint, frozen from accounts where floor is not null`)
	require.NoError(t, err)
	out := map[int64]limit{}
	var id int64
	var l limit
	_, err = pgx.ForEachRow(rows, []any{&id, &l.floor, &l.frozen}, func() error { out[id] = l; return nil })
	require.NoError(t, err)
	return out
}

// TestManyDrainOneAccount: callers race for the last of one account's money. No
// order is predicted; what was granted is exactly what there was.
func TestManyDrainOneAccount(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	db := pool(t, dsn)
	n := lead(t, dsn)
	house, alice := open(t, n, "cash", ledger.House), open(t, n, "alice", ledger.User)
	_, err := n.Submit(t.Context(), accept(pay.Send, house, alice, 1000, "seed"))
	require.NoError(t, err)
	var mu sync.Mutex
	granted := int64(0)
	var wg sync.WaitGroup
	for c := range 16 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(c), 5))
			for i := range 30 {
				kind, to := pay.Send, house
				if r.IntN(2) == 0 {
					kind, to = pay.Payout, 0
				}
				amount := 1 + r.Int64N(20)
				_, err := n.Submit(context.Background(), accept(kind, alice, to, amount, fmt.Sprint(c, " ", i)))
				switch fault.CodeOf(err) {
				case "":
					mu.Lock()
					granted += amount
					mu.Unlock()
				case fault.InsufficientFunds:
				default:
					t.Errorf("refused: %v", err)
				}
			}
		})
	}
	wg.Wait()
	var left int64
	require.NoError(t, db.QueryRow(t.Context(), `select sum(amount)::bigint from facts.postings where account = $1`, int64(alice)).Scan(&left))
	require.Equal(t, 1000-granted, left)
	require.Less(t, left, int64(20), "the money was there to be drained")
	holds(t, db)
}
