package api

import (
	"errors"
	"net/http"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/intake"
)

// ReviewVerdict is the body of POST /v1/payments/{id}/review.
type ReviewVerdict struct {
	Verdict string `json:"verdict" enum:"pass,refuse" doc:"pass lets the payout go on; refuse cancels it and gives the money back"`
	Reason  string `json:"reason" doc:"Why; it stands in the payment's log" maxLength:"200"`
}

// Resolution is the body of POST /v1/payments/{id}/resolve.
type Resolution struct {
	Outcome  string `json:"outcome" enum:"executed,absent" doc:"What the evidence proves"`
	Evidence string `json:"evidence" doc:"What was seen, and where: a letter of the bank, its statement, a call with a name" maxLength:"200"`
	// What the evidence says of the attempt; needed where channels contradict themselves.
	Reference string `json:"reference,omitempty" doc:"For a payment in in_review because its channels contradict themselves: the reference of the attempt that has executed; the payment's last attempt if left out" maxLength:"35"`
	Channel   string `json:"channel,omitempty" doc:"The channel whose statement or books show it" maxLength:"64"`
	ChannelID string `json:"channel_id,omitempty" doc:"The channel's own id of it" maxLength:"140"`
	Amount    string `json:"amount,omitempty" doc:"What was executed, in smallest units" pattern:"^[1-9][0-9]*$" example:"70000"`
	AsOf      string `json:"as_of,omitempty" format:"date-time" doc:"When it was seen; now if left out. Absence counts only from after the last order can have left"`
}

// WriteOff is the body of POST /v1/payments/{id}/write-off.
type WriteOff struct {
	Reason string `json:"reason" doc:"Why the rest is not to be had" maxLength:"200"`
}

// NewAssignment is the body of POST /v1/payments/{id}/assign.
type NewAssignment struct {
	To     string `json:"to" doc:"The account of its owner" example:"acct_0000000000002"`
	Amount string `json:"amount" doc:"Smallest units, at most what remains" pattern:"^[1-9][0-9]*$" example:"70000"`
	Reason string `json:"reason" doc:"How the owner was found" maxLength:"200"`
}

// NewCompensation is the body of POST /v1/compensations.
type NewCompensation struct {
	To     string `json:"to" doc:"The holder's account" example:"acct_0000000000002"`
	Amount string `json:"amount" doc:"Smallest units, above zero" pattern:"^[1-9][0-9]*$" example:"500"`
	Asset  string `json:"asset" example:"CZK"`
	Link   string `json:"link" doc:"What it makes good: the id of a payment, a break as break 12, a case as C-2026-000123 (they must be there), or the name of an incident" maxLength:"140" example:"pay_0000000000001"`
}

// members reads a body of texts, each under its own name.
func (c *call) members(into map[string]*string) error {
	body, err := c.body(bodyMax)
	if err != nil {
		return err
	}
	return decodeObject(body, func(d *decoder, name []byte) error {
		to, ok := into[string(name)]
		if !ok {
			return unknownField(name)
		}
		return d.text("/"+string(name), to)
	})
}

// whyMax bounds what people write about why, in characters.
const whyMax = 200

func reasoned(reason, param string) error {
	if reason == "" || len([]rune(reason)) > whyMax || !utf8.ValidString(reason) || strings.ContainsRune(reason, 0) {
		return malformed("say why, in 1 to 200 characters").WithParam(param)
	}
	return nil
}

// moved answers for a payment that a person has moved on.
func (c *call) moved(res commit.Result, p *pay.Payment, err error) error {
	var why *fault.Error
	if errors.As(err, &why) && why.Param != "" { // it says more than where the payment stands
		return err
	}
	if errors.Is(err, fault.IllegalTransition) || errors.Is(err, fault.AlreadyFinal) {
		c.refresh(p)
		return fault.New(fault.CodeOf(err), "the payment is "+p.State.String()).WithResource(p.ID.String())
	}
	if err != nil {
		return err
	}
	if res.NoOp {
		c.w.Header()["Idempotency-Replayed"] = yes
	}
	out := showPayment(&res.Payment)
	return c.reply(http.StatusOK, &out)
}

func (c *call) confirmPayment() error {
	p, err := c.payment()
	if err != nil {
		return err
	}
	res, err := c.s.Intake.Confirm(c.ctx, p.ID)
	return c.moved(res, &p, err)
}

