// Package canary moves a little money of our own along each path that payments take, all
// the time, and tells how long ago the last one ended well. It is how a stall is seen that
// nobody complains of because nobody pays. The money goes between two house accounts of a
// tenant of its own, in the asset's smallest unit: whoever counts business leaves that
// tenant out. A payout leaves through a channel only where the operator named it.
//
// A canary has one key, made of its path and its turn, so that no failure and no restart
// sends one twice. Of each path at most OpenMax are not final; while they are, none is
// sent, and those are asked for. It refuses to repair what it finds, and to try a path
// that it was not given.
//
// What it costs: a path makes one payment in ten seconds, one request to make it and
// about two to see it end.
package canary

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/internal/clock"
)

const (
	// Every is the time between two looks at those under way.
	Every = time.Second
	// Apart is the time between two canaries of one path.
	Apart = 10 * time.Second
	// OpenMax bounds the canaries of a path that are not final.
	OpenMax = 3
	// Agent names us to the edge.
	Agent = "moneta-canary/1"

	lookMax = 2 * time.Second
	bodyMax = 64 << 10
	atOnce  = 4
)

// Path is one way of money.
type Path struct {
	// Name of the path, told as the statistic.
	Name string
	// Hop where it is told.
	Hop  string
	Kind doctor.Kind
	// Channel is what a payout leaves through; empty is a payment between two accounts.
	Channel string
	// Payee is the account at the channel.
	Payee string
}

// Send is the path that touches no channel.
func Send() Path { return Path{Name: "send", Hop: doctor.HopAPI, Kind: doctor.Gateway} }

// Payout is the path through a channel to an account there that is ours or nobody's.
func Payout(channel, payee string) Path {
	return Path{Name: "payout", Hop: channel, Kind: doctor.Channel, Channel: channel, Payee: payee}
}

// Config says where and along which paths.
type Config struct {
	// API is a base URL, and Key an API key of the canaries' own tenant, with admin.
	API, Key string
	Asset    string // empty is CZK
	Paths    []Path
	// Clock tells the time; nil means the system's.
	Clock clock.Clock
}

// Collector sends canaries and looks after them. Its Look must not be called twice at
// once.
type Collector struct {
	cfg      Config
	client   *http.Client
	accounts [2]string
	tracks   []*track
}

// track is one path and its canaries.
type track struct {
	Path
	open []*bird
	turn int64     // of the newest
	well time.Time // when the last one was seen to have ended well; the first look before
	took float64   // seconds, of that one; NaN before
	last string    // how the last one that did not end well ended
}

// bird is a canary that is not final.
type bird struct {
	key, body, id string
	turn          int64
}

// New returns a collector that has sent nothing yet. Close it at the end.
func New(cfg Config) *Collector {
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	if cfg.Asset == "" {
		cfg.Asset = "CZK"
	}
	c := &Collector{cfg: cfg, client: &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: atOnce, MaxConnsPerHost: atOnce, IdleConnTimeout: 30 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	for _, p := range cfg.Paths {
		c.tracks = append(c.tracks, &track{Path: p, took: math.NaN()})
	}
	return c
}

// Name of the collector.
func (*Collector) Name() string { return "canary" }

// Every is the package's.
func (*Collector) Every() time.Duration { return Every }

// Close drops the idle connections.
func (c *Collector) Close() { c.client.CloseIdleConnections() }

// Look asks for those under way, sends those whose turn it is, and tells of each path.
// Nothing is told before the canaries have their accounts: without, no canary was missed.
func (c *Collector) Look(ctx context.Context) (doctor.Look, error) {
	ctx, cancel := context.WithTimeout(ctx, lookMax)
	defer cancel()
	var l doctor.Look
	if err := c.settleIn(ctx); err != nil {
		return l, err
	}
	now := c.cfg.Clock.Now()
	var wait sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	errs := make([]error, len(c.tracks))
	for i, t := range c.tracks {
		if t.well.IsZero() {
			t.well = now
		}
		wait.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			errs[i] = c.tend(ctx, t, i, now)
		})
	}
	wait.Wait()
	at := c.cfg.Clock.Now()
	for _, t := range c.tracks {
		t.tell(&l, at)
	}
	return l, errors.Join(errs...)
}

func (t *track) tell(l *doctor.Look, at time.Time) {
	l.Hops = append(l.Hops, doctor.Hop{Name: t.Hop, Kind: t.Kind})
	detail := map[string]string{"open": strconv.Itoa(len(t.open))}
	if len(t.open) > 0 && t.open[0].id != "" {
		detail["payment"] = t.open[0].id
	}
	if t.last != "" {
		detail["last"] = t.last
	}
	point := func(signal doctor.Signal, value float64) {
		if math.IsNaN(value) {
			return
		}
		l.Points = append(l.Points, doctor.Point{
			Hop: t.Hop, Signal: signal, Statistic: t.Name, Value: max(value, 0), At: at, Source: "canary payments, key " + t.key(t.turn), Detail: detail,
		})
	}
	point(doctor.CanaryAge, at.Sub(t.well).Seconds())
	point(doctor.CanaryTime, t.took)
}

func (t *track) key(turn int64) string {
	return "canary-" + t.Name + "-" + t.Channel + "-" + strconv.FormatInt(turn, 10)
}

