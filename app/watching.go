package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

const (
	// watchFile is where a running watch says how it is reached.
	watchFile = "watch.json"
	// askWithin bounds one question to it: it is on this machine, and somebody waits.
	askWithin = 5 * time.Second
)

// watching is a running watch, as its note says.
type watching struct {
	URL   string `json:"url"`
	Token string `json:"token"`
	PID   int    `json:"pid"`
	// Console is the same for browsers, by name.
	Console string `json:"console,omitempty"`
}

// errNoWatch reports that no watch runs here, or that the one that did is gone.
var errNoWatch = errors.New("no watch")

// findWatch reads the note in the data folder.
func findWatch(dataDir string) (*watching, error) {
	raw, err := os.ReadFile(filepath.Join(dataDir, watchFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s is not there", errNoWatch, filepath.Join(dataDir, watchFile))
	}
	if err != nil {
		return nil, err
	}
	var w watching
	if err := json.Unmarshal(raw, &w); err != nil || w.URL == "" {
		return nil, fmt.Errorf("%w: %s cannot be read", errNoWatch, filepath.Join(dataDir, watchFile))
	}
	return &w, nil
}

// get asks the watch. One that does not answer is errNoWatch: its note outlives it.
func (w *watching) get(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(w.URL, "/")+path, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoWatch, err)
	}
	req.Header.Set("Authorization", "Bearer "+w.Token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: it does not answer: %w", errNoWatch, err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(res.Body, doctor.EvidenceBytesMax+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: its answer broke off: %w", errNoWatch, err)
	case res.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the watch at %s answered %s to %s", w.URL, res.Status, path)
	}
	return raw, nil
}

// watchNow is what of GET /now is shown beside an answer.
type watchNow struct {
	At       time.Time      `json:"at"`
	Alarms   []doctor.Alarm `json:"alarms"`
	Answer   *doctor.Answer `json:"answer"`
	Incident string         `json:"incident"`
	Stage    doctor.Stage   `json:"stage"`
}

// now asks what the watch says at this moment.
func (w *watching) now(ctx context.Context) (watchNow, error) {
	var n watchNow
	raw, err := w.get(ctx, "/now")
	if err != nil {
		return n, err
	}
	if err := json.Unmarshal(raw, &n); err != nil {
		return n, fmt.Errorf("the watch at %s answered something else: %w", w.URL, err)
	}
	return n, nil
}

// evidence asks for all that the watch's answer rests on.
func (w *watching) evidence(ctx context.Context) (*doctor.Evidence, error) {
	raw, err := w.get(ctx, "/evidence")
	if err != nil {
		return nil, err
	}
	return doctor.ReadEvidence(strings.NewReader(string(raw)))
}
