package commit_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/ledger"
	"github.com/moneta-pay/moneta/test/books"
)

// TestInvariantsSeeDamage plants damage in the rows, one at a time, and wants it
// to be seen: a check that cannot fail proves nothing.
func TestInvariantsSeeDamage(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	db := pool(t, dsn)
	n := lead(t, dsn)
	house, user := open(t, n, "cash", ledger.House), open(t, n, "alice", ledger.User)
	_, err := n.Submit(t.Context(), accept(pay.Send, house, user, 900, "in"))
	require.NoError(t, err)
	for _, k := range []string{"p1", "p2", "p3"} {
		r, err := n.Submit(t.Context(), accept(pay.Payout, user, 0, 100, k))
		require.NoError(t, err)
		if k == "p1" {
			continue
		}
		for _, f := range []pay.FactKind{pay.Intend, pay.Doubt, pay.ProveAbsent, pay.Intend, pay.Confirm, pay.Settle} {
			r, err = n.Submit(t.Context(), about(r.Payment, f))
			require.NoError(t, err)
		}
	}
	h, err := n.Submit(t.Context(), accept(pay.Hold, user, house, 100, "h"))
	require.NoError(t, err)
	_, err = n.Submit(t.Context(), capture(h.Payment, 40, "c"))
	require.NoError(t, err)
	require.Empty(t, broken(t, db))
	for _, sql := range []string{
		`update transfers set amount = amount + 1 where id = 3`,
		`update transfers set credit_balance = credit_balance - 1 where id = 2`,
		`update transfers set debit_seq = debit_seq + 100 where id = 4`,
		`delete from transfers where id = (select max(id) from transfers)`,
		`delete from transitions where id = 2`,
		`update transitions set from_state = 3 where seq = 2`,
		`update transitions set to_state = 7 where to_state = 6 and settlement = 2`,
		`delete from keys where kind = 1 and subject = 2`,
		`delete from open_payments`,
		`update open_payments set state = 3`,
		`update open_payments set next_at = entered_at`,
		`update hop_counts set value = value + 1 where open > 0`,
		`update hop_counts set open = open + 1`,
		`update attempts set state = 3 where n = 1`,
		`update attempts set state = 4 where n = 1`,
		`update attempts set state = 5`,
		`delete from accounts where name = 'alice'`,
		`update accounts set name = 'clr:x:out' where name = 'nostro:bank-ab'`,
		`update payments set amount = amount + 1 where kind = 5`,
		`update payments set original = original - 1 where kind = 5`,
		`update payments set to_account = from_account where kind = 5`,
		`delete from transitions where transition = 25 and from_state <> 0`,
		`update open_payments set next_at = next_at + interval '1 second' where kind = 4`,
		`update shards set last_payment = last_payment + 1`,
	} {
		tx, err := db.Begin(t.Context())
		require.NoError(t, err)
		defer func() { _ = tx.Rollback(context.Background()) }() // a no-op after the rollback below
		_, err = tx.Exec(t.Context(), sql)
		require.NoError(t, err)
		found, err := books.Broken(t.Context(), tx)
		require.NoError(t, err)
		require.NotEmpty(t, found, "nobody sees: %s", sql)
		require.NoError(t, tx.Rollback(t.Context()))
	}
}
