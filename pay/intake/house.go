package intake

import (
	"context"
	"errors"
	"sync"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// housesMax bounds the accounts that are remembered; beyond it memory starts over.
const housesMax = 1 << 18

// houses remembers which accounts are house accounts. An account's kind and tenant
// never change, so that what was read once holds for ever.
type houses struct {
	accounts Accounts
	mu       sync.RWMutex
	known    map[houseKey]bool
}

type houseKey struct {
	tenant pay.TenantID
	id     pay.AccountID
}

func newHouses(a Accounts) *houses { return &houses{accounts: a, known: make(map[houseKey]bool)} }

// is reports whether the tenant's account is a house account. An account that does
// not exist is none, and is not remembered: the decider answers for it.
func (h *houses) is(ctx context.Context, tenant pay.TenantID, id pay.AccountID) (bool, error) {
	k := houseKey{tenant, id}
	h.mu.RLock()
	house, ok := h.known[k]
	h.mu.RUnlock()
	if ok {
		return house, nil
	}
	a, err := h.accounts.Account(ctx, int32(tenant), ledger.AccountID(id))
	if errors.Is(err, fault.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, fault.Wrap("intake.house", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.known) >= housesMax {
		clear(h.known)
	}
	h.known[k] = a.Kind == ledger.House
	return h.known[k], nil
}
