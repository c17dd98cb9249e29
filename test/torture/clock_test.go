package torture

import (
	"context"
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

// The database's clock leaps three days ahead and three days back. Sends and
// balances go on; what depends on the time waits, payouts among it, and says so;
// when the clocks agree again, everything ends by itself.
func TestDatabaseClockLeaps(t *testing.T) {
	together(t)
	libs, _ := filepath.Glob(libfaketime) // a constant pattern
	if len(libs) == 0 {
		t.Skip("libfaketime is not installed, so that no clock can be made to leap")
	}
	dir := folder(t)
	w := &world{t: t, dir: dir, place: filepath.Join(dir, "pg"), listen: freePorts(t, 2)}
	w.api, w.banks = "http://"+w.listen[0], "http://"+w.listen[1]
	leap := w.startLeapingPostgres(libs[0])
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
	l := newLoad(t, w, "clock", 6, 0, time.Second)
	leaps := choose([]string{"+3d", "-3d"}, []string{"+3d", "-3d", "+2h", "-2h", "+5m", "-5m"})
	for _, by := range leaps {
		leap(by)
		name := strings.NewReplacer("+", "ahead", "-", "back").Replace(by)
		o := &outage{world: w, from: l.accounts[0], to: l.accounts[1]}
		eventually(t, 15*time.Second, by+": readyz tells of the clocks", func() (bool, string) {
			status, body := o.get("/readyz", "")
			return status == http.StatusOK && strings.Contains(body, "clocks disagree"), body
		})
		paid := w.order1(l, name, order{Kind: "send", From: l.accounts[0], To: l.accounts[1]})
		require.NoError(t, paid.err, "a send does not depend on the time")
		waits := w.order1(l, name+"-out", order{Kind: "payout", From: l.accounts[0], Channel: "bank-ab", Payee: &payee{"123456"}})
		require.NoError(t, waits.err, "a payout is taken, and waits")
		status, body := o.get("/v1/accounts/"+l.accounts[0]+"/balances", w.keys.Tenant)
		require.Equal(t, http.StatusOK, status, body)
	}
	var sent int
	w.query(&sent, `select count(*) from attempts`)
	require.Zero(t, sent, "a payout was sent although nobody knew the time")
	leap("+0")
	took := eventually(t, 2*time.Minute, "every payout has ended", func() (bool, string) {
		var open int
		w.query(&open, `select count(*) from open_payments`)
		return open == 0, fmt.Sprintf("%d open", open)
	})
	figure(t, "database clock ± 3 days: all final after its return", "%.1f s", took.Seconds())
	w.query(&sent, `select count(*) from attempts`)
	require.Equal(t, len(leaps), sent, "the control: the same look sees what is sent when everybody knows the time")
	prove(t, w, l, l.stop())
}

// order1 orders once, and keeps the receipt for the proof.
func (w *world) order1(l *load, name string, o order) receipt {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := &client{http: newHTTP(1), nodes: []string{w.api}, key: w.keys.Tenant, attempt: attemptWithin}
	o.Asset, o.Amount, o.Remittance = asset, "700", "clock-"+name
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
