package diagnose

import (
	"cmp"
	"math"
	"slices"

	"github.com/moneta-pay/moneta/doctor"
)

// How many hypotheses have their evidence written out, and how many lines each way: a
// person reads the first, a machine can replay the rest.
const (
	shownHypotheses = 4
	shownLines      = 16
	// hardly is what moves a cause by less than a tenth: it counts, and is not told.
	hardly = .1
)

// lines writes out the evidence for and against the leading hypotheses.
func (b *belief) lines(ranked []doctor.Hypothesis) doctor.Lines {
	out := doctor.Lines{For: []doctor.Line{}, Against: []doctor.Line{}}
	shown := 0
	for _, h := range ranked {
		if h.Node == "" {
			continue
		}
		if shown++; shown > shownHypotheses {
			break
		}
		i := b.p.index[h.Node]
		m := b.p.mechanism(i, h.Mechanism)
		for _, f := range b.p.findings(i, m) {
			if m.cause != nil && math.Abs(f.log) < hardly {
				continue
			}
			l := b.p.line(h.Node, m, f)
			switch {
			case f.log > 0 && len(out.For) < shownLines:
				out.For = append(out.For, l)
			case f.log < 0 && len(out.Against) < shownLines:
				out.Against = append(out.Against, l)
			}
		}
	}
	order := func(x, y doctor.Line) int {
		return cmp.Or(cmp.Compare(place1(ranked, x.Node), place1(ranked, y.Node)),
			cmp.Compare(math.Abs(math.Log(y.LikelihoodRatio)), math.Abs(math.Log(x.LikelihoodRatio))))
	}
	slices.SortStableFunc(out.For, order)
	slices.SortStableFunc(out.Against, order)
	return out
}

func place1(ranked []doctor.Hypothesis, node string) int {
	return slices.IndexFunc(ranked, func(h doctor.Hypothesis) bool { return h.Node == node })
}

func (p *physics) line(node string, m mechanism, f finding) doctor.Line {
	l := doctor.Line{
		Node: node, Mechanism: m.name, Family: string(f.family), Code: f.says.code, Args: f.says.args, Says: Say("en", f.says.code, f.says.args),
		LikelihoodRatio: round(math.Exp(f.log)),
		Query:           "of the call graph", Window: doctor.Window{From: p.e.Since, Until: p.e.TakenAt},
	}
	if f.family == presence {
		l.Query = "all readings of " + node
	}
	if r := f.reading; r != nil {
		info, _ := r.Signal.Info()
		l.Query = r.Source
		l.Window = doctor.Window{From: r.During.From, Until: r.During.Until}
		l.Value = doctor.Figure{Value: round(r.During.Value), Unit: info.Unit, N: r.During.N}
		l.Baseline = doctor.Figure{Value: round(r.Before.Value), Unit: info.Unit, N: r.Before.N}
	}
	if s := f.sign; s != nil {
		text := s.Unmet
		if s.met {
			text = s.Met
		}
		l.Code = m.cause.ID + "/" + string(s.Signal)
		l.Says, l.SaysZH = s.words(text.EN, node), s.words(text.ZH, node)
		l.Value.Value = round(s.value)
		l.Value.Unit = unitOf(s.Of, l.Value.Unit)
	}
	if f.unit != "" {
		l.Value = doctor.Figure{Value: round(f.value), Unit: f.unit, N: l.Value.N}
		l.Baseline = doctor.Figure{Value: round(f.usual), Unit: f.unit, N: l.Baseline.N}
	}
	return l
}
