package bench

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// recountMax bounds one recount; millions of rows take some ten seconds.
const recountMax = 5 * time.Minute

// expected is what the callers were told, to be found again in the rows.
type expected struct {
	// payments that were acknowledged, and how many requests more were left
	// without an answer and may have been carried out.
	payments, unanswered int64
	// open of the payments had not succeeded when last seen.
	open int64
}

// questions are asked of the raw rows; each answer must be zero.
var questions = []struct{ text, sql string }{
	{"the postings do not sum to zero", `select coalesce(sum(amount), 0) <> 0 from facts.postings`},
	{"books whose newest balance is not the sum of their postings", `
with book as (select account, sum(amount) total from facts.postings group by account),
side as (select debit book, debit_balance balance, id from transfers union all select credit, credit_balance, id from transfers),
newest as (select distinct on (book) book, balance from side order by book, id desc)
select count(*) > 0 from book join newest on book.account = newest.book where total <> balance`},
	{"user accounts below their floor", `
with side as (select debit book, debit_balance balance, id from transfers union all select credit, credit_balance, id from transfers),
newest as (select distinct on (book) book, balance from side order by book, id desc)
select count(*) > 0 from newest join accounts on accounts.id = book where balance < floor`},
	{"gaps in the numbers of transfers", `select coalesce(max(id) & x'ffffffffffff'::bigint, 0) <> count(*) from transfers`},
	{"gaps in the numbers of transitions", `select coalesce(max(id) & x'ffffffffffff'::bigint, 0) <> count(*) from transitions`},
	{"payments without a key, or keys without a payment", `select (select count(*) from keys where kind = 1) <> (select count(*) from payments)`},
	{"facts put aside for a person", `select count(*) > 0 from quarantine`},
	{"payments in a final state other than succeeded", `select count(*) > 0 from facts.transitions where to_state in ('failed', 'cancelled', 'expired')`},
}

// recount compares the rows with what the callers were told, and the rows with
// each other. Every sentence returned is something wrong.
func recount(ctx context.Context, dsn, phase string, want expected) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, recountMax)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return nil, fmt.Errorf("recount %s: %w", phase, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var rows, open int64
	err = conn.QueryRow(ctx, `select (select count(*) from payments), (select count(*) from facts.open_items)`).Scan(&rows, &open)
	if err != nil {
		return nil, fmt.Errorf("recount %s: %w", phase, err)
	}
	var wrong []string
	if rows < want.payments {
		wrong = append(wrong, fmt.Sprintf("%s: %d acknowledged payments are lost", phase, want.payments-rows))
	}
	if most := want.payments + want.unanswered; rows > most {
		wrong = append(wrong, fmt.Sprintf("%s: %d payments that nobody was told of", phase, rows-most))
	}
	if open > 0 {
		wrong = append(wrong, fmt.Sprintf("%s: %d payments are still open", phase, open))
	}
	for _, q := range questions {
		var bad bool
		if err := conn.QueryRow(ctx, q.sql).Scan(&bad); err != nil {
			return nil, fmt.Errorf("recount %s: %s: %w", phase, strings.TrimSpace(q.text), err)
		}
		if bad {
			wrong = append(wrong, phase+": "+q.text)
		}
	}
	return wrong, nil
}
