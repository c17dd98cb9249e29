package channeltest

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/channel"
)

// tap is a bare listener that counts what arrives and never answers.
type tap struct {
	listener net.Listener
	bytes    atomic.Int64
	conns    atomic.Int64
	mu       sync.Mutex
	open     []net.Conn
	readers  sync.WaitGroup
}

func newTap(t *testing.T) *tap {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &tap{listener: listener}
	p.readers.Go(p.accept)
	t.Cleanup(func() { p.drain() })
	return p
}

func (p *tap) url() string { return "http://" + p.listener.Addr().String() }

func (p *tap) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.conns.Add(1)
		p.mu.Lock()
		p.open = append(p.open, conn)
		p.mu.Unlock()
		p.readers.Go(func() {
			n, _ := io.Copy(io.Discard, conn)
			p.bytes.Add(n)
		})
	}
}

// drain closes the listener and every connection, and returns the bytes that
// came over all of them.
func (p *tap) drain() int64 {
	_ = p.listener.Close()
	p.mu.Lock()
	for _, conn := range p.open {
		// Half a close would wait for the client; the deadline ends the read
		// after what has already arrived is read.
		_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	}
	p.mu.Unlock()
	p.readers.Wait()
	for _, conn := range p.open {
		_ = conn.Close()
	}
	return p.bytes.Load()
}

// frozen is a clock of a process that is frozen before its n-th look at it.
type frozen struct {
	looks atomic.Int64
	at    int64
	now   time.Time
}

func (f *frozen) Now() time.Time {
	if f.looks.Add(1) >= f.at {
		return f.now.Add(time.Hour)
	}
	return f.now
}

func wireOrder(sendBy time.Time) channel.Order {
	return channel.Order{
		Reference: "wire-1", Amount: money.Int(100), Asset: "CZK",
		Payee: channel.Party{Account: "1"}, SendBy: sendBy,
	}
}

// testFirstByte freezes the process before each look at the clock in turn,
// until it freezes too late to matter: as long as the adapter says NeverSent
// not one byte may have arrived, and at least two looks must protect the wire,
// one before the call and one at the first byte.
func testFirstByte(t *testing.T, h Harness) {
	t.Parallel()
	start := time.Date(1993, 1, 5, 0, 0, 0, 0, time.UTC)
	protecting := 0
	for look := int64(1); ; look++ {
		require.Less(t, look, int64(20), "the adapter never sends")
		wire := newTap(t)
		c := h.At(t, wire.url(), &frozen{at: look, now: start})
		word := c.Send(t.Context(), wireOrder(start.Add(time.Second)))
		arrived := wire.drain()
		if word.Verdict != channel.NeverSent {
			require.Equal(t, channel.Unknown, word.Verdict)
			require.Positive(t, arrived)
			break
		}
		require.Equal(t, channel.ReasonSendBy, word.Reason)
		require.Zero(t, arrived, "frozen before look %d", look)
		protecting++
		if protecting > 1 {
			require.EqualValues(t, 1, wire.conns.Load(), "the connection was ready, and that alone")
		}
	}
	require.GreaterOrEqual(t, protecting, 2)

	t.Run("NobodyListens", func(t *testing.T) {
		wire := newTap(t)
		wire.drain()
		c := h.At(t, wire.url(), clock.NewManual(start))
		word := c.Send(t.Context(), wireOrder(start.Add(time.Second)))
		require.Equal(t, channel.NeverSent, word.Verdict)
		require.Equal(t, channel.ReasonNotConnected, word.Reason)
		require.Equal(t, channel.Unknown, c.Query(t.Context(), "wire-1").Verdict)
	})
	t.Run("NobodyAnswers", func(t *testing.T) {
		wire := newTap(t)
		c := h.At(t, wire.url(), clock.NewManual(start))
		began := time.Now()
		word := c.Send(t.Context(), wireOrder(start.Add(time.Second)))
		require.Equal(t, channel.Unknown, word.Verdict)
		require.Equal(t, channel.ReasonTimeout, word.Reason)
		require.Less(t, time.Since(began), patience)
		require.EqualValues(t, 1, wire.conns.Load(), "no second try")
	})
}

// testHostileAnswers feeds answers that no contract holds. None may become
// anything but Unknown, and none may make the adapter send again.
func testHostileAnswers(t *testing.T, h Harness) {
	t.Parallel()
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(other.Close)
	start := time.Date(1993, 1, 5, 0, 0, 0, 0, time.UTC)
	for name, answer := range hostileAnswers(other.URL) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				_, _ = io.Copy(io.Discard, r.Body)
				answer(w)
			}))
			t.Cleanup(server.Close)
			c := h.At(t, server.URL, clock.NewManual(start))
			word := c.Send(t.Context(), wireOrder(start.Add(time.Second)))
			require.Equal(t, channel.Unknown, word.Verdict)
			require.NotEmpty(t, word.Reason)
			require.EqualValues(t, 1, asked.Load())
			found := c.Query(t.Context(), "wire-1")
			require.Equal(t, channel.Unknown, found.Verdict)
			require.NotEmpty(t, found.Reason)
			_, err := c.Statement(t.Context(), 0, 10)
			require.Error(t, err)
		})
	}
	t.Cleanup(func() { require.Zero(t, elsewhere.Load(), "no redirect is followed") })
}

func hostileAnswers(other string) map[string]func(http.ResponseWriter) {
	reply := func(status int, kind, body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	answers := map[string]func(http.ResponseWriter){
		"Empty":      reply(200, "application/json", ""),
		"HTML":       reply(200, "text/html", "<html><body>executed</body></html>"),
		"Truncated":  reply(202, "application/json", `{"status":"executed","reference":"wire-1","amou`),
		"Array":      reply(200, "application/json", `[]`),
		"Null":       reply(200, "application/json", `null`),
		"Object":     reply(200, "application/json", `{}`),
		"ProxysOwn":  reply(404, "text/html", "<html>not found</html>"),
		"JSON404":    reply(404, "application/json", `{"message":"no route"}`),
		"TooLarge":   reply(200, "application/json", `"`+strings.Repeat("x", channel.MaxBody)+`"`),
		"Overloaded": reply(429, "application/json", `{"status":"declined"}`),
		"CutOff": func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, `{"status":`)
		},
		"Never": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
	}
	for _, status := range []int{301, 302, 303, 307, 308} {
		answers[fmt.Sprintf("Redirect%d", status)] = func(w http.ResponseWriter) {
			w.Header().Set("Location", other)
			w.WriteHeader(status)
		}
	}
	return answers
}
