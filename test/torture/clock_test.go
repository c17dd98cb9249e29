package torture

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgserver"
)

// libfaketime makes one process believe in another time. `apt install libfaketime`
// has it; Go programs do not hear it, and ours must not.
const libfaketime = "/usr/lib/*/faketime/libfaketime.so.1"

// leaps are how clocks are set, in seconds.
var leaps = []time.Duration{
	time.Second, -time.Second, 5 * time.Minute, -5 * time.Minute, 2 * time.Hour, -2 * time.Hour, 72 * time.Hour, -72 * time.Hour,
}

const (
	// apartMost is up to where two clocks count as one; see docs/operators.md.
	apartMost = 5 * time.Second
	// trustedAgain is less than how long clocks that leapt together must agree until
	// they are believed.
	trustedAgain = 20 * time.Second
	// keeps is how long a hold stays that every leap but a second's goes beyond.
	keeps = 4 * time.Minute
)

// The database's clock leaps by all that clocks are set by, forwards and backwards.
// Sends, balances and receipts go on; what depends on the time waits, payouts among it,
// and says so; when the clocks agree again, everything ends by itself, no hold has
// expired before its end, and none is captured after it.
func TestDatabaseClockLeaps(t *testing.T) {
	together(t)
	c := newClocks(t, "")
	h := c.before("chain")
	for _, by := range leaps { // the small ones come first, so that nobody is alarmed by them
		c.leap(by, 0)
		c.during(h, by, 0)
	}
	c.back()
	c.after(h)
	var sent int
	c.query(&sent, `select count(*) from attempts`)
	require.Equal(t, len(leaps), sent, "the control: the same look sees what is sent when everybody knows the time")
	c.proven()
}

// Each of eight leaps of the database's clock meets each of eight of serve's, on two
// nodes, and goes back. serve is built from this tree with one line changed: it asks a
// file by how much its wall clock is wrong, and its monotonic clock stays right.
func TestClocksLeap(t *testing.T) {
	if !full {
		t.Skip("64 cells of 40 seconds each: MONETA_TORTURE=1")
	}
	path := leapingBinary(t)
	for _, database := range leaps {
		t.Run("database "+database.String(), func(t *testing.T) {
			t.Parallel()
			c := newClocks(t, path)
			c.second()
			began, epoch := time.Now(), c.epoch()
			for _, serve := range leaps {
				h := c.before(fmt.Sprintf("db %s serve %s", database, serve))
				c.leap(database, serve)
				c.during(h, database, serve)
				c.back()
				c.after(h)
			}
			c.proven()
			led := c.epoch() - epoch
			figure(t, "database "+database.String()+" × 8 leaps of serve", "%.0f s, %d other leaders, %d late captures refused", time.Since(began).Seconds(), led, c.refused)
			require.LessOrEqual(t, led, int64(2), "a leap of the clocks made another node lead")
		})
	}
}

// A guard that believes clocks apart must be found out: a hold ends days before its time.
func TestClocksLeapControl(t *testing.T) {
	if !full {
		t.Skip("it builds a binary of its own: MONETA_TORTURE=1")
	}
	c := newClocks(t, leapingBinary(t, planted{"internal/clock/guard.go", "DivergenceMax = 5 * time.Second", "DivergenceMax = 1000 * time.Hour"}))
	h := c.before("control")
	c.leap(0, 72*time.Hour)
	eventually(t, time.Minute, "the hold is taken for expired", func() (bool, string) {
		c.look(h)
		return len(c.found) > 0, "nothing found"
	})
	t.Logf("found: %s", c.found)
}

// clocks is a world whose clocks leap.
type clocks struct {
	*world
	l       *load // what is proven in the end
	shop    *load // accounts whose money is held
	o       *outage
	signers map[string]ed25519.PublicKey
	setDB   func(by string)
	hands   string // the file that serve's clock follows
	set     time.Time
	n       int
	// found is what went wrong; expired and refused count what went right.
	found            []string
	expired, refused int
	// receipts are of payments, from when each was first seen.
	receipts map[string]string
}

