package commit_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// percent is how much of the longest counts is done: MONETA_TORTURE_PERCENT, 1 to 100.
func percent(n int) int {
	share, err := strconv.Atoi(os.Getenv("MONETA_TORTURE_PERCENT"))
	if err != nil || share < 1 || share > 100 {
		share = 100
	}
	return max(n*share/100, 1)
}

// torture asks for the long variants.
func torture() bool { return os.Getenv("MONETA_TORTURE") == "1" }

// keeper runs nodes one after the other, as a supervisor does: a node that has
// lost its leadership is replaced by a new one.
type keeper struct {
	t    *testing.T
	dsn  string
	node *running
	// slowest is the longest that a caller had to ask again and again.
	slowest time.Duration
}

func (k *keeper) start() {
	k.node = start(k.t, k.dsn, func(c *commit.Config) { c.Logger = slog.New(slog.DiscardHandler) })
}

// live replaces the node when it has ended.
func (k *keeper) live() *running {
	select {
	case err := <-k.node.done:
		if err != nil && !errors.Is(err, commit.ErrLost) {
			k.t.Logf("node ended: %v", err)
		}
		k.node.done <- err // for the cleanup
		k.start()
	default:
	}
	return k.node
}

// restart asks the node to leave and starts the next one.
func (k *keeper) restart() {
	k.node.stop()
	select {
	case err := <-k.node.done:
		k.node.done <- err
	case <-time.After(patience):
		k.t.Fatal("the node does not leave")
	}
	k.start()
}

// get submits f, always the same, until it is answered: what every caller does
// that was told to send the same request with the same key.
func (k *keeper) get(f commit.Fact) (commit.Result, error) {
	for began := time.Now(); time.Since(began) < 2*patience; {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		r, err := k.live().Submit(ctx, f)
		cancel()
		if err == nil || !tolerable[fault.CodeOf(err)] {
			k.slowest = max(k.slowest, time.Since(began))
			return r, err
		}
	}
	k.t.Fatalf("no answer within %s", 2*patience)
	return commit.Result{}, nil
}

func (k *keeper) must(f commit.Fact) commit.Result {
	k.t.Helper()
	r, err := k.get(f)
	require.NoError(k.t, err)
	return r
}

// world is what a flow moves money between.
type world struct {
	house, user pay.AccountID
	expected    map[string]int64 // by account or system account
}

// flow is one story of a payment; it names what it must have moved.
type flow struct {
	name string
	run  func(k *keeper, w *world, n string)
	want map[string]int64
	// rows that one run adds: payments, transitions, transfers, accounts.
	rows [4]int
}

func payoutSteps(k *keeper, w *world, n string, steps ...pay.FactKind) {
	r := k.must(withFee(accept(pay.Payout, w.user, 0, 50, n)))
	for _, s := range steps {
		f := about(r.Payment, s)
		f.Payment.Cost = money.Int(1)
		r = k.must(f)
	}
}

func withFee(f commit.Fact) commit.Fact {
	f.Payment.New.Fee = money.Int(2)
	return f
}

