// Package invariant asks the raw rows, all the time, whether what must hold of money
// still holds: the invariants P1 to P11 of a payment's life, and that each balance
// proves the one before it. It reads only, a bounded page at a turn, and shares no
// code with the decider that wrote the rows, so that a mistake there is not made
// again here. It refuses to repair anything: what it finds becomes a break, a case
// with an engineer, and a page.
package invariant

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/moneta-pay/moneta/internal/telemetry"
)

// Bounds of a turn.
const (
	// DefaultEvery is the time between turns.
	DefaultEvery = time.Second
	// DefaultPage is how many new transfers, and how many new transitions, a turn reads:
	// some three hundredths of a processor (docs/invariants.md). Above that rate the
	// sweep looks at the rest: the check must not cost the payments their latency.
	DefaultPage = 250
	// DefaultSweep is how many old ones: four million a day.
	DefaultSweep = 50
	// foundMax is how many violations of one check a page may name; the next visit
	// names more.
	foundMax   = 100
	turnWithin = 10 * time.Second
)

// Class is the class of the breaks that violations become.
const Class = "invariant"

// Config is what a Checker needs.
type Config struct {
	// Pool of the primary, in the role of the pay plane.
	Pool *pgxpool.Pool
	// Every, Page and Sweep are the bounds; 0 means the defaults.
	Every       time.Duration
	Page, Sweep int
	// Telemetry takes logs and metrics; required.
	Telemetry *telemetry.Telemetry
}

// Violation is a row, a book or a payment of which an invariant does not hold.
type Violation struct {
	// Invariant is P1 to P11 or M2, M8.
	Invariant string
	// Subject names who breaks it, such as "payment 7".
	Subject string
	// Payment is its id, 0 if there is none.
	Payment int64
	// Detail is what was seen.
	Detail string
	// Asset and Amount, in its smallest unit, tell by how much it is wrong, where that
	// is a sum.
	Asset, Amount string
}

// Checker follows both logs at their heads, and sweeps over them from the beginning.
// Its methods are for one goroutine.
type Checker struct {
	cfg  Config
	log  *slog.Logger
	logs []*following

	violations *prometheus.CounterVec
	rows       *prometheus.CounterVec
	behind     *prometheus.GaugeVec
	turned     prometheus.Gauge
	imbalance  *prometheus.GaugeVec
	negative   *prometheus.GaugeVec
}

// following is one log and how far it was read.
type following struct {
	name   string
	checks []check
	head   int64 // of new rows, in memory
	swept  int64 // of old rows; durable in marks
	begun  bool
}

// New returns a Checker that reads nothing before Run.
func New(cfg Config) *Checker {
	if cfg.Every <= 0 {
		cfg.Every = DefaultEvery
	}
	if cfg.Page <= 0 {
		cfg.Page = DefaultPage
	}
	if cfg.Sweep <= 0 {
		cfg.Sweep = DefaultSweep
	}
	t := cfg.Telemetry
	c := &Checker{
		cfg: cfg, log: t.Logger().With(slog.String("station", "invariant")),
		logs:       []*following{{name: "transfers", checks: transferChecks}, {name: "transitions", checks: transitionChecks}},
		violations: t.CounterVec("moneta_invariant_violations_total", "Subjects of which an invariant of money does not hold, each once. Must be 0 for ever.", "invariant"),
		rows:       t.CounterVec("moneta_invariant_rows_total", "Rows that were checked, by log and pass.", "log", "pass"),
		behind:     t.GaugeVec("moneta_invariant_behind_rows", "Ids between what a pass has checked and the newest row.", "log", "pass"),
		imbalance: t.GaugeVec("moneta_ledger_imbalance",
			"By how much, in smallest units, rows do not add up: transfers between assets and balances that do not follow from the one before (P1, M2). Breaks that are open.", "asset"),
		negative: t.GaugeVec("moneta_ledger_negative_accounts", "Users' accounts that were debited below their floor (P5): those of open breaks, and those that are below it still.", "asset"),
		turned:   t.Gauge("moneta_invariant_last_turn_timestamp_seconds", "When the last whole turn of checks ended."),
	}
	for _, l := range c.logs {
		for _, k := range l.checks {
			c.violations.WithLabelValues(k.name) // 0 is an answer; absence is none
		}
	}
	return c
}

