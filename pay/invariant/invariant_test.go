package invariant_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/invariant"
	"github.com/moneta-pay/moneta/pay/ledger"
)

func TestMain(m *testing.M) { pgtest.VerifyTestMain(m) }

const patience = 30 * time.Second

// world is a ledger that the real decider wrote, and the decider stopped.
type world struct {
	t   testing.TB
	dsn string
	db  *pgxpool.Pool
	pay *pgxpool.Pool // in the role of the pay plane
	n   *commit.Node
	log bytes.Buffer
	tel *telemetry.Telemetry // of the last checker
}

func key(name string) [16]byte {
	h := sha256.Sum256([]byte(name))
	return [16]byte(h[:16])
}

func (w *world) submit(f commit.Fact) pay.Payment {
	w.t.Helper()
	r, err := w.n.Submit(w.t.Context(), f)
	require.NoError(w.t, err)
	return r.Payment
}

func (w *world) open(name string, kind ledger.Kind) pay.AccountID {
	w.t.Helper()
	r, err := w.n.Submit(w.t.Context(), commit.Fact{Account: &ledger.AccountFact{
		Kind: ledger.Open, Key: key("account " + name),
		New: ledger.Account{Tenant: 1, Kind: kind, Asset: "CZK", Name: name, Unlimited: kind == ledger.House},
	}})
	require.NoError(w.t, err)
	return pay.AccountID(r.Account.ID)
}

func (w *world) accept(kind pay.Kind, from, to pay.AccountID, amount int64, k string, change func(*pay.Payment)) pay.Payment {
	w.t.Helper()
	p := pay.Payment{Tenant: 1, Kind: kind, Asset: "CZK", Amount: money.Int(amount), From: from, To: to, Key: key(k)}
	switch kind {
	case pay.Payout, pay.Deposit, pay.Refund:
		p.Channel = "bank-ab"
	case pay.Hold:
		p.ExpiresAt = time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	}
	if change != nil {
		change(&p)
	}
	return w.submit(commit.Fact{Payment: &pay.Fact{Kind: pay.Accept, New: &p, Fingerprint: key("print " + k)}})
}

func (w *world) words(p pay.Payment, kinds ...pay.FactKind) pay.Payment {
	w.t.Helper()
	for _, kind := range kinds {
		f := &pay.Fact{Kind: kind, Payment: p.ID, Attempt: p.Attempt.N, Amount: p.Amount, Asset: p.Asset}
		if kind == pay.Intend {
			f.Attempt++
			f.SendBy = time.Now().Add(5 * time.Second)
		}
		if kind == pay.Settle {
			f.Cost = money.Int(1)
		}
		p = w.submit(commit.Fact{Payment: f})
	}
	return p
}

// newWorld has every kind of life that the decider can lead without a channel.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := bareWorld(t)
	w.lead(w.live)
	return w
}

func bareWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, dsn: pgtest.DSN(t)}
	var err error
	w.db, err = pgxpool.New(t.Context(), w.dsn)
	require.NoError(t, err)
	t.Cleanup(w.db.Close)
	cfg := w.db.Config()
	cfg.ConnConfig.RuntimeParams["role"] = commit.Role
	w.pay, err = pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(w.pay.Close)
	w.n = commit.New(commit.Config{DSN: w.dsn})
	return w
}

// lead has the decider run while live does.
func (w *world) lead(live func()) {
	w.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.n.Run(ctx) }()
	defer func() {
		stop()
		require.NoError(w.t, <-done)
	}()
	require.Eventually(w.t, w.n.Leading, patience, 5*time.Millisecond)
	live()
}

