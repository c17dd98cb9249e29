package app

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/journal"
)

// noteMax bounds a note, in bytes.
const noteMax = 16 << 10

// notePost is a note that a person sends to the watch.
type notePost struct {
	Who  string `json:"who"`
	Text string `json:"text"`
}

// takeNote is POST /incidents/{id}/notes of the watch, which writes the journal while it
// runs.
func takeNote(w http.ResponseWriter, r *http.Request, j *journal.Journal) {
	if _, ok := j.Incident(r.PathValue("id")); !ok {
		http.Error(w, "no incident has this id; GET /incidents lists them", http.StatusNotFound)
		return
	}
	var n notePost
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, noteMax)).Decode(&n)
	if v, ok := visitorOf(r.Context()); ok { // who is signed in writes in no other name
		n.Who = v.Name
	}
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
		answer(w, e)
	}
}
