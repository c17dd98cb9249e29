package settle_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	rail "github.com/moneta-pay/moneta/pay/channel/sandbox"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/settle"
)

// hanging is a decider that never ends over what is said of some payments.
type hanging struct {
	commit.Submitter
	over   func(pay.ID) bool
	healed atomic.Bool
}

func (h *hanging) SubmitAll(ctx context.Context, facts []commit.Fact) []commit.Outcome {
	if !h.healed.Load() && slices.ContainsFunc(facts, func(f commit.Fact) bool { return h.over(f.Payment.Payment) }) {
		<-ctx.Done()
	}
	return h.Submitter.SubmitAll(ctx, facts)
}

// stuckRoad is a road whose callbacks, one a deposit, were stored a minute ago, and an
// inbox over a decider that hangs over some of them.
func stuckRoad(t *testing.T, over func(i int) bool) (*road, *settle.Inbox, *hanging, []pay.Payment, []int64) {
	t.Helper()
	r := build(t, quick())
	r.lead()
	r.stations.cancel() // nobody else sweeps
	r.stations.group.Wait()
	deposits := r.submit(r.deposit(1, 610), r.deposit(2, 620), r.deposit(3, 630))
	hang := &hanging{Submitter: r.node, over: func(id pay.ID) bool {
		i := slices.IndexFunc(deposits, func(p pay.Payment) bool { return p.ID == id })
		return i >= 0 && over(i)
	}}
	ids := make([]int64, len(deposits))
	for i, amount := range []int64{610, 620, 630} {
		header, body := r.capture(pay.Reference(deposits[i].ID, 0), amount)
		require.NoError(t, r.pool.QueryRow(t.Context(), `insert into inbox (channel, headers, body, received_at) values ('bank-ab', $1, $2, now() - interval '1 minute') returning id`,
			header, body).Scan(&ids[i]))
	}
	return r, r.over(hang), hang, deposits, ids
}

// over is an inbox in front of another decider.
func (r *road) over(s commit.Submitter) *settle.Inbox {
	r.t.Helper()
	ch, err := rail.New(rail.Config{BaseURL: r.bank.URL, Bank: "ab", Secrets: []string{secret}, Capabilities: quick()})
	require.NoError(r.t, err)
	r.t.Cleanup(ch.Close)
	return settle.NewInbox(settle.InboxConfig{
		Pool: r.pool, Submitter: s, Channels: []channel.Channel{ch}, Telemetry: r.telemetry, SweepEvery: 20 * time.Millisecond, SweepAfter: time.Millisecond,
	})
}

func (r *road) hasCredit(id pay.ID) bool {
	state, _ := r.state(id)
	return state == pay.Succeeded && r.number(`select count(*) from transfers where payment = $1`, int64(id)) == 1
}