var flows = []flow{
	{
		"open account", func(k *keeper, _ *world, n string) {
			k.must(commit.Fact{Account: &ledger.AccountFact{
				Kind: ledger.Open, Key: key("account %s", n), New: ledger.Account{Tenant: 1, Kind: ledger.User, Asset: "CZK", Name: n},
			}})
		}, nil, [4]int{0, 0, 0, 1},
	},
	{
		"send", func(k *keeper, w *world, n string) {
			r := k.must(withFee(accept(pay.Send, w.house, w.user, 60, n)))
			require.Equal(k.t, pay.Succeeded, r.Payment.State)
		}, map[string]int64{"cash": -62, "alice": 60, "fee:rev": 2}, [4]int{1, 1, 2, 0},
	},
	{
		"payout to settled", func(k *keeper, w *world, n string) {
			payoutSteps(k, w, n, pay.Intend, pay.Doubt, pay.Ack, pay.Confirm, pay.Settle)
		}, map[string]int64{"alice": -52, "nostro:bank-ab": 51, "fee:rev": 2, "fee:cost": -1}, [4]int{1, 7, 5, 0},
	},
	{
		"payout on the second attempt", func(k *keeper, w *world, n string) {
			payoutSteps(k, w, n, pay.Intend, pay.Doubt, pay.ProveAbsent, pay.Intend, pay.Decline)
		}, nil, [4]int{1, 7, 6, 0},
	},
	{
		"close a period", func(k *keeper, w *world, n string) {
			until := time.Now().Add(-time.Hour)
			r := k.must(closing(until))
			require.True(k.t, until.Truncate(time.Microsecond).Equal(r.Period.Until))
			dated := accept(pay.Send, w.house, w.user, 1, n+" dated before")
			dated.Payment.New.EffectiveAt = until.Add(-time.Millisecond)
			_, err := k.get(dated)
			require.ErrorIs(k.t, err, fault.PeriodClosed)
		}, nil, [4]int{},
	},
	{
		"cancel", func(k *keeper, w *world, n string) { payoutSteps(k, w, n, pay.Cancel) }, nil, [4]int{1, 3, 2, 0},
	},
	{
		"deposit", func(k *keeper, w *world, n string) {
			r := k.must(accept(pay.Deposit, 0, w.user, 70, n))
			for _, s := range []pay.FactKind{pay.Confirm, pay.Settle} {
				r = k.must(about(r.Payment, s))
			}
		}, map[string]int64{"alice": 70, "nostro:bank-ab": -70}, [4]int{1, 3, 2, 0},
	},
	{
		"a refund that fails, and one that does not", func(k *keeper, w *world, n string) {
			r := k.must(accept(pay.Deposit, 0, w.user, 70, n))
			d := k.must(about(r.Payment, pay.Confirm)).Payment
			for i, last := range []pay.FactKind{pay.Decline, pay.Confirm} {
				refund := accept(pay.Refund, w.user, 0, 40, fmt.Sprint(n, " refund ", i))
				refund.Payment.New.Original = d.ID
				r = k.must(refund)
				for _, s := range []pay.FactKind{pay.Intend, last} {
					r = k.must(about(r.Payment, s))
				}
			}
		}, map[string]int64{"alice": 30, "clr:bank-ab:in": -70, "clr:bank-ab:out": 40}, [4]int{3, 13, 7, 0},
	},
	{
		"a late outcome", func(k *keeper, w *world, n string) {
			payoutSteps(k, w, n, pay.Intend, pay.Decline, pay.Confirm, pay.Settle)
		}, map[string]int64{"alice": -50, "nostro:bank-ab": 51, "fee:cost": -1}, [4]int{2, 7, 8, 0},
	},
	{
		"a late outcome that comes back", func(k *keeper, w *world, n string) {
			r := k.must(withFee(accept(pay.Payout, w.user, 0, 50, n)))
			for _, s := range []pay.FactKind{pay.Intend, pay.Decline, pay.Confirm} {
				r = k.must(about(r.Payment, s))
			}
			k.must(event(r.Payment, pay.Returned, 50, n))
			r = k.must(accept(pay.Deposit, 0, w.user, 70, n+" in"))
			for _, s := range []pay.FactKind{pay.Decline, pay.Confirm} {
				r = k.must(about(r.Payment, s))
			}
			k.must(event(r.Payment, pay.ChargedBack, 70, n))
		}, map[string]int64{"clr:bank-ab:out": 50, "clr:bank-ab:in": -50}, [4]int{6, 14, 9, 0},
	},
	{
		"an attempt that people name", func(k *keeper, w *world, n string) {
			r := k.must(withFee(accept(pay.Payout, w.user, 0, 50, n)))
			for _, s := range []pay.FactKind{pay.Intend, pay.ProveAbsent, pay.Intend} {
				r = k.must(about(r.Payment, s))
			}
			first := about(r.Payment, pay.Confirm)
			first.Payment.Attempt = 1
			_, err := k.get(first)
			require.ErrorIs(k.t, err, fault.AlreadyFinal)
			k.must(about(r.Payment, pay.ProveAbsent))
			first.Payment.Kind, first.Payment.SendBy = pay.Attest, r.Payment.Attempt.SendBy
			first.Payment.Source, first.Payment.Reason = pay.SourceOperators, "evidence of apr_1"
			r = k.must(first)
			require.Equal(k.t, pay.Succeeded, r.Payment.State)
		}, map[string]int64{"alice": -52, "clr:bank-ab:out": 50, "fee:rev": 2}, [4]int{1, 8, 7, 0},
	},
	{
		"a return and a chargeback", func(k *keeper, w *world, n string) {
			r := k.must(accept(pay.Payout, w.user, 0, 50, n))
			r = k.must(about(r.Payment, pay.Intend))
			r = k.must(about(r.Payment, pay.Confirm))
			k.must(event(r.Payment, pay.Returned, 20, n))
			r = k.must(accept(pay.Deposit, 0, w.user, 70, n+" in"))
			r = k.must(about(r.Payment, pay.Confirm))
			k.must(event(r.Payment, pay.ChargedBack, 70, n))
		}, map[string]int64{"alice": -30, "clr:bank-ab:out": 50, "clr:bank-ab:in": -20}, [4]int{4, 10, 5, 0},
	},
}

// event is a word of the channel that makes a linked payment.
func event(p pay.Payment, kind pay.FactKind, amount int64, name string) commit.Fact {
	f := about(p, kind)
	f.Payment.Amount, f.Payment.ChannelID, f.Payment.Key = money.Int(amount), name, key("%s %s", kind, name)
	return f
}

type crash struct {
	k  *keeper
	p  *proxy
	db *pgxpool.Pool
	w  world
	// rows as they should be by now.
	rows [4]int
}

