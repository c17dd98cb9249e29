package metrics

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

const (
	// ColumnEvery is what one column of a heat map covers.
	ColumnEvery = 30 * time.Second
	// ColumnsMax is how many columns are kept: an hour.
	ColumnsMax = 120
	// heatsMax bounds the hops that are told apart.
	heatsMax = 64
)

// Heat is how long a hop took, as a distribution over time: every request that its
// histogram counted, none sampled.
type Heat struct {
	Hop string `json:"hop"`
	// Source is the histogram.
	Source string `json:"source"`
	// Bounds are the upper bounds of the rows but the last, which has none, in seconds.
	Bounds  []float64 `json:"bounds"`
	Columns []Column  `json:"columns"`
}

// Column is what came in ColumnEvery from At on, by row.
type Column struct {
	At     time.Time `json:"at"`
	Counts []float64 `json:"counts"`
}

// Total is all of it, by row.
func (h *Heat) Total() []float64 {
	out := make([]float64, len(h.Bounds)+1)
	for _, c := range h.Columns {
		for i, n := range c.Counts {
			out[i] += n
		}
	}
	return out
}

// Quantile of all of it in seconds, by going straight through the row in which it lies;
// false when nothing was counted. What lies in the last row is its lower bound at least.
func (h *Heat) Quantile(q float64) (float64, bool) {
	counts, all := h.Total(), 0.0
	for _, n := range counts {
		all += n
	}
	if all == 0 {
		return 0, false
	}
	before := 0.0
	for i, n := range counts {
		if before+n < q*all || n == 0 {
			before += n
			continue
		}
		low := 0.0
		if i > 0 {
			low = h.Bounds[i-1]
		}
		if i == len(h.Bounds) {
			return low, true
		}
		return low + (h.Bounds[i]-low)*(q*all-before)/n, true
	}
	return h.Bounds[len(h.Bounds)-1], true
}

// Heats are the distributions of the last hour. It is safe for concurrent use.
type Heats struct {
	mu    sync.Mutex
	all   map[string]*Heat
	asked Asked
}

// heatOf says whose time a histogram is; the label names the hop when it has one.
var heatOf = []struct {
	family, hop, label string
	where              match
}{
	{"moneta_accept_duration_seconds", doctor.HopAPI, "", nil},
	{"moneta_commit_duration_seconds", doctor.HopDecider, "", nil},
	{"moneta_channel_duration_seconds", "", "channel", match{"op": "pay"}},
	{"moneta_webhook_delay_seconds", doctor.HopWebhooks, "", nil},
}

// take adds what came between two scrapes.
func (h *Heats) take(before, now *scrape) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked.count(before, now)
	at := now.at.Truncate(ColumnEvery)
	for _, of := range heatOf {
		for i := range now.families[of.family] {
			s := &now.families[of.family][i]
			old := before.find(of.family, s.key)
			if !s.is(of.where) || len(s.buckets) == 0 {
				continue
			}
			hop := of.hop
			if of.label != "" {
				hop = s.label(of.label)
			}
			h.add(hop, of.family, at, s, old)
		}
	}
	for hop, one := range h.all {
		one.Columns = slices.DeleteFunc(one.Columns, func(c Column) bool { return at.Sub(c.At) >= ColumnsMax*ColumnEvery })
		if len(one.Columns) == 0 {
			delete(h.all, hop)
		}
	}
}

func (h *Heats) add(hop, family string, at time.Time, s, old *sample) {
	bounds, cumulative := boundsOf(s)
	was := make([]float64, len(cumulative))
	if old != nil {
		if b, c := boundsOf(old); slices.Equal(b, bounds) {
			was = c
		}
	}
	came := cumulative[len(cumulative)-1] - was[len(was)-1]
	if came <= 0 {
		return
	}
	one := h.all[hop]
	if one == nil || !slices.Equal(one.Bounds, bounds) {
		if one == nil && len(h.all) >= heatsMax {
			return
		}
		if h.all == nil {
			h.all = make(map[string]*Heat)
		}
		one = &Heat{Hop: hop, Source: family, Bounds: bounds}
		h.all[hop] = one
	}
	if n := len(one.Columns); n == 0 || !one.Columns[n-1].At.Equal(at) {
		one.Columns = append(one.Columns, Column{At: at.UTC(), Counts: make([]float64, len(bounds)+1)})
	}
	counts := one.Columns[len(one.Columns)-1].Counts
	below := 0.0
	for i := range cumulative {
		upTo := cumulative[i] - was[i]
		counts[i] += max(upTo-below, 0)
		below = upTo
	}
}

// boundsOf are the finite upper bounds, and the counts up to each and up to no bound.
func boundsOf(s *sample) (bounds, cumulative []float64) {
	for _, b := range s.buckets {
		if b.le < 1e300 {
			bounds, cumulative = append(bounds, b.le), append(cumulative, b.count)
		}
	}
	return bounds, append(cumulative, s.count)
}

// All are copies, by the name of their hop.
func (h *Heats) All() []Heat {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]Heat, 0, len(h.all))
	for _, one := range h.all {
		c := *one
		c.Columns = make([]Column, len(one.Columns))
		for i, col := range one.Columns {
			c.Columns[i] = Column{At: col.At, Counts: slices.Clone(col.Counts)}
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Heat) int {
		if a.Hop < b.Hop {
			return -1
		}
		return 1
	})
	return out
}

// Asked counts the requests for payments since the watch began, all of them.
type Asked struct {
	// All were answered, Faults of them with 5xx.
	All, Faults float64
	// Answered have a time, Quick of them within half a second.
	Answered, Quick float64
}

const (
	askedFor = "POST /v1/payments"
	quickS   = 0.5
)

// Asked is what came so far.
func (h *Heats) Asked() Asked {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked
}

// count adds what came between two scrapes.
func (a *Asked) count(before, now *scrape) {
	each := func(family string, where match, add func(s, old *sample)) {
		for i := range now.families[family] {
			if s := &now.families[family][i]; s.is(where) {
				old := before.find(family, s.key)
				if old == nil {
					old = &sample{}
				}
				add(s, old)
			}
		}
	}
	each("moneta_http_requests_total", match{"route": askedFor}, func(s, old *sample) {
		n := max(s.value-old.value, 0)
		a.All += n
		if strings.HasPrefix(s.label("code"), "5") {
			a.Faults += n
		}
	})
	each("moneta_accept_duration_seconds", nil, func(s, old *sample) {
		a.Answered += max(s.count-old.count, 0)
		a.Quick += max(upTo(s, quickS)-upTo(old, quickS), 0)
	})
}

// upTo counts what took at most so long; the bound is one of the histogram's.
func upTo(s *sample, le float64) float64 {
	for _, b := range s.buckets {
		if b.le == le {
			return b.count
		}
	}
	return 0
}
