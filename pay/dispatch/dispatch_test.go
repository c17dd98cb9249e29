package dispatch_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
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
	"github.com/moneta-pay/moneta/pay/timer"
	"github.com/moneta-pay/moneta/sandbox"
)

const patience = 30 * time.Second

func TestMain(m *testing.M) { pgtest.VerifyTestMain(m) }

// world is a leading node with a wheel and a dispatcher, two banks behind one
// proxy that can be cut, and nothing that asks: what dispatch does, it does alone.
type world struct {
	t        testing.TB
	pool     *pgxpool.Pool
	node     *commit.Node
	dispatch *dispatch.Dispatcher
	wheel    *timer.Wheel
	front    *httptest.Server
	payments atomic.Int64 // POSTs of payments that reached the banks' door
	ready    chan struct{}
	house    pay.AccountID
}

type options struct {
	caps      func(*channel.Capabilities)
	url       string // instead of the sandbox
	submitter func(commit.Submitter) commit.Submitter
	queueMax  int
	routes    dispatch.Routes
	// breakerDelay is 100 ms when left out.
	breakerDelay time.Duration
	wrap         func(channel.Channel) channel.Channel
	proven       func(channel.Name) bool
	contain      func(channel.Name) dispatch.Containment
	contradicted func(context.Context, channel.Name, *pay.Fact, *commit.Outcome) bool
}

func build(tb testing.TB, o options) *world {
	tb.Helper()
	w := &world{t: tb, ready: make(chan struct{})}
	dsn := pgtest.DSN(tb)
	var err error
	w.pool, err = pgxpool.New(context.Background(), dsn)
	require.NoError(tb, err)
	tb.Cleanup(w.pool.Close)
	w.openBanks()
	tel, err := telemetry.Setup(context.Background(), telemetry.Config{LogOutput: io.Discard})
	require.NoError(tb, err)
	w.node = commit.New(commit.Config{
		DSN: dsn, Logger: tel.Logger(),
		Lead: func(ctx context.Context, open []pay.Payment) {
			w.wheel.Load(open)
			w.dispatch.Start(ctx)
			close(w.ready)
		},
		Left: func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			if err := w.dispatch.Stop(ctx); err != nil {
				tb.Error(err)
			}
		},
		Changed: func(changed []pay.Payment) { w.wheel.Note(changed) },
	})
	submitter := commit.Submitter(w.node)
	if o.submitter != nil {
		submitter = o.submitter(submitter)
	}
	if o.breakerDelay == 0 {
		o.breakerDelay = 100 * time.Millisecond
	}
	w.dispatch = dispatch.New(dispatch.Config{
		Submitter: submitter, Channels: w.channels(o), Telemetry: tel, QueueMax: o.queueMax, BreakerDelay: o.breakerDelay, Routes: o.routes,
		DedupProven: o.proven, Contain: o.contain, Contradicted: o.contradicted,
	})
	w.wheel = timer.New(timer.Config{Due: timer.Route{Dispatch: w.dispatch.Offer}.Due, Telemetry: tel, Guard: 50 * time.Millisecond})
	w.run()
	return w
}

func (w *world) openBanks() {
	server, err := sandbox.New(sandbox.Config{Banks: []string{"AB", "CD"}, Secret: "s"})
	require.NoError(w.t, err)
	inner := server.Handler()
	w.front = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/payments") {
			w.payments.Add(1)
		}
		inner.ServeHTTP(rw, r)
	}))
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { _ = server.Run(ctx) })
	w.t.Cleanup(func() {
		cancel()
		run.Wait()
		require.NoError(w.t, server.Close())
		w.front.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
}

func (w *world) channels(o options) []channel.Channel {
	var all []channel.Channel
	for _, bank := range []string{"ab", "cd"} {
		caps := rail.DefaultCapabilities()
		caps.ClientTimeout = 2 * time.Second
		if o.caps != nil {
			o.caps(&caps)
		}
		url := w.front.URL
		if o.url != "" {
			url = o.url
		}
		ch, err := rail.New(rail.Config{BaseURL: url, Bank: bank, Secrets: []string{"s"}, Capabilities: caps})
		require.NoError(w.t, err)
		w.t.Cleanup(ch.Close)
		if o.wrap != nil {
			all = append(all, o.wrap(ch))
			continue
		}
		all = append(all, ch)
	}
	return all
}

func (w *world) run() {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { _ = w.node.Run(ctx) })
	group.Go(func() { _ = w.wheel.Run(ctx) })
	w.t.Cleanup(func() { cancel(); group.Wait() })
	select {
	case <-w.ready:
	case <-time.After(patience):
		w.t.Fatal("nobody leads")
	}
	got, err := w.node.Submit(context.Background(), commit.Fact{Account: &ledger.AccountFact{
		Kind: ledger.Open, Key: key("house"), New: ledger.Account{Tenant: 1, Kind: ledger.House, Asset: "CZK", Name: "house", Unlimited: true},
	}})
	require.NoError(w.t, err)
	w.house = pay.AccountID(got.Account.ID)
}

