package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/keyring"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/lever/board"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/intake"
	"github.com/moneta-pay/moneta/pay/ledger"
	"github.com/moneta-pay/moneta/pay/notify"
	"github.com/moneta-pay/moneta/pay/outbox"
	"github.com/moneta-pay/moneta/pay/receipt"
	"github.com/moneta-pay/moneta/pay/trail"
)

const patience = 30 * time.Second

// loopback is where webhooks may go in tests.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// world is the edge before a real decider on a real database.
type world struct {
	t        *testing.T
	pool     *pgxpool.Pool
	node     *commit.Node
	payments *commit.Reader
	access   *access.Store
	server   *httptest.Server
	registry *prometheus.Registry
	logs     *syncBuffer
	// Keys: admin may everything, user pays and opens accounts.
	admin, user string
	tenant      int32
	receiver    *receiver
	feed        *outbox.Feed
	requests    *access.RequestLog
	telemetry   *telemetry.Telemetry
	links       *access.Links
	// unrecorded worlds answer what the real one never would.
	unrecorded bool
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// receiver stands where settle's inbox does.
type receiver struct {
	mu     sync.Mutex
	bodies []string
	err    error
	block  chan struct{}
	inside chan struct{}
}

func (r *receiver) Receive(ctx context.Context, name channel.Name, _ http.Header, body []byte) error {
	if r.block != nil {
		r.inside <- struct{}{}
		<-r.block
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if name != "bank-ab" {
		return fault.New(fault.NotFound, "")
	}
	r.bodies = append(r.bodies, string(body))
	return r.err
}

func newWorld(t *testing.T, change func(*api.Config)) *world {
	t.Helper()
	pool := pgtest.Database(t)
	w := &world{
		t: t, pool: pool, payments: commit.NewReader(pool), access: access.NewStore(pool), registry: prometheus.NewRegistry(),
		logs: new(syncBuffer), receiver: new(receiver),
	}
	ctx, cancel := context.WithCancel(context.Background())
	var err error
	w.telemetry, err = telemetry.Setup(ctx, telemetry.Config{LogOutput: w.logs})
	require.NoError(t, err)
	w.requests = access.NewRequestLog(pool, slog.New(slog.DiscardHandler), nil)
	events := outbox.NewLog(pool, nil)
	w.feed = outbox.NewFeed(events, w.telemetry)
	w.node = commit.New(commit.Config{
		DSN: pool.Config().ConnString(), Logger: slog.New(slog.DiscardHandler), Changed: func([]pay.Payment) { w.feed.Wake() },
	})
	done := make(chan error, 2)
	go func() { done <- w.node.Run(ctx) }()
	go func() { done <- w.feed.Run(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-done); require.NoError(t, <-done) })
	require.Eventually(t, w.node.Leading, patience, 2*time.Millisecond)

	w.tenant, err = w.access.CreateTenant(t.Context(), "test")
	require.NoError(t, err)
	w.admin = w.key(access.Admin, access.Installation)
	w.user = w.key(access.PaymentsWrite, access.PaymentsRead, access.AccountsWrite, access.AccountsRead, access.WebhooksWrite, access.WebhooksRead)

	accounts := ledger.NewReader(pool)
	in, err := intake.New(intake.Config{Submitter: w.node, Accounts: accounts, Originals: w.payments, Channels: []string{"bank-ab"}})
	require.NoError(t, err)
	levers := board.New(board.Config{Pool: pool, Telemetry: w.telemetry})
	require.NoError(t, levers.Load(ctx))
	w.links = access.NewLinks(testRing(t))
	cfg := api.Config{
		Levers: levers, Intake: in, Ledger: accounts, Payments: w.payments, Access: w.access, Waiter: w.node, Receiver: w.receiver, Ready: w.node,
		Links: w.links, Trails: trail.NewReader(pool, nil), Receipts: receipt.NewIssuer(pool, testSigner(t)),
		Requests: w.requests, Events: events, Feed: w.feed, Webhooks: notify.NewEndpoints(pool, loopback, nil),
		Registry: w.registry, Logger: slog.New(slog.NewJSONHandler(w.logs, nil)), Version: "1.2.3",
	}
	if change != nil {
		change(&cfg)
	}
	h, err := api.New(cfg)
	require.NoError(t, err)
	w.server = httptest.NewServer(h)
	t.Cleanup(w.server.Close)
	return w
}

// testRing has a key of its own for each world.
func testRing(t *testing.T) *keyring.Ring {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	require.NoError(t, keyring.Make(path))
	r, err := keyring.Load(path)
	require.NoError(t, err)
	return r
}

// serve puts another server before the edge.
func (w *world) serve(server *http.Server) {
	w.t.Helper()
	s := httptest.NewUnstartedServer(server.Handler)
	s.Config = server
	s.Start()
	w.server = s
	w.t.Cleanup(s.Close)
}

// serveOn puts a handler before a listener that is there already.
func (w *world) serveOn(listener net.Listener, h http.Handler) {
	w.t.Helper()
	w.server = httptest.NewUnstartedServer(h)
	require.NoError(w.t, w.server.Listener.Close())
	w.server.Listener = listener
	w.server.Start()
	w.t.Cleanup(w.server.Close)
}

func (w *world) key(scopes ...access.Scope) string {
	w.t.Helper()
	text, _, err := w.access.CreateKey(w.t.Context(), w.tenant, "test", scopes)
	require.NoError(w.t, err)
	return text
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body []byte
	json map[string]any
}

func (a *answer) str(name string) string {
	s, _ := a.json[name].(string)
	return s
}

// do sends a request; headers are pairs.
func (w *world) do(method, path, key, body string, headers ...string) *answer {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.server.URL+path, strings.NewReader(body))
	require.NoError(w.t, err)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := w.server.Client().Do(req)
	require.NoError(w.t, err)
	defer resp.Body.Close()
	a := &answer{Response: resp}
	a.body, err = io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	if strings.Contains(resp.Header.Get("Content-Type"), "json") {
		require.NoError(w.t, json.Unmarshal(a.body, &a.json), string(a.body))
	}
	if !w.unrecorded {
		record(w.t, a, body)
	}
	return a
}

