// Package status tells the person whose payment it is how it stands: one object
// that every screen and every caller of the API shows alike. It turns a payment
// and what is known around it (its postings, open breaks, the forecast) into the
// public status, where the money is, whether that is proven, when to expect what,
// and the words for it in English and Chinese.
//
// It is pure but for the forecast's window of past durations. It refuses to call
// a payment failed without proof, to promise money back before the proof is there,
// to call money safe that the postings do not explain, to invite anybody to pay
// again while an attempt may still execute, and to give a time that it cannot
// found on the rail's contract or on at least ThinBelow payments.
package status

import (
	"time"

	"github.com/moneta-pay/moneta/lever"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
)

// Where the money of a payment is.
const (
	Available     = "available"
	Held          = "held"
	InTransit     = "in_transit"
	WithRecipient = "with_recipient"
	Returned      = "returned"
	UnderReview   = "under_review"
)

// Delayed is the phase of a payment that takes longer than it should; every other
// phase is the name of the payment's state.
const Delayed = "delayed"

// The public status: three words and no more.
const (
	processing = "processing"
	failed     = "failed"
)

// When a payment counts as delayed. Source: life cycle §6.2.
const (
	waitMax    = 15 * time.Minute // accepted or reserved and not sent
	unknownMax = 10 * time.Minute
	// p95Times the 95th percentile is too long for what the bank has, but nobody is
	// told "delayed" within delayedMin: some rails are done in milliseconds.
	p95Times   = 3
	delayedMin = 10 * time.Second
)

// Status is the object. Every time is absolute, in UTC.
type Status struct {
	Object  string `json:"object" enum:"payment_status"`
	Payment string `json:"payment" example:"pay_0000000000002"`
	Status  string `json:"status" enum:"processing,succeeded,failed" doc:"failed only with proof that the money did not move"`
	Phase   string `json:"phase" doc:"The payment's state, or delayed; more may come"`
	// MoneyAt is empty for money that never was, or may not have been, on its way to us.
	// Disposition is what linked payments made of it afterwards.
	Disposition string `json:"disposition,omitempty" enum:"refunding,partly_refunded,refunded,partly_returned,returned,charged_back,late_success" doc:"What became of it after its final state"`
	MoneyAt     string `json:"money_at,omitempty" enum:"available,held,in_transit,with_recipient,returned,under_review" doc:"Where the money is; left out for a deposit that no bank has announced or that was not carried out"`
	Safe        bool   `json:"safe" doc:"True only when the postings explain the money and no open break touches the payment"`
	ETA         *ETA   `json:"eta,omitempty" doc:"Left out when the payment is final"`
	// LastCheckedAt is when the bank was last asked and brought no news.
	LastCheckedAt *time.Time `json:"last_checked_at,omitempty" doc:"When the bank was last asked"`
	NextUpdateAt  *time.Time `json:"next_update_at,omitempty" doc:"When the next automatic step is due; left out when final"`
	DoNotRetry    bool       `json:"do_not_retry" doc:"True while paying again could pay twice"`
	CanCancel     bool       `json:"can_cancel" doc:"True until the first attempt is sent"`
	AsOf          time.Time  `json:"as_of" doc:"The instant that this describes"`
	Reference     string     `json:"reference" example:"ACJN-ZJTW" doc:"Short name for people, with a check digit; GET /v1/payments?reference= finds the payment"`
	// Case is who is at it: the open case that the holder is told of.
	Case      *OpenCase `json:"case,omitempty" doc:"A person is at it; left out when no case is open"`
	AppealURL string    `json:"appeal_url,omitempty" doc:"POST here to ask for a person; the answer is a case number at once" example:"/v1/payments/pay_0000000000002/appeal"`
	// ReceiptURL is where the proof is.
	ReceiptURL string `json:"receipt_url,omitempty" doc:"GET here what the record says of it, signed, to be verified without asking anybody" example:"/v1/payments/pay_0000000000002/receipt"`
	// Notice is what an operator tells all holders whom it concerns.
	Notice *Notice `json:"notice,omitempty" doc:"What an operator wants the holders of open payments to know; show it as it is"`
	Texts  Texts   `json:"texts" doc:"The same in words"`
}

// Notice is a text of an operator.
type Notice struct {
	Text  string    `json:"text" doc:"In the language asked for" example:"Payments to Bank AB take longer today. Please do not pay again."`
	Since time.Time `json:"since"`
	Until time.Time `json:"until" doc:"It ends by then at the latest"`
}

