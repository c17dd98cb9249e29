// Package stuck reads from a wallet's facts (docs/facts.md) what does not move: groups of
// payments that wait for the same thing, the oldest of a group, what became of some of
// them, and whom it hurts. It is for people who look and choose, at their pace, not each
// second. Every question is bounded in rows and in time.
//
// It refuses to change anything, to read anything but facts, and to call a payment stuck
// that has waited for less than a person notices.
package stuck

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/moneta-pay/moneta/doctor"
)

// Bounds.
const (
	// ItemsMost is how many payments a list holds, as many as one call brings forward.
	ItemsMost = 1000
	// scanMost bounds how many open payments are looked at; with more the counts are of
	// the oldest so many, and say so.
	scanMost    = 200_000
	groupsMost  = 200
	conns       = 2
	dialWithin  = time.Second
	statementMS = "4000"
	role        = "moneta_facts"
	// After is from when on what waits counts: before that it is under way.
	After = 5 * time.Second
)

// The kinds of groups, by what they wait for.
const (
	Unsent     = "unsent"     // reserved, and never attempted
	Unanswered = "unanswered" // attempted, and the channel has not said what became of it
	Person     = "person"     // one of us has to decide
	Holder     = "holder"     // its holder has to do something
	Callbacks  = "callbacks"  // what channels said, stored and not applied
	Parked     = "parked"     // callbacks that were set aside, for a person
	Webhooks   = "webhooks"   // messages that a partner's endpoint did not take
	Projection = "projection" // a reader of the log that is behind
	Quarantine = "quarantine" // facts that could not be committed
)

// Group is what waits for the same thing.
type Group struct {
	Kind string `json:"kind"`
	// Act brings it forward; empty when nobody can.
	Act string `json:"act,omitempty"`
	// Says is why, where the facts tell.
	Says string `json:"says,omitempty"`
	// Channel it waits for; of webhooks and projections their name.
	Channel string `json:"channel,omitempty"`
	Asset   string `json:"asset,omitempty"`
	Items   int64  `json:"items"`
	// Value is in the asset's smallest unit; empty where there is none.
	Value string `json:"value,omitempty"`
	// Overdue are past their deadline.
	Overdue int64 `json:"overdue"`
	// Oldest is since when the oldest waits.
	Oldest *time.Time `json:"oldest,omitempty"`
}

// Item is one payment of a group.
type Item struct {
	Payment   int64      `json:"-"`
	ID        string     `json:"payment"` // filled in by who knows how ids are written
	Kind      string     `json:"kind"`
	Channel   string     `json:"channel"`
	Asset     string     `json:"asset"`
	Value     string     `json:"value"`
	State     string     `json:"state"`
	Attempt   int16      `json:"attempt"`
	EnteredAt time.Time  `json:"entered_at"`
	NextAt    *time.Time `json:"next_at,omitempty"`
	Deadline  *time.Time `json:"deadline,omitempty"`
	Checks    int32      `json:"checks"`
}

// Fate is what became of some payments.
type Fate struct {
	At time.Time `json:"at"`
	// Open still wait for what they waited for, Value is what they are worth by asset.
	Open  int               `json:"open"`
	Value map[string]string `json:"value"`
	// Moved are open and wait for something else by now; Ended are final, by state.
	Moved int            `json:"moved"`
	Ended map[string]int `json:"ended"`
}

// Impact is whom it hurts, on four axes. What facts do not tell is not in it.
type Impact struct {
	At time.Time `json:"at"`
	// Users: holders with something that waits too long, and their payments.
	Holders  int64 `json:"holders"`
	Payments int64 `json:"payments"`
	Overdue  int64 `json:"overdue"`
	// OldestS is the age of the oldest in seconds.
	OldestS float64 `json:"oldest_s"`
	// Platform: what is open and what of it nobody knows the outcome of, by asset.
	Open    map[string]string `json:"open"`
	Unknown map[string]string `json:"unknown"`
	// Partners: tenants among them, rails that are involved, endpoints that fail, callbacks
	// that wait.
	Tenants   int64    `json:"tenants"`
	Channels  []string `json:"channels"`
	Endpoints int64    `json:"endpoints"`
	Callbacks int64    `json:"callbacks"`
	// Blocked: payouts that were never sent, and holds past their end.
	Unsent   int64 `json:"unsent"`
	Releases int64 `json:"releases"`
	// Transparency: events that readers of the log have not read, facts in quarantine.
	Behind     int64 `json:"behind"`
	Quarantine int64 `json:"quarantine"`
	// Cut: more is open than was looked at; counts are of the oldest.
	Cut bool `json:"cut,omitempty"`
}

// Reader asks. It is safe for concurrent use.
type Reader struct{ pool *pgxpool.Pool }

