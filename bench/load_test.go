package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// wallet is a server that notes what it is sent.
type wallet struct {
	*httptest.Server
	answer func(w http.ResponseWriter, r *http.Request)
	mu     sync.Mutex
	keys   map[string]int
	bodies []map[string]any
}

func newWallet(t *testing.T, answer func(w http.ResponseWriter, r *http.Request)) *wallet {
	t.Helper()
	v := &wallet{answer: answer, keys: map[string]int{}}
	v.Server = httptest.NewServer(http.HandlerFunc(v.serve))
	t.Cleanup(v.Close)
	return v
}

func (v *wallet) serve(w http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	var body map[string]any
	if err := json.Unmarshal(raw, &body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	v.mu.Lock()
	v.bodies = append(v.bodies, body)
	if key := r.Header.Get("Idempotency-Key"); key != "" {
		v.keys[key]++
	}
	if batch, ok := body["payments"].([]any); ok {
		for _, item := range batch {
			v.keys[item.(map[string]any)["idempotency_key"].(string)]++
		}
	}
	v.mu.Unlock()
	v.answer(w, r)
}

func (v *wallet) run(t *testing.T, plan loadPlan) loadResult {
	t.Helper()
	plan.Address = strings.TrimPrefix(v.URL, "http://")
	plan.Prefix, plan.Asset, plan.Accounts = "t", "CZK", []string{"acct_2", "acct_4", "acct_6"}
	raw, err := json.Marshal(loadJob{HTTP: &plan})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "plan.json")
	require.NoError(t, os.WriteFile(path, raw, 0o600))
	var out bytes.Buffer
	require.NoError(t, Load(t.Context(), []string{path}, &out))
	var res loadResult
	require.NoError(t, json.Unmarshal(out.Bytes(), &res))
	return res
}

func created(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, `{"id":"pay_1","status":"succeeded"}`)
}

func TestEverySingleRequestIsAPaymentWithAKeyOfItsOwn(t *testing.T) {
	t.Parallel()
	v := newWallet(t, created)
	res := v.run(t, loadPlan{Connections: 4, Batch: 1, For: 100 * time.Millisecond})
	require.Positive(t, res.Acked)
	require.Equal(t, res.Acked, res.Done)
	require.Zero(t, res.Refused+res.Unanswered, res.Error)
	require.Len(t, v.keys, int(res.Acked))
	for _, b := range v.bodies {
		require.Equal(t, "send", b["kind"])
		require.NotEqual(t, b["from"], b["to"])
		require.NotEqual(t, "0", b["amount"])
	}
	require.Positive(t, res.Latency.P99)
}

func TestABatchIsCountedByItsItems(t *testing.T) {
	t.Parallel()
	v := newWallet(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Transfer-Encoding", "chunked")
		_, _ = io.WriteString(w, `{"data":[`+strings.Repeat(`{"status":201,"payment":{"status":"succeeded"}},`, 9))
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, `{"status":422,"problem":{}}]}`)
	})
	res := v.run(t, loadPlan{Connections: 2, Batch: 10, For: 50 * time.Millisecond})
	require.Positive(t, res.Refused)
	require.Equal(t, 9*res.Refused, res.Acked)
	require.Contains(t, res.Error, "422")
	require.Len(t, v.keys, int(res.Acked+res.Refused))
}

func TestAPayoutThatIsNotFinalIsAcceptedAndNotDone(t *testing.T) {
	t.Parallel()
	v := newWallet(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Prefer") != "wait=7" {
			http.Error(w, "no Prefer", http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"status":"processing"}`)
	})
	res := v.run(t, loadPlan{Connections: 1, Batch: 1, Wait: 7, Channels: []string{"bank-ab"}, For: 30 * time.Millisecond})
	require.Positive(t, res.Acked)
	require.Zero(t, res.Done)
	require.Zero(t, res.Refused+res.Unanswered, res.Error)
	require.Equal(t, "bank-ab", v.bodies[0]["channel"])
}

func TestABatchIsFollowedToTheEndOfItsLastPayment(t *testing.T) {
	t.Parallel()
	var asked sync.Map
	v := newWallet(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"data":[{"status":201,"payment":{"id":"pay_1"}},{"status":201,"payment":{"id":"pay_2"}}]}`)
	})
	inner := v.Config.Handler
	v.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			inner.ServeHTTP(w, r)
			return
		}
		asked.Store(r.URL.Path, r.Header.Get("Prefer"))
		_, _ = io.WriteString(w, `{"id":"pay_2","status":"succeeded"}`)
	})
	res := v.run(t, loadPlan{Connections: 1, Batch: 2, Wait: 9, Channels: []string{"bank-ab"}, For: 30 * time.Millisecond})
	require.Positive(t, res.Done)
	require.Equal(t, res.Acked, res.Done)
	require.Zero(t, res.Refused+res.Unanswered, res.Error)
	prefer, ok := asked.Load("/v1/payments/pay_2")
	require.True(t, ok)
	require.Equal(t, "wait=9", prefer)
}