func newClocks(t *testing.T, path string) *clocks {
	t.Helper()
	libs, _ := filepath.Glob(libfaketime) // a constant pattern
	if len(libs) == 0 {
		t.Skip("libfaketime is not installed, so that no clock can be made to leap")
	}
	dir := folder(t)
	w := &world{t: t, dir: dir, place: filepath.Join(dir, "pg"), listen: freePorts(t, 2), binary: path}
	w.api, w.banks = "http://"+w.listen[0], "http://"+w.listen[1]
	c := &clocks{world: w, signers: map[string]ed25519.PublicKey{}, receipts: map[string]string{}, hands: filepath.Join(dir, "hands")}
	w.env = []string{"MONETA_TORTURE_CLOCK=" + c.hands}
	c.setDB = w.startLeapingPostgres(libs[0])
	w.extra = []string{"--dsn", fmt.Sprintf("host=%s user=moneta dbname=postgres sslmode=disable", dir)}
	w.start()
	w.readKeys()
	var err error
	w.db, err = pgxpool.New(t.Context(), w.extra[1])
	require.NoError(t, err)
	t.Cleanup(w.db.Close)
	for _, bank := range bankCodes {
		w.behave(bank, `{"magic_amounts": false}`)
	}
	c.l, c.shop = newLoad(t, w, "clock", 6, 0, time.Second), newLoad(t, w, "shop", 2, 0, time.Second)
	c.o = &outage{world: w, from: c.l.accounts[0], to: c.l.accounts[1]}
	c.readReceiptKeys()
	return c
}

// second starts another node; its clock leaps with the first one's, so that whoever
// leads has a wrong one.
func (c *clocks) second() {
	c.t.Helper()
	listen := freePorts(c.t, 1)[0]
	startThe(c.t, c.binary, c.dir, "second", append(c.env, "MONETA_DSN="+c.extra[1], "MONETA_SANDBOX_SECRET="+c.keys.Secret),
		"serve", "--listen", listen, "--node-url", "http://"+listen, "--sandbox-url", c.banks)
	c.awaitReady("http://" + listen)
}

// held is what was set aside before a leap.
type held struct {
	name        string
	short, keep string    // holds
	ends, until time.Time // theirs, by the true clock
	tried       bool      // short's capture, after its end
}

// before sets money aside, which is done only while the clocks are believed.
func (c *clocks) before(name string) *held {
	c.t.Helper()
	h := &held{name: name}
	h.keep, h.until = c.hold(keeps)
	h.short, h.ends = c.hold(8 * time.Second)
	c.send(name + ", before")
	return h
}

// hold sets money aside for so long from now.
func (c *clocks) hold(lasts time.Duration) (id string, ends time.Time) {
	c.t.Helper()
	eventually(c.t, 2*time.Minute, "a hold is taken", func() (bool, string) {
		c.n++
		ends = time.Now().Add(lasts)
		o := order{
			Kind: "hold", From: c.shop.accounts[0], To: c.shop.accounts[1], Amount: "500", Asset: asset,
			Remittance: fmt.Sprintf("hold-%d", c.n), ExpiresAt: ends.UTC().Format(time.RFC3339Nano),
		}
		body, err := json.Marshal(o)
		require.NoError(c.t, err)
		status, answer := c.post("/v1/payments", o.Remittance, string(body))
		var p payment
		if status == http.StatusCreated {
			require.NoError(c.t, json.Unmarshal([]byte(answer), &p))
			id = p.ID
		}
		return id != "", answer
	})
	return id, ends
}

// post asks once.
func (c *clocks) post(path, key, body string) (int, string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	status, answer, err := call(ctx, http.DefaultClient, http.MethodPost, c.api+path, c.keys.Tenant, key, body)
	require.NoError(c.t, err)
	return status, string(answer)
}

