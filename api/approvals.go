package api

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/intake"
)

// NewApproval is the body of POST /v1/approvals.
type NewApproval struct {
	Kind       string            `json:"kind" doc:"What shall be done; GET /v1/approvals/kinds lists the kinds" example:"set_floor"`
	Parameters map[string]string `json:"parameters" doc:"All texts; amounts in smallest units"`
	Reason     string            `json:"reason" doc:"Why; kept and shown to who decides" maxLength:"500"`
	ExpiresAt  *time.Time        `json:"expires_at,omitempty" doc:"30 minutes from now when left out; 24 hours at most"`
}

// Judgement is the body of approve, reject and execute.
type Judgement struct {
	Hash      string `json:"hash" doc:"Of the action as you saw it, 64 hexadecimal digits"`
	Signature string `json:"signature,omitempty" doc:"approve with a signing key: ed25519, base64url, over the lines moneta-approve/1, id, hash"`
	Code      string `json:"code,omitempty" doc:"approve in a session: a fresh code"`
	Assertion string `json:"assertion,omitempty" doc:"approve with a passkey: the authenticator's answer as JSON; its challenge is the SHA-256 of the lines that a key signs"`
	Note      string `json:"note,omitempty" maxLength:"500"`
}

// Approval is an action and what became of it.
type Approval struct {
	Object     string            `json:"object" enum:"approval"`
	ID         string            `json:"id"`
	Tenant     int32             `json:"tenant"`
	Kind       string            `json:"kind"`
	Parameters map[string]string `json:"parameters"`
	Reason     string            `json:"reason"`
	Maker      string            `json:"maker"`
	Service    bool              `json:"service,omitempty" doc:"A machine proposed it: two people agree, the endorser first and the checker after that"`
	Endorser   string            `json:"endorser,omitempty" doc:"The first of the two who agree with a machine; it stays proposed until the second has"`
	EndorsedAt *time.Time        `json:"endorsed_at,omitempty"`
	ExpiresAt  time.Time         `json:"expires_at"`
	Hash       string            `json:"hash" doc:"SHA-256 of the action's canonical JSON; docs/operators.md"`
	Words      Words             `json:"words" doc:"What will happen, in plain words"`
	State      string            `json:"state" enum:"proposed,approved,used,rejected,expired,withdrawn"`
	MadeAt     time.Time         `json:"made_at"`
	Checker    string            `json:"checker,omitempty"`
	CheckedAt  *time.Time        `json:"checked_at,omitempty"`
	Note       string            `json:"note,omitempty"`
	UsedBy     string            `json:"used_by,omitempty"`
	UsedAt     *time.Time        `json:"used_at,omitempty"`
	Outcome    string            `json:"outcome,omitempty" enum:"done,refused" doc:"Empty while a used one is being carried out"`
	Result     string            `json:"result,omitempty"`
	FinishedAt *time.Time        `json:"finished_at,omitempty"`
}

// Words is a text in both languages.
type Words struct {
	En string `json:"en"`
	Zh string `json:"zh"`
}

func showApproval(v *access.Approval) Approval {
	return Approval{
		Object: "approval", ID: v.ID.String(), Tenant: v.Tenant, Kind: v.Kind, Parameters: v.Parameters, Reason: v.Reason, Maker: v.Maker,
		Service: v.Service, Endorser: v.Endorser, EndorsedAt: moment(v.EndorsedAt),
		ExpiresAt: v.ExpiresAt, Hash: access.HashText(v.Hash), Words: Words(v.Words), State: string(v.State), MadeAt: v.MadeAt,
		Checker: v.Checker, CheckedAt: moment(v.CheckedAt), Note: v.Note, UsedBy: v.UsedBy, UsedAt: moment(v.UsedAt),
		Outcome: v.Outcome, Result: v.Result, FinishedAt: moment(v.FinishedAt),
	}
}

// ApprovalKind is one sort of action that two people can agree on.
type ApprovalKind struct {
	Object     string   `json:"object" enum:"approval_kind"`
	Name       string   `json:"name"`
	Role       string   `json:"role" doc:"Who may propose it"`
	Parameters []string `json:"parameters"`
	Optional   []string `json:"optional"`
}

// approvals is the desk of this node.
func (c *call) approvals() (*access.Approvals, error) {
	if c.s.Approvals == nil {
		return nil, fault.New(fault.NotFound, "this node keeps no approvals")
	}
	return c.s.Approvals, nil
}

