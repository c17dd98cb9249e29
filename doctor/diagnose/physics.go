package diagnose

import (
	"math"
	"slices"

	"github.com/moneta-pay/moneta/doctor"
)

// hop is one hop with what was measured and what follows from it.
type hop struct {
	doctor.Hop
	callers, callees []int

	latency, rate, failed       *doctor.Reading
	arrivals, departures, age   *doctor.Reading
	inside                      []*doctor.Reading
	readings, silentOnes        int // how many, and how many of them are missing or stale
	served, servedBefore        float64
	rise, failRise              float64 // of latency (s), of the share of failures; shrunk by noise
	ownWork, ownFailed          float64 // s of work a second; failures a second
	wire                        float64 // s of work a second that is the wire's, charged here
	drop                        float64 // share of the requests that it no longer serves, 0 to 1
	stall, starved              float64 // 0 to 1
	workReach, failReach        float64 // how much of its excess its callers show, up to the symptom
	workShare, failShare        float64
	wireShare, explains         float64
	darkCallees, gone           int     // callees that tell nothing, and those that have stopped
	hidden                      float64 // the part of its own excess that the latter may have made
	usual                       float64 // latency before, s
	retries                     float64 // how much more often it calls, 0 when as before
	excluded, down, up, retried bool    // explained away; below, above the symptom
	counted                     bool    // its requests were counted before
	retriedPeer                 string
	mechanisms                  []mechanism // how it may fail
}

// edge is a call with what was measured of it.
type edge struct {
	from, to int
	wire     *doctor.Reading
}

// physics holds what follows from the readings by arithmetic alone.
type physics struct {
	e       *doctor.Evidence
	hops    []hop
	index   map[string]int
	edges   []edge
	calling map[[2]int]int // edge by its ends
	symptom int
	// The symptom's own reading, and how far it is from usual.
	reading     *doctor.Reading
	excessWork  float64 // at the symptom, s of work a second
	excessFails float64
	wireKnown   bool
	missing     float64 // share of the readings that should speak and do not

	// Where causes of a catalogue can be judged.
	live    bool
	read    map[readKey][]*doctor.Reading
	signed  map[signedKey][]sign
	marks   []float64 // by hop, the most that the marks of one of its causes say
	beneath [][]bool  // by hop, on which others it stands
	pages   []*doctor.Alarm
}

// Thresholds of what counts as a change. A rise is believed gradually between one and
// three usual spreads: less is what points do anyway.
const (
	noiseFrom = 1.0
	noiseFull = 3.0
	// spreadLeast is the least spread that is assumed, as a share of the value: a series
	// that never moved before is not proof that any move is a fault.
	spreadLeast = .02
	// failLeast is the same for shares of failures, absolute.
	failLeast = .002
	// reachLeast is left to a hop whose excess its callers do not show.
	reachLeast = .1
	// unreachable is left to a hop that the symptom does not call, directly or not.
	unreachable = .01
)

func newPhysics(e *doctor.Evidence, causes []doctor.Cause) *physics {
	p := &physics{e: e, calling: make(map[[2]int]int, len(e.Calls)), index: make(map[string]int, len(e.Hops)), hops: make([]hop, len(e.Hops))}
	for i, h := range e.Hops {
		p.hops[i].Hop = h
		p.index[h.Name] = i
	}
	for _, c := range e.Calls {
		from, to := p.index[c.From], p.index[c.To]
		p.calling[[2]int{from, to}] = len(p.edges)
		p.edges = append(p.edges, edge{from: from, to: to})
		p.hops[from].callees = append(p.hops[from].callees, to)
		p.hops[to].callers = append(p.hops[to].callers, from)
	}
	p.symptom = p.index[e.Symptom.Hop]
	p.takeReadings()
	for i := range p.hops {
		p.hops[i].changes(e)
	}
	p.mark()
	p.derive()
	p.pages = p.paging()
	p.standing()
	p.chooseMechanisms(causes)
	return p
}

