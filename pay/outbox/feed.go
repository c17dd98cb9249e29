package outbox

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/event"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/pay"
)

const (
	// SubscribersMax bounds those who wait on one node.
	SubscribersMax = 2_000
	// backlogMax is how many events a subscriber may leave unread.
	backlogMax = 64
	tailBatch  = 1_000
	readWait   = 5 * time.Second
)

// ErrCut ends a subscription that was too slow, or whose node leaves. What it
// missed is in the log.
var ErrCut = errors.New("outbox: the subscription was cut off; read on from the log")

// Feed reads the new end of the log once for everybody who waits on this node,
// and not at all while nobody waits. Run owns its one goroutine.
type Feed struct {
	log    *Log
	logger *slog.Logger
	wake   chan struct{}

	mu     sync.Mutex
	begun  bool // position is set: the tail is being read
	closed bool
	after  event.ID
	subs   map[*Subscription]struct{}
	ready  chan struct{} // closed when begun
}

// NewFeed returns a Feed that serves nobody before Run.
func NewFeed(log *Log, tel *telemetry.Telemetry) *Feed {
	f := &Feed{
		log: log, logger: tel.Logger().With(slog.String("station", "outbox")),
		wake: make(chan struct{}, 1), subs: make(map[*Subscription]struct{}), ready: make(chan struct{}),
	}
	observe(tel, f)
	return f
}

// Subscription is one waiter. Events closes when the subscription ends.
type Subscription struct {
	Events <-chan event.Event

	feed    *Feed
	events  chan event.Event
	tenant  pay.TenantID
	payment string // empty: any of the tenant's
}

// Close ends the subscription; more than once does no harm.
func (s *Subscription) Close() {
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	s.feed.end(s)
}

// Subscribe follows the tenant's events from some moment before it returns: who
// then reads the log, and afterwards the subscription, has missed nothing, and may
// see events twice. A zero payment follows all of the tenant's. It is
// fault.Overloaded beyond SubscribersMax, and fault.NotLeader on a node that
// leaves. ctx bounds the wait for the first reading.
func (f *Feed) Subscribe(ctx context.Context, tenant pay.TenantID, payment pay.ID) (*Subscription, error) {
	c := make(chan event.Event, backlogMax)
	s := &Subscription{Events: c, events: c, feed: f, tenant: tenant}
	if payment != 0 {
		s.payment = payment.String()
	}
	f.mu.Lock()
	switch {
	case f.closed:
		f.mu.Unlock()
		return nil, fault.New(fault.NotLeader, "this node is leaving; connect again")
	case len(f.subs) >= SubscribersMax:
		f.mu.Unlock()
		return nil, fault.New(fault.Overloaded, "too many streams wait on this node")
	}
	f.subs[s] = struct{}{}
	ready := f.ready
	f.mu.Unlock()
	f.Wake()
	select {
	case <-ready:
		return s, nil
	case <-ctx.Done():
		s.Close()
		return nil, fault.New(fault.Timeout, "the log could not be read").WithMoneyState(fault.NotMoved).WithCause(ctx.Err())
	}
}

// Wake says that there may be something new. It never blocks.
func (f *Feed) Wake() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Run reads the log's end until ctx ends; then it cuts off everybody.
func (f *Feed) Run(ctx context.Context) error {
	defer f.close()
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.wake:
		case <-t.C:
		}
		if err := f.read(ctx); err != nil && ctx.Err() == nil {
			f.logger.WarnContext(ctx, "the log's end could not be read; streams wait", slog.Any("error", err))
		}
	}
}

// read brings everybody up to the log's end.
func (f *Feed) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readWait)
	defer cancel()
	after, wanted, begun := f.state()
	if !wanted {
		return nil
	}
	if !begun {
		newest, err := f.log.newest(ctx)
		if err != nil {
			return err
		}
		f.begin(newest)
		return nil
	}
	for {
		events, err := f.log.tail(ctx, after, tailBatch)
		if err != nil {
			return err
		}
		if len(events) > 0 && events[0].ID != after+1 {
			// Ids have no gap within one history of the database: this is another.
			f.logger.ErrorContext(ctx, "the log goes on elsewhere: the database failed over, and events that were told are lost; every stream is cut off",
				slog.Int64("after", int64(after)), slog.Int64("next", int64(events[0].ID)))
			f.cut()
			return nil
		}
		after = f.tell(after, events)
		if len(events) < tailBatch {
			return nil
		}
	}
}

// state forgets the position when nobody waits any more.
func (f *Feed) state() (after event.ID, wanted, begun bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.subs) == 0 && f.begun {
		f.begun, f.ready = false, make(chan struct{})
	}
	return f.after, len(f.subs) > 0, f.begun
}

func (f *Feed) begin(at event.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.after, f.begun = at, true
	close(f.ready)
}

func (f *Feed) tell(after event.ID, events []event.Event) event.ID {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range events {
		e := &events[i]
		after = e.ID
		for s := range f.subs {
			if s.tenant != pay.TenantID(e.Tenant) || s.payment != "" && s.payment != e.Payment.ID {
				continue
			}
			select {
			case s.events <- *e:
			default:
				f.end(s) // too slow: the log has what it missed
			}
		}
	}
	f.after = after
	return after
}

// cut ends every subscription; whoever comes next begins at the log's end of then.
func (f *Feed) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.subs {
		f.end(s)
	}
	f.begun, f.ready = false, make(chan struct{})
}

// end is called with the lock held.
func (f *Feed) end(s *Subscription) {
	if _, ok := f.subs[s]; ok {
		delete(f.subs, s)
		close(s.events)
	}
}

func (f *Feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for s := range f.subs {
		f.end(s)
	}
	if !f.begun {
		close(f.ready) // who was about to begin finds its subscription ended
		f.begun = true
	}
}
