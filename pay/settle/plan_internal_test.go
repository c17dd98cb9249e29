package settle

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgtest"
)

// Marking a batch must not go through what is fresh, or what waits, once for each
// letter, whatever the statistics were when the plan was made.
func TestMarkingJoinsNothing(t *testing.T) {
	t.Parallel()
	session, err := pgx.Connect(t.Context(), pgtest.DSN(t))
	require.NoError(t, err)
	defer func() { _ = session.Close(t.Context()) }()
	pgtest.Forget(t, session, "inbox", `insert into inbox (channel, headers, body, received_at)
  select 'bank-ab', '{}', '', now() from generate_series(1, 3000)`)
	_, err = session.Exec(t.Context(), "set enable_seqscan = off")
	require.NoError(t, err)
	plan := pgtest.Plan(t, session, markInbox, 7)
	require.NotContains(t, plan, "Nested Loop", plan)
	require.NotContains(t, plan, "Hash Join", plan)
	require.Regexp(t, `Index Cond: \(id = ANY`, plan)
}

// Deleting the old end reads the old end, whatever the statistics were when the plan
// was made.
func TestDeletingOldCallbacksReadsTheOldEnd(t *testing.T) {
	t.Parallel()
	session, err := pgx.Connect(t.Context(), pgtest.DSN(t))
	require.NoError(t, err)
	defer func() { _ = session.Close(t.Context()) }()
	pgtest.Forget(t, session, "inbox", `insert into inbox (channel, headers, body, received_at)
  select 'bank-ab', '{}', '', now() from generate_series(1, 3000)`)
	judged := pgtest.Plan(t, session, deleteJudged, 3)
	require.Regexp(t, `Index Cond: \(\(id >= .*\) AND \(id <`, judged)
	require.NotContains(t, pgtest.Plan(t, session, deleteOldUnverified, 2), "Seq Scan")
	much := pgtest.Plan(t, session, deleteMuchUnverified, 4)
	require.NotContains(t, much, "Seq Scan", much)
	require.Regexp(t, `Index Cond: \(\(channel = .*\) AND \(id <= `, much, "the bound is counted once")
	pgtest.Forget(t, session, "inbox_events", `insert into inbox_events (channel, event_id) select 'bank-ab', n::text from generate_series(1, 3000) n`)
	_, err = session.Exec(t.Context(), "set enable_seqscan = off") // as the stations' pool
	require.NoError(t, err)
	events := pgtest.Plan(t, session, deleteOldEvents, 2)
	require.NotContains(t, events, "Seq Scan", events)
	require.Contains(t, events, "inbox_events_at", events)
}
