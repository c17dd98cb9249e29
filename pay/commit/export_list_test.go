package commit

import (
	"time"

	"github.com/moneta-pay/moneta/pay"
)

// Plan is a statement with arguments, for EXPLAIN.
type Plan struct {
	SQL  string
	Args []any
}

// ListPlans are the statements behind lists of payments.
func ListPlans(dawn time.Time) map[string]Plan {
	args := func(states ...pay.State) []any {
		var codes []int16
		for _, s := range states {
			codes = append(codes, int16(s))
		}
		return []any{int64(1 << 60), int64(0), stateWindow, int32(1), int16(0), "", int64(0), codes, dawn, farAway, 101}
	}
	return map[string]Plan{
		"open":    {listOpen, args(pay.Processing)},
		"unhappy": {listUnhappy, args(pay.Failed)},
		"any":     {listAny, args(pay.Succeeded)},
		"range":   {listSince, []any{int64(50_000), int64(0), int32(1), int16(2), "", int64(0), dawn, farAway, 101}},
		"seek":    {seekPayment, []any{dawn}},
	}
}
