package intake

import (
	"context"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
)

// Guard judges a new payout before the ledger sees it: pay.Clear lets it pass,
// pay.Challenge asks its holder to confirm, pay.Review asks a person of ours, and an
// error, a *fault.Error, refuses it without using its key up. It must answer at once.
type Guard func(ctx context.Context, p *pay.Payment) (pay.FactKind, error)

// Limit is above which amounts of one asset somebody is asked; zero asks nobody.
type Limit struct {
	Confirm, Review money.Amount
}

// Limits is the guard that knows amounts only. A review goes before a confirmation:
// who looks can ask.
func Limits(of map[money.Asset]Limit) Guard {
	return func(_ context.Context, p *pay.Payment) (pay.FactKind, error) {
		l := of[p.Asset]
		switch {
		case !l.Review.IsZero() && p.Amount.Cmp(l.Review) > 0:
			return pay.Review, nil
		case !l.Confirm.IsZero() && p.Amount.Cmp(l.Confirm) > 0:
			return pay.Challenge, nil
		}
		return pay.Clear, nil
	}
}

// about submits a fact about a payment that the caller has made sure is the
// tenant's. The same fact again changes nothing and is answered like the first.
func (in *Intake) about(ctx context.Context, f pay.Fact) (commit.Result, error) {
	f.At = in.clock.Now().UTC()
	if f.Source == "" {
		f.Source = source
	}
	return in.submit.Submit(ctx, commit.Fact{Payment: &f})
}

// Confirm says that the holder has confirmed a payout that waits for it. The funds
// are held now; fault.InsufficientFunds leaves it waiting.
func (in *Intake) Confirm(ctx context.Context, id pay.ID) (commit.Result, error) {
	return in.about(ctx, pay.Fact{Kind: pay.ActionDone, Payment: id, Reason: "confirmed by the holder"})
}

// Review ends a review: the payout goes on, or the money goes back.
func (in *Intake) Review(ctx context.Context, id pay.ID, pass bool, by, reason string) (commit.Result, error) {
	f := pay.Fact{Kind: pay.ReviewNo, Payment: id, Source: operator(by), Reason: reason}
	if pass {
		f.Kind = pay.ReviewOk
	}
	return in.about(ctx, f)
}

// Resolve ends a payment of which the channel says nothing, on evidence that a
// person has seen: it has executed, or it never will.
func (in *Intake) Resolve(ctx context.Context, p *pay.Payment, executed bool, by, evidence string) (commit.Result, error) {
	if !p.Kind.Leaves() || p.Attempt.N == 0 {
		return commit.Result{}, fault.New(fault.IllegalTransition, "nothing of this payment was ever sent").WithResource(p.ID.String())
	}
	f := pay.Fact{Kind: pay.Decline, Payment: p.ID, Attempt: p.Attempt.N, Source: operator(by), Reason: "evidence: " + evidence}
	if executed {
		f.Kind, f.Amount, f.Asset = pay.Confirm, p.Amount, p.Asset
	}
	return in.about(ctx, f)
}

// WriteOff makes what is left of a debt our loss.
func (in *Intake) WriteOff(ctx context.Context, p *pay.Payment, by, reason string) (commit.Result, error) {
	if p.Kind != pay.LatePayout && p.Kind != pay.Chargeback {
		return commit.Result{}, fault.New(fault.IllegalTransition, "a "+p.Kind.String()+" is no debt that could be written off").WithResource(p.ID.String())
	}
	return in.about(ctx, pay.Fact{Kind: pay.WriteOff, Payment: p.ID, Source: operator(by), Reason: reason})
}

func operator(by string) string {
	if by == "" {
		return "operator"
	}
	return "operator " + by
}

// AssignRequest gives money that nobody announced to an account.
type AssignRequest struct {
	// Inbound as the caller may see it: his tenant's.
	Inbound pay.Payment
	Key     string
	// Direct is used instead of Key where an approval stands for it.
	Direct pay.Key
	To     string
	Amount string
	By     string
	Reason string
	// TraceID of the request.
	TraceID pay.TraceID
}

