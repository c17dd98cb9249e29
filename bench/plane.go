package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/internal/lifecycle"
)

const (
	planeDB    = "plane"
	planeAsset = "CZK"
	// planeFunds is what each account starts with, in minor units.
	planeFunds = 100_000_000
	// planeConnections is what the floors of single requests and batches name.
	planeConnections = 64
	planeBatch       = 100
	// Payouts under way at once, about: each of so many connections sends a batch
	// and waits for the end of its last payment before it sends the next.
	lifeConnections, lifeBatch = 16, 32
	lifeWait                   = 30 // seconds
	readyMax                   = time.Minute
	poll                       = 50 * time.Millisecond
)

// lifeBanks are the sandbox banks that payouts go through.
var lifeBanks = []string{"ab", "cd", "ef", "gh"}

// plane is the wallet under test: serve and sandbox as child processes.
type plane struct {
	*run
	name     string // of its database and of its files
	dsn      string
	api      string // host:port
	outside  string // host:port
	key      string
	secret   string
	accounts []string
	alone    bool // without the outside world
	serve    *lifecycle.Child
	sandbox  *lifecycle.Child
	told     expected
	payouts  expected
}

// withPlane starts serve and sandbox with accounts, and stops them after work.
func (r *run) withPlane(ctx context.Context, work func(*plane) error) (err error) {
	r.planes++
	p := &plane{run: r, name: fmt.Sprintf("%s_%d", planeDB, r.planes)}
	p.dsn = r.server.DSN(p.name)
	if err := r.makeDatabase(ctx, p.name); err != nil {
		return err
	}
	r.say("api: starting serve and sandbox")
	defer func() { err = errors.Join(err, p.stop(ctx)) }()
	if err := p.start(ctx); err != nil {
		return err
	}
	r.say("api: opening and funding %d accounts", r.profile.wallets)
	if err := p.open(ctx); err != nil {
		return err
	}
	return work(p)
}

