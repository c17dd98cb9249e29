package diagnosis

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// A small queueing model of our own plane, second by second: payouts come to the API,
// the decider commits them, dispatch sends them through a few places a channel, the
// channel answers and calls back, settle asks for what is unknown. A fault changes
// what Postgres, the runtime or a channel really does; queues, pools, latencies and
// ages follow by arithmetic. It was written without a look at the bounds of the
// catalogue, and knows neither causes nor signs: it tells what collectors tell.

// batch is work that came in one second.
type batch struct {
	at int
	n  float64
}

// queue is a first-in, first-out of batches.
type queue struct {
	all       []batch
	came      float64 // this second
	went      float64
	lastLeft  int
	residence float64 // longest stay of late
	pace      float64 // departures a second when all is well
}

func (q *queue) put(at int, n float64) {
	q.came += n
	if n > 0 {
		q.all = append(q.all, batch{at, n})
	}
}

// take lets up to n leave, only what has been there for at least stay seconds.
func (q *queue) take(now int, n float64, stay int) float64 {
	left := 0.0
	for n > 1e-9 && len(q.all) > 0 && now-q.all[0].at >= stay {
		part := min(n, q.all[0].n)
		q.all[0].n -= part
		n, left = n-part, left+part
		q.residence = max(q.residence*.999, float64(now-q.all[0].at))
		if q.all[0].n <= 1e-9 {
			q.all = q.all[1:]
		}
	}
	q.went += left
	if left > 0 {
		q.lastLeft = now
	}
	return left
}

func (q *queue) waiting() (n float64) {
	for _, b := range q.all {
		n += b.n
	}
	return n
}

func (q *queue) oldest(now int) float64 {
	if len(q.all) == 0 {
		return 0
	}
	return float64(now - q.all[0].at)
}

// rail is one channel as it is, and our lane to it.
type rail struct {
	name                                     string
	share                                    float64 // of the traffic
	latency                                  float64 // of one order, s
	timeouts, gateway, refused, limited, cut float64 // shares of the orders
	declines                                 float64
	executed                                 float64 // share of the unanswered that it executed all the same
	callbackLoss                             float64
	callbackDelay                            float64
	queryDown                                bool
	connect                                  float64
	probe                                    bool
	certLeft                                 float64

	lane, out, unknown, back queue // dispatch's lane, at the channel, unknown, callbacks under way
	orders, lost             float64
	recent                   []float64 // orders of the last seconds
}

// plane is the whole, with the knobs that faults turn.
type plane struct {
	rng    *rand.Rand
	now    int
	load   float64 // payouts a second
	demand float64 // times the load
	rails  []*rail

	// The database.
	blocked                               float64 // share of the commits that wait for a lock
	blockedReads, slowReads               float64 // reads that wait for a lock; that take long
	rootIdle, rootActive, ddl             float64 // how long, s; -1 is none
	rootDetail                            map[string]string
	flush                                 float64 // of the log, s
	statement                             float64 // times as long as before, of the worst
	statementLoad                         float64 // share of the database's time that it takes
	seqRows                               float64
	indexGone                             float64
	deadlocks                             float64
	dbUp, readOnly, noSpace               bool
	connections                           float64 // share in use, beside ours
	horizon, dead                         float64
	syncMissing                           bool
	walRate, slot, diskFree, archiveFails float64
	wire                                  float64 // s between serve and database
	dbCPU                                 float64
	longTx                                float64

	// The process.
	suspended, dead1            bool
	restarts                    float64
	uptime                      float64
	gc, sched, cpu, throttled   float64
	leaked                      float64 // connections
	hung                        map[string]bool
	paused                      map[string]bool
	memory                      float64
	quarantine                  float64
	poisonCallbacks, badCallbks float64
	endpointDown                bool
	logNew                      float64

	// Clients.
	repeats, aborts, clientErrs float64
	reader                      queue

	intake  queue
	beat    float64 // seconds since it rose
	canary  map[string]float64
	points  []doctor.Point
	hooks   []func(p *plane)
	hungFor int // s
}

const (
	poolSize    = 20
	batchMost   = 256.0
	askEvery    = 5  // s between two questions for an unknown outcome
	settleStay  = 2  // s until the first
	callbackLag = 1  // s
	countedFor  = 15 // s over which shares are counted
)

