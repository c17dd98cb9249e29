package intake

import (
	"context"
	"strconv"
	"time"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
)

// What two people have agreed on arrives here, not over the API of callers: the
// keys are the approvals' ids.

// CompensationRequest pays a holder for a fault of ours (T21).
type CompensationRequest struct {
	Tenant pay.TenantID
	To     pay.AccountID
	Asset  money.Asset
	// Amount in the asset's smallest unit.
	Amount string
	// Link names the break ("break 12"), the case ("case C-2026-000123"), the payment or
	// the incident that it makes up for.
	Link string
	// Original is the payment that it is about; zero for none.
	Original pay.ID
	// Key makes it once.
	Key pay.Key
}

// CheckCompensation refuses what Compensate could never do, and what would make up for
// a break or a case that is not there.
func (in *Intake) CheckCompensation(ctx context.Context, r *CompensationRequest) error {
	var bad Problems
	parseAmount(r.Amount, &bad)
	if !plainText(r.Link, remittanceMax) || r.Link == "" {
		bad.add(fault.MalformedRequest, "/link", "name the break, the case or the incident that this makes up for")
	}
	if err := bad.as(); err != nil || in.linked == nil {
		return err
	}
	return in.linked(ctx, r.Tenant, r.Link)
}

// Compensate pays from our expense to the holder, once per key.
func (in *Intake) Compensate(ctx context.Context, r *CompensationRequest) (commit.Result, error) {
	f, err := in.compensation(ctx, r)
	if err != nil {
		return commit.Result{}, err
	}
	return in.submit.Submit(ctx, f)
}

func (in *Intake) compensation(ctx context.Context, r *CompensationRequest) (commit.Fact, error) {
	if err := in.CheckCompensation(ctx, r); err != nil {
		return commit.Fact{}, err
	}
	var bad Problems
	now := in.clock.Now().UTC().Truncate(time.Microsecond)
	p := &pay.Payment{
		Tenant: r.Tenant, Kind: pay.Compensation, Original: r.Original, To: r.To, Asset: r.Asset, Amount: parseAmount(r.Amount, &bad),
		Link: r.Link, Key: r.Key, TraceID: pay.TraceID(r.Key), EffectiveAt: now, CreatedAt: now,
	}
	return commit.Fact{Payment: &pay.Fact{
		Kind: pay.Accept, At: now, New: p, Fingerprint: linkedFingerprint(p, ""), Source: pay.SourceOperators,
	}}, nil
}

// Evidence is what two people take for proof of what became of an unknown attempt.
type Evidence struct {
	Tenant  pay.TenantID
	Payment pay.ID
	// Attempt that the evidence is about.
	Attempt int16
	// Executed or absent: the money has left, or never will.
	Executed bool
	// AsOf is when whoever gave the evidence looked, at the latest: what was sent after
	// that, it says nothing about. It matters for absence only.
	AsOf time.Time
	// Reference, Channel and Amount are the executed attempt's as the evidence has them,
	// ChannelID the channel's own name of it. What waits in review is settled by nothing
	// less than the first three; of the rest, evidence has all three or none of the four.
	Reference, Channel, ChannelID, Amount string
	// Approval has the evidence and the two people; the payment's log names it.
	Approval string
}

// reason stands in the payment's log, and names the approval.
func (e *Evidence) reason() string { return "evidence of " + e.Approval }

// contested reports whether the evidence is to end a review of what contradicts itself.
func (e *Evidence) contested(p *pay.Payment) bool {
	return e.Executed && p.State == pay.InReview && p.Attempt.N > 0 && e.Attempt > 0 && e.Attempt <= p.Tried
}

// unknown returns the payment if the evidence may be about it.
func (in *Intake) unknown(ctx context.Context, e *Evidence) (*pay.Payment, error) {
	p, err := in.originals.Payment(ctx, e.Tenant, e.Payment)
	if err != nil {
		return nil, err
	}
	if err := e.names(&p); err != nil {
		return nil, err
	}
	if e.contested(&p) {
		return &p, nil
	}
	if p.Attempt.N != e.Attempt || e.Attempt == 0 {
		return nil, fault.New(fault.IllegalTransition, "the evidence is about attempt "+strconv.Itoa(int(e.Attempt))+
			", the payment's last is "+strconv.Itoa(int(p.Attempt.N))).WithResource(p.ID.String())
	}
	return &p, nil
}

