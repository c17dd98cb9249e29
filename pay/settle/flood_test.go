package settle_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	rail "github.com/moneta-pay/moneta/pay/channel/sandbox"
	"github.com/moneta-pay/moneta/pay/settle"
)

// withInbox puts another inbox into the road; its door is not open yet.
func (r *road) withInbox(change func(*settle.InboxConfig)) {
	r.t.Helper()
	ch, err := rail.New(rail.Config{BaseURL: r.bank.URL, Bank: "ab", Secrets: []string{secret}, Capabilities: quick()})
	require.NoError(r.t, err)
	r.t.Cleanup(ch.Close)
	cfg := settle.InboxConfig{
		Pool: r.pool, Submitter: r.node, Channels: []channel.Channel{ch}, Telemetry: r.telemetry,
		SweepEvery: 50 * time.Millisecond, SweepAfter: 200 * time.Millisecond,
	}
	change(&cfg)
	r.inbox = settle.NewInbox(cfg)
}

func invented(n int, size int) (http.Header, []byte) {
	signature := fmt.Sprintf("t=%d,v1=%064x", time.Now().Unix(), n)
	return http.Header{"Sandbox-Signature": {signature}, "Sandbox-Event-Id": {fmt.Sprint(n)}}, []byte(strings.Repeat("x", size))
}

// A flood of invented callbacks leaves so many rows and no more; a genuine one that
// comes in the middle of it is stored and settles its deposit.
func TestAGenuineCallbackSurvivesAFloodOfInventedOnes(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	r.lead()
	r.behave(`{"query_error": 1}`) // only the callback can credit
	p := r.submit(r.deposit(1, 900))[0]
	header, body := r.captureRaw(pay.Reference(p.ID, 0), 900)
	r.door()

	const floods, each, size = 8, 1_500, 200
	var stored, refused atomic.Int64
	var flood sync.WaitGroup
	midway := make(chan struct{})
	for f := range floods {
		flood.Go(func() {
			for i := range each {
				h, b := invented(f*each+i, size)
				switch err := r.inbox.Receive(context.Background(), "bank-ab", h, b); fault.CodeOf(err) {
				case "":
					stored.Add(1)
				case fault.SignatureInvalid:
					refused.Add(1)
				case fault.Overloaded: // too many at once: not stored either
				default:
					t.Errorf("an invented callback: %v", err)
				}
				if f == 0 && i == each/2 {
					close(midway)
				}
			}
		})
	}
	<-midway
	require.NoError(t, r.inbox.Receive(t.Context(), "bank-ab", header, body), "200 for the genuine one")
	r.eventually("the genuine one settles", func() bool {
		state, _ := r.state(p.ID)
		return state == pay.Succeeded
	})
	flood.Wait()

	rows := r.number(`select count(*) from inbox where verdict = 'forged'`)
	require.Equal(t, stored.Load(), rows, "what was acknowledged is there")
	require.Positive(t, rows, "what does not verify is kept as evidence, up to its bound")
	require.LessOrEqual(t, rows, int64(1_020), "of %d; one comes back every 3.6 s", floods*each)
	require.Positive(t, refused.Load())
	require.Contains(t, r.log.String(), "callbacks whose signature does not verify are refused")
	require.LessOrEqual(t, strings.Count(r.log.String(), "does not verify are refused"), 2, "a flood does not fill the log")
}

// The quota counts bytes as well, and comes back with the time.
func TestTheQuotaOfUnverifiedCallbacksCountsBytes(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	now := &movable{at: time.Now()}
	r.withInbox(func(c *settle.InboxConfig) { c.UnverifiedRows, c.UnverifiedBytes, c.Clock = 100, 10_000, now })
	r.door()
	send := func(n int) error {
		h, b := invented(n, 4_000)
		return r.inbox.Receive(t.Context(), "bank-ab", h, b)
	}
	require.NoError(t, send(1))
	require.NoError(t, send(2))
	err := send(3)
	require.ErrorIs(t, err, fault.SignatureInvalid)
	require.Equal(t, time.Minute, fault.RetryAfterOf(err))
	now.forward(30 * time.Minute)
	require.NoError(t, send(4), "half of it is back after half of the window")
	require.ErrorIs(t, send(5), fault.SignatureInvalid)
}

// movable is a clock that a test moves.
type movable struct {
	mu sync.Mutex
	at time.Time
}

func (m *movable) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at
}

