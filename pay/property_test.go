package pay_test

import (
	"errors"
	"math"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
)

// legal are the moves of the table.
var legal = func() map[pay.Move]bool {
	out := map[pay.Move]bool{}
	for _, m := range pay.Moves() {
		out[m] = true
	}
	return out
}()

// life follows one payment through facts and keeps its own books of it, in
// big integers, to hold the invariants P1 to P9 of the life cycle against.
type life struct {
	t        *rapid.T
	p        pay.Payment
	now      time.Time
	books    map[pay.Role]*big.Int
	attempts map[int16]pay.AttemptState
	// cost is what the channel kept, once settled.
	cost money.Amount
	// captured counts what captures of a hold moved.
	captured big.Int
}

func whole(a money.Amount) *big.Int {
	n, ok := new(big.Int).SetString(a.String(), 10)
	if !ok {
		panic("an amount that is no number")
	}
	return n
}

func (l *life) book(r pay.Role) *big.Int {
	if l.books[r] == nil {
		l.books[r] = new(big.Int)
	}
	return l.books[r]
}

// hand gives a fact to the table and checks what comes back.
func (l *life) hand(f pay.Fact) {
	before := l.p
	c, err := pay.Next(l.p, f)
	if err != nil {
		known := errors.Is(err, pay.ErrExceeds) || errors.Is(err, pay.ErrOver) || errors.Is(err, pay.ErrIllegal) || errors.Is(err, pay.ErrTooEarly) || errors.Is(err, pay.ErrContradiction) || errors.Is(err, pay.ErrMismatch)
		require.True(l.t, known, "an error of the known kinds: %v", err)
		require.Empty(l.t, c.Postings)
		require.Zero(l.t, c.T)
		if errors.Is(err, pay.ErrContradiction) { // as the decider does
			if c := pay.Note(l.p, f, err.Error()); !c.NoOp() {
				require.True(l.t, legal[pay.Move{Kind: before.Kind, T: c.T, From: c.From, To: c.To}])
				require.Empty(l.t, c.Postings)
				l.p = c.After
			}
		}
		return
	}
	require.Equal(l.t, before.State, c.From)
	require.Equal(l.t, c.To, c.After.State)
	if c.T != 0 {
		m := pay.Move{Kind: before.Kind, T: c.T, From: c.From, To: c.To}
		require.True(l.t, legal[m], "P7: %+v is no move of the table", m)
	}
	if c.NoOp() {
		require.Equal(l.t, before, c.After, "a replay changes nothing")
		require.Empty(l.t, c.Postings)
		return
	}
	if before.State.Final() { // P9
		require.Equal(l.t, before.State, c.To)
		require.Equal(l.t, before.EnteredAt, c.After.EnteredAt)
		require.True(l.t, f.Kind == pay.Settle || f.Kind == pay.Take || c.Makes != nil)
	}
	if c.T != 0 {
		require.Equal(l.t, before.Seq+1, c.After.Seq)
	}
	l.post(c.Postings)
	if f.Kind == pay.Take && l.p.Kind == pay.Hold {
		l.capture(f.Amount)
	}
	if c.AttemptChanged {
		l.attempts[c.After.Attempt.N] = c.After.Attempt.State
	}
	if f.Kind == pay.Settle {
		l.cost = f.Cost
	}
	l.p = c.After
	if c.Makes != nil {
		l.make(&c, f)
	}
	l.twice(f)
}

