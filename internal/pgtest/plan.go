package pgtest

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// Plan is how the session would run a statement for ever: the plan that Postgres
// keeps when it no longer looks at the parameters, each of which is null here.
func Plan(tb testing.TB, conn *pgx.Conn, sql string, parameters int) string {
	tb.Helper()
	ctx := tb.Context()
	for _, s := range []string{"set plan_cache_mode = force_generic_plan", "prepare planned as " + sql} {
		_, err := conn.Exec(ctx, s)
		require.NoError(tb, err)
	}
	defer func() {
		_, err := conn.Exec(ctx, "deallocate planned")
		require.NoError(tb, err)
	}()
	execute := "explain execute planned"
	if parameters > 0 {
		execute += "(null" + strings.Repeat(", null", parameters-1) + ")"
	}
	rows, err := conn.Query(ctx, execute)
	require.NoError(tb, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(tb, err)
	return strings.Join(lines, "\n")
}

// Forget leaves a table empty, with statistics of that moment and room for rows: what
// a table of things under way looks like to the planner after a quiet night.
func Forget(tb testing.TB, conn *pgx.Conn, table, insertOne string) {
	tb.Helper()
	for _, s := range []string{
		insertOne, "analyze " + table, "delete from " + table, "analyze " + table,
	} {
		_, err := conn.Exec(tb.Context(), s)
		require.NoError(tb, err, s)
	}
	var tuples float32
	require.NoError(tb, conn.QueryRow(tb.Context(), "select reltuples from pg_class where oid = $1::regclass", table).Scan(&tuples))
	require.Zero(tb, tuples)
}
