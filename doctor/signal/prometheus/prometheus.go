// Package prometheus asks a Prometheus that is there already for signals, so that a wallet
// which is not ours can be watched without a new agent: one instant query a signal, named in
// a file by whoever knows its metrics.
//
// It refuses to fill in: a query without an answer, with a value that is no number, or whose
// newest sample is older than StaleAfter gives no point, and a missing point is never health.
// Answers, time and series are bounded.
package prometheus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/internal/clock"
)

const (
	// Every is the time between two rounds: a Prometheus scrapes every 15 s, as a rule, and
	// more questions give no more answers.
	Every = 5 * time.Second
	// StaleAfter is how old a sample may be.
	StaleAfter = time.Minute

	queriesMax = 200
	seriesMax  = 64 // of one query
	bodyMax    = 1 << 20
	fileMax    = 1 << 20
	askWithin  = 2 * time.Second
	atOnce     = 4
)

// Query is one signal, and how it is asked for.
type Query struct {
	// Hop is whose signal it is, and Kind what that is. With HopLabel each series is the hop
	// that its label names.
	Hop      string      `json:"hop"`
	HopLabel string      `json:"hop_label"`
	Kind     doctor.Kind `json:"kind"`
	// Peer is set for a signal of the call Hop to Peer.
	Peer      string        `json:"peer"`
	Signal    doctor.Signal `json:"signal"`
	Statistic string        `json:"statistic"`
	// PromQL gives the signal in its own unit (docs/telemetry.md has them).
	PromQL string `json:"promql"`
}

// File is what a wallet's file says.
type File struct {
	Signals []Query       `json:"signals"`
	Calls   []doctor.Call `json:"calls"`
}

