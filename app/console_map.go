package app

import (
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/http"
	"time"

	"github.com/moneta-pay/moneta/doctor/diagnose"
	"github.com/moneta-pay/moneta/doctor/river"
)

// draw makes the map of now, once for all who look at it.
func (w *watch) draw() {
	now := w.attendance.it.Now()
	in := river.In{
		Now: w.clock.Now(), Evidence: w.attendance.evidence(), Alarms: now.Alarms,
		Incident: now.Incident, Stage: now.Stage, Say: diagnose.Say,
	}
	if now.Incident != "" {
		in.Answer = now.Answer
	}
	if w.facts != nil {
		in.Standing = w.facts.Standing()
	}
	if err := w.river.Put(river.Build(in)); err != nil {
		w.log.Error("the map is not drawn", slog.Any("error", err))
	}
}

// mapRoutes are the road as a river. Every viewer may ask: there is no payment in it.
//
//	GET /api/look/map            now; ?at=RFC 3339 is a moment of the last quarter of an hour
//	GET /api/look/map/history    the same quarter of an hour by hop, for lines
//	GET /api/look/map/ages       ?hop= and ?channel=: how old what waits there is
func (w *watch) mapRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/look/map", w.lookMap)
	mux.HandleFunc("GET /api/look/map/history", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, w.river.History()) })
	mux.HandleFunc("GET /api/look/map/ages", w.lookAges)
}

func (w *watch) lookMap(rw http.ResponseWriter, r *http.Request) {
	raw := w.river.Newest()
	if text := r.URL.Query().Get("at"); text != "" {
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			http.Error(rw, "at is a time such as 2026-11-22T10:42:00Z", http.StatusBadRequest)
			return
		}
		if raw, err = w.river.At(at); err != nil {
			http.Error(rw, err.Error(), http.StatusInternalServerError)
			return
		}
		if raw == nil {
			http.Error(rw, "so far back nothing is remembered: a quarter of an hour is kept, from the start of the watch on", http.StatusNotFound)
			return
		}
	}
	if raw == nil {
		http.Error(rw, "the watch has only begun to look; ask again in a second", http.StatusServiceUnavailable)
		return
	}
	rw.Header().Set("Cache-Control", "no-cache")
	sum := sha256.Sum256(raw)
	answerTagged(rw, r, "application/json", `"`+hex.EncodeToString(sum[:12])+`"`, raw)
}

// answerTagged answers 304 to whoever has it already.
func answerTagged(rw http.ResponseWriter, r *http.Request, kind, tag string, raw []byte) {
	rw.Header().Set("ETag", tag)
	rw.Header().Set("Content-Type", kind)
	if r.Header.Get("If-None-Match") == tag {
		rw.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = rw.Write(raw) //nolint:gosec // JSON, or a page whose template escapes; who asked may have gone
}

func (w *watch) lookAges(rw http.ResponseWriter, r *http.Request) {
	if w.facts == nil {
		http.Error(rw, "this watch reads no facts", http.StatusNotFound)
		return
	}
	ages, err := w.facts.Ages(r.Context(), r.URL.Query().Get("hop"), r.URL.Query().Get("channel"))
	if err != nil {
		http.Error(rw, "the database does not tell: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	answer(rw, ages)
}
