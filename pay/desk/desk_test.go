package desk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/desk"
)

func TestMain(m *testing.M) { pgtest.VerifyTestMain(m) }

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

const bound = 10 * time.Minute

// here is whose cases the tests have: the tenant's, and those of nobody.
var here = desk.Reach{Tenant: 7, Unclaimed: true}

// world is a desk on a clock of its own, in the role of the pay plane, over rows
// that the test writes as the decider and recon would.
type world struct {
	*desk.Desk
	t     *testing.T
	db    *pgxpool.Pool
	clock *clock.Manual
	tel   *telemetry.Telemetry
	// unsound is why the desk may not trust its clock.
	unsound error
}

func newWorld(t *testing.T) *world {
	t.Helper()
	db := pgtest.Database(t)
	cfg := db.Config().Copy()
	cfg.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "set role moneta_pay")
		return err
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{LogOutput: io.Discard})
	require.NoError(t, err)
	w := &world{t: t, db: db, clock: clock.NewManual(noon), tel: tel}
	w.Desk = desk.New(desk.Config{Pool: pool, Clock: w.clock, Telemetry: tel, Bounds: map[string]time.Duration{"bank-ab": bound}, UrgentFrom: map[money.Asset]money.Amount{"CZK": money.Int(5000)}, Unsound: func() error { return w.unsound }})
	return w
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	_, err := w.db.Exec(w.t.Context(), sql, args...)
	require.NoError(w.t, err)
}

// payment writes an open payout that entered its state now.
func (w *world) payment(id pay.ID, state pay.State) pay.Payment {
	w.t.Helper()
	now := w.clock.Now()
	p := pay.Payment{
		ID: id, Tenant: 7, Kind: pay.Payout, State: state, Asset: "CZK", Amount: money.Int(100), Channel: "bank-ab", From: 2,
		EnteredAt: now, NextAt: now.Add(5 * time.Second), Deadline: now.Add(2 * time.Hour),
		Attempt: pay.Attempt{N: 1, State: pay.AttemptUnknown, Reference: pay.Reference(id, 1), SendBy: now},
	}
	w.exec(`insert into payments (id, tenant, kind, asset, amount, fee, from_account, channel, key, trace_id, effective_at, created_at)
		values ($1, 7, $2, 'CZK', 100, 0, 2, 'bank-ab', gen_random_uuid(), gen_random_uuid(), $3, $3)`, int64(id), int16(pay.Payout), now)
	w.exec(`insert into open_payments (payment, tenant, kind, asset, amount, account, channel, state, hop, entered_at, next_at, deadline, attempt, checks)
		values ($1, 7, $2, 'CZK', 100, 2, 'bank-ab', $3, $4, $5, $6, $7, 1, 0)`,
		int64(id), int16(pay.Payout), int16(state), p.Hop(), p.EnteredAt, p.NextAt, p.Deadline)
	return p
}

// ends writes the final state, as the decider does.
func (w *world) ends(id pay.ID, state pay.State) {
	w.t.Helper()
	w.exec(`insert into transitions (id, payment, seq, transition, from_state, to_state, settlement, attempt, transfers, at)
		values ($1, $1, 5, 7, $2, $3, 0, 1, 0, $4)`, int64(id), int16(pay.Unknown), int16(state), w.clock.Now())
	w.exec(`delete from open_payments where payment = $1`, int64(id))
}

func (w *world) sweep() {
	w.t.Helper()
	require.NoError(w.t, w.Sweep(w.t.Context()))
}

func (w *world) cases(f desk.Filter) []desk.Case {
	w.t.Helper()
	if f.Tenant == 0 {
		f.Reach = here
	}
	page, err := w.List(w.t.Context(), f)
	require.NoError(w.t, err)
	return page.Cases
}

// the only case that the filter finds.
func (w *world) only(f desk.Filter) desk.Case {
	w.t.Helper()
	found := w.cases(f)
	require.Len(w.t, found, 1)
	c, err := w.Get(w.t.Context(), here, found[0].Number)
	require.NoError(w.t, err)
	return c
}

func (w *world) appealed(p pay.Payment, key, text string) desk.Appealed {
	w.t.Helper()
	a, err := w.Appeal(w.t.Context(), &desk.AppealRequest{Tenant: 7, Payment: p, Key: key, Text: text, By: "key test"})
	require.NoError(w.t, err)
	return a
}

