package app

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/river"
	"github.com/moneta-pay/moneta/doctor/signal"
	"github.com/moneta-pay/moneta/internal/lifecycle"
)

const (
	// contractsEvery is the time between two looks at what channels claim: it changes with
	// the configuration and with a test of a channel.
	contractsEvery = 30 * time.Second
	// courseStep thins a course of a quarter of an hour.
	courseStep = 5 * time.Second
)

// ChannelLook is how one channel does, from our side of it: GET /api/look/channels.
type ChannelLook struct {
	Name  string       `json:"name"`
	State river.State  `json:"state"`
	Since time.Time    `json:"since"`
	Why   *doctor.Text `json:"why,omitempty"`
	// BreakerOpen is our own breaker; Paused are the levers that hold the channel.
	BreakerOpen bool          `json:"breaker_open"`
	Paused      []river.Pause `json:"paused,omitempty"`
	// Latency of one order in seconds, by quantile; a quantile of nothing is left out.
	Latency map[string]float64 `json:"latency_s"`
	// Mix is what its answers of late were, as shares that add up to 1; nil: it was not
	// called.
	Mix map[string]float64 `json:"mix,omitempty"`
	// RateS are calls a second, BusyShare how much of our bulkhead is in use.
	RateS     *float64 `json:"rate_s,omitempty"`
	BusyShare *float64 `json:"busy,omitempty"`
	// Declines is the share of the orders that it declined: an answer, and no fault.
	Declines     *float64 `json:"declines,omitempty"`
	CallbackS    *float64 `json:"callbacks_s,omitempty"`
	CallbackLagS *float64 `json:"callback_lag_s,omitempty"`
	// Queued wait to be sent there, Open are with it, Unknown are those whose outcome
	// nobody knows.
	Queued  *river.Pile `json:"queued,omitempty"`
	Open    *river.Pile `json:"open,omitempty"`
	Unknown *river.Pile `json:"unknown,omitempty"`
	// Held are with it too, and wait for somebody: a payer, or whoever has the case.
	Held int64 `json:"held,omitempty"`
	// Contract is what it claims, and what of it was shown; nil where the watch does not
	// know the settings of serve.
	Contract *claims `json:"contract,omitempty"`
	// Course is the last quarter of an hour, only of one channel.
	Course *channelCourse `json:"course,omitempty"`
}

// channelCourse has one value a step; nil is a step in which nothing was told.
type channelCourse struct {
	At      []time.Time           `json:"at"`
	Latency map[string][]*float64 `json:"latency_s"`
	Mix     map[string][]*float64 `json:"mix"`
	RateS   []*float64            `json:"rate_s"`
}

// answers are the parts of a mix that no answer is good in, by signal; an answer of the
// 5xx that is no gateway's is its own.
var answers = map[string]doctor.Signal{
	"timeout": doctor.Timeouts, "unreachable": doctor.Unreachable, "gateway": doctor.GatewayFails, "5xx": doctor.Status5xx,
	"429": doctor.Status429, "4xx": doctor.Status4xx, "unreadable": doctor.BadBodies,
}

// channelRoutes tell of channels. Every viewer may ask.
//
//	GET /api/look/channels          all of them, as they are now
//	GET /api/look/channels/{name}   one, with the last quarter of an hour
func (w *watch) channelRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/look/channels", func(rw http.ResponseWriter, _ *http.Request) {
		answer(rw, map[string]any{"at": w.clock.Now().UTC(), "channels": w.channelLooks()})
	})
	mux.HandleFunc("GET /api/look/channels/{name}", func(rw http.ResponseWriter, r *http.Request) {
		for _, c := range w.channelLooks() {
			if c.Name == r.PathValue("name") {
				c.Course = w.course(c.Name)
				answer(rw, c)
				return
			}
		}
		http.Error(rw, "there is no such channel; GET /api/look/channels lists them", http.StatusNotFound)
	})
}

