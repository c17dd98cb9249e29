package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/doctor/tell"
	"github.com/moneta-pay/moneta/internal/clock"
)

const (
	focusFile = "focus.json"
	// focusUsually and focusMost are how long only exceptions are shown.
	focusUsually = time.Hour
	focusMost    = 4 * time.Hour
)

// focusOn is the switch that mutes what wakes nobody (SIG-54): who, why, until when.
type focusOn struct {
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
}

// focus keeps it in a file, so that a watch that starts again goes on with it.
type focus struct {
	path  string
	clock clock.Clock

	mu sync.Mutex
	on *focusOn
}

func newFocus(folder string, c clock.Clock) *focus {
	f := &focus{path: filepath.Join(folder, focusFile), clock: c}
	if raw, err := os.ReadFile(f.path); err == nil {
		var on focusOn
		if json.Unmarshal(raw, &on) == nil {
			f.on = &on
		}
	}
	return f
}

// now is the switch while it is on; it ends by itself.
func (f *focus) now() *focusOn {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.on == nil || !f.clock.Now().Before(f.on.Until) {
		return nil
	}
	on := *f.on
	return &on
}

// set turns it on, or with nil off.
func (f *focus) set(on *focusOn) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if on == nil {
		f.on = nil
		if err := os.Remove(f.path); err != nil && !os.IsNotExist(err) {
			return err
		}
		return nil
	}
	raw, err := json.Marshal(on)
	if err != nil {
		return err
	}
	if err := writeFile(f.path, raw, 0o600); err != nil {
		return err
	}
	f.on = on
	return nil
}

// focusRoutes show and turn the switch. Who is signed in reads; turning takes an operator.
func (w *watch) focusRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/look/focus", func(rw http.ResponseWriter, _ *http.Request) { w.lookFocus(rw) })
	mux.HandleFunc("POST /api/look/focus", w.turnFocus)
	mux.HandleFunc("DELETE /api/look/focus", w.turnFocus)
}

// lookFocus tells whether it is on, how much is muted, and the three signals that stay.
func (w *watch) lookFocus(rw http.ResponseWriter) {
	muted := 0
	for _, a := range w.attendance.it.Now().Alarms {
		if !a.Page {
			muted++
		}
	}
	answer(rw, map[string]any{"on": w.focus.now(), "tickets": muted, "signals": tell.Focus(w.attendance.evidence())})
}

func (w *watch) turnFocus(rw http.ResponseWriter, r *http.Request) {
	v, ok := may(rw, r, access.Operate)
	if !ok {
		return
	}
	var on *focusOn
	said := "shows everything again"
	if r.Method == http.MethodPost {
		var in struct {
			Reason string `json:"reason"`
			ForS   int64  `json:"for_s"`
		}
		if !read(rw, r, &in, `send {"reason":"…","for_s":3600}`) {
			return
		}
		hold := time.Duration(min(max(in.ForS, 0), int64(focusMost/time.Second)+1)) * time.Second
		if hold == 0 {
			hold = focusUsually
		}
		if strings.TrimSpace(in.Reason) == "" || len(in.Reason) > 500 || hold > focusMost {
			refuse(rw, http.StatusBadRequest, "malformed-request", "say why in 1 to 500 bytes, and for at most four hours")
			return
		}
		now := w.clock.Now().UTC()
		on = &focusOn{v.Name, in.Reason, now, now.Add(hold)}
		said = fmt.Sprintf("shows exceptions only until %s: %s", on.Until.Format(time.RFC3339), in.Reason)
	}
	// Who and when is written down first: a switch that nobody can be asked about is not turned.
	if _, err := w.attendance.note(r.Context(), "", v.Name, said); err != nil {
		refuse(rw, http.StatusServiceUnavailable, "unavailable", "the journal does not take it: "+err.Error())
		return
	}
	if err := w.focus.set(on); err != nil {
		refuse(rw, http.StatusInternalServerError, "internal", err.Error())
		return
	}
	w.lookFocus(rw)
}
