package dispatch

import (
	"log/slog"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
)

// The retry budget of a channel, in tenths of a resend: each first attempt earns one
// tenth (10 %: Google SRE, retry budgets), each minute a whole one so that a lone
// payment is not forgotten, and no more is saved than ten.
const (
	resendCost   = 10
	resendSaved  = 100
	resendAtOnce = 30 // what a new process has
)

// budget is what a channel may still resend.
type budget struct {
	mu     sync.Mutex
	tenths int
	minute time.Time
}

func newBudget(now time.Time) *budget { return &budget{tenths: resendAtOnce, minute: now} }

// earn counts first attempts.
func (b *budget) earn(n int) {
	b.mu.Lock()
	b.tenths = min(b.tenths+n, resendSaved)
	b.mu.Unlock()
}

// spend takes one resend from the budget, or reports that there is none left.
func (b *budget) spend(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if minutes := int(now.Sub(b.minute) / time.Minute); minutes > 0 {
		b.tenths = min(b.tenths+minutes*resendCost, resendSaved)
		b.minute = b.minute.Add(time.Duration(minutes) * time.Minute)
	}
	if b.tenths < resendCost {
		return false
	}
	b.tenths -= resendCost
	return true
}

// Resend hands over an unknown payout to be sent once more, under the same attempt
// and reference (T9). It does not block, and reports whether that is in hand. It
// refuses where the channel's de-duplication is not proven: there the second order
// could move the money twice.
func (d *Dispatcher) Resend(p pay.Payment) bool {
	l := d.lanes[channel.Name(p.Channel)]
	if l == nil || p.State != pay.Unknown || p.Attempt.State != pay.AttemptUnknown || d.held(l, &p) {
		return false
	}
	if !d.proven(l) {
		d.metrics.refused.WithLabelValues(string(l.name), "dedup_not_proven").Inc()
		return false
	}
	if l.shut() {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, known := d.known[p.ID]; known {
		return false
	}
	if !l.budget.spend(d.cfg.Clock.Now()) {
		d.metrics.refused.WithLabelValues(string(l.name), "resend_budget").Inc()
		return false
	}
	if !l.push(p) {
		return false
	}
	d.known[p.ID] = false
	return true
}

func (d *Dispatcher) proven(l *lane) bool {
	return d.cfg.DedupProven != nil && d.cfg.DedupProven(l.name)
}

// stillProven drops from a batch what may not be sent again any more: a proof can
// expire while a payment is queued.
func (d *Dispatcher) stillProven(l *lane, batch []pay.Payment) []pay.Payment {
	kept := batch[:0]
	for i := range batch {
		if batch[i].State == pay.Unknown && !d.proven(l) {
			d.notIntended(l, batch[i].ID, nil)
			continue
		}
		kept = append(kept, batch[i])
	}
	return kept
}

func (d *Dispatcher) logResend(p *pay.Payment) {
	d.log.LogAttrs(d.ctx, slog.LevelInfo, "sending once more under the same reference", slog.String("payment", p.ID.String()),
		slog.String("channel", p.Channel), slog.Int("attempt", int(p.Attempt.N)))
}
