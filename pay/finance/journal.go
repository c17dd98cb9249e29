package finance

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// How many rows one query may bring: what bounds the export's memory.
const (
	transfersPage = 4000
	accountsPage  = 500
)

// openingAccount takes the other side of what there was before the period.
const openingAccount = "equity:opening-balances"

const dateLayout = "2006-01-02"

// Journal says what was written.
type Journal struct {
	// First and Last are the transfer ids between which rows were looked at.
	First, Last int64
	// Transfers and Books were written: one transaction each, one account each.
	Transfers, Books int64
	// Bytes of text.
	Bytes int64
}

// WriteJournal writes the scope in hledger's format to out: accounts and
// commodities declared, one transaction a transfer in the order of their ids, and
// what the rows themselves say about their balances as assertions, so that
// `hledger check --strict` recounts the ledger. By booking every posting carries
// the running balance of its row; by value date rows are not in the order of their
// balances, so only the last transactions assert. A scope that begins somewhere
// has opening balances. progress, if not nil, hears after each page how many ids
// of how many were passed. Memory does not grow with the ledger.
func (r *Reader) WriteJournal(ctx context.Context, s Scope, out io.Writer, progress func(done, total int64)) (Journal, error) {
	w, err := r.window(ctx, s)
	if err != nil {
		return Journal{}, err
	}
	j := &journal{
		Reader: r, scope: s, window: w, progress: progress, count: &counter{w: out},
		sum: Journal{First: w.first, Last: w.last}, opened: map[money.Asset]bool{},
	}
	j.out = bufio.NewWriterSize(j.count, 1<<18)
	if j.progress == nil {
		j.progress = func(int64, int64) {}
	}
	for _, part := range []func(context.Context) error{j.head, j.accounts, j.opening, j.transfers, j.closing} {
		if err := part(ctx); err != nil {
			return j.sum, err
		}
	}
	err = j.out.Flush()
	j.sum.Bytes = j.count.n
	return j.sum, err
}

// journal is one export under way.
type journal struct {
	*Reader
	scope    Scope
	window   window
	out      *bufio.Writer
	count    *counter
	progress func(done, total int64)
	sum      Journal
	// day is the latest that was written: by booking no line is dated before it.
	day time.Time
	// opened holds the assets that have opening balances.
	opened map[money.Asset]bool
	line   []byte
}

// counter counts what passes.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func (j *journal) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(j.out, format, args...)
	return err
}

// head writes the conventions and declares the commodities with their scales.
func (j *journal) head(ctx context.Context) error {
	rows, err := j.pool.Query(ctx, `select distinct asset from accounts where $1 = '' or asset = $1 order by asset`, j.window.asset)
	if err != nil {
		return fmt.Errorf("read the assets: %w", err)
	}
	assets, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("read the assets: %w", err)
	}
	err = j.printf(`; Moneta's ledger, dated by %s (UTC), transfers up to id %d.
; Debits are positive: what users have is owed and therefore negative.
; hledger check --strict recounts it; hledger bal shows it.
decimal-mark .

`, j.scope.By, j.window.last)
	if err != nil {
		return err
	}
	for _, a := range assets {
		info, ok := money.LookupAsset(a)
		if !ok {
			return broken("asset %s is not known here, so its scale is not", a)
		}
		scale := "1000."
		for range info.Scale {
			scale += "0"
		}
		if err := j.printf("commodity %s %s\n", scale, commodity(info.Code)); err != nil {
			return err
		}
	}
	return j.printf("\n")
}

// commodity is the asset's code; hledger wants quotes around more than letters.
func commodity(a money.Asset) string {
	for _, c := range []byte(a) {
		if c < 'A' || c > 'Z' {
			return `"` + string(a) + `"`
		}
	}
	return string(a)
}

// accounts declares every book of every account that there is.
func (j *journal) accounts(ctx context.Context) error {
	const sql = `select a.id + b.n, a.tenant, a.kind, a.asset, a.name, false, '0'
	  from (select * from accounts where id > $1 and ($2 = '' or asset = $2) order by id limit $3) a
	 cross join (values (0), (1)) b(n) order by 1`
	if !j.scope.From.IsZero() {
		if err := j.printf("account %s\n", openingAccount); err != nil {
			return err
		}
	}
	err := j.books(ctx, func(books []book) error {
		for _, b := range books {
			if b.owner.kind == ledger.System && b.id.IsHeld() {
				continue // nothing is ever held there; a row that says so must fail
			}
			j.sum.Books++
			if err := j.printf("account %s\n", b.title); err != nil {
				return err
			}
		}
		return nil
	}, sql)
	if err != nil {
		return err
	}
	return j.printf("\n")
}

