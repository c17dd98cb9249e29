// Package sandbox is the outside world on one port: any number of banks over
// real HTTP that can be slow, lose, repeat, delay and lie, each with books of
// its own, which are the truth that a wallet's own books are compared with. It
// refuses to share code with the wallet, to forget an effect once shown, and
// to hold money: it is for tests, drills and demonstrations only.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/internal/clock"
)

// Defaults of Config.
const (
	DefaultCallbackWorkers = 32
	DefaultCallbackQueue   = 1 << 16
	DefaultCallbackTimeout = 5 * time.Second
)

// callbackPath is where a wallet takes callbacks, when CallbackURL names none.
const callbackPath = "/v1/channels/bank-{code}/callbacks"

// DefaultBanks returns the thirteen bank codes of the Berka data.
func DefaultBanks() []string {
	return []string{"AB", "CD", "EF", "GH", "IJ", "KL", "MN", "OP", "QR", "ST", "UV", "WX", "YZ"}
}

// Config says which banks to play and how.
type Config struct {
	// Banks are codes of 1 to 12 letters or digits; none means DefaultBanks.
	Banks []string
	// CallbackURL is where callbacks go; "{code}" in it is replaced by the
	// bank's code in lower case. Without a path, the wallet's standard path is
	// added. Empty holds all callbacks back until SetCallbackURL.
	CallbackURL string
	// Secret signs callbacks; required.
	Secret string
	// Dir holds one journal a bank; empty keeps the books in memory only.
	Dir string
	// Clock stamps effects; nil means the system's.
	Clock clock.Clock
	// Seed decides how the dice fall.
	Seed uint64
	// Behaviour is every bank's at the start; nil means DefaultBehaviour.
	Behaviour *Behaviour
	// Logger may be nil.
	Logger *slog.Logger
	// CallbackWorkers is how many callbacks of one bank may be on their way at
	// once, CallbackQueue how many wait in memory (more wait in the books),
	// CallbackTimeout how long a receiver may take. 0 means the default.
	CallbackWorkers, CallbackQueue int
	CallbackTimeout                time.Duration
}

// Server plays the banks. Handler works from New on; callbacks and delayed
// executions happen while Run runs.
type Server struct {
	banks   map[string]*bank // by lower-case code
	codes   []string         // in order
	mail    *postman
	clock   clock.Clock
	log     *slog.Logger
	workers int
	// scenario is what switches behaviours while the server runs.
	scenario director
	closing  chan struct{} // ends held requests
	once     sync.Once
}

// New opens the books. Close the server even if Run is never called.
func New(cfg Config) (*Server, error) {
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	s := &Server{
		banks: map[string]*bank{}, clock: cfg.Clock, log: cfg.Logger, workers: cfg.CallbackWorkers,
		closing: make(chan struct{}),
		mail: &postman{
			secret: []byte(cfg.Secret), timeout: cfg.CallbackTimeout, url: withPath(cfg.CallbackURL),
			pool: &http.Transport{
				MaxIdleConnsPerHost: cfg.CallbackWorkers * len(cfg.Banks), IdleConnTimeout: 30 * time.Second,
				DialContext: (&net.Dialer{Timeout: 2 * time.Second}).DialContext, DisableCompression: true,
			},
		},
	}
	for _, code := range cfg.Banks {
		path := ""
		if cfg.Dir != "" {
			path = filepath.Join(cfg.Dir, code+".journal")
		}
		b, err := openBank(code, path, cfg)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("sandbox: %w", err), s.Close())
		}
		if b.twin, err = openBank(code, "", cfg); err != nil {
			return nil, errors.Join(fmt.Errorf("sandbox: %w", err), s.Close())
		}
		s.banks[code] = b
		s.codes = append(s.codes, code)
	}
	s.scenario.open(s)
	return s, nil
}