// metric reads one of the desk's figures.
func (w *world) metric(name, label, value string) float64 {
	w.t.Helper()
	families, err := w.tel.Registry().Gather()
	require.NoError(w.t, err)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == label && l.GetValue() == value {
					return m.GetGauge().GetValue() + m.GetCounter().GetValue()
				}
			}
			if label == "" {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// TestWhenAPaymentNeedsAPerson is the table of states with their bounds.
func TestWhenAPaymentNeedsAPerson(t *testing.T) {
	t.Parallel()
	sent := pay.Attempt{N: 1, State: pay.Acked, SendBy: noon.Add(5 * time.Second)}
	base := pay.Payment{Kind: pay.Payout, EnteredAt: noon, Deadline: noon.Add(30 * time.Second)}
	for name, c := range map[string]struct {
		change func(*pay.Payment)
		bound  time.Duration
		after  time.Duration // 0: never
	}{
		"reserved":                {func(p *pay.Payment) { p.State = pay.Reserved }, bound, time.Hour},
		"dispatching":             {func(p *pay.Payment) { p.State, p.Attempt = pay.Dispatching, sent }, bound, bound + 5*time.Second},
		"processing, by its rail": {func(p *pay.Payment) { p.State, p.Attempt = pay.Processing, sent }, bound, bound + 5*time.Second},
		"processing, no promise":  {func(p *pay.Payment) { p.State, p.Attempt = pay.Processing, sent }, 0, 30 * time.Second},
		"unknown":                 {func(p *pay.Payment) { p.State = pay.Unknown }, bound, 2 * time.Hour},
		"unknown, after going to and fro": {func(p *pay.Payment) {
			p.State, p.Attempt = pay.Unknown, sent
			p.Attempt.SendBy = noon.Add(-time.Hour)
		}, bound, time.Hour},
		"unknown on a slow rail": {func(p *pay.Payment) {
			p.State, p.Attempt = pay.Unknown, sent
			p.Attempt.SendBy = noon.Add(-time.Minute)
		}, 24 * time.Hour, 2 * time.Hour},
		"hold":            {func(p *pay.Payment) { p.Kind, p.State, p.Deadline = pay.Hold, pay.Reserved, noon.Add(7*24*time.Hour) }, 0, 7 * 24 * time.Hour},
		"in review":       {func(p *pay.Payment) { p.State = pay.InReview }, 0, time.Nanosecond},
		"nobody's money":  {func(p *pay.Payment) { p.Kind, p.State = pay.Inbound, pay.InReview }, 0, time.Nanosecond},
		"owed":            {func(p *pay.Payment) { p.Kind, p.State = pay.Chargeback, pay.Processing }, bound, time.Nanosecond},
		"requires action": {func(p *pay.Payment) { p.State = pay.RequiresAction }, 0, 30 * time.Second},
		"deposit awaited": {func(p *pay.Payment) { p.Kind, p.State = pay.Deposit, pay.Created }, bound, 0},
		"succeeded":       {func(p *pay.Payment) { p.State = pay.Succeeded }, bound, 0},
		"failed":          {func(p *pay.Payment) { p.State = pay.Failed }, bound, 0},
	} {
		p := base
		c.change(&p)
		at := desk.DueAt(&p, c.bound)
		if c.after == 0 {
			require.True(t, at.IsZero(), name)
			continue
		}
		require.Equal(t, noon.Add(c.after).Truncate(time.Microsecond), at, name)
	}
}

// TestAnOverdueStoryOnAClock: unknown for two hours, a case; late, somebody above;
// closed too early, a new one; final, closed by itself.
func TestAnOverdueStoryOnAClock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.payment(1, pay.Unknown)
	due := func() bool { return w.Due(&p, w.clock.Now()) }
	w.clock.Advance(2*time.Hour - time.Second)
	require.False(t, due())
	w.clock.Advance(time.Second)
	require.True(t, due())
	for range 3 { // asked again and again, it opens one
		require.NoError(t, w.Overdue(t.Context(), []pay.Payment{p}))
	}
	c := w.only(desk.Filter{})
	require.Equal(t, []any{desk.UnknownTooLong, desk.Open, "operations", pay.ID(1), pay.TenantID(7)}, []any{c.Kind, c.State, c.Owner, c.Payment, c.Tenant})
	require.Equal(t, w.clock.Now().Add(4*time.Hour), c.Deadline)
	require.Equal(t, []any{"unknown", "settle", pay.Reference(1, 1)}, []any{c.Finding.State, c.Finding.Hop, c.Finding.Reference})
	require.Len(t, c.Notes, 1)
	require.InDelta(t, 1, w.metric("moneta_cases_opened_total", "kind", "unknown_too_long"), 0)

	w.sweep()
	require.Equal(t, desk.Open, w.only(desk.Filter{}).State, "it is not late, nor is the payment final")
	w.clock.Advance(4*time.Hour + time.Second)
	require.Len(t, w.cases(desk.Filter{Overdue: true}), 1)
	w.sweep()
	w.sweep()
	c = w.only(desk.Filter{})
	require.Equal(t, "duty-manager", c.Owner)
	require.Equal(t, w.clock.Now(), c.EscalatedAt)
	require.Len(t, c.Notes, 2, "escalated once")
	require.InDelta(t, 1, w.metric("moneta_cases_overdue", "owner", "duty-manager"), 0)

	closed, err := w.Close(t.Context(), here, c.Number, "key test", "looks fine", "")
	require.NoError(t, err)
	still, err := w.StillOpen(t.Context(), &closed)
	require.NoError(t, err)
	require.True(t, still)
	require.NoError(t, w.Overdue(t.Context(), []pay.Payment{p}))
	next := w.only(desk.Filter{State: desk.Open})
	require.NotEqual(t, c.Number, next.Number)
	require.Equal(t, c.Number.String(), next.Finding.Previous)
	require.Contains(t, next.Notes[0].Text, "closed by key test")

	w.clock.Advance(time.Minute)
	w.ends(1, pay.Succeeded)
	w.sweep()
	got, err := w.Get(t.Context(), here, next.Number)
	require.NoError(t, err)
	require.Equal(t, []any{desk.Closed, desk.Machine}, []any{got.State, got.ClosedBy})
	require.Contains(t, got.Resolution, "succeeded")
	require.NoError(t, w.Overdue(t.Context(), []pay.Payment{p}))
	require.Empty(t, w.cases(desk.Filter{State: desk.Open}), "a payment that is final needs nobody, whatever the wheel remembers")
	require.InDelta(t, 0, w.metric("moneta_cases_overdue", "owner", "duty-manager"), 0)
}