func TestA5xxMayHaveBeenCarriedOut(t *testing.T) {
	t.Parallel()
	v := newWallet(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusServiceUnavailable) })
	res := v.run(t, loadPlan{Connections: 1, Batch: 1, For: 30 * time.Millisecond})
	require.Positive(t, res.Unanswered)
	require.Zero(t, res.Acked+res.Refused)
	require.Contains(t, res.Error, "503")
}

// TestAStallIsSeenByEveryRequestThatWasDue holds the server for a while in mid
// run: closed loops would see one slow answer a connection, the schedule sees all
// that should have been sent meanwhile.
func TestAStallIsSeenByEveryRequestThatWasDue(t *testing.T) {
	t.Parallel()
	const stall = 200 * time.Millisecond
	var once sync.Once
	var gate sync.RWMutex
	v := newWallet(t, func(w http.ResponseWriter, r *http.Request) {
		once.Do(func() {
			gate.Lock()
			time.AfterFunc(stall, gate.Unlock)
		})
		gate.RLock()
		gate.RUnlock() //nolint:staticcheck // passing the gate is all that is wanted
		created(w, r)
	})
	res := v.run(t, loadPlan{Connections: 2, Batch: 1, Rate: 100, For: 400 * time.Millisecond})
	require.EqualValues(t, 40, res.Acked, "the schedule decides how many, not the server")
	require.Greater(t, res.Latency.P50+res.Latency.P90, float64(stall.Milliseconds())/2)
	require.GreaterOrEqual(t, res.Latency.Max, float64(stall.Milliseconds())*0.9)
}

func TestAnswersThatAreNotHTTPAreErrors(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"not http":       "SSH-2.0-x\r\n",
		"no length":      "HTTP/1.1 200 OK\r\n\r\n",
		"broken length":  "HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\n",
		"huge":           "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
		"cut short":      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
		"broken chunk":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"chunk too long": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7fffffff\r\n",
		"broken status":  "HTTP/1.1 abc\r\n\r\n",
		"nothing":        "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWire(oneAnswer(t, answer), "")
			defer w.close()
			_, _, err := w.request(t.Context(), "GET", "/", "", nil)
			require.Error(t, err)
			require.Nil(t, w.conn, "a connection that is out of step is not used again")
		})
	}
}

func TestTwoAnswersOnOneConnection(t *testing.T) {
	t.Parallel()
	w := newWire(oneAnswer(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n0\r\n\r\n",
		"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\nConnection: close\r\n\r\nno"), "")
	defer w.close()
	status, body, err := w.request(t.Context(), "GET", "/", "", nil)
	require.NoError(t, err)
	require.Equal(t, "200 abcd", fmt.Sprintf("%d %s", status, body))
	status, body, err = w.request(t.Context(), "GET", "/", "", nil)
	require.NoError(t, err)
	require.Equal(t, "404 no", fmt.Sprintf("%d %s", status, body))
	require.Nil(t, w.conn, "the server said that it closes")
}

// oneAnswer serves one connection: each request, which must fit one read, gets
// the next of the answers; then the connection ends.
func oneAnswer(t *testing.T, answers ...string) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(context.WithoutCancel(t.Context()), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		buf := make([]byte, 4096)
		for _, a := range answers {
			if _, err := conn.Read(buf); err != nil {
				return
			}
			_, _ = io.WriteString(conn, a)
		}
	}()
	return l.Addr().String()
}
