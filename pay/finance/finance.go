// Package finance writes the ledger for people who close books: a journal that
// hledger can judge, and a trial balance. It only reads, and it takes the rows as
// they stand: it corrects nothing, leaves nothing out, and refuses rows that it
// cannot tell whole: a gap in the ids, a transfer whose account is missing, an asset
// whose scale it does not know.
//
// Signs. The ledger writes a transfer "x → y": it lowers x and raises y. A book
// that is raised is owed more to its holder, so raising is a credit and lowering a
// debit; with debits positive, as in hledger, every amount and balance is the
// ledger's with its sign turned. What users have is then a liability (negative),
// what banks have of ours an asset (positive).
package finance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// ErrShards reports a ledger of several shards: its transfer ids are not one
// sequence in commit order, and the running order of the journal rests on that.
var ErrShards = errors.New("the ledger has several shards; a journal covers one")

// ErrBroken reports rows that no report can be made of: a transfer that is missing
// or has no account, an asset without a scale, an amount beyond 128 bits.
var ErrBroken = errors.New("the rows cannot be exported")

// Reader reads the ledger's rows. It holds nothing and is safe for concurrent use.
type Reader struct{ pool *pgxpool.Pool }

// NewReader returns a Reader of the database behind pool, which must be the
// primary: a replica may end anywhere.
func NewReader(pool *pgxpool.Pool) *Reader { return &Reader{pool: pool} }

// Scope says which transfers count. The zero Scope is everything by booking.
type Scope struct {
	// From is the first instant that counts, Until the first that does not any
	// more; zero is open. A journal turns over at UTC midnight.
	From, Until time.Time
	// Asset, or all when empty.
	Asset money.Asset
	// Tenant, or all when zero; only a trial balance is of one tenant.
	Tenant int32
	// By says which of a transfer's two times From and Until mean, and which one
	// dates the journal.
	By ledger.By
}

// window is a scope as the rows see it: ids first to last, and among them those
// that are effective between from and until.
type window struct {
	first, last int64
	from, until time.Time
	asset       string
}

// The ends of time, as far as timestamptz rows of a ledger can lie.
var (
	earliest = time.Date(-4000, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(200000, 1, 1, 0, 0, 0, 0, time.UTC)
)

// window turns a scope into ids, so that everything read afterwards stands still
// without a long transaction: transfers are append only and gap-free in the order
// of their commits, so what is at or below the newest id now stays as it is.
func (r *Reader) window(ctx context.Context, s Scope) (window, error) {
	w := window{first: 1, from: earliest, until: latest, asset: string(s.Asset)}
	var shards int
	err := r.pool.QueryRow(ctx, `select count(*), greatest(coalesce((select max(id) from transfers), 0), max(last_transfer)) from shards`).Scan(&shards, &w.last)
	if err != nil {
		return w, fmt.Errorf("read the ledger's extent: %w", err)
	}
	if shards > 1 {
		return w, ErrShards
	}
	if s.By == ledger.Effective {
		if !s.From.IsZero() {
			w.from = s.From
		}
		if !s.Until.IsZero() {
			w.until = s.Until
		}
		return w, r.whole(ctx, w)
	}
	// The clock may have stepped back between two commits; the ids did not. A
	// stretch of ids keeps the running balances whole.
	if !s.Until.IsZero() {
		last, err := r.edge(ctx, `select id from transfers where id <= $1 and booked_at < $2 order by id desc limit 1`, w.last, s.Until)
		if err != nil {
			return w, err
		}
		w.last = last
	}
	if !s.From.IsZero() {
		if w.first, err = r.edge(ctx, `select id from transfers where id <= $1 and booked_at >= $2 order by id limit 1`, w.last, s.From); err != nil {
			return w, err
		}
		if w.first == 0 {
			w.first = w.last + 1
		}
	}
	return w, r.whole(ctx, w)
}

// whole makes sure that no transfer of the window is missing: a row that was the
// last of both its books would be missed by no balance, only by its id.
func (r *Reader) whole(ctx context.Context, w window) error {
	var n int64
	if err := r.pool.QueryRow(ctx, `select count(*) from transfers where id between $1 and $2`, w.first, w.last).Scan(&n); err != nil {
		return fmt.Errorf("count the transfers: %w", err)
	}
	if want := w.last - w.first + 1; n != want {
		return broken("%d of the %d transfers from id %d to %d are missing; ids have no gaps, so rows were deleted", want-n, want, w.first, w.last)
	}
	return nil
}

// edge finds one id; 0 when there is none.
func (r *Reader) edge(ctx context.Context, sql string, last int64, at time.Time) (int64, error) {
	var id int64
	err := r.pool.QueryRow(ctx, sql, last, at).Scan(&id)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return 0, fmt.Errorf("find where the period begins or ends: %w", err)
	}
	return id, nil
}

func broken(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrBroken, fmt.Sprintf(format, args...))
}

// turned is the ledger's amount as an accountant signs it: debits positive.
func turned(text string) (money.Amount, error) {
	a, err := money.ParseMinor(text)
	if err == nil {
		a, err = a.Neg()
	}
	if err != nil {
		return a, broken("amount %q: %v", text, err)
	}
	return a, nil
}
