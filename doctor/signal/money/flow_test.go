package money

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/diagnose"
	"github.com/moneta-pay/moneta/doctor/signal"
)

// tale is a wallet in memory on a clock of its own: payments come to dispatch and leave
// it, a second at a time.
type tale struct {
	t      *testing.T
	flow   *flow
	memory *signal.Memory
	now    time.Time
	in     facts
	queue  []time.Time // when each that waits came
	alarms []doctor.Alarm
	paged  []string
}

var lanePlace = place{factDispatch, "bank-ab"}

func newTale(t *testing.T) *tale {
	t.Helper()
	return &tale{
		t: t, flow: newFlow(), memory: signal.NewMemory(doctor.Road()), now: time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC),
		in: facts{hops: []hopRow{{place: lanePlace, Asset: "CZK"}}, beats: []beatRow{{Leader: "l", Epoch: 1, Beat: 1}}},
	}
}

// second lets one pass in which some come and, if they can, some leave.
func (s *tale) second(come, leave int) {
	s.t.Helper()
	s.now = s.now.Add(time.Second)
	h := &s.in.hops[0]
	for range come {
		s.queue = append(s.queue, s.now.Add(-500*time.Millisecond))
	}
	leave = min(leave, len(s.queue))
	s.queue = s.queue[leave:]
	h.Entered, h.Left, h.Open = h.Entered+int64(come), h.Left+int64(leave), int64(len(s.queue))
	oldest := moment{}
	if len(s.queue) > 0 {
		oldest.at = s.queue[0]
	}
	s.show(oldest)
}

// show lets the watch look.
func (s *tale) show(oldest moment) {
	s.t.Helper()
	a := ages{Items: s.in.hops[0].Open, Oldest: oldest}
	s.in.at, s.in.pages, s.in.lanes = s.now, 1, map[place]ages{s.in.hops[0].place: a}
	l := s.flow.take(&s.in, s.now)
	s.memory.Take("money", time.Second, &l)
	e := s.memory.Evidence(s.now, s.now.Add(-10*time.Second), doctor.Symptom{Hop: doctor.HopAPI, Signal: doctor.Latency})
	require.NoError(s.t, e.Validate())
	s.alarms = diagnose.Detect(e)
	for _, a := range s.alarms {
		if a.Page {
			s.paged = append(s.paged, fmt.Sprintf("%s %v", a.Says, s.now.Format("04:05")))
		}
	}
}

// seconds lets n pass while the leader is well.
func (s *tale) seconds(n, come, leave int) {
	s.t.Helper()
	for range n {
		s.in.beats[0].Beat++
		s.second(come, leave)
	}
}

func (s *tale) untilPaged(most, come, leave int) int {
	s.t.Helper()
	for i := range most {
		s.seconds(1, come, leave)
		if len(s.paged) > 0 {
			return i + 1
		}
	}
	require.Fail(s.t, "nobody was woken", "within %d s", most)
	return 0
}

// Work flows, then nothing leaves any more: it pages within ten seconds, at every
// load, after a minute of history or none. When it heals, it is quiet again.
func TestAFullStallPagesSoonAndHeals(t *testing.T) {
	t.Parallel()
	for _, load := range []int{1, 5, 50, 1000} {
		for _, history := range []int{0, 10, 60, 900} {
			s := newTale(t)
			s.seconds(history, load, 2*load)
			require.Empty(t, s.paged, "%d a second: %v", load, s.paged)
			require.LessOrEqual(t, s.untilPaged(20, load, 0), 9, "%d a second after %d s", load, history)
			s.paged = nil
			s.seconds(30, load, 10*load)
			s.paged = nil
			s.seconds(30, load, 2*load)
			require.Empty(t, s.paged)
			require.LessOrEqual(t, s.untilPaged(40, load, 0), 20, "and the next one is seen too")
		}
	}
}

// One that is left behind in a lane that just has more to do than before.
func TestOneLeftBehindInAQuickLane(t *testing.T) {
	t.Parallel()
	s := newTale(t)
	s.seconds(30, 5, 10)
	s.seconds(1, 1, 0)
	behind := s.queue[0]
	for range 8 { // the others overtake it
		s.in.beats[0].Beat++
		h := &s.in.hops[0]
		s.now = s.now.Add(time.Second)
		h.Entered, h.Left, h.Open = h.Entered+20, h.Left+20, 1
		s.queue = []time.Time{behind}
		s.show(moment{at: behind})
	}
	require.NotEmpty(t, s.paged)
}