func key(name string) [16]byte {
	h := sha256.Sum256([]byte(name))
	return [16]byte(h[:16])
}

func (w *world) payout(name, bank, payee string, amount int64) pay.Payment {
	w.t.Helper()
	p := &pay.Payment{
		Tenant: 1, Kind: pay.Payout, Asset: "CZK", Amount: money.Int(amount), Fee: money.Int(3), From: w.house,
		Channel: bank, PayeeAccount: payee, Key: key(name),
	}
	got, err := w.node.Submit(context.Background(), commit.Fact{Payment: &pay.Fact{Kind: pay.Accept, New: p, Fingerprint: pay.Fingerprint(p.Key)}})
	require.NoError(w.t, err)
	return got.Payment
}

func (w *world) state(id pay.ID) pay.State {
	w.t.Helper()
	var s pay.State
	require.NoError(w.t, w.pool.QueryRow(context.Background(),
		`select to_state from transitions where payment = $1 order by seq desc limit 1`, int64(id)).Scan(&s))
	return s
}

func (w *world) number(sql string, args ...any) int64 {
	w.t.Helper()
	var n int64
	require.NoError(w.t, w.pool.QueryRow(context.Background(), sql, args...).Scan(&n))
	return n
}

func (w *world) behave(bank, patch string) {
	w.t.Helper()
	req, err := http.NewRequest(http.MethodPatch, w.front.URL+"/banks/"+bank+"/behaviour", strings.NewReader(patch))
	require.NoError(w.t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(w.t, err)
	defer resp.Body.Close()
	require.Equal(w.t, http.StatusOK, resp.StatusCode)
}

func (w *world) eventually(what string, holds func() bool) {
	w.t.Helper()
	require.Eventually(w.t, holds, patience, 5*time.Millisecond, what)
}

func TestEachWordBecomesItsState(t *testing.T) {
	t.Parallel()
	w := build(t, options{})
	for amount, want := range map[int64]pay.State{
		500:           pay.Processing, // acknowledged
		1_000_000_001: pay.Failed,     // declined in the reply
		1_000_000_003: pay.Unknown,    // lost on the way there
		1_000_000_004: pay.Unknown,    // lost on the way back
		1_000_000_006: pay.Unknown,    // 500, although executed
		1_000_000_008: pay.Unknown,    // HTML, although executed
	} {
		p := w.payout(fmt.Sprint(amount), "bank-ab", "1", amount)
		w.eventually(fmt.Sprintf("%d is %s", amount, want), func() bool { return w.state(p.ID) == want })
	}
	require.Equal(t, int64(6), w.payments.Load(), "nothing is sent twice")
	w.behave("cd", `{"mode":"sync"}`)
	p := w.payout("sync", "bank-cd", "1", 7)
	w.eventually("executed in the reply", func() bool { return w.state(p.ID) == pay.Succeeded })
}

func TestAnOrderThatCannotBeSentGivesTheMoneyBack(t *testing.T) {
	t.Parallel()
	w := build(t, options{})
	p := w.payout("no payee", "bank-ab", "", 700)
	w.eventually("failed", func() bool { return w.state(p.ID) == pay.Failed })
	require.Zero(t, w.payments.Load())
	require.Zero(t, w.number(`select coalesce(sum(amount), 0)::bigint from facts.postings where account = $1 or account = $1 + 1`, int64(w.house)))
	require.Equal(t, int64(pay.NeverSent), w.number(`select state from attempts where payment = $1`, int64(p.ID)))
}

// One bank hangs with its bulkhead full; the other's payments do not notice.
func TestASlowChannelTakesNobodyElsesSlots(t *testing.T) {
	t.Parallel()
	w := build(t, options{caps: func(c *channel.Capabilities) { c.MaxInFlight = 2 }})
	w.behave("ab", `{"latency":{"probability":1,"min_ms":1500,"max_ms":1500}}`)
	for i := range 6 {
		w.payout(fmt.Sprint("slow", i), "bank-ab", "1", 100)
	}
	w.eventually("both slots are taken", func() bool { return w.number(`select count(*) from attempts where channel = 'bank-ab'`) == 2 })
	var fast []pay.Payment
	for i := range 20 {
		fast = append(fast, w.payout(fmt.Sprint("fast", i), "bank-cd", "1", 100))
	}
	for _, p := range fast {
		w.eventually("the other bank's are out", func() bool { return w.state(p.ID) == pay.Processing })
	}
	require.Equal(t, int64(2), w.number(`select count(*) from attempts where channel = 'bank-ab'`))
	w.eventually("and the slow ones follow", func() bool {
		return w.number(`select count(*) from open_payments where state = $1`, int16(pay.Processing)) == 26
	})
}

// The bank cannot be reached: no attempt is in doubt, the breaker keeps the
// queue, and everything goes out when the bank is back.
func TestADeadBankHoldsTheQueueAndLosesNothing(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())
	w := build(t, options{url: "http://" + address})
	var all []pay.Payment
	for i := range 30 {
		all = append(all, w.payout(fmt.Sprint("p", i), "bank-ab", "1", 100))
	}
	w.eventually("tried in vain", func() bool {
		return w.number(`select count(*) from attempts where state = $1`, int16(pay.NeverSent)) >= 10
	})
	require.Zero(t, w.number(`select count(*) from transitions where to_state = $1`, int16(pay.Unknown)))
	for _, p := range all {
		require.True(t, w.dispatch.Offer(p) || w.state(p.ID) != pay.Reserved, "held for a reason")
	}
	listener, err = net.Listen("tcp", address)
	require.NoError(t, err)
	back := &http.Server{Handler: w.front.Config.Handler, ReadHeaderTimeout: time.Second}
	go func() { _ = back.Serve(listener) }()
	t.Cleanup(func() { _ = back.Close() })
	w.eventually("all are out", func() bool {
		return w.number(`select count(*) from open_payments where state = $1`, int16(pay.Processing)) == 30
	})
	require.Equal(t, int64(30), w.payments.Load(), "each once")
}

