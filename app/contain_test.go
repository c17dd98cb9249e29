package app

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/lever"
	"github.com/moneta-pay/moneta/lever/board"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/intake"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// stage is an intake before a real decider, with levers between.
type stage struct {
	t     *testing.T
	in    *intake.Intake
	node  *commit.Node
	board *board.Board
	house string
	user  string
}

func newStage(t *testing.T) *stage {
	t.Helper()
	pool := pgtest.Database(t)
	ctx, cancel := context.WithCancel(context.Background())
	node := commit.New(commit.Config{DSN: pool.Config().ConnString(), Reads: pool, Logger: slog.New(slog.DiscardHandler)})
	done := make(chan error, 1)
	go func() { done <- node.Run(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-done) })
	require.Eventually(t, node.Leading, 30*time.Second, 2*time.Millisecond)
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{Service: "test"})
	require.NoError(t, err)
	b := board.New(board.Config{Pool: pool, Telemetry: tel})
	require.NoError(t, b.Load(t.Context()))
	in, err := intake.New(intake.Config{
		Submitter: contained{node, b}, Accounts: ledger.NewReader(pool), Originals: commit.NewReader(pool), Channels: []string{"bank-ab", "bank-cd"},
	})
	require.NoError(t, err)
	s := &stage{t: t, in: in, node: node, board: b}
	s.house, s.user = s.open("house"), s.open("user")
	return s
}

func (s *stage) open(kind string) string {
	s.t.Helper()
	res, err := s.in.OpenAccount(s.t.Context(), &intake.OpenRequest{Tenant: 1, Key: rand16(), Asset: "CZK", Kind: kind, House: true})
	require.NoError(s.t, err)
	return pay.AccountID(res.Account.ID).String()
}

func (s *stage) pull(name lever.Name, aim, value string) lever.Pull {
	s.t.Helper()
	a, err := lever.ParseAim(aim)
	require.NoError(s.t, err)
	p, err := s.board.Pull(s.t.Context(), lever.Pull{
		Lever: name, Aim: a, Value: value, Owner: "ann", Reason: "bank-ab is slow", By: "operator ann", Expires: time.Now().Add(10 * time.Minute),
	})
	require.NoError(s.t, err)
	return p
}

func (s *stage) undo(p lever.Pull) {
	s.t.Helper()
	_, err := s.board.Undo(s.t.Context(), p.ID, "operator ann", "over")
	require.NoError(s.t, err)
}

func (s *stage) request(kind, channel, key string) *intake.Request {
	r := &intake.Request{Tenant: 1, Key: key, Kind: kind, From: s.house, Amount: "1", Asset: "CZK", Channel: channel, House: true}
	if channel == "" {
		r.To = s.user
	} else {
		r.PayeeAccount = "1"
	}
	return r
}

func (s *stage) accept(kind, channel, key string) (commit.Result, error) {
	return s.in.Accept(s.t.Context(), s.request(kind, channel, key))
}

func TestAPausedIntakeRefusesNewPaymentsAndAnswersKnownKeys(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	known, err := s.accept("payout", "bank-ab", "known")
	require.NoError(t, err)
	for aim, passes := range map[string]map[string]bool{
		"everything":      {},
		"kind:payout":     {"send": true},
		"channel:bank-ab": {"send": true, "other": true},
	} {
		p := s.pull(lever.PauseIntake, aim, "")
		for name, try := range map[string][2]string{"send": {"send", ""}, "payout": {"payout", "bank-ab"}, "other": {"payout", "bank-cd"}} {
			_, err := s.accept(try[0], try[1], aim+name)
			if passes[name] {
				require.NoError(t, err, "%s %s", aim, name)
				continue
			}
			require.ErrorIs(t, err, fault.IntakePaused, "%s %s", aim, name)
			require.Equal(t, fault.NotMoved, fault.MoneyStateOf(err))
			require.InDelta(t, 600, fault.RetryAfterOf(err).Seconds(), 60, "until when")
			require.ErrorContains(t, err, "bank-ab is slow", "why")
		}
		again, err := s.accept("payout", "bank-ab", "known")
		require.NoError(t, err, "a key that is known is answered")
		require.True(t, again.Replayed)
		require.Equal(t, known.Payment.ID, again.Payment.ID)
		other := s.request("payout", "bank-ab", "known")
		other.Amount = "2"
		_, err = s.in.Accept(t.Context(), other)
		require.ErrorIs(t, err, fault.IdempotencyKeyReused, "and judged")
		s.undo(p)
	}
	_, err = s.accept("payout", "bank-ab", "kind:payoutpayout")
	require.NoError(t, err, "a refused key is not used up")
}

