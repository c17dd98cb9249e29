package recon

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/channel"
)

const reportWithin = 30 * time.Second

// Report is where every channel stands against the ledger.
type Report struct {
	At       time.Time       `json:"at"`
	Channels []ChannelReport `json:"channels"`
}

// ChannelReport is where one channel stands.
type ChannelReport struct {
	Channel channel.Name `json:"channel"`
	// Lines read so far, and how many of them settled a payment.
	Lines   int64 `json:"lines"`
	Matched int64 `json:"matched"`
	// Outcomes counts the lines by what became of them.
	Outcomes map[string]int64 `json:"outcomes"`
	// OpenBreaks counts by class.
	OpenBreaks map[string]int64 `json:"open_breaks"`
	Assets     []AssetReport    `json:"assets"`
}

// AssetReport is the money of one asset at one channel, in minor units.
type AssetReport struct {
	Asset money.Asset `json:"asset"`
	// ClearingOut and ClearingIn are what is under way; both run to zero once
	// everything has settled.
	ClearingOut money.Amount `json:"clearing_out"`
	ClearingIn  money.Amount `json:"clearing_in"`
	// Nostro is the ledger's account of our money at the channel: raised by what
	// leaves there, lowered by what arrives.
	Nostro money.Amount `json:"nostro"`
	// Bank is what the statement says we have there since the beginning: in,
	// less out, less fees. A line stated twice counts once.
	Bank money.Amount `json:"bank"`
	// Difference is Nostro + Bank: zero, or explained by the breaks.
	Difference money.Amount `json:"difference"`
}

// Report counts all lines and reads the newest balances. It scans the statement
// table: ask for it when somebody wants to know, not in a loop.
func (r *Recon) Report(ctx context.Context) (Report, error) {
	ctx, cancel := context.WithTimeout(ctx, reportWithin)
	defer cancel()
	out := Report{At: r.cfg.Clock.Now().UTC()}
	tx, err := r.cfg.Pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return out, readFault("recon.Report", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	c := collection{}
	for _, ch := range r.cfg.Channels {
		c.of(ch.Name())
	}
	for _, read := range []func(context.Context, pgx.Tx, collection) error{readLines, readOpenBreaks, readBalances} {
		if err := read(ctx, tx, c); err != nil {
			return out, readFault("recon.Report", err)
		}
	}
	for _, one := range c {
		report, err := one.finish()
		if err != nil {
			return out, fault.New(fault.Internal, "").WithOp("recon.Report").WithCause(err)
		}
		out.Channels = append(out.Channels, report)
	}
	sort.Slice(out.Channels, func(i, j int) bool { return out.Channels[i].Channel < out.Channels[j].Channel })
	return out, nil
}

// collection gathers what the queries say about each channel.
type collection map[channel.Name]*collected

type collected struct {
	ChannelReport
	assets map[money.Asset]*AssetReport
}

func (c collection) of(name channel.Name) *collected {
	one := c[name]
	if one == nil {
		one = &collected{
			ChannelReport: ChannelReport{Channel: name, Outcomes: map[string]int64{}, OpenBreaks: map[string]int64{}, Assets: []AssetReport{}},
			assets:        map[money.Asset]*AssetReport{},
		}
		c[name] = one
	}
	return one
}

func (c *collected) asset(a money.Asset) *AssetReport {
	if c.assets[a] == nil {
		c.assets[a] = &AssetReport{Asset: a}
	}
	return c.assets[a]
}

func (c *collected) finish() (ChannelReport, error) {
	for _, a := range c.assets {
		var err error
		if a.Difference, err = a.Nostro.Add(a.Bank); err != nil {
			return c.ChannelReport, fmt.Errorf("%s: %w", a.Asset, err)
		}
		c.Assets = append(c.Assets, *a)
	}
	sort.Slice(c.Assets, func(i, j int) bool { return c.Assets[i].Asset < c.Assets[j].Asset })
	return c.ChannelReport, nil
}

const selectLines = `select channel, outcome, asset, count(*),
       sum(case when outcome = 'duplicate_line' then 0 when direction = 2 then amount - fee else -amount - fee end)::text
  from statement_lines group by channel, outcome, asset`

func readLines(ctx context.Context, tx pgx.Tx, c collection) error {
	rows, err := tx.Query(ctx, selectLines)
	if err != nil {
		return err
	}
	var name channel.Name
	var outcome, sum string
	var asset money.Asset
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&name, &outcome, &asset, &n, &sum}, func() error {
		one := c.of(name)
		one.Lines += n
		one.Outcomes[outcome] += n
		if outcome == matched {
			one.Matched += n
		}
		amount, err := money.ParseMinor(sum)
		if err != nil {
			return err
		}
		a := one.asset(asset)
		a.Bank, err = a.Bank.Add(amount)
		return err
	})
	return err
}

