package pay

import "slices"

// Move is one legal step of a payment's life: the number of its transition, and from
// where to where it leads.
type Move struct {
	Kind     Kind
	T        Transition
	From, To State
}

// Moves lists every step that the table knows, and the notes of contradictions, once
// each: whoever holds rows against the table asks here.
func Moves() []Move {
	var out []Move
	for i := range table {
		r := &table[i]
		for _, from := range r.from {
			to := r.to
			if to == None {
				to = from
			}
			out = append(out, Move{r.kind, r.t, from, to})
			if r.instead != None {
				out = append(out, Move{r.kind, r.t, from, r.instead})
			}
		}
	}
	for k := Send; k < kindEnd; k++ { // see Note
		for s := Created; s < stateEnd; s++ {
			if s.Final() || k.Leaves() {
				out = append(out, Move{k, 17, s, s})
			}
		}
		if k.Leaves() {
			out = append(out, Move{k, 17, Reserved, InReview})
		}
	}
	slices.SortFunc(out, func(a, b Move) int { return a.Code() - b.Code() })
	return slices.Compact(out)
}

// Code is the move as one number that no other move has.
func (m Move) Code() int {
	return ((int(m.Kind)*100+int(m.T))*100+int(m.From))*100 + int(m.To)
}
