package schema_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgtest"
)

var update = flag.Bool("update", false, "rewrite testdata/facts_v1.txt")

const factsFile = "testdata/facts_v1.txt"

// factsV1 are the views that the contract promises. Others may come beside them.
var factsV1 = []string{
	"contract", "open_items", "hops", "timers", "live_attempts", "attempts", "transitions", "throughput", "minutes",
	"callbacks", "callback_backlog", "callback_minutes", "heartbeats", "projections", "pauses", "quarantine",
	"postings", "cases", "levers", "callbacks_aside", "channels",
}

// factColumns describes each view of the contract, a line a column.
func factColumns(t *testing.T, conn *pgx.Conn) (lines []string) {
	t.Helper()
	for _, view := range factsV1 {
		rows, err := conn.Query(t.Context(), `select column_name || ' ' || data_type from information_schema.columns
			where table_schema = 'facts' and table_name = $1 order by ordinal_position`, view)
		require.NoError(t, err)
		columns, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		require.NotEmpty(t, columns, "facts."+view)
		for _, c := range columns {
			lines = append(lines, view+"."+c)
		}
	}
	return lines
}

// TestFactsKeepTheirColumns pins the contract: columns may be added at the end of a
// view, and nothing else may change without a new version.
func TestFactsKeepTheirColumns(t *testing.T) {
	t.Parallel()
	got := strings.Join(factColumns(t, open(t, pgtest.DSN(t))), "\n") + "\n"
	if *update {
		require.NoError(t, os.WriteFile(factsFile, []byte(got), 0o600))
	}
	want, err := os.ReadFile(factsFile)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "the doctor and foreign wallets rely on these; see docs/facts.md before you rewrite the file with -update")
}

func TestEveryFactIsDocumented(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../docs/facts.md")
	require.NoError(t, err)
	for _, line := range factColumns(t, open(t, pgtest.DSN(t))) {
		view, column, _ := strings.Cut(line, ".")
		column, _, _ = strings.Cut(column, " ")
		_, section, _ := strings.Cut(string(doc), "\n### `facts."+view+"`\n")
		require.NotEmpty(t, section, "facts.%s has a section", view)
		section, _, _ = strings.Cut(section, "\n### ")
		require.Contains(t, section, "| `"+column+"` |", "facts.%s", view)
	}
}

func TestWhoMayReadFactsMayReadNothingElse(t *testing.T) {
	t.Parallel()
	conn := open(t, pgtest.DSN(t))
	_, err := conn.Exec(t.Context(), `set role moneta_facts`)
	require.NoError(t, err)
	for _, view := range factsV1 {
		_, err := conn.Exec(t.Context(), `select * from facts.`+view+` limit 1`)
		require.NoError(t, err, view)
	}
	for _, sql := range []string{
		`select * from public.payments`, `select * from public.api_keys`, `select * from public.cluster`, `select body from public.inbox`,
		`delete from facts.open_items`, `update facts.hops set open = 0`,
	} {
		_, err := conn.Exec(t.Context(), sql)
		require.ErrorContains(t, err, "permission denied", sql)
	}
}

