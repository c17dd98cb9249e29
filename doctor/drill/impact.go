package drill

import (
	"cmp"
	"slices"
	"time"
)

// What a holder notices: an answer that does not come within a second, a payment that
// is not at its end within three, an error.
const (
	answerLate = time.Second
	endLate    = 3 * time.Second
)

// Impact is what users felt, by their own clocks.
type Impact struct {
	// Before and During count the orders that began then; Hurt are those whose holder
	// noticed, Share the hurt among those the drill is about.
	Before      int     `json:"before"`
	BeforeShare float64 `json:"before_share"`
	During      int     `json:"during"`
	Hurt        int     `json:"hurt"`
	Share       float64 `json:"share"`
	// AnswerP95S and EndP95S are of those that were answered and came to an end.
	AnswerP95S float64 `json:"answer_p95_s"`
	EndP95S    float64 `json:"end_p95_s"`
	// AfterShare is the share of the hurt among those that began two seconds and more
	// after the heal, UnwellS how long after it the last of them began.
	AfterShare float64 `json:"after_share"`
	UnwellS    float64 `json:"unwell_s"`
	// Example is an error that a client got.
	Example string `json:"example,omitempty"`
}

// hurt reports whether the holder noticed, as seen at now.
func (o *Order) hurt(now time.Time) bool {
	late := func(at time.Time, bound time.Duration) bool {
		if at.IsZero() {
			at = now
		}
		return at.Sub(o.Began) > bound
	}
	return o.Err != "" || late(o.Acked, answerLate) || o.Kind != "deposit" && late(o.Ended, endLate) || o.Kind == "deposit" && late(o.Ended, 2*endLate)
}

func share(orders []Order, now time.Time, only func(*Order) bool) (n, hurt int, share float64) {
	for i := range orders {
		o := &orders[i]
		if only != nil && !only(o) {
			continue
		}
		n++
		if o.hurt(now) {
			hurt++
		}
	}
	if n == 0 {
		return 0, 0, 0
	}
	return n, hurt, float64(hurt) / float64(n)
}

// impactOf compares the orders before with those during the fault.
func impactOf(before, during []Order, now time.Time, only func(*Order) bool) Impact {
	var i Impact
	i.Before, _, i.BeforeShare = share(before, now, only)
	i.During, i.Hurt, i.Share = share(during, now, only)
	var answers, ends []float64
	for k := range during {
		o := &during[k]
		if !o.Acked.IsZero() {
			answers = append(answers, o.Acked.Sub(o.Began).Seconds())
		}
		if !o.Ended.IsZero() {
			ends = append(ends, o.Ended.Sub(o.Began).Seconds())
		}
		if i.Example == "" && (only == nil || only(o)) {
			i.Example = o.Err
		}
	}
	i.AnswerP95S, i.EndP95S = quantile(answers, 95), quantile(ends, 95)
	return i
}

// real reports whether users were hurt, by the fault and not before it.
func (i *Impact) real(least float64) bool {
	return i.Hurt >= 3 && i.Share >= max(least, 3*i.BeforeShare)
}

// quantile is the percent-th value, 0 of none.
func quantile[T cmp.Ordered](values []T, percent int) (at T) {
	if len(values) == 0 {
		return at
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)*percent/100]
}
