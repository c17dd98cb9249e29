package drill

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// The population.
const (
	asset       = "CZK"
	holders     = 120
	funds       = 4_000_000_000_000 // what each begins with, in the smallest unit
	batchMost   = 500
	ordersMost  = 1500 // under way at once; more are not begun and count as hurt
	clientConns = 900
	// rareVersion is the app that one holder in seven has.
	commonVersion, rareVersion = "5.3.0", "5.4.0"
	rareEvery                  = 7
	// rivetAmount is the amount of the orders that some drills poison; one in twelve.
	rivetAmount, rivetEvery = 66_617, 12
)

// Order is one thing that a holder wants, and what became of it.
type Order struct {
	Name    string // unique, and the remittance
	Kind    string // send, payout, deposit or read
	Holder  int
	Version string
	Channel string
	Amount  int64
	From    string
	To      string

	Began, Acked, Ended time.Time
	Status              string
	Tries               int
	Err                 string
}

type payee struct {
	Account string `json:"account"`
}

// newPayment is the body of a payment.
type newPayment struct {
	Kind       string `json:"kind"`
	From       string `json:"from,omitempty"`
	To         string `json:"to,omitempty"`
	Channel    string `json:"channel,omitempty"`
	Payee      *payee `json:"payee,omitempty"`
	Amount     string `json:"amount"`
	Asset      string `json:"asset"`
	Remittance string `json:"remittance,omitempty"`
	Key        string `json:"idempotency_key,omitempty"`
}

func (o *Order) body() *newPayment {
	p := &newPayment{Kind: o.Kind, Amount: strconv.FormatInt(o.Amount, 10), Asset: asset, Remittance: o.Name}
	switch o.Kind {
	case "payout":
		p.From, p.Channel, p.Payee = o.From, o.Channel, &payee{"70043"}
	case "deposit":
		p.To, p.Channel = o.From, o.Channel
	default:
		p.From, p.To = o.From, o.To
	}
	return p
}

// Manners are how the clients behave; the zero value is well.
type Manners struct {
	// Times is how many times as much is offered; 0 is once.
	Times float64
	// Layers of retries without a pause between them: NoBudget.
	Layers   int
	NoBudget bool
	// RareDelay is how long the network of the holders with the rare version takes; they
	// give up after RareGiveUp and order anew under another key, as RareAgain.
	RareDelay time.Duration
	RareAgain bool
	// One holder's payouts have this amount instead.
	OneHolder int
	OneAmount int64
}

// Load is the traffic of a world. It goes on from its start to its Stop.
type Load struct {
	world    *World
	client   *client
	accounts []string
	rate     atomic.Int64 // orders in 1000 seconds
	manners  atomic.Pointer[Manners]
	banks    []string
	prefix   string

	mu     sync.Mutex
	orders []*Order
	done   map[*Order]Order // finished ones, as they ended

	flying atomic.Int64
	stop   context.CancelFunc
	all    sync.WaitGroup
}

// loadBanks are the banks that the load uses.
var loadBanks = []string{"ab", "cd", "ef", "gh"}

// startLoad opens and funds the accounts and begins.
func startLoad(ctx context.Context, w *World, seed uint64, perSecond float64) (*Load, error) {
	l := &Load{
		world: w, client: &client{http: newHTTP(clientConns), api: w.API, banks: w.Banks, key: w.Tenant},
		prefix: fmt.Sprintf("o%x", time.Now().UnixNano()), done: map[*Order]Order{},
	}
	for _, b := range loadBanks {
		l.banks = append(l.banks, "bank-"+b)
	}
	l.manners.Store(&Manners{})
	l.pace(perSecond)
	if err := l.open(ctx); err != nil {
		return nil, fmt.Errorf("open the accounts: %w", err)
	}
	ctx, l.stop = context.WithCancel(context.WithoutCancel(ctx))
	l.all.Go(func() { l.run(ctx, rand.New(rand.NewPCG(seed, 7))) }) //nolint:gosec // dice, not secrets
	return l, nil
}

func (l *Load) pace(perSecond float64) { l.rate.Store(int64(perSecond * 1000)) }

// Behave makes the clients behave so from now on.
func (l *Load) Behave(m Manners) { l.manners.Store(&m) }

// Stop ends the traffic; orders that are under way are left.
func (l *Load) Stop() {
	l.stop()
	l.all.Wait()
}

func (l *Load) open(ctx context.Context) error {
	admin := *l.client
	admin.key = l.world.Admin
	account := func(c *client, kind string, n int) (string, error) {
		var made struct {
			ID string `json:"id"`
		}
		err := c.call(ctx, http.MethodPost, l.world.API+"/v1/accounts", map[string]string{"Idempotency-Key": fmt.Sprintf("%s-%s-%d", l.prefix, kind, n)},
			map[string]string{"asset": asset, "name": fmt.Sprintf("%s %d", kind, n), "kind": kind}, &made)
		return made.ID, err
	}
	house, err := account(&admin, "house", 0)
	if err != nil {
		return err
	}
	var batch struct {
		Payments []newPayment `json:"payments"`
	}
	for n := range holders {
		id, err := account(l.client, "user", n)
		if err != nil {
			return err
		}
		l.accounts = append(l.accounts, id)
		batch.Payments = append(batch.Payments, newPayment{
			Kind: "send", From: house, To: id, Amount: strconv.Itoa(funds), Asset: asset, Key: l.prefix + "-fund-" + strconv.Itoa(n),
		})
	}
	return admin.call(ctx, http.MethodPost, l.world.API+"/v1/payments/batch", nil, batch, nil)
}