func (c *call) reviewPayment() error {
	var verdict, reason string
	if err := c.members(map[string]*string{"verdict": &verdict, "reason": &reason}); err != nil {
		return err
	}
	if verdict != "pass" && verdict != "refuse" {
		return malformed("verdict is pass or refuse").WithParam("/verdict")
	}
	if err := reasoned(reason, "/reason"); err != nil {
		return err
	}
	p, err := c.payment()
	if err != nil {
		return err
	}
	res, err := c.s.Intake.Review(c.ctx, p.ID, verdict == "pass", c.who.Name(), reason)
	return c.moved(res, &p, err)
}

func (c *call) resolvePayment() error {
	var outcome, evidence, said string
	var e intake.Evidence
	if err := c.members(map[string]*string{
		"outcome": &outcome, "evidence": &evidence, "as_of": &said,
		"reference": &e.Reference, "channel": &e.Channel, "channel_id": &e.ChannelID, "amount": &e.Amount,
	}); err != nil {
		return err
	}
	asOf := c.s.Clock.Now()
	if said != "" {
		at, err := time.Parse(time.RFC3339, said)
		if err != nil {
			return malformed("as_of is when the evidence was seen, as RFC 3339 has it").WithParam("/as_of")
		}
		if at.Before(asOf) { // nobody has seen what is to come
			asOf = at
		}
	}
	if outcome != "executed" && outcome != "absent" {
		return malformed("outcome is executed or absent").WithParam("/outcome")
	}
	if err := reasoned(evidence, "/evidence"); err != nil {
		return err
	}
	p, err := c.payment()
	if err != nil {
		return err
	}
	if err := c.alone(c.who.Tenant, "resolve_unknown"); err != nil {
		return err
	}
	e.Tenant, e.Payment, e.Attempt, e.Executed, e.AsOf, e.Approval = p.Tenant, p.ID, p.Attempt.N, outcome == "executed", asOf, c.who.Name()+": "+evidence
	if _, n, err := pay.ParseReference(e.Reference); err == nil {
		e.Attempt = n
	}
	res, err := c.s.Intake.Resolve(c.ctx, &e)
	return c.moved(res, &p, err)
}

func (c *call) writeOff() error {
	var reason string
	if err := c.members(map[string]*string{"reason": &reason}); err != nil {
		return err
	}
	if err := reasoned(reason, "/reason"); err != nil {
		return err
	}
	p, err := c.payment()
	if err != nil {
		return err
	}
	if err := c.alone(c.who.Tenant, "write_off"); err != nil {
		return err
	}
	res, err := c.s.Intake.WriteOff(c.ctx, p.Tenant, p.ID, c.who.Name()+": "+reason)
	return c.moved(res, &p, err)
}

func (c *call) assignPayment() error {
	r := intake.AssignRequest{By: c.who.Name(), TraceID: c.trace}
	var err error
	if r.Key, err = c.idempotencyKey(); err != nil {
		return err
	}
	if err := c.members(map[string]*string{"to": &r.To, "amount": &r.Amount, "reason": &r.Reason}); err != nil {
		return err
	}
	if err := reasoned(r.Reason, "/reason"); err != nil {
		return err
	}
	if r.Inbound, err = c.payment(); err != nil {
		return err
	}
	if err := c.alone(c.who.Tenant, "assign_inbound"); err != nil {
		return err
	}
	res, err := c.s.Intake.Assign(c.ctx, &r)
	if err != nil {
		return err
	}
	return c.replyPayment(&res.Payment, res.Replayed)
}

func (c *call) compensate() error {
	r := intake.CompensationRequest{Tenant: pay.TenantID(c.who.Tenant)}
	key, err := c.idempotencyKey()
	if err != nil {
		return err
	}
	var to, asset string
	if err := c.members(map[string]*string{"to": &to, "amount": &r.Amount, "asset": &asset, "link": &r.Link}); err != nil {
		return err
	}
	if err := c.alone(c.who.Tenant, "compensate"); err != nil {
		return err
	}
	if c.s.Approvals != nil { // what two people may still carry out, or have
		if err := c.s.Approvals.Promised(c.ctx, c.who.Tenant, "compensate", access.Parameters{"link": r.Link}); err != nil {
			return err
		}
	}
	res, err := c.s.Intake.CompensateOnce(c.ctx, key, to, asset, r)
	if err != nil {
		return err
	}
	return c.replyPayment(&res.Payment, res.Replayed)
}

