package commit

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgtest"
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

	session, err := dial(t.Context(), dsn, "plans", true)
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
