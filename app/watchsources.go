package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/signal"
	"github.com/moneta-pay/moneta/doctor/signal/canary"
	"github.com/moneta-pay/moneta/doctor/signal/logs"
	"github.com/moneta-pay/moneta/doctor/signal/metrics"
	"github.com/moneta-pay/moneta/doctor/signal/postgres"
	"github.com/moneta-pay/moneta/doctor/signal/probe"
	"github.com/moneta-pay/moneta/doctor/signal/process"
	"github.com/moneta-pay/moneta/doctor/signal/prometheus"
)

// databaseSources look at the database from inside and at its door.
func (w *watch) databaseSources() ([]signal.Source, error) {
	database, err := postgres.New(postgres.Config{DSN: w.cfg.DSN, Clock: w.clock})
	if err != nil {
		return nil, err
	}
	w.stops = append(w.stops, database.Close)
	var all []signal.Source
	for _, c := range database.Collectors() {
		all = append(all, signal.Source{Collector: c, Hop: doctor.HopPostgres})
	}
	return all, nil
}

// processSources look at serve: at its metrics, and, where it runs on this machine, at the
// process and at the disk that it and the database stand on.
func (w *watch) processSources(ctx context.Context) []signal.Source {
	here := w.cfg.ServeURL == "" || onThisMachine(w.cfg.ServeURL)
	var all []signal.Source
	if w.cfg.ServeURL != "" {
		m := metrics.New(metrics.Config{URL: w.cfg.ServeURL + "/metrics", Remote: !here, Clock: w.clock})
		w.stops = append(w.stops, func(context.Context) error { m.Close(); return nil })
		w.heats = m.Heats()
		all = append(all, signal.Source{Collector: m, Hop: doctor.HopServe})
	}
	if !here || !w.supervised() {
		return all
	}
	w.logs = logs.New(logs.Config{File: filepath.Join(w.cfg.DataDir, serveLog), Hop: doctor.HopServe, Clock: w.clock})
	all = append(all, signal.Source{Collector: w.logs}) // a log that cannot be read is nobody's silence
	return append(all, signal.Source{Hop: doctor.HopServe, Collector: process.New(process.Config{
		Match: process.Serve(w.cfg.State), Disks: w.disks(ctx), Clock: w.clock,
	})})
}

// prometheusSources ask a Prometheus that is there already. What it cannot tell is missing:
// no hop of ours is silent for it.
func (w *watch) prometheusSources() ([]signal.Source, error) {
	if w.cfg.Prometheus == "" {
		return nil, nil
	}
	if w.cfg.PrometheusSignals == "" {
		return nil, errors.New("--prometheus needs --prometheus-signals, a file with what to ask it: see docs/telemetry.md")
	}
	f, err := os.Open(w.cfg.PrometheusSignals)
	if err != nil {
		return nil, fmt.Errorf("--prometheus-signals: %w", err)
	}
	defer func() { _ = f.Close() }()
	file, err := prometheus.ReadFile(f)
	if err != nil {
		return nil, fmt.Errorf("--prometheus-signals %s: %w", w.cfg.PrometheusSignals, err)
	}
	c, err := prometheus.New(prometheus.Config{URL: w.cfg.Prometheus, File: file, Clock: w.clock})
	if err != nil {
		return nil, fmt.Errorf("--prometheus: %w", err)
	}
	w.stops = append(w.stops, func(context.Context) error { c.Close(); return nil })
	return []signal.Source{{Collector: c}}, nil
}

// serveLog is where up has its serve write.
const serveLog = "serve.log"

// supervised reports whether a moneta up of this machine has put its serve into the data
// folder: without one, no process of this machine is ours.
func (w *watch) supervised() bool {
	for _, trace := range []string{filepath.Join(w.cfg.DataDir, serveLog), w.cfg.State} {
		if _, err := os.Stat(trace); err == nil {
			return true
		}
	}
	return false
}

// outsideSources act like callers: probes ask, canaries pay.
func (w *watch) outsideSources() []signal.Source {
	var all []signal.Source
	keys, err := ReadKeys(keysPath(w.cfg.DataDir))
	if err != nil {
		keys = Keys{} // a wallet that no up of this folder has made
	}
	var targets []probe.Target
	if w.cfg.ServeURL != "" {
		targets = probe.Edge(w.cfg.ServeURL, keys.Tenant)
	}
	targets = append(targets, w.bankTargets()...)
	if len(targets) > 0 {
		all = append(all, signal.Source{Collector: probe.New(probe.Config{Targets: targets, Clock: w.clock}), Hop: doctor.HopClient})
	}
	key := cmp.Or(w.cfg.CanaryKey, keys.Canary)
	if w.cfg.NoCanary || key == "" || w.cfg.ServeURL == "" {
		return all
	}
	paths := []canary.Path{canary.Send()}
	for _, name := range slices.Sorted(maps.Keys(w.cfg.CanaryChannels)) {
		paths = append(paths, canary.Payout(name, w.cfg.CanaryChannels[name]))
	}
	c := canary.New(canary.Config{API: w.cfg.ServeURL, Key: key, Paths: paths, Clock: w.clock})
	w.stops = append(w.stops, func(context.Context) error { c.Close(); return nil })
	return append(all, signal.Source{Collector: c, Hop: doctor.HopClient})
}

// bankTargets are the sandbox banks that the wallet pays through.
func (w *watch) bankTargets() []probe.Target {
	if w.cfg.Config == "" && w.cfg.SandboxURL == "" {
		return nil
	}
	channels, err := ChannelsOf(w.cfg.Config, w.cfg.SandboxURL, w.cfg.DataDir)
	if err != nil {
		w.log.Warn("channels are not probed", slog.Any("error", err))
		return nil
	}
	var all []probe.Target
	for _, c := range channels {
		if c.Adapter == "sandbox" {
			all = append(all, probe.SandboxBank(c.Name, strings.TrimRight(c.BaseURL, "/"), strings.ToLower(c.Bank)))
		}
	}
	return all
}

// onThisMachine reports whether the URL names a loopback address.
func onThisMachine(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}
