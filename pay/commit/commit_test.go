package commit_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/ledger"
)

const patience = 30 * time.Second

// running is a node that leads its shard on a database of its own.
type running struct {
	*commit.Node
	stop context.CancelFunc
	done chan error
}

func start(t testing.TB, dsn string, change func(*commit.Config)) *running {
	t.Helper()
	cfg := commit.Config{DSN: dsn}
	if change != nil {
		change(&cfg)
	}
	return run(t, commit.New(cfg))
}

func run(t testing.TB, n *commit.Node) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{n, cancel, make(chan error, 1)}
	go func() { r.done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case <-r.done: //nolint:errcheck // that it ends is asked here; how it may end is the test's
		case <-time.After(patience):
			t.Error("the node does not stop")
		}
	})
	return r
}

func lead(t testing.TB, dsn string) *running {
	t.Helper()
	r := start(t, dsn, nil)
	require.Eventually(t, r.Leading, patience, 5*time.Millisecond)
	return r
}

func pool(t *testing.T, dsn string) *pgxpool.Pool {
	t.Helper()
	p, err := pgxpool.New(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return p
}

func key(name string, args ...any) [16]byte {
	h := sha256.Sum256(fmt.Appendf(nil, name, args...))
	return [16]byte(h[:16])
}

func open(t *testing.T, s commit.Submitter, name string, kind ledger.Kind) pay.AccountID {
	t.Helper()
	r, err := s.Submit(t.Context(), commit.Fact{Account: &ledger.AccountFact{
		Kind: ledger.Open, Key: key("account %s", name),
		New: ledger.Account{Tenant: 1, Kind: kind, Asset: "CZK", Name: name, Unlimited: kind == ledger.House},
	}})
	require.NoError(t, err)
	return pay.AccountID(r.Account.ID)
}

func accept(kind pay.Kind, from, to pay.AccountID, amount int64, k string) commit.Fact {
	p := pay.Payment{Tenant: 1, Kind: kind, Asset: "CZK", Amount: money.Int(amount), From: from, To: to, Key: key("%s", k)}
	switch kind {
	case pay.Payout, pay.Deposit, pay.Refund:
		p.Channel = "bank-ab"
	case pay.Hold:
		p.ExpiresAt = time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	}
	return commit.Fact{Payment: &pay.Fact{Kind: pay.Accept, New: &p, Fingerprint: key("%d %d %d %d", kind, from, to, amount)}}
}

func about(p pay.Payment, kind pay.FactKind) commit.Fact {
	f := &pay.Fact{Kind: kind, Payment: p.ID, Attempt: p.Attempt.N, Amount: p.Amount, Asset: p.Asset}
	if kind == pay.Intend {
		f.Attempt++
		f.SendBy = time.Now().Add(5 * time.Second)
	}
	return commit.Fact{Payment: f}
}

// sums checks the raw rows: every book's newest balance is the sum of its
// postings, all sum to zero, and the ids have no gap.
func sums(t *testing.T, db *pgxpool.Pool) {
	t.Helper()
	var bad int
	var sum string
	require.NoError(t, db.QueryRow(t.Context(), `select coalesce(sum(amount), 0)::text from facts.postings`).Scan(&sum))
	require.Equal(t, "0", sum)
	require.NoError(t, db.QueryRow(t.Context(), `
with book as (select account, sum(amount) total from facts.postings group by account),
last as (select distinct on (account) account, balance from (
   select debit account, debit_balance balance, id from transfers union all select credit, credit_balance, id from transfers) x
   order by account, id desc)
select count(*) from book join last using (account) where total <> balance`).Scan(&bad))
	require.Zero(t, bad, "books whose newest row is not the sum of their postings")
	for _, table := range []string{"transfers", "transitions", "payments"} {
		var gaps int
		require.NoError(t, db.QueryRow(t.Context(), `select coalesce(max(id), 0) - count(*) from `+table).Scan(&gaps))
		require.Zero(t, gaps, table)
	}
}

func TestPayoutFromAcceptToSettled(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	db := pool(t, dsn)
	n := lead(t, dsn)
	house, user := open(t, n, "cash", ledger.House), open(t, n, "alice", ledger.User)

	r, err := n.Submit(t.Context(), accept(pay.Send, house, user, 10_000, "k1"))
	require.NoError(t, err)
	require.Equal(t, pay.Succeeded, r.Payment.State)

	r, err = n.Submit(t.Context(), accept(pay.Send, house, user, 10_000, "k1"))
	require.NoError(t, err)
	require.True(t, r.Replayed)

	_, err = n.Submit(t.Context(), accept(pay.Send, house, user, 10_001, "k1"))
	require.ErrorIs(t, err, fault.IdempotencyKeyReused)

	_, err = n.Submit(t.Context(), accept(pay.Payout, user, 0, 10_001, "k2"))
	require.ErrorIs(t, err, fault.InsufficientFunds)
	_, err = n.Submit(t.Context(), accept(pay.Send, house, user, 5, "k3"))
	require.NoError(t, err)
	r, err = n.Submit(t.Context(), accept(pay.Payout, user, 0, 10_001, "k2"))
	require.ErrorIs(t, err, fault.InsufficientFunds, "a refusal is repeated for its key")
	require.Equal(t, "/amount", fault.From(err).Param, "word for word")
	require.True(t, r.Replayed)

	r, err = n.Submit(t.Context(), accept(pay.Payout, user, 0, 4_000, "k4"))
	require.NoError(t, err)
	require.Equal(t, pay.Reserved, r.Payment.State)
	for _, step := range []struct {
		fact pay.FactKind
		want pay.State
	}{
		{pay.Intend, pay.Dispatching},
		{pay.Doubt, pay.Unknown},
		{pay.ProveAbsent, pay.Reserved},
		{pay.Intend, pay.Dispatching},
		{pay.Ack, pay.Processing},
		{pay.Confirm, pay.Succeeded},
		{pay.Settle, pay.Succeeded},
	} {
		r, err = n.Submit(t.Context(), about(r.Payment, step.fact))
		require.NoError(t, err)
		require.Equal(t, step.want, r.Payment.State)
	}
	require.Equal(t, int16(2), r.Payment.Attempt.N)
	sums(t, db)
	var openCount int
	require.NoError(t, db.QueryRow(t.Context(), `select count(*) from open_payments`).Scan(&openCount))
	require.Zero(t, openCount)
	var balances string
	require.NoError(t, db.QueryRow(t.Context(), `select string_agg(a.name || ' ' || s, ', ' order by a.name) from (
	  select account & ~1::bigint id, sum(amount)::text s from facts.postings group by 1) x join accounts a using (id)`).Scan(&balances))
	require.Equal(t, "alice 6005, cash -10005, clr:bank-ab:out 0, nostro:bank-ab 4000", balances)
}

func TestConcurrentDoubleSubmitsConverge(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	n := lead(t, dsn)
	house, user := open(t, n, "cash", ledger.House), open(t, n, "alice", ledger.User)
	var wg sync.WaitGroup
	ids := make([]pay.ID, 500)
	for i := range ids {
		wg.Go(func() {
			r, err := n.Submit(context.Background(), accept(pay.Send, house, user, 100, "one"))
			if err == nil {
				ids[i] = r.Payment.ID
			}
		})
	}
	wg.Wait()
	for _, id := range ids {
		require.Equal(t, ids[0], id)
	}
	db := pool(t, dsn)
	sums(t, db)
	var count int
	require.NoError(t, db.QueryRow(t.Context(), `select count(*) from payments`).Scan(&count))
	require.Equal(t, 1, count)
}

func TestPoisonIsQuarantinedAndItsNeighboursCommit(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	db := pool(t, dsn)
	n := lead(t, dsn)
	house, user := open(t, n, "cash", ledger.House), open(t, n, "alice", ledger.User)
	var facts []commit.Fact
	for i := range 100 {
		facts = append(facts, accept(pay.Send, house, user, 100, fmt.Sprint("n", i)))
	}
	facts[41].Payment.New.Remittance = "nul \x00 byte"            // Postgres refuses it
	facts[77] = commit.Fact{Payment: &pay.Fact{Kind: pay.Accept}} // no payment: a panic
	out := n.SubmitAll(t.Context(), facts)
	for i, o := range out {
		if i == 41 || i == 77 {
			require.ErrorIs(t, o.Err, fault.PaymentQuarantined)
			continue
		}
		require.NoError(t, o.Err, i)
	}
	sums(t, db)
	var count, put int
	require.NoError(t, db.QueryRow(t.Context(), `select (select count(*) from payments), (select count(*) from quarantine)`).Scan(&count, &put))
	require.Equal(t, 98, count)
	require.Equal(t, 2, put)
}

func TestMoneyTablesAreAppendOnlyForThePayRole(t *testing.T) {
	t.Parallel()
	db := pool(t, pgtest.DSN(t))
	for _, sql := range []string{
		`update transfers set amount = 1`, `delete from transfers`, `truncate transfers`,
		`update transitions set to_state = 1`, `delete from transitions`, `update payments set amount = 1`, `delete from keys`,
	} {
		tx, err := db.Begin(t.Context())
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), "set local role "+commit.Role)
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), sql)
		require.ErrorContains(t, err, "permission denied", sql)
		require.NoError(t, tx.Rollback(t.Context()))
	}
}

func TestOneLeaderAndHandOver(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	a := lead(t, dsn)
	house, user := open(t, a, "cash", ledger.House), open(t, a, "alice", ledger.User)
	b := start(t, dsn, nil)
	require.False(t, b.Leading())
	a.stop()
	require.Eventually(t, b.Leading, patience, 2*time.Millisecond)
	r, err := b.Submit(t.Context(), accept(pay.Send, house, user, 100, "after"))
	require.NoError(t, err)
	require.Equal(t, pay.ID(1), r.Payment.ID)
}
