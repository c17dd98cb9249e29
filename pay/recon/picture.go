package recon

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
)

// PictureDaysMax bounds the days of one picture: it counts every payment that succeeded
// on them.
const PictureDaysMax = 31

// Picture holds three accounts of the same money side by side: what the ledger has as
// moved through a channel, for how much of that the channel itself gave its word, and
// what its statement shows.
type Picture struct {
	At       time.Time        `json:"at"`
	From     string           `json:"from"`
	To       string           `json:"to"`
	Channels []ChannelPicture `json:"channels"`
}

// ChannelPicture is one channel's part of it.
type ChannelPicture struct {
	Channel channel.Name `json:"channel"`
	// ReadAt is when its statement was last read to its end, and ReadAgeSeconds how long
	// ago that is; nil if never.
	ReadAt         *time.Time `json:"read_at,omitempty"`
	ReadAgeSeconds *int64     `json:"read_age_s,omitempty"`
	// Files says that its statement comes as files.
	Files bool         `json:"files"`
	Days  []DayPicture `json:"days"`
}

// DayPicture is one business day of a channel in one asset and direction. The ledger's
// column counts by when a payment succeeded, the statement's by when the line was
// booked: what crosses a cut-off is in two days.
type DayPicture struct {
	Day       string      `json:"day"`
	Asset     money.Asset `json:"asset"`
	Direction string      `json:"direction" enum:"in,out"`
	// Ledger is what succeeded here through the channel. Said is the part of it for
	// which the channel's own word was the reason: its reply, callback or answer.
	Ledger Column `json:"ledger"`
	Said   Column `json:"said"`
	// Stated is what the statement shows, Matched the part of it that settled a payment,
	// Surplus the part that did not; a line that was told twice is in none of them.
	Stated  Column `json:"stated"`
	Matched Column `json:"matched"`
	Surplus Column `json:"surplus"`
	// Awaited is the part of Ledger that no line has settled, Overdue the part of it that
	// the statement should have shown by now.
	Awaited      Column     `json:"awaited"`
	Overdue      Column     `json:"overdue"`
	AwaitedSince *time.Time `json:"awaited_since,omitempty"`
	// Fees are what the channel kept of the lines.
	Fees money.Amount `json:"fees"`
}

// Column is how many, and how much in the asset's smallest unit.
type Column struct {
	Count int64        `json:"count"`
	Value money.Amount `json:"value"`
}

func (c *Column) add(n int64, value string) error {
	a, err := money.ParseMinor(value)
	if err != nil {
		return err
	}
	c.Count += n
	c.Value, err = c.Value.Add(a)
	return err
}

// Spans are the business days that are asked for: channel, day, beginning, end.
const pictureSpans = `with s as materialized (select * from unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[]) as s(channel, day, since, until)) `

const (
	// What the ledger has, and by whose word. The log's times rise with its ids.
	selectLedgerColumn = pictureSpans + `, w as materialized (select facts.transitions_since(min(since)) lo, facts.transitions_since(max(until)) hi from s)
  select s.channel, s.day, p.asset, case when p.kind = any($5) then 2 else 1 end, coalesce(t.source = any($6), false), count(*), sum(p.amount)::text
    from w join transitions t on t.id >= w.lo and t.id < w.hi and t.to_state = 6 and t.from_state <> t.to_state and t.settlement in (1, 2)
    join payments p on p.id = t.payment and p.channel is not null
    left join attempts a on a.payment = t.payment and a.n = t.attempt
    join s on s.channel = coalesce(a.channel, p.channel) and t.at >= s.since and t.at < s.until
   group by 1, 2, 3, 4, 5`

	selectStatedColumn = pictureSpans + `
  select s.channel, s.day, l.asset, l.direction::integer, l.outcome, count(*), sum(l.amount)::text, sum(l.fee)::text
    from s join statement_lines l on l.channel = s.channel and l.booked_at >= s.since and l.booked_at < s.until
   where l.outcome not in ('duplicate_line', 'line_changed') group by 1, 2, 3, 4, 5`

	selectAwaitedColumn = pictureSpans + `
  select s.channel, s.day, e.asset, e.direction::integer, e.due_at <= $5, count(*), sum(e.amount)::text, min(e.since)
    from s join expectations e on e.channel = s.channel and e.since >= s.since and e.since < s.until group by 1, 2, 3, 4, 5`
)

// incoming are the kinds of payments that bring money in; the others send it out.
var incoming = []int16{int16(pay.Deposit), int16(pay.LateDeposit), int16(pay.Return), int16(pay.Inbound)}

