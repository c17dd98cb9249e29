package recon_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
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
	"github.com/moneta-pay/moneta/pay/ledger"
	"github.com/moneta-pay/moneta/pay/recon"
	"github.com/moneta-pay/moneta/sandbox"
)

const patience = 30 * time.Second

func TestMain(m *testing.M) { pgtest.VerifyTestMain(m) }

// world is a leading node and a bank; the test plays dispatch by hand.
type world struct {
	t           testing.TB
	pool        *pgxpool.Pool
	node        *commit.Node
	recon       *recon.Recon
	flaky       *flaky
	bank        string
	house, user pay.AccountID
}

// flaky answers that nobody leads, as often as it is told.
type flaky struct {
	commit.Submitter
	mu    sync.Mutex
	fails int
	after bool // fail after the facts were committed
}

func (f *flaky) SubmitAll(ctx context.Context, facts []commit.Fact) []commit.Outcome {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fails == 0 {
		return f.Submitter.SubmitAll(ctx, facts)
	}
	f.fails--
	if f.after {
		f.Submitter.SubmitAll(ctx, facts)
	}
	out := make([]commit.Outcome, len(facts))
	for i := range out {
		out[i].Err = fault.New(fault.CommitUnknown, "the answer was lost")
	}
	return out
}

func build(tb testing.TB, pageMax int) *world {
	tb.Helper()
	return buildWith(tb, pageMax, terms())
}

