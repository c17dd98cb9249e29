package api

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/lever"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/intake"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// The bounds of bodies and lists.
const (
	bodyMax      = 64 << 10
	batchBodyMax = 4 << 20
	batchMax     = 1000
)

// Payee is who gets a payout.
type Payee struct {
	Account string `json:"account" doc:"Account at the payee's bank" maxLength:"140" example:"123456"`
	Name    string `json:"name,omitempty" doc:"Name of the payee" maxLength:"140"`
}

// NewPayment is the body of POST /v1/payments.
type NewPayment struct {
	Kind        string            `json:"kind" enum:"send,payout,deposit,hold,refund" doc:"send moves money between two accounts here at once; payout moves it outside through a channel; deposit announces money from outside, which only the channel's word credits; hold sets money aside for another account here, to be captured, released, or given back when it expires; refund sends a deposit back through its channel, in part or whole"`
	From        string            `json:"from,omitempty" doc:"Paying account (send, payout, hold)" example:"acct_0000000000002"`
	To          string            `json:"to,omitempty" doc:"Receiving account (send, deposit, hold within the ledger)" example:"acct_0000000000004"`
	Channel     string            `json:"channel,omitempty" doc:"Rail (payout, deposit, a hold whose captures leave through it)" example:"bank-ab"`
	Payee       *Payee            `json:"payee,omitempty" doc:"Who gets a payout, or what is captured of a hold through a channel"`
	Original    string            `json:"original,omitempty" doc:"The deposit that a refund gives back; account, channel and asset are the deposit's" example:"pay_0000000000001"`
	Amount      string            `json:"amount" doc:"Whole number of the asset's smallest unit, above zero" pattern:"^[1-9][0-9]*$" example:"70000"`
	Asset       string            `json:"asset,omitempty" doc:"Code of the asset, upper case; a refund's is its original's" example:"CZK"`
	EffectiveAt *time.Time        `json:"effective_at,omitempty" doc:"Value date, RFC 3339; the moment of acceptance when left out"`
	ExpiresAt   *time.Time        `json:"expires_at,omitempty" doc:"When a hold gives back what was not captured (7 days when left out), or a deposit stops waiting for its payer (a day when left out), RFC 3339; at most 31 days from now"`
	Remittance  string            `json:"remittance,omitempty" doc:"Text for the receiver's statement" maxLength:"140"`
	Metadata    map[string]string `json:"metadata,omitempty" doc:"Yours to use: at most 50 keys, 4 kB"`
}

// NewCapture is the body of POST /v1/payments/{id}/capture.
type NewCapture struct {
	Amount string `json:"amount" doc:"Smallest units, above zero, at most what remains of the hold" pattern:"^[1-9][0-9]*$" example:"70000"`
}

// BatchItem is one payment of a batch: a NewPayment and its key.
type BatchItem struct {
	IdempotencyKey string `json:"idempotency_key" doc:"As the header Idempotency-Key of a single payment" maxLength:"255"`
	NewPayment
}

// Batch is the body of POST /v1/payments/batch.
type Batch struct {
	Payments []BatchItem `json:"payments" minItems:"1" maxItems:"1000" doc:"Each stands for itself: one refused payment does not stop the others"`
}

