package outbox_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/event"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/outbox"
)

const patience = 20 * time.Second

func TestMain(m *testing.M) { pgtest.VerifyTestMain(m) }

// payment writes a payment of the tenant as the decider would, without moves.
func payment(t *testing.T, pool *pgxpool.Pool, id int64, tenant int32) {
	t.Helper()
	_, err := pool.Exec(t.Context(), `insert into payments (id, tenant, kind, asset, amount, fee, key, trace_id, effective_at, created_at)
		values ($1, $2, 1, 'CZK', 5, 0, gen_random_uuid(), gen_random_uuid(), now(), now())`, id, tenant)
	require.NoError(t, err)
}

// moves writes transitions from..to of the payment, all of them into created.
func moves(t *testing.T, pool *pgxpool.Pool, payment, from, to int64) {
	t.Helper()
	require.NoError(t, move(t.Context(), pool, payment, from, to))
}

func move(ctx context.Context, pool *pgxpool.Pool, payment, from, to int64) error {
	_, err := pool.Exec(ctx, `insert into transitions (id, payment, seq, transition, from_state, to_state, settlement, attempt, transfers, at)
		select i, $1, i, 1, 0, 1, 0, 0, 0, now() from generate_series($2::bigint, $3) i`, payment, from, to)
	return err
}

func newFeed(t *testing.T, pool *pgxpool.Pool) (log *outbox.Log, feed *outbox.Feed, stop func()) {
	t.Helper()
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{LogOutput: io.Discard})
	require.NoError(t, err)
	log = outbox.NewLog(pool, nil)
	feed = outbox.NewFeed(log, tel)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- feed.Run(ctx) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			require.NoError(t, <-done)
		}
	}
	t.Cleanup(stop)
	return log, feed, stop
}

// TestPagesCrossGapsAndStrangers walks a log in which most events are another
// tenant's and a restore has left a gap.
func TestPagesCrossGapsAndStrangers(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t)
	payment(t, pool, 1, 1)
	payment(t, pool, 2, 2)
	moves(t, pool, 1, 1, 2)
	moves(t, pool, 2, 3, 25_000) // more than two windows of somebody else's
	moves(t, pool, 1, 90_000, 90_003)
	log := outbox.NewLog(pool, nil)
	var got []event.ID
	var after event.ID
	for pages := 0; ; pages++ {
		require.Less(t, pages, 20)
		p, err := log.List(t.Context(), outbox.Query{Tenant: 1, After: after, Limit: 3})
		require.NoError(t, err)
		require.LessOrEqual(t, len(p.Events), 3)
		for i := range p.Events {
			got = append(got, p.Events[i].ID)
		}
		after = p.Next
		if !p.More {
			break
		}
	}
	require.Equal(t, []event.ID{1, 2, 90_000, 90_001, 90_002, 90_003}, got)
	p, err := log.List(t.Context(), outbox.Query{Tenant: 1, After: after})
	require.NoError(t, err)
	require.Equal(t, after, p.Next, "the cursor of an end stays")
	for _, bad := range []string{"payment.nonsense", "x", ""} {
		_, err := log.List(t.Context(), outbox.Query{Tenant: 1, Types: []string{bad}})
		require.ErrorIs(t, err, fault.MalformedRequest)
	}
	for _, s := range pay.States() {
		name := event.Entered(s.String())
		if s.Final() {
			name = event.PaymentFinal
		}
		_, err := log.List(t.Context(), outbox.Query{Tenant: 1, Types: []string{name}})
		require.NoError(t, err, name)
	}
}

