package otlp

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// looked bounds the traces that one question looks through: the newest.
const looked = 5_000

// Exemplar is a trace that shows what a cell of a distribution counted.
type Exemplar struct {
	TraceID string    `json:"trace_id"`
	Payment string    `json:"payment,omitempty"`
	At      time.Time `json:"at"`
	TookS   float64   `json:"took_s"`
	// Exact is false for the nearest one that was recorded: only some are.
	Exact bool `json:"exact"`
}

// Exemplars are traces in which the hop took between low and high seconds (high 0: or
// longer) in this time, then those that come nearest; at most so many. Traces without a
// payment are left out.
func (s *Store) Exemplars(hop string, from, until time.Time, low, high float64, most int) []Exemplar {
	if high <= 0 {
		high = math.Inf(1)
	}
	type near struct {
		Exemplar
		off float64
	}
	var all []near
	for _, t := range s.Newest(from, looked) {
		payments := s.PaymentsOf(t.ID)
		if len(payments) == 0 {
			continue
		}
		f := newFall(t.Spans)
		for i := range f.spans {
			sp := &f.spans[i]
			if f.hop[i] != hop || sp.Start.Before(from) || !sp.Start.Before(until) || sp.waits() || f.parent[i] >= 0 && f.hop[f.parent[i]] == hop {
				continue
			}
			took := f.busy(i).Seconds()
			n := near{Exemplar: Exemplar{TraceID: t.ID.String(), Payment: payments[0], At: sp.Start, TookS: took, Exact: took > low && took <= high}}
			if !n.Exact { // how many times off, so that 1 ms and 10 ms are as far apart as 1 s and 10 s
				n.off = math.Abs(math.Log(max(took, 1e-6) / max(min(max(took, low), high), 1e-6)))
				n.off = max(n.off, 1e-9)
			}
			all = append(all, n)
		}
	}
	slices.SortStableFunc(all, func(a, b near) int { return cmp.Or(cmp.Compare(a.off, b.off), b.At.Compare(a.At)) })
	out := []Exemplar{}
	for _, n := range all[:min(len(all), most)] {
		out = append(out, n.Exemplar)
	}
	return out
}

// busy is how long a span took without what its caller preferred to wait.
func (f *fall) busy(i int) time.Duration {
	took := f.spans[i].Took()
	for k := range f.spans {
		if f.parent[k] == i && f.spans[k].waits() {
			took -= f.spans[k].Took()
		}
	}
	return max(took, 0)
}

// Tail is whose the time was in the slowest payments, beside all of them.
type Tail struct {
	// Since is the beginning of the window; Traces were looked at, Tail of them are the
	// slowest hundredth, one at least.
	Since  time.Time `json:"since"`
	Traces int       `json:"traces"`
	Tail   int       `json:"tail"`
	// P50S and P99S are of the whole time of a trace, in seconds.
	P50S float64 `json:"p50_s"`
	P99S float64 `json:"p99_s"`
	// Hops are the shares of the tail's time, the most first; Usual is the share of the
	// same hop in the time of all.
	Hops []TailPart `json:"hops"`
	// Slowest is the slowest payment.
	Slowest *Exemplar `json:"slowest,omitempty"`
}

// TailPart is a hop's share of the tail.
type TailPart struct {
	Hop   string  `json:"hop"`
	Share float64 `json:"share"`
	Usual float64 `json:"usual"`
	MeanS float64 `json:"mean_s"` // in a trace of the tail
}

// TailOf attributes the p99 of the payments since then. Traces of which only what went
// badly was recorded are left out, and so are those without a payment: the rest were
// chosen before anybody knew how they would go.
func (s *Store) TailOf(since time.Time) Tail {
	out := Tail{Since: since.UTC(), Hops: []TailPart{}}
	var all []Waterfall
	names := map[string]string{}
	for _, t := range s.Newest(since, looked) {
		if w := t.Waterfall(); !w.Partial && !w.Cut && w.StartedAt.After(since) {
			if p := s.PaymentsOf(t.ID); len(p) > 0 {
				all = append(all, w)
				names[w.TraceID] = p[0]
			}
		}
	}
	out.Traces = len(all)
	if len(all) == 0 {
		return out
	}
	slices.SortFunc(all, func(a, b Waterfall) int {
		return cmp.Or(cmp.Compare(b.TookS, a.TookS), cmp.Compare(a.TraceID, b.TraceID))
	})
	out.Tail = max((len(all)+99)/100, 1)
	out.P99S, out.P50S = all[out.Tail-1].TookS, all[len(all)/2].TookS
	slowest := &all[0]
	out.Slowest = &Exemplar{TraceID: slowest.TraceID, Payment: names[slowest.TraceID], At: slowest.StartedAt, TookS: slowest.TookS, Exact: true}
	tail, usual := sharesOf(all[:out.Tail]), sharesOf(all)
	for hop, p := range tail {
		out.Hops = append(out.Hops, TailPart{Hop: hop, Share: p.Share, Usual: usual[hop].Share, MeanS: p.S / float64(out.Tail)})
	}
	slices.SortFunc(out.Hops, func(a, b TailPart) int { return cmp.Or(cmp.Compare(b.Share, a.Share), cmp.Compare(a.Hop, b.Hop)) })
	return out
}

func sharesOf(all []Waterfall) map[string]Part {
	out, sum := map[string]Part{}, 0.0
	for i := range all {
		for _, p := range all[i].Hops {
			one := out[p.Hop]
			one.S += p.S
			out[p.Hop] = one
			sum += p.S
		}
	}
	for hop, p := range out {
		p.Share = p.S / max(sum, 1e-9)
		out[hop] = p
	}
	return out
}

// Flow are the hops of our own road by which a distribution is shown, in its order; others
// follow by name.
func Flow(a, b string) int {
	order := []string{doctor.HopAPI, doctor.HopDecider, doctor.HopDispatch, "", doctor.HopCallbacks, doctor.HopSettle, doctor.HopWebhooks}
	at := func(hop string) int {
		if i := slices.Index(order, hop); i >= 0 {
			return i
		}
		return 3 // a channel
	}
	return cmp.Or(cmp.Compare(at(a), at(b)), cmp.Compare(a, b))
}
