package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/moneta-pay/moneta/internal/flight"
)

// FlightConfig says which node is recorded.
type FlightConfig struct {
	// URL of the node; DataDir is where the key of its installation is.
	URL, DataDir string
	// For is how long, in whole seconds.
	For time.Duration
	// Path is the new file for the recording.
	Path string
	Out  io.Writer
}

// stacksEnd ends the name of the file with the stacks, beside that of the recording.
const stacksEnd = ".stacks"

// flightMax bounds what is read of an answer: more than a node sends.
const flightMax = 80 << 20

// Flight records a node for a while and writes it to a file that only its owner reads.
func Flight(ctx context.Context, c FlightConfig) error {
	seconds := int(c.For / time.Second)
	if err := flight.Check(time.Duration(seconds) * time.Second); err != nil {
		return err
	}
	for _, path := range []string{c.Path, c.Path + stacksEnd} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is there already, or cannot be made: name a new file with --out", path)
		}
	}
	keys, err := ReadKeys(keysPath(c.DataDir))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.For+30*time.Second)
	defer cancel()
	stacks, err := c.fetch(ctx, keys.Admin, http.MethodGet, "/v1/node/stacks", "")
	if err != nil {
		return err
	}
	trace, err := c.fetch(ctx, keys.Admin, http.MethodPost, "/v1/node/flight", "?seconds="+strconv.Itoa(seconds))
	if err != nil {
		return err
	}
	if err := writeNew(c.Path, trace); err != nil {
		return err
	}
	where := c.Path + stacksEnd
	if err := writeNew(where, stacks); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.Out, "%s: %d s of %s, %.1f MB; read it with: go tool trace %s\n%s: where each goroutine stood\n",
		c.Path, seconds, c.URL, float64(len(trace))/(1<<20), c.Path, where)
	return err
}

func (c *FlightConfig) fetch(ctx context.Context, key, method, path, query string) ([]byte, error) {
	address, err := url.JoinPath(c.URL, path)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, address+query, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the node does not answer: %w; one that hangs whole cannot record itself: kill -QUIT ends its process and writes the stacks to its log", err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(res.Body, flightMax))
	if err != nil {
		return nil, fmt.Errorf("the recording broke off: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the node refuses it: %s: %.300s", res.Status, raw)
	}
	return raw, nil
}

// writeNew writes a file that was not there, for its owner only.
func writeNew(path string, raw []byte) error {
	f, err := os.OpenFile(filepath.Clean(path), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	return errors.Join(err, f.Close())
}
