package torture

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What is asked of an outage: an answer to a write comes within saysWithin, reads
// go on within readsWithin where the database can be read, and everything is back
// within backWithin of the cause's end, without anybody's hand and without a new
// serve.
const (
	saysWithin  = 12 * time.Second // one try's deadline at the edge is 10 s
	readsWithin = 2 * time.Second
	backWithin  = 30 * time.Second
)

// The database takes no writes, is full, frozen, or gone, while a load runs. The
// API answers all the time and says why it cannot do what it cannot do; afterwards
// nothing is lost and nothing doubled.
func TestOutage(t *testing.T) {
	together(t)
	dir := folder(t)
	disk := mountDisk(t, filepath.Join(dir, "pg"), "900m")
	w := newWorldIn(t, dir)
	o := &outage{world: w, client: http.Client{Timeout: saysWithin}}
	l := newLoad(t, w, "outage", 12, 8, 20*time.Millisecond)
	probe := newLoad(t, w, "probe", 2, 0, time.Second)
	o.from, o.to = probe.accounts[0], probe.accounts[1]
	l.run()
	l.awaitAcks(t, 100, time.Minute)
	for _, r := range l.snapshot() {
		if r.id != "" && r.Kind == "send" && slices.Contains(l.accounts, r.From) {
			o.known = r
		}
	}
	require.NotEmpty(t, o.known.id)
	o.serve = w.servePid()

	o.cause("read-only", func() func() {
		w.exec(`alter system set default_transaction_read_only = on`)
		w.exec(`select pg_reload_conf()`)
		return func() {
			w.exec(`alter system reset default_transaction_read_only`)
			w.exec(`select pg_reload_conf()`)
		}
	}, l, http.StatusLocked, "read-only", true)

	if disk {
		o.cause("disk nearly full", func() func() { return w.fillDisk(30 << 20) }, l, http.StatusLocked, "read-only", true)
		o.cause("disk full at once", func() func() { return w.fillDisk(0) }, l, http.StatusLocked, "read-only", true)
	}

	o.cause("database frozen", func() func() {
		all := w.freezePostgres()
		return func() { thaw(all) }
	}, l, http.StatusServiceUnavailable, "", false)

	o.cause("database gone", func() func() {
		w.up.signal(t, syscall.SIGSTOP) // so that nobody starts it again
		killPid(t, w.postmaster())
		return func() { w.up.signal(t, syscall.SIGCONT) }
	}, l, http.StatusServiceUnavailable, "", false)

	receipts := l.stop()
	require.Equal(t, o.serve, w.servePid(), "serve was started again: its edge was silent meanwhile")
	prove(t, w, l, receipts)
}

// outage is what a client asks while something is wrong.
type outage struct {
	*world
	client http.Client
	known  receipt // a payment from before
	serve  int     // its pid
	n      int
	from   string // accounts of its own
	to     string
}

// cause brings something about, asks until the API says what is wrong, ends it,
// and waits until payments are taken again.
func (o *outage) cause(name string, bring func() (end func()), l *load, wantStatus int, wantCode string, readable bool) {
	o.t.Helper()
	end := bring()
	ended := false
	defer func() {
		if !ended { // the world must be able to end
			end()
		}
	}()
	began := time.Now()
	told := eventually(o.t, 2*saysWithin, name+": a new payment is refused for the right reason", func() (bool, string) {
		status, code, moved := o.refusal()
		right := status == wantStatus && (wantCode == "" || code == wantCode) && (status == http.StatusLocked || moved != "moved")
		return right, fmt.Sprint(status, " ", code, " ", moved)
	})
	for time.Since(began) < 4*time.Second { // past the leader's two seconds without a heartbeat
		o.asks(name, readable)
		during(o.t.Context(), 200*time.Millisecond)
	}
	eventually(o.t, saysWithin, name+": readyz says why", func() (bool, string) {
		status, body := o.get("/readyz", "")
		return status == http.StatusServiceUnavailable && strings.Contains(body, wantCode), fmt.Sprint(status, body)
	})
	end()
	ended = true
	was := l.acks.Load()
	back := l.awaitAcks(o.t, 50, backWithin)
	require.Greater(o.t, l.acks.Load(), was)
	figure(o.t, name, "said so after %s; taken again %s after its end", told.Round(time.Millisecond), back.Round(time.Millisecond))
}

