package diagnose

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// The bounds of the invariants. None is learned from how often something was wrong,
// and none is a score: each says until when what is seen may still be right.
const (
	// stuckFloor: nothing that can move is stuck before. A takeover takes up to 5 s.
	stuckFloor = 5.0
	// stuckTimes the longest stay of late is beyond any usual one (design: twice the
	// q99.99 of the residence; measured 0 false alarms in 72 h at every load).
	stuckTimes = 2.0
	// gapsMost mean gaps without a departure while work waits: by chance e^-20 of them.
	gapsMost = 20.0
	// fasterTimes the usual departures are work that is done, and no delay.
	fasterTimes = 1.2
	// behindOdds: one owner's work stays by accident once in so many decimal digits. There
	// are some 10^4 lanes and minutes in a day: a false word in a hundred days.
	behindOdds = 6.0
	// unknownMost outcomes that nobody knows, of which fewer than half become known as
	// fast as they come, for unknownAge, are a flood and no accident.
	unknownMost = 20.0
	unknownAge  = 3.0
	// beatMost is how long a heart that was beating may be silent: twice a takeover's
	// patience and its work. beatFirst is for one that was not yet seen to beat, beatLeft
	// for one whose leader has handed over: somebody begins anew on purpose.
	beatMost  = 6.0
	beatFirst = 30.0
	beatLeft  = 20.0
	// canaryMost is three of its distances.
	canaryMost = 30.0
	// blockedMost is how long a session may be idle, or a change of a table queue, while
	// others wait for it; workedMost is for one that works meanwhile.
	blockedMost, workedMost = 5.0, 10.0
	// readerMost is how long a reader of the log may stay where it is while it is behind.
	readerMost = 45.0
	// restartsMost starts within what is remembered are no accident.
	restartsMost = 3.0
	// slowTimes and slowLeast: the mean time at a hop, by Little's law.
	slowTimes, slowLeast = 3.0, 1.0
	slowEvents           = 20.0
	// latencyTimes and latencyLeast: the same for requests at the edge.
	latencyTimes, latencyLeast = 5.0, 1.0
	// tailTimes is for one in twenty of them, and tailFor for how long.
	tailTimes, tailFor, tailUsual = 10.0, 8.0, 30
	// failsMost of the answers at the edge may be failures of ours, for a while.
	failsMost = .05
	// doubledMost of the payments may repeat another of a moment ago under a new key, or
	// doubledTimes as many as usual, where doubledUsual points tell what is. Where they
	// were that many now and then before, too, it is how people pay there: no sign.
	doubledMost, doubledTimes, doubledUsual = .08, 3.0, 30
	// poolWaits is a wait for a connection that a caller notices. All that for pooledFor
	// and still is no burst any more, which a pool that is new has to work off.
	poolWaits = .5
	pooledFor = 8.0
	allBusy   = .99
	// samplesLeast: what must hold for some time was read so often.
	samplesLeast = 3
	// freshSteps is how many steps a reading may be old and still say what is so.
	freshSteps, freshLeast = 3.0, 3.0
)

// collectorOf begins the statistic of the silence of a collector.
const collectorOf = "collector "

// Detect returns the invariants that do not hold, the same for equal evidence, in one
// order. It is pure. What is unusual and breaks none of them is no alarm; what is
// missing is one only if somebody would have to tell it: a heart, a canary, the facts.
func Detect(in *doctor.Evidence) []doctor.Alarm {
	readings := slices.Clone(in.Readings)
	d := &detector{e: in, at: make(map[seat]*doctor.Reading, len(readings))}
	for i := range readings {
		r := &readings[i]
		if !r.Lately.Until.IsZero() { // what was so for a while of a long trouble is no more
			r.During = r.Lately
		}
		if r.Peer == "" {
			d.at[seat{r.Hop, r.Signal, r.Statistic}] = r
		}
	}
	for i := range readings {
		if r := &readings[i]; r.Peer == "" && d.fresh(r) {
			d.judge(r)
		}
	}
	out := doctor.Evidence{Alarms: d.worst()}
	out.Sort()
	return out.Alarms
}

type seat struct {
	hop       string
	signal    doctor.Signal
	statistic string
}

type detector struct {
	e     *doctor.Evidence
	at    map[seat]*doctor.Reading
	found []doctor.Alarm
}

// fresh says that the newest point tells what is so now.
func (d *detector) fresh(r *doctor.Reading) bool {
	return r.Newest != nil && d.e.TakenAt.Sub(*r.Newest).Seconds() <= max(freshSteps*r.StepS, freshLeast)
}

