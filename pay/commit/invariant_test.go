package commit_test

import (
	"context"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/pay/invariant"
	"github.com/moneta-pay/moneta/test/books"
)

// holds asks the raw rows whether every invariant holds.
func holds(t testing.TB, db *pgxpool.Pool) {
	t.Helper()
	for _, broken := range broken(t, db) {
		t.Error(broken)
	}
	asksToo(t, db)
	if t.Failed() {
		t.FailNow()
	}
}

// asksToo has the checks that run in production look at every row: what the decider
// writes must not page anybody.
func asksToo(t testing.TB, db *pgxpool.Pool) {
	t.Helper()
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{LogOutput: io.Discard})
	require.NoError(t, err)
	defer func() { _ = tel.Shutdown(context.Background()) }()
	found, err := invariant.New(invariant.Config{Pool: db, Page: 1 << 20, Telemetry: tel}).Turn(t.Context())
	require.NoError(t, err)
	for _, v := range found {
		t.Errorf("%s of %s: %s", v.Invariant, v.Subject, v.Detail)
	}
}

func broken(t testing.TB, db *pgxpool.Pool) []string {
	t.Helper()
	found, err := books.Broken(context.Background(), db)
	require.NoError(t, err)
	return found
}
