package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/config"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/flight"
	"github.com/moneta-pay/moneta/internal/keyring"
	"github.com/moneta-pay/moneta/internal/pgfence"
	"github.com/moneta-pay/moneta/internal/pgserver"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/lever/board"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/desk"
	"github.com/moneta-pay/moneta/pay/dispatch"
	"github.com/moneta-pay/moneta/pay/finance"
	"github.com/moneta-pay/moneta/pay/intake"
	"github.com/moneta-pay/moneta/pay/invariant"
	"github.com/moneta-pay/moneta/pay/ledger"
	"github.com/moneta-pay/moneta/pay/notify"
	"github.com/moneta-pay/moneta/pay/outbox"
	"github.com/moneta-pay/moneta/pay/receipt"
	"github.com/moneta-pay/moneta/pay/recon"
	"github.com/moneta-pay/moneta/pay/settle"
	"github.com/moneta-pay/moneta/pay/status"
	"github.com/moneta-pay/moneta/pay/timer"
	"github.com/moneta-pay/moneta/pay/trail"
	"github.com/moneta-pay/moneta/schema"
)

// Pools are apart by class, so that reports cannot starve callbacks.
const (
	readConns    = 12
	stationConns = 8
	leverConns   = 2 // nobody else can use them up
	readTimeout  = "10s"
)

// plane is one life of a serve process: the node, the stations of the leader, and
// the edge's handler. It knows leadership once at most; see Serve.
type plane struct {
	cfg      config.Config
	faults   *faults // nil but in drills
	tel      *telemetry.Telemetry
	log      *slog.Logger
	reads    *pgxpool.Pool
	stations *pgxpool.Pool
	leverage *pgxpool.Pool
	pools    []namedPool // all three
	fence    *pgfence.Fence
	levers   *board.Board
	channels []channel.Channel

	node      *commit.Node
	payments  *commit.Reader
	wheel     *timer.Wheel
	expirer   *timer.Expirer
	dispatch  *dispatch.Dispatcher
	inbox     *settle.Inbox
	webhooks  *notify.Endpoints
	flights   *intake.Flights
	asker     *settle.Asker
	recon     *recon.Recon
	invariant *invariant.Checker
	outlook   *status.Outlook
	gate      *recon.Gate
	proofs    *dispatch.Proofs
	desk      *desk.Desk
	approvals *access.Approvals
	requests  *access.RequestLog
	events    *outbox.Log
	feed      *outbox.Feed
	notify    *notify.Sender
	ring      *keyring.Ring
	signing   signing
	receipts  *receipt.Issuer // nil signs no receipts
	runs      *recon.Watch
	terms     map[channel.Name]recon.Terms
	handler   http.Handler

	leaderWork sync.WaitGroup
	leaving    atomic.Bool
	endLeader  context.CancelFunc // nil until it led
	storing    *errgroup.Group    // what goes on until the next life has begun
	endStoring context.CancelFunc
}

// The live heap of serve is small beside what a second of payments allocates:
// collecting at a quarter of the default's pace costs some hundred megabytes and
// saves processor time that Postgres needs. GOGC and GOMEMLIMIT win.
const (
	gcPercent   = 400
	memoryLimit = 2 << 30
)

func tuneGC() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}