// send moves money, whatever the time, and keeps the payment's receipt.
func (c *clocks) send(name string) {
	c.t.Helper()
	paid := c.order1(c.l, name, order{Kind: "send", From: c.l.accounts[0], To: c.l.accounts[1]})
	require.NoError(c.t, paid.err, "a send does not depend on the time")
	c.verify(paid.id)
}

// leap sets both clocks.
func (c *clocks) leap(database, serve time.Duration) {
	c.t.Helper()
	c.setDB(fmt.Sprintf("%+d", int(database.Seconds())))
	whole := []byte(fmt.Sprintf("%d\n", int(serve.Seconds())))
	require.NoError(c.t, os.WriteFile(c.hands+".new", whole, 0o600))
	require.NoError(c.t, os.Rename(c.hands+".new", c.hands))
	c.set = time.Now()
}

func (c *clocks) back() {
	c.t.Helper()
	c.leap(0, 0)
}

// during asks what must go on and what must wait while the clocks are wrong.
func (c *clocks) during(h *held, database, serve time.Duration) {
	c.t.Helper()
	name := fmt.Sprintf("db %s serve %s", database, serve)
	apart := (database - serve).Abs() > apartMost
	unsound := apart || serve.Abs() > apartMost
	if unsound {
		eventually(c.t, 30*time.Second, name+": readyz tells of the clocks", func() (bool, string) {
			status, body := c.o.get("/readyz", "")
			return status == http.StatusOK && strings.Contains(body, "clocks disagree"), body
		})
	}
	var before, after int
	c.query(&before, `select count(*) from attempts`)
	c.look(h)
	c.send(name)
	waits := c.order1(c.l, name+" out", order{Kind: "payout", From: c.l.accounts[0], Channel: "bank-ab", Payee: &payee{"123456"}})
	require.NoError(c.t, waits.err, "a payout is taken, and waits")
	c.read("/v1/accounts/" + c.l.accounts[0] + "/balances")
	if unsound {
		for time.Now().Before(h.ends.Add(2 * time.Second)) {
			c.look(h)
			during(c.t.Context(), 100*time.Millisecond)
		}
	}
	c.captureLate(h)
	for id := range c.receipts {
		c.verify(id)
	}
	c.query(&after, `select count(*) from attempts`)
	if waited := apart || unsound && time.Since(c.set) < trustedAgain; waited && before != after {
		c.found = append(c.found, name+": a payout was sent although nobody knew the time")
	}
	c.judge()
}

// captureLate takes a hold's money after its end by the true clock, which no wrong one
// may allow.
func (c *clocks) captureLate(h *held) {
	c.t.Helper()
	if h.tried || time.Now().Before(h.ends.Add(2*time.Second)) {
		return
	}
	h.tried = true
	status, answer := c.post("/v1/payments/"+h.short+"/capture", "late-"+h.short, `{"amount":"500"}`)
	if status < 300 {
		c.found = append(c.found, h.name+": a hold was captured after its end: "+answer)
		return
	}
	c.refused++
}

// look sees whether a hold ended before its time; a second either way is within what
// clocks may differ by.
func (c *clocks) look(h *held) {
	c.t.Helper()
	for id, ends := range map[string]time.Time{h.short: h.ends, h.keep: h.until} {
		if state := c.state(id); state != "reserved" && time.Now().Before(ends.Add(-2*time.Second)) {
			c.found = append(c.found, fmt.Sprintf("%s: a hold is %s, %s before its end", h.name, state, time.Until(ends).Round(time.Second)))
		}
	}
}

func (c *clocks) state(id string) string {
	c.t.Helper()
	var p payment
	require.NoError(c.t, json.Unmarshal([]byte(c.read("/v1/payments/"+id)), &p))
	return p.State
}

// read asks until it is answered: a Postgres whose clock is set takes a transaction for
// one that has been idle for long, and the API says that the same may be asked again.
func (c *clocks) read(path string) (body string) {
	c.t.Helper()
	eventually(c.t, 30*time.Second, "read "+path, func() (bool, string) {
		var status int
		status, body = c.o.get(path, c.keys.Tenant)
		return status == http.StatusOK, body
	})
	return body
}