// One callback that hangs is set aside with who and why; those behind it are applied;
// replayed when it can be, it credits once.
func TestACallbackThatHangsIsSetAside(t *testing.T) {
	t.Parallel()
	r, inbox, hang, deposits, ids := stuckRoad(t, func(i int) bool { return i == 0 })
	would, err := inbox.MayGoAside(t.Context(), &settle.AsideOrder{Channel: "bank-ab"})
	require.NoError(t, err)
	require.Len(t, would, 3)
	require.Equal(t, int64(3), r.number(`select count(*) from inbox where applied_at is null`), "a look changes nothing")

	order := &settle.AsideOrder{Channel: "bank-ab", By: "doctor", Reason: "it holds up the others"}
	done, err := inbox.SetAside(t.Context(), order)
	require.NoError(t, err)
	require.Len(t, done, 1)
	require.Equal(t, []any{ids[0], "doctor"}, []any{done[0].ID, done[0].By})
	require.Contains(t, done[0].Reason, "it holds up the others: applying it alone")
	require.True(t, r.hasCredit(deposits[1].ID) && r.hasCredit(deposits[2].ID), "those behind it are applied")
	require.Zero(t, r.number(`select count(*) from inbox where applied_at is null`))
	require.Equal(t, int64(1), r.number(`select count(*) from facts.callbacks_aside where callback = $1 and "by" = 'doctor'`, ids[0]))
	require.Equal(t, int64(1), r.number(`select count(*) from inbox where id = $1 and octet_length(body) > 10`, ids[0]), "its bytes stay")
	again, err := inbox.SetAside(t.Context(), order)
	require.NoError(t, err)
	require.Empty(t, again)

	listed, err := inbox.Aside(t.Context(), &settle.AsideOrder{})
	require.NoError(t, err)
	require.Len(t, listed, 1)
	require.Contains(t, listed[0].Body, pay.Reference(deposits[0].ID, 0))
	hang.healed.Store(true)
	one := &settle.AsideOrder{Callbacks: ids[:1], By: "ann", Reason: "it can be read now"}
	require.NoError(t, inbox.IsAside(t.Context(), one))
	n, err := inbox.Replay(t.Context(), one)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	n, err = inbox.Replay(t.Context(), one)
	require.NoError(t, err)
	require.Zero(t, n, "twice is once")
	require.Equal(t, fault.IllegalTransition, fault.CodeOf(inbox.IsAside(t.Context(), one)))
	r.swept(inbox, func() bool { return r.hasCredit(deposits[0].ID) })
	require.Equal(t, int64(1), r.number(`select count(*) from callbacks_aside where inbox = $1 and ended_as = 'replayed' and ended_by = 'ann'`, ids[0]))
}

// swept runs the sweep of an inbox until something holds.
func (r *road) swept(inbox *settle.Inbox, holds func() bool) {
	r.t.Helper()
	r.during(inbox.Sweep, holds)
}

// retained runs the retention until something holds.
func (r *road) retained(inbox *settle.Inbox, holds func() bool) {
	r.t.Helper()
	r.during(inbox.Retain, holds)
}

func (r *road) during(loop func(context.Context) error, holds func() bool) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	var run sync.WaitGroup
	run.Go(func() { _ = loop(ctx) })
	require.Eventually(r.t, holds, patience, 5*time.Millisecond)
	cancel()
	run.Wait()
}

// When nothing can be applied, it is no callback's fault, and none is set aside; that one
// which says nothing was read to its end shows nothing of the decider.
func TestNothingIsSetAsideWhereNothingMoves(t *testing.T) {
	t.Parallel()
	r, inbox, _, _, _ := stuckRoad(t, func(int) bool { return true })
	_, err := r.pool.Exec(t.Context(), `insert into inbox (channel, headers, body, received_at) values ('bank-ab', '{}', 'x', now() - interval '1 minute')`)
	require.NoError(t, err)
	_, err = inbox.SetAside(t.Context(), &settle.AsideOrder{Channel: "bank-ab", By: "doctor", Reason: "x"})
	require.Equal(t, fault.IllegalTransition, fault.CodeOf(err), "%v", err)
	require.Equal(t, int64(3), r.number(`select count(*) from inbox where applied_at is null and verdict is null`))
	require.Zero(t, r.number(`select count(*) from callbacks_aside`))
}

