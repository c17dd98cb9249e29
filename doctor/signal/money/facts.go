package money

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// facts are one snapshot.
type facts struct {
	at        time.Time // by the database's clock
	hops      []hopRow
	beats     []beatRow
	callbacks []callbackRow
	pauses    []pauseRow
	readers   []readerRow
	webhooks  time.Time // when the oldest message that an endpoint did not take was made
	endpoints int64     // that are to be told
	// Counts of what needs no detail.
	quarantined, broken, misplaced int64
	lanes                          map[place]ages
	pages                          int
	sample, late                   []item
	notes                          []string
	cases                          []int64 // payments that a person has a case for
	// proves is for how long a leader must have known of an order until a channel's not-found
	// proves absence, by channel; a channel that is not there has no such wait.
	proves map[string]time.Duration
}

// place is where work is: a hop, and the channel that it is to go by.
type place struct{ hop, channel string }

type hopRow struct {
	place
	Asset         string
	Open          int64
	Value         float64
	Entered, Left int64
}

type beatRow struct {
	Shard       int16
	Leader      string
	Epoch, Beat int64
}

type callbackRow struct {
	Channel string
	Waiting int64
	Oldest  time.Time
}

type pauseRow struct {
	Lever, Aim, ID, Reason, Owner, Until string
}

type readerRow struct {
	Name   string
	Behind int64
	Place  int64
}

// item is one open payment, with the dimensions of cohorts.
type item struct {
	Payment           int64
	Hop, Channel      string
	EnteredAt, Due    time.Time
	Tenant            int64
	Account           int64
	Kind, Asset, Band string
}

const (
	selectHops = `select hop, coalesce(channel, ''), asset, open, value::float8, entered, "left" from facts.hops`
	// A leader that nobody names is one that left, or none yet.
	selectBeats     = `select shard, coalesce(leader::text, ''), epoch, beat from facts.heartbeats order by shard`
	selectCallbacks = `select channel, waiting - parked, oldest_received_at from facts.callback_backlog`
	selectPauses    = `select lever, aim, id::text, reason, owner, to_char(expires_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') from facts.levers where expires_at > now() and undone_at is null and pulled_at <= now()
		union all select 'pause-dispatch', 'everything', id::text, reason, '', '' from facts.pauses where resumed_at is null`
	selectCases    = `select payment from facts.cases where state <> 'closed' and payment is not null`
	selectReaders  = `select name, behind, position from facts.projections`
	selectWebhooks = `select min(oldest_pending), count(*) filter (where state = 1) from facts.webhooks`
	// The view came later than the others, and not every wallet has it.
	hasContracts    = `select to_regclass('facts.channels') is not null`
	selectContracts = `select channel, not_found_after_s from facts.channels where not_found_after_s > 0 limit 10000`
	// What was put aside a while ago is somebody's to look at, and no trouble that goes on.
	selectQuarantine = `select count(*) from facts.quarantine where at > now() - interval '8 seconds'`
	// Severity 1: money may be lost or paid twice, 2: it is misplaced.
	selectBreaks = `select count(*) filter (where class = 'invariant'), count(*) filter (where class <> 'invariant' and severity = 1)
		from facts.breaks where closed_at is null`
)

// small reads all that is small whatever is open.
func (f *facts) small(ctx context.Context, tx pgx.Tx) error {
	b := new(pgx.Batch)
	one := func(sql string, into ...any) {
		b.Queue(sql).QueryRow(func(row pgx.Row) error { return row.Scan(into...) })
	}
	var webhooks *time.Time
	one(`select at from facts.contract`, &f.at)
	one(selectQuarantine, &f.quarantined)
	one(selectBreaks, &f.broken, &f.misplaced)
	one(selectWebhooks, &webhooks, &f.endpoints)
	all(b, selectHops, &f.hops, func(h *hopRow) []any {
		return []any{&h.hop, &h.channel, &h.Asset, &h.Open, &h.Value, &h.Entered, &h.Left}
	})
	all(b, selectBeats, &f.beats, func(r *beatRow) []any { return []any{&r.Shard, &r.Leader, &r.Epoch, &r.Beat} })
	all(b, selectCallbacks, &f.callbacks, func(r *callbackRow) []any { return []any{&r.Channel, &r.Waiting, &r.Oldest} })
	all(b, selectPauses, &f.pauses, func(r *pauseRow) []any { return []any{&r.Lever, &r.Aim, &r.ID, &r.Reason, &r.Owner, &r.Until} })
	all(b, selectCases, &f.cases, func(id *int64) []any { return []any{id} })
	all(b, selectReaders, &f.readers, func(r *readerRow) []any { return []any{&r.Name, &r.Behind, &r.Place} })
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return err
	}
	if webhooks != nil {
		f.webhooks = *webhooks
	}
	return nil
}

// contracts reads what is agreed with the channels. It is not part of the snapshot: it
// changes with a leader's configuration.
func (c *Collector) contracts(ctx context.Context) (map[string]time.Duration, error) {
	has := false
	if err := c.pool.QueryRow(ctx, hasContracts).Scan(&has); err != nil || !has {
		return nil, err
	}
	rows, err := c.pool.Query(ctx, selectContracts)
	if err != nil {
		return nil, err
	}
	out := make(map[string]time.Duration)
	var name string
	var seconds float64
	_, err = pgx.ForEachRow(rows, []any{&name, &seconds}, func() error {
		out[name] = min(time.Duration(seconds*float64(time.Second)), provesMost)
		return nil
	})
	return out, err
}

// rowsMax bounds each of the small answers.
const rowsMax = 10_000

// all queues a query whose rows become values of T.
func all[T any](b *pgx.Batch, sql string, into *[]T, fields func(*T) []any, args ...any) {
	b.Queue(sql, args...).Query(func(rows pgx.Rows) error {
		for rows.Next() && len(*into) < rowsMax {
			var v T
			if err := rows.Scan(fields(&v)...); err != nil {
				return err
			}
			*into = append(*into, v)
		}
		return rows.Err()
	})
}
