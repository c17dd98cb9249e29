package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moneta-pay/moneta/bench"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/ledger"
	"github.com/moneta-pay/moneta/schema"
)

const (
	benchTenant = 1
	benchAsset  = money.Asset("CZK")
	// benchLeadWithin bounds the wait for the leadership of a fresh database.
	benchLeadWithin = 30 * time.Second
	benchPoll       = 10 * time.Millisecond
	benchLedgerConc = 8
)

// BenchRun measures with this binary and returns the report.
func BenchRun(ctx context.Context, cfg BenchConfig) (*bench.Report, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return bench.Run(ctx, bench.Config{
		Profile: cfg.Profile, Moneta: self, Migrate: func(ctx context.Context, dsn string) error { return schema.Migrate(ctx, dsn) },
		WorkDir: cfg.DataDir, Progress: cfg.Progress, Version: Version,
		PGBench: cfg.PGBench, Stored: cfg.Stored, Soak: cfg.Soak,
	})
}

// benchLedger lets bench, which knows nothing of the pay plane, send money
// through its committer: the same Node that serve leads with, and nothing else.
type benchLedger struct {
	node  *commit.Node
	peers *http.Server // takes what other nodes forward; nil for a node that is alone
	end   context.CancelFunc
	ended chan error
}

// openBenchLedger migrates the database and leads its shard, or stands by and
// forwards to who does.
func openBenchLedger(ctx context.Context, plan bench.LedgerPlan) (bench.Ledger, error) {
	tuneGC()
	if err := schema.Migrate(ctx, plan.DSN); err != nil {
		return nil, err
	}
	l := &benchLedger{
		node:  commit.New(commit.Config{DSN: plan.DSN, URL: plan.URL, Logger: slog.New(slog.DiscardHandler)}),
		ended: make(chan error, 1),
	}
	if err := l.listen(ctx, plan.URL); err != nil {
		return nil, err
	}
	// The leadership outlives this call; Close ends it.
	lead, end := context.WithCancel(context.WithoutCancel(ctx))
	l.end = end
	go func() { l.ended <- l.node.Run(lead) }()
	if plan.Forwards {
		return l, nil
	}
	return l, l.untilLeading(ctx)
}

// listen takes Facts from other nodes, as serve does at the same path.
func (l *benchLedger) listen(ctx context.Context, url string) error {
	address, ok := strings.CutPrefix(url, "http://")
	if !ok {
		return nil
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("POST "+commit.Path, l.node.Handler())
	l.peers = &http.Server{Handler: mux, ReadHeaderTimeout: benchLeadWithin}
	go func() { _ = l.peers.Serve(listener) }() // until Close
	return nil
}

func (l *benchLedger) untilLeading(ctx context.Context) error {
	limit := time.NewTimer(benchLeadWithin)
	defer limit.Stop()
	poll := time.NewTicker(benchPoll)
	defer poll.Stop()
	for !l.node.Leading() {
		select {
		case err := <-l.ended:
			l.end()
			return errors.Join(errors.New("the committer ended before it led"), err)
		case <-limit.C:
			return errors.Join(fmt.Errorf("the committer does not lead after %s", benchLeadWithin), l.Close(ctx))
		case <-ctx.Done():
			return errors.Join(ctx.Err(), l.Close(context.WithoutCancel(ctx)))
		case <-poll.C:
		}
	}
	return nil
}

// Close gives the leadership back.
func (l *benchLedger) Close(ctx context.Context) error {
	l.end()
	var err error
	select {
	case err = <-l.ended:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if l.peers != nil {
		err = errors.Join(err, l.peers.Close())
	}
	return err
}

// Open opens user accounts and funds them from a house account.
func (l *benchLedger) Open(ctx context.Context, o bench.Opening) ([]int64, int64, error) {
	if o.Accounts == 0 {
		return nil, 0, nil
	}
	ids := make([]int64, o.Accounts)
	err := l.each(ctx, o.Accounts, func(i int) commit.Fact { return openFact(fmt.Sprintf("bench %d", i), ledger.User, o.Overdraft) },
		func(i int, r commit.Result) { ids[i] = int64(r.Account.ID) })
	if err != nil {
		return nil, 0, fmt.Errorf("open an account: %w", err)
	}
	if o.Fund == 0 {
		return ids, 0, nil
	}
	house, err := l.node.Submit(ctx, openFact("bench house", ledger.House, 0))
	if err != nil {
		return nil, 0, fmt.Errorf("open the house account: %w", err)
	}
	var paid atomic.Int64
	fund := func(i int) commit.Fact {
		return sendFact(bench.Order{Key: randomKey(), From: int64(house.Account.ID), To: ids[i], Amount: o.Fund})
	}
	if err := l.each(ctx, o.Accounts, fund, func(int, commit.Result) { paid.Add(1) }); err != nil {
		return nil, paid.Load(), fmt.Errorf("fund an account: %w", err)
	}
	return ids, paid.Load(), nil
}

// each submits n facts in groups, some groups at once, and hands over every
// answer; the first refusal ends it.
func (l *benchLedger) each(ctx context.Context, n int, fact func(i int) commit.Fact, done func(i int, r commit.Result)) error {
	const size = 500
	errs := make([]error, benchLedgerConc)
	var next atomic.Int64
	var wg sync.WaitGroup
	for w := range benchLedgerConc {
		wg.Go(func() {
			for errs[w] == nil {
				from := int(next.Add(size)) - size
				if from >= n {
					return
				}
				facts := make([]commit.Fact, min(size, n-from))
				for i := range facts {
					facts[i] = fact(from + i)
				}
				for i, o := range l.node.SubmitAll(ctx, facts) {
					if o.Err != nil {
						errs[w] = o.Err
						return
					}
					done(from+i, o.Result)
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Send makes a Fact of each order, as a station would, and submits them.
func (l *benchLedger) Send(ctx context.Context, orders []bench.Order) []error {
	facts := make([]commit.Fact, len(orders))
	for i, o := range orders {
		facts[i] = sendFact(o)
	}
	errs := make([]error, len(orders))
	for i, o := range l.node.SubmitAll(ctx, facts) {
		switch {
		case o.Err != nil:
			errs[i] = o.Err
		case o.Payment.State != pay.Succeeded:
			errs[i] = errors.New("answered with state " + o.Payment.State.String())
		}
	}
	return errs
}

func openFact(name string, kind ledger.Kind, overdraft int64) commit.Fact {
	return commit.Fact{Account: &ledger.AccountFact{Kind: ledger.Open, Key: randomKey(), New: ledger.Account{
		Tenant: benchTenant, Kind: kind, Asset: benchAsset, Name: name, Floor: money.Int(-overdraft), Unlimited: kind == ledger.House,
	}}}
}

func sendFact(o bench.Order) commit.Fact {
	p := &pay.Payment{
		Tenant: benchTenant, Kind: pay.Send, Asset: benchAsset, Amount: money.Int(o.Amount),
		From: pay.AccountID(o.From), To: pay.AccountID(o.To), Key: o.Key,
	}
	return commit.Fact{Payment: &pay.Fact{Kind: pay.Accept, New: p, Fingerprint: pay.Fingerprint(o.Key)}}
}

func randomKey() (key [16]byte) {
	_, _ = rand.Read(key[:]) // never fails: it ends the program instead
	return key
}
