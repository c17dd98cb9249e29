package replay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// driver carries one run. Accounts run in parallel; within an account one row
// follows the other.
type driver struct {
	o       Options
	plan    *Plan
	meter   *meter
	api     *api
	outside *outside
	pace    *pacer

	houses   map[string]string // house name to account id
	accounts []string          // account ids, by index in plan.Accounts

	accepted, final samples

	mu       sync.Mutex // guards the fields below
	tally    tally
	pending  []pending
	rowFault []RowFault
	baseline map[string]int64 // last effect of each bank before the run
}

// tally counts rows by outcome. Their sum is the number of rows.
type tally struct{ succeeded, failed, open, unsent int64 }

// pending is a payment that was accepted but not yet final when it was sent.
type pending struct {
	p    payment
	step *Step
}

// RowFault is a row whose payment did not succeed.
type RowFault struct {
	RowID  string `json:"row_id"`
	File   string `json:"file"`
	Line   int    `json:"line"`
	Fate   string `json:"fate"` // refused, failed, open or unsent
	Reason string `json:"reason"`
}

// The fates of a RowFault.
const (
	fateRefused = "refused" // the API said no; no payment exists
	fateFailed  = "failed"  // accepted, and ended as failed
	fateOpen    = "open"    // accepted, not final in the time given
	fateUnsent  = "unsent"  // an earlier row of the account is open
)

// rowFaultsKept bounds the faults that keep their reason; all are counted.
const rowFaultsKept = 1_000

func newDriver(o Options, plan *Plan, m *meter) *driver {
	c := func(base, key string, timeout time.Duration) *client {
		return &client{http: o.HTTPClient, base: base, key: key, timeout: timeout, retryFor: o.RetryFor, retries: &m.retries}
	}
	return &driver{
		o: o, plan: plan, meter: m, pace: newPacer(o.Speed, o.Clock),
		api:      &api{user: c(o.API, o.APIKey, attemptTimeout), admin: c(o.API, o.AdminKey, attemptTimeout), asset: plan.Mapping.Asset.Code},
		outside:  &outside{c: c(o.SandboxURL, "", outsideTimeout)},
		houses:   map[string]string{},
		accounts: make([]string, len(plan.Accounts)),
		baseline: map[string]int64{},
	}
}