// Run checks until ctx ends.
func (c *Checker) Run(ctx context.Context) error {
	for _, l := range c.logs {
		l.begun = false // another leader may have swept meanwhile
	}
	ticker := time.NewTicker(c.cfg.Every)
	defer ticker.Stop()
	for {
		if _, err := c.Turn(ctx); err != nil && ctx.Err() == nil {
			c.log.LogAttrs(ctx, slog.LevelError, "invariants were not checked; the next turn reads the same rows again", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Turn reads one page at the head of each log and one of the sweep, and tells of what
// it finds. It returns every violation on these pages, told before or not. What
// fails of it is read again at the next turn.
func (c *Checker) Turn(ctx context.Context) ([]Violation, error) {
	ctx, cancel := context.WithTimeout(ctx, turnWithin)
	defer cancel()
	var found []Violation
	var failed []error
	for _, l := range c.logs {
		if err := c.begin(ctx, l); err != nil {
			failed = append(failed, err)
			continue
		}
		for _, p := range []pass{{"head", &l.head, c.cfg.Page}, {"sweep", &l.swept, c.cfg.Sweep}} {
			some, err := c.page(ctx, l, p)
			found, failed = append(found, some...), append(failed, err)
		}
	}
	failed = append(failed, c.show(ctx))
	err := errors.Join(failed...)
	if err == nil {
		err = c.note(ctx)
	}
	return found, err
}

// note keeps that a whole turn has ended and how far it came, so that every node can
// tell when these rows were last asked. Times are the database's.
func (c *Checker) note(ctx context.Context) error {
	names, values := make([]string, len(c.logs)), make([]int64, len(c.logs))
	for i, l := range c.logs {
		names[i], values[i] = l.headMark(), l.head
	}
	if _, err := c.cfg.Pool.Exec(ctx, `insert into marks (name, value) select name, value from unnest($1::text[], $2::bigint[]) as m(name, value)
		union all select $3, (extract(epoch from clock_timestamp()) * 1000)::bigint on conflict (name) do update set value = excluded.value where marks.value <> excluded.value`,
		names, values, markTurned); err != nil {
		return fmt.Errorf("keep when the rows were checked: %w", err)
	}
	c.turned.SetToCurrentTime()
	return nil
}

// markTurned is when the last whole turn ended, in milliseconds since 1970.
const markTurned = "invariant_turned_ms"

// headMark tells how far new rows are checked.
func (l *following) headMark() string { return "invariant_head_" + l.name }

// mark is where the sweep of l keeps its cursor.
func (l *following) mark() string { return "invariant_" + l.name }

// begin sets the cursors: the head a page before the newest row, the sweep where it was.
func (c *Checker) begin(ctx context.Context, l *following) error {
	if l.begun {
		return nil
	}
	err := c.cfg.Pool.QueryRow(ctx, `select coalesce((select value from marks where name = $1), 0),
		coalesce((select id from `+l.name+` order by id desc offset $2 limit 1), 0)`, l.mark(), c.cfg.Page).Scan(&l.swept, &l.head)
	if err != nil {
		return fmt.Errorf("where to begin with %s: %w", l.name, err)
	}
	l.begun = true
	return nil
}

// pass is one way through a log.
type pass struct {
	name   string
	cursor *int64
	most   int
}

// page checks the next rows of p. The cursor moves when what was found is durable.
func (c *Checker) page(ctx context.Context, l *following, p pass) ([]Violation, error) {
	var found []Violation
	var last, newest int64
	var rows int
	err := pgx.BeginTxFunc(ctx, c.cfg.Pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `select count(*), coalesce(max(id), $1), coalesce((select max(id) from `+l.name+`), 0)
			from (select id from `+l.name+` where id > $1 order by id limit $2) x`, *p.cursor, p.most).Scan(&rows, &last, &newest)
		if err != nil || rows == 0 {
			return err
		}
		for _, k := range l.checks {
			some, err := ask(ctx, tx, k, *p.cursor, last)
			if err != nil {
				return fmt.Errorf("%s: %w", k.name, err)
			}
			found = append(found, some...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("check %s after %d: %w", l.name, *p.cursor, err)
	}
	for _, v := range found {
		if err := c.tell(ctx, v); err != nil {
			return found, err
		}
	}
	c.rows.WithLabelValues(l.name, p.name).Add(float64(rows))            //nolint:forbidigo // a counter of rows
	c.behind.WithLabelValues(l.name, p.name).Set(float64(newest - last)) //nolint:forbidigo // a gauge of ids
	if p.name == "head" {
		*p.cursor = last
		return found, nil
	}
	if rows < p.most { // the sweep begins again
		last = 0
	}
	if _, err := c.cfg.Pool.Exec(ctx, `insert into marks (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value
		where marks.value <> excluded.value`, l.mark(), last); err != nil {
		return found, fmt.Errorf("keep how far %s are swept: %w", l.name, err)
	}
	*p.cursor = last
	return found, nil
}

func ask(ctx context.Context, tx pgx.Tx, k check, from, to int64) ([]Violation, error) {
	rows, err := tx.Query(ctx, `select * from (`+k.sql+`) x limit `+fmt.Sprint(foundMax), from, to)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (Violation, error) {
		v := Violation{Invariant: k.name, Amount: "0"}
		into := []any{&v.Subject, &v.Payment, &v.Detail}
		if len(row.FieldDescriptions()) > len(into) {
			into = append(into, &v.Asset, &v.Amount)
		}
		err := row.Scan(into...)
		return v, err
	})
}

// The break keeps what was told: a subject pages once, whoever leads and however
// often its rows are read.
const insertBreak = `with b as (
    insert into breaks (class, channel, payment, reference, detail, owner, severity, asset, amount)
    values ('` + Class + `', '', (select id from payments where id = $1), $2, $3, 'engineering', 1, $4, $5::text::numeric) on conflict do nothing returning id, opened_at)
  insert into break_events (break, at, what, who, note) select id, opened_at, 'opened', 'invariant', $3 from b`

// tell keeps v and calls for a person, if that has not been done before.
func (c *Checker) tell(ctx context.Context, v Violation) error {
	tag, err := c.cfg.Pool.Exec(ctx, insertBreak, v.Payment, v.Invariant+" "+v.Subject, v.Detail, v.Asset, v.Amount)
	if err != nil {
		return fmt.Errorf("keep that %s does not hold of %s: %w", v.Invariant, v.Subject, err)
	}
	if tag.RowsAffected() == 0 {
		return nil
	}
	c.violations.WithLabelValues(v.Invariant).Inc()
	c.log.LogAttrs(ctx, slog.LevelError, "an invariant of money does not hold; stop what writes it, change no row, and read docs/invariants.md",
		slog.String("invariant", v.Invariant), slog.String("subject", v.Subject), slog.Int64("payment_id", v.Payment),
		slog.String("detail", v.Detail), slog.Bool("page", true))
	return nil
}

// What the checks have found and no person has explained, by asset, with a zero for
// each asset that the ledger has. A break tells its invariant and subject: "P5 book 12
// at transfer 7". One of which the amount was not kept counts as a unit. An account
// that is below its floor now counts, whatever was explained: a closed break brings no
// money back. A row that does not add up never will, so that there a person's word
// stands.
const selectStanding = `with b as (select asset, amount, split_part(reference, ' ', 1) as invariant, split_part(reference, ' ', 3) as subject, closed_at is null as stands
    from breaks where class = '` + Class + `'),
  p5 as (select asset, subject::bigint as book, bool_or(stands) as stands from b where invariant = 'P5' group by asset, subject),
  below as (select p5.asset, p5.book & -2 as account from p5 join accounts a on a.id = p5.book & -2
     left join lateral (select id, debit_balance as balance from transfers where debit = p5.book order by debit_seq desc limit 1) d on true
     left join lateral (select id, credit_balance as balance from transfers where credit = p5.book order by credit_seq desc limit 1) c on true
    where p5.stands or a.kind = 1 and case when coalesce(d.id, 0) > coalesce(c.id, 0) then d.balance else coalesce(c.balance, 0) end < case when p5.book & 1 = 1 then 0 else a.floor end)
  select a.asset, (select coalesce(sum(greatest(amount, 1)), 0)::float8 from b where stands and b.asset = a.asset and invariant in ('P1', 'M2')),
         (select count(distinct account)::float8 from below where below.asset = a.asset)
    from (select asset from accounts where kind = 3 union select asset from b where invariant in ('P1', 'M2', 'P5')) a`

// show sets the gauges of the alerts A64 and A65.
func (c *Checker) show(ctx context.Context) error {
	rows, err := c.cfg.Pool.Query(ctx, selectStanding)
	if err != nil {
		return fmt.Errorf("read what stands: %w", err)
	}
	var asset string
	var off, below float64 //nolint:forbidigo // gauges, from what is told elsewhere exactly
	_, err = pgx.ForEachRow(rows, []any{&asset, &off, &below}, func() error {
		c.imbalance.WithLabelValues(asset).Set(off)
		c.negative.WithLabelValues(asset).Set(below)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read what stands: %w", err)
	}
	return nil
}
