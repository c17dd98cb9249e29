package app

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgtest"
)

// A restored ledger that does not add up says what is off, and not more than people read.
func TestARestoredLedgerIsProved(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	defer func() { _ = conn.Close(t.Context()) }()
	want, err := countLedger(t.Context(), conn, -1)
	require.NoError(t, err)
	_, off, err := recount(t.Context(), dsn, conn, want)
	require.NoError(t, err)
	require.Empty(t, off)

	_, err = conn.Exec(t.Context(), `update shards set last_transfer = 5`)
	require.NoError(t, err)
	_, off, err = recount(t.Context(), dsn, conn, want)
	require.NoError(t, err)
	require.Equal(t, []string{"ids shard 0: number 5 is the last of transfers that it gave out, and 0 is the last that is there"}, off)

	_, err = conn.Exec(t.Context(), `update shards set last_transfer = 0; insert into keys select gen_random_uuid(), gen_random_uuid(), 1, n, null, null, null, null, now() from generate_series(1, 25) n`)
	require.NoError(t, err)
	_, off, err = recount(t.Context(), dsn, conn, LedgerCount{Assets: []AssetCount{{Asset: "CZK"}}})
	require.NoError(t, err)
	require.Len(t, off, offMax+2)
	require.Equal(t, "and 15 more: moneta prove lists them", off[offMax])
	require.Contains(t, off[offMax+1], "are not the same")
}
