package timer_test

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/ledger"
	"github.com/moneta-pay/moneta/pay/timer"
)

// TestHoldsExpireByThemselves: the wheel, the expirer and the decider together,
// on a real database; nobody else touches the holds.
func TestHoldsExpireByThemselves(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{LogOutput: io.Discard})
	require.NoError(t, err)
	var wheel *timer.Wheel
	n := commit.New(commit.Config{DSN: db.Config().ConnString(), Changed: func(p []pay.Payment) { wheel.Note(p) }})
	expirer := timer.NewExpirer(n, nil, nil, tel)
	wheel = timer.New(timer.Config{Due: timer.Route{Time: expirer.Offer}.Due, Telemetry: tel})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 3)
	for _, run := range []func(context.Context) error{n.Run, wheel.Run, expirer.Run} {
		go func() { done <- run(ctx) }()
	}
	t.Cleanup(func() {
		cancel()
		for range 3 {
			if err := <-done; err != nil {
				t.Errorf("it ends with %v", err)
			}
		}
	})
	require.Eventually(t, n.Leading, patience, 5*time.Millisecond)

	open := func(name string, kind ledger.Kind) pay.AccountID {
		r, err := n.Submit(ctx, commit.Fact{Account: &ledger.AccountFact{Kind: ledger.Open, Key: [16]byte([]byte(fmt.Sprintf("%16s", name))), New: ledger.Account{
			Tenant: 1, Kind: kind, Asset: "CZK", Name: name, Unlimited: kind == ledger.House,
		}}})
		require.NoError(t, err)
		return pay.AccountID(r.Account.ID)
	}
	house, shop := open("cash", ledger.House), open("shop", ledger.User)
	facts := make([]commit.Fact, 600) // more than one batch of the expirer
	for i := range facts {
		facts[i] = commit.Fact{Payment: &pay.Fact{Kind: pay.Accept, New: &pay.Payment{
			Tenant: 1, Kind: pay.Hold, Asset: "CZK", Amount: money.Int(10), From: house, To: shop,
			Key: pay.Key([]byte(fmt.Sprintf("%16d", i))), ExpiresAt: time.Now().Add(time.Second).UTC().Truncate(time.Microsecond),
		}}}
	}
	var held []pay.Payment
	for _, o := range n.SubmitAll(ctx, facts) {
		require.NoError(t, o.Err)
		require.Equal(t, pay.Reserved, o.Payment.State)
		held = append(held, o.Payment)
	}
	require.Eventually(t, func() bool {
		totals, err := commit.NewReader(db).Totals(ctx)
		return err == nil && totals.Open == 0
	}, patience, 20*time.Millisecond)
	for _, p := range held[:20] {
		now, err := commit.NewReader(db).Payment(ctx, 1, p.ID)
		require.NoError(t, err)
		require.Equal(t, pay.Expired, now.State)
		require.False(t, now.EnteredAt.Before(now.ExpiresAt), "never early")
	}
	b, err := ledger.NewReader(db).Balances(ctx, 1, ledger.AccountID(house), time.Time{}, ledger.Booking)
	require.NoError(t, err)
	require.True(t, b.Available.IsZero() && b.Held.IsZero(), "all of it is back")
}