// A person names the ones; what is young or is not named stays.
func TestNamedCallbacksAreSetAsideAndGivenUp(t *testing.T) {
	t.Parallel()
	r, inbox, _, deposits, ids := stuckRoad(t, func(int) bool { return false })
	done, err := inbox.SetAside(t.Context(), &settle.AsideOrder{Callbacks: ids[1:2], By: "ann", Reason: "the bank says it is a test"})
	require.NoError(t, err)
	require.Len(t, done, 1)
	require.Equal(t, int64(2), r.number(`select count(*) from inbox where applied_at is null`))
	_, err = r.pool.Exec(t.Context(), `update inbox set received_at = now() - interval '1 year', applied_at = now() - interval '1 year' where id = $1`, ids[1])
	require.NoError(t, err)
	r.retained(inbox, func() bool { return true })
	require.Equal(t, int64(1), r.number(`select count(*) from inbox where id = $1`, ids[1]), "what is aside is never deleted")

	order := &settle.AsideOrder{Callbacks: ids[1:2], By: "approval x of ann", Reason: "a test of the bank"}
	require.NoError(t, pgx.BeginFunc(t.Context(), r.pool, func(tx pgx.Tx) error {
		n, err := inbox.GiveUp(t.Context(), tx, order)
		require.Equal(t, 1, n)
		return err
	}))
	require.Equal(t, int64(1), r.number(`select count(*) from inbox where id = $1 and verdict = 'given_up'`, ids[1]), "its bytes stay")
	require.Equal(t, int64(1), r.number(`select count(*) from callbacks_aside where ended_as = 'given_up' and end_reason = 'a test of the bank'`))
	n, err := inbox.Replay(t.Context(), order)
	require.NoError(t, err)
	require.Zero(t, n)
	state, _ := r.state(deposits[1].ID)
	require.Equal(t, pay.Created, state, "nothing is said of the money")
	r.retained(inbox, func() bool { return r.number(`select count(*) from inbox where id = $1`, ids[1]) == 0 })
}

// The Nth message to the database is cut while callbacks are set aside and replayed,
// N = 1, 2, …: each row waits or is aside with its record, never both and never neither,
// and the money comes exactly once.
func TestSettingAsideSurvivesACrashAtEveryStep(t *testing.T) {
	t.Parallel()
	r, _, _, _, _ := stuckRoad(t, func(int) bool { return false })
	r.swept(r.over(r.node), func() bool { return r.number(`select count(*) from inbox where applied_at is null`) == 0 })
	ch, err := rail.New(rail.Config{BaseURL: r.bank.URL, Bank: "ab", Secrets: []string{secret}, Capabilities: quick()})
	require.NoError(t, err)
	t.Cleanup(ch.Close)
	for _, after := range []bool{false, true} {
		for n := int64(1); ; n++ {
			if !r.crashAside(ch, &cut{at: n, after: after, fired: make(chan struct{})}) {
				require.Greater(t, n, int64(2), "setting aside and replaying each talk to the database")
				break
			}
		}
	}
}

func (r *road) crashAside(ch channel.Channel, c *cut) (crashed bool) {
	t := r.t.(*testing.T)
	t.Helper()
	what := fmt.Sprintf("cut at %d, after=%t", c.at, c.after)
	amount := 2_000 + c.at
	p := r.submit(r.deposit(100+int(c.at)*2+map[bool]int{true: 1}[c.after], amount))[0]
	header, body := r.capture(pay.Reference(p.ID, 0), amount)
	var id int64
	require.NoError(t, r.pool.QueryRow(t.Context(), `insert into inbox (channel, headers, body, received_at) values ('bank-ab', $1, $2, now() - interval '1 minute') returning id`,
		header, body).Scan(&id))
	pool := c.pool(t, r.pool)
	inbox := settle.NewInbox(settle.InboxConfig{Pool: pool, Submitter: r.node, Channels: []channel.Channel{ch}, Telemetry: r.telemetry})
	order := &settle.AsideOrder{Callbacks: []int64{id}, By: "ann", Reason: "x"}
	_, err := inbox.SetAside(t.Context(), order)
	whole := func() {
		// In one look: what was cut behind the server may commit at this moment.
		require.Equal(t, int64(1), r.number(`select (select count(*) from inbox where id = $1 and applied_at is null and verdict is null)
			+ (select count(*) from inbox i join callbacks_aside a on a.inbox = i.id where i.id = $1 and i.verdict = 'aside' and a.ended_at is null)`, id), what)
	}
	whole()
	if err == nil {
		_, err = inbox.Replay(t.Context(), order)
		whole()
	}
	pool.Close()
	select {
	case <-c.fired:
		crashed = true
	default:
		require.NoError(t, err, what)
	}
	healthy := r.over(r.node)      // another process goes on
	r.swept(healthy, func() bool { // what was cut behind the server may be set aside only now
		_, err := healthy.Replay(t.Context(), order)
		return err == nil && r.hasCredit(p.ID)
	})
	return crashed
}