// after waits until everything that waited has ended, once the clocks are right.
func (c *clocks) after(h *held) {
	c.t.Helper()
	took := eventually(c.t, 3*time.Minute, h.name+": the short hold has expired", func() (bool, string) {
		state := c.state(h.short)
		return state == "expired", state
	})
	c.captureLate(h)
	c.expired++
	var status int
	var answer string
	eventually(c.t, time.Minute, h.name+": the other hold is captured", func() (bool, string) {
		status, answer = c.post("/v1/payments/"+h.keep+"/capture", "all-"+h.keep, `{"amount":"500"}`)
		return status < http.StatusInternalServerError, answer
	})
	switch late := time.Now().After(h.until.Add(-2 * time.Second)); {
	case status == http.StatusCreated || status == http.StatusOK:
	case late: // the machine was that slow
		c.t.Logf("%s: the capture came after the hold's end: %d %s", h.name, status, answer)
		c.expired++
	default:
		c.found = append(c.found, fmt.Sprintf("%s: a hold is lost: %d %s", h.name, status, answer))
	}
	eventually(c.t, 2*time.Minute, h.name+": every payout has ended", func() (bool, string) {
		var open int
		c.query(&open, `select count(*) from open_payments`)
		return open == 0, fmt.Sprintf("%d open", open)
	})
	for id := range c.receipts {
		c.verify(id)
	}
	figure(c.t, h.name+": the short hold expired after", "%.1f s", took.Seconds())
	c.judge()
}

func (c *clocks) judge() {
	c.t.Helper()
	require.Empty(c.t, c.found)
}

// proven counts everything. Holds that expired are no failures.
func (c *clocks) proven() {
	c.t.Helper()
	receipts := c.l.stop()
	c.settle(choose(90*time.Second, 5*time.Minute))
	v := count(c.t, c.world, c.l, receipts)
	v.Failed -= c.expired
	require.Empty(c.t, v.faults(), "%+v", v)
	require.Equal(c.t, "0", c.heldNow(), "money is still set aside")
	var cases int
	c.query(&cases, `select count(*) from cases`)
	figure(c.t, "cases opened for people", "%d", cases)
	figure(c.t, "acknowledged (payouts)", "%d (%d): 0 lost, 0 doubled, %d receipts verified", v.Acknowledged, v.Payouts, len(c.receipts))
}

func (c *clocks) heldNow() string {
	c.t.Helper()
	var b struct{ Held string }
	require.NoError(c.t, json.Unmarshal([]byte(c.read("/v1/accounts/"+c.shop.accounts[0]+"/balances")), &b))
	return b.Held
}

func (c *clocks) readReceiptKeys() {
	c.t.Helper()
	var set struct{ Keys []struct{ Kid, X string } }
	eventually(c.t, time.Minute, "the keys of receipts are told", func() (bool, string) {
		status, body := c.o.get("/v1/receipt-keys", "")
		return status == http.StatusOK && json.Unmarshal([]byte(body), &set) == nil && len(set.Keys) > 0, body
	})
	for _, k := range set.Keys {
		public, err := base64.RawURLEncoding.DecodeString(k.X)
		require.NoError(c.t, err)
		c.signers[k.Kid] = public
	}
}

// verify reads a payment's receipt, as it does with anybody's tools: the keys of the
// beginning have signed it, and it says what it always said.
func (c *clocks) verify(id string) {
	c.t.Helper()
	token := strings.TrimSpace(c.read("/v1/payments/" + id + "/receipt?format=jws"))
	if !c.genuine(token) {
		c.found = append(c.found, id+": its receipt does not verify: "+token)
	}
	changed := []byte(token)
	changed[strings.IndexByte(token, '.')+20] ^= 1
	require.False(c.t, c.genuine(string(changed)), "the control: a receipt with another letter verifies")
	if was, known := c.receipts[id]; known && was != token {
		c.found = append(c.found, id+": its receipt says something else than before")
	}
	c.receipts[id] = token
}

