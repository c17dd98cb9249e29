package diagnose

import (
	"math"

	"github.com/moneta-pay/moneta/doctor"
)

// The calibration: a logistic of four features, fitted by the harness in
// test/diagnosis on incidents planted in real traffic of a foreign system, one family
// of faults left out at a time. The harness fits it again in every run and fails when
// the figures below have drifted; docs/diagnosis.md has the outcome.
const (
	// CalibratedOn is the number of judged answers behind the calibration.
	CalibratedOn = 251

	calIntercept = -2.31
	calTop       = 1.96
	calMargin    = 3.89
	calFamilies  = -0.02
	calMissing   = -0.68

	calibrationBasis = "recorded incidents, planted faults and quiet hours of a foreign system; none of our own drills yet"
)

// The same for our own plane, fitted on runs of the queueing model in test/diagnosis;
// drills on the real thing are to replace it.
const (
	// LiveCases is the number of judged answers behind it.
	LiveCases = 159

	liveIntercept = 1.07
	liveTop       = 1.68
	liveMargin    = 1.76
	liveFamilies  = 0
	liveMissing   = .2

	liveBasis = "runs of a queueing model of our own plane; drills are to replace it"
)

// Calibration returns the weights in use: intercept, top, margin, families, missing.
func Calibration() [5]float64 {
	return [5]float64{calIntercept, calTop, calMargin, calFamilies, calMissing}
}

// Features are what confidence rests on.
type Features struct {
	Top, Margin, Families, Missing float64
}

// FeaturesOf reads them off an answer, for who fits the calibration.
func FeaturesOf(a *doctor.Answer) Features {
	return Features{Top: a.Confidence.Top, Margin: a.Confidence.Margin, Families: float64(a.Confidence.Families), Missing: a.Confidence.Missing}
}

// Logistic of the features.
func (f Features) Logistic(intercept, top, margin, families, missing float64) float64 {
	return 1 / (1 + math.Exp(-(intercept + top*f.Top + margin*f.Margin + families*f.Families + missing*f.Missing)))
}

func (b *belief) confidence(ranked []doctor.Hypothesis) doctor.Confidence {
	c := doctor.Confidence{Cases: CalibratedOn, Basis: calibrationBasis, Top: ranked[0].Posterior, Margin: ranked[0].Posterior, Missing: round(b.p.missing)}
	if len(ranked) > 1 {
		c.Margin = round(ranked[0].Posterior - ranked[1].Posterior)
	}
	if first := ranked[0]; first.Node != "" {
		i := b.p.index[first.Node]
		for _, f := range b.p.findings(i, b.p.mechanism(i, first.Mechanism)) {
			if f.log > 0 {
				c.Families++
			}
		}
	}
	f := Features{Top: c.Top, Margin: c.Margin, Families: float64(c.Families), Missing: c.Missing}
	c.Probability = round(f.Logistic(calIntercept, calTop, calMargin, calFamilies, calMissing))
	if b.p.live {
		c.Cases, c.Basis = LiveCases, liveBasis
		c.Probability = round(f.Logistic(liveIntercept, liveTop, liveMargin, liveFamilies, liveMissing))
		if b.p.newcomer() {
			c.Probability = min(c.Probability, newcomerMost)
		}
	}
	return c
}

// A newcomer has, of more than half of what it hears now, not heard what is usual: it
// began in the middle of the trouble. The calibration does not speak of such answers, and
// none of them is given with more than newcomerMost.
const (
	newcomerFrom = .5
	newcomerMost = .5
)

func (p *physics) newcomer() bool {
	now, unheard := 0, 0
	for i := range p.e.Readings {
		if r := &p.e.Readings[i]; r.During.N > 0 {
			now++
			if r.Before.N < samplesLeast {
				unheard++
			}
		}
	}
	return p.live && now > 0 && float64(unheard) > newcomerFrom*float64(now)
}
