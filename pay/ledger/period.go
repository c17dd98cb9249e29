package ledger

import (
	"time"

	"github.com/moneta-pay/moneta/money"
)

// PeriodFact closes the books of one tenant in one asset: nothing may be effective
// before Until any more. It is a Fact, so that it has its place among the postings.
type PeriodFact struct {
	Tenant int32
	Asset  money.Asset
	// Until is the first instant that stays open; never in the future.
	Until time.Time
	// By names who closes.
	By string
}

// Period is where a tenant's books in one asset are closed until.
type Period struct {
	Tenant int32
	Asset  money.Asset
	// Until is the first instant that is open.
	Until time.Time
}
