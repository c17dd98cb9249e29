package money

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// The hops of the facts that work waits at by itself; at the others it waits for a
// person or a holder.
const (
	factIntake   = "intake"
	factDispatch = "dispatch"
	factChannel  = "channel"
	factSettle   = "settle"
)

// Figures of the flow.
const (
	historyMax = 900 // looks, a second each
	minutesMax = 15
	// knownFrom is how many departures make the residence of a lane known. Until then it
	// is what the hop is allowed at a cold start.
	knownFrom = 20
	// beatGrace is how long a beat may be missing before what stands still stands still
	// for want of a decider: twice its distance is 800 ms.
	beatGrace = 2 * time.Second
	// drainMost bounds how long a queue may be longer than usual because it works faster
	// than usual, and stillDrains how long it may rest meanwhile.
	drainMost, stillDrains = 2 * time.Minute, 2 * time.Second
	fasterTimes            = 1.2
	// excusedAgain bounds how often a takeover excuses what stood still before it: a leader
	// that dies again and again is no excuse.
	excusedAgain = time.Minute
	// anewFor bounds how often a takeover makes the proofs of absence begin anew, from the
	// first of those that come one after the other: each does, but a leader that dies again
	// and again is no excuse. provesMost bounds what a contract may claim to take.
	anewFor    = time.Minute
	provesMost = 2 * time.Minute
	// settles is for how long means say nothing after a time in which nothing could move.
	settles = 20 * time.Second
	// A stay that is oddTimes as long as any of late is on trial for trialFor before it
	// counts as usual: a trouble that grows must not move its own bound.
	oddTimes = 2
	trialFor = time.Minute
	// stayLeast is what a stay may always be, without being learned as odd.
	stayLeast = 5 * time.Second
)

// coldStay is what work may stay at a hop of which too few departures were seen: our
// own stations hand on at once, unknown outcomes are asked for after some seconds, and
// a rail takes its time.
var coldStay = map[string]time.Duration{factSettle: 4 * time.Second, factChannel: 30 * time.Second}

// count is what a lane's counters said at one look.
type count struct {
	at                  time.Time
	entered, left, open int64
}

// lane is the flow through one place.
type lane struct {
	open, entered, left int64
	value               map[string]float64 // by asset
	history             []count
	lastLeft            time.Time // when something last left, or it was first seen
	departures          int64
	oldest              moment
	stays               [minutesMax]time.Duration // longest stay by minute
	minute              int64
	// trial is the longest stay that is out of the usual, since trialAt.
	trial   time.Duration
	trialAt time.Time
	// excused is until when it could not move for a reason that is known.
	excused time.Time
	// behindFrom is since when one owner's work is left behind here.
	behindFrom time.Time
}

// beat is the heart of one shard, by our own clock.
type beat struct {
	row   beatRow
	rose  time.Time
	looks int
	beats bool      // it was seen to rise
	taken time.Time // when it last changed hands
	first time.Time // when it did for the first time of several that came one after the other
}

// flow makes readings of snapshots.
type flow struct {
	lanes    map[place]*lane
	beats    map[int16]*beat
	readers  map[string]*reader
	seen     map[int64]item // sampled lately, by payment
	seenAt   []seenAt
	last     time.Time
	gap      bool
	shift    time.Duration // own clock less the database's
	affected map[int64]hit // lately, by payment
	trouble  time.Time     // when somebody last was, beyond doubt
	silent   time.Duration // for how long nobody has led
	paused   map[place]bool
	excused  time.Time // until when nothing could move for want of a leader
	anew     time.Time // when the proofs of absence last began anew, with a new leader
	proves   map[string]time.Duration
	settling map[string]bool // hops that were let go a moment ago
	stuckAt  []place         // lanes whose oldest is beyond what is usual
	behindAt []place         // lanes at which one owner's work is left behind
}

type reader struct {
	place int64
	rose  time.Time
}

func newFlow() *flow {
	return &flow{lanes: map[place]*lane{}, beats: map[int16]*beat{}, readers: map[string]*reader{}, seen: map[int64]item{}, affected: map[int64]hit{}}
}