// make accepts what a change makes: a payment of its own with books of its own,
// which sum to zero like any other's.
func (l *life) make(c *pay.Change, f pay.Fact) {
	n := *c.Makes
	n.ID = 11
	require.Equal(l.t, l.p.ID, n.Original)
	owed := whole(n.Amount)
	covered := money.Int(rapid.Int64Range(0, 1).Draw(l.t, "covered"))
	born, err := pay.Next(pay.Payment{Kind: n.Kind}, pay.Fact{Kind: pay.Accept, Payment: 11, At: l.now, New: &n, Covered: covered})
	require.NoError(l.t, err, "what the table makes, it accepts")
	books := life{t: l.t, books: map[pay.Role]*big.Int{}}
	books.post(born.Postings)
	sum := new(big.Int)
	for _, b := range books.books {
		sum.Add(sum, b)
	}
	require.Zero(l.t, sum.Sign())
	switch n.Kind {
	case pay.LatePayout:
		require.True(l.t, l.p.State == pay.Failed || l.p.State == pay.Cancelled)
		require.Zero(l.t, books.book(pay.ClearingOut).Cmp(owed), "the money has left")
		l.p.Late = n.ID
	case pay.LateDeposit:
		require.Zero(l.t, books.book(pay.ToAvailable).Cmp(owed), "the money is the holder's")
		l.p.Late = n.ID
	case pay.Return:
		require.True(l.t, l.p.State == pay.Succeeded || l.p.Late != 0)
		require.True(l.t, l.p.Late == 0 || n.Fee.IsZero(), "it went back with the failure")
		require.Equal(l.t, f.Amount, n.Amount)
	case pay.Chargeback:
		require.Zero(l.t, new(big.Int).Neg(books.book(pay.ClearingIn)).Cmp(new(big.Int).Neg(owed)))
	}
}

// post: P1, both sides at once, the sum stays zero.
func (l *life) post(postings []pay.Posting) {
	for _, x := range postings {
		require.Equal(l.t, 1, x.Amount.Sign())
		require.NotEqual(l.t, x.Debit, x.Credit)
		l.book(x.Debit).Sub(l.book(x.Debit), whole(x.Amount))
		l.book(x.Credit).Add(l.book(x.Credit), whole(x.Amount))
	}
}

// capture is the other half of a Take: the linked payment that moves the money.
func (l *life) capture(amount money.Amount) {
	n := pay.Payment{ID: 10, Kind: pay.Capture, Asset: l.p.Asset, Amount: amount, Original: l.p.ID, To: 4}
	c, err := pay.Next(pay.Payment{Kind: pay.Capture}, pay.Fact{Kind: pay.Accept, Payment: 10, At: l.now, New: &n})
	require.NoError(l.t, err)
	require.Equal(l.t, pay.Succeeded, c.To)
	l.post(c.Postings)
	l.captured.Add(&l.captured, whole(amount))
}

// twice: applying a fact again is a replay (P7). Accept is told apart by its
// key, and being asked once more is news for the timer only.
func (l *life) twice(f pay.Fact) {
	again, err := pay.Next(l.p, f)
	switch f.Kind {
	case pay.Accept:
		require.ErrorIs(l.t, err, pay.ErrIllegal)
	case pay.Returned, pay.ChargedBack: // the key tells one from the next
		require.True(l.t, err == nil && again.Makes != nil || errors.Is(err, pay.ErrExceeds), "%v", err)
	case pay.Take: // a second capture is told apart by its key, like a second payment
		require.True(l.t, err == nil && (again.T == 25 || again.T == 19) || errors.Is(err, pay.ErrExceeds) || errors.Is(err, pay.ErrOver), "%v", err)
	case pay.Checked:
		require.NoError(l.t, err)
		require.Zero(l.t, again.T)
		require.Empty(l.t, again.Postings)
	default:
		if f.Kind == pay.ProveAbsent && f.Attempt == 0 {
			require.ErrorIs(l.t, err, pay.ErrIllegal, "an absence without an attempt's number is not recognised; it is refused")
			return
		}
		require.NoError(l.t, err, f.Kind.String())
		require.True(l.t, again.NoOp(), "%s twice on %s", f.Kind, l.p.State)
	}
}

