package commit_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// capture takes amount of hold.
func capture(hold pay.Payment, amount int64, k string) commit.Fact {
	f := accept(pay.Capture, hold.From, hold.To, amount, k)
	f.Payment.New.Original = hold.ID
	return f
}

// shop is a payer with money, a receiver, and holds between them.
type shop struct {
	t            *testing.T
	node         commit.Submitter
	payer, payee pay.AccountID
}

func newShop(t *testing.T, n commit.Submitter, funds int64) *shop {
	t.Helper()
	house := open(t, n, "cash", ledger.House)
	s := &shop{t, n, open(t, n, "alice", ledger.User), open(t, n, "shop", ledger.User)}
	s.submit(accept(pay.Send, house, s.payer, funds, "in"), "")
	return s
}

func (s *shop) submit(f commit.Fact, code fault.Code) commit.Result {
	s.t.Helper()
	r, err := s.node.Submit(s.t.Context(), f)
	require.Equal(s.t, code, fault.CodeOf(err), "%v", err)
	return r
}

func TestAHoldIsCapturedInPartsAndReleased(t *testing.T) {
	t.Parallel()
	k := &keeper{t: t, dsn: pgtest.DSN(t)}
	db := pool(t, k.dsn)
	k.start()
	s := newShop(t, k.node, 1000)
	s.submit(accept(pay.Hold, s.payer, s.payee, 1001, "too much"), fault.InsufficientFunds)
	hold := s.submit(accept(pay.Hold, s.payer, s.payee, 1000, "h"), "").Payment
	require.Equal(t, pay.Reserved, hold.State)
	require.Equal(t, hold.ExpiresAt, hold.NextAt)
	s.submit(accept(pay.Send, s.payer, s.payee, 1, "held money"), fault.InsufficientFunds)

	first := s.submit(capture(hold, 400, "c1"), "")
	require.Equal(t, pay.Succeeded, first.Payment.State)
	require.Equal(t, hold.ID, first.Payment.Original)
	s.submit(capture(hold, 601, "c2"), fault.AmountExceedsRemaining)
	holds(t, db)

	k.restart() // what was taken is read back from the rows
	s.node = k.node
	again := s.submit(capture(hold, 400, "c1"), "")
	require.True(t, again.Replayed)
	require.Equal(t, first.Payment.ID, again.Payment.ID)
	require.Equal(t, hold.ID, again.Payment.Original)
	s.submit(capture(hold, 399, "c1"), fault.IdempotencyKeyReused)
	s.submit(capture(hold, 601, "c2"), fault.AmountExceedsRemaining)
	s.submit(capture(hold, 601, "c3"), fault.AmountExceedsRemaining)
	s.submit(capture(hold, 500, "c4"), "")

	released := s.submit(about(hold, pay.Cancel), "").Payment
	require.Equal(t, pay.Succeeded, released.State)
	require.Equal(t, money.Int(900), released.Taken)
	require.True(t, s.submit(about(hold, pay.Cancel), "").NoOp)
	s.submit(capture(hold, 1, "c5"), fault.AlreadyFinal)
	holds(t, db)

	whole := s.submit(accept(pay.Hold, s.payer, s.payee, 100, "h2"), "").Payment
	s.submit(capture(whole, 100, "c6"), "")
	read, err := commit.NewReader(db).Payment(t.Context(), 1, whole.ID)
	require.NoError(t, err)
	require.Equal(t, pay.Succeeded, read.State)
	require.Equal(t, whole.ExpiresAt, read.ExpiresAt)
	require.Equal(t, money.Int(100), read.Taken)
	holds(t, db)
}

func TestACaptureNamesAHoldOfItsParties(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	s := newShop(t, lead(t, dsn), 1000)
	hold := s.submit(accept(pay.Hold, s.payer, s.payee, 500, "h"), "").Payment
	send := s.submit(accept(pay.Send, s.payer, s.payee, 1, "s"), "").Payment
	missing, foreign := hold, hold
	missing.ID = 99
	foreign.From, foreign.To = hold.To, hold.From
	s.submit(capture(missing, 1, "c1"), fault.NotFound)
	s.submit(capture(send, 1, "c2"), fault.NotFound)
	s.submit(capture(foreign, 1, "c3"), fault.MalformedRequest)
	other := capture(hold, 1, "c4")
	other.Payment.New.Tenant = 2
	s.submit(other, fault.AccountNotFound)
	none := capture(hold, 1, "c5")
	none.Payment.New.Original = 0
	s.submit(none, fault.MalformedRequest)
	holds(t, pool(t, dsn))
}

