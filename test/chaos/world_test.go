// Package chaos puts payments through every way in which a third party is known to
// fail, in every state and along every path by which we try again, and then asks the
// banks' own books how often the money moved. It refuses to judge by our ledger: that
// one balanced in every wrong policy that was ever simulated.
package chaos

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	rail "github.com/moneta-pay/moneta/pay/channel/sandbox"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/dispatch"
	"github.com/moneta-pay/moneta/pay/ledger"
	"github.com/moneta-pay/moneta/pay/settle"
	"github.com/moneta-pay/moneta/pay/timer"
	"github.com/moneta-pay/moneta/sandbox"
)

const (
	secret = "chaos-secret"
	backup = "backup"
)

func TestMain(m *testing.M) { pgtest.VerifyTestMain(m) }

// world is the pay plane and a sandbox with one bank a cell, and one in reserve.
type world struct {
	t        *testing.T
	pool     *pgxpool.Pool
	node     *commit.Node
	wheel    *timer.Wheel
	dispatch *dispatch.Dispatcher
	asker    *settle.Asker
	inbox    *settle.Inbox
	server   *sandbox.Server
	bank     *httptest.Server
	client   *http.Client
	house    pay.AccountID

	mu   sync.Mutex
	held map[string]bool // channels whose payouts wait before dispatch

	stop  context.CancelFunc
	group sync.WaitGroup
}

// caps is what every bank here claims; along which path it is tried again differs.
// The delays are long beside what a loud machine adds.
func caps(p path) channel.Capabilities {
	c := rail.DefaultCapabilities()
	c.ClientTimeout, c.VisibilityDelay, c.SendWindow = 1500*time.Millisecond, 1500*time.Millisecond, time.Second
	c.QuerySchedule = []time.Duration{200 * time.Millisecond, 300 * time.Millisecond, 500 * time.Millisecond}
	c.QueryBudget, c.MaxInFlight = 0, 16
	c.NotFoundMeansNever = p == elsewhere
	return c
}

// build opens the world, with a mistake in it if the checks are to find one.
func build(t *testing.T, cells []*cell, seed uint64, wrong mistake) *world {
	t.Helper()
	w := &world{t: t, held: map[string]bool{}, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}}
	dsn := pgtest.DSN(t)
	var err error
	w.pool, err = pgxpool.New(context.Background(), dsn)
	require.NoError(t, err)
	t.Cleanup(w.pool.Close)
	tel, err := telemetry.Setup(context.Background(), telemetry.Config{LogOutput: io.Discard})
	require.NoError(t, err)
	w.openBanks(cells, seed)
	channels, routes, proven := w.channels(cells, wrong)
	w.node = commit.New(commit.Config{DSN: dsn, Lead: w.lead, Left: w.left, Logger: tel.Logger(), Changed: func(p []pay.Payment) { w.wheel.Note(p) }})
	w.dispatch = dispatch.New(dispatch.Config{
		Submitter: w.node, Channels: channels, Telemetry: tel, BreakerDelay: 300 * time.Millisecond, Routes: routes,
		Hold: w.holds, DedupProven: func(name channel.Name) bool { return wrong.trusting || proven[name] },
	})
	w.asker = settle.NewAsker(settle.AskerConfig{
		Submitter: w.node, Channels: channels, Pool: w.pool, Live: w.dispatch.Live, Telemetry: tel, Concurrency: 1,
		Redirects: routes.Redirects, Resend: w.dispatch.Resend, ResendAfter: 2 * time.Second,
	})
	w.inbox = settle.NewInbox(settle.InboxConfig{
		Pool: w.pool, Submitter: w.node, Channels: channels, Telemetry: tel, Redirects: routes.Redirects,
		SweepEvery: 100 * time.Millisecond, SweepAfter: 500 * time.Millisecond,
	})
	ask := w.asker.Check
	if wrong.mute {
		ask = func(pay.Payment) bool { return true }
	}
	w.wheel = timer.New(timer.Config{
		Due: timer.Route{Dispatch: w.dispatch.Offer, Settle: ask}.Due, Pool: w.pool, Telemetry: tel, Guard: 200 * time.Millisecond,
	})
	w.run()
	return w
}

func (w *world) channels(cells []*cell, wrong mistake) ([]channel.Channel, dispatch.Routes, map[channel.Name]bool) {
	var all []channel.Channel
	var routes dispatch.Routes
	proven := map[channel.Name]bool{}
	add := func(code string, p path) {
		c := caps(p)
		if wrong.hasty {
			c.ClientTimeout, c.VisibilityDelay, c.SendWindow = 300*time.Millisecond, 0, 100*time.Millisecond
		}
		ch, err := rail.New(rail.Config{BaseURL: w.bank.URL, Bank: code, Secrets: []string{secret}, Capabilities: c})
		require.NoError(w.t, err)
		w.t.Cleanup(ch.Close)
		all = append(all, ch)
		proven[ch.Name()] = p == again
	}
	for _, c := range cells {
		add(c.code, c.path)
		if c.path == elsewhere && !wrong.alone {
			routes = append(routes, dispatch.Route{Channels: []channel.Name{channel.Name(c.channel()), "bank-" + backup}, RetryOn: []string{"insufficient_funds"}})
		}
	}
	add(backup, elsewhere)
	return all, routes, proven
}