// forgetful performs what it is given and says that it does not know, the first
// time for each batch: a connection that broke behind the COMMIT.
type forgetful struct {
	commit.Submitter
	mu   sync.Mutex
	seen map[string]bool
}

func (f *forgetful) SubmitAll(ctx context.Context, facts []commit.Fact) []commit.Outcome {
	out := f.Submitter.SubmitAll(ctx, facts)
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range facts {
		name := fmt.Sprint(facts[i].Payment.Payment, facts[i].Payment.Kind, facts[i].Payment.Attempt)
		if !f.seen[name] {
			f.seen[name] = true
			out[i] = commit.Outcome{Err: fault.New(fault.CommitUnknown, "the answer was lost")}
		}
	}
	return out
}

func TestAnUnknownCommitIsAskedAgainAndSendsOnce(t *testing.T) {
	t.Parallel()
	w := build(t, options{submitter: func(s commit.Submitter) commit.Submitter {
		return &forgetful{Submitter: s, seen: map[string]bool{}}
	}})
	for i := range 10 {
		w.payout(fmt.Sprint("p", i), "bank-ab", "1", 100)
	}
	w.eventually("all are out", func() bool {
		return w.number(`select count(*) from open_payments where state = $1`, int16(pay.Processing)) == 10
	})
	require.Equal(t, int64(10), w.payments.Load())
	require.Equal(t, int64(10), w.number(`select count(*) from attempts`))
}

func TestOfferSaysWhatIsInHand(t *testing.T) {
	t.Parallel()
	w := build(t, options{queueMax: 1, caps: func(c *channel.Capabilities) { c.MaxInFlight = 1 }})
	w.behave("ab", `{"latency":{"probability":1,"min_ms":1000,"max_ms":1000}}`)
	first := w.payout("first", "bank-ab", "1", 100)
	w.eventually("live", func() bool { return w.dispatch.Live(first.ID) })
	require.True(t, w.dispatch.Offer(first))
	second := w.payout("second", "bank-ab", "1", 100)
	w.eventually("queued behind it", func() bool { return w.dispatch.Offer(second) })
	third := second
	third.ID++
	require.False(t, w.dispatch.Offer(third), "the queue is full")
	require.False(t, w.dispatch.Live(third.ID))
	elsewhere := second
	elsewhere.Channel = "bank-zz"
	require.False(t, w.dispatch.Offer(elsewhere), "nobody serves this channel")
	require.Less(t, time.Since(w.dispatch.Progress()), commit.ProgressMax)
	w.eventually("both are out", func() bool { return w.state(second.ID) == pay.Processing })
}

// orders notes what a channel was told.
type orders struct {
	channel.Channel
	sent chan channel.Order
}

func (o *orders) Send(ctx context.Context, order channel.Order) channel.Word {
	o.sent <- order
	return o.Channel.Send(ctx, order)
}