// TestACursorIsAnEvent: a page that ends where ids were left out gives no cursor
// among them, and a reader who comes with one is halted.
func TestACursorIsAnEvent(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t)
	payment(t, pool, 1, 1)
	moves(t, pool, 1, 1, 50)
	moves(t, pool, 1, 1<<30, 1<<30+5)
	log := outbox.NewLog(pool, func(_ context.Context, cursor int64) error {
		if cursor > 50 && cursor < 1<<30 {
			return outbox.ErrBeyond
		}
		return nil
	})
	p, err := log.List(t.Context(), outbox.Query{Tenant: 2}) // nothing matches: the window's end is the cursor
	require.NoError(t, err)
	require.Equal(t, event.ID(50), p.Next)
	require.True(t, p.More)
	p, err = log.List(t.Context(), outbox.Query{Tenant: 1, After: p.Next})
	require.NoError(t, err)
	require.Len(t, p.Events, 6)
	_, err = log.List(t.Context(), outbox.Query{Tenant: 1, After: 51})
	require.ErrorIs(t, err, fault.MalformedRequest)
	require.ErrorContains(t, err, "may be lost")
}

// TestStreamsEndWithTheHistory: the log goes on behind ids that were left out, so
// what was told may be no more.
func TestStreamsEndWithTheHistory(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t)
	payment(t, pool, 1, 1)
	_, feed, _ := newFeed(t, pool)
	s, err := feed.Subscribe(t.Context(), 1, 0)
	require.NoError(t, err)
	moves(t, pool, 1, 1, 2)
	for range 2 {
		<-s.Events
	}
	moves(t, pool, 1, 1<<30, 1<<30)
	_, more := <-s.Events
	require.False(t, more, "it goes on as if nothing had happened")
	s, err = feed.Subscribe(t.Context(), 1, 0)
	require.NoError(t, err)
	moves(t, pool, 1, 1<<30+1, 1<<30+1)
	require.Equal(t, event.ID(1<<30+1), (<-s.Events).ID)
}

// TestASlowSubscriberIsCutOff and is not told less; the others are told everything.
func TestASlowSubscriberIsCutOff(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t)
	payment(t, pool, 1, 1)
	payment(t, pool, 2, 1)
	_, feed, stop := newFeed(t, pool)
	slow, err := feed.Subscribe(t.Context(), 1, 1)
	require.NoError(t, err)
	other, err := feed.Subscribe(t.Context(), 1, 2)
	require.NoError(t, err)
	moves(t, pool, 1, 1, 500)
	moves(t, pool, 2, 501, 502)
	for want := event.ID(501); want <= 502; want++ {
		select {
		case e := <-other.Events:
			require.Equal(t, want, e.ID)
		case <-time.After(patience):
			t.Fatal("nothing came")
		}
	}
	n := event.ID(0)
	for e := range slow.Events { // ends: it was cut off
		n++
		require.Equal(t, n, e.ID, "what was told was told in order")
	}
	require.Positive(t, n)
	require.Less(t, n, event.ID(500))
	stop()
	_, open := <-other.Events
	require.False(t, open, "a node that leaves ends its streams")
	_, err = feed.Subscribe(t.Context(), 1, 1)
	require.ErrorIs(t, err, fault.NotLeader)
}

// TestSubscribeThenReadMissesNothing: what is committed around the subscription is
// in the log's answer or comes by the subscription.
func TestSubscribeThenReadMissesNothing(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t)
	payment(t, pool, 1, 1)
	log, feed, _ := newFeed(t, pool)
	for round := range int64(10) {
		first := round*10 + 1
		written := make(chan struct{})
		go func() {
			defer close(written)
			if err := move(t.Context(), pool, 1, first, first+9); err != nil {
				t.Error(err)
			}
		}()
		sub, err := feed.Subscribe(t.Context(), 1, 1)
		require.NoError(t, err)
		past, err := log.Of(t.Context(), 1, 1, event.ID(first-1))
		require.NoError(t, err)
		seen := map[event.ID]bool{}
		for i := range past {
			seen[past[i].ID] = true
		}
		deadline := time.After(patience)
		for len(seen) < 10 {
			select {
			case e, ok := <-sub.Events:
				require.True(t, ok)
				if e.ID >= event.ID(first) {
					seen[e.ID] = true
				}
			case <-deadline:
				t.Fatalf("round %d: %d of 10", round, len(seen))
			}
		}
		sub.Close()
		sub.Close()
		<-written
	}
}
