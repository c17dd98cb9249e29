package settle_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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
	"github.com/moneta-pay/moneta/pay/recon"
	"github.com/moneta-pay/moneta/pay/settle"
	"github.com/moneta-pay/moneta/pay/timer"
	"github.com/moneta-pay/moneta/sandbox"
)

const (
	patience = 60 * time.Second
	secret   = "road-secret"
)

func TestMain(m *testing.M) { pgtest.VerifyTestMain(m) }

// road is the whole pay plane around a sandbox of real banks over real sockets:
// database, decider, wheel, dispatch, settle, recon.
type road struct {
	t         testing.TB
	pool      *pgxpool.Pool
	node      *commit.Node
	bank      *httptest.Server
	sandbox   *sandbox.Server
	telemetry *telemetry.Telemetry
	wheel     *timer.Wheel
	expirer   *timer.Expirer
	dispatch  *dispatch.Dispatcher
	asker     *settle.Asker
	inbox     *settle.Inbox
	recon     *recon.Recon
	log       *syncBuffer
	house     pay.AccountID
	user      pay.AccountID
	deaf      atomic.Bool // dispatch hears of nothing
	stations  *stations
}

// quick are capabilities whose waits suit a test; what they promise is true of
// the sandbox.
func quick() channel.Capabilities {
	c := rail.DefaultCapabilities()
	c.ClientTimeout, c.VisibilityDelay, c.SendWindow = 700*time.Millisecond, 300*time.Millisecond, 300*time.Millisecond
	c.QuerySchedule = []time.Duration{50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond}
	c.QueryBudget = 0
	return c
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// build opens the road; nothing leads before lead is called.
func build(tb testing.TB, caps channel.Capabilities) *road {
	tb.Helper()
	return buildWatching(tb, caps, 50*time.Millisecond)
}

// buildWatching looks for orphans that often.
func buildWatching(tb testing.TB, caps channel.Capabilities, watchEvery time.Duration) *road {
	tb.Helper()
	r := &road{t: tb, log: &syncBuffer{}}
	dsn := pgtest.DSN(tb)
	pool, err := pgxpool.New(context.Background(), dsn)
	require.NoError(tb, err)
	tb.Cleanup(pool.Close)
	r.pool = pool
	r.telemetry, err = telemetry.Setup(context.Background(), telemetry.Config{LogOutput: r.log, LogLevel: slog.LevelDebug})
	require.NoError(tb, err)
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Log(r.log.String())
		}
	})
	r.openBank()
	ch, err := rail.New(rail.Config{BaseURL: r.bank.URL, Bank: "ab", Secrets: []string{secret}, Capabilities: caps})
	require.NoError(tb, err)
	tb.Cleanup(ch.Close)
	channels := []channel.Channel{ch}
	r.node = commit.New(commit.Config{DSN: dsn, Lead: r.takeOver, Left: r.leave, Changed: func(p []pay.Payment) { r.wheel.Note(p) }, Logger: r.telemetry.Logger()})
	r.dispatch = dispatch.New(dispatch.Config{Submitter: r.node, Channels: channels, Telemetry: r.telemetry, BreakerDelay: 100 * time.Millisecond})
	r.asker = settle.NewAsker(settle.AskerConfig{Submitter: r.node, Channels: channels, Pool: pool, Live: r.dispatch.Live, Telemetry: r.telemetry})
	r.inbox = settle.NewInbox(settle.InboxConfig{
		Pool: pool, Submitter: r.node, Channels: channels, Telemetry: r.telemetry,
		SweepEvery: 50 * time.Millisecond, SweepAfter: 200 * time.Millisecond, ParkEvery: 50 * time.Millisecond, ParkFor: 300 * time.Millisecond,
	})
	r.recon = recon.New(recon.Config{Pool: pool, Submitter: r.node, Channels: channels, Telemetry: r.telemetry, Terms: map[channel.Name]recon.Terms{"bank-ab": {Calendar: recon.Calendar{Grace: time.Millisecond}}}})
	r.expirer = timer.NewExpirer(r.node, nil, nil, r.telemetry)
	r.wheel = timer.New(timer.Config{
		Due: timer.Route{Dispatch: r.offer, Settle: func(p pay.Payment) bool { return r.asker.Check(p) }, Time: r.expirer.Offer}.Due, Pool: pool, Telemetry: r.telemetry,
		Guard: 4 * watchEvery, WatchEvery: watchEvery,
	})
	return r
}

