package dispatch

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
)

// Whatever a channel says about a payment on the wire, the fact is legal on the
// table, names a next step while the payment stays open, and concludes that
// nothing happened only from a clear word.
func TestEveryWordIsALegalFact(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)
	rapid.Check(t, func(rt *rapid.T) {
		p := pay.Payment{
			ID: 7, Kind: pay.Payout, Asset: "CZK", Amount: money.Int(100), State: pay.Dispatching, Channel: "bank-ab",
			Attempt: pay.Attempt{N: int16(rapid.IntRange(1, 14).Draw(rt, "attempt")), State: pay.Intended, SendBy: now.Add(time.Second)},
		}
		w := channel.Word{
			Verdict: channel.Verdict(rapid.IntRange(0, 7).Draw(rt, "verdict")), Amount: p.Amount, Asset: p.Asset,
			Reason: rapid.SampledFrom([]string{"", channel.ReasonTimeout, channel.ReasonNotConnected, channel.ReasonBadOrder}).Draw(rt, "reason"),
		}
		f := factOf(channel.Capabilities{}, &p, w, now)
		c, err := pay.Next(p, f)
		require.NoError(rt, err)
		require.False(rt, c.NoOp())
		if c.After.Open() {
			require.True(rt, c.After.NextAt.After(now))
		}
		clear := w.Verdict == channel.Declined || w.Verdict == channel.NeverSent
		require.Equal(rt, clear, c.To == pay.Failed || c.To == pay.Reserved, "%s became %s", w.Verdict, c.To)
		require.Equal(rt, w.Verdict == channel.Confirmed, c.To == pay.Succeeded)
	})
}

func TestAgainGrowsAndIsBounded(t *testing.T) {
	t.Parallel()
	require.Equal(t, againFirst, again(1))
	require.Equal(t, 2*againFirst, again(2))
	for n := int16(1); n < 1000; n++ {
		require.LessOrEqual(t, again(n), againMax)
		require.GreaterOrEqual(t, again(n+1), again(n))
	}
}
