// Package hostile sends thousands of requests that nobody should send to every
// operation that the OpenAPI document names, to the real binary. It judges from
// outside: an answer at or above 500 that is not one of the document's 503 and 504,
// a refusal that is no problem document, a panic in the log, another process than
// at the start, or memory without bound is a fault. It refuses to know what single
// operations do, and to trust itself: the same judge must find the faults of a
// server that has them.
//
// MONETA_TORTURE=1 sends twenty times as many; MONETA_HOSTILE_SEED names another
// seed, MONETA_BINARY a binary to attack instead of building one.
package hostile

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/test/binary"
)

const (
	// requests of one run; what the test promises to send at least.
	requests = 6_000
	// residentMax is what the node may ever have had in memory, in kB: an idle one
	// has 50 to 100 MB, and no request of this test is larger than 1 MB.
	residentMax = 768 << 10
	workers     = 8
)

func TestMain(m *testing.M) { os.Exit(binary.Run(m)) }

// node is the installation under attack.
type node struct {
	dir, url      string
	log           string
	tenant, admin string
	up            *exec.Cmd
}

func TestHostileRequests(t *testing.T) {
	t.Parallel()
	n := start(t)
	before := n.servePid(t)
	surface := readSurface(t, n.url)
	require.Greater(t, len(surface.operations), 55, "the document names too few operations to be the API's")
	known := n.furnish(t)

	many := requests
	if os.Getenv("MONETA_TORTURE") == "1" {
		many *= 20
	}
	a := &attack{
		surface: surface, base: n.url, keys: []string{n.tenant, n.admin, n.admin, n.admin, "", "mk_live_aaaaaaaa_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"},
		person: n.hire(t), known: known, seed: seed(t),
	}
	began := time.Now()
	r := a.run(t, many)
	t.Logf("%d requests over %d operations in %s, seed %d: %v, of them %v", r.sent, len(r.routes), time.Since(began).Round(time.Millisecond), a.seed, r.statuses, r.unable)
	require.Empty(t, r.faults, "seed %d", a.seed)
	require.GreaterOrEqual(t, r.sent, requests)
	require.Len(t, r.routes, len(surface.operations), "every operation is attacked")
	require.Positive(t, r.statuses[http.StatusCreated], "nothing got through: the attack is too blunt to reach what lies behind the checks")
	require.Greater(t, r.statuses[http.StatusUnprocessableEntity]+r.statuses[http.StatusBadRequest], requests/20)

	said, err := os.ReadFile(n.log)
	require.NoError(t, err)
	require.Empty(t, panics(string(said)))
	require.Equal(t, before, n.servePid(t), "the node was started again")
	require.Less(t, highWater(t, before), residentMax, "kB resident at the most")
	n.booksAgree(t)
}

// The controls: a server with the faults that the test looks for, and a log with
// panics.
func TestTheJudgeFindsFaults(t *testing.T) {
	t.Parallel()
	surface := &surface{operations: []operation{{method: http.MethodPost, path: "/v1/things/{id}", body: thing(t), answers: map[int]bool{200: true, 400: true, 503: true}}}}
	answer := func(status int, media, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", media)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	const problem = `{"status":%d,"code":"x","title":"x","retry":"never","money_state":"not_moved","trace_id":"x"}`
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"one in many fails": {func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if bytes.Contains(body, []byte(`\u0000`)) {
				answer(500, "application/problem+json", fmt.Sprintf(problem, 500))(w, r)
				return
			}
			answer(400, "application/problem+json", fmt.Sprintf(problem, 400))(w, r)
		}, "answered 500"},
		"a route panics":             {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "no answer"},
		"504 that nobody documented": {answer(504, "application/problem+json", fmt.Sprintf(problem, 504)), "answered 504"},
		"a refusal in plain text":    {answer(400, "text/plain", "no"), "is no problem"},
		"another status within":      {answer(400, "application/problem+json", fmt.Sprintf(problem, 404)), "is no problem"},
		"an answer that is not JSON": {answer(200, "application/json", "{"), "is not JSON"},
		"a database to blame":        {answer(503, "application/problem+json", `{"status":503,"code":"database-unavailable"}`), "answered 503"},
		"a status without a page":    {answer(409, "application/problem+json", fmt.Sprintf(problem, 409)), "not documented"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(c.handler)
			defer s.Close()
			r := (&attack{surface: surface, base: s.URL, keys: []string{""}, seed: 7}).run(t, 300)
			require.NotEmpty(t, r.faults)
			require.Contains(t, r.faults[0], c.want)
		})
	}
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		s := httptest.NewServer(answer(503, "application/problem+json", fmt.Sprintf(problem, 503)))
		defer s.Close()
		require.Empty(t, (&attack{surface: surface, base: s.URL, keys: []string{""}, seed: 7}).run(t, 300).faults)
	})
	require.Len(t, panics(`{"msg":"a route panicked","panic":"x"}`+"\nfine\npanic: runtime error: index out of range\nfatal error: all goroutines"), 3)
}