func (c *call) listKinds() error {
	desk, err := c.approvals()
	if err != nil {
		return err
	}
	out := ListOf[ApprovalKind]{Object: "list", Data: []ApprovalKind{}}
	for _, k := range desk.Kinds() {
		if k.Service || k.Installation && !c.who.May(access.Installation) {
			continue
		}
		shown := ApprovalKind{Object: "approval_kind", Name: k.Name, Role: string(k.Least), Parameters: []string{}, Optional: []string{}}
		for _, m := range k.Members {
			if m.Optional {
				shown.Optional = append(shown.Optional, m.Name)
			} else {
				shown.Parameters = append(shown.Parameters, m.Name)
			}
		}
		out.Data = append(out.Data, shown)
	}
	return c.reply(http.StatusOK, &out)
}

// ApprovalPreview is what an action would do as things are now.
type ApprovalPreview struct {
	Object    string     `json:"object" enum:"approval_preview"`
	Words     Words      `json:"words"`
	Movements []Movement `json:"movements" doc:"What it would post at once; empty when it moves no money, or when only the deed can tell"`
}

// Movement is one posting: amount leaves debit and reaches credit.
type Movement struct {
	Debit  MovementSide `json:"debit"`
	Credit MovementSide `json:"credit"`
	Amount string       `json:"amount" doc:"Smallest units"`
	Asset  string       `json:"asset"`
}

// MovementSide is one end of a posting.
type MovementSide struct {
	Role    string `json:"role" doc:"As the books name it: from:av, from:held, to:av, susp:in, comp:exp, …"`
	Account string `json:"account,omitempty"`
}

// proposal reads what somebody proposes.
func (c *call) proposal() (*access.Approvals, access.Proposal, error) {
	var p access.Proposal
	desk, err := c.approvals()
	if err != nil {
		return nil, p, err
	}
	body, err := c.body(bodyMax)
	if err != nil {
		return nil, p, err
	}
	err = decodeObject(body, func(d *decoder, member []byte) error {
		switch string(member) {
		case "kind":
			return d.text("/kind", &p.Kind)
		case "parameters":
			return d.texts("/parameters", (*map[string]string)(&p.Parameters))
		case "reason":
			return d.text("/reason", &p.Reason)
		case "expires_at":
			return d.instant("/expires_at", &p.ExpiresAt)
		}
		return unknownField(member)
	})
	return desk, p, err
}

func (c *call) propose() error {
	desk, p, err := c.proposal()
	if err != nil {
		return err
	}
	if c.r.Header["Idempotency-Key"] != nil {
		raw, err := c.idempotencyKey()
		if err != nil {
			return err
		}
		if p.Key, err = intake.NormaliseKey(raw); err != nil {
			return err
		}
	}
	v, replayed, err := desk.ProposeOnce(c.ctx, &c.who, p)
	if err != nil {
		return err
	}
	out := showApproval(&v)
	c.w.Header()["Location"] = []string{"/v1/approvals/" + out.ID}
	if replayed {
		c.w.Header()["Idempotency-Replayed"] = yes
		return c.reply(http.StatusOK, &out)
	}
	return c.reply(http.StatusCreated, &out)
}

func (c *call) previewApproval() error {
	desk, p, err := c.proposal()
	if err != nil {
		return err
	}
	said, moves, err := desk.Preview(c.ctx, &c.who, p)
	if err != nil {
		return err
	}
	out := ApprovalPreview{Object: "approval_preview", Words: Words(said), Movements: make([]Movement, len(moves))}
	for i, m := range moves {
		out.Movements[i] = Movement{Debit: MovementSide(m.Debit), Credit: MovementSide(m.Credit), Amount: m.Amount, Asset: m.Asset}
	}
	return c.reply(http.StatusOK, &out)
}

