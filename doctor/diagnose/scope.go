package diagnose

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

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
	scopeOne      = doctor.ScopeOne
	scopeNone     = "none"
	scopeTooFew   = "too_few"
	scopeUnknown  = "unknown"
)

// scope says who is affected: by the cohorts if dimensions were counted and tell, else
// by the canaries, else by the share of failures at the symptom, else by which quantiles of its latency moved.
func scope(p *physics) doctor.Scope {
	if len(p.e.Cohorts) > 0 {
		s := byCohorts(p.e.Cohorts)
		if few := s.Class == scopeTooFew || s.Class == scopeNone; few {
			if c, ok := byCanaries(p); ok {
				return c
			}
		}
		return s
	}
	if s, ok := byCanaries(p); ok {
		return s
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

// concerns says who is affected where counting does not tell: by whose road goes through
// the hop at fault. What stands on everybody's road is everybody's trouble, although
// the first to show it are few; a rail's is that of those who go by it. A single holder
// (unless a heart does not beat), a client's trouble and a cohort that goes by a hop of its own are as they were counted.
// What is wrong at a station shows at one channel alone where only that channel's lane has
// alarms while work flows in the others. Where all flows, and only money or single facts
// are wrong, it concerns just those.
func (p *physics) concerns(s doctor.Scope, h *doctor.Hypothesis) doctor.Scope {
	pages := p.pages
	if h.Cause == "" || h.Posterior < placedFrom || s.Class == scopeOne && !slices.ContainsFunc(pages, lifeless) {
		return s
	}
	stands := func(a *doctor.Alarm) bool { return a.Rule != doctor.Money && a.Rule != doctor.Conservation }
	if len(pages) > 0 && !slices.ContainsFunc(pages, stands) {
		if s.Class == scopeNone || s.Class == scopeUnknown || s.Class == scopeTooFew {
			verdictOf(&s, scopeTooFew, "scope-those-items")
		}
		return s
	}
	switch h.Kind { //nolint:exhaustive // who goes by the others, counting says
	case doctor.Database, doctor.Service, doctor.Gateway:
		if s.Class != scopeEveryone {
			s.Cohorts = nil
			verdictOf(&s, scopeEveryone, "scope-on-the-road", h.Node)
		}
	case doctor.Channel:
		itsChannel(&s, h.Node)
	case doctor.Relay, doctor.Queue:
		if name, flow := p.oneLane(); flow >= flowsLeast {
			itsChannel(&s, name)
		}
	}
	return s
}

// lifeless: where a heart does not beat, nobody is the only one.
func lifeless(a *doctor.Alarm) bool { return a.Rule == doctor.Beat }

// itsChannel makes it those who go by one channel, unless it was a cohort before.
func itsChannel(s *doctor.Scope, name string) {
	if s.Class != scopeCohort {
		s.Cohorts = []doctor.CohortFinding{{Cohort: doctor.Cohort{Dimension: "channel", Value: name}}}
		verdictOf(s, scopeCohort, "scope-its-channel", name)
	}
}

// placedFrom is the posterior from which the place of a fault tells who is affected.
const placedFrom = .5

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
func byCohorts(given []doctor.Cohort) doctor.Scope {
	all := slices.DeleteFunc(slices.Clone(given), func(c doctor.Cohort) bool { return slices.Contains(places, c.Dimension) })
	affected, events := 0, 0
	for _, c := range all {
		if c.Dimension == all[0].Dimension { // each dimension counts everybody once
			affected, events = affected+c.Affected, events+c.Total
		}
	}
	s := sized(affected, events)
	if s.Class == scopeTooFew {
		return s
	}
	s.Cohorts = contrasts(all)
	one, isOne := onlyOne(all, affected)
	switch {
	case affected == 0:
		verdictOf(&s, scopeNone, "scope-nobody")
	case isOne && affected >= oneLeast:
		verdictOf(&s, scopeOne, "scope-one", one.Dimension, one.Value)
	case len(s.Cohorts) > 0:
		verdictOf(&s, scopeCohort, "scope-cohort", s.Cohorts[0].Dimension, s.Cohorts[0].Value)
	case affected < cohortLeast:
		verdictOf(&s, scopeTooFew, "scope-too-few", strconv.Itoa(affected), strconv.Itoa(cohortLeast))
	default:
		verdictOf(&s, scopeEveryone, "scope-everyone")
	}
	return s
}

// What makes a cohort: that its values are affected, surely, and much more than others.
const (
	// oneLeast of one user's own, and nobody else's, are no coincidence.
	oneLeast = 3
	// cohortLeast are affected in a cohort, or the contrast rests on accidents.
	cohortLeast = 5
	// lift is how many times as often a cohort is affected as the rest: with less, it is
	// everybody, some a little more.
	lift = 5
)

var (
	// places are dimensions that say where work is, not whose.
	places = []string{"hop", "state"}
	// machinery are the dimensions of our own making: if one of them stands out, people
	// and products that use it do too, and are not the reason.
	machinery = []string{"node", "shard", "partition", "channel"}
	persons   = []string{"user", "account"}
)

// onlyOne returns the person who is all that is affected.
func onlyOne(all []doctor.Cohort, affected int) (doctor.Cohort, bool) {
	i := slices.IndexFunc(all, func(c doctor.Cohort) bool {
		return slices.Contains(persons, c.Dimension) && c.Affected == affected && affected > 0
	})
	if i < 0 {
		return doctor.Cohort{}, false
	}
	others := slices.ContainsFunc(all, func(c doctor.Cohort) bool {
		return c.Dimension == all[i].Dimension && c.Value != all[i].Value && c.Total > 0
	})
	return all[i], others
}

// contrasts returns the values that are affected more than the rest of their
// dimension, by Fisher's exact test with the Benjamini-Hochberg rule over all values
// looked at; those of our own machinery first.
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
			f.PValue = tail(c.Affected, c.Total, s[0]-c.Affected, s[1]-c.Total)
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
	found = slices.DeleteFunc(found[:last], func(f doctor.CohortFinding) bool {
		return f.Affected < cohortLeast || f.Share < lift*f.RestShare
	})
	slices.SortStableFunc(found, func(a, b doctor.CohortFinding) int { return cmp.Compare(rank(a.Dimension), rank(b.Dimension)) })
	for i := range found {
		found[i].PValue = round(found[i].PValue)
	}
	return found
}

func rank(dimension string) int {
	switch {
	case slices.Contains(machinery, dimension):
		return 0
	case slices.Contains(persons, dimension):
		return 2
	}
	return 1
}

// exactMost is the number of affected above which the likelihood ratio stands in for
// the exact test: it is right there, and the sum is long.
const exactMost = 2_000

// tail is the probability that k1 or more of the k1+k2 affected are among n1 of n1+n2
// when all are alike: Fisher's exact test, one-sided.
func tail(k1, n1, k2, n2 int) float64 {
	k, n := k1+k2, n1+n2
	if k > exactMost {
		return math.Erfc(math.Sqrt(deviance(k1, n1, k2, n2)/2)) / 2
	}
	sum := 0.0
	for i := k1; i <= min(k, n1); i++ {
		if k-i <= n2 {
			sum += math.Exp(choose(n1, i) + choose(n2, k-i) - choose(n, k))
		}
	}
	return min(1, sum)
}

// choose is the logarithm of n over k.
func choose(n, k int) float64 {
	of := func(m int) float64 {
		l, _ := math.Lgamma(float64(m) + 1)
		return l
	}
	return of(n) - of(k) - of(n-k)
}

// byCanaries says who is affected by what our own payments met: each path has one.
func byCanaries(p *physics) (doctor.Scope, bool) {
	paths, failing := map[string]bool{}, map[string]bool{}
	for i := range p.e.Readings {
		if r := &p.e.Readings[i]; r.Signal == doctor.CanaryAge && r.Presence(p.e.TakenAt) != doctor.Absent {
			paths[r.Statistic] = true
		}
	}
	for i := range p.e.Alarms {
		if a := &p.e.Alarms[i]; a.Signal == doctor.CanaryAge && paths[a.Statistic] {
			failing[a.Statistic] = true
		}
	}
	if len(paths) < 2 || len(failing) == 0 {
		return doctor.Scope{}, false
	}
	s := doctor.Scope{Events: len(paths)}
	s.Share, s.Low, s.High = interval(len(failing), len(paths))
	if len(failing) == len(paths) {
		verdictOf(&s, scopeEveryone, "scope-canaries")
		return s, true
	}
	names := slices.Sorted(mapKeys(failing))
	verdictOf(&s, scopeCohort, "scope-canary-paths", strings.Join(names, ", "))
	for _, name := range names {
		s.Cohorts = append(s.Cohorts, doctor.CohortFinding{Cohort: doctor.Cohort{Dimension: "path", Value: name, Affected: 1, Total: 1}, Share: 1, High: 1, PValue: 1})
	}
	return s, true
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
