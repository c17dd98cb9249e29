package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/drain"
	"github.com/moneta-pay/moneta/doctor/river"
	"github.com/moneta-pay/moneta/doctor/signal"
	"github.com/moneta-pay/moneta/doctor/signal/logs"
	"github.com/moneta-pay/moneta/doctor/signal/metrics"
	"github.com/moneta-pay/moneta/doctor/signal/money"
	"github.com/moneta-pay/moneta/doctor/signal/otlp"
	"github.com/moneta-pay/moneta/doctor/signal/process"
	"github.com/moneta-pay/moneta/doctor/slo"
	"github.com/moneta-pay/moneta/doctor/stuck"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/lifecycle"
	"github.com/moneta-pay/moneta/internal/pgserver"
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
	// Listen is a host:port on this machine for the console and for commands; empty is
	// consoleListen, and a free port when that is taken.
	Listen string
	// State is the state folder of serve on this machine, for levers while API and
	// database are gone; empty is that of up in DataDir.
	State string
	// Config is the file of serve with the channels, SandboxURL where the sandbox banks
	// are when there is none: their own books are what a proof is held against.
	Config, SandboxURL string
	// CanaryKey is the API key of the canaries' tenant; empty is that of up, and without
	// one there are none. CanaryChannels are those that canary payouts leave through, each
	// with the account that gets them: "bank-ab=123456".
	CanaryKey      string
	CanaryChannels map[string]string
	// NoCanary sends none.
	NoCanary bool
	// Auto is what the doctor does without asking: observe, instant or undoable.
	Auto string
	// ActsPerHour bounds what the doctor does without a person in an hour, over all
	// incidents; 0 is runbook.DefaultActsPerHour.
	ActsPerHour int
	Lang        string
	// ConsoleURL is the address at which people reach the console, such as
	// https://moneta.example behind a proxy of yours; empty is localhost. Passkeys and the
	// names that the console answers to follow from it.
	ConsoleURL string
	// Out is told where the console is, unless up has started this; nil is nobody.
	Out io.Writer

	// OTLPListen is a host:port on this machine that takes spans; empty is otlpListen, and a
	// free port when that is taken; off takes none.
	OTLPListen string
	// JaegerURL is a Jaeger that has the traces too, such as http://127.0.0.1:16686.
	JaegerURL string

	// Prometheus is one that is there already, PrometheusSignals the file with what it is
	// asked.
	Prometheus, PrometheusSignals string

	// AllowDrills lets the console run drills on a machine whose wallet is none of the
	// sandbox: a drill has a world of its own, and takes this machine's processors.
	AllowDrills bool

	first     bool   // nothing was watched here before
	listening string // where, as http://127.0.0.1:7072
}

// doctorFolder holds journal, evidence files and proofs.
func doctorFolder(dataDir string) string { return filepath.Join(dataDir, "doctor") }

const (
	// tickEvery separates two judgements.
	tickEvery = time.Second
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

	attendance *attendance
	sessions   *sessions
	streams    *streams
	stuck      *stuck.Reader
	bench      *drain.Bench
	drills     *drillRoom
	verify     *verifyRoom
	focus      *focus
	pay        *payProxy
	facts      *money.Collector
	river      *river.Keeper // the maps of the last quarter of an hour
	public     publicStatus
	contracts  atomic.Pointer[map[string]*claims] // by channel
	traces     *otlp.Store
	heats      *metrics.Heats // nil without serve's metrics
	logs       *logs.Tail     // nil without its log
	budgets    *slo.Book
	tracesAt   string // where spans are taken, as a URL; empty: nowhere
}