func readOpenBreaks(ctx context.Context, tx pgx.Tx, c collection) error {
	rows, err := tx.Query(ctx, `select channel, class, count(*) from breaks where closed_at is null group by channel, class`)
	if err != nil {
		return err
	}
	var name channel.Name
	var class string
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&name, &class, &n}, func() error { c.of(name).OpenBreaks[class] += n; return nil })
	return err
}

// A book's newest row is its balance.
const selectBalances = `select a.name, a.asset,
       (case when coalesce(d.id, 0) > coalesce(c.id, 0) then d.debit_balance else coalesce(c.credit_balance, 0) end)::text
  from accounts a
  left join lateral (select id, debit_balance from transfers where debit = a.id order by debit_seq desc limit 1) d on true
  left join lateral (select id, credit_balance from transfers where credit = a.id order by credit_seq desc limit 1) c on true
 where a.kind = 3 and (a.name like 'clr:%' or a.name like 'nostro:%')`

func readBalances(ctx context.Context, tx pgx.Tx, c collection) error {
	rows, err := tx.Query(ctx, selectBalances)
	if err != nil {
		return err
	}
	var name, balance string
	var asset money.Asset
	_, err = pgx.ForEachRow(rows, []any{&name, &asset, &balance}, func() error {
		amount, err := money.ParseMinor(balance)
		if err != nil {
			return err
		}
		return c.add(name, asset, amount) // accounts of several tenants add up
	})
	return err
}

// add reads a system account's name, as the specification's §6.3 writes it.
func (c collection) add(name string, asset money.Asset, amount money.Amount) error {
	var to *money.Amount
	if bank, ok := strings.CutPrefix(name, "nostro:"); ok {
		to = &c.of(channel.Name(bank)).asset(asset).Nostro
	} else if bank, ok := strings.CutSuffix(strings.TrimPrefix(name, "clr:"), ":out"); ok {
		to = &c.of(channel.Name(bank)).asset(asset).ClearingOut
	} else if bank, ok := strings.CutSuffix(strings.TrimPrefix(name, "clr:"), ":in"); ok {
		to = &c.of(channel.Name(bank)).asset(asset).ClearingIn
	} else {
		return fmt.Errorf("account %q is not one of a channel's", name)
	}
	sum, err := to.Add(amount)
	if err == nil {
		*to = sum
	}
	return err
}

// showAges sets the age of each channel's oldest open break.
func (r *Recon) showAges(ctx context.Context) error {
	rows, err := r.cfg.Pool.Query(ctx, `select channel, min(opened_at) from breaks where closed_at is null group by channel`)
	if err != nil {
		return fmt.Errorf("read the breaks: %w", err)
	}
	for _, ch := range r.cfg.Channels {
		r.metrics.oldest.WithLabelValues(string(ch.Name())).Set(0)
	}
	now := r.cfg.Clock.Now()
	var name string
	var since time.Time
	_, err = pgx.ForEachRow(rows, []any{&name, &since}, func() error {
		r.metrics.oldest.WithLabelValues(name).Set(now.Sub(since).Seconds())
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the breaks: %w", err)
	}
	return nil
}

func readFault(op string, err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) { // the caller's time is over
		return fault.New(fault.Timeout, "").WithOp(op).WithMoneyState(fault.NotMoved).WithCause(err)
	}
	return fault.New(fault.DatabaseUnavailable, "the breaks cannot be read at the moment").WithOp(op).WithCause(err)
}
