package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/moneta-pay/moneta/config"
	"github.com/moneta-pay/moneta/internal/pgserver"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
)

// The faults that serve can be told to have, each the way in which real code fails.
const (
	// faultPoolLeak forgets to give a connection back, once in OneIn requests.
	faultPoolLeak = "pool-leak"
	// faultGCThrash fills the heap up to just below the memory limit.
	faultGCThrash = "gc-thrash"
	// faultCrashLoop ends the process at a request whose body contains Match.
	faultCrashLoop = "crash-loop"
	// faultHungDispatch takes payouts to be sent and sends none.
	faultHungDispatch = "hung-dispatch"
	// faultSilentTimer takes whatever is due and does nothing with it.
	faultSilentTimer = "silent-timer"
	// faultPoisonCallback hangs over what callbacks say of one in OneIn payments.
	faultPoisonCallback = "poison-callback"
	// faultSlowEdge spends Millis of processor time on every request.
	faultSlowEdge = "slow-edge"
)

var faultNames = []string{faultPoolLeak, faultGCThrash, faultCrashLoop, faultHungDispatch, faultSilentTimer, faultPoisonCallback, faultSlowEdge}

// Bounds of what a fault may take from the machine, and of the file that says so.
const (
	faultMegabytesMax = 2048
	faultMillisMax    = 10_000
	faultEachKBMax    = 64 << 10
	faultFileMax      = 64 << 10
	faultEvery        = 50 * time.Millisecond
)

// faultSpec is one fault that is on.
type faultSpec struct {
	OneIn     int64  `json:"one_in,omitempty"`
	Megabytes int    `json:"megabytes,omitempty"`
	EachKB    int    `json:"each_kb,omitempty"` // garbage of one request
	Procs     int    `json:"procs,omitempty"`   // processors, as in a small container
	Match     string `json:"match,omitempty"`
	Millis    int    `json:"millis,omitempty"`
	// Sticky outlives a restart: a fault of the code. The others are of the process's
	// state, and a new process does not have them.
	Sticky bool `json:"sticky,omitempty"`
}

// faultOrders is the content of the file.
type faultOrders struct {
	At     time.Time            `json:"at"`
	Faults map[string]faultSpec `json:"faults"`
}

// faults are those that a serve with --allow-faults has. They show in no metric, log
// or fact: whoever looks for what is wrong shall find what a fault does, not its name.
// A nil one has none and costs nothing.
type faults struct {
	file  string
	began time.Time
	on    atomic.Pointer[map[string]faultSpec]

	mu      sync.Mutex
	leaked  []*pgxpool.Conn
	ballast []*ballast
	procs   int // before the ballast
	calls   atomic.Int64
	cleared chan struct{} // closed and replaced when orders change
	stop    context.CancelFunc
	done    chan struct{}
}

// ballast is live heap with pointers in it, so that a collection has to walk it.
type ballast struct {
	next *ballast
	_    [48]byte
}

// newFaults returns nil without a file. Faults are for installations that are made to
// be broken: it refuses a rail that is not a sandbox on this machine, and a database
// that up did not make in the folder that serve's state is in.
func newFaults(ctx context.Context, cfg *config.Config) (*faults, error) {
	if cfg.AllowFaults == "" {
		return nil, nil //nolint:nilnil // none are wanted, and none is what every method takes
	}
	for i := range cfg.Channels {
		if err := refuseRealRail(&cfg.Channels[i]); err != nil {
			return nil, err
		}
	}
	if err := refuseForeignDatabase(ctx, cfg); err != nil {
		return nil, err
	}
	folder, err := os.Stat(filepath.Dir(cfg.AllowFaults))
	if err != nil {
		return nil, fmt.Errorf("--allow-faults: %w", err)
	}
	if folder.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("--allow-faults: others may write in %s; use a folder that is yours alone", filepath.Dir(cfg.AllowFaults))
	}
	f := &faults{file: cfg.AllowFaults, began: time.Now(), cleared: make(chan struct{}), done: make(chan struct{})}
	ctx, f.stop = context.WithCancel(context.WithoutCancel(ctx))
	last := f.obey(nil)
	go f.watch(ctx, last)
	return f, nil
}

