package settle_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	rail "github.com/moneta-pay/moneta/pay/channel/sandbox"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/dispatch"
	"github.com/moneta-pay/moneta/pay/recon"
	"github.com/moneta-pay/moneta/pay/settle"
	"github.com/moneta-pay/moneta/sandbox"
)

// Every fate that the bank knows, at once: nothing is lost, doubled or guessed.
func TestEveryFateEndsInTheTruth(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	r.door()
	r.lead()
	want := map[int64]pay.State{
		1_000_000_001: pay.Failed, 1_000_000_002: pay.Failed, 1_000_000_003: pay.Failed,
		1_000_000_005: pay.Failed, 1_000_000_007: pay.Failed,
	}
	var facts []commit.Fact
	for i, m := range sandbox.MagicAmounts() {
		if m.Lie || m.Amount == 1_000_000_020 {
			continue // what no word of the bank can end rightly; money that comes back
		}
		facts = append(facts, r.payout(i, m.Amount))
	}
	for i := range 20 {
		facts = append(facts, r.payout(100+i, int64(100+i)), r.deposit(i, int64(500+i)))
	}
	payments := r.submit(facts...)
	for _, p := range payments {
		if p.Kind == pay.Deposit {
			n, _ := p.Amount.Int64()
			r.instruct(pay.Reference(p.ID, 0), n)
		}
	}
	r.untilFinal()
	for _, p := range payments {
		state, _ := r.state(p.ID)
		n, _ := p.Amount.Int64()
		expected, special := want[n]
		if !special {
			expected = pay.Succeeded
		}
		require.Equal(t, expected, state, "amount %d", n)
	}
	r.proof()
	r.checkCallbacks()
	r.checkRecon()
	require.Empty(t, r.wheel.Snapshot().Orphans)
}

func (r *road) checkCallbacks() {
	r.t.Helper()
	r.eventually("callbacks are applied", func() bool { return r.number(`select count(*) from inbox where applied_at is null`) == 0 })
	require.Equal(r.t, int64(1), r.number(`select count(*) from inbox where verdict = 'forged'`))
	require.Equal(r.t, int64(1), r.number(`select count(*) from inbox where verdict = 'duplicate'`))
	require.Equal(r.t, int64(1), r.number(`select value from marks where name = 'duplicate_callbacks'`))
	require.Zero(r.t, r.number(`select count(*) from inbox where verdict not in ('applied', 'duplicate', 'forged')`))
}

// checkRecon: what matches settles to zero, what the statement got wrong is a
// break with its payment, and a second run changes nothing.
func (r *road) checkRecon() {
	r.t.Helper()
	require.NoError(r.t, r.recon.Run(r.t.Context()))
	require.NoError(r.t, r.recon.Run(r.t.Context()))
	breaks, _, err := r.recon.Breaks(r.t.Context(), recon.BreakFilter{State: "all"})
	require.NoError(r.t, err)
	found := map[string]int64{}
	for _, b := range breaks {
		n, _ := b.Amount.Int64()
		found[b.Class] += n
		require.NotEmpty(r.t, b.Payment)
		require.Equal(r.t, b.Class == "duplicate_line", b.ClosedAt != nil, b.Class)
	}
	require.Equal(r.t, map[string]int64{
		"missing_in_statement": 1_000_000_015, "duplicate_line": 1_000_000_016, "amount_mismatch": 1_000_000_018,
	}, found, "breaks %+v", breaks)
	report, err := r.recon.Report(r.t.Context())
	require.NoError(r.t, err)
	require.Len(r.t, report.Channels, 1)
	a := report.Channels[0].Assets[0]
	require.Equal(r.t, money.Int(0), a.ClearingIn)
	// Open in clearing: the payment that the statement omits, and the one whose
	// amount it has wrong; the bank's total tells of the latter only.
	require.Equal(r.t, money.Int(1_000_000_015+1_000_000_017), a.ClearingOut)
	require.Equal(r.t, money.Int(-1_000_000_018), a.Difference)
}

