package timer

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/pay"
)

func TestWhatCouldBeAttempted(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000, 0)
	payout := func(change func(*pay.Payment)) *pay.Payment {
		p := &pay.Payment{Kind: pay.Payout, State: pay.Reserved, Channel: "bank-ab", EnteredAt: now.Add(-3 * time.Second), NextAt: now.Add(time.Hour)}
		change(p)
		return p
	}
	for name, c := range map[string]struct {
		p    *pay.Payment
		want bool
	}{
		"waits for dispatch alone": {payout(func(*pay.Payment) {}), true},
		"only just came":           {payout(func(p *pay.Payment) { p.EnteredAt = now }), false},
		"is on the wire":           {payout(func(p *pay.Payment) { p.State = pay.Dispatching }), false},
		"waits for its next try":   {payout(func(p *pay.Payment) { p.Attempt.N = 1 }), false},
		"is due for its next try":  {payout(func(p *pay.Payment) { p.Attempt.N, p.NextAt = 1, now.Add(-3*time.Second) }), true},
		"is a hold":                {payout(func(p *pay.Payment) { p.Kind = pay.Hold }), false},
		"touches no channel":       {payout(func(p *pay.Payment) { p.Channel = "" }), false},
	} {
		require.Equal(t, c.want, attemptable(c.p, now), name)
	}
}