// each runs f for 0..n-1 on the run's workers and counts the stage's progress.
func (d *driver) each(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	g, groupCtx := errgroup.WithContext(ctx)
	g.SetLimit(d.o.Workers)
	for i := range n {
		if groupCtx.Err() != nil {
			break
		}
		g.Go(func() error { return f(groupCtx, i) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// createAccounts makes the house accounts and one account per account of the
// file, with its own floor.
func (d *driver) createAccounts(ctx context.Context) error {
	d.meter.stage(StageAccounts, int64(len(d.plan.Houses)+len(d.plan.Accounts)))
	name := d.plan.Mapping.Name
	for _, h := range d.plan.Houses {
		id, err := d.api.createAccount(ctx, d.api.admin,
			newAccount{Asset: d.api.asset, Name: "house " + h, Kind: "house"}, keyOf(name+"/house/"+h))
		if err != nil {
			return fmt.Errorf("replay: %w (house accounts need the admin key)", err)
		}
		d.houses[h] = id
		d.meter.done.Add(1)
	}
	err := d.each(ctx, len(d.plan.Accounts), func(ctx context.Context, i int) error {
		a := d.plan.Accounts[i]
		id, err := d.api.createAccount(ctx, d.api.user,
			newAccount{Asset: d.api.asset, Name: a.ID, Kind: "user", Floor: &a.Floor}, keyOf(name+"/account/"+a.ID))
		d.accounts[i] = id
		d.meter.done.Add(1)
		return err
	})
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	return nil
}

// sendAll drives every row.
func (d *driver) sendAll(ctx context.Context) error {
	d.meter.stage(StagePayments, d.plan.Rows)
	err := d.each(ctx, len(d.plan.Accounts), func(ctx context.Context, i int) error {
		return d.sendAccount(ctx, d.plan.Accounts[i], d.accounts[i])
	})
	if err != nil {
		return fmt.Errorf("replay: sending: %w", err)
	}
	return nil
}

// sendAccount sends one account's rows in order. It fails only when the server
// cannot be reached at all; what happens to a row is recorded, not returned.
func (d *driver) sendAccount(ctx context.Context, a *AccountPlan, id string) error {
	for i, s := range a.Steps {
		if err := d.pace.turn(ctx); err != nil {
			return err
		}
		err := d.sendStep(ctx, s, id)
		d.meter.done.Add(1)
		if errors.Is(err, errStillOpen) {
			d.unsent(a.Steps[i+1:], s)
			return nil
		}
		if err != nil {
			return fmt.Errorf("row %s (%s:%d): %w", s.ID, s.File, s.Line, err)
		}
	}
	return nil
}

// unsent records rows that must not be sent, because money before them is
// still on its way.
func (d *driver) unsent(steps []*Step, open *Step) {
	for _, s := range steps {
		d.fault(s, fateUnsent, fmt.Sprintf("row %s of the same account is still open", open.ID))
		d.meter.done.Add(1)
	}
}

// sendStep sends one row. Money that comes in must be there before the next
// row may spend it, so credits wait for their final state.
func (d *driver) sendStep(ctx context.Context, s *Step, account string) error {
	started := d.o.Clock.Now()
	p, err := d.api.pay(ctx, d.payer(s), d.order(s, account), func(try int) string { return d.o.Key(s.ID, try) })
	var no *Refusal
	if errors.As(err, &no) {
		d.fault(s, fateRefused, no.Error())
		return nil
	}
	if err != nil {
		return err
	}
	d.accepted.add(d.o.Clock.Now().Sub(started))
	if s.Kind == kindDeposit && !p.final() {
		if p, err = d.tellBank(ctx, s, p); err != nil {
			return d.stillOpen(s, p, err)
		}
	}
	if s.Credit {
		p, err = d.api.untilFinal(ctx, p, d.o.FinalWithin)
		if err != nil {
			return d.stillOpen(s, p, err)
		}
	}
	if !p.final() {
		d.mu.Lock()
		d.pending = append(d.pending, pending{p, s})
		d.mu.Unlock()
		return nil
	}
	d.settled(s, p)
	return nil
}

// payer is whose key pays: a house account, which has no floor, pays only for
// the admin.
func (d *driver) payer(s *Step) *client {
	if s.Kind == kindHouse && s.Credit {
		return d.api.admin
	}
	return d.api.user
}

func (d *driver) order(s *Step, account string) order {
	o := order{Kind: s.Kind, Amount: s.Amount, Asset: d.api.asset, EffectiveAt: s.EffectiveAt, Remittance: s.ID, Channel: s.Channel}
	switch s.Kind {
	case kindDeposit:
		o.To = account
	case kindPayout:
		o.From, o.Payee = account, &payee{Account: s.Counterparty}
	default:
		o.Kind, o.From, o.To = "send", account, d.houses[s.House]
		if s.Credit {
			o.From, o.To = o.To, o.From
		}
	}
	return o
}

// tellBank has the bank send the money that a deposit announced.
func (d *driver) tellBank(ctx context.Context, s *Step, p payment) (payment, error) {
	p, err := d.api.withReference(ctx, p)
	if err != nil || p.final() {
		return p, err
	}
	if err := d.outside.instruct(ctx, s, d.api.asset, p.Reference); err != nil {
		return p, fmt.Errorf("tell bank %s to send: %w", s.Bank, err)
	}
	return p, nil
}

// stillOpen records an accepted payment that could not be followed to its end.
// It returns errStillOpen so that the account stops there, or err when nothing
// answers any more.
func (d *driver) stillOpen(s *Step, p payment, err error) error {
	var no *Refusal
	if !errors.Is(err, errStillOpen) && !errors.As(err, &no) {
		return err
	}
	d.mu.Lock()
	d.pending = append(d.pending, pending{p, s})
	d.mu.Unlock()
	if no != nil {
		return errors.Join(errStillOpen, no)
	}
	return errStillOpen
}

// settled records a payment's final state.
func (d *driver) settled(s *Step, p payment) {
	if p.FinalAt != nil && !p.CreatedAt.IsZero() {
		d.final.add(p.FinalAt.Sub(p.CreatedAt))
	}
	if p.Status == statusFailed {
		d.fault(s, fateFailed, fmt.Sprintf("payment %s ended as %s", p.ID, p.State))
		return
	}
	d.mu.Lock()
	d.tally.succeeded++
	d.mu.Unlock()
}

func (d *driver) fault(s *Step, fate, reason string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch fate {
	case fateOpen:
		d.tally.open++
	case fateUnsent:
		d.tally.unsent++
	default:
		d.tally.failed++
		d.meter.failed.Add(1)
	}
	if len(d.rowFault) < rowFaultsKept {
		d.rowFault = append(d.rowFault, RowFault{s.ID, s.File, s.Line, fate, reason})
	}
}

// waitFinal follows every payment that was accepted and not yet final.
func (d *driver) waitFinal(ctx context.Context) error {
	d.meter.stage(StageFinal, int64(len(d.pending)))
	deadline := d.o.Clock.Now().Add(d.o.FinalWithin)
	waiting := d.pending
	err := d.each(ctx, len(waiting), func(ctx context.Context, i int) error {
		w := waiting[i]
		left := max(deadline.Sub(d.o.Clock.Now()), time.Second)
		p, err := d.api.untilFinal(ctx, w.p, left)
		d.meter.done.Add(1)
		var no *Refusal
		switch {
		case err == nil:
			d.settled(w.step, p)
		case errors.Is(err, errStillOpen) && ctx.Err() == nil:
			d.fault(w.step, fateOpen, fmt.Sprintf("payment %s is %s", p.ID, p.State))
		case errors.As(err, &no):
			d.fault(w.step, fateOpen, fmt.Sprintf("payment %s was accepted, but: %v", p.ID, no))
		default:
			return err
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("replay: waiting for final answers: %w", err)
	}
	return nil
}
