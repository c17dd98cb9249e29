package diagnose

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/moneta-pay/moneta/doctor"
)

// family groups evidence that comes from one source or one physical effect. Within a
// family the strongest piece counts, across families they multiply.
type family string

const (
	work     family = "work"     // own excess work
	failures family = "failures" // own failures
	flow     family = "flow"     // what comes, leaves and stays
	wire     family = "wire"     // between caller and callee
	calls    family = "calls"    // how often it calls
	load     family = "load"     // how much is asked of it
	inside   family = "inside"   // what only the hop itself can see
	symptom  family = "symptom"  // whether the mechanism makes such a symptom
	presence family = "presence" // whether its readings speak at all
	place    family = "place"    // where it stands
)

// finding is what one family says about one hypothesis.
type finding struct {
	family  family
	log     float64
	says    sentence
	reading *doctor.Reading
	// unit is set, with value and usual, where the figure is derived and not the reading's.
	unit         string
	value, usual float64
	// sign is set for a finding from a sign of a cause, whose sentence is the catalogue's.
	sign *sign
}

// findings are all that is known about a hypothesis.
func (p *physics) findings(i int, m mechanism) []finding {
	h := &p.hops[i]
	if m.cause != nil {
		return p.ofCause(i, m)
	}
	out := []finding{{family: symptom, log: fits(p.e.Symptom, m), reading: p.reading, says: say("symptom")}}
	out = appendSome(out, p.primary(i, m))
	out = appendSome(out, p.loaded(h, m))
	out = appendSome(out, p.within(h, m))
	out = appendSome(out, p.present(h, m))
	if p.live {
		return p.beside(i, m, out)
	}
	return appendSome(out, p.placed(h))
}

// beside weighs the findings of a generic mechanism among causes of a catalogue: what
// the physics sees is worth as much as for them, it may be explained from further down,
// and alarms count.
func (p *physics) beside(i int, m mechanism, all []finding) []finding {
	left := physicsWeight * (1 - p.explainedAway(i, i, 0))
	for j := range all {
		if all[j].log > 0 {
			all[j].log *= left
		}
	}
	return appendSome(all, p.byAlarms(i, m))
}

// physicsWeight is what the physics of flow counts beside the signs of a cause: on our
// own plane a request that waits has no latency yet, so that the physics sees less.
const physicsWeight = .5

// ofCause are the findings of a cause of the catalogue.
func (p *physics) ofCause(i int, m mechanism) []finding {
	out := p.bySigns(i, m)
	if p.excessive(m.primary) {
		f := p.primary(i, m)
		f.log *= physicsWeight
		if f.log < 0 && (f.says.code == "never-told" || f.says.code == "flows" && !p.counted(i)) {
			f.log = 0 // a hop that never tells how long it takes is judged by what it does tell
		}
		out = appendSome(out, f)
	}
	return appendSome(oneSource(out), p.byAlarms(i, m))
}

// sameSource is what each further finding of one signal counts of the one before:
// families that look at the same figures fail together.
const sameSource = .5

// oneSource damps what speaks for a cause more than once by the same signal: the
// strongest counts whole, the next half, and so on.
func oneSource(all []finding) []finding {
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(x, y int) int { return cmp.Compare(all[y].log, all[x].log) })
	left := map[doctor.Signal]float64{}
	for _, i := range order {
		f := &all[i]
		if f.log <= 0 || f.reading == nil {
			continue
		}
		k := f.reading.Signal
		if _, more := left[k]; !more {
			left[k] = 1
		}
		f.log *= left[k]
		left[k] *= sameSource
	}
	return all
}

// excessive reports whether there is an excess of that family anywhere: where there is
// none, having no share of it says nothing.
func (p *physics) excessive(of family) bool {
	any := func(share func(*hop) float64) bool {
		return slices.ContainsFunc(p.hops, func(h hop) bool { return share(&h) > excessLeast })
	}
	switch of { //nolint:exhaustive // the rest are not families of the physics
	case work:
		return any(func(h *hop) float64 { return h.workShare })
	case failures:
		return any(func(h *hop) float64 { return h.failShare })
	case wire:
		return any(func(h *hop) float64 { return h.wireShare })
	case flow:
		return any(func(h *hop) float64 { return h.stall })
	case calls:
		return any(func(h *hop) float64 { return h.retries })
	}
	return false
}

