package api

import (
	"hash/maphash"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// AppHeader names the caller's program and its version, such as shop-ios/3.2.1. It is
// optional; without it the beginning of User-Agent counts. It decides nothing: it tells a
// fault of some callers from one of ours.
const AppHeader = "Moneta-App"

// Bounds of the callers that are told apart; the others are counted as other.
const (
	callersMax = 48 // of each dimension
	callerMax  = 48 // bytes of a name
	otherOnes  = "other"
	// slowFrom is from when on an answer is slow to whoever waits for it.
	slowFrom = 2 * time.Second
)

// What became of a request, as its caller sees it.
const (
	outcomeOK      = iota
	outcomeSlow    // answered, after slowFrom
	outcomeRefused // 4xx but 404 and 409, which are answers
	outcomeFailed  // 429 and 5xx
	outcomeAborted // the caller went away before the answer
	outcomeAgain   // answered, an order that repeats another under a new key
	outcomes
)

var outcomeNames = [outcomes]string{"ok", "slow", "refused", "failed", "aborted", "again"}

// callers counts requests by who sent them.
type callers struct {
	total *prometheus.CounterVec
	known sync.Map // of callerKey to *callerCounts
	mu    sync.Mutex
	count map[string]int // of each dimension
}

type callerKey struct{ dimension, value string }

type callerCounts struct{ by [outcomes]prometheus.Counter }

func newCallers(r *prometheus.Registry) *callers {
	c := &callers{
		count: make(map[string]int),
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "moneta_callers_requests_total",
			Help: "Requests by the caller's program (app) or network, and what became of them; 48 of each are told apart.",
		}, []string{"dimension", "value", "outcome"}),
	}
	r.MustRegister(c.total)
	return c
}

// note counts one request.
func (c *callers) note(r *http.Request, status int, took time.Duration, waited, again bool) {
	outcome := outcomeOK
	switch {
	case r.Context().Err() != nil:
		outcome = outcomeAborted
	case status == http.StatusTooManyRequests || status >= http.StatusInternalServerError:
		outcome = outcomeFailed
	case status >= http.StatusBadRequest && status != http.StatusNotFound && status != http.StatusConflict:
		outcome = outcomeRefused
	case again:
		outcome = outcomeAgain
	case took >= slowFrom && !waited:
		outcome = outcomeSlow
	}
	c.of("app", appOf(r.Header)).by[outcome].Inc()
	c.of("network", networkOf(r.RemoteAddr)).by[outcome].Inc()
}

// of returns the counts of a caller, or of the others when too many are known.
func (c *callers) of(dimension, value string) *callerCounts {
	if found, ok := c.known.Load(callerKey{dimension, value}); ok {
		return found.(*callerCounts)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if value != otherOnes && c.count[dimension] >= callersMax {
		value = otherOnes
	}
	key := callerKey{dimension, value}
	if found, ok := c.known.Load(key); ok {
		return found.(*callerCounts)
	}
	counts := &callerCounts{}
	for i, name := range outcomeNames {
		counts.by[i] = c.total.WithLabelValues(dimension, value, name)
	}
	c.count[dimension]++
	c.known.Store(key, counts)
	return counts
}

// appOf is the caller's program by its own word; what could be anything is other.
func appOf(h http.Header) string {
	var name string
	if values := h[AppHeader]; len(values) > 0 {
		name = values[0]
	} else if values := h["User-Agent"]; len(values) > 0 {
		name, _, _ = strings.Cut(values[0], " ")
	}
	if name == "" {
		return "none"
	}
	if len(name) > callerMax || strings.IndexFunc(name, notInName) >= 0 {
		return otherOnes
	}
	return name
}

func notInName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-/+", r)
}

// networkOf is the network of the caller's address: 256 addresses, or a site's of IPv6.
func networkOf(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return otherOnes
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return otherOnes
	}
	bits := 48
	if addr = addr.Unmap(); addr.Is4() {
		bits = 24
	}
	network, err := addr.Prefix(bits)
	if err != nil {
		return otherOnes
	}
	return network.String()
}