// One payment an hour: the age tells, not the rate.
func TestOnePaymentThatNeverLeaves(t *testing.T) {
	t.Parallel()
	s := newTale(t)
	s.seconds(60, 0, 0)
	s.seconds(1, 1, 0)
	require.LessOrEqual(t, s.untilPaged(20, 0, 0), 9)
}

// Some leave, and fewer than come: a minute at most.
func TestAGradualStall(t *testing.T) {
	t.Parallel()
	for _, leave := range []int{1, 5, 8} {
		s := newTale(t)
		s.seconds(120, 10, 20)
		require.LessOrEqual(t, s.untilPaged(90, 10, leave), 60, "%d of 10 leave", leave)
	}
}

// A trouble that grows, of which some still gets out, does not move its own bound.
func TestATroubleThatGrowsDoesNotBecomeUsual(t *testing.T) {
	t.Parallel()
	s := newTale(t)
	s.seconds(20, 5, 10)
	require.LessOrEqual(t, s.untilPaged(20, 5, 1), 10)
	s.paged = nil
	s.seconds(30, 5, 1)
	require.Len(t, s.paged, 30, "and it goes on")
}

// What nobody is to be woken for.
func TestNoFalsePages(t *testing.T) {
	t.Parallel()
	for name, tell := range map[string]func(*tale){
		"low traffic": func(s *tale) {
			for range 60 {
				s.seconds(1, 1, 0)
				s.seconds(1, 0, 1)
				s.seconds(30, 0, 0)
			}
		},
		"a sixfold burst": func(s *tale) { s.seconds(120, 50, 60); s.seconds(60, 300, 305); s.seconds(120, 50, 60) },
		"a burst beyond what it can do for a while": func(s *tale) {
			s.seconds(120, 50, 200)
			s.seconds(60, 300, 200)
			s.seconds(60, 50, 200)
		},
		"a batch at once":            func(s *tale) { s.seconds(120, 5, 10); s.seconds(1, 5000, 200); s.seconds(60, 5, 200) },
		"a batch on an empty wallet": func(s *tale) { s.seconds(120, 0, 10); s.seconds(1, 5000, 200); s.seconds(60, 0, 200) },
		"a deploy": func(s *tale) {
			s.seconds(60, 50, 60)
			for range 5 {
				s.second(50, 0)
			}
			s.in.beats[0].Epoch++
			s.seconds(60, 50, 100)
		},
		"a slow deploy": func(s *tale) {
			s.seconds(60, 50, 60)
			s.in.beats[0].Leader = ""
			s.in.callbacks = []callbackRow{{Channel: "bank-ab", Waiting: 5, Oldest: s.now}}
			for range 15 {
				s.second(50, 0)
			}
			s.in.beats[0].Leader, s.in.beats[0].Epoch = "m", 2
			s.seconds(2, 50, 0)
			s.in.callbacks = nil
			s.seconds(60, 50, 100)
		},
		"held back on purpose": func(s *tale) {
			s.seconds(60, 50, 60)
			s.in.pauses = []pauseRow{{Lever: "pause-dispatch", Aim: "channel:bank-ab", ID: "1", Reason: "r", Owner: "ann"}}
			s.seconds(300, 50, 0)
			s.in.pauses = nil
			s.seconds(2, 50, 0)
			s.seconds(300, 50, 200)
		},
		"held back for long, and many wait": func(s *tale) {
			s.seconds(60, 50, 60)
			s.in.pauses = []pauseRow{{Lever: "safe-mode", Aim: "everything", ID: "1", Reason: "r"}}
			s.seconds(800, 50, 0)
			s.in.pauses = nil
			s.seconds(600, 50, 150)
		},
		"an event log that nobody is to be told of": func(s *tale) {
			s.in.readers = []readerRow{{Name: "webhooks", Behind: 5000, Place: 1}}
			s.seconds(120, 5, 10)
		},
		"traffic that ends and begins again": func(s *tale) {
			for range 5 {
				s.seconds(60, 100, 120)
				s.seconds(120, 0, 120)
			}
		},
		"the watch stood still": func(s *tale) {
			s.seconds(60, 50, 60)
			s.flow.missed()
			s.now = s.now.Add(30 * time.Second)
			s.queue = nil
			s.in.hops[0].Entered = s.in.hops[0].Left
			s.seconds(60, 50, 60)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newTale(t)
			tell(s)
			require.Empty(t, s.paged[:min(len(s.paged), 3)])
		})
	}
}