// beside is another signal of the same hop and lane; nil when it does not speak.
func (d *detector) beside(r *doctor.Reading, s doctor.Signal) *doctor.Reading {
	o := d.at[seat{r.Hop, s, r.Statistic}]
	if o == nil || !d.fresh(o) || o.During.N == 0 {
		return nil
	}
	return o
}

// last, during and before are what a reading beside says, 0 when there is none.
func last(r *doctor.Reading) float64 {
	if r == nil {
		return 0
	}
	return r.Last
}

func during(r *doctor.Reading) float64 {
	if r == nil {
		return 0
	}
	return r.During.Value
}

func before(r *doctor.Reading) float64 {
	if r == nil || r.Before.N == 0 {
		return 0
	}
	return r.Before.Value
}

// steady is what a reading was all the time, and not only now and then.
func steady(r *doctor.Reading) float64 {
	if r == nil || r.During.N < samplesLeast {
		return 0
	}
	return r.During.Value - r.During.Spread
}

// breach is a reading beyond its bound.
type breach struct {
	rule    doctor.Rule
	bound   float64
	value   float64
	forS    float64 // for how long it has been so, as far as it tells
	page    bool
	code    string
	signal  doctor.Signal // when the symptom is another signal than the reading's
	figures []string      // arguments after the hop
}

func (d *detector) add(r *doctor.Reading, b breach) {
	info, _ := r.Signal.Info()
	a := doctor.Alarm{
		Rule: b.rule, Hop: r.Hop, Signal: r.Signal, Statistic: r.Statistic, Page: b.page, Code: b.code,
		Value: doctor.Figure{Value: round(b.value), Unit: info.Unit, N: r.During.N},
		Bound: doctor.Figure{Value: round(b.bound), Unit: info.Unit, N: r.Before.N},
		Since: r.Newest.Add(-time.Duration(b.forS * float64(time.Second))).UTC(),
		Args:  append([]string{d.name(r)}, b.figures...),
	}
	if b.signal != "" {
		a.Signal = b.signal
	}
	a.Says = Say("en", a.Code, a.Args)
	d.found = append(d.found, a)
}

// name is the hop, with the lane when it has several. Which sum of money is off is for the
// sentence to say.
func (d *detector) name(r *doctor.Reading) string {
	if r.Statistic == "" || r.Signal == doctor.MoneyOff || r.Signal == doctor.ProbeUp || strings.HasPrefix(r.Statistic, collectorOf) {
		return r.Hop
	}
	return r.Hop + " " + r.Statistic
}

// worst keeps one alarm a rule, hop and sentence: that which is furthest beyond its
// bound.
func (d *detector) worst() (out []doctor.Alarm) {
	type kind struct {
		rule      doctor.Rule
		hop, code string
	}
	at := make(map[kind]int)
	beyond := func(a *doctor.Alarm) float64 { return a.Value.Value / max(a.Bound.Value, 1e-9) }
	for i := range d.found {
		a := &d.found[i]
		k := kind{a.Rule, a.Hop, a.Code}
		j, known := at[k]
		switch {
		case !known:
			at[k] = len(out)
			out = append(out, *a)
		case beyond(a) > beyond(&out[j]) || (beyond(a) == beyond(&out[j]) && a.Statistic < out[j].Statistic):
			out[j] = *a
		}
	}
	return out
}

func (d *detector) judge(r *doctor.Reading) {
	switch r.Signal { //nolint:exhaustive // the rest breaks no invariant
	case doctor.Stuck:
		d.stuck(r)
	case doctor.Standstill:
		d.standstill(r)
	case doctor.LeftBehind:
		d.behind(r)
	case doctor.UnknownItems:
		d.flood(r)
	case doctor.Waiting:
		d.little(r)
		d.reader(r)
	case doctor.Orphans:
		// What waits for a free slot is offered by its queue, whatever its timer says.
		if least(r) >= 1 && r.Hop != doctor.HopDispatch {
			d.add(r, breach{rule: doctor.Progress, value: r.Last, page: true, code: "alarm-orphans", figures: []string{count(r.Last)}})
		}
	case doctor.Overdue:
		if r.Last > 0 {
			d.add(r, breach{rule: doctor.Progress, value: r.Last, code: "alarm-overdue", figures: []string{count(r.Last)}})
		}
	case doctor.Imbalance:
		if r.Last > 0 && least(r) > 0 {
			d.add(r, breach{rule: doctor.Conservation, value: r.Last, page: true, code: "alarm-imbalance", figures: []string{count(r.Last)}})
		}
	case doctor.MoneyOff:
		// A break that stands for long has an owner; one that is new has none yet.
		if r.Last > 0 && (r.Statistic == "invariant" || r.Last > before(r)) {
			code := "alarm-money"
			if r.Statistic == "breaks" {
				code = "alarm-breaks"
			}
			d.add(r, breach{rule: doctor.Money, value: r.Last, page: true, code: code, figures: []string{count(r.Last)}})
		}
	case doctor.Quarantined:
		if r.Last > 0 {
			d.add(r, breach{rule: doctor.Money, value: r.Last, page: true, code: "alarm-quarantine", figures: []string{count(r.Last)}})
		}
	default:
		d.signs(r)
	}
}

