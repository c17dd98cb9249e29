package money_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/signal/money"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.VerifyTestMain(m) }

// wallet is a pay plane's tables, with open payments that are moved by hand.
type wallet struct {
	t   *testing.T
	db  *pgxpool.Pool
	c   *money.Collector
	now *clock.Manual
}

func newWallet(t *testing.T) *wallet {
	t.Helper()
	db := pgtest.Database(t)
	now := clock.NewManual(time.Now())
	c, err := money.New(t.Context(), money.Config{DSN: db.Config().ConnString(), Clock: now})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return &wallet{t, db, c, now}
}

func (w *wallet) do(sql string, args ...any) {
	w.t.Helper()
	_, err := w.db.Exec(w.t.Context(), sql, args...)
	require.NoError(w.t, err, sql)
}

// open puts payouts from to until there, of an age in seconds.
func (w *wallet) open(from, until int, state, hop, channel string, age int) {
	w.t.Helper()
	attempt := 1
	if hop == "dispatch" {
		attempt = 0
	}
	w.do(fmt.Sprintf(`insert into open_payments select i, 1, 2, 'CZK', 1000 + i, 2 * (i %% 50), '%s', %s, '%s', now() - interval '%d seconds',
		now() + interval '1 minute', now() + interval '1 hour', %d, 0 from generate_series(%d, %d) i`, channel, state, hop, age, attempt, from, until))
	w.do(`insert into hop_counts values ($1, $2, 'CZK', $3, 1000, $3, 0) on conflict (hop, channel, asset) do update
		set open = hop_counts.open + $3, entered = hop_counts.entered + $3`, hop, channel, until-from+1)
}

func (w *wallet) leave(from, until int) {
	w.t.Helper()
	w.do(`with gone as (delete from open_payments where payment between $1 and $2 returning hop, channel),
		n as (select hop, channel, count(*) as n from gone group by 1, 2)
		update hop_counts h set open = open - n, "left" = "left" + n from n where h.hop = n.hop and h.channel = n.channel`, from, until)
}

type figures map[string]doctor.Point

func (w *wallet) look() (doctor.Look, figures) {
	w.t.Helper()
	var l doctor.Look
	var err error
	for range 20 { // a look that a busy machine cuts off is made again, as the runner does
		w.now.Advance(time.Second)
		l, err = w.c.Look(w.t.Context())
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != "57014" {
			break
		}
	}
	require.NoError(w.t, err)
	out := figures{}
	for _, p := range l.Points {
		k := p.Hop + " " + string(p.Signal) + " " + p.Statistic
		require.NotContains(w.t, out, k, "told once")
		out[k] = p
	}
	return l, out
}

func TestWhatWaitsAndSinceWhen(t *testing.T) {
	t.Parallel()
	w := newWallet(t)
	w.open(1, 40, "2", "dispatch", "bank-ab", 90)
	w.open(41, 50, "4", "channel", "bank-ab", 3)
	w.open(51, 52, "5", "settle", "bank-ab", 20)
	w.open(61, 70, "10", "holder", "", 5000)
	w.do(`update open_payments set kind = 3, state = 1, attempt = 0, entered_at = now() - interval '1 day' where payment = 41`) // a deposit that nobody has paid yet
	w.do(`update open_payments set deadline = now() - interval '30 seconds' where payment = 51`)
	w.do(`update open_payments set next_at = now() - interval '30 seconds' where payment in (51, 52)`)
	l, f := w.look()
	require.InDelta(t, 40, f["dispatch waiting bank-ab"].Value, 0)
	require.InDelta(t, 90, f["dispatch oldest_age bank-ab"].Value, 5)
	require.InDelta(t, 90, f["dispatch stuck bank-ab"].Value, 5)
	require.InDelta(t, 9, f["bank-ab waiting "].Value, 0, "the deposit waits for its holder")
	require.InDelta(t, 3, f["bank-ab oldest_age "].Value, 3)
	require.InDelta(t, 1, f["settle overdue "].Value, 0)
	require.InDelta(t, 30, f["settle overdue_age "].Value, 5)
	require.InDelta(t, 2, f["settle orphans "].Value, 0)
	require.InDelta(t, 30, f["timer timer_late "].Value, 5)
	require.InDelta(t, 2, f["settle unknown_items "].Value, 0)
	for _, hop := range []string{"dispatch", "bank-ab", "settle"} {
		require.Zero(t, f[hop+" imbalance "].Value, hop)
	}
	require.Contains(t, l.Hops, doctor.Hop{Name: "bank-ab", Kind: doctor.Channel})
	for _, p := range l.Points {
		require.NotEqual(t, doctor.HopHolder, p.Hop)
	}

	// Who has a case has an owner: it is no stall.
	w.do(`insert into cases (tenant, payment, kind, owner, finding, opened_at, deadline) values (1, 51, 'stuck', 'support', '{}', now(), now()), (1, 52, 'stuck', 'support', '{}', now(), now())`)
	_, f = w.look()
	require.Zero(t, f["settle waiting bank-ab"].Value)
	require.Zero(t, f["settle orphans "].Value)
	require.InDelta(t, 2, f["settle unknown_items "].Value, 0, "and its outcome is as unknown as before")

	// A lost payment and a doubled one.
	w.do(`delete from open_payments where payment = 42`)
	w.do(`update hop_counts set entered = entered + 1 where hop = 'dispatch'`)
	_, f = w.look()
	require.InDelta(t, 1, f["bank-ab imbalance "].Value, 0)
	require.InDelta(t, 1, f["dispatch imbalance "].Value, 0)
}

