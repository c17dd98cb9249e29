package chaos

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
)

// failure is one of the ways in which third parties fail (sandbox/README.md lists
// them by these names), as far as a bank can show it: order is decided when the bank
// accepts, wire befalls the request, query befalls questions.
type failure struct {
	name               string
	order, wire, query string
	// act does something at the bank or to the payment when the failure strikes.
	act func(w *world, c *cell, id pay.ID)
	// twins are payouts of the same amount to the same payee.
	twins bool
	// payouts is how many; 2 when left out.
	payouts int
	// crowd says that these are more payouts than the retry budget has room for: those
	// that the bank never saw go out again one a minute.
	crowd bool
	// lasts is how long it strikes; strikesFor when left out.
	lasts time.Duration
	// unresolvable says that no word of the bank can be believed: the payment waits
	// for a person, and that is right.
	unresolvable bool
	// patient is how long a cell waits for the truth; resolvedIn when left out.
	patient time.Duration
}

var failures = []failure{
	{name: "F1", wire: `"lose_reply":1`},
	{name: "F2", wire: `"lose_before":1`},
	{name: "F3", wire: `"lose_reply":1`, query: `"query_lag_ms":1000`},
	{name: "F4", order: `"callback_delay":{"probability":0.5,"min_ms":1,"max_ms":900}`, wire: `"reply_delay":{"probability":1,"min_ms":300,"max_ms":500}`},
	{name: "F5", order: `"callback_duplicate":1,"callback_out_of_order":1,"callback_contradict":1`},
	{name: "F6", order: `"callback_forge":1,"callback_replay":1`, query: `"callback_secret":"rotated"`},
	{name: "F7", wire: `"conflict":1,"lose_reply":0.5`},
	{name: "F8", order: `"return":{"probability":1,"min_ms":200,"max_ms":500,"reason":"AC04"}`},
	{name: "F9", order: `"execute_delay":{"probability":1,"min_ms":300,"max_ms":600}`, act: cancelOurs},
	{name: "F10", order: `"cancel_ignored":1,"execute_delay":{"probability":1,"min_ms":300,"max_ms":600}`, act: cancelTheirs},
	{name: "F11", wire: `"error_html":{"probability":0.5,"executed":true,"status":200},"error_500":{"probability":0.5,"executed":false,"status":502}`},
	{name: "F12", order: `"no_bank_id":1`, wire: `"lose_reply":1`},
	{name: "F13", order: `"wrong_scale":1`, unresolvable: true},
	{name: "F14", order: `"statement_omit":0.5,"statement_duplicate":0.5,"statement_wrong_amount":0.5,"statement_next_day":0.5`},
	{name: "F15", order: `"clock_skew_ms":600000`, query: `"clock_skew_ms":600000`},
	{name: "F16", wire: `"lose_reply":0.5,"error_500":{"probability":0.3,"executed":false,"status":503}`, payouts: 14, crowd: true},
	{name: "F17", order: `"duplicate_check_ms":60000`, twins: true},
}

// path is how a payment is tried again.
type path int

const (
	never     path = iota // it is only asked for: not-found means nothing, nothing is proven
	again                 // the same reference, de-duplication proven
	elsewhere             // a new attempt at another channel, not-found means never
)

var paths = []path{never, again, elsewhere}

// states are where a payment is when the failure strikes.
var states = []pay.State{pay.Reserved, pay.Dispatching, pay.Processing, pay.Unknown, pay.Succeeded}

// cell is one failure in one state along one path, at a bank of its own.
type cell struct {
	failure
	state    pay.State
	path     path
	code     string
	payments []pay.ID
	struck   time.Time
	healed   time.Time
	resolved time.Time
}

func (c *cell) channel() string { return "bank-" + c.code }

func (c *cell) String() string {
	return fmt.Sprintf("%s in %s, path %d", c.name, c.state, c.path)
}

func matrix() []*cell {
	var cells []*cell
	for i, f := range failures {
		for j, s := range states {
			for _, p := range paths {
				cells = append(cells, &cell{failure: f, state: s, path: p, code: fmt.Sprintf("f%ds%dp%d", i+1, j, p)})
			}
		}
	}
	return cells
}

// cancelOurs is the holder who withdraws: before dispatch he may, afterwards it is
// too late and changes nothing.
func cancelOurs(w *world, _ *cell, id pay.ID) {
	_, _ = w.node.Submit(context.Background(), commit.Fact{Payment: &pay.Fact{Kind: pay.Cancel, Payment: id}})
}

// cancelTheirs cancels at a bank that says yes and executes all the same.
func cancelTheirs(w *world, c *cell, id pay.ID) {
	w.call(http.MethodPost, "/banks/"+c.code+"/payments/"+pay.Reference(id, 1)+"/cancel", "", nil)
}