// asks reads, and pays with a known key, which only needs reading.
func (o *outage) asks(name string, readable bool) {
	o.t.Helper()
	began := time.Now()
	status, body := o.get("/v1/payments/"+o.known.id, o.keys.Tenant)
	took := time.Since(began)
	if !readable {
		require.NotZero(o.t, status, "%s: no answer at all: %s", name, body)
		require.Less(o.t, took, saysWithin)
		return
	}
	require.Equal(o.t, http.StatusOK, status, "%s: a read: %s", name, body)
	require.Less(o.t, took, readsWithin, name)
	raw, err := json.Marshal(o.known.order)
	require.NoError(o.t, err)
	// In the moment in which the leader stops, the answer is "not known yet; the same key
	// again", as to any order that stood in the same batch.
	eventually(o.t, saysWithin, name+": a known key is answered", func() (bool, string) {
		status, answer, err := o.post(string(raw), o.known.key)
		require.NoError(o.t, err)
		if status == http.StatusServiceUnavailable && strings.Contains(string(answer), "commit-unknown") {
			return false, string(answer)
		}
		require.Equal(o.t, http.StatusOK, status, "%s: a known key: %s", name, answer)
		return true, ""
	})
}

func (o *outage) get(path, key string) (int, string) {
	ctx, cancel := context.WithTimeout(context.Background(), saysWithin)
	defer cancel()
	status, raw, err := call(ctx, &o.client, http.MethodGet, o.api+path, key, "", "")
	if err != nil {
		return 0, err.Error()
	}
	return status, string(raw)
}

func (o *outage) post(body, key string) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), saysWithin)
	defer cancel()
	return call(ctx, &o.client, http.MethodPost, o.api+"/v1/payments", o.keys.Tenant, key, body)
}

// refusal orders a payment of its own and tells how it was refused. One that was
// taken before the trouble began is part of the ledger's proof like any other.
func (o *outage) refusal() (status int, code, moved string) {
	o.n++
	r := fmt.Sprintf("outage-probe-%d", o.n)
	raw, err := json.Marshal(order{Kind: "send", From: o.from, To: o.to, Amount: "1", Asset: asset, Remittance: r})
	if err != nil {
		return 0, err.Error(), ""
	}
	status, answer, err := o.post(string(raw), r)
	if err != nil {
		return 0, err.Error(), ""
	}
	var p struct {
		Code  string `json:"code"`
		Moved string `json:"money_state"`
	}
	_ = json.Unmarshal(answer, &p) // unreadable is no code
	return status, p.Code, p.Moved
}

func (w *world) exec(sql string) {
	w.t.Helper()
	eventually(w.t, time.Minute, sql, func() (bool, string) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if _, err := w.db.Exec(ctx, sql); err != nil {
			return false, err.Error()
		}
		return true, ""
	})
}

// mountDisk mounts a small disk that the test may fill. false means that this
// machine does not let it.
func mountDisk(t *testing.T, dir, size string) bool {
	t.Helper()
	require.NoError(t, os.Mkdir(dir, 0o755))
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=755,size="+size); err != nil {
		t.Logf("no disk is filled, because none can be mounted: %v", err)
		return false
	}
	t.Cleanup(func() {
		// Postgres's log collector reads to the end of its pipe before it goes.
		eventually(t, 20*time.Second, "the small disk is left", func() (bool, string) {
			err := syscall.Unmount(dir, 0)
			return err == nil, fmt.Sprint(err)
		})
	})
	return true
}

// fillDisk leaves so many bytes free and returns what makes room again.
func (w *world) fillDisk(leave int64) func() {
	w.t.Helper()
	var st syscall.Statfs_t
	require.NoError(w.t, syscall.Statfs(w.place, &st))
	name := filepath.Join(w.place, "filler")
	f, err := os.Create(name)
	require.NoError(w.t, err)
	const chunk = 1 << 16                                                                         // what writes meanwhile gets at most as much
	for left := int64(st.Bavail)*int64(st.Bsize) - leave; leave == 0 || left > 0; left -= chunk { //nolint:unconvert // the types differ by platform
		if _, err := f.Write(make([]byte, chunk)); err != nil {
			require.ErrorIs(w.t, err, syscall.ENOSPC)
			break
		}
	}
	require.NoError(w.t, f.Close())
	return func() { require.NoError(w.t, os.Remove(name)) }
}

// postgresPids are the postmaster and its processes.
func (w *world) postgresPids() (pids []int) {
	w.t.Helper()
	for _, s := range processes() {
		cwd, _ := os.Readlink("/proc/" + strconv.Itoa(s.pid) + "/cwd") // gone meanwhile is nowhere
		if cwd == filepath.Join(w.place, "data") {
			pids = append(pids, s.pid)
		}
	}
	require.NotEmpty(w.t, pids)
	return pids
}

// freezePostgres stops the postmaster and its backends.
func (w *world) freezePostgres() (pids []int) {
	w.t.Helper()
	for _, pid := range w.postgresPids() {
		if syscall.Kill(pid, syscall.SIGSTOP) == nil {
			pids = append(pids, pid)
		}
	}
	require.NotEmpty(w.t, pids)
	return pids
}

func thaw(pids []int) {
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGCONT) // one that is gone needs none
	}
}
