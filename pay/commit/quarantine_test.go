package commit_test

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// poisoned is a Fact that Postgres refuses.
func poisoned(from, to pay.AccountID, k string) commit.Fact {
	f := accept(pay.Send, from, to, 100, k)
	f.Payment.New.Remittance = "nul \x00 byte"
	return f
}

func aside(t *testing.T, db *pgxpool.Pool) (rows int) {
	t.Helper()
	require.NoError(t, db.QueryRow(t.Context(), `select count(*) from quarantine`).Scan(&rows))
	return rows
}

// TestAQuarantinedKeyHasAnAnswer: the same request gets the same answer, from the
// key, from every leader, and nothing is taken apart for it again.
func TestAQuarantinedKeyHasAnAnswer(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	db := pool(t, dsn)
	metrics := prometheus.NewRegistry()
	n := start(t, dsn, func(c *commit.Config) { c.Registerer = metrics })
	require.Eventually(t, n.Leading, patience, 1e6)
	recoveries := func() (v float64) {
		found, err := metrics.Gather()
		require.NoError(t, err)
		for _, f := range found {
			if f.GetName() == "moneta_commit_recoveries_total" {
				v = f.GetMetric()[0].GetCounter().GetValue()
			}
		}
		return v
	}
	house, user := open(t, n, "cash", ledger.House), open(t, n, "alice", ledger.User)
	f := poisoned(house, user, "poison")
	_, err := n.Submit(t.Context(), f)
	require.ErrorIs(t, err, fault.PaymentQuarantined)
	before := recoveries()
	require.Positive(t, before)
	for range 3 {
		r, err := n.Submit(t.Context(), f)
		require.ErrorIs(t, err, fault.PaymentQuarantined)
		require.True(t, r.Replayed)
	}
	other := f
	p := *f.Payment
	p.Fingerprint = key("another payload")
	other.Payment = &p
	_, err = n.Submit(t.Context(), other)
	require.ErrorIs(t, err, fault.IdempotencyKeyReused)
	require.InDelta(t, before, recoveries(), 0, "taken apart again")
	require.Equal(t, 1, aside(t, db))
	n.stop()
	next := lead(t, dsn)
	r, err := next.Submit(t.Context(), f)
	require.ErrorIs(t, err, fault.PaymentQuarantined)
	require.True(t, r.Replayed)
	require.Equal(t, 1, aside(t, db))
	_, err = next.Submit(t.Context(), accept(pay.Send, house, user, 100, "neighbour"))
	require.NoError(t, err)
	sums(t, db)
}

// TestAQuarantinedStepIsPutAsideOnce: who drives the payment offers it again and
// again. Other steps of it go on.
func TestAQuarantinedStepIsPutAsideOnce(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	db := pool(t, dsn)
	n := lead(t, dsn)
	house := open(t, n, "cash", ledger.House)
	r, err := n.Submit(t.Context(), accept(pay.Payout, house, 0, 100, "payout"))
	require.NoError(t, err)
	r, err = n.Submit(t.Context(), about(r.Payment, pay.Intend))
	require.NoError(t, err)
	bad := about(r.Payment, pay.Ack)
	bad.Payment.ChannelID = "\x00"
	for range 3 {
		_, err = n.Submit(t.Context(), bad)
		require.ErrorIs(t, err, fault.PaymentQuarantined)
	}
	var step string
	var payment pay.ID
	require.NoError(t, db.QueryRow(t.Context(), `select payment, step from quarantine`).Scan(&payment, &step))
	require.Equal(t, r.Payment.ID, payment)
	require.Equal(t, "ack 1", step)
	n.stop()
	next := lead(t, dsn) // it does not remember, and finds the row
	_, err = next.Submit(t.Context(), bad)
	require.ErrorIs(t, err, fault.PaymentQuarantined)
	require.Equal(t, 1, aside(t, db))
	r, err = next.Submit(t.Context(), about(r.Payment, pay.Confirm))
	require.NoError(t, err)
	require.Equal(t, pay.Succeeded, r.Payment.State)
}

