package app

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/config"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
)

func TestFaultsAreRefusedBesideWhatIsReal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	sandbox := config.Channel{Name: "bank-ab", Adapter: "sandbox", BaseURL: "http://127.0.0.1:7071"}
	for name, c := range map[string]struct {
		cfg  config.Config
		says string
	}{
		"a real rail": {
			config.Config{Channels: []config.Channel{sandbox, {Name: "sepa", Adapter: "iso20022", BaseURL: "http://127.0.0.1:1"}}},
			"channel sepa is not a sandbox",
		},
		"a sandbox elsewhere": {
			config.Config{Channels: []config.Channel{{Name: "bank-ab", Adapter: "sandbox", BaseURL: "https://sandbox.example.com"}}},
			"never run beside a real rail",
		},
		"a name that may resolve to anywhere": {
			config.Config{Channels: []config.Channel{{Name: "bank-ab", Adapter: "sandbox", BaseURL: "http://localhost.example.com"}}},
			"never run beside a real rail",
		},
		"no state folder": {config.Config{DSN: "host=/tmp", Channels: []config.Channel{sandbox}}, "--state is missing"},
		"a database that up did not make": {
			config.Config{DSN: "host=db.example.com dbname=moneta", StateDir: filepath.Join(dir, "state"), Channels: []config.Channel{sandbox}},
			"run only on a Postgres that `moneta up` made",
		},
	} {
		c.cfg.AllowFaults = filepath.Join(dir, "faults.json")
		_, err := newFaults(t.Context(), &c.cfg)
		require.ErrorContains(t, err, c.says, name)
	}
	none, err := newFaults(t.Context(), &config.Config{})
	require.NoError(t, err)
	require.Nil(t, none, "without the flag there are no faults at all")
}

// ordered is the faults of a serve whose file is there, without the rest of serve.
func ordered(t *testing.T) (f *faults, order func(at time.Time, on map[string]faultSpec, mode os.FileMode)) {
	t.Helper()
	f = &faults{file: filepath.Join(t.TempDir(), "faults.json"), began: time.Now(), cleared: make(chan struct{})}
	var last []byte
	f.take(map[string]faultSpec{})
	return f, func(at time.Time, on map[string]faultSpec, mode os.FileMode) {
		raw, err := json.Marshal(faultOrders{At: at, Faults: on})
		require.NoError(t, err)
		_ = os.Remove(f.file)
		require.NoError(t, os.WriteFile(f.file, raw, mode))
		last = f.obey(last)
	}
}

func TestFaultsComeAndGoWithTheFile(t *testing.T) {
	t.Parallel()
	f, order := ordered(t)
	hung := map[string]faultSpec{faultHungDispatch: {}}
	now := time.Now().Add(time.Second)
	offered := 0
	offer := f.offer(func(pay.Payment) bool { offered++; return false })
	require.False(t, offer(pay.Payment{}))

	order(now, hung, 0o600)
	require.True(t, offer(pay.Payment{}), "it says that it has it in hand")
	require.Equal(t, 1, offered, "and does nothing")

	order(now, nil, 0o600)
	require.False(t, offer(pay.Payment{}))
	order(now.Add(time.Second), hung, 0o644)
	require.False(t, offer(pay.Payment{}), "others may read the file: it is not obeyed")
	order(f.began.Add(-time.Hour), hung, 0o600)
	require.False(t, offer(pay.Payment{}), "an order to the process before is not one to this")
	order(f.began.Add(-time.Hour), map[string]faultSpec{faultHungDispatch: {Sticky: true}}, 0o600)
	require.True(t, offer(pay.Payment{}), "a fault of the code outlives the process")
	order(now, map[string]faultSpec{"format-disk": {}, faultGCThrash: {Megabytes: faultMegabytesMax + 1}}, 0o600)
	require.False(t, offer(pay.Payment{}))
	require.Empty(t, *f.on.Load(), "what is not known or beyond its bound is not done")
}

// taking takes all that is submitted.
type taking struct{ commit.Submitter }

func (taking) SubmitAll(_ context.Context, facts []commit.Fact) []commit.Outcome {
	return make([]commit.Outcome, len(facts))
}

func TestAPoisonedCallbackHangsUntilTheFaultEnds(t *testing.T) {
	t.Parallel()
	f, order := ordered(t)
	to := f.applying(taking{})
	apply := func(id pay.ID) []commit.Outcome {
		return to.SubmitAll(t.Context(), []commit.Fact{{Payment: &pay.Fact{Payment: id}}})
	}
	require.Len(t, apply(7), 1, "none is on")
	order(time.Now().Add(time.Second), map[string]faultSpec{faultPoisonCallback: {OneIn: 7}}, 0o600)
	require.Len(t, apply(8), 1)
	through := make(chan struct{})
	go func() { apply(14); close(through) }()
	select {
	case <-through:
		t.Fatal("it did not hang")
	case <-time.After(100 * time.Millisecond):
	}
	order(time.Now().Add(time.Second), nil, 0o600)
	select {
	case <-through:
	case <-time.After(5 * time.Second):
		t.Fatal("it hangs on")
	}
}

func TestRequestsKeepTheirBodies(t *testing.T) {
	t.Parallel()
	f, order := ordered(t)
	order(time.Now().Add(time.Second), map[string]faultSpec{faultCrashLoop: {Match: `"kind":"deposit"`}, faultSlowEdge: {Millis: 1}}, 0o600)
	var got string
	h := f.edge(nil, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		got = string(raw)
	}))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/v1/payments", strings.NewReader(`{"kind":"send"}`)))
	require.JSONEq(t, `{"kind":"send"}`, got)
}

func TestWithoutTheFlagNothingStandsBetween(t *testing.T) {
	t.Parallel()
	var none *faults
	next := http.NewServeMux()
	require.Same(t, next, none.edge(nil, next))
	require.Equal(t, taking{}, none.applying(taking{}))
	none.close()
}
