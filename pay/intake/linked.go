package intake

import (
	"context"
	"time"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
)

// refund makes the Fact of a refund: it goes from the account that the deposit
// credited, through the deposit's channel, to whom the channel knows by the
// reference that the deposit's payer quoted unless the caller names a payee.
func (in *Intake) refund(ctx context.Context, r *Request, now time.Time) (commit.Fact, error) {
	by, raw := pay.SourceOperators, ""
	if r.Direct == (pay.Key{}) {
		var err error
		if raw, err = NormaliseKey(r.Key); err != nil {
			return commit.Fact{}, err
		}
		by = source
	}
	o, err := in.original(ctx, r)
	if err != nil {
		return commit.Fact{}, err
	}
	var bad Problems
	p := &pay.Payment{
		Tenant: r.Tenant, Kind: pay.Refund, Original: o.ID, From: o.To, Asset: o.Asset, Channel: o.Channel, Amount: parseAmount(r.Amount, &bad),
		PayeeAccount: r.PayeeAccount, PayeeName: r.PayeeName, Remittance: r.Remittance, TraceID: r.TraceID, EffectiveAt: now, CreatedAt: now,
	}
	for _, given := range []struct{ param, value, ours string }{
		{"/from", r.From, p.From.String()}, {"/to", r.To, ""}, {"/channel", r.Channel, p.Channel}, {"/asset", r.Asset, string(p.Asset)},
	} {
		if given.value != "" && given.value != given.ours {
			bad.add(fault.MalformedRequest, given.param, "a refund takes this from its original; leave it out")
		}
	}
	if !r.EffectiveAt.IsZero() || !r.ExpiresAt.IsZero() {
		bad.add(fault.MalformedRequest, "/effective_at", "a refund begins now and does not expire")
	}
	switch {
	case p.PayeeAccount != "":
	case o.Kind == pay.Inbound:
		bad.add(fault.MalformedRequest, "/payee/account", "nobody knows who sent this money: the refund needs the account to send it to")
	case o.Kind == pay.LateDeposit: // the channel never saw its id: the money quoted the deposit that had failed
		p.PayeeAccount = o.Link
	default:
		p.PayeeAccount = pay.Reference(o.ID, 0)
	}
	checkTexts(p, r, &bad)
	if err := bad.as(); err != nil {
		return commit.Fact{}, err
	}
	if err := in.mayPay(ctx, p, r.House); err != nil {
		return commit.Fact{}, err
	}
	if p.Key = r.Direct; p.Key == (pay.Key{}) {
		p.Key = NewKey(r.Tenant, p.From, raw)
	}
	return commit.Fact{Payment: &pay.Fact{Kind: pay.Accept, At: now, New: p, Fingerprint: linkedFingerprint(p, r.PayeeAccount), Source: by}}, nil
}

// original finds what a refund gives back, and refuses what gives nothing back.
func (in *Intake) original(ctx context.Context, r *Request) (*pay.Payment, error) {
	if r.Original == "" {
		return nil, fault.New(fault.MalformedRequest, "a refund names the payment that it gives back").WithParam("/original")
	}
	id, err := pay.ParseID(r.Original)
	if err != nil {
		return nil, fault.New(fault.NotFound, "this is not the id of a payment").WithParam("/original")
	}
	o, err := in.originals.Payment(ctx, r.Tenant, id)
	if err != nil {
		return nil, err
	}
	switch o.Kind {
	case pay.Deposit, pay.LateDeposit:
		return &o, nil
	case pay.Inbound:
		if r.House {
			return &o, nil
		}
		return nil, fault.New(fault.Forbidden, "only an admin sends back money that nobody could place").WithParam("/original")
	case pay.Send, pay.Payout, pay.Hold, pay.Capture, pay.Refund, pay.LatePayout, pay.Return, pay.Assignment, pay.Chargeback, pay.Compensation:
	}
	return nil, fault.New(fault.IllegalTransition, "a "+o.Kind.String()+" brought nothing that could be refunded").WithResource(o.ID.String())
}