func (w *world) live() {
	house, alice, shop := w.open("cash", ledger.House), w.open("alice", ledger.User), w.open("shop", ledger.User)
	w.accept(pay.Send, house, alice, 100_000, "funds", nil)
	for i := range 20 {
		w.accept(pay.Send, alice, shop, int64(i+1), fmt.Sprint("send ", i), func(p *pay.Payment) { p.Fee = money.Int(1) })
		w.accept(pay.Send, shop, alice, int64(i+1), fmt.Sprint("back ", i), nil)
	}
	payout := func(k string, kinds ...pay.FactKind) pay.Payment {
		return w.words(w.accept(pay.Payout, alice, 0, 100, k, func(p *pay.Payment) { p.Fee = money.Int(2) }), kinds...)
	}
	payout("reserved")
	payout("cancelled", pay.Cancel)
	payout("unknown", pay.Intend, pay.Doubt)
	payout("declined", pay.Intend, pay.Decline)
	payout("settled", pay.Intend, pay.Ack, pay.Confirm, pay.Settle)
	payout("second try", pay.Intend, pay.Doubt, pay.ProveAbsent, pay.Intend, pay.Confirm, pay.Settle)
	named := payout("named by people", pay.Intend, pay.ProveAbsent, pay.Intend)
	first := pay.Fact{Kind: pay.Confirm, Payment: named.ID, Attempt: 1, Amount: named.Amount, Asset: named.Asset, Channel: "bank-ab"}
	_, err := w.n.Submit(w.t.Context(), commit.Fact{Payment: &first})
	require.ErrorIs(w.t, err, fault.AlreadyFinal)
	require.Equal(w.t, pay.InReview, w.words(named, pay.ProveAbsent).State)
	first.Kind, first.SendBy = pay.Attest, named.Attempt.SendBy
	w.words(w.submit(commit.Fact{Payment: &first}), pay.Settle)
	payout("late", pay.Intend, pay.Decline, pay.Confirm)
	in := w.words(w.accept(pay.Deposit, 0, alice, 500, "deposit", nil), pay.Confirm, pay.Settle)
	w.accept(pay.Refund, alice, 0, 50, "refund", func(p *pay.Payment) { p.Original, p.Channel = in.ID, "bank-ab" })
	hold := w.accept(pay.Hold, alice, shop, 100, "hold", nil)
	for i, part := range []int64{40, 60} {
		w.accept(pay.Capture, alice, shop, part, fmt.Sprint("capture ", i), func(p *pay.Payment) { p.Original = hold.ID })
	}
	w.words(w.accept(pay.Hold, alice, shop, 70, "released", nil), pay.Cancel)
	w.accept(pay.Hold, alice, shop, 30, "open", nil)
	floor := ledger.AccountFact{Kind: ledger.SetFloor, ID: ledger.AccountID(shop), Tenant: 1, Floor: money.Int(-500), Reason: "granted", By: "test"}
	_, err = w.n.Submit(w.t.Context(), commit.Fact{Account: &floor})
	require.NoError(w.t, err)
	w.accept(pay.Send, shop, alice, 400, "overdraft", nil)
}

// checker reads pages of the size, so that their joints lie everywhere.
func (w *world) checker(page int) *invariant.Checker {
	w.t.Helper()
	tel, err := telemetry.Setup(w.t.Context(), telemetry.Config{LogOutput: &w.log})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = tel.Shutdown(context.Background()) })
	w.tel = tel
	return invariant.New(invariant.Config{Pool: w.pay, Page: page, Sweep: page, Telemetry: tel})
}

// sweep reads every row once at least, in turns, and returns which invariants broke.
func (w *world) sweep(c *invariant.Checker, turns int) (names []string, all []invariant.Violation) {
	w.t.Helper()
	for range turns {
		found, err := c.Turn(w.t.Context())
		require.NoError(w.t, err)
		for _, v := range found {
			names = append(names, v.Invariant)
		}
		all = append(all, found...)
	}
	slices.Sort(names)
	return slices.Compact(names), all
}

func TestWhatTheDeciderWritesHolds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, page := range []int{1, 7, 1000} {
		names, all := w.sweep(w.checker(page), 300/page+2)
		require.Empty(t, names, "%v", all)
	}
}

