package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/intake"
	"github.com/moneta-pay/moneta/pay/recon"
)

// compensateBreak pays a holder what an open break owes to him (T21), and closes the break.
// Only the doctor proposes it, from the break itself; two people agree. It is bound to the
// break as it was seen: once something was learnt about it, it is refused.
func compensateBreak(in *intake.Intake, breaks *recon.Recon, desk *access.Approvals) access.Kind {
	read := func(act *access.Action) (int64, *intake.CompensationRequest, error) {
		id, err := strconv.ParseInt(act.Parameters["break"], 10, 64)
		if err != nil || id <= 0 {
			return 0, nil, fault.New(fault.MalformedRequest, "a break's id is a number").WithParam("/parameters/break")
		}
		to, err := accountOf(act)
		if err != nil {
			return id, nil, err
		}
		original, err := paymentOf(act)
		return id, &intake.CompensationRequest{
			Tenant: pay.TenantID(act.Tenant), To: pay.AccountID(to), Asset: money.Asset(act.Parameters["asset"]), Amount: act.Parameters["amount"],
			Link: act.Parameters["link"], Original: original, Key: pay.Key(act.ID),
		}, err
	}
	return access.Kind{
		Name: access.KindCompensateBreak, Service: true,
		Members: []access.Member{
			{Name: "account"},
			{Name: "asset"},
			{Name: "amount"},
			{Name: "link"},
			{Name: "payment"},
			{Name: "break"},
			{Name: "break_sha256"},
			{Name: "evidence", Max: 2000},
		},
		Check: func(ctx context.Context, act *access.Action) error {
			id, r, err := read(act)
			if err == nil {
				_, err = stillOwed(ctx, breaks, id, act)
			}
			if err == nil {
				err = in.CheckCompensation(ctx, r)
			}
			return err
		},
		Describe: func(act *access.Action) fault.Text {
			p, worth := act.Parameters, worthOf(act)
			en, zh, _ := strings.Cut(p["evidence"], evidenceZH)
			return fault.Text{
				En: fmt.Sprintf("Pay %s of our own money to the account %s for the payment %s, and close break %s. %s Make sure that the money has not left: if it has, it is paid twice",
					worth, p["account"], p["payment"], p["break"], en),
				Zh: fmt.Sprintf("以自有资金向账户 %[2]s 支付 %[1]s，补偿支付 %[3]s，并关闭差异 %[4]s。证据：%[5]s 请先确认款项确未付出，否则将重复付款",
					worth, p["account"], p["payment"], p["break"], cmp.Or(zh, en)),
			}
		},
		Moves: func(ctx context.Context, act *access.Action) ([]access.Movement, error) {
			_, r, err := read(act)
			if err != nil {
				return nil, err
			}
			return movements(in.PlanCompensation(ctx, r))
		},
		Perform: func(ctx context.Context, act *access.Action, key [16]byte) (string, error) {
			id, r, err := read(act)
			if err != nil {
				return "", err
			}
			r.Key = key
			paid, err := desk.Carried(ctx, act.ID)
			if err != nil {
				return "", err
			}
			if !paid {
				if err := stillBorneOut(ctx, breaks, id, act); err != nil {
					return "", err
				}
			}
			res, err := in.Compensate(ctx, r)
			if err != nil {
				return "", err
			}
			result, err := paymentResult(&res, nil)
			if err == nil {
				result, err = closePaid(ctx, breaks, id, act, result, res.Payment.ID)
			}
			if err != nil { // paid it is: no error from here on may say otherwise
				return "", fault.New(fault.CommitUnknown, "it is paid by "+res.Payment.ID.String()+", and its break is not closed yet").WithCause(err)
			}
			return result, nil
		},
	}
}