// TestWhatWaitsForAPersonIsTheirsAtOnce, by what they have to decide.
func TestWhatWaitsForAPersonIsTheirsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for id, c := range map[pay.ID]struct {
		kind  pay.Kind
		state pay.State
		want  desk.Kind
		owner string
	}{
		1: {pay.Payout, pay.InReview, desk.Review, "risk"},
		2: {pay.Inbound, pay.InReview, desk.Unplaced, "finance"},
		3: {pay.LatePayout, pay.Processing, desk.Debt, "finance"},
		4: {pay.Chargeback, pay.Processing, desk.Debt, "finance"},
	} {
		p := w.payment(id, c.state)
		p.Kind = c.kind
		require.True(t, w.Due(&p, w.clock.Now()), c.want)
		require.NoError(t, w.Overdue(t.Context(), []pay.Payment{p}))
		got := w.only(desk.Filter{Payment: id})
		require.Equal(t, []any{c.want, c.owner}, []any{got.Kind, got.Owner})
	}
	w.sweep()
	require.Len(t, w.cases(desk.Filter{State: desk.Open}), 4)
	w.exec(`update open_payments set state = $1 where payment = 1`, int16(pay.Reserved))
	w.ends(3, pay.Succeeded)
	w.sweep()
	require.Equal(t, desk.Closed, w.only(desk.Filter{Payment: 1}).State, "let pass")
	require.Equal(t, desk.Closed, w.only(desk.Filter{Payment: 3}).State, "paid back")
	require.Len(t, w.cases(desk.Filter{State: desk.Open}), 2)
}

