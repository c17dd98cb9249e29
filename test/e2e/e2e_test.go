// Package e2e_test looks at the console as people do: one world with everything running,
// one browser, every screen in both languages and themes, on a desk and on a telephone.
// It refuses to wait for time: a screen is ready when it says so.
package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/console"
	"github.com/moneta-pay/moneta/test/binary"
)

var update = flag.Bool("update", false, "make the pictures of docs/screens anew")

const (
	web = "../../console/web"
	// upWithin and browserWithin are for a busy machine.
	upWithin      = 3 * time.Minute
	browserWithin = 13 * time.Minute
)

// worlds that go beside each other, also where there are fewer processors: the one that is
// left over would be walked through alone at the end.
const worlds = "3"

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", worlds); err != nil { // before the flags are read: -parallel wins
		panic(err)
	}
	flag.Parse()
	if why := missing(); why != "" {
		fmt.Println("SKIPPED, no browser looks at the console:", why)
		if os.Getenv("CI") == "1" {
			fmt.Println("FAIL: on the build machine nothing of this may be missing")
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(binary.Run(m))
}

// missing says what is not here that a look takes.
func missing() string {
	switch {
	case !console.Built():
		return "the console was not built; make console does it"
	case chromium() == "":
		return "chromium is not installed; make setup does it"
	case node() == "":
		return "node is not installed; make console finds or fetches it"
	}
	if _, err := os.Stat(filepath.Join(web, "node_modules", "playwright-core")); err != nil {
		return "the libraries of console/web are not here; make console fetches them"
	}
	return ""
}

func chromium() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

func node() string {
	own, err := filepath.Abs("../../.moneta/node/node_modules/node/bin/node")
	if _, missing := os.Stat(own); err == nil && missing == nil {
		return own
	}
	path, _ := exec.LookPath("node")
	return path
}

// world is everything, running.
type world struct {
	t *testing.T

	Console  string            `json:"console"`
	Token    string            `json:"token"`
	API      string            `json:"api"`
	Banks    string            `json:"banks"`
	Tenant   string            `json:"tenant"`
	Admin    string            `json:"admin"`
	Data     string            `json:"data"`
	Moneta   string            `json:"moneta"`
	Channel  string            `json:"channel"`
	Accounts map[string]string `json:"accounts"`
	Payments map[string]string `json:"payments"`
	Chromium string            `json:"chromium"`
	Out      string            `json:"out"`
	Keep     bool              `json:"keep"`
	Update   string            `json:"update,omitempty"`
	Every    bool              `json:"every"`
	Only     string            `json:"only,omitempty"`
	// Up is the process that started everything.
	Up int `json:"up"`
	// Specs is the folder below e2e whose specs run; empty: those of e2e itself.
	Specs string `json:"specs,omitempty"`

	keys int
}

// The worlds go beside each other: what stalls is mostly waited for, while the looks take
// the processors.
func TestConsole(t *testing.T) {
	t.Parallel()
	watched(t, "", (*world).trade)
}

// result is what became of one test of a spec.
type result struct {
	Spec, Name, Error string
	OK                bool
	MS                int
}

// watched looks at the specs of a folder in a world of their own; each result is a
// subtest. A spec that fails is looked at once more, in a fresh world: a busy machine may
// stand still for longer than a person would wait. What fails twice fails.
func watched(t *testing.T, specs string, furnish func(*world)) {
	t.Helper()
	all := tried(t, "first", specs, os.Getenv("MONETA_E2E"), furnish)
	var failed []string
	for _, r := range all {
		if !r.OK {
			t.Logf("%s/%s failed at first: %s", r.Spec, r.Name, r.Error)
			failed = append(failed, regexp.QuoteMeta(r.Spec))
		}
	}
	if len(failed) > 0 {
		slices.Sort(failed)
		all = tried(t, "again", specs, "^("+strings.Join(slices.Compact(failed), "|")+`)(\.mjs)?$`, furnish)
	}
	for _, r := range all {
		t.Run(r.Spec+"/"+r.Name, func(t *testing.T) { require.True(t, r.OK, r.Error) })
	}
}

func tried(t *testing.T, name, specs, only string, furnish func(*world)) (all []result) {
	t.Helper()
	require.True(t, t.Run(name, func(t *testing.T) {
		w := start(t)
		furnish(w)
		w.Specs, w.Only = specs, only
		all = w.browse(t)
	}))
	return all
}

// browse runs the specs in a browser.
func (w *world) browse(t *testing.T) (all []result) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "world.json")
	raw, err := json.Marshal(w)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, raw, 0o600))

	ctx, cancel := context.WithTimeout(t.Context(), browserWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, node(), "e2e/run.mjs", file)
	cmd.Dir = web
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	var said bytes.Buffer
	cmd.Stderr = &said
	began := time.Now()
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r result
		require.NoError(t, json.Unmarshal(lines.Bytes(), &r), lines.Text())
		t.Logf("%s/%s: %d ms", r.Spec, r.Name, r.MS)
		all = append(all, r)
	}
	require.NoError(t, cmd.Wait(), said.String())
	require.NotEmpty(t, all, "no spec ran")
	t.Logf("%s%d results in %s", said.String(), len(all), time.Since(began).Round(time.Second))
	return all
}