// Payment is a payment as the API shows it.
type Payment struct {
	ID          string          `json:"id" example:"pay_0000000000001"`
	Object      string          `json:"object" enum:"payment"`
	Kind        string          `json:"kind" enum:"send,payout,deposit,hold,capture,refund,late_payout,late_deposit,return,inbound,assignment,chargeback,compensation"`
	State       string          `json:"state" doc:"created, requires_action, in_review, reserved, dispatching, processing, unknown, succeeded, failed, cancelled, expired; more may come"`
	Status      string          `json:"status" enum:"processing,succeeded,failed" doc:"The state in one of three words"`
	Amount      string          `json:"amount" doc:"Smallest units"`
	Asset       string          `json:"asset"`
	Fee         string          `json:"fee" doc:"Smallest units, on top of the amount"`
	From        string          `json:"from,omitempty"`
	To          string          `json:"to,omitempty"`
	Channel     string          `json:"channel,omitempty"`
	Payee       *Payee          `json:"payee,omitempty"`
	Reference   string          `json:"reference,omitempty" doc:"Our reference at the channel: of the last attempt, or what the sender of a deposit quotes"`
	Remittance  string          `json:"remittance,omitempty"`
	Metadata    json.RawMessage `json:"metadata,omitempty"`
	EffectiveAt time.Time       `json:"effective_at"`
	CreatedAt   time.Time       `json:"created_at"`
	FinalAt     *time.Time      `json:"final_at,omitempty" doc:"When it became final; it never changes again"`
	Settlement  string          `json:"settlement" doc:"Between the banks: none, expected, matched"`
	Attempt     int16           `json:"attempt,omitempty" doc:"Number of the last attempt on the channel"`
	Hop         string          `json:"hop,omitempty" doc:"Who has the payment now, while it is open"`
	NextAt      *time.Time      `json:"next_at,omitempty" doc:"When its next automatic step is due"`
	Deadline    *time.Time      `json:"deadline,omitempty" doc:"When it should have left this state"`
	Original    string          `json:"original,omitempty" doc:"The payment that this one is linked to: a capture's hold, a refund's deposit"`
	Link        string          `json:"link,omitempty" doc:"What outside of the ledger it rests on: the channel's id of a return, a chargeback or a statement line; the break or incident compensated"`
	Disposition string          `json:"disposition,omitempty" enum:"refunding,partly_refunded,refunded,partly_returned,returned,charged_back,late_success" doc:"What linked payments made of it after its final state, which never changes; the payments are in the timeline"`
	Refunded    string          `json:"refunded,omitempty" doc:"How much of it linked payments have taken back or are taking back"`
	ExpiresAt   *time.Time      `json:"expires_at,omitempty" doc:"When a hold gives back what was not captured, or a deposit stops waiting"`
	Captured    string          `json:"captured,omitempty" doc:"How much of a hold was captured"`
	Remaining   string          `json:"remaining,omitempty" doc:"How much of a hold can still be captured, of a deposit refunded, of money without an owner assigned, of a debt paid"`
	Reason      string          `json:"reason,omitempty" doc:"Why it is in this state, if somebody said"`
	TraceID     string          `json:"trace_id"`
}

func showPayment(p *pay.Payment) Payment {
	out := Payment{
		ID: p.ID.String(), Object: "payment", Kind: p.Kind.String(), State: p.State.String(), Status: p.State.Status(),
		Amount: p.Amount.String(), Asset: string(p.Asset), Fee: p.Fee.String(), Channel: p.Channel, Remittance: p.Remittance,
		Reference: reference(p), EffectiveAt: p.EffectiveAt.UTC(), CreatedAt: p.CreatedAt.UTC(), Settlement: p.Settlement.String(),
		Attempt: p.Attempt.N, Hop: p.Hop(), Reason: p.Reason, TraceID: hex.EncodeToString(p.TraceID[:]),
	}
	if p.From != 0 {
		out.From = p.From.String()
	}
	if p.To != 0 {
		out.To = p.To.String()
	}
	if p.PayeeAccount != "" {
		out.Payee = &Payee{Account: p.PayeeAccount, Name: p.PayeeName}
	}
	if p.Metadata != "" {
		out.Metadata = json.RawMessage(p.Metadata)
	}
	if p.Original != 0 {
		out.Original = p.Original.String()
	}
	showLinks(&out, p)
	if p.State.Final() {
		out.FinalAt = moment(p.EnteredAt)
	} else {
		out.NextAt, out.Deadline = moment(p.NextAt), moment(p.Deadline)
	}
	return out
}

// showLinks adds what linked payments took, where there is something to tell.
func showLinks(out *Payment, p *pay.Payment) {
	out.Link, out.Disposition, out.ExpiresAt = p.Link, string(p.Disposition()), moment(p.ExpiresAt)
	switch p.Kind {
	case pay.Hold:
		out.Captured, out.Remaining = p.Taken.String(), p.Remaining().String()
	case pay.Inbound, pay.LatePayout, pay.Chargeback:
		out.Remaining = p.Remaining().String()
	case pay.Deposit, pay.LateDeposit:
		if !p.Taken.IsZero() {
			out.Refunded, out.Remaining = p.Taken.String(), p.Remaining().String()
		}
	case pay.Send, pay.Payout, pay.Capture, pay.Refund, pay.Return, pay.Assignment, pay.Compensation:
	}
}