// TestManyEndAtOnce: more than one sweep may do, and the next ones go on.
func TestManyEndAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`insert into transitions (id, payment, seq, transition, from_state, to_state, settlement, attempt, transfers, at)
		select i, i, 1, 7, 5, 6, 0, 1, 0, $1 from generate_series(1, 450) i`, noon)
	w.exec(`insert into cases (tenant, payment, kind, owner, finding, opened_at, deadline)
		select 7, i, 'overdue', 'operations', '{}', $1::timestamptz, $1::timestamptz + i * interval '1 minute' from generate_series(1, 450) i`, noon)
	w.payment(451, pay.Unknown)
	w.exec(`insert into cases (tenant, payment, kind, owner, finding, opened_at, deadline) values (7, 451, 'overdue', 'operations', '{}', $1::timestamptz, $1::timestamptz + interval '1 hour')`, noon)
	for _, left := range []float64{251, 51, 1, 1} {
		w.sweep()
		require.InDelta(t, left, w.metric("moneta_cases_open", "kind", "overdue"), 0)
	}
}

func TestAnOrphanThatMovesNeedsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.payment(1, pay.Unknown)
	require.NoError(t, w.Orphans(t.Context(), []pay.Payment{p}))
	w.sweep()
	c := w.only(desk.Filter{Kind: desk.Orphan})
	require.Equal(t, desk.Open, c.State, "nothing moved")
	require.NoError(t, w.Overdue(t.Context(), []pay.Payment{p}))
	require.Len(t, w.cases(desk.Filter{}), 1, "one person at it is enough")
	w.clock.Advance(time.Second)
	w.exec(`update open_payments set last_checked_at = $1`, w.clock.Now())
	w.sweep()
	require.Equal(t, desk.Closed, w.only(desk.Filter{Kind: desk.Orphan}).State)
}

// TestEveryBreakBecomesACase, once, and closes with its breaks.
func TestEveryBreakBecomesACase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.payment(1, pay.Processing)
	insert := `insert into breaks (class, channel, payment, reference, asset, amount, detail, owner, severity)
		values ($1, 'bank-ab', nullif($2, 0), $3, 'CZK', 55, 'it says so', case when $3 = 'another' then 'Ana' else 'operations' end, case when $3 = 'another' then 1 else 2 end)`
	for i, class := range []string{"late_outcome", "wrong_state", "amount_mismatch", "missing_in_statement"} {
		w.exec(insert, class, 1, fmt.Sprint("ref", i))
	}
	w.exec(insert, "unmatched_inbound", 0, "stranger")
	w.exec(insert, "unmatched_inbound", 0, "another")
	w.exec(`insert into breaks (class, channel, reference, closed_at) values ('unmatched_inbound', 'bank-ab', 'explained', now())`)
	w.exec(`insert into breaks (class, channel, reference) values ('unmatched_inbound', 'bank-ab', 'nobody has looked at it yet')`)
	w.sweep()
	w.sweep()
	require.Len(t, w.cases(desk.Filter{}), 5)
	severe := w.only(desk.Filter{Owner: "Ana"})
	require.Equal(t, noon.Add(4*time.Hour), severe.Deadline)
	both := w.only(desk.Filter{Kind: desk.Contradiction})
	require.Equal(t, []any{"operations", pay.ID(1), pay.TenantID(7)}, []any{both.Owner, both.Payment, both.Tenant})
	require.Len(t, both.Notes, 2, "the second break is noted on the case of the first")
	require.Contains(t, both.Finding.Cause, "55 CZK")
	require.Equal(t, desk.Mismatch, w.only(desk.Filter{Kind: desk.Mismatch}).Kind)
	require.Len(t, w.cases(desk.Filter{Kind: desk.Break}), 3)

	w.exec(`update breaks set opened_at = now() - interval '2 minutes' where owner = ''`)
	w.sweep()
	require.Equal(t, "finance", w.only(desk.Filter{Owner: "finance"}).Owner, "recon does not come: somebody must")
	w.exec(`update breaks set closed_at = now() where class = 'late_outcome' or reference = 'stranger'`)
	w.sweep()
	require.Equal(t, desk.Open, w.only(desk.Filter{Kind: desk.Contradiction}).State, "one of its breaks is open")
	require.Len(t, w.cases(desk.Filter{Kind: desk.Break, State: desk.Closed}), 1)

	closed, err := w.Close(t.Context(), here, both.Number, "key test", "the bank is wrong", "")
	require.NoError(t, err)
	w.sweep()
	require.Empty(t, w.cases(desk.Filter{Kind: desk.Contradiction, State: desk.Open}), "what a person decided about a break stays decided")
	still, err := w.StillOpen(t.Context(), &closed)
	require.NoError(t, err)
	require.False(t, still)
}

