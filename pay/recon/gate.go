package recon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/pay"
)

// gateEvery is how often each node looks whether dispatch was resumed.
const gateEvery = time.Second

// pause is the newest row of dispatch_pauses.
type pause struct {
	id                     int64
	reason                 string
	restoredTo, pausedAt   time.Time
	last, next             pay.ID
	resumedAt              *time.Time
	resumedBy, resumedWith string
}

func (p *pause) paused() bool { return p != nil && p.resumedAt == nil }

// lost reports whether the id belongs to a payment that the restore left behind.
func (p *pause) lost(id pay.ID) bool { return p != nil && id > p.last && id <= p.next }

// Gate holds payouts back after a restore or a failover of the database: all of
// them while dispatch is paused, and each one that the ledger had until its channel was asked for the
// attempts that the lost time may have made. Its methods are safe for concurrent
// use.
type Gate struct {
	pool  *pgxpool.Pool
	log   *slog.Logger
	gauge prometheus.Gauge

	mu     sync.Mutex
	loaded bool
	pause  *pause
	asked  map[pay.ID]int16 // the last attempt that we know of and the channel was asked behind
}

// NewGate returns a gate that holds everything until Load.
func NewGate(pool *pgxpool.Pool, t *telemetry.Telemetry) *Gate {
	return &Gate{
		pool: pool, log: t.Logger().With(slog.String("station", "recon")), asked: make(map[pay.ID]int16),
		gauge: t.Gauge("moneta_dispatch_paused", "1 while no payout is sent after a restore or a failover, else 0."),
	}
}

const selectPause = `select id, reason, restored_to, paused_at, last_payment, next_payment, resumed_at, coalesce(resumed_by, ''), coalesce(resume_reason, '')
  from dispatch_pauses order by id desc limit 1`

// Shut holds everything until the next Load that succeeds.
func (g *Gate) Shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.loaded = false
}

// Load reads whether dispatch is paused.
func (g *Gate) Load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pageWithin)
	defer cancel()
	var p pause
	err := g.pool.QueryRow(ctx, selectPause).Scan(&p.id, &p.reason, &p.restoredTo, &p.pausedAt, &p.last, &p.next,
		&p.resumedAt, &p.resumedBy, &p.resumedWith)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("read whether dispatch is paused: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.loaded = true
	if err == nil {
		g.pause = &p
	}
	g.gauge.Set(0)
	if g.pause.paused() {
		g.gauge.Set(1)
	}
	return nil
}

// Watch reads it again every second until ctx ends; what it cannot read stays as
// it was.
func (g *Gate) Watch(ctx context.Context) error {
	ticker := time.NewTicker(gateEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if err := g.Load(ctx); err != nil && ctx.Err() == nil {
				g.log.LogAttrs(ctx, slog.LevelWarn, "the pause of dispatch cannot be read", slog.Any("error", err))
			}
		}
	}
}

// Hold reports whether the payout may not be attempted now.
func (g *Gate) Hold(p *pay.Payment) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case !g.loaded || g.pause.paused():
		return true
	case g.pause == nil || p.ID > g.pause.last:
		return false
	}
	after, asked := g.asked[p.ID]
	return !asked || after != p.Attempt.N
}

func (g *Gate) state() *pause {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.pause
}

func (g *Gate) askedAfter(id pay.ID, attempt int16) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	after, asked := g.asked[id]
	return asked && after == attempt
}

func (g *Gate) note(id pay.ID, attempt int16) {
	g.mu.Lock()
	g.asked[id] = attempt
	g.mu.Unlock()
}

