package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
)

// PageMax bounds how many rows one page of a list holds.
const PageMax = 100

// Reader tells people what the books say. It reads committed rows of the primary,
// each answer from one snapshot. No decision about money may use it: between its
// answer and the use of it the decider may have moved on. The decider decides on
// the books it holds itself.
type Reader struct{ pool *pgxpool.Pool }

// NewReader reads through pool, which the caller keeps owning.
func NewReader(pool *pgxpool.Pool) *Reader { return &Reader{pool: pool} }

// By says which time an as-of balance goes by.
type By uint8

// The times that an as-of balance may go by.
const (
	// Booking: what the books said at that instant; it never changes later.
	Booking By = iota
	// Effective: the sum of what counts as moved until that instant; a payment
	// booked later with an earlier value date changes it.
	Effective
)

var byNames = [...]string{"booking", "effective"}

// String returns the name in the API.
func (b By) String() string { return byNames[b] }

// ParseBy finds a By by its name in the API; the empty name is Booking.
func ParseBy(name string) (By, bool) {
	switch name {
	case "", "booking":
		return Booking, true
	case "effective":
		return Effective, true
	}
	return 0, false
}

// Balances is where an account's money stands.
type Balances struct {
	Account   AccountID
	Asset     money.Asset
	Available money.Amount
	Held      money.Amount
	// OnTheWay is the sum of the account's payouts that have left for a channel
	// and are not final: neither ours to spend nor known to have arrived.
	OnTheWay money.Amount
	AsOf     time.Time
	By       By
}

// Explanation holds a book's running balance against the sum of its postings.
type Explanation struct {
	Book     BookID
	Postings int64
	// Sum of all postings, counted now.
	Sum money.Amount
	// Balance that the newest posting carries.
	Balance money.Amount
}

// Explained reports whether the postings add up to the balance.
func (e Explanation) Explained() bool { return e.Sum == e.Balance }

const accountColumns = `id, tenant, kind, asset, name, coalesce(floor::text, ''), frozen, frozen_all, freeze_reason, created_at`

// Account returns one account of the tenant, or fault.NotFound.
func (r *Reader) Account(ctx context.Context, tenant int32, id AccountID) (Account, error) {
	rows, err := r.pool.Query(ctx, `select `+accountColumns+` from accounts where id = $1 and tenant = $2`, int64(id), tenant)
	if err != nil {
		return Account{}, readFault("ledger.Reader.Account", err)
	}
	a, err := pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (Account, error) { return scanAccount(row) })
	if err != nil {
		return Account{}, readFault("ledger.Reader.Account", err)
	}
	return a, nil
}

// Known reports whether any tenant has the account.
func (r *Reader) Known(ctx context.Context, id AccountID) (known bool, err error) {
	if err := r.pool.QueryRow(ctx, `select exists (select from accounts where id = $1)`, int64(id)).Scan(&known); err != nil {
		return false, readFault("ledger.Reader.Known", err)
	}
	return known, nil
}

// scanAccount reads accountColumns; more are the columns behind them.
func scanAccount(row pgx.CollectableRow, more ...any) (Account, error) {
	var a Account
	var floor string
	if err := row.Scan(append([]any{&a.ID, &a.Tenant, &a.Kind, &a.Asset, &a.Name, &floor, &a.Frozen, &a.FrozenAll, &a.FreezeReason, &a.CreatedAt}, more...)...); err != nil {
		return a, err
	}
	a.CreatedAt = a.CreatedAt.UTC()
	if floor == "" {
		a.Unlimited = true
		return a, nil
	}
	var err error
	a.Floor, err = money.ParseMinor(floor)
	return a, err
}

// newestSQL is the newest balance of the book $1 (or $1 + 1): that of the newer
// of its newest debit and its newest credit.
const newestSQL = `coalesce((select balance from (
	(select id, debit_balance as balance from transfers where debit = %[1]s %[2]s order by debit_seq desc limit 1)
	union all
	(select id, credit_balance from transfers where credit = %[1]s %[2]s order by credit_seq desc limit 1)
) n order by id desc limit 1), 0)::text`

// sumSQL adds up the postings of the book until $2 by value date.
const sumSQL = `(coalesce((select sum(amount) from transfers where credit = %[1]s and effective_at <= $2), 0)
	- coalesce((select sum(amount) from transfers where debit = %[1]s and effective_at <= $2), 0))::text`

