package invariant_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// BenchmarkTurn checks pages of 5,000 transfers and 5,000 transitions, at the head
// and by the sweep, of sends between 200 users. Postgres does nearly all the work.
func BenchmarkTurn(b *testing.B) {
	w := bareWorld(b)
	w.lead(func() {
		house := w.open("cash", ledger.House)
		var users []pay.AccountID
		for i := range 200 {
			users = append(users, w.open(fmt.Sprint("user ", i), ledger.User))
			w.accept(pay.Send, house, users[i], 1_000_000, fmt.Sprint("in ", i), nil)
		}
		var wg sync.WaitGroup
		for g := range 50 {
			wg.Go(func() {
				for i := range 240 {
					p := pay.Payment{Tenant: 1, Kind: pay.Send, Asset: "CZK", Amount: money.Int(1), From: users[(g*4+i)%200], To: users[(g*4+i+1)%200], Key: key(fmt.Sprint(g, " ", i))}
					_, err := w.n.Submit(b.Context(), commit.Fact{Payment: &pay.Fact{Kind: pay.Accept, New: &p, Fingerprint: pay.Fingerprint(p.Key)}})
					if err != nil {
						b.Error(err)
					}
				}
			})
		}
		wg.Wait()
	})
	_, err := w.db.Exec(b.Context(), `analyze`)
	require.NoError(b, err)
	for b.Loop() {
		found, err := w.checker(5000).Turn(b.Context())
		require.NoError(b, err)
		require.Empty(b, found)
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/20_000, "µs/row")
}