// startWatch puts the doctor together: the collectors, what they remember, and what is
// done each second. Everything is wired here.
func startWatch(ctx context.Context, cfg WatchConfig, log *slog.Logger) (*watch, error) {
	w := &watch{
		cfg: cfg, log: log, clock: clock.System, memory: signal.NewMemory(doctor.Road()), river: river.NewKeeper(),
		streams: newStreams(ctx),
	}
	var err error
	if w.sessions, err = newSessions(ctx, &w.cfg, cfg.consoleOrigin(cfg.listening), clock.System, log); err != nil {
		return w, err
	}
	w.stops = append(w.stops, func(context.Context) error { w.sessions.end(); return nil })
	if err := w.receiveTraces(ctx); err != nil {
		return w, err
	}
	sources, err := w.sources(ctx)
	if err != nil {
		return w, err
	}
	w.runner = signal.NewRunner(w.memory, w.clock, sources...)
	if w.attendance, err = newAttendance(ctx, &w.cfg, w.look, w.clock, log); err != nil {
		return w, err
	}
	w.stops = append(w.stops, w.attendance.close)
	if err := w.rooms(ctx); err != nil {
		return w, err
	}
	w.runner.Start(ctx)
	w.stops = append(w.stops, w.runner.Stop)
	if err := w.followSLO(ctx); err != nil {
		return w, err
	}
	w.each(ctx)
	w.followContracts(ctx)
	return w, nil
}

// look is what is known now: since the trouble began, or of lately. However long a
// trouble lasts, what was usual before it stays the usual.
func (w *watch) look(since time.Time, s doctor.Symptom) *doctor.Evidence {
	now := w.clock.Now()
	if since.IsZero() {
		w.memory.Thaw(now)
		since, s = now.Add(-signal.Lately), anySymptom
	} else {
		w.memory.Freeze(since)
	}
	return w.memory.Evidence(now, since, s)
}

// rooms are what people use to look closer and to act.
func (w *watch) rooms(ctx context.Context) (err error) {
	if w.stuck, err = stuck.New(ctx, w.cfg.DSN); err != nil {
		return err
	}
	w.stops = append(w.stops, func(context.Context) error { w.stuck.Close(); return nil })
	w.focus = newFocus(doctorFolder(w.cfg.DataDir), w.clock)
	w.bench = w.newBench()
	w.stops = append(w.stops, func(context.Context) error { w.bench.Stop(); return nil })
	w.drills = newDrillRoom(filepath.Join(doctorFolder(w.cfg.DataDir), drillsFolder), w.log)
	w.stops = append(w.stops, w.drills.stop)
	w.verify = newVerifyRoom(w.clock)
	w.stops = append(w.stops, w.verify.stop)
	return nil
}

// sources are the collectors, each with the hop that is silent when it is not heard.
func (w *watch) sources(ctx context.Context) ([]signal.Source, error) {
	facts, err := money.New(ctx, money.Config{DSN: w.cfg.DSN, Clock: w.clock})
	if err != nil {
		return nil, err
	}
	w.stops = append(w.stops, func(context.Context) error { facts.Close(); return nil })
	w.facts = facts
	all := []signal.Source{{Collector: facts, Hop: doctor.HopPostgres}}
	database, err := w.databaseSources()
	if err != nil {
		return nil, err
	}
	all = append(all, database...)
	foreign, err := w.prometheusSources()
	if err != nil {
		return nil, err
	}
	all = append(all, foreign...)
	all = append(all, w.processSources(ctx)...)
	return append(all, w.outsideSources()...), nil
}

