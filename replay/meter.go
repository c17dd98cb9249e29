package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/lifecycle"
)

// meter counts the progress of the current stage and tells the caller about it.
type meter struct {
	clock clock.Clock
	tell  func(Progress)

	done, failed, retries atomic.Int64

	mu      sync.Mutex // guards the fields below and serialises tell
	stageOf Stage
	total   int64
	since   time.Time
	spent   []StageTime

	cancel  context.CancelFunc
	stopped chan struct{}
}

// StageTime is how long a stage of the run took.
type StageTime struct {
	Stage Stage       `json:"stage"`
	Wall  Thousandths `json:"wall_s"` // seconds
}

// startMeter starts the ticking goroutine, which stop ends.
func startMeter(ctx context.Context, o Options) *meter {
	ctx, cancel := context.WithCancel(ctx)
	m := &meter{clock: o.Clock, tell: o.Progress, cancel: cancel, stopped: make(chan struct{}), since: o.Clock.Now()}
	go func() {
		defer close(m.stopped)
		tick := time.NewTicker(o.ProgressEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				m.report()
			}
		}
	}()
	return m
}

// stage closes the current stage and opens the next.
func (m *meter) stage(s Stage, total int64) {
	if m.stageOf != "" {
		m.report()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock.Now()
	if m.stageOf != "" {
		m.spent = append(m.spent, StageTime{m.stageOf, thousandthsOf(now.Sub(m.since), time.Second)})
	}
	m.stageOf, m.total, m.since = s, total, now
	m.done.Store(0)
}

// stop ends the last stage and the goroutine. A second stop does nothing.
func (m *meter) stop() {
	m.cancel()
	<-m.stopped
	if m.stageOf != "" {
		m.stage("", 0)
	}
}

func (m *meter) report() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tell == nil || m.stageOf == "" {
		return
	}
	p := Progress{Stage: m.stageOf, Done: m.done.Load(), Total: m.total, Retries: m.retries.Load(), Failed: m.failed.Load()}
	elapsed := m.clock.Now().Sub(m.since)
	if ms := elapsed.Milliseconds(); ms > 0 {
		p.PerSecond = p.Done * 1000 / ms
	}
	if p.Done > 0 && p.Total > p.Done {
		p.ETA = (elapsed / time.Duration(p.Done)) * time.Duration(p.Total-p.Done)
	}
	m.tell(p)
}

// Thousandths is a number with three decimals, kept as an integer, e.g. 12.345
// seconds = 12345. In JSON it is a plain number.
type Thousandths int64

func thousandthsOf(d, unit time.Duration) Thousandths {
	return Thousandths(d / (unit / 1000))
}

// String writes all three decimals.
func (t Thousandths) String() string {
	sign := ""
	if t < 0 {
		sign, t = "-", -t
	}
	return fmt.Sprintf("%s%d.%03d", sign, t/1000, t%1000)
}

// MarshalJSON writes a JSON number.
func (t Thousandths) MarshalJSON() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalJSON reads what MarshalJSON writes.
func (t *Thousandths) UnmarshalJSON(raw []byte) error {
	var n json.Number
	if err := json.Unmarshal(raw, &n); err != nil {
		return err
	}
	a, err := parseDecimal(n.String(), 3, ".", "")
	if err != nil {
		return err
	}
	v, ok := a.Int64()
	if !ok {
		return errors.New("number is out of range")
	}
	*t = Thousandths(v)
	return nil
}

// samplesMax bounds the memory of one latency distribution. Beyond it the kept
// samples are a uniform choice of all.
const samplesMax = 100_000

// samples collects durations for percentiles.
type samples struct {
	mu   sync.Mutex
	kept []time.Duration
	seen int64
}

func (s *samples) add(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen++
	if len(s.kept) < samplesMax {
		s.kept = append(s.kept, d)
	} else if i := rand.N(s.seen); i < samplesMax {
		s.kept[i] = d
	}
}

// percentile returns the smallest sample that p per cent do not exceed, in
// milliseconds; 0 without samples.
func (s *samples) percentile(p int) Thousandths {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s.kept))
	rank := (len(sorted)*p + 99) / 100
	return thousandthsOf(sorted[max(rank, 1)-1], time.Millisecond)
}

// pacer spreads rows over time so that at most perSecond start in a second.
type pacer struct {
	every time.Duration
	clock clock.Clock
	mu    sync.Mutex
	next  time.Time
}

func newPacer(perSecond int64, c clock.Clock) *pacer {
	p := &pacer{clock: c}
	if perSecond > 0 {
		p.every = time.Second / time.Duration(perSecond)
	}
	return p
}

// turn waits for the caller's turn.
func (p *pacer) turn(ctx context.Context) error {
	if p.every == 0 {
		return ctx.Err()
	}
	p.mu.Lock()
	now := p.clock.Now()
	if p.next.Before(now) {
		p.next = now
	}
	wait := p.next.Sub(now)
	p.next = p.next.Add(p.every)
	p.mu.Unlock()
	if wait <= 0 {
		return ctx.Err()
	}
	return lifecycle.Pause(ctx, wait)
}