// TestTwoNodesSweepAtOnce: an old leader that does not know yet, beside the new one.
func TestTwoNodesSweepAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.payment(1, pay.Processing)
	for i := range 30 {
		w.exec(`insert into breaks (class, channel, payment, reference, owner) values ('unmatched_inbound', 'bank-ab', nullif($1, 0), $2, 'x')`, i%2, fmt.Sprint(i))
		w.exec(`insert into quarantine (shard, fact, error) values (0, '{}', 'x')`)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := w.Sweep(context.Background()); err != nil {
				panic(err)
			}
		})
	}
	wg.Wait()
	require.Len(t, w.cases(desk.Filter{Kind: desk.Break}), 16, "15 without a payment, and one about the payment")
	require.Len(t, w.cases(desk.Filter{Kind: desk.Poison}), 30)
	var notes int
	require.NoError(t, w.db.QueryRow(t.Context(), `select count(*) from case_notes`).Scan(&notes))
	require.Equal(t, 60, notes, "each row is told of once")
}

// TestNobodyIsLateWhileClocksDisagree: a clock that leaps by days must not page for
// all that is open.
func TestNobodyIsLateWhileClocksDisagree(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.payment(1, pay.Unknown)
	w.appealed(p, "k", "")
	w.clock.Advance(72 * time.Hour)
	w.unsound = errors.New("the database is three days ahead")
	require.False(t, w.Due(&p, w.clock.Now()))
	w.sweep()
	require.Equal(t, "support", w.only(desk.Filter{}).Owner)
	w.unsound = nil
	require.True(t, w.Due(&p, w.clock.Now()))
	w.sweep()
	require.Equal(t, "duty-manager", w.only(desk.Filter{}).Owner)
}

// TestPoisonBecomesACase, with the tenant where the payment was never made.
func TestPoisonBecomesACase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.payment(1, pay.Processing)
	insert := `insert into quarantine (shard, payment, fact, error) values (0, nullif($1, 0), $2, 'numeric field overflow')`
	w.exec(insert, 1, `{"payment":{"Kind":3,"Payment":1}}`)
	w.exec(insert, 1, `{"payment":{"Kind":4,"Payment":1}}`)
	w.exec(insert, 0, `{"payment":{"Kind":1,"New":{"Tenant":9}}}`)
	w.exec(insert, 0, `not JSON`)
	w.sweep()
	w.sweep()
	require.Len(t, w.cases(desk.Filter{Kind: desk.Poison, Reach: desk.Reach{Tenant: 9}}), 1, "a tenant's own, and nobody's only for those who work here")
	found := append(w.cases(desk.Filter{Kind: desk.Poison}), w.cases(desk.Filter{Kind: desk.Poison, Reach: desk.Reach{Tenant: 9}})...)
	require.Len(t, found, 3)
	tenants := map[pay.TenantID]pay.ID{}
	for _, c := range found {
		require.Equal(t, "engineering", c.Owner)
		require.Equal(t, "numeric field overflow", c.Finding.Cause)
		tenants[c.Tenant] = c.Payment
	}
	require.Equal(t, map[pay.TenantID]pay.ID{7: 1, 9: 0, 0: 0}, tenants)
	p := w.payment(2, pay.Unknown)
	p.ID = 1
	require.NoError(t, w.Overdue(t.Context(), []pay.Payment{p}))
	require.Empty(t, w.cases(desk.Filter{Kind: desk.UnknownTooLong}), "a person is at it")
}