// A process dies between the intent and the channel's word: whoever leads next
// asks, and never sends that attempt again.
func TestCrashAfterTheIntentIsAsked(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	r.lead()
	// The dead process sent the first and not the second.
	payments := r.submitQuietly(2)
	for i, p := range payments {
		intend := commit.Fact{Payment: &pay.Fact{Kind: pay.Intend, Payment: p.ID, Attempt: 1, SendBy: time.Now().Add(200 * time.Millisecond)}}
		_, err := r.node.Submit(t.Context(), intend)
		require.NoError(t, err)
		if i == 0 {
			r.call(http.MethodPost, "/banks/ab/payments", `{"reference":"`+pay.Reference(p.ID, 1)+`","amount":"700","asset":"CZK","account":"123456"}`, nil)
		}
	}
	r.deaf.Store(false)
	r.untilFinal()
	first, attempts := r.state(payments[0].ID)
	require.Equal(t, pay.Succeeded, first)
	require.Equal(t, int16(1), attempts)
	second, attempts := r.state(payments[1].ID)
	require.Equal(t, pay.Succeeded, second)
	require.Equal(t, int16(2), attempts, "proven absent, then sent under a new reference")
	r.proof()
}

// submitQuietly accepts payouts that dispatch does not hear of.
func (r *road) submitQuietly(n int) []pay.Payment {
	facts := make([]commit.Fact, n)
	for i := range facts {
		facts[i] = r.payout(i, 700)
	}
	r.deaf.Store(true)
	return r.submit(facts...)
}

// A callback is acknowledged only when it is stored, and one that nobody could
// apply is applied by whoever leads later.
func TestCallbacksOutliveTheProcessThatTookThem(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	r.lead()
	deposit := r.submit(r.deposit(1, 900))[0]
	header, body := r.capture(pay.Reference(deposit.ID, 0), 900)
	_, err := r.pool.Exec(t.Context(), `insert into inbox (channel, headers, body, received_at) values ('bank-ab', $1, $2, now())`, header, body)
	require.NoError(t, err)
	r.untilFinal()
	state, _ := r.state(deposit.ID)
	require.Equal(t, pay.Succeeded, state)
	require.Eventually(t, func() bool {
		return r.number(`select count(*) from inbox where verdict = 'applied'`) == 1
	}, 20*time.Second, 5*time.Millisecond, "it is marked right after it is applied")
}

// Money that comes for a payment that nobody knows is parked, tried again, and
// at last a break: never forgotten.
func TestUnknownReferenceIsParkedThenABreak(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	r.door()
	r.lead()
	r.instruct(pay.Reference(99_999, 0), 55)
	r.instruct("FOR-UNCLE-BOB", 66)
	r.eventually("two breaks", func() bool {
		return r.number(`select count(*) from breaks where class = 'unknown_reference' and closed_at is null`) == 2
	})
	require.Equal(t, int64(2), r.number(`select count(*) from inbox where applied_at is not null and verdict = 'unknown_reference'`))
	require.NoError(t, r.recon.Run(t.Context()))
	require.Equal(t, int64(1), r.number(`select count(*) from breaks where class = 'unmatched_inbound'`))
	require.Equal(t, int64(2), r.number(`select count(*) from breaks where closed_at is null`), "one movement, one open break")
	require.Equal(t, int64(1), r.number(`select count(*) from breaks where class = 'unknown_reference' and closed_at is null and line <> ''`))
}

// A word for somebody else's payment, or of the wrong direction, moves nothing:
// anybody may quote any reference when sending money.
func TestAStrangersWordConfirmsNothing(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	r.door()
	r.lead()
	r.behave(`{"execute_delay":{"probability":1,"min_ms":3600000,"max_ms":3600000}}`)
	p := r.submit(r.payout(1, 4321))[0]
	r.eventually("the bank has it", func() bool { state, _ := r.state(p.ID); return state == pay.Processing })
	r.behave(`{"execute_delay":{"probability":0,"min_ms":0,"max_ms":0}}`)
	r.instruct(pay.Reference(p.ID, 0), 4321)
	r.eventually("the word is judged", func() bool { return r.number(`select count(*) from breaks where class = 'unknown_reference'`) == 1 })
	state, _ := r.state(p.ID)
	require.Equal(t, pay.Processing, state)
}

