package app

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/doctor/prove"
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

// offMax bounds what a recount names of what it found.
const offMax = 10

// recount has the whole ledger proved from its rows, and checks that it begins as the
// backup says. It returns what is off, empty when nothing is. The rails are not asked:
// what they know beyond it is the gap finder's work.
func recount(ctx context.Context, dsn string, conn *pgx.Conn, want LedgerCount) (now LedgerCount, off []string, err error) {
	proof, err := prove.Run(ctx, prove.Config{DSN: dsn, Version: "moneta " + Version})
	if err != nil {
		return now, nil, fmt.Errorf("recount: %w", err)
	}
	for _, f := range proof.Findings[:min(len(proof.Findings), offMax)] {
		off = append(off, strings.Join(strings.Fields(f.Check+" "+f.Payment+" "+f.Place+": "+f.Detail), " "))
	}
	if more := proof.FaultCount - int64(len(off)); more > 0 {
		off = append(off, fmt.Sprintf("and %d more: moneta prove lists them", more))
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
