package money

import (
	"math"
	"slices"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// Figures of work that is left behind.
const (
	// behindLeast is what a holder notices of his own payment.
	behindLeast = 3 * time.Second
	// behindFlows is how many of others have to leave meanwhile: else the lane stands still,
	// which is another alarm.
	behindFlows = 20
	// behindPause is for how long none of his may be late until it is over.
	behindPause = 5 * time.Second
	// behindOdds from which what is late there is not learned as usual, in decimal digits,
	// and behindMost for how long at most.
	behindOdds = 6
	behindMost = 15 * time.Minute
	// digitsMost bounds what odds are told.
	digitsMost = 99
)

// left tells of each place whether it is one owner's work that stays there, and how
// surely. Bursts of one owner are no such thing: what counts is the seconds in which his
// late payments came, not their number.
func (f *flow) left(l *look) {
	f.behindAt = f.behindAt[:0]
	type tally struct {
		came  map[int64]bool // the seconds in which those came that are late
		first time.Time
		last  time.Time
		n     int
	}
	at := make(map[place]map[int64]*tally)
	for _, h := range f.affected {
		k := place{h.Hop, h.Channel}
		ln := f.lanes[k]
		came := h.EnteredAt.Add(f.shift)
		if ln == nil || h.at.Sub(came) < behindLeast || came.Before(ln.excused) {
			continue
		}
		if at[k] == nil {
			at[k] = make(map[int64]*tally)
		}
		t := at[k][h.Account]
		if t == nil {
			t = &tally{came: map[int64]bool{}, first: came}
			at[k][h.Account] = t
		}
		t.came[came.Unix()] = true
		t.first, t.n = minTime(t.first, came), t.n+1
		if h.at.After(t.last) {
			t.last = h.at
		}
	}
	for k, ln := range f.lanes {
		hop, statistic, ok := k.named()
		if !ok {
			continue
		}
		all, owner := 0, int64(0)
		var most *tally
		for account, t := range at[k] {
			all += len(t.came)
			if most == nil || len(t.came) > len(most.came) || len(t.came) == len(most.came) && account < owner {
				owner, most = account, t
			}
		}
		behind, odds, detail := time.Duration(0), 0.0, map[string]string(nil)
		if most != nil && l.now.Sub(most.last) <= behindPause {
			if overtaken := ln.leftSince(most.first) - int64(most.n); overtaken >= behindFlows {
				behind, odds = l.now.Sub(most.first), f.against(k.channel, owner, len(most.came), all)
				detail = map[string]string{"account": digits(owner), "payments": digits(int64(most.n)), "overtaken": digits(overtaken), "channel": k.channel}
			}
		}
		if odds > behindOdds {
			f.behindAt = append(f.behindAt, k)
		}
		ln.leaves(odds > behindOdds, l.now)
		l.add(hop, doctor.LeftBehind, statistic, max(behind, 0).Seconds(), "open_items", detail)
		l.add(hop, doctor.LeftBehindOdds, statistic, odds, "open_items", nil)
	}
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// leftSince is how many have left since then.
func (ln *lane) leftSince(t time.Time) int64 {
	n := len(ln.history)
	if n == 0 {
		return 0
	}
	i, _ := slices.BinarySearchFunc(ln.history, t, func(c count, t time.Time) int { return c.at.Compare(t) })
	return ln.history[n-1].left - ln.history[min(i, n-1)].left
}

// leaves keeps what one owner's work takes from being learned as the usual.
func (ln *lane) leaves(behind bool, now time.Time) {
	switch {
	case !behind:
		ln.behindFrom = time.Time{}
	case ln.behindFrom.IsZero():
		ln.behindFrom = now
		fallthrough
	case now.Sub(ln.behindFrom) < behindMost:
		ln.trialAt = now
	}
}

// against is how many decimal digits the odds have against it being by accident one
// owner's: that many of all that are late, of a share such as his of those that are not.
func (f *flow) against(channel string, owner int64, his, all int) float64 {
	others, own := 0, 0
	for id, i := range f.seen {
		if _, late := f.affected[id]; late || i.Channel != channel {
			continue
		}
		others++
		if i.Account == owner {
			own++
		}
	}
	share := float64(own+1) / float64(others+2) // what was not seen is not impossible
	return min(-logTail(his, all, share)/math.Ln10, digitsMost)
}

// logTail is the natural logarithm of the probability of k or more of n, each with p.
func logTail(k, n int, p float64) float64 {
	sum := 0.0
	for i := k; i <= n; i++ {
		sum += math.Exp(logChoose(n, i) + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
	}
	if sum == 0 { // less than can be written
		return float64(k) * math.Log(p)
	}
	return min(math.Log(sum), 0)
}

func logChoose(n, k int) float64 {
	of := func(m int) float64 {
		l, _ := math.Lgamma(float64(m) + 1)
		return l
	}
	return of(n) - of(k) - of(n-k)
}
