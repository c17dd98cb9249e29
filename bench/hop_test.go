package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMain lets the test binary play the load generator.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "bench-load" {
		if err := Load(context.Background(), os.Args[2:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// memoryLedger notes what it is sent, and refuses one account's payments.
type memoryLedger struct {
	mu     sync.Mutex
	orders []Order
	broke  int64
	closed chan struct{}
}

func (l *memoryLedger) Open(_ context.Context, o Opening) ([]int64, int64, error) {
	if o.Accounts > 1_000 {
		return nil, 0, errors.New("too many accounts")
	}
	var ids []int64
	for i := range o.Accounts {
		ids = append(ids, int64(2*i+2))
	}
	return ids, int64(o.Accounts), nil
}

func (l *memoryLedger) Send(_ context.Context, orders []Order) []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.orders = append(l.orders, orders...)
	errs := make([]error, len(orders))
	for i, o := range orders {
		if o.From == l.broke {
			errs[i] = errors.New("not enough money")
		}
	}
	return errs
}

func (l *memoryLedger) Close(context.Context) error {
	close(l.closed)
	return nil
}

// serveMemory runs the ledger's process but for the process.
func serveMemory(t *testing.T, book *memoryLedger) (socket string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "moneta-hop-") //nolint:usetesting // a socket has a short path
	require.NoError(t, err)
	book.closed = make(chan struct{})
	plan := filepath.Join(dir, "plan.json")
	socket = filepath.Join(dir, "s")
	raw, err := json.Marshal(LedgerPlan{DSN: "none", Socket: socket})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(plan, raw, 0o600))
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() {
		ended <- ServeLedger(ctx, []string{plan}, func(_ context.Context, p LedgerPlan) (Ledger, error) {
			if p.DSN != "none" {
				return nil, errors.New("the plan was not read")
			}
			return book, nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
		<-book.closed
		require.NoError(t, os.RemoveAll(dir))
	})
	return socket
}

func TestOrdersArriveAsTheyWereMade(t *testing.T) {
	t.Parallel()
	book := &memoryLedger{broke: 4}
	h, err := reachHop(t.Context(), serveMemory(t, book))
	require.NoError(t, err)
	defer h.close()
	ids, payments, err := h.open(Opening{Accounts: 3, Fund: 5})
	require.NoError(t, err)
	require.Equal(t, []int64{2, 4, 6}, ids)
	require.EqualValues(t, 3, payments)
	_, _, err = h.open(Opening{Accounts: 2_000})
	require.ErrorContains(t, err, "too many accounts")

	orders := []Order{{Key: [16]byte{1, 15: 9}, From: 2, To: 6, Amount: 1 << 40}, {Key: [16]byte{2}, From: 4, To: 2, Amount: 7}}
	done, text, err := h.send(orders)
	require.NoError(t, err)
	require.Equal(t, 1, done)
	require.Equal(t, "not enough money", text)
	require.Equal(t, orders, book.orders)
}

func TestTheGeneratorCountsWhatTheLedgerAnswers(t *testing.T) {
	t.Parallel()
	book := &memoryLedger{broke: 4}
	socket := serveMemory(t, book)
	h, err := reachHop(t.Context(), socket)
	require.NoError(t, err)
	h.close()
	r := &run{cfg: Config{Moneta: os.Args[0]}, dir: t.TempDir()}
	plan := ordersPlan{Socket: socket, Accounts: []int64{2, 4, 6}, Callers: 3, Group: 7, For: 50 * time.Millisecond}
	res, err := r.generate(t.Context(), loadJob{Orders: &plan}, time.Second)
	require.NoError(t, err)
	require.Positive(t, res.Acked)
	require.Positive(t, res.Refused)
	require.Equal(t, "not enough money", res.Error)
	book.mu.Lock()
	seen := len(book.orders)
	keys := map[[16]byte]bool{}
	for _, o := range book.orders {
		keys[o.Key] = true
		require.NotEqual(t, o.From, o.To)
		require.Positive(t, o.Amount)
	}
	book.mu.Unlock()
	require.EqualValues(t, seen, res.Acked+res.Refused)
	require.Len(t, keys, seen, "each order has a key of its own")

	plan.For, plan.Payments = 0, 100
	res, err = r.generate(t.Context(), loadJob{Orders: &plan}, time.Second)
	require.NoError(t, err)
	require.EqualValues(t, 98, res.Acked+res.Refused, "whole groups, and no more than asked")

	_, err = r.generate(t.Context(), loadJob{}, time.Second)
	require.ErrorContains(t, err, "names no work")
	plan.Accounts = plan.Accounts[:1]
	_, err = r.generate(t.Context(), loadJob{Orders: &plan}, time.Second)
	require.ErrorContains(t, err, "two accounts")
}

// FuzzHop feeds the ledger's side of the hop whatever may come over its socket:
// it must end, and never take more orders than it was sent bytes for.
func FuzzHop(f *testing.F) {
	f.Add(appendOrders(nil, []Order{{From: 2, To: 4, Amount: 1}}))
	f.Add([]byte{opSend, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte("o\x10\x00\x00\x00{\"accounts\":3}  "))
	f.Add([]byte("o\x02\x00\x00\x00{}s\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		book := &memoryLedger{}
		h := &hop{conn: discard{}, in: bufio.NewReader(bytes.NewReader(raw))}
		for h.answer(t.Context(), book) == nil {
		}
		if len(book.orders)*orderBytes > len(raw) {
			t.Fatalf("%d orders out of %d bytes", len(book.orders), len(raw))
		}
	})
}

// discard is a connection that takes everything.
type discard struct{ net.Conn }

func (discard) Write(b []byte) (int, error) { return io.Discard.Write(b) }

// nothingLedger answers at once: what is left is the hop.
type nothingLedger struct{ memoryLedger }

func (*nothingLedger) Send(_ context.Context, orders []Order) []error {
	return make([]error, len(orders))
}

// BenchmarkHop measures what the hop costs, both sides together, an order.
func BenchmarkHop(b *testing.B) {
	dir, err := os.MkdirTemp("", "moneta-hop-") //nolint:usetesting // a socket has a short path
	require.NoError(b, err)
	defer func() { _ = os.RemoveAll(dir) }()
	var lc net.ListenConfig
	l, err := lc.Listen(b.Context(), "unix", filepath.Join(dir, "s"))
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- serveHop(ctx, l, &nothingLedger{}) }()
	plan := ordersPlan{Socket: filepath.Join(dir, "s"), Accounts: []int64{2, 4, 6}, Callers: 32, Group: 100, Payments: int64(b.N)}
	b.ResetTimer()
	_, err = plan.run(b.Context())
	b.StopTimer()
	require.NoError(b, err)
	cancel()
	require.NoError(b, <-ended)
}