// transfers writes one transaction a row.
func (j *journal) transfers(ctx context.Context) error {
	const sql = `select t.id, t.payment, t.transition, t.amount::text, t.debit_balance::text, t.credit_balance::text, t.effective_at, t.booked_at,
	       t.debit, coalesce(d.tenant, 0), coalesce(d.kind, 0), coalesce(d.asset, ''), coalesce(d.name, ''),
	       t.credit, coalesce(c.tenant, 0), coalesce(c.kind, 0), coalesce(c.asset, ''), coalesce(c.name, '')
	  from transfers t
	  left join accounts d on d.id = t.debit & ~1::bigint
	  left join accounts c on c.id = t.credit & ~1::bigint
	 where t.id > $1 and t.id <= $2 and t.effective_at >= $3 and t.effective_at < $4 and ($5 = '' or d.asset is null or d.asset = $5)
	 order by t.id limit $6`
	total := j.window.last - j.window.first + 1
	for after := j.window.first - 1; ; {
		rows, err := j.pool.Query(ctx, sql, after, j.window.last, j.window.from, j.window.until, j.window.asset, transfersPage)
		if err != nil {
			return fmt.Errorf("read the transfers after %d: %w", after, err)
		}
		n := 0
		var m movement
		_, err = pgx.ForEachRow(rows, m.columns(), func() error {
			n++
			after = m.id
			return j.transfer(&m)
		})
		if err != nil {
			return fmt.Errorf("export the transfers after %d: %w", after, err)
		}
		if n < transfersPage {
			j.progress(total, total)
			return nil
		}
		j.progress(after-j.window.first+1, total)
	}
}

// movement is a row of transfers with both its accounts.
type movement struct {
	id                      int64
	payment                 pay.ID
	transition              int16
	amount, lowered, raised string
	effectiveAt, bookedAt   time.Time
	debit, credit           ledger.BookID
	debitOwner, creditOwner owner
}

func (m *movement) columns() []any {
	return []any{
		&m.id, &m.payment, &m.transition, &m.amount, &m.lowered, &m.raised, &m.effectiveAt, &m.bookedAt,
		&m.debit, &m.debitOwner.tenant, &m.debitOwner.kind, &m.debitOwner.asset, &m.debitOwner.name,
		&m.credit, &m.creditOwner.tenant, &m.creditOwner.kind, &m.creditOwner.asset, &m.creditOwner.name,
	}
}

// transfer writes the row as it stands; whether its amount and its balances fit
// together is for hledger to say.
func (j *journal) transfer(m *movement) error {
	if m.debitOwner.asset == "" || m.creditOwner.asset == "" {
		return broken("transfer %d has no account for a book, %d or %d", m.id, m.debit, m.credit)
	}
	credited, err := turned(m.amount)
	if err != nil {
		return err
	}
	debited, err := credited.Neg()
	if err != nil {
		return broken("transfer %d: %v", m.id, err)
	}
	b := j.line[:0]
	b = j.heading(b, m)
	if b, err = j.posting(b, m.debitOwner, m.debit, debited, m.lowered); err != nil {
		return err
	}
	if b, err = j.posting(b, m.creditOwner, m.credit, credited, m.raised); err != nil {
		return err
	}
	j.line = append(b, '\n')
	j.sum.Transfers++
	_, err = j.out.Write(j.line)
	return err
}

// heading dates the transaction. By booking a row whose clock stepped back over
// midnight takes the day of the row before it, since its balance follows on that
// one, and says its own.
func (j *journal) heading(b []byte, m *movement) []byte {
	booked, effective := day(m.bookedAt), day(m.effectiveAt)
	date, tag, other := booked, "effective", effective
	if j.scope.By == ledger.Effective {
		date, tag, other = effective, "booked", booked
	}
	stepped := j.scope.By == ledger.Booking && date.Before(j.day)
	if stepped {
		date = j.day
	}
	if date.After(j.day) {
		j.day = date
	}
	b = date.AppendFormat(b, dateLayout)
	b = fmt.Appendf(b, " (%d) %s T%d  ; payment:%s, transition:T%d, %s:", m.id, m.payment, m.transition, m.payment, m.transition, tag)
	b = other.AppendFormat(b, dateLayout)
	if stepped {
		b = append(b, ", booked:"...)
		b = booked.AppendFormat(b, dateLayout)
	}
	return append(b, '\n')
}

func (j *journal) posting(b []byte, o owner, id ledger.BookID, amount money.Amount, balance string) ([]byte, error) {
	if j.scope.By == ledger.Effective {
		return appendPosting(b, o.title(id), money.Asset(o.asset), amount, nil)
	}
	after, err := turned(balance)
	if err != nil {
		return b, err
	}
	return appendPosting(b, o.title(id), money.Asset(o.asset), amount, &after)
}

// appendPosting writes a line of a transaction; after, when given, is asserted.
func appendPosting(b []byte, title string, asset money.Asset, amount money.Amount, after *money.Amount) ([]byte, error) {
	b = append(append(append(b, "    "...), title...), "  "...)
	b, err := money.AppendFormat(b, amount, asset)
	if err != nil {
		return b, broken("asset %s is not known here, so its scale is not", asset)
	}
	b = append(append(b, ' '), commodity(asset)...)
	if after != nil {
		b = append(b, " = "...)
		if b, err = money.AppendFormat(b, *after, asset); err != nil {
			return b, err
		}
		b = append(append(b, ' '), commodity(asset)...)
	}
	return append(b, '\n'), nil
}

func day(t time.Time) time.Time {
	return t.UTC().Truncate(24 * time.Hour)
}
