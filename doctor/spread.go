package doctor

import (
	"math"
	"slices"
)

// Both make the distance the standard deviation of a normal distribution.
const (
	normalSpread = 1.4826
	normalTails  = 3.29 // between the 5th and the 95th percentile
)

// MedianSpread is the median of at least one value, and how far values usually lie from
// it: by the median absolute deviation, which a few wild ones do not move, or by the
// distance of the tails if that is larger, because a series that often jumps is used to
// it. Both are in the values' unit.
func MedianSpread(values []float64) (mid, spread float64) {
	v := slices.Sorted(slices.Values(values))
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
