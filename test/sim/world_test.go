package sim

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/dispatch"
	"github.com/moneta-pay/moneta/pay/settle"
	"github.com/moneta-pay/moneta/pay/timer"
)

// defect is a mistake planted to see that it is found.
type defect int

const (
	noDefect      defect = iota
	executesLate         // a channel executes after its not-found was final
	renamesOrders        // an adapter tries again on a timeout, under a new reference
	appliesTwice         // the decider posts one Fact twice
	losesTimers          // a payment that moved is not put on the wheel
)

const (
	faultsLast  = 3 * time.Minute
	patience    = 45 * time.Minute // virtual; after it everything must be final
	skewMost    = 2 * time.Second  // either way, between two processes; the guard refuses 5 s
	resendAfter = 40 * time.Second // so that resends happen while there are faults
	wheelGuard  = timer.DefaultGuard
	lossMost    = 30 // percent, each way
)

var routes = dispatch.Routes{{Channels: []channel.Name{never, both}, RetryOn: []string{declinedElsewhere}}}

// plan is what the seed decided beforehand.
type plan struct {
	seed              uint64
	loss, duplication int // percent
	trouble           int // commits that go wrong, percent
	payments, crashes int
	// timeless leaves out what ends by its time: a real decider, run later, sees
	// another time.
	timeless bool
	defect   defect
}

// world is one run.
type world struct {
	gate    *gate
	plan    plan
	tel     *telemetry.Telemetry
	store   *store
	banks   map[channel.Name]*bank
	leader  *process // nil while nobody leads
	starts  int
	begun   time.Time
	planned int // requests of clients that are not answered yet
	effects map[pay.ID]int
	found   string // the first violation
	// confirmed and states are what the checks remember.
	confirmed map[pay.ID]map[int16]bool
	attempts  map[pay.ID]map[int16]pay.AttemptState
}

func newWorld(p plan, tel *telemetry.Telemetry) *world {
	w := &world{
		gate: newGate(p.seed), plan: p, tel: tel, begun: time.Now(), banks: map[channel.Name]*bank{}, effects: map[pay.ID]int{},
		confirmed: map[pay.ID]map[int16]bool{}, attempts: map[pay.ID]map[int16]pay.AttemptState{},
	}
	w.store = newStore(w)
	g := w.gate
	w.plan.loss, w.plan.duplication, w.plan.trouble = g.rnd.IntN(lossMost+1), g.rnd.IntN(51), g.rnd.IntN(16)
	w.plan.payments, w.plan.crashes = 3+g.rnd.IntN(8), g.rnd.IntN(4)
	for _, name := range rails {
		b := &bank{w: w, name: name, caps: capabilities(name), orders: map[string]*order{}}
		if g.roll(30) {
			b.downFrom = w.begun.Add(g.between(0, faultsLast/2))
			b.downUntil = b.downFrom.Add(g.between(time.Second, faultsLast/2))
		}
		w.banks[name] = b
	}
	return w
}

func (w *world) faulty() bool { return time.Since(w.begun) < faultsLast }

// fail keeps the first violation.
func (w *world) fail(format string, args ...any) {
	if w.found == "" {
		w.found = fmt.Sprintf("after %v and %d steps: ", time.Since(w.begun), w.gate.steps) + fmt.Sprintf(format, args...)
	}
}

// run carries the plan out until everything is over, or something is wrong.
func (w *world) run() {
	w.lead()
	w.planClients()
	for range w.plan.crashes {
		w.gate.after(w.gate.between(time.Second, faultsLast), "crash", w.crash)
	}
	for w.found == "" {
		w.gate.settle()
		if w.gate.next() {
			continue
		}
		w.checkWatched()
		if w.planned == 0 && len(w.gate.events) == 0 && len(w.store.open()) == 0 {
			break
		}
		if time.Since(w.begun) > patience {
			w.fail("%d payments are still open, the first is %s", len(w.store.open()), describe(w.store.open()))
		}
		w.gate.idle()
	}
	w.checkEnd()
	if w.leader != nil {
		w.leader.stop()
	}
}

func describe(open []pay.Payment) string {
	if len(open) == 0 {
		return "none"
	}
	p := &open[0]
	return fmt.Sprintf("payment %d through %s, %s, attempt %d %s", p.ID, p.Channel, p.State, p.Attempt.N, p.Attempt.State)
}

