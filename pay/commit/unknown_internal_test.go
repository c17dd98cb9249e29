package commit

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/pgbatch"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// leading is a decider that leads on a database of its own; told collects what
// the stations hear.
func leading(t *testing.T) (d *decider, told map[pay.ID]pay.State) {
	t.Helper()
	dsn := pgtest.DSN(t)
	watching, err := dial(t.Context(), dsn, watchName, false, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = watching.Close(context.Background()) })
	w, id := &watch{}, newLeaderID()
	_, _, err = w.read(t.Context(), watching)
	require.NoError(t, err)
	took, err := w.take(t.Context(), watching, id, "")
	require.NoError(t, err)
	told = make(map[pay.ID]pay.State)
	d = &decider{
		leader: id, epoch: took.epoch, queue: newQueue(), clock: clock.System, logger: New(Config{}).cfg.Logger,
		dial: func(ctx context.Context) (*pgx.Conn, error) { return dial(ctx, dsn, leaderName(id), true, nil) },
		changed: func(changed []pay.Payment) {
			for i := range changed {
				told[changed[i].ID] = changed[i].State
			}
		},
	}
	require.NoError(t, d.start(t.Context()))
	t.Cleanup(func() { d.close(context.Background()) })
	return d, told
}

func asked(ctx context.Context, facts ...Fact) []*ticket {
	g := &group{done: make(chan struct{})}
	g.missing.Store(int64(len(facts)))
	tickets := make([]*ticket, len(facts))
	for i := range facts {
		tickets[i] = &ticket{ctx: ctx, fact: facts[i], group: g}
	}
	return tickets
}

func hashed(s string) [16]byte {
	h := sha256.Sum256([]byte(s))
	return [16]byte(h[:16])
}

// opened opens a house account that pays.
func opened(t *testing.T, d *decider) pay.AccountID {
	t.Helper()
	tickets := asked(t.Context(), Fact{Account: &ledger.AccountFact{
		Kind: ledger.Open, Key: hashed("house"),
		New: ledger.Account{Tenant: 1, Kind: ledger.House, Asset: "CZK", Name: "house", Unlimited: true},
	}})
	require.NoError(t, d.once(t.Context(), tickets))
	require.NoError(t, tickets[0].out.Err)
	return pay.AccountID(tickets[0].out.Account.ID)
}

func payoutFrom(house pay.AccountID, key string) Fact {
	p := pay.Payment{Tenant: 1, Kind: pay.Payout, Asset: "CZK", Amount: money.Int(5), From: house, Channel: "bank-ab", Key: hashed(key)}
	return Fact{Payment: &pay.Fact{Kind: pay.Accept, New: &p, Fingerprint: hashed(key)}}
}

// TestALostCommitIsToldInFull: a batch commits and its answer is lost. What
// comes back must tell the stations of the moves, or nobody drives the payments
// on, and must not tell a caller who has left that nothing moved: it did.
func TestALostCommitIsToldInFull(t *testing.T) {
	t.Parallel()
	d, told := leading(t)
	house := opened(t, d)
	caller, leave := context.WithCancel(t.Context())
	b := newBatch()
	b.reset(d.now())
	require.NoError(t, d.extend(t.Context(), b, asked(caller, payoutFrom(house, "lost"))))
	b.seal()
	b.writeFence(d.shard, d.epoch, d.leader, d.mem.last)
	require.NoError(t, d.write(t.Context(), b))
	leave()
	tk := b.tickets[0]
	require.NoError(t, d.recover(t.Context(), fmt.Errorf("%w: the answer is lost", pgbatch.ErrUnknown), b))
	require.True(t, tk.answered)
	require.NoError(t, tk.out.Err, "it was committed: nothing else may be said of it")
	require.True(t, tk.out.Replayed)
	require.Equal(t, map[pay.ID]pay.State{tk.out.Payment.ID: pay.Reserved}, told)
}