// least is the reading's smallest steady value: all of it was so, or it is not counted.
func least(r *doctor.Reading) float64 {
	if r.During.N < samplesLeast {
		return 0
	}
	return min(r.During.Value-r.During.Spread, r.Last)
}

// signs judges the signs of life, the edge and the database.
func (d *detector) signs(r *doctor.Reading) {
	switch r.Signal { //nolint:exhaustive // the rest breaks no invariant
	case doctor.Silence:
		d.silence(r)
	case doctor.LoopSilence:
		// The readers of the log have their own rule; other loops tell it only with work.
		if r.Last > beatMost && (r.Hop == doctor.HopServe || r.Hop == doctor.HopDecider || r.Hop == doctor.HopDispatch || r.Hop == doctor.HopTimer || r.Hop == doctor.HopSettle) {
			d.add(r, breach{rule: doctor.Beat, value: r.Last, bound: beatMost, forS: r.Last, page: true, code: "alarm-loop", figures: []string{seconds(r.Last)}})
		}
	case doctor.CanaryAge:
		if r.Last > canaryMost {
			d.add(r, breach{rule: doctor.Beat, value: r.Last, bound: canaryMost, forS: r.Last, page: true, code: "alarm-canary", figures: []string{seconds(r.Last)}})
		}
	case doctor.Up, doctor.ProbeUp:
		// A start again takes some seconds.
		if r.Last == 0 && r.During.Value == 0 && d.spans(r, beatMost) && r.Hop != doctor.HopClient {
			page := d.kind(r.Hop) != doctor.Channel
			b := breach{rule: doctor.Beat, forS: d.e.TakenAt.Sub(r.During.From).Seconds(), page: page, code: "alarm-down"}
			switch { // people know the hop, and not the names of our calls
			case r.Signal == doctor.Up || r.Statistic == "":
			case r.Detail["code"] != "":
				b.code, b.figures = "alarm-unready", []string{r.Detail["code"]}
			default:
				b.code = "alarm-probe"
			}
			d.add(r, b)
		}
	case doctor.Restarts:
		if rise := r.Last - before(r); r.Before.N > 0 && rise >= restartsMost && r.Last > r.During.Value {
			d.add(r, breach{rule: doctor.Beat, value: rise, bound: restartsMost, page: true, code: "alarm-restarts", figures: []string{count(rise)}})
		}
	case doctor.PGRootIdle, doctor.PGRootActive, doctor.PGDDLWaiting:
		d.blocked(r)
	case doctor.PGReadOnly, doctor.PGNoSpace:
		if r.Last > 0 && steady(r) > 0 {
			d.add(r, breach{rule: doctor.Progress, value: 1, page: true, code: "alarm-no-writes"})
		}
	case doctor.ServerErrors:
		if f := steady(r); f > failsMost && d.events(r) >= slowEvents {
			d.add(r, breach{rule: doctor.Progress, value: f, bound: failsMost, page: true, code: "alarm-fails", figures: []string{percent(f)}})
		}
	case doctor.Busy, doctor.PoolBusy:
		d.busy(r)
	case doctor.Latency:
		d.latency(r)
	case doctor.ProbeFirst:
		d.probed(r)
	case doctor.Doubled:
		d.doubled(r)
	}
}

// blocked judges who keeps others from their work in the database: one that is idle
// will not end by itself, one that works may.
func (d *detector) blocked(r *doctor.Reading) {
	bound := blockedMost
	if r.Signal == doctor.PGRootActive {
		bound = workedMost
	}
	waiters := d.beside(r, doctor.LockWaiters)
	if r.Last > bound && waiters != nil && waiters.During.Value > 0 {
		d.add(r, breach{rule: doctor.Progress, value: r.Last, bound: bound, forS: r.Last, page: true, code: "alarm-blocked", figures: []string{seconds(r.Last)}})
	}
}