// missed notes that a look failed: what was not looked at cannot have stood still.
func (f *flow) missed() { f.gap = true }

// look builds what one snapshot says.
type look struct {
	doctor.Look
	now time.Time
}

const source = "facts."

func (l *look) add(hop string, s doctor.Signal, statistic string, v float64, view string, detail map[string]string) {
	l.Points = append(l.Points, doctor.Point{
		Hop: hop, Signal: s, Statistic: statistic, Value: v, At: l.now, Source: source + view, Detail: detail,
	})
}

// take makes the readings of a snapshot that was taken now, by our own clock.
func (f *flow) take(in *facts, now time.Time) doctor.Look {
	l := &look{Look: doctor.Look{Notes: in.notes}, now: now}
	f.shift, f.proves = now.Sub(in.at), in.proves
	held := f.pauses(l, in)
	silent := f.beat(l, in, now)
	f.silent, f.paused = silent, make(map[place]bool)
	f.count(in, now, held)
	f.road(l)
	f.places(l, in, now, silent, held)
	f.totals(l, in, now)
	f.callbacks(l, in, now, silent)
	f.rest(l, in, now)
	f.notice(in, now)
	f.left(l)
	l.Cohorts = f.cohorts(in, now)
	f.last, f.gap = now, false
	return l.Look
}

func (f *flow) road(l *look) {
	var channels []string
	for k := range f.lanes {
		if k.channel != "" && !slices.Contains(channels, k.channel) {
			channels = append(channels, k.channel)
		}
	}
	slices.Sort(channels)
	l.Hops, l.Calls = doctor.Road(channels...)
}

// beat notes since when each shard's beat has not risen, by our own clock, and returns
// for how long the worst has been silent.
func (f *flow) beat(l *look, in *facts, now time.Time) (worst time.Duration) {
	for _, r := range in.beats {
		b := f.beats[r.Shard]
		if b == nil {
			b = &beat{row: r, rose: now}
			f.beats[r.Shard] = b
		}
		if r.Epoch != b.row.Epoch && b.beats {
			if now.Sub(b.taken) > excusedAgain {
				f.excused, b.first = now, now
				for _, ln := range f.lanes { // the new leader has as long as anybody
					ln.excused, ln.lastLeft = now, now
				}
			}
			if now.Sub(b.first) <= anewFor {
				f.anew = now
			}
			b.taken = now
		}
		if r.Beat != b.row.Beat || r.Epoch != b.row.Epoch {
			b.rose, b.beats = now, b.beats || b.looks > 0
		}
		b.row = r
		b.looks++
		silent := now.Sub(b.rose)
		worst = max(worst, silent)
		statistic := ""
		if len(in.beats) > 1 {
			statistic = "shard " + digits(int64(r.Shard))
		}
		leader := "none"
		if r.Leader != "" {
			leader = r.Leader[:min(len(r.Leader), 8)]
		}
		beats := "yes"
		if !b.beats {
			beats = "never"
		}
		l.add(doctor.HopDecider, doctor.Silence, statistic, silent.Seconds(), "heartbeats", map[string]string{
			"shard": digits(int64(r.Shard)), "leader": leader, "epoch": digits(r.Epoch), "beat": digits(r.Beat), "beats": beats,
		})
		l.add(doctor.HopDecider, doctor.Takeovers, statistic, float64(r.Epoch), "heartbeats", nil)
	}
	return worst
}

// pauses tells what is held back on purpose, and where.
func (f *flow) pauses(l *look, in *facts) map[string]pauseRow {
	held := make(map[string]pauseRow) // by channel; "*" is everything
	for _, p := range in.pauses {
		switch p.Lever {
		case "pause-dispatch", "breaker", "read-only", "safe-mode":
			aim := "*"
			if _, name, ok := strings.Cut(p.Aim, "channel:"); ok {
				aim = name
			}
			held[aim] = p
		case "pause-intake":
			l.add(doctor.HopAPI, doctor.Paused, p.Aim, 1, "levers", p.detail())
		}
	}
	for aim, p := range held {
		statistic := aim
		if aim == "*" {
			statistic = ""
		}
		l.add(doctor.HopDispatch, doctor.Paused, statistic, 1, "levers", p.detail())
	}
	return held
}