// TestTheLimitOfAnAttemptIsAlsoMonotonic: the channel is told the committed
// send_by, with the reading by which a wall clock that is set back changes nothing.
func TestTheLimitOfAnAttemptIsAlsoMonotonic(t *testing.T) {
	t.Parallel()
	sent := make(chan channel.Order, 1)
	w := build(t, options{wrap: func(ch channel.Channel) channel.Channel { return &orders{ch, sent} }})
	p := w.payout("p", "bank-ab", "1", 5)
	order := <-sent
	require.Contains(t, order.SendBy.String(), " m=+")
	var stored time.Time
	require.NoError(t, w.pool.QueryRow(t.Context(), `select send_by from attempts where payment = $1`, int64(p.ID)).Scan(&stored))
	require.True(t, order.SendBy.Round(0).Equal(stored), "%s %s", order.SendBy, stored)
}

// mute says of a first order that nobody knows what became of it, and that no byte
// was sent of those behind it.
type mute struct {
	channel.Channel
	orders atomic.Int64
}

func (m *mute) Send(context.Context, channel.Order) channel.Word {
	if m.orders.Add(1) == 1 {
		return channel.Word{Verdict: channel.Unknown, Reason: channel.ReasonTimeout}
	}
	return channel.Word{Verdict: channel.NeverSent, Reason: channel.ReasonNotConnected}
}

// TestAResendThatWasNeverSentProvesNothing: no byte of the second order left, and of
// the first one nobody knows as little as before. Another attempt could pay twice.
func TestAResendThatWasNeverSentProvesNothing(t *testing.T) {
	t.Parallel()
	m := &mute{}
	w := build(t, options{proven: func(channel.Name) bool { return true }, wrap: func(ch channel.Channel) channel.Channel {
		if ch.Name() != "bank-ab" {
			return ch
		}
		m.Channel = ch
		return m
	}})
	p := w.payout("p", "bank-ab", "1", 5)
	w.eventually("unknown", func() bool { return w.state(p.ID) == pay.Unknown && !w.dispatch.Live(p.ID) })
	unknown, err := commit.NewReader(w.pool).Payment(t.Context(), 1, p.ID)
	require.NoError(t, err)
	require.True(t, w.dispatch.Resend(unknown))
	w.eventually("sent again, and over", func() bool { return m.orders.Load() >= 2 && !w.dispatch.Live(p.ID) })
	require.Equal(t, pay.Unknown, w.state(p.ID))
	require.Equal(t, int64(2), m.orders.Load(), "no other attempt")
	require.Equal(t, int64(1), w.number(`select count(*) from attempts where payment = $1`, int64(p.ID)))
}

// overtaken hands the decider another word of the channel before the reply: a callback
// may come first.
type overtaken struct {
	commit.Submitter
	before atomic.Pointer[func(*pay.Fact) *pay.Fact]
}

func (o *overtaken) SubmitAll(ctx context.Context, facts []commit.Fact) []commit.Outcome {
	if f := o.before.Load(); f != nil {
		for i := range facts {
			if first := (*f)(facts[i].Payment); first != nil {
				o.Submitter.SubmitAll(ctx, []commit.Fact{{Payment: first}})
			}
		}
	}
	return o.Submitter.SubmitAll(ctx, facts)
}

// TestAReplyThatContradictsCallsSomebody: the bank's callback says that it has executed,
// its reply that it will not. Nothing flips, and a person hears of it although nobody
// will ask about a final payment again.
func TestAReplyThatContradictsCallsSomebody(t *testing.T) {
	t.Parallel()
	between := &overtaken{}
	var mu sync.Mutex
	var told []string
	w := build(t, options{
		submitter: func(s commit.Submitter) commit.Submitter {
			between.Submitter = s
			return between
		},
		contradicted: func(_ context.Context, name channel.Name, f *pay.Fact, answer *commit.Outcome) bool {
			if answer.Err == nil {
				return false
			}
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprint(name, " ", f.Kind, " ", f.Attempt, " ", fault.CodeOf(answer.Err)))
			return true
		},
	})
	const declined = 1_000_000_001
	execute := func(f *pay.Fact) *pay.Fact {
		if f.Kind != pay.Decline {
			return nil
		}
		return &pay.Fact{Kind: pay.Confirm, Payment: f.Payment, Attempt: f.Attempt, At: f.At, Amount: money.Int(declined), Asset: "CZK", Source: "callback"}
	}
	between.before.Store(&execute)
	p := w.payout("two words", "bank-ab", "1", declined)
	w.eventually("somebody is called", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(told) > 0
	})
	require.Equal(t, pay.Succeeded, w.state(p.ID))
	require.Equal(t, []string{fmt.Sprint("bank-ab ", pay.Decline, " 1 ", fault.AlreadyFinal)}, told)
}
