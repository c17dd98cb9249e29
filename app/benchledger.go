package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"os"
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
		Profile: cfg.Profile, Moneta: self, Ledger: openBenchLedger, Migrate: schema.Migrate,
		WorkDir: cfg.DataDir, Progress: cfg.Progress, Version: Version,
	})
}

// benchLedger lets bench, which knows nothing of the pay plane, send money
// through its committer: the same Node that serve leads with, and nothing else.
type benchLedger struct {
	node     *commit.Node
	accounts []pay.AccountID
	end      context.CancelFunc
	ended    chan error
}

// openBenchLedger migrates the database and leads its shard.
func openBenchLedger(ctx context.Context, dsn string) (bench.Ledger, error) {
	if err := schema.Migrate(ctx, dsn); err != nil {
		return nil, err
	}
	l := &benchLedger{node: commit.New(commit.Config{DSN: dsn, Logger: slog.New(slog.DiscardHandler)}), ended: make(chan error, 1)}
	// The leadership outlives this call; Close ends it.
	lead, end := context.WithCancel(context.WithoutCancel(ctx))
	l.end = end
	go func() { l.ended <- l.node.Run(lead) }()
	limit := time.NewTimer(benchLeadWithin)
	defer limit.Stop()
	poll := time.NewTicker(benchPoll)
	defer poll.Stop()
	for !l.node.Leading() {
		select {
		case err := <-l.ended:
			end()
			return nil, errors.Join(errors.New("the committer ended before it led"), err)
		case <-limit.C:
			return nil, errors.Join(fmt.Errorf("the committer does not lead after %s", benchLeadWithin), l.Close(ctx))
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), l.Close(ctx))
		case <-poll.C:
		}
	}
	return l, nil
}

// Close gives the leadership back.
func (l *benchLedger) Close(ctx context.Context) error {
	l.end()
	select {
	case err := <-l.ended:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Open opens n user accounts with floor zero and funds them from a house account.
func (l *benchLedger) Open(ctx context.Context, n int, amount int64) (int64, error) {
	house, err := l.node.Submit(ctx, openFact("bench house", ledger.House))
	if err != nil {
		return 0, fmt.Errorf("open the house account: %w", err)
	}
	l.accounts = make([]pay.AccountID, n)
	err = l.each(ctx, n, func(i int) commit.Fact { return openFact(fmt.Sprintf("bench %d", i), ledger.User) },
		func(i int, r commit.Result) { l.accounts[i] = pay.AccountID(r.Account.ID) })
	if err != nil {
		return 0, fmt.Errorf("open an account: %w", err)
	}
	var paid atomic.Int64
	err = l.each(ctx, n, func(i int) commit.Fact { return sendFact(pay.AccountID(house.Account.ID), l.accounts[i], amount) },
		func(int, commit.Result) { paid.Add(1) })
	if err != nil {
		return paid.Load(), fmt.Errorf("fund an account: %w", err)
	}
	return paid.Load(), nil
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

// Send sends between random pairs until the time is over.
func (l *benchLedger) Send(ctx context.Context, load bench.LedgerLoad) (bench.LedgerResult, error) {
	if load.Accounts < 2 || load.Accounts > len(l.accounts) {
		return bench.LedgerResult{}, fmt.Errorf("%d accounts are asked for, %d are open", load.Accounts, len(l.accounts))
	}
	results := make([]bench.LedgerResult, load.Callers)
	began := time.Now()
	var wg sync.WaitGroup
	for c := range load.Callers {
		wg.Go(func() {
			for time.Since(began) < load.For && ctx.Err() == nil {
				l.sendGroup(ctx, load, &results[c])
			}
		})
	}
	wg.Wait()
	sum := bench.LedgerResult{Elapsed: time.Since(began)}
	for _, r := range results {
		sum.Acked += r.Acked
		sum.Refused += r.Refused
		if sum.Error == "" {
			sum.Error = r.Error
		}
	}
	return sum, ctx.Err()
}

func (l *benchLedger) sendGroup(ctx context.Context, load bench.LedgerLoad, r *bench.LedgerResult) {
	facts := make([]commit.Fact, load.Group)
	for i := range facts {
		from := mathrand.IntN(load.Accounts)
		to := (from + 1 + mathrand.IntN(load.Accounts-1)) % load.Accounts
		facts[i] = sendFact(l.accounts[from], l.accounts[to], 1+mathrand.Int64N(100))
	}
	for _, o := range l.node.SubmitAll(ctx, facts) {
		switch {
		case o.Err == nil && o.Payment.State == pay.Succeeded:
			r.Acked++
		case o.Err == nil:
			r.Refused++
			r.Error = "answered with state " + o.Payment.State.String()
		default:
			r.Refused++
			r.Error = o.Err.Error()
		}
	}
}

func openFact(name string, kind ledger.Kind) commit.Fact {
	return commit.Fact{Account: &ledger.AccountFact{Kind: ledger.Open, Key: randomKey(), New: ledger.Account{
		Tenant: benchTenant, Kind: kind, Asset: benchAsset, Name: name, Unlimited: kind == ledger.House,
	}}}
}

func sendFact(from, to pay.AccountID, amount int64) commit.Fact {
	key := randomKey()
	p := &pay.Payment{Tenant: benchTenant, Kind: pay.Send, Asset: benchAsset, Amount: money.Int(amount), From: from, To: to, Key: key}
	return commit.Fact{Payment: &pay.Fact{Kind: pay.Accept, New: p, Fingerprint: pay.Fingerprint(key)}}
}

func randomKey() (key [16]byte) {
	_, _ = rand.Read(key[:]) // never fails: it ends the program instead
	return key
}