// A callback that was set aside is somebody's, once.
func TestACallbackAsideBecomesACase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`insert into callbacks_aside (inbox, channel, received_at, aside_at, "by", reason) values (12, 'bank-ab', now(), now(), 'doctor', 'it hangs')`)
	w.exec(`insert into callbacks_aside (inbox, channel, received_at, aside_at, "by", reason, ended_at, ended_as, ended_by, end_reason)
		values (13, 'bank-ab', now(), now(), 'doctor', 'it hung', now(), 'replayed', 'ann', 'x')`)
	w.sweep()
	w.sweep()
	c := w.only(desk.Filter{Kind: desk.Poison})
	require.Equal(t, []any{"engineering", "callback 12", "bank-ab", "set aside by doctor: it hangs"}, []any{c.Owner, c.Finding.Origin, c.Finding.Channel, c.Finding.Cause})
}

// TestUrgentAppealsComeFirst: by age and by value, and no others.
func TestUrgentAppealsComeFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	small, big, other, late := w.payment(1, pay.Unknown), w.payment(2, pay.Unknown), w.payment(3, pay.Unknown), w.payment(4, pay.Unknown)
	big.Amount, other.Amount, other.Asset = money.Int(5000), money.Int(5000), "EUR" // nobody said what much is there
	late.Deadline = noon.Add(-time.Second)
	plain, soon := noon.Add(4*time.Hour), noon.Add(time.Hour)
	for i, c := range []struct {
		p      pay.Payment
		urgent string
		due    time.Time
	}{{small, "", plain}, {big, "value", soon}, {other, "", plain}, {late, "late", soon}} {
		a := w.appealed(c.p, fmt.Sprint("k", i), "")
		require.Equal(t, []any{c.urgent, c.due}, []any{a.Finding.Urgent, a.Deadline}, "%d", i)
	}
	var order []pay.ID
	for _, c := range w.cases(desk.Filter{Kind: desk.Appeal}) {
		order = append(order, c.Payment)
	}
	require.Equal(t, []pay.ID{2, 4, 1, 3}, order)
}

func TestAppeal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.payment(1, pay.Unknown)
	first := w.appealed(p, "k1", "where is my money?")
	require.Equal(t, []any{desk.Appeal, "support", noon.Add(4 * time.Hour), false, false}, []any{first.Kind, first.Owner, first.Deadline, first.Again, first.Replayed})
	require.Regexp(t, `^C-2026-\d{6}$`, first.Number.String())
	back, ok := desk.ParseNumber(" " + strings.ToLower(first.Number.String()))
	require.True(t, ok)
	require.Equal(t, first.Number, back)

	replay := w.appealed(p, "k1", "where is my money?")
	require.True(t, replay.Replayed)
	require.Equal(t, first.Number, replay.Number)
	require.Len(t, replay.Notes, 1, "a replay leaves no note")
	_, err := w.Appeal(t.Context(), &desk.AppealRequest{Tenant: 7, Payment: p, Key: "k1", Text: "other"})
	require.ErrorIs(t, err, fault.IdempotencyKeyReused)
	other := w.payment(2, pay.Unknown)
	_, err = w.Appeal(t.Context(), &desk.AppealRequest{Tenant: 7, Payment: other, Key: "k1", Text: "where is my money?"})
	require.ErrorIs(t, err, fault.IdempotencyKeyReused)
	elsewhere, err := w.Appeal(t.Context(), &desk.AppealRequest{Tenant: 8, Payment: other, Key: "k1"})
	require.NoError(t, err)
	require.NotEqual(t, first.Number, elsewhere.Number, "keys are a tenant's own")

	second := w.appealed(p, "k2", "still nothing")
	require.True(t, second.Again)
	require.Equal(t, first.Number, second.Number)
	require.Equal(t, "still nothing", second.Notes[1].Text)
	for i := range 40 {
		w.appealed(p, fmt.Sprint("more", i), "again")
	}
	require.Len(t, w.only(desk.Filter{Payment: 1}).Notes, 21, "the log is bounded")

	told, open, err := w.OfPayment(t.Context(), 1)
	require.NoError(t, err)
	require.True(t, open)
	require.Equal(t, first.Number, told.Number)

	answered, err := w.Note(t.Context(), here, first.Number, "key test", desk.Note{Text: "We found it.", ToHolder: true})
	require.NoError(t, err)
	require.Equal(t, desk.Answered, answered.State)
	_, open, err = w.OfPayment(t.Context(), 1)
	require.NoError(t, err)
	require.False(t, open)
	w.clock.Advance(24 * time.Hour)
	w.sweep()
	require.Equal(t, "support", w.only(desk.Filter{Payment: 1}).Owner, "no deadline runs on what is answered")
	reopened := w.appealed(p, "k3", "no, you did not")
	require.Equal(t, []any{desk.Open, first.Number, noon.Add(28 * time.Hour)}, []any{reopened.State, reopened.Number, reopened.Deadline})

	w.clock.Advance(time.Minute)
	w.ends(1, pay.Failed)
	w.sweep()
	now := w.only(desk.Filter{Payment: 1})
	require.Equal(t, desk.Answered, now.State, "the outcome is the answer; a person closes it")
	last := now.Notes[len(now.Notes)-1]
	require.True(t, last.ToHolder)
	require.Regexp(t, `^The payment was not completed \(2026-.* UTC\)\. / 付款未成功\(2026-.* UTC\)。$`, last.Text)
	_, err = w.Close(t.Context(), here, now.Number, "key test", "returned", "")
	require.NoError(t, err)
	require.True(t, w.appealed(p, "k1", "where is my money?").Replayed, "the key still names its case")
	p.State = pay.Failed
	fresh := w.appealed(p, "k4", "")
	require.NotEqual(t, first.Number, fresh.Number)
	w.sweep()
	require.Equal(t, desk.Open, w.only(desk.Filter{State: desk.Open, Payment: 1}).State, "an appeal against a final state is not answered by it")
	require.InDelta(t, 45, w.metric("moneta_appeals_total", "", ""), 0)
}

