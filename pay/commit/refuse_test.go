package commit_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// A refusal, such as a lever's, says that nothing has moved only where it was read that
// the key is not known: the same may have been carried out before, its answer lost.
func TestARefusalThatCouldNotLookSaysSo(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	n := lead(t, dsn)
	house := open(t, n, "cash", ledger.House)
	send := accept(pay.Send, house, open(t, n, "alice", ledger.User), 1, "sent before")
	was, err := n.Submit(t.Context(), send)
	require.NoError(t, err)
	fresh := accept(pay.Send, house, house, 1, "never sent")
	refuse := func(node *commit.Node, f commit.Fact) commit.Outcome {
		held := fault.New(fault.IntakePaused, "held").WithRetryAfter(time.Minute).WithMoneyState(fault.NotMoved)
		return node.Refuse(t.Context(), []commit.Fact{f}, []error{held})[0]
	}
	reads := pool(t, dsn)
	sees := commit.New(commit.Config{DSN: dsn, Reads: reads})
	known := refuse(sees, send)
	require.NoError(t, known.Err)
	require.Equal(t, was.Payment.ID, known.Payment.ID)
	for _, c := range []struct {
		blind bool
		state fault.MoneyState
		retry fault.Retry
	}{{false, fault.NotMoved, fault.After}, {true, fault.UnknownWillResolve, fault.SafeSameKey}} {
		if c.blind {
			reads.Close()
		}
		for _, f := range []commit.Fact{fresh, send} {
			if !c.blind && f.Payment == send.Payment {
				continue // it got its answer
			}
			err := refuse(sees, f).Err
			require.ErrorIs(t, err, fault.IntakePaused)
			require.Equal(t, []any{c.state, c.retry}, []any{fault.MoneyStateOf(err), fault.RetryOf(err)})
		}
	}
}