// invariants holds what must be true after every fact.
func (l *life) invariants() {
	t, p := l.t, l.p
	sum := new(big.Int)
	for _, b := range l.books {
		sum.Add(sum, b)
	}
	require.Zero(t, sum.Sign(), "P1: all postings sum to zero")

	live, confirmed := 0, 0
	for n, s := range l.attempts {
		if s.Live() {
			live++
			require.Equal(t, p.Attempt.N, n, "only the newest attempt lives")
		}
		if s == pay.Confirmed {
			confirmed++
		}
	}
	require.LessOrEqual(t, live, 1, "P2")
	require.LessOrEqual(t, confirmed, 1, "P6")

	held := l.book(pay.FromHeld)
	require.GreaterOrEqual(t, held.Sign(), 0, "held never falls below zero")
	if p.State == pay.None {
		return
	}
	l.holdBooks()
	if p.State.Final() {
		require.Zero(t, held.Sign(), "P3: nothing is held for what is final")
		require.True(t, p.NextAt.IsZero() && p.Deadline.IsZero())
		l.finalBooks()
		return
	}
	require.True(t, p.NextAt.After(l.now) || p.Kind == pay.Hold && p.NextAt.Equal(p.ExpiresAt), "P8: %s has no future step", p.State)
	require.True(t, p.Deadline.After(p.EnteredAt), "P8: %s has no bound", p.State)
	if p.Kind == pay.Payout {
		out, amount := l.book(pay.ClearingOut), whole(p.Amount)
		inTransit := p.State == pay.Dispatching || p.State == pay.Processing || p.State == pay.Unknown
		require.Equal(t, inTransit, out.Cmp(amount) == 0, "in transit exactly while an attempt lives")
		require.Equal(t, inTransit, p.Attempt.State.Live())
		if !inTransit {
			require.Zero(t, out.Sign())
		}
	}
}

// holdBooks: M6, a hold is what was captured, what went back, and what is open.
func (l *life) holdBooks() {
	t, p := l.t, l.p
	if p.Kind != pay.Hold {
		return
	}
	released := new(big.Int).Add(l.book(pay.FromAvailable), whole(p.Amount))
	sum := new(big.Int).Add(new(big.Int).Add(&l.captured, released), whole(p.Remaining()))
	require.Zero(t, sum.Cmp(whole(p.Amount)), "M6: %s captured, %s released, %s open of %s", &l.captured, released, p.Remaining(), p.Amount)
	require.Zero(t, l.captured.Cmp(whole(p.Taken)))
	require.Zero(t, l.captured.Cmp(l.book(pay.ToAvailable)), "what was captured has arrived")
	require.Zero(t, l.book(pay.FromHeld).Cmp(whole(p.Remaining())), "what is open is held")
	require.Equal(t, p.State == pay.Succeeded, p.State.Final() && l.captured.Sign() > 0, "it has succeeded if it gave anything")
}

// finalBooks compares what a final payment did with what its state promises.
func (l *life) finalBooks() {
	t, p := l.t, l.p
	amount, fee := whole(p.Amount), whole(p.Fee)
	paid := new(big.Int).Neg(new(big.Int).Add(amount, fee))
	zero := new(big.Int)
	want := map[pay.Role]*big.Int{}
	switch {
	case p.Kind == pay.Hold:
		return // holdBooks has said all
	case p.State != pay.Succeeded:
	case p.Kind == pay.Send:
		want = map[pay.Role]*big.Int{pay.FromAvailable: paid, pay.ToAvailable: amount, pay.FeeRevenue: fee}
	case p.Kind == pay.Payout && p.Settlement == pay.SettlementMatched:
		kept := whole(l.cost)
		want = map[pay.Role]*big.Int{
			pay.FromAvailable: paid, pay.FeeRevenue: fee,
			pay.FeeCost: new(big.Int).Neg(kept), pay.Nostro: new(big.Int).Add(amount, kept),
		}
	case p.Kind == pay.Payout:
		want = map[pay.Role]*big.Int{pay.FromAvailable: paid, pay.FeeRevenue: fee, pay.ClearingOut: amount}
	case p.Settlement == pay.SettlementMatched:
		kept := whole(l.cost)
		want = map[pay.Role]*big.Int{
			pay.ToAvailable: amount, pay.FeeCost: new(big.Int).Neg(kept), pay.Nostro: new(big.Int).Sub(kept, amount),
		}
	default:
		want = map[pay.Role]*big.Int{pay.ToAvailable: amount, pay.ClearingIn: new(big.Int).Neg(amount)}
	}
	for r := pay.FromAvailable; r <= pay.FeeCost; r++ {
		expected := want[r]
		if expected == nil {
			expected = zero
		}
		require.Zero(t, expected.Cmp(l.book(r)), "%s %s %s: %s is %s, not %s (P3, P4)",
			p.Kind, p.State, p.Settlement, r, l.book(r), expected)
	}
}