// newAsking is a wallet of whose orders some are not answered: what became of them is
// asked, and a not-found proves absence after 13 s.
func newAsking(t *testing.T) *tale {
	t.Helper()
	s := newTale(t)
	s.in.hops[0].place = place{factSettle, "bank-ab"}
	s.in.proves = map[string]time.Duration{"bank-ab": 13 * time.Second}
	s.seconds(60, 2, 2)
	return s
}

// taken lets a leader die, and another take over.
// and doubt what was on the wire.
func (s *tale) taken(doubts int) {
	s.t.Helper()
	for range 4 {
		s.second(0, 0)
	}
	s.in.beats[0].Epoch++
	s.seconds(1, doubts, 0)
}

// A leader that took over asks anew what became of the orders on the wire, and must not
// believe a not-found before its time. Nobody is woken for that wait, and it is not
// learned as usual; whoever stays longer is stuck, and so is whoever stays without a
// takeover.
func TestAbsenceIsProvenAnewAfterATakeover(t *testing.T) {
	t.Parallel()
	s := newAsking(t)
	s.taken(30)
	s.seconds(13, 0, 0)
	s.seconds(1, 0, 100)
	s.seconds(30, 2, 2)
	require.Empty(t, s.paged)
	require.LessOrEqual(t, s.untilPaged(20, 2, 0), 9, "the next one is seen as soon as ever")

	truly := newAsking(t)
	truly.taken(30)
	took := truly.untilPaged(40, 0, 0)
	require.Greater(t, took, 13)
	require.LessOrEqual(t, took, 13+9)

	unasked := newAsking(t)
	unasked.in.proves = nil
	unasked.taken(30)
	require.LessOrEqual(t, unasked.untilPaged(20, 0, 0), 9, "a channel whose not-found proves nothing has nothing to wait for")

	plain := newAsking(t)
	require.LessOrEqual(t, plain.untilPaged(20, 5, 0), 9, "nobody took over")

	late := newTale(t) // its lane is new, as well
	late.in.hops[0].place, late.in.proves = place{factDispatch, "bank-ab"}, s.in.proves
	late.seconds(60, 0, 0)
	late.taken(0)
	late.in.hops[0].place = place{factSettle, "bank-ab"}
	late.seconds(1, 25, 0)
	late.seconds(12, 0, 0)
	late.seconds(1, 0, 25)
	require.Empty(t, late.paged)
}

// Each leader begins anew, and one that dies again and again is no excuse for that.
func TestLeadersThatNeverComeToAProof(t *testing.T) {
	t.Parallel()
	s := newAsking(t)
	for n := 0; len(s.paged) == 0; n++ {
		require.Less(t, n, 12)
		s.taken(1)
		s.seconds(3, 1, 0)
		if n == 3 {
			require.Empty(t, s.paged, "half a minute of it")
		}
	}
}

// One that dies again and again is no excuse for what stands still.
func TestTakeoversThatNeverEnd(t *testing.T) {
	t.Parallel()
	s := newTale(t)
	s.seconds(60, 50, 60)
	for i := range 60 {
		if i%4 == 0 {
			s.in.beats[0].Epoch++
		}
		s.seconds(1, 50, 0)
	}
	require.Contains(t, strings.Join(s.paged, "; "), "nothing has left")
}

// A reader of the event log that stays where it is, with somebody to be told.
func TestAReaderThatStands(t *testing.T) {
	t.Parallel()
	s := newTale(t)
	s.in.endpoints = 1
	for i := range 60 {
		s.in.readers = []readerRow{{Name: "webhooks", Behind: 500, Place: int64(i)}}
		s.seconds(1, 5, 10)
	}
	require.Empty(t, s.paged, "behind, and moving")
	s.untilPaged(60, 5, 10)
}

// The heart of the leader: nobody is woken for a takeover, everybody for an end.
func TestAHeartThatStops(t *testing.T) {
	t.Parallel()
	s := newTale(t)
	s.seconds(10, 0, 0)
	for range 6 {
		s.second(0, 0)
	}
	require.Empty(t, s.paged)
	for range 2 {
		s.second(0, 0)
	}
	require.Contains(t, strings.Join(s.paged, "; "), "its heart has not beaten for 7 s")
}

// crowd is a bank's lane through which the payments of many holders go, most of them in
// no time.
type crowd struct {
	*tale
	id   int64
	only int64 // whose all the work is; 0 is everybody's by turns
	late []item
}

var bankPlace = place{factChannel, "bank-ab"}

func newCrowd(t *testing.T) *crowd {
	t.Helper()
	s := newTale(t)
	s.in.hops[0].place = bankPlace
	return &crowd{tale: s}
}

