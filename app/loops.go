package app

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/moneta-pay/moneta/pay/channel"
)

// loops tells, when it is scraped, for how long each loop of this node has had work and
// made no progress. A loop with a pulse tells its own last turn; one without is seen to
// stand still when its count does. Loops of the leader are told while this node leads.
type loops struct {
	now   func() time.Time
	pulse []pulsing
	turns []turning
	desc  *prometheus.Desc

	mu   sync.Mutex
	seen map[string]standing
}

// pulsing is a loop that turns although it has nothing to do; zero is one that does not run.
type pulsing struct {
	name string
	last func() time.Time
}

type turning struct {
	name  string
	state func() (work bool, turns int64)
}

// standing is a loop that had work, as it was first seen with this count.
type standing struct {
	turns int64
	since time.Time
}

func newLoops(now func() time.Time, pulse []pulsing, turns []turning) *loops {
	return &loops{
		now: now, pulse: pulse, turns: turns, seen: make(map[string]standing),
		desc: prometheus.NewDesc("moneta_loop_silence_seconds", "For how long a loop has had work and made no progress.", []string{"loop"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (l *loops) Describe(c chan<- *prometheus.Desc) { c <- l.desc }

// Collect implements prometheus.Collector.
func (l *loops) Collect(c chan<- prometheus.Metric) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	tell := func(name string, silence time.Duration) {
		c <- prometheus.MustNewConstMetric(l.desc, prometheus.GaugeValue, max(silence, 0).Seconds(), name)
	}
	for _, p := range l.pulse {
		if last := p.last(); !last.IsZero() {
			tell(p.name, now.Sub(last))
		}
	}
	for _, t := range l.turns {
		work, turns := t.state()
		if !work {
			delete(l.seen, t.name)
			tell(t.name, 0)
			continue
		}
		s, known := l.seen[t.name]
		if !known || s.turns != turns {
			s = standing{turns, now}
			l.seen[t.name] = s
		}
		tell(t.name, now.Sub(s.since))
	}
}

// measure registers what tells of the plane's loops and pools.
func (p *plane) measure() {
	leading := func(last func() time.Time) func() time.Time {
		return func() time.Time {
			if !p.node.Leading() {
				return time.Time{}
			}
			return last()
		}
	}
	p.tel.Registry().MustRegister(newPoolMetrics(p.pools), newLoops(time.Now, []pulsing{
		{"decider", p.node.Progress},
		{"timer", leading(p.wheel.Progress)},
		{"dispatch", leading(p.dispatch.Progress)},
	}, []turning{
		{"settle", p.asker.Turns},
		{"callbacks", p.inbox.Storing},
		{"callbacks-apply", p.inbox.Applying},
		{"dispatch-attempts", func() (bool, int64) {
			if !p.node.Leading() {
				return false, 0
			}
			return p.dispatch.Turns(func(name channel.Name) int { return p.wheel.Ready(string(name)) })
		}},
	}))
}