func (p *pauseRow) detail() map[string]string {
	return map[string]string{"by": p.Lever, "aim": p.Aim, "lever": p.ID, "owner": p.Owner, "until": p.Until, "reason": p.Reason[:min(len(p.Reason), 200)]}
}

// count brings the lanes up to the counters of the hops.
func (f *flow) count(in *facts, now time.Time, held map[string]pauseRow) {
	type sum struct {
		hopRow
		value map[string]float64
	}
	sums := make(map[place]*sum)
	for _, h := range in.hops {
		s := sums[h.place]
		if s == nil {
			s = &sum{value: map[string]float64{}}
			sums[h.place] = s
		}
		s.Open, s.Entered, s.Left = s.Open+h.Open, s.Entered+h.Entered, s.Left+h.Left
		s.value[h.Asset] += h.Value
	}
	for k, s := range sums {
		ln := f.lanes[k]
		if ln == nil {
			ln = &lane{entered: s.Entered, left: s.Left, lastLeft: now}
			f.lanes[k] = ln
		}
		if gone := s.Left - ln.left; gone > 0 {
			ln.lastLeft = now
			ln.departures += gone
		} else if gone < 0 { // another ledger than before
			*ln = lane{entered: s.Entered, left: s.Left, lastLeft: now}
		}
		if f.gap { // nobody looked
			ln.lastLeft = now
		}
		_, all := held["*"]
		_, one := held[k.channel]
		if k.hop == factDispatch && (all || one) {
			ln.excused, ln.lastLeft = now, now
			f.paused[k] = true
		}
		ln.open, ln.entered, ln.left, ln.value = s.Open, s.Entered, s.Left, s.value
		ln.history = append(ln.history, count{now, s.Entered, s.Left, s.Open})
		if len(ln.history) > historyMax {
			ln.history = ln.history[1:]
		}
	}
}

// free is until when a lane's work could not move, for a reason that is known. Who does not
// know what became of an order asks, and a not-found proves absence only after a time;
// a new leader's clock for that begins at its takeover, whatever the one before knew.
func (f *flow) free(k place, ln *lane) time.Time {
	proves, known := f.proves[k.channel]
	if k.hop != factSettle || !known || f.anew.IsZero() {
		return ln.excused
	}
	if proven := f.anew.Add(proves); proven.After(ln.excused) {
		return proven
	}
	return ln.excused
}

// rate is arrivals and departures a second over the last d, or over what is known.
func (ln *lane) rate(d time.Duration) (came, went float64) {
	n := len(ln.history)
	if n < 2 {
		return 0, 0
	}
	newest := ln.history[n-1]
	i, _ := slices.BinarySearchFunc(ln.history, newest.at.Add(-d), func(c count, t time.Time) int { return c.at.Compare(t) })
	i = min(i, n-2)
	from := ln.history[i]
	s := newest.at.Sub(from.at).Seconds()
	if s <= 0 {
		return 0, 0
	}
	return float64(newest.entered-from.entered) / s, float64(newest.left-from.left) / s
}

// pace is how many leave a second when all is well, as far as is known: as many as
// came or left, over the window in which it was most.
func (ln *lane) pace() float64 {
	most := 0.0
	for _, d := range []time.Duration{10 * time.Second, time.Minute, 15 * time.Minute} {
		came, went := ln.rate(d)
		most = max(most, came, went)
	}
	return most
}

// residence is the longest stay that was seen to end lately, or what is allowed while
// too few were.
func (ln *lane) residence(hop string) time.Duration {
	longest := time.Duration(0)
	for _, s := range ln.stays {
		longest = max(longest, s)
	}
	if ln.departures < knownFrom {
		longest = max(longest, coldStay[hop])
	}
	return longest
}