func refuseRealRail(c *config.Channel) error {
	u, err := url.Parse(c.BaseURL)
	if c.Adapter != "sandbox" || err != nil || net.ParseIP(u.Hostname()) == nil || !net.ParseIP(u.Hostname()).IsLoopback() {
		return fmt.Errorf("--allow-faults: channel %s is not a sandbox on this machine (%s at %s): faults never run beside a real rail", c.Name, c.Adapter, c.BaseURL)
	}
	return nil
}

func refuseForeignDatabase(ctx context.Context, cfg *config.Config) error {
	no := func(why string) error {
		return fmt.Errorf("--allow-faults: %s: faults run only on a Postgres that `moneta up` made in the folder that --state is in", why)
	}
	if cfg.StateDir == "" {
		return no("--state is missing")
	}
	place, _, err := pgserver.Place(ctx, pgFolder(filepath.Dir(filepath.Clean(cfg.StateDir))))
	if err != nil {
		return no(err.Error())
	}
	own, err := pgserver.Locate(place, DatabaseName)
	if err != nil {
		return no(err.Error())
	}
	if own != cfg.DSN {
		return no("the database is another one")
	}
	return nil
}

func (f *faults) close() {
	if f == nil {
		return
	}
	f.stop()
	<-f.done
	f.take(map[string]faultSpec{})
}

func (f *faults) watch(ctx context.Context, last []byte) {
	defer close(f.done)
	tick := time.NewTicker(faultEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			last = f.obey(last)
		}
	}
}

// obey reads the file and takes what it says, if that is new. A file that is not
// there, is somebody else's to write or cannot be read turns everything off.
func (f *faults) obey(last []byte) []byte {
	raw := readOwn(f.file)
	if last != nil && bytes.Equal(raw, last) {
		return last
	}
	var orders faultOrders
	on := map[string]faultSpec{}
	if json.Unmarshal(raw, &orders) == nil {
		for _, name := range faultNames {
			spec, ok := orders.Faults[name]
			if ok && (spec.Sticky || orders.At.After(f.began)) && spec.Megabytes <= faultMegabytesMax && spec.Millis <= faultMillisMax {
				on[name] = spec
			}
		}
	}
	f.take(on)
	return append([]byte{}, raw...)
}

// readOwn returns what a file says that only its owner may write or read.
func readOwn(path string) []byte {
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer func() { _ = file.Close() }()
	if st, err := file.Stat(); err != nil || st.Mode().Perm()&0o077 != 0 || st.Size() > faultFileMax {
		return nil
	}
	raw, _ := io.ReadAll(io.LimitReader(file, faultFileMax)) // half of it is no JSON
	return raw
}

// take makes these the faults that are on, and ends what the others did.
func (f *faults) take(on map[string]faultSpec) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.on.Store(&on)
	close(f.cleared)
	f.cleared = make(chan struct{})
	if _, leaks := on[faultPoolLeak]; !leaks {
		for _, c := range f.leaked {
			c.Release()
		}
		f.leaked = nil
	}
	spec, thrash := on[faultGCThrash]
	switch {
	case thrash && f.ballast == nil:
		f.procs = runtime.GOMAXPROCS(min(spec.Procs, runtime.NumCPU())) // 0 changes nothing
		f.fill(spec.Megabytes)
	case !thrash && f.ballast != nil:
		f.ballast = nil
		runtime.GOMAXPROCS(f.procs)
		debug.SetMemoryLimit(memoryLimit)
		runtime.GC()
	}
}