// openBank starts the sandbox and the door for its callbacks.
func (r *road) openBank() {
	server, err := sandbox.New(sandbox.Config{Banks: []string{"AB"}, Secret: secret})
	require.NoError(r.t, err)
	r.bank, r.sandbox = httptest.NewServer(server.Handler()), server
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { _ = server.Run(ctx) })
	r.t.Cleanup(func() {
		cancel()
		run.Wait()
		require.NoError(r.t, server.Close())
		r.bank.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
}

// door starts the inbox and lets callbacks in.
func (r *road) door() {
	door := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(io.LimitReader(q.Body, channel.MaxBody+1))
		if err == nil {
			err = r.inbox.Receive(q.Context(), "bank-ab", q.Header, body)
		}
		if err != nil {
			http.Error(w, err.Error(), fault.HTTPStatus(fault.CodeOf(err)))
		}
	}))
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { _ = r.inbox.Run(ctx) })
	r.t.Cleanup(func() {
		cancel()
		run.Wait()
		door.Close()
	})
	require.NoError(r.t, r.sandbox.SetCallbackURL(door.URL+"/v1/channels/bank-{code}/callbacks"))
}

func (r *road) offer(p pay.Payment) bool { return !r.deaf.Load() && r.dispatch.Offer(p) }

// stations are what runs only on the leader.
type stations struct {
	cancel context.CancelFunc
	group  sync.WaitGroup
}

func (r *road) takeOver(ctx context.Context, open []pay.Payment) {
	ctx, cancel := context.WithCancel(ctx)
	r.stations = &stations{cancel: cancel}
	r.wheel.Load(open)
	r.dispatch.Start(ctx)
	r.stations.group.Go(func() { _ = r.wheel.Run(ctx) })
	r.stations.group.Go(func() { _ = r.asker.Run(ctx) })
	r.stations.group.Go(func() { _ = r.expirer.Run(ctx) })
	r.stations.group.Go(func() { _ = r.inbox.Sweep(ctx) })
}

func (r *road) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := r.dispatch.Stop(ctx); err != nil {
		r.t.Error(err)
	}
	r.stations.cancel()
	r.stations.group.Wait()
}

// capture returns a genuine callback of the bank about money that came for
// reference, as an inbox row holds it.
func (r *road) capture(reference string, amount int64) (headers string, body []byte) {
	r.t.Helper()
	header, body := r.captureRaw(reference, amount)
	text, err := json.Marshal(header)
	require.NoError(r.t, err)
	return string(text), body
}

func (r *road) captureRaw(reference string, amount int64) (http.Header, []byte) {
	r.t.Helper()
	type letter struct {
		header http.Header
		body   []byte
	}
	got := make(chan letter, 1)
	door := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		b, err := io.ReadAll(q.Body)
		if err == nil {
			got <- letter{q.Header, b}
		}
	}))
	defer door.Close()
	require.NoError(r.t, r.sandbox.SetCallbackURL(door.URL))
	r.instruct(reference, amount)
	select {
	case l := <-got:
		return l.header, l.body
	case <-time.After(patience):
		r.t.Fatal("no callback")
		return nil, nil
	}
}

// lead runs the node until the test ends, and opens two accounts.
func (r *road) lead() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = r.node.Run(ctx) }()
	r.t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(patience):
			r.t.Error("the node does not stop")
		}
	})
	require.Eventually(r.t, r.node.Leading, patience, 2*time.Millisecond)
	r.house, r.user = r.account("house", ledger.House), r.account("user", ledger.User)
}

func key(format string, args ...any) [16]byte {
	h := sha256.Sum256(fmt.Appendf(nil, format, args...))
	return [16]byte(h[:16])
}

func (r *road) account(name string, kind ledger.Kind) pay.AccountID {
	got, err := r.node.Submit(context.Background(), commit.Fact{Account: &ledger.AccountFact{
		Kind: ledger.Open, Key: key("account %s", name),
		New: ledger.Account{Tenant: 1, Kind: kind, Asset: "CZK", Name: name, Unlimited: kind == ledger.House},
	}})
	require.NoError(r.t, err)
	return pay.AccountID(got.Account.ID)
}

