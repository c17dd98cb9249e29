package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/river"
	"github.com/moneta-pay/moneta/doctor/signal"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/money"
)

// browser is somebody before the console of a watch that looks at nothing.
type browser struct {
	t     *testing.T
	watch *watch
	file  watching
	jar   http.Client
	csrf  string
	seats sync.Map // of signIn, by token
}

// openConsole serves the console of a watch with a journal of its own and no collectors;
// nobody is signed in. cfg may name a database and a serve; the folder is made.
func openConsole(t *testing.T, cfg WatchConfig) *browser {
	t.Helper()
	if cfg.DataDir == "" {
		cfg.DataDir = t.TempDir()
	}
	if cfg.DSN == "" {
		cfg.DSN = "postgres://nobody@127.0.0.1:1/gone?connect_timeout=1"
	}
	log := slog.New(slog.DiscardHandler)
	w := &watch{
		cfg: cfg, log: log, clock: clock.System, memory: signal.NewMemory(doctor.Road()),
		streams: newStreams(t.Context()), river: river.NewKeeper(),
	}
	w.runner = signal.NewRunner(w.memory, w.clock)
	var err error
	w.attendance, err = newAttendance(t.Context(), &w.cfg, w.look, w.clock, log)
	require.NoError(t, err)
	b := &browser{t: t, watch: w, file: watching{Token: "token-of-the-file"}}
	server := httptest.NewUnstartedServer(nil)
	b.file.URL = "http://" + server.Listener.Addr().String()
	b.file.Console = byName(b.file.URL)
	// Nobody may approve here: somebody at this machine is who comes by a link.
	require.NoError(t, writeFile(filepath.Join(doctorFolder(cfg.DataDir), "roll.json"), fmt.Appendf(nil, `{"read_at":%q}`, time.Now().UTC().Format(time.RFC3339)), 0o600))
	w.sessions, err = newSessions(t.Context(), &w.cfg, b.file.Console, clock.System, log)
	require.NoError(t, err)
	t.Cleanup(w.sessions.end)
	server.Config.Handler = w.routes(&b.file)
	server.Start()
	t.Cleanup(func() {
		w.streams.end()
		server.Close()
		require.NoError(t, w.attendance.close(context.Background()))
	})
	b.jar.Jar, err = cookiejar.New(nil)
	require.NoError(t, err)
	return b
}

// signIn begins a session of who is given, without asking for a secret of theirs.
func (b *browser) signIn(who visitor) {
	b.t.Helper()
	secret := "seat of " + who.Name
	who.visit = access.Visit{Principal: access.Principal{Operator: who.Name, Role: who.Role, Tenant: who.Tenant}, Token: secret, Local: who.Name == access.Local}
	b.seats.Store(secret, who)
	b.watch.sessions.look = func(_ context.Context, token string, _ bool) (visitor, error) {
		if v, ok := b.seats.Load(token); ok {
			return v.(visitor), nil
		}
		return visitor{}, fault.New(fault.Unauthenticated, "")
	}
	req, err := http.NewRequest(http.MethodGet, b.file.URL, nil)
	require.NoError(b.t, err)
	b.jar.Jar.SetCookies(req.URL, []*http.Cookie{{Name: b.watch.sessions.cookieName(), Value: secret, Path: "/"}})
	b.csrf = who.visit.CSRF()
}

// local is who came by a one-time link: the same person that may read keys.json.
func (b *browser) local() visitor {
	v := visitor{Name: access.Local, Role: access.Chief}
	if keys, err := ReadKeys(keysPath(b.watch.cfg.DataDir)); err == nil {
		v.Bearer = keys.Admin
	}
	return v
}

// reply is an answer but its body.
type reply struct {
	StatusCode int
	Header     http.Header
	Cookies    []*http.Cookie
}

// do asks and reads the answer; header is name, value, name, value.
func (b *browser) do(method, path, body string, header ...string) (reply, string) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.file.URL+path, bytes.NewBufferString(body))
	require.NoError(b.t, err)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if b.csrf != "" {
		req.Header.Set(csrfHeader, b.csrf)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := b.jar.Do(req)
	require.NoError(b.t, err)
	raw, err := io.ReadAll(resp.Body)
	require.NoError(b.t, err)
	require.NoError(b.t, resp.Body.Close())
	return reply{resp.StatusCode, resp.Header, resp.Cookies()}, string(raw)
}

