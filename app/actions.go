package app

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/intake"
	"github.com/moneta-pay/moneta/pay/ledger"
	"github.com/moneta-pay/moneta/pay/recon"
)

// registerActions tells the approvals what two people can agree on besides people
// and keys. What changes an account is a Fact whose key is the approval's id.
func registerActions(desk *access.Approvals, in *intake.Intake, accounts *ledger.Reader, gate *recon.Gate) {
	a := accountActions{in, accounts}
	desk.Register(access.Kind{
		Name: "set_floor", Members: []access.Member{{Name: "account"}, {Name: "asset"}, {Name: "floor"}},
		Check: a.checkFloor, Describe: describeFloor, Perform: a.setFloor,
	})
	for _, frozen := range []bool{true, false} {
		name := map[bool]string{true: "freeze_account", false: "thaw_account"}[frozen]
		desk.Register(access.Kind{
			Name: name, Members: []access.Member{{Name: "account"}},
			Check: func(ctx context.Context, act *access.Action) error {
				_, err := a.account(ctx, act)
				return err
			},
			Describe: func(act *access.Action) fault.Text { return describeFreeze(act, frozen) },
			Perform: func(ctx context.Context, act *access.Action, key [16]byte) (string, error) {
				id, err := accountOf(act)
				if err != nil {
					return "", err
				}
				res, err := a.in.Freeze(ctx, pay.TenantID(act.Tenant), id, intake.Freeze{Debits: frozen, Reason: act.Reason, By: "approval " + act.ID.String()}, key)
				return accountResult(&res, err)
			},
		})
	}
	if gate != nil {
		desk.Register(resumeDispatch(gate))
	}
}

type accountActions struct {
	in       *intake.Intake
	accounts *ledger.Reader
}

func accountOf(act *access.Action) (ledger.AccountID, error) {
	id, err := intake.ParseAccount(act.Parameters["account"])
	if err != nil {
		return 0, fault.New(fault.AccountNotFound, "this is not the id of an account").WithParam("/parameters/account").WithCause(err)
	}
	return id, nil
}

func (a accountActions) account(ctx context.Context, act *access.Action) (ledger.Account, error) {
	id, err := accountOf(act)
	if err != nil {
		return ledger.Account{}, err
	}
	return a.accounts.Account(ctx, act.Tenant, id)
}

func (a accountActions) checkFloor(ctx context.Context, act *access.Action) error {
	found, err := a.account(ctx, act)
	if err != nil {
		return err
	}
	if found.Kind != ledger.User {
		return fault.New(fault.FloorInvalid, "only users' accounts have a floor").WithParam("/parameters/account")
	}
	if string(found.Asset) != act.Parameters["asset"] {
		return fault.New(fault.AssetMismatch, "the account holds "+string(found.Asset)).WithParam("/parameters/asset")
	}
	floor, err := money.ParseMinor(act.Parameters["floor"])
	if err != nil || floor.Sign() > 0 {
		return fault.New(fault.FloorInvalid, "").WithParam("/parameters/floor").WithCause(err)
	}
	return nil
}

// describeFloor is asked for actions of all sorts, stored ones too, so that it
// shows what it cannot read as it is.
func describeFloor(act *access.Action) fault.Text {
	floor, asset := act.Parameters["floor"], act.Parameters["asset"]
	if amount, err := money.ParseMinor(floor); err == nil {
		floor = money.Format(amount, money.Asset(asset))
	}
	account := act.Parameters["account"]
	return fault.Text{
		En: fmt.Sprintf("Let the account %s pay until its balance is %s %s; its old limit ends", account, floor, asset),
		Zh: fmt.Sprintf("允许账户 %s 支付至余额为 %s %s；原限额失效", account, floor, asset),
	}
}

func (a accountActions) setFloor(ctx context.Context, act *access.Action, key [16]byte) (string, error) {
	id, err := accountOf(act)
	if err != nil {
		return "", err
	}
	res, err := a.in.SetFloor(ctx, pay.TenantID(act.Tenant), id, act.Parameters["floor"], "approval "+act.ID.String(), key)
	return accountResult(&res, err)
}

func accountResult(res *commit.Result, err error) (string, error) {
	if err != nil {
		return "", err
	}
	return pay.AccountID(res.Account.ID).String(), nil
}

func describeFreeze(act *access.Action, frozen bool) fault.Text {
	account := act.Parameters["account"]
	if frozen {
		return fault.Text{En: "Freeze the account " + account + ": it receives and does not pay", Zh: "冻结账户 " + account + "：可收款，不可付款"}
	}
	return fault.Text{En: "Let the account " + account + " pay again", Zh: "解冻账户 " + account + "，恢复付款"}
}

// resumeDispatch is bound to one pause, that which the two people looked at.
func resumeDispatch(gate *recon.Gate) access.Kind {
	pausedAt := func(act *access.Action) (time.Time, error) {
		at, err := time.Parse(time.RFC3339Nano, act.Parameters["paused_at"])
		if err != nil {
			return at, fault.New(fault.MalformedRequest, "paused_at is the one of GET /v1/dispatch").WithParam("/parameters/paused_at").WithCause(err)
		}
		return at, nil
	}
	return access.Kind{
		Name: "resume_dispatch", Members: []access.Member{{Name: "paused_at"}},
		Check: func(_ context.Context, act *access.Action) error {
			_, err := pausedAt(act)
			return err
		},
		Describe: func(act *access.Action) fault.Text {
			at := act.Parameters["paused_at"]
			return fault.Text{
				En: "Let payouts go again that have waited since " + at + ", and accept the gaps that are left",
				Zh: "恢复自 " + at + " 起暂停的付款，并接受剩余缺口",
			}
		},
		Apply: func(ctx context.Context, tx pgx.Tx, act *access.Action) (string, error) {
			at, err := pausedAt(act)
			if err != nil {
				return "", err
			}
			return "", gate.ResumeWithin(ctx, tx, at, "operator "+act.Maker, act.Reason)
		},
	}
}