// New returns a reader, which Close ends. It does not connect: the database may be the
// patient.
func New(ctx context.Context, dsn string) (*Reader, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("database address: %w", err)
	}
	cfg.MaxConns, cfg.MinConns, cfg.MaxConnIdleTime = conns, 0, time.Minute
	cfg.ConnConfig.ConnectTimeout = dialWithin
	rp := cfg.ConnConfig.RuntimeParams
	rp["application_name"], rp["statement_timeout"], rp["lock_timeout"] = "moneta watch", statementMS, "500"
	rp["default_transaction_read_only"], rp["idle_in_transaction_session_timeout"], rp["jit"] = "on", "5s", "off"
	cfg.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `select set_config('role', '`+role+`', false) where pg_has_role(current_user, (select oid from pg_roles where rolname = '`+role+`'), 'member')`)
		return err
	}
	pool, err := pgxpool.NewWithConfig(context.WithoutCancel(ctx), cfg)
	if err != nil {
		return nil, err
	}
	return &Reader{pool}, nil
}

// Close ends its connections.
func (r *Reader) Close() { r.pool.Close() }

// look runs f in one snapshot.
func (r *Reader) look(ctx context.Context, f func(pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, 6*time.Second)
	defer cancel()
	tx, err := r.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return fmt.Errorf("the database does not answer: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	return f(tx)
}

// The group of an open item: what it waits for. A deposit that is announced and holds
// wait as they should.
const groupOf = `case when hop = 'operator' then 'person' when hop = 'holder' then 'holder'
    when state = 'reserved' and attempt = 0 and kind <> 'hold' then 'unsent'
    when attempt > 0 and state in ('unknown', 'processing', 'dispatching') then 'unanswered' end`

// acts bring a group forward.
var acts = map[string]string{
	Unsent: doctor.DoRedispatch, Unanswered: doctor.DoQueryUnknowns, Callbacks: doctor.DoReplayCallbacks, Parked: "replay-parked",
	Webhooks: "redeliver-webhooks", Projection: doctor.DoRebuildProjection,
}

// Groups are what waits, the oldest first. Cut says that more is open than was looked at.
func (r *Reader) Groups(ctx context.Context) (out []Group, cut bool, err error) {
	out = []Group{}
	err = r.look(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `with i as (select * from facts.open_items where entered_at < now() - $1::interval order by payment limit $2)
  select `+groupOf+` as g, coalesce(channel, ''), asset, count(*), trunc(sum(value))::text, count(*) filter (where deadline < now()), min(entered_at),
    (select count(*) from i) = $2 from i where `+groupOf+` is not null group by 1, 2, 3 order by min(entered_at) limit $3`, After, scanMost, groupsMost)
		if err != nil {
			return err
		}
		var g Group
		var oldest time.Time
		if _, err = pgx.ForEachRow(rows, []any{&g.Kind, &g.Channel, &g.Asset, &g.Items, &g.Value, &g.Overdue, &oldest, &cut}, func() error {
			one, at := g, oldest
			one.Act, one.Oldest = acts[one.Kind], &at
			out = append(out, one)
			return nil
		}); err != nil {
			return err
		}
		for _, q := range sideGroups {
			more, err := sideOf(ctx, tx, q.kind, q.sql)
			if err != nil {
				return fmt.Errorf("%s: %w", q.kind, err)
			}
			out = append(out, more...)
		}
		return nil
	})
	return out, cut, err
}

// What waits and is no payment: name, how many, since when, and why.
var sideGroups = []struct{ kind, sql string }{
	{Callbacks, `select channel, waiting, oldest_received_at, '' from facts.callback_backlog where oldest_received_at < now() - $1::interval order by 3 limit 50`},
	{Parked, `select channel, count(*), min(received_at), min(reason) from facts.callbacks_aside where $1::interval is not null group by 1 order by 3 limit 50`},
	{Webhooks, `select endpoint::text, pending + given_up, least(oldest_pending, oldest_given_up, failing_since), case when state = 2 then coalesce(nullif(reason, ''), 'disabled') else '' end
  from facts.webhooks where failing_since is not null or given_up > 0 or state = 2 or oldest_pending < now() - $1::interval order by 3 limit 50`},
	{Projection, `select name, behind, null::timestamptz, '' from facts.projections where behind > 1000 and $1::interval is not null order by 2 desc limit 50`},
	{Quarantine, `select '', count(*), min(at), '' from facts.quarantine where at < now() - $1::interval having count(*) > 0`},
}

func sideOf(ctx context.Context, tx pgx.Tx, kind, sql string) (out []Group, err error) {
	rows, err := tx.Query(ctx, sql, After)
	if err != nil {
		return nil, err
	}
	g := Group{Kind: kind, Act: acts[kind]}
	var oldest *time.Time
	_, err = pgx.ForEachRow(rows, []any{&g.Channel, &g.Items, &oldest, &g.Says}, func() error {
		one := g
		one.Oldest = oldest
		out = append(out, one)
		return nil
	})
	return out, err
}

