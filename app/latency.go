package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/signal/metrics"
	"github.com/moneta-pay/moneta/doctor/signal/otlp"
	"github.com/moneta-pay/moneta/pay"
)

const (
	// tailOver is the window in which the slowest payments are looked at.
	tailOver = 15 * time.Minute
	// exemplarsMost is how many payments are tried before one is found that may be seen.
	exemplarsMost = 5
)

// LatencyLook is how long each hop took, as distributions, and whose the time of the
// slowest payments was.
type LatencyLook struct {
	At   time.Time    `json:"at"`
	Says string       `json:"says"`
	Hops []LatencyHop `json:"hops"`
	Tail otlp.Tail    `json:"tail"`
	Held otlp.Held    `json:"held"`
}

// LatencyHop is one hop's distribution; quantiles in seconds of the whole hour.
type LatencyHop struct {
	metrics.Heat
	EveryS float64 `json:"every_s"`
	Count  float64 `json:"count"`
	P50S   float64 `json:"p50_s"`
	P95S   float64 `json:"p95_s"`
	P99S   float64 `json:"p99_s"`
}

// latency is what is known now.
func (w *watch) latency(lang string) LatencyLook {
	now := w.clock.Now()
	out := LatencyLook{At: now.UTC(), Hops: []LatencyHop{}, Tail: w.traces.TailOf(now.Add(-tailOver)), Held: w.traces.Held()}
	if w.heats != nil {
		for _, h := range w.heats.All() {
			one := LatencyHop{Heat: h, EveryS: metrics.ColumnEvery.Seconds()}
			for _, n := range h.Total() {
				one.Count += n
			}
			for _, q := range []struct {
				of float64
				to *float64
			}{{.5, &one.P50S}, {.95, &one.P95S}, {.99, &one.P99S}} {
				*q.to, _ = h.Quantile(q.of)
			}
			out.Hops = append(out.Hops, one)
		}
	}
	slices.SortFunc(out.Hops, func(a, b LatencyHop) int { return otlp.Flow(a.Hop, b.Hop) })
	out.Says = latencySays(&out, lang)
	return out
}

func latencySays(l *LatencyLook, lang string) string {
	t := &l.Tail
	switch {
	case t.Traces == 0 && len(l.Hops) == 0:
		return say(lang, "latency-nothing")
	case t.Traces == 0 || len(t.Hops) == 0:
		return say(lang, "latency-no-traces")
	case t.Traces < 100:
		return say(lang, "latency-few", t.Traces, seconds(t.Slowest.TookS), hopSaid(lang, t.Hops[0].Hop), 100*t.Hops[0].Share)
	}
	return say(lang, "latency-tail", t.Tail, t.Traces, seconds(t.P99S), 100*t.Hops[0].Share, hopSaid(lang, t.Hops[0].Hop), 100*t.Hops[0].Usual)
}

// hopSaid is a hop as people call it; of some time nobody can say whose it was.
func hopSaid(lang, hop string) string {
	if hop == otlp.Unknown {
		return say(lang, "hop-unknown")
	}
	called := doctor.Called(hop)
	if lang == "zh" {
		return called.ZH
	}
	return called.EN
}

// seconds says a time as people read it.
func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	in := func(unit time.Duration, digits int) string {
		return strconv.FormatFloat(math.Round(float64(d)/float64(unit)*math.Pow10(digits))/math.Pow10(digits), 'f', -1, 64)
	}
	switch {
	case d < time.Millisecond:
		return in(time.Microsecond, 0) + " µs"
	case d < time.Second:
		return in(time.Millisecond, 1) + " ms"
	case d < time.Minute:
		return in(time.Second, 2) + " s"
	}
	return d.Round(time.Second).String()
}

// latencyRoutes are for the console; every viewer may ask, for nothing in it is anybody's.
//
//	GET /api/look/latency            the distributions of the last hour, and the tail of the last quarter
//	GET /api/look/latency/exemplar   ?hop= &from= &until= (RFC 3339) &low= &high= (seconds): a payment that shows it
func (w *watch) latencyRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/look/latency", func(rw http.ResponseWriter, r *http.Request) { answer(rw, w.latency(langOf(r))) })
	mux.HandleFunc("GET /api/look/latency/exemplar", w.lookExemplar)
}