// complete validates and fills in defaults; codes become lower case.
func (cfg *Config) complete() error {
	if len(cfg.Banks) == 0 {
		cfg.Banks = DefaultBanks()
	}
	codes := make([]string, 0, len(cfg.Banks))
	for _, code := range cfg.Banks {
		code = strings.ToLower(code)
		if !goodCode(code) || slices.Contains(codes, code) {
			return fmt.Errorf("bank code %q is not 1 to 12 letters or digits, or comes twice", code)
		}
		codes = append(codes, code)
	}
	cfg.Banks = codes
	if cfg.Secret == "" {
		return errors.New("a Secret to sign callbacks is required")
	}
	if err := checkCallbackURL(cfg.CallbackURL); err != nil {
		return err
	}
	if cfg.Behaviour == nil {
		honest := DefaultBehaviour()
		cfg.Behaviour = &honest
	}
	if err := cfg.Behaviour.Validate(); err != nil {
		return fmt.Errorf("behaviour: %w", err)
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg.completeSizes()
}

func (cfg *Config) completeSizes() error {
	if cfg.CallbackWorkers < 0 || cfg.CallbackQueue < 0 || cfg.CallbackTimeout < 0 {
		return errors.New("CallbackWorkers, CallbackQueue and CallbackTimeout must not be negative")
	}
	if cfg.CallbackWorkers == 0 {
		cfg.CallbackWorkers = DefaultCallbackWorkers
	}
	if cfg.CallbackQueue == 0 {
		cfg.CallbackQueue = DefaultCallbackQueue
	}
	if cfg.CallbackTimeout == 0 {
		cfg.CallbackTimeout = DefaultCallbackTimeout
	}
	if cfg.Dir == "" {
		return nil
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("folder for the books: %w", err)
	}
	return nil
}

func goodCode(code string) bool {
	for _, r := range code {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') {
			return false
		}
	}
	return len(code) >= 1 && len(code) <= 12
}

func checkCallbackURL(raw string) error {
	if raw == "" {
		return nil
	}
	u, err := url.Parse(strings.ReplaceAll(raw, "{code}", "x"))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("CallbackURL %q is not an absolute http or https URL", raw)
	}
	return nil
}

func withPath(raw string) string {
	u, err := url.Parse(raw)
	if raw == "" || err != nil || u.Path != "" && u.Path != "/" {
		return raw
	}
	return strings.TrimRight(raw, "/") + callbackPath
}

// SetCallbackURL points callbacks elsewhere, by the rules of
// Config.CallbackURL; those that wait go there too.
func (s *Server) SetCallbackURL(raw string) error {
	if err := checkCallbackURL(raw); err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	s.mail.mu.Lock()
	s.mail.url = withPath(raw)
	s.mail.mu.Unlock()
	for _, b := range s.banks {
		b.outbox.nudge()
	}
	return nil
}

// Run sends callbacks and settles delayed orders until ctx ends, and returns
// when the last worker has stopped. What is not delivered by then waits in the
// books.
func (s *Server) Run(ctx context.Context) error {
	var group sync.WaitGroup
	for _, b := range s.banks {
		group.Go(func() { b.settleLoop(ctx) })
		group.Go(func() { b.twin.settleLoop(ctx) })
		group.Go(func() { b.deliverLoop(ctx, s.mail, s.workers) })
	}
	group.Go(func() { s.scenario.run(ctx) })
	group.Wait()
	s.mail.pool.CloseIdleConnections()
	return nil
}

// Tick carries out at once what the clock says is due: a scenario's steps and
// delayed orders. Run does so by itself; tests that move a clock of their own do
// not wait for it.
func (s *Server) Tick(ctx context.Context) error {
	s.scenario.due()
	var errs []error
	for _, code := range s.codes {
		for _, b := range []*bank{s.banks[code], s.banks[code].twin} {
			_, err := b.settleDueOrders()
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, ctx.Err())...)
}

// Serve runs the HTTP server on the listener, and Run, until ctx ends; then it
// stops both and returns. It closes the listener, not the books.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	web := &http.Server{
		Handler: s.Handler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	var group sync.WaitGroup
	group.Go(func() { _ = s.Run(ctx) })
	failed := make(chan error, 1)
	go func() { failed <- web.Serve(listener) }()
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
		s.release()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err = web.Shutdown(grace); err != nil {
			err = errors.Join(err, web.Close())
		}
		if served := <-failed; err == nil {
			err = served
		}
	}
	stop()
	group.Wait()
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("sandbox: %w", err)
	}
	return nil
}

// release lets go of requests that a behaviour holds.
func (s *Server) release() { s.once.Do(func() { close(s.closing) }) }

// Close lets held requests go and closes the books. Stop Run first. Closing
// twice is safe.
func (s *Server) Close() error {
	s.release()
	var errs []error
	for _, code := range s.codes {
		errs = append(errs, s.banks[code].journal.close())
	}
	return errors.Join(errs...)
}