func (c *clocks) genuine(token string) bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	var head struct{ Alg, Kid string }
	raw, _ := base64.RawURLEncoding.DecodeString(parts[0])
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if json.Unmarshal(raw, &head) != nil || err != nil || head.Alg != "EdDSA" || c.signers[head.Kid] == nil {
		return false
	}
	return ed25519.Verify(c.signers[head.Kid], []byte(parts[0]+"."+parts[1]), signature)
}

// planted is a line of the tree that a binary has in another way.
type planted struct{ file, was, is string }

// leapingBinary builds moneta from this tree with a clock that follows a file, and with
// mistakes.
func leapingBinary(t *testing.T, mistakes ...planted) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	dir := t.TempDir()
	replace := map[string]string{}
	put := func(file string, content []byte) {
		replace[filepath.Join(root, file)] = filepath.Join(dir, filepath.Base(file))
		require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.Base(file)), content, 0o600))
	}
	leap, err := os.ReadFile("testdata/leap.go.txt")
	require.NoError(t, err)
	put("internal/clock/leap.go", leap)
	for _, m := range append(mistakes, planted{"internal/clock/clock.go", "{ return time.Now() }", "{ return leapt(time.Now()) }"}) {
		source, err := os.ReadFile(filepath.Join(root, m.file))
		require.NoError(t, err)
		require.Equal(t, 1, strings.Count(string(source), m.was), m.file)
		put(m.file, []byte(strings.Replace(string(source), m.was, m.is, 1)))
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600))
	path := filepath.Join(dir, "moneta")
	cmd := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", path, "./cmd/moneta")
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return path
}

// order1 orders once, and keeps the receipt for the proof.
func (w *world) order1(l *load, name string, o order) receipt {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := &client{http: newHTTP(1), nodes: []string{w.api}, key: w.keys.Tenant, attempt: attemptWithin}
	o.Asset, o.Amount, o.Remittance = asset, "700", "clock-"+strings.NewReplacer(" ", "-", ",", "").Replace(name)
	return l.order(ctx, c, o, o.Remittance)
}

// startLeapingPostgres runs a server whose clock the function returned moves.
func (w *world) startLeapingPostgres(lib string) (leap func(by string)) {
	w.t.Helper()
	bin, err := pgserver.FindBinaries(w.t.Context(), "", 0)
	require.NoError(w.t, err)
	clock := filepath.Join(w.dir, "clock")
	leap = func(by string) { require.NoError(w.t, os.WriteFile(clock, []byte(by+"\n"), 0o644)) }
	leap("+0")
	data := filepath.Join(w.place, "data")
	as := func(script string) *exec.Cmd {
		cmd := exec.Command("sh", "-c", script)
		if os.Getuid() == 0 {
			require.NoError(w.t, os.Chmod(w.dir, 0o777))
			cmd = exec.Command("su", "postgres", "-s", "/bin/sh", "-c", script)
		}
		return cmd
	}
	out, err := as(fmt.Sprintf("mkdir -p %s && %s/initdb -D %s -U moneta --auth=trust", w.place, bin.Dir, data)).CombinedOutput()
	require.NoError(w.t, err, "%s", out)
	start := fmt.Sprintf("LD_PRELOAD=%s FAKETIME_TIMESTAMP_FILE=%s FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1 "+
		"%s/pg_ctl -D %s -w -l %s/server.log -o \"-k %s -c listen_addresses=''\" start", lib, clock, bin.Dir, data, w.place, w.dir)
	out, err = as(start).CombinedOutput()
	require.NoError(w.t, err, "%s", out)
	w.t.Cleanup(func() {
		out, err := as(fmt.Sprintf("%s/pg_ctl -D %s -m fast -w stop", bin.Dir, data)).CombinedOutput()
		require.NoError(w.t, err, "%s", out)
	})
	return leap
}
