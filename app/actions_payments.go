package app

import (
	"context"
	"fmt"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/intake"
)

// paymentActions are what two people can agree on about payments. What makes a
// payment has the approval's id as its key; what moves one on is the same twice.
type paymentActions struct {
	in       *intake.Intake
	payments *commit.Reader
}

func registerPaymentActions(desk *access.Approvals, in *intake.Intake, payments *commit.Reader) {
	a := paymentActions{in, payments}
	check := func(ctx context.Context, act *access.Action) error {
		_, err := a.payment(ctx, act)
		return err
	}
	desk.Register(access.Kind{
		Name: "assign_inbound", Members: []access.Member{{Name: "payment"}, {Name: "to"}, {Name: "amount"}},
		Check: check, Describe: describeAssignment, Perform: a.assign,
		Moves: func(ctx context.Context, act *access.Action) ([]access.Movement, error) {
			r, err := a.assignment(ctx, act, pay.Key(act.ID))
			if err != nil {
				return nil, err
			}
			return movements(in.PlanAssignment(r))
		},
	})
	desk.Register(access.Kind{
		Name: "refund", Members: []access.Member{{Name: "payment"}, {Name: "asset"}, {Name: "amount"}, {Name: "payee", Optional: true}},
		Check: func(ctx context.Context, act *access.Action) error {
			_, err := a.moves(ctx, act, in.PlanRefund)
			return err
		},
		Describe: describeRefund,
		Moves: func(ctx context.Context, act *access.Action) ([]access.Movement, error) {
			return a.moves(ctx, act, in.PlanRefund)
		},
		Perform: func(ctx context.Context, act *access.Action, key [16]byte) (string, error) {
			res, err := in.Accept(ctx, refundOf(act, key))
			return paymentResult(&res, err)
		},
	})
	planned := func(ctx context.Context, act *access.Action) ([]access.Movement, error) {
		r, err := a.capture(ctx, act, pay.Key(act.ID))
		if err != nil {
			return nil, err
		}
		return movements(in.PlanCapture(ctx, r))
	}
	desk.Register(access.Kind{
		Name: "capture", Members: []access.Member{{Name: "payment"}, {Name: "asset"}, {Name: "amount"}, {Name: "payee", Optional: true}},
		Check: func(ctx context.Context, act *access.Action) error {
			_, err := planned(ctx, act)
			return err
		},
		Describe: describeCapture, Moves: planned,
		Perform: func(ctx context.Context, act *access.Action, key [16]byte) (string, error) {
			r, err := a.capture(ctx, act, key)
			if err != nil {
				return "", err
			}
			res, err := in.Capture(ctx, r)
			return paymentResult(&res, err)
		},
	})
}

func (a paymentActions) moves(ctx context.Context, act *access.Action, plan func(context.Context, *intake.Request) (intake.Plan, error)) ([]access.Movement, error) {
	if _, err := a.sameAsset(ctx, act); err != nil {
		return nil, err
	}
	return movements(plan(ctx, refundOf(act, pay.Key(act.ID))))
}

// refundOf is the refund that two people agreed on. They may send back what a house
// account received, and what nobody could place.
func refundOf(act *access.Action, key pay.Key) *intake.Request {
	return &intake.Request{
		Tenant: pay.TenantID(act.Tenant), Kind: pay.Refund.String(), Original: act.Parameters["payment"], Amount: act.Parameters["amount"],
		PayeeAccount: act.Parameters["payee"], Direct: key, TraceID: pay.TraceID(key), House: true,
	}
}

// sameAsset is the tenant's payment, if it is in the asset that the two people read.
func (a paymentActions) sameAsset(ctx context.Context, act *access.Action) (pay.Payment, error) {
	p, err := a.payment(ctx, act)
	if err == nil && string(p.Asset) != act.Parameters["asset"] {
		err = fault.New(fault.AssetMismatch, "the payment is in "+string(p.Asset)).WithParam("/parameters/asset")
	}
	return p, err
}

func (a paymentActions) capture(ctx context.Context, act *access.Action, key pay.Key) (*intake.CaptureRequest, error) {
	hold, err := a.sameAsset(ctx, act)
	if err != nil {
		return nil, err
	}
	// What goes out names its payee, so that both people read who gets it.
	if payee := act.Parameters["payee"]; payee != hold.PayeeAccount {
		why := "the hold is for an account of ours: leave the payee out"
		if hold.PayeeAccount != "" {
			why = "the hold goes out to the account " + hold.PayeeAccount + ": name it as the payee"
		}
		return nil, fault.New(fault.MalformedRequest, why).WithParam("/parameters/payee")
	}
	return &intake.CaptureRequest{Hold: hold, Direct: key, Amount: act.Parameters["amount"], TraceID: pay.TraceID(key), House: true}, nil
}

