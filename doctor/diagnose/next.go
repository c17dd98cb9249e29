package diagnose

import (
	"cmp"
	"math"
	"slices"

	"github.com/moneta-pay/moneta/doctor"
)

// probe is a kind of check, and which mechanisms a yes shows; words.go has the question.
type probe struct {
	id       string
	costS    int
	shows    []string
	readOnly bool
	ask      *doctor.Ask // of the catalogue
}

// The checks by kind of hop. None of them changes anything; all could be run by a
// machine alone.
var (
	ownTime   = probe{id: "own-time", costS: 2, shows: []string{"slow", "overload", "pool", "gc", "lock", "disk"}, readOnly: true}
	runtime   = probe{id: "runtime", costS: 1, shows: []string{"pool"}, readOnly: true}
	garbage   = probe{id: "garbage", costS: 1, shows: []string{"gc"}, readOnly: true}
	errorLog  = probe{id: "error-log", costS: 2, shows: []string{"failing", "crash"}, readOnly: true}
	alive     = probe{id: "alive", costS: 1, shows: []string{"crash", "silent"}, readOnly: true}
	blockers  = probe{id: "blockers", costS: 1, shows: []string{"lock"}, readOnly: true}
	queries   = probe{id: "statements", costS: 2, shows: []string{"slow", "overload"}, readOnly: true}
	diskTime  = probe{id: "disk-time", costS: 2, shows: []string{"disk"}, readOnly: true}
	pooled    = probe{id: "connections", costS: 1, shows: []string{"pool"}, readOnly: true}
	oldest    = probe{id: "oldest", costS: 1, shows: []string{"backlog", "silent"}, readOnly: true}
	dead      = probe{id: "dead-letters", costS: 1, shows: []string{"failing"}, readOnly: true}
	synthetic = probe{id: "synthetic", costS: 2, shows: []string{"wire"}, readOnly: true}
	statuses  = probe{id: "status-mix", costS: 1, shows: []string{"failing"}, readOnly: true}
	capacity  = probe{id: "load", costS: 1, shows: []string{"overload", "retries"}, readOnly: true}
	versions  = probe{id: "versions", costS: 2, shows: []string{"failing", "wire"}, readOnly: true}
)

var probes = map[doctor.Kind][]probe{
	doctor.Client:     {versions, capacity},
	doctor.Gateway:    {ownTime, errorLog, alive, capacity, synthetic},
	doctor.Service:    {ownTime, runtime, garbage, errorLog, alive, capacity, synthetic},
	doctor.Queue:      {oldest, dead, ownTime},
	doctor.Database:   {blockers, queries, diskTime, pooled, errorLog, alive},
	doctor.Cache:      {ownTime, errorLog, alive, synthetic},
	doctor.Channel:    {synthetic, statuses, ownTime},
	doctor.Relay:      {oldest, errorLog, alive},
	doctor.Projection: {oldest, errorLog, alive},
	doctor.Webhook:    {oldest, dead, alive},
	doctor.Remote:     {synthetic, statuses, ownTime},
}

const (
	checksShown = 3
	checkedHops = 6 // what is asked of hops further down cannot pay
	// A check is right nine times in ten, either way. It is an assumption until drills
	// have counted.
	checkRight = .9
)

// nextChecks ranks the checks by the uncertainty that they are expected to remove, a
// second of their cost; those whose outcome leaves the same hypothesis in the lead
// come only when there are no others.
func (b *belief) nextChecks() []doctor.Check {
	var out []doctor.Check
	for _, h := range b.leaders() {
		for _, pr := range b.p.probesOf(h) {
			out = append(out, b.value(h, pr))
		}
	}
	slices.SortStableFunc(out, func(x, y doctor.Check) int {
		return cmp.Or(cmp.Compare(y.BitsPerSecond, x.BitsPerSecond), cmp.Compare(x.Node, y.Node), cmp.Compare(x.ID, y.ID))
	})
	telling := slices.ContainsFunc(out, func(c doctor.Check) bool { return c.Yes != c.No })
	out = slices.DeleteFunc(out, func(c doctor.Check) bool { return c.GainBits == 0 || telling && c.Yes == c.No })
	return append([]doctor.Check{}, out[:min(len(out), checksShown)]...)
}

// leaders are the most probable hops.
func (b *belief) leaders() []int {
	sums := make([]float64, len(b.p.hops))
	order := make([]int, len(b.p.hops))
	for i := range order {
		order[i] = i
	}
	for _, c := range b.cells {
		if c.hop >= 0 {
			sums[c.hop] += c.posterior
		}
	}
	slices.SortStableFunc(order, func(x, y int) int { return cmp.Compare(sums[y], sums[x]) })
	return order[:min(len(order), checkedHops)]
}

// value works out what a check is expected to tell.
func (b *belief) value(h int, pr probe) doctor.Check {
	likely := func(c cell, yes bool) float64 {
		if (c.hop == h && slices.Contains(pr.shows, c.mechanism)) == yes {
			return checkRight
		}
		return 1 - checkRight
	}
	gain := b.entropy(func(cell) float64 { return 1 })
	for _, yes := range []bool{true, false} {
		of := func(c cell) float64 { return likely(c, yes) }
		share := 0.0
		for _, c := range b.cells {
			share += c.posterior * of(c)
		}
		gain -= share * b.entropy(of)
	}
	out := doctor.Check{
		ID: pr.id, Node: b.p.hops[h].Name, Ask: Say("en", "ask-"+pr.id, nil), CostS: pr.costS, ReadOnly: pr.readOnly,
		GainBits: round(max(0, gain)), BitsPerSecond: round(max(0, gain) / float64(pr.costS)),
		Yes: b.leading(func(c cell) float64 { return likely(c, true) }),
		No:  b.leading(func(c cell) float64 { return likely(c, false) }),
	}
	if pr.ask != nil {
		out.Ask, out.AskZH, out.Run = pr.ask.Ask.EN, pr.ask.Ask.ZH, pr.ask.Run
	}
	return out
}

// probesOf are the checks of a hop: those of its causes where the catalogue has them,
// one that several causes name once, showing all of them.
func (p *physics) probesOf(i int) []probe {
	var out []probe
	for _, m := range p.mechanismsOf(i) {
		if m.cause == nil {
			return probes[p.hops[i].Kind]
		}
		for j := range m.cause.Checks {
			a := &m.cause.Checks[j]
			at := slices.IndexFunc(out, func(pr probe) bool { return pr.id == a.ID })
			if at >= 0 {
				out[at].shows = append(out[at].shows, m.name)
				continue
			}
			out = append(out, probe{id: a.ID, costS: max(1, a.CostS), shows: []string{m.name}, readOnly: a.ReadOnly, ask: a})
		}
	}
	return out
}

// entropy in bits of the belief, reweighted.
func (b *belief) entropy(of func(cell) float64) float64 {
	sum := 0.0
	for _, c := range b.cells {
		sum += c.posterior * of(c)
	}
	bits := 0.0
	for _, c := range b.cells {
		if q := c.posterior * of(c) / sum; q > 0 {
			bits -= q * math.Log2(q)
		}
	}
	return bits
}

// leading names the hypothesis that leads after reweighting.
func (b *belief) leading(of func(cell) float64) string {
	best, top := "", -1.0
	for _, c := range b.cells {
		if q := c.posterior * of(c); q > top {
			best, top = c.mechanism, q
			if c.hop >= 0 {
				best = b.p.hops[c.hop].Name + ": " + c.mechanism
			}
		}
	}
	return best
}
