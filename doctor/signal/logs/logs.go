// Package logs follows the log of a process on this machine, keeps its newest lines by
// trace and payment, and counts those of level error. It reads lines of log/slog, text or
// JSON.
//
// It refuses to read a log whole: it begins near the end, and what comes faster than it
// reads is skipped and counted. Lines are shown, never judged: how many errors there are
// is evidence beside other evidence.
package logs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/internal/clock"
)

const (
	// Every is the time between two looks.
	Every = time.Second
	// linesMax and bytesMax bound what is kept, backMax how much of an existing log is read
	// at the start, lookMax how much in one look.
	linesMax = 5_000
	bytesMax = 4 << 20
	backMax  = 1 << 20
	lookMax  = 2 << 20
	lineMax  = 8 << 10
	// window is over what errors are counted.
	window = 10 * time.Second
)

// Line is one of the log.
type Line struct {
	At      time.Time `json:"at"`
	Level   string    `json:"level"`
	Message string    `json:"message"`
	TraceID string    `json:"trace_id,omitempty"`
	Payment string    `json:"payment,omitempty"`
	// Attrs is the rest, as it was written.
	Attrs map[string]string `json:"attrs,omitempty"`

	bytes int
}

// Config says what to follow.
type Config struct {
	// File is the log; it may come later, and be cut or replaced.
	File string
	// Hop is whose log it is.
	Hop string
	// Clock tells the time; nil means the system's.
	Clock clock.Clock
}

// Tail follows one file. Look is called by one at a time, the rest by anybody.
type Tail struct {
	cfg    Config
	file   os.FileInfo // what was read last
	offset int64
	rest   []byte // of a line that has not ended

	mu      sync.Mutex
	lines   []Line // oldest first
	bytes   int
	skipped int64
	errors  []time.Time
	since   time.Time
}

// New follows a file from near its end.
func New(cfg Config) *Tail {
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	return &Tail{cfg: cfg, offset: -1, since: cfg.Clock.Now()}
}

// Name implements doctor.Collector.
func (*Tail) Name() string { return "logs" }

// Every implements doctor.Collector.
func (*Tail) Every() time.Duration { return Every }

// Look implements doctor.Collector: lines of level error a second, of the last ten.
func (t *Tail) Look(context.Context) (doctor.Look, error) {
	if err := t.read(); err != nil {
		return doctor.Look{}, err
	}
	now := t.cfg.Clock.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.errors = slices.DeleteFunc(t.errors, func(at time.Time) bool { return now.Sub(at) > window })
	return doctor.Look{Points: []doctor.Point{{
		Hop: t.cfg.Hop, Signal: doctor.LogErrors, Value: float64(len(t.errors)) / window.Seconds(), At: now,
		Source: "lines of level error in " + t.cfg.File + ", of the last 10 s",
	}}}, nil
}