func TestABatchIsRefusedPaymentByPayment(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	_, err := s.accept("payout", "bank-ab", "known")
	require.NoError(t, err)
	s.pull(lever.PauseIntake, "channel:bank-ab", "")
	out := s.in.AcceptAll(t.Context(), []intake.Request{
		*s.request("payout", "bank-ab", "new"), *s.request("send", "", "s"), *s.request("payout", "bank-ab", "known"), *s.request("payout", "bank-cd", "cd"),
	})
	require.ErrorIs(t, out[0].Err, fault.IntakePaused)
	require.NoError(t, out[1].Err)
	require.NoError(t, out[2].Err)
	require.True(t, out[2].Replayed)
	require.NoError(t, out[3].Err)
	require.Equal(t, "bank-cd", out[3].Payment.Channel)
}

// Read-only refuses every wish of callers, and neither a freeze nor what the channels
// say: those facts do not come this way, and no lever stands in theirs.
func TestReadOnlyRefusesWishesAndNoFacts(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	payout, err := s.accept("payout", "bank-ab", "p")
	require.NoError(t, err)
	p := s.pull(lever.ReadOnly, "everything", "")
	_, err = s.accept("send", "", "s")
	require.ErrorIs(t, err, fault.ReadOnly)
	_, err = s.in.Cancel(t.Context(), payout.Payment.ID, "changed my mind")
	require.ErrorIs(t, err, fault.ReadOnly)
	_, err = s.in.OpenAccount(t.Context(), &intake.OpenRequest{Tenant: 1, Key: "new", Asset: "CZK"})
	require.ErrorIs(t, err, fault.ReadOnly)
	user, err := intake.ParseAccount(s.user)
	require.NoError(t, err)
	_, err = s.in.Freeze(t.Context(), 1, user, intake.Freeze{Debits: true, Reason: "r", By: "ann"}, pay.Key{})
	require.NoError(t, err, "a freeze contains")
	_, err = s.in.Freeze(t.Context(), 1, user, intake.Freeze{Reason: "r", By: "ann"}, pay.Key{})
	require.ErrorIs(t, err, fault.ReadOnly, "a thaw does not")

	// The attempt that was out, and the channel's word about it.
	sendBy := time.Now().Add(10 * time.Second).Truncate(time.Microsecond)
	for _, f := range []*pay.Fact{
		{Kind: pay.Intend, Payment: payout.Payment.ID, At: time.Now(), Attempt: 1, SendBy: sendBy, NextAt: sendBy, Source: "dispatch"},
		{Kind: pay.Confirm, Payment: payout.Payment.ID, At: time.Now(), Attempt: 1, Amount: payout.Payment.Amount, Asset: "CZK", Source: "callback"},
	} {
		_, err = s.node.Submit(t.Context(), commit.Fact{Payment: f})
		require.NoError(t, err)
	}
	s.undo(p)
	final, err := s.accept("payout", "bank-ab", "p")
	require.NoError(t, err)
	require.Equal(t, pay.Succeeded, final.Payment.State, "what was out was settled meanwhile")
}

func TestSafeModeLetsRepairsThrough(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	shut := s.pull(lever.SafeMode, "everything", "")
	_, err := s.accept("send", "", "a")
	require.ErrorIs(t, err, fault.IntakePaused)
	s.open("user")
	s.undo(shut)
	s.pull(lever.SafeMode, "everything", "intake=open")
	_, err = s.accept("send", "", "b")
	require.NoError(t, err)
	p := &plane{levers: s.board}
	require.True(t, p.contain("bank-ab").Stopped, "nothing goes out in either")
}

// What a request pays for the levers while nothing is pulled: one atomic load.
func BenchmarkNothingPulled(b *testing.B) {
	tel, err := telemetry.Setup(b.Context(), telemetry.Config{Service: "test"})
	require.NoError(b, err)
	c := contained{board: board.New(board.Config{Telemetry: tel})}
	b.ReportAllocs()
	for b.Loop() {
		if !c.board.Standing().Empty() {
			b.Fatal("nothing is pulled")
		}
	}
}