// Pages: what is far down in a long table is found, and who has left takes his age away.
func TestManyOpenItemsAreReadInPages(t *testing.T) {
	t.Parallel()
	w := newWallet(t)
	w.open(1, 90_000, "4", "channel", "bank-ab", 2)
	w.do(`update open_payments set entered_at = now() - interval '500 seconds' where payment in (33333, 71717)`)
	var f figures
	for range 12 {
		_, f = w.look()
	}
	require.InDelta(t, 90_000, f["bank-ab waiting "].Value, 0)
	// A look that was cut off begins with smaller pages, and all of them come round again.
	old := func() bool { _, f = w.look(); return f["bank-ab oldest_age "].Value > 400 }
	settles := func(is bool, why string) {
		for n := 0; old() != is; n++ {
			require.Less(t, n, 400, why)
		}
	}
	settles(true, "both are there")
	w.leave(33333, 33333)
	settles(true, "the other one")
	w.leave(71717, 71717)
	settles(false, "both have left")
	w.leave(20_001, 90_000)
	for range 12 {
		_, f = w.look()
	}
	require.InDelta(t, 20_000, f["bank-ab waiting "].Value, 0)
	require.Zero(t, f["bank-ab imbalance "].Value)
}

// Who is affected: one account of many, or one channel of two.
func TestCohortsNameWhoIsAffected(t *testing.T) {
	t.Parallel()
	w := newWallet(t)
	w.open(1, 60, "2", "dispatch", "bank-ab", -3600) // never late, however slow this machine is
	w.open(101, 160, "2", "dispatch", "bank-cd", -3600)
	l, _ := w.look()
	require.Empty(t, l.Cohorts, "nobody is")
	w.do(`update open_payments set entered_at = now() - interval '1 minute' where channel = 'bank-cd'`)
	w.look()
	l, _ = w.look()
	require.Contains(t, l.Cohorts, doctor.Cohort{Dimension: "channel", Value: "bank-cd", Affected: 60, Total: 60})
	require.Contains(t, l.Cohorts, doctor.Cohort{Dimension: "channel", Value: "bank-ab", Affected: 0, Total: 60})
	require.Contains(t, l.Cohorts, doctor.Cohort{Dimension: "kind", Value: "payout", Affected: 60, Total: 120})
	w.leave(101, 140)
	l, _ = w.look()
	require.Contains(t, l.Cohorts, doctor.Cohort{Dimension: "channel", Value: "bank-cd", Affected: 60, Total: 60}, "who got out late was affected")
	total := map[string]int{}
	for _, c := range l.Cohorts {
		total[c.Dimension] += c.Total
	}
	require.Equal(t, map[string]int{"account": 120, "amount_band": 120, "asset": 120, "channel": 120, "kind": 120, "tenant": 120}, total)
}

// A database that does not answer is an error, in time.
func TestADatabaseThatIsGone(t *testing.T) {
	t.Parallel()
	c, err := money.New(t.Context(), money.Config{DSN: "host=127.0.0.1 port=1 user=x dbname=x sslmode=disable"})
	require.NoError(t, err)
	defer c.Close()
	l, err := c.Look(t.Context())
	require.ErrorContains(t, err, "the database does not answer")
	require.Empty(t, l.Points)
}

// What the doctor holds back itself is no cause of anything: whose lever it is, is told.
func TestWhoseLeverHolds(t *testing.T) {
	t.Parallel()
	w := newWallet(t)
	for aim, owner := range map[string]string{"channel:bank-ab": "ann", "channel:bank-cd": "doctor"} {
		w.do(`insert into lever_changes (lever_id, change, lever, aim, value, value_zh, owner, reason, by, via, at, expires_at)
			values (gen_random_uuid(), 'pull', 'pause-dispatch', $1, '', '', $2, 'r', 'b', 'api', now() - interval '1 second', now() + interval '1 minute')`, aim, owner)
	}
	_, told := w.look()
	require.Equal(t, "ann", told["dispatch paused bank-ab"].Detail["owner"])
	require.Equal(t, "doctor", told["dispatch paused bank-cd"].Detail["owner"])
}

