package commit_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/ledger"
)

func closing(until time.Time) commit.Fact {
	return commit.Fact{Period: &ledger.PeriodFact{Tenant: 1, Asset: "CZK", Until: until, By: "test"}}
}

// After a close nothing carries a value date in the period: what is new is refused with
// the date from which on it may be, what was under way is posted in the open period,
// and a restart remembers.
func TestNothingIsEffectiveInAClosedPeriod(t *testing.T) {
	t.Parallel()
	k := &keeper{t: t, dsn: pgtest.DSN(t)}
	db := pool(t, k.dsn)
	k.start()
	s := newShop(t, k.node, 1000)
	month := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	dated := func(at time.Time, name string) commit.Fact {
		f := accept(pay.Send, s.payer, s.payee, 1, name)
		f.Payment.New.EffectiveAt = at
		return f
	}
	s.submit(dated(month.Add(-time.Hour), "in January"), "")
	payout := accept(pay.Payout, s.payer, 0, 50, "under way")
	payout.Payment.New.EffectiveAt = month.Add(-time.Minute)
	p := s.submit(payout, "").Payment
	for _, kind := range []pay.FactKind{pay.Intend, pay.Confirm} {
		p = s.submit(about(p, kind), "").Payment
	}

	s.submit(closing(time.Now().Add(time.Hour)), fault.MalformedRequest)
	require.False(t, s.submit(closing(month), "").Replayed)
	require.True(t, s.submit(closing(month), "").Replayed)
	s.submit(closing(month.Add(-time.Second)), fault.PeriodClosed)
	k.restart()
	s.node = k.node
	require.True(t, s.submit(closing(month), "").Replayed)

	late := dated(month.Add(-time.Microsecond), "late")
	for range 2 { // the refusal is kept with its key
		_, err := s.node.Submit(t.Context(), late)
		require.ErrorIs(t, err, fault.PeriodClosed)
		require.ErrorContains(t, err, "2026-02-01T00:00:00Z")
	}
	s.submit(dated(month, "the first open instant"), "")
	s.submit(dated(time.Time{}, "today"), "")
	s.submit(about(p, pay.Settle), "") // the money has moved: it cannot be refused

	var bad, open int
	require.NoError(t, db.QueryRow(t.Context(), `select count(*) filter (where t.effective_at < p.until and t.id > p.last_transfer),
		count(*) filter (where t.effective_at >= p.until and t.payment = $1) from transfers t, periods p`, int64(p.ID)).Scan(&bad, &open))
	require.Zero(t, bad, "transfers behind the close with a value date before it")
	require.Positive(t, open, "the settlement stands in the open period")
	sums(t, db)
}
