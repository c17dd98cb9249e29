package recon_test

import (
	"bytes"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/recon"
)

// logged is a log that a test may read.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Count(l.buf.Bytes(), []byte(s))
}

// A run that does not come pages once, whoever should have made it, and a later one
// is said too.
func TestAMissingRunPages(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t)
	var log logged
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{LogOutput: &log, SampleOneIn: telemetry.SampleOff})
	require.NoError(t, err)
	now := clock.NewManual(time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC))
	w := recon.NewWatch(pool, now, []channel.Name{"bank-ab", "bank-cd"}, nil, tel)
	ran := func(name string, at time.Time) {
		_, err := pool.Exec(t.Context(), `insert into recon_runs values ($1, $2, 0) on conflict (channel) do update set finished_at = excluded.finished_at`, name, at)
		require.NoError(t, err)
	}
	look := func() []recon.Overdue {
		require.NoError(t, w.Look(t.Context()))
		return w.Overdue()
	}
	require.Empty(t, look(), "nothing ran yet, and nothing is late yet")
	ran("bank-ab", now.Now())
	now.Advance(recon.OverdueAfter - time.Second)
	ran("bank-cd", now.Now())
	require.Empty(t, look())
	now.Advance(time.Second)
	for range 3 {
		late := look()
		require.Len(t, late, 1)
		require.Equal(t, channel.Name("bank-ab"), late[0].Channel)
		require.Equal(t, now.Now().UTC(), late[0].Since)
	}
	require.Equal(t, 1, log.count("a reconciliation run is missing"))
	ran("bank-ab", now.Now())
	require.Empty(t, look())
	require.Equal(t, 1, log.count("is reconciled again"))
}

// A bank whose statement comes as a file a day is late when the day's file is, whether
// or not the loop runs.
func TestAMissingFilePages(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t)
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{LogOutput: io.Discard, SampleOneIn: telemetry.SampleOff})
	require.NoError(t, err)
	now := clock.NewManual(time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)) // Monday
	w := recon.NewWatch(pool, now, []channel.Name{"bank-ab"}, map[channel.Name]recon.Terms{"bank-ab": {Calendar: bank(t), Files: true}}, tel)
	look := func() int {
		require.NoError(t, w.Look(t.Context()))
		return len(w.Overdue())
	}
	file := func(day string) {
		_, err := pool.Exec(t.Context(), `insert into statements (channel, statement_id, page, last, account, asset, content, net, lines, day, imported_by)
			values ('bank-ab', $1::text, 1, true, '', 'CZK', '', 0, 0, $1::text::date, 'test')`, day)
		require.NoError(t, err)
	}
	require.Zero(t, look(), "Monday's is due on Tuesday")
	now.Advance(24 * time.Hour)
	require.Equal(t, 1, look(), "ten on Tuesday in Prague: it was due at nine")
	file("2026-11-23")
	require.Zero(t, look())
	now.Advance(72 * time.Hour) // Friday: Tuesday's to Thursday's have not come
	require.Equal(t, 1, look())
	require.Equal(t, "2026-11-25T08:00:00Z", w.Overdue()[0].Since.Format(time.RFC3339), "since Tuesday's was due")
	file("2026-11-26")
	require.Zero(t, look())
	now.Advance(48 * time.Hour) // Sunday: Friday's comes on Monday
	require.Zero(t, look())
}
