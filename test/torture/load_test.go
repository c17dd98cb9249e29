package torture

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// receipt is what a client knows of one payment that it ordered.
type receipt struct {
	order
	key   string
	id    string // of the acknowledgement; empty when refused or never answered
	err   error  // the refusal, or why there was no answer
	tries int
	began time.Time
	took  time.Duration // from the first try to the answer
}

// acknowledgedAt is when the client heard.
func (r *receipt) acknowledgedAt() time.Time { return r.began.Add(r.took) }

const (
	answerWithin  = 90 * time.Second // one payment, all tries
	attemptWithin = 10 * time.Second // one try
	opening       = 1_000_000_000_00 // each payer's first balance, minor units
)

// load is clients that pay until they are stopped.
type load struct {
	w        *world
	name     string
	nodes    []string
	clients  int
	every    time.Duration // between the payments of one client
	attempt  time.Duration // bounds one try; 0 means attemptWithin
	accounts []string
	// newKeys makes the clients bad ones: they forget the first answer and pay
	// again under a new key.
	newKeys bool
	// choose returns the n-th order of a client; nil means the mixture.
	choose func(client, n int) order

	stopping chan struct{}
	work     sync.WaitGroup
	acks     atomic.Int64

	mu       sync.Mutex
	receipts []receipt
	answers  map[string]int // by node and status
}

// newLoad opens the accounts and funds them from a house account.
func newLoad(t *testing.T, w *world, name string, accounts, clients int, every time.Duration) *load {
	t.Helper()
	l := &load{w: w, name: name, nodes: []string{w.api}, clients: clients, every: every, answers: make(map[string]int), stopping: make(chan struct{})}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	admin := &client{http: newHTTP(2), nodes: l.nodes, key: w.keys.Admin, attempt: attemptWithin}
	house, err := admin.open(ctx, name+"-house", "house")
	require.NoError(t, err)
	for i := range accounts {
		id, err := admin.open(ctx, fmt.Sprintf("%s-user-%d", name, i), "user")
		require.NoError(t, err)
		l.accounts = append(l.accounts, id)
		o := order{Kind: "send", From: house, To: id, Amount: strconv.Itoa(opening), Asset: asset, Remittance: fmt.Sprintf("%s-opening-%d", name, i)}
		r := l.order(ctx, admin, o, o.Remittance)
		require.NoError(t, r.err)
	}
	return l
}

// run begins to pay.
func (l *load) run() {
	if l.attempt == 0 {
		l.attempt = attemptWithin
	}
	pool := newHTTP(l.clients)
	for i := range l.clients {
		c := &client{http: pool, nodes: l.nodes, at: i, key: l.w.keys.Tenant, attempt: l.attempt, seen: l.seen}
		l.work.Go(func() { l.drive(i, c) })
	}
}

func (l *load) drive(i int, c *client) {
	tick := time.NewTicker(l.every)
	defer tick.Stop()
	bank := &client{http: c.http, nodes: []string{l.w.banks}, attempt: attemptWithin}
	for n := 0; ; n++ {
		select {
		case <-l.stopping:
			return
		case <-tick.C:
		}
		o := l.next(i, n)
		ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
		keys := []string{o.Remittance}
		if l.newKeys {
			keys = append(keys, "again-"+o.Remittance)
		}
		for _, key := range keys {
			r := l.order(ctx, c, o, key)
			if o.Kind == "deposit" && r.id != "" {
				l.instruct(ctx, c, bank, r)
			}
		}
		cancel()
	}
}

// next returns the n-th order of client i.
func (l *load) next(i, n int) order {
	if l.choose != nil {
		o := l.choose(i, n)
		o.Asset, o.Remittance = asset, fmt.Sprintf("%s-%d-%d", l.name, i, n)
		return o
	}
	return l.mixture(i, n)
}

