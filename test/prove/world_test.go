// Package prove holds the recount against ledgers that the real decider and the real
// reconciliation wrote, beside banks with books of their own: the untouched one must be
// clean, and every planted damage must be found and named. It refuses to let the
// recount see what was planted.
package prove

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor/prove"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	rail "github.com/moneta-pay/moneta/pay/channel/sandbox"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/ledger"
	"github.com/moneta-pay/moneta/pay/notify"
	"github.com/moneta-pay/moneta/pay/outbox"
	"github.com/moneta-pay/moneta/pay/recon"
	"github.com/moneta-pay/moneta/sandbox"
)

const patience = 30 * time.Second

func TestMain(m *testing.M) { pgtest.VerifyTestMain(m) }

// world is a leading node, two banks and their reconciliation; the test plays
// dispatch by hand.
type world struct {
	t     testing.TB
	dsn   string
	db    *pgxpool.Pool // a superuser's
	node  *commit.Node
	recon *recon.Recon
	banks string
	stop  func()

	house, alice, shop pay.AccountID
	named              map[string]pay.Payment
}

func key(name string) [16]byte {
	h := sha256.Sum256([]byte(name))
	return [16]byte(h[:16])
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	return newWorldOn(tb, pgtest.DSN(tb))
}

func newWorldOn(tb testing.TB, dsn string) *world {
	tb.Helper()
	w := &world{t: tb, dsn: dsn, named: map[string]pay.Payment{}}
	var err error
	w.db, err = pgxpool.New(context.Background(), w.dsn)
	require.NoError(tb, err)
	tb.Cleanup(w.db.Close)
	server, err := sandbox.New(sandbox.Config{Banks: []string{"AB", "CD"}, Secret: "s"})
	require.NoError(tb, err)
	front := httptest.NewServer(server.Handler())
	w.banks = front.URL
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	w.node = commit.New(commit.Config{DSN: w.dsn})
	group.Go(func() { _ = server.Run(ctx) })
	group.Go(func() { _ = w.node.Run(ctx) })
	w.stop = sync.OnceFunc(func() {
		cancel()
		group.Wait()
	})
	tb.Cleanup(func() {
		w.stop()
		require.NoError(tb, server.Close())
		front.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	var channels []channel.Channel
	for _, bank := range []string{"ab", "cd"} {
		ch, err := rail.New(rail.Config{BaseURL: w.banks, Bank: bank, Secrets: []string{"s"}})
		require.NoError(tb, err)
		tb.Cleanup(ch.Close)
		channels = append(channels, ch)
	}
	tel, err := telemetry.Setup(context.Background(), telemetry.Config{LogOutput: io.Discard})
	require.NoError(tb, err)
	w.recon = recon.New(recon.Config{Pool: w.db, Submitter: w.node, Channels: channels, Telemetry: tel})
	require.Eventually(tb, w.node.Leading, patience, 2*time.Millisecond)
	w.house, w.alice, w.shop = w.account("house", ledger.House), w.account("alice", ledger.User), w.account("shop", ledger.User)
	return w
}

// at is a superuser's connection to another copy of the database.
func (w *world) at(dsn string) *pgxpool.Pool {
	w.t.Helper()
	pool, err := pgxpool.New(context.Background(), dsn)
	require.NoError(w.t, err)
	w.t.Cleanup(pool.Close)
	return pool
}

func (w *world) account(name string, kind ledger.Kind) pay.AccountID {
	w.t.Helper()
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

// accept makes a payment and remembers it by name.
func (w *world) accept(name string, p pay.Payment) pay.Payment {
	w.t.Helper()
	p.Tenant, p.Asset, p.Key = 1, "CZK", key(name)
	got := w.fact(pay.Fact{Kind: pay.Accept, New: &p, Fingerprint: pay.Fingerprint(p.Key)})
	w.named[name] = got
	return got
}

// word is the channel's, with our amount.
func (w *world) word(p pay.Payment, kind pay.FactKind) pay.Payment {
	w.t.Helper()
	f := pay.Fact{Kind: kind, Payment: p.ID, Attempt: p.Attempt.N, Amount: p.Amount, Asset: p.Asset}
	if kind == pay.Intend {
		f.Attempt++
		f.SendBy = time.Now().Add(5 * time.Second)
	}
	return w.fact(f)
}

func (w *world) payout(name string, amount int64) pay.Payment {
	w.t.Helper()
	return w.accept(name, pay.Payment{Kind: pay.Payout, Amount: money.Int(amount), Fee: money.Int(3), From: w.alice, Channel: "bank-ab", PayeeAccount: "77"})
}

// judged is a payout that guard does not let through at once.
func (w *world) judged(name string, verdict pay.FactKind) pay.Payment {
	w.t.Helper()
	p := &pay.Payment{
		Tenant: 1, Asset: "CZK", Key: key(name), Kind: pay.Payout, Amount: money.Int(61), Fee: money.Int(3), From: w.alice, Channel: "bank-ab", PayeeAccount: "77",
	}
	w.named[name] = w.fact(pay.Fact{Kind: pay.Accept, New: p, Fingerprint: pay.Fingerprint(p.Key), Verdict: verdict})
	return w.named[name]
}

// order lets the bank execute the payment's attempt.
func (w *world) order(p pay.Payment, amount string) {
	w.t.Helper()
	w.call(http.MethodPost, "/banks/ab/payments", fmt.Sprintf(`{"reference":%q,"amount":%q,"asset":"CZK","account":"77"}`, p.Attempt.Reference, amount))
	w.booked("ab", p.Attempt.Reference)
}

// paid is a payout that was sent and executed, and whose word has come.
func (w *world) paid(name string, amount int64) pay.Payment {
	w.t.Helper()
	p := w.word(w.payout(name, amount), pay.Intend)
	w.order(p, p.Amount.String())
	return w.word(p, pay.Confirm)
}

// disputed is a payout whose first attempt the one bank executed although it was proven
// absent, and whose second one went to the other bank in vain: two people named the first.
func (w *world) disputed(name string, amount int64) {
	w.t.Helper()
	first := w.word(w.payout(name, amount), pay.Intend)
	w.order(first, first.Amount.String())
	w.word(first, pay.ProveAbsent)
	second := w.fact(pay.Fact{Kind: pay.Intend, Payment: first.ID, Attempt: 2, SendBy: time.Now().Add(5 * time.Second), Channel: "bank-cd"})
	_, err := w.node.Submit(context.Background(), commit.Fact{Payment: &pay.Fact{
		Kind: pay.Confirm, Payment: first.ID, Attempt: 1, Amount: first.Amount, Asset: first.Asset, Channel: "bank-ab",
	}})
	require.ErrorIs(w.t, err, fault.AlreadyFinal)
	require.Equal(w.t, pay.InReview, w.word(second, pay.ProveAbsent).State)
	w.fact(pay.Fact{
		Kind: pay.Attest, Payment: first.ID, Attempt: 1, SendBy: first.Attempt.SendBy, Channel: "bank-ab", Amount: first.Amount, Asset: first.Asset,
		Source: pay.SourceOperators, Reason: "evidence of apr_1",
	})
}

// payIn is money that somebody sends to us.
func (w *world) payIn(reference string, amount int64) {
	w.t.Helper()
	w.call(http.MethodPost, "/banks/ab/instructions", fmt.Sprintf(`{"reference":%q,"amount":"%d","asset":"CZK","from_account":"7"}`, reference, amount))
	w.booked("ab", reference)
}

func (w *world) booked(bank, reference string) {
	w.t.Helper()
	require.Eventually(w.t, func() bool {
		return strings.Contains(w.call(http.MethodGet, "/banks/"+bank+"/books?limit=5000", ""), reference)
	},
		patience, 5*time.Millisecond, "the bank books %s", reference)
}

func (w *world) call(method, path, body string) string {
	w.t.Helper()
	req, err := http.NewRequest(method, w.banks+path, strings.NewReader(body))
	require.NoError(w.t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(w.t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	require.Less(w.t, resp.StatusCode, 300, string(answer))
	return string(answer)
}

// reconcile reads both statements to their ends, and moves the runs beyond the margin
// within which a movement may be on its way.
func (w *world) reconcile() {
	w.t.Helper()
	for range 2 {
		require.NoError(w.t, w.recon.Run(context.Background()))
	}
	w.exec(`update recon_runs set finished_at = now() + interval '1 minute'`)
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	tag, err := w.db.Exec(context.Background(), sql, args...)
	require.NoError(w.t, err, sql)
	require.NotZero(w.t, tag.RowsAffected(), sql)
}

// told queues every final payment for an endpoint that takes them.
func (w *world) told(live func()) {
	w.t.Helper()
	shop := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer shop.Close()
	inside := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	_, _, err := notify.NewEndpoints(w.db, inside, nil).Create(context.Background(), 1, shop.URL, "")
	require.NoError(w.t, err)
	w.exec(`update webhook_endpoints set created_at = now() - interval '1 hour'`)
	tel, err := telemetry.Setup(context.Background(), telemetry.Config{LogOutput: io.Discard})
	require.NoError(w.t, err)
	live()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	sender := notify.NewSender(notify.Config{Pool: w.db, Log: outbox.NewLog(w.db, nil), Inside: inside, Telemetry: tel})
	go func() { done <- sender.Run(ctx) }()
	require.Eventually(w.t, func() bool {
		var behind, waiting int64
		err := w.db.QueryRow(context.Background(), `select (select max(id) from transitions) - (select position from webhook_cursor),
			(select count(*) from webhook_deliveries where state = 1)`).Scan(&behind, &waiting)
		return err == nil && behind == 0 && waiting == 0
	}, patience, 10*time.Millisecond)
	cancel()
	require.NoError(w.t, <-done)
}

// lived is a world with every kind of life, told, reconciled and left alone.
func lived(tb testing.TB) *world {
	tb.Helper()
	w := newWorld(tb)
	w.told(w.live)
	w.stop()
	return w
}

func (w *world) live() {
	send := func(name string, from, to pay.AccountID, amount, fee int64) {
		w.accept(name, pay.Payment{Kind: pay.Send, Amount: money.Int(amount), Fee: money.Int(fee), From: from, To: to})
	}
	w.call(http.MethodPatch, "/banks/ab/behaviour", `{"fee":"2"}`)
	send("funds", w.house, w.alice, 1_000_000, 0)
	for i := range 10 {
		send(fmt.Sprint("send ", i), w.alice, w.shop, int64(10+i), 1)
	}
	for i := range 3 {
		w.paid(fmt.Sprint("paid ", i), int64(1000+i))
	}
	w.payout("reserved", 50)
	w.word(w.payout("cancelled", 51), pay.Cancel)
	w.named["unknown"] = w.word(w.word(w.payout("unknown", 52), pay.Intend), pay.Doubt)
	executed := w.word(w.payout("executed, not told", 53), pay.Intend)
	w.named["executed, not told"] = executed
	w.word(w.word(w.payout("declined", 54), pay.Intend), pay.Decline)

	again := w.word(w.word(w.word(w.payout("second try", 55), pay.Intend), pay.ProveAbsent), pay.Intend)
	w.order(again, "55")
	w.word(again, pay.Confirm)

	w.disputed("named by people", 59)
	late := w.word(w.payout("late", 56), pay.Intend)
	w.order(late, "56")
	w.word(w.word(late, pay.Decline), pay.Confirm)

	back := w.paid("returned", 57)
	poor := w.account("poor", ledger.User)
	send("wage", w.house, poor, 60, 0)
	lost := w.word(w.accept("late, written off", pay.Payment{Kind: pay.Payout, Amount: money.Int(60), From: poor, Channel: "bank-ab", PayeeAccount: "77"}), pay.Intend)
	w.order(lost, "60")
	w.word(lost, pay.Decline)
	send("spent", poor, w.shop, 45, 0)
	gone := w.word(lost, pay.Confirm)
	w.fact(pay.Fact{Kind: pay.WriteOff, Payment: gone.Late, Source: pay.SourceOperators})
	in := w.accept("deposit", pay.Payment{Kind: pay.Deposit, Amount: money.Int(700), To: w.alice, Channel: "bank-ab"})
	w.payIn(pay.Reference(in.ID, 0), 700)
	w.accept("deposit, waiting", pay.Payment{Kind: pay.Deposit, Amount: money.Int(701), To: w.alice, Channel: "bank-cd"})
	w.payIn("nobody-knows-this", 40)
	taken := w.accept("charged back", pay.Payment{Kind: pay.Deposit, Amount: money.Int(300), To: w.shop, Channel: "bank-ab"})
	w.payIn(pay.Reference(taken.ID, 0), 300)
	tardy := w.word(w.accept("deposit, late", pay.Payment{Kind: pay.Deposit, Amount: money.Int(301), To: w.alice, Channel: "bank-ab"}), pay.Decline)
	w.payIn(pay.Reference(tardy.ID, 0), 301)
	w.reconcile()
	var astray int64
	require.NoError(w.t, w.db.QueryRow(context.Background(), `select id from payments where kind = 10`).Scan(&astray))
	w.accept("assigned", pay.Payment{Kind: pay.Assignment, Amount: money.Int(15), To: w.shop, Original: pay.ID(astray)})
	unplaced := w.word(w.accept("late, out of suspense", pay.Payment{
		Kind: pay.Refund, Amount: money.Int(20), Original: pay.ID(astray), Channel: "bank-ab", PayeeAccount: "77",
	}), pay.Intend)
	w.order(unplaced, "20")
	w.word(w.word(unplaced, pay.Decline), pay.Confirm)
	looked := w.judged("reviewed", pay.Review)
	w.word(looked, pay.ReviewOk)
	w.judged("in review", pay.Review)
	w.judged("challenged", pay.Challenge)
	w.call(http.MethodPost, "/banks/ab/reversals", fmt.Sprintf(`{"reference":%q,"reason":"fraud"}`, pay.Reference(taken.ID, 0)))
	w.call(http.MethodPost, "/banks/ab/reversals", fmt.Sprintf(`{"reference":%q,"reason":"AC04"}`, back.Attempt.Reference))
	for _, late := range []string{pay.Reference(late.ID, 1), pay.Reference(tardy.ID, 0), pay.Reference(lost.ID, 1), pay.Reference(unplaced.ID, 1)} { // what came late goes back as well
		w.call(http.MethodPost, "/banks/ab/reversals", fmt.Sprintf(`{"reference":%q,"reason":"AC04"}`, late))
	}
	require.Eventually(w.t, func() bool {
		return strings.Count(w.call(http.MethodGet, "/banks/ab/books?limit=5000", ""), `"return":true`) == 6
	}, patience, 5*time.Millisecond, "the bank books what goes back")

	refund := w.accept("refund", pay.Payment{Kind: pay.Refund, Amount: money.Int(100), From: w.alice, Channel: "bank-ab", Original: in.ID, PayeeAccount: "7"})
	refund = w.word(refund, pay.Intend)
	w.order(refund, "100")
	w.word(refund, pay.Confirm)

	expires := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	hold := w.accept("hold", pay.Payment{Kind: pay.Hold, Amount: money.Int(100), From: w.alice, To: w.shop, ExpiresAt: expires})
	w.accept("capture", pay.Payment{Kind: pay.Capture, Amount: money.Int(40), From: w.alice, To: w.shop, Original: hold.ID})
	w.word(hold, pay.Cancel)
	open := w.accept("hold, open", pay.Payment{Kind: pay.Hold, Amount: money.Int(90), From: w.alice, To: w.shop, ExpiresAt: expires})
	w.accept("capture of an open hold", pay.Payment{Kind: pay.Capture, Amount: money.Int(30), From: w.alice, To: w.shop, Original: open.ID})
	out := w.accept("hold, outside", pay.Payment{
		Kind: pay.Hold, Amount: money.Int(80), From: w.alice, Channel: "bank-ab", PayeeAccount: "77", ExpiresAt: expires,
	})
	leaving := w.accept("capture, outside", pay.Payment{
		Kind: pay.Capture, Amount: money.Int(35), From: w.alice, Channel: "bank-ab", PayeeAccount: "77", Original: out.ID,
	})
	leaving = w.word(leaving, pay.Intend)
	w.order(leaving, "35")
	w.word(leaving, pay.Confirm)
	w.reconcile()
	w.call(http.MethodPatch, "/banks/ab/behaviour", `{"statement_omit":1}`)
	w.paid("nobody waits", 58)
	require.NoError(w.t, w.recon.Run(context.Background()))
	w.exec(`update recon_runs set finished_at = now() + interval '1 minute'`)
	w.order(executed, "53") // the statement is not read any more
}

// rails are the banks' own books.
func (w *world) rails() []prove.Books {
	var out []prove.Books
	for _, bank := range []string{"ab", "cd"} {
		out = append(out, &prove.HTTPBooks{Name: "bank-" + bank, URL: w.banks + "/banks/" + bank + "/books"})
	}
	return out
}

func (w *world) prove(change func(*prove.Config)) prove.Result {
	w.t.Helper()
	cfg := prove.Config{DSN: w.dsn, Rails: w.rails(), Version: "test", TempDir: w.t.TempDir()}
	if change != nil {
		change(&cfg)
	}
	r, err := prove.Run(context.Background(), cfg)
	require.NoError(w.t, err)
	return r
}

// found are the findings, each a line.
func found(r prove.Result) string {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s %s %s: %s\n", f.Check, f.Payment, f.Place, f.Detail)
	}
	return b.String()
}
