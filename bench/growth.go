package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/internal/lifecycle"
)

const (
	grownDB = "grown"
	// sizeOverdraft lets every account pay from the first moment, so that a ledger
	// with nothing stored stores nothing: its floor is checked all the same.
	sizeOverdraft = 1_000_000_000_000
	// seedChunk is how many payments are stored between two lines of progress.
	seedChunk = 250_000
	// busyShare of the stored payments is between two accounts: theirs are the long
	// statements.
	busyShare = 0.02
	// checkpointAt is where in a round the checkpoint begins: what follows it pays
	// for whole pages in the log, in a ledger with much stored for more of them. A
	// round has one, and pays for all of it.
	checkpointAt = 0.25
)

// Growth is what a ledger with payments stored does beside one without.
type Growth struct {
	// Stored is how many payments the full ledger had when the rounds began, and
	// SeedPerS how fast they had come in, through the committer.
	Stored   int64   `json:"payments_stored"`
	SeedPerS float64 `json:"seed_per_s"`
	// Accounts take part in either ledger, uniformly.
	Accounts int `json:"accounts"`
	// EmptyPerS and FullPerS are sends a second: medians over the rounds, each with
	// a checkpoint inside.
	EmptyPerS *float64 `json:"ledger_empty_per_s"`
	FullPerS  *float64 `json:"ledger_full_per_s"`
	// CheckpointS is how often, in seconds, the server would make a checkpoint under
	// the full ledger's load by its own settings: by its log's bound, or by time. A
	// round has one, and one before it, which nothing that is measured pays for.
	CheckpointS *float64 `json:"checkpoint_every_s"`
	RoundS      float64  `json:"round_s"`
	// Relations of the full ledger, largest first.
	Relations []Relation `json:"relations"`
}

// Relation is a table or an index and its size.
type Relation struct {
	Name  string `json:"name"`
	Table string `json:"table"` // that it belongs to
	Bytes int64  `json:"bytes"`
	// Each is bytes a payment stored.
	Each float64 `json:"bytes_per_payment"`
}

// growthPhases fills a ledger through the committer, and measures it and an empty
// one in turn.
func (r *run) growthPhases(ctx context.Context) (err error) {
	opening := Opening{Accounts: r.profile.accounts, Overdraft: sizeOverdraft}
	r.say("size: opening %d accounts", opening.Accounts)
	full, err := r.openBook(ctx, "grown", grownDB, LedgerPlan{}, opening)
	if err != nil {
		return fmt.Errorf("size: %w", err)
	}
	defer func() { err = errors.Join(err, full.close(ctx)) }()
	g := &Growth{Accounts: opening.Accounts}
	r.report.Growth = g
	if err := full.seed(ctx, g, r.profile.stored); err != nil {
		return err
	}
	for n := range r.profile.rounds {
		if err := r.growthRound(ctx, full, n); err != nil {
			return err
		}
	}
	if err := r.recountBook(ctx, full); err != nil {
		return err
	}
	if err := r.checkpointPeriod(ctx, g); err != nil {
		return err
	}
	g.Relations, err = relations(ctx, r.server.DSN(grownDB), full.told)
	return err
}

// seed stores payments: nearly all uniform, some between the first two accounts.
func (b *book) seed(ctx context.Context, g *Growth, stored int64) error {
	began := time.Now()
	for b.told < stored {
		chunk := min(seedChunk, stored-b.told)
		busy := max(int64(float64(chunk)*busyShare), ledgerGroup)
		for _, part := range []struct {
			accounts int
			payments int64
		}{{2, busy}, {len(b.ids), max(chunk-busy, ledgerGroup)}} {
			plan := ordersPlan{Callers: ledgerCallers, Group: ledgerGroup, Payments: part.payments}
			if _, _, err := b.send(ctx, part.accounts, plan); err != nil {
				return fmt.Errorf("store payments: %w", err)
			}
		}
		b.say("size: %d of %d payments stored, %.0f/s", b.told, stored, float64(b.told)/time.Since(began).Seconds())
	}
	g.Stored, g.SeedPerS = b.told, rounded(float64(b.told)/time.Since(began).Seconds())
	return nil
}

// growthRound measures an empty ledger, which is made for the round, and the full
// one, in turn the one and the other first.
func (r *run) growthRound(ctx context.Context, full *book, n int) (err error) {
	name := fmt.Sprintf("empty_%d", n+1)
	if err := r.makeDatabase(ctx, name); err != nil {
		return err
	}
	// Left behind it would be vacuumed and analysed while others are measured.
	defer func() {
		err = errors.Join(err, r.execute(ctx, "drop database "+pgx.Identifier{name}.Sanitize()+" with (force)"))
	}()
	empty, err := r.openBook(ctx, name, name, LedgerPlan{}, Opening{Accounts: r.profile.accounts, Overdraft: sizeOverdraft})
	if err != nil {
		return fmt.Errorf("size: %w", err)
	}
	defer func() { err = errors.Join(err, empty.close(ctx)) }()
	kinds := []struct {
		phase string
		book  *book
	}{{PhaseEmpty, empty}, {PhaseFull, full}}
	if n%2 == 1 {
		slices.Reverse(kinds)
	}
	for _, kind := range kinds {
		if err := r.checkpointedRound(ctx, kind.book, kind.phase, n); err != nil {
			return err
		}
	}
	return r.recountBook(ctx, empty)
}