func (l *life) draw() pay.Fact {
	t, p := l.t, l.p
	f := pay.Fact{
		Kind: rapid.SampledFrom([]pay.FactKind{
			pay.Clear, pay.Clear, pay.Intend, pay.Intend, pay.Intend, pay.Ack, pay.Doubt, pay.Confirm, pay.Decline,
			pay.ProveAbsent, pay.ProveAbsent, pay.GiveUp, pay.Cancel, pay.Settle, pay.Settle, pay.Checked, pay.Accept,
			pay.Take, pay.Take, pay.Take, pay.Expire, pay.Returned, pay.ChargedBack,
			pay.Challenge, pay.ActionDone, pay.Review, pay.ReviewOk, pay.ReviewNo, pay.Attest, pay.Attest,
		}).Draw(t, "fact"),
		Payment: p.ID, At: l.now, Amount: p.Amount, Asset: p.Asset, ChannelID: "theirs",
		Reason: rapid.SampledFrom([]string{"", "slow"}).Draw(t, "reason"),
	}
	f.Attempt = max(0, p.Attempt.N+rapid.SampledFrom([]int16{0, 0, 0, 0, 0, -1, 1}).Draw(t, "attempt"))
	if f.Kind == pay.Intend && rapid.IntRange(0, 9).Draw(t, "orderly") > 0 {
		f.Attempt, f.SendBy = p.Attempt.N+1, l.now.Add(5*time.Second)
	}
	if rapid.IntRange(0, 9).Draw(t, "odd") == 0 {
		f.Amount = money.Int(rapid.Int64Range(1, 9).Draw(t, "stated"))
	}
	if f.Kind == pay.Take && l.p.Kind == pay.Hold {
		f.Amount = money.Int(rapid.Int64Range(-1, 4).Draw(t, "taken"))
		if rapid.IntRange(0, 3).Draw(t, "all") == 0 {
			f.Amount = p.Remaining()
		}
	}
	if f.Kind == pay.Expire && p.Open() && rapid.Bool().Draw(t, "in time") {
		l.now = p.ExpiresAt
		if l.now.IsZero() {
			l.now = p.NextAt
		}
		f.At = l.now
	}
	f.Cost = money.Int(rapid.Int64Range(0, 3).Draw(t, "cost"))
	f.AttemptState = rapid.SampledFrom([]pay.AttemptState{pay.NoAttempt, pay.Absent, pay.NeverSent, pay.Confirmed}).Draw(t, "as")
	if s := rapid.Int64Range(-100, 100).Draw(t, "next"); s%2 == 0 {
		f.NextAt = l.now.Add(time.Duration(s) * time.Second)
	}
	if f.Kind == pay.Accept {
		n := p
		f.New = &n
	}
	return f
}

func drawAmount(t *rapid.T) money.Amount {
	if rapid.Bool().Draw(t, "large") {
		return money.FromParts(rapid.Int64Range(0, math.MaxInt64/4).Draw(t, "hi"), rapid.Uint64().Draw(t, "lo"))
	}
	return money.Int(rapid.Int64Range(1, 5).Draw(t, "amount"))
}