func newCrash(t *testing.T) *crash {
	t.Helper()
	dsn := pgtest.DSN(t)
	p, through := throughProxy(t, dsn)
	c := &crash{k: &keeper{t: t, dsn: through}, p: p, db: pool(t, dsn)}
	c.k.start()
	acct := func(name string, kind ledger.Kind) pay.AccountID {
		r := c.k.must(commit.Fact{Account: &ledger.AccountFact{
			Kind: ledger.Open, Key: key("account %s", name), New: ledger.Account{Tenant: 1, Kind: kind, Asset: "CZK", Name: name, Unlimited: kind == ledger.House},
		}})
		return pay.AccountID(r.Account.ID)
	}
	c.w = world{acct("cash", ledger.House), acct("alice", ledger.User), map[string]int64{"cash": -1_000_000, "alice": 1_000_000}}
	c.k.must(accept(pay.Send, c.w.house, c.w.user, 1_000_000, "seed"))
	for _, f := range flows { // opens the system accounts
		c.play(f, "first "+f.name)
	}
	c.rows = c.count()
	return c
}

func (c *crash) count() (n [4]int) {
	require.NoError(c.k.t, c.db.QueryRow(context.Background(), `select (select count(*) from payments), (select count(*) from transitions),
	  (select count(*) from transfers), (select count(*) from accounts)`).Scan(&n[0], &n[1], &n[2], &n[3]))
	return n
}

func (c *crash) play(f flow, name string) {
	f.run(c.k, &c.w, name)
	for account, moved := range f.want {
		c.w.expected[account] += moved
	}
	for i := range c.rows {
		c.rows[i] += f.rows[i]
	}
}

// exactlyOnce compares balances and row counts with what the flows say.
func (c *crash) exactlyOnce(what string) {
	t := c.k.t
	require.Equal(t, c.rows, c.count(), "payments, transitions, transfers, accounts after %s", what)
	rows, err := c.db.Query(context.Background(), `select a.name, sum(p.amount)::bigint from facts.postings p
	  join accounts a on a.id = p.account & ~1::bigint group by 1`)
	require.NoError(t, err)
	got := map[string]int64{}
	for rows.Next() {
		var name string
		var sum int64
		require.NoError(t, rows.Scan(&name, &sum))
		got[name] = sum
	}
	require.NoError(t, rows.Err())
	for name, sum := range got {
		require.Equal(t, c.w.expected[name], sum, "%s after %s", name, what)
	}
	if b := broken(t, c.db); len(b) > 0 {
		t.Fatalf("after %s: %s", what, b)
	}
}

// TestCrashAtEveryInteraction damages the first, second, third … interaction
// with the database of a fresh leader, in every way, until a whole story passes
// undamaged. After each, everything happened exactly once.
func TestCrashAtEveryInteraction(t *testing.T) {
	t.Parallel()
	ways := []damage{cutBefore, cutAfter, refuse}
	if torture() {
		ways = append(ways, torn, vanish, shutdown, silence)
	}
	for w, how := range ways {
		t.Run(string(how), func(t *testing.T) {
			t.Parallel()
			c := newCrash(t)
			for i, f := range flows {
				first, step := 1, 1
				if !torture() && (how != cutAfter || f.name != "payout to settled") {
					first, step = 1+(w+i)%4, 4 // each way another quarter of each story
				}
				if how == silence { // each costs a timeout of up to half a minute
					if f.name != "send" {
						continue
					}
					step = 3
				}
				for n := first; ; n += step {
					c.k.restart()
					require.Eventually(t, func() bool { return c.k.live().Leading() }, patience, time.Millisecond)
					c.p.arm(n, how)
					c.play(f, fmt.Sprint(how, f.name, n))
					fired := c.p.disarm()
					what := fmt.Sprintf("%s, interaction %d: %s", f.name, n, fired)
					if c.k.slowest > takeoverMax {
						t.Logf("answered only after %s: %s", c.k.slowest, what)
					}
					c.k.slowest = 0
					c.exactlyOnce(what)
					if fired == "" {
						t.Logf("%s: fewer than %d interactions", f.name, n)
						break
					}
				}
			}
			require.Zero(t, c.quarantined(), "a fact is put aside although nothing was wrong with it")
		})
	}
}

func (c *crash) quarantined() (n int) {
	require.NoError(c.k.t, c.db.QueryRow(context.Background(), `select count(*) from quarantine`).Scan(&n))
	return n
}

// TestCrashAtEveryStepOfATakeover damages a node while it becomes the leader.
func TestCrashAtEveryStepOfATakeover(t *testing.T) {
	t.Parallel()
	for w, how := range []damage{cutBefore, cutAfter, refuse} {
		t.Run(string(how), func(t *testing.T) {
			t.Parallel()
			c := newCrash(t)
			first, step := 1, 1
			if !torture() {
				first, step = 1+w, 5
			}
			for n := first; ; n += step {
				c.p.arm(n, how)
				c.k.restart()
				c.play(flows[1], fmt.Sprint(how, n))
				fired := c.p.disarm()
				c.exactlyOnce(fmt.Sprintf("takeover, interaction %d: %s", n, fired))
				if fired == "" {
					t.Logf("fewer than %d interactions", n)
					return
				}
			}
		})
	}
}
