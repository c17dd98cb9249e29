package sim

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// The accounts of every run; their ids are those that an empty ledger gives first.
const (
	house = pay.AccountID(2)
	users = 3
)

func user(n int) pay.AccountID { return house + 2*pay.AccountID(1+n) }

// store decides Facts by the real table, pay.Next, and keeps everything else as
// plainly as it can: payments in a map, books as numbers. What it decides is
// compared with the real decider on Postgres, see TestStoreAgreesWithPostgres.
type store struct {
	w        *world
	payments map[pay.ID]*pay.Payment
	keys     map[pay.Key]answered
	last     pay.ID
	books    map[string]int64
	// residue is what each payment has moved, by role.
	residue map[pay.ID]map[pay.Role]int64
	log     []logged
}

type answered struct {
	id      pay.ID
	refusal *fault.Error
}

// logged is a Fact that was decided, and how.
type logged struct {
	fact pay.Fact
	verdict
}

// verdict is what the real decider must say as well.
type verdict struct {
	Code           fault.Code
	ID             pay.ID
	State          pay.State
	Attempt        int16
	AttemptState   pay.AttemptState
	Replayed, NoOp bool
}

func verdictOf(o commit.Outcome) verdict {
	v := verdict{
		ID: o.Payment.ID, State: o.Payment.State, Attempt: o.Payment.Attempt.N, AttemptState: o.Payment.Attempt.State,
		Replayed: o.Replayed, NoOp: o.NoOp,
	}
	if o.Err != nil {
		v.Code = fault.CodeOf(o.Err)
	}
	return v
}

func newStore(w *world) *store {
	return &store{
		w: w, payments: map[pay.ID]*pay.Payment{}, keys: map[pay.Key]answered{}, books: map[string]int64{},
		residue: map[pay.ID]map[pay.Role]int64{},
	}
}

// apply decides Facts in their order and tells p's stations what moved. Only the
// leader's Facts are decided: the rest is fenced.
func (s *store) apply(p *process, facts []commit.Fact) []commit.Outcome {
	out := make([]commit.Outcome, len(facts))
	if p == nil || p != s.w.leader {
		return allFailed(out, fault.NotLeader)
	}
	var changed []pay.Payment
	for i := range facts {
		f := *facts[i].Payment
		before := f.Payment
		out[i] = s.decide(p, &f)
		v := verdictOf(out[i])
		s.log = append(s.log, logged{*facts[i].Payment, v})
		s.w.gate.note(fmt.Sprintf("%s %d attempt %d: %s %s %v", f.Kind, before, f.Attempt, v.State, v.Code, v.NoOp))
		if out[i].Err == nil && !out[i].NoOp && !out[i].Replayed {
			changed = append(changed, out[i].Payment)
		}
	}
	if s.w.plan.defect == losesTimers && s.w.gate.roll(5) {
		return out
	}
	if len(changed) > 0 {
		p.wheel.Note(changed)
		p.asker.Note(changed)
	}
	return out
}

func allFailed(out []commit.Outcome, code fault.Code) []commit.Outcome {
	for i := range out {
		out[i] = commit.Outcome{Err: fault.New(code, "simulated")}
	}
	return out
}

func (s *store) decide(p *process, f *pay.Fact) commit.Outcome {
	if f.Kind == pay.Accept {
		return s.accept(p, f)
	}
	known := s.payments[f.Payment]
	if known == nil {
		return commit.Outcome{Err: fault.New(fault.NotFound, "no such payment")}
	}
	f.At = p.Now().Round(0)
	c, err := pay.Next(*known, *f)
	stands := commit.Result{Payment: *known}
	switch {
	case err != nil:
		return commit.Outcome{Result: stands, Err: s.refused(known, f, err)}
	case c.NoOp():
		stands.NoOp = true
		return commit.Outcome{Result: stands}
	case c.Makes != nil:
		s.w.fail("payment %d is %s, and attempt %d of it was executed", known.ID, known.State, f.Attempt)
		return commit.Outcome{Result: stands, Err: fault.New(fault.AlreadyFinal, "simulated")}
	}
	if err := s.carryOut(&c); err != nil {
		return commit.Outcome{Result: stands, Err: err}
	}
	if s.w.plan.defect == appliesTwice && len(c.Postings) > 0 && s.w.gate.roll(5) {
		_ = s.carryOut(&c) // it may be refused by a floor
	}
	return commit.Outcome{Result: commit.Result{Payment: s.keep(&c)}}
}