// learn notes how long who was the oldest has stayed, when he left.
func (ln *lane) learn(oldest moment, hop string, now, free time.Time, shift time.Duration) {
	minute := now.Unix() / 60
	for ln.minute < minute {
		if minute-ln.minute > minutesMax {
			ln.minute = minute - minutesMax
		}
		ln.minute++
		ln.stays[ln.minute%minutesMax] = 0
	}
	was := ln.oldest
	ln.oldest = oldest
	if was.none() || was.at.Equal(oldest.at) {
		return
	}
	stay := now.Add(-shift).Sub(was.at)
	if !free.IsZero() {
		stay = min(stay, now.Sub(free))
	}
	residence := ln.residence(hop)
	if ln.trial > 0 && now.Sub(ln.trialAt) >= trialFor {
		ln.stays[minute%minutesMax] = max(ln.stays[minute%minutesMax], ln.trial)
		ln.trial = 0
	}
	if stay > oddTimes*max(residence, stayLeast/10) && ln.departures >= knownFrom {
		if ln.trial == 0 {
			ln.trialAt = now
		}
		ln.trial = max(ln.trial, min(stay, max(stayLeast, oddTimes*residence)))
		return
	}
	at := &ln.stays[minute%minutesMax]
	*at = max(*at, stay, 0)
}

// places tells of each place what waits there and for how long.
func (f *flow) places(l *look, in *facts, now time.Time, silent time.Duration, held map[string]pauseRow) {
	f.stuckAt, f.settling = f.stuckAt[:0], make(map[string]bool)
	for _, k := range slices.SortedFunc(maps.Keys(f.lanes), func(a, b place) int {
		return cmp.Or(cmp.Compare(a.hop, b.hop), cmp.Compare(a.channel, b.channel))
	}) {
		ln := f.lanes[k]
		hop, statistic, ok := k.named()
		if !ok {
			continue
		}
		a := in.lanes[k]
		free := f.free(k, ln)
		ln.learn(a.Oldest, k.hop, now, free, f.shift)
		residence := ln.residence(k.hop)
		age, stuck := f.age(free, &a, now, silent)
		if ln.drains(stuck, now) {
			stuck = 0
		}
		_, all := held["*"]
		_, one := held[k.channel]
		if paused := k.hop == factDispatch && (all || one); paused {
			stuck = 0
		}
		standstill := time.Duration(0)
		if a.Items > 0 {
			standstill = max(min(now.Sub(ln.lastLeft), stuck-residence), 0)
		}
		detail := map[string]string{"channel": k.channel}
		if a.Oldest.payment != 0 {
			detail["payment"] = digits(a.Oldest.payment)
		}
		came, went := ln.rate(now.Sub(f.last))
		var settling map[string]string
		if silent > beatGrace || now.Sub(free) < settles {
			settling = map[string]string{"settling": "yes"}
			f.settling[hop] = true
		}
		l.add(hop, doctor.Waiting, statistic, float64(a.Items), "open_items", settling)
		l.add(hop, doctor.OldestAge, statistic, age.Seconds(), "open_items", detail)
		l.add(hop, doctor.Arrivals, statistic, max(came, 0), "hops", nil)
		l.add(hop, doctor.Departures, statistic, max(went, 0), "hops", nil)
		l.add(hop, doctor.Residence, statistic, residence.Seconds(), "open_items", nil)
		l.add(hop, doctor.Stuck, statistic, stuck.Seconds(), "open_items", detail)
		l.add(hop, doctor.Standstill, statistic, standstill.Seconds(), "hops", nil)
		l.add(hop, doctor.StandstillGaps, statistic, standstill.Seconds()*ln.pace(), "hops", nil)
		if stuck > max(stayLeast, 2*residence) {
			f.stuckAt = append(f.stuckAt, k)
		}
	}
}

// age is how old the oldest is, and for how long of that it could have moved.
func (f *flow) age(free time.Time, a *ages, now time.Time, silent time.Duration) (age, stuck time.Duration) {
	if a.Items == 0 || a.Oldest.none() {
		return 0, 0
	}
	age = max(now.Add(-f.shift).Sub(a.Oldest.at), 0)
	return age, excuse(age, free, now, silent)
}