// closePaid closes the break that was paid for. One that somebody else has closed since it
// was looked at last may be paid twice: a break of its own says so.
func closePaid(ctx context.Context, breaks *recon.Recon, id int64, act *access.Action, result string, paid pay.ID) (string, error) {
	who := "approval " + act.ID.String()
	_, err := breaks.Close(ctx, id, recon.Closing{State: recon.Resolved, Code: "posted", Who: who, Why: "made up for by " + paid.String()})
	if !errors.Is(err, fault.AlreadyFinal) {
		return result, err
	}
	b, err := breaks.Break(ctx, id)
	if err != nil || b.ClosedBy == who { // by this approval before a crash
		return result, err
	}
	if err := breaks.PaidAnyway(ctx, &b, paid); err != nil {
		return "", err
	}
	return result + "; but break " + act.Parameters["break"] + " was closed meanwhile by " + b.ClosedBy + ": see the break that says so", nil
}

// askAgainWithin leaves time to post: who carries an approval out has ten seconds.
const askAgainWithin = 5 * time.Second

// stillBorneOut looks at the break once more, and asks its channel: whoever used the approval
// up may have died long ago, and people may have agreed hours after it was proposed. Any
// answer but the one that proves it, and none, is a refusal for good; it may be proposed anew.
func stillBorneOut(ctx context.Context, breaks *recon.Recon, id int64, act *access.Action) error {
	owed, err := stillOwed(ctx, breaks, id, act)
	if err != nil {
		return err
	}
	asking, cancel := context.WithTimeout(ctx, askAgainWithin)
	defer cancel()
	if _, err = breaks.Bears(asking, &owed); err != nil {
		return err
	}
	_, err = stillOwed(ctx, breaks, id, act) // a line, a return or a person may have come while it was asked
	return err
}

// stillOwed refuses, for good, what the break does not owe any more.
func stillOwed(ctx context.Context, breaks *recon.Recon, id int64, act *access.Action) (recon.Owed, error) {
	owed, err := breaks.Owed(ctx, id)
	if err == nil && !sameOwed(&owed, act) {
		err = fault.New(fault.ApprovalChanged, "something was learnt about break "+act.Parameters["break"]+" since this was proposed; look at it again").
			WithResource("break " + act.Parameters["break"])
	}
	return owed, err
}

// sameOwed reports whether the action is what the break owes, and about the break as it is.
func sameOwed(o *recon.Owed, act *access.Action) bool {
	want := owedParameters(o, act.Parameters["evidence"])
	return o.Tenant == act.Tenant && want.Canonical() == act.Parameters.Canonical()
}

func owedParameters(o *recon.Owed, evidence string) access.Parameters {
	id := strconv.FormatInt(o.Break, 10)
	return access.Parameters{
		"account": o.Account, "asset": string(o.Asset), "amount": o.Amount.String(), "link": "break " + id, "payment": o.Payment,
		"break": id, "break_sha256": o.Seen, "evidence": evidence,
	}
}

// At most so many are proposed at once: each is asked for at its channel first, and each
// takes two people. At most so many are shown.
const (
	proposeMost   = 20
	proposalsMost = 200
	// askingWithin bounds the time for all questions: who asks for proposals waits for
	// twenty seconds, and asks again for the rest.
	askingWithin = 10 * time.Second
	// evidenceZH parts the languages of the evidence: people sign both.
	evidenceZH = "\n"
)

// propose proposes what open breaks owe to holders.
func (b backlog) propose(ctx context.Context, o *api.Hasten) (api.BacklogWork, error) {
	return owing{b.p.recon, b.p.approvals}.propose(ctx, o)
}

type owing struct {
	breaks *recon.Recon
	desk   *access.Approvals
}

