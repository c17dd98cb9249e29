package dispatch

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/lifecycle"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/channel/probe"
)

// ProofValidity is how long what was shown of a channel may be relied on: long enough
// for a monthly test, short enough that a rail's silent change is noticed.
const ProofValidity = 35 * 24 * time.Hour

// proofsEvery is how often the proofs are read anew; proofsStale is how old what was
// read may be before nothing counts as proven.
const (
	proofsEvery = 5 * time.Second
	proofsStale = time.Minute
)

// Proof is the newest word on one capability of one channel.
type Proof struct {
	Channel    channel.Name     `json:"channel"`
	Capability probe.Capability `json:"capability"`
	Status     probe.Status     `json:"status"`
	Detail     string           `json:"detail"`
	Adapter    string           `json:"adapter"`
	Contract   string           `json:"contract"`
	Run        string           `json:"run"`
	ProvenAt   time.Time        `json:"proven_at"`
	ExpiresAt  time.Time        `json:"expires_at"`
}

// Holds reports whether the proof may be relied on at an instant, for a channel with
// these capabilities.
func (p *Proof) Holds(caps channel.Capabilities, at time.Time) bool {
	return p.Status == probe.Proven && at.Before(p.ExpiresAt) && p.Adapter == caps.Adapter && p.Contract == probe.Contract(caps)
}

// database is a pool or a connection.
type database interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

const (
	insertProof = `insert into channel_proofs (channel, capability, status, detail, adapter, contract, endpoint, run, proven_at, expires_at)
 values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`
	selectProofs = `select distinct on (channel, capability) channel, capability, status, detail, adapter, contract, run, proven_at, expires_at
  from channel_proofs order by channel, capability, id desc`
)

// Record keeps what a run showed, all of it or nothing.
func Record(ctx context.Context, db database, r probe.Report, endpoint string, validity time.Duration) error {
	var batch pgx.Batch
	for _, f := range r.Findings {
		batch.Queue(insertProof, string(r.Channel), string(f.Capability), string(f.Status), f.Detail, r.Adapter, r.Contract,
			endpoint, r.Run, r.StartedAt, r.StartedAt.Add(validity))
	}
	if err := db.SendBatch(ctx, &batch).Close(); err != nil {
		return fmt.Errorf("keep the proofs of %s: %w", r.Channel, err)
	}
	return nil
}

// ReadProofs returns the newest word on each capability of each channel.
func ReadProofs(ctx context.Context, db database) ([]Proof, error) {
	rows, err := db.Query(ctx, selectProofs)
	if err != nil {
		return nil, fmt.Errorf("read the proofs: %w", err)
	}
	proofs, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Proof])
	if err != nil {
		return nil, fmt.Errorf("read the proofs: %w", err)
	}
	return proofs, nil
}

// Proofs knows which channels were shown to move a reference at most once. It reads
// the database on its own time, so that asking it never blocks; when it cannot read,
// nothing counts as proven any more.
type Proofs struct {
	pool  *pgxpool.Pool
	log   *slog.Logger
	clock clock.Clock
	caps  map[channel.Name]channel.Capabilities
	known atomic.Pointer[knownProofs]
}

type knownProofs struct {
	read  time.Time
	dedup map[channel.Name]Proof
}

// NewProofs knows nothing before Watch or Load. A nil clock is the system's.
func NewProofs(pool *pgxpool.Pool, channels []channel.Channel, clk clock.Clock, tel *telemetry.Telemetry) *Proofs {
	if clk == nil {
		clk = clock.System
	}
	p := &Proofs{pool: pool, log: tel.Logger().With(slog.String("station", "dispatch")), clock: clk, caps: map[channel.Name]channel.Capabilities{}}
	for _, ch := range channels {
		p.caps[ch.Name()] = ch.Capabilities()
	}
	return p
}

// Load reads the proofs once.
func (p *Proofs) Load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, proofsEvery)
	defer cancel()
	all, err := ReadProofs(ctx, p.pool)
	if err != nil {
		return err
	}
	known := &knownProofs{read: p.clock.Now(), dedup: map[channel.Name]Proof{}}
	for _, proof := range all {
		if proof.Capability == probe.Dedup {
			known.dedup[proof.Channel] = proof
		}
	}
	p.known.Store(known)
	return nil
}

// Watch reads the proofs again and again until ctx ends.
func (p *Proofs) Watch(ctx context.Context) error {
	for {
		if err := p.Load(ctx); err != nil && ctx.Err() == nil {
			p.log.LogAttrs(ctx, slog.LevelWarn, "the channels' proofs were not read; without them nothing is sent again", slog.Any("error", err))
		}
		if err := lifecycle.Pause(ctx, proofsEvery); err != nil {
			return nil //nolint:nilerr // the context ended, and so does the watch
		}
	}
}

// Dedup reports whether it is proven, for the adapter and the contract of now, that
// the channel moves a reference at most once.
func (p *Proofs) Dedup(name channel.Name) bool {
	known, caps := p.known.Load(), p.caps[name]
	now := p.clock.Now()
	if known == nil || !caps.DedupByReference || now.Sub(known.read) > proofsStale {
		return false
	}
	proof, ok := known.dedup[name]
	return ok && proof.Holds(caps, now)
}
