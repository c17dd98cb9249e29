package stuck_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/stuck"
	"github.com/moneta-pay/moneta/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.VerifyTestMain(m) }

type wallet struct {
	t  *testing.T
	db *pgxpool.Pool
	r  *stuck.Reader
}

func newWallet(t *testing.T) *wallet {
	t.Helper()
	db := pgtest.Database(t)
	r, err := stuck.New(t.Context(), db.Config().ConnString())
	require.NoError(t, err)
	t.Cleanup(r.Close)
	return &wallet{t, db, r}
}

func (w *wallet) do(sql string, args ...any) {
	w.t.Helper()
	_, err := w.db.Exec(w.t.Context(), sql, args...)
	require.NoError(w.t, err, sql)
}

// open puts payouts from to until there, of an age and with a time left, in seconds.
func (w *wallet) open(from, until int, state, hop, channel string, attempt, age, left int) {
	w.t.Helper()
	w.do(fmt.Sprintf(`insert into open_payments select i, 1, 2, 'CZK', 1000, 2 * (i %% 5), '%s', (select n from generate_series(0, 11) n where facts.state_name(n::smallint) = '%s'), '%s',
		now() - interval '%d seconds', now() + interval '1 minute', now() + interval '%d seconds', %d, 0 from generate_series(%d, %d) i`,
		channel, state, hop, age, left, attempt, from, until))
}

func TestGroupsOfWhatWaits(t *testing.T) {
	t.Parallel()
	w := newWallet(t)
	groups, cut, err := w.r.Groups(t.Context())
	require.NoError(t, err)
	require.Empty(t, groups)
	require.False(t, cut)
	w.open(1, 10, "reserved", "dispatch", "bank-ab", 0, 60, 600)
	w.open(11, 13, "unknown", "channel", "bank-ab", 1, 300, -1)
	w.open(14, 15, "unknown", "channel", "bank-cd", 1, 30, 600)
	w.open(16, 16, "in_review", "operator", "", 0, 900, 600)
	w.open(20, 29, "unknown", "channel", "bank-ab", 1, 0, 600) // under way
	w.do(`insert into inbox (channel, headers, body, received_at) select 'bank-ab', '', '', now() - interval '1 minute' from generate_series(1, 3) i`)
	groups, _, err = w.r.Groups(t.Context())
	require.NoError(t, err)
	type short struct {
		kind, act, channel, value string
		items, overdue            int64
	}
	var got []short
	for _, g := range groups {
		require.NotNil(t, g.Oldest)
		got = append(got, short{g.Kind, g.Act, g.Channel, g.Value, g.Items, g.Overdue})
	}
	require.Equal(t, []short{
		{stuck.Person, "", "", "1000", 1, 0},
		{stuck.Unanswered, doctor.DoQueryUnknowns, "bank-ab", "3000", 3, 3},
		{stuck.Unsent, doctor.DoRedispatch, "bank-ab", "10000", 10, 0},
		{stuck.Unanswered, doctor.DoQueryUnknowns, "bank-cd", "2000", 2, 0},
		{stuck.Callbacks, doctor.DoReplayCallbacks, "bank-ab", "", 3, 0},
	}, got)
	left, err := w.r.CallbacksLeft(t.Context(), "bank-ab")
	require.NoError(t, err)
	require.Equal(t, 3, left)
	left, err = w.r.CallbacksLeft(t.Context(), "bank-cd")
	require.NoError(t, err)
	require.Zero(t, left)

	items, err := w.r.Items(t.Context(), stuck.Unanswered, "bank-ab", 2)
	require.NoError(t, err)
	require.Len(t, items, 2)
	require.Equal(t, "unknown", items[0].State)
	items, err = w.r.Items(t.Context(), stuck.Unanswered, "", 100)
	require.NoError(t, err)
	require.Len(t, items, 5)
}

