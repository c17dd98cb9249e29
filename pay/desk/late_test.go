package desk_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/desk"
)

// A caller whose own time is over is told that, and not that the database is away:
// on a busy machine that sent people to look at a database that was well.
func TestACallersDeadlineIsNotTheDatabases(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.payment(1, pay.Unknown)
	wish := desk.AppealRequest{Tenant: 7, Payment: p, Key: "late", By: "key test"}
	stranger, err := w.db.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = stranger.Rollback(context.WithoutCancel(t.Context())) }()
	_, err = stranger.Exec(t.Context(), `lock table cases in access exclusive mode`)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = w.Appeal(ctx, &wish)
	require.ErrorIs(t, err, fault.Timeout)
	require.Equal(t, fault.NotMoved, fault.MoneyStateOf(err))
	require.NoError(t, stranger.Rollback(t.Context()))
	_, err = w.Appeal(t.Context(), &wish)
	require.NoError(t, err, "the same key again")

	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = w.OfPayment(gone, 1)
	require.ErrorIs(t, err, fault.Timeout)
}
