package commit_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// TestForeignRowLocksHoldUpNobody: somebody's session holds account rows for
// seconds; money on those accounts and on all others keeps flowing.
func TestForeignRowLocksHoldUpNobody(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	db := pool(t, dsn)
	n := lead(t, dsn)
	house := open(t, n, "cash", ledger.House)
	accounts := make([]pay.AccountID, 40)
	for i := range accounts {
		accounts[i] = open(t, n, fmt.Sprint("a", i), ledger.User)
		_, err := n.Submit(t.Context(), accept(pay.Send, house, accounts[i], 1000, fmt.Sprint("seed", i)))
		require.NoError(t, err)
	}
	tx, err := db.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.Background()) }()
	locked := make([]int64, 20)
	for i := range locked {
		locked[i] = int64(accounts[i])
	}
	tag, err := tx.Exec(t.Context(), `select 1 from accounts where id = any($1) for update`, locked)
	require.NoError(t, err)
	require.EqualValues(t, 20, tag.RowsAffected())

	flowed := map[bool]int{}
	for until, i := time.Now().Add(2*time.Second), 0; time.Now().Before(until) || i < 3*len(accounts); i++ {
		from, to := accounts[i%40], accounts[(i*7+1)%40]
		if from == to {
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		_, err := n.Submit(ctx, accept(pay.Send, from, to, 1, fmt.Sprint("s", i)))
		require.NoError(t, err)
		r, err := n.Submit(ctx, accept(pay.Payout, from, 0, 1, fmt.Sprint("p", i)))
		require.NoError(t, err)
		_, err = n.Submit(ctx, about(r.Payment, pay.Cancel))
		require.NoError(t, err)
		cancel()
		flowed[i%40 < 20]++
	}
	require.Positive(t, flowed[true])
	require.Positive(t, flowed[false])
	var held int
	require.NoError(t, tx.QueryRow(t.Context(), `select count(*) from accounts where id = any($1)`, locked).Scan(&held), "the lock was held to the end")
	t.Logf("rounds on locked accounts %d, on others %d", flowed[true], flowed[false])
	require.NoError(t, tx.Rollback(t.Context()))
	holds(t, db)
}

// TestAFloorOnALockedRowIsToldToComeBack: a change of a floor or a freeze does
// write the account's row. It never waits for somebody's lock: it is refused for
// the moment, payments in the same batch go on, and later it is taken.
func TestAFloorOnALockedRowIsToldToComeBack(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	db := pool(t, dsn)
	n := lead(t, dsn)
	house, alice, bob := open(t, n, "cash", ledger.House), open(t, n, "alice", ledger.User), open(t, n, "bob", ledger.User)
	tx, err := db.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.Background()) }()
	_, err = tx.Exec(t.Context(), `select 1 from accounts where id = $1 for update`, int64(alice))
	require.NoError(t, err)
	floor := func(id pay.AccountID) commit.Fact {
		return commit.Fact{Account: &ledger.AccountFact{Kind: ledger.SetFloor, ID: ledger.AccountID(id), Tenant: 1, Floor: money.Int(-5)}}
	}
	for round := range 5 {
		facts := []commit.Fact{floor(alice), floor(bob)}
		for i := range 20 {
			facts = append(facts, accept(pay.Send, house, bob, 1, fmt.Sprint(round, " ", i)))
		}
		began := time.Now()
		for i, o := range n.SubmitAll(t.Context(), facts) {
			if i == 0 {
				require.ErrorIs(t, o.Err, fault.Overloaded)
				continue
			}
			require.NoError(t, o.Err)
		}
		require.Less(t, time.Since(began), 2*time.Second)
	}
	_, err = n.Submit(t.Context(), accept(pay.Send, alice, bob, 5, "beyond"))
	require.ErrorIs(t, err, fault.InsufficientFunds, "a floor that was not written does not count")
	require.NoError(t, tx.Rollback(t.Context()))
	_, err = n.Submit(t.Context(), floor(alice))
	require.NoError(t, err)
	_, err = n.Submit(t.Context(), accept(pay.Send, alice, bob, 5, "within"))
	require.NoError(t, err)
	var quarantined int
	require.NoError(t, db.QueryRow(t.Context(), `select count(*) from quarantine`).Scan(&quarantined))
	require.Zero(t, quarantined)
	holds(t, db)
}
