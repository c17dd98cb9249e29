package settle_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/settle"
)

// A leader writes down what it plays by, once it can, and what another had is gone.
func TestALeaderTellsItsContracts(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	_, err := r.pool.Exec(t.Context(), `insert into channel_contracts values ('bank-gone', 'a/1', '1 s', now()), ('bank-ab', 'a/1', null, now())`)
	require.NoError(t, err)
	r.lead()
	told := func(sql string) func() bool {
		return func() bool { return r.number(`select count(*) from facts.channels where `+sql) == 1 }
	}
	// A send window of 300 ms, a call of 700 ms, and 300 ms until an order is visible.
	r.eventually("its own is told", told(`channel = 'bank-ab' and adapter like 'sandbox/%' and abs(not_found_after_s - 1.3) < 0.001`))
	require.Zero(t, r.number(`select count(*) from facts.channels where channel <> 'bank-ab'`))

	caps := quick()
	caps.NotFoundMeansNever = false
	asker := settle.NewAsker(settle.AskerConfig{Submitter: r.node, Channels: []channel.Channel{claims{caps: caps}}, Pool: r.pool, Telemetry: r.telemetry})
	ctx, stop := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { _ = asker.Run(ctx) })
	r.eventually("a not-found that proves nothing has no time", told(`channel = 'bank-cd' and not_found_after_s is null`))
	stop()
	run.Wait()
}

// claims is a channel of which only the contract is asked.
type claims struct {
	channel.Channel
	caps channel.Capabilities
}

func (claims) Name() channel.Name                   { return "bank-cd" }
func (c claims) Capabilities() channel.Capabilities { return c.caps }