func (t *Tail) read() error {
	f, err := os.Open(t.cfg.File)
	if err != nil {
		return fmt.Errorf("the log: %w", err)
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	first := t.offset < 0
	switch {
	case first:
		t.offset = max(st.Size()-backMax, 0)
	case !os.SameFile(st, t.file) || st.Size() < t.offset: // replaced, or cut
		t.offset, t.rest = 0, nil
	case st.Size()-t.offset > lookMax:
		t.mu.Lock()
		t.skipped += st.Size() - t.offset - lookMax
		t.mu.Unlock()
		t.offset, t.rest = st.Size()-lookMax, nil
		first = true // in the midst of a line
	}
	t.file = st
	raw, err := io.ReadAll(io.NewSectionReader(f, t.offset, min(st.Size()-t.offset, lookMax)))
	if err != nil {
		return err
	}
	cut := first && t.offset > 0
	t.offset += int64(len(raw))
	if cut {
		_, raw, _ = bytes.Cut(raw, []byte("\n"))
	}
	raw = append(t.rest, raw...)
	end := bytes.LastIndexByte(raw, '\n') + 1
	t.rest = slices.Clone(raw[end:])
	if len(t.rest) > lineMax {
		t.rest = t.rest[:0]
	}
	t.keep(raw[:end])
	return nil
}

func (t *Tail) keep(raw []byte) {
	now := t.cfg.Clock.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	for line := range bytes.Lines(raw) {
		l, ok := Parse(line[:min(len(line), lineMax)])
		if !ok {
			continue
		}
		if l.Level == "ERROR" && now.Sub(l.At) <= window {
			t.errors = append(t.errors, l.At)
			if len(t.errors) > linesMax {
				t.errors = t.errors[1:]
			}
		}
		t.lines = append(t.lines, l)
		t.bytes += l.bytes
	}
	drop := 0
	for len(t.lines)-drop > linesMax || t.bytes > bytesMax {
		t.bytes -= t.lines[drop].bytes
		drop++
	}
	t.lines = slices.Delete(t.lines, 0, drop)
}

// Of are the newest lines about any of these traces or payments, oldest first.
func (t *Tail) Of(most int, names ...string) []Line {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := []Line{}
	for i := len(t.lines) - 1; i >= 0 && len(out) < most; i-- {
		l := &t.lines[i]
		if l.TraceID != "" && slices.Contains(names, l.TraceID) || l.Payment != "" && slices.Contains(names, l.Payment) {
			out = append(out, *l)
		}
	}
	slices.Reverse(out)
	return out
}

// Kept says from when on lines are here.
func (t *Tail) Kept() (lines int, oldest time.Time, skipped int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == 0 {
		return 0, t.since, t.skipped
	}
	return len(t.lines), t.lines[0].At, t.skipped
}

// Parse reads one line of log/slog, JSON or text.
func Parse(line []byte) (Line, bool) {
	line = bytes.TrimSpace(line)
	var pairs map[string]string
	if len(line) > 0 && line[0] == '{' {
		var all map[string]any
		if err := json.Unmarshal(line, &all); err != nil {
			return Line{}, false
		}
		pairs = make(map[string]string, len(all))
		for k, v := range all {
			if s, ok := v.(string); ok {
				pairs[k] = s
			} else if raw, err := json.Marshal(v); err == nil {
				pairs[k] = string(raw)
			}
		}
	} else {
		var err error
		if pairs, err = pairsOf(string(line)); err != nil {
			return Line{}, false
		}
	}
	at, err := time.Parse(time.RFC3339Nano, pairs["time"])
	if err != nil || pairs["level"] == "" {
		return Line{}, false
	}
	l := Line{At: at.UTC(), Level: pairs["level"], Message: pairs["msg"], TraceID: pairs["trace_id"], Payment: pairs["payment"], bytes: len(line) + 200}
	for _, k := range []string{"time", "level", "msg", "trace_id", "payment", "service"} {
		delete(pairs, k)
	}
	if len(pairs) > 0 {
		l.Attrs = pairs
	}
	return l, true
}

var errNoPairs = errors.New("not key=value")

// pairsOf reads key=value, with values in Go's quotes where they need them.
func pairsOf(s string) (map[string]string, error) {
	out := map[string]string{}
	for s = strings.TrimLeft(s, " "); s != ""; s = strings.TrimLeft(s, " ") {
		key, after, ok := strings.Cut(s, "=")
		if !ok || key == "" || strings.ContainsAny(key, " ") {
			return nil, errNoPairs
		}
		if unquoted, err := strconv.Unquote(key); err == nil {
			key = unquoted
		}
		value, rest := after, ""
		if strings.HasPrefix(after, `"`) {
			quoted, err := strconv.QuotedPrefix(after)
			if err != nil {
				return nil, errNoPairs
			}
			rest = after[len(quoted):]
			if value, err = strconv.Unquote(quoted); err != nil {
				return nil, errNoPairs
			}
		} else if i := strings.IndexByte(after, ' '); i >= 0 {
			value, rest = after[:i], after[i:]
		}
		out[key], s = value, rest
	}
	return out, nil
}