// TestOneOpenCaseWhoeverOpensIt is the property behind the unique index: from many
// connections at once, with keys that repeat, and people who close in between.
func TestOneOpenCaseWhoeverOpensIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	next := pay.ID(0)
	rapid.Check(t, func(rt *rapid.T) {
		next++
		p := w.payment(next, pay.Unknown)
		keys := rapid.SliceOfN(rapid.IntRange(0, 3), 2, 8).Draw(rt, "keys")
		closer := rapid.Bool().Draw(rt, "closer")
		var wg sync.WaitGroup
		numbers := make([]desk.Number, len(keys))
		failed := make([]error, len(keys))
		for i, key := range keys {
			wg.Go(func() {
				a, err := w.Appeal(context.Background(), &desk.AppealRequest{Tenant: 7, Payment: p, Key: fmt.Sprintf("%d %d", p.ID, key), By: "t"})
				numbers[i], failed[i] = a.Number, err
				if closer && i == 0 && err == nil {
					_, _ = w.Close(context.Background(), here, a.Number, "t", "done", "") // two may close it: one is told so
				}
			})
			wg.Go(func() {
				if err := w.Overdue(context.Background(), []pay.Payment{p}); err != nil {
					panic(err)
				}
			})
		}
		wg.Wait()
		byKey := map[int]desk.Number{}
		for i, key := range keys {
			require.NoError(rt, failed[i])
			if have, seen := byKey[key]; seen {
				require.Equal(rt, have, numbers[i], "one key is one case")
			}
			byKey[key] = numbers[i]
		}
		var open, all int
		require.NoError(rt, w.db.QueryRow(context.Background(), `select count(*) filter (where state <> 'closed'), count(*) from cases where payment = $1 and kind = 'appeal'`, int64(p.ID)).Scan(&open, &all))
		require.LessOrEqual(rt, open, 1)
		if !closer {
			require.Equal(rt, 1, all)
		}
		require.NoError(rt, w.db.QueryRow(context.Background(), `select count(*) from cases where payment = $1 and kind <> 'appeal'`, int64(p.ID)).Scan(&all))
		require.Equal(rt, 1, all)
	})
}