// mixture is six sends, two payouts, two deposits.
func (l *load) mixture(i, n int) order {
	o := order{Asset: asset, Amount: strconv.Itoa(100 + (7*i+n)%900), Remittance: fmt.Sprintf("%s-%d-%d", l.name, i, n)}
	mine, other := l.accounts[(i+n)%len(l.accounts)], l.accounts[(i+3*n+1)%len(l.accounts)]
	if mine == other {
		other = l.accounts[(i+n+1)%len(l.accounts)]
	}
	bank := "bank-" + bankCodes[(i+n/10)%len(bankCodes)]
	switch kind := n % 10; {
	case kind < 6:
		o.Kind, o.From, o.To = "send", mine, other
	case kind < 8:
		o.Kind, o.From, o.Channel, o.Payee = "payout", mine, bank, &payee{strconv.Itoa(100_000 + i)}
	default:
		o.Kind, o.To, o.Channel = "deposit", mine, bank
	}
	return o
}

// order pays once under one key and keeps the receipt.
func (l *load) order(ctx context.Context, c *client, o order, key string) receipt {
	r := receipt{order: o, key: key, began: time.Now()}
	p, tries, err := c.pay(ctx, o, key)
	r.took, r.tries, r.err, r.id = time.Since(r.began), tries, err, p.ID
	if err == nil {
		l.acks.Add(1)
	}
	l.mu.Lock()
	l.receipts = append(l.receipts, r)
	l.mu.Unlock()
	return r
}

// instruct tells the bank to send a deposit's money.
func (l *load) instruct(ctx context.Context, c, bank *client, r receipt) {
	var p payment
	err := c.get(ctx, "/v1/payments/"+r.id, &p)
	if err == nil && p.Reference == "" {
		err = errors.New("a deposit without a reference")
	}
	if err == nil {
		body := fmt.Sprintf(`{"reference":%q,"amount":%q,"asset":%q,"remittance":%q,"from_account":"99"}`, p.Reference, r.Amount, asset, r.Remittance)
		var status int
		var answer []byte
		status, answer, _, err = bank.until(ctx, http.MethodPost, "/banks/"+r.Channel[len("bank-"):]+"/instructions", "", body)
		if err == nil && status != http.StatusAccepted {
			err = &refused{status, string(answer)}
		}
	}
	if err == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.receipts {
		if l.receipts[i].key == r.key {
			l.receipts[i].err = fmt.Errorf("tell the bank: %w", err)
		}
	}
}

func (l *load) seen(node string, status int, err error) {
	what := strconv.Itoa(status)
	if err != nil {
		what = "no answer"
	}
	l.mu.Lock()
	l.answers[node+" "+what]++
	l.mu.Unlock()
}

// serverErrors counts the answers of 500 and above.
func (l *load) serverErrors() (n int, all string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for what, count := range l.answers {
		if status, err := strconv.Atoi(what[len(what)-3:]); err == nil && status >= 500 {
			n += count
		}
	}
	return n, fmt.Sprint(l.answers)
}

// stop lets every client finish the payment in hand.
func (l *load) stop() []receipt {
	close(l.stopping)
	l.work.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.receipts)
}

// snapshot returns the receipts so far.
func (l *load) snapshot() []receipt {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.receipts)
}

// awaitAcks waits until n more payments are acknowledged than when it was called.
func (l *load) awaitAcks(t *testing.T, n int64, within time.Duration) time.Duration {
	t.Helper()
	from := l.acks.Load()
	return eventually(t, within, fmt.Sprintf("%d more acknowledged payments", n), func() (bool, string) {
		now := l.acks.Load()
		return now >= from+n, fmt.Sprintf("%d", now-from)
	})
}

// silence is the longest time in [from, to] without an acknowledgement.
func silence(receipts []receipt, from, to time.Time) time.Duration {
	times := []time.Time{from, to}
	for i := range receipts {
		if at := receipts[i].acknowledgedAt(); receipts[i].id != "" && at.After(from) && at.Before(to) {
			times = append(times, at)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	var longest time.Duration
	for i := 1; i < len(times); i++ {
		longest = max(longest, times[i].Sub(times[i-1]))
	}
	return longest
}

// percentile returns the p-th percentile (in hundredths) of durations.
func percentile(all []time.Duration, p int) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(len(all)*p/100, len(all)-1)]
}
