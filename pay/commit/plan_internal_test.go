package commit

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/pay"
)

// Statistics of a moment at which nothing was open must not make the leader go
// through its whole batch for each payment that is open later.
func TestPlansStandWhenNothingWasOpen(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	owner, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	defer func() { _ = owner.Close(t.Context()) }()
	pgtest.Forget(t, owner, "open_payments", `insert into open_payments (payment, tenant, kind, asset, amount, account, channel, state, hop,
    entered_at, next_at, deadline, attempt, checks)
  select n, 1, 2, 'CZK', 1, 1, 'bank-ab', 3, 'channel', now(), now(), now(), 1, 0 from generate_series(1, 3000) n`)
	pgtest.Forget(t, owner, "attempts", `insert into attempts (payment, n, channel, reference, state, send_by, intended_at)
  select n, 1, 'bank-ab', n::text, 1, now(), now() from generate_series(1, 3000) n`)

	session, err := dial(t.Context(), dsn, "plans", true, nil)
	require.NoError(t, err)
	defer func() { _ = session.Close(t.Context()) }()
	tables := newTables()
	for _, n := range []int{openUpdates, openDeletes, attemptUpdates} {
		s := tables[n].statement
		t.Run(s.Name, func(t *testing.T) {
			plan := pgtest.Plan(t, session, s.SQL, len(tables[n].columns))
			require.NotContains(t, plan, "Join Filter", plan)
			require.Regexp(t, `Index Cond: \(+payment = `, plan)
		})
	}
}

// A page of sends reads each payment and its one transition, and nothing that a send
// cannot have.
func TestAPageOfSendsReadsItself(t *testing.T) {
	t.Parallel()
	conn, err := pgx.Connect(t.Context(), pgtest.DSN(t))
	require.NoError(t, err)
	defer func() { _ = conn.Close(t.Context()) }()
	for _, sql := range []string{
		`insert into payments (id, tenant, kind, asset, amount, fee, from_account, to_account, key, trace_id, effective_at, created_at)
		 select i, 1, 1, 'CZK', 1, 0, 2, 4, gen_random_uuid(), gen_random_uuid(), now(), now() from generate_series(1, 30000) i`,
		`insert into transitions (id, payment, seq, transition, from_state, to_state, settlement, attempt, transfers, at)
		 select i, i, 1, 22, 0, 6, 0, 0, 0, now() from generate_series(1, 30000) i`,
		`insert into open_payments (payment, tenant, kind, asset, amount, account, channel, state, hop, entered_at, next_at, deadline, attempt, checks)
		 select i, 1, 2, 'CZK', 1, 2, 'bank-ab', 4, 'channel', now(), now(), now(), 1, 0 from generate_series(30001, 40000) i`,
		`analyze`,
	} {
		_, err := conn.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(t.Context()) }()
	read := func() (rows, looks int64) {
		require.NoError(t, tx.QueryRow(t.Context(), `select sum(seq_tup_read + idx_tup_fetch), sum(seq_scan + idx_scan) from pg_stat_xact_user_tables
			where relname in ('payments', 'transitions', 'attempts', 'open_payments')`).Scan(&rows, &looks))
		return rows, looks
	}
	const page = 51
	rows, looks := read()
	far := time.Now().Add(time.Hour)
	found, err := tx.Query(t.Context(), listSince, int64(30_000), int64(20_000), int32(1), int16(0), "", int64(0), time.Time{}, far, page)
	require.NoError(t, err)
	payments, err := pgx.CollectRows(found, readPaymentRow)
	require.NoError(t, err)
	require.Len(t, payments, page)
	require.Equal(t, pay.Succeeded, payments[0].State)
	require.False(t, payments[0].EnteredAt.IsZero())
	rowsAfter, looksAfter := read()
	require.LessOrEqual(t, rowsAfter-rows, int64(2*page+4))
	require.LessOrEqual(t, looksAfter-looks, int64(page+4))
}