// ReadFile reads and checks it; an error names the entry that is wrong.
func ReadFile(r io.Reader) (*File, error) {
	raw, err := io.ReadAll(io.LimitReader(r, fileMax+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > fileMax {
		return nil, fmt.Errorf("longer than %d kB", fileMax>>10)
	}
	var f File
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return nil, fmt.Errorf("want {\"signals\": [{hop, kind, signal, promql}], \"calls\": [{from, to}]}: %w", err)
	}
	if len(f.Signals) == 0 || len(f.Signals) > queriesMax {
		return nil, fmt.Errorf("%d signals: name 1 to %d", len(f.Signals), queriesMax)
	}
	for i := range f.Signals {
		q := &f.Signals[i]
		_, known := q.Signal.Info()
		switch {
		case (q.Hop == "") == (q.HopLabel == ""):
			return nil, fmt.Errorf("signal %d: name either hop or hop_label", i+1)
		case !slices.Contains(doctor.Kinds(), q.Kind):
			return nil, fmt.Errorf("signal %d: kind %q is none of %v", i+1, q.Kind, doctor.Kinds())
		case !known:
			return nil, fmt.Errorf("signal %d: there is no signal %q; docs/telemetry.md has them", i+1, q.Signal)
		case strings.TrimSpace(q.PromQL) == "":
			return nil, fmt.Errorf("signal %d: promql is missing", i+1)
		}
	}
	return &f, nil
}

// Config says whom to ask what.
type Config struct {
	// URL of the Prometheus, such as http://prometheus:9090; a user and password in it are
	// sent as such.
	URL  string
	File *File
	// Clock tells the time; nil means the system's.
	Clock clock.Clock
}

// Collector asks one Prometheus.
type Collector struct {
	cfg    Config
	client *http.Client
}

// New checks the address; it opens no connection.
func New(cfg Config) (*Collector, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%q is no URL of a Prometheus, such as http://127.0.0.1:9090", cfg.URL)
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	return &Collector{cfg: cfg, client: &http.Client{
		Transport:     &http.Transport{DialContext: (&net.Dialer{Timeout: askWithin}).DialContext, MaxConnsPerHost: atOnce, IdleConnTimeout: 30 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Name implements doctor.Collector.
func (*Collector) Name() string { return "prometheus" }

// Every implements doctor.Collector.
func (*Collector) Every() time.Duration { return Every }

// Close ends idle connections.
func (c *Collector) Close() { c.client.CloseIdleConnections() }

// Look implements doctor.Collector. What was answered is kept when a query fails; the error
// names the first one that did.
func (c *Collector) Look(ctx context.Context) (doctor.Look, error) {
	all := c.cfg.File.Signals
	answers, errs := make([][]doctor.Point, len(all)), make([]error, len(all))
	var wait sync.WaitGroup
	next := make(chan int)
	for range min(atOnce, len(all)) {
		wait.Go(func() {
			for i := range next {
				answers[i], errs[i] = c.ask(ctx, &all[i])
			}
		})
	}
	for i := range all {
		next <- i
	}
	close(next)
	wait.Wait()
	out := doctor.Look{Calls: c.cfg.File.Calls}
	known := map[string]bool{}
	hop := func(name string, kind doctor.Kind) {
		if name != "" && !known[name] {
			known[name] = true
			out.Hops = append(out.Hops, doctor.Hop{Name: name, Kind: kind})
		}
	}
	for i := range all {
		hop(all[i].Hop, all[i].Kind)
		for _, p := range answers[i] {
			hop(p.Hop, all[i].Kind)
		}
		out.Points = append(out.Points, answers[i]...)
		if errs[i] != nil {
			out.Notes = append(out.Notes, fmt.Sprintf("Prometheus gave no answer to %.120s", all[i].PromQL))
		}
	}
	for _, of := range c.cfg.File.Calls { // a hop of which only calls are told is known from outside
		hop(of.From, doctor.Remote)
		hop(of.To, doctor.Remote)
	}
	return out, errors.Join(errs...)
}

// answer of the HTTP API: https://prometheus.io/docs/prometheus/latest/querying/api/
type answer struct {
	Status string `json:"status"`
	Error  string `json:"error"`
	Data   struct {
		ResultType string          `json:"resultType"`
		Result     json.RawMessage `json:"result"`
	} `json:"data"`
}

type series struct {
	Metric map[string]string  `json:"metric"`
	Value  [2]json.RawMessage `json:"value"`
}

func (c *Collector) ask(ctx context.Context, q *Query) ([]doctor.Point, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	form := url.Values{"query": {q.PromQL}, "timeout": {askWithin.String()}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(c.cfg.URL, "/")+"/api/v1/query", strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask Prometheus: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, bodyMax+1))
	if err != nil {
		return nil, fmt.Errorf("the answer of Prometheus broke off: %w", err)
	}
	var a answer
	if len(raw) > bodyMax || json.Unmarshal(raw, &a) != nil {
		return nil, fmt.Errorf("a Prometheus answered %s with something else to %.120s", resp.Status, q.PromQL)
	}
	if a.Status != "success" {
		return nil, fmt.Errorf("a Prometheus refuses %.120s: %.200s", q.PromQL, a.Error)
	}
	return c.points(q, &a)
}

func (c *Collector) points(q *Query, a *answer) ([]doctor.Point, error) {
	var all []series
	switch a.Data.ResultType {
	case "vector":
		if err := json.Unmarshal(a.Data.Result, &all); err != nil {
			return nil, fmt.Errorf("the answer of Prometheus to %.120s: %w", q.PromQL, err)
		}
	case "scalar":
		var one series
		if err := json.Unmarshal(a.Data.Result, &one.Value); err != nil {
			return nil, fmt.Errorf("the answer of Prometheus to %.120s: %w", q.PromQL, err)
		}
		all = append(all, one)
	default:
		return nil, fmt.Errorf("%.120s gives a %q: ask for a vector or a scalar", q.PromQL, a.Data.ResultType)
	}
	if len(all) > seriesMax || q.HopLabel == "" && len(all) > 1 {
		return nil, fmt.Errorf("%.120s gives %d series: sum them up, or name a hop_label; %d at most", q.PromQL, len(all), seriesMax)
	}
	now := c.cfg.Clock.Now()
	var out []doctor.Point
	for i := range all {
		value, at, ok := all[i].read()
		hop := q.Hop
		if q.HopLabel != "" {
			hop = all[i].Metric[q.HopLabel]
		}
		if !ok || hop == "" || now.Sub(at) > StaleAfter || value < 0 {
			continue // missing, and never zero
		}
		out = append(out, doctor.Point{Hop: hop, Peer: q.Peer, Signal: q.Signal, Statistic: q.Statistic, Value: value, At: at, Source: q.PromQL})
	}
	return out, nil
}

func (s *series) read() (value float64, at time.Time, ok bool) {
	var seconds float64
	var text string
	if json.Unmarshal(s.Value[0], &seconds) != nil || json.Unmarshal(s.Value[1], &text) != nil {
		return 0, at, false
	}
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(value) || math.IsInf(value, 0) {
		return 0, at, false
	}
	return value, time.UnixMilli(int64(seconds * 1000)).UTC(), true
}
