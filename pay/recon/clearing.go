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

// ageBounds are the upper ends of the age buckets; the last bucket has none.
var ageBounds = []struct {
	name string
	most time.Duration
}{{"1h", time.Hour}, {"1d", 24 * time.Hour}, {"3d", 72 * time.Hour}, {"7d", 168 * time.Hour}, {"older", 1<<63 - 1}}

// oldestMax bounds how many payments are named for one clearing account.
const oldestMax = 50

// Clearing is one clearing account: what is on its way to or from a channel, by age.
// It must run to zero; what makes it is named.
type Clearing struct {
	Channel channel.Name `json:"channel"`
	Asset   money.Asset  `json:"asset"`
	// Direction is out for what was sent, in for what the channel said it received.
	Direction string `json:"direction" enum:"in,out"`
	// Balance is what the ledger has on the account, as an amount under way.
	Balance money.Amount `json:"balance"`
	// Buckets hold it by age; Overdue is how much of it is past its due time.
	Buckets []AgeBucket  `json:"buckets"`
	Overdue money.Amount `json:"overdue"`
	// Unexplained is the balance less all that is known to make it: not zero means
	// that money is in clearing for which no payment is under way.
	Unexplained money.Amount `json:"unexplained"`
	// Oldest names the payments that have been there longest, at most 50.
	Oldest []ClearingItem `json:"oldest"`
}

// AgeBucket is a part of a clearing account: what is younger than its name says, and
// not younger than the one before.
type AgeBucket struct {
	Under string       `json:"under" enum:"1h,1d,3d,7d,older"`
	Count int64        `json:"count"`
	Value money.Amount `json:"value"`
}

// ClearingItem is one payment in clearing.
type ClearingItem struct {
	Payment   string       `json:"payment"`
	Reference string       `json:"reference"`
	Amount    money.Amount `json:"amount"`
	// Since is when it entered clearing, or when it succeeded.
	Since time.Time `json:"since"`
	// DueAt is when the statement should show it; nil while the channel has not
	// said that it is done.
	DueAt *time.Time `json:"due_at,omitempty"`
}

// Succeeded payments whose line is awaited; those that recon has not followed the log
// to yet; and what is being sent.
const selectInClearing = `select channel, asset, direction, payment, reference, amount::text, since, due_at from expectations
 union all
select coalesce(a.channel, p.channel), p.asset, case when p.kind = 3 then 2 else 1 end, p.id, coalesce(a.reference, ''), p.amount::text, t.at, null
  from transitions t join payments p on p.id = t.payment and p.channel is not null
  left join attempts a on a.payment = t.payment and a.n = t.attempt
 where t.id > (` + selectMark + `) and t.settlement = 1 and t.from_state <> t.to_state
   and not exists (select from transitions s where s.payment = t.payment and s.settlement = 2)
 union all
select a.channel, o.asset, 1, o.payment, a.reference, o.amount::text, a.intended_at, null
  from open_payments o join attempts a on a.payment = o.payment and a.n = o.attempt
 where o.state = any($2)`

// ClearingAges tells what is in every clearing account and for how long, from one
// snapshot.
func (r *Recon) ClearingAges(ctx context.Context) ([]Clearing, error) {
	const op = "recon.ClearingAges"
	ctx, cancel := context.WithTimeout(ctx, reportWithin)
	defer cancel()
	tx, err := r.cfg.Pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, readFault(op, err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	balances := collection{}
	if err := readBalances(ctx, tx, balances); err != nil {
		return nil, readFault(op, err)
	}
	ages := agesOf(balances)
	if err := r.addItems(ctx, tx, ages); err != nil {
		return nil, readFault(op, err)
	}
	out := make([]Clearing, 0, len(ages))
	for _, c := range ages {
		if err := c.finish(); err != nil {
			return nil, fault.New(fault.Internal, "").WithOp(op).WithCause(err)
		}
		if c.Balance.IsZero() && c.Unexplained.IsZero() && len(c.Oldest) == 0 {
			continue
		}
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b Clearing) int {
		return cmp.Or(cmp.Compare(a.Channel, b.Channel), cmp.Compare(a.Asset, b.Asset), cmp.Compare(a.Direction, b.Direction))
	})
	return out, nil
}

type clearingKey struct {
	name      channel.Name
	asset     money.Asset
	direction channel.Direction
}

type clearings map[clearingKey]*Clearing

func (c clearings) of(k clearingKey) *Clearing {
	one := c[k]
	if one == nil {
		one = &Clearing{Channel: k.name, Asset: k.asset, Direction: k.direction.String(), Oldest: []ClearingItem{}}
		for _, b := range ageBounds {
			one.Buckets = append(one.Buckets, AgeBucket{Under: b.name})
		}
		c[k] = one
	}
	return one
}

// agesOf takes the balances of the clearing accounts. What came in has lowered its
// account, so that there an amount under way is negative.
func agesOf(balances collection) clearings {
	ages := clearings{}
	for name, one := range balances {
		for asset, a := range one.assets {
			ages.of(clearingKey{name, asset, channel.Out}).Balance = a.ClearingOut
			in, err := a.ClearingIn.Neg()
			if err == nil {
				ages.of(clearingKey{name, asset, channel.In}).Balance = in
			}
		}
	}
	return ages
}

func (r *Recon) addItems(ctx context.Context, tx pgx.Tx, ages clearings) error {
	sending := []int16{int16(pay.Dispatching), int16(pay.Processing), int16(pay.Unknown)}
	rows, err := tx.Query(ctx, selectInClearing, markExpected, sending)
	if err != nil {
		return err
	}
	now := r.cfg.Clock.Now()
	var k clearingKey
	var id pay.ID
	var item ClearingItem
	var amount string
	_, err = pgx.ForEachRow(rows, []any{&k.name, &k.asset, &k.direction, &id, &item.Reference, &amount, &item.Since, &item.DueAt}, func() (err error) {
		if item.Amount, err = money.ParseMinor(amount); err != nil {
			return err
		}
		one := item
		one.Payment, one.Since = id.String(), item.Since.UTC()
		if item.DueAt != nil {
			due := item.DueAt.UTC()
			one.DueAt = &due
		}
		return ages.of(k).add(one, now)
	})
	return err
}

func (c *Clearing) add(item ClearingItem, now time.Time) (err error) {
	for i, b := range ageBounds {
		if now.Sub(item.Since) < b.most {
			c.Buckets[i].Count++
			if c.Buckets[i].Value, err = c.Buckets[i].Value.Add(item.Amount); err != nil {
				return err
			}
			break
		}
	}
	if item.DueAt != nil && !item.DueAt.After(now) {
		if c.Overdue, err = c.Overdue.Add(item.Amount); err != nil {
			return err
		}
	}
	at, _ := slices.BinarySearchFunc(c.Oldest, item, func(a, b ClearingItem) int { return a.Since.Compare(b.Since) })
	if at < oldestMax {
		c.Oldest = slices.Insert(c.Oldest, at, item)
		c.Oldest = c.Oldest[:min(len(c.Oldest), oldestMax)]
	}
	return nil
}

func (c *Clearing) finish() error {
	c.Unexplained = c.Balance
	for _, b := range c.Buckets {
		var err error
		if c.Unexplained, err = c.Unexplained.Sub(b.Value); err != nil {
			return fmt.Errorf("clearing %s of %s: %w", c.Direction, c.Channel, err)
		}
	}
	return nil
}