// movements are a plan's postings as people read them.
func movements(p intake.Plan, err error) ([]access.Movement, error) {
	if err != nil {
		return nil, err
	}
	side := func(r pay.Role) access.Side {
		s := access.Side{Role: r.String()}
		switch r { //nolint:exhaustive // all others are accounts of ours
		case pay.FromAvailable, pay.FromHeld:
			if p.Payment.From != 0 { // money without an owner is held where it lies
				s.Account = p.Payment.From.String()
			}
		case pay.ToAvailable:
			s.Account = p.Payment.To.String()
		}
		return s
	}
	out := make([]access.Movement, len(p.Postings))
	for i, m := range p.Postings {
		out[i] = access.Movement{Debit: side(m.Debit), Credit: side(m.Credit), Amount: m.Amount.String(), Asset: string(p.Payment.Asset)}
	}
	return out, nil
}

// worthOf shows an amount by its asset, and what it cannot read as it is.
func worthOf(act *access.Action) string {
	amount, asset := act.Parameters["amount"], act.Parameters["asset"]
	if a, err := money.ParseMinor(amount); err == nil {
		amount = money.Format(a, money.Asset(asset))
	}
	return amount + " " + asset
}

func describeRefund(act *access.Action) fault.Text {
	amount, id, payee := worthOf(act), act.Parameters["payment"], act.Parameters["payee"]
	if payee != "" {
		return fault.Text{
			En: fmt.Sprintf("Send %s of the payment %s to the account %s outside", amount, id, payee),
			Zh: fmt.Sprintf("将支付 %s 中的 %s 退至外部账户 %s", id, amount, payee),
		}
	}
	return fault.Text{
		En: fmt.Sprintf("Send %s of the payment %s back to where it came from", amount, id),
		Zh: fmt.Sprintf("将支付 %s 中的 %s 原路退回", id, amount),
	}
}

func describeCapture(act *access.Action) fault.Text {
	amount, id, payee := worthOf(act), act.Parameters["payment"], act.Parameters["payee"]
	if payee != "" {
		return fault.Text{
			En: fmt.Sprintf("Take %s of the hold %s and send it to the account %s outside", amount, id, payee),
			Zh: fmt.Sprintf("从预授权 %s 中请款 %s，并付至外部账户 %s", id, amount, payee),
		}
	}
	return fault.Text{
		En: fmt.Sprintf("Take %s of the hold %s for its payee", amount, id),
		Zh: fmt.Sprintf("从预授权 %s 中为收款方请款 %s", id, amount),
	}
}

func (a paymentActions) payment(ctx context.Context, act *access.Action) (pay.Payment, error) {
	id, err := pay.ParseID(act.Parameters["payment"])
	if err != nil {
		return pay.Payment{}, fault.New(fault.NotFound, "this is not the id of a payment").WithParam("/parameters/payment").WithCause(err)
	}
	return a.payments.Payment(ctx, pay.TenantID(act.Tenant), id)
}

func (a paymentActions) assignment(ctx context.Context, act *access.Action, key pay.Key) (*intake.AssignRequest, error) {
	p, err := a.payment(ctx, act)
	if err != nil {
		return nil, err
	}
	return &intake.AssignRequest{
		Inbound: p, Direct: key, To: act.Parameters["to"], Amount: act.Parameters["amount"], By: act.Maker, Reason: act.Reason,
	}, nil
}

func (a paymentActions) assign(ctx context.Context, act *access.Action, key [16]byte) (string, error) {
	r, err := a.assignment(ctx, act, key)
	if err != nil {
		return "", err
	}
	res, err := a.in.Assign(ctx, r)
	return paymentResult(&res, err)
}

func describeAssignment(act *access.Action) fault.Text {
	p, to, amount := act.Parameters["payment"], act.Parameters["to"], act.Parameters["amount"]
	return fault.Text{
		En: fmt.Sprintf("Give %s (smallest units) of the money without an owner %s to the account %s", amount, p, to),
		Zh: fmt.Sprintf("将无主款项 %s 中的 %s（最小单位）归入账户 %s", p, amount, to),
	}
}