// takeReadings sorts the readings to their hops. Those that are missing or stale are
// counted and not used: an old value says how it was.
func (p *physics) takeReadings() {
	expected, silent := 0, 0
	p.read = map[readKey][]*doctor.Reading{}
	for i := range p.e.Readings {
		r := &p.e.Readings[i]
		h := &p.hops[p.index[r.Hop]]
		p.file(r)
		speaks := true
		switch r.Presence(p.e.TakenAt) {
		case doctor.Absent:
			continue
		case doctor.Missing, doctor.Stopped:
			speaks = false
			if p.idle(r) {
				continue // no request came, so that no latency could be measured
			}
			silent++
			h.silentOnes++
		case doctor.Present, doctor.New:
		}
		expected++
		h.readings++
		if r.Hop == p.e.Symptom.Hop && r.Peer == "" && r.Signal == p.e.Symptom.Signal && sameStatistic(r, p.e.Symptom) {
			p.reading = r
		}
		if r.Peer == "" && r.Signal == doctor.Latency && (r.Statistic == "mean" || h.usual == 0) {
			h.usual = r.Before.Value
		}
		if r.Peer == "" && r.Signal == doctor.Rate {
			h.servedBefore, h.counted = r.Before.Value, r.Before.N > 0
		}
		if !speaks {
			continue
		}
		if r.Peer != "" {
			if x, ok := p.calling[[2]int{p.index[r.Hop], p.index[r.Peer]}]; ok && r.Signal == doctor.Wire {
				p.edges[x].wire, p.wireKnown = r, true
			}
			continue
		}
		h.take(r, p.e.Symptom.Statistic)
	}
	if expected > 0 {
		p.missing = float64(silent) / float64(expected)
	}
}

// file keeps a reading where signs look for it; one of a call is looked for at both ends.
func (p *physics) file(r *doctor.Reading) {
	at := readKey{p.index[r.Hop], r.Signal}
	p.read[at] = append(p.read[at], r)
	if r.Peer != "" {
		at.hop = p.index[r.Peer]
		p.read[at] = append(p.read[at], r)
	}
}

func sameStatistic(r *doctor.Reading, s doctor.Symptom) bool {
	return r.Statistic == s.Statistic || (s.Statistic == "" && r.Statistic == "mean")
}

