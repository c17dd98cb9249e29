package diagnose

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"github.com/moneta-pay/moneta/doctor"
)

// Bounds of the scope's verdicts.
const (
	// eventsLeast: with fewer, a share is a guess.
	eventsLeast = 20
	// nearlyAll is the share, in the lower end of its interval, from which it is everyone.
	nearlyAll = .8
	// falseDiscoveries is the share of wrong cohorts that is accepted among those named.
	falseDiscoveries = .05
	z95              = 1.959964
)

// The classes of scope.
const (
	scopeEveryone = "everyone"
	scopeCohort   = "cohort"
	scopeOne      = "one"
	scopeNone     = "none"
	scopeTooFew   = "too_few"
	scopeUnknown  = "unknown"
)

// scope says who is affected: by the cohorts if dimensions were counted, else by the
// share of failures at the symptom, else by which quantiles of its latency moved.
func scope(p *physics) doctor.Scope {
	if len(p.e.Cohorts) > 0 {
		return byCohorts(p.e.Cohorts)
	}
	h := &p.hops[p.symptom]
	if p.e.Symptom.Signal == doctor.Errors && h.failed != nil && h.rate != nil {
		return byFailures(h)
	}
	if s, ok := byQuantiles(p, h); ok {
		return s
	}
	return doctor.Scope{Class: scopeUnknown, High: 1, Code: "scope-uncounted", Why: Say("en", "scope-uncounted", nil)}
}

func verdictOf(s *doctor.Scope, class, code string, args ...string) {
	s.Class, s.Code, s.Args, s.Why = class, code, args, Say("en", code, args)
}

func byFailures(h *hop) doctor.Scope {
	events := int(math.Round(h.rate.During.Value * float64(h.rate.During.N) * h.rate.StepS))
	affected := int(math.Round(h.failed.During.Value * float64(events)))
	s := sized(affected, events)
	if s.Class == scopeTooFew {
		return s
	}
	if deviation(h.failed) < noiseFull {
		verdictOf(&s, scopeNone, "scope-no-failures")
		return s
	}
	verdictOf(&s, scopeCohort, "scope-share-fails")
	if s.Low >= nearlyAll {
		verdictOf(&s, scopeEveryone, "scope-all-fail")
	}
	return s
}

func sized(affected, events int) doctor.Scope {
	s := doctor.Scope{Events: events}
	s.Share, s.Low, s.High = interval(affected, events)
	if events < eventsLeast {
		verdictOf(&s, scopeTooFew, "scope-too-few", strconv.Itoa(events), strconv.Itoa(eventsLeast))
	}
	return s
}

// interval is the share with its Wilson interval of 95 %, which holds for few events
// and shares near 0 and 1.
func interval(k, n int) (share, low, high float64) {
	if n <= 0 {
		return 0, 0, 1
	}
	k = max(0, min(k, n)) // a foreign share may be above one
	f, m := float64(k)/float64(n), float64(n)
	z := z95 * z95 / m
	mid := (f + z/2) / (1 + z)
	half := z95 / (1 + z) * math.Sqrt(f*(1-f)/m+z/(4*m))
	return round(f), round(clamp(mid-half, 0, 1)), round(clamp(mid+half, 0, 1))
}

// quantiles of latency, with the share of the requests that lies above each.
var quantiles = []struct {
	statistic string
	above     float64
}{{"p50", .5}, {"p90", .1}, {"p95", .05}, {"p99", .01}}

// byQuantiles bounds the share that is slow: if the p90 moved and the p50 did not, it
// is between a tenth and a half.
func byQuantiles(p *physics, h *hop) (doctor.Scope, bool) {
	low, high, any := 0.0, 1.0, false
	events := 0
	if h.rate != nil {
		events = int(math.Round(h.rate.During.Value * float64(h.rate.During.N) * h.rate.StepS))
	}
	for _, q := range quantiles {
		i := slices.IndexFunc(p.e.Readings, func(r doctor.Reading) bool {
			return r.Hop == h.Name && r.Peer == "" && r.Signal == doctor.Latency && r.Statistic == q.statistic
		})
		if i < 0 || p.e.Readings[i].Presence(p.e.TakenAt) != doctor.Present {
			continue
		}
		any = true
		if r := &p.e.Readings[i]; deviation(r) > noiseFull {
			low = max(low, q.above)
		} else if low == 0 {
			high = min(high, q.above)
		}
	}
	if !any {
		return doctor.Scope{}, false
	}
	s := doctor.Scope{Events: events, Low: round(low), High: round(max(low, high)), Share: round((low + max(low, high)) / 2)}
	switch {
	case h.rate != nil && events < eventsLeast:
		verdictOf(&s, scopeTooFew, "scope-too-few", strconv.Itoa(events), strconv.Itoa(eventsLeast))
	case low == 0:
		verdictOf(&s, scopeNone, "scope-no-quantile")
	case low >= .5:
		verdictOf(&s, scopeEveryone, "scope-median")
	default:
		verdictOf(&s, scopeCohort, "scope-tail")
	}
	return s, true
}

