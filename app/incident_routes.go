package app

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/journal"
)

const (
	// journalAtOnce bounds one answer to GET /journal.
	journalAtOnce = 1000
	// noteMax bounds a note, in bytes.
	noteMax = 16 << 10
)

// notePost is a note that a person sends to the watch.
type notePost struct {
	Who  string `json:"who"`
	Text string `json:"text"`
}

// keeper is what the routes need of a journal.
type keeper interface {
	Append(ctx context.Context, e doctor.Entry) (doctor.Entry, error)
	Since(after uint64, limit int) ([]doctor.Entry, error)
	Incidents() []doctor.Incident
	Incident(id string) (doctor.Incident, bool)
	Health() journal.Health
}

// incidentRoutes adds what the watch tells of its journal: GET /incidents,
// /incidents/{id} and /journal?after=seq, and POST /incidents/{id}/notes. Whoever mounts
// them asks for the token.
func incidentRoutes(mux *http.ServeMux, j keeper) {
	mux.HandleFunc("GET /incidents", func(w http.ResponseWriter, _ *http.Request) {
		sendJSON(w, map[string]any{"incidents": j.Incidents(), "journal": j.Health()})
	})
	mux.HandleFunc("GET /incidents/{id}", func(w http.ResponseWriter, r *http.Request) {
		in, ok := j.Incident(r.PathValue("id"))
		if !ok {
			http.Error(w, "no such incident here; moneta incident list reads the older ones from the journal", http.StatusNotFound)
			return
		}
		sendJSON(w, in)
	})
	mux.HandleFunc("GET /journal", func(w http.ResponseWriter, r *http.Request) {
		after, err := strconv.ParseUint(r.FormValue("after"), 10, 64)
		if r.FormValue("after") == "" {
			after, err = 0, nil
		}
		if err != nil {
			http.Error(w, "after is the number of an entry, 0 for all", http.StatusBadRequest)
			return
		}
		entries, err := j.Since(after, journalAtOnce)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		if entries == nil {
			entries = []doctor.Entry{}
		}
		sendJSON(w, map[string]any{"entries": entries, "journal": j.Health()})
	})
	mux.HandleFunc("POST /incidents/{id}/notes", func(w http.ResponseWriter, r *http.Request) { takeNote(w, r, j) })
}

func takeNote(w http.ResponseWriter, r *http.Request, j keeper) {
	var n notePost
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, noteMax)).Decode(&n)
	if err != nil || strings.TrimSpace(n.Text) == "" || strings.TrimSpace(n.Who) == "" {
		http.Error(w, `a note is {"who":"…","text":"…"}, at most 16 KiB`, http.StatusBadRequest)
		return
	}
	raw, err := json.Marshal(doctor.Note{Text: n.Text})
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	e, err := j.Append(r.Context(), doctor.Entry{Incident: r.PathValue("id"), What: doctor.EntryNote, Who: n.Who, Data: raw})
	switch {
	case errors.Is(err, journal.ErrRefused):
		http.Error(w, err.Error(), http.StatusConflict)
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	default:
		sendJSON(w, e)
	}
}

func sendJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(v) // whoever asked has gone
}
