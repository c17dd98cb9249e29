// Package prove recounts everything from the raw rows and from the rails' own
// books, and says what it found, what was under way, and what it could not prove. It
// is the last station of an incident: nothing closes but on its word. It shares no
// code with the pay plane, not even the table of legal moves, which it has written
// down again from the specification: a mistake there is not made again here. It
// refuses to write, to repair, to wait for what is open, and to call clean what it
// did not see: a rail that did not answer is not proved.
//
// One repeatable-read snapshot is read, in pages; memory grows with the accounts,
// not with the payments. The result is signed and can be verified without us.
package prove

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/money"
)

// Bounds of a recount.
const (
	// DefaultWithin bounds the whole recount: a snapshot that is held for ever keeps
	// the database from tidying up.
	DefaultWithin = time.Hour
	// DefaultStatement bounds each page's statement.
	DefaultStatement = time.Minute
	// lockWithin bounds the wait for a lock, which only a change of the schema takes.
	lockWithin = 5 * time.Second
	// logPage and paymentPage are rows of one page.
	logPage     = 20_000
	paymentPage = 2_000
	// listMax is how many findings of one check are listed; all are counted.
	listMax = 200
)

// Config is what a recount needs.
type Config struct {
	// DSN of the primary or of a standby; the role needs to read the schemas public
	// and facts.
	DSN string
	// Rails are the outside books; a channel without any is not proved.
	Rails []Books
	// From and To restrict which findings are listed, by the time of what they are
	// about; zero is open. Totals and the verdict stay whole.
	From, To time.Time
	// Within bounds the recount, Statement one statement; 0 means the defaults.
	Within, Statement time.Duration
	// TempDir is for sorting the rails' books; empty is the system's.
	TempDir string
	// Program and Version name who counted.
	Version string
	// Clock is the system's when nil.
	Clock clock.Clock
	// Progress is told where the recount is; it may be nil.
	Progress func(stage string, done, total int64)
}

// prover is one recount.
type prover struct {
	cfg Config
	tx  pgx.Tx
	at  time.Time // of the snapshot, by the database's clock
	out Result

	checks   map[string]*Check
	digests  map[string]*digest
	accounts accounts
	last     lastIDs
	steps    map[int64]int64 // by shard: how many steps of ids its histories left out
	lost     []span          // transitions that a failover left out
	runs     map[string]time.Time
	expected int64 // how far recon has read the log for expectations
	rails    map[string]*rail
	inFlight map[flightKey]*Flight
	strays   map[stray]*strayCount
	crowded  bool // more strays than are kept apart

	// What the payments say that books of the house must hold, by account name.
	owed map[bookKey]money.Amount
	held map[string]money.Amount // by asset
}

// bookKey names one system account: its name has the channel in it.
type bookKey struct {
	tenant      int64
	asset, name string
}

// Run counts once and returns the result, unsigned. An error means that nothing was
// proved, neither good nor bad.
func Run(ctx context.Context, cfg Config) (Result, error) {
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	if cfg.Within <= 0 {
		cfg.Within = DefaultWithin
	}
	if cfg.Statement <= 0 {
		cfg.Statement = DefaultStatement
	}
	if cfg.Progress == nil {
		cfg.Progress = func(string, int64, int64) {}
	}
	if !cfg.From.IsZero() && !cfg.To.IsZero() && !cfg.From.Before(cfg.To) {
		return Result{}, fmt.Errorf("the window ends at %s, before it begins at %s", cfg.To.Format(time.RFC3339), cfg.From.Format(time.RFC3339))
	}
	began := cfg.Clock.Now()
	ctx, cancel := context.WithTimeout(ctx, cfg.Within)
	defer cancel()
	p := &prover{
		cfg: cfg, checks: map[string]*Check{}, digests: map[string]*digest{}, steps: map[int64]int64{}, runs: map[string]time.Time{},
		rails: map[string]*rail{}, inFlight: map[flightKey]*Flight{}, strays: map[stray]*strayCount{},
		owed: map[bookKey]money.Amount{}, held: map[string]money.Amount{},
	}
	if err := p.run(ctx); err != nil {
		return Result{}, explain(err)
	}
	p.conclude(cfg.Clock.Now().Sub(began))
	return p.out, nil
}

func (p *prover) run(ctx context.Context) error {
	done, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	books, err := p.readRails(ctx)
	if err != nil {
		return err
	}
	defer books.close()
	for _, part := range []func(context.Context) error{
		p.readAccounts, p.walkLogs,
		func(ctx context.Context) error { return p.walkPayments(ctx, books) },
		p.closeStrays, p.closeBooks, p.checkKeys, p.checkLastIDs, p.checkProjections, p.checkWebhooks, p.readBreaks,
	} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

// explain says of known reasons what to do about them.
func explain(err error) error {
	switch code := sqlState(err); {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("nothing was proved: the time is over (--within gives more): %w", err)
	case code == "40001" || code == "72000":
		return fmt.Errorf("nothing was proved: the standby had to drop the snapshot; count on the primary, or raise max_standby_streaming_delay there: %w", err)
	case code == "57014":
		return fmt.Errorf("nothing was proved: a page took longer than a statement may (--statement-timeout gives more): %w", err)
	case code == "42501":
		return fmt.Errorf("nothing was proved: the role may not read every table of the ledger: %w", err)
	case code == "42P01" || code == "42703":
		return fmt.Errorf("nothing was proved: this is not a ledger of this schema (moneta migrate brings one to it): %w", err)
	}
	return fmt.Errorf("nothing was proved: %w", err)
}
