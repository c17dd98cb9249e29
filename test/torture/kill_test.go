package torture

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// killSeed names another order of victims.
const killSeed = "MONETA_KILL_SEED"

// A load goes on while a random part of the installation is killed with -9, again and
// again: serve, the postmaster, the banks. up starts it again. Nothing that a client
// was told may be lost or doubled.
func TestKillLoop(t *testing.T) {
	together(t)
	w := newWorld(t)
	figure(t, "up, from nothing to serving", "%.1f s", w.ready.Seconds())
	l := newLoad(t, w, "kill", 24, 16, 80*time.Millisecond) // 200 payments a second
	// One bank executes and does not say so; one repeats itself.
	weird := func() {
		w.behave("ab", `{"magic_amounts": false, "lose_reply": 0.2}`)
		w.behave("cd", `{"magic_amounts": false, "callback_duplicate": 1}`)
	}
	weird()
	l.run()
	l.awaitAcks(t, 100, time.Minute)
	postmaster := &victim{name: "the postmaster", kill: w.killPostgres, within: 30 * time.Second}
	backend := &victim{name: "a backend of Postgres", kill: w.killBackend, within: 30 * time.Second}
	victims := []*victim{
		postmaster, backend,
		{name: "serve", kill: w.killServe, within: 15 * time.Second},
		{name: "the banks", kill: func() { w.killBanks(); weird() }, within: 15 * time.Second},
	}
	seed, patient := seedOf(t, killSeed), &patience{}
	dice := rand.New(rand.NewPCG(seed, 0))
	for n := range choose(20, percent(1_000)) {
		v := victims[dice.IntN(len(victims))]
		if n < len(victims) { // each at least once
			v = victims[n]
		}
		if v == postmaster && !patient.spend() {
			v = backend
		}
		began := time.Now()
		v.kill()
		l.awaitAcks(t, 100, time.Minute)
		v.silences = append(v.silences, silence(l.snapshot(), began, time.Now()))
	}
	receipts := l.stop()
	for _, v := range victims {
		figure(t, "killed: "+v.name, "%d times (seed %d); clients' longest silence %s, one in a hundred %s, median %s", len(v.silences), seed,
			percentile(v.silences, 100).Round(time.Millisecond), percentile(v.silences, 99).Round(time.Millisecond), percentile(v.silences, 50).Round(time.Millisecond))
	}
	repeated := 0
	for i := range receipts {
		if receipts[i].tries > 1 {
			repeated++
		}
	}
	require.Positive(t, repeated, "no client was ever in doubt: the kills hit nothing")
	figure(t, "payments repeated with the same key", "%d of %d", repeated, len(receipts))
	proveStormy(t, w, l, receipts, "kills", 1_000)
	for _, v := range victims {
		require.LessOrEqual(t, percentile(v.silences, 99), v.within, v.name)
	}
}

// patience is up's with a postmaster that dies: after ten deaths without a minute of
// service between them it gives up, for a person to look. Who kills must not get there.
type patience struct {
	last   time.Time
	deaths int
}

func (p *patience) spend() bool {
	if time.Since(p.last) > 65*time.Second {
		p.deaths = 0
	}
	if p.deaths == 6 {
		return false
	}
	p.last, p.deaths = time.Now(), p.deaths+1
	return true
}

// victim is a part that is killed.
type victim struct {
	name     string
	kill     func()
	within   time.Duration // longest silence that clients may meet
	silences []time.Duration
}

// killBackend kills a process that serves somebody's session, so that Postgres drops
// all of them and recovers.
func (w *world) killBackend() {
	w.t.Helper()
	var all []int
	eventually(w.t, time.Minute, "Postgres has sessions", func() (bool, string) {
		all = nil
		for _, s := range processes() {
			if s.parent == w.postmaster() && strings.HasPrefix(s.args[0], "postgres: moneta ") {
				all = append(all, s.pid)
			}
		}
		return len(all) > 0, "none"
	})
	killPid(w.t, all[0])
	eventually(w.t, time.Minute, "all sessions have ended", func() (bool, string) {
		for _, pid := range all {
			if alive(pid) {
				return false, fmt.Sprint(pid)
			}
		}
		return true, ""
	})
}

// killBanks kills the sandbox and waits until another process has its place.
func (w *world) killBanks() {
	w.t.Helper()
	pid := childOf(w.up.pid, "sandbox")
	require.NotZero(w.t, pid)
	killPid(w.t, pid)
	eventually(w.t, time.Minute, "up starts the banks again", func() (bool, string) {
		now := childOf(w.up.pid, "sandbox")
		if now == 0 || now == pid {
			return false, "no new sandbox below up"
		}
		return answersOK(w.banks + "/healthz")
	})
	for _, bank := range bankCodes { // what they were told died with them
		w.behave(bank, `{"magic_amounts": false}`)
	}
}

// killServe kills the node that up runs and waits until another process has its
// place.
func (w *world) killServe() {
	w.t.Helper()
	var pid int
	eventually(w.t, time.Minute, "serve runs", func() (bool, string) { pid = w.servePid(); return pid != 0, "no serve below up" })
	killPid(w.t, pid)
	eventually(w.t, time.Minute, "up starts serve again", func() (bool, string) {
		now := w.servePid()
		return now != 0 && now != pid, "no new serve below up"
	})
}

func (w *world) killPostgres() {
	w.t.Helper()
	pid := w.postmaster()
	require.NotZero(w.t, pid)
	require.True(w.t, alive(pid))
	killPid(w.t, pid)
	eventually(w.t, time.Minute, "up starts Postgres again", func() (bool, string) {
		now := w.postmaster()
		return now != 0 && now != pid && alive(now), "no new postmaster"
	})
}
