package diagnosis

import "github.com/moneta-pay/moneta/doctor"

// ill is one fault of our own plane: where it is, by what it would be named, and what
// it does, second by second. Strength is between .3 and 1.
type ill struct {
	node, mechanism string
	// strong ones are the same at any strength.
	turn func(p *plane, strength float64, t int)
}

const ourRail = "rail-a" // the one at fault, where a rail is

func held(pid, application, state, waiters string) map[string]string {
	return map[string]string{"pid": pid, "since": "2026-03-01T00:00:00Z", "application": application, "state": state, "waiters": waiters, "relation": "accounts", "query": "…"}
}

func (p *plane) rail() *rail { return p.rails[0] }

// ills are what can be wrong with our own plane, by the names of the catalogue where it
// has one.
var ills = []ill{
	{doctor.HopPostgres, "long-hold", func(p *plane, _ float64, t int) {
		p.rootIdle, p.blocked, p.rootDetail = float64(t), 1, held("4711", "psql", "idle in transaction", "2")
	}},
	{doctor.HopPostgres, "ddl-queue", func(p *plane, _ float64, t int) {
		p.ddl, p.rootActive, p.blocked, p.blockedReads = float64(t), float64(90+t), 1, 1
		p.rootDetail = held("4712", "report", "active", "14")
	}},
	{doctor.HopPostgres, "foreign-locks", func(p *plane, _ float64, t int) {
		p.rootActive, p.blocked, p.rootDetail = float64(t), 1, held("4713", "nightly", "active", "2")
	}},
	{doctor.HopPostgres, "deadlocks", func(p *plane, s float64, t int) {
		p.deadlocks, p.blocked = s*(.6+.5*p.rng.Float64()), min(1, .9+s*.1)
		p.rootActive, p.rootDetail = p.rng.Float64(), held("4714", "nightly", "active", "1")
		if t%4 > 0 && s > .5 {
			p.blocked = 1
		}
	}},
	{doctor.HopPostgres, "index-gone", func(p *plane, s float64, t int) {
		p.indexGone, p.statement, p.seqRows, p.statementLoad, p.dbCPU = 1, 1+90*s, 4e6*s, .5+.5*s, .9
		p.slowReads = 1.5 * s
	}},
	{doctor.HopPostgres, "slow-statement", func(p *plane, s float64, t int) {
		p.statement, p.statementLoad, p.dbCPU, p.slowReads = 1+40*s, .5+.5*s, .85, 1.5*s
	}},
	{doctor.HopPostgres, "slow-disk", func(p *plane, s float64, t int) { p.flush = .08 + .7*s*s }},
	{doctor.HopPostgres, "standby-gone", func(p *plane, _ float64, t int) { p.syncMissing, p.blocked = true, 1 }},
	{doctor.HopPostgres, "down", func(p *plane, _ float64, t int) { p.dbUp = false }},
	{doctor.HopPostgres, "disk-full", func(p *plane, _ float64, t int) { p.noSpace, p.diskFree = true, 0 }},
	{doctor.HopPostgres, "read-only", func(p *plane, _ float64, t int) { p.readOnly = true }},
	{doctor.HopPostgres, "wire", func(p *plane, s float64, t int) { p.wire = .15 + .8*s }},
	{doctor.HopPostgres, "wal-flood", func(p *plane, s float64, t int) {
		p.slot, p.walRate, p.diskFree = 4e8*float64(t)*s, 4e8, max(0, .6-.03*float64(t)*s)
		p.noSpace = p.diskFree == 0
	}},
	{doctor.HopPostgres, "held-snapshot", func(p *plane, s float64, t int) {
		p.horizon, p.longTx, p.dead = float64(40_000+t*900), float64(600+t), min(.9, .3+.02*float64(t))
		p.statement, p.statementLoad, p.slowReads = 2+.4*float64(t)*s, min(.95, .04*float64(t)), min(1.5, .05*float64(t)*s)
	}},
	{doctor.HopServe, "pool-leak", func(p *plane, s float64, t int) { p.leaked = min(poolSize, float64(t)*(1+2*s)) }},
	{doctor.HopServe, "gc-thrash", func(p *plane, s float64, t int) {
		p.gc, p.memory, p.cpu, p.sched = .45+.5*s, .93, .97, .004
	}},
	{doctor.HopServe, "cpu-starved", func(p *plane, s float64, t int) {
		p.throttled, p.sched, p.cpu = .6+.4*s, .06, .25
	}},
	{doctor.HopServe, "crash-loop", func(p *plane, _ float64, t int) {
		if t%7 == 0 {
			p.restarts++
		}
		p.dead1 = t%7 < 5
		p.uptime, p.logNew = float64(t%7), 2
	}},
	{doctor.HopServe, "frozen", func(p *plane, _ float64, t int) { p.suspended = true }},
	{doctor.HopServe, "down", func(p *plane, _ float64, t int) { p.dead1 = true }},
	{doctor.HopDecider, "poison-fact", func(p *plane, s float64, t int) { p.quarantine, p.logNew = 1+float64(int(s*3)), 1 }},
	{doctor.HopDispatch, "loop-hung", func(p *plane, _ float64, t int) { p.hung["dispatch"], p.hungFor = true, t }},
	{doctor.HopSettle, "loop-hung", func(p *plane, _ float64, t int) { p.hung["settle"], p.hungFor = true, t }},
	{doctor.HopTimer, "timer-silent", func(p *plane, _ float64, t int) { p.hung["timer"], p.hungFor = true, t }},
	{ourRail, "timeouts", func(p *plane, s float64, t int) { p.rail().timeouts, p.rail().latency = .12+.5*s, 1+3*s }},
	{ourRail, "slow", func(p *plane, s float64, t int) { p.rail().latency = 3 + 8*s }},
	{ourRail, "charged-504", func(p *plane, s float64, t int) { p.rail().gateway, p.rail().executed = .15+.7*s, .9 }},
	{ourRail, "callbacks-lost", func(p *plane, s float64, t int) {
		p.rail().callbackLoss, p.rail().queryDown = .5+.5*s, p.rng.Float64() < .5
	}},
	{ourRail, "callbacks-late", func(p *plane, s float64, t int) { p.rail().callbackDelay = 10 + 40*s }},
	{ourRail, "down", func(p *plane, _ float64, t int) { p.rail().cut, p.rail().probe, p.rail().connect = 1, false, 1 }},
	{ourRail, "rate-limited", func(p *plane, s float64, t int) { p.rail().limited = .5 + .5*s }},
	{ourRail, "credentials", func(p *plane, _ float64, t int) { p.rail().refused = 1 }},
	{ourRail, "wire", func(p *plane, s float64, t int) {
		p.rail().connect, p.rail().cut, p.rail().latency = .8+2*s, .3*s, 2+3*s
	}},
	{doctor.HopCallbacks, "poison-callback", func(p *plane, _ float64, t int) {
		p.poisonCallbacks, p.hungFor, p.logNew = 1+p.load*float64(t)*.05, t, 1
	}},
	{doctor.HopCallbacks, "signature", func(p *plane, _ float64, t int) {
		p.badCallbks, p.rail().callbackLoss, p.rail().queryDown = max(.3, p.load*p.rail().share), 1, true
	}},
	{doctor.HopWebhooks, "endpoint-down", func(p *plane, _ float64, t int) { p.endpointDown, p.hungFor = true, t }},
	{doctor.HopAPI, "retry-storm", func(p *plane, s float64, t int) { p.demand, p.repeats, p.aborts = 4+2e5/p.load*s, .6, .2 }},
	{doctor.HopAPI, "overload", func(p *plane, s float64, t int) { p.demand = 3 + 2.5e5/p.load*s }},
}

