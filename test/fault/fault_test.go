// Package fault crashes the pay plane at every step of every flow. A whole plane
// runs in the test's own process, between proxies of its own before a real Postgres
// and before the banks' real server; they count its side effects in one sequence, and
// at the nth it crashes before or after, loses the reply, or meets an error. N counts
// up until a run passes undamaged. After each restart, and in the end, the raw rows,
// the clients' receipts and the bank's own books are counted. It refuses to let a dead
// process reach anybody, to count what happens only because time passes, and to run
// without controls that prove that it would have seen a loss or a double.
//
// `go test` takes about six steps of each flow; MONETA_TORTURE=1 takes all of them,
// with real takeovers, and pairs of damages.
package fault

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.VerifyTestMain(m) }

// full says whether the whole torture was asked for.
var full = os.Getenv("MONETA_TORTURE") == "1"

const (
	// lanes are how many flows are tortured at once: they mostly wait.
	lanes = 7
	// most bounds the steps of one flow: more means that it never passes.
	most = 120
)

// figures are what one flow went through.
type figures struct {
	steps, runs, damaged, restarts int
	last                           int // how much of the last run was damaged
	took                           time.Duration
	problems                       []string
}

// TestCrashAtEveryStep tortures each flow with each damage.
func TestCrashAtEveryStep(t *testing.T) {
	t.Parallel()
	worlds := make([]*world, len(flows))
	all := make([]figures, len(flows))
	var lane sync.WaitGroup
	turn := make(chan struct{}, lanes)
	for i, f := range slices.Backward(flows) { // the longest are among the last
		var err error
		worlds[i], err = newWorld(t, f.caps())
		require.NoError(t, err, f.name)
		lane.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			g := torture(worlds[i], f)
			t.Logf("%-20s %3d steps, %4d runs, %4d damaged, %4d restarts, %s", f.name, g.steps, g.runs, g.damaged, g.restarts, g.took.Round(time.Millisecond))
			if len(g.problems) > 0 {
				t.Logf("%s:\n%s", f.name, strings.Join(g.problems, "\n"))
			}
			all[i] = g
		})
	}
	lane.Wait()
	var sum figures
	for _, g := range all {
		sum.runs, sum.damaged, sum.restarts = sum.runs+g.runs, sum.damaged+g.damaged, sum.restarts+g.restarts
	}
	t.Logf("%d flows: %d runs, %d damaged, %d restarts", len(flows), sum.runs, sum.damaged, sum.restarts)
	for i, f := range flows {
		g := all[i]
		require.Empty(t, g.problems, "%s:\n%s", f.name, strings.Join(g.problems, "\n"))
		require.GreaterOrEqual(t, g.steps, f.fewest, "%s has fewer side effects than it must: the proxies count too little", f.name)
		require.GreaterOrEqual(t, g.damaged, len(damages), "%s was hardly damaged", f.name)
		require.NotZero(t, g.restarts, "%s: nothing crashed", f.name)
	}
}

// caps are what a flow needs of its rail.
func (f *flow) caps() func(*world) {
	return func(w *world) {
		if f.name == "resend" { // its not-found proves nothing, or nothing would be sent again
			w.caps.NotFoundMeansNever = false
		}
	}
}

// torture runs one flow undamaged, and then damaged at each step in each way.
func torture(w *world, f flow) (g figures) {
	began := time.Now()
	defer func() { g.took, g.restarts = time.Since(began), w.restarts }()
	if !g.once(w, f, "undamaged") {
		return g
	}
	if shown, err := w.shows(f); err != nil || !shown {
		g.problems = append(g.problems, fmt.Sprintf("%s: an undamaged run does not show %s: %v", f.name, f.shows, err))
		return g
	}
	if full && !g.pairs(w, f) {
		return g
	}
	w.takeovers.Store(full)
	for d, how := range damages {
		for n := 1 + g.offset(d); ; n += g.stride() {
			if !g.once(w, f, "", shot{n, how}) || n > most {
				return g
			}
			if g.last == 0 {
				break
			}
		}
	}
	return g
}

// pairs crashes at two steps of one run, the second counted from the first: the next
// process crashes too, while it takes over or while it mends.
func (g *figures) pairs(w *world, f flow) bool {
	for n := 1; n <= most; n++ {
		for m := 1; m <= most; m++ {
			how := []shot{{n, crashAfter}, {m, []damage{crashBefore, crashAfter}[m%2]}}
			if !g.once(w, f, "", how...) {
				return false
			}
			if g.last == 0 {
				return true
			}
			if g.last == 1 {
				break
			}
		}
	}
	return true
}

// stride of a small run: about six steps of each flow, and with each damage others.
func (g *figures) stride() int {
	if full {
		return 1
	}
	return (g.steps + 5) / 6
}

func (g *figures) offset(d int) int { return d % g.stride() }

// once runs a flow with damage, and counts.
func (g *figures) once(w *world, f flow, label string, shots ...shot) bool {
	if label == "" {
		label = fmt.Sprint(shots)
	}
	g.runs++
	s := &story{w, fmt.Sprintf("%s %d", f.name, g.runs)}
	err := w.bank.behave("")
	if err == nil && f.fresh {
		err = w.renew()
	}
	if err == nil {
		err = w.live().untilLeading(patience)
	}
	w.effects.arm(shots...)
	if err == nil {
		err = f.run(s)
	}
	fired, counted := w.effects.disarm()
	what := fmt.Sprintf("%s, %s (%s)", f.name, label, strings.Join(fired, "; "))
	if err != nil {
		w.problem("%s: %v", what, err)
	}
	if err := w.bank.behave(""); err != nil {
		w.problem("%s: %v", what, err)
	}
	w.settled(what)
	if g.last = len(fired); g.last > 0 {
		g.damaged++
	}
	if len(shots) == 0 {
		g.steps = counted
	}
	g.problems = append(g.problems, prefixed(what, w.report())...)
	return len(g.problems) == 0
}

// renew ends the process and waits for the next one.
func (w *world) renew() error {
	old := w.live()
	old.kill()
	for began := time.Now(); time.Since(began) < patience; pause() {
		if w.live() != old {
			return nil
		}
	}
	return errors.New("no process follows")
}

func prefixed(what string, problems []string) []string {
	for i := range problems {
		if !strings.HasPrefix(problems[i], what) {
			problems[i] = what + ": " + problems[i]
		}
	}
	return problems
}

// shows asks whether the last undamaged story took the way that its flow is about.
func (w *world) shows(f flow) (shown bool, err error) {
	err = w.db.QueryRow(w.ctx, `select exists (select from payments p join transitions t on t.payment = p.id
	  where (`+f.shows+`))`).Scan(&shown)
	return shown, err
}