func thing(t *testing.T) *schema {
	t.Helper()
	var s schema
	require.NoError(t, json.Unmarshal([]byte(`{"type":"object","required":["name"],"properties":{"name":{"type":"string"},"amount":{"type":"string","pattern":"x"},"count":{"type":"integer"}}}`), &s))
	return &s
}

// seed is the run's; the same for everybody unless told otherwise.
func seed(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("MONETA_HOSTILE_SEED")
	if text == "" {
		return 20_261_122
	}
	n, err := strconv.ParseUint(text, 10, 64)
	require.NoError(t, err)
	return n
}

// panics returns the lines of a log that tell of one.
func panics(log string) (found []string) {
	for line := range strings.SplitSeq(log, "\n") {
		if strings.Contains(line, "a route panicked") || strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") ||
			strings.Contains(line, "http: panic serving") {
			found = append(found, line)
		}
	}
	return found
}

// start starts everything in a fresh folder.
func start(t *testing.T) *node {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "moneta-hostile-") //nolint:usetesting // a disk that the database's user can reach
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	listen, banks := freePort(t), freePort(t)
	n := &node{dir: filepath.Join(dir, "data"), url: "http://" + listen}
	n.log = filepath.Join(n.dir, "serve.log")
	var said bytes.Buffer
	n.up = exec.CommandContext(t.Context(), binary.Moneta(), "up", "--quiet", "--sandbox", "--data", n.dir, "--listen", listen, "--sandbox-listen", banks)
	n.up.Stdout, n.up.Stderr = &said, &said
	n.up.Cancel = func() error { return n.up.Process.Signal(syscall.SIGTERM) }
	n.up.WaitDelay = time.Minute
	require.NoError(t, n.up.Start())
	t.Cleanup(func() {
		_ = n.up.Process.Signal(syscall.SIGTERM)
		_ = n.up.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	})
	require.Eventually(t, func() bool {
		status, _, err := n.do(t.Context(), http.MethodGet, "/readyz", "", "", "")
		return err == nil && status == http.StatusOK
	}, 2*time.Minute, 50*time.Millisecond)
	raw, err := os.ReadFile(filepath.Join(n.dir, "keys.json"))
	require.NoError(t, err)
	var keys struct {
		Tenant string `json:"tenant_key"`
		Admin  string `json:"admin_key"`
	}
	require.NoError(t, json.Unmarshal(raw, &keys))
	n.tenant, n.admin = keys.Tenant, keys.Admin
	return n
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// do sends one good request.
func (n *node) do(ctx context.Context, method, path, key, idempotency, body string) (int, map[string]any, error) {
	req, err := http.NewRequestWithContext(ctx, method, n.url+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	if idempotency != "" {
		req.Header.Set("Idempotency-Key", idempotency)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	var out map[string]any
	err = json.NewDecoder(resp.Body).Decode(&out)
	return resp.StatusCode, out, err
}

// furnish puts things there that exist, so that bad requests reach further than to
// "no such thing", and returns what they are called, by the parameter's place.
func (n *node) furnish(t *testing.T) map[string][]string {
	t.Helper()
	i := 0
	made := func(path, key, body string) string {
		i++
		status, out, err := n.do(t.Context(), http.MethodPost, path, key, "furnish-"+strconv.Itoa(i), body)
		require.NoError(t, err)
		require.Equal(t, http.StatusCreated, status, "%s %v", path, out)
		id, _ := out["id"].(string)
		return id
	}
	house := made("/v1/accounts", n.admin, `{"asset":"CZK","name":"house","kind":"house"}`)
	one := made("/v1/accounts", n.tenant, `{"asset":"CZK","name":"one"}`)
	two := made("/v1/accounts", n.tenant, `{"asset":"CZK","name":"two"}`)
	fund := made("/v1/payments", n.admin, `{"kind":"send","from":"`+house+`","to":"`+one+`","amount":"1000000","asset":"CZK"}`)
	hold := made("/v1/payments", n.tenant, `{"kind":"hold","from":"`+one+`","to":"`+two+`","amount":"5000","asset":"CZK"}`)
	payout := made("/v1/payments", n.tenant, `{"kind":"payout","from":"`+one+`","channel":"bank-ab","payee":{"account":"123456","name":"Jan"},"amount":"700","asset":"CZK"}`)
	hook := made("/v1/webhooks", n.tenant, `{"url":"https://example.com/hook"}`)
	return map[string][]string{
		"/v1/payments/": {fund, hold, payout}, "/v1/accounts/": {one, two, house}, "/v1/webhooks/": {hook},
		"/v1/channels/": {"bank-ab"}, "/v1/cases/": {"1"}, "/v1/recon/breaks/": {"1"},
		"account": {one, two, house}, "payment": {fund, hold, payout}, "asset": {"CZK"}, "channel": {"bank-ab"},
	}
}

// hire adds a person who may do all that people may, and returns their key.
func (n *node) hire(t *testing.T) *access.KeyFile {
	t.Helper()
	k, credential, _, err := access.Enrol("ann", access.Ed25519)
	require.NoError(t, err)
	out, err := exec.CommandContext(t.Context(), n.up.Path, "operator", "add", "--data", n.dir, "--name", "ann", "--role", "admin", "--credential", credential).CombinedOutput()
	require.NoError(t, err, string(out))
	return &k
}

// servePid is the node that up runs.
func (n *node) servePid(t *testing.T) int {
	t.Helper()
	folders, err := filepath.Glob("/proc/[0-9]*")
	require.NoError(t, err)
	for _, f := range folders {
		line, _ := os.ReadFile(f + "/cmdline") // gone meanwhile is an empty line
		args := strings.Split(string(line), "\x00")
		stat, _ := os.ReadFile(f + "/stat")
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		if len(args) > 1 && args[1] == "serve" && len(fields) > 1 && fields[1] == strconv.Itoa(n.up.Process.Pid) {
			pid, err := strconv.Atoi(filepath.Base(f))
			require.NoError(t, err)
			return pid
		}
	}
	require.Fail(t, "up runs no node")
	return 0
}

// highWater is the most that a process ever had resident, in kB.
func highWater(t *testing.T, pid int) int {
	t.Helper()
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(raw), "VmHWM:")
	require.True(t, ok)
	kB, err := strconv.Atoi(strings.Fields(rest)[0])
	require.NoError(t, err)
	t.Logf("at most %d MB resident", kB>>10)
	return kB
}

// booksAgree recounts: whatever got through, nothing was made or lost.
func (n *node) booksAgree(t *testing.T) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), n.up.Path, "export", "trial-balance", "--data", n.dir).CombinedOutput()
	require.NoError(t, err, string(out))
}

// random is one request's own source, so that a seed and a number make it again.
func random(seed uint64, number int) *rand.Rand {
	return rand.New(rand.NewPCG(seed, uint64(number)))
}
