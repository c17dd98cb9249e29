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

// Expirer says of payments whose time is over that it is: it submits the Expire
// Fact, and the decider's clock has the last word. It refuses to wait for anybody
// in Offer, and to keep a payment that could not be expired: the wheel offers it
// again.
type Expirer struct {
	submit commit.Submitter
	clock  clock.Clock
	wait   func() error // why nothing may expire now; nil when it may
	log    *slog.Logger
	queue  chan pay.ID

	mu     sync.Mutex
	inHand map[pay.ID]struct{}
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
		queue: make(chan pay.ID, expiryQueue), inHand: make(map[pay.ID]struct{}),
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
	case e.queue <- p.ID:
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
		case id := <-e.queue:
			e.expire(ctx, e.more(id))
		}
	}
}

// more takes what else waits, up to a batch.
func (e *Expirer) more(first pay.ID) []pay.ID {
	ids := []pay.ID{first}
	for len(ids) < expiryBatch {
		select {
		case id := <-e.queue:
			ids = append(ids, id)
		default:
			return ids
		}
	}
	return ids
}

func (e *Expirer) expire(ctx context.Context, ids []pay.ID) {
	ctx, cancel := context.WithTimeout(ctx, expiryWait)
	defer cancel()
	facts := make([]commit.Fact, len(ids))
	for i, id := range ids {
		facts[i] = commit.Fact{Payment: &pay.Fact{
			Kind: pay.Expire, Payment: id, At: e.clock.Now().UTC(), Source: "timer", Reason: "its time was over",
		}}
	}
	out := e.submit.SubmitAll(ctx, facts)
	e.mu.Lock()
	for _, id := range ids {
		delete(e.inHand, id)
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
		e.log.LogAttrs(ctx, level, "a payment does not expire yet; the wheel offers it again",
			slog.String("payment", ids[i].String()), slog.Any("error", o.Err))
	}
}