// DispatchState is whether payouts are sent, and what stands against it.
type DispatchState struct {
	Object string `json:"object" enum:"dispatch"`
	Paused bool   `json:"paused"`
	// Reason and the following are those of the newest pause; empty without one.
	Reason     string     `json:"reason,omitempty"`
	PausedAt   *time.Time `json:"paused_at,omitempty"`
	RestoredTo *time.Time `json:"restored_to,omitempty"`
	// Waiting counts restored payouts whose attempts are not yet known for sure.
	Waiting int64 `json:"waiting"`
	// OpenGaps counts what a channel did and the restored ledger does not know;
	// ClosedGaps what was taken over from the channel's word.
	OpenGaps     int64      `json:"open_gaps"`
	ClosedGaps   int64      `json:"closed_gaps"`
	ResumedAt    *time.Time `json:"resumed_at,omitempty"`
	ResumedBy    string     `json:"resumed_by,omitempty"`
	ResumeReason string     `json:"resume_reason,omitempty"`
}

const selectStanding = `select
  (select count(*) from open_payments where kind = any($1) and payment <= $2 and state = any($3)),
  count(*) filter (where closed_at is null), count(*) filter (where closed_at is not null)
  from breaks where class = 'restore_gap'`

// leaving are the kinds that are sent attempt by attempt (pay.Kind.Leaves).
var leaving = []int16{int16(pay.Payout), int16(pay.Capture), int16(pay.Refund)}

// unsettled are the states of a payout that may be sent again some day.
var unsettled = []int16{int16(pay.Created), int16(pay.Reserved), int16(pay.Dispatching), int16(pay.Unknown)}

// State tells where dispatch stands, read from the database.
func (g *Gate) State(ctx context.Context) (DispatchState, error) {
	s := DispatchState{Object: "dispatch"}
	if err := g.Load(ctx); err != nil {
		return s, readFault("recon.Gate.State", err)
	}
	p := g.state()
	if p == nil {
		return s, nil
	}
	err := g.pool.QueryRow(ctx, selectStanding, leaving, int64(p.last), unsettled).Scan(&s.Waiting, &s.OpenGaps, &s.ClosedGaps)
	if err != nil {
		return s, readFault("recon.Gate.State", err)
	}
	pausedAt, restoredTo := p.pausedAt.UTC(), p.restoredTo.UTC()
	s.Paused, s.Reason, s.PausedAt, s.RestoredTo = p.paused(), p.reason, &pausedAt, &restoredTo
	if p.resumedAt != nil {
		at := p.resumedAt.UTC()
		s.ResumedAt, s.ResumedBy, s.ResumeReason = &at, p.resumedBy, p.resumedWith
	}
	return s, nil
}

// ResumeWithin does what Resume does within a transaction of the caller's, for the
// pause that began at pausedAt; fault.NotFound when that one is over. The nodes
// see it within a second.
func (g *Gate) ResumeWithin(ctx context.Context, tx pgx.Tx, pausedAt time.Time, by, reason string) error {
	tag, err := tx.Exec(ctx, `update dispatch_pauses set resumed_at = now(), resumed_by = $1, resume_reason = $2
		where resumed_at is null and paused_at = $3`, by, reason, pausedAt)
	if err != nil {
		return readFault("recon.Gate.ResumeWithin", err)
	}
	if tag.RowsAffected() != 1 {
		return fault.New(fault.NotFound, "no pause began then, or it is over")
	}
	return nil
}

// Resume lets payouts go again and keeps who said so and why. Without a pause it
// changes nothing. Restored payouts still wait, each until its channel was asked.
func (g *Gate) Resume(ctx context.Context, by, reason string) (DispatchState, error) {
	_, err := g.pool.Exec(ctx, `update dispatch_pauses set resumed_at = now(), resumed_by = $1, resume_reason = $2 where resumed_at is null`, by, reason)
	if err != nil {
		return DispatchState{}, readFault("recon.Gate.Resume", err)
	}
	s, err := g.State(ctx)
	if err == nil {
		g.log.LogAttrs(ctx, slog.LevelWarn, "dispatch resumed", slog.String("by", by), slog.String("reason", reason),
			slog.Int64("open_gaps", s.OpenGaps), slog.Int64("waiting", s.Waiting))
	}
	return s, err
}
