package app

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/diagnose"
	"github.com/moneta-pay/moneta/doctor/signal"
	"github.com/moneta-pay/moneta/doctor/signal/money"
	"github.com/moneta-pay/moneta/internal/clock"
)

// WatchConfig is what `moneta watch` was asked for.
type WatchConfig struct {
	// DataDir takes watch.json and the folder doctor; a running up in it is the wallet when
	// no DSN is named.
	DataDir string
	// DSN of the wallet's facts.
	DSN string
	// ServeURL is a node of the wallet; empty: none is looked at.
	ServeURL string
	// Listen is a host:port on this machine.
	Listen string
	// State is the state folder of serve on this machine, for levers while API and
	// database are gone; empty is that of up in DataDir.
	State string
	Lang  string
}

// doctorFolder holds journal, evidence files and proofs.
func doctorFolder(dataDir string) string { return filepath.Join(dataDir, "doctor") }

const (
	// tickEvery separates two judgements.
	tickEvery = time.Second
	// lately is the window that is judged while there is no incident.
	lately = 10 * time.Second
	// settleFor is for how long nothing is judged after this process stood still: the
	// collectors look first.
	settleFor = 3 * time.Second
)

// watch is the doctor at work. It needs neither serve nor the database to run.
type watch struct {
	cfg    WatchConfig
	log    *slog.Logger
	clock  clock.Clock
	memory *signal.Memory
	runner *signal.Runner
	stops  []func(context.Context) error // last started, first stopped

	mu     sync.Mutex
	now    Now
	newest *doctor.Evidence
}

// Now is what the watch says at once: GET /now.
type Now struct {
	At time.Time `json:"at"`
	// Alarms are the invariants that do not hold.
	Alarms []doctor.Alarm `json:"alarms"`
	// Answer is there while there is a paging alarm.
	Answer *doctor.Answer `json:"answer,omitempty"`
	// Collectors tell how old what is known is.
	Collectors []signal.Status `json:"collectors"`
}

// startWatch puts the doctor together: the collectors, what they remember, and what is
// done each second. Everything is wired here.
func startWatch(ctx context.Context, cfg WatchConfig, log *slog.Logger) (*watch, error) {
	w := &watch{cfg: cfg, log: log, clock: clock.System, memory: signal.NewMemory(doctor.Road())}
	sources, err := w.sources()
	if err != nil {
		return w, err
	}
	w.runner = signal.NewRunner(w.memory, w.clock, sources...)
	w.runner.Start(ctx)
	w.stops = append(w.stops, w.runner.Stop)
	w.each(ctx)
	return w, nil
}

// sources are the collectors, each with the hop that is silent when it is not heard.
func (w *watch) sources() ([]signal.Source, error) {
	facts, err := money.New(money.Config{DSN: w.cfg.DSN, Clock: w.clock})
	if err != nil {
		return nil, err
	}
	w.stops = append(w.stops, func(context.Context) error { facts.Close(); return nil })
	all := []signal.Source{{Collector: facts, Hop: doctor.HopPostgres}}
	database, err := w.databaseSources()
	if err != nil {
		return nil, err
	}
	all = append(all, database...)
	return append(all, w.processSources()...), nil
}

// each judges once a second, in a goroutine of its own.
func (w *watch) each(ctx context.Context) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	w.stops = append(w.stops, func(context.Context) error { cancel(); <-done; return nil })
	go func() {
		defer close(done)
		tick := time.NewTicker(tickEvery)
		defer tick.Stop()
		var notBefore time.Time
		for {
			now := w.clock.Now()
			if !w.runner.Note() {
				w.log.WarnContext(ctx, "this process stood still; what it knows is old, and is looked at again first")
				notBefore = now.Add(settleFor)
			}
			if !now.Before(notBefore) {
				w.judge(ctx, now)
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
}

// anySymptom is what an evidence is about while nobody complains.
var anySymptom = doctor.Symptom{Hop: doctor.HopAPI, Signal: doctor.Latency, Statistic: "mean"}

// judge looks at what was seen lately and says what does not hold.
func (w *watch) judge(ctx context.Context, now time.Time) {
	e := w.memory.Evidence(now, now.Add(-lately), anySymptom)
	e.Alarms = diagnose.Detect(e)
	w.tell(ctx, e.Alarms)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = Now{At: e.TakenAt, Alarms: e.Alarms}
	w.newest = e
}

// tell logs an alarm when it begins and when it ends.
func (w *watch) tell(ctx context.Context, alarms []doctor.Alarm) {
	w.mu.Lock()
	before := w.now.Alarms
	w.mu.Unlock()
	has := func(in []doctor.Alarm, a *doctor.Alarm) bool {
		for i := range in {
			if in[i].Rule == a.Rule && in[i].Hop == a.Hop && in[i].Code == a.Code {
				return true
			}
		}
		return false
	}
	for i := range alarms {
		if a := &alarms[i]; !has(before, a) {
			w.log.ErrorContext(ctx, "alarm", slog.String("rule", string(a.Rule)), slog.String("hop", a.Hop), slog.String("says", a.Says), slog.Bool("page", a.Page))
		}
	}
	for i := range before {
		if a := &before[i]; !has(alarms, a) {
			w.log.InfoContext(ctx, "it holds again", slog.String("rule", string(a.Rule)), slog.String("hop", a.Hop), slog.String("code", a.Code))
		}
	}
}

// routes are what commands and screens ask.
func (w *watch) routes(token string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, map[string]string{"status": "ok"}) })
	mux.HandleFunc("GET /now", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, w.saysNow()) })
	mux.HandleFunc("GET /evidence", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, w.evidence()) })
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		given := []byte(r.Header.Get("Authorization"))
		if r.URL.Path != "/healthz" && subtle.ConstantTimeCompare(given, []byte("Bearer "+token)) != 1 {
			http.Error(rw, "the token is in watch.json of the data folder", http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(rw, r)
	})
}