// get asks for JSON, and wants the answer to be good.
func (b *browser) get(path string, out any) {
	b.t.Helper()
	resp, raw := b.do(http.MethodGet, path, "")
	require.Equal(b.t, http.StatusOK, resp.StatusCode, raw)
	require.NoError(b.t, json.Unmarshal([]byte(raw), out), raw)
}

func TestALinkLetsOnePersonInOnce(t *testing.T) {
	t.Parallel()
	b := openConsole(t, WatchConfig{SandboxURL: "http://127.0.0.1:1"})
	var who consoleWho
	b.get("/api/session", &who)
	require.False(t, who.SignedIn)
	require.True(t, who.Sandbox)
	require.Equal(t, uint8(0), who.Scales["JPY"])
	require.Contains(t, who.Scales, money.Asset("JPY"))
	require.NotContains(t, who.Scales, money.Asset("EUR"))

	resp, raw := b.do("GET", "/api/watch/now", "")
	require.Equal(t, 401, resp.StatusCode)
	require.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
	require.Contains(t, raw, "moneta console link")

	link, err := b.file.link(t.Context(), linkAsked{})
	require.NoError(t, err)
	_, secret, found := strings.Cut(link.URL, "/signin#link=")
	require.True(t, found, link.URL)
	require.WithinDuration(t, time.Now().Add(linkSays), link.Expires, time.Minute)

	resp, _ = b.do("POST", "/api/session", `{"link":"`+secret+`"}`, "Origin", "http://elsewhere.example", "Sec-Fetch-Site", "cross-site")
	require.Equal(t, 403, resp.StatusCode, "another site's page signs nobody in")
	resp, raw = b.do("POST", "/api/session", `{"link":"`+secret+`"}`)
	require.Equal(t, 200, resp.StatusCode, raw)
	c := resp.Cookies[0]
	require.True(t, c.HttpOnly)
	require.Equal(t, http.SameSiteStrictMode, c.SameSite)
	require.NoError(t, json.Unmarshal([]byte(raw), &who))
	require.Equal(t, access.Local, who.Name)
	require.NotEmpty(t, who.Csrf)

	for _, again := range []string{secret, "", "00", secret + "0"} {
		resp, _ = b.do("POST", "/api/session", `{"link":"`+again+`"}`)
		require.NotEqual(t, 200, resp.StatusCode, again)
	}
	var now Now
	b.get("/api/watch/now", &now)
	require.NotNil(t, now.Alarms)

	// Nothing is changed without the text that the page got.
	resp, _ = b.do("DELETE", "/api/session", "")
	require.Equal(t, 403, resp.StatusCode)
	b.csrf = who.Csrf
	resp, _ = b.do("DELETE", "/api/session", "")
	require.Equal(t, 200, resp.StatusCode)
	b.csrf = ""
	resp, _ = b.do("GET", "/api/watch/now", "", "Cookie", c.Name+"="+c.Value)
	require.Equal(t, 401, resp.StatusCode, "the session has ended, not only the cookie")
}

// fixed is a clock that a test owns.
type fixed struct{ at atomic.Int64 }

func (f *fixed) Now() time.Time           { return time.Unix(0, f.at.Load()) }
func (f *fixed) forward(by time.Duration) { f.at.Add(int64(by)) }

