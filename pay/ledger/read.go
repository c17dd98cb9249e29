package ledger

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
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

// Entry is one posting as its book sees it.
type Entry struct {
	Transfer int64
	Payment  int64
	Book     BookID
	// Other is the book at the other end.
	Other BookID
	// Amount is below zero when it left the book.
	Amount money.Amount
	// Balance of the book after the posting.
	Balance     money.Amount
	Transition  uint8
	EffectiveAt time.Time
	BookedAt    time.Time
}

// Page is a part of a statement, newest first.
type Page struct {
	Entries []Entry
	// Next continues the statement; empty at its end.
	Next string
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
	a, err := pgx.CollectExactlyOneRow(rows, scanAccount)
	if err != nil {
		return Account{}, readFault("ledger.Reader.Account", err)
	}
	return a, nil
}

// Accounts lists the tenant's accounts by id, those above after, at most PageMax.
func (r *Reader) Accounts(ctx context.Context, tenant int32, after AccountID, limit int) ([]Account, error) {
	rows, err := r.pool.Query(ctx, `select `+accountColumns+` from accounts
		where id > $1 and tenant = $2 and kind <> $3 order by id limit $4`,
		int64(after), tenant, int16(System), clampPage(limit))
	if err != nil {
		return nil, readFault("ledger.Reader.Accounts", err)
	}
	list, err := pgx.CollectRows(rows, scanAccount)
	if err != nil {
		return nil, readFault("ledger.Reader.Accounts", err)
	}
	return list, nil
}

func scanAccount(row pgx.CollectableRow) (Account, error) {
	var a Account
	var floor string
	if err := row.Scan(&a.ID, &a.Tenant, &a.Kind, &a.Asset, &a.Name, &floor, &a.Frozen, &a.FrozenAll, &a.FreezeReason, &a.CreatedAt); err != nil {
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

const statementSQL = `select id, payment, other, amount::text, balance::text, transition, effective_at, booked_at, seq, is_debit from (
	(select id, payment, credit as other, -amount as amount, debit_balance as balance, transition, effective_at, booked_at,
		debit_seq as seq, true as is_debit
	 from transfers where debit = $1 and debit_seq < $2 order by debit_seq desc limit $4)
	union all
	(select id, payment, debit, amount, credit_balance, transition, effective_at, booked_at, credit_seq, false
	 from transfers where credit = $1 and credit_seq < $3 order by credit_seq desc limit $4)
) s order by id desc limit $4`

// Statement lists one book's postings, newest first, from cursor (empty: from the
// newest), at most PageMax. The cursor holds the bounds of both sequences, so that
// a deep page costs what the first one costs. A cursor that this method did not
// make is fault.MalformedRequest.
func (r *Reader) Statement(ctx context.Context, tenant int32, book BookID, cursor string, limit int) (Page, error) {
	const op = "ledger.Reader.Statement"
	if _, err := r.Account(ctx, tenant, book.Account()); err != nil {
		return Page{}, err
	}
	bounds, err := parseCursor(cursor)
	if err != nil {
		return Page{}, err
	}
	limit = clampPage(limit)
	rows, err := r.pool.Query(ctx, statementSQL, int64(book), bounds.debit, bounds.credit, limit+1)
	if err != nil {
		return Page{}, readFault(op, err)
	}
	var page Page
	more := false
	next := bounds
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
		e, seq, isDebit, err := scanEntry(row, book)
		switch {
		case err != nil:
		case len(page.Entries) == limit:
			more = true
		default:
			next.pass(seq, isDebit)
			page.Entries = append(page.Entries, e)
		}
		return struct{}{}, err
	})
	if err != nil {
		return Page{}, readFault(op, err)
	}
	if more {
		page.Next = next.String()
	}
	return page, nil
}

func scanEntry(row pgx.CollectableRow, book BookID) (e Entry, seq int64, isDebit bool, err error) {
	var amount, balance string
	var transition int16
	err = row.Scan(&e.Transfer, &e.Payment, &e.Other, &amount, &balance, &transition, &e.EffectiveAt, &e.BookedAt, &seq, &isDebit)
	if err != nil {
		return e, 0, false, err
	}
	e.Book, e.Transition = book, uint8(transition)
	e.EffectiveAt, e.BookedAt = e.EffectiveAt.UTC(), e.BookedAt.UTC()
	return e, seq, isDebit, parseAmounts(amountText{amount, &e.Amount}, amountText{balance, &e.Balance})
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

// bounds is where a statement continues: below both sequences.
type bounds struct{ debit, credit int64 }

const seqEnd = 1<<63 - 1

func (b *bounds) pass(seq int64, isDebit bool) {
	if isDebit {
		b.debit = seq
		return
	}
	b.credit = seq
}

// String writes the cursor; seqEnd is left out.
func (b bounds) String() string {
	part := func(n int64) string {
		if n == seqEnd {
			return ""
		}
		return strconv.FormatInt(n, 36)
	}
	return "s" + part(b.debit) + "-" + part(b.credit)
}

func parseCursor(s string) (bounds, error) {
	if s == "" {
		return bounds{seqEnd, seqEnd}, nil
	}
	bad := fault.New(fault.MalformedRequest, "the cursor is not one that this list gave out").WithParam("after")
	debit, credit, ok := strings.Cut(strings.TrimPrefix(s, "s"), "-")
	if !ok || s[0] != 's' {
		return bounds{}, bad
	}
	b := bounds{seqEnd, seqEnd}
	for _, p := range []struct {
		text string
		into *int64
	}{{debit, &b.debit}, {credit, &b.credit}} {
		if p.text == "" {
			continue
		}
		n, err := strconv.ParseInt(p.text, 36, 64)
		if err != nil || n < 0 {
			return bounds{}, bad
		}
		*p.into = n
	}
	return b, nil
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
