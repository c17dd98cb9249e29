package app

import (
	"context"
	"net"
	"net/url"
	"os"
	"path/filepath"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/signal"
	"github.com/moneta-pay/moneta/doctor/signal/metrics"
	"github.com/moneta-pay/moneta/doctor/signal/postgres"
	"github.com/moneta-pay/moneta/doctor/signal/process"
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
		all = append(all, signal.Source{Collector: m, Hop: doctor.HopServe})
	}
	if !here || !w.supervised() {
		return all
	}
	return append(all, signal.Source{Hop: doctor.HopServe, Collector: process.New(process.Config{
		Match: process.Serve(w.cfg.State), Disks: w.disks(ctx), Clock: w.clock,
	})})
}

// supervised reports whether a moneta up of this machine has put its serve into the data
// folder: without one, no process of this machine is ours.
func (w *watch) supervised() bool {
	for _, trace := range []string{filepath.Join(w.cfg.DataDir, "serve.log"), w.cfg.State} {
		if _, err := os.Stat(trace); err == nil {
			return true
		}
	}
	return false
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
