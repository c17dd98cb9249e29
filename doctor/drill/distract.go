package drill

import (
	"context"
	"math/rand/v2"
	"time"
)

// distract does what happens beside every fault and is none: somebody's dashboard asks
// the database unsteady, harmless questions, and a partner's program is slow.
func distract(ctx context.Context, s *Scene) (func(context.Context) error, error) {
	noisy, err := s.session(ctx, "dashboard")
	if err != nil {
		return nil, err
	}
	dice := rand.New(rand.NewPCG(s.Dice.Uint64(), 11)) //nolint:gosec // dice, not secrets
	noise := forever(func(ctx context.Context) error {
		if _, err := noisy.Exec(ctx, `select md5(string_agg(n::text, ',' order by random())) from generate_series(1, $1::int) n`, 500+dice.IntN(4000)); err != nil {
			<-ctx.Done()
			return err
		}
		return pause(ctx, time.Duration(200+dice.IntN(1200))*time.Millisecond)
	})
	slow := *s.Load.client
	slow.key = s.World.Other
	slowly := func(context.Context) error { return nil }
	if slow.key != "" {
		slowly = forever(func(ctx context.Context) error {
			_ = slow.call(ctx, "GET", s.World.API+"/v1/payments?limit=20", nil, nil, nil) // what it is told does not matter
			return pause(ctx, 1500*time.Millisecond)
		})
	}
	return both(noise, slowly, drop(noisy)), nil
}