// before is how the bank behaves until the payment is in the cell's state.
func (c *cell) before() []string {
	switch c.state {
	case pay.Dispatching:
		return []string{c.order, c.query, c.wire, `"latency":{"probability":1,"min_ms":200,"max_ms":400}`}
	case pay.Processing:
		return []string{`"execute_delay":{"probability":1,"min_ms":700,"max_ms":900}`, c.order}
	case pay.Unknown:
		return []string{c.order, `"lose_reply":1,"query_error":1,"callback_lose":1`}
	case pay.Succeeded:
		return []string{c.order, `"callback_delay":{"probability":1,"min_ms":1000,"max_ms":1500}`}
	default: // reserved: it waits before dispatch
		return nil
	}
}

const (
	strikeWithin = 8 * time.Second // for the state that the cell waits for
	strikesFor   = 1500 * time.Millisecond
	resolvedIn   = 60 * time.Second // of the truth's being visible
)

// play takes all cells through their stories at once, and returns the outside books
// and where each payment ended.
func play(t *testing.T, w *world, cells []*cell) (map[string]int, map[pay.ID]stand) {
	t.Helper()
	for _, c := range cells {
		w.behave(c.code, c.before()...)
		w.hold(c.channel(), c.state == pay.Reserved)
	}
	var facts []commit.Fact
	for _, c := range cells {
		for n := range max(c.payouts, 2) {
			amount := int64(1000 + 10*n)
			if c.twins {
				amount = 1000
			}
			facts = append(facts, w.payout(c, n, amount))
		}
	}
	answers := w.node.SubmitAll(context.Background(), facts)
	for _, c := range cells {
		for range max(c.payouts, 2) {
			require.NoError(t, answers[0].Err)
			c.payments = append(c.payments, answers[0].Payment.ID)
			answers = answers[1:]
		}
	}
	began := time.Now()
	require.Eventually(t, func() bool { return w.step(cells, began) }, 3*time.Minute, 100*time.Millisecond)
	// Callbacks that were to come late have come when nothing has moved for a while.
	var last map[pay.ID]stand
	for quiet := time.Now(); time.Since(quiet) < 2*time.Second; {
		now := w.stands()
		if fmt.Sprint(now) != fmt.Sprint(last) {
			last, quiet = now, time.Now()
		}
		waitALittle(t)
	}
	return w.effects(cells), last
}

func waitALittle(t *testing.T) {
	t.Helper()
	select {
	case <-t.Context().Done():
	case <-time.After(200 * time.Millisecond):
	}
}

// step moves each cell one step along its story, and reports whether all are over.
func (w *world) step(cells []*cell, began time.Time) bool {
	now, stands, over := time.Now(), w.stands(), true
	for _, c := range cells {
		switch {
		case c.struck.IsZero():
			over = false
			if c.ready(stands) || now.Sub(began) > strikeWithin {
				w.strike(c, now)
			}
		case c.healed.IsZero():
			over = false
			if now.Sub(c.struck) > max(c.lasts, strikesFor) {
				w.behave(c.code)
				c.healed = now
			}
		case c.resolved.IsZero():
			if c.final(stands) {
				c.resolved = now
			} else if now.Sub(c.healed) < c.patience() {
				over = false
			}
		}
	}
	return over
}

func (c *cell) ready(stands map[pay.ID]stand) bool {
	for _, id := range c.payments {
		if s := stands[id].state; s < c.state && !s.Final() {
			return false
		}
	}
	return true
}

func (c *cell) final(stands map[pay.ID]stand) bool {
	for _, id := range c.payments {
		if !stands[id].state.Final() {
			return false
		}
	}
	return true
}

// patience is how long a cell may stay open once the bank is honest again. Where
// nothing will ever resolve it, a while is enough to see that nothing guesses.
func (c *cell) patience() time.Duration {
	if c.unresolvable || c.path == never || c.crowd && c.path == again {
		return 6 * time.Second
	}
	if c.patient > 0 {
		return c.patient
	}
	return resolvedIn
}

func (w *world) strike(c *cell, now time.Time) {
	w.behave(c.code, c.order, c.wire, c.query)
	for _, id := range c.payments {
		if c.act != nil {
			c.act(w, c, id)
		}
	}
	w.hold(c.channel(), false)
	c.struck = now
}

// judge holds each payment against the outside books and returns what is wrong.
func judge(cells []*cell, moved map[string]int, stands map[pay.ID]stand) (doubled, told, stuck []string) {
	for _, c := range cells {
		for _, id := range c.payments {
			s, effects := stands[id], 0
			for n := int16(1); n <= s.attempt; n++ {
				effects += moved[pay.Reference(id, n)]
			}
			what := fmt.Sprintf("%s: %s is %s after attempt %d, moved %d times", c, id, s.state, s.attempt, effects)
			if effects > 1 {
				doubled = append(doubled, what)
			}
			failed := s.state.Final() && s.state != pay.Succeeded
			if failed && effects > 0 || s.state == pay.Succeeded && effects == 0 {
				told = append(told, what)
			}
			// What never moved at a bank whose not-found means nothing has no truth to be
			// seen before the statement; it waits, and nobody guesses.
			waits := effects == 0 && (c.path == never || c.crowd && c.path == again)
			if !s.state.Final() && !c.unresolvable && !waits {
				stuck = append(stuck, what)
			}
		}
	}
	return doubled, told, stuck
}