// prepare checks that the database is fit for money and builds the stations. seen is
// the history that the former life of this process knew.
func (p *plane) prepare(ctx context.Context, seen pgfence.History) error {
	var err error
	if p.fence, err = pgfence.New(historyFile(p.cfg.StateDir), seen, p.log); err != nil {
		return err
	}
	conn, err := p.connect(ctx)
	if err != nil {
		return fmt.Errorf("connect to the database: %w", err)
	}
	err = pgserver.VerifyDurability(ctx, conn)
	_ = conn.Close(ctx)
	switch {
	case errors.Is(err, pgserver.ErrReadOnly): // reading is better than nothing; the node says why it cannot lead
		p.log.WarnContext(ctx, "the database takes no writes", slog.Any("error", err))
	case err != nil:
		return fmt.Errorf("this database must not hold money: %w", err)
	}
	if err := schema.Migrate(ctx, p.cfg.DSN, p.fence.Guard); err != nil {
		return err
	}
	if p.reads, err = p.pool(ctx, "moneta reads", readConns, readTimeout); err != nil {
		return err
	}
	// What stations do by the thousand probes an index, and its plans may have been made
	// while the tables were empty. What they ask in bulk may still join by hashing.
	if p.stations, err = p.pool(ctx, "moneta stations", stationConns, "30s", "enable_seqscan"); err != nil {
		return err
	}
	if p.leverage, err = p.pool(ctx, "moneta levers", leverConns, readTimeout); err != nil {
		return err
	}
	p.levers = board.New(board.Config{Pool: p.leverage, Folder: leverFolder(p.cfg.StateDir), Telemetry: p.tel})
	if err := p.levers.Load(ctx); err != nil { // nothing begins before it is known what is held back
		return fmt.Errorf("read the levers: %w", err)
	}
	if err := p.connectChannels(); err != nil {
		return err
	}
	if p.terms, err = statementTerms(p.cfg.Channels); err != nil {
		return err
	}
	if p.desk, err = p.newDesk(); err != nil {
		return err
	}
	p.gate = recon.NewGate(p.stations, p.tel)
	if err := p.gate.Load(ctx); err != nil {
		return err
	}
	p.build()
	p.measure()
	p.handler, err = p.edge()
	return err
}

// connect opens the first session, on the newest history that this node has seen.
func (p *plane) connect(ctx context.Context) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(p.cfg.DSN)
	if err != nil {
		return nil, fmt.Errorf("database address: %w", err)
	}
	if err := p.fence.Look(ctx, &cfg.Config); err != nil {
		return nil, err
	}
	p.fence.Guard(&cfg.Config)
	return pgx.ConnectConfig(ctx, cfg)
}

// pool opens connections in the role that may only append to the money tables; off
// are settings of the planner to turn off.
func (p *plane) pool(ctx context.Context, name string, conns int32, timeout string, off ...string) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(p.cfg.DSN)
	if err != nil {
		return nil, fmt.Errorf("database address: %w", err)
	}
	p.fence.Guard(&cfg.ConnConfig.Config)
	cfg.MaxConns = conns
	cfg.ConnConfig.ConnectTimeout = 3 * time.Second
	rp := cfg.ConnConfig.RuntimeParams
	rp["application_name"], rp["statement_timeout"], rp["lock_timeout"] = name, timeout, "5s"
	rp["idle_in_transaction_session_timeout"] = "10s"
	for _, setting := range off {
		rp[setting] = "off"
	}
	cfg.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "set role "+commit.Role)
		return err
	}
	watch := newPoolWatch()
	cfg.ConnConfig.Tracer = watch
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err == nil {
		p.fence.OnNewer(pool.Reset)
		p.pools = append(p.pools, namedPool{strings.TrimPrefix(name, "moneta "), pool, watch})
	}
	return pool, err
}

// historyFile is where a node remembers which history of its database it has seen.
func historyFile(state string) string {
	if state == "" {
		return ""
	}
	return filepath.Join(state, "history.json")
}

func (p *plane) connectChannels() error {
	for _, c := range p.cfg.Channels {
		ch, err := connect(c, c.BaseURL)
		if err != nil {
			return err
		}
		p.channels = append(p.channels, ch)
	}
	return nil
}

func (p *plane) channelNames() []channel.Name {
	names := make([]channel.Name, len(p.channels))
	for i, ch := range p.channels {
		names[i] = ch.Name()
	}
	return names
}

// routes are the configured ones, as dispatch and settle read them.
func (p *plane) routes() dispatch.Routes {
	var out dispatch.Routes
	for _, r := range p.cfg.Routes {
		route := dispatch.Route{Asset: money.Asset(r.Asset), Payee: r.Payee, RetryOn: r.RetryOn}
		for _, name := range r.Channels {
			route.Channels = append(route.Channels, channel.Name(name))
		}
		out = append(out, route)
	}
	return out
}

func days(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }

func (p *plane) build() {
	p.payments = commit.NewReader(p.reads)
	p.outlook = p.newOutlook()
	p.events = outbox.NewLog(p.reads, p.inLog())
	p.feed = outbox.NewFeed(p.events, p.tel)
	p.flights = intake.NewFlights(nil)
	p.node = commit.New(commit.Config{
		Flights: p.flights, Fence: p.fence,
		DSN: p.cfg.DSN, URL: p.cfg.NodeURL, Reads: p.reads, Logger: p.log, Registerer: p.tel.Registry(),
		Lead: p.lead, Left: p.left, Changed: func(changed []pay.Payment) {
			p.wheel.Note(changed)
			p.asker.Note(changed)
			p.outlook.Note(changed)
			p.feed.Wake()
		},
		Progress: []func() time.Time{
			func() time.Time { return p.wheel.Progress() },
			func() time.Time { return p.dispatch.Progress() },
		},
	})
	routes := p.routes()
	p.proofs = dispatch.NewProofs(p.stations, p.channels, nil, p.tel)
	p.dispatch = dispatch.New(dispatch.Config{
		Submitter: p.node, Channels: p.channels, Hold: p.hold, Contain: p.contain, Routes: routes,
		DedupProven: p.proofs.Dedup, Telemetry: p.tel,
		Contradicted: func(ctx context.Context, name channel.Name, f *pay.Fact, answer *commit.Outcome) bool {
			return p.asker.Replied(ctx, name, f, answer) // which is there before anything is sent
		},
	})
	p.asker = settle.NewAsker(settle.AskerConfig{
		Submitter: p.node, Channels: p.channels, Pool: p.stations, Live: p.dispatch.Live, Telemetry: p.tel,
		Redirects: routes.Redirects, Resend: p.dispatch.Resend,
	})
	p.inbox = settle.NewInbox(settle.InboxConfig{
		Pool: p.stations, Submitter: p.faults.applying(p.node), Channels: p.channels, Redirects: routes.Redirects, Telemetry: p.tel,
		UnverifiedRows: p.cfg.Callbacks.UnverifiedPerHour, UnverifiedBytes: p.cfg.Callbacks.UnverifiedKBPerHour << 10,
		KeepFor: days(p.cfg.Callbacks.KeepDays), KeepUnverified: days(p.cfg.Callbacks.KeepUnverifiedDays),
	})
	p.recon = recon.New(recon.Config{Pool: p.stations, Submitter: p.node, Channels: p.channels, Gate: p.gate, Terms: p.terms, Telemetry: p.tel})
	p.invariant = invariant.New(invariant.Config{Pool: p.stations, Telemetry: p.tel})
	p.runs = recon.NewWatch(p.stations, nil, p.channelNames(), p.terms, p.tel)
	p.notify = notify.NewSender(notify.Config{Pool: p.stations, Log: p.events, Inside: p.cfg.WebhookInside, Ring: p.ring, Telemetry: p.tel})
	p.expirer = timer.NewExpirer(p.node, nil, p.node.TimeUnsound, p.tel)
	p.wheel = timer.New(timer.Config{
		Due:  p.faults.due(timer.Route{Dispatch: p.faults.offer(p.dispatch.Offer), Settle: p.asker.Check, Time: p.expirer.Offer}.Due),
		Pool: p.stations, Reload: p.payments.ByID, Desk: p.desk, Unsound: p.node.TimeUnsound, Telemetry: p.tel,
	})
}

// lead starts what only the leader does.
func (p *plane) lead(ctx context.Context, open []pay.Payment) {
	ctx, p.endLeader = context.WithCancel(ctx)
	p.wheel.Load(open)
	p.asker.Load(open)
	p.readGate(ctx)
	p.dispatch.Start(ctx)
	p.leaderLoop(ctx, "proofs", p.proofs.Watch)
	p.leaderLoop(ctx, "timer", p.wheel.Run)
	p.leaderLoop(ctx, "expiry", p.expirer.Run)
	p.leaderLoop(ctx, "settle", p.asker.Run)
	p.leaderLoop(ctx, "recon", p.recon.Loop)
	p.leaderLoop(ctx, "seal", p.seal)
	p.leaderLoop(ctx, "sweep", p.inbox.Sweep)
	p.leaderLoop(ctx, "retention", p.inbox.Retain)
	p.leaderLoop(ctx, "notify", p.notify.Run)
	p.leaderLoop(ctx, "desk", p.desk.Run)
	p.leaderLoop(ctx, "invariant", p.invariant.Run)
}

