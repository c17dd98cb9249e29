package finance_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/ledger"
)

const patience = 30 * time.Second

// assets have 0, 2, 3, 6 and 18 decimals; hledger wants one of them quoted.
var assets = []money.Asset{"JPY", "CZK", "BHD", "USDC.BASE", "ETH"}

func TestMain(m *testing.M) { pgtest.VerifyTestMain(m) }

// world is a ledger that the real decider wrote.
type world struct {
	t     *testing.T
	db    *pgxpool.Pool
	node  *commit.Node
	rnd   *rand.Rand
	keys  int
	house map[money.Asset]pay.AccountID
	users map[money.Asset][]pay.AccountID
	// met counts the states in which payouts and deposits were left.
	met map[pay.State]int
}

func seed(t *testing.T) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(os.Getenv("MONETA_SEED"), 10, 64)
	if err != nil {
		n = rand.Uint64()
	}
	t.Logf("MONETA_SEED=%d repeats the payments", n)
	return n
}

// newWorld starts a decider on a database of its own and has it make payments
// payments of every kind, asset and end, for two tenants.
func newWorld(t *testing.T, payments int) *world {
	t.Helper()
	dsn := pgtest.DSN(t)
	db, err := pgxpool.New(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(db.Close)
	w := &world{
		t: t, db: db, node: commit.New(commit.Config{DSN: dsn, Clock: clock.System}), rnd: rand.New(rand.NewPCG(seed(t), 7)),
		house: map[money.Asset]pay.AccountID{}, users: map[money.Asset][]pay.AccountID{}, met: map[pay.State]int{},
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.node.Run(ctx) }()
	defer func() {
		stop()
		select {
		case err := <-done:
			require.NoError(t, err)
		case <-time.After(patience):
			t.Error("the decider does not stop")
		}
	}()
	require.Eventually(t, w.node.Leading, patience, 5*time.Millisecond)
	for _, a := range assets {
		w.house[a] = w.open(1, a, ledger.House, "Vault; of  "+string(a)+" 金库")
		for i := range 4 {
			w.users[a] = append(w.users[a], w.open(1, a, ledger.User, fmt.Sprint("user ", i)))
		}
	}
	other := w.open(2, "CZK", ledger.User, "another tenant's")
	w.word(w.accept(2, "CZK", pay.Deposit, 0, other, w.amount()), pay.Confirm)
	for range payments {
		w.payment()
	}
	return w
}

func (w *world) submit(f commit.Fact) commit.Result {
	w.t.Helper()
	r, err := w.node.Submit(w.t.Context(), f)
	require.NoError(w.t, err)
	return r
}

func (w *world) key() [16]byte {
	w.keys++
	h := sha256.Sum256(fmt.Append(nil, w.keys))
	return [16]byte(h[:16])
}

func (w *world) open(tenant int32, a money.Asset, kind ledger.Kind, name string) pay.AccountID {
	w.t.Helper()
	r := w.submit(commit.Fact{Account: &ledger.AccountFact{
		Kind: ledger.Open, Key: w.key(), New: ledger.Account{Tenant: tenant, Kind: kind, Asset: a, Name: name, Unlimited: kind == ledger.House},
	}})
	return pay.AccountID(r.Account.ID)
}

// amount is anything from one unit to beyond 64 bits.
func (w *world) amount() money.Amount {
	if w.rnd.IntN(20) == 0 {
		return money.FromParts(w.rnd.Int64N(5), w.rnd.Uint64()|1)
	}
	return money.Int(1 + w.rnd.Int64N(1<<w.rnd.IntN(40)))
}

func (w *world) accept(tenant pay.TenantID, a money.Asset, kind pay.Kind, from, to pay.AccountID, amount money.Amount) pay.Payment {
	w.t.Helper()
	p := pay.Payment{Tenant: tenant, Kind: kind, Asset: a, Amount: amount, From: from, To: to, Key: w.key()}
	if kind != pay.Send {
		p.Channel = []string{"bank-ab", "bank-cd"}[w.rnd.IntN(2)]
	}
	if kind != pay.Deposit && from != w.house[a] {
		p.Fee = money.Int(w.rnd.Int64N(3))
	}
	p.EffectiveAt = dawn.Add(time.Duration(w.rnd.IntN(400*24)) * time.Hour)
	return w.submit(commit.Fact{Payment: &pay.Fact{Kind: pay.Accept, New: &p, Fingerprint: pay.Fingerprint(p.Key)}}).Payment
}

// dawn is before every value date; they spread over 400 days.
var dawn = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// payment makes one, funded first where somebody must have the money, and leads
// it to a random point of its life.
func (w *world) payment() {
	w.t.Helper()
	a := assets[w.rnd.IntN(len(assets))]
	users, amount := w.users[a], w.amount()
	from := users[w.rnd.IntN(len(users))]
	to := users[(int(from)/2+1+w.rnd.IntN(2))%len(users)]
	if to == from {
		to = w.house[a]
	}
	kind := pay.Kind(1 + w.rnd.IntN(3))
	if kind == pay.Deposit {
		w.follow(w.accept(1, a, kind, 0, to, amount))
		return
	}
	funds, err := amount.Add(money.Int(2))
	require.NoError(w.t, err)
	w.accept(1, a, pay.Send, w.house[a], from, funds)
	if kind == pay.Send {
		w.accept(1, a, kind, from, to, amount)
		return
	}
	w.follow(w.accept(1, a, kind, from, 0, amount))
}

// follow tells the decider random words until the payment ends, or is left open.
func (w *world) follow(p pay.Payment) {
	w.t.Helper()
	for steps := 0; p.Open() && steps < 8; steps++ {
		next := []pay.FactKind{pay.Ack, pay.Confirm, pay.Confirm, pay.Decline}
		switch {
		case p.State == pay.Reserved:
			next = []pay.FactKind{pay.Intend, pay.Intend, pay.Intend, pay.Intend, pay.Cancel}
		case p.Kind == pay.Payout && p.State == pay.Processing:
			next = append(next, pay.Doubt)
		case p.Kind == pay.Payout:
			next = append(next, pay.Doubt, pay.ProveAbsent, pay.GiveUp)
		}
		if w.rnd.IntN(6) == 0 {
			break
		}
		p = w.word(p, next[w.rnd.IntN(len(next))])
	}
	if p.State == pay.Succeeded && w.rnd.IntN(3) > 0 {
		w.word(p, pay.Settle)
	}
	w.met[p.State]++
}

func (w *world) word(p pay.Payment, kind pay.FactKind) pay.Payment {
	w.t.Helper()
	f := &pay.Fact{Kind: kind, Payment: p.ID, Attempt: p.Attempt.N, Amount: p.Amount, Asset: p.Asset}
	if kind == pay.Intend {
		f.Attempt, f.SendBy = f.Attempt+1, time.Now().Add(time.Minute)
	}
	if kind == pay.Settle && p.Amount.Cmp(money.Int(1)) > 0 {
		f.Cost = money.Int(1)
	}
	return w.submit(commit.Fact{Payment: f}).Payment
}