// excuse is how much of an age could have been less: not what was before it was let go,
// nor while nobody leads, which is an alarm of its own.
func excuse(age time.Duration, excused, now time.Time, silent time.Duration) time.Duration {
	if !excused.IsZero() {
		age = min(age, now.Sub(excused))
	}
	if silent > beatGrace {
		age -= silent
	}
	return max(age, 0)
}

// drains says that since the oldest came, or was let go, more has left than usually does
// in that time, and still does: what waits is what came at once. While more comes than
// leaves, a queue may be so for drainMost.
func (ln *lane) drains(age time.Duration, now time.Time) bool {
	n := len(ln.history)
	if age <= 0 || n < 2 {
		return false
	}
	if in, out := ln.rate(10 * time.Second); age > drainMost && in >= out {
		return false
	}
	i, _ := slices.BinarySearchFunc(ln.history, now.Add(-age), func(c count, t time.Time) int { return c.at.Compare(t) })
	if i = max(i-1, 0); i > n-2 {
		return false
	}
	first, came, newest := ln.history[0], ln.history[i], ln.history[n-1]
	went := float64(newest.left-came.left) / newest.at.Sub(came.at).Seconds()
	usual := 0.0
	if i > 0 {
		usual = float64(came.left-first.left) / came.at.Sub(first.at).Seconds()
	}
	// It is its length that explains the age, and not one that is left behind.
	length := 0.0
	for _, c := range ln.history[i:min(i+3, n)] {
		length = max(length, float64(c.open))
	}
	return now.Sub(ln.lastLeft) <= stillDrains && went > 0 && went >= fasterTimes*usual && length >= went*age.Seconds()/2
}

// named is where a reading of the place belongs: a channel is a hop of its own, what
// goes by several is told apart by the statistic.
func (k place) named() (hop, statistic string, ok bool) {
	switch k.hop {
	case factIntake:
		return doctor.HopDecider, k.channel, true
	case factDispatch:
		return doctor.HopDispatch, k.channel, true
	case factSettle:
		return doctor.HopSettle, k.channel, true
	case factChannel:
		return k.channel, "", k.channel != ""
	}
	return "", "", false
}

// totals sums the lanes of a hop that has several, and what is past its time.
func (f *flow) totals(l *look, in *facts, now time.Time) {
	type total struct {
		came, went, waiting, overdue, orphans float64
		oldest, due, next                     moment
		counted, open, entered, left          int64
		lanes                                 int
		plain                                 bool // a lane has no name of its own
	}
	sums := make(map[string]*total)
	for k, ln := range f.lanes {
		hop, statistic, ok := k.named()
		if !ok {
			continue
		}
		t := sums[hop]
		if t == nil {
			t = new(total)
			sums[hop] = t
		}
		a := in.lanes[k]
		came, went := ln.rate(now.Sub(f.last))
		t.came, t.went, t.waiting = t.came+came, t.went+went, t.waiting+float64(a.Items)
		t.overdue, t.orphans = t.overdue+float64(a.Overdue), t.orphans+float64(a.Orphans)
		t.oldest, t.due, t.next = earlier(t.oldest, a.Oldest), earlier(t.due, a.Due), earlier(t.next, a.Next)
		t.counted, t.open = t.counted+a.Items+a.Held, t.open+ln.open
		t.entered, t.left = t.entered+ln.entered, t.left+ln.left
		t.lanes++
		t.plain = t.plain || statistic == ""
	}
	past := func(m moment) float64 {
		if m.none() {
			return 0
		}
		return max(in.at.Sub(m.at).Seconds(), 0)
	}
	late, lateDetail := 0.0, map[string]string(nil)
	for _, hop := range slices.Sorted(maps.Keys(sums)) {
		t := sums[hop]
		if !t.plain {
			var settling map[string]string
			if f.settling[hop] {
				settling = map[string]string{"settling": "yes"}
			}
			l.add(hop, doctor.Waiting, "", t.waiting, "open_items", settling)
			l.add(hop, doctor.OldestAge, "", past(t.oldest), "open_items", nil)
			l.add(hop, doctor.Arrivals, "", max(t.came, 0), "hops", nil)
			l.add(hop, doctor.Departures, "", max(t.went, 0), "hops", nil)
		}
		l.add(hop, doctor.Overdue, "", t.overdue, "open_items", nil)
		l.add(hop, doctor.OverdueAge, "", past(t.due), "open_items", nil)
		l.add(hop, doctor.Orphans, "", t.orphans, "timers", nil)
		off := t.entered - t.left - t.open
		if in.pages == 1 { // all was counted in this very snapshot
			off = max(off, -off, t.counted-t.open, t.open-t.counted)
		}
		l.add(hop, doctor.Imbalance, "", float64(max(off, -off)), "hops", nil)
		if p := past(t.next); p > late {
			late, lateDetail = p, map[string]string{"hop": hop}
		}
	}
	l.add(doctor.HopTimer, doctor.TimerLate, "", late, "open_items", lateDetail)
}

