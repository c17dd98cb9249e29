package access_test

import (
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/pgtest"
)

// Two nodes count the same groups at once: every answer is counted once, the newest refusal
// is the example, and days go when their time is over.
func TestRequestsAreCounted(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t)
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	now := clock.NewManual(noon)
	nodes := []*access.RequestLog{access.NewRequestLog(pool, slog.New(slog.DiscardHandler), now), access.NewRequestLog(pool, slog.New(slog.DiscardHandler), now)}
	refused := access.Asked{Tenant: 1, Key: "abcdefgh", Route: "POST /v1/payments", Status: 422, Code: "insufficient-funds"}
	well := access.Asked{Tenant: 1, Key: "abcdefgh", Route: "GET /v1/payments/{id}", Status: 200}
	const each = 2000
	var group sync.WaitGroup
	for n, l := range nodes {
		for range 2 {
			group.Go(func() {
				for i := range each {
					l.Note(refused, [16]byte{byte(n), 1}, noon.Add(time.Duration(i)*time.Millisecond))
					l.Note(well, [16]byte{9}, noon)
				}
			})
			group.Go(func() {
				for range 10 {
					if err := l.Flush(t.Context()); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	group.Wait()
	nodes[0].Note(refused, [16]byte{7}, noon.Add(time.Hour))
	nodes[0].Note(access.Asked{Tenant: 2, Route: "GET /v1/keys", Status: 403, Code: "forbidden"}, [16]byte{8}, noon)
	for _, l := range nodes {
		require.NoError(t, l.Flush(t.Context()))
	}
	list := func(f access.AskedFilter) []access.AskedGroup {
		got, more, err := nodes[1].List(t.Context(), &f)
		require.NoError(t, err)
		require.False(t, more)
		return got
	}
	got := list(access.AskedFilter{Tenant: 1, Days: 1, Refused: true})
	require.Len(t, got, 1)
	require.Equal(t, refused, got[0].Asked)
	require.EqualValues(t, 4*each+1, got[0].Count)
	require.Equal(t, [16]byte{7}, got[0].Trace)
	require.True(t, got[0].FirstAt.Equal(noon))
	require.True(t, got[0].LastAt.Equal(noon.Add(time.Hour)))
	all := list(access.AskedFilter{Tenant: 1, Days: 1, Key: "abcdefgh"})
	require.Len(t, all, 2)
	require.EqualValues(t, 4*each, all[1].Count)
	require.Zero(t, all[1].Trace, "what was not refused needs no example")
	require.Empty(t, list(access.AskedFilter{Tenant: 1, Days: 1, Key: "other"}))

	now.Advance(24 * time.Hour)
	require.Empty(t, list(access.AskedFilter{Tenant: 1, Days: 1}))
	require.Len(t, list(access.AskedFilter{Tenant: 1, Days: 2}), 2)
}

// What the database does not take is counted on; what cannot be told apart any more is
// counted all the same.
func TestRequestsOutliveTheDatabase(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t)
	l := access.NewRequestLog(pool, slog.New(slog.DiscardHandler), nil)
	a := access.Asked{Tenant: 1, Key: "abcdefgh", Route: "GET /v1/payments", Status: 400, Code: "unknown-field"}
	at := time.Now()
	l.Note(a, [16]byte{1}, at)
	_, err := pool.Exec(t.Context(), `alter table api_requests rename to gone`)
	require.NoError(t, err)
	require.Error(t, l.Flush(t.Context()))
	l.Note(a, [16]byte{2}, at.Add(-time.Second))
	for i := range 5000 {
		l.Note(access.Asked{Tenant: 1, Key: "abcdefgh", Route: "GET /v1/x/" + strconv.Itoa(i), Status: 400, Code: "c"}, [16]byte{3}, at)
	}
	_, err = pool.Exec(t.Context(), `alter table gone rename to api_requests`)
	require.NoError(t, err)
	require.NoError(t, l.Flush(t.Context()))
	var rows int
	var n int64
	require.NoError(t, pool.QueryRow(t.Context(), `select count(*), sum(n) from api_requests`).Scan(&rows, &n))
	require.EqualValues(t, 5002, n)
	require.Less(t, rows, 5100)
	var kept int64
	require.NoError(t, pool.QueryRow(t.Context(), `select n from api_requests where code = 'unknown-field'`).Scan(&kept))
	require.EqualValues(t, 2, kept)
	require.NoError(t, l.Flush(t.Context()), "nothing is to be written")
}

func TestARequestIsCountedWithoutAllocation(t *testing.T) {
	l := access.NewRequestLog(nil, slog.New(slog.DiscardHandler), nil)
	a := access.Asked{Tenant: 1, Key: "abcdefgh", Route: "POST /v1/payments", Status: 201}
	at := time.Now()
	l.Note(a, [16]byte{1}, at)
	require.Zero(t, testing.AllocsPerRun(1000, func() { l.Note(a, [16]byte{1}, at) }))
}
