package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

const (
	// streamsMost is how many browsers are told at once what happens.
	streamsMost = 100
	// streamLines is how many lines of the journal one look brings.
	streamLines = 200
	// heartbeat keeps what lies between from ending a stream that has nothing to say.
	heartbeat = 15 * time.Second
	// streamWrite bounds one write: who does not read is let go.
	streamWrite = 10 * time.Second
	// nowFresh is how old an answer may be that several browsers share.
	nowFresh = 900 * time.Millisecond
)

// streams are the browsers that listen.
type streams struct {
	ctx context.Context //nolint:containedctx // ended when the watch stops, so that no browser holds it
	end context.CancelFunc

	mu    sync.Mutex
	count int
	now   []byte
	at    time.Time
}

func newStreams(ctx context.Context) *streams {
	s := &streams{}
	s.ctx, s.end = context.WithCancel(context.WithoutCancel(ctx))
	return s
}

// streamRoutes is GET /api/watch/stream for anybody who is signed in: the events now
// and map whenever they changed, looked at each second, and line for each entry of the journal,
// whose number is the id to go on from.
func (w *watch) streamRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/watch/stream", func(rw http.ResponseWriter, r *http.Request) {
		if !w.streams.enter() {
			refuse(rw, http.StatusServiceUnavailable, "overloaded", "too many pages listen; close some")
			return
		}
		defer w.streams.leave()
		w.stream(rw, r)
	})
}

func (s *streams) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count >= streamsMost {
		return false
	}
	s.count++
	return true
}

func (s *streams) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count--
}

// nowText is the answer of GET /now, made at most once a second however many listen.
func (w *watch) nowText() []byte {
	s := w.streams
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := w.clock.Now(); s.now == nil || at.Sub(s.at) >= nowFresh {
		if raw, err := json.Marshal(w.now()); err == nil {
			s.now, s.at = raw, at
		}
	}
	return s.now
}

func (w *watch) stream(rw http.ResponseWriter, r *http.Request) {
	after := w.attendance.journal.Health().Last
	if text := r.Header.Get("Last-Event-ID"); text != "" {
		if n, err := strconv.ParseUint(text, 10, 64); err == nil && n <= after {
			after = n
		}
	}
	rw.Header().Set("Content-Type", "text/event-stream")
	rw.Header().Set("Cache-Control", "no-store")
	rw.Header().Set("X-Accel-Buffering", "no")
	out := http.NewResponseController(rw)
	send := func(text []byte) bool {
		_ = out.SetWriteDeadline(w.clock.Now().Add(streamWrite))
		_, err := rw.Write(text)
		return err == nil && out.Flush() == nil
	}
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	var last, lastMap []byte
	said := w.clock.Now()
	first := fmt.Appendf(nil, "retry: 1000\nid: %d\n\n", after)
	for {
		text := first
		first = nil
		if now := w.nowText(); !bytes.Equal(now, last) {
			text, last = fmt.Appendf(text, "event: now\ndata: %s\n\n", now), now
		}
		if now := w.river.Newest(); !bytes.Equal(now, lastMap) {
			text, lastMap = fmt.Appendf(text, "event: map\ndata: %s\n\n", now), now
		}
		lines, err := w.attendance.journal.Since(after, streamLines)
		if err != nil {
			return // the browser comes back, and goes on from the last id
		}
		for i := range lines {
			text = appendLine(text, &lines[i])
			after = lines[i].Seq
		}
		if len(text) == 0 && w.clock.Now().Sub(said) >= heartbeat {
			text = []byte(": still here\n\n")
		}
		if len(text) > 0 {
			if !send(text) {
				return
			}
			said = w.clock.Now()
		}
		select {
		case <-r.Context().Done():
			return
		case <-w.streams.ctx.Done():
			return
		case <-tick.C:
		}
		if _, err := w.sessions.find(r); err != nil { // signed out meanwhile
			return
		}
	}
}

func appendLine(to []byte, e *doctor.Entry) []byte {
	raw, err := json.Marshal(e)
	if err != nil {
		return to // never: it came from JSON
	}
	return fmt.Appendf(to, "id: %d\nevent: line\ndata: %s\n\n", e.Seq, raw)
}