func newPlane(seed uint64, load float64, rails int) *plane {
	p := &plane{
		rng: rand.New(rand.NewPCG(seed, 99)), load: load, demand: 1, flush: .0015, statement: 1, dbUp: true, diskFree: .6, walRate: 2e6 + 4e3*load,
		uptime: 3000, sched: .0004, cpu: .04 + .0015*load, gc: .004, memory: .2, hung: map[string]bool{}, paused: map[string]bool{},
		rootIdle: -1, rootActive: -1, ddl: -1, canary: map[string]float64{}, connections: .12, dbCPU: .03 + .001*load,
	}
	for i := range rails {
		p.rails = append(p.rails, &rail{
			name: fmt.Sprintf("rail-%c", 'a'+i), latency: .08 + .3*p.rng.Float64(), declines: .02 * p.rng.Float64(), connect: .002, probe: true,
			certLeft: 4e6, share: .5 + p.rng.Float64(), timeouts: .0005, executed: .5,
		})
	}
	sum := 0.0
	for _, r := range p.rails {
		sum += r.share
	}
	for _, r := range p.rails {
		r.share /= sum
	}
	return p
}

// count draws a number of events.
func (p *plane) count(mean float64) float64 {
	if mean <= 0 {
		return 0
	}
	if mean > 30 {
		return max(0, math.Round(mean+math.Sqrt(mean)*p.rng.NormFloat64()))
	}
	n, limit, product := 0, math.Exp(-mean), p.rng.Float64()
	for product > limit {
		n++
		product *= p.rng.Float64()
	}
	return float64(n)
}

// of draws how many of n, each with probability share.
func (p *plane) of(n, share float64) float64 {
	if n > 200 {
		return clampTo(p.count(n*share), n)
	}
	k := 0.0
	for range int(n) {
		if p.rng.Float64() < share {
			k++
		}
	}
	return k
}

func clampTo(v, most float64) float64 { return max(0, min(v, most)) }

// noisy is a value with the noise of a measurement.
func (p *plane) noisy(v float64) float64 { return v * math.Exp(.12*p.rng.NormFloat64()) }

// alive says that the process runs, well that its database answers it.
func (p *plane) alive() bool { return !p.suspended && !p.dead1 }

func (p *plane) well() bool { return p.alive() && p.dbUp && !p.readOnly && !p.noSpace && p.wire < 5 }

// slowness of our own process: what garbage, a quota or a busy machine leave of it.
func (p *plane) slowness() float64 { return 1 / max(.02, (1-p.gc)*(1-.9*p.throttled)) }

// step is one second.
func (p *plane) step() {
	p.points = p.points[:0]
	for _, h := range p.hooks {
		h(p)
	}
	for _, q := range p.queues() {
		q.came, q.went = 0, 0
	}
	p.uptime++
	came := p.count(p.load * p.demand)
	dbTime := (.0012 + p.flush + p.wire) * p.slowness() * (1 + 4*p.statementLoad)
	commits := 0.0
	if p.well() && !p.hung["decider"] {
		commits = (1 - p.blocked) * min(800, 1/dbTime)
		if p.blocked > .99 {
			commits = 0
		}
	}
	leaking := p.leaked >= poolSize-1
	capacity := commits * batchMost
	if leaking {
		capacity = 0
	}
	// The edge: who waits longer than ten seconds goes away and tries again.
	waits := p.intake.waiting() / max(capacity, 1e-3)
	accept := came
	if !p.alive() {
		accept = 0
	}
	p.intake.put(p.now, accept)
	decided := p.intake.take(p.now, capacity, 0)
	spare := max(0, capacity-decided)
	for _, r := range p.rails {
		p.stepRail(r, decided*r.share, spare)
	}
	inDB := (came*3+commits)*dbTime*(1+6*(p.blockedReads+p.slowReads)) + p.leaked
	if p.blocked > 0 || p.blockedReads > 0 {
		inDB += min(poolSize, p.blocked*4+p.blockedReads*poolSize)
	}
	if p.slowReads > 0 {
		inDB += min(.9, p.slowReads*min(1, p.load/100)) * poolSize
	}
	if !p.dbUp {
		inDB = 0
	}
	if p.well() && commits > 0 {
		p.beat = 0
	} else {
		p.beat++
	}
	p.reader.put(p.now, decided)
	if commits > 0 && !p.hung["webhooks"] {
		p.reader.take(p.now, decided*2+50, 0)
	}
	p.canaries(commits)
	p.tell(came, dbTime, commits, min(1, inDB/poolSize), waits)
	p.now++
}