// lookExemplar finds a payment for a cell, of those that the API shows to who asks.
func (w *watch) lookExemplar(rw http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	from, err1 := time.Parse(time.RFC3339, q.Get("from"))
	until, err2 := time.Parse(time.RFC3339, q.Get("until"))
	low, err3 := strconv.ParseFloat(cmp.Or(q.Get("low"), "0"), 64)
	high, err4 := strconv.ParseFloat(cmp.Or(q.Get("high"), "0"), 64)
	if err := errors.Join(err1, err2, err3, err4); err != nil || q.Get("hop") == "" || math.IsNaN(low+high) {
		refuse(rw, http.StatusBadRequest, "malformed-request", "name hop, from and until as RFC 3339, low and high in seconds")
		return
	}
	for _, e := range w.traces.Exemplars(q.Get("hop"), from, until, low, high, exemplarsMost) {
		if w.shows(r, e.Payment) {
			answer(rw, e)
			return
		}
	}
	refuse(rw, http.StatusNotFound, "not-found", "no trace of a payment from this time is kept that you may see: only some are recorded")
}

// shows reports whether who asks may see the payment, without a word when not.
func (w *watch) shows(r *http.Request, payment string) bool {
	id, err := pay.ParseID(payment)
	if err != nil {
		return false
	}
	if v, _ := visitorOf(r.Context()); v.Tenant == 0 { // who may read the data folder sees all
		return true
	}
	a, _, err := w.askAs(r, "/v1/payments/"+id.String())
	return err == nil && a.status == http.StatusOK
}

// LatencyConfig is what `moneta latency` was asked for.
type LatencyConfig struct {
	DataDir string
	// Hop has its distribution drawn; empty draws none.
	Hop  string
	JSON bool
	Lang string
	Out  io.Writer
}

// Latency shows how long each hop took, and whose the time of the slowest payments was.
func Latency(ctx context.Context, c LatencyConfig) error {
	raw, err := askWatch(ctx, c.DataDir, "/latency?lang="+c.Lang, c.Lang)
	if err != nil {
		return err
	}
	if c.JSON {
		_, err := c.Out.Write(raw)
		return err
	}
	var l LatencyLook
	if err := json.Unmarshal(raw, &l); err != nil {
		return fmt.Errorf("the watch answered something else: %w", err)
	}
	return l.print(c.Out, c.Hop, c.Lang)
}

// askWatch asks the running watch; none is ExitUnclear, with what to do.
func askWatch(ctx context.Context, dataDir, path, lang string) ([]byte, error) {
	w, err := findWatch(dataDir)
	if err == nil {
		var raw []byte
		if raw, err = w.get(ctx, path); err == nil {
			return raw, nil
		}
	}
	if errors.Is(err, errNoWatch) {
		return nil, &ExitError{Code: ExitUnclear, Message: say(lang, "diag-no-watch", err)}
	}
	return nil, err
}

func (l *LatencyLook) print(out io.Writer, hop, lang string) error {
	fmt.Fprintln(out, l.Says)
	if len(l.Hops) > 0 {
		t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(t, say(lang, "latency-head"))
		for i := range l.Hops {
			h := &l.Hops[i]
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%.0f\t\n", h.Hop, seconds(h.P50S), seconds(h.P95S), seconds(h.P99S), h.Count)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if len(l.Tail.Hops) > 0 {
		fmt.Fprint(out, say(lang, "latency-tail-head", l.Tail.Tail, l.Tail.Traces))
		for _, p := range l.Tail.Hops {
			fmt.Fprintf(out, "%5.1f %%  (%4.1f %%)  %s\n", 100*p.Share, 100*p.Usual, p.Hop)
		}
		if s := l.Tail.Slowest; s != nil {
			fmt.Fprint(out, say(lang, "latency-slowest", s.Payment, seconds(s.TookS)))
		}
	}
	for i := range l.Hops {
		if h := &l.Hops[i]; h.Hop == hop {
			return h.draw(out)
		}
	}
	if hop != "" {
		return fmt.Errorf("no request of %s was counted in the last hour", hop)
	}
	return nil
}

// shades are how much of a column's busiest row a cell has.
const shades = " ░▒▓█"

// draw shows the distribution as text: time from left to right, slow above.
func (h *LatencyHop) draw(out io.Writer) error {
	most := 0.0
	for _, c := range h.Columns {
		most = max(most, slices.Max(c.Counts))
	}
	steps := []rune(shades)
	for row := len(h.Bounds); row >= 0; row-- {
		name := "> " + seconds(h.Bounds[len(h.Bounds)-1])
		if row < len(h.Bounds) {
			name = "≤ " + seconds(h.Bounds[row])
		}
		var line strings.Builder
		for _, c := range h.Columns {
			// By the logarithm: one slow request among a thousand is to be seen.
			shade := 0
			if c.Counts[row] > 0 {
				shade = 1 + int(math.Round(math.Log1p(c.Counts[row])/math.Log1p(most)*float64(len(steps)-2)))
			}
			line.WriteRune(steps[min(shade, len(steps)-1)])
		}
		if _, err := fmt.Fprintf(out, "%10s |%s|\n", name, line.String()); err != nil {
			return err
		}
	}
	return nil
}