// propose looks at the breaks from o.After on, the oldest first, and says where to go on when
// its time or its room was up: one that nobody can answer for keeps no other one waiting.
func (w owing) propose(ctx context.Context, o *api.Hasten) (out api.BacklogWork, err error) {
	out.Value = map[string]string{}
	if w.desk == nil || w.breaks == nil {
		return out, fault.New(fault.NotFound, "this node keeps no approvals")
	}
	asking, cancel := context.WithTimeout(ctx, askingWithin)
	defer cancel()
	worth, tried, silent := map[string]money.Amount{}, 0, map[channel.Name]bool{}
	f := recon.BreakFilter{State: recon.Open, Class: recon.Owing, Channel: channel.Name(o.Channel), After: o.After, Oldest: true}
	for more := true; more; {
		var page []recon.Break
		if page, more, err = w.breaks.Breaks(ctx, f); err != nil {
			return out, err
		}
		for i := range page {
			if tried == proposeMost || asking.Err() != nil || len(out.Proposals) == proposalsMost {
				out.Next = strconv.FormatInt(f.After, 10)
				showWorth(&out, worth)
				return out, nil
			}
			f.After = page[i].ID
			if !page[i].Owes() {
				continue
			}
			p, err := w.one(ctx, asking, o, &page[i], silent)
			if err != nil {
				return out, err
			}
			out.Proposals = append(out.Proposals, p)
			if p.Approval == "" || p.New {
				tried++
			}
			if p.New {
				if err := countProposed(&out, worth, &p); err != nil {
					return out, err
				}
			}
		}
	}
	showWorth(&out, worth)
	return out, nil
}

func countProposed(out *api.BacklogWork, worth map[string]money.Amount, p *api.BacklogProposal) error {
	amount, err := money.ParseMinor(p.Amount)
	if err == nil {
		amount, err = worth[p.Asset].Add(amount)
	}
	if err != nil {
		return fault.From(err)
	}
	out.Items++
	worth[p.Asset] = amount
	return nil
}

func showWorth(out *api.BacklogWork, worth map[string]money.Amount) {
	for asset, sum := range worth {
		out.Value[asset] = sum.String()
	}
}

// one proposes what one break owes, unless something stands already or stands against it.
// A channel that is silent is not asked again in the same turn. An error is that of all of them.
func (w owing) one(ctx, asking context.Context, o *api.Hasten, b *recon.Break, silent map[channel.Name]bool) (out api.BacklogProposal, err error) {
	out.Break = strconv.FormatInt(b.ID, 10)
	owed, err := w.breaks.Owed(ctx, b.ID)
	if err != nil {
		return left(ctx, out, err)
	}
	out.Payment, out.Amount, out.Asset = owed.Payment, owed.Amount.String(), string(owed.Asset)
	v, stands, err := w.desk.Standing(ctx, owed.Tenant, b.ID)
	if err != nil {
		return left(ctx, out, err)
	}
	if stands {
		out.Approval, out.State, out.Why = v.ID.String(), string(v.State), v.Parameters["evidence"]
		return out, nil
	}
	if o.Dry {
		out.New, out.Why = true, "its channel is asked first, and must bear it out"
		return out, nil
	}
	if silent[owed.Channel] {
		out.Why = "its channel did not answer a moment ago: it is asked another time"
		return out, nil
	}
	said, err := w.breaks.Bears(asking, &owed)
	if err != nil {
		silent[owed.Channel] = errors.Is(err, recon.ErrSilent)
		return left(ctx, out, err)
	}
	evidence := said.En + evidenceZH + said.Zh
	v, replayed, err := w.desk.ProposeAsService(ctx, owed.Tenant, access.Proposal{
		Kind: access.KindCompensateBreak, Parameters: owedParameters(&owed, evidence), Reason: reasonOf(o.Reason),
	})
	if err != nil {
		return left(ctx, out, err)
	}
	out.Approval, out.State, out.New, out.Why = v.ID.String(), string(v.State), !replayed, evidence
	return out, nil
}

// reasonOf is what people read as the machine's reason: its words are ours, and the caller
// names an incident at most.
func reasonOf(incident string) string {
	const why = "The doctor found that the statement does not show what we called sent"
	if incident == "" {
		return why + "."
	}
	return why + ": " + incident + "."
}

// left says why nothing is proposed about one break; the next is looked at all the same.
// Only when the caller's own time is over is it an error.
func left(ctx context.Context, p api.BacklogProposal, err error) (api.BacklogProposal, error) {
	if ctx.Err() != nil {
		return p, err
	}
	f := fault.From(err)
	p.Why = cmp.Or(f.Detail, string(f.Code))
	return p, nil
}