// TestTheLogIsOnlyAppended: the pay plane's role may not change what was said.
func TestTheLogIsOnlyAppended(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.appealed(w.payment(1, pay.Unknown), "k", "x")
	for _, sql := range []string{`update case_notes set text = 'y'`, `delete from case_notes`, `delete from cases`, `delete from appeals`, `update case_origins set case_id = 0`} {
		tx, err := w.db.Begin(t.Context())
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), `set local role moneta_pay`)
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), sql)
		require.ErrorContains(t, err, "permission denied", sql)
		require.NoError(t, tx.Rollback(t.Context()))
	}
	for i := range desk.NotesMax - 1 {
		_, err := w.Note(t.Context(), here, a.Number, "t", desk.Note{Text: fmt.Sprint(i)})
		require.NoError(t, err)
	}
	_, err := w.Note(t.Context(), here, a.Number, "t", desk.Note{Text: "one more"})
	require.ErrorIs(t, err, fault.CaseFull)
	_, err = w.Close(t.Context(), here, a.Number, "t", "it can still be closed", "with an answer")
	require.NoError(t, err)
	_, err = w.Assign(t.Context(), here, a.Number, "t", "somebody", time.Time{}, "")
	require.ErrorIs(t, err, fault.CaseClosed)
	_, err = w.Get(t.Context(), desk.Reach{Tenant: 8, Unclaimed: true}, a.Number)
	require.ErrorIs(t, err, fault.NotFound, "another tenant's")
	other := w.appealed(w.payment(2, pay.Unknown), "k2", "x")
	_, err = w.Close(t.Context(), desk.Reach{Tenant: 8, Unclaimed: true}, other.Number, "t", "x", "")
	require.ErrorIs(t, err, fault.NotFound, "nobody acts on another tenant's")
	require.Empty(t, w.cases(desk.Filter{Reach: desk.Reach{Tenant: 8, Unclaimed: true}}))
	_, err = w.Get(t.Context(), here, desk.Number{Year: 2025, ID: a.Number.ID})
	require.ErrorIs(t, err, fault.NotFound, "a slip in the year")
}

func TestListPagesByWhatIsDueFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for id := range pay.ID(7) {
		w.appealed(w.payment(id+1, pay.Unknown), fmt.Sprint(id), "")
		w.clock.Advance(time.Minute)
	}
	c := w.cases(desk.Filter{Payment: 7})[0]
	soon := w.clock.Now().Add(time.Minute)
	_, err := w.Assign(t.Context(), here, c.Number, "t", "Ana", soon, "she knows the bank")
	require.NoError(t, err)
	require.Len(t, w.cases(desk.Filter{Owner: "Ana"}), 1)
	var seen []pay.ID
	for f := (desk.Filter{Reach: here, State: desk.Open, Limit: 3}); ; {
		page, err := w.List(t.Context(), f)
		require.NoError(t, err)
		for _, c := range page.Cases {
			seen = append(seen, c.Payment)
		}
		if page.Next.ID == 0 {
			break
		}
		f.After = page.Next
	}
	require.Equal(t, []pay.ID{7, 1, 2, 3, 4, 5, 6}, seen)
}

// TestTheFactsViewNamesCases as people do.
func TestTheFactsViewNamesCases(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.appealed(w.payment(1, pay.Unknown), "k", "")
	w.exec(`set role none`)
	var number string
	require.NoError(t, w.db.QueryRow(t.Context(), `select number from facts.cases`).Scan(&number))
	require.Equal(t, a.Number.String(), number)
	w.exec(`insert into cases (tenant, kind, owner, finding, opened_at, deadline) overriding system value values (1, 'break', 'x', '{}', $1, $1)`, noon)
	w.exec(`insert into cases (id, tenant, kind, owner, finding, opened_at, deadline) overriding system value values (12345678, 1, 'break', 'x', '{}', $1, $1)`, noon)
	require.NoError(t, w.db.QueryRow(t.Context(), `select number from facts.cases order by number desc limit 1`).Scan(&number))
	require.Equal(t, desk.Number{Year: 2026, ID: 12345678}.String(), number)
	b, err := json.Marshal(a.Finding)
	require.NoError(t, err)
	require.Contains(t, string(b), `"state":"unknown"`)
}

func FuzzParseNumber(f *testing.F) {
	for _, s := range []string{"C-2026-000123", "c-2026-1", "C-2026--1", "C--", "C-9999-9223372036854775807", "C-2026-+12"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, ok := desk.ParseNumber(s)
		if !ok {
			return
		}
		again, ok := desk.ParseNumber(n.String())
		require.True(t, ok)
		require.Equal(t, n, again)
	})
}
