package money

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgtest"
)

// A plan that was made when nothing was open must read a page by its index when a
// million payments are, and sort nothing for it.
func TestPagesAreReadByTheirIndexWhenNothingWasOpen(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	owner, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	defer func() { _ = owner.Close(t.Context()) }()
	pgtest.Forget(t, owner, "open_payments", `insert into open_payments (payment, tenant, kind, asset, amount, account, channel, state, hop,
    entered_at, next_at, deadline, attempt, checks)
  select n, 1, 2, 'CZK', 1, 1, 'bank-ab', 3, 'channel', now(), now(), now(), 1, 0 from generate_series(1, 3000) n`)
	c, err := New(t.Context(), Config{DSN: dsn})
	require.NoError(t, err)
	defer c.Close()
	session, err := c.pool.Acquire(t.Context())
	require.NoError(t, err)
	defer session.Release()
	for name, sql := range map[string]string{"tail": selectPage, "aside": selectPageAside} {
		plan := pgtest.Plan(t, session.Conn(), sql, 4)
		require.Contains(t, plan, "Index Scan using open_payments_pkey", name)
		require.NotContains(t, plan, "Sort", "%s: %s", name, plan)
		require.NotContains(t, plan, "Seq Scan on open_payments", "%s: %s", name, plan)
	}
}
