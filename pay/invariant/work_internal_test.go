package invariant

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgtest"
)

// history is transfers between a few books, as a ledger has them that is years old:
// each book has thousands on either side.
const history = `insert into transfers (id, payment, debit, credit, amount, debit_seq, credit_seq, debit_balance, credit_balance, transition, effective_at, booked_at)
	select i, i, debit, credit, 1, row_number() over (partition by debit order by i), row_number() over (partition by credit order by i),
	       0, 0, 22, now(), now()
	  from (select i, 2 + 2 * (i % $2) debit, 2 + 2 * ((i * 7 + i / $2 + 1) % $2) credit from generate_series(1, $1::bigint) i) s where debit <> credit`

// balances gives each row the balances that follow from the rows before it.
const balances = `with side as (select id, debit book, 'd' side, -amount moved from transfers union all select id, credit, 'c', amount from transfers),
	  sums as (select *, sum(moved) over (partition by book order by id) balance from side)
	update transfers t set debit_balance = d.balance, credit_balance = c.balance from sums d, sums c
	 where d.id = t.id and d.side = 'd' and c.id = t.id and c.side = 'c'`

func age(t *testing.T, conn *pgx.Conn, rows, books int) {
	t.Helper()
	_, err := conn.Exec(t.Context(), history, rows, books)
	require.NoError(t, err)
	for _, sql := range []string{balances, `analyze transfers`} {
		_, err := conn.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
}

func named(t *testing.T, checks []check, name string) check {
	t.Helper()
	for _, k := range checks {
		if k.name == name {
			return k
		}
	}
	require.FailNow(t, "no check", name)
	return check{}
}

// fetched counts the transfers that the session has read.
func fetched(t *testing.T, tx pgx.Tx) (rows int64) {
	t.Helper()
	require.NoError(t, tx.QueryRow(t.Context(), `select sum(seq_tup_read + idx_tup_fetch) from pg_stat_xact_user_tables where relname = 'transfers'`).Scan(&rows))
	return rows
}

// TestAPageCostsAPage: what a turn reads grows with its page, and hardly with how long
// the books on it have been written. A walk through their histories did once: 13,000
// pages of memory a turn after a surge, every second, on the payments' processors.
func TestAPageCostsAPage(t *testing.T) {
	t.Parallel()
	conn, err := pgx.Connect(t.Context(), pgtest.DSN(t))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	age(t, conn, 40_000, 20)
	const page = 250
	for _, from := range []int64{0, 20_000, 39_000} {
		for _, k := range transferChecks {
			tx, err := conn.Begin(t.Context())
			require.NoError(t, err)
			before := fetched(t, tx)
			_, err = ask(t.Context(), tx, k, from, from+page)
			require.NoError(t, err)
			require.Less(t, fetched(t, tx)-before, int64(10*page), "%s from %d", k.name, from)
			require.NoError(t, tx.Rollback(t.Context()))
		}
	}
}

// TestTheJointOfABusyBookIsSeen: the row before a page counts for it, however many rows
// the book has written since.
func TestTheJointOfABusyBookIsSeen(t *testing.T) {
	t.Parallel()
	conn, err := pgx.Connect(t.Context(), pgtest.DSN(t))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	age(t, conn, 60_000, 3)
	m2 := named(t, transferChecks, "M2")
	look := func(from, to int64) []Violation {
		tx, err := conn.Begin(t.Context())
		require.NoError(t, err)
		defer func() { _ = tx.Rollback(t.Context()) }()
		found, err := ask(t.Context(), tx, m2, from, to)
		require.NoError(t, err)
		return found
	}
	for _, from := range []int64{0, 1, 2, 7, 500, 20_000, 59_800} {
		require.Empty(t, look(from, from+100), from)
	}
	for _, from := range []int64{7, 500, 20_000, 59_800} {
		for _, side := range []string{"debit", "credit"} {
			var at int64
			require.NoError(t, conn.QueryRow(t.Context(), `update transfers set `+side+`_balance = `+side+`_balance + 5
				where id = (select max(id) from transfers where id <= $1) returning id`, from).Scan(&at))
			found := look(at, at+100)
			require.Len(t, found, 1, "%s of %d", side, at)
			require.Equal(t, "5", found[0].Amount)
			_, err := conn.Exec(t.Context(), `update transfers set `+side+`_balance = `+side+`_balance - 5 where id = $1`, at)
			require.NoError(t, err)
		}
	}
}
