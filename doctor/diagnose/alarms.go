package diagnose

import (
	"slices"
	"strconv"

	"github.com/moneta-pay/moneta/doctor"
)

// ground are the hops of our own plane on which all its stations stand: the process
// that runs them, and the record of money.
var ground = []string{doctor.HopServe, doctor.HopPostgres}

// aside are kinds that nobody on a payment's road waits for: a partner's webhook or a
// statement may be late without any payment being so.
func aside(k doctor.Kind) bool { return k == doctor.Webhook || k == doctor.Projection }

// inside are kinds that run in our process.
func insideKind(k doctor.Kind) bool {
	return slices.Contains([]doctor.Kind{doctor.Gateway, doctor.Service, doctor.Queue, doctor.Relay, doctor.Projection, doctor.Webhook}, k)
}

// standing works out which hop's trouble can show at which: what it calls or hands on
// to, directly or not, and the ground.
func (p *physics) standing() {
	n := len(p.hops)
	p.beneath = make([][]bool, n)
	for i := range p.hops {
		seen := make([]bool, n)
		queue := []int{i}
		for len(queue) > 0 {
			h := queue[0]
			queue = queue[1:]
			if seen[h] {
				continue
			}
			seen[h] = true
			for _, m := range p.hops[h].callees {
				if !aside(p.hops[m].Kind) {
					queue = append(queue, m)
				}
			}
		}
		p.beneath[i] = seen
	}
	for _, name := range ground {
		g, ok := p.index[name]
		if !ok {
			continue
		}
		for i := range p.hops {
			p.beneath[i][g] = p.beneath[i][g] || p.inside(i)
		}
	}
}

// inside reports whether the hop is a station of our process, or hands its work on to
// one: what is at a bank leaves it by a callback, which our stations take in and apply.
func (p *physics) inside(i int) bool {
	for m := range p.hops {
		if (m == i || p.beneath[i][m]) && insideKind(p.hops[m].Kind) {
			return true
		}
	}
	return false
}

// stands reports whether trouble of hop g can show at hop at.
func (p *physics) stands(at, g int) bool { return p.beneath[at][g] }

// What alarms say of a hypothesis: one that cannot have raised them is not the whole
// story, and one that cannot have raised any is hardly it.
const (
	alarmUnexplained = 3.0
	paged            = 0.1 // of unknown, while somebody is paged
	notPaged         = -2.0
)

// alarmed is the family of the alarms.
const alarmed family = "alarms"

// paging are the alarms that wake somebody, a hop and a rule once.
func (p *physics) paging() []*doctor.Alarm {
	var out []*doctor.Alarm
	for i := range p.e.Alarms {
		a := &p.e.Alarms[i]
		if _, ok := p.index[a.Hop]; ok && a.Page && !slices.ContainsFunc(out, func(o *doctor.Alarm) bool { return o.Hop == a.Hop && o.Rule == a.Rule && o.Statistic == a.Statistic }) {
			out = append(out, a)
		}
	}
	return out
}

// accounts is the share of the paging alarms that a hypothesis can have raised, and
// whether there are any. Money that disagrees and work that is lost or doubled is
// explained by a cause that has the sign of it, never by slowness further down.
func (p *physics) accounts(i int, m mechanism) (share float64, any bool) {
	all := p.pages
	for _, a := range all {
		if p.raises(i, m, a) {
			share += 1 / float64(len(all))
		}
	}
	return share, len(all) > 0
}

func (p *physics) raises(i int, m mechanism, a *doctor.Alarm) bool {
	at := p.index[a.Hop]
	if a.Signal == doctor.CanaryAge && p.hops[i].Kind == doctor.Client {
		return false // a canary is our own: no customer's device or network delays it
	}
	for _, s := range p.signed[signedKey{i, m.name}] {
		if s.met && s.Signal == a.Signal && s.reading.Hop == a.Hop {
			return true
		}
	}
	if a.Rule == doctor.Money || a.Rule == doctor.Conservation {
		return false
	}
	return p.stands(at, i) || p.floods(i, m) && p.stands(i, at)
}

// floods reports whether the hypothesis is one of too much that is asked, and more is
// asked at the hop than before: load goes the other way than delay, and what piles up
// further down comes from there.
func (p *physics) floods(i int, m mechanism) bool {
	if m.primary != "calls" {
		return false
	}
	more := func(h int) bool {
		return slices.ContainsFunc(p.read[readKey{h, doctor.Rate}], func(r *doctor.Reading) bool {
			asked := r.During.Value * float64(r.During.N) * r.StepS
			return r.Statistic == "" && r.Before.N > 0 && asked >= slowEvents && r.During.Value > moreTimes*r.Before.Value
		})
	}
	return more(i) || p.hops[i].Kind == doctor.Client && slices.ContainsFunc(p.hops[i].callees, more)
}

