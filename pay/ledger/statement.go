package ledger

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
)

// StatementPageMax bounds one page of a statement for a program that reads on; a
// person is shown PageMax.
const StatementPageMax = 1_000

// statementWindow bounds how many postings a page with filters looks through, so
// that a filter that nothing matches costs the same as one that matches.
const statementWindow = 2_000

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
	// PaymentKind and Remittance are the payment's.
	PaymentKind int16
	Remittance  string
}

// Page is a part of a statement, newest first.
type Page struct {
	Entries []Entry
	// Next continues the statement; empty at its end. With filters a page may be
	// short, even empty, and have a Next: only so many postings are looked through.
	Next string
}

// StatementQuery narrows a statement; zero fields match everything.
type StatementQuery struct {
	// From and To bound the time that By names: From is included, To is not.
	From, To time.Time
	By       By
	// Direction is 1 for what came, -1 for what left.
	Direction int
	// PaymentKind is the payment's kind as the payments table has it.
	PaymentKind int16
	// Counterparty is the account at the other end.
	Counterparty AccountID
	// Remittance is how the text begins.
	Remittance string
	// Cursor is the Next of the page before.
	Cursor string
	// Limit is at most StatementPageMax, which zero means too.
	Limit int
}

// filters reports whether postings may be passed over.
func (q *StatementQuery) filters() bool {
	return !q.From.IsZero() || !q.To.IsZero() || q.PaymentKind != 0 || q.Counterparty != 0 || q.Remittance != ""
}

// statementSQL looks through a window of the book's postings, newest first, by the
// two indexes of its sequences. Each row says where a page that ends with it goes
// on; the window's last row comes in any case, and says where the window ends.
const statementSQL = `with w as materialized (select * from (
	(select id, payment, credit as other, -amount as amount, debit_balance as balance, transition, effective_at, booked_at,
		debit_seq as seq, true as is_debit
	 from transfers where debit = $1 and debit_seq < $2 order by debit_seq desc limit case when $5 > 0 then 0 else $4 end)
	union all
	(select id, payment, debit, amount, credit_balance, transition, effective_at, booked_at, credit_seq, false
	 from transfers where credit = $1 and credit_seq < $3 order by credit_seq desc limit case when $5 < 0 then 0 else $4 end)
) s order by id desc limit $4), r as (
 select w.*, p.kind, p.remittance, row_number() over (order by w.id desc) as n, count(*) over () as total,
	min(seq) filter (where is_debit) over (order by w.id desc) as debit_bound, min(seq) filter (where not is_debit) over (order by w.id desc) as credit_bound,
	coalesce(p.kind = $6 or $6 = 0, false) and ($7::bigint = 0 or (other & -2) = $7) and ($8 = '' or starts_with(coalesce(p.remittance, ''), $8))
	and case when $9 then w.effective_at else w.booked_at end >= $10 and case when $9 then w.effective_at else w.booked_at end < $11 as hit
  from w left join payments p on p.id = w.payment)
select id, payment, other, amount::text, balance::text, transition, effective_at, booked_at, coalesce(kind, 0), coalesce(remittance, ''),
	coalesce(debit_bound, $2), coalesce(credit_bound, $3), hit, total
  from r where hit or n = total order by id desc limit $12`

// statementRow is an entry and where a page that ends with it goes on.
type statementRow struct {
	Entry
	next  bounds
	hit   bool
	total int
}

