package canary_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/signal/canary"
	"github.com/moneta-pay/moneta/internal/clock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wallet is an API with books of its own: a key makes one payment, whatever happens to
// the answer.
type wallet struct {
	mu       sync.Mutex
	clock    *clock.Manual
	accounts map[string]string // by key
	payments map[string]*paid  // by id
	byKey    map[string]*paid
	orders   int
	stuck    map[string]bool // channels whose payments do not end
	lose     bool            // answers to orders
	down     bool
	refuse   bool
}

type paid struct {
	ID, Status, Channel, From, To string
	Created, Final                time.Time
}

func (w *wallet) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := r.Header.Get("Idempotency-Key")
	switch {
	case r.Header.Get("Authorization") != "Bearer k":
		rw.WriteHeader(http.StatusUnauthorized)
	case w.down:
		rw.WriteHeader(http.StatusServiceUnavailable)
	case r.URL.Path == "/v1/accounts":
		if w.accounts[key] == "" {
			w.accounts[key] = fmt.Sprint("acct_", len(w.accounts))
		}
		fmt.Fprintf(rw, `{"id":%q}`, w.accounts[key])
	case r.Method == http.MethodPost && w.refuse:
		rw.WriteHeader(http.StatusUnprocessableEntity)
	case r.Method == http.MethodPost:
		var o struct{ Kind, From, To, Channel string }
		_ = json.NewDecoder(r.Body).Decode(&o)
		p := w.byKey[key]
		if p == nil {
			w.orders++
			p = &paid{ID: fmt.Sprint("pay_", w.orders), Status: "succeeded", Channel: o.Channel, From: o.From, To: o.To, Created: w.clock.Now(), Final: w.clock.Now().Add(250 * time.Millisecond)}
			if w.stuck[o.Channel] {
				p.Status, p.Final = "processing", time.Time{}
			}
			w.byKey[key], w.payments[p.ID] = p, p
		}
		if w.lose {
			panic(http.ErrAbortHandler)
		}
		p.write(rw)
	default:
		w.payments[strings.TrimPrefix(r.URL.Path, "/v1/payments/")].write(rw)
	}
}

func (p *paid) write(rw http.ResponseWriter) {
	out := map[string]any{"id": p.ID, "status": p.Status, "state": p.Status, "created_at": p.Created}
	if !p.Final.IsZero() {
		out["final_at"] = p.Final
	}
	_ = json.NewEncoder(rw).Encode(out)
}

func (w *wallet) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func newWallet(t *testing.T, paths ...canary.Path) (*wallet, func() *canary.Collector) {
	t.Helper()
	w := &wallet{
		clock: clock.NewManual(time.Unix(1_000_000, 0)), accounts: map[string]string{}, payments: map[string]*paid{},
		byKey: map[string]*paid{}, stuck: map[string]bool{},
	}
	s := httptest.NewServer(w)
	t.Cleanup(s.Close)
	return w, func() *canary.Collector {
		c := canary.New(canary.Config{API: s.URL, Key: "k", Paths: paths, Clock: w.clock})
		t.Cleanup(c.Close)
		return c
	}
}

func find(l doctor.Look, hop string, signal doctor.Signal, path string) (doctor.Point, bool) {
	for _, p := range l.Points {
		if p.Hop == hop && p.Signal == signal && p.Statistic == path {
			return p, true
		}
	}
	return doctor.Point{}, false
}

// The negative control: a path that works has a young canary, each ten seconds one.
func TestHealthyPathHasAYoungCanary(t *testing.T) {
	t.Parallel()
	w, start := newWallet(t, canary.Send())
	c := start()
	for range 60 {
		l, err := c.Look(t.Context())
		require.NoError(t, err)
		age, ok := find(l, doctor.HopAPI, doctor.CanaryAge, "send")
		require.True(t, ok)
		require.LessOrEqual(t, age.Value, canary.Apart.Seconds())
		took, ok := find(l, doctor.HopAPI, doctor.CanaryTime, "send")
		require.True(t, ok)
		require.InDelta(t, 0.25, took.Value, 0.001)
		w.clock.Advance(time.Second)
	}
	require.InDelta(t, 6, w.orders, 1)
	require.Len(t, w.accounts, 2)
	sides := map[string]int{}
	for _, p := range w.payments {
		sides[p.From]++
	}
	require.InDelta(t, sides["acct_0"], sides["acct_1"], 1, "there and back")
}

// A path that stalls is told by the age of its last good canary; the others are not, and
// no more than three of its own stand.
func TestStalledPathGrowsOld(t *testing.T) {
	t.Parallel()
	w, start := newWallet(t, canary.Send(), canary.Payout("bank-ab", "123456"))
	c := start()
	w.set(func() { w.stuck["bank-ab"] = true })
	var l doctor.Look
	for range 120 {
		var err error
		l, err = c.Look(t.Context())
		require.NoError(t, err)
		w.clock.Advance(time.Second)
	}
	old, _ := find(l, "bank-ab", doctor.CanaryAge, "payout")
	require.Greater(t, old.Value, 100.0)
	require.Equal(t, "3", old.Detail["open"])
	require.NotEmpty(t, old.Detail["payment"])
	young, _ := find(l, doctor.HopAPI, doctor.CanaryAge, "send")
	require.Less(t, young.Value, 11.0)

	// It ends: the age is young again.
	w.set(func() {
		w.stuck["bank-ab"] = false
		for _, p := range w.payments {
			if p.Final.IsZero() {
				p.Status, p.Final = "succeeded", w.clock.Now()
			}
		}
	})
	l, err := c.Look(t.Context())
	require.NoError(t, err)
	well, _ := find(l, "bank-ab", doctor.CanaryAge, "payout")
	require.Zero(t, well.Value)
}

// Lost answers and restarts double nothing: the same turn has the same key.
func TestKeysNeverDouble(t *testing.T) {
	t.Parallel()
	w, start := newWallet(t, canary.Send())
	c := start()
	_, err := c.Look(t.Context())
	require.NoError(t, err)
	w.set(func() { w.lose = true })
	w.clock.Advance(canary.Apart)
	for range 5 { // each look tries it again
		_, err = c.Look(t.Context())
		require.Error(t, err)
	}
	again := start() // a restart within the same turn
	_, err = again.Look(t.Context())
	require.Error(t, err)
	w.set(func() { w.lose = false })
	_, err = again.Look(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, w.orders)
	require.Len(t, w.accounts, 2)
}

// A refused canary did not end well, and one that was never begun was not missed.
func TestTroubleOfTheAPI(t *testing.T) {
	t.Parallel()
	w, start := newWallet(t, canary.Send())
	c := start()
	w.set(func() { w.down = true })
	l, err := c.Look(t.Context())
	require.Error(t, err)
	require.Empty(t, l.Points, "without accounts there is no canary to miss")
	w.set(func() { w.down = false })
	_, err = c.Look(t.Context())
	require.NoError(t, err)
	w.set(func() { w.refuse = true })
	for range 40 {
		l, _ = c.Look(t.Context())
		w.clock.Advance(time.Second)
	}
	age, _ := find(l, doctor.HopAPI, doctor.CanaryAge, "send")
	require.Greater(t, age.Value, 30.0)
	require.Equal(t, "refused: HTTP 422", age.Detail["last"])
	w.set(func() { w.refuse, w.down = false, true })
	for range 40 {
		l, err = c.Look(t.Context())
		require.Error(t, err)
		w.clock.Advance(time.Second)
	}
	age, _ = find(l, doctor.HopAPI, doctor.CanaryAge, "send")
	require.Greater(t, age.Value, 70.0)
}