// planePhases measures the HTTP API and the whole life of payouts.
func (r *run) planePhases(ctx context.Context) error {
	return r.withPlane(ctx, func(p *plane) error {
		for _, phase := range []func(context.Context) error{p.throughput, p.latency, p.lifecycle} {
			if err := phase(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// start brings the database to its schema, makes a key, and starts the children.
func (p *plane) start(ctx context.Context) (err error) {
	if p.cfg.Migrate == nil {
		return errors.New("no migration was given")
	}
	if err := p.cfg.Migrate(ctx, p.dsn); err != nil {
		return err
	}
	var secret [16]byte
	_, _ = rand.Read(secret[:]) // never fails: it ends the program instead
	p.secret = hex.EncodeToString(secret[:])
	if p.key, err = p.makeKey(ctx); err != nil {
		return err
	}
	if p.api, err = freeAddress(ctx); err != nil {
		return err
	}
	if p.outside, err = freeAddress(ctx); err != nil {
		return err
	}
	serve := []string{"serve", "--listen", p.api}
	if !p.alone {
		serve = append(serve, "--sandbox-url", "http://"+p.outside)
	}
	// Everything else, tracing with it, is at what ships.
	if p.serve, err = p.process(ctx, "serve", p.environment(), serve...); err != nil {
		return err
	}
	if p.alone {
		return p.ready(ctx, p.api, "/readyz")
	}
	p.sandbox, err = p.process(ctx, "sandbox", p.environment(), "sandbox", "--listen", p.outside, "--callback-url", "http://"+p.api, "--dir", filepath.Join(p.dir, "banks-"+p.name))
	if err != nil {
		return err
	}
	if err := p.ready(ctx, p.outside, "/healthz"); err != nil {
		return err
	}
	return p.ready(ctx, p.api, "/readyz")
}

func (p *plane) environment() []string {
	return append(os.Environ(), "MONETA_DSN="+p.dsn, "MONETA_SANDBOX_SECRET="+p.secret)
}

func (p *plane) makeKey(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, p.cfg.Moneta, "key", "create", "--json", "--name", "bench", //nolint:gosec // the binary that we are
		"--scopes", "payments:write,payments:read,accounts:write,accounts:read,admin")
	cmd.Env = p.environment()
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("make a key: %w: %s", err, stderrOf(err))
	}
	var made struct {
		Key string `json:"key"`
	}
	if err := json.Unmarshal(out, &made); err != nil || made.Key == "" {
		return "", errors.Join(errors.New("make a key: the command told none"), err)
	}
	return made.Key, nil
}

// freeAddress finds a port that nobody listens on at this moment.
func freeAddress(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (p *plane) ready(ctx context.Context, address, path string) error {
	ctx, cancel := context.WithTimeout(ctx, readyMax)
	defer cancel()
	w := newWire(address, p.key)
	defer w.close()
	for {
		status, answer, err := w.request(ctx, "GET", path, "", nil)
		if err == nil && status == 200 {
			return nil
		}
		if lifecycle.Pause(ctx, poll) != nil {
			return fmt.Errorf("http://%s%s does not become ready: %d %s %w; its log ends: %s", address, path, status, answer, err, lastLine(p.logPath("serve")))
		}
	}
}

func (p *plane) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopMax)
	defer cancel()
	var errs []error
	for _, c := range []*lifecycle.Child{p.serve, p.sandbox} {
		if c != nil {
			errs = append(errs, c.Stop(ctx))
		}
	}
	return errors.Join(errs...)
}

// open creates the accounts over the API and funds each from a house account.
func (p *plane) open(ctx context.Context) error {
	house, err := p.openAccount(ctx, newWire(p.api, p.key), "house", 0)
	if err != nil {
		return err
	}
	p.accounts = make([]string, p.profile.wallets)
	err = p.inParallel(func(w *wire, worker, of int) error {
		for i := worker; i < len(p.accounts); i += of {
			if p.accounts[i], err = p.openAccount(ctx, w, "user", i+1); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return p.inParallel(func(w *wire, worker, of int) error {
		for from := worker * planeBatch; from < len(p.accounts); from += of * planeBatch {
			if err := p.fund(ctx, w, house, p.accounts[from:min(from+planeBatch, len(p.accounts))]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (p *plane) inParallel(work func(w *wire, worker, of int) error) error {
	const workers = 16
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			w := newWire(p.api, p.key)
			defer w.close()
			errs[i] = work(w, i, workers)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (p *plane) openAccount(ctx context.Context, w *wire, kind string, n int) (string, error) {
	body := fmt.Appendf(nil, `{"asset":%q,"name":"bench %d","kind":%q}`, planeAsset, n, kind)
	status, answer, err := w.request(ctx, "POST", "/v1/accounts", fmt.Sprintf("Idempotency-Key: bench-account-%d\r\n", n), body)
	var made struct {
		ID string `json:"id"`
	}
	if err == nil && status == 201 {
		err = json.Unmarshal(answer, &made)
	}
	if err != nil || made.ID == "" {
		return "", fmt.Errorf("open an account: %d %s %w", status, answer, err)
	}
	return made.ID, nil
}

func (p *plane) fund(ctx context.Context, w *wire, house string, accounts []string) error {
	type payment struct {
		Key    string `json:"idempotency_key"`
		Kind   string `json:"kind"`
		From   string `json:"from"`
		To     string `json:"to"`
		Amount string `json:"amount"`
		Asset  string `json:"asset"`
	}
	var batch struct {
		Payments []payment `json:"payments"`
	}
	for _, to := range accounts {
		batch.Payments = append(batch.Payments, payment{"bench-fund-" + to, "send", house, to, fmt.Sprint(planeFunds), planeAsset})
	}
	body, err := json.Marshal(batch)
	if err != nil {
		return err
	}
	status, answer, err := w.request(ctx, "POST", "/v1/payments/batch", "", body)
	done := int64(bytes.Count(answer, []byte(`"status":201`)))
	p.mu.Lock()
	p.told.payments += done
	p.mu.Unlock()
	if err != nil || done != int64(len(accounts)) {
		return fmt.Errorf("fund accounts: %d %.600s %w", status, answer, err)
	}
	return nil
}
