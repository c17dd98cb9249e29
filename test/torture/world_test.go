package torture

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgserver"
	"github.com/moneta-pay/moneta/test/binary"
)

// world is one installation: `up` with its Postgres, its node and its banks, and
// whatever further nodes a test starts.
type world struct {
	t      *testing.T
	dir    string // data folder
	place  string // the cluster's folder
	api    string // base URL of the node that up runs
	banks  string // base URL of the sandbox
	listen []string
	extra  []string // further flags of up
	binary string   // what up runs; empty means the one under test
	env    []string // further environment of up
	keys   keys
	up     *process
	ready  time.Duration // from the start of up to its first ready answer
	db     *pgxpool.Pool
	// oldEnds is the last row of each table that an earlier release wrote.
	oldEnds map[string]int64
}

type keys struct {
	Tenant string `json:"tenant_key"`
	Admin  string `json:"admin_key"`
	Secret string `json:"sandbox_secret"`
}

// bankCodes are the banks that the load uses.
var bankCodes = []string{"ab", "cd", "ef", "gh"}

const readyWithin = 2 * time.Minute

// newWorld starts everything in a fresh folder and waits until it serves.
func newWorld(t *testing.T, extra ...string) *world {
	t.Helper()
	return newWorldIn(t, folder(t), extra...)
}

// newWorldIn does so in a folder that the test made.
func newWorldIn(t *testing.T, dir string, extra ...string) *world {
	t.Helper()
	w := &world{t: t, dir: dir, listen: freePorts(t, 2), extra: extra}
	w.api, w.banks = "http://"+w.listen[0], "http://"+w.listen[1]
	place, moved, err := pgserver.Place(t.Context(), filepath.Join(w.dir, "pg"))
	require.NoError(t, err)
	require.False(t, moved, "the folder must be one that the database's user can enter")
	w.place = place
	t.Cleanup(w.endPostgres)
	w.start()
	w.readKeys()
	w.connect()
	for _, bank := range bankCodes {
		w.behave(bank, `{"magic_amounts": false}`)
	}
	return w
}

func (w *world) readKeys() {
	w.t.Helper()
	raw, err := os.ReadFile(filepath.Join(w.dir, "keys.json"))
	require.NoError(w.t, err)
	require.NoError(w.t, json.Unmarshal(raw, &w.keys))
}

// folder is on a real disk: /tmp is memory on some systems.
func folder(t *testing.T) string {
	t.Helper()
	base := os.TempDir()
	if st, err := os.Stat("/var/tmp"); err == nil && st.IsDir() {
		base = "/var/tmp"
	}
	dir, err := os.MkdirTemp(base, "moneta-torture-") //nolint:usetesting // its place is the point
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755)) // the database's user must get through
	t.Cleanup(func() {
		if t.Failed() {
			for _, name := range []string{"serve.log", "sandbox.log"} {
				t.Logf("the end of %s:\n%s", name, tail(filepath.Join(dir, name)))
			}
		}
		if os.Getenv("MONETA_TORTURE_KEEP") == "" {
			_ = os.RemoveAll(dir)
		}
	})
	return dir
}

// freePorts are free now, and below those that the system gives to whoever asks for
// any: a port is used again and again here, and while its server is dead no other
// process of the world may be given it.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	var out []string
	for tries := 0; len(out) < n; tries++ {
		require.Less(t, tries, 1000, "no free port was found")
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(12_000+rand.IntN(18_000))))
		if err != nil {
			continue
		}
		defer func() { _ = l.Close() }()
		out = append(out, l.Addr().String())
	}
	return out
}

// start runs up on the world's folder and waits until it serves. The doctor looks, and
// does nothing: each payment must come to its end without it, and what it holds back
// after a storm of kills would only make the torture longer.
func (w *world) start() {
	w.t.Helper()
	began := time.Now()
	path := w.binary
	if path == "" {
		path = binary.Moneta()
	}
	w.up = startThe(w.t, path, w.dir, "up", w.env, append([]string{
		"up", "--quiet", "--sandbox", "--auto", "observe", "--data", w.dir, "--listen", w.listen[0], "--sandbox-listen", w.listen[1],
	}, w.extra...)...)
	w.awaitReady(w.api)
	eventually(w.t, readyWithin, "the sandbox serves", func() (bool, string) { return answersOK(w.banks + "/healthz") })
	w.ready = time.Since(began)
}

