package finance

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// book is one book with its balance at some point, debits positive.
type book struct {
	id      ledger.BookID
	owner   owner
	title   string
	balance money.Amount
	// touched says that there is a posting on it by then.
	touched bool
}

// booksOf pages through accounts and both their books; %s tells the balance.
const booksOf = `select a.id + b.n, a.tenant, a.kind, a.asset, a.name, %s
  from (select * from accounts where id > $1 and ($2 = '' or asset = $2) order by id limit $3) a
 cross join (values (0), (1)) b(n)
`

// runningBooks takes the balance that the newest row at or below id $4 states.
var runningBooks = fmt.Sprintf(booksOf, `d.id is not null or c.id is not null,
       coalesce(case when coalesce(d.id, 0) > coalesce(c.id, 0) then d.debit_balance else c.credit_balance end, 0)::text`) + `
  left join lateral (select id, debit_balance from transfers where debit = a.id + b.n and id <= $4 order by debit_seq desc limit 1) d on true
  left join lateral (select id, credit_balance from transfers where credit = a.id + b.n and id <= $4 order by credit_seq desc limit 1) c on true
 order by 1`

// countedBooks adds up what is effective before $5, among rows at or below id $4;
// "+ 0" keeps the planner from walking the ids instead of the book.
var countedBooks = fmt.Sprintf(booksOf, `d.n + c.n > 0, (c.total - d.total)::text`) + `
 cross join lateral (select count(*) as n, coalesce(sum(amount), 0) as total from transfers where debit = a.id + b.n and id + 0 <= $4 and effective_at < $5) d
 cross join lateral (select count(*) as n, coalesce(sum(amount), 0) as total from transfers where credit = a.id + b.n and id + 0 <= $4 and effective_at < $5) c
 order by 1`

// books calls page with every account's two books, some accounts at a time, in
// order.
func (j *journal) books(ctx context.Context, page func([]book) error, sql string, args ...any) error {
	for after := int64(-1); ; {
		rows, err := j.pool.Query(ctx, sql, append([]any{after, j.window.asset, accountsPage}, args...)...)
		if err != nil {
			return fmt.Errorf("read the accounts after %d: %w", after, err)
		}
		all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (b book, err error) {
			var balance string
			if err = row.Scan(&b.id, &b.owner.tenant, &b.owner.kind, &b.owner.asset, &b.owner.name, &b.touched, &balance); err != nil {
				return b, err
			}
			b.title = b.owner.title(b.id)
			b.balance, err = turned(balance)
			return b, err
		})
		if err != nil {
			return fmt.Errorf("read the accounts after %d: %w", after, err)
		}
		if len(all) == 0 {
			return nil
		}
		if err := page(all); err != nil {
			return err
		}
		after = int64(all[len(all)-1].id.Account())
	}
}

// opening brings forward what each book had before the period, against an account
// that must come out at zero.
func (j *journal) opening(ctx context.Context) error {
	if j.scope.From.IsZero() {
		return nil
	}
	j.day = day(j.scope.From)
	sql, args := runningBooks, []any{j.window.first - 1}
	if j.scope.By == ledger.Effective {
		sql, args = countedBooks, []any{j.window.last, j.window.from}
	}
	return j.books(ctx, func(books []book) error {
		var b []byte
		for _, k := range books {
			if k.balance.IsZero() {
				continue
			}
			asset := money.Asset(k.owner.asset)
			j.opened[asset] = true
			other, err := k.balance.Neg()
			if err != nil {
				return broken("the opening balance of %s: %v", k.title, err)
			}
			if b, err = appendPosting(b, k.title, asset, k.balance, &k.balance); err != nil {
				return err
			}
			if b, err = appendPosting(b, openingAccount, asset, other, nil); err != nil {
				return err
			}
		}
		return j.summary("opening balances", b)
	}, sql, args...)
}

// closing asserts what every book has at the end, without moving anything: a
// transfer missing at the end of its book would show nowhere else. What is
// asserted are the rows' running balances, except by value date before an end,
// where no row states any and the database's own sum is taken.
func (j *journal) closing(ctx context.Context) error {
	sql, args := runningBooks, []any{j.window.last}
	if j.scope.By == ledger.Effective && !j.scope.Until.IsZero() {
		sql, args = countedBooks, []any{j.window.last, j.window.until}
	}
	var nothing money.Amount
	err := j.books(ctx, func(books []book) error {
		for i := 0; i < len(books); i += 2 {
			// One transaction an account, because hledger shows all of the one
			// that it refuses.
			var b []byte
			for _, k := range books[i : i+2] {
				if !k.touched {
					continue
				}
				var err error
				if b, err = appendPosting(b, k.title, money.Asset(k.owner.asset), nothing, &k.balance); err != nil {
					return err
				}
			}
			if err := j.summary("closing balances", b); err != nil {
				return err
			}
		}
		return nil
	}, sql, args...)
	if err != nil || len(j.opened) == 0 {
		return err
	}
	var b []byte
	for asset := range j.opened {
		if b, err = appendPosting(b, openingAccount, asset, nothing, &nothing); err != nil {
			return err
		}
	}
	return j.summary("what was brought forward is balanced", b)
}

// summary writes a transaction of the period's edge.
func (j *journal) summary(what string, postings []byte) error {
	if len(postings) == 0 {
		return nil
	}
	return j.printf("%s %s\n%s\n", j.day.Format(dateLayout), what, postings)
}
