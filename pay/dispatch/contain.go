package dispatch

import "github.com/moneta-pay/moneta/pay"

// Containment is how a channel is held back on purpose. What is on the wire is not
// concerned: its word is still reported, and its outcome asked for.
type Containment struct {
	// Stopped lets nothing new out; what is queued stays queued.
	Stopped bool
	// Broken does too, and lets what was never sent go on to the next channel of its
	// route, as a breaker that is open by itself does.
	Broken bool
	// AtOnce bounds the calls under way; 0 is the channel's own bound, which it never
	// exceeds.
	AtOnce int
}

// reasonHeld is why an intent that was committed was not sent after all.
const reasonHeld = "held_back"

func (d *Dispatcher) containment(l *lane) Containment {
	if d.cfg.Contain == nil {
		return Containment{}
	}
	return d.cfg.Contain(l.name)
}

// held reports whether the payout may not be attempted now.
func (d *Dispatcher) held(l *lane, p *pay.Payment) bool {
	if d.cfg.Hold != nil && d.cfg.Hold(p) {
		return true
	}
	c := d.containment(l)
	return c.Stopped || c.Broken
}

// contained takes note of how the lane is held back, and reports whether nothing new
// may go out. What is queued then is let go of, so that the timer offers it again: to
// the next channel of its route, or here when the lane is free. A lane that is let go
// begins with probes: whatever it was held back for may not be over.
func (d *Dispatcher) contained(l *lane) bool {
	c := d.containment(l)
	stop := c.Stopped || c.Broken
	l.mu.Lock()
	was := l.contained
	l.contained, l.atOnce = stop, c.AtOnce
	most := l.most()
	var queued []pay.Payment
	if stop {
		queued = append(queued, l.queue[l.first:]...)
		clear(l.queue)
		l.queue, l.first = l.queue[:0], 0
	}
	l.mu.Unlock()
	d.metrics.limit.WithLabelValues(string(l.name)).Set(float64(most)) //nolint:forbidigo // a metric
	if len(queued) > 0 {
		l.queued.Sub(float64(len(queued))) //nolint:forbidigo // a metric
		d.mu.Lock()
		for i := range queued {
			delete(d.known, queued[i].ID)
		}
		d.mu.Unlock()
	}
	if was && !stop {
		l.breaker.HalfOpen()
	}
	return stop
}

// most is how many slots may be in use. The lock is held.
func (l *lane) most() int {
	if l.atOnce > 0 {
		return min(l.slots, l.atOnce)
	}
	return l.slots
}

// sendable reports whether a first byte may still leave. It is the last look: the
// intent may have been committed while the lever was pulled, or before this process
// stood still.
func (d *Dispatcher) sendable(l *lane) bool {
	c := d.containment(l)
	return !c.Stopped && !c.Broken
}

// usable reports whether the lane's channel takes what has not been attempted.
func (d *Dispatcher) usable(l *lane) bool { return !d.containment(l).Broken && !l.shut() }