// TestSlowIsNotStuck: taking a batch apart may last longer than the heartbeat
// allows for standstill, and is none.
func TestSlowIsNotStuck(t *testing.T) {
	t.Parallel()
	d, _ := leading(t)
	house := opened(t, d)
	var facts []Fact
	for i := range 20 {
		f := payoutFrom(house, fmt.Sprint("p", i))
		if i == 13 {
			f.Payment.New.Remittance = "\x00"
		}
		facts = append(facts, f)
	}
	tickets := asked(t.Context(), facts...)
	d.progress.Set(time.Time{})
	require.NoError(t, d.load.openPayments(t.Context(), newMemory()))
	require.Zero(t, d.progress.Time(), "nothing to read, no progress")
	require.NoError(t, d.redo(t.Context(), tickets, errors.New("passing")))
	require.NotZero(t, d.progress.Time())
	d.progress.Set(time.Time{})
	require.NoError(t, d.load.openPayments(t.Context(), newMemory()))
	require.NotZero(t, d.progress.Time(), "reading many payments is progress")
	for i, tk := range tickets {
		require.True(t, tk.answered)
		require.Equal(t, i == 13, errors.Is(tk.out.Err, fault.PaymentQuarantined), i)
	}
}

// TestNoFactIsBlamedForTheServer: a right that is missing or a column that is
// gone would otherwise quarantine every payment, one after the other.
func TestNoFactIsBlamedForTheServer(t *testing.T) {
	t.Parallel()
	for code, blamed := range map[string]bool{
		"42501": false, "42703": false, "42P01": false, "53100": false, "57P01": false, "40001": false, divisionByZero: false,
		"22021": true, "23505": true, "54000": true,
	} {
		require.Equal(t, blamed, blamesFact(fmt.Errorf("batch: %w", &pgconn.PgError{Code: code})), code)
	}
}

// TestNoPlanReadsATableWhole: plans are made while the tables are empty, and are
// kept while they grow.
func TestNoPlanReadsATableWhole(t *testing.T) {
	t.Parallel()
	d, _ := leading(t)
	ctx := t.Context()
	b := newBatch()
	_, err := d.wire.Exec(ctx, `reset role; analyze`) // the tables are known to be empty
	require.NoError(t, err)
	for _, conn := range []*pgx.Conn{d.wire, d.load.conn} {
		_, err := conn.Exec(ctx, `set plan_cache_mode = force_generic_plan`)
		require.NoError(t, err)
	}
	check := func(conn *pgx.Conn, name, execute string) {
		rows, err := conn.Query(ctx, "explain (costs off) "+execute, pgx.QueryExecModeSimpleProtocol)
		require.NoError(t, err, name)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err, name)
		plan := strings.Join(lines, "\n")
		require.NotContains(t, plan, "Seq Scan", "%s:\n%s", name, plan)
		require.NotContains(t, plan, "Hash Join", "%s:\n%s", name, plan)
	}
	for _, c := range b.calls {
		_, err := d.wire.Prepare(ctx, "p_"+c.Statement.Name, c.Statement.SQL)
		require.NoError(t, err)
		check(d.wire, c.Statement.Name, "execute p_"+c.Statement.Name+"("+strings.TrimSuffix(strings.Repeat("null,", len(c.Columns)), ",")+")")
	}
	for name, sql := range map[string]string{
		"keys": selectKeys, "books": selectAccounts + "a.id = any($1)", "system": selectAccounts + "a.kind = 3",
		"payments": selectPayments + "p.id = any($1)", "open": selectPayments + "p.id in (select payment from open_payments)",
	} {
		_, err := d.load.conn.Prepare(ctx, "l_"+name, sql)
		require.NoError(t, err, name)
		args := ""
		if strings.Contains(sql, "$1") {
			args = "(null)"
		}
		check(d.load.conn, name, "execute l_"+name+args)
	}
}

// TestAnAnswerAfterADoubtfulTryClaimsNothing: the leader that was asked first may
// have committed what the second one never looked at.
func TestAnAnswerAfterADoubtfulTryClaimsNothing(t *testing.T) {
	t.Parallel()
	for _, refusal := range []error{errQueueFull, errNobodyLeads()} {
		require.ErrorIs(t, doubted([]Outcome{{Err: refusal}}, false)[0].Err, fault.CodeOf(refusal))
		require.ErrorIs(t, doubted([]Outcome{{Err: refusal}}, true)[0].Err, fault.CommitUnknown)
	}
	require.ErrorIs(t, doubted([]Outcome{{Err: fault.New(fault.InsufficientFunds, "")}}, true)[0].Err, fault.InsufficientFunds)
}