// age makes a history of so many payments between the holders.
func (l *Load) age(ctx context.Context, payments int) error {
	var g errgroup.Group
	const makers, each = 4, 500
	for maker := range makers {
		dice := rand.New(rand.NewPCG(uint64(maker), 5)) //nolint:gosec // dice, not secrets
		g.Go(func() error {
			for n := range payments / makers / each {
				var batch struct {
					Payments []newPayment `json:"payments"`
				}
				for i := range each {
					o := l.draw(dice, 0, &Manners{})
					o.Kind, o.Amount = "send", 1+dice.Int64N(900)
					p := o.body()
					p.Remittance, p.Key = "", fmt.Sprintf("%s-old-%d-%d-%d", l.prefix, maker, n, i)
					batch.Payments = append(batch.Payments, *p)
				}
				if err := l.client.call(ctx, http.MethodPost, l.world.API+"/v1/payments/batch", nil, batch, nil); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// run begins orders, each when the dice say, whatever became of those before.
func (l *Load) run(ctx context.Context, dice *rand.Rand) {
	next := time.Now()
	for n := 0; ; n++ {
		m := l.manners.Load()
		perSecond := float64(l.rate.Load()) / 1000 * max(m.Times, 1)
		next = next.Add(time.Duration(dice.ExpFloat64() / perSecond * float64(time.Second)))
		if late := time.Since(next); late > time.Second { // we were held up: what was not offered is not
			next = time.Now()
		}
		if pause(ctx, time.Until(next)) != nil {
			return
		}
		o := l.draw(dice, n, m)
		l.mu.Lock()
		l.orders = append(l.orders, o)
		l.mu.Unlock()
		if l.flying.Load() >= ordersMost {
			l.ended(*o, o, "the client has too many orders under way")
			continue
		}
		l.flying.Add(1)
		l.all.Go(func() {
			defer l.flying.Add(-1)
			work := *o
			err := l.do(ctx, &work, m)
			l.ended(work, o, err)
		})
	}
}

func (l *Load) ended(work Order, o *Order, err string) {
	work.Err = err
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done[o] = work
}

// draw makes the next order.
func (l *Load) draw(dice *rand.Rand, n int, m *Manners) *Order {
	o := &Order{Name: l.prefix + "-" + strconv.Itoa(n), Holder: dice.IntN(holders), Version: commonVersion, Began: time.Now(), Amount: 100 + dice.Int64N(50_000)}
	if o.Holder%rareEvery == 0 {
		o.Version = rareVersion
	}
	o.From = l.accounts[o.Holder]
	o.To = l.accounts[(o.Holder+1+dice.IntN(holders-1))%holders]
	o.Channel = l.banks[dice.IntN(len(l.banks))]
	switch roll := dice.IntN(100); {
	case roll < 42:
		o.Kind, o.Channel = "send", ""
	case roll < 80:
		o.Kind = "payout"
	case roll < 90:
		o.Kind = "deposit"
	default:
		o.Kind, o.Channel = "read", ""
	}
	if dice.IntN(rivetEvery) == 0 && o.Kind != "read" {
		o.Amount = rivetAmount
	}
	if m.OneAmount != 0 && o.Holder == m.OneHolder && o.Kind != "read" {
		o.Kind, o.Amount, o.Channel = "payout", m.OneAmount, l.banks[0]
	}
	return o
}

// do carries one order out and returns what went wrong for the holder.
func (l *Load) do(ctx context.Context, o *Order, m *Manners) string {
	if m.RareDelay > 0 && o.Version == rareVersion {
		if pause(ctx, m.RareDelay) != nil {
			return "stopped"
		}
	}
	if o.Kind == "read" {
		err := l.client.call(ctx, http.MethodGet, l.world.API+"/v1/accounts/"+o.From+"/statement?limit=50", nil, nil, nil)
		o.Acked, o.Ended, o.Status = time.Now(), time.Now(), "succeeded"
		return textOf(err)
	}
	p, err := l.client.submit(ctx, o, m)
	if err != nil {
		return textOf(err)
	}
	o.Acked = time.Now()
	if m.RareAgain && o.Version == rareVersion { // the app shows an error and the holder taps again
		again := *o
		again.Name += "-again"
		if _, err := l.client.submit(ctx, &again, m); err != nil {
			return textOf(err)
		}
	}
	if o.Kind == "deposit" {
		if err := l.client.instruct(ctx, o, p.Reference); err != nil {
			return textOf(err)
		}
	}
	p, err = l.client.follow(ctx, p)
	o.Status = p.Status
	if err == nil {
		o.Ended = time.Now()
	}
	return textOf(err)
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// between returns the orders that began then, as they are now.
func (l *Load) between(from, to time.Time) []Order {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Order
	for _, o := range l.orders {
		if o.Began.Before(from) || !o.Began.Before(to) {
			continue
		}
		if work, ok := l.done[o]; ok {
			out = append(out, work)
		} else {
			out = append(out, *o)
		}
	}
	return out
}

// forget drops what began before, so that a world of many runs stays small.
func (l *Load) forget(before time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	kept := l.orders[:0]
	for _, o := range l.orders {
		if o.Began.Before(before) {
			delete(l.done, o)
		} else {
			kept = append(kept, o)
		}
	}
	l.orders = kept
}
