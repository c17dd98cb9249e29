package finance

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// Line is one line of a trial balance: an account in one asset, all users of a
// tenant together. Debit or Credit is the balance, never both; the turnovers are
// all that was ever posted on each side.
type Line struct {
	Account        string       `json:"account"`
	Asset          money.Asset  `json:"asset"`
	Debit          money.Amount `json:"debit"`
	Credit         money.Amount `json:"credit"`
	DebitTurnover  money.Amount `json:"debit_turnover"`
	CreditTurnover money.Amount `json:"credit_turnover"`
}

// Total is what one asset's lines come to.
type Total struct {
	Asset  money.Asset  `json:"asset"`
	Debit  money.Amount `json:"debit"`
	Credit money.Amount `json:"credit"`
	// Balanced is whether both are the same.
	Balanced bool `json:"balanced"`
	// Astray counts books whose newest row states another balance than their
	// postings add up to; only by booking, where rows state balances in order.
	Astray int64 `json:"books_astray"`
}

// TrialBalance is every account's balance at an instant, by asset.
type TrialBalance struct {
	By ledger.By `json:"-"`
	// Until is the first instant that does not count; zero: everything counts.
	Until  time.Time `json:"-"`
	Lines  []Line    `json:"lines"`
	Totals []Total   `json:"totals"`
}

// trialSQL adds up each book until $1 and $2 and then by account; the newest
// row's own balance is held against the sum where $4 says so.
const trialSQL = `with postings as (
	select debit as book, amount as debits, 0 as credits from transfers where id <= $1 and effective_at < $2
	union all
	select credit, 0, amount from transfers where id <= $1 and effective_at < $2
), books as (
	select book, sum(debits) as debits, sum(credits) as credits from postings group by book
), stated as (
	select b.*, $4 and b.credits - b.debits is distinct from
		case when coalesce(d.id, 0) > coalesce(c.id, 0) then d.debit_balance else c.credit_balance end as astray
	  from books b
	  left join lateral (select id, debit_balance from transfers where debit = b.book and id <= $1 order by debit_seq desc limit 1) d on true
	  left join lateral (select id, credit_balance from transfers where credit = b.book and id <= $1 order by credit_seq desc limit 1) c on true
)
select coalesce(a.asset, ''), coalesce(a.kind, 0), coalesce(a.tenant, 0), case when a.kind = 1 then '' else coalesce(a.name, '') end,
       case when a.kind = 1 then s.book & 1 else s.book end, sum(s.debits)::text, sum(s.credits)::text, count(*) filter (where s.astray)
  from stated s left join accounts a on a.id = s.book & ~1::bigint
 where ($3 = '' or a.asset is null or a.asset = $3) and ($5 = 0 or a.tenant is null or a.tenant = $5)
 group by 1, 2, 3, 4, 5`

// TrialBalance adds up everything until s.Until; s.From must be zero. One query
// reads every transfer until then.
func (r *Reader) TrialBalance(ctx context.Context, s Scope) (TrialBalance, error) {
	out := TrialBalance{By: s.By, Until: s.Until, Lines: []Line{}, Totals: []Total{}}
	if !s.From.IsZero() {
		return out, fmt.Errorf("a trial balance has no beginning, and %s was given", s.From)
	}
	w, err := r.window(ctx, s)
	if err != nil {
		return out, err
	}
	rows, err := r.pool.Query(ctx, trialSQL, w.last, w.until, w.asset, s.By == ledger.Booking, s.Tenant)
	if err != nil {
		return out, fmt.Errorf("add up the ledger: %w", err)
	}
	totals := map[money.Asset]*Total{}
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
		l, astray, err := scanLine(row)
		if err != nil {
			return struct{}{}, err
		}
		out.Lines = append(out.Lines, l)
		t := totals[l.Asset]
		if t == nil {
			t = &Total{Asset: l.Asset}
			totals[l.Asset] = t
		}
		t.Astray += astray
		return struct{}{}, t.add(l)
	})
	if err != nil {
		return out, fmt.Errorf("add up the ledger: %w", err)
	}
	for _, t := range totals {
		t.Balanced = t.Debit == t.Credit
		out.Totals = append(out.Totals, *t)
	}
	slices.SortFunc(out.Lines, func(a, b Line) int {
		return cmp.Or(cmp.Compare(a.Asset, b.Asset), cmp.Compare(a.Account, b.Account))
	})
	slices.SortFunc(out.Totals, func(a, b Total) int { return cmp.Compare(a.Asset, b.Asset) })
	return out, nil
}

func (t *Total) add(l Line) (err error) {
	if t.Debit, err = t.Debit.Add(l.Debit); err == nil {
		t.Credit, err = t.Credit.Add(l.Credit)
	}
	if err != nil {
		return broken("the total of %s: %v", t.Asset, err)
	}
	return nil
}

func scanLine(row pgx.CollectableRow) (l Line, astray int64, err error) {
	var o owner
	var book ledger.BookID
	var debits, credits string
	if err = row.Scan(&o.asset, &o.kind, &o.tenant, &o.name, &book, &debits, &credits, &astray); err != nil {
		return l, 0, err
	}
	if o.asset == "" {
		return l, 0, broken("book %d has postings and no account", book)
	}
	l.Asset, l.Account = money.Asset(o.asset), o.summary(book)
	if l.DebitTurnover, err = money.ParseMinor(debits); err == nil {
		l.CreditTurnover, err = money.ParseMinor(credits)
	}
	var balance money.Amount
	if err == nil {
		balance, err = l.DebitTurnover.Sub(l.CreditTurnover)
	}
	if err == nil && balance.Sign() >= 0 {
		l.Debit = balance
	} else if err == nil {
		l.Credit, err = balance.Neg()
	}
	if err != nil {
		return l, 0, broken("%s in %s: %v", l.Account, l.Asset, err)
	}
	return l, astray, nil
}

// Sound reports whether every asset's debits equal its credits and every book is
// what its rows say.
func (t TrialBalance) Sound() bool {
	return !slices.ContainsFunc(t.Totals, func(a Total) bool { return !a.Balanced || a.Astray > 0 })
}
