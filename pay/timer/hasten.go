package timer

import (
	"container/heap"
	"slices"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
)

// HastenMax bounds how many payments one call brings forward: the oldest. What asks
// and what sends has bounds of its own.
const HastenMax = 1_000

// Waiting is what waits for its timer: how many payments, and what they are worth by
// asset.
type Waiting struct {
	Items int
	Worth map[money.Asset]money.Amount
}

// Hasten offers the payments that fit to their stations now, the oldest first,
// instead of at their timers; with dry set it only counts them. It moves nothing
// itself: each station does what it would have done, and refuses what is in hand
// already, so that twice is once.
func (w *Wheel) Hasten(fits func(*pay.Payment) bool, dry bool) (Waiting, error) {
	now := w.cfg.Clock.Now()
	out := Waiting{Worth: make(map[money.Asset]money.Amount)}
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []*entry
	for _, e := range w.heap {
		if fits(&e.p) {
			found = append(found, e)
		}
	}
	slices.SortFunc(found, func(a, b *entry) int { return a.p.EnteredAt.Compare(b.p.EnteredAt) })
	for _, e := range found[:min(len(found), HastenMax)] {
		sum, err := out.Worth[e.p.Asset].Add(e.p.Amount)
		if err != nil {
			return out, err
		}
		out.Worth[e.p.Asset] = sum
		out.Items++
		if !dry && e.at.After(now) {
			e.at = now
			heap.Fix(&w.heap, e.index)
		}
	}
	if !dry && out.Items > 0 {
		w.turn()
	}
	return out, nil
}
