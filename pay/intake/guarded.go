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

func operator(by string) string {
	if by == "" {
		return "operator"
	}
	return by
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
	f, err := in.assignment(r)
	if err != nil {
		return commit.Result{}, err
	}
	return in.once(ctx, f)
}

func (in *Intake) assignment(r *AssignRequest) (commit.Fact, error) {
	key, err := keyOr(r.Inbound.Tenant, r.Key, r.Direct)
	if err != nil {
		return commit.Fact{}, err
	}
	if r.Inbound.Kind != pay.Inbound {
		return commit.Fact{}, fault.New(fault.IllegalTransition, "a "+r.Inbound.Kind.String()+" is nothing that could be assigned").
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
		return commit.Fact{}, err
	}
	return commit.Fact{Payment: &pay.Fact{
		Kind: pay.Accept, At: now, New: p, Fingerprint: linkedFingerprint(p, ""), Source: operator(r.By), Reason: r.Reason,
	}}, nil
}

// CompensateOnce is Compensate for a caller: to, asset and link as text, and once per
// raw idempotency key. A link that is a payment's id is its original.
func (in *Intake) CompensateOnce(ctx context.Context, rawKey, to, asset string, r CompensationRequest) (commit.Result, error) {
	var err error
	if r.Key, err = scopedKey(r.Tenant, 0, rawKey); err != nil {
		return commit.Result{}, err
	}
	var bad Problems
	r.To = party(to, "/to", pay.Compensation, true, &bad)
	info, ok := money.LookupAsset(asset)
	if !ok {
		bad.add(fault.AssetUnknown, "/asset", "")
	}
	r.Asset = info.Code
	if strings.HasPrefix(r.Link, "pay_") {
		if r.Original, err = pay.ParseID(r.Link); err != nil {
			bad.add(fault.MalformedRequest, "/link", "this is not the id of a payment")
		}
	}
	if err := bad.as(); err != nil {
		return commit.Result{}, err
	}
	return in.Compensate(ctx, &r)
}

func keyOr(tenant pay.TenantID, raw string, direct pay.Key) (pay.Key, error) {
	if direct != (pay.Key{}) {
		return direct, nil
	}
	return scopedKey(tenant, 0, raw)
}
