package pgbatch_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moneta-pay/moneta/internal/pgbatch"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/money"
)

func connect(t *testing.T) (*pgx.Conn, *pgbatch.Conn) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), pgtest.Empty(t))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	_, err = conn.Exec(t.Context(), `create table kept (n bigint primary key, i2 smallint, i4 integer, b boolean, t text, u uuid, a numeric, at timestamptz)`)
	require.NoError(t, err)
	return conn, pgbatch.NewConn(conn.PgConn())
}

var insert = &pgbatch.Statement{Name: "kept", SQL: `insert into kept select * from unnest($1::bigint[], $2::smallint[], $3::integer[], $4::boolean[],
  $5::text[], $6::uuid[], $7::numeric[], $8::timestamptz[])`}

func columns() []*pgbatch.Column {
	return []*pgbatch.Column{
		pgbatch.Int8(), pgbatch.Int2(), pgbatch.Int4(), pgbatch.Bool(), pgbatch.Text(), pgbatch.UUID(), pgbatch.Numeric(), pgbatch.Timestamptz(),
	}
}

type kept struct {
	n      int64
	i2     int16
	i4     int32
	b      bool
	text   string
	u      [16]byte
	amount money.Amount
	at     time.Time
}

func add(c []*pgbatch.Column, k kept) {
	c[0].AddInt(k.n)
	c[1].AddInt(int64(k.i2))
	c[2].AddInt(int64(k.i4))
	c[3].AddBool(k.b)
	c[4].AddTextOrNull(k.text)
	c[5].AddUUID(k.u)
	c[6].AddAmount(k.amount)
	c[7].AddTime(k.at)
}

// TestPostgresReadsWhatWasWritten compares every type with what Postgres makes of
// it, amounts over the whole range of 128 bits.
func TestPostgresReadsWhatWasWritten(t *testing.T) {
	t.Parallel()
	conn, batch := connect(t)
	c := columns()
	next := int64(0)
	rapid.Check(t, func(rt *rapid.T) {
		for _, col := range c {
			col.Reset()
		}
		var want []kept
		for range rapid.IntRange(1, 20).Draw(rt, "rows") {
			next++
			k := kept{
				n: next, i2: rapid.Int16().Draw(rt, "i2"), i4: rapid.Int32().Draw(rt, "i4"), b: rapid.Bool().Draw(rt, "b"),
				text:   rapid.StringMatching(`[ -~äö中文]{0,40}`).Draw(rt, "text"),
				amount: money.FromParts(rapid.Int64().Draw(rt, "hi"), rapid.Uint64().Draw(rt, "lo")),
				at:     time.UnixMicro(rapid.Int64Range(-2_000_000_000_000_000, 4_000_000_000_000_000).Draw(rt, "at")).UTC(),
			}
			if rapid.Bool().Draw(rt, "small") {
				k.amount = money.Int(rapid.Int64Range(-100_000, 100_000).Draw(rt, "amount"))
			}
			copy(k.u[:], fmt.Sprintf("%016d", next))
			want = append(want, k)
			add(c, k)
		}
		require.NoError(rt, batch.Run(t.Context(), []pgbatch.Call{{Statement: insert, Columns: c}}))
		for _, w := range want {
			var got kept
			var amount string
			require.NoError(rt, conn.QueryRow(t.Context(), `select n, i2, i4, b, coalesce(t, ''), u, a::text, at from kept where n = $1`, w.n).
				Scan(&got.n, &got.i2, &got.i4, &got.b, &got.text, &got.u, &amount, &got.at))
			require.Equal(rt, w.amount.String(), amount)
			got.amount, got.at = w.amount, got.at.UTC()
			require.Equal(rt, w, got)
		}
	})
}

// TestABatchIsOneTransaction: a statement that is refused takes the whole batch
// with it, the error says so, and the connection goes on.
func TestABatchIsOneTransaction(t *testing.T) {
	t.Parallel()
	conn, batch := connect(t)
	one, empty, refused := columns(), columns(), columns()
	add(one, kept{n: 1})
	add(refused, kept{n: 1})
	calls := []pgbatch.Call{{Statement: insert, Columns: one}, {Statement: insert, Columns: empty}, {Statement: insert, Columns: refused}}
	err := batch.Run(t.Context(), calls)
	var pgErr *pgconn.PgError
	require.ErrorAs(t, err, &pgErr)
	require.Equal(t, "23505", pgErr.Code)
	require.NotErrorIs(t, err, pgbatch.ErrUnknown)
	var rows int
	require.NoError(t, conn.QueryRow(t.Context(), `select count(*) from kept`).Scan(&rows))
	require.Zero(t, rows)
	require.NoError(t, batch.Run(t.Context(), calls[:1]))
}

// TestALostConnectionIsUnknown: who cannot read the answer to COMMIT knows nothing.
func TestALostConnectionIsUnknown(t *testing.T) {
	t.Parallel()
	conn, batch := connect(t)
	c := columns()
	add(c, kept{n: 1})
	die := &pgbatch.Statement{Name: "die", SQL: `select pg_terminate_backend(pg_backend_pid()) from unnest($1::bigint[])`}
	n := pgbatch.Int8()
	n.AddInt(1)
	err := batch.Run(t.Context(), []pgbatch.Call{{Statement: insert, Columns: c}, {Statement: die, Columns: []*pgbatch.Column{n}}})
	require.ErrorIs(t, err, pgbatch.ErrUnknown)
	require.True(t, conn.IsClosed() || conn.Ping(t.Context()) != nil)
}