func TestWhoMayDoWhatAtTheConsole(t *testing.T) {
	t.Parallel()
	b := openConsole(t, WatchConfig{})
	b.signIn(visitor{Name: "vera", Role: access.Viewer, Tenant: 1})
	resp, raw := b.do("POST", "/api/watch/incidents/inc-1/notes", `{"text":"x"}`)
	require.Equal(t, 403, resp.StatusCode)
	require.Contains(t, raw, "viewer")
	b.signIn(visitor{Name: "olga", Role: access.Operate, Tenant: 1})
	resp, _ = b.do("POST", "/api/watch/incidents/inc-1/notes", `{"text":"x"}`)
	require.Equal(t, 404, resp.StatusCode)

	// The token of commands is no session, and a session no token.
	resp, _ = b.do("GET", "/now", "")
	require.Equal(t, 401, resp.StatusCode)
	resp, _ = b.do("GET", "/now", "", "Authorization", "Bearer wrong")
	require.Equal(t, 401, resp.StatusCode)
	resp, _ = b.do("GET", "/now", "", "Authorization", "Bearer "+b.file.Token)
	require.Equal(t, 200, resp.StatusCode)
	resp, _ = b.do("POST", "/console/links", "")
	require.NotEqual(t, 200, resp.StatusCode)

	// A page is a page, also where commands have an address of the same name.
	resp, raw = b.do("GET", "/incidents", "", "Accept", "text/html")
	require.Contains(t, raw, "<!doctype html>")
	require.Contains(t, resp.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'")
	resp, _ = b.do("GET", "/api/nothing", "")
	require.Equal(t, 404, resp.StatusCode)
}

func TestNotesAreInTheNameOfWhoIsSignedIn(t *testing.T) {
	t.Parallel()
	b := openConsole(t, WatchConfig{})
	raw, err := json.Marshal(doctor.Opening{})
	require.NoError(t, err)
	_, err = b.watch.attendance.journal.Append(t.Context(), doctor.Entry{Incident: "inc-1", What: doctor.EntryOpened, Who: "doctor", Data: raw})
	require.NoError(t, err)
	b.signIn(visitor{Name: "olga", Role: access.Operate, Tenant: 1})
	resp, text := b.do("POST", "/api/watch/incidents/inc-1/notes", `{"who":"somebody else","text":"the bank called"}`)
	require.Equal(t, 200, resp.StatusCode, text)
	var e doctor.Entry
	require.NoError(t, json.Unmarshal([]byte(text), &e))
	require.Equal(t, "olga", e.Who)
}

// sse is one of a stream.
type sse struct{ id, name, data string }

func readEvent(t *testing.T, from *bufio.Reader) sse {
	t.Helper()
	var e sse
	for {
		line, err := from.ReadString('\n')
		require.NoError(t, err)
		line = strings.TrimSuffix(line, "\n")
		field, value, _ := strings.Cut(line, ": ")
		switch {
		case line == "" && e != sse{}:
			return e
		case field == "id":
			e.id = value
		case field == "event":
			e.name = value
		case field == "data":
			e.data = value
		}
	}
}

func (b *browser) listen(after string) (*bufio.Reader, func()) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.file.URL+"/api/watch/stream", nil)
	require.NoError(b.t, err)
	if after != "" {
		req.Header.Set("Last-Event-ID", after)
	}
	resp, err := b.jar.Do(req) //nolint:bodyclose // who listens closes it
	require.NoError(b.t, err)
	require.Equal(b.t, http.StatusOK, resp.StatusCode)
	require.Equal(b.t, "text/event-stream", resp.Header.Get("Content-Type"))
	return bufio.NewReader(resp.Body), func() { _ = resp.Body.Close() }
}

func TestTheStreamTellsAndGoesOn(t *testing.T) {
	t.Parallel()
	b := openConsole(t, WatchConfig{})
	b.signIn(b.local())
	j := b.watch.attendance.journal
	note := func(text string) doctor.Entry {
		raw, err := json.Marshal(doctor.Note{Text: text})
		require.NoError(t, err)
		e, err := j.Append(t.Context(), doctor.Entry{What: doctor.EntryNote, Who: "ann", Data: raw})
		require.NoError(t, err)
		return e
	}
	note("before")
	stream, stop := b.listen("")
	require.NotEmpty(t, readEvent(t, stream).id, "where to go on from, before anything happened")
	now := readEvent(t, stream)
	require.Equal(t, "now", now.name)
	require.True(t, json.Valid([]byte(now.data)))
	first := note("first")
	var line sse
	for line.name != "line" {
		line = readEvent(t, stream)
	}
	require.Contains(t, line.data, "first", "not what was before")
	stop()

	note("second")
	stream, stop = b.listen(line.id)
	defer stop()
	for line = (sse{}); line.name != "line"; {
		line = readEvent(t, stream)
	}
	require.Contains(t, line.data, "second")
	require.Greater(t, line.id, "")
	require.NotZero(t, first.Seq)

	// Who signs out is told nothing more.
	b.seats.Clear()
	_, err := io.Copy(io.Discard, stream)
	require.NoError(t, err, "the stream ends")
}

// heldServe is a serve that is there or not.
type heldServe struct {
	gone  atomic.Bool
	asked atomic.Int64
	auth  atomic.Value
}

func (h *heldServe) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.asked.Add(1)
	h.auth.Store(r.Header.Get("Authorization") + "|" + r.Header.Get("Cookie") + "|" + r.Header.Get(csrfHeader))
	switch {
	case h.gone.Load() && r.URL.Query().Has("cut"):
		panic(http.ErrAbortHandler)
	case h.gone.Load():
		w.WriteHeader(http.StatusServiceUnavailable)
	case r.URL.Path == "/v1/missing":
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
	default:
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Set-Cookie", "theirs=1")
		_, _ = io.WriteString(w, `{"path":"`+r.URL.RequestURI()+`","method":"`+r.Method+`"}`)
	}
}