// channelLooks joins the map of now, what the signals say and what the channels claim.
func (w *watch) channelLooks() []ChannelLook {
	out := []ChannelLook{}
	var m river.Map
	if raw := w.river.Newest(); raw != nil {
		if err := json.Unmarshal(raw, &m); err != nil {
			w.log.Error("the map cannot be read", slog.Any("error", err))
		}
	}
	lanes := map[string]map[string]*river.Pile{doctor.HopDispatch: {}, doctor.HopSettle: {}}
	for i := range m.Hops {
		for j := range m.Hops[i].Lanes {
			if at := lanes[m.Hops[i].Name]; at != nil {
				l := &m.Hops[i].Lanes[j]
				at[l.Channel] = &l.Pile
			}
		}
	}
	known := w.claimed()
	for i := range m.Hops {
		h := &m.Hops[i]
		if h.Kind != doctor.Channel {
			continue
		}
		c := ChannelLook{Name: h.Name, State: h.State, Since: h.Since, Why: h.Why, Paused: heldFor(&m, h.Name), Open: h.Pile, Held: h.Held, Queued: lanes[doctor.HopDispatch][h.Name], Unknown: lanes[doctor.HopSettle][h.Name], Contract: known[h.Name]}
		w.signalsOf(&c)
		out = append(out, c)
	}
	for name, k := range known { // claimed, and nothing was ever sent there
		if !slices.ContainsFunc(out, func(c ChannelLook) bool { return c.Name == name }) {
			c := ChannelLook{Name: name, State: river.Unknown, Since: w.clock.Now().UTC(), Paused: heldFor(&m, name), Latency: map[string]float64{}, Contract: k}
			c.Why = &doctor.Text{EN: "nothing was heard of it yet", ZH: "尚未收到任何信息"}
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b ChannelLook) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return out
}

// heldFor are the levers that hold back what would go by the channel.
func heldFor(m *river.Map, name string) (out []river.Pause) {
	for i := range m.Hops {
		if m.Hops[i].Name != doctor.HopDispatch {
			continue
		}
		for _, p := range m.Hops[i].Paused {
			if p.Aim == "everything" || p.Aim == "channel:"+name {
				out = append(out, p)
			}
		}
	}
	return out
}

// lately is how old a figure may be and still be shown as that of now: a channel that is
// not called tells nothing new.
const lately = 30 * time.Second

func (w *watch) signalsOf(c *ChannelLook) {
	now := w.clock.Now()
	get := func(s doctor.Signal, statistic string) *float64 {
		v, at, ok := w.memory.Newest(c.Name, s, statistic)
		if !ok || now.Sub(at) > lately {
			return nil
		}
		return &v
	}
	c.Latency = map[string]float64{}
	for _, q := range []string{"p50", "p95", "p99"} {
		if v := get(doctor.Latency, q); v != nil {
			c.Latency[q] = *v
		}
	}
	c.RateS, c.BusyShare, c.Declines = get(doctor.Rate, ""), get(doctor.Busy, ""), get(doctor.Declines, "")
	c.CallbackS, c.CallbackLagS = get(doctor.Callbacks, ""), get(doctor.CallbackLag, "")
	if v := get(doctor.BreakerOpen, ""); v != nil {
		c.BreakerOpen = *v > 0
	}
	if bad := get(doctor.Errors, ""); bad != nil {
		parts := map[string]float64{}
		for name, s := range answers {
			if v := get(s, ""); v != nil {
				parts[name] = *v
			}
		}
		c.Mix = mix(*bad, parts)
	}
}

// mix makes shares that add up to 1: the good answers, each kind of bad one, and the bad
// ones that nothing tells the kind of. An answer may be of two kinds, such as a gateway's
// page that cannot be read: then the kinds share what was bad.
func mix(bad float64, parts map[string]float64) map[string]float64 {
	bad = min(max(bad, 0), 1)
	sum := 0.0
	for _, v := range parts {
		sum += v
	}
	scale := 1.0
	if sum > bad && sum > 0 {
		scale = bad / sum
	}
	out := map[string]float64{"good": 1 - bad}
	for name, v := range parts {
		if v > 0 {
			out[name] = v * scale
		}
	}
	if rest := bad - sum*scale; rest > 1e-9 {
		out["other"] = rest
	}
	return out
}

// course is the last quarter of an hour of one channel, a value each courseStep.
func (w *watch) course(name string) *channelCourse {
	until := w.clock.Now().UTC().Truncate(courseStep)
	from := until.Add(-signal.Kept)
	n := int(signal.Kept/courseStep) + 1
	c := &channelCourse{Latency: map[string][]*float64{}, Mix: map[string][]*float64{}, RateS: make([]*float64, n)}
	for i := range n {
		c.At = append(c.At, from.Add(time.Duration(i)*courseStep))
	}
	lines := func(s doctor.Signal, statistic string) []*float64 {
		out := make([]*float64, n)
		for _, l := range w.memory.Lines(name, s, from) {
			if l.Statistic != statistic || l.Peer != "" {
				continue
			}
			for i, at := range l.At {
				step := int(math.Round(at.Sub(from).Seconds() / courseStep.Seconds()))
				if step >= 0 && step < n {
					v := l.Values[i]
					out[step] = &v
				}
			}
		}
		return out
	}
	for _, q := range []string{"p50", "p95", "p99"} {
		c.Latency[q] = lines(doctor.Latency, q)
	}
	c.RateS = lines(doctor.Rate, "")
	bad := lines(doctor.Errors, "")
	kinds := map[string][]*float64{}
	for part, s := range answers {
		kinds[part] = lines(s, "")
	}
	for _, part := range append([]string{"good", "other"}, slices.Collect(maps.Keys(answers))...) {
		c.Mix[part] = make([]*float64, n)
	}
	for i := range n {
		if bad[i] == nil {
			continue
		}
		parts := map[string]float64{}
		for part, line := range kinds {
			if line[i] != nil {
				parts[part] = *line[i]
			}
		}
		of := mix(*bad[i], parts)
		for part, line := range c.Mix {
			v := of[part]
			line[i] = &v
		}
	}
	return c
}

// claimed is what the channels claim, as it was asked last.
func (w *watch) claimed() map[string]*claims {
	if all := w.contracts.Load(); all != nil {
		return *all
	}
	return nil
}

// followContracts asks beside whoever looks: a database that hangs keeps no screen from
// being shown, and what was known before stays.
func (w *watch) followContracts(ctx context.Context) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	w.stops = append(w.stops, func(context.Context) error { cancel(); <-done; return nil })
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if all := w.askClaims(ctx); all != nil {
				w.contracts.Store(&all)
			}
			_ = lifecycle.Pause(ctx, contractsEvery) // the loop sees that ctx ended
		}
	}()
}

func (w *watch) askClaims(ctx context.Context) map[string]*claims {
	if w.cfg.Config == "" && w.cfg.SandboxURL == "" {
		return nil
	}
	channels, err := ChannelsOf(w.cfg.Config, w.cfg.SandboxURL, w.cfg.DataDir)
	if err != nil {
		w.log.WarnContext(ctx, "what channels claim is not known", slog.Any("error", err))
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	c := ChannelConfig{Database: Database{DSN: w.cfg.DSN, DataDir: w.cfg.DataDir}, Channels: channels}
	all, err := c.claims(ctx)
	if err != nil {
		w.log.WarnContext(ctx, "what was shown of channels is not known", slog.Any("error", err))
		return nil
	}
	out := make(map[string]*claims, len(all))
	for i := range all {
		out[string(all[i].Channel)] = &all[i]
	}
	return out
}
