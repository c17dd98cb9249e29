// Package flight records what the Go runtime of this process does for some seconds: which
// goroutine ran when and where, what it waited for, what the collector took. It is for
// the questions that metrics cannot answer: who holds the lock, why nothing runs. A
// recording begins when it is asked for and costs nothing before; it is bounded in time
// and size, and there is one at a time. It holds names of functions and times, and no
// data of any payment.
//
// It refuses to record always: the trace that the runtime writes meanwhile costs some
// hundredths of the processor, and a trouble that is worth a recording lasts.
package flight

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/pprof"
	"runtime/trace"
	"sync/atomic"
	"time"
)

// Bounds of a recording.
const (
	// Usual is how long one is when nobody says, Most how long at most.
	Usual = 5 * time.Second
	Most  = 30 * time.Second
	// windowBytes is how much the runtime keeps, the newest of it; what is written may be
	// somewhat more, and above bytesMost it is given up.
	windowBytes = 16 << 20
	bytesMost   = 64 << 20
)

// ErrBusy says that a recording is under way.
var ErrBusy = errors.New("a recording of this process is under way; ask again when it has ended")

// Recorder makes recordings, one at a time. It is safe for concurrent use.
type Recorder struct{ busy atomic.Bool }

// Record records for d, which Check accepts, and returns what `go tool trace` reads. It
// ends early when ctx does, with its error.
func (r *Recorder) Record(ctx context.Context, d time.Duration) ([]byte, error) {
	if err := Check(d); err != nil {
		return nil, err
	}
	if !r.busy.CompareAndSwap(false, true) {
		return nil, ErrBusy
	}
	defer r.busy.Store(false)
	f := trace.NewFlightRecorder(trace.FlightRecorderConfig{MinAge: d, MaxBytes: windowBytes})
	if err := f.Start(); err != nil {
		return nil, fmt.Errorf("begin a recording: %w", err)
	}
	defer f.Stop()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-t.C:
	}
	var out bounded
	if _, err := f.WriteTo(&out); err != nil {
		return nil, fmt.Errorf("write the recording: %w", err)
	}
	return out.Bytes(), nil
}

// Stacks writes where each goroutine of this process stands now, those at one place
// together with their number: names and lines, and no values.
func (*Recorder) Stacks(w io.Writer) error { return pprof.Lookup("goroutine").WriteTo(w, 1) }

// Check says whether a recording may be so long.
func Check(d time.Duration) error {
	if d <= 0 || d > Most {
		return fmt.Errorf("a recording of %s: it is longer than nothing and at most %s", d, Most)
	}
	return nil
}

type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > bytesMost {
		return 0, fmt.Errorf("longer than %d MB; record for a shorter time", bytesMost>>20)
	}
	return b.Buffer.Write(p)
}