var recording sync.Mutex

// record keeps an exchange for the judge in test/contract: see `make openapi`.
func record(t *testing.T, a *answer, body string) {
	t.Helper()
	dir := os.Getenv("MONETA_RECORD")
	if dir == "" {
		return
	}
	header := a.Request.Header.Clone()
	header.Del("Authorization")
	line, err := json.Marshal(map[string]any{
		"Method": a.Request.Method, "Path": a.Request.URL.RequestURI(), "Header": header, "Body": body,
		"Status": a.StatusCode, "AnswerHeader": a.Header, "Answer": string(a.body),
	})
	require.NoError(t, err)
	recording.Lock()
	defer recording.Unlock()
	if a.Request.URL.Path == "/openapi.json" {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "openapi.json"), a.body, 0o600))
	}
	f, err := os.OpenFile(filepath.Join(dir, "exchanges.jsonl"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = f.Write(append(line, '\n'))
	require.NoError(t, errors.Join(err, f.Close()))
}

func (w *world) post(path, key, body, idempotency string, headers ...string) *answer {
	w.t.Helper()
	return w.do(http.MethodPost, path, key, body, append(headers, "Idempotency-Key", idempotency)...)
}

func (w *world) get(path string) *answer {
	w.t.Helper()
	return w.do(http.MethodGet, path, w.user, "")
}

// open opens an account and returns its id.
func (w *world) open(name, kind string) string {
	w.t.Helper()
	key := w.user
	if kind == "house" {
		key = w.admin
	}
	a := w.post("/v1/accounts", key, `{"asset":"CZK","name":"`+name+`","kind":"`+kind+`"}`, "open "+name)
	require.Equal(w.t, http.StatusCreated, a.StatusCode, string(a.body))
	return a.str("id")
}

// funded opens an account that holds amount.
func (w *world) funded(name, amount string) string {
	w.t.Helper()
	house, id := w.open("house of "+name, "house"), w.open(name, "user")
	a := w.post("/v1/payments", w.admin, `{"kind":"send","from":"`+house+`","to":"`+id+`","amount":"`+amount+`","asset":"CZK"}`, "fund "+name)
	require.Equal(w.t, http.StatusCreated, a.StatusCode, string(a.body))
	return id
}

// payout orders a payout of 1000 from account and returns its id.
func (w *world) payout(from, key string) pay.ID { return w.payoutOf(from, key, "1000") }

func (w *world) payoutOf(from, key, amount string) pay.ID {
	w.t.Helper()
	a := w.post("/v1/payments", w.user, `{"kind":"payout","from":"`+from+`","channel":"bank-ab","payee":{"account":"123456","name":"Jan"},`+
		`"amount":"`+amount+`","asset":"CZK","remittance":"rent","metadata":{"b":"2","a":"1"}}`, key)
	require.Equal(w.t, http.StatusCreated, a.StatusCode, string(a.body))
	id, err := pay.ParseID(a.str("id"))
	require.NoError(w.t, err)
	return id
}

// fact submits what a station would.
func (w *world) fact(f pay.Fact) {
	w.t.Helper()
	f.At = time.Now()
	_, err := w.node.Submit(w.t.Context(), commit.Fact{Payment: &f})
	require.NoError(w.t, err)
}

// dispatched sends the first attempt of a payout.
func (w *world) dispatched(id pay.ID) {
	w.t.Helper()
	w.fact(pay.Fact{Kind: pay.Intend, Payment: id, Attempt: 1, SendBy: time.Now().Add(-time.Minute)})
}

// confirmed lets the channel say that it executed.
func (w *world) confirmed(id pay.ID) {
	w.t.Helper()
	w.fact(pay.Fact{Kind: pay.Confirm, Payment: id, Attempt: 1, Source: "callback", Amount: money.Int(1000), Asset: "CZK", ChannelID: "b-1"})
}

func requireProblem(t *testing.T, a *answer, code fault.Code) {
	t.Helper()
	require.Equal(t, string(code), a.str("code"), string(a.body))
	require.Equal(t, fault.HTTPStatus(code), a.StatusCode)
	require.Equal(t, "application/problem+json", a.Header.Get("Content-Type"))
	require.Equal(t, "http://"+a.Request.URL.Host+"/errors/"+string(code), a.str("type"))
	require.Equal(t, fault.Title(code, "en"), a.str("title"))
	require.Equal(t, fault.Title(code, "zh"), a.str("message_zh"))
	require.Contains(t, []string{"safe_same_key", "after", "never"}, a.str("retry"))
	require.Contains(t, []string{"not_moved", "moved", "unknown_will_resolve"}, a.str("money_state"))
	require.Equal(t, a.Header.Get("Trace-Id"), a.str("trace_id"))
	require.Len(t, a.str("trace_id"), 32)
	require.InDelta(t, a.StatusCode, a.json["status"], 0)
}