func (w *watch) saysNow() Now {
	w.mu.Lock()
	n := w.now
	w.mu.Unlock()
	n.Collectors = w.runner.Status()
	if n.Alarms == nil {
		n.Alarms = []doctor.Alarm{}
	}
	return n
}

// evidence is what an answer of now rests on: since the first paging alarm began, or
// of lately.
func (w *watch) evidence() *doctor.Evidence {
	w.mu.Lock()
	alarms := w.now.Alarms
	w.mu.Unlock()
	now := w.clock.Now()
	since, symptom := now.Add(-lately), anySymptom
	for i := range alarms {
		if a := &alarms[i]; a.Page && a.Since.Before(since) {
			since, symptom = a.Since, a.Symptom()
		}
	}
	e := w.memory.Evidence(now, since, symptom)
	e.Alarms = alarms
	return e
}

func answer(rw http.ResponseWriter, v any) {
	rw.Header().Set("Content-Type", "application/json")
	rw.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(rw).Encode(v) // whoever asked has gone
}

func (w *watch) stop(ctx context.Context) {
	for i := len(w.stops) - 1; i >= 0; i-- {
		if err := w.stops[i](ctx); err != nil {
			w.log.WarnContext(ctx, "stopping", slog.Any("error", err))
		}
	}
}

// Watch runs the doctor until ctx ends.
func Watch(ctx context.Context, cfg WatchConfig) error {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	if err := cfg.complete(ctx); err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", cfg.Listen, err)
	}
	defer func() { _ = listener.Close() }()
	token := make([]byte, 24)
	if _, err := rand.Read(token); err != nil {
		return err
	}
	file := watching{URL: "http://" + listener.Addr().String(), Token: hex.EncodeToString(token), PID: os.Getpid()}
	w, err := startWatch(ctx, cfg, log)
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
		defer cancel()
		w.stop(end)
	}()
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: w.routes(file.Token), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
		MaxHeaderBytes: 16 << 10,
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	if err := file.note(cfg.DataDir); err != nil {
		return err
	}
	defer file.gone(cfg.DataDir)
	log.InfoContext(ctx, "watching", slog.String("url", file.URL))
	select {
	case <-ctx.Done():
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = server.Shutdown(end) // who still asks is cut off
		return nil
	case err := <-ended:
		return err
	}
}

// complete finds the database of a running up, and refuses to be reached from outside.
func (c *WatchConfig) complete(ctx context.Context) error {
	host, _, err := net.SplitHostPort(c.Listen)
	if ip := net.ParseIP(host); err != nil || (host != "localhost" && (ip == nil || !ip.IsLoopback())) {
		return fmt.Errorf("--listen %s: the watch is reached from its own machine only; name a port of 127.0.0.1", c.Listen)
	}
	if c.State == "" {
		c.State = stateDir(c.DataDir)
	}
	if err := os.MkdirAll(doctorFolder(c.DataDir), 0o700); err != nil {
		return fmt.Errorf("make the doctor's folder: %w", err)
	}
	c.DSN, err = Database{DSN: c.DSN, DataDir: c.DataDir}.dsn(ctx)
	return err
}

// note says how the watch is reached, to whoever may read the data folder.
func (w *watching) note(dataDir string) error {
	raw, err := json.MarshalIndent(w, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dataDir, watchFile), raw, 0o600)
}

// gone takes the note away, unless another watch has written its own meanwhile.
func (w *watching) gone(dataDir string) {
	if now, err := findWatch(dataDir); err == nil && *now == *w {
		_ = os.Remove(filepath.Join(dataDir, watchFile)) // who finds it finds nobody there
	}
}