// ETA is when to expect the end of an open payment.
type ETA struct {
	Basis string     `json:"basis" enum:"history,bound,none" doc:"history: quantiles of payments of this kind on this channel that took at least as long; bound: too few of them, so only the rail's own bound; none: neither is known yet"`
	P50   *time.Time `json:"p50,omitempty" doc:"Half of such payments have ended by then"`
	P90   *time.Time `json:"p90,omitempty" doc:"Nine in ten of such payments have ended by then"`
	// FinalRecordAt is the rail's promise, not ours; it may have passed.
	FinalRecordAt *time.Time `json:"final_record_at,omitempty" doc:"By then the rail promises its final answer; in the past if it broke the promise"`
}

// OpenCase is the open case about a payment, as its holder may know it.
type OpenCase struct {
	Number   string    `json:"number" example:"C-2026-000123"`
	Deadline time.Time `json:"deadline" doc:"By then a person has answered, or somebody above has it"`
}

// Books are what a payment's postings did in sum, in smallest units.
type Books struct {
	// Available and Held are of the holder's account.
	Available, Held money.Amount
	// Recipient is the available book of the other account of a send.
	Recipient money.Amount
}

// Facts are what a payment alone does not tell.
type Facts struct {
	Now time.Time
	// Books must be of the same snapshot as the payment.
	Books Books
	// Breaks counts the open breaks that touch the payment.
	Breaks   int64
	Forecast Forecast
	// Case is nil when none is open.
	Case *OpenCase
	// AppealURL is where to ask for a person; empty when nobody takes appeals.
	AppealURL string
	// ReceiptURL is where its receipt is; empty when none are signed.
	ReceiptURL string
	// Banner is the newest lever of that name that concerns the payment; nil is none.
	Banner *lever.Pull
}

// Of describes p at f.Now in lang, en or zh; anything else is en.
func Of(p *pay.Payment, f Facts, lang string) Status {
	s := Status{
		Object: "payment_status", Payment: p.ID.String(), Status: public(p), Phase: phase(p, f),
		Safe:       f.Breaks == 0 && proven(p) && Explained(p, f.Books),
		DoNotRetry: doNotRetry(p), CanCancel: canCancel(p), AsOf: f.Now.UTC(), Reference: Reference(p.ID),
		LastCheckedAt: moment(p.LastCheckedAt), Disposition: string(p.Disposition()), Case: f.Case, AppealURL: f.AppealURL, ReceiptURL: f.ReceiptURL,
	}
	s.MoneyAt = moneyAt(p)
	if !s.Safe {
		s.MoneyAt, s.DoNotRetry = UnderReview, true
	}
	if p.Open() {
		s.ETA = f.Forecast.eta()
		s.NextUpdateAt = moment(later(p.NextAt, f.Now))
		s.Notice = notice(f.Banner, lang)
	}
	s.Texts = texts(p, &s, f, lang)
	return s
}

func notice(b *lever.Pull, lang string) *Notice {
	if b == nil {
		return nil
	}
	n := &Notice{Text: b.Value, Since: b.At, Until: b.Expires}
	if lang == "zh" {
		n.Text = b.ValueZH
	}
	return n
}

// proven reports whether a failure has its proof: an attempt that may still
// execute is none.
func proven(p *pay.Payment) bool {
	return p.State.Status() != failed || !p.Attempt.State.Live()
}

func public(p *pay.Payment) string {
	if p.Late != 0 { // the state never flips, and nobody is told what is not true
		return pay.Succeeded.Status()
	}
	if !proven(p) {
		return processing
	}
	return p.State.Status()
}

// Recorded is the public word, and where the money is, by p's record alone: what Of says
// of it while nothing contradicts the record.
func Recorded(p *pay.Payment) (word, place string) { return public(p), moneyAt(p) }

func phase(p *pay.Payment, f Facts) string {
	if delayed(p, f) {
		return Delayed
	}
	return p.State.String()
}

func delayed(p *pay.Payment, f Facts) bool {
	inState := f.Now.Sub(p.EnteredAt)
	switch p.State {
	case pay.Created:
		return p.Kind != pay.Deposit && inState > waitMax // a deposit waits for its payer
	case pay.Reserved:
		return p.Kind != pay.Hold && inState > waitMax // a hold waits for its holder
	case pay.Unknown:
		return inState > unknownMax
	case pay.Dispatching, pay.Processing:
		if p.Kind == pay.LatePayout || p.Kind == pay.Chargeback { // its holder owes it
			return false
		}
		if last := f.Forecast.FinalRecordAt; !last.IsZero() && f.Now.After(last) {
			return true
		}
		usual := p95Times * f.Forecast.P95
		return usual > 0 && f.Now.Sub(p.CreatedAt) > max(usual, delayedMin)
	case pay.InReview:
		return p.Kind != pay.Inbound && f.Now.After(p.Deadline)
	case pay.None, pay.Succeeded, pay.Failed, pay.Cancelled, pay.Expired, pay.RequiresAction: // the last waits for its holder
	}
	return false
}

