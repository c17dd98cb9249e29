package ledger

import "time"

// Plan is a statement with arguments, for EXPLAIN.
type Plan struct {
	SQL  string
	Args []any
}

// StatementPlans are the statements behind a statement of a book of n postings.
func StatementPlans(n int) map[string]Plan {
	return map[string]Plan{
		"window": {statementSQL, []any{int64(2), int64(n), int64(n), statementWindow, 0, int16(2), int64(0), "te", false, time.Time{}, time.Now(), 100}},
		"seek":   {seekDebit, []any{int64(2), time.Now()}},
	}
}
