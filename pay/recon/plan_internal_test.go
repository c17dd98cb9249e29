package recon

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgtest"
)

// What a page of a statement looks up is probed line by line, also before the first
// statistics: the alternative is a channel's whole history for each page.
func TestPagesProbeIndexes(t *testing.T) {
	t.Parallel()
	session, err := pgx.Connect(t.Context(), pgtest.DSN(t))
	require.NoError(t, err)
	defer func() { _ = session.Close(t.Context()) }()
	pgtest.Forget(t, session, "expectations", `insert into expectations (payment, tenant, channel, reference, direction, asset, amount, since, due_at)
  select n, 1, 'bank-ab', n::text, 1, 'CZK', 1, now(), now() from generate_series(1, 3000) n`)
	_, err = session.Exec(t.Context(), "set enable_seqscan = off")
	require.NoError(t, err)
	before := pgtest.Plan(t, session, selectBefore, 3)
	require.NotContains(t, before, "Join Filter", before)
	require.Regexp(t, `Index Cond: .*reference = `, before)
	require.Regexp(t, `Index Cond: .*line_id = `, before)
	met := pgtest.Plan(t, session, meetExpectations, 2)
	require.NotContains(t, met, "Join Filter", met)
	require.Regexp(t, `expectations_pkey.*\n +Index Cond: \(payment = ANY`, met)
	for sql, n := range map[string]int{selectAttested: 2, selectDoubled: 5} { // each run, over all the lines that there ever were
		plan := pgtest.Plan(t, session, sql, n)
		require.Contains(t, plan, "statement_lines_wrong_state", plan)
		require.Regexp(t, `statement_lines_by_reference.*\n +Index Cond: .*reference = `, plan)
	}
}