// TestAQuarantinedSettlementIsNoSuccess: the callback about a return has credited it;
// its statement line cannot be taken. Whoever brings the line must not hear that it
// has settled, whichever leader answers.
func TestAQuarantinedSettlementIsNoSuccess(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	db := pool(t, dsn)
	n := lead(t, dsn)
	house := open(t, n, "cash", ledger.House)
	r, err := n.Submit(t.Context(), accept(pay.Payout, house, 0, 100, "payout"))
	require.NoError(t, err)
	for _, kind := range []pay.FactKind{pay.Intend, pay.Confirm} {
		r, err = n.Submit(t.Context(), about(r.Payment, kind))
		require.NoError(t, err)
	}
	event := func(name string, amount int64) commit.Fact {
		f := about(r.Payment, pay.Returned)
		f.Payment.Amount, f.Payment.ChannelID = money.Int(amount), name
		f.Payment.Key = pay.EventKey(0, "bank", pay.Return, name)
		return f
	}
	_, err = n.Submit(t.Context(), event("one", 30))
	require.NoError(t, err)
	settled := func(name string, amount int64) commit.Fact {
		f := event(name, amount)
		f.Payment.Settled, f.Payment.Source = true, "state\x00ment"
		return f
	}
	unborn := event("two", 20)
	unborn.Payment.Source = "call\x00back"
	for _, next := range []func() *running{func() *running { return n }, func() *running { n.stop(); return lead(t, dsn) }} {
		n = next()
		for range 2 {
			_, err = n.Submit(t.Context(), settled("one", 30))
			require.ErrorIs(t, err, fault.PaymentQuarantined)
			_, err = n.Submit(t.Context(), unborn)
			require.ErrorIs(t, err, fault.PaymentQuarantined)
		}
		require.Equal(t, 2, aside(t, db), "each of the two, once")
	}
	same := event("two", 20)
	_, err = n.Submit(t.Context(), same)
	require.ErrorIs(t, err, fault.PaymentQuarantined, "its key has its answer, whoever brings it")
	var settlement pay.Settlement
	require.NoError(t, db.QueryRow(t.Context(), `select t.settlement from payments p join transitions t on t.payment = p.id where p.kind = $1`, int16(pay.Return)).Scan(&settlement))
	require.Equal(t, pay.SettlementExpected, settlement)
	fine := settled("one", 30)
	fine.Payment.Source = "statement"
	_, err = n.Submit(t.Context(), fine)
	require.ErrorIs(t, err, fault.PaymentQuarantined, "the step is aside for a minute")
	sums(t, db)
}

// TestCrashAtEveryStepOfAQuarantine: the row and the key's answer stand together,
// once, whatever interaction is damaged.
func TestCrashAtEveryStepOfAQuarantine(t *testing.T) {
	t.Parallel()
	for w, how := range []damage{cutBefore, cutAfter, refuse} {
		t.Run(string(how), func(t *testing.T) {
			t.Parallel()
			c := newCrash(t)
			first, step := 1+w, 3
			if torture() {
				first, step = 1, 1
			}
			asides := 0
			for n := first; ; n += step {
				c.p.arm(n, how)
				_, err := c.k.get(poisoned(c.w.house, c.w.user, fmt.Sprint(how, n)))
				fired := c.p.disarm()
				require.ErrorIs(t, err, fault.PaymentQuarantined, "interaction %d: %s", n, fired)
				asides++
				var keys int
				require.NoError(t, c.db.QueryRow(t.Context(), `select count(*) from keys k join quarantine q using (key) where k.refusal = 'payment-quarantined'`).Scan(&keys))
				require.Equal(t, asides, keys, "interaction %d: %s", n, fired)
				require.Equal(t, asides, aside(t, c.db), "interaction %d: %s", n, fired)
				if fired == "" {
					t.Logf("fewer than %d interactions", n)
					break
				}
			}
			c.exactlyOnce("quarantines")
		})
	}
}