func (p *plane) leaderLoop(ctx context.Context, name string, run func(context.Context) error) {
	p.leaderWork.Go(func() {
		if err := run(ctx); err != nil && ctx.Err() == nil {
			p.log.ErrorContext(ctx, "a loop of the leader ended", slog.String("loop", name), slog.Any("error", err))
		}
	})
}

// inLog halts who reads the event log from a cursor that is not in it, and pages:
// somebody outside has read what is no more.
func (p *plane) inLog() func(context.Context, int64) error {
	beyond := p.tel.Counter("moneta_event_cursors_beyond_total", "Reads of the event log that were refused because their cursor is not in it.")
	return func(ctx context.Context, cursor int64) error {
		err := commit.Ahead(ctx, p.reads, cursor)
		if !errors.Is(err, commit.ErrAhead) {
			return err
		}
		beyond.Inc()
		p.log.ErrorContext(ctx, "a reader of the event log is halted: it has read what the log does not have",
			slog.Int64("cursor", cursor), slog.Any("error", err))
		return fmt.Errorf("%w: %w", outbox.ErrBeyond, err)
	}
}

// gateWithin bounds the look at the gate before dispatch begins: the heart has to
// beat on.
const gateWithin = time.Second

// readGate reads whether dispatch is paused, since the takeover may just have found
// that the database failed over. Who cannot read it sends nothing until he can.
func (p *plane) readGate(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, gateWithin)
	defer cancel()
	p.gate.Shut()
	if err := p.gate.Load(ctx); err != nil {
		p.log.WarnContext(ctx, "nothing is sent until it is known whether dispatch is paused", slog.Any("error", err))
	}
}

// hold keeps payouts back while dispatch is paused, and while nobody knows until
// when an attempt may be sent.
func (p *plane) hold(payout *pay.Payment) bool {
	return p.node.TimeUnsound() != nil || p.gate.Hold(payout)
}

// left finishes what is on the wire while this node still leads.
func (p *plane) left() {
	ctx, cancel := context.WithTimeout(context.Background(), commit.HandOverTimeout)
	defer cancel()
	if err := p.dispatch.Stop(ctx); err != nil {
		p.log.Warn("attempts were cut off; the next leader asks their channels", slog.Any("error", err))
	}
	p.endLeader()
	p.leaderWork.Wait()
}

// run takes part in the shard until ctx ends or leadership is lost. What stores
// callbacks goes on until end.
func (p *plane) run(ctx context.Context) error {
	storing, end := context.WithCancel(context.WithoutCancel(ctx))
	// Streams end first when the process leaves: their clients go on elsewhere.
	streaming, endStreams := context.WithCancel(ctx)
	p.storing, p.endStoring = new(errgroup.Group), func() { endStreams(); end() }
	p.storing.Go(func() error {
		if err := p.inbox.Run(storing); err != nil && storing.Err() == nil {
			return fmt.Errorf("inbox: %w", err)
		}
		return nil
	})
	p.storing.Go(func() error { return p.gate.Watch(storing) })
	p.storing.Go(func() error { return p.levers.Run(storing) })
	p.storing.Go(func() error { return p.runs.Run(storing) })
	p.storing.Go(func() error { return p.approvals.Run(storing) })
	p.storing.Go(func() error { return p.requests.Run(storing) })
	p.storing.Go(func() error { return p.feed.Run(streaming) })
	p.storing.Go(func() error {
		p.lookBack(storing)
		return nil
	})
	defer context.AfterFunc(ctx, func() { p.leaving.Store(true) })()
	err := p.node.Run(ctx)
	if err != nil && p.endLeader != nil { // else left was called while it still led
		p.left()
	}
	return err
}

// end stops storing callbacks, when nobody hands any more in.
func (p *plane) end() error {
	if p.storing == nil { // it never ran
		p.close()
		return nil
	}
	p.endStoring()
	err := p.storing.Wait()
	p.close()
	return err
}