// commit submits Facts to the decider, which may fail in every way it knows.
func (w *world) commit(p *process, facts []commit.Fact) []commit.Outcome {
	out := make([]commit.Outcome, len(facts))
	if w.faulty() && w.gate.roll(w.plan.trouble) {
		switch w.gate.rnd.IntN(3) {
		case 0:
			return allFailed(out, fault.Overloaded)
		case 1: // the connection broke before COMMIT
			return allFailed(out, fault.CommitUnknown)
		default: // and here after it
			w.store.apply(p, facts)
			return allFailed(out, fault.CommitUnknown)
		}
	}
	return w.store.apply(p, facts)
}

// process is a node: the real stations on the simulated decider and channels.
type process struct {
	w        *world
	n        int
	skew     time.Duration
	begun    time.Time
	ctx      context.Context
	cancel   context.CancelFunc
	dispatch *dispatch.Dispatcher
	asker    *settle.Asker
	wheel    *timer.Wheel
	expirer  *timer.Expirer
	loops    sync.WaitGroup
	// frozen: it is dead for everybody else, and may still write what it had in hand.
	frozen bool
	// handed is when each payment was last offered to its station.
	handed map[pay.ID]time.Time
}

// Now is the time as this process's machine sees it.
func (p *process) Now() time.Time { return time.Now().Add(p.skew) }