func (m *movable) forward(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at = m.at.Add(d)
}

// What is judged goes after its time, what does not verify sooner and beyond its
// bound, the oldest first; what waits stays, however old.
func TestOldCallbacksAreDeleted(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	r.withInbox(func(c *settle.InboxConfig) {
		c.UnverifiedRows, c.UnverifiedBytes, c.RetainEvery = 2, 1_000, 20*time.Millisecond
	})
	put := func(what, verdict string, age time.Duration, n, size int) {
		_, err := r.pool.Exec(t.Context(), `insert into inbox (channel, headers, body, received_at, applied_at, verdict)
			select 'bank-ab', $1, convert_to(repeat('x', $2), 'UTF8'), now() - $3::interval, case when $4 = 'parked' then null else now() end, $4
			  from generate_series(1, $5)`, what, size, age, verdict, n)
		require.NoError(t, err)
	}
	day := 24 * time.Hour
	put("old", "applied", 181*day, 2_500, 1)
	put("old and waiting", "parked", 181*day, 1, 1)
	put("old and invented", "stale", 8*day, 3, 1)
	put("recent", "applied", 179*day, 7, 1)
	put("too many invented", "forged", time.Hour, 1_200, 1)
	put("newest invented", "forged", time.Minute, 20, 1)
	_, err := r.pool.Exec(t.Context(), `insert into inbox_events (channel, event_id, at)
		select 'bank-ab', 'old ' || i, now() - interval '181 days' from generate_series(1, 2500) i
		union all select 'bank-ab', 'recent ' || i, now() - interval '179 days' from generate_series(1, 7) i`)
	require.NoError(t, err)
	left := func(what string) int64 { return r.number(`select count(*) from inbox where headers = $1`, what) }

	ctx, stop := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { _ = r.inbox.Retain(ctx) })
	t.Cleanup(func() { stop(); run.Wait() })
	r.eventually("the old ones are gone", func() bool {
		return left("old") == 0 && left("old and invented") == 0 && left("too many invented") == 0
	})
	r.eventually("the ids of old events are gone", func() bool { return r.number(`select count(*) from inbox_events where event_id like 'old %'`) == 0 })
	require.Equal(t, int64(7), r.number(`select count(*) from inbox_events`))
	require.Equal(t, int64(1), left("old and waiting"))
	require.Equal(t, int64(7), left("recent"))
	require.Equal(t, int64(20), left("newest invented"), "ten hours of the quota stay")

	put("large", "forged", 0, 3, 4_000)
	r.eventually("bytes are bounded too", func() bool { return r.number(`select count(*) from inbox where verdict = 'forged'`) == 2 })
	require.Equal(t, int64(2), left("large"), "the newest ones")
}

// The process dies between judging and storing, and between storing and answering:
// what was not acknowledged is repeated, what is stored is not lost.
func TestACrashWhileAnInventedCallbackIsStored(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	r.lead()
	ch, err := rail.New(rail.Config{BaseURL: r.bank.URL, Bank: "ab", Secrets: []string{secret}, Capabilities: quick()})
	require.NoError(t, err)
	t.Cleanup(ch.Close)
	for _, after := range []bool{false, true} {
		for n := int64(1); ; n++ {
			c := &cut{at: n, after: after, fired: make(chan struct{})}
			pool := c.pool(t, r.pool)
			inbox := settle.NewInbox(settle.InboxConfig{Pool: pool, Submitter: r.node, Channels: []channel.Channel{ch}, Telemetry: r.telemetry})
			ctx, die := context.WithCancel(t.Context())
			var run sync.WaitGroup
			run.Go(func() { _ = inbox.Run(ctx) })
			h, b := invented(int(n), 10)
			h.Set("X-Try", fmt.Sprintf("try %d after=%t.", n, after))
			err := inbox.Receive(ctx, "bank-ab", h, b)
			die()
			run.Wait()
			pool.Close()
			if err == nil {
				require.Equal(t, int64(1), r.number(`select count(*) from inbox where verdict = 'forged' and headers like '%' || $1 || '%'`, h.Get("X-Try")), "acknowledged is stored")
			}
			require.Zero(t, r.number(`select count(*) from inbox where applied_at is null`), "nothing is left to apply")
			select {
			case <-c.fired:
				continue
			default:
			}
			require.NoError(t, err)
			require.Greater(t, n, int64(1), "a cut was reached")
			break
		}
	}
}
