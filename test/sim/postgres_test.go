package sim

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/ledger"
)

const realPatience = 60 * time.Second

// TestStoreAgreesWithPostgres gives the Facts of simulated runs, in their order, to
// the real decider on Postgres: every answer, every state and every balance must be
// the simulated decider's. Without that the simulation would prove its own store.
func TestStoreAgreesWithPostgres(t *testing.T) {
	t.Parallel()
	kinds := map[pay.FactKind]int{}
	for seed := uint64(1001); seed <= 1006; seed++ {
		r := simulate(t, plan{seed: seed, timeless: true}, nil)
		require.Empty(t, r.found, "seed %d", seed)
		require.NotEmpty(t, r.store.log)
		for i := range r.store.log {
			kinds[r.store.log[i].fact.Kind]++
		}
		node, pool := realNode(t)
		require.Empty(t, differences(t, node, pool, r.store), "seed %d", seed)
	}
	for _, k := range []pay.FactKind{pay.Accept, pay.Intend, pay.Ack, pay.Doubt, pay.Confirm, pay.Decline, pay.Checked, pay.ProveAbsent} {
		require.NotZero(t, kinds[k], "the runs had no %s to compare", k)
	}
}

// TestComparisonBites: a store that decided one Fact otherwise, or has a coin more,
// is not Postgres's equal.
func TestComparisonBites(t *testing.T) {
	t.Parallel()
	r := simulate(t, plan{seed: 1001, timeless: true}, nil)
	r.store.log[len(r.store.log)-1].State = pay.Created
	r.store.books[availableOf(user(0))]++
	node, pool := realNode(t)
	found := differences(t, node, pool, r.store)
	require.Len(t, found, 2, found)
	require.Contains(t, found[0], "fact")
	require.Contains(t, found[1], availableOf(user(0)))
}

// realNode is a decider that leads an empty ledger with the accounts of a run.
func realNode(t *testing.T) (*commit.Node, *pgxpool.Pool) {
	t.Helper()
	dsn := pgtest.DSN(t)
	pool, err := pgxpool.New(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	node := commit.New(commit.Config{DSN: dsn})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- node.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case <-done: //nolint:errcheck // that it ends is asked here
		case <-time.After(realPatience):
			t.Error("the node does not stop")
		}
	})
	require.Eventually(t, node.Leading, realPatience, 5*time.Millisecond)
	for n := range users + 1 {
		a := ledgerAccount(n)
		r, err := node.Submit(ctx, commit.Fact{Account: &ledger.AccountFact{Kind: ledger.Open, Key: pay.EventKey(1, "", pay.Send, a.Name), New: a}})
		require.NoError(t, err)
		require.Equal(t, house+2*pay.AccountID(n), pay.AccountID(r.Account.ID))
	}
	return node, pool
}

// differences lists what the real decider says otherwise.
func differences(t *testing.T, node *commit.Node, pool *pgxpool.Pool, s *store) (found []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), realPatience)
	defer cancel()
	facts := make([]commit.Fact, len(s.log))
	for i := range s.log {
		f := s.log[i].fact
		facts[i].Payment = &f
	}
	for i, o := range node.SubmitAll(ctx, facts) {
		if got := verdictOf(o); got != s.log[i].verdict {
			found = append(found, fmt.Sprintf("fact %d, %s of payment %d: Postgres %+v, simulated %+v", i, facts[i].Payment.Kind, facts[i].Payment.Payment, got, s.log[i].verdict))
		}
	}
	reader := ledger.NewReader(pool)
	rows, err := pool.Query(ctx, `select id, name from accounts where kind = 3`)
	require.NoError(t, err)
	names := map[ledger.AccountID]string{}
	for rows.Next() {
		var id ledger.AccountID
		var name string
		require.NoError(t, rows.Scan(&id, &name))
		names[id] = name
	}
	require.NoError(t, rows.Err())
	real := map[string]money.Amount{}
	for n := range users + 1 {
		id := house + 2*pay.AccountID(n)
		x, err := reader.Explain(ctx, ledger.AccountID(id))
		require.NoError(t, err)
		real[availableOf(id)], real[heldOf(id)] = x[0].Balance, x[1].Balance
	}
	for id, name := range names {
		x, err := reader.Explain(ctx, id)
		require.NoError(t, err)
		real[name] = x[0].Balance
	}
	for name, balance := range real {
		if balance != money.Int(s.books[name]) {
			found = append(found, fmt.Sprintf("%s: Postgres %s, simulated %d", name, balance, s.books[name]))
		}
	}
	for name := range s.books {
		if _, ok := real[name]; !ok {
			found = append(found, name+" exists only in the simulation")
		}
	}
	return found
}
