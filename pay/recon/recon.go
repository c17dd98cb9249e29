// Package recon holds the channels' statements against the ledger: every line
// finds its payment, every payment its line, and the clearing accounts run to
// zero. What does not is a break with a class and an age. It refuses to repair:
// nothing here moves money but the settlement of what matches exactly.
package recon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/recon/statement"
)

// Defaults of Config; each applies when its field is zero.
const (
	// DefaultEvery is how often the statements are read.
	DefaultEvery = 10 * time.Second
	// DefaultMissingAfter is how long after it is due a line may stay away.
	DefaultMissingAfter = 10 * time.Minute
	// DefaultPageMax is how many lines are asked for at once: two facts each, which
	// must fit into one batch of the committer.
	DefaultPageMax = 400
)

const (
	pagesMax      = 10_000 // pages of one channel in one run; the next run goes on
	pageWithin    = 30 * time.Second
	expectedChunk = 20_000 // transitions looked at in one statement
)

// Config is what a Recon needs.
type Config struct {
	// Pool of the primary, in the role of the pay plane.
	Pool      *pgxpool.Pool
	Submitter commit.Submitter
	Channels  []channel.Channel
	// Gate tells what a restore lost; nil means that nothing ever was restored.
	Gate *Gate
	// Clock tells the time; nil means the system's.
	Clock clock.Clock
	// Telemetry takes logs and metrics; required.
	Telemetry *telemetry.Telemetry
	// Terms were agreed with each channel; one without has a statement that follows
	// at once, by UTC, and may cost anything.
	Terms map[channel.Name]Terms

	Every   time.Duration
	PageMax int
}

// Recon reconciles all channels of a shard. It runs on the leader.
type Recon struct {
	cfg     Config
	log     *slog.Logger
	metrics metrics
	turn    sync.Mutex // one run at a time: the statement's order is the cursor's
	looked  int64      // the last open break of which it was asked whether its money still waits

	metLock sync.Mutex
	met     int64 // the pause that was met last, and when
	metAt   time.Time
}

type metrics struct {
	lines           *prometheus.CounterVec
	success, oldest *prometheus.GaugeVec
	duration        *prometheus.HistogramVec
	requests        *prometheus.CounterVec
}

// New returns a Recon.
func New(cfg Config) *Recon {
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	if cfg.Every <= 0 {
		cfg.Every = DefaultEvery
	}
	if cfg.PageMax <= 0 {
		cfg.PageMax = DefaultPageMax
	}
	t := cfg.Telemetry
	if cfg.Gate == nil {
		cfg.Gate = &Gate{loaded: true}
	}
	return &Recon{cfg: cfg, log: t.Logger().With(slog.String("station", "recon")), metrics: metrics{
		lines:    t.CounterVec("moneta_recon_lines_total", "Statement lines by what became of them.", "channel", "outcome"),
		success:  t.GaugeVec("moneta_recon_last_success_timestamp_seconds", "When a channel was last reconciled to the end.", "source"),
		oldest:   t.GaugeVec("moneta_recon_oldest_break_age_seconds", "Age of the oldest open break.", "source"),
		requests: t.CounterVec("moneta_channel_requests_total", "Calls to channels by operation and outcome.", "channel", "op", "outcome"),
		duration: t.HistogramVec("moneta_channel_duration_seconds", "How long calls to channels took.", "channel", "op"),
	}}
}

