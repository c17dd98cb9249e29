package timer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
)

// Bounds of one look.
const (
	scanChunk   = 4096 // entries measured before the lock is given up
	orphanPage  = 5000 // rows of open_payments compared at each look
	orphansMax  = 1000 // orphans and suspects kept; the metric still tells
	lookTimeout = 5 * time.Second
)

// MarkUnexplained is the row of marks that holds the longest time, in
// milliseconds, for which any payment was past its due step with nobody at it.
const MarkUnexplained = "unexplained_max_ms"

// Orphan is an open payment that no timer drives, or whose timer ran out without
// effect: a bug of ours, listed until it moves.
type Orphan struct {
	Payment pay.ID
	State   pay.State
	Hop     string
	NextAt  time.Time
	// Kind is "unwatched" (in the table, not on the wheel) or "stale" (on the
	// wheel, its next step long overdue).
	Kind string
}

// Standing is how many payments stand in one state at one channel.
type Standing struct {
	Channel string
	State   pay.State
	Open    int
	// Oldest is how long the oldest has been in the state.
	Oldest time.Duration
	// PastDeadline counts those that should have left the state by now.
	PastDeadline int
}

// Snapshot is the wheel at a glance.
type Snapshot struct {
	// Open payments on the wheel.
	Open int
	// Cased counts those that have a case: a person is at them.
	Cased int
	// Overdue is how late the wheel itself is in handing over.
	Overdue time.Duration
	// Unexplained is how long the worst payment of now is past its due step with
	// neither a station nor a person at it; UnexplainedMax the worst since the wheel began.
	Unexplained, UnexplainedMax time.Duration
	// Standings, one a channel and state; in no order.
	Standings []Standing
	// Orphans found and not yet moved; at most 1,000.
	Orphans []Orphan
}

type gauges struct {
	overdue, unexplained, unexplainedMax prometheus.Gauge
	open, oldest, pastDeadline           *prometheus.GaugeVec
	unknownValue, orphans                *prometheus.GaugeVec
	shown                                map[standingKey]bool
	shownValue                           map[valueKey]bool
}

type standingKey struct {
	channel string
	state   pay.State
}

type valueKey struct {
	channel string
	asset   money.Asset
}

func newGauges(t *telemetry.Telemetry) gauges {
	return gauges{
		overdue:        t.Gauge("moneta_timer_overdue_seconds", "How late the timer wheel is in handing over due payments."),
		unexplained:    t.Gauge("moneta_unexplained_seconds", "How long the worst payment of now is past its due step with no station at it."),
		unexplainedMax: t.Gauge("moneta_unexplained_max_seconds", "The longest that any payment was past its due step with no station at it."),
		open:           t.GaugeVec("moneta_payments_nonterminal", "Open payments by channel and state.", "channel", "state"),
		oldest:         t.GaugeVec("moneta_oldest_nonterminal_age_seconds", "Age of the oldest open payment in its state.", "rail", "state"),
		pastDeadline:   t.GaugeVec("moneta_payments_past_deadline", "Open payments that should have left their state by now.", "channel", "state"),
		unknownValue:   t.GaugeVec("moneta_unknown_value_minor", "Value of payments in state unknown, in minor units, rounded.", "channel", "asset"),
		orphans:        t.GaugeVec("moneta_timer_orphans", "Open payments that no timer drives.", "kind"),
		shown:          make(map[standingKey]bool),
		shownValue:     make(map[valueKey]bool),
	}
}

