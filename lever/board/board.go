// Package board keeps the levers that are pulled and tells every node what holds.
// Two roads lead to it: an append-only table that each node reads several times a
// second, so that a pull is effective everywhere within a second and survives every
// process; and a folder on the node's own machine, for when API and database are
// gone, whose files are copied into the table when it is back.
//
// Asking what holds is one atomic load. The board refuses to forget: what it cannot
// read stays as it was known, until its own end, and it says so. It refuses to let an
// end depend on the database, and to be believed by whoever sends money out after the
// process stood still: then Current is false until it has looked again.
package board

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/lever"
)

// How a node keeps up.
const (
	// lookEvery separates two looks at the table, and at the folder.
	lookEvery = 200 * time.Millisecond
	// lookWithin bounds one look.
	lookWithin = time.Second
	// currentFor is how old the last look may be for who sends money out: two looks
	// that end by their bound. A process that stood still longer looks again first.
	currentFor = 2500 * time.Millisecond
	// staleAfter is how long the table may not be read before the node says so.
	staleAfter = 5 * time.Second
)

// Config is what a Board needs.
type Config struct {
	// Pool reaches the primary, in sessions that nobody else can use up.
	Pool *pgxpool.Pool
	// Folder of the files on this machine; empty for none.
	Folder string
	// Clock is the system's when nil.
	Clock     clock.Clock
	Telemetry *telemetry.Telemetry
}

// Board is one node's view. It is safe for concurrent use.
type Board struct {
	cfg     Config
	log     *slog.Logger
	metrics metrics
	now     atomic.Pointer[lever.Standing]
	looked  atomic.Pointer[time.Time] // when the last look at the table began, well or not

	mu    sync.Mutex
	table []lever.Pull // as last read
	files files        // as last read
	read  time.Time    // when the table was last read well
	said  map[lever.ID]lever.Pull
	bad   string // why the folder cannot be read as a whole; empty when it can
}

type metrics struct {
	holding *prometheus.GaugeVec
	expired *prometheus.CounterVec
	failed  *prometheus.CounterVec
}

// New returns a board that knows nothing before Load.
func New(cfg Config) *Board {
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	b := &Board{cfg: cfg, log: cfg.Telemetry.Logger().With(slog.String("station", "lever")), said: make(map[lever.ID]lever.Pull)}
	b.metrics = metrics{
		holding: cfg.Telemetry.GaugeVec("moneta_levers_holding", "Levers that hold on this node, by lever.", "lever"),
		expired: cfg.Telemetry.CounterVec("moneta_levers_expired_total", "Levers that ended by themselves, not by an undo, by lever.", "lever"),
		failed:  cfg.Telemetry.CounterVec("moneta_levers_unread_total", "Looks at what is pulled that failed, by source (table, folder).", "source"),
	}
	cfg.Telemetry.GaugeFunc("moneta_levers_read_age_seconds", "Seconds since this node last read the table of levers.", func() float64 {
		return b.age().Seconds()
	})
	return b
}

// Standing is what holds as far as this node knows: one atomic load.
func (b *Board) Standing() *lever.Standing { return b.now.Load() }

// Now is the instant to ask a Standing with.
func (b *Board) Now() time.Time { return b.cfg.Clock.Now() }

// Current reports whether this node has looked recently, well or not. Who sends
// money out asks it: a process that stood still must not act on what held before.
func (b *Board) Current() bool {
	at := b.looked.Load()
	return at != nil && b.cfg.Clock.Now().Sub(*at) < currentFor
}

func (b *Board) age() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.read.IsZero() {
		return 0
	}
	return b.cfg.Clock.Now().Sub(b.read)
}

// Load looks at the folder and at the table once. Its error is the table's.
func (b *Board) Load(ctx context.Context) error {
	b.lookAtFolder(ctx)
	return b.lookAtTable(ctx)
}

// Run keeps looking until ctx ends, at the table and at the folder apart: a database
// that hangs must not keep a file from being seen.
func (b *Board) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		every(ctx, func() {
			if err := b.lookAtTable(ctx); err == nil {
				b.copyFiles(ctx)
			}
		})
		return nil
	})
	if b.cfg.Folder != "" {
		g.Go(func() error {
			every(ctx, func() { b.lookAtFolder(ctx) })
			return nil
		})
	}
	return g.Wait()
}

func every(ctx context.Context, do func()) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			do()
		}
	}
}

