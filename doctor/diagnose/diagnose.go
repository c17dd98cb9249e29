// Package diagnose finds what is at fault: it takes the evidence of a moment and says
// which hop, by which mechanism, with what for and what against, who is affected, how
// sure it is, and what to look at next. It is a pure function: no clock, no network,
// no chance; the same evidence gives the same answer, byte by byte. It refuses to
// collect and to act, to call a hop healthy that it has not heard of, and to blame
// somebody when nothing is wrong.
//
// The method is physics first, then odds. Physics: a request is in a hop for as long
// as the hop itself and what it calls take, so that rate × (own rise less the
// callees' rise) is the work that the hop itself added (Little's law); what the caller
// saw and the callee did not is the wire's; work that comes and does not leave stays
// in the last hop whose successor starves. Odds: each hypothesis (hop, mechanism)
// starts with a prior by the class of the symptom and is moved by one likelihood ratio
// a family of evidence. Where causes of a catalogue can be judged, their signs are that
// evidence, and the mechanisms are theirs.
package diagnose

import (
	"cmp"
	"math"
	"slices"

	"github.com/moneta-pay/moneta/doctor"
)

// answerVersion is the version of the form of an answer.
const answerVersion = 1

// Diagnose judges an evidence by the causes of a catalogue, at the hops where their
// signs were measured, and by the generic mechanisms elsewhere. It fails with a
// *doctor.Invalid only.
func Diagnose(in *doctor.Evidence, causes ...doctor.Cause) (*doctor.Answer, error) {
	if err := in.Validate(); err != nil {
		return nil, err
	}
	e := in.Clone()
	e.Sort()
	p := newPhysics(&e, causes)
	b := p.judge()
	a := &doctor.Answer{
		Version: answerVersion, TakenAt: e.TakenAt, Symptom: e.Symptom, Class: e.Symptom.Class(),
		Scope: scope(p), Notes: e.Notes,
	}
	if p.newcomer() {
		a.Notes = append(slices.Clone(a.Notes), Say("en", "no-before", nil))
	}
	a.Ranked = b.ranked()
	a.Verdict = verdict(a.Ranked)
	a.Evidence = b.lines(a.Ranked)
	a.NextChecks = b.nextChecks()
	a.Confidence = b.confidence(a.Ranked)
	if a.Verdict == doctor.CauseFound {
		a.Also = p.alsoAtFault(a.Ranked[0])
		if p.live {
			a.Scope = p.concerns(a.Scope, &a.Ranked[0])
		}
	}
	return a, nil
}

func verdict(ranked []doctor.Hypothesis) doctor.Verdict {
	if first := ranked[0]; first.Node == "" {
		return doctor.Verdict(first.Mechanism)
	}
	return doctor.CauseFound
}

// belief is the posterior over everything that may be the case.
type belief struct {
	p     *physics
	cells []cell // hop by hop, mechanism by mechanism; the last two are unknown and no fault
}

// cell is one hypothesis.
type cell struct {
	hop       int // -1 for unknown and no fault
	mechanism string
	prior     float64
	log       float64 // of prior and evidence, not normalised
	posterior float64
}

// judge multiplies priors with likelihood ratios and normalises.
func (p *physics) judge() *belief {
	b := &belief{p: p}
	hops, unknown, noFault := p.priors()
	for i := range p.hops {
		for _, m := range p.mechanismsOf(i) {
			c := cell{hop: i, mechanism: m.name, prior: hops[i] * m.share}
			c.log = math.Log(c.prior)
			for _, f := range p.findings(i, m) {
				c.log += f.log
			}
			if p.live && p.hops[i].excluded {
				c.log -= 2 * clip // its signs are still there, and already explained
			}
			b.cells = append(b.cells, c)
		}
	}
	unexplained, calm := p.unexplained(), p.calm()
	if p.live {
		unexplained, calm = p.unexplainedLive(), p.calmLive()
	}
	b.cells = append(b.cells,
		cell{hop: -1, mechanism: string(doctor.Unknown), prior: unknown, log: math.Log(unknown) + unexplained},
		cell{hop: -1, mechanism: string(doctor.NoFault), prior: noFault, log: math.Log(noFault) + calm})
	b.normalise()
	return b
}

