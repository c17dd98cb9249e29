package recon

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/recon/statement"
)

// OverdueAfter is how long a channel whose statement is read continuously may go
// without having been read to its end. Source: the contract's near-real-time
// reconciliation, at most 15 minutes.
const OverdueAfter = 15 * time.Minute

// watchEvery is how often each node looks whether a run is missing.
const watchEvery = 15 * time.Second

// Terms is what was agreed with a channel about its statement.
type Terms struct {
	Calendar Calendar
	// Fees are what the channel keeps of each line, by asset; another fee is a
	// break. An asset that is not there may cost anything.
	Fees map[money.Asset]money.Amount
	// Files says that its statement comes as files, which somebody imports; nobody
	// asks the channel for it.
	Files bool
	// Mapping says where in its CSV what stands.
	Mapping statement.Mapping
}

const noteRun = `insert into recon_runs (channel, finished_at, lines) values ($1, $2, $3)
  on conflict (channel) do update set finished_at = greatest(recon_runs.finished_at, excluded.finished_at), lines = recon_runs.lines + excluded.lines`

// ran keeps that the channel was read to its end, and how many lines were new.
func (r *Recon) ran(ctx context.Context, name channel.Name, lines int64) error {
	now := r.cfg.Clock.Now()
	if _, err := r.cfg.Pool.Exec(ctx, noteRun, string(name), now, lines); err != nil {
		return fmt.Errorf("note the run: %w", err)
	}
	r.metrics.success.WithLabelValues(string(name)).SetToCurrentTime()
	return nil
}

// Overdue is a channel that should have been reconciled and was not.
type Overdue struct {
	Channel channel.Name `json:"channel"`
	// Since is when the run should have been done.
	Since time.Time `json:"since"`
	// Last is when it last was; nil if never.
	Last *time.Time `json:"last,omitempty"`
}

// Watch tells whether every channel is reconciled in time. It runs on every node,
// apart from the runs themselves: a loop that hangs cannot say so. Its methods are
// safe for concurrent use.
type Watch struct {
	pool     *pgxpool.Pool
	clock    clock.Clock
	log      *slog.Logger
	gauge    *prometheus.GaugeVec
	channels []channel.Name
	terms    map[channel.Name]Terms
	started  time.Time

	mu      sync.Mutex
	overdue map[channel.Name]Overdue
}

// NewWatch returns a watch over the channels; a nil clock is the system's.
func NewWatch(pool *pgxpool.Pool, c clock.Clock, channels []channel.Name, terms map[channel.Name]Terms, t *telemetry.Telemetry) *Watch {
	if c == nil {
		c = clock.System
	}
	return &Watch{
		pool: pool, clock: c, channels: channels, terms: terms, started: c.Now(), overdue: map[channel.Name]Overdue{},
		log:   t.Logger().With(slog.String("station", "recon")),
		gauge: t.GaugeVec("moneta_recon_run_overdue", "1 while a channel was not reconciled in time, else 0.", "source"),
	}
}

// Run looks until ctx ends.
func (w *Watch) Run(ctx context.Context) error {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		if err := w.Look(ctx); err != nil && ctx.Err() == nil {
			w.log.LogAttrs(ctx, slog.LevelWarn, "when channels were last reconciled cannot be read", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Look reads once when each channel was last reconciled.
func (w *Watch) Look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pageWithin)
	defer cancel()
	rows, err := w.pool.Query(ctx, `select channel, finished_at from recon_runs`)
	if err != nil {
		return fmt.Errorf("read the runs: %w", err)
	}
	last := map[channel.Name]time.Time{}
	var name channel.Name
	var at time.Time
	if _, err := pgx.ForEachRow(rows, []any{&name, &at}, func() error { last[name] = at; return nil }); err != nil {
		return fmt.Errorf("read the runs: %w", err)
	}
	stated, err := w.stated(ctx)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range w.channels {
		w.judge(ctx, name, last[name], w.due(name, last[name], stated[name]))
	}
	return nil
}

// stated is the last day that each channel's files close.
func (w *Watch) stated(ctx context.Context) (map[channel.Name]time.Time, error) {
	rows, err := w.pool.Query(ctx, `select channel, max(day) from statements group by channel`)
	if err != nil {
		return nil, fmt.Errorf("read the statements: %w", err)
	}
	out := map[channel.Name]time.Time{}
	var name channel.Name
	var day time.Time
	if _, err := pgx.ForEachRow(rows, []any{&name, &day}, func() error { out[name] = day; return nil }); err != nil {
		return nil, fmt.Errorf("read the statements: %w", err)
	}
	return out, nil
}

// due is when the next run should be done: a while after the last one, or, where
// files come, when that of the next business day should be there.
func (w *Watch) due(name channel.Name, last, stated time.Time) time.Time {
	if t := w.terms[name]; t.Files {
		day := t.Calendar.Day(w.started) // a channel that is new to us begins today
		if !stated.IsZero() {
			day = t.Calendar.following(dateOf(stated).add(1))
		}
		return t.Calendar.arrival(day).Add(t.Calendar.grace())
	}
	if last.IsZero() {
		return w.started.Add(OverdueAfter)
	}
	return last.Add(OverdueAfter)
}

// judge pages once when a run becomes overdue, and says when it is made up for.
func (w *Watch) judge(ctx context.Context, name channel.Name, last, due time.Time) {
	_, was := w.overdue[name]
	if w.clock.Now().Before(due) {
		delete(w.overdue, name)
		w.gauge.WithLabelValues(string(name)).Set(0)
		if was {
			w.log.LogAttrs(ctx, slog.LevelInfo, "the channel is reconciled again", slog.String("channel", string(name)))
		}
		return
	}
	o := Overdue{Channel: name, Since: due.UTC()}
	if !last.IsZero() {
		utc := last.UTC()
		o.Last = &utc
	}
	w.overdue[name] = o
	w.gauge.WithLabelValues(string(name)).Set(1)
	if !was {
		w.log.LogAttrs(ctx, slog.LevelError, "a reconciliation run is missing", slog.String("channel", string(name)), slog.Time("due", o.Since))
	}
}

// Overdue returns the channels whose run is missing, in the order of the
// configuration.
func (w *Watch) Overdue() []Overdue {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []Overdue
	for _, name := range w.channels {
		if o, ok := w.overdue[name]; ok {
			out = append(out, o)
		}
	}
	return out
}