// makeDatabase makes one more database in the private cluster.
func (r *run) makeDatabase(ctx context.Context, name string) error {
	return r.execute(ctx, "create database "+pgx.Identifier{name}.Sanitize())
}

// execute runs one statement in the cluster, in no ledger's database.
func (r *run) execute(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, r.server.DSN(baselineDB))
	if err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, sql); err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	return nil
}

const periodSQL = `select pg_size_bytes(current_setting('max_wal_size')) / (1 + current_setting('checkpoint_completion_target')::float8),
	extract(epoch from current_setting('checkpoint_timeout')::interval)::float8`

// checkpointPeriod computes how often the server makes a checkpoint by its own
// settings while it does what the full rounds did. The log's part is Postgres' own
// rule (CalculateCheckpointSegments).
func (r *run) checkpointPeriod(ctx context.Context, g *Growth) error {
	conn, err := pgx.Connect(ctx, r.server.DSN(grownDB))
	if err != nil {
		return fmt.Errorf("look at the settings: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var bytes, timeout float64
	if err := conn.QueryRow(ctx, periodSQL).Scan(&bytes, &timeout); err != nil {
		return fmt.Errorf("look at the settings: %w", err)
	}
	g.RoundS = r.profile.growth.Seconds()
	if each := r.report.medianOf(PhaseFull, func(v Round) float64 { return v.WAL * v.PerS }); each != nil && *each > 0 {
		period := rounded(min(bytes / *each, timeout))
		g.CheckpointS = &period
	}
	return nil
}

// checkpointedRound measures one round with a checkpoint inside. Another before it
// leaves every round the same clean start: no page that other work made dirty is
// written in it. What that one costs is paid before the round begins, or a round
// would pay for two.
func (r *run) checkpointedRound(ctx context.Context, b *book, phase string, n int) error {
	if err := r.execute(ctx, "checkpoint"); err != nil {
		return err
	}
	if err := r.quiet(ctx); err != nil {
		return err
	}
	m, err := r.newMeter(ctx, b.database)
	if err != nil {
		return err
	}
	defer m.close(ctx)
	plan := ordersPlan{Callers: ledgerCallers, Group: ledgerGroup, For: r.profile.storm}
	if _, _, err := b.send(ctx, len(b.ids), plan); err != nil {
		return fmt.Errorf("%s: %w", phase, err)
	}
	plan.For = r.profile.growth
	round, err := m.measure(ctx, func() (int64, time.Duration, error) {
		inside := make(chan error, 1)
		go func() {
			err := lifecycle.Pause(ctx, time.Duration(checkpointAt*float64(plan.For)))
			if err == nil {
				err = r.execute(ctx, "checkpoint")
			}
			inside <- err
		}()
		acked, took, err := b.send(ctx, len(b.ids), plan)
		return acked, took, errors.Join(err, <-inside)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", phase, err)
	}
	r.note(phase, n, round)
	return nil
}

func (r *run) recountBook(ctx context.Context, b *book) error {
	r.say("recounting %s: %d payments", b.name, b.told)
	wrong, err := recount(ctx, r.server.DSN(b.database), b.name, expected{payments: b.told})
	r.report.Faults = append(r.report.Faults, wrong...)
	r.report.Recounted += b.told
	return err
}

const relationsSQL = `
select c.relname, coalesce(t.relname, c.relname), pg_relation_size(c.oid)
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  left join pg_index i on i.indexrelid = c.oid left join pg_class t on t.oid = i.indrelid
 where n.nspname = 'public' and c.relkind in ('r', 'i') and pg_relation_size(c.oid) > 0
 order by pg_relation_size(c.oid) desc, c.relname limit 250`

// relations lists the largest tables and indexes of a ledger.
func relations(ctx context.Context, dsn string, payments int64) ([]Relation, error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return nil, fmt.Errorf("look at the sizes: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	rows, err := conn.Query(ctx, relationsSQL)
	if err != nil {
		return nil, fmt.Errorf("look at the sizes: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (v Relation, err error) {
		err = row.Scan(&v.Name, &v.Table, &v.Bytes)
		v.Each = rounded(over(float64(v.Bytes), float64(payments)))
		return v, err
	})
	if err != nil {
		return nil, fmt.Errorf("look at the sizes: %w", err)
	}
	return all, nil
}
