package intake

import (
	"context"
	"errors"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
)

// Plan is what a payment would post, at once or as soon as it is cleared, or sent where
// nothing moves before, if it were made now. The decider judges balances and freezes when
// it is: a plan promises nothing.
type Plan struct {
	Payment  pay.Payment
	Postings []pay.Posting
}

// PlanRefund says what a refund would post, and refuses what it can refuse by now.
func (in *Intake) PlanRefund(ctx context.Context, r *Request) (Plan, error) {
	f, err := in.refund(ctx, r, in.clock.Now())
	if err != nil {
		return Plan{}, err
	}
	original, err := in.originals.Payment(ctx, r.Tenant, f.Payment.New.Original)
	if err != nil {
		return Plan{}, err
	}
	return plan(&f, &original)
}

// PlanCapture says what a capture would post.
func (in *Intake) PlanCapture(ctx context.Context, r *CaptureRequest) (Plan, error) {
	f, err := in.capture(ctx, r)
	if err != nil {
		return Plan{}, err
	}
	return plan(&f, &r.Hold)
}

// PlanCompensation says what a compensation would post.
func (in *Intake) PlanCompensation(ctx context.Context, r *CompensationRequest) (Plan, error) {
	f, err := in.compensation(ctx, r)
	if err != nil {
		return Plan{}, err
	}
	return plan(&f, nil)
}

// PlanAssignment says what an assignment would post.
func (in *Intake) PlanAssignment(r *AssignRequest) (Plan, error) {
	f, err := in.assignment(r)
	if err != nil {
		return Plan{}, err
	}
	return plan(&f, &r.Inbound)
}

// plan asks the table what the fact does, and of what it takes from whether so much is
// left: that is the decider's to ask again.
func plan(f *commit.Fact, from *pay.Payment) (Plan, error) {
	p := f.Payment.New
	if from != nil {
		if rest := from.Remaining(); p.Amount.Cmp(rest) > 0 {
			return Plan{}, fault.New(fault.AmountExceedsRemaining, rest.String()+" remains of "+from.Amount.String()).
				WithParam("/amount").WithResource(from.ID.String())
		}
	}
	c, err := pay.Next(pay.Payment{Kind: p.Kind}, *f.Payment)
	if errors.Is(err, pay.ErrIllegal) {
		return Plan{}, fault.New(fault.IllegalTransition, "").WithCause(err)
	}
	if err == nil && c.To == pay.Created && len(c.Postings) == 0 {
		// Accepting sets nothing aside yet: clearing it does, in the same breath.
		c, err = pay.Next(c.After, pay.Fact{Kind: pay.Clear, At: f.Payment.At})
	}
	if err == nil && p.Kind == pay.Capture && c.To == pay.Reserved {
		// Its money is held already: what moves it is that dispatch sends it.
		c, err = pay.Next(c.After, pay.Fact{Kind: pay.Intend, At: f.Payment.At, SendBy: f.Payment.At, Attempt: 1, Channel: p.Channel})
	}
	fromSuspense(p, c.Postings)
	return Plan{Payment: *p, Postings: c.Postings}, err
}

// fromSuspense names who pays for what is done with money without an owner, as the
// decider will.
func fromSuspense(p *pay.Payment, postings []pay.Posting) {
	if p.From != 0 || p.Kind != pay.Assignment && p.Kind != pay.Refund {
		return
	}
	for i := range postings {
		if postings[i].Debit == pay.FromAvailable {
			postings[i].Debit = pay.Suspense
		}
	}
}
