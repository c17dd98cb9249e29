package sandbox_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert" //nolint:depguard // CollectT, which require.EventuallyWithT hands out, has no other home
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/moneta-pay/moneta/sandbox"
)

const (
	secret   = "sandbox-secret"
	patience = 10 * time.Second
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a sandbox that listens and runs.
type world struct {
	t      testing.TB
	server *sandbox.Server
	url    string
	client *http.Client
	stop   func() // ends Run and closes books and listener
}

func start(t testing.TB, cfg sandbox.Config) *world {
	t.Helper()
	if cfg.Banks == nil {
		cfg.Banks = []string{"AB"}
	}
	cfg.Secret = secret
	server, err := sandbox.New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { _ = server.Run(ctx) })
	web := httptest.NewServer(server.Handler())
	w := &world{t: t, server: server, url: web.URL, client: &http.Client{Transport: &http.Transport{}}}
	w.stop = sync.OnceFunc(func() {
		cancel()
		run.Wait()
		w.client.CloseIdleConnections()
		require.NoError(t, server.Close())
		web.Close()
	})
	t.Cleanup(w.stop)
	return w
}

// call returns status and body, or status 0 when the connection was dropped.
func (w *world) call(method, path, body string) (int, string) {
	w.t.Helper()
	req, err := http.NewRequest(method, w.url+path, strings.NewReader(body))
	require.NoError(w.t, err)
	resp, err := w.client.Do(req)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, ""
	}
	return resp.StatusCode, string(answer)
}

func (w *world) behave(body string) {
	w.t.Helper()
	status, answer := w.call(http.MethodPut, "/banks/ab/behaviour", body)
	require.Equal(w.t, http.StatusOK, status, answer)
}

func (w *world) pay(reference, amount string) (int, string) {
	w.t.Helper()
	return w.call(http.MethodPost, "/banks/ab/payments",
		fmt.Sprintf(`{"reference":%q,"amount":%q,"asset":"CZK","account":"1","name":"","remittance":"r"}`, reference, amount))
}

func (w *world) get(path string, into any) {
	w.t.Helper()
	status, answer := w.call(http.MethodGet, path, "")
	require.Equal(w.t, http.StatusOK, status, answer)
	require.NoError(w.t, json.Unmarshal([]byte(answer), into))
}

type effect struct {
	Seq                          int64
	Direction, Reference, Amount string
}

func (w *world) effects() []effect {
	w.t.Helper()
	var all []effect
	for after := int64(0); ; {
		var books struct {
			Effects []effect
			Next    int64
			HasMore bool `json:"has_more"`
		}
		w.get(fmt.Sprintf("/banks/ab/books?limit=5000&after=%d", after), &books)
		all = append(all, books.Effects...)
		if after = books.Next; !books.HasMore {
			return all
		}
	}
}

func (w *world) moved(reference string) int {
	w.t.Helper()
	count := 0
	for _, e := range w.effects() {
		if e.Reference == reference {
			count++
		}
	}
	return count
}

func (w *world) stats() map[string]int64 {
	w.t.Helper()
	var answer struct{ Banks map[string]map[string]int64 }
	w.get("/stats", &answer)
	return answer.Banks["ab"]
}

// until waits for the figure to reach the value.
func (w *world) until(figure string, want int64) {
	w.t.Helper()
	require.EventuallyWithT(w.t, func(c *assert.CollectT) {
		require.Equal(c, want, w.stats()[figure], figure)
	}, patience, 2*time.Millisecond)
}

// callback is one delivery to a receiver.
type callback struct {
	EventID   string `json:"event_id"`
	Type      string
	Bank      string
	Reference string
	Direction string
	Amount    string
	Reason    string
	genuine   bool
}

// receiver takes callbacks on a real listener and checks signatures itself.
type receiver struct {
	url    string
	got    chan callback
	mu     sync.Mutex
	refuse int // answer 503 so many times
}

func listen(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{got: make(chan callback, 100_000)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		raw, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		if r.refused() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		var c callback
		if json.Unmarshal(raw, &c) != nil || c.EventID != req.Header.Get("Sandbox-Event-Id") {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		c.genuine = signed(req.Header.Get("Sandbox-Signature"), raw)
		r.got <- c
		if !c.genuine {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

func (r *receiver) refused() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse > 0 {
		r.refuse--
		return true
	}
	return false
}

func (r *receiver) refuseNext(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = n
}

func (r *receiver) next(t *testing.T) callback {
	t.Helper()
	select {
	case c := <-r.got:
		return c
	case <-time.After(patience):
		require.FailNow(t, "no callback came")
		return callback{}
	}
}

func signed(header string, raw []byte) bool {
	at, sum, found := strings.Cut(strings.TrimPrefix(header, "t="), ",v1=")
	if !found {
		return false
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(bytes.Join([][]byte{[]byte(at), raw}, []byte(".")))
	return hex.EncodeToString(mac.Sum(nil)) == sum
}