// The three questions about the money on its way: now, at an instant by booking,
// at an instant by value date. States 3, 4, 5 are dispatching, processing,
// unknown; kind 2 is a payout; transition 4 is the dispatch.
const (
	onTheWayNow = `coalesce((select sum(amount) from open_payments
		where account = $1 and kind = 2 and state in (3, 4, 5)), 0)::text`
	onTheWayBooked = `coalesce((select sum(p.amount)
		from (select distinct payment from transfers where debit = $1 + 1 and transition = 4 and booked_at <= $2) d
		join payments p on p.id = d.payment
		cross join lateral (select to_state from transitions t
			where t.payment = d.payment and t.at <= $2 order by t.seq desc limit 1) s
		where s.to_state in (3, 4, 5)), 0)::text`
	onTheWayEffective = `coalesce((select sum(o.amount) from open_payments o join payments p on p.id = o.payment
		where o.account = $1 and o.kind = 2 and o.state in (3, 4, 5) and p.effective_at <= $2), 0)::text`
)

var (
	balancesNow = `select ` + fmt.Sprintf(newestSQL, "$1", "") + `, ` +
		fmt.Sprintf(newestSQL, "$1 + 1", "") + `, ` + onTheWayNow + `, now()`
	balancesBooked = `select ` + fmt.Sprintf(newestSQL, "$1", "and booked_at <= $2") + `, ` +
		fmt.Sprintf(newestSQL, "$1 + 1", "and booked_at <= $2") + `, ` + onTheWayBooked + `, $2::timestamptz`
	balancesEffective = `select ` + fmt.Sprintf(sumSQL, "$1") + `, ` +
		fmt.Sprintf(sumSQL, "$1 + 1") + `, ` + onTheWayEffective + `, $2::timestamptz`
)

// Balances tells the account's balances now (a zero asOf) or at an instant. An
// account without postings has zeros. By booking an old instant walks the postings
// since; by value date it adds up all of them: both are for reports.
func (r *Reader) Balances(ctx context.Context, tenant int32, id AccountID, asOf time.Time, by By) (Balances, error) {
	const op = "ledger.Reader.Balances"
	a, err := r.Account(ctx, tenant, id)
	if err != nil {
		return Balances{}, err
	}
	query, args := balancesNow, []any{int64(id)}
	if !asOf.IsZero() {
		query, args = balancesBooked, append(args, asOf)
		if by == Effective {
			query = balancesEffective
		}
	}
	out := Balances{Account: id, Asset: a.Asset, By: by}
	var available, held, onTheWay string
	if err := r.pool.QueryRow(ctx, query, args...).Scan(&available, &held, &onTheWay, &out.AsOf); err != nil {
		return Balances{}, readFault(op, err)
	}
	out.AsOf = out.AsOf.UTC()
	if err := parseAmounts(amountText{available, &out.Available}, amountText{held, &out.Held}, amountText{onTheWay, &out.OnTheWay}); err != nil {
		return Balances{}, readFault(op, err)
	}
	return out, nil
}

// Explain counts both books of an account again from their postings.
func (r *Reader) Explain(ctx context.Context, id AccountID) ([2]Explanation, error) {
	var out [2]Explanation
	for i, book := range [2]BookID{id.Available(), id.Held()} {
		e := Explanation{Book: book}
		var sum, balance string
		err := r.pool.QueryRow(ctx, `select (c.n + d.n), (c.total - d.total)::text, `+fmt.Sprintf(newestSQL, "$1", "")+`
			from (select count(*) as n, coalesce(sum(amount), 0) as total from transfers where credit = $1) c,
			     (select count(*) as n, coalesce(sum(amount), 0) as total from transfers where debit = $1) d`,
			int64(book)).Scan(&e.Postings, &sum, &balance)
		if err == nil {
			err = parseAmounts(amountText{sum, &e.Sum}, amountText{balance, &e.Balance})
		}
		if err != nil {
			return out, readFault("ledger.Reader.Explain", err)
		}
		out[i] = e
	}
	return out, nil
}

// amountText is an amount as the database writes it, and where it belongs.
type amountText struct {
	text string
	into *money.Amount
}

func parseAmounts(amounts ...amountText) error {
	for _, a := range amounts {
		parsed, err := money.ParseMinor(a.text)
		if err != nil {
			return err
		}
		*a.into = parsed
	}
	return nil
}

func clampPage(limit int) int {
	if limit <= 0 || limit > PageMax {
		return PageMax
	}
	return limit
}

// readFault gives a failed read its code: no row, an ended context, or a database
// that does not answer. Reads move nothing.
func readFault(op string, err error) error {
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fault.New(fault.NotFound, "").WithOp(op)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return fault.New(fault.Timeout, "").WithOp(op).WithMoneyState(fault.NotMoved).WithCause(err)
	case errors.Is(err, money.ErrSyntax), errors.Is(err, money.ErrOverflow):
		return fault.New(fault.Internal, "").WithOp(op).WithMoneyState(fault.NotMoved).WithCause(err)
	}
	return fault.New(fault.DatabaseUnavailable, "").WithOp(op).WithCause(err)
}