// TestStanding: what a map shows is counted with the readings, to the smallest unit, and
// what waits for a person or a payer is not water behind a dam.
func TestStanding(t *testing.T) {
	t.Parallel()
	w := newWallet(t)
	require.Nil(t, w.c.Standing(), "nothing was looked at yet")
	w.open(1, 40, "2", "dispatch", "bank-ab", 90)
	w.open(41, 50, "4", "channel", "bank-ab", 3)
	w.open(61, 70, "10", "holder", "", 5000)
	w.do(`update open_payments set asset = 'JPY', amount = 7 where payment in (1, 2)`)
	w.do(`update open_payments set amount = 123456789012345678901234567890 where payment = 3`)
	w.do(`update open_payments set kind = 3, state = 1, attempt = 0 where payment = 41`) // announced, not paid
	w.do(`update open_payments set deadline = now() - interval '30 seconds' where payment = 5`)
	w.look()
	w.look()
	st := w.c.Standing()
	require.WithinDuration(t, w.now.Now(), st.At, 0)
	at := map[string]doctor.Lane{}
	for _, l := range st.Lanes {
		at[l.Hop+" "+l.Channel] = l
	}
	d := at["dispatch bank-ab"]
	require.EqualValues(t, 40, d.Waiting)
	require.Equal(t, map[string]string{"JPY": "14", "CZK": "123456789012345678901234605704"}, d.Value, "no unit is rounded away")
	require.EqualValues(t, 1, d.Overdue)
	require.InDelta(t, 90, st.At.Sub(d.Oldest).Seconds(), 5)
	require.Less(t, d.Due, d.Oldest.Add(time.Hour))
	require.Greater(t, d.Stuck, time.Minute)
	b := at["bank-ab "]
	require.EqualValues(t, 9, b.Waiting)
	require.EqualValues(t, 1, b.Held, "it waits for whoever pays it")
	require.Equal(t, map[string]string{"CZK": "9414"}, b.Value)
	require.EqualValues(t, 10, at["holder "].Held)
	require.Zero(t, at["holder "].Waiting)

	w.do(`insert into lever_changes (lever_id, change, lever, aim, value, value_zh, owner, reason, by, via, at, expires_at)
		values (gen_random_uuid(), 'pull', 'pause-dispatch', 'channel:bank-ab', '', '', 'ann', 'a test', 'ann', 'api', now(), now() + interval '1 hour')`)
	w.look()
	for _, l := range w.c.Standing().Lanes {
		if l.Hop == "dispatch" {
			require.True(t, l.Paused)
			require.Zero(t, l.Stuck, "what is held back on purpose is not stuck")
		}
	}
}

func TestAges(t *testing.T) {
	t.Parallel()
	w := newWallet(t)
	w.open(1, 4, "2", "dispatch", "bank-ab", 90)
	w.open(11, 13, "4", "channel", "bank-ab", 7)
	w.open(21, 22, "4", "channel", "bank-cd", 400)
	w.do(`update open_payments set kind = 3, state = 1, attempt = 0 where payment = 11`) // announced, not paid
	of := func(hop, channel string) map[int]int64 {
		a, err := w.c.Ages(t.Context(), hop, channel)
		require.NoError(t, err)
		require.True(t, a.Whole)
		out := map[int]int64{}
		for _, b := range a.Buckets {
			if b.Items > 0 {
				out[b.FromS] = b.Items
			}
		}
		return out
	}
	require.Equal(t, map[int]int64{60: 4}, of(doctor.HopDispatch, ""))
	require.Equal(t, map[int]int64{60: 4}, of(doctor.HopDispatch, "bank-ab"))
	require.Empty(t, of(doctor.HopDispatch, "bank-cd"))
	require.Equal(t, map[int]int64{5: 2}, of("bank-ab", ""))
	require.Equal(t, map[int]int64{300: 2}, of("bank-cd", ""))
}

// A new leader counts anew until a not-found proves absence: for as long as the channel's
// contract says, its unknown outcomes are not stuck. A wallet that has no such view has no
// such wait.
func TestAWaitThatIsAgreedOnIsNotStuck(t *testing.T) {
	t.Parallel()
	for _, agreed := range []bool{true, false} {
		w := newWallet(t)
		if agreed {
			w.do(`insert into channel_contracts values ('bank-ab', 'sandbox/2', '13 s', now()), ('bank-cd', 'sandbox/2', null, now())`)
		} else {
			w.do(`drop view facts.channels`)
		}
		w.do(`update heartbeats set epoch = 1, beat = 1`)
		w.look()
		w.do(`update heartbeats set beat = 2`)
		w.look()
		w.do(`update heartbeats set epoch = 2`)
		w.open(1, 2, "5", "settle", "bank-ab", 0)
		w.open(3, 4, "5", "settle", "bank-cd", 0)
		var f figures
		for n := range 12 {
			w.do(`update heartbeats set beat = $1`, 3+n)
			w.do(`update open_payments set entered_at = entered_at - interval '1 second'`)
			_, f = w.look()
		}
		require.GreaterOrEqual(t, f["settle stuck bank-cd"].Value, 9.0)
		if agreed {
			require.Zero(t, f["settle stuck bank-ab"].Value)
		} else {
			require.GreaterOrEqual(t, f["settle stuck bank-ab"].Value, 9.0)
		}
	}
}
