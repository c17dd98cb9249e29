package schema_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgtest"
)

// The doctor sees sessions and facts, and writes nothing.
func TestTheDoctorsRoleWritesNothing(t *testing.T) {
	t.Parallel()
	conn := open(t, pgtest.DSN(t))
	_, err := conn.Exec(t.Context(), `set role moneta_doctor`)
	require.NoError(t, err)
	for _, sql := range []string{
		`select * from facts.open_items limit 1`, `select * from facts.heartbeats`, `select pg_blocking_pids(pid), query from pg_stat_activity`,
		`select * from pg_replication_slots`,
	} {
		_, err := conn.Exec(t.Context(), sql)
		require.NoError(t, err, sql)
	}
	var may bool
	require.NoError(t, conn.QueryRow(t.Context(), `select pg_has_role('pg_signal_backend', 'usage') and pg_has_role('pg_monitor', 'usage')`).Scan(&may))
	require.True(t, may)
	for _, sql := range []string{
		`select * from public.payments`, `insert into public.transitions default values`, `update public.shards set epoch = 0`, `delete from public.inbox`,
		`update public.open_payments set next_at = now()`, `insert into public.lever_changes default values`, `create table public.mine (id int)`,
	} {
		_, err := conn.Exec(t.Context(), sql)
		require.ErrorContains(t, err, "permission denied", sql)
	}
}
