package dispatch_test

import (
	"io"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/channel/probe"
	rail "github.com/moneta-pay/moneta/pay/channel/sandbox"
	"github.com/moneta-pay/moneta/pay/dispatch"
)

func TestOnlyAProofOfNowCounts(t *testing.T) {
	t.Parallel()
	pool, err := pgxpool.New(t.Context(), pgtest.DSN(t))
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{LogOutput: io.Discard})
	require.NoError(t, err)
	ch, err := rail.New(rail.Config{BaseURL: "http://127.0.0.1:1", Bank: "ab", Secrets: []string{"s"}})
	require.NoError(t, err)
	caps := ch.Capabilities()
	now := clock.NewManual(time.Now())
	proofs := dispatch.NewProofs(pool, []channel.Channel{ch}, now, tel)
	require.False(t, proofs.Dedup("bank-ab"), "nothing is read yet")

	record := func(status probe.Status, spoil func(*probe.Report)) {
		t.Helper()
		r := probe.Report{
			Channel: "bank-ab", Adapter: caps.Adapter, Contract: probe.Contract(caps), Run: "r", StartedAt: now.Now(),
			Findings: []probe.Finding{{Capability: probe.Dedup, Status: status}, {Capability: probe.Query, Status: probe.Proven}},
		}
		if spoil != nil {
			spoil(&r)
		}
		require.NoError(t, dispatch.Record(t.Context(), pool, r, "http://test", time.Hour))
		require.NoError(t, proofs.Load(t.Context()))
	}
	require.NoError(t, proofs.Load(t.Context()))
	require.False(t, proofs.Dedup("bank-ab"), "a claim is no proof")
	record(probe.NotShown, nil)
	require.False(t, proofs.Dedup("bank-ab"))
	record(probe.Proven, nil)
	require.True(t, proofs.Dedup("bank-ab"))
	require.False(t, proofs.Dedup("bank-cd"), "of another channel")

	record(probe.Proven, func(r *probe.Report) { r.Adapter = "sandbox/1" })
	require.False(t, proofs.Dedup("bank-ab"), "of another version of the adapter")
	record(probe.Proven, func(r *probe.Report) { r.Contract = "0123" })
	require.False(t, proofs.Dedup("bank-ab"), "of another contract")
	record(probe.Proven, nil)
	record(probe.Failed, nil)
	require.False(t, proofs.Dedup("bank-ab"), "a failure takes the proof back")

	record(probe.Proven, nil)
	now.Advance(2 * time.Minute)
	require.False(t, proofs.Dedup("bank-ab"), "what was read long ago may have been taken back")
	require.NoError(t, proofs.Load(t.Context()))
	require.True(t, proofs.Dedup("bank-ab"))
	now.Advance(time.Hour)
	require.NoError(t, proofs.Load(t.Context()))
	require.False(t, proofs.Dedup("bank-ab"), "it has expired")
}
