package torture

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestBurst: payouts come at ten times their usual pace through a bank that can take
// less than a third of them. Every one is taken at its first try, waits, and is carried
// out once.
func TestBurst(t *testing.T) {
	together(t)
	w := newWorld(t)
	// At 256 calls under way, which is what the channel allows: some 170 a second.
	w.behave("ab", `{"magic_amounts": false, "latency": {"probability": 1, "min_ms": 1500, "max_ms": 1500}}`)
	payouts := func(name string, clients int) *load {
		l := newLoad(t, w, name, 24, clients, 100*time.Millisecond)
		l.attempt = time.Minute // a busy machine is no refusal
		l.choose = func(client, n int) order {
			return order{
				Kind: "payout", From: l.accounts[(client+n)%len(l.accounts)], Channel: "bank-ab",
				Payee: &payee{fmt.Sprint(100_000 + client)}, Amount: fmt.Sprint(100 + n%900),
			}
		}
		return l
	}
	usual, burst := payouts("usual", 6), payouts("burst", 60)
	usual.run()
	usual.awaitAcks(t, 60, time.Minute)
	began := time.Now()
	burst.run()
	during(t.Context(), choose(3*time.Second, time.Minute))
	answered := burst.stop()
	took := time.Since(began)
	var waiting int
	w.query(&waiting, `select count(*) from open_payments where hop = 'dispatch'`)
	all := usual.stop()
	times := make([]time.Duration, 0, len(answered))
	for _, r := range answered {
		times = append(times, r.took)
	}
	figure(t, "burst", "%.0f payouts a second beside the usual; half answered within %s, 99 of 100 within %s; %d wait for the bank at its end",
		float64(len(answered))/took.Seconds(), percentile(times, 50).Round(time.Millisecond), percentile(times, 99).Round(time.Millisecond), waiting)
	for _, l := range []*load{usual, burst} {
		for answer, n := range l.answers {
			require.Contains(t, answer, fmt.Sprint(http.StatusCreated), "%d times: a payout was not taken at its first try", n)
		}
	}
	require.Positive(t, waiting, "the bank kept up: it was no burst")
	usual.accounts = append(usual.accounts, burst.accounts...)
	v := prove(t, w, usual, append(all, answered...))
	require.Equal(t, len(all)+len(answered), v.Acknowledged)
}