// watch measures the wheel and compares it with the table until ctx ends.
func (w *Wheel) watch(ctx context.Context) {
	ticker := time.NewTicker(w.cfg.WatchEvery)
	defer ticker.Stop()
	look := newLook()
	for {
		if err := w.look(ctx, look); err != nil && ctx.Err() == nil {
			w.log.LogAttrs(ctx, slog.LevelError, "timer watch failed", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// look is one round of the watch.
func (w *Wheel) look(ctx context.Context, l *looking) error {
	s, value := w.measure()
	w.show(s, value)
	if w.cfg.Pool == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	return errors.Join(w.openCases(ctx, l), w.persist(ctx, l, s.UnexplainedMax), w.findOrphans(ctx, l))
}

const raiseMark = `insert into marks (name, value) values ($1, $2)
  on conflict (name) do update set value = excluded.value where marks.value < excluded.value`

// persist raises the mark; it is never lowered.
func (w *Wheel) persist(ctx context.Context, l *looking, worst time.Duration) error {
	if ms := worst.Milliseconds(); ms > l.persisted || !l.marked {
		if _, err := w.cfg.Pool.Exec(ctx, raiseMark, MarkUnexplained, ms); err != nil {
			return fmt.Errorf("raise %s: %w", MarkUnexplained, err)
		}
		l.persisted, l.marked = ms, true
	}
	return nil
}

// Snapshot measures the wheel. It costs a scan of all open payments.
func (w *Wheel) Snapshot() Snapshot {
	s, _ := w.measure()
	return s
}

// measure scans in chunks, so that the decider's hook never waits for long; what
// moves meanwhile may be counted twice or not at all.
func (w *Wheel) measure() (Snapshot, map[valueKey]money.Amount) {
	now := w.cfg.Clock.Now()
	standings := make(map[standingKey]*Standing)
	value := make(map[valueKey]money.Amount)
	ready := make(map[string]int)
	s := w.head(now)
	for from := 0; from >= 0; {
		from = w.scan(from, now, standings, value, ready)
	}
	w.ready.Store(&ready)
	for _, st := range standings {
		s.Standings = append(s.Standings, *st)
	}
	return s, value
}

func (w *Wheel) head(now time.Time) Snapshot {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := Snapshot{Open: len(w.heap)}
	if len(w.heap) > 0 {
		s.Overdue = max(now.Sub(w.heap[0].at), 0)
	}
	for id, e := range w.loose {
		if _, cased := w.cased[id]; !cased {
			s.Unexplained = max(s.Unexplained, now.Sub(e.p.NextAt))
		}
	}
	s.Cased = len(w.cased)
	w.lateness(s.Unexplained)
	s.UnexplainedMax = w.worst
	for _, o := range w.orphans {
		s.Orphans = append(s.Orphans, o)
	}
	return s
}

// scan measures a chunk and returns where the next one begins, or -1.
func (w *Wheel) scan(from int, now time.Time, standings map[standingKey]*Standing, value map[valueKey]money.Amount, ready map[string]int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	to := min(from+scanChunk, len(w.heap))
	for i := from; i < to; i++ {
		p := &w.heap[i].p
		k := standingKey{p.Channel, p.State}
		st := standings[k]
		if st == nil {
			st = &Standing{Channel: p.Channel, State: p.State}
			standings[k] = st
		}
		st.Open++
		if attemptable(p, now) {
			ready[p.Channel]++
		}
		st.Oldest = max(st.Oldest, now.Sub(p.EnteredAt))
		if now.After(p.Deadline) {
			st.PastDeadline++
		}
		if p.State == pay.Unknown {
			v := valueKey{p.Channel, p.Asset}
			if sum, err := value[v].Add(p.Amount); err == nil {
				value[v] = sum
			}
		}
	}
	if to >= len(w.heap) {
		return -1
	}
	return to
}

// readyAfter is how long a payout that could be attempted is nobody's delay.
const readyAfter = 2 * time.Second

// attemptable reports whether nothing but dispatch keeps the payout from its next attempt.
func attemptable(p *pay.Payment, now time.Time) bool {
	return p.State == pay.Reserved && p.Kind != pay.Hold && p.Channel != "" && now.Sub(firstDue(p)) > readyAfter
}

// Ready counts the payouts of a channel that could have been attempted for two seconds, as
// of the last look.
func (w *Wheel) Ready(channel string) int {
	if m := w.ready.Load(); m != nil {
		return (*m)[channel]
	}
	return 0
}

// show sets the gauges; what stood last time and stands no more becomes zero.
func (w *Wheel) show(s Snapshot, value map[valueKey]money.Amount) {
	g := &w.gauge
	g.overdue.Set(s.Overdue.Seconds())
	g.unexplained.Set(s.Unexplained.Seconds())
	g.unexplainedMax.Set(s.UnexplainedMax.Seconds())
	for k := range g.shown {
		g.set(k, Standing{})
	}
	for _, st := range s.Standings {
		k := standingKey{st.Channel, st.State}
		g.shown[k] = true
		g.set(k, st)
	}
	for k := range g.shownValue {
		g.unknownValue.WithLabelValues(k.channel, string(k.asset)).Set(0)
	}
	for k, amount := range value {
		g.shownValue[k] = true
		hi, lo := amount.Parts()
		//nolint:forbidigo // a metric is a float; no money is decided on it
		g.unknownValue.WithLabelValues(k.channel, string(k.asset)).Set(float64(hi)*(1<<64) + float64(lo))
	}
	g.showOrphans(s.Orphans)
}

func (g *gauges) set(k standingKey, st Standing) {
	g.open.WithLabelValues(k.channel, k.state.String()).Set(float64(st.Open))                 //nolint:forbidigo // a metric
	g.pastDeadline.WithLabelValues(k.channel, k.state.String()).Set(float64(st.PastDeadline)) //nolint:forbidigo // a metric
	g.oldest.WithLabelValues(k.channel, k.state.String()).Set(st.Oldest.Seconds())
}

func (g *gauges) showOrphans(orphans []Orphan) {
	count := map[string]int{unwatched: 0, stale: 0}
	for _, o := range orphans {
		count[o.Kind]++
	}
	for kind, n := range count {
		g.orphans.WithLabelValues(kind).Set(float64(n)) //nolint:forbidigo // a metric
	}
}