// Statement lists one book's postings, newest first, from the cursor (empty: from
// the newest). The cursor holds the bounds of both sequences, so that a deep page
// costs what the first one costs. A cursor that this method did not make is
// fault.MalformedRequest.
func (r *Reader) Statement(ctx context.Context, tenant int32, book BookID, q StatementQuery) (Page, error) {
	const op = "ledger.Reader.Statement"
	if _, err := r.Account(ctx, tenant, book.Account()); err != nil {
		return Page{}, err
	}
	from, err := parseCursor(q.Cursor)
	if err != nil {
		return Page{}, err
	}
	if q.Limit <= 0 || q.Limit > StatementPageMax {
		q.Limit = StatementPageMax
	}
	if q.Cursor == "" && !q.To.IsZero() && q.By == Booking {
		if from, err = r.seek(ctx, book, q.To); err != nil {
			return Page{}, readFault(op, err)
		}
	}
	window := q.Limit + 1
	if q.filters() {
		window = max(window, statementWindow)
	}
	until := q.To
	if until.IsZero() {
		until = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	rows, err := r.pool.Query(ctx, statementSQL, int64(book), from.debit, from.credit, window, q.Direction, q.PaymentKind, int64(q.Counterparty), q.Remittance,
		q.By == Effective, q.From, until, q.Limit+2)
	if err != nil {
		return Page{}, readFault(op, err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (statementRow, error) { return scanStatement(row, book) })
	if err != nil {
		return Page{}, readFault(op, err)
	}
	return q.page(found, window), nil
}

// page cuts a page out of what a window showed.
func (q *StatementQuery) page(found []statementRow, window int) Page {
	var page Page
	for i := range found {
		f := &found[i]
		if f.hit && len(page.Entries) == q.Limit {
			page.Next = found[i-1].next.String()
			return page
		}
		if f.hit {
			page.Entries = append(page.Entries, f.Entry)
		}
	}
	if len(found) == 0 {
		return page
	}
	last := &found[len(found)-1]
	// By booking the postings are in order: below From there is nothing more.
	if last.total == window && (q.By == Effective || !last.BookedAt.Before(q.From)) {
		page.Next = last.next.String()
	}
	return page
}

func scanStatement(row pgx.CollectableRow, book BookID) (f statementRow, err error) {
	var amount, balance string
	var transition int16
	err = row.Scan(&f.Transfer, &f.Payment, &f.Other, &amount, &balance, &transition, &f.EffectiveAt, &f.BookedAt, &f.PaymentKind, &f.Remittance,
		&f.next.debit, &f.next.credit, &f.hit, &f.total)
	if err != nil {
		return f, err
	}
	f.Book, f.Transition = book, uint8(transition)
	f.EffectiveAt, f.BookedAt = f.EffectiveAt.UTC(), f.BookedAt.UTC()
	return f, parseAmounts(amountText{amount, &f.Amount}, amountText{balance, &f.Balance})
}

// seekSQL finds the first sequence number whose posting was booked at $2 or later,
// by halving: a book's sequences are gap-free and in the order of booking.
const seekSQL = `with recursive s(lo, hi) as (
	select 0::bigint, coalesce((select %[1]s_seq from transfers where %[1]s = $1 order by %[1]s_seq desc limit 1), 0) + 1
	union all
	select case when x.early then q.m else q.lo end, case when x.early then q.hi else q.m end
	  from (select lo, hi, lo + (hi - lo) / 2 as m from s where hi - lo > 1) q
	 cross join lateral (select booked_at < $2 as early from transfers where %[1]s = $1 and %[1]s_seq >= q.m order by %[1]s_seq limit 1) x
) select min(hi) from s`

var (
	seekDebit  = fmt.Sprintf(seekSQL, "debit")
	seekCredit = fmt.Sprintf(seekSQL, "credit")
)

// seek returns the bounds of what was booked before an instant.
func (r *Reader) seek(ctx context.Context, book BookID, before time.Time) (b bounds, err error) {
	if err = r.pool.QueryRow(ctx, seekDebit, int64(book), before).Scan(&b.debit); err != nil {
		return b, err
	}
	err = r.pool.QueryRow(ctx, seekCredit, int64(book), before).Scan(&b.credit)
	return b, err
}

// bounds is where a statement continues: below both sequences.
type bounds struct{ debit, credit int64 }

const seqEnd = 1<<63 - 1

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
