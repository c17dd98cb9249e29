package drill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// Watcher reads what a watch tells everybody who may read its file.
type Watcher struct {
	// File is the one that watch writes: where it listens, and its token.
	File string
}

type watchPlace struct {
	URL   string `json:"url"`
	Token string `json:"token"`
	PID   int    `json:"pid"`
}

// Bounds of reading.
const (
	watchWithin   = 3 * time.Second
	watchBytesMax = 64 << 20
	awaitWithin   = 30 * time.Second
)

func (w *Watcher) place() (watchPlace, error) {
	var p watchPlace
	raw, err := os.ReadFile(w.File)
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(raw, &p); err != nil || p.URL == "" {
		return p, errors.Join(errors.New("watch's file does not say where it is"), err)
	}
	return p, nil
}

func (w *Watcher) get(ctx context.Context, path string) ([]byte, error) {
	p, err := w.place()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, watchWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+p.Token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, watchBytesMax))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("watch: GET %s: %s: %.200s", path, resp.Status, raw)
	}
	return raw, err
}

// Await waits until it answers.
func (w *Watcher) Await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, awaitWithin)
	defer cancel()
	for {
		_, err := w.get(ctx, "/healthz")
		if err == nil {
			return nil
		}
		if pause(ctx, lookEvery) != nil {
			return fmt.Errorf("the watch does not answer: %w", err)
		}
	}
}

// journal returns the entries after a number, in order.
func (w *Watcher) journal(ctx context.Context, after uint64) ([]doctor.Entry, error) {
	var all []doctor.Entry
	for {
		raw, err := w.get(ctx, "/journal?after="+strconv.FormatUint(after, 10))
		if err != nil {
			return all, err
		}
		page, err := list[doctor.Entry](raw)
		if err != nil {
			return all, fmt.Errorf("watch's journal: %w", err)
		}
		fresh := 0
		for i := range page {
			if page[i].Seq > after {
				all, after = append(all, page[i]), page[i].Seq
				fresh++
			}
		}
		if fresh == 0 {
			return all, nil
		}
	}
}

// open returns the incidents that are not closed.
func (w *Watcher) open(ctx context.Context) ([]doctor.Incident, error) {
	raw, err := w.get(ctx, "/incidents")
	if err != nil {
		return nil, err
	}
	all, err := list[doctor.Incident](raw)
	if err != nil {
		return nil, fmt.Errorf("watch's incidents: %w", err)
	}
	var out []doctor.Incident
	for i := range all {
		if all[i].ClosedAt == nil {
			out = append(out, all[i])
		}
	}
	return out, nil
}

// list reads an array, be it bare or the one array field of an object.
func list[T any](raw []byte) ([]T, error) {
	var out []T
	if err := json.Unmarshal(raw, &out); err == nil {
		return out, nil
	}
	var wrapped map[string]json.RawMessage
	if err := json.Unmarshal(raw, &wrapped); err != nil {
		return nil, err
	}
	for _, field := range wrapped {
		if len(field) > 0 && field[0] == '[' {
			if err := json.Unmarshal(field, &out); err == nil {
				return out, nil
			}
		}
	}
	return nil, errors.New("it holds no list")
}
