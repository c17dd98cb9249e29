package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moneta-pay/moneta/internal/lifecycle"
)

// ordersPlan is sends through the committer, over the hop to the ledger's process.
type ordersPlan struct {
	Socket string `json:"socket"`
	// Accounts take part in both directions.
	Accounts []int64 `json:"accounts"`
	// Callers each have a connection and submit Group orders at a time, again when
	// all of those are answered.
	Callers int `json:"callers"`
	Group   int `json:"group"`
	// New groups are submitted For so long, or until Payments were; 0 is no bound.
	For      time.Duration `json:"for_ns"`
	Payments int64         `json:"payments"`
}

func (p *ordersPlan) run(ctx context.Context) (loadResult, error) {
	if len(p.Accounts) < 2 || p.Callers < 1 || p.Group < 1 || p.Group > hopOrders {
		return loadResult{}, errors.New("the plan needs callers, a group within the hop's bound and two accounts")
	}
	hops := make([]*hop, p.Callers)
	for i := range hops {
		h, err := dialHop(ctx, p.Socket)
		if err != nil {
			return loadResult{}, err
		}
		defer h.close()
		hops[i] = h
	}
	var wg sync.WaitGroup
	var taken atomic.Int64
	results, errs := make([]loadResult, p.Callers), make([]error, p.Callers)
	began := time.Now()
	for i, h := range hops {
		wg.Go(func() {
			for errs[i] == nil && ctx.Err() == nil && p.wanted(began, &taken) {
				errs[i] = p.group(h, &results[i])
			}
		})
	}
	wg.Wait()
	return sumOf(results, began), errors.Join(append(errs, ctx.Err())...)
}

// wanted takes one more group out of what is left to submit.
func (p *ordersPlan) wanted(began time.Time, taken *atomic.Int64) bool {
	if p.For > 0 && time.Since(began) >= p.For {
		return false
	}
	return p.Payments == 0 || taken.Add(int64(p.Group)) <= p.Payments
}

// group makes one group of orders and counts its answers. After an error nobody
// knows which of the group were carried out.
func (p *ordersPlan) group(h *hop, res *loadResult) error {
	h.orders = h.orders[:0]
	for range p.Group {
		from := mathrand.IntN(len(p.Accounts))
		to := (from + 1 + mathrand.IntN(len(p.Accounts)-1)) % len(p.Accounts)
		o := Order{From: p.Accounts[from], To: p.Accounts[to], Amount: 1 + mathrand.Int64N(100)}
		_, _ = rand.Read(o.Key[:]) // never fails: it ends the program instead
		h.orders = append(h.orders, o)
	}
	done, text, err := h.send(h.orders)
	if err != nil {
		res.Unanswered += int64(p.Group)
		return err
	}
	res.Acked += int64(done)
	res.Done += int64(done)
	res.Refused += int64(p.Group - done)
	if res.Error == "" {
		res.Error = text
	}
	return nil
}

// book is a ledger under test: its process, its accounts, and what was told.
type book struct {
	*run
	name     string
	database string
	dir      string
	socket   string
	child    *lifecycle.Child
	ids      []int64
	told     int64
}

// openBook starts the ledger's process on an empty database and opens accounts.
func (r *run) openBook(ctx context.Context, name, database string, plan LedgerPlan, o Opening) (b *book, err error) {
	b = &book{run: r, name: name, database: database}
	// A socket's path may be about a hundred bytes long, a working folder's longer.
	if b.dir, err = os.MkdirTemp("", "moneta-bench-"); err != nil {
		return nil, err
	}
	b.socket = filepath.Join(b.dir, "ledger")
	plan.DSN, plan.Socket = r.server.DSN(database), b.socket
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close(ctx))
		}
	}()
	path, err := r.plan(name, plan)
	if err != nil {
		return nil, err
	}
	if b.child, err = r.process(ctx, name, os.Environ(), "bench-ledger", path); err != nil {
		return nil, err
	}
	h, err := reachHop(ctx, b.socket)
	if err != nil {
		return nil, fmt.Errorf("%w; its log ends: %s", err, lastLine(r.logPath(name)))
	}
	defer h.close()
	if b.ids, b.told, err = h.open(o); err != nil {
		return nil, fmt.Errorf("open accounts: %w", err)
	}
	slices.Sort(b.ids) // as the API lists them
	return b, nil
}

// close ends the process, which gives its leadership back.
func (b *book) close(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopMax)
	defer cancel()
	if b.child != nil {
		err = b.child.Stop(ctx)
	}
	return errors.Join(err, os.RemoveAll(b.dir))
}

// send has the generator submit orders between the first accounts, and keeps what
// it was told. A refusal is an error: every account can pay.
func (b *book) send(ctx context.Context, accounts int, plan ordersPlan) (acked int64, took time.Duration, err error) {
	plan.Socket, plan.Accounts = b.socket, b.ids[:accounts]
	during := plan.For
	if during == 0 {
		during = runMax
	}
	res, err := b.generate(ctx, loadJob{Orders: &plan}, during)
	b.told += res.Acked
	if err == nil && res.Refused > 0 {
		err = fmt.Errorf("%s: %d sends were refused, the first with: %s", b.name, res.Refused, res.Error)
	}
	return res.Acked, res.Elapsed, err
}