// spans says that the points of the window cover so many seconds.
func (d *detector) spans(r *doctor.Reading, s float64) bool {
	return r.During.N >= samplesLeast && float64(r.During.N)*max(r.StepS, .5) >= s
}

func (d *detector) kind(hop string) doctor.Kind {
	for _, h := range d.e.Hops {
		if h.Name == hop {
			return h.Kind
		}
	}
	return ""
}

// events is how many requests the window had.
func (d *detector) events(r *doctor.Reading) float64 {
	rate := d.at[seat{r.Hop, doctor.Rate, ""}]
	if rate == nil {
		return 0
	}
	return rate.During.Value * float64(rate.During.N) * rate.StepS
}

// stuck: the oldest work could have left for longer than any of late took.
func (d *detector) stuck(r *doctor.Reading) {
	residence := last(d.beside(r, doctor.Residence))
	bound := max(stuckFloor, stuckTimes*residence)
	if r.Last > bound {
		d.add(r, breach{
			rule: doctor.Progress, value: r.Last, bound: bound, forS: max(r.Last-residence, 0), page: true,
			code: "alarm-stuck", figures: []string{seconds(r.Last), seconds(residence)},
		})
	}
}

// standstill: work waits, and nothing left for so many of its usual gaps that it is no
// chance.
func (d *detector) standstill(r *doctor.Reading) {
	gaps := d.beside(r, doctor.StandstillGaps)
	if r.Last > stuckFloor && last(gaps) > gapsMost {
		d.add(r, breach{
			rule: doctor.Progress, value: r.Last, bound: stuckFloor, forS: r.Last, page: true,
			code: "alarm-standstill", figures: []string{seconds(r.Last), count(last(gaps))},
		})
	}
}

// behind: others overtake one owner's work, again and again, and it is no chance that it
// is his. However short a stay may be beside the bound of the oldest, order is broken.
func (d *detector) behind(r *doctor.Reading) {
	odds := d.beside(r, doctor.LeftBehindOdds)
	if r.Last > stuckFloor && last(odds) > behindOdds {
		d.add(r, breach{
			rule: doctor.Progress, value: r.Last, bound: stuckFloor, forS: r.Last, page: true,
			code: "alarm-behind", figures: []string{r.Detail["account"], seconds(r.Last), r.Detail["payments"], r.Detail["overtaken"]},
		})
	}
}

// flood: outcomes become unknown faster than they become known. Those that a new leader
// found on the wire all did at once.
func (d *detector) flood(r *doctor.Reading) {
	if r.Detail["settling"] != "" {
		return
	}
	came, went, age := d.beside(r, doctor.Arrivals), d.beside(r, doctor.Departures), d.beside(r, doctor.OldestAge)
	if r.Last >= unknownMost && last(age) > unknownAge && during(came) > 2*during(went) {
		d.add(r, breach{
			rule: doctor.Progress, value: r.Last, bound: unknownMost, forS: last(age), page: true,
			code: "alarm-unknown", figures: []string{count(r.Last)},
		})
	}
}

// little: work in flight by its departures is the mean time at the hop; it must not
// multiply while no more leaves than usual. Where nothing leaves it has no mean.
func (d *detector) little(r *doctor.Reading) {
	went := d.beside(r, doctor.Departures)
	if r.Detail["settling"] != "" { // what was let go a moment ago has no mean yet
		return
	}
	if went == nil || went.Last == 0 || went.Before.N == 0 || r.Before.N == 0 || !d.spans(r, 2*samplesLeast) {
		return
	}
	if before(went)*float64(went.Before.N)*went.StepS < slowEvents || went.During.Value*float64(went.During.N)*went.StepS < slowEvents ||
		went.During.Value >= fasterTimes*before(went) {
		return
	}
	now, usual := r.During.Value/went.During.Value, r.Before.Value/before(went)
	if bound := max(slowTimes*usual, slowLeast); now > bound && steady(r)/went.During.Value > bound {
		d.add(r, breach{
			rule: doctor.Little, value: r.During.Value, bound: bound * went.During.Value, forS: now, page: true,
			code: "alarm-slow", figures: []string{seconds(now), seconds(usual)},
		})
	}
}