func (c *call) listApprovals() error {
	desk, err := c.approvals()
	if err != nil {
		return err
	}
	q := c.r.URL.Query()
	n, err := limit(q, access.ApprovalsMax)
	if err != nil {
		return err
	}
	state := access.State(q.Get("state"))
	if state != "" && !slices.Contains(access.States(), state) {
		return malformed("there is no such state").WithParam("state")
	}
	var after access.ApprovalID
	if s := q.Get("after"); s != "" {
		if after, err = access.ParseApprovalID(s); err != nil {
			return malformed("the cursor is the id of an approval").WithParam("after")
		}
	}
	about, err := approvalsAbout(q)
	if err != nil {
		return err
	}
	found, more, err := desk.List(c.ctx, c.who.Tenant, state, about, after, n)
	if err != nil {
		return err
	}
	out := ListOf[Approval]{Object: "list", Data: make([]Approval, len(found)), HasMore: more}
	for i := range found {
		out.Data[i] = showApproval(&found[i])
	}
	if more {
		out.Next = out.Data[len(out.Data)-1].ID
		c.linkNext(out.Next)
	}
	return c.reply(http.StatusOK, &out)
}

func approvalsAbout(q url.Values) (about access.About, err error) {
	if s := q.Get("payment"); s != "" {
		id, err := pay.ParseID(s)
		if err != nil {
			return about, malformed("this is not the id of a payment").WithParam("payment")
		}
		about.Payment = id.String()
	}
	if s := q.Get("break"); s != "" {
		if about.Break, err = strconv.ParseInt(s, 10, 64); err != nil || about.Break <= 0 {
			return about, malformed("this is not the id of a difference").WithParam("break")
		}
	}
	if about.Payment != "" && about.Break != 0 {
		return about, malformed("payment or break, not both").WithParam("break")
	}
	return about, nil
}

func (c *call) getApproval() error {
	desk, id, err := c.approval()
	if err != nil {
		return err
	}
	return c.replyApproval(desk.One(c.ctx, c.who.Tenant, id))
}

func (c *call) approval() (*access.Approvals, access.ApprovalID, error) {
	desk, err := c.approvals()
	if err != nil {
		return nil, access.ApprovalID{}, err
	}
	id, err := access.ParseApprovalID(c.r.PathValue("id"))
	return desk, id, err
}

func (c *call) replyApproval(v access.Approval, err error) error {
	if err != nil {
		return err
	}
	out := showApproval(&v)
	return c.reply(http.StatusOK, &out)
}

// judgement reads the body of who judges or executes.
func (c *call) judgement() (j Judgement, hash [sha256.Size]byte, err error) {
	err = c.texts(map[string]*string{"hash": &j.Hash, "signature": &j.Signature, "code": &j.Code, "assertion": &j.Assertion, "note": &j.Note})
	if err != nil {
		return j, hash, err
	}
	hash, err = access.ParseHash(j.Hash)
	return j, hash, err
}

func (c *call) approve() error {
	desk, id, err := c.approval()
	if err != nil {
		return err
	}
	j, hash, err := c.judgement()
	if err != nil {
		return err
	}
	signature, err := base64.RawURLEncoding.Strict().DecodeString(j.Signature)
	if err != nil {
		return malformed("the signature is not base64url").WithParam("/signature")
	}
	// The code is used up last, when only it is missing.
	if v, err := desk.One(c.ctx, c.who.Tenant, id); err != nil {
		return err
	} else if v.Maker == c.who.Operator || v.Endorser == c.who.Operator {
		return fault.New(fault.ApprovalOwn, "you proposed this, or have agreed already; somebody else decides").WithResource(id.String())
	}
	if j.Assertion != "" {
		return c.replyApproval(desk.ApproveByPasskey(c.ctx, &c.who, id, hash, j.Assertion, j.Note))
	}
	if c.who.Method == access.TOTP {
		if err := c.present(j.Code); err != nil {
			return err
		}
	}
	return c.replyApproval(desk.Approve(c.ctx, &c.who, id, hash, signature, j.Note))
}

func (c *call) reject() error {
	desk, id, err := c.approval()
	if err != nil {
		return err
	}
	j, hash, err := c.judgement()
	if err != nil {
		return err
	}
	return c.replyApproval(desk.Reject(c.ctx, &c.who, id, hash, j.Note))
}

func (c *call) withdraw() error {
	desk, id, err := c.approval()
	if err != nil {
		return err
	}
	return c.replyApproval(desk.Withdraw(c.ctx, &c.who, id))
}

func (c *call) execute() error {
	desk, id, err := c.approval()
	if err != nil {
		return err
	}
	_, hash, err := c.judgement()
	if err != nil {
		return err
	}
	return c.replyApproval(desk.Execute(c.ctx, &c.who, id, hash))
}