func (p *plane) queues() []*queue {
	out := []*queue{&p.intake, &p.reader}
	for _, r := range p.rails {
		out = append(out, &r.lane, &r.out, &r.unknown, &r.back)
	}
	return out
}

func (p *plane) stepRail(r *rail, decided, spare float64) {
	r.lane.put(p.now, decided)
	r.orders, r.lost = 0, 0
	sends := 0.0
	if spare > 0 && p.alive() && !p.hung["dispatch"] && !p.paused[r.name] && !p.paused["*"] {
		sends = min((24+p.load)/(r.latency*p.slowness()+.004), spare)
	}
	sent := r.lane.take(p.now, sends, 0)
	r.orders = sent
	r.lost = p.of(sent, min(1, r.timeouts+r.gateway+r.cut))
	refused := p.of(sent-r.lost, min(1, r.refused+r.limited))
	r.unknown.put(p.now, r.lost)
	r.out.put(p.now, sent-r.lost-refused)
	if refused > 0 { // they are sent again later
		r.lane.put(p.now, refused)
	}
	done := r.out.take(p.now, 1e9, max(1, int(r.latency)))
	heard := done - p.of(done, r.callbackLoss)
	r.back.put(p.now, heard)
	missed := done - heard
	if missed > 0 { // they are asked for later
		r.unknown.put(p.now, missed)
	}
	if p.well() && spare > 0 && !p.hung["settle"] {
		r.back.take(p.now, 1e9, callbackLag+int(r.callbackDelay))
		if !r.queryDown && r.cut < .9 && p.now%askEvery == 0 {
			r.unknown.take(p.now, 60, settleStay+int(min(20, r.latency)))
		}
	}
}

// canaries pay one unit on each path every ten seconds.
func (p *plane) canaries(commits float64) {
	for _, r := range p.rails {
		p.canary[r.name]++
		stuck := commits == 0 || p.hung["dispatch"] || p.hung["settle"] && r.callbackLoss > .5 || p.paused[r.name] || p.paused["*"] ||
			r.lane.oldest(p.now) > 20 || p.leaked >= poolSize-1
		bad := p.rng.Float64() < r.timeouts+r.gateway+r.cut+r.refused+r.limited
		if p.now%10 == 3 && !stuck && !bad {
			p.canary[r.name] = min(4, r.latency+1+r.callbackDelay)
		}
	}
	p.canary["internal"]++
	if p.now%10 == 7 && commits > 0 {
		p.canary["internal"] = p.flush + .02
	}
}

func (p *plane) add(hop string, s doctor.Signal, statistic string, v float64, detail map[string]string) {
	p.points = append(p.points, doctor.Point{Hop: hop, Signal: s, Statistic: statistic, Value: max(0, v), At: moment(p.now), Source: "model", Detail: detail})
}

var midnight = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func moment(second int) time.Time { return midnight.Add(time.Duration(second) * time.Second) }