// CheckEvidence refuses evidence about a payment whose outcome is not unknown: the
// channel's own word is better than people's. It refuses evidence of absence from
// before the last order could have left as well. Where a payment waits for a person
// because its channels contradict themselves, evidence says which attempt has executed.
func (in *Intake) CheckEvidence(ctx context.Context, e *Evidence) error {
	p, err := in.unknown(ctx, e)
	switch {
	case err != nil:
		return err
	case e.contested(p):
		_, err = in.executed(ctx, p, e)
		return err
	case p.State != pay.Unknown:
		return fault.New(fault.IllegalTransition, "nothing is unknown about it: it is "+p.State.String()).WithResource(p.ID.String())
	case e.early(p):
		return tooEarly(p)
	}
	return nil
}

// early reports whether evidence of absence is from before the attempt's newest order
// can have been on its way for certain: up to send_by its first byte may be written,
// and send_by was written by a clock that may be wrong by as much as clocks may.
func (e *Evidence) early(p *pay.Payment) bool {
	return !e.Executed && !e.AsOf.After(counts(p))
}

// counts is from when on somebody who looked at the channel's books saw what became
// of the attempt.
func counts(p *pay.Payment) time.Time { return p.Attempt.SendBy.Add(clock.DivergenceMax) }

// tooEarly refuses evidence of absence that an order may overtake, or has overtaken:
// the channel may have got it after whoever wrote the evidence had looked.
func tooEarly(p *pay.Payment) error {
	why := "an order may have left until "
	if p.Attempt.Resends > 0 {
		why = "the attempt was sent once more, until "
	}
	return fault.New(fault.IllegalTransition, why+counts(p).UTC().Format(time.RFC3339)+": bring evidence from after that").
		WithParam("/as_of").WithResource(p.ID.String())
}

// Resolve takes the evidence for proof. It may be repeated: what the payment has
// become by it stays, and what the channel has said meanwhile wins.
func (in *Intake) Resolve(ctx context.Context, e *Evidence) (commit.Result, error) {
	p, err := in.unknown(ctx, e)
	if err != nil {
		return commit.Result{}, err
	}
	if e.contested(p) {
		return in.settleBy(ctx, p, e)
	}
	if p.Open() && e.early(p) {
		return commit.Result{}, tooEarly(p)
	}
	f := &pay.Fact{
		Kind: pay.GiveUp, Payment: p.ID, At: in.clock.Now().UTC(), Attempt: e.Attempt, AttemptState: pay.Absent,
		SendBy: p.Attempt.SendBy, Source: pay.SourceOperators, Reason: e.reason(),
	}
	if e.Executed {
		f.Kind, f.AttemptState, f.SendBy, f.Amount, f.Asset = pay.Confirm, 0, time.Time{}, p.Amount, p.Asset
		f.Channel, f.ChannelID = e.Channel, e.ChannelID
	}
	res, err := in.submit.Submit(ctx, commit.Fact{Payment: f})
	if err == nil && res.Payment.Open() && res.NoOp { // it was sent again meanwhile
		err = tooEarly(&res.Payment)
	}
	return res, err
}

// WriteOff makes the rest of a holder's debt our loss. It may be repeated.
func (in *Intake) WriteOff(ctx context.Context, tenant pay.TenantID, id pay.ID, approval string) (commit.Result, error) {
	if err := in.CheckWriteOff(ctx, tenant, id); err != nil {
		return commit.Result{}, err
	}
	return in.submit.Submit(ctx, commit.Fact{Payment: &pay.Fact{
		Kind: pay.WriteOff, Payment: id, At: in.clock.Now().UTC(), Source: pay.SourceOperators, Reason: "loss of " + approval,
	}})
}

// CheckWriteOff refuses what is no debt.
func (in *Intake) CheckWriteOff(ctx context.Context, tenant pay.TenantID, id pay.ID) error {
	p, err := in.originals.Payment(ctx, tenant, id)
	if err == nil && p.Kind != pay.LatePayout && p.Kind != pay.Chargeback {
		err = fault.New(fault.IllegalTransition, "a "+p.Kind.String()+" is no debt").WithResource(id.String())
	}
	return err
}
