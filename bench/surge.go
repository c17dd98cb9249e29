package bench

import (
	"context"
	"time"
)

const (
	// surgeFactor is how many times the peak is offered.
	surgeFactor = 10
	// surgeConnections is what callers hold open between them. An arrival that finds
	// none of them free within surgePatience is turned away by its own pool: nobody
	// queues for ever, and what is offered does not depend on what is answered.
	surgeConnections = 1_000
	surgePatience    = 20 * time.Millisecond
	// surgeUseful is how late an answer may come and still be of use to its caller.
	surgeUseful = 2 * time.Second
	// settledFactor and settledMs say when a second is as before the surge: its p99
	// is at most so many times that of before, or below so many milliseconds.
	settledFactor, settledMs = 2, 50
)

// Surge is what a server does when it is offered ten times what it can do.
type Surge struct {
	// PeakPerS is the most that callers reach who send again when answered, on 64
	// connections or on as many as the surge uses.
	PeakPerS float64 `json:"peak_per_s"`
	// OfferedPerS arrived on a schedule that waits for nobody; TurnedAwayPerS of
	// them found no connection free; the others reached the server.
	OfferedPerS    float64 `json:"offered_per_s"`
	TurnedAwayPerS float64 `json:"turned_away_per_s"`
	// GoodputPerS were accepted in time to be of use, ShedPerS were told to come
	// back, with nothing moved.
	GoodputPerS float64 `json:"goodput_per_s"`
	ShedPerS    float64 `json:"shed_per_s"`
	// Unanswered had an error or an answer that leaves the money's state open.
	Unanswered int64 `json:"unanswered"`
	// Latency of what was accepted, counted from the moment it was due.
	Latency Latency `json:"latency_ms"`
	// CalmP99 is the p99 at half of the peak before the surge, and RecoveryS how
	// many seconds of the same load passed after it until it was as before: the
	// median p99 of five seconds in a row at most twice that (or below 50 ms) and
	// nothing refused, and so in the last five that were looked at. Null when it was
	// not seen to be. After are the p99 of those seconds, in ms.
	CalmP99   float64   `json:"calm_p99_ms"`
	RecoveryS *float64  `json:"recovery_s"`
	After     []float64 `json:"after_p99_ms"`
	// AfterFailed are how many requests of these seconds were not answered well.
	AfterFailed int64 `json:"after_failed"`
}

// surgePhases measures the peak, offers ten times as much, and then half of it.
func (r *run) surgePhases(ctx context.Context) error {
	return r.withPlane(ctx, func(p *plane) error {
		if err := p.surge(ctx); err != nil {
			return err
		}
		return p.check(ctx, "surge", true)
	})
}

func (p *plane) surge(ctx context.Context) error {
	if err := p.settleLog(ctx); err != nil {
		return err
	}
	s := &Surge{}
	for _, connections := range []int{planeConnections, surgeConnections, planeConnections} { // the first warms up
		res, err := p.load(ctx, "surge", loadPlan{Connections: connections, Batch: 1, For: p.profile.calm})
		if err != nil {
			return err
		}
		s.PeakPerS = max(s.PeakPerS, rounded(rate(res.Acked, res.Elapsed)))
	}
	p.say("surge: the peak is %.0f/s", s.PeakPerS)
	half := loadPlan{Connections: planeConnections, Batch: 1, Rate: s.PeakPerS / 2, For: p.profile.calm}
	calm, err := p.load(ctx, "surge", half)
	if err != nil {
		return err
	}
	s.CalmP99 = calm.Latency.P99
	p.say("surge: at half of it p99 is %.1f ms; now %d times the peak for %s", s.CalmP99, surgeFactor, p.profile.surge)
	storm := loadPlan{
		Connections: surgeConnections, Batch: 1, Rate: surgeFactor * s.PeakPerS, For: p.profile.surge,
		Patience: surgePatience, Useful: surgeUseful, Surge: true,
	}
	res, err := p.load(ctx, "surge", storm)
	if err != nil {
		return err
	}
	s.note(res)
	p.say("surge: %.0f/s offered, %.0f/s accepted in time, %.0f/s shed, %.0f/s turned away", s.OfferedPerS, s.GoodputPerS, s.ShedPerS, s.TurnedAwayPerS)
	half.For, half.Surge, half.Windows = p.profile.after, true, true
	after, err := p.load(ctx, "surge", half)
	if err != nil {
		return err
	}
	for _, w := range after.Windows {
		s.After = append(s.After, w.P99)
		s.AfterFailed += w.Failed
	}
	s.RecoveryS = recovery(after.Windows, max(settledFactor*s.CalmP99, settledMs))
	p.report.Surge = s
	if s.RecoveryS == nil {
		p.say("surge: not as before within %s: %d failed, p99 by second %.0f ms", p.profile.after, s.AfterFailed, s.After)
	} else {
		p.say("surge: as before after %.0f s", *s.RecoveryS)
	}
	return nil
}

func (s *Surge) note(res loadResult) {
	s.OfferedPerS = rounded(rate(res.Acked+res.Refused+res.Unanswered+res.TurnedAway, res.Elapsed))
	s.TurnedAwayPerS = rounded(rate(res.TurnedAway, res.Elapsed))
	s.GoodputPerS = rounded(rate(res.Useful, res.Elapsed))
	s.ShedPerS = rounded(rate(res.Refused, res.Elapsed))
	s.Unanswered, s.Latency = res.Unanswered, res.Latency
}

func rate(n int64, took time.Duration) float64 { return over(float64(n), took.Seconds()) }

// window is one second of a load on a schedule, by when its requests were due.
type window struct {
	P99    float64 `json:"p99_ms"`
	Failed int64   `json:"failed"`
}

// settledRun is how many seconds in a row are judged together, so that one busy
// moment of the machine is not taken for a server that does not recover.
const settledRun = 5

// recovery is the first second from which a run of windows is good; nil when there
// is none, or when the last run is not good again: a tail that stays is no recovery.
func recovery(windows []window, p99 float64) *float64 {
	good := func(from int) bool {
		run := windows[from:min(from+settledRun, len(windows))]
		for _, w := range run {
			if w.Failed > 0 {
				return false
			}
		}
		return medianBy(run, func(w window) float64 { return w.P99 }) <= p99
	}
	last := max(0, len(windows)-settledRun)
	if len(windows) == 0 || !good(last) {
		return nil
	}
	for i := range last + 1 {
		if good(i) {
			v := float64(i)
			return &v
		}
	}
	return nil
}

// windowsOf sorts what the senders saw into seconds.
func windowsOf(senders []*sender) []window {
	var times [][]time.Duration
	var failed []int64
	at := func(second int) {
		for len(times) <= second {
			times, failed = append(times, nil), append(failed, 0)
		}
	}
	for _, s := range senders {
		for _, v := range s.seen {
			at(v.second)
			if v.failed {
				failed[v.second]++
				continue
			}
			times[v.second] = append(times[v.second], v.took)
		}
	}
	windows := make([]window, len(times))
	for i := range windows {
		windows[i] = window{P99: latencyOf(times[i]).P99, Failed: failed[i]}
	}
	return windows
}

// sight is one request as its caller saw it.
type sight struct {
	second int
	took   time.Duration
	failed bool
}