// reader: a reader of the event log is behind and does not move.
func (d *detector) reader(r *doctor.Reading) {
	for k, loop := range d.at {
		if k.hop != r.Hop || k.signal != doctor.LoopSilence || (r.Hop != doctor.HopRecon && r.Hop != doctor.HopWebhooks) || !d.fresh(loop) {
			continue
		}
		if loop.Last > readerMost && r.Last > 0 {
			d.add(r, breach{
				rule: doctor.Progress, value: r.Last, forS: loop.Last, page: true,
				code: "alarm-reader", figures: []string{seconds(loop.Last), count(r.Last)},
			})
		}
	}
}

// silence: a heart does not beat, or nobody hears a source any more.
func (d *detector) silence(r *doctor.Reading) {
	name, collector := strings.CutPrefix(r.Statistic, collectorOf)
	bound, code := beatMost, "alarm-beat"
	figures := []string{seconds(r.Last)}
	page := true
	switch {
	case collector:
		// Without the facts nobody knows of a stall; without another source the diagnosis
		// only knows less.
		page, code, figures = name == "money", "alarm-unheard", []string{name, seconds(r.Last)}
	case r.Detail["beats"] == "never":
		bound = beatFirst
	case r.Detail["leader"] == "none":
		bound = beatLeft
	}
	if r.Last > bound {
		d.add(r, breach{rule: doctor.Beat, value: r.Last, bound: bound, forS: r.Last, page: page, code: code, figures: figures})
	}
}

// busy: all places are taken, and it shows.
func (d *detector) busy(r *doctor.Reading) {
	if steady(r) < allBusy {
		return
	}
	came, went, wait := d.beside(r, doctor.Arrivals), d.beside(r, doctor.Departures), d.beside(r, doctor.PoolWait)
	waits := r.Signal == doctor.PoolBusy && d.spans(r, pooledFor) && min(steady(wait), last(wait)) > poolWaits
	if waits || during(came) > during(went) {
		d.add(r, breach{rule: doctor.Utilisation, value: r.During.Value, bound: allBusy, page: waits, code: "alarm-busy"})
	}
}

// latency: what callers of the edge wait, all of them, or one in twenty for some time.
func (d *detector) latency(r *doctor.Reading) {
	if r.Hop != doctor.HopAPI || !slices.Contains([]string{"mean", "p50", "p95"}, r.Statistic) || r.Before.N == 0 || d.events(r) < slowEvents {
		return
	}
	times, value := latencyTimes, steady(r)
	if r.Statistic == "p95" { // one in twenty waits: for long, and still
		if times, value = tailTimes, min(value, r.Last); !d.spans(r, tailFor) || r.Before.N < tailUsual {
			return
		}
	}
	if bound := max(times*before(r), latencyLeast); value > bound {
		d.add(r, breach{
			rule: doctor.Little, value: r.During.Value, bound: bound, page: true,
			code: "alarm-slow", figures: []string{seconds(r.During.Value), seconds(before(r))},
		})
	}
}

// doubled: one wish becomes two payments. A known key would have kept that from
// happening, so that it is for nobody else to see.
func (d *detector) doubled(r *doctor.Reading) {
	if r.Before.N < doubledUsual || r.Before.Value+r.Before.Spread > doubledMost {
		return
	}
	if bound := max(doubledMost, doubledTimes*before(r)); steady(r) > bound {
		d.add(r, breach{rule: doctor.Conservation, value: r.During.Value, bound: bound, page: true, code: "alarm-doubled", figures: []string{percent(r.During.Value)}})
	}
}

// probed: what our own harmless calls at the edge wait, over and over. It is seen from
// outside, also while the process has no time to tell its metrics.
func (d *detector) probed(r *doctor.Reading) {
	if r.Hop != doctor.HopAPI || r.Before.N < samplesLeast || !d.spans(r, beatMost) {
		return
	}
	if bound := max(latencyTimes*before(r), latencyLeast); min(steady(r), r.Last) > bound {
		d.add(r, breach{
			rule: doctor.Little, value: r.During.Value, bound: bound, forS: d.e.TakenAt.Sub(r.During.From).Seconds(), page: true,
			code: "alarm-slow", figures: []string{seconds(r.During.Value), seconds(before(r))},
		})
	}
}

func seconds(s float64) string {
	if s < 10 {
		return fmt.Sprintf("%.2g s", s)
	}
	return fmt.Sprintf("%.0f s", s)
}

func count(n float64) string { return fmt.Sprintf("%.0f", n) }