func reference(p *pay.Payment) string {
	if p.Kind == pay.Deposit {
		return pay.Reference(p.ID, 0)
	}
	return p.Attempt.Reference
}

// moment returns nil for the zero time.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// member reads one member of a payment's body into r.
func member(d *decoder, name []byte, r *intake.Request) error {
	switch string(name) {
	case "kind":
		return d.text("/kind", &r.Kind)
	case "from":
		return d.text("/from", &r.From)
	case "to":
		return d.text("/to", &r.To)
	case "channel":
		return d.text("/channel", &r.Channel)
	case "payee":
		return under("/payee", d.object(func(d *decoder, name []byte) error {
			switch string(name) {
			case "account":
				return d.text("/account", &r.PayeeAccount)
			case "name":
				return d.text("/name", &r.PayeeName)
			}
			return unknownField(name)
		}))
	case "original":
		return d.text("/original", &r.Original)
	case "amount":
		return d.text("/amount", &r.Amount)
	case "asset":
		return d.text("/asset", &r.Asset)
	case "effective_at":
		return d.instant("/effective_at", &r.EffectiveAt)
	case "expires_at":
		return d.instant("/expires_at", &r.ExpiresAt)
	case "remittance":
		return d.text("/remittance", &r.Remittance)
	case "metadata":
		return d.texts("/metadata", &r.Metadata)
	}
	return unknownField(name)
}

// request starts a Request with what the call knows.
func (c *call) request() intake.Request {
	return intake.Request{Tenant: pay.TenantID(c.who.Tenant), TraceID: c.trace, House: c.who.May(access.Admin)}
}

func (c *call) pay() error {
	r := c.request()
	var err error
	if r.Key, err = c.idempotencyKey(); err != nil {
		return err
	}
	body, err := c.body(bodyMax)
	if err != nil {
		return err
	}
	if err := decodeObject(body, func(d *decoder, name []byte) error { return member(d, name, &r) }); err != nil {
		return err
	}
	if !c.standingLevers().Empty() {
		if err := c.useNamed([]intake.Request{r}); err != nil {
			return err
		}
	}
	res, err := c.s.Intake.Accept(c.ctx, &r)
	c.s.metrics.accept.Observe(time.Since(c.started).Seconds()) //nolint:forbidigo // a duration for the metric
	if err != nil {
		return err
	}
	c.again = c.s.metrics.edge.ordered(c.started, &res.Payment, res.Replayed)
	c.settle(&res.Payment)
	return c.replyPayment(&res.Payment, res.Replayed)
}

// replyPayment answers 201, or 200 for a payment that the key had made before.
func (c *call) replyPayment(p *pay.Payment, replayed bool) error {
	if replayed && (!p.Taken.IsZero() || p.Late != 0) { // what became of it is told by readers
		c.refresh(p)
	}
	out := showPayment(p)
	h := c.w.Header()
	h["Location"] = []string{"/v1/payments/" + out.ID}
	if replayed {
		h["Idempotency-Replayed"] = yes
		return c.replyPaymentJSON(http.StatusOK, &out)
	}
	return c.replyPaymentJSON(http.StatusCreated, &out)
}

// BatchAnswer is what became of one payment of a batch.
type BatchAnswer struct {
	Status   int      `json:"status" doc:"What a single request would have been answered with: 201, 200 for a replay, or the problem's"`
	Payment  *Payment `json:"payment,omitempty"`
	Replayed bool     `json:"replayed,omitempty"`
	Problem  *Problem `json:"problem,omitempty"`
}

func (c *call) payBatch() error {
	body, err := c.body(batchBodyMax)
	if err != nil {
		return err
	}
	requests, err := c.decodeBatch(body)
	if err != nil {
		return err
	}
	if err := c.use(int64(len(requests)) - 1); err != nil { // the request itself was counted as one
		return err
	}
	if err := c.useNamed(requests); err != nil {
		return err
	}
	answers := make([]BatchAnswer, len(requests))
	shown := make([]Payment, len(requests))
	for i, o := range c.s.Intake.AcceptAll(c.ctx, requests) {
		a := &answers[i]
		if o.Err != nil {
			a.Problem = c.problem(o.Err)
			a.Status = a.Problem.Status
			c.s.metrics.problems.WithLabelValues(a.Problem.Code).Inc()
			c.log(a.Problem, o.Err)
			continue
		}
		c.s.metrics.edge.ordered(c.started, &o.Payment, o.Replayed)
		shown[i] = showPayment(&o.Payment)
		a.Payment, a.Replayed, a.Status = &shown[i], o.Replayed, http.StatusCreated
		if o.Replayed {
			a.Status = http.StatusOK
		}
	}
	return c.replyBatch(answers)
}