// Loop runs until ctx ends. A run that fails is logged and tried again.
func (r *Recon) Loop(ctx context.Context) error {
	ticker := time.NewTicker(r.cfg.Every)
	defer ticker.Stop()
	for {
		if err := r.Run(ctx); err != nil && ctx.Err() == nil {
			r.log.LogAttrs(ctx, slog.LevelError, "reconciliation failed", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (r *Recon) terms(name channel.Name) Terms { return r.cfg.Terms[name] }

// Mapping is how a channel's CSV is written; false when there is no such channel.
func (r *Recon) Mapping(name channel.Name) (statement.Mapping, bool) {
	for _, ch := range r.cfg.Channels {
		if ch.Name() == name {
			return r.terms(name).Mapping, true
		}
	}
	return statement.Mapping{}, false
}

// Run reads every channel's statement to its end and then looks for payments
// that it should have shown. Channels stand alone: the error joins theirs.
func (r *Recon) Run(ctx context.Context) error {
	r.turn.Lock()
	defer r.turn.Unlock()
	head, err := r.head(ctx)
	if err := errors.Join(err, r.triage(ctx)); err != nil {
		return err
	}
	readings := make([]reading, len(r.cfg.Channels))
	errs := r.each(func(i int, ch channel.Channel) (err error) {
		readings[i], err = r.read(ctx, ch)
		readings[i].whole = err == nil
		return err
	})
	// After the lines, so that what they have settled is not expected in vain.
	if err := r.expect(ctx, head); err != nil {
		return errors.Join(append(errs, err)...)
	}
	missing := r.each(func(i int, ch channel.Channel) error {
		if err := errors.Join(r.attested(ctx, ch.Name()), r.strays(ctx, ch.Name()), r.paidTwice(ctx, ch.Name())); err != nil {
			return err
		}
		if !readings[i].whole { // only a statement read to its end can be missing something
			return nil
		}
		if err := r.missing(ctx, ch.Name(), readings[i].started, readings[i].until); err != nil {
			return err
		}
		return r.ran(ctx, ch.Name(), readings[i].lines)
	})
	if err := errors.Join(append(append(errs, missing...), r.placed(ctx), r.triage(ctx), r.showAges(ctx))...); err != nil {
		return err
	}
	return r.resumeWhenClean(ctx)
}

// each runs work for all channels at once and returns its errors by channel.
func (r *Recon) each(work func(int, channel.Channel) error) []error {
	errs := make([]error, len(r.cfg.Channels))
	var wait sync.WaitGroup
	for i, ch := range r.cfg.Channels {
		wait.Go(func() {
			if err := work(i, ch); err != nil {
				errs[i] = fmt.Errorf("reconcile %s: %w", ch.Name(), err)
			}
		})
	}
	wait.Wait()
	return errs
}

// reading is how a statement was read. A whole one tells what happened before until,
// as the channel knew it when it was started.
type reading struct {
	started, until time.Time
	lines          int64
	whole          bool
}

func (r *Recon) read(ctx context.Context, ch channel.Channel) (reading, error) {
	d := reading{started: r.cfg.Clock.Now(), until: endOfTime}
	err := r.reclaim(ctx, ch)
	if err != nil {
		return d, err
	}
	if d.lines, err = r.toTheEnd(func() (int, bool, error) { return r.file(ctx, ch.Name()) }); err != nil {
		return d, err
	}
	if r.terms(ch.Name()).Files {
		d.until, err = r.stated(ctx, ch.Name())
		return d, err
	}
	n, err := r.toTheEnd(func() (int, bool, error) { return r.page(ctx, ch) })
	d.lines += n
	return d, err
}

// toTheEnd asks for pages until there are no more, and counts their lines.
func (r *Recon) toTheEnd(page func() (int, bool, error)) (lines int64, err error) {
	for range pagesMax {
		n, more, err := page()
		if err != nil {
			return lines, err
		}
		if lines += int64(n); !more {
			return lines, nil
		}
	}
	return lines, fmt.Errorf("%d pages and no end; the next run goes on", pagesMax)
}

// page reads one page, commits what it says, and only then keeps its lines: a
// crash in between reads the page again, and its facts are replays.
func (r *Recon) page(ctx context.Context, ch channel.Channel) (n int, more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, pageWithin)
	defer cancel()
	name := ch.Name()
	cursor, err := r.cursor(ctx, name)
	if err != nil {
		return 0, false, err
	}
	asked := r.cfg.Clock.Now()
	page, err := ch.Statement(ctx, cursor, r.cfg.PageMax)
	r.metrics.duration.WithLabelValues(string(name), "statement").Observe(r.cfg.Clock.Now().Sub(asked).Seconds())
	if err != nil {
		r.metrics.requests.WithLabelValues(string(name), "statement", "failed").Inc()
		return 0, false, err
	}
	r.metrics.requests.WithLabelValues(string(name), "statement", "ok").Inc()
	if len(page.Lines) == 0 {
		return 0, false, nil
	}
	if err := r.take(ctx, name, page.Lines, 0); err != nil {
		return 0, false, err
	}
	return len(page.Lines), page.HasMore, nil
}

// take judges lines, commits what they say, and keeps them. file is the statement
// that they came in, 0 for lines that were read from the channel.
func (r *Recon) take(ctx context.Context, name channel.Name, lines []channel.Line, file int64) error {
	items, err := r.match(ctx, name, lines)
	if err != nil {
		return err
	}
	if err := r.settle(ctx, name, items); err != nil {
		return err
	}
	for i := range items {
		if err := items[i].checkFee(r.terms(name).Fees); err != nil {
			return err
		}
	}
	return r.keep(ctx, name, items, file)
}