// resolveRoutes are what people do about payments.
func resolveRoutes() []*route {
	id := pathID("id", "pay_…")
	bodies := []fault.Code{fault.UnknownField, fault.BodyTooLarge, fault.UnsupportedMediaType, fault.NotFound, fault.IllegalTransition, fault.AlreadyFinal}
	moved := func(more ...fault.Code) []fault.Code { return with(append(more, bodies...), ledgerFaults...) }
	one := map[int]reflect.Type{200: of[Payment]()}
	made := map[int]reflect.Type{201: of[Payment](), 200: of[Payment]()}
	return []*route{
		{
			method: http.MethodPost, path: "/v1/payments/{id}/confirm", id: "confirm-payment", tag: "payments", summary: "Confirm a payment",
			about: "For a payout in requires_action: its holder has confirmed. The money is held now, and the payout goes on; without the money it goes on " +
				"waiting. It expires fifteen minutes after it began to wait. It needs no key: a second confirmation changes nothing.",
			scope: access.PaymentsWrite, params: []*huma.Param{id}, answers: one,
			faults: with(ledgerFaults, fault.NotFound, fault.IllegalTransition, fault.AlreadyFinal, fault.InsufficientFunds), do: (*call).confirmPayment,
		},
		{
			method: http.MethodPost, path: "/v1/payments/{id}/review", id: "review-payment", tag: "operator", summary: "End a review",
			about: "For a payout in in_review, whose money is held: it goes on, or it is cancelled and the money goes back. After a day without a verdict it is " +
				"cancelled by itself.",
			scope: access.Admin, role: access.Operate, params: []*huma.Param{id}, body: of[ReviewVerdict](), answers: one, faults: moved(), do: (*call).reviewPayment,
		},
		{
			method: http.MethodPost, path: "/v1/payments/{id}/resolve", id: "resolve-payment", tag: "operator", summary: "Resolve what the channel leaves open",
			about: "For an attempt whose outcome is unknown and of which the channel says nothing, on evidence that a person has seen. If the channel proves the contrary later, " +
				"that is a late outcome. A payment in in_review because its channels contradict themselves succeeds by the attempt that the " +
				"evidence names by reference, channel and amount, if that channel has said that it executed it. With two people who may approve, by an approval of the kind resolve_unknown only.",
			scope: access.Admin, params: []*huma.Param{id}, body: of[Resolution](), answers: one, faults: moved(fault.ApprovalRequired), do: (*call).resolvePayment,
		},
		{
			method: http.MethodPost, path: "/v1/payments/{id}/write-off", id: "write-off-payment", tag: "operator", summary: "Write off a debt",
			about: "What is left of a late_payout or a chargeback that its holder's balance does not cover becomes our loss. With two people who may approve, " +
				"by an approval of the kind write_off only.",
			scope: access.Admin, params: []*huma.Param{id}, body: of[WriteOff](), answers: one, faults: moved(fault.ApprovalRequired), do: (*call).writeOff,
		},
		{
			method: http.MethodPost, path: "/v1/payments/{id}/assign", id: "assign-payment", tag: "operator", summary: "Give money without an owner to an account",
			about: "For an inbound, in parts or whole; what is left can also be sent back, as a refund with its payee. With two people who may approve, by an " +
				"approval of the kind assign_inbound only.",
			scope: access.Admin, params: []*huma.Param{id, keyHeader()}, body: of[NewAssignment](), answers: made,
			faults: with(payFaults, fault.ApprovalRequired), do: (*call).assignPayment,
		},
		{
			method: http.MethodPost, path: "/v1/compensations", id: "compensate", tag: "operator", summary: "Make good a fault of ours",
			about: "Credits the holder at our expense, final at once. It names the payment, the break or the incident that it makes good. With two people who may " +
				"approve, by an approval of the kind compensate only.",
			scope: access.Admin, params: []*huma.Param{keyHeader()}, body: of[NewCompensation](), answers: made,
			faults: with(payFaults, fault.ApprovalRequired), do: (*call).compensate,
		},
	}
}