// useNamed takes payments off the limits of their channels and of their holders.
func (c *call) useNamed(requests []intake.Request) error {
	if c.standingLevers().Empty() {
		return nil
	}
	counts := make(map[lever.Subject]int64)
	for i := range requests {
		counts[lever.Subject{Channel: requests[i].Channel}]++
		counts[lever.Subject{Account: holder(&requests[i])}]++
	}
	for of, n := range counts {
		if err := c.useOf(&of, n); err != nil {
			return err
		}
	}
	return nil
}

// decodeBatch reads all items or none: a body that cannot be read is refused as a
// whole, so that nothing of it is carried out by half.
func (c *call) decodeBatch(body []byte) ([]intake.Request, error) {
	var requests []intake.Request
	err := decodeObject(body, func(d *decoder, name []byte) error {
		if string(name) != "payments" {
			return unknownField(name)
		}
		return d.array(func(d *decoder, i int) error {
			if i == batchMax {
				return fault.New(fault.BodyTooLarge, fmt.Sprintf("a batch holds at most %d payments", batchMax)).WithParam("/payments")
			}
			requests = append(requests, c.request())
			r := &requests[i]
			err := d.object(func(d *decoder, name []byte) error {
				if string(name) == "idempotency_key" {
					return d.text("/idempotency_key", &r.Key)
				}
				return member(d, name, r)
			})
			if err == nil {
				return nil
			}
			return under("/payments/"+strconv.Itoa(i), err)
		})
	})
	if err == nil && len(requests) == 0 {
		err = malformed("a batch holds at least one payment").WithParam("/payments")
	}
	return requests, err
}

// paymentID reads the path; nonsense names no payment.
func (c *call) paymentID() (pay.ID, error) {
	id, err := pay.ParseID(c.r.PathValue("id"))
	if err != nil {
		return 0, fault.New(fault.NotFound, "this is not the id of a payment")
	}
	return id, nil
}

func (c *call) payment() (pay.Payment, error) {
	id, err := c.paymentID()
	if err != nil {
		return pay.Payment{}, err
	}
	return c.s.Payments.Payment(c.ctx, pay.TenantID(c.who.Tenant), id)
}

func (c *call) getPayment() error {
	p, err := c.payment()
	if err != nil {
		return err
	}
	c.settle(&p)
	out := showPayment(&p)
	return c.replyPaymentJSON(http.StatusOK, &out)
}

func (c *call) cancelPayment() error {
	p, err := c.payment() // it is the tenant's, which the decider does not ask
	if err != nil {
		return err
	}
	return c.cancel(&p, "cancelled by the holder")
}

