package pgtest

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// TestStandby: it has what was committed before it was detached, and not what
// came after, and it writes on another timeline.
func TestStandby(t *testing.T) {
	t.Parallel()
	primary := Cluster(t)
	conn, err := pgx.Connect(t.Context(), primary.DSN("moneta"))
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), `create table seen (n int)`)
	require.NoError(t, err)
	r := Standby(t, primary)
	_, err = conn.Exec(t.Context(), `insert into seen values (1)`)
	require.NoError(t, err)
	r.until("it follows", `select pg_last_wal_replay_lsn() >= '`+lsn(t, conn)+`'::pg_lsn`)
	r.Detach()
	_, err = conn.Exec(t.Context(), `insert into seen values (2)`)
	require.NoError(t, err)
	r.Promote()
	there, err := pgx.Connect(t.Context(), r.DSN("moneta"))
	require.NoError(t, err)
	var seen, timeline int
	require.NoError(t, there.QueryRow(t.Context(), `select (select max(n) from seen),
	  ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int`).Scan(&seen, &timeline))
	require.Equal(t, []int{1, 2}, []int{seen, timeline})
	require.NoError(t, conn.Close(t.Context()))
	require.NoError(t, there.Close(t.Context()))
}

func lsn(t *testing.T, conn *pgx.Conn) (at string) {
	t.Helper()
	require.NoError(t, conn.QueryRow(t.Context(), `select pg_current_wal_lsn()::text`).Scan(&at))
	return at
}
