package money_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor/signal/money"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/pgtest"
)

// What a look at the facts costs while so many payments are open, four banks, a hundredth
// of them late. The goal is 200 ms at a million.
func BenchmarkFacts(b *testing.B) {
	for _, open := range []int{1_000, 1_000_000} {
		b.Run(fmt.Sprint(open), func(b *testing.B) {
			db := pgtest.Database(b)
			_, err := db.Exec(b.Context(), fmt.Sprintf(`insert into open_payments select i, 1, 2, 'CZK', 1000 + i, 2 * (i %% 5000),
				'bank-' || (i %% 4), 4, 'channel', now() - case when i %% 100 = 0 then interval '90 seconds' else interval '1 second' end,
				now() + interval '1 minute', now() + interval '1 hour', 1, 0 from generate_series(1, %d) i`, open))
			require.NoError(b, err)
			_, err = db.Exec(b.Context(), `insert into hop_counts select hop, channel, 'CZK', count(*), 1000, count(*), 0 from open_payments group by 1, 2`)
			require.NoError(b, err)
			_, err = db.Exec(b.Context(), `analyze open_payments`)
			require.NoError(b, err)
			now := clock.NewManual(time.Now())
			c, err := money.New(b.Context(), money.Config{DSN: db.Config().ConnString(), Clock: now})
			require.NoError(b, err)
			defer c.Close()
			cut := 0
			look := func() time.Duration {
				now.Advance(time.Second)
				began := time.Now()
				var pg *pgconn.PgError
				if _, err := c.Look(b.Context()); errors.As(err, &pg) && pg.Code == "57014" {
					cut++ // a machine that is busy with others cuts a look off; smaller pages follow
				} else {
					require.NoError(b, err)
				}
				return time.Since(began)
			}
			for range 2 * open / 20_000 { // until every page was read once
				look()
			}
			longest := time.Duration(0)
			cut = 0
			for b.Loop() {
				longest = max(longest, look())
			}
			b.ReportMetric(float64(cut), "cut-off")
			b.ReportMetric(float64(longest.Milliseconds()), "ms-longest")
		})
	}
}