func (c *call) cancel(p *pay.Payment, reason string) error {
	res, err := c.s.Intake.Cancel(c.ctx, p.ID, reason)
	if errors.Is(err, fault.IllegalTransition) {
		return c.notCancellable(p)
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

// capturePayment takes a part of a hold: a payment of its own, under its own key.
func (c *call) capturePayment() error {
	var r intake.CaptureRequest
	var err error
	if r.Key, err = c.idempotencyKey(); err != nil {
		return err
	}
	body, err := c.body(bodyMax)
	if err != nil {
		return err
	}
	err = decodeObject(body, func(d *decoder, name []byte) error {
		if string(name) != "amount" {
			return unknownField(name)
		}
		return d.text("/amount", &r.Amount)
	})
	if err != nil {
		return err
	}
	if r.Hold, err = c.payment(); err != nil { // it is the tenant's, and never changes its parties
		return err
	}
	if err := c.useOf(&lever.Subject{Channel: r.Hold.Channel}, 1); err != nil {
		return err
	}
	if err := c.useOf(&lever.Subject{Account: r.Hold.From.String()}, 1); err != nil {
		return err
	}
	r.TraceID, r.House = c.trace, c.who.May(access.Admin)
	res, err := c.s.Intake.Capture(c.ctx, &r)
	if err != nil {
		return err
	}
	return c.replyPayment(&res.Payment, res.Replayed)
}

// releasePayment lets go of what a hold still holds.
func (c *call) releasePayment() error {
	p, err := c.payment()
	if err != nil {
		return err
	}
	if p.Kind != pay.Hold {
		return fault.New(fault.IllegalTransition, "a "+p.Kind.String()+" holds nothing that could be released").WithResource(p.ID.String())
	}
	return c.cancel(&p, "released by the holder")
}

// notCancellable says why, by the state of now.
func (c *call) notCancellable(p *pay.Payment) error {
	c.refresh(p)
	code := fault.NotCancellable
	if p.State.Final() {
		code = fault.AlreadyFinal
	}
	return fault.New(code, "the payment is "+p.State.String()).WithResource(p.ID.String())
}

// ListOf is one page of a list.
type ListOf[T any] struct {
	Object  string `json:"object" enum:"list"`
	Data    []T    `json:"data"`
	HasMore bool   `json:"has_more" doc:"True when there is a next page; a page may be short and still have one"`
	Next    string `json:"next,omitempty" doc:"The after of the next page"`
}

func (c *call) listPayments() error {
	q := c.r.URL.Query()
	if q.Has("reference") {
		return c.findByReference(q)
	}
	f, err := c.filter(q)
	if err != nil {
		return err
	}
	tenant := pay.TenantID(c.who.Tenant)
	var l commit.List
	if q.Has("idempotency_key") {
		raw, err := intake.NormaliseKey(q.Get("idempotency_key"))
		if err != nil {
			return fault.New(fault.IdempotencyKeyInvalid, "").WithParam("idempotency_key").WithCause(err)
		}
		l, err = c.s.Payments.ByKey(c.ctx, tenant, intake.NewKey(tenant, 0, raw), f.Before, f.Limit)
		if err != nil {
			return err
		}
	} else if l, err = c.s.Payments.List(c.ctx, tenant, f); err != nil {
		return err
	}
	out := ListOf[Payment]{Object: "list", Data: make([]Payment, len(l.Payments)), HasMore: l.Next != 0}
	for i := range l.Payments {
		out.Data[i] = showPayment(&l.Payments[i])
	}
	if out.HasMore {
		out.Next = l.Next.String()
		c.linkNext(out.Next)
	}
	return c.reply(http.StatusOK, &out)
}

func (c *call) filter(q url.Values) (f commit.Filter, err error) {
	if f.Limit, err = limit(q, commit.ListMax); err != nil {
		return f, err
	}
	if s := q.Get("after"); s != "" {
		if f.Before, err = pay.ParseID(s); err != nil {
			return f, malformed("the cursor is not one that this list gave out").WithParam("after")
		}
	}
	if f.Kind, err = kindOf(q); err != nil {
		return f, err
	}
	if f.States, err = stateFilter(q); err != nil {
		return f, err
	}
	if f.CreatedFrom, f.CreatedTo, err = timeRange(q, "created_from", "created_to"); err != nil {
		return f, err
	}
	if s := q.Get("account"); s != "" {
		id, err := intake.ParseAccount(s)
		if err != nil {
			return f, malformed("this is not the id of an account").WithParam("account")
		}
		f.Account = pay.AccountID(id)
	}
	f.Channel = q.Get("channel")
	return f, nil
}

// limit reads the page's size; more than most is most.
func limit(q url.Values, most int) (int, error) {
	s := q.Get("limit")
	if s == "" {
		return min(most, 20), nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, malformed("a limit is a number from 1").WithParam("limit")
	}
	return min(n, most), nil
}

// linkNext adds the RFC 8288 header of the next page.
func (c *call) linkNext(next string) {
	q := c.r.URL.Query()
	q.Set("after", next)
	c.w.Header().Set("Link", "<"+c.r.URL.EscapedPath()+"?"+q.Encode()+`>; rel="next"`)
}

// Timeline is all that is durable about one payment.
type Timeline struct {
	Object    string            `json:"object" enum:"timeline"`
	Payment   Payment           `json:"payment"`
	Moves     []TimelineMove    `json:"moves" doc:"The payment's transitions in order; each was one transaction"`
	Attempts  []TimelineAttempt `json:"attempts"`
	Callbacks int               `json:"callbacks" doc:"How many moves a callback of the channel caused"`
	Linked    []Payment         `json:"linked" doc:"The payments that name this one as their original, oldest first; each has a timeline of its own"`
}

// TimelineMove is one transition with its postings.
type TimelineMove struct {
	Transition string            `json:"transition" doc:"Row of the state table" example:"T7"`
	From       string            `json:"from"`
	To         string            `json:"to"`
	Settlement string            `json:"settlement"`
	Attempt    int16             `json:"attempt,omitempty"`
	Source     string            `json:"source,omitempty" doc:"Where the word came from"`
	Reason     string            `json:"reason,omitempty"`
	At         time.Time         `json:"at"`
	Durable    []string          `json:"durable" doc:"The rows that were committed together"`
	Postings   []TimelinePosting `json:"postings"`
}

// TimelinePosting is one transfer between two books.
type TimelinePosting struct {
	Transfer      int64  `json:"transfer"`
	Debit         string `json:"debit" doc:"The book that the money left"`
	Credit        string `json:"credit" doc:"The book that it reached"`
	Amount        string `json:"amount"`
	DebitBalance  string `json:"debit_balance" doc:"After it"`
	CreditBalance string `json:"credit_balance" doc:"After it"`
}

// TimelineAttempt is one try on the channel.
type TimelineAttempt struct {
	N          int16      `json:"n"`
	Channel    string     `json:"channel"`
	State      string     `json:"state"`
	Reference  string     `json:"reference"`
	ChannelID  string     `json:"channel_id,omitempty" doc:"The channel's own name for it"`
	IntendedAt time.Time  `json:"intended_at" doc:"Durable before the first byte was sent"`
	SendBy     time.Time  `json:"send_by" doc:"No byte was sent after this"`
	AnsweredAt *time.Time `json:"answered_at,omitempty"`
	Reason     string     `json:"reason,omitempty"`
}

func (c *call) timeline() error {
	id, err := c.paymentID()
	if err != nil {
		return err
	}
	t, err := c.s.Payments.Timeline(c.ctx, pay.TenantID(c.who.Tenant), id)
	if err != nil {
		return err
	}
	out := Timeline{
		Object: "timeline", Payment: showPayment(&t.Payment), Moves: make([]TimelineMove, len(t.Moves)),
		Attempts: make([]TimelineAttempt, len(t.Attempts)), Callbacks: t.Callbacks, Linked: make([]Payment, len(t.Linked)),
	}
	for i := range t.Linked {
		out.Linked[i] = showPayment(&t.Linked[i])
	}
	for i := range t.Moves {
		out.Moves[i] = showMove(&t.Moves[i])
	}
	for i := range t.Attempts {
		a := &t.Attempts[i]
		out.Attempts[i] = TimelineAttempt{
			N: a.N, Channel: a.Channel, State: a.State.String(), Reference: a.Reference, ChannelID: a.ChannelID,
			IntendedAt: a.IntendedAt, SendBy: a.SendBy, AnsweredAt: moment(a.AnsweredAt), Reason: a.Reason,
		}
	}
	return c.reply(http.StatusOK, &out)
}

func showMove(m *commit.Move) TimelineMove {
	out := TimelineMove{
		Transition: "T" + strconv.Itoa(int(m.T)), From: m.From.String(), To: m.To.String(), Settlement: m.Settlement.String(),
		Attempt: m.Attempt, Source: m.Source, Reason: m.Reason, At: m.At, Postings: make([]TimelinePosting, len(m.Postings)),
		Durable: []string{"transition " + strconv.FormatInt(m.ID, 10)},
	}
	for i, b := range m.Postings {
		out.Postings[i] = TimelinePosting{
			Transfer: b.Transfer, Debit: showBook(b.Debit, b.DebitName), Credit: showBook(b.Credit, b.CreditName),
			Amount: b.Amount.String(), DebitBalance: b.DebitBalance.String(), CreditBalance: b.CreditBalance.String(),
		}
		out.Durable = append(out.Durable, "transfer "+strconv.FormatInt(b.Transfer, 10))
	}
	return out
}

// showBook names a book: the system account's name, or the holder's account.
func showBook(b ledger.BookID, name string) string {
	if name != "" {
		return name
	}
	if b.IsHeld() {
		return pay.AccountID(b.Account()).String() + ":held"
	}
	return pay.AccountID(b.Account()).String() + ":available"
}
