// Package drain brings a backlog forward that somebody has looked at, in batches, and
// tells how far it is: what was offered, what was left out and why, what is through, how
// fast, and what is left in money. It goes through a hand of the doctor's and through
// nothing else, so that a payment goes out only if it never did, and twice is once.
//
// It refuses a second run while one goes on, an order that is not the one that was
// looked at, and to call a payment through that still waits for what it waited for.
//
// Crash points: a batch is offered before it is counted, so that a run that a crash ends
// has offered a batch more than it says; what was offered and what was not is found out
// by asking again, which moves nothing twice.
package drain

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/internal/clock"
)

// Bounds.
const (
	// BatchItems are offered at once; the stations have bounds of their own.
	BatchItems = 50
	// PlanFor is how long an order stands that was looked at and not begun.
	PlanFor   = 10 * time.Minute
	plansMost = 20
	// Within is how long a run is watched: what a channel does not answer until then stays
	// open, and is asked for again by itself.
	Within     = 10 * time.Minute
	lookEvery  = time.Second
	errorsMost = 5 // in a row, before it gives up
	rateOver   = 30 * time.Second
)

// Order is a backlog that somebody looked at.
type Order struct {
	ID string `json:"id"`
	// Act is what brings it forward, Kind the group that it was chosen from.
	Act     string `json:"act"`
	Kind    string `json:"kind"`
	Channel string `json:"channel,omitempty"`
	// Payments are those that were looked at; of callbacks there are none.
	Payments []string `json:"payments"`
	// Items are those of them that would be brought forward, or how many callbacks.
	Items int               `json:"items"`
	Value map[string]string `json:"value"`
	// Left are left out, with why.
	Left []Left `json:"left"`
	// Hash binds a run to exactly this.
	Hash     string       `json:"hash"`
	Reach    doctor.Reach `json:"reach"`
	By       string       `json:"by"`
	Incident string       `json:"incident,omitempty"`
	At       time.Time    `json:"at"`
}

// Left is a payment that is left out.
type Left struct {
	Payment string `json:"payment"`
	Why     string `json:"why"`
}