// manyPayments fills a ledger with n finished sends, one a second up to now, of
// which the last 40 were payouts, 20 of them open.
func manyPayments(t *testing.T, conn *pgx.Conn, n int) {
	t.Helper()
	for _, sql := range []string{
		fmt.Sprintf(`insert into payments (id, tenant, kind, asset, amount, fee, from_account, to_account, channel, key, trace_id, effective_at, created_at)
			select i, 1, case when i > %[1]d - 40 then 2 else 1 end, 'CZK', 1234, 0, 2, 4, case when i > %[1]d - 40 then 'bank-ab' end,
			       gen_random_uuid(), gen_random_uuid(), now(), now() - (%[1]d - i) * interval '1 second' from generate_series(1, %[1]d) i`, n),
		fmt.Sprintf(`insert into transitions (id, payment, seq, transition, from_state, to_state, settlement, attempt, transfers, source, at)
			select i, i, 1, 22, 0, 6, 0, 0, 1, 'api', now() - (%[1]d - i) * interval '1 second' from generate_series(1, %[1]d - 40) i`, n),
		fmt.Sprintf(`insert into transitions (id, payment, seq, transition, from_state, to_state, settlement, attempt, transfers, source, at)
			select %[1]d - 40 + (s - 1) * 40 + k, %[1]d - 40 + k, s, (array[1, 3, 4])[s], (array[0, 2, 3])[s], (array[2, 3, 4])[s], 0, case s when 1 then 0 else 1 end, 0, 'api', now()
			  from generate_series(1, 3) s, generate_series(1, 40) k`, n),
		fmt.Sprintf(`insert into transitions (id, payment, seq, transition, from_state, to_state, settlement, attempt, transfers, source, at)
			select %[1]d + 80 + k, %[1]d - 40 + k, 4, 7, 4, 6, 0, 1, 1, 'callback', now() from generate_series(1, 20) k`, n),
		fmt.Sprintf(`insert into attempts (payment, n, channel, reference, state, send_by, intended_at)
			select k, 1, 'bank-ab', 'r' || k, 2, now(), now() from generate_series(1, %[1]d) k`, n),
		fmt.Sprintf(`insert into open_payments select %[1]d - 20 + k, 1, 2, 'CZK', 1234, 2, 'bank-ab', 4, 'channel', now(),
			now() + k * interval '1 minute' - interval '150 seconds', now() + k * interval '1 minute' - interval '90 seconds', 1, 0 from generate_series(1, 20) k`, n),
		fmt.Sprintf(`insert into inbox (channel, headers, body, received_at, applied_at, verdict)
			select 'bank-ab', '', '', now() - (%[1]d - i) * interval '1 second', case when i <= %[1]d - 3 then now() - (%[1]d - i) * interval '1 second' + interval '250 ms' end,
			       case when i <= %[1]d - 3 then 'applied' when i = %[1]d then 'parked' end from generate_series(1, %[1]d) i`, n),
		fmt.Sprintf(`insert into statement_lines (channel, seq, line_id, direction, reference, amount, fee, asset, remittance, booked_at, outcome)
			select 'bank-' || i %% 3, i, i, 1, '', 1, 0, 'CZK', '', now(), '' from generate_series(1, %[1]d) i`, n),
		`analyze`,
	} {
		_, err := conn.Exec(t.Context(), sql)
		require.NoError(t, err, sql)
	}
}

func TestFactsTellWhatIsGoingOn(t *testing.T) {
	t.Parallel()
	conn := open(t, pgtest.DSN(t))
	manyPayments(t, conn, 3_000)
	_, err := conn.Exec(t.Context(), `insert into cases (tenant, payment, kind, owner, finding, opened_at, deadline)
		select 1, payment, 'stuck', 'support', '{}', now(), now() from open_payments order by payment limit 1`)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), `insert into marks values ('recon_expected', 3000), ('duplicate_callbacks', 7);
		update shards set last_transition = 3100, leader = gen_random_uuid(), epoch = 4; update heartbeats set epoch = 4, beat = 12`)
	require.NoError(t, err)
	for sql, want := range map[string]string{
		`select string_agg(name || ' ' || behind, ', ' order by name) from facts.projections`:                                                "recon_expected 100, webhooks 3100",
		`select concat_ws(' ', epoch, beat, last_transition) from facts.heartbeats`:                                                          "4 12 3100",
		`select (leader is not null)::text from facts.heartbeats`:                                                                            "true", // the shard's word, not that of the last who beat
		`select version::text from facts.contract`:                                                                                           "1",
		`select concat_ws(' ', count(*), min(kind), min(hop), min(channel), min(state), min(value), min(amount_band)) from facts.open_items`: "20 payout channel bank-ab processing 1234 4",
		// Of twenty, two are due and one of these has a case; the deadline of one has passed.
		`select concat_ws(' ', count(*) filter (where due), count(*) filter (where orphan), count(*) filter (where has_case), count(*) filter (where stalled)) from facts.timers`: "2 1 1 2",
		`select concat_ws(' ', count(*), min(state), min(kind)) from facts.live_attempts`:                                                                                         "20 acked payout",
		`select string_agg(hop || ' ' || kind || ' ' || channel || ' ' || entered || ' ' || "left", ', ' order by hop) from (
			select hop, kind, channel, sum(entered) entered, sum("left") "left" from facts.throughput group by 1, 2, 3) x`: "channel payout bank-ab 40 20, dispatch payout bank-ab 40 40",
		`select concat_ws(' ', count(*) between 15 and 16, sum(accepted) between 895 and 945, sum(succeeded) < sum(accepted), sum(failed)) from facts.minutes`:                        "t t t 0",
		`select concat_ws(' ', channel, waiting, parked, oldest_received_at < now()) from facts.callback_backlog`:                                                                     "bank-ab 3 1 t",
		`select concat_ws(' ', sum(callbacks) filter (where verdict = 'applied') between 890 and 900, max(lag_max_s) filter (where verdict = 'applied')) from facts.callback_minutes`: "t 0.250",
		`select concat_ws(' ', from_state, to_state) from facts.transitions where id = 1`:                                                                                             "none succeeded",
		`select (count(*) between 190 and 201)::text from facts.transitions where id >= facts.transitions_since(now() - interval '100.5 seconds')`:                                    "true",
		`select facts.transitions_since(now() + interval '1 hour')::text`:                                                                                                             "3101",
		`select facts.transitions_since('-infinity')::text`:                                                                                                                           "1",
	} {
		var got string
		require.NoError(t, conn.QueryRow(t.Context(), sql).Scan(&got), sql)
		require.Equal(t, want, got, sql)
	}
}