func yes(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

type quantile struct {
	name  string
	times float64 // the mean
}

// tell is what the collectors see. With the process dead its metrics are gone, with the
// database gone its own and the facts are.
func (p *plane) tell(came, dbTime, commits, pool, waits float64) {
	if p.alive() {
		p.tellServe(came, dbTime, commits, pool, waits)
	}
	p.tellMachine()
	p.add(doctor.HopPostgres, doctor.Up, "", yes(p.dbUp), nil)
	if p.dbUp {
		p.tellPostgres(commits, dbTime)
		p.tellFacts()
	}
	for path, age := range p.canary {
		p.add(doctor.HopClient, doctor.CanaryAge, path, age, nil)
	}
	for _, r := range p.rails {
		p.add(r.name, doctor.ProbeUp, "", yes(r.probe), nil)
		p.add(r.name, doctor.ProbeConnect, "", p.noisy(r.connect), nil)
		if r.probe {
			p.add(r.name, doctor.ProbeFirst, "", p.noisy(.6*r.latency+.01), nil)
		}
		p.add(r.name, doctor.CertLeft, "", r.certLeft, nil)
	}
}

func (p *plane) tellMachine() {
	p.add(doctor.HopServe, doctor.Up, "", yes(p.alive()), nil)
	p.add(doctor.HopServe, doctor.Restarts, "", p.restarts, nil)
	if p.dead1 {
		return
	}
	p.add(doctor.HopServe, doctor.Suspended, "", yes(p.suspended), map[string]string{"pid": "811"})
	p.add(doctor.HopServe, doctor.Uptime, "", p.uptime, nil)
	p.add(doctor.HopServe, doctor.CPU, "", clampTo(p.noisy(p.cpu), 1)*yes(!p.suspended), nil)
	p.add(doctor.HopServe, doctor.Throttled, "", p.throttled, nil)
	p.add(doctor.HopServe, doctor.Memory, "rss", clampTo(p.noisy(p.memory), 1), nil)
	p.add(doctor.HopPostgres, doctor.FlushTime, "", p.noisy(p.flush*1.1+.0005), nil)
	p.add(doctor.HopPostgres, doctor.DiskFree, "", p.diskFree, nil)
}

func (p *plane) tellServe(came, dbTime, commits, pool, waits float64) {
	s := doctor.HopServe
	p.add(s, doctor.GC, "", clampTo(p.noisy(p.gc), .98), nil)
	p.add(s, doctor.SchedWait, "", p.noisy(p.sched*p.slowness()), nil)
	p.add(s, doctor.Goroutines, "", p.noisy(180+came*2+p.intake.waiting()+8*p.leaked), nil)
	p.add(s, doctor.PoolBusy, "", clampTo(pool*math.Exp(.05*p.rng.NormFloat64()), 1), nil)
	wait := 0.0
	if pool > .95 {
		wait = min(10, 1+waits)
	}
	p.add(s, doctor.PoolWait, "", wait, nil)
	p.add(s, doctor.PoolIdleHeld, "", p.leaked+p.count(.3), nil)
	p.add(s, doctor.LogErrors, "", p.count(.05+yes(!p.well())*3+p.deadlocks), nil)
	p.add(s, doctor.LogNew, "", p.logNew, nil)
	latency := (.006+2*dbTime)*p.slowness() + min(10, waits) + 1.2*(p.blockedReads+p.slowReads)
	served := came
	if commits == 0 || p.leaked >= poolSize-1 {
		served = 0
	}
	p.add(doctor.HopAPI, doctor.Rate, "", served, nil)
	if served > 0 {
		for _, q := range []quantile{{"mean", 1}, {"p50", .8}, {"p95", 2.5}, {"p99", 5}} {
			p.add(doctor.HopAPI, doctor.Latency, q.name, p.noisy(latency*q.times), nil)
		}
	}
	if came > 0 {
		p.add(doctor.HopAPI, doctor.ServerErrors, "", yes(served == 0)*.3+p.of(came, .001)/came, nil)
		p.add(doctor.HopAPI, doctor.Refused, "", p.of(came, clampTo((p.load*p.demand-4000)/4000, .9))/came, nil)
		p.add(doctor.HopAPI, doctor.ClientErrors, "", p.of(came, clampTo(.01+p.clientErrs, 1))/came, nil)
		p.add(doctor.HopAPI, doctor.Aborted, "", p.of(came, clampTo(.002+p.aborts+yes(waits > 5)*.5, 1))/came, nil)
		p.add(doctor.HopAPI, doctor.Repeats, "", p.of(came, clampTo(.01+p.repeats, 1))/came, nil)
	}
	p.add(doctor.HopCallbacks, doctor.BadCallbacks, "", p.count(p.badCallbks), nil)
	for _, r := range p.rails {
		p.tellChannel(r)
	}
	for _, loop := range []struct{ hop, name string }{{doctor.HopDispatch, "dispatch"}, {doctor.HopTimer, "timer"}, {doctor.HopSettle, "settle"}} {
		age := p.rng.Float64() * .4
		if p.hung[loop.name] {
			age = float64(p.hungFor)
		}
		p.add(loop.hop, doctor.LoopSilence, loop.name, age, nil)
	}
	p.add(doctor.HopDecider, doctor.Latency, "mean", p.noisy(dbTime*(1+9*yes(waits > 1))), nil)
}

// tellChannel is what our side of a rail counts: nothing while nothing was sent.
func (p *plane) tellChannel(r *rail) {
	r.recent = append(r.recent, r.orders)
	r.recent = r.recent[max(0, len(r.recent)-countedFor):]
	orders := 0.0
	for _, n := range r.recent {
		orders += n
	}
	if orders < 1 {
		return
	}
	share := func(of float64) float64 { return p.of(orders, min(1, of)) / orders }
	if r.timeouts < .9 && r.cut < .9 {
		for _, q := range []quantile{{"mean", 1}, {"p50", .9}, {"p95", 1.8}} {
			p.add(r.name, doctor.Latency, q.name, p.noisy(r.latency*p.slowness()*q.times), nil)
		}
	}
	p.add(r.name, doctor.Rate, "", r.orders, nil)
	p.add(r.name, doctor.Timeouts, "pay", share(r.timeouts), nil)
	if r.unknown.waiting() > 0 {
		p.add(r.name, doctor.Timeouts, "query", yes(r.queryDown || r.cut > .9), nil)
	}
	p.add(r.name, doctor.GatewayFails, "", share(r.gateway), nil)
	p.add(r.name, doctor.Unreachable, "", share(r.cut), nil)
	p.add(r.name, doctor.Status429, "", share(r.limited), nil)
	p.add(r.name, doctor.Status4xx, "", share(r.refused), nil)
	p.add(r.name, doctor.Declines, "", share(r.declines), nil)
	p.add(r.name, doctor.Unknowns, "", share(r.timeouts+r.gateway+r.cut), nil)
	p.add(r.name, doctor.Callbacks, "", r.back.went, nil)
	p.add(r.name, doctor.CallbackLag, "", p.noisy(callbackLag+r.callbackDelay+r.latency), nil)
	p.add(r.name, doctor.NoCallbacks, "", share(r.callbackLoss), nil)
	if r.unknown.went > 0 && r.lost > 0 {
		p.add(r.name, doctor.LateTruth, "", r.executed, nil)
	}
}

func (p *plane) tellPostgres(commits, dbTime float64) {
	d := doctor.HopPostgres
	root := func(s doctor.Signal, age float64) {
		if age < 0 {
			p.add(d, s, "", 0, nil)
			return
		}
		p.add(d, s, "", age, p.rootDetail)
	}
	root(doctor.PGRootIdle, p.rootIdle)
	root(doctor.PGRootActive, p.rootActive)
	root(doctor.PGDDLWaiting, p.ddl)
	waiters := p.count(.02)
	if p.blocked > 0 || p.blockedReads > 0 {
		waiters = max(1, p.blocked*2+p.blockedReads*poolSize*.8) + p.count(.4)
	}
	active := commits*dbTime + waiters + p.statementLoad*6
	slow := clampTo(p.flush/(p.flush+.004), 1)
	p.add(d, doctor.LockWaiters, "", waiters, nil)
	p.add(d, doctor.PGActive, "", p.noisy(active), nil)
	p.add(d, doctor.PGCommits, "", p.noisy(max(2, min(commits, p.load*2+10)*yes(commits > 0))), nil)
	p.add(d, doctor.PGFlush, "", p.noisy(p.flush), nil)
	p.add(d, doctor.PGWalWaiters, "", clampTo(p.noisy(slow*.9), 1), nil)
	p.add(d, doctor.PGIOWaiters, "", clampTo(p.noisy(.02+.3*p.statementLoad+.1*yes(p.flush > .05)), 1), nil)
	p.add(d, doctor.PGConnect, "", p.noisy(.003+p.wire*2), nil)
	p.add(d, doctor.PGConnections, "", clampTo(p.connections+.01*p.rng.NormFloat64(), 1), nil)
	p.add(d, doctor.PGDeadlocks, "", p.deadlocks, nil)
	p.add(d, doctor.PGRollbacks, "", clampTo(.002+p.deadlocks*.02, 1), nil)
	p.add(d, doctor.PGStatement, "", max(1, p.noisy(p.statement)), map[string]string{"query": "select …"})
	p.add(d, doctor.PGSeqRows, "", p.noisy(p.seqRows), nil)
	p.add(d, doctor.PGIndexGone, "", p.indexGone, map[string]string{"index": "transfers_history", "definition": "create index …"})
	p.add(d, doctor.PGPlanChanged, "indexes", p.indexGone, nil)
	p.add(d, doctor.PGIdleTx, "", max(0, p.rootIdle), nil)
	p.add(d, doctor.PGLongTx, "", max(p.rootIdle, p.rootActive, p.longTx, 0)+p.rng.Float64()*.01, nil)
	p.add(d, doctor.PGHorizon, "", p.count(20)+p.horizon, map[string]string{"pid": "77"})
	p.add(d, doctor.PGHorizonS, "", p.horizon/max(1, p.load), nil)
	p.add(d, doctor.PGDeadTuples, "", clampTo(.05+p.dead, .99), nil)
	p.add(d, doctor.PGSyncWaiters, "", yes(p.syncMissing)*(2+p.count(1)), nil)
	p.add(d, doctor.PGSyncMissing, "", yes(p.syncMissing), map[string]string{"standby": "s1"})
	p.add(d, doctor.PGWalRate, "", p.noisy(p.walRate), nil)
	p.add(d, doctor.PGSlotRetained, "", p.slot, map[string]string{"slot": "cdc"})
	p.add(d, doctor.PGArchiveFails, "", p.archiveFails, nil)
	p.add(d, doctor.PGReadOnly, "", yes(p.readOnly), nil)
	p.add(d, doctor.PGNoSpace, "", yes(p.noSpace), nil)
	p.add(d, doctor.PGSequence, "", .001, nil)
	p.add(d, doctor.PGPrepared, "", 0, nil)
	p.add(d, doctor.PGTimeline, "", 0, nil)
	p.add(d, doctor.CPU, "", clampTo(p.noisy(p.dbCPU+.5*p.statementLoad), 1), nil)
}

func (p *plane) tellFacts() {
	lane := func(hop, statistic string, q *queue) {
		p.add(hop, doctor.Waiting, statistic, q.waiting(), nil)
		p.add(hop, doctor.OldestAge, statistic, q.oldest(p.now), nil)
		p.add(hop, doctor.Arrivals, statistic, q.came, nil)
		p.add(hop, doctor.Departures, statistic, q.went, nil)
		stuck := max(0, q.oldest(p.now)-max(0, p.beat-2))
		p.add(hop, "residence", statistic, q.residence, nil)
		p.add(hop, "stuck", statistic, stuck, nil)
		still := 0.0
		if q.waiting() > 0 {
			still = max(0, min(float64(p.now-q.lastLeft), stuck-q.residence))
		}
		if q.came > 0 {
			q.pace = max(q.pace*.99, q.came)
		}
		p.add(hop, doctor.Standstill, statistic, still, nil)
		p.add(hop, doctor.StandstillGaps, statistic, still*q.pace, nil)
	}
	lane(doctor.HopDecider, "", &p.intake)
	unknown := 0.0
	for _, r := range p.rails {
		lane(doctor.HopDispatch, r.name, &r.lane)
		lane(r.name, "", &r.out)
		lane(doctor.HopSettle, r.name, &r.unknown)
		unknown += r.unknown.waiting()
	}
	p.add(doctor.HopSettle, doctor.UnknownItems, "", unknown, nil)
	p.add(doctor.HopDecider, doctor.Silence, "", p.beat, map[string]string{"beats": "yes"})
	p.add(doctor.HopDecider, doctor.Quarantined, "", p.quarantine, nil)
	p.add(doctor.HopDecider, doctor.MoneyOff, "invariant", 0, nil)
	late := 0.0
	if p.hung["timer"] || !p.alive() {
		late = float64(p.hungFor)
	}
	p.add(doctor.HopTimer, doctor.TimerLate, "", late, nil)
	p.add(doctor.HopTimer, doctor.Overdue, "", yes(late > 30)*p.load*.02*late, nil)
	p.add(doctor.HopTimer, doctor.Orphans, "", yes(late > 5)*p.count(p.load*.1*late), nil)
	backlog, age := p.poisonCallbacks, 0.0
	if p.poisonCallbacks > 0 {
		age = float64(p.hungFor)
	}
	for _, r := range p.rails {
		if !p.well() || p.hung["settle"] {
			backlog += r.back.waiting()
			age = max(age, r.back.oldest(p.now))
		}
	}
	p.add(doctor.HopCallbacks, doctor.CallbackBacklog, "", backlog, nil)
	p.add(doctor.HopCallbacks, doctor.CallbackAge, "", age, nil)
	p.add(doctor.HopWebhooks, doctor.Waiting, "", p.reader.waiting(), nil)
	silence := p.rng.Float64()
	if p.hung["webhooks"] {
		silence = float64(p.hungFor)
	}
	p.add(doctor.HopWebhooks, doctor.LoopSilence, "webhooks", silence, nil)
	p.add(doctor.HopWebhooks, doctor.OldestAge, "", yes(p.endpointDown)*float64(p.hungFor), nil)
	for name := range p.paused {
		statistic := name
		if name == "*" {
			statistic = ""
		}
		p.add(doctor.HopDispatch, doctor.Paused, statistic, 1, map[string]string{"by": "pause-dispatch"})
	}
}
