package status

import (
	"math/bits"
	"time"
)

// The buckets of a window: durations in milliseconds, exact below 32, then 16
// buckets to each doubling, so that a bound is wrong by 6 % at most. The last one
// takes everything from 2^40 ms, some 34 years.
const (
	perDoubling = 16
	msMax       = 1 << 40
	bucketCount = (41-5)*perDoubling + 2*perDoubling
	windowMax   = 1024
	// watchedTimes the 95th percentile is how long a window must have been watched.
	watchedTimes = 3
	// part is the unit in which a bucket is cut: 1/1024 of a sample.
	part = 1024
)

// window holds the newest windowMax durations, counted by bucket.
type window struct {
	ring   [windowMax]uint16
	next   int
	n      int
	counts [bucketCount]uint32
	// since is when the first duration came in.
	since time.Time
	// second and taken bound what one second may bring.
	second int64
	taken  int
}

// admits reports whether one more duration of that second belongs in, and counts
// it: everything while there is room, then so much that the window spans minutes.
func (w *window) admits(second int64) bool {
	if second != w.second {
		w.second, w.taken = second, 0
	}
	w.taken++
	return w.n < windowMax || w.taken <= perSecond
}

func (w *window) add(d time.Duration, at time.Time) {
	if w.since.IsZero() {
		w.since = at
	}
	if w.n == windowMax {
		w.counts[w.ring[w.next]]--
	} else {
		w.n++
	}
	b := bucketOf(milliseconds(d))
	w.ring[w.next] = uint16(b)
	w.counts[b]++
	w.next = (w.next + 1) % windowMax
}

// p95 returns the 95th percentile of all durations, and whether the window may be
// trusted at now. One that has been watched for less than three times as long has
// mostly seen the quick ones end.
func (w *window) p95(now time.Time) (time.Duration, bool) {
	d, enough := w.quantile(0, 950)
	return d, enough && now.Sub(w.since) >= watchedTimes*d
}

// quantile returns the duration within which q thousandths of the payments ended
// that took longer than age, and whether there are at least ThinBelow of those.
func (w *window) quantile(age time.Duration, q int64) (time.Duration, bool) {
	from := milliseconds(age)
	first := bucketOf(from)
	low, high := edges(first)
	survivors := int64(w.counts[first]) * part * (high - max(from, low)) / (high - low)
	for b := first + 1; b < bucketCount; b++ {
		survivors += int64(w.counts[b]) * part
	}
	if survivors < ThinBelow*part {
		return 0, false
	}
	left := survivors * (1000 - q) / 1000 // those that take longer still
	for b := bucketCount - 1; b > first; b-- {
		in := int64(w.counts[b]) * part
		if in > 0 && in >= left {
			low, high := edges(b)
			return time.Duration(high-(high-low)*left/in) * time.Millisecond, true
		}
		left -= in
	}
	in := int64(w.counts[first]) * part // not 0, or left would have been found above
	return time.Duration(max(high-(high-low)*left/max(in, 1), from)) * time.Millisecond, true
}

func milliseconds(d time.Duration) int64 {
	return min(max(d.Milliseconds(), 0), msMax)
}

func bucketOf(ms int64) int {
	e := max(bits.Len64(uint64(ms))-5, 0)
	return e*perDoubling + int(ms>>e)
}

// edges are the first millisecond of a bucket and that of the next.
func edges(b int) (low, high int64) {
	if b < 2*perDoubling {
		return int64(b), int64(b) + 1
	}
	e := b/perDoubling - 1
	m := int64(b%perDoubling + perDoubling)
	return m << e, (m + 1) << e
}