const excessLeast = .25

func appendSome(all []finding, f finding) []finding {
	if f.log == 0 {
		return all
	}
	return append(all, f)
}

// primary is the family without which the mechanism cannot be. Not measured is no
// evidence, neither for nor against.
func (p *physics) primary(i int, m mechanism) finding {
	h := &p.hops[i]
	by := map[family]func() finding{
		work:     func() finding { return p.byWork(h) },
		failures: func() finding { return p.byFailures(h) },
		flow:     func() finding { return p.byFlow(h, m) },
		wire:     func() finding { return p.byWire(i) },
		calls:    func() finding { return p.byCalls(h) },
	}
	return by[m.primary]()
}

func (p *physics) byWork(h *hop) finding {
	if h.latency == nil {
		return p.nothingAsked(h, work, ofWork)
	}
	f := finding{
		family: work, log: shareRatio(h.workShare), reading: h.latency,
		unit: "s of work a second", value: h.ownWork, usual: h.volume() * h.latency.Before.Value,
		says: say("own-work", percent(h.workShare)),
	}
	if h.rise > 0 && h.workShare < .1 {
		f.says = say("work-of-others")
	}
	return f
}

func (p *physics) byFailures(h *hop) finding {
	if h.failed == nil {
		return p.nothingAsked(h, failures, ofFailures)
	}
	f := finding{
		family: failures, log: shareRatio(h.failShare), reading: h.failed,
		unit: "failures a second", value: h.ownFailed, usual: h.volume() * h.failed.Before.Value,
		says: say("own-failures", percent(h.failShare)),
	}
	if h.failRise > 0 && h.failShare < .1 {
		f.says = say("failures-of-others")
	}
	return f
}

// nothingAsked judges a hop without figures: idle is evidence against; one that has
// stopped telling, or never told, may be what its callers' excess hides, and is
// exonerated only when they have none.
func (p *physics) nothingAsked(h *hop, fam family, of func(caller *hop) (float64, *doctor.Reading)) finding {
	if h.rate != nil && h.served == 0 && h.servedBefore == 0 {
		return finding{family: fam, log: -clip, reading: h.rate, says: say("nothing-to-do")}
	}
	if h.starved > .5 {
		return finding{family: fam, log: -clip, reading: h.rate, says: say("idle")}
	}
	return p.byHidden(h, fam, of)
}

// byHidden judges a hop that tells nothing by what its callers' excess may hide.
func (p *physics) byHidden(h *hop, fam family, of func(caller *hop) (float64, *doctor.Reading)) finding {
	hidden := 0.0
	var r *doctor.Reading
	for _, i := range h.callers {
		c := &p.hops[i]
		s, reading := of(c)
		if reading == nil || c.darkCallees == 0 {
			continue
		}
		r = reading
		if h.silentOnes > 0 {
			hidden = max(hidden, s*c.hidden/(1-c.hidden)/float64(max(1, c.gone)))
		} else {
			hidden = max(hidden, s*hiddenNever/float64(c.darkCallees))
		}
	}
	switch {
	case r == nil:
		return finding{}
	case h.silentOnes > 0:
		return finding{family: fam, log: shareRatio(hidden), reading: r, says: say("hidden", percent(hidden))}
	}
	return finding{family: fam, log: shareRatio(hidden), reading: r, says: say("never-told", percent(hidden))}
}

func ofWork(c *hop) (float64, *doctor.Reading)     { return c.workShare, c.latency }
func ofFailures(c *hop) (float64, *doctor.Reading) { return c.failShare, c.failed }

// counted reports whether it is told what leaves the hop, or how old is what is there:
// requests that it is asked say nothing of work that it keeps.
func (p *physics) counted(i int) bool {
	h := &p.hops[i]
	return h.departures != nil || h.age != nil || !slices.Contains(keepers, h.Kind)
}