// start starts everything in a fresh folder.
func start(t *testing.T) *world {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "moneta-e2e-") //nolint:usetesting // a disk that the database's user can reach
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	listen, banks := freePort(t), freePort(t)
	w := &world{
		t: t, Data: filepath.Join(dir, "data"), API: "http://" + listen, Banks: "http://" + banks, Moneta: binary.Moneta(), Channel: "bank-ab",
		Accounts: map[string]string{}, Payments: map[string]string{}, Chromium: chromium(),
	}
	w.Out, w.Keep = filepath.Join(dir, "pictures"), false
	if kept := os.Getenv("MONETA_E2E_OUT"); kept != "" {
		w.Out, w.Keep = kept, true
	}
	w.Every = w.Keep || *update || os.Getenv("MONETA_TORTURE") == "1"
	require.NoError(t, os.MkdirAll(w.Out, 0o755))
	if *update {
		w.Update, err = filepath.Abs("../../docs/screens")
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(w.Update, 0o755))
	}
	said, err := os.Create(filepath.Join(dir, "up.log"))
	require.NoError(t, err)
	up := exec.CommandContext(t.Context(), w.Moneta, "up", "--quiet", "--sandbox", "--data", w.Data, "--listen", listen, "--sandbox-listen", banks, "--console-listen", "127.0.0.1:0")
	up.Stdout, up.Stderr = said, said
	up.Cancel = func() error { return up.Process.Signal(syscall.SIGTERM) }
	up.WaitDelay = time.Minute
	require.NoError(t, up.Start())
	w.Up = up.Process.Pid
	t.Cleanup(func() {
		_ = up.Process.Signal(syscall.SIGTERM)
		_ = up.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(said.Name()) // what cannot be read says nothing
			t.Log(string(text))
		}
	})
	w.await(upWithin, "the API", func() error { return w.call(http.MethodGet, w.API+"/readyz", "", nil, nil) })
	var keys struct {
		Tenant string `json:"tenant_key"`
		Admin  string `json:"admin_key"`
	}
	w.read("keys.json", &keys)
	w.Tenant, w.Admin = keys.Tenant, keys.Admin
	w.await(upWithin, "the watch", func() error {
		var at struct{ URL, Token string }
		if raw, err := os.ReadFile(filepath.Join(w.Data, "watch.json")); err != nil || json.Unmarshal(raw, &at) != nil {
			return errors.New("no watch.json yet")
		}
		w.Console, w.Token = at.URL, at.Token
		return w.call(http.MethodGet, w.Console+"/healthz", "", nil, nil)
	})
	return w
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func (w *world) read(name string, into any) {
	w.t.Helper()
	raw, err := os.ReadFile(filepath.Join(w.Data, name))
	require.NoError(w.t, err)
	require.NoError(w.t, json.Unmarshal(raw, into))
}

func (w *world) await(within time.Duration, what string, ready func() error) {
	w.t.Helper()
	var last error
	require.Eventually(w.t, func() bool { last = ready(); return last == nil }, within, 50*time.Millisecond, "%s: %v", what, &last)
}

func (w *world) call(method, url, key string, body, into any) error {
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		w.keys++
		req.Header.Set("Authorization", "Bearer "+key)
		req.Header.Set("Idempotency-Key", "e2e-"+strconv.Itoa(w.keys))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, text)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(text, into)
}

