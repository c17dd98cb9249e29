package torture

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A disk that flushes slowly: payments take longer and no more, whoever cannot be
// served is told to come later, and nothing is lost.
func TestSlowFsync(t *testing.T) {
	together(t)
	w := newWorld(t)
	l := newLoad(t, w, "slow-disk", 16, choose(16, 64), 20*time.Millisecond)
	l.run()
	l.awaitAcks(t, 100, time.Minute)
	phase := choose(3*time.Second, 20*time.Second)
	usual, epoch := l.pace(t, phase), w.epoch()
	figure(t, "fsync as it is", "%s", usual)
	for round := range choose(1, 5) {
		for _, delay := range []time.Duration{50 * time.Millisecond, 500 * time.Millisecond} {
			stop := w.inject(fmt.Sprintf("fdatasync,fsync:delay_enter=%d", delay.Microseconds()))
			slow := l.pace(t, max(phase, 12*delay))
			stop()
			figure(t, fmt.Sprintf("fsync delayed by %s", delay), "%s (round %d)", slow, round)
			require.Greater(t, slow.p50, delay, "the delay was not felt: nothing was delayed")
			require.Positive(t, slow.acks, "payments stopped")
			require.Less(t, slow.longest, saysWithin, "a client waited longer than the edge may let one wait")
		}
	}
	back := l.awaitAcks(t, int64(max(usual.acks/2, 1)), backWithin)
	figure(t, "fsync as before", "half of the usual payments after %s", back.Round(time.Millisecond))
	require.Equal(t, epoch, w.epoch(), "the leader lost the shard, although its database worked")
	receipts := l.stop()
	for what, n := range l.answers { // nobody adds to it any more
		require.NotRegexp(t, ` 50[02]$`, what, "%d times", n)
	}
	prove(t, w, l, receipts)
}

// pace is how a load fares for a while.
type pace struct {
	acks              int
	perSecond         int
	p50, p99, longest time.Duration
}

func (p pace) String() string {
	return fmt.Sprintf("%d payments a second; p50 %s, p99 %s, longest %s", p.perSecond, p.p50.Round(time.Millisecond),
		p.p99.Round(time.Millisecond), p.longest.Round(time.Millisecond))
}

// pace measures the payments that begin in a while, to their answers.
func (l *load) pace(t *testing.T, d time.Duration) pace {
	t.Helper()
	from := time.Now()
	during(t.Context(), d)
	to := time.Now()
	// Whoever began late may still wait: the next answers tell.
	l.awaitAcks(t, int64(2*l.clients), time.Minute)
	var took []time.Duration
	for _, r := range l.snapshot() {
		if r.id != "" && !r.began.Before(from) && r.began.Before(to) {
			took = append(took, r.took)
		}
	}
	return pace{len(took), int(float64(len(took)) / d.Seconds()), percentile(took, 50), percentile(took, 99), percentile(took, 100)}
}

// A disk that fails: the Nth flush of every process of the database answers an input
// or output error. Postgres must not believe that what it could not flush is there:
// it falls, recovers from its log, and everything acknowledged is in it, once.
func TestFailingFsync(t *testing.T) {
	together(t)
	w := newWorld(t)
	l := newLoad(t, w, "bad-disk", 16, 12, 20*time.Millisecond)
	l.run()
	l.awaitAcks(t, 100, time.Minute)
	nth := choose([]int{1, 7, 40}, []int{1, 2, 3, 5, 7, 11, 17, 25, 40, 60, 90, 140, 200, 300})
	for _, n := range nth {
		w.failFlush(l, "fdatasync:error=EIO:when="+strconv.Itoa(n), nil)
	}
	// The flush of data files at a checkpoint, not of the log.
	for _, code := range choose([]string{"EIO"}, []string{"EIO", "ENOSPC", "EIO"}) {
		w.failFlush(l, "fsync:error="+code+":when=1", func() { _, _ = w.db.Exec(t.Context(), "checkpoint") }) // it fails
	}
	receipts := l.stop()
	prove(t, w, l, receipts)

	// The control: a disk that lies about its last flush, so that an acknowledged
	// payment is gone after the fall.
	lost := w.loseNewest(receipts)
	v := count(t, w, l, receipts)
	require.Positive(t, v.Lost, "%s is gone and nobody saw it: %+v", lost, v)
	require.Positive(t, v.WrongBalances, "%+v", v)
	figure(t, "fsync, control: an acknowledged payment that was lost", "seen")
}