func (w *world) openBanks(cells []*cell, seed uint64) {
	codes := []string{backup}
	for _, c := range cells {
		codes = append(codes, c.code)
	}
	var err error
	w.server, err = sandbox.New(sandbox.Config{Banks: codes, Secret: secret, Seed: seed, CallbackWorkers: 2})
	require.NoError(w.t, err)
	w.bank = httptest.NewServer(w.server.Handler())
	w.t.Cleanup(func() {
		require.NoError(w.t, w.server.Close())
		w.bank.Close()
		w.client.CloseIdleConnections()
	})
}

// run leads, lets callbacks in and the banks work, until the test ends.
func (w *world) run() {
	door := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(io.LimitReader(q.Body, channel.MaxBody+1))
		if err == nil {
			err = w.inbox.Receive(q.Context(), channel.Name(strings.Trim(q.URL.Path, "/")), q.Header, body)
		}
		if err != nil {
			http.Error(rw, err.Error(), fault.HTTPStatus(fault.CodeOf(err)))
		}
	}))
	ctx, cancel := context.WithCancel(context.Background())
	var outside sync.WaitGroup
	outside.Go(func() { _ = w.inbox.Run(ctx) })
	outside.Go(func() { _ = w.server.Run(ctx) })
	outside.Go(func() { _ = w.node.Run(ctx) })
	w.t.Cleanup(func() {
		cancel()
		outside.Wait()
		door.Close()
	})
	require.NoError(w.t, w.server.SetCallbackURL(door.URL+"/bank-{code}"))
	require.Eventually(w.t, w.node.Leading, time.Minute, 5*time.Millisecond)
	got, err := w.node.Submit(ctx, commit.Fact{Account: &ledger.AccountFact{
		Kind: ledger.Open, Key: key("house"), New: ledger.Account{Tenant: 1, Kind: ledger.House, Asset: "CZK", Name: "house", Unlimited: true},
	}})
	require.NoError(w.t, err)
	w.house = pay.AccountID(got.Account.ID)
}

func (w *world) lead(ctx context.Context, open []pay.Payment) {
	ctx, w.stop = context.WithCancel(ctx)
	w.wheel.Load(open)
	w.dispatch.Start(ctx)
	w.group.Go(func() { _ = w.wheel.Run(ctx) })
	w.group.Go(func() { _ = w.asker.Run(ctx) })
	w.group.Go(func() { _ = w.inbox.Sweep(ctx) })
}

func (w *world) left() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = w.dispatch.Stop(ctx) // what is cut off is asked for by whoever leads next; here nobody does
	w.stop()
	w.group.Wait()
}

func (w *world) holds(p *pay.Payment) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.held[p.Channel]
}

func (w *world) hold(name string, on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held[name] = on
}

func key(format string, args ...any) [16]byte {
	h := sha256.Sum256(fmt.Appendf(nil, format, args...))
	return [16]byte(h[:16])
}

func (w *world) payout(c *cell, n int, amount int64) commit.Fact {
	k := key("%s %d", c.code, n)
	return commit.Fact{Payment: &pay.Fact{Kind: pay.Accept, Fingerprint: k, New: &pay.Payment{
		Tenant: 1, Kind: pay.Payout, Asset: "CZK", Amount: money.Int(amount), From: w.house, Channel: c.channel(), PayeeAccount: "123456", Key: k,
	}}}
}

// behave replaces a bank's behaviour.
func (w *world) behave(code string, parts ...string) {
	w.t.Helper()
	whole := map[string]any{}
	for _, p := range parts {
		require.NoError(w.t, json.Unmarshal([]byte("{"+p+"}"), &whole), p)
	}
	raw, err := json.Marshal(whole)
	require.NoError(w.t, err)
	w.call(http.MethodPut, "/banks/"+code+"/behaviour", string(raw), nil)
}

func (w *world) call(method, at, body string, into any) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.bank.URL+at, strings.NewReader(body))
	require.NoError(w.t, err)
	resp, err := w.client.Do(req)
	require.NoError(w.t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	if into != nil {
		require.NoError(w.t, json.Unmarshal(answer, into))
	}
}

// effects counts, in the books of all banks, how often each reference moved money
// out: the outside truth.
func (w *world) effects(cells []*cell) map[string]int {
	w.t.Helper()
	moved := map[string]int{}
	codes := []string{backup}
	for _, c := range cells {
		codes = append(codes, c.code)
	}
	for _, code := range codes {
		var books struct {
			Effects []struct{ Reference, Direction string }
		}
		w.call(http.MethodGet, "/banks/"+code+"/books?limit=5000", "", &books)
		for _, e := range books.Effects {
			if e.Direction == "out" {
				moved[e.Reference]++
			}
		}
	}
	return moved
}

// stand is where a payment is.
type stand struct {
	state   pay.State
	attempt int16
}

// stands reads all payouts in one look.
func (w *world) stands() map[pay.ID]stand {
	w.t.Helper()
	rows, err := w.pool.Query(context.Background(), `select distinct on (t.payment) t.payment, t.to_state, t.attempt
	  from transitions t join payments p on p.id = t.payment and p.kind = 2 order by t.payment, t.seq desc`)
	require.NoError(w.t, err)
	out := map[pay.ID]stand{}
	var id pay.ID
	var s stand
	_, err = pgx.ForEachRow(rows, []any{&id, &s.state, &s.attempt}, func() error { out[id] = s; return nil })
	require.NoError(w.t, err)
	return out
}