func (o *Order) hash() string {
	raw, err := json.Marshal([]any{o.Act, o.Kind, o.Channel, o.Payments, o.Items, o.Value, o.Left})
	if err != nil {
		return "" // never: these are texts and numbers
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// State of a run.
type State string

// The states. Over: its time is up, and some still wait.
const (
	Running State = "running"
	Paused  State = "paused"
	Stopped State = "stopped"
	Done    State = "done"
	Over    State = "over"
	Failed  State = "failed"
)

// Fate is what became of what was chosen.
type Fate struct {
	// Open still wait for what they waited for, and are worth Value.
	Open  int
	Value map[string]string
	// Moved wait for something else by now, Ended are final, by state.
	Moved int
	Ended map[string]int
}

// Progress is how far a run is.
type Progress struct {
	Order Order     `json:"order"`
	State State     `json:"state"`
	Began time.Time `json:"began"`
	At    time.Time `json:"at"`
	// Total was chosen, Brought was offered, Batches of Of were.
	Total   int `json:"total"`
	Brought int `json:"brought"`
	Batches int `json:"batches"`
	Of      int `json:"of"`
	// Open still wait, worth Value; ValueDone is through.
	Open      int               `json:"open"`
	Moved     int               `json:"moved"`
	Ended     map[string]int    `json:"ended"`
	Value     map[string]string `json:"value"`
	ValueDone map[string]string `json:"value_done"`
	// PerMinute came through lately, EtaS is when the rest will have at that rate; nil when
	// nothing comes through.
	PerMinute float64  `json:"per_minute"`
	EtaS      *float64 `json:"eta_s,omitempty"`
	// Says is why it failed or ended early.
	Says string `json:"says,omitempty"`
	// Proof is the recount at its end.
	Proof *doctor.ProofKept `json:"proof,omitempty"`
}

// Config of a bench.
type Config struct {
	// Hand carries an act out, behind the never-list.
	Hand func(act string) (doctor.Hand, error)
	// Follow says what became of those that were chosen: see Order.Chosen.
	Follow func(ctx context.Context, o *Order) (Fate, error)
	// Prove counts the money anew at the end; nil does not.
	Prove func(ctx context.Context, id string, since time.Time) (doctor.ProofKept, error)
	// Keep stores how far a run is, Tell writes into the journal what was done.
	Keep  func(p *Progress) error
	Tell  func(d doctor.Done)
	Clock clock.Clock
}

// Bench prepares orders and runs one at a time. It is safe for concurrent use.
type Bench struct {
	cfg Config

	mu     sync.Mutex
	orders []*Order
	now    *Progress
	pause  bool
	stop   context.CancelFunc
	done   chan struct{}
	seen   []point
}

type point struct {
	at   time.Time
	open int
}

// New returns a bench on which nothing lies.
func New(cfg Config) *Bench {
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	return &Bench{cfg: cfg}
}

// Errors.
var (
	ErrBusy  = errors.New("another run goes on: wait for it, or stop it")
	ErrStale = errors.New("it is not what you looked at any more: look again")
	ErrNone  = errors.New("nothing is running")
)

// Look tries an order and keeps it for PlanFor.
func (b *Bench) Look(ctx context.Context, o Order) (Order, error) {
	h, err := b.cfg.Hand(o.Act)
	if err != nil {
		return o, err
	}
	o.At, o.Left = b.cfg.Clock.Now().UTC(), []Left{}
	if o.Payments == nil {
		o.Payments = []string{}
	}
	found, err := h.Try(ctx, o.act("look", o.Payments))
	if err != nil {
		return o, err
	}
	o.Items, o.Value, o.Reach = found.Items, found.Worth, h.Reach()
	if o.Value == nil {
		o.Value = map[string]string{}
	}
	for _, row := range found.Rows {
		p, why, _ := strings.Cut(row, " ")
		o.Left = append(o.Left, Left{p, why})
	}
	o.Hash = o.hash()
	o.ID = "drain_" + o.Hash[:12]
	b.mu.Lock()
	defer b.mu.Unlock()
	b.orders = slices.DeleteFunc(b.orders, func(x *Order) bool { return x.ID == o.ID || o.At.Sub(x.At) > PlanFor })
	if b.orders = append(b.orders, &o); len(b.orders) > plansMost {
		b.orders = b.orders[1:]
	}
	return o, nil
}

func (o *Order) act(part string, payments []string) doctor.Act {
	with := map[string]string{"channel": o.Channel}
	if len(payments) > 0 {
		with["payments"] = strings.Join(payments, ",")
	}
	return doctor.Act{
		ID: o.ID + "/" + part, Incident: o.Incident, Step: part, Do: o.Act, Aim: o.Channel, With: with, By: o.By, At: o.At,
		Why: "chosen at the repair bench",
	}
}

// Start begins to carry out an order that was looked at. Whoever starts it must see to it
// that whoever must agree did; ctx bounds the run.
func (b *Bench) Start(ctx context.Context, id, hash, by string) (Progress, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now != nil && b.now.State.goes() {
		return *b.now, ErrBusy
	}
	i := slices.IndexFunc(b.orders, func(o *Order) bool { return o.ID == id && o.Hash == hash })
	if i < 0 || b.cfg.Clock.Now().Sub(b.orders[i].At) > PlanFor {
		return Progress{}, ErrStale
	}
	o := *b.orders[i]
	b.orders = slices.Delete(b.orders, i, i+1)
	o.By = by
	chosen := o.batches()
	now := b.cfg.Clock.Now().UTC()
	p := &Progress{
		Order: o, State: Running, Began: now, At: now, Total: o.Items, Open: o.Items, Of: len(chosen),
		Ended: map[string]int{}, Value: maps.Clone(o.Value), ValueDone: map[string]string{},
	}
	if err := b.cfg.Keep(p); err != nil {
		return *p, fmt.Errorf("it is not begun, since it cannot be written down: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, Within)
	b.now, b.stop, b.pause, b.done, b.seen = p, cancel, false, make(chan struct{}), nil
	done := b.done
	go func() {
		defer close(done)
		defer cancel()
		b.run(ctx, &o, chosen)
	}()
	return b.copied(), nil
}

func (s State) goes() bool { return s == Running || s == Paused }

// batches are what of an order is to be brought forward, piece by piece; callbacks are
// one piece.
func (o *Order) batches() [][]string {
	if len(o.Payments) == 0 {
		return [][]string{nil}
	}
	return slices.Collect(slices.Chunk(o.Chosen(), BatchItems))
}

// Chosen are the payments of the order that are not left out.
func (o *Order) Chosen() []string {
	left := make(map[string]bool, len(o.Left))
	for _, l := range o.Left {
		left[l.Payment] = true
	}
	return slices.DeleteFunc(slices.Clone(o.Payments), func(p string) bool { return left[p] })
}

// run offers the batches and watches what comes of it.
func (b *Bench) run(ctx context.Context, o *Order, chosen [][]string) {
	state, says := b.offer(ctx, o, chosen)
	if state == Running {
		state, says = b.follow(ctx, o)
	}
	if state == Done || state == Over || state == Stopped {
		_, _ = b.look(context.WithoutCancel(ctx), o) // what it came to; unread, the figures of the look before stand
	}
	var proof *doctor.ProofKept
	if b.cfg.Prove != nil && state != Failed {
		kept, err := b.cfg.Prove(context.WithoutCancel(ctx), o.ID, o.At)
		if err == nil {
			proof = &kept
		} else {
			says = strings.TrimPrefix(says+"; not proved: "+err.Error(), "; ")
		}
	}
	b.set(func(p *Progress) { p.State, p.Says, p.Proof = state, says, proof })
}

func (b *Bench) offer(ctx context.Context, o *Order, chosen [][]string) (State, string) {
	h, err := b.cfg.Hand(o.Act)
	if err != nil {
		return Failed, err.Error()
	}
	for i, batch := range chosen {
		if !b.mayGo(ctx) {
			return b.ended(ctx)
		}
		act := o.act(strconv.Itoa(i+1), batch)
		found, err := h.Act(ctx, act)
		d := doctor.Done{Act: act, Change: found}
		if err != nil {
			if ctx.Err() != nil {
				return b.ended(ctx)
			}
			d.Error = err.Error()
			b.cfg.Tell(d)
			return Failed, err.Error()
		}
		b.cfg.Tell(d)
		b.set(func(p *Progress) { p.Batches, p.Brought = i+1, p.Brought+found.Items })
		_, _ = b.look(ctx, o) // follow looks again, and counts what fails
	}
	return Running, ""
}

// follow looks until what was chosen is through.
func (b *Bench) follow(ctx context.Context, o *Order) (State, string) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for bad := 0; ; {
		p, err := b.look(ctx, o)
		switch {
		case ctx.Err() != nil:
			return b.ended(ctx)
		case err != nil:
			if bad++; bad > errorsMost {
				return Failed, err.Error()
			}
		case p.Open == 0:
			return Done, ""
		default:
			bad = 0
		}
		select {
		case <-ctx.Done():
			return b.ended(ctx)
		case <-tick.C:
		}
	}
}

// mayGo waits while it is paused; false when it is over.
func (b *Bench) mayGo(ctx context.Context) bool {
	tick := time.NewTicker(lookEvery / 4)
	defer tick.Stop()
	for {
		b.mu.Lock()
		paused := b.pause
		b.mu.Unlock()
		if !paused || ctx.Err() != nil {
			return ctx.Err() == nil
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

func (b *Bench) ended(ctx context.Context) (State, string) {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return Over, "the time is up: what is left stays as it was, and is looked at again by itself"
	}
	return Stopped, "somebody stopped it: what was offered goes on, the rest was not touched"
}

// look asks what became of it and adds up.
func (b *Bench) look(ctx context.Context, o *Order) (Progress, error) {
	f, err := b.cfg.Follow(ctx, o)
	if err != nil {
		return Progress{}, err
	}
	return b.set(func(p *Progress) {
		p.Open, p.Moved, p.Ended, p.Value = f.Open, f.Moved, f.Ended, f.Value
		p.ValueDone = less(o.Value, f.Value)
		b.rate(p)
	}), nil
}

// rate is what came through lately.
func (b *Bench) rate(p *Progress) {
	now := b.cfg.Clock.Now()
	b.seen = append(slices.DeleteFunc(b.seen, func(x point) bool { return now.Sub(x.at) > rateOver }), point{now, p.Open})
	first := b.seen[0]
	p.PerMinute, p.EtaS = 0, nil
	if took := now.Sub(first.at).Minutes(); took > 0 && first.open > p.Open {
		p.PerMinute = float64(first.open-p.Open) / took
		eta := float64(p.Open) / p.PerMinute * 60
		p.EtaS = &eta
	}
}

// less is what is gone of each asset.
func less(all, left map[string]string) map[string]string {
	out := make(map[string]string, len(all))
	for asset, text := range all {
		a, ok := new(big.Int).SetString(text, 10)
		if !ok {
			continue
		}
		if l, ok := new(big.Int).SetString(left[asset], 10); ok {
			a.Sub(a, l)
		}
		if a.Sign() < 0 {
			a.SetInt64(0)
		}
		out[asset] = a.String()
	}
	return out
}

// set changes the progress and keeps it; that it cannot be kept does not end the run.
func (b *Bench) set(change func(*Progress)) Progress {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(b.now)
	b.now.At = b.cfg.Clock.Now().UTC()
	if err := b.cfg.Keep(b.now); err != nil && b.now.Says == "" {
		b.now.Says = "how far it is cannot be written down: " + err.Error()
	}
	return b.copied()
}

func (b *Bench) copied() Progress {
	p := *b.now
	p.Ended, p.Value, p.ValueDone = maps.Clone(p.Ended), maps.Clone(p.Value), maps.Clone(p.ValueDone)
	return p
}

// Now is how far the newest run is; false when there was none.
func (b *Bench) Now() (Progress, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now == nil {
		return Progress{}, false
	}
	return b.copied(), true
}

// Pause holds the next batch back, or with on unset lets it go on.
func (b *Bench) Pause(on bool) (Progress, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now == nil || !b.now.State.goes() {
		return Progress{}, ErrNone
	}
	b.pause, b.now.State = on, Running
	if on {
		b.now.State = Paused
	}
	return b.copied(), nil
}

// Order is one that was looked at and still stands.
func (b *Bench) Order(id, hash string) (Order, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.orders, func(o *Order) bool { return o.ID == id && o.Hash == hash })
	if i < 0 {
		return Order{}, false
	}
	return *b.orders[i], true
}

// Halt ends the run: no further batch is begun. It does not wait for the proof.
func (b *Bench) Halt() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stop != nil {
		b.stop()
	}
}

// Stop ends the run and waits for its end.
func (b *Bench) Stop() {
	b.mu.Lock()
	stop, done := b.stop, b.done
	b.mu.Unlock()
	if stop != nil {
		stop()
		<-done
	}
}
