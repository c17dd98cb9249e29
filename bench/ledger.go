package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	ledgerDB = "ledger"
	// ledgerFunds is what each account starts with, in minor units: enough for
	// the random walk of two accounts that pay each other all the time.
	ledgerFunds = 1_000_000_000
	// ledgerCallers and ledgerGroup keep the committer's queue filled without
	// overflowing it: 3,200 of its 6,000 places.
	ledgerCallers, ledgerGroup = 32, 100
	warmUp                     = time.Second
)

// baselineConnections are tried; the best of them is measured.
var baselineConnections = []int{8, 16, 32}

// ledgerPhases measures plain SQL, uniform, hot and forwarded sends and plain SQL
// with the wallet's rows in turn, so that noise meets all of them alike. Every
// kind has its load generator in a process of its own, and the ledger another.
func (r *run) ledgerPhases(ctx context.Context) (err error) {
	r.say("baseline: %d accounts", r.profile.accounts)
	plain, err := newBaseline(ctx, r.server.DSN(baselineDB), r.profile.accounts, baselineSchema)
	if err != nil {
		return err
	}
	same, err := newBaseline(ctx, r.server.DSN(sameRowsDB), r.profile.accounts, sameRowsSchema)
	if err != nil {
		return err
	}
	connections, err := r.probeBaseline(ctx, plain)
	if err != nil {
		return err
	}
	r.say("ledger: opening and funding %d accounts", r.profile.accounts)
	leader, standby, err := r.openNodes(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, standby.close(ctx), leader.close(ctx)) }()
	kinds := []struct {
		phase    string
		book     *book
		accounts int
	}{{PhaseLedger, leader, r.profile.accounts}, {PhaseHot, leader, 2}, {PhaseForwarded, standby, r.profile.accounts}}
	for n := range r.profile.rounds {
		if err := r.plainRound(ctx, plain.load, PhaseBaseline, baselineDB, connections, n); err != nil {
			return err
		}
		if r.cfg.PGBench != "" {
			if err := r.plainRound(ctx, plain.pgbench, PhasePGBench, baselineDB, connections, n); err != nil {
				return err
			}
		}
		for _, kind := range kinds {
			if err := r.ledgerRound(ctx, kind.book, kind.phase, kind.accounts, n); err != nil {
				return err
			}
		}
		if err := r.plainRound(ctx, same.load, PhaseSameRows, sameRowsDB, connections, n); err != nil {
			return err
		}
	}
	return r.recountLedger(ctx, []*baseline{plain, same}, leader.told+standby.told)
}

// openNodes starts the node that leads the ledger, and one beside it that sends
// everything on to the leader, as between the nodes of one ledger.
func (r *run) openNodes(ctx context.Context) (leader, standby *book, err error) {
	var urls [2]string
	for i := range urls {
		address, err := freeAddress(ctx)
		if err != nil {
			return nil, nil, err
		}
		urls[i] = "http://" + address
	}
	opening := Opening{Accounts: r.profile.accounts, Fund: ledgerFunds}
	if leader, err = r.openBook(ctx, "ledger", ledgerDB, LedgerPlan{URL: urls[0]}, opening); err != nil {
		return nil, nil, fmt.Errorf("ledger: %w", err)
	}
	standby, err = r.openBook(ctx, "standby", ledgerDB, LedgerPlan{URL: urls[1], Forwards: true}, Opening{})
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("standby: %w", err), leader.close(ctx))
	}
	standby.ids = leader.ids
	return leader, standby, nil
}

func (r *run) recountLedger(ctx context.Context, plain []*baseline, told int64) error {
	r.say("recounting")
	for _, b := range plain {
		wrong, err := b.verify(ctx)
		if err != nil {
			return err
		}
		r.report.Faults = append(r.report.Faults, wrong...)
	}
	wrong, err := recount(ctx, r.server.DSN(ledgerDB), "ledger", expected{payments: told})
	r.report.Faults = append(r.report.Faults, wrong...)
	r.report.Recounted += told
	return err
}

// plainLoad is one client of plain SQL.
type plainLoad func(ctx context.Context, r *run, connections int, during time.Duration) (acked int64, took time.Duration, err error)

// probeBaseline finds the number of connections that serves plain SQL best.
func (r *run) probeBaseline(ctx context.Context, plain *baseline) (best int, err error) {
	var most float64
	for _, connections := range baselineConnections {
		if _, _, err := plain.load(ctx, r, connections, r.profile.probe/4); err != nil {
			return 0, err
		}
		acked, took, err := plain.load(ctx, r, connections, r.profile.probe)
		if err != nil {
			return 0, err
		}
		rate := float64(acked) / took.Seconds()
		r.say("baseline: %d connections %.0f transfers/s", connections, rate)
		if rate > most {
			most, best = rate, connections
		}
	}
	r.report.BaselineConnections = best
	return best, nil
}

// plainRound measures one round of a client of plain SQL.
func (r *run) plainRound(ctx context.Context, load plainLoad, phase, database string, connections, n int) error {
	if err := r.quiet(ctx); err != nil {
		return err
	}
	m, err := r.newMeter(ctx, database)
	if err != nil {
		return err
	}
	defer m.close(ctx)
	round, err := m.measure(ctx, func() (int64, time.Duration, error) { return load(ctx, r, connections, r.profile.baseline) })
	if err != nil {
		return err
	}
	r.note(phase, n, round)
	return nil
}

func (r *run) ledgerRound(ctx context.Context, book *book, phase string, accounts, n int) error {
	if err := r.quiet(ctx); err != nil {
		return err
	}
	m, err := r.newMeter(ctx, book.database)
	if err != nil {
		return err
	}
	defer m.close(ctx)
	plan := ordersPlan{Callers: ledgerCallers, Group: ledgerGroup, For: warmUp}
	if _, _, err := book.send(ctx, accounts, plan); err != nil {
		return fmt.Errorf("%s: %w", phase, err)
	}
	plan.For = r.profile.ledger
	round, err := m.measure(ctx, func() (int64, time.Duration, error) { return book.send(ctx, accounts, plan) })
	if err != nil {
		return fmt.Errorf("%s: %w", phase, err)
	}
	r.note(phase, n, round)
	return nil
}

// note keeps a round and says it.
func (r *run) note(phase string, n int, round Round) {
	r.report.add(phase, round)
	more := ""
	if round.Latency != nil {
		more = fmt.Sprintf(", p50 %.1f p99 %.1f ms", round.Latency.P50, round.Latency.P99)
	}
	r.say("%s, round %d of %d: %.0f/s, Postgres %.0f µs, WAL %.0f B each, others %.0f %%, yardstick %.0f ns%s",
		phase, n+1, r.profile.rounds, round.PerS, round.PgCPU, round.WAL, 100*round.Others, round.Yard, more)
}