// itsWord are the sources of transitions that are the channel's own word.
var itsWord = []string{"reply", "callback", "query"}

// Picture tells where each channel stands, day by day, from one snapshot: from and
// until are business days of the channel's calendar, both included. An empty name takes
// all channels.
func (r *Recon) Picture(ctx context.Context, name channel.Name, from, until Date) (Picture, error) {
	const op = "recon.Picture"
	ctx, cancel := context.WithTimeout(ctx, reportWithin)
	defer cancel()
	days := int(until.in(time.UTC).Sub(from.in(time.UTC)).Hours()/24) + 1
	if days < 1 || days > PictureDaysMax {
		return Picture{}, fault.New(fault.MalformedRequest, fmt.Sprintf("from %s to %s is not 1 to %d days", from, until, PictureDaysMax)).WithParam("from")
	}
	d := drawing{at: r.cfg.Clock.Now().UTC(), days: map[dayKey]*DayPicture{}}
	for _, ch := range r.cfg.Channels {
		if name != "" && ch.Name() != name {
			continue
		}
		d.channels = append(d.channels, ChannelPicture{Channel: ch.Name(), Files: r.terms(ch.Name()).Files, Days: []DayPicture{}})
		terms := r.terms(ch.Name())
		for day, left := from, days; left > 0; day, left = day.add(1), left-1 {
			if terms.Calendar.Open(day) {
				since, end := terms.Calendar.Span(day)
				d.span(ch.Name(), day, since, end)
			}
		}
	}
	if name != "" && len(d.channels) == 0 {
		return Picture{}, fault.New(fault.NotFound, "there is no such channel").WithParam("channel")
	}
	tx, err := r.cfg.Pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return Picture{}, readFault(op, err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	for _, read := range []func(context.Context, pgx.Tx) error{d.ledger, d.stated, d.awaited, d.runs} {
		if err := read(ctx, tx); err != nil {
			return Picture{}, readFault(op, err)
		}
	}
	return Picture{At: d.at, From: from.String(), To: until.String(), Channels: d.finish()}, nil
}

type dayKey struct {
	name      channel.Name
	day       string
	asset     money.Asset
	direction channel.Direction
}

// drawing gathers what the queries say.
type drawing struct {
	at             time.Time
	channels       []ChannelPicture
	names, dates   []string
	sinces, untils []time.Time
	days           map[dayKey]*DayPicture
}

func (d *drawing) span(name channel.Name, day Date, since, until time.Time) {
	d.names, d.dates = append(d.names, string(name)), append(d.dates, day.String())
	d.sinces, d.untils = append(d.sinces, since), append(d.untils, until)
}

func (d *drawing) of(k dayKey) *DayPicture {
	one := d.days[k]
	if one == nil {
		one = &DayPicture{Day: k.day, Asset: k.asset, Direction: k.direction.String()}
		d.days[k] = one
	}
	return one
}

func (d *drawing) query(ctx context.Context, tx pgx.Tx, sql string, more ...any) (pgx.Rows, error) {
	return tx.Query(ctx, sql, append([]any{d.names, d.dates, d.sinces, d.untils}, more...)...)
}

func (d *drawing) ledger(ctx context.Context, tx pgx.Tx) error {
	if len(d.names) == 0 {
		return nil
	}
	rows, err := d.query(ctx, tx, selectLedgerColumn, incoming, itsWord)
	if err != nil {
		return err
	}
	var k dayKey
	var said bool
	var n int64
	var value string
	_, err = pgx.ForEachRow(rows, []any{&k.name, &k.day, &k.asset, &k.direction, &said, &n, &value}, func() error {
		one := d.of(k)
		if said {
			if err := one.Said.add(n, value); err != nil {
				return err
			}
		}
		return one.Ledger.add(n, value)
	})
	return err
}

func (d *drawing) stated(ctx context.Context, tx pgx.Tx) error {
	rows, err := d.query(ctx, tx, selectStatedColumn)
	if err != nil {
		return err
	}
	var k dayKey
	var n int64
	var outcome, value, fees string
	_, err = pgx.ForEachRow(rows, []any{&k.name, &k.day, &k.asset, &k.direction, &outcome, &n, &value, &fees}, func() error {
		one := d.of(k)
		kept, err := money.ParseMinor(fees)
		if err != nil {
			return err
		}
		if one.Fees, err = one.Fees.Add(kept); err != nil {
			return err
		}
		part := &one.Surplus
		if outcome == matched {
			part = &one.Matched
		}
		if err := part.add(n, value); err != nil {
			return err
		}
		return one.Stated.add(n, value)
	})
	return err
}

func (d *drawing) awaited(ctx context.Context, tx pgx.Tx) error {
	rows, err := d.query(ctx, tx, selectAwaitedColumn, d.at)
	if err != nil {
		return err
	}
	var k dayKey
	var late bool
	var n int64
	var value string
	var since time.Time
	_, err = pgx.ForEachRow(rows, []any{&k.name, &k.day, &k.asset, &k.direction, &late, &n, &value, &since}, func() error {
		one := d.of(k)
		if utc := since.UTC(); one.AwaitedSince == nil || utc.Before(*one.AwaitedSince) {
			one.AwaitedSince = &utc
		}
		if late {
			if err := one.Overdue.add(n, value); err != nil {
				return err
			}
		}
		return one.Awaited.add(n, value)
	})
	return err
}

func (d *drawing) runs(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `select channel, finished_at from recon_runs`)
	if err != nil {
		return err
	}
	var name channel.Name
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&name, &at}, func() error {
		for i := range d.channels {
			if c := &d.channels[i]; c.Channel == name {
				utc, age := at.UTC(), int64(max(0, d.at.Sub(at))/time.Second)
				c.ReadAt, c.ReadAgeSeconds = &utc, &age
			}
		}
		return nil
	})
	return err
}

