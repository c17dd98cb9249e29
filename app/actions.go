package app

import (
	"context"
	"fmt"
	"strconv"
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
	"github.com/moneta-pay/moneta/pay/settle"
)

// registerActions tells the approvals what two people can agree on besides people
// and keys. What changes an account is a Fact whose key is the approval's id.
func registerActions(desk *access.Approvals, in *intake.Intake, accounts *ledger.Reader, gate *recon.Gate, breaks *recon.Recon, inbox *settle.Inbox) {
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
	desk.Register(compensate(in, desk))
	desk.Register(resolveUnknown(in))
	desk.Register(writeOff(in))
	if gate != nil {
		desk.Register(resumeDispatch(gate))
	}
	if breaks != nil {
		desk.Register(closeBreak(breaks))
		desk.Register(compensateBreak(in, breaks, desk))
	}
	if inbox != nil {
		desk.Register(giveUpCallback(inbox))
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
		Name: "resume_dispatch", Installation: true, Members: []access.Member{{Name: "paused_at"}},
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

func paymentOf(act *access.Action) (pay.ID, error) {
	id, err := pay.ParseID(act.Parameters["payment"])
	if err != nil {
		return 0, fault.New(fault.MalformedRequest, "this is not the id of a payment").WithParam("/parameters/payment").WithCause(err)
	}
	return id, nil
}

func paymentResult(res *commit.Result, err error) (string, error) {
	if err != nil {
		return "", err
	}
	return res.Payment.ID.String() + " " + res.Payment.State.String(), nil
}

// compensate is transition 21: our expense to the holder's account.
func compensate(in *intake.Intake, desk *access.Approvals) access.Kind {
	read := func(act *access.Action) (*intake.CompensationRequest, error) {
		to, err := accountOf(act)
		if err != nil {
			return nil, err
		}
		r := &intake.CompensationRequest{
			Tenant: pay.TenantID(act.Tenant), To: pay.AccountID(to), Asset: money.Asset(act.Parameters["asset"]), Amount: act.Parameters["amount"],
			Link: act.Parameters["link"], Key: pay.Key(act.ID),
		}
		if act.Parameters["payment"] != "" {
			r.Original, err = paymentOf(act)
		} else if of, no := pay.ParseID(r.Link); no == nil { // named by its link alone it is about that payment, too
			r.Original = of
		}
		return r, err
	}
	return access.Kind{
		Name: "compensate", Members: []access.Member{{Name: "account"}, {Name: "asset"}, {Name: "amount"}, {Name: "link"}, {Name: "payment", Optional: true}},
		Check: func(ctx context.Context, act *access.Action) error {
			r, err := read(act)
			if err == nil {
				err = in.CheckCompensation(ctx, r)
			}
			if err != nil {
				return err
			}
			return desk.Promised(ctx, act.Tenant, act.Kind, act.Parameters)
		},
		Describe: func(act *access.Action) fault.Text {
			p := act.Parameters
			amount := p["amount"]
			if a, err := money.ParseMinor(amount); err == nil {
				amount = money.Format(a, money.Asset(p["asset"]))
			}
			return fault.Text{
				En: fmt.Sprintf("Pay %s %s of our own money to the account %s, to make up for %s", amount, p["asset"], p["account"], p["link"]),
				Zh: fmt.Sprintf("以自有资金向账户 %[3]s 支付 %[1]s %[2]s，补偿 %[4]s", amount, p["asset"], p["account"], p["link"]),
			}
		},
		Moves: func(ctx context.Context, act *access.Action) ([]access.Movement, error) {
			r, err := read(act)
			if err != nil {
				return nil, err
			}
			return movements(in.PlanCompensation(ctx, r))
		},
		Perform: func(ctx context.Context, act *access.Action, key [16]byte) (string, error) {
			r, err := read(act)
			if err != nil {
				return "", err
			}
			r.Key = key
			res, err := in.Compensate(ctx, r)
			return paymentResult(&res, err)
		},
	}
}

// resolveUnknown is the last of the proofs of what became of an attempt: an
// operator's evidence and a second person.
func resolveUnknown(in *intake.Intake) access.Kind {
	read := func(act *access.Action) (*intake.Evidence, error) {
		id, err := paymentOf(act)
		if err != nil {
			return nil, err
		}
		e := &intake.Evidence{Tenant: pay.TenantID(act.Tenant), Payment: id, Approval: act.ID.String()}
		n, err := strconv.ParseInt(act.Parameters["attempt"], 10, 16)
		if err != nil {
			return nil, fault.New(fault.MalformedRequest, "attempt is a number").WithParam("/parameters/attempt").WithCause(err)
		}
		e.Attempt = int16(n)
		e.Reference, e.Channel, e.ChannelID, e.Amount = act.Parameters["reference"], act.Parameters["channel"], act.Parameters["channel_id"], act.Parameters["amount"]
		switch outcome := act.Parameters["outcome"]; outcome {
		case "executed", "absent":
			e.Executed = outcome == "executed"
		default:
			return nil, fault.New(fault.MalformedRequest, "an outcome is executed or absent").WithParam("/parameters/outcome")
		}
		if _, err = access.ParseHash(act.Parameters["evidence_sha256"]); err != nil {
			return nil, fault.New(fault.MalformedRequest, "the SHA-256 of the document, 64 hexadecimal digits").WithParam("/parameters/evidence_sha256")
		}
		e.AsOf = act.MadeAt // it can be no newer than its filing
		if said := act.Parameters["as_of"]; said != "" {
			at, err := time.Parse(time.RFC3339, said)
			if err != nil {
				return nil, fault.New(fault.MalformedRequest, "as_of is when the evidence was taken, as RFC 3339 has it").WithParam("/parameters/as_of").WithCause(err)
			}
			if at.Before(e.AsOf) {
				e.AsOf = at
			}
		}
		return e, nil
	}
	return access.Kind{
		Name: "resolve_unknown", Members: []access.Member{
			{Name: "payment"},
			{Name: "attempt"},
			{Name: "outcome"},
			{Name: "evidence", Max: 2000},
			{Name: "evidence_sha256"},
			{Name: "as_of", Optional: true},
			{Name: "reference", Optional: true},
			{Name: "channel", Optional: true},
			{Name: "channel_id", Optional: true},
			{Name: "amount", Optional: true},
		},
		Check: func(ctx context.Context, act *access.Action) error {
			e, err := read(act)
			if err != nil {
				return err
			}
			return in.CheckEvidence(ctx, e)
		},
		Describe: func(act *access.Action) fault.Text {
			p := act.Parameters
			if p["outcome"] == "executed" && p["reference"] != "" {
				return fault.Text{
					En: fmt.Sprintf("Take it for proven by the books of %s that %s, attempt %s of %s, was executed with %s (smallest units): the payment succeeds by it, and by no other", p["channel"], p["reference"], p["attempt"], p["payment"], p["amount"]),
					Zh: fmt.Sprintf("依 %[1]s 的账簿认定 %[2]s（%[4]s 的第 %[3]s 次尝试）已执行，金额 %[5]s（最小单位）：付款以此次成功，不认其他尝试", p["channel"], p["reference"], p["attempt"], p["payment"], p["amount"]),
				}
			}
			if p["outcome"] == "executed" {
				return fault.Text{
					En: fmt.Sprintf("Take it for proven that attempt %s of %s was executed: the payment succeeds", p["attempt"], p["payment"]),
					Zh: fmt.Sprintf("认定 %[2]s 的第 %[1]s 次尝试已执行：付款成功", p["attempt"], p["payment"]),
				}
			}
			return fault.Text{
				En: fmt.Sprintf("Take it for proven that attempt %s of %s was never executed and never will be: the payment fails, its holder gets the money back", p["attempt"], p["payment"]),
				Zh: fmt.Sprintf("认定 %[2]s 的第 %[1]s 次尝试从未且不会执行：付款失败，资金退回持有人", p["attempt"], p["payment"]),
			}
		},
		Perform: func(ctx context.Context, act *access.Action, _ [16]byte) (string, error) {
			e, err := read(act)
			if err != nil {
				return "", err
			}
			res, err := in.Resolve(ctx, e)
			return paymentResult(&res, err)
		},
	}
}

// writeOff gives a debt up.
func writeOff(in *intake.Intake) access.Kind {
	return access.Kind{
		Name: "write_off", Members: []access.Member{{Name: "payment"}},
		Check: func(ctx context.Context, act *access.Action) error {
			id, err := paymentOf(act)
			if err != nil {
				return err
			}
			return in.CheckWriteOff(ctx, pay.TenantID(act.Tenant), id)
		},
		Describe: func(act *access.Action) fault.Text {
			id := act.Parameters["payment"]
			return fault.Text{En: "Give up what the holder still owes by " + id + ": it becomes our loss", Zh: "核销持有人在 " + id + " 下的剩余欠款，计入我方损失"}
		},
		Perform: func(ctx context.Context, act *access.Action, _ [16]byte) (string, error) {
			id, err := paymentOf(act)
			if err != nil {
				return "", err
			}
			res, err := in.WriteOff(ctx, pay.TenantID(act.Tenant), id, act.ID.String())
			return paymentResult(&res, err)
		},
	}
}
