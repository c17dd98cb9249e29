package commit

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// book of a tenant: what is closed is closed for one asset of one tenant.
type bookKey struct {
	tenant int32
	asset  money.Asset
}

// periods reads until when each tenant's books are closed.
func (l *loader) periods(ctx context.Context, m *memory) error {
	rows, err := l.conn.Query(ctx, `select tenant, asset, max(until) from periods group by tenant, asset`)
	if err != nil {
		return fmt.Errorf("load closed periods: %w", err)
	}
	var k bookKey
	var until time.Time
	if _, err := pgx.ForEachRow(rows, []any{&k.tenant, &k.asset, &until}, func() error { m.closed[k] = until.UTC(); return nil }); err != nil {
		return fmt.Errorf("load closed periods: %w", err)
	}
	return nil
}

// decidePeriod closes a period, once: the same again is a replay, and nothing opens
// what was closed.
func (j *judge) decidePeriod(f *ledger.PeriodFact) (Result, error) {
	if _, ok := money.LookupAsset(f.Asset); !ok {
		return Result{}, fault.New(fault.AssetUnknown, "no such asset").WithParam("/asset")
	}
	until := f.Until.UTC().Truncate(time.Microsecond)
	k := bookKey{f.Tenant, f.Asset}
	closed := j.mem.closed[k]
	standing := Result{Period: ledger.Period{Tenant: f.Tenant, Asset: f.Asset, Until: closed}}
	switch {
	case until.After(j.b.at):
		return standing, fault.New(fault.MalformedRequest, "a period that is not over cannot be closed; it is "+j.b.at.Format(time.RFC3339)).WithParam("/through")
	case until.Equal(closed):
		standing.Replayed = true
		return standing, nil
	case until.Before(closed):
		return standing, fault.New(fault.PeriodClosed, "the books are closed until "+closed.Format(time.RFC3339)+" already, and are not opened again").WithParam("/through")
	case f.By == "":
		return standing, fault.New(fault.MalformedRequest, "somebody closes a period: say who")
	}
	if err := j.timedPeriod(); err != nil {
		return standing, err
	}
	j.mem.closed[k] = until
	j.b.writes = true
	c := j.b.tables[periodRows].columns
	c[0].AddInt(int64(f.Tenant))
	c[1].AddText(string(f.Asset))
	c[2].AddTime(until)
	c[3].AddTime(j.b.at)
	c[4].AddText(f.By)
	c[5].AddInt(j.id(j.mem.last.transfer))
	standing.Period.Until = until
	return standing, nil
}

// timedPeriod refuses while nobody knows what time it is: a period closed by a clock
// that leapt stays closed.
func (j *judge) timedPeriod() error {
	if j.unsound == nil {
		return nil
	}
	return fault.New(fault.DatabaseUnsafe, "a period is closed when the clocks agree again").WithOp("commit.decidePeriod").WithCause(j.unsound)
}

// open refuses a payment whose value date lies in a closed period. What the outside
// has done cannot be refused: it counts in the open period, from its booking on.
func (j *judge) open(p *pay.Payment) error {
	closed := j.mem.closed[bookKey{int32(p.Tenant), p.Asset}]
	if !p.EffectiveAt.Before(closed) {
		return nil
	}
	switch p.Kind {
	case pay.Inbound, pay.Return, pay.LateDeposit, pay.LatePayout, pay.Chargeback:
		p.EffectiveAt = j.b.at
		return nil
	case pay.Send, pay.Payout, pay.Deposit, pay.Hold, pay.Capture, pay.Refund, pay.Assignment, pay.Compensation:
	}
	return fault.New(fault.PeriodClosed, "the books in "+string(p.Asset)+" are closed; the open period begins at "+closed.Format(time.RFC3339)+
		", and a correction is dated then or later").WithParam("/effective_at")
}

// effective is the value date of a posting: the payment's own, or, for one that was
// under way when its period was closed, the time of its booking, in the open period.
func (j *judge) effective(p *pay.Payment) time.Time {
	if p.EffectiveAt.Before(j.mem.closed[bookKey{int32(p.Tenant), p.Asset}]) {
		return j.b.at
	}
	return p.EffectiveAt
}