func TestLivesKeepTheInvariants(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := &life{t: t, now: noon, books: map[pay.Role]*big.Int{}, attempts: map[int16]pay.AttemptState{}}
		born := pay.Payment{
			ID: 9, Kind: rapid.SampledFrom([]pay.Kind{pay.Payout, pay.Payout, pay.Payout, pay.Deposit, pay.Send, pay.Hold, pay.Hold}).Draw(t, "kind"),
			Asset: "CZK", Amount: drawAmount(t), Fee: money.Int(rapid.Int64Range(0, 2).Draw(t, "fee")),
		}
		if born.Amount.IsZero() {
			born.Amount = money.Int(1)
		}
		if born.Kind == pay.Hold {
			born.Fee, born.ExpiresAt = money.Amount{}, noon.Add(time.Duration(rapid.Int64Range(1, 2000).Draw(t, "expires"))*time.Millisecond)
		}
		l.p = pay.Payment{Kind: born.Kind}
		l.hand(pay.Fact{Kind: pay.Accept, Payment: 9, At: l.now, New: &born})
		require.NotEqual(t, pay.None, l.p.State)
		l.invariants()
		steps := rapid.IntRange(0, 40).Draw(t, "steps")
		for range steps {
			l.now = l.now.Add(time.Duration(rapid.Int64Range(0, 50).Draw(t, "later")) * time.Millisecond)
			f := l.draw()
			before := l.p
			l.hand(f)
			if l.p != before || l.p.Open() && l.p.NextAt.After(l.now) {
				l.invariants()
			}
		}
	})
}

// TestHoldsReachEveryFinalState keeps the property honest for holds.
func TestHoldsReachEveryFinalState(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	for seed := range 300 {
		rapid.Custom(func(t *rapid.T) int {
			l := &life{t: t, now: noon, books: map[pay.Role]*big.Int{}, attempts: map[int16]pay.AttemptState{}}
			born := pay.Payment{ID: 9, Kind: pay.Hold, Asset: "CZK", Amount: money.Int(9), ExpiresAt: noon.Add(time.Second)}
			l.p = pay.Payment{Kind: pay.Hold}
			l.hand(pay.Fact{Kind: pay.Accept, Payment: 9, At: l.now, New: &born})
			for range 30 {
				l.hand(l.draw())
				l.invariants()
			}
			seen[l.p.State.String()]++
			if l.p.State == pay.Succeeded && l.p.Taken != l.p.Amount {
				seen["a rest went back"]++
			}
			return 0
		}).Example(seed)
	}
	for _, want := range []string{"succeeded", "cancelled", "expired", "a rest went back"} {
		require.Positive(t, seen[want], "%s of %v", want, seen)
	}
}

// TestLivesReachEveryFinalState keeps the property honest: the walk above must
// not die in the first states.
func TestLivesReachEveryFinalState(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	for seed := range 300 {
		rapid.Custom(func(t *rapid.T) int {
			l := &life{t: t, now: noon, books: map[pay.Role]*big.Int{}, attempts: map[int16]pay.AttemptState{}}
			born := pay.Payment{ID: 9, Kind: pay.Payout, Asset: "CZK", Amount: money.Int(4), Fee: money.Int(1)}
			l.p = pay.Payment{Kind: pay.Payout}
			l.hand(pay.Fact{Kind: pay.Accept, Payment: 9, At: l.now, New: &born})
			for range 40 {
				l.hand(l.draw())
			}
			seen[l.p.State.String()+" "+l.p.Settlement.String()]++
			if l.p.Attempt.N > 1 {
				seen["retried"]++
			}
			return 0
		}).Example(seed)
	}
	for _, want := range []string{"succeeded matched", "succeeded expected", "failed none", "cancelled none", "retried"} {
		require.Positive(t, seen[want], "%s of %v", want, seen)
	}
}