// failFlush makes flushes fail until Postgres has fallen over it, and waits until
// payments are taken again.
func (w *world) failFlush(l *load, inject string, provoke func()) {
	w.t.Helper()
	before := w.panics()
	began := time.Now()
	stop := w.inject(inject)
	if provoke != nil {
		provoke()
	}
	fell := eventually(w.t, 30*time.Second, inject+": Postgres falls", func() (bool, string) {
		return w.panics() > before, "it does not"
	})
	stop()
	l.awaitAcks(w.t, 100, time.Minute)
	gap := silence(l.snapshot(), began, time.Now())
	figure(w.t, "fsync fails ("+inject+")", "Postgres falls after %s; clients' longest silence %s", fell.Round(time.Millisecond), gap.Round(time.Millisecond))
	require.Less(w.t, gap, backWithin)
}

// panics counts how often Postgres said that it fell over a flush.
func (w *world) panics() (n int) {
	w.t.Helper()
	logs, err := filepath.Glob(filepath.Join(w.place, "log", "*.log"))
	require.NoError(w.t, err)
	require.NotEmpty(w.t, logs, "Postgres writes no log")
	for _, name := range logs {
		raw, err := os.ReadFile(name)
		require.NoError(w.t, err)
		n += strings.Count(string(raw), "PANIC:  could not f")
	}
	return n
}

// inject makes system calls of every process of the database slow or wrong, as
// strace writes it, until the function returned is called.
func (w *world) inject(what string) (stop func()) {
	w.t.Helper()
	path, err := exec.LookPath("strace")
	if err != nil {
		w.t.Skip("NOT RUN: strace is not installed, so that no flush of the disk is slow or fails")
	}
	calls, _, _ := strings.Cut(what, ":")
	said := filepath.Join(w.dir, "strace.out")
	args := []string{"-f", "-qq", "-o", "/dev/null", "-e", "trace=" + calls, "-e", "inject=" + what}
	pids := w.postgresPids()
	for _, pid := range pids {
		args = append(args, "-p", strconv.Itoa(pid))
	}
	log, err := os.Create(said)
	require.NoError(w.t, err)
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(w.t, cmd.Start())
	gone := make(chan struct{})
	go func() { _ = cmd.Wait(); close(gone) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		_ = cmd.Process.Signal(syscall.SIGINT) // it lets go of whom it holds
		select {
		case <-gone:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			<-gone
		}
		_ = log.Close()
	}
	w.t.Cleanup(stop)
	refused := false
	eventually(w.t, 20*time.Second, "strace holds the database's processes", func() (bool, string) {
		select {
		case <-gone:
			refused = true
			return true, ""
		default:
		}
		for _, pid := range pids {
			if alive(pid) && tracer(pid) != cmd.Process.Pid {
				return false, fmt.Sprintf("not %d: %s", pid, tail(said))
			}
		}
		return true, ""
	})
	if refused && strings.Contains(tail(said), "not permitted") {
		w.t.Skipf("NOT RUN: this machine does not let strace look into processes, so that no flush of the disk is slow or fails: %s", tail(said))
	}
	require.False(w.t, refused, "strace ended: %s", tail(said))
	return stop
}

// tracer is the process that holds another one, 0 if none.
func tracer(pid int) int {
	raw, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status") // gone is held by nobody
	_, rest, _ := strings.Cut(string(raw), "TracerPid:")
	line, _, _ := strings.Cut(rest, "\n")
	n, _ := strconv.Atoi(strings.TrimSpace(line))
	return n
}

// loseNewest takes the newest acknowledged send out of every table, as if it had
// never been flushed, and returns its key.
func (w *world) loseNewest(receipts []receipt) string {
	w.t.Helper()
	sends := slices.DeleteFunc(slices.Clone(receipts), func(r receipt) bool { return r.id == "" || r.Kind != "send" })
	slices.SortFunc(sends, func(x, y receipt) int { return y.began.Compare(x.began) })
	var lost receipt
	var id int64
	for _, r := range sends {
		// Who began last is not always who was committed last: a later movement of both
		// accounts would carry the lost one in its balances.
		var last bool
		w.query(&last, `select exists (select from transfers t join payments p on p.id = t.payment where p.remittance = $1
			and not exists (select from transfers n where n.id > t.id and (n.debit = t.debit or n.credit = t.debit)))`, r.Remittance)
		if last {
			lost = r
			break
		}
	}
	require.NotEmpty(w.t, lost.id)
	w.query(&id, `select id from payments where remittance = $1`, lost.Remittance)
	for _, sql := range []string{
		`delete from keys where subject = $1 and kind = 1`, `delete from transfers where payment = $1`,
		`delete from transitions where payment = $1`, `delete from payments where id = $1`,
	} {
		tag, err := w.db.Exec(w.t.Context(), sql, id)
		require.NoError(w.t, err)
		require.Positive(w.t, tag.RowsAffected(), sql)
	}
	return lost.key
}
