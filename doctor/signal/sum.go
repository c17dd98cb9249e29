package signal

import (
	"fmt"
	"math"
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