func (r *road) payout(n int, amount int64) commit.Fact {
	return accept(&pay.Payment{
		Tenant: 1, Kind: pay.Payout, Asset: "CZK", Amount: money.Int(amount), Fee: money.Int(3), From: r.house,
		Channel: "bank-ab", PayeeAccount: "123456", Key: key("payout %d", n),
	})
}

func (r *road) deposit(n int, amount int64) commit.Fact {
	return accept(&pay.Payment{
		Tenant: 1, Kind: pay.Deposit, Asset: "CZK", Amount: money.Int(amount), To: r.user, Channel: "bank-ab", Key: key("deposit %d", n),
	})
}

func accept(p *pay.Payment) commit.Fact {
	return commit.Fact{Payment: &pay.Fact{Kind: pay.Accept, New: p, Fingerprint: [16]byte(p.Key)}}
}

func (r *road) submit(facts ...commit.Fact) []pay.Payment {
	r.t.Helper()
	var payments []pay.Payment
	for _, o := range r.node.SubmitAll(context.Background(), facts) {
		require.NoError(r.t, o.Err)
		payments = append(payments, o.Payment)
	}
	return payments
}

// instruct makes a customer of the bank send money to us.
func (r *road) instruct(reference string, amount int64) {
	r.t.Helper()
	r.call(http.MethodPost, "/banks/ab/instructions",
		fmt.Sprintf(`{"reference":%q,"amount":"%d","asset":"CZK","from_account":"777"}`, reference, amount), nil)
}

func (r *road) behave(patch string) {
	r.t.Helper()
	r.call(http.MethodPatch, "/banks/ab/behaviour", patch, nil)
}

func (r *road) call(method, path, body string, into any) {
	r.t.Helper()
	req, err := http.NewRequest(method, r.bank.URL+path, strings.NewReader(body))
	require.NoError(r.t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(r.t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	require.NoError(r.t, err)
	require.Less(r.t, resp.StatusCode, 300, string(answer))
	if into != nil {
		require.NoError(r.t, json.Unmarshal(answer, into))
	}
}

// effects are how often the bank moved money, by reference: the outside truth.
func (r *road) effects() map[string]int {
	r.t.Helper()
	var books struct {
		Effects []struct {
			Reference string `json:"reference"`
		} `json:"effects"`
	}
	r.call(http.MethodGet, "/banks/ab/books?limit=5000", "", &books)
	moved := map[string]int{}
	for _, e := range books.Effects {
		moved[e.Reference]++
	}
	return moved
}

func (r *road) state(id pay.ID) (state pay.State, attempt int16) {
	r.t.Helper()
	require.NoError(r.t, r.pool.QueryRow(context.Background(),
		`select to_state, attempt from transitions where payment = $1 order by seq desc limit 1`, int64(id)).Scan(&state, &attempt))
	return state, attempt
}

func (r *road) number(sql string, args ...any) int64 {
	r.t.Helper()
	var n int64
	require.NoError(r.t, r.pool.QueryRow(context.Background(), sql, args...).Scan(&n))
	return n
}

func (r *road) eventually(what string, holds func() bool) {
	r.t.Helper()
	require.Eventually(r.t, holds, patience, 10*time.Millisecond, what)
}

func (r *road) untilFinal() {
	r.t.Helper()
	r.eventually("every payment is final", func() bool { return r.number(`select count(*) from open_payments`) == 0 })
}

// proof holds the ledger against itself and against the bank's books: what
// succeeded moved exactly once, what failed never did.
func (r *road) proof() {
	r.t.Helper()
	require.Zero(r.t, r.number(`select coalesce(sum(amount), 0)::bigint from facts.postings`))
	moved := r.effects()
	rows, err := r.pool.Query(context.Background(), `select distinct on (payment) payment, to_state, attempt from transitions
	  where payment in (select id from payments where kind in (1, 2, 3, 5, 6)
	    and id not in (select original from payments where kind in (7, 8))) order by payment, seq desc`)
	require.NoError(r.t, err)
	defer rows.Close()
	for rows.Next() {
		var id pay.ID
		var state pay.State
		var attempt int16
		require.NoError(r.t, rows.Scan(&id, &state, &attempt))
		for n := int16(0); n <= attempt; n++ {
			want := 0
			if state == pay.Succeeded && n == attempt {
				want = 1
			}
			require.Equal(r.t, want, moved[pay.Reference(id, n)], "attempt %d of %s, which is %s", n, id, state)
		}
	}
	require.NoError(r.t, rows.Err())
}
