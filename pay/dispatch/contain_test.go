package dispatch_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/dispatch"
)

// held is what a test holds back, by channel.
type held struct {
	mu sync.Mutex
	by map[channel.Name]dispatch.Containment
}

func (h *held) of(name channel.Name) dispatch.Containment {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.by[name]
}

func (h *held) set(name channel.Name, c dispatch.Containment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.by == nil {
		h.by = make(map[channel.Name]dispatch.Containment)
	}
	h.by[name] = c
}

// While a channel is stopped nothing new goes out there, queued payouts included, the
// other channel does not notice, and what waited goes out once when it is let go.
func TestAStoppedChannelSendsNothingNew(t *testing.T) {
	t.Parallel()
	h := new(held)
	w := build(t, options{contain: h.of, caps: func(c *channel.Capabilities) { c.MaxInFlight = 1 }})
	w.behave("ab", `{"latency":{"probability":1,"min_ms":300,"max_ms":300}}`)
	for i := range 10 {
		w.payout(fmt.Sprint("queued", i), "bank-ab", "1", 100)
	}
	w.eventually("one is on the wire, the rest are queued", func() bool { return w.payments.Load() >= 1 })
	h.set("bank-ab", dispatch.Containment{Stopped: true})
	other := w.payout("other", "bank-cd", "1", 100)
	w.eventually("the other channel goes on", func() bool { return w.state(other.ID) == pay.Processing })
	w.eventually("what is out is settled or never left", func() bool {
		return w.number(`select count(*) from open_payments where state = $1`, int16(pay.Dispatching)) == 0
	})
	out := w.payments.Load()
	for i := range 3 {
		w.payout(fmt.Sprint("late", i), "bank-ab", "1", 100)
	}
	require.Never(t, func() bool { return w.payments.Load() > out }, time.Second, 20*time.Millisecond, "nothing new leaves")
	require.Zero(t, w.number(`select count(*) from transitions where to_state = $1`, int16(pay.Failed)))
	h.set("bank-ab", dispatch.Containment{})
	w.eventually("everything goes out", func() bool {
		return w.number(`select count(*) from open_payments where state = $1`, int16(pay.Processing)) == 14
	})
	require.Equal(t, int64(14), w.payments.Load(), "each once")
}

// after does something once, when the first intents are committed and not yet sent.
type after struct {
	commit.Submitter
	once sync.Once
	do   func()
}

func (a *after) SubmitAll(ctx context.Context, facts []commit.Fact) []commit.Outcome {
	out := a.Submitter.SubmitAll(ctx, facts)
	a.once.Do(a.do)
	return out
}

// A lever is pulled between the commit of an intent and its first byte: nothing leaves,
// nobody fails for it, and the payment goes out when the channel is free.
func TestTheLastLookIsRightBeforeTheFirstByte(t *testing.T) {
	t.Parallel()
	h := new(held)
	w := build(t, options{contain: h.of, submitter: func(s commit.Submitter) commit.Submitter {
		return &after{Submitter: s, do: func() { h.set("bank-ab", dispatch.Containment{Stopped: true}) }}
	}})
	p := w.payout("p", "bank-ab", "1", 100)
	w.eventually("the intent was committed and taken back", func() bool {
		return w.number(`select count(*) from attempts where payment = $1 and state = $2`, int64(p.ID), int16(pay.NeverSent)) == 1
	})
	require.Zero(t, w.payments.Load(), "no byte left")
	require.Equal(t, pay.Reserved, w.state(p.ID))
	h.set("bank-ab", dispatch.Containment{})
	w.eventually("it goes out", func() bool { return w.state(p.ID) == pay.Processing })
	require.Equal(t, int64(1), w.payments.Load())
}

