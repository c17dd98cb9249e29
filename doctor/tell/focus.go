package tell

import (
	"slices"

	"github.com/moneta-pay/moneta/doctor"
)

// Watched is one of the three signals that stay in sight while only exceptions are shown
// (SIG-54): errors, work that waits, and a slow database. It is the worst reading of its
// kind; Known is false when nobody tells any, which is not health.
type Watched struct {
	Key    string        `json:"key"` // errors, waiting, database
	Hop    string        `json:"hop,omitempty"`
	Signal doctor.Signal `json:"signal,omitempty"`
	Unit   string        `json:"unit,omitempty"`
	Value  float64       `json:"value"`
	Known  bool          `json:"known"`
}

// focused are the three, by the signals that they are made of; all of one have one unit.
var focused = []struct {
	key     string
	signals []doctor.Signal
}{
	{"errors", []doctor.Signal{doctor.Errors, doctor.ServerErrors, doctor.Timeouts, doctor.GatewayFails, doctor.Status5xx, doctor.Unreachable}},
	{"waiting", []doctor.Signal{doctor.OldestAge, doctor.Stuck, doctor.CallbackAge}},
	{"database", []doctor.Signal{doctor.PGRootIdle, doctor.PGRootActive, doctor.PGConnect, doctor.PGFlush}},
}

// Focus reads the three from an evidence; without one nothing is known.
func Focus(e *doctor.Evidence) []Watched {
	out := make([]Watched, 0, len(focused))
	for _, f := range focused {
		w := Watched{Key: f.key}
		for i := 0; e != nil && i < len(e.Readings); i++ {
			r := &e.Readings[i]
			p := r.Presence(e.TakenAt)
			if r.Peer != "" || !slices.Contains(f.signals, r.Signal) || p != doctor.Present && p != doctor.New {
				continue
			}
			if !w.Known || r.Last > w.Value {
				in, _ := r.Signal.Info()
				w.Hop, w.Signal, w.Unit, w.Value, w.Known = r.Hop, r.Signal, in.Unit, r.Last, true
			}
		}
		out = append(out, w)
	}
	return out
}
