package settle_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	rail "github.com/moneta-pay/moneta/pay/channel/sandbox"
	"github.com/moneta-pay/moneta/pay/settle"
)

// cut breaks the Nth message to the database: before it leaves, or after it left
// and before its answer is read, when nobody knows what became of it.
type cut struct {
	at    int64
	after bool
	sent  atomic.Int64
	fired chan struct{}
	once  sync.Once
}

type cutConn struct {
	net.Conn
	cut *cut
}

var errCut = errors.New("the connection is cut")

func (c *cutConn) Write(b []byte) (int, error) {
	if c.cut.sent.Add(1) != c.cut.at {
		return c.Conn.Write(b)
	}
	if c.cut.after {
		if _, err := c.Conn.Write(b); err != nil {
			return 0, err
		}
	}
	c.cut.once.Do(func() { close(c.cut.fired) })
	_ = c.Close()
	return 0, errCut
}

// pool connects as dsn does, through the cut.
func (c *cut) pool(t *testing.T, like *pgxpool.Pool) *pgxpool.Pool {
	t.Helper()
	cfg := like.Config()
	cfg.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &cutConn{conn, c}, nil
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	return pool
}

// TestACallbackSurvivesACrashAtEveryStep takes one callback of a bank through
// store, apply and mark while the Nth message to the database is cut and the
// process dies with it, N = 1, 2, … until none is cut. The bank repeats what was
// not acknowledged, another process sweeps what was; the queries tell nothing, so
// only the callback can credit. The money comes exactly once.
func TestACallbackSurvivesACrashAtEveryStep(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	r.lead()
	r.door()
	r.behave(`{"query_error": 1}`)
	ch, err := rail.New(rail.Config{BaseURL: r.bank.URL, Bank: "ab", Secrets: []string{secret}, Capabilities: quick()})
	require.NoError(t, err)
	t.Cleanup(ch.Close)
	for _, after := range []bool{false, true} {
		crashes := 0
		for n := int64(1); ; n++ {
			if !r.crashCallback(t, ch, &cut{at: n, after: after, fired: make(chan struct{})}) {
				break
			}
			crashes++
		}
		require.Greater(t, crashes, 3, "store, apply and mark each talk to the database")
		t.Logf("after=%t: %d steps, a crash at each", after, crashes)
	}
}

// crashCallback reports whether the cut was reached.
func (r *road) crashCallback(t *testing.T, ch channel.Channel, c *cut) bool {
	t.Helper()
	amount := 1_000 + c.at
	p := r.submit(r.deposit(int(c.at)*2+map[bool]int{true: 1}[c.after], amount))[0]
	header, body := r.captureRaw(pay.Reference(p.ID, 0), amount)

	pool := c.pool(t, r.pool)
	inbox := settle.NewInbox(settle.InboxConfig{Pool: pool, Submitter: r.node, Channels: []channel.Channel{ch}, Telemetry: r.telemetry})
	ctx, die := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { _ = inbox.Run(ctx) })
	acknowledged := inbox.Receive(ctx, "bank-ab", header, body) == nil
	what := fmt.Sprintf("cut at %d, after=%t", c.at, c.after)
	crashed := r.untilCutOrMarked(t, c, p.ID, what)
	die()
	run.Wait()
	pool.Close()
	if !acknowledged {
		r.repeat(t, header, body)
	}

	require.Eventually(t, func() bool {
		state, _ := r.state(p.ID)
		return state == pay.Succeeded && r.number(`select count(*) from inbox where applied_at is null`) == 0
	}, patience, 5*time.Millisecond, what)
	require.Equal(t, int64(1), r.number(fmt.Sprintf(`select count(*) from transitions where payment = %d and transition = 14`, p.ID)), what)
	require.Equal(t, int64(1), r.number(fmt.Sprintf(`select count(*) from transfers where payment = %d`, p.ID)), what)
	return crashed
}

// untilCutOrMarked waits for the crash, or for the callback's whole way.
func (r *road) untilCutOrMarked(t *testing.T, c *cut, id pay.ID, what string) (crashed bool) {
	t.Helper()
	require.Eventually(t, func() bool {
		select {
		case <-c.fired:
			crashed = true
			return true
		default:
		}
		state, _ := r.state(id)
		return state == pay.Succeeded && r.number(`select count(*) from inbox where applied_at is null`) == 0
	}, patience, time.Millisecond, what)
	return crashed
}

// repeat is the bank's next try, at a process that is well.
func (r *road) repeat(t *testing.T, header http.Header, body []byte) {
	t.Helper()
	require.Eventually(t, func() bool {
		return r.inbox.Receive(t.Context(), "bank-ab", header, body) == nil
	}, patience, 5*time.Millisecond)
}