// disks are those that are on this machine: that of the folder of up, and that of its
// private Postgres, beside whose data a small file is flushed.
func (w *watch) disks(ctx context.Context) []process.Disk {
	all := []process.Disk{{Hop: doctor.HopServe, Kind: doctor.Service, Folder: w.cfg.DataDir}}
	place, _, err := pgserver.Place(ctx, pgFolder(w.cfg.DataDir))
	if err != nil {
		return all
	}
	if st, err := os.Stat(filepath.Join(place, "data")); err == nil && st.IsDir() {
		all = append(all, process.Disk{Hop: doctor.HopPostgres, Kind: doctor.Database, Folder: place, Flush: true})
	}
	return all
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
				w.judge(ctx)
				w.draw()
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

// judge looks once, and goes on with the incident that is open.
func (w *watch) judge(ctx context.Context) {
	before := w.attendance.it.Now().Alarms
	// An error of the journal was logged; a doctor that stops because its disk is full
	// would be of no use to anybody, so the next tick tries again.
	_ = w.attendance.it.Tick(ctx)
	w.tell(ctx, before, w.attendance.it.Now().Alarms)
}

// tell logs an alarm when it begins and when it ends.
func (w *watch) tell(ctx context.Context, before, alarms []doctor.Alarm) {
	has := func(in []doctor.Alarm, a *doctor.Alarm) bool {
		for i := range in {
			if in[i].Rule == a.Rule && in[i].Hop == a.Hop && in[i].Code == a.Code {
				return true
			}
		}
		return false
	}
	for i := range alarms {
		if a := &alarms[i]; !has(before, a) && (a.Page || w.focus.now() == nil) {
			w.log.ErrorContext(ctx, "alarm", slog.String("rule", string(a.Rule)), slog.String("hop", a.Hop), slog.String("says", a.Says), slog.Bool("page", a.Page))
		}
	}
	for i := range before {
		if a := &before[i]; !has(alarms, a) {
			w.log.InfoContext(ctx, "it holds again", slog.String("rule", string(a.Rule)), slog.String("hop", a.Hop), slog.String("code", a.Code))
		}
	}
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
	listener, err := cfg.listen(ctx, log)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }()
	token := make([]byte, 24)
	if _, err := rand.Read(token); err != nil {
		return err
	}
	file := watching{URL: "http://" + listener.Addr().String(), Token: hex.EncodeToString(token), PID: os.Getpid()}
	cfg.listening = file.URL
	file.Console = cfg.consoleOrigin(file.URL)
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
		Handler: w.routes(&file), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
		MaxHeaderBytes: 16 << 10,
	}
	server.RegisterOnShutdown(w.streams.end)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	if err := file.note(cfg.DataDir); err != nil {
		return err
	}
	defer file.gone(cfg.DataDir)
	log.InfoContext(ctx, "watching", slog.String("url", file.URL))
	w.greet(&cfg, &file)
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

// listen takes the port that was asked for, or the console's own. When somebody has that
// one already, a doctor at another port is better than none.
func (c *WatchConfig) listen(ctx context.Context, log *slog.Logger) (net.Listener, error) {
	var lc net.ListenConfig
	if c.Listen != "" {
		l, err := lc.Listen(ctx, "tcp", c.Listen)
		if err != nil {
			return nil, fmt.Errorf("listen on %s: %w; name another port with --listen, 0 for any free one", c.Listen, err)
		}
		return l, nil
	}
	l, err := lc.Listen(ctx, "tcp", consoleListen)
	if err == nil {
		return l, nil
	}
	if l, free := lc.Listen(ctx, "tcp", "127.0.0.1:0"); free == nil {
		log.WarnContext(ctx, "somebody has the console's port; the console is at another", slog.String("taken", consoleListen), slog.String("url", "http://"+l.Addr().String()))
		return l, nil
	}
	return nil, fmt.Errorf("listen on %s: %w", consoleListen, err)
}

// greet says where the console is to who has started the watch by hand; up does so itself.
func (w *watch) greet(cfg *WatchConfig, file *watching) {
	if cfg.Out == nil || lifecycle.Supervised() {
		return
	}
	fmt.Fprint(cfg.Out, say(cfg.Lang, "up-console", file.Console, consoleHint(cfg.Lang)))
	if !cfg.first {
		return
	}
	if link, err := w.newLink(context.Background(), linkAsked{}); err == nil {
		fmt.Fprint(cfg.Out, say(cfg.Lang, "up-link", link.URL))
	}
}

// complete finds the database of a running up, and refuses to be reached from outside.
func (c *WatchConfig) complete(ctx context.Context) error {
	if err := onlyLoopback("--listen", cmp.Or(c.Listen, consoleListen)); err != nil {
		return err
	}
	if c.State == "" {
		c.State = stateDir(c.DataDir)
	}
	if _, err := os.Stat(doctorFolder(c.DataDir)); errors.Is(err, fs.ErrNotExist) {
		c.first = true
	}
	if err := os.MkdirAll(doctorFolder(c.DataDir), 0o700); err != nil {
		return fmt.Errorf("make the doctor's folder: %w", err)
	}
	var err error
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
