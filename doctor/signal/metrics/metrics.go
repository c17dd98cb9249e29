// Package metrics scrapes the Prometheus endpoint of a serve process and turns its
// counters into signals: rates and shares of the last seconds, quantiles of what ended in
// them, and what stands at this moment. A counter that fell was started anew and says
// nothing about the seconds before. It refuses to keep history, to invent a share where
// nothing happened, and to read an answer without bound.
//
// What it costs (BenchmarkLook, a registry like serve's on two loud cores): 12 ms a scrape
// together, here and at the process, which is 1.2 % of one processor. It asks for the
// binary form, which is cheaper to write and to read than the text.
package metrics

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/encoding/protodelim"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/internal/clock"
)

// Every is the time between two looks.
const Every = time.Second

const (
	// lookMax bounds one scrape: a process that takes longer to tell how it is does not
	// answer.
	lookMax = 2 * time.Second
	// bodyMax bounds an answer, in bytes.
	bodyMax = 8 << 20
	// kept is how many scrapes are remembered.
	kept = 61
)

// The windows over which is counted: the shortest in which enough happened.
var windows = [...]time.Duration{5 * time.Second, 15 * time.Second, 60 * time.Second}

// enough is how many events make a share.
const enough = 5

// Config says what to scrape.
type Config struct {
	// URL of the metrics, such as http://127.0.0.1:8080/metrics.
	URL string
	// Channels are names that may appear as channels; empty takes what appears.
	Channels []string
	// Remote says that the process runs on another machine: its starts are then told from
	// its metrics, for nobody else sees them.
	Remote bool
	// Clock tells the time; nil means the system's.
	Clock clock.Clock
}

// Collector scrapes. Its Look must not be called twice at once.
type Collector struct {
	cfg    Config
	client *http.Client
	seen   []*scrape // oldest first
	starts starts
	heats  Heats
}

// starts are those of the process, as its metrics tell.
type starts struct {
	last  float64
	count int
}

// New returns a collector that has not looked yet. Close it at the end.
func New(cfg Config) *Collector {
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	return &Collector{cfg: cfg, client: &http.Client{
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: lookMax}).DialContext,
			MaxIdleConnsPerHost: 1, MaxConnsPerHost: 2, IdleConnTimeout: 30 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Name of the collector.
func (*Collector) Name() string { return "metrics" }

// Heats are the distributions of how long hops took, over the last hour.
func (c *Collector) Heats() *Heats { return &c.heats }

// Every is the package's.
func (*Collector) Every() time.Duration { return Every }

// Close drops the idle connection.
func (c *Collector) Close() { c.client.CloseIdleConnections() }

// Look scrapes once. That nobody answers is told as Up, and with an error.
func (c *Collector) Look(ctx context.Context) (doctor.Look, error) {
	ctx, cancel := context.WithTimeout(ctx, lookMax)
	defer cancel()
	at := c.cfg.Clock.Now()
	l := &look{at: at}
	l.hop(doctor.HopServe, doctor.Service)
	s, err := c.scrape(ctx, at)
	if err != nil {
		l.tell(doctor.HopServe, doctor.Up, "", 0, c.cfg.URL, map[string]string{"why": whyNot(err)})
		return l.Look, err
	}
	l.tell(doctor.HopServe, doctor.Up, "", 1, c.cfg.URL, nil)
	c.remember(s)
	w := &view{look: l, all: c.seen, now: s}
	if c.cfg.Remote {
		c.lives(w)
	}
	w.runtime()
	w.pools()
	w.loops()
	w.edge()
	w.decider()
	w.stations()
	w.channels(c.cfg.Channels)
	w.callers()
	return l.Look, nil
}

// whyNot names in one word why nobody answered.
func whyNot(err error) string {
	var network net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "timeout"
	case isRefused(err):
		return "refused"
	}
	return "other"
}

// accept asks for the binary form and takes the text.
const accept = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,text/plain;version=0.0.4;q=0.3"

func (c *Collector) scrape(ctx context.Context, at time.Time) (*scrape, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.cfg.URL, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("scrape: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end, or given up
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("scrape of %s: %s", c.cfg.URL, resp.Status)
	}
	body := &io.LimitedReader{R: resp.Body, N: bodyMax}
	s, err := read(body, expfmt.ResponseFormat(resp.Header), at)
	if err == nil && body.N == 0 {
		err = fmt.Errorf("the answer is longer than %d MB", bodyMax>>20)
	}
	if err != nil {
		return nil, fmt.Errorf("scrape of %s: %w", c.cfg.URL, err)
	}
	return s, nil
}

// read decodes an exposition. What is no number is left out.
func read(r io.Reader, format expfmt.Format, at time.Time) (*scrape, error) {
	s := newScrape(at)
	decode := expfmt.NewDecoder(r, format).Decode
	if format.FormatType() == expfmt.TypeProtoDelim {
		decode = bounded(r)
	}
	for {
		var f dto.MetricFamily
		err := decode(&f)
		if errors.Is(err, io.EOF) {
			return s, nil
		}
		if err != nil {
			return nil, err
		}
		s.add(&f)
	}
}

// bounded decodes the binary form like expfmt does, but believes no length above the
// bound: expfmt would make room for whatever a family claims to be.
func bounded(r io.Reader) func(*dto.MetricFamily) error {
	in := bufio.NewReader(r)
	options := protodelim.UnmarshalOptions{MaxSize: bodyMax}
	return func(f *dto.MetricFamily) error { return options.UnmarshalFrom(in, f) }
}

// remember keeps the scrape, and only it when the counters began anew.
func (c *Collector) remember(s *scrape) {
	if n := len(c.seen); n > 0 && (s.restarted(c.seen[n-1]) || !s.at.After(c.seen[n-1].at)) {
		c.seen = nil
	}
	if n := len(c.seen); n > 0 {
		c.heats.take(c.seen[n-1], s)
	}
	if len(c.seen) >= kept {
		c.seen = append(c.seen[:0], c.seen[1:]...)
	}
	c.seen = append(c.seen, s)
}

// lives tells of the process's starts.
func (c *Collector) lives(w *view) {
	began := w.gauge("process_start_time_seconds", nil)
	if math.IsNaN(began) || began <= 0 {
		return
	}
	if c.starts.last != 0 && began > c.starts.last+0.5 {
		c.starts.count++
	}
	c.starts.last = began
	const source = "process_start_time_seconds"
	w.tell(doctor.HopServe, doctor.Restarts, "", float64(c.starts.count), source, nil)
	w.tell(doctor.HopServe, doctor.Uptime, "", float64(w.now.at.UnixNano())/1e9-began, source, nil)
}

// look is a look in the making.
type look struct {
	doctor.Look
	at time.Time
}

func (l *look) hop(name string, kind doctor.Kind) {
	for _, h := range l.Hops {
		if h.Name == name {
			return
		}
	}
	l.Hops = append(l.Hops, doctor.Hop{Name: name, Kind: kind})
}

// most is far above any real figure; an evidence holds none above it.
const most = 1e15

func (l *look) tell(hop string, signal doctor.Signal, statistic string, value float64, source string, detail map[string]string) {
	if math.IsNaN(value) || math.Abs(value) > most {
		return
	}
	l.Points = append(l.Points, doctor.Point{
		Hop: hop, Signal: signal, Statistic: statistic, Value: max(value, 0), At: l.at, Source: source, Detail: detail,
	})
}
