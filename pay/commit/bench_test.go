package commit_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

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
