package commit_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// envChild makes the test binary a process that runs one node on that database.
const envChild = "MONETA_COMMIT_CHILD"

// exitLost is how a child exits whose leadership was lost.
const exitLost = 3

// takeoverMax is the longest that a shard may be without a leader.
const takeoverMax = 5 * time.Second

func TestMain(m *testing.M) {
	if dsn := os.Getenv(envChild); dsn != "" {
		os.Exit(childMain(dsn))
	}
	os.Exit(m.Run())
}

// marked tells rows of one node from another's: its microseconds always end in
// the same three digits.
type marked time.Duration

const (
	childMark = marked(777 * time.Microsecond)
	ourMark   = marked(111 * time.Microsecond)
)

func (m marked) Now() time.Time { return time.Now().Truncate(time.Millisecond).Add(time.Duration(m)) }

func childMain(dsn string) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // ends with the parent, however that ends
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	n, url, err := serveNode(dsn, childMark)
	if err != nil {
		fmt.Println("ERROR", err)
		return 1
	}
	go func() {
		for !n.Leading() && ctx.Err() == nil {
			await(ctx, 5*time.Millisecond)
		}
		fmt.Println("LEADING", url)
	}()
	err = n.Run(ctx)
	fmt.Println("ENDED", err)
	if errors.Is(err, commit.ErrLost) {
		return exitLost
	}
	return 1
}

func await(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// serveNode makes a node that its peers reach on a real listener.
func serveNode(dsn string, at marked) (*commit.Node, string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	url := "http://" + ln.Addr().String()
	n := commit.New(commit.Config{DSN: dsn, URL: url, Clock: at, Logger: slog.New(slog.DiscardHandler)})
	mux := http.NewServeMux()
	mux.Handle(commit.Path, n.Handler())
	go func() { _ = http.Serve(ln, mux) }() // ends with the process
	return n, url, nil
}

// peer runs a node with a listener in this process.
func peer(t *testing.T, dsn string) *running {
	t.Helper()
	n, _, err := serveNode(dsn, ourMark)
	require.NoError(t, err)
	return run(t, n)
}

// child is a node in a process of its own.
type child struct {
	*exec.Cmd
	exited chan struct{}
}

func spawn(t *testing.T, dsn string) *child {
	t.Helper()
	c := &child{exec.Command(os.Args[0]), make(chan struct{})} // ourselves
	c.Env = append(os.Environ(), envChild+"="+dsn)
	stdin, err := c.StdinPipe()
	require.NoError(t, err)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	c.Stderr = os.Stderr
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = stdin.Close()
		<-c.exited
	})
	leading := make(chan string, 1)
	go func() {
		defer close(c.exited)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "LEADING") {
				leading <- lines.Text()
			}
		}
		_ = c.Wait() // the code is read from ProcessState
	}()
	select {
	case <-leading:
	case <-c.exited:
		t.Fatal("the child ended before it led")
	case <-time.After(patience):
		t.Fatal("the child does not lead")
	}
	return c
}

// load sends from many goroutines, each payment again and again with its own
// key until it is acknowledged.
type load struct {
	mu       sync.Mutex
	acked    map[[16]byte]pay.ID
	slowest  time.Duration
	refusals map[fault.Code]int
	stop     context.CancelFunc
	wg       sync.WaitGroup
	last     atomic.Int64
}

// tolerable are the answers that ask for the same request once more.
var tolerable = map[fault.Code]bool{
	fault.CommitUnknown: true, fault.NotLeader: true, fault.Timeout: true, fault.Overloaded: true, fault.DatabaseUnavailable: true,
}

func hammer(t *testing.T, s commit.Submitter, from, to pay.AccountID, callers int) *load {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	l := &load{acked: map[[16]byte]pay.ID{}, refusals: map[fault.Code]int{}, stop: stop}
	for c := range callers {
		l.wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				f := accept(pay.Send, from, to, 1, fmt.Sprint("load ", c, " ", i))
				l.until(t, s, f)
			}
		})
	}
	t.Cleanup(l.finish)
	return l
}

