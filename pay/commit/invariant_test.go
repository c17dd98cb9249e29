package commit_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/test/books"
)

// holds asks the raw rows whether every invariant holds.
func holds(t testing.TB, db *pgxpool.Pool) {
	t.Helper()
	for _, broken := range broken(t, db) {
		t.Error(broken)
	}
	if t.Failed() {
		t.FailNow()
	}
}

func broken(t testing.TB, db *pgxpool.Pool) []string {
	t.Helper()
	found, err := books.Broken(context.Background(), db)
	require.NoError(t, err)
	return found
}