func (d *drawing) finish() []ChannelPicture {
	for k, one := range d.days {
		for i := range d.channels {
			if d.channels[i].Channel == k.name {
				d.channels[i].Days = append(d.channels[i].Days, *one)
			}
		}
	}
	for i := range d.channels {
		slices.SortFunc(d.channels[i].Days, func(a, b DayPicture) int {
			return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.Asset, b.Asset), cmp.Compare(b.Direction, a.Direction))
		})
	}
	slices.SortFunc(d.channels, func(a, b ChannelPicture) int { return cmp.Compare(a.Channel, b.Channel) })
	if d.channels == nil {
		return []ChannelPicture{}
	}
	return d.channels
}

// BreakAge is how many open breaks of a class have an owner and an age.
type BreakAge struct {
	Channel  channel.Name `json:"channel"`
	Class    string       `json:"class"`
	Title    BreakTitle   `json:"title"`
	Owner    string       `json:"owner"`
	Severity int16        `json:"severity"`
	Asset    money.Asset  `json:"asset,omitempty"`
	// Under is the age's bucket: younger than it says, and not younger than the one before.
	Under  string       `json:"under" enum:"1h,1d,3d,7d,older"`
	Count  int64        `json:"count"`
	Value  money.Amount `json:"value"`
	Oldest time.Time    `json:"oldest"`
}

const selectBreakAges = `select channel, class, owner, severity, asset, width_bucket(greatest(extract(epoch from $1 - opened_at), 0)::float8, $2::float8[]), count(*), sum(amount)::text, min(opened_at)
  from breaks where closed_at is null group by 1, 2, 3, 4, 5, 6 order by 4, 2, 6, 1, 3, 5 limit 2000`

// BreakAges counts the open breaks by channel, class, owner and age.
func (r *Recon) BreakAges(ctx context.Context) ([]BreakAge, error) {
	const op = "recon.BreakAges"
	ctx, cancel := context.WithTimeout(ctx, reportWithin)
	defer cancel()
	bounds := make([]float64, 0, len(ageBounds)-1) //nolint:forbidigo // seconds, not money
	for _, b := range ageBounds[:len(ageBounds)-1] {
		bounds = append(bounds, b.most.Seconds())
	}
	rows, err := r.cfg.Pool.Query(ctx, selectBreakAges, r.cfg.Clock.Now(), bounds)
	if err != nil {
		return nil, readFault(op, err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (a BreakAge, err error) {
		var bucket int
		var value string
		if err = row.Scan(&a.Channel, &a.Class, &a.Owner, &a.Severity, &a.Asset, &bucket, &a.Count, &value, &a.Oldest); err != nil {
			return a, err
		}
		c := classOf(a.Class)
		if a.Owner == "" { // another station opened it, and recon has not run since
			a.Owner, a.Severity = c.Owner, c.Severity
		}
		a.Title, a.Under, a.Oldest = BreakTitle{c.Title.En, c.Title.Zh}, ageBounds[bucket].name, a.Oldest.UTC()
		a.Value, err = money.ParseMinor(value)
		return a, err
	})
	if err != nil {
		return nil, readFault(op, err)
	}
	return append([]BreakAge{}, out...), nil
}