// Items are the payments of a group of one channel, the oldest first, at most n; an empty
// channel is all of them.
func (r *Reader) Items(ctx context.Context, kind, channel string, n int) ([]Item, error) {
	out := []Item{}
	err := r.look(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `select payment, kind, coalesce(channel, ''), asset, trunc(value)::text, state, attempt, entered_at, next_at, deadline, checks
  from (select *, `+groupOf+` as g from facts.open_items where entered_at < now() - $1::interval) i
  where g = $2 and ($3 = '' or channel = $3) order by entered_at, payment limit $4`, After, kind, channel, min(n, ItemsMost))
		if err != nil {
			return err
		}
		var i Item
		_, err = pgx.ForEachRow(rows, []any{&i.Payment, &i.Kind, &i.Channel, &i.Asset, &i.Value, &i.State, &i.Attempt, &i.EnteredAt, &i.NextAt, &i.Deadline, &i.Checks}, func() error {
			out = append(out, i)
			return nil
		})
		return err
	})
	return out, err
}

// Follow says what became of payments of a group, at most ItemsMost.
func (r *Reader) Follow(ctx context.Context, kind string, ids []int64) (Fate, error) {
	f := Fate{Value: map[string]string{}, Ended: map[string]int{}}
	if len(ids) > ItemsMost {
		return f, fmt.Errorf("%d payments; at most %d are followed", len(ids), ItemsMost)
	}
	err := r.look(ctx, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `select at from facts.contract`).Scan(&f.At); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `select coalesce(`+groupOf+`, '') = $2, asset, count(*)::int, trunc(sum(value))::text from facts.open_items where payment = any($1) group by 1, 2`, ids, kind)
		if err != nil {
			return err
		}
		open := 0
		var same bool
		var asset, value string
		var n int
		if _, err = pgx.ForEachRow(rows, []any{&same, &asset, &n, &value}, func() error {
			open += n
			if !same {
				f.Moved += n
				return nil
			}
			f.Open += n
			f.Value[asset] = value
			return nil
		}); err != nil || open == len(ids) {
			return err
		}
		rows, err = tx.Query(ctx, `select s, count(*)::int from (select distinct on (payment) payment, to_state as s from facts.transitions where payment = any($1)
  and not exists (select from facts.open_items o where o.payment = transitions.payment) order by payment, seq desc) t group by 1`, ids)
		if err != nil {
			return err
		}
		var state string
		_, err = pgx.ForEachRow(rows, []any{&state, &n}, func() error {
			f.Ended[state] = n
			return nil
		})
		return err
	})
	return f, err
}

// CallbacksLeft is how many callbacks wait; an empty channel is all of them.
func (r *Reader) CallbacksLeft(ctx context.Context, channel string) (n int, err error) {
	err = r.look(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `select coalesce(sum(waiting), 0)::int from facts.callback_backlog where $1 = '' or channel = $1`, channel).Scan(&n)
	})
	return n, err
}

const impactOfItems = `with i as materialized (select *, ` + groupOf + ` as g from facts.open_items where entered_at < now() - $1::interval order by payment limit $2),
    late as (select * from i where g in ('unsent', 'unanswered') or deadline < now() and g is distinct from 'holder')
  select (select at from facts.contract), (select count(*) from i) = $2, (select count(distinct account) from late), (select count(*) from late),
    (select count(*) from late where deadline < now()), (select coalesce(extract(epoch from now() - min(entered_at)), 0)::float8 from late),
    (select count(distinct tenant) from late), (select coalesce(array_agg(distinct channel) filter (where channel is not null), '{}') from late),
    (select count(*) from late where g = 'unsent'), (select count(*) from i where kind = 'hold' and deadline < now()),
    (select coalesce(sum(waiting), 0)::bigint from facts.callback_backlog), (select count(*) from facts.webhooks where failing_since is not null),
    (select coalesce(sum(behind), 0)::bigint from facts.projections), (select count(*) from facts.quarantine)`

// Impact says whom what waits hurts now.
func (r *Reader) Impact(ctx context.Context) (Impact, error) {
	out := Impact{Open: map[string]string{}, Unknown: map[string]string{}}
	err := r.look(ctx, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, impactOfItems, After, scanMost).Scan(&out.At, &out.Cut, &out.Holders, &out.Payments, &out.Overdue, &out.OldestS, &out.Tenants,
			&out.Channels, &out.Unsent, &out.Releases, &out.Callbacks, &out.Endpoints, &out.Behind, &out.Quarantine); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `select asset, trunc(sum(value))::text, coalesce(trunc(sum(value) filter (where state = 'unknown'))::text, '')
  from (select asset, state, value from facts.open_items order by payment limit $1) i where state <> 'created' group by 1`, scanMost)
		if err != nil {
			return err
		}
		var asset, open, unknown string
		_, err = pgx.ForEachRow(rows, []any{&asset, &open, &unknown}, func() error {
			out.Open[asset] = open
			if unknown != "" {
				out.Unknown[asset] = unknown
			}
			return nil
		})
		return err
	})
	return out, err
}
