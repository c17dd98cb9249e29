package timer

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/moneta-pay/moneta/pay"
)

// Desk opens cases for people. What it opened it need not remember: it is asked
// again, and opens no second one. *desk.Desk is one.
type Desk interface {
	// Due reports whether p is past what its rail or state allows.
	Due(p *pay.Payment, now time.Time) bool
	// Overdue makes sure that each payment has an open case.
	Overdue(ctx context.Context, payments []pay.Payment) error
	// Orphans does so for payments that no timer drives.
	Orphans(ctx context.Context, payments []pay.Payment) error
}

const (
	// casePage bounds the payments taken to the desk at one look; the next look
	// goes on behind them.
	casePage = 500
	// staleMost is how long a station may have a payment in hand without effect:
	// then its word that it does is worth nothing. Without a station at it, a stale
	// payment is an orphan at once.
	staleMost = 10 * time.Minute
)

// openCases takes the payments that need a person to the desk, page by page.
func (w *Wheel) openCases(ctx context.Context, l *looking) error {
	if w.cfg.Desk == nil {
		return nil
	}
	due := w.dueForDesk(w.cfg.Clock.Now())
	at, _ := slices.BinarySearch(due, l.cases+1)
	page := due[at:min(at+casePage, len(due))]
	l.cases = 0
	if at+len(page) < len(due) {
		l.cases = page[len(page)-1]
	}
	payments := w.copies(page)
	if err := w.cfg.Desk.Overdue(ctx, payments); err != nil {
		return fmt.Errorf("open cases: %w", err)
	}
	w.atDesk(payments)
	return nil
}

// dueForDesk lists the payments that need a person, by id. It scans in chunks, as
// measure does.
func (w *Wheel) dueForDesk(now time.Time) []pay.ID {
	var due []pay.ID
	for from := 0; from >= 0; {
		from = func() int {
			w.mu.Lock()
			defer w.mu.Unlock()
			to := min(from+scanChunk, len(w.heap))
			for i := from; i < to; i++ {
				if p := &w.heap[i].p; w.cfg.Desk.Due(p, now) {
					due = append(due, p.ID)
				}
			}
			if to >= len(w.heap) {
				return -1
			}
			return to
		}()
	}
	slices.Sort(due)
	return slices.Compact(due)
}

// copies returns those of the payments that are on the wheel.
func (w *Wheel) copies(ids []pay.ID) []pay.Payment {
	w.mu.Lock()
	defer w.mu.Unlock()
	payments := make([]pay.Payment, 0, len(ids))
	for _, id := range ids {
		if e := w.byID[id]; e != nil {
			payments = append(payments, e.p)
		}
	}
	return payments
}

// atDesk notes that a person is at the payments.
func (w *Wheel) atDesk(payments []pay.Payment) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range payments {
		if w.byID[payments[i].ID] != nil {
			w.cased[payments[i].ID] = struct{}{}
		}
	}
}

// caseOrphans takes to the desk what is still astray after it was looked for: no
// timer drives it, and no case explains it. A payment that could be put back on
// the wheel has its timer again.
func (w *Wheel) caseOrphans(ctx context.Context, found []Orphan) error {
	if w.cfg.Desk == nil {
		return nil
	}
	lost := w.cfg.Clock.Now().Add(-staleMost)
	w.mu.Lock()
	var ids []pay.ID
	for _, o := range found {
		_, loose := w.loose[o.Payment]
		if o.Kind == unwatched && w.byID[o.Payment] == nil || o.Kind == stale && (loose || o.NextAt.Before(lost)) {
			ids = append(ids, o.Payment)
		}
	}
	w.mu.Unlock()
	if len(ids) == 0 {
		return nil
	}
	payments, err := w.cfg.Reload(ctx, ids)
	if err != nil {
		return fmt.Errorf("read orphans: %w", err)
	}
	payments = slices.DeleteFunc(payments, func(p pay.Payment) bool { return !p.Open() })
	if err := w.cfg.Desk.Orphans(ctx, payments); err != nil {
		return fmt.Errorf("open cases for orphans: %w", err)
	}
	w.atDesk(payments)
	return nil
}
