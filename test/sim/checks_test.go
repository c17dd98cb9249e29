package sim

import (
	"slices"
	"time"

	"github.com/moneta-pay/moneta/pay"
)

// The checks know the specification's invariants and not the table: where a payout
// may go from each state, and where its money lies in each.
var payoutMoves = map[pay.State][]pay.State{
	pay.None:           {pay.Reserved, pay.RequiresAction},
	pay.RequiresAction: {pay.Reserved, pay.Cancelled, pay.Expired},
	pay.Reserved:       {pay.Dispatching, pay.Succeeded, pay.Cancelled},
	pay.Dispatching:    {pay.Processing, pay.Unknown, pay.Succeeded, pay.Failed, pay.Reserved},
	pay.Processing:     {pay.Unknown, pay.Succeeded, pay.Failed, pay.Reserved},
	pay.Unknown:        {pay.Dispatching, pay.Processing, pay.Succeeded, pay.Failed, pay.Reserved},
}

// moved checks one change as it is applied.
func (w *world) moved(before, after *pay.Payment) {
	from := pay.None
	if before != nil {
		from = before.State
	}
	if from != after.State {
		switch {
		case from.Final():
			w.fail("P9: payment %d was %s and becomes %s", after.ID, from, after.State)
		case after.Kind == pay.Payout && !slices.Contains(payoutMoves[from], after.State):
			w.fail("P7: payment %d goes from %s to %s", after.ID, from, after.State)
		}
	}
	if after.Open() && after.NextAt.IsZero() {
		w.fail("P8: payment %d is %s and has no next step", after.ID, after.State)
	}
	w.checkAttempts(after)
	w.checkMoney(after)
}

// checkAttempts: at most one attempt of a payment lives (P2), at most one was
// confirmed (P6).
func (w *world) checkAttempts(p *pay.Payment) {
	if p.Attempt.N == 0 {
		return
	}
	if w.attempts[p.ID] == nil {
		w.attempts[p.ID], w.confirmed[p.ID] = map[int16]pay.AttemptState{}, map[int16]bool{}
	}
	w.attempts[p.ID][p.Attempt.N] = p.Attempt.State
	live := 0
	for _, s := range w.attempts[p.ID] {
		if s.Live() {
			live++
		}
	}
	if live > 1 {
		w.fail("P2: payment %d has %d live attempts", p.ID, live)
	}
	if p.Attempt.State == pay.Confirmed {
		w.confirmed[p.ID][p.Attempt.N] = true
	}
	if n := len(w.confirmed[p.ID]); n > 1 {
		w.fail("P6: %d attempts of payment %d were confirmed", n, p.ID)
	}
}

// checkMoney: what a payment has moved lies where its state says (P1, P3).
func (w *world) checkMoney(p *pay.Payment) {
	amount, _ := p.Amount.Int64()
	fee, _ := p.Fee.Int64()
	want := map[pay.Role]int64{}
	switch {
	case p.Kind == pay.Send:
		want = map[pay.Role]int64{pay.FromAvailable: -amount - fee, pay.ToAvailable: amount, pay.FeeRevenue: fee}
	case p.State == pay.Reserved:
		want = map[pay.Role]int64{pay.FromAvailable: -amount - fee, pay.FromHeld: amount + fee}
	case p.State == pay.Dispatching, p.State == pay.Processing, p.State == pay.Unknown:
		want = map[pay.Role]int64{pay.FromAvailable: -amount - fee, pay.FromHeld: fee, pay.ClearingOut: amount}
	case p.State == pay.Succeeded:
		want = map[pay.Role]int64{pay.FromAvailable: -amount - fee, pay.FeeRevenue: fee, pay.ClearingOut: amount}
	}
	sum := int64(0)
	for role, moved := range w.store.residue[p.ID] {
		sum += moved
		if moved != want[role] {
			w.fail("payment %d is %s and has moved %d on %s; %d is right", p.ID, p.State, moved, role, want[role])
		}
	}
	if sum != 0 {
		w.fail("P1: the postings of payment %d sum to %d", p.ID, sum)
	}
	for role, right := range want {
		if right != w.store.residue[p.ID][role] {
			w.fail("payment %d is %s and has moved %d on %s; %d is right", p.ID, p.State, w.store.residue[p.ID][role], role, right)
		}
	}
}

// checkWatched: every open payment is on the leader's wheel, and was offered to its
// station within the guard if its time has come (P8). Asked before time passes, when
// nobody can run.
func (w *world) checkWatched() {
	p := w.leader
	if p == nil {
		return
	}
	open := w.store.open()
	if n := p.wheel.Snapshot().Open; n != len(open) {
		w.fail("P8: %d payments are open and %d are on the wheel", len(open), n)
	}
	// Another process's clock may have written next_at.
	late := time.Now().Add(-2*skewMost - wheelGuard - time.Second)
	for i := range open {
		if q := &open[i]; q.NextAt.Before(late) && p.begun.Before(late) && p.handed[q.ID].Before(late) {
			w.fail("P8: payment %d is %s since %s, its next step was due at %s, and nobody was told", q.ID, q.State, q.EnteredAt, q.NextAt)
		}
	}
}

// checkEnd compares our books with the banks', when everything is over.
func (w *world) checkEnd() {
	if w.found != "" {
		return
	}
	sum := int64(0)
	for _, b := range w.store.books {
		sum += b
	}
	if sum != 0 {
		w.fail("P1: all books sum to %d", sum)
	}
	for n := range users {
		if held := w.store.books[heldOf(user(n))]; held != 0 {
			w.fail("P3: everything is over and %d is held of user %d", held, n)
		}
	}
	for id := pay.ID(1); id <= w.store.last; id++ {
		p := w.store.payments[id]
		want := 0
		if p.Kind == pay.Payout && p.State == pay.Succeeded {
			want = 1
		}
		if got := w.effects[id]; got != want {
			w.fail("payment %d is %s, and the banks moved money %d times", id, p.State, got)
		}
	}
}
