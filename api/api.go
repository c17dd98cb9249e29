// Package api is the HTTP edge. It turns requests into calls of the stations and
// their answers into JSON, and every error into one problem document. It decides
// nothing: what is legal, what is paid, what is refused comes from below. It
// refuses unknown members, unbounded bodies and more requests at once than it can
// answer, and it logs neither bodies nor keys.
//
// All routes stand in one table (routes.go), from which the mux, the checks of
// parameters and scopes, and the OpenAPI document follow. Huma makes the schemas
// and the document; it does not stand in the requests' way, because the hot
// route must cost a few microseconds and because a JSON decoder for money has to
// refuse what Go's own lets pass: repeated members and members in another case.
package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/lever"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/finance"
	"github.com/moneta-pay/moneta/pay/intake"
	"github.com/moneta-pay/moneta/pay/ledger"
	"github.com/moneta-pay/moneta/pay/notify"
	"github.com/moneta-pay/moneta/pay/outbox"
	"github.com/moneta-pay/moneta/pay/receipt"
	"github.com/moneta-pay/moneta/pay/recon"
	"github.com/moneta-pay/moneta/pay/recon/statement"
	"github.com/moneta-pay/moneta/pay/status"
	"github.com/moneta-pay/moneta/pay/trail"
)

// Defaults of Config.
const (
	DefaultInFlightMax = 2_048
	DefaultWaitingMax  = 4_096
	// DefaultTimeout bounds one request without its Prefer: wait.
	DefaultTimeout = 10 * time.Second
	// WaitMax bounds Prefer: wait.
	WaitMax = 60 * time.Second
	// DefaultStreamsPerKey bounds the streams and long polls of one key.
	DefaultStreamsPerKey = 100
)

// Waiter tells when a payment is final: true with the payment, or false when ctx
// ended first or it cannot tell. read reads it from the primary. *commit.Node is one.
type Waiter interface {
	Wait(ctx context.Context, id pay.ID, read func(context.Context) (pay.Payment, error)) (pay.Payment, bool)
}

// Receiver stores a channel's callback. A nil error promises that it is durable.
// fault.NotFound and fault.ChannelUnknown mean that there is no such channel.
// *settle.Inbox is one.
type Receiver interface {
	Receive(ctx context.Context, name channel.Name, header http.Header, body []byte) error
}

// Recon tells what the channels' statements say against the ledger. *recon.Recon
// is one.
type Recon interface {
	// Breaks returns a page, the newest first, and whether more follow.
	Breaks(ctx context.Context, f recon.BreakFilter) ([]recon.Break, bool, error)
	// Break returns one with its history.
	Break(ctx context.Context, id int64) (recon.Break, error)
	// Import takes a statement file, whole or not at all; Mapping is how a channel's
	// CSV is written.
	Import(ctx context.Context, in recon.Import) ([]recon.Imported, error)
	Mapping(name channel.Name) (statement.Mapping, bool)
	Statements(ctx context.Context, name channel.Name, limit int) ([]recon.Imported, error)
	ClearingAges(ctx context.Context) ([]recon.Clearing, error)
	RollForward(ctx context.Context, name channel.Name, asset money.Asset, from, until recon.Date) ([]recon.RollDay, error)
	// Close and Assign change one; they move no money.
	Close(ctx context.Context, id int64, c recon.Closing) (recon.Break, error)
	Assign(ctx context.Context, id int64, owner, who, why string) (recon.Break, error)
	Report(ctx context.Context) (recon.Report, error)
	// Picture holds ledger, channel and statement side by side; BreakAges counts what is open.
	Picture(ctx context.Context, name channel.Name, from, until recon.Date) (recon.Picture, error)
	BreakAges(ctx context.Context) ([]recon.BreakAge, error)
	// Run reads every statement to its end, now.
	Run(ctx context.Context) error
}

// Dispatch tells whether payouts are sent, and lets them go again. *recon.Gate is
// one.
type Dispatch interface {
	State(ctx context.Context) (recon.DispatchState, error)
	Resume(ctx context.Context, by, reason string) (recon.DispatchState, error)
}

// Levers are what is held back on purpose. *board.Board is one; its Standing is one
// atomic load.
type Levers interface {
	Standing() *lever.Standing
	// Pull keeps a pull whose lever, aim, value, owner, reason, by and end are given.
	Pull(ctx context.Context, p lever.Pull) (lever.Pull, error)
	Undo(ctx context.Context, id lever.ID, by, reason string) (lever.Pull, error)
	One(ctx context.Context, id lever.ID) (lever.Pull, error)
	// History lists pulls, the newest first, from behind the one named.
	History(ctx context.Context, before lever.ID, limit int) ([]lever.Pull, error)
	// Radius counts what a pull would hold back now.
	Radius(ctx context.Context, p *lever.Pull) (lever.Radius, error)
}

// Books are the ledger as accountants read it, and its closed periods. *finance.Reader is one.
type Books interface {
	Periods(ctx context.Context, tenant int32) ([]finance.Period, error)
	Seal(ctx context.Context) error
	TrialBalance(ctx context.Context, s finance.Scope) (finance.TrialBalance, error)
}

// Runs tells which channels were not reconciled in time. *recon.Watch is one.
type Runs interface{ Overdue() []recon.Overdue }

// Readiness reports whether this process makes progress: nil, or why not.
type Readiness interface {
	Ready(ctx context.Context) error
}

