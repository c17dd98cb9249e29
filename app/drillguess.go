package app

import (
	"cmp"
	"math"
	"slices"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/catalog"
	"github.com/moneta-pay/moneta/doctor/diagnose"
	"github.com/moneta-pay/moneta/doctor/drill"
)

// guesses are what simple methods say of an evidence. They are asked about what the
// doctor judged, so that a board shows whether judging was worth it.
func guesses(e *doctor.Evidence) map[string][]drill.Pair {
	return map[string][]drill.Pair{
		"priors only":          priorsOnly(e),
		"largest z":            largestZ(e),
		"priors and one bound": oneBound(e),
	}
}

// prior is the answer to an evidence without a single reading.
func prior(e *doctor.Evidence) []doctor.Hypothesis {
	blank := e.Clone()
	blank.Readings, blank.Cohorts, blank.Alarms = nil, nil, nil
	a, err := diagnose.Diagnose(&blank, catalog.All()...)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(a.Ranked, func(h doctor.Hypothesis) bool { return h.Node == "" })
}

func priorsOnly(e *doctor.Evidence) (out []drill.Pair) {
	for _, h := range prior(e) {
		out = append(out, drill.Pair{Node: h.Node, Mechanism: h.Mechanism})
	}
	return out
}

// largestZ names the hops by how far their readings lie from what they were, in
// spreads; it knows no mechanism.
func largestZ(e *doctor.Evidence) []drill.Pair {
	worst := map[string]float64{}
	for i := range e.Readings {
		r := &e.Readings[i]
		if r.Before.N < 2 || r.During.N == 0 || r.Before.Spread <= 0 {
			continue
		}
		worst[r.Hop] = max(worst[r.Hop], math.Abs(r.During.Value-r.Before.Value)/r.Before.Spread)
	}
	return heaviest(worst, func(hop string) drill.Pair { return drill.Pair{Node: hop} })
}

// oneBound multiplies the prior of each cause with what the first of its signs says.
func oneBound(e *doctor.Evidence) []drill.Pair {
	weights := map[drill.Pair]float64{}
	causes := catalog.All()
	kinds := map[string]doctor.Kind{}
	for _, h := range e.Hops {
		kinds[h.Name] = h.Kind
	}
	for _, h := range prior(e) {
		for i := range causes {
			c := &causes[i]
			if c.Kind != kinds[h.Node] || len(c.Signs) == 0 {
				continue
			}
			weights[drill.Pair{Node: h.Node, Mechanism: c.Mechanism}] = h.Posterior * c.Share[e.Symptom.Class()] * bound(e, h.Node, &c.Signs[0])
		}
	}
	return heaviest(weights, func(p drill.Pair) drill.Pair { return p })
}

// bound is the likelihood ratio of a sign by the newest value of its reading.
func bound(e *doctor.Evidence, hop string, s *doctor.Sign) float64 {
	for i := range e.Readings {
		r := &e.Readings[i]
		if r.Hop != hop || r.Signal != s.Signal || s.Statistic != "" && r.Statistic != s.Statistic || r.During.N == 0 {
			continue
		}
		if (s.Above == nil || r.Last > *s.Above) && (s.Below == nil || r.Last < *s.Below) && !s.Gone {
			return s.Yes
		}
		return s.No
	}
	return 1
}

// heaviest are the three heaviest, heaviest first; equal ones by name, so that the same
// evidence gives the same guess.
func heaviest[K comparable](weights map[K]float64, pair func(K) drill.Pair) []drill.Pair {
	type weighed struct {
		drill.Pair
		weight float64
	}
	var all []weighed
	for k, w := range weights {
		all = append(all, weighed{pair(k), w})
	}
	slices.SortFunc(all, func(a, b weighed) int {
		return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Mechanism, b.Mechanism))
	})
	var out []drill.Pair
	for _, w := range all[:min(len(all), 3)] {
		out = append(out, w.Pair)
	}
	return out
}
