package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// blockBytes is the size of a write of the database's log.
const blockBytes = 8 << 10

// refuseMemory returns an error when folder lies on a file system that forgets:
// a commit there costs nothing, and a figure measured there says nothing. Of a
// folder that does not exist yet, the one that it would be made in decides.
func refuseMemory(folder string) error {
	made := folder
	for made != filepath.Dir(made) {
		if _, err := os.Stat(made); err == nil {
			break
		}
		made = filepath.Dir(made)
	}
	name, forgets, err := fileSystem(made)
	if err != nil {
		return fmt.Errorf("look at the file system of %s: %w", folder, err)
	}
	if forgets {
		return fmt.Errorf("%s is on %s, which lives in memory: a durable commit costs nothing there, so nothing would be measured; name a folder on a disk with --data", folder, name)
	}
	return nil
}

// fsyncRate writes 8 kB pages in turn into a file that exists already, each made
// durable before the next, as the database's log does. The rate is per second.
func fsyncRate(ctx context.Context, folder string, during time.Duration) (rate float64, err error) {
	const pages = 128
	path := filepath.Join(folder, "fsync")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(path)) }()
	page := make([]byte, blockBytes)
	for i := range page {
		page[i] = byte(i)
	}
	for i := range pages {
		if _, err := f.WriteAt(page, int64(i)*blockBytes); err != nil {
			return 0, err
		}
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	n := 0
	began := time.Now()
	for ; time.Since(began) < during && ctx.Err() == nil; n++ {
		page[0]++
		if _, err := f.WriteAt(page, int64(n%pages)*blockBytes); err != nil {
			return 0, err
		}
		if err := dataSync(f); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(began).Seconds(), ctx.Err()
}