// until submits f until it is acknowledged; bounded by patience.
func (l *load) until(t *testing.T, s commit.Submitter, f commit.Fact) {
	t.Helper()
	began := time.Now()
	for time.Since(began) < patience {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		r, err := s.Submit(ctx, f)
		cancel()
		l.mu.Lock()
		if err == nil {
			l.acked[f.Payment.New.Key] = r.Payment.ID
			l.slowest = max(l.slowest, time.Since(began))
			l.mu.Unlock()
			l.last.Store(time.Now().UnixNano())
			return
		}
		l.refusals[fault.CodeOf(err)]++
		l.mu.Unlock()
		if !tolerable[fault.CodeOf(err)] {
			t.Errorf("refused: %v", err)
			return
		}
	}
	t.Error("never acknowledged")
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

func (l *load) finish() {
	l.stop()
	l.wg.Wait()
}

// more waits until n further payments are acknowledged.
func (l *load) more(t *testing.T, n int) {
	t.Helper()
	want := l.count() + n
	require.Eventually(t, func() bool { return l.count() >= want }, patience, 2*time.Millisecond, "payments do not flow")
}

// exactlyOnce: every acknowledged payment is in the ledger, once, under the id
// that was told, and nothing else is.
func (l *load) exactlyOnce(t *testing.T, db *pgxpool.Pool) {
	t.Helper()
	l.finish()
	rows, err := db.Query(t.Context(), `select id, key from payments`)
	require.NoError(t, err)
	found := map[[16]byte]pay.ID{}
	var id pay.ID
	var k [16]byte
	_, err = pgx.ForEachRow(rows, []any{&id, &k}, func() error {
		require.NotContains(t, found, k, "doubled")
		found[k] = id
		return nil
	})
	require.NoError(t, err)
	for k, id := range l.acked {
		require.Equal(t, id, found[k], "an acknowledged payment is lost or another's")
	}
	require.Len(t, found, len(l.acked), "a payment that nobody was told about")
	holds(t, db)
}

// follower reads the transitions as every consumer does: by id, after the last.
type follower struct {
	ids  []int64
	done chan struct{}
	stop context.CancelFunc
}

func follow(t *testing.T, db *pgxpool.Pool) *follower {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	f := &follower{done: make(chan struct{}), stop: stop}
	go func() {
		defer close(f.done)
		for cursor, last := int64(0), false; ; {
			ids, err := after(context.Background(), db, "transitions", cursor)
			if err != nil {
				t.Errorf("follow: %v", err)
				return
			}
			f.ids = append(f.ids, ids...)
			if len(ids) > 0 {
				cursor = ids[len(ids)-1]
				continue
			}
			if last {
				return
			}
			last = ctx.Err() != nil
			await(ctx, time.Millisecond)
		}
	}()
	t.Cleanup(func() { stop(); <-f.done })
	return f
}

func after(ctx context.Context, db *pgxpool.Pool, table string, cursor int64) ([]int64, error) {
	rows, err := db.Query(ctx, `select id from `+table+` where id > $1 order by id limit 500`, cursor)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}

// missedNone: the follower saw each transition, once, in order.
func (f *follower) missedNone(t *testing.T, db *pgxpool.Pool) {
	t.Helper()
	f.stop()
	<-f.done
	var count int
	require.NoError(t, db.QueryRow(t.Context(), `select count(*) from transitions`).Scan(&count))
	require.Len(t, f.ids, count)
	for i, id := range f.ids {
		require.EqualValues(t, i+1, id)
	}
}

func byChild(t *testing.T, db *pgxpool.Pool) (rows int) {
	t.Helper()
	require.NoError(t, db.QueryRow(t.Context(),
		`select count(*) from transitions where extract(microseconds from at)::bigint % 1000 = 777`).Scan(&rows))
	return rows
}

// TestHandOverUnderLoad: leaders that are asked to leave hand over, back and
// forth, and callers of the node that forwards are told no error at all.
func TestHandOverUnderLoad(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	db := pool(t, dsn)
	leaving := peer(t, dsn)
	require.Eventually(t, leaving.Leading, patience, time.Millisecond)
	house, user := open(t, leaving, "cash", ledger.House), open(t, leaving, "alice", ledger.User)
	staying := peer(t, dsn)
	reader := follow(t, db)
	l := hammer(t, staying, house, user, 24)
	l.more(t, 50)
	require.False(t, staying.Leading())
	leaving.stop()
	began := time.Now()
	require.Eventually(t, staying.Leading, takeoverMax, time.Millisecond)
	gap := time.Since(began)
	l.more(t, 200)
	l.exactlyOnce(t, db)
	reader.missedNone(t, db)
	require.Empty(t, l.refusals, "a hand-over is not the callers' business")
	require.Less(t, gap, time.Second)
	t.Logf("%d payments; led again after %s; slowest answer %s", len(l.acked), gap, l.slowest)
}

// TestLeaderKilledUnderLoad: the process dies, the standby leads soon, and every
// answer that was given stands.
func TestLeaderKilledUnderLoad(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	db := pool(t, dsn)
	c := spawn(t, dsn)
	b := peer(t, dsn)
	house, user := open(t, b, "cash", ledger.House), open(t, b, "alice", ledger.User)
	reader := follow(t, db)
	l := hammer(t, b, house, user, 24)
	l.more(t, 100)
	require.Positive(t, byChild(t, db), "the child leads")
	require.NoError(t, c.Process.Kill())
	began := time.Now()
	require.Eventually(t, b.Leading, takeoverMax, time.Millisecond, "the standby does not lead")
	gap := time.Since(began)
	l.more(t, 200)
	l.exactlyOnce(t, db)
	reader.missedNone(t, db)
	t.Logf("%d payments; led again after %s; slowest answer %s; refusals %v", len(l.acked), gap, l.slowest, l.refusals)
}

// TestFrozenLeaderUnderLoad: the process is stopped with its sessions open. The
// standby leads; thawed, the old leader commits nothing and exits by itself.
func TestFrozenLeaderUnderLoad(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	db := pool(t, dsn)
	c := spawn(t, dsn)
	b := peer(t, dsn)
	house, user := open(t, b, "cash", ledger.House), open(t, b, "alice", ledger.User)
	reader := follow(t, db)
	l := hammer(t, b, house, user, 24)
	l.more(t, 100)
	require.NoError(t, c.Process.Signal(syscall.SIGSTOP))
	began := time.Now()
	require.Eventually(t, b.Leading, takeoverMax, time.Millisecond, "the standby does not lead")
	gap := time.Since(began)
	before := byChild(t, db)
	require.Positive(t, before)
	l.more(t, 200)
	require.NoError(t, c.Process.Signal(syscall.SIGCONT))
	select {
	case <-c.exited:
		require.Equal(t, exitLost, c.ProcessState.ExitCode(), "it knows why it ends")
	case <-time.After(takeoverMax):
		_ = c.Process.Signal(syscall.SIGQUIT) // its goroutines tell why
		<-c.exited
		t.Fatal("the old leader does not exit by itself")
	}
	l.more(t, 100)
	l.exactlyOnce(t, db)
	reader.missedNone(t, db)
	require.Equal(t, before, byChild(t, db), "the old epoch committed after it was replaced")
	t.Logf("%d payments; led again after %s; slowest answer %s; refusals %v", len(l.acked), gap, l.slowest, l.refusals)
}

// TestAPlainSequenceLosesEvents is the negative control: with two writers and a
// sequence, ids are not in commit order, and a reader by id misses a row.
func TestAPlainSequenceLosesEvents(t *testing.T) {
	t.Parallel()
	db := pool(t, pgtest.DSN(t))
	ctx := t.Context()
	_, err := db.Exec(ctx, `create table events (id bigserial primary key)`)
	require.NoError(t, err)
	slow, err := db.Begin(ctx)
	require.NoError(t, err)
	defer func() { _ = slow.Rollback(context.Background()) }()
	_, err = slow.Exec(ctx, `insert into events default values`)
	require.NoError(t, err)
	_, err = db.Exec(ctx, `insert into events default values`)
	require.NoError(t, err)
	seen, err := after(ctx, db, "events", 0)
	require.NoError(t, err)
	require.NoError(t, slow.Commit(ctx))
	more, err := after(ctx, db, "events", seen[len(seen)-1])
	require.NoError(t, err)
	require.Equal(t, []int64{2}, append(seen, more...), "the reader has missed the first event for good")
}
