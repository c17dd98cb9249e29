// Package doctor holds the nouns of an incident and their pure rules: what a hop is,
// what a reading says, what the evidence of a moment is and what an answer looks
// like. Collectors deliver an Evidence, doctor/diagnose judges it, and nothing else
// passes between them, so that an answer can be kept and reproduced. It refuses to
// collect, to judge and to act, and it knows nothing of the pay plane: the evidence
// of a foreign system has the same form.
package doctor

import (
	"slices"
	"sync"
)

// Kind says what a hop is. It decides which prior a hop has and which mechanisms can
// be its fault.
type Kind string

// The kinds of hops. A gateway is the edge or a load balancer with metrics of its
// own; a remote is known only from its callers' side, so it may be another name of a
// hop that is measured inside.
const (
	Client     Kind = "client"
	Gateway    Kind = "gateway"
	Service    Kind = "service"
	Queue      Kind = "queue"
	Database   Kind = "database"
	Cache      Kind = "cache"
	Channel    Kind = "channel"
	Relay      Kind = "relay"
	Projection Kind = "projection"
	Webhook    Kind = "webhook"
	Remote     Kind = "remote"
)

// Kinds are all of them, in the order of a payment's road.
func Kinds() []Kind {
	return []Kind{Client, Gateway, Service, Queue, Database, Cache, Channel, Relay, Projection, Webhook, Remote}
}

// Hop is one thing that can be at fault.
type Hop struct {
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
}

// Call says that From calls To, or hands work on to it.
type Call struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// Signal is what a reading measures. Each has one unit, and one direction that is
// bad, see Signals.
type Signal string

// The signals. Of the flow: Latency of one request with everything behind it; Rate of
// requests served; Errors among them; Arrivals and Departures of work at a hop that
// keeps it; Waiting work and the OldestAge of it. Of a call: Wire, the time that its
// caller saw and its server did not. The rest is measured inside a hop.
const (
	Latency    Signal = "latency"
	Rate       Signal = "rate"
	Errors     Signal = "errors"
	Arrivals   Signal = "arrivals"
	Departures Signal = "departures"
	Waiting    Signal = "waiting"
	OldestAge  Signal = "oldest_age"
	Wire       Signal = "wire"

	LockWaiters Signal = "lock_waiters"
	PoolWait    Signal = "pool_wait"
	GC          Signal = "gc"
	CPU         Signal = "cpu"
	Memory      Signal = "memory"
	IOWait      Signal = "io_wait"
	Restarts    Signal = "restarts"
	LogErrors   Signal = "log_errors"
	LogNew      Signal = "log_new"
)

// SignalInfo documents a signal.
type SignalInfo struct {
	Signal Signal
	Unit   string // s, 1/s, share (0 to 1), items, count
	// Inside is set for what only somebody inside the hop can see.
	Inside bool
	Means  string
}

// Signals are all of them, in the order of the documentation.
func Signals() []SignalInfo {
	return slices.Concat(flowSignals, insideSignals, stationSignals, processSignals, probeSignals, channelSignals, postgresSignals)
}

// flowSignals are what any system tells, whoever built it.
var flowSignals = []SignalInfo{
	{Latency, "s", false, "duration of one request, with everything behind the hop"},
	{Rate, "1/s", false, "requests that the hop served"},
	{Errors, "share", false, "share of those that failed"},
	{Arrivals, "1/s", false, "work that came to a hop which keeps it"},
	{Departures, "1/s", false, "work that left it"},
	{Waiting, "items", false, "work that is there"},
	{OldestAge, "s", false, "age of the oldest work that is there"},
	{Wire, "s", false, "of a call: what the caller saw less what the callee saw"},
}

// insideSignals are what only somebody inside a hop can see, in any system.
var insideSignals = []SignalInfo{
	{LockWaiters, "count", true, "sessions or workers that wait for a lock"},
	{PoolWait, "s", true, "wait for a connection or a worker"},
	{GC, "share", true, "share of the time spent collecting garbage"},
	{CPU, "share", true, "share of the processors in use"},
	{Memory, "share", true, "share of the memory in use"},
	{IOWait, "share", true, "share of the time spent waiting for the disk"},
	{Restarts, "count", true, "starts of the process"},
	{LogErrors, "1/s", true, "lines of level error or worse"},
	{LogNew, "1/s", true, "lines of level error or worse of a form not seen before"},
}

// Info returns what is known of a signal.
func (s Signal) Info() (SignalInfo, bool) {
	in, ok := infos()[s]
	return in, ok
}

// infos are the signals by name: each reading of each evidence is looked up.
var infos = sync.OnceValue(func() map[Signal]SignalInfo {
	out := map[Signal]SignalInfo{}
	for _, in := range Signals() {
		out[in.Signal] = in
	}
	return out
})

// Class is the class of a symptom: it chooses the prior.
type Class string

// Slow: payments are slow, stuck or failing. Stale: what happened does not show.
const (
	Slow  Class = "slow"
	Stale Class = "stale"
)

// Symptom is what somebody or something complained of: a signal at a hop.
type Symptom struct {
	Hop       string `json:"hop"`
	Signal    Signal `json:"signal"`
	Statistic string `json:"statistic,omitempty"`
}

// Class of the symptom: work that waits, gets old or does not arrive is data that does
// not move; all else is slow or stuck.
func (s Symptom) Class() Class {
	if slices.Contains([]Signal{Arrivals, Departures, Waiting, OldestAge}, s.Signal) {
		return Stale
	}
	return Slow
}