// rounds is how many seeds the matrix is played with.
func rounds() uint64 {
	if os.Getenv("MONETA_TORTURE") != "1" {
		return 1
	}
	share, err := strconv.ParseUint(os.Getenv("MONETA_TORTURE_PERCENT"), 10, 64)
	if err != nil || share < 1 || share > 100 {
		share = 100
	}
	return 2 * share
}

// Seventeen failures, in five states, along three paths: at most one effect for each
// intent in the banks' own books, nobody told "failed" for what was executed, and
// what can be known is known within a minute of being visible.
func TestMatrix(t *testing.T) {
	t.Parallel()
	for seed := uint64(1); seed <= rounds(); seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { playMatrix(t, seed) })
	}
}

func playMatrix(t *testing.T, seed uint64) {
	t.Helper()
	cells := matrix()
	require.Len(t, cells, 17*5*3)
	w := build(t, cells, seed, mistake{})
	moved, stands := play(t, w, cells)
	doubled, told, stuck := judge(cells, moved, stands)
	require.Empty(t, doubled, "moved twice")
	require.Empty(t, told, "told something else than the truth")
	require.Empty(t, stuck, "still open a minute after the truth was visible")
	var sum int64
	require.NoError(t, w.pool.QueryRow(t.Context(), `select coalesce(sum(amount), 0)::bigint from facts.postings`).Scan(&sum))
	require.Zero(t, sum)
	report(t, seed, cells, stands, moved)
}

func report(t *testing.T, seed uint64, cells []*cell, stands map[pay.ID]stand, moved map[string]int) {
	t.Helper()
	count := map[pay.State]int{}
	for _, s := range stands {
		count[s.state]++
	}
	var slowest time.Duration
	which := ""
	for _, c := range cells {
		if took := c.resolved.Sub(c.healed); !c.resolved.IsZero() && took > slowest {
			slowest, which = took, c.String()
		}
	}
	t.Logf("seed %d: %d cells, %d payouts, %d effects; ended %v; slowest %s after the bank was honest again (%s)",
		seed, len(cells), len(stands), len(moved), count, slowest.Round(time.Millisecond), which)
}

// mistake is what a plane may get wrong.
type mistake struct {
	// trusting takes a claim of de-duplication for a proof.
	trusting bool
	// hasty lets a not-found count at once.
	hasty bool
	// alone leaves no other channel: whoever is wrong about a payment fails it.
	alone bool
	// mute never asks the bank.
	mute bool
}

// The controls: what the matrix must find when the plane is wrong on purpose. A gate
// that takes a claim of de-duplication for a proof, and a not-found that counts at
// once, both pay twice, or tell "failed" for what was executed; a plane that does not
// ask never learns. Only the banks' books show it.
func TestControls(t *testing.T) {
	t.Parallel()
	lagging := failure{name: "F3", wire: `"lose_reply":1,"callback_lose":1`, query: `"query_lag_ms":3000`}
	for name, c := range map[string]struct {
		cell    cell
		mistake mistake
		found   func(doubled, told, stuck []string) []string
	}{
		"a claim taken for a proof": {
			cell:    cell{failure: failure{name: "F1", wire: `"lose_reply":1,"callback_lose":1,"dedup":false`, query: `"query_lag_ms":3000`, lasts: 5 * time.Second}, path: again},
			mistake: mistake{trusting: true}, found: func(doubled, _, _ []string) []string { return doubled },
		},
		"a not-found taken for never": {
			cell: cell{failure: lagging, path: elsewhere}, mistake: mistake{hasty: true}, found: func(doubled, _, _ []string) []string { return doubled },
		},
		"failed told for what was executed": {
			cell:    cell{failure: failure{name: "F3", wire: `"lose_reply":1,"callback_lose":1`, query: `"query_lag_ms":60000`, lasts: 12 * time.Second}, path: elsewhere},
			mistake: mistake{hasty: true, alone: true}, found: func(_, told, _ []string) []string { return told },
		},
		"nobody asks": {
			cell:    cell{failure: failure{name: "F1", wire: `"lose_reply":1,"callback_lose":1`, patient: 8 * time.Second}, path: elsewhere},
			mistake: mistake{mute: true}, found: func(_, _, stuck []string) []string { return stuck },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one := c.cell
			one.state, one.code = pay.Reserved, "control"
			cells := []*cell{&one}
			w := build(t, cells, 1, c.mistake)
			moved, stands := play(t, w, cells)
			require.NotEmpty(t, c.found(judge(cells, moved, stands)), "the plane was wrong on purpose, and the checks are blind")
			var sum int64
			require.NoError(t, w.pool.QueryRow(t.Context(), `select coalesce(sum(amount), 0)::bigint from facts.postings`).Scan(&sum))
			require.Zero(t, sum, "our own books show nothing")
		})
	}
}