// edge is the HTTP surface: the API, and the hop between nodes.
func (p *plane) edge() (http.Handler, error) {
	accounts := ledger.NewReader(p.reads)
	var names []string
	for _, name := range p.channelNames() {
		names = append(names, string(name))
	}
	guard, err := guardOf(p.cfg.Guard)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	in, err := intake.New(intake.Config{
		Submitter: contained{p.node, p.levers}, Accounts: accounts, Originals: p.payments, Channels: names, Guard: guard,
		DepositFor: time.Duration(p.cfg.DepositHours) * time.Hour, Flights: p.flights, Linked: linkedTo(p.recon, p.desk),
		Contradicted: p.recon.Contradicted,
	})
	if err != nil {
		return nil, err
	}
	store := access.NewStore(p.reads)
	p.requests = access.NewRequestLog(p.reads, p.log, nil)
	p.approvals = access.NewApprovals(store, p.log)
	p.approvals.Measure(p.tel.Registry())
	registerActions(p.approvals, in, accounts, p.gate, p.recon, p.inbox)
	registerPaymentActions(p.approvals, in, p.payments)
	p.webhooks = notify.NewEndpoints(p.reads, p.cfg.WebhookInside, p.ring)
	p.receipts = p.newIssuer()
	h, err := api.New(api.Config{
		Intake: in, Ledger: accounts, Payments: p.payments, Access: store, Approvals: p.approvals, Waiter: p.node,
		Webhooks: p.webhooks, Requests: p.requests,
		Receiver: p.inbox, Recon: leaderRecon{p.recon, p.node}, Dispatch: dispatchState{p.gate, p.levers}, Levers: p.levers, Backlog: backlog{p}, Flights: new(flight.Recorder), Runs: p.runs, Books: finance.NewReader(p.stations), Invariants: invariant.NewReader(p.reads), Desk: p.desk, Ready: p, Outlook: p.outlook, Links: access.NewLinks(p.ring), PublicURL: p.cfg.PublicURL, Trails: trail.NewReader(p.reads, nil), Receipts: p.receipts, Events: p.events, Feed: p.feed,
		Registry: p.tel.Registry(), Logger: p.log, Version: Version, DocsURL: p.cfg.DocsURL,
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("POST "+commit.Path, p.node.Handler())
	mux.Handle("/", p.tel.Middleware(p.faults.edge(p.reads, h)))
	return mux, nil
}

// Ready means progress: somebody leads, the loops move, the database answers. A
// node that leaves says so first, and serves on while requests still come.
func (p *plane) Ready(ctx context.Context) error {
	if p.leaving.Load() {
		return fault.New(fault.NotLeader, "this node is leaving")
	}
	if err := p.node.Ready(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := p.reads.Ping(ctx); err != nil {
		return fault.New(fault.DatabaseUnavailable, "the database does not answer").WithCause(err)
	}
	return nil
}

// Warnings are what stands still on this node although it is ready.
func (p *plane) Warnings() map[string]string {
	out := p.levers.Warnings()
	if err := p.node.TimeUnsound(); err != nil && p.node.Leading() {
		out["clock"] = "no hold expires, no absence is proven and no payout is sent: " + err.Error()
	}
	if p.receipts != nil {
		if why := p.receipts.Trouble(); why != "" {
			out["receipts"] = "none are signed: " + why
		}
	}
	return out
}

func (p *plane) close() {
	ctx, cancel := context.WithTimeout(context.Background(), commit.HandOverTimeout)
	defer cancel()
	defer func() { _ = p.tel.Shutdown(ctx) }() // what it could not send is lost, and nothing else
	for _, ch := range p.channels {
		if c, ok := ch.(interface{ Close() }); ok {
			c.Close()
		}
	}
	for _, pool := range []*pgxpool.Pool{p.reads, p.stations, p.leverage} {
		if pool != nil {
			pool.Close()
		}
	}
}

// leaderRecon reconciles where the decider is, and says so elsewhere.
type leaderRecon struct {
	*recon.Recon
	node *commit.Node
}

func (r leaderRecon) Run(ctx context.Context) error {
	if !r.node.Leading() {
		return fault.New(fault.NotLeader, "this node does not lead; ask the one that does")
	}
	return r.Recon.Run(ctx)
}