func (w *world) awaitReady(base string) {
	w.t.Helper()
	eventually(w.t, readyWithin, base+" is ready", func() (bool, string) {
		if w.up != nil && !w.up.running() {
			w.t.Fatalf("up ended: %v\n%s", w.up.err, tail(w.up.log))
		}
		return answersOK(base + "/readyz")
	})
}

func answersOK(url string) (bool, string) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false, err.Error()
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err.Error()
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK, resp.Status
}

func (w *world) dsn() string {
	w.t.Helper()
	var dsn string
	eventually(w.t, readyWithin, "the cluster is there", func() (bool, string) {
		var err error
		if dsn, err = pgserver.Locate(w.place, "moneta"); err != nil {
			return false, err.Error()
		}
		return true, ""
	})
	return dsn
}

func (w *world) connect() {
	w.t.Helper()
	cfg, err := pgxpool.ParseConfig(w.dsn())
	require.NoError(w.t, err)
	cfg.MaxConns = 6
	cfg.ConnConfig.RuntimeParams["application_name"] = "torture"
	w.db, err = pgxpool.NewWithConfig(context.Background(), cfg)
	require.NoError(w.t, err)
	w.t.Cleanup(w.db.Close)
}

// node starts a further serve on the same database, which reaches its banks at
// the URL given.
func (w *world) node(name, listen, banks string) *process {
	w.t.Helper()
	p := start(w.t, w.dir, name, []string{"MONETA_DSN=" + w.dsn(), "MONETA_SANDBOX_SECRET=" + w.keys.Secret},
		"serve", "--listen", listen, "--node-url", "http://"+listen, "--sandbox-url", banks)
	w.awaitReady("http://" + listen)
	return p
}

// servePid is the serve that up runs now, 0 between two of them.
func (w *world) servePid() int { return childOf(w.up.pid, "serve") }

// postmaster is the pid in the cluster's pid file, 0 without one.
func (w *world) postmaster() int {
	raw, err := os.ReadFile(w.pidFile())
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(raw), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil {
		return 0
	}
	return pid
}

func (w *world) pidFile() string { return filepath.Join(w.place, "data", "postmaster.pid") }

// endPostgres ends a server that no up stopped, so that a failed test leaves
// nothing behind.
func (w *world) endPostgres() {
	pid := w.postmaster()
	cwd, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/cwd")
	if pid == 0 || err != nil || cwd != filepath.Join(w.place, "data") || !alive(pid) {
		return
	}
	_ = syscall.Kill(pid, syscall.SIGQUIT)
	eventually(w.t, 20*time.Second, "the left Postgres ends", func() (bool, string) { return !alive(pid), "it runs" })
}

// leader returns the URL of the node that leads, as the shard's row says.
func (w *world) leader() string {
	var url string
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := w.db.QueryRow(ctx, `select leader_url from shards where id = 0 and leader is not null`).Scan(&url); err != nil {
		return ""
	}
	return url
}

func (w *world) epoch() (epoch int64) {
	w.t.Helper()
	w.query(&epoch, `select epoch from shards where id = 0`)
	return epoch
}

// query reads one value, on a database that may just be coming back.
func (w *world) query(to any, sql string, args ...any) {
	w.t.Helper()
	eventually(w.t, time.Minute, "read "+sql, func() (bool, string) {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := w.db.QueryRow(ctx, sql, args...).Scan(to); err != nil {
			return false, err.Error()
		}
		return true, ""
	})
}

// behave replaces how a bank treats us.
func (w *world) behave(bank, body string) {
	w.t.Helper()
	status, answer := w.bankCall(http.MethodPut, "/banks/"+bank+"/behaviour", body)
	require.Equal(w.t, http.StatusOK, status, answer)
}

func (w *world) bankCall(method, path, body string) (status int, answer string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	status, raw, err := call(ctx, http.DefaultClient, method, w.banks+path, "", "", body)
	require.NoError(w.t, err)
	return status, string(raw)
}

// heal makes the banks honest and lets them send what they still owe.
func (w *world) heal() {
	w.t.Helper()
	for _, bank := range bankCodes {
		w.behave(bank, `{"magic_amounts": false}`)
		status, answer := w.bankCall(http.MethodPost, "/banks/"+bank+"/callbacks/flush", "")
		require.Equal(w.t, http.StatusOK, status, answer)
	}
}
