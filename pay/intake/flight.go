package intake

import (
	"sync"
	"time"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/pay"
)

const (
	// flightKeep is how long a key counts as under way after its caller gave up:
	// nobody knows then when the decider has answered it.
	flightKeep = time.Minute
	// flightMax bounds the keys that are remembered after their callers gave up.
	flightMax    = 10_000
	flightShards = 16
)

// Flights knows the keys that are being decided for callers of this node and, while
// it leads, for those of others, so that a duplicate that waits in vain is told so
// (409 and Retry-After, invariant P11), and not that the outcome of a payment of its
// own is unknown.
type Flights struct {
	now    func() time.Time
	shards [flightShards]flightShard
}

type flightShard struct {
	mu     sync.Mutex
	flying map[pay.Key]flight
	left   int // entries that only last for their until
}

type flight struct {
	callers int
	until   time.Time // after the last caller gave up
}

// NewFlights knows of none; a nil now is the system's clock.
func NewFlights(now func() time.Time) *Flights {
	if now == nil {
		now = clock.System.Now
	}
	f := &Flights{now: now}
	for i := range f.shards {
		f.shards[i].flying = make(map[pay.Key]flight)
	}
	return f
}

func (f *Flights) shard(key pay.Key) *flightShard { return &f.shards[key[len(key)-1]%flightShards] }

// Begin says that a request with the key goes to the decider, and whether another
// one with it is under way already.
func (f *Flights) Begin(key pay.Key) (duplicate bool) {
	s := f.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, have := s.flying[key]
	if have && e.callers == 0 {
		s.left--
		have = f.now().Before(e.until)
	}
	e.callers++
	s.flying[key] = e
	return have
}

// End takes what Begin said back. An answer that did not come in time becomes
// fault.IdempotencyInFlight for a duplicate.
func (f *Flights) End(key pay.Key, duplicate bool, err error) error {
	late := err != nil && fault.CodeOf(err) == fault.Timeout
	s := f.shard(key)
	s.mu.Lock()
	e := s.flying[key]
	e.callers--
	switch {
	case e.callers > 0:
		s.flying[key] = e
	case late && s.left < flightMax/flightShards:
		e.until = f.now().Add(flightKeep)
		s.flying[key] = e
		s.left++
	default:
		delete(s.flying, key)
		if late {
			s.forget(f.now())
		}
	}
	s.mu.Unlock()
	if late && duplicate {
		return fault.New(fault.IdempotencyInFlight, "").WithCause(err)
	}
	return err
}

// forget makes room among the keys whose time is over.
func (s *flightShard) forget(now time.Time) {
	for k, e := range s.flying {
		if e.callers == 0 && !now.Before(e.until) {
			delete(s.flying, k)
			s.left--
		}
	}
}
