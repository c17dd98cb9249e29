package api_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/intake"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// nodeOf is one more edge on the world's database, with a node of its own.
func (w *world) nodeOf(timeout time.Duration) (*world, *commit.Node) {
	w.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(w.t, err)
	flights := intake.NewFlights(nil)
	node := commit.New(commit.Config{
		DSN: w.pool.Config().ConnString(), URL: "http://" + listener.Addr().String(), Flights: flights, Logger: slog.New(slog.DiscardHandler),
	})
	accounts := ledger.NewReader(w.pool)
	in, err := intake.New(intake.Config{Submitter: node, Accounts: accounts, Originals: w.payments, Flights: flights})
	require.NoError(w.t, err)
	h, err := api.New(api.Config{Intake: in, Ledger: accounts, Payments: w.payments, Access: access.NewStore(w.pool), Timeout: timeout})
	require.NoError(w.t, err)
	mux := http.NewServeMux()
	mux.Handle("POST "+commit.Path, node.Handler())
	mux.Handle("/", h)
	other := *w
	other.node = node
	other.serveOn(listener, mux)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- node.Run(ctx) }()
	w.t.Cleanup(func() { cancel(); require.NoError(w.t, <-done) })
	return &other, node
}

// TestADuplicateOnAnotherNodePastItsDeadline: P11 over two nodes that forward. The
// leader sees both requests with the key; who came second is told so.
func TestADuplicateOnAnotherNodePastItsDeadline(t *testing.T) {
	t.Parallel()
	w := &world{t: t, pool: pgtest.Database(t)}
	w.payments, w.access = commit.NewReader(w.pool), access.NewStore(w.pool)
	var err error
	w.tenant, err = w.access.CreateTenant(t.Context(), "test")
	require.NoError(t, err)
	w.user = w.key(access.PaymentsWrite, access.PaymentsRead, access.AccountsWrite, access.AccountsRead)
	w.admin = w.key(access.Admin)
	leader, leads := w.nodeOf(patience)
	require.Eventually(t, leads.Leading, patience, 2*time.Millisecond)
	const timeout = 3 * time.Second
	one, oneNode := w.nodeOf(timeout)
	two, twoNode := w.nodeOf(timeout)
	for _, n := range []*commit.Node{oneNode, twoNode} {
		require.Eventually(t, func() bool { return n.Ready(t.Context()) == nil }, patience, 2*time.Millisecond)
	}
	from, to := leader.funded("a", "10000"), leader.open("b", "user")
	send := func(at *world, key string) *answer {
		return at.post("/v1/payments", w.user, `{"kind":"send","from":"`+from+`","to":"`+to+`","amount":"1","asset":"CZK"}`, key)
	}
	require.Equal(t, http.StatusCreated, send(one, "before").StatusCode)

	// A stranger's session holds the row that every commit needs.
	stranger, err := w.pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = stranger.Rollback(context.WithoutCancel(t.Context())) }()
	_, err = stranger.Exec(t.Context(), `select from shards for update`)
	require.NoError(t, err)
	first := make(chan *answer, 1)
	go func() { first <- send(one, "k") }()
	// It is at the leader once the decider waits for that row.
	require.Eventually(t, func() bool {
		var waits bool
		require.NoError(t, w.pool.QueryRow(t.Context(), `select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')`).Scan(&waits))
		return waits
	}, patience, 5*time.Millisecond)
	duplicate := send(two, "k")
	requireProblem(t, duplicate, fault.IdempotencyInFlight)
	require.NotEmpty(t, duplicate.Header.Get("Retry-After"))
	require.Equal(t, "unknown_will_resolve", duplicate.str("money_state"))
	require.Contains(t, []int{http.StatusGatewayTimeout, http.StatusServiceUnavailable}, (<-first).StatusCode, "the first one is no duplicate")
	require.NoError(t, stranger.Rollback(t.Context()))
	require.Eventually(t, func() bool {
		a := send(two, "k")
		return a.StatusCode == http.StatusOK && a.Header.Get("Idempotency-Replayed") == "true"
	}, patience, 50*time.Millisecond, "decided once")
	balance := leader.get("/v1/accounts/" + to + "/balances")
	require.Equal(t, "2", balance.str("available"))
}