// byCohorts contrasts every value of every dimension with the rest of its dimension.
func byCohorts(all []doctor.Cohort) doctor.Scope {
	affected, events := 0, 0
	first := all[0].Dimension
	for _, c := range all {
		if c.Dimension == first { // each dimension counts everybody once
			affected, events = affected+c.Affected, events+c.Total
		}
	}
	s := sized(affected, events)
	if s.Class == scopeTooFew {
		return s
	}
	s.Cohorts = contrasts(all)
	switch {
	case affected == 0:
		verdictOf(&s, scopeNone, "scope-nobody")
	case len(s.Cohorts) > 0 && s.Cohorts[0].Affected > 0 && onlyOne(s.Cohorts[0], affected):
		verdictOf(&s, scopeOne, "scope-one", s.Cohorts[0].Dimension, s.Cohorts[0].Value)
	case len(s.Cohorts) > 0:
		verdictOf(&s, scopeCohort, "scope-cohort", s.Cohorts[0].Dimension, s.Cohorts[0].Value)
	default:
		verdictOf(&s, scopeEveryone, "scope-everyone")
	}
	return s
}

// onlyOne: the dimension names single users, and one of them is all there is.
func onlyOne(c doctor.CohortFinding, affected int) bool {
	return (c.Dimension == "user" || c.Dimension == "account") && c.Affected == affected
}

// contrasts returns the values that are affected more than the rest of their
// dimension, by the likelihood ratio test with the Benjamini-Hochberg rule over all
// values looked at.
func contrasts(all []doctor.Cohort) []doctor.CohortFinding {
	sums := map[string][2]int{}
	for _, c := range all {
		s := sums[c.Dimension]
		sums[c.Dimension] = [2]int{s[0] + c.Affected, s[1] + c.Total}
	}
	var found []doctor.CohortFinding
	for _, c := range all {
		s := sums[c.Dimension]
		f := doctor.CohortFinding{Cohort: c}
		f.Share, f.Low, f.High = interval(c.Affected, c.Total)
		f.RestShare, _, _ = interval(s[0]-c.Affected, s[1]-c.Total)
		f.PValue = 1
		if c.Total > 0 && s[1] > c.Total && f.Share > f.RestShare {
			f.PValue = math.Erfc(math.Sqrt(deviance(c.Affected, c.Total, s[0]-c.Affected, s[1]-c.Total) / 2))
		}
		found = append(found, f)
	}
	slices.SortStableFunc(found, func(a, b doctor.CohortFinding) int {
		return cmp.Or(cmp.Compare(a.PValue, b.PValue), cmp.Compare(b.Share, a.Share), cmp.Compare(a.Dimension, b.Dimension), cmp.Compare(a.Value, b.Value))
	})
	last := 0
	for i, f := range found {
		if f.PValue <= falseDiscoveries*float64(i+1)/float64(len(found)) {
			last = i + 1
		}
	}
	found = found[:last]
	for i := range found {
		found[i].PValue = round(found[i].PValue)
	}
	return found
}

// deviance is twice the log likelihood ratio of two shares against one; it follows a
// chi-squared distribution with one degree of freedom when they are one.
func deviance(k1, n1, k2, n2 int) float64 {
	whole := float64(k1+k2) / float64(n1+n2)
	return 2 * max(0, bernoulli(k1, n1, float64(k1)/float64(n1))+bernoulli(k2, n2, float64(k2)/float64(n2))-
		bernoulli(k1, n1, whole)-bernoulli(k2, n2, whole))
}

func bernoulli(k, n int, f float64) float64 {
	sum := 0.0
	if k > 0 {
		sum += float64(k) * math.Log(f)
	}
	if n > k {
		sum += float64(n-k) * math.Log(1-f)
	}
	return sum
}
