package diagnose

import (
	"math"
	"slices"

	"github.com/moneta-pay/moneta/doctor"
)

// mechanism is one way in which a hop of some kind fails.
type mechanism struct {
	name string
	// share of the hop's prior.
	share float64
	// primary is the family of evidence without which it cannot be.
	primary family
	// signals are the inside readings that show it.
	signals []doctor.Signal
	// cause is set for one of the catalogue: its signs are the evidence.
	cause *doctor.Cause
}

// The mechanisms by kind of hop. Shares are judgement, to be refitted from drills;
// what they must do today is to name the likelier one where the evidence cannot tell.
var (
	slow     = mechanism{name: "slow", primary: work}
	failing  = mechanism{name: "failing", primary: failures, signals: []doctor.Signal{doctor.LogErrors, doctor.LogNew}}
	overload = mechanism{name: "overload", primary: work, signals: []doctor.Signal{doctor.CPU}}
	silent   = mechanism{name: "silent", primary: flow}
	crash    = mechanism{name: "crash", primary: flow, signals: []doctor.Signal{doctor.Restarts, doctor.LogNew}}
	backlog  = mechanism{name: "backlog", primary: flow}
	wiring   = mechanism{name: "wire", primary: wire}
	retries  = mechanism{name: "retries", primary: calls}
	pool     = mechanism{name: "pool", primary: work, signals: []doctor.Signal{doctor.PoolWait}}
	gc       = mechanism{name: "gc", primary: work, signals: []doctor.Signal{doctor.GC, doctor.Memory}}
	lock     = mechanism{name: "lock", primary: work, signals: []doctor.Signal{doctor.LockWaiters}}
	disk     = mechanism{name: "disk", primary: work, signals: []doctor.Signal{doctor.IOWait}}
)

func (m mechanism) of(share float64) mechanism {
	m.share = share
	return m
}

var mechanisms = map[doctor.Kind][]mechanism{
	doctor.Client:     {failing.of(.3), overload.of(.2), retries.of(.2), wiring.of(.3)},
	doctor.Gateway:    {slow.of(.3), failing.of(.25), overload.of(.15), silent.of(.1), crash.of(.1), wiring.of(.1)},
	doctor.Service:    {slow.of(.28), failing.of(.22), overload.of(.1), pool.of(.12), gc.of(.06), crash.of(.06), silent.of(.06), retries.of(.05), wiring.of(.05)},
	doctor.Queue:      {backlog.of(.45), silent.of(.25), failing.of(.15), slow.of(.15)},
	doctor.Database:   {slow.of(.3), lock.of(.28), disk.of(.12), pool.of(.1), failing.of(.1), silent.of(.05), wiring.of(.05)},
	doctor.Cache:      {failing.of(.35), slow.of(.35), silent.of(.15), wiring.of(.15)},
	doctor.Channel:    {slow.of(.35), failing.of(.3), silent.of(.2), wiring.of(.15)},
	doctor.Relay:      {silent.of(.45), backlog.of(.35), failing.of(.2)},
	doctor.Projection: {silent.of(.4), backlog.of(.35), failing.of(.15), slow.of(.1)},
	doctor.Webhook:    {backlog.of(.4), silent.of(.3), failing.of(.2), slow.of(.1)},
	doctor.Remote:     {slow.of(.4), failing.of(.3), silent.of(.15), wiring.of(.15)},
}

// Mechanisms lists the names of all mechanisms, for who gives them words.
func Mechanisms() []string {
	var out []string
	for _, k := range doctor.Kinds() {
		for _, m := range mechanisms[k] {
			if !slices.Contains(out, m.name) {
				out = append(out, m.name)
			}
		}
	}
	return out
}

// layer groups kinds that share a prior.
var layer = map[doctor.Kind]string{
	doctor.Client: "client", doctor.Gateway: "service", doctor.Service: "service", doctor.Queue: "queue",
	doctor.Database: "database", doctor.Cache: "cache", doctor.Channel: "channel", doctor.Remote: "channel",
	doctor.Relay: "relay", doctor.Projection: "relay", doctor.Webhook: "queue",
}

// The priors by class of symptom. For slow they are the midpoints of what engineers of
// payment systems report (service 35 to 45 %, rails 20 to 30 %, database, client,
// queue), normalised; for stale only an order is reported, and the weights are ours.
// The two disagree on the queue, and that is information: which symptom it is, tells.
// The layers that a report leaves out have a small weight, because absent from a list
// is not impossible.
var layerPriors = map[doctor.Class]map[string]float64{
	doctor.Slow:  {"service": .37, "channel": .23, "database": .14, "client": .12, "queue": .09, "cache": .04, "relay": .02},
	doctor.Stale: {"queue": .29, "database": .22, "cache": .15, "service": .12, "channel": .10, "relay": .07, "client": .01},
}

const (
	unknownPrior = .05
	// noFaultPrior: somebody asked, so that mostly something is wrong.
	noFaultPrior = .05
)

// priors returns the prior of each hop, of unknown and of no fault. A layer that the
// system does not have leaves its weight to the others; within a layer it is shared.
func (p *physics) priors() (hops []float64, unknown, noFault float64) {
	weights := layerPriors[p.e.Symptom.Class()]
	count := map[string]int{}
	for i := range p.hops {
		count[layer[p.hops[i].Kind]]++
	}
	hops = make([]float64, len(p.hops))
	sum := 0.0
	for i := range p.hops {
		l := layer[p.hops[i].Kind]
		hops[i] = weights[l] / float64(count[l])
		sum += hops[i]
	}
	for i := range hops {
		hops[i] *= (1 - unknownPrior - noFaultPrior) / sum
	}
	return hops, unknownPrior, noFaultPrior
}

// clip bounds what one family of evidence may say, in natural logarithms: readings
// lie together, so that no single source decides alone.
const clip = 4.0

// The densities by which a share of the excess is judged: a hop at fault explains
// most of it, any other little. The ratio is 1 at about .4.
const (
	guiltyPower   = 3.0
	innocentPower = 6.0
)

// shareRatio is the log likelihood ratio of having this share of the excess.
func shareRatio(s float64) float64 {
	guilty := math.Log(guiltyPower) + (guiltyPower-1)*math.Log(max(s, 1e-6))
	innocent := math.Log(innocentPower) + (innocentPower-1)*math.Log(max(1-s, 1e-6))
	return clip * math.Tanh((guilty-innocent)/clip) // smooth, so that more always counts for more
}

// fits is the log likelihood of the symptom's signal, given the mechanism, against the
// best fitting one.
func fits(s doctor.Symptom, m mechanism) float64 {
	by := slownessBy
	switch {
	case s.Class() == doctor.Stale:
		by = staleBy
	case s.Signal == doctor.Errors:
		by = failuresBy
	}
	return by[m.primary]
}

// How much less often a mechanism makes a symptom than the best fitting one does, in
// natural logarithms, by its primary family.
var (
	staleBy    = map[family]float64{failures: -.5, calls: -.5, work: -.7, wire: -.7}
	failuresBy = map[family]float64{flow: -.3, wire: -.3, work: -1.2, calls: -1.2}
	slownessBy = map[family]float64{calls: -.5, flow: -.7, failures: -1.2}
)
