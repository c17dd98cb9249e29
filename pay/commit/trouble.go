package commit

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/pgbatch"
)

// SQLSTATE codes of a database that takes no writes (PostgreSQL, appendix A).
const (
	readOnlyTransaction = "25006" // a standby, or default_transaction_read_only
	diskFull            = "53100"
)

// refusesWrites reports that the database itself said, before COMMIT, that it
// takes no writes: what was sent has been rolled back, and nothing is unknown.
func refusesWrites(err error) bool {
	if errors.Is(err, pgbatch.ErrUnknown) {
		return false
	}
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && (pgErr.Code == readOnlyTransaction || pgErr.Code == diskFull)
}

// patience is how long a lost database is waited for before callers are told at
// once: as long as a takeover by another node may need.
const patience = 5 * time.Second

// trouble is why nobody can lead the shard, as far as this node sees; it says so
// in the answers to those who want to write.
type trouble struct{ now atomic.Pointer[ailment] }

type ailment struct {
	err   error // as first seen
	since time.Time
}

// note remembers err, or that all is well again.
func (t *trouble) note(err error) {
	if err == nil {
		if t.now.Load() != nil {
			t.now.Store(nil)
		}
		return
	}
	if was := t.now.Load(); was != nil && refusesWrites(was.err) == refusesWrites(err) {
		return
	}
	t.now.Store(&ailment{err, time.Now()}) //nolint:forbidigo // the monotonic clock, on purpose
}

// refused reports that the database answers, and takes no writes.
func (t *trouble) refused() bool {
	a := t.now.Load()
	return a != nil && refusesWrites(a.err)
}

// Trouble reports why the database keeps every node from leading, as far as this
// one sees: it cannot be reached, or takes no writes. Nil when it is well.
func (n *Node) Trouble() error { return n.trouble.why() }

// why is the reason, or nil when all is well.
func (t *trouble) why() error {
	if t.now.Load() == nil {
		return nil
	}
	err, _ := t.verdict()
	return err
}

// verdict is what to tell a caller who wants to write, and whether to tell it at
// once: waiting helps against a change of leaders, not against a full disk.
func (t *trouble) verdict() (err *fault.Error, atOnce bool) {
	a := t.now.Load()
	switch {
	case a == nil:
		return errNobodyLeads(), false
	case refusesWrites(a.err):
		return errReadOnly(a.err), true
	}
	lasts := time.Since(a.since) //nolint:forbidigo // the monotonic clock, on purpose
	return fault.New(fault.DatabaseUnavailable, "the ledger's database has not answered for "+lasts.Round(time.Second).String()).
		WithMoneyState(fault.NotMoved).WithCause(a.err), lasts > patience
}

func errReadOnly(cause error) *fault.Error {
	detail := "the ledger's database takes no writes at the moment; reading works"
	var pgErr *pgconn.PgError
	if errors.As(cause, &pgErr) && pgErr.Code == diskFull {
		detail = "the disk of the ledger's database is full; reading works"
	}
	return fault.New(fault.ReadOnly, detail).WithMoneyState(fault.NotMoved).WithCause(cause)
}

// refuse answers tickets while the database takes no writes: a key that is known
// gets its answer, which only needs reading, and everything else is refused.
// Nothing of it is in doubt: what failed has been rolled back.
func (d *decider) refuse(ctx context.Context, tickets []*ticket, cause error) error {
	if err := d.need(ctx, tickets); err != nil {
		return err
	}
	var known []*ticket
	for _, t := range tickets {
		if k, ok := keyOf(t.fact); ok {
			if _, found := d.mem.keys.get(k); found {
				known = append(known, t)
				continue
			}
		}
		t.answer(Outcome{Err: errReadOnly(cause)})
	}
	return d.once(ctx, known)
}
