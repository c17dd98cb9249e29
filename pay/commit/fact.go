// Package commit is the decider: one goroutine a shard, the only writer of
// money, states, transitions, timers, limits, floors and freezes. Stations hand
// it Facts; it evaluates each on the state of that moment, writes a batch of
// them in one transaction, and answers after COMMIT. It refuses to answer from
// anything that is not committed, to wait without a bound, and to commit under
// an epoch that is no longer its own.
package commit

import (
	"context"

	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// Fact is what a station knows or wants. Exactly one field is set.
type Fact struct {
	Payment *pay.Fact           `json:"payment,omitempty"`
	Account *ledger.AccountFact `json:"account,omitempty"`
	Period  *ledger.PeriodFact  `json:"period,omitempty"`
}

// Result is the committed truth after a Fact.
type Result struct {
	// Payment as it stands now; with a payment's Fact.
	Payment pay.Payment
	// Account as it stands now; with an account's Fact.
	Account ledger.Account
	// Period as it stands now; with a period's Fact.
	Period ledger.Period
	// Replayed is true when the key had been answered before.
	Replayed bool
	// NoOp is true when the Fact told nothing new.
	NoOp bool
}

// Outcome is the answer to one Fact of several.
type Outcome struct {
	Result
	Err error
}

// Submitter takes Facts to the decider of their shard, wherever it runs.
// Every error is a *fault.Error. Errors that tell that nothing moved:
// fault.Overloaded (queue full), fault.InsufficientFunds and the other refusals
// (stored with the key), fault.IllegalTransition. fault.CommitUnknown means: the
// same Fact once more, it is answered from what was committed.
type Submitter interface {
	Submit(ctx context.Context, f Fact) (Result, error)
	SubmitAll(ctx context.Context, facts []Fact) []Outcome
}
