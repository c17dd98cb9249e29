package desk_test

import (
	"context"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/desk"
	"github.com/moneta-pay/moneta/pay/ledger"
	"github.com/moneta-pay/moneta/pay/timer"
)

// road is the decider, the wheel and the desk on one database. The wheel and the
// desk share a clock that the test moves; the leader may be lost and come back.
type road struct {
	t     *testing.T
	tel   *telemetry.Telemetry
	clock *clock.Manual
	desk  *desk.Desk
	reads *commit.Reader
	node  *commit.Node
	wheel atomic.Pointer[timer.Wheel]
	stop  func()
	pool  *pgxpool.Pool
}

func newRoad(t *testing.T) *road {
	t.Helper()
	pool := pgtest.Database(t)
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{LogOutput: io.Discard})
	require.NoError(t, err)
	r := &road{t: t, tel: tel, clock: clock.NewManual(time.Now()), reads: commit.NewReader(pool), pool: pool}
	r.desk = desk.New(desk.Config{Pool: pool, Clock: r.clock, Telemetry: tel, SweepEvery: 10 * time.Millisecond})
	r.lead()
	t.Cleanup(func() { r.stop() })
	return r
}

// lead starts a node with a wheel of its own, as after a crash: nothing of the one
// before is left but the database.
func (r *road) lead() {
	r.t.Helper()
	// The station that would ask the bank always says that it has it in hand.
	wheel := timer.New(timer.Config{
		Due: func(pay.Payment) bool { return true }, Pool: r.pool, Reload: r.reads.ByID, Desk: r.desk, Clock: r.clock,
		Telemetry: r.tel, WatchEvery: 5 * time.Millisecond,
	})
	r.wheel.Store(wheel)
	n := commit.New(commit.Config{
		DSN: r.pool.Config().ConnString(), Lead: func(_ context.Context, open []pay.Payment) { wheel.Load(open) }, Changed: func(p []pay.Payment) { wheel.Note(p) },
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 3)
	for _, run := range []func(context.Context) error{n.Run, wheel.Run, r.desk.Run} {
		go func() { done <- run(ctx) }()
	}
	require.Eventually(r.t, n.Leading, 30*time.Second, 2*time.Millisecond)
	r.node = n
	r.stop = func() {
		cancel()
		for range 3 {
			if err := <-done; err != nil {
				r.t.Errorf("it ends with %v", err)
			}
		}
	}
}

func (r *road) fact(f pay.Fact) pay.Payment {
	r.t.Helper()
	f.At = time.Now()
	res, err := r.node.Submit(r.t.Context(), commit.Fact{Payment: &f})
	require.NoError(r.t, err)
	return res.Payment
}

func (r *road) cases(state string) []desk.Case {
	page, err := r.desk.List(r.t.Context(), desk.Filter{Reach: desk.Reach{Tenant: 1}, State: state})
	require.NoError(r.t, err)
	return page.Cases
}

func (r *road) eventually(what string, holds func() bool) {
	r.t.Helper()
	require.Eventually(r.t, holds, 30*time.Second, 5*time.Millisecond, what)
}

// TestNoStuckPaymentIsForgotten: a payout whose bank is silent becomes one case,
// through the loss of the leader and a person who closes it too early, until the
// bank has spoken. A payout that came to its end becomes none.
func TestNoStuckPaymentIsForgotten(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	open := func(key string, kind ledger.Kind) pay.AccountID {
		res, err := r.node.Submit(t.Context(), commit.Fact{Account: &ledger.AccountFact{Kind: ledger.Open, Key: [16]byte([]byte(key)), New: ledger.Account{
			Tenant: 1, Kind: kind, Asset: "CZK", Name: key, Unlimited: true,
		}}})
		require.NoError(t, err)
		return pay.AccountID(res.Account.ID)
	}
	from := open("house-----------", ledger.House)
	payout := func(key string) pay.ID {
		p := r.fact(pay.Fact{Kind: pay.Accept, New: &pay.Payment{
			Tenant: 1, Kind: pay.Payout, Asset: "CZK", Amount: money.Int(10), From: from, Channel: "bank-ab", PayeeAccount: "1", Key: pay.Key([]byte(key)),
		}})
		return p.ID
	}
	stuck, fine := payout("stuck-----------"), payout("fine------------")
	for _, id := range []pay.ID{stuck, fine} {
		r.fact(pay.Fact{Kind: pay.Intend, Payment: id, Attempt: 1, SendBy: time.Now().Add(time.Minute)})
		r.fact(pay.Fact{Kind: pay.Doubt, Payment: id, Attempt: 1, Reason: "no answer"})
	}
	confirm := func(id pay.ID) {
		r.fact(pay.Fact{Kind: pay.Confirm, Payment: id, Attempt: 1, Source: "query", Amount: money.Int(10), Asset: "CZK", ChannelID: "b"})
	}
	confirm(fine)
	require.Empty(t, r.cases(""))
	r.clock.Advance(2*time.Hour + time.Minute)
	r.eventually("a person is at it", func() bool { return r.wheel.Load().Snapshot().Cased == 1 && len(r.cases(desk.Open)) == 1 })
	first := r.cases(desk.Open)[0]
	require.Equal(t, []any{stuck, desk.UnknownTooLong, "no answer"}, []any{first.Payment, first.Kind, first.Finding.Cause})

	r.stop() // the leader is gone, and what it remembered
	r.lead()
	r.eventually("the next leader knows", func() bool { return r.wheel.Load().Snapshot().Cased == 1 })
	require.Len(t, r.cases(""), 1)

	_, err := r.desk.Close(t.Context(), desk.Reach{Tenant: 1}, first.Number, "somebody", "I want to sleep", "")
	require.NoError(t, err)
	r.eventually("it comes back", func() bool { return len(r.cases(desk.Open)) == 1 })
	second := r.cases(desk.Open)[0]
	require.Equal(t, first.Number.String(), second.Finding.Previous)

	confirm(stuck)
	r.eventually("the bank has spoken", func() bool { return len(r.cases(desk.Open)) == 0 && r.wheel.Load().Snapshot().Cased == 0 })
	last, err := r.desk.Get(t.Context(), desk.Reach{Tenant: 1}, second.Number)
	require.NoError(t, err)
	require.Equal(t, []any{desk.Closed, desk.Machine}, []any{last.State, last.ClosedBy})
	require.Len(t, r.cases(""), 2)
}
