// Package money looks at a wallet's facts (docs/facts.md), once a second: what waits
// where and since when, what is past its deadline, who leads, what is held back on
// purpose, which callbacks wait, what does not balance, and who is affected. It reads
// the views of the contract and nothing else, through a small pool of its own, in one
// snapshot a look. However much is open it reads a bounded part of it: the counters of
// the hops are exact at once, ages are kept by page and verified. It refuses to judge:
// what is too old, diagnose decides.
package money

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/internal/clock"
)

// Bounds of the collector's own load.
const (
	conns       = 2
	dialWithin  = time.Second
	statementMS = "800" // milliseconds a statement may take
	// contractsEvery is the time between two looks at what is agreed with the channels.
	contractsEvery = 10 * time.Second
	// role may read the facts and nothing else.
	role = "moneta_facts"
)

// probeOnly are ways of the planner that its sessions turn off. Their plans are made once,
// maybe when nothing is open, and go on when a million payments are: a page is to be read
// by the payments' index then, and nothing whole and sorted for it.
var probeOnly = []string{"enable_seqscan", "enable_bitmapscan", "enable_sort"}

// Config of a collector.
type Config struct {
	// DSN of the wallet's database.
	DSN string
	// Every is the time between two looks; 0 is a second.
	Every time.Duration
	// Clock of the points; nil is the machine's.
	Clock clock.Clock
}

// Collector looks at the facts. Its looks come one after the other.
type Collector struct {
	every time.Duration
	clock clock.Clock
	pool  *pgxpool.Pool
	book  *book
	flow  *flow
	// proves is what the contracts said at agreed.
	proves map[string]time.Duration
	agreed time.Time
	stood  atomic.Pointer[doctor.Standing]
}

// New returns a collector, which Close ends, and not ctx. It does not connect: the
// database may be the patient.
func New(ctx context.Context, c Config) (*Collector, error) {
	cfg, err := pgxpool.ParseConfig(c.DSN)
	if err != nil {
		return nil, fmt.Errorf("database address: %w", err)
	}
	cfg.MaxConns, cfg.MinConns = conns, 0
	cfg.MaxConnIdleTime = time.Minute
	cfg.ConnConfig.ConnectTimeout = dialWithin
	rp := cfg.ConnConfig.RuntimeParams
	rp["application_name"], rp["statement_timeout"], rp["lock_timeout"] = "moneta watch", statementMS, "500"
	rp["default_transaction_read_only"], rp["idle_in_transaction_session_timeout"] = "on", "5s"
	rp["jit"] = "off" // compiling costs more than the queries
	for _, way := range probeOnly {
		rp[way] = "off"
	}
	cfg.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		// A foreign wallet may have no such role: then it is whoever it is.
		_, err := conn.Exec(ctx, `select set_config('role', '`+role+`', false) where pg_has_role(current_user, (select oid from pg_roles where rolname = '`+role+`'), 'member')`)
		return err
	}
	pool, err := pgxpool.NewWithConfig(context.WithoutCancel(ctx), cfg)
	if err != nil {
		return nil, err
	}
	m := &Collector{every: c.Every, clock: c.Clock, pool: pool, book: newBook(), flow: newFlow()}
	if m.every == 0 {
		m.every = time.Second
	}
	if m.clock == nil {
		m.clock = clock.System
	}
	return m, nil
}

// Close ends its connections.
func (c *Collector) Close() { c.pool.Close() }

// Name is "money".
func (c *Collector) Name() string { return "money" }

// Every is the time between two looks.
func (c *Collector) Every() time.Duration { return c.every }

// Look reads the facts once.
func (c *Collector) Look(ctx context.Context) (doctor.Look, error) {
	f, err := c.read(ctx)
	if err != nil {
		c.flow.missed()
		return doctor.Look{}, err
	}
	now := c.clock.Now()
	if c.agreed.IsZero() || now.Sub(c.agreed) >= contractsEvery {
		c.agreed = now
		proves, err := c.contracts(ctx)
		if err != nil {
			f.notes = append(f.notes, "what is agreed with the channels is not known: "+err.Error())
		} else {
			c.proves = proves
		}
	}
	f.proves = c.proves
	seen := c.flow.take(f, now)
	c.stood.Store(c.flow.standing(f, now))
	return seen, nil
}

// Standing is what was at every place at the newest whole look; nil before the first.
// Its reader must look at how old it is, and must not change it.
func (c *Collector) Standing() *doctor.Standing { return c.stood.Load() }

// read takes one snapshot of the facts.
func (c *Collector) read(ctx context.Context) (*facts, error) {
	tx, err := c.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, fmt.Errorf("the database does not answer: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	f := &facts{cases: []int64{}}
	if err := f.small(ctx, tx); err != nil {
		return nil, fmt.Errorf("read the facts: %w", err)
	}
	if err := c.book.read(ctx, tx, f); err != nil {
		c.book.slow()
		return nil, fmt.Errorf("read the open items: %w", err)
	}
	c.book.quick()
	if err := c.affected(ctx, tx, f); err != nil { // who it is matters less than that it is
		f.notes = append(f.notes, "who is affected is not known: "+err.Error())
	}
	return f, nil
}
