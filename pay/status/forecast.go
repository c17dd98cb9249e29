package status

import (
	"sync"
	"time"

	"github.com/moneta-pay/moneta/pay"
)

// The bases of a forecast.
const (
	ByHistory = "history"
	ByBound   = "bound"
	ByNothing = "none"
)

// ThinBelow is how many past payments that took at least as long a forecast by
// history needs.
const ThinBelow = 50

// perSecond bounds the durations that a full window takes in a second, so that it
// spans minutes even at thousands of payments a second.
const perSecond = 16

// Duration is how long one payment took from its acceptance to its final state.
type Duration struct {
	Kind    pay.Kind
	Channel string
	Took    time.Duration
	// At is when it became final.
	At time.Time
}

// Forecast is what an Outlook knows of one open payment; the zero value knows
// nothing.
type Forecast struct {
	Basis string
	// P50 and P90 are zero unless the basis is ByHistory.
	P50, P90 time.Time
	// P95 of all durations of the kind and channel; zero when there are too few, or
	// they have not been watched for long enough.
	P95 time.Duration
	// FinalRecordAt is zero when nothing was sent or the rail promises nothing.
	FinalRecordAt time.Time
}

func (f Forecast) eta() *ETA {
	if f.Basis == "" {
		f.Basis = ByNothing
	}
	return &ETA{Basis: f.Basis, P50: moment(f.P50), P90: moment(f.P90), FinalRecordAt: moment(f.FinalRecordAt)}
}

// Outlook forecasts the end of open payments, by kind and channel: the quantiles
// of past durations, given the payment's age, or the rail's own bound. It is safe
// for concurrent use and holds no lock across a call.
type Outlook struct {
	bounds map[string]time.Duration
	// judged is told whether the p90 that was stated at acceptance held.
	judged func(kind, channel string, held bool)

	mu      sync.Mutex
	windows map[windowKey]*window // at most one a kind and channel of bounds
}

type windowKey struct {
	kind    pay.Kind
	channel string
}

// NewOutlook knows the channels of bounds: how long after sending each promises a
// final answer, 0 for no promise. judged may be nil; it is called for payments
// given to Note, and must not block.
func NewOutlook(bounds map[string]time.Duration, judged func(kind, channel string, held bool)) *Outlook {
	return &Outlook{bounds: bounds, judged: judged, windows: map[windowKey]*window{}}
}

// Took is how long p took, and whether that says anything about others: a send is
// done at once, and what its holder cancelled never ran its course.
func Took(p *pay.Payment) (Duration, bool) {
	d := Duration{Kind: p.Kind, Channel: p.Channel, Took: p.EnteredAt.Sub(p.CreatedAt), At: p.EnteredAt}
	ended := p.State == pay.Succeeded || p.State == pay.Failed
	return d, ended && p.Kind != pay.Send && p.Settlement != pay.SettlementMatched && d.Took >= 0
}

// Note takes the durations of those payments that have just become final. Give it
// every payment once in each of its states.
func (o *Outlook) Note(changed []pay.Payment) {
	for i := range changed {
		if d, ok := Took(&changed[i]); ok {
			o.note(d)
		}
	}
}

func (o *Outlook) note(d Duration) {
	o.mu.Lock()
	w := o.window(d.Kind, d.Channel)
	if w == nil || !w.admits(d.At.Unix()) {
		o.mu.Unlock()
		return
	}
	stated, _ := w.quantile(0, 900)
	_, ok := w.p95(d.At)
	w.add(d.Took, d.At)
	o.mu.Unlock()
	if ok && o.judged != nil {
		o.judged(d.Kind.String(), d.Channel, d.Took <= stated)
	}
}

// Replace forgets what was noted and takes past, the newest first.
func (o *Outlook) Replace(past []Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.windows)
	for i := len(past) - 1; i >= 0; i-- {
		if w := o.window(past[i].Kind, past[i].Channel); w != nil && w.admits(past[i].At.Unix()) {
			w.add(past[i].Took, past[i].At)
		}
	}
}

// window returns nil for a channel that is not known; o.mu is held.
func (o *Outlook) window(kind pay.Kind, channel string) *window {
	if _, known := o.bounds[channel]; !known {
		return nil
	}
	key := windowKey{kind, channel}
	w := o.windows[key]
	if w == nil {
		w = &window{}
		o.windows[key] = w
	}
	return w
}

// Forecast tells when p will be final, as seen at now. A nil Outlook and a
// payment that is final have none.
func (o *Outlook) Forecast(p *pay.Payment, now time.Time) Forecast {
	f := Forecast{Basis: ByNothing}
	if o == nil || !p.Open() {
		return f
	}
	if bound := o.bounds[p.Channel]; bound > 0 && p.Attempt.State.Live() {
		f.FinalRecordAt = p.Attempt.SendBy.Add(bound)
		f.Basis = ByBound
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.windows[windowKey{p.Kind, p.Channel}]
	if w == nil {
		return f
	}
	p95, trusted := w.p95(now)
	if !trusted {
		return f
	}
	f.P95 = p95
	age := max(now.Sub(p.CreatedAt), 0)
	p50, enough := w.quantile(age, 500)
	if !enough {
		return f
	}
	p90, _ := w.quantile(age, 900)
	f.Basis, f.P50, f.P90 = ByHistory, p.CreatedAt.Add(p50), p.CreatedAt.Add(p90)
	return f
}
