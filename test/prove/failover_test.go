package prove

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor/prove"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
)

// A standby is counted like the primary, and says that it is one. When it becomes the
// primary and lacks what was acknowledged last, the ids that its leader leaves out are
// no gap; one more than those is, and so is money that moved for what was lost.
func TestAStandbyAndAFailoverAreCounted(t *testing.T) {
	t.Parallel()
	primary := pgtest.Cluster(t)
	w := newWorldOn(t, primary.DSN("moneta"))
	w.accept("funds", pay.Payment{Kind: pay.Send, Amount: money.Int(100_000), From: w.house, To: w.alice})
	w.paid("kept", 500)
	standby := pgtest.Standby(t, primary)
	there := func(c *prove.Config) { c.DSN = standby.DSN("moneta") }
	want := w.prove(nil)
	require.Equal(t, prove.Clean, want.Verdict, found(want))
	require.False(t, want.Database.Standby)
	require.Eventually(t, func() bool { return w.prove(there).Database.LastTransition == want.Database.LastTransition }, patience, 10*time.Millisecond)
	got := w.prove(there)
	require.Equal(t, prove.Clean, got.Verdict, found(got))
	require.True(t, got.Database.Standby)
	require.Equal(t, want.SHA256, got.SHA256)

	standby.Detach()
	lost := w.paid("lost", 501)
	w.stop()
	standby.Promote()
	next := commit.New(commit.Config{DSN: standby.DSN("moneta")})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- next.Run(ctx) }()
	defer func() {
		cancel()
		require.NoError(t, <-done)
	}()
	require.Eventually(t, next.Leading, patience, 5*time.Millisecond)
	w.node = next
	after := w.accept("after", pay.Payment{Kind: pay.Send, Amount: money.Int(7), From: w.house, To: w.alice})
	require.Greater(t, int64(after.ID-lost.ID), int64(1)<<31, "ids were left out")

	got = w.prove(there)
	require.Equal(t, int64(1), got.FaultCount, found(got))
	require.Contains(t, found(got), "effect_without_payment  bank-ab "+lost.Attempt.Reference, "what was lost was executed")
	require.Contains(t, got.Findings[0].Detail, "nobody ordered it")

	conn := w.at(standby.DSN("moneta"))
	_, err := conn.Exec(t.Context(), `delete from payments where id = $1`, int64(after.ID))
	require.NoError(t, err)
	w.accept("after that", pay.Payment{Kind: pay.Send, Amount: money.Int(7), From: w.house, To: w.alice})
	got = w.prove(there)
	require.Contains(t, found(got), "missing, between "+w.named["kept"].ID.String(), "a row is missing beside the ids left out")
}
