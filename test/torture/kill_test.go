package torture

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A load goes on while serve and, in turn, the postmaster are killed with -9, and
// up starts them again. Nothing that a client was told may be lost or doubled.
func TestKillLoop(t *testing.T) {
	together(t)
	w := newWorld(t)
	figure(t, "up, from nothing to serving", "%.1f s", w.ready.Seconds())
	l := newLoad(t, w, "kill", 24, choose(16, 32), choose(40*time.Millisecond, 60*time.Millisecond))
	// One bank executes and does not say so; one repeats itself.
	w.behave("ab", `{"magic_amounts": false, "lose_reply": 0.2}`)
	w.behave("cd", `{"magic_amounts": false, "callback_duplicate": 1}`)
	l.run()
	l.awaitAcks(t, 100, time.Minute)
	var gaps [2][]time.Duration
	for kill := range choose(4, 20) {
		began := time.Now()
		if kill%2 == 0 {
			w.killServe()
		} else {
			w.killPostgres()
		}
		l.awaitAcks(t, choose[int64](100, 300), time.Minute)
		gaps[kill%2] = append(gaps[kill%2], silence(l.snapshot(), began, time.Now()))
	}
	receipts := l.stop()
	figure(t, "longest silence, serve killed", "%s of %s", percentile(gaps[0], 100).Round(time.Millisecond), gaps[0])
	figure(t, "longest silence, Postgres killed", "%s of %s", percentile(gaps[1], 100).Round(time.Millisecond), gaps[1])
	repeated := 0
	for i := range receipts {
		if receipts[i].tries > 1 {
			repeated++
		}
	}
	require.Positive(t, repeated, "no client was ever in doubt: the kills hit nothing")
	figure(t, "payments repeated with the same key", "%d of %d", repeated, len(receipts))
	prove(t, w, l, receipts)
	require.LessOrEqual(t, percentile(gaps[0], 100), 15*time.Second)
	require.LessOrEqual(t, percentile(gaps[1], 100), 30*time.Second)
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