// moreTimes as much as before is another load, and no fluctuation.
const moreTimes = 1.5

// An alarm of one lane names the channel at its end: what it says for that one, and
// against the others.
const (
	laneFor     = 1.5
	laneAgainst = 2.5
	laneShared  = 1.5
)

// lanes is the share of the paging alarms of lanes and channels that name this channel,
// and how many there are; none where the hop is not a channel.
func (p *physics) lanes(i int) (share float64, of int) {
	if p.hops[i].Kind != doctor.Channel {
		return 0, 0
	}
	mine := 0
	for _, a := range p.pages {
		name := a.Hop
		if _, lane := p.index[a.Statistic]; lane {
			name = a.Statistic
		}
		if h, ok := p.index[name]; ok && p.hops[h].Kind == doctor.Channel {
			of++
			if h == i {
				mine++
			}
		}
	}
	return float64(mine) / max(1, float64(of)), of
}

// Others flow when none of their work is older than flowsFor, and at least half as much
// leaves as before.
const (
	flowsFor = 2.0
	flowsYet = .5
)

// alone reports whether all alarms that page are of one channel's lane while work flows
// in all the others, and how many those are. What all lanes share is hardly the reason.
func (p *physics) alone() (bool, int) {
	_, flow := p.oneLane()
	return flow >= flowsLeast, flow
}

// oneLane is the channel of whose lane all alarms that page are, and in how many others
// work flows; none where one of them does not.
func (p *physics) oneLane() (name string, flow int) {
	for _, a := range p.pages {
		of := a.Hop
		if _, lane := p.index[a.Statistic]; lane {
			of = a.Statistic
		}
		if h, ok := p.index[of]; !ok || p.hops[h].Kind != doctor.Channel || name != "" && of != name {
			return "", 0
		}
		name = of
	}
	for i := range p.hops {
		h := &p.hops[i]
		if name == "" || h.Kind != doctor.Channel || h.Name == name {
			continue
		}
		switch flows, known := p.flows(i); {
		case known && !flows:
			return "", 0
		case flows:
			flow++
		}
	}
	return name, flow
}

// flowsLeast lanes must flow for one that does not to be alone.
const flowsLeast = 2

// flows reports whether work flows through a channel and its lane, as far as is known.
func (p *physics) flows(i int) (flows, known bool) {
	name := p.hops[i].Name
	for j := range p.e.Readings {
		r := &p.e.Readings[j]
		if r.Hop != name && r.Statistic != name || r.Peer != "" || r.During.N == 0 {
			continue
		}
		switch {
		case r.Signal == doctor.Stuck && r.Last > flowsFor:
			return false, true
		case r.Signal == doctor.Departures && r.Before.N > 0 && r.Before.Value > 0:
			if r.During.Value < flowsYet*r.Before.Value {
				return false, true
			}
			known = true
		}
	}
	return known, known
}

func (p *physics) byAlarms(i int, m mechanism) finding {
	share, any := p.accounts(i, m)
	if named, of := p.lanes(i); any && of > 0 {
		return finding{
			family: alarmed, log: laneFor*named - laneAgainst*(1-named), says: say("alarms-lane", percent(named)), unit: "share", value: named,
		}
	}
	if alone, of := p.alone(); any && alone && p.hops[i].Kind != doctor.Client && p.marksOf(i, m) < alsoMarks {
		return finding{family: alarmed, log: -laneShared, says: say("alarms-one-lane", strconv.Itoa(of)), unit: "items", value: float64(of)}
	}
	if !any || share >= 1 {
		return finding{}
	}
	return finding{
		family: alarmed, log: -alarmUnexplained * (1 - share), says: say("alarms-left", percent(1-share)),
		unit: "share", value: 1 - share,
	}
}

// calmLive is the log likelihood ratio of no fault on our own plane, where invariants
// decide whether somebody is paged: without a page nothing is broken, whatever else
// looks odd.
func (p *physics) calmLive() float64 {
	if len(p.pages) > 0 {
		return -clip
	}
	if len(p.e.Alarms) > 0 {
		return calmMost
	}
	return clip
}

// unexplainedLive is that of unknown: the signs of the causes carry the rest.
func (p *physics) unexplainedLive() float64 {
	log := notPaged
	if len(p.pages) > 0 {
		log = paged
	}
	return clamp(log+p.missing, -clip, clip)
}
