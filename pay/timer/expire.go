package timer

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
)

const (
	// expiryQueue bounds the payments that wait to expire; what does not fit is
	// offered again after the wheel's guard.
	expiryQueue = 4096
	expiryBatch = 256
	expiryWait  = 20 * time.Second
)

// Expirer says of payments whose time has come that it has: it submits the Fact
// that pay.WhenDue names, mostly Expire, and the decider's clock has the last word.
// It refuses to wait for anybody in Offer, and to keep a payment that could not be
// moved: the wheel offers it again.
type Expirer struct {
	submit commit.Submitter
	clock  clock.Clock
	wait   func() error // why nothing may expire now; nil when it may
	log    *slog.Logger
	queue  chan due

	mu     sync.Mutex
	inHand map[pay.ID]struct{}
}

// due is a payment and the fact that its timer owes it.
type due struct {
	id   pay.ID
	fact pay.FactKind
}

// NewExpirer returns an Expirer that does nothing before Run. A nil clock is the
// system's. While unsound returns an error nothing is submitted: what is offered
// waits for the time to be known, which somebody else watches. It may be nil.
func NewExpirer(submit commit.Submitter, c clock.Clock, unsound func() error, tel *telemetry.Telemetry) *Expirer {
	if c == nil {
		c = clock.System
	}
	if unsound == nil {
		unsound = func() error { return nil }
	}
	return &Expirer{
		submit: submit, clock: c, wait: unsound, log: tel.Logger().With(slog.String("station", "timer")),
		queue: make(chan due, expiryQueue), inHand: make(map[pay.ID]struct{}),
	}
}

// Offer takes p in hand, or reports that there is no room. It never blocks.
func (e *Expirer) Offer(p pay.Payment) bool {
	if e.wait() != nil {
		return true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, have := e.inHand[p.ID]; have {
		return true
	}
	select {
	case e.queue <- due{p.ID, p.WhenDue()}:
		e.inHand[p.ID] = struct{}{}
		return true
	default:
		return false
	}
}

// Run submits what was offered until ctx ends.
func (e *Expirer) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case first := <-e.queue:
			e.expire(ctx, e.more(first))
		}
	}
}

// more takes what else waits, up to a batch.
func (e *Expirer) more(first due) []due {
	all := []due{first}
	for len(all) < expiryBatch {
		select {
		case next := <-e.queue:
			all = append(all, next)
		default:
			return all
		}
	}
	return all
}

func (e *Expirer) expire(ctx context.Context, all []due) {
	ctx, cancel := context.WithTimeout(ctx, expiryWait)
	defer cancel()
	facts := make([]commit.Fact, len(all))
	for i, d := range all {
		facts[i] = commit.Fact{Payment: &pay.Fact{Kind: d.fact, Payment: d.id, At: e.clock.Now().UTC(), Source: "timer"}}
		if d.fact == pay.Expire {
			facts[i].Payment.Reason = "its time was over"
		}
	}
	out := e.submit.SubmitAll(ctx, facts)
	e.mu.Lock()
	for _, d := range all {
		delete(e.inHand, d.id)
	}
	e.mu.Unlock()
	for i, o := range out {
		if o.Err == nil || ctx.Err() != nil {
			continue
		}
		level := slog.LevelError
		if errors.Is(o.Err, fault.IllegalTransition) || errors.Is(o.Err, fault.DatabaseUnsafe) { // the decider's clock is a little behind, or not believed
			level = slog.LevelDebug
		}
		e.log.LogAttrs(ctx, level, "a payment does not move by its timer yet; the wheel offers it again",
			slog.String("payment", all[i].id.String()), slog.String("fact", all[i].fact.String()), slog.Any("error", o.Err))
	}
}
