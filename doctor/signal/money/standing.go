package money

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// flowOver is the window of the rates of a standing: a second alone jumps, a minute hides
// that something stopped.
const flowOver = 10 * time.Second

// held are the places where work waits for people; they are told as they are.
var heldAt = map[string]string{"holder": doctor.HopHolder, "operator": doctor.HopOperator}

// standing is what the lanes hold now. It is made after the readings, from the same
// snapshot: the figures of a map and those of an alarm are the same ones.
func (f *flow) standing(in *facts, now time.Time) *doctor.Standing {
	out := &doctor.Standing{At: now.UTC()}
	for _, k := range slices.SortedFunc(maps.Keys(f.lanes), func(a, b place) int {
		return cmp.Or(cmp.Compare(a.hop, b.hop), cmp.Compare(a.channel, b.channel))
	}) {
		ln, a := f.lanes[k], in.lanes[k]
		hop, lane, ok := k.named()
		if !ok {
			if hop, ok = heldAt[k.hop]; !ok {
				continue
			}
			lane = k.channel
		}
		q := doctor.Lane{Hop: hop, Channel: lane, Waiting: a.Items, Held: a.Held, Overdue: a.Overdue, Value: map[string]string{}, Paused: f.paused[k]}
		for asset, v := range a.Value {
			if v.Sign() != 0 {
				q.Value[asset] = v.String()
			}
		}
		q.In, q.Out = ln.rate(flowOver)
		q.In, q.Out = max(q.In, 0), max(q.Out, 0)
		if !a.Oldest.none() {
			q.Oldest = a.Oldest.at.Add(f.shift).UTC()
		}
		if !a.Due.none() {
			q.Due = a.Due.at.Add(f.shift).UTC()
		}
		q.Usual = ln.residence(k.hop)
		if !q.Paused {
			_, q.Stuck = f.age(f.free(k, ln), &a, now, f.silent)
			if ln.drains(q.Stuck, now) {
				q.Stuck = 0
			}
		}
		out.Lanes = append(out.Lanes, q)
	}
	return out
}