// The bank says the opposite of what is final: nothing flips, a break is opened.
func TestAContradictionIsABreakAndFlipsNothing(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	r.lead()
	p := r.submit(r.payout(1, 1_000_000_009))[0] // its callback is lost
	r.untilFinal()
	state, _ := r.state(p.ID)
	require.Equal(t, pay.Succeeded, state)
	_, err := r.node.Submit(t.Context(), commit.Fact{Payment: &pay.Fact{Kind: pay.Decline, Payment: p.ID, Attempt: 1, Source: "query"}})
	require.ErrorIs(t, err, fault.AlreadyFinal)
	_, err = r.node.Submit(t.Context(), commit.Fact{Payment: &pay.Fact{Kind: pay.GiveUp, Payment: p.ID, Attempt: 1, Source: "query"}})
	require.ErrorIs(t, err, fault.AlreadyFinal)
	require.Equal(t, int64(1), r.number(`select count(*) from transitions where payment = $1 and transition = 17 and from_state = to_state
		and transfers = 0 and reason like 'the channel contradicts%'`, int64(p.ID)), "it stands in the log, once")
	wrongHeader, wrong := r.capture(pay.Reference(r.submit(r.deposit(2, 901))[0].ID, 0), 1)
	_, err = r.pool.Exec(t.Context(), `insert into inbox (channel, headers, body, received_at) values ('bank-ab', $1, $2, now())`, wrongHeader, wrong)
	require.NoError(t, err)
	r.eventually("a break", func() bool {
		return r.number(`select count(*) from breaks where class = 'amount_mismatch' and payment is not null`) == 1
	})
	state, _ = r.state(p.ID)
	require.Equal(t, pay.Succeeded, state)
	require.Contains(t, r.log.String(), "the channel contradicts us")
}

// slow is an adapter that has the bank's word and does not give it before it is let go.
type slow struct {
	channel.Channel
	has chan struct{}
	let chan struct{}
}

func (s slow) Send(ctx context.Context, o channel.Order) channel.Word {
	w := s.Channel.Send(ctx, o)
	s.has <- struct{}{}
	<-s.let
	return w
}

// noticed is a context that tells when somebody waits for it.
type noticed struct {
	context.Context
	waits func()
}

func (n noticed) Done() <-chan struct{} {
	n.waits()
	return n.Context.Done()
}

// Stop lets the calls in flight bring their words home. Nothing here may depend on how
// fast the bank or the machine is: neither send_by nor the client's time-out is near,
// and the words come when Stop waits for them.
func TestStopDrains(t *testing.T) {
	t.Parallel()
	const payouts = 10
	caps := quick()
	caps.ClientTimeout, caps.SendWindow = patience, channel.SendWindowMax
	r := build(t, caps)
	ch, err := rail.New(rail.Config{BaseURL: r.bank.URL, Bank: "ab", Secrets: []string{secret}, Capabilities: caps})
	require.NoError(t, err)
	t.Cleanup(ch.Close)
	held := slow{ch, make(chan struct{}, payouts), make(chan struct{})}
	r.dispatch = dispatch.New(dispatch.Config{Submitter: r.node, Channels: []channel.Channel{held}, Telemetry: r.telemetry})
	r.lead()
	r.behave(`{"mode":"sync"}`)
	var facts []commit.Fact
	for i := range payouts {
		facts = append(facts, r.payout(i, 100))
	}
	r.submit(facts...)
	for range payouts {
		select {
		case <-held.has:
		case <-time.After(patience):
			t.Fatal("not all are on the wire")
		}
	}
	home := func() int64 {
		return r.number(`select count(*) from transitions where to_state = $1 and source = 'reply'`, int16(pay.Succeeded))
	}
	require.Zero(t, home())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, r.dispatch.Stop(noticed{ctx, sync.OnceFunc(func() { close(held.let) })}))
	require.Equal(t, int64(payouts), home())
	r.proof()
}