// An endpoint that fails, one that gave messages up and one that was disabled are there
// with how many, and so are callbacks that were set aside; one that is well is not.
func TestGroupsOfWhatIsNoPayment(t *testing.T) {
	t.Parallel()
	w := newWallet(t)
	w.do(`insert into webhook_endpoints (tenant, url, secret, state, state_reason, failing_since) values
		(1, 'https://a', 'x', 1, '', now() - interval '1 hour'), (1, 'https://b', 'x', 1, '', null), (2, 'https://c', 'x', 2, 'it said 410', null), (2, 'https://d', 'x', 1, '', null)`)
	w.do(`insert into webhook_deliveries (endpoint, event, state, created_at) values (1, 1, 1, now() - interval '2 hours'), (1, 2, 1, now()), (1, 3, 2, now()), (2, 1, 3, now() - interval '3 hours'), (4, 1, 2, now())`)
	w.do(`insert into callbacks_aside (inbox, channel, received_at, aside_at, "by", reason) values (7, 'bank-ab', now() - interval '4 hours', now(), 'doctor', 'it hangs')`)
	groups, _, err := w.r.Groups(t.Context())
	require.NoError(t, err)
	type short struct {
		kind, act, name, says string
		items                 int64
	}
	var got []short
	for _, g := range groups {
		got = append(got, short{g.Kind, g.Act, g.Channel, g.Says, g.Items})
	}
	require.Equal(t, []short{
		{stuck.Parked, "replay-parked", "bank-ab", "it hangs", 1},
		{stuck.Webhooks, "redeliver-webhooks", "2", "", 1},
		{stuck.Webhooks, "redeliver-webhooks", "1", "", 2},
		{stuck.Webhooks, "redeliver-webhooks", "3", "it said 410", 0},
	}, got)
}

func TestFateOfChosenPayments(t *testing.T) {
	t.Parallel()
	w := newWallet(t)
	w.open(1, 4, "reserved", "dispatch", "bank-ab", 0, 60, 600)
	ids := []int64{1, 2, 3, 4}
	f, err := w.r.Follow(t.Context(), stuck.Unsent, ids)
	require.NoError(t, err)
	require.Equal(t, stuck.Fate{At: f.At, Open: 4, Value: map[string]string{"CZK": "4000"}, Ended: map[string]int{}}, f)
	w.do(`delete from open_payments where payment = 1`)
	w.do(`update open_payments set attempt = 1, state = (select n from generate_series(0, 11) n where facts.state_name(n::smallint) = 'unknown') where payment = 2`)
	f, err = w.r.Follow(t.Context(), stuck.Unsent, ids)
	require.NoError(t, err)
	require.Equal(t, 2, f.Open)
	require.Equal(t, 1, f.Moved)
	require.Equal(t, map[string]string{"CZK": "2000"}, f.Value)
	_, err = w.r.Follow(t.Context(), stuck.Unsent, make([]int64, stuck.ItemsMost+1))
	require.Error(t, err)
}

func TestImpactOfWhatWaits(t *testing.T) {
	t.Parallel()
	w := newWallet(t)
	none, err := w.r.Impact(t.Context())
	require.NoError(t, err)
	require.Zero(t, none.Holders+none.Payments+none.Tenants+none.Unsent)
	w.open(1, 10, "reserved", "dispatch", "bank-ab", 0, 60, 600)
	w.open(11, 13, "unknown", "channel", "bank-cd", 1, 300, -1)
	w.open(14, 14, "requires_action", "holder", "", 0, 900, 600)
	i, err := w.r.Impact(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 5, i.Holders, "one person with several payments is one")
	require.EqualValues(t, 13, i.Payments, "who is waited for is nobody who waits")
	require.EqualValues(t, 3, i.Overdue)
	require.EqualValues(t, 10, i.Unsent)
	require.EqualValues(t, 1, i.Tenants)
	require.Equal(t, []string{"bank-ab", "bank-cd"}, i.Channels)
	require.Equal(t, map[string]string{"CZK": "14000"}, i.Open)
	require.Equal(t, map[string]string{"CZK": "3000"}, i.Unknown)
	require.Greater(t, i.OldestS, 290.0)
	require.WithinDuration(t, time.Now(), i.At, time.Minute)
}
