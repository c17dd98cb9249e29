package commit_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// TestAFactTakesTheTimeAtWhichItCame: a batch is prepared while the decider is
// idle, which may be hours before its first Fact.
func TestAFactTakesTheTimeAtWhichItCame(t *testing.T) {
	t.Parallel()
	hands := clock.NewManual(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	n := start(t, pgtest.DSN(t), setBy(hands))
	require.Eventually(t, n.Leading, patience, 5*time.Millisecond)
	house, user := open(t, n, "cash", ledger.House), open(t, n, "alice", ledger.User)
	for i, kind := range []pay.Kind{pay.Send, pay.Payout, pay.Payout} {
		hands.Advance(time.Hour)
		from, to := house, user
		if kind == pay.Payout {
			from, to = user, 0
		}
		r, err := n.Submit(t.Context(), accept(kind, from, to, 10, string(rune('a'+i))))
		require.NoError(t, err)
		require.Equal(t, hands.Now(), r.Payment.CreatedAt)
		if r.Payment.Open() {
			require.True(t, r.Payment.NextAt.After(hands.Now()), "the next step lies in the future")
		}
		hands.Advance(time.Hour)
		if kind == pay.Payout {
			r, err = n.Submit(t.Context(), about(r.Payment, pay.Cancel))
			require.NoError(t, err)
			require.Equal(t, hands.Now(), r.Payment.EnteredAt)
		}
	}
}

// TestTheLastWordOnAnAccountIsDurable: several Facts about one account may share
// a batch; what the next leader reads must be what the last of them said.
func TestTheLastWordOnAnAccountIsDurable(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	db := pool(t, dsn)
	n := lead(t, dsn)
	alice, bob := open(t, n, "alice", ledger.User), open(t, n, "bob", ledger.User)
	floor := func(id pay.AccountID, to int64) commit.Fact {
		return commit.Fact{Account: &ledger.AccountFact{Kind: ledger.SetFloor, ID: ledger.AccountID(id), Tenant: 1, Floor: money.Int(to)}}
	}
	freeze := func(id pay.AccountID, yes bool) commit.Fact {
		return commit.Fact{Account: &ledger.AccountFact{Kind: ledger.SetFrozen, ID: ledger.AccountID(id), Tenant: 1, Frozen: yes}}
	}
	for _, o := range n.SubmitAll(t.Context(), []commit.Fact{
		floor(alice, -500), floor(bob, -700), freeze(alice, true), floor(alice, -10), freeze(bob, true), floor(alice, 0), freeze(bob, false),
	}) {
		require.NoError(t, o.Err)
	}
	for id, want := range map[pay.AccountID]struct {
		floor  int64
		frozen bool
	}{alice: {0, true}, bob: {-700, false}} {
		var floor int64
		var frozen bool
		require.NoError(t, db.QueryRow(t.Context(), `select floor::bigint, frozen from accounts where id = $1`, int64(id)).Scan(&floor, &frozen))
		require.Equal(t, want.floor, floor)
		require.Equal(t, want.frozen, frozen)
	}
}

// TestARefusedPostingLeavesNoAccountBehind: a Fact that opens a system account
// and is then refused must not leave one in memory that has no row.
func TestARefusedPostingLeavesNoAccountBehind(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	db := pool(t, dsn)
	n := lead(t, dsn)
	house := open(t, n, "cash", ledger.House)
	_, err := n.Submit(t.Context(), accept(pay.Send, house, open(t, n, "alice", ledger.User), 1, "first"))
	require.NoError(t, err)
	alice := open(t, n, "alice", ledger.User)

	deposit := func(amount money.Amount, k string) error {
		f := accept(pay.Deposit, 0, alice, 1, k)
		f.Payment.New.Amount = amount
		r, err := n.Submit(t.Context(), f)
		require.NoError(t, err)
		_, err = n.Submit(t.Context(), about(r.Payment, pay.Confirm))
		return err
	}
	require.ErrorIs(t, deposit(money.Max, "too much"), fault.AmountInvalid)
	require.NoError(t, deposit(money.Int(70), "fine"))
	var orphans int
	require.NoError(t, db.QueryRow(t.Context(), `select count(*) from facts.postings p
	  where not exists (select from accounts a where a.id = p.account & ~1::bigint)`).Scan(&orphans))
	require.Zero(t, orphans, "postings on accounts that do not exist")
	sums(t, db)
}

// TestWhatIsReadBackIsWhatWasAnswered: a payment that the decider loads again
// is the payment that it answered before.
func TestWhatIsReadBackIsWhatWasAnswered(t *testing.T) {
	t.Parallel()
	hands := clock.NewManual(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	dsn := pgtest.DSN(t)
	first := start(t, dsn, setBy(hands))
	require.Eventually(t, first.Leading, patience, 5*time.Millisecond)
	house := open(t, first, "cash", ledger.House)
	payout := accept(pay.Payout, house, 0, 500, "p")
	r, err := first.Submit(t.Context(), payout)
	require.NoError(t, err)
	for _, fact := range []pay.FactKind{pay.Intend, pay.Ack, pay.Checked, pay.Confirm, pay.Settle} {
		hands.Advance(time.Minute)
		f := about(r.Payment, fact)
		f.Payment.SendBy = f.Payment.SendBy.UTC().Truncate(time.Microsecond)
		f.Payment.ChannelID, f.Payment.Reason, f.Payment.Source = "bank-1", "because", "query"
		r, err = first.Submit(t.Context(), f)
		require.NoError(t, err)
	}
	first.stop()
	second := lead(t, dsn)
	again, err := second.Submit(t.Context(), payout)
	require.NoError(t, err)
	require.True(t, again.Replayed)
	require.Equal(t, r.Payment.EnteredAt, again.Payment.EnteredAt.UTC(), "the state was entered when it was entered, not when it settled")
	require.Equal(t, r.Payment.Attempt.Reason, again.Payment.Attempt.Reason)
	require.Equal(t, plain(r.Payment), plain(again.Payment))
}

// plain is p with what is kept only while it is open left out, and times in UTC.
func plain(p pay.Payment) pay.Payment {
	for _, at := range []*time.Time{&p.EffectiveAt, &p.CreatedAt, &p.EnteredAt, &p.NextAt, &p.Deadline, &p.Attempt.SendBy, &p.LastCheckedAt} {
		*at = at.UTC()
	}
	if !p.Open() {
		p.Checks, p.LastCheckedAt = 0, time.Time{}
	}
	return p
}