func TestTheAPIThroughTheConsole(t *testing.T) {
	t.Parallel()
	serve := &heldServe{}
	node := httptest.NewServer(serve)
	defer node.Close()
	b := openConsole(t, WatchConfig{ServeURL: node.URL})
	require.NoError(t, writeFile(keysPath(b.watch.cfg.DataDir), []byte(`{"admin_key":"mk_admin"}`), 0o600))

	b.signIn(b.local())
	resp, raw := b.do("GET", "/api/pay/v1/payments/pay_1%2F2?limit=2", "")
	require.Equal(t, 200, resp.StatusCode, raw)
	require.JSONEq(t, `{"path":"/v1/payments/pay_1%2F2?limit=2","method":"GET"}`, raw)
	require.Equal(t, "Bearer mk_admin||", serve.auth.Load(), "no cookie of ours goes there")
	require.Empty(t, resp.Header.Get("Set-Cookie"), "nor one of theirs here")
	require.NotContains(t, raw, "mk_admin")
	asked := serve.asked.Load()
	resp, raw = b.do("POST", "/api/pay/v1/payments", "{}")
	require.Equal(t, 403, resp.StatusCode, raw)
	require.Equal(t, asked, serve.asked.Load())
	resp, _ = b.do("GET", "/api/pay/metrics", "")
	require.Equal(t, 404, resp.StatusCode, "only the API")

	b.signIn(visitor{Name: "olga", Role: access.Operate, Tenant: 1, Bearer: "her session"})
	resp, raw = b.do("POST", "/api/pay/v1/payments", "{}", "Idempotency-Key", "k")
	require.Equal(t, 200, resp.StatusCode, raw)
	resp, _ = b.do("GET", "/api/pay/v1/missing", "")
	require.Equal(t, 404, resp.StatusCode)
	resp, _ = b.do("GET", "/api/pay/v1/a", "")
	require.Empty(t, resp.Header.Get(ageHeader))
	b.do("GET", "/api/pay/v1/b?cut", "")

	serve.gone.Store(true)
	for _, path := range []string{"a", "b?cut"} { // it says so, or says nothing
		resp, raw = b.do("GET", "/api/pay/v1/"+path, "")
		require.Equal(t, 200, resp.StatusCode)
		require.NotEmpty(t, resp.Header.Get(ageHeader))
		require.Contains(t, raw, "/v1/"+path)
	}
	for _, path := range []string{"never-asked?cut", "missing?cut", "payments/pay_1%2F2?limit=2&cut"} {
		resp, raw = b.do("GET", "/api/pay/v1/"+path, "")
		require.Equal(t, 503, resp.StatusCode, raw)
		require.Contains(t, raw, codeUnreachable)
	}
	resp, raw = b.do("POST", "/api/pay/v1/payments?cut", "{}")
	require.Equal(t, 504, resp.StatusCode)
	require.Contains(t, raw, "may have done it")
	require.Contains(t, raw, "unknown_will_resolve")

	// What one has seen is not shown to another.
	b.signIn(visitor{Name: "otto", Role: access.Operate, Tenant: 2, Bearer: "his session"})
	resp, _ = b.do("GET", "/api/pay/v1/a", "")
	require.Equal(t, 503, resp.StatusCode)
	b.signIn(visitor{Name: "nobody", Role: access.Viewer})
	resp, _ = b.do("GET", "/api/pay/v1/a", "")
	require.Equal(t, 403, resp.StatusCode)
}

func TestKeptAnswersAreBounded(t *testing.T) {
	t.Parallel()
	c := &fixed{}
	k := newKeptAnswers(c)
	body := bytes.Repeat([]byte("x"), keptOneMost)
	for i := range 4 * keptAnswersMost {
		a := &payAnswer{body: body}
		if i%2 == 0 {
			a.body = body[:1]
		}
		k.put(digestOf{byte(i), byte(i >> 8)}, a)
		require.LessOrEqual(t, k.bytes, keptBytesMost)
		require.LessOrEqual(t, k.order.Len(), keptAnswersMost)
		require.Len(t, k.all, k.order.Len())
	}
	n := 4*keptAnswersMost - 1
	last := digestOf{byte(n), byte(n >> 8)}
	_, _, ok := k.get(last)
	require.True(t, ok)
	k.put(digestOf{1, 2, 3}, &payAnswer{body: append(body, 'x')})
	_, _, ok = k.get(digestOf{1, 2, 3})
	require.False(t, ok)
	c.forward(keptFor + time.Second)
	_, _, ok = k.get(last)
	require.False(t, ok, "an answer of long ago is none")
}