func (f *flow) callbacks(l *look, in *facts, now time.Time, silent time.Duration) {
	waiting, oldest := 0.0, 0.0
	var detail map[string]string
	for _, c := range in.callbacks {
		if c.Waiting <= 0 {
			continue
		}
		age := max(in.at.Sub(c.Oldest).Seconds(), 0)
		waiting += float64(c.Waiting)
		if age >= oldest {
			oldest, detail = age, map[string]string{"channel": c.Channel}
		}
	}
	l.add(doctor.HopCallbacks, doctor.CallbackBacklog, "", waiting, "callback_backlog", nil)
	l.add(doctor.HopCallbacks, doctor.CallbackAge, "", oldest, "callback_backlog", detail)
	stuck := excuse(time.Duration(oldest*float64(time.Second)), f.excused, now, silent)
	l.add(doctor.HopCallbacks, doctor.Stuck, "", stuck.Seconds(), "callback_backlog", detail)
}

// rest tells of unknown outcomes, of what does not balance, and of the readers of the
// event log.
func (f *flow) rest(l *look, in *facts, now time.Time) {
	items, value := int64(0), map[string]float64{}
	var settling map[string]string
	for k, ln := range f.lanes {
		if k.hop != factSettle {
			continue
		}
		if f.free(k, ln).After(now) { // a new leader asks what became of all that was on the wire
			settling = map[string]string{"settling": "yes"}
		}
		items += ln.open
		for asset, v := range ln.value {
			value[asset] += v
		}
	}
	l.add(doctor.HopSettle, doctor.UnknownItems, "", float64(items), "hops", settling)
	for asset, v := range value {
		l.add(doctor.HopSettle, doctor.UnknownValue, asset, max(v, 0), "hops", nil)
	}
	l.add(doctor.HopDecider, doctor.Quarantined, "", float64(in.quarantined), "quarantine", nil)
	l.add(doctor.HopDecider, doctor.MoneyOff, "invariant", float64(in.broken), "breaks", nil)
	l.add(doctor.HopRecon, doctor.MoneyOff, "breaks", float64(in.misplaced), "breaks", nil)
	for _, r := range in.readers {
		hop := doctor.HopRecon
		if r.Name == "webhooks" {
			hop = doctor.HopWebhooks
			if in.endpoints == 0 { // nobody is to be told: it need not read
				r.Behind = 0
			}
		}
		was := f.readers[r.Name]
		if was == nil {
			was = &reader{r.Place, now}
			f.readers[r.Name] = was
		}
		if r.Place != was.place || r.Behind == 0 || f.gap {
			was.place, was.rose = r.Place, now
		}
		l.add(hop, doctor.Waiting, "", float64(r.Behind), "projections", nil)
		l.add(hop, doctor.LoopSilence, r.Name, now.Sub(was.rose).Seconds(), "projections", nil)
	}
	age := 0.0
	if !in.webhooks.IsZero() {
		age = max(in.at.Sub(in.webhooks).Seconds(), 0)
	}
	l.add(doctor.HopWebhooks, doctor.OldestAge, "", age, "webhooks", nil)
}