func buildWith(tb testing.TB, pageMax int, terms map[channel.Name]recon.Terms) *world {
	tb.Helper()
	w := &world{t: tb}
	dsn := pgtest.DSN(tb)
	var err error
	w.pool, err = pgxpool.New(context.Background(), dsn)
	require.NoError(tb, err)
	tb.Cleanup(w.pool.Close)
	server, err := sandbox.New(sandbox.Config{Banks: []string{"AB"}, Secret: "s"})
	require.NoError(tb, err)
	front := httptest.NewServer(server.Handler())
	w.bank = front.URL
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	w.node = commit.New(commit.Config{DSN: dsn})
	group.Go(func() { _ = server.Run(ctx) })
	group.Go(func() { _ = w.node.Run(ctx) })
	tb.Cleanup(func() {
		cancel()
		group.Wait()
		require.NoError(tb, server.Close())
		front.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	ch, err := rail.New(rail.Config{BaseURL: w.bank, Bank: "ab", Secrets: []string{"s"}})
	require.NoError(tb, err)
	tb.Cleanup(ch.Close)
	tel, err := telemetry.Setup(context.Background(), telemetry.Config{LogOutput: io.Discard})
	require.NoError(tb, err)
	w.flaky = &flaky{Submitter: w.node}
	w.recon = recon.New(recon.Config{
		Pool: w.pool, Submitter: w.flaky, Channels: []channel.Channel{ch}, Telemetry: tel, Terms: terms, PageMax: pageMax,
	})
	require.Eventually(tb, w.node.Leading, patience, 2*time.Millisecond)
	w.house, w.user = w.account("house", ledger.House), w.account("user", ledger.User)
	return w
}

func key(name string) [16]byte {
	h := sha256.Sum256([]byte(name))
	return [16]byte(h[:16])
}

func (w *world) account(name string, kind ledger.Kind) pay.AccountID {
	got, err := w.node.Submit(context.Background(), commit.Fact{Account: &ledger.AccountFact{
		Kind: ledger.Open, Key: key(name), New: ledger.Account{Tenant: 1, Kind: kind, Asset: "CZK", Name: name, Unlimited: kind == ledger.House},
	}})
	require.NoError(w.t, err)
	return pay.AccountID(got.Account.ID)
}

func (w *world) fact(f pay.Fact) pay.Payment {
	w.t.Helper()
	got, err := w.node.Submit(context.Background(), commit.Fact{Payment: &f})
	require.NoError(w.t, err)
	return got.Payment
}

func (w *world) deposit(name string, amount int64) pay.Payment {
	p := &pay.Payment{Tenant: 1, Kind: pay.Deposit, Asset: "CZK", Amount: money.Int(amount), To: w.user, Channel: "bank-ab", Key: key(name)}
	return w.fact(pay.Fact{Kind: pay.Accept, New: p, Fingerprint: pay.Fingerprint(p.Key)})
}

// accepted accepts a payout.
func (w *world) accepted(name string, amount int64) pay.Payment {
	w.t.Helper()
	p := &pay.Payment{
		Tenant: 1, Kind: pay.Payout, Asset: "CZK", Amount: money.Int(amount), From: w.house, Channel: "bank-ab", PayeeAccount: "1", Key: key(name),
	}
	return w.fact(pay.Fact{Kind: pay.Accept, New: p, Fingerprint: pay.Fingerprint(p.Key)})
}

// send intends and orders.
func (w *world) send(p pay.Payment, amount int64) pay.Payment {
	w.t.Helper()
	p = w.fact(pay.Fact{Kind: pay.Intend, Payment: p.ID, Attempt: 1, SendBy: time.Now().Add(time.Second)})
	w.call(http.MethodPost, "/payments", fmt.Sprintf(`{"reference":%q,"amount":"%d","asset":"CZK","account":"1"}`, pay.Reference(p.ID, 1), amount))
	return p
}

// payout accepts, intends and orders: the bank executes it.
func (w *world) payout(name string, amount int64) pay.Payment {
	return w.send(w.accepted(name, amount), amount)
}

// terms are those of a bank whose lines are due at once.
func terms() map[channel.Name]recon.Terms {
	return map[channel.Name]recon.Terms{"bank-ab": {Calendar: recon.Calendar{Grace: time.Nanosecond}}}
}

// instruct sends money to us and waits until the bank has booked it.
func (w *world) instruct(reference string, amount int64) {
	w.call(http.MethodPost, "/instructions", fmt.Sprintf(`{"reference":%q,"amount":"%d","asset":"CZK","from_account":"7"}`, reference, amount))
	w.booked(reference)
}

func (w *world) booked(reference string) {
	w.t.Helper()
	require.Eventually(w.t, func() bool { return strings.Contains(w.call(http.MethodGet, "/statement?limit=1000", ""), reference) },
		patience, 5*time.Millisecond, "the bank books %s", reference)
}

func (w *world) call(method, path, body string) string {
	w.t.Helper()
	req, err := http.NewRequest(method, w.bank+"/banks/ab"+path, strings.NewReader(body))
	require.NoError(w.t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(w.t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	require.Less(w.t, resp.StatusCode, 300, string(answer))
	return string(answer)
}

func (w *world) run() {
	w.t.Helper()
	require.NoError(w.t, w.recon.Run(context.Background()))
}

// classes are the breaks by class: open ones, and closed ones with a minus.
func (w *world) classes() map[string]int {
	w.t.Helper()
	breaks, _, err := w.recon.Breaks(context.Background(), recon.BreakFilter{State: "all"})
	require.NoError(w.t, err)
	found := map[string]int{}
	for _, b := range breaks {
		if b.ClosedAt == nil {
			found[b.Class]++
		} else {
			found["-"+b.Class]++
		}
	}
	return found
}

func (w *world) money() recon.AssetReport {
	w.t.Helper()
	report, err := w.recon.Report(context.Background())
	require.NoError(w.t, err)
	require.Len(w.t, report.Channels, 1)
	if len(report.Channels[0].Assets) == 0 {
		return recon.AssetReport{}
	}
	return report.Channels[0].Assets[0]
}

func (w *world) settled(id pay.ID) bool {
	w.t.Helper()
	var n int
	require.NoError(w.t, w.pool.QueryRow(context.Background(),
		`select count(*) from transitions where payment = $1 and settlement = $2`, int64(id), int16(pay.SettlementMatched)).Scan(&n))
	return n == 1
}

// A statement alone brings everything home: payments still in doubt succeed by
// it, clearing runs to zero, and our account at the bank is the bank's figure.
func TestTheStatementSettlesEverythingToZero(t *testing.T) {
	t.Parallel()
	w := build(t, 3)
	w.call(http.MethodPatch, "/behaviour", `{"fee":"2"}`)
	var all []pay.Payment
	for i := range 10 {
		p := w.payout(fmt.Sprint("out", i), int64(100+i))
		w.booked(pay.Reference(p.ID, 1))
		d := w.deposit(fmt.Sprint("in", i), int64(200+i))
		w.instruct(pay.Reference(d.ID, 0), int64(200+i))
		all = append(all, p, d)
	}
	w.run()
	w.run()
	for _, p := range all {
		require.True(t, w.settled(p.ID))
	}
	require.Empty(t, w.classes())
	m := w.money()
	require.True(t, m.ClearingIn.IsZero() && m.ClearingOut.IsZero() && m.Difference.IsZero(), "%+v", m)
	require.Equal(t, money.Int(2045-1045-20), m.Bank)
}

// A line that is there already settles its payment without a row in expectations, and
// one that is not there leaves a row until it comes.
func TestOnlyWhatTheLinesDidNotSettleIsExpected(t *testing.T) {
	t.Parallel()
	w := build(t, 3)
	written := func() (n int) { // rows that ever were, not those that are left
		require.NoError(t, w.pool.QueryRow(t.Context(), `select count(*) from inserted`).Scan(&n))
		return n
	}
	_, err := w.pool.Exec(t.Context(), `create table inserted (payment bigint);
		create function note() returns trigger language plpgsql security definer as $$ begin insert into public.inserted values (new.payment); return new; end $$;
		create trigger noted after insert on expectations for each row execute function note()`)
	require.NoError(t, err)
	for i := range 7 {
		p := w.payout(fmt.Sprint("shown", i), int64(100+i))
		w.booked(pay.Reference(p.ID, 1))
		w.fact(pay.Fact{Kind: pay.Confirm, Payment: p.ID, Attempt: 1, Amount: p.Amount, Asset: p.Asset})
	}
	w.run()
	require.Zero(t, written())
	late := w.accepted("late", 300)
	w.fact(pay.Fact{Kind: pay.Intend, Payment: late.ID, Attempt: 1, SendBy: time.Now().Add(time.Second)})
	w.fact(pay.Fact{Kind: pay.Confirm, Payment: late.ID, Attempt: 1, Amount: late.Amount, Asset: late.Asset})
	w.run()
	require.Equal(t, 1, written())
	w.call(http.MethodPost, "/payments", fmt.Sprintf(`{"reference":%q,"amount":"300","asset":"CZK","account":"1"}`, pay.Reference(late.ID, 1)))
	w.booked(pay.Reference(late.ID, 1))
	w.run()
	require.True(t, w.settled(late.ID))
	require.Equal(t, 1, written())
}

// The process dies after the facts and before the lines, or in doubt of the
// facts: the page is read again, and nothing settles twice.
func TestACrashBetweenFactsAndLinesReadsThePageAgain(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		w := build(t, 100)
		d := w.deposit("in", 200)
		w.instruct(pay.Reference(d.ID, 0), 200)
		w.flaky.fails, w.flaky.after = 1, after
		require.ErrorIs(t, w.recon.Run(t.Context()), fault.CommitUnknown)
		var lines int
		require.NoError(t, w.pool.QueryRow(t.Context(), `select count(*) from statement_lines`).Scan(&lines))
		require.Zero(t, lines)
		w.run()
		require.True(t, w.settled(d.ID))
		require.Empty(t, w.classes())
		m := w.money()
		require.True(t, m.ClearingIn.IsZero() && m.Difference.IsZero(), "%+v", m)
	}
}

// What succeeded by the channel's word and is not on the statement is a break,
// until the statement shows it.
func TestMissingIsABreakUntilItsLineComes(t *testing.T) {
	t.Parallel()
	w := build(t, 100)
	d := w.deposit("in", 200)
	w.fact(pay.Fact{Kind: pay.Confirm, Payment: d.ID, Amount: d.Amount, Asset: d.Asset, Source: "callback"})
	w.run()
	require.Equal(t, map[string]int{"missing_in_statement": 1}, w.classes())
	require.Equal(t, money.Int(-200), w.money().ClearingIn)
	w.instruct(pay.Reference(d.ID, 0), 200)
	w.run()
	require.Equal(t, map[string]int{"-missing_in_statement": 1}, w.classes())
	require.True(t, w.money().ClearingIn.IsZero())
}

// Money that we cannot place and another amount than ours are breaks with their
// class, and nothing moves; money for what has failed is its holder's all the same.
func TestWhatDoesNotFitMovesNothing(t *testing.T) {
	t.Parallel()
	w := build(t, 2)
	declined := w.deposit("declined", 300)
	w.fact(pay.Fact{Kind: pay.Decline, Payment: declined.ID})
	other := w.deposit("other amount", 400)
	payout := w.payout("payout", 500)
	w.booked(pay.Reference(payout.ID, 1))
	w.instruct("GRANDMOTHER", 100)
	w.instruct(pay.Reference(777, 0), 100)
	w.instruct(pay.Reference(payout.ID, 0), 500) // a stranger quotes our payout
	w.instruct(pay.Reference(declined.ID, 0), 300)
	w.instruct(pay.Reference(other.ID, 0), 401)
	w.run()
	require.Equal(t, map[string]int{"unmatched_inbound": 1, "unknown_reference": 1, "misdirected": 1, "-late_outcome": 1, "amount_mismatch": 1}, w.classes())
	require.False(t, w.settled(declined.ID) || w.settled(other.ID))
	require.True(t, w.settled(payout.ID))
	var late pay.ID
	require.NoError(t, w.pool.QueryRow(t.Context(), `select id from payments where original = $1 and kind = $2`,
		int64(declined.ID), int16(pay.LateDeposit)).Scan(&late))
	require.True(t, w.settled(late), "the statement is proof: credited late, and settled at once")
	require.Equal(t, money.Int(401), w.money().Difference, "what the break of the amount explains")
	var inbound, waiting int64
	require.NoError(t, w.pool.QueryRow(t.Context(), `select count(*), sum(amount)::bigint from open_payments where kind = $1 and state = $2`,
		int16(pay.Inbound), int16(pay.InReview)).Scan(&inbound, &waiting))
	require.Equal(t, []int64{3, 100 + 100 + 500}, []int64{inbound, waiting}, "money without an intent is booked, and waits for a person")
}

// The bank executes an order twice: the second line is a break of its own.
func TestADoubleExecutionIsSeen(t *testing.T) {
	t.Parallel()
	w := build(t, 100)
	w.call(http.MethodPatch, "/behaviour", `{"dedup":false}`)
	p := w.payout("payout", 500)
	w.booked(pay.Reference(p.ID, 1))
	w.call(http.MethodPost, "/payments", fmt.Sprintf(`{"reference":%q,"amount":"500","asset":"CZK","account":"1"}`, pay.Reference(p.ID, 1)))
	require.Eventually(t, func() bool {
		return strings.Count(w.call(http.MethodGet, "/statement?limit=1000", ""), pay.Reference(p.ID, 1)) == 2
	}, patience, 5*time.Millisecond)
	w.run()
	require.Equal(t, map[string]int{"double_execution": 1}, w.classes())
	require.True(t, w.settled(p.ID))
	require.Equal(t, money.Int(-500), w.money().Difference)
}

func TestLoopGoesOnAfterAFailure(t *testing.T) {
	t.Parallel()
	w := build(t, 100)
	d := w.deposit("in", 200)
	w.instruct(pay.Reference(d.ID, 0), 200)
	w.flaky.fails = 1
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.recon.Loop(ctx) }()
	require.Eventually(t, func() bool {
		if !w.settled(d.ID) {
			_ = w.recon.Run(t.Context()) // on demand, beside the loop
		}
		return w.settled(d.ID)
	}, patience, 5*time.Millisecond)
	cancel()
	require.NoError(t, <-done)
}
