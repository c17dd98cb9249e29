package once_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/pay/channel/once"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Date(1993, 1, 5, 0, 0, 0, 0, time.UTC)

// jump shows start at its first look and an hour later from then on.
type jump struct{ looks atomic.Int64 }

func (j *jump) Now() time.Time {
	if j.looks.Add(1) > 1 {
		return start.Add(time.Hour)
	}
	return start
}

// roundTrip adapts a function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// opaque hides the body's type, as tracing wrappers do; the transport then
// flushes the head before it reads the body.
func opaque(next http.RoundTripper) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		r = r.Clone(r.Context())
		r.Body = struct{ io.ReadCloser }{r.Body}
		return next.RoundTrip(r)
	})
}

func newClient(t *testing.T, cfg once.Config) *once.Client {
	t.Helper()
	if cfg.Timeout == 0 {
		cfg.Timeout = 5 * time.Second
	}
	if cfg.MaxConns == 0 {
		cfg.MaxConns = 8
	}
	if cfg.MaxBody == 0 {
		cfg.MaxBody = 1 << 10
	}
	c := once.New(cfg)
	t.Cleanup(c.Close)
	return c
}

func post(url string) once.Request {
	return once.Request{
		Method: http.MethodPost, URL: url, Body: []byte(`{"amount":"1"}`), SendBy: start.Add(time.Minute),
		Header: http.Header{"Content-Type": {"application/json"}},
	}
}

// bytesAt accepts one connection and counts its bytes until the client closes it.
func bytesAt(t *testing.T) (url string, arrived <-chan int64) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	count := make(chan int64, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		n, _ := io.Copy(io.Discard, conn)
		count <- n
	}()
	return "http://" + listener.Addr().String(), count
}

// The clock passes send_by between the connection's being ready and the write.
// Not a byte may leave, not even of the head, whoever wraps the body.
func TestLateWritesNothing(t *testing.T) {
	for name, wrap := range map[string]func(http.RoundTripper) http.RoundTripper{"plain": nil, "wrapped": opaque} {
		t.Run(name, func(t *testing.T) {
			url, arrived := bytesAt(t)
			late := &jump{}
			late.Now()
			c := newClient(t, once.Config{Clock: late, Wrap: wrap})
			answer := c.Do(t.Context(), post(url))
			require.ErrorIs(t, answer.Err, once.ErrLate)
			require.False(t, answer.Written)
			c.Close()
			require.Zero(t, <-arrived)
		})
	}
}

// The same client and listener with time to spare: the test above can fail.
func TestInTimeWrites(t *testing.T) {
	url, arrived := bytesAt(t)
	c := newClient(t, once.Config{Clock: clock.NewManual(start), Wrap: opaque, Timeout: 200 * time.Millisecond})
	answer := c.Do(t.Context(), post(url))
	require.ErrorIs(t, answer.Err, context.DeadlineExceeded)
	require.True(t, answer.Written)
	c.Close()
	require.Positive(t, <-arrived)
}

func TestTLS(t *testing.T) {
	var served atomic.Int64
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		served.Add(1)
		_, _ = io.WriteString(w, "ok")
	}))
	t.Cleanup(server.Close)
	trust := func() *tls.Config { return server.Client().Transport.(*http.Transport).TLSClientConfig.Clone() }

	c := newClient(t, once.Config{Clock: clock.NewManual(start), TLS: trust()})
	answer := c.Do(t.Context(), post(server.URL))
	require.NoError(t, answer.Err)
	require.True(t, answer.Written)
	require.EqualValues(t, 1, served.Load())

	late := &jump{}
	late.Now()
	c = newClient(t, once.Config{Clock: late, TLS: trust()})
	answer = c.Do(t.Context(), post(server.URL))
	require.ErrorIs(t, answer.Err, once.ErrLate)
	require.False(t, answer.Written, "the handshake is not the order")
	require.EqualValues(t, 1, served.Load())
}

// A server that hangs up after each answer, without saying so, leaves dead
// connections in the pool. Whatever happens, no order may arrive twice.
func TestDeadConnectionsNeverRepeat(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var mu sync.Mutex
	seen := map[string]int{}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				req, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, req.Body)
				mu.Lock()
				seen[req.URL.Path]++
				mu.Unlock()
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			})
		}
	})
	c := newClient(t, once.Config{Clock: clock.NewManual(start)})
	for i := range 300 {
		path := fmt.Sprintf("/%d", i)
		answer := c.Do(t.Context(), post("http://"+listener.Addr().String()+path))
		mu.Lock()
		arrivals := seen[path]
		mu.Unlock()
		require.LessOrEqual(t, arrivals, 1)
		if answer.Err == nil {
			require.Equal(t, 1, arrivals)
		}
		if !answer.Written {
			require.Zero(t, arrivals)
		}
	}
	c.Close()
	require.NoError(t, listener.Close())
	serving.Wait()
}

// Callers give up at every moment of an exchange. What is called unwritten must
// never have arrived, and never arrive later.
func TestUnwrittenNeverArrives(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		mu.Lock()
		seen[r.URL.Path] = true
		mu.Unlock()
	}))
	c := newClient(t, once.Config{Clock: clock.NewManual(start), MaxConns: 4})
	const calls = 2000
	random := rand.New(rand.NewPCG(1, 2))
	unwritten := make([]bool, calls)
	var group sync.WaitGroup
	slots := make(chan struct{}, 16)
	for i := range calls {
		patience := time.Duration(random.IntN(1_000_000))
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			answer := c.Do(ctx, post(fmt.Sprintf("%s/%d", server.URL, i)))
			unwritten[i] = !answer.Written
		})
	}
	group.Wait()
	c.Close()
	server.Close() // waits for what is on its way
	never := 0
	for i, claimed := range unwritten {
		if claimed {
			never++
			require.False(t, seen[fmt.Sprintf("/%d", i)], "call %d", i)
		}
	}
	t.Logf("%d of %d calls never written, %d arrived", never, calls, len(seen))
	require.Positive(t, never)
	require.NotEmpty(t, seen)
}

func TestBounds(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/big":
			_, _ = w.Write(make([]byte, 1<<10+1))
		case "/fits":
			_, _ = w.Write(make([]byte, 1<<10))
		case "/endless":
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-release
		case "/moved":
			http.Redirect(w, r, "/fits", http.StatusTemporaryRedirect)
		}
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(release) })
	c := newClient(t, once.Config{Timeout: 300 * time.Millisecond})
	get := func(path string) once.Answer {
		return c.Do(t.Context(), once.Request{Method: http.MethodGet, URL: server.URL + path})
	}
	require.ErrorIs(t, get("/big").Err, once.ErrTooLarge)
	fits := get("/fits")
	require.NoError(t, fits.Err)
	require.Len(t, fits.Body, 1<<10)
	endless := get("/endless")
	require.ErrorIs(t, endless.Err, context.DeadlineExceeded)
	require.Equal(t, http.StatusOK, endless.Status)
	require.Equal(t, http.StatusTemporaryRedirect, get("/moved").Status)
}