// Assign credits an account from money that nobody announced, once a key.
func (in *Intake) Assign(ctx context.Context, r *AssignRequest) (commit.Result, error) {
	key, err := keyOr(r.Inbound.Tenant, r.Key, r.Direct)
	if err != nil {
		return commit.Result{}, err
	}
	if r.Inbound.Kind != pay.Inbound {
		return commit.Result{}, fault.New(fault.IllegalTransition, "a "+r.Inbound.Kind.String()+" is nothing that could be assigned").
			WithResource(r.Inbound.ID.String())
	}
	now := in.clock.Now().UTC().Truncate(time.Microsecond)
	var bad Problems
	p := &pay.Payment{
		Tenant: r.Inbound.Tenant, Kind: pay.Assignment, Original: r.Inbound.ID, Asset: r.Inbound.Asset, Amount: parseAmount(r.Amount, &bad),
		To: party(r.To, "/to", pay.Assignment, true, &bad), Remittance: r.Inbound.Remittance, Key: key, TraceID: r.TraceID,
		EffectiveAt: now, CreatedAt: now,
	}
	if err := bad.as(); err != nil {
		return commit.Result{}, err
	}
	return in.accept(ctx, p, now, operator(r.By), r.Reason)
}

// CompensationRequest is money that we pay a holder for a fault of ours.
type CompensationRequest struct {
	Tenant     pay.TenantID
	Key        string
	Direct     pay.Key
	To         string
	Amount     string
	Asset      string
	Link       string
	Remittance string
	By, Reason string
	TraceID    pay.TraceID
}

// The bound of what a compensation names.
const linkMax = 200

// Compensate pays a holder for a fault of ours, once a key. It names the payment,
// the break or the incident that it makes good.
func (in *Intake) Compensate(ctx context.Context, r *CompensationRequest) (commit.Result, error) {
	key, err := keyOr(r.Tenant, r.Key, r.Direct)
	if err != nil {
		return commit.Result{}, err
	}
	now := in.clock.Now().UTC().Truncate(time.Microsecond)
	var bad Problems
	p := &pay.Payment{
		Tenant: r.Tenant, Kind: pay.Compensation, Amount: parseAmount(r.Amount, &bad), Link: r.Link, Remittance: r.Remittance,
		To: party(r.To, "/to", pay.Compensation, true, &bad), Key: key, TraceID: r.TraceID, EffectiveAt: now, CreatedAt: now,
	}
	info, ok := money.LookupAsset(r.Asset)
	if !ok {
		bad.add(fault.AssetUnknown, "/asset", "")
	}
	p.Asset = info.Code
	id, err := pay.ParseID(p.Link)
	switch {
	case p.Link == "" || !plainText(p.Link, linkMax):
		bad.add(fault.MalformedRequest, "/link", "a compensation names the payment, the break or the incident that it makes good")
	case err == nil:
		p.Original = id // the decider makes sure that it is the tenant's
	case strings.HasPrefix(p.Link, "pay_"):
		bad.add(fault.MalformedRequest, "/link", "this is not the id of a payment")
	}
	if !plainText(p.Remittance, remittanceMax) {
		bad.add(fault.MalformedRequest, "/remittance", "at most 140 characters of valid UTF-8, none of them a control character")
	}
	if err := bad.as(); err != nil {
		return commit.Result{}, err
	}
	return in.accept(ctx, p, now, operator(r.By), r.Reason)
}

func (in *Intake) accept(ctx context.Context, p *pay.Payment, now time.Time, source, reason string) (commit.Result, error) {
	return in.once(ctx, commit.Fact{Payment: &pay.Fact{
		Kind: pay.Accept, At: now, New: p, Fingerprint: linkedFingerprint(p, ""), Source: source, Reason: reason,
	}})
}

func keyOr(tenant pay.TenantID, raw string, direct pay.Key) (pay.Key, error) {
	if direct != (pay.Key{}) {
		return direct, nil
	}
	return scopedKey(tenant, 0, raw)
}
