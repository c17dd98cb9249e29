package settle_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	rail "github.com/moneta-pay/moneta/pay/channel/sandbox"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/timer"
)

// BenchmarkLifeCycle takes payouts from accept to the channel's final word,
// through real HTTP both ways, with bank and database on the same machine. The
// figure is payouts from the first accept to the last final state; run with
// -benchtime=20000x.
func BenchmarkLifeCycle(b *testing.B) {
	r := buildWatching(b, rail.DefaultCapabilities(), timer.DefaultWatchEvery)
	r.door()
	r.lead()
	b.ResetTimer()
	started := time.Now()
	const batch = 200
	for from := 0; from < b.N; from += batch {
		facts := make([]commit.Fact, 0, batch)
		for i := from; i < min(from+batch, b.N); i++ {
			facts = append(facts, r.payout(i, 100))
		}
		r.submit(facts...)
	}
	accepted := time.Since(started)
	require.Eventually(b, func() bool { return r.number(`select count(*) from open_payments`) == 0 }, 5*time.Minute, 20*time.Millisecond)
	took := time.Since(started)
	b.StopTimer()
	b.ReportMetric(float64(b.N)/took.Seconds(), "lifecycles/s")
	b.ReportMetric(float64(b.N)/accepted.Seconds(), "accepts/s")
	b.ReportMetric(float64(r.number(`select count(*) from inbox where applied_at is null`)), "unapplied")
	b.ReportMetric(float64(r.wheel.Snapshot().UnexplainedMax.Milliseconds()), "unexplained_max_ms")
	started = time.Now()
	require.NoError(b, r.recon.Run(b.Context()))
	b.ReportMetric(float64(b.N)/time.Since(started).Seconds(), "recon_lines/s")
}

// BenchmarkReceive is how fast callbacks become durable, from 64 senders.
func BenchmarkReceive(b *testing.B) {
	r := build(b, quick())
	r.lead()
	deposit := r.submit(r.deposit(1, 900))[0]
	header, body := r.captureRaw(pay.Reference(deposit.ID, 0), 900)
	r.door()
	b.SetParallelism(32)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := r.inbox.Receive(b.Context(), channel.Name("bank-ab"), header, body); err != nil {
				b.Error(err)
			}
		}
	})
}