// idle reports whether the hop is known to have had no request, which explains why
// there is no latency and no share of failures.
func (p *physics) idle(r *doctor.Reading) bool {
	if r.Signal != doctor.Latency && r.Signal != doctor.Errors {
		return false
	}
	i, ok := slices.BinarySearchFunc(p.e.Readings, r, func(x doctor.Reading, want *doctor.Reading) int {
		switch {
		case x.Hop != want.Hop:
			return compare(x.Hop, want.Hop)
		case x.Peer != "":
			return 1
		}
		return compare(string(x.Signal), string(doctor.Rate))
	})
	return ok && p.e.Readings[i].During.N > 0 && p.e.Readings[i].During.Value == 0
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// latencies is the order of preference, after the symptom's own statistic: a mean adds
// up along the road, quantiles do not.
var latencies = []string{"mean", "p90", "p95", "p50", "p99", ""}

func (h *hop) take(r *doctor.Reading, statistic string) {
	switch r.Signal { //nolint:exhaustive // the rest speaks through the signs of causes
	case doctor.Latency:
		rank := func(x *doctor.Reading) int {
			if x.Statistic == statistic {
				return -1
			}
			return slices.Index(latencies, x.Statistic)
		}
		if r.Before.N > 0 && (h.latency == nil || rank(r) < rank(h.latency)) {
			h.latency = r
		}
	case doctor.Rate:
		h.rate = r
	case doctor.Errors:
		h.failed = r
	case doctor.Arrivals:
		h.arrivals = r
	case doctor.Departures:
		h.departures = r
	case doctor.OldestAge:
		h.age = r
	case doctor.LockWaiters, doctor.PoolWait, doctor.GC, doctor.CPU, doctor.Memory, doctor.IOWait, doctor.Restarts, doctor.LogErrors, doctor.LogNew:
		h.inside = append(h.inside, r)
	case doctor.Waiting, doctor.Wire: // the first is for people, the second is of calls
	}
}

// spread is the usual distance of a point, never quite zero.
func spread(r *doctor.Reading, least float64) float64 {
	return max(r.Before.Spread, least, 1e-9)
}

// deviation is how many spreads the window lies above the usual value.
func deviation(r *doctor.Reading) float64 {
	least := spreadLeast * math.Abs(r.Before.Value)
	if info, _ := r.Signal.Info(); info.Unit == "share" {
		least = max(least, failLeast)
	}
	return (r.During.Value - r.Before.Value) / spread(r, least)
}

// believed shrinks a rise to what is above noise.
func believed(rise, z float64) float64 {
	return max(0, rise) * clamp((z-noiseFrom)/(noiseFull-noiseFrom), 0, 1)
}

// changes works out what changed at the hop itself.
func (h *hop) changes(e *doctor.Evidence) {
	if r := h.rate; r != nil {
		h.served = r.During.Value
	}
	if r := h.latency; r != nil {
		h.rise = believed(r.During.Value-r.Before.Value, deviation(r))
	}
	if r := h.failed; r != nil {
		h.failRise = believed(r.During.Value-r.Before.Value, deviation(r))
	}
	h.drop = fallen(h.rate)
	h.flow()
}

// fallen is the share of a rate that is gone, believed gradually: rates jump more than
// latencies do.
func fallen(r *doctor.Reading) float64 {
	if r == nil || r.Before.N == 0 || r.Before.Value <= 0 {
		return 0
	}
	return believed(1-r.During.Value/r.Before.Value, -deviation(r)/2)
}

// ageLeast is the age of the oldest work below which nobody needs to care, in
// seconds; above twice the usual age it is a stall.
const ageLeast = 5

func (h *hop) flow() {
	in, out := h.arrivals, h.departures
	if in != nil && out != nil && out.Before.N > 0 && out.Before.Value > 0 {
		due := min(in.During.Value, max(out.Before.Value, in.Before.Value))
		if due > 0 && in.During.Value > out.During.Value {
			h.stall = clamp(1-out.During.Value/due, 0, 1)
		}
	}
	h.starved = fallen(in)
	if r := h.age; r != nil && r.Before.N > 0 && r.During.Value > max(ageLeast, 2*(r.Before.Value+noiseFull*r.Before.Spread)) {
		h.stall = max(h.stall, .8)
	}
}

// mark says which hops are below and above the symptom.
func (p *physics) mark() {
	walk := func(next func(*hop) []int, set func(*hop)) {
		seen := make([]bool, len(p.hops))
		queue := []int{p.symptom}
		for len(queue) > 0 {
			i := queue[0]
			queue = queue[1:]
			if seen[i] {
				continue
			}
			seen[i] = true
			set(&p.hops[i])
			queue = append(queue, next(&p.hops[i])...)
		}
	}
	walk(func(h *hop) []int { return h.callees }, func(h *hop) { h.down = true })
	walk(func(h *hop) []int { return h.callers }, func(h *hop) { h.up = true })
}

// derive charges each hop with its own excess.
func (p *physics) derive() {
	s := &p.hops[p.symptom]
	p.excessWork, p.excessFails = s.volume()*s.rise, s.volume()*s.failRise
	for i := range p.hops {
		p.own(i)
	}
	for i := range p.hops {
		p.aliases(i)
	}
	p.chargeWire()
	p.reach()
	p.shares()
	if p.unanswered() {
		p.shares()
	}
	p.retrying()
	p.cut()
}

// volume is what the hop serves; one request a second when nobody counted, so that
// rises can still be compared.
func (h *hop) volume() float64 {
	switch {
	case h.rate == nil:
		return 1
	case h.served > rateLeast:
		return h.served
	}
	return 0
}

// rateLeast is a rate that is none: once in thirty years.
const rateLeast = 1e-9

// calls is how often a request at the hop calls m.
func (p *physics) calls(h, m *hop) float64 {
	if h.volume() == 0 || (h.rate == nil) != (m.rate == nil) {
		return 1 // nobody can say: once a request
	}
	return m.volume() / h.volume()
}

// usualCalls is the same before the trouble.
func usualCalls(h, m *hop) float64 {
	switch {
	case !h.counted || !m.counted:
		return 1 // nobody can say: once a request
	case h.servedBefore < rateLeast:
		return 0
	}
	return m.servedBefore / h.servedBefore
}

// own is rate × (own rise − what the callees explain). Through a callee that tells
// nothing one sees what it calls; a part of the rest may be its own, and is hidden.
func (p *physics) own(i int) {
	h := &p.hops[i]
	work, fails, weight, gone := 0.0, 0.0, 0.0, 0
	for _, m := range p.below(i) {
		c := &p.hops[m]
		work += p.calls(h, c) * (c.rise + p.wireRise(i, m))
		fails += p.calls(h, c) * c.failRise
		if c.dark() {
			h.darkCallees++
			if c.silentOnes > 0 {
				gone++
				weight += usualCalls(h, c) * c.usual
			}
		}
	}
	h.ownWork = h.volume() * max(0, h.rise-work)
	h.ownFailed = h.volume() * max(0, h.failRise-fails)
	if gone > 0 {
		h.gone = gone
		h.hidden = hiddenLeast
		if h.usual > 0 {
			h.hidden = clamp(weight/h.usual, hiddenLeast, hiddenMost)
		}
		h.ownWork *= 1 - h.hidden
		h.ownFailed *= 1 - h.hidden
	}
}

// Of a hop's own excess, the part that callees which have stopped telling may have
// made: as much as they made of its usual duration, within bounds, since they may have
// become much slower.
const (
	hiddenLeast = .1
	hiddenMost  = .5
	// hiddenNever is the part for all callees that never told.
	hiddenNever = .1
)

// dark reports whether the hop tells neither latency nor failures, and is not known to
// be idle.
func (h *hop) dark() bool {
	return h.latency == nil && h.failed == nil && (h.rate == nil || h.served > 0)
}

// below are the callees, and through dark ones theirs.
func (p *physics) below(i int) []int {
	var out []int
	seen := map[int]bool{i: true}
	queue := slices.Clone(p.hops[i].callees)
	for len(queue) > 0 {
		m := queue[0]
		queue = queue[1:]
		if seen[m] {
			continue
		}
		seen[m] = true
		out = append(out, m)
		if p.hops[m].dark() {
			queue = append(queue, p.hops[m].callees...)
		}
	}
	return out
}

func (p *physics) wireRise(from, to int) float64 {
	if !p.wireKnown {
		return 0
	}
	i, ok := p.calling[[2]int{from, to}]
	if !ok || p.edges[i].wire == nil {
		return 0 // also where one sees through a dark hop: its two wires are not known
	}
	r := p.edges[i].wire
	return believed(r.During.Value-r.Before.Value, deviation(r))
}

// aliases takes from a remote what a measured callee of the same callers shows: the
// remote is then another name for it, or stands before it. What is left is its own.
func (p *physics) aliases(i int) {
	h := &p.hops[i]
	if h.Kind != doctor.Remote || len(h.callees) > 0 {
		return
	}
	work, fails := 0.0, 0.0
	for _, c := range h.callers {
		for _, m := range p.hops[c].callees {
			if s := &p.hops[m]; m != i && s.Kind != doctor.Remote {
				work = max(work, s.volume()*s.rise)
				fails = max(fails, s.volume()*s.failRise)
			}
		}
	}
	h.ownWork, h.ownFailed = max(0, h.ownWork-work), max(0, h.ownFailed-fails)
}

// answeredFor is how much of a caller's own excess a callee explains that no longer
// answers: nearly all, since it cannot report what it does.
const answeredFor = .8

// unansweredLeast is the share of the excess below which a caller is not hurt.
const unansweredLeast = .4

// unanswered tells a callee that stopped answering from one that nobody calls: only
// the first has callers with a good part of the excess as their own. It reports
// whether it moved anything.
func (p *physics) unanswered() bool {
	moved := false
	for i := range p.hops {
		m := &p.hops[i]
		if m.drop < .5 || len(m.callers) == 0 {
			continue
		}
		hurt := 0.0
		for _, c := range m.callers {
			h := &p.hops[c]
			part := m.drop * max(h.workShare, h.failShare)
			if part < unansweredLeast {
				continue
			}
			hurt, moved = max(hurt, part), true
			h.ownWork *= 1 - answeredFor*m.drop
			h.ownFailed *= 1 - answeredFor*m.drop
		}
		if hurt > 0 {
			m.stall = max(m.stall, hurt)
		} else {
			m.starved = max(m.starved, m.drop)
		}
	}
	return moved
}

// chargeWire charges the gap of each call to the end that the slow calls share.
func (p *physics) chargeWire() {
	if !p.wireKnown {
		return
	}
	sum, slow, all := make([]float64, len(p.hops)), make([]float64, len(p.hops)), make([]float64, len(p.hops))
	for _, x := range p.edges {
		if x.wire == nil {
			continue
		}
		gap := p.hops[x.to].volume() * p.wireRise(x.from, x.to)
		for _, i := range []int{x.from, x.to} {
			all[i]++
			sum[i] += gap
			if gap > 0 {
				slow[i]++
			}
		}
	}
	for i := range p.hops {
		if all[i] > 0 {
			p.hops[i].wire = sum[i] * slow[i] / all[i]
		}
	}
}

// reach says how much of a hop's excess shows in its callers, up to the symptom: work
// that nobody waits for cannot have made the symptom. It is the widest path.
func (p *physics) reach() {
	for i := range p.hops {
		h := &p.hops[i]
		h.workReach, h.failReach = unreachable, unreachable
		if i == p.symptom {
			h.workReach, h.failReach = 1, 1
		}
	}
	latency := p.e.Symptom.Signal == doctor.Latency
	for range p.hops { // the longest path has at most this many calls
		changed := false
		for _, x := range p.edges {
			from, to := &p.hops[x.from], &p.hops[x.to]
			work := min(from.workReach, max(reachLeast, p.shows(from, to, !latency)))
			fail := min(from.failReach, max(reachLeast, p.showsFailures(from, to, latency)))
			if work > to.workReach || fail > to.failReach {
				to.workReach, to.failReach = max(work, to.workReach), max(fail, to.failReach)
				changed = true
			}
		}
		if !changed {
			break
		}
	}
}

// partOf is the caller's part of what the callee serves, by the callers' own rates.
func (p *physics) partOf(from, to *hop) float64 {
	all := 0.0
	for _, c := range to.callers {
		all += p.hops[c].volume()
	}
	if all == 0 {
		return 1
	}
	return from.volume() / all
}

// shows is how much of to's excess work is in from's. Where the symptom is failures, a
// caller that fails shows it too: it gave up waiting.
func (p *physics) shows(from, to *hop, orFails bool) float64 {
	excess := to.volume() * to.rise * p.partOf(from, to)
	switch {
	case from.latency == nil || excess == 0:
		return 1
	case orFails && from.failRise > 0:
		return 1
	}
	return clamp(from.volume()*from.rise/excess, 0, 1)
}

func (p *physics) showsFailures(from, to *hop, orWork bool) float64 {
	excess := to.volume() * to.failRise * p.partOf(from, to)
	switch {
	case from.failed == nil || excess == 0:
		return 1
	case orWork && from.rise > 0:
		return 1
	}
	return clamp(from.volume()*from.failRise/excess, 0, 1)
}

// Floors of the excess that shares are taken of, so that noise is not shared out as
// if it were a fault: a tenth of the symptom's usual work when the symptom is
// slowness; all of it when it is failures, since a caller gives up only after much
// longer than usual; a twentieth of its requests for failures.
const (
	workFloorSlow    = .1
	workFloorFailing = 1.0
	failFloorSlow    = .05
	failFloorFailing = .005
)

func (p *physics) shares() {
	s := &p.hops[p.symptom]
	usual := 0.0
	if s.latency != nil {
		usual = s.volume() * s.latency.Before.Value
	}
	workFloor, failFloor := workFloorFailing*usual, failFloorFailing*s.volume()
	if p.e.Symptom.Signal == doctor.Latency {
		workFloor, failFloor = workFloorSlow*usual, failFloorSlow*s.volume()
		workFloor = max(workFloor, p.excessWork)
	} else {
		failFloor = max(failFloor, p.excessFails)
	}
	work, fails, wire := 0.0, 0.0, 0.0
	for i := range p.hops {
		h := &p.hops[i]
		if h.excluded {
			h.ownWork, h.ownFailed, h.wire, h.stall = 0, 0, 0, 0
		}
		work += seen(h.ownWork, h.workReach)
		fails += seen(h.ownFailed, h.failReach)
		wire = max(wire, seen(h.wire, h.workReach))
	}
	for i := range p.hops {
		h := &p.hops[i]
		h.workShare = share(seen(h.ownWork, h.workReach), max(work, workFloor))
		h.failShare = share(seen(h.ownFailed, h.failReach), max(fails, failFloor))
		h.wireShare = share(seen(h.wire, h.workReach), max(wire, workFloor))
		h.explains = max(h.workShare, h.failShare, h.wireShare, h.stall)
		if p.e.Symptom.Signal == doctor.Errors {
			h.explains = max(h.failShare, h.stall)
			if p.excessFails == 0 {
				h.explains = max(h.explains, h.workShare)
			}
		}
	}
}

// shownEnough is the part of an excess that must show in the callers for the excess to
// count in full: some callers retry or do without, and counts are samples. Of less,
// ever less counts, because then something else explains better what they show.
const shownEnough = .5

// seen is the part of an excess that can have made the symptom.
func seen(excess, reach float64) float64 {
	return excess * math.Pow(min(1, reach/shownEnough), 3)
}

func share(part, whole float64) float64 {
	if whole <= 0 {
		return 0
	}
	return clamp(part/whole, 0, 1)
}

// rarely is the number of calls for each request below which more of them are no storm.
const rarely = .1

// retrying finds hops that call more often for each request than before.
func (p *physics) retrying() {
	for _, x := range p.edges {
		from, to := &p.hops[x.from], &p.hops[x.to]
		if from.rate == nil || to.rate == nil || to.Kind == doctor.Remote || from.servedBefore < rateLeast || to.servedBefore < rateLeast || from.volume() == 0 {
			continue
		}
		from.retried = true
		if p.calls(from, to) < rarely {
			continue
		}
		more := (to.served/from.served)/(to.servedBefore/from.servedBefore) - 1
		if deviation(to.rate) > 2*noiseFull && more > from.retries {
			from.retries, from.retriedPeer = more, to.Name
		}
	}
}

// cut finds the last hop that keeps work while its successor starves: a hop whose
// successor also keeps work only passes the pressure on.
func (p *physics) cut() {
	credit := make([]float64, len(p.hops))
	for i := range p.hops {
		h := &p.hops[i]
		behind := 0.0
		for _, m := range h.callees {
			if m != i {
				behind = max(behind, p.hops[m].stall)
			}
		}
		credit[i] = h.stall * (1 - behind)
	}
	for i := range p.hops {
		p.hops[i].stall = credit[i]
		if p.e.Symptom.Class() == doctor.Stale {
			p.hops[i].explains = max(p.hops[i].explains, credit[i])
		}
	}
}

// without returns the physics with a hop explained away, and with it the alarms that it
// can have raised.
func (p *physics) without(name, mechanism string) *physics {
	q := *p
	i := p.index[name]
	m := p.mechanism(i, mechanism)
	q.pages = slices.DeleteFunc(slices.Clone(p.pages), func(a *doctor.Alarm) bool { return p.raises(i, m, a) })
	q.hops = slices.Clone(p.hops)
	h := &q.hops[q.index[name]]
	h.excluded = true
	// What the hop explains of the symptom is gone from what is to be explained.
	q.excessWork *= 1 - h.workShare
	q.excessFails *= 1 - h.failShare
	q.shares()
	return &q
}
