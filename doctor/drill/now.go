package drill

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// glance is what a watch without a journal tells.
type glance struct {
	Alarms []doctor.Alarm `json:"alarms"`
	Answer *doctor.Answer `json:"answer"`
}

// glanced turns what /now says into the entries that a journal would have. It is for a
// watch that judges and does not attend: one that answers 404 to /journal.
func (w *Watcher) glanced(ctx context.Context, after uint64) ([]doctor.Entry, error) {
	raw, err := w.get(ctx, "/now")
	if err != nil {
		return w.since(after), nil //nolint:nilerr // what was seen before stands
	}
	var g glance
	if err := json.Unmarshal(raw, &g); err != nil {
		return nil, err
	}
	paged := false
	for i := range g.Alarms {
		if g.Alarms[i].Page && !paged {
			paged = true
			if !w.paged {
				w.note(doctor.EntryOpened, doctor.Opening{Alarm: g.Alarms[i]})
			}
		}
	}
	w.paged = paged
	if g.Answer != nil {
		if raw, _ := json.Marshal(g.Answer); !bytes.Equal(raw, w.last) {
			w.last = raw
			w.note(doctor.EntryAnswer, g.Answer)
		}
	}
	return w.since(after), nil
}

func (w *Watcher) note(what string, data any) {
	raw, _ := json.Marshal(data) // it was JSON before
	w.notes = append(w.notes, doctor.Entry{Seq: uint64(len(w.notes) + 1), At: time.Now(), What: what, Who: "doctor", Data: raw})
}

func (w *Watcher) since(after uint64) []doctor.Entry { return w.notes[min(int(after), len(w.notes)):] } //nolint:gosec // small

var errNoSuch = errors.New("watch: there is no such page")
