package app

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/attend"
	"github.com/moneta-pay/moneta/doctor/journal"
	"github.com/moneta-pay/moneta/doctor/runbook"
	"github.com/moneta-pay/moneta/doctor/signal"
)

// Now is what the watch says at once: GET /now.
type Now struct {
	attend.Now
	// Collectors tell how old what is known is.
	Collectors []signal.Status `json:"collectors"`
	// Journal says whether what is done is written down.
	Journal journal.Health `json:"journal"`
	// Waiting are the acts that wait for people.
	Waiting []runbook.StepResult `json:"waiting"`
}

const (
	// linesMost is how many lines of the journal one answer holds.
	linesMost = 1000
	askMax    = 64 << 10 // bytes of a body
)

// doctorRoutes are what commands and screens ask of the watch.
func (w *watch) doctorRoutes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /now", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, w.now()) })
	mux.HandleFunc("GET /evidence", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, w.attendance.evidence()) })
	mux.HandleFunc("GET /causes", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, w.attendance.causes) })
	mux.HandleFunc("GET /incidents", func(rw http.ResponseWriter, _ *http.Request) {
		all := w.attendance.journal.Incidents()
		if all == nil {
			all = []doctor.Incident{}
		}
		answer(rw, all)
	})
	mux.HandleFunc("GET /incidents/{id}", w.oneIncident)
	mux.HandleFunc("POST /incidents/{id}/notes", func(rw http.ResponseWriter, r *http.Request) { takeNote(rw, r, w.attendance.journal) })
	mux.HandleFunc("POST /incidents/{id}/follow-ups", w.takeFollowUp)
	mux.HandleFunc("GET /journal", w.lines)
	mux.HandleFunc("GET /runs", w.runs)
	mux.HandleFunc("POST /approvals", w.approve)
	return mux
}

// routes are for three: commands on this machine, which have the token, browsers, which
// have a session, and who only asks whether anybody is here.
func (w *watch) routes(file *watching) http.Handler {
	doctors := w.doctorRoutes()
	browsers := w.browsers(doctors)
	commands := http.NewServeMux()
	commands.Handle("/", doctors)
	known := func(r *http.Request) bool {
		_, own := commands.Handler(r)
		_, below := doctors.Handler(r)
		return own != "/" || below != ""
	}
	commands.HandleFunc("POST /console/links", w.giveLink)
	commands.HandleFunc("GET /traces/{id}", w.giveTrace)
	commands.HandleFunc("GET /slo", func(rw http.ResponseWriter, r *http.Request) { answer(rw, w.slo(langOf(r))) })
	commands.HandleFunc("GET /latency", func(rw http.ResponseWriter, r *http.Request) { answer(rw, w.latency(langOf(r))) })
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		given := r.Header.Get("Authorization")
		switch {
		case r.URL.Path == "/healthz" && r.Method == http.MethodGet:
			answer(rw, map[string]string{"status": "ok"})
		case given != "" && subtle.ConstantTimeCompare([]byte(given), []byte("Bearer "+file.Token)) == 1:
			commands.ServeHTTP(rw, r)
		case given != "" || known(r) && !strings.Contains(r.Header.Get("Accept"), "text/html"):
			http.Error(rw, "the token is in watch.json of the data folder", http.StatusUnauthorized)
		default:
			browsers.ServeHTTP(rw, r)
		}
	})
}

func (w *watch) now() Now {
	n := Now{Now: w.attendance.it.Now(), Collectors: w.runner.Status(), Journal: w.attendance.journal.Health(), Waiting: []runbook.StepResult{}}
	if n.Alarms == nil {
		n.Alarms = []doctor.Alarm{}
	}
	if waiting, err := w.attendance.runner.Waiting(); err == nil && waiting != nil {
		n.Waiting = waiting
	}
	return n
}

func (w *watch) oneIncident(rw http.ResponseWriter, r *http.Request) {
	in, ok := w.attendance.journal.Incident(r.PathValue("id"))
	if !ok {
		http.Error(rw, "no incident has this id; GET /incidents lists them", http.StatusNotFound)
		return
	}
	answer(rw, in)
}

// lines are those of the journal after a number, at most linesMost; ask again from the
// last one for more. With ?from= and ?to=, times of RFC 3339, they are the newest linesMost
// of those between.
func (w *watch) lines(rw http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	var after uint64
	if text := q.Get("after"); text != "" {
		var err error
		if after, err = strconv.ParseUint(text, 10, 64); err != nil {
			http.Error(rw, "after is the number of the last line that you have", http.StatusBadRequest)
			return
		}
	}
	from, wrongFrom := moment(q.Get("from"))
	to, wrongTo := moment(q.Get("to"))
	if wrongFrom != nil || wrongTo != nil {
		http.Error(rw, "from and to are times such as 2026-11-22T10:42:00Z", http.StatusBadRequest)
		return
	}
	var lines []doctor.Entry
	var err error
	if from.IsZero() && to.IsZero() {
		lines, err = w.attendance.journal.Since(after, linesMost)
	} else {
		lines, err = w.attendance.journal.Between(from, to, linesMost)
	}
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	if lines == nil {
		lines = []doctor.Entry{}
	}
	answer(rw, lines)
}

// moment reads a time that may be left out.
func moment(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	return time.Parse(time.RFC3339Nano, text)
}

func (w *watch) runs(rw http.ResponseWriter, _ *http.Request) {
	all, err := w.attendance.runner.Runs()
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(rw, all)
}

// approve takes what a person says of an act that waits.
func (w *watch) approve(rw http.ResponseWriter, r *http.Request) {
	var a runbook.Approval
	d := json.NewDecoder(http.MaxBytesReader(rw, r.Body, askMax))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		http.Error(rw, "an approval has run, act_id, hash, agreed, reason and person: "+err.Error(), http.StatusBadRequest)
		return
	}
	err := w.attendance.runner.Approve(r.Context(), a)
	switch {
	case errors.Is(err, runbook.ErrNotWaiting):
		http.Error(rw, err.Error(), http.StatusNotFound)
	case err != nil:
		http.Error(rw, err.Error(), http.StatusForbidden)
	default:
		w.attendance.agreed()
		answer(rw, a)
	}
}

func answer(rw http.ResponseWriter, v any) {
	rw.Header().Set("Content-Type", "application/json")
	rw.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(rw).Encode(v) // whoever asked has gone
}