// Warner is a Readier that also tells what stands still although it is ready, by
// name.
type Warner interface {
	Warnings() map[string]string
}

// Config says what the edge stands before. Intake, Ledger, Payments and Access
// are needed; each nil one of the others switches its part off.
type Config struct {
	Intake   *intake.Intake
	Ledger   *ledger.Reader
	Payments *commit.Reader
	Access   *access.Store
	// Waiter is told of final payments; without one the edge polls.
	Waiter   Waiter
	Receiver Receiver
	Recon    Recon
	Dispatch Dispatch
	// Levers hold callers back; nil holds nobody.
	Levers Levers
	// Backlog brings forward what waits; nil brings nothing.
	Backlog Backlog
	// Flights records what the process does; nil records nothing.
	Flights Flights
	// Books adds up the ledger and keeps the closed periods.
	Books Books
	// Invariants tells what must hold of money.
	Invariants Standing
	// Runs tells /readyz which channels were not reconciled in time.
	Runs Runs
	// Desk keeps the cases for people.
	Desk  Desk
	Ready Readiness
	// Requests counts what the edge answers, for the developers of each tenant.
	Requests *access.RequestLog
	// Approvals are what two people agree on.
	Approvals *access.Approvals
	// Events is the log that GET /v1/events reads, and Feed tells of its new end.
	Events *outbox.Log
	Feed   *outbox.Feed
	// Webhooks keeps the tenants' endpoints.
	Webhooks *notify.Endpoints
	// Links makes and reads links to one payment's page; nil knows none.
	Links *access.Links
	// PublicURL is where the pages behind links are, without a slash at its end; empty:
	// whoever asks for a link is told its path only.
	PublicURL string
	// Receipts signs what the record says of payments; nil signs nothing.
	Receipts *receipt.Issuer
	// Trails tells where payments' time went.
	Trails *trail.Reader
	// Outlook forecasts when open payments end; without one no time is given.
	Outlook *status.Outlook
	// Registry takes the edge's metrics and is served under /metrics.
	Registry *prometheus.Registry
	Logger   *slog.Logger
	Clock    clock.Clock
	Version  string
	// InFlightMax bounds the requests being worked on; more get 503.
	InFlightMax int
	// WaitingMax bounds the requests that wait by Prefer; more do not wait.
	WaitingMax int
	// DocsURL is where the pages of errors are, without a slash at its end; empty is
	// the address that the caller used.
	DocsURL string
	// StreamsPerKey bounds the streams and long polls of one key on this node.
	StreamsPerKey int
	// Timeout bounds one request.
	Timeout time.Duration
}

func (c *Config) fill() error {
	if c.Intake == nil || c.Ledger == nil || c.Payments == nil || c.Access == nil {
		return errors.New("api: Intake, Ledger, Payments and Access are needed")
	}
	if c.Registry == nil {
		c.Registry = prometheus.NewRegistry()
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Clock == nil {
		c.Clock = clock.System
	}
	if c.Version == "" {
		c.Version = "dev"
	}
	if c.InFlightMax <= 0 {
		c.InFlightMax = DefaultInFlightMax
	}
	if c.WaitingMax <= 0 {
		c.WaitingMax = DefaultWaitingMax
	}
	if c.StreamsPerKey <= 0 {
		c.StreamsPerKey = DefaultStreamsPerKey
	}
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	return nil
}

// server is the edge of one process.
type server struct {
	Config
	mux      *http.ServeMux
	routes   []*route
	document []byte
	metrics  *metrics
	logGate  logGate
	streams  *streams
	limiter  *access.Limiter
	uploads  chan struct{} // a place for each file that is being taken
	inFlight atomic.Int64
	waiting  atomic.Int64
}

// New builds the edge. An error names what is missing.
func New(cfg Config) (http.Handler, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	s := &server{Config: cfg, mux: http.NewServeMux(), streams: newStreams(cfg.StreamsPerKey), limiter: access.NewLimiter(cfg.Clock.Now), uploads: make(chan struct{}, uploadsMax)}
	s.metrics = newMetrics(cfg.Registry, &s.inFlight, &s.waiting)
	s.routes = routes()
	var err error
	if s.document, err = document(cfg.Version, s.routes); err != nil {
		return nil, err
	}
	for _, rt := range s.routes {
		rt.class = classOf(rt)
		rt.counts = s.metrics.route(rt.pattern())
		s.mux.Handle(rt.pattern(), s.handler(rt))
	}
	s.mux.HandleFunc("GET /healthz", s.health)
	s.mux.HandleFunc("GET /readyz", s.ready)
	s.mux.HandleFunc("GET /openapi.json", s.openAPI)
	s.mux.HandleFunc("GET /docs", s.docs)
	s.mux.HandleFunc("GET /errors/{code}", s.errorPage)
	s.mux.Handle("GET /metrics", promhttp.HandlerFor(cfg.Registry, promhttp.HandlerOpts{
		Timeout: 10 * time.Second, MaxRequestsInFlight: 4,
	}))
	s.mux.HandleFunc("/", s.nowhere)
	return s.mux, nil
}

// Limits of the HTTP server.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second
	idleTimeout       = 2 * time.Minute
	headerBytesMax    = 16 << 10
)

// NewServer returns a server for the edge with every limit set: a client that
// sends slowly, keeps a connection idle or does not read holds nothing for long.
func NewServer(h http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      WaitMax + readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    headerBytesMax,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
}