// TestManyCaptureOneHold: callers race for the last of one hold, some let go of
// it. No order is predicted; what was granted is exactly what has moved.
func TestManyCaptureOneHold(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	db := pool(t, dsn)
	s := newShop(t, lead(t, dsn), 10_000)
	for round := range 4 {
		hold := s.submit(accept(pay.Hold, s.payer, s.payee, 1000, fmt.Sprint("h", round)), "").Payment
		var mu sync.Mutex
		var granted int64
		answers := map[fault.Code]int{}
		var wg sync.WaitGroup
		for c := range 16 {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(c), uint64(round)))
				for i := range 20 {
					f, amount := capture(hold, 1+r.Int64N(20), fmt.Sprint(round, c, i)), int64(0)
					if round%2 == 1 && r.IntN(200) == 0 {
						f = about(hold, pay.Cancel)
					} else {
						amount, _ = f.Payment.New.Amount.Int64()
					}
					_, err := s.node.Submit(context.Background(), f)
					mu.Lock()
					answers[fault.CodeOf(err)]++
					if err == nil {
						granted += amount
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		for code := range answers {
			require.Contains(t, []fault.Code{"", fault.AmountExceedsRemaining, fault.AlreadyFinal}, code)
		}
		var moved int64
		require.NoError(t, db.QueryRow(t.Context(), `select coalesce(sum(amount), 0)::bigint from payments where original = $1`, int64(hold.ID)).Scan(&moved))
		require.Equal(t, granted, moved)
		require.Positive(t, answers[""])
		require.Positive(t, answers[fault.AmountExceedsRemaining]+answers[fault.AlreadyFinal], "they must have raced for the last of it")
		holds(t, db)
	}
}

// TestExpiryAgainstCapture: both orders, and both at once at the very instant.
func TestExpiryAgainstCapture(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	db := pool(t, dsn)
	hands := clock.NewManual(time.Now().UTC().Truncate(time.Microsecond))
	n := start(t, dsn, setBy(hands))
	require.Eventually(t, n.Leading, patience, 5*time.Millisecond)
	s := newShop(t, n, 10_000)
	held := func(k string) pay.Payment {
		f := accept(pay.Hold, s.payer, s.payee, 100, k)
		f.Payment.New.ExpiresAt = hands.Now().Add(time.Minute)
		return s.submit(f, "").Payment
	}
	at := func(p pay.Payment, d time.Duration) { hands.Advance(p.ExpiresAt.Add(d).Sub(hands.Now())) }

	early := held("early")
	at(early, -time.Microsecond)
	s.submit(about(early, pay.Expire), fault.IllegalTransition)
	s.submit(capture(early, 60, "in time"), "")
	at(early, 0)
	require.Equal(t, pay.Succeeded, s.submit(about(early, pay.Expire), "").Payment.State, "a part was taken")
	holds(t, db)

	late := held("late")
	at(late, 0)
	s.submit(capture(late, 60, "too late"), fault.AlreadyFinal)
	require.Equal(t, pay.Expired, s.submit(about(late, pay.Expire), "").Payment.State)
	s.submit(capture(late, 60, "much too late"), fault.AlreadyFinal)
	require.True(t, s.submit(about(late, pay.Expire), "").NoOp)
	holds(t, db)

	for i := range 20 {
		p := held(fmt.Sprint("race ", i))
		at(p, -time.Microsecond)
		var wg sync.WaitGroup
		var captured error
		wg.Go(func() { _, captured = n.Submit(context.Background(), capture(p, 60, fmt.Sprint("c", i))) })
		wg.Go(func() {
			at(p, 0)
			_, err := n.Submit(context.Background(), about(p, pay.Expire))
			if err != nil {
				t.Errorf("expire: %v", err)
			}
		})
		wg.Wait()
		want := pay.Expired
		if captured == nil {
			want = pay.Succeeded
		}
		require.Equal(t, want, s.submit(about(p, pay.Expire), "").Payment.State, "%v", captured)
	}
	holds(t, db)
}

// A refund of money without an owner is called failed, the money waits again, and the
// channel has executed it all the same. What is assigned then cannot be the same money
// twice: suspense has what its items say, and the difference is owed.
func TestALateRefundTakesNothingFromOtherItems(t *testing.T) {
	t.Parallel()
	k := &keeper{t: t, dsn: pgtest.DSN(t)}
	db := pool(t, k.dsn)
	k.start()
	s := newShop(t, k.node, 1000)
	in := accept(pay.Inbound, 0, 0, 100, "stray")
	in.Payment.New.Channel, in.Payment.New.Link = "bank-ab", "line 1"
	item := s.submit(in, "").Payment
	back := accept(pay.Refund, 0, 0, 100, "back")
	back.Payment.New.Original, back.Payment.New.PayeeAccount = item.ID, "777"
	p := s.submit(back, "").Payment
	for _, kind := range []pay.FactKind{pay.Intend, pay.Decline, pay.Confirm} {
		s.submit(about(p, kind), "")
		if kind == pay.Intend {
			p.Attempt.N = 1
		}
	}
	var suspense, waiting int64
	require.NoError(t, db.QueryRow(t.Context(), `select coalesce(sum(x.amount), 0)::bigint from facts.postings x join accounts a on a.id = x.account & ~1::bigint where a.name = 'susp:in'`).Scan(&suspense))
	require.NoError(t, db.QueryRow(t.Context(), `select coalesce(sum(amount), 0)::bigint from open_payments where kind = $1`, int16(pay.Inbound)).Scan(&waiting))
	require.Equal(t, int64(100), waiting)
	require.Equal(t, waiting, suspense)
	sums(t, db)
}

// While nobody leads, the statement line of a return that its callback told before is
// not answered from the key: nobody has settled it.
func TestAKnownEventIsNotSettledByReading(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	first := start(t, dsn, nil)
	s := newShop(t, first, 1000)
	p := s.submit(accept(pay.Payout, s.payer, 0, 50, "out"), "").Payment
	for _, kind := range []pay.FactKind{pay.Intend, pay.Confirm} {
		p = s.submit(about(p, kind), "").Payment
	}
	word := about(p, pay.Returned)
	word.Payment.Channel, word.Payment.ChannelID, word.Payment.Key = "bank-ab", "R-1", pay.EventKey(0, "bank-ab", pay.Return, "R-1")
	s.submit(word, "")
	first.stop()
	require.NoError(t, <-first.done)
	first.done <- nil

	nobody := commit.New(commit.Config{DSN: dsn, Reads: pool(t, dsn)})
	line := *word.Payment
	line.Settled = true
	for settled, f := range map[bool]pay.Fact{false: *word.Payment, true: line} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, err := nobody.Submit(ctx, commit.Fact{Payment: &f})
		cancel()
		require.Equal(t, settled, err != nil, "%v", err)
	}
}
