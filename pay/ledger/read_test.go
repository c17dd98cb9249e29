package ledger_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/ledger"
)

var dawn = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// booked opens accounts 2, 4 and 6 and posts n random movements between their
// books with the rules that the decider uses, a minute apart.
func booked(t *testing.T, pool *pgxpool.Pool, n int) []ledger.Transfer {
	t.Helper()
	random := rand.New(rand.NewPCG(1, uint64(n)))
	books := map[ledger.AccountID]*ledger.Books{}
	for _, id := range []ledger.AccountID{2, 4, 6} {
		a := ledger.Account{ID: id, Tenant: 1, Kind: ledger.House, Asset: "CZK", Name: fmt.Sprint(id), Unlimited: true}
		books[id] = &ledger.Books{Account: a}
		_, err := pool.Exec(t.Context(), `insert into accounts (id, tenant, kind, asset, name, floor, created_at) values ($1, 1, 2, 'CZK', $2, null, $3)`,
			int64(id), a.Name, dawn)
		require.NoError(t, err)
	}
	var all []ledger.Transfer
	for i := range n {
		from, to := ledger.BookID(2+random.IntN(6)), ledger.BookID(2+random.IntN(6))
		if from == to {
			continue
		}
		tr := ledger.Transfer{
			ID: int64(len(all) + 1), Payment: int64(i + 1), Debit: from, Credit: to, Amount: money.Int(random.Int64N(1000) + 1), Transition: 22,
			BookedAt: dawn.Add(time.Duration(i) * time.Minute), EffectiveAt: dawn.Add(time.Duration(random.IntN(n)) * time.Minute),
		}
		require.NoError(t, ledger.Post(books[from.Account()], books[to.Account()], &tr))
		_, err := pool.Exec(t.Context(), `insert into transfers values ($1, $2, $3, $4, $5::text::numeric, $6, $7, $8::text::numeric, $9::text::numeric, $10, $11, $12)`,
			tr.ID, tr.Payment, int64(tr.Debit), int64(tr.Credit), tr.Amount.String(), tr.DebitSeq, tr.CreditSeq,
			tr.DebitBalance.String(), tr.CreditBalance.String(), int16(tr.Transition), tr.EffectiveAt, tr.BookedAt)
		require.NoError(t, err)
		all = append(all, tr)
	}
	return all
}

// sum counts a book from the transfers that pass.
func sum(t *testing.T, all []ledger.Transfer, book ledger.BookID, passes func(*ledger.Transfer) bool) money.Amount {
	t.Helper()
	var total money.Amount
	var err error
	for i := range all {
		tr := &all[i]
		if !passes(tr) {
			continue
		}
		if tr.Credit == book {
			total, err = total.Add(tr.Amount)
			require.NoError(t, err)
		}
		if tr.Debit == book {
			total, err = total.Sub(tr.Amount)
			require.NoError(t, err)
		}
	}
	return total
}

func TestBalancesAreTheSumOfPostings(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t)
	all := booked(t, pool, 200)
	r := ledger.NewReader(pool)
	ctx := t.Context()
	for _, id := range []ledger.AccountID{2, 4, 6} {
		now, err := r.Balances(ctx, 1, id, time.Time{}, ledger.Booking)
		require.NoError(t, err)
		everything := func(*ledger.Transfer) bool { return true }
		require.Equal(t, sum(t, all, id.Available(), everything), now.Available)
		require.Equal(t, sum(t, all, id.Held(), everything), now.Held)
		explained, err := r.Explain(ctx, id)
		require.NoError(t, err)
		require.Equal(t, [2]bool{true, true}, [2]bool{explained[0].Explained(), explained[1].Explained()})
		require.Equal(t, now.Available, explained[0].Balance)

		for minute := -1; minute < 202; minute += 13 {
			at := dawn.Add(time.Duration(minute)*time.Minute + time.Second)
			then, err := r.Balances(ctx, 1, id, at, ledger.Booking)
			require.NoError(t, err)
			until := func(tr *ledger.Transfer) bool { return !tr.BookedAt.After(at) }
			require.Equal(t, sum(t, all, id.Available(), until), then.Available)
			require.Equal(t, sum(t, all, id.Held(), until), then.Held)
			require.True(t, at.Equal(then.AsOf))
			valued, err := r.Balances(ctx, 1, id, at, ledger.Effective)
			require.NoError(t, err)
			until = func(tr *ledger.Transfer) bool { return !tr.EffectiveAt.After(at) }
			require.Equal(t, sum(t, all, id.Available(), until), valued.Available)
			require.Equal(t, sum(t, all, id.Held(), until), valued.Held)
		}
	}
	_, err := r.Balances(ctx, 2, 2, time.Time{}, ledger.Booking)
	require.ErrorIs(t, err, fault.NotFound)
}

func TestStatementPagesHoldEveryPostingOnce(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t)
	all := booked(t, pool, 120)
	r := ledger.NewReader(pool)
	for _, limit := range []int{1, 7, 100} {
		for _, book := range []ledger.BookID{2, 3, 6} {
			var want, got []int64
			for i := len(all) - 1; i >= 0; i-- {
				if all[i].Debit == book || all[i].Credit == book {
					want = append(want, all[i].ID)
				}
			}
			cursor := ""
			for pages := 0; ; pages++ {
				require.Less(t, pages, 200)
				p, err := r.Statement(t.Context(), 1, book, ledger.StatementQuery{Cursor: cursor, Limit: limit})
				require.NoError(t, err)
				for _, e := range p.Entries {
					got = append(got, e.Transfer)
					tr := all[e.Transfer-1]
					require.Equal(t, tr.Payment, e.Payment)
					if tr.Debit == book {
						negative, err := tr.Amount.Neg()
						require.NoError(t, err)
						require.Equal(t, []any{negative, tr.DebitBalance, tr.Credit}, []any{e.Amount, e.Balance, e.Other})
					} else {
						require.Equal(t, []any{tr.Amount, tr.CreditBalance, tr.Debit}, []any{e.Amount, e.Balance, e.Other})
					}
				}
				if cursor = p.Next; cursor == "" {
					break
				}
			}
			require.Equal(t, want, got)
		}
	}
	for _, bad := range []string{"x", "s", "s-1-1", "s!-", "1-1", "szzzzzzzzzzzzzzzzzz-"} {
		_, err := r.Statement(t.Context(), 1, 2, ledger.StatementQuery{Cursor: bad, Limit: 1})
		require.ErrorIs(t, err, fault.MalformedRequest, bad)
	}
}

func TestAnExplanationTellsALie(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t)
	booked(t, pool, 20)
	_, err := pool.Exec(t.Context(), `update transfers set debit_balance = debit_balance + 1
		where id in (select max(id) from transfers where debit = 2 or credit = 2) and debit = 2`)
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), `update transfers set credit_balance = credit_balance + 1
		where id in (select max(id) from transfers where debit = 2 or credit = 2) and credit = 2`)
	require.NoError(t, err)
	e, err := ledger.NewReader(pool).Explain(t.Context(), 2)
	require.NoError(t, err)
	require.False(t, e[0].Explained())
	require.True(t, e[1].Explained())
}
