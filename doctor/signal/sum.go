package signal

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

func instant(ns int64) time.Time { return time.Unix(0, ns).UTC() }

// largest is what an evidence accepts.
const largest = 1e15

// sane refuses what an evidence would refuse whole: a number that is none, and a
// negative one where there can be none.
func sane(p *doctor.Point) bool {
	return !math.IsNaN(p.Value) && math.Abs(p.Value) <= largest && (p.Value >= 0 || p.Signal == doctor.Wire) && !p.At.IsZero()
}

func noteStrange(name string, n int) string {
	return fmt.Sprintf("%d readings of %s are of a hop or a signal that is not known, or are no numbers", n, name)
}

const noteFull = "more series were told than are kept; some are left out"

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// Both make the distance the standard deviation of a normal distribution.
const (
	normalSpread = 1.4826
	normalTails  = 3.29 // between the 5th and the 95th percentile
)

// medianSpread is the median, and how far points usually lie from it: by the median
// absolute deviation, which a few wild points do not move, or by the distance of the
// tails if that is larger.
func medianSpread(values []float64) (mid, spread float64) {
	v := slices.Clone(values)
	slices.Sort(v)
	n := len(v)
	mid = median(v)
	tails := (v[n-1-n/20] - v[n/20]) / normalTails
	for i := range v {
		v[i] = math.Abs(v[i] - mid)
	}
	slices.Sort(v)
	return mid, max(normalSpread*median(v), tails)
}

func median(sorted []float64) float64 {
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}