// moneyAt is where the postings of p's state leave the money. Receipts are signed with
// this word: what pay/receipt has pinned must stay, or needs a form of another name.
func moneyAt(p *pay.Payment) string {
	switch p.Disposition() {
	case pay.ReturnedBack:
		return Available
	case pay.Refunded, pay.ChargedBackDone:
		return Returned
	case pay.LateSuccess:
		if p.Kind == pay.Deposit {
			return Available
		}
		return WithRecipient
	case pay.NoDisposition, pay.Refunding, pay.PartlyRefunded, pay.PartlyReturned:
	}
	switch p.Kind {
	case pay.Deposit:
		return depositAt(p)
	case pay.Return, pay.LateDeposit, pay.Compensation, pay.Assignment:
		return Available
	case pay.LatePayout, pay.Chargeback:
		return WithRecipient
	case pay.Inbound:
		if p.Open() {
			return UnderReview
		}
	case pay.Hold:
		if !p.Open() && p.Taken.IsZero() {
			return Available
		}
	case pay.Send, pay.Payout, pay.Capture, pay.Refund:
	}
	switch p.State {
	case pay.Reserved, pay.InReview:
		return Held
	case pay.Dispatching, pay.Processing, pay.Unknown:
		return InTransit
	case pay.Succeeded:
		return WithRecipient
	case pay.Failed:
		return Returned
	case pay.None, pay.Created, pay.Cancelled, pay.Expired, pay.RequiresAction:
	}
	return Available
}

func depositAt(p *pay.Payment) string {
	switch p.State {
	case pay.Processing:
		return InTransit
	case pay.Succeeded:
		return Available
	case pay.None, pay.Created, pay.Reserved, pay.Dispatching, pay.Unknown, pay.Failed, pay.Cancelled, pay.Expired, pay.RequiresAction, pay.InReview:
	}
	return ""
}

// doNotRetry: while it is open it may still be paid, and what has succeeded is.
func doNotRetry(p *pay.Payment) bool {
	return p.Attempt.State.Live() || p.State.Status() != failed || p.Late != 0
}

// canCancel asks the table of legal moves.
func canCancel(p *pay.Payment) bool {
	if !p.Open() || p.Attempt.State.Live() {
		return false
	}
	c, err := pay.Next(*p, pay.Fact{Kind: pay.Cancel, Payment: p.ID})
	return err == nil && c.To == pay.Cancelled
}

// Explained reports whether the postings did to the books exactly what the
// payment's kind and state say.
func Explained(p *pay.Payment, b Books) bool {
	whole, err := p.Amount.Add(p.Fee)
	if err != nil {
		return false
	}
	var want Books
	switch p.Kind {
	case pay.Send:
		if p.State == pay.Succeeded {
			want.Available, want.Recipient = neg(whole), p.Amount
		}
	case pay.Deposit:
		if p.State == pay.Succeeded {
			want.Available = p.Amount
		}
	case pay.Hold: // what was captured left in the captures' own postings
		want.Available, want.Held = neg(p.Taken), p.Taken
		if p.State == pay.Reserved {
			want.Available, want.Held = neg(whole), whole
		}
	case pay.Capture:
		switch {
		case p.Channel == "":
			want.Held, want.Recipient = neg(whole), p.Amount
		case p.State == pay.Succeeded || p.Attempt.State.Live():
			want.Held = neg(whole)
		}
	case pay.Return, pay.LateDeposit, pay.Compensation, pay.Assignment:
		want.Available = whole
	case pay.LatePayout, pay.Chargeback:
		want.Available = neg(p.Taken)
	case pay.Inbound: // it is nobody's yet
	case pay.Payout, pay.Refund:
		switch p.State {
		case pay.Reserved, pay.InReview:
			want.Available, want.Held = neg(whole), whole
		case pay.Dispatching, pay.Processing, pay.Unknown:
			want.Available, want.Held = neg(whole), p.Fee
		case pay.Succeeded:
			want.Available = neg(whole)
		case pay.None, pay.Created, pay.Failed, pay.Cancelled, pay.Expired, pay.RequiresAction:
		}
	}
	return b == want
}

// neg cannot overflow for the sum of two amounts that are not below zero.
func neg(a money.Amount) money.Amount {
	n, err := a.Neg()
	if err != nil {
		return money.Amount{}
	}
	return n
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// moment returns nil for the zero time.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
