package commit_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// BenchmarkSend measures internal sends through the decider: 32 callers of 100
// Facts each, uniform over many accounts, or two accounts only.
func BenchmarkSend(b *testing.B) {
	for _, accounts := range []int{10_000, 2} {
		b.Run(fmt.Sprint(accounts, "accounts"), func(b *testing.B) { benchSend(b, accounts) })
	}
}

func benchSend(b *testing.B, accounts int) {
	n := lead(b, pgtest.DSN(b))
	ids := make([]pay.AccountID, accounts)
	var facts []commit.Fact
	for i := range accounts {
		facts = append(facts, commit.Fact{Account: &ledger.AccountFact{Kind: ledger.Open, Key: key("acct %d", i), New: ledger.Account{
			Tenant: 1, Kind: ledger.House, Asset: "CZK", Name: fmt.Sprint("a", i), Unlimited: true,
		}}})
	}
	for at := 0; at < len(facts); at += 1000 {
		for i, o := range n.SubmitAll(b.Context(), facts[at:min(at+1000, len(facts))]) {
			require.NoError(b, o.Err)
			ids[at+i] = pay.AccountID(o.Account.ID)
		}
	}
	const callers, group = 32, 100
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(c), 1))
			for left.Add(-group) > -group {
				facts := make([]commit.Fact, group)
				for i := range facts {
					from := r.IntN(accounts)
					to := (from + 1 + r.IntN(accounts-1)) % accounts
					facts[i] = accept(pay.Send, ids[from], ids[to], 100, fmt.Sprint(c, r.Uint64()))
				}
				for _, o := range n.SubmitAll(b.Context(), facts) {
					if o.Err != nil {
						b.Error(o.Err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sends/s")
}

// BenchmarkRead measures what one look at a payment costs: a payout that has come to
// its end, as most that are looked at, and one with a refund.
func BenchmarkRead(b *testing.B) {
	db := pgtest.Database(b)
	for _, sql := range []string{
		`insert into payments (id, tenant, kind, asset, amount, fee, from_account, channel, payee_account, key, trace_id, effective_at, created_at, original)
		 select i, 1, case when i % 1000 = 0 then 6 else 2 end, 'CZK', 100, 0, 2, 'bank-ab', '4711', gen_random_uuid(), gen_random_uuid(), now(), now(),
		   case when i % 1000 = 0 then i - 1 end from generate_series(1, 100000) i`,
		`insert into transitions (id, payment, seq, transition, from_state, to_state, settlement, attempt, transfers, at)
		 select i * 5 + n, i, n, (array[1, 2, 3, 4, 5])[n + 1], (array[0, 2, 3, 4, 6])[n + 1], (array[2, 3, 4, 6, 6])[n + 1], n / 3, 1, 0, now()
		   from generate_series(1, 100000) i, generate_series(0, 4) n`,
		`insert into attempts select i, 1, 'bank-ab', 'r' || i, 4, now(), now(), now(), 'x', null from generate_series(1, 100000) i`,
		`analyze payments; analyze transitions; analyze attempts`,
	} {
		_, err := db.Exec(b.Context(), sql)
		require.NoError(b, err)
	}
	r := commit.NewReader(db)
	for name, id := range map[string]func(int) int{"plain": func(n int) int { return n%990 + 1 }, "refunded": func(n int) int { return n%90*1000 + 999 }} {
		b.Run(name, func(b *testing.B) {
			var alone, whole time.Duration
			for n := 0; b.Loop(); n++ { // in turn, so that noise meets both
				began := time.Now()
				p, err := r.Payment(b.Context(), 1, pay.ID(id(n)))
				alone += time.Since(began)
				require.NoError(b, err)
				began = time.Now()
				all, err := r.Whole(b.Context(), []int64{int64(id(n))})
				whole += time.Since(began)
				require.NoError(b, err)
				require.Equal(b, []pay.Payment{p}, all)
			}
			b.ReportMetric(float64(alone)/float64(whole), "of-the-whole")
		})
	}
}
