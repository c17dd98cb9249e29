package bench

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgtest"
)

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func execute(t *testing.T, dsn string, statements ...string) {
	t.Helper()
	conn := connect(t, dsn)
	for _, s := range statements {
		_, err := conn.Exec(t.Context(), s)
		require.NoError(t, err, s)
	}
}

func TestBaselinesAreHeldToTheirOwnBooks(t *testing.T) {
	t.Parallel()
	for name, schema := range map[string]string{"plain": baselineSchema, "same rows": sameRowsSchema} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := pgtest.Empty(t)
			b, err := newBaseline(t.Context(), dsn, 10, schema)
			require.NoError(t, err)
			r := &run{cfg: Config{Moneta: os.Args[0]}, dir: t.TempDir()} // TestMain plays the generator
			acked, took, err := b.load(t.Context(), r, 4, 100*time.Millisecond)
			require.NoError(t, err)
			require.Positive(t, acked)
			require.Positive(t, took)
			wrong, err := b.verify(t.Context())
			require.NoError(t, err)
			require.Empty(t, wrong)

			execute(t, dsn, `delete from transfers where id = (select min(id) from transfers)`, `update accounts set balance = balance + 1 where id = 1`)
			wrong, err = b.verify(t.Context())
			require.NoError(t, err)
			require.Len(t, wrong, 2)

			execute(t, dsn, `update accounts set balance = 0`)
			_, _, err = b.load(t.Context(), r, 1, 10*time.Millisecond)
			require.NoError(t, err)
			require.Positive(t, b.refused)
		})
	}
}

func TestFinishedCountsWholeLivesWithinTheRound(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	execute(t, dsn, `insert into transitions (id, payment, seq, transition, from_state, to_state, settlement, attempt, transfers, at)
		select n, p, s, 0, f, t, 0, 0, 0, timestamptz '2026-01-01' + ms * interval '1 ms' from (values
			(1, 1, 1, 0, 1, 100), (2, 1, 2, 4, 6, 150), (3, 1, 3, 6, 6, 160), -- within; its settlement is not a second success
			(4, 2, 1, 0, 1, 100), (5, 2, 2, 4, 6, 300),                       -- within, slower
			(6, 3, 1, 0, 1, 10), (7, 3, 2, 4, 6, 120),                        -- began before
			(8, 4, 1, 0, 1, 900), (9, 4, 2, 4, 6, 1100),                      -- ended after
			(10, 5, 1, 0, 6, 200)) v(n, p, s, f, t, ms)                       -- a send`)
	began, err := time.Parse(time.DateOnly, "2026-01-01")
	require.NoError(t, err)
	n, latency, err := finished(t.Context(), connect(t, dsn), began.Add(50*time.Millisecond), 950*time.Millisecond)
	require.NoError(t, err)
	require.EqualValues(t, 2, n)
	require.Equal(t, Latency{P50: 50, P90: 200, P99: 200, Max: 200}, latency)
	n, _, err = finished(t.Context(), connect(t, dsn), began.Add(time.Hour), time.Second)
	require.NoError(t, err)
	require.Zero(t, n)
}

// Rows as one send of 5 from account 2 to account 4 leaves them.
var oneSend = []string{
	`insert into accounts values (2, 1, 2, 'CZK', 'house', null, false, now()), (4, 1, 1, 'CZK', 'user', 0, false, now())`,
	`insert into keys (key, fingerprint, kind, subject, at) values (gen_random_uuid(), gen_random_uuid(), 1, 1, now())`,
	`insert into payments (id, tenant, kind, asset, amount, fee, from_account, to_account, key, trace_id, effective_at, created_at)
	   values (1, 1, 1, 'CZK', 5, 0, 2, 4, gen_random_uuid(), gen_random_uuid(), now(), now())`,
	`insert into transfers (id, payment, debit, credit, amount, debit_seq, credit_seq, debit_balance, credit_balance, transition, effective_at, booked_at)
	   values (1, 1, 2, 4, 5, 1, 1, -5, 5, 22, now(), now())`,
	`insert into transitions (id, payment, seq, transition, from_state, to_state, settlement, attempt, transfers, at)
	   values (1, 1, 1, 22, 0, 6, 0, 0, 1, now())`,
}

func TestRecountFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		harm string
		want expected
		says string
	}{
		"right":              {`select 1`, expected{payments: 1}, ""},
		"unanswered":         {`select 1`, expected{unanswered: 1}, ""},
		"lost":               {`select 1`, expected{payments: 2}, "1 acknowledged payments are lost"},
		"from nowhere":       {`select 1`, expected{}, "1 payments that nobody was told of"},
		"wrong balance":      {`update transfers set credit_balance = 6`, expected{payments: 1}, "not the sum of their postings"},
		"below the floor":    {`update transfers set debit = 4, credit = 2, debit_balance = -5, credit_balance = 5`, expected{payments: 1}, "below their floor"},
		"transfer missing":   {`update transfers set id = 2`, expected{payments: 1}, "numbers of transfers"},
		"transition missing": {`update transitions set id = 2`, expected{payments: 1}, "numbers of transitions"},
		"key missing":        {`delete from keys`, expected{payments: 1}, "without a key"},
		"failed":             {`update transitions set to_state = 7`, expected{payments: 1}, "other than succeeded"},
		"put aside":          {`insert into quarantine (shard, fact, error) values (0, '', '')`, expected{payments: 1}, "put aside"},
		"open": {
			`insert into open_payments values (1, 1, 1, 'CZK', 5, 2, '', 3, 'dispatch', now(), now(), now(), 1, 0)`,
			expected{payments: 1},
			"still open",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := pgtest.DSN(t)
			execute(t, dsn, append(oneSend[:len(oneSend):len(oneSend)], c.harm)...)
			wrong, err := recount(t.Context(), dsn, "phase", c.want)
			require.NoError(t, err)
			if c.says == "" {
				require.Empty(t, wrong)
				return
			}
			require.Len(t, wrong, 1, strings.Join(wrong, "; "))
			require.Contains(t, wrong[0], c.says)
		})
	}
}

func TestBanksBooksAreComparedWithWhatWasTold(t *testing.T) {
	t.Parallel()
	for says, c := range map[string]struct {
		seen map[string]int
		told expected
	}{
		"":               {map[string]int{"a": 1, "b": 1}, expected{payments: 1, unanswered: 1}},
		"more than once": {map[string]int{"a": 2}, expected{payments: 1}},
		"executed 1 payouts, callers were told of 2": {map[string]int{"a": 1}, expected{payments: 2}},
		"executed 2 payouts, callers were told of 1": {map[string]int{"a": 1, "b": 1}, expected{payments: 1}},
	} {
		p := &plane{run: &run{report: &Report{}}, payouts: c.told}
		p.judgeOutside(c.seen)
		if says == "" {
			require.Empty(t, p.report.Faults)
			continue
		}
		require.Len(t, p.report.Faults, 1)
		require.Contains(t, p.report.Faults[0], says)
	}
}

func TestAnUnknownProfileIsRefused(t *testing.T) {
	t.Parallel()
	_, err := Run(t.Context(), Config{Profile: "slow", WorkDir: t.TempDir()})
	require.ErrorContains(t, err, "use quick")
}

// FuzzAnswer feeds the reader of answers whatever a server may send: it must end,
// and never hand out more than it accepts.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		w := &wire{in: bufio.NewReader(bytes.NewReader(raw))}
		_, body, err := w.answer()
		if err == nil && len(body) > len(raw) {
			t.Fatalf("%d bytes of body out of %d bytes", len(body), len(raw))
		}
	})
}
