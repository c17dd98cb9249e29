package app

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// LedgerCount is a ledger in a few numbers. Money tables are only appended to, so
// what was counted up to a transfer counts the same for ever.
type LedgerCount struct {
	LastTransfer   int64        `json:"last_transfer"`
	LastTransition int64        `json:"last_transition"`
	Payments       int64        `json:"payments"`
	Accounts       int64        `json:"accounts"`
	Assets         []AssetCount `json:"assets"`
}

// AssetCount is one asset's part; amounts are in the smallest unit.
type AssetCount struct {
	Asset     string `json:"asset"`
	Accounts  int64  `json:"accounts"`
	Transfers int64  `json:"transfers"`
	// Moved is the sum of all transfers; Hash adds up a hash of every row.
	Moved string `json:"moved"`
	Hash  string `json:"hash"`
}

const selectAssets = `select a.asset, count(distinct a.id), count(*), sum(t.amount)::text,
       sum(('x' || left(md5(concat_ws('|', t.id, t.payment, t.debit, t.credit, t.amount, t.debit_seq, t.credit_seq, t.debit_balance,
         t.credit_balance, t.transition, t.effective_at, t.booked_at)), 15))::bit(60)::bigint)::text
  from transfers t join accounts a on a.id = (t.debit & -2) where t.id <= $1 group by a.asset order by a.asset`

// countLedger counts up to the transfer upTo, or all when it is negative.
func countLedger(ctx context.Context, conn *pgx.Conn, upTo int64) (LedgerCount, error) {
	var c LedgerCount
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return c, fmt.Errorf("count the ledger: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	// The rows' text must be the same whatever the server's settings.
	if _, err := tx.Exec(ctx, `set local timezone = 'UTC'; set local datestyle = 'ISO, YMD'`); err != nil {
		return c, fmt.Errorf("count the ledger: %w", err)
	}
	err = tx.QueryRow(ctx, `select (select coalesce(max(id), 0) from transfers), (select coalesce(max(id), 0) from transitions),
	  (select count(*) from payments), (select count(*) from accounts)`).Scan(&c.LastTransfer, &c.LastTransition, &c.Payments, &c.Accounts)
	if err != nil {
		return c, fmt.Errorf("count the ledger: %w", err)
	}
	if upTo >= 0 {
		c.LastTransfer = upTo
	}
	rows, err := tx.Query(ctx, selectAssets, c.LastTransfer)
	if err != nil {
		return c, fmt.Errorf("count the ledger: %w", err)
	}
	c.Assets, err = pgx.CollectRows(rows, pgx.RowToStructByPos[AssetCount])
	if err != nil {
		return c, fmt.Errorf("count the ledger: %w", err)
	}
	return c, nil
}

// checks are what must hold in any ledger; each counts what breaks it.
var checks = []struct{ what, sql string }{
	{"books whose newest row is not the sum of their postings", `
	  with side as (select debit book, -amount moved, id from transfers union all select credit, amount, id from transfers),
	  book as (select book, sum(moved) total, max(id) newest from side group by book)
	  select count(*) from book b join transfers t on t.id = b.newest
	   where b.total <> case when t.debit = b.book then t.debit_balance else t.credit_balance end`},
	{"assets that do not sum to zero", `
	  with side as (select debit book, id from transfers union all select credit, id from transfers),
	  book as (select book, max(id) newest from side group by book),
	  asset as (select a.asset, sum(case when t.debit = b.book then t.debit_balance else t.credit_balance end) total
	    from book b join transfers t on t.id = b.newest join accounts a on a.id = (b.book & -2) group by a.asset)
	  select count(*) from asset where total <> 0`},
	{"missing ids of transfers", `select coalesce(max(id), 0) - count(*) from transfers`},
	// A restore and a failover leave ids out, between lost_after and begins of the
	// history that they begin (ADR 0015).
	{"missing ids of transitions", `select greatest(coalesce(max(id), 0), (select coalesce(max(begins) - 1, 0) from timelines)) - count(*)
	   - (select coalesce(sum(begins - lost_after - 1), 0) from timelines) from transitions`},
	{"last ids of the shard that are not the last ids", `select count(*) from shards
	   where last_transfer <> (select coalesce(max(id), 0) from transfers) or last_transition <> greatest(
	     (select coalesce(max(id), 0) from transitions), (select coalesce(max(begins) - 1, 0) from timelines))`},
	{"open payments that are not those whose last transition is not final", `
	  with last as (select distinct on (payment) payment, to_state from transitions order by payment, seq desc)
	  select count(*) from (select * from last where to_state not between 6 and 9) l full join open_payments o using (payment)
	   where l.payment is null or o.payment is null or l.to_state <> o.state`},
}

// recount checks the whole ledger from its rows, and that it begins as the backup
// says. It returns what is off, empty when nothing is.
func recount(ctx context.Context, conn *pgx.Conn, want LedgerCount) (now LedgerCount, off []string, err error) {
	for _, c := range checks {
		var n int64
		if err := conn.QueryRow(ctx, c.sql).Scan(&n); err != nil {
			return now, nil, fmt.Errorf("recount: %s: %w", c.what, err)
		}
		if n != 0 {
			off = append(off, fmt.Sprintf("%s: %d", c.what, n))
		}
	}
	then, err := countLedger(ctx, conn, want.LastTransfer)
	if err != nil {
		return now, nil, err
	}
	if !slices.Equal(then.Assets, want.Assets) {
		off = append(off, "the transfers that the backup had are not the same here")
	}
	now, err = countLedger(ctx, conn, -1)
	return now, off, err
}
