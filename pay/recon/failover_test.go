package recon_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	rail "github.com/moneta-pay/moneta/pay/channel/sandbox"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/ledger"
	"github.com/moneta-pay/moneta/pay/recon"
	"github.com/moneta-pay/moneta/sandbox"
)

// site is a node with its gate and gap finder at one database server.
type site struct {
	*world
	gate *recon.Gate
	stop func()
}

// at starts one there; the bank stays the same.
func at(t *testing.T, dsn, bank string) *site {
	t.Helper()
	s := &site{world: &world{t: t, bank: bank}}
	var err error
	s.pool, err = pgxpool.New(context.Background(), dsn)
	require.NoError(t, err)
	tel, err := telemetry.Setup(context.Background(), telemetry.Config{LogOutput: io.Discard})
	require.NoError(t, err)
	caps := rail.DefaultCapabilities()
	caps.ClientTimeout, caps.VisibilityDelay, caps.SendWindow = 200*time.Millisecond, 100*time.Millisecond, 100*time.Millisecond
	ch, err := rail.New(rail.Config{BaseURL: bank, Bank: "ab", Secrets: []string{"s"}, Capabilities: caps})
	require.NoError(t, err)
	s.gate = recon.NewGate(s.pool, tel)
	s.node = commit.New(commit.Config{DSN: dsn})
	s.recon = recon.New(recon.Config{
		Pool: s.pool, Submitter: s.node, Channels: []channel.Channel{ch}, Gate: s.gate, Telemetry: tel, Terms: nil, PageMax: 100,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.node.Run(ctx) }()
	stopped := false
	s.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			<-done
			s.pool.Close()
			ch.Close()
		}
	}
	t.Cleanup(s.stop)
	require.Eventually(t, s.node.Leading, patience, 2*time.Millisecond)
	require.NoError(t, s.gate.Load(t.Context()))
	return s
}

// failedOver is a ledger whose standby has become the primary. The bank knows the
// payouts that the standby lacks, and an attempt of one that it has.
func failedOver(t *testing.T, lost int) (there *site, waiting pay.Payment) {
	t.Helper()
	server, err := sandbox.New(sandbox.Config{Banks: []string{"AB"}, Secret: "s"})
	require.NoError(t, err)
	front := httptest.NewServer(server.Handler())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
		require.NoError(t, server.Close())
		front.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	primary := pgtest.Cluster(t)
	here := at(t, primary.DSN("moneta"), front.URL)
	here.house, here.user = here.account("house", ledger.House), here.account("user", ledger.User)
	for i := range 3 {
		here.booked(pay.Reference(here.payout(fmt.Sprint("kept ", i), 10).ID, 1))
	}
	here.run()
	waiting = here.accepted("waits", 40)
	in := here.deposit("in", 30)
	here.fact(pay.Fact{Kind: pay.Confirm, Payment: in.ID, Amount: in.Amount, Asset: in.Asset})
	back := &pay.Payment{
		Tenant: 1, Kind: pay.Refund, Asset: "CZK", Amount: money.Int(10), From: in.To, Original: in.ID, Channel: "bank-ab", Key: key("back"),
	}
	here.fact(pay.Fact{Kind: pay.Accept, New: back, Fingerprint: pay.Fingerprint(back.Key)})
	require.False(t, here.gate.Hold(&waiting))
	standby := pgtest.Standby(t, primary)
	replica, err := pgxpool.New(t.Context(), standby.DSN("moneta"))
	require.NoError(t, err)
	defer replica.Close()
	require.Eventually(t, func() bool {
		var n int
		return replica.QueryRow(t.Context(), `select count(*) from payments`).Scan(&n) == nil && n == 6
	}, patience, 5*time.Millisecond)
	standby.Detach()
	if lost > 0 {
		here.send(waiting, 40)
		here.booked(pay.Reference(waiting.ID, 1))
	}
	for i := range lost {
		here.booked(pay.Reference(here.payout(fmt.Sprint("lost ", i), 20).ID, 1))
	}
	standby.Promote()
	here.stop() // what it still does is done to the old history
	there = at(t, standby.DSN("moneta"), front.URL)
	there.house = here.house
	return there, waiting
}

func (s *site) cleanWithin(clean func(recon.DispatchState) bool) (state recon.DispatchState) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		_ = s.recon.Run(s.t.Context()) // it waits until a not-found counts
		var err error
		state, err = s.gate.State(s.t.Context())
		require.NoError(s.t, err)
		return clean(state)
	}, patience, 50*time.Millisecond)
	return state
}

// TestTheGapFinderKnowsWhatAFailoverLost: the bank executed payouts that the new
// primary has never heard of. Dispatch stays paused, each of them is an open gap,
// and the one whose attempt was lost is not sent again.
func TestTheGapFinderKnowsWhatAFailoverLost(t *testing.T) {
	t.Parallel()
	s, waiting := failedOver(t, 2)
	require.True(t, s.gate.Hold(&waiting))
	state := s.cleanWithin(func(d recon.DispatchState) bool { return d.OpenGaps == 2 && d.ClosedGaps == 1 })
	require.True(t, state.Paused, "gaps are open, and nobody has said that it may go on")
	require.Contains(t, state.Reason, "failed over")
	var to pay.State
	require.NoError(t, s.pool.QueryRow(t.Context(), `select to_state from transitions where payment = $1 order by seq desc limit 1`, int64(waiting.ID)).Scan(&to))
	require.Equal(t, pay.Succeeded, to, "its attempt was taken over from the bank's word")
	fresh := s.accepted("fresh", 5)
	require.True(t, s.gate.Hold(&fresh))
	_, err := s.gate.Resume(t.Context(), "ann", "the two are known")
	require.NoError(t, err)
	require.False(t, s.gate.Hold(&fresh))
}

// TestACleanFailoverResumesByItself: nothing was lost, and the gap finder says so.
func TestACleanFailoverResumesByItself(t *testing.T) {
	t.Parallel()
	s, waiting := failedOver(t, 0)
	require.True(t, s.gate.Hold(&waiting))
	state := s.cleanWithin(func(d recon.DispatchState) bool { return !d.Paused })
	require.Equal(t, "gap finder", state.ResumedBy)
	require.Zero(t, state.OpenGaps+state.ClosedGaps)
	require.False(t, s.gate.Hold(&waiting), "the channel was asked behind it")
	refund := pay.Payment{Kind: pay.Refund, State: pay.Reserved}
	require.NoError(t, s.pool.QueryRow(t.Context(), `select payment from open_payments where kind = $1`, int16(pay.Refund)).Scan(&refund.ID))
	require.False(t, s.gate.Hold(&refund), "a refund waits no longer than a payout")
}