// second lets a second pass in which some holders' payments come and leave, those of
// which one in so many seconds stays are late.
func (c *crowd) second(holders, stays int, slow ...int64) {
	c.t.Helper()
	c.now = c.now.Add(time.Second)
	c.in.beats[0].Beat++
	h := &c.in.hops[0]
	for n := range holders { // one of them is seen under way
		c.id++
		h.Entered, h.Left = h.Entered+1, h.Left+1
		if n == 0 {
			c.in.sample = []item{{Payment: c.id, Hop: bankPlace.hop, Channel: bankPlace.channel, EnteredAt: c.now, Due: c.now.Add(time.Hour), Account: cmp.Or(c.only, 1+c.id%97)}}
		}
	}
	for _, account := range slow {
		c.id++
		h.Entered++
		c.late = append(c.late, item{Payment: c.id, Hop: bankPlace.hop, Channel: bankPlace.channel, EnteredAt: c.now, Due: c.now.Add(time.Hour), Account: account})
	}
	for len(c.late) > 0 && c.now.Sub(c.late[0].EnteredAt) >= time.Duration(stays)*time.Second {
		h.Left++
		c.late = c.late[1:]
	}
	h.Open = int64(len(c.late))
	oldest := moment{}
	if len(c.late) > 0 {
		oldest.at = c.late[0].EnteredAt
	}
	c.in.late = c.late
	c.in.sample = append(c.in.sample, c.late...)
	a := ages{Items: h.Open, Oldest: oldest}
	c.in.at, c.in.pages, c.in.lanes = c.now, 1, map[place]ages{bankPlace: a}
	l := c.flow.take(&c.in, c.now)
	c.memory.Take("money", time.Second, &l)
	e := c.memory.Evidence(c.now, c.now.Add(-10*time.Second), doctor.Symptom{Hop: doctor.HopAPI, Signal: doctor.Latency})
	require.NoError(c.t, e.Validate())
	for _, x := range diagnose.Detect(e) {
		if x.Page {
			c.paged = append(c.paged, x.Says)
		}
	}
}

// One holder's payments take five seconds each, those of everybody else none: no age
// is beyond its bound, and order is broken all the same.
func TestOneHoldersPaymentsAreLeftBehind(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	for range 40 {
		c.second(6, 5)
	}
	require.Empty(t, c.paged)
	for n := range 30 {
		if n%2 == 0 {
			c.second(6, 5, 7)
		} else {
			c.second(6, 5)
		}
	}
	require.NotEmpty(t, c.paged)
	require.Contains(t, c.paged[0], "payments of account 7 have stayed, one after another")
	// It goes on for minutes: it does not become the usual.
	for range 240 {
		c.second(6, 5)
		c.paged = nil
		c.second(6, 5, 7)
	}
	require.NotEmpty(t, c.paged)
	for range 70 { // and it is over when it is
		c.second(6, 5)
	}
	c.paged = nil
	c.second(6, 5)
	require.Empty(t, c.paged)
}

// What is late is everybody's by turns, one holder's own burst, or that of the one for
// whom nearly all of the work is: none of it is one who is left behind.
func TestWhoIsLateByChanceIsNotLeftBehind(t *testing.T) {
	t.Parallel()
	behind := func(c *crowd) bool { return strings.Contains(strings.Join(c.paged, "; "), "one after another") }
	turns := newCrowd(t)
	for n := range 300 {
		turns.second(6, 4, int64(1+n%97))
	}
	require.False(t, behind(turns), "by turns")
	burst := newCrowd(t)
	for range 40 {
		burst.second(6, 4)
	}
	burst.second(6, 4, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7)
	for range 40 {
		burst.second(6, 4)
	}
	require.False(t, behind(burst), "a burst")
	alone := newCrowd(t)
	alone.only = 7
	for range 100 {
		alone.second(6, 4)
		alone.second(6, 4)
		alone.second(6, 4, 7)
	}
	require.False(t, behind(alone), "nobody else is there to overtake him")
}

// Who was hurt by one trouble is not by the next, a minute later.
func TestTwoTroublesHaveTheirOwn(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	for range 20 {
		c.second(6, 8)
	}
	affected := func() map[string]int {
		out := map[string]int{}
		for _, h := range c.flow.affected {
			out[digits(h.Account)]++
		}
		return out
	}
	for range 12 {
		c.second(6, 8, 7)
	}
	require.NotZero(t, affected()["7"])
	for range 25 {
		c.second(6, 8)
	}
	for range 12 {
		c.second(6, 8, 9)
	}
	require.Zero(t, affected()["7"])
	require.NotZero(t, affected()["9"])
}