// Bounds of what is remembered of payments, to see one that is ordered once more under
// another key: somebody who does not believe an answer, or never had one.
const (
	againWithin = 150 * time.Second // two of these are remembered
	againMax    = 50_000
	// soonWithin is in which nobody orders the same for the same payee twice, whatever he
	// writes with it: an app that orders again writes another text each time.
	soonWithin = 10 * time.Second // two of these, too
)

// again remembers what was ordered lately, as hashes.
type again struct {
	seed   maphash.Seed
	total  prometheus.Counter
	within time.Duration

	mu       sync.Mutex
	now, old map[uint64]struct{}
	turned   time.Time
}

func newAgain(r *prometheus.Registry, within time.Duration, name, help string) *again {
	a := &again{
		seed: maphash.MakeSeed(), within: within, now: make(map[uint64]struct{}), old: make(map[uint64]struct{}),
		total: prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help}),
	}
	r.MustRegister(a.total)
	return a
}

// note counts the order if it was there before, and reports whether it was.
func (a *again) note(at time.Time, parts ...string) bool {
	var h maphash.Hash
	h.SetSeed(a.seed)
	for _, p := range parts {
		_, _ = h.WriteString(p) // a hash takes everything
		_ = h.WriteByte(0)
	}
	sum := h.Sum64()
	a.mu.Lock()
	defer a.mu.Unlock()
	if at.Sub(a.turned) > a.within || len(a.now) >= againMax {
		if at.Sub(a.turned) > 2*a.within { // what is left is older than it may be
			clear(a.now)
		}
		a.now, a.old, a.turned = a.old, a.now, at
		clear(a.now)
	}
	_, now := a.now[sum]
	_, old := a.old[sum]
	a.now[sum] = struct{}{}
	if now || old {
		a.total.Inc()
	}
	return now || old
}

// unanswered is for how long requests have been under way and none was answered.
type unanswered struct{ since atomic.Int64 } // nanoseconds since 1970; 0: none is owed an answer

// begins notes that a request is under way.
func (u *unanswered) begins(now time.Time) { u.since.CompareAndSwap(0, now.UnixNano()) }

// answers notes that one was answered, and that others still wait.
func (u *unanswered) answers(now time.Time, others bool) {
	if others {
		u.since.Store(now.UnixNano())
		return
	}
	u.since.Store(0)
}

// lasts is for how long, while any is under way.
func (u *unanswered) lasts(now time.Time, underWay int64) time.Duration {
	since := u.since.Load()
	if since == 0 || underWay <= 0 {
		return 0
	}
	return max(now.Sub(time.Unix(0, since)), 0)
}

// edgeCounts are what the edge counts beside routes.
type edgeCounts struct {
	callers  *callers
	again    *again // with the same text
	soon     *again // whatever the text, within seconds
	owed     unanswered
	replayed prometheus.Counter
	orders   prometheus.Counter
	aborted  prometheus.Counter
}

func newEdgeCounts(r *prometheus.Registry) *edgeCounts {
	e := &edgeCounts{
		callers: newCallers(r),
		again: newAgain(r, againWithin, "moneta_payments_again_total",
			"Payments accepted under a new key that repeat another of the last minutes: the same tenant, accounts, payee, amount and text."),
		soon: newAgain(r, soonWithin, "moneta_payments_soon_again_total",
			"Payments accepted under a new key that repeat another of the last seconds: the same tenant, accounts, payee and amount, whatever the text."),
		replayed: prometheus.NewCounter(prometheus.CounterOpts{Name: "moneta_payments_replayed_total", Help: "Requests for a payment that repeated a known key."}),
		orders:   prometheus.NewCounter(prometheus.CounterOpts{Name: "moneta_payments_requested_total", Help: "Requests for a payment that were accepted, replays included."}),
		aborted:  prometheus.NewCounter(prometheus.CounterOpts{Name: "moneta_http_aborted_total", Help: "Requests whose caller went away before the answer."}),
	}
	r.MustRegister(e.replayed, e.orders, e.aborted)
	return e
}
