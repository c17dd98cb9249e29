package prove

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/money"
)

// synthetic is a ledger of n settled payouts of 100 by 1,000 users through one bank, as
// the decider would have written them: 5 steps and 3 transfers each, and the funds.
// The statements are run one after the other, $1 is n.
var synthetic = []string{
	`insert into accounts select i * 2, 1, case when i <= 1000 then 1 when i = 1001 then 2 else 3 end, 'CZK',
	   case i when 1001 then 'house' when 1002 then 'clr:bank-ab:out' when 1003 then 'nostro:bank-ab' else 'user ' || i end, case when i <= 1000 then 0 end, false, now()
	   from generate_series(1, 1003) i where $1 > 0`,
	`insert into payments (id, tenant, kind, asset, amount, fee, from_account, to_account, channel, key, trace_id, effective_at, created_at)
	  select i, 1, case when i <= 1000 then 1 else 2 end, 'CZK', case when i <= 1000 then $1 else 100 end, 0,
	    case when i <= 1000 then 2002 else (i % 1000 + 1) * 2 end, case when i <= 1000 then i * 2 end, case when i > 1000 then 'bank-ab' end,
	    md5(i::text)::uuid, md5(i::text)::uuid, now(), now() from generate_series(1, 1000 + $1) i`,
	`insert into keys (key, fingerprint, kind, subject, at) select key, key, 1, id, now() from payments where $1 > 0`,
	`insert into transitions (id, payment, seq, transition, from_state, to_state, settlement, attempt, first_transfer, transfers, at)
	  select i, i, 1, 22, 0, 6, 0, 0, i, 1, now() from generate_series(1, 1000) i where $1 > 0
	  union all
	  select 1000 + (i - 1001) * 5 + s, i, s, (array[1, 3, 4, 7, 12])[s], (array[0, 1, 2, 3, 6])[s], (array[1, 2, 3, 6, 6])[s], (array[0, 0, 0, 1, 2])[s],
	    (array[0, 0, 1, 1, 1])[s], case s when 2 then 1 when 3 then 2 when 5 then 3 end + 1000 + (i - 1001) * 3, (array[0, 1, 1, 0, 1])[s], now()
	    from generate_series(1001, 1000 + $1) i, generate_series(1, 5) s`,
	`insert into attempts (payment, n, channel, reference, state, send_by, intended_at, answered_at)
	  select i, 1, 'bank-ab', 'M' || (select string_agg(substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', ((i::bigint >> (5 * d)) & 31)::int + 1, 1), '' order by d desc)
	    from generate_series(0, 12) d) || 'A1', 4, now(), now(), now() from generate_series(1001, 1000 + $1) i`,
	`create unlogged table moved as
	  select i as id, i as payment, 2002 as debit, i * 2 as credit, $1::numeric as amount, 22 as transition from generate_series(1, 1000) i
	  union all
	  select 1000 + (i - 1001) * 3 + s, i, (array[(i % 1000 + 1) * 2, (i % 1000 + 1) * 2 + 1, 2004])[s], (array[(i % 1000 + 1) * 2 + 1, 2004, 2006])[s], 100,
	    (array[3, 4, 12])[s] from generate_series(1001, 1000 + $1) i, generate_series(1, 3) s`,
	`insert into transfers with side as (select id, debit as book, true as paid, -amount as by from moved union all select id, credit, false, amount from moved),
	    run as (select id, paid, sum(by) over w as balance, count(*) filter (where paid) over w as paid_n, count(*) filter (where not paid) over w as got_n
	      from side window w as (partition by book order by id))
	  select m.id, m.payment, m.debit, m.credit, m.amount, d.paid_n, c.got_n, d.balance, c.balance, m.transition, now(), now()
	    from moved m join run d on d.id = m.id and d.paid join run c on c.id = m.id and not c.paid where $1 > 0`,
	`update shards set last_account = 1003, last_payment = 1000 + $1, last_transfer = 1000 + 3 * $1, last_transition = 1000 + 5 * $1`,
	`insert into marks values ('recon_expected', 1000 + 5 * $1)`,
	`update webhook_cursor set position = 1000 + 5 * $1`,
}

// bulk are the books of a bank that executed all of them.
type bulk struct{ n int64 }

func (b bulk) Channel() string { return "bank-ab" }
func (b bulk) Source() string  { return "memory" }
func (b bulk) Effects(_ context.Context, take func(Effect) error) error {
	for i := range b.n {
		e := Effect{Reference: reference(1001+i, 1), Direction: "out", Amount: money.Int(100), Asset: "CZK", At: time.Unix(1, 0), ID: "AB-" + itoa(i)}
		if err := take(e); err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkRecount counts a ledger of MONETA_PROVE_PAYMENTS payouts (10,000 when
// unset) whole, with the bank's books, and reports seconds a million payments and the
// most memory that the process ever had.
func BenchmarkRecount(b *testing.B) {
	n := int64(10_000)
	if text := os.Getenv("MONETA_PROVE_PAYMENTS"); text != "" {
		var err error
		n, err = strconv.ParseInt(text, 10, 64)
		require.NoError(b, err)
	}
	dsn := pgtest.DSN(b)
	conn, err := pgx.Connect(b.Context(), dsn)
	require.NoError(b, err)
	for _, sql := range synthetic {
		_, err := conn.Exec(b.Context(), strings.ReplaceAll(sql, "$1", fmt.Sprint(n)))
		require.NoError(b, err, sql)
	}
	_, err = conn.Exec(b.Context(), `vacuum analyze`)
	require.NoError(b, err)
	require.NoError(b, conn.Close(b.Context()))
	for b.Loop() {
		r, err := Run(b.Context(), Config{DSN: dsn, Rails: []Books{bulk{n}}, TempDir: b.TempDir()})
		require.NoError(b, err)
		require.Equal(b, Clean, r.Verdict, "%+v", r.Findings)
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)/float64(n)*1e6, "s/Mpayments")
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(text)[0], 64)
			require.NoError(b, err)
			b.ReportMetric(kb/1024, "MB")
		}
	}
}