func (b *belief) normalise() {
	top := math.Inf(-1)
	for i := range b.cells {
		top = max(top, b.cells[i].log)
	}
	sum := 0.0
	for i := range b.cells {
		b.cells[i].posterior = math.Exp(b.cells[i].log - top)
		sum += b.cells[i].posterior
	}
	for i := range b.cells {
		b.cells[i].posterior /= sum
	}
}

// ranked sums the mechanisms of each hop and orders the hops.
func (b *belief) ranked() []doctor.Hypothesis {
	var out []doctor.Hypothesis
	for i := 0; i < len(b.cells); {
		c := b.cells[i]
		if c.hop < 0 {
			out = append(out, doctor.Hypothesis{Mechanism: c.mechanism, Posterior: c.posterior, Prior: c.prior})
			i++
			continue
		}
		h := doctor.Hypothesis{Node: b.p.hops[c.hop].Name, Kind: b.p.hops[c.hop].Kind, Explains: b.p.hops[c.hop].explains}
		for ; i < len(b.cells) && b.cells[i].hop == c.hop; i++ {
			h.Posterior += b.cells[i].posterior
			h.Prior += b.cells[i].prior
			h.Mechanisms = append(h.Mechanisms, doctor.Mechanism{Mechanism: b.cells[i].mechanism, Posterior: b.cells[i].posterior})
		}
		slices.SortStableFunc(h.Mechanisms, func(x, y doctor.Mechanism) int { return cmp.Compare(y.Posterior, x.Posterior) })
		h.Mechanism = h.Mechanisms[0].Mechanism
		b.p.catalogue(&h, c.hop)
		out = append(out, h)
	}
	slices.SortStableFunc(out, func(x, y doctor.Hypothesis) int {
		return cmp.Or(cmp.Compare(b.weight(&y), b.weight(&x)), cmp.Compare(x.Node, y.Node), cmp.Compare(x.Mechanism, y.Mechanism))
	})
	for i := range out {
		out[i].Posterior, out[i].Prior, out[i].Explains = round(out[i].Posterior), round(out[i].Prior), round(out[i].Explains)
		for j := range out[i].Mechanisms {
			out[i].Mechanisms[j].Posterior = round(out[i].Mechanisms[j].Posterior)
		}
	}
	return out
}

// weight is what hypotheses are ranked by: the hop's posterior; where causes are named,
// that of its leading one, since a hop of which nothing is known has many small ones.
func (b *belief) weight(h *doctor.Hypothesis) float64 {
	if b.p.live && len(h.Mechanisms) > 0 {
		return h.Mechanisms[0].Posterior
	}
	return h.Posterior
}

// Further faults are looked for in what the first ones leave unexplained.
const (
	alsoMax     = 2   // further faults, three in all
	alsoLeast   = .33 // of the whole excess: less is noise beside a real fault
	alsoCertain = .5  // posterior of a further fault, over its own residue
	alsoMarks   = 3.0 // of its own, in natural logarithms: effects of the first prove nothing
)

// alsoAtFault explains the first fault away and judges the residue again.
func (p *physics) alsoAtFault(first doctor.Hypothesis) []doctor.Hypothesis {
	var out []doctor.Hypothesis
	rest := p
	for name, mechanism := first.Node, first.Mechanism; len(out) < alsoMax; name, mechanism = out[len(out)-1].Node, out[len(out)-1].Mechanism {
		rest = rest.without(name, mechanism)
		ranked := rest.judge().ranked()
		next := ranked[0]
		if next.Node == "" || next.Posterior < alsoCertain {
			break
		}
		whole := &p.hops[p.index[next.Node]]
		if next.Cause != "" {
			i := p.index[next.Node]
			if p.marksOf(i, p.mechanism(i, next.Mechanism)) < alsoMarks {
				break
			}
		} else {
			if whole.explains < alsoLeast {
				break
			}
			next.Explains = round(whole.explains)
		}
		out = append(out, next)
	}
	return out
}

// round keeps six digits behind the point: more is noise, and would show how a
// processor rounds.
func round(f float64) float64 { return math.Round(f*1e6) / 1e6 }

func clamp(f, low, high float64) float64 { return min(max(f, low), high) }
