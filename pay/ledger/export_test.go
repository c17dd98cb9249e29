package ledger

// StatementPlans are the statements behind a statement, for EXPLAIN.
func StatementPlans() map[string]string {
	return map[string]string{"window": statementSQL, "seek": seekDebit}
}