// payment is what is read of one.
type payment struct {
	ID        string `json:"id"`
	Status    string `json:"status"`
	Reference string `json:"reference"`
}

func (w *world) make(path, key string, body map[string]any) payment {
	w.t.Helper()
	var p payment
	require.NoError(w.t, w.call(http.MethodPost, w.API+path, key, body, &p))
	return p
}

func (w *world) until(id, status string) {
	w.t.Helper()
	w.await(upWithin, id+" "+status, func() error {
		var p payment
		if err := w.call(http.MethodGet, w.API+"/v1/payments/"+id, w.Tenant, nil, &p); err != nil {
			return err
		}
		if p.Status != status {
			return errors.New("is " + p.Status)
		}
		return nil
	})
}

func (w *world) behave(bank string, how map[string]any) {
	w.t.Helper()
	require.NoError(w.t, w.call(http.MethodPatch, w.Banks+"/banks/"+bank+"/behaviour", "", how, nil))
}

// fund opens accounts, and puts money into one.
func (w *world) fund() {
	for name, key := range map[string]string{"house": w.Admin, "ann": w.Tenant, "bob": w.Tenant} {
		body := map[string]any{"asset": "CZK", "name": name}
		if name == "house" {
			body["kind"] = "house"
		}
		w.Accounts[name] = w.make("/v1/accounts", key, body).ID
	}
	w.Payments["sent"] = w.make("/v1/payments", w.Admin, map[string]any{
		"kind": "send", "from": w.Accounts["house"], "to": w.Accounts["ann"], "amount": "100000000", "asset": "CZK",
	}).ID
}

// trade makes one payment of each fate: bank AB is honest, CD slow, EF declines.
func (w *world) trade() {
	t := w.t
	t.Helper()
	w.behave("CD", map[string]any{"execute_delay": map[string]any{"probability": 1, "min_ms": 3_600_000, "max_ms": 3_600_000}})
	w.behave("EF", map[string]any{"decline": map[string]any{"probability": 1, "reason": "account_closed", "late": false}})
	w.fund()
	ann, bob := w.Accounts["ann"], w.Accounts["bob"]
	pay := func(key string, of map[string]any) payment {
		if of["kind"] != "refund" {
			of["asset"] = "CZK"
		}
		return w.make("/v1/payments", key, of)
	}
	payout := func(channel, amount string) payment {
		return pay(w.Tenant, map[string]any{"kind": "payout", "from": ann, "channel": channel, "payee": map[string]any{"account": "123456", "name": "Jan Novák"}, "amount": amount, "remittance": "invoice 7"})
	}
	w.Payments["processing"] = payout("bank-cd", "4821000").ID
	for range 5 {
		payout("bank-cd", "150000")
	}
	w.Payments["succeeded"] = payout("bank-ab", "70000").ID
	w.Payments["failed"] = payout("bank-ef", "12345").ID
	w.Payments["held"] = pay(w.Tenant, map[string]any{"kind": "hold", "from": ann, "to": bob, "amount": "250000"}).ID
	deposit := pay(w.Tenant, map[string]any{"kind": "deposit", "to": bob, "channel": "bank-ab", "amount": "88000"})
	w.await(upWithin, "the deposit's reference", func() error {
		if deposit.Reference != "" {
			return nil
		}
		return errors.Join(errors.New("none yet"), w.call(http.MethodGet, w.API+"/v1/payments/"+deposit.ID, w.Tenant, nil, &deposit))
	})
	require.NoError(t, w.call(http.MethodPost, w.Banks+"/banks/AB/instructions", "", map[string]string{
		"reference": deposit.Reference, "amount": "88000", "asset": "CZK", "remittance": "salary", "from_account": "998877",
	}, nil))
	w.Payments["deposited"] = deposit.ID
	w.until(deposit.ID, "succeeded")
	refund := pay(w.Tenant, map[string]any{"kind": "refund", "original": deposit.ID, "amount": "30000"})
	w.Payments["refunded"] = refund.ID
	for _, id := range []string{w.Payments["succeeded"], refund.ID} {
		w.until(id, "succeeded")
	}
	w.until(w.Payments["failed"], "failed")
	for id, name := range w.Payments {
		require.NotEmpty(t, strings.TrimSpace(name), id)
	}
}