// TestEachDamageIsSeen corrupts one row, as only a superuser can, and wants exactly
// the invariant that it breaks.
func TestEachDamageIsSeen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	settled := `(select id from payments where key = '` + fmt.Sprintf("%x", key("settled")) + `')`
	second := `(select id from payments where key = '` + fmt.Sprintf("%x", key("second try")) + `')`
	for _, d := range []struct{ want, sql, undo string }{
		{"P1", `update accounts set asset = 'EUR' where name = 'cash'`, `update accounts set asset = 'CZK' where name = 'cash'`},
		{"M2", `update transfers set credit_balance = credit_balance + 1 where id = 4`, `update transfers set credit_balance = credit_balance - 1 where id = 4`},
		{"M2", `update transfers set amount = amount + 1 where id = 5`, `update transfers set amount = amount - 1 where id = 5`},
		{
			"M8", `update transfers set debit_seq = debit_seq + 1000 where id = (select max(id) from transfers)`,
			`update transfers set debit_seq = debit_seq - 1000 where id = (select max(id) from transfers)`,
		},
		{"P2", `update attempts set state = 3 where n = 1 and payment = ` + second, `update attempts set state = 6 where n = 1 and payment = ` + second},
		{"P2", `update attempts set state = case n when 1 then 4 else 6 end where payment = ` + second, `update attempts set state = case n when 1 then 6 else 4 end where payment = ` + second},
		{"P6", `update attempts set state = 4 where n = 1 and payment = ` + second, `update attempts set state = 6 where n = 1 and payment = ` + second},
		{
			"P3", `update transfers set credit = credit + 1 where id = 2`, // undone below with its chain
			`update transfers set credit = credit - 1 where id = 2`,
		},
		{
			"P4", `update accounts set name = 'clr:lost:out' where name = 'nostro:bank-ab'`,
			`update accounts set name = 'nostro:bank-ab' where name = 'clr:lost:out'`,
		},
		{"P5", `update accounts set floor = null, kind = 1 where name = 'cash'; update accounts set floor = 0 where name = 'cash'`, `update accounts set floor = null, kind = 2 where name = 'cash'`},
		{"P7", `update transitions set seq = 99 where seq = 3 and payment = ` + settled, `update transitions set seq = 3 where seq = 99`},
		{
			"P7", `update transitions set transition = 6 where transition = 5 and payment = ` + settled,
			`update transitions set transition = 5 where transition = 6 and payment = ` + settled,
		},
		{
			"P9", `insert into transitions select (select max(id) + 1 from transitions), payment, seq + 1, 8, to_state, 7, settlement, attempt, null, 0, 'x', 'x', at
			   from transitions where payment = ` + settled + ` order by seq desc limit 1`, `delete from transitions where source = 'x'`,
		},
		{"P10", `update transfers set transition = 99 where id = 6`, `update transfers set transition = 22 where id = 6`},
		{"P10", `update open_payments set state = 4 where state = 5`, `update open_payments set state = 5 where state = 4`},
		{"P11", `update keys set kind = 2 where kind = 1 and subject = ` + settled, `update keys set kind = 1 where kind = 2 and subject = ` + settled},
	} {
		_, err := w.db.Exec(t.Context(), d.sql)
		require.NoError(t, err, d.sql)
		names, all := w.sweep(w.checker(1000), 1)
		switch d.want {
		case "P3", "P7": // a row under another book or number breaks that chain as well
			require.Contains(t, names, d.want, "%s: %v", d.sql, all)
		default:
			require.Equal(t, []string{d.want}, names, "%s: %v", d.sql, all)
		}
		_, err = w.db.Exec(t.Context(), d.undo)
		require.NoError(t, err, d.undo)
	}
	names, all := w.sweep(w.checker(1000), 1)
	require.Empty(t, names, "after undoing all: %v", all)
}

// TestASubjectPagesOnce, whoever looks and however often, and is a break.
func TestASubjectPagesOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.db.Exec(t.Context(), `update keys set kind = 2 where kind = 1 and subject = 3`)
	require.NoError(t, err)
	for range 2 {
		names, _ := w.sweep(w.checker(1000), 3)
		require.Equal(t, []string{"P11"}, names)
	}
	require.Equal(t, 1, strings.Count(w.log.String(), `"page":true`), w.log.String())
	var breaks, events int
	require.NoError(t, w.db.QueryRow(t.Context(), `select count(*), (select count(*) from break_events) from breaks
	  where class = 'invariant' and payment = 3 and reference = 'P11 payment 3' and owner = 'engineering' and closed_at is null`).Scan(&breaks, &events))
	require.Equal(t, 1, breaks)
	require.Equal(t, 1, events)
}

// TestTheAlertsGauges: what the alerts on an imbalance and on accounts below zero read
// is zero for a sound ledger, tells by how much it is not, and is zero again when a
// person has explained the break and nobody is below his floor.
func TestTheAlertsGauges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	gauges := func(c *invariant.Checker) [2]string {
		t.Helper()
		_, err := c.Turn(t.Context())
		require.NoError(t, err)
		page := httptest.NewRecorder()
		w.tel.MetricsHandler().ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		read := func(name string) string {
			_, rest, found := strings.Cut(page.Body.String(), "\n"+name+`{asset="CZK"} `)
			require.True(t, found, name)
			value, _, _ := strings.Cut(rest, "\n")
			return value
		}
		return [2]string{read("moneta_ledger_imbalance"), read("moneta_ledger_negative_accounts")}
	}
	c := w.checker(1000)
	require.Equal(t, [2]string{"0", "0"}, gauges(c))
	for _, sql := range []string{
		`update transfers set credit_balance = credit_balance + 7 where id = (select max(id) from transfers)`,
		`update accounts set floor = 0, kind = 1 where name = 'cash'`,
	} {
		_, err := w.db.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	require.Equal(t, [2]string{"7", "1"}, gauges(c))
	c = w.checker(1000)
	require.Equal(t, [2]string{"7", "1"}, gauges(c), "whoever leads")
	_, err := w.db.Exec(t.Context(), `update breaks set closed_at = now(), state = 'explained' where class = 'invariant'`)
	require.NoError(t, err)
	require.Equal(t, [2]string{"0", "1"}, gauges(c), "a closed break brings no money back")
	_, err = w.db.Exec(t.Context(), `update accounts set floor = -100000000 where name = 'cash'`)
	require.NoError(t, err)
	require.Equal(t, [2]string{"0", "0"}, gauges(c))
}