func (s *store) accept(p *process, f *pay.Fact) commit.Outcome {
	if e, ok := s.keys[f.New.Key]; ok {
		if e.refusal != nil {
			return commit.Outcome{Result: commit.Result{Replayed: true}, Err: e.refusal}
		}
		return commit.Outcome{Result: commit.Result{Payment: *s.payments[e.id], Replayed: true}}
	}
	born := *f.New
	born.ID, born.CreatedAt = s.last+1, p.Now().Round(0)
	f.New, f.At = &born, born.CreatedAt
	c, err := pay.Next(pay.Payment{Kind: born.Kind}, *f)
	if err == nil && c.To == pay.Created {
		c, err = pay.Next(c.After, pay.Fact{Kind: max(f.Verdict, pay.Clear), Payment: born.ID, At: f.At})
	}
	if err == nil {
		err = s.carryOut(&c)
	}
	if err != nil {
		e := fault.From(err)
		s.keys[f.New.Key] = answered{refusal: e}
		return commit.Outcome{Err: e}
	}
	s.last = born.ID
	s.keys[f.New.Key] = answered{id: born.ID}
	return commit.Outcome{Result: commit.Result{Payment: s.keep(&c)}}
}

// refused turns the table's errors into the decider's codes; a contradiction of what
// is final stands in its log.
func (s *store) refused(p *pay.Payment, f *pay.Fact, err error) error {
	code := fault.IllegalTransition
	switch {
	case errors.Is(err, pay.ErrExceeds):
		code = fault.AmountExceedsRemaining
	case errors.Is(err, pay.ErrContradiction):
		code = fault.AlreadyFinal
		if c := pay.Note(*p, *f, strings.ToValidUTF8(err.Error(), "?")); !c.NoOp() {
			s.keep(&c)
		}
	case errors.Is(err, pay.ErrOver):
		code = fault.AlreadyFinal
	case errors.Is(err, pay.ErrMismatch):
		code = fault.AmountInvalid
	}
	return fault.New(code, "the payment is "+p.State.String()).WithCause(err)
}

func (s *store) keep(c *pay.Change) pay.Payment {
	after := c.After
	before := s.payments[after.ID]
	s.payments[after.ID] = &after
	s.w.moved(before, &after)
	return after
}

// carryOut posts all of a change, or nothing.
func (s *store) carryOut(c *pay.Change) error {
	for i, x := range c.Postings {
		if err := s.post(c, x, 1); err != nil {
			for _, back := range slices.Backward(c.Postings[:i]) {
				_ = s.post(c, back, -1) // cannot fail: it was so before
			}
			return err
		}
	}
	return nil
}

func (s *store) post(c *pay.Change, x pay.Posting, sign int64) error {
	amount, _ := x.Amount.Int64()
	amount *= sign
	p := &c.After
	debit, floored := bookOf(p, x.Debit)
	credit, _ := bookOf(p, x.Credit)
	if sign > 0 && floored && s.books[debit]-amount < 0 {
		return fault.New(fault.InsufficientFunds, "simulated")
	}
	s.books[debit] -= amount
	s.books[credit] += amount
	if s.residue[p.ID] == nil {
		s.residue[p.ID] = map[pay.Role]int64{}
	}
	s.residue[p.ID][x.Debit] -= amount
	s.residue[p.ID][x.Credit] += amount
	return nil
}

// bookOf names the book behind a role, and tells whether it may not fall below zero.
func bookOf(p *pay.Payment, r pay.Role) (name string, floored bool) {
	switch r {
	case pay.FromAvailable:
		return availableOf(p.From), p.From != house
	case pay.FromHeld:
		return heldOf(p.From), p.From != house
	case pay.ToAvailable:
		return availableOf(p.To), p.To != house
	case pay.ClearingOut:
		return "clr:" + p.Channel + ":out", false
	case pay.ClearingIn, pay.Nostro, pay.FeeRevenue, pay.FeeCost, pay.Suspense, pay.Receivable, pay.Loss, pay.CompensationExpense:
	}
	return r.String(), false
}

func availableOf(id pay.AccountID) string { return fmt.Sprintf("%d av", id) }
func heldOf(id pay.AccountID) string      { return fmt.Sprintf("%d held", id) }

// open lists what still has a next step, by id.
func (s *store) open() (open []pay.Payment) {
	for id := pay.ID(1); id <= s.last; id++ {
		if p := s.payments[id]; p.Open() {
			open = append(open, *p)
		}
	}
	return open
}

// acceptFact is a new payment as intake submits it.
func acceptFact(p pay.Payment, name string, verdict pay.FactKind) commit.Fact {
	p.Tenant, p.Asset = 1, "CZK"
	p.Key = pay.EventKey(1, "", p.Kind, name)
	return commit.Fact{Payment: &pay.Fact{Kind: pay.Accept, New: &p, Verdict: verdict, Source: "api", Fingerprint: pay.Fingerprint(p.Key)}}
}

func fund(to pay.AccountID) commit.Fact {
	return acceptFact(pay.Payment{Kind: pay.Send, From: house, To: to, Amount: money.Int(3_000)}, fmt.Sprint("fund ", to), 0)
}

// ledgerAccount is account number n of a run, as it is opened in a real ledger.
func ledgerAccount(n int) ledger.Account {
	a := ledger.Account{Tenant: 1, Kind: ledger.User, Asset: "CZK", Name: fmt.Sprint("user ", n)}
	if n == 0 {
		a.Kind, a.Name, a.Unlimited = ledger.House, "house", true
	}
	return a
}