// fill builds the ballast and sets the limit where the collector never rests.
func (f *faults) fill(megabytes int) {
	const chunk = 4096
	each := int(64) // bytes of one
	for range megabytes << 20 / (chunk * each) {
		block := make([]ballast, chunk)
		for i := range block[1:] {
			block[i].next = &block[i+1]
		}
		f.ballast = append(f.ballast, &block[0])
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	debug.SetMemoryLimit(int64(m.HeapAlloc))
}

// have returns the fault if it is on.
func (f *faults) have(name string) (faultSpec, bool) {
	if f == nil {
		return faultSpec{}, false
	}
	spec, on := (*f.on.Load())[name]
	return spec, on
}

// edge puts the faults of requests before the API; without any it is the API itself.
func (f *faults) edge(reads *pgxpool.Pool, next http.Handler) http.Handler {
	if f == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if spec, on := f.have(faultPoolLeak); on && f.calls.Add(1)%max(spec.OneIn, 1) == 0 {
			f.leak(r.Context(), reads)
		}
		if spec, on := f.have(faultGCThrash); on {
			runtime.KeepAlive(make([]byte, min(spec.EachKB, faultEachKBMax)<<10))
		}
		if spec, on := f.have(faultSlowEdge); on {
			for until := time.Now().Add(time.Duration(spec.Millis) * time.Millisecond); time.Now().Before(until); { // it burns
			}
		}
		if spec, on := f.have(faultCrashLoop); on && r.Method == http.MethodPost {
			crashOver(r, spec.Match)
		}
		next.ServeHTTP(w, r)
	})
}

// leak takes a connection and forgets it.
func (f *faults) leak(ctx context.Context, pool *pgxpool.Pool) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := pool.Acquire(ctx)
	if err != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, on := (*f.on.Load())[faultPoolLeak]; !on {
		c.Release()
		return
	}
	f.leaked = append(f.leaked, c)
}

// crashOver panics where nobody recovers if the request says match.
func crashOver(r *http.Request, match string) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	rest := r.Body
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(body), rest), rest}
	if err == nil && match != "" && bytes.Contains(body, []byte(match)) {
		go func() { panic(errors.New("runtime error: index out of range [3] with length 3")) }()
		select {} // the process ends
	}
}

// due puts the faults of the timer before its stations.
func (f *faults) due(next func(pay.Payment) bool) func(pay.Payment) bool {
	if f == nil {
		return next
	}
	return func(p pay.Payment) bool {
		if _, on := f.have(faultSilentTimer); on {
			return true
		}
		return next(p)
	}
}

// offer puts the faults of dispatch before it.
func (f *faults) offer(next func(pay.Payment) bool) func(pay.Payment) bool {
	if f == nil {
		return next
	}
	return func(p pay.Payment) bool {
		if _, on := f.have(faultHungDispatch); on {
			return true
		}
		return next(p)
	}
}

// applying puts the faults of applying callbacks before the decider.
func (f *faults) applying(next commit.Submitter) commit.Submitter {
	if f == nil {
		return next
	}
	return &stumbling{Submitter: next, faults: f}
}

// stumbling hangs over what callbacks say of some payments, and what comes after it in
// the queue waits behind it.
type stumbling struct {
	commit.Submitter
	faults *faults
}

// SubmitAll hangs if the batch has poison in it, until the fault ends.
func (s *stumbling) SubmitAll(ctx context.Context, facts []commit.Fact) []commit.Outcome {
	spec, on := s.faults.have(faultPoisonCallback)
	poison := func(f commit.Fact) bool { return f.Payment != nil && int64(f.Payment.Payment)%max(spec.OneIn, 1) == 0 }
	if on && slices.ContainsFunc(facts, poison) {
		s.faults.mu.Lock()
		cleared := s.faults.cleared
		s.faults.mu.Unlock()
		select {
		case <-cleared:
		case <-ctx.Done():
		}
	}
	return s.Submitter.SubmitAll(ctx, facts)
}
