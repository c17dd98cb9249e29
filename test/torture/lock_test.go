package torture

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// lockedAccounts are those that a foreign session holds.
const lockedAccounts = 20

// A foreign session locks account rows and goes idle. The holders of other
// accounts must not notice, and those of the locked ones must be served too: no
// batch writes an account row.
func TestForeignLock(t *testing.T) {
	together(t)
	w := newWorld(t)
	const accounts = 120
	l := newLoad(t, w, "lock", accounts, 16, choose(50*time.Millisecond, 20*time.Millisecond)) // each is asked for again at the end
	l.choose = func(client, n int) order {
		from := (client*7 + n) % accounts
		return order{Kind: "send", From: l.accounts[from], To: l.accounts[(from+1+n%50)%accounts], Amount: "100"}
	}
	held := make(map[string]bool)
	var names []string
	for i := range lockedAccounts {
		held[l.accounts[i]] = true
		names = append(names, fmt.Sprintf("lock-user-%d", i))
	}
	phase := choose(4*time.Second, 30*time.Second)
	l.run()
	l.awaitAcks(t, 500, time.Minute) // warm
	began := time.Now()
	during(t.Context(), phase)
	locked := time.Now()
	release := w.lock(names)
	during(t.Context(), phase)
	released := time.Now()
	release()
	receipts := l.stop()

	before, _ := tookBetween(receipts, began, locked, held)
	while, ofLocked := tookBetween(receipts, locked, released, held)
	require.NotEmpty(t, before)
	require.NotEmpty(t, while, "payments of other accounts stopped")
	require.NotEmpty(t, ofLocked, "payments of locked accounts stopped")
	p99 := percentile(before, 99)
	figure(t, "foreign lock: p99 of others before / during", "%s / %s (%d / %d payments)", p99, percentile(while, 99), len(before), len(while))
	figure(t, "foreign lock: p99 of the locked accounts", "%s (%d payments)", percentile(ofLocked, 99), len(ofLocked))
	if full {
		require.LessOrEqual(t, percentile(while, 99), 2*p99)
	}
	require.Less(t, silence(receipts, locked, released), 2*time.Second)
	prove(t, w, l, receipts)
}

// lock holds the accounts' rows for update until the returned function is called.
func (w *world) lock(names []string) (release func()) {
	w.t.Helper()
	conn, err := pgx.Connect(context.Background(), w.dsn())
	require.NoError(w.t, err)
	// The server ends a session that idles in a transaction; a hostile one says no.
	_, err = conn.Exec(context.Background(), `set idle_in_transaction_session_timeout = 0`)
	require.NoError(w.t, err)
	tx, err := conn.Begin(context.Background())
	require.NoError(w.t, err)
	rows, err := tx.Query(context.Background(), `select id from accounts where name = any($1) for update`, names)
	require.NoError(w.t, err)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	require.NoError(w.t, err)
	require.Len(w.t, ids, len(names))
	return func() {
		require.NoError(w.t, tx.Rollback(context.Background()))
		require.NoError(w.t, conn.Close(context.Background()))
	}
}

// tookBetween returns how long the payments that began in [from, to) took, apart
// for those that touch a held account. Those that began just before the end and
// were answered after it count: a stall shows.
func tookBetween(receipts []receipt, from, to time.Time, held map[string]bool) (others, those []time.Duration) {
	for i := range receipts {
		r := &receipts[i]
		if r.id == "" || r.began.Before(from) || !r.began.Before(to) {
			continue
		}
		if held[r.From] || held[r.To] {
			those = append(those, r.took)
		} else {
			others = append(others, r.took)
		}
	}
	return others, those
}