func approvalRoutes() []*route {
	id := pathID("id", "apr_…")
	one := map[int]reflect.Type{200: of[Approval]()}
	judged := with(bodyFaults, fault.NotFound, fault.ApprovalChanged, fault.ApprovalClosed)
	return []*route{
		{
			method: http.MethodPost, path: "/v1/approvals", id: "propose", tag: "people", summary: "Propose an action",
			about: "Nothing happens until another person approves it and somebody executes it. Every byte of it is bound by its hash.",
			role:  access.Operate, params: []*huma.Param{param("header", "Idempotency-Key", "Name the intention, and send it again after a lost answer: the same key "+
				"of the same person is the same proposal.", false, text())},
			body: of[NewApproval](), answers: map[int]reflect.Type{200: of[Approval](), 201: of[Approval]()},
			faults: with(bodyFaults, fault.NotFound, fault.IdempotencyKeyInvalid, fault.IdempotencyKeyReused), do: (*call).propose,
		},
		{
			method: http.MethodPost, path: "/v1/approvals/preview", id: "preview-approval", tag: "people", summary: "See what an action would do",
			about: "In words and in postings, as things are now; nothing is kept. Refused as the proposal would be, and when it would be refused if it were carried " +
				"out now. What it shows is no promise: balances and freezes are judged when it is carried out.",
			role: access.Operate, body: of[NewApproval](), answers: map[int]reflect.Type{200: of[ApprovalPreview]()},
			faults: with(bodyFaults, append(slices.Clone(ledgerFaults), fault.NotFound)...), do: (*call).previewApproval,
		},
		{
			method: http.MethodGet, path: "/v1/approvals", id: "list-approvals", tag: "people", summary: "List approvals", about: "Newest first.",
			scope: access.Admin, params: append(paging("100"), query("state", "Only this state.", words("proposed", "approved", "used", "rejected", "expired", "withdrawn")),
				query("payment", "Only those about this payment.", text()),
				query("break", "Only those that close this difference, or name it as what they are linked to.", text())),
			answers: map[int]reflect.Type{200: of[ListOf[Approval]]()}, faults: []fault.Code{fault.UnknownField, fault.NotFound}, do: (*call).listApprovals,
		},
		{
			method: http.MethodGet, path: "/v1/approvals/kinds", id: "list-approval-kinds", tag: "people", summary: "What can be proposed",
			scope: access.Admin, answers: map[int]reflect.Type{200: of[ListOf[ApprovalKind]]()}, faults: []fault.Code{fault.NotFound}, do: (*call).listKinds,
		},
		{
			method: http.MethodGet, path: "/v1/approvals/{id}", id: "get-approval", tag: "people", summary: "Look at an approval", scope: access.Admin,
			params: []*huma.Param{id}, answers: one, faults: []fault.Code{fault.NotFound, fault.ApprovalChanged}, do: (*call).getApproval,
		},
		{
			method: http.MethodPost, path: "/v1/approvals/{id}/approve", id: "approve", tag: "people", summary: "Approve what somebody else proposed",
			role: access.Approver, params: []*huma.Param{id}, body: of[Judgement](), answers: one,
			faults: with(judged, fault.ApprovalOwn, fault.SignatureInvalid, fault.RateLimited), do: (*call).approve,
		},
		{
			method: http.MethodPost, path: "/v1/approvals/{id}/reject", id: "reject", tag: "people", summary: "Reject what somebody else proposed", about: "Final.",
			role: access.Approver, params: []*huma.Param{id}, body: of[Judgement](), answers: one, faults: with(judged, fault.ApprovalOwn), do: (*call).reject,
		},
		{
			method: http.MethodPost, path: "/v1/approvals/{id}/withdraw", id: "withdraw", tag: "people", summary: "Take a proposal back",
			about: "Its maker may, and an admin, until it is used.", role: access.Operate, params: []*huma.Param{id}, answers: one,
			faults: []fault.Code{fault.NotFound, fault.ApprovalClosed}, do: (*call).withdraw,
		},
		{
			method: http.MethodPost, path: "/v1/approvals/{id}/execute", id: "execute", tag: "people", summary: "Carry out what was approved",
			about: "Once, and exactly what was approved. outcome tells what came of it. After a lost answer, or a 503, look at the approval: " +
				"what was begun is finished, on another node if need be, and never done twice.",
			role: access.Operate, params: []*huma.Param{id}, body: of[Judgement](), answers: one, faults: with(judged, ledgerFaults...), do: (*call).execute,
		},
	}
}
