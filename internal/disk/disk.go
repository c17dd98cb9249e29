// Package disk tells how full a disk is and when it will be, and how long it takes to
// bring bytes to it for certain. It refuses to delete anything.
package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Usage is how full the disk under a folder is, in bytes.
type Usage struct{ Free, Total int64 }

// FreeShare is the share that is free, 0 to 1; 1 for a disk that tells no size.
func (u Usage) FreeShare() float64 {
	if u.Total <= 0 {
		return 1
	}
	return float64(u.Free) / float64(u.Total)
}

// NeverFull is what Trend returns for a disk that does not fill: 30 days, beyond which
// no pace of a minute says anything.
const NeverFull = 30 * 24 * time.Hour

// A pace is taken over at most trendWindow, and from trendLeast on.
const (
	trendWindow = 60 * time.Second
	trendLeast  = 5 * time.Second
	trendPoints = 128
)

// Trend tells when a disk will be full at the pace of the last minute. The zero value is
// ready; it is not safe for concurrent use.
type Trend struct{ points []trendPoint }

type trendPoint struct {
	at   time.Time
	free int64
}

// Note takes how much was free at an instant and returns how long it lasts at this pace.
func (t *Trend) Note(at time.Time, free int64) time.Duration {
	t.points = append(t.points, trendPoint{at, free})
	for len(t.points) > 2 && (at.Sub(t.points[0].at) > trendWindow || len(t.points) > trendPoints) {
		t.points = t.points[1:]
	}
	first := t.points[0]
	took, used := at.Sub(first.at), first.free-free
	if took < trendLeast || used <= 0 {
		return NeverFull
	}
	left := float64(free) / (float64(used) / took.Seconds()) // seconds
	if left > NeverFull.Seconds() {
		return NeverFull
	}
	return time.Duration(left * float64(time.Second))
}

// flushBytes is what Flush writes: one page of a log.
const flushBytes = 8 << 10

// Flush writes one page to a file of its own in folder, brings it to the disk, and
// returns how long that took. It keeps the file, name, for the next time: a new one would
// measure the folder too.
func Flush(folder, name string, now func() time.Time) (took time.Duration, err error) {
	f, err := os.OpenFile(filepath.Join(folder, name), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, fmt.Errorf("open the file that measures the disk: %w", err)
	}
	defer func() {
		if end := f.Close(); err == nil && end != nil {
			err = end
		}
	}()
	page := make([]byte, flushBytes)
	began := now()
	if _, err := f.WriteAt(page, 0); err != nil {
		return 0, fmt.Errorf("write the file that measures the disk: %w", err)
	}
	if err := f.Sync(); err != nil {
		return 0, fmt.Errorf("flush the file that measures the disk: %w", err)
	}
	return now().Sub(began), nil
}