// TestFactsThatAreAskedOftenScanNothingLarge holds the views that a doctor polls to
// the indexes, on tables large enough for the planner to care.
func TestFactsThatAreAskedOftenScanNothingLarge(t *testing.T) {
	t.Parallel()
	conn := open(t, pgtest.DSN(t))
	manyPayments(t, conn, 60_000)
	plan := func(sql string) string {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		rows, err := conn.Query(ctx, `explain `+sql)
		require.NoError(t, err, sql)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err, sql)
		return strings.Join(lines, "\n")
	}
	large := func(text string) bool {
		for _, table := range []string{"payments", "transitions", "transfers", "attempts", "inbox", "keys", "statement_lines"} {
			if strings.Contains(text, "Seq Scan on "+table+" ") || strings.Contains(text, "Seq Scan on "+table+"\n") {
				return true
			}
		}
		return false
	}
	for _, sql := range []string{
		"select * from facts.contract", "select * from facts.open_items", "select * from facts.hops", "select * from facts.timers",
		"select * from facts.live_attempts", "select * from facts.throughput", "select * from facts.minutes", "select * from facts.callback_backlog",
		"select * from facts.callback_minutes", "select * from facts.heartbeats", "select * from facts.projections",
		"select * from facts.attempts where payment = 7", "select * from facts.transitions where payment = 7",
		"select * from facts.transitions where id > 59000 order by id limit 100", "select * from facts.callbacks where id > 59000 order by id limit 100",
	} {
		require.False(t, large(plan(sql)), "%s\n%s", sql, plan(sql))
	}
	require.True(t, large(plan("select source, count(*) from facts.transitions group by source")), "a scan would be seen")
}

// TestNamesAreWrittenInPlace: a function that the planner only calls costs each row
// forty times as much.
func TestNamesAreWrittenInPlace(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	conn := open(t, pgtest.DSN(t))
	plan := func(sql string) string {
		rows, err := conn.Query(ctx, `explain (verbose) `+sql)
		require.NoError(t, err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		return strings.Join(lines, "\n")
	}
	for _, view := range factsV1 {
		require.NotRegexp(t, `facts\.\w+_name\(`, plan("select * from facts."+view), view)
	}
	_, err := conn.Exec(ctx, `create function facts.bad_name(kind smallint) returns text language sql immutable as $$ select 'kind_' || kind $$`)
	require.NoError(t, err)
	require.Contains(t, plan(`select facts.bad_name(kind) from payments`), "facts.bad_name(", "a call would be seen")
}