// keepers are kinds of hops that keep work.
var keepers = []doctor.Kind{doctor.Queue, doctor.Relay, doctor.Webhook, doctor.Projection}

func (p *physics) byFlow(h *hop, m mechanism) finding {
	r := firstReading(h.departures, h.age, h.rate)
	switch {
	case r == nil && p.e.Symptom.Class() == doctor.Stale:
		return finding{} // it may well be where the work stays
	case r == nil && p.e.Symptom.Signal == doctor.Errors:
		return p.byHidden(h, flow, ofFailures)
	case r == nil:
		return p.byHidden(h, flow, ofWork)
	}
	f := finding{family: flow, reading: r}
	switch {
	case h.starved > .5:
		f.log, f.says = -clip, say("starves")
		f.reading = firstReading(h.arrivals, h.rate)
	case h.stall == 0:
		f.log, f.says = -clip, say("flows")
	default:
		f.log, f.says = shareRatio(h.stall), say("stays", percent(h.stall))
		if h.departures == nil && h.age == nil {
			f.says = say("unanswered", percent(h.drop))
		}
		if m.name == backlog.name && h.stall > .9 || m.name == silent.name && h.stall < .5 {
			f.log -= .7 // a trickle is a backlog, nothing at all is silence
		}
	}
	return f
}

func firstReading(all ...*doctor.Reading) *doctor.Reading {
	i := slices.IndexFunc(all, func(r *doctor.Reading) bool { return r != nil })
	if i < 0 {
		return nil
	}
	return all[i]
}

// byWire judges the wire. Where nobody measured both ends, the wire to a hop is part
// of what its callers added: they are suspected first.
func (p *physics) byWire(i int) finding {
	h := &p.hops[i]
	for _, x := range p.edges {
		if x.wire != nil && (x.from == i || x.to == i) {
			return finding{
				family: wire, log: shareRatio(h.wireShare), reading: x.wire,
				says: say("wire", percent(h.wireShare)),
			}
		}
	}
	if h.Kind == doctor.Remote {
		return p.byWork(h)
	}
	hidden := 0.0
	var r *doctor.Reading
	for _, c := range h.callers {
		if from := &p.hops[c]; from.latency != nil {
			hidden, r = max(hidden, from.workShare/float64(1+len(from.callees))), from.latency
		}
	}
	if r == nil {
		return finding{}
	}
	return finding{family: wire, log: shareRatio(hidden), reading: r, says: say("wire-hidden", percent(hidden))}
}

func (p *physics) byCalls(h *hop) finding {
	if !h.retried {
		return finding{}
	}
	f := finding{family: calls, reading: h.rate, log: -2, says: say("calls-as-before")}
	if h.retries > .3 {
		f.log = clamp(2*math.Log(1+h.retries)+1, 0, clip)
		f.says = say("calls-more", h.retriedPeer, fmt.Sprintf("%.1f", 1+h.retries))
	}
	return f
}

// more is the growth of the load above which it counts as one, a share.
const more = .3

func (p *physics) loaded(h *hop, m mechanism) finding {
	if h.rate != nil && h.served == 0 && h.servedBefore == 0 {
		return finding{family: load, reading: h.rate, log: -2, says: say("never-asked")}
	}
	if h.rate == nil || h.rate.Before.N == 0 || (m.name != overload.name && m.name != crash.name) {
		return finding{}
	}
	f := finding{family: load, reading: h.rate}
	grown := h.served > (1+more)*h.servedBefore && deviation(h.rate) > noiseFull
	switch {
	case m.name == crash.name && h.drop < .5:
		f.log, f.says = -1, say("serves")
	case m.name == crash.name:
	case grown:
		f.log, f.says = 1.5, say("more-load")
	default:
		f.log, f.says = -2, say("usual-load")
	}
	return f
}

// What an inside signal says: an abnormal one speaks for its mechanism, and a little
// for any trouble of the hop; a normal one that was measured speaks against it.
const (
	abnormalFor   = 2.5
	normalAgainst = -1.5
	logsFor       = 2.0
)