// lead starts a process that takes the shard over.
func (w *world) lead() {
	w.starts++
	p := &process{w: w, n: w.starts, begun: time.Now(), handed: map[pay.ID]time.Time{}, skew: w.gate.between(-skewMost, skewMost)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	channels := make([]channel.Channel, len(rails))
	for i, name := range rails {
		channels[i] = &line{p: p, bank: w.banks[name]}
	}
	p.dispatch = dispatch.New(dispatch.Config{
		Submitter: p, Channels: channels, Routes: routes, DedupProven: func(n channel.Name) bool { return capabilities(n).DedupByReference },
		Clock: p, Telemetry: w.tel,
	})
	p.asker = settle.NewAsker(settle.AskerConfig{
		Submitter: p, Channels: channels, Live: p.dispatch.Live, Clock: p, Telemetry: w.tel, Concurrency: 3,
		Redirects: routes.Redirects, Resend: p.dispatch.Resend, ResendAfter: resendAfter,
	})
	p.expirer = timer.NewExpirer(p, p, nil, w.tel)
	route := timer.Route{Dispatch: p.dispatch.Offer, Settle: p.asker.Check, Time: p.expirer.Offer}
	p.wheel = timer.New(timer.Config{Due: func(q pay.Payment) bool { return p.due(route, q) }, Clock: p, Telemetry: w.tel, WatchEvery: time.Hour})
	open := w.store.open()
	p.wheel.Load(open)
	p.asker.Load(open)
	w.leader = p
	p.dispatch.Start(p.ctx)
	p.loops.Go(func() { _ = p.asker.Run(p.ctx) })
	p.loops.Go(func() { _ = p.wheel.Run(p.ctx) })
	p.loops.Go(func() { _ = p.expirer.Run(p.ctx) })
}

// due is a payment's hand-over to its station: a step of its own, so that the
// seed decides what comes between two of them.
func (p *process) due(route timer.Route, q pay.Payment) (inHand bool) {
	key := fmt.Sprintf("%d due %d", p.n, q.ID)
	p.w.gate.pass(p.ctx, p.ctx, key, func(finish func()) {
		p.w.gate.after(0, key, func() {
			p.handed[q.ID] = time.Now()
			inHand = route.Due(q)
			finish()
		})
	})
	return inHand
}

// Submit is SubmitAll of one.
func (p *process) Submit(ctx context.Context, f commit.Fact) (commit.Result, error) {
	o := p.SubmitAll(ctx, []commit.Fact{f})[0]
	return o.Result, o.Err
}

// SubmitAll takes Facts to the decider and waits for its answer, as long as ctx lasts.
func (p *process) SubmitAll(ctx context.Context, facts []commit.Fact) []commit.Outcome {
	var key strings.Builder
	fmt.Fprintf(&key, "%d submit", p.n)
	own := make([]commit.Fact, len(facts)) // they outlive a caller who gives up
	for i := range facts {
		f := *facts[i].Payment
		own[i].Payment = &f
		fmt.Fprintf(&key, " %s %d/%d", f.Kind, f.Payment, f.Attempt)
	}
	var out []commit.Outcome
	g := p.w.gate
	answered := g.pass(ctx, p.ctx, key.String(), func(finish func()) {
		g.after(p.w.slowness(), key.String(), func() {
			got := p.w.commit(p, own)
			g.after(p.w.slowness(), key.String()+" answered", func() { out = got; finish() })
		})
	})
	if !answered {
		return allFailed(make([]commit.Outcome, len(facts)), fault.CommitUnknown)
	}
	return out
}

// slowness is how long one way of a commit takes.
func (w *world) slowness() time.Duration {
	if w.faulty() && w.gate.roll(3) {
		return w.gate.between(0, 12*time.Second)
	}
	return w.gate.between(100*time.Microsecond, 15*time.Millisecond)
}

// crash ends the process between two steps, wherever its calls stand, and plans its
// successor. Nothing of it reaches the decider any more.
func (w *world) crash() {
	p := w.leader
	if p == nil {
		return
	}
	w.leader = nil
	p.frozen = w.gate.roll(40)
	p.stop()
	w.gate.after(w.gate.between(100*time.Millisecond, 8*time.Second), "take over", w.lead)
}

func (p *process) stop() {
	p.cancel()
	_ = p.dispatch.Stop(p.ctx) // its context has ended: everything is cut off
	p.loops.Wait()
}

// planClients plans what holders do.
func (w *world) planClients() {
	for n := range users {
		w.client(0, fund(user(n)), nil)
	}
	for n := range w.plan.payments {
		w.planPayment(n)
	}
}

func (w *world) planPayment(n int) {
	g := w.gate
	p := pay.Payment{From: user(g.rnd.IntN(users)), Amount: money.Int(1 + g.rnd.Int64N(900)), Fee: money.Int(g.rnd.Int64N(10))}
	verdict := pay.Clear
	var then func(id pay.ID)
	switch kind := g.rnd.IntN(10); {
	case kind == 0:
		p.Kind, p.To = pay.Send, user(g.rnd.IntN(users))
		if p.To == p.From {
			p.To = house
		}
		verdict = 0
	case kind == 1 && !w.plan.timeless:
		p.Kind, p.To, p.Fee, p.ExpiresAt = pay.Hold, house, money.Amount{}, time.Now().Round(0).Add(g.between(2*time.Minute, 5*time.Minute))
		verdict = 0
	default:
		p.Kind, p.Channel = pay.Payout, string(rails[g.rnd.IntN(len(rails))])
		if kind == 2 && !w.plan.timeless {
			verdict = pay.Challenge
			if g.roll(70) {
				then = w.later(pay.ActionDone, 5*time.Minute)
			}
		}
	}
	if g.roll(15) {
		then = w.later(pay.Cancel, 20*time.Second)
	}
	w.client(g.between(time.Second, time.Minute), acceptFact(p, fmt.Sprint("payment ", n), verdict), then)
}

// later is what a holder does some time after his payment was accepted.
func (w *world) later(k pay.FactKind, most time.Duration) func(pay.ID) {
	return func(id pay.ID) {
		w.client(w.gate.between(0, most), commit.Fact{Payment: &pay.Fact{Kind: k, Payment: id, Source: "api"}}, nil)
	}
}

// client plans a request, which is repeated unchanged until it is answered, and
// sometimes once more although it was.
func (w *world) client(wait time.Duration, f commit.Fact, then func(pay.ID)) {
	w.planned++
	w.gate.after(wait, fmt.Sprintf("client %s", f.Payment.Kind), func() {
		w.planned--
		out := w.commit(w.leader, []commit.Fact{f})[0]
		switch fault.CodeOf(out.Err) {
		case fault.CommitUnknown, fault.Overloaded, fault.DatabaseUnavailable, fault.NotLeader:
			w.client(w.gate.between(100*time.Millisecond, 3*time.Second), f, then)
			return
		}
		if out.Err == nil && then != nil {
			then(out.Payment.ID)
		}
		if f.Payment.Kind == pay.Accept && w.gate.roll(20) {
			w.again(f, out)
		}
	})
}

// again sends a request whose answer is known once more: it must be the same payment.
func (w *world) again(f commit.Fact, first commit.Outcome) {
	w.gate.after(w.gate.between(0, time.Minute), "client repeats", func() {
		out := w.store.apply(w.leader, []commit.Fact{f})[0]
		if fault.CodeOf(out.Err) == fault.NotLeader {
			return
		}
		if !out.Replayed || out.Payment.ID != first.Payment.ID || fault.CodeOf(out.Err) != fault.CodeOf(first.Err) {
			w.fail("a key that was answered with payment %d, %v, is answered with payment %d, %v", first.Payment.ID, first.Err, out.Payment.ID, out.Err)
		}
	})
}
