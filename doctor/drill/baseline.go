package drill

import (
	"bytes"
	"slices"

	"github.com/moneta-pay/moneta/doctor"
)

// baselines asks the simple methods about the same evidence: if they come close, the
// drills are too easy.
func (r *record) baselines(raw []byte, guess func(*doctor.Evidence) map[string][]Pair) []Guess {
	if guess == nil || r.drill.Control() {
		return nil
	}
	e, err := doctor.ReadEvidence(bytes.NewReader(raw))
	if err != nil {
		return nil
	}
	var out []Guess
	for name, pairs := range guess(e) {
		g := Guess{Name: name}
		for i, p := range pairs[:min(len(pairs), 3)] {
			h := &doctor.Hypothesis{Node: p.Node, Mechanism: p.Mechanism}
			// A method that names only hops is right with the hop.
			right := r.drill.Truth.right(h, r.values) || p.Mechanism == "" && r.drill.Truth.hop(h, r.values)
			g.Top3 = g.Top3 || right
			g.Top1 = g.Top1 || i == 0 && right
			g.Node = g.Node || i == 0 && r.drill.Truth.hop(h, r.values)
		}
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b Guess) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	return out
}