func (p *physics) within(h *hop, m mechanism) finding {
	best := finding{family: inside}
	for _, r := range h.inside {
		mine := slices.Contains(m.signals, r.Signal)
		z := deviation(r)
		odd := z > 4 && r.During.Value > 1.2*r.Before.Value
		f := finding{family: inside, reading: r}
		switch {
		case mine && odd && (r.Signal == doctor.LogErrors || r.Signal == doctor.LogNew):
			f.log, f.says = logsFor, say("log-errors")
		case mine && odd:
			f.log, f.says = abnormalFor, say("inside-odd", string(r.Signal), fmt.Sprintf("%.0f", min(z, 999)))
		case mine:
			f.log, f.says = normalAgainst, say("inside-usual", string(r.Signal))
		case odd && m.primary == work && len(m.signals) == 0:
			f.log, f.says = .5, say("inside-other", string(r.Signal))
		}
		if best.log <= 0 && f.log > 0 || math.Abs(f.log) > math.Abs(best.log) && !(best.log > 0 && f.log < 0) {
			best = f
		}
	}
	return best
}

// present makes silence of the readings count: a hop that no longer tells how it is
// may have stopped, and is not healthy.
func (p *physics) present(h *hop, m mechanism) finding {
	if h.silentOnes == 0 || h.readings == 0 {
		return finding{}
	}
	quiet := float64(h.silentOnes) / float64(h.readings)
	f := finding{family: presence, says: say("missing", strconv.Itoa(h.silentOnes), strconv.Itoa(h.readings)), unit: "share", value: quiet}
	switch {
	case m.name == crash.name || m.name == silent.name:
		f.log = 1.4 * quiet
	case p.measured(h, m):
		return finding{}
	}
	return f
}

// measured reports whether the mechanism's own family could be judged.
func (p *physics) measured(h *hop, m mechanism) bool {
	return (m.primary == work && h.latency != nil) || (m.primary == failures && h.failed != nil)
}

// placed speaks against what the symptom's hop does not call: for slowness the fault
// is below, for data that does not move it may be on either side.
func (p *physics) placed(h *hop) finding {
	apart := !h.down
	if p.e.Symptom.Class() == doctor.Stale {
		apart = !h.down && !h.up
	}
	if !apart {
		return finding{}
	}
	log := -3.0
	if h.up {
		log = -1.5 // it calls the symptom's hop: it can only ask too much of it
	}
	return finding{family: place, log: log, says: say("apart")}
}

// calm is the log likelihood ratio of no fault: how ordinary the symptom is.
func (p *physics) calm() float64 {
	if p.reading == nil || p.reading.Presence(p.e.TakenAt) != doctor.Present {
		return 0 // nobody knows, and that is not calm
	}
	z := deviation(p.reading)
	if p.e.Symptom.Signal == doctor.Rate || p.e.Symptom.Signal == doctor.Departures {
		z = -z
	}
	return clamp(calmMost-calmSlope*max(0, z-calmUpTo), -clip, clip)
}

// A symptom within calmUpTo usual spreads is ordinary, which a fault seldom leaves it;
// beyond about three it is more probable under a fault.
const (
	calmUpTo  = 1.5
	calmMost  = 2.5
	calmSlope = 1.8
)

// At a third of the excess explained, unknown is as probable as before.
const (
	unexplainedMost  = 2.0
	unexplainedSlope = 6.0
)

// unexplained is the log likelihood ratio of unknown: it rises when the best hop
// explains less than half of the excess, or when readings are missing.
func (p *physics) unexplained() float64 {
	best := 0.0
	for i := range p.hops {
		h := &p.hops[i]
		best = max(best, min(1, h.explains/(1-h.hidden))) // it, or what has gone dark below it
	}
	log := 2 * p.missing
	if p.reading == nil || p.reading.Presence(p.e.TakenAt) != doctor.Present {
		log++
	}
	log += unexplainedMost - unexplainedSlope*best - max(0, p.calm()) // where nothing is odd, nothing is unexplained
	return clamp(log, -clip, clip)
}