// strange are faults that no catalogue has: the answer to give is unknown.
var strange = []ill{
	{"", "a decider that stops without a sign", func(p *plane, _ float64, t int) { p.hung["decider"] = true }},
	{"", "orders that stay at a rail that answers well", func(p *plane, s float64, t int) {
		for _, r := range p.rails {
			r.out.all = append([]batch{{max(0, p.now-t), .5}}, r.out.all...)
			r.out.lastLeft = min(r.out.lastLeft, p.now-t)
		}
	}},
}

// distraction is something odd that hurts nobody, and that good operators have learned
// to look past.
type distraction struct {
	name string
	turn func(p *plane, t int)
}

var distractions = []distraction{
	{"nothing else", func(*plane, int) {}},
	{"a report reads for minutes", func(p *plane, t int) { p.longTx = float64(300 + t) }},
	{"a checkpoint", func(p *plane, t int) {
		if t < 8 {
			p.flush = max(p.flush, .006)
		}
	}},
	{"a rail declines more", func(p *plane, _ int) { p.rails[len(p.rails)-1].declines = .3 }},
	{"a new line in the log", func(p *plane, _ int) { p.logNew = max(p.logNew, .2) }},
	{"somebody leaves a transaction open", func(p *plane, t int) {
		if p.rootIdle < 0 {
			p.longTx = float64(60 + t) // it holds nothing that anybody wants
		}
	}},
	{"more comes than usual", func(p *plane, _ int) { p.demand = max(p.demand, 2) }},
	{"another rail is a little slow", func(p *plane, _ int) { p.rails[len(p.rails)-1].latency = max(.9, p.rails[len(p.rails)-1].latency) }},
	{"garbage is collected more", func(p *plane, _ int) { p.gc = max(p.gc, .06) }},
	{"a dead row or two", func(p *plane, _ int) { p.dead = max(p.dead, .2) }},
}

// controls are runs without a fault.
var controls = []distraction{
	{"calm", func(*plane, int) {}},
	{"spike", func(p *plane, t int) {
		if t < 30 {
			p.demand = 6
		}
	}},
	{"batch", func(p *plane, t int) {
		if t < 12 {
			p.demand = 10 // more would be an overload, and no control
		}
	}},
	{"deploy", func(p *plane, t int) {
		p.dead1 = t < 3
		if t == 3 {
			p.restarts, p.uptime = p.restarts+1, 0
		}
	}},
	{"report", distractions[1].turn},
	{"checkpoint", distractions[2].turn},
	{"declines", distractions[3].turn},
	{"left open", distractions[5].turn},
}