func TestABulkheadBoundsTheCallsUnderWay(t *testing.T) {
	t.Parallel()
	h := new(held)
	h.set("bank-ab", dispatch.Containment{AtOnce: 2})
	w := build(t, options{contain: h.of})
	w.behave("ab", `{"latency":{"probability":1,"min_ms":250,"max_ms":250}}`)
	for i := range 8 {
		w.payout(fmt.Sprint("p", i), "bank-ab", "1", 100)
	}
	most := int64(0)
	w.eventually("all are out", func() bool {
		most = max(most, w.number(`select count(*) from open_payments where state = $1`, int16(pay.Dispatching)))
		return w.number(`select count(*) from open_payments where state = $1`, int16(pay.Processing)) == 8
	})
	require.LessOrEqual(t, most, int64(2))
	require.Positive(t, most)
}

// A breaker that is held open sends what was never attempted to the next channel of
// its route, leaves alone what may have moved money, and lets go with probes.
func TestAHeldBreakerMovesOnlyWhatWasNeverSent(t *testing.T) {
	t.Parallel()
	h := new(held)
	w := build(t, options{contain: h.of, routes: dispatch.Routes{{Channels: []channel.Name{"bank-ab", "bank-cd"}}}})
	w.behave("ab", `{"lose_reply":1,"callback_lose":1}`)
	w.behave("cd", `{"mode":"sync"}`)
	doubtful := w.payout("doubtful", "bank-ab", "1", 100)
	w.eventually("unknown", func() bool { return w.state(doubtful.ID) == pay.Unknown })
	h.set("bank-ab", dispatch.Containment{Broken: true})
	fresh := w.payout("fresh", "bank-ab", "1", 100)
	w.eventually("the new one went elsewhere", func() bool { return w.state(fresh.ID) == pay.Succeeded })
	require.Equal(t, int64(1), w.number(`select count(*) from attempts where channel = 'bank-cd' and payment = $1`, int64(fresh.ID)))
	require.Equal(t, pay.Unknown, w.state(doubtful.ID))
	require.Equal(t, int64(1), w.number(`select count(*) from attempts where payment = $1`, int64(doubtful.ID)), "an unknown attempt never moves")
	w.behave("ab", `{"mode":"sync","lose_reply":0,"callback_lose":0}`)
	h.set("bank-ab", dispatch.Containment{})
	n := 0
	w.eventually("the channel is used again", func() bool {
		n++
		p := w.payout(fmt.Sprint("again", n), "bank-ab", "1", 100)
		w.eventually("it ended", func() bool { return w.state(p.ID) == pay.Succeeded })
		return w.number(`select count(*) from attempts where channel = 'bank-ab' and payment = $1`, int64(p.ID)) == 1
	})
}

// A lane that could work and is not handed its work stands still by its count; one that
// is held back, or busy, does not.
func TestAnIdleLaneIsToldFromOneThatIsHeld(t *testing.T) {
	t.Parallel()
	h := new(held)
	w := build(t, options{contain: h.of, caps: func(c *channel.Capabilities) { c.MaxInFlight = 1 }})
	ready := func(n int) func(channel.Name) int {
		return func(name channel.Name) int {
			if name == "bank-ab" {
				return n
			}
			return 0
		}
	}
	idle, before := w.dispatch.Turns(ready(0))
	require.False(t, idle, "without work nobody is idle")
	idle, _ = w.dispatch.Turns(ready(3))
	require.True(t, idle, "there is work, and nobody begins it")
	h.set("bank-ab", dispatch.Containment{Stopped: true})
	idle, _ = w.dispatch.Turns(ready(3))
	require.False(t, idle, "it is held back on purpose")
	h.set("bank-ab", dispatch.Containment{})
	w.behave("ab", `{"latency":{"probability":1,"min_ms":2000,"max_ms":2000}}`)
	w.payout("slow", "bank-ab", "1", 100)
	w.eventually("its only slot is taken", func() bool {
		idle, turns := w.dispatch.Turns(ready(3))
		return !idle && turns > before
	})
}
