package bench

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/internal/lifecycle"
)

// reading is the state of the machine and of one database at one moment.
type reading struct {
	at       time.Time
	busy     time.Duration // all cores
	ours     time.Duration // this process, its children, Postgres
	postgres time.Duration
	wal      int64   // bytes ever written by the cluster
	stored   int64   // bytes of tables and indexes
	yard     float64 // ns a step since the reading before, where one was measured
}

// meter reads what a round costs.
type meter struct {
	conn       *pgx.Conn
	postmaster int
	yard       yard
}

func (r *run) newMeter(ctx context.Context, database string) (*meter, error) {
	conn, err := pgx.Connect(ctx, r.server.DSN(database))
	if err != nil {
		return nil, fmt.Errorf("connect to measure: %w", err)
	}
	if r.yard == nil {
		r.yard = newYard()
	}
	return &meter{conn: conn, postmaster: r.server.Pid(), yard: r.yard}, nil
}

func (m *meter) close(ctx context.Context) { _ = m.conn.Close(context.WithoutCancel(ctx)) }

const (
	walSQL    = `select (pg_current_wal_lsn() - '0/0')::bigint`
	storedSQL = `select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
		from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'public' and c.relkind = 'r'`
)

// read takes a reading: the database first, so that asking is not measured at
// the start of a round; at its end the order is the other way round.
func (m *meter) read(ctx context.Context, end bool) (reading, error) {
	var v reading
	if end {
		m.readProcesses(&v)
	}
	if err := m.conn.QueryRow(ctx, walSQL).Scan(&v.wal); err != nil {
		return v, fmt.Errorf("read the log's position: %w", err)
	}
	if err := m.conn.QueryRow(ctx, storedSQL).Scan(&v.stored); err != nil {
		return v, fmt.Errorf("read the tables' size: %w", err)
	}
	if !end {
		m.readProcesses(&v)
	}
	return v, nil
}

func (m *meter) readProcesses(v *reading) {
	table := processTable()
	v.postgres = treesTime(table, m.postmaster)
	v.ours = treesTime(table, os.Getpid(), m.postmaster)
	v.busy = machineTime()
	v.at = time.Now()
}

// quiet waits for a moment in which others leave the machine alone, as long as
// the profile has patience: every kind of work gets the same chance.
func (r *run) quiet(ctx context.Context) error {
	const glance = 500 * time.Millisecond
	m := meter{postmaster: r.server.Pid()}
	for until := time.Now().Add(r.profile.patience); time.Now().Before(until); {
		var before, after reading
		m.readProcesses(&before)
		if err := lifecycle.Pause(ctx, glance); err != nil {
			return err
		}
		m.readProcesses(&after)
		if newRound(before, after, 0, glance).Others <= quietShare {
			return nil
		}
	}
	return nil
}

// Round is what one round did and what it cost.
type Round struct {
	Payments int64 `json:"payments"`
	// PerS is payments acknowledged a second.
	PerS float64 `json:"per_s"`
	// Seconds is the round's own time.
	Seconds float64 `json:"seconds"`
	// PgCPU is microseconds of processor time of all of Postgres a payment,
	// vacuum and checkpoints included; CPU is that of all our processes.
	PgCPU float64 `json:"pg_cpu_us_per_payment"`
	CPU   float64 `json:"cpu_us_per_payment"`
	WAL   float64 `json:"wal_bytes_per_payment"`
	// Stored is the growth of tables and indexes.
	Stored float64 `json:"table_index_bytes_per_payment"`
	// Others is the share of the machine's processors that others used, 0 to 1.
	Others float64 `json:"others_cpu_share"`
	// Yard is nanoseconds of processor time of one step of a fixed walk through
	// 32 MB, done beside the round: how slow the host's caches and cores were
	// meanwhile. 0: not measured.
	Yard float64 `json:"yardstick_ns"`
	// Latency of the answers; null where callers wait for groups.
	Latency *Latency `json:"latency_ms,omitempty"`
}

// Latency is how long answers took, in milliseconds.
type Latency struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// around takes a reading on either side of the work, with the yardstick beside it.
func (m *meter) around(ctx context.Context, work func() error) (before, after reading, err error) {
	if before, err = m.read(ctx, false); err != nil {
		return before, after, err
	}
	walking, stop := context.WithCancel(ctx)
	step := make(chan float64, 1)
	go func() { step <- m.yard.measured(walking) }()
	err = work()
	stop()
	each := <-step
	if err != nil {
		return before, after, err
	}
	after, err = m.read(ctx, true)
	after.yard = each
	return before, after, err
}

// measure runs one round between two readings. work returns how many payments
// were acknowledged within which time.
func (m *meter) measure(ctx context.Context, work func() (acked int64, took time.Duration, err error)) (Round, error) {
	var acked int64
	var took time.Duration
	before, after, err := m.around(ctx, func() (err error) {
		acked, took, err = work()
		return err
	})
	return newRound(before, after, acked, took), err
}

func newRound(before, after reading, acked int64, took time.Duration) Round {
	r := Round{Payments: acked, Seconds: rounded(took.Seconds()), Yard: rounded(after.yard)}
	if took > 0 {
		r.PerS = rounded(float64(acked) / took.Seconds())
	}
	if acked > 0 {
		each := func(v int64) float64 { return rounded(float64(v) / float64(acked)) }
		r.PgCPU = each((after.postgres - before.postgres).Microseconds())
		r.CPU = each((after.ours - before.ours).Microseconds())
		r.WAL = each(after.wal - before.wal)
		r.Stored = each(after.stored - before.stored)
	}
	if whole := after.at.Sub(before.at) * time.Duration(cores()); whole > 0 {
		others := (after.busy - before.busy) - (after.ours - before.ours)
		r.Others = rounded(max(0, others.Seconds()/whole.Seconds()))
	}
	return r
}