// A bank that loses, delays, repeats, forges and fails at random: every payment
// still ends in what its books say, and clearing runs to zero.
func TestABadDayAtTheBankEndsInTheTruth(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	r.door()
	r.lead()
	r.behave(`{"lose_before":0.05,"lose_reply":0.05,"error_500":{"probability":0.05,"executed":true,"status":500},
		"decline":{"probability":0.05,"reason":"no","late":true},"callback_lose":0.3,"callback_duplicate":0.3,
		"callback_accepted":0.3,"callback_out_of_order":0.2,"callback_forge":0.1,"query_error":0.1,
		"reply_delay":{"probability":0.2,"min_ms":10,"max_ms":100},"execute_delay":{"probability":0.3,"min_ms":10,"max_ms":200}}`)
	var facts []commit.Fact
	for i := range 300 {
		facts = append(facts, r.payout(i, int64(100+i)))
	}
	r.submit(facts...)
	r.untilFinal()
	r.proof()
	r.behave(`{"lose_before":0,"lose_reply":0,"error_500":{"probability":0,"executed":false,"status":500}}`)
	require.NoError(t, r.recon.Run(t.Context()))
	breaks, _, err := r.recon.Breaks(t.Context(), recon.BreakFilter{State: "all"})
	require.NoError(t, err)
	require.Empty(t, breaks)
	report, err := r.recon.Report(t.Context())
	require.NoError(t, err)
	a := report.Channels[0].Assets[0]
	require.True(t, a.ClearingOut.IsZero() && a.Difference.IsZero(), "%+v", a)
	require.Empty(t, r.wheel.Snapshot().Orphans)
	require.Less(t, r.wheel.Snapshot().UnexplainedMax, 5*time.Second)
}

// careless is an adapter that lets a text through which Postgres refuses.
type careless struct{ channel.Channel }

func (c careless) CallbackAt(at time.Time, header http.Header, body []byte) (channel.Word, error) {
	w, err := c.Channel.CallbackAt(at, header, body)
	if w.Amount == money.Int(666) {
		w.EventID += "\x00"
	}
	return w, err
}

// One letter that cannot be stored is left for a person; nobody waits behind it.
func TestABadLetterHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	r.lead()
	ch, err := rail.New(rail.Config{BaseURL: r.bank.URL, Bank: "ab", Secrets: []string{secret}, Capabilities: quick()})
	require.NoError(t, err)
	t.Cleanup(ch.Close)
	r.stations.cancel() // only the careless one sweeps
	r.stations.group.Wait()
	deposits := r.submit(r.deposit(1, 666), r.deposit(2, 700), r.deposit(3, 800))
	inbox := settle.NewInbox(settle.InboxConfig{
		Pool: r.pool, Submitter: r.node, Channels: []channel.Channel{careless{ch}}, Telemetry: r.telemetry,
		SweepEvery: 10 * time.Millisecond, SweepAfter: time.Millisecond,
	})
	for i, amount := range []int64{666, 700, 800} {
		header, body := r.capture(pay.Reference(deposits[i].ID, 0), amount)
		_, err := r.pool.Exec(t.Context(), `insert into inbox (channel, headers, body, received_at) values ('bank-ab', $1, $2, now())`, header, body)
		require.NoError(t, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { _ = inbox.Sweep(ctx) })
	require.Eventually(t, func() bool {
		return r.number(`select count(*) from inbox where verdict = 'applied'`) == 2
	}, patience, 5*time.Millisecond)
	require.Eventually(t, func() bool {
		return r.number(`select count(*) from inbox i join callbacks_aside a on a.inbox = i.id where i.verdict = 'aside' and a."by" = 'settle' and a.ended_at is null`) == 1
	}, patience, 5*time.Millisecond, "and the bad one is kept, aside")
	require.Zero(t, r.number(`select count(*) from inbox where applied_at is null`))
	cancel()
	run.Wait()
}