// lookAtTable reads what has not ended. What cannot be read stays as it was.
func (b *Board) lookAtTable(ctx context.Context) error {
	began := b.cfg.Clock.Now()
	pulls, err := b.selectHolding(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	if ctx.Err() != nil && err != nil {
		return err
	}
	b.looked.Store(&began)
	if err != nil {
		b.metrics.failed.WithLabelValues("table").Inc()
	} else {
		b.table, b.read = pulls, began
	}
	b.stand(ctx)
	return err
}

func (b *Board) lookAtFolder(ctx context.Context) {
	if b.cfg.Folder == "" {
		return
	}
	found, err := readFolder(b.cfg.Folder)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.metrics.failed.WithLabelValues("folder").Inc()
		if said := err.Error(); said != b.bad {
			b.bad = said
			b.log.LogAttrs(ctx, slog.LevelError, "the folder of levers cannot be read: what it held stays", slog.Any("error", err))
		}
	} else {
		b.bad = ""
		b.files = found
	}
	b.stand(ctx)
}

// stand puts together what both roads tell. The lock is held.
func (b *Board) stand(ctx context.Context) {
	all := merge(b.table, b.files)
	now := b.cfg.Clock.Now()
	s := lever.Stand(all)
	b.now.Store(s)
	b.tell(ctx, s.At(now), all, now)
}

// merge is the union of the table and the files; an undo on either road ends it.
func merge(table []lever.Pull, f files) []lever.Pull {
	all := make([]lever.Pull, 0, len(table)+len(f.pulls))
	seen := make(map[lever.ID]bool, len(table))
	add := func(p lever.Pull) {
		if seen[p.ID] {
			return
		}
		seen[p.ID] = true
		if u, ok := f.undos[p.ID]; ok && p.UndoneAt.IsZero() && local(p.Lever) {
			p.UndoneAt, p.UndoneBy, p.UndoReason = u.At, u.By, u.Reason
		}
		all = append(all, p)
	}
	for _, p := range table {
		add(p)
	}
	for _, p := range f.pulls {
		add(p)
	}
	return all
}

func local(n lever.Name) bool {
	e, ok := lever.Lookup(n)
	return ok && e.Local
}

// tell logs and counts what began and what ended since the last time. A lever that
// ends by itself is worth a page: whoever pulled it has not come back to it.
func (b *Board) tell(ctx context.Context, holding, all []lever.Pull, now time.Time) {
	still := make(map[lever.ID]bool, len(holding))
	b.metrics.holding.Reset()
	for i := range holding {
		p := &holding[i]
		still[p.ID] = true
		b.metrics.holding.WithLabelValues(string(p.Lever)).Inc()
		if _, known := b.said[p.ID]; !known {
			b.said[p.ID] = *p
			b.log.LogAttrs(ctx, slog.LevelWarn, "a lever holds", attrs(p)...)
		}
	}
	for id, p := range b.said {
		if still[id] {
			continue
		}
		delete(b.said, id)
		if p.Left(now) == 0 && !undone(all, id) {
			b.metrics.expired.WithLabelValues(string(p.Lever)).Inc()
			b.log.LogAttrs(ctx, slog.LevelError, "a lever ended by itself: nobody undid it", attrs(&p)...)
			continue
		}
		b.log.LogAttrs(ctx, slog.LevelWarn, "a lever was undone", attrs(&p)...)
	}
}

func undone(all []lever.Pull, id lever.ID) bool {
	for i := range all {
		if all[i].ID == id {
			return !all[i].UndoneAt.IsZero()
		}
	}
	return false
}

func attrs(p *lever.Pull) []slog.Attr {
	return []slog.Attr{
		slog.String("id", p.ID.String()), slog.String("lever", string(p.Lever)), slog.String("aim", p.Aim.String()),
		slog.String("by", p.By), slog.String("owner", p.Owner), slog.String("reason", p.Reason), slog.Time("expires_at", p.Expires),
	}
}

// Warnings are what a prober of readiness should know: what holds, and that this
// node goes by what it knew before.
func (b *Board) Warnings() map[string]string {
	out := make(map[string]string)
	now := b.cfg.Clock.Now()
	for _, p := range b.Standing().At(now) {
		text := fmt.Sprintf("%s (%s) until %s, owner %s", p.Lever, p.Aim, p.Expires.UTC().Format(time.RFC3339), p.Owner)
		if had := out["levers"]; had != "" {
			text = had + "; " + text
		}
		out["levers"] = text
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var stale error
	if !b.read.IsZero() && now.Sub(b.read) > staleAfter {
		stale = fmt.Errorf("the table has not been read for %s", now.Sub(b.read).Round(time.Second))
	}
	if b.bad != "" {
		stale = errors.Join(stale, errors.New("the folder: "+b.bad))
	}
	if len(b.files.broken) > 0 {
		stale = errors.Join(stale, fmt.Errorf("not a lever: %s", b.files.broken[0]))
	}
	if stale != nil {
		out["levers_stale"] = "what was pulled before holds on: " + stale.Error()
	}
	return out
}
