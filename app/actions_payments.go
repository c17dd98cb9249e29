package app

import (
	"context"
	"fmt"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
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
	})
}

func (a paymentActions) payment(ctx context.Context, act *access.Action) (pay.Payment, error) {
	id, err := pay.ParseID(act.Parameters["payment"])
	if err != nil {
		return pay.Payment{}, fault.New(fault.NotFound, "this is not the id of a payment").WithParam("/parameters/payment").WithCause(err)
	}
	return a.payments.Payment(ctx, pay.TenantID(act.Tenant), id)
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

func describeAssignment(act *access.Action) fault.Text {
	p, to, amount := act.Parameters["payment"], act.Parameters["to"], act.Parameters["amount"]
	return fault.Text{
		En: fmt.Sprintf("Give %s (smallest units) of the money without an owner %s to the account %s", amount, p, to),
		Zh: fmt.Sprintf("将无主款项 %s 中的 %s（最小单位）归入账户 %s", p, amount, to),
	}
}