// tend looks after one path. Turns of different paths are apart, so that they do not all
// come at once; a turn is ten seconds of the clock, and so the key of a canary is the
// same before and after a restart.
func (c *Collector) tend(ctx context.Context, t *track, place int, now time.Time) error {
	var errs []error
	still := t.open[:0]
	for _, b := range t.open {
		final, err := c.ask(ctx, t, b)
		if err != nil {
			errs = append(errs, err)
		}
		if !final {
			still = append(still, b)
		}
	}
	t.open = still
	shift := time.Duration(place) * Apart / time.Duration(len(c.tracks))
	turn := now.Add(-shift).UnixNano() / int64(Apart)
	if turn == t.turn || len(t.open) >= OpenMax {
		return errors.Join(errs...)
	}
	t.turn = turn
	b := &bird{key: t.key(turn), turn: turn, body: c.order(t, turn)}
	final, err := c.post(ctx, t, b)
	if !final {
		t.open = append(t.open, b)
	}
	return errors.Join(append(errs, err)...)
}

// order is the payment; there and back by turns, so that no side grows.
func (c *Collector) order(t *track, turn int64) string {
	o := map[string]any{
		"kind": "send", "from": c.accounts[turn%2], "to": c.accounts[(turn+1)%2], "amount": "1", "asset": c.cfg.Asset,
		"remittance": "canary " + strconv.FormatInt(turn, 10), "metadata": map[string]string{"canary": t.Name},
	}
	if t.Channel != "" {
		delete(o, "to")
		o["kind"], o["from"], o["channel"], o["payee"] = "payout", c.accounts[0], t.Channel, map[string]string{"account": t.Payee}
	}
	raw, err := json.Marshal(o)
	if err != nil { // strings only
		return "{}"
	}
	return string(raw)
}

// payment is what we read of one.
type payment struct {
	ID      string    `json:"id"`
	State   string    `json:"state"`
	Status  string    `json:"status"`
	Created time.Time `json:"created_at"`
	Final   time.Time `json:"final_at"`
}

// post sends b, or sends it again under the same key when nobody knows whether it came.
func (c *Collector) post(ctx context.Context, t *track, b *bird) (final bool, err error) {
	status, body, err := c.call(ctx, http.MethodPost, "/v1/payments", b.key, b.body)
	switch {
	case err != nil:
		return false, fmt.Errorf("canary %s: %w", b.key, err)
	case status == http.StatusTooManyRequests || status >= http.StatusInternalServerError:
		return false, fmt.Errorf("canary %s: HTTP %d", b.key, status)
	case status >= http.StatusBadRequest: // it is refused, and will be
		t.last = "refused: HTTP " + strconv.Itoa(status)
		return true, fmt.Errorf("canary %s: HTTP %d: %.200s", b.key, status, body)
	}
	return c.see(t, b, body)
}

// ask looks at b again.
func (c *Collector) ask(ctx context.Context, t *track, b *bird) (final bool, err error) {
	if b.id == "" {
		return c.post(ctx, t, b)
	}
	status, body, err := c.call(ctx, http.MethodGet, "/v1/payments/"+b.id, "", "")
	switch {
	case err != nil:
		return false, fmt.Errorf("canary %s: %w", b.id, err)
	case status != http.StatusOK:
		return false, fmt.Errorf("canary %s: HTTP %d", b.id, status)
	}
	return c.see(t, b, body)
}

// see notes how far b has come. It is well only if it ended well: one that was declined
// or given back shows a path that moves, and not one that works.
func (c *Collector) see(t *track, b *bird, body []byte) (final bool, err error) {
	var p payment
	if err := json.Unmarshal(body, &p); err != nil || p.ID == "" {
		return false, fmt.Errorf("canary %s: the answer is no payment: %.80q", b.key, body)
	}
	b.id = p.ID
	switch p.Status {
	case "succeeded":
		t.well, t.took, t.last = c.cfg.Clock.Now(), max(p.Final.Sub(p.Created).Seconds(), 0), ""
		return true, nil
	case "failed":
		t.last = p.State
		return true, nil
	}
	return false, nil
}

// settleIn opens the two accounts, or finds those that were opened before.
func (c *Collector) settleIn(ctx context.Context) error {
	for i, name := range [...]string{"canary one", "canary two"} {
		if c.accounts[i] != "" {
			continue
		}
		body := `{"asset":"` + c.cfg.Asset + `","name":"` + name + `","kind":"house"}`
		status, raw, err := c.call(ctx, http.MethodPost, "/v1/accounts", strings.ReplaceAll(name, " ", "-")+"-"+c.cfg.Asset, body)
		if err != nil {
			return fmt.Errorf("open the canaries' accounts: %w", err)
		}
		var account struct {
			ID string `json:"id"`
		}
		if status >= http.StatusBadRequest || json.Unmarshal(raw, &account) != nil || account.ID == "" {
			return fmt.Errorf("open the canaries' accounts: HTTP %d: %.200s", status, raw)
		}
		c.accounts[i] = account.ID
	}
	return nil
}

func (c *Collector) call(ctx context.Context, method, path, key, body string) (status int, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(c.cfg.API, "/")+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.cfg.Key)
	req.Header.Set("User-Agent", Agent)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }() // read, or given up
	answer, err = io.ReadAll(io.LimitReader(resp.Body, bodyMax))
	return resp.StatusCode, answer, err
}
