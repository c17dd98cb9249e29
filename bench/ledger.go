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

// ledgerPhases measures plain SQL, uniform and hot sends and plain SQL with the
// wallet's rows in turn, so that noise meets all of them alike.
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
	var book Ledger
	var told int64
	if r.cfg.Ledger != nil {
		r.say("ledger: opening and funding %d accounts", r.profile.accounts)
		if book, err = r.cfg.Ledger(ctx, r.server.DSN(ledgerDB)); err != nil {
			return fmt.Errorf("open the ledger: %w", err)
		}
		defer func() { err = errors.Join(err, closeLedger(ctx, book)) }()
		if told, err = book.Open(ctx, r.profile.accounts, ledgerFunds); err != nil {
			return fmt.Errorf("open accounts: %w", err)
		}
	}
	for n := range r.profile.rounds {
		if err := r.baselineRound(ctx, plain, PhaseBaseline, baselineDB, connections, n); err != nil {
			return err
		}
		if book == nil {
			continue // plain SQL alone
		}
		for _, kind := range []struct {
			phase    string
			accounts int
		}{{PhaseLedger, r.profile.accounts}, {PhaseHot, 2}} {
			acked, err := r.ledgerRound(ctx, book, kind.phase, kind.accounts, n)
			told += acked
			if err != nil {
				return err
			}
		}
		if err := r.baselineRound(ctx, same, PhaseSameRows, sameRowsDB, connections, n); err != nil {
			return err
		}
	}
	return r.recountLedger(ctx, []*baseline{plain, same}, book, told)
}

func closeLedger(ctx context.Context, book Ledger) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopMax)
	defer cancel()
	return book.Close(ctx)
}

func (r *run) recountLedger(ctx context.Context, plain []*baseline, book Ledger, told int64) error {
	r.say("recounting")
	for _, b := range plain {
		wrong, err := b.verify(ctx)
		if err != nil {
			return err
		}
		r.report.Faults = append(r.report.Faults, wrong...)
	}
	if book == nil {
		return nil
	}
	wrong, err := recount(ctx, r.server.DSN(ledgerDB), "ledger", expected{payments: told})
	r.report.Faults = append(r.report.Faults, wrong...)
	r.report.Recounted += told
	return err
}

// probeBaseline finds the number of connections that serves plain SQL best.
func (r *run) probeBaseline(ctx context.Context, plain *baseline) (best int, err error) {
	var most float64
	for _, connections := range baselineConnections {
		if _, _, err := plain.load(ctx, connections, r.profile.probe/4); err != nil {
			return 0, err
		}
		acked, took, err := plain.load(ctx, connections, r.profile.probe)
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

func (r *run) baselineRound(ctx context.Context, plain *baseline, phase, database string, connections, n int) error {
	if err := r.quiet(ctx); err != nil {
		return err
	}
	m, err := r.newMeter(ctx, database)
	if err != nil {
		return err
	}
	defer m.close(ctx)
	round, err := m.measure(ctx, func() (int64, time.Duration, error) { return plain.load(ctx, connections, r.profile.baseline) })
	if err != nil {
		return err
	}
	r.note(phase, n, round)
	return nil
}

func (r *run) ledgerRound(ctx context.Context, book Ledger, phase string, accounts, n int) (told int64, err error) {
	if err := r.quiet(ctx); err != nil {
		return 0, err
	}
	m, err := r.newMeter(ctx, ledgerDB)
	if err != nil {
		return 0, err
	}
	defer m.close(ctx)
	load := LedgerLoad{Accounts: accounts, Callers: ledgerCallers, Group: ledgerGroup, For: warmUp}
	send := func() (int64, time.Duration, error) {
		res, err := book.Send(ctx, load)
		told += res.Acked
		if err == nil && res.Refused > 0 {
			err = fmt.Errorf("%s: %d sends were refused, the first with: %s", phase, res.Refused, res.Error)
		}
		return res.Acked, res.Elapsed, err
	}
	if _, _, err := send(); err != nil {
		return told, err
	}
	load.For = r.profile.ledger
	round, err := m.measure(ctx, send)
	if err != nil {
		return told, err
	}
	r.note(phase, n, round)
	return told, nil
}

// note keeps a round and says it.
func (r *run) note(phase string, n int, round Round) {
	r.report.add(phase, round)
	more := ""
	if round.Latency != nil {
		more = fmt.Sprintf(", p50 %.1f p99 %.1f ms", round.Latency.P50, round.Latency.P99)
	}
	r.say("%s, round %d of %d: %.0f/s, Postgres %.0f µs, WAL %.0f B each, others %.0f %%%s",
		phase, n+1, r.profile.rounds, round.PerS, round.PgCPU, round.WAL, 100*round.Others, more)
}
