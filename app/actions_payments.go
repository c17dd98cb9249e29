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
		Name:     "compensate",
		Members:  []access.Member{{Name: "to"}, {Name: "amount"}, {Name: "asset"}, {Name: "link"}, {Name: "remittance", Optional: true}},
		Describe: describeCompensation, Perform: a.compensate,
	})
	desk.Register(access.Kind{
		Name: "assign_inbound", Members: []access.Member{{Name: "payment"}, {Name: "to"}, {Name: "amount"}},
		Check: check, Describe: describeAssignment, Perform: a.assign,
	})
	desk.Register(access.Kind{
		Name: "resolve_payment", Members: []access.Member{{Name: "payment"}, {Name: "outcome"}, {Name: "evidence"}},
		Check: func(ctx context.Context, act *access.Action) error {
			if o := act.Parameters["outcome"]; o != "executed" && o != "not_executed" {
				return fault.New(fault.MalformedRequest, "outcome is executed or not_executed").WithParam("/parameters/outcome")
			}
			return check(ctx, act)
		},
		Describe: describeResolution, Perform: a.resolve,
	})
	desk.Register(access.Kind{
		Name: "write_off", Members: []access.Member{{Name: "payment"}}, Check: check, Describe: describeWriteOff, Perform: a.writeOff,
	})
}

func (a paymentActions) payment(ctx context.Context, act *access.Action) (pay.Payment, error) {
	id, err := pay.ParseID(act.Parameters["payment"])
	if err != nil {
		return pay.Payment{}, fault.New(fault.NotFound, "this is not the id of a payment").WithParam("/parameters/payment").WithCause(err)
	}
	return a.payments.Payment(ctx, pay.TenantID(act.Tenant), id)
}

func (a paymentActions) compensate(ctx context.Context, act *access.Action, key [16]byte) (string, error) {
	res, err := a.in.Compensate(ctx, &intake.CompensationRequest{
		Tenant: pay.TenantID(act.Tenant), Direct: key, To: act.Parameters["to"], Amount: act.Parameters["amount"], Asset: act.Parameters["asset"],
		Link: act.Parameters["link"], Remittance: act.Parameters["remittance"], By: act.Maker, Reason: act.Reason,
	})
	return paymentResult(&res, err)
}

func (a paymentActions) assign(ctx context.Context, act *access.Action, key [16]byte) (string, error) {
	p, err := a.payment(ctx, act)
	if err != nil {
		return "", err
	}
	res, err := a.in.Assign(ctx, &intake.AssignRequest{
		Inbound: p, Direct: key, To: act.Parameters["to"], Amount: act.Parameters["amount"], By: act.Maker, Reason: act.Reason,
	})
	return paymentResult(&res, err)
}

func (a paymentActions) resolve(ctx context.Context, act *access.Action, _ [16]byte) (string, error) {
	p, err := a.payment(ctx, act)
	if err != nil {
		return "", err
	}
	res, err := a.in.Resolve(ctx, &p, act.Parameters["outcome"] == "executed", act.Maker, act.Parameters["evidence"])
	return paymentResult(&res, err)
}

func (a paymentActions) writeOff(ctx context.Context, act *access.Action, _ [16]byte) (string, error) {
	p, err := a.payment(ctx, act)
	if err != nil {
		return "", err
	}
	res, err := a.in.WriteOff(ctx, &p, act.Maker, act.Reason)
	return paymentResult(&res, err)
}

func paymentResult(res *commit.Result, err error) (string, error) {
	if err != nil {
		return "", err
	}
	return res.Payment.ID.String(), nil
}

// sum writes an amount as people read it; what cannot be read is shown as it is.
func sum(act *access.Action) string {
	amount, asset := act.Parameters["amount"], act.Parameters["asset"]
	if a, err := money.ParseMinor(amount); err == nil && asset != "" {
		return money.Format(a, money.Asset(asset)) + " " + asset
	}
	return amount + " " + asset
}

func describeCompensation(act *access.Action) fault.Text {
	to, link := act.Parameters["to"], act.Parameters["link"]
	return fault.Text{
		En: fmt.Sprintf("Pay %s to the account %s at our expense, for %s", sum(act), to, link),
		Zh: fmt.Sprintf("由我方承担，向账户 %s 支付 %s，原因：%s", to, sum(act), link),
	}
}

func describeAssignment(act *access.Action) fault.Text {
	p, to, amount := act.Parameters["payment"], act.Parameters["to"], act.Parameters["amount"]
	return fault.Text{
		En: fmt.Sprintf("Give %s (smallest units) of the money without an owner %s to the account %s", amount, p, to),
		Zh: fmt.Sprintf("将无主款项 %s 中的 %s（最小单位）归入账户 %s", p, amount, to),
	}
}

func describeResolution(act *access.Action) fault.Text {
	p, evidence := act.Parameters["payment"], act.Parameters["evidence"]
	if act.Parameters["outcome"] == "executed" {
		return fault.Text{
			En: fmt.Sprintf("Call the payment %s executed, on this evidence: %s", p, evidence),
			Zh: fmt.Sprintf("依据以下证据认定付款 %s 已执行：%s", p, evidence),
		}
	}
	return fault.Text{
		En: fmt.Sprintf("Call the payment %s not executed and give the money back, on this evidence: %s", p, evidence),
		Zh: fmt.Sprintf("依据以下证据认定付款 %s 未执行并退回款项：%s", p, evidence),
	}
}

func describeWriteOff(act *access.Action) fault.Text {
	p := act.Parameters["payment"]
	return fault.Text{En: "Write off what is still owed of " + p + ": it becomes our loss", Zh: "核销 " + p + " 的剩余欠款，计入我方损失"}
}
